/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The end of changes: flush and close. */

#include "config.h"

#include "img-image-private.h"

/* A flush counts as a transfer: a structure change waits for it. Once begun it runs to its end. */
gboolean
img_image_flush (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  gboolean success;
  ImgWalk walk;

  if (!img_check_range (image, 0, 0, error) || img_cancel_check (cancel, error))
    return FALSE;
  if (!image->layout->writable)
    return TRUE;
  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  success = image->layout->klass->flush (image->layout, error);
  img_walk_end (&walk);
  return success;
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
  ImgState state;

  img_mutex_lock (&image->mutex);
  state = (ImgState) image->state;
  if (state == IMG_STATE_PENDING || state == IMG_STATE_READY)
    __atomic_store_n (&image->state, IMG_STATE_CLOSED, __ATOMIC_RELEASE);
  img_mutex_unlock (&image->mutex);
  return state == IMG_STATE_PENDING || state == IMG_STATE_READY;
}

gboolean
img_image_close (ImgImage *image, ImgError **error)
{
  gboolean success = TRUE;

  img_image_begin_alone (image);
  if (become_closed (image) && image->layout->writable)
    success = image->layout->klass->close (image->layout, error);
  img_image_end_alone (image);
  return success;
}
