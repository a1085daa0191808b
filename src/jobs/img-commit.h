/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Moving what an overlay holds into an image below it. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct
{
  gboolean keep;            /* what was committed stays in the overlay, too */
  guint n_threads;          /* 0: as many as processors */
  int priority;             /* G_PRIORITY_* of the work in the pool */
  guint64 bytes_per_second; /* 0: no limit */
} ImgCommitOptions;

/* What the layers above @base hold goes into @base, a layer below @image that was opened writable; NULL: the next one.
 * @base grows if it is smaller. The disk of @image is the same at any moment, also after a crash. It is emptied only
 * if @base is the next layer: else those between would come to light. */
gboolean img_commit (ImgImage *image, ImgImage *base, const ImgCommitOptions *options,
                     ImgProgress *progress, ImgCancel *cancel, ImgError **error);

G_END_DECLS
