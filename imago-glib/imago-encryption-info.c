/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-encryption-info-private.h"
#include "imago-key-slot-private.h"

/**
 * SECTION:imago-encryption-info
 * @title: ImagoEncryptionInfo
 * @short_description: How an image is encrypted
 *
 * What #ImagoImageInfo:encryption-info tells of an encrypted image. No key is needed to read it. To have it, open the
 * image with #ImagoOpenOptions:metadata-only.
 *
 * The object never changes and may be used from any thread.
 */

/**
 * ImagoEncryptionInfo:
 *
 * How an image is encrypted.
 *
 * Since: 1.0
 */
struct _ImagoEncryptionInfo
{
  GObject parent_instance;

  char *method;
  const char *cipher;
  const char *cipher_mode;
  const char *iv_generator;
  const char *iv_hash;
  const char *hash;
  char *uuid;
  guint64 payload_offset;
  guint master_key_iterations;
  GListModel *key_slots;
};

G_DEFINE_FINAL_TYPE (ImagoEncryptionInfo, imago_encryption_info, G_TYPE_OBJECT)

enum
{
  PROP_METHOD = 1,
  PROP_CIPHER,
  PROP_CIPHER_MODE,
  PROP_IV_GENERATOR,
  PROP_IV_HASH,
  PROP_HASH,
  PROP_UUID,
  PROP_PAYLOAD_OFFSET,
  PROP_MASTER_KEY_ITERATIONS,
  PROP_KEY_SLOTS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_encryption_info_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoEncryptionInfo *self = IMAGO_ENCRYPTION_INFO (object);

  switch (property_id)
    {
    case PROP_METHOD:
      g_value_set_string (value, self->method);
      break;
    case PROP_CIPHER:
      g_value_set_string (value, self->cipher);
      break;
    case PROP_CIPHER_MODE:
      g_value_set_string (value, self->cipher_mode);
      break;
    case PROP_IV_GENERATOR:
      g_value_set_string (value, self->iv_generator);
      break;
    case PROP_IV_HASH:
      g_value_set_string (value, self->iv_hash);
      break;
    case PROP_HASH:
      g_value_set_string (value, self->hash);
      break;
    case PROP_UUID:
      g_value_set_string (value, self->uuid);
      break;
    case PROP_PAYLOAD_OFFSET:
      g_value_set_uint64 (value, self->payload_offset);
      break;
    case PROP_MASTER_KEY_ITERATIONS:
      g_value_set_uint (value, self->master_key_iterations);
      break;
    case PROP_KEY_SLOTS:
      g_value_set_object (value, self->key_slots);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_encryption_info_finalize (GObject *object)
{
  ImagoEncryptionInfo *self = IMAGO_ENCRYPTION_INFO (object);

  g_free (self->method);
  g_free (self->uuid);
  g_clear_object (&self->key_slots);
  G_OBJECT_CLASS (imago_encryption_info_parent_class)->finalize (object);
}

static void
imago_encryption_info_class_init (ImagoEncryptionInfoClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_encryption_info_get_property;
  object_class->finalize = imago_encryption_info_finalize;

  /**
   * ImagoEncryptionInfo:method:
   *
   * How the disk is encrypted: `luks`, or `aes` for the old way of qcow2, which has no header.
   *
   * Since: 1.0
   */
  properties[PROP_METHOD] =
    g_param_spec_string ("method", "Method", "How the disk is encrypted", NULL, flags);

  /**
   * ImagoEncryptionInfo:cipher:
   *
   * The cipher and the length of its key in bits, such as `aes-256`.
   *
   * Since: 1.0
   */
  properties[PROP_CIPHER] =
    g_param_spec_string ("cipher", "Cipher", "The cipher", NULL, flags);

  /**
   * ImagoEncryptionInfo:cipher-mode:
   *
   * The mode of the cipher, such as `xts`.
   *
   * Since: 1.0
   */
  properties[PROP_CIPHER_MODE] =
    g_param_spec_string ("cipher-mode", "Cipher mode", "The mode of the cipher", NULL, flags);

  /**
   * ImagoEncryptionInfo:iv-generator:
   *
   * What makes the initialization vector of each sector, such as `plain64`.
   *
   * Since: 1.0
   */
  properties[PROP_IV_GENERATOR] =
    g_param_spec_string ("iv-generator", "IV generator",
                         "What makes initialization vectors", NULL, flags);

  /**
   * ImagoEncryptionInfo:iv-hash:
   *
   * The hash that #ImagoEncryptionInfo:iv-generator needs, such as `sha256`; %NULL if it needs none.
   *
   * Since: 1.0
   */
  properties[PROP_IV_HASH] =
    g_param_spec_string ("iv-hash", "IV hash", "The hash for initialization vectors", NULL, flags);

  /**
   * ImagoEncryptionInfo:hash:
   *
   * The hash that makes keys of passwords, such as `sha256`.
   *
   * Since: 1.0
   */
  properties[PROP_HASH] =
    g_param_spec_string ("hash", "Hash", "The hash that makes keys of passwords", NULL, flags);

  /**
   * ImagoEncryptionInfo:uuid:
   *
   * The identifier of the encrypted disk.
   *
   * Since: 1.0
   */
  properties[PROP_UUID] =
    g_param_spec_string ("uuid", "UUID", "The identifier of the encrypted disk", NULL, flags);

  /**
   * ImagoEncryptionInfo:payload-offset:
   *
   * Where the header says that the encrypted disk begins, in bytes from its own start. In a qcow2 image the disk lies
   * in clusters, and this says nothing.
   *
   * Since: 1.0
   */
  properties[PROP_PAYLOAD_OFFSET] =
    g_param_spec_uint64 ("payload-offset", "Payload offset",
                         "Where the encrypted disk begins, in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoEncryptionInfo:master-key-iterations:
   *
   * How often the master key is hashed, to see whether it is the right one.
   *
   * Since: 1.0
   */
  properties[PROP_MASTER_KEY_ITERATIONS] =
    g_param_spec_uint ("master-key-iterations", "Master key iterations",
                       "How often the master key is hashed", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoEncryptionInfo:key-slots:
   *
   * The places for keys: a list of #ImagoKeySlot.
   *
   * Since: 1.0
   */
  properties[PROP_KEY_SLOTS] =
    g_param_spec_object ("key-slots", "Key slots", "The places for keys", G_TYPE_LIST_MODEL, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_encryption_info_init (ImagoEncryptionInfo *self)
{
}

static void
fill (ImagoEncryptionInfo *self, const ImgLuksInfo *luks, GListStore *slots)
{
  self->cipher = luks->cipher;
  self->cipher_mode = luks->cipher_mode;
  self->iv_generator = luks->iv_generator;
  self->iv_hash = luks->iv_hash;
  self->hash = luks->hash;
  self->uuid = g_utf8_make_valid (luks->uuid, -1);
  self->payload_offset = luks->payload_offset;
  self->master_key_iterations = luks->master_key_iterations;
  for (guint i = 0; i < IMG_LUKS_KEY_SLOTS; i++)
    {
      g_autoptr (ImagoKeySlot) slot = imago_key_slot_new (&luks->slots[i]);

      g_list_store_append (slots, slot);
    }
}

ImagoEncryptionInfo *
imago_encryption_info_new (const char *method, const ImgLuksInfo *luks)
{
  ImagoEncryptionInfo *self = g_object_new (IMAGO_TYPE_ENCRYPTION_INFO, NULL);
  GListStore *slots = g_list_store_new (IMAGO_TYPE_KEY_SLOT);

  self->method = g_strdup (method);
  self->key_slots = G_LIST_MODEL (slots);
  if (luks != NULL)
    fill (self, luks, slots);
  return self;
}

/**
 * imago_encryption_info_get_method:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets how the disk is encrypted.
 *
 * Returns: (transfer none): `luks`, or `aes` for the old way of qcow2, which has no header and of
 *   which nothing else is known
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_method (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->method;
}

/**
 * imago_encryption_info_get_cipher:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the cipher.
 *
 * Returns: (transfer none) (nullable): the name, with the length of the key in bits, such as `aes-256`
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_cipher (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->cipher;
}

/**
 * imago_encryption_info_get_cipher_mode:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the mode of the cipher.
 *
 * Returns: (transfer none) (nullable): the name, such as `xts`
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_cipher_mode (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->cipher_mode;
}

/**
 * imago_encryption_info_get_iv_generator:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets what makes the initialization vector of each sector.
 *
 * Returns: (transfer none) (nullable): the name, such as `plain64`
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_iv_generator (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->iv_generator;
}

/**
 * imago_encryption_info_get_iv_hash:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the hash that makes initialization vectors.
 *
 * Returns: (transfer none) (nullable): the name, such as `sha256`, or %NULL if none is needed
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_iv_hash (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->iv_hash;
}

/**
 * imago_encryption_info_get_hash:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the hash that makes keys of passwords.
 *
 * Returns: (transfer none) (nullable): the name, such as `sha256`
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_hash (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->hash;
}

/**
 * imago_encryption_info_get_uuid:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the identifier of the encrypted disk. Bytes that are not UTF-8 are replaced.
 *
 * Returns: (transfer none) (nullable): the identifier as it stands in the header
 *
 * Since: 1.0
 */
const char *
imago_encryption_info_get_uuid (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->uuid;
}

/**
 * imago_encryption_info_get_payload_offset:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets where the header says that the encrypted disk begins. In a qcow2 image the disk lies in clusters, and this
 * says nothing.
 *
 * Returns: the offset in bytes from the start of the header
 *
 * Since: 1.0
 */
guint64
imago_encryption_info_get_payload_offset (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), 0);

  return self->payload_offset;
}

/**
 * imago_encryption_info_get_master_key_iterations:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets how often the master key is hashed, to see whether it is the right one.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint
imago_encryption_info_get_master_key_iterations (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), 0);

  return self->master_key_iterations;
}

/**
 * imago_encryption_info_get_key_slots:
 * @self: an #ImagoEncryptionInfo
 *
 * Gets the places for keys, in the order of the header.
 *
 * Returns: (transfer none): a list of #ImagoKeySlot, which belongs to @self; empty if there is no header
 *
 * Since: 1.0
 */
GListModel *
imago_encryption_info_get_key_slots (ImagoEncryptionInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_ENCRYPTION_INFO (self), NULL);

  return self->key_slots;
}
