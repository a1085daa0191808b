/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What lies behind an ImagoImage, shared with the requests that work on it.
 *
 * A call enters the state while it uses the core in its caller's thread: one atomic addition on a
 * counter that few threads share. A request that is queued or runs on a worker, and a job, keeps a
 * hold, which may outlive the ImagoImage. Closing waits for both, and in this order: while calls
 * are inside they may still turn into requests. It never waits on a worker for requests, which may
 * be queued behind it.
 *
 * An image that can be written is flushed when it is closed, which may take long: whoever lets the
 * last hold go leaves that to the pool. So does whoever drops the last reference.
 */

#pragma once

#include "imago-core.h"
#include "imago-image.h"
#include "imago-request.h"

G_BEGIN_DECLS

typedef struct
{
  gint ref_count; /* atomic */
  ImgEpoch epoch; /* its gate is open until the image is closed, and never opens again */
  ImgImage
    *core; /* owned; constant while somebody is inside or has a hold; NULL once it is closed */
  ImgPoolKey *key;
  guint64 size; /* atomic: of the disk; stays when it is closed */

  ImgMutex mutex; /* what follows */
  guint n_holds;
  gboolean closing;
  gboolean left;   /* nobody is inside any more */
  gboolean closed;
  ImgError *close_error; /* owned; constant once it is closed */
  ImgWaitList waiters;
  GSList *closers; /* of ImagoRequest, to be answered */
} ImagoImageState;

/* Takes the last reference that the application has to @core, with or without an object: a worker closes it. */
void             imago_image_release_core  (ImgImage *core);

/* Takes @core, which may be NULL: then it is closed from the start. */
ImagoImageState *imago_image_state_new     (ImgImage *core) G_GNUC_WARN_UNUSED_RESULT;
void             imago_image_state_unref   (ImagoImageState *self);

/* Borrowed; NULL if the image is closed. */
static inline ImgImage *
imago_image_state_enter (ImagoImageState *self, ImgEpochTicket *ticket)
{
  return G_LIKELY (img_epoch_try_enter (&self->epoch, ticket)) ? self->core : NULL;
}

/* For a call that may block: NULL with @error set if the image is closed, or if the call would wait for ever. */
ImgImage        *imago_image_state_enter_to_wait (ImagoImageState *self, ImgEpochTicket *ticket,
                                                  ImgError **error);

static inline void
imago_image_state_leave (ImagoImageState *self, ImgEpochTicket ticket)
{
  img_epoch_leave (&self->epoch, ticket);
}

/* With a new reference to the state; FALSE if the image is closed. */
gboolean         imago_image_state_hold    (ImagoImageState *self);
void             imago_image_state_release (ImagoImageState *self);

/* Lets nobody in any more, and waits for the calls that are inside, but for no request: whoever has the last hold closes
 * the image. */
void             imago_image_state_begin_closing (ImagoImageState *self);
/* Returns when the image is closed; FALSE when it could not be flushed, or when cancelled before that, and
 * then it goes on closing. Not on a worker. */
gboolean         imago_image_state_close   (ImagoImageState *self, ImgCancel *cancel, ImgError **error);
/* Takes @task, and answers it when the image is closed. */
void             imago_image_state_close_async (ImagoImageState *self, GTask *task);

void             imago_image_set_closed_error (ImgError **error);

/* ---- calls ---- */

/* One call of the core on behalf of a method. */
typedef struct
{
  ImagoImageState *state; /* set by the functions below, as is core */
  ImgImage *core;
  guint64 offset;
  guint64 length;
  guint max;
  ImgBlockMapFlags flags;
  guint mode;  /* what a change is told beyond its range: flags, or one of several */
  guint mode2;
  gpointer data;
  void (*arrived) (GTask *task); /* nullable; called in the task's context, before it is returned */
  ImagoRetryFunc retry;          /* nullable; as in ImagoRequestWork */
  ImgMiss miss;                  /* owned, or empty: of asynchronous calls */
} ImagoImageCall;

/* @run gets an ImagoImageCall. All of these take call->data and call->miss; the data @free_data (nullable) releases, unless @run has made
 * NULL of it.
 *
 * If a storage of the image may never answer (img_image_may_hang ()), a call that is cancelled is left behind: its
 * caller is told so at once, and a worker goes on with it. Therefore it owns all that it works on, or says that it
 * BORROWS. What changes the image is then for the image what it would have been with its caller there: the range is
 * claimed before the caller can go, and later changes of it come behind; the gate stays closed; a failed flush poisons.
 *
 * Elsewhere a blocking call runs in the caller's thread, and it and an asynchronous one without ABANDON end when @run
 * does. */
gpointer imago_image_call (ImagoImage *self,
                           ImagoRequestFunc run,
                           ImagoImageCall *call,
                           GDestroyNotify free_data,
                           GDestroyNotify free_result,
                           ImagoRequestFlags flags,
                           GCancellable *cancellable,
                           GError **error);
/* On a worker; takes @task. */
void imago_image_call_async (ImagoImage *self,
                             GTask *task,
                             ImagoRequestFunc run,
                             const ImagoImageCall *call,
                             GDestroyNotify free_data,
                             GDestroyNotify free_result,
                             ImagoRequestFlags flags);
/* Whether a call may be left behind: what would borrow memory of the caller's goes by way of its own then. */
gboolean imago_image_may_hang (ImagoImage *self);
/* For a starter. */
GTask *imago_image_task_new (ImagoImage *self,
                             gpointer source_tag,
                             const char *name,
                             int io_priority,
                             GCancellable *cancellable,
                             GAsyncReadyCallback callback,
                             gpointer user_data) G_GNUC_WARN_UNUSED_RESULT;

/* ---- the object ---- */

struct _ImagoImage
{
  GObject parent_instance;

  ImagoImageState *state;
  gboolean writable;
  ImagoFormat *format;
  ImagoStorage *storage; /* atomic; NULL until somebody asks for the file's */
  ImgPolicy *policy;
  gboolean guessed; /* nobody named the format: no reference is followed */

  ImgMutex mutex; /* what follows */
  gboolean backing_is_set;
  ImagoImage *backing; /* once it was given or asked for */
};

/* Takes all three; @storage may be NULL for a file, @policy if the references are open. */
ImagoImage *imago_image_new_from_core (ImgImage *core,
                                       ImagoStorage *storage,
                                       ImgPolicy *policy,
                                       gboolean guessed) G_GNUC_WARN_UNUSED_RESULT;

/* In a context where the application can be told. */
void imago_image_notify_size (ImagoImage *self);

/* FALSE if @image refers to a file although its format was a guess. */
gboolean imago_image_check_guess (ImgImage *image, gboolean backing_is_set, ImgError **error);

/* Takes @task, and answers it with a GBytes. */
void imago_image_start_read (ImagoImage *self, GTask *task, guint64 offset, gsize count);
/* The same, together with other reads. FALSE: this one should not wait for others; @task is not taken. */
gboolean imago_image_gather_read (ImagoImage *self, GTask *task, guint64 offset, gsize count);

/* As the public functions do it, without the checks of the arguments. */
void
imago_image_read_task (ImagoImage *self, GTask *task, guint64 offset, gpointer buffer, gsize count);
gboolean imago_image_read (ImagoImage *self,
                           guint64 offset,
                           gpointer buffer,
                           gsize count,
                           GCancellable *cancellable,
                           GError **error);
/* Takes @task; the memory stays as it is until the answer is on its way. */
void imago_image_writev_task (ImagoImage *self,
                              GTask *task,
                              guint64 offset,
                              const struct iovec *vectors,
                              guint n_vectors);
/* Takes @task. */
void imago_image_flush_task (ImagoImage *self, GTask *task);

G_END_DECLS
