/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the crash tests have found, each in the shortest form. */

#include "config.h"

#include "crash-work.h"

/* After a crash clusters behind the end of the file may be counted. A table that must lie in one piece at
 * the end of the file goes behind them; looking for its place once never ended. */
static void
test_counted_behind_the_end (void)
{
  const CrashGeometry geometry = { .name = "counted behind the end",
                                   .format = "qcow2",
                                   .size = 32 * 1024,
                                   .max_size = 64 * 1024,
                                   .version = 3,
                                   .cluster_bits = 9,
                                   .refcount_order = 4,
                                   .n_leaked = 3,
                                   .leaked_are_missing = TRUE };
  CrashVerdict verdict = { .seed = 1, .rewrite_every = 1 };
  CrashWork work;

  crash_work_init (&work, &geometry, 1);
  crash_work_do (&work, CRASH_OP_RESIZE, 0, 0); /* one more entry of the L1 table */
  crash_work_do (&work, CRASH_OP_WRITE, 64, 1);
  crash_work_do (&work, CRASH_OP_REOPEN, 0, 0);
  crash_work_judge (&work, &verdict);
  crash_verdict_assert (&verdict, "%s", geometry.name);
  crash_verdict_clear (&verdict);
  crash_work_clear (&work);
}

/* An L1 table that is longer than what one refcount block counts gets its clusters with a longer refcount table. */
static void
test_table_longer_than_a_block_counts (void)
{
  const CrashGeometry *geometry = crash_geometry_find ("long-l1");
  CrashVerdict verdict = { .seed = 1, .rewrite_every = 8 };
  CrashWork work;

  crash_work_init (&work, geometry, 1);
  crash_work_do (&work, CRASH_OP_WRITE, 64, 1);
  crash_work_do (&work, CRASH_OP_RESIZE, 0, 0);
  crash_work_do (&work, CRASH_OP_WRITE, geometry->size / CRASH_SECTOR, 1);
  crash_work_do (&work, CRASH_OP_REOPEN, 0, 0);
  crash_work_judge (&work, &verdict);
  crash_verdict_assert (&verdict, "%s", geometry->name);
  g_test_message ("%" G_GUINT64_FORMAT " states", verdict.n_states);
  crash_verdict_clear (&verdict);
  crash_work_clear (&work);
}

/* The power went off when the header had the smaller size and the tables still what lay behind it. With
 * subclusters that is less than a cluster, which growing did not clear. */
static void
test_grown_after_half_a_shrink (void)
{
  const CrashGeometry *geometry = crash_geometry_find ("subclusters");
  guint64 n = crash_geometry_cluster (geometry) / CRASH_SECTOR;
  guint64 last = geometry->size / CRASH_SECTOR - n;
  guint64 smaller = GUINT64_TO_BE (geometry->size - n * CRASH_SECTOR);
  guint8 bytes[CRASH_SECTOR], zeroes[CRASH_SECTOR] = { 0 };
  CrashWork work;

  crash_work_init (&work, geometry, 1);
  crash_work_do (&work, CRASH_OP_WRITE_PART, last + 3, 1);
  crash_work_close (&work);
  crash_pages_write (crash_log_get_content (work.log, CRASH_DISK_IMAGE), 24, &smaller,
                     sizeof smaller);
  work.may_leak = TRUE;
  crash_work_open (&work);
  g_assert_true (img_image_resize (work.image, geometry->size, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL,
                                   NULL));
  for (guint64 i = last; i < last + n; i++)
    {
      g_assert_true (img_image_read (work.image, i * CRASH_SECTOR, bytes, sizeof bytes, NULL, NULL));
      g_assert_cmpmem (bytes, sizeof bytes, zeroes, sizeof zeroes);
    }
  crash_work_clear (&work);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/crash/regressions/counted-behind-the-end", test_counted_behind_the_end);
  g_test_add_func ("/crash/regressions/longer-than-a-block-counts", test_table_longer_than_a_block_counts);
  g_test_add_func ("/crash/regressions/grown-after-half-a-shrink", test_grown_after_half_a_shrink);
  return g_test_run ();
}
