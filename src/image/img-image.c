/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-image-private.h"

#define DEFAULT_DECODED_CACHE (4 * IMG_MIB)

/* What is decoded is known by where it was stored. */
static void
host_freed_cb (gpointer data, guint64 host_offset, guint64 length)
{
  ImgImage *image = data;

  if (image->decoded != NULL)
    img_decoded_forget (image->decoded, host_offset, length);
}

ImgLockRole
img_lock_role (const ImgImageOptions *options, gboolean is_data)
{
  gboolean is_raw = !is_data && g_str_equal (options->driver->name, "raw");

  if (options->layout.writable)
    return IMG_LOCK_WRITE;
  if (options->force_share || (is_raw && !options->keep_unchanged))
    return IMG_LOCK_READ_SHARED;
  return IMG_LOCK_READ;
}

/* Opens the file after it was locked: what is read of it stays true. */
static ImgLayout *
open_locked (ImgStorage *storage,
             const ImgImageOptions *options,
             ImgFileLock **lock,
             ImgCancel *cancel,
             ImgError **error)
{
  ImgLayout *layout;

  if (!img_storage_lock (storage, img_lock_role (options, FALSE), options->locking, lock, error))
    return NULL;
  layout = options->driver->open (storage, &options->layout, cancel, error);
  if (layout == NULL)
    g_clear_pointer (lock, img_file_lock_release);
  return layout;
}

static gboolean
check_options (ImgStorage *storage, const ImgImageOptions *options, ImgError **error)
{
  if (options->layout.writable && !storage->can_write)
    {
      img_error_set (error, IMG_CODE_READ_ONLY, _("The storage was not opened for writing"));
      return FALSE;
    }
  if (options->layout.writable && options->force_share)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("Only an image that is opened for reading can be shared by force"));
  else if (options->layout.writable && options->layout.metadata_only)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("An image that is opened for its metadata alone cannot be written"));
  else
    return TRUE;
  return FALSE;
}

ImgImage *
img_image_open (ImgStorage *storage,
                const ImgImageOptions *options,
                ImgCancel *cancel,
                ImgError **error)
{
  ImgFileLock *lock;
  ImgLayout *layout;
  ImgImage *image;

  if (!check_options (storage, options, error))
    return NULL;
  layout = open_locked (storage, options, &lock, cancel, error);
  if (layout == NULL)
    return NULL;
  image = g_new0 (ImgImage, 1);
  img_ref_init (&image->ref_count);
  image->layout = layout;
  image->lock = lock;
  image->options = *options;
  image->is_snapshot = options->layout.snapshot != NULL;
  image->options.layout.snapshot = NULL;
  if (options->max_depth == 0)
    image->options.max_depth = IMG_DEFAULT_MAX_DEPTH;
  image->options.max_depth = MIN (image->options.max_depth, IMG_HARD_MAX_DEPTH);
  if (options->max_files == 0)
    image->options.max_files = IMG_DEFAULT_MAX_FILES;
  img_epoch_init (&image->epoch);
  img_mutex_init (&image->mutex);
  img_claims_init (&image->claims);
  layout->epoch = &image->epoch;
  if (layout->unit_length > 0)
    image->decoded = img_decoded_cache_new (layout->unit_length, options->decoded_cache_size > 0
                                                                   ? options->decoded_cache_size
                                                                   : DEFAULT_DECODED_CACHE);
  layout->host_freed = host_freed_cb;
  layout->host_freed_data = image;
  return image;
}

ImgImage *
img_image_ref (ImgImage *image)
{
  img_ref_inc (&image->ref_count);
  return image;
}

ImgImage *
img_image_put_backing (ImgImage *image, ImgImage *backing)
{
  ImgImage *old = image->backing;

  if (old != NULL)
    g_atomic_int_add (&old->n_above, -1);
  image->backing = backing;
  if (backing != NULL)
    g_atomic_int_inc (&backing->n_above);
  return old;
}

/* A chain is freed in a loop: its length comes from files. */
void
img_image_unref (ImgImage *image)
{
  while (image != NULL && img_ref_dec (&image->ref_count))
    {
      ImgImage *backing = image->backing;

      img_image_leave_backing (image);
      img_layout_free (image->layout);
      img_storage_unref (image->data_storage);
      img_file_lock_release (image->data_lock);
      img_file_lock_release (image->lock);
      img_decoded_cache_free (image->decoded);
      img_claims_clear (&image->claims);
      img_epoch_clear (&image->epoch);
      img_mutex_clear (&image->mutex);
      g_free (image);
      image = backing;
    }
}

static void
lock_leave (ImgFileLock *const *field, ImgLeaving *leaving)
{
  ImgFileLock *lock = __atomic_load_n (field, __ATOMIC_ACQUIRE);

  if (lock != NULL)
    img_file_lock_leave (lock, leaving);
}

/* A layer keeps its locks as long as one above reads it, and the one above is ours. */
void
img_image_leave (ImgImage *image, ImgLeaving *leaving)
{
  for (; image != NULL; image = image->backing)
    {
      lock_leave (&image->data_lock, leaving);
      lock_leave (&image->lock, leaving);
      if (g_atomic_int_get (&image->has_left))
        return;
    }
}

gboolean
img_image_keep_unchanged (ImgImage *image, ImgFileLock **lock, ImgError **error)
{
  const ImgImageOptions *options = &image->options;

  *lock = NULL;
  if (options->force_share || img_lock_role (options, FALSE) != IMG_LOCK_READ_SHARED)
    return TRUE;
  return img_storage_lock (image->layout->storage, IMG_LOCK_READ, options->locking, lock, error);
}

gboolean
img_image_is_ready (ImgImage *image)
{
  return img_image_check_ready (image);
}

gboolean
img_image_is_linked (ImgImage *image)
{
  return img_image_check_linked (image);
}

static void
set_not_ready_error (ImgImage *image, ImgError **error)
{
  if (__atomic_load_n (&image->state, __ATOMIC_ACQUIRE) == IMG_STATE_CLOSED)
    img_error_set (error, IMG_CODE_CLOSED, _("The image is closed"));
  else if (image->options.layout.metadata_only)
    img_error_set (error, IMG_CODE_METADATA_ONLY, _("The image was opened for its metadata alone"));
  else
    img_error_set (error, IMG_CODE_REFERENCES_PENDING,
                   _("The files that the image refers to have not been opened yet"));
}

gboolean
img_image_require_ready (ImgImage *image, ImgError **error)
{
  if (img_image_check_ready (image))
    return TRUE;
  set_not_ready_error (image, error);
  return FALSE;
}

ImgImage *
img_image_get_backing (ImgImage *image)
{
  return img_image_check_linked (image) ? image->backing : NULL;
}

gboolean
img_image_uses_file (ImgImage *image, const ImgIdentity *file)
{
  for (ImgImage *layer = image; layer != NULL; layer = img_image_get_backing (layer))
    {
      ImgStorage *data_storage = img_image_get_data_storage (layer);

      if (img_storage_uses_file (img_image_get_storage (layer), file) ||
          (data_storage != NULL && img_storage_uses_file (data_storage, file)))
        return TRUE;
    }
  return FALSE;
}

ImgStorage *
img_image_get_storage (ImgImage *image)
{
  return image->layout->storage;
}

ImgStorage *
img_image_get_data_storage (ImgImage *image)
{
  return img_image_check_linked (image) ? image->data_storage : NULL;
}

gboolean
img_image_may_wait (ImgImage *image, ImgError **error)
{
  for (ImgImage *layer = image; layer != NULL; layer = img_image_get_backing (layer))
    {
      ImgStorage *data_storage = img_image_get_data_storage (layer);

      if (!img_storage_may_wait (img_image_get_storage (layer), error) ||
          (data_storage != NULL && !img_storage_may_wait (data_storage, error)))
        return FALSE;
    }
  return TRUE;
}

gboolean
img_image_may_hang (ImgImage *image)
{
  for (ImgImage *layer = image; layer != NULL; layer = img_image_get_backing (layer))
    {
      ImgStorage *data_storage = img_image_get_data_storage (layer);

      if (img_image_get_storage (layer)->may_hang || (data_storage != NULL && data_storage->may_hang))
        return TRUE;
    }
  return FALSE;
}

ImgLayout *
img_image_get_layout (ImgImage *image)
{
  return image->layout;
}

guint64
img_image_get_size (ImgImage *image)
{
  return __atomic_load_n (&image->layout->size, __ATOMIC_RELAXED);
}

gboolean
img_image_is_writable (ImgImage *image)
{
  return image->layout->writable;
}

gboolean
img_image_is_snapshot (ImgImage *image)
{
  return image->is_snapshot;
}

ImgEpoch *
img_image_get_epoch (ImgImage *image)
{
  return &image->epoch;
}

gboolean
img_check_range (ImgImage *image, guint64 offset, guint64 length, ImgError **error)
{
  guint64 size = img_image_get_size (image);

  if (G_UNLIKELY (!img_image_check_ready (image)))
    {
      set_not_ready_error (image, error);
      return FALSE;
    }
  if (G_LIKELY (img_range_fits (offset, length, size)))
    return TRUE;
  img_error_set (
    error, IMG_CODE_OUT_OF_RANGE,
    _("%" PRIu64 " bytes at offset %" PRIu64 " lie past the end of the disk of %" PRIu64 " bytes"),
    length, offset, size);
  return FALSE;
}

gboolean
img_check_change (ImgImage *image, guint64 offset, guint64 length, ImgError **error)
{
  if (!img_check_range (image, offset, length, error))
    return FALSE;
  if (G_UNLIKELY (!image->layout->writable))
    img_error_set (error, IMG_CODE_READ_ONLY, _("The image was not opened for writing"));
  else if (G_UNLIKELY (__atomic_load_n (&image->is_frozen, __ATOMIC_RELAXED)))
    img_error_set (error, IMG_CODE_LOCKED, _("The image is being rewritten and cannot be changed meanwhile"));
  else
    return TRUE;
  return FALSE;
}

/* ---- walking a chain ---- */

#define NO_TICKET G_MAXUINT

void
img_walk_begin (ImgWalk *walk, ImgImage *top, gboolean try_only)
{
  walk->top = top;
  walk->try_only = try_only;
  walk->top_only = FALSE;
  walk->bottom = NULL;
  walk->n_entered = 0;
}

void
img_walk_end (ImgWalk *walk)
{
  while (walk->n_entered > 0)
    {
      walk->n_entered--;
      if (G_LIKELY (walk->tickets[walk->n_entered] != NO_TICKET))
        img_epoch_leave (&walk->entered[walk->n_entered]->epoch, walk->tickets[walk->n_entered]);
    }
}

/* Whoever changes the structure of a layer is inside it already, alone. */
static gboolean
enter_epoch (const ImgWalk *walk, ImgImage *layer, ImgEpochTicket *ticket)
{
  if (G_LIKELY (img_epoch_try_enter (&layer->epoch, ticket)))
    return TRUE;
  if (__atomic_load_n (&layer->alone, __ATOMIC_RELAXED) == g_thread_self ())
    {
      *ticket = NO_TICKET;
      return TRUE;
    }
  if (walk->try_only)
    return FALSE;
  *ticket = img_epoch_enter (&layer->epoch);
  return TRUE;
}

/* A layer stays entered until the walk ends, so depths are entered once and in order. */
static gboolean
enter (ImgWalk *walk, ImgImage *layer, guint depth)
{
  if (depth < walk->n_entered)
    return TRUE;
  if (!enter_epoch (walk, layer, &walk->tickets[depth]))
    return FALSE;
  walk->entered[depth] = layer;
  walk->n_entered = depth + 1;
  return TRUE;
}

gboolean
img_walk_enter (ImgWalk *walk)
{
  return enter (walk, walk->top, 0);
}

ImgMapResult
img_walk_map (ImgWalk *walk,
              guint64 offset,
              guint64 length,
              ImgExtent *extent,
              ImgImage **layer,
              guint *depth,
              ImgError **error)
{
  ImgMapFlags flags = walk->try_only ? IMG_MAP_TRY : IMG_MAP_NONE;
  ImgImage *image = walk->top;

  for (guint level = 0;; level++)
    {
      ImgMapResult result;

      if (!enter (walk, image, level))
        return IMG_MAP_WOULD_BLOCK;
      *layer = image;
      *depth = level;
      result = image->layout->klass->map (image->layout, offset, length, flags, extent, error);
      if (result != IMG_MAP_OK || extent->kind != IMG_EXTENT_HOLE || walk->top_only ||
          image->backing == NULL || image->backing == walk->bottom)
        return result;
      /* What a short backing image does not reach is in no layer. */
      if (offset >= image->backing->layout->size)
        return result;
      image = image->backing;
      length = MIN (extent->length, image->layout->size - offset);
    }
}
