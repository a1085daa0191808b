/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-key-slot-private.h"

/**
 * SECTION:imago-key-slot
 * @title: ImagoKeySlot
 * @short_description: A place for a key of an encrypted image
 *
 * What the header of an encrypted image says of one of its key slots; see #ImagoEncryptionInfo.
 *
 * Key slots never change and may be used from any thread.
 */

/**
 * ImagoKeySlot:
 *
 * A place for a key of an encrypted image.
 *
 * Since: 1.0
 */
struct _ImagoKeySlot
{
  GObject parent_instance;

  gboolean active;
  guint64 key_offset;
  guint iterations;
  guint stripes;
};

G_DEFINE_FINAL_TYPE (ImagoKeySlot, imago_key_slot, G_TYPE_OBJECT)

enum
{
  PROP_ACTIVE = 1,
  PROP_KEY_OFFSET,
  PROP_ITERATIONS,
  PROP_STRIPES,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_key_slot_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoKeySlot *self = IMAGO_KEY_SLOT (object);

  switch (property_id)
    {
    case PROP_ACTIVE:
      g_value_set_boolean (value, self->active);
      break;
    case PROP_KEY_OFFSET:
      g_value_set_uint64 (value, self->key_offset);
      break;
    case PROP_ITERATIONS:
      g_value_set_uint (value, self->iterations);
      break;
    case PROP_STRIPES:
      g_value_set_uint (value, self->stripes);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_key_slot_class_init (ImagoKeySlotClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_key_slot_get_property;

  /**
   * ImagoKeySlot:active:
   *
   * Whether a key can be had from the slot.
   *
   * Since: 1.0
   */
  properties[PROP_ACTIVE] =
    g_param_spec_boolean ("active", "Active", "Whether a key can be had from the slot", FALSE, flags);

  /**
   * ImagoKeySlot:key-offset:
   *
   * Where the key of the slot lies, in bytes from the start of the encryption header.
   *
   * Since: 1.0
   */
  properties[PROP_KEY_OFFSET] =
    g_param_spec_uint64 ("key-offset", "Key offset", "Where the key lies, in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoKeySlot:iterations:
   *
   * How often what opens the slot is hashed; 0 if it is not active.
   *
   * Since: 1.0
   */
  properties[PROP_ITERATIONS] =
    g_param_spec_uint ("iterations", "Iterations", "How often a password is hashed", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoKeySlot:stripes:
   *
   * Over how many pieces the key is spread; 0 if the slot is not active.
   *
   * Since: 1.0
   */
  properties[PROP_STRIPES] =
    g_param_spec_uint ("stripes", "Stripes", "Over how many pieces the key is spread", 0, G_MAXUINT, 0, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_key_slot_init (ImagoKeySlot *self)
{
}

ImagoKeySlot *
imago_key_slot_new (const ImgLuksSlot *slot)
{
  ImagoKeySlot *self = g_object_new (IMAGO_TYPE_KEY_SLOT, NULL);

  self->active = slot->is_active;
  self->key_offset = slot->key_offset;
  if (!slot->is_active)
    return self;
  self->iterations = slot->iterations;
  self->stripes = slot->stripes;
  return self;
}

/**
 * imago_key_slot_get_active:
 * @self: an #ImagoKeySlot
 *
 * Gets whether a key can be had from the slot, by a password or a key file.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_key_slot_get_active (ImagoKeySlot *self)
{
  g_return_val_if_fail (IMAGO_IS_KEY_SLOT (self), FALSE);

  return self->active;
}

/**
 * imago_key_slot_get_key_offset:
 * @self: an #ImagoKeySlot
 *
 * Gets where the key of the slot lies, encrypted and spread over its stripes.
 *
 * Returns: the offset in bytes from the start of the encryption header
 *
 * Since: 1.0
 */
guint64
imago_key_slot_get_key_offset (ImagoKeySlot *self)
{
  g_return_val_if_fail (IMAGO_IS_KEY_SLOT (self), 0);

  return self->key_offset;
}

/**
 * imago_key_slot_get_iterations:
 * @self: an #ImagoKeySlot
 *
 * Gets how often what opens the slot is hashed.
 *
 * Returns: the number, 0 if the slot is not active
 *
 * Since: 1.0
 */
guint
imago_key_slot_get_iterations (ImagoKeySlot *self)
{
  g_return_val_if_fail (IMAGO_IS_KEY_SLOT (self), 0);

  return self->iterations;
}

/**
 * imago_key_slot_get_stripes:
 * @self: an #ImagoKeySlot
 *
 * Gets over how many pieces the key of the slot is spread.
 *
 * Returns: the number, 0 if the slot is not active
 *
 * Since: 1.0
 */
guint
imago_key_slot_get_stripes (ImagoKeySlot *self)
{
  g_return_val_if_fail (IMAGO_IS_KEY_SLOT (self), 0);

  return self->stripes;
}
