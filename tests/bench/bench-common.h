/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the benchmark programs share: their options, the order of the requests and one line of
 * results. The Rust program in crate/ does the same sums, so equal checksums prove equal work. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  BENCH_ORDER_RANDOM, /* any block of the range, from the seed */
  BENCH_ORDER_LOCAL,  /* 64 requests in a row fall into one random MiB */
  BENCH_ORDER_STRIDE, /* offset = (offset + stride) % range, as qemu-img bench -S */
} BenchOrder;

typedef struct
{
  const char *path;
  char *call;        /* program-specific: which function is measured */
  BenchOrder order;
  guint64 range;     /* bytes of the disk that requests fall into */
  gsize block_size;
  guint64 count;     /* timed requests */
  guint64 warm_up;   /* requests before the clock starts */
  guint depth;
  guint64 seed;
  guint64 stride;
  guint64 cache_size; /* decoded clusters, 0: the default */
} BenchOptions;

/* Exits with a message when the command line makes no sense. */
void    bench_options_init (BenchOptions *options, int *argc, char ***argv);

typedef struct
{
  const BenchOptions *options;
  guint64 state;    /* of the generator */
  guint64 offset;   /* stride */
  guint64 window;   /* local */
  guint n_in_window;
} BenchSequence;

void    bench_sequence_init (BenchSequence *sequence, const BenchOptions *options);
guint64 bench_sequence_next (BenchSequence *sequence);

/* Independent of the order in which requests complete. */
typedef struct
{
  guint64 sum;
  guint64 n_requests;
  gint64 begin;
  gint64 end;
  gint64 processor; /* microseconds of processor time of the whole process */
} BenchResult;

void    bench_result_add   (BenchResult *result, const void *block, gsize length);
/* Starts the clock and forgets the warm-up. */
void    bench_result_begin (BenchResult *result);
void    bench_result_end   (BenchResult *result);
/* One line: seconds, of them on the processor, requests, checksum, peak memory in KiB, bytes of a
 * request. */
void    bench_result_print (const BenchResult *result, const BenchOptions *options);

void    bench_fail         (const char *format, ...) G_GNUC_PRINTF (1, 2) G_GNUC_NORETURN;

G_END_DECLS
