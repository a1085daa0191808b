/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-measure.h"

gboolean
img_measure_data (ImgImage *source,
                  guint64 unit,
                  ImgBlockMapFlags flags,
                  guint64 *n_bytes,
                  ImgProgress *progress,
                  ImgCancel *cancel,
                  ImgError **error)
{
  guint64 size = img_image_get_size (source);
  guint64 counted_to = 0; /* units before it have been counted or have no data */
  ImgBlock block;

  *n_bytes = 0;
  for (guint64 offset = 0; offset < size; offset += block.length)
    {
      guint64 start, end;

      if (!img_image_map (source, offset, size - offset, flags | IMG_BLOCK_MAP_HOST_HOLES, &block, cancel,
                          error))
        return FALSE;
      img_progress_add (progress, block.length);
      if (block.reads_as_zero)
        continue;
      start = MAX (img_align_down (offset, unit), counted_to);
      end = img_align_up (offset + block.length, unit);
      *n_bytes += end - start;
      counted_to = end;
    }
  return TRUE;
}

/* Only bitmaps that stay in the image can be copied, and not all images can have such. */
gboolean
img_measure_bitmaps (const ImgDriver *driver,
                     const ImgFootprint *footprint,
                     ImgImage *source,
                     ImgMeasurement *measurement,
                     ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (source);
  ImgDescription description = { 0 };
  gboolean success = TRUE;

  if (!footprint->has_bitmaps || layout->klass->describe == NULL)
    return TRUE;
  if (!layout->klass->describe (layout, &description, error))
    success = FALSE;
  else
    {
      measurement->has_bitmaps = description.may_have_bitmaps;
      if (description.bitmaps != NULL)
        success = driver->measure_bitmaps (footprint, layout->size, description.bitmaps,
                                           &measurement->bitmaps, error);
    }
  img_description_clear (&description);
  return success;
}

static gboolean
count_data (const ImgCreateOptions *options,
            const ImgFootprint *footprint,
            ImgImage *source,
            guint64 *n_bytes,
            ImgProgress *progress,
            ImgCancel *cancel,
            ImgError **error)
{
  guint64 size;

  *n_bytes = footprint->is_full ? footprint->disk_size : 0;
  if (source == NULL)
    return TRUE;
  size = img_image_get_size (source);
  img_progress_set_total (progress, size);
  if (!footprint->is_full && options->backing_name == NULL)
    return img_measure_data (source, footprint->unit, IMG_BLOCK_MAP_NONE, n_bytes, progress, cancel, error);
  *n_bytes = footprint->disk_size;
  img_progress_add (progress, size);
  return !img_cancel_check (cancel, error);
}

gboolean
img_measure (const ImgDriver *driver,
             const ImgCreateOptions *options,
             ImgImage *source,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgMeasurement *measurement,
             ImgError **error)
{
  ImgCreateOptions with_size = *options;
  ImgFootprint footprint;
  guint64 n_bytes;

  *measurement = (ImgMeasurement) { 0 };
  if (driver->measure == NULL)
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED, _("Images of the format %s cannot be measured"),
                     driver->name);
      return FALSE;
    }
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  if (source != NULL)
    with_size.size = img_image_get_size (source);
  if (!driver->measure (&with_size, &footprint, error) ||
      !count_data (options, &footprint, source, &n_bytes, progress, cancel, error) ||
      (source != NULL && !img_measure_bitmaps (driver, &footprint, source, measurement, error)))
    return FALSE;
  measurement->fully_allocated = footprint.metadata + footprint.disk_size;
  measurement->required = footprint.metadata + n_bytes;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}
