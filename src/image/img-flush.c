/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The end of changes: flush and close. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-file-storage.h"
#include "img-image-private.h"

/* A flush counts as a transfer: a structure change waits for it. Once begun it runs to its end. */
gboolean
img_image_flush (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  gboolean success;
  ImgWalk walk;

  if (img_cancel_check (cancel, error))
    return FALSE;
  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  success = img_check_range (image, 0, 0, error) &&
            (!image->layout->writable || image->layout->klass->flush (image->layout, error));
  img_walk_end (&walk);
  return success;
}

void
img_image_start_write_back (ImgImage *image)
{
  img_file_storage_start_write_back (img_image_get_storage (image));
  if (img_image_get_data_storage (image) != NULL)
    img_file_storage_start_write_back (img_image_get_data_storage (image));
}

void
img_image_begin_alone (ImgImage *image)
{
  img_gate_close (&image->epoch);
  __atomic_store_n (&image->alone, g_thread_self (), __ATOMIC_RELAXED);
}

void
img_image_end_alone (ImgImage *image)
{
  __atomic_store_n (&image->alone, NULL, __ATOMIC_RELAXED);
  img_gate_open (&image->epoch);
}

/* FALSE: somebody else closed it, or is opening what it refers to. */
static gboolean
become_closed (ImgImage *image)
{
  gboolean was_open;
  ImgState state;

  img_mutex_lock (&image->mutex);
  state = (ImgState) image->state;
  was_open = state == IMG_STATE_PENDING || state == IMG_STATE_READY || state == IMG_STATE_METADATA;
  if (was_open)
    __atomic_store_n (&image->state, IMG_STATE_CLOSED, __ATOMIC_RELEASE);
  img_mutex_unlock (&image->mutex);
  return was_open;
}

static void
unlock (ImgFileLock **lock)
{
  img_file_lock_release (__atomic_exchange_n (lock, NULL, __ATOMIC_ACQ_REL));
}

/* Files stay locked as long as somebody reads them: through the image itself, or through one above it. */
void
img_image_unlock (ImgImage *image)
{
  if (g_atomic_int_get (&image->n_above) > 0)
    return;
  unlock (&image->data_lock);
  unlock (&image->lock);
  img_image_leave_backing (image);
}

/* @is_given: by the application, which may go on with it. */
static gboolean
is_still_used (ImgImage *image, gboolean is_given)
{
  gboolean is_closed = __atomic_load_n (&image->state, __ATOMIC_ACQUIRE) == IMG_STATE_CLOSED;

  return g_atomic_int_get (&image->n_above) > 0 ||
         (is_given && !is_closed && g_atomic_int_get (&image->ref_count) > 1);
}

/* An image below that was opened for the one above goes with it. One that the application gave is its own,
 * unless it was closed or dropped before. In a loop, as chains are. */
void
img_image_leave_backing (ImgImage *image)
{
  while (image->backing != NULL && g_atomic_int_compare_and_exchange (&image->has_left, FALSE, TRUE))
    {
      ImgImage *backing = image->backing;

      g_atomic_int_add (&backing->n_above, -1);
      if (is_still_used (backing, image->backing_is_set))
        return;
      unlock (&backing->data_lock);
      unlock (&backing->lock);
      image = backing;
    }
}

/* Below @image: what was opened writable along with it. */
static gboolean
close_below (ImgImage *image, ImgError **error)
{
  gboolean success = TRUE;

  for (; !image->backing_is_set && image->backing != NULL; image = image->backing)
    {
      ImgImage *backing = image->backing;

      if (!backing->layout->writable)
        continue;
      img_image_begin_alone (backing);
      if (become_closed (backing) && !backing->layout->klass->close (backing->layout, success ? error : NULL))
        success = FALSE;
      img_image_end_alone (backing);
    }
  return success;
}

static gboolean
end (ImgImage *image, gboolean is_abandoned, ImgError **error)
{
  gboolean success = TRUE;
  gboolean was_open;

  img_image_begin_alone (image);
  was_open = become_closed (image);
  if (was_open && image->layout->writable && !is_abandoned)
    success = image->layout->klass->close (image->layout, error);
  if (was_open && !close_below (image, success ? error : NULL))
    success = FALSE;
  if (was_open)
    img_image_unlock (image);
  img_image_end_alone (image);
  return success;
}

gboolean
img_image_close (ImgImage *image, ImgError **error)
{
  return end (image, FALSE, error);
}

gboolean
img_image_abandon (ImgImage *image, ImgError **error)
{
  return end (image, TRUE, error);
}

/* ---- no changes for a while ---- */

/* Alone: who changes the image looks at the flag inside the epoch, so whoever did not see it has left. */
static void
set_frozen (ImgImage *image, gboolean is_frozen)
{
  g_atomic_int_set (&image->is_frozen, is_frozen);
}

static gboolean
begin_frozen (ImgImage *image, ImgError **error)
{
  if (!img_check_change (image, 0, 0, error))
    return FALSE;
  set_frozen (image, TRUE);
  if (g_atomic_int_get (&image->n_above) == 0)
    return TRUE;
  set_frozen (image, FALSE);
  img_error_set (error, IMG_CODE_LOCKED, _("An open image has this one as its backing image"));
  return FALSE;
}

gboolean
img_image_freeze (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  gboolean success;

  img_image_begin_alone (image);
  success = begin_frozen (image, error);
  img_image_end_alone (image);
  if (!success)
    return FALSE;
  success = img_image_flush (image, cancel, error);
  if (!success)
    img_image_thaw (image);
  return success;
}

void
img_image_thaw (ImgImage *image)
{
  img_image_begin_alone (image);
  set_frozen (image, FALSE);
  img_image_end_alone (image);
}
