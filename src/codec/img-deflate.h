/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Raw deflate (RFC 1951), one unit at a time. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

/* Decodes the stream at the start of @stored into exactly @plain_length bytes. What follows the
 * stream is ignored; a stream that goes on once @plain is full is accepted as far as one call of
 * zlib's inflate () reads it without finding damage. On failure @plain is all zero. */
gboolean img_deflate_decode (const guint8 *stored,
                             gsize stored_length,
                             guint8 *plain,
                             gsize plain_length,
                             ImgError **error);

/* The first @wanted bytes of @plain, or more: *n_plain says how many. Damage behind them may go unnoticed. */
gboolean img_deflate_decode_part (const guint8 *stored,
                                  gsize stored_length,
                                  guint8 *plain,
                                  gsize plain_length,
                                  gsize wanted,
                                  gsize *n_plain,
                                  ImgError **error);

/* Behind img-encoder.h. @unit_length: of the longest unit. 0 instead of a length: @plain does not become as short
 * as @room, or not shorter at all. */
#define IMG_DEFLATE_MAX_LEVEL 9

/* No encoder has more memory than this and a unit. */
#define IMG_DEFLATE_MAX_STATE (IMG_MIB / 2)

typedef struct _ImgDeflateEncoder ImgDeflateEncoder;

ImgDeflateEncoder *img_deflate_encoder_new    (int level, gsize unit_length, ImgError **error);
void               img_deflate_encoder_free   (ImgDeflateEncoder *encoder);
gsize              img_deflate_encoder_encode (ImgDeflateEncoder *encoder,
                                               const guint8 *plain,
                                               gsize length,
                                               guint8 *stored,
                                               gsize room);

G_END_DECLS
