/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The disk as a GInputStream. */

#include "test-gate.h"

#define SIZE (300 * 1024)

typedef struct
{
  ImgStorage *gate;
  GInputStream *stream; /* keeps the image */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = NULL;

  fixture->gate = test_gate_new (SIZE);
  image = test_gate_open_image (fixture->gate);
  fixture->stream = imago_image_create_input_stream (image);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->stream);
  test_gate_wait_unused (fixture->gate);
  img_storage_unref (fixture->gate);
}

static goffset
tell (Fixture *fixture)
{
  return g_seekable_tell (G_SEEKABLE (fixture->stream));
}

static void
test_read (Fixture *fixture, gconstpointer data)
{
  g_autofree guint8 *memory = g_malloc (SIZE);
  g_autoptr (GError) error = NULL;
  gsize n_read;

  g_assert_cmpint (g_input_stream_read (fixture->stream, memory, 1000, NULL, &error), ==, 1000);
  g_assert_cmpint (g_input_stream_read (fixture->stream, memory + 1000, 1, NULL, &error), ==, 1);
  g_assert_cmpint (tell (fixture), ==, 1001);
  g_assert_true (
    g_input_stream_read_all (fixture->stream, memory + 1001, SIZE, &n_read, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n_read, ==, SIZE - 1001); /* short at the end */
  test_gate_check_memory (memory, 0, SIZE);
  g_assert_cmpint (g_input_stream_read (fixture->stream, memory, 10, NULL, &error), ==, 0);
  g_assert_cmpint (tell (fixture), ==, SIZE);
}

static void
test_seek (Fixture *fixture, gconstpointer data)
{
  GSeekable *seekable = G_SEEKABLE (fixture->stream);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = NULL;
  static const struct
  {
    goffset offset;
    GSeekType type;
    goffset expected; /* -1: refused */
  } steps[] = {
    { 5, G_SEEK_SET, 5 },
    { 10, G_SEEK_CUR, 15 },
    { -15, G_SEEK_CUR, 0 },
    { -1, G_SEEK_CUR, -1 },
    { -1, G_SEEK_SET, -1 },
    { 0, G_SEEK_END, SIZE },
    { 1, G_SEEK_END, -1 },
    { 1, G_SEEK_CUR, -1 },
    { -SIZE, G_SEEK_END, 0 },
    { -SIZE - 1, G_SEEK_END, -1 },
    { G_MAXOFFSET, G_SEEK_SET, -1 },
    { G_MINOFFSET, G_SEEK_END, -1 },
    { SIZE, G_SEEK_SET, SIZE },
    { -700, G_SEEK_END, SIZE - 700 },
  };

  g_assert_true (g_seekable_can_seek (seekable));
  for (guint i = 0; i < G_N_ELEMENTS (steps); i++)
    {
      goffset before = tell (fixture);

      if (steps[i].expected >= 0)
        {
          g_assert_true (g_seekable_seek (seekable, steps[i].offset, steps[i].type, NULL, &error));
          g_assert_no_error (error);
          g_assert_cmpint (tell (fixture), ==, steps[i].expected);
          continue;
        }
      g_assert_false (g_seekable_seek (seekable, steps[i].offset, steps[i].type, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
      g_clear_error (&error);
      g_assert_cmpint (tell (fixture), ==, before);
    }
  bytes = g_input_stream_read_bytes (fixture->stream, 1000, NULL, &error);
  g_assert_no_error (error);
  test_gate_check (bytes, SIZE - 700, 700);

  g_assert_false (g_seekable_can_truncate (seekable));
  g_assert_false (g_seekable_truncate (seekable, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

static void
test_skip (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_cmpint (g_input_stream_skip (fixture->stream, 100, NULL, &error), ==, 100);
  g_input_stream_skip_async (fixture->stream, 1000, 0, NULL, test_result_cb, &slot);
  g_assert_cmpint (g_input_stream_skip_finish (fixture->stream, test_slot_wait (&slot), &error), ==,
                   1000);
  test_slot_clear (&slot);
  g_assert_cmpint (tell (fixture), ==, 1100);
  g_assert_cmpint (g_input_stream_skip (fixture->stream, G_MAXSSIZE, NULL, &error), ==,
                   SIZE - 1100);
  g_input_stream_skip_async (fixture->stream, 1, 0, NULL, test_result_cb, &slot);
  g_assert_cmpint (g_input_stream_skip_finish (fixture->stream, test_slot_wait (&slot), &error), ==,
                   0);
  test_slot_clear (&slot);
  g_assert_no_error (error);
  /* Nothing was read for that. */
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads +
                      test_gate_get_counts (fixture->gate).n_tries,
                    ==, 0);

  g_cancellable_cancel (cancellable);
  g_assert_true (g_seekable_seek (G_SEEKABLE (fixture->stream), 7, G_SEEK_SET, NULL, NULL));
  g_assert_cmpint (g_input_stream_skip (fixture->stream, 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_input_stream_skip_async (fixture->stream, 1, 0, cancellable, test_result_cb, &slot);
  g_assert_cmpint (g_input_stream_skip_finish (fixture->stream, test_slot_wait (&slot), &error), ==,
                   -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (tell (fixture), ==, 7);
  test_slot_clear (&slot);
}

static void
test_async (Fixture *fixture, gconstpointer data)
{
  g_autofree guint8 *memory = g_malloc (SIZE + 100);
  gsize n_read = 0;

  for (guint i = 0;; i++)
    {
      g_autoptr (GError) error = NULL;
      TestSlot slot = { 0 };
      gssize n;

      /* Inline, through a worker, and once more than is ever answered inline. */
      test_gate_refuse_tries (fixture->gate, i % 2);
      g_input_stream_read_async (fixture->stream, memory + n_read, i == 4 ? 270000 : 3000, 0, NULL,
                                 test_result_cb, &slot);
      g_assert_cmpuint (slot.n_calls, ==, 0);
      n = g_input_stream_read_finish (fixture->stream, test_slot_wait (&slot), &error);
      test_slot_clear (&slot);
      g_assert_no_error (error);
      g_assert_cmpint (n, >=, 0);
      n_read += (gsize) n;
      g_assert_cmpint (tell (fixture), ==, n_read);
      if (n == 0)
        break;
    }
  g_assert_cmpuint (n_read, ==, SIZE);
  test_gate_check_memory (memory, 0, SIZE);
}

static void
test_async_bytes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = NULL;
  TestSlot slot = { 0 };

  g_input_stream_read_bytes_async (fixture->stream, 5000, 0, NULL, test_result_cb, &slot);
  bytes = g_input_stream_read_bytes_finish (fixture->stream, test_slot_wait (&slot), &error);
  g_assert_no_error (error);
  test_gate_check (bytes, 0, 5000);
  test_slot_clear (&slot);
}

/* The memory is the caller's, so a cancelled read is answered only when nothing touches it any
 * more. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  guint8 memory[512];
  gssize n;

  test_gate_shut (fixture->gate);
  g_input_stream_read_async (fixture->stream, memory, sizeof memory, 0, cancellable, test_result_cb,
                             &slot);
  test_gate_wait_inside (fixture->gate, 1);
  g_cancellable_cancel (cancellable);
  g_usleep (20000);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (slot.n_calls, ==, 0);
  test_gate_open (fixture->gate);
  n = g_input_stream_read_finish (fixture->stream, test_slot_wait (&slot), &error);
  test_slot_clear (&slot);
  /* Read, and handed over; or given up, and the position is where it was. */
  if (n < 0)
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  else
    test_gate_check_memory (memory, 0, (gsize) n);
  g_assert_cmpint (tell (fixture), ==, MAX (n, 0));
  g_clear_error (&error);

  g_input_stream_read_async (fixture->stream, memory, sizeof memory, 0, cancellable, test_result_cb,
                             &slot);
  g_assert_cmpint (g_input_stream_read_finish (fixture->stream, test_slot_wait (&slot), &error), ==,
                   -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  test_slot_clear (&slot);
  g_clear_error (&error);
  g_assert_cmpint (g_input_stream_read (fixture->stream, memory, 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_pending (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  guint8 memory[512];

  g_input_stream_read_async (fixture->stream, memory, sizeof memory, 0, NULL, test_result_cb,
                             &slot);
  g_assert_false (g_seekable_seek (G_SEEKABLE (fixture->stream), 0, G_SEEK_SET, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_assert_cmpint (g_input_stream_read_finish (fixture->stream, test_slot_wait (&slot), NULL), ==,
                   512);
  test_slot_clear (&slot);
}

static void
test_close (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  guint8 byte;

  g_input_stream_close_async (fixture->stream, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_input_stream_close_finish (fixture->stream, test_slot_wait (&slot), &error));
  test_slot_clear (&slot);
  g_assert_no_error (error);
  g_assert_true (g_input_stream_is_closed (fixture->stream));
  g_assert_cmpint (g_input_stream_read (fixture->stream, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

static void
test_splice (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_output_stream_splice_async (target, fixture->stream, G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE, 0,
                                NULL, test_result_cb, &slot);
  g_assert_cmpint (g_output_stream_splice_finish (target, test_slot_wait (&slot), &error), ==,
                   SIZE);
  test_slot_clear (&slot);
  g_assert_no_error (error);
  test_gate_check_memory (g_memory_output_stream_get_data (G_MEMORY_OUTPUT_STREAM (target)), 0,
                          SIZE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/glib/stream/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("read", test_read);
  ADD ("seek", test_seek);
  ADD ("skip", test_skip);
  ADD ("async", test_async);
  ADD ("async-bytes", test_async_bytes);
  ADD ("cancelled", test_cancelled);
  ADD ("pending", test_pending);
  ADD ("close", test_close);
  ADD ("splice", test_splice);
  return g_test_run ();
}
