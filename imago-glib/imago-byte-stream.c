/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A read is asynchronous, in a context of its own, so that its thread can park: it wakes for the bytes, for a
 * cancelled job and for abort (), however silent the stream is. It does not leave before the stream has let go of
 * the buffer. */

#include "config.h"

#include "imago-byte-stream-private.h"

#include "imago-error-private.h"

static void
read_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  ImagoByteStream *self = data;

  self->n_read = g_input_stream_read_finish (G_INPUT_STREAM (source), result, &self->error);
  self->is_done = TRUE;
}

static gssize
read_bytes (gpointer data, gpointer buffer, gsize length, ImgError **error)
{
  ImagoByteStream *self = data;

  self->is_done = FALSE;
  g_main_context_push_thread_default (self->context);
  img_cancel_watch (self->cancel);
  g_input_stream_read_async (self->input, buffer, length, G_PRIORITY_DEFAULT, self->cancellable, read_cb, self);
  while (!self->is_done)
    {
      if (img_cancel_is_set (self->cancel))
        g_cancellable_cancel (self->cancellable);
      img_park_in_context (self->context);
    }
  img_cancel_unwatch (self->cancel);
  g_main_context_pop_thread_default (self->context);
  if (self->n_read >= 0)
    return self->n_read;
  img_error_propagate (error, imago_error_to_core (self->error));
  g_clear_error (&self->error);
  return -1;
}

static void
abort_reads (gpointer data)
{
  g_cancellable_cancel (((ImagoByteStream *) data)->cancellable);
}

void
imago_byte_stream_init (ImagoByteStream *self, GInputStream *input, ImgCancel *cancel)
{
  *self = (ImagoByteStream) {
    .core = { read_bytes, abort_reads, self },
    .input = g_object_ref (input),
    .context = g_main_context_new (),
    .cancellable = g_cancellable_new (),
    .cancel = cancel,
  };
}

void
imago_byte_stream_clear (ImagoByteStream *self)
{
  g_object_unref (self->input);
  g_main_context_unref (self->context);
  g_object_unref (self->cancellable);
}
