/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A new refcount structure: blocks, then the table, in one piece behind all that the file has. They count
 * themselves. The header points to the new table when all of it is durable; the clusters of the old structure
 * have no references in the new one. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-mutant.h"
#include "img-qcow2-repair-private.h"

#define TABLE_AT 48

typedef struct
{
  ImgQcow2Checker *checker;
  guint64 n_old;        /* blocks that count anything there is already */
  gboolean last_is_old; /* the last one that could is one of them */
  guint64 first;        /* cluster of the first block */
  guint64 n_blocks;
  guint64 n_table;      /* clusters of the table */
  guint64 n_entries;    /* of the table that are needed */
  guint64 *table;
} Plan;

static guint64
get_end (const Plan *self)
{
  return self->first + self->n_blocks + self->n_table;
}

static gboolean
counts_old (const ImgQcow2Checker *checker, guint64 index)
{
  guint64 start = index << checker->block_bits;
  guint64 end = MIN ((index + 1) << checker->block_bits, checker->references.n);

  for (guint64 i = start; i < end; i++)
    if (img_qcow2_counts_get (&checker->references, i) != 0)
      return TRUE;
  return FALSE;
}

static guint64
count_old_blocks (const ImgQcow2Checker *checker)
{
  return img_div_round_up (checker->references.n, (guint64) 1 << checker->block_bits);
}

static void
count_old (Plan *self)
{
  guint64 n = count_old_blocks (self->checker);

  for (guint64 i = 0; i < n; i++)
    {
      self->last_is_old = counts_old (self->checker, i);
      self->n_old += self->last_is_old ? 1 : 0;
    }
}

/* Whether the block counts anything; from the one with the first new cluster on, all do. */
static gboolean
is_needed (const Plan *self, guint64 index)
{
  return index >= self->first >> self->checker->block_bits || counts_old (self->checker, index);
}

/* The same, counted: the new clusters begin in the last old block, or behind it. */
static guint64
count_needed (const Plan *self)
{
  guint64 first_new = self->first >> self->checker->block_bits;
  gboolean is_shared = first_new < count_old_blocks (self->checker) && self->last_is_old;

  return self->n_old - (is_shared ? 1 : 0) + self->n_entries - first_new;
}

/* More blocks make the file longer, and a longer file needs more blocks; that ends soon, as a block counts for
 * many. */
static void
plan_size (Plan *self)
{
  const ImgQcow2Checker *checker = self->checker;
  guint64 in_table = checker->cluster_size / sizeof (guint64);
  guint64 before;

  do
    {
      before = get_end (self);
      self->n_entries = img_div_round_up (before, (guint64) 1 << checker->block_bits);
      self->n_table = img_div_round_up (self->n_entries, in_table);
      self->n_blocks = count_needed (self);
    }
  while (get_end (self) != before);
}

static gboolean
check_limits (const Plan *self, ImgError **error)
{
  guint64 max = IMG_QCOW2_MAX_REFCOUNT_TABLE_SIZE >> self->checker->cluster_bits;

  if (self->n_table <= max)
    return TRUE;
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                 _("A new refcount table would be too large: %" PRIu64 " clusters"), self->n_table);
  return FALSE;
}

static void
fill_block (const Plan *self, guint64 index, guint8 *block)
{
  const ImgQcow2Checker *checker = self->checker;
  guint64 start = index << checker->block_bits;
  guint64 end = MIN ((index + 1) << checker->block_bits, get_end (self));

  memset (block, 0, (gsize) checker->cluster_size);
  for (guint64 i = start; i < end; i++)
    {
      guint64 value = 1;

      if (i < self->first)
        value = MIN (img_qcow2_counts_get (&checker->references, i), checker->max_refcount);
      img_qcow2_refcount_write (block, i - start, checker->header->refcount_order, value);
    }
}

static gboolean
write_blocks (const Plan *self, guint8 *block, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  guint64 cluster = self->first;
  guint64 size = self->n_blocks << checker->cluster_bits;

  img_qcow2_check_meter_pass (checker->meter, size);
  img_qcow2_check_meter_stage (checker->meter, size);
  for (guint64 i = 0; i < self->n_entries; i++)
    {
      guint64 offset = cluster << checker->cluster_bits;

      if (!is_needed (self, i))
        continue;
      if (!img_qcow2_checker_look (checker, i, self->n_entries, error))
        return FALSE;
      fill_block (self, i, block);
      if (!img_storage_write (checker->storage, offset, block, (gsize) checker->cluster_size, error))
        return FALSE;
      self->table[i] = GUINT64_TO_BE (offset);
      cluster++;
    }
  return TRUE;
}

/* Offset and length lie next to each other in one sector. */
static gboolean
switch_header (const Plan *self, guint64 offset, ImgError **error)
{
  ImgStorage *storage = self->checker->storage;
  guint64 stored_offset = GUINT64_TO_BE (offset);
  guint32 stored_clusters = GUINT32_TO_BE ((guint32) self->n_table);
  guint8 bytes[sizeof stored_offset + sizeof stored_clusters];

  memcpy (bytes, &stored_offset, sizeof stored_offset);
  memcpy (bytes + sizeof stored_offset, &stored_clusters, sizeof stored_clusters);
  return img_storage_write (storage, TABLE_AT, bytes, sizeof bytes, error) &&
         img_storage_flush (storage, error);
}

static gboolean
write_all (Plan *self, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  guint64 offset = (self->first + self->n_blocks) << checker->cluster_bits;
  gsize size = (gsize) self->n_table << checker->cluster_bits;
  g_autoptr (ImgBuffer) block = img_try_alloc ((gsize) checker->cluster_size, error);
  g_autoptr (ImgWords) table = img_try_alloc0 (1, size, error);

  self->table = table;
  return block != NULL && table != NULL && write_blocks (self, block, error) &&
         img_storage_write (checker->storage, offset, table, size, error) &&
         (img_mutant_is_on (IMG_MUTANT_REPAIR_SKIP_FLUSH_REBUILD) ||
          img_storage_flush (checker->storage, error)) &&
         switch_header (self, offset, error);
}

guint64
img_qcow2_repair_count_past_end (const ImgQcow2Checker *checker)
{
  return 4 * checker->n_file_clusters + 65536;
}

/* The first clusters behind the file where nothing refers to any of the new ones; *skips: some before them are
 * referred to. */
static gboolean
find_room (Plan *self, gboolean *skips, ImgError **error)
{
  const ImgQcow2Checker *checker = self->checker;
  const ImgQcow2Counts *past_end = checker->past_end;
  guint64 room = 0;
  guint64 i = checker->n_clusters - checker->n_file_clusters;

  *skips = FALSE;
  count_old (self);
  self->first = checker->n_clusters;
  plan_size (self);
  for (; i < past_end->n; i++)
    {
      if (room == get_end (self) - self->first)
        return TRUE;
      room++;
      if (img_qcow2_counts_get (past_end, i) == 0)
        continue;
      *skips = TRUE;
      room = 0;
      self->first = checker->n_file_clusters + i + 1;
      plan_size (self);
    }
  img_error_set (error, IMG_CODE_CORRUPT,
                 _("Damaged entries refer to all places where a new refcount structure could be"));
  return FALSE;
}

gboolean
img_qcow2_repair_reserve (ImgQcow2Checker *checker, guint64 n, guint64 *end, ImgError **error)
{
  guint64 first = checker->n_clusters;
  guint64 first_past_end = first - checker->n_file_clusters;
  guint64 excess = 0;

  *end = 0;
  if (n > checker->past_end->n - MIN (first_past_end, checker->past_end->n))
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("There is no room for a new snapshot table: %" PRIu64 " clusters"), n);
      return FALSE;
    }
  for (guint64 i = n; i > 0; i--)
    if (img_qcow2_counts_get (checker->past_end, first_past_end + i - 1) != 0)
      {
        *end = (first + i) << checker->cluster_bits;
        return TRUE;
      }
  if (!img_qcow2_counts_grow (&checker->references, first + n, error) ||
      !img_qcow2_counts_add (&checker->references, first, n, 1, G_MAXINT64, &excess, error))
    return FALSE;
  checker->n_clusters = first + n;
  return TRUE;
}

gboolean
img_qcow2_repair_rebuild (ImgQcow2Checker *checker, guint64 *end, ImgError **error)
{
  Plan plan = { checker };
  gboolean skips;

  *end = 0;
  if (!find_room (&plan, &skips, error) || !check_limits (&plan, error))
    return FALSE;
  if (skips)
    {
      *end = plan.first << checker->cluster_bits;
      return TRUE;
    }
  img_check_result_say (checker->result, IMG_CHECK_REPAIRED, plan.first << checker->cluster_bits,
                        "Rebuilding refcount structure");
  return write_all (&plan, error);
}
