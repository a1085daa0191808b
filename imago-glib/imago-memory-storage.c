/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-memory-storage.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-memory-storage
 * @title: ImagoMemoryStorage
 * @short_description: A storage of bytes in memory
 *
 * #ImagoMemoryStorage lets an image be opened from bytes that the program has, or be made and changed
 * without a file.
 */

/**
 * ImagoMemoryStorage:
 *
 * A storage of bytes in memory: of bytes that the program has, which never change, or one that begins as
 * zeroes, can be written and grows. The latter takes memory only for what has been written.
 *
 * It may be used from any thread, and from several at once. The bytes may be released by any
 * thread.
 *
 * Since: 1.0
 */
struct _ImagoMemoryStorage
{
  ImagoStorage parent_instance;

  GBytes *bytes; /* NULL: it can be written */
  guint64 size;  /* and begins so long */
};

struct _ImagoMemoryStorageClass
{
  ImagoStorageClass parent_class;
};

enum
{
  PROP_0,
  PROP_BYTES,
  PROP_SIZE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoMemoryStorage, imago_memory_storage, IMAGO_TYPE_STORAGE)

static ImgStorage *
imago_memory_storage_make_core (ImagoStorage *storage)
{
  ImagoMemoryStorage *self = IMAGO_MEMORY_STORAGE (storage);

  return self->bytes != NULL ? img_memory_storage_new (self->bytes)
                             : img_memory_storage_new_writable (self->size);
}

static void
imago_memory_storage_finalize (GObject *object)
{
  g_clear_pointer (&IMAGO_MEMORY_STORAGE (object)->bytes, g_bytes_unref);
  G_OBJECT_CLASS (imago_memory_storage_parent_class)->finalize (object);
}

static void
imago_memory_storage_set_property (GObject *object,
                                   guint id,
                                   const GValue *value,
                                   GParamSpec *pspec)
{
  switch (id)
    {
    case PROP_BYTES:
      IMAGO_MEMORY_STORAGE (object)->bytes = g_value_dup_boxed (value);
      break;
    case PROP_SIZE:
      IMAGO_MEMORY_STORAGE (object)->size = g_value_get_uint64 (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_memory_storage_class_init (ImagoMemoryStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  imago_storage_class_set_make_core (&klass->parent_class, imago_memory_storage_make_core);
  object_class->finalize = imago_memory_storage_finalize;
  object_class->set_property = imago_memory_storage_set_property;

  /**
   * ImagoMemoryStorage:bytes:
   *
   * The bytes, which never change. %NULL makes a storage that can be written.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES] =
    g_param_spec_boxed ("bytes", "Bytes", "What the storage holds", G_TYPE_BYTES, flags);
  /**
   * ImagoMemoryStorage:size:
   *
   * How many zeroes a storage that can be written begins with. It means nothing beside
   * #ImagoMemoryStorage:bytes.
   *
   * Since: 1.0
   */
  properties[PROP_SIZE] = g_param_spec_uint64 (
    "size", "Size", "The size that the storage begins with", 0, IMG_MAX_SIZE, 0, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_memory_storage_init (ImagoMemoryStorage *self)
{
}

/**
 * imago_memory_storage_new:
 * @bytes: (transfer none): the bytes
 *
 * Makes a storage of bytes in memory. Nothing is copied.
 *
 * Returns: (transfer full): a new #ImagoMemoryStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_memory_storage_new (GBytes *bytes)
{
  g_return_val_if_fail (bytes != NULL, NULL);

  return g_object_new (IMAGO_TYPE_MEMORY_STORAGE, "bytes", bytes, NULL);
}

/**
 * imago_memory_storage_new_writable:
 * @size: how many zeroes it begins with
 *
 * Makes a storage in memory that can be written and grows.
 *
 * Returns: (transfer full): a new #ImagoMemoryStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_memory_storage_new_writable (guint64 size)
{
  g_return_val_if_fail (size <= IMG_MAX_SIZE, NULL);

  return g_object_new (IMAGO_TYPE_MEMORY_STORAGE, "size", size, NULL);
}

static GBytes *
copy_bytes (ImgStorage *core, ImgError **error)
{
  guint64 size;
  guint8 *buffer;

  if (!img_storage_get_size (core, &size, error))
    return NULL;
  if (size > G_MAXSIZE)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _("There is not enough memory for a copy"));
      return NULL;
    }
  buffer = imago_buffer_new (size, error);
  if (buffer == NULL)
    return NULL;
  if (img_storage_read (core, 0, buffer, size, error))
    return imago_buffer_to_bytes (buffer, size);
  imago_buffer_free (buffer, size);
  return NULL;
}

/**
 * imago_memory_storage_dup_bytes:
 * @self: an #ImagoMemoryStorage
 * @error: return location for a #GError, or %NULL
 *
 * Gets what the storage holds now: the bytes that it was made of, or a copy of what has been written. It
 * can run out of memory (%IMAGO_ERROR_NO_MEMORY); nothing else fails. An image that uses the storage
 * should be flushed before.
 *
 * Returns: (transfer full): the bytes, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_memory_storage_dup_bytes (ImagoMemoryStorage *self, GError **error)
{
  ImgError *core_error = NULL;
  GBytes *bytes;

  g_return_val_if_fail (IMAGO_IS_MEMORY_STORAGE (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (self->bytes != NULL)
    return g_bytes_ref (self->bytes);
  bytes = copy_bytes (imago_storage_get_core (IMAGO_STORAGE (self)), &core_error);
  if (bytes == NULL)
    imago_error_take (error, core_error);
  return bytes;
}
