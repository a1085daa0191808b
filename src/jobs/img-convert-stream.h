/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying a raw disk that comes out of a pipe into a new image. */

#pragma once

#include "img-convert.h"
#include "img-unwrap.h"

G_BEGIN_DECLS

typedef struct
{
  ImgByteStream stream;
  ImgWrapping wrapping;
  const char *sha256;    /* of the bytes as they arrive, in hexadecimal digits; NULL: any */
  guint64 n_bytes;       /* atomic, out: of the disk, as they came */
} ImgStreamSource;

/* As img_convert (), but what is copied is the stream up to its end. A disk whose options->length is not 0 has exactly
 * as many bytes, or it is an error. The last sector is filled up with zeroes.
 *
 * What can only be said of an image is refused: a window, salvaging, verifying, a backing file, a target that is there. */
gboolean img_convert_stream (const ImgConvertOptions *options, ImgStreamSource *source,
                             ImgProgress *progress, ImgCancel *cancel, ImgError **error);

G_END_DECLS
