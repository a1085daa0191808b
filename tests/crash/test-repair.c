/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Repair of what a power cut has left: afterwards nothing leaks, the content is what it was allowed to be,
 * a second repair changes nothing; and when the power goes off during the repair, it is no worse.
 *
 *   test-repair [STATES-PER-DISK]
 */

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash-check.h"
#include "crash-work.h"
#include "img-mutant.h"
#include "qcow2/img-qcow2-check.h"
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
repair (ImgStorage *storage, ImgRepair mode, ImgCheckResult *result)
{
  g_autoptr (ImgError) error = NULL;

  img_check_result_init (result);
  if (!img_qcow2_repair (storage, mode, result, NULL, NULL, &error))
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
repair_logged (Clinic *clinic, const CrashState *state, CrashMoment moment, ImgRepair mode)
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
  repair (disks[CRASH_DISK_IMAGE], mode, &result);
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
  repair (disks[CRASH_DISK_IMAGE], mode, &again);
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

  if (crash_image_is_dirty (geometry, state->disks[CRASH_DISK_IMAGE]))
    {
      clinic->n_dirty++;
      repair_logged (clinic, state, moment, IMG_REPAIR_ALL);
    }
  else
    {
      repair_logged (clinic, state, moment, clinic->n_repaired % 3 == 0 ? IMG_REPAIR_LEAKS : IMG_REPAIR_ALL);
    }
  clinic->n_repaired++;
}

/* ---- the snapshot table ---- */

/* The entry of the one snapshot, whose extra data has 16 bytes. */
#define ENTRY_LENGTH_AT 36
#define EXTRA_AT 40
#define REST_AT (EXTRA_AT + 16)

/* Another length of the extra data; what was there stays as far as it fits. */
static void
set_extra_length (CrashPages *image, guint32 length)
{
  g_autofree guint8 *extra = g_malloc0 (MAX (length, 16));
  guint64 entry;
  guint32 stored = GUINT32_TO_BE (length);
  guint8 rest[8];

  crash_pages_read (image, 64, &entry, sizeof entry);
  entry = GUINT64_FROM_BE (entry);
  crash_pages_read (image, entry + EXTRA_AT, extra, 16);
  crash_pages_read (image, entry + REST_AT, rest, sizeof rest);
  crash_pages_write (image, entry + ENTRY_LENGTH_AT, &stored, sizeof stored);
  crash_pages_write (image, entry + EXTRA_AT, extra, length);
  crash_pages_write (image, entry + EXTRA_AT + length, rest, sizeof rest);
}

typedef struct
{
  CrashWork *work;
  gboolean may_be_refused; /* the snapshot, as before the repair */
  guint n_unreadable;
} TableRepair;

/* The table is the old one or the new one: nothing else has changed, and nothing is counted too low. */
static gboolean
check_table_interrupted (const CrashState *state, gpointer data)
{
  TableRepair *self = data;
  const CrashGeometry *geometry = self->work->geometry;
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  guint64 n_leaks;
  g_autofree char *problem = crash_check_qcow2 (geometry, state->disks[CRASH_DISK_IMAGE], &n_leaks);

  if (problem == NULL && self->may_be_refused)
    {
      g_autoptr (ImgImage) image = crash_image_open_snapshot (geometry, state->disks, NULL);

      if (image == NULL)
        {
          self->n_unreadable++;
          return TRUE;
        }
    }
  if (problem == NULL)
    problem = crash_check_content (geometry, state->disks, self->work->model, end);
  if (problem == NULL)
    return TRUE;
  crash_state_print (state);
  g_error ("%s: after a power cut while the snapshot table was repaired: %s", geometry->name, problem);
}

static guint64
repair_table (CrashWork *work, guint32 extra_length, guint64 seed)
{
  const CrashGeometry *geometry = work->geometry;
  g_autoptr (CrashLog) log = crash_log_new (seed);
  CrashStatesOptions options = { .seed = seed, .n_random = 40 };
  TableRepair self = { work, FALSE, 0 };
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  CrashPages *pages = crash_pages_copy (crash_log_get_content (work->log, CRASH_DISK_IMAGE));
  CrashPages *contents[CRASH_MAX_DISKS] = { pages };
  g_autoptr (ImgImage) image = NULL;
  g_auto (ImgCheckResult) result = { 0 };
  g_autofree char *problem = NULL;
  ImgStorage *disk;
  guint64 n_states;

  set_extra_length (pages, extra_length);
  image = crash_image_open_snapshot (geometry, contents, NULL);
  self.may_be_refused = image == NULL;
  disk = crash_log_add_disk (log, "x", pages);
  crash_log_start (log);
  repair (disk, IMG_REPAIR_ALL, &result);
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.corruptions_fixed, >, 0);
  contents[0] = crash_log_get_content (log, CRASH_DISK_IMAGE);
  problem = crash_check_disks (geometry, contents, work->model, end, NULL);
  if (problem != NULL)
    g_error ("%s: after the snapshot table was repaired: %s", geometry->name, problem);
  n_states = crash_states_run (log, &options, check_table_interrupted, &self);
  /* Otherwise none of the states had the old table. */
  g_assert_true (self.may_be_refused == (self.n_unreadable > 0));
  g_assert_cmpuint (self.n_unreadable, <, n_states);
  img_storage_unref (disk);
  return n_states;
}

static void
test_snapshot_table (gconstpointer data)
{
  static const guint32 lengths[] = { 0, 8, 1500 };
  const CrashGeometry *geometry = crash_geometry_find (data);
  guint64 n_states = 0;

  for (guint64 seed = 1; seed <= 6; seed++)
    {
      CrashRandom random = crash_random (seed);
      CrashWork work;

      crash_work_init (&work, geometry, seed);
      work.keeps_size = TRUE; /* what an entry does not say is as the disk has it now */
      crash_work_steps (&work, &random, 60);
      crash_work_close (&work);
      for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
        if (lengths[i] + 128 < crash_geometry_cluster (geometry))
          n_states += repair_table (&work, lengths[i], seed);
      crash_work_clear (&work);
    }
  g_test_message ("%s: %d states", geometry->name, (int) n_states);
  g_assert_cmpuint (n_states, >=, 200);
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

/* ---- damage ---- */

static guint64
read_word (CrashPages *image, guint64 offset)
{
  guint64 word;

  crash_pages_read (image, offset, &word, sizeof word);
  return GUINT64_FROM_BE (word);
}

static void
write_word (CrashPages *image, guint64 offset, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  crash_pages_write (image, offset, &word, sizeof word);
}

#define REFCOUNT_TABLE_AT 48
#define L1_AT 40
#define CLUSTER_BITS_BEFORE 16 /* the lower half of that word */
#define REFCOUNT_ORDER_AT 96
#define OFFSET_MASK ((guint64) 0x00fffffffffffe00)
#define COPIED ((guint64) 1 << 63)

/* Some bytes of the first refcount block become small numbers: too low, too high, or right. */
static void
garble_refcounts (CrashPages *image, CrashRandom *random)
{
  guint64 block = read_word (image, read_word (image, REFCOUNT_TABLE_AT));

  for (guint i = 0; i < 8; i++)
    {
      guint8 byte = (guint8) crash_random_below (random, 4);

      crash_pages_write (image, block + crash_random_below (random, 60), &byte, 1);
    }
}

/* All refcounts must be counted anew. */
static void
drop_refcount_block (CrashPages *image, CrashRandom *random)
{
  write_word (image, read_word (image, REFCOUNT_TABLE_AT), 0);
}

static void
flip_copied (CrashPages *image, CrashRandom *random)
{
  guint64 table = read_word (image, read_word (image, L1_AT)) & OFFSET_MASK;

  for (guint64 at = table; at < table + 128; at += 8)
    if ((read_word (image, at) & OFFSET_MASK) && !(read_word (image, at) & 1) && !(read_word (image, at) & COPIED >> 1))
      write_word (image, at, read_word (image, at) ^ COPIED);
}

/* Clusters that have been shared by something that is gone: they leak one reference, and no flag is wrong. Where
 * refcounts have another width than 16 bits it does nothing. */
static void
leak_references (CrashPages *image, CrashRandom *random)
{
  guint64 table = read_word (image, read_word (image, L1_AT)) & OFFSET_MASK;
  guint64 block = read_word (image, read_word (image, REFCOUNT_TABLE_AT));
  guint64 cluster_size = (guint64) 1 << (guint32) read_word (image, CLUSTER_BITS_BEFORE);
  const guint8 two[] = { 0, 2 };

  if ((read_word (image, REFCOUNT_ORDER_AT) >> 32) != 4)
    return;
  for (guint64 at = table; at < table + 128; at += 8)
    {
      guint64 entry = read_word (image, at);
      guint64 cluster = (entry & OFFSET_MASK) / cluster_size;

      if ((entry & COPIED) == 0 || (entry & OFFSET_MASK) == 0 || cluster >= cluster_size / sizeof two)
        continue;
      write_word (image, at, entry & ~COPIED);
      crash_pages_write (image, block + cluster * sizeof two, two, sizeof two);
    }
}

#define L1_RESERVED 2

/* The same beside something that a repair of leaks leaves as it is. */
static void
leak_references_and_more (CrashPages *image, CrashRandom *random)
{
  guint64 l1 = read_word (image, L1_AT);

  leak_references (image, random);
  write_word (image, l1, read_word (image, l1) | L1_RESERVED);
}

static void
undo_more (CrashPages *image)
{
  guint64 l1 = read_word (image, L1_AT);

  write_word (image, l1, read_word (image, l1) & ~(guint64) L1_RESERVED);
}

typedef struct
{
  void (*inflict) (CrashPages *image, CrashRandom *random);
  ImgRepair cure;
  void (*finish) (CrashPages *image); /* what the cure leaves; nullable */
} Damage;

static const Damage damages[] = {
  { garble_refcounts, IMG_REPAIR_ALL, NULL },
  { drop_refcount_block, IMG_REPAIR_ALL, NULL },
  { flip_copied, IMG_REPAIR_ALL, NULL },
  { flip_copied, IMG_REPAIR_LEAKS, NULL },
  { leak_references, IMG_REPAIR_LEAKS, NULL },
  { leak_references_and_more, IMG_REPAIR_LEAKS, undo_more },
};

typedef struct
{
  CrashWork *work;
  const Damage *damage;
  guint64 n_wrong; /* before the repair */
  guint64 n_states;
} Interruption;

/* Refcounts that are too low, and what else an image may not have. */
static guint64
count_wrong (ImgStorage *disk)
{
  g_autoptr (ImgError) error = NULL;
  g_auto (ImgCheckResult) result = { 0 };

  img_check_result_init (&result);
  if (!img_qcow2_check (disk, &result, NULL, NULL, &error))
    g_error ("The check failed: %s", error->text);
  return result.corruptions - result.wrong_flags + result.check_errors;
}

/* The guest sees what it saw, no more is wrong than was, and the next repair ends what this one began. Flags may wait
 * for it that no longer fit once a refcount has been raised. */
static gboolean
check_damaged (const CrashState *state, gpointer data)
{
  Interruption *self = data;
  const CrashGeometry *geometry = self->work->geometry;
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  g_autofree char *problem = crash_check_content (geometry, state->disks, self->work->model, end);

  if (problem == NULL)
    {
      ImgStorage *disk = crash_pages_storage_new (state->disks[CRASH_DISK_IMAGE], "x", TRUE);
      g_auto (ImgCheckResult) result = { 0 };
      gboolean leaks;

      if (count_wrong (disk) > self->n_wrong)
        g_error ("%s: a power cut during the repair of damage makes it worse", geometry->name);
      repair (disk, self->damage->cure, &result);
      img_storage_unref (disk);
      if (self->damage->finish != NULL)
        self->damage->finish (state->disks[CRASH_DISK_IMAGE]);
      problem = crash_check_disks (geometry, state->disks, self->work->model, end, &leaks);
      if (problem == NULL && leaks)
        problem = g_strdup ("a second repair leaves leaks");
    }
  if (problem != NULL)
    {
      crash_state_print (state);
      g_error ("%s: after a power cut while damage was repaired: %s", geometry->name, problem);
    }
  return TRUE;
}

static void
repair_damage (Interruption *self, guint damage, CrashRandom *random)
{
  const CrashGeometry *geometry = self->work->geometry;
  g_autoptr (CrashLog) log = crash_log_new (1);
  CrashStatesOptions options = { .seed = damage + 1, .n_random = 20, .max_states = 60 };
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  CrashPages *pages = crash_pages_copy (crash_log_get_content (self->work->log, CRASH_DISK_IMAGE));
  g_autoptr (CrashPages) repaired = NULL;
  CrashPages *contents[CRASH_MAX_DISKS] = { NULL };
  g_auto (ImgCheckResult) result = { 0 };
  g_autofree char *problem = NULL;
  gboolean leaks;
  ImgStorage *disk;

  self->damage = &damages[damage];
  self->damage->inflict (pages, random);
  disk = crash_log_add_disk (log, "x", pages);
  self->n_wrong = count_wrong (disk);
  crash_log_start (log);
  repair (disk, self->damage->cure, &result);
  repaired = crash_pages_copy (crash_log_get_content (log, CRASH_DISK_IMAGE));
  if (self->damage->finish != NULL)
    self->damage->finish (repaired);
  contents[0] = repaired;
  problem = crash_check_disks (geometry, contents, self->work->model, end, &leaks);
  if (problem != NULL || leaks)
    g_error ("%s: after damage %u was repaired: %s", geometry->name, damage, problem != NULL ? problem : "leaks");
  self->n_states += crash_states_run (log, &options, check_damaged, self);
  img_storage_unref (disk);
}

static void
test_damage (gconstpointer data)
{
  const CrashGeometry *geometry = crash_geometry_find (data);
  CrashWork work;
  Interruption self = { &work };

  for (guint64 seed = 1; seed <= 5; seed++)
    {
      CrashRandom random = crash_random (seed);

      crash_work_init (&work, geometry, seed);
      crash_work_steps (&work, &random, 60);
      crash_work_do (&work, CRASH_OP_WRITE, 0, crash_model_get_size (work.model) / 2);
      crash_work_close (&work);
      for (guint damage = 0; damage < G_N_ELEMENTS (damages); damage++)
        repair_damage (&self, damage, &random);
      crash_work_clear (&work);
    }
  g_test_message ("%s: %d states", geometry->name, (int) self.n_states);
  g_assert_cmpuint (self.n_states, >=, 100);
}

/* ---- mutants ---- */

/* A rule of the repair that is broken, and the test that must miss it. */
typedef struct
{
  ImgMutant mutant;
  void (*test) (gconstpointer disk);
  const char *disk;
} Case;

static const Case cases[] = {
  { IMG_MUTANT_REPAIR_SKIP_FLUSH_STEPS, test_repair, "lazy" },
  { IMG_MUTANT_REPAIR_SKIP_FLUSH_COPIED, test_damage, "4k" },
  { IMG_MUTANT_REPAIR_SKIP_FLUSH_REBUILD, test_damage, "4k" },
  { IMG_MUTANT_REPAIR_SKIP_FLUSH_TABLE, test_snapshot_table, "snapshot" },
};

/* Shared with the process that breaks the rule. */
typedef struct
{
  guint n_reached;
  char reason[200];
} Report;

static Report *report;

static GLogWriterOutput
keep_reason (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
  for (gsize i = 0; i < n_fields; i++)
    if ((level & G_LOG_LEVEL_ERROR) != 0 && g_str_equal (fields[i].key, "MESSAGE"))
      g_strlcpy (report->reason, fields[i].value, sizeof report->reason);
  report->n_reached = img_mutant_get_count ();
  return G_LOG_WRITER_HANDLED;
}

/* In a process of its own, since the test ends it; for a reason that it gives, not by an accident. */
static void
test_mutant (gconstpointer data)
{
  const Case *self = data;
  const char *name = img_mutant_get_name (self->mutant);
  int status;
  pid_t child;

  *report = (Report) { 0 };
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      if (freopen ("/dev/null", "w", stderr) == NULL || freopen ("/dev/null", "w", stdout) == NULL)
        _exit (2);
      g_log_set_writer_func (keep_reason, NULL, NULL);
      img_mutant_set (self->mutant);
      self->test (self->disk);
      report->n_reached = img_mutant_get_count ();
      _exit (0);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_test_message ("%s: broken %u times: %s", name, report->n_reached, report->reason);
  g_assert_cmpuint (report->n_reached, >, 0);
  if (WIFEXITED (status))
    g_error ("%s was not noticed", name);
  g_assert_nonnull (strstr (report->reason, "power cut"));
}

int
main (int argc, char **argv)
{
  static const char *const disks[] = { "512",  "4k",         "growth",      "reftable",      "backing",
                                       "backing-v2", "data-file",  "subclusters", "lazy", "refcount-1-bit",
                                       "snapshot", "snapshot-2-bit" };
  static const char *const damaged[] = { "512", "4k", "backing", "subclusters", "snapshot", "snapshot-2-bit" };
  static const char *const with_snapshot[] = { "snapshot", "snapshot-2-bit" };

  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    states_per_disk = (guint64) atoll (argv[1]);
  report = mmap (NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true (report != MAP_FAILED);
  for (guint i = 0; i < G_N_ELEMENTS (disks); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/repair/%s", disks[i]);

      g_test_add_data_func (path, disks[i], test_repair);
    }
  for (guint i = 0; i < G_N_ELEMENTS (with_snapshot); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/repair/table/%s", with_snapshot[i]);

      g_test_add_data_func (path, with_snapshot[i], test_snapshot_table);
    }
  for (guint i = 0; i < G_N_ELEMENTS (damaged); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/repair/damage/%s", damaged[i]);

      g_test_add_data_func (path, damaged[i], test_damage);
    }
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/repair/mutants/%s", img_mutant_get_name (cases[i].mutant));

      g_test_add_data_func (path, &cases[i], test_mutant);
    }
  return g_test_run ();
}
