/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-error-private.h"
#include "imago-image-private.h"
#include "imago-owner-queue.h"
#include "imago-storage-hook.h"

ImagoImageState *
imago_image_state_new (ImgImage *core)
{
  ImagoImageState *self = g_new0 (ImagoImageState, 1);

  self->ref_count = 1;
  img_epoch_init (&self->epoch);
  img_mutex_init (&self->mutex);
  self->core = core;
  self->size = core != NULL ? img_image_get_size (core) : 0;
  self->key = imago_pool_key_new ();
  if (core == NULL)
    {
      img_gate_close (&self->epoch);
      self->closing = self->left = self->closed = TRUE;
    }
  return self;
}

/* Nobody is left who could be told about a failure. */
static void
close_unwatched (ImgImage *core)
{
  const char *name = img_storage_get_name (img_image_get_storage (core));
  g_autofree char *quoted = img_quote_name (name != NULL ? name : "");
  g_autoptr (ImgError) error = NULL;

  if (!img_image_close (core, &error))
    g_message ("What was written to %s since its last flush may be lost: %s", quoted, error->text);
}

static void
release_core (gpointer data)
{
  ImgImage *core = data;

  /* Nothing of the application is called because it dropped an object. */
  if (img_image_is_writable (core) && !img_image_get_storage (core)->calls_out)
    close_unwatched (core);
  img_image_unref (core);
}

/* Whoever opens the same file next finds it in use until then, and waits. */
void
imago_image_release_core (ImgImage *core)
{
  ImgLeaving *leaving = img_leaving_new (release_core, core);

  img_image_leave (core, leaving);
  imago_release_later (leaving, img_leaving_run);
}

void
imago_image_state_unref (ImagoImageState *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;
  if (self->core != NULL)
    imago_image_release_core (self->core);
  imago_pool_key_release (self->key);
  img_error_clear (&self->close_error);
  img_epoch_clear (&self->epoch);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

/* For somebody who is inside: whatever closes the image has to wait for that first. */
static void
hold_from_inside (ImagoImageState *self)
{
  g_atomic_int_inc (&self->ref_count);
  img_mutex_lock (&self->mutex);
  self->n_holds++;
  img_mutex_unlock (&self->mutex);
}

gboolean
imago_image_state_hold (ImagoImageState *self)
{
  ImgEpochTicket ticket;

  if (imago_image_state_enter (self, &ticket) == NULL)
    return FALSE;
  hold_from_inside (self);
  imago_image_state_leave (self, ticket);
  return TRUE;
}

/* ---- closing ---- */

static void
answer_closers (ImagoImageState *self, GSList *closers)
{
  for (GSList *link = closers; link != NULL; link = link->next)
    imago_request_end (link->data, self->close_error != NULL ? img_error_copy (self->close_error) : NULL);
  g_slist_free (closers);
}

/* Ends the closing if nobody is in its way any more. The file is closed before anybody is told. */
static void
finish_closing (ImagoImageState *self)
{
  ImgImage *core = NULL;
  ImgError *error = NULL;
  GSList *closers;

  img_mutex_lock (&self->mutex);
  if (self->left && self->n_holds == 0)
    core = g_steal_pointer (&self->core);
  img_mutex_unlock (&self->mutex);
  if (core == NULL)
    return;
  if (img_image_is_writable (core))
    img_image_close (core, &error);
  img_image_unref (core);

  img_mutex_lock (&self->mutex);
  self->close_error = error;
  self->closed = TRUE;
  closers = g_slist_reverse (g_steal_pointer (&self->closers));
  img_wait_list_wake_all (&self->waiters);
  img_mutex_unlock (&self->mutex);
  answer_closers (self, closers);
}

static void
finish_closing_later (gpointer data)
{
  finish_closing (data);
  imago_image_state_unref (data);
}

void
imago_image_state_release (ImagoImageState *self)
{
  gboolean is_last, flushes;

  img_mutex_lock (&self->mutex);
  is_last = --self->n_holds == 0 && self->left;
  flushes = is_last && self->core != NULL && img_image_is_writable (self->core);
  img_mutex_unlock (&self->mutex);
  if (flushes)
    {
      imago_release_later (self, finish_closing_later);
      return;
    }
  if (is_last)
    finish_closing (self);
  imago_image_state_unref (self);
}

void
imago_image_state_begin_closing (ImagoImageState *self)
{
  gboolean is_first;

  img_mutex_lock (&self->mutex);
  is_first = !self->closing;
  self->closing = TRUE;
  img_mutex_unlock (&self->mutex);
  if (!is_first)
    return;
  img_gate_close (&self->epoch);
  img_mutex_lock (&self->mutex);
  self->left = TRUE;
  img_mutex_unlock (&self->mutex);
  finish_closing (self);
}

/* Whether the requests that closing waits for can come to an end while this thread does. */
static gboolean
may_wait_to_close (ImagoImageState *self, ImgError **error)
{
  ImgEpochTicket ticket;
  ImgImage *core = imago_image_state_enter (self, &ticket);
  gboolean may_wait;

  if (core == NULL)
    return imago_hook_may_wait_for_all (error);
  may_wait = imago_hook_may_wait (core, error);
  imago_image_state_leave (self, ticket);
  return may_wait;
}

typedef struct
{
  ImgTask pool_task;
  ImagoImageState *state;
} Closing;

static void
run_closing (ImgTask *pool_task)
{
  Closing *closing = (Closing *) pool_task;

  imago_image_state_begin_closing (closing->state);
  imago_image_state_unref (closing->state);
  g_free (closing);
}

/* On a worker, which waits for whoever is inside, and perhaps for a flush. */
static gboolean
push_closing (ImagoImageState *self, int priority, ImgError **error)
{
  Closing *closing = g_new0 (Closing, 1);

  closing->pool_task.run = run_closing;
  closing->pool_task.kind = IMG_TASK_IO;
  closing->pool_task.priority = priority;
  closing->state = self;
  g_atomic_int_inc (&self->ref_count);
  if (img_pool_push (img_pool_get_default (), &closing->pool_task, error))
    return TRUE;
  imago_image_state_unref (self);
  g_free (closing);
  return FALSE;
}

/* Whether closing may wait for somebody who never answers. */
static gboolean
closing_may_hang (ImagoImageState *self)
{
  ImgEpochTicket ticket;
  ImgImage *core = imago_image_state_enter (self, &ticket);
  gboolean may_hang;

  if (core == NULL)
    return TRUE; /* somebody else is about it: there is no way to tell */
  may_hang = img_image_may_hang (core);
  imago_image_state_leave (self, ticket);
  return may_hang;
}

gboolean
imago_image_state_close (ImagoImageState *self, ImgCancel *cancel, ImgError **error)
{
  gboolean closed;

  if (!may_wait_to_close (self, error))
    return FALSE;
  if (cancel == NULL || img_pool_is_here () || !closing_may_hang (self))
    imago_image_state_begin_closing (self);
  else if (!push_closing (self, G_PRIORITY_DEFAULT, error))
    return FALSE;
  img_cancel_watch (cancel);
  img_mutex_lock (&self->mutex);
  while (!self->closed && !img_cancel_is_set (cancel))
    {
      img_wait_list_wait (&self->waiters, &self->mutex);
      img_mutex_unlock (&self->mutex);
      imago_owner_queue_serve_here (); /* which parking inside of a server does not */
      img_mutex_lock (&self->mutex);
    }
  closed = self->closed;
  img_mutex_unlock (&self->mutex);
  img_cancel_unwatch (cancel);
  if (!closed)
    return !img_cancel_check (cancel, error);
  if (self->close_error != NULL)
    img_error_propagate (error, img_error_copy (self->close_error));
  return self->close_error == NULL;
}

static void
add_closer (ImagoImageState *self, ImagoRequest *closer)
{
  GSList *closers = NULL;

  img_mutex_lock (&self->mutex);
  self->closers = g_slist_prepend (self->closers, closer);
  if (self->closed)
    closers = g_steal_pointer (&self->closers);
  img_mutex_unlock (&self->mutex);
  answer_closers (self, closers);
}

void
imago_image_state_close_async (ImagoImageState *self, GTask *task)
{
  const ImagoRequestWork work = {
    .flags = closing_may_hang (self) ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE,
  };
  int priority = g_task_get_priority (task);
  ImagoRequest *closer = imago_request_begin (task, &work);
  ImgError *error = NULL;

  if (push_closing (self, priority, &error))
    add_closer (self, closer);
  else
    imago_request_end (closer, error);
}

/* ---- calls ---- */

void
imago_image_set_closed_error (ImgError **error)
{
  img_error_set (error, IMG_CODE_CLOSED, _("The image was closed"));
}

ImgImage *
imago_image_state_enter_to_wait (ImagoImageState *self, ImgEpochTicket *ticket, ImgError **error)
{
  ImgImage *core = imago_image_state_enter (self, ticket);

  if (G_UNLIKELY (core == NULL))
    {
      imago_image_set_closed_error (error);
      return NULL;
    }
  if (G_LIKELY (imago_hook_may_wait (core, error)))
    return core;
  imago_image_state_leave (self, *ticket);
  return NULL;
}

gboolean
imago_image_may_hang (ImagoImage *self)
{
  ImgEpochTicket ticket;
  ImgImage *core = imago_image_state_enter (self->state, &ticket);
  gboolean may_hang;

  if (core == NULL)
    return FALSE;
  may_hang = img_image_may_hang (core);
  imago_image_state_leave (self->state, ticket);
  return may_hang;
}

/* Whether a caller who cancels leaves the work behind. */
static inline gboolean
may_leave (ImgImage *core, ImagoRequestFlags flags, GCancellable *cancellable)
{
  return cancellable != NULL && !(flags & IMAGO_REQUEST_BORROWS) &&
         ((flags & IMAGO_REQUEST_MAY_HANG) || img_image_may_hang (core));
}

typedef struct
{
  ImagoImageCall call;
  GDestroyNotify free_data;
  gboolean is_apart; /* what it changes may be left behind */
} QueuedCall;

static void
release_call_data (ImagoImageCall *call, GDestroyNotify free_data)
{
  if (free_data != NULL && call->data != NULL)
    free_data (call->data);
}

static void
queued_call_free (gpointer data)
{
  QueuedCall *queued = data;

  release_call_data (&queued->call, queued->free_data);
  if (queued->is_apart)
    img_image_end_apart (queued->call.core);
  imago_image_state_release (queued->call.state);
  g_free (queued);
}

/* Takes the hold on the image that the work needs to go on without its caller; whoever cancels comes after this. */
static ImagoRequestWork
queue_call (ImagoImageState *state,
            ImagoRequestFunc run,
            const ImagoImageCall *call,
            GDestroyNotify free_data,
            GDestroyNotify free_result,
            ImagoRequestFlags flags,
            GCancellable *cancellable)
{
  QueuedCall *queued = g_new (QueuedCall, 1);
  gboolean may_be_left = may_leave (state->core, flags, cancellable);

  *queued = (QueuedCall) { *call, free_data, may_be_left && !(flags & IMAGO_REQUEST_ABANDON) };
  queued->call.state = state;
  queued->call.core = state->core;
  if (queued->is_apart)
    img_image_begin_apart (state->core);
  return (ImagoRequestWork) {
    .run = run,
    .data = queued,
    .release_data = queued_call_free,
    .free_result = free_result,
    .arrived = call->arrived,
    .retry = call->retry,
    .miss = call->miss,
    .flags = flags | (may_be_left ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE),
    .key = state->key,
    .gate = img_image_get_epoch (state->core),
  };
}

gpointer
imago_image_call (ImagoImage *self,
                  ImagoRequestFunc run,
                  ImagoImageCall *call,
                  GDestroyNotify free_data,
                  GDestroyNotify free_result,
                  ImagoRequestFlags flags,
                  GCancellable *cancellable,
                  GError **error)
{
  ImgError *core_error = NULL;
  ImagoRequestWork work;
  ImgEpochTicket ticket;
  gpointer result;

  call->state = self->state;
  call->core = imago_image_state_enter_to_wait (self->state, &ticket, &core_error);
  if (call->core == NULL)
    {
      release_call_data (call, free_data);
      imago_error_take (error, core_error);
      return NULL;
    }
  if (G_UNLIKELY (may_leave (call->core, flags, cancellable)))
    {
      hold_from_inside (self->state);
      work = queue_call (self->state, run, call, free_data, free_result, flags, cancellable);
      imago_image_state_leave (self->state, ticket);
      return imago_request_run_work (&work, cancellable, error);
    }
  result = imago_request_run (run, call, cancellable, error);
  imago_image_state_leave (self->state, ticket);
  release_call_data (call, free_data);
  return result;
}

void
imago_image_call_async (ImagoImage *self,
                        GTask *task,
                        ImagoRequestFunc run,
                        const ImagoImageCall *call,
                        GDestroyNotify free_data,
                        GDestroyNotify free_result,
                        ImagoRequestFlags flags)
{
  ImagoImageCall refused = *call;
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImagoRequestWork work;

  if (imago_image_state_hold (self->state))
    {
      work = queue_call (self->state, run, call, free_data, free_result, flags, g_task_get_cancellable (task));
      imago_request_start (task, &work);
      return;
    }
  release_call_data (&refused, free_data);
  img_miss_clear (&refused.miss);
  imago_image_set_closed_error (&core_error);
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
}

GTask *
imago_image_task_new (ImagoImage *self,
                      gpointer source_tag,
                      const char *name,
                      int io_priority,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  /* The macro would name the task after this variable. */
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_name (task, name);
  g_task_set_priority (task, io_priority);
  return task;
}
