/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Calls into objects that live in one main context: a policy or a storage written in a language.
 *
 * The owner of a queue is the main context that was the thread-default one where the queue was
 * made, and whichever thread owns that context at the time. Any thread may have a call made there.
 * There are three ways in which a call comes to run:
 *
 *  - The asking thread is the owner: it runs the call itself, at once.
 *  - The owner iterates its context: a source of the queue dispatches the call.
 *  - The owner is inside a blocking call of this library and sleeps in img_park (): then nobody
 *    iterates its context, and perhaps it sleeps just because another thread waits for this call.
 *    The thread therefore serves its queues whenever it is woken there, and pushing a call wakes
 *    it.
 *
 * In the first and the third the owner's main context must not be iterated (its sources do not
 * expect to run in the middle of whatever the application was doing), yet the hook may start
 * asynchronous work that needs one. So a private context is pushed as the thread-default one around
 * the call and iterated until the call is finished.
 *
 * Which thread is woken? The thread that made the queue at first; the source notices when another
 * thread iterates the context and moves the queue there. A thread that made the queue also counts
 * as the owner when it is between two iterations of its main loop, or has none, and nobody else
 * owns the context.
 *
 * A call runs at most once. It is finished by imago_owner_call_finish (), which its function or
 * anybody else calls, now or later; its data is released in the owner's context right after the
 * function has run, or when it is certain that it will not run. Nothing here knows what a call
 * means: results travel in the data.
 *
 * No function of an object is called with a lock held.
 */

#pragma once

#include "imago-core.h"

G_BEGIN_DECLS

typedef struct _ImagoOwnerQueue ImagoOwnerQueue;
typedef struct _ImagoOwnerCall ImagoOwnerCall;

typedef void (*ImagoOwnerFunc) (ImagoOwnerCall *call, gpointer data);

ImagoOwnerQueue *imago_owner_queue_new         (void) G_GNUC_WARN_UNUSED_RESULT;
ImagoOwnerQueue *imago_owner_queue_ref         (ImagoOwnerQueue *self);
void             imago_owner_queue_unref       (ImagoOwnerQueue *self);
/* The object is gone: calls that have not begun are finished without having run, as are later
 * ones. */
void             imago_owner_queue_close       (ImagoOwnerQueue *self);

/* Returns at once; @call will run when the owner comes to it. */
void             imago_owner_queue_push        (ImagoOwnerQueue *self, ImagoOwnerCall *call);
/* Returns when @call is finished, which it is as well after FALSE: cancelled, or no thread can
 * be spared. */
gboolean         imago_owner_queue_run         (ImagoOwnerQueue *self, ImagoOwnerCall *call,
                                                ImgCancel *cancel, ImgError **error);
/* Whether the calling thread is the owner. */
gboolean         imago_owner_queue_is_here     (ImagoOwnerQueue *self);
/* In the owner's thread: runs what is in the queue, and goes on until @poll says that it is enough. @poll sees
 * to it that this thread is woken (img_unpark ()) when it wants to be asked again. */
void             imago_owner_queue_run_until   (ImagoOwnerQueue *self, gboolean (*poll) (gpointer data),
                                                gpointer data);
/* Runs what is in the queues that live on this thread: for who has parked and may be inside of a server. */
void             imago_owner_queue_serve_here  (void);
/* Releases something that belongs to the owner: here and now if this is its thread, else when
 * its context is next iterated (or is freed). Works after close, too. */
void             imago_owner_queue_release     (ImagoOwnerQueue *self, gpointer data,
                                                GDestroyNotify free_data);

ImagoOwnerCall  *imago_owner_call_new          (ImagoOwnerFunc func, gpointer data,
                                                GDestroyNotify free_data) G_GNUC_WARN_UNUSED_RESULT;
ImagoOwnerCall  *imago_owner_call_ref          (ImagoOwnerCall *self);
void             imago_owner_call_unref        (ImagoOwnerCall *self);
/* Any thread, any number of times. */
void             imago_owner_call_finish       (ImagoOwnerCall *self);
gboolean         imago_owner_call_is_finished  (ImagoOwnerCall *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImagoOwnerQueue, imago_owner_queue_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImagoOwnerCall, imago_owner_call_unref)

G_END_DECLS
