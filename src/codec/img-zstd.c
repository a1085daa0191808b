/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Frames are decoded whole, into their place: the output is the window. The streaming interface
 * would allocate a window as large as the frame's header asks for, and the header is the file's
 * word. */

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
  ZSTD_freeDCtx (data);
}

static GPrivate thread_context = G_PRIVATE_INIT (context_free);

static ZSTD_DCtx *
context_get (ImgError **error)
{
  ZSTD_DCtx *context = g_private_get (&thread_context);

  if (G_LIKELY (context != NULL))
    return context;
  context = ZSTD_createDCtx ();
  if (context == NULL)
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot decode zstd data"));
  else
    g_private_set (&thread_context, context);
  return context;
}

static void
set_zstd_error (ImgError **error, gsize result)
{
  if (ZSTD_getErrorCode (result) == ZSTD_error_memory_allocation)
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot decode zstd data"));
  else
    img_error_set (error, IMG_CODE_CORRUPT, _("The zstd data is damaged: %s"),
                   ZSTD_getErrorName (result));
}

static gboolean
decode_frames (ZSTD_DCtx *context,
               const guint8 *stored,
               gsize stored_length,
               guint8 *plain,
               gsize plain_length,
               ImgError **error)
{
  gsize n_read = 0;
  gsize n_written = 0;

  while (n_written < plain_length)
    {
      gsize frame_length, result;

      if (n_read == stored_length)
        {
          img_error_set (error, IMG_CODE_CORRUPT, _("The zstd data ends too early"));
          return FALSE;
        }
      frame_length = ZSTD_findFrameCompressedSize (stored + n_read, stored_length - n_read);
      if (ZSTD_isError (frame_length))
        {
          set_zstd_error (error, frame_length);
          return FALSE;
        }
      result = ZSTD_decompressDCtx (context, plain + n_written, plain_length - n_written,
                                    stored + n_read, frame_length);
      if (ZSTD_isError (result))
        {
          set_zstd_error (error, result);
          return FALSE;
        }
      n_read += frame_length;
      n_written += result;
    }
  return TRUE;
}

gboolean
img_zstd_is_available (void)
{
  return TRUE;
}

gboolean
img_zstd_decode (const guint8 *stored,
                 gsize stored_length,
                 guint8 *plain,
                 gsize plain_length,
                 ImgError **error)
{
  ZSTD_DCtx *context = context_get (error);

  if (context != NULL && decode_frames (context, stored, stored_length, plain, plain_length, error))
    return TRUE;
  /* The buffer may be one that held other data: nothing of it leaks through a failed decode. */
  memset (plain, 0, plain_length);
  return FALSE;
}

#else

gboolean
img_zstd_is_available (void)
{
  return FALSE;
}

gboolean
img_zstd_decode (const guint8 *stored,
                 gsize stored_length,
                 guint8 *plain,
                 gsize plain_length,
                 ImgError **error)
{
  memset (plain, 0, plain_length);
  img_error_set (error, IMG_CODE_UNSUPPORTED,
                 _("The data is compressed with zstd and this library was built without libzstd"));
  return FALSE;
}

#endif
