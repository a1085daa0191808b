/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* zlib decides what is a valid unit; libdeflate, where there is one, is the fast way to the same
 * answer. libdeflate wants the end of the stream to be where the output ends, so whatever it
 * refuses goes to zlib, which has the last word. The other way round, libdeflate gives a meaning to
 * some codes that RFC 1951 reserves and zlib refuses: no compressor emits them, and the output is
 * of the right length either way.
 *
 * ISA-L, where there is one, stops where the output is full: that is for a part of a unit, which is half the
 * work on average when units are read at random. What it refuses is decoded as a whole.
 *
 * A thread keeps its decompressors: nothing is allocated per unit. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <zlib.h>

#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>

#include "img-vector-state.h"
#endif

#include "img-deflate.h"

/* Raw deflate with the largest window. In one call zlib takes the output itself as the window, so
 * that streams made for a smaller one need nothing else. */
#define WINDOW_BITS (-15)

typedef struct
{
  z_stream stream;
  gboolean has_stream;
#ifdef HAVE_LIBDEFLATE
  struct libdeflate_decompressor *fast;
#endif
#ifdef HAVE_ISAL
  struct inflate_state *partial;
#endif
} Decoder;

static void
decoder_free (gpointer data)
{
  Decoder *decoder = data;

  if (decoder->has_stream)
    inflateEnd (&decoder->stream);
#ifdef HAVE_LIBDEFLATE
  if (decoder->fast != NULL)
    libdeflate_free_decompressor (decoder->fast);
#endif
#ifdef HAVE_ISAL
  g_free (decoder->partial);
#endif
  g_free (decoder);
}

static GPrivate thread_decoder = G_PRIVATE_INIT (decoder_free);

static Decoder *
decoder_get (void)
{
  Decoder *decoder = g_private_get (&thread_decoder);

  if (G_UNLIKELY (decoder == NULL))
    {
      decoder = g_new0 (Decoder, 1);
      g_private_set (&thread_decoder, decoder);
    }
  return decoder;
}

static gboolean
start_stream (Decoder *decoder, ImgError **error)
{
  int result = decoder->has_stream ? inflateReset (&decoder->stream)
                                   : inflateInit2 (&decoder->stream, WINDOW_BITS);

  if (result != Z_OK)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot decode deflate data"));
      return FALSE;
    }
  decoder->has_stream = TRUE;
  return TRUE;
}

static gboolean
decode_with_zlib (Decoder *decoder,
                  const guint8 *stored,
                  gsize stored_length,
                  guint8 *plain,
                  gsize plain_length,
                  ImgError **error)
{
  z_stream *stream = &decoder->stream;
  int result;

  if (stored_length > G_MAXUINT || plain_length > G_MAXUINT)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The deflate data is too long"));
      return FALSE;
    }
  if (!start_stream (decoder, error))
    return FALSE;
  stream->next_in = (Bytef *) stored;
  stream->avail_in = (uInt) stored_length;
  stream->next_out = plain;
  stream->avail_out = (uInt) plain_length;
  result = inflate (stream, Z_FINISH);
  if (result == Z_MEM_ERROR)
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot decode deflate data"));
  else if (result != Z_STREAM_END && result != Z_BUF_ERROR)
    img_error_set (error, IMG_CODE_CORRUPT, _("The deflate data is damaged: %s"),
                   stream->msg != NULL ? stream->msg : "?");
  else if (stream->avail_out != 0)
    img_error_set (error, IMG_CODE_CORRUPT, _("The deflate data ends too early"));
  else
    return TRUE;
  return FALSE;
}

#ifdef HAVE_LIBDEFLATE
static gboolean
decode_fast (Decoder *decoder,
             const guint8 *stored,
             gsize stored_length,
             guint8 *plain,
             gsize plain_length)
{
  gsize n_read, n_written;

  if (decoder->fast == NULL)
    decoder->fast = libdeflate_alloc_decompressor ();
  return decoder->fast != NULL &&
         libdeflate_deflate_decompress_ex (decoder->fast, stored, stored_length, plain,
                                           plain_length, &n_read,
                                           &n_written) == LIBDEFLATE_SUCCESS &&
         n_written == plain_length;
}
#endif

gboolean
img_deflate_decode (const guint8 *stored,
                    gsize stored_length,
                    guint8 *plain,
                    gsize plain_length,
                    ImgError **error)
{
  Decoder *decoder = decoder_get ();

#ifdef HAVE_LIBDEFLATE
  if (decode_fast (decoder, stored, stored_length, plain, plain_length))
    return TRUE;
#endif
  if (decode_with_zlib (decoder, stored, stored_length, plain, plain_length, error))
    return TRUE;
  /* The buffer may be one that held other data: nothing of it leaks through a failed decode. */
  memset (plain, 0, plain_length);
  return FALSE;
}

#ifdef HAVE_ISAL
/* More than that is as well decoded whole. */
#define MAX_PART(length) ((length) - (length) / 8)

static gboolean
decode_part_fast (Decoder *decoder,
                  const guint8 *stored,
                  gsize stored_length,
                  guint8 *plain,
                  gsize wanted)
{
  struct inflate_state *state = decoder->partial;
  int result;

  if (state == NULL)
    state = decoder->partial = g_new (struct inflate_state, 1);
  if (stored_length > G_MAXUINT32 || wanted > G_MAXUINT32)
    return FALSE;
  isal_inflate_init (state);
  state->crc_flag = ISAL_DEFLATE;
  state->next_in = (uint8_t *) stored;
  state->avail_in = (uint32_t) stored_length;
  state->next_out = plain;
  state->avail_out = (uint32_t) wanted;
  result = isal_inflate_stateless (state);
  img_vector_state_clear ();
  /* The output is full before the stream ends, or just then. */
  switch (result)
    {
    case ISAL_DECOMP_OK:
    case ISAL_OUT_OVERFLOW:
      return state->avail_out == 0;
    default:
      return FALSE;
    }
}
#endif

gboolean
img_deflate_decode_part (const guint8 *stored,
                         gsize stored_length,
                         guint8 *plain,
                         gsize plain_length,
                         gsize wanted,
                         gsize *n_plain,
                         ImgError **error)
{
#ifdef HAVE_ISAL
  *n_plain = wanted;
  if (wanted <= MAX_PART (plain_length) &&
      decode_part_fast (decoder_get (), stored, stored_length, plain, wanted))
    return TRUE;
#endif
  *n_plain = plain_length;
  return img_deflate_decode (stored, stored_length, plain, plain_length, error);
}
