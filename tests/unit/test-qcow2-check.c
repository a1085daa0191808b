/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The check of qcow2 metadata: packed counts against a plain array, tables upon one another, faults of the
 * storage. That verdicts are right is for tests/interop/test-check.py, which asks qemu-img. */

#include "config.h"

#include "img-alloc.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "qcow2/img-qcow2-check-counts.h"
#include "qcow2/img-qcow2-check.h"
#include "qcow2/img-qcow2-repair.h"
#include "qcow2/img-qcow2-snapshot.h"
#include "test-step.h"
#include "test-storages.h"

/* ---- counts ---- */

#define N_COUNTS 1000

static void
add_randomly (ImgQcow2Counts *counts, guint64 *model, guint64 limit, GRand *random)
{
  guint64 first = (guint64) g_rand_int_range (random, 0, N_COUNTS);
  guint64 length = (guint64) g_rand_int_range (random, 1, 1 + (gint32) MIN (200, N_COUNTS - first));
  guint64 times = g_rand_int_range (random, 0, 20) == 0 ? g_rand_int (random) : 1;
  guint64 excess = 0, expected = 0;

  for (guint64 i = first; i < first + length; i++)
    {
      guint64 added = MIN (times, limit - model[i]);

      model[i] += added;
      expected += times - added;
    }
  g_assert_true (img_qcow2_counts_add (counts, first, length, times, limit, &excess, NULL));
  g_assert_cmpuint (excess, ==, expected);
}

static void
test_counts (gconstpointer data)
{
  guint64 limit = G_MAXUINT64 >> (64 - (1u << GPOINTER_TO_UINT (data)));
  g_autoptr (GRand) random = g_rand_new_with_seed (GPOINTER_TO_UINT (data));
  guint64 model[N_COUNTS] = { 0 };
  ImgQcow2Counts counts;

  g_assert_true (img_qcow2_counts_init (&counts, N_COUNTS, NULL, NULL));
  for (guint round = 0; round < 60; round++)
    {
      guint64 first = (guint64) g_rand_int_range (random, 0, N_COUNTS - 100);
      gboolean are_one = TRUE;

      add_randomly (&counts, model, limit, random);
      for (guint i = 0; i < N_COUNTS; i++)
        g_assert_cmpuint (img_qcow2_counts_get (&counts, i), ==, model[i]);
      for (guint i = 0; i < 70; i++)
        are_one = are_one && model[first + i] == 1;
      g_assert_cmpint (img_qcow2_counts_are_one (&counts, first, 70), ==, are_one);
    }
  img_qcow2_counts_clear (&counts);
}

/* Two that differ in some places, in width too; and one that grows. */
static void
test_counts_differ (void)
{
  static const guint places[] = { 0, 63, 64, 300, 998, 999 };
  ImgQcow2Counts a, b;
  guint64 at = 0;

  g_assert_true (img_qcow2_counts_init (&a, N_COUNTS - 1, NULL, NULL));
  g_assert_true (img_qcow2_counts_init (&b, N_COUNTS, NULL, NULL));
  g_assert_true (img_qcow2_counts_grow (&a, N_COUNTS, NULL));
  g_assert_cmpuint (img_qcow2_counts_find_difference (&a, &b, 0, G_MAXUINT64), ==, N_COUNTS);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    g_assert_true (img_qcow2_counts_set (&b, places[i], i % 3 + 1, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    {
      at = img_qcow2_counts_find_difference (&a, &b, at, G_MAXUINT64);
      g_assert_cmpuint (at, ==, places[i]);
      at++;
    }
  g_assert_cmpuint (img_qcow2_counts_find_difference (&a, &b, at, G_MAXUINT64), ==, N_COUNTS);
  img_qcow2_counts_clear (&a);
  img_qcow2_counts_clear (&b);
}

/* ---- images ---- */

#define CLUSTER 4096

/* A refcount block that says 1 for all clusters of the file there are now. */
static void
count_all (Qcow2Builder *builder)
{
  guint64 block = qcow2_builder_alloc (builder, 1);
  guint64 entry = GUINT64_TO_BE (block);
  guint16 one = GUINT16_TO_BE (1);

  qcow2_builder_write (builder, builder->refcount_table_offset, &entry, sizeof entry);
  for (guint64 i = 0; i < builder->file->len / CLUSTER; i++)
    qcow2_builder_write (builder, block + i * sizeof one, &one, sizeof one);
}

static ImgStorage *
new_image (guint64 n_clusters)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 4 * IMG_MIB, 0);

  for (guint64 i = 0; i < n_clusters; i++)
    qcow2_builder_set_entry (builder, i, qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  count_all (builder);
  return qcow2_builder_finish_storage (builder);
}

static void
test_sound (void)
{
  g_autoptr (ImgStorage) storage = new_image (20);
  g_auto (ImgCheckResult) result;
  ImgError *error = NULL;

  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, NULL, NULL, &error));
  g_assert_null (error);
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.leaks, ==, 0);
  g_assert_cmpuint (result.check_errors, ==, 0);
  g_assert_cmpuint (result.n_messages, ==, 0);
  g_assert_cmpuint (result.allocated_clusters, ==, 20);
  g_assert_cmpuint (result.total_clusters, ==, 4 * IMG_MIB / CLUSTER);
}

static void
test_cancelled (void)
{
  g_autoptr (ImgStorage) storage = new_image (1);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  img_cancel_trigger (cancel);
  g_assert_false (img_qcow2_check (storage, &result, NULL, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
}

/* Numbers that become wider are as they were if that is cancelled. */
static void
test_cancelled_counts (void)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  ImgQcow2Counts counts;

  g_assert_true (img_qcow2_counts_init (&counts, N_COUNTS, cancel, NULL));
  g_assert_true (img_qcow2_counts_set (&counts, 7, 1, NULL));
  img_cancel_trigger (cancel);
  g_assert_true (img_qcow2_counts_set (&counts, 8, 1, NULL));
  g_assert_false (img_qcow2_counts_set (&counts, 7, 2, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  g_assert_cmpuint (img_qcow2_counts_get (&counts, 7), ==, 1);
  g_assert_cmpuint (counts.order, ==, 0);
  img_qcow2_counts_clear (&counts);
}

/* Every allocation fails once: an error, and nothing is lost. */
static void
test_no_memory (void)
{
  g_autoptr (ImgStorage) storage = new_image (5);
  gboolean success = FALSE;

  for (guint nth = 1; !success; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      g_auto (ImgCheckResult) result;

      img_check_result_init (&result);
      img_alloc_set_fault (nth, FALSE);
      success = img_qcow2_check (storage, &result, NULL, NULL, &error);
      img_alloc_set_fault (0, FALSE);
      g_assert_cmpint (success, ==, error == NULL);
      if (!success)
        g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
      g_assert_cmpuint (nth, <, 100);
    }
}

/* Thousands of references to one L2 table: each counts, the table is read once. Messages are bounded. */
static void
test_shared (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 1024 * IMG_MIB, 0);
  g_autoptr (ImgStorage) storage = NULL;
  g_auto (ImgCheckResult) result;
  guint64 table;

  qcow2_builder_set_entry (builder, 0, qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  table = img_read_be64 (builder->file->data + builder->l1_offset);
  for (guint64 i = 1; i < 512; i++)
    qcow2_builder_set_l1 (builder, i, table);
  count_all (builder);
  storage = qcow2_builder_finish_storage (builder);
  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.allocated_clusters, ==, 512);
  /* The table and the data cluster have one refcount too few. */
  g_assert_cmpuint (result.corruptions, ==, 2);
}

static void
test_messages (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 64 * IMG_MIB, 0);
  g_autoptr (ImgStorage) storage = NULL;
  g_auto (ImgCheckResult) result;

  for (guint64 i = 0; i < 1500; i++)
    qcow2_builder_set_entry (builder, i, qcow2_builder_alloc (builder, 1), 0);
  storage = qcow2_builder_finish_storage (builder);
  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.messages->len, ==, IMG_CHECK_MAX_MESSAGES);
  g_assert_cmpuint (result.n_messages, >, 1500);
  g_assert_cmpuint (result.corruptions, >, 1500);
}

/* ---- repair ---- */

#define DIRTY 1
#define CORRUPT 2
#define INCOMPATIBLE_AT 72
#define N_DATA 20
#define N_MOST_DATA 2020 /* leaves less than twice as many refcounts of a block */

typedef struct
{
  ImgStorage *base;  /* owned */
  ImgStorage storage;
  guint n_left;      /* calls until one fails; 0: none does */
  gboolean persists;
} Faulty;

static void
faulty_submit (ImgStorage *storage, ImgIo *ios, guint n)
{
  Faulty *self = (gpointer) ((char *) storage - G_STRUCT_OFFSET (Faulty, storage));

  for (guint i = 0; i < n; i++)
    {
      ImgError *error = NULL;

      if (self->n_left == 0 || --self->n_left > 0)
        {
          img_storage_submit (self->base, &ios[i], 1);
          continue;
        }
      if (self->persists)
        self->n_left = 1;
      img_error_set_errno (&error, EIO, "injected");
      img_io_complete (&ios[i], error);
    }
}

static gboolean
faulty_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  Faulty *self = (gpointer) ((char *) storage - G_STRUCT_OFFSET (Faulty, storage));

  return img_storage_get_size (self->base, size, error);
}

static void
faulty_free (ImgStorage *storage G_GNUC_UNUSED)
{
}

static const ImgStorageClass faulty_class = {
  .type_name = "faulty",
  .submit = faulty_submit,
  .get_size = faulty_get_size,
  .free = faulty_free,
};

static ImgStorage *
copy_writable (ImgStorage *source)
{
  guint64 size;
  g_autofree guint8 *bytes = NULL;
  ImgStorage *copy;

  g_assert_true (img_storage_get_size (source, &size, NULL));
  bytes = g_malloc (size);
  g_assert_true (img_storage_read (source, 0, bytes, size, NULL));
  copy = img_memory_storage_new_writable (size);
  g_assert_true (img_storage_write (copy, 0, bytes, size, NULL));
  return copy;
}

static void
poke_be64 (ImgStorage *storage, guint64 offset, guint64 value)
{
  guint64 stored = GUINT64_TO_BE (value);

  g_assert_true (img_storage_write (storage, offset, &stored, sizeof stored, NULL));
}

static guint64
peek_be64 (ImgStorage *storage, guint64 offset)
{
  guint64 stored;

  g_assert_true (img_storage_read (storage, offset, &stored, sizeof stored, NULL));
  return GUINT64_FROM_BE (stored);
}

typedef enum
{
  DAMAGE_REFCOUNTS, /* too low, too high, flags that do not fit */
  DAMAGE_BLOCK,     /* no refcount block: the structure is made anew */
  DAMAGE_ENTRIES,   /* reserved bits */
  DAMAGE_MARK,      /* nothing but the mark */
  DAMAGE_SNAPSHOTS, /* too little and too much extra data */
  DAMAGE_NO_ROOM,   /* too little extra data; no block has refcounts for a second table of that length */
  N_DAMAGES
} Damage;

static const char *const damages[N_DAMAGES] = { "refcounts", "block",     "entries",
                                                "mark",      "snapshots", "no-room" };

/* ---- snapshots ---- */

#define EXTRA 24
#define TOO_MUCH_EXTRA 1100
#define VM_STATE_SIZE 77
#define LONG_NAME 42000 /* eleven clusters */
#define SIZE (8 * IMG_MIB) /* as many clusters as a refcount block counts for */

static void
put_bytes (GByteArray *table, guint8 value, gsize length)
{
  gsize start = table->len;

  g_byte_array_set_size (table, (guint) (start + length));
  memset (table->data + start, value, length);
}

/* Without an L1 table; the id is one letter. */
static void
put_snapshot (GByteArray *table, guint32 extra_length, guint16 name_length)
{
  put_bytes (table, 0, 8 + 4);
  qcow2_put_be16 (table, 1);
  qcow2_put_be16 (table, name_length);
  put_bytes (table, 0, 16);
  qcow2_put_be32 (table, VM_STATE_SIZE);
  qcow2_put_be32 (table, extra_length);
  if (extra_length >= 8)
    qcow2_put_be64 (table, VM_STATE_SIZE);
  if (extra_length > 8)
    put_bytes (table, 0xee, extra_length - 8);
  put_bytes (table, 'i', 1);
  put_bytes (table, 'n', name_length);
  put_bytes (table, 0, (8 - table->len % 8) % 8);
}

static guint32
make_snapshots (Damage damage, GByteArray *table)
{
  if (damage == DAMAGE_SNAPSHOTS)
    {
      put_snapshot (table, 0, 3);
      put_snapshot (table, TOO_MUCH_EXTRA, 5);
      put_snapshot (table, EXTRA, 7);
      put_snapshot (table, 8, 2);
      return 4;
    }
  if (damage != DAMAGE_NO_ROOM)
    return 0;
  put_snapshot (table, 8, LONG_NAME);
  put_snapshot (table, EXTRA, 7);
  return 2;
}

/* Data clusters are filled with their guest number. */
static void
fill_data (ImgStorage *storage)
{
  guint64 l2 = peek_be64 (storage, peek_be64 (storage, 40)) & ~QCOW2_COPIED;
  guint8 bytes[CLUSTER];

  for (guint i = 0; i < N_DATA; i++)
    {
      memset (bytes, (int) i + 1, sizeof bytes);
      g_assert_true (img_storage_write (storage, peek_be64 (storage, l2 + i * 8) & ~QCOW2_COPIED,
                                        bytes, sizeof bytes, NULL));
    }
}

static ImgStorage *
new_image_with_snapshots (guint64 n_clusters, guint32 n_snapshots, const GByteArray *table)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, SIZE, 0);
  guint32 stored = GUINT32_TO_BE (n_snapshots);
  g_autoptr (ImgStorage) sound = NULL;
  ImgStorage *storage;
  guint64 offset = 0;

  for (guint64 i = 0; i < n_clusters; i++)
    qcow2_builder_set_entry (builder, i, qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  if (table->len > 0)
    {
      offset = qcow2_builder_alloc (builder, img_div_round_up (table->len, CLUSTER));
      qcow2_builder_write (builder, offset, table->data, table->len);
    }
  count_all (builder);
  sound = qcow2_builder_finish_storage (builder);
  storage = copy_writable (sound);
  g_assert_true (img_storage_write (storage, 60, &stored, sizeof stored, NULL));
  poke_be64 (storage, 64, offset);
  fill_data (storage);
  return storage;
}

static GPtrArray *
list_snapshots (ImgStorage *storage)
{
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (storage, NULL, NULL);
  GPtrArray *list;

  g_assert_nonnull (header);
  list = img_qcow2_snapshots_list (storage, header, NULL, NULL);
  g_assert_nonnull (list);
  return list;
}

static void
assert_snapshot (const ImgSnapshotInfo *info, gsize name_length, gboolean has_size)
{
  g_assert_cmpstr (info->id, ==, "i");
  g_assert_cmpuint (strlen (info->name), ==, name_length);
  g_assert_cmpuint (info->vm_state_size, ==, VM_STATE_SIZE);
  if (!has_size)
    g_assert_cmpuint (info->disk_size, ==, SIZE);
  else
    g_assert_cmphex (info->disk_size, ==, G_GUINT64_CONSTANT (0xeeeeeeeeeeeeee00));
}

static void
assert_snapshots (ImgStorage *storage, Damage damage)
{
  g_autoptr (GPtrArray) list = list_snapshots (storage);

  g_assert_cmpuint (list->len, ==,
                    damage == DAMAGE_SNAPSHOTS ? 4 : damage == DAMAGE_NO_ROOM ? 2 : 0);
  if (damage == DAMAGE_SNAPSHOTS)
    {
      assert_snapshot (g_ptr_array_index (list, 0), 3, FALSE);
      assert_snapshot (g_ptr_array_index (list, 1), 5, TRUE);
      assert_snapshot (g_ptr_array_index (list, 2), 7, TRUE);
      assert_snapshot (g_ptr_array_index (list, 3), 2, FALSE);
    }
  else if (damage == DAMAGE_NO_ROOM)
    {
      assert_snapshot (g_ptr_array_index (list, 0), LONG_NAME, FALSE);
      assert_snapshot (g_ptr_array_index (list, 1), 7, TRUE);
    }
}

/* ---- damaged images ---- */

static ImgStorage *
make_damaged (Damage damage)
{
  g_autoptr (GByteArray) snapshots = g_byte_array_new ();
  guint32 n_snapshots = make_snapshots (damage, snapshots);
  ImgStorage *storage =
    new_image_with_snapshots (damage == DAMAGE_NO_ROOM ? N_MOST_DATA : N_DATA, n_snapshots, snapshots);
  guint64 l1 = peek_be64 (storage, 40);
  guint64 l2 = peek_be64 (storage, l1) & ~QCOW2_COPIED;
  guint64 table = peek_be64 (storage, 48);
  guint64 block = peek_be64 (storage, table);

  poke_be64 (storage, INCOMPATIBLE_AT, DIRTY);
  switch (damage)
    {
    case DAMAGE_REFCOUNTS:
      poke_be64 (storage, block + 8 * 2, 0x0000000100020001);
      poke_be64 (storage, block + 256 * 2, 0x0001000200030004);
      poke_be64 (storage, l2 + 8, peek_be64 (storage, l2 + 8) & ~QCOW2_COPIED);
      break;
    case DAMAGE_BLOCK:
      poke_be64 (storage, table, 0);
      break;
    case DAMAGE_ENTRIES:
      poke_be64 (storage, l1, (l2 | QCOW2_COPIED) + 4);
      poke_be64 (storage, l2 + 8, peek_be64 (storage, l2 + 8) | ((guint64) 1 << 60));
      break;
    case DAMAGE_MARK:
    case DAMAGE_SNAPSHOTS:
    case DAMAGE_NO_ROOM:
    default:
      break;
    }
  return storage;
}

/* A copy of one that is made once. */
static ImgStorage *
new_damaged (Damage damage)
{
  static ImgStorage *made[N_DAMAGES];

  if (made[damage] == NULL)
    made[damage] = make_damaged (damage);
  return copy_writable (made[damage]);
}

static void
assert_repaired (ImgStorage *storage)
{
  g_auto (ImgCheckResult) result;
  guint64 l1 = peek_be64 (storage, 40);
  guint64 l2 = peek_be64 (storage, l1) & ~QCOW2_COPIED;

  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.corruptions + result.leaks + result.check_errors, ==, 0);
  g_assert_cmpuint (peek_be64 (storage, INCOMPATIBLE_AT), ==, 0);
  for (guint i = 0; i < N_DATA; i++)
    {
      guint64 data = peek_be64 (storage, l2 + i * 8) & ~QCOW2_COPIED;

      g_assert_cmpuint (peek_be64 (storage, data), ==, (i + 1) * 0x0101010101010101u);
    }
}

static void
test_repair (gconstpointer data)
{
  g_autoptr (ImgStorage) storage = new_damaged ((Damage) GPOINTER_TO_UINT (data));
  guint64 refcount_table = peek_be64 (storage, 48);
  g_auto (ImgCheckResult) first;
  g_auto (ImgCheckResult) second;
  ImgError *error = NULL;

  img_check_result_init (&first);
  img_check_result_init (&second);
  g_assert_true (img_qcow2_repair (storage, IMG_REPAIR_ALL, &first, NULL, NULL, &error));
  g_assert_null (error);
  g_assert_cmpint (first.corruptions_fixed + first.leaks_fixed > 0, ==,
                   GPOINTER_TO_UINT (data) != DAMAGE_MARK);
  assert_repaired (storage);
  assert_snapshots (storage, (Damage) GPOINTER_TO_UINT (data));
  if (GPOINTER_TO_UINT (data) == DAMAGE_NO_ROOM)
    g_assert_cmpuint (peek_be64 (storage, 48), !=, refcount_table);
  g_assert_true (img_qcow2_repair (storage, IMG_REPAIR_ALL, &second, NULL, NULL, &error));
  g_assert_cmpuint (second.n_messages, ==, 0);
  g_assert_cmpuint (second.corruptions_fixed + second.leaks_fixed, ==, 0);
}

/* The nth call of the storage fails, once or from then on; what comes out can be repaired. */
static void
repair_with_faults (Damage damage, gboolean persists)
{
  gboolean success = FALSE;
  guint n = 1;

  for (; !success; n += TEST_STEP)
    {
      g_autoptr (ImgStorage) base = new_damaged (damage);
      Faulty faulty = { .base = base, .n_left = n, .persists = persists };
      g_autoptr (ImgError) error = NULL;
      g_auto (ImgCheckResult) result;
      g_auto (ImgCheckResult) again;

      img_storage_init (&faulty.storage, &faulty_class, NULL);
      faulty.storage.can_write = TRUE;
      img_check_result_init (&result);
      img_check_result_init (&again);
      success = img_qcow2_repair (&faulty.storage, IMG_REPAIR_ALL, &result, NULL, NULL, &error);
      g_assert_cmpint (success, ==, error == NULL);
      img_storage_unref (&faulty.storage);
      g_assert_true (img_qcow2_repair (base, IMG_REPAIR_ALL, &again, NULL, NULL, NULL));
      assert_repaired (base);
      assert_snapshots (base, damage);
      g_assert_cmpuint (n, <, 1000);
    }
  g_test_message ("%u calls", n - 1 - TEST_STEP);
  g_assert_cmpuint (n, >, 6);
}

static void
test_repair_faults (gconstpointer data)
{
  repair_with_faults ((Damage) GPOINTER_TO_UINT (data), FALSE);
  repair_with_faults ((Damage) GPOINTER_TO_UINT (data), TRUE);
}

/* ---- progress ---- */

/* Looks at every change; cancels at the nth one, if not 0. */
typedef struct
{
  ImgProgress progress;
  ImgCancel *cancel;
  guint nth;
  guint n_changes;
  guint64 seen;
  gboolean repairs; /* the phase has been REPAIR */
} Watch;

static void
watch_changed (gpointer data)
{
  Watch *self = data;

  g_assert_cmpuint (self->progress.bytes_done, >=, self->seen);
  g_assert_cmpuint (self->progress.bytes_done, <=, self->progress.bytes_total);
  self->seen = self->progress.bytes_done;
  g_assert_cmpint (self->progress.phase, ==, self->repairs ? IMG_PHASE_REPAIR : IMG_PHASE_CHECK);
  if (++self->n_changes == self->nth)
    img_cancel_trigger (self->cancel);
}

/* The phase becomes REPAIR once, and stays. */
static void
watch_phase (gpointer data)
{
  Watch *self = data;

  if (self->progress.phase == IMG_PHASE_REPAIR)
    self->repairs = TRUE;
  watch_changed (data);
}

static gboolean
run_watched (ImgStorage *storage, ImgRepair repair, guint nth, ImgCheckResult *result, ImgError **error)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  Watch watch = { .progress = { .changed = watch_phase }, .cancel = cancel, .nth = nth };
  gboolean success;

  watch.progress.data = &watch;
  img_check_result_init (result);
  success = img_qcow2_repair (storage, repair, result, &watch.progress, cancel, error);
  if (success)
    {
      g_assert_cmpuint (watch.progress.bytes_total, >, 0);
      g_assert_cmpuint (watch.progress.bytes_done, ==, watch.progress.bytes_total);
      g_assert_cmpint (watch.repairs, ==, repair != IMG_REPAIR_NONE);
    }
  return success;
}

/* An entry with too much extra data is left to a repair of all. */
static gboolean
is_accepted (Damage damage, ImgRepair repair)
{
  return damage != DAMAGE_SNAPSHOTS || repair == IMG_REPAIR_ALL;
}

static guint64
count_wrong (ImgStorage *storage)
{
  g_auto (ImgCheckResult) result;
  ImgQcow2CheckMeter meter = { NULL };

  img_check_result_init (&result);
  g_assert_true (img_qcow2_check_for (storage, IMG_REPAIR_ALL, &result, &meter, NULL, NULL));
  return result.corruptions + result.check_errors;
}

/* On what is sound and on what is damaged, checked and repaired. */
static void
test_progress (void)
{
  for (ImgRepair repair = IMG_REPAIR_NONE; repair <= IMG_REPAIR_ALL; repair++)
    {
      g_autoptr (ImgStorage) sound = new_image (20);
      g_autoptr (ImgStorage) writable = copy_writable (sound);
      g_auto (ImgCheckResult) result;

      g_assert_true (run_watched (writable, repair, 0, &result, NULL));
      for (Damage damage = 0; damage < N_DAMAGES; damage++)
        {
          g_autoptr (ImgStorage) storage = new_damaged (damage);
          g_auto (ImgCheckResult) found = { 0 };

          if (is_accepted (damage, repair))
            g_assert_true (run_watched (storage, repair, 0, &found, NULL));
        }
    }
}

/* Of a hundred tables each moves it by the same, and no stage by more than its share. */
static void
test_progress_weight (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 12, 512 * IMG_MIB, 0);
  g_autoptr (ImgStorage) storage = NULL;
  g_auto (ImgCheckResult) result;
  Watch watch = { .progress = { .changed = watch_phase } };

  for (guint64 i = 0; i < 100; i++)
    qcow2_builder_set_entry (builder, i * 1024, qcow2_builder_alloc (builder, 1) | QCOW2_COPIED, 0);
  count_all (builder);
  storage = qcow2_builder_finish_storage (builder);
  watch.progress.data = &watch;
  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, &watch.progress, NULL, NULL));
  g_assert_cmpuint (watch.progress.bytes_done, ==, watch.progress.bytes_total);
  /* One L2 table an entry of the L1 table of 256, and there are no more clusters than that many. */
  g_assert_cmpuint (watch.progress.bytes_total, >, 100 * CLUSTER);
  g_assert_cmpuint (watch.progress.bytes_total, <, 300 * CLUSTER);
  g_assert_cmpuint (watch.n_changes, >, 4);
}

static void
assert_same_bytes (ImgStorage *a, ImgStorage *b)
{
  guint64 size, other_size;
  g_autofree guint8 *left = NULL;
  g_autofree guint8 *right = NULL;

  g_assert_true (img_storage_get_size (a, &size, NULL));
  g_assert_true (img_storage_get_size (b, &other_size, NULL));
  g_assert_cmpuint (size, ==, other_size);
  left = g_malloc (size);
  right = g_malloc (size);
  g_assert_true (img_storage_read (a, 0, left, size, NULL) && img_storage_read (b, 0, right, size, NULL));
  g_assert_cmpmem (left, size, right, size);
}

/* Cancelled at the nth change of the progress, for each n: a check has changed nothing, and what an unfinished
 * repair has left is repaired by the next one, with the data and the snapshots as they were. */
/* An L1 table all of whose entries are damaged, each with an L2 table of its own. */
#define N_DAMAGED 10000

static ImgStorage *
build_damaged_l1 (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 9, (guint64) N_DAMAGED * 64 * 512, 0);
  guint64 tables = qcow2_builder_alloc (builder, N_DAMAGED);

  for (guint64 i = 0; i < N_DAMAGED; i++)
    qcow2_builder_set_l1 (builder, i, (tables + i * 512) | 2);
  return qcow2_builder_finish_storage (builder);
}

/* L1 is read in one piece, but a cancel is seen in its middle, when the list of L2 tables is put in order. */
static void
test_cancel_in_l1 (void)
{
  g_autoptr (ImgStorage) storage = build_damaged_l1 ();
  gboolean success = FALSE;
  gboolean was_inside = FALSE;

  for (guint nth = 1; nth < 16 && !success && !was_inside; nth++)
    {
      g_auto (ImgCheckResult) result;
      g_autoptr (ImgError) error = NULL;

      success = run_watched (storage, IMG_REPAIR_NONE, nth, &result, &error);
      was_inside = !success && result.corruptions > N_DAMAGED / 10 && result.corruptions < N_DAMAGED;
      if (!success)
        g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
    }
  g_assert_true (was_inside);
}

/* More L2 tables than are sorted at once, from the end of the file on; each has a cluster. */
#define N_TABLES 70000

static void
test_many_tables (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 9, (guint64) N_TABLES * 64 * 512, 0);
  g_autoptr (ImgStorage) storage = NULL;
  g_auto (ImgCheckResult) result;
  guint64 tables = qcow2_builder_alloc (builder, 2 * N_TABLES);

  for (guint64 i = 0; i < N_TABLES; i++)
    {
      guint64 table = tables + (N_TABLES - 1 - i) * 1024;
      guint64 entry = GUINT64_TO_BE ((table + 512) | QCOW2_COPIED);

      qcow2_builder_set_l1 (builder, i, table | QCOW2_COPIED);
      qcow2_builder_write (builder, table, &entry, sizeof entry);
    }
  storage = qcow2_builder_finish_storage (builder);
  img_check_result_init (&result);
  g_assert_true (img_qcow2_check (storage, &result, NULL, NULL, NULL));
  /* The refcounts are not of interest. */
  g_assert_cmpuint (result.allocated_clusters, ==, N_TABLES);
}

static void
test_cancel_anywhere (gconstpointer data)
{
  Damage damage = (Damage) GPOINTER_TO_UINT (data);
  g_autoptr (ImgStorage) untouched = new_damaged (damage);

  for (ImgRepair repair = IMG_REPAIR_NONE; repair <= IMG_REPAIR_ALL; repair++)
    {
      /* One of these takes as long as all others together. */
      guint step = damage == DAMAGE_NO_ROOM ? 1 + 6 * repair : 1;
      guint64 n_wrong = count_wrong (untouched);
      gboolean success = FALSE;
      guint nth = 0;

      if (!is_accepted (damage, repair))
        continue;
      while (!success)
        {
          g_autoptr (ImgStorage) storage = new_damaged (damage);
          g_autoptr (ImgError) error = NULL;
          g_auto (ImgCheckResult) result;
          g_auto (ImgCheckResult) again;

          img_check_result_init (&again);
          nth += step;
          success = run_watched (storage, repair, nth, &result, &error);
          g_assert_true (success || img_error_matches (error, IMG_CODE_CANCELLED));
          if (repair == IMG_REPAIR_NONE)
            assert_same_bytes (storage, untouched);
          g_assert_cmpuint (count_wrong (storage), <=, n_wrong);
          g_assert_true (img_qcow2_repair (storage, IMG_REPAIR_ALL, &again, NULL, NULL, NULL));
          assert_repaired (storage);
          assert_snapshots (storage, damage);
          g_assert_cmpuint (nth, <, 1000);
        }
      g_assert_cmpuint (nth, >, 3);
    }
}

static gboolean
repair_as (ImgStorage *storage, ImgRepair wanted, ImgCheckResult *result, ImgError **error)
{
  img_check_result_clear (result);
  img_check_result_init (result);
  return img_qcow2_repair (storage, wanted, result, NULL, NULL, error);
}

/* Only a repair of all works with more than there may be: others say that there is too much. */
static void
assert_only_all (ImgStorage *storage, guint64 n_fixed)
{
  g_auto (ImgCheckResult) result = { 0 };

  for (ImgRepair wanted = IMG_REPAIR_NONE; wanted <= IMG_REPAIR_LEAKS; wanted++)
    {
      g_autoptr (ImgError) error = NULL;

      g_assert_false (repair_as (storage, wanted, &result, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_LIMIT_EXCEEDED));
    }
  g_assert_true (repair_as (storage, IMG_REPAIR_ALL, &result, NULL));
  g_assert_cmpuint (result.corruptions_fixed, ==, n_fixed);
  g_assert_cmpuint (result.leaks_fixed, ==, 0);
  assert_repaired (storage);
  g_assert_true (repair_as (storage, IMG_REPAIR_ALL, &result, NULL));
  g_assert_cmpuint (result.n_messages, ==, 0);
}

/* By number; then the table stays where it is. */
static void
test_too_many_snapshots (void)
{
  g_autoptr (GByteArray) table = g_byte_array_new ();
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (GPtrArray) list = NULL;
  guint64 offset;

  for (guint i = 0; i < IMG_QCOW2_MAX_SNAPSHOTS + 3; i++)
    put_snapshot (table, i < 2 ? EXTRA : 16, 1);
  storage = new_image_with_snapshots (N_DATA, IMG_QCOW2_MAX_SNAPSHOTS + 3, table);
  offset = peek_be64 (storage, 64);
  assert_only_all (storage, 3);
  list = list_snapshots (storage);
  g_assert_cmpuint (list->len, ==, IMG_QCOW2_MAX_SNAPSHOTS);
  g_assert_cmpuint (peek_be64 (storage, 64), ==, offset);
}

/* By size: the first entry ends where no table may reach. */
static void
test_too_large_snapshots (void)
{
  g_autoptr (GByteArray) table = g_byte_array_new ();
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (GPtrArray) list = NULL;

  put_snapshot (table, EXTRA, 4);
  put_snapshot (table, EXTRA, 6);
  storage = new_image_with_snapshots (N_DATA, 2, table);
  /* 40 bytes, extra data, 1, 4, padding: then the second entry's length of its extra data. */
  poke_be64 (storage, peek_be64 (storage, 64) + 72 + 32, IMG_QCOW2_MAX_SNAPSHOT_TABLE);
  /* Too much extra data in it, and that it has to go. */
  assert_only_all (storage, 2);
  list = list_snapshots (storage);
  g_assert_cmpuint (list->len, ==, 1);
}

/* Opening a dirty image repairs it, but loses nothing of its snapshots. */
static void
test_open_dirty_snapshots (void)
{
  static const ImgLayoutOptions writable = { .writable = TRUE };
  const ImgDriver *driver = img_driver_find ("qcow2");
  g_autoptr (ImgStorage) storage = new_damaged (DAMAGE_SNAPSHOTS);
  g_autoptr (ImgError) error = NULL;
  guint64 offset = peek_be64 (storage, 64);

  g_assert_null (driver->open (storage, &writable, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_LIMIT_EXCEEDED));
  g_assert_cmpuint (peek_be64 (storage, 64), ==, offset);
  g_assert_cmpuint (peek_be64 (storage, INCOMPATIBLE_AT), ==, DIRTY);
}

static void
test_repair_read_only (void)
{
  g_autoptr (ImgStorage) storage = new_image (1);
  g_autoptr (ImgError) error = NULL;
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  g_assert_false (img_qcow2_repair (storage, IMG_REPAIR_LEAKS, &result, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_READ_ONLY));
}

static void
test_open_dirty (void)
{
  static const ImgLayoutOptions writable = { .writable = TRUE };
  const ImgDriver *driver = img_driver_find ("qcow2");
  g_autoptr (ImgStorage) storage = new_damaged (DAMAGE_REFCOUNTS);
  g_autoptr (ImgLayout) reader = NULL;
  g_autoptr (ImgLayout) writer = NULL;
  ImgError *error = NULL;

  /* Reading repairs nothing. */
  reader = driver->open (storage, NULL, NULL, &error);
  g_assert_nonnull (reader);
  g_assert_cmpuint (peek_be64 (storage, INCOMPATIBLE_AT), ==, DIRTY);
  writer = driver->open (storage, &writable, NULL, &error);
  g_assert_null (error);
  g_assert_nonnull (writer);
  assert_repaired (storage);
}

/* Neither is one that is marked as corrupt, nor one whose corruption cannot be repaired. */
static void
test_open_beyond_repair (void)
{
  static const ImgLayoutOptions writable = { .writable = TRUE };
  const ImgDriver *driver = img_driver_find ("qcow2");

  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImgStorage) storage = new_damaged (DAMAGE_MARK);
      g_autoptr (ImgError) error = NULL;
      guint64 l2 = peek_be64 (storage, peek_be64 (storage, 40)) & ~QCOW2_COPIED;

      if (i == 0)
        poke_be64 (storage, INCOMPATIBLE_AT, DIRTY | CORRUPT);
      else
        poke_be64 (storage, l2, 0x0011223344556000);
      g_assert_null (driver->open (storage, &writable, NULL, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_CORRUPT));
      g_assert_cmpuint (peek_be64 (storage, INCOMPATIBLE_AT), ==, i == 0 ? DIRTY | CORRUPT : DIRTY);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint order = 0; order <= 6; order++)
    {
      g_autofree char *name = g_strdup_printf ("/qcow2-check/counts/%u-bits", 1u << order);

      g_test_add_data_func (name, GUINT_TO_POINTER (order), test_counts);
    }
  g_test_add_func ("/qcow2-check/counts/differ", test_counts_differ);
  g_test_add_func ("/qcow2-check/sound", test_sound);
  g_test_add_func ("/qcow2-check/cancelled", test_cancelled);
  g_test_add_func ("/qcow2-check/cancelled-counts", test_cancelled_counts);
  g_test_add_func ("/qcow2-check/cancel-in-l1", test_cancel_in_l1);
  g_test_add_func ("/qcow2-check/many-tables", test_many_tables);
  g_test_add_func ("/qcow2-check/no-memory", test_no_memory);
  g_test_add_func ("/qcow2-check/shared", test_shared);
  g_test_add_func ("/qcow2-check/messages", test_messages);
  for (guint damage = 0; damage < N_DAMAGES; damage++)
    {
      g_autofree char *name = g_strdup_printf ("/qcow2-check/repair/%s", damages[damage]);
      g_autofree char *faults = g_strdup_printf ("/qcow2-check/repair-faults/%s", damages[damage]);
      g_autofree char *cancels = g_strdup_printf ("/qcow2-check/cancel-anywhere/%s", damages[damage]);

      g_test_add_data_func (name, GUINT_TO_POINTER (damage), test_repair);
      g_test_add_data_func (faults, GUINT_TO_POINTER (damage), test_repair_faults);
      g_test_add_data_func (cancels, GUINT_TO_POINTER (damage), test_cancel_anywhere);
    }
  g_test_add_func ("/qcow2-check/progress", test_progress);
  g_test_add_func ("/qcow2-check/progress/weight", test_progress_weight);
  g_test_add_func ("/qcow2-check/repair/read-only", test_repair_read_only);
  g_test_add_func ("/qcow2-check/repair/too-many-snapshots", test_too_many_snapshots);
  g_test_add_func ("/qcow2-check/repair/too-large-snapshots", test_too_large_snapshots);
  g_test_add_func ("/qcow2-check/open/dirty-snapshots", test_open_dirty_snapshots);
  g_test_add_func ("/qcow2-check/open/dirty", test_open_dirty);
  g_test_add_func ("/qcow2-check/open/beyond-repair", test_open_beyond_repair);
  return g_test_run ();
}
