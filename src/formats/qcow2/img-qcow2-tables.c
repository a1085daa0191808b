/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* L2 tables for writing: making them, copying those that a snapshot shares, and editing entries. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-writer.h"

guint
img_qcow2_count_in_slice (const ImgQcow2 *self, guint64 offset, guint64 length)
{
  guint64 start = offset >> self->cluster_bits;
  guint64 end = img_div_round_up (offset + length, img_qcow2_get_cluster_size (self));
  guint left = (1u << self->slice_bits) - img_qcow2_entry_index (self, offset);

  return (guint) MIN (end - start, left);
}

static gboolean
check_table (ImgQcow2 *self, guint64 table, guint64 offset, ImgError **error)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (self);

  if (G_LIKELY (img_is_aligned (table, cluster_size) &&
                img_range_fits (table, cluster_size, img_qcow2_get_end (self))))
    return TRUE;
  img_qcow2_mark_corrupt (self, error,
                          _("The L2 table for offset 0x%" PRIx64
                            " is not aligned or lies outside the file: offset 0x%" PRIx64),
                          offset, table);
  return FALSE;
}

/* The slices of the table at @table for guest @offset: the cache has nothing of what was there before. */
static void
forget_slices (ImgQcow2 *self, guint64 table, guint64 offset)
{
  guint64 start = img_align_down (offset, (guint64) 1 << self->l1_shift);
  guint64 end = start + ((guint64) 1 << self->l1_shift);

  for (guint64 at = start; at < end; at += (guint64) 1 << self->slice_shift)
    img_table_cache_forget (self->tables, at >> self->slice_shift,
                            img_qcow2_slice_host (self, table, at));
}

void
img_qcow2_forget_table (ImgQcow2 *self, guint64 offset, guint64 table)
{
  forget_slices (self, table, offset);
  g_hash_table_remove (self->writer->fresh, &table);
  img_cluster_set_remove (self->writer->metadata, table >> self->cluster_bits, 1);
}

/* A table that is not COPIED is never edited, so the file has all of it. */
static guint8 *
read_table (ImgQcow2 *self, guint64 table, ImgError **error)
{
  gsize size = (gsize) img_qcow2_get_cluster_size (self);
  g_autoptr (ImgBuffer) content = img_try_alloc (size, error);

  if (content == NULL || !img_storage_read (self->parent.storage, table, content, size, error))
    return NULL;
  return g_steal_pointer (&content);
}

static void
adopt_table (ImgQcow2 *self, guint64 offset, guint64 old, guint64 new)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 *key = g_new (guint64, 1);

  *key = new;
  g_hash_table_add (writer->fresh, key);
  forget_slices (self, new, offset);
  img_qcow2_whole_table_set (&writer->l1, offset >> self->l1_shift, new | IMG_QCOW2_FLAG_COPIED);
  if (old == 0)
    return;
  img_cluster_set_remove (writer->metadata, old >> self->cluster_bits, 1);
  img_qcow2_drop_clusters (self, old >> self->cluster_bits, 1);
}

ImgTableResult
img_qcow2_own_table (ImgQcow2 *self, guint64 offset, guint64 *table, ImgError **error)
{
  guint64 entry = self->l1[offset >> self->l1_shift];
  guint64 old = entry & IMG_QCOW2_OFFSET_MASK;
  g_autoptr (ImgBuffer) content = NULL;
  ImgTableResult result;

  *table = old;
  if (old != 0 && !check_table (self, old, offset, error))
    return IMG_TABLE_ERROR;
  if (old != 0 && (entry & IMG_QCOW2_FLAG_COPIED) != 0)
    return IMG_TABLE_OK;
  if (old != 0)
    {
      content = read_table (self, old, error);
      if (content == NULL)
        return IMG_TABLE_ERROR;
    }
  result = img_qcow2_make_table (self, content, table, error);
  if (result == IMG_TABLE_OK)
    adopt_table (self, offset, old, *table);
  return result;
}

/* ---- entries ---- */

gboolean
img_qcow2_read_entries (ImgQcow2 *self,
                        guint64 offset,
                        guint n,
                        ImgQcow2Entry *entries,
                        ImgError **error)
{
  guint64 table = self->l1[offset >> self->l1_shift] & IMG_QCOW2_OFFSET_MASK;
  ImgTableView view;

  memset (entries, 0, n * sizeof *entries);
  if (table == 0)
    return TRUE;
  if (!check_table (self, table, offset, error))
    return FALSE;
  do
    {
      if (img_table_cache_look (self->tables, offset >> self->slice_shift,
                                img_qcow2_slice_host (self, table, offset), IMG_MAP_NONE, &view,
                                error) != IMG_MAP_OK)
        return FALSE;
      for (guint i = 0; i < n; i++)
        entries[i] = img_qcow2_entry_read (self, &view, offset + ((guint64) i << self->cluster_bits));
    }
  while (!img_table_view_end (&view));
  return TRUE;
}

static ImgQcow2Entry
get_entry (const ImgQcow2 *self, const ImgTableEdit *edit, guint index)
{
  if (self->has_extended_l2)
    return (ImgQcow2Entry) { img_table_edit_get (edit, 2 * index),
                             img_table_edit_get (edit, 2 * index + 1) };
  return (ImgQcow2Entry) { img_table_edit_get (edit, index), 0 };
}

static void
set_entry (const ImgQcow2 *self, ImgTableEdit *edit, guint index, ImgQcow2Entry entry)
{
  if (self->has_extended_l2)
    {
      img_table_edit_set (edit, 2 * index, entry.word);
      img_table_edit_set (edit, 2 * index + 1, entry.bitmap);
    }
  else
    img_table_edit_set (edit, index, entry.word);
}

/* Whether both point to the same cluster as a whole. */
static gboolean
share_cluster (ImgQcow2Entry a, ImgQcow2Entry b)
{
  return !img_qcow2_entry_is (a, IMG_QCOW2_FLAG_COMPRESSED) &&
         !img_qcow2_entry_is (b, IMG_QCOW2_FLAG_COMPRESSED) &&
         img_qcow2_entry_get_host (a) == img_qcow2_entry_get_host (b);
}

ImgTableResult
img_qcow2_edit_entries (ImgQcow2 *self,
                        guint64 offset,
                        guint n,
                        const ImgQcow2Entry *entries,
                        ImgError **error)
{
  guint first = img_qcow2_entry_index (self, offset);
  g_autofree ImgQcow2Entry *old = g_new (ImgQcow2Entry, n);
  ImgTableResult result;
  ImgTableEdit edit;
  guint64 table;

  result = img_qcow2_own_table (self, offset, &table, error);
  if (result == IMG_TABLE_OK)
    result = img_table_cache_begin_edit (self->tables, offset >> self->slice_shift,
                                         img_qcow2_slice_host (self, table, offset), &edit, error);
  if (result != IMG_TABLE_OK)
    return result;
  for (guint i = 0; i < n; i++)
    {
      old[i] = get_entry (self, &edit, first + i);
      if (old[i].word != entries[i].word || old[i].bitmap != entries[i].bitmap)
        set_entry (self, &edit, first + i, entries[i]);
    }
  img_table_edit_end (&edit);
  for (guint i = 0; i < n; i++)
    if (!share_cluster (old[i], entries[i]))
      img_qcow2_drop_entry (self, old[i]);
  return IMG_TABLE_OK;
}
