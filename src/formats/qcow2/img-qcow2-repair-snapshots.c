/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A snapshot table without what a table may not have: entries beyond the limits are no longer counted, extra data of an
 * entry is cut, and where numbers that are known are missing in it, they are added. Everything else in an entry
 * stays as it is. "Snapshots" in the specification. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-mutant.h"
#include "img-qcow2-cursor.h"
#include "img-qcow2-repair-private.h"
#include "img-qcow2-snapshot.h"

#define SNAPSHOTS_AT 60
#define LENGTH_AT 36 /* of extra data, in an entry */
#define VM_STATE_SIZE_AT 32
#define NO_ICOUNT G_MAXUINT64

typedef struct
{
  ImgQcow2Checker *checker;
  ImgQcow2Cursor old;
  guint8 *bytes; /* of the new table */
  gsize size;
  gsize at;
} Table;

static void
store_be64 (guint8 *bytes, guint64 value)
{
  guint64 stored = GUINT64_TO_BE (value);

  memcpy (bytes, &stored, sizeof stored);
}

static void
store_be32 (guint8 *bytes, guint32 value)
{
  guint32 stored = GUINT32_TO_BE (value);

  memcpy (bytes, &stored, sizeof stored);
}

static guint32
get_new_extra (guint32 extra_length)
{
  return CLAMP (extra_length, IMG_QCOW2_SNAPSHOT_KNOWN_EXTRA, IMG_QCOW2_MAX_SNAPSHOT_EXTRA);
}

/* ---- entries ---- */

/* @extra has @length bytes of the old entry, which is less than all that is known. */
static void
complete_extra (const Table *self, const guint8 *fixed, guint8 *extra, guint32 length)
{
  if (length < 8)
    store_be64 (extra, img_read_be32 (fixed + VM_STATE_SIZE_AT));
  if (length < IMG_QCOW2_SNAPSHOT_MIN_EXTRA)
    store_be64 (extra + 8, self->checker->header->size);
  store_be64 (extra + IMG_QCOW2_SNAPSHOT_MIN_EXTRA, NO_ICOUNT);
}

static void
say_repaired (const Table *self, guint index, guint32 extra_length)
{
  const ImgQcow2Checker *checker = self->checker;
  guint64 offset = checker->header->snapshots_offset;

  if (extra_length > IMG_QCOW2_MAX_SNAPSHOT_EXTRA)
    img_check_result_say (checker->result, IMG_CHECK_REPAIRED, offset,
                          "Discarding too much extra metadata in snapshot table entry %u (%u > %u)",
                          index, extra_length, IMG_QCOW2_MAX_SNAPSHOT_EXTRA);
  if (img_qcow2_checker_is_incomplete (checker, extra_length))
    img_check_result_say (checker->result, IMG_CHECK_REPAIRED, offset,
                          "Repairing snapshot table entry %u is incomplete", index);
}

/* The old table has been measured; it is no longer the same if somebody writes to it meanwhile. */
static gboolean
check_room (const Table *self, gsize length, ImgError **error)
{
  if (length <= self->size - self->at)
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _("The snapshot table has changed while it was read"));
  return FALSE;
}

/* Copies what comes next in the old table. */
static gboolean
copy (Table *self, gsize length, ImgError **error)
{
  const guint8 *bytes = NULL;

  if (check_room (self, length, error))
    bytes = img_qcow2_cursor_take (&self->old, length, error);
  if (bytes == NULL)
    return FALSE;
  memcpy (self->bytes + self->at, bytes, length);
  self->at += length;
  return TRUE;
}

static gboolean
copy_extra (Table *self, const guint8 *fixed, guint32 length, ImgError **error)
{
  guint32 kept = MIN (length, IMG_QCOW2_MAX_SNAPSHOT_EXTRA);
  guint8 *extra = self->bytes + self->at;

  if (!check_room (self, get_new_extra (length), error) || !copy (self, kept, error) ||
      !img_qcow2_cursor_skip (&self->old, length - kept, error))
    return FALSE;
  if (length < IMG_QCOW2_SNAPSHOT_KNOWN_EXTRA)
    complete_extra (self, fixed, extra, length);
  self->at = (gsize) (extra - self->bytes) + get_new_extra (length);
  return TRUE;
}

static gboolean
copy_entry (Table *self, guint index, ImgError **error)
{
  guint64 old_start = self->old.at;
  gsize start = self->at;
  guint8 *fixed = self->bytes + start;
  guint32 extra_length;

  if (!copy (self, IMG_QCOW2_SNAPSHOT_LENGTH, error))
    return FALSE;
  extra_length = img_read_be32 (fixed + LENGTH_AT);
  store_be32 (fixed + LENGTH_AT, get_new_extra (extra_length));
  if (!copy_extra (self, fixed, extra_length, error) ||
      !copy (self, img_read_be16 (fixed + 12), error) ||
      !copy (self, img_read_be16 (fixed + 14), error))
    return FALSE;
  say_repaired (self, index, extra_length);
  img_qcow2_cursor_align (&self->old, old_start);
  /* The table's size is a multiple of eight, as the size of a cluster is. */
  self->at = start + (gsize) img_align_up (self->at - start, 8);
  return TRUE;
}

static gboolean
fill_table (Table *self, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  const ImgQcow2Header *header = checker->header;
  gboolean success = TRUE;

  if (!img_qcow2_cursor_init (&self->old, checker->storage, header->snapshots_offset,
                              header->file_size, _("Snapshot table"), checker->cancel, error))
    return FALSE;
  for (guint i = 0; success && i < checker->snapshots->len; i++)
    success = copy_entry (self, i, error);
  img_qcow2_cursor_clear (&self->old);
  return success;
}

/* ---- its place ---- */

static gboolean
is_free (ImgQcow2Checker *checker, guint64 cluster)
{
  return img_qcow2_checker_has_block (checker, cluster >> checker->block_bits) &&
         (cluster >= checker->n_clusters ||
          img_qcow2_counts_get (&checker->references, cluster) == 0) &&
         (cluster < checker->n_file_clusters ||
          img_qcow2_counts_get (checker->past_end, cluster - checker->n_file_clusters) == 0);
}

/* The first of @n clusters that nothing refers to, and that have refcounts, whatever these say; 0: there are none. */
static guint64
find_place (ImgQcow2Checker *checker, guint64 n)
{
  guint64 end = MIN (checker->n_file_clusters + checker->past_end->n,
                     checker->n_refcount_blocks << checker->block_bits);
  guint64 n_free = 0;

  for (guint64 i = 1; i < end; i++)
    {
      n_free = is_free (checker, i) ? n_free + 1 : 0;
      if (n_free == n)
        return i + 1 - n;
    }
  return 0;
}

/* Refcounts of 1 for @n clusters from @first on, in the block that counts for the first one at least. */
static gboolean
count_in_block (ImgQcow2Checker *checker, guint64 first, guint64 n, guint8 *block, ImgError **error)
{
  guint64 offset = checker->refcount_table[first >> checker->block_bits];
  guint64 in_block = first & (((guint64) 1 << checker->block_bits) - 1);
  gsize size = (gsize) checker->cluster_size;

  if (!img_storage_read (checker->storage, offset, block, size, error))
    return FALSE;
  for (guint64 i = 0; i < n; i++)
    img_qcow2_refcount_write (block, in_block + i, checker->header->refcount_order, 1);
  return img_storage_write (checker->storage, offset, block, size, error);
}

static gboolean
count_place (ImgQcow2Checker *checker, guint64 first, guint64 n, ImgError **error)
{
  g_autoptr (ImgBuffer) block = img_try_alloc ((gsize) checker->cluster_size, error);
  guint64 end = first + n;

  if (block == NULL)
    return FALSE;
  while (first < end)
    {
      guint64 next = MIN (((first >> checker->block_bits) + 1) << checker->block_bits, end);

      if (img_cancel_check (checker->cancel, error) ||
          !count_in_block (checker, first, next - first, block, error))
        return FALSE;
      first = next;
    }
  return img_mutant_is_on (IMG_MUTANT_REPAIR_SKIP_FLUSH_TABLE) ||
         img_storage_flush (checker->storage, error);
}

/* The number and the offset lie next to each other; in version 2 and 3 both are in the first sector. */
static gboolean
switch_header (ImgQcow2Checker *checker, guint64 offset, ImgError **error)
{
  guint8 bytes[sizeof (guint32) + sizeof (guint64)];

  store_be32 (bytes, checker->snapshots->len);
  store_be64 (bytes + sizeof (guint32), offset);
  return img_storage_write (checker->storage, SNAPSHOTS_AT, bytes, sizeof bytes, error) &&
         img_storage_flush (checker->storage, error);
}

static gboolean
write_table (Table *self, guint64 first, guint64 n, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  gsize size = (gsize) n << checker->cluster_bits;
  g_autoptr (ImgBuffer) bytes = img_try_alloc0 (1, size, error);

  self->bytes = bytes;
  self->size = size;
  return bytes != NULL && fill_table (self, error) &&
         img_storage_write (checker->storage, first << checker->cluster_bits, bytes, size, error) &&
         img_storage_flush (checker->storage, error) && count_place (checker, first, n, error);
}

static guint64
measure (const ImgQcow2Checker *checker)
{
  guint64 length = 0;

  for (guint i = 0; i < checker->snapshots->len; i++)
    {
      const ImgQcow2CheckedSnapshot *snapshot =
        &g_array_index (checker->snapshots, ImgQcow2CheckedSnapshot, i);

      length += img_align_up (IMG_QCOW2_SNAPSHOT_LENGTH + get_new_extra (snapshot->extra_length) +
                                snapshot->strings_length, 8);
    }
  return length;
}

static void
say_overhanging (const ImgQcow2Checker *checker)
{
  guint64 offset = checker->header->snapshots_offset;

  if (checker->n_too_many > 0)
    img_check_result_say (checker->result, IMG_CHECK_REPAIRED, offset,
                          "Discarding %" PRIu64 " overhanging snapshots", checker->n_too_many);
  if (checker->n_too_far > 0)
    img_check_result_say (checker->result, IMG_CHECK_REPAIRED, offset,
                          "Discarding %" PRIu64
                          " overhanging snapshots (snapshot table is too big)",
                          checker->n_too_far);
}

gboolean
img_qcow2_repair_wants_snapshots (const ImgQcow2Checker *checker)
{
  return checker->needs_snapshot_table || checker->n_too_many > 0 || checker->n_too_far > 0;
}

gboolean
img_qcow2_repair_snapshots (ImgQcow2Checker *checker, guint64 *n_missing, ImgError **error)
{
  Table table = { .checker = checker };
  guint64 length = measure (checker);
  guint64 n = img_div_round_up (length, checker->cluster_size);
  guint64 offset = checker->header->snapshots_offset;

  *n_missing = 0;
  /* What is missing in the entries makes it too large: it stays as it is. */
  if (length > IMG_QCOW2_MAX_SNAPSHOT_TABLE)
    return TRUE;
  if (checker->needs_snapshot_table && n > 0)
    {
      guint64 first = find_place (checker, n);

      *n_missing = first == 0 ? n : 0;
      if (first == 0)
        return TRUE;
      if (!write_table (&table, first, n, error))
        return FALSE;
      offset = first << checker->cluster_bits;
    }
  say_overhanging (checker);
  return switch_header (checker, offset, error);
}
