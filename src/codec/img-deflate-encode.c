/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Raw deflate with a window of 4 KiB: readers that are fed in pieces may keep no larger one. A thread keeps
 * its compressor: nothing is allocated per unit. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <zlib.h>

#include "img-deflate.h"

#define WINDOW_BITS (-12)
#define MEMORY_LEVEL 9
#define LEVEL Z_DEFAULT_COMPRESSION

static void
stream_free (gpointer data)
{
  deflateEnd (data);
  g_free (data);
}

static GPrivate thread_stream = G_PRIVATE_INIT (stream_free);

/* Reset, ready for the next unit. */
static z_stream *
stream_get (void)
{
  z_stream *stream = g_private_get (&thread_stream);

  if (stream != NULL)
    return deflateReset (stream) == Z_OK ? stream : NULL;
  stream = g_new0 (z_stream, 1);
  if (deflateInit2 (stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
    {
      g_free (stream);
      return NULL;
    }
  g_private_set (&thread_stream, stream);
  return stream;
}

gboolean
img_deflate_encode (const guint8 *plain,
                    gsize plain_length,
                    guint8 *stored,
                    gsize room,
                    gsize *stored_length,
                    ImgError **error)
{
  z_stream *stream = stream_get ();

  if (stream == NULL)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot encode deflate data"));
      return FALSE;
    }
  g_return_val_if_fail (plain_length <= G_MAXUINT && room <= G_MAXUINT, FALSE);
  stream->next_in = (Bytef *) plain;
  stream->avail_in = (uInt) plain_length;
  stream->next_out = stored;
  stream->avail_out = (uInt) room;
  /* Anything but the end of the stream: there was no room for it. */
  *stored_length = deflate (stream, Z_FINISH) == Z_STREAM_END ? room - stream->avail_out : 0;
  return TRUE;
}
