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
/* *stored_length is 0 if @plain does not become as short as @room. */
gboolean img_deflate_encode (const guint8 *plain,
                             gsize plain_length,
                             guint8 *stored,
                             gsize room,
                             gsize *stored_length,
                             ImgError **error);

G_END_DECLS
