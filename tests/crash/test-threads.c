/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Real threads on one image with the smallest caches, against the model: what is read is always something
 * that may be there, and so is what remains. ThreadSanitizer looks on (scripts/sanitize.sh thread).
 *
 *   test-threads [ROUNDS [STEPS]]
 */

#include "config.h"

#include <stdlib.h>

#include "crash-work.h"

#define N_THREADS 8

static guint n_rounds = 6;
static guint n_steps = 400;

typedef struct
{
  CrashWork *work;
  CrashRandom random;
} Worker;

static gpointer
worker_thread (gpointer data)
{
  Worker *worker = data;

  for (guint i = 0; i < n_steps; i++)
    crash_work_step (worker->work, &worker->random, FALSE);
  return NULL;
}

static void
run_round (CrashWork *work, guint64 seed)
{
  Worker workers[N_THREADS];
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    {
      workers[i] = (Worker) { work, crash_random (seed * N_THREADS + i) };
      threads[i] = g_thread_new ("worker", worker_thread, &workers[i]);
    }
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

static void
assert_right (CrashWork *work, guint64 seed)
{
  g_autofree char *problem = crash_work_check (work);

  if (problem != NULL)
    g_error ("%s, seed %" G_GUINT64_FORMAT ": %s", work->geometry->name, seed, problem);
}

static void
test_threads (gconstpointer data)
{
  const CrashGeometry *geometry = crash_geometry_find (data);
  gint n_done = 0;

  for (guint64 seed = 1; seed <= n_rounds; seed++)
    {
      CrashVerdict verdict = { .seed = seed, .max_states = 1, .rewrite_every = 1 };
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      crash_log_stop (work.log);
      for (guint i = 0; i < 2; i++)
        {
          run_round (&work, 2 * seed + i);
          assert_right (&work, seed);
          crash_work_do (&work, CRASH_OP_REOPEN, 0, 0);
          assert_right (&work, seed);
        }
      crash_log_start (work.log); /* nothing is left to do: one state, as it was closed */
      crash_work_judge (&work, &verdict);
      crash_verdict_assert (&verdict, "%s, seed %" G_GUINT64_FORMAT, geometry->name, seed);
      for (guint op = 0; op < CRASH_N_OPS; op++)
        n_done += work.n_done[op];
      crash_verdict_clear (&verdict);
      crash_work_clear (&work);
    }
  g_test_message ("%d operations by %d threads", n_done, N_THREADS);
  g_assert_cmpint (n_done, >, (gint) (n_rounds * n_steps * N_THREADS));
}

int
main (int argc, char **argv)
{
  static const char *const disks[] = { "raw", "512", "4k", "backing", "data-file", "subclusters" };

  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    n_rounds = (guint) atoi (argv[1]);
  if (argc > 2)
    n_steps = (guint) atoi (argv[2]);
  for (guint i = 0; i < G_N_ELEMENTS (disks); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/threads/%s", disks[i]);

      g_test_add_data_func (path, disks[i], test_threads);
    }
  return g_test_run ();
}
