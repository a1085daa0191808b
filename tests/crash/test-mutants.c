/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Breaks each rule of the write path in turn: the crash tests must notice. Every run is a process of its
 * own, since a broken writer may also run into an assertion, or for ever.
 *
 *   test-mutants [MUTANT [DISK SEED [churn]]]   with a seed: that run alone, in this process
 */

#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash-work.h"
#include "img-mutant.h"

#define N_THREADS 4
#define MAX_RUNS 60
#define STATES_PER_RUN 500
#define SECONDS_PER_RUN 20

/* Where a mutant can be seen at all. */
typedef struct
{
  ImgMutant mutant;
  const char *disks[4]; /* tried in turn */
  gboolean churns;          /* seen while it runs rather than after a crash */
  const char *why_harmless; /* NULL: it must be noticed */
} Case;

static const Case cases[] = {
  { IMG_MUTANT_SKIP_FLUSH_P0, { "growth", "512" } },
  { IMG_MUTANT_SKIP_FLUSH_P1, { "4k", "growth" } },
  { IMG_MUTANT_SKIP_FLUSH_P2, { "4k", "backing" } },
  { IMG_MUTANT_SKIP_FLUSH_DATA_FILE, { "data-file" } },
  { IMG_MUTANT_L2_BEFORE_REFCOUNTS, { "4k", "512" } },
  { IMG_MUTANT_L1_BEFORE_L2, { "growth" } },
  { IMG_MUTANT_REFTABLE_BEFORE_BLOCK, { "growth", "reftable" } },
  { IMG_MUTANT_HEADER_BEFORE_REFTABLE, { "reftable" } },
  { IMG_MUTANT_PUNCH_BEFORE_DURABLE, { "4k", "backing" } },
  { IMG_MUTANT_DECREMENT_BEFORE_DURABLE, { "4k", "512" } },
  { IMG_MUTANT_REUSE_BEFORE_DURABLE, { "4k", "512" } },
  { IMG_MUTANT_REUSE_BEFORE_EPOCH, { "4k", "512" }, TRUE },
  { IMG_MUTANT_SKIP_AUTOCLEAR_FLUSH, { "bitmap" } },
  { IMG_MUTANT_SKIP_DIRTY_FLUSH,
    { "lazy" },
    FALSE,
    "P1 is flushed before P2 always, and the dirty bit with it" },
  { IMG_MUTANT_CLEAR_DIRTY_EARLY, { "lazy" } },
  { IMG_MUTANT_COMMIT_BEFORE_DATA, { "4k", "backing" } },
  { IMG_MUTANT_NO_CLAIM, { "4k", "backing" } },
};

/* What a run tells the process that started it. */
typedef struct
{
  guint n_reached; /* how often the rule was broken */
  guint64 n_states;
  char reason[200];
} Report;

static Report *report;

static void
give_reason (const char *text)
{
  g_strlcpy (report->reason, text, sizeof report->reason);
  report->reason[strcspn (report->reason, "\n")] = '\0';
}

static GLogWriterOutput
keep_message (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE"))
      give_reason (fields[i].value);
  report->n_reached = img_mutant_get_count ();
  return G_LOG_WRITER_HANDLED;
}

static void
churn (CrashWork *work, guint64 seed)
{
  work->churns = TRUE;
  crash_work_at_once (work, N_THREADS, 300, seed);
}

static void
work_with_mutant (const CrashGeometry *geometry, guint64 seed, gboolean churns)
{
  CrashRandom random = crash_random (seed);
  CrashVerdict verdict = { .seed = seed,
                           .max_states = STATES_PER_RUN,
                           .n_random = 30,
                           .rewrite_every = 10,
                           .stop_at_problem = TRUE };
  CrashWork work;
  char *problem;

  crash_work_init (&work, geometry, seed);
  crash_work_steps (&work, &random, seed % 2 == 0 || churns ? 30 : 150);
  if (churns)
    churn (&work, seed);
  else if (seed % 2 == 0)
    crash_work_at_once (&work, N_THREADS, 60, seed);
  report->n_reached = img_mutant_get_count ();
  problem = crash_work_check (&work);
  if (problem == NULL)
    {
      crash_work_judge (&work, &verdict);
      report->n_states = verdict.n_states;
      problem = verdict.problem;
    }
  if (problem != NULL)
    give_reason (problem);
  _exit (problem != NULL);
}

typedef enum
{
  RUN_UNNOTICED,
  RUN_NOTICED,
  RUN_TOO_LONG,
} RunResult;

static RunResult
run_child (ImgMutant mutant, const CrashGeometry *geometry, guint64 seed, gboolean churns)
{
  int status;
  pid_t child;

  *report = (Report) { 0 };
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      if (freopen ("/dev/null", "w", stderr) == NULL)
        _exit (2);
      g_log_set_writer_func (keep_message, NULL, NULL);
      alarm (SECONDS_PER_RUN);
      img_mutant_set (mutant);
      work_with_mutant (geometry, seed, churns);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  if (WIFSIGNALED (status) && WTERMSIG (status) == SIGALRM)
    return RUN_TOO_LONG;
  if (WIFSIGNALED (status) && report->reason[0] == '\0')
    give_reason (WTERMSIG (status) == SIGABRT ? "an assertion failed" : "it crashed");
  return WIFEXITED (status) && WEXITSTATUS (status) == 0 ? RUN_UNNOTICED : RUN_NOTICED;
}

static void
test_mutant (gconstpointer data)
{
  const Case *self = data;
  const char *name = img_mutant_get_name (self->mutant);
  guint64 n_states = 0;
  guint n_reached = 0, n_disks = 0;

  while (n_disks < G_N_ELEMENTS (self->disks) && self->disks[n_disks] != NULL)
    n_disks++;
  for (guint run = 0; run < MAX_RUNS; run++)
    {
      const CrashGeometry *geometry = crash_geometry_find (self->disks[run % n_disks]);
      RunResult result = run_child (self->mutant, geometry, run / n_disks + 1, self->churns);

      n_states += report->n_states;
      n_reached += report->n_reached;
      if (result == RUN_TOO_LONG)
        g_error ("%s: on %s, seed %u, it runs for ever", name, geometry->name, run / n_disks + 1);
      if (result == RUN_NOTICED)
        {
          if (self->why_harmless != NULL)
            g_error ("%s is not harmless: on %s, seed %u: %s", name, geometry->name,
                     run / n_disks + 1, report->reason);
          g_test_message ("%s: broken %u times, noticed on %s after %u runs, %" G_GUINT64_FORMAT
                          " states: %s",
                          name, n_reached, geometry->name, run + 1, n_states, report->reason);
          g_assert_cmpuint (n_reached, >, 0);
          return;
        }
    }
  if (self->why_harmless != NULL)
    {
      g_test_message ("%s: broken %u times and harmless in %" G_GUINT64_FORMAT " states: %s", name,
                      n_reached, n_states, self->why_harmless);
      g_assert_cmpuint (n_reached, >, 0);
      return;
    }
  g_error ("%s: broken %u times and not noticed in %" G_GUINT64_FORMAT " states", name, n_reached,
           n_states);
}

/* The same runs are right when no rule is broken. */
static void
test_no_mutant (void)
{
  static const char *const disks[] = { "4k", "512", "growth", "backing", "data-file", "bitmap" };

  for (guint i = 0; i < G_N_ELEMENTS (disks); i++)
    for (guint64 seed = 1; seed <= 4; seed++)
      if (run_child (IMG_MUTANT_NONE, crash_geometry_find (disks[i]), seed, seed % 4 == 0) !=
          RUN_UNNOTICED)
        g_error ("%s, seed %d, no mutant: %s", disks[i], (int) seed, report->reason);
}

static ImgMutant
find_mutant (const char *name)
{
  for (guint i = 0; i < IMG_N_MUTANTS; i++)
    if (g_str_equal (img_mutant_get_name (i), name))
      return i;
  g_error ("There is no mutant “%s”", name);
}

int
main (int argc, char **argv)
{
  gboolean seen[IMG_N_MUTANTS] = { FALSE };

  g_test_init (&argc, &argv, NULL);
  report = mmap (NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true (report != MAP_FAILED);
  if (argc > 3)
    {
      img_mutant_set (find_mutant (argv[1]));
      work_with_mutant (crash_geometry_find (argv[2]), (guint64) atoll (argv[3]),
                        argc > 4);
    }
  g_test_add_func ("/crash/mutants/none", test_no_mutant);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const char *name = img_mutant_get_name (cases[i].mutant);
      g_autofree char *path = g_strdup_printf ("/crash/mutants/%s", name);

      seen[cases[i].mutant] = TRUE;
      if (argc < 2 || g_str_equal (argv[1], name))
        g_test_add_data_func (path, &cases[i], test_mutant);
    }
  for (guint i = IMG_MUTANT_NONE + 1; i < IMG_MUTANT_EMPTY_BEFORE_BASE; i++) /* the others: crash-jobs, crash-repair */
    g_assert_true (seen[i]);
  return g_test_run ();
}
