/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The library, through its public API alone.
 *
 * --call=read-at      imago_image_read_at () into one buffer
 * --call=read-bytes   imago_image_read_bytes ()
 * --call=async        imago_image_read_bytes_async (), --depth in flight on a GMainLoop
 * --call=batch        ImagoBatch: --depth reads in one call, one call after the other on a GMainLoop
 * --call=batch-at     the same, into memory of the program
 * --call=write-async  imago_image_write_bytes_async (), --depth in flight on a GMainLoop
 * --call=waits        as async, counting how often the loop's thread went to sleep outside of poll ()
 * --call=open         imago_image_open (), one read of the last block, imago_image_close ()
 */

#include "bench-common.h"

#include <imago-glib/imago-glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Blocks begin with one, as any program that reads disks has it; see img-copy.h. */
#define PAGE 4096

typedef struct
{
  const BenchOptions *options;
  BenchSequence sequence;
  BenchResult result;
  ImagoImage *image;
  void (*run) (gpointer self, guint64 count);

  guint8 *buffer; /* read-at */

  GMainLoop *loop; /* async */
  guint64 to_start;
  guint n_in_flight;
  GBytes *block;  /* write-async */
  guint8 *blocks; /* batch-at */
  long n_waits;
} Bench;

static ImagoImage *
open_image (const BenchOptions *options)
{
  g_autoptr (GFile) file = g_file_new_for_commandline_arg (options->path);
  g_autoptr (ImagoOpenOptions) open_options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  if (options->cache_size != 0)
    g_object_set (open_options, "decoded-cache-size", options->cache_size, NULL);
  /* As every peer is told the format, so is the library. */
  imago_open_options_set_format_name (open_options,
                                      g_str_has_suffix (options->path, ".raw") ? "raw" : "qcow2");
  imago_open_options_set_writable (open_options, g_strcmp0 (options->call, "write-async") == 0);
  image = imago_image_open (file, open_options, NULL, &error);
  if (image == NULL)
    bench_fail ("%s", error->message);
  return image;
}

static void
close_image (ImagoImage *image)
{
  g_autoptr (GError) error = NULL;

  if (!imago_image_close (image, NULL, &error))
    bench_fail ("%s", error->message);
  g_object_unref (image);
}

/* ---- synchronous ---- */

static void
run_read_at (gpointer data, guint64 count)
{
  Bench *self = data;
  gsize length = self->options->block_size;

  for (guint64 i = 0; i < count; i++)
    {
      g_autoptr (GError) error = NULL;

      if (!imago_image_read_at (self->image, bench_sequence_next (&self->sequence), self->buffer,
                                length, NULL, &error))
        bench_fail ("%s", error->message);
      bench_result_add (&self->result, self->buffer, length);
    }
}

static void
add_bytes (Bench *self, GBytes *bytes, GError *error)
{
  gconstpointer data;
  gsize length;

  if (bytes == NULL)
    bench_fail ("%s", error->message);
  data = g_bytes_get_data (bytes, &length);
  if (length != self->options->block_size)
    bench_fail ("a read returned %" G_GSIZE_FORMAT " bytes", length);
  bench_result_add (&self->result, data, length);
}

static void
run_read_bytes (gpointer data, guint64 count)
{
  Bench *self = data;

  for (guint64 i = 0; i < count; i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) bytes =
        imago_image_read_bytes (self->image, bench_sequence_next (&self->sequence),
                                self->options->block_size, NULL, &error);

      add_bytes (self, bytes, error);
    }
}

static void
run_open (gpointer data, guint64 count)
{
  Bench *self = data;
  gsize length = self->options->block_size;

  for (guint64 i = 0; i < count; i++)
    {
      g_autoptr (GError) error = NULL;
      ImagoImage *image = open_image (self->options);

      if (!imago_image_read_at (image, imago_image_get_size (image) - length, self->buffer, length,
                                NULL, &error))
        bench_fail ("%s", error->message);
      bench_result_add (&self->result, self->buffer, length);
      close_image (image);
    }
}

/* ---- asynchronous ---- */

static void submit (Bench *self);

static void
read_cb (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Bench *self = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &error);

  add_bytes (self, bytes, error);
  self->n_in_flight--;
  if (self->to_start > 0)
    submit (self);
  else if (self->n_in_flight == 0)
    g_main_loop_quit (self->loop);
}

static void
submit (Bench *self)
{
  self->to_start--;
  self->n_in_flight++;
  imago_image_read_bytes_async (self->image, bench_sequence_next (&self->sequence),
                                self->options->block_size, G_PRIORITY_DEFAULT, NULL, read_cb, self);
}

static void
run_async (gpointer data, guint64 count)
{
  Bench *self = data;

  if (count == 0)
    return;
  self->to_start = count;
  while (self->n_in_flight < self->options->depth && self->to_start > 0)
    submit (self);
  g_main_loop_run (self->loop);
}

static long n_polled; /* switches inside poll () */

/* Times that this thread gave up the processor of its own accord. */
static long
count_switches (void)
{
  struct rusage usage;

  getrusage (RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

static int
poll_and_count (GPollFD *fds, guint n_fds, int timeout)
{
  long before = count_switches ();
  int n_ready = g_poll (fds, n_fds, timeout);

  n_polled += count_switches () - before;
  return n_ready;
}

static void
run_waits (gpointer data, guint64 count)
{
  Bench *self = data;
  long before;

  g_main_context_set_poll_func (NULL, poll_and_count);
  n_polled = 0;
  before = count_switches ();
  run_async (data, count);
  self->n_waits = count_switches () - before - n_polled;
}

/* ---- batches ---- */

static void submit_batch (Bench *self);

static void
batch_cb (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Bench *self = user_data;
  ImagoBatch *batch = IMAGO_BATCH (object);
  g_autoptr (GError) error = NULL;

  if (!imago_batch_run_finish (batch, result, &error))
    bench_fail ("%s", error->message);
  for (guint i = 0; i < imago_batch_get_n_requests (batch); i++)
    if (self->blocks != NULL)
      bench_result_add (&self->result, self->blocks + i * self->options->block_size, self->options->block_size);
    else
      {
        g_autoptr (GBytes) bytes = imago_batch_dup_bytes (batch, i);

        add_bytes (self, bytes, NULL);
      }
  if (self->to_start > 0)
    submit_batch (self);
  else
    g_main_loop_quit (self->loop);
}

static void
submit_batch (Bench *self)
{
  g_autoptr (ImagoBatch) batch = imago_batch_new (self->image);

  for (guint i = 0; i < self->options->depth && self->to_start > 0; i++, self->to_start--)
    if (self->blocks != NULL)
      imago_batch_add_read_at (batch, bench_sequence_next (&self->sequence),
                               self->blocks + i * self->options->block_size, self->options->block_size);
    else
      imago_batch_add_read (batch, bench_sequence_next (&self->sequence), self->options->block_size);
  imago_batch_run_async (batch, G_PRIORITY_DEFAULT, NULL, batch_cb, self);
}

static void
run_batches (gpointer data, guint64 count)
{
  Bench *self = data;

  if (count == 0)
    return;
  self->to_start = count;
  submit_batch (self);
  g_main_loop_run (self->loop);
}

/* ---- writes ---- */

static void submit_write (Bench *self);

static void
write_cb (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Bench *self = user_data;
  g_autoptr (GError) error = NULL;

  if (!imago_image_write_bytes_finish (IMAGO_IMAGE (object), result, &error))
    bench_fail ("%s", error->message);
  self->result.n_requests++;
  self->n_in_flight--;
  if (self->to_start > 0)
    submit_write (self);
  else if (self->n_in_flight == 0)
    g_main_loop_quit (self->loop);
}

static void
submit_write (Bench *self)
{
  self->to_start--;
  self->n_in_flight++;
  imago_image_write_bytes_async (self->image, bench_sequence_next (&self->sequence), self->block,
                                 G_PRIORITY_DEFAULT, NULL, write_cb, self);
}

static void
run_writes (gpointer data, guint64 count)
{
  Bench *self = data;

  if (count == 0)
    return;
  self->to_start = count;
  while (self->n_in_flight < self->options->depth && self->to_start > 0)
    submit_write (self);
  g_main_loop_run (self->loop);
}

/* ---- */

static void
choose_call (Bench *self, const char *call)
{
  if (call == NULL || strcmp (call, "read-at") == 0)
    self->run = run_read_at;
  else if (strcmp (call, "read-bytes") == 0)
    self->run = run_read_bytes;
  else if (strcmp (call, "async") == 0)
    self->run = run_async;
  else if (strcmp (call, "batch") == 0)
    self->run = run_batches;
  else if (strcmp (call, "batch-at") == 0)
    {
      self->run = run_batches;
      self->blocks = aligned_alloc (PAGE, self->options->block_size * self->options->depth);
      if (self->blocks == NULL)
        bench_fail ("out of memory");
    }
  else if (strcmp (call, "write-async") == 0)
    self->run = run_writes;
  else if (strcmp (call, "waits") == 0)
    {
      self->run = run_waits;
    }
  else if (strcmp (call, "open") == 0)
    self->run = run_open;
  else
    bench_fail ("unknown call '%s'", call);
}

int
main (int argc, char **argv)
{
  BenchOptions options;
  Bench self = { &options };

  bench_options_init (&options, &argc, &argv);
  choose_call (&self, options.call);
  self.buffer = g_malloc (options.block_size);
  memset (self.buffer, 0x5a, options.block_size);
  self.block = g_bytes_new (self.buffer, options.block_size);
  self.loop = g_main_loop_new (NULL, FALSE);
  if (self.run != run_open)
    self.image = open_image (&options);
  bench_sequence_init (&self.sequence, &options);

  self.run (&self, options.warm_up);
  bench_result_begin (&self.result);
  self.run (&self, options.count);
  bench_result_end (&self.result);

  if (self.run == run_waits)
    g_print ("waits=%ld\n", self.n_waits);
  bench_result_print (&self.result, &options);
  if (self.image != NULL)
    close_image (self.image);
  g_main_loop_unref (self.loop);
  g_bytes_unref (self.block);
  free (self.blocks);
  g_free (self.buffer);
  g_free (options.call);
  return 0;
}
