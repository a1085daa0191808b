/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-bitmap-private.h"

/**
 * SECTION:imago-bitmap
 * @title: ImagoBitmap
 * @short_description: A dirty bitmap inside an image
 *
 * What an image says of one of its persistent dirty bitmaps.
 *
 * Bitmaps never change and may be used from any thread.
 */

/**
 * ImagoBitmap:
 *
 * A dirty bitmap inside an image.
 *
 * Since: 1.0
 */
struct _ImagoBitmap
{
  GObject parent_instance;

  char *name;
  guint64 granularity;
  gboolean in_use;
  gboolean recording;
};

G_DEFINE_FINAL_TYPE (ImagoBitmap, imago_bitmap, G_TYPE_OBJECT)

enum
{
  PROP_NAME = 1,
  PROP_GRANULARITY,
  PROP_IN_USE,
  PROP_RECORDING,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_bitmap_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoBitmap *self = IMAGO_BITMAP (object);

  switch (property_id)
    {
    case PROP_NAME:
      g_value_set_string (value, self->name);
      break;
    case PROP_GRANULARITY:
      g_value_set_uint64 (value, self->granularity);
      break;
    case PROP_IN_USE:
      g_value_set_boolean (value, self->in_use);
      break;
    case PROP_RECORDING:
      g_value_set_boolean (value, self->recording);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_bitmap_finalize (GObject *object)
{
  g_free (IMAGO_BITMAP (object)->name);
  G_OBJECT_CLASS (imago_bitmap_parent_class)->finalize (object);
}

static void
imago_bitmap_class_init (ImagoBitmapClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_bitmap_get_property;
  object_class->finalize = imago_bitmap_finalize;

  /**
   * ImagoBitmap:name:
   *
   * The name of the bitmap, unique in its image.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] =
    g_param_spec_string ("name", "Name", "The name of the bitmap", NULL, flags);

  /**
   * ImagoBitmap:granularity:
   *
   * How many bytes of the disk one bit stands for.
   *
   * Since: 1.0
   */
  properties[PROP_GRANULARITY] =
    g_param_spec_uint64 ("granularity", "Granularity",
                         "How many bytes of the disk one bit stands for", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoBitmap:in-use:
   *
   * Whether a program was using the bitmap and has not stored it: what the image holds of it is
   * stale.
   *
   * Since: 1.0
   */
  properties[PROP_IN_USE] =
    g_param_spec_boolean ("in-use", "In use", "Whether the stored bitmap is stale", FALSE, flags);

  /**
   * ImagoBitmap:recording:
   *
   * Whether the bitmap records every write to the disk.
   *
   * Since: 1.0
   */
  properties[PROP_RECORDING] = g_param_spec_boolean (
    "recording", "Recording", "Whether the bitmap records writes", FALSE, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_bitmap_init (ImagoBitmap *self)
{
}

ImagoBitmap *
imago_bitmap_new (const ImgBitmapInfo *info)
{
  ImagoBitmap *self = g_object_new (IMAGO_TYPE_BITMAP, NULL);

  self->name = g_utf8_make_valid (info->name, -1);
  self->granularity = info->granularity;
  self->in_use = info->in_use;
  self->recording = info->is_auto;
  return self;
}

GListModel *
imago_bitmap_list_from_core (GPtrArray *infos)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_BITMAP);

  for (guint i = 0; infos != NULL && i < infos->len; i++)
    {
      g_autoptr (ImagoBitmap) bitmap = imago_bitmap_new (g_ptr_array_index (infos, i));

      g_list_store_append (list, bitmap);
    }
  return G_LIST_MODEL (list);
}

/**
 * imago_bitmap_get_name:
 * @self: an #ImagoBitmap
 *
 * Gets the name of the bitmap, which is unique in its image. Bytes that are not UTF-8 are replaced.
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
imago_bitmap_get_name (ImagoBitmap *self)
{
  g_return_val_if_fail (IMAGO_IS_BITMAP (self), NULL);

  return self->name;
}

/**
 * imago_bitmap_get_granularity:
 * @self: an #ImagoBitmap
 *
 * Gets how much of the disk one bit stands for.
 *
 * Returns: the granularity in bytes
 *
 * Since: 1.0
 */
guint64
imago_bitmap_get_granularity (ImagoBitmap *self)
{
  g_return_val_if_fail (IMAGO_IS_BITMAP (self), 0);

  return self->granularity;
}

/**
 * imago_bitmap_get_in_use:
 * @self: an #ImagoBitmap
 *
 * Gets whether a program was using the bitmap and has not stored it: what the image holds of it is
 * stale.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_bitmap_get_in_use (ImagoBitmap *self)
{
  g_return_val_if_fail (IMAGO_IS_BITMAP (self), FALSE);

  return self->in_use;
}

/**
 * imago_bitmap_get_recording:
 * @self: an #ImagoBitmap
 *
 * Gets whether the bitmap records every write to the disk.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_bitmap_get_recording (ImagoBitmap *self)
{
  g_return_val_if_fail (IMAGO_IS_BITMAP (self), FALSE);

  return self->recording;
}
