/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-image-private.h"
#include "imago-image-stream.h"

/* ---- the position ---- */

ImagoStreamPlace *
imago_stream_place_new (ImagoImage *image)
{
  ImagoStreamPlace *self = g_new0 (ImagoStreamPlace, 1);

  g_ref_count_init (&self->ref_count);
  self->image = g_object_ref (image);
  return self;
}

ImagoStreamPlace *
imago_stream_place_ref (ImagoStreamPlace *self)
{
  g_ref_count_inc (&self->ref_count);
  return self;
}

void
imago_stream_place_unref (ImagoStreamPlace *self)
{
  if (self == NULL || !g_ref_count_dec (&self->ref_count))
    return;
  g_object_unref (self->image);
  g_free (self);
}

/* Brings the position back to the disk first, which may have become smaller. */
static guint64
get_size (ImagoStreamPlace *self)
{
  guint64 size = imago_image_get_size (self->image);

  self->position = MIN (self->position, size);
  return size;
}

gsize
imago_stream_place_clamp (ImagoStreamPlace *self, gsize count)
{
  guint64 left = get_size (self);

  left -= self->position;
  return (gsize) MIN (MIN (count, left), G_MAXSSIZE);
}

gboolean
imago_stream_place_seek (ImagoStreamPlace *self, goffset offset, GSeekType type, GError **error)
{
  guint64 size = get_size (self);
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

gboolean
imago_stream_place_truncate (ImagoStreamPlace *self,
                             goffset size,
                             GCancellable *cancellable,
                             GError **error)
{
  if (size < 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                           _("A disk cannot have a negative size"));
      return FALSE;
    }
  return imago_image_resize (self->image, (guint64) size, IMAGO_RESIZE_MAY_SHRINK,
                             IMAGO_PREALLOCATION_NONE, cancellable, error);
}

/* ---- tasks ---- */

GTask *
imago_stream_task_new (gpointer stream,
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

static void
deliver_done (GTask *task, gpointer data)
{
  g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
}

void
imago_stream_task_done (GTask *task)
{
  imago_lane_push (imago_lane_find (task), task, deliver_done, NULL);
}

gboolean
imago_stream_task_finish (gpointer stream, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, stream), FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- the stream with both sides ---- */

#define IMAGO_TYPE_IMAGE_IO_STREAM (imago_image_io_stream_get_type ())

G_DECLARE_FINAL_TYPE (ImagoImageIOStream, imago_image_io_stream, IMAGO, IMAGE_IO_STREAM, GIOStream)

struct _ImagoImageIOStream
{
  GIOStream parent_instance;

  ImagoStreamPlace *place;
  GInputStream *input;
  GOutputStream *output;
};

static void imago_image_io_stream_seekable_init (GSeekableIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoImageIOStream,
                               imago_image_io_stream,
                               G_TYPE_IO_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE,
                                                      imago_image_io_stream_seekable_init))

static GInputStream *
imago_image_io_stream_get_input (GIOStream *stream)
{
  return IMAGO_IMAGE_IO_STREAM (stream)->input;
}

static GOutputStream *
imago_image_io_stream_get_output (GIOStream *stream)
{
  return IMAGO_IMAGE_IO_STREAM (stream)->output;
}

static goffset
imago_image_io_stream_tell (GSeekable *seekable)
{
  return (goffset) IMAGO_IMAGE_IO_STREAM (seekable)->place->position;
}

static gboolean
imago_image_io_stream_can_seek (GSeekable *seekable)
{
  return TRUE;
}

/* The position must not move under an operation of either side. */
static gboolean
begin_pending (ImagoImageIOStream *self, GError **error)
{
  if (!g_io_stream_set_pending (G_IO_STREAM (self), error))
    return FALSE;
  if (g_input_stream_set_pending (self->input, error))
    {
      if (g_output_stream_set_pending (self->output, error))
        return TRUE;
      g_input_stream_clear_pending (self->input);
    }
  g_io_stream_clear_pending (G_IO_STREAM (self));
  return FALSE;
}

static void
end_pending (ImagoImageIOStream *self)
{
  g_output_stream_clear_pending (self->output);
  g_input_stream_clear_pending (self->input);
  g_io_stream_clear_pending (G_IO_STREAM (self));
}

static gboolean
imago_image_io_stream_seek (GSeekable *seekable,
                            goffset offset,
                            GSeekType type,
                            GCancellable *cancellable,
                            GError **error)
{
  ImagoImageIOStream *self = IMAGO_IMAGE_IO_STREAM (seekable);
  gboolean success;

  if (!begin_pending (self, error))
    return FALSE;
  success = !g_cancellable_set_error_if_cancelled (cancellable, error) &&
            imago_stream_place_seek (self->place, offset, type, error);
  end_pending (self);
  return success;
}

static gboolean
imago_image_io_stream_can_truncate (GSeekable *seekable)
{
  return imago_image_get_writable (IMAGO_IMAGE_IO_STREAM (seekable)->place->image);
}

static gboolean
imago_image_io_stream_truncate (GSeekable *seekable,
                                goffset size,
                                GCancellable *cancellable,
                                GError **error)
{
  ImagoImageIOStream *self = IMAGO_IMAGE_IO_STREAM (seekable);
  gboolean success;

  if (!begin_pending (self, error))
    return FALSE;
  success = imago_stream_place_truncate (self->place, size, cancellable, error);
  end_pending (self);
  return success;
}

static void
imago_image_io_stream_seekable_init (GSeekableIface *iface)
{
  iface->tell = imago_image_io_stream_tell;
  iface->can_seek = imago_image_io_stream_can_seek;
  iface->seek = imago_image_io_stream_seek;
  iface->can_truncate = imago_image_io_stream_can_truncate;
  iface->truncate_fn = imago_image_io_stream_truncate;
}

static void
imago_image_io_stream_dispose (GObject *object)
{
  ImagoImageIOStream *self = IMAGO_IMAGE_IO_STREAM (object);

  if (self->place != NULL)
    self->place->is_dropped = TRUE;
  G_OBJECT_CLASS (imago_image_io_stream_parent_class)->dispose (object);
}

static void
imago_image_io_stream_finalize (GObject *object)
{
  ImagoImageIOStream *self = IMAGO_IMAGE_IO_STREAM (object);

  g_object_unref (self->input);
  g_object_unref (self->output);
  imago_stream_place_unref (self->place);
  G_OBJECT_CLASS (imago_image_io_stream_parent_class)->finalize (object);
}

static void
imago_image_io_stream_class_init (ImagoImageIOStreamClass *klass)
{
  GIOStreamClass *stream_class = G_IO_STREAM_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = imago_image_io_stream_dispose;
  G_OBJECT_CLASS (klass)->finalize = imago_image_io_stream_finalize;
  stream_class->get_input_stream = imago_image_io_stream_get_input;
  stream_class->get_output_stream = imago_image_io_stream_get_output;
}

static void
imago_image_io_stream_init (ImagoImageIOStream *self)
{
}

GIOStream *
imago_image_io_stream_new (ImagoImage *image)
{
  ImagoImageIOStream *self = g_object_new (IMAGO_TYPE_IMAGE_IO_STREAM, NULL);

  self->place = imago_stream_place_new (image);
  self->input = imago_image_input_stream_new (imago_stream_place_ref (self->place));
  self->output = imago_image_output_stream_new (imago_stream_place_ref (self->place));
  return G_IO_STREAM (self);
}
