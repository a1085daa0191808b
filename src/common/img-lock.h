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

/* For one that is held for a few hundred instructions each time, and that threads want which must not sleep: where the
 * system can, it is waited for a moment without sleeping. */
static inline void
img_mutex_init_brief (ImgMutex *mutex)
{
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
  pthread_mutexattr_t attr;

  pthread_mutexattr_init (&attr);
  pthread_mutexattr_settype (&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
  pthread_mutex_init (mutex, &attr);
  pthread_mutexattr_destroy (&attr);
#else
  pthread_mutex_init (mutex, NULL);
#endif
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

/* FALSE: another thread has it. For those who must not sleep, not even for a moment. */
static inline gboolean
img_mutex_trylock (ImgMutex *mutex)
{
  return pthread_mutex_trylock (mutex) == 0;
}

static inline void
img_mutex_unlock (ImgMutex *mutex)
{
  int result = pthread_mutex_unlock (mutex);

  g_assert (result == 0);
}
