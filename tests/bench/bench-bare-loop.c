/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The limit of asynchronous reads on a GMainLoop that are made one by one: a system call each (preadv2
 * with RWF_NOWAIT at submission), a GBytes and a GTask for each request, returned from one source
 * that all share. No library, no image format, no fallback: a read that would block ends the
 * program.
 *
 * --call=batch  The limit of batches: --depth reads in one io_uring_enter (), into memory of the program, and a
 *               GTask for all of them. */

#include "config.h"

#include "bench-common.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#define PAGE 4096

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
#ifdef HAVE_LIBURING
  struct io_uring ring; /* batch */
  guint8 *blocks;
  guint64 *offsets;
#endif
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

static void
read_block (BareLoop *self, guint64 offset, guint8 *block)
{
  gsize length = self->options->block_size;
  struct iovec iov = { block, length };
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
}

static GBytes *
read_bytes (BareLoop *self, guint64 offset)
{
  guint8 *block = g_malloc (self->options->block_size);

  read_block (self, offset, block);
  return g_bytes_new_take (block, self->options->block_size);
}

static void
complete (BareLoop *self, GTask *task, GBytes *bytes)
{
  Request *request = g_new (Request, 1);

  *request = (Request) { .task = task, .bytes = bytes };
  *self->completions->tail = request;
  self->completions->tail = &request->next;
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
  GTask *task = g_task_new (self->object, NULL, read_cb, self);

  self->to_start--;
  self->n_in_flight++;
  g_task_set_source_tag (task, submit);
  complete (self, task, read_bytes (self, bench_sequence_next (&self->sequence)));
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

/* ---- batches ---- */

#ifdef HAVE_LIBURING

static void submit_batch (BareLoop *self);

static void
batch_cb (GObject *object, GAsyncResult *result, gpointer user_data)
{
  BareLoop *self = user_data;

  g_bytes_unref (g_task_propagate_pointer (G_TASK (result), NULL));
  for (; self->n_in_flight > 0; self->n_in_flight--)
    bench_result_add (&self->result, self->blocks + (self->n_in_flight - 1) * self->options->block_size,
                      self->options->block_size);
  if (self->to_start > 0)
    submit_batch (self);
  else
    g_main_loop_quit (self->loop);
}

/* Reads again what was not there. */
static void
take_answers (BareLoop *self)
{
  struct io_uring_cqe *answer;
  guint head, n_answers = 0;

  io_uring_for_each_cqe (&self->ring, head, answer)
    {
      guint i = (guint) io_uring_cqe_get_data64 (answer);

      if (answer->res != (int) self->options->block_size)
        read_block (self, self->offsets[i], self->blocks + i * self->options->block_size);
      n_answers++;
    }
  io_uring_cq_advance (&self->ring, n_answers);
  if (n_answers != self->n_in_flight)
    bench_fail ("the ring has lost a read");
}

static void
submit_batch (BareLoop *self)
{
  GTask *task = g_task_new (self->object, NULL, batch_cb, self);

  g_task_set_source_tag (task, submit_batch);
  for (; self->n_in_flight < self->options->depth && self->to_start > 0; self->n_in_flight++, self->to_start--)
    {
      struct io_uring_sqe *entry = io_uring_get_sqe (&self->ring);
      guint i = self->n_in_flight;

      self->offsets[i] = bench_sequence_next (&self->sequence);
      io_uring_prep_read (entry, self->fd, self->blocks + i * self->options->block_size,
                          (unsigned) self->options->block_size, self->offsets[i]);
      entry->rw_flags = self->nowait;
      io_uring_sqe_set_data64 (entry, i);
    }
  if (io_uring_submit_and_wait (&self->ring, self->n_in_flight) < 0)
    bench_fail ("the ring takes no reads");
  take_answers (self);
  complete (self, task, g_bytes_new_static ("", 0));
}

static void
run_batches (BareLoop *self, guint64 count)
{
  if (count == 0)
    return;
  self->to_start = count;
  submit_batch (self);
  g_main_loop_run (self->loop);
}

static void
prepare_batches (BareLoop *self)
{
  self->offsets = g_new (guint64, self->options->depth);
  self->blocks = aligned_alloc (PAGE, self->options->block_size * self->options->depth);
  if (self->blocks == NULL || io_uring_queue_init (self->options->depth, &self->ring, IORING_SETUP_COOP_TASKRUN) < 0)
    bench_fail ("there can be no ring");
}

static void
end_batches (BareLoop *self)
{
  if (self->blocks != NULL)
    io_uring_queue_exit (&self->ring);
  free (self->blocks);
  g_free (self->offsets);
}

#else

static void
run_batches (BareLoop *self, guint64 count)
{
}

static void
prepare_batches (BareLoop *self)
{
  bench_fail ("built without liburing");
}

static void
end_batches (BareLoop *self)
{
}

#endif

int
main (int argc, char **argv)
{
  BenchOptions options;
  BareLoop self = { &options, .nowait = RWF_NOWAIT };
  void (*run_calls) (BareLoop *self, guint64 count) = run;

  bench_options_init (&options, &argc, &argv);
  self.fd = open (options.path, O_RDONLY | O_CLOEXEC | O_NOATIME); /* as the library reads */
  if (self.fd < 0)
    bench_fail ("%s: %s", options.path, g_strerror (errno));
  self.loop = g_main_loop_new (NULL, FALSE);
  self.object = g_object_new (G_TYPE_OBJECT, NULL);
  self.completions = completion_source_new ();

  if (g_strcmp0 (options.call, "batch") == 0)
    {
      prepare_batches (&self);
      run_calls = run_batches;
    }
  bench_sequence_init (&self.sequence, &options);
  run_calls (&self, options.warm_up);
  bench_result_begin (&self.result);
  run_calls (&self, options.count);
  bench_result_end (&self.result);

  bench_result_print (&self.result, &options);
  end_batches (&self);
  g_source_destroy ((GSource *) self.completions);
  g_source_unref ((GSource *) self.completions);
  g_object_unref (self.object);
  g_main_loop_unref (self.loop);
  close (self.fd);
  return 0;
}
