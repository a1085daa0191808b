/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Converting: an image in, an image out, and a pipeline (img-pipeline.h) between them.
 *
 * What is copied is one image at all times: several disks, or a window, are seen as one raw disk.
 * What is written is one too: a new one is made without a name and flushes nothing (a staged
 * image), filled as any image is, made durable and published at last.
 *
 * The pieces are claimed twice: the first pass only adds up what there is to copy, so that progress
 * is honest; it keeps no list, as the number of pieces stands in a file. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-compare.h"
#include "img-convert.h"
#include "img-convert-out.h"
#include "img-convert-plan.h"
#include "img-convert-target.h"
#include "img-joined.h"
#include "img-simple-storages.h"

#define CHUNK_SIZE IMG_MIB

typedef struct
{
  const ImgConvertOptions *options;
  ImgImage *disk;      /* what is copied */
  ImgFileLock **locks; /* of the sources */
  ImgStagedImage *staged;
  ImgImage *image; /* what is written: borrowed */
  gboolean keeps_bitmaps; /* its own */
  ImgConvertSource source;
  ImgConvertTarget target;
} Conversion;

/* ---- the source ---- */

static ImgImage *
open_as_raw (ImgStorage *storage, ImgCancel *cancel, ImgError **error)
{
  const ImgImageOptions options = { .driver = img_driver_find ("raw") };
  g_autoptr (ImgImage) image = img_image_open (storage, &options, cancel, error);
  ImgPolicy *policy;
  gboolean success;

  if (image == NULL)
    return NULL;
  policy = img_policy_new_deny ();
  success = img_image_open_references (image, policy, cancel, error);
  img_policy_unref (policy);
  return success ? g_steal_pointer (&image) : NULL;
}

static gboolean
find_window (const ImgConvertOptions *options, guint64 size, guint64 *length, ImgError **error)
{
  *length = options->length > 0 ? options->length : size - MIN (options->offset, size);
  if (img_range_fits (options->offset, *length, size))
    return TRUE;
  img_error_set (error, IMG_CODE_OUT_OF_RANGE,
                 _ ("The range to be copied lies outside of the disk, which has %" PRIu64 " bytes"),
                 size);
  return FALSE;
}

/* The only disk itself, if all of it is wanted, with all that its map can tell. */
ImgImage *
img_convert_open_disk (const ImgConvertOptions *options, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImgStorage) joined = NULL;
  g_autoptr (ImgStorage) window = NULL;
  guint64 size, length;

  if (options->n_sources == 1 && options->offset == 0 && options->length == 0)
    return img_image_ref (options->sources[0]);
  joined = img_joined_storage_new (options->sources, options->n_sources);
  if (!img_storage_get_size (joined, &size, error) || !find_window (options, size, &length, error))
    return NULL;
  window = img_window_storage_new (joined, options->offset, length);
  return open_as_raw (window, cancel, error);
}

static gboolean
lock_sources (Conversion *conversion, ImgError **error)
{
  const ImgConvertOptions *options = conversion->options;

  conversion->locks = g_new0 (ImgFileLock *, options->n_sources);
  for (guint i = 0; i < options->n_sources; i++)
    if (!img_image_keep_unchanged (options->sources[i], &conversion->locks[i], error))
      return FALSE;
  return TRUE;
}

static void
unlock_sources (Conversion *conversion)
{
  for (guint i = 0; conversion->locks != NULL && i < conversion->options->n_sources; i++)
    img_file_lock_release (conversion->locks[i]);
  g_free (conversion->locks);
}

/* ---- the target ---- */

static gboolean
stage_target (Conversion *conversion, ImgCancel *cancel, ImgError **error)
{
  ImgCreation *creation = conversion->options->creation;

  if (!creation->has_size)
    creation->options.size = img_image_get_size (conversion->disk);
  creation->has_size = TRUE;
  creation->is_volatile = TRUE;
  creation->source = creation->succession == NULL ? conversion->disk : NULL;
  conversion->staged = img_staged_image_new (creation, cancel, error);
  if (conversion->staged == NULL)
    return FALSE;
  conversion->image = img_staged_image_get (conversion->staged);
  return TRUE;
}

static gboolean
is_read (Conversion *conversion, ImgStorage *storage)
{
  ImgIdentity identity;

  return storage != NULL && img_storage_get_identity (storage, &identity) &&
         img_image_uses_file (conversion->disk, &identity);
}

/* Whether the target is a source, or below one, or writes to a file of one. */
static gboolean
is_source (Conversion *conversion)
{
  ImgImage *target = conversion->options->target;

  if (target != NULL && (is_read (conversion, img_image_get_storage (target)) ||
                         is_read (conversion, img_image_get_data_storage (target))))
    return TRUE;
  for (guint i = 0; target != NULL && i < conversion->options->n_sources; i++)
    for (ImgImage *layer = conversion->options->sources[i]; layer != NULL;
         layer = img_image_get_backing (layer))
      if (layer == target)
        return TRUE;
  return FALSE;
}

static gboolean
check_target (Conversion *conversion, ImgError **error)
{
  guint64 size = img_image_get_size (conversion->image);

  if (is_source (conversion))
    img_error_set (error, IMG_CODE_REFERENCE_LOOP, _ ("The target is what is to be copied"));
  else if (!img_image_is_writable (conversion->image))
    img_error_set (error, IMG_CODE_READ_ONLY, _ ("The target was opened for reading only"));
  else if (size < img_image_get_size (conversion->disk))
    img_error_set (
      error, IMG_CODE_OUT_OF_RANGE,
      _ ("The disk has %" PRIu64 " bytes and the target has room for %" PRIu64 " only"),
      img_image_get_size (conversion->disk), size);
  else
    return TRUE;
  return FALSE;
}

static gboolean
open_target (Conversion *conversion, ImgCancel *cancel, ImgError **error)
{
  const ImgConvertOptions *options = conversion->options;

  conversion->image = options->target;
  return (options->target != NULL || stage_target (conversion, cancel, error)) &&
         check_target (conversion, error);
}

/* ---- copying ---- */

static gboolean
set_up_target (Conversion *conversion, ImgError **error)
{
  const ImgConvertOptions *options = conversion->options;
  ImgLayout *layout = img_image_get_layout (conversion->image);
  ImgConvertTarget *target = &conversion->target;
  gboolean is_new = conversion->staged != NULL;
  gboolean has_backing = is_new && img_creation_has_backing (options->creation);
  /* Where the map of the image is not what says what is zero, only a new file surely is. */
  gboolean is_fresh =
    is_new && (!layout->is_identity || img_staged_image_is_new_file (conversion->staged));

  *target = (ImgConvertTarget){
    .image = conversion->image,
    .zero_grain = options->allocate_all ? 0 : options->zero_grain,
    .allocate_all = options->allocate_all,
    .reads_as_zero =
      is_new ? is_fresh && !has_backing : options->target_is_zero,
    .keeps_holes = has_backing,
    .level = options->level,
  };
  if (options->durable)
    target->write_back.image = conversion->image;
  return !options->compress || img_convert_target_set_up_encode (target, error);
}

/* A cluster of the target is allocated once, and only if there is data for it: so much, and no more, is what was
 * measured (img_measure_data ()). */
static gsize
find_alignment (Conversion *conversion)
{
  gsize granularity = (gsize) img_image_get_layout (conversion->image)->write_granularity;

  return MAX (conversion->target.encode_unit, granularity > 1 ? granularity : IMG_CONVERT_ZERO_GRAIN);
}

/* Where data may go without a look at it: a new raw file that needs no space of its own. */
static ImgStorage *
find_copy_target (Conversion *conversion)
{
  const ImgConvertOptions *options = conversion->options;

  if (conversion->staged == NULL || !img_staged_image_is_new_file (conversion->staged) ||
      !img_image_get_layout (conversion->image)->is_identity || options->zero_grain > 0 ||
      options->allocate_all || options->salvage ||
      options->creation->options.preallocate != IMG_PREALLOCATE_OFF)
    return NULL;
  return img_image_get_storage (conversion->image);
}

static void
set_up_source (Conversion *conversion)
{
  const ImgConvertOptions *options = conversion->options;
  ImgConvertSource *source = &conversion->source;

  img_convert_source_init (source, conversion->disk, CHUNK_SIZE, find_alignment (conversion),
                           options->bytes_per_second);
  source->top_only = source->tell_zero = conversion->target.keeps_holes;
  source->copy_to = find_copy_target (conversion);
  source->salvage = options->salvage;
  source->salvaged = options->salvaged;
  source->salvaged_data = options->salvaged_data;
}

/* A format that allocates puts the data where its turn comes. A file has one lock that is held as long as its page
 * cache is filled: a second writer would only wait for it, or spin. Other raw targets take as many writes as there are. */
static gboolean
is_written_in_order (Conversion *conversion)
{
  return img_image_get_layout (conversion->image)->write_granularity > 1 ||
         (conversion->staged != NULL && img_staged_image_is_new_file (conversion->staged));
}

static gboolean
copy (Conversion *conversion, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass klass = { img_convert_source_claim, img_convert_source_fill,
                                          img_convert_target_encode, img_convert_target_write };
  const ImgPipelineOptions options = {
    .klass = &klass,
    .source = &conversion->source,
    .target = &conversion->target,
    .in_order = is_written_in_order (conversion),
    .chunk_size = conversion->source.chunk_size,
    .encode_unit = conversion->target.encode_unit,
    .worker_memory = conversion->target.encode_memory,
    .n_threads = conversion->options->n_threads,
    .priority = conversion->options->priority,
  };
  guint64 total;

  if (!img_convert_source_add_up (&conversion->source, &total, cancel, error))
    return FALSE;
  img_progress_set_total (progress, total);
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  return img_pipeline_run (&options, progress, cancel, error) && !img_cancel_check (cancel, error);
}

/* What was salvaged cannot be read again to compare it. */
static gboolean
check_verify (const ImgConvertOptions *options, ImgError **error)
{
  if (!options->verify || (options->target == NULL && !options->salvage))
    return TRUE;
  img_error_set (error, IMG_CODE_INVALID_OPTION,
                 _ ("Only a new image of what can be read completely can be verified"));
  return FALSE;
}

/* ---- bitmaps ---- */

static gboolean
check_places (const ImgConvertOptions *options, ImgError **error)
{
  if (options->sink != NULL)
    img_error_set (error, IMG_CODE_INVALID_OPTION, _ ("Bitmaps can be copied to a file only"));
  else if (options->n_sources != 1)
    img_error_set (error, IMG_CODE_INVALID_OPTION, _ ("Bitmaps can be copied of a single source only"));
  else if (options->offset > 0 || options->length > 0)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _ ("Bitmaps can be copied with the whole disk only"));
  else
    return TRUE;
  return FALSE;
}

static gboolean
describe (ImgImage *image, ImgDescription *description, ImgError **error)
{
  ImgEpochTicket ticket = img_epoch_enter (img_image_get_epoch (image));
  ImgLayout *layout = img_image_get_layout (image);
  gboolean success = layout->klass->describe == NULL || layout->klass->describe (layout, description, error);

  img_epoch_leave (img_image_get_epoch (image), ticket);
  return success;
}

static gboolean
check_description (const ImgConvertOptions *options, const ImgDescription *description, ImgError **error)
{
  if (!description->may_have_bitmaps)
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("The source cannot have bitmaps"));
      return FALSE;
    }
  for (guint i = 0; description->bitmaps != NULL && i < description->bitmaps->len; i++)
    {
      const ImgBitmapInfo *info = g_ptr_array_index (description->bitmaps, i);

      if (info->in_use && !options->skip_broken_bitmaps)
        {
          g_autofree char *name = img_quote_name (info->name);

          img_error_set (error, IMG_CODE_CORRUPT,
                         _ ("Bitmap %s was not closed by the program that used it"), name);
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
check_new_image (const ImgConvertOptions *options, ImgError **error)
{
  const ImgLayout *source = img_image_get_layout (options->sources[0]);
  const ImgDriver *driver = options->creation->driver;
  ImgCreateOptions create = options->creation->options;
  ImgFootprint footprint = { 0 };

  create.size = source->size;
  if (driver->measure != NULL && !driver->measure (&create, &footprint, error))
    return FALSE;
  if (footprint.has_bitmaps && driver == source->driver)
    return TRUE;
  img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("The new image cannot have bitmaps"));
  return FALSE;
}

static gboolean
has_name (const GPtrArray *bitmaps, const char *name)
{
  for (guint i = 0; bitmaps != NULL && i < bitmaps->len; i++)
    if (g_str_equal (((const ImgBitmapInfo *) g_ptr_array_index (bitmaps, i))->name, name))
      return TRUE;
  return FALSE;
}

static gboolean
check_names (const GPtrArray *from, const GPtrArray *to, ImgError **error)
{
  for (guint i = 0; from != NULL && i < from->len; i++)
    {
      const ImgBitmapInfo *info = g_ptr_array_index (from, i);

      if (!info->in_use && has_name (to, info->name))
        {
          g_autofree char *name = img_quote_name (info->name);

          img_error_set (error, IMG_CODE_INVALID_OPTION, _ ("The target has a bitmap %s of its own"), name);
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
check_old_image (const ImgConvertOptions *options, const GPtrArray *bitmaps, ImgError **error)
{
  const ImgLayout *source = img_image_get_layout (options->sources[0]);
  const ImgLayout *target = img_image_get_layout (options->target);
  ImgDescription description = { 0 };
  gboolean success;

  if (!describe (options->target, &description, error))
    return FALSE;
  success = FALSE;
  if (target->driver != source->driver || !description.may_have_bitmaps)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("The target cannot have bitmaps"));
  else if (target->size != source->size)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _ ("Bitmaps can be copied to a disk of the same size only"));
  else
    success = check_names (bitmaps, description.bitmaps, error);
  img_description_clear (&description);
  return success;
}

/* Before anything is written; whether their content is sound is found when it is copied. */
static gboolean
check_bitmaps (const ImgConvertOptions *options, ImgError **error)
{
  ImgDescription description = { 0 };
  gboolean success;

  if (!options->copy_bitmaps)
    return TRUE;
  if (!check_places (options, error) || !describe (options->sources[0], &description, error))
    return FALSE;
  success = check_description (options, &description, error) &&
            (options->target != NULL ? check_old_image (options, description.bitmaps, error)
                                     : check_new_image (options, error));
  img_description_clear (&description);
  return success;
}

/* Those of its own would not be valid any more once the target is written to. */
static gboolean
keep_bitmaps (Conversion *conversion, ImgCancel *cancel, ImgError **error)
{
  const ImgConvertOptions *options = conversion->options;

  if (!options->copy_bitmaps || options->target == NULL)
    return TRUE;
  conversion->keeps_bitmaps = img_image_keep_bitmaps (options->target, cancel, error);
  return conversion->keeps_bitmaps;
}

/* Of a conversion that failed. Where this fails too they are lost, as by any change. */
static void
settle_bitmaps (Conversion *conversion)
{
  if (conversion->keeps_bitmaps)
    img_image_settle_bitmaps (conversion->image, NULL);
}

static gboolean
copy_bitmaps (Conversion *conversion, ImgCancel *cancel, ImgError **error)
{
  const ImgConvertOptions *options = conversion->options;

  return !options->copy_bitmaps ||
         img_image_copy_bitmaps (conversion->image, options->sources[0], options->skip_broken_bitmaps,
                                 cancel, error);
}

/* ---- the end ---- */

static gboolean
verify (Conversion *conversion, ImgCancel *cancel, ImgError **error)
{
  const ImgCompareOptions options = {
    .n_threads = conversion->options->n_threads,
    .priority = conversion->options->priority,
  };
  g_autoptr (ImgImage) image = img_staged_image_reopen (conversion->staged, error);
  ImgCompareResult result;

  if (image == NULL ||
      !img_compare (conversion->disk, image, &options, NULL, cancel, &result, error))
    return FALSE;
  if (result.comparison == IMG_COMPARISON_IDENTICAL)
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT,
                 _ ("What was written reads otherwise than the source at offset %" PRIu64),
                 result.offset);
  return FALSE;
}

static gboolean
finish (Conversion *conversion, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  if (!copy_bitmaps (conversion, cancel, error))
    return FALSE;
  if (conversion->staged == NULL)
    return !conversion->options->durable || img_image_flush (conversion->image, cancel, error);
  return img_image_close (conversion->image, error) &&
         (!conversion->options->verify || verify (conversion, cancel, error)) &&
         img_staged_image_publish (conversion->staged, conversion->options->durable, cancel, error);
}

/* ---- the job ---- */

static gboolean
copy_out (Conversion *conversion, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  if (!img_convert_out (conversion->options, conversion->disk, progress, cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}

static gboolean
convert (Conversion *conversion, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  if (!check_verify (conversion->options, error) || !check_bitmaps (conversion->options, error))
    return FALSE;
  conversion->disk = img_convert_open_disk (conversion->options, cancel, error);
  if (conversion->disk == NULL || !lock_sources (conversion, error))
    return FALSE;
  if (conversion->options->sink != NULL)
    return copy_out (conversion, progress, cancel, error);
  if (!img_convert_check_room (conversion->options, conversion->disk, cancel, error) ||
      !open_target (conversion, cancel, error) || !set_up_target (conversion, error) ||
      !keep_bitmaps (conversion, cancel, error))
    return FALSE;
  set_up_source (conversion);
  if (!copy (conversion, progress, cancel, error) || !finish (conversion, progress, cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}

gboolean
img_convert (const ImgConvertOptions *options,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  Conversion conversion = { .options = options };
  gboolean success = convert (&conversion, progress, cancel, error);

  if (!success)
    settle_bitmaps (&conversion);
  if (conversion.source.image != NULL)
    img_convert_source_clear (&conversion.source);
  img_staged_image_free (conversion.staged);
  unlock_sources (&conversion);
  img_image_unref (conversion.disk);
  return success;
}
