/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-rate.h"

/* A request that would take longer than that, a year, is no reason to wait for ever. */
#define MAX_TIME ((double) G_USEC_PER_SEC * 60 * 60 * 24 * 365)

void
img_rate_init (ImgRate *rate, guint64 bytes_per_second)
{
  rate->bytes_per_second = bytes_per_second;
  rate->next = 0;
  img_mutex_init (&rate->mutex);
}

void
img_rate_clear (ImgRate *rate)
{
  img_mutex_clear (&rate->mutex);
}

gint64
img_rate_reserve (ImgRate *rate, guint64 n_bytes, gint64 now)
{
  double time;
  gint64 start;

  if (rate->bytes_per_second == 0)
    return now;
  time = (double) n_bytes * G_USEC_PER_SEC / (double) rate->bytes_per_second;
  img_mutex_lock (&rate->mutex);
  start = MAX (rate->next, now);
  rate->next = start + (gint64) MIN (time, MAX_TIME);
  img_mutex_unlock (&rate->mutex);
  return start;
}

gboolean
img_rate_wait (ImgRate *rate, guint64 n_bytes, ImgCancel *cancel, ImgError **error)
{
  gint64 now = g_get_monotonic_time ();
  gint64 start = img_rate_reserve (rate, n_bytes, now);

  if (start <= now)
    return !img_cancel_check (cancel, error);
  img_cancel_watch (cancel);
  while (!img_cancel_is_set (cancel) && g_get_monotonic_time () < start)
    img_park_until (start);
  img_cancel_unwatch (cancel);
  return !img_cancel_check (cancel, error);
}
