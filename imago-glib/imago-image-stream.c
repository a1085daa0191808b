/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-image-private.h"
#include "imago-image-stream.h"

#define IMAGO_TYPE_IMAGE_STREAM (imago_image_stream_get_type ())

G_DECLARE_FINAL_TYPE (ImagoImageStream, imago_image_stream, IMAGO, IMAGE_STREAM, GInputStream)

/* GInputStream allows one operation at a time, which is what protects the position. */
struct _ImagoImageStream
{
  GInputStream parent_instance;

  ImagoImage *image;
  guint64 position; /* never past the end of the disk */
};

static void imago_image_stream_seekable_init (GSeekableIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoImageStream,
                               imago_image_stream,
                               G_TYPE_INPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE,
                                                      imago_image_stream_seekable_init))

static gsize
clamp_count (ImagoImageStream *self, gsize count)
{
  guint64 left = imago_image_get_size (self->image) - self->position;

  return (gsize) MIN (MIN (count, left), G_MAXSSIZE);
}

/* ---- reading ---- */

static gssize
imago_image_stream_read (GInputStream *stream,
                         void *buffer,
                         gsize count,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageStream *self = IMAGO_IMAGE_STREAM (stream);

  count = clamp_count (self, count);
  if (!imago_image_read (self->image, self->position, buffer, count, cancellable, error))
    return -1;
  self->position += count;
  return (gssize) count;
}

static gssize
imago_image_stream_skip (GInputStream *stream,
                         gsize count,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageStream *self = IMAGO_IMAGE_STREAM (stream);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return -1;
  count = clamp_count (self, count);
  self->position += count;
  return (gssize) count;
}

static GTask *
task_new (GInputStream *stream,
          gpointer source_tag,
          const char *name,
          int io_priority,
          GCancellable *cancellable,
          GAsyncReadyCallback callback,
          gpointer user_data)
{
  GTask *task = g_task_new (stream, cancellable, callback, user_data);

  (g_task_set_source_tag) (task, source_tag);
  g_task_set_name (task, name);
  g_task_set_priority (task, io_priority);
  return task;
}

/* The position moves when the answer is taken, not when a worker has read: an answer comes once,
 * and nothing else happens on the stream meanwhile. The count travels in the task. */
static void
imago_image_stream_read_async (GInputStream *stream,
                               void *buffer,
                               gsize count,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  ImagoImageStream *self = IMAGO_IMAGE_STREAM (stream);
  GTask *task = task_new (stream, imago_image_stream_read_async, G_STRFUNC, io_priority,
                          cancellable, callback, user_data);

  count = clamp_count (self, count);
  g_task_set_task_data (task, GSIZE_TO_POINTER (count), NULL);
  if (imago_request_is_cancelled (task))
    return;
  /* Bytes that were read are handed over, or they would be lost to the stream. */
  g_task_set_check_cancellable (task, FALSE);
  imago_image_read_task (self->image, task, self->position, buffer, count);
}

static gssize
finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  gsize count;

  g_return_val_if_fail (g_task_is_valid (result, stream), -1);

  if (g_task_propagate_pointer (G_TASK (result), error) == NULL)
    return -1;
  count = GPOINTER_TO_SIZE (g_task_get_task_data (G_TASK (result)));
  IMAGO_IMAGE_STREAM (stream)->position += count;
  return (gssize) count;
}

static gssize
imago_image_stream_read_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  return finish (stream, result, error);
}

static void
deliver_done (GTask *task, gpointer data)
{
  g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
}

static void
imago_image_stream_skip_async (GInputStream *stream,
                               gsize count,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  GTask *task = task_new (stream, imago_image_stream_skip_async, G_STRFUNC, io_priority,
                          cancellable, callback, user_data);

  g_task_set_task_data (task, GSIZE_TO_POINTER (clamp_count (IMAGO_IMAGE_STREAM (stream), count)),
                        NULL);
  if (imago_request_is_cancelled (task))
    return;
  g_task_set_check_cancellable (task, FALSE);
  imago_lane_push (imago_lane_find (task), task, deliver_done, NULL);
}

static gssize
imago_image_stream_skip_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  return finish (stream, result, error);
}

static void
imago_image_stream_close_async (GInputStream *stream,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  GTask *task = task_new (stream, imago_image_stream_close_async, G_STRFUNC, io_priority,
                          cancellable, callback, user_data);

  imago_lane_push (imago_lane_find (task), task, deliver_done, NULL);
}

static gboolean
imago_image_stream_close_finish (GInputStream *stream, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, stream), FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- seeking ---- */

static goffset
imago_image_stream_tell (GSeekable *seekable)
{
  return (goffset) IMAGO_IMAGE_STREAM (seekable)->position;
}

static gboolean
imago_image_stream_can_seek (GSeekable *seekable)
{
  return TRUE;
}

static gboolean
seek_to (ImagoImageStream *self, goffset offset, GSeekType type, GError **error)
{
  guint64 size = imago_image_get_size (self->image);
  guint64 from = type == G_SEEK_CUR ? self->position : type == G_SEEK_END ? size : 0;
  gboolean is_back = offset < 0;
  guint64 distance = is_back ? -(guint64) offset : (guint64) offset;

  if (distance > (is_back ? from : size - from))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                           _("Cannot seek to a place outside the disk"));
      return FALSE;
    }
  self->position = is_back ? from - distance : from + distance;
  return TRUE;
}

static gboolean
imago_image_stream_seek (GSeekable *seekable,
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
            seek_to (IMAGO_IMAGE_STREAM (stream), offset, type, error);
  g_input_stream_clear_pending (stream);
  return success;
}

static gboolean
imago_image_stream_can_truncate (GSeekable *seekable)
{
  return FALSE;
}

static gboolean
imago_image_stream_truncate (GSeekable *seekable,
                             goffset offset,
                             GCancellable *cancellable,
                             GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       _("A stream for reading cannot be truncated"));
  return FALSE;
}

static void
imago_image_stream_seekable_init (GSeekableIface *iface)
{
  iface->tell = imago_image_stream_tell;
  iface->can_seek = imago_image_stream_can_seek;
  iface->seek = imago_image_stream_seek;
  iface->can_truncate = imago_image_stream_can_truncate;
  iface->truncate_fn = imago_image_stream_truncate;
}

/* ---- the object ---- */

static void
imago_image_stream_dispose (GObject *object)
{
  g_clear_object (&IMAGO_IMAGE_STREAM (object)->image);
  G_OBJECT_CLASS (imago_image_stream_parent_class)->dispose (object);
}

static void
imago_image_stream_class_init (ImagoImageStreamClass *klass)
{
  GInputStreamClass *stream_class = G_INPUT_STREAM_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = imago_image_stream_dispose;
  stream_class->read_fn = imago_image_stream_read;
  stream_class->skip = imago_image_stream_skip;
  stream_class->read_async = imago_image_stream_read_async;
  stream_class->read_finish = imago_image_stream_read_finish;
  stream_class->skip_async = imago_image_stream_skip_async;
  stream_class->skip_finish = imago_image_stream_skip_finish;
  stream_class->close_async = imago_image_stream_close_async;
  stream_class->close_finish = imago_image_stream_close_finish;
}

static void
imago_image_stream_init (ImagoImageStream *self)
{
}

GInputStream *
imago_image_stream_new (ImagoImage *image)
{
  ImagoImageStream *self = g_object_new (IMAGO_TYPE_IMAGE_STREAM, NULL);

  self->image = g_object_ref (image);
  return G_INPUT_STREAM (self);
}
