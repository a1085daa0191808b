/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-measurement-private.h"

/**
 * SECTION:imago-measurement
 * @title: ImagoMeasurement
 * @short_description: How much room a new image needs
 *
 * What an #ImagoMeasureJob found out. Measurements never change and may be used from any thread.
 */

/**
 * ImagoMeasurement:
 *
 * How much room a new image needs: the numbers of `qemu-img measure`.
 *
 * Since: 1.0
 */
struct _ImagoMeasurement
{
  GObject parent_instance;

  ImgMeasurement core;
};

G_DEFINE_FINAL_TYPE (ImagoMeasurement, imago_measurement, G_TYPE_OBJECT)

enum
{
  PROP_REQUIRED_SIZE = 1,
  PROP_FULLY_ALLOCATED_SIZE,
  PROP_HAS_BITMAPS,
  PROP_BITMAPS_SIZE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_measurement_get_property (GObject *object,
                                guint property_id,
                                GValue *value,
                                GParamSpec *pspec)
{
  ImagoMeasurement *self = IMAGO_MEASUREMENT (object);

  switch (property_id)
    {
    case PROP_REQUIRED_SIZE:
      g_value_set_uint64 (value, self->core.required);
      break;
    case PROP_FULLY_ALLOCATED_SIZE:
      g_value_set_uint64 (value, self->core.fully_allocated);
      break;
    case PROP_HAS_BITMAPS:
      g_value_set_boolean (value, self->core.has_bitmaps);
      break;
    case PROP_BITMAPS_SIZE:
      g_value_set_uint64 (value, self->core.bitmaps);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_measurement_class_init (ImagoMeasurementClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_measurement_get_property;

  /**
   * ImagoMeasurement:required-size:
   *
   * How many bytes the files of the new image take, with the data of the source. No compression is
   * expected, and the metadata is counted as if all of the disk were allocated.
   *
   * Since: 1.0
   */
  properties[PROP_REQUIRED_SIZE] =
    g_param_spec_uint64 ("required-size", "Required size", "What the new image takes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoMeasurement:fully-allocated-size:
   *
   * How many bytes they take once all of the disk has been written.
   *
   * Since: 1.0
   */
  properties[PROP_FULLY_ALLOCATED_SIZE] =
    g_param_spec_uint64 ("fully-allocated-size", "Fully allocated size", "What it takes in the end", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoMeasurement:has-bitmaps:
   *
   * Whether both images can keep persistent bitmaps, so that they could be copied as well.
   *
   * Since: 1.0
   */
  properties[PROP_HAS_BITMAPS] =
    g_param_spec_boolean ("has-bitmaps", "Has bitmaps", "Whether bitmaps can be kept", FALSE, flags);

  /**
   * ImagoMeasurement:bitmaps-size:
   *
   * How many bytes more it takes to copy the persistent bitmaps of the source as well.
   *
   * Since: 1.0
   */
  properties[PROP_BITMAPS_SIZE] =
    g_param_spec_uint64 ("bitmaps-size", "Bitmaps size", "What bitmaps take", 0, G_MAXUINT64, 0, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_measurement_init (ImagoMeasurement *self)
{
}

ImagoMeasurement *
imago_measurement_new (const ImgMeasurement *core)
{
  ImagoMeasurement *self = g_object_new (IMAGO_TYPE_MEASUREMENT, NULL);

  self->core = *core;
  return self;
}

/**
 * imago_measurement_get_required_size:
 * @self: an #ImagoMeasurement
 *
 * Gets how many bytes the files of the new image take, with the data of the source. No compression is
 * expected, and the metadata is counted as if all of the disk were allocated.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
imago_measurement_get_required_size (ImagoMeasurement *self)
{
  g_return_val_if_fail (IMAGO_IS_MEASUREMENT (self), 0);

  return self->core.required;
}

/**
 * imago_measurement_get_fully_allocated_size:
 * @self: an #ImagoMeasurement
 *
 * Gets how many bytes they take once all of the disk has been written.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
imago_measurement_get_fully_allocated_size (ImagoMeasurement *self)
{
  g_return_val_if_fail (IMAGO_IS_MEASUREMENT (self), 0);

  return self->core.fully_allocated;
}

/**
 * imago_measurement_get_has_bitmaps:
 * @self: an #ImagoMeasurement
 *
 * Gets whether both images can keep persistent bitmaps, so that they could be copied as well.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_measurement_get_has_bitmaps (ImagoMeasurement *self)
{
  g_return_val_if_fail (IMAGO_IS_MEASUREMENT (self), FALSE);

  return self->core.has_bitmaps;
}

/**
 * imago_measurement_get_bitmaps_size:
 * @self: an #ImagoMeasurement
 *
 * Gets how many bytes more it takes to copy the persistent bitmaps of the source as well.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
imago_measurement_get_bitmaps_size (ImagoMeasurement *self)
{
  g_return_val_if_fail (IMAGO_IS_MEASUREMENT (self), 0);

  return self->core.bitmaps;
}
