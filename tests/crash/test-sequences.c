/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Every sequence of up to two operations on a tiny disk, empty and filled, and what a power cut leaves.
 *
 *   test-sequences DISK [STATES-PER-SEQUENCE]
 */

#include "config.h"

#include <stdlib.h>

#include "crash-work.h"

#define NO_OP CRASH_N_OPS

static const CrashGeometry *geometry;
static guint64 states_per_sequence = 20;

static guint64
per_cluster (void)
{
  return crash_geometry_cluster (geometry) / CRASH_SECTOR;
}

static gboolean
can_do (guint op)
{
  if (op == CRASH_OP_READ)
    return FALSE;
  if (op == CRASH_OP_COMMIT)
    return geometry->has_base;
  return op != CRASH_OP_WRITE_COMPRESSED ||
         (g_str_equal (geometry->format, "qcow2") && !geometry->has_data_file);
}

/* Operations of one sequence meet in cluster 3, or do not. */
static void
run_op (CrashWork *work, guint op, guint64 cluster)
{
  guint64 n = per_cluster ();

  if (op == NO_OP || op == CRASH_OP_READ)
    return;
  if (op == CRASH_OP_WRITE_PART)
    crash_work_do (work, op, (cluster + 1) * n + n / 4, MIN (MAX (1, n / 2), 16));
  else if (op == CRASH_OP_WRITE && n > 128) /* less of a large cluster, at its end and beyond */
    crash_work_do (work, op, (cluster + 1) * n - 8, 16);
  else if (op == CRASH_OP_WRITE_COMPRESSED && n > 128) /* takes long */
    crash_work_do (work, op, cluster * n, n);
  else if (op == CRASH_OP_ZERO && n > 1)
    crash_work_do (work, op, cluster * n + n / 2, n);
  else
    crash_work_do (work, op, cluster * n, 2 * n);
}

/* Data of every kind, durable. */
static void
fill (CrashWork *work)
{
  guint64 n = per_cluster ();

  for (guint64 cluster = 0; cluster < 8; cluster++)
    if (cluster == 3 && can_do (CRASH_OP_WRITE_COMPRESSED) && n <= 128)
      crash_work_do (work, CRASH_OP_WRITE_COMPRESSED, cluster * n, n);
    else if (cluster == 5)
      crash_work_do (work, CRASH_OP_ZERO, cluster * n, n);
    else
      crash_work_do (work, CRASH_OP_WRITE, cluster * n, MIN (n, 64));
  crash_work_do (work, CRASH_OP_REOPEN, 0, 0);
}

typedef struct
{
  guint first;
  guint second;
  gboolean filled;
  gboolean flushed;
  guint64 distance; /* clusters between the operations */
} Sequence;

static void
judge_sequence (const Sequence *sequence, CrashVerdict *sum)
{
  guint64 seed = sequence->first * 64 + sequence->second;
  CrashVerdict verdict = { .seed = seed + 1,
                           .max_states = states_per_sequence,
                           .n_random = 10,
                           .n_states = sum->n_states, /* where the next sample is due */
                           .rewrite_every = 20 };
  CrashWork work;

  crash_work_init (&work, geometry, seed);
  if (sequence->filled)
    fill (&work);
  crash_log_start (work.log);
  run_op (&work, sequence->first, 2);
  run_op (&work, sequence->second, 2 + sequence->distance);
  if (sequence->flushed)
    crash_work_do (&work, CRASH_OP_FLUSH, 0, 0);
  crash_work_judge (&work, &verdict);
  crash_verdict_assert (&verdict, "%s, %s disk: %s, then %s, at a distance of %d%s", geometry->name,
                        sequence->filled ? "filled" : "empty",
                        sequence->first < NO_OP ? crash_op_get_name (sequence->first) : "nothing",
                        sequence->second < NO_OP ? crash_op_get_name (sequence->second) : "nothing",
                        (int) sequence->distance, sequence->flushed ? ", flushed" : "");
  verdict.n_states -= sum->n_states;
  crash_verdict_add (sum, &verdict);
  crash_verdict_clear (&verdict);
  crash_work_clear (&work);
}

static void
test_sequences (gconstpointer filled)
{
  CrashVerdict sum = { 0 };
  guint n_sequences = 0;

  for (guint first = 0; first <= NO_OP; first++)
    for (guint second = 0; second <= NO_OP; second++)
      for (guint variant = 0; variant < 4; variant++)
        {
          Sequence sequence = { first, second, filled != NULL, variant & 1, variant / 2 };

          if (!can_do (first) || !can_do (second))
            continue;
          judge_sequence (&sequence, &sum);
          n_sequences++;
        }
  g_test_message ("%u sequences, %" G_GUINT64_FORMAT " states, %" G_GUINT64_FORMAT
                  " with leaks, %" G_GUINT64_FORMAT " written to afterwards",
                  n_sequences, sum.n_states, sum.n_leaking, sum.n_rewritten);
  g_assert_cmpuint (sum.n_states, >=, n_sequences * MIN (states_per_sequence, 4) / 4);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  geometry = crash_geometry_find (argc > 1 ? argv[1] : "4k");
  if (argc > 2)
    states_per_sequence = (guint64) atoll (argv[2]);
  g_test_add_data_func ("/crash/sequences/empty", NULL, test_sequences);
  g_test_add_data_func ("/crash/sequences/filled", GINT_TO_POINTER (1), test_sequences);
  return g_test_run ();
}
