/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Compressing units of a disk image, each for itself. An encoder serves one thread at a time and has all of its
 * memory from the start. What it makes of a unit depends on nothing but the unit, the room, the level, and the
 * libraries and the processor at hand: not on what it encoded before, nor on how many others there are. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_COMPRESSION_DEFAULT, /* the format's own */
  IMG_COMPRESSION_ZLIB,    /* raw deflate with a window of 4 KiB */
  IMG_COMPRESSION_ZSTD,
} ImgCompression;

typedef struct _ImgEncoder ImgEncoder;

/* The highest level, the lowest being 1; 0: this build cannot encode it. DEFAULT counts as ZLIB here. */
int         img_encoder_get_max_level (ImgCompression compression);

/* @level 0: the default. @unit_length: of the longest unit. Fails with INVALID_OPTION for a level that does not
 * exist. */
ImgEncoder *img_encoder_new  (ImgCompression compression, int level, gsize unit_length, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
void        img_encoder_free (ImgEncoder *encoder);

/* *stored_length is 0 if @plain does not become as short as @room, or hardly shorter than it is. */
gboolean    img_encoder_encode (ImgEncoder *encoder,
                                const guint8 *plain,
                                gsize length,
                                guint8 *stored,
                                gsize room,
                                gsize *stored_length,
                                ImgError **error);

/* Bytes, about. */
gsize       img_encoder_get_memory (ImgEncoder *encoder);

/* One that the calling thread keeps until it wants another. */
ImgEncoder *img_encoder_get_for_thread (ImgCompression compression, int level, gsize unit_length,
                                        ImgError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgEncoder, img_encoder_free)

G_END_DECLS
