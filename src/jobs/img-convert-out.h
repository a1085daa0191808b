/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying a disk into a pipe, as a new image. */

#pragma once

#include "img-convert.h"

G_BEGIN_DECLS

/* What img_convert () does with a sink: @disk is what the options' sources are as one, and stays as it is meanwhile. */
gboolean img_convert_out (const ImgConvertOptions *options, ImgImage *disk, ImgProgress *progress,
                          ImgCancel *cancel, ImgError **error);
/* Whether an image as @options want it can go into their sink at all. */
gboolean img_convert_out_check (const ImgConvertOptions *options, ImgError **error);

G_END_DECLS
