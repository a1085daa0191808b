/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* By how much a source that wants to run every millisecond is late, while the processors are busy.
 *
 * --call=imago    with imago_image_read_bytes_async (), --depth in flight on the same loop; its workers decode
 * --call=control  with as many threads as there are processors that do nothing but sums, and no library
 *
 * --count is how often the source runs. One line of microseconds: p50, p999, max. */

#include "bench-common.h"

#include <imago-glib/imago-glib.h>

#define INTERVAL 1000 /* microseconds */

typedef struct
{
  const BenchOptions *options;
  BenchSequence sequence;
  ImagoImage *image;
  GMainLoop *loop;
  guint64 n_reads;
  gint64 *delays;
  guint64 n_delays;
  gint64 last;
  gint is_over; /* atomic */
  guint n_in_flight;
} Timer;

static gboolean
tick_cb (gpointer data)
{
  Timer *self = data;
  gint64 now = g_get_monotonic_time ();

  self->delays[self->n_delays++] = MAX (now - self->last - INTERVAL, 0);
  self->last = now;
  if (self->n_delays < self->options->count)
    return G_SOURCE_CONTINUE;
  g_atomic_int_set (&self->is_over, TRUE);
  if (self->n_in_flight == 0)
    g_main_loop_quit (self->loop);
  return G_SOURCE_REMOVE;
}

/* ---- with the library ---- */

static void submit (Timer *self);

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Timer *self = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &error);

  if (bytes == NULL)
    bench_fail ("%s", error->message);
  self->n_reads++;
  self->n_in_flight--;
  if (!g_atomic_int_get (&self->is_over))
    submit (self);
  else if (self->n_in_flight == 0)
    g_main_loop_quit (self->loop);
}

static void
submit (Timer *self)
{
  self->n_in_flight++;
  imago_image_read_bytes_async (self->image, bench_sequence_next (&self->sequence), self->options->block_size,
                                G_PRIORITY_DEFAULT, NULL, read_cb, self);
}

static void
open_image (Timer *self)
{
  g_autoptr (GFile) file = g_file_new_for_commandline_arg (self->options->path);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;

  imago_open_options_set_format_name (options, "qcow2");
  self->image = imago_image_open (file, options, NULL, &error);
  if (self->image == NULL)
    bench_fail ("%s", error->message);
}

/* ---- without ---- */

static gpointer
busy_thread (gpointer data)
{
  Timer *self = data;
  volatile guint64 sum = 0;

  while (!g_atomic_int_get (&self->is_over))
    for (guint i = 0; i < 10000; i++)
      sum += i;
  return NULL;
}

/* ---- */

static int
compare (gconstpointer a, gconstpointer b)
{
  gint64 first = *(const gint64 *) a, second = *(const gint64 *) b;

  return first < second ? -1 : first > second;
}

static void
run (Timer *self, gboolean with_library)
{
  guint n_threads = with_library ? 0 : g_get_num_processors ();
  g_autofree GThread **threads = g_new (GThread *, n_threads + 1);

  for (guint i = 0; i < n_threads; i++)
    threads[i] = g_thread_new ("busy", busy_thread, self);
  for (guint i = 0; with_library && i < self->options->depth; i++)
    submit (self);
  g_timeout_add_full (G_PRIORITY_DEFAULT, INTERVAL / 1000, tick_cb, self, NULL);
  self->last = g_get_monotonic_time ();
  g_main_loop_run (self->loop);
  for (guint i = 0; i < n_threads; i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  BenchOptions options;
  Timer self = { &options };
  gboolean with_library;

  bench_options_init (&options, &argc, &argv);
  with_library = g_strcmp0 (options.call, "control") != 0;
  self.loop = g_main_loop_new (NULL, FALSE);
  self.delays = g_new (gint64, options.count);
  bench_sequence_init (&self.sequence, &options);
  if (with_library)
    open_image (&self);
  run (&self, with_library);
  qsort (self.delays, options.count, sizeof *self.delays, compare);
  g_print ("p50=%" G_GINT64_FORMAT " p999=%" G_GINT64_FORMAT " max=%" G_GINT64_FORMAT " reads=%" G_GUINT64_FORMAT "\n",
           self.delays[options.count / 2], self.delays[options.count - 1 - options.count / 1000],
           self.delays[options.count - 1], self.n_reads);
  g_clear_object (&self.image);
  g_main_loop_unref (self.loop);
  g_free (self.delays);
  g_free (options.call);
  return 0;
}
