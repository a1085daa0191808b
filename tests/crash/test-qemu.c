/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A sample of the states that a power cut can leave, judged by "qemu-img check": no errors, leaks at
 * most. Random work of one thread and of several at once, on every kind of qcow2 disk.
 *
 *   test-qemu [STATES-PER-DISK]
 */

#include "config.h"

#include <glib/gstdio.h>
#include <stdlib.h>

#include "crash-work.h"

#define N_THREADS 4

static guint64 states_per_disk = 50;

typedef struct
{
  char *folder;
  guint n_clean;
  guint n_leaking;
} Sample;

/* The exit status of qemu-img check: 0 clean, 2 errors, 3 only leaks. It looks for a data file where it is
 * started, not beside the image. */
static int
run_check (const char *folder, const char *path, char **output)
{
  const char *argv[] = { "qemu-img", "check", "-f", "qcow2", path, NULL };
  g_autoptr (GError) error = NULL;
  int status;

  if (!g_spawn_sync (folder, (char **) argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL, NULL, output, NULL, &status, &error))
    g_error ("Cannot run qemu-img: %s", error->message);
  g_assert_true (WIFEXITED (status));
  return WEXITSTATUS (status);
}

static void
check_state (const CrashState *state, const CrashGeometry *geometry, gpointer data)
{
  Sample *sample = data;
  g_autofree char *path = crash_geometry_save (geometry, state->disks, sample->folder);
  g_autofree char *output = NULL;
  int status = run_check (sample->folder, path, &output);

  if (status == 0)
    sample->n_clean++;
  else if (status == 3)
    sample->n_leaking++;
  else
    {
      crash_state_print (state);
      g_error ("%s: qemu-img check says %d:\n%s", geometry->name, status, output);
    }
}

static void
remove_folder (const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);

  for (const char *name; (name = g_dir_read_name (dir)) != NULL;)
    {
      g_autofree char *path = g_build_filename (folder, name, NULL);

      g_remove (path);
    }
  g_rmdir (folder);
}

static void
run_work (CrashWork *work, gboolean at_once, guint64 seed)
{
  CrashRandom random = crash_random (seed);

  crash_work_steps (work, &random, at_once ? 20 : 200);
  if (at_once)
    crash_work_at_once (work, N_THREADS, 60, seed);
}

static void
test_sample (gconstpointer data)
{
  const CrashGeometry *geometry = crash_geometry_find (data);
  Sample sample = { .folder = g_dir_make_tmp ("imago-crash-XXXXXX", NULL) };
  guint64 n_states = 0;

  g_assert_nonnull (sample.folder);
  for (guint64 seed = 1; n_states < states_per_disk; seed++)
    {
      CrashVerdict verdict = { .seed = seed,
                               .max_states = states_per_disk / 4,
                               .n_random = 20,
                               .visit = check_state,
                               .data = &sample };
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      run_work (&work, seed % 2 == 0, seed);
      crash_work_judge (&work, &verdict);
      crash_verdict_assert (&verdict, "%s, seed %" G_GUINT64_FORMAT, geometry->name, seed);
      n_states += verdict.n_states;
      crash_verdict_clear (&verdict);
      crash_work_clear (&work);
    }
  g_test_message ("%s: %u clean, %u with leaks", geometry->name, sample.n_clean, sample.n_leaking);
  remove_folder (sample.folder);
  g_free (sample.folder);
}

int
main (int argc, char **argv)
{
  static const char *const disks[] = { "512",       "4k",          "64k",  "growth",
                                       "backing",   "backing-v2",  "data-file",
                                       "subclusters", "refcount-1-bit", "bitmap",
                                       "snapshot",    "snapshot-2-bit", "two" };
  g_autofree char *program = g_find_program_in_path ("qemu-img");

  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    states_per_disk = (guint64) atoll (argv[1]);
  if (program == NULL)
    {
      g_print ("1..0 # SKIP qemu-img is not installed\n");
      return 0;
    }
  for (guint i = 0; i < G_N_ELEMENTS (disks); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/qemu/%s", disks[i]);

      g_test_add_data_func (path, disks[i], test_sample);
    }
  return g_test_run ();
}
