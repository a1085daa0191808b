/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <time.h>

#include "img-park.h"
#include "img-ref.h"

typedef struct
{
  ImgServeFunc serve;
  gpointer data;
} Server;

/* A parker that nobody refers to any more is kept for the next thread, so that its memory stays a parker for ever. The
 * thread is woken when nobody holds a mutex that it would run into; by then it may be awake for another reason, and gone:
 * its parker, or the thread that has it now, is woken for nothing. */
struct _ImgParker
{
  ImgRefCount ref_count;
  ImgParker *next; /* while it is not used */
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean token;
  gboolean is_asleep;
  GMainContext *context; /* borrowed: the one whose poll the thread sleeps in */
  /* Touched by the owning thread only. */
  GArray *servers; /* of Server, innermost last */
  gboolean serving;
};

static const ImgParkHooks *hooks;

static ImgMutex unused_mutex = IMG_MUTEX_INIT;
static ImgParker *unused; /* with the mutex */

static void
parker_free_cb (gpointer parker)
{
  img_parker_unref (parker);
}

static GPrivate current_parker = G_PRIVATE_INIT (parker_free_cb);

static ImgParker *
take_unused (void)
{
  ImgParker *parker;

  pthread_mutex_lock (&unused_mutex);
  parker = unused;
  if (parker != NULL)
    unused = parker->next;
  pthread_mutex_unlock (&unused_mutex);
  return parker;
}

static ImgParker *
parker_new (void)
{
  ImgParker *parker = take_unused ();
  pthread_condattr_t attr;

  if (parker != NULL)
    {
      img_ref_init (&parker->ref_count);
      return parker;
    }
  parker = g_new0 (ImgParker, 1);
  img_ref_init (&parker->ref_count);
  pthread_mutex_init (&parker->mutex, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC); /* the clock of g_get_monotonic_time () */
  pthread_cond_init (&parker->cond, &attr);
  pthread_condattr_destroy (&attr);
  return parker;
}

ImgParker *
img_parker_current (void)
{
  ImgParker *parker = g_private_get (&current_parker);

  if (parker == NULL)
    {
      parker = parker_new ();
      g_private_set (&current_parker, parker);
    }
  return parker;
}

ImgParker *
img_parker_ref (ImgParker *parker)
{
  img_ref_inc (&parker->ref_count);
  return parker;
}

void
img_parker_unref (ImgParker *parker)
{
  if (!img_ref_dec (&parker->ref_count))
    return;
  g_clear_pointer (&parker->servers, g_array_unref);
  pthread_mutex_lock (&unused_mutex);
  parker->next = unused;
  unused = parker;
  pthread_mutex_unlock (&unused_mutex);
}

void
img_unpark (ImgParker *parker)
{
  gboolean was_asleep;

  pthread_mutex_lock (&parker->mutex);
  parker->token = TRUE;
  was_asleep = parker->is_asleep;
  parker->is_asleep = FALSE; /* one call wakes it */
  if (parker->context != NULL)
    g_main_context_wakeup (parker->context);
  pthread_mutex_unlock (&parker->mutex);
  if (was_asleep)
    pthread_cond_signal (&parker->cond);
  if (hooks != NULL)
    hooks->wake (parker, hooks->data);
}

/* FALSE when @deadline passed without a token. */
static gboolean
sleep_for_token (ImgParker *parker, gint64 deadline)
{
  struct timespec until = { deadline / G_USEC_PER_SEC, (deadline % G_USEC_PER_SEC) * 1000 };
  gboolean got_token;
  int result = 0;

  if (hooks != NULL)
    hooks->sleep (parker, deadline, hooks->data);
  pthread_mutex_lock (&parker->mutex);
  while (!parker->token && result != ETIMEDOUT && hooks == NULL)
    {
      parker->is_asleep = TRUE;
      result = deadline == 0 ? pthread_cond_wait (&parker->cond, &parker->mutex)
                             : pthread_cond_timedwait (&parker->cond, &parker->mutex, &until);
    }
  parker->is_asleep = FALSE;
  got_token = parker->token;
  parker->token = FALSE;
  pthread_mutex_unlock (&parker->mutex);
  return got_token;
}

/* A server may park itself (a hook that reads another image); its nested park does not serve again,
 * the outer loop does once it returns. */
static void
run_servers (ImgParker *parker)
{
  if (parker->servers == NULL || parker->serving)
    return;
  parker->serving = TRUE;
  for (guint i = parker->servers->len; i > 0; i--)
    {
      Server *server = &g_array_index (parker->servers, Server, i - 1);

      server->serve (server->data);
    }
  parker->serving = FALSE;
}

gboolean
img_park_until (gint64 deadline)
{
  ImgParker *parker = img_parker_current ();
  gboolean got_token;

  /* Work queued before this thread registered as parked has already set the token. */
  got_token = sleep_for_token (parker, deadline);
  run_servers (parker);
  return got_token;
}

void
img_park (void)
{
  img_park_until (0);
}

void
img_park_in_context (GMainContext *context)
{
  ImgParker *parker = img_parker_current ();
  GMainContext *outer;
  gboolean got_token;

  pthread_mutex_lock (&parker->mutex);
  outer = parker->context;
  parker->context = context;
  got_token = parker->token;
  pthread_mutex_unlock (&parker->mutex);

  /* A token that comes from now on wakes the poll. Under a test's scheduler nothing may sleep
   * there. */
  if (!g_main_context_iteration (context, !got_token && hooks == NULL) && hooks != NULL)
    hooks->sleep (parker, 0, hooks->data);

  pthread_mutex_lock (&parker->mutex);
  parker->context = outer;
  parker->token = FALSE;
  pthread_mutex_unlock (&parker->mutex);
  run_servers (parker);
}

ImgParker *
img_park_push_server (ImgServeFunc serve, gpointer data)
{
  ImgParker *parker = img_parker_current ();
  Server server = { serve, data };

  if (parker->servers == NULL)
    parker->servers = g_array_new (FALSE, FALSE, sizeof (Server));
  g_array_append_val (parker->servers, server);
  return parker;
}

void
img_park_pop_server (ImgServeFunc serve, gpointer data)
{
  GArray *servers = img_parker_current ()->servers;
  Server *last;

  g_assert (servers != NULL && servers->len > 0);
  last = &g_array_index (servers, Server, servers->len - 1);
  g_assert (last->serve == serve && last->data == data);
  g_array_set_size (servers, servers->len - 1);
}

void
img_park_set_hooks (const ImgParkHooks *new_hooks)
{
  hooks = new_hooks;
}

#ifdef IMG_TEST_BUILD

static void
pause_if_scheduled (gboolean blocked)
{
  if (hooks != NULL && hooks->pause != NULL)
    hooks->pause (blocked, hooks->data);
}

void
img_park_switch_point (void)
{
  pause_if_scheduled (FALSE);
}

void
img_mutex_lock (ImgMutex *mutex)
{
  int result;

  pause_if_scheduled (FALSE);
  if (hooks == NULL || hooks->pause == NULL)
    result = pthread_mutex_lock (mutex);
  else
    while ((result = pthread_mutex_trylock (mutex)) == EBUSY)
      pause_if_scheduled (TRUE);
  g_assert (result == 0);
}

#endif

gboolean
img_wait_list_wait_until (ImgWaitList *list, ImgMutex *mutex, gint64 deadline)
{
  ImgParker *parker = img_parker_current ();
  gboolean in_time;

  list->parkers = g_slist_prepend (list->parkers, img_parker_ref (parker));
  img_mutex_unlock (mutex);
  in_time = img_park_until (deadline);
  img_mutex_lock (mutex);
  /* Woken by something else than the list: still on it. */
  for (GSList *link = list->parkers; link != NULL; link = link->next)
    if (link->data == parker)
      {
        list->parkers = g_slist_delete_link (list->parkers, link);
        img_parker_unref (parker);
        break;
      }
  return in_time;
}

void
img_wait_list_wait (ImgWaitList *list, ImgMutex *mutex)
{
  img_wait_list_wait_until (list, mutex, 0);
}

void
img_wait_list_wake_one (ImgWaitList *list)
{
  ImgParker *parker;

  if (list->parkers == NULL)
    return;
  parker = list->parkers->data;
  list->parkers = g_slist_delete_link (list->parkers, list->parkers);
  img_unpark (parker);
  img_parker_unref (parker);
}

void
img_wait_list_wake_all (ImgWaitList *list)
{
  GSList *parkers = g_steal_pointer (&list->parkers);

  for (GSList *link = parkers; link != NULL; link = link->next)
    {
      img_unpark (link->data);
      img_parker_unref (link->data);
    }
  g_slist_free (parkers);
}
