/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the encoders make of units, read back by zlib as the most frugal reader would use it, and by
 * our decoders. */

#include "config.h"

#include <string.h>
#include <zlib.h>

#include "img-alloc.h"
#include "img-encoder.h"
#include "img-zstd.h"

#define MAX_UNIT (2 * IMG_MIB)
#define UNIT 65536

typedef void (*FillFunc) (guint8 *plain, gsize length, GRand *random);

/* ---- units ---- */

static void
fill_zero (guint8 *plain, gsize length, GRand *random)
{
  memset (plain, 0, length);
}

static void
fill_random (guint8 *plain, gsize length, GRand *random)
{
  for (gsize i = 0; i < length; i++)
    plain[i] = (guint8) g_rand_int (random);
}

static void
fill_text (guint8 *plain, gsize length, GRand *random)
{
  static const char *const words[] = { "cluster ", "refcount ", "table ",  "backing ",
                                       "file ",    "L2 ",       "offset ", "zero\n" };

  for (gsize at = 0; at < length;)
    {
      const char *word = words[g_rand_int_range (random, 0, G_N_ELEMENTS (words))];
      gsize n = MIN (strlen (word), length - at);

      memcpy (plain + at, word, n);
      at += n;
    }
}

/* Random bytes with copies of what lies up to 40 000 bytes back: distances that the window does not
 * allow. */
static void
fill_copies (guint8 *plain, gsize length, GRand *random)
{
  fill_random (plain, length, random);
  for (gsize at = 64; at + 300 < length; at += (gsize) g_rand_int_range (random, 1, 600))
    {
      gsize distance = 1 + g_rand_int (random) % MIN (at, 40000);
      gsize n = 3 + g_rand_int (random) % 297;

      for (gsize i = 0; i < n; i++, at++)
        plain[at] = plain[at - distance];
    }
}

/* Bytes of seven bits: nothing repeats, but one eighth can be gained. */
static void
fill_skewed (guint8 *plain, gsize length, GRand *random)
{
  for (gsize i = 0; i < length; i++)
    plain[i] = (guint8) g_rand_int (random) & 0x7f;
}

static void
fill_half (guint8 *plain, gsize length, GRand *random)
{
  fill_random (plain, length / 2, random);
  fill_text (plain + length / 2, length - length / 2, random);
}

static const struct
{
  const char *name;
  FillFunc fill;
  gboolean has_gain; /* at any length */
} fills[] = {
  { "zero", fill_zero, TRUE },      { "random", fill_random, FALSE }, { "text", fill_text, TRUE },
  { "copies", fill_copies, FALSE }, { "skewed", fill_skewed, FALSE }, { "half", fill_half, TRUE },
};

/* ---- readers ---- */

static gboolean
inflates_at_once (const guint8 *stored, gsize stored_length, const guint8 *plain, gsize length)
{
  g_autofree guint8 *back = g_malloc (length);
  z_stream stream = { 0 };
  int result;

  g_assert_cmpint (inflateInit2 (&stream, -12), ==, Z_OK);
  stream.next_in = (Bytef *) stored;
  stream.avail_in = (uInt) stored_length;
  stream.next_out = back;
  stream.avail_out = (uInt) length;
  result = inflate (&stream, Z_FINISH);
  inflateEnd (&stream);
  return result == Z_STREAM_END && stream.avail_out == 0 && memcmp (back, plain, length) == 0;
}

/* 512 bytes in, 512 bytes out: zlib has to keep the window, and it keeps 4 KiB. */
static gboolean
inflates_in_pieces (const guint8 *stored, gsize stored_length, const guint8 *plain, gsize length)
{
  guint8 piece[512];
  z_stream stream = { 0 };
  gsize n_read = 0, n_plain = 0;
  int result = Z_OK;

  g_assert_cmpint (inflateInit2 (&stream, -12), ==, Z_OK);
  while (result == Z_OK || result == Z_BUF_ERROR)
    {
      gsize n;

      if (stream.avail_in == 0 && n_read < stored_length)
        {
          stream.next_in = (Bytef *) stored + n_read;
          stream.avail_in = (uInt) MIN (sizeof piece, stored_length - n_read);
          n_read += stream.avail_in;
        }
      stream.next_out = piece;
      stream.avail_out = sizeof piece;
      result = inflate (&stream, Z_NO_FLUSH);
      n = sizeof piece - stream.avail_out;
      if (n_plain + n > length || memcmp (piece, plain + n_plain, n) != 0 ||
          (result == Z_BUF_ERROR && n == 0))
        break;
      n_plain += n;
    }
  inflateEnd (&stream);
  return result == Z_STREAM_END && n_plain == length;
}

static gsize
encode (ImgEncoder *encoder, const guint8 *plain, gsize length, guint8 *stored, gsize room)
{
  ImgError *error = NULL;
  gsize stored_length = G_MAXSIZE;

  memset (stored, 0xa5, room);
  g_assert_true (img_encoder_encode (encoder, plain, length, stored, room, &stored_length, &error));
  g_assert_null (error);
  g_assert_cmpuint (stored_length, <=, room);
  return stored_length;
}

static void
assert_reads_back (ImgCompression compression,
                   const guint8 *stored,
                   gsize stored_length,
                   const guint8 *plain,
                   gsize length)
{
  if (compression == IMG_COMPRESSION_ZSTD)
    {
      g_autofree guint8 *back = g_malloc (length);

      g_assert_true (img_zstd_decode (stored, stored_length, back, length, NULL));
      g_assert_cmpmem (back, length, plain, length);
      return;
    }
  g_assert_true (inflates_at_once (stored, stored_length, plain, length));
  g_assert_true (inflates_in_pieces (stored, stored_length, plain, length));
}

/* ---- tests ---- */

/* With one byte less room than that there is nothing, or something shorter that is as good: where
 * room is tight ISA-L can find a stream with a smaller header. */
static void
check_unit (ImgEncoder *encoder,
            ImgCompression compression,
            const guint8 *plain,
            gsize length,
            gboolean has_gain,
            guint8 *stored)
{
  gsize stored_length = encode (encoder, plain, length, stored, length - 1);

  if (stored_length == 0)
    {
      g_assert_false (has_gain);
      return;
    }
  assert_reads_back (compression, stored, stored_length, plain, length);
  stored_length = encode (encoder, plain, length, stored, stored_length - 1);
  if (stored_length > 0)
    assert_reads_back (compression, stored, stored_length, plain, length);
}

static void
check_level (ImgCompression compression, int level, gsize length)
{
  g_autoptr (GRand) random = g_rand_new_with_seed ((guint32) (length + (gsize) level));
  g_autofree guint8 *plain = g_malloc (length);
  g_autofree guint8 *stored = g_malloc (length);
  ImgError *error = NULL;
  g_autoptr (ImgEncoder) encoder = img_encoder_new (compression, level, length, &error);

  g_assert_null (error);
  g_assert_nonnull (encoder);
  for (guint i = 0; i < G_N_ELEMENTS (fills); i++)
    {
      fills[i].fill (plain, length, random);
      check_unit (encoder, compression, plain, length, fills[i].has_gain, stored);
    }
}

static void
test_deflate (void)
{
  for (int level = 0; level <= img_encoder_get_max_level (IMG_COMPRESSION_ZLIB); level++)
    for (gsize length = 512; length <= MAX_UNIT; length *= level == 0 ? 2 : 16)
      check_level (IMG_COMPRESSION_ZLIB, level, length);
}

static void
test_zstd (void)
{
  if (!img_zstd_is_available ())
    {
      g_assert_cmpint (img_encoder_get_max_level (IMG_COMPRESSION_ZSTD), ==, 0);
      g_test_skip ("built without libzstd");
      return;
    }
  /* The highest levels are slow: on small units, then. */
  for (int level = 0; level <= img_encoder_get_max_level (IMG_COMPRESSION_ZSTD); level++)
    for (gsize length = 512; length <= (level <= 3 ? MAX_UNIT : UNIT); length *= 16)
      check_level (IMG_COMPRESSION_ZSTD, level, length);
}

static void
test_levels (void)
{
  static const ImgCompression compressions[] = { IMG_COMPRESSION_DEFAULT, IMG_COMPRESSION_ZLIB,
                                                 IMG_COMPRESSION_ZSTD };

  for (guint i = 0; i < G_N_ELEMENTS (compressions); i++)
    {
      int max = img_encoder_get_max_level (compressions[i]);
      const int wrong[] = { -1, max + 1, G_MAXINT, G_MININT };

      for (guint n = 0; n < G_N_ELEMENTS (wrong); n++)
        {
          ImgError *error = NULL;

          g_assert_null (img_encoder_new (compressions[i], wrong[n], UNIT, &error));
          g_assert_cmpint (error->code, ==,
                           max > 0 ? IMG_CODE_INVALID_OPTION : IMG_CODE_UNSUPPORTED);
          img_error_free (error);
        }
    }
}

static gsize
encode_text (ImgCompression compression, int level)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (7);
  g_autoptr (ImgEncoder) encoder = img_encoder_new (compression, level, UNIT, NULL);
  g_autofree guint8 *plain = g_malloc (UNIT);
  g_autofree guint8 *stored = g_malloc (UNIT);

  fill_text (plain, UNIT, random);
  return encode (encoder, plain, UNIT, stored, UNIT - 1);
}

/* A higher level is worth its time: not larger on text, and the top is really smaller than the
 * bottom. What ISA-L makes depends on the processor: on some its levels differ by less than a
 * hundredth, either way. */
static void
test_order (void)
{
  gsize last = UNIT;

  for (int level = 1; level <= 9; level++)
    {
      gsize now = encode_text (IMG_COMPRESSION_ZLIB, level);

      g_assert_cmpuint (now, <=, last + last / 50);
      last = MIN (now, last);
    }
  g_assert_cmpuint (last * 10, <, encode_text (IMG_COMPRESSION_ZLIB, 1) * 9);
}

/* The same unit gives the same bytes: from a new encoder, from one that has seen anything else,
 * from one that is made for longer units, from the thread's. */
static void
check_determinism (ImgCompression compression, int level)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (3);
  g_autoptr (ImgEncoder) used = img_encoder_new (compression, level, UNIT, NULL);
  g_autoptr (ImgEncoder) longer = img_encoder_new (compression, level, 4 * UNIT, NULL);
  g_autofree guint8 *plain = g_malloc (UNIT);
  g_autofree guint8 *other = g_malloc (UNIT);
  g_autofree guint8 *expected = g_malloc (UNIT);
  g_autofree guint8 *stored = g_malloc (UNIT);

  for (guint i = 0; i < 4 * G_N_ELEMENTS (fills); i++)
    {
      g_autoptr (ImgEncoder) fresh = img_encoder_new (compression, level, UNIT, NULL);
      ImgEncoder *encoders[] = { used, longer,
                                 level == 0 ? img_encoder_get_for_thread (compression, 0, UNIT, NULL)
                                            : used };
      gsize length = i % 3 == 0 ? 4096 : UNIT, room = i % 5 == 0 ? length / 2 : length - 1,
            expected_length;

      fills[i % G_N_ELEMENTS (fills)].fill (plain, length, random);
      expected_length = encode (fresh, plain, length, expected, room);
      for (guint n = 0; n < G_N_ELEMENTS (encoders); n++)
        {
          g_assert_cmpuint (encode (encoders[n], plain, length, stored, room), ==, expected_length);
          g_assert_cmpmem (stored, expected_length, expected, expected_length);
          /* One that is cut off for want of room, too. */
          fills[g_rand_int (random) % G_N_ELEMENTS (fills)].fill (other, UNIT, random);
          encode (encoders[n], other, UNIT, stored, n == 0 ? 1000 : UNIT - 1);
        }
    }
}

static void
test_determinism (void)
{
  for (int level = 0; level <= 9; level++)
    {
      check_determinism (IMG_COMPRESSION_ZLIB, level);
      if (img_zstd_is_available ())
        check_determinism (IMG_COMPRESSION_ZSTD, level);
    }
}

#define N_PLACES 64
#define SHORT_TEXT 256

/* Where an encoder lies in memory is not seen in its bytes. ISA-L can take its address for bytes of the unit, which is
 * seen where their hash is that of others: among many places and units, the shorter the more of them. */
static void
check_places (int level)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (9);
  g_autoptr (GPtrArray) encoders = g_ptr_array_new_with_free_func ((GDestroyNotify) img_encoder_free);
  guint8 plain[SHORT_TEXT], expected[SHORT_TEXT], stored[SHORT_TEXT];

  for (guint i = 0; i < N_PLACES; i++)
    g_ptr_array_add (encoders, img_encoder_new (IMG_COMPRESSION_ZLIB, level, UNIT, NULL));
  for (guint i = 0; i < 256; i++)
    {
      gsize expected_length;

      fill_text (plain, SHORT_TEXT, random);
      expected_length = encode (encoders->pdata[0], plain, SHORT_TEXT, expected, SHORT_TEXT - 1);
      g_assert_cmpuint (expected_length, >, 0);
      for (guint n = 1; n < N_PLACES; n++)
        {
          gsize length = encode (encoders->pdata[n], plain, SHORT_TEXT, stored, SHORT_TEXT - 1);

          g_assert_cmpmem (stored, length, expected, expected_length);
        }
    }
}

static void
test_places (void)
{
  for (int level = 0; level <= 5; level++)
    check_places (level);
}

typedef struct
{
  const guint8 *plain;
  gsize stored_length;
  guint8 stored[UNIT];
} ThreadWork;

static gpointer
encode_thread (gpointer data)
{
  ThreadWork *work = data;

  for (guint i = 0; i < 50; i++)
    work->stored_length = encode (img_encoder_get_for_thread (IMG_COMPRESSION_ZLIB, 0, UNIT, NULL),
                                  work->plain, UNIT, work->stored, UNIT - 1);
  return NULL;
}

/* Each thread has its own, and their results agree. */
static void
test_threads (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (5);
  g_autofree ThreadWork *work = g_new0 (ThreadWork, 4);
  g_autofree guint8 *plain = g_malloc (UNIT);
  GThread *threads[4];

  fill_half (plain, UNIT, random);
  for (guint i = 0; i < 4; i++)
    {
      work[i].plain = plain;
      threads[i] = g_thread_new ("encode", encode_thread, &work[i]);
    }
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
  for (guint i = 1; i < 4; i++)
    g_assert_cmpmem (work[i].stored, work[i].stored_length, work[0].stored, work[0].stored_length);
}

/* A longer unit than the thread's encoder is made for replaces it. */
static void
test_thread_grows (void)
{
  static const gsize lengths[] = { 512, UNIT, 4096, MAX_UNIT, UNIT };
  g_autoptr (GRand) random = g_rand_new_with_seed (6);
  g_autofree guint8 *plain = g_malloc (MAX_UNIT);
  g_autofree guint8 *stored = g_malloc (MAX_UNIT);

  fill_text (plain, MAX_UNIT, random);
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    for (ImgCompression kind = IMG_COMPRESSION_ZLIB; kind <= IMG_COMPRESSION_ZSTD; kind++)
      {
        ImgError *error = NULL;
        ImgEncoder *encoder = img_encoder_get_for_thread (kind, 0, lengths[i], &error);

        if (img_encoder_get_max_level (kind) > 0)
          check_unit (encoder, kind, plain, lengths[i], TRUE, stored);
        else
          g_assert_cmpint (error->code, ==, IMG_CODE_UNSUPPORTED);
        img_error_free (error);
      }
}

/* Every allocation of ours fails once: an error each time, and nothing is left. */
static void
test_no_memory (void)
{
  static const struct
  {
    ImgCompression compression;
    int level;
  } cases[] = { { IMG_COMPRESSION_ZLIB, 0 },
                { IMG_COMPRESSION_ZLIB, 9 },
                { IMG_COMPRESSION_ZSTD, 0 } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint nth = 1; img_encoder_get_max_level (cases[i].compression) > 0; nth++)
      {
        ImgError *error = NULL;
        g_autoptr (ImgEncoder) encoder = NULL;

        img_alloc_set_fault (nth, FALSE);
        encoder = img_encoder_new (cases[i].compression, cases[i].level, UNIT, &error);
        if (!img_alloc_clear_fault ())
          {
            g_assert_nonnull (encoder);
            break;
          }
        g_assert_null (encoder);
        g_assert_cmpint (error->code, ==, IMG_CODE_NO_MEMORY);
        img_error_free (error);
      }
}

/* What zlib makes of a unit as QEMU calls it. */
static gsize
deflate_as_qemu (const guint8 *plain, gsize length, guint8 *stored)
{
  z_stream stream = { 0 };
  int result;

  g_assert_cmpint (
    deflateInit2 (&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), ==,
    Z_OK);
  stream.next_in = (Bytef *) plain;
  stream.avail_in = (uInt) length;
  stream.next_out = stored;
  stream.avail_out = (uInt) length - 1;
  result = deflate (&stream, Z_FINISH);
  deflateEnd (&stream);
  return result == Z_STREAM_END ? length - 1 - stream.avail_out : length;
}

/* Random bytes with just a little to gain: short repeats at short distances, or a byte that is too
 * frequent. */
static void
fill_nearly_random (guint8 *plain, gsize length, guint permille, gboolean repeats, GRand *random)
{
  fill_random (plain, length, random);
  for (gsize at = 4096; at + 8 < length; at++)
    if (g_rand_int (random) % 1000 < permille)
      {
        if (repeats)
          memcpy (plain + at, plain + at - 5 - g_rand_int (random) % 4000, 4);
        else
          plain[at] = 0;
      }
}

/* What is given up as not worth it would have gained next to nothing. */
static void
test_nearly_incompressible (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (8);
  g_autofree guint8 *plain = g_malloc (UNIT);
  g_autofree guint8 *stored = g_malloc (UNIT);
  gsize lost_most = 0;
  guint n_refused = 0, n_encoded = 0;

  for (int level = 0; level <= 9; level++)
    {
      g_autoptr (ImgEncoder) encoder = img_encoder_new (IMG_COMPRESSION_ZLIB, level, UNIT, NULL);

      for (guint permille = 0; permille <= 60; permille += 3)
        {
          gsize qemu;

          fill_nearly_random (plain, UNIT, permille, permille % 2, random);
          qemu = deflate_as_qemu (plain, UNIT, stored);
          if (encode (encoder, plain, UNIT, stored, UNIT - 1) > 0)
            n_encoded++;
          else
            {
              n_refused++;
              lost_most = MAX (lost_most, UNIT - qemu);
            }
        }
    }
  g_test_message ("%u encoded, %u refused; at most %" G_GSIZE_FORMAT " bytes of %d lost", n_encoded,
                  n_refused, lost_most, UNIT);
  g_assert_cmpuint (n_encoded, >, 0);
  g_assert_cmpuint (n_refused, >, 0);
  g_assert_cmpuint (lost_most, <=, UNIT / 100);
}

/* What is told is what is taken: more for larger units and higher levels. */
static void
test_memory (void)
{
  g_autoptr (ImgEncoder) deflate = img_encoder_new (IMG_COMPRESSION_ZLIB, 0, MAX_UNIT, NULL);

  g_assert_cmpuint (img_encoder_get_memory (deflate), <=, MAX_UNIT + IMG_MIB);
  if (img_encoder_get_max_level (IMG_COMPRESSION_ZSTD) > 0)
    {
      g_autoptr (ImgEncoder) small = img_encoder_new (IMG_COMPRESSION_ZSTD, 19, UNIT, NULL);
      g_autoptr (ImgEncoder) fast = img_encoder_new (IMG_COMPRESSION_ZSTD, 1, MAX_UNIT, NULL);
      g_autoptr (ImgEncoder) large = img_encoder_new (IMG_COMPRESSION_ZSTD, 19, MAX_UNIT, NULL);

      g_assert_cmpuint (img_encoder_get_memory (large), >, 8 * IMG_MIB);
      g_assert_cmpuint (img_encoder_get_memory (large), <, 64 * IMG_MIB);
      g_assert_cmpuint (img_encoder_get_memory (small), <, img_encoder_get_memory (large));
      g_assert_cmpuint (img_encoder_get_memory (fast), <, img_encoder_get_memory (large));
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/encoder/deflate", test_deflate);
  g_test_add_func ("/encoder/zstd", test_zstd);
  g_test_add_func ("/encoder/levels", test_levels);
  g_test_add_func ("/encoder/order", test_order);
  g_test_add_func ("/encoder/determinism", test_determinism);
  g_test_add_func ("/encoder/places", test_places);
  g_test_add_func ("/encoder/threads", test_threads);
  g_test_add_func ("/encoder/thread-grows", test_thread_grows);
  g_test_add_func ("/encoder/memory", test_memory);
  g_test_add_func ("/encoder/no-memory", test_no_memory);
  g_test_add_func ("/encoder/nearly-incompressible", test_nearly_incompressible);
  return g_test_run ();
}
