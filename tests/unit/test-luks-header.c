/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a LUKS header says, and what becomes of one that lies. tests/interop/test-encrypted.py has QEMU judge the same. */

#include <string.h>

#include "img-luks-header.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"

#define LENGTH IMG_LUKS_HEADER_LENGTH

/* An image, and where its LUKS header lies. */
static GBytes *
make_image (guint64 *offset)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 9, IMG_MIB, 0);

  *offset = qcow2_builder_add_luks (builder);
  return qcow2_builder_finish (builder);
}

static gboolean
read_header (GBytes *image, guint64 offset, guint64 length, ImgLuksInfo *info, ImgError **error)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new (image);

  return img_luks_header_read (storage, offset, length, info, error);
}

static void
test_good (void)
{
  guint64 offset;
  g_autoptr (GBytes) image = make_image (&offset);
  ImgLuksInfo info;

  g_assert_true (read_header (image, offset, LENGTH, &info, NULL));
  g_assert_cmpstr (info.cipher, ==, "aes-256");
  g_assert_cmpstr (info.cipher_mode, ==, "xts");
  g_assert_cmpstr (info.iv_generator, ==, "plain64");
  g_assert_null (info.iv_hash);
  g_assert_cmpstr (info.hash, ==, "sha256");
  g_assert_cmpstr (info.uuid, ==, "5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6c1a90");
  g_assert_cmpuint (info.payload_offset, ==, 2068480);
  g_assert_cmpuint (info.master_key_iterations, ==, 9000);
  for (guint i = 0; i < IMG_LUKS_KEY_SLOTS; i++)
    {
      gboolean is_active = i == 0 || i == 5;

      g_assert_cmpint (info.slots[i].is_active, ==, is_active);
      g_assert_cmpuint (info.slots[i].iterations, ==, is_active ? 40000 + i : 0);
      g_assert_cmpuint (info.slots[i].stripes, ==, 4000);
      g_assert_cmpuint (info.slots[i].key_offset, ==, 4096 + i * 258048);
    }
}

/* Names, by what is written over them. */
static void
test_names (void)
{
  const struct
  {
    const char *cipher, *mode, *hash, *key_length; /* hexadecimal; "": as it was */
    const char *found;
  } cases[] = {
    { "", "", "", "00000020", "aes-128 xts plain64 - sha256" },
    { "", "", "", "00000030", "aes-192 xts plain64 - sha256" },
    { "74776f6669736800", "", "", "", "twofish-256 xts plain64 - sha256" },
    { "73657270656e7400", "", "", "00000020", "serpent-128 xts plain64 - sha256" },
    { "636173743500", "6362632d706c61696e00", "", "00000010", "cast5-128 cbc plain - sha256" },
    { "", "6374722d706c61696e363400", "", "00000010", "aes-128 ctr plain64 - sha256" },
    { "", "6563622d706c61696e00", "", "00000018", "aes-192 ecb plain - sha256" },
    { "", "6362632d65737369763a73686133383400", "", "00000020", "aes-256 cbc essiv sha384 sha256" },
    /* a hash that nobody uses */
    { "", "7874732d706c61696e36343a6d643500", "", "", "aes-256 xts plain64 - sha256" },
    { "", "", "726970656d6431363000", "", "aes-256 xts plain64 - ripemd160" },
    { "", "", "6d643500", "", "aes-256 xts plain64 - md5" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      guint64 offset;
      g_autoptr (GBytes) image = make_image (&offset);
      g_autoptr (GBytes) ciphered = qcow2_poke (image, offset + 8, cases[i].cipher);
      g_autoptr (GBytes) moded = qcow2_poke (ciphered, offset + 40, cases[i].mode);
      g_autoptr (GBytes) hashed = qcow2_poke (moded, offset + 72, cases[i].hash);
      g_autoptr (GBytes) keyed = qcow2_poke (hashed, offset + 108, cases[i].key_length);
      g_autofree char *found = NULL;
      ImgError *error = NULL;
      ImgLuksInfo info;

      if (!read_header (keyed, offset, LENGTH, &info, &error))
        g_error ("%s: %s", cases[i].found, error->text);
      found = g_strdup_printf ("%s %s %s %s %s", info.cipher, info.cipher_mode, info.iv_generator,
                               info.iv_hash != NULL ? info.iv_hash : "-", info.hash);
      g_assert_cmpstr (found, ==, cases[i].found);
    }
}

static void
assert_refused (GBytes *image, guint64 offset, guint64 length, ImgCode code, const char *word)
{
  g_autoptr (ImgError) error = NULL;
  ImgLuksInfo info;

  g_assert_false (read_header (image, offset, length, &info, &error));
  if (error->code != code || strstr (error->text, word) == NULL)
    g_error ("code %d, not %d, or no “%s” in: %s", error->code, code, word, error->text);
}

#define NAME_WITHOUT_END "6161616161616161616161616161616161616161616161616161616161616161"

static void
test_lies (void)
{
  const struct
  {
    guint64 at;
    const char *hex;
    ImgCode code;
    const char *word;
  } cases[] = {
    { 0, "6c", IMG_CODE_CORRUPT, "no LUKS header" },
    { 5, "bf", IMG_CODE_CORRUPT, "no LUKS header" },
    { 6, "0000", IMG_CODE_UNSUPPORTED, "Version 0" },
    { 6, "0002", IMG_CODE_UNSUPPORTED, "Version 2" },
    { 6, "ffff", IMG_CODE_UNSUPPORTED, "Version 65535" },
    { 8, NAME_WITHOUT_END, IMG_CODE_CORRUPT, "not terminated" },
    { 40, NAME_WITHOUT_END, IMG_CODE_CORRUPT, "not terminated" },
    { 72, NAME_WITHOUT_END, IMG_CODE_CORRUPT, "not terminated" },
    { 8, "00", IMG_CODE_UNSUPPORTED, "cipher: “”" },
    { 8, "1b5b324a00", IMG_CODE_UNSUPPORTED, "cipher: “\\u001b[2J”" },
    { 40, "00", IMG_CODE_UNSUPPORTED, "mode: “”" },
    { 40, "2d00", IMG_CODE_UNSUPPORTED, "mode: “-”" },
    { 40, "2d3a00", IMG_CODE_UNSUPPORTED, "mode: “-:”" },
    { 40, "78747300", IMG_CODE_UNSUPPORTED, "mode: “xts”" },
    { 40, "787473702d", IMG_CODE_UNSUPPORTED, "mode: “xtsp-" },
    { 40, "7874732d706c61696e363400", IMG_CODE_FAILED, "" }, /* as it was: see below */
    { 40, "7874732d706c61696e363500", IMG_CODE_UNSUPPORTED, "mode: “xts-plain65”" },
    { 40, "7874732d706c61696e36343a00", IMG_CODE_UNSUPPORTED, "mode: “xts-plain64:”" },
    { 40, "7874732d706c61696e36343a666f6f00", IMG_CODE_UNSUPPORTED, "mode: “xts-plain64:foo”" },
    { 40, "6362632d657373697600", IMG_CODE_UNSUPPORTED, "mode: “cbc-essiv”" },
    { 40, "6362632d706c61696e00", IMG_CODE_UNSUPPORTED, "cipher: “aes”, key of 64 bytes" },
    { 72, "00", IMG_CODE_UNSUPPORTED, "hash: “”" },
    { 72, "73686100", IMG_CODE_UNSUPPORTED, "hash: “sha”" },
    { 108, "00000000", IMG_CODE_UNSUPPORTED, "key of 0 bytes" },
    { 108, "00000010", IMG_CODE_UNSUPPORTED, "key of 16 bytes" },
    { 108, "00000041", IMG_CODE_UNSUPPORTED, "key of 65 bytes" },
    { 108, "ffffffff", IMG_CODE_UNSUPPORTED, "key of 4294967295 bytes" },
    { 104, "00000000", IMG_CODE_CORRUPT, "slot 0 lies over" },
    { 104, "00000fc7", IMG_CODE_CORRUPT, "slot 7 lies over" },
    { 164, "00000000", IMG_CODE_CORRUPT, "master key" },
    { 208, "00000000", IMG_CODE_CORRUPT, "slot 0 is neither" },
    { 544, "00ac71f2", IMG_CODE_CORRUPT, "slot 7 is neither" },
    { 212, "00000000", IMG_CODE_CORRUPT, "slot 0 has no iterations" },
    { 252, "00000f9f", IMG_CODE_CORRUPT, "slot 0 has 3999 stripes" },
    { 588, "ffffffff", IMG_CODE_CORRUPT, "slot 7 has 4294967295 stripes" },
    { 248, "00000000", IMG_CODE_CORRUPT, "slot 0 lies over" },
    { 248, "00000007", IMG_CODE_CORRUPT, "slot 0 lies over" },
    { 248, "00000009", IMG_CODE_CORRUPT, "slot 1 lies over" },
    { 248, "ffffffff", IMG_CODE_CORRUPT, "slot 0 lies over" }, /* where sectors of 32 bits would wrap */
    { 584, "00000dcf", IMG_CODE_CORRUPT, "slot 7 lies over" },
    { 584, "00000dd1", IMG_CODE_CORRUPT, "slot 7 lies over" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      guint64 offset;
      g_autoptr (GBytes) image = make_image (&offset);
      g_autoptr (GBytes) poked = qcow2_poke (image, offset + cases[i].at, cases[i].hex);
      ImgLuksInfo info;

      if (cases[i].code == IMG_CODE_FAILED)
        g_assert_true (read_header (poked, offset, LENGTH, &info, NULL));
      else
        assert_refused (poked, offset, LENGTH, cases[i].code, cases[i].word);
    }
}

static void
test_places (void)
{
  guint64 offset;
  g_autoptr (GBytes) image = make_image (&offset);
  gsize size = g_bytes_get_size (image);
  g_autoptr (GBytes) whole = g_bytes_new_from_bytes (image, offset, LENGTH);
  g_autoptr (GBytes) part = g_bytes_new_from_bytes (image, offset, LENGTH - 1);
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);
  ImgLuksInfo info;

  g_assert_true (read_header (whole, 0, LENGTH, &info, NULL));
  g_assert_true (read_header (image, offset, G_MAXUINT64, &info, NULL));
  assert_refused (part, 0, LENGTH, IMG_CODE_CORRUPT, "end of the file");
  assert_refused (empty, 0, LENGTH, IMG_CODE_CORRUPT, "end of the file");
  assert_refused (image, size, LENGTH, IMG_CODE_CORRUPT, "end of the file");
  assert_refused (image, G_MAXUINT64, LENGTH, IMG_CODE_CORRUPT, "end of the file");
  assert_refused (image, G_MAXUINT64 - LENGTH + 1, LENGTH, IMG_CODE_CORRUPT, "end of the file");
  assert_refused (image, offset, LENGTH - 1, IMG_CODE_CORRUPT, "too short: 591");
  assert_refused (image, offset, 0, IMG_CODE_CORRUPT, "too short: 0");
}

/* What stands for the identifier is text only if it feels like it. */
static void
test_uuid (void)
{
  guint64 offset;
  g_autoptr (GBytes) image = make_image (&offset);
  g_autoptr (GBytes) full = qcow2_poke (image, offset + 168 + 32, "6162636465666768");
  ImgLuksInfo info;

  g_assert_true (read_header (full, offset, LENGTH, &info, NULL));
  g_assert_cmpstr (info.uuid, ==, "5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6cabcdefgh");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/luks-header/good", test_good);
  g_test_add_func ("/luks-header/names", test_names);
  g_test_add_func ("/luks-header/lies", test_lies);
  g_test_add_func ("/luks-header/places", test_places);
  g_test_add_func ("/luks-header/uuid", test_uuid);
  return g_test_run ();
}
