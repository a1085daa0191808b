/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A job that writes into a GOutputStream of any kind: all of it, in order, up to the first error, and no longer than it is
 * wanted. */

#include <gio/gunixoutputstream.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "test-images.h"

#include <imago-glib/imago-glib.h>

#define SIZE (2 * 1024 * 1024 + 512)

/* ---- a stream that misbehaves ---- */

typedef struct
{
  GOutputStream parent_instance;
  GByteArray *bytes;
  guint n_calls;
  guint fail_at;     /* the call that fails; 0: none */
  gsize max_length;  /* of one call; 0: any */
  gboolean is_stuck; /* takes nothing */
  guint n_flushes;
  gboolean flush_fails;
} TestStream;

typedef GOutputStreamClass TestStreamClass;

GType test_stream_get_type (void);
G_DEFINE_TYPE (TestStream, test_stream, G_TYPE_OUTPUT_STREAM)

static gssize
test_stream_write (GOutputStream *stream, const void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
  TestStream *self = (TestStream *) stream;

  if (++self->n_calls == self->fail_at)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no room for call %u", self->n_calls);
      return -1;
    }
  if (self->is_stuck)
    return 0;
  if (self->max_length > 0)
    count = MIN (count, 1 + self->n_calls * 7919 % self->max_length);
  g_byte_array_append (self->bytes, buffer, (guint) count);
  return (gssize) count;
}

static gboolean
test_stream_flush (GOutputStream *stream, GCancellable *cancellable, GError **error)
{
  TestStream *self = (TestStream *) stream;

  self->n_flushes++;
  if (!self->flush_fails)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED, "gone");
  return FALSE;
}

static void
test_stream_finalize (GObject *object)
{
  g_byte_array_unref (((TestStream *) object)->bytes);
  G_OBJECT_CLASS (test_stream_parent_class)->finalize (object);
}

static void
test_stream_class_init (TestStreamClass *klass)
{
  klass->write_fn = test_stream_write;
  klass->flush = test_stream_flush;
  G_OBJECT_CLASS (klass)->finalize = test_stream_finalize;
}

static void
test_stream_init (TestStream *self)
{
  self->bytes = g_byte_array_new ();
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (TestStream, g_object_unref)

static TestStream *
stream_new (void)
{
  return g_object_new (test_stream_get_type (), NULL);
}

/* ---- the job ---- */

static GBytes *
make_content (void)
{
  return test_to_bytes (test_pattern_new (SIZE, 3));
}

static ImagoImage *
open_disk (GBytes *content)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (content);
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "raw", NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

static ImagoJob *
job_new (ImagoImage *image, const char *format, gpointer stream)
{
  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", image, "format-name", format, "target-stream", stream,
                       "zero-grain", 0, NULL);
}

static void
assert_bytes (GByteArray *found, GBytes *content)
{
  g_assert_cmpmem (found->data, found->len, g_bytes_get_data (content, NULL), g_bytes_get_size (content));
}

static void
test_raw (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  static const gsize lengths[] = { 0, 1000, 70000 };

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    {
      g_autoptr (TestStream) stream = stream_new ();
      g_autoptr (ImagoJob) job = job_new (image, "raw", stream);
      g_autoptr (GOutputStream) same = NULL;
      g_autoptr (GError) error = NULL;

      stream->max_length = lengths[i];
      g_assert_true (imago_job_run (job, NULL, &error));
      g_assert_no_error (error);
      assert_bytes (stream->bytes, content);
      g_assert_cmpuint (stream->n_flushes, ==, 1);
      g_assert_false (g_output_stream_is_closed (G_OUTPUT_STREAM (stream)));
      g_assert_false (g_output_stream_has_pending (G_OUTPUT_STREAM (stream)));
      g_assert_cmpfloat (imago_job_get_progress (job), ==, 1);
      g_object_get (job, "target-stream", &same, NULL);
      g_assert_true (same == (GOutputStream *) stream);
    }
}

static void
test_memory (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();
  g_autoptr (ImagoJob) job = job_new (image, "qcow2", stream);
  g_autoptr (ImagoImage) result = NULL;
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", NULL);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GBytes) found = NULL;

  g_assert_true (imago_job_run (job, NULL, NULL));
  g_assert_true (g_output_stream_close (stream, NULL, NULL));
  bytes = g_memory_output_stream_steal_as_bytes (G_MEMORY_OUTPUT_STREAM (stream));
  storage = imago_memory_storage_new (bytes);
  result = imago_image_open_storage (storage, options, NULL, NULL);
  found = imago_image_read_bytes (result, 0, SIZE, NULL, NULL);
  g_assert_true (g_bytes_equal (found, content));
}

static void
test_compressor (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (TestStream) zipped = stream_new ();
  g_autoptr (GConverter) compressor = G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP, 1));
  g_autoptr (GConverter) decompressor = G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  g_autoptr (GOutputStream) stream = g_converter_output_stream_new (G_OUTPUT_STREAM (zipped), compressor);
  g_autoptr (ImagoJob) job = job_new (image, "raw", stream);
  g_autoptr (GInputStream) input = NULL;
  g_autoptr (GInputStream) plain = NULL;
  g_autofree guint8 *found = g_malloc (SIZE + 1);
  gsize n_read;

  g_assert_true (imago_job_run (job, NULL, NULL));
  g_assert_true (g_output_stream_close (stream, NULL, NULL));
  input = g_memory_input_stream_new_from_data (zipped->bytes->data, zipped->bytes->len, NULL);
  plain = g_converter_input_stream_new (input, decompressor);
  g_assert_true (g_input_stream_read_all (plain, found, SIZE + 1, &n_read, NULL, NULL));
  g_assert_cmpmem (found, n_read, g_bytes_get_data (content, NULL), SIZE);
}

/* What comes in goes out. */
static void
test_stream_to_stream (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (GInputStream) input = g_memory_input_stream_new_from_bytes (content);
  g_autoptr (TestStream) stream = stream_new ();
  g_autoptr (ImagoJob) job = g_object_new (IMAGO_TYPE_CONVERT_JOB, "source-stream", input, "target-stream", stream, NULL);
  g_autoptr (ImagoJob) twice = g_object_new (IMAGO_TYPE_CONVERT_JOB, "source-stream", input, "target-stream", stream,
                                             "format-name", "qcow2", NULL);
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_job_run (job, NULL, NULL));
  assert_bytes (stream->bytes, content);
  g_assert_cmpuint (stream->n_flushes, ==, 1);
  g_assert_false (imago_job_run (twice, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
}

/* ---- failures ---- */

static void
fail_at (ImagoImage *image, const char *format, guint nth, GByteArray *whole)
{
  g_autoptr (TestStream) stream = stream_new ();
  g_autoptr (ImagoJob) job = job_new (image, format, stream);
  g_autoptr (GError) error = NULL;

  stream->fail_at = nth;
  stream->max_length = 400000;
  g_assert_false (imago_job_run (job, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_nonnull (strstr (error->message, "no room"));
  g_assert_cmpuint (stream->n_calls, ==, nth);
  g_assert_cmpuint (stream->n_flushes, ==, 0);
  g_assert_cmpuint (stream->bytes->len, <, whole->len);
  g_assert_true (stream->bytes->len == 0 || memcmp (stream->bytes->data, whole->data, stream->bytes->len) == 0);
}

static void
test_every_write_fails (gconstpointer data)
{
  const char *format = data;
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (TestStream) stream = stream_new ();
  g_autoptr (ImagoJob) job = job_new (image, format, stream);

  stream->max_length = 400000;
  g_assert_true (imago_job_run (job, NULL, NULL));
  g_assert_cmpuint (stream->n_calls, >, 8);
  for (guint nth = 1; nth <= stream->n_calls; nth++)
    fail_at (image, format, nth, stream->bytes);
}

static void
test_bad_streams (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (TestStream) stuck = stream_new ();
  g_autoptr (TestStream) gone = stream_new ();
  g_autoptr (TestStream) closed = stream_new ();
  TestStream *const streams[3] = { stuck, gone, closed };
  const GQuark domains[3] = { IMAGO_ERROR, G_IO_ERROR, G_IO_ERROR };
  const int codes[3] = { IMAGO_ERROR_FAILED, G_IO_ERROR_CONNECTION_CLOSED, G_IO_ERROR_CLOSED };

  stuck->is_stuck = TRUE;
  gone->flush_fails = TRUE;
  g_assert_true (g_output_stream_close (G_OUTPUT_STREAM (closed), NULL, NULL));
  for (guint i = 0; i < 3; i++)
    {
      g_autoptr (ImagoJob) job = job_new (image, "raw", streams[i]);
      g_autoptr (GError) error = NULL;

      g_assert_false (imago_job_run (job, NULL, &error));
      g_assert_error (error, domains[i], codes[i]);
    }
}

static void
test_one_target (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (TestStream) stream = stream_new ();
  g_autoptr (GFile) file = g_file_new_for_path ("/nowhere");
  g_autoptr (ImagoJob) both = g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", image, "destination", file, "target-stream", stream, NULL);
  g_autoptr (ImagoJob) none = g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", image, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_job_run (both, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_false (imago_job_run (none, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_assert_cmpuint (stream->n_calls, ==, 0);
}

/* ---- pipes ---- */

typedef struct
{
  GMainLoop *loop;
  GThread *thread;
  gboolean success;
  GError *error;
} Answer;

static void
ran_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Answer *answer = data;

  g_assert_true (g_thread_self () == answer->thread);
  answer->success = imago_job_run_finish (IMAGO_JOB (source), result, &answer->error);
  g_main_loop_quit (answer->loop);
}

static void
cancel_cb (ImagoJob *job, GParamSpec *pspec, GCancellable *cancellable)
{
  if (imago_job_get_phase (job) == IMAGO_JOB_PHASE_COPY)
    g_cancellable_cancel (cancellable);
}

/* Nobody reads, and much more is to be written than a pipe holds: only the cancellation can end it. */
static void
test_cancel (gconstpointer data)
{
  gboolean blocking = GPOINTER_TO_INT (data);
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GOutputStream) stream = NULL;
  g_autoptr (ImagoJob) job = NULL;
  Answer answer = { .thread = g_thread_self () };
  int fds[2];

  g_assert_true (g_unix_open_pipe (fds, FD_CLOEXEC, NULL));
  g_assert_true (g_unix_set_fd_nonblocking (fds[1], !blocking, NULL));
  g_main_context_push_thread_default (context);
  answer.loop = g_main_loop_new (context, FALSE);
  stream = g_unix_output_stream_new (fds[1], TRUE);
  job = job_new (image, "raw", stream);
  g_signal_connect (job, "notify::phase", G_CALLBACK (cancel_cb), cancellable);
  imago_job_run_async (job, G_PRIORITY_DEFAULT, cancellable, ran_cb, &answer);
  g_main_loop_run (answer.loop);
  g_assert_false (answer.success);
  g_assert_error (answer.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_false (g_output_stream_has_pending (stream));
  g_error_free (answer.error);
  g_main_loop_unref (answer.loop);
  g_main_context_pop_thread_default (context);
  close (fds[0]);
}

static void
test_reader_leaves (void)
{
  g_autoptr (GBytes) content = make_content ();
  g_autoptr (ImagoImage) image = open_disk (content);
  g_autoptr (GOutputStream) stream = NULL;
  g_autoptr (ImagoJob) job = NULL;
  g_autoptr (GError) error = NULL;
  int fds[2];

  g_assert_true (g_unix_open_pipe (fds, FD_CLOEXEC, NULL));
  close (fds[0]);
  stream = g_unix_output_stream_new (fds[1], TRUE);
  job = job_new (image, "raw", stream);
  g_assert_false (imago_job_run (job, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
}

int
main (int argc, char **argv)
{
  signal (SIGPIPE, SIG_IGN);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/target-stream/raw", test_raw);
  g_test_add_func ("/target-stream/memory", test_memory);
  g_test_add_func ("/target-stream/compressor", test_compressor);
  g_test_add_func ("/target-stream/stream-to-stream", test_stream_to_stream);
  g_test_add_data_func ("/target-stream/every-write-fails/raw", "raw", test_every_write_fails);
  g_test_add_data_func ("/target-stream/every-write-fails/qcow2", "qcow2", test_every_write_fails);
  g_test_add_func ("/target-stream/bad-streams", test_bad_streams);
  g_test_add_func ("/target-stream/one-target", test_one_target);
  g_test_add_data_func ("/target-stream/cancel/blocking", GINT_TO_POINTER (TRUE), test_cancel);
  g_test_add_data_func ("/target-stream/cancel/non-blocking", GINT_TO_POINTER (FALSE), test_cancel);
  g_test_add_func ("/target-stream/reader-leaves", test_reader_leaves);
  return g_test_run ();
}
