/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One request that changes the disk: its place in the epoch, its claim, and what is done for one plan. See img-write.c
 * for the order of it all. */

#pragma once

#include "img-image-private.h"
#include "img-iov.h"

G_BEGIN_DECLS

typedef struct
{
  ImgImage *image;
  ImgLayout *layout;
  ImgWalk walk;
  ImgIovCursor cursor; /* what is left of the guest's bytes */
  struct iovec *vectors; /* head, a slice of the caller's vector, tail */
  guint max_vectors;
  struct iovec inline_vectors[8];
  gboolean is_claimed;
  gboolean no_fallback; /* zeroes on the host are not written as bytes */
  ImgClaim claim;
} ImgChange;

typedef enum
{
  IMG_ZERO_BY_MAP,
  IMG_ZERO_BY_HOST, /* of what the map calls data, the holes of its file too: that takes a system call */
} ImgZeroSources;

/* Inside the epoch of the image from here on. @iov: what is to be written; 0 vectors if nothing is. */
void     img_change_begin         (ImgChange *request, ImgImage *image, const struct iovec *iov, guint n_iov);
void     img_change_end           (ImgChange *request);
/* No more than one claim a request: it is the last thing that it waits for. FALSE when cancelled, perhaps while it
 * waited: the caller may have gone then, and written something else here since. */
gboolean img_change_claim         (ImgChange *request, guint64 offset, guint64 length, ImgCancel *cancel,
                                   ImgError **error);

/* One request of a storage, made and waited for. */
gboolean img_change_submit        (ImgStorage *storage, ImgIo *io, ImgError **error);
/* Whether the guest sees nothing but zeroes. */
gboolean img_change_reads_as_zero (ImgChange *request, guint64 offset, guint64 length,
                                   ImgZeroSources sources, gboolean *is_zero, ImgError **error);
/* A plan for as much of the claimed range as there is one for. */
gboolean img_change_plan_write    (ImgChange *request, guint64 offset, guint64 length, ImgPlan *plan,
                                   ImgError **error);
/* The bytes of the plan with what must be copied around them. */
gboolean img_change_write_plan    (ImgChange *request, const ImgPlan *plan, ImgCancel *cancel,
                                   ImgError **error);
/* Flushes the layout as often as it asks for that. */
gboolean img_change_commit_plan   (ImgChange *request, ImgPlan *plan, ImgError **error);
/* Transfer and commit; aborted if either fails. */
gboolean img_change_run_plan      (ImgChange *request, ImgPlan *plan, ImgCancel *cancel, ImgError **error);
/* All of the claimed range, plan by plan. */
gboolean img_change_write         (ImgChange *request, guint64 offset, guint64 length, ImgCancel *cancel,
                                   ImgError **error);

G_END_DECLS
