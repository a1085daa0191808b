/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The steps of compacting an image in place. Each runs alone behind the closed gate: between
 * looking at a cluster and giving it back nobody can write to it. All changes are those of ordinary
 * requests. */

#include "config.h"

#include <string.h>

#include "img-image-private.h"

/* From @at on: the length of the run of grains that are all zero, or have something in each, which
 * of them in @zero. */
static gsize
next_run (const guint8 *data, gsize at, gsize length, gsize grain, gboolean *zero)
{
  gsize end = at;

  while (end < length)
    {
      gsize part = MIN (grain, length - end);
      gboolean part_is_zero = img_is_zero (data + end, part);

      if (end == at)
        *zero = part_is_zero;
      else if (part_is_zero != *zero)
        break;
      end += part;
    }
  return end - at;
}

static gboolean
release (ImgImage *image, guint64 offset, guint64 length, ImgError **error)
{
  return img_image_write_zeroes (image, offset, length, IMG_ZERO_UNMAP, NULL, error);
}

/* @data: the bytes of [offset, offset + length) of the disk. */
static gboolean
release_runs (ImgImage *image,
              guint64 offset,
              const guint8 *data,
              gsize length,
              gsize grain,
              ImgError **error)
{
  gboolean zero = FALSE;

  for (gsize at = 0, n; at < length; at += n)
    {
      n = next_run (data, at, length, grain, &zero);
      if (zero && !release (image, offset + at, n, error))
        return FALSE;
    }
  return TRUE;
}

/* Shrinks [*start, *end) to whole grains, the disk's end being as good as a whole one. FALSE: there
 * is none. */
static gboolean
whole_grains (ImgImage *image, guint64 grain, guint64 *start, guint64 *end)
{
  *start = img_align_up (*start, grain);
  if (*end < image->layout->size)
    *end = img_align_down (*end, grain);
  return *start < *end;
}

static gboolean
release_block (ImgImage *image,
               const ImgBlock *block,
               guint8 *buffer,
               guint64 grain,
               ImgCancel *cancel,
               ImgError **error)
{
  guint64 start = block->offset, end = block->offset + block->length;

  if (block->kind == IMG_BLOCK_HOLE || (block->kind == IMG_BLOCK_ZERO && !block->has_host_offset) ||
      !whole_grains (image, grain, &start, &end))
    return TRUE;
  if (block->kind == IMG_BLOCK_ZERO)
    return release (image, start, end - start, error);
  return img_image_read (image, start, buffer, (gsize) (end - start), cancel, error) &&
         release_runs (image, start, buffer, (gsize) (end - start), (gsize) grain, error);
}

/* Neighbouring blocks of data become one: a cluster with a hole in the host file in its middle is
 * two. */
static gboolean
map_run (ImgImage *image,
         guint64 offset,
         guint64 end,
         ImgBlock *run,
         ImgCancel *cancel,
         ImgError **error)
{
  ImgBlock next;

  if (!img_image_map (image, offset, end - offset, IMG_BLOCK_MAP_TOP_ONLY, run, cancel, error))
    return FALSE;
  while ((run->kind == IMG_BLOCK_DATA || run->kind == IMG_BLOCK_COMPRESSED) &&
         offset + run->length < end)
    {
      guint64 at = offset + run->length;

      if (!img_image_map (image, at, end - at, IMG_BLOCK_MAP_TOP_ONLY, &next, cancel, error))
        return FALSE;
      if (next.kind != IMG_BLOCK_DATA && next.kind != IMG_BLOCK_COMPRESSED)
        break;
      run->length += next.length;
    }
  return TRUE;
}

gboolean
img_image_release_zeroes (ImgImage *image,
                          guint64 offset,
                          gsize length,
                          gpointer buffer,
                          guint64 granularity,
                          ImgCancel *cancel,
                          ImgError **error)
{
  gboolean success;
  ImgBlock run;

  img_image_begin_alone (image);
  /* It may have been resized since the caller looked. */
  length = (gsize) MIN (length, image->layout->size - MIN (offset, image->layout->size));
  success = img_check_change (image, 0, 0, error);
  for (guint64 at = offset; success && at < offset + length; at += run.length)
    success = map_run (image, at, offset + length, &run, cancel, error) &&
              release_block (image, &run, buffer, granularity, cancel, error);
  img_image_end_alone (image);
  return success;
}

gboolean
img_image_reclaim (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = image->layout;
  gboolean success;

  img_image_begin_alone (image);
  success = img_check_change (image, 0, 0, error) &&
            (layout->klass->reclaim == NULL || layout->klass->reclaim (layout, cancel, error));
  img_image_end_alone (image);
  return success;
}
