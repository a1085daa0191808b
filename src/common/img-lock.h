/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The mutex of the core. It is a pthread mutex, not a GMutex, because ThreadSanitizer understands it
 * and reports false races on the futex inside GLib. It protects memory and nothing else: no thread
 * sleeps on I/O, on another request or on a callback while it holds one (waiting is img-park.h).
 *
 * Lock order, outermost first; a thread that holds one takes only those further down:
 *
 *   image (structure: backing, references)  ->  pool  ->  gate/epoch  ->  metadata cache set
 *   ->  decoded cluster cache  ->  wait list  ->  parker
 */

#pragma once

#include <glib.h>
#include <pthread.h>

typedef pthread_mutex_t ImgMutex;

#define IMG_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER

static inline void
img_mutex_init (ImgMutex *mutex)
{
  pthread_mutex_init (mutex, NULL);
}

static inline void
img_mutex_clear (ImgMutex *mutex)
{
  pthread_mutex_destroy (mutex);
}

#ifdef IMG_TEST_BUILD

/* In img-park.c: under a scheduler another thread may run first, and none sleeps on the mutex. */
void img_mutex_lock (ImgMutex *mutex);

#else

static inline void
img_mutex_lock (ImgMutex *mutex)
{
  int result = pthread_mutex_lock (mutex);

  g_assert (result == 0);
}

#endif

static inline void
img_mutex_unlock (ImgMutex *mutex)
{
  int result = pthread_mutex_unlock (mutex);

  g_assert (result == 0);
}
