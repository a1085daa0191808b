/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-owner-queue.h"

typedef enum
{
  CALL_NEW,
  CALL_RUN, /* begun or dropped: its function will not be called any more */
} CallState;

struct _ImagoOwnerCall
{
  ImgRefCount ref_count;
  ImagoOwnerFunc func;
  gpointer data;
  GDestroyNotify free_data;

  ImgMutex mutex;
  CallState state;
  gboolean finished;
  GSList *waiters; /* of ImgParker, owned; each takes itself off */
};

/* A thread that has been the owner of a queue. Its server, once registered, stays as long as the
 * thread: it costs nothing while there is no call. */
typedef struct
{
  ImgRefCount ref_count;
  ImgParker *parker;
  GPtrArray *queues; /* borrowed; under homes_mutex */
} Home;

struct _ImagoOwnerQueue
{
  ImgRefCount ref_count;
  GMainContext *context;
  GSource *source; /* NULL once closed */
  Home *home;      /* under homes_mutex */

  ImgMutex mutex;
  GQueue calls; /* of ImagoOwnerCall, owned */
  gboolean closed;
};

/* Which queue lives on which thread; taken before the mutex of a queue, never after. */
static ImgMutex homes_mutex = IMG_MUTEX_INIT;

/* ---- calls ---- */

ImagoOwnerCall *
imago_owner_call_new (ImagoOwnerFunc func, gpointer data, GDestroyNotify free_data)
{
  ImagoOwnerCall *self = g_new0 (ImagoOwnerCall, 1);

  img_ref_init (&self->ref_count);
  self->func = func;
  self->data = data;
  self->free_data = free_data;
  img_mutex_init (&self->mutex);
  return self;
}

ImagoOwnerCall *
imago_owner_call_ref (ImagoOwnerCall *self)
{
  img_ref_inc (&self->ref_count);
  return self;
}

static void
release_data (ImagoOwnerCall *self)
{
  gpointer data = g_steal_pointer (&self->data);

  if (data != NULL && self->free_data != NULL)
    self->free_data (data);
}

void
imago_owner_call_unref (ImagoOwnerCall *self)
{
  if (!img_ref_dec (&self->ref_count))
    return;
  release_data (self);
  g_assert (self->waiters == NULL);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

void
imago_owner_call_finish (ImagoOwnerCall *self)
{
  img_mutex_lock (&self->mutex);
  self->finished = TRUE;
  for (GSList *link = self->waiters; link != NULL; link = link->next)
    img_unpark (link->data);
  img_mutex_unlock (&self->mutex);
}

gboolean
imago_owner_call_is_finished (ImagoOwnerCall *self)
{
  gboolean finished;

  img_mutex_lock (&self->mutex);
  finished = self->finished;
  img_mutex_unlock (&self->mutex);
  return finished;
}

/* TRUE for exactly one caller, who then owns func and data. */
static gboolean
claim_call (ImagoOwnerCall *self)
{
  gboolean was_new;

  img_mutex_lock (&self->mutex);
  was_new = self->state == CALL_NEW;
  self->state = CALL_RUN;
  img_mutex_unlock (&self->mutex);
  return was_new;
}

static void
run_call (ImagoOwnerCall *self)
{
  if (!claim_call (self))
    return;
  self->func (self, self->data);
  release_data (self);
}

/* On any thread: @self will not run. */
static void
drop_call (ImagoOwnerCall *self)
{
  if (claim_call (self))
    release_data (self);
  imago_owner_call_finish (self);
}

static void
begin_waiting (ImagoOwnerCall *self)
{
  img_mutex_lock (&self->mutex);
  self->waiters = g_slist_prepend (self->waiters, img_parker_ref (img_parker_current ()));
  img_mutex_unlock (&self->mutex);
}

static void
end_waiting (ImagoOwnerCall *self)
{
  ImgParker *parker = img_parker_current ();

  img_mutex_lock (&self->mutex);
  self->waiters = g_slist_remove (self->waiters, parker);
  img_mutex_unlock (&self->mutex);
  img_parker_unref (parker);
}

static Home *home_current (void);
static void serve_home (gpointer data);

/* The owner's thread is in a blocking call: see the top of the header. Ends early when @cancel
 * is triggered. */
static void
run_call_blocked (ImagoOwnerCall *self, ImgCancel *cancel)
{
  g_autoptr (GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  run_call (self);
  begin_waiting (self);
  while (!imago_owner_call_is_finished (self) && !img_cancel_is_set (cancel))
    {
      img_park_in_context (context);
      /* Parking inside of a server does not serve, but this hook may wait for another one of
       * this thread. */
      serve_home (home_current ());
    }
  end_waiting (self);
  g_main_context_pop_thread_default (context);
}

/* ---- threads that own queues ---- */

static Home *
home_ref (Home *self)
{
  img_ref_inc (&self->ref_count);
  return self;
}

static void
home_unref (Home *self)
{
  if (!img_ref_dec (&self->ref_count))
    return;
  img_parker_unref (self->parker);
  g_ptr_array_unref (self->queues);
  g_free (self);
}

static void
home_free_cb (gpointer home)
{
  home_unref (home);
}

static GPrivate current_home = G_PRIVATE_INIT (home_free_cb);

static Home *
home_current (void)
{
  Home *home = g_private_get (&current_home);

  if (home != NULL)
    return home;
  home = g_new0 (Home, 1);
  img_ref_init (&home->ref_count);
  home->queues = g_ptr_array_new ();
  home->parker = img_parker_ref (img_park_push_server (serve_home, home));
  g_private_set (&current_home, home);
  return home;
}

/* With homes_mutex held. */
static void
set_home (ImagoOwnerQueue *self, Home *home)
{
  Home *old = self->home;

  g_atomic_pointer_set (&self->home, home);
  if (home != NULL)
    g_ptr_array_add (home_ref (home)->queues, self);
  if (old != NULL)
    {
      g_ptr_array_remove_fast (old->queues, self);
      home_unref (old);
    }
}

/* ---- who is the owner ---- */

/* TRUE if this thread owns the context or, being at home, can have it; then leave () must
 * follow. */
static gboolean
enter (ImagoOwnerQueue *self)
{
  Home *home = g_private_get (&current_home);
  gboolean is_home;

  if (g_main_context_is_owner (self->context))
    return g_main_context_acquire (self->context);
  img_mutex_lock (&homes_mutex);
  is_home = home != NULL && self->home == home;
  img_mutex_unlock (&homes_mutex);
  return is_home && g_main_context_acquire (self->context);
}

static void
leave (ImagoOwnerQueue *self)
{
  g_main_context_release (self->context);
}

static ImagoOwnerCall *
pop_call (ImagoOwnerQueue *self)
{
  ImagoOwnerCall *call;

  img_mutex_lock (&self->mutex);
  call = g_queue_pop_head (&self->calls);
  img_mutex_unlock (&self->mutex);
  return call;
}

static guint
count_calls (ImagoOwnerQueue *self)
{
  guint n_calls;

  img_mutex_lock (&self->mutex);
  n_calls = g_queue_get_length (&self->calls);
  img_mutex_unlock (&self->mutex);
  return n_calls;
}

static void
serve_queue (ImagoOwnerQueue *self)
{
  ImagoOwnerCall *call;

  if (count_calls (self) == 0 || !enter (self))
    return; /* another thread has the context and will dispatch the source */
  while ((call = pop_call (self)) != NULL)
    {
      run_call_blocked (call, NULL);
      imago_owner_call_unref (call);
    }
  leave (self);
}

/* What a parked owner does when it is woken. */
static void
serve_home (gpointer data)
{
  Home *home = data;
  g_autoptr (GPtrArray) queues =
    g_ptr_array_new_with_free_func ((GDestroyNotify) imago_owner_queue_unref);

  img_mutex_lock (&homes_mutex);
  for (guint i = 0; i < home->queues->len; i++)
    g_ptr_array_add (queues, imago_owner_queue_ref (g_ptr_array_index (home->queues, i)));
  img_mutex_unlock (&homes_mutex);
  for (guint i = 0; i < queues->len; i++)
    serve_queue (g_ptr_array_index (queues, i));
}

/* Calls wake this thread from now on, if the queue is still open. */
static void
move_home (ImagoOwnerQueue *self)
{
  Home *home = home_current ();

  if (g_atomic_pointer_get (&self->home) == home)
    return;
  img_mutex_lock (&homes_mutex);
  if (self->home != NULL)
    set_home (self, home);
  img_mutex_unlock (&homes_mutex);
}

/* ---- the source ---- */

typedef struct
{
  GSource parent;
  ImagoOwnerQueue *queue; /* owned until the queue closes */
} QueueSource;

static gboolean
queue_source_prepare (GSource *source, int *timeout)
{
  ImagoOwnerQueue *queue = ((QueueSource *) source)->queue;

  /* The context may be iterated on another thread than before. */
  move_home (queue);
  *timeout = -1;
  return count_calls (queue) > 0;
}

static gboolean
queue_source_check (GSource *source)
{
  return count_calls (((QueueSource *) source)->queue) > 0;
}

static gboolean
queue_source_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  g_autoptr (ImagoOwnerQueue) queue = imago_owner_queue_ref (((QueueSource *) source)->queue);

  /* What comes meanwhile waits for the next iteration: others want their turn. */
  for (guint n_left = count_calls (queue); n_left > 0; n_left--)
    {
      g_autoptr (ImagoOwnerCall) call = pop_call (queue);

      if (call == NULL)
        break; /* a nested loop was quicker */
      run_call (call);
    }
  return G_SOURCE_CONTINUE;
}

static void
queue_source_finalize (GSource *source)
{
  imago_owner_queue_unref (((QueueSource *) source)->queue);
}

static GSourceFuncs queue_source_funcs = {
  .prepare = queue_source_prepare,
  .check = queue_source_check,
  .dispatch = queue_source_dispatch,
  .finalize = queue_source_finalize,
};

/* ---- queues ---- */

ImagoOwnerQueue *
imago_owner_queue_new (void)
{
  ImagoOwnerQueue *self = g_new0 (ImagoOwnerQueue, 1);

  img_ref_init (&self->ref_count);
  img_mutex_init (&self->mutex);
  self->context = g_main_context_ref_thread_default ();
  img_mutex_lock (&homes_mutex);
  set_home (self, home_current ());
  img_mutex_unlock (&homes_mutex);

  self->source = g_source_new (&queue_source_funcs, sizeof (QueueSource));
  ((QueueSource *) self->source)->queue = imago_owner_queue_ref (self);
  g_source_set_static_name (self->source, "ImagoOwnerQueue");
  /* A hook may run a loop of its own and wait there for another call. */
  g_source_set_can_recurse (self->source, TRUE);
  g_source_attach (self->source, self->context);
  return self;
}

ImagoOwnerQueue *
imago_owner_queue_ref (ImagoOwnerQueue *self)
{
  img_ref_inc (&self->ref_count);
  return self;
}

void
imago_owner_queue_unref (ImagoOwnerQueue *self)
{
  if (!img_ref_dec (&self->ref_count))
    return;
  g_assert (g_queue_is_empty (&self->calls) && self->home == NULL && self->source == NULL);
  g_main_context_unref (self->context);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

void
imago_owner_queue_close (ImagoOwnerQueue *self)
{
  g_autoptr (GSource) source = NULL;
  GQueue dropped;
  ImagoOwnerCall *call;

  img_mutex_lock (&homes_mutex);
  set_home (self, NULL);
  img_mutex_unlock (&homes_mutex);
  img_mutex_lock (&self->mutex);
  self->closed = TRUE;
  dropped = self->calls;
  g_queue_init (&self->calls);
  source = g_steal_pointer (&self->source); /* it has a reference to the queue */
  img_mutex_unlock (&self->mutex);
  if (source != NULL)
    g_source_destroy (source);

  while ((call = g_queue_pop_head (&dropped)) != NULL)
    {
      drop_call (call);
      imago_owner_call_unref (call);
    }
}

static void
wake_home (ImagoOwnerQueue *self)
{
  ImgParker *parker = NULL;

  img_mutex_lock (&homes_mutex);
  if (self->home != NULL)
    parker = img_parker_ref (self->home->parker);
  img_mutex_unlock (&homes_mutex);
  if (parker == NULL)
    return;
  img_unpark (parker);
  img_parker_unref (parker);
}

void
imago_owner_queue_push (ImagoOwnerQueue *self, ImagoOwnerCall *call)
{
  gboolean closed;

  img_mutex_lock (&self->mutex);
  closed = self->closed;
  if (!closed)
    g_queue_push_tail (&self->calls, imago_owner_call_ref (call));
  img_mutex_unlock (&self->mutex);
  if (closed)
    {
      drop_call (call);
      return;
    }
  /* It either polls its context or is parked; which of them is not for us to know. */
  g_main_context_wakeup (self->context);
  wake_home (self);
}

/* Nobody waits for @call any more. Its data goes where it belongs. */
static void
abandon_call (ImagoOwnerQueue *self, ImagoOwnerCall *call)
{
  gboolean was_queued;

  img_mutex_lock (&self->mutex);
  was_queued = g_queue_remove (&self->calls, call);
  img_mutex_unlock (&self->mutex);
  if (claim_call (call))
    imago_owner_queue_release (self, g_steal_pointer (&call->data), call->free_data);
  imago_owner_call_finish (call);
  if (was_queued)
    imago_owner_call_unref (call);
}

gboolean
imago_owner_queue_run (ImagoOwnerQueue *self,
                       ImagoOwnerCall *call,
                       ImgCancel *cancel,
                       ImgError **error)
{
  gboolean finished;

  if (img_cancel_check (cancel, error))
    {
      abandon_call (self, call);
      return FALSE;
    }
  img_cancel_watch (cancel);
  if (enter (self))
    {
      run_call_blocked (call, cancel);
      leave (self);
    }
  else if (img_pool_begin_wait (error))
    {
      begin_waiting (call);
      imago_owner_queue_push (self, call);
      while (!imago_owner_call_is_finished (call) && !img_cancel_is_set (cancel))
        img_park ();
      end_waiting (call);
      img_pool_end_wait ();
    }
  else
    {
      img_cancel_unwatch (cancel);
      abandon_call (self, call);
      return FALSE;
    }
  img_cancel_unwatch (cancel);

  finished = imago_owner_call_is_finished (call);
  if (!finished)
    {
      abandon_call (self, call);
      img_cancel_check (cancel, error);
    }
  return finished;
}

gboolean
imago_owner_queue_is_here (ImagoOwnerQueue *self)
{
  if (!enter (self))
    return FALSE;
  leave (self);
  return TRUE;
}

/* This queue, which lives here now, and others of this thread that a hook may wait for: inside of a server, parking
 * does not serve. Where nothing is to be waited for, as after a request that must not wait, no hook runs. */
void
imago_owner_queue_run_until (ImagoOwnerQueue *self, gboolean (*poll) (gpointer data), gpointer data)
{
  move_home (self);
  while (!poll (data))
    {
      serve_home (home_current ());
      if (!poll (data))
        img_park ();
    }
}

void
imago_owner_queue_serve_here (void)
{
  Home *home = g_private_get (&current_home);

  if (home != NULL)
    serve_home (home);
}

typedef struct
{
  gpointer data;
  GDestroyNotify free_data;
} Release;

static void
release_free (gpointer data)
{
  Release *release = data;

  release->free_data (release->data);
  g_free (release);
}

static gboolean
release_cb (gpointer data)
{
  return G_SOURCE_REMOVE; /* the destroy notify does it, also when the context is freed first */
}

void
imago_owner_queue_release (ImagoOwnerQueue *self, gpointer data, GDestroyNotify free_data)
{
  g_autoptr (GSource) source = NULL;
  Release *release;

  if (data == NULL || free_data == NULL)
    return;
  if (enter (self))
    {
      free_data (data);
      leave (self);
      return;
    }
  release = g_new (Release, 1);
  release->data = data;
  release->free_data = free_data;
  source = g_idle_source_new ();
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_static_name (source, "ImagoOwnerQueue release");
  g_source_set_callback (source, release_cb, release, release_free);
  g_source_attach (source, self->context);
}
