/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A disk is copied into streams of every kind, by a blocking and by an asynchronous call. */

#include <gio/gunixoutputstream.h>
#include <glib-unix.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-gate.h"
#include "test-images.h"
#include "test-seekers.h"

#define CLUSTER TEST_QCOW2_CLUSTER
#define SIZE (8 * 1024 * 1024 + 512)
#define HUGE_SIZE (G_GUINT64_CONSTANT (1) << 40)

/* ---- the disk: data of three clusters and of one, holes around them, data at the end ---- */

typedef struct
{
  ImagoImage *image;
  guint8 *expected;
} Fixture;

static gboolean
is_async (gconstpointer data)
{
  return data != NULL;
}

static ImagoImage *
make_image (guint64 size)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (&(TestQcow2) { .size = size }));
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_storage_write_bytes (storage, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_writable (options, TRUE);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

static void
put (ImagoImage *image, guint8 *expected, guint64 offset, gsize length, guint8 seed)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_pattern_new (length, seed));
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, offset, bytes, NULL, &error);
  g_assert_no_error (error);
  if (expected != NULL)
    memcpy (expected + offset, g_bytes_get_data (bytes, NULL), length);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->image = make_image (SIZE);
  fixture->expected = g_malloc0 (SIZE);
  put (fixture->image, fixture->expected, 2 * CLUSTER, 3 * CLUSTER, 1);
  put (fixture->image, fixture->expected, 40 * CLUSTER + 100, 1000, 2);
  put (fixture->image, fixture->expected, 80 * CLUSTER, 30 * CLUSTER, 3); /* more than a piece */
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_object_unref (fixture->image);
  g_free (fixture->expected);
}

static gssize
copy (ImagoImage *image,
      gconstpointer data,
      GOutputStream *stream,
      guint64 offset,
      guint64 length,
      GCancellable *cancellable,
      GError **error)
{
  TestSlot slot = { 0 };
  gssize n;

  if (!is_async (data))
    return imago_image_splice (image, stream, offset, length, cancellable, error);
  imago_image_splice_async (image, stream, offset, length, G_PRIORITY_HIGH, cancellable, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  n = imago_image_splice_finish (image, test_slot_wait (&slot), error);
  test_slot_clear (&slot);
  return n;
}

static void
check_copy (Fixture *fixture, gconstpointer data, GOutputStream *stream)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (copy (fixture->image, data, stream, 0, SIZE, NULL, &error), ==, SIZE);
  g_assert_no_error (error);
}

/* ---- streams that become longer ---- */

static void
test_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();

  check_copy (fixture, data, stream);
  g_assert_cmpmem (g_memory_output_stream_get_data (G_MEMORY_OUTPUT_STREAM (stream)),
                   g_memory_output_stream_get_data_size (G_MEMORY_OUTPUT_STREAM (stream)),
                   fixture->expected, SIZE);
}

/* Over what was there, and a part of the disk at some place. */
static void
test_old_content (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();
  GMemoryOutputStream *memory = G_MEMORY_OUTPUT_STREAM (stream);
  g_autofree guint8 *old = g_malloc (3 * 1024 * 1024);
  g_autoptr (GError) error = NULL;

  memset (old, 0xee, 3 * 1024 * 1024);
  g_assert_true (g_output_stream_write_all (stream, old, 3 * 1024 * 1024, NULL, NULL, &error));
  g_assert_true (g_seekable_seek (G_SEEKABLE (stream), 1000, G_SEEK_SET, NULL, &error));
  g_assert_cmpint (copy (fixture->image, data, stream, CLUSTER, 60 * CLUSTER, NULL, &error), ==, 60 * CLUSTER);
  g_assert_cmpint (g_seekable_tell (G_SEEKABLE (stream)), ==, 1000 + 60 * CLUSTER);
  g_assert_cmpmem (g_memory_output_stream_get_data (memory), 1000, old, 1000);
  g_assert_cmpmem ((guint8 *) g_memory_output_stream_get_data (memory) + 1000,
                   g_memory_output_stream_get_data_size (memory) - 1000, fixture->expected + CLUSTER, 60 * CLUSTER);
}

/* The time this takes follows the data. */
static void
test_huge (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoImage) image = make_image (HUGE_SIZE);
  char *folder = test_folder_new ();
  g_autofree char *path = test_path (folder, "copy.raw");
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFileOutputStream) stream = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *content = g_malloc (5 * CLUSTER);
  g_autoptr (GByteArray) wanted = test_pattern_new (5 * CLUSTER, 4);
  struct stat st;
  FILE *written;

  put (image, NULL, HUGE_SIZE / 2, 5 * CLUSTER, 4);
  stream = g_file_create (file, G_FILE_CREATE_NONE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (copy (image, data, G_OUTPUT_STREAM (stream), 0, G_MAXUINT64, NULL, &error), ==, HUGE_SIZE);
  g_assert_no_error (error);
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (stream), NULL, &error));
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpuint (st.st_size, ==, HUGE_SIZE);
  g_assert_cmpuint ((guint64) st.st_blocks * 512, <, 16 * CLUSTER);
  written = fopen (path, "rb");
  g_assert_cmpint (fseeko (written, (off_t) (HUGE_SIZE / 2), SEEK_SET), ==, 0);
  g_assert_cmpuint (fread (content, 1, 5 * CLUSTER, written), ==, 5 * CLUSTER);
  fclose (written);
  g_assert_cmpmem (content, 5 * CLUSTER, wanted->data, wanted->len);
  test_folder_remove (folder);
}

/* A file that takes everything at its end, wherever its position is. */
static void
test_append (Fixture *fixture, gconstpointer data)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_write (folder, "copy.raw", test_pattern_new (CLUSTER, 9));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFileOutputStream) stream = NULL;
  g_autoptr (GByteArray) old = test_pattern_new (CLUSTER, 9);
  g_autofree char *content = NULL;
  g_autoptr (GError) error = NULL;
  gsize length;

  stream = g_file_append_to (file, G_FILE_CREATE_NONE, NULL, &error);
  g_assert_no_error (error);
  check_copy (fixture, data, G_OUTPUT_STREAM (stream));
  g_assert_true (g_file_get_contents (path, &content, &length, &error));
  g_assert_cmpuint (length, ==, CLUSTER + SIZE);
  g_assert_cmpmem (content, CLUSTER, old->data, CLUSTER);
  g_assert_cmpmem (content + CLUSTER, SIZE, fixture->expected, SIZE);
  test_folder_remove (folder);
}

/* In parts, which is how progress is shown; behind a buffer. */
static void
test_parts (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) memory = g_memory_output_stream_new_resizable ();
  g_autoptr (GOutputStream) stream = g_buffered_output_stream_new (memory);
  g_autoptr (GError) error = NULL;
  guint64 offset = 0;
  guint n_parts = 0;
  gssize n;

  while ((n = copy (fixture->image, data, stream, offset, 1000000, NULL, &error)) > 0)
    {
      offset += (guint64) n;
      n_parts++;
    }
  g_assert_no_error (error);
  g_assert_cmpuint (offset, ==, SIZE);
  g_assert_cmpuint (n_parts, ==, 9);
  g_assert_cmpint (copy (fixture->image, data, stream, G_MAXUINT64, G_MAXUINT64, NULL, &error), ==, 0);
  g_assert_true (g_output_stream_flush (stream, NULL, &error));
  g_assert_cmpmem (g_memory_output_stream_get_data (G_MEMORY_OUTPUT_STREAM (memory)),
                   g_memory_output_stream_get_data_size (G_MEMORY_OUTPUT_STREAM (memory)),
                   fixture->expected, SIZE);
}

/* ---- streams that do not ---- */

static gpointer
read_pipe (gpointer data)
{
  int fd = GPOINTER_TO_INT (data);
  GByteArray *bytes = g_byte_array_new ();
  guint8 part[4096];
  gssize n;

  while ((n = read (fd, part, sizeof part)) > 0)
    g_byte_array_append (bytes, part, (guint) n);
  close (fd);
  return bytes;
}

static void
test_pipe (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = NULL;
  g_autoptr (GByteArray) bytes = NULL;
  GThread *thread;
  int ends[2];

  g_assert_cmpint (pipe (ends), ==, 0);
  thread = g_thread_new ("reader", read_pipe, GINT_TO_POINTER (ends[0]));
  stream = g_unix_output_stream_new (ends[1], TRUE);
  check_copy (fixture, data, stream);
  g_assert_true (g_output_stream_close (stream, NULL, NULL));
  bytes = g_thread_join (thread);
  g_assert_cmpmem (bytes->data, bytes->len, fixture->expected, SIZE);
}

typedef struct
{
  int fd;
  GByteArray *bytes;
} Reader;

static gboolean
read_some_cb (gint fd, GIOCondition condition, gpointer data)
{
  Reader *reader = data;
  guint8 part[6000];
  gssize n = read (fd, part, sizeof part);

  g_assert_cmpint (n, >=, 0);
  g_byte_array_append (reader->bytes, part, (guint) n);
  return n > 0;
}

/* Who reads the pipe is the loop itself: if it waited for room, nobody would ever make some. */
static void
test_pipe_of_loop (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = NULL;
  Reader reader = { .bytes = g_byte_array_new () };
  int ends[2];
  guint source;

  g_assert_cmpint (pipe (ends), ==, 0);
  source = g_unix_fd_add (ends[0], G_IO_IN | G_IO_HUP, read_some_cb, &reader);
  stream = g_unix_output_stream_new (ends[1], TRUE);
  check_copy (fixture, data, stream);
  g_assert_true (g_output_stream_close (stream, NULL, NULL));
  while (read_some_cb (ends[0], G_IO_IN, &reader))
    ;
  g_source_remove (source);
  close (ends[0]);
  g_assert_cmpmem (reader.bytes->data, reader.bytes->len, fixture->expected, SIZE);
  g_byte_array_unref (reader.bytes);
}

static void
test_fixed (Fixture *fixture, gconstpointer data)
{
  g_autofree guint8 *memory = g_malloc (SIZE);
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new (memory, SIZE, NULL, NULL);

  memset (memory, 0xee, SIZE);
  check_copy (fixture, data, stream);
  g_assert_cmpmem (memory, SIZE, fixture->expected, SIZE);
}

/* ---- a stream of the application ---- */

typedef struct
{
  TestSeeker *seeker;
  GIOStream *io;
  GOutputStream *stream;
} Target;

static Target
target_new (void)
{
  Target target;

  target.seeker = test_seeker_new (g_byte_array_new ());
  target.io = test_seeker_make_io (target.seeker);
  target.stream = g_io_stream_get_output_stream (target.io);
  return target;
}

static void
target_clear (Target *target)
{
  g_object_unref (target->io);
  test_seeker_unref (target->seeker);
}

static void
test_short_writes (Fixture *fixture, gconstpointer data)
{
  Target target = target_new ();

  target.seeker->max_read = 50000;
  check_copy (fixture, data, target.stream);
  g_assert_cmpmem (target.seeker->bytes->data, target.seeker->bytes->len, fixture->expected, SIZE);
  target_clear (&target);
}

static void
test_no_truncation (Fixture *fixture, gconstpointer data)
{
  Target target = target_new ();

  target.seeker->cannot_truncate = TRUE;
  check_copy (fixture, data, target.stream);
  g_assert_cmpmem (target.seeker->bytes->data, target.seeker->bytes->len, fixture->expected, SIZE);
  target_clear (&target);
}

static void
test_refused_truncation (Fixture *fixture, gconstpointer data)
{
  Target target = target_new ();

  target.seeker->refuses_to_grow = TRUE;
  check_copy (fixture, data, target.stream);
  g_assert_cmpmem (target.seeker->bytes->data, target.seeker->bytes->len, fixture->expected, SIZE);
  target_clear (&target);
}

/* Whichever call of the stream fails: its error comes out. */
static void
test_failing (Fixture *fixture, gconstpointer data)
{
  Target target = target_new ();
  gint n_calls;

  check_copy (fixture, data, target.stream);
  n_calls = target.seeker->n_calls;
  g_assert_cmpint (n_calls, >, 10);
  target_clear (&target);
  for (gint i = 1; i <= n_calls; i++)
    {
      g_autoptr (GError) error = NULL;

      target = target_new ();
      target.seeker->fails_at = i;
      g_assert_cmpint (copy (fixture->image, data, target.stream, 0, SIZE, NULL, &error), ==, -1);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      target_clear (&target);
    }
}

static void
test_too_long (Fixture *fixture, gconstpointer data)
{
  TestSeeker *seeker = test_seeker_new (g_byte_array_new ());
  g_autoptr (GIOStream) io = test_seeker_make_io (seeker);
  g_autoptr (GError) error = NULL;

  seeker->shift = G_MAXINT64 - CLUSTER;
  g_assert_cmpint (copy (fixture->image, data, g_io_stream_get_output_stream (io), 0, SIZE, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  test_seeker_unref (seeker);
}

/* ---- the image ---- */

static void
test_closed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_image_close (fixture->image, NULL, NULL));
  g_assert_cmpint (copy (fixture->image, data, stream, 0, SIZE, NULL, &error), ==, -1);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

static void
test_unreadable (Fixture *fixture, gconstpointer data)
{
  ImgStorage *gate = test_gate_new (SIZE);
  ImagoImage *image = test_gate_open_image (gate);
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;

  test_gate_break (gate);
  g_assert_cmpint (copy (image, data, stream, 0, SIZE, NULL, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED); /* EIO */
  g_object_unref (image);
  test_gate_wait_unused (gate);
  img_storage_unref (gate);
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_cmpint (copy (fixture->image, data, stream, 0, SIZE, cancellable, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (g_memory_output_stream_get_data_size (G_MEMORY_OUTPUT_STREAM (stream)), ==, 0);
}

/* A stream that nobody empties is waited for, until somebody has had enough. */
static void
test_cancelled_meanwhile (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GOutputStream) stream = NULL;
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  int ends[2];

  g_assert_cmpint (pipe (ends), ==, 0);
  g_assert_true (g_unix_set_fd_nonblocking (ends[1], TRUE, NULL));
  stream = g_unix_output_stream_new (ends[1], TRUE);
  imago_image_splice_async (fixture->image, stream, 0, SIZE, G_PRIORITY_DEFAULT, cancellable, test_result_cb, &slot);
  for (guint i = 0; i < 20; i++)
    {
      g_main_context_iteration (NULL, FALSE);
      g_usleep (100);
    }
  g_assert_cmpuint (slot.n_calls, ==, 0);
  g_cancellable_cancel (cancellable);
  g_assert_cmpint (imago_image_splice_finish (fixture->image, test_slot_wait (&slot), &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (slot.n_calls, ==, 1);
  test_slot_clear (&slot);
  close (ends[0]);
}

static void
add (const char *name, void (*test) (Fixture *, gconstpointer))
{
  g_autofree char *blocking = g_strconcat ("/splice/blocking/", name, NULL);
  g_autofree char *async = g_strconcat ("/splice/async/", name, NULL);

  g_test_add (blocking, Fixture, NULL, set_up, test, tear_down);
  /* GIO writes what we give it in threads of its own, whose locks ThreadSanitizer does not see: it would look at every
   * word of a mebibyte as a race that is suppressed, for minutes. */
#ifndef __SANITIZE_THREAD__
  g_test_add (async, Fixture, "async", set_up, test, tear_down);
#endif
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add ("memory", test_memory);
  add ("old-content", test_old_content);
  add ("huge", test_huge);
  add ("append", test_append);
  add ("parts", test_parts);
  add ("pipe", test_pipe);
#ifndef __SANITIZE_THREAD__
  g_test_add ("/splice/async/pipe-of-loop", Fixture, "async", set_up, test_pipe_of_loop, tear_down);
#endif
  add ("fixed", test_fixed);
  add ("short-writes", test_short_writes);
  add ("no-truncation", test_no_truncation);
  add ("refused-truncation", test_refused_truncation);
  add ("failing", test_failing);
  add ("too-long", test_too_long);
  add ("closed", test_closed);
  add ("unreadable", test_unreadable);
  add ("cancelled", test_cancelled);
  g_test_add ("/splice/async/cancelled-meanwhile", Fixture, NULL, set_up, test_cancelled_meanwhile, tear_down);
  return g_test_run ();
}
