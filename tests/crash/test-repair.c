/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Repair of what a power cut has left: afterwards nothing leaks, the content is what it was allowed to be,
 * a second repair changes nothing; and when the power goes off during the repair, it is no worse.
 *
 *   test-repair [STATES-PER-DISK]
 */

#include "config.h"

#include <stdlib.h>

#include "crash-check.h"
#include "crash-work.h"
#include "qcow2/img-qcow2-repair.h"

static guint64 states_per_disk = 60;

typedef struct
{
  CrashWork *work;
  guint n_repaired;
  guint64 n_leaks;       /* before */
  guint64 n_states;      /* of power cuts during repairs */
  guint n_dirty;
} Clinic;

static void
repair (ImgStorage *storage, ImgCheckResult *result)
{
  g_autoptr (ImgError) error = NULL;

  img_check_result_init (result);
  if (!img_qcow2_repair (storage, IMG_REPAIR_ALL, result, NULL, &error))
    g_error ("The repair failed: %s", error->text);
}

/* During a repair the power goes off: the same must hold as for the state that it began with. */
typedef struct
{
  CrashWork *work;
  CrashMoment moment;
} Interrupted;

static gboolean
check_interrupted (const CrashState *state, gpointer data)
{
  Interrupted *self = data;
  const CrashGeometry *geometry = self->work->geometry;
  g_autofree char *problem =
    crash_check_disks (geometry, state->disks, self->work->model, self->moment, NULL);

  if (problem != NULL)
    {
      crash_state_print (state);
      g_error ("%s: after a power cut during a repair: %s", geometry->name, problem);
    }
  return TRUE;
}

/* The repair of @state, on disks that log it. */
static void
repair_logged (Clinic *clinic, const CrashState *state, CrashMoment moment)
{
  const CrashGeometry *geometry = clinic->work->geometry;
  g_autoptr (CrashLog) log = crash_log_new (1);
  CrashStatesOptions options = { .seed = state->time, .n_random = 10, .max_states = 40 };
  Interrupted interrupted = { clinic->work, moment };
  ImgStorage *disks[CRASH_MAX_DISKS] = { NULL };
  g_auto (ImgCheckResult) result = { 0 };
  g_auto (ImgCheckResult) again = { 0 };
  g_autofree char *problem = NULL;
  g_autoptr (CrashPages) repaired = NULL;
  CrashPages *contents[CRASH_MAX_DISKS] = { NULL };
  guint64 n_leaks;

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    disks[i] = crash_log_add_disk (log, "x", crash_pages_copy (state->disks[i]));
  crash_log_start (log);
  repair (disks[CRASH_DISK_IMAGE], &result);
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.leaks, ==, 0);
  problem = crash_check_qcow2 (geometry, crash_log_get_content (log, CRASH_DISK_IMAGE), &n_leaks);
  g_assert_cmpstr (problem, ==, NULL);
  g_assert_cmpuint (n_leaks, ==, 0);
  g_assert_false (crash_image_is_dirty (geometry, crash_log_get_content (log, CRASH_DISK_IMAGE)));

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    contents[i] = crash_log_get_content (log, i);
  problem = crash_check_disks (geometry, contents, clinic->work->model, moment, NULL);
  if (problem != NULL)
    g_error ("%s: after a repair: %s", geometry->name, problem);
  clinic->n_states += crash_states_run (log, &options, check_interrupted, &interrupted);

  repaired = crash_pages_copy (contents[CRASH_DISK_IMAGE]);
  repair (disks[CRASH_DISK_IMAGE], &again);
  g_assert_cmpuint (again.leaks_fixed + again.corruptions_fixed, ==, 0);
  g_assert_true (crash_pages_equal (repaired, contents[CRASH_DISK_IMAGE]));
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    img_storage_unref (disks[i]);
  clinic->n_leaks += result.leaks_fixed;
}

static void
repair_state (const CrashState *state, const CrashGeometry *geometry, gpointer data)
{
  Clinic *clinic = data;
  CrashMoment moment = crash_model_at_crash (clinic->work->model, state->time);

  clinic->n_dirty += crash_image_is_dirty (geometry, state->disks[CRASH_DISK_IMAGE]);
  repair_logged (clinic, state, moment);
  clinic->n_repaired++;
}

static void
test_repair (gconstpointer data)
{
  const CrashGeometry *geometry = crash_geometry_find (data);
  Clinic clinic = { NULL };

  for (guint64 seed = 1; clinic.n_repaired < states_per_disk; seed++)
    {
      CrashRandom random = crash_random (seed);
      CrashVerdict verdict = { .seed = seed,
                               .max_states = states_per_disk / 4,
                               .n_random = 20,
                               .visit = repair_state,
                               .data = &clinic };
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      clinic.work = &work;
      crash_work_steps (&work, &random, 150);
      crash_work_judge (&work, &verdict);
      crash_verdict_assert (&verdict, "%s, seed %d", geometry->name, (int) seed);
      crash_verdict_clear (&verdict);
      crash_work_clear (&work);
    }
  g_test_message ("%s: %u states repaired (%u were dirty), %d leaks fixed, %d states of power cuts during that",
                  geometry->name, clinic.n_repaired, clinic.n_dirty, (int) clinic.n_leaks,
                  (int) clinic.n_states);
  if (!geometry->has_data_file) /* there only tables can leak */
    g_assert_cmpuint (clinic.n_leaks, >, 0);
  g_assert_cmpuint (clinic.n_states, >=, clinic.n_repaired);
}

int
main (int argc, char **argv)
{
  static const char *const disks[] = { "512",  "4k",         "growth",      "reftable",      "backing",
                                       "backing-v2", "data-file",  "subclusters", "lazy", "refcount-1-bit" };

  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    states_per_disk = (guint64) atoll (argv[1]);
  for (guint i = 0; i < G_N_ELEMENTS (disks); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/repair/%s", disks[i]);

      g_test_add_data_func (path, disks[i], test_repair);
    }
  return g_test_run ();
}
