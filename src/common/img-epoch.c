/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-epoch.h"

typedef struct
{
  ImgGateOpenFunc func;
  gpointer data;
} OnOpen;

/* A ticket is shard * 2 + parity. Threads are dealt to shards in the order they first come. */
static guint
current_shard (void)
{
  static gint next_shard;
  static __thread guint shard = G_MAXUINT;

  if (shard == G_MAXUINT)
    shard = (guint) g_atomic_int_add (&next_shard, 1) % IMG_EPOCH_SHARDS;
  return shard;
}

void
img_epoch_init (ImgEpoch *epoch)
{
  *epoch = (ImgEpoch) { 0 };
  img_mutex_init (&epoch->mutex);
}

void
img_epoch_clear (ImgEpoch *epoch)
{
  g_assert (epoch->on_open == NULL && epoch->waiters.parkers == NULL);
  img_mutex_clear (&epoch->mutex);
}

static void
wake_waiters (ImgEpoch *epoch)
{
  img_mutex_lock (&epoch->mutex);
  img_wait_list_wake_all (&epoch->waiters);
  img_mutex_unlock (&epoch->mutex);
}

gboolean
img_epoch_try_enter (ImgEpoch *epoch, ImgEpochTicket *ticket)
{
  guint shard = current_shard ();
  guint parity = (guint) g_atomic_int_get (&epoch->flips) & 1;

  g_atomic_int_inc (&epoch->shards[shard].inside[parity]);
  *ticket = shard * 2 + parity;
  if (G_LIKELY (!g_atomic_int_get (&epoch->gate_closed)))
    return TRUE;
  img_epoch_leave (epoch, *ticket);
  return FALSE;
}

ImgEpochTicket
img_epoch_enter (ImgEpoch *epoch)
{
  ImgEpochTicket ticket;

  while (!img_epoch_try_enter (epoch, &ticket))
    {
      img_mutex_lock (&epoch->mutex);
      while (g_atomic_int_get (&epoch->gate_closed))
        img_wait_list_wait (&epoch->waiters, &epoch->mutex);
      img_mutex_unlock (&epoch->mutex);
    }
  return ticket;
}

void
img_epoch_leave (ImgEpoch *epoch, ImgEpochTicket ticket)
{
  g_atomic_int_add (&epoch->shards[ticket / 2].inside[ticket & 1], -1);
  if (G_UNLIKELY (g_atomic_int_get (&epoch->watched)))
    wake_waiters (epoch);
}

static gboolean
is_drained (ImgEpoch *epoch, guint parity)
{
  gint sum = 0;

  for (guint i = 0; i < IMG_EPOCH_SHARDS; i++)
    sum += g_atomic_int_get (&epoch->shards[i].inside[parity]);
  return sum == 0;
}

/* With the mutex held. */
static void
drain (ImgEpoch *epoch, guint parity)
{
  g_atomic_int_inc (&epoch->watched);
  while (!is_drained (epoch, parity))
    img_wait_list_wait (&epoch->waiters, &epoch->mutex);
  g_atomic_int_add (&epoch->watched, -1);
}

void
img_epoch_wait (ImgEpoch *epoch)
{
  guint parity;

  img_mutex_lock (&epoch->mutex);
  while (epoch->draining)
    img_wait_list_wait (&epoch->waiters, &epoch->mutex);
  epoch->draining = TRUE;
  parity = (guint) epoch->flips & 1;
  drain (epoch, parity ^ 1);
  g_atomic_int_inc (&epoch->flips);
  drain (epoch, parity);
  epoch->draining = FALSE;
  img_wait_list_wake_all (&epoch->waiters);
  img_mutex_unlock (&epoch->mutex);
}

gint
img_epoch_get_stamp (ImgEpoch *epoch)
{
  return g_atomic_int_get (&epoch->flips);
}

/* Two flips after a stamp both counters have been seen empty: a transfer that entered before the stamp
 * was in one of them. Flips wrap around, so their difference counts. */
gboolean
img_epoch_has_passed (ImgEpoch *epoch, gint stamp)
{
  gboolean has_passed;

  img_mutex_lock (&epoch->mutex);
  for (guint i = 0; i < 2 && !epoch->draining; i++)
    if ((guint) epoch->flips - (guint) stamp < 2 && is_drained (epoch, ((guint) epoch->flips & 1) ^ 1))
      g_atomic_int_inc (&epoch->flips);
  has_passed = (guint) epoch->flips - (guint) stamp >= 2;
  img_mutex_unlock (&epoch->mutex);
  return has_passed;
}

void
img_gate_close (ImgEpoch *epoch)
{
  img_mutex_lock (&epoch->mutex);
  while (g_atomic_int_get (&epoch->gate_closed))
    img_wait_list_wait (&epoch->waiters, &epoch->mutex);
  g_atomic_int_set (&epoch->gate_closed, TRUE);
  drain (epoch, 0);
  drain (epoch, 1);
  img_mutex_unlock (&epoch->mutex);
}

void
img_gate_open (ImgEpoch *epoch)
{
  GSList *on_open;

  img_mutex_lock (&epoch->mutex);
  g_assert (g_atomic_int_get (&epoch->gate_closed));
  g_atomic_int_set (&epoch->gate_closed, FALSE);
  img_wait_list_wake_all (&epoch->waiters);
  on_open = g_slist_reverse (g_steal_pointer (&epoch->on_open));
  img_mutex_unlock (&epoch->mutex);

  for (GSList *link = on_open; link != NULL; link = link->next)
    {
      OnOpen *entry = link->data;

      entry->func (entry->data);
      g_free (entry);
    }
  g_slist_free (on_open);
}

gboolean
img_gate_on_open (ImgEpoch *epoch, ImgGateOpenFunc func, gpointer data)
{
  gboolean is_closed;

  img_mutex_lock (&epoch->mutex);
  is_closed = g_atomic_int_get (&epoch->gate_closed);
  if (is_closed)
    {
      OnOpen *entry = g_new (OnOpen, 1);

      *entry = (OnOpen) { func, data };
      epoch->on_open = g_slist_prepend (epoch->on_open, entry);
    }
  img_mutex_unlock (&epoch->mutex);
  return is_closed;
}
