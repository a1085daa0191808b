/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The encoders at each level on the units of a file: size and speed, beside zlib as qemu-img calls
 * it. All units are decoded and compared. The speed is that of processor time, so that it is about
 * right on a busy machine.
 *
 *   bench-codecs FILE [UNIT]
 */

#include "config.h"

#include <string.h>
#include <time.h>
#include <zlib.h>

#include "img-deflate.h"
#include "img-encoder.h"
#include "img-zstd.h"

#define MAX_BYTES (64 * 1024 * 1024)

typedef struct
{
  guint8 *bytes;
  gsize length; /* whole units */
  gsize unit;
  guint8 *stored;
  guint8 *back;
} Input;

typedef struct
{
  gsize size;
  double seconds;
} Result;

static double
now (void)
{
  struct timespec time;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &time);
  return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static void
input_read (Input *input, const char *path, gsize unit)
{
  g_autoptr (GError) error = NULL;

  if (!g_file_get_contents (path, (char **) &input->bytes, &input->length, &error))
    g_error ("%s", error->message);
  input->unit = unit;
  input->length = MIN (input->length, MAX_BYTES) / unit * unit;
  if (input->length == 0)
    g_error ("%s is shorter than one unit", path);
  input->stored = g_malloc (unit);
  input->back = g_malloc (unit);
}

static Result
measure_qemu (const Input *input)
{
  Result result = { 0, now () };

  for (gsize at = 0; at < input->length; at += input->unit)
    {
      z_stream stream = { 0 };

      deflateInit2 (&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY);
      stream.next_in = input->bytes + at;
      stream.avail_in = (uInt) input->unit;
      stream.next_out = input->stored;
      stream.avail_out = (uInt) input->unit - 1;
      result.size += deflate (&stream, Z_FINISH) == Z_STREAM_END ? stream.total_out : input->unit;
      deflateEnd (&stream);
    }
  result.seconds = now () - result.seconds;
  return result;
}

static void
verify (const Input *input, ImgCompression compression, const guint8 *plain, gsize stored_length)
{
  gboolean success =
    compression == IMG_COMPRESSION_ZSTD
      ? img_zstd_decode (input->stored, stored_length, input->back, input->unit, NULL)
      : img_deflate_decode (input->stored, stored_length, input->back, input->unit, NULL);

  if (!success || memcmp (input->back, plain, input->unit) != 0)
    g_error ("A unit does not read back");
}

static Result
measure (const Input *input, ImgCompression compression, int level)
{
  g_autoptr (ImgEncoder) encoder = img_encoder_new (compression, level, input->unit, NULL);
  Result result = { 0, 0 };

  for (gsize at = 0; at < input->length; at += input->unit)
    {
      double start = now ();
      gsize stored_length;

      if (!img_encoder_encode (encoder, input->bytes + at, input->unit, input->stored,
                               input->unit - 1, &stored_length, NULL))
        g_error ("A unit cannot be encoded");
      result.seconds += now () - start;
      result.size += stored_length > 0 ? stored_length : input->unit;
      if (stored_length > 0)
        verify (input, compression, input->bytes + at, stored_length);
    }
  return result;
}

static void
print (const Input *input, const char *name, int level, Result result, Result qemu)
{
  g_print ("%-5s %2d  %10" G_GSIZE_FORMAT " bytes  %+6.1f %%  %6.0f MB/s  %5.1f x\n", name, level,
           result.size, 100.0 * ((double) result.size / (double) qemu.size - 1),
           (double) input->length / result.seconds / 1e6, qemu.seconds / result.seconds);
}

int
main (int argc, char **argv)
{
  Input input;
  Result qemu;

  if (argc < 2)
    g_error ("Usage: bench-codecs FILE [UNIT]");
  input_read (&input, argv[1], argc > 2 ? (gsize) g_ascii_strtoull (argv[2], NULL, 10) : 65536);
  qemu = measure_qemu (&input);
  print (&input, "qemu", 6, qemu, qemu);
  for (int level = 0; level <= img_encoder_get_max_level (IMG_COMPRESSION_ZLIB); level++)
    print (&input, "zlib", level, measure (&input, IMG_COMPRESSION_ZLIB, level), qemu);
  for (int level = 0; level <= MIN (img_encoder_get_max_level (IMG_COMPRESSION_ZSTD), 19); level++)
    print (&input, "zstd", level, measure (&input, IMG_COMPRESSION_ZSTD, level), qemu);
  g_free (input.bytes);
  g_free (input.stored);
  g_free (input.back);
  return 0;
}
