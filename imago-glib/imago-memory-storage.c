/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-memory-storage.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-memory-storage
 * @title: ImagoMemoryStorage
 * @short_description: A storage of bytes in memory
 *
 * #ImagoMemoryStorage lets an image be opened from bytes that the program has.
 */

/**
 * ImagoMemoryStorage:
 *
 * A storage of bytes in memory.
 *
 * It may be used from any thread, and from several at once. The bytes may be released by any
 * thread.
 *
 * Since: 1.0
 */
struct _ImagoMemoryStorage
{
  ImagoStorage parent_instance;

  GBytes *bytes;
};

struct _ImagoMemoryStorageClass
{
  ImagoStorageClass parent_class;
};

enum
{
  PROP_0,
  PROP_BYTES,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoMemoryStorage, imago_memory_storage, IMAGO_TYPE_STORAGE)

static ImgStorage *
imago_memory_storage_make_core (ImagoStorage *storage)
{
  GBytes *bytes = IMAGO_MEMORY_STORAGE (storage)->bytes;

  return bytes != NULL ? img_memory_storage_new (bytes) : NULL;
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
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_memory_storage_class_init (ImagoMemoryStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  klass->parent_class.make_core = imago_memory_storage_make_core;
  object_class->finalize = imago_memory_storage_finalize;
  object_class->set_property = imago_memory_storage_set_property;

  /**
   * ImagoMemoryStorage:bytes:
   *
   * The bytes.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES] =
    g_param_spec_boxed ("bytes", "Bytes", "What the storage holds", G_TYPE_BYTES,
                        G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);
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
