/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-storage-private.h"
#include "imago-stream-core.h"
#include "imago-stream-storage.h"

/**
 * SECTION:imago-stream-storage
 * @title: ImagoStreamStorage
 * @short_description: A storage in a stream
 *
 * #ImagoStreamStorage reads and writes a stream of GIO that can seek, such as that of a file on another
 * machine.
 *
 * imago_image_open() makes one by itself for a #GFile without a local path.
 */

/**
 * ImagoStreamStorage:
 *
 * A storage in a #GInputStream, which is then only read, or in a #GIOStream. As long as the storage lives, nobody
 * else may use the stream; it is not closed when the storage goes.
 *
 * The stream must be able to seek, and for a storage that gets smaller to be truncated; otherwise requests fail
 * with %IMAGO_ERROR_UNSUPPORTED. One that does not grow by being written to, as that of imago_image_create_io_stream(),
 * is truncated to become longer. A stream that ends before the size it had at first fails with
 * %IMAGO_ERROR_FAILED. Flushing flushes the stream, and what was written is as durable then as the stream
 * makes it.
 *
 * The storage may be used from any thread, and from several at once: one request after the other uses the
 * stream, with its blocking calls, on the thread of whoever made a blocking call or on a worker of the library. So
 * the stream must not care which thread it is used from, as those of GIO do not. A class of streams that is
 * written in JavaScript is not usable here, since that language runs in one thread.
 *
 * Reads of less than 64 KiB are read ahead, by up to 1 MiB as long as the storage is read from front to back.
 *
 * Since: 1.0
 */
struct _ImagoStreamStorage
{
  ImagoStorage parent_instance;

  ImagoOwnerQueue *owner;
  GInputStream *input;
  GIOStream *io;
};

struct _ImagoStreamStorageClass
{
  ImagoStorageClass parent_class;
};

enum
{
  PROP_0,
  PROP_INPUT_STREAM,
  PROP_IO_STREAM,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoStreamStorage, imago_stream_storage, IMAGO_TYPE_STORAGE)

static ImgStorage *
imago_stream_storage_make_core (ImagoStorage *storage)
{
  ImagoStreamStorage *self = IMAGO_STREAM_STORAGE (storage);

  if (self->input == NULL && self->io == NULL)
    return NULL;
  return imago_stream_core_new (self->input, self->io, self->owner);
}

static void
imago_stream_storage_dispose (GObject *object)
{
  ImagoStreamStorage *self = IMAGO_STREAM_STORAGE (object);

  g_clear_object (&self->input);
  g_clear_object (&self->io);
  if (self->owner != NULL)
    imago_owner_queue_close (self->owner);
  g_clear_pointer (&self->owner, imago_owner_queue_unref);
  G_OBJECT_CLASS (imago_stream_storage_parent_class)->dispose (object);
}

static void
imago_stream_storage_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoStreamStorage *self = IMAGO_STREAM_STORAGE (object);

  switch (id)
    {
    case PROP_INPUT_STREAM:
      self->input = g_value_dup_object (value);
      break;
    case PROP_IO_STREAM:
      self->io = g_value_dup_object (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_stream_storage_class_init (ImagoStreamStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  imago_storage_class_set_make_core (&klass->parent_class, imago_stream_storage_make_core);
  object_class->dispose = imago_stream_storage_dispose;
  object_class->set_property = imago_stream_storage_set_property;

  /**
   * ImagoStreamStorage:input-stream:
   *
   * The stream that is read, if there is no #ImagoStreamStorage:io-stream.
   *
   * Since: 1.0
   */
  properties[PROP_INPUT_STREAM] = g_param_spec_object (
    "input-stream", "Input stream", "The stream that is read", G_TYPE_INPUT_STREAM, flags);
  /**
   * ImagoStreamStorage:io-stream:
   *
   * The stream that is read and written.
   *
   * Since: 1.0
   */
  properties[PROP_IO_STREAM] = g_param_spec_object (
    "io-stream", "IO stream", "The stream that is read and written", G_TYPE_IO_STREAM, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_stream_storage_init (ImagoStreamStorage *self)
{
  self->owner = imago_owner_queue_new ();
}

/**
 * imago_stream_storage_new_for_input:
 * @stream: a stream that can seek
 *
 * Makes a storage that reads a stream; see #ImagoStreamStorage for what is asked of it.
 *
 * Returns: (transfer full): a new #ImagoStreamStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_stream_storage_new_for_input (GInputStream *stream)
{
  g_return_val_if_fail (G_IS_INPUT_STREAM (stream), NULL);

  return g_object_new (IMAGO_TYPE_STREAM_STORAGE, "input-stream", stream, NULL);
}

/**
 * imago_stream_storage_new_for_io:
 * @stream: a stream that can seek, or both of whose sides can
 *
 * Makes a storage that reads and writes a stream; see #ImagoStreamStorage for what is asked of it. If the stream
 * itself cannot seek but its sides can, both must show the same bytes.
 *
 * Returns: (transfer full): a new #ImagoStreamStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_stream_storage_new_for_io (GIOStream *stream)
{
  g_return_val_if_fail (G_IS_IO_STREAM (stream), NULL);

  return g_object_new (IMAGO_TYPE_STREAM_STORAGE, "io-stream", stream, NULL);
}
