/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Disks wrapped in gzip, xz and zstd by their own libraries: however they arrive and are asked for,
 * and cut off, damaged or too greedy. */

#include "config.h"

#include <string.h>
#include <zlib.h>
#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "img-common.h"
#include "img-unwrap.h"

/* ---- a pipe ---- */

typedef struct
{
  const guint8 *bytes;
  gsize length;
  gsize position;
  gsize step;     /* bytes that arrive at a time */
  guint fails_at; /* the read, from 1 on; 0: none */
  guint n_reads;
} Pipe;

static gssize
pipe_read (gpointer data, gpointer buffer, gsize length, ImgError **error)
{
  Pipe *pipe = data;
  gsize n = MIN (MIN (length, pipe->step), pipe->length - pipe->position);

  g_assert_cmpuint (length, >, 0);
  if (++pipe->n_reads == pipe->fails_at)
    {
      img_error_set (error, IMG_CODE_FOREIGN, "The pipe is broken");
      return -1;
    }
  if (n > 0)
    memcpy (buffer, pipe->bytes + pipe->position, n);
  pipe->position += n;
  return (gssize) n;
}

static void
pipe_abort (gpointer data)
{
}

/* The disk up to its end or an error, @asked bytes at a time. */
static GByteArray *
unwrap_pipe (Pipe *pipe, ImgWrapping wrapping, gsize asked, ImgError **error)
{
  const ImgByteStream stream = { pipe_read, pipe_abort, pipe };
  g_autoptr (ImgUnwrap) unwrap = img_unwrap_new (&stream, wrapping, NULL);
  g_autofree guint8 *buffer = g_malloc (asked);
  GByteArray *plain = g_byte_array_new ();
  gsize n;

  do
    {
      if (!img_unwrap_read (unwrap, buffer, asked, &n, NULL, error))
        break;
      g_byte_array_append (plain, buffer, (guint) n);
    }
  while (n == asked);
  return plain;
}

static GByteArray *
unwrap_bytes (GBytes *bytes, gsize length, ImgWrapping wrapping, ImgError **error)
{
  Pipe pipe = { g_bytes_get_data (bytes, NULL), length, 0, 4096 };

  return unwrap_pipe (&pipe, wrapping, 4096, error);
}

static void
assert_plain (GByteArray *plain, GBytes *wanted)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data (wanted, &length);

  g_assert_cmpmem (plain->data, plain->len, bytes, length);
  g_byte_array_unref (plain);
}

static void
assert_unwraps (GBytes *bytes, ImgWrapping wrapping, GBytes *wanted)
{
  ImgError *error = NULL;
  GByteArray *plain = unwrap_bytes (bytes, g_bytes_get_size (bytes), wrapping, &error);

  g_assert_null (error);
  assert_plain (plain, wanted);
}

/* The first @length of @bytes are an error whose text contains @word. */
static void
assert_fails (GBytes *bytes, gsize length, ImgWrapping wrapping, ImgCode code, const char *word)
{
  ImgError *error = NULL;

  g_byte_array_unref (unwrap_bytes (bytes, length, wrapping, &error));
  g_assert_nonnull (error);
  g_assert_cmpint (error->code, ==, code);
  g_assert_nonnull (strstr (error->text, word));
  img_error_free (error);
}

/* ---- bytes ---- */

static GBytes *
make_disk (gsize length)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  guint8 *disk = g_malloc (length);

  for (gsize i = 0; i < length; i++)
    disk[i] = i / 64 % 2 == 0 ? 'x' : (guint8) g_rand_int (random);
  return g_bytes_new_take (disk, length);
}

static GBytes *
join (GBytes *one, GBytes *other)
{
  GByteArray *all = g_byte_array_new ();

  g_byte_array_append (all, g_bytes_get_data (one, NULL), (guint) g_bytes_get_size (one));
  g_byte_array_append (all, g_bytes_get_data (other, NULL), (guint) g_bytes_get_size (other));
  return g_byte_array_free_to_bytes (all);
}

static GBytes *
join_text (GBytes *one, const char *text, gsize length)
{
  g_autoptr (GBytes) other = g_bytes_new (text, length);

  return join (one, other);
}

/* ---- the encoders ---- */

static GBytes *
wrap_gzip_with (GBytes *plain, gz_header *header)
{
  z_stream stream = { 0 };
  guint8 *wrapped = g_malloc (g_bytes_get_size (plain) + 4096);

  g_assert_cmpint (deflateInit2 (&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), ==,
                   Z_OK);
  if (header != NULL)
    g_assert_cmpint (deflateSetHeader (&stream, header), ==, Z_OK);
  stream.next_in = (Bytef *) g_bytes_get_data (plain, NULL);
  stream.avail_in = (uInt) g_bytes_get_size (plain);
  stream.next_out = wrapped;
  stream.avail_out = stream.avail_in + 4096;
  g_assert_cmpint (deflate (&stream, Z_FINISH), ==, Z_STREAM_END);
  deflateEnd (&stream);
  return g_bytes_new_take (wrapped, stream.total_out);
}

static GBytes *
wrap_gzip (GBytes *plain)
{
  return wrap_gzip_with (plain, NULL);
}

#ifdef HAVE_LZMA
static GBytes *
wrap_xz (GBytes *plain)
{
  gsize length = 0, limit = lzma_stream_buffer_bound (g_bytes_get_size (plain));
  guint8 *wrapped = g_malloc (limit);

  g_assert_cmpint (lzma_easy_buffer_encode (0, LZMA_CHECK_CRC64, NULL,
                                            g_bytes_get_data (plain, NULL),
                                            g_bytes_get_size (plain), wrapped, &length, limit),
                   ==, LZMA_OK);
  return g_bytes_new_take (wrapped, length);
}
#endif

#ifdef HAVE_ZSTD
static GBytes *
wrap_zstd (GBytes *plain)
{
  gsize length, limit = ZSTD_compressBound (g_bytes_get_size (plain));
  guint8 *wrapped = g_malloc (limit);
  ZSTD_CCtx *context = ZSTD_createCCtx ();

  ZSTD_CCtx_setParameter (context, ZSTD_c_checksumFlag, 1);
  length = ZSTD_compress2 (context, wrapped, limit, g_bytes_get_data (plain, NULL),
                           g_bytes_get_size (plain));
  g_assert_false (ZSTD_isError (length));
  ZSTD_freeCCtx (context);
  return g_bytes_new_take (wrapped, length);
}
#endif

static const struct
{
  ImgWrapping wrapping;
  GBytes *(*wrap) (GBytes *plain);
} wrappings[] = {
  { IMG_WRAPPING_GZIP, wrap_gzip },
#ifdef HAVE_LZMA
  { IMG_WRAPPING_XZ, wrap_xz },
#endif
#ifdef HAVE_ZSTD
  { IMG_WRAPPING_ZSTD, wrap_zstd },
#endif
};

/* ---- what is complete ---- */

static void
assert_unwraps_in_any_steps (GBytes *bytes, ImgWrapping wrapping, GBytes *wanted)
{
  static const gsize steps[] = { 1, 7, 4096, 1 << 20 };

  for (guint i = 0; i < G_N_ELEMENTS (steps); i++)
    for (guint j = 0; j < G_N_ELEMENTS (steps); j++)
      {
        Pipe pipe = { g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), 0, steps[i] };
        ImgError *error = NULL;
        GByteArray *plain = unwrap_pipe (&pipe, wrapping, steps[j], &error);

        g_assert_null (error);
        assert_plain (plain, wanted);
      }
}

static void
test_steps (void)
{
  /* As long as some steps are, so that the end comes with the last byte of a buffer. */
  g_autoptr (GBytes) disk = make_disk (3 * 4096 * 7);

  assert_unwraps_in_any_steps (disk, IMG_WRAPPING_NONE, disk);
  assert_unwraps_in_any_steps (disk, IMG_WRAPPING_AUTO, disk);
  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) wrapped = wrappings[i].wrap (disk);

      assert_unwraps_in_any_steps (wrapped, wrappings[i].wrapping, disk);
      assert_unwraps_in_any_steps (wrapped, IMG_WRAPPING_AUTO, disk);
      assert_unwraps_in_any_steps (wrapped, IMG_WRAPPING_NONE, wrapped);
    }
}

/* What begins as if it were wrapped, but is too short to tell, is a disk. */
static void
test_short (void)
{
  for (gsize length = 0; length < 3; length++)
    {
      g_autoptr (GBytes) disk = g_bytes_new ("\x1f\x8b", length);

      assert_unwraps_in_any_steps (disk, IMG_WRAPPING_AUTO, disk);
    }
}

static void
test_members (void)
{
  g_autoptr (GBytes) disk = make_disk (1000);
  g_autoptr (GBytes) twice = join (disk, disk);
  g_autoptr (GBytes) nothing = g_bytes_new (NULL, 0);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) one = wrappings[i].wrap (disk);
      g_autoptr (GBytes) empty = wrappings[i].wrap (nothing);
      g_autoptr (GBytes) two = join (one, one);
      g_autoptr (GBytes) three = join (two, empty);

      assert_unwraps_in_any_steps (two, wrappings[i].wrapping, twice);
      assert_unwraps_in_any_steps (three, wrappings[i].wrapping, twice);
      assert_unwraps_in_any_steps (empty, wrappings[i].wrapping, nothing);
    }
}

/* The optional fields of RFC 1952, alone and together. */
static void
test_gzip_header (void)
{
  static guint8 extra[300] = "AB";
  static guint8 name[] = "disk.img", comment[] = "of a virtual machine";
  g_autoptr (GBytes) disk = make_disk (1000);

  for (guint fields = 0; fields < 16; fields++)
    {
      gz_header header = { .text = 1, .time = 12345, .os = 3 };
      g_autoptr (GBytes) wrapped = NULL;

      header.extra = fields & 1 ? extra : NULL;
      header.extra_len = sizeof extra;
      header.name = fields & 2 ? name : NULL;
      header.comment = fields & 4 ? comment : NULL;
      header.hcrc = (fields & 8) != 0;
      wrapped = wrap_gzip_with (disk, &header);
      assert_unwraps_in_any_steps (wrapped, IMG_WRAPPING_AUTO, disk);
      for (gsize length = 0; length < g_bytes_get_size (wrapped); length++)
        assert_fails (wrapped, length, IMG_WRAPPING_GZIP, IMG_CODE_CORRUPT, "ends too early");
    }
}

/* With FHCRC a header that was changed is seen. */
static void
test_gzip_header_damaged (void)
{
  static guint8 name[] = "disk.img";
  gz_header header = { .name = name, .hcrc = 1 };
  g_autoptr (GBytes) disk = make_disk (100);
  g_autoptr (GBytes) wrapped = wrap_gzip_with (disk, &header);
  gsize length = g_bytes_get_size (wrapped);
  guint8 *bad = g_memdup2 (g_bytes_get_data (wrapped, NULL), length);
  g_autoptr (GBytes) damaged = NULL;

  bad[12] ^= 1;
  damaged = g_bytes_new_take (bad, length);
  assert_fails (damaged, length, IMG_WRAPPING_GZIP, IMG_CODE_CORRUPT, "damaged");
}

/* ---- what is not ---- */

static void
test_truncated (void)
{
  g_autoptr (GBytes) disk = make_disk (300);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) one = wrappings[i].wrap (disk);
      g_autoptr (GBytes) two = join (one, one);

      for (gsize length = 0; length < g_bytes_get_size (two); length++)
        if (length != g_bytes_get_size (one))
          assert_fails (two, length, wrappings[i].wrapping, IMG_CODE_CORRUPT, "ends too early");
      assert_unwraps (one, wrappings[i].wrapping, disk);
    }
}

/* Each byte changed in turn: an error, or the same disk where the byte says nothing of it. */
static void
test_damaged (void)
{
  g_autoptr (GBytes) disk = make_disk (300);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) wrapped = wrappings[i].wrap (disk);
      gsize length = g_bytes_get_size (wrapped);

      for (gsize at = 0; at < length; at++)
        {
          guint8 *bad = g_memdup2 (g_bytes_get_data (wrapped, NULL), length);
          g_autoptr (GBytes) damaged = g_bytes_new_take (bad, length);
          ImgError *error = NULL;
          GByteArray *plain;

          bad[at] ^= 0x55;
          plain = unwrap_bytes (damaged, length, wrappings[i].wrapping, &error);
          if (error == NULL)
            assert_plain (plain, disk);
          else
            g_byte_array_unref (plain);
          img_error_clear (&error);
        }
    }
}

static void
test_garbage (void)
{
  g_autoptr (GBytes) disk = make_disk (300);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) wrapped = wrappings[i].wrap (disk);
      g_autoptr (GBytes) garbage = join_text (wrapped, "garbage!garbage!", 16);

      assert_fails (garbage, g_bytes_get_size (garbage), wrappings[i].wrapping, IMG_CODE_CORRUPT,
                    "damaged");
    }
}

/* Zeroes up to the end of a block: gzip takes any number of them, xz (padding of a stream) whole
 * groups of four, zstd none. */
static void
test_padding (void)
{
  static const char zeroes[4096];
  g_autoptr (GBytes) disk = make_disk (300);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) wrapped = wrappings[i].wrap (disk);

      for (gsize length = 1; length <= sizeof zeroes; length = length < 9 ? length + 1 : 8 * length)
        {
          ImgWrapping wrapping = wrappings[i].wrapping;
          g_autoptr (GBytes) padded = join_text (wrapped, zeroes, length);

          if (wrapping == IMG_WRAPPING_GZIP || (wrapping == IMG_WRAPPING_XZ && length % 4 == 0))
            assert_unwraps_in_any_steps (padded, wrapping, disk);
          else
            assert_fails (padded, g_bytes_get_size (padded), wrapping, IMG_CODE_CORRUPT, "The ");
        }
    }
}

/* Every read of the pipe fails in turn. */
static void
test_read_error (void)
{
  g_autoptr (GBytes) disk = make_disk (300);

  for (guint i = 0; i < G_N_ELEMENTS (wrappings); i++)
    {
      g_autoptr (GBytes) wrapped = wrappings[i].wrap (disk);
      gsize length = g_bytes_get_size (wrapped);
      guint n = 0;

      for (;;)
        {
          Pipe pipe = { g_bytes_get_data (wrapped, NULL), length, 0, 10, ++n };
          ImgError *error = NULL;
          GByteArray *plain = unwrap_pipe (&pipe, IMG_WRAPPING_AUTO, 64, &error);

          if (error == NULL)
            {
              assert_plain (plain, disk);
              break;
            }
          g_assert_true (img_error_matches (error, IMG_CODE_FOREIGN));
          img_error_free (error);
          g_byte_array_unref (plain);
        }
      g_assert_cmpuint (n, >, length / 10);
    }
}

static void
test_cancelled (void)
{
  g_autoptr (GBytes) disk = make_disk (300);
  Pipe pipe = { g_bytes_get_data (disk, NULL), 300, 0, 10 };
  const ImgByteStream stream = { pipe_read, pipe_abort, &pipe };
  g_autoptr (ImgUnwrap) unwrap = img_unwrap_new (&stream, IMG_WRAPPING_NONE, NULL);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  guint8 buffer[64];
  ImgError *error = NULL;
  gsize n;

  g_assert_true (img_unwrap_read (unwrap, buffer, sizeof buffer, &n, cancel, &error));
  img_cancel_trigger (cancel);
  g_assert_false (img_unwrap_read (unwrap, buffer, sizeof buffer, &n, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  img_error_free (error);
}

/* ---- memory ---- */

#ifdef HAVE_LZMA

/* The xz format, 3.1: the header of a block of a stream with LZMA2 alone, whose dictionary is the
 * byte before three of padding and the checksum. */
static GBytes *
wrap_xz_with_dictionary (GBytes *plain, guint8 dictionary)
{
  g_autoptr (GBytes) wrapped = wrap_xz (plain);
  gsize length = g_bytes_get_size (wrapped);
  guint8 *bytes = g_memdup2 (g_bytes_get_data (wrapped, NULL), length);
  guint8 *block = bytes + LZMA_STREAM_HEADER_SIZE;
  gsize header_length = (block[0] + 1) * 4;
  guint8 *filter = block + 2;
  guint32 checksum;

  for (guint n_sizes = (block[1] >> 6 & 1) + (block[1] >> 7); n_sizes > 0; n_sizes--)
    while (*filter++ & 0x80)
      continue;
  g_assert_cmpint (filter[0], ==, 0x21);
  filter[2] = dictionary;
  checksum = GUINT32_TO_LE (lzma_crc32 (block, header_length - 4, 0));
  memcpy (block + header_length - 4, &checksum, 4);
  return g_bytes_new_take (bytes, length);
}

/* The dictionary is 2 MiB << n / 2 from n = 18 on: 64 MiB is what "xz -9" takes. */
static void
test_xz_memory (void)
{
  g_autoptr (GBytes) disk = make_disk (300);
  g_autoptr (GBytes) largest = wrap_xz_with_dictionary (disk, 28);
  g_autoptr (GBytes) greedy = wrap_xz_with_dictionary (disk, 30);
  g_autoptr (GBytes) all_there_is = wrap_xz_with_dictionary (disk, 40);

  assert_unwraps (largest, IMG_WRAPPING_XZ, disk);
  assert_fails (greedy, g_bytes_get_size (greedy), IMG_WRAPPING_XZ, IMG_CODE_LIMIT_EXCEEDED, "xz");
  assert_fails (all_there_is, g_bytes_get_size (all_there_is), IMG_WRAPPING_AUTO,
                IMG_CODE_LIMIT_EXCEEDED, "memory");
}

#endif

#ifdef HAVE_ZSTD

/* RFC 8878, 3.1.1: a frame that is not one segment, with one raw block. */
static GBytes *
make_zstd_with_window (guint window_log, const char *text)
{
  const guint32 length = (guint32) strlen (text);
  const guint8 header[] = { 0x28,
                            0xb5,
                            0x2f,
                            0xfd,
                            0x00,
                            (guint8) ((window_log - 10) << 3),
                            (guint8) (length << 3 | 1),
                            (guint8) (length >> 5),
                            0 };
  g_autoptr (GBytes) start = g_bytes_new (header, sizeof header);

  return join_text (start, text, length);
}

static void
test_zstd_memory (void)
{
  g_autoptr (GBytes) disk = g_bytes_new ("disk", 4);

  for (guint window_log = 10; window_log <= 41; window_log++)
    {
      g_autoptr (GBytes) bytes = make_zstd_with_window (window_log, "disk");

      if (window_log <= 27)
        assert_unwraps (bytes, IMG_WRAPPING_AUTO, disk);
      else
        assert_fails (bytes, g_bytes_get_size (bytes), IMG_WRAPPING_AUTO, IMG_CODE_LIMIT_EXCEEDED,
                      "zstd");
    }
}

/* Frames to be skipped hold nothing of the disk. */
static void
test_zstd_skippable (void)
{
  g_autoptr (GBytes) disk = make_disk (300);
  g_autoptr (GBytes) wrapped = wrap_zstd (disk);
  g_autoptr (GBytes) followed = join_text (wrapped, "\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  g_autoptr (GBytes) both = join (followed, wrapped);
  g_autoptr (GBytes) twice = join (disk, disk);

  assert_unwraps_in_any_steps (followed, IMG_WRAPPING_ZSTD, disk);
  assert_unwraps_in_any_steps (both, IMG_WRAPPING_ZSTD, twice);
}

#endif

/* ---- what the library was built without ---- */

#if !defined(HAVE_LZMA) || !defined(HAVE_ZSTD)
static void
test_missing (gconstpointer data)
{
  const char *magic = data;
  g_autoptr (GBytes) bytes = g_bytes_new (magic, 6);

  assert_fails (bytes, 6, IMG_WRAPPING_AUTO, IMG_CODE_UNSUPPORTED,
                magic[1] == '7' ? "compressed with xz" : "compressed with zstd");
  assert_fails (bytes, 6, magic[1] == '7' ? IMG_WRAPPING_XZ : IMG_WRAPPING_ZSTD,
                IMG_CODE_UNSUPPORTED, "built without");
  assert_unwraps (bytes, IMG_WRAPPING_NONE, bytes);
}
#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/unwrap/steps", test_steps);
  g_test_add_func ("/unwrap/short", test_short);
  g_test_add_func ("/unwrap/members", test_members);
  g_test_add_func ("/unwrap/gzip-header", test_gzip_header);
  g_test_add_func ("/unwrap/gzip-header-damaged", test_gzip_header_damaged);
  g_test_add_func ("/unwrap/truncated", test_truncated);
  g_test_add_func ("/unwrap/damaged", test_damaged);
  g_test_add_func ("/unwrap/garbage", test_garbage);
  g_test_add_func ("/unwrap/padding", test_padding);
  g_test_add_func ("/unwrap/read-error", test_read_error);
  g_test_add_func ("/unwrap/cancelled", test_cancelled);
#ifdef HAVE_LZMA
  g_test_add_func ("/unwrap/xz-memory", test_xz_memory);
#else
  g_test_add_data_func ("/unwrap/xz-missing",
                        "\xfd"
                        "7zXZ\0",
                        test_missing);
#endif
#ifdef HAVE_ZSTD
  g_test_add_func ("/unwrap/zstd-memory", test_zstd_memory);
  g_test_add_func ("/unwrap/zstd-skippable", test_zstd_skippable);
#else
  g_test_add_data_func ("/unwrap/zstd-missing", "\x28\xb5\x2f\xfd\0\0", test_missing);
#endif
  return g_test_run ();
}
