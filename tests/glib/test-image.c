/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Images: opening in one phase and in two, what they are, reading, closing. The situations of
 * asynchronous calls are in test-async.c. */

#include <fcntl.h>
#include <unistd.h>

#include "test-gate.h"
#include "test-images.h"

#define SIZE (1024 * 1024)

typedef struct
{
  char *folder;
  ImgStorage *gate;
  ImagoImage *image; /* on the gate */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
  fixture->gate = test_gate_new (SIZE);
  fixture->image = test_gate_open_image (fixture->gate);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_storage_unref (fixture->gate);
  test_folder_remove (fixture->folder);
}

static ImagoImage *
open_path (const char *path, const char *format_name, gboolean defer, GError **error)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GFile) file = g_file_new_for_path (path);

  imago_open_options_set_format_name (options, format_name);
  imago_open_options_set_defer_references (options, defer);
  return imago_image_open (file, options, NULL, error);
}

/* Takes @bytes. */
static ImagoImage *
open_memory (GByteArray *array, const char *format_name, gboolean defer, GError **error)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GBytes) bytes = test_to_bytes (array);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);

  imago_open_options_set_format_name (options, format_name);
  imago_open_options_set_defer_references (options, defer);
  return imago_image_open_storage (storage, options, NULL, error);
}

static void
check_zero (GBytes *bytes, gsize count)
{
  const guint8 *data;

  g_assert_nonnull (bytes);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, count);
  data = g_bytes_get_data (bytes, NULL);
  for (gsize i = 0; i < count; i++)
    g_assert_cmpuint (data[i], ==, 0);
}

/* ---- opening ---- */

static void
test_guess (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE };
  g_autofree char *qcow2 = test_write (fixture->folder, "a", test_qcow2_new (&what));
  g_autofree char *raw = test_write (fixture->folder, "b", test_pattern_new (71680, 1));
  g_autoptr (GFile) file = g_file_new_for_path (qcow2);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, NULL, NULL, &error);
  g_autoptr (ImagoImage) other = open_path (raw, NULL, FALSE, NULL);

  g_assert_no_error (error);
  g_assert_true (imago_image_get_format (image) == imago_format_lookup ("qcow2"));
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  g_assert_true (IMAGO_IS_FILE_STORAGE (imago_image_get_storage (image)));
  g_assert_cmpstr (imago_storage_get_name (imago_image_get_storage (image)), ==, qcow2);
  g_assert_true (imago_image_get_format (other) == imago_format_lookup ("raw"));
  g_assert_cmpuint (imago_image_get_size (other), ==, 71680);
}

/* An image opened by a guess follows no reference. */
static void
test_guess_with_reference (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE, .backing = "/etc/passwd", .backing_format = "raw" };
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_null (open_memory (test_qcow2_new (&what), NULL, FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_assert_nonnull (strstr (error->message, "/etc/passwd"));
  g_assert_nonnull (strstr (error->message, "name the format"));
  g_clear_error (&error);

  image = open_memory (test_qcow2_new (&what), NULL, TRUE, &error);
  g_assert_no_error (error);
  g_assert_false (imago_image_open_references (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_clear_error (&error);

  /* What the application itself puts below is its own affair. */
  g_assert_true (imago_image_set_backing (image, fixture->image, &error));
  g_assert_true (imago_image_open_references (image, NULL, &error));
  g_assert_no_error (error);
}

static void
test_denied (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE, .backing = "below.raw", .backing_format = "raw" };
  g_autofree char *path = test_write (fixture->folder, "a.qcow2", test_qcow2_new (&what));
  g_autoptr (GError) error = NULL;

  g_free (test_write (fixture->folder, "below.raw", test_pattern_new (SIZE, 3)));
  g_assert_null (open_path (path, "qcow2", FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_assert_nonnull (strstr (error->message, path));
}

static void
test_granted (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE, .backing = "below.raw", .backing_format = "raw" };
  g_autofree char *path = test_write (fixture->folder, "a.qcow2", test_qcow2_new (&what));
  g_autofree char *below = test_write (fixture->folder, "below.raw", test_pattern_new (SIZE, 3));
  g_autoptr (GByteArray) pattern = test_pattern_new (SIZE, 3);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) backing = NULL;
  g_autoptr (ImagoImage) again = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;

  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_reference_policy (options, policy);
  image = imago_image_open (file, options, NULL, &error);
  g_assert_no_error (error);
  bytes = imago_image_read_bytes (image, 0, SIZE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), SIZE, pattern->data, SIZE);

  backing = imago_image_dup_backing (image);
  again = imago_image_dup_backing (image);
  g_assert_nonnull (backing);
  g_assert_true (backing == again);
  g_assert_true (imago_image_get_format (backing) == imago_format_lookup ("raw"));
  g_assert_cmpstr (imago_storage_get_name (imago_image_get_storage (backing)), ==, below);
  g_assert_null (imago_image_dup_backing (backing));

  /* The face of the backing image is closed, the layer goes on serving. */
  g_assert_true (imago_image_close (backing, NULL, NULL));
  g_assert_null (imago_image_read_bytes (backing, 0, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_assert_true (imago_image_read_at (image, 10, pattern->data, 1000, NULL, NULL));
}

static void
test_open_errors (Fixture *fixture, gconstpointer data)
{
  g_autofree char *raw = test_write (fixture->folder, "b", test_pattern_new (1000, 1));
  g_autofree char *missing = test_path (fixture->folder, "missing");
  g_autoptr (GFile) remote = g_file_new_for_uri ("imago-test-no-such-scheme://host/disk.qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GFile) file = g_file_new_for_path (raw);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_null (open_path (missing, "raw", FALSE, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_nonnull (strstr (error->message, missing));
  g_clear_error (&error);

  g_assert_null (open_path (fixture->folder, "raw", FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NOT_REGULAR_FILE);
  g_clear_error (&error);

  g_assert_null (open_path (raw, "qcow2", FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  g_clear_error (&error);

  g_assert_null (open_path (raw, "no such format", FALSE, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  g_assert_nonnull (strstr (error->message, "no such format"));
  g_clear_error (&error);

  g_assert_null (imago_image_open (remote, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_assert_nonnull (strstr (error->message, "imago-test-no-such-scheme://host/disk.qcow2"));
  g_clear_error (&error);
  imago_image_open_async (remote, NULL, 0, NULL, test_result_cb, &slot);
  g_assert_null (imago_image_open_finish (test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  test_slot_clear (&slot);
  g_assert_null (imago_file_storage_open (remote, IMAGO_STORAGE_NONE, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);

  g_cancellable_cancel (cancellable);
  g_assert_null (imago_image_open (file, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* ---- the two phases ---- */

static void
test_deferred (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE, .backing = "below.raw", .backing_format = "raw" };
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoReference) reference = NULL;
  g_autoptr (ImagoImage) backing = NULL;
  g_autoptr (GListModel) list = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  guint8 byte;

  image = open_memory (test_qcow2_new (&what), "qcow2", TRUE, &error);
  g_assert_no_error (error);
  list = imago_image_list_references (image);
  g_assert_cmpuint (g_list_model_get_n_items (list), ==, 1);
  reference = g_list_model_get_item (list, 0);
  g_assert_cmpstr (imago_reference_get_name (reference), ==, "below.raw");

  g_assert_false (imago_image_read_at (image, 0, &byte, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCES_PENDING);
  g_clear_error (&error);
  g_assert_null (imago_image_map (image, 0, SIZE, IMAGO_MAP_NONE, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCES_PENDING);
  g_clear_error (&error);
  g_assert_null (imago_image_dup_backing (image));

  /* Denied, and then tried again with another answer to the question. */
  g_assert_false (imago_image_open_references (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_clear_error (&error);
  g_assert_true (imago_image_set_backing (image, fixture->image, &error));
  g_assert_true (imago_image_open_references (image, NULL, &error));
  g_assert_true (imago_image_open_references (image, NULL, &error)); /* nothing happens */
  g_assert_no_error (error);
  backing = imago_image_dup_backing (image);
  g_assert_true (backing == fixture->image);
  bytes = imago_image_read_bytes (image, 100, 5000, NULL, &error);
  test_gate_check (bytes, 100, 5000);

  g_assert_false (imago_image_set_backing (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

static void
test_no_backing (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE, .backing = "below.raw", .backing_format = "raw" };
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_memory (test_qcow2_new (&what), "qcow2", TRUE, &error);
  g_autoptr (GBytes) bytes = NULL;

  g_assert_true (imago_image_set_backing (image, fixture->image, &error));
  g_assert_true (imago_image_set_backing (image, NULL, &error)); /* the last word counts */
  g_assert_true (imago_image_open_references (image, NULL, &error));
  g_assert_no_error (error);
  g_assert_null (imago_image_dup_backing (image));
  bytes = imago_image_read_bytes (image, 0, 5000, NULL, &error);
  check_zero (bytes, 5000);
}

static void
test_backing_errors (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE };
  g_autoptr (ImagoImage) image = open_memory (test_qcow2_new (&what), "qcow2", TRUE, NULL);
  g_autoptr (ImagoImage) pending = open_memory (test_qcow2_new (&what), "qcow2", TRUE, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_image_set_backing (image, pending, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCES_PENDING);
  g_clear_error (&error);
  g_assert_true (imago_image_close (pending, NULL, NULL));
  g_assert_false (imago_image_set_backing (image, pending, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

/* ---- what it is ---- */

static void
test_properties (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoFormat) format = NULL;
  guint64 size;

  g_object_get (fixture->image, "size", &size, "format", &format, "storage", &storage, NULL);
  g_assert_cmpuint (size, ==, SIZE);
  g_assert_true (format == imago_format_lookup ("raw"));
  g_assert_true (storage == imago_image_get_storage (fixture->image));
}

static void
test_query (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImageInfo) info = imago_image_query_info (fixture->image, NULL, &error);
  g_autoptr (GListModel) snapshots = imago_image_list_snapshots (fixture->image, NULL, &error);
  g_autoptr (GListModel) references = imago_image_list_references (fixture->image);

  g_assert_no_error (error);
  g_assert_cmpuint (imago_image_info_get_virtual_size (info), ==, SIZE);
  g_assert_cmpuint (g_list_model_get_n_items (snapshots), ==, 0);
  g_assert_cmpuint (g_list_model_get_n_items (references), ==, 0);
}

/* An object that nobody opened is a closed image, not a crash. */
static void
test_unopened (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = g_object_new (IMAGO_TYPE_IMAGE, NULL);
  g_autoptr (GListModel) references = imago_image_list_references (image);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_cmpuint (g_list_model_get_n_items (references), ==, 0);
  g_assert_cmpuint (imago_image_get_size (image), ==, 0);
  g_assert_null (imago_image_dup_backing (image));
  g_assert_null (imago_image_read_bytes (image, 0, 0, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_clear_error (&error);
  imago_image_read_bytes_async (image, 0, 0, 0, NULL, test_result_cb, &slot);
  g_assert_null (imago_image_read_bytes_finish (image, test_slot_wait (&slot), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  test_slot_clear (&slot);
  g_assert_true (imago_image_close (image, NULL, NULL));
}

/* ---- reading ---- */

static void
test_read (Fixture *fixture, gconstpointer data)
{
  static const guint64 ranges[][2] = { { 0, SIZE },   { 0, 1 },    { SIZE - 1, 1 },
                                       { 511, 1026 }, { SIZE, 0 }, { 5, 0 } };
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autofree guint8 *memory = g_malloc (SIZE);

  for (guint i = 0; i < G_N_ELEMENTS (ranges); i++)
    for (guint refuse = 0; refuse < 2; refuse++)
      {
        guint64 offset = ranges[i][0];
        gsize count = ranges[i][1];
        g_autoptr (GError) error = NULL;
        g_autoptr (GBytes) sync =
          imago_image_read_bytes (fixture->image, offset, count, NULL, &error);
        g_autoptr (GBytes) async = NULL;
        TestSlot slot = { 0 };

        g_assert_no_error (error);
        test_gate_check (sync, offset, count);
        test_gate_refuse_tries (fixture->gate, refuse);
        imago_image_read_bytes_async (fixture->image, offset, count, 0, NULL, test_result_cb,
                                      &slot);
        async = imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), &error);
        g_assert_no_error (error);
        test_gate_check (async, offset, count);
        test_slot_clear (&slot);
        memset (memory, 0xaa, SIZE);
        g_assert_true (imago_image_read_at (fixture->image, offset, memory, count,
                                            refuse ? cancellable : NULL, &error));
        test_gate_check_memory (memory, offset, count);
        if (count < SIZE)
          g_assert_cmpuint (memory[count], ==, 0xaa);
      }
}

static void
test_readv (Fixture *fixture, gconstpointer data)
{
  g_autofree guint8 *memory = g_malloc0 (100000);
  g_autofree struct iovec *vectors = g_new (struct iovec, 3000);
  g_autoptr (GError) error = NULL;

  /* More than any system call takes, some of them empty. */
  for (guint i = 0; i < 3000; i++)
    vectors[i] = (struct iovec) { memory + 32 * i, i % 10 == 0 ? 0 : 32 };
  g_assert_true (imago_image_readv_at (fixture->image, 1000, vectors, 3000, NULL, &error));
  g_assert_no_error (error);
  for (guint i = 0, offset = 1000; i < 3000; i++)
    {
      test_gate_check_memory (vectors[i].iov_base, offset, vectors[i].iov_len);
      offset += vectors[i].iov_len;
    }
  g_assert_true (imago_image_readv_at (fixture->image, SIZE, NULL, 0, NULL, &error));
  vectors[0].iov_len = 32;
  g_assert_false (imago_image_readv_at (fixture->image, SIZE - 63, vectors, 2, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
}

static void
test_read_errors (Fixture *fixture, gconstpointer data)
{
  static const guint64 ranges[][2] = {
    { SIZE, 1 },        { 0, SIZE + 1 },  { SIZE + 1, 0 },
    { G_MAXUINT64, 2 }, { 1, G_MAXSIZE }, { G_MAXUINT64, G_MAXSIZE },
  };
  g_autoptr (GError) error = NULL;
  guint8 byte;

  for (guint i = 0; i < G_N_ELEMENTS (ranges); i++)
    {
      TestSlot slot = { 0 };

      g_assert_null (
        imago_image_read_bytes (fixture->image, ranges[i][0], ranges[i][1], NULL, &error));
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
      g_clear_error (&error);
      imago_image_read_bytes_async (fixture->image, ranges[i][0], ranges[i][1], 0, NULL,
                                    test_result_cb, &slot);
      g_assert_null (
        imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), &error));
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
      g_clear_error (&error);
      test_slot_clear (&slot);
      g_assert_false (
        imago_image_read_at (fixture->image, ranges[i][0], &byte, ranges[i][1], NULL, &error));
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
      g_clear_error (&error);
    }
}

/* A sanitizer's allocator aborts where the system's says no. */
static void
test_no_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) storage = imago_null_storage_new ((guint64) 1 << 62);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || GLIB_SIZEOF_VOID_P < 8
  g_test_skip ("this allocator aborts, or memory is too small a thing to ask for too much of it");
  return;
#endif
  imago_open_options_set_format_name (options, "raw");
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (imago_image_read_bytes (image, 5, (gsize) 1 << 61, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NO_MEMORY);
  g_clear_error (&error);
  imago_image_read_bytes_async (image, 5, (gsize) 1 << 61, 0, NULL, test_result_cb, &slot);
  g_assert_null (imago_image_read_bytes_finish (image, test_slot_wait (&slot), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NO_MEMORY);
  g_clear_error (&error);
  test_slot_clear (&slot);
  g_assert_null (imago_storage_read_bytes (storage, 5, (gsize) 1 << 61, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NO_MEMORY);
}

typedef struct
{
  ImagoImage *image;
  ImgStorage *gate;
  GCancellable *cancellable;
  gint returned;
} Blocked;

static gpointer
blocked_thread (gpointer data)
{
  Blocked *blocked = data;
  g_autoptr (GError) error = NULL;
  guint8 buffer[512];

  /* Returns only when the storage no longer touches the buffer; what it says then depends on who
   * was first. */
  if (!imago_image_read_at (blocked->image, 0, buffer, sizeof buffer, blocked->cancellable, &error))
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_atomic_int_set (&blocked->returned, TRUE);
  return NULL;
}

static void
test_read_at_waits (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Blocked blocked = { fixture->image, fixture->gate, cancellable, FALSE };
  g_autoptr (GError) error = NULL;
  GThread *thread;
  guint8 byte;

  test_gate_shut (fixture->gate);
  thread = g_thread_new ("blocked", blocked_thread, &blocked);
  test_gate_wait_inside (fixture->gate, 1);
  g_cancellable_cancel (cancellable);
  g_usleep (20000);
  g_assert_false (g_atomic_int_get (&blocked.returned));
  test_gate_open (fixture->gate);
  g_thread_join (thread);
  g_assert_true (g_atomic_int_get (&blocked.returned));

  g_assert_false (imago_image_read_at (fixture->image, 0, &byte, 1, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* Answered while the storage still reads, into memory that is not the application's. */
static void
test_read_bytes_abandoned (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, 4096, 0, cancellable, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gate, 1);
  g_cancellable_cancel (cancellable);
  g_assert_null (imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_inside, ==, 1);
  test_slot_clear (&slot);
  g_clear_object (&fixture->image); /* and nothing waits for it */
  test_gate_open (fixture->gate);
}

/* ---- several threads ---- */

static gpointer
reader_thread (gpointer data)
{
  ImagoImage *image = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (g_str_hash ("reader"));
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autofree guint8 *memory = g_malloc (20000);

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < 500; i++)
    {
      guint32 count = g_rand_int_range (rand, 1, 20000);
      guint32 offset = g_rand_int_range (rand, 0, SIZE - count);
      g_autoptr (GBytes) bytes = NULL;
      g_autoptr (GError) error = NULL;
      TestSlot slot = { 0 };

      switch (i % 3)
        {
        case 0:
          g_assert_true (imago_image_read_at (image, offset, memory, count, NULL, &error));
          test_gate_check_memory (memory, offset, count);
          break;
        case 1:
          bytes = imago_image_read_bytes (image, offset, count, NULL, &error);
          test_gate_check (bytes, offset, count);
          break;
        default:
          imago_image_read_bytes_async (image, offset, count, 0, NULL, test_result_cb, &slot);
          bytes = imago_image_read_bytes_finish (image, test_slot_wait (&slot), &error);
          test_gate_check (bytes, offset, count);
          test_slot_clear (&slot);
        }
      g_assert_no_error (error);
    }
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE };
  g_autoptr (ImagoImage) image = open_memory (test_qcow2_new (&what), "qcow2", TRUE, NULL);
  GThread *threads[8];

  /* A qcow2 image without data of its own in front: the same bytes. */
  g_assert_true (imago_image_set_backing (image, fixture->image, NULL));
  g_assert_true (imago_image_open_references (image, NULL, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("reader", reader_thread, i % 2 == 0 ? image : fixture->image);
  for (guint i = 0; i < 20; i++)
    {
      test_gate_refuse_tries (fixture->gate, i % 2);
      g_usleep (1000);
    }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

/* ---- the map ---- */

static void
test_map (Fixture *fixture, gconstpointer data)
{
  TestQcow2 what = { .size = SIZE };
  g_autoptr (ImagoImage) image = open_memory (test_qcow2_new (&what), "qcow2", FALSE, NULL);
  g_autoptr (ImagoExtent) extent = NULL;
  g_autoptr (ImagoExtentArray) extents = NULL;
  g_autoptr (ImagoExtentArray) none = NULL;
  g_autoptr (GError) error = NULL;

  extent = imago_image_map (image, 1000, SIZE - 1000, IMAGO_MAP_NONE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (imago_extent_get_kind (extent), ==, IMAGO_EXTENT_UNALLOCATED);
  g_assert_cmpuint (imago_extent_get_offset (extent), ==, 1000);
  extents = imago_image_map_extents (image, 0, SIZE, G_MAXUINT, IMAGO_MAP_HOST_HOLES, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_extent_array_get_n (extents), ==, 1);
  g_assert_cmpuint (imago_extent_get_length (imago_extent_array_get (extents, 0)), ==, SIZE);
  none = imago_image_map_extents (image, SIZE, 0, 1, IMAGO_MAP_NONE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_extent_array_get_n (none), ==, 0);

  g_assert_null (imago_image_map (image, 0, 0, IMAGO_MAP_NONE, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  g_assert_null (imago_image_map (image, 0, SIZE + 1, IMAGO_MAP_NONE, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  g_assert_null (imago_image_map_extents (image, G_MAXUINT64, 2, 1, IMAGO_MAP_NONE, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
}

/* A file of 3000 pieces of data with holes between them. */
static char *
write_pieces (const char *folder)
{
  char *path = test_path (folder, "pieces.raw");
  int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  for (guint i = 0; i < 3000; i++)
    g_assert_cmpint (pwrite (fd, "data", 4, (off_t) i * 131072), ==, 4);
  g_assert_cmpint (ftruncate (fd, (off_t) 3000 * 131072), ==, 0);
  close (fd);
  return path;
}

/* Adjoining, differing neighbours from @offset on; returns where they end. */
static guint64
check_extents (ImagoExtentArray *extents, guint64 offset, guint max)
{
  guint n = imago_extent_array_get_n (extents);

  g_assert_cmpuint (n, >, 0);
  g_assert_cmpuint (n, <=, max);
  for (guint i = 0; i < n; i++)
    {
      const ImagoExtent *extent = imago_extent_array_get (extents, i);

      g_assert_cmpuint (imago_extent_get_offset (extent), ==, offset);
      offset += imago_extent_get_length (extent);
      if (i > 0)
        g_assert_cmpint (imago_extent_get_reads_as_zero (extent), !=,
                         imago_extent_get_reads_as_zero (imago_extent_array_get (extents, i - 1)));
    }
  return offset;
}

/* 5 TiB of zeroes but for the last 512 MiB, in a file whose L1 entries share one L2 table: the core
 * maps them in several steps, which nobody sees. */
static void
test_map_shared_tables (Fixture *fixture, gconstpointer data)
{
  const guint n_tables = 10240;
  const guint64 table_covers = (guint64) 1 << 29;
  GByteArray *bytes = test_qcow2_new (&(TestQcow2) { .size = n_tables * table_covers });
  const guint l1 = bytes->len;
  const guint l2 = l1 + 2 * TEST_QCOW2_CLUSTER;
  g_autoptr (ImagoImage) image = NULL;
  g_autofree char *path = NULL;

  g_byte_array_set_size (bytes, l2 + TEST_QCOW2_CLUSTER);
  memset (bytes->data + l1, 0, l2 - l1);
  test_put_be32 (bytes, TEST_QCOW2_L1_SIZE, n_tables);
  test_put_be64 (bytes, TEST_QCOW2_L1_OFFSET, l1);
  for (guint i = 0; i < n_tables - 1; i++)
    test_put_be64 (bytes, l1 + 8 * i, l2);
  for (guint i = 0; i < TEST_QCOW2_CLUSTER; i += 8)
    test_put_be64 (bytes, l2 + i, 1);
  path = test_write (fixture->folder, "shared.qcow2", bytes);
  image = open_path (path, "qcow2", FALSE, NULL);
  for (guint max = 1; max <= 3; max++)
    {
      g_autoptr (ImagoExtentArray) extents = imago_image_map_extents (
        image, 0, n_tables * table_covers, max, IMAGO_MAP_NONE, NULL, NULL);

      g_assert_nonnull (extents);
      g_assert_cmpuint (imago_extent_array_get_n (extents), ==, MIN (max, 2));
      g_assert_cmpuint (imago_extent_get_length (imago_extent_array_get (extents, 0)), ==,
                        (n_tables - 1) * table_covers);
    }
}

static void
test_map_many (Fixture *fixture, gconstpointer data)
{
  static const guint limits[] = { 1, 2, 7, 1023, 1024, 1025, 2049, 5999, 6000, G_MAXUINT };
  g_autofree char *path = write_pieces (fixture->folder);
  g_autoptr (ImagoImage) image = open_path (path, "raw", FALSE, NULL);
  guint64 size = imago_image_get_size (image);

  for (guint i = 0; i < G_N_ELEMENTS (limits); i++)
    {
      guint64 offset = 0;
      guint n = 0;

      while (offset < size && n < 10)
        {
          g_autoptr (ImagoExtentArray) extents = NULL;

          extents = imago_image_map_extents (image, offset, size - offset, limits[i],
                                             IMAGO_MAP_HOST_HOLES, NULL, NULL);
          g_assert_nonnull (extents);
          if (offset == 0 && imago_extent_array_get_n (extents) == 1 && limits[i] > 1)
            {
              g_test_skip ("this file system does not tell holes");
              return;
            }
          offset = check_extents (extents, offset, limits[i]);
          n++;
        }
      if (limits[i] >= 6000)
        g_assert_cmpuint (n, ==, 1);
    }
}

/* The only worker is stuck: what cached metadata answers needs none, what asks the file system
 * does. */
static void
test_map_inline (Fixture *fixture, gconstpointer data)
{
  ImgPool *pool = img_pool_new (1, 1);
  g_autoptr (ImagoExtent) quick = NULL;
  g_autoptr (ImagoExtent) slow = NULL;
  TestSlot slots[3] = { 0 };

  img_pool_set_default (pool);
  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, 4096, 0, NULL, test_result_cb, &slots[0]);
  test_gate_wait_inside (fixture->gate, 1);
  imago_image_map_async (fixture->image, 0, 4096, IMAGO_MAP_HOST_HOLES, 0, NULL, test_result_cb,
                         &slots[1]);
  /* A new iteration: however slow this machine is, the time for inline answers has not been used up. */
  g_main_context_iteration (NULL, FALSE);
  imago_image_map_async (fixture->image, 0, 4096, IMAGO_MAP_NONE, 0, NULL, test_result_cb,
                         &slots[2]);
  g_assert_cmpuint (slots[2].n_calls, ==, 0); /* never before the starter returns */
  quick = imago_image_map_finish (fixture->image, test_slot_wait (&slots[2]), NULL);
  g_assert_cmpuint (imago_extent_get_length (quick), ==, 4096);
  g_assert_cmpuint (slots[1].n_calls, ==, 0);
  test_gate_open (fixture->gate);
  slow = imago_image_map_finish (fixture->image, test_slot_wait (&slots[1]), NULL);
  g_assert_cmpuint (imago_extent_get_length (slow), ==, 4096);
  test_slot_wait (&slots[0]);
  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    test_slot_clear (&slots[i]);
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

/* ---- closing ---- */

static guint
count_fds (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open ("/proc/self/fd", 0, NULL);
  const char *name;
  guint n = 0;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *link = g_build_filename ("/proc/self/fd", name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      n += g_strcmp0 (target, path) == 0;
    }
  return n;
}

static void
test_close (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "raw", test_pattern_new (5120, 1));
  g_autoptr (ImagoImage) image = open_path (path, "raw", FALSE, NULL);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GInputStream) stream = imago_image_create_input_stream (image);
  g_autoptr (GListModel) references = NULL;
  g_autoptr (GError) error = NULL;
  guint8 byte;

  g_cancellable_cancel (cancellable);
  g_assert_false (imago_image_close (image, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_true (imago_image_read_at (image, 0, &byte, 1, NULL, NULL));

  g_assert_true (imago_image_close (image, NULL, &error));
  g_assert_true (imago_image_close (image, NULL, &error)); /* nothing happens */
  g_assert_no_error (error);
  g_assert_false (imago_image_read_at (image, 0, &byte, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_false (imago_image_open_references (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_null (imago_image_query_info (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_cmpint (g_input_stream_read (stream, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_assert_cmpuint (imago_image_get_size (image), ==, 5120);
  references = imago_image_list_references (image);
  g_assert_cmpuint (g_list_model_get_n_items (references), ==, 0);
}

/* The file itself is closed when the storage object, which the application may go on using, is gone
 * as well. */
static void
test_close_releases_file (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_write (fixture->folder, "raw", test_pattern_new (5120, 1));
  ImagoImage *image = open_path (path, "raw", FALSE, NULL);

  if (!g_file_test ("/proc/self/fd", G_FILE_TEST_IS_DIR))
    {
      g_test_skip ("no /proc");
      g_object_unref (image);
      return;
    }
  g_assert_cmpuint (count_fds (path), >, 0); /* one to read it, one to hold its lock */
  g_assert_true (imago_image_close (image, NULL, NULL));
  g_assert_cmpuint (count_fds (path), ==, 0);
  g_object_unref (image);

  image = open_path (path, "raw", FALSE, NULL);
  g_object_unref (image);
  while (count_fds (path) > 0) /* a worker does it */
    g_usleep (1000);
}

static gpointer
close_thread (gpointer data)
{
  Blocked *blocked = data;

  g_assert_true (imago_image_close (blocked->image, NULL, NULL));
  g_assert_cmpuint (test_gate_get_counts (blocked->gate).n_inside, ==, 0);
  g_atomic_int_set (&blocked->returned, TRUE);
  return NULL;
}

static void
test_close_waits (Fixture *fixture, gconstpointer data)
{
  Blocked blocked = { fixture->image, fixture->gate, NULL, FALSE };
  Blocked reading = { fixture->image, fixture->gate, NULL, FALSE };
  g_autoptr (GBytes) bytes = NULL;
  GThread *reader, *closer;
  TestSlot slot = { 0 };
  TestSlot close_slot = { 0 };

  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, 4096, 0, NULL, test_result_cb, &slot);
  reader = g_thread_new ("reader", blocked_thread, &reading);
  test_gate_wait_inside (fixture->gate, 2);
  closer = g_thread_new ("closer", close_thread, &blocked);
  imago_image_close_async (fixture->image, 0, NULL, test_result_cb, &close_slot);
  g_usleep (20000);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_false (g_atomic_int_get (&blocked.returned));
  g_assert_cmpuint (close_slot.n_calls, ==, 0);

  test_gate_open (fixture->gate);
  g_thread_join (reader);
  g_thread_join (closer);
  g_assert_true (imago_image_close_finish (fixture->image, test_slot_wait (&close_slot), NULL));
  bytes = imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), NULL);
  test_gate_check (bytes, 0, 4096);
  test_slot_clear (&slot);
  test_slot_clear (&close_slot);
}

/* With one worker, the closing is queued in front of reads that it has to wait for. */
static void
test_close_overtakes (Fixture *fixture, gconstpointer data)
{
  ImgPool *pool = img_pool_new (1, 1);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slots[3] = { 0 };

  img_pool_set_default (pool);
  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, 4096, 0, NULL, test_result_cb, &slots[0]);
  test_gate_wait_inside (fixture->gate, 1);
  imago_image_read_bytes_async (fixture->image, 4096, 4096, G_PRIORITY_LOW, NULL, test_result_cb,
                                &slots[1]);
  imago_image_close_async (fixture->image, G_PRIORITY_HIGH, NULL, test_result_cb, &slots[2]);
  test_gate_open (fixture->gate);
  g_assert_true (imago_image_close_finish (fixture->image, test_slot_wait (&slots[2]), &error));
  bytes = imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slots[1]), &error);
  g_assert_no_error (error);
  test_gate_check (bytes, 4096, 4096);
  test_slot_wait (&slots[0]);
  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    test_slot_clear (&slots[i]);
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

/* Requests that wait for a disk do not wait for each other, also when fewer workers are idle than
 * requests come. */
static void
test_side_by_side (Fixture *fixture, gconstpointer data)
{
  ImgPool *pool = img_pool_new (8, 1);
  TestSlot slots[4] = { 0 };

  img_pool_set_default (pool);
  test_gate_refuse_tries (fixture->gate, TRUE);
  for (guint round = 0; round < 20; round++)
    {
      /* One worker at least has done something and is idle now. */
      imago_image_read_bytes_async (fixture->image, 0, 512, 0, NULL, test_result_cb, &slots[0]);
      test_slot_wait (&slots[0]);
      test_slot_clear (&slots[0]);
      test_gate_shut (fixture->gate);
      for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
        imago_image_read_bytes_async (fixture->image, 0, 512, 0, NULL, test_result_cb, &slots[i]);
      test_gate_wait_inside (fixture->gate, G_N_ELEMENTS (slots));
      test_gate_open (fixture->gate);
      for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
        test_slot_wait (&slots[i]);
      for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
        test_slot_clear (&slots[i]);
    }
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

/* Dropping the last reference does not wait for what a worker does with the image. */
static void
test_drop_never_waits (Fixture *fixture, gconstpointer data)
{
  TestSlot slot = { 0 };
  g_autoptr (GBytes) bytes = NULL;

  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, 4096, 0, NULL, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gate, 1);
  g_clear_object (&fixture->image);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_inside, ==, 1);
  test_gate_open (fixture->gate);
  bytes = g_task_propagate_pointer (G_TASK (test_slot_wait (&slot)), NULL);
  test_gate_check (bytes, 0, 4096);
  test_slot_clear (&slot);
}

/* ---- storages ---- */

static void
check_storage (ImagoStorage *storage, guint64 size, const guint8 *content, gsize count)
{
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GBytes) async = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  guint64 found;

  g_assert_true (imago_storage_query_size (storage, &found, NULL, &error));
  g_assert_cmpuint (found, ==, size);
  bytes = imago_storage_read_bytes (storage, 0, count, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), content, count);
  imago_storage_read_bytes_async (storage, 0, count, 0, NULL, test_result_cb, &slot);
  async = imago_storage_read_bytes_finish (storage, test_slot_wait (&slot), &error);
  g_assert_no_error (error);
  g_assert_true (g_bytes_equal (bytes, async));
  test_slot_clear (&slot);
}

static void
test_storages (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GByteArray) pattern = test_pattern_new (5000, 9);
  g_autofree guint8 *expected = g_malloc0 (8000);
  g_autofree guint8 *zeroes = g_malloc0 (8000);
  g_autofree char *path = test_write (fixture->folder, "file", test_pattern_new (5000, 9));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GBytes) bytes = g_bytes_new (pattern->data, 5000);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoStorage) from_file =
    imago_file_storage_open (file, IMAGO_STORAGE_NONE, NULL, &error);
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new (bytes);
  g_autoptr (ImagoStorage) null = imago_null_storage_new (7000);
  g_autoptr (ImagoStorage) window = imago_window_storage_new (memory, 1000, 6000);
  g_autoptr (ImagoStorage) from_fd = NULL;
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_no_error (error);
  from_fd = imago_file_storage_open_fd (fd, "some/name", IMAGO_STORAGE_NONE, &error);
  g_assert_no_error (error);
  close (fd);
  memcpy (expected, pattern->data, 5000);
  check_storage (from_file, 5000, expected, 8000);
  check_storage (from_fd, 5000, expected, 8000);
  check_storage (memory, 5000, expected, 8000);
  check_storage (null, 7000, zeroes, 8000);
  memset (expected, 0, 8000);
  memcpy (expected, pattern->data + 1000, 4000);
  check_storage (window, 6000, expected, 8000);

  g_assert_cmpstr (imago_storage_get_name (from_file), ==, path);
  g_assert_cmpstr (imago_storage_get_name (from_fd), ==, "some/name");
  g_assert_null (imago_storage_get_name (memory));
  g_assert_true (g_file_equal (imago_file_storage_get_file (IMAGO_FILE_STORAGE (from_file)), file));
  g_assert_null (imago_file_storage_get_file (IMAGO_FILE_STORAGE (from_fd)));
}

static void
test_storage_errors (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) null = imago_null_storage_new (100);
  g_autoptr (GFile) folder = g_file_new_for_path (fixture->folder);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_null (imago_storage_read_bytes (null, G_MAXUINT64, 1, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  imago_storage_read_bytes_async (null, 1, G_MAXSIZE, 0, NULL, test_result_cb, &slot);
  g_assert_null (imago_storage_read_bytes_finish (null, test_slot_wait (&slot), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  test_slot_clear (&slot);
  g_assert_null (imago_file_storage_open (folder, IMAGO_STORAGE_NONE, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NOT_REGULAR_FILE);
  g_clear_error (&error);
  g_assert_null (imago_file_storage_open_fd (-1, NULL, IMAGO_STORAGE_NONE, &error));
  g_assert_nonnull (error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/glib/image/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("guess", test_guess);
  ADD ("guess-with-reference", test_guess_with_reference);
  ADD ("denied", test_denied);
  ADD ("granted", test_granted);
  ADD ("open-errors", test_open_errors);
  ADD ("deferred", test_deferred);
  ADD ("no-backing", test_no_backing);
  ADD ("backing-errors", test_backing_errors);
  ADD ("properties", test_properties);
  ADD ("query", test_query);
  ADD ("unopened", test_unopened);
  ADD ("read", test_read);
  ADD ("readv", test_readv);
  ADD ("read-errors", test_read_errors);
  ADD ("no-memory", test_no_memory);
  ADD ("read-at-waits", test_read_at_waits);
  ADD ("read-bytes-abandoned", test_read_bytes_abandoned);
  ADD ("threads", test_threads);
  ADD ("map", test_map);
  ADD ("map-many", test_map_many);
  ADD ("map-shared-tables", test_map_shared_tables);
  ADD ("map-inline", test_map_inline);
  ADD ("close", test_close);
  ADD ("close-releases-file", test_close_releases_file);
  ADD ("close-waits", test_close_waits);
  ADD ("close-overtakes", test_close_overtakes);
  ADD ("side-by-side", test_side_by_side);
  ADD ("drop-never-waits", test_drop_never_waits);
  ADD ("storages", test_storages);
  ADD ("storage-errors", test_storage_errors);
  return g_test_run ();
}
