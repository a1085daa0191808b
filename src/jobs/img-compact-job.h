/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Making the file of an image smaller in place. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

/* What the guest sees stays the same at any moment. Bitmaps would be lost: with some the job is
 * refused as UNSUPPORTED, by their names, unless @lose_bitmaps. *n_freed: bytes that the host got
 * back, 0 where it cannot tell. Cancelled or failed, the image keeps what it has not given back. */
gboolean img_compact (ImgImage *image,
                      gboolean lose_bitmaps,
                      guint64 *n_freed,
                      ImgProgress *progress,
                      ImgCancel *cancel,
                      ImgError **error);

G_END_DECLS
