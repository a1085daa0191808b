/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How a call of the public API becomes a call of the core: in the caller's thread, or on a worker
 * of the library's pool with a GTask for the answer. A GCancellable becomes an ImgCancel and an
 * ImgError a GError on the way.
 *
 * Nothing of the application is touched on a worker: what a request owns is plain memory and
 * references to the core. Its task, and with it the application's objects, is released in the
 * task's own context. */

#pragma once

#include "imago-completion.h"
#include "imago-core.h"

G_BEGIN_DECLS

/* Blocking code. NULL exactly when @error is set; a request without a result returns
 * IMAGO_REQUEST_DONE. */
typedef gpointer (*ImagoRequestFunc) (gpointer data, ImgCancel *cancel, ImgError **error);

/* Never waits. FALSE: it would have to; else as the above. */
typedef gboolean (*ImagoRetryFunc) (gpointer data, gpointer *result, ImgError **error);

#define IMAGO_REQUEST_DONE GINT_TO_POINTER (TRUE)

typedef enum
{
  IMAGO_REQUEST_NONE = 0,
  /* Changes nothing, so that its caller need not wait for it: a cancelled one is answered at once,
   * and the result is dropped when it comes. */
  IMAGO_REQUEST_ABANDON = 1 << 0,
  /* May wait for somebody who never answers, a stream or a hook: its caller can go as well, in a blocking call too. A
   * change may still be made then. */
  IMAGO_REQUEST_MAY_HANG = 1 << 1,
  /* Works on memory of the caller's, who waits in any case: no MAY_HANG is added to it. */
  IMAGO_REQUEST_BORROWS = 1 << 2,
} ImagoRequestFlags;

typedef struct
{
  ImagoRequestFunc run;
  gpointer data;
  GDestroyNotify free_data;   /* nullable; called on the worker, before the answer is on its way */
  GDestroyNotify free_result; /* nullable */
  GDestroyNotify release_data; /* nullable, instead of free_data: called when the answer is on its way */
  void (*arrived) (GTask *task); /* nullable; called in the task's context, before it is returned */
  void (*look) (gpointer data);  /* nullable; called ten times a second by a caller that waits for a worker */
  ImagoRetryFunc retry;       /* nullable: tried once @miss has been prefetched, before a worker runs it */
  ImgMiss miss;               /* owned, or empty */
  ImagoRequestFlags flags;
  ImgPoolKey *key;            /* nullable */
  ImgEpoch *gate;             /* nullable */
} ImagoRequestWork;

typedef struct _ImagoRequest ImagoRequest;

/* Takes @task, @work->data and @work->miss; a worker uses the data, or the thread of prefetches. Never waits, never runs the callback. The matching _finish function
 * calls g_task_propagate_pointer (). */
void     imago_request_start        (GTask *task, const ImagoRequestWork *work);
/* Takes @task and @error: the answer is known already. */
void     imago_request_answer_error (GTask *task, GError *error);
/* If @task's cancellable is cancelled, takes @task, answers it and returns TRUE. */
gboolean imago_request_is_cancelled (GTask *task);

/* For what no worker has to do: takes @task, which imago_request_end () answers, once, from whatever thread; of @work only the
 * flags count. */
ImagoRequest *imago_request_begin   (GTask *task, const ImagoRequestWork *work) G_GNUC_WARN_UNUSED_RESULT;
/* Takes both; without an error it is IMAGO_REQUEST_DONE. */
void     imago_request_end          (ImagoRequest *request, ImgError *core_error);

/* The same work in the caller's thread. */
gpointer imago_request_run          (ImagoRequestFunc run, gpointer data,
                                     GCancellable *cancellable, GError **error);

/* The same for work that owns all it needs. If it MAY_HANG, it is left to a worker, so that the caller can go when it
 * cancels, and is told so; the worker goes on with it. Takes @work->data, which is released before this returns unless
 * the caller has gone; arrived is not called. Without a @cancellable, on a worker, which must not wait for another, and
 * inside of a hook, which a worker would not know of, it runs here all the same. */
gpointer imago_request_run_work     (const ImagoRequestWork *work, GCancellable *cancellable,
                                     GError **error);

/* An ImgCancel for the time of a blocking call; NULL if @cancellable is. */
typedef struct
{
  GCancellable *cancellable;
  ImgCancel *cancel;
  gulong handler;
} ImagoCancelBridge;

ImgCancel  *imago_cancel_bridge_begin (ImagoCancelBridge *bridge, GCancellable *cancellable);
void        imago_cancel_bridge_end   (ImagoCancelBridge *bridge);

/* A worker looks at the key of a task after the task has run, and nobody tells when: keys are used
 * again but never freed. */
ImgPoolKey *imago_pool_key_new        (void) G_GNUC_WARN_UNUSED_RESULT;
void        imago_pool_key_release    (ImgPoolKey *key);

/* Calls @release on a worker: closing a file may wait, and whoever drops a last reference must not.
 */
void        imago_release_later       (gpointer object, GDestroyNotify release);

G_END_DECLS
