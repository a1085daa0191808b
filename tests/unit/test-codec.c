/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <zlib.h>

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "img-deflate.h"
#include "img-zstd.h"

#define UNIT 65536

typedef gboolean (*DecodeFunc) (const guint8 *, gsize, guint8 *, gsize, ImgError **);

static guint8 *
make_text (gsize length, guint seed)
{
  static const char *const words[] = { "cluster ", "refcount ", "table ",  "backing ",
                                       "file ",    "L2 ",       "offset ", "zero\n" };
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  guint8 *text = g_malloc (length);
  gsize at = 0;

  while (at < length)
    {
      const char *word = words[g_rand_int_range (random, 0, G_N_ELEMENTS (words))];
      gsize n = MIN (strlen (word), length - at);

      memcpy (text + at, word, n);
      at += n;
    }
  return text;
}

static GBytes *
deflate_raw (const guint8 *plain, gsize length, int level, int window_bits)
{
  z_stream stream = { 0 };
  gsize limit = length + length / 10 + 64;
  guint8 *stored = g_malloc (limit);

  g_assert_cmpint (deflateInit2 (&stream, level, Z_DEFLATED, -window_bits, 9, Z_DEFAULT_STRATEGY),
                   ==, Z_OK);
  stream.next_in = (Bytef *) plain;
  stream.avail_in = (uInt) length;
  stream.next_out = stored;
  stream.avail_out = (uInt) limit;
  g_assert_cmpint (deflate (&stream, Z_FINISH), ==, Z_STREAM_END);
  limit -= stream.avail_out;
  deflateEnd (&stream);
  return g_bytes_new_take (stored, limit);
}

/* What the format demands: zlib in one call. */
static gboolean
oracle (const guint8 *stored, gsize stored_length, guint8 *plain, gsize plain_length)
{
  z_stream stream = { 0 };
  int result;

  g_assert_cmpint (inflateInit2 (&stream, -12), ==, Z_OK);
  stream.next_in = (Bytef *) stored;
  stream.avail_in = (uInt) stored_length;
  stream.next_out = plain;
  stream.avail_out = (uInt) plain_length;
  result = inflate (&stream, Z_FINISH);
  plain_length = stream.avail_out;
  inflateEnd (&stream);
  return (result == Z_STREAM_END || result == Z_BUF_ERROR) && plain_length == 0;
}

static void
assert_decodes (DecodeFunc decode,
                const guint8 *stored,
                gsize stored_length,
                const guint8 *expected,
                gsize length)
{
  g_autofree guint8 *plain = g_malloc (length);
  ImgError *error = NULL;
  gboolean success;

  memset (plain, 0xa5, length);
  success = decode (stored, stored_length, plain, length, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  g_assert_true (success);
  g_assert_cmpmem (plain, length, expected, length);
}

static void
assert_refuses (DecodeFunc decode, const guint8 *stored, gsize stored_length, gsize length)
{
  g_autofree guint8 *plain = g_malloc (length);
  ImgError *error = NULL;

  memset (plain, 0xa5, length);
  g_assert_false (decode (stored, stored_length, plain, length, &error));
  g_assert_nonnull (error);
  g_assert_cmpint (error->code, ==, IMG_CODE_CORRUPT);
  img_error_free (error);
  for (gsize i = 0; i < length; i++)
    g_assert_cmpuint (plain[i], ==, 0);
}

static GBytes *
with_tail (GBytes *stored, gsize length, guint8 filler)
{
  gsize size = g_bytes_get_size (stored);
  guint8 *copy = g_malloc (size + length);

  memcpy (copy, g_bytes_get_data (stored, NULL), size);
  memset (copy + size, filler, length);
  return g_bytes_new_take (copy, size + length);
}

static void
test_deflate_levels (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 1);

  for (int level = 0; level <= 9; level++)
    for (int window = 9; window <= 15; window++)
      {
        g_autoptr (GBytes) stored = deflate_raw (plain, UNIT, level, window);
        g_autoptr (GBytes) padded = with_tail (stored, 511, 0x5a);

        assert_decodes (img_deflate_decode, g_bytes_get_data (stored, NULL),
                        g_bytes_get_size (stored), plain, UNIT);
        assert_decodes (img_deflate_decode, g_bytes_get_data (padded, NULL),
                        g_bytes_get_size (padded), plain, UNIT);
      }
}

/* Every part from the start, in a buffer of its own so that a write behind it is found. */
static void
test_deflate_part (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 9);
  g_autoptr (GBytes) stored = deflate_raw (plain, UNIT, 6, 12);

  for (gsize wanted = 1; wanted <= UNIT; wanted += wanted < 600 ? 1 : 509)
    {
      g_autofree guint8 *part = g_malloc (UNIT);
      gsize n_plain = 0;

      g_assert_true (img_deflate_decode_part (g_bytes_get_data (stored, NULL),
                                              g_bytes_get_size (stored), part, UNIT, wanted, &n_plain,
                                              NULL));
      g_assert_cmpuint (n_plain, >=, wanted);
      g_assert_cmpuint (n_plain, <=, UNIT);
      g_assert_cmpmem (part, n_plain, plain, n_plain);
    }
}

/* What zlib makes of the first @wanted bytes; FALSE if it refuses. */
static gboolean
oracle_part (const guint8 *stored, gsize stored_length, guint8 *plain, gsize wanted)
{
  z_stream stream = { 0 };
  int result;

  g_assert_cmpint (inflateInit2 (&stream, -15), ==, Z_OK);
  stream.next_in = (Bytef *) stored;
  stream.avail_in = (uInt) stored_length;
  stream.next_out = plain;
  stream.avail_out = (uInt) wanted;
  result = inflate (&stream, Z_SYNC_FLUSH);
  wanted = stream.avail_out;
  inflateEnd (&stream);
  return (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) && wanted == 0;
}

/* Damaged streams: never anything but what zlib would give, and never a crash. */
static void
test_deflate_part_damaged (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (4);
  g_autofree guint8 *plain = make_text (UNIT, 10);
  g_autoptr (GBytes) stored = deflate_raw (plain, UNIT, 6, 12);
  gsize length = g_bytes_get_size (stored);
  guint n_accepted = 0;

  for (guint i = 0; i < 3000; i++)
    {
      g_autofree guint8 *bytes = g_memdup2 (g_bytes_get_data (stored, NULL), length);
      g_autofree guint8 *part = g_malloc (UNIT);
      g_autofree guint8 *expected = g_malloc (UNIT);
      gsize wanted = (gsize) g_rand_int_range (random, 1, UNIT);
      gsize n_plain;

      for (guint n = 0; n < 1 + i % 4; n++)
        bytes[g_rand_int_range (random, 0, (gint32) length)] ^= (guint8) (1u << (n + i) % 8);
      if (!img_deflate_decode_part (bytes, length, part, UNIT, wanted, &n_plain, NULL))
        continue;
      n_accepted++;
      g_assert_true (oracle_part (bytes, length, expected, wanted));
      g_assert_cmpmem (part, wanted, expected, wanted);
    }
  g_assert_cmpuint (n_accepted, >, 300);
  g_assert_cmpuint (n_accepted, <, 2900);
}

static void
test_deflate_sizes (void)
{
  for (gsize length = 512; length <= 2 * 1024 * 1024; length *= 2)
    {
      g_autofree guint8 *plain = make_text (length, (guint) length);
      g_autoptr (GBytes) stored = deflate_raw (plain, length, 6, 12);

      assert_decodes (img_deflate_decode, g_bytes_get_data (stored, NULL),
                      g_bytes_get_size (stored), plain, length);
    }
}

/* The stream holds more than the unit: output full without an end is as good as an end. */
static void
test_deflate_longer (void)
{
  g_autofree guint8 *plain = make_text (UNIT + 5000, 2);
  g_autoptr (GBytes) stored = deflate_raw (plain, UNIT + 5000, 6, 12);
  g_autoptr (GBytes) stored_plain = deflate_raw (plain, UNIT + 5000, 0, 12);

  assert_decodes (img_deflate_decode, g_bytes_get_data (stored, NULL), g_bytes_get_size (stored),
                  plain, UNIT);
  assert_decodes (img_deflate_decode, g_bytes_get_data (stored_plain, NULL),
                  g_bytes_get_size (stored_plain), plain, UNIT);
}

/* The last bytes are the end-of-block code and what is left of its byte: without them the output is
 * full. */
static void
test_deflate_truncated (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 3);
  g_autofree guint8 *expected = g_malloc (UNIT);
  g_autoptr (GBytes) stored = deflate_raw (plain, UNIT, 6, 12);
  const guint8 *bytes = g_bytes_get_data (stored, NULL);
  gsize length = g_bytes_get_size (stored);
  guint n_accepted = 0;

  for (gsize cut = 1; cut < length; cut += cut < 16 ? 1 : 997)
    {
      if (oracle (bytes, length - cut, expected, UNIT))
        {
          n_accepted++;
          assert_decodes (img_deflate_decode, bytes, length - cut, plain, UNIT);
        }
      else
        assert_refuses (img_deflate_decode, bytes, length - cut, UNIT);
    }
  g_assert_cmpuint (n_accepted, >, 0);
  assert_refuses (img_deflate_decode, bytes, 0, UNIT);
}

static void
test_deflate_short (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 4);
  g_autoptr (GBytes) stored = deflate_raw (plain, UNIT - 1, 6, 12);
  g_autoptr (GBytes) padded = with_tail (stored, 300, 0);

  assert_refuses (img_deflate_decode, g_bytes_get_data (stored, NULL), g_bytes_get_size (stored),
                  UNIT);
  assert_refuses (img_deflate_decode, g_bytes_get_data (padded, NULL), g_bytes_get_size (padded),
                  UNIT);
}

static void
test_deflate_zlib_header (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 5);
  gsize length = compressBound (UNIT);
  g_autofree guint8 *stored = g_malloc (length);

  g_assert_cmpint (compress2 (stored, &length, plain, UNIT, 6), ==, Z_OK);
  assert_refuses (img_deflate_decode, stored, length, UNIT);
}

/* Whatever zlib accepts is decoded to the same bytes; nothing else may come out as undefined bytes.
 */
static void
test_deflate_damaged (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (6);
  g_autofree guint8 *plain = make_text (4096, 6);
  g_autofree guint8 *expected = g_malloc (4096);
  g_autofree guint8 *actual = g_malloc (4096);
  g_autoptr (GBytes) stored = deflate_raw (plain, 4096, 6, 12);
  gsize length = g_bytes_get_size (stored);
  guint n_accepted = 0, n_refused = 0;

  for (guint round = 0; round < 20000; round++)
    {
      g_autofree guint8 *bytes = g_memdup2 (g_bytes_get_data (stored, NULL), length);
      guint n_flips = (guint) g_rand_int_range (random, 1, 4);
      gboolean accepted;

      for (guint i = 0; i < n_flips; i++)
        bytes[g_rand_int_range (random, 0, (gint32) length)] ^=
          (guint8) (1 << g_rand_int_range (random, 0, 8));
      memset (actual, 0xa5, 4096);
      accepted = img_deflate_decode (bytes, length, actual, 4096, NULL);
      if (oracle (bytes, length, expected, 4096))
        {
          n_accepted++;
          g_assert_true (accepted);
          g_assert_cmpmem (actual, 4096, expected, 4096);
        }
      else
        n_refused++;
      for (guint i = 0; i < 4096 && !accepted; i++)
        g_assert_cmpuint (actual[i], ==, 0);
    }
  g_assert_cmpuint (n_accepted, >, 100);
  g_assert_cmpuint (n_refused, >, 100);
}

static gpointer
decode_thread (gpointer data)
{
  guint seed = GPOINTER_TO_UINT (data);

  for (guint i = 0; i < 50; i++)
    {
      g_autofree guint8 *plain = make_text (UNIT, seed + i);
      g_autoptr (GBytes) stored = deflate_raw (plain, UNIT, 6, 12);

      assert_decodes (img_deflate_decode, g_bytes_get_data (stored, NULL),
                      g_bytes_get_size (stored), plain, UNIT);
      assert_refuses (img_deflate_decode, g_bytes_get_data (stored, NULL),
                      g_bytes_get_size (stored) / 2, UNIT);
    }
  return NULL;
}

static void
test_deflate_threads (void)
{
  GThread *threads[8];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("decode", decode_thread, GUINT_TO_POINTER (1000 * (i + 1)));
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

#ifdef HAVE_ZSTD

static gsize
append_frame (GByteArray *stored, const guint8 *plain, gsize length, int level)
{
  gsize limit = ZSTD_compressBound (length);
  g_autofree guint8 *frame = g_malloc (limit);
  gsize size = ZSTD_compress (frame, limit, plain, length, level);

  g_assert_false (ZSTD_isError (size));
  g_byte_array_append (stored, frame, (guint) size);
  return size;
}

/* As a streaming writer does it: the frame does not say how long its content is. */
static void
append_stream (GByteArray *stored, const guint8 *plain, gsize length, int window_log)
{
  ZSTD_CCtx *context = ZSTD_createCCtx ();
  gsize limit = ZSTD_compressBound (length) + 1024;
  g_autofree guint8 *frame = g_malloc (limit);
  ZSTD_outBuffer out = { frame, limit, 0 };
  ZSTD_inBuffer in = { plain, length, 0 };
  ZSTD_inBuffer nothing = { NULL, 0, 0 };

  ZSTD_CCtx_setParameter (context, ZSTD_c_windowLog, window_log);
  while (in.pos < in.size)
    g_assert_false (ZSTD_isError (ZSTD_compressStream2 (context, &out, &in, ZSTD_e_continue)));
  g_assert_cmpuint (ZSTD_compressStream2 (context, &out, &nothing, ZSTD_e_end), ==, 0);
  g_byte_array_append (stored, frame, (guint) out.pos);
  ZSTD_freeCCtx (context);
}

static void
test_zstd_frames (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 7);
  static const guint8 skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
  g_autoptr (GByteArray) one = g_byte_array_new ();
  g_autoptr (GByteArray) several = g_byte_array_new ();
  g_autoptr (GByteArray) streamed = g_byte_array_new ();

  append_frame (one, plain, UNIT, 3);
  assert_decodes (img_zstd_decode, one->data, one->len, plain, UNIT);
  g_byte_array_append (one, (const guint8 *) "trailing junk", 13);
  assert_decodes (img_zstd_decode, one->data, one->len, plain, UNIT);
  append_frame (several, plain, 1000, 1);
  append_frame (several, plain, 0, 1);
  g_byte_array_append (several, skippable, sizeof skippable);
  append_frame (several, plain + 1000, UNIT - 1000, 19);
  assert_decodes (img_zstd_decode, several->data, several->len, plain, UNIT);
  /* A window of 128 MiB costs the decoder nothing. */
  append_stream (streamed, plain, UNIT, 27);
  assert_decodes (img_zstd_decode, streamed->data, streamed->len, plain, UNIT);
}

static void
test_zstd_wrong_length (void)
{
  g_autofree guint8 *plain = make_text (UNIT + 1, 8);
  g_autoptr (GByteArray) shorter = g_byte_array_new ();
  g_autoptr (GByteArray) longer = g_byte_array_new ();
  g_autoptr (GByteArray) crossing = g_byte_array_new ();

  append_frame (shorter, plain, UNIT - 1, 3);
  assert_refuses (img_zstd_decode, shorter->data, shorter->len, UNIT);
  append_frame (longer, plain, UNIT + 1, 3);
  assert_refuses (img_zstd_decode, longer->data, longer->len, UNIT);
  append_frame (crossing, plain, UNIT / 2, 3);
  append_frame (crossing, plain, UNIT / 2 + 1, 3);
  assert_refuses (img_zstd_decode, crossing->data, crossing->len, UNIT);
}

static void
test_zstd_damaged (void)
{
  g_autofree guint8 *plain = make_text (UNIT, 9);
  g_autofree guint8 *junk = g_malloc0 (UNIT);
  g_autoptr (GByteArray) stored = g_byte_array_new ();

  append_frame (stored, plain, UNIT, 3);
  for (guint cut = 1; cut < stored->len; cut += cut < 16 ? 1 : 499)
    assert_refuses (img_zstd_decode, stored->data, stored->len - cut, UNIT);
  assert_refuses (img_zstd_decode, stored->data, 0, UNIT);
  assert_refuses (img_zstd_decode, junk, UNIT, UNIT);
  memset (junk, 0xff, UNIT);
  assert_refuses (img_zstd_decode, junk, UNIT, UNIT);
}

#else

static void
test_zstd_missing (void)
{
  guint8 plain[512];
  ImgError *error = NULL;

  memset (plain, 0xa5, sizeof plain);
  g_assert_false (img_zstd_is_available ());
  g_assert_false (img_zstd_decode ((const guint8 *) "x", 1, plain, sizeof plain, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_UNSUPPORTED);
  g_assert_nonnull (strstr (error->text, "libzstd"));
  img_error_free (error);
  for (guint i = 0; i < sizeof plain; i++)
    g_assert_cmpuint (plain[i], ==, 0);
}

#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/codec/deflate/levels", test_deflate_levels);
  g_test_add_func ("/codec/deflate/sizes", test_deflate_sizes);
  g_test_add_func ("/codec/deflate/part", test_deflate_part);
  g_test_add_func ("/codec/deflate/part-damaged", test_deflate_part_damaged);
  g_test_add_func ("/codec/deflate/longer", test_deflate_longer);
  g_test_add_func ("/codec/deflate/truncated", test_deflate_truncated);
  g_test_add_func ("/codec/deflate/short", test_deflate_short);
  g_test_add_func ("/codec/deflate/zlib-header", test_deflate_zlib_header);
  g_test_add_func ("/codec/deflate/damaged", test_deflate_damaged);
  g_test_add_func ("/codec/deflate/threads", test_deflate_threads);
#ifdef HAVE_ZSTD
  g_test_add_func ("/codec/zstd/frames", test_zstd_frames);
  g_test_add_func ("/codec/zstd/wrong-length", test_zstd_wrong_length);
  g_test_add_func ("/codec/zstd/damaged", test_zstd_damaged);
#else
  g_test_add_func ("/codec/zstd/missing", test_zstd_missing);
#endif
  return g_test_run ();
}
