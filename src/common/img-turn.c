/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-turn.h"

/* The first in the queue is woken when the turn is given up, but it is not handed to it: a thread that
 * comes by just then may take it first. Handing over would cost a change of threads for every turn. */
typedef struct
{
  ImgParker *parker;
  GList link;
} Waiter;

void
img_turn_init (ImgTurn *turn)
{
  *turn = (ImgTurn) { .waiting = G_QUEUE_INIT };
  img_mutex_init (&turn->mutex);
}

void
img_turn_clear (ImgTurn *turn)
{
  g_assert (turn->owner == NULL && turn->waiting.length == 0);
  img_mutex_clear (&turn->mutex);
}

gboolean
img_turn_is_mine (ImgTurn *turn)
{
  return __atomic_load_n (&turn->owner, __ATOMIC_RELAXED) == g_thread_self ();
}

/* With the mutex held. */
static gboolean
take_locked (ImgTurn *turn)
{
  if (turn->owner != NULL)
    return FALSE;
  __atomic_store_n (&turn->owner, g_thread_self (), __ATOMIC_RELAXED);
  return TRUE;
}

gboolean
img_turn_try_take (ImgTurn *turn)
{
  gboolean taken;

  img_mutex_lock (&turn->mutex);
  taken = take_locked (turn);
  img_mutex_unlock (&turn->mutex);
  return taken;
}

void
img_turn_take (ImgTurn *turn)
{
  Waiter waiter = { 0 };

  g_assert (!img_turn_is_mine (turn));
  img_mutex_lock (&turn->mutex);
  if (!take_locked (turn))
    {
      waiter.parker = img_parker_current ();
      waiter.link.data = &waiter;
      g_queue_push_tail_link (&turn->waiting, &waiter.link);
      do
        {
          img_mutex_unlock (&turn->mutex);
          img_park ();
          img_mutex_lock (&turn->mutex);
        }
      while (!take_locked (turn));
      g_queue_unlink (&turn->waiting, &waiter.link);
    }
  img_mutex_unlock (&turn->mutex);
}

void
img_turn_give (ImgTurn *turn)
{
  ImgParker *parker = NULL;
  Waiter *first;

  img_mutex_lock (&turn->mutex);
  g_assert (turn->owner == g_thread_self ());
  __atomic_store_n (&turn->owner, NULL, __ATOMIC_RELAXED);
  first = g_queue_peek_head (&turn->waiting);
  if (first != NULL)
    parker = first->parker;
  img_mutex_unlock (&turn->mutex);
  if (parker != NULL)
    img_unpark (parker);
}
