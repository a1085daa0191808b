/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The disk as a GIOStream, and what other streams make of it. */

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>
#include <unistd.h>

#include "test-gate.h"
#include "test-images.h"

#define SIZE (1024 * 1024)

/* ---- a storage that counts flushes and can refuse them ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  gint n_flushes; /* atomic, as the next one */
  gint flush_fails;
} Counting;

static void
counting_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Counting *counting = (Counting *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (ios[i].op == IMG_IO_FLUSH)
        g_atomic_int_inc (&counting->n_flushes);
      if (ios[i].op != IMG_IO_FLUSH || !g_atomic_int_get (&counting->flush_fails))
        {
          img_storage_submit (counting->base, &ios[i], 1);
          continue;
        }
      img_error_set_errno (&error, EIO, "The disk is on fire");
      img_io_complete (&ios[i], error);
    }
}

static gboolean
counting_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Counting *) storage)->base, size, error);
}

static void
counting_free (ImgStorage *storage)
{
  img_storage_unref (((Counting *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass counting_class = {
  .type_name = "counting",
  .submit = counting_submit,
  .get_size = counting_get_size,
  .free = counting_free,
};

/* ---- the disk: random bytes in a raw image, or an empty qcow2 one ---- */

typedef struct
{
  Counting *counting;
  ImagoImage *image;
  GIOStream *stream;
  GInputStream *input;
  GOutputStream *output;
  guint8 *expected;
} Fixture;

static ImagoImage *
open_image (ImgStorage *core, const char *format, gboolean writable)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoStorage) storage = imago_storage_new_from_core (core);
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_format_name (options, format);
  imago_open_options_set_writable (options, writable);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

static void
set_up (Fixture *fixture, gconstpointer format)
{
  Counting *counting = g_new0 (Counting, 1);
  g_autoptr (GByteArray) content = NULL;
  ImgError *error = NULL;

  fixture->expected = g_malloc0 (SIZE);
  if (g_str_equal (format, "qcow2"))
    content = test_qcow2_new (&(TestQcow2) { .size = SIZE });
  else
    {
      content = test_pattern_new (SIZE, 7);
      memcpy (fixture->expected, content->data, SIZE);
    }
  img_storage_init (&counting->parent, &counting_class, NULL);
  counting->parent.can_write = TRUE;
  counting->base = img_memory_storage_new_writable (0);
  g_assert_true (img_storage_write (counting->base, 0, content->data, content->len, &error));
  fixture->counting = counting;
  fixture->image = open_image (&counting->parent, format, TRUE);
  fixture->stream = imago_image_create_io_stream (fixture->image);
  fixture->input = g_io_stream_get_input_stream (fixture->stream);
  fixture->output = g_io_stream_get_output_stream (fixture->stream);
}

static void
tear_down (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;

  bytes = imago_image_read_bytes (fixture->image, 0, SIZE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), SIZE, fixture->expected, SIZE);
  g_clear_object (&fixture->stream);
  /* A thread of GIO's may drop the last reference, a little later. */
  g_clear_object (&fixture->image);
  test_gate_wait_unused (&fixture->counting->parent);
  img_storage_unref (&fixture->counting->parent);
  g_free (fixture->expected);
}

static goffset
tell (Fixture *fixture)
{
  goffset position = g_seekable_tell (G_SEEKABLE (fixture->stream));

  g_assert_cmpint (g_seekable_tell (G_SEEKABLE (fixture->input)), ==, position);
  g_assert_cmpint (g_seekable_tell (G_SEEKABLE (fixture->output)), ==, position);
  return position;
}

static void
seek (gpointer stream, goffset offset)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (g_seekable_seek (stream, offset, G_SEEK_SET, NULL, &error));
  g_assert_no_error (error);
}

/* ---- the tests ---- */

static void
test_one_position (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  guint8 memory[100];

  g_assert_true (g_seekable_can_seek (G_SEEKABLE (fixture->stream)));
  g_assert_cmpint (g_output_stream_write (fixture->output, "one", 3, NULL, &error), ==, 3);
  memcpy (fixture->expected, "one", 3);
  g_assert_cmpint (g_input_stream_read (fixture->input, memory, 100, NULL, &error), ==, 100);
  g_assert_cmpmem (memory, 100, fixture->expected + 3, 100);
  g_assert_cmpint (tell (fixture), ==, 103);
  seek (fixture->stream, 70000);
  g_assert_cmpint (g_output_stream_write (fixture->output, "two", 3, NULL, &error), ==, 3);
  memcpy (fixture->expected + 70000, "two", 3);
  seek (fixture->input, 1);
  g_assert_cmpint (g_input_stream_skip (fixture->input, 69999, NULL, &error), ==, 69999);
  g_assert_cmpint (tell (fixture), ==, 70000);
  g_assert_cmpint (g_input_stream_read (fixture->input, memory, 3, NULL, &error), ==, 3);
  g_assert_cmpmem (memory, 3, "two", 3);
  seek (fixture->output, 5);
  g_assert_cmpint (tell (fixture), ==, 5);
  g_assert_no_error (error);
}

static void
test_end (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  seek (fixture->stream, SIZE - 3);
  g_assert_cmpint (g_output_stream_write (fixture->output, "12345", 5, NULL, &error), ==, 3);
  memcpy (fixture->expected + SIZE - 3, "123", 3);
  g_assert_no_error (error);
  g_assert_cmpint (tell (fixture), ==, SIZE);
  g_assert_cmpint (g_output_stream_write (fixture->output, "45", 2, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_clear_error (&error);
  g_output_stream_write_async (fixture->output, "45", 2, 0, NULL, test_result_cb, &slot);
  g_assert_cmpint (g_output_stream_write_finish (fixture->output, test_slot_wait (&slot), &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_cmpint (tell (fixture), ==, SIZE);
  test_slot_clear (&slot);
}

static void
test_async (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GByteArray) content = test_pattern_new (300000, 3);
  GOutputVector vectors[] = { { "a", 1 }, { NULL, 0 }, { content->data, 1000 } };
  TestSlot slot = { 0 };
  gsize n_written;

  seek (fixture->stream, 1000);
  g_output_stream_write_all_async (fixture->output, content->data, content->len, 0, NULL, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  g_assert_true (g_output_stream_write_all_finish (fixture->output, test_slot_wait (&slot), &n_written, &error));
  test_slot_clear (&slot);
  g_assert_cmpuint (n_written, ==, content->len);
  memcpy (fixture->expected + 1000, content->data, content->len);
  g_assert_cmpint (tell (fixture), ==, 301000);

  g_output_stream_writev_async (fixture->output, vectors, 3, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_output_stream_writev_finish (fixture->output, test_slot_wait (&slot), &n_written, &error));
  test_slot_clear (&slot);
  g_assert_cmpuint (n_written, ==, 1001);
  fixture->expected[301000] = 'a';
  memcpy (fixture->expected + 301001, content->data, 1000);
  g_assert_true (g_output_stream_writev (fixture->output, vectors, 3, &n_written, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n_written, ==, 1001);
  memcpy (fixture->expected + 302001, fixture->expected + 301000, 1001);

  /* At the end a vector is cut, too. */
  seek (fixture->stream, SIZE - 2);
  g_assert_true (g_output_stream_writev (fixture->output, vectors, 3, &n_written, NULL, &error));
  g_assert_cmpuint (n_written, ==, 2);
  fixture->expected[SIZE - 2] = 'a';
  fixture->expected[SIZE - 1] = content->data[0];
}

static void
test_flush (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  gint before = g_atomic_int_get (&fixture->counting->n_flushes);

  g_assert_cmpint (g_output_stream_write (fixture->output, "x", 1, NULL, &error), ==, 1);
  fixture->expected[0] = 'x';
  g_assert_true (g_output_stream_flush (fixture->output, NULL, &error));
  g_assert_cmpint (g_atomic_int_get (&fixture->counting->n_flushes), >, before);
  before = g_atomic_int_get (&fixture->counting->n_flushes);
  g_assert_cmpint (g_output_stream_write (fixture->output, "y", 1, NULL, &error), ==, 1);
  fixture->expected[1] = 'y';
  g_output_stream_flush_async (fixture->output, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_output_stream_flush_finish (fixture->output, test_slot_wait (&slot), &error));
  test_slot_clear (&slot);
  g_assert_no_error (error);
  g_assert_cmpint (g_atomic_int_get (&fixture->counting->n_flushes), >, before);
}

static void
test_flush_fails (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_cmpint (g_output_stream_write (fixture->output, "x", 1, NULL, &error), ==, 1);
  fixture->expected[0] = 'x';
  g_atomic_int_set (&fixture->counting->flush_fails, TRUE);
  g_io_stream_close_async (fixture->stream, 0, NULL, test_result_cb, &slot);
  g_assert_false (g_io_stream_close_finish (fixture->stream, test_slot_wait (&slot), &error));
  g_assert_nonnull (error);
  test_slot_clear (&slot);
}

static void
test_close (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  gint before;
  guint8 byte;

  g_assert_cmpint (g_output_stream_write (fixture->output, "x", 1, NULL, &error), ==, 1);
  fixture->expected[0] = 'x';
  before = g_atomic_int_get (&fixture->counting->n_flushes);
  g_io_stream_close_async (fixture->stream, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_io_stream_close_finish (fixture->stream, test_slot_wait (&slot), &error));
  g_assert_no_error (error);
  test_slot_clear (&slot);
  g_assert_cmpint (g_atomic_int_get (&fixture->counting->n_flushes), >, before);
  g_assert_true (g_input_stream_is_closed (fixture->input));
  g_assert_true (g_output_stream_is_closed (fixture->output));
  g_assert_cmpint (g_input_stream_read (fixture->input, &byte, 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_false (g_seekable_seek (G_SEEKABLE (fixture->stream), 0, G_SEEK_SET, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

/* Dropping the last reference waits for nothing: neither the whole stream nor a side flushes. */
static void
test_drop (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GError) error = NULL;
  GOutputStream *output = g_object_ref (fixture->output);
  gint before;

  g_assert_cmpint (g_output_stream_write (output, "x", 1, NULL, &error), ==, 1);
  fixture->expected[0] = 'x';
  before = g_atomic_int_get (&fixture->counting->n_flushes);
  g_clear_object (&fixture->stream);
  g_assert_cmpint (g_output_stream_write (output, "y", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
  g_object_unref (output);
  g_assert_cmpint (g_atomic_int_get (&fixture->counting->n_flushes), ==, before);
}

static void
test_pending (Fixture *fixture, gconstpointer format)
{
  GSeekable *seekable = G_SEEKABLE (fixture->stream);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  guint8 memory[512];

  g_input_stream_read_async (fixture->input, memory, sizeof memory, 0, NULL, test_result_cb, &slot);
  g_assert_false (g_seekable_seek (seekable, 0, G_SEEK_SET, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_assert_cmpint (g_input_stream_read_finish (fixture->input, test_slot_wait (&slot), NULL), ==, 512);
  test_slot_clear (&slot);
  g_output_stream_write_async (fixture->output, "abc", 3, 0, NULL, test_result_cb, &slot);
  memcpy (fixture->expected + 512, "abc", 3);
  g_assert_false (g_seekable_truncate (seekable, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_clear_error (&error);
  g_assert_false (g_seekable_seek (G_SEEKABLE (fixture->output), 0, G_SEEK_SET, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
  g_assert_cmpint (g_output_stream_write_finish (fixture->output, test_slot_wait (&slot), NULL), ==, 3);
  test_slot_clear (&slot);
  /* Refused, and nothing is left pending. */
  seek (fixture->stream, 5);
}

static void
test_cancelled (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_cancellable_cancel (cancellable);
  g_assert_cmpint (g_output_stream_write (fixture->output, "x", 1, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_output_stream_write_async (fixture->output, "x", 1, 0, cancellable, test_result_cb, &slot);
  g_assert_cmpint (g_output_stream_write_finish (fixture->output, test_slot_wait (&slot), &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  test_slot_clear (&slot);
  g_clear_error (&error);
  g_assert_false (g_seekable_seek (G_SEEKABLE (fixture->stream), 9, G_SEEK_SET, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpint (tell (fixture), ==, 0);
}

static void
test_truncate (Fixture *fixture, gconstpointer format)
{
  GSeekable *seekable = G_SEEKABLE (fixture->stream);
  g_autoptr (GError) error = NULL;
  guint8 byte;

  g_assert_true (g_seekable_can_truncate (seekable));
  g_assert_false (g_seekable_truncate (seekable, -1, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  seek (fixture->stream, SIZE);
  g_assert_true (g_seekable_truncate (seekable, SIZE / 2, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (imago_image_get_size (fixture->image), ==, SIZE / 2);
  /* The position is behind the end now: there is nothing to read, and no room to write. */
  g_assert_cmpint (g_input_stream_read (fixture->input, &byte, 1, NULL, &error), ==, 0);
  g_assert_cmpint (g_output_stream_write (fixture->output, "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_clear_error (&error);
  g_assert_true (g_seekable_seek (seekable, -1, G_SEEK_CUR, NULL, &error));
  g_assert_cmpint (tell (fixture), ==, SIZE / 2 - 1);
  g_assert_true (g_seekable_truncate (G_SEEKABLE (fixture->output), SIZE, NULL, &error));
  g_assert_no_error (error);
  memset (fixture->expected + SIZE / 2, 0, SIZE / 2);
}

static void
test_read_only (Fixture *fixture, gconstpointer format)
{
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GIOStream) stream = NULL;
  g_autoptr (GError) error = NULL;
  GOutputStream *output;

  image = open_image (&fixture->counting->parent, format, FALSE);
  stream = imago_image_create_io_stream (image);
  output = g_io_stream_get_output_stream (stream);
  g_assert_false (g_seekable_can_truncate (G_SEEKABLE (stream)));
  g_assert_cmpint (g_output_stream_write (output, "x", 1, NULL, &error), ==, -1);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_clear_error (&error);
  g_assert_false (g_seekable_truncate (G_SEEKABLE (stream), 0, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
  g_clear_error (&error);
  g_assert_true (g_io_stream_close (stream, NULL, &error));
  g_assert_no_error (error);
}

/* ---- streams on top ---- */

static void
test_data_stream (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GDataInputStream) data = NULL;
  g_autoptr (GDataOutputStream) out = g_data_output_stream_new (fixture->output);
  g_autoptr (GError) error = NULL;
  g_autofree char *line = NULL;
  TestSlot slot = { 0 };

  g_filter_output_stream_set_close_base_stream (G_FILTER_OUTPUT_STREAM (out), FALSE);
  g_assert_true (g_data_output_stream_put_string (out, "a line\n", NULL, &error));
  g_assert_true (g_data_output_stream_put_uint32 (out, 0x514649fb, NULL, &error));
  memcpy (fixture->expected, "a line\nQFI\xfb", 11);
  seek (fixture->stream, 0);
  data = g_data_input_stream_new (fixture->input);
  g_filter_input_stream_set_close_base_stream (G_FILTER_INPUT_STREAM (data), FALSE);
  g_data_input_stream_read_line_async (data, 0, NULL, test_result_cb, &slot);
  line = g_data_input_stream_read_line_finish (data, test_slot_wait (&slot), NULL, &error);
  test_slot_clear (&slot);
  g_assert_cmpstr (line, ==, "a line");
  g_assert_cmphex (g_data_input_stream_read_uint32 (data, NULL, &error), ==, 0x514649fb);
  g_assert_no_error (error);
}

static void
test_read_all (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GInputStream) buffered = g_buffered_input_stream_new_sized (fixture->input, 5000);
  g_autofree guint8 *memory = g_malloc (SIZE + 1);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  gsize n_read;

  g_input_stream_read_all_async (fixture->input, memory, SIZE + 1, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_input_stream_read_all_finish (fixture->input, test_slot_wait (&slot), &n_read, &error));
  g_assert_no_error (error);
  test_slot_clear (&slot);
  g_assert_cmpmem (memory, n_read, fixture->expected, SIZE);

  seek (fixture->stream, 0);
  memset (memory, 0xee, SIZE);
  g_input_stream_read_all_async (buffered, memory, SIZE + 1, 0, NULL, test_result_cb, &slot);
  g_assert_true (g_input_stream_read_all_finish (buffered, test_slot_wait (&slot), &n_read, &error));
  g_assert_no_error (error);
  test_slot_clear (&slot);
  g_assert_cmpmem (memory, n_read, fixture->expected, SIZE);
}

static gpointer
drain_thread (gpointer data)
{
  g_autoptr (GInputStream) input = g_unix_input_stream_new (GPOINTER_TO_INT (data), TRUE);
  g_autoptr (GOutputStream) all = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;

  g_output_stream_splice (all, input, G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET, NULL, &error);
  g_assert_no_error (error);
  return g_memory_output_stream_steal_as_bytes (G_MEMORY_OUTPUT_STREAM (all));
}

static void
test_pipe (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GOutputStream) target = NULL;
  g_autoptr (GBytes) arrived = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  GThread *thread;
  int ends[2];

  g_assert_cmpint (pipe (ends), ==, 0);
  thread = g_thread_new ("drain", drain_thread, GINT_TO_POINTER (ends[0]));
  target = g_unix_output_stream_new (ends[1], TRUE);
  g_output_stream_splice_async (target, fixture->input, G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET, 0, NULL, test_result_cb, &slot);
  g_assert_cmpint (g_output_stream_splice_finish (target, test_slot_wait (&slot), &error), ==, SIZE);
  g_assert_no_error (error);
  test_slot_clear (&slot);
  arrived = g_thread_join (thread);
  g_assert_cmpmem (g_bytes_get_data (arrived, NULL), g_bytes_get_size (arrived), fixture->expected, SIZE);
}

/* Into the disk, from another stream. */
static void
test_splice_in (Fixture *fixture, gconstpointer format)
{
  g_autoptr (GByteArray) content = test_pattern_new (200000, 9);
  g_autoptr (GInputStream) source = g_memory_input_stream_new_from_data (content->data, content->len, NULL);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  seek (fixture->stream, 100);
  g_output_stream_splice_async (fixture->output, source, G_OUTPUT_STREAM_SPLICE_NONE, 0, NULL, test_result_cb, &slot);
  g_assert_cmpint (g_output_stream_splice_finish (fixture->output, test_slot_wait (&slot), &error), ==, 200000);
  g_assert_no_error (error);
  test_slot_clear (&slot);
  memcpy (fixture->expected + 100, content->data, content->len);
}

int
main (int argc, char **argv)
{
  static const char *const formats[] = { "raw", "qcow2" };

  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    {
#define ADD(name, func)                                                                   \
  do                                                                                      \
    {                                                                                     \
      g_autofree char *path = g_strdup_printf ("/glib/io-stream/%s/%s", formats[i], name); \
      g_test_add (path, Fixture, formats[i], set_up, func, tear_down);                    \
    }                                                                                     \
  while (0)
      ADD ("one-position", test_one_position);
      ADD ("end", test_end);
      ADD ("async", test_async);
      ADD ("flush", test_flush);
      ADD ("flush-fails", test_flush_fails);
      ADD ("close", test_close);
      ADD ("drop", test_drop);
      ADD ("pending", test_pending);
      ADD ("cancelled", test_cancelled);
      ADD ("truncate", test_truncate);
      ADD ("read-only", test_read_only);
      ADD ("data-stream", test_data_stream);
      ADD ("read-all", test_read_all);
      ADD ("pipe", test_pipe);
      ADD ("splice-in", test_splice_in);
    }
  return g_test_run ();
}
