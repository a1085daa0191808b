/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-deflate.h"
#include "img-encoder.h"
#include "img-zstd.h"

struct _ImgEncoder
{
  gsize unit_length;
  int asked_level;
  /* One of them. */
  ImgDeflateEncoder *deflate;
  ImgZstdEncoder *zstd;
};

int
img_encoder_get_max_level (ImgCompression compression)
{
  return compression == IMG_COMPRESSION_ZSTD ? img_zstd_get_max_level () : IMG_DEFLATE_MAX_LEVEL;
}

static gboolean
check_level (ImgCompression compression, int level, ImgError **error)
{
  int max = img_encoder_get_max_level (compression);

  if (max == 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED,
                   _ ("This library was built without zstd, which the compressed clusters need"));
  else if (level < 0 || level > max)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _ ("There is no compression level %d: it can be from 1 to %d"), level, max);
  else
    return TRUE;
  return FALSE;
}

ImgEncoder *
img_encoder_new (ImgCompression compression, int level, gsize unit_length, ImgError **error)
{
  g_autoptr (ImgEncoder) encoder = NULL;

  if (!check_level (compression, level, error))
    return NULL;
  encoder = g_new0 (ImgEncoder, 1);
  encoder->unit_length = unit_length;
  encoder->asked_level = level;
  if (compression == IMG_COMPRESSION_ZSTD)
    encoder->zstd = img_zstd_encoder_new (level, unit_length, error);
  else
    encoder->deflate = img_deflate_encoder_new (level, unit_length, error);
  if (encoder->zstd == NULL && encoder->deflate == NULL)
    return NULL;
  return g_steal_pointer (&encoder);
}

void
img_encoder_free (ImgEncoder *encoder)
{
  if (encoder == NULL)
    return;
  img_deflate_encoder_free (encoder->deflate);
  img_zstd_encoder_free (encoder->zstd);
  g_free (encoder);
}

gboolean
img_encoder_encode (ImgEncoder *encoder,
                    const guint8 *plain,
                    gsize length,
                    guint8 *stored,
                    gsize room,
                    gsize *stored_length,
                    ImgError **error)
{
  g_return_val_if_fail (length <= encoder->unit_length, FALSE);

  *stored_length = 0;
  if (encoder->zstd != NULL)
    return img_zstd_encoder_encode (encoder->zstd, plain, length, stored, room, stored_length,
                                    error);
  *stored_length = img_deflate_encoder_encode (encoder->deflate, plain, length, stored, room);
  return TRUE;
}

gsize
img_encoder_get_memory (ImgEncoder *encoder)
{
  return encoder->zstd != NULL ? img_zstd_encoder_get_memory (encoder->zstd)
                               : encoder->unit_length + IMG_DEFLATE_MAX_STATE;
}

/* ---- kept by threads ---- */

static void
free_kept (gpointer data)
{
  img_encoder_free (data);
}

static GPrivate kept_deflate = G_PRIVATE_INIT (free_kept);
static GPrivate kept_zstd = G_PRIVATE_INIT (free_kept);

ImgEncoder *
img_encoder_get_for_thread (ImgCompression compression, int level, gsize unit_length, ImgError **error)
{
  GPrivate *kept = compression == IMG_COMPRESSION_ZSTD ? &kept_zstd : &kept_deflate;
  ImgEncoder *encoder = g_private_get (kept);

  if (G_LIKELY (encoder != NULL && encoder->asked_level == level && encoder->unit_length == unit_length))
    return encoder;
  encoder = img_encoder_new (compression, level, unit_length, error);
  if (encoder != NULL)
    g_private_replace (kept, encoder);
  return encoder;
}
