/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Random work on one kind of disk, and every state that a power cut can leave of it: first by one thread,
 * then by several at once under the seeded scheduler, at last while the size changes and the image is closed.
 *
 *   test-random DISK [RUNS [STATES-PER-RUN [FIRST-SEED]]]
 */

#include "config.h"

#include <stdlib.h>

#include "crash-work.h"

#define N_THREADS 4

static const CrashGeometry *geometry;
static guint n_runs = 12;
static guint64 states_per_run = 400;
static guint64 first_seed = 1;

static void
print_sum (const char *what, const CrashVerdict *sum, const gint *n_done)
{
  g_autoptr (GString) ops = g_string_new (NULL);

  for (guint op = 0; op < CRASH_N_OPS; op++)
    g_string_append_printf (ops, "%s%d x %s", op > 0 ? ", " : "", n_done[op],
                            crash_op_get_name (op));
  g_test_message ("%s: %" G_GUINT64_FORMAT " states, %" G_GUINT64_FORMAT
                  " with leaks, %" G_GUINT64_FORMAT " written to afterwards; %s",
                  what, sum->n_states, sum->n_leaking, sum->n_rewritten, ops->str);
}

static void
judge_run (CrashWork *work, guint64 seed, CrashVerdict *sum, gint *n_done)
{
  CrashVerdict verdict = { .seed = seed,
                           .max_states = states_per_run,
                           .n_random = 20,
                           .rewrite_every = 25 };
  g_autofree char *problem = work->image != NULL ? crash_work_check (work) : NULL;

  if (problem != NULL)
    g_error ("%s, seed %" G_GUINT64_FORMAT ": %s", geometry->name, seed, problem);
  crash_work_judge (work, &verdict);
  crash_verdict_assert (&verdict, "%s, seed %" G_GUINT64_FORMAT, geometry->name, seed);
  crash_verdict_add (sum, &verdict);
  crash_verdict_clear (&verdict);
  for (guint op = 0; op < CRASH_N_OPS; op++)
    n_done[op] += work->n_done[op];
}

static void
test_one_thread (void)
{
  CrashVerdict sum = { 0 };
  gint n_done[CRASH_N_OPS] = { 0 };

  for (guint i = 0; i < n_runs; i++)
    {
      CrashRandom random = crash_random (first_seed + i);
      guint n_steps = 200 + (guint) crash_random_below (&random, 200);
      CrashWork work;

      crash_work_init (&work, geometry, first_seed + i);
      crash_work_steps (&work, &random, n_steps);
      judge_run (&work, first_seed + i, &sum, n_done);
      crash_work_clear (&work);
    }
  print_sum ("one thread", &sum, n_done);
  g_assert_cmpuint (sum.n_states, >=, n_runs * states_per_run / 3);
}

/* Rounds of several threads, with a reopen between them. */
static void
test_at_once (void)
{
  CrashVerdict sum = { 0 };
  gint n_done[CRASH_N_OPS] = { 0 };

  for (guint i = 0; i < n_runs; i++)
    {
      guint64 seed = first_seed + 1000000 + i;
      CrashRandom random = crash_random (seed);
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      crash_work_steps (&work, &random, 20);
      for (guint round = 0; round < 2; round++)
        {
          crash_work_at_once (&work, N_THREADS, 40, crash_random_next (&random));
          crash_work_do (&work, CRASH_OP_REOPEN, 0, 0);
        }
      crash_work_at_once (&work, N_THREADS, 25, crash_random_next (&random));
      judge_run (&work, seed, &sum, n_done);
      crash_work_clear (&work);
    }
  print_sum ("at once", &sum, n_done);
  g_assert_cmpuint (sum.n_states, >=, n_runs * states_per_run / 3);
}

/* Those that write, one that changes the size and one that closes, all at once. */
static void
test_races (void)
{
  CrashVerdict sum = { 0 };
  gint n_done[CRASH_N_OPS] = { 0 };
  gint n_late = 0;

  for (guint i = 0; i < n_runs; i++)
    {
      guint64 seed = first_seed + 2000000 + i;
      CrashRandom random = crash_random (seed);
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      crash_work_steps (&work, &random, 20);
      for (guint round = 0; round < 3; round++)
        crash_work_race (&work, N_THREADS + 1, 40, crash_random_next (&random));
      for (guint op = 0; op < CRASH_N_OPS; op++)
        n_late += op != CRASH_OP_WRITE_COMPRESSED ? work.n_failed[op] : 0;
      judge_run (&work, seed, &sum, n_done);
      crash_work_clear (&work);
    }
  print_sum ("races", &sum, n_done);
  g_test_message ("%d operations came too late", n_late);
  g_assert_cmpint (n_late, >, 0);
  g_assert_cmpuint (sum.n_states, >=, n_runs * states_per_run / 4);
}

/* A run is what its seed says. */
static void
test_replays (void)
{
  guint64 traces[2];
  g_autoptr (CrashPages) content = NULL;

  for (guint i = 0; i < 2; i++)
    {
      CrashWork work;

      crash_work_init (&work, geometry, first_seed);
      traces[i] = crash_work_at_once (&work, N_THREADS, 40, first_seed);
      if (i == 0)
        content = crash_pages_copy (crash_log_get_content (work.log, 0));
      else
        g_assert_true (crash_pages_equal (content, crash_log_get_content (work.log, 0)));
      crash_work_clear (&work);
    }
  g_assert_cmpuint (traces[0], ==, traces[1]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  geometry = crash_geometry_find (argc > 1 ? argv[1] : "4k");
  if (argc > 2)
    n_runs = (guint) atoi (argv[2]);
  if (argc > 3)
    states_per_run = (guint64) atoll (argv[3]);
  if (argc > 4)
    first_seed = (guint64) atoll (argv[4]);
  g_test_add_func ("/crash/random/replays", test_replays);
  g_test_add_func ("/crash/random/one-thread", test_one_thread);
  g_test_add_func ("/crash/random/at-once", test_at_once);
  g_test_add_func ("/crash/random/races", test_races);
  return g_test_run ();
}
