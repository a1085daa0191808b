/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#ifdef HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "img-zstd.h"

#ifdef HAVE_ZSTD

static void
context_free (gpointer data)
{
  ZSTD_freeCCtx (data);
}

static GPrivate thread_context = G_PRIVATE_INIT (context_free);

static ZSTD_CCtx *
context_get (void)
{
  ZSTD_CCtx *context = g_private_get (&thread_context);

  if (G_LIKELY (context != NULL))
    return context;
  context = ZSTD_createCCtx ();
  if (context != NULL)
    g_private_set (&thread_context, context);
  return context;
}

/* One frame that says how long its content is and has no checksum, as the decoders of images expect. */
gboolean
img_zstd_encode (const guint8 *plain,
                 gsize plain_length,
                 guint8 *stored,
                 gsize room,
                 gsize *stored_length,
                 ImgError **error)
{
  ZSTD_CCtx *context = context_get ();
  gsize result;

  *stored_length = 0;
  if (context == NULL)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot encode zstd data"));
      return FALSE;
    }
  result = ZSTD_compressCCtx (context, stored, room, plain, plain_length, ZSTD_CLEVEL_DEFAULT);
  if (!ZSTD_isError (result))
    *stored_length = result;
  else if (ZSTD_getErrorCode (result) != ZSTD_error_dstSize_tooSmall)
    {
      img_error_set (error, IMG_CODE_FAILED, _("Cannot encode zstd data: %s"),
                     ZSTD_getErrorName (result));
      return FALSE;
    }
  return TRUE;
}

#else

gboolean
img_zstd_encode (const guint8 *plain,
                 gsize plain_length,
                 guint8 *stored,
                 gsize room,
                 gsize *stored_length,
                 ImgError **error)
{
  img_error_set (error, IMG_CODE_UNSUPPORTED,
                 _("This library was built without zstd, which the compressed clusters need"));
  return FALSE;
}

#endif
