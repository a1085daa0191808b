/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Zstandard (RFC 8878), one unit at a time. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

/* FALSE: this build has no libzstd. */
gboolean img_zstd_is_available (void);

/* Decodes as many frames from the start of @stored as fill @plain; the last of them must end
 * exactly there. What follows is ignored. On failure @plain is all zero. */
gboolean img_zstd_decode (const guint8 *stored,
                          gsize stored_length,
                          guint8 *plain,
                          gsize plain_length,
                          ImgError **error);

/* Behind img-encoder.h. Without libzstd the highest level is 0 and nothing else may be called. */
typedef struct _ImgZstdEncoder ImgZstdEncoder;

int             img_zstd_get_max_level  (void);
ImgZstdEncoder *img_zstd_encoder_new    (int level, gsize unit_length, ImgError **error);
void            img_zstd_encoder_free   (ImgZstdEncoder *encoder);
gsize           img_zstd_encoder_get_memory (ImgZstdEncoder *encoder);
gboolean        img_zstd_encoder_encode (ImgZstdEncoder *encoder,
                                         const guint8 *plain,
                                         gsize length,
                                         guint8 *stored,
                                         gsize room,
                                         gsize *stored_length,
                                         ImgError **error);

G_END_DECLS
