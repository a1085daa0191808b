/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Rebasing.
 *
 * What the overlay itself has stays. For the rest, the old backing image and the new one are compared; where they differ
 * the overlay gets what the old one has, which changes nothing as long as that is below it. When all of it is durable
 * the header names the new one.
 *
 * That the disk reads as zero there is not enough where the new backing image has something else: the zeroes must stand
 * in the overlay.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "img-rate.h"
#include "img-rebase.h"
#include "img-sweep.h"
#include "img-write-back.h"

#define STEP IMG_MIB
#define ZEROES_LENGTH (64 * IMG_KIB)

static const guint8 zeroes[ZEROES_LENGTH];

/* One of the two that are compared. */
typedef struct
{
  ImgImage *image;  /* NULL: all zeroes */
  ImgImage *shared; /* a layer of it, or itself, that is the same file as one of the other; NULL: none */
} Side;

typedef struct
{
  ImgImage *image;
  Side old;
  Side new;
  guint64 cluster_size;
  gsize step;
  gboolean compress;
  ImgProgress *progress;
  ImgCancel *cancel;
  ImgRate rate;
  ImgWriteBack write_back;
} Rebase;

/* ---- comparing what the map says ---- */

typedef enum
{
  SAYS_ZERO,
  SAYS_SHARED, /* what the layer has that both sides share */
  SAYS_OTHER,
} Says;

static gboolean
ask_side (Rebase *self, const Side *side, guint64 offset, guint64 length, Says *says, guint64 *n, ImgError **error)
{
  guint64 size = side->image != NULL ? img_image_get_size (side->image) : 0;
  ImgBlock block;

  *says = SAYS_ZERO;
  *n = length;
  if (offset >= size)
    return TRUE;
  length = MIN (length, size - offset);
  if (side->image == side->shared)
    {
      *says = SAYS_SHARED;
      *n = length;
      return TRUE;
    }
  if (!img_image_map_above (side->image, side->shared, offset, length, IMG_BLOCK_MAP_HOST_HOLES, &block,
                            self->cancel, error))
    return FALSE;
  *n = block.length;
  if (side->shared != NULL && img_block_is_left_to (&block, side->shared))
    *says = SAYS_SHARED;
  else if (!block.reads_as_zero)
    *says = SAYS_OTHER;
  return TRUE;
}

typedef enum
{
  PART_SAME,
  PART_ZERO,   /* the old side reads as zero, the new one does not */
  PART_COMPARE,
} Part;

static gboolean
map_part (Rebase *self, guint64 offset, guint64 length, Part *part, guint64 *n, ImgError **error)
{
  Says old, new;

  if (!ask_side (self, &self->old, offset, length, &old, n, error) ||
      !ask_side (self, &self->new, offset, *n, &new, n, error))
    return FALSE;
  if (old == new && old != SAYS_OTHER)
    *part = PART_SAME;
  else if (old == SAYS_ZERO)
    *part = PART_ZERO;
  else
    *part = PART_COMPARE;
  return TRUE;
}

/* ---- copying ---- */

/* Whatever the overlay reads there, its own file says now that it is zero. What the format cannot say of a part of
 * a cluster, or not at all, is written as bytes. */
static gboolean
put_zeroes (Rebase *self, guint64 offset, guint64 length, ImgError **error)
{
  ImgBlock block;

  if (!img_image_write_zeroes (self->image, offset, length, IMG_ZERO_UNMAP, self->cancel, error))
    return FALSE;
  for (guint64 n; length > 0; offset += n, length -= n)
    {
      if (!img_image_map (self->image, offset, length, IMG_BLOCK_MAP_TOP_ONLY, &block, self->cancel, error))
        return FALSE;
      n = block.length;
      if (block.kind != IMG_BLOCK_HOLE)
        continue;
      n = MIN (n, ZEROES_LENGTH);
      if (!img_image_write (self->image, offset, zeroes, (gsize) n, self->cancel, error))
        return FALSE;
    }
  return TRUE;
}

/* Whole clusters of which the overlay has nothing yet, as this library compresses them. */
static gboolean
may_compress (Rebase *self, guint64 offset, guint64 length)
{
  return self->compress && img_is_aligned (offset, self->cluster_size) &&
         (img_is_aligned (length, self->cluster_size) ||
          offset + length == img_image_get_size (self->image));
}

static gboolean
put_data (Rebase *self, guint64 offset, const guint8 *data, gsize length, ImgError **error)
{
  if (!img_rate_wait (&self->rate, length, self->cancel, error))
    return FALSE;
  if (img_is_zero (data, length))
    return put_zeroes (self, offset, length, error);
  if (may_compress (self, offset, length)
        ? !img_image_write_compressed (self->image, offset, data, length, self->cancel, error)
        : !img_image_write (self->image, offset, data, length, self->cancel, error))
    return FALSE;
  img_write_back_count (&self->write_back, length);
  return TRUE;
}

static gsize
length_in_cluster (Rebase *self, guint64 offset, gsize left)
{
  return (gsize) MIN (left, self->cluster_size - offset % self->cluster_size);
}

/* Clusters that differ, or do not, as long as they go on like that. */
static gsize
next_run (Rebase *self, guint64 offset, const guint8 *old, const guint8 *new, gsize length, gboolean *differs)
{
  gsize run = 0;

  while (run < length)
    {
      gsize part = length_in_cluster (self, offset + run, length - run);
      gboolean part_differs = memcmp (old + run, new + run, part) != 0;

      if (run == 0)
        *differs = part_differs;
      /* Zeroes are put apart. */
      else if (part_differs != *differs || (part_differs && img_is_zero (old + run, part) != img_is_zero (old, run)))
        break;
      run += part;
    }
  return run;
}

static gboolean
read_side (Rebase *self, const Side *side, guint64 offset, guint8 *data, gsize length, ImgError **error)
{
  guint64 size = side->image != NULL ? img_image_get_size (side->image) : 0;
  gsize inside = offset < size ? (gsize) MIN (length, size - offset) : 0;

  memset (data + inside, 0, length - inside);
  return inside == 0 || img_image_read (side->image, offset, data, inside, self->cancel, error);
}

static gboolean
compare_and_put (Rebase *self, guint64 offset, gsize length, guint8 *buffer, ImgError **error)
{
  const guint8 *old = buffer;
  const guint8 *new = buffer + self->step;

  if (!read_side (self, &self->old, offset, buffer, length, error) ||
      !read_side (self, &self->new, offset, buffer + self->step, length, error))
    return FALSE;
  for (gsize done = 0, n; done < length; done += n)
    {
      gboolean differs = FALSE;

      n = next_run (self, offset + done, old + done, new + done, length - done, &differs);
      if (differs && !put_data (self, offset + done, old + done, n, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- one piece ---- */

/* What the overlay has not: [offset, offset + length). What goes on behind @end is done as far as it is only a matter
 * of the map; *n: so far. Parts that must be compared are put together. */
static gboolean
do_hole (Rebase *self, guint64 offset, guint64 length, guint64 end, guint8 *buffer, guint64 *n, ImgError **error)
{
  Part part, next;
  guint64 more;

  if (!map_part (self, offset, length, &part, n, error))
    return FALSE;
  if (part == PART_SAME)
    return TRUE;
  *n = MIN (*n, end - offset);
  if (part == PART_ZERO)
    return put_zeroes (self, offset, *n, error);
  while (offset + *n < end && *n < length)
    {
      if (!map_part (self, offset + *n, MIN (length, end - offset) - *n, &next, &more, error))
        return FALSE;
      if (next != PART_COMPARE)
        break;
      *n += more;
    }
  return compare_and_put (self, offset, (gsize) *n, buffer, error);
}

static gboolean
rebase_piece (gpointer data, guint64 start, guint64 end, guint8 *buffer, guint64 *next, ImgError **error)
{
  Rebase *self = data;
  guint64 size = img_image_get_size (self->image);
  guint64 first = start;
  ImgBlock block;

  for (guint64 n; start < end; start += n)
    {
      if (!img_image_map (self->image, start, size - start, IMG_BLOCK_MAP_TOP_ONLY, &block, self->cancel, error))
        return FALSE;
      n = block.length;
      if (block.kind == IMG_BLOCK_HOLE && !do_hole (self, start, block.length, end, buffer, &n, error))
        return FALSE;
    }
  img_progress_add (self->progress, MIN (start, end) - first);
  *next = start;
  return TRUE;
}

static gboolean
copy_all (Rebase *self, const ImgRebaseOptions *options, ImgError **error)
{
  const ImgSweep sweep = {
    .size = img_image_get_size (self->image),
    .step = self->step,
    .buffer_size = 2 * self->step,
    .n_threads = options->n_threads,
    .priority = options->priority,
    .run = rebase_piece,
    .data = self,
  };
  gboolean success;

  img_progress_set_total (self->progress, sweep.size);
  img_rate_init (&self->rate, options->bytes_per_second);
  success = img_sweep_run (&sweep, error);
  img_rate_clear (&self->rate);
  if (success && self->progress != NULL) /* what was passed over at once */
    img_progress_add (self->progress, sweep.size - self->progress->bytes_done);
  return success;
}

/* ---- the job ---- */

static gboolean
is_same (ImgImage *a, ImgImage *b)
{
  ImgIdentity first, second;

  return img_storage_get_identity (img_image_get_storage (a), &first) &&
         img_storage_get_identity (img_image_get_storage (b), &second) &&
         first.device == second.device && first.inode == second.inode &&
         img_image_get_layout (a)->driver == img_image_get_layout (b)->driver &&
         !img_image_is_snapshot (a) && !img_image_is_snapshot (b);
}

static void
find_shared (Rebase *self)
{
  for (ImgImage *a = self->old.image; a != NULL; a = img_image_get_backing (a))
    for (ImgImage *b = self->new.image; b != NULL; b = img_image_get_backing (b))
      if (is_same (a, b))
        {
          self->old.shared = a;
          self->new.shared = b;
          return;
        }
}

/* Also as another format: each byte that is written would change what is below. */
static gboolean
check_loop (ImgImage *image, ImgImage *backing, ImgError **error)
{
  ImgIdentity file;
  gboolean is_loop = img_storage_get_identity (img_image_get_storage (image), &file) && backing != NULL &&
                     img_image_uses_file (backing, &file);

  for (ImgImage *layer = backing; layer != NULL && !is_loop; layer = img_image_get_backing (layer))
    is_loop = layer == image;
  if (is_loop)
    img_error_set (error, IMG_CODE_REFERENCE_LOOP, _("An image cannot be its own backing image"));
  return !is_loop;
}

static gboolean
check_options (ImgImage *image, ImgImage *backing, const ImgRebaseOptions *options, ImgError **error)
{
  if (options->backing_name != NULL && options->backing_format == NULL)
    img_error_set (error, IMG_CODE_INVALID_OPTION, _("The format of the backing file must be given"));
  else if (options->unsafe)
    return TRUE;
  else if ((backing != NULL) != (options->backing_name != NULL))
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("The new backing image and its name must be given together"));
  else if (!img_image_require_ready (image, error) ||
           (backing != NULL && !img_image_require_ready (backing, error)))
    return FALSE;
  else if (!img_image_is_writable (image))
    img_error_set (error, IMG_CODE_READ_ONLY, _("The image was not opened for writing"));
  else if (img_image_get_layout (image)->klass->set_backing_name == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("Images of the format “%s” have no backing file"),
                   img_image_get_layout (image)->driver->name);
  else
    return check_loop (image, backing, error);
  return FALSE;
}

static gboolean
copy_differences (
  ImgImage *image, ImgImage *backing, const ImgRebaseOptions *options, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (image);
  Rebase self = {
    .image = image,
    .write_back.image = image,
    .old.image = img_image_get_backing (image),
    .new.image = backing,
    .cluster_size = layout->write_granularity,
    .step = (gsize) MAX (STEP, layout->write_granularity),
    .compress = options->compress && layout->unit_length > 0 && layout->punch_granularity == layout->write_granularity,
    .progress = progress,
    .cancel = cancel,
  };

  find_shared (&self);
  return copy_all (&self, options, error);
}

gboolean
img_rebase (ImgImage *image,
            ImgImage *backing,
            const ImgRebaseOptions *options,
            ImgProgress *progress,
            ImgCancel *cancel,
            ImgError **error)
{
  if (!check_options (image, backing, options, error) || img_cancel_check (cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  if (!options->unsafe && !copy_differences (image, backing, options, progress, cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  if (img_cancel_check (cancel, error) ||
      !img_image_set_backing_name (image, options->backing_name, options->backing_format, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}
