/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <imago-glib/imago-glib.h>
#include <sys/stat.h>

#include "test-images.h"

typedef struct
{
  char *folder;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  test_folder_remove (fixture->folder);
}

static ImagoImageInfo *
info_of (const char *path, const char *format_name)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name",
                                                       format_name, "defer-references", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);
  ImagoImageInfo *info;

  g_assert_no_error (error);
  info = imago_image_query_info (image, NULL, &error);
  g_assert_no_error (error);
  return info;
}

static guint64
usage_of (const char *path)
{
  struct stat status;

  g_assert_cmpint (stat (path, &status), ==, 0);
  return (guint64) status.st_blocks * 512;
}

static void
test_raw (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "disk.raw", test_pattern_new (100 * 512, 1));
  g_autoptr (ImagoImageInfo) info = info_of (path, "raw");

  g_assert_cmpstr (imago_image_info_get_filename (info), ==, path);
  g_assert_cmpstr (imago_image_info_get_format_name (info), ==, "raw");
  g_assert_cmpuint (imago_image_info_get_virtual_size (info), ==, 100 * 512);
  g_assert_cmpuint (imago_image_info_get_actual_size (info), ==, usage_of (path));
  g_assert_cmpuint (imago_image_info_get_cluster_size (info), ==, 0);
  g_assert_cmpuint (imago_image_info_get_refcount_bits (info), ==, 0);
  g_assert_null (imago_image_info_get_backing_filename (info));
  g_assert_null (imago_image_info_get_full_backing_filename (info));
  g_assert_null (imago_image_info_get_backing_format_name (info));
  g_assert_null (imago_image_info_get_compat (info));
  g_assert_null (imago_image_info_get_compression_type (info));
  g_assert_null (imago_image_info_get_data_file (info));
  g_assert_false (imago_image_info_get_dirty (info));
  g_assert_false (imago_image_info_get_corrupt (info));
  g_assert_cmpuint (g_list_model_get_n_items (imago_image_info_get_snapshots (info)), ==, 0);
  g_assert_cmpuint (g_list_model_get_n_items (imago_image_info_get_bitmaps (info)), ==, 0);
}

static void
test_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (&(TestQcow2){ .backing = "beside" }));
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "defer-references", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open_storage (storage, options, NULL, &error);
  g_autoptr (ImagoImageInfo) info = NULL;

  g_assert_no_error (error);
  info = imago_image_query_info (image, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (imago_image_info_get_filename (info));
  g_assert_cmpstr (imago_image_info_get_backing_filename (info), ==, "beside");
  g_assert_null (imago_image_info_get_full_backing_filename (info));
}

/* The sample: an encrypted image on top of the usual ones, none of which is asked for a byte of its disk. */
static void
test_encrypted (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (g_getenv ("IMAGO_SOURCE_ROOT"), "tests", "data", "luks.qcow2", NULL);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "reference-policy", policy, "metadata-only", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);
  g_autoptr (ImagoImage) backing = NULL;
  g_autoptr (ImagoImageInfo) info = NULL;
  g_autoptr (ImagoImageInfo) below = NULL;
  ImagoEncryptionInfo *encryption;

  g_assert_no_error (error);
  info = imago_image_query_info (image, NULL, &error);
  g_assert_no_error (error);
  encryption = imago_image_info_get_encryption_info (info);
  g_assert_cmpstr (imago_encryption_info_get_method (encryption), ==, "luks");
  g_assert_cmpstr (imago_encryption_info_get_iv_hash (encryption), ==, "sha256");
  g_assert_cmpuint (g_list_model_get_n_items (imago_encryption_info_get_key_slots (encryption)), ==, 8);
  backing = imago_image_dup_backing (image);
  below = imago_image_query_info (backing, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (imago_image_info_get_encryption_info (below));
  g_assert_cmpuint (g_list_model_get_n_items (imago_image_info_get_snapshots (below)), ==, 1);
  g_assert_null (imago_image_read_bytes (backing, 0, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_METADATA_ONLY);
}

static void
test_full_name (Fixture *fixture, gconstpointer data)
{
  g_autofree char *beside = test_path (fixture->folder, "base");
  const struct
  {
    const char *name;
    const char *full;
  } cases[] = {
    { "base", beside },
    { "/else/where", "/else/where" },
    { "nbd://host/x", "nbd://host/x" },
    { "json:{}", "json:{}" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const TestQcow2 what = { .backing = cases[i].name, .backing_format = "raw" };
      g_autofree char *path = test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what));
      g_autoptr (ImagoImageInfo) info = info_of (path, "qcow2");

      g_assert_cmpstr (imago_image_info_get_backing_filename (info), ==, cases[i].name);
      g_assert_cmpstr (imago_image_info_get_full_backing_filename (info), ==, cases[i].full);
      g_assert_cmpstr (imago_image_info_get_backing_format_name (info), ==, "raw");
    }
}

/* Written by qemu-img with what is asserted here. */
static void
test_qcow2 (Fixture *fixture, gconstpointer data)
{
  g_autofree char *base = test_write (fixture->folder, "base.raw", test_pattern_new (4096, 1));
  g_autofree char *path = test_path (fixture->folder, "disk.qcow2");
  g_autoptr (ImagoImageInfo) info = NULL;
  g_autoptr (ImagoSnapshot) snapshot = NULL;
  g_autoptr (ImagoBitmap) bitmap = NULL;
  gint64 now = g_get_real_time ();

  if (!test_run ("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                 "compat=1.1,cluster_size=32k,refcount_bits=32,lazy_refcounts=on,extended_l2=on,"
                 "compression_type=zstd",
                 "-b", "base.raw", "-F", "raw", path, "7M", NULL))
    return;
  test_run ("qemu-img", "snapshot", "-c", "first", path, NULL);
  test_run ("qemu-img", "bitmap", "--add", "-g", "128k", path, "backup", NULL);
  test_run ("qemu-img", "bitmap", "--add", "--disable", path, "frozen", NULL);
  info = info_of (path, "qcow2");
  g_assert_cmpstr (imago_image_info_get_format_name (info), ==, "qcow2");
  g_assert_cmpuint (imago_image_info_get_virtual_size (info), ==, 7 << 20);
  g_assert_cmpuint (imago_image_info_get_actual_size (info), ==, usage_of (path));
  g_assert_cmpuint (imago_image_info_get_cluster_size (info), ==, 32768);
  g_assert_cmpstr (imago_image_info_get_compat (info), ==, "1.1");
  g_assert_cmpstr (imago_image_info_get_compression_type (info), ==, "zstd");
  g_assert_cmpuint (imago_image_info_get_refcount_bits (info), ==, 32);
  g_assert_true (imago_image_info_get_lazy_refcounts (info));
  g_assert_true (imago_image_info_get_extended_l2 (info));
  g_assert_false (imago_image_info_get_dirty (info));
  g_assert_cmpstr (imago_image_info_get_backing_filename (info), ==, "base.raw");
  g_assert_cmpstr (imago_image_info_get_full_backing_filename (info), ==, base);

  g_assert_cmpuint (g_list_model_get_n_items (imago_image_info_get_snapshots (info)), ==, 1);
  snapshot = g_list_model_get_item (imago_image_info_get_snapshots (info), 0);
  g_assert_cmpstr (imago_snapshot_get_id (snapshot), ==, "1");
  g_assert_cmpstr (imago_snapshot_get_name (snapshot), ==, "first");
  g_assert_cmpuint (imago_snapshot_get_disk_size (snapshot), ==, 7 << 20);
  g_assert_cmpint (ABS (imago_snapshot_get_date_usec (snapshot) - now), <, 60 * G_USEC_PER_SEC);

  g_assert_cmpuint (g_list_model_get_n_items (imago_image_info_get_bitmaps (info)), ==, 2);
  bitmap = g_list_model_get_item (imago_image_info_get_bitmaps (info), 0);
  g_assert_cmpstr (imago_bitmap_get_name (bitmap), ==, "backup");
  g_assert_cmpuint (imago_bitmap_get_granularity (bitmap), ==, 128 << 10);
  g_assert_true (imago_bitmap_get_recording (bitmap));
  g_assert_false (imago_bitmap_get_in_use (bitmap));
}

static void
test_data_file (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_path (fixture->folder, "disk.qcow2");
  g_autofree char *data_file = test_path (fixture->folder, "disk.data");
  g_autofree char *options = g_strdup_printf ("data_file=%s,data_file_raw=on", data_file);
  g_autoptr (ImagoImageInfo) info = NULL;

  if (!test_run ("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "1M", NULL))
    return;
  info = info_of (path, "qcow2");
  g_assert_cmpstr (imago_image_info_get_data_file (info), ==, data_file);
  g_assert_true (imago_image_info_get_data_file_raw (info));
  g_assert_null (imago_image_info_get_backing_filename (info));
}

/* Every property says what its getter says. */
static void
test_properties (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .backing = "b", .backing_format = "raw" };
  g_autofree char *path = test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what));
  g_autoptr (ImagoImageInfo) info = info_of (path, "qcow2");
  g_autofree char *filename = NULL;
  g_autofree char *compat = NULL;
  g_autofree char *backing = NULL;
  g_autoptr (GListModel) snapshots = NULL;
  g_autofree GParamSpec **specs = NULL;
  guint64 virtual_size, cluster_size;
  guint refcount_bits, n_specs;
  gboolean dirty;

  g_object_get (info, "filename", &filename, "virtual-size", &virtual_size, "cluster-size",
                &cluster_size, "compat", &compat, "backing-filename", &backing, "refcount-bits",
                &refcount_bits, "dirty", &dirty, "snapshots", &snapshots, NULL);
  g_assert_cmpstr (filename, ==, path);
  g_assert_cmpuint (virtual_size, ==, 1 << 20);
  g_assert_cmpuint (cluster_size, ==, TEST_QCOW2_CLUSTER);
  g_assert_cmpstr (compat, ==, "1.1");
  g_assert_cmpstr (backing, ==, "b");
  g_assert_cmpuint (refcount_bits, ==, 16);
  g_assert_false (dirty);
  g_assert_true (snapshots == imago_image_info_get_snapshots (info));

  specs = g_object_class_list_properties (G_OBJECT_GET_CLASS (info), &n_specs);
  g_assert_cmpuint (n_specs, ==, 20);
  for (guint i = 0; i < n_specs; i++)
    {
      g_auto (GValue) value = G_VALUE_INIT;

      g_assert_false (specs[i]->flags & G_PARAM_WRITABLE);
      g_object_get_property (G_OBJECT (info), specs[i]->name, &value);
    }
}

#define ADD(name, func) g_test_add ("/image-info/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  ADD ("raw", test_raw);
  ADD ("memory", test_memory);
  ADD ("encrypted", test_encrypted);
  ADD ("full-name", test_full_name);
  ADD ("qcow2", test_qcow2);
  ADD ("data-file", test_data_file);
  ADD ("properties", test_properties);
  return g_test_run ();
}
