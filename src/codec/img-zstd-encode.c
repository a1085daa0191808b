/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One frame a unit that says how long its content is and has no checksum, as the decoders of images
 * expect. zstd passes over what it cannot compress at several times its usual speed: there is no
 * probe here. */

#include "config.h"

#include <glib/gi18n-lib.h>

#ifdef HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "img-alloc.h"
#include "img-zstd.h"

#ifdef HAVE_ZSTD

struct _ImgZstdEncoder
{
  ZSTD_CCtx *context;
};

int
img_zstd_get_max_level (void)
{
  return ZSTD_maxCLevel ();
}

static gboolean
check_result (gsize result, ImgError **error)
{
  if (!ZSTD_isError (result))
    return TRUE;
  if (ZSTD_getErrorCode (result) == ZSTD_error_memory_allocation)
    img_error_set (error, IMG_CODE_NO_MEMORY, _ ("Out of memory: cannot encode zstd data"));
  else
    img_error_set (error, IMG_CODE_FAILED, _ ("Cannot encode zstd data: %s"),
                   ZSTD_getErrorName (result));
  return FALSE;
}

/* The library takes its memory when it first encodes a unit of that length. */
static gboolean
warm_up (ImgZstdEncoder *encoder, gsize unit_length, ImgError **error)
{
  g_autoptr (ImgBuffer) plain = img_try_alloc0 (unit_length, 1, error);
  gsize room = ZSTD_compressBound (unit_length);
  g_autoptr (ImgBuffer) stored = plain != NULL ? img_try_alloc (room, error) : NULL;

  return stored != NULL &&
         check_result (ZSTD_compress2 (encoder->context, stored, room, plain, unit_length), error);
}

static gboolean
init (ImgZstdEncoder *encoder, int level, gsize unit_length, ImgError **error)
{
  encoder->context = ZSTD_createCCtx ();
  if (encoder->context == NULL)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _ ("Out of memory: cannot encode zstd data"));
      return FALSE;
    }
  /* Level 0 is the library's own name for its default. */
  return check_result (ZSTD_CCtx_setParameter (encoder->context, ZSTD_c_compressionLevel, level),
                       error) &&
         warm_up (encoder, unit_length, error);
}

ImgZstdEncoder *
img_zstd_encoder_new (int level, gsize unit_length, ImgError **error)
{
  ImgZstdEncoder *encoder = g_new0 (ImgZstdEncoder, 1);

  if (init (encoder, level, unit_length, error))
    return encoder;
  img_zstd_encoder_free (encoder);
  return NULL;
}

void
img_zstd_encoder_free (ImgZstdEncoder *encoder)
{
  if (encoder == NULL)
    return;
  ZSTD_freeCCtx (encoder->context);
  g_free (encoder);
}

gsize
img_zstd_encoder_get_memory (ImgZstdEncoder *encoder)
{
  return ZSTD_sizeof_CCtx (encoder->context);
}

gboolean
img_zstd_encoder_encode (ImgZstdEncoder *encoder,
                         const guint8 *plain,
                         gsize length,
                         guint8 *stored,
                         gsize room,
                         gsize *stored_length,
                         ImgError **error)
{
  gsize result = ZSTD_compress2 (encoder->context, stored, room, plain, length);

  *stored_length = 0;
  if (ZSTD_isError (result) && ZSTD_getErrorCode (result) == ZSTD_error_dstSize_tooSmall)
    return TRUE;
  if (!check_result (result, error))
    return FALSE;
  *stored_length = result;
  return TRUE;
}

#else

int
img_zstd_get_max_level (void)
{
  return 0;
}

ImgZstdEncoder *
img_zstd_encoder_new (int level, gsize unit_length, ImgError **error)
{
  g_return_val_if_reached (NULL);
}

void
img_zstd_encoder_free (ImgZstdEncoder *encoder)
{
}

gsize
img_zstd_encoder_get_memory (ImgZstdEncoder *encoder)
{
  g_return_val_if_reached (0);
}

gboolean
img_zstd_encoder_encode (ImgZstdEncoder *encoder,
                         const guint8 *plain,
                         gsize length,
                         guint8 *stored,
                         gsize room,
                         gsize *stored_length,
                         ImgError **error)
{
  g_return_val_if_reached (FALSE);
}

#endif
