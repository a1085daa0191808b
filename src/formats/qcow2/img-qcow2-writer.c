/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-bitmap.h"
#include "img-qcow2-snapshot.h"
#include "img-qcow2-writer.h"

#define DEFAULT_REFCOUNT_CACHE (4 * IMG_MIB)
/* As far as an entry can point. */
#define MAX_FILE_SIZE (IMG_QCOW2_OFFSET_MASK + 512)

guint64
img_qcow2_get_cluster_size (const ImgQcow2 *self)
{
  return (guint64) 1 << self->cluster_bits;
}

/* ---- whole tables ---- */

#define SECTOR_ENTRIES (512 / sizeof (guint64))

void
img_qcow2_whole_table_set (ImgQcow2WholeTable *table, guint64 index, guint64 entry)
{
  __atomic_store_n (&table->entries[index], entry, __ATOMIC_RELEASE);
  g_hash_table_add (table->dirty, GUINT_TO_POINTER ((guint) (index / SECTOR_ENTRIES)));
}

static void
whole_table_init (ImgQcow2WholeTable *table, guint64 offset, guint64 *entries, guint64 n_entries)
{
  *table = (ImgQcow2WholeTable) { offset, entries, n_entries,
                                  g_hash_table_new (g_direct_hash, g_direct_equal) };
}

void
img_qcow2_whole_table_clear (ImgQcow2WholeTable *table)
{
  g_clear_pointer (&table->dirty, g_hash_table_unref);
}

/* ---- what may be changed ---- */

void
img_qcow2_writer_poison (ImgQcow2 *self)
{
  g_atomic_int_set (&self->writer->is_poisoned, TRUE);
}

gboolean
img_qcow2_writer_check_file (ImgQcow2 *self, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;

  if (G_UNLIKELY (g_atomic_int_get (&writer->is_poisoned)))
    img_error_set (error, IMG_CODE_FLUSH_FAILED,
                   _("An earlier flush failed: what was written since the last good one may be lost"));
  else if (G_UNLIKELY (g_atomic_int_get (&writer->is_corrupt)))
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("The image was found to be corrupt and is not written any more"));
  else
    return TRUE;
  return FALSE;
}

gboolean
img_qcow2_writer_check (ImgQcow2 *self, ImgError **error)
{
  if (!img_qcow2_writer_check_file (self, error))
    return FALSE;
  if (G_LIKELY (self->data_storage != NULL))
    return TRUE;
  img_error_set (error, IMG_CODE_REFERENCES_PENDING,
                 _("The external data file of the image is not open"));
  return FALSE;
}

static gboolean
check_header (const ImgQcow2Header *header, ImgError **error)
{
  if (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_CORRUPT))
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("The image is marked as corrupt: repair it before it is written"));
  else if (img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DIRTY))
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("The image was not closed properly and cannot be repaired without loss"));
  else if (header->file_size > MAX_FILE_SIZE)
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                   _("An image file of %" PRIu64 " bytes cannot be written"), header->file_size);
  else
    return TRUE;
  return FALSE;
}

/* ---- opening ---- */

static gboolean
load_refcount_table (ImgQcow2 *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  ImgQcow2Writer *writer = self->writer;
  guint64 size = (guint64) header->refcount_table_clusters << self->cluster_bits;
  guint64 n = size / sizeof (guint64);
  guint64 *entries;

  if (!img_range_fits (header->refcount_table_offset, size,
                       img_align_up (header->file_size, img_qcow2_get_cluster_size (self))))
    {
      img_error_set (error, IMG_CODE_CORRUPT, _("The refcount table lies outside the file"));
      return FALSE;
    }
  entries = img_try_alloc ((gsize) size, error);
  if (entries == NULL)
    return FALSE;
  whole_table_init (&writer->refcount_table, header->refcount_table_offset, entries, n);
  writer->refcount_table_clusters = header->refcount_table_clusters;
  if (!img_storage_read (self->parent.storage, header->refcount_table_offset, entries, (gsize) size,
                         error))
    return FALSE;
  for (guint64 i = 0; i < n; i++)
    entries[i] = GUINT64_FROM_BE (entries[i]);
  return TRUE;
}

static gboolean
protect (ImgQcow2 *self, guint64 offset, guint64 length, ImgError **error)
{
  guint64 first = offset >> self->cluster_bits;
  guint64 end = img_div_round_up (offset + length, img_qcow2_get_cluster_size (self));

  return img_cluster_set_add (self->writer->metadata, first, end - first, error);
}

/* Entries that point nowhere sensible are left out: whoever follows them will say so. */
static gboolean
protect_entries (ImgQcow2 *self, const guint64 *entries, guint64 n, guint64 mask, ImgError **error)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (self);

  for (guint64 i = 0; i < n; i++)
    {
      guint64 host = entries[i] & mask;

      if (host != 0 && img_is_aligned (host, cluster_size) && host < img_qcow2_get_end (self) &&
          !protect (self, host, cluster_size, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
protect_snapshots (ImgQcow2 *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  g_autoptr (GArray) disks = NULL;
  guint64 table_length;

  if (header->n_snapshots == 0)
    return TRUE;
  disks = img_qcow2_snapshots_list_disks (self->parent.storage, header, &table_length, NULL, error);
  if (disks == NULL || !protect (self, header->snapshots_offset, table_length, error))
    return FALSE;
  for (guint i = 0; i < disks->len; i++)
    {
      const ImgQcow2SnapshotDisk *disk = &g_array_index (disks, ImgQcow2SnapshotDisk, i);
      guint64 length = disk->l1_entries * sizeof (guint64);

      if (length > 0 && img_range_fits (disk->l1_offset, length, img_qcow2_get_end (self)) &&
          !protect (self, disk->l1_offset, length, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
protect_metadata (ImgQcow2 *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  ImgQcow2Writer *writer = self->writer;

  writer->metadata =
    img_cluster_set_new ((IMG_QCOW2_OFFSET_MASK >> self->cluster_bits) + 1, error);
  if (writer->metadata == NULL)
    return FALSE;
  if (!protect (self, 0, img_qcow2_get_cluster_size (self), error) ||
      !protect (self, writer->refcount_table.offset,
                writer->refcount_table_clusters << self->cluster_bits, error) ||
      !protect_entries (self, writer->refcount_table.entries, writer->refcount_table.n_entries,
                        ~(guint64) 0x1ff, error) ||
      !protect_entries (self, self->l1, writer->l1.n_entries, IMG_QCOW2_OFFSET_MASK, error))
    return FALSE;
  if (writer->l1.n_entries > 0 &&
      !protect (self, writer->l1.offset, writer->l1.n_entries * sizeof (guint64), error))
    return FALSE;
  if (header->has_bitmaps &&
      !protect (self, header->bitmap_directory_offset, header->bitmap_directory_size, error))
    return FALSE;
  return protect_snapshots (self, error);
}

static gboolean
create_refcount_cache (ImgQcow2 *self, gsize budget, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  gsize slice_size = MIN (IMG_TABLE_MAX_SLICE, 1u << self->cluster_bits);
  guint64 n_slices;

  writer->block_bits = self->cluster_bits + 3 - self->header->refcount_order;
  writer->slice_bits = (guint) g_bit_storage (slice_size) - 1 + 3 - self->header->refcount_order;
  writer->end = img_div_round_up (self->header->file_size, img_qcow2_get_cluster_size (self));
  /* As many as the file has, twice over, as it grows. */
  n_slices = 2 * img_div_round_up (writer->end + 1, (guint64) 1 << writer->slice_bits);
  writer->refcounts =
    img_table_cache_new (self->parent.storage, slice_size, MAX (n_slices, 64), budget, error);
  return writer->refcounts != NULL;
}

gboolean
img_qcow2_writer_open (ImgQcow2 *self, gsize cache_size, ImgError **error)
{
  ImgQcow2Writer *writer = g_new0 (ImgQcow2Writer, 1);

  self->writer = writer;
  img_turn_init (&writer->flush_turn);
  img_turn_init (&writer->turn);
  writer->dropped = g_array_new (FALSE, FALSE, sizeof (guint64));
  writer->fresh = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  writer->next_free = 1;
  /* With the entries behind the end of the disk: an interrupted shrink left something there. */
  whole_table_init (&writer->l1, self->header->l1_offset, self->l1, self->header->l1_entries);
  return check_header (self->header, error) && load_refcount_table (self, error) &&
         create_refcount_cache (self, cache_size != 0 ? cache_size / 4 : DEFAULT_REFCOUNT_CACHE,
                                error) &&
         protect_metadata (self, error);
}

void
img_qcow2_writer_free (ImgQcow2Writer *writer)
{
  if (writer == NULL)
    return;
  img_qcow2_whole_table_clear (&writer->l1);
  img_free (writer->refcount_table.entries);
  img_qcow2_whole_table_clear (&writer->refcount_table);
  img_table_cache_free (writer->refcounts);
  img_cluster_set_free (writer->metadata);
  g_hash_table_unref (writer->fresh);
  img_qcow2_quarantine_clear (writer);
  img_qcow2_kept_bitmaps_free (writer->kept_bitmaps);
  img_turn_clear (&writer->turn);
  img_turn_clear (&writer->flush_turn);
  g_free (writer);
}
