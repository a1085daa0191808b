/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Planning a conversion.
 *
 * How much room it takes is known in three steps, each dearer than the one before, and none is made
 * that is not needed: the options alone bound it (all of the disk); then the map of the source (all
 * data that may not be zero); then the data itself, as what is allocated is often zero and takes no
 * space in the result. That last bound is from below, so that a job that is refused could not have
 * succeeded: only blocks that are not zero count, and no metadata; the reading ends with the block
 * that no longer fits. Where less may be stored than is written, by compression here or in the file
 * system or by a reflink, nothing is certain and nothing is refused. */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <string.h>

#include "img-alloc.h"
#include "img-convert-plan.h"
#include "img-free-space.h"
#include "img-measure.h"

#define SECTOR_SIZE 512
#define READ_SIZE IMG_MIB

typedef struct
{
  const ImgConvertOptions *options;
  ImgImage *disk;
  ImgFootprint footprint;
  ImgFreeSpace space;
  ImgConvertPlan *plan;
  ImgCancel *cancel;
} Planner;

/* ---- what is lost ---- */

/* Of all sources together. */
typedef struct
{
  guint n_snapshots;
  guint n_bitmaps;
  gboolean has_backing;
  gboolean has_data_file;
  guint64 padding; /* bytes of zeroes in last sectors */
} Belongings;

static gboolean
count_snapshots (ImgImage *source, Belongings *found, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (source);
  g_autoptr (GPtrArray) snapshots = NULL;

  if (layout->klass->list_snapshots == NULL)
    return TRUE;
  snapshots = layout->klass->list_snapshots (layout, cancel, error);
  if (snapshots != NULL)
    found->n_snapshots += snapshots->len;
  return snapshots != NULL;
}

/* Those that are lost. */
static gboolean
count_bitmaps (const ImgConvertOptions *options, ImgImage *source, Belongings *found, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (source);
  ImgDescription description = { 0 };
  gboolean success =
    layout->klass->describe == NULL || layout->klass->describe (layout, &description, error);

  for (guint i = 0; success && description.bitmaps != NULL && i < description.bitmaps->len; i++)
    {
      const ImgBitmapInfo *info = g_ptr_array_index (description.bitmaps, i);

      found->n_bitmaps += !options->copy_bitmaps || info->in_use;
    }
  img_description_clear (&description);
  return success;
}

static gboolean
count_padding (ImgImage *source, Belongings *found, ImgError **error)
{
  guint64 size = img_image_get_size (source);
  guint64 length;

  if (!img_image_get_layout (source)->is_identity)
    return TRUE;
  if (!img_storage_get_size (img_image_get_storage (source), &length, error))
    return FALSE;
  found->padding += size - MIN (length, size);
  return TRUE;
}

static gboolean
look_at_source (Planner *planner, ImgImage *source, Belongings *found, ImgError **error)
{
  ImgEpoch *epoch = img_image_get_epoch (source);
  ImgEpochTicket ticket = img_epoch_enter (epoch);
  gboolean success = count_snapshots (source, found, planner->cancel, error) &&
                     count_bitmaps (planner->options, source, found, error) && count_padding (source, found, error);

  img_epoch_leave (epoch, ticket);
  found->has_backing |= img_image_get_backing (source) != NULL;
  found->has_data_file |= img_image_get_data_storage (source) != NULL;
  return success;
}

static gboolean
will_have_backing (const ImgConvertOptions *options)
{
  return options->target != NULL ? img_image_get_backing (options->target) != NULL
                                 : img_creation_has_backing (options->creation);
}

static gboolean
will_have_data_file (const ImgConvertOptions *options)
{
  return options->target != NULL ? img_image_get_data_storage (options->target) != NULL
                                 : img_creation_has_data_file (options->creation);
}

/* Takes @text. */
static void
add_loss (ImgConvertPlan *plan, ImgConvertLosses loss, char *text)
{
  plan->losses |= loss;
  g_ptr_array_add (plan->texts, text);
}

static void
add_losses (const ImgConvertOptions *options, const Belongings *found, ImgConvertPlan *plan)
{
  if (found->n_snapshots > 0)
    add_loss (
      plan, IMG_CONVERT_LOSS_SNAPSHOTS,
      g_strdup_printf (g_dngettext (GETTEXT_PACKAGE, "%u internal snapshot is not copied",
                                    "%u internal snapshots are not copied", found->n_snapshots),
                       found->n_snapshots));
  if (found->n_bitmaps > 0)
    add_loss (
      plan, IMG_CONVERT_LOSS_BITMAPS,
      g_strdup_printf (g_dngettext (GETTEXT_PACKAGE, "%u persistent bitmap is not copied",
                                    "%u persistent bitmaps are not copied", found->n_bitmaps),
                       found->n_bitmaps));
  if (found->has_backing && !will_have_backing (options))
    add_loss (plan, IMG_CONVERT_LOSS_BACKING,
              g_strdup (_ ("The result has no backing file: it holds all of the disk itself")));
  if (found->has_data_file && !will_have_data_file (options))
    add_loss (plan, IMG_CONVERT_LOSS_DATA_FILE,
              g_strdup (_ ("The result has no external data file: it holds the data itself")));
  if (found->padding > 0)
    add_loss (plan, IMG_CONVERT_LOSS_SIZE,
              g_strdup_printf (
                _ ("The size is rounded up to whole sectors, by %" PRIu64 " bytes of zeroes"),
                found->padding));
}

static gboolean
find_losses (Planner *planner, ImgError **error)
{
  const ImgConvertOptions *options = planner->options;
  Belongings found = { 0 };

  for (guint i = 0; i < options->n_sources; i++)
    if (!look_at_source (planner, options->sources[i], &found, error))
      return FALSE;
  if (options->length > 0) /* what is behind the window is of no account */
    found.padding = img_image_get_size (planner->disk) - options->length;
  add_losses (options, &found, planner->plan);
  return TRUE;
}

/* ---- how large it gets ---- */

/* Whether zeroes take as much space as data. */
static gboolean
fills_disk (const ImgConvertOptions *options)
{
  return options->allocate_all ||
         (options->creation != NULL &&
          options->creation->options.preallocate >= IMG_PREALLOCATE_FALLOC);
}

static ImgBlockMapFlags
top_only (const ImgConvertOptions *options)
{
  return options->creation != NULL && img_creation_has_backing (options->creation)
           ? IMG_BLOCK_MAP_TOP_ONLY
           : 0;
}

static gboolean
add_bitmaps (Planner *planner, ImgError **error)
{
  const ImgConvertOptions *options = planner->options;
  ImgMeasurement found = { 0 };

  if (options->copy_bitmaps && options->n_sources == 1 &&
      !img_measure_bitmaps (options->creation->driver, &planner->footprint, options->sources[0], &found,
                            error))
    return FALSE;
  planner->footprint.metadata += found.bitmaps;
  return TRUE;
}

/* What the options alone say. */
static gboolean
find_footprint (Planner *planner, ImgError **error)
{
  const ImgCreation *creation = planner->options->creation;
  ImgFootprint *footprint = &planner->footprint;
  ImgCreateOptions create;

  if (creation == NULL) /* an image that is there: its metadata as well, as far as one can know */
    *footprint = (ImgFootprint){
      .unit = MAX (img_image_get_layout (planner->options->target)->unit_length, SECTOR_SIZE),
      .disk_size = img_image_get_size (planner->disk),
    };
  else
    {
      create = creation->options;
      if (!creation->has_size)
        create.size = img_image_get_size (planner->disk);
      if (creation->driver->measure == NULL)
        {
          img_error_set (error, IMG_CODE_UNSUPPORTED,
                         _ ("Images of the format %s cannot be measured"), creation->driver->name);
          return FALSE;
        }
      if (!creation->driver->measure (&create, footprint, error) || !add_bitmaps (planner, error))
        return FALSE;
    }
  planner->plan->fully_allocated = footprint->metadata + footprint->disk_size;
  return TRUE;
}

/* What the map says. */
static gboolean
find_required (Planner *planner, ImgError **error)
{
  guint64 n_bytes = planner->footprint.disk_size;

  if (!fills_disk (planner->options) &&
      !img_measure_data (planner->disk, planner->footprint.unit, top_only (planner->options),
                         &n_bytes, NULL, planner->cancel, error))
    return FALSE;
  planner->plan->required = planner->footprint.metadata + n_bytes;
  return TRUE;
}

/* ---- whether there is room ---- */

static void
find_available (Planner *planner)
{
  const ImgCreation *creation = planner->options->creation;
  const char *path = NULL;

  if (creation != NULL && creation->data_storage == NULL)
    path = creation->data_file_path != NULL ? creation->data_file_path : creation->path;
  planner->plan->has_available = path != NULL && img_free_space_find (path, &planner->space);
  if (planner->plan->has_available)
    planner->plan->available = planner->space.bytes;
}

/* Whether the kernel could share blocks of the sources with the new file. */
static gboolean
may_share_blocks (Planner *planner)
{
  const ImgConvertOptions *options = planner->options;

  if (!planner->space.has_reflinks)
    return FALSE;
  for (guint i = 0; i < options->n_sources; i++)
    for (ImgImage *layer = options->sources[i]; layer != NULL;
         layer = img_image_get_backing (layer))
      {
        ImgStorage *storages[] = { img_image_get_storage (layer),
                                   img_image_get_data_storage (layer) };
        ImgIdentity identity;

        for (guint j = 0; j < G_N_ELEMENTS (storages); j++)
          if (storages[j] != NULL && img_storage_get_identity (storages[j], &identity) &&
              identity.device == planner->space.device)
            return TRUE;
      }
  return FALSE;
}

static gboolean
may_be_certain (Planner *planner)
{
  const ImgConvertOptions *options = planner->options;

  return planner->space.is_plain && !options->compress && !options->salvage &&
         !may_share_blocks (planner);
}

/* Blocks that are not zero, in steps that the conversion looks at as well: it writes at least one
 * block of the file system for each. */
static guint64
count_blocks (const guint8 *data, gsize length, guint64 offset, gsize step)
{
  guint64 n_bytes = 0;

  for (gsize part; length > 0; data += part, length -= part, offset += part)
    {
      part = MIN (step - offset % step, length);
      if (!img_is_zero (data, part))
        n_bytes += part;
    }
  return n_bytes;
}

/* Adds to *n_bytes until that is more than there is room for. */
static gboolean
count_in_block (Planner *planner,
                const ImgBlock *block,
                guint64 offset,
                guint8 *buffer,
                guint64 *n_bytes,
                ImgError **error)
{
  gsize grain = planner->options->zero_grain;
  gsize step = CLAMP (img_align_down (grain, SECTOR_SIZE), SECTOR_SIZE, IMG_CONVERT_ZERO_GRAIN);
  guint64 end = offset + block->length;

  if (grain == 0)
    {
      *n_bytes += block->length;
      return TRUE;
    }
  for (gsize part; offset < end && *n_bytes <= planner->space.bytes; offset += part)
    {
      part = (gsize) MIN (end - offset, READ_SIZE);
      if (!img_image_read (planner->disk, offset, buffer, part, planner->cancel, error))
        return FALSE;
      *n_bytes += count_blocks (buffer, part, offset, step);
    }
  return TRUE;
}

/* What the data says. */
static gboolean
count_certain (Planner *planner, guint64 *n_bytes, ImgError **error)
{
  ImgBlockMapFlags flags = IMG_BLOCK_MAP_HOST_HOLES | top_only (planner->options);
  guint64 size = img_image_get_size (planner->disk);
  g_autoptr (ImgBuffer) buffer = img_try_alloc (READ_SIZE, error);
  ImgBlock block;

  if (buffer == NULL)
    return FALSE;
  for (guint64 offset = 0; offset < size && *n_bytes <= planner->space.bytes;
       offset += block.length)
    {
      if (img_cancel_check (planner->cancel, error) ||
          !img_image_map (planner->disk, offset, size - offset, flags, &block, planner->cancel,
                          error))
        return FALSE;
      if (!block.reads_as_zero && !count_in_block (planner, &block, offset, buffer, n_bytes, error))
        return FALSE;
    }
  return TRUE;
}

/* With @plan->required found. */
static gboolean
judge_room (Planner *planner, ImgError **error)
{
  ImgConvertPlan *plan = planner->plan;
  guint64 n_bytes = 0;

  if (!plan->has_available)
    plan->room = IMG_ROOM_UNKNOWN;
  else if (plan->required <= plan->available)
    plan->room = IMG_ROOM_ENOUGH;
  else if (!may_be_certain (planner))
    plan->room = IMG_ROOM_UNCERTAIN;
  else
    {
      if (fills_disk (planner->options))
        n_bytes = planner->footprint.disk_size;
      else if (!count_certain (planner, &n_bytes, error))
        return FALSE;
      plan->room = n_bytes > plan->available ? IMG_ROOM_TOO_LITTLE : IMG_ROOM_UNCERTAIN;
    }
  return TRUE;
}

/* ---- the two uses ---- */

static gboolean
make_plan (Planner *planner, ImgError **error)
{
  planner->disk = img_convert_open_disk (planner->options, planner->cancel, error);
  if (planner->disk == NULL || !find_losses (planner, error) || !find_footprint (planner, error) ||
      !find_required (planner, error))
    return FALSE;
  find_available (planner);
  return judge_room (planner, error);
}

gboolean
img_convert_plan (const ImgConvertOptions *options,
                  ImgConvertPlan *plan,
                  ImgCancel *cancel,
                  ImgError **error)
{
  Planner planner = { .options = options, .plan = plan, .cancel = cancel };
  gboolean success;

  *plan = (ImgConvertPlan){ .texts = g_ptr_array_new_with_free_func (g_free) };
  success = make_plan (&planner, error);
  g_ptr_array_add (plan->texts, NULL);
  img_image_unref (planner.disk);
  if (!success)
    img_convert_plan_clear (plan);
  return success;
}

void
img_convert_plan_clear (ImgConvertPlan *plan)
{
  g_clear_pointer (&plan->texts, g_ptr_array_unref);
}

gboolean
img_convert_check_room (const ImgConvertOptions *options,
                        ImgImage *disk,
                        ImgCancel *cancel,
                        ImgError **error)
{
  ImgConvertPlan plan = { 0 };
  Planner planner = { .options = options, .disk = disk, .plan = &plan, .cancel = cancel };

  if (options->creation == NULL || options->ignore_space)
    return TRUE;
  find_available (&planner);
  if (!plan.has_available || !may_be_certain (&planner))
    return TRUE;
  if (!find_footprint (&planner, error))
    return FALSE;
  if (plan.fully_allocated <= plan.available)
    return TRUE;
  if (!find_required (&planner, error) || !judge_room (&planner, error))
    return FALSE;
  if (plan.room != IMG_ROOM_TOO_LITTLE)
    return TRUE;
  img_error_set_errno (error, ENOSPC,
                       _ ("The file system has only %" PRIu64 " bytes left, too few for the disk"),
                       plan.available);
  return FALSE;
}
