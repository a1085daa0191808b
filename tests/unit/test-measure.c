/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Measuring: the numbers of qemu-img, what counts as data, cancel, and every read that can fail. */

#include "config.h"

#include "img-measure.h"
#include "qcow2-builder.h"
#include "test-storages.h"

static const ImgDriver *
driver (const char *name)
{
  return img_driver_find (name);
}

/* ---- without a source ---- */

/* What qemu-img measure --size says of qcow2. */
static void
test_empty (void)
{
  static const struct
  {
    ImgCreateOptions options;
    guint64 required;
    guint64 fully_allocated;
  } rows[] = {
    { { .size = 0 }, 196608, 196608 },
    { { .size = 1, .cluster_size = 512 }, 2560, 3072 },
    { { .size = 1000001, .cluster_size = 512 }, 21504, 1021952 },
    { { .size = 10 * IMG_MIB }, 327680, 10813440 },
    { { .size = 10 * IMG_MIB, .version = 2 }, 327680, 10813440 },
    { { .size = (guint64) 1 << 40 }, 168034304, 1099679662080 },
    { { .size = (guint64) 1 << 40, .refcount_bits = 1 }, 136577024, 1099648204800 },
    { { .size = 128 * IMG_GIB, .cluster_size = 512, .refcount_bits = 64 },
      4432415744,
      141871369216 },
    { { .size = (guint64) 1 << 40, .cluster_size = 16384, .extended_l2 = TRUE }, 1208745984, 1100720373760 },
    { { .size = 1000001,
        .cluster_size = 2 * IMG_MIB,
        .preallocate = IMG_PREALLOCATE_FULL },
      12582912,
      12582912 },
    { { .size = 5000000, .cluster_size = 4096, .preallocate = IMG_PREALLOCATE_FALLOC },
      5029888,
      5029888 },
    { { .size = 5000000, .cluster_size = 4096, .preallocate = IMG_PREALLOCATE_METADATA },
      28672,
      5029888 },
    { { .size = (guint64) 1 << 61, .cluster_size = 2 * IMG_MIB },
      10995174998016,
      2305854004388691968 },
    { { .size = 10 * IMG_MIB, .backing_name = "base" }, 327680, 10813440 },
    { { .size = 10 * IMG_MIB, .data_file_name = "data", .raw_data_file = TRUE }, 327680, 10813440 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      ImgMeasurement found = { .has_bitmaps = TRUE, .bitmaps = 1 };

      g_assert_true (img_measure (driver ("qcow2"), &rows[i].options, NULL, NULL, NULL, &found, NULL));
      g_assert_cmpuint (found.required, ==, rows[i].required);
      g_assert_cmpuint (found.fully_allocated, ==, rows[i].fully_allocated);
      g_assert_false (found.has_bitmaps);
      g_assert_cmpuint (found.bitmaps, ==, 0);
    }
}

static void
test_raw (void)
{
  static const ImgPreallocate modes[] = { IMG_PREALLOCATE_OFF, IMG_PREALLOCATE_METADATA,
                                          IMG_PREALLOCATE_FULL };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      ImgCreateOptions options = { .size = 1000001, .preallocate = modes[i] };
      ImgMeasurement found;

      g_assert_true (img_measure (driver ("raw"), &options, NULL, NULL, NULL, &found, NULL));
      g_assert_cmpuint (found.required, ==, 1000448);
      g_assert_cmpuint (found.fully_allocated, ==, 1000448);
    }
}

static void
test_refused (void)
{
  static const struct
  {
    const char *format;
    ImgCreateOptions options;
  } rows[] = {
    { "raw", { .size = 1, .cluster_size = 65536 } },
    { "raw", { .size = G_MAXUINT64 } },
    { "qcow2", { .size = G_MAXUINT64 } },
    { "qcow2", { .size = (guint64) 1 << 60 } },
    { "qcow2", { .size = 129 * IMG_GIB, .cluster_size = 512 } },
    { "qcow2", { .size = 1, .cluster_size = 4 * IMG_MIB } },
    { "qcow2", { .size = 1, .cluster_size = 1000 } },
    { "qcow2", { .size = 1, .refcount_bits = 3 } },
    { "qcow2", { .size = 1, .version = 2, .refcount_bits = 8 } },
    { "qcow2", { .size = 1, .version = 4 } },
    { "qcow2", { .size = 1, .cluster_size = 4096, .extended_l2 = TRUE } },
  };
  static const ImgDriver other = { .name = "other" };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (ImgError) error = NULL;
      ImgMeasurement found;

      g_assert_false (
        img_measure (driver (rows[i].format), &rows[i].options, NULL, NULL, NULL, &found, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_INVALID_OPTION));
    }
  {
    g_autoptr (ImgError) error = NULL;
    ImgCreateOptions options = { .size = 1 };
    ImgMeasurement found;

    g_assert_false (img_measure (&other, &options, NULL, NULL, NULL, &found, &error));
    g_assert_true (img_error_matches (error, IMG_CODE_UNSUPPORTED));
  }
}

/* ---- with a source ---- */

static ImgImage *
scripted_image (ImgStorage *storage)
{
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  /* The ends of the data lie inside clusters, two of them in the same one. */
  const ImgExtent extents[] = {
    { IMG_EXTENT_ZERO, FALSE, 0, 100 },
    { IMG_EXTENT_DATA, TRUE, 100, 1000, storage, 100 },
    { IMG_EXTENT_HOLE, FALSE, 1100, 100 },
    { IMG_EXTENT_DATA, TRUE, 1200, 65536 - 1200, storage, 1200 },
    { IMG_EXTENT_HOLE, FALSE, 65536, 65536 },
    { IMG_EXTENT_DATA, TRUE, 131072, 1, storage, 131072 },
    { IMG_EXTENT_HOLE, FALSE, 131073, 131072 },
    { IMG_EXTENT_DATA, TRUE, 262145, 5000, storage, 262145 },
  };
  ImgImage *image = test_scripted_image_new (extents, G_N_ELEMENTS (extents));

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
test_data (void)
{
  g_autoptr (ImgStorage) storage = test_pattern_storage_new (IMG_MIB, 1);
  g_autoptr (ImgImage) image = scripted_image (storage);
  static const struct
  {
    guint64 unit;
    guint64 n_bytes;
  } rows[] = {
    { 1, 1000 + 64336 + 1 + 5000 },
    { 512, 65536 + 512 + 5120 },
    { 65536, 65536 + 65536 + 65536 },
    { 2 * IMG_MIB, 2 * IMG_MIB },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      ImgProgress progress = { 0 };
      guint64 n_bytes;

      g_assert_true (img_measure_data (image, rows[i].unit, IMG_BLOCK_MAP_NONE, &n_bytes, &progress, NULL, NULL));
      g_assert_cmpuint (n_bytes, ==, rows[i].n_bytes);
      g_assert_cmpuint (progress.bytes_done, ==, img_image_get_size (image));
    }
}

/* The size of the options is of no account then. */
static void
test_source (void)
{
  g_autoptr (ImgStorage) storage = test_pattern_storage_new (IMG_MIB, 1);
  g_autoptr (ImgImage) image = scripted_image (storage);
  static const struct
  {
    ImgCreateOptions options;
    guint64 n_bytes; /* data and space behind it in an image of five clusters */
  } rows[] = {
    { { .size = 1 }, 3 * 65536 },
    { { .preallocate = IMG_PREALLOCATE_FULL }, 5 * 65536 },
    { { .preallocate = IMG_PREALLOCATE_FALLOC }, 5 * 65536 },
    { { .preallocate = IMG_PREALLOCATE_METADATA }, 3 * 65536 },
    { { .backing_name = "base" }, 5 * 65536 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      ImgProgress progress = { 0 };
      ImgMeasurement found;

      g_assert_true (img_measure (driver ("qcow2"), &rows[i].options, image, &progress, NULL, &found, NULL));
      g_assert_cmpuint (found.required, ==, 5 * 65536 + rows[i].n_bytes);
      g_assert_cmpuint (found.fully_allocated, ==, 10 * 65536);
      g_assert_false (found.has_bitmaps);
      g_assert_cmpuint (progress.bytes_total, ==, img_image_get_size (image));
      g_assert_cmpuint (progress.bytes_done, ==, progress.bytes_total);
      g_assert_cmpint (progress.phase, ==, IMG_PHASE_DONE);
    }
}

/* ---- images ---- */

/* 10 MiB with three clusters of data and three bitmaps, one of which was not closed. */
static ImgStorage *
build_image (guint version)
{
  Qcow2Builder *builder = qcow2_builder_new (version, 12, 10 * IMG_MIB, 0);
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  g_autoptr (GByteArray) extension = g_byte_array_new ();
  guint64 at = qcow2_builder_alloc (builder, 1);
  static const guint64 clusters[] = { 1, 700, 1900 };

  for (guint i = 0; i < G_N_ELEMENTS (clusters); i++)
    qcow2_builder_set_entry (builder, clusters[i],
                             qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  if (version >= 3)
    qcow2_builder_set_entry (builder, 300, QCOW2_ZERO, 0);
  if (version < 3)
    return qcow2_builder_finish_storage (builder);
  qcow2_put_bitmap (directory, &(Qcow2Bitmap) { 0x3000, 1, 0, 1, 9, 0, "b0" });
  qcow2_put_bitmap (directory, &(Qcow2Bitmap) { 0x3000, 1, 2, 1, 16, 0, "b1withname" });
  qcow2_put_bitmap (directory, &(Qcow2Bitmap) { 0x3000, 1, 1, 1, 9, 0, "broken" });
  qcow2_builder_write (builder, at, directory->data, directory->len);
  qcow2_put_be32 (extension, 3);
  qcow2_put_be32 (extension, 0);
  qcow2_put_be64 (extension, directory->len);
  qcow2_put_be64 (extension, at);
  builder->autoclear = 1;
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BITMAPS, extension->data, extension->len);
  return qcow2_builder_finish_storage (builder);
}

static ImgImage *
open_image (ImgStorage *storage)
{
  ImgImageOptions options = { .driver = driver ("qcow2"), .layout.metadata_cache_size = 1 };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image = img_image_open (storage, &options, NULL, NULL);

  g_assert_nonnull (image);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
measure_image (ImgImage *image, const char *format, guint version, ImgMeasurement *found)
{
  ImgCreateOptions options = { .version = version };

  g_assert_true (img_measure (driver (format), &options, image, NULL, NULL, found, NULL));
}

/* The numbers of qemu-img for bitmaps of these granularities and names. */
static void
test_bitmaps (void)
{
  g_autoptr (ImgStorage) storage = build_image (3);
  g_autoptr (ImgStorage) old_storage = build_image (2);
  g_autoptr (ImgImage) image = open_image (storage);
  g_autoptr (ImgImage) old_image = open_image (old_storage);
  ImgMeasurement found;

  measure_image (image, "qcow2", 0, &found);
  g_assert_true (found.has_bitmaps);
  g_assert_cmpuint (found.bitmaps, ==, 327680);
  g_assert_cmpuint (found.required, ==, 327680 + 3 * 65536);
  g_assert_cmpuint (found.fully_allocated, ==, 10813440);

  measure_image (image, "qcow2", 2, &found);
  g_assert_false (found.has_bitmaps);
  measure_image (image, "raw", 0, &found);
  g_assert_false (found.has_bitmaps);
  g_assert_cmpuint (found.required, ==, 10 * IMG_MIB);
  measure_image (old_image, "qcow2", 0, &found);
  g_assert_false (found.has_bitmaps);
}

static void
test_fault_injection (void)
{
  g_autoptr (ImgStorage) storage = build_image (3);
  g_autoptr (ImgStorage) failing = test_failing_storage_new (storage);
  ImgCreateOptions options = { 0 };
  ImgMeasurement found;
  guint nth = 1;

  for (;; nth++)
    {
      g_autoptr (ImgImage) image = open_image (failing);
      g_autoptr (ImgError) error = NULL;
      gboolean success;

      test_failing_storage_arm (failing, nth, nth % 2);
      success = img_measure (driver ("qcow2"), &options, image, NULL, NULL, &found, &error);
      test_failing_storage_arm (failing, 0, FALSE);
      if (success)
        break;
      g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
    }
  /* Three L2 tables and the directory at least. */
  g_assert_cmpuint (nth, >, 4);
  g_assert_cmpuint (found.required, ==, 327680 + 3 * 65536);
}

typedef struct
{
  ImgProgress progress;
  ImgCancel *cancel;
  gint countdown;
} Watch;

static void
changed_cb (gpointer data)
{
  Watch *watch = data;

  if (--watch->countdown == 0)
    img_cancel_trigger (watch->cancel);
}

/* At every step: either it was the last, or nothing more is done. */
static void
test_cancel (void)
{
  g_autoptr (ImgStorage) storage = build_image (3);
  g_autoptr (ImgImage) image = open_image (storage);
  ImgCreateOptions options = { 0 };
  gint n_cancelled = 0;

  for (gint nth = 1;; nth++)
    {
      g_autoptr (ImgCancel) cancel = img_cancel_new ();
      g_autoptr (ImgError) error = NULL;
      Watch watch = { { .changed = changed_cb }, cancel, nth };
      ImgMeasurement found;

      watch.progress.data = &watch;
      if (img_measure (driver ("qcow2"), &options, image, &watch.progress, cancel, &found, &error))
        {
          g_assert_cmpuint (watch.progress.bytes_done, ==, watch.progress.bytes_total);
          if (watch.countdown > 0)
            break;
          continue;
        }
      g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
      g_assert_cmpint (watch.countdown, >=, -1); /* no more than one that comes before a step */
      n_cancelled++;
    }
  g_assert_cmpint (n_cancelled, >, 4);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/measure/empty", test_empty);
  g_test_add_func ("/measure/raw", test_raw);
  g_test_add_func ("/measure/refused", test_refused);
  g_test_add_func ("/measure/data", test_data);
  g_test_add_func ("/measure/source", test_source);
  g_test_add_func ("/measure/bitmaps", test_bitmaps);
  g_test_add_func ("/measure/fault-injection", test_fault_injection);
  g_test_add_func ("/measure/cancel", test_cancel);
  return g_test_run ();
}
