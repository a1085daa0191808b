/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Compacting by writing anew: the image is converted to one of the same shape, which then takes the place of the old
 * one. So the result is as small as a fresh copy, whatever the old file had come to.
 *
 * Who may do what meanwhile
 * -------------------------
 * The image stays open, and its file locked for writing, until the new file has its name: other programs are kept away
 * as they are from any image that is open. In this process the image is frozen: it can be read, but changes fail, as
 * what they changed could have been copied already. An image that is below another one is not rewritten, as that one
 * would go on reading the old file. The backing images are shared by the old and the new image.
 *
 * Once the new file has its name the old image is abandoned: nothing is written to it, nothing can be read from it, and
 * its locks go. A program that had opened the old file before that, but not locked it yet, gets a file that has no name
 * any more: QEMU's protocol knows no remedy, and every way of replacing a file has that gap.
 *
 * Order, for crashes
 * ------------------
 *   1. All that was changed before is flushed: the old file is complete.
 *   2. The new one, which has no name, is written, closed and flushed.
 *   3. It takes the name, in one step; then the folder is flushed.
 * So a crash leaves the old image or the new one. At worst there is a temporary name beside it, between two system calls
 * of step 3, which the next run removes. What fails or is cancelled before the name is taken has changed nothing. If
 * flushing the folder fails the new image is there, but a crash might bring the old one back: that is an error, and the
 * image is abandoned nevertheless.
 *
 * What is kept
 * ------------
 * What the format lets one choose, the reference to the backing file as it is recorded, bitmaps; the name, mode, owner
 * and attributes of the file. The format of a backing file that was not recorded is recorded now. If any cluster was
 * compressed, all are. What has no place in the new file, or would be parted from it, is refused before anything is
 * written: snapshots, external data files, encryption, parts that this library does not know, hard links. Room for the
 * new file is planned by the conversion. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <sys/stat.h>

#include "img-convert.h"
#include "img-file-storage.h"
#include "img-rewrite.h"

#define SECTOR_SIZE 512

typedef struct
{
  ImgImage *image;
  ImgDescription description;
  ImgSuccession succession;
  ImgCreation creation;
  gboolean is_compressed;
  guint64 usage; /* bytes of the old file */
} Rewriting;

/* ---- what cannot be rewritten ---- */

static gboolean
check_snapshots (ImgLayout *layout, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (GString) names = g_string_new (NULL);
  g_autoptr (GPtrArray) snapshots = NULL;

  if (layout->klass->list_snapshots == NULL)
    return TRUE;
  snapshots = layout->klass->list_snapshots (layout, cancel, error);
  for (guint i = 0; snapshots != NULL && i < snapshots->len; i++)
    img_quote_append (names, ((ImgSnapshotInfo *) g_ptr_array_index (snapshots, i))->name);
  if (names->len == 0)
    return snapshots != NULL;
  return img_error_refuse (error, IMG_CODE_UNSUPPORTED, _("Rewriting would lose these snapshots: %s"), names->str);
}

static gboolean
check_shape (const ImgDescription *description, ImgError **error)
{
  if (description->encryption != NULL)
    return img_error_refuse (error, IMG_CODE_UNSUPPORTED, _("An encrypted image cannot be rewritten"));
  if (description->has_data_file)
    return img_error_refuse (error, IMG_CODE_UNSUPPORTED,
                             _("An image with an external data file cannot be rewritten"));
  if (description->has_unknown_parts)
    return img_error_refuse (error, IMG_CODE_UNSUPPORTED,
                             _("Rewriting would lose parts of the image that this version knows nothing of"));
  return TRUE;
}

/* A raw disk ends with a whole sector, its file need not: then what the disk has behind it is zero. */
static gboolean
keep_length (Rewriting *rewriting, ImgLayout *layout, ImgError **error)
{
  guint64 length;

  if (!layout->is_identity)
    return TRUE;
  if (!img_storage_get_size (layout->storage, &length, error))
    return FALSE;
  if (length % SECTOR_SIZE != 0)
    rewriting->succession.length = length;
  return TRUE;
}

static gboolean
describe (Rewriting *rewriting, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (rewriting->image);
  ImgEpochTicket ticket = img_epoch_enter (img_image_get_epoch (rewriting->image));
  gboolean success = (layout->klass->describe == NULL ||
                      layout->klass->describe (layout, &rewriting->description, error)) &&
                     check_shape (&rewriting->description, error) &&
                     check_snapshots (layout, cancel, error) && keep_length (rewriting, layout, error);

  img_epoch_leave (img_image_get_epoch (rewriting->image), ticket);
  return success;
}

/* ---- the new image ---- */

static gboolean
find_file (Rewriting *rewriting, ImgError **error)
{
  ImgStorage *storage = img_image_get_storage (rewriting->image);
  struct stat st;

  rewriting->creation.path = img_storage_get_name (storage);
  if (rewriting->creation.path != NULL && img_file_storage_get_fd (storage) >= 0 &&
      fstat (img_file_storage_get_fd (storage), &st) == 0 && S_ISREG (st.st_mode) &&
      img_storage_get_identity (storage, &rewriting->succession.file))
    return img_storage_get_usage (storage, &rewriting->usage, error);
  img_error_set (error, IMG_CODE_NOT_REGULAR_FILE,
                 _("Only an image in a regular file of its own can be rewritten"));
  return FALSE;
}

static const ImgWanted *
find_recorded_backing (ImgImage *image)
{
  GPtrArray *wanted = img_image_get_wanted (image);

  for (guint i = 0; i < wanted->len; i++)
    {
      const ImgWanted *reference = g_ptr_array_index (wanted, i);

      if (reference->role == IMG_REFERENCE_BACKING_FILE)
        return reference;
    }
  return NULL;
}

/* The application may have put another image below, or none. */
static gboolean
choose_backing (Rewriting *rewriting, ImgError **error)
{
  ImgCreation *creation = &rewriting->creation;
  const ImgWanted *recorded = find_recorded_backing (rewriting->image);

  creation->backing_image = img_image_get_backing (rewriting->image);
  if ((recorded == NULL) != (creation->backing_image == NULL))
    return img_error_refuse (error, IMG_CODE_UNSUPPORTED,
                             _("An image cannot be rewritten without the backing file that it names, or with "
                               "one that it does not name"));
  if (recorded == NULL)
    return TRUE;
  creation->backing_name = recorded->name;
  creation->options.backing_format = recorded->format_name;
  return TRUE;
}

static void
choose_shape (Rewriting *rewriting)
{
  const ImgDescription *description = &rewriting->description;
  ImgCreateOptions *options = &rewriting->creation.options;

  if (description->compat != NULL)
    options->version = g_str_equal (description->compat, "0.10") ? 2 : 3;
  options->cluster_size = description->cluster_size;
  options->refcount_bits = description->refcount_bits;
  if (description->compression_type != NULL)
    options->compression =
      g_str_equal (description->compression_type, "zstd") ? IMG_COMPRESSION_ZSTD : IMG_COMPRESSION_ZLIB;
  options->extended_l2 = description->has_extended_l2;
  options->lazy_refcounts = description->has_lazy_refcounts;
}

/* An image whose clusters are compressed would otherwise grow. */
static gboolean
find_compressed (Rewriting *rewriting, ImgCancel *cancel, ImgError **error)
{
  ImgImage *image = rewriting->image;
  guint64 size = img_image_get_layout (image)->unit_length > 0 ? img_image_get_size (image) : 0;
  ImgBlock block;

  for (guint64 at = 0; at < size && !rewriting->is_compressed; at += block.length)
    {
      if (img_cancel_check (cancel, error) ||
          !img_image_map (image, at, size - at, IMG_BLOCK_MAP_TOP_ONLY, &block, cancel, error))
        return FALSE;
      rewriting->is_compressed = block.kind == IMG_BLOCK_COMPRESSED;
    }
  return TRUE;
}

static gboolean
plan (Rewriting *rewriting, ImgCancel *cancel, ImgError **error)
{
  rewriting->creation.driver = img_image_get_layout (rewriting->image)->driver;
  rewriting->creation.succession = &rewriting->succession;
  if (!find_file (rewriting, error) || !describe (rewriting, cancel, error) ||
      !choose_backing (rewriting, error) || !find_compressed (rewriting, cancel, error))
    return FALSE;
  choose_shape (rewriting);
  return TRUE;
}

/* ---- the job ---- */

static gboolean
copy (Rewriting *rewriting,
      const ImgRewriteOptions *options,
      ImgProgress *progress,
      ImgCancel *cancel,
      ImgError **error)
{
  const ImgConvertOptions convert = {
    .sources = &rewriting->image,
    .n_sources = 1,
    .creation = &rewriting->creation,
    .zero_grain = IMG_CONVERT_ZERO_GRAIN,
    .compress = rewriting->is_compressed,
    .copy_bitmaps = rewriting->description.may_have_bitmaps,
    .skip_broken_bitmaps = options->lose_bitmaps,
    .bytes_per_second = options->bytes_per_second,
    .durable = TRUE,
    .n_threads = options->n_threads,
    .priority = options->priority,
  };

  if (img_convert (&convert, progress, cancel, error))
    return TRUE;
  if (rewriting->succession.is_done)
    img_error_prefix (error, _("The image was rewritten, but a crash might bring the old one back: "));
  return FALSE;
}

gboolean
img_rewrite (ImgImage *image,
             const ImgRewriteOptions *options,
             ImgRewriteResult *result,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgError **error)
{
  Rewriting rewriting = { .image = image };
  gboolean success;

  *result = (ImgRewriteResult) { 0 };
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  if (!img_image_freeze (image, cancel, error))
    return FALSE;
  success = plan (&rewriting, cancel, error) && copy (&rewriting, options, progress, cancel, error);
  img_description_clear (&rewriting.description);
  if (!rewriting.succession.is_done)
    {
      img_image_thaw (image);
      return FALSE;
    }
  *result = (ImgRewriteResult) {
    .n_freed = success ? rewriting.usage - MIN (rewriting.usage, rewriting.succession.usage) : 0,
    .is_replaced = TRUE,
  };
  return img_image_abandon (image, success ? error : NULL) && success;
}
