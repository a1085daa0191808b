/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Asynchronous reads of what is not in memory: they come by way of prefetches where the system has
 * an io_uring, by workers where not, and some by both. The bytes are the same, and each is answered
 * once, though it was cancelled, or the image closed or dropped meanwhile. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "test-images.h"

#include "imago-glib/imago-glib.h"

#define DISK_SIZE (8 * 1024 * 1024)
#define N_ROUNDS 20
#define N_READS 96 /* more than are prefetched at once */
#define MAX_LENGTH (100 * 1024)

typedef struct
{
  char *folder;
  GFile *file;
  GByteArray *pattern;
  GRand *rand;
  guint n_waiting;
  guint n_read;
  guint n_cancelled;
  guint n_closed;
} Fixture;

typedef struct
{
  Fixture *fixture;
  guint64 offset;
  gsize length;
  guint8 *buffer; /* of a read into the caller's memory; else NULL */
  guint n_answers;
} Read;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = NULL;
  GByteArray *copy = test_pattern_new (DISK_SIZE, 3);

  *fixture = (Fixture){ .folder = test_folder_new (), .pattern = test_pattern_new (DISK_SIZE, 3) };
  path = test_write (fixture->folder, "cold.raw", copy);
  fixture->file = g_file_new_for_path (path);
  fixture->rand = g_rand_new_with_seed (g_test_rand_int ());
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_test_message ("%u read, %u cancelled, %u closed", fixture->n_read, fixture->n_cancelled,
                  fixture->n_closed);
  g_clear_object (&fixture->file);
  g_byte_array_unref (fixture->pattern);
  g_rand_free (fixture->rand);
  test_folder_remove (fixture->folder);
}

static ImagoImage *
open_cold (Fixture *fixture)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "raw", NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open (fixture->file, options, NULL, &error);
  int fd = open (g_file_peek_path (fixture->file), O_RDONLY | O_CLOEXEC);

  g_assert_no_error (error);
  g_assert_cmpint (fsync (fd), ==, 0);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  close (fd);
  return image;
}

static void
count_answer (Read *read, const guint8 *bytes, const GError *error)
{
  Fixture *fixture = read->fixture;

  read->n_answers++;
  fixture->n_waiting--;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    fixture->n_cancelled++;
  else if (error != NULL)
    {
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
      fixture->n_closed++;
    }
  else
    {
      g_assert_cmpint (memcmp (bytes, fixture->pattern->data + read->offset, read->length), ==, 0);
      fixture->n_read++;
    }
}

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &error);

  count_answer (data, bytes != NULL ? g_bytes_get_data (bytes, NULL) : NULL, error);
}

static void
stream_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  Read *read = data;
  gssize n_read = g_input_stream_read_finish (G_INPUT_STREAM (object), result, &error);

  g_assert_true (n_read < 0 || (gsize) n_read == read->length);
  count_answer (read, read->buffer, error);
}

static void
start_read (Fixture *fixture, ImagoImage *image, Read *read, GCancellable *cancellable)
{
  g_autoptr (GInputStream) stream = NULL;

  *read =
    (Read){ .fixture = fixture, .length = (gsize) g_rand_int_range (fixture->rand, 1, MAX_LENGTH) };
  read->offset = (guint64) g_rand_int_range (fixture->rand, 0, DISK_SIZE - (gint) read->length);
  fixture->n_waiting++;
  if (g_rand_boolean (fixture->rand))
    {
      imago_image_read_bytes_async (image, read->offset, read->length,
                                    g_rand_int_range (fixture->rand, -1, 2), cancellable, read_cb,
                                    read);
      return;
    }
  stream = imago_image_create_input_stream (image);
  read->buffer = g_malloc (read->length);
  g_assert_true (
    g_seekable_seek (G_SEEKABLE (stream), (goffset) read->offset, G_SEEK_SET, NULL, NULL));
  g_input_stream_read_async (stream, read->buffer, read->length, G_PRIORITY_DEFAULT, cancellable,
                             stream_cb, read);
}

static void
finish_round (Fixture *fixture, Read *reads)
{
  while (fixture->n_waiting > 0)
    g_main_context_iteration (NULL, TRUE);
  for (guint i = 0; i < N_READS; i++)
    {
      g_assert_cmpuint (reads[i].n_answers, ==, 1);
      g_free (reads[i].buffer);
    }
}

typedef enum
{
  PLAIN,
  CANCELLED,
  CLOSED,
  DROPPED,
} What;

static void
run_round (Fixture *fixture, What what)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  ImagoImage *image = open_cold (fixture);
  Read reads[N_READS];

  for (guint i = 0; i < N_READS; i++)
    start_read (fixture, image, &reads[i], what == CANCELLED && i % 2 == 0 ? cancellable : NULL);
  for (gint n_left = g_rand_int_range (fixture->rand, 0, 8); n_left > 0; n_left--)
    g_main_context_iteration (NULL, FALSE);
  if (what == CANCELLED)
    g_cancellable_cancel (cancellable);
  else if (what == CLOSED)
    imago_image_close_async (image, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  else if (what == DROPPED)
    g_clear_object (&image);
  finish_round (fixture, reads);
  g_clear_object (&image);
}

static void
test_reads (Fixture *fixture, gconstpointer what)
{
  for (guint round = 0; round < N_ROUNDS; round++)
    run_round (fixture, (What) GPOINTER_TO_INT (what));
  g_assert_cmpuint (fixture->n_read + fixture->n_cancelled + fixture->n_closed, ==,
                    N_ROUNDS * N_READS);
  g_assert_cmpuint (fixture->n_read, >, 0);
  if (GPOINTER_TO_INT (what) != CANCELLED)
    g_assert_cmpuint (fixture->n_cancelled, ==, 0);
  if (GPOINTER_TO_INT (what) != CLOSED)
    g_assert_cmpuint (fixture->n_closed, ==, 0);
}

/* ---- batches ---- */

typedef struct
{
  ImagoBatch *batch;
  Fixture *fixture;
  gboolean may_fail;
  guint64 offsets[N_READS];
  gsize lengths[N_READS];
} Many;

static void
many_init (Many *self, Fixture *fixture, ImagoImage *image, gboolean may_fail)
{
  *self = (Many) { .batch = imago_batch_new (image), .fixture = fixture, .may_fail = may_fail };
  for (guint i = 0; i < N_READS; i++)
    {
      gint max_length = i % 8 == 0 ? MAX_LENGTH : 8192; /* most are small */

      self->lengths[i] = (gsize) g_rand_int_range (fixture->rand, 1, max_length);
      self->offsets[i] = (guint64) g_rand_int_range (fixture->rand, 0, DISK_SIZE - (gint) self->lengths[i]);
      imago_batch_add_read (self->batch, self->offsets[i], self->lengths[i]);
    }
}

static void
many_check (Many *self)
{
  Fixture *fixture = self->fixture;

  for (guint i = 0; i < N_READS; i++)
    {
      g_autoptr (GBytes) bytes = imago_batch_dup_bytes (self->batch, i);
      g_autoptr (GError) error = NULL;

      if (imago_batch_check (self->batch, i, &error))
        {
          g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                           fixture->pattern->data + self->offsets[i], self->lengths[i]);
          fixture->n_read++;
          continue;
        }
      g_assert_true (self->may_fail);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      fixture->n_cancelled++;
    }
  g_clear_object (&self->batch);
}

static void
many_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Many *self = data;
  gboolean success = imago_batch_run_finish (IMAGO_BATCH (object), result, NULL);

  g_assert_true (success || self->may_fail);
  self->fixture->n_waiting--;
  many_check (self);
}

/* More at once than can wait in the kernel; then one by a thread that waits itself. */
static void
test_batches (Fixture *fixture, gconstpointer what)
{
  enum { N_MANY = 6 };
  const gboolean cancels = GPOINTER_TO_INT (what) == CANCELLED;

  for (guint round = 0; round < N_ROUNDS; round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (ImagoImage) image = open_cold (fixture);
      Many many[N_MANY], last;

      for (guint i = 0; i < N_MANY; i++)
        {
          many_init (&many[i], fixture, image, cancels);
          fixture->n_waiting++;
          imago_batch_run_async (many[i].batch, 0, cancels ? cancellable : NULL, many_cb, &many[i]);
        }
      many_init (&last, fixture, image, FALSE);
      g_assert_true (imago_batch_run (last.batch, NULL, NULL));
      many_check (&last);
      g_cancellable_cancel (cancellable);
      while (fixture->n_waiting > 0)
        g_main_context_iteration (NULL, TRUE);
    }
  g_assert_cmpuint (fixture->n_read + fixture->n_cancelled, ==, N_ROUNDS * (N_MANY + 1) * N_READS);
}

#define ADD(path, what)                                                                            \
  g_test_add (path, Fixture, GINT_TO_POINTER (what), set_up, test_reads, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/cold-reads/plain", PLAIN);
  ADD ("/cold-reads/cancelled", CANCELLED);
  ADD ("/cold-reads/closed", CLOSED);
  ADD ("/cold-reads/dropped", DROPPED);
  g_test_add ("/cold-reads/batches", Fixture, GINT_TO_POINTER (PLAIN), set_up, test_batches, tear_down);
  g_test_add ("/cold-reads/batches-cancelled", Fixture, GINT_TO_POINTER (CANCELLED), set_up, test_batches, tear_down);
  return g_test_run ();
}
