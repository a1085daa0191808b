/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-deflate.h"
#include "img-qcow2-create.h"
#include "img-qcow2-outline.h"
#include "img-qcow2-bitmap.h"
#include "img-qcow2-check.h"
#include "img-qcow2-private.h"
#include "img-qcow2-repair.h"
#include "img-qcow2-snapshot.h"
#include "img-qcow2-writer.h"
#include "img-qcow2.h"
#include "img-zstd.h"

#define DEFAULT_METADATA_CACHE (16 * IMG_MIB)

/* ---- open ---- */

static void
set_geometry (ImgQcow2 *self)
{
  const ImgQcow2Header *header = self->header;
  guint entry_bits;

  self->has_data_file = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE);
  self->has_extended_l2 = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2);
  entry_bits = self->has_extended_l2 ? 4 : 3;
  self->cluster_bits = header->cluster_bits;
  self->subcluster_bits = self->cluster_bits - 5;
  self->l1_shift = self->cluster_bits + img_qcow2_header_get_l2_bits (header);
  self->slice_bits =
    g_bit_storage (MIN (IMG_TABLE_MAX_SLICE, 1u << self->cluster_bits)) - 1 - entry_bits;
  self->slice_shift = self->cluster_bits + self->slice_bits;
  self->end = header->file_size;
}

/* The active disk, or the one of a snapshot. */
static gboolean
find_disk (ImgQcow2 *self,
           const char *snapshot,
           ImgQcow2SnapshotDisk *disk,
           ImgCancel *cancel,
           ImgError **error)
{
  const ImgQcow2Header *header = self->header;

  *disk = (ImgQcow2SnapshotDisk){ header->l1_offset, header->l1_entries, header->size };
  if (snapshot == NULL)
    return TRUE;
  if (!img_qcow2_snapshots_find (self->parent.storage, header, snapshot, disk, cancel, error))
    return FALSE;
  if (disk->disk_size > IMG_MAX_SIZE)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("The virtual size of the snapshot is too large: %" PRIu64 " bytes"),
                     disk->disk_size);
      return FALSE;
    }
  return img_qcow2_header_check_l1 (header, disk->l1_offset, disk->l1_entries, disk->disk_size,
                                    _("L1 table of the snapshot"), error);
}

gboolean
img_qcow2_check_l1 (ImgQcow2 *self, guint64 n, ImgError **error)
{
  if (n > 0 && !img_range_fits (self->stored_l1_offset, n * sizeof (guint64), self->header->file_size))
    img_error_set (error, IMG_CODE_CORRUPT, _("The L1 table passes the end of the file"));
  /* That of an empty disk has not been looked at so far. */
  else if (n > 0 && !img_is_aligned (self->stored_l1_offset, (guint64) 1 << self->cluster_bits))
    img_error_set (error, IMG_CODE_CORRUPT, _("The L1 table is not aligned to clusters"));
  else
    return TRUE;
  return FALSE;
}

/* A reader needs the entries of the disk, a writer keeps the others too, and who describes the image needs none. What
 * is read lies inside the file, so this takes no more memory than the file has bytes. */
static gboolean
load_l1 (ImgQcow2 *self, const ImgQcow2SnapshotDisk *disk, const ImgLayoutOptions *options, ImgError **error)
{
  guint64 n;

  self->stored_l1_offset = disk->l1_offset;
  self->n_stored_l1_entries = disk->l1_entries;
  self->n_l1_entries = img_qcow2_header_count_l1_entries (self->header, disk->disk_size);
  n = options->writable ? disk->l1_entries : self->n_l1_entries;
  if (!img_qcow2_check_l1 (self, n, error))
    return FALSE;
  if (n == 0 || options->metadata_only)
    return TRUE;
  self->l1 = img_try_alloc (n * sizeof (guint64), error);
  if (self->l1 == NULL || !img_storage_read (self->parent.storage, disk->l1_offset, self->l1,
                                             n * sizeof (guint64), error))
    return FALSE;
  for (guint64 i = 0; i < n; i++)
    self->l1[i] = GUINT64_FROM_BE (self->l1[i]);
  self->parent.table_memory = n * sizeof (guint64);
  return TRUE;
}

static gboolean
create_cache (ImgQcow2 *self, gsize budget, ImgError **error)
{
  guint64 n_slices = img_div_round_up (self->parent.size, (guint64) 1 << self->slice_shift);
  gsize slice_size = MIN (IMG_TABLE_MAX_SLICE, 1u << self->cluster_bits);

  self->tables = img_table_cache_new (self->parent.storage, slice_size, n_slices,
                                      budget != 0 ? budget : DEFAULT_METADATA_CACHE, error);
  return self->tables != NULL;
}

/* A file with clearly more clusters than blocks was made with preallocated metadata: clusters are
 * mapped that nobody has written yet, here or in an external data file. The margin is QEMU's, so that
 * both look for host holes in the same images: it leaves out files that are sparse inside a few clusters
 * only. QEMU does not count clusters that are free, for which it reads all refcounts; what more holes are
 * found for that read as zero just so. */
static gboolean
is_sparse (ImgQcow2 *self)
{
  guint64 cluster_size = (guint64) 1 << self->cluster_bits;
  ImgError *error = NULL;
  guint64 usage, n_clusters, n_real;

  if (!img_storage_get_usage (self->parent.storage, &usage, &error))
    {
      img_error_free (error); /* a hint that cannot be had is no reason to refuse the image */
      return FALSE;
    }
  n_clusters = img_div_round_up (self->header->file_size, cluster_size);
  n_real = img_div_round_up (usage, cluster_size);
  return n_clusters >= MAX (n_real + n_real / 9, n_real + 2);
}

static void qcow2_free (ImgLayout *layout);

static gboolean
open_writer (ImgQcow2 *self, const ImgLayoutOptions *options, ImgError **error)
{
  ImgLayout *layout = &self->parent;

  if (options->snapshot != NULL)
    {
      img_error_set (error, IMG_CODE_READ_ONLY, _("A snapshot cannot be opened for writing"));
      return FALSE;
    }
  if (!img_qcow2_writer_open (self, options->metadata_cache_size, error))
    return FALSE;
  layout->writable = TRUE;
  layout->write_granularity = img_qcow2_header_get_cluster_size (self->header);
  layout->punch_granularity = self->has_extended_l2 ? (guint64) 1 << self->subcluster_bits
                                                    : layout->write_granularity;
  layout->has_backing = self->header->backing_name != NULL;
  layout->maps_everything = (self->header->autoclear & IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE) != 0;
  return TRUE;
}

static gboolean
read_header (ImgQcow2 *self, const ImgLayoutOptions *options, ImgCancel *cancel, ImgError **error)
{
  g_clear_pointer (&self->header, img_qcow2_header_free);
  self->header = img_qcow2_header_read (self->parent.storage, cancel, error);
  if (self->header == NULL)
    return FALSE;
  return options->metadata_only ? img_qcow2_header_check_metadata (self->header, error)
                                : img_qcow2_header_check (self->header, error);
}

/* The refcounts of an image that was not closed cannot be relied on: no cluster is handed out before they are
 * right. A corrupt image is not repaired unasked. */
static gboolean
repair_dirty (ImgQcow2 *self, const ImgLayoutOptions *options, ImgCancel *cancel, ImgError **error)
{
  g_auto (ImgCheckResult) result;
  g_autoptr (GPtrArray) snapshots = NULL;

  img_check_result_init (&result);
  if (!options->writable || options->snapshot != NULL ||
      !img_qcow2_header_has (self->header, IMG_QCOW2_INCOMPATIBLE_DIRTY) ||
      img_qcow2_header_has (self->header, IMG_QCOW2_INCOMPATIBLE_CORRUPT))
    return TRUE;
  /* What a repair leaves out of a snapshot table that is too large is not lost unasked either. */
  snapshots = img_qcow2_snapshots_list (self->parent.storage, self->header, cancel, error);
  return snapshots != NULL &&
         img_qcow2_repair (self->parent.storage, IMG_REPAIR_ALL, &result, NULL, cancel, error) &&
         read_header (self, options, cancel, error);
}

static gboolean
qcow2_load (ImgQcow2 *self, const ImgLayoutOptions *options, ImgCancel *cancel, ImgError **error)
{
  ImgQcow2SnapshotDisk disk;

  if (!read_header (self, options, cancel, error) || !repair_dirty (self, options, cancel, error))
    return FALSE;
  set_geometry (self);
  if (!find_disk (self, options->snapshot, &disk, cancel, error) ||
      img_cancel_check (cancel, error) || !load_l1 (self, &disk, options, error))
    return FALSE;
  self->parent.size = disk.disk_size;
  if (options->metadata_only)
    return TRUE;
  return create_cache (self, options->metadata_cache_size, error) &&
         (!options->writable || open_writer (self, options, error));
}

static const ImgLayoutClass qcow2_class;
static const ImgLayoutClass qcow2_metadata_class;

/* How the disk is to be transferred. */
static void
prepare_transfers (ImgQcow2 *self)
{
  ImgLayout *layout = &self->parent;

  if (!self->has_data_file)
    self->data_storage = img_storage_ref (layout->storage);
  /* Compressed clusters lie in the image file; an image with an external data file has none. */
  layout->unit_length = self->has_data_file ? 0 : (gsize) 1 << self->cluster_bits;
  layout->has_host_holes = is_sparse (self);
}

static ImgLayout *
qcow2_open (ImgStorage *storage,
            const ImgLayoutOptions *options,
            ImgCancel *cancel,
            ImgError **error)
{
  static const ImgLayoutOptions defaults;
  ImgQcow2 *self = g_new0 (ImgQcow2, 1);
  ImgLayout *layout = &self->parent;

  if (options == NULL)
    options = &defaults;
  img_layout_init (layout, options->metadata_only ? &qcow2_metadata_class : &qcow2_class, &img_qcow2_driver, storage);
  if (!qcow2_load (self, options, cancel, error))
    {
      qcow2_free (layout);
      return NULL;
    }
  img_qcow2_header_list_wanted (self->header, layout->wanted);
  if (!options->metadata_only)
    prepare_transfers (self);
  return layout;
}

static void
qcow2_free (ImgLayout *layout)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  img_qcow2_writer_free (self->writer);
  img_table_cache_free (self->tables);
  img_free (self->l1);
  img_storage_unref (self->data_storage);
  img_qcow2_header_free (self->header);
  img_layout_finish (layout);
  g_free (self);
}

static void
qcow2_set_data_storage (ImgLayout *layout, ImgStorage *storage)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  g_return_if_fail (self->has_data_file && self->data_storage == NULL);

  self->data_storage = img_storage_ref (storage);
}

/* ---- decode ---- */

static gboolean
qcow2_decode (ImgLayout *layout,
              const ImgExtent *extent,
              const guint8 *stored,
              guint8 *plain,
              gsize wanted,
              gsize *n_plain,
              ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  gboolean success;

  if (self->header->compression == IMG_QCOW2_COMPRESSION_ZSTD)
    {
      *n_plain = extent->unit_length;
      success = img_zstd_decode (stored, extent->unit_host_length, plain, extent->unit_length, error);
    }
  else
    success = img_deflate_decode_part (stored, extent->unit_host_length, plain, extent->unit_length,
                                       wanted, n_plain, error);
  if (!success)
    img_error_prefix (error, _("Compressed cluster at offset 0x%" PRIx64 ": "), extent->unit_offset);
  return success;
}

/* ---- what there is to say ---- */

static const char *
get_compression_name (const ImgQcow2Header *header)
{
  switch (header->compression)
    {
    case IMG_QCOW2_COMPRESSION_ZLIB:
      return "zlib";
    case IMG_QCOW2_COMPRESSION_ZSTD:
      return "zstd";
    default:
      return NULL;
    }
}

/* All but the bitmaps. */
static void
describe_header (const ImgQcow2Header *header, ImgDescription *description)
{
  /* A writer changes these bits. */
  guint64 incompatible = __atomic_load_n (&header->incompatible, __ATOMIC_RELAXED);
  guint64 autoclear = __atomic_load_n (&header->autoclear, __ATOMIC_RELAXED);

  memset (description, 0, sizeof *description);
  if (header->cluster_bits != 0)
    description->cluster_size = img_qcow2_header_get_cluster_size (header);
  if (header->version <= 3)
    description->compat = g_strdup (header->version == 2 ? "0.10" : "1.1");
  description->compression_type = g_strdup (get_compression_name (header));
  description->encryption = g_strdup (img_qcow2_header_get_encryption (header));
  if (header->refcount_order <= 6)
    description->refcount_bits = 1u << header->refcount_order;
  description->is_dirty = (incompatible & IMG_QCOW2_INCOMPATIBLE_DIRTY) != 0;
  description->is_corrupt = (incompatible & IMG_QCOW2_INCOMPATIBLE_CORRUPT) != 0;
  description->has_lazy_refcounts = (header->compatible & IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS) != 0;
  description->has_extended_l2 = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2);
  description->has_data_file = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE);
  description->has_raw_data_file = (autoclear & IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE) != 0;
  description->has_unknown_parts = header->unknown_extensions->len > 0 || header->has_unknown_fields ||
                                   (header->compatible & ~(guint64) IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS) != 0;
  description->may_have_compressed = !description->has_data_file;
  description->may_have_bitmaps = header->version >= 3;
}

/* What stands in the LUKS header, if there is to be one. */
static gboolean
describe_luks (ImgStorage *storage, const ImgQcow2Header *header, ImgDescription *description, ImgError **error)
{
  g_autofree ImgLuksInfo *info = NULL;

  if (header->crypt_method != IMG_QCOW2_CRYPT_LUKS || !header->has_encryption_header)
    return TRUE;
  info = g_new (ImgLuksInfo, 1);
  if (!img_luks_header_read (storage, header->encryption_header_offset, header->encryption_header_length, info, error))
    return FALSE;
  description->luks = g_steal_pointer (&info);
  return TRUE;
}

static gboolean
describe_bitmaps (ImgQcow2 *self, ImgDescription *description, ImgError **error)
{
  /* Once written without being maintained, they are not valid any more. */
  if (self->writer != NULL && g_atomic_int_get (&self->writer->has_begun))
    return TRUE;
  return img_qcow2_bitmaps_list (self->parent.storage, self->header, &description->bitmaps, NULL, error);
}

static gboolean
qcow2_describe (ImgLayout *layout, ImgDescription *description, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  describe_header (self->header, description);
  if (describe_luks (layout->storage, self->header, description, error) && describe_bitmaps (self, description, error))
    return TRUE;
  img_description_clear (description);
  return FALSE;
}

static GPtrArray *
qcow2_list_snapshots (ImgLayout *layout, ImgCancel *cancel, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  return img_qcow2_snapshots_list (layout->storage, self->header, cancel, error);
}

static void
add_problem (ImgFindings *findings, const ImgError *problem)
{
  g_ptr_array_add (findings->problems, g_strdup (problem->text));
}

/* Damage is a finding; that the storage cannot be read is not. Takes @problem, NULL: there is none. */
static gboolean
take_problem (ImgFindings *findings, ImgError *problem, ImgError **error)
{
  if (problem == NULL)
    return TRUE;
  if (problem->code != IMG_CODE_CORRUPT && problem->code != IMG_CODE_UNSUPPORTED)
    {
      img_error_propagate (error, problem);
      return FALSE;
    }
  add_problem (findings, problem);
  img_error_free (problem);
  return TRUE;
}

static gboolean
qcow2_inspect (ImgStorage *storage, ImgFindings *findings, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (storage, cancel, error);
  ImgError *luks_error = NULL;
  ImgError *bitmap_error = NULL;

  if (header == NULL)
    return FALSE;
  findings->virtual_size = header->size;
  findings->n_snapshots = header->n_snapshots;
  describe_header (header, &findings->description);
  img_qcow2_header_list_wanted (header, findings->wanted);
  for (guint i = 0; i < header->unknown_features->len; i++)
    g_ptr_array_add (findings->unknown_features,
                     g_strdup (g_ptr_array_index (header->unknown_features, i)));
  for (guint i = 0; i < header->problems->len; i++)
    add_problem (findings, g_ptr_array_index (header->problems, i));
  describe_luks (storage, header, &findings->description, &luks_error);
  if (!take_problem (findings, luks_error, error))
    return FALSE;
  img_qcow2_bitmaps_list (storage, header, &findings->description.bitmaps, cancel, &bitmap_error);
  return take_problem (findings, bitmap_error, error);
}

/* Whether this library knows the version is for open () to say. */
/* Any version: an image of the older qcow format, which has the same magic, is refused by its
 * version and not taken for a raw disk. */
static gboolean
qcow2_probe (const ImgProbe *probe)
{
  return probe->head_length >= 4 && img_read_be32 (probe->head) == IMG_QCOW2_MAGIC;
}

static const ImgLayoutClass qcow2_class = {
  .free = qcow2_free,
  .map = img_qcow2_map,
  .decode = qcow2_decode,
  .describe = qcow2_describe,
  .list_snapshots = qcow2_list_snapshots,
  .set_data_storage = qcow2_set_data_storage,
  .prepare_write = img_qcow2_prepare_write,
  .prepare_compressed = img_qcow2_prepare_compressed,
  .encode = img_qcow2_encode,
  .get_encode_memory = img_qcow2_get_encode_memory,
  .prepare_punch = img_qcow2_prepare_punch,
  .commit = img_qcow2_commit,
  .abort = img_qcow2_abort,
  .flush = img_qcow2_flush,
  .reserve = img_qcow2_reserve,
  .set_size = img_qcow2_set_size,
  .trim = img_qcow2_trim,
  .get_trim_end = img_qcow2_get_trim_end,
  .set_backing_name = img_qcow2_set_backing_name,
  .find_vm_state = img_qcow2_find_vm_state,
  .keep_bitmaps = img_qcow2_keep_bitmaps,
  .copy_bitmaps = img_qcow2_copy_bitmaps,
  .reclaim = img_qcow2_reclaim,
  .close = img_qcow2_close,
};

/* Of an image that is described, not read. */
static const ImgLayoutClass qcow2_metadata_class = {
  .free = qcow2_free,
  .describe = qcow2_describe,
  .list_snapshots = qcow2_list_snapshots,
  .set_data_storage = qcow2_set_data_storage,
};

static const char *const mime_types[] = { "application/x-qemu-disk", NULL };
static const char *const suffixes[] = { "qcow2", NULL };

const ImgDriver img_qcow2_driver = {
  .name = "qcow2",
  .title = N_("QEMU disk image (qcow2)"),
  .mime_types = mime_types,
  .suffixes = suffixes,
  .flags = IMG_DRIVER_BACKING | IMG_DRIVER_DATA_FILE | IMG_DRIVER_COMPRESSED | IMG_DRIVER_SNAPSHOTS | IMG_DRIVER_CREATE,
  .probe = qcow2_probe,
  .inspect = qcow2_inspect,
  .open = qcow2_open,
  .create = img_qcow2_create,
  .outline = img_qcow2_outline_new,
  .measure = img_qcow2_measure,
  .measure_bitmaps = img_qcow2_measure_bitmaps,
  .check = img_qcow2_check,
  .repair = img_qcow2_repair,
};
