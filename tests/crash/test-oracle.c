/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The proof that the proof works: images that are right but for one injected fault. Faults of metadata are
 * judged like "qemu-img check" judges them (which is asked about a part of them); faults of content are
 * found by the model. */

#include "config.h"

#include <glib/gstdio.h>
#include <string.h>

#include "crash-check.h"
#include "crash-work.h"
#include "img-bytes.h"

/* Where the metadata of these images lies: one refcount block, one L2 table, clusters of 4 KiB. */
#define CLUSTER 4096
#define REFCOUNT_BLOCK (2 * CLUSTER)
#define OFFSET_MASK ((guint64) 0x00fffffffffffe00)
#define COPIED ((guint64) 1 << 63)
#define COMPRESSED ((guint64) 1 << 62)

typedef struct
{
  CrashWork work;
  CrashPages *image; /* a layer over the right one */
  guint64 l2;        /* host offset */
  guint64 n_clusters;
  CrashRandom random;
} Patient;

static guint64
read_word (CrashPages *image, guint64 offset)
{
  guint8 bytes[8];

  crash_pages_read (image, offset, bytes, sizeof bytes);
  return img_read_be64 (bytes);
}

static void
write_word (CrashPages *image, guint64 offset, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  crash_pages_write (image, offset, &word, sizeof word);
}

/* Filled at random, closed well. */
static void
patient_init (Patient *patient, guint64 seed)
{
  patient->random = crash_random (seed);
  crash_work_init (&patient->work, crash_geometry_find ("4k"), seed);
  crash_work_do (&patient->work, CRASH_OP_WRITE, 0, 5 * 8);
  crash_work_do (&patient->work, CRASH_OP_WRITE_COMPRESSED, 8 * 8, 8);
  crash_work_steps (&patient->work, &patient->random, 40);
  crash_work_do (&patient->work, CRASH_OP_WRITE, 10 * 8, 2 * 8);
  crash_work_close (&patient->work);
  patient->image = crash_pages_new (crash_log_get_content (patient->work.log, CRASH_DISK_IMAGE));
  patient->l2 = read_word (patient->image, 3 * CLUSTER) & OFFSET_MASK;
  patient->n_clusters = (crash_pages_get_size (patient->image) + CLUSTER - 1) / CLUSTER;
}

static void
patient_clear (Patient *patient)
{
  crash_pages_free (patient->image);
  crash_work_clear (&patient->work);
}

/* ---- faults of metadata ---- */

/* The place of an L2 entry of a plain data cluster. */
static guint64
pick_entry (Patient *patient)
{
  for (;;)
    {
      guint64 at = patient->l2 + 8 * crash_random_below (&patient->random, 16);
      guint64 entry = read_word (patient->image, at);

      if ((entry & COPIED) && (entry & OFFSET_MASK) && !(entry & COMPRESSED) && !(entry & 1))
        return at;
    }
}

static guint64
pick_counted (Patient *patient, guint *count)
{
  for (;;)
    {
      guint64 at = REFCOUNT_BLOCK + 2 * crash_random_below (&patient->random, patient->n_clusters);
      guint8 bytes[2];

      crash_pages_read (patient->image, at, bytes, sizeof bytes);
      *count = (guint) bytes[0] << 8 | bytes[1];
      if (*count > 0)
        return at;
    }
}

static void
set_count (Patient *patient, guint64 at, guint count)
{
  guint8 bytes[2] = { (guint8) (count >> 8), (guint8) count };

  crash_pages_write (patient->image, at, bytes, sizeof bytes);
}

static void
lower_refcount (Patient *patient)
{
  guint count;
  guint64 at = pick_counted (patient, &count);

  set_count (patient, at, count - 1);
}

static void
raise_refcount (Patient *patient)
{
  guint count;
  guint64 at = pick_counted (patient, &count);

  set_count (patient, at, count + 1);
}

static void
count_unused (Patient *patient)
{
  /* A cluster at the end of the file that nothing uses. */
  crash_pages_set_size (patient->image, (patient->n_clusters + 1) * CLUSTER);
  set_count (patient, REFCOUNT_BLOCK + 2 * patient->n_clusters, 1);
}

static void
drop_entry (Patient *patient)
{
  write_word (patient->image, pick_entry (patient), 0);
}

static void
clear_copied (Patient *patient)
{
  guint64 at = pick_entry (patient);

  write_word (patient->image, at, read_word (patient->image, at) & ~COPIED);
}

static void
point_twice (Patient *patient)
{
  guint64 entry = read_word (patient->image, pick_entry (patient));
  guint64 at = patient->l2 + 8 * (16 + crash_random_below (&patient->random, 4));

  write_word (patient->image, at, entry);
}

static void
point_outside (Patient *patient)
{
  write_word (patient->image, pick_entry (patient),
              COPIED | ((patient->n_clusters + 1 + crash_random_below (&patient->random, 9)) * CLUSTER));
}

static void
point_to_l2 (Patient *patient)
{
  write_word (patient->image, pick_entry (patient), COPIED | patient->l2);
}

static void
point_askew (Patient *patient)
{
  guint64 at = pick_entry (patient);

  write_word (patient->image, at, read_word (patient->image, at) + 512);
}

static void
drop_l2 (Patient *patient)
{
  write_word (patient->image, 3 * CLUSTER, 0);
}

static void
drop_refcount_block (Patient *patient)
{
  write_word (patient->image, CLUSTER, 0);
}

typedef enum
{
  VERDICT_CLEAN,
  VERDICT_LEAKS,
  VERDICT_DAMAGED,
} Verdict;

static const struct
{
  const char *name;
  void (*inject) (Patient *patient);
  Verdict expected;
} metadata_faults[] = {
  { "refcount-too-low", lower_refcount, VERDICT_DAMAGED },
  { "refcount-too-high", raise_refcount, VERDICT_DAMAGED }, /* COPIED is wrong then, or it leaks */
  { "unused-and-counted", count_unused, VERDICT_LEAKS },
  { "entry-lost", drop_entry, VERDICT_LEAKS },
  { "copied-lost", clear_copied, VERDICT_DAMAGED },
  { "cluster-used-twice", point_twice, VERDICT_DAMAGED },
  { "outside-the-file", point_outside, VERDICT_DAMAGED },
  { "data-in-an-l2-table", point_to_l2, VERDICT_DAMAGED },
  { "not-aligned", point_askew, VERDICT_DAMAGED },
  { "l2-table-lost", drop_l2, VERDICT_LEAKS },
  { "refcounts-lost", drop_refcount_block, VERDICT_DAMAGED },
};

static Verdict
ask_oracle (Patient *patient)
{
  guint64 n_leaks;
  g_autofree char *problem = crash_check_qcow2 (patient->work.geometry, patient->image, &n_leaks);

  return problem != NULL ? VERDICT_DAMAGED : n_leaks > 0 ? VERDICT_LEAKS : VERDICT_CLEAN;
}

static Verdict
ask_qemu (Patient *patient, const char *folder)
{
  g_autofree char *path = crash_geometry_save (patient->work.geometry, &patient->image, folder);
  const char *argv[] = { "qemu-img", "check", "-f", "qcow2", path, NULL };
  int status;
  gboolean spawned = g_spawn_sync (NULL, (char **) argv, NULL,
                                   G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL |
                                     G_SPAWN_STDOUT_TO_DEV_NULL,
                                   NULL, NULL, NULL, NULL, &status, NULL);

  g_assert_true (spawned && WIFEXITED (status));
  g_remove (path);
  return WEXITSTATUS (status) == 0 ? VERDICT_CLEAN
         : WEXITSTATUS (status) == 3 ? VERDICT_LEAKS
                                     : VERDICT_DAMAGED;
}

#define N_PATIENTS 20
#define N_ASKED 3 /* of these QEMU is asked too */

static void
test_metadata_fault (gconstpointer data)
{
  guint index = GPOINTER_TO_UINT (data);
  g_autofree char *program = g_find_program_in_path ("qemu-img");
  g_autofree char *folder = g_dir_make_tmp ("imago-oracle-XXXXXX", NULL);
  guint n_asked = 0;

  g_assert_nonnull (folder);
  for (guint64 seed = 1; seed <= N_PATIENTS; seed++)
    {
      Patient patient;
      Verdict verdict;

      patient_init (&patient, seed);
      g_assert_cmpint (ask_oracle (&patient), ==, VERDICT_CLEAN);
      metadata_faults[index].inject (&patient);
      verdict = ask_oracle (&patient);
      if (metadata_faults[index].inject == raise_refcount)
        g_assert_cmpint (verdict, !=, VERDICT_CLEAN);
      else
        g_assert_cmpint (verdict, ==, metadata_faults[index].expected);
      if (program != NULL && seed <= N_ASKED)
        {
          g_assert_cmpint (ask_qemu (&patient, folder), ==, verdict);
          n_asked++;
        }
      patient_clear (&patient);
    }
  g_test_message ("%d images, %u judged by qemu-img", N_PATIENTS, n_asked);
  g_rmdir (folder);
}

/* ---- faults of content ---- */

static guint64
pick_host_sector (Patient *patient)
{
  guint64 cluster = read_word (patient->image, pick_entry (patient)) & OFFSET_MASK;

  return cluster + crash_random_below (&patient->random, 8) * CRASH_SECTOR;
}

static void
lose_sector (Patient *patient)
{
  crash_pages_zero (patient->image, pick_host_sector (patient), CRASH_SECTOR);
}

static void
tear_sector (Patient *patient)
{
  crash_pages_write (patient->image, pick_host_sector (patient) + 100, "torn", 4);
}

static void
move_sector (Patient *patient)
{
  guint8 bytes[CRASH_SECTOR];
  guint64 from = pick_host_sector (patient), to;

  do
    to = pick_host_sector (patient);
  while (to == from);
  crash_pages_read (patient->image, from, bytes, sizeof bytes);
  crash_pages_write (patient->image, to, bytes, sizeof bytes);
}

/* What was there once, and must not come back. */
static void
bring_back_sector (Patient *patient)
{
  guint64 at = pick_entry (patient);
  guint64 cluster = read_word (patient->image, at) & OFFSET_MASK;
  guint8 bytes[CRASH_SECTOR];

  crash_pattern_fill (CRASH_FIRST_VALUE + 1, (at - patient->l2) / 8 * 8, bytes);
  crash_pages_write (patient->image, cluster, bytes, sizeof bytes);
}

/* Two clusters change places: the metadata is sound. */
static void
swap_clusters (Patient *patient)
{
  guint64 first = pick_entry (patient), second;
  guint64 entry = read_word (patient->image, first);

  do
    second = pick_entry (patient);
  while (second == first);
  write_word (patient->image, first, read_word (patient->image, second));
  write_word (patient->image, second, entry);
}

static const struct
{
  const char *name;
  void (*inject) (Patient *patient);
} content_faults[] = {
  { "sector-lost", lose_sector },
  { "sector-torn", tear_sector },
  { "sector-elsewhere", move_sector },
  { "sector-of-old", bring_back_sector },
  { "clusters-swapped", swap_clusters },
};

static void
test_content_fault (gconstpointer data)
{
  guint index = GPOINTER_TO_UINT (data);
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  guint n_found = 0, n_looked = 0;

  for (guint64 seed = 1; seed <= N_PATIENTS; seed++)
    {
      Patient patient;
      g_autofree char *before = NULL;
      g_autofree char *after = NULL;
      CrashPages *disks[CRASH_MAX_DISKS] = { NULL };

      patient_init (&patient, seed);
      disks[CRASH_DISK_IMAGE] = patient.image;
      before = crash_check_disks (patient.work.geometry, disks, patient.work.model, end, NULL);
      g_assert_cmpstr (before, ==, NULL);
      content_faults[index].inject (&patient);
      n_looked += !crash_pages_equal (patient.image, crash_log_get_content (patient.work.log, 0));
      after = crash_check_disks (patient.work.geometry, disks, patient.work.model, end, NULL);
      n_found += after != NULL;
      patient_clear (&patient);
    }
  /* Only a fault that writes what is there already is none. */
  g_assert_cmpuint (n_looked, >, N_PATIENTS / 2);
  g_assert_cmpuint (n_found, ==, n_looked);
}

/* ---- faults of a snapshot ---- */

#define N_SHARED 10 /* clusters */

/* All that the snapshot has is its own by now: the disk does not show it. */
static void
witness_init (Patient *patient, guint64 seed)
{
  guint64 l1;

  patient->random = crash_random (seed);
  crash_work_init (&patient->work, crash_geometry_find ("snapshot"), seed);
  crash_work_do (&patient->work, CRASH_OP_WRITE, 0, N_SHARED * 8);
  crash_work_steps (&patient->work, &patient->random, 40);
  crash_work_close (&patient->work);
  patient->image = crash_pages_new (crash_log_get_content (patient->work.log, CRASH_DISK_IMAGE));
  l1 = read_word (patient->image, read_word (patient->image, 64));
  patient->l2 = read_word (patient->image, l1) & OFFSET_MASK;
}

static guint64
pick_snapshot_entry (Patient *patient)
{
  return patient->l2 + 8 * crash_random_below (&patient->random, N_SHARED);
}

static guint64
pick_snapshot_sector (Patient *patient)
{
  guint64 cluster = read_word (patient->image, pick_snapshot_entry (patient)) & OFFSET_MASK;

  return cluster + crash_random_below (&patient->random, 8) * CRASH_SECTOR;
}

static void
lose_snapshot_byte (Patient *patient)
{
  crash_pages_write (patient->image, pick_snapshot_sector (patient) + 256, "\0", 1);
}

static void
lose_snapshot_sector (Patient *patient)
{
  crash_pages_zero (patient->image, pick_snapshot_sector (patient), CRASH_SECTOR);
}

/* What is written to the disk must not come up in the snapshot. */
static void
show_disk_in_snapshot (Patient *patient)
{
  guint8 bytes[CRASH_SECTOR];

  crash_pattern_fill (CRASH_FIRST_VALUE + 1, 0, bytes);
  crash_pages_write (patient->image, pick_snapshot_sector (patient), bytes, sizeof bytes);
}

static void
drop_snapshot_entry (Patient *patient)
{
  write_word (patient->image, pick_snapshot_entry (patient), 0);
}

static void
swap_snapshot_clusters (Patient *patient)
{
  guint64 first = pick_snapshot_entry (patient), second;
  guint64 entry = read_word (patient->image, first);

  do
    second = pick_snapshot_entry (patient);
  while (second == first);
  write_word (patient->image, first, read_word (patient->image, second));
  write_word (patient->image, second, entry);
}

static void
lose_snapshot_table (Patient *patient)
{
  crash_pages_zero (patient->image, patient->l2, CLUSTER);
}

static const struct
{
  const char *name;
  void (*inject) (Patient *patient);
} snapshot_faults[] = {
  { "byte-lost", lose_snapshot_byte },
  { "sector-lost", lose_snapshot_sector },
  { "sector-of-disk", show_disk_in_snapshot },
  { "entry-lost", drop_snapshot_entry },
  { "clusters-swapped", swap_snapshot_clusters },
  { "table-lost", lose_snapshot_table },
};

static void
test_snapshot_fault (gconstpointer data)
{
  guint index = GPOINTER_TO_UINT (data);
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };

  for (guint64 seed = 1; seed <= N_PATIENTS; seed++)
    {
      Patient patient;
      g_autofree char *before = NULL;
      g_autofree char *after = NULL;
      CrashPages *disks[CRASH_MAX_DISKS] = { NULL };

      witness_init (&patient, seed);
      disks[CRASH_DISK_IMAGE] = patient.image;
      before = crash_check_disks (patient.work.geometry, disks, patient.work.model, end, NULL);
      g_assert_cmpstr (before, ==, NULL);
      snapshot_faults[index].inject (&patient);
      after = crash_check_content (patient.work.geometry, disks, patient.work.model, end);
      g_assert_nonnull (after);
      g_assert_nonnull (strstr (after, "of the snapshot has changed"));
      patient_clear (&patient);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (metadata_faults); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/oracle/%s", metadata_faults[i].name);

      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_metadata_fault);
    }
  for (guint i = 0; i < G_N_ELEMENTS (content_faults); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/oracle/%s", content_faults[i].name);

      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_content_fault);
    }
  for (guint i = 0; i < G_N_ELEMENTS (snapshot_faults); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/oracle/snapshot/%s", snapshot_faults[i].name);

      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_snapshot_fault);
    }
  return g_test_run ();
}
