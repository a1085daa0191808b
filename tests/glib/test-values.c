/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Plain values made from what the core says, hostile numbers included. */

#include "imago-glib/imago-bitmap-private.h"
#include "imago-glib/imago-encryption-info-private.h"
#include "imago-glib/imago-extent-private.h"
#include "imago-glib/imago-key-slot-private.h"
#include "imago-glib/imago-snapshot-private.h"

static const ImgStorageClass named_class = { .type_name = "test" };

static void
test_extent (void)
{
  ImgStorage storage = { .klass = &named_class, .name = (char *) "/a/disk.qcow2" };
  ImgBlock block = { .kind = IMG_BLOCK_DATA,
                     .offset = 4096,
                     .length = 512,
                     .depth = 2,
                     .has_host_offset = TRUE,
                     .host_offset = 65536,
                     .storage = &storage };
  ImagoExtent *extent = imago_extent_new_from_block (&block);
  g_autoptr (ImagoExtent) copy = imago_extent_copy (extent);
  guint64 host_offset = 1;

  imago_extent_free (extent);
  g_assert_cmpint (imago_extent_get_kind (copy), ==, IMAGO_EXTENT_DATA);
  g_assert_cmpuint (imago_extent_get_offset (copy), ==, 4096);
  g_assert_cmpuint (imago_extent_get_length (copy), ==, 512);
  g_assert_cmpuint (imago_extent_get_depth (copy), ==, 2);
  g_assert_false (imago_extent_get_reads_as_zero (copy));
  g_assert_true (imago_extent_get_host_offset (copy, &host_offset));
  g_assert_cmpuint (host_offset, ==, 65536);
  g_assert_true (imago_extent_get_host_offset (copy, NULL));
  g_assert_cmpstr (imago_extent_get_storage_name (copy), ==, "/a/disk.qcow2");
}

static void
test_extent_kinds (void)
{
  const ImagoExtentKind kinds[] = { IMAGO_EXTENT_DATA, IMAGO_EXTENT_COMPRESSED, IMAGO_EXTENT_ZERO,
                                    IMAGO_EXTENT_UNALLOCATED };
  const ImgBlockKind core[] = { IMG_BLOCK_DATA, IMG_BLOCK_COMPRESSED, IMG_BLOCK_ZERO,
                                IMG_BLOCK_HOLE };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      ImgBlock block = { .kind = core[i],
                         .length = 1,
                         .host_offset = 7,
                         .reads_as_zero = core[i] != IMG_BLOCK_DATA };
      g_autoptr (ImagoExtent) extent = imago_extent_new_from_block (&block);
      guint64 host_offset = 1;

      g_assert_cmpint (imago_extent_get_kind (extent), ==, kinds[i]);
      g_assert_cmpint (imago_extent_get_reads_as_zero (extent), ==, core[i] != IMG_BLOCK_DATA);
      g_assert_false (imago_extent_get_host_offset (extent, &host_offset));
      g_assert_cmpuint (host_offset, ==, 0);
      g_assert_null (imago_extent_get_storage_name (extent));
    }
}

static void
test_extent_array (void)
{
  ImgStorage one = { .klass = &named_class, .name = (char *) "one" };
  ImgStorage two = { .klass = &named_class, .name = NULL };
  ImgBlock blocks[] = {
    { .kind = IMG_BLOCK_DATA, .offset = 0, .length = 10, .storage = &one, .has_host_offset = TRUE },
    { .kind = IMG_BLOCK_HOLE, .offset = 10, .length = 10 },
    { .kind = IMG_BLOCK_DATA,
      .offset = 20,
      .length = 10,
      .storage = &one,
      .has_host_offset = TRUE },
    { .kind = IMG_BLOCK_DATA,
      .offset = 30,
      .length = 10,
      .storage = &two,
      .has_host_offset = TRUE },
    { .kind = IMG_BLOCK_DATA,
      .offset = 40,
      .length = 10,
      .storage = &one,
      .has_host_offset = TRUE },
  };
  const char *names[] = { "one", NULL, "one", NULL, "one" };
  ImagoExtentArray *array = imago_extent_array_new_from_blocks (blocks, G_N_ELEMENTS (blocks));
  g_autoptr (ImagoExtentArray) again = imago_extent_array_ref (array);
  g_autoptr (ImagoExtent) copy = NULL;
  g_autoptr (ImagoExtentArray) empty = imago_extent_array_new_from_blocks (NULL, 0);

  imago_extent_array_unref (array);
  g_assert_cmpuint (imago_extent_array_get_n (again), ==, G_N_ELEMENTS (blocks));
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    {
      const ImagoExtent *extent = imago_extent_array_get (again, i);

      g_assert_cmpuint (imago_extent_get_offset (extent), ==, 10 * i);
      g_assert_cmpstr (imago_extent_get_storage_name (extent), ==, names[i]);
    }
  /* A copy outlives the array. */
  copy = imago_extent_copy (imago_extent_array_get (again, 4));
  g_clear_pointer (&again, imago_extent_array_unref);
  g_assert_cmpstr (imago_extent_get_storage_name (copy), ==, "one");
  g_assert_cmpuint (imago_extent_array_get_n (empty), ==, 0);
}

static void
test_snapshot (void)
{
  const ImgSnapshotInfo info = {
    .id = (char *) "7",
    .name = (char *) "before the update",
    .vm_state_size = 5 * IMG_GIB,
    .disk_size = 3 * IMG_GIB,
    .date_seconds = 1700000000,
    .date_nanoseconds = 123456789,
    .vm_clock_nanoseconds = 42,
    .has_icount = TRUE,
    .icount = 99,
  };
  g_autoptr (ImagoSnapshot) snapshot = imago_snapshot_new (&info);
  g_autofree char *id = NULL;
  g_autofree char *name = NULL;
  g_autofree char *date = g_date_time_format_iso8601 (imago_snapshot_get_date_time (snapshot));
  g_autoptr (GDateTime) date_time = NULL;
  guint64 disk_size, vm_state_size, vm_clock, icount;
  gint64 date_usec;
  guint date_nanoseconds;

  g_object_get (snapshot, "id", &id, "name", &name, "disk-size", &disk_size, "vm-state-size",
                &vm_state_size, "vm-clock", &vm_clock, "date-usec", &date_usec, "date-nanoseconds",
                &date_nanoseconds, "date-time", &date_time, NULL);
  g_assert_cmpstr (id, ==, "7");
  g_assert_cmpstr (imago_snapshot_get_id (snapshot), ==, "7");
  g_assert_cmpstr (name, ==, "before the update");
  g_assert_cmpstr (imago_snapshot_get_name (snapshot), ==, "before the update");
  g_assert_cmpuint (disk_size, ==, 3 * IMG_GIB);
  g_assert_cmpuint (imago_snapshot_get_disk_size (snapshot), ==, 3 * IMG_GIB);
  g_assert_cmpuint (vm_state_size, ==, 5 * IMG_GIB);
  g_assert_cmpuint (imago_snapshot_get_vm_state_size (snapshot), ==, 5 * IMG_GIB);
  g_assert_cmpuint (vm_clock, ==, 42);
  g_assert_cmpuint (imago_snapshot_get_vm_clock (snapshot), ==, 42);
  g_assert_cmpint (date_usec, ==, 1700000000123456);
  g_assert_cmpint (imago_snapshot_get_date_usec (snapshot), ==, 1700000000123456);
  g_assert_cmpuint (date_nanoseconds, ==, 123456789);
  g_assert_cmpuint (imago_snapshot_get_date_nanoseconds (snapshot), ==, 123456789);
  g_assert_true (g_date_time_equal (date_time, imago_snapshot_get_date_time (snapshot)));
  /* date -u -d @1700000000 */
  g_assert_true (g_str_has_prefix (date, "2023-11-14T22:13:20"));
  g_assert_true (imago_snapshot_get_icount (snapshot, &icount));
  g_assert_cmpuint (icount, ==, 99);
}

static void
test_snapshot_hostile (void)
{
  const ImgSnapshotInfo infos[] = {
    { .id = (char *) "\xff\xfe",
      .name = (char *) "",
      .date_seconds = G_MAXINT64,
      .date_nanoseconds = G_MAXUINT32,
      .vm_state_size = G_MAXUINT64,
      .disk_size = G_MAXUINT64,
      .vm_clock_nanoseconds = G_MAXUINT64 },
    { .id = NULL, .name = NULL, .date_seconds = G_MININT64 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (infos); i++)
    {
      g_autoptr (ImagoSnapshot) snapshot = imago_snapshot_new (&infos[i]);
      guint64 icount = 1;

      g_assert_true (g_utf8_validate (imago_snapshot_get_id (snapshot), -1, NULL));
      g_assert_cmpstr (imago_snapshot_get_name (snapshot), ==, "");
      g_assert_null (imago_snapshot_get_date_time (snapshot));
      g_assert_cmpint (imago_snapshot_get_date_usec (snapshot) > 0, ==, i == 0);
      g_assert_false (imago_snapshot_get_icount (snapshot, &icount));
      g_assert_cmpuint (icount, ==, 0);
      g_assert_false (imago_snapshot_get_icount (snapshot, NULL));
    }
}

static void
test_bitmap (void)
{
  const ImgBitmapInfo info = { .name = (char *) "backup",
                               .granularity = 65536,
                               .in_use = TRUE,
                               .is_auto = FALSE };
  g_autoptr (ImagoBitmap) bitmap = imago_bitmap_new (&info);
  g_autofree char *name = NULL;
  guint64 granularity;
  gboolean in_use, recording;

  g_object_get (bitmap, "name", &name, "granularity", &granularity, "in-use", &in_use, "recording",
                &recording, NULL);
  g_assert_cmpstr (name, ==, "backup");
  g_assert_cmpstr (imago_bitmap_get_name (bitmap), ==, "backup");
  g_assert_cmpuint (granularity, ==, 65536);
  g_assert_cmpuint (imago_bitmap_get_granularity (bitmap), ==, 65536);
  g_assert_true (in_use);
  g_assert_true (imago_bitmap_get_in_use (bitmap));
  g_assert_false (recording);
  g_assert_false (imago_bitmap_get_recording (bitmap));
}

static void
test_lists (void)
{
  ImgSnapshotInfo first = { .id = (char *) "1", .name = (char *) "a" };
  ImgSnapshotInfo second = { .id = (char *) "2", .name = (char *) "b" };
  ImgBitmapInfo bitmap = { .name = (char *) "c" };
  g_autoptr (GPtrArray) snapshots = g_ptr_array_new ();
  g_autoptr (GPtrArray) bitmaps = g_ptr_array_new ();
  g_autoptr (GListModel) none = imago_snapshot_list_from_core (NULL);
  g_autoptr (GListModel) some = NULL;
  g_autoptr (GListModel) others = NULL;
  g_autoptr (ImagoSnapshot) last = NULL;

  g_ptr_array_add (snapshots, &first);
  g_ptr_array_add (snapshots, &second);
  g_ptr_array_add (bitmaps, &bitmap);
  some = imago_snapshot_list_from_core (snapshots);
  others = imago_bitmap_list_from_core (bitmaps);
  g_assert_true (G_IS_LIST_STORE (some));
  g_assert_true (g_list_model_get_item_type (some) == IMAGO_TYPE_SNAPSHOT);
  g_assert_true (g_list_model_get_item_type (others) == IMAGO_TYPE_BITMAP);
  g_assert_cmpuint (g_list_model_get_n_items (none), ==, 0);
  g_assert_cmpuint (g_list_model_get_n_items (some), ==, 2);
  g_assert_cmpuint (g_list_model_get_n_items (others), ==, 1);
  last = g_list_model_get_item (some, 1);
  g_assert_cmpstr (imago_snapshot_get_id (last), ==, "2");
}

static void
test_key_slots (void)
{
  const ImgLuksSlot active = { .is_active = TRUE, .iterations = G_MAXUINT32, .stripes = 4000, .key_offset = 4096 };
  const ImgLuksSlot inactive = { .iterations = 7, .stripes = 4000, .key_offset = (guint64) G_MAXUINT32 * 512 };
  g_autoptr (ImagoKeySlot) slot = imago_key_slot_new (&active);
  g_autoptr (ImagoKeySlot) other = imago_key_slot_new (&inactive);
  guint iterations, stripes;
  guint64 key_offset;
  gboolean is_active;

  g_object_get (slot, "active", &is_active, "iterations", &iterations, "stripes", &stripes, "key-offset", &key_offset,
                NULL);
  g_assert_true (is_active && imago_key_slot_get_active (slot));
  g_assert_cmpuint (iterations, ==, G_MAXUINT32);
  g_assert_cmpuint (imago_key_slot_get_iterations (slot), ==, G_MAXUINT32);
  g_assert_cmpuint (stripes, ==, 4000);
  g_assert_cmpuint (imago_key_slot_get_stripes (slot), ==, 4000);
  g_assert_cmpuint (key_offset, ==, 4096);
  g_assert_cmpuint (imago_key_slot_get_key_offset (slot), ==, 4096);
  /* What stands in the header for a slot without a key means nothing. */
  g_assert_false (imago_key_slot_get_active (other));
  g_assert_cmpuint (imago_key_slot_get_iterations (other), ==, 0);
  g_assert_cmpuint (imago_key_slot_get_stripes (other), ==, 0);
  g_assert_cmpuint (imago_key_slot_get_key_offset (other), ==, (guint64) G_MAXUINT32 * 512);
}

static void
assert_string (gpointer object, const char *property, const char *got, const char *expected)
{
  g_autofree char *text = NULL;

  g_object_get (object, property, &text, NULL);
  g_assert_cmpstr (text, ==, expected);
  g_assert_cmpstr (got, ==, expected);
}

static void
test_encryption (void)
{
  const ImgLuksInfo luks = { .cipher = "aes-256",
                             .cipher_mode = "cbc",
                             .iv_generator = "essiv",
                             .iv_hash = "sha256",
                             .hash = "sha1",
                             .uuid = "\xffuuid",
                             .payload_offset = (guint64) G_MAXUINT32 * 512,
                             .master_key_iterations = 9,
                             .slots = { [7] = { .is_active = TRUE } } };
  g_autoptr (ImagoEncryptionInfo) info = imago_encryption_info_new ("luks", &luks);
  GListModel *slots = imago_encryption_info_get_key_slots (info);
  guint64 payload_offset;
  guint iterations;

  assert_string (info, "method", imago_encryption_info_get_method (info), "luks");
  assert_string (info, "cipher", imago_encryption_info_get_cipher (info), "aes-256");
  assert_string (info, "cipher-mode", imago_encryption_info_get_cipher_mode (info), "cbc");
  assert_string (info, "iv-generator", imago_encryption_info_get_iv_generator (info), "essiv");
  assert_string (info, "iv-hash", imago_encryption_info_get_iv_hash (info), "sha256");
  assert_string (info, "hash", imago_encryption_info_get_hash (info), "sha1");
  assert_string (info, "uuid", imago_encryption_info_get_uuid (info), "\xef\xbf\xbduuid");
  g_object_get (info, "payload-offset", &payload_offset, "master-key-iterations", &iterations, NULL);
  g_assert_cmpuint (payload_offset, ==, (guint64) G_MAXUINT32 * 512);
  g_assert_cmpuint (imago_encryption_info_get_payload_offset (info), ==, payload_offset);
  g_assert_cmpuint (iterations, ==, 9);
  g_assert_cmpuint (imago_encryption_info_get_master_key_iterations (info), ==, 9);
  g_assert_true (g_list_model_get_item_type (slots) == IMAGO_TYPE_KEY_SLOT);
  g_assert_cmpuint (g_list_model_get_n_items (slots), ==, 8);
  for (guint i = 0; i < 8; i++)
    {
      g_autoptr (ImagoKeySlot) slot = g_list_model_get_item (slots, i);

      g_assert_cmpint (imago_key_slot_get_active (slot), ==, i == 7);
    }
}

static void
test_old_encryption (void)
{
  g_autoptr (ImagoEncryptionInfo) info = imago_encryption_info_new ("aes", NULL);

  g_assert_cmpstr (imago_encryption_info_get_method (info), ==, "aes");
  g_assert_null (imago_encryption_info_get_cipher (info));
  g_assert_null (imago_encryption_info_get_uuid (info));
  g_assert_cmpuint (g_list_model_get_n_items (imago_encryption_info_get_key_slots (info)), ==, 0);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/values/extent", test_extent);
  g_test_add_func ("/values/extent-kinds", test_extent_kinds);
  g_test_add_func ("/values/extent-array", test_extent_array);
  g_test_add_func ("/values/snapshot", test_snapshot);
  g_test_add_func ("/values/snapshot-hostile", test_snapshot_hostile);
  g_test_add_func ("/values/bitmap", test_bitmap);
  g_test_add_func ("/values/key-slots", test_key_slots);
  g_test_add_func ("/values/encryption", test_encryption);
  g_test_add_func ("/values/old-encryption", test_old_encryption);
  g_test_add_func ("/values/lists", test_lists);
  return g_test_run ();
}
