/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Damaged headers: each gives the error it should, by code and by word, in little memory. */

#include "config.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "qcow2/img-qcow2-header.h"
#include "qcow2/img-qcow2.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
  __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The limit: what opening a damaged file may cost. */
#define MEMORY_LIMIT (16 * IMG_MIB)

/* Everything that an image can have, in 64 KiB clusters. */
static GBytes *
valid_image (guint version)
{
  Qcow2Builder *builder = qcow2_builder_new (version, 16, 10 * IMG_MIB, 0);
  guint64 snapshot_l1 = qcow2_builder_alloc (builder, 1);
  guint64 extra[2] = { 0, GUINT64_TO_BE (10 * IMG_MIB) };

  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "raw", 3);
  qcow2_builder_set_entry (builder, 0, qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  qcow2_builder_add_snapshot (builder, "1", "first", snapshot_l1, 1, extra, sizeof extra);
  builder->backing_name = "base.img";
  return qcow2_builder_finish (builder);
}

#ifndef SANITIZED
/* The address space may grow by that much from now on. */
static void
limit_memory (guint64 more, struct rlimit *old)
{
  struct rlimit limit;
  unsigned long n_pages = 0;
  FILE *file = fopen ("/proc/self/statm", "r");

  g_assert_nonnull (file);
  g_assert_cmpint (fscanf (file, "%lu", &n_pages), ==, 1);
  fclose (file);
  g_assert_cmpint (getrlimit (RLIMIT_AS, old), ==, 0);
  limit = *old;
  limit.rlim_cur = n_pages * (rlim_t) sysconf (_SC_PAGESIZE) + more;
  g_assert_cmpint (setrlimit (RLIMIT_AS, &limit), ==, 0);
}
#endif

static ImgLayout *
open_in_little_memory (ImgStorage *storage, ImgError **error)
{
  ImgLayout *layout;
#ifndef SANITIZED
  struct rlimit old;

  limit_memory (MEMORY_LIMIT, &old);
#endif
  layout = img_qcow2_driver.open (storage, NULL, NULL, error);
#ifndef SANITIZED
  g_assert_cmpint (setrlimit (RLIMIT_AS, &old), ==, 0);
#endif
  return layout;
}

static void
assert_refused (GBytes *image, ImgCode code, const char *word)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new (image);
  g_autoptr (ImgLayout) layout = NULL;
  g_autoptr (ImgError) error = NULL;

  layout = open_in_little_memory (storage, &error);
  g_assert_null (layout);
  g_assert_nonnull (error);
  g_test_message ("%s", error->text);
  if (strstr (error->text, word) == NULL)
    g_error ("“%s” does not contain “%s”", error->text, word);
  g_assert_cmpint (error->code, ==, code);
}

/* inspect () says what open () says, and does not fail. */
static void
assert_inspected (GBytes *image, const char *word)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new (image);
  ImgFindings findings;
  ImgError *error = NULL;
  gboolean found = FALSE;

  img_findings_init (&findings);
  g_assert_true (img_qcow2_driver.inspect (storage, &findings, NULL, &error));
  g_assert_null (error);
  for (guint i = 0; i < findings.problems->len; i++)
    found = found || strstr (g_ptr_array_index (findings.problems, i), word) != NULL;
  if (!found)
    g_error ("No problem contains “%s”", word);
  img_findings_clear (&findings);
}

typedef struct
{
  guint version;
  guint64 offset;
  const char *hex;
  ImgCode code;
  const char *word;
} Poke;

static const Poke pokes[] = {
  { 3, 100, "ffffffff", IMG_CODE_CORRUPT, "header length is larger than a cluster" },
  { 3, 100, "7fffffff", IMG_CODE_CORRUPT, "header length is larger than a cluster" },
  { 3, 100, "00010001", IMG_CODE_CORRUPT, "header length is larger than a cluster" },
  { 3, 100, "00000067", IMG_CODE_CORRUPT, "header length is invalid" },
  { 3, 100, "00000000", IMG_CODE_CORRUPT, "header length is invalid" },
  { 3, 8, "ffffffffffffffff", IMG_CODE_CORRUPT, "backing file name has an invalid offset" },
  { 3, 8, "0000000000010001", IMG_CODE_CORRUPT, "backing file name has an invalid offset" },
  { 3, 8, "000000000000fffe", IMG_CODE_CORRUPT, "backing file name does not fit" },
  { 3, 8, "0000000000000010", IMG_CODE_CORRUPT, "backing file name overlaps" },
  { 3, 8, "0000000000000000", IMG_CODE_CORRUPT, "backing file name overlaps" },
  { 3, 16, "ffffffff", IMG_CODE_LIMIT_EXCEEDED, "backing file name is too long" },
  { 3, 16, "7fffffff", IMG_CODE_LIMIT_EXCEEDED, "backing file name is too long" },
  { 3, 16, "00000400", IMG_CODE_LIMIT_EXCEEDED, "backing file name is too long" },
  { 3, 16, "00000009", IMG_CODE_CORRUPT, "Backing file name: contains a NUL byte" },
  { 3, 116, "7fffffff", IMG_CODE_CORRUPT, "extension 0xe2792aca is too long" },
  { 3, 116, "ffffffff", IMG_CODE_CORRUPT, "extension 0xe2792aca is too long" },
  { 3, 128, "000000007fffffff", IMG_CODE_CORRUPT, "extension 0x00000000 is too long" },
  { 2, 76, "7fffffff", IMG_CODE_CORRUPT, "extension 0xe2792aca is too long" },
  { 3, 56, "ffffffff", IMG_CODE_LIMIT_EXCEEDED, "refcount table is too large" },
  { 3, 56, "00020001", IMG_CODE_LIMIT_EXCEEDED, "refcount table is too large" },
  { 3, 56, "00000081", IMG_CODE_LIMIT_EXCEEDED, "refcount table is too large" },
  { 3, 56, "00000000", IMG_CODE_CORRUPT, "no refcount table" },
  { 3, 48, "1234567890abcdef", IMG_CODE_CORRUPT, "Refcount table: not aligned" },
  { 3, 48, "ffffffffffff0000", IMG_CODE_CORRUPT, "Refcount table: invalid offset" },
  { 3, 48, "0000000000000000", IMG_CODE_CORRUPT, "Refcount table: overlaps the header" },
  { 3, 60, "ffffffff", IMG_CODE_LIMIT_EXCEEDED, "too many snapshots" },
  { 3, 60, "7fffffff", IMG_CODE_LIMIT_EXCEEDED, "too many snapshots" },
  { 3, 60, "00010001", IMG_CODE_LIMIT_EXCEEDED, "too many snapshots" },
  { 3, 60, "00010000", IMG_CODE_CORRUPT, "Snapshot table: outside the file" },
  { 3, 60, "0000ffff", IMG_CODE_CORRUPT, "Snapshot table: outside the file" },
  { 3, 64, "1234567890abcdef", IMG_CODE_CORRUPT, "Snapshot table: not aligned" },
  { 3, 64, "ffffffffffff0000", IMG_CODE_CORRUPT, "Snapshot table: invalid offset" },
  { 3, 64, "0000000000000000", IMG_CODE_CORRUPT, "Snapshot table: overlaps the header" },
  { 3, 64, "00000000ffff0000", IMG_CODE_CORRUPT, "Snapshot table: outside the file" },
  { 3, 36, "ffffffff", IMG_CODE_LIMIT_EXCEEDED, "L1 table: too large" },
  { 3, 36, "7fffffff", IMG_CODE_LIMIT_EXCEEDED, "L1 table: too large" },
  { 3, 36, "00400001", IMG_CODE_LIMIT_EXCEEDED, "L1 table: too large" },
  { 3, 36, "00000000", IMG_CODE_CORRUPT, "L1 table: too small" },
  { 2, 36, "00000000", IMG_CODE_CORRUPT, "L1 table: too small" },
  { 3, 40, "1234567890abcdef", IMG_CODE_CORRUPT, "L1 table: not aligned" },
  { 3, 40, "ffffffffffff0000", IMG_CODE_CORRUPT, "L1 table: invalid offset" },
  { 3, 40, "0000000000000000", IMG_CODE_CORRUPT, "L1 table: overlaps the header" },
  { 3, 40, "00000000ffff0000", IMG_CODE_CORRUPT, "L1 table: outside the file" },
  { 3, 24, "ffffffffffffffff", IMG_CODE_LIMIT_EXCEEDED, "virtual size is too large" },
  { 3, 24, "7fffffffffffffff", IMG_CODE_LIMIT_EXCEEDED, "virtual size is too large" },
  { 3, 24, "7fffffffc0000000", IMG_CODE_CORRUPT, "L1 table: too small" },
  { 3, 24, "0000000100000000", IMG_CODE_CORRUPT, "L1 table: too small" },
  { 3, 20, "00000000", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 20, "00000008", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 20, "00000016", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 20, "0000001f", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 20, "00000040", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 20, "ffffffff", IMG_CODE_CORRUPT, "cluster size is invalid" },
  { 3, 4, "00000004", IMG_CODE_UNSUPPORTED, "Version 4" },
  { 3, 4, "00000001", IMG_CODE_UNSUPPORTED, "Version 1" },
  { 3, 4, "ffffffff", IMG_CODE_UNSUPPORTED, "Version 4294967295" },
  { 3, 32, "00000003", IMG_CODE_UNSUPPORTED, "Encryption method 3" },
  { 3, 32, "ffffffff", IMG_CODE_UNSUPPORTED, "Encryption method 4294967295" },
  { 3, 32, "00000002", IMG_CODE_CORRUPT, "has no encryption header" },
  { 3, 96, "00000007", IMG_CODE_CORRUPT, "refcount width is invalid" },
  { 3, 96, "ffffffff", IMG_CODE_CORRUPT, "refcount width is invalid" },
  { 3, 104, "01", IMG_CODE_CORRUPT, "compression type and its feature bit disagree" },
  { 3, 104, "02", IMG_CODE_UNSUPPORTED, "Compression type 2" },
  { 3, 79, "08", IMG_CODE_CORRUPT, "compression type and its feature bit disagree" },
  { 3, 79, "04", IMG_CODE_UNSUPPORTED, "external data file, but does not name it" },
  { 3, 79, "20", IMG_CODE_UNSUPPORTED, "features: bit 5" },
  { 3, 72, "8000000000000040", IMG_CODE_UNSUPPORTED, "features: bit 6, bit 63" },
  { 3, 95, "02", IMG_CODE_CORRUPT, "external data file is raw, but it has none" },
  { 3, 112, "0537be77", IMG_CODE_CORRUPT, "not encrypted with LUKS" },
};

static void
test_pokes (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (pokes); i++)
    {
      g_autoptr (GBytes) good = valid_image (pokes[i].version);
      g_autoptr (GBytes) bad = qcow2_poke (good, pokes[i].offset, pokes[i].hex);

      g_test_message ("version %u, %s at %" G_GUINT64_FORMAT, pokes[i].version, pokes[i].hex,
                      pokes[i].offset);
      assert_refused (bad, pokes[i].code, pokes[i].word);
      assert_inspected (bad, pokes[i].word);
    }
}

static void
assert_opens (GBytes *image)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new (image);
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgLayout) layout = open_in_little_memory (storage, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  g_assert_nonnull (layout);
}

/* What looks odd and is legal, or is what QEMU accepts. */
static void
test_tolerated (void)
{
  static const Poke legal[] = {
    { 2, 4, "00000002" },
    { 3, 4, "00000003" },
    { 3, 79, "01" },               /* dirty */
    { 3, 79, "02" },               /* corrupt */
    { 3, 80, "ffffffffffffffff" }, /* unknown compatible features */
    { 3, 88, "fffffffffffffffd" }, /* unknown autoclear features */
    { 3, 96, "00000000" },
    { 3, 96, "00000006" },
    { 3, 16, "00000000" }, /* an offset, but no name */
    { 3, 36, "00000002" }, /* room for the VM state */
    { 3, 36, "00400000" },
    { 3, 112, "12345678" }, /* an unknown extension */
    { 3, 31, "ff" },        /* a size that is no multiple of 512 */
    { 3, 60, "00000000" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (legal); i++)
    {
      g_autoptr (GBytes) good = valid_image (legal[i].version);
      g_autoptr (GBytes) odd = qcow2_poke (good, legal[i].offset, legal[i].hex);

      g_test_message ("version %u, %s at %" G_GUINT64_FORMAT, legal[i].version, legal[i].hex,
                      legal[i].offset);
      assert_opens (odd);
    }
}

/* Cut anywhere, a file opens or is refused; it never opens without its L1 table. */
static void
test_truncated (void)
{
  g_autoptr (GBytes) good = valid_image (3);

  for (gsize length = 0; length < g_bytes_get_size (good); length += length < 1024 ? 1 : 4093)
    {
      g_autoptr (GBytes) cut = g_bytes_new_from_bytes (good, 0, length);
      g_autoptr (ImgStorage) storage = img_memory_storage_new (cut);
      g_autoptr (ImgError) error = NULL;
      g_autoptr (ImgLayout) layout = img_qcow2_driver.open (storage, NULL, NULL, &error);

      g_assert_true ((layout != NULL) == (error == NULL));
      if (layout == NULL && length < 72)
        g_assert_cmpint (error->code, ==, IMG_CODE_UNKNOWN_FORMAT);
      else if (layout == NULL)
        g_assert_cmpint (error->code, ==, IMG_CODE_CORRUPT);
      else
        g_assert_cmpuint (length, >=, 131072 + 8);
    }
}

/* Every byte of the first 256 at a few values: an answer each time, and inspect () agrees. */
static void
test_every_byte (void)
{
  static const char *const values[] = { "00", "01", "7f", "80", "ff" };
  g_autoptr (GBytes) good = valid_image (3);

  for (guint offset = 8; offset < 256; offset++)
    for (guint i = 0; i < G_N_ELEMENTS (values); i++)
      {
        g_autoptr (GBytes) bad = qcow2_poke (good, offset, values[i]);
        g_autoptr (ImgStorage) storage = img_memory_storage_new (bad);
        g_autoptr (ImgError) error = NULL;
        g_autoptr (ImgLayout) layout = open_in_little_memory (storage, &error);

        g_assert_true ((layout != NULL) == (error == NULL));
        if (error != NULL && error->code != IMG_CODE_ENCRYPTED)
          assert_inspected (bad, error->text);
      }
}

/* ---- extensions ---- */

static ImgQcow2Header *
read_header (Qcow2Builder *builder)
{
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (builder);
  ImgQcow2Header *header = img_qcow2_header_read (storage, NULL, NULL);

  g_assert_nonnull (header);
  return header;
}

static void
test_extension_order (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, IMG_QCOW2_INCOMPATIBLE_DATA_FILE);
  g_autoptr (ImgQcow2Header) header = NULL;
  ImgQcow2Extension *first, *second;

  qcow2_builder_add_extension (builder, 0xdeadbeef, "unknown", 7);
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_DATA_FILE, "data.raw", 8);
  qcow2_builder_add_extension (builder, 0x00000001, "", 0);
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "qcow2", 5);
  builder->backing_name = "base.qcow2";
  header = read_header (builder);
  g_assert_cmpuint (header->problems->len, ==, 0);
  g_assert_cmpstr (header->data_file_name, ==, "data.raw");
  g_assert_cmpstr (header->backing_format, ==, "qcow2");
  g_assert_cmpstr (header->backing_name, ==, "base.qcow2");
  g_assert_cmpuint (header->unknown_extensions->len, ==, 2);
  first = g_ptr_array_index (header->unknown_extensions, 0);
  second = g_ptr_array_index (header->unknown_extensions, 1);
  g_assert_cmphex (first->type, ==, 0xdeadbeef);
  g_assert_cmpmem (g_bytes_get_data (first->data, NULL), g_bytes_get_size (first->data), "unknown",
                   7);
  g_assert_cmphex (second->type, ==, 1);
  g_assert_cmpuint (g_bytes_get_size (second->data), ==, 0);
}

static void
assert_extension_refused (guint32 type,
                          gconstpointer data,
                          gsize length,
                          guint64 incompatible,
                          guint64 autoclear,
                          guint32 crypt_method,
                          ImgCode code,
                          const char *word)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, incompatible);
  g_autoptr (GBytes) image = NULL;

  builder->autoclear = autoclear;
  builder->crypt_method = crypt_method;
  qcow2_builder_add_extension (builder, type, data, length);
  image = qcow2_builder_finish (builder);
  assert_refused (image, code, word);
  if (code != IMG_CODE_ENCRYPTED)
    assert_inspected (image, word);
}

static void
test_extension_errors (void)
{
  g_autofree char *long_name = g_strnfill (1024, 'x');
  static const guint8 luks[16] = { [5] = 1, [14] = 1 };
  static const guint8 luks_unaligned[16] = { [7] = 1 };

  assert_extension_refused (QCOW2_EXTENSION_DATA_FILE, long_name, 1024,
                            IMG_QCOW2_INCOMPATIBLE_DATA_FILE, 0, 0, IMG_CODE_LIMIT_EXCEEDED,
                            "External data file name: too long");
  assert_extension_refused (QCOW2_EXTENSION_DATA_FILE, "a\0b", 3, IMG_QCOW2_INCOMPATIBLE_DATA_FILE,
                            0, 0, IMG_CODE_CORRUPT, "NUL");
  assert_extension_refused (QCOW2_EXTENSION_BACKING_FORMAT, long_name, 16, 0, 0, 0,
                            IMG_CODE_CORRUPT, "format is too long");
  assert_extension_refused (QCOW2_EXTENSION_BITMAPS, luks, 16, 0, IMG_QCOW2_AUTOCLEAR_BITMAPS, 0,
                            IMG_CODE_CORRUPT, "bitmaps extension is invalid");
  assert_extension_refused (QCOW2_EXTENSION_ENCRYPTION_HEADER, luks, 15, 0, 0, 2, IMG_CODE_CORRUPT,
                            "invalid length");
  assert_extension_refused (QCOW2_EXTENSION_ENCRYPTION_HEADER, luks_unaligned, 16, 0, 0, 2,
                            IMG_CODE_CORRUPT, "not aligned");
  assert_extension_refused (QCOW2_EXTENSION_ENCRYPTION_HEADER, luks, 16, 0, 0, 1, IMG_CODE_CORRUPT,
                            "not encrypted with LUKS");
  assert_extension_refused (QCOW2_EXTENSION_ENCRYPTION_HEADER, luks, 16, 0, 0, 2,
                            IMG_CODE_ENCRYPTED, "luks");
}

static void
test_extension_twice (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  g_autoptr (GBytes) image = NULL;

  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "raw", 3);
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "qcow2", 5);
  image = qcow2_builder_finish (builder);
  assert_refused (image, IMG_CODE_CORRUPT, "twice");
}

static void
test_extension_count (void)
{
  for (guint n = 256; n <= 257; n++)
    {
      Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
      g_autoptr (GBytes) image = NULL;

      for (guint i = 0; i < n; i++)
        qcow2_builder_add_extension (builder, 0x1000 + i, "", 0);
      image = qcow2_builder_finish (builder);
      if (n == 256)
        assert_opens (image);
      else
        assert_refused (image, IMG_CODE_LIMIT_EXCEEDED, "too many header extensions");
    }
}

/* The name may fill its field without an end, and may hold anything. */
static void
test_feature_names (void)
{
  Qcow2Builder *builder =
    qcow2_builder_new (3, 16, IMG_MIB, (guint64) 1 << 7 | (guint64) 1 << 9 | (guint64) 1 << 10);
  guint8 table[3 * 48] = { [1] = 7, [48] = 1, [49] = 9, [96] = 0, [97] = 10 };
  g_autoptr (GBytes) image = NULL;

  memset (table + 2, 'n', 46);
  memcpy (table + 50, "compatible", 10);
  memcpy (table + 98, "evil\033[2J", 8);
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_FEATURE_NAMES, table, sizeof table);
  image = qcow2_builder_finish (builder);
  assert_refused (
    image, IMG_CODE_UNSUPPORTED,
    "features: “nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn”, bit 9, “evil\\u001b[2J”");
}

static void
test_encrypted (void)
{
  Qcow2Builder *builder = qcow2_builder_new (2, 16, IMG_MIB, 0);
  g_autoptr (GBytes) image = NULL;
  g_autoptr (ImgStorage) storage = NULL;
  ImgFindings findings;

  builder->crypt_method = 1;
  image = qcow2_builder_finish (builder);
  assert_refused (image, IMG_CODE_ENCRYPTED, "“aes”");
  storage = img_memory_storage_new (image);
  img_findings_init (&findings);
  g_assert_true (img_qcow2_driver.inspect (storage, &findings, NULL, NULL));
  g_assert_cmpstr (findings.description.encryption, ==, "aes");
  g_assert_cmpuint (findings.virtual_size, ==, IMG_MIB);
  g_assert_cmpuint (findings.problems->len, ==, 0);
  img_findings_clear (&findings);
}

/* A LUKS header that is damaged is one of the problems. */
static void
test_encryption_header (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  guint64 offset = qcow2_builder_add_luks (builder);
  g_autoptr (GBytes) image = qcow2_builder_finish (builder);
  g_autoptr (GBytes) damaged = qcow2_poke (image, offset + 6, "0009");
  g_autoptr (ImgStorage) storage = img_memory_storage_new (image);
  ImgFindings findings;

  img_findings_init (&findings);
  g_assert_true (img_qcow2_driver.inspect (storage, &findings, NULL, NULL));
  g_assert_cmpstr (findings.description.encryption, ==, "luks");
  g_assert_cmpstr (findings.description.luks->cipher_mode, ==, "xts");
  g_assert_cmpuint (findings.problems->len, ==, 0);
  img_findings_clear (&findings);
  assert_inspected (damaged, "Version 9 of LUKS");
}

static void
test_extended_l2_cluster (void)
{
  for (guint bits = 13; bits <= 14; bits++)
    {
      Qcow2Builder *builder =
        qcow2_builder_new (3, bits, IMG_MIB, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2);
      g_autoptr (GBytes) image = qcow2_builder_finish (builder);

      if (bits == 14)
        assert_opens (image);
      else
        assert_refused (image, IMG_CODE_CORRUPT, "at least 16 KiB");
    }
}

/* Of a table with room for 32 GiB only what the disk of 1 MiB needs is loaded. */
static void
test_large_l1 (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 9, 32 * IMG_GIB, 0);
  g_autoptr (GBytes) image = NULL;

  builder->size = IMG_MIB;
  image = qcow2_builder_finish (builder);
  assert_opens (image);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qcow2-header/pokes", test_pokes);
  g_test_add_func ("/qcow2-header/tolerated", test_tolerated);
  g_test_add_func ("/qcow2-header/truncated", test_truncated);
  g_test_add_func ("/qcow2-header/every-byte", test_every_byte);
  g_test_add_func ("/qcow2-header/extension-order", test_extension_order);
  g_test_add_func ("/qcow2-header/extension-errors", test_extension_errors);
  g_test_add_func ("/qcow2-header/extension-twice", test_extension_twice);
  g_test_add_func ("/qcow2-header/extension-count", test_extension_count);
  g_test_add_func ("/qcow2-header/feature-names", test_feature_names);
  g_test_add_func ("/qcow2-header/encrypted", test_encrypted);
  g_test_add_func ("/qcow2-header/encryption-header", test_encryption_header);
  g_test_add_func ("/qcow2-header/extended-l2-cluster", test_extended_l2_cluster);
  g_test_add_func ("/qcow2-header/large-l1", test_large_l1);
  return g_test_run ();
}
