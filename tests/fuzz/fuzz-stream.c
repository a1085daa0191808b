/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A disk that comes out of a pipe, wrapped or not.
 *
 * The input is what the pipe gives, followed by three bytes: the wrapping, and how much is given
 * and asked for at a time. However it arrives and however it is asked for, the bytes are the same
 * and so is the end: complete, or an error with the same code. All that came went through the
 * checksum. */

#include "config.h"

#include <string.h>

#include "fuzz-checks.h"
#include "fuzz-limits.h"
#include "fuzz-target.h"
#include "img-alloc.h"
#include "img-unwrap.h"

#define SETTINGS 3
#define MAX_PLAIN (2 * IMG_MIB) /* a bomb is only a long disk */
#define MAX_CALLS 300000

typedef struct
{
  const guint8 *bytes;
  gsize length;
  gsize position;
  gsize step; /* bytes that arrive at a time */
  guint n_calls;
} Pipe;

typedef struct
{
  GByteArray *plain;
  gboolean success;
  int code; /* 0: none */
} Outcome;

static gssize
pipe_read (gpointer data, gpointer buffer, gsize length, ImgError **error)
{
  Pipe *pipe = data;
  gsize n = MIN (MIN (length, pipe->step), pipe->length - pipe->position);

  fuzz_require (length > 0, "nothing is asked of the pipe");
  fuzz_require (++pipe->n_calls < MAX_CALLS, "the pipe is asked without end");
  if (n > 0)
    memcpy (buffer, pipe->bytes + pipe->position, n);
  pipe->position += n;
  return (gssize) n;
}

static void
pipe_abort (gpointer data)
{
}

/* The disk up to MAX_PLAIN bytes. */
static gboolean
read_all (ImgUnwrap *unwrap, GByteArray *plain, gsize step, ImgError **error)
{
  g_autofree guint8 *buffer = g_malloc (step);
  gsize n;

  do
    {
      memset (buffer, 0xa5, step);
      if (!img_unwrap_read (unwrap, buffer, step, &n, NULL, error))
        return FALSE;
      fuzz_require (n <= step, "more than was asked for");
      g_byte_array_append (plain, buffer, (guint) n);
    }
  while (n == step && plain->len < MAX_PLAIN);
  if (n < step)
    {
      gsize after = 1;

      fuzz_require (img_unwrap_read (unwrap, buffer, step, &after, NULL, error) && after == 0,
                    "there is more behind the end");
    }
  return TRUE;
}

static Outcome
unwrap_it (const guint8 *bytes, gsize length, ImgWrapping wrapping, gsize arrives, gsize asked)
{
  Pipe pipe = { bytes, length, 0, arrives, 0 };
  const ImgByteStream stream = { pipe_read, pipe_abort, &pipe };
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autoptr (ImgUnwrap) unwrap = img_unwrap_new (&stream, wrapping, checksum);
  Outcome outcome = { .plain = g_byte_array_new () };
  g_autofree char *wanted = NULL;
  ImgError *error = NULL;

  outcome.success = read_all (unwrap, outcome.plain, asked, &error);
  outcome.code = error != NULL ? error->code : 0;
  fuzz_check_error (outcome.success, &error);
  wanted = g_compute_checksum_for_data (G_CHECKSUM_SHA256, bytes, pipe.position);
  fuzz_require (strcmp (wanted, g_checksum_get_string (checksum)) == 0,
                "the checksum has not seen what came");
  return outcome;
}

static void
compare (const Outcome *one, const Outcome *other)
{
  guint common = MIN (one->plain->len, other->plain->len);

  fuzz_require (common == 0 || memcmp (one->plain->data, other->plain->data, common) == 0,
                "the bytes depend on how they arrive");
  if (one->plain->len >= MAX_PLAIN || other->plain->len >= MAX_PLAIN)
    return;
  fuzz_require (one->success == other->success && one->code == other->code,
                "the end depends on how the bytes arrive: code %d and %d", one->code, other->code);
  fuzz_require (!one->success || one->plain->len == other->plain->len,
                "the length depends on how the bytes arrive");
}

static gsize
parse_step (guint8 byte)
{
  return (gsize) (byte & 15) + ((gsize) 1 << (byte >> 4));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Outcome one, other;
  ImgWrapping wrapping;

  if (size < SETTINGS)
    return 0;
  size -= SETTINGS;
  wrapping = (ImgWrapping) (data[size] % (IMG_WRAPPING_ZSTD + 1));
  fuzz_limits_begin (1);
  one = unwrap_it (data, size, wrapping, 65536, 65536);
  other =
    unwrap_it (data, size, wrapping, parse_step (data[size + 1]), parse_step (data[size + 2]));
  fuzz_limits_end ();
  compare (&one, &other);
  g_byte_array_unref (one.plain);
  g_byte_array_unref (other.plain);
  return 0;
}
