/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* New images in storages that are there already. */

#include "test-gate.h"
#include "test-images.h"
#include "test-seekers.h"

#define MIB (1024 * 1024)
#define SIZE (4 * MIB)

static ImagoCreateOptions *
options_new (const char *format)
{
  return g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", format, "size", (guint64) SIZE, NULL);
}

static GBytes *
content_of (ImagoStorage *storage)
{
  g_autoptr (GError) error = NULL;
  GBytes *bytes;
  guint64 size;

  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  bytes = imago_storage_read_bytes (storage, 0, (gsize) size, NULL, &error);
  g_assert_no_error (error);
  return bytes;
}

static void
save (ImagoStorage *storage, const char *path)
{
  g_autoptr (GBytes) bytes = content_of (storage);
  g_autoptr (GError) error = NULL;
  gsize size;
  const char *data = g_bytes_get_data (bytes, &size);

  g_file_set_contents (path, data, (gssize) size, &error);
  g_assert_no_error (error);
}

static ImagoImage *
create (ImagoStorage *storage, ImagoCreateOptions *options)
{
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_create_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

static void
refuses (ImagoStorage *storage, ImagoCreateOptions *options, GQuark domain, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_image_create_storage (storage, options, NULL, &error));
  g_assert_error (error, domain, code);
}

static void
write_pattern (ImagoImage *image, guint64 offset, guint8 seed)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_pattern_new (100000, seed));
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, offset, bytes, NULL, &error);
  g_assert_no_error (error);
}

static void
check_pattern (const guint8 *data, guint8 seed)
{
  g_autoptr (GByteArray) wanted = test_pattern_new (100000, seed);

  g_assert_cmpmem (data, 100000, wanted->data, wanted->len);
}

/* What an independent program makes of it. */
static void
judge (ImagoStorage *storage, guint8 seed)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_path (folder, "disk.qcow2");
  g_autofree char *raw = test_path (folder, "disk.raw");
  g_autofree char *content = NULL;
  gsize length;

  save (storage, path);
  if (test_run ("qemu-img", "check", "-q", "-f", "qcow2", path, NULL) &&
      test_run ("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw, NULL))
    {
      g_assert_true (g_file_get_contents (raw, &content, &length, NULL));
      g_assert_cmpuint (length, ==, SIZE);
      check_pattern ((const guint8 *) content + MIB, seed);
    }
  test_folder_remove (folder);
}

static void
make_and_judge (ImagoStorage *storage, ImagoCreateOptions *options)
{
  g_autoptr (ImagoImage) image = create (storage, options);
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_image_get_storage (image) == storage);
  g_assert_true (imago_image_get_writable (image));
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  write_pattern (image, MIB, 5);
  g_assert_true (imago_image_close (image, NULL, &error));
  g_assert_no_error (error);
  judge (storage, 5);
}

static void
test_memory (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");

  make_and_judge (storage, options);
}

/* Every option that is about the image itself. */
static void
test_options (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) SIZE, "cluster-size",
                  (guint64) 16384, "refcount-bits", 8, "extended-l2", TRUE, "lazy-refcounts", TRUE, "preallocation",
                  IMAGO_PREALLOCATION_METADATA, NULL);

  make_and_judge (storage, options);
}

static void
test_window (void)
{
  g_autoptr (ImagoStorage) base = imago_memory_storage_new_writable (2 * SIZE);
  g_autoptr (ImagoStorage) storage = imago_window_storage_new (base, 512, SIZE);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (GBytes) old = test_to_bytes (test_pattern_new (2 * SIZE, 9));
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_storage_write_bytes (base, 0, old, NULL, &error));
  refuses (storage, options, G_IO_ERROR, G_IO_ERROR_EXISTS);
  bytes = content_of (base);
  g_assert_true (g_bytes_equal (bytes, old));
  g_object_set (options, "overwrite", TRUE, NULL);
  make_and_judge (storage, options);
  g_clear_pointer (&bytes, g_bytes_unref);
  bytes = content_of (base);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 512, g_bytes_get_data (old, NULL), 512);
  g_assert_cmpmem ((const guint8 *) g_bytes_get_data (bytes, NULL) + SIZE + 512, SIZE - 512,
                   (const guint8 *) g_bytes_get_data (old, NULL) + SIZE + 512, SIZE - 512);
}

/* A window that has no room for the tables. */
static void
test_small_window (void)
{
  g_autoptr (ImagoStorage) base = imago_memory_storage_new_writable (MIB);
  g_autoptr (ImagoStorage) storage = imago_window_storage_new (base, 0, 65536);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");

  g_object_set (options, "overwrite", TRUE, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
}

static void
test_stream (void)
{
  TestSeeker *seeker = test_seeker_new (g_byte_array_new ());
  g_autoptr (GIOStream) io = test_seeker_make_io (seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (io);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");

  make_and_judge (storage, options);
  test_seeker_unref (seeker);
}

/* Written in place, with a name beside which others are found. */
static void
test_file (void)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_write (folder, "disk.qcow2", g_byte_array_new ());
  g_autofree char *base = test_write (folder, "base.raw", test_pattern_new (SIZE, 3));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoCreateOptions) options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2",
                                                         "backing-name", "base.raw", "backing-format", "raw", NULL);
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) again = NULL;
  g_autoptr (GError) error = NULL;

  storage = imago_file_storage_open (file, IMAGO_STORAGE_WRITABLE, NULL, &error);
  g_assert_no_error (error);
  image = create (storage, options);
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  /* It is locked as an image that is written to. */
  g_object_set (options, "overwrite", TRUE, NULL);
  again = imago_image_create_storage (storage, options, NULL, &error);
  g_assert_null (again);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED);
  g_assert_true (imago_image_close (image, NULL, NULL));
  g_clear_object (&image);
  if (test_run ("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, base, NULL))
    g_assert_true (test_run ("qemu-img", "check", "-q", path, NULL));
  g_clear_object (&storage);
  test_folder_remove (folder);
}

static void
test_raw (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("raw");
  g_autoptr (ImagoImage) image = create (storage, options);
  g_autoptr (GBytes) bytes = NULL;

  write_pattern (image, MIB, 6);
  g_assert_true (imago_image_close (image, NULL, NULL));
  bytes = content_of (storage);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, SIZE);
  check_pattern ((const guint8 *) g_bytes_get_data (bytes, NULL) + MIB, 6);
}

/* ---- what it refers to ---- */

static ImagoImage *
make_backing (ImagoStorage **storage)
{
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  ImagoImage *image;

  *storage = imago_memory_storage_new_writable (0);
  image = create (*storage, options);
  write_pattern (image, MIB, 7);
  return image;
}

static void
test_backing_image (void)
{
  g_autoptr (ImagoStorage) below = NULL;
  g_autoptr (ImagoImage) backing = make_backing (&below);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "backing-image", backing, "backing-name",
                  "base.qcow2", NULL);
  g_autoptr (ImagoImage) image = create (storage, options);
  g_autoptr (ImagoImage) found = imago_image_dup_backing (image);
  char *folder = test_folder_new ();
  g_autofree char *path = test_path (folder, "top.qcow2");
  g_autofree char *base = test_path (folder, "base.qcow2");
  g_autofree char *raw = test_path (folder, "top.raw");
  g_autofree char *content = NULL;

  g_assert_true (found == backing);
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  write_pattern (image, 2 * MIB, 8);
  g_assert_true (imago_image_close (image, NULL, NULL));
  g_assert_true (imago_image_close (backing, NULL, NULL));
  save (storage, path);
  save (below, base);
  if (test_run ("qemu-img", "check", "-q", path, NULL) &&
      test_run ("qemu-img", "convert", "-O", "raw", path, raw, NULL))
    {
      g_assert_true (g_file_get_contents (raw, &content, NULL, NULL));
      check_pattern ((const guint8 *) content + MIB, 7);
      check_pattern ((const guint8 *) content + 2 * MIB, 8);
    }
  test_folder_remove (folder);
}

static void
test_unchecked_backing (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GListModel) references = NULL;

  g_object_set (options, "backing-name", "somewhere.qcow2", "backing-format", "qcow2", NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION); /* cannot be looked for */
  g_object_set (options, "check-backing", FALSE, NULL);
  image = create (storage, options);
  references = imago_image_list_references (image);
  g_assert_cmpuint (g_list_model_get_n_items (references), ==, 1);
}

static void
test_bad_backing (void)
{
  g_autoptr (ImagoStorage) below = NULL;
  g_autoptr (ImagoImage) backing = make_backing (&below);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (GFile) file = g_file_new_for_path ("/nowhere/base.qcow2");

  g_object_set (options, "backing-image", backing, "overwrite", TRUE, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION); /* it has no name */
  g_object_set (options, "backing-name", "base", NULL);
  refuses (below, options, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_LOOP);
  g_object_set (options, "backing-file", file, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
  g_object_set (options, "backing-file", NULL, "format-name", "raw", NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
  g_object_set (options, "format-name", "qcow2", NULL);
  g_assert_true (imago_image_close (backing, NULL, NULL));
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

static void
test_pending_backing (void)
{
  g_autoptr (ImagoStorage) below = NULL;
  g_autoptr (ImagoImage) first = make_backing (&below);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoOpenOptions) how = imago_open_options_new ();
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (ImagoImage) backing = NULL;

  g_assert_true (imago_image_close (first, NULL, NULL));
  imago_open_options_set_defer_references (how, TRUE);
  imago_open_options_set_format_name (how, "qcow2");
  backing = imago_image_open_storage (below, how, NULL, NULL);
  g_object_set (options, "backing-image", backing, "backing-name", "base", NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_REFERENCES_PENDING);
}

static void
test_data_storage (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoStorage) data = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GBytes) bytes = NULL;
  char *folder = test_folder_new ();
  g_autofree char *path = test_path (folder, "disk.qcow2");
  g_autofree char *raw = test_path (folder, "data.raw");

  g_object_set (options, "data-storage", data, "raw-data-file", TRUE, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION); /* it has no name */
  g_object_set (options, "data-file-name", raw, NULL);
  refuses (data, options, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_LOOP);
  image = create (storage, options);
  write_pattern (image, MIB, 4);
  g_assert_true (imago_image_close (image, NULL, NULL));
  bytes = content_of (data);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, SIZE);
  check_pattern ((const guint8 *) g_bytes_get_data (bytes, NULL) + MIB, 4);
  save (storage, path);
  save (data, raw);
  if (test_run ("qemu-img", "check", "-q", path, NULL))
    g_assert_true (test_run ("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, raw, NULL));
  test_folder_remove (folder);
}

static void
test_bad_data_storage (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (GBytes) nothing = g_bytes_new (NULL, 0);
  g_autoptr (ImagoStorage) data = imago_memory_storage_new (nothing);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (GFile) file = g_file_new_for_path ("/nowhere/data.raw");

  g_object_set (options, "data-file-name", "data.raw", NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION); /* but there is none */
  g_object_set (options, "data-storage", data, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_object_set (options, "data-file", file, NULL);
  refuses (storage, options, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
}

/* ---- refusals ---- */

static void
test_refusals (void)
{
  g_autoptr (GBytes) nothing = g_bytes_new (NULL, 0);
  g_autoptr (ImagoStorage) constant = imago_memory_storage_new (nothing);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (ImagoCreateOptions) sizeless =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", NULL);
  g_autoptr (ImagoCreateOptions) unknown = options_new ("nonsense");
  g_autoptr (GBytes) content = NULL;

  refuses (constant, options, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  refuses (storage, sizeless, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
  refuses (storage, unknown, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  content = content_of (storage);
  g_assert_cmpuint (g_bytes_get_size (content), ==, 0);
}

/* Whichever call of the stream fails. */
static void
test_failing (void)
{
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  gboolean is_made = FALSE;
  gint n;

  for (n = 1; !is_made; n++)
    {
      TestSeeker *seeker = test_seeker_new (g_byte_array_new ());
      g_autoptr (GIOStream) io = test_seeker_make_io (seeker);
      g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (io);
      g_autoptr (ImagoImage) image = NULL;
      g_autoptr (GError) error = NULL;

      seeker->fails_at = n;
      image = imago_image_create_storage (storage, options, NULL, &error);
      is_made = image != NULL;
      if (!is_made)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_clear_object (&image);
      test_seeker_unref (seeker);
    }
  g_assert_cmpint (n, >, 8);
}

static void
test_cancelled (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) options = options_new ("qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_null (imago_image_create_storage (storage, options, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/create-storage/memory", test_memory);
  g_test_add_func ("/create-storage/options", test_options);
  g_test_add_func ("/create-storage/window", test_window);
  g_test_add_func ("/create-storage/small-window", test_small_window);
  g_test_add_func ("/create-storage/stream", test_stream);
  g_test_add_func ("/create-storage/file", test_file);
  g_test_add_func ("/create-storage/raw", test_raw);
  g_test_add_func ("/create-storage/backing-image", test_backing_image);
  g_test_add_func ("/create-storage/unchecked-backing", test_unchecked_backing);
  g_test_add_func ("/create-storage/bad-backing", test_bad_backing);
  g_test_add_func ("/create-storage/pending-backing", test_pending_backing);
  g_test_add_func ("/create-storage/data-storage", test_data_storage);
  g_test_add_func ("/create-storage/bad-data-storage", test_bad_data_storage);
  g_test_add_func ("/create-storage/refusals", test_refusals);
  g_test_add_func ("/create-storage/failing", test_failing);
  g_test_add_func ("/create-storage/cancelled", test_cancelled);
  return g_test_run ();
}
