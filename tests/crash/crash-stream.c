/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "crash-stream.h"

#include "imago-glib/imago-error-private.h"

typedef struct
{
  ImgStorage *disk;
  guint64 position;
} Side;

static Side *side_of (gpointer stream);

static gboolean
take (ImgError *core_error, GError **error)
{
  if (core_error == NULL)
    return TRUE;
  imago_error_take (error, core_error);
  return FALSE;
}

/* ---- seeking, for both sides ---- */

static goffset
side_tell (GSeekable *seekable)
{
  return (goffset) side_of (seekable)->position;
}

static gboolean
side_can_seek (GSeekable *seekable)
{
  return TRUE;
}

static gboolean
side_seek (GSeekable *seekable, goffset offset, GSeekType type, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (seekable);
  ImgError *core_error = NULL;
  guint64 size = 0;

  if (type == G_SEEK_END && !img_storage_get_size (side->disk, &size, &core_error))
    return take (core_error, error);
  side->position = (guint64) offset + (type == G_SEEK_END ? size : type == G_SEEK_CUR ? side->position : 0);
  return TRUE;
}

static gboolean
side_can_truncate (GSeekable *seekable)
{
  return G_IS_OUTPUT_STREAM (seekable);
}

static gboolean
side_truncate (GSeekable *seekable, goffset size, GCancellable *cancellable, GError **error)
{
  ImgError *core_error = NULL;

  img_storage_truncate (side_of (seekable)->disk, (guint64) size, &core_error);
  return take (core_error, error);
}

static void
side_seekable_init (GSeekableIface *iface)
{
  iface->tell = side_tell;
  iface->can_seek = side_can_seek;
  iface->seek = side_seek;
  iface->can_truncate = side_can_truncate;
  iface->truncate_fn = side_truncate;
}

/* ---- the reading side ---- */

G_DECLARE_FINAL_TYPE (CrashInput, crash_input, CRASH, INPUT, GInputStream)

struct _CrashInput
{
  GInputStream parent_instance;
  Side side;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (CrashInput, crash_input, G_TYPE_INPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE, side_seekable_init))

static gssize
crash_input_read (GInputStream *stream, void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (stream);
  ImgError *core_error = NULL;
  guint64 size;

  if (!img_storage_get_size (side->disk, &size, &core_error))
    {
      take (core_error, error);
      return -1;
    }
  count = (gsize) MIN (count, size - MIN (side->position, size));
  if (count > 0)
    img_storage_read (side->disk, side->position, buffer, count, &core_error);
  if (!take (core_error, error))
    return -1;
  side->position += count;
  return (gssize) count;
}

static void
crash_input_finalize (GObject *object)
{
  img_storage_unref (side_of (object)->disk);
  G_OBJECT_CLASS (crash_input_parent_class)->finalize (object);
}

static void
crash_input_class_init (CrashInputClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = crash_input_finalize;
  G_INPUT_STREAM_CLASS (klass)->read_fn = crash_input_read;
}

static void
crash_input_init (CrashInput *self)
{
}

/* ---- the writing side ---- */

G_DECLARE_FINAL_TYPE (CrashOutput, crash_output, CRASH, OUTPUT, GOutputStream)

struct _CrashOutput
{
  GOutputStream parent_instance;
  Side side;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (CrashOutput, crash_output, G_TYPE_OUTPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_SEEKABLE, side_seekable_init))

static gssize
crash_output_write (GOutputStream *stream, const void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
  Side *side = side_of (stream);
  ImgError *core_error = NULL;

  img_storage_write (side->disk, side->position, buffer, count, &core_error);
  if (!take (core_error, error))
    return -1;
  side->position += count;
  return (gssize) count;
}

static gboolean
crash_output_flush (GOutputStream *stream, GCancellable *cancellable, GError **error)
{
  ImgError *core_error = NULL;

  img_storage_flush (side_of (stream)->disk, &core_error);
  return take (core_error, error);
}

static void
crash_output_finalize (GObject *object)
{
  img_storage_unref (side_of (object)->disk);
  G_OBJECT_CLASS (crash_output_parent_class)->finalize (object);
}

/* Closing is nothing to the disk: an image that is to be durable was flushed. */
static gboolean
crash_output_close (GOutputStream *stream, GCancellable *cancellable, GError **error)
{
  return TRUE;
}

static void
crash_output_class_init (CrashOutputClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = crash_output_finalize;
  G_OUTPUT_STREAM_CLASS (klass)->write_fn = crash_output_write;
  G_OUTPUT_STREAM_CLASS (klass)->flush = crash_output_flush;
  G_OUTPUT_STREAM_CLASS (klass)->close_fn = crash_output_close;
}

static void
crash_output_init (CrashOutput *self)
{
}

static Side *
side_of (gpointer stream)
{
  return G_IS_INPUT_STREAM (stream) ? &CRASH_INPUT (stream)->side : &CRASH_OUTPUT (stream)->side;
}

GIOStream *
crash_stream_new (ImgStorage *disk)
{
  g_autoptr (CrashInput) input = g_object_new (crash_input_get_type (), NULL);
  g_autoptr (CrashOutput) output = g_object_new (crash_output_get_type (), NULL);

  input->side.disk = img_storage_ref (disk);
  output->side.disk = img_storage_ref (disk);
  return g_simple_io_stream_new (G_INPUT_STREAM (input), G_OUTPUT_STREAM (output));
}
