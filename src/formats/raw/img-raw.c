/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-raw.h"

/* Disks consist of sectors: a file that ends inside one has a last sector whose rest is zero. */
#define SECTOR_SIZE 512

static gboolean
get_disk_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  guint64 file_size;

  if (!img_storage_get_size (storage, &file_size, error))
    return FALSE;
  if (file_size > IMG_MAX_SIZE)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("A file of %" PRIu64 " bytes is too large for a disk"), file_size);
      return FALSE;
    }
  *size = img_align_up (file_size, SECTOR_SIZE);
  return TRUE;
}

static ImgMapResult
raw_map (ImgLayout *layout,
         guint64 offset,
         guint64 length,
         ImgMapFlags flags,
         ImgExtent *extent,
         ImgError **error)
{
  *extent = (ImgExtent) {
    .kind = IMG_EXTENT_DATA,
    .has_host_offset = TRUE,
    .offset = offset,
    .length = length,
    .storage = layout->storage,
    .host_offset = offset,
  };
  return IMG_MAP_OK;
}

/* ---- writing: always in place ---- */

static ImgPrepareResult
raw_prepare_write (ImgLayout *layout,
                   guint64 offset,
                   guint64 length,
                   ImgWriteMode mode,
                   ImgPlan *plan,
                   ImgError **error)
{
  *plan = (ImgPlan) {
    .offset = offset,
    .length = length,
    .transfer = IMG_TRANSFER_WRITE,
    .storage = layout->storage,
    .host_offset = offset,
  };
  return IMG_PREPARE_OK;
}

/* There is nothing below that could show through. */
static ImgPrepareResult
raw_prepare_punch (ImgLayout *layout,
                   guint64 offset,
                   guint64 length,
                   ImgPunchMode mode,
                   ImgPlan *plan,
                   ImgError **error)
{
  static const ImgTransferKind transfers[] = {
    [IMG_PUNCH_KEEP] = IMG_TRANSFER_ZERO,
    [IMG_PUNCH_UNMAP] = IMG_TRANSFER_ZERO_UNMAP,
    [IMG_PUNCH_ANY] = IMG_TRANSFER_DISCARD,
    [IMG_PUNCH_BACKING] = IMG_TRANSFER_DISCARD,
  };

  *plan = (ImgPlan) {
    .offset = offset,
    .length = length,
    .transfer = transfers[mode],
    .storage = layout->storage,
    .host_offset = offset,
  };
  return IMG_PREPARE_OK;
}

static gboolean
raw_flush (ImgLayout *layout, ImgError **error)
{
  return img_storage_flush (layout->storage, error);
}

static gboolean
raw_reserve (ImgLayout *layout, guint64 size, ImgError **error)
{
  if (img_storage_truncate (layout->storage, size, error))
    return TRUE;
  layout->size_in_doubt = TRUE;
  return FALSE;
}

/* A file that was cut off although that failed has a smaller disk: what lay behind is gone. */
static void
follow_file (ImgLayout *layout)
{
  guint64 size;

  if (get_disk_size (layout->storage, &size, NULL) && size < layout->size)
    __atomic_store_n (&layout->size, size, __ATOMIC_RELAXED);
}

/* A device takes it well to be told of fewer bytes, and goes on having those that it has. */
static gboolean
check_cut_off (ImgLayout *layout, guint64 size, ImgError **error)
{
  guint64 actual;

  if (size >= layout->size)
    return TRUE;
  if (!img_storage_get_size (layout->storage, &actual, error))
    return FALSE;
  if (actual > size)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("A device cannot be resized"));
  return actual <= size;
}

static gboolean
raw_set_size (ImgLayout *layout, guint64 size, ImgError **error)
{
  layout->size_in_doubt = TRUE;
  if (!img_storage_truncate (layout->storage, size, error))
    {
      follow_file (layout);
      return FALSE;
    }
  if (!check_cut_off (layout, size, error))
    return FALSE;
  __atomic_store_n (&layout->size, img_align_up (size, SECTOR_SIZE), __ATOMIC_RELAXED);
  layout->size_in_doubt = !img_storage_flush (layout->storage, error);
  return !layout->size_in_doubt;
}

static void
raw_free (ImgLayout *layout)
{
  img_layout_finish (layout);
  g_free (layout);
}

static const ImgLayoutClass raw_class = {
  .free = raw_free,
  .map = raw_map,
  .prepare_write = raw_prepare_write,
  .prepare_punch = raw_prepare_punch,
  .flush = raw_flush,
  .reserve = raw_reserve,
  .set_size = raw_set_size,
  .close = raw_flush,
};

/* Of an image that is described, not read. */
static const ImgLayoutClass raw_metadata_class = {
  .free = raw_free,
};

static ImgLayout *
raw_open (ImgStorage *storage, const ImgLayoutOptions *options, ImgCancel *cancel, ImgError **error)
{
  gboolean metadata_only = options != NULL && options->metadata_only;
  ImgLayout *layout;
  guint64 size;

  if (options != NULL && options->snapshot != NULL)
    {
      g_autofree char *quoted = img_quote_name (options->snapshot);

      img_error_set (error, IMG_CODE_SNAPSHOT_NOT_FOUND,
                     _("There is no snapshot %s: raw images have none"), quoted);
      return NULL;
    }
  if (!get_disk_size (storage, &size, error))
    return NULL;
  layout = g_new0 (ImgLayout, 1);
  img_layout_init (layout, metadata_only ? &raw_metadata_class : &raw_class, &img_raw_driver, storage);
  layout->size = size;
  layout->has_host_holes = TRUE;
  layout->is_identity = TRUE;
  layout->writable = options != NULL && options->writable;
  layout->write_granularity = layout->punch_granularity = 1;
  return layout;
}

static gboolean
raw_inspect (ImgStorage *storage, ImgFindings *findings, ImgCancel *cancel, ImgError **error)
{
  return get_disk_size (storage, &findings->virtual_size, error);
}

/* ---- creating ---- */

static gboolean
check_new_size (guint64 asked, guint64 *size, ImgError **error)
{
  *size = img_align_up (MIN (asked, IMG_MAX_SIZE + 1), SECTOR_SIZE);
  if (*size <= IMG_MAX_SIZE)
    return TRUE;
  img_error_set (error, IMG_CODE_INVALID_OPTION, _("A disk cannot have %" PRIu64 " bytes"), asked);
  return FALSE;
}

/* What has no data counts too: it lies in the file, as a hole where the file system has such. */
static gboolean
raw_measure (const ImgCreateOptions *options, ImgFootprint *footprint, ImgError **error)
{
  *footprint = (ImgFootprint) { .unit = SECTOR_SIZE, .is_full = TRUE };
  return img_create_check_plain (options, error) &&
         check_new_size (options->size, &footprint->disk_size, error);
}

/* A device keeps what it holds, unless space was asked for: all of it is the disk, whatever wrote it. */
static gboolean
raw_create (ImgStorage *storage,
            const ImgCreateOptions *options,
            ImgStorage *data_storage,
            ImgCancel *cancel,
            ImgError **error)
{
  gboolean is_fresh;
  guint64 size;

  if (!img_create_check_plain (options, error))
    return FALSE;
  if (options->preallocate == IMG_PREALLOCATE_METADATA)
    {
      img_error_set (error, IMG_CODE_INVALID_OPTION,
                     _("A raw image has no metadata to preallocate"));
      return FALSE;
    }
  if (!check_new_size (options->size, &size, error))
    return FALSE;
  if (!img_create_empty (storage, size, &is_fresh, error))
    return FALSE;
  return options->preallocate == IMG_PREALLOCATE_OFF || size == 0 ||
         img_create_reserve (storage, 0, size, options->preallocate, is_fresh, cancel, error);
}

static const char *const mime_types[] = { "application/x-raw-disk-image", NULL };
static const char *const suffixes[] = { "raw", "img", NULL };

const ImgDriver img_raw_driver = {
  .name = "raw",
  .title = N_("Raw disk image"),
  .mime_types = mime_types,
  .suffixes = suffixes,
  .flags = IMG_DRIVER_CREATE | IMG_DRIVER_IDENTITY,
  .inspect = raw_inspect,
  .open = raw_open,
  .create = raw_create,
  .measure = raw_measure,
};
