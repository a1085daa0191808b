/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Each decoder is fed from one input buffer and writes straight into the caller's. Members that
 * follow each other are one disk, as the command line tools have it. What cannot be decoded is an
 * error, never a shorter disk. */

#include "config.h"

#include "img-unwrap.h"

#include <glib/gi18n-lib.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "img-alloc.h"
#include "img-common.h"

#define INPUT_LENGTH (64 * IMG_KIB)
/* "xz -9" takes 65 MiB. */
#define XZ_MEMORY_LIMIT (128 * IMG_MIB)
/* "zstd --ultra -22" takes windows of 128 MiB. */
#define ZSTD_WINDOW_LOG_LIMIT 27
#define MAGIC_LENGTH 6
#define GZIP_ONLY (16 + MAX_WBITS)

typedef struct
{
  const char *name;
  gboolean (*begin) (ImgUnwrap *unwrap, ImgError **error);
  /* Moves some bytes; sets at_end if the input has ended and all of it was decoded. */
  gboolean (*decode) (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error);
  void (*end) (ImgUnwrap *unwrap);
} Decoder;

struct _ImgUnwrap
{
  const ImgByteStream *stream;
  ImgWrapping wrapping;
  GChecksum *checksum;
  const Decoder *decoder; /* NULL: not begun */

  guint8 *input;
  gsize input_start; /* what has not been decoded yet */
  gsize input_end;
  gboolean input_ended;
  gboolean at_end;

  gboolean is_between; /* members: all that came was complete */
  gboolean is_padding; /* only zeroes may follow */
  z_stream gzip;
#ifdef HAVE_LZMA
  lzma_stream xz;
#endif
#ifdef HAVE_ZSTD
  ZSTD_DCtx *zstd;
#endif
};

/* ---- the input ---- */

static gboolean
has_input (const ImgUnwrap *unwrap)
{
  return unwrap->input_start < unwrap->input_end;
}

static guint8 *
input_of (ImgUnwrap *unwrap)
{
  return unwrap->input + unwrap->input_start;
}

static gsize
input_length (const ImgUnwrap *unwrap)
{
  return unwrap->input_end - unwrap->input_start;
}

/* Adds what the stream has to give to what is in the buffer, which is not full. */
static gboolean
fetch (ImgUnwrap *unwrap, ImgError **error)
{
  gssize n;

  if (!has_input (unwrap))
    unwrap->input_start = unwrap->input_end = 0;
  n = unwrap->stream->read (unwrap->stream->data, unwrap->input + unwrap->input_end,
                            INPUT_LENGTH - unwrap->input_end, error);
  if (n < 0)
    return FALSE;
  if (unwrap->checksum != NULL)
    g_checksum_update (unwrap->checksum, unwrap->input + unwrap->input_end, n);
  unwrap->input_end += (gsize) n;
  unwrap->input_ended = n == 0;
  return TRUE;
}

static gboolean
set_truncated (const ImgUnwrap *unwrap, ImgError **error)
{
  img_error_set (error, IMG_CODE_CORRUPT, _ ("The %s data ends too early"), unwrap->decoder->name);
  return FALSE;
}

static gboolean
set_damaged (const ImgUnwrap *unwrap, const char *why, ImgError **error)
{
  if (why != NULL)
    img_error_set (error, IMG_CODE_CORRUPT, _ ("The %s data is damaged: %s"), unwrap->decoder->name,
                   why);
  else
    img_error_set (error, IMG_CODE_CORRUPT, _ ("The %s data is damaged"), unwrap->decoder->name);
  return FALSE;
}

static gboolean
set_no_memory (const ImgUnwrap *unwrap, ImgError **error)
{
  img_error_set (error, IMG_CODE_NO_MEMORY, _ ("Out of memory: cannot decode %s data"),
                 unwrap->decoder->name);
  return FALSE;
}

#if !defined(HAVE_LZMA) || !defined(HAVE_ZSTD)
static gboolean
begin_missing (ImgUnwrap *unwrap, ImgError **error)
{
  img_error_set (error, IMG_CODE_UNSUPPORTED,
                 _ ("The data is compressed with %s, which this library was built without"),
                 unwrap->decoder->name);
  return FALSE;
}
#endif

static void
end_nothing (ImgUnwrap *unwrap)
{
}

/* ---- not wrapped ---- */

static gboolean
begin_plain (ImgUnwrap *unwrap, ImgError **error)
{
  return TRUE;
}

static gboolean
decode_plain (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error)
{
  gsize length = MIN (input_length (unwrap), (gsize) (to_end - *to));

  memcpy (*to, input_of (unwrap), length);
  *to += length;
  unwrap->input_start += length;
  unwrap->at_end = unwrap->input_ended && !has_input (unwrap);
  return TRUE;
}

static const Decoder plain_decoder = { "raw", begin_plain, decode_plain, end_nothing };

/* ---- gzip ---- */

static gboolean
begin_gzip (ImgUnwrap *unwrap, ImgError **error)
{
  if (inflateInit2 (&unwrap->gzip, GZIP_ONLY) != Z_OK)
    return set_no_memory (unwrap, error);
  unwrap->is_between = FALSE;
  return TRUE;
}

/* Behind a member there is another one, or zeroes up to the end of a block of a tape. */
static gboolean
begin_member (ImgUnwrap *unwrap, ImgError **error)
{
  if (*input_of (unwrap) != 0 && !unwrap->is_padding)
    {
      unwrap->is_between = FALSE;
      return inflateReset (&unwrap->gzip) == Z_OK || set_damaged (unwrap, NULL, error);
    }
  unwrap->is_padding = TRUE;
  for (; has_input (unwrap); unwrap->input_start++)
    if (*input_of (unwrap) != 0)
      return set_damaged (unwrap, NULL, error);
  return TRUE;
}

static gboolean
inflate_some (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error)
{
  z_stream *gzip = &unwrap->gzip;
  int result;

  gzip->next_in = input_of (unwrap);
  gzip->avail_in = (uInt) input_length (unwrap);
  gzip->next_out = *to;
  gzip->avail_out = (uInt) (to_end - *to);
  result = inflate (gzip, Z_NO_FLUSH);
  unwrap->input_start = unwrap->input_end - gzip->avail_in;
  *to = gzip->next_out;
  if (result == Z_STREAM_END)
    unwrap->is_between = TRUE;
  else if (result == Z_MEM_ERROR)
    return set_no_memory (unwrap, error);
  else if (result == Z_BUF_ERROR && unwrap->input_ended && !has_input (unwrap))
    return set_truncated (unwrap, error);
  else if (result != Z_OK && result != Z_BUF_ERROR)
    return set_damaged (unwrap, gzip->msg, error);
  return TRUE;
}

static gboolean
decode_gzip (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error)
{
  if (!unwrap->is_between)
    return inflate_some (unwrap, to, to_end, error);
  if (has_input (unwrap))
    return begin_member (unwrap, error);
  unwrap->at_end = unwrap->input_ended;
  return TRUE;
}

static void
end_gzip (ImgUnwrap *unwrap)
{
  inflateEnd (&unwrap->gzip);
}

static const Decoder gzip_decoder = { "gzip", begin_gzip, decode_gzip, end_gzip };

/* ---- xz ---- */

#ifdef HAVE_LZMA

static gboolean
begin_xz (ImgUnwrap *unwrap, ImgError **error)
{
  if (lzma_stream_decoder (&unwrap->xz, XZ_MEMORY_LIMIT, LZMA_CONCATENATED) == LZMA_OK)
    return TRUE;
  return set_no_memory (unwrap, error);
}

static gboolean
decode_xz (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error)
{
  lzma_stream *xz = &unwrap->xz;
  lzma_ret result;

  xz->next_in = input_of (unwrap);
  xz->avail_in = input_length (unwrap);
  xz->next_out = *to;
  xz->avail_out = (gsize) (to_end - *to);
  result = lzma_code (xz, unwrap->input_ended ? LZMA_FINISH : LZMA_RUN);
  unwrap->input_start = unwrap->input_end - xz->avail_in;
  *to = xz->next_out;
  switch (result)
    {
    case LZMA_OK:
      return TRUE;
    case LZMA_STREAM_END:
      unwrap->at_end = TRUE;
      return TRUE;
    case LZMA_BUF_ERROR:
      return unwrap->input_ended ? set_truncated (unwrap, error) : TRUE;
    case LZMA_MEM_ERROR:
      return set_no_memory (unwrap, error);
    case LZMA_MEMLIMIT_ERROR:
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _ ("The xz data takes more memory to decode than is allowed"));
      return FALSE;
    default:
      return set_damaged (unwrap, NULL, error);
    }
}

static void
end_xz (ImgUnwrap *unwrap)
{
  lzma_end (&unwrap->xz);
}

static const Decoder xz_decoder = { "xz", begin_xz, decode_xz, end_xz };

#else

static const Decoder xz_decoder = { "xz", begin_missing, decode_plain, end_nothing };

#endif

/* ---- zstd ---- */

#ifdef HAVE_ZSTD

static gboolean
begin_zstd (ImgUnwrap *unwrap, ImgError **error)
{
  unwrap->zstd = ZSTD_createDCtx ();
  if (unwrap->zstd == NULL)
    return set_no_memory (unwrap, error);
  ZSTD_DCtx_setParameter (unwrap->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_LIMIT);
  return TRUE;
}

static gboolean
set_zstd_error (const ImgUnwrap *unwrap, gsize result, ImgError **error)
{
  switch (ZSTD_getErrorCode (result))
    {
    case ZSTD_error_memory_allocation:
      return set_no_memory (unwrap, error);
    case ZSTD_error_frameParameter_windowTooLarge:
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _ ("The zstd data takes more memory to decode than is allowed"));
      return FALSE;
    default:
      return set_damaged (unwrap, ZSTD_getErrorName (result), error);
    }
}

static gboolean
decode_zstd (ImgUnwrap *unwrap, guint8 **to, guint8 *to_end, ImgError **error)
{
  ZSTD_inBuffer in = { input_of (unwrap), input_length (unwrap), 0 };
  ZSTD_outBuffer out = { *to, (gsize) (to_end - *to), 0 };
  gsize result;

  if (unwrap->is_between && unwrap->input_ended && !has_input (unwrap))
    {
      unwrap->at_end = TRUE;
      return TRUE;
    }
  result = ZSTD_decompressStream (unwrap->zstd, &out, &in);
  if (ZSTD_isError (result))
    return set_zstd_error (unwrap, result, error);
  unwrap->input_start += in.pos;
  *to += out.pos;
  unwrap->is_between = result == 0;
  if (!unwrap->is_between && unwrap->input_ended && !has_input (unwrap) && out.pos == 0)
    return set_truncated (unwrap, error);
  return TRUE;
}

static void
end_zstd (ImgUnwrap *unwrap)
{
  ZSTD_freeDCtx (unwrap->zstd);
}

static const Decoder zstd_decoder = { "zstd", begin_zstd, decode_zstd, end_zstd };

#else

static const Decoder zstd_decoder = { "zstd", begin_missing, decode_plain, end_nothing };

#endif

/* ---- which of them ---- */

static const Decoder *
find_by_magic (ImgUnwrap *unwrap)
{
  static const struct
  {
    const Decoder *decoder;
    gsize length;
    guint8 magic[MAGIC_LENGTH];
  } known[] = {
    { &gzip_decoder, 3, { 0x1f, 0x8b, 0x08 } },
    { &xz_decoder, 6, { 0xfd, '7', 'z', 'X', 'Z', 0x00 } },
    { &zstd_decoder, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    if (input_length (unwrap) >= known[i].length &&
        memcmp (input_of (unwrap), known[i].magic, known[i].length) == 0)
      return known[i].decoder;
  return &plain_decoder;
}

static gboolean
begin (ImgUnwrap *unwrap, ImgError **error)
{
  static const Decoder *const decoders[] = {
    [IMG_WRAPPING_NONE] = &plain_decoder,
    [IMG_WRAPPING_GZIP] = &gzip_decoder,
    [IMG_WRAPPING_XZ] = &xz_decoder,
    [IMG_WRAPPING_ZSTD] = &zstd_decoder,
  };
  const Decoder *decoder = decoders[unwrap->wrapping];

  unwrap->input = img_try_alloc (INPUT_LENGTH, error);
  if (unwrap->input == NULL)
    return FALSE;
  if (unwrap->wrapping == IMG_WRAPPING_AUTO)
    {
      while (unwrap->input_end < MAGIC_LENGTH && !unwrap->input_ended)
        if (!fetch (unwrap, error))
          return FALSE;
      decoder = find_by_magic (unwrap);
    }
  unwrap->decoder = decoder;
  if (decoder->begin (unwrap, error))
    return TRUE;
  unwrap->decoder = NULL;
  return FALSE;
}

ImgUnwrap *
img_unwrap_new (const ImgByteStream *stream, ImgWrapping wrapping, GChecksum *checksum)
{
  ImgUnwrap *unwrap = g_new0 (ImgUnwrap, 1);

  unwrap->stream = stream;
  unwrap->wrapping = wrapping;
  unwrap->checksum = checksum;
  return unwrap;
}

void
img_unwrap_free (ImgUnwrap *unwrap)
{
  if (unwrap == NULL)
    return;
  if (unwrap->decoder != NULL)
    unwrap->decoder->end (unwrap);
  img_free (unwrap->input);
  g_free (unwrap);
}

gboolean
img_unwrap_read (ImgUnwrap *unwrap,
                 guint8 *buffer,
                 gsize length,
                 gsize *n_read,
                 ImgCancel *cancel,
                 ImgError **error)
{
  guint8 *to = buffer;

  *n_read = 0;
  if (unwrap->input == NULL && !begin (unwrap, error))
    return FALSE;
  while (to < buffer + length && !unwrap->at_end)
    if (img_cancel_check (cancel, error) ||
        (!has_input (unwrap) && !unwrap->input_ended && !fetch (unwrap, error)) ||
        !unwrap->decoder->decode (unwrap, &to, buffer + length, error))
      return FALSE;
  *n_read = (gsize) (to - buffer);
  return TRUE;
}
