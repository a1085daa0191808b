/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-cancel.h"
#include "img-ref.h"

struct _ImgCancel
{
  ImgRefCount ref_count;
  gint is_set; /* atomic; changed with the mutex */
  ImgMutex mutex; /* what follows */
  gboolean has_ended; /* it is too late */
  GSList *watchers; /* of ImgParker, owned */
};

ImgCancel *
img_cancel_new (void)
{
  ImgCancel *cancel = g_new0 (ImgCancel, 1);

  img_ref_init (&cancel->ref_count);
  img_mutex_init (&cancel->mutex);
  return cancel;
}

ImgCancel *
img_cancel_ref (ImgCancel *cancel)
{
  img_ref_inc (&cancel->ref_count);
  return cancel;
}

void
img_cancel_unref (ImgCancel *cancel)
{
  if (!img_ref_dec (&cancel->ref_count))
    return;
  g_assert (cancel->watchers == NULL);
  img_mutex_clear (&cancel->mutex);
  g_free (cancel);
}

gboolean
img_cancel_trigger (ImgCancel *cancel)
{
  gboolean in_time;

  img_mutex_lock (&cancel->mutex);
  in_time = !cancel->has_ended;
  if (in_time)
    g_atomic_int_set (&cancel->is_set, TRUE);
  for (GSList *link = cancel->watchers; in_time && link != NULL; link = link->next)
    img_unpark (link->data);
  img_mutex_unlock (&cancel->mutex);
  return in_time;
}

gboolean
img_cancel_is_set (const ImgCancel *cancel)
{
  return cancel != NULL && g_atomic_int_get (&cancel->is_set);
}

gboolean
img_cancel_check (const ImgCancel *cancel, ImgError **error)
{
  if (!img_cancel_is_set (cancel))
    return FALSE;
  img_error_set (error, IMG_CODE_CANCELLED, _("Operation was cancelled"));
  return TRUE;
}

gboolean
img_cancel_end (ImgCancel *cancel, ImgError **error)
{
  if (cancel == NULL)
    return TRUE;
  img_mutex_lock (&cancel->mutex);
  cancel->has_ended = !cancel->is_set;
  img_mutex_unlock (&cancel->mutex);
  return !img_cancel_check (cancel, error);
}

void
img_cancel_watch (ImgCancel *cancel)
{
  if (cancel == NULL)
    return;
  img_mutex_lock (&cancel->mutex);
  cancel->watchers = g_slist_prepend (cancel->watchers, img_parker_ref (img_parker_current ()));
  if (cancel->is_set)
    img_unpark (cancel->watchers->data);
  img_mutex_unlock (&cancel->mutex);
}

void
img_cancel_unwatch (ImgCancel *cancel)
{
  ImgParker *parker = img_parker_current ();
  GSList *link;

  if (cancel == NULL)
    return;
  img_mutex_lock (&cancel->mutex);
  link = g_slist_find (cancel->watchers, parker);
  g_assert (link != NULL);
  cancel->watchers = g_slist_delete_link (cancel->watchers, link);
  img_mutex_unlock (&cancel->mutex);
  img_parker_unref (parker);
}
