/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <pthread.h>

#include "img-fork.h"

static gint count; /* atomic */

static void
begin_child (void)
{
  g_atomic_int_inc (&count);
}

gboolean
img_fork_watch (void)
{
  static gsize watched;

  if (g_once_init_enter (&watched))
    g_once_init_leave (&watched, pthread_atfork (NULL, NULL, begin_child) == 0 ? 2 : 1);
  return watched == 2;
}

gint
img_fork_get_count (void)
{
  return g_atomic_int_get (&count);
}
