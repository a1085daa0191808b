/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The limit: pread () of the same bytes from a raw file, nothing else. */

#include "bench-common.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void
read_block (int fd, guint8 *buffer, gsize length, guint64 offset)
{
  gssize n = pread (fd, buffer, length, (off_t) offset);

  if (n < 0)
    bench_fail ("pread: %s", g_strerror (errno));
  if ((gsize) n != length)
    bench_fail ("pread: short read at %" G_GUINT64_FORMAT, offset);
}

int
main (int argc, char **argv)
{
  BenchOptions options;
  BenchSequence sequence;
  BenchResult result = { 0 };
  guint8 *buffer;
  int fd;

  bench_options_init (&options, &argc, &argv);
  fd = open (options.path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    bench_fail ("%s: %s", options.path, g_strerror (errno));
  buffer = g_malloc (options.block_size);

  bench_sequence_init (&sequence, &options);
  for (guint64 i = 0; i < options.warm_up; i++)
    read_block (fd, buffer, options.block_size, bench_sequence_next (&sequence));

  bench_result_begin (&result);
  for (guint64 i = 0; i < options.count; i++)
    {
      read_block (fd, buffer, options.block_size, bench_sequence_next (&sequence));
      bench_result_add (&result, buffer, options.block_size);
    }
  bench_result_end (&result);

  bench_result_print (&result, &options);
  g_free (buffer);
  close (fd);
  return 0;
}
