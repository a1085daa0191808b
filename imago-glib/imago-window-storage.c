/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-storage-private.h"
#include "imago-window-storage.h"

/**
 * SECTION:imago-window-storage
 * @title: ImagoWindowStorage
 * @short_description: A range of another storage
 *
 * #ImagoWindowStorage shows a part of another storage as a storage of its own.
 */

/**
 * ImagoWindowStorage:
 *
 * A range of another storage, such as a disk image inside an archive.
 *
 * It may be used from any thread, and from several at once.
 *
 * Since: 1.0
 */
struct _ImagoWindowStorage
{
  ImagoStorage parent_instance;

  ImagoStorage *base;
  guint64 offset;
  guint64 length;
};

struct _ImagoWindowStorageClass
{
  ImagoStorageClass parent_class;
};

enum
{
  PROP_0,
  PROP_BASE,
  PROP_OFFSET,
  PROP_LENGTH,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoWindowStorage, imago_window_storage, IMAGO_TYPE_STORAGE)

static ImgStorage *
imago_window_storage_make_core (ImagoStorage *storage)
{
  ImagoWindowStorage *self = IMAGO_WINDOW_STORAGE (storage);
  g_autoptr (ImgStorage) base = NULL;

  if (self->base == NULL)
    return NULL;
  base = imago_storage_dup_core (self->base);
  return img_window_storage_new (base, self->offset, self->length);
}

static void
imago_window_storage_dispose (GObject *object)
{
  g_clear_object (&IMAGO_WINDOW_STORAGE (object)->base);
  G_OBJECT_CLASS (imago_window_storage_parent_class)->dispose (object);
}

static void
imago_window_storage_set_property (GObject *object,
                                   guint id,
                                   const GValue *value,
                                   GParamSpec *pspec)
{
  ImagoWindowStorage *self = IMAGO_WINDOW_STORAGE (object);

  switch (id)
    {
    case PROP_BASE:
      self->base = g_value_dup_object (value);
      break;
    case PROP_OFFSET:
      self->offset = g_value_get_uint64 (value);
      break;
    case PROP_LENGTH:
      self->length = g_value_get_uint64 (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_window_storage_class_init (ImagoWindowStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  imago_storage_class_set_make_core (&klass->parent_class, imago_window_storage_make_core);
  object_class->dispose = imago_window_storage_dispose;
  object_class->set_property = imago_window_storage_set_property;

  /**
   * ImagoWindowStorage:base-storage:
   *
   * The storage that the window shows a range of.
   *
   * Since: 1.0
   */
  properties[PROP_BASE] =
    g_param_spec_object ("base-storage", "Base storage",
                         "The storage that the window shows a range of", IMAGO_TYPE_STORAGE, flags);
  /**
   * ImagoWindowStorage:offset:
   *
   * Where the range begins, in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_OFFSET] = g_param_spec_uint64 (
    "offset", "Offset", "Where the range begins, in bytes", 0, IMG_MAX_SIZE, 0, flags);
  /**
   * ImagoWindowStorage:length:
   *
   * The length of the range in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_LENGTH] = g_param_spec_uint64 (
    "length", "Length", "The length of the range in bytes", 0, IMG_MAX_SIZE, 0, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_window_storage_init (ImagoWindowStorage *self)
{
}

/**
 * imago_window_storage_new:
 * @base: the storage to show a range of
 * @offset: where the range begins, in bytes
 * @length: the length of the range in bytes
 *
 * Makes a storage of the bytes from @offset to @offset + @length of @base. What lies past the end
 * of @base reads as zero.
 *
 * Returns: (transfer full): a new #ImagoWindowStorage
 *
 * Since: 1.0
 */
ImagoStorage *
imago_window_storage_new (ImagoStorage *base, guint64 offset, guint64 length)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (base), NULL);
  g_return_val_if_fail (offset <= IMG_MAX_SIZE, NULL);
  g_return_val_if_fail (length <= IMG_MAX_SIZE, NULL);

  return g_object_new (IMAGO_TYPE_WINDOW_STORAGE, "base-storage", base, "offset", offset, "length",
                       length, NULL);
}
