/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-leaving.h"
#include "img-park.h"
#include "img-ref.h"

struct _ImgLeaving
{
  ImgRefCount ref_count;
  GDestroyNotify release;
  gpointer data;
  ImgMutex mutex;
  GThread *runner; /* NULL: nobody has begun */
  gboolean is_over;
  ImgWaitList waiting;
};

ImgLeaving *
img_leaving_new (GDestroyNotify release, gpointer data)
{
  ImgLeaving *leaving = g_new0 (ImgLeaving, 1);

  img_ref_init (&leaving->ref_count);
  img_mutex_init (&leaving->mutex);
  leaving->release = release;
  leaving->data = data;
  return leaving;
}

ImgLeaving *
img_leaving_ref (ImgLeaving *leaving)
{
  img_ref_inc (&leaving->ref_count);
  return leaving;
}

void
img_leaving_unref (gpointer data)
{
  ImgLeaving *leaving = data;

  if (!img_ref_dec (&leaving->ref_count))
    return;
  img_mutex_clear (&leaving->mutex);
  g_free (leaving);
}

/* FALSE: somebody else has begun. */
static gboolean
run_once (ImgLeaving *leaving)
{
  gboolean is_mine;

  img_mutex_lock (&leaving->mutex);
  is_mine = leaving->runner == NULL;
  if (is_mine)
    leaving->runner = g_thread_self ();
  img_mutex_unlock (&leaving->mutex);
  if (!is_mine)
    return FALSE;
  leaving->release (leaving->data);
  img_mutex_lock (&leaving->mutex);
  leaving->is_over = TRUE;
  img_wait_list_wake_all (&leaving->waiting);
  img_mutex_unlock (&leaving->mutex);
  return TRUE;
}

void
img_leaving_run (gpointer data)
{
  run_once (data);
  img_leaving_unref (data);
}

gboolean
img_leaving_is_over (ImgLeaving *leaving)
{
  gboolean is_over;

  img_mutex_lock (&leaving->mutex);
  is_over = leaving->is_over;
  img_mutex_unlock (&leaving->mutex);
  return is_over;
}

gboolean
img_leaving_may_wait (ImgLeaving *leaving)
{
  gboolean may_wait;

  img_mutex_lock (&leaving->mutex);
  may_wait = !leaving->is_over && leaving->runner != g_thread_self ();
  img_mutex_unlock (&leaving->mutex);
  return may_wait;
}

void
img_leaving_finish (ImgLeaving *leaving)
{
  if (run_once (leaving))
    return;
  img_mutex_lock (&leaving->mutex);
  while (!leaving->is_over)
    img_wait_list_wait (&leaving->waiting, &leaving->mutex);
  img_mutex_unlock (&leaving->mutex);
}
