/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The steps of a resize: see ImgLayoutClass. Nobody else is inside the image.
 *
 * A longer L1 table is written to new clusters, together with their refcounts, and is durable before the header
 * points to it; then the old one is dropped. The size in the header changes with one write. A crash in
 * between leaves the old size.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-writer.h"

/* Offsets in the header. */
#define SIZE_AT 24
#define L1_AT 36 /* 4 bytes of entries, 8 bytes of offset */

#define L1_STEP IMG_MIB

static gboolean
check_size (const ImgQcow2 *self, guint64 size, guint64 n_entries, ImgError **error)
{
  if (self->header->version < 3 && self->header->n_snapshots > 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED,
                   _("An image of version 2 with snapshots cannot change its size"));
  else if (n_entries > IMG_QCOW2_MAX_L1_SIZE / sizeof (guint64))
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                   _("With clusters of %" PRIu64 " bytes a disk cannot have %" PRIu64 " bytes"),
                   img_qcow2_get_cluster_size (self), size);
  else
    return TRUE;
  return FALSE;
}

static gboolean
write_l1_pointer (ImgQcow2 *self, guint64 offset, guint64 n_entries, ImgError **error)
{
  guint8 bytes[12];
  guint32 stored_n = GUINT32_TO_BE ((guint32) n_entries);
  guint64 stored_offset = GUINT64_TO_BE (offset);

  memcpy (bytes, &stored_n, sizeof stored_n);
  memcpy (bytes + sizeof stored_n, &stored_offset, sizeof stored_offset);
  return img_storage_write (self->parent.storage, L1_AT, bytes, sizeof bytes, error);
}

/* Header and file say where L1 is, with one write. One that failed may be in the file nevertheless, and
 * where that cannot be undone nobody knows which of the two tables the file points to. */
static gboolean
publish_l1 (ImgQcow2 *self, guint64 offset, guint64 n_entries, ImgError **error)
{
  const ImgQcow2WholeTable *old = &self->writer->l1;

  if (write_l1_pointer (self, offset, n_entries, error))
    {
      if (img_storage_flush (self->parent.storage, error))
        return TRUE;
    }
  else if (write_l1_pointer (self, old->offset, old->n_entries, NULL))
    return FALSE;
  img_qcow2_writer_poison (self);
  return FALSE;
}

/* In steps: the table may be large, and there are two of it in memory already. */
static gboolean
write_l1 (ImgQcow2 *self, const guint64 *entries, guint64 n, guint64 offset, ImgError **error)
{
  guint64 n_words = img_align_up (n * sizeof (guint64), img_qcow2_get_cluster_size (self)) /
                    sizeof (guint64);
  guint64 step = MIN (n_words, L1_STEP / sizeof (guint64));
  g_autoptr (ImgWords) words = img_try_alloc ((gsize) (step * sizeof (guint64)), error);

  if (words == NULL)
    return FALSE;
  for (guint64 at = 0; at < n_words; at += step)
    {
      step = MIN (step, n_words - at);
      for (guint64 i = 0; i < step; i++)
        words[i] = at + i < n ? GUINT64_TO_BE (entries[at + i]) : 0;
      if (!img_storage_write (self->parent.storage, offset + at * sizeof (guint64), words,
                              (gsize) (step * sizeof (guint64)), error))
        return FALSE;
    }
  return TRUE;
}

static guint64 *
extend_l1 (ImgQcow2 *self, guint64 n, ImgError **error)
{
  guint64 *entries = img_try_alloc0 (n, sizeof (guint64), error);

  if (entries != NULL && self->writer->l1.n_entries > 0)
    memcpy (entries, self->l1, self->writer->l1.n_entries * sizeof (guint64));
  return entries;
}

static guint64
l1_clusters (const ImgQcow2 *self, guint64 n_entries)
{
  return img_div_round_up (n_entries * sizeof (guint64), img_qcow2_get_cluster_size (self));
}

/* With the turn. Cannot fail. */
static void
adopt_l1 (ImgQcow2 *self, guint64 *entries, guint64 n, guint64 offset)
{
  ImgQcow2WholeTable *l1 = &self->writer->l1;
  guint64 old_first = l1->offset >> self->cluster_bits;
  guint64 old_clusters = l1_clusters (self, l1->n_entries);

  img_cluster_set_remove (self->writer->metadata, old_first, old_clusters);
  img_qcow2_drop_clusters (self, old_first, old_clusters);
  img_free (self->l1);
  self->l1 = l1->entries = entries;
  l1->n_entries = n;
  l1->offset = offset;
  self->header->l1_offset = offset;
  self->header->l1_entries = (guint32) n;
}

/* With the turn: clusters for the table, protected. */
static ImgTableResult
take_l1_clusters (ImgQcow2 *self, guint64 n_clusters, guint64 *first, ImgError **error)
{
  ImgTableResult result;

  if (!img_qcow2_begin_write (self, error))
    return IMG_TABLE_ERROR;
  result = img_qcow2_allocate_at_end (self, n_clusters, first, error);
  if (result != IMG_TABLE_OK)
    return result;
  if (img_cluster_set_add (self->writer->metadata, *first, n_clusters, error))
    return IMG_TABLE_OK;
  img_qcow2_drop_clusters (self, *first, n_clusters);
  return IMG_TABLE_ERROR;
}

static gboolean
allocate_l1 (ImgQcow2 *self, guint64 n_clusters, guint64 *first, ImgError **error)
{
  for (;;)
    {
      ImgTableResult result;

      img_turn_take (&self->writer->turn);
      result = take_l1_clusters (self, n_clusters, first, error);
      img_turn_give (&self->writer->turn);
      if (result != IMG_TABLE_FULL)
        return result == IMG_TABLE_OK;
      if (!img_qcow2_flush (&self->parent, error))
        return FALSE;
    }
}

static void
give_up_l1 (ImgQcow2 *self, guint64 first, guint64 n_clusters, guint64 *entries)
{
  img_turn_take (&self->writer->turn);
  img_cluster_set_remove (self->writer->metadata, first, n_clusters);
  img_qcow2_drop_clusters (self, first, n_clusters);
  img_turn_give (&self->writer->turn);
  img_free (entries);
}

static gboolean
grow_l1 (ImgQcow2 *self, guint64 n, ImgError **error)
{
  guint64 n_clusters = l1_clusters (self, n);
  guint64 *entries = extend_l1 (self, n, error);
  guint64 first, offset;

  if (entries == NULL || !allocate_l1 (self, n_clusters, &first, error))
    {
      img_free (entries);
      return FALSE;
    }
  offset = first << self->cluster_bits;
  if (!write_l1 (self, entries, n, offset, error) || !img_qcow2_flush (&self->parent, error) ||
      !publish_l1 (self, offset, n, error))
    {
      give_up_l1 (self, first, n_clusters, entries);
      return FALSE;
    }
  img_turn_take (&self->writer->turn);
  adopt_l1 (self, entries, n, offset);
  img_turn_give (&self->writer->turn);
  return TRUE;
}

gboolean
img_qcow2_reserve (ImgLayout *layout, guint64 size, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  guint64 n_entries = img_qcow2_header_count_l1_entries (self->header, size);

  if (!img_qcow2_writer_check (self, error) || !check_size (self, size, n_entries, error))
    return FALSE;
  if (n_entries > self->writer->l1.n_entries && !grow_l1 (self, n_entries, error))
    return FALSE;
  self->n_l1_entries = MAX (self->n_l1_entries, n_entries);
  return !self->has_data_file || img_storage_truncate (self->data_storage, size, error);
}

static gboolean
write_size (ImgQcow2 *self, guint64 size, ImgError **error)
{
  guint64 stored = GUINT64_TO_BE (size);

  return img_storage_write (self->parent.storage, SIZE_AT, &stored, sizeof stored, error);
}

static void
doubt_size (ImgQcow2 *self)
{
  self->parent.size_in_doubt = TRUE;
  img_qcow2_writer_poison (self);
}

/* As with the pointer to L1: a disk must not turn out smaller than what is written to it later. */
static gboolean
publish_size (ImgQcow2 *self, guint64 size, ImgError **error)
{
  if (write_size (self, size, error))
    return TRUE;
  if (!write_size (self, self->header->size, NULL))
    doubt_size (self);
  return FALSE;
}

gboolean
img_qcow2_set_size (ImgLayout *layout, guint64 size, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  guint64 n_entries = img_qcow2_header_count_l1_entries (self->header, size);
  gboolean success;

  if (!img_qcow2_writer_check (self, error) || !check_size (self, size, n_entries, error))
    return FALSE;
  img_turn_take (&self->writer->turn);
  success = img_qcow2_begin_write (self, error) && publish_size (self, size, error);
  img_turn_give (&self->writer->turn);
  if (!success)
    return FALSE;
  if (!img_storage_flush (layout->storage, error))
    {
      doubt_size (self);
      return FALSE;
    }
  self->header->size = size;
  self->n_l1_entries = n_entries;
  __atomic_store_n (&layout->size, size, __ATOMIC_RELAXED);
  return TRUE;
}

/* ---- what a smaller disk does not need ---- */

/* With the turn: tables whose clusters have all been dropped already. */
static void
drop_tables (ImgQcow2 *self, guint64 first, guint64 end)
{
  for (guint64 i = first; i < end; i++)
    {
      guint64 entry = self->l1[i];
      guint64 table = entry & IMG_QCOW2_OFFSET_MASK;

      if (table == 0)
        continue;
      if ((entry & IMG_QCOW2_FLAG_COPIED) != 0)
        img_qcow2_forget_table (self, i << self->l1_shift, table);
      img_qcow2_whole_table_set (&self->writer->l1, i, 0);
      img_qcow2_drop_clusters (self, table >> self->cluster_bits, 1);
    }
}

/* Whole tables go. Nothing counts the clusters of an external data file. */
guint64
img_qcow2_get_trim_end (ImgLayout *layout, guint64 old_size)
{
  const ImgQcow2 *self = (ImgQcow2 *) layout;
  guint64 n_tables = img_qcow2_header_count_l1_entries (self->header, old_size);

  if (self->has_data_file || img_qcow2_header_count_l1_entries (self->header, layout->size) == n_tables)
    return old_size;
  return MIN (n_tables << self->l1_shift, IMG_MAX_SIZE);
}

gboolean
img_qcow2_trim (ImgLayout *layout, guint64 old_size, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  if (!img_qcow2_writer_check (self, error))
    return FALSE;
  img_turn_take (&self->writer->turn);
  drop_tables (self, img_qcow2_header_count_l1_entries (self->header, layout->size),
               img_qcow2_header_count_l1_entries (self->header, old_size));
  img_turn_give (&self->writer->turn);
  return !self->has_data_file || img_storage_truncate (self->data_storage, layout->size, error);
}
