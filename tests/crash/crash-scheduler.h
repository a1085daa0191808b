/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A scheduler that runs one thread at a time, in an order drawn from a seed.
 *
 * It takes the place of sleeping (img_park_set_hooks) for the threads it was given, and may switch from one
 * to another wherever one parks, is about to lock an ImgMutex, passes an img_park_switch_point () or calls
 * crash_scheduler_pause (). Nothing else decides the order, so the same seed gives the same run.
 *
 * When every thread is asleep and none can wake another, or they only ask for mutexes that others hold,
 * the stacks of all are printed and the program aborts.
 */

#pragma once

#include "img-park.h"

G_BEGIN_DECLS

typedef struct _CrashScheduler CrashScheduler;
typedef void (*CrashThreadFunc) (gpointer data);

CrashScheduler *crash_scheduler_new       (guint64 seed);
void            crash_scheduler_free      (CrashScheduler *scheduler);

/* Before crash_scheduler_run (). A daemon serves the others: the run is over when all threads that are none
 * have returned; it must return once crash_scheduler_is_over (). */
void            crash_scheduler_add       (CrashScheduler *scheduler, const char *name,
                                           CrashThreadFunc func, gpointer data,
                                           gboolean is_daemon);
/* Runs all threads to their end. */
void            crash_scheduler_run       (CrashScheduler *scheduler);
gboolean        crash_scheduler_is_over   (CrashScheduler *scheduler);

/* The one that this thread belongs to, while it runs; NULL on other threads. */
CrashScheduler *crash_scheduler_current   (void);
/* Lets another thread run, perhaps. Nothing on other threads. */
void            crash_scheduler_pause     (void);

guint64         crash_scheduler_n_switches (CrashScheduler *scheduler);
/* Depends on every decision: equal for equal runs. */
guint64         crash_scheduler_trace      (CrashScheduler *scheduler);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CrashScheduler, crash_scheduler_free)

G_END_DECLS
