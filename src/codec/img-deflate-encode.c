/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Raw deflate with a window of 4 KiB: readers that are fed in pieces may keep no larger one.
 *
 * ISA-L, where there is one, is five to twelve times as fast as zlib and gives up some of the
 * gain. The levels are those of zlib as far as zlib does the work, from 6 on; below, they are the
 * steps that ISA-L has. Without it all of them are zlib's.
 *
 * What cannot be compressed costs zlib nearly as much as what can. ISA-L sees it at 1 GB/s: a unit
 * that it cannot make shorter by one byte is not given to zlib. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <zlib.h>

#ifdef HAVE_ISAL
#include <string.h>

#include <isa-l/igzip_lib.h>

#include "img-vector-state.h"
#endif

#include "img-alloc.h"
#include "img-deflate.h"

#define WINDOW_BITS 12
#define MEMORY_LEVEL 9

struct _ImgDeflateEncoder
{
  z_stream zlib;
  gboolean has_zlib;
#ifdef HAVE_ISAL
  struct isal_zstream *fast;
  guint fast_level;
  guint8 *fast_memory;
  gsize fast_memory_length;
  guint8 *scratch; /* of the longest unit; with both */
#endif
};

#ifdef HAVE_ISAL

#define FIRST_ZLIB_LEVEL 6

static const struct
{
  guint level;
  gsize memory_length;
} fast_levels[FIRST_ZLIB_LEVEL] = {
  { 2, ISAL_DEF_LVL2_SMALL }, /* the default */
  { 1, ISAL_DEF_LVL1_SMALL }, { 2, ISAL_DEF_LVL2_SMALL }, { 2, ISAL_DEF_LVL2_SMALL },
  { 3, ISAL_DEF_LVL3_SMALL }, { 3, ISAL_DEF_LVL3_SMALL },
};
#define PROBE_LEVEL 1
/* Of a short unit the few bytes that ISA-L loses may be all that there is to gain: zlib is not kept from it. */
#define SHORT_UNIT (16 * IMG_KIB)

static void
init_fast (ImgDeflateEncoder *encoder, int level)
{
  encoder->fast_level = fast_levels[level].level;
  encoder->fast_memory_length = fast_levels[level].memory_length;
  encoder->fast_memory = g_malloc (encoder->fast_memory_length);
  encoder->fast = g_new (struct isal_zstream, 1);
}

static const guint8 stored_header[] = { 0, 1, 0, 0xfe, 0xff }; /* of a block of one byte that is not the last */
#define FIRST_BLOCK (sizeof stored_header + 1)

/* Where a stream begins without history, ISA-L (2.30 on x86) hashes the address of the stream in place of its third to
 * sixth byte. What is found later under that hash then depends on where the stream lies: in one process of a thousand
 * another match was taken. So there is history, of one byte: the first of the unit is the dictionary, which we store in
 * a block of its own. That ISA-L's buffer is empty spares it to copy the unit there; it looks back to where the byte is,
 * just in front of the rest. */
static void
begin_with_history (struct isal_zstream *stream, const guint8 *plain, guint8 *stored)
{
  memcpy (stored, stored_header, sizeof stored_header);
  stored[sizeof stored_header] = plain[0];
  isal_deflate_set_dict (stream, (uint8_t *) plain, 1);
  stream->internal_state.b_bytes_valid = stream->internal_state.b_bytes_processed = 0;
}

/* 0: there was no room. */
static gsize
encode_fast (ImgDeflateEncoder *encoder,
             const guint8 *plain,
             gsize length,
             guint8 *stored,
             gsize room)
{
  struct isal_zstream *stream = encoder->fast;
  int result;

  if (room < FIRST_BLOCK)
    return 0;
  isal_deflate_init (stream);
  stream->level = encoder->fast_level;
  stream->level_buf = encoder->fast_memory;
  stream->level_buf_size = (uint32_t) encoder->fast_memory_length;
  stream->hist_bits = WINDOW_BITS;
  stream->gzip_flag = IGZIP_DEFLATE;
  stream->flush = NO_FLUSH;
  stream->end_of_stream = 1;
  begin_with_history (stream, plain, stored);
  stream->next_in = (uint8_t *) plain + 1;
  stream->avail_in = (uint32_t) (length - 1);
  stream->next_out = stored + FIRST_BLOCK;
  stream->avail_out = (uint32_t) (room - FIRST_BLOCK);
  result = isal_deflate (stream);
  img_vector_state_clear ();
  return result == COMP_OK && stream->internal_state.state == ZSTATE_END ? room - stream->avail_out : 0;
}

#endif

static gboolean
init_zlib (ImgDeflateEncoder *encoder, int level, ImgError **error)
{
  encoder->has_zlib =
    deflateInit2 (&encoder->zlib, level == 0 ? Z_DEFAULT_COMPRESSION : level, Z_DEFLATED,
                  -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
  if (!encoder->has_zlib)
    img_error_set (error, IMG_CODE_NO_MEMORY, _ ("Out of memory: cannot encode deflate data"));
  return encoder->has_zlib;
}

static gsize
encode_with_zlib (ImgDeflateEncoder *encoder,
                  const guint8 *plain,
                  gsize length,
                  guint8 *stored,
                  gsize room)
{
  z_stream *stream = &encoder->zlib;

  g_return_val_if_fail (deflateReset (stream) == Z_OK, 0);
  stream->next_in = (Bytef *) plain;
  stream->avail_in = (uInt) length;
  stream->next_out = stored;
  stream->avail_out = (uInt) room;
  /* Anything but the end of the stream: there was no room for it. */
  return deflate (stream, Z_FINISH) == Z_STREAM_END ? room - stream->avail_out : 0;
}

static gboolean
init (ImgDeflateEncoder *encoder, int level, gsize unit_length, ImgError **error)
{
#ifdef HAVE_ISAL
  if (level < FIRST_ZLIB_LEVEL)
    {
      init_fast (encoder, level);
      return TRUE;
    }
  if (unit_length > SHORT_UNIT)
    {
      init_fast (encoder, PROBE_LEVEL);
      encoder->scratch = img_try_alloc (unit_length, error);
      if (encoder->scratch == NULL)
        return FALSE;
    }
#endif
  return init_zlib (encoder, level, error);
}

ImgDeflateEncoder *
img_deflate_encoder_new (int level, gsize unit_length, ImgError **error)
{
  ImgDeflateEncoder *encoder;

  g_return_val_if_fail (level >= 0 && level <= IMG_DEFLATE_MAX_LEVEL, NULL);
  g_return_val_if_fail (unit_length > 0 && unit_length <= G_MAXINT32, NULL);

  encoder = g_new0 (ImgDeflateEncoder, 1);
  if (init (encoder, level, unit_length, error))
    return encoder;
  img_deflate_encoder_free (encoder);
  return NULL;
}

void
img_deflate_encoder_free (ImgDeflateEncoder *encoder)
{
  if (encoder == NULL)
    return;
  if (encoder->has_zlib)
    deflateEnd (&encoder->zlib);
#ifdef HAVE_ISAL
  g_free (encoder->fast);
  g_free (encoder->fast_memory);
  img_free (encoder->scratch);
#endif
  g_free (encoder);
}

gsize
img_deflate_encoder_encode (ImgDeflateEncoder *encoder,
                            const guint8 *plain,
                            gsize length,
                            guint8 *stored,
                            gsize room)
{
#ifdef HAVE_ISAL
  if (!encoder->has_zlib)
    return encode_fast (encoder, plain, length, stored, room);
  if (encoder->fast != NULL && encode_fast (encoder, plain, length, encoder->scratch, length - 1) == 0)
    return 0;
#endif
  return encode_with_zlib (encoder, plain, length, stored, room);
}
