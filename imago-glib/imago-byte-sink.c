/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The other side of imago-byte-stream.c: a write is asynchronous, in a context of its own, so that its thread can
 * park. It wakes when the stream has taken something, for a cancelled job and for abort (), however long nobody
 * reads. It does not leave before the stream has let go of the buffer.
 *
 * A pipe whose descriptor blocks says that it has room, and then a write of more than that room blocks where
 * nothing can end it. As much as PIPE_BUF fits whenever there is room at all, so no call of the stream writes more. Where
 * the kernel can be told not to wait, a pipe is filled without the stream, which then only waits for room. */

#include "config.h"

#include "imago-byte-sink-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixoutputstream.h>
#include <glib/gi18n-lib.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "imago-error-private.h"

static void
write_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  ImagoByteSink *self = data;

  self->n_written = g_output_stream_write_finish (G_OUTPUT_STREAM (source), result, &self->error);
  self->is_done = TRUE;
}

static void
flush_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  ImagoByteSink *self = data;

  g_output_stream_flush_finish (G_OUTPUT_STREAM (source), result, &self->error);
  self->is_done = TRUE;
}

/* ---- in the sink's context ---- */

static void
enter (ImagoByteSink *self)
{
  g_main_context_push_thread_default (self->context);
  img_cancel_watch (self->cancel);
}

static void
leave (ImagoByteSink *self)
{
  img_cancel_unwatch (self->cancel);
  g_main_context_pop_thread_default (self->context);
}

static gboolean
check_error (ImagoByteSink *self, ImgError **error)
{
  if (self->error == NULL)
    return TRUE;
  img_error_propagate (error, imago_error_to_core (self->error));
  g_clear_error (&self->error);
  return FALSE;
}

/* Until what was begun is done. */
static gboolean
wait (ImagoByteSink *self, ImgError **error)
{
  while (!self->is_done)
    {
      if (img_cancel_is_set (self->cancel))
        g_cancellable_cancel (self->cancellable);
      img_park_in_context (self->context);
    }
  self->is_done = FALSE;
  return check_error (self, error);
}

/* How much that was; of any error the stream will tell. */
static gssize
fill_pipe (ImagoByteSink *self, const guint8 *bytes, gsize length)
{
  gssize n_written = -1;

#ifdef RWF_NOWAIT
  struct iovec iov = { (gpointer) bytes, length };

  if (self->pipe < 0)
    return 0;
  n_written = pwritev2 (self->pipe, &iov, 1, -1, RWF_NOWAIT);
  if (n_written < 0 && errno != EAGAIN && errno != EINTR)
    self->pipe = -1;
#endif
  return MAX (n_written, 0);
}

static gboolean
write_all (ImagoByteSink *self, const guint8 *bytes, gsize length, ImgError **error)
{
  for (; length > 0; bytes += self->n_written, length -= (gsize) self->n_written)
    {
      if (img_cancel_check (self->cancel, error))
        return FALSE;
      if (g_cancellable_set_error_if_cancelled (self->cancellable, &self->error))
        return check_error (self, error);
      self->n_written = fill_pipe (self, bytes, length);
      if (self->n_written > 0)
        continue;
      g_output_stream_write_async (self->output, bytes, MIN (length, self->max_write), G_PRIORITY_DEFAULT,
                                   self->cancellable, write_cb, self);
      if (!wait (self, error))
        return FALSE;
      if (self->n_written == 0)
        {
          img_error_set (error, IMG_CODE_FAILED, _("The stream takes no more bytes"));
          return FALSE;
        }
    }
  return TRUE;
}

/* ---- the core's sink ---- */

static gboolean
write_bytes (gpointer data, gconstpointer bytes, gsize length, ImgError **error)
{
  ImagoByteSink *self = data;
  gboolean success;

  enter (self);
  success = write_all (self, bytes, length, error);
  leave (self);
  return success;
}

static gboolean
flush (gpointer data, ImgError **error)
{
  ImagoByteSink *self = data;
  gboolean success;

  enter (self);
  g_output_stream_flush_async (self->output, G_PRIORITY_DEFAULT, self->cancellable, flush_cb, self);
  success = wait (self, error);
  leave (self);
  return success;
}

static void
abort_writes (gpointer data)
{
  g_cancellable_cancel (((ImagoByteSink *) data)->cancellable);
}

/* ---- its life ---- */

static void
look_at_descriptor (ImagoByteSink *self)
{
  struct stat st;
  int fd, flags;

  if (G_OBJECT_TYPE (self->output) != G_TYPE_UNIX_OUTPUT_STREAM)
    return;
  fd = g_unix_output_stream_get_fd (G_UNIX_OUTPUT_STREAM (self->output));
  flags = fcntl (fd, F_GETFL);
  if (flags < 0 || fstat (fd, &st) != 0 || S_ISREG (st.st_mode) || S_ISBLK (st.st_mode))
    return;
  if ((flags & O_NONBLOCK) == 0)
    self->max_write = PIPE_BUF;
  if (S_ISFIFO (st.st_mode) && !g_output_stream_is_closed (self->output))
    self->pipe = fd;
}

void
imago_byte_sink_init (ImagoByteSink *self, GOutputStream *output, ImgCancel *cancel)
{
  *self = (ImagoByteSink) {
    .core = { write_bytes, flush, abort_writes, self },
    .output = g_object_ref (output),
    .max_write = G_MAXSSIZE,
    .pipe = -1,
    .context = g_main_context_new (),
    .cancellable = g_cancellable_new (),
    .cancel = cancel,
  };
  look_at_descriptor (self);
}

void
imago_byte_sink_clear (ImagoByteSink *self)
{
  g_object_unref (self->output);
  g_main_context_unref (self->context);
  g_object_unref (self->cancellable);
}
