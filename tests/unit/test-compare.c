/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Comparing: the verdict and its offset with any number of threads, what is not read, cancel, and every read
 * that can fail. */

#include "config.h"

#include <glib/gstdio.h>
#include <string.h>

#include "img-alloc.h"
#include "img-compare.h"
#include "img-file-storage.h"
#include "img-pool.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "test-storages.h"

#define SIZE (6 * IMG_MIB)

static const guint thread_counts[] = { 1, 2, 4, 7 };

/* ---- two disks ---- */

typedef struct
{
  guint8 *bytes; /* what the storage holds */
  ImgStorage *memory;
  ImgStorage *failing;
  ImgStorage *storage; /* counts */
} Disk;

typedef struct
{
  ImgPool *pool;
  Disk disks[2];
} Fixture;

/* Made once. */
static const guint8 *
pattern (void)
{
  static guint8 *bytes;

  if (bytes == NULL)
    {
      bytes = g_malloc (SIZE);
      for (guint64 at = 0; at < SIZE; at++)
        bytes[at] = test_pattern_byte (at, 1);
    }
  return bytes;
}

/* Equal ones, at first. */
static void
set_up (Fixture *fixture, gconstpointer user_data)
{
  fixture->pool = img_pool_new (8, 8);
  img_pool_set_default (fixture->pool);
  for (guint i = 0; i < 2; i++)
    fixture->disks[i].bytes = g_memdup2 (pattern (), SIZE);
}

static ImgStorage *
get_storage (Disk *disk)
{
  g_autoptr (GBytes) bytes = NULL;

  if (disk->storage != NULL)
    return disk->storage;
  bytes = g_bytes_new (disk->bytes, SIZE);
  disk->memory = img_memory_storage_new (bytes);
  disk->failing = test_failing_storage_new (disk->memory);
  disk->storage = test_counting_storage_new (disk->failing);
  return disk->storage;
}

static void
clear_storage (Disk *disk)
{
  g_clear_pointer (&disk->storage, img_storage_unref);
  g_clear_pointer (&disk->failing, img_storage_unref);
  g_clear_pointer (&disk->memory, img_storage_unref);
}

static void
tear_down (Fixture *fixture, gconstpointer user_data)
{
  for (guint i = 0; i < 2; i++)
    {
      clear_storage (&fixture->disks[i]);
      g_free (fixture->disks[i].bytes);
    }
  img_pool_set_default (NULL);
  img_pool_free (fixture->pool);
}

/* Pairs of a letter and a length, as in "d 4096 h 512": data, hole, zero, preallocated (data that a map calls
 * zero is made by the format only, so that here it is a zero with a place). */
static ImgImage *
image_new (ImgStorage *storage, const char *map)
{
  g_auto (GStrv) words = g_strsplit (map, " ", 0);
  guint n = g_strv_length (words) / 2;
  g_autofree ImgExtent *extents = g_new0 (ImgExtent, n);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  guint64 offset = 0;
  ImgImage *image;

  for (guint i = 0; i < n; i++)
    {
      char letter = words[2 * i][0];
      guint64 length = g_ascii_strtoull (words[2 * i + 1], NULL, 10);
      gboolean is_mapped = letter == 'd' || letter == 'p';

      extents[i] = (ImgExtent) {
        .kind = letter == 'd' ? IMG_EXTENT_DATA : letter == 'h' ? IMG_EXTENT_HOLE : IMG_EXTENT_ZERO,
        .has_host_offset = is_mapped,
        .offset = offset,
        .length = length,
        .storage = is_mapped ? storage : NULL,
        .host_offset = is_mapped ? offset : 0,
      };
      offset += length;
    }
  image = test_scripted_image_new (extents, n);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
assert_verdict (ImgImage *first,
                ImgImage *second,
                gboolean strict,
                ImgComparison comparison,
                guint64 offset)
{
  for (guint i = 0; i < 2 * G_N_ELEMENTS (thread_counts); i++)
    {
      ImgCompareOptions options = { .strict = strict, .n_threads = thread_counts[i / 2] };
      ImgProgress progress = { 0 };
      ImgCompareResult result;
      ImgError *error = NULL;

      if (!img_compare (i % 2 ? second : first, i % 2 ? first : second, &options, &progress, NULL,
                        &result, &error))
        g_error ("%s", error->text);
      g_assert_cmpint (result.comparison, ==, comparison);
      g_assert_cmpuint (result.offset, ==, offset);
      g_assert_cmpint (result.failed_step, ==, IMG_COMPARE_STEP_NONE);
      g_assert_cmpuint (progress.bytes_done, ==, progress.bytes_total);
      g_assert_cmpint (progress.phase, ==, IMG_PHASE_DONE);
    }
}

static void
assert_maps (Fixture *fixture,
             const char *first_map,
             const char *second_map,
             gboolean strict,
             ImgComparison comparison,
             guint64 offset)
{
  g_autoptr (ImgImage) first = image_new (get_storage (&fixture->disks[0]), first_map);
  g_autoptr (ImgImage) second = image_new (get_storage (&fixture->disks[1]), second_map);

  assert_verdict (first, second, strict, comparison, offset);
}

/* ---- verdicts ---- */

static void
test_equal (Fixture *fixture, gconstpointer user_data)
{
  assert_maps (fixture, "d 6291456", "d 6291456", TRUE, IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "d 100 d 900 d 6290456", "d 6291456", TRUE, IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "h 512 d 2048 h 4096", "h 512 d 2048 h 4096", TRUE,
               IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "h 512 z 2048 p 4096", "z 512 p 2048 h 4096", FALSE,
               IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "", "", TRUE, IMG_COMPARISON_IDENTICAL, 0);
}

/* At the ends of ranges, of pieces and of what is searched in steps. */
static void
test_offsets (Fixture *fixture, gconstpointer user_data)
{
  static const guint64 offsets[] = {
    0,           1,       4095,        4096,            IMG_MIB - 1,       IMG_MIB,
    IMG_MIB + 1, 3000001, 2 * IMG_MIB, 5 * IMG_MIB - 1, SIZE - 4097, SIZE - 1,
  };

  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    {
      guint64 at = offsets[i];

      fixture->disks[1].bytes[at] ^= 0x40;
      /* More behind it, which must not be found first. */
      fixture->disks[1].bytes[SIZE - 1] ^= at < SIZE - 1 ? 1 : 0;
      fixture->disks[1].bytes[MIN (at + IMG_MIB, SIZE - 1)] ^= at < SIZE - 1 ? 2 : 0;
      assert_maps (fixture, "d 6291456", "d 6291456", TRUE, IMG_COMPARISON_CONTENT, at);
      assert_maps (fixture, "d 4096 d 1000000 d 5287360", "d 3000000 d 3291456", FALSE,
                   IMG_COMPARISON_CONTENT, at);
      memcpy (fixture->disks[1].bytes, fixture->disks[0].bytes, SIZE);
      clear_storage (&fixture->disks[1]);
    }
}

static void
test_data_and_zero (Fixture *fixture, gconstpointer user_data)
{
  guint8 *bytes = fixture->disks[0].bytes;

  memset (bytes + 1000, 0, SIZE - 1000);
  assert_maps (fixture, "h 1000 d 6290456", "h 6291456", FALSE, IMG_COMPARISON_IDENTICAL, 0);
  clear_storage (&fixture->disks[0]);
  bytes[1000] = 1;
  assert_maps (fixture, "h 1000 d 6290456", "z 6291456", FALSE, IMG_COMPARISON_CONTENT, 1000);
  clear_storage (&fixture->disks[0]);
  bytes[1000] = 0;
  bytes[SIZE - 1] = 1;
  assert_maps (fixture, "h 1000 d 6290456", "p 6291456", FALSE, IMG_COMPARISON_CONTENT, SIZE - 1);
}

static void
test_sizes (Fixture *fixture, gconstpointer user_data)
{
  for (guint i = 0; i < 2; i++)
    {
      fixture->disks[i].bytes[0] = 0;
      fixture->disks[i].bytes[1] = 3;
    }
  memset (fixture->disks[0].bytes + 5000, 0, SIZE - 5000);
  assert_maps (fixture, "d 6291456", "d 5000", FALSE, IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "d 6291456", "d 5000", TRUE, IMG_COMPARISON_SIZE, 5000);
  assert_maps (fixture, "h 6291456", "", FALSE, IMG_COMPARISON_IDENTICAL, 0);
  assert_maps (fixture, "d 6291456", "", FALSE, IMG_COMPARISON_CONTENT, 1);
  assert_maps (fixture, "d 5000 h 99995000", "d 5000", FALSE, IMG_COMPARISON_IDENTICAL, 0);
  clear_storage (&fixture->disks[0]);
  fixture->disks[0].bytes[SIZE - 7] = 9;
  assert_maps (fixture, "d 6291456", "d 5000", FALSE, IMG_COMPARISON_CONTENT, SIZE - 7);
}

static void
test_status (Fixture *fixture, gconstpointer user_data)
{
  const ImgComparison status = IMG_COMPARISON_BLOCK_STATUS;

  assert_maps (fixture, "h 4096", "z 4096", TRUE, status, 0);
  assert_maps (fixture, "z 4096", "p 4096", TRUE, status, 0);
  for (guint i = 0; i < 2; i++)
    clear_storage (&fixture->disks[i]);
  memset (fixture->disks[0].bytes + 512, 0, 512);
  fixture->disks[1].bytes[512] = 0;
  fixture->disks[1].bytes[513] = 1;
  assert_maps (fixture, "d 512 d 512", "d 512 z 512", TRUE, status, 512);
  assert_maps (fixture, "h 512 d 512 z 5120", "h 512 d 512 z 512 h 4608", TRUE,
               IMG_COMPARISON_CONTENT, 513);
  clear_storage (&fixture->disks[0]);
  memcpy (fixture->disks[0].bytes, fixture->disks[1].bytes, SIZE);
  assert_maps (fixture, "d 5000000 z 1000000", "d 5000000 z 500000 h 500000", TRUE, status,
               5500000);
  /* What comes first counts, whichever it is. */
  clear_storage (&fixture->disks[0]);
  fixture->disks[0].bytes[4999999] ^= 1;
  assert_maps (fixture, "d 5000000 z 1000000", "d 5000000 z 500000 h 500000", TRUE,
               IMG_COMPARISON_CONTENT, 4999999);
  assert_maps (fixture, "d 5000000 z 1000000", "d 2000000 z 500000 d 3500000", TRUE, status,
               2000000);
}

/* A disk that is far too large to look at piece by piece. */
static void
test_huge (Fixture *fixture, gconstpointer user_data)
{
  const guint64 offset = (guint64) 1 << 43;
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) second = image_new (NULL, "h 8796093022720");
  g_autoptr (ImgImage) first = NULL;

  fixture->disks[0].bytes[0] = 0;
  fixture->disks[0].bytes[1] = 3;
  {
    const ImgExtent extents[] = {
      { IMG_EXTENT_HOLE, FALSE, 0, offset },
      { IMG_EXTENT_DATA, TRUE, offset, 512, get_storage (&fixture->disks[0]), 0 },
    };

    first = test_scripted_image_new (extents, G_N_ELEMENTS (extents));
  }
  g_assert_true (img_image_open_references (first, policy, NULL, NULL));
  assert_verdict (first, second, FALSE, IMG_COMPARISON_CONTENT, offset + 1);
}

/* ---- what is read ---- */

static guint64
count_bytes (Fixture *fixture, ImgImage *first, ImgImage *second)
{
  ImgCompareOptions options = { .n_threads = 2 };
  ImgProgress progress = { 0 };
  ImgCompareResult result;
  guint64 n_bytes = 0;

  for (guint i = 0; i < 2; i++)
    test_counting_storage_take (get_storage (&fixture->disks[i]));
  g_assert_true (img_compare (first, second, &options, &progress, NULL, &result, NULL));
  g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_IDENTICAL);
  for (guint i = 0; i < 2; i++)
    n_bytes += test_counting_storage_take (get_storage (&fixture->disks[i])).n_bytes;
  g_assert_cmpuint (progress.bytes_total, ==, n_bytes);
  return n_bytes;
}

static void
test_reads (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgImage) sparse = NULL;
  g_autoptr (ImgImage) other = NULL;
  g_autoptr (ImgImage) same = NULL;
  g_autoptr (ImgImage) empty = NULL;

  memset (fixture->disks[0].bytes, 0, 4 * IMG_MIB);
  sparse = image_new (get_storage (&fixture->disks[0]), "z 1048576 d 2097152 h 3145728");
  other = image_new (get_storage (&fixture->disks[0]), "d 6291456");
  same = image_new (get_storage (&fixture->disks[0]), "h 1048576 d 2097152 h 3145728");
  empty = image_new (get_storage (&fixture->disks[1]), "p 6291456");
  g_assert_cmpuint (count_bytes (fixture, sparse, empty), ==, 2 * IMG_MIB);
  /* The same bytes of the same storage. */
  g_assert_cmpuint (count_bytes (fixture, sparse, same), ==, 0);
  g_assert_cmpuint (count_bytes (fixture, other, other), ==, 0);
}

/* One file opened twice. */
static void
test_same_file (Fixture *fixture, gconstpointer user_data)
{
  g_autofree char *folder = g_dir_make_tmp ("imago-compare-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "raw", NULL);
  ImgImageOptions options = { .driver = img_driver_find ("raw") };
  ImgImage *images[2];

  g_assert_true (g_file_set_contents (path, (const char *) fixture->disks[0].bytes, SIZE, NULL));
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
      g_autoptr (ImgPolicy) policy = img_policy_new_deny ();

      images[i] = img_image_open (storage, &options, NULL, NULL);
      g_assert_true (img_image_open_references (images[i], policy, NULL, NULL));
    }
  {
    ImgCompareOptions compare_options = { 0 };
    ImgProgress progress = { 0 };
    ImgCompareResult result;

    g_assert_true (
      img_compare (images[0], images[1], &compare_options, &progress, NULL, &result, NULL));
    g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_IDENTICAL);
    g_assert_cmpuint (progress.bytes_total, ==, 0);
  }
  for (guint i = 0; i < 2; i++)
    img_image_unref (images[i]);
  g_unlink (path);
  g_rmdir (folder);
}

/* ---- failures ---- */

static ImgImage *
open_qcow2 (ImgStorage *storage)
{
  ImgImageOptions options = { .driver = img_driver_find ("qcow2"), .layout.metadata_cache_size = 1 };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image = img_image_open (storage, &options, NULL, NULL);

  g_assert_nonnull (image);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static ImgStorage *
build_qcow2 (guint64 size, guint8 last)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, size, 0);
  guint8 cluster[4096];

  for (guint64 i = 0; i < size / 4096; i += 150)
    {
      guint64 at = qcow2_builder_alloc (builder, 1);

      memset (cluster, (int) (i % 255 + 1), sizeof cluster);
      if (i + 150 >= size / 4096)
        cluster[4095] = last;
      qcow2_builder_write (builder, at, cluster, sizeof cluster);
      qcow2_builder_set_entry (builder, i, at | QCOW2_COPIED, 0);
    }
  return qcow2_builder_finish_storage (builder);
}

/* Each read fails in turn: an error or, if that lies behind the first difference, the right verdict. */
static void
inject_faults (guint n_threads, ImgStorage *first_storage, ImgStorage *second_storage,
               ImgComparison comparison)
{
  g_autoptr (ImgStorage) failing = test_failing_storage_new (first_storage);
  g_autoptr (ImgImage) second = open_qcow2 (second_storage);
  ImgCompareOptions options = { .n_threads = n_threads };
  guint n_steps[3] = { 0, 0, 0 };
  guint nth = 1;

  for (;; nth++)
    {
      g_autoptr (ImgImage) first = open_qcow2 (failing);
      g_autoptr (ImgError) error = NULL;
      ImgCompareResult result;
      gboolean success;

      test_failing_storage_arm (failing, nth, nth % 2);
      success = img_compare (first, second, &options, NULL, NULL, &result, &error);
      test_failing_storage_arm (failing, 0, FALSE);
      if (success)
        {
          g_assert_cmpint (result.comparison, ==, comparison);
          break;
        }
      g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
      g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_NONE);
      g_assert_cmpint (result.failed_step, !=, IMG_COMPARE_STEP_NONE);
      n_steps[result.failed_step]++;
    }
  /* Maps and data. */
  g_assert_cmpuint (n_steps[IMG_COMPARE_STEP_MAP], >, 2);
  g_assert_cmpuint (n_steps[IMG_COMPARE_STEP_READ], >, 2);
}

static void
test_fault_injection (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgStorage) first = build_qcow2 (8 * IMG_MIB, 1);
  g_autoptr (ImgStorage) same = build_qcow2 (8 * IMG_MIB, 1);
  g_autoptr (ImgStorage) other = build_qcow2 (8 * IMG_MIB, 2);

  for (guint i = 0; i < G_N_ELEMENTS (thread_counts); i++)
    {
      inject_faults (thread_counts[i], first, same, IMG_COMPARISON_IDENTICAL);
      inject_faults (thread_counts[i], first, other, IMG_COMPARISON_CONTENT);
    }
}

/* What cannot be read decides only where nothing before it does. */
static void
test_failure_and_difference (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgImage) first = NULL;
  g_autoptr (ImgImage) second = NULL;
  static const guint8 bad[] = { 255 };
  ImgStorage *storage;
  guint64 bad_at = 4 * IMG_MIB;

  /* A compressed unit that starts with 255 cannot be decoded. */
  memcpy (fixture->disks[0].bytes + bad_at, bad, 1);
  storage = get_storage (&fixture->disks[0]);
  {
    const ImgExtent extents[] = {
      { IMG_EXTENT_DATA, TRUE, 0, bad_at, storage, 0 },
      { .kind = IMG_EXTENT_COMPRESSED,
        .offset = bad_at,
        .length = 4096,
        .storage = storage,
        .unit_offset = bad_at,
        .unit_length = 4096,
        .unit_host_offset = bad_at,
        .unit_host_length = 4096 },
      { IMG_EXTENT_DATA, TRUE, bad_at + 4096, SIZE - bad_at - 4096, storage, bad_at + 4096 },
    };
    g_autoptr (ImgPolicy) policy = img_policy_new_deny ();

    first = test_scripted_image_new (extents, G_N_ELEMENTS (extents));
    g_assert_true (img_image_open_references (first, policy, NULL, NULL));
  }
  for (guint i = 0; i < 4; i++)
    {
      gboolean before = i < 2;
      guint64 at = before ? 3 * IMG_MIB + i : bad_at + IMG_MIB * (i - 1) - 1;

      memcpy (fixture->disks[1].bytes, fixture->disks[0].bytes, SIZE);
      fixture->disks[1].bytes[at] ^= 1;
      clear_storage (&fixture->disks[1]);
      g_clear_pointer (&second, img_image_unref);
      second = image_new (get_storage (&fixture->disks[1]), "d 6291456");
      if (before)
        assert_verdict (first, second, FALSE, IMG_COMPARISON_CONTENT, at);
      for (guint n = 0; !before && n < G_N_ELEMENTS (thread_counts); n++)
        {
          ImgCompareOptions options = { .n_threads = thread_counts[n] };
          g_autoptr (ImgError) error = NULL;
          ImgCompareResult result;

          g_assert_false (img_compare (first, second, &options, NULL, NULL, &result, &error));
          g_assert_cmpint (result.failed_step, ==, IMG_COMPARE_STEP_READ);
          g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_NONE);
        }
    }
}

static void
test_no_memory (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgImage) first = image_new (get_storage (&fixture->disks[0]), "d 6291456");
  g_autoptr (ImgImage) second = image_new (get_storage (&fixture->disks[1]), "d 6291456");
  ImgCompareOptions options = { .n_threads = 1 };

  for (guint nth = 1; nth < 3; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      ImgCompareResult result;

      img_alloc_set_fault (nth, TRUE);
      g_assert_false (img_compare (first, second, &options, NULL, NULL, &result, &error));
      g_assert_true (img_alloc_clear_fault ());
      g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
    }
}

typedef struct
{
  ImgProgress progress;
  ImgCancel *cancel;
  gint countdown;
  ImgMutex mutex; /* nobody goes on between the last count and the cancel */
} Watch;

static void
changed_cb (gpointer data)
{
  Watch *watch = data;

  img_mutex_lock (&watch->mutex);
  if (--watch->countdown == 0)
    img_cancel_trigger (watch->cancel);
  img_mutex_unlock (&watch->mutex);
}

/* At every call; what was settled by then may still be told. */
static void
test_cancel (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgImage) first = image_new (get_storage (&fixture->disks[0]), "d 6291456");
  g_autoptr (ImgImage) second = image_new (get_storage (&fixture->disks[1]), "d 6291456");
  guint n_cancelled = 0;

  for (guint i = 0; i < G_N_ELEMENTS (thread_counts); i++)
    for (gint nth = 1;; nth++)
      {
        ImgCompareOptions options = { .n_threads = thread_counts[i] };
        g_autoptr (ImgCancel) cancel = img_cancel_new ();
        g_autoptr (ImgError) error = NULL;
        Watch watch = { { .changed = changed_cb }, cancel, nth, IMG_MUTEX_INIT };
        ImgCompareResult result;

        watch.progress.data = &watch;
        test_counting_storage_take (fixture->disks[0].storage);
        if (img_compare (first, second, &options, &watch.progress, cancel, &result, &error))
          {
            g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_IDENTICAL);
            if (watch.countdown > 0)
              break;
            continue;
          }
        g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
        /* The calls before the first read are three; a read is a call; then one read for each thread at most. */
        g_assert_cmpuint (test_counting_storage_take (fixture->disks[0].storage).n_reads, <=,
                          MAX (nth - 3, 0) + thread_counts[i]);
        n_cancelled++;
      }
  g_assert_cmpuint (n_cancelled, >, 20);
}

/* A terabyte in a file of a few clusters, one of which lies far outside of it. */
static void
test_hostile (Fixture *fixture, gconstpointer user_data)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 21, (guint64) 1 << 40, 0);
  guint64 at = qcow2_builder_alloc (builder, 1);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgImage) empty = image_new (NULL, "h 1099511627776");
  ImgCompareOptions options = { 0 };
  ImgCompareResult result;

  qcow2_builder_set_entry (builder, 100000, at | QCOW2_COPIED, 0);
  qcow2_builder_set_entry (builder, 400000, ((guint64) 1 << 55) | QCOW2_COPIED, 0);
  storage = qcow2_builder_finish_storage (builder);
  image = open_qcow2 (storage);
  {
    g_autoptr (ImgError) error = NULL;

    g_assert_false (img_compare (image, empty, &options, NULL, NULL, &result, &error));
    g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_NONE);
  }
}

/* The whole disk, by reading it; FALSE: it cannot be read. */
static gboolean
read_disk (ImgImage *image, guint8 *buffer, guint64 size)
{
  memset (buffer, 0, size);
  return img_image_read (image, 0, buffer, img_image_get_size (image), NULL, NULL);
}

static gsize
first_difference (const guint8 *first, const guint8 *second, gsize size)
{
  gsize at = 0;

  while (at < size && first[at] == second[at])
    at++;
  return at;
}

#define MUTANT_SIZE (2 * IMG_MIB)
#define N_MUTANTS 600

/* Images with some bits of their metadata turned over: what is said of them is true. */
static void
test_mutants (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgStorage) storage = build_qcow2 (MUTANT_SIZE, 1);
  g_autoptr (ImgImage) image = open_qcow2 (storage);
  g_autofree guint8 *plain = g_malloc (MUTANT_SIZE);
  g_autofree guint8 *found = g_malloc (MUTANT_SIZE);
  g_autoptr (GRand) rand = g_rand_new_with_seed (20);
  guint n[IMG_COMPARISON_SIZE + 1] = { 0 };
  g_autofree guint8 *bytes = NULL;
  guint64 length;

  g_assert_true (img_storage_get_size (storage, &length, NULL));
  bytes = g_malloc (length);
  g_assert_true (img_storage_read (storage, 0, bytes, length, NULL));
  g_assert_true (read_disk (image, plain, MUTANT_SIZE));
  for (guint i = 0; i < N_MUTANTS; i++)
    {
      ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
      ImgCompareOptions compare_options = { .n_threads = 1 + i % 4 };
      g_autofree guint8 *copy = g_memdup2 (bytes, length);
      g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
      g_autoptr (ImgStorage) mutant_storage = NULL;
      g_autoptr (ImgImage) mutant = NULL;
      g_autoptr (GBytes) mutant_bytes = NULL;
      g_autoptr (ImgError) error = NULL;
      ImgCompareResult result;

      for (guint k = g_rand_int_range (rand, 1, 4); k > 0; k--)
        copy[g_rand_int_range (rand, 24, (gint) length)] ^= (guint8) (1u << g_rand_int_range (rand, 0, 8));
      mutant_bytes = g_bytes_new_take (g_steal_pointer (&copy), length);
      mutant_storage = img_memory_storage_new (mutant_bytes);
      mutant = img_image_open (mutant_storage, &options, NULL, NULL);
      if (mutant == NULL || !img_image_open_references (mutant, policy, NULL, NULL) ||
          img_image_get_size (mutant) > MUTANT_SIZE)
        continue;
      if (!img_compare (image, mutant, &compare_options, NULL, NULL, &result, &error))
        {
          g_assert_false (read_disk (mutant, found, MUTANT_SIZE));
          n[IMG_COMPARISON_NONE]++;
          continue;
        }
      n[result.comparison]++;
      /* What cannot be read may lie behind the first difference. */
      if (read_disk (mutant, found, MUTANT_SIZE))
        {
          gsize at = first_difference (plain, found, MUTANT_SIZE);

          g_assert_true ((result.comparison == IMG_COMPARISON_IDENTICAL) == (at == MUTANT_SIZE));
          g_assert_cmpuint (result.offset, ==, at < MUTANT_SIZE ? at : 0);
        }
      else
        g_assert_cmpint (result.comparison, ==, IMG_COMPARISON_CONTENT);
    }
  g_assert_cmpuint (n[IMG_COMPARISON_NONE], >, 2);
  g_assert_cmpuint (n[IMG_COMPARISON_IDENTICAL], >, 10);
  g_assert_cmpuint (n[IMG_COMPARISON_CONTENT], >, 10);
  g_test_message ("%u failed, %u identical, %u different", n[IMG_COMPARISON_NONE],
                  n[IMG_COMPARISON_IDENTICAL], n[IMG_COMPARISON_CONTENT]);
}

/* The pool has one worker and this job is its coordinator. */
static void
test_small_pool (Fixture *fixture, gconstpointer user_data)
{
  ImgPool *pool = img_pool_new (1, 1);

  img_pool_set_default (pool);
  test_data_and_zero (fixture, NULL);
  img_pool_set_default (fixture->pool);
  img_pool_free (pool);
}

#define ADD_TEST(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_TEST ("/compare/equal", test_equal);
  ADD_TEST ("/compare/offsets", test_offsets);
  ADD_TEST ("/compare/data-and-zero", test_data_and_zero);
  ADD_TEST ("/compare/sizes", test_sizes);
  ADD_TEST ("/compare/status", test_status);
  ADD_TEST ("/compare/huge", test_huge);
  ADD_TEST ("/compare/reads", test_reads);
  ADD_TEST ("/compare/same-file", test_same_file);
  ADD_TEST ("/compare/fault-injection", test_fault_injection);
  ADD_TEST ("/compare/failure-and-difference", test_failure_and_difference);
  ADD_TEST ("/compare/no-memory", test_no_memory);
  ADD_TEST ("/compare/cancel", test_cancel);
  ADD_TEST ("/compare/hostile", test_hostile);
  ADD_TEST ("/compare/mutants", test_mutants);
  ADD_TEST ("/compare/small-pool", test_small_pool);
  return g_test_run ();
}
