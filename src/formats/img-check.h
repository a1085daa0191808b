/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a check of an image's metadata found, and what a repair changed. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_REPAIR_NONE,
  IMG_REPAIR_LEAKS, /* only lets go of space that nothing uses */
  IMG_REPAIR_ALL,
} ImgRepair;

typedef enum
{
  IMG_CHECK_ERROR,      /* something could not be checked */
  IMG_CHECK_CORRUPTION,
  IMG_CHECK_LEAK,
  IMG_CHECK_REPAIRED,   /* was one of the above */
  IMG_CHECK_NOTE,
} ImgCheckKind;

typedef struct
{
  ImgCheckKind kind;
  guint64 host_offset; /* of the cluster that it is about */
  char *text;          /* no final period; translated but for lines of qemu-img, which scripts read */
} ImgCheckMessage;

/* As many messages as are kept; the counts go on. */
#define IMG_CHECK_MAX_MESSAGES 1000

/* The counts of "qemu-img check". */
typedef struct
{
  guint64 check_errors;
  guint64 corruptions;
  guint64 wrong_flags;         /* of these: COPIED flags that do not fit the refcount as it is */
  guint64 low_refcounts;       /* of these, too; or the references are more than one can hold */
  guint64 leaks;
  guint64 corruptions_fixed;
  guint64 leaks_fixed;
  guint64 image_end_offset;    /* bytes */
  guint64 total_clusters;      /* of the disk */
  guint64 allocated_clusters;
  guint64 fragmented_clusters;
  guint64 compressed_clusters;
  GPtrArray *messages;         /* of ImgCheckMessage, at most IMG_CHECK_MAX_MESSAGES */
  guint64 n_messages;          /* with those that were not kept */
} ImgCheckResult;

void img_check_result_init  (ImgCheckResult *result);
void img_check_result_clear (ImgCheckResult *result);
/* Whether another message would be kept. */
static inline gboolean
img_check_result_keeps (const ImgCheckResult *result)
{
  return result->messages->len < IMG_CHECK_MAX_MESSAGES;
}
/* Adds a message only; counting is the caller's. */
void img_check_result_say   (ImgCheckResult *result, ImgCheckKind kind, guint64 host_offset,
                             const char *format, ...) G_GNUC_PRINTF (4, 5);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ImgCheckResult, img_check_result_clear)

G_END_DECLS
