/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Opening, describing, snapshots, bitmaps, decoding, and every way in which memory or reads can
 * fail. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include <zlib.h>

#include "img-alloc.h"
#include "img-file-storage.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "qcow2/img-qcow2-header.h"
#include "qcow2/img-qcow2.h"
#include "test-storages.h"

static ImgLayout *
open_snapshot (ImgStorage *storage, const char *snapshot, ImgError **error)
{
  ImgLayoutOptions options = { .snapshot = snapshot };

  return img_qcow2_driver.open (storage, &options, NULL, error);
}

static ImgLayout *
open_good (ImgStorage *storage)
{
  g_autoptr (ImgError) error = NULL;
  ImgLayout *layout = img_qcow2_driver.open (storage, NULL, NULL, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  g_assert_nonnull (layout);
  return layout;
}

static void
assert_error (ImgError *error, ImgCode code, const char *word)
{
  g_assert_nonnull (error);
  g_test_message ("%s", error->text);
  if (strstr (error->text, word) == NULL)
    g_error ("“%s” does not contain “%s”", error->text, word);
  g_assert_cmpint (error->code, ==, code);
  img_error_free (error);
}

/* ---- drivers ---- */

static void
test_drivers (void)
{
  const ImgDriver *const *all = img_drivers_get_all ();

  g_assert_cmpstr (all[0]->name, ==, "qcow2");
  g_assert_cmpstr (all[1]->name, ==, "raw");
  g_assert_null (all[2]);
  g_assert_true (img_driver_find ("qcow2") == all[0]);
  g_assert_true (img_driver_find ("raw") == all[1]);
  g_assert_null (img_driver_find ("qcow"));
  g_assert_null (img_driver_find (""));
}

static void
assert_probe (const char *bytes, gsize length, const char *expected)
{
  g_autoptr (GBytes) content = g_bytes_new (bytes, length);
  g_autoptr (ImgStorage) base = img_memory_storage_new (content);
  g_autoptr (ImgStorage) storage = test_counting_storage_new (base);
  g_autoptr (GPtrArray) matches = img_drivers_probe (storage, NULL);

  g_assert_nonnull (matches);
  g_assert_cmpuint (matches->len, ==, expected != NULL ? 1 : 0);
  if (expected != NULL)
    g_assert_cmpstr (((const ImgDriver *) g_ptr_array_index (matches, 0))->name, ==, expected);
  g_assert_cmpuint (test_counting_storage_take (storage).n_reads, <=, 2);
}

static void
test_probe (void)
{
  g_autofree char *zeroes = g_malloc0 (100000);

  assert_probe ("", 0, NULL);
  assert_probe ("QFI\xfb\0\0\0\3", 8, "qcow2");
  assert_probe ("QFI\xfb\0\0\0\2 and more", 17, "qcow2");
  /* The older qcow has the same magic: it is refused by its version, not read as raw. */
  assert_probe ("QFI\xfb\0\0\0\1", 8, "qcow2");
  assert_probe ("QFI\xfb", 4, "qcow2");
  assert_probe ("QFI", 3, NULL);
  assert_probe (zeroes, 100000, NULL);
}

static void
test_probe_error (void)
{
  g_autoptr (ImgStorage) base = test_pattern_storage_new (100000, 1);
  g_autoptr (ImgStorage) storage = test_failing_storage_new (base);

  for (guint nth = 1; nth <= 2; nth++)
    {
      ImgError *error = NULL;

      test_failing_storage_arm (storage, nth, FALSE);
      g_assert_null (img_drivers_probe (storage, &error));
      assert_error (error, IMG_CODE_ERRNO, "Injected");
    }
}

static void
test_raw (void)
{
  const ImgDriver *raw = img_driver_find ("raw");
  g_autoptr (ImgStorage) storage = test_pattern_storage_new (1000, 1);
  g_autoptr (ImgLayout) layout = raw->open (storage, NULL, NULL, NULL);
  g_autoptr (ImgStorage) huge = img_null_storage_new (IMG_MAX_SIZE + 1);
  ImgLayoutOptions options = { .snapshot = "1" };
  ImgError *error = NULL;
  ImgFindings findings;
  ImgExtent extent;

  g_assert_cmpuint (layout->size, ==, 1024);
  g_assert_true (layout->has_host_holes);
  g_assert_true (layout->is_identity);
  g_assert_cmpint (layout->klass->map (layout, 10, 1014, IMG_MAP_TRY, &extent, NULL), ==,
                   IMG_MAP_OK);
  g_assert_cmpint (extent.kind, ==, IMG_EXTENT_DATA);
  g_assert_cmpuint (extent.host_offset, ==, 10);
  g_assert_cmpuint (extent.length, ==, 1014);
  g_assert_true (extent.storage == storage);
  g_assert_null (raw->open (huge, NULL, NULL, &error));
  assert_error (g_steal_pointer (&error), IMG_CODE_LIMIT_EXCEEDED, "too large");
  g_assert_null (raw->open (storage, &options, NULL, &error));
  assert_error (g_steal_pointer (&error), IMG_CODE_SNAPSHOT_NOT_FOUND, "“1”");
  img_findings_init (&findings);
  g_assert_true (raw->inspect (storage, &findings, NULL, NULL));
  g_assert_cmpuint (findings.virtual_size, ==, 1024);
  img_findings_clear (&findings);
}

/* ---- describe ---- */

static void
test_describe_v2 (void)
{
  g_autoptr (ImgStorage) storage =
    qcow2_builder_finish_storage (qcow2_builder_new (2, 12, IMG_MIB + 1023, 0));
  g_autoptr (ImgLayout) layout = open_good (storage);
  ImgDescription description;

  g_assert_cmpuint (layout->size, ==, IMG_MIB + 512);
  g_assert_cmpuint (layout->wanted->len, ==, 0);
  g_assert_cmpuint (layout->unit_length, ==, 4096);
  g_assert_true (layout->klass->describe (layout, &description, NULL));
  g_assert_cmpuint (description.cluster_size, ==, 4096);
  g_assert_cmpstr (description.compat, ==, "0.10");
  g_assert_cmpstr (description.compression_type, ==, "zlib");
  g_assert_null (description.encryption);
  g_assert_cmpuint (description.refcount_bits, ==, 16);
  g_assert_false (description.is_dirty || description.is_corrupt || description.has_lazy_refcounts);
  g_assert_false (description.has_extended_l2 || description.has_data_file ||
                  description.has_raw_data_file);
  g_assert_true (description.may_have_compressed);
  g_assert_null (description.bitmaps);
  img_description_clear (&description);
}

static void
test_describe_v3 (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0x1f);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  ImgDescription description;
  ImgWanted *wanted;

  builder->compression = 1;
  builder->compatible = 1;
  builder->autoclear = 2;
  builder->refcount_order = 6;
  builder->backing_name = "base";
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_DATA_FILE, "data.raw", 8);
  storage = qcow2_builder_finish_storage (builder);
  layout = open_good (storage);
  g_assert_cmpuint (layout->unit_length, ==, 0);
  g_assert_cmpuint (layout->wanted->len, ==, 2);
  wanted = g_ptr_array_index (layout->wanted, 0);
  g_assert_cmpint (wanted->role, ==, IMG_REFERENCE_DATA_FILE);
  g_assert_cmpstr (wanted->name, ==, "data.raw");
  g_assert_cmpstr (wanted->format_name, ==, "raw");
  wanted = g_ptr_array_index (layout->wanted, 1);
  g_assert_cmpint (wanted->role, ==, IMG_REFERENCE_BACKING_FILE);
  g_assert_cmpstr (wanted->name, ==, "base");
  g_assert_null (wanted->format_name);
  g_assert_true (layout->klass->describe (layout, &description, NULL));
  g_assert_cmpstr (description.compat, ==, "1.1");
  g_assert_cmpstr (description.compression_type, ==, "zstd");
  g_assert_cmpuint (description.refcount_bits, ==, 64);
  g_assert_true (description.is_dirty && description.is_corrupt && description.has_lazy_refcounts);
  g_assert_true (description.has_extended_l2 && description.has_data_file &&
                 description.has_raw_data_file);
  g_assert_false (description.may_have_compressed);
  img_description_clear (&description);
}

static void
test_empty_disk (void)
{
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (qcow2_builder_new (3, 16, 511, 0));
  g_autoptr (ImgLayout) layout = open_good (storage);

  g_assert_cmpuint (layout->size, ==, 0);
}

/* Only the file system knows that clusters which the metadata calls data have never been written.
 */
static void
test_host_holes (void)
{
  g_autoptr (GBytes) image = qcow2_builder_finish (qcow2_builder_new (3, 16, IMG_MIB, 0));
  g_autofree char *path = NULL;
  int fd = g_file_open_tmp ("imago-test-XXXXXX", &path, NULL);
  gsize length = g_bytes_get_size (image);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, g_bytes_get_data (image, NULL), length), ==, (gssize) length);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImgStorage) storage = NULL;
      g_autoptr (ImgLayout) layout = NULL;

      if (i == 1)
        g_assert_cmpint (ftruncate (fd, 64 << 20), ==, 0);
      storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
      layout = open_good (storage);
      g_assert_cmpint (layout->has_host_holes, ==, i == 1);
    }
  close (fd);
  g_unlink (path);
}

/* ---- snapshots ---- */

/* Two disks: the active one has a zero cluster at 0, each snapshot an unallocated one and its own
 * size. */
static Qcow2Builder *
builder_with_snapshots (guint n, gsize extra_length)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 4 * IMG_MIB, 0);
  guint64 l1 = qcow2_builder_alloc (builder, 1);
  g_autofree guint8 *extra = g_malloc0 (MAX (extra_length, 24));
  guint64 words[3] = { GUINT64_TO_BE (0x123456789a), GUINT64_TO_BE (IMG_MIB), GUINT64_TO_BE (42) };

  memcpy (extra, words, sizeof words);
  qcow2_builder_set_entry (builder, 0, QCOW2_ZERO, 0);
  for (guint i = 1; i <= n; i++)
    {
      g_autofree char *id = g_strdup_printf ("%u", i);
      g_autofree char *name = g_strdup_printf ("name-%u", n + 1 - i);

      qcow2_builder_add_snapshot (builder, id, name, l1, 2, extra, extra_length);
    }
  return builder;
}

static GPtrArray *
list_snapshots (Qcow2Builder *builder, ImgError **error)
{
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (builder);
  g_autoptr (ImgLayout) layout = open_good (storage);

  return layout->klass->list_snapshots (layout, NULL, error);
}

static void
test_snapshot_list (void)
{
  static const gsize lengths[] = { 0, 8, 16, 24, 32, 1024 };

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    {
      gsize length = lengths[i];
      g_autoptr (GPtrArray) list = list_snapshots (builder_with_snapshots (3, length), NULL);
      ImgSnapshotInfo *info;

      g_assert_cmpuint (list->len, ==, 3);
      info = g_ptr_array_index (list, 1);
      g_assert_cmpstr (info->id, ==, "2");
      g_assert_cmpstr (info->name, ==, "name-2");
      g_assert_cmpuint (info->vm_state_size, ==, length >= 8 ? 0x123456789a : 7);
      g_assert_cmpuint (info->disk_size, ==, length >= 16 ? IMG_MIB : 4 * IMG_MIB);
      g_assert_cmpint (info->has_icount, ==, length >= 24);
      g_assert_cmpuint (info->icount, ==, length >= 24 ? 42 : 0);
      g_assert_cmpint (info->date_seconds, ==, 1700000002);
      g_assert_cmpuint (info->date_nanoseconds, ==, 123456789);
      g_assert_cmpuint (info->vm_clock_nanoseconds, ==, 5000000000u);
    }
}

static void
test_snapshot_none (void)
{
  g_autoptr (GPtrArray) list = list_snapshots (qcow2_builder_new (3, 16, IMG_MIB, 0), NULL);

  g_assert_cmpuint (list->len, ==, 0);
}

static void
test_snapshot_no_icount (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, IMG_MIB, 0);
  guint64 words[3] = { 0, 0, G_MAXUINT64 };
  g_autoptr (GPtrArray) list = NULL;

  qcow2_builder_add_snapshot (builder, "1", "", 4096, 1, words, sizeof words);
  list = list_snapshots (builder, NULL);
  g_assert_false (((ImgSnapshotInfo *) g_ptr_array_index (list, 0))->has_icount);
}

static void
test_snapshot_open (void)
{
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (builder_with_snapshots (3, 24));
  static const char *const keys[] = { "1", "3", "name-2", "name-3" };
  ImgError *error = NULL;
  ImgExtent extent;

  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    {
      g_autoptr (ImgLayout) layout = open_snapshot (storage, keys[i], NULL);

      g_assert_nonnull (layout);
      g_assert_cmpuint (layout->size, ==, IMG_MIB);
      g_assert_cmpint (layout->klass->map (layout, 0, IMG_MIB, IMG_MAP_NONE, &extent, NULL), ==,
                       IMG_MAP_OK);
      g_assert_cmpint (extent.kind, ==, IMG_EXTENT_HOLE);
      g_assert_cmpuint (extent.length, ==, IMG_MIB);
    }
  g_assert_null (open_snapshot (storage, "4", &error));
  assert_error (g_steal_pointer (&error), IMG_CODE_SNAPSHOT_NOT_FOUND, "“4”");
  g_assert_null (open_snapshot (storage, "", &error));
  assert_error (g_steal_pointer (&error), IMG_CODE_SNAPSHOT_NOT_FOUND, "“”");
}

/* An id wins over a name that looks like it, wherever they stand. */
static void
test_snapshot_id_first (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, IMG_MIB, 0);
  guint64 small[2] = { 0, GUINT64_TO_BE (4096) };
  guint64 large[2] = { 0, GUINT64_TO_BE (8192) };
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  g_autoptr (ImgLayout) first_of_two = NULL;

  qcow2_builder_add_snapshot (builder, "1", "2", builder->l1_offset, 1, small, sizeof small);
  qcow2_builder_add_snapshot (builder, "2", "twice", builder->l1_offset, 1, large, sizeof large);
  qcow2_builder_add_snapshot (builder, "3", "twice", builder->l1_offset, 1, small, sizeof small);
  storage = qcow2_builder_finish_storage (builder);
  layout = open_snapshot (storage, "2", NULL);
  g_assert_cmpuint (layout->size, ==, 8192);
  first_of_two = open_snapshot (storage, "twice", NULL);
  g_assert_cmpuint (first_of_two->size, ==, 8192);
}

typedef struct
{
  guint64 l1_offset;
  guint32 l1_entries;
  guint64 disk_size;
  ImgCode code;
  const char *word;
} BadSnapshot;

static void
test_snapshot_bad_l1 (void)
{
  static const BadSnapshot rows[] = {
    { 0x00400200, 1, 4096, IMG_CODE_CORRUPT, "L1 table of the snapshot: not aligned" },
    { 0x00400000, 1, 4096, IMG_CODE_CORRUPT, "L1 table of the snapshot: outside the file" },
    { 0xffffffffffff0000, 1, 4096, IMG_CODE_CORRUPT, "L1 table of the snapshot: invalid offset" },
    { 0, 1, 4096, IMG_CODE_CORRUPT, "L1 table of the snapshot: overlaps the header" },
    { 0x3000, 0x10000000, 4096, IMG_CODE_LIMIT_EXCEEDED, "L1 table of the snapshot: too large" },
    { 0x3000, 0, 4096, IMG_CODE_CORRUPT, "L1 table of the snapshot: too small" },
    { 0x3000, 1, 64 * IMG_GIB, IMG_CODE_CORRUPT, "L1 table of the snapshot: too small" },
    { 0x3000, 1, G_MAXUINT64, IMG_CODE_LIMIT_EXCEEDED,
      "virtual size of the snapshot is too large" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      Qcow2Builder *builder = qcow2_builder_new (3, 12, IMG_MIB, 0);
      guint64 extra[2] = { 0, GUINT64_TO_BE (rows[i].disk_size) };
      g_autoptr (ImgStorage) storage = NULL;
      g_autoptr (GPtrArray) list = NULL;
      g_autoptr (ImgLayout) layout = NULL;
      ImgError *error = NULL;

      qcow2_builder_add_snapshot (builder, "1", "bad", rows[i].l1_offset, rows[i].l1_entries, extra,
                                  sizeof extra);
      storage = qcow2_builder_finish_storage (builder);
      g_assert_null (open_snapshot (storage, "bad", &error));
      assert_error (error, rows[i].code, rows[i].word);
      /* The active disk and the list are not concerned. */
      layout = open_good (storage);
      list = layout->klass->list_snapshots (layout, NULL, NULL);
      g_assert_cmpuint (list->len, ==, 1);
    }
}

static void
test_snapshot_bad_table (void)
{
  Qcow2Builder *builder = builder_with_snapshots (2, 24);
  g_autoptr (GBytes) image = NULL;
  guint64 table = builder->file->len;
  ImgError *error = NULL;
  static const struct
  {
    guint64 at;
    const char *hex;
    ImgCode code;
    const char *word;
  } pokes[] = {
    { 36, "00000401", IMG_CODE_LIMIT_EXCEEDED, "too much extra data, 1025 bytes" },
    { 36, "ffffffff", IMG_CODE_LIMIT_EXCEEDED, "too much extra data" },
    { 12, "ffff", IMG_CODE_CORRUPT, "ends inside an entry" },
    { 14, "ffff", IMG_CODE_CORRUPT, "ends inside an entry" },
  };

  image = qcow2_builder_finish (builder);
  for (guint i = 0; i < G_N_ELEMENTS (pokes); i++)
    {
      g_autoptr (GBytes) bad = qcow2_poke (image, table + pokes[i].at, pokes[i].hex);
      g_autoptr (ImgStorage) storage = img_memory_storage_new (bad);
      g_autoptr (ImgLayout) layout = open_good (storage);

      g_assert_null (layout->klass->list_snapshots (layout, NULL, &error));
      assert_error (g_steal_pointer (&error), pokes[i].code, pokes[i].word);
      g_assert_null (open_snapshot (storage, "2", &error));
      assert_error (g_steal_pointer (&error), pokes[i].code, pokes[i].word);
    }
}

/* As many as there may be; opening the active disk does not read one of them. */
static void
test_snapshot_many (void)
{
  g_autoptr (ImgStorage) base = qcow2_builder_finish_storage (builder_with_snapshots (65536, 24));
  g_autoptr (ImgStorage) storage = test_counting_storage_new (base);
  g_autoptr (ImgLayout) layout = open_good (storage);
  g_autoptr (ImgLayout) last = NULL;
  g_autoptr (GPtrArray) list = NULL;

  g_assert_cmpuint (test_counting_storage_take (storage).n_bytes, <, 20000);
  list = layout->klass->list_snapshots (layout, NULL, NULL);
  g_assert_cmpuint (list->len, ==, 65536);
  g_assert_cmpstr (((ImgSnapshotInfo *) g_ptr_array_index (list, 65535))->name, ==, "name-1");
  /* Read once from front to back. */
  g_assert_cmpuint (test_counting_storage_take (storage).n_bytes, <, 65536 * 100);
  last = open_snapshot (storage, "65536", NULL);
  g_assert_nonnull (last);
}

/* ---- bitmaps ---- */

static const Qcow2Bitmap good_bitmap = { 0x3000, 1, 0, 1, 16, 0, "bitmap" };

/* @n: how many the extension says there are; @slack: bytes that its size is wrong by. */
static Qcow2Builder *
builder_with_bitmaps (const Qcow2Bitmap *bitmaps, guint n_bitmaps, guint n, int slack)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, IMG_MIB, 0);
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  g_autoptr (GByteArray) extension = g_byte_array_new ();
  guint64 offset;

  for (guint i = 0; i < n_bitmaps; i++)
    qcow2_put_bitmap (directory, &bitmaps[i]);
  offset = qcow2_builder_alloc (builder, 1 + directory->len / 4096);
  qcow2_builder_write (builder, offset, directory->data, directory->len);
  qcow2_put_be32 (extension, n);
  qcow2_put_be32 (extension, 0);
  qcow2_put_be64 (extension, (guint64) ((gint64) directory->len + slack));
  qcow2_put_be64 (extension, offset);
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BITMAPS, extension->data, extension->len);
  builder->autoclear = 1;
  return builder;
}

static void
test_bitmaps (void)
{
  g_autofree char *long_name = g_strnfill (1023, 'n');
  const Qcow2Bitmap bitmaps[] = {
    good_bitmap,
    { 0x3000, 1, 1, 1, 9, 0, "in use" },
    { 0x3000, 1, 2, 1, 31, 0, long_name },
    { 0x3000, 1, 3, 1, 20, 0, "x" },
  };
  g_autoptr (ImgStorage) storage =
    qcow2_builder_finish_storage (builder_with_bitmaps (bitmaps, 4, 4, 0));
  g_autoptr (ImgLayout) layout = open_good (storage);
  ImgDescription description;

  g_assert_true (layout->klass->describe (layout, &description, NULL));
  g_assert_cmpuint (description.bitmaps->len, ==, 4);
  for (guint i = 0; i < 4; i++)
    {
      ImgBitmapInfo *info = g_ptr_array_index (description.bitmaps, i);

      g_assert_cmpstr (info->name, ==, bitmaps[i].name);
      g_assert_cmpuint (info->granularity, ==, (guint64) 1 << bitmaps[i].granularity_bits);
      g_assert_cmpint (info->in_use, ==, (bitmaps[i].flags & 1) != 0);
      g_assert_cmpint (info->is_auto, ==, (bitmaps[i].flags & 2) != 0);
    }
  img_description_clear (&description);
}

/* Without its autoclear bit the extension is stale, whatever is in it. */
static void
test_bitmaps_stale (void)
{
  Qcow2Builder *builder = builder_with_bitmaps (&good_bitmap, 1, 70000, 99);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  ImgDescription description;

  builder->autoclear = 0;
  storage = qcow2_builder_finish_storage (builder);
  layout = open_good (storage);
  g_assert_true (layout->klass->describe (layout, &description, NULL));
  g_assert_null (description.bitmaps);
  img_description_clear (&description);
}

static void
assert_bad_directory (Qcow2Builder *builder, ImgCode code, const char *word)
{
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (builder);
  g_autoptr (ImgLayout) layout = open_good (storage);
  ImgDescription description;
  ImgFindings findings;
  ImgError *error = NULL;

  g_assert_false (layout->klass->describe (layout, &description, &error));
  img_findings_init (&findings);
  g_assert_true (img_qcow2_driver.inspect (storage, &findings, NULL, NULL));
  g_assert_cmpuint (findings.problems->len, ==, 1);
  g_assert_cmpstr (g_ptr_array_index (findings.problems, 0), ==, error->text);
  img_findings_clear (&findings);
  assert_error (error, code, word);
}

static void
test_bitmaps_bad (void)
{
  g_autofree char *long_name = g_strnfill (1024, 'n');
  const struct
  {
    Qcow2Bitmap bitmap;
    ImgCode code;
    const char *word;
  } rows[] = {
    { { 0x3001, 1, 0, 1, 16, 0, "b" }, IMG_CODE_CORRUPT, "invalid table offset" },
    { { 0, 1, 0, 1, 16, 0, "b" }, IMG_CODE_CORRUPT, "invalid table offset" },
    { { 0x3000, 0, 0, 1, 16, 0, "b" }, IMG_CODE_CORRUPT, "invalid table size" },
    { { 0x3000, (1u << 27) + 1, 0, 1, 16, 0, "b" }, IMG_CODE_CORRUPT, "invalid table size" },
    { { 0x3000, 1, 4, 1, 16, 0, "b" }, IMG_CODE_UNSUPPORTED, "unknown bitmap flags 0x4" },
    { { 0x3000, 1, 0, 2, 16, 0, "b" }, IMG_CODE_UNSUPPORTED, "bitmap type 2" },
    { { 0x3000, 1, 0, 1, 8, 0, "b" }, IMG_CODE_CORRUPT, "invalid granularity" },
    { { 0x3000, 1, 0, 1, 32, 0, "b" }, IMG_CODE_CORRUPT, "invalid granularity" },
    { { 0x3000, 1, 0, 1, 255, 0, "b" }, IMG_CODE_CORRUPT, "invalid granularity" },
    { { 0x3000, 1, 0, 1, 16, 8, "b" }, IMG_CODE_UNSUPPORTED, "extra data" },
    { { 0x3000, 1, 0, 1, 16, 0, "" }, IMG_CODE_CORRUPT, "length of a name" },
    { { 0x3000, 1, 0, 1, 16, 0, long_name }, IMG_CODE_CORRUPT, "length of a name" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    assert_bad_directory (builder_with_bitmaps (&rows[i].bitmap, 1, 1, 0), rows[i].code,
                          rows[i].word);
  assert_bad_directory (builder_with_bitmaps (&good_bitmap, 1, 2, 0), IMG_CODE_CORRUPT,
                        "ends inside an entry");
  assert_bad_directory (builder_with_bitmaps (&good_bitmap, 1, 1, 8), IMG_CODE_CORRUPT,
                        "does not match its size");
  assert_bad_directory (builder_with_bitmaps (&good_bitmap, 1, 1, -8), IMG_CODE_CORRUPT,
                        "ends inside an entry");
}

static void
test_bitmaps_bad_extension (void)
{
  const struct
  {
    guint n;
    int slack;
    ImgCode code;
    const char *word;
  } rows[] = {
    { 0, 0, IMG_CODE_CORRUPT, "directory is empty" },
    { 65536, 0, IMG_CODE_LIMIT_EXCEEDED, "too many bitmaps" },
    { 1, G_MAXINT, IMG_CODE_LIMIT_EXCEEDED, "directory is too large" },
    { 1, 100000, IMG_CODE_CORRUPT, "Bitmap directory: outside the file" },
    { 1, -32, IMG_CODE_CORRUPT, "directory is empty" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      Qcow2Builder *builder = builder_with_bitmaps (&good_bitmap, 1, rows[i].n, rows[i].slack);
      g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (builder);
      ImgError *error = NULL;

      g_assert_null (img_qcow2_driver.open (storage, NULL, NULL, &error));
      assert_error (error, rows[i].code, rows[i].word);
    }
}

/* ---- decode ---- */

static GBytes *
deflate_cluster (const guint8 *plain, gsize length)
{
  z_stream stream = { 0 };
  gsize limit = 2 * length;
  guint8 *stored = g_malloc (limit);

  g_assert_cmpint (deflateInit2 (&stream, 6, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), ==, Z_OK);
  stream.next_in = (Bytef *) plain;
  stream.avail_in = (uInt) length;
  stream.next_out = stored;
  stream.avail_out = (uInt) limit;
  g_assert_cmpint (deflate (&stream, Z_FINISH), ==, Z_STREAM_END);
  limit -= stream.avail_out;
  deflateEnd (&stream);
  return g_bytes_new_take (stored, limit);
}

/* Streams that share clusters and span two of them; the last one ends with the file. */
static void
test_decode (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 64 * 4096, 0);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  guint8 plain[4096], decoded[4096];

  for (guint cluster = 0; cluster < 64; cluster++)
    {
      g_autoptr (GBytes) stored = NULL;

      for (guint i = 0; i < 4096; i++)
        plain[i] = i % 3 == 0 ? (guint8) (test_pattern_byte (i, cluster) & 31) : (guint8) cluster;
      stored = deflate_cluster (plain, 4096);
      qcow2_builder_set_entry (builder, cluster,
                               qcow2_builder_add_compressed (builder,
                                                             g_bytes_get_data (stored, NULL),
                                                             g_bytes_get_size (stored)),
                               0);
    }
  storage = qcow2_builder_finish_storage (builder);
  layout = open_good (storage);
  for (guint cluster = 0; cluster < 64; cluster++)
    {
      g_autofree guint8 *stored = NULL;
      ImgError *error = NULL;
      ImgExtent extent;
      gsize n_plain;

      g_assert_cmpint (
        layout->klass->map (layout, cluster * 4096 + 100, 9999, IMG_MAP_NONE, &extent, NULL), ==,
        IMG_MAP_OK);
      g_assert_cmpint (extent.kind, ==, IMG_EXTENT_COMPRESSED);
      g_assert_cmpuint (extent.length, ==, 4096 - 100);
      g_assert_cmpuint (extent.unit_offset, ==, cluster * 4096);
      g_assert_cmpuint (extent.unit_length, ==, 4096);
      stored = g_malloc (extent.unit_host_length);
      g_assert_true (img_storage_read (extent.storage, extent.unit_host_offset, stored,
                                       extent.unit_host_length, NULL));
      g_assert_true (
        layout->klass->decode (layout, &extent, stored, decoded, 4096, &n_plain, NULL));
      g_assert_cmpuint (n_plain, ==, 4096);
      for (guint i = 0; i < 4096; i++)
        g_assert_cmpuint (decoded[i], ==,
                          i % 3 == 0 ? (guint8) (test_pattern_byte (i, cluster) & 31)
                                     : (guint8) cluster);
      memset (stored, 0xff, extent.unit_host_length);
      g_assert_false (layout->klass->decode (layout, &extent, stored, decoded, 4096, &n_plain, &error));
      assert_error (error, IMG_CODE_CORRUPT, "Compressed cluster at offset");
    }
}

/* ---- failures ---- */

/* Touches all that open, describe and list allocate or read. */
static gboolean
do_everything (ImgStorage *storage, const char *snapshot, ImgError **error)
{
  ImgLayout *layout = open_snapshot (storage, snapshot, error);
  ImgDescription description;
  GPtrArray *list = NULL;
  gboolean success;

  if (layout == NULL)
    return FALSE;
  success = layout->klass->describe (layout, &description, error);
  if (success)
    {
      img_description_clear (&description);
      list = layout->klass->list_snapshots (layout, NULL, error);
      success = list != NULL;
    }
  if (success)
    {
      ImgExtent extent;

      g_ptr_array_unref (list);
      success = layout->klass->map (layout, 0, 4096, IMG_MAP_NONE, &extent, error) == IMG_MAP_OK;
    }
  img_layout_free (layout);
  return success;
}

static ImgStorage *
image_with_everything (void)
{
  Qcow2Builder *builder = builder_with_bitmaps (&good_bitmap, 1, 1, 0);

  builder->backing_name = "base";
  qcow2_builder_set_entry (builder, 0, QCOW2_ZERO, 0);
  qcow2_builder_add_snapshot (builder, "1", "one", builder->l1_offset, 1, NULL, 0);
  return qcow2_builder_finish_storage (builder);
}

static void
test_no_memory (void)
{
  g_autoptr (ImgStorage) storage = image_with_everything ();
  guint n_failures = 0;
  gboolean success;

  do
    {
      ImgError *error = NULL;

      img_alloc_set_fault (n_failures + 1, n_failures % 2 == 0);
      success = do_everything (storage, "one", &error);
      img_alloc_set_fault (0, FALSE);
      g_assert_true (success == (error == NULL));
      if (success)
        break;
      assert_error (error, IMG_CODE_NO_MEMORY, "Out of memory");
      n_failures++;
    }
  while (n_failures < 100);
  g_assert_true (success);
  g_assert_cmpuint (n_failures, >=, 8);
  g_test_message ("%u allocations failed in turn", n_failures);
}

static void
test_read_errors (void)
{
  g_autoptr (ImgStorage) base = image_with_everything ();
  g_autoptr (ImgStorage) storage = test_failing_storage_new (base);
  guint n_failures = 0;
  gboolean success;

  do
    {
      ImgError *error = NULL;

      test_failing_storage_arm (storage, n_failures + 1, FALSE);
      success = do_everything (storage, "one", &error);
      test_failing_storage_arm (storage, 0, FALSE);
      if (success)
        break;
      g_assert_cmpint (error->system_errno, ==, EIO);
      assert_error (error, IMG_CODE_ERRNO, "Injected");
      n_failures++;
    }
  while (n_failures < 100);
  g_assert_true (success);
  g_assert_cmpuint (n_failures, >=, 6);
  g_test_message ("%u reads failed in turn", n_failures);
}

static void
test_inspect_read_errors (void)
{
  g_autoptr (ImgStorage) base = image_with_everything ();
  g_autoptr (ImgStorage) storage = test_failing_storage_new (base);

  for (guint nth = 1; nth <= 4; nth++)
    {
      ImgFindings findings;
      ImgError *error = NULL;
      gboolean success;

      img_findings_init (&findings);
      test_failing_storage_arm (storage, nth, FALSE);
      success = img_qcow2_driver.inspect (storage, &findings, NULL, &error);
      test_failing_storage_arm (storage, 0, FALSE);
      g_assert_cmpint (success, ==, nth == 4); /* head, first cluster, directory */
      if (!success)
        assert_error (error, IMG_CODE_ERRNO, "Injected");
      img_findings_clear (&findings);
    }
}

static void
test_cancelled (void)
{
  g_autoptr (ImgStorage) storage = image_with_everything ();
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgLayout) layout = open_good (storage);
  ImgFindings findings;
  ImgError *error = NULL;

  img_cancel_trigger (cancel);
  g_assert_null (img_qcow2_driver.open (storage, NULL, cancel, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
  img_error_clear (&error);
  g_assert_null (layout->klass->list_snapshots (layout, cancel, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
  img_error_clear (&error);
  img_findings_init (&findings);
  g_assert_false (img_qcow2_driver.inspect (storage, &findings, cancel, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
  img_error_clear (&error);
  img_findings_clear (&findings);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qcow2/drivers", test_drivers);
  g_test_add_func ("/qcow2/probe", test_probe);
  g_test_add_func ("/qcow2/probe-error", test_probe_error);
  g_test_add_func ("/qcow2/raw", test_raw);
  g_test_add_func ("/qcow2/describe-v2", test_describe_v2);
  g_test_add_func ("/qcow2/describe-v3", test_describe_v3);
  g_test_add_func ("/qcow2/empty-disk", test_empty_disk);
  g_test_add_func ("/qcow2/host-holes", test_host_holes);
  g_test_add_func ("/qcow2/snapshot/list", test_snapshot_list);
  g_test_add_func ("/qcow2/snapshot/none", test_snapshot_none);
  g_test_add_func ("/qcow2/snapshot/no-icount", test_snapshot_no_icount);
  g_test_add_func ("/qcow2/snapshot/open", test_snapshot_open);
  g_test_add_func ("/qcow2/snapshot/id-first", test_snapshot_id_first);
  g_test_add_func ("/qcow2/snapshot/bad-l1", test_snapshot_bad_l1);
  g_test_add_func ("/qcow2/snapshot/bad-table", test_snapshot_bad_table);
  g_test_add_func ("/qcow2/snapshot/many", test_snapshot_many);
  g_test_add_func ("/qcow2/bitmaps/list", test_bitmaps);
  g_test_add_func ("/qcow2/bitmaps/stale", test_bitmaps_stale);
  g_test_add_func ("/qcow2/bitmaps/bad", test_bitmaps_bad);
  g_test_add_func ("/qcow2/bitmaps/bad-extension", test_bitmaps_bad_extension);
  g_test_add_func ("/qcow2/decode", test_decode);
  g_test_add_func ("/qcow2/no-memory", test_no_memory);
  g_test_add_func ("/qcow2/read-errors", test_read_errors);
  g_test_add_func ("/qcow2/inspect-read-errors", test_inspect_read_errors);
  g_test_add_func ("/qcow2/cancelled", test_cancelled);
  return g_test_run ();
}
