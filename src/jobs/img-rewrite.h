/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Making the file of an image smaller by writing it anew. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct
{
  gboolean lose_bitmaps;    /* those that were not closed are left out, not an error */
  guint64 bytes_per_second; /* of what is copied; 0: no limit */
  guint n_threads;          /* 0: as many as processors */
  int priority;             /* G_PRIORITY_* of the work in the pool */
} ImgRewriteOptions;

typedef struct
{
  guint64 n_freed;      /* bytes that the new file takes less */
  gboolean is_replaced; /* the image lies in a new file now, and @image is closed */
} ImgRewriteResult;

/* @image is open for writing, in a file of its own. What would be lost is UNSUPPORTED, and nothing has been done.
 *
 * After a failure the file is what it was and @image goes on as before; with one exception: if only the folder could not
 * be made durable, @result says that the file was replaced. */
gboolean img_rewrite (ImgImage *image,
                      const ImgRewriteOptions *options,
                      ImgRewriteResult *result,
                      ImgProgress *progress,
                      ImgCancel *cancel,
                      ImgError **error);

G_END_DECLS
