/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-null-storage.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-null-storage
 * @title: ImagoNullStorage
 * @short_description: A storage of zeroes
 *
 * #ImagoNullStorage has a size and nothing else, for tests and for empty disks.
 */

/**
 * ImagoNullStorage:
 *
 * A storage of nothing but zeroes.
 *
 * It may be used from any thread, and from several at once.
 *
 * Since: 1.0
 */
struct _ImagoNullStorage
{
  ImagoStorage parent_instance;

  guint64 size;
};

struct _ImagoNullStorageClass
{
  ImagoStorageClass parent_class;
};

enum
{
  PROP_0,
  PROP_SIZE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoNullStorage, imago_null_storage, IMAGO_TYPE_STORAGE)

static ImgStorage *
imago_null_storage_make_core (ImagoStorage *storage)
{
  return img_null_storage_new (IMAGO_NULL_STORAGE (storage)->size);
}

static void
imago_null_storage_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  switch (id)
    {
    case PROP_SIZE:
      IMAGO_NULL_STORAGE (object)->size = g_value_get_uint64 (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_null_storage_class_init (ImagoNullStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  imago_storage_class_set_make_core (&klass->parent_class, imago_null_storage_make_core);
  object_class->set_property = imago_null_storage_set_property;

  /**
   * ImagoNullStorage:size:
   *
   * The size in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_SIZE] =
    g_param_spec_uint64 ("size", "Size", "How many zeroes there are", 0, IMG_MAX_SIZE, 0,
                         G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_null_storage_init (ImagoNullStorage *self)
{
}

/**
 * imago_null_storage_new:
 * @size: the size in bytes, at most 2^63 - 2^30
 *
 * Makes a storage of @size zeroes.
 *
 * Returns: (transfer full): a new #ImagoNullStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_null_storage_new (guint64 size)
{
  g_return_val_if_fail (size <= IMG_MAX_SIZE, NULL);

  return g_object_new (IMAGO_TYPE_NULL_STORAGE, "size", size, NULL);
}
