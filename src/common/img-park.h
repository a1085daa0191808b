/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The one way to wait.
 *
 * Every thread has a parker: a sticky token that any thread may set (unpark) and that img_park ()
 * consumes, sleeping until it is there. Returns may be spurious: callers loop over their condition.
 * Parking is entered with no mutex held, and whoever wakes a thread does it, if it can, when it has let go of the mutex
 * that this thread will want: also where the thread may have gone meanwhile, for a parker is never freed.
 *
 * Servers. A thread that owns a main context may be the only one that can answer what another thread
 * waits for (a storage or a policy written in a language). Such a thread registers a server; while it
 * is parked and is woken, its servers run. Whoever queues work for it calls img_unpark ().
 *
 * Scheduling. A test may replace how threads sleep (img_park_set_hooks) to run one thread at a time
 * in an order drawn from a seed; nothing in the core sleeps any other way (a test looks for
 * pthread_cond and g_cond elsewhere). In the test build of the core the scheduler can switch threads
 * before every lock too.
 */

#pragma once

#include <glib.h>

#include "img-lock.h"

G_BEGIN_DECLS

typedef struct _ImgParker ImgParker;

ImgParker *img_parker_current (void);
ImgParker *img_parker_ref     (ImgParker *parker);
void       img_parker_unref   (ImgParker *parker);
void       img_unpark         (ImgParker *parker);
void       img_park           (void);
/* @deadline: in g_get_monotonic_time () units; 0 waits for ever. FALSE when it has passed. */
gboolean   img_park_until     (gint64 deadline);
/* Parks where work for this thread may also arrive in @context, which it owns: dispatches what is ready there,
 * or sleeps in its poll until something is or the token comes. */
void       img_park_in_context (GMainContext *context);

typedef void (*ImgServeFunc) (gpointer data);

/* On the current thread; last in, first out. Returns the parker that wakes this thread's servers. */
ImgParker *img_park_push_server (ImgServeFunc serve, gpointer data);
void       img_park_pop_server  (ImgServeFunc serve, gpointer data);

typedef struct
{
  void (*sleep) (ImgParker *parker, gint64 deadline, gpointer data);
  void (*wake)  (ImgParker *parker, gpointer data);
  /* Optional: this thread runs on, others may run before it does. @blocked: it needs a mutex that another
   * thread holds, and will ask again. */
  void (*pause) (gboolean blocked, gpointer data);
  gpointer data;
} ImgParkHooks;

/* Tests only, before any thread waits. NULL restores the real ones. */
void img_park_set_hooks (const ImgParkHooks *hooks);

/* Where a scheduler may let another thread run: before every lock of an ImgMutex, and wherever the order
 * of atomic operations of two threads decides. Nothing but in the test build of the core. */
#ifdef IMG_TEST_BUILD
void img_park_switch_point (void);
#else
#define img_park_switch_point() ((void) 0)
#endif

/* Threads waiting for one condition, which the caller's own mutex protects: a condition variable. */
typedef struct
{
  GSList *parkers;
} ImgWaitList;

#define IMG_WAIT_LIST_INIT { NULL }

/* Releases @mutex while parked and takes it again; the caller checks its condition in a loop. */
void     img_wait_list_wait       (ImgWaitList *list, ImgMutex *mutex);
gboolean img_wait_list_wait_until (ImgWaitList *list, ImgMutex *mutex, gint64 deadline);
/* With the mutex held. A thread woken by _one looks at the condition even if its time was up. */
void     img_wait_list_wake_one   (ImgWaitList *list);
void     img_wait_list_wake_all   (ImgWaitList *list);

G_END_DECLS
