/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-image-private.h"
#include "imago-image-stream.h"

#define IMAGO_TYPE_IMAGE_OUTPUT_STREAM (imago_image_output_stream_get_type ())

G_DECLARE_FINAL_TYPE (
  ImagoImageOutputStream, imago_image_output_stream, IMAGO, IMAGE_OUTPUT_STREAM, GOutputStream)

struct _ImagoImageOutputStream
{
  GOutputStream parent_instance;

  ImagoStreamPlace *place;
};

static void imago_image_output_stream_seekable_init (GSeekableIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoImageOutputStream,
                               imago_image_output_stream,
                               G_TYPE_OUTPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE,
                                                      imago_image_output_stream_seekable_init))

/* ---- writing ---- */

/* What of a write fits on the disk. */
typedef struct
{
  gsize count;
  guint n_vectors;
  struct iovec vectors[];
} Piece;

static Piece *
piece_new (ImagoImageOutputStream *self, const GOutputVector *vectors, gsize n_vectors, GError **error)
{
  gsize left = imago_stream_place_clamp (self->place, G_MAXSSIZE);
  Piece *piece = g_malloc (sizeof (Piece) + n_vectors * sizeof (struct iovec));
  gboolean is_empty = TRUE;

  piece->count = 0;
  piece->n_vectors = 0;
  for (gsize i = 0; i < n_vectors; i++)
    {
      gsize part = MIN (vectors[i].size, left - piece->count);

      is_empty = is_empty && vectors[i].size == 0;
      if (part == 0)
        continue;
      piece->vectors[piece->n_vectors++] = (struct iovec) { (void *) vectors[i].buffer, part };
      piece->count += part;
    }
  if (piece->count > 0 || is_empty)
    return piece;
  g_free (piece);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, _("The disk ends here"));
  return NULL;
}

static gboolean
imago_image_output_stream_writev (GOutputStream *stream,
                                  const GOutputVector *vectors,
                                  gsize n_vectors,
                                  gsize *n_written,
                                  GCancellable *cancellable,
                                  GError **error)
{
  ImagoImageOutputStream *self = IMAGO_IMAGE_OUTPUT_STREAM (stream);
  g_autofree Piece *piece = NULL;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  piece = piece_new (self, vectors, n_vectors, error);
  if (piece == NULL || !imago_image_writev_at (self->place->image, self->place->position, piece->vectors,
                                               piece->n_vectors, cancellable, error))
    return FALSE;
  self->place->position += piece->count;
  if (n_written != NULL)
    *n_written = piece->count;
  return TRUE;
}

static gssize
imago_image_output_stream_write (GOutputStream *stream,
                                 const void *buffer,
                                 gsize count,
                                 GCancellable *cancellable,
                                 GError **error)
{
  const GOutputVector vector = { buffer, count };
  gsize n_written;

  if (!imago_image_output_stream_writev (stream, &vector, 1, &n_written, cancellable, error))
    return -1;
  return (gssize) n_written;
}

/* Takes @task. */
static void
start_write (GTask *task, const GOutputVector *vectors, gsize n_vectors)
{
  ImagoImageOutputStream *self = g_task_get_source_object (task);
  GError *error = NULL;
  Piece *piece;

  if (imago_request_is_cancelled (task))
    return;
  piece = piece_new (self, vectors, n_vectors, &error);
  if (piece == NULL)
    {
      imago_request_answer_error (task, error);
      return;
    }
  g_task_set_task_data (task, piece, g_free);
  imago_image_writev_task (self->place->image, task, self->place->position, piece->vectors,
                           piece->n_vectors);
}

static gssize
finish_write (GOutputStream *stream, GAsyncResult *result, GError **error)
{
  const Piece *piece;

  if (!imago_stream_task_finish (stream, result, error))
    return -1;
  piece = g_task_get_task_data (G_TASK (result));
  IMAGO_IMAGE_OUTPUT_STREAM (stream)->place->position += piece->count;
  return (gssize) piece->count;
}

static void
imago_image_output_stream_write_async (GOutputStream *stream,
                                       const void *buffer,
                                       gsize count,
                                       int io_priority,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  const GOutputVector vector = { buffer, count };

  start_write (imago_stream_task_new (stream, imago_image_output_stream_write_async, G_STRFUNC,
                                      io_priority, cancellable, callback, user_data),
               &vector, 1);
}

static gssize
imago_image_output_stream_write_finish (GOutputStream *stream, GAsyncResult *result, GError **error)
{
  return finish_write (stream, result, error);
}

static void
imago_image_output_stream_writev_async (GOutputStream *stream,
                                        const GOutputVector *vectors,
                                        gsize n_vectors,
                                        int io_priority,
                                        GCancellable *cancellable,
                                        GAsyncReadyCallback callback,
                                        gpointer user_data)
{
  start_write (imago_stream_task_new (stream, imago_image_output_stream_writev_async, G_STRFUNC,
                                      io_priority, cancellable, callback, user_data),
               vectors, n_vectors);
}

static gboolean
imago_image_output_stream_writev_finish (GOutputStream *stream,
                                         GAsyncResult *result,
                                         gsize *n_written,
                                         GError **error)
{
  gssize count = finish_write (stream, result, error);

  if (n_written != NULL)
    *n_written = (gsize) MAX (count, 0);
  return count >= 0;
}

/* ---- flushing and closing ---- */

/* An image that is read only has nothing to flush. */
static gboolean
needs_flush (ImagoImageOutputStream *self)
{
  return !self->place->is_dropped && imago_image_get_writable (self->place->image);
}

static gboolean
imago_image_output_stream_flush (GOutputStream *stream, GCancellable *cancellable, GError **error)
{
  ImagoImageOutputStream *self = IMAGO_IMAGE_OUTPUT_STREAM (stream);

  return !needs_flush (self) || imago_image_flush (self->place->image, cancellable, error);
}

static void
imago_image_output_stream_flush_async (GOutputStream *stream,
                                       int io_priority,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  ImagoImageOutputStream *self = IMAGO_IMAGE_OUTPUT_STREAM (stream);
  GTask *task = imago_stream_task_new (stream, imago_image_output_stream_flush_async, G_STRFUNC,
                                       io_priority, cancellable, callback, user_data);

  if (needs_flush (self))
    imago_image_flush_task (self->place->image, task);
  else
    imago_stream_task_done (task);
}

static gboolean
imago_image_output_stream_flush_finish (GOutputStream *stream, GAsyncResult *result, GError **error)
{
  return imago_stream_task_finish (stream, result, error);
}

/* GOutputStream has flushed before that. */
static void
imago_image_output_stream_close_async (GOutputStream *stream,
                                       int io_priority,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  imago_stream_task_done (imago_stream_task_new (stream, imago_image_output_stream_close_async, G_STRFUNC,
                                                 io_priority, cancellable, callback, user_data));
}

static gboolean
imago_image_output_stream_close_finish (GOutputStream *stream, GAsyncResult *result, GError **error)
{
  return imago_stream_task_finish (stream, result, error);
}

/* ---- seeking ---- */

static goffset
imago_image_output_stream_tell (GSeekable *seekable)
{
  return (goffset) IMAGO_IMAGE_OUTPUT_STREAM (seekable)->place->position;
}

static gboolean
imago_image_output_stream_can_seek (GSeekable *seekable)
{
  return TRUE;
}

static gboolean
imago_image_output_stream_seek (GSeekable *seekable,
                                goffset offset,
                                GSeekType type,
                                GCancellable *cancellable,
                                GError **error)
{
  GOutputStream *stream = G_OUTPUT_STREAM (seekable);
  gboolean success;

  if (!g_output_stream_set_pending (stream, error))
    return FALSE;
  success = !g_cancellable_set_error_if_cancelled (cancellable, error) &&
            imago_stream_place_seek (IMAGO_IMAGE_OUTPUT_STREAM (stream)->place, offset, type, error);
  g_output_stream_clear_pending (stream);
  return success;
}

static gboolean
imago_image_output_stream_can_truncate (GSeekable *seekable)
{
  return imago_image_get_writable (IMAGO_IMAGE_OUTPUT_STREAM (seekable)->place->image);
}

static gboolean
imago_image_output_stream_truncate (GSeekable *seekable,
                                    goffset size,
                                    GCancellable *cancellable,
                                    GError **error)
{
  GOutputStream *stream = G_OUTPUT_STREAM (seekable);
  gboolean success;

  if (!g_output_stream_set_pending (stream, error))
    return FALSE;
  success = imago_stream_place_truncate (IMAGO_IMAGE_OUTPUT_STREAM (stream)->place, size, cancellable,
                                         error);
  g_output_stream_clear_pending (stream);
  return success;
}

static void
imago_image_output_stream_seekable_init (GSeekableIface *iface)
{
  iface->tell = imago_image_output_stream_tell;
  iface->can_seek = imago_image_output_stream_can_seek;
  iface->seek = imago_image_output_stream_seek;
  iface->can_truncate = imago_image_output_stream_can_truncate;
  iface->truncate_fn = imago_image_output_stream_truncate;
}

/* ---- the object ---- */

static void
imago_image_output_stream_dispose (GObject *object)
{
  ImagoImageOutputStream *self = IMAGO_IMAGE_OUTPUT_STREAM (object);

  if (self->place != NULL)
    self->place->is_dropped = TRUE;
  G_OBJECT_CLASS (imago_image_output_stream_parent_class)->dispose (object);
}

static void
imago_image_output_stream_finalize (GObject *object)
{
  imago_stream_place_unref (IMAGO_IMAGE_OUTPUT_STREAM (object)->place);
  G_OBJECT_CLASS (imago_image_output_stream_parent_class)->finalize (object);
}

static void
imago_image_output_stream_class_init (ImagoImageOutputStreamClass *klass)
{
  GOutputStreamClass *stream_class = G_OUTPUT_STREAM_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = imago_image_output_stream_dispose;
  G_OBJECT_CLASS (klass)->finalize = imago_image_output_stream_finalize;
  stream_class->write_fn = imago_image_output_stream_write;
  stream_class->write_async = imago_image_output_stream_write_async;
  stream_class->write_finish = imago_image_output_stream_write_finish;
  stream_class->writev_fn = imago_image_output_stream_writev;
  stream_class->writev_async = imago_image_output_stream_writev_async;
  stream_class->writev_finish = imago_image_output_stream_writev_finish;
  stream_class->flush = imago_image_output_stream_flush;
  stream_class->flush_async = imago_image_output_stream_flush_async;
  stream_class->flush_finish = imago_image_output_stream_flush_finish;
  stream_class->close_async = imago_image_output_stream_close_async;
  stream_class->close_finish = imago_image_output_stream_close_finish;
}

static void
imago_image_output_stream_init (ImagoImageOutputStream *self)
{
}

GOutputStream *
imago_image_output_stream_new (ImagoStreamPlace *place)
{
  ImagoImageOutputStream *self = g_object_new (IMAGO_TYPE_IMAGE_OUTPUT_STREAM, NULL);

  self->place = place;
  return G_OUTPUT_STREAM (self);
}
