/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the results of asynchronous calls reach a main context.
 *
 * There is one source per (main context, priority) in use. It drains a queue of finished tasks, so
 * that many results cost one iteration, and a GTask that is returned from inside its dispatch is
 * delivered at once, without an idle source of its own. It wakes its context only when that may
 * sleep and nobody else has woken it; it lets sources of lower priority run for one iteration when
 * it has used a millisecond without a pause; and it goes away after some iterations in which
 * nothing was in flight.
 *
 * A thread reaches the source through a lane: what the thread remembers of it. A lane also keeps
 * account of the time that the thread has spent on answering requests inline, which is bounded per
 * iteration.
 *
 * Small requests that could be answered at once may wait for the source instead, which has up to
 * IMAGO_GATHER_MAX of one kind tried together before it delivers the first of them: one system call for all.
 * That is for those that need not wait, as far as the lane can tell from the last ones, and while others are on their way:
 * what has to wait for a disk begins at once, as does a request that is alone.
 *
 * A task keeps its context alive, so one that waits here for a context that nobody iterates any
 * more waits for ever, as a task of GIO does.
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* A larger request is never answered inline. */
#define IMAGO_INLINE_MAX (256 * 1024)
/* How many are gathered at a time. */
#define IMAGO_GATHER_MAX 32

typedef struct _ImagoCompletion ImagoCompletion;
typedef struct _ImagoLane ImagoLane;

/* Returns the task (g_task_return_…), which the caller then releases. Runs in the task's context,
 * without a lock. */
typedef void (*ImagoDeliverFunc) (GTask *task, gpointer data);
/* Tries requests of one source object together, never waits, and remembers in @data what came of each until it is
 * delivered. In the tasks' context, without a lock. */
typedef void (*ImagoGatherFunc) (GTask *const *tasks, gpointer const *data, guint n_tasks);

/* For the context and priority of @task, on the current thread; valid until the thread's next call
 * of this. */
ImagoLane       *imago_lane_find       (GTask *task);
/* Whether a request of @count bytes may be tried on the current thread. */
gboolean         imago_lane_may_inline (ImagoLane *self, gsize count);
/* Around the attempt. */
gint64           imago_lane_begin      (ImagoLane *self, gsize count);
void             imago_lane_end        (ImagoLane *self, gsize count, gint64 begun);
/* What came of it. */
void             imago_lane_count      (ImagoLane *self, gboolean is_hit);
/* Takes @task. Its callback runs from the context, never before this returns. */
void imago_lane_push (ImagoLane *self, GTask *task, ImagoDeliverFunc deliver, gpointer data);
/* Whether a request of @count bytes should be gathered with others. */
gboolean imago_lane_may_gather (ImagoLane *self, gsize count);
/* As imago_lane_push (), of what has not been tried yet. @deliver may find that it has not been gathered, either. */
void imago_lane_push_to_gather (ImagoLane *self, GTask *task, ImagoGatherFunc gather, ImagoDeliverFunc deliver,
                                gpointer data);

/* Has all that this thread has pushed for @object tried now. */
void imago_lanes_gather (gpointer object);

/* For a request that will be answered later, perhaps by another thread: keeps the source until the
 * push, which gives the hold back and takes @task. */
ImagoCompletion *imago_completion_hold (GTask *task) G_GNUC_WARN_UNUSED_RESULT;
void
imago_completion_push (ImagoCompletion *self, GTask *task, ImagoDeliverFunc deliver, gpointer data);

G_END_DECLS
