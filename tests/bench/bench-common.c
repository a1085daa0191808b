/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCAL_WINDOW ((guint64) 1 << 20)
#define LOCAL_RUN 64

void
bench_fail (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_printerr ("%s: ", g_get_prgname ());
  vfprintf (stderr, format, args);
  va_end (args);
  g_printerr ("\n");
  exit (1);
}

static BenchOrder
parse_order (const char *word)
{
  if (word == NULL || strcmp (word, "random") == 0)
    return BENCH_ORDER_RANDOM;
  if (strcmp (word, "local") == 0)
    return BENCH_ORDER_LOCAL;
  if (strcmp (word, "stride") == 0)
    return BENCH_ORDER_STRIDE;
  bench_fail ("unknown order '%s'", word);
}

void
bench_options_init (BenchOptions *options, int *argc, char ***argv)
{
  char *order = NULL;
  gint64 range = 0, block_size = 4096, count = 1, warm_up = 0, seed = 1, stride = 0, cache_size = 0;
  int depth = 1;
  GOptionEntry entries[] = {
    { "call", 0, 0, G_OPTION_ARG_STRING, &options->call, "Function to measure", "NAME" },
    { "order", 0, 0, G_OPTION_ARG_STRING, &order, "random, local or stride", "ORDER" },
    { "range", 0, 0, G_OPTION_ARG_INT64, &range, "Bytes of the disk to read from", "BYTES" },
    { "block-size", 0, 0, G_OPTION_ARG_INT64, &block_size, "Bytes of one request", "BYTES" },
    { "count", 0, 0, G_OPTION_ARG_INT64, &count, "Timed requests", "N" },
    { "warm-up", 0, 0, G_OPTION_ARG_INT64, &warm_up, "Requests before the clock starts", "N" },
    { "depth", 0, 0, G_OPTION_ARG_INT, &depth, "Requests in flight", "N" },
    { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Seed of the order", "N" },
    { "stride", 0, 0, G_OPTION_ARG_INT64, &stride, "Distance of two requests", "BYTES" },
    { "cache-size", 0, 0, G_OPTION_ARG_INT64, &cache_size, "Cache of decoded clusters", "BYTES" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("IMAGE");
  g_autoptr (GError) error = NULL;

  memset (options, 0, sizeof *options);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, &error))
    bench_fail ("%s", error->message);
  if (*argc != 2)
    bench_fail ("one image is needed");
  if (block_size <= 0 || count <= 0 || warm_up < 0 || depth <= 0 || range < block_size ||
      stride < 0 || cache_size < 0)
    bench_fail ("a number is out of range (give --range)");

  options->path = (*argv)[1];
  options->order = parse_order (order);
  options->range = (guint64) range;
  options->block_size = (gsize) block_size;
  options->count = (guint64) count;
  options->warm_up = (guint64) warm_up;
  options->depth = (guint) depth;
  options->seed = (guint64) seed;
  options->stride = stride != 0 ? (guint64) stride : (guint64) block_size;
  options->cache_size = (guint64) cache_size;
  g_free (order);
}

void
bench_sequence_init (BenchSequence *sequence, const BenchOptions *options)
{
  memset (sequence, 0, sizeof *sequence);
  sequence->options = options;
  sequence->state = options->seed;
}

/* splitmix64: one multiplication deep, the same in every language. */
static guint64
next_random (BenchSequence *sequence)
{
  guint64 z;

  sequence->state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  z = sequence->state;
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static guint64
next_local (BenchSequence *sequence)
{
  const BenchOptions *options = sequence->options;
  guint64 window_size = MIN (LOCAL_WINDOW, options->range);

  if (sequence->n_in_window++ % LOCAL_RUN == 0)
    sequence->window = next_random (sequence) % (options->range / window_size) * window_size;
  return sequence->window +
         next_random (sequence) % (window_size / options->block_size) * options->block_size;
}

guint64
bench_sequence_next (BenchSequence *sequence)
{
  const BenchOptions *options = sequence->options;
  guint64 offset;

  switch (options->order)
    {
    case BENCH_ORDER_LOCAL:
      return next_local (sequence);
    case BENCH_ORDER_STRIDE:
      offset = sequence->offset;
      sequence->offset = (offset + options->stride) % options->range;
      /* A last block that the range cuts off would be short. */
      return MIN (offset, options->range - options->block_size);
    case BENCH_ORDER_RANDOM:
    default:
      return next_random (sequence) % (options->range / options->block_size) * options->block_size;
    }
}

void
bench_result_add (BenchResult *result, const void *block, gsize length)
{
  guint64 first, last;

  memcpy (&first, block, sizeof first);
  memcpy (&last, (const guint8 *) block + length - sizeof last, sizeof last);
  result->sum += first ^ (last << 1);
  result->n_requests++;
}

static gint64
processor_time (void)
{
  struct timespec time;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

void
bench_result_begin (BenchResult *result)
{
  result->sum = 0;
  result->n_requests = 0;
  result->processor = -processor_time ();
  result->begin = g_get_monotonic_time ();
}

void
bench_result_end (BenchResult *result)
{
  result->end = g_get_monotonic_time ();
  result->processor += processor_time ();
}

/* Of this program alone: getrusage () also counts the process that started it. */
static guint64
peak_kib (void)
{
  g_autofree char *status = NULL;
  const char *line;

  if (!g_file_get_contents ("/proc/self/status", &status, NULL, NULL))
    return 0;
  line = strstr (status, "VmHWM:");
  return line != NULL ? g_ascii_strtoull (line + strlen ("VmHWM:"), NULL, 10) : 0;
}

void
bench_result_print (const BenchResult *result, const BenchOptions *options)
{
  g_print ("seconds=%.6f processor=%.6f requests=%" G_GUINT64_FORMAT " sum=%016" G_GINT64_MODIFIER
           "x peak_kib=%" G_GUINT64_FORMAT " block=%" G_GSIZE_FORMAT "\n",
           (double) (result->end - result->begin) / G_USEC_PER_SEC,
           (double) result->processor / G_USEC_PER_SEC, result->n_requests, result->sum,
           peak_kib (), options->block_size);
}
