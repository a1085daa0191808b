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

static void
raw_free (ImgLayout *layout)
{
  img_layout_finish (layout);
  g_free (layout);
}

static const ImgLayoutClass raw_class = {
  .free = raw_free,
  .map = raw_map,
};

static ImgLayout *
raw_open (ImgStorage *storage, const ImgLayoutOptions *options, ImgCancel *cancel, ImgError **error)
{
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
  img_layout_init (layout, &raw_class, &img_raw_driver, storage);
  layout->size = size;
  layout->has_host_holes = TRUE;
  layout->is_identity = TRUE;
  return layout;
}

static gboolean
raw_inspect (ImgStorage *storage, ImgFindings *findings, ImgCancel *cancel, ImgError **error)
{
  return get_disk_size (storage, &findings->virtual_size, error);
}

static const char *const mime_types[] = { "application/x-raw-disk-image", NULL };
static const char *const suffixes[] = { "raw", "img", NULL };

const ImgDriver img_raw_driver = {
  .name = "raw",
  .title = N_("Raw disk image"),
  .mime_types = mime_types,
  .suffixes = suffixes,
  .flags = IMG_DRIVER_CREATE,
  .inspect = raw_inspect,
  .open = raw_open,
};
