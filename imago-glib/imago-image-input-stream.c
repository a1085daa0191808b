/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-image-private.h"
#include "imago-image-stream.h"

#define IMAGO_TYPE_IMAGE_INPUT_STREAM (imago_image_input_stream_get_type ())

G_DECLARE_FINAL_TYPE (
  ImagoImageInputStream, imago_image_input_stream, IMAGO, IMAGE_INPUT_STREAM, GInputStream)

struct _ImagoImageInputStream
{
  GInputStream parent_instance;

  ImagoStreamPlace *place;
};

static void imago_image_input_stream_seekable_init (GSeekableIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoImageInputStream,
                               imago_image_input_stream,
                               G_TYPE_INPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE,
                                                      imago_image_input_stream_seekable_init))

/* ---- reading ---- */

static gssize
imago_image_input_stream_read (GInputStream *stream,
                         void *buffer,
                         gsize count,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageInputStream *self = IMAGO_IMAGE_INPUT_STREAM (stream);

  count = imago_stream_place_clamp (self->place, count);
  if (!imago_image_read (self->place->image, self->place->position, buffer, count, cancellable, error))
    return -1;
  self->place->position += count;
  return (gssize) count;
}

static gssize
imago_image_input_stream_skip (GInputStream *stream,
                         gsize count,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageInputStream *self = IMAGO_IMAGE_INPUT_STREAM (stream);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return -1;
  count = imago_stream_place_clamp (self->place, count);
  self->place->position += count;
  return (gssize) count;
}

static void
imago_image_input_stream_read_async (GInputStream *stream,
                               void *buffer,
                               gsize count,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  ImagoImageInputStream *self = IMAGO_IMAGE_INPUT_STREAM (stream);
  GTask *task = imago_stream_task_new (stream, imago_image_input_stream_read_async, G_STRFUNC, io_priority,
                          cancellable, callback, user_data);

  count = imago_stream_place_clamp (self->place, count);
  g_task_set_task_data (task, GSIZE_TO_POINTER (count), NULL);
  if (imago_request_is_cancelled (task))
    return;
  /* Bytes that were read are handed over, or they would be lost to the stream. */
  g_task_set_check_cancellable (task, FALSE);
  imago_image_read_task (self->place->image, task, self->place->position, buffer, count);
}

static gssize
finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  gsize count;

  if (!imago_stream_task_finish (stream, result, error))
    return -1;
  count = GPOINTER_TO_SIZE (g_task_get_task_data (G_TASK (result)));
  IMAGO_IMAGE_INPUT_STREAM (stream)->place->position += count;
  return (gssize) count;
}

static gssize
imago_image_input_stream_read_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  return finish (stream, result, error);
}

static void
imago_image_input_stream_skip_async (GInputStream *stream,
                                     gsize count,
                                     int io_priority,
                                     GCancellable *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer user_data)
{
  ImagoImageInputStream *self = IMAGO_IMAGE_INPUT_STREAM (stream);
  GTask *task = imago_stream_task_new (stream, imago_image_input_stream_skip_async, G_STRFUNC,
                                       io_priority, cancellable, callback, user_data);

  count = imago_stream_place_clamp (self->place, count);
  g_task_set_task_data (task, GSIZE_TO_POINTER (count), NULL);
  if (imago_request_is_cancelled (task))
    return;
  g_task_set_check_cancellable (task, FALSE);
  imago_stream_task_done (task);
}

static gssize
imago_image_input_stream_skip_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  return finish (stream, result, error);
}

static void
imago_image_input_stream_close_async (GInputStream *stream,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  GTask *task = imago_stream_task_new (stream, imago_image_input_stream_close_async, G_STRFUNC, io_priority,
                          cancellable, callback, user_data);

  imago_stream_task_done (task);
}

static gboolean
imago_image_input_stream_close_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  return imago_stream_task_finish (stream, result, error);
}

/* ---- seeking ---- */

static goffset
imago_image_input_stream_tell (GSeekable *seekable)
{
  return (goffset) IMAGO_IMAGE_INPUT_STREAM (seekable)->place->position;
}

static gboolean
imago_image_input_stream_can_seek (GSeekable *seekable)
{
  return TRUE;
}

static gboolean
imago_image_input_stream_seek (GSeekable *seekable,
                         goffset offset,
                         GSeekType type,
                         GCancellable *cancellable,
                         GError **error)
{
  GInputStream *stream = G_INPUT_STREAM (seekable);
  gboolean success;

  if (!g_input_stream_set_pending (stream, error))
    return FALSE;
  success = !g_cancellable_set_error_if_cancelled (cancellable, error) &&
            imago_stream_place_seek (IMAGO_IMAGE_INPUT_STREAM (stream)->place, offset, type, error);
  g_input_stream_clear_pending (stream);
  return success;
}

static gboolean
imago_image_input_stream_can_truncate (GSeekable *seekable)
{
  return FALSE;
}

static gboolean
imago_image_input_stream_truncate (GSeekable *seekable,
                             goffset offset,
                             GCancellable *cancellable,
                             GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       _("A stream for reading cannot be truncated"));
  return FALSE;
}

static void
imago_image_input_stream_seekable_init (GSeekableIface *iface)
{
  iface->tell = imago_image_input_stream_tell;
  iface->can_seek = imago_image_input_stream_can_seek;
  iface->seek = imago_image_input_stream_seek;
  iface->can_truncate = imago_image_input_stream_can_truncate;
  iface->truncate_fn = imago_image_input_stream_truncate;
}

/* ---- the object ---- */

static void
imago_image_input_stream_finalize (GObject *object)
{
  imago_stream_place_unref (IMAGO_IMAGE_INPUT_STREAM (object)->place);
  G_OBJECT_CLASS (imago_image_input_stream_parent_class)->finalize (object);
}

static void
imago_image_input_stream_class_init (ImagoImageInputStreamClass *klass)
{
  GInputStreamClass *stream_class = G_INPUT_STREAM_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = imago_image_input_stream_finalize;
  stream_class->read_fn = imago_image_input_stream_read;
  stream_class->skip = imago_image_input_stream_skip;
  stream_class->read_async = imago_image_input_stream_read_async;
  stream_class->read_finish = imago_image_input_stream_read_finish;
  stream_class->skip_async = imago_image_input_stream_skip_async;
  stream_class->skip_finish = imago_image_input_stream_skip_finish;
  stream_class->close_async = imago_image_input_stream_close_async;
  stream_class->close_finish = imago_image_input_stream_close_finish;
}

static void
imago_image_input_stream_init (ImagoImageInputStream *self)
{
}

/* Takes @place. */
GInputStream *
imago_image_input_stream_new (ImagoStreamPlace *place)
{
  ImagoImageInputStream *self = g_object_new (IMAGO_TYPE_IMAGE_INPUT_STREAM, NULL);

  self->place = place;
  return G_INPUT_STREAM (self);
}
