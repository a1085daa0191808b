/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Batches: many reads and writes in one call. Their situations as an asynchronous call are in test-async.c. */

#include <imago-glib/imago-glib.h>

#include "test-gate.h"
#include "test-images.h"

#define SIZE (8 * 1024 * 1024)
#define N_REQUESTS 200
#define COUNT 4096

static ImagoImage *
open_image (ImagoStorage *storage)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_writable (options, TRUE);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

static ImagoStorage *
memory_new (void)
{
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (0);
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (&(TestQcow2) { .size = SIZE }));
  g_autoptr (GError) error = NULL;

  imago_storage_write_bytes (memory, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  return g_steal_pointer (&memory);
}

typedef struct
{
  guint n_calls;
  GAsyncResult *result;
} Caught;

static void
catch_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Caught *caught = data;

  caught->n_calls++;
  g_set_object (&caught->result, result);
}

static gboolean
run (ImagoBatch *batch, gboolean is_async, GError **error)
{
  Caught caught = { 0 };
  gboolean success;

  if (!is_async)
    return imago_batch_run (batch, NULL, error);
  imago_batch_run_async (batch, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught);
  g_assert_cmpuint (caught.n_calls, ==, 0);
  while (caught.n_calls == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (caught.n_calls, ==, 1);
  success = imago_batch_run_finish (batch, caught.result, error);
  g_object_unref (caught.result);
  return success;
}

/* Every second offset is in the second half, so that neighbours are not. */
static guint64
offset_of (guint number)
{
  return (number % 2) * (SIZE / 2) + (guint64) (number / 2) * 3 * COUNT;
}

static void
write_all (ImagoImage *image, GByteArray *pattern, gboolean is_async)
{
  g_autoptr (ImagoBatch) batch = imago_batch_new (image);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_REQUESTS; i++)
    {
      g_autoptr (GBytes) bytes = g_bytes_new (pattern->data + i * COUNT, COUNT);

      g_assert_cmpuint (imago_batch_add_write (batch, offset_of (i), bytes), ==, i);
    }
  g_assert_false (imago_batch_check (batch, 0, NULL));
  g_assert_true (run (batch, is_async, &error));
  g_assert_no_error (error);
  for (guint i = 0; i < N_REQUESTS; i++)
    {
      g_assert_true (imago_batch_check (batch, i, NULL));
      g_assert_null (imago_batch_dup_bytes (batch, i));
    }
}

static void
read_all (ImagoImage *image, GByteArray *pattern, gboolean is_async)
{
  g_autoptr (ImagoBatch) batch = imago_batch_new (image);
  g_autofree guint8 *own = g_malloc (N_REQUESTS * COUNT);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_REQUESTS; i++)
    if (i % 3 == 0)
      imago_batch_add_read_at (batch, offset_of (i), own + i * COUNT, COUNT);
    else
      imago_batch_add_read (batch, offset_of (i), COUNT);
  g_assert_true (run (batch, is_async, &error));
  g_assert_no_error (error);
  for (guint i = 0; i < N_REQUESTS; i++)
    {
      g_autoptr (GBytes) bytes = imago_batch_dup_bytes (batch, i);
      gconstpointer data = bytes != NULL ? g_bytes_get_data (bytes, NULL) : own + i * COUNT;

      g_assert_true ((bytes == NULL) == (i % 3 == 0));
      g_assert_cmpmem (data, COUNT, pattern->data + i * COUNT, COUNT);
    }
}

static void
test_round_trip (gconstpointer is_async)
{
  g_autoptr (ImagoStorage) memory = memory_new ();
  g_autoptr (ImagoImage) image = open_image (memory);
  g_autoptr (GByteArray) pattern = test_pattern_new (N_REQUESTS * COUNT, 6);
  g_autoptr (GError) error = NULL;

  write_all (image, pattern, is_async != NULL);
  read_all (image, pattern, is_async != NULL);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

/* One request that fails keeps nobody else from being carried out. */
static void
test_one_fails (gconstpointer is_async)
{
  g_autoptr (ImagoStorage) memory = memory_new ();
  g_autoptr (ImagoImage) image = open_image (memory);
  g_autoptr (ImagoBatch) batch = imago_batch_new (image);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("seven!", 7);
  g_autoptr (GBytes) back = NULL;
  g_autoptr (GError) error = NULL;

  imago_batch_add_write (batch, 100, bytes);
  imago_batch_add_read (batch, SIZE - 10, 11);
  imago_batch_add_write (batch, SIZE, bytes);
  imago_batch_add_read (batch, 0, 0);
  imago_batch_add_write (batch, 200, bytes);
  g_assert_cmpuint (imago_batch_get_n_requests (batch), ==, 5);
  g_assert_false (run (batch, is_async != NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  for (guint i = 0; i < 5; i++)
    {
      g_assert_true (imago_batch_check (batch, i, &error) == (i != 1 && i != 2));
      if (error != NULL)
        g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
      g_clear_error (&error);
    }
  g_assert_null (imago_batch_dup_bytes (batch, 1));
  g_assert_false (imago_batch_check (batch, 5, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  back = imago_image_read_bytes (image, 200, 7, NULL, &error);
  g_assert_true (g_bytes_equal (back, bytes));

  g_assert_false (run (batch, is_async != NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

/* Small reads share memory as far as it goes, large ones have their own; and bytes outlive the
 * batch. */
static void
test_memory (gconstpointer is_async)
{
  static const gsize counts[] = { 1, 16 * 1024, 16 * 1024 + 1, 4096, 0, 512, 300 * 1024 };
  g_autoptr (ImagoStorage) memory = memory_new ();
  g_autoptr (ImagoImage) image = open_image (memory);
  g_autoptr (GByteArray) pattern = test_pattern_new (SIZE, 9);
  g_autoptr (GBytes) whole = g_bytes_new_static (pattern->data, SIZE);
  ImagoBatch *batch = imago_batch_new (image);
  GBytes *bytes[10 * G_N_ELEMENTS (counts)];
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_image_write_bytes (image, 0, whole, NULL, &error));
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    imago_batch_add_read (batch, i * 7, counts[i % G_N_ELEMENTS (counts)]);
  g_assert_true (run (batch, is_async != NULL, &error));
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    bytes[i] = imago_batch_dup_bytes (batch, i);
  g_object_unref (batch);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    {
      g_assert_cmpmem (g_bytes_get_data (bytes[i], NULL), g_bytes_get_size (bytes[i]),
                       pattern->data + i * 7, counts[i % G_N_ELEMENTS (counts)]);
      g_bytes_unref (bytes[i]);
    }
}

static void
test_nothing (gconstpointer is_async)
{
  g_autoptr (ImagoStorage) memory = memory_new ();
  g_autoptr (ImagoImage) image = open_image (memory);
  g_autoptr (ImagoBatch) batch = imago_batch_new (image);
  g_autoptr (ImagoBatch) homeless = g_object_new (IMAGO_TYPE_BATCH, NULL);
  g_autoptr (ImagoBatch) late = imago_batch_new (image);
  g_autoptr (GError) error = NULL;

  g_assert_true (run (batch, is_async != NULL, &error));
  g_assert_no_error (error);
  g_assert_false (run (homeless, is_async != NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
  imago_batch_add_read (late, 0, 1);
  g_assert_false (run (late, is_async != NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

/* What waits for a storage waits at the same time: each of the reads has come there before one is let go. */
static void
test_together (void)
{
  ImgStorage *gate = test_gate_new (SIZE);
  ImagoImage *image = test_gate_open_image (gate);
  g_autoptr (ImagoBatch) batch = imago_batch_new (image);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  GAsyncResult *result;

  for (guint i = 0; i < 8; i++)
    imago_batch_add_read (batch, offset_of (i), COUNT);
  test_gate_shut (gate);
  imago_batch_run_async (batch, G_PRIORITY_DEFAULT, NULL, test_result_cb, &slot);
  test_gate_wait_inside (gate, 8);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  test_gate_open (gate);
  result = test_slot_wait (&slot);
  g_assert_true (imago_batch_run_finish (batch, result, &error));
  g_assert_no_error (error);
  for (guint i = 0; i < 8; i++)
    {
      g_autoptr (GBytes) bytes = imago_batch_dup_bytes (batch, i);

      test_gate_check (bytes, offset_of (i), COUNT);
    }
  test_slot_clear (&slot);
  g_object_unref (image);
  g_clear_object (&batch);
  test_gate_wait_unused (gate);
  img_storage_unref (gate);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/batch/round-trip/sync", NULL, test_round_trip);
  g_test_add_data_func ("/batch/round-trip/async", "async", test_round_trip);
  g_test_add_data_func ("/batch/one-fails/sync", NULL, test_one_fails);
  g_test_add_data_func ("/batch/one-fails/async", "async", test_one_fails);
  g_test_add_data_func ("/batch/memory/sync", NULL, test_memory);
  g_test_add_data_func ("/batch/memory/async", GINT_TO_POINTER (TRUE), test_memory);
  g_test_add_data_func ("/batch/nothing/sync", NULL, test_nothing);
  g_test_add_data_func ("/batch/nothing/async", "async", test_nothing);
  g_test_add_func ("/batch/together", test_together);
  return g_test_run ();
}
