/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Putting an overlay onto another backing image. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct
{
  const char *backing_name;   /* as it is to stand in the image; NULL: none */
  const char *backing_format; /* needed with a name */
  gboolean unsafe;            /* only the name changes, whatever the disk becomes; the references need not be open */
  gboolean compress;          /* what is copied is compressed where it can be */
  guint n_threads;            /* 0: as many as processors */
  int priority;               /* G_PRIORITY_* of the work in the pool */
  guint64 bytes_per_second;   /* 0: no limit */
} ImgRebaseOptions;

/* Unless it is unsafe, what reads otherwise through @backing than it does through the present backing image is copied
 * into @image first; the disk is the same at any moment, also after a crash. @backing is what the name means, NULL
 * without one. Nobody else may change @image meanwhile. Afterwards the image still reads what it was opened with. */
gboolean img_rebase (ImgImage *image, ImgImage *backing, const ImgRebaseOptions *options,
                     ImgProgress *progress, ImgCancel *cancel, ImgError **error);

G_END_DECLS
