/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Zeroes and discards: a change of L2 entries, and with an external data file of its bytes too.
 *
 * Version 2 has no zero clusters: there, what must read as zero can only be forgotten, and only if no
 * backing file would show through.
 *
 * A data file has no refcounts and no quarantine, and its clusters have fixed places: what is punched there
 * must be punched while the range is claimed, before anybody can write it again, and only where the
 * content may become zero. When the data file is to be readable on its own (raw), zeroes are written there
 * and the entries stay as they are.
 */

#include "config.h"

#include "img-qcow2-writer.h"

#define MAX_ENTRIES (IMG_TABLE_MAX_SLICE / sizeof (guint64))

static gboolean
has_raw_data_file (const ImgQcow2 *self)
{
  return self->has_data_file && (self->header->autoclear & IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE) != 0;
}

static gboolean
is_hole (const ImgQcow2 *self, ImgQcow2Entry entry)
{
  return !img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED | IMG_QCOW2_FLAG_ZERO) &&
         !img_qcow2_entry_has_cluster (self, entry) && entry.bitmap == 0;
}

/* ---- with extended L2 ---- */

static guint32
subclusters_between (const ImgQcow2 *self, guint64 start, guint64 end)
{
  guint first = (guint) (start >> self->subcluster_bits);
  guint last = (guint) ((end - 1) >> self->subcluster_bits);

  return (G_MAXUINT32 >> (31 - last)) & (G_MAXUINT32 << first);
}

/* [start, end) in the cluster reads as zero. FALSE: a part of a compressed cluster cannot. */
static gboolean
zero_extended (const ImgQcow2 *self,
               ImgQcow2Entry old,
               gboolean keep,
               guint64 start,
               guint64 end,
               ImgQcow2Entry *new)
{
  guint32 zeroed = subclusters_between (self, start, end);
  guint64 allocated = (guint32) old.bitmap & ~zeroed;
  guint64 zeroes = (old.bitmap >> IMG_QCOW2_SUBCLUSTERS) | zeroed;

  *new = (ImgQcow2Entry) { old.word, zeroes << IMG_QCOW2_SUBCLUSTERS | allocated };
  if (img_qcow2_entry_is (old, IMG_QCOW2_FLAG_COMPRESSED))
    {
      if (zeroed != G_MAXUINT32)
        return FALSE;
      new->word = 0;
    }
  else if (allocated == 0 && (!keep || !img_qcow2_entry_is (old, IMG_QCOW2_FLAG_COPIED)))
    new->word = 0;
  return TRUE;
}

/* ---- the new entry of one cluster ---- */

static ImgQcow2Entry
zero_standard (ImgQcow2Entry old, gboolean keep)
{
  gboolean has_own = !img_qcow2_entry_is (old, IMG_QCOW2_FLAG_COMPRESSED) &&
                     img_qcow2_entry_is (old, IMG_QCOW2_FLAG_COPIED);
  ImgQcow2Entry new = { IMG_QCOW2_FLAG_ZERO };

  if (keep && has_own)
    new.word |= old.word & (IMG_QCOW2_OFFSET_MASK | IMG_QCOW2_FLAG_COPIED);
  return new;
}

/* Version 2: no entry at all, if that reads as zero. */
static gboolean
forget_v2 (const ImgQcow2 *self, ImgQcow2Entry old, gboolean keep, ImgQcow2Entry *new)
{
  *new = (ImgQcow2Entry) { 0 };
  if (self->parent.has_backing)
    return FALSE;
  return !keep || is_hole (self, old);
}

/* The bytes [start, end) of a cluster; FALSE: there is no such entry. */
static gboolean
punch_entry (const ImgQcow2 *self,
             ImgQcow2Entry old,
             ImgPunchMode mode,
             guint64 start,
             guint64 end,
             ImgQcow2Entry *new)
{
  gboolean keep = mode == IMG_PUNCH_KEEP;

  *new = old;
  if (mode == IMG_PUNCH_BACKING)
    {
      *new = (ImgQcow2Entry) { 0 };
      return TRUE;
    }
  /* What is in no layer reads as zero, and takes no space. */
  if (mode == IMG_PUNCH_ANY && is_hole (self, old))
    return TRUE;
  if (self->header->version < 3)
    return forget_v2 (self, old, keep, new);
  if (self->has_extended_l2)
    return zero_extended (self, old, keep, start, end, new);
  *new = zero_standard (old, keep);
  return TRUE;
}

/* The part of [offset, offset + length) that lies in the cluster that @at begins. */
static void
get_part (const ImgQcow2 *self, guint64 offset, guint64 length, guint64 at, guint64 *start, guint64 *end)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (self);

  *start = MAX (offset, at) - at;
  *end = MIN (offset + length, at + cluster_size) - at;
  /* The cluster that the disk ends in ends with it. */
  if (at + *end >= self->parent.size)
    *end = cluster_size;
}

/* How many of the entries can be punched; they are replaced by what they become. */
static guint
punch_entries (const ImgQcow2 *self,
               guint64 offset,
               guint64 length,
               ImgPunchMode mode,
               ImgQcow2Entry *entries,
               guint n)
{
  guint64 first = img_align_down (offset, img_qcow2_get_cluster_size (self));

  for (guint i = 0; i < n; i++)
    {
      guint64 start, end;
      ImgQcow2Entry new;

      get_part (self, offset, length, first + ((guint64) i << self->cluster_bits), &start, &end);
      if (!punch_entry (self, entries[i], mode, start, end, &new))
        return i;
      entries[i] = new;
    }
  return n;
}

/* ---- plans ---- */

static ImgTransferKind
transfer_in_data_file (ImgPunchMode mode)
{
  switch (mode)
    {
    case IMG_PUNCH_KEEP:
      return IMG_TRANSFER_ZERO;
    case IMG_PUNCH_UNMAP:
    case IMG_PUNCH_ANY:
      return IMG_TRANSFER_ZERO_UNMAP;
    case IMG_PUNCH_BACKING: /* a crash before the entry is gone must not show zeroes */
    default:
      return IMG_TRANSFER_NONE;
    }
}

static ImgTableResult
prepare (ImgQcow2 *self, ImgPlan *plan, gboolean *is_supported, ImgError **error)
{
  ImgQcow2Entry entries[MAX_ENTRIES];
  guint n = img_qcow2_count_in_slice (self, plan->offset, plan->length);
  guint64 first = img_align_down (plan->offset, img_qcow2_get_cluster_size (self));
  guint n_punched;

  if (!img_qcow2_begin_write (self, error) ||
      !img_qcow2_read_entries (self, plan->offset, n, entries, error))
    return IMG_TABLE_ERROR;
  n_punched = punch_entries (self, plan->offset, plan->length, (ImgPunchMode) plan->entry, entries, n);
  *is_supported = n_punched > 0;
  n = MAX (n_punched, 1);
  plan->length =
    MIN (plan->length, first + ((guint64) n << self->cluster_bits) - plan->offset);
  return IMG_TABLE_OK;
}

/* The whole of what one L1 entry maps, if there is no table and nothing has to be said of it. */
static gboolean
skip_empty_table (const ImgQcow2 *self, ImgPlan *plan, ImgPunchMode mode)
{
  guint64 index = plan->offset >> self->l1_shift;
  gboolean reads_as_zero = self->header->version < 3 && !self->parent.has_backing;

  if ((self->l1[index] & IMG_QCOW2_OFFSET_MASK) != 0 ||
      (mode != IMG_PUNCH_ANY && mode != IMG_PUNCH_BACKING && !reads_as_zero))
    return FALSE;
  plan->length = MIN (plan->length, ((index + 1) << self->l1_shift) - plan->offset);
  return TRUE;
}

ImgPrepareResult
img_qcow2_prepare_punch (ImgLayout *layout,
                         guint64 offset,
                         guint64 length,
                         ImgPunchMode mode,
                         ImgPlan *plan,
                         ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  gboolean is_supported = TRUE;
  ImgTableResult result;

  *plan = (ImgPlan) {
    .offset = offset,
    .length = length,
    .storage = self->data_storage,
    .host_offset = offset, /* if there is a data file */
    .kind = IMG_QCOW2_PLAN_PUNCH,
    .entry = mode,
    .needs_commit = !has_raw_data_file (self) || mode == IMG_PUNCH_BACKING,
  };
  if (!img_qcow2_writer_check (self, error))
    return IMG_PREPARE_ERROR;
  if (self->has_data_file)
    plan->transfer = transfer_in_data_file (mode);
  img_qcow2_quarantine_release (self);
  img_turn_take (&self->writer->turn);
  if (img_qcow2_quarantine_is_full (self))
    result = IMG_TABLE_FULL;
  else if (plan->transfer == IMG_TRANSFER_NONE && skip_empty_table (self, plan, mode))
    {
      plan->needs_commit = FALSE;
      result = IMG_TABLE_OK;
    }
  else
    result = prepare (self, plan, &is_supported, error);
  img_turn_give (&self->writer->turn);
  if (!is_supported)
    return IMG_PREPARE_UNSUPPORTED;
  return img_qcow2_to_prepare (result);
}

ImgTableResult
img_qcow2_commit_punch (ImgQcow2 *self, const ImgPlan *plan, ImgError **error)
{
  ImgQcow2Entry entries[MAX_ENTRIES];
  guint n = img_qcow2_count_in_slice (self, plan->offset, plan->length);
  guint n_punched;

  if (!img_qcow2_read_entries (self, plan->offset, n, entries, error))
    return IMG_TABLE_ERROR;
  n_punched = punch_entries (self, plan->offset, plan->length, (ImgPunchMode) plan->entry, entries, n);
  g_assert (n_punched == n); /* as it was planned: the range is claimed */
  return img_qcow2_edit_entries (self, plan->offset, n, entries, error);
}
