/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Images that are written: what opening them takes, each change, failures, closing and letting go. The
 * situations of asynchronous calls are in test-async.c. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-gate.h"
#include "test-images.h"

#define CLUSTER TEST_QCOW2_CLUSTER
#define SIZE (1024 * 1024)

/* ---- a storage that stops working ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  gint flush_fails; /* atomic, as the next ones */
  gint n_flushes;
  gint n_changes;   /* but for flushes */
} Fragile;

static void
fragile_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Fragile *fragile = (Fragile *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (ios[i].op == IMG_IO_FLUSH)
        g_atomic_int_inc (&fragile->n_flushes);
      else if (ios[i].op != IMG_IO_READ)
        g_atomic_int_inc (&fragile->n_changes);
      if (ios[i].op == IMG_IO_FLUSH && g_atomic_int_get (&fragile->flush_fails))
        {
          img_error_set_errno (&error, EIO, "The disk is on fire");
          img_io_complete (&ios[i], error);
        }
      else
        img_storage_submit (fragile->base, &ios[i], 1);
    }
}

static gboolean
fragile_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Fragile *) storage)->base, size, error);
}

static void
fragile_free (ImgStorage *storage)
{
  img_storage_unref (((Fragile *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass fragile_class = {
  .type_name = "fragile",
  .submit = fragile_submit,
  .get_size = fragile_get_size,
  .free = fragile_free,
};

/* Takes @content. */
static Fragile *
fragile_new (GByteArray *content)
{
  Fragile *fragile = g_new0 (Fragile, 1);

  img_storage_init (&fragile->parent, &fragile_class, "fragile");
  fragile->parent.can_write = TRUE;
  fragile->base = img_memory_storage_new_writable (0);
  g_assert_true (img_storage_write (fragile->base, 0, content->data, content->len, NULL));
  g_byte_array_unref (content);
  return fragile;
}

/* ---- helpers ---- */

typedef struct
{
  char *folder;
  char *path; /* an empty qcow2 image */
  GFile *file;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
  fixture->path =
    test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  fixture->file = g_file_new_for_path (fixture->path);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_object_unref (fixture->file);
  g_free (fixture->path);
  test_folder_remove (fixture->folder);
}

static ImagoOpenOptions *
options_new (const char *format_name, ImagoReferencePolicy *policy)
{
  return g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", format_name, "writable", TRUE,
                       "reference-policy", policy, NULL);
}

static ImagoImage *
open_file (GFile *file, const char *format_name, GError **error)
{
  g_autoptr (ImagoOpenOptions) options = options_new (format_name, NULL);

  return imago_image_open (file, options, NULL, error);
}

static ImagoImage *
open_core (ImgStorage *core, const char *format_name)
{
  g_autoptr (ImagoOpenOptions) options = options_new (format_name, NULL);
  g_autoptr (ImagoStorage) storage = imago_storage_new_from_core (core);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (imago_image_get_writable (image));
  return image;
}

static GBytes *
pattern (gsize size, guint8 seed)
{
  return test_to_bytes (test_pattern_new (size, seed));
}

static void
write_pattern (ImagoImage *image, guint64 offset, gsize size, guint8 seed)
{
  g_autoptr (GBytes) bytes = pattern (size, seed);
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_image_write_bytes (image, offset, bytes, NULL, &error));
  g_assert_no_error (error);
}

static void
check_pattern (ImagoImage *image, guint64 offset, gsize size, guint8 seed)
{
  g_autoptr (GBytes) wanted = pattern (size, seed);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) got = imago_image_read_bytes (image, offset, size, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (g_bytes_equal (got, wanted));
}

static void
check_zero (ImagoImage *image, guint64 offset, gsize size)
{
  g_autofree guint8 *zeroes = g_malloc0 (size);
  g_autofree guint8 *got = g_malloc (size);
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_image_read_at (image, offset, got, size, NULL, &error));
  g_assert_cmpmem (got, size, zeroes, size);
}

/* What an independent program says, where there is one. */
static void
judge (const char *path)
{
  g_autofree char *program = g_find_program_in_path ("qemu-img");

  if (program != NULL)
    test_run ("qemu-img", "check", "-q", "-f", "qcow2", path, NULL);
  else
    g_test_message ("qemu-img is not installed: the image was not checked by it");
}

static void
close_image (ImagoImage *image)
{
  g_autoptr (GError) error = NULL;

  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

/* ---- opening ---- */

static void
test_guess (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoOpenOptions) options = options_new (NULL, NULL);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (SIZE);
  g_autoptr (GError) error = NULL;
  struct stat before, after;

  g_assert_cmpint (stat (fixture->path, &before), ==, 0);
  g_assert_null (open_file (fixture->file, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
  g_assert_nonnull (strstr (error->message, "format-name"));
  g_clear_error (&error);
  g_assert_null (imago_image_open_storage (storage, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
  g_assert_cmpint (stat (fixture->path, &after), ==, 0);
  g_assert_cmpint (before.st_mtim.tv_nsec, ==, after.st_mtim.tv_nsec);
}

static void
test_read_only_storage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoStorage) storage =
    imago_file_storage_open (fixture->file, IMAGO_STORAGE_NONE, NULL, &error);
  g_autoptr (ImagoStorage) writable =
    imago_file_storage_open (fixture->file, IMAGO_STORAGE_WRITABLE, NULL, &error);
  g_autoptr (ImagoImage) image = NULL;

  g_assert_no_error (error);
  g_assert_false (imago_storage_get_writable (storage));
  g_assert_true (imago_storage_get_writable (writable));
  g_assert_null (imago_image_open_storage (storage, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_clear_error (&error);
  image = imago_image_open_storage (writable, options, NULL, &error);
  g_assert_no_error (error);
  write_pattern (image, 5, 500, 1);
  close_image (image);
  judge (fixture->path);
}

static void
test_descriptor (Fixture *fixture, gconstpointer data)
{
  int read_fd = open (fixture->path, O_RDONLY | O_CLOEXEC);
  int write_fd = open (fixture->path, O_RDWR | O_CLOEXEC);
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2", NULL);
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_file_storage_open_fd (read_fd, "x", IMAGO_STORAGE_WRITABLE, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  storage = imago_file_storage_open_fd (write_fd, "x", IMAGO_STORAGE_WRITABLE, &error);
  g_assert_no_error (error);
  close (read_fd);
  close (write_fd);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  write_pattern (image, 5, 500, 1);
  close_image (image);
  judge (fixture->path);
}

/* Reading needs less. */
static void
test_no_permission (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  if (geteuid () == 0)
    {
      g_test_skip ("permissions do not stop the superuser");
      return;
    }
  g_assert_cmpint (chmod (fixture->path, 0400), ==, 0);
  g_assert_null (open_file (fixture->file, "qcow2", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
  g_clear_error (&error);
  image = imago_image_open (fixture->file, NULL, NULL, &error);
  g_assert_no_error (error);
  close_image (image);
}

static void
test_missing_file (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_path (fixture->folder, "nothing.raw");
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GError) error = NULL;

  g_assert_null (open_file (file, "raw", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_false (g_file_query_exists (file, NULL));
}

/* ---- references ---- */

static void
write_overlay (Fixture *fixture, const char *name)
{
  const TestQcow2 what = { .size = SIZE, .backing = "base.qcow2", .backing_format = "qcow2" };

  g_free (test_write (fixture->folder, "base.qcow2", test_qcow2_new (&(TestQcow2){ .size = SIZE })));
  g_free (test_write (fixture->folder, name, test_qcow2_new (&what)));
}

static ImagoImage *
open_named (Fixture *fixture, const char *name, ImagoReferencePolicy *policy, GError **error)
{
  g_autofree char *path = test_path (fixture->folder, name);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2", policy);

  return imago_image_open (file, options, NULL, error);
}

/* Only the top of a chain is written. */
static void
test_backing_is_read_only (Fixture *fixture, gconstpointer data)
{
  ImagoReferencePolicy *policies[] = { imago_same_directory_policy_new (),
                                       imago_permissive_policy_new () };
  g_autofree char *base = test_path (fixture->folder, "base.qcow2");

  for (guint i = 0; i < G_N_ELEMENTS (policies); i++)
    {
      g_autoptr (ImagoImage) image = NULL;
      g_autoptr (ImagoImage) backing = NULL;
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) bytes = pattern (10, 1);
      struct stat before, after;

      write_overlay (fixture, "overlay.qcow2");
      g_assert_cmpint (stat (base, &before), ==, 0);
      image = open_named (fixture, "overlay.qcow2", policies[i], &error);
      g_assert_no_error (error);
      backing = imago_image_dup_backing (image);
      g_assert_true (imago_image_get_writable (image));
      g_assert_false (imago_image_get_writable (backing));
      g_assert_false (imago_storage_get_writable (imago_image_get_storage (backing)));
      g_assert_false (imago_image_write_bytes (backing, 0, bytes, NULL, &error));
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
      write_pattern (image, 70000, 1000, 3);
      close_image (image);
      g_assert_cmpint (stat (base, &after), ==, 0);
      g_assert_cmpint (before.st_mtim.tv_nsec, ==, after.st_mtim.tv_nsec);
      g_object_unref (policies[i]);
    }
}

/* The application's own image below may be written by itself. Version 2 has no state for zeroes: it can do
 * without them only where nothing is below. */
static void
test_written_backing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2", NULL);
  g_autoptr (ImagoImage) base = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *path =
    test_write (fixture->folder, "base.qcow2", test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  GByteArray *top = test_qcow2_new (&(TestQcow2){ .size = SIZE });

  test_put_be32 (top, TEST_QCOW2_VERSION, 2);
  g_free (test_write (fixture->folder, "disk.qcow2", top));
  base = open_file (file, "qcow2", &error);
  g_assert_no_error (error);
  write_pattern (base, 0, 2 * CLUSTER, 1);
  imago_open_options_set_defer_references (options, TRUE);
  image = imago_image_open (fixture->file, options, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (imago_image_set_backing (image, base, &error));
  g_assert_true (imago_image_open_references (image, NULL, &error));
  check_pattern (image, 0, 2 * CLUSTER, 1);
  write_pattern (image, 100, 100, 2);
  /* What is zero here must not let the image below shine through, though no backing file is named. */
  g_assert_true (
    imago_image_discard (image, CLUSTER, CLUSTER, IMAGO_DISCARD_ZERO, NULL, &error));
  check_zero (image, CLUSTER, CLUSTER);
  g_assert_true (
    imago_image_discard (image, CLUSTER, CLUSTER, IMAGO_DISCARD_BACKING, NULL, &error));
  g_assert_true (imago_image_discard (image, 0, CLUSTER, IMAGO_DISCARD_BACKING, NULL, &error));
  check_pattern (image, 0, 2 * CLUSTER, 1);
  g_assert_no_error (error);
  close_image (image);
  close_image (base);
  judge (fixture->path);
  judge (path);
}

static void
write_with_data_file (Fixture *fixture)
{
  const TestQcow2 what = { .size = SIZE, .data_file = "disk.data" };
  GByteArray *data = g_byte_array_new ();

  g_byte_array_set_size (data, SIZE);
  memset (data->data, 0, SIZE);
  g_free (test_write (fixture->folder, "disk.data", data));
  g_free (test_write (fixture->folder, "external.qcow2", test_qcow2_new (&what)));
}

static void
check_data_file_is_written (Fixture *fixture, ImagoImage *image)
{
  g_autofree char *path = test_path (fixture->folder, "disk.data");
  g_autofree char *content = NULL;
  g_autoptr (GBytes) wanted = pattern (1000, 5);
  gsize length;

  write_pattern (image, 3 * CLUSTER + 17, 1000, 5);
  close_image (image);
  g_assert_true (g_file_get_contents (path, &content, &length, NULL));
  g_assert_cmpuint (length, >=, 3 * CLUSTER + 17 + 1000);
  g_assert_cmpmem (content + 3 * CLUSTER + 17, 1000, g_bytes_get_data (wanted, NULL), 1000);
}

static void
test_data_file (Fixture *fixture, gconstpointer data)
{
  ImagoReferencePolicy *policies[] = { imago_same_directory_policy_new (),
                                       imago_permissive_policy_new () };

  for (guint i = 0; i < G_N_ELEMENTS (policies); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoImage) image = NULL;

      write_with_data_file (fixture);
      image = open_named (fixture, "external.qcow2", policies[i], &error);
      g_assert_no_error (error);
      check_data_file_is_written (fixture, image);
      g_object_unref (policies[i]);
    }
}

static void
test_data_file_denied (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_deny_policy_new ();
  g_autoptr (GError) error = NULL;

  write_with_data_file (fixture);
  g_assert_null (open_named (fixture, "external.qcow2", policy, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
}

static ImagoStorage *
open_data_file (Fixture *fixture, ImagoStorageFlags flags)
{
  g_autofree char *path = test_path (fixture->folder, "disk.data");
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GError) error = NULL;
  ImagoStorage *storage = imago_file_storage_open (file, flags, NULL, &error);

  g_assert_no_error (error);
  return storage;
}

static void
test_data_file_mapped (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoMapPolicy) policy = imago_map_policy_new ();
  g_autoptr (ImagoStorage) read_only = NULL;
  g_autoptr (ImagoStorage) writable = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  write_with_data_file (fixture);
  read_only = open_data_file (fixture, IMAGO_STORAGE_NONE);
  writable = open_data_file (fixture, IMAGO_STORAGE_WRITABLE);
  imago_map_policy_add (policy, "disk.data", read_only, NULL);
  g_assert_null (
    open_named (fixture, "external.qcow2", IMAGO_REFERENCE_POLICY (policy), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_assert_nonnull (strstr (error->message, "disk.data"));
  g_clear_error (&error);
  imago_map_policy_add (policy, "disk.data", writable, NULL);
  image = open_named (fixture, "external.qcow2", IMAGO_REFERENCE_POLICY (policy), &error);
  g_assert_no_error (error);
  check_data_file_is_written (fixture, image);
}

static gboolean
grant_cb (ImagoReference *reference, gpointer data, GError **error)
{
  Fixture *fixture = data;
  g_autoptr (ImagoStorage) storage = NULL;
  gboolean needs_write;

  g_object_get (reference, "needs-write", &needs_write, NULL);
  g_assert_true (needs_write);
  g_assert_true (imago_reference_get_needs_write (reference));
  storage = open_data_file (fixture, IMAGO_STORAGE_WRITABLE);
  imago_reference_grant (reference, storage);
  return TRUE;
}

static void
test_data_file_asked (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (grant_cb, fixture, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  write_with_data_file (fixture);
  image = open_named (fixture, "external.qcow2", policy, &error);
  g_assert_no_error (error);
  check_data_file_is_written (fixture, image);
}

/* ---- changes ---- */

static void
test_changes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", &error);
  g_autoptr (GBytes) cluster = pattern (CLUSTER, 0);
  g_autoptr (ImagoExtent) extent = NULL;
  const guint8 one[] = "one", two[] = "two";
  const struct iovec vectors[] = { { (gpointer) one, 3 }, { NULL, 0 }, { (gpointer) two, 3 } };
  guint8 got[6];

  g_assert_no_error (error);
  write_pattern (image, 1000, 100000, 1);
  g_assert_true (imago_image_write_at (image, 2 * CLUSTER, one, 3, NULL, &error));
  g_assert_true (imago_image_write_at (image, SIZE, NULL, 0, NULL, &error));
  g_assert_true (imago_image_writev_at (image, SIZE - 6, vectors, 3, NULL, &error));
  g_assert_true (imago_image_read_at (image, SIZE - 6, got, 6, NULL, &error));
  g_assert_cmpmem (got, 6, "onetwo", 6);
  check_pattern (image, 1000, 100000, 1);

  g_assert_false (imago_image_write_zeroes (image, 1000, 100, IMAGO_ZERO_NO_FALLBACK, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  check_pattern (image, 1000, 100000, 1);
  g_assert_true (
    imago_image_write_zeroes (image, 1000, 100000, IMAGO_ZERO_NONE, NULL, &error));
  check_zero (image, 0, 2 * CLUSTER);
  g_assert_true (imago_image_write_compressed (image, 4 * CLUSTER, cluster, NULL, &error));
  check_pattern (image, 4 * CLUSTER, CLUSTER, 0);
  extent = imago_image_map (image, 4 * CLUSTER, 1, IMAGO_MAP_NONE, NULL, &error);
  g_assert_cmpint (imago_extent_get_kind (extent), ==, IMAGO_EXTENT_COMPRESSED);
  g_assert_true (imago_image_discard (image, 0, SIZE, IMAGO_DISCARD_NONE, NULL, &error));
  check_pattern (image, 4 * CLUSTER, CLUSTER, 0);
  g_assert_true (imago_image_discard (image, 0, SIZE, IMAGO_DISCARD_ANY, NULL, &error));
  g_assert_true (imago_image_discard (image, 0, SIZE, IMAGO_DISCARD_ZERO, NULL, &error));
  check_zero (image, 0, SIZE);
  g_assert_true (imago_image_flush (image, NULL, &error));
  g_assert_no_error (error);
  close_image (image);
  judge (fixture->path);
}

/* @code of IMAGO_ERROR for a call that returned @success. */
static void
refused (gboolean success, GError **error, ImagoError code)
{
  g_assert_false (success);
  g_assert_error (*error, IMAGO_ERROR, (int) code);
  g_clear_error (error);
}

static void
test_refusals (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", &error);
  g_autoptr (GBytes) bytes = pattern (1000, 1);
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (SIZE);
  g_autoptr (ImagoImage) raw = open_core (imago_storage_get_core (memory), "raw");

  refused (imago_image_write_bytes (image, SIZE - 999, bytes, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_image_write_bytes (image, G_MAXUINT64, bytes, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_image_write_zeroes (image, 0, SIZE + 1, IMAGO_ZERO_NONE, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  for (guint mode = IMAGO_DISCARD_NONE; mode <= IMAGO_DISCARD_BACKING; mode++)
    refused (imago_image_discard (image, SIZE, 1, mode, NULL, &error), &error,
             IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_image_write_compressed (image, 0, bytes, NULL, &error), &error,
           IMAGO_ERROR_FAILED);
  refused (imago_image_write_compressed (raw, 0, bytes, NULL, &error), &error,
           IMAGO_ERROR_UNSUPPORTED);
  refused (imago_image_resize (image, SIZE / 2, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, NULL,
                               &error),
           &error, IMAGO_ERROR_FAILED);
  refused (imago_image_resize (image, SIZE / 2, IMAGO_RESIZE_MAY_SHRINK, IMAGO_PREALLOCATION_FULL,
                               NULL, &error),
           &error, IMAGO_ERROR_INVALID_OPTION);
  refused (imago_image_resize (image, G_MAXUINT64, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE,
                               NULL, &error),
           &error, IMAGO_ERROR_LIMIT_EXCEEDED);
  g_assert_false (imago_image_resize (image, G_MAXINT64, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, NULL, &error));
  g_assert_nonnull (strstr (error->message, " 9223372036854775807 bytes"));
  g_clear_error (&error);
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  check_zero (image, 0, SIZE);
  close_image (image);
  refused (imago_image_write_bytes (image, 0, bytes, NULL, &error), &error, IMAGO_ERROR_CLOSED);
  refused (imago_image_flush (image, NULL, &error), &error, IMAGO_ERROR_CLOSED);
  refused (imago_image_discard (image, 0, 1, IMAGO_DISCARD_NONE, NULL, &error), &error,
           IMAGO_ERROR_CLOSED);
  g_assert_true (imago_image_get_writable (image));
}

static void
test_not_writable (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (fixture->file, NULL, NULL, &error);
  g_autoptr (GBytes) bytes = pattern (CLUSTER, 1);

  g_assert_no_error (error);
  g_assert_false (imago_image_get_writable (image));
  refused (imago_image_write_bytes (image, 0, bytes, NULL, &error), &error, IMAGO_ERROR_READ_ONLY);
  refused (imago_image_write_compressed (image, 0, bytes, NULL, &error), &error,
           IMAGO_ERROR_READ_ONLY);
  refused (imago_image_write_zeroes (image, 0, 1, IMAGO_ZERO_NONE, NULL, &error), &error,
           IMAGO_ERROR_READ_ONLY);
  refused (imago_image_discard (image, 0, 1, IMAGO_DISCARD_NONE, NULL, &error), &error,
           IMAGO_ERROR_READ_ONLY);
  refused (imago_image_resize (image, SIZE, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, NULL,
                               &error),
           &error, IMAGO_ERROR_READ_ONLY);
  g_assert_true (imago_image_flush (image, NULL, &error));
  close_image (image);
}

static void
count_cb (GObject *object, GParamSpec *pspec, gpointer data)
{
  ++*(guint *) data;
}

static void
test_resize (Fixture *fixture, gconstpointer data)
{
  const ImagoPreallocation modes[] = { IMAGO_PREALLOCATION_NONE, IMAGO_PREALLOCATION_METADATA,
                                       IMAGO_PREALLOCATION_FALLOC, IMAGO_PREALLOCATION_FULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", &error);
  guint n_notified = 0;
  guint64 size = SIZE;

  g_assert_no_error (error);
  g_signal_connect (image, "notify::size", G_CALLBACK (count_cb), &n_notified);
  write_pattern (image, SIZE - 1000, 1000, 1);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      size += 3 * CLUSTER + 511;
      g_assert_true (
        imago_image_resize (image, size, IMAGO_RESIZE_NONE, modes[i], NULL, &error));
      g_assert_no_error (error);
      size = (size + 511) / 512 * 512;
      g_assert_cmpuint (imago_image_get_size (image), ==, size);
      g_assert_cmpuint (n_notified, ==, i + 1);
    }
  check_pattern (image, SIZE - 1000, 1000, 1);
  check_zero (image, SIZE, size - SIZE);
  g_assert_true (imago_image_resize (image, SIZE - 512, IMAGO_RESIZE_MAY_SHRINK,
                                     IMAGO_PREALLOCATION_NONE, NULL, &error));
  g_assert_true (
    imago_image_resize (image, SIZE, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, NULL, &error));
  check_zero (image, SIZE - 512, 512);
  g_assert_cmpuint (n_notified, ==, 6);
  close_image (image);
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  judge (fixture->path);
}

/* The file must not end before the clusters that were mapped. */
static void
test_resize_metadata (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", &error);
  g_autoptr (ImagoExtent) extent = NULL;
  guint64 host_offset;
  struct stat st;

  g_assert_true (imago_image_resize (image, 4 * SIZE, IMAGO_RESIZE_NONE,
                                     IMAGO_PREALLOCATION_METADATA, NULL, &error));
  g_assert_no_error (error);
  extent = imago_image_map (image, 4 * SIZE - CLUSTER, CLUSTER, IMAGO_MAP_NONE, NULL, &error);
  g_assert_true (imago_extent_get_host_offset (extent, &host_offset));
  close_image (image);
  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  g_assert_cmpuint (st.st_size, >=, host_offset + CLUSTER);
  g_assert_cmpuint (st.st_blocks * 512, <, SIZE);
  judge (fixture->path);
}

/* The notification comes from the context of the request, before its callback. */
static void
test_resize_async (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", NULL);
  guint n_notified = 0;
  TestSlot slot = { 0 };

  g_signal_connect (image, "notify::size", G_CALLBACK (count_cb), &n_notified);
  imago_image_resize_async (image, 2 * SIZE, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, 0, NULL,
                            test_result_cb, &slot);
  g_assert_cmpuint (n_notified, ==, 0);
  g_assert_true (imago_image_resize_finish (image, test_slot_wait (&slot), NULL));
  g_assert_cmpuint (n_notified, ==, 1);
  g_assert_cmpuint (imago_image_get_size (image), ==, 2 * SIZE);
  test_slot_clear (&slot);
  close_image (image);
}

/* A disk is described before or after its size changes, never in between. */
static void
test_query_while_resizing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", NULL);
  TestSlot slots[20] = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    imago_image_resize_async (image, i % 2 == 0 ? 2 * SIZE : SIZE, IMAGO_RESIZE_MAY_SHRINK,
                              IMAGO_PREALLOCATION_NONE, 0, NULL, test_result_cb, &slots[i]);
  for (guint i = 0; i < 200; i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoImageInfo) info = imago_image_query_info (image, NULL, &error);
      g_autoptr (GListModel) list = imago_image_list_snapshots (image, NULL, &error);
      guint64 size;

      g_assert_no_error (error);
      size = imago_image_info_get_virtual_size (info);
      g_assert_true (size == SIZE || size == 2 * SIZE);
      g_assert_cmpuint (g_list_model_get_n_items (list), ==, 0);
    }
  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    {
      g_assert_true (imago_image_resize_finish (image, test_slot_wait (&slots[i]), NULL));
      test_slot_clear (&slots[i]);
    }
  close_image (image);
  judge (fixture->path);
}

#define N_WRITES 64

/* As many at once as an application likes, and reads between them. */
static void
test_many (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", NULL);
  TestSlot writes[N_WRITES] = { 0 };
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_WRITES; i++)
    {
      g_autoptr (GBytes) bytes = pattern (SIZE / N_WRITES, i);

      imago_image_write_bytes_async (image, (guint64) i * (SIZE / N_WRITES), bytes, 0, NULL,
                                     test_result_cb, &writes[i]);
    }
  for (guint i = 0; i < N_WRITES; i++)
    {
      g_assert_true (imago_image_write_bytes_finish (image, test_slot_wait (&writes[i]), &error));
      test_slot_clear (&writes[i]);
      check_pattern (image, (guint64) i * (SIZE / N_WRITES), SIZE / N_WRITES, i);
    }
  close_image (image);
  judge (fixture->path);
}

/* ---- durability ---- */

static void
test_close_flushes (Fixture *fixture, gconstpointer data)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  g_autoptr (ImagoImage) image = open_core (&fragile->parent, "qcow2");
  g_autoptr (ImagoImage) again = NULL;
  gint n_flushes;

  write_pattern (image, 0, 3 * CLUSTER, 1);
  n_flushes = g_atomic_int_get (&fragile->n_flushes);
  close_image (image);
  g_assert_cmpint (g_atomic_int_get (&fragile->n_flushes), >, n_flushes);
  again = open_core (&fragile->parent, "qcow2");
  check_pattern (again, 0, 3 * CLUSTER, 1);
  close_image (again);
  g_clear_object (&image);
  g_clear_object (&again);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
}

static void
test_close_fails (Fixture *fixture, gconstpointer data)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  g_autoptr (ImagoImage) image = open_core (&fragile->parent, "qcow2");
  g_autoptr (GError) error = NULL;
  TestSlot slots[2] = { 0 };

  write_pattern (image, 0, CLUSTER, 1);
  g_atomic_int_set (&fragile->flush_fails, TRUE);
  imago_image_close_async (image, 0, NULL, test_result_cb, &slots[0]);
  imago_image_close_async (image, 0, NULL, test_result_cb, &slots[1]);
  for (guint i = 0; i < 2; i++)
    {
      g_assert_false (imago_image_close_finish (image, test_slot_wait (&slots[i]), &error));
      g_assert_nonnull (strstr (error->message, "on fire"));
      g_clear_error (&error);
      test_slot_clear (&slots[i]);
    }
  /* Closed all the same, and the verdict stays. */
  g_assert_false (imago_image_close (image, NULL, &error));
  g_assert_nonnull (strstr (error->message, "on fire"));
  g_clear_error (&error);
  g_assert_false (imago_image_flush (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_clear_object (&image);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
}

static void
test_poison (Fixture *fixture, gconstpointer data)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  g_autoptr (ImagoImage) image = open_core (&fragile->parent, "qcow2");
  g_autoptr (GBytes) bytes = pattern (CLUSTER, 7);
  g_autoptr (GError) error = NULL;
  gint n_changes;

  write_pattern (image, 0, CLUSTER, 1);
  g_atomic_int_set (&fragile->flush_fails, TRUE);
  g_assert_false (imago_image_flush (image, NULL, &error));
  g_assert_nonnull (strstr (error->message, "on fire"));
  g_clear_error (&error);
  g_atomic_int_set (&fragile->flush_fails, FALSE);
  n_changes = g_atomic_int_get (&fragile->n_changes);
  refused (imago_image_flush (image, NULL, &error), &error, IMAGO_ERROR_FLUSH_FAILED);
  refused (imago_image_write_bytes (image, 4 * CLUSTER, bytes, NULL, &error), &error,
           IMAGO_ERROR_FLUSH_FAILED);
  refused (imago_image_write_zeroes (image, 0, CLUSTER, IMAGO_ZERO_UNMAP, NULL, &error), &error,
           IMAGO_ERROR_FLUSH_FAILED);
  check_pattern (image, 0, CLUSTER, 1);
  refused (imago_image_close (image, NULL, &error), &error, IMAGO_ERROR_FLUSH_FAILED);
  g_assert_cmpint (g_atomic_int_get (&fragile->n_changes), ==, n_changes);
  g_clear_object (&image);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
}

/* Requests that are in flight are part of what closing makes durable. */
static void
test_close_with_requests (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = open_file (fixture->file, "qcow2", NULL);
  TestSlot writes[N_WRITES] = { 0 };
  TestSlot close_slot = { 0 };
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_WRITES; i++)
    {
      g_autoptr (GBytes) bytes = pattern (SIZE / N_WRITES, i);

      imago_image_write_bytes_async (image, (guint64) i * (SIZE / N_WRITES), bytes, 0, NULL,
                                     test_result_cb, &writes[i]);
    }
  imago_image_close_async (image, 0, NULL, test_result_cb, &close_slot);
  for (guint i = 0; i < N_WRITES; i++)
    {
      g_assert_true (imago_image_write_bytes_finish (image, test_slot_wait (&writes[i]), &error));
      test_slot_clear (&writes[i]);
    }
  g_assert_true (imago_image_close_finish (image, test_slot_wait (&close_slot), &error));
  test_slot_clear (&close_slot);
  g_clear_object (&image);
  judge (fixture->path);
  image = imago_image_open (fixture->file, NULL, NULL, &error);
  for (guint i = 0; i < N_WRITES; i++)
    check_pattern (image, (guint64) i * (SIZE / N_WRITES), SIZE / N_WRITES, i);
}

/* ---- letting go ---- */

static void
test_dropped (Fixture *fixture, gconstpointer data)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  ImagoImage *image = open_core (&fragile->parent, "qcow2");
  g_autoptr (ImagoImage) again = NULL;

  write_pattern (image, 0, 3 * CLUSTER, 1);
  g_object_unref (image);
  test_gate_wait_unused (&fragile->parent);
  again = open_core (&fragile->parent, "qcow2");
  check_pattern (again, 0, 3 * CLUSTER, 1);
  close_image (again);
  g_clear_object (&again);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
}

/* The last reference may go while a write is under way. */
static void
test_dropped_in_flight (Fixture *fixture, gconstpointer data)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  ImagoImage *image = open_core (&fragile->parent, "qcow2");
  g_autoptr (ImagoImage) again = NULL;
  g_autoptr (GBytes) bytes = pattern (3 * CLUSTER, 1);

  imago_image_write_bytes_async (image, 0, bytes, 0, NULL, NULL, NULL);
  g_object_unref (image);
  while (!g_atomic_ref_count_compare (&fragile->parent.ref_count, 1))
    if (!g_main_context_iteration (NULL, FALSE))
      g_usleep (100);
  again = open_core (&fragile->parent, "qcow2");
  check_pattern (again, 0, 3 * CLUSTER, 1);
  close_image (again);
  g_clear_object (&again);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
}

static GLogWriterOutput
count_message_cb (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE") && strstr (fields[i].value, "on fire") != NULL)
      {
        g_assert_cmpuint (level & G_LOG_LEVEL_MASK, ==, G_LOG_LEVEL_MESSAGE);
        g_atomic_int_inc ((gint *) data);
      }
  return G_LOG_WRITER_HANDLED;
}

/* Nobody is left to be told: the log is. */
static void
drop_failing (void)
{
  Fragile *fragile = fragile_new (test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  ImagoImage *image = open_core (&fragile->parent, "qcow2");
  static gint n_messages;

  g_log_set_writer_func (count_message_cb, &n_messages, NULL);
  write_pattern (image, 0, CLUSTER, 1);
  g_atomic_int_set (&fragile->flush_fails, TRUE);
  g_object_unref (image);
  test_gate_wait_unused (&fragile->parent);
  img_storage_unref (&fragile->parent);
  if (g_atomic_int_get (&n_messages) != 1)
    g_error ("%d messages", n_messages);
}

/* A writer of the log can be set only once a process. */
static void
test_dropped_failing (Fixture *fixture, gconstpointer data)
{
  if (g_test_subprocess ())
    {
      drop_failing ();
      return;
    }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_passed ();
}

/* ---- what is opened how ---- */

static gboolean
can_trace (void)
{
  const char *argv[] = { "strace", "-o", "/dev/null", "true", NULL };
  int status = -1;

  return g_spawn_sync (NULL, (char **) argv, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                         G_SPAWN_STDERR_TO_DEV_NULL,
                       NULL, NULL, NULL, NULL, &status, NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

/* Run under strace: opens the overlay in @folder and reads, and writes if asked to. */
static int
run_traced (const char *folder, const char *how)
{
  g_autofree char *path = test_path (folder, "overlay.qcow2");
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  gboolean writable = g_str_equal (how, "write");
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "reference-policy", policy,
                  "writable", writable, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);

  if (image == NULL)
    g_error ("%s", error->message);
  check_zero (image, 0, 100000);
  if (writable)
    write_pattern (image, 0, 1000, 1);
  close_image (image);
  return 0;
}

/* The lines of a trace of @how that open @name. */
static char *
trace_of (Fixture *fixture, const char *how, const char *name)
{
  g_autofree char *output = test_path (fixture->folder, "trace");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *trace = NULL;
  g_auto (GStrv) lines = NULL;
  GString *found = g_string_new (NULL);

  write_overlay (fixture, "overlay.qcow2");
  test_run ("strace", "-f", "-s", "4096", "-e", "trace=open,openat,openat2,creat,truncate", "-o",
            output, self, "--traced", how, fixture->folder, NULL);
  g_assert_true (g_file_get_contents (output, &trace, NULL, NULL));
  lines = g_strsplit (trace, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    if (strstr (lines[i], name) != NULL)
      g_string_append_printf (found, "%s\n", lines[i]);
  g_test_message ("%s", found->str);
  g_assert_cmpuint (found->len, >, 0);
  return g_string_free (found, FALSE);
}

static gboolean
opens_for_writing (const char *trace)
{
  return strstr (trace, "O_RDWR") != NULL || strstr (trace, "O_WRONLY") != NULL ||
         strstr (trace, "O_CREAT") != NULL || strstr (trace, "O_TRUNC") != NULL;
}

static void
test_open_modes (Fixture *fixture, gconstpointer data)
{
  g_autofree char *read_top = NULL;
  g_autofree char *read_base = NULL;
  g_autofree char *write_top = NULL;
  g_autofree char *write_base = NULL;

  if (!can_trace ())
    {
      g_test_skip ("strace is not installed or not allowed");
      return;
    }
  /* A leak check cannot run in a process that is traced. */
  g_setenv ("ASAN_OPTIONS", "detect_leaks=0", TRUE);
  read_top = trace_of (fixture, "read", "overlay.qcow2");
  read_base = trace_of (fixture, "read", "base.qcow2");
  write_top = trace_of (fixture, "write", "overlay.qcow2");
  write_base = trace_of (fixture, "write", "base.qcow2");
  g_assert_false (opens_for_writing (read_top));
  g_assert_false (opens_for_writing (read_base));
  g_assert_true (opens_for_writing (write_top));
  g_assert_null (strstr (write_top, "O_CREAT"));
  g_assert_null (strstr (write_top, "O_TRUNC"));
  g_assert_false (opens_for_writing (write_base));
}

/* ---- once more, at once ---- */

#define N_AGAIN 1000

static ImagoOpenOptions *
again_options_new (gboolean writable, ImagoReferencePolicy *policy)
{
  return g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", writable, "locking",
                       IMAGO_LOCKING_ON, "reference-policy", policy, NULL);
}

/* What was dropped is flushed and unlocked by a worker: the next one does not find it in use. */
static void
test_again (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < N_AGAIN; i++)
    {
      gboolean writable = i % 3 != 0;
      g_autoptr (ImagoOpenOptions) options = again_options_new (writable, NULL);
      g_autoptr (GError) error = NULL;
      ImagoImage *image = imago_image_open (fixture->file, options, NULL, &error);

      g_assert_no_error (error);
      if (writable)
        write_pattern (image, i * 512 % SIZE, 512, (guint8) i);
      g_object_unref (image);
    }
}

/* The same of a chain, whose lower image is the next one that is written. */
static void
test_again_chain (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_permissive_policy_new ();
  g_autofree char *path = test_path (fixture->folder, "overlay.qcow2");
  g_autoptr (GFile) overlay = g_file_new_for_path (path);

  write_overlay (fixture, "overlay.qcow2");
  for (guint i = 0; i < N_AGAIN; i++)
    {
      g_autoptr (ImagoOpenOptions) options = again_options_new (TRUE, policy);
      g_autofree char *base_path = test_path (fixture->folder, "base.qcow2");
      g_autoptr (GFile) base = g_file_new_for_path (base_path);
      g_autoptr (ImagoImage) below = NULL;
      g_autoptr (GError) error = NULL;
      ImagoImage *image = imago_image_open (overlay, options, NULL, &error);

      g_assert_no_error (error);
      if (i % 2)
        below = imago_image_dup_backing (image);
      g_object_unref (image);
      g_clear_object (&below);
      image = imago_image_open (base, options, NULL, &error);
      g_assert_no_error (error);
      g_object_unref (image);
    }
}

/* By the only worker, which has not come to the old image when it is to open the new one. */
static void
test_again_async (Fixture *fixture, gconstpointer data)
{
  ImgPool *pool = img_pool_new (1, 1);

  img_pool_set_default (pool);
  for (guint i = 0; i < N_AGAIN; i++)
    {
      g_autoptr (ImagoOpenOptions) options = again_options_new (TRUE, NULL);
      g_autoptr (GError) error = NULL;
      TestSlot slot = { 0 };
      ImagoImage *image = open_file (fixture->file, "qcow2", &error);

      g_assert_no_error (error);
      g_object_unref (image);
      imago_image_open_async (fixture->file, options, G_PRIORITY_DEFAULT, NULL, test_result_cb, &slot);
      image = imago_image_open_finish (test_slot_wait (&slot), &error);
      g_assert_no_error (error);
      test_slot_clear (&slot);
      close_image (image);
    }
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

/* Who has it open is still told of. */
static void
test_again_in_use (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoOpenOptions) options = again_options_new (FALSE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) stays = imago_image_open (fixture->file, options, NULL, &error);
  ImagoImage *goes = imago_image_open (fixture->file, options, NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (stays);
  g_object_unref (goes);
  g_assert_null (open_file (fixture->file, "qcow2", &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED);
}

/* ---- storages ---- */

static void
test_storage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (100);
  g_autoptr (ImagoStorage) window = imago_window_storage_new (memory, 10, 50);
  g_autoptr (GBytes) bytes = pattern (20, 1);
  g_autoptr (GBytes) nothing = g_bytes_new (NULL, 0);
  g_autoptr (GBytes) whole = NULL;
  g_autoptr (GError) error = NULL;
  guint64 size;

  g_assert_true (imago_storage_write_bytes (window, 5, bytes, NULL, &error));
  g_assert_true (imago_storage_write_bytes (memory, 1 << 30, nothing, NULL, &error));
  g_assert_true (imago_storage_write_zeroes (memory, 1 << 30, 0, 0, NULL, &error));
  g_assert_true (imago_storage_discard (memory, 1 << 30, 0, NULL, &error));
  g_assert_no_error (error);
  whole = imago_memory_storage_dup_bytes (IMAGO_MEMORY_STORAGE (memory), &error);
  g_assert_cmpuint (g_bytes_get_size (whole), ==, 100);
  g_assert_cmpmem ((const char *) g_bytes_get_data (whole, NULL) + 15, 20,
                   g_bytes_get_data (bytes, NULL), 20);
  refused (imago_storage_write_bytes (window, 31, bytes, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_storage_truncate (window, 51, NULL, &error), &error, IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_storage_write_bytes (memory, G_MAXUINT64 - 3, bytes, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_storage_write_zeroes (memory, 1, G_MAXUINT64, 0, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_storage_discard (memory, 1, G_MAXUINT64, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  refused (imago_storage_truncate (memory, G_MAXUINT64, NULL, &error), &error,
           IMAGO_ERROR_OUT_OF_RANGE);
  g_assert_true (imago_storage_query_size (memory, &size, NULL, &error));
  g_assert_cmpuint (size, ==, 100);
}

static void
test_storage_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GBytes) bytes = pattern (20, 1);
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new (bytes);
  g_autoptr (GBytes) same = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_storage_get_writable (memory));
  refused (imago_storage_write_bytes (memory, 0, bytes, NULL, &error), &error,
           IMAGO_ERROR_READ_ONLY);
  refused (imago_storage_write_zeroes (memory, 0, 1, 0, NULL, &error), &error,
           IMAGO_ERROR_READ_ONLY);
  refused (imago_storage_discard (memory, 0, 1, NULL, &error), &error, IMAGO_ERROR_READ_ONLY);
  refused (imago_storage_truncate (memory, 0, NULL, &error), &error, IMAGO_ERROR_READ_ONLY);
  same = imago_memory_storage_dup_bytes (IMAGO_MEMORY_STORAGE (memory), &error);
  g_assert_true (same == bytes);
}

int
main (int argc, char **argv)
{
  if (argc == 4 && g_str_equal (argv[1], "--traced"))
    return run_traced (argv[3], argv[2]);

  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add ("/glib/write/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("guess", test_guess);
  ADD ("read-only-storage", test_read_only_storage);
  ADD ("descriptor", test_descriptor);
  ADD ("no-permission", test_no_permission);
  ADD ("missing-file", test_missing_file);
  ADD ("backing-is-read-only", test_backing_is_read_only);
  ADD ("written-backing", test_written_backing);
  ADD ("data-file", test_data_file);
  ADD ("data-file-denied", test_data_file_denied);
  ADD ("data-file-mapped", test_data_file_mapped);
  ADD ("data-file-asked", test_data_file_asked);
  ADD ("changes", test_changes);
  ADD ("refusals", test_refusals);
  ADD ("not-writable", test_not_writable);
  ADD ("resize", test_resize);
  ADD ("resize-async", test_resize_async);
  ADD ("resize-metadata", test_resize_metadata);
  ADD ("query-while-resizing", test_query_while_resizing);
  ADD ("many", test_many);
  ADD ("close-flushes", test_close_flushes);
  ADD ("close-fails", test_close_fails);
  ADD ("poison", test_poison);
  ADD ("close-with-requests", test_close_with_requests);
  ADD ("dropped", test_dropped);
  ADD ("dropped-in-flight", test_dropped_in_flight);
  ADD ("dropped-failing", test_dropped_failing);
  ADD ("open-modes", test_open_modes);
  ADD ("again", test_again);
  ADD ("again-chain", test_again_chain);
  ADD ("again-async", test_again_async);
  ADD ("again-in-use", test_again_in_use);
  ADD ("storage", test_storage);
  ADD ("storage-read-only", test_storage_read_only);
  return g_test_run ();
}
