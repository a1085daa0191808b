/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Committing.
 *
 * While data is copied the overlay still has it, so nobody who reads the overlay sees the base change. The base is
 * flushed before the first cluster of the overlay is dropped; from then on it does not matter which have been
 * dropped already.
 *
 * Layers between the overlay and the base count as parts of the overlay. Where one of them ends before the disk of the
 * overlay does, the overlay reads zeroes there although the base may have data: then these zeroes are committed.
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-commit.h"
#include "img-mutant.h"
#include "img-rate.h"
#include "img-sweep.h"
#include "img-write-back.h"

#define STEP IMG_MIB
/* So much of a run of zeroes at a time, between which it can be cancelled. */
#define ZERO_STEP IMG_GIB

typedef struct
{
  ImgImage *image;
  ImgImage *base;
  ImgProgress *progress;
  ImgCancel *cancel;
  ImgRate rate;
  ImgWriteBack write_back; /* of the base */
} Commit;

typedef enum
{
  PART_LEFT, /* the base has it already */
  PART_ZERO,
  PART_DATA,
} Part;

/* ---- what there is to do ---- */

static gboolean
map_part (Commit *self, guint64 offset, guint64 length, Part *part, guint64 *n, ImgError **error)
{
  ImgBlock block;

  if (!img_image_map_above (self->image, self->base, offset, length, IMG_BLOCK_MAP_HOST_HOLES, &block,
                            self->cancel, error))
    return FALSE;
  *n = block.length;
  if (img_block_is_left_to (&block, self->base))
    *part = PART_LEFT;
  else
    *part = block.reads_as_zero ? PART_ZERO : PART_DATA;
  return TRUE;
}

/* The first is looked at as far as the disk goes: a long hole is worth knowing. Data that is stored apart is one run,
 * up to @end. */
static gboolean
map_run (Commit *self, guint64 offset, guint64 end, Part *part, guint64 *n, ImgError **error)
{
  guint64 size = img_image_get_size (self->image);

  if (!map_part (self, offset, size - offset, part, n, error))
    return FALSE;
  if (*part == PART_DATA)
    *n = MIN (*n, end - offset);
  while (*part == PART_DATA && offset + *n < end)
    {
      guint64 at = offset + *n, more;
      Part next;

      if (!map_part (self, at, end - at, &next, &more, error))
        return FALSE;
      if (next != PART_DATA)
        break;
      *n += more;
    }
  return TRUE;
}

static gboolean
add_up (Commit *self, ImgError **error)
{
  guint64 size = img_image_get_size (self->image);
  guint64 total = 0, n;
  Part part;

  for (guint64 offset = 0; offset < size; offset += n)
    {
      if (!map_part (self, offset, size - offset, &part, &n, error))
        return FALSE;
      if (part == PART_DATA)
        total += n;
    }
  img_progress_set_total (self->progress, total);
  return TRUE;
}

/* ---- copying ---- */

static gboolean
copy_data (Commit *self, guint64 offset, guint64 length, guint8 *buffer, ImgError **error)
{
  if (!img_rate_wait (&self->rate, length, self->cancel, error) ||
      !img_image_read (self->image, offset, buffer, (gsize) length, self->cancel, error) ||
      !img_image_write (self->base, offset, buffer, (gsize) length, self->cancel, error))
    return FALSE;
  img_write_back_count (&self->write_back, length);
  img_progress_add (self->progress, length);
  return TRUE;
}

/* A long run is done at once, whoever else may have begun in the midst of it: zeroes are zeroes. */
static gboolean
copy_zeroes (Commit *self, guint64 offset, guint64 length, ImgError **error)
{
  for (guint64 n; length > 0; offset += n, length -= n)
    {
      n = MIN (length, ZERO_STEP);
      if (!img_image_write_zeroes (self->base, offset, n, IMG_ZERO_UNMAP, self->cancel, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
copy_piece (gpointer data, guint64 start, guint64 end, guint8 *buffer, guint64 *next, ImgError **error)
{
  Commit *self = data;
  guint64 n;
  Part part;

  for (; start < end; start += n)
    if (!map_run (self, start, end, &part, &n, error) ||
        (part == PART_DATA && !copy_data (self, start, n, buffer, error)) ||
        (part == PART_ZERO && !copy_zeroes (self, start, n, error)))
      return FALSE;
  *next = start;
  return TRUE;
}

static gboolean
copy_all (Commit *self, const ImgCommitOptions *options, ImgError **error)
{
  const ImgSweep sweep = {
    .size = img_image_get_size (self->image),
    .step = STEP,
    .buffer_size = STEP,
    .n_threads = options->n_threads,
    .priority = options->priority,
    .run = copy_piece,
    .data = self,
  };
  gboolean success;

  self->write_back.image = self->base;
  img_rate_init (&self->rate, options->bytes_per_second);
  success = img_sweep_run (&sweep, error);
  img_rate_clear (&self->rate);
  return success;
}

/* ---- the job ---- */

static gboolean
check_images (Commit *self, gboolean keep, ImgError **error)
{
  ImgImage *layer = self->image;

  if (!img_image_require_ready (self->image, error))
    return FALSE;
  if (self->base == NULL)
    self->base = img_image_get_backing (self->image);
  while (layer != NULL && (layer = img_image_get_backing (layer)) != self->base)
    ;
  if (self->base == NULL)
    img_error_set (error, IMG_CODE_FAILED, _("The image does not have a backing file"));
  else if (layer == NULL)
    img_error_set (error, IMG_CODE_FAILED, _("The image does not lie above the one to commit to"));
  else if (!img_image_is_writable (self->base))
    img_error_set (error, IMG_CODE_READ_ONLY, _("The image to commit to was not opened for writing"));
  else if (!keep && !img_image_is_writable (self->image))
    img_error_set (error, IMG_CODE_READ_ONLY, _("The image was not opened for writing"));
  else
    return TRUE;
  return FALSE;
}

static gboolean
grow_base (Commit *self, ImgError **error)
{
  guint64 size = img_image_get_size (self->image);

  return img_image_get_size (self->base) >= size ||
         img_image_resize (self->base, size, FALSE, IMG_PREALLOCATE_OFF, NULL, self->cancel, error);
}

/* What it had is in the base, durably. */
static gboolean
empty_image (Commit *self, ImgError **error)
{
  return img_image_discard (self->image, 0, img_image_get_size (self->image), IMG_DISCARD_BACKING,
                            self->cancel, error) &&
         img_image_flush (self->image, self->cancel, error);
}

static gboolean
settle (Commit *self, gboolean keep, ImgError **error)
{
  gboolean early = img_mutant_is_on (IMG_MUTANT_EMPTY_BEFORE_BASE);

  if (!early && !img_image_flush (self->base, self->cancel, error))
    return FALSE;
  if (!keep && !empty_image (self, error))
    return FALSE;
  return !early || img_image_flush (self->base, self->cancel, error);
}

gboolean
img_commit (ImgImage *image,
            ImgImage *base,
            const ImgCommitOptions *options,
            ImgProgress *progress,
            ImgCancel *cancel,
            ImgError **error)
{
  Commit self = { .image = image, .base = base, .progress = progress, .cancel = cancel };
  gboolean keep = options->keep || (base != NULL && base != img_image_get_backing (image));

  img_progress_set_phase (progress, IMG_PHASE_MAP);
  if (!check_images (&self, keep, error) || !grow_base (&self, error) || !add_up (&self, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  if (!copy_all (&self, options, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  if (!settle (&self, keep, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}
