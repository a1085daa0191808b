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

/* *stored_length is 0 if @plain does not become as short as @room. */
gboolean img_zstd_encode (const guint8 *plain,
                          gsize plain_length,
                          guint8 *stored,
                          gsize room,
                          gsize *stored_length,
                          ImgError **error);

G_END_DECLS
