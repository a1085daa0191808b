/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-convert-plan-private.h"
#include "imago-enum-types.h"

/**
 * SECTION:imago-convert-plan
 * @title: ImagoConvertPlan
 * @short_description: What a conversion would come to
 *
 * What imago_convert_job_plan() found out. Plans never change and may be used from any thread.
 */

/**
 * ImagoConvertPlan:
 *
 * What a conversion would come to: what is lost, how much room is needed, and how much there is.
 *
 * Since: 1.0
 */
struct _ImagoConvertPlan
{
  GObject parent_instance;

  ImgConvertPlan core;
};

G_DEFINE_FINAL_TYPE (ImagoConvertPlan, imago_convert_plan, G_TYPE_OBJECT)

G_STATIC_ASSERT ((int) IMAGO_CONVERT_LOSS_SNAPSHOTS == (int) IMG_CONVERT_LOSS_SNAPSHOTS);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_LOSS_BITMAPS == (int) IMG_CONVERT_LOSS_BITMAPS);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_LOSS_BACKING_FILE == (int) IMG_CONVERT_LOSS_BACKING);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_LOSS_DATA_FILE == (int) IMG_CONVERT_LOSS_DATA_FILE);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_LOSS_SIZE == (int) IMG_CONVERT_LOSS_SIZE);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_ROOM_NONE == (int) IMG_ROOM_UNKNOWN);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_ROOM_ENOUGH == (int) IMG_ROOM_ENOUGH);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_ROOM_UNCERTAIN == (int) IMG_ROOM_UNCERTAIN);
G_STATIC_ASSERT ((int) IMAGO_CONVERT_ROOM_TOO_LITTLE == (int) IMG_ROOM_TOO_LITTLE);

enum
{
  PROP_REQUIRED_SIZE = 1,
  PROP_FULLY_ALLOCATED_SIZE,
  PROP_HAS_AVAILABLE_SIZE,
  PROP_AVAILABLE_SIZE,
  PROP_ROOM,
  PROP_LOSSES,
  PROP_LOSS_TEXTS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_convert_plan_finalize (GObject *object)
{
  img_convert_plan_clear (&IMAGO_CONVERT_PLAN (object)->core);
  G_OBJECT_CLASS (imago_convert_plan_parent_class)->finalize (object);
}

static void
imago_convert_plan_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoConvertPlan *self = IMAGO_CONVERT_PLAN (object);

  switch (id)
    {
    case PROP_REQUIRED_SIZE:
      g_value_set_uint64 (value, imago_convert_plan_get_required_size (self));
      break;
    case PROP_FULLY_ALLOCATED_SIZE:
      g_value_set_uint64 (value, imago_convert_plan_get_fully_allocated_size (self));
      break;
    case PROP_HAS_AVAILABLE_SIZE:
      g_value_set_boolean (value, imago_convert_plan_get_has_available_size (self));
      break;
    case PROP_AVAILABLE_SIZE:
      g_value_set_uint64 (value, imago_convert_plan_get_available_size (self));
      break;
    case PROP_ROOM:
      g_value_set_enum (value, imago_convert_plan_get_room (self));
      break;
    case PROP_LOSSES:
      g_value_set_flags (value, imago_convert_plan_get_losses (self));
      break;
    case PROP_LOSS_TEXTS:
      g_value_set_boxed (value, imago_convert_plan_get_loss_texts (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_convert_plan_class_init (ImagoConvertPlanClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->finalize = imago_convert_plan_finalize;
  object_class->get_property = imago_convert_plan_get_property;

  /**
   * ImagoConvertPlan:required-size:
   *
   * How many bytes the new files take at most: with all metadata, nothing compressed, and no zeroes
   * found in what is allocated.
   *
   * Since: 1.0
   */
  properties[PROP_REQUIRED_SIZE] = g_param_spec_uint64 (
    "required-size", "Required size", "What the new files take at most", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoConvertPlan:fully-allocated-size:
   *
   * How many bytes they take once all of the disk has been written.
   *
   * Since: 1.0
   */
  properties[PROP_FULLY_ALLOCATED_SIZE] =
    g_param_spec_uint64 ("fully-allocated-size", "Fully allocated size",
                         "What they take in the end", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoConvertPlan:has-available-size:
   *
   * Whether the size of what is free is known: not for devices and images that were there before.
   *
   * Since: 1.0
   */
  properties[PROP_HAS_AVAILABLE_SIZE] = g_param_spec_boolean (
    "has-available-size", "Has available size", "Whether it is known what is free", FALSE, flags);
  /**
   * ImagoConvertPlan:available-size:
   *
   * How many bytes are free in the file system where the data goes; 0 if it is not known.
   *
   * Since: 1.0
   */
  properties[PROP_AVAILABLE_SIZE] = g_param_spec_uint64 ("available-size", "Available size",
                                                         "What is free", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoConvertPlan:room:
   *
   * Whether there is room for the result.
   *
   * Since: 1.0
   */
  properties[PROP_ROOM] =
    g_param_spec_enum ("room", "Room", "Whether there is room", IMAGO_TYPE_CONVERT_ROOM,
                       IMAGO_CONVERT_ROOM_NONE, flags);
  /**
   * ImagoConvertPlan:losses:
   *
   * What the sources have and the result will not have.
   *
   * Since: 1.0
   */
  properties[PROP_LOSSES] = g_param_spec_flags (
    "losses", "Losses", "What is lost", IMAGO_TYPE_CONVERT_LOSSES, IMAGO_CONVERT_LOSS_NONE, flags);
  /**
   * ImagoConvertPlan:loss-texts:
   *
   * The same for a person to read: a sentence for each loss, translated.
   *
   * Since: 1.0
   */
  properties[PROP_LOSS_TEXTS] =
    g_param_spec_boxed ("loss-texts", "Loss texts", "What is lost, in words", G_TYPE_STRV, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

/* Of one that nobody has made a plan for, nothing is known. */
static void
imago_convert_plan_init (ImagoConvertPlan *self)
{
  self->core.texts = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (self->core.texts, NULL);
}

ImagoConvertPlan *
imago_convert_plan_new (ImgConvertPlan *core)
{
  ImagoConvertPlan *self = g_object_new (IMAGO_TYPE_CONVERT_PLAN, NULL);

  img_convert_plan_clear (&self->core);
  self->core = *core;
  return self;
}

/**
 * imago_convert_plan_get_required_size:
 * @self: an #ImagoConvertPlan
 *
 * Gets how many bytes the new files take at most: with all metadata, nothing compressed, and no
 * zeroes found in what is allocated.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
imago_convert_plan_get_required_size (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), 0);

  return self->core.required;
}

/**
 * imago_convert_plan_get_fully_allocated_size:
 * @self: an #ImagoConvertPlan
 *
 * Gets how many bytes they take once all of the disk has been written.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
imago_convert_plan_get_fully_allocated_size (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), 0);

  return self->core.fully_allocated;
}

/**
 * imago_convert_plan_get_has_available_size:
 * @self: an #ImagoConvertPlan
 *
 * Gets whether the size of what is free is known: not for devices and images that were there
 * before.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_convert_plan_get_has_available_size (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), FALSE);

  return self->core.has_available;
}

/**
 * imago_convert_plan_get_available_size:
 * @self: an #ImagoConvertPlan
 *
 * Gets how many bytes are free in the file system where the data goes. The file that is replaced
 * still takes its space then.
 *
 * Returns: the number of bytes; 0 if it is not known
 *
 * Since: 1.0
 */
guint64
imago_convert_plan_get_available_size (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), 0);

  return self->core.available;
}

/**
 * imago_convert_plan_get_room:
 * @self: an #ImagoConvertPlan
 *
 * Gets whether there is room for the result.
 *
 * Returns: what is known
 *
 * Since: 1.0
 */
ImagoConvertRoom
imago_convert_plan_get_room (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), IMAGO_CONVERT_ROOM_NONE);

  return (ImagoConvertRoom) self->core.room;
}

/**
 * imago_convert_plan_get_losses:
 * @self: an #ImagoConvertPlan
 *
 * Gets what the sources have and the result will not have.
 *
 * Returns: what is lost
 *
 * Since: 1.0
 */
ImagoConvertLosses
imago_convert_plan_get_losses (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), IMAGO_CONVERT_LOSS_NONE);

  return (ImagoConvertLosses) self->core.losses;
}

/**
 * imago_convert_plan_get_loss_texts:
 * @self: an #ImagoConvertPlan
 *
 * Gets the same for a person to read: a sentence for each loss, translated.
 *
 * Returns: (transfer none) (array zero-terminated=1): the sentences
 *
 * Since: 1.0
 */
const char *const *
imago_convert_plan_get_loss_texts (ImagoConvertPlan *self)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_PLAN (self), NULL);

  return (const char *const *) self->core.texts->pdata;
}
