/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Compacting in place: first what no reference leads to is given back, which also finds out whether
 * the metadata is sound. Then data that is zero becomes a zero cluster, which needs no space, range
 * by range. At last what has become free is given back, and the file is cut behind the last cluster
 * in use. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-compact-job.h"

#define STEP IMG_MIB
/* Of a format without clusters: what file systems give back. */
#define MIN_GRAIN ((guint64) 4096)

/* ---- what would be lost ---- */

static char *
list_bitmaps (GPtrArray *bitmaps)
{
  g_autoptr (GString) names = g_string_new (NULL);

  for (guint i = 0; bitmaps != NULL && i < bitmaps->len; i++)
    img_quote_append (names, ((ImgBitmapInfo *) g_ptr_array_index (bitmaps, i))->name);
  return names->len > 0 ? g_string_free (g_steal_pointer (&names), FALSE) : NULL;
}

/* *has_zeroes: the format has a state for what reads as zero that takes no space. */
static gboolean
look_at (ImgImage *image, gboolean lose_bitmaps, gboolean *has_zeroes, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (image);
  ImgDescription description = { 0 };
  g_autofree char *bitmaps = NULL;

  *has_zeroes = TRUE;
  if (layout->klass->describe == NULL)
    return TRUE;
  if (!layout->klass->describe (layout, &description, error))
    return FALSE;
  *has_zeroes = g_strcmp0 (description.compat, "0.10") != 0 || !layout->has_backing;
  bitmaps = list_bitmaps (description.bitmaps);
  img_description_clear (&description);
  if (bitmaps == NULL || lose_bitmaps)
    return TRUE;
  img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("Compacting would lose these bitmaps: %s"),
                 bitmaps);
  return FALSE;
}

/* ---- zeroes ---- */

static gboolean
map_top (ImgImage *image,
         guint64 offset,
         guint64 length,
         ImgBlock *block,
         ImgCancel *cancel,
         ImgError **error)
{
  return img_image_map (image, offset, length, IMG_BLOCK_MAP_TOP_ONLY | IMG_BLOCK_MAP_HOST_HOLES,
                        block, cancel, error);
}

/* What is not worth a look: it takes no space already. */
static gboolean
takes_no_space (const ImgBlock *block)
{
  return block->kind == IMG_BLOCK_HOLE ||
         (block->kind == IMG_BLOCK_ZERO && !block->has_host_offset);
}

static gboolean
add_up (ImgImage *image, guint64 *total, ImgCancel *cancel, ImgError **error)
{
  guint64 size = img_image_get_size (image);
  ImgBlock block;

  *total = 0;
  for (guint64 at = 0; at < size; at += block.length)
    {
      if (!map_top (image, at, size - at, &block, cancel, error))
        return FALSE;
      if (!takes_no_space (&block))
        *total += block.length;
    }
  return TRUE;
}

/* The disk may be written to, and resized, meanwhile: progress follows the total that was found
 * first. */
static void
advance (ImgProgress *progress, guint64 total, guint64 *done, guint64 n_bytes)
{
  n_bytes = MIN (n_bytes, total - *done);
  *done += n_bytes;
  img_progress_add (progress, n_bytes);
}

static gboolean
release_all (ImgImage *image,
             guint64 total,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (image);
  guint64 grain = MAX (layout->write_granularity, MIN_GRAIN), step = MAX (STEP, grain);
  g_autoptr (ImgBuffer) buffer = img_try_alloc (step, error);
  guint64 done = 0, size;
  ImgBlock block;

  if (buffer == NULL)
    return FALSE;
  for (guint64 at = 0; at < (size = img_image_get_size (image)); at += block.length)
    {
      if (img_cancel_check (cancel, error) ||
          !map_top (image, at, size - at, &block, cancel, error))
        return FALSE;
      if (takes_no_space (&block))
        continue;
      /* The block may be a part of a cluster: what is worked on is the step that it begins in. */
      block.length = MIN (block.length, MIN (img_align_down (at, step) + step, size) - at);
      block.offset = img_align_down (at, grain);
      if (!img_image_release_zeroes (
            image, block.offset,
            (gsize) (MIN (img_align_up (at + block.length, grain), size) - block.offset), buffer,
            grain, cancel, error))
        return FALSE;
      advance (progress, total, &done, block.length);
    }
  advance (progress, total, &done, total);
  return TRUE;
}

/* ---- the job ---- */

static guint64
get_usage (ImgImage *image)
{
  guint64 usage = 0, part;

  if (img_storage_get_usage (img_image_get_storage (image), &part, NULL))
    usage += part;
  if (img_image_get_data_storage (image) != NULL &&
      img_storage_get_usage (img_image_get_data_storage (image), &part, NULL))
    usage += part;
  return usage;
}

gboolean
img_compact (ImgImage *image,
             gboolean lose_bitmaps,
             guint64 *n_freed,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  guint64 usage, total = 0;
  gboolean has_zeroes;

  *n_freed = 0;
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  /* File systems count what was written when it has reached the disk. */
  if (!look_at (image, lose_bitmaps, &has_zeroes, error) || !img_image_flush (image, cancel, error))
    return FALSE;
  usage = get_usage (image);
  if (!img_image_reclaim (image, cancel, error) ||
      (has_zeroes && !add_up (image, &total, cancel, error)))
    return FALSE;
  img_progress_set_total (progress, total);
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  if (has_zeroes && !release_all (image, total, progress, cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  if (!img_image_flush (image, cancel, error) || !img_image_reclaim (image, cancel, error))
    return FALSE;
  *n_freed = usage - MIN (usage, get_usage (image));
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}
