/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Compacting: what is given back, and that a run which is cancelled or fails at each of its changes
 * in turn leaves the guest's bytes and sound metadata. */

#include "config.h"

#include "img-compact-job.h"
#include "img-simple-storages.h"
#include "test-step.h"
#include "test-storages.h"

#define CLUSTER ((guint64) 65536)
#define DISK (40 * CLUSTER + 512)

typedef struct
{
  const char *name;
  const char *format;
  guint version;
  guint64 cluster_size;
  gboolean has_backing;
  gboolean has_subclusters;
  gboolean has_lazy_refcounts;
  ImgPreallocate preallocate;
  gboolean is_smaller; /* something of it can be given back */
} Case;

static const Case cases[] = {
  { "qcow2", "qcow2", 3, 65536, FALSE, FALSE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
  { "small", "qcow2", 3, 4096, FALSE, FALSE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
  { "large", "qcow2", 3, 2 * IMG_MIB, FALSE, FALSE, FALSE, IMG_PREALLOCATE_OFF, FALSE },
  { "backing", "qcow2", 3, 65536, TRUE, FALSE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
  { "version-2", "qcow2", 2, 65536, FALSE, FALSE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
  { "version-2-backing", "qcow2", 2, 65536, TRUE, FALSE, FALSE, IMG_PREALLOCATE_OFF, FALSE },
  { "subclusters", "qcow2", 3, 65536, TRUE, TRUE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
  { "lazy", "qcow2", 3, 65536, FALSE, FALSE, TRUE, IMG_PREALLOCATE_OFF, TRUE },
  { "full", "qcow2", 3, 65536, FALSE, FALSE, FALSE, IMG_PREALLOCATE_FULL, TRUE },
  { "raw", "raw", 0, 0, FALSE, FALSE, FALSE, IMG_PREALLOCATE_OFF, TRUE },
};

/* ---- disks ---- */

static ImgImage *
open_image (ImgStorage *storage, const Case *one)
{
  return test_image_open_above (storage, one->format, one->has_backing ? DISK : 0, 9);
}

/* Of eight pieces of 64 KiB: two of data, two of zeroes that are written as data, one that is zero
 * but for its last byte, one compressed, one never written, one that was written and discarded. */
static guint8
expected_byte (const Case *one, guint64 offset)
{
  guint64 piece = offset / CLUSTER;

  switch (piece % 8)
    {
    case 0:
    case 1:
      return test_pattern_byte (offset, 1);
    case 2:
    case 3:
      return 0;
    case 4:
      return (guint8) (offset % CLUSTER == MIN (CLUSTER, DISK - piece * CLUSTER) - 1 ? 7 : 0);
    case 5:
      return 5;
    case 6:
      return one->has_backing ? test_pattern_byte (offset, 9) : 0;
    default:
      return 0;
    }
}

static void
write_piece (ImgImage *image, const Case *one, guint64 piece, guint8 *bytes)
{
  guint64 offset = piece * CLUSTER, length = MIN (CLUSTER, DISK - offset);

  for (guint64 i = 0; i < length; i++)
    bytes[i] = expected_byte (one, offset + i);
  if (piece % 8 == 5 && one->cluster_size == CLUSTER)
    g_assert_true (img_image_write_compressed (image, offset, bytes, (gsize) length, NULL, NULL));
  else if (piece % 8 != 6)
    g_assert_true (img_image_write (image, offset, bytes, (gsize) length, NULL, NULL));
  if (piece % 8 == 7)
    g_assert_true (img_image_write_zeroes (image, offset, length, IMG_ZERO_UNMAP, NULL, NULL));
}

static GBytes *
make_file (const Case *one)
{
  const ImgCreateOptions options = {
    .size = DISK,
    .version = one->version,
    .cluster_size = one->cluster_size,
    .extended_l2 = one->has_subclusters,
    .lazy_refcounts = one->has_lazy_refcounts,
    .preallocate = one->preallocate,
  };
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;
  g_autofree guint8 *bytes = g_malloc (CLUSTER);
  ImgError *error = NULL;

  img_driver_find (one->format)->create (file, &options, NULL, NULL, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  image = open_image (file, one);
  /* Compressed clusters go where nothing is yet. */
  for (guint64 piece = 0; piece * CLUSTER < DISK; piece++)
    {
      if (one->preallocate != IMG_PREALLOCATE_OFF)
        g_assert_true (img_image_discard (image, piece * CLUSTER,
                                          MIN (CLUSTER, DISK - piece * CLUSTER),
                                          IMG_DISCARD_BACKING, NULL, NULL) ||
                       piece % 8 != 5);
      write_piece (image, one, piece, bytes);
    }
  g_assert_true (img_image_close (image, NULL));
  return img_memory_storage_dup_bytes (file, NULL);
}

/* Made once: it is compared with very often. */
static const guint8 *
expected_bytes (const Case *one)
{
  static guint8 *bytes[2];
  guint8 **made = &bytes[one->has_backing];

  if (*made == NULL)
    {
      *made = g_malloc (DISK);
      for (guint64 i = 0; i < DISK; i++)
        (*made)[i] = expected_byte (one, i);
    }
  return *made;
}

static void
assert_view (ImgImage *image, const Case *one)
{
  g_autofree guint8 *bytes = g_malloc (DISK);
  const guint8 *expected = expected_bytes (one);

  g_assert_cmpuint (img_align_down (img_image_get_size (image), 512), ==, DISK);
  g_assert_true (img_image_read (image, 0, bytes, DISK, NULL, NULL));
  for (guint64 i = 0; memcmp (bytes, expected, DISK) != 0 && i < DISK; i++)
    if (bytes[i] != expected[i])
      g_error ("%s: byte %" G_GUINT64_FORMAT " is %d", one->name, i, bytes[i]);
}

static guint64
count_leaks (ImgStorage *file, const Case *one)
{
  g_auto (ImgCheckResult) result = { 0 };

  img_check_result_init (&result);
  if (!g_str_equal (one->format, "qcow2"))
    return 0;
  g_assert_true (img_driver_find ("qcow2")->check (file, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.check_errors, ==, 0);
  if (!one->has_lazy_refcounts)
    g_assert_cmpuint (result.corruptions, ==, 0);
  return result.leaks;
}

/* ---- tests ---- */

static void
check_result (ImgStorage *file, const Case *one, GBytes *before)
{
  g_autoptr (ImgImage) again = open_image (file, one);
  guint64 n_freed, usage;
  ImgBlock block;

  assert_view (again, one);
  if (g_str_equal (one->format, "qcow2") && one->cluster_size <= CLUSTER && one->is_smaller)
    {
      g_assert_true (img_image_map (again, 2 * CLUSTER, 2 * CLUSTER, IMG_BLOCK_MAP_TOP_ONLY, &block,
                                    NULL, NULL));
      g_assert_cmpuint (block.length, ==, 2 * CLUSTER);
      g_assert_false (block.has_host_offset);
    }
  /* There is nothing left to give back. */
  usage = test_get_usage (file);
  g_assert_true (img_compact (again, FALSE, &n_freed, NULL, NULL, NULL));
  g_assert_cmpuint (n_freed, ==, 0);
  g_assert_true (img_image_close (again, NULL));
  g_assert_cmpuint (test_get_usage (file), ==, usage);
  g_assert_cmpuint (test_get_file_size (file), <=, MAX (g_bytes_get_size (before), usage));
}

static void
test_result (gconstpointer data)
{
  const Case *one = data;
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (file, one);
  guint64 usage = test_get_usage (file), n_freed;
  ImgProgress progress = { 0 };
  ImgError *error = NULL;

  img_compact (image, FALSE, &n_freed, &progress, NULL, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  g_assert_cmpuint (progress.bytes_done, ==, progress.bytes_total);
  g_assert_cmpint (progress.phase, ==, IMG_PHASE_DONE);
  g_assert_cmpuint (n_freed, ==, usage - MIN (usage, test_get_usage (file)));
  if (one->is_smaller)
    g_assert_cmpuint (n_freed, >=, 8 * CLUSTER);
  assert_view (image, one);
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file, one), ==, 0);
  check_result (file, one, bytes);
}

/* FALSE once the job makes fewer than @nth changes. */
static gboolean
try_interruption (const Case *one, GBytes *bytes, guint nth, gboolean persist, ImgCancel *cancel)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, one);
  ImgError *error = NULL;
  gboolean success, sprung;
  guint64 n_freed;

  test_trap_storage_set (trap, nth, persist, cancel);
  success = img_compact (image, FALSE, &n_freed, NULL, cancel, &error);
  sprung = test_trap_storage_is_sprung (trap);
  g_assert_true (success || sprung);
  g_assert_true (success == (error == NULL));
  if (!success && cancel != NULL)
    g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
  img_error_free (error);
  assert_view (image, one);
  if (cancel != NULL)
    g_assert_true (img_image_close (image, NULL));
  g_clear_pointer (&image, img_image_unref);
  g_assert_cmpuint (count_leaks (file, one), <=, cancel != NULL ? 0 : G_MAXUINT64);
  image = open_image (file, one);
  assert_view (image, one);
  g_assert_true (img_compact (image, FALSE, &n_freed, NULL, NULL, NULL));
  assert_view (image, one);
  g_assert_true (img_image_close (image, NULL));
  return sprung;
}

static void
test_interrupted (gconstpointer data)
{
  const Case *one = data;
  g_autoptr (GBytes) bytes = make_file (one);
  guint n = 0;

  for (gboolean goes_on = TRUE; goes_on; n += TEST_STEP)
    {
      g_autoptr (ImgCancel) cancel = img_cancel_new ();

      goes_on = try_interruption (one, bytes, n + 1, FALSE, NULL);
      try_interruption (one, bytes, n + 1, TRUE, NULL);
      try_interruption (one, bytes, n + 1, FALSE, cancel);
    }
  g_test_message ("%u changes", n - TEST_STEP);
  g_assert_cmpuint (n, >, 1);
}

/* What other writers freed without punching it, in the middle and at the end of the file. */
static void
test_free_clusters (void)
{
  const Case *one = &cases[0];
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = NULL;
  g_autofree guint8 *junk = g_malloc (CLUSTER);
  guint64 size = img_align_up (test_get_file_size (file), CLUSTER), n_freed;

  memset (junk, 0xaa, CLUSTER);
  for (guint i = 0; i < 20; i++)
    g_assert_true (img_storage_write (file, size + i * CLUSTER, junk, CLUSTER, NULL));
  image = open_image (file, one);
  g_assert_true (img_compact (image, FALSE, &n_freed, NULL, NULL, NULL));
  g_assert_cmpuint (n_freed, >=, 20 * CLUSTER);
  g_assert_cmpuint (test_get_file_size (file), <=, size);
  /* The file grows again, and what is taken reads as zero around what is written. */
  for (guint64 piece = 0; piece * CLUSTER < DISK; piece++)
    if (piece % 8 == 6)
      g_assert_true (img_image_write (image, piece * CLUSTER + 100, "x", 1, NULL, NULL));
  g_assert_true (img_image_read (image, 6 * CLUSTER, junk, CLUSTER, NULL, NULL));
  for (guint i = 0; i < CLUSTER; i++)
    g_assert_cmphex (junk[i], ==, i == 100 ? 'x' : 0);
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file, one), ==, 0);
}

/* A cluster that is in use and counts as free would be punched: refused, without a change. */
static void
test_damaged (void)
{
  const Case *one = &cases[0];
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (GBytes) before = NULL;
  g_autoptr (GBytes) after = NULL;
  ImgError *error = NULL;
  guint64 table, block, n_freed;
  guint16 zero = 0;

  g_assert_true (img_storage_read (file, 48, &table, 8, NULL));
  g_assert_true (img_storage_read (file, GUINT64_FROM_BE (table), &block, 8, NULL));
  /* The last cluster of the file. */
  g_assert_true (img_storage_write (
    file, GUINT64_FROM_BE (block) + 2 * ((g_bytes_get_size (bytes) - 1) / CLUSTER), &zero, 2,
    NULL));
  before = img_memory_storage_dup_bytes (file, NULL);
  image = open_image (file, one);
  g_assert_false (img_compact (image, FALSE, &n_freed, NULL, NULL, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_CORRUPT);
  img_error_free (error);
  g_clear_pointer (&image, img_image_unref);
  after = img_memory_storage_dup_bytes (file, NULL);
  g_assert_true (g_bytes_equal (before, after));
}

static void
test_refused (void)
{
  const Case *one = &cases[0];
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) reader =
    img_image_open (file, &(ImgImageOptions){ .driver = img_driver_find ("qcow2") }, NULL, NULL);
  ImgError *error = NULL;
  guint64 n_freed;

  g_assert_true (img_image_open_references (reader, policy, NULL, NULL));
  g_assert_false (img_compact (reader, FALSE, &n_freed, NULL, NULL, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_READ_ONLY);
  img_error_free (error);
}

typedef struct
{
  ImgImage *image;
  gint stop; /* atomic */
} Writer;

/* Writes into clusters that were zero, which compacting may be looking at, and finds what it wrote.
 */
static gpointer
write_thread (gpointer data)
{
  Writer *writer = data;
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  guint8 value = 0, back;

  while (!g_atomic_int_get (&writer->stop))
    {
      guint64 offset = (2 + 8 * (guint64) g_rand_int_range (random, 0, 5)) * CLUSTER +
                       (guint64) g_rand_int_range (random, 0, (gint32) CLUSTER);

      value++;
      g_assert_true (img_image_write (writer->image, offset, &value, 1, NULL, NULL));
      g_assert_true (img_image_read (writer->image, offset, &back, 1, NULL, NULL));
      g_assert_cmphex (back, ==, value);
      back = 0;
      g_assert_true (img_image_write (writer->image, offset, &back, 1, NULL, NULL));
    }
  return NULL;
}

static void
test_beside_writers (void)
{
  const Case *one = &cases[0];
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (file, one);
  Writer writer = { .image = image };
  GThread *thread = g_thread_new ("writer", write_thread, &writer);
  guint64 n_freed;

  for (guint i = 0; i < 50; i++)
    g_assert_true (img_compact (image, FALSE, &n_freed, NULL, NULL, NULL));
  g_atomic_int_set (&writer.stop, TRUE);
  g_thread_join (thread);
  assert_view (image, one);
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file, one), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *result = g_strdup_printf ("/compact/result/%s", cases[i].name);
      g_autofree char *interrupted = g_strdup_printf ("/compact/interrupted/%s", cases[i].name);

      g_test_add_data_func (result, &cases[i], test_result);
      g_test_add_data_func (interrupted, &cases[i], test_interrupted);
    }
  g_test_add_func ("/compact/free-clusters", test_free_clusters);
  g_test_add_func ("/compact/damaged", test_damaged);
  g_test_add_func ("/compact/refused", test_refused);
  g_test_add_func ("/compact/beside-writers", test_beside_writers);
  return g_test_run ();
}
