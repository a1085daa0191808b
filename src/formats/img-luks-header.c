/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-luks-header.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#define SECTOR_SIZE 512
#define NAME_LENGTH 32
#define SLOT_LENGTH 48
#define SLOT_ACTIVE 0x00ac71f3u
#define SLOT_INACTIVE 0x0000deadu
#define STRIPES 4000
/* Key material begins and ends at multiples of it, behind the header. */
#define KEY_ALIGNMENT 4096

/* Where the fields are. */
enum
{
  AT_VERSION = 6,
  AT_CIPHER = 8,
  AT_MODE = 40,
  AT_HASH = 72,
  AT_PAYLOAD = 104,
  AT_KEY_LENGTH = 108,
  AT_MASTER_KEY_ITERATIONS = 164,
  AT_UUID = 168,
  AT_SLOTS = 208,
};

enum
{
  AT_SLOT_STATE = 0,
  AT_SLOT_ITERATIONS = 4,
  AT_SLOT_KEY = 40,
  AT_SLOT_STRIPES = 44,
};

static const guint8 magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

static const struct
{
  const char *name;
  guint key_length; /* bytes */
  const char *cipher;
} ciphers[] = {
  { "aes", 16, "aes-128" },         { "aes", 24, "aes-192" },         { "aes", 32, "aes-256" },
  { "cast5", 16, "cast5-128" },     { "serpent", 16, "serpent-128" }, { "serpent", 24, "serpent-192" },
  { "serpent", 32, "serpent-256" }, { "twofish", 16, "twofish-128" }, { "twofish", 24, "twofish-192" },
  { "twofish", 32, "twofish-256" },
};

static const char *const modes[] = { "ecb", "cbc", "xts", "ctr", NULL };
static const char *const iv_generators[] = { "plain", "plain64", "essiv", NULL };
static const char *const hashes[] = { "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", NULL };

/* ---- names ---- */

/* The one of @names that the first @length bytes of @text are; NULL: none. */
static const char *
find_name (const char *const *names, const char *text, gsize length)
{
  for (gsize i = 0; names[i] != NULL; i++)
    if (strlen (names[i]) == length && memcmp (names[i], text, length) == 0)
      return names[i];
  return NULL;
}

static gboolean
check_names (const guint8 *bytes, ImgError **error)
{
  static const guint places[] = { AT_CIPHER, AT_MODE, AT_HASH };

  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    if (memchr (bytes + places[i], '\0', NAME_LENGTH) == NULL)
      {
        img_error_set (error, IMG_CODE_CORRUPT, _("A name in the LUKS header is not terminated"));
        return FALSE;
      }
  return TRUE;
}

/* "xts-plain64", "cbc-essiv:sha256". A hash that the generator does not use must be one nevertheless. */
static gboolean
parse_mode (const char *text, ImgLuksInfo *info)
{
  const char *generator = strchr (text, '-');
  const char *hash;
  const char *iv_hash = NULL;

  if (generator == NULL)
    return FALSE;
  hash = strchr (++generator, ':');
  info->cipher_mode = find_name (modes, text, (gsize) (generator - 1 - text));
  info->iv_generator =
    find_name (iv_generators, generator, hash != NULL ? (gsize) (hash - generator) : strlen (generator));
  if (info->cipher_mode == NULL || info->iv_generator == NULL)
    return FALSE;
  if (hash != NULL && (iv_hash = find_name (hashes, hash + 1, strlen (hash + 1))) == NULL)
    return FALSE;
  if (!g_str_equal (info->iv_generator, "essiv"))
    return TRUE;
  info->iv_hash = iv_hash;
  return iv_hash != NULL;
}

/* The mode XTS takes two keys. */
static gboolean
find_cipher (const char *name, guint32 key_length, ImgLuksInfo *info)
{
  if (g_str_equal (info->cipher_mode, "xts"))
    {
      if (key_length % 2 != 0)
        return FALSE;
      key_length /= 2;
    }
  for (guint i = 0; i < G_N_ELEMENTS (ciphers); i++)
    if (ciphers[i].key_length == key_length && g_str_equal (ciphers[i].name, name))
      info->cipher = ciphers[i].cipher;
  return info->cipher != NULL;
}

static gboolean
parse_names (const guint8 *bytes, ImgLuksInfo *info, ImgError **error)
{
  const char *cipher = (const char *) bytes + AT_CIPHER;
  const char *mode = (const char *) bytes + AT_MODE;
  const char *hash = (const char *) bytes + AT_HASH;
  guint32 key_length = img_read_be32 (bytes + AT_KEY_LENGTH);
  g_autofree char *quoted = NULL;

  if (!check_names (bytes, error))
    return FALSE;
  info->hash = find_name (hashes, hash, strlen (hash));
  if (!parse_mode (mode, info))
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("The LUKS header names an unknown cipher mode: %s"),
                   quoted = img_quote_name (mode));
  else if (!find_cipher (cipher, key_length, info))
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("The LUKS header names an unknown cipher: %s, key of %u bytes"),
                   quoted = img_quote_name (cipher), key_length);
  else if (info->hash == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("The LUKS header names an unknown hash: %s"),
                   quoted = img_quote_name (hash));
  else
    return TRUE;
  return FALSE;
}

/* ---- key slots ---- */

static gboolean
parse_slot (const guint8 *bytes, guint number, ImgLuksSlot *slot, ImgError **error)
{
  guint32 state = img_read_be32 (bytes + AT_SLOT_STATE);

  slot->is_active = state == SLOT_ACTIVE;
  slot->iterations = img_read_be32 (bytes + AT_SLOT_ITERATIONS);
  slot->stripes = img_read_be32 (bytes + AT_SLOT_STRIPES);
  slot->key_offset = (guint64) img_read_be32 (bytes + AT_SLOT_KEY) * SECTOR_SIZE;
  if (state != SLOT_ACTIVE && state != SLOT_INACTIVE)
    img_error_set (error, IMG_CODE_CORRUPT, _("LUKS key slot %u is neither active nor inactive"), number);
  else if (slot->stripes != STRIPES)
    img_error_set (error, IMG_CODE_CORRUPT, _("LUKS key slot %u has %u stripes"), number, slot->stripes);
  else if (slot->is_active && slot->iterations == 0)
    img_error_set (error, IMG_CODE_CORRUPT, _("LUKS key slot %u has no iterations"), number);
  else
    return TRUE;
  return FALSE;
}

/* The numbers in the file have 32 bits, so that nothing here can wrap. */
static gboolean
check_places (const ImgLuksInfo *info, guint32 key_length, ImgError **error)
{
  guint64 length = img_align_up ((guint64) key_length * STRIPES, KEY_ALIGNMENT);

  for (guint i = 0; i < IMG_LUKS_KEY_SLOTS; i++)
    {
      guint64 start = info->slots[i].key_offset;
      gboolean overlaps = start < KEY_ALIGNMENT || start + length > info->payload_offset;

      for (guint j = 0; j < i; j++)
        overlaps |= start < info->slots[j].key_offset + length && info->slots[j].key_offset < start + length;
      if (overlaps)
        {
          img_error_set (error, IMG_CODE_CORRUPT,
                         _("The key of LUKS key slot %u lies over another part of the file"), i);
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
parse_slots (const guint8 *bytes, ImgLuksInfo *info, ImgError **error)
{
  for (guint i = 0; i < IMG_LUKS_KEY_SLOTS; i++)
    if (!parse_slot (bytes + AT_SLOTS + i * SLOT_LENGTH, i, &info->slots[i], error))
      return FALSE;
  return check_places (info, img_read_be32 (bytes + AT_KEY_LENGTH), error);
}

/* ---- the header ---- */

static gboolean
parse (const guint8 *bytes, ImgLuksInfo *info, ImgError **error)
{
  guint version = img_read_be16 (bytes + AT_VERSION);

  memset (info, 0, sizeof *info);
  memcpy (info->uuid, bytes + AT_UUID, IMG_LUKS_UUID_LENGTH);
  info->payload_offset = (guint64) img_read_be32 (bytes + AT_PAYLOAD) * SECTOR_SIZE;
  info->master_key_iterations = img_read_be32 (bytes + AT_MASTER_KEY_ITERATIONS);
  if (memcmp (bytes, magic, sizeof magic) != 0)
    img_error_set (error, IMG_CODE_CORRUPT, _("There is no LUKS header where the encryption header should be"));
  else if (version != 1)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("Version %u of LUKS is not supported"), version);
  else if (info->master_key_iterations == 0)
    img_error_set (error, IMG_CODE_CORRUPT, _("The master key in the LUKS header has no iterations"));
  else
    return parse_names (bytes, info, error) && parse_slots (bytes, info, error);
  return FALSE;
}

gboolean
img_luks_header_read (ImgStorage *storage, guint64 offset, guint64 length, ImgLuksInfo *info, ImgError **error)
{
  guint8 bytes[IMG_LUKS_HEADER_LENGTH];
  guint64 size;

  if (!img_storage_get_size (storage, &size, error))
    return FALSE;
  if (length < sizeof bytes)
    img_error_set (error, IMG_CODE_CORRUPT, _("The encryption header is too short: %" PRIu64 " bytes"), length);
  else if (!img_range_fits (offset, sizeof bytes, size))
    img_error_set (error, IMG_CODE_CORRUPT, _("The encryption header passes the end of the file"));
  else
    return img_storage_read (storage, offset, bytes, sizeof bytes, error) && parse (bytes, info, error);
  return FALSE;
}
