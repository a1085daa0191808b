/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-error-private.h"
#include "imago-owner-queue.h"
#include "imago-request.h"
#include "imago-storage-hook.h"

#define LOOK_USEC (G_USEC_PER_SEC / 10)

/* References: one for the pool (then for the answer on its way) and one for the handler of the
 * cancellable. */
struct _ImagoRequest
{
  ImgTask pool_task;
  ImgPrefetch prefetch;        /* before that, perhaps */
  gint ref_count;              /* atomic */
  GTask *task;                 /* owned until the request is answered */
  ImagoCompletion *completion; /* as above */
  ImagoRequestWork work;
  GCancellable *cancellable; /* owned by whoever answers */
  gulong handler;
  ImgCancel *cancel;
  gint answered; /* atomic: set by whoever answers */
  gpointer result;
  GError *error;
};

static ImagoRequest *
request_ref (ImagoRequest *request)
{
  g_atomic_int_inc (&request->ref_count);
  return request;
}

static void
request_unref (gpointer data)
{
  ImagoRequest *request = data;

  if (!g_atomic_int_dec_and_test (&request->ref_count))
    return;
  g_clear_pointer (&request->cancel, img_cancel_unref);
  g_free (request);
}

static void
free_data (ImagoRequest *request)
{
  gpointer data = g_steal_pointer (&request->work.data);

  if (data != NULL && request->work.free_data != NULL)
    request->work.free_data (data);
}

/* ---- answers ---- */

static void
deliver_error (GTask *task, gpointer data)
{
  g_task_return_error (task, data);
}

static void
deliver_request (GTask *task, gpointer data)
{
  ImagoRequest *request = data;

  if (request->work.arrived != NULL)
    request->work.arrived (task);
  if (request->error != NULL)
    g_task_return_error (task, g_steal_pointer (&request->error));
  else
    g_task_return_pointer (task, g_steal_pointer (&request->result), request->work.free_result);
  request_unref (request);
}

/* TRUE for the one caller that may answer. */
static gboolean
claim_answer (ImagoRequest *request)
{
  return g_atomic_int_compare_and_exchange (&request->answered, FALSE, TRUE);
}

static GError *
cancelled_error (void)
{
  ImgError *core_error = NULL;
  GError *error = NULL;
  g_autoptr (ImgCancel) cancel = img_cancel_new ();

  img_cancel_trigger (cancel);
  img_cancel_check (cancel, &core_error);
  imago_error_take (&error, core_error);
  return error;
}

void
imago_request_answer_error (GTask *task, GError *error)
{
  imago_lane_push (imago_lane_find (task), task, deliver_error, error);
}

gboolean
imago_request_is_cancelled (GTask *task)
{
  if (G_LIKELY (!g_cancellable_is_cancelled (g_task_get_cancellable (task))))
    return FALSE;
  imago_request_answer_error (task, cancelled_error ());
  return TRUE;
}

/* ---- cancellation ---- */

/* Runs where the application cancels, perhaps while the worker is busy. The answer takes the
 * handler with it: the cancellable must not be touched once its task is gone. */
static void
cancelled_cb (GCancellable *cancellable, gpointer data)
{
  ImagoRequest *request = data;

  if (!img_cancel_trigger (request->cancel) ||
      !(request->work.flags & (IMAGO_REQUEST_ABANDON | IMAGO_REQUEST_MAY_HANG)) || !claim_answer (request))
    return;
  g_signal_handlers_disconnect_by_data (cancellable, request);
  g_object_unref (request->cancellable);
  imago_completion_push (request->completion, request->task, deliver_error, cancelled_error ());
}

static void
connect_cancellable (ImagoRequest *request, GCancellable *cancellable)
{
  if (cancellable == NULL)
    return;
  request->cancel = img_cancel_new ();
  request->cancellable = g_object_ref (cancellable);
  /* Calls back at once, and returns 0, when it is cancelled already. */
  request->handler = g_cancellable_connect (cancellable, G_CALLBACK (cancelled_cb),
                                            request_ref (request), request_unref);
}

/* g_cancellable_disconnect () would wait for handlers that run in other threads; ours need not be
 * waited for, the closure holds the request. */
static void
disconnect_cancellable (ImagoRequest *request)
{
  if (request->cancellable == NULL)
    return;
  if (request->handler != 0)
    g_signal_handler_disconnect (request->cancellable, request->handler);
  g_object_unref (request->cancellable); /* the task has another reference */
}

/* ---- on a worker ---- */

static void
drop_answer (ImagoRequest *request, ImgError *core_error)
{
  if (request->result != NULL && request->work.free_result != NULL)
    request->work.free_result (request->result);
  img_error_free (core_error);
  request_unref (request);
}

static void
push_answer (ImagoRequest *request, ImgError *core_error)
{
  disconnect_cancellable (request);
  if (core_error != NULL)
    imago_error_take (&request->error, core_error);
  imago_completion_push (request->completion, request->task, deliver_request, request);
}

/* The hold on an image goes last: it may let a closing end, which is told behind this answer. */
static void
answer (ImagoRequest *request, ImgError *core_error)
{
  GDestroyNotify release_data = request->work.release_data;
  gpointer data = request->work.data;

  free_data (request);
  img_miss_clear (&request->work.miss);
  if (claim_answer (request))
    push_answer (request, core_error);
  else
    drop_answer (request, core_error);
  if (release_data != NULL)
    release_data (data);
}

static void
run_request (ImgTask *pool_task)
{
  ImagoRequest *request = (ImagoRequest *) pool_task;
  ImgError *core_error = NULL;

  if (!g_atomic_int_get (&request->answered) && !img_cancel_check (request->cancel, &core_error))
    request->result = request->work.run (request->work.data, request->cancel, &core_error);
  answer (request, core_error);
}

ImagoRequest *
imago_request_begin (GTask *task, const ImagoRequestWork *work)
{
  ImagoRequest *request = g_new0 (ImagoRequest, 1);

  request->ref_count = 1;
  request->work = *work;
  request->completion = imago_completion_hold (task);
  request->task = task;
  connect_cancellable (request, g_task_get_cancellable (task));
  return request;
}

void
imago_request_end (ImagoRequest *request, ImgError *core_error)
{
  if (core_error == NULL)
    request->result = IMAGO_REQUEST_DONE;
  answer (request, core_error);
}

/* Takes @request. */
static void
queue_request (ImagoRequest *request)
{
  ImgError *core_error = NULL;

  if (!img_pool_push (img_pool_get_default (), &request->pool_task, &core_error))
    answer (request, core_error);
}

/* On a thread that must not wait. */
static void
retry_request (ImgPrefetch *prefetch)
{
  ImagoRequest *request = prefetch->data;
  ImgError *core_error = NULL;

  if (g_atomic_int_get (&request->answered) || img_cancel_check (request->cancel, &core_error) ||
      request->work.retry (request->work.data, &request->result, &core_error))
    answer (request, core_error);
  else
    queue_request (request);
}

void
imago_request_start (GTask *task, const ImagoRequestWork *work)
{
  int priority = g_task_get_priority (task);
  ImagoRequest *request = imago_request_begin (task, work); /* it may be answered already */

  request->pool_task.run = run_request;
  request->pool_task.kind = IMG_TASK_IO;
  request->pool_task.priority = priority;
  request->pool_task.key = work->key;
  request->pool_task.gate = work->gate;
  request->prefetch.done = retry_request;
  request->prefetch.data = request;
  if (work->retry == NULL || work->miss.storage == NULL ||
      !img_storage_prefetch (work->miss.storage, &request->prefetch, work->miss.offset, work->miss.length))
    queue_request (request);
}

/* ---- in the caller's thread ---- */

static void
bridge_cancelled_cb (GCancellable *cancellable, gpointer data)
{
  img_cancel_trigger (data);
}

ImgCancel *
imago_cancel_bridge_begin (ImagoCancelBridge *bridge, GCancellable *cancellable)
{
  *bridge = (ImagoCancelBridge) { 0 };
  if (cancellable == NULL)
    return NULL;
  bridge->cancellable = cancellable;
  bridge->cancel = img_cancel_new ();
  bridge->handler =
    g_cancellable_connect (cancellable, G_CALLBACK (bridge_cancelled_cb),
                           img_cancel_ref (bridge->cancel), (GDestroyNotify) img_cancel_unref);
  return bridge->cancel;
}

void
imago_cancel_bridge_end (ImagoCancelBridge *bridge)
{
  if (bridge->cancel == NULL)
    return;
  if (bridge->handler != 0)
    g_signal_handler_disconnect (bridge->cancellable, bridge->handler);
  img_cancel_unref (bridge->cancel);
}

gpointer
imago_request_run (ImagoRequestFunc run, gpointer data, GCancellable *cancellable, GError **error)
{
  ImagoCancelBridge bridge;
  ImgCancel *cancel = imago_cancel_bridge_begin (&bridge, cancellable);
  ImgError *core_error = NULL;
  gpointer result = NULL;

  if (!img_cancel_check (cancel, &core_error))
    result = run (data, cancel, &core_error);
  imago_cancel_bridge_end (&bridge);
  if (core_error != NULL)
    imago_error_take (error, core_error);
  return result;
}

/* ---- on a worker, with the caller waiting ---- */

/* References: one for the worker and one for the caller. */
typedef struct
{
  ImgTask pool_task;
  ImgRefCount ref_count;
  ImagoRequestWork work;
  ImgCancel *cancel;

  ImgMutex mutex; /* what follows */
  ImgWaitList waiters;
  gboolean is_done;
  gpointer result; /* of nobody, once the caller has gone */
  ImgError *error;
} Errand;

static void
errand_unref (Errand *errand)
{
  if (!img_ref_dec (&errand->ref_count))
    return;
  if (errand->result != NULL && errand->work.free_result != NULL)
    errand->work.free_result (errand->result);
  img_error_free (errand->error);
  img_cancel_unref (errand->cancel);
  img_mutex_clear (&errand->mutex);
  g_free (errand);
}

static void
release_work (const ImagoRequestWork *work)
{
  if (work->free_data != NULL)
    work->free_data (work->data);
  if (work->release_data != NULL)
    work->release_data (work->data);
}

static void
run_errand (ImgTask *pool_task)
{
  Errand *errand = (Errand *) pool_task;
  ImgError *error = NULL;
  gpointer result = NULL;

  if (!img_cancel_check (errand->cancel, &error))
    result = errand->work.run (errand->work.data, errand->cancel, &error);
  release_work (&errand->work);
  img_mutex_lock (&errand->mutex);
  errand->is_done = TRUE;
  errand->result = result;
  errand->error = error;
  img_wait_list_wake_all (&errand->waiters);
  img_mutex_unlock (&errand->mutex);
  errand_unref (errand);
}

static Errand *
errand_start (const ImagoRequestWork *work, ImgCancel *cancel, ImgError **error)
{
  Errand *errand = g_new0 (Errand, 1);

  img_ref_init (&errand->ref_count);
  img_ref_inc (&errand->ref_count);
  img_mutex_init (&errand->mutex);
  errand->pool_task.run = run_errand;
  errand->pool_task.kind = IMG_TASK_IO;
  errand->pool_task.priority = G_PRIORITY_DEFAULT;
  errand->pool_task.key = work->key;
  errand->pool_task.gate = work->gate;
  errand->work = *work;
  errand->cancel = img_cancel_ref (cancel);
  if (img_pool_push (img_pool_get_default (), &errand->pool_task, error))
    return errand;
  release_work (work);
  errand_unref (errand);
  errand_unref (errand);
  return NULL;
}

/* With the mutex, which is released meanwhile. The worker may wait for a hook of this thread, also where that is inside of
 * a server already, as a policy that opens something: parking alone would not serve it then. */
static void
errand_park (Errand *errand)
{
  const ImagoRequestWork *work = &errand->work;
  gint64 deadline = work->look != NULL ? g_get_monotonic_time () + LOOK_USEC : 0;
  gboolean in_time = img_wait_list_wait_until (&errand->waiters, &errand->mutex, deadline);

  img_mutex_unlock (&errand->mutex);
  imago_owner_queue_serve_here ();
  if (work->look != NULL && !in_time)
    work->look (work->data);
  img_mutex_lock (&errand->mutex);
}

/* Takes @errand. */
static gpointer
errand_wait (Errand *errand, ImgCancel *cancel, ImgError **error)
{
  gpointer result;

  img_cancel_watch (cancel);
  img_mutex_lock (&errand->mutex);
  while (!errand->is_done && !img_cancel_is_set (cancel))
    errand_park (errand);
  result = g_steal_pointer (&errand->result);
  if (errand->error != NULL)
    img_error_propagate (error, g_steal_pointer (&errand->error));
  else if (result == NULL)
    img_cancel_check (cancel, error);
  img_mutex_unlock (&errand->mutex);
  img_cancel_unwatch (cancel);
  errand_unref (errand);
  return result;
}

gpointer
imago_request_run_work (const ImagoRequestWork *work, GCancellable *cancellable, GError **error)
{
  ImagoCancelBridge bridge;
  ImgError *core_error = NULL;
  gpointer result = NULL;
  ImgCancel *cancel;
  Errand *errand;

  if (cancellable == NULL || !(work->flags & IMAGO_REQUEST_MAY_HANG) || img_pool_is_here () ||
      !imago_hook_may_wait_for_all (NULL))
    {
      result = imago_request_run (work->run, work->data, cancellable, error);
      release_work (work);
      return result;
    }
  cancel = imago_cancel_bridge_begin (&bridge, cancellable);
  errand = errand_start (work, cancel, &core_error);
  if (errand != NULL)
    result = errand_wait (errand, cancel, &core_error);
  imago_cancel_bridge_end (&bridge);
  if (core_error != NULL)
    imago_error_take (error, core_error);
  return result;
}

/* ---- the pool ---- */

static ImgMutex keys_mutex = IMG_MUTEX_INIT;
static GSList *free_keys; /* of ImgPoolKey; with the mutex */

ImgPoolKey *
imago_pool_key_new (void)
{
  ImgPoolKey *key = NULL;

  img_mutex_lock (&keys_mutex);
  if (free_keys != NULL)
    {
      key = free_keys->data;
      free_keys = g_slist_delete_link (free_keys, free_keys);
    }
  img_mutex_unlock (&keys_mutex);
  return key != NULL ? key : g_new0 (ImgPoolKey, 1);
}

void
imago_pool_key_release (ImgPoolKey *key)
{
  img_mutex_lock (&keys_mutex);
  free_keys = g_slist_prepend (free_keys, key);
  img_mutex_unlock (&keys_mutex);
}

typedef struct
{
  ImgTask pool_task;
  gpointer object;
  GDestroyNotify release;
} Release;

static void
run_release (ImgTask *pool_task)
{
  Release *release = (Release *) pool_task;

  release->release (release->object);
  g_free (release);
}

void
imago_release_later (gpointer object, GDestroyNotify func)
{
  Release *release = g_new0 (Release, 1);

  release->pool_task.run = run_release;
  release->pool_task.kind = IMG_TASK_IO;
  release->pool_task.priority = G_PRIORITY_LOW;
  release->object = object;
  release->release = func;
  if (!img_pool_push (img_pool_get_default (), &release->pool_task, NULL))
    run_release (&release->pool_task);
}
