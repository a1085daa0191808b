/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The core of a storage that the application wrote: each request is handed to the `submit` hook of its
 * object.
 *
 * Where the hook runs. In the main context that was the thread-default one where the object was made, by an
 * owner queue (imago-owner-queue.h); a class that says that it is thread-safe is called in whatever thread
 * has the request, and has no queue. Never with a lock held, never from a NOWAIT request, which is answered
 * with "would block" at once.
 *
 * Who waits. submit () of the owner's thread returns when all is answered: nobody else could run the hooks.
 * submit () of any other thread only queues, and img_io_wait () waits. A worker makes sure beforehand that
 * the pool can spare it (img_pool_begin_wait ()), and fails otherwise.
 *
 * Who need not wait. A call with a cancellable, blocking or not, is made by a worker (IMAGO_REQUEST_MAY_HANG), so that its
 * caller can go at once when it cancels. The worker stays until the hook has answered and has memory of its own: what a
 * call would read into or write from the caller's memory is copied. A change that was left behind is still one for the
 * image: it has claimed its range, or closed the gate, before its caller could go, so that later changes come
 * behind it (img_image_begin_apart ()); between its claims it looks whether it was cancelled and ends; and if it fails the
 * image is told what any other failure would tell it, up to the poison of a failed flush. Jobs are waited for.
 *
 * What would wait for ever is refused with WOULD_DEADLOCK: a blocking call inside of a hook on anything that
 * lies in the hook's own storage; and one on the owner's thread while a hook has taken a request and means
 * to answer it later, for which it may need the main context that this call keeps from being iterated.
 *
 * Who owns what. An object owns one core, which does not own the object: it is for calls that somebody makes
 * on the object itself. What keeps a storage (an image, a window) gets a core of its own that owns a
 * reference to the object, and releases it in the owner's context. All cores of an object share a HookState.
 *
 * Steps. A request of the engine becomes one or more demands to the hook, one after the other: a hook that
 * does not know zeroes is given bytes, piece by piece. The answer to one step starts the next, in a loop
 * rather than in recursion, since a hook may answer at once.
 *
 * The size is asked for once and kept account of, so that the hook never sees a read past the end. */

#pragma once

#include "imago-storage.h"
#include "imago-core.h"

G_BEGIN_DECLS

/* In the thread of the object's owner, when it is constructed; borrows @object. */
ImgStorage   *imago_hook_storage_new        (ImagoStorage *object, const char *name,
                                             gboolean writable, gboolean thread_safe)
  G_GNUC_WARN_UNUSED_RESULT;
/* The same storage for somebody who keeps it; a reference for any other kind. */
ImgStorage   *imago_hook_storage_keep       (ImgStorage *core) G_GNUC_WARN_UNUSED_RESULT;
/* Before the object goes, with its own core, whatever kind it is: it stays unusable. */
void          imago_hook_storage_close      (ImgStorage *core);
/* Borrowed; NULL for any other kind. */
ImagoStorage *imago_hook_storage_get_object (ImgStorage *core);

/* Whether a blocking call may use @image on this thread: see above. Cheap where no hook exists. */
gboolean      imago_hook_may_wait           (ImgImage *image, ImgError **error);
/* The same for a call that may wait for anything: not inside of a hook. */
gboolean      imago_hook_may_wait_for_all   (ImgError **error);

G_END_DECLS
