/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Images in streams. */

#include "test-gate.h"
#include "test-images.h"
#include "test-seekers.h"

#define SIZE (1024 * 1024)

static ImagoImage *
open_image (ImagoStorage *storage, const char *format, gboolean writable, GError **error)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();

  imago_open_options_set_format_name (options, format);
  imago_open_options_set_writable (options, writable);
  return imago_image_open_storage (storage, options, NULL, error);
}

/* Changes that allocate, overwrite and clear. */
static gboolean
change_image (ImagoImage *image, guint8 *expected, GError **error)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_pattern_new (200000, 5));

  if (!imago_image_write_bytes (image, 70000, bytes, NULL, error))
    return FALSE;
  memcpy (expected + 70000, g_bytes_get_data (bytes, NULL), 200000);
  if (!imago_image_write_zeroes (image, 131072, 65536, IMAGO_ZERO_UNMAP, NULL, error))
    return FALSE;
  memset (expected + 131072, 0, 65536);
  if (!imago_image_flush (image, NULL, error) ||
      !imago_image_write_at (image, SIZE - 5, "tails", 5, NULL, error))
    return FALSE;
  memcpy (expected + SIZE - 5, "tails", 5);
  return imago_image_close (image, NULL, error);
}

/* A qcow2 image that holds what change_image () writes. */
static GByteArray *
make_qcow2 (guint8 *expected)
{
  g_autoptr (GByteArray) empty = test_qcow2_new (&(TestQcow2) { .size = SIZE });
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (0);
  g_autoptr (GBytes) bytes = g_bytes_new (empty->data, empty->len);
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  imago_storage_write_bytes (memory, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  image = open_image (memory, "qcow2", TRUE, &error);
  g_assert_no_error (error);
  change_image (image, expected, &error);
  g_assert_no_error (error);
  g_bytes_unref (bytes);
  bytes = imago_memory_storage_dup_bytes (IMAGO_MEMORY_STORAGE (memory), &error);
  return g_byte_array_append (g_byte_array_new (), g_bytes_get_data (bytes, NULL),
                              (guint) g_bytes_get_size (bytes));
}

static void
check_disk (ImagoImage *image, const guint8 *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes (image, 0, SIZE, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), expected, SIZE);
}

static void
check_by_qemu (const char *path, const char *raw)
{
  if (test_run ("qemu-img", "check", "-q", path, NULL))
    test_run ("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, raw, NULL);
}

typedef struct
{
  guint8 *expected;
  TestSeeker *seeker;
  char *folder;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->expected = g_malloc0 (SIZE);
  fixture->seeker = test_seeker_new (make_qcow2 (fixture->expected));
  fixture->folder = test_folder_new ();
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_free (fixture->expected);
  test_seeker_unref (fixture->seeker);
  test_folder_remove (fixture->folder);
}

static void
went_cb (gpointer thread, GObject *where_it_was)
{
  g_atomic_pointer_set ((GThread **) thread, g_thread_self ());
}

/* Takes both. The stream goes where its storage was made, though a worker lets the image go. */
static void
drop_image (ImagoImage *image, gpointer stream)
{
  GThread *thread = NULL;

  g_object_weak_ref (stream, went_cb, &thread);
  g_object_unref (stream);
  g_clear_object (&image);
  while (g_atomic_pointer_get (&thread) == NULL)
    {
      g_main_context_iteration (NULL, FALSE);
      g_thread_yield ();
    }
  g_assert_true (g_atomic_pointer_get (&thread) == g_thread_self ());
}

/* An image that is stored in @stream. */
static ImagoImage *
open_input (GInputStream *stream, GError **error)
{
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_input (stream);

  return open_image (storage, "qcow2", FALSE, error);
}

/* ---- the tests ---- */

static void
test_memory_input (Fixture *fixture, gconstpointer data)
{
  GByteArray *bytes = fixture->seeker->bytes;
  GInputStream *stream = g_memory_input_stream_new_from_data (bytes->data, bytes->len, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = open_input (stream, &error);

  g_assert_no_error (error);
  check_disk (image, fixture->expected);
  g_assert_true (IMAGO_IS_STREAM_STORAGE (imago_image_get_storage (image)));
  drop_image (image, stream);
}

static void
test_file_input (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "disk", g_byte_array_ref (fixture->seeker->bytes));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GError) error = NULL;
  GInputStream *stream = G_INPUT_STREAM (g_file_read (file, NULL, &error));
  ImagoImage *image = open_input (stream, &error);

  g_assert_no_error (error);
  check_disk (image, fixture->expected);
  drop_image (image, stream);
}

static void
test_file_io (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "disk", test_qcow2_new (&(TestQcow2) { .size = SIZE }));
  g_autofree guint8 *expected = g_malloc0 (SIZE);
  g_autofree char *raw = NULL;
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GError) error = NULL;
  GIOStream *stream = G_IO_STREAM (g_file_open_readwrite (file, NULL, &error));
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (stream);
  ImagoImage *image = open_image (storage, "qcow2", TRUE, &error);

  g_assert_no_error (error);
  g_assert_true (imago_storage_get_writable (storage));
  change_image (image, expected, &error);
  g_assert_no_error (error);
  raw = test_write (fixture->folder, "raw", g_byte_array_append (g_byte_array_new (), expected, SIZE));
  check_by_qemu (path, raw);
  g_clear_object (&storage);
  drop_image (image, stream);
}

static void
check_inspection (GFile *file, GFile *missing)
{
  g_autoptr (ImagoInspection) inspection = NULL;
  g_autoptr (ImagoFormat) format = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  inspection = imago_inspect (file, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, SIZE);
  format = g_list_model_get_item (imago_inspection_get_formats (inspection), 0);
  g_assert_cmpstr (imago_format_get_name (format), ==, "qcow2");
  g_clear_object (&inspection);
  imago_inspect_async (file, 0, NULL, test_result_cb, &slot);
  inspection = imago_inspect_finish (test_slot_wait (&slot), &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, SIZE);
  test_slot_clear (&slot);
  g_assert_null (imago_inspect (missing, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "test-remote://host/disk"));
}

static void
test_remote (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "disk", g_byte_array_ref (fixture->seeker->bytes));
  g_autofree char *missing_path = test_path (fixture->folder, "missing");
  g_autofree char *raw = NULL;
  g_autoptr (GFile) local = g_file_new_for_path (path);
  g_autoptr (GFile) missing_local = g_file_new_for_path (missing_path);
  g_autoptr (GFile) file = test_remote_new (local);
  g_autoptr (GFile) missing = test_remote_new (missing_local);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) writable = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  image = imago_image_open (file, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (IMAGO_IS_STREAM_STORAGE (imago_image_get_storage (image)));
  check_disk (image, fixture->expected);
  g_clear_object (&image);
  imago_image_open_async (file, NULL, 0, NULL, test_result_cb, &slot);
  image = imago_image_open_finish (test_slot_wait (&slot), &error);
  g_assert_no_error (error);
  test_slot_clear (&slot);
  check_disk (image, fixture->expected);

  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_writable (options, TRUE);
  writable = imago_image_open (file, options, NULL, &error);
  g_assert_no_error (error);
  change_image (writable, fixture->expected, &error);
  g_assert_no_error (error);
  raw = test_write (fixture->folder, "raw", g_byte_array_append (g_byte_array_new (), fixture->expected, SIZE));
  check_by_qemu (path, raw);

  check_inspection (file, missing);
  g_assert_null (imago_image_open (missing, options, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, "test-remote://host/disk"));
}

/* An error that no system call has. */
static void
test_not_mounted (void)
{
  g_autoptr (GFile) file = test_remote_new (NULL);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_image_open (file, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_MOUNTED);
  g_clear_error (&error);
  imago_open_options_set_format_name (options, "raw");
  imago_open_options_set_writable (options, TRUE);
  g_assert_null (imago_image_open (file, options, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_MOUNTED);
  g_clear_error (&error);
  g_assert_null (imago_inspect (file, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_MOUNTED);
}

static gpointer
read_thread (gpointer image)
{
  g_autoptr (GError) error = NULL;
  guint8 memory[700];

  for (guint64 offset = 0; offset + 700 < SIZE; offset += 70001)
    g_assert_true (imago_image_read_at (image, offset, memory, 700, NULL, &error));
  return NULL;
}

/* Short reads are put together, and never two operations are on the stream: it looks itself. */
static void
test_short (Fixture *fixture, gconstpointer data)
{
  GInputStream *stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (GError) error = NULL;
  GThread *threads[6];
  ImagoImage *image;

  fixture->seeker->max_read = 777;
  image = open_input (stream, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("read", read_thread, image);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  check_disk (image, fixture->expected);
  drop_image (image, stream);
}

static void
test_read_ahead (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GInputStream) stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_input (stream);
  guint64 size = fixture->seeker->bytes->len;
  g_autoptr (GError) error = NULL;
  guint64 n_reads = 0;

  for (guint64 offset = 0; offset < size; offset += 512, n_reads++)
    {
      gsize n = (gsize) MIN (size - offset, 512);
      g_autoptr (GBytes) bytes = imago_storage_read_bytes (storage, offset, n, NULL, &error);

      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), n, fixture->seeker->bytes->data + offset, n);
    }
  /* Twice the size each time: a few reads, each of which may be preceded by a seek. */
  g_assert_cmpint (g_atomic_int_get (&fixture->seeker->n_calls), <, 20);
  g_assert_cmpuint (n_reads, >, 500);
}

/* What is written is what is read, whatever was read ahead. */
static void
test_write_after_read (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GIOStream) stream = test_seeker_make_io (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (stream);
  g_autoptr (GBytes) three = g_bytes_new_static ("new", 3);
  guint before = fixture->seeker->bytes->len;
  g_autoptr (GError) error = NULL;
  guint64 size;

  for (guint i = 0; i < 3; i++)
    {
      g_autoptr (GBytes) old = imago_storage_read_bytes (storage, i * 100, 10, NULL, &error);
      g_autoptr (GBytes) new = NULL;

      g_assert_no_error (error);
      g_assert_cmpuint (g_bytes_get_size (old), ==, 10);
      g_assert_true (imago_storage_write_bytes (storage, i * 100 + 2, three, NULL, &error));
      new = imago_storage_read_bytes (storage, i * 100 + 2, 3, NULL, &error);
      g_assert_no_error (error);
      g_assert_true (g_bytes_equal (new, three));
    }
  /* Behind the end: what is between reads as zero, with and without truncating. */
  for (guint i = 1; i < 3; i++)
    {
      g_autoptr (GBytes) gap = NULL;
      static const guint8 zeroes[1000];

      fixture->seeker->cannot_truncate = i == 1;
      g_assert_true (imago_storage_write_bytes (storage, before + i * 100000, three, NULL, &error));
      g_assert_no_error (error);
      gap = imago_storage_read_bytes (storage, before + i * 100000 - 1000, 1000, NULL, &error);
      g_assert_cmpmem (g_bytes_get_data (gap, NULL), 1000, zeroes, 1000);
      g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
      g_assert_cmpuint (size, ==, before + i * 100000 + 3);
      g_assert_cmpuint (fixture->seeker->bytes->len, ==, size);
    }
  g_assert_true (imago_storage_write_zeroes (storage, 0, 300, IMAGO_ZERO_NONE, NULL, &error));
  g_assert_cmpmem (fixture->seeker->bytes->data, 300, (guint8[300]) { 0 }, 300);
  g_assert_true (imago_storage_discard (storage, 0, 300, NULL, &error));
  g_assert_true (imago_storage_truncate (storage, 1000, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (fixture->seeker->bytes->len, ==, 1000);
}

static void
test_refusals (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GInputStream) input = test_seeker_make_input (fixture->seeker);
  g_autoptr (GIOStream) io = test_seeker_make_io (fixture->seeker);
  g_autoptr (ImagoStorage) reading = imago_stream_storage_new_for_input (input);
  g_autoptr (ImagoStorage) storage = g_object_new (IMAGO_TYPE_STREAM_STORAGE, "io-stream", io, NULL);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  g_autoptr (GError) error = NULL;
  guint64 size;

  g_assert_false (imago_storage_get_writable (reading));
  g_assert_false (imago_storage_write_bytes (reading, 0, bytes, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_clear_error (&error);

  fixture->seeker->cannot_truncate = TRUE;
  g_assert_false (imago_storage_truncate (storage, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED);
  g_clear_error (&error);

  fixture->seeker->cannot_seek = TRUE;
  g_assert_false (imago_storage_query_size (reading, &size, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED);
  g_clear_error (&error);
  g_assert_null (open_image (reading, "qcow2", FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED);
  g_clear_error (&error);
  g_assert_false (imago_storage_write_bytes (storage, 0, bytes, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED);
}

/* What was done although it failed shows: the size is asked for anew, and so is that of the disk. */
static void
test_lost_answer (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GIOStream) io = test_seeker_make_io (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (io);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_image (storage, "raw", TRUE, &error);
  guint64 size;

  g_assert_no_error (error);
  fixture->seeker->truncates_badly = TRUE;
  g_assert_false (imago_image_resize (image, 1024, IMAGO_RESIZE_MAY_SHRINK, IMAGO_PREALLOCATION_NONE, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_cmpuint (size, ==, 1024);
  g_assert_cmpuint (imago_image_get_size (image), ==, 1024);
  fixture->seeker->truncates_badly = FALSE;
  g_assert_true (imago_image_close (image, NULL, &error));
  g_assert_no_error (error);
}

static void
test_early_end (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GInputStream) stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_input (stream);
  g_autoptr (GError) error = NULL;

  fixture->seeker->ends_at = 1000;
  g_assert_null (imago_storage_read_bytes (storage, 900, 200, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

/* Other bytes than those that were asked for are neither read nor written over. */
static void
test_astray (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GIOStream) io = test_seeker_make_io (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (io);
  g_autoptr (GBytes) before = g_bytes_new (fixture->seeker->bytes->data, fixture->seeker->bytes->len);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  g_autoptr (GError) error = NULL;
  guint64 size;

  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  fixture->seeker->goes_astray = TRUE;
  g_assert_null (imago_storage_read_bytes (storage, 1000, 10, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (imago_storage_write_bytes (storage, 1000, bytes, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_assert_cmpmem (fixture->seeker->bytes->data, fixture->seeker->bytes->len, g_bytes_get_data (before, NULL),
                   g_bytes_get_size (before));
}

static void
test_lost (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GInputStream) stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_input (stream);
  g_autoptr (GError) error = NULL;
  guint64 size;

  fixture->seeker->is_lost = TRUE;
  g_assert_false (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_null (imago_storage_read_bytes (storage, 0, 10, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

/* As a stream of an application that forgets to return TRUE. */
static void
test_mute (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GIOStream) io = test_seeker_make_io (fixture->seeker);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (io);
  g_autoptr (GError) error = NULL;
  guint64 size;

  fixture->seeker->is_mute = TRUE;
  fixture->seeker->fails_at = 1;
  g_assert_false (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (imago_storage_flush (storage, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  fixture->seeker->fails_at = g_atomic_int_get (&fixture->seeker->n_calls) + 3; /* after two seeks, for the size and to read */
  g_assert_null (imago_storage_read_bytes (storage, 0, 10, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

static void
test_read_faults (Fixture *fixture, gconstpointer data)
{
  gboolean success = FALSE;
  guint n = 0;

  while (!success)
    {
      GInputStream *stream = test_seeker_make_input (fixture->seeker);
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) bytes = NULL;
      ImagoImage *image;

      g_atomic_int_set (&fixture->seeker->n_calls, 0);
      fixture->seeker->fails_at = (gint) ++n;
      image = open_input (stream, &error);
      if (image != NULL)
        bytes = imago_image_read_bytes (image, 0, SIZE, NULL, &error);
      success = bytes != NULL;
      if (success)
        g_assert_cmpmem (g_bytes_get_data (bytes, NULL), SIZE, fixture->expected, SIZE);
      else
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      drop_image (image, stream);
    }
  g_test_message ("%u faults", n - 1);
  g_assert_cmpuint (n, >, 4);
}

/* The image must not be broken by it: what the stream holds then is checked. */
static void
check_image (GByteArray *content)
{
  g_autoptr (GBytes) bytes = g_bytes_new (content->data, content->len);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoCheckJob) job = imago_check_job_new (storage, "qcow2");
  g_autoptr (GError) error = NULL;
  ImagoCheckResult *result;

  imago_job_run (IMAGO_JOB (job), NULL, &error);
  g_assert_no_error (error);
  result = imago_check_job_get_result (job);
  g_assert_cmpuint (imago_check_result_get_corruptions (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_check_errors (result), ==, 0);
}

static void
test_write_faults (Fixture *fixture, gconstpointer data)
{
  gboolean success = FALSE;
  guint n = 0;

  while (!success)
    {
      TestSeeker *seeker = test_seeker_new (test_qcow2_new (&(TestQcow2) { .size = SIZE }));
      g_autofree guint8 *expected = g_malloc0 (SIZE);
      GIOStream *stream = test_seeker_make_io (seeker);
      g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_io (stream);
      g_autoptr (GError) error = NULL;
      ImagoImage *image;

      seeker->fails_at = (gint) ++n;
      image = open_image (storage, "qcow2", TRUE, &error);
      success = image != NULL && change_image (image, expected, &error);
      g_assert_true (success == (error == NULL));
      g_clear_object (&storage);
      drop_image (image, stream);
      check_image (seeker->bytes);
      test_seeker_unref (seeker);
    }
  g_test_message ("%u faults", n - 1);
  g_assert_cmpuint (n, >, 20);
}

/* The loop goes on while the stream does not; what was read ahead needs no stream. */
static void
test_async (Fixture *fixture, gconstpointer data)
{
  GInputStream *stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = open_input (stream, &error);
  g_autoptr (GBytes) bytes = NULL;
  TestSlot slots[2] = { { 0 } };

  g_assert_no_error (error);
  test_seeker_shut (fixture->seeker);
  imago_image_read_bytes_async (image, 70000, 512, 0, NULL, test_result_cb, &slots[0]);
  imago_image_read_bytes_async (image, 71000, 512, 0, NULL, test_result_cb, &slots[1]);
  test_seeker_wait_inside (fixture->seeker);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (slots[0].n_calls, ==, 0);
  test_seeker_open (fixture->seeker);
  for (guint i = 0; i < 2; i++)
    {
      g_clear_pointer (&bytes, g_bytes_unref);
      bytes = imago_image_read_bytes_finish (image, test_slot_wait (&slots[i]), &error);
      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 512, fixture->expected + 70000 + i * 1000, 512);
      test_slot_clear (&slots[i]);
    }
  test_seeker_shut (fixture->seeker);
  imago_image_read_bytes_async (image, 71000, 512, 0, NULL, test_result_cb, &slots[0]);
  g_clear_pointer (&bytes, g_bytes_unref);
  bytes = imago_image_read_bytes_finish (image, test_slot_wait (&slots[0]), &error);
  g_assert_no_error (error);
  test_slot_clear (&slots[0]);
  test_seeker_open (fixture->seeker);
  drop_image (image, stream);
}

typedef struct
{
  ImagoImage *image;
  GCancellable *cancellable;
} HangingRead;

static gpointer
hanging_read (gpointer data)
{
  HangingRead *read = data;
  g_autofree guint8 *memory = g_malloc (512);
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_image_read_at (read->image, 70000, memory, 512, read->cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  return NULL;
}

/* Whoever waits for a stream can go. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  GInputStream *stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image = open_input (stream, &error);
  HangingRead read = { image, cancellable };
  GThread *thread;

  g_assert_no_error (error);
  test_seeker_shut (fixture->seeker);
  thread = g_thread_new ("hanging", hanging_read, &read);
  test_seeker_wait_inside (fixture->seeker);
  g_cancellable_cancel (cancellable);
  g_thread_join (thread);
  test_seeker_open (fixture->seeker);
  drop_image (image, stream);
}

/* A worker that waits for a stream does not count: others go on, even in a pool of one. */
static void
test_pool_of_one (Fixture *fixture, gconstpointer data)
{
  GInputStream *stream = test_seeker_make_input (fixture->seeker);
  GByteArray *content = fixture->seeker->bytes;
  GInputStream *other_stream = g_memory_input_stream_new_from_data (content->data, content->len, NULL);
  ImgPool *pool = img_pool_new (1, 1);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = open_input (stream, &error);
  ImagoImage *other = open_input (other_stream, &error);
  TestSlot slots[2] = { { 0 } };

  g_assert_no_error (error);
  img_pool_set_default (pool);
  test_seeker_shut (fixture->seeker);
  imago_image_read_bytes_async (image, 70000, 512, 0, NULL, test_result_cb, &slots[0]);
  test_seeker_wait_inside (fixture->seeker);
  imago_image_read_bytes_async (other, 0, SIZE, 0, NULL, test_result_cb, &slots[1]);
  for (guint i = 2; i > 0; i--)
    {
      g_autoptr (GBytes) bytes =
        imago_image_read_bytes_finish (i == 2 ? other : image, test_slot_wait (&slots[i - 1]), &error);

      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 512, fixture->expected + (i == 2 ? 0 : 70000), 512);
      test_slot_clear (&slots[i - 1]);
      test_seeker_open (fixture->seeker);
    }
  drop_image (image, stream);
  drop_image (other, other_stream);
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

static void
test_backing (Fixture *fixture, gconstpointer data)
{
  GInputStream *stream = test_seeker_make_input (fixture->seeker);
  g_autoptr (GByteArray) top = test_qcow2_new (&(TestQcow2) { .size = SIZE, .backing = "base", .backing_format = "qcow2" });
  g_autoptr (GBytes) bytes = g_bytes_new (top->data, top->len);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *base = open_input (stream, &error);
  g_autoptr (ImagoImage) image = NULL;

  g_assert_no_error (error);
  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_defer_references (options, TRUE);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  imago_image_set_backing (image, base, &error);
  g_assert_no_error (error);
  imago_image_open_references (image, NULL, &error);
  g_assert_no_error (error);
  check_disk (image, fixture->expected);
  g_clear_object (&image);
  drop_image (base, stream);
}

/* An image in a stream has no place where a relative name could lead. */
static void
test_no_place (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GByteArray) top = test_qcow2_new (&(TestQcow2) { .size = SIZE, .backing = "base", .backing_format = "raw" });
  GInputStream *stream = g_memory_input_stream_new_from_data (top->data, top->len, NULL);
  g_autoptr (ImagoStorage) storage = imago_stream_storage_new_for_input (stream);
  g_autoptr (ImagoReferencePolicy) policy = imago_permissive_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;

  g_object_unref (stream);
  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_reference_policy (options, policy);
  g_assert_null (imago_storage_get_name (storage));
  g_assert_null (imago_image_open_storage (storage, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
}

/* The stream of a disk ends where the disk ends, until it is truncated to a new size: an image in it lets the disk grow. */
static void
test_disk_in_disk (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoCreateOptions) outer_options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) 4096, NULL);
  g_autoptr (ImagoCreateOptions) options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size",
                                                         (guint64) SIZE, "overwrite", TRUE, NULL);
  g_autofree guint8 *expected = g_malloc0 (SIZE);
  g_autofree char *path = g_build_filename (fixture->folder, "inner", NULL);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoImage) outer = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GIOStream) stream = NULL;
  g_autoptr (GBytes) content = NULL;
  g_autoptr (GError) error = NULL;
  guint64 size;

  outer = imago_image_create_storage (memory, outer_options, NULL, &error);
  g_assert_no_error (error);
  stream = imago_image_create_io_stream (outer);
  storage = imago_stream_storage_new_for_io (stream);
  image = imago_image_create_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  change_image (image, expected, &error);
  g_assert_no_error (error);
  imago_storage_query_size (storage, &size, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_image_get_size (outer), >=, size);
  g_object_unref (image);
  image = open_image (storage, "qcow2", FALSE, &error);
  g_assert_no_error (error);
  check_disk (image, expected);

  content = imago_image_read_bytes (outer, 0, imago_image_get_size (outer), NULL, &error);
  g_assert_no_error (error);
  g_file_replace_contents (file, g_bytes_get_data (content, NULL), g_bytes_get_size (content), NULL, FALSE,
                           G_FILE_CREATE_NONE, NULL, NULL, &error);
  g_assert_no_error (error);
  test_run ("qemu-img", "check", "-q", path, NULL);
}

static void
set_flag_cb (gpointer flag)
{
  g_atomic_int_set ((gint *) flag, TRUE);
}

static void
stream_freed_cb (gpointer flag, GObject *where_it_was)
{
  set_flag_cb (flag);
}

static gboolean
never_cb (gpointer data)
{
  return G_SOURCE_CONTINUE;
}

/* Nothing of a storage stays in the main context where it was made. */
static void
test_lets_go (void)
{
  GMainContext *context = g_main_context_new ();
  g_autoptr (GSource) source = g_timeout_source_new_seconds (1000);
  GInputStream *stream = g_memory_input_stream_new_from_data ("seven!", 7, NULL);
  gint stream_is_freed = FALSE;
  gint context_is_freed = FALSE;
  g_autoptr (GBytes) bytes = NULL;
  ImagoStorage *storage;

  g_object_weak_ref (G_OBJECT (stream), stream_freed_cb, &stream_is_freed);
  g_source_set_callback (source, never_cb, &context_is_freed, set_flag_cb);
  g_source_attach (source, context);
  g_main_context_push_thread_default (context);
  storage = imago_stream_storage_new_for_input (stream);
  bytes = imago_storage_read_bytes (storage, 0, 7, NULL, NULL);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "seven!", 7);
  g_object_unref (stream);
  g_object_unref (storage);
  while (!g_atomic_int_get (&stream_is_freed))
    g_main_context_iteration (context, FALSE);
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
  while (!g_atomic_int_get (&context_is_freed))
    g_thread_yield (); /* a worker may be in the middle of it */
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/glib/stream-storage/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("memory-input", test_memory_input);
  ADD ("file-input", test_file_input);
  ADD ("file-io", test_file_io);
  ADD ("remote", test_remote);
  ADD ("short", test_short);
  ADD ("read-ahead", test_read_ahead);
  ADD ("write-after-read", test_write_after_read);
  ADD ("refusals", test_refusals);
  ADD ("lost-answer", test_lost_answer);
  ADD ("early-end", test_early_end);
  ADD ("astray", test_astray);
  ADD ("lost", test_lost);
  ADD ("mute", test_mute);
  ADD ("read-faults", test_read_faults);
  ADD ("write-faults", test_write_faults);
  ADD ("async", test_async);
  ADD ("cancelled", test_cancelled);
  ADD ("pool-of-one", test_pool_of_one);
  ADD ("backing", test_backing);
  ADD ("no-place", test_no_place);
  ADD ("disk-in-disk", test_disk_in_disk);
  g_test_add_func ("/stream-storage/not-mounted", test_not_mounted);
  g_test_add_func ("/stream-storage/lets-go", test_lets_go);
  return g_test_run ();
}
