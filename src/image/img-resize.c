/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Changing the size of a disk, alone behind the closed gate.
 *
 * Growing: tables become large enough; then, while the file still has the old size, everything that
 * the new range could show is put in order: the rest of the cluster that the disk ended in, entries
 * that an interrupted shrink left behind, a backing image that is longer than the disk was. Space
 * is reserved as asked for. At last, after a flush, the size changes with one write.
 *
 * Shrinking: the size changes first. What lies behind it is given up afterwards; if that is
 * interrupted the next growth finds it.
 *
 * Cancelled, a growth gives back what it reserved and the disk has its old size. A shrink cannot go
 * back once the size has changed: it then ends early and well, with some space not given back.
 *
 * Where undoing fails too, the file may have a size that nobody was told of. The layout remembers that its
 * size is in doubt, and then even setting the size that the disk is said to have is work to be done.
 *
 * In memory the new size is in force as soon as the range has to be worked on; nobody else sees it.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-image-private.h"

#define SECTOR_SIZE 512
/* Space is reserved and given back in steps of that size, between which it can be cancelled. */
#define STEP (16 * IMG_MIB)

static void
assume_size (ImgImage *image, guint64 size)
{
  __atomic_store_n (&image->layout->size, size, __ATOMIC_RELAXED);
}

/* ---- growing ---- */

/* From the old end to the end of its cluster: whatever was written there is no part of the disk. */
static gboolean
clear_last_cluster (ImgImage *image, guint64 old, ImgCancel *cancel, ImgError **error)
{
  guint64 end = MIN (img_align_up (old, image->layout->write_granularity), image->layout->size);
  ImgBlock block;

  if (end == old)
    return TRUE;
  if (!img_image_map (image, old, end - old, IMG_BLOCK_MAP_TOP_ONLY, &block, cancel, error))
    return FALSE;
  return block.kind == IMG_BLOCK_HOLE ||
         img_image_write_zeroes (image, old, end - old, IMG_ZERO_NONE, cancel, error);
}

/* Clusters that nobody should have left there but a shrink that was cut off; a block may be a part
 * of one. */
static gboolean
clear_leftovers (ImgImage *image, guint64 old, ImgCancel *cancel, ImgError **error)
{
  guint64 granularity = image->layout->write_granularity;
  guint64 at = img_align_up (old, granularity);
  guint64 size = image->layout->size;

  while (at < size)
    {
      ImgBlock block;
      guint64 end;

      if (!img_image_map (image, at, size - at, IMG_BLOCK_MAP_TOP_ONLY, &block, cancel, error))
        return FALSE;
      end = at + block.length;
      if (block.kind != IMG_BLOCK_HOLE || block.has_host_offset)
        {
          at = img_align_down (at, granularity);
          end = MIN (img_align_up (end, granularity), size);
          if (!img_image_discard (image, at, end - at, IMG_DISCARD_BACKING, cancel, error))
            return FALSE;
        }
      at = end;
    }
  return TRUE;
}

/* A backing image that is longer than the disk was would show through. */
static gboolean
hide_backing (ImgImage *image, guint64 old, ImgCancel *cancel, ImgError **error)
{
  guint64 end = image->backing != NULL ? img_image_get_size (image->backing) : 0;

  end = MIN (end, image->layout->size);
  return end <= old ||
         img_image_write_zeroes (image, old, end - old, IMG_ZERO_UNMAP, cancel, error);
}

static gboolean
put_in_order (ImgImage *image, guint64 old, ImgCancel *cancel, ImgError **error)
{
  return image->layout->is_identity ||
         (clear_last_cluster (image, old, cancel, error) &&
          clear_leftovers (image, old, cancel, error) && hide_backing (image, old, cancel, error));
}

static gboolean
preallocate (ImgImage *image,
             guint64 old,
             ImgPreallocate mode,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  guint64 size = image->layout->size;

  if (mode == IMG_PREALLOCATE_OFF)
    return TRUE;
  img_progress_set_total (progress, size - old);
  for (guint64 at = old, n; at < size; at += n)
    {
      n = MIN (STEP, size - at);
      if (!img_image_allocate (image, at, n, mode, cancel, error))
        return FALSE;
      img_progress_add (progress, n);
    }
  return !img_cancel_check (cancel, error);
}

/* The file is the disk: it shows the new size already, if only in part. */
static void
undo_growth_of_file (ImgImage *image, guint64 old)
{
  assume_size (image, old);
  image->layout->klass->set_size (image->layout, old, NULL);
}

/* The size is still the new one, for nobody but us. As well as it can be done: what is left in
 * place is no worse than after a crash, and the next growth finds it. */
static void
undo_growth (ImgImage *image, guint64 old)
{
  ImgLayout *layout = image->layout;
  guint64 size = layout->size;
  guint64 start = MIN (img_align_up (old, layout->write_granularity), size);
  gboolean success;

  if (layout->is_identity)
    {
      undo_growth_of_file (image, old);
      return;
    }
  success = img_image_discard (image, start, size - start, IMG_DISCARD_BACKING, NULL, NULL);
  assume_size (image, old);
  if (success && layout->klass->trim != NULL && layout->klass->trim (layout, size, NULL))
    layout->klass->flush (layout, NULL);
}

static gboolean
grow (ImgImage *image,
      guint64 size,
      ImgPreallocate mode,
      ImgProgress *progress,
      ImgCancel *cancel,
      ImgError **error)
{
  ImgLayout *layout = image->layout;
  guint64 old = layout->size;
  gboolean success;

  if (!layout->klass->reserve (layout, size, error))
    {
      if (layout->is_identity)
        undo_growth_of_file (image, old);
      return FALSE;
    }
  assume_size (image, size);
  success = put_in_order (image, old, cancel, error) &&
            preallocate (image, old, mode, progress, cancel, error);
  if (success)
    {
      img_progress_set_phase (progress, IMG_PHASE_FLUSH);
      success =
        layout->klass->flush (layout, error) && layout->klass->set_size (layout, size, error);
    }
  if (!success)
    undo_growth (image, old);
  return success;
}

/* ---- shrinking ---- */

/* FALSE in *is_complete: cancelled before all of it was given back. */
static gboolean
discard_tail (ImgImage *image,
              guint64 start,
              guint64 end,
              gboolean *is_complete,
              ImgProgress *progress,
              ImgCancel *cancel,
              ImgError **error)
{
  *is_complete = TRUE;
  img_progress_set_total (progress, end - start);
  for (guint64 at = start, n; at < end; at += n)
    {
      n = MIN (STEP - at % STEP, end - at);
      if (img_cancel_is_set (cancel))
        {
          *is_complete = FALSE;
          return TRUE;
        }
      if (!img_image_discard (image, at, n, IMG_DISCARD_BACKING, NULL, error))
        return FALSE;
      img_progress_add (progress, n);
    }
  return TRUE;
}

static gboolean
give_up (ImgImage *image, guint64 old, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = image->layout;
  guint64 size = layout->size;
  guint64 start = MIN (img_align_up (size, layout->write_granularity), old);
  guint64 behind = img_align_up (old, layout->write_granularity);
  gboolean success, is_complete;
  guint64 end;

  if (layout->klass->trim == NULL)
    return TRUE;
  end = layout->klass->get_trim_end (layout, old);
  assume_size (image, old);
  success = discard_tail (image, start, old, &is_complete, progress, cancel, error);
  assume_size (image, MAX (old, end));
  success = success && (!is_complete || discard_tail (image, behind, end, &is_complete, NULL, cancel, error));
  assume_size (image, size);
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  return success && (!is_complete || layout->klass->trim (layout, old, error)) &&
         layout->klass->flush (layout, error);
}

static gboolean
shrink (ImgImage *image, guint64 size, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  guint64 old = image->layout->size;

  return image->layout->klass->set_size (image->layout, size, error) &&
         give_up (image, old, progress, cancel, error);
}

/* ---- both ---- */

static gboolean
check_resize (ImgImage *image,
              guint64 size,
              gboolean may_shrink,
              ImgPreallocate mode,
              ImgError **error)
{
  guint64 old = image->layout->size;

  if (!img_check_change (image, 0, 0, error))
    return FALSE;
  if (size > IMG_MAX_SIZE)
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _ ("A disk cannot have %" PRIu64 " bytes"),
                   size);
  else if (size < old && !may_shrink)
    img_error_set (error, IMG_CODE_FAILED,
                   _ ("The disk would become smaller and lose what lies behind %" PRIu64 " bytes"),
                   size);
  else if (size < old && mode != IMG_PREALLOCATE_OFF)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _ ("Space can be reserved only when the disk grows"));
  else if (mode == IMG_PREALLOCATE_METADATA && image->layout->is_identity)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _ ("A raw image has no metadata to preallocate"));
  else
    return TRUE;
  return FALSE;
}

/* Where it is the size already there is nothing to do, if the file knows that too. */
static gboolean
change_size (ImgImage *image,
             guint64 size,
             ImgPreallocate mode,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  ImgLayout *layout = image->layout;

  if (size > layout->size)
    return grow (image, size, mode, progress, cancel, error);
  if (size < layout->size)
    return shrink (image, size, progress, cancel, error);
  return !layout->size_in_doubt || layout->klass->set_size (layout, size, error);
}

gboolean
img_image_resize (ImgImage *image,
                  guint64 size,
                  gboolean may_shrink,
                  ImgPreallocate preallocate_mode,
                  ImgProgress *progress,
                  ImgCancel *cancel,
                  ImgError **error)
{
  gboolean success;

  if (img_cancel_check (cancel, error))
    return FALSE;
  /* A raw file may end inside a sector; the disk does not. */
  if (!image->layout->is_identity && size <= IMG_MAX_SIZE)
    size = img_align_up (size, SECTOR_SIZE);
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  img_image_begin_alone (image);
  if (image->layout->maps_everything && preallocate_mode == IMG_PREALLOCATE_OFF &&
      size > image->layout->size)
    preallocate_mode = IMG_PREALLOCATE_METADATA;
  /* The caller may have gone while this waited, and written something since. */
  success = !img_cancel_check (cancel, error) &&
            check_resize (image, size, may_shrink, preallocate_mode, error) &&
            change_size (image, size, preallocate_mode, progress, cancel, error);
  img_image_end_alone (image);
  if (success)
    img_progress_set_phase (progress, IMG_PHASE_DONE);
  return success;
}
