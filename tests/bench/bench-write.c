/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Writing, by the library and by system calls, from any number of threads at once (--depth).
 *
 * --call=WHO:WORK     who:  imago (public API, one image that all threads share) or
 *                           plain (pread () and pwrite () on one descriptor)
 *                     work: write, read, or mixed (every second request writes)
 *
 * All requests of a thread follow its own sequence. What is written depends on the offset alone, so that
 * images can be compared afterwards. The clock stops before anything is flushed or closed.
 */

#include "bench-common.h"

#include <errno.h>
#include <fcntl.h>
#include <imago-glib/imago-glib.h>
#include <string.h>
#include <unistd.h>

typedef enum
{
  WORK_WRITE,
  WORK_READ,
  WORK_MIXED,
} Work;

typedef struct
{
  const BenchOptions *options;
  Work work;
  ImagoImage *image; /* NULL: plain */
  int fd;
} Bench;

typedef struct
{
  Bench *bench;
  BenchOptions options; /* with a seed of its own */
  BenchResult result;
} Worker;

static ImagoImage *
open_image (const char *path)
{
  g_autoptr (GFile) file = g_file_new_for_commandline_arg (path);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  g_object_set (options, "format-name", g_str_has_suffix (path, ".raw") ? "raw" : "qcow2", "writable",
                TRUE, "reference-policy", policy, NULL);
  image = imago_image_open (file, options, NULL, &error);
  if (image == NULL)
    bench_fail ("%s", error->message);
  return image;
}

static void
write_block (Bench *self, guint64 offset, const guint8 *buffer, gsize length)
{
  g_autoptr (GError) error = NULL;

  if (self->image != NULL)
    {
      if (!imago_image_write_at (self->image, offset, buffer, length, NULL, &error))
        bench_fail ("%s", error->message);
    }
  else if (pwrite (self->fd, buffer, length, (off_t) offset) != (gssize) length)
    bench_fail ("pwrite: %s", g_strerror (errno));
}

static void
read_block (Bench *self, guint64 offset, guint8 *buffer, gsize length)
{
  g_autoptr (GError) error = NULL;

  if (self->image != NULL)
    {
      if (!imago_image_read_at (self->image, offset, buffer, length, NULL, &error))
        bench_fail ("%s", error->message);
    }
  else if (pread (self->fd, buffer, length, (off_t) offset) != (gssize) length)
    bench_fail ("pread: %s", g_strerror (errno));
}

static void
run (Worker *self, guint64 count, guint8 *buffer, BenchSequence *sequence)
{
  gsize length = self->options.block_size;

  for (guint64 i = 0; i < count; i++)
    {
      guint64 offset = bench_sequence_next (sequence);

      if (self->bench->work == WORK_READ || (self->bench->work == WORK_MIXED && i % 2 == 0))
        read_block (self->bench, offset, buffer, length);
      else
        {
          memcpy (buffer, &offset, sizeof offset);
          memcpy (buffer + length - sizeof offset, &offset, sizeof offset);
          write_block (self->bench, offset, buffer, length);
        }
      self->result.n_requests++;
    }
}

static gpointer
worker_thread (gpointer data)
{
  Worker *self = data;
  g_autofree guint8 *buffer = g_malloc0 (self->options.block_size);
  BenchSequence sequence;

  bench_sequence_init (&sequence, &self->options);
  run (self, self->options.count, buffer, &sequence);
  return NULL;
}

/* Every thread has its part of the requests, so one thread or four do the same amount of work. */
static void
run_all (Bench *self, guint64 count, BenchResult *result)
{
  guint n = self->options->depth;
  g_autofree Worker *workers = g_new0 (Worker, n);
  g_autofree GThread **threads = g_new (GThread *, n);

  for (guint i = 0; i < n; i++)
    {
      workers[i].bench = self;
      workers[i].options = *self->options;
      workers[i].options.seed += i;
      workers[i].options.count = count / n;
    }
  for (guint i = 1; i < n; i++)
    threads[i] = g_thread_new ("worker", worker_thread, &workers[i]);
  worker_thread (&workers[0]);
  for (guint i = 1; i < n; i++)
    g_thread_join (threads[i]);
  for (guint i = 0; i < n; i++)
    result->n_requests += workers[i].result.n_requests;
}

static Work
parse_work (const char *word)
{
  static const char *const words[] = { "write", "read", "mixed" };

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (g_str_equal (word, words[i]))
      return (Work) i;
  bench_fail ("unknown work '%s'", word);
}

static void
open_target (Bench *self, const char *who)
{
  if (g_str_equal (who, "imago"))
    self->image = open_image (self->options->path);
  else if (g_str_equal (who, "plain"))
    self->fd = open (self->options->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  else
    bench_fail ("unknown writer '%s'", who);
  if (self->image == NULL && self->fd < 0)
    bench_fail ("%s: %s", self->options->path, g_strerror (errno));
}

int
main (int argc, char **argv)
{
  BenchOptions options;
  Bench self = { &options };
  BenchResult result = { 0 };
  g_auto (GStrv) call = NULL;
  g_autoptr (GError) error = NULL;

  bench_options_init (&options, &argc, &argv);
  call = g_strsplit (options.call != NULL ? options.call : "imago:write", ":", 2);
  if (g_strv_length (call) != 2)
    bench_fail ("--call=WHO:WORK");
  self.work = parse_work (call[1]);
  open_target (&self, call[0]);
  run_all (&self, options.warm_up, &result);

  bench_result_begin (&result);
  run_all (&self, options.count, &result);
  bench_result_end (&result);

  bench_result_print (&result, &options);
  if (self.image != NULL && !imago_image_close (self.image, NULL, &error))
    bench_fail ("%s", error->message);
  g_clear_object (&self.image);
  g_free (options.call);
  return 0;
}
