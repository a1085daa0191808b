/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The limit of asynchronous reads on a GMainLoop: the system call that the library makes (preadv2
 * with RWF_NOWAIT at submission), a GBytes and a GTask for each request, returned from one source
 * that all share. No library, no image format, no fallback: a read that would block ends the
 * program. */

#include "bench-common.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sys/uio.h>
#include <unistd.h>

/* More would be another test. */
#define MAX_MISSES 1000

typedef struct _Request Request;
struct _Request
{
  Request *next;
  GTask *task;
  GBytes *bytes;
};

typedef struct
{
  GSource source;
  Request *first;
  Request **tail;
} CompletionSource;

typedef struct
{
  const BenchOptions *options;
  BenchSequence sequence;
  BenchResult result;
  GMainLoop *loop;
  GObject *object; /* what an image would be */
  CompletionSource *completions;
  int fd;
  int nowait; /* RWF_NOWAIT, or 0 where the file system does not know it */
  guint64 to_start;
  guint n_in_flight;
  guint n_misses;
} BareLoop;

static void submit (BareLoop *self);

/* ---- the shared source ---- */

static gboolean
completion_source_prepare (GSource *source, int *timeout)
{
  *timeout = -1;
  return ((CompletionSource *) source)->first != NULL;
}

static gboolean
completion_source_check (GSource *source)
{
  return ((CompletionSource *) source)->first != NULL;
}

static gboolean
completion_source_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  CompletionSource *self = (CompletionSource *) source;
  Request *request = self->first;

  /* What the callbacks submit belongs to the next iteration. */
  self->first = NULL;
  self->tail = &self->first;
  while (request != NULL)
    {
      Request *next = request->next;

      g_task_return_pointer (request->task, request->bytes, (GDestroyNotify) g_bytes_unref);
      g_object_unref (request->task);
      g_free (request);
      request = next;
    }
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs completion_source_funcs = {
  completion_source_prepare,
  completion_source_check,
  completion_source_dispatch,
  NULL,
};

static CompletionSource *
completion_source_new (void)
{
  GSource *source = g_source_new (&completion_source_funcs, sizeof (CompletionSource));
  CompletionSource *self = (CompletionSource *) source;

  self->tail = &self->first;
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_attach (source, NULL);
  return self;
}

/* ---- requests ---- */

static GBytes *
read_block (BareLoop *self, guint64 offset)
{
  gsize length = self->options->block_size;
  struct iovec iov = { g_malloc (length), length };
  gssize n = preadv2 (self->fd, &iov, 1, (off_t) offset, self->nowait);

  if (n < 0 && errno == EOPNOTSUPP && self->nowait != 0)
    {
      self->nowait = 0;
      n = preadv2 (self->fd, &iov, 1, (off_t) offset, 0);
    }
  if (n < 0 && errno == EAGAIN) /* the system has taken a page away meanwhile */
    {
      if (++self->n_misses > MAX_MISSES)
        bench_fail ("the file must be in the page cache");
      n = preadv2 (self->fd, &iov, 1, (off_t) offset, 0);
    }
  if (n < 0)
    bench_fail ("preadv2: %s", g_strerror (errno));
  if ((gsize) n != length)
    bench_fail ("preadv2: short read at %" G_GUINT64_FORMAT, offset);
  return g_bytes_new_take (iov.iov_base, length);
}

static void
read_cb (GObject *object, GAsyncResult *result, gpointer user_data)
{
  BareLoop *self = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = NULL;
  gconstpointer data;
  gsize length;

  if (!g_task_is_valid (result, object))
    bench_fail ("a result that is not ours");
  bytes = g_task_propagate_pointer (G_TASK (result), &error);
  if (bytes == NULL)
    bench_fail ("%s", error->message);
  data = g_bytes_get_data (bytes, &length);
  bench_result_add (&self->result, data, length);
  self->n_in_flight--;

  if (self->to_start > 0)
    submit (self);
  else if (self->n_in_flight == 0)
    g_main_loop_quit (self->loop);
}

static void
submit (BareLoop *self)
{
  Request *request = g_new (Request, 1);

  self->to_start--;
  self->n_in_flight++;
  request->next = NULL;
  request->task = g_task_new (self->object, NULL, read_cb, self);
  g_task_set_source_tag (request->task, submit);
  request->bytes = read_block (self, bench_sequence_next (&self->sequence));
  *self->completions->tail = request;
  self->completions->tail = &request->next;
}

static void
run (BareLoop *self, guint64 count)
{
  if (count == 0)
    return;
  self->to_start = count;
  while (self->n_in_flight < self->options->depth && self->to_start > 0)
    submit (self);
  g_main_loop_run (self->loop);
}

int
main (int argc, char **argv)
{
  BenchOptions options;
  BareLoop self = { &options, .nowait = RWF_NOWAIT };

  bench_options_init (&options, &argc, &argv);
  self.fd = open (options.path, O_RDONLY | O_CLOEXEC);
  if (self.fd < 0)
    bench_fail ("%s: %s", options.path, g_strerror (errno));
  self.loop = g_main_loop_new (NULL, FALSE);
  self.object = g_object_new (G_TYPE_OBJECT, NULL);
  self.completions = completion_source_new ();

  bench_sequence_init (&self.sequence, &options);
  run (&self, options.warm_up);
  bench_result_begin (&self.result);
  run (&self, options.count);
  bench_result_end (&self.result);

  bench_result_print (&self.result, &options);
  g_source_destroy ((GSource *) self.completions);
  g_source_unref ((GSource *) self.completions);
  g_object_unref (self.object);
  g_main_loop_unref (self.loop);
  close (self.fd);
  return 0;
}
