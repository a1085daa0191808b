/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-enum-types.h"
#include "imago-error-private.h"
#include "imago-job-private.h"
#include "imago-storage-hook.h"
#include "imago-request.h"

/* Ten notifications a second at most. */
#define NOTIFY_USEC (G_USEC_PER_SEC / 10)

#define MAX_THREADS 1024

/**
 * SECTION:imago-job
 * @title: ImagoJob
 * @short_description: Long work with progress
 *
 * #ImagoJob is what all jobs have in common: running, how hard and how fast, progress and cancellation.
 */

/**
 * ImagoJob:
 *
 * Long work on images. A job is made, told what to do by its properties, and run once.
 *
 * #ImagoJob:threads and #ImagoJob:rate-limit say how much of the machine it may take. Jobs that go through the data of
 * disks heed them: #ImagoConvertJob, #ImagoCompareJob, #ImagoCommitJob, #ImagoRebaseJob, and #ImagoCompactJob when it
 * writes an image anew. The others are about the tables of an image, work in one thread, and are not slowed down.
 *
 * While it runs its properties tell how far it is. They are notified in the main context that was
 * the thread-default one where the job was made, at most ten times a second and once more at the
 * end, before the callback of imago_job_run_async() if that runs in the same context.
 * imago_job_run() notifies directly in the thread that made the job. The properties may be read
 * from any thread.
 *
 * A job that is cancelled stops within a tenth of a second after the storage call that is in
 * progress returns; its caller does not wait for a storage that may never answer, see imago_job_run().
 *
 * Since: 1.0
 */

/* Leaving. A job whose images or storages may_hang is made by a worker if it has a cancellable, and a caller that cancels
 * goes at once. The worker goes on to the next place where the work looks for that, with all that it holds, and then ends
 * as it would have with its caller there: temporary files are removed, images are let go. A new file gets no name, since
 * img_cancel_end () is asked before that; who comes later than that is not let go. What changes an image has claimed its
 * range, and looks once more when it has (img_image_begin_apart ()).
 *
 * The job is an object of the application, with others hanging on it, so the worker must not release it. What caller and
 * worker share is a JobRun: whoever of the two comes last lets the job go, the caller where it is or in its task's
 * context, the worker in the context of the job's owner, behind the last notification. */

/* What was last notified; touched in the owner's context only. */
typedef struct
{
  guint64 bytes_total;
  guint64 bytes_done;
  double progress;
  ImagoJobPhase phase;
} Shown;

typedef struct
{
  GMainContext *context;
  GThread *owner;
  guint threads;      /* these two do not change once it is started */
  guint64 rate_limit;
  int priority;
  gint started; /* atomic */
  GPtrArray *images; /* of ImgImage, owned: while it runs */
  GPtrArray *states; /* of ImagoImageState, held: while it runs, and longer than anything else */
  gboolean may_hang;
  gboolean is_apart; /* what it changes may be left behind */

  ImgProgress progress;
  gint phase;     /* atomic; ImagoJobPhase once it is over, which the core does not know */
  gint succeeded; /* atomic */

  /* How changes are noticed, settled before the work begins. */
  gboolean direct;      /* the owner waits in imago_job_run () and looks for itself */
  gint notify_pending;  /* atomic: notify_source is on its way */
  gint64 last_notified; /* atomic */

  ImgMutex mutex; /* what follows */
  GSource *notify_source;
  double highest_progress;

  Shown shown;
} ImagoJobPrivate;

enum
{
  PROP_0,
  PROP_THREADS,
  PROP_RATE_LIMIT,
  PROP_BYTES_TOTAL,
  PROP_BYTES_DONE,
  PROP_PROGRESS,
  PROP_PHASE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE (ImagoJob, imago_job, G_TYPE_OBJECT)

static ImagoJobPrivate *
get_private (ImagoJob *self)
{
  return imago_job_get_instance_private (self);
}

/* ---- what it may take ---- */

/**
 * imago_job_set_threads:
 * @self: an #ImagoJob that has not been run
 * @threads: how many threads do the work, at most 1024; 0 leaves that to the library
 *
 * Sets #ImagoJob:threads.
 *
 * Since: 1.0
 */
void
imago_job_set_threads (ImagoJob *self, guint threads)
{
  ImagoJobPrivate *priv;

  g_return_if_fail (IMAGO_IS_JOB (self));
  g_return_if_fail (threads <= MAX_THREADS);
  g_return_if_fail (!imago_job_is_started (self));

  priv = get_private (self);
  if (priv->threads == threads)
    return;
  priv->threads = threads;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_THREADS]);
}

/**
 * imago_job_get_threads:
 * @self: an #ImagoJob
 *
 * Gets #ImagoJob:threads.
 *
 * Returns: how many threads do the work, or 0 where that is left to the library
 *
 * Since: 1.0
 */
guint
imago_job_get_threads (ImagoJob *self)
{
  g_return_val_if_fail (IMAGO_IS_JOB (self), 0);

  return get_private (self)->threads;
}

/**
 * imago_job_set_rate_limit:
 * @self: an #ImagoJob that has not been run
 * @rate_limit: bytes a second, or 0 for no limit
 *
 * Sets #ImagoJob:rate-limit.
 *
 * Since: 1.0
 */
void
imago_job_set_rate_limit (ImagoJob *self, guint64 rate_limit)
{
  ImagoJobPrivate *priv;

  g_return_if_fail (IMAGO_IS_JOB (self));
  g_return_if_fail (!imago_job_is_started (self));

  priv = get_private (self);
  if (priv->rate_limit == rate_limit)
    return;
  priv->rate_limit = rate_limit;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_RATE_LIMIT]);
}

/**
 * imago_job_get_rate_limit:
 * @self: an #ImagoJob
 *
 * Gets #ImagoJob:rate-limit.
 *
 * Returns: bytes a second, or 0 where there is no limit
 *
 * Since: 1.0
 */
guint64
imago_job_get_rate_limit (ImagoJob *self)
{
  g_return_val_if_fail (IMAGO_IS_JOB (self), 0);

  return get_private (self)->rate_limit;
}

/* ---- what it tells ---- */

/**
 * imago_job_get_bytes_total:
 * @self: an #ImagoJob
 *
 * Gets how much there is to do. May be called from any thread.
 *
 * Returns: the number of bytes, or 0 while it is not known
 *
 * Since: 1.0
 */
guint64
imago_job_get_bytes_total (ImagoJob *self)
{
  g_return_val_if_fail (IMAGO_IS_JOB (self), 0);

  return __atomic_load_n (&get_private (self)->progress.bytes_total, __ATOMIC_RELAXED);
}

/**
 * imago_job_get_bytes_done:
 * @self: an #ImagoJob
 *
 * Gets how much of it has been done. May be called from any thread.
 *
 * Returns: the number of bytes; it never falls
 *
 * Since: 1.0
 */
guint64
imago_job_get_bytes_done (ImagoJob *self)
{
  g_return_val_if_fail (IMAGO_IS_JOB (self), 0);

  return __atomic_load_n (&get_private (self)->progress.bytes_done, __ATOMIC_RELAXED);
}

/**
 * imago_job_get_progress:
 * @self: an #ImagoJob
 *
 * Gets how much of the work has been done as a fraction. May be called from any thread.
 *
 * Returns: a number from 0 to 1; it never falls, and it is 1 after success
 *
 * Since: 1.0
 */
double
imago_job_get_progress (ImagoJob *self)
{
  ImagoJobPrivate *priv;
  guint64 total, done;
  double progress = 0;

  g_return_val_if_fail (IMAGO_IS_JOB (self), 0);

  priv = get_private (self);
  done = imago_job_get_bytes_done (self);
  total = imago_job_get_bytes_total (self);
  if (g_atomic_int_get (&priv->succeeded))
    progress = 1;
  else if (total > 0)
    progress = MIN ((double) done / (double) total, 1);
  img_mutex_lock (&priv->mutex);
  priv->highest_progress = MAX (priv->highest_progress, progress);
  progress = priv->highest_progress;
  img_mutex_unlock (&priv->mutex);
  return progress;
}

/**
 * imago_job_get_phase:
 * @self: an #ImagoJob
 *
 * Gets what the job is doing. May be called from any thread.
 *
 * Returns: the phase
 *
 * Since: 1.0
 */
ImagoJobPhase
imago_job_get_phase (ImagoJob *self)
{
  ImagoJobPrivate *priv;

  g_return_val_if_fail (IMAGO_IS_JOB (self), IMAGO_JOB_PHASE_NONE);

  priv = get_private (self);
  if (g_atomic_int_get (&priv->phase) == IMAGO_JOB_PHASE_DONE)
    return IMAGO_JOB_PHASE_DONE;
  switch ((ImgPhase) __atomic_load_n (&priv->progress.phase, __ATOMIC_ACQUIRE))
    {
    case IMG_PHASE_NONE:
      return IMAGO_JOB_PHASE_NONE;
    case IMG_PHASE_MAP:
      return IMAGO_JOB_PHASE_MAP;
    case IMG_PHASE_COPY:
      return IMAGO_JOB_PHASE_COPY;
    case IMG_PHASE_FLUSH:
    case IMG_PHASE_DONE: /* not before the result is on its way */
      return IMAGO_JOB_PHASE_FLUSH;
    case IMG_PHASE_CHECK:
      return IMAGO_JOB_PHASE_CHECK;
    case IMG_PHASE_REPAIR:
      return IMAGO_JOB_PHASE_REPAIR;
    }
  return IMAGO_JOB_PHASE_NONE;
}

gboolean
imago_job_is_started (ImagoJob *self)
{
  return g_atomic_int_get (&get_private (self)->started);
}

int
imago_job_get_priority (ImagoJob *self)
{
  return get_private (self)->priority;
}

/* ---- what it works on ---- */

void
imago_job_add_image (ImagoJob *self, ImgImage *image)
{
  ImagoJobPrivate *priv = get_private (self);

  if (image == NULL)
    return;
  g_ptr_array_add (priv->images, img_image_ref (image));
  priv->may_hang |= img_image_may_hang (image);
}

void
imago_job_add_storage (ImagoJob *self, ImgStorage *storage)
{
  get_private (self)->may_hang |= storage != NULL && storage->may_hang;
}

ImagoImageState *
imago_job_hold_image (ImagoJob *self, ImagoImage *image, ImgError **error)
{
  if (image == NULL)
    img_error_set (error, IMG_CODE_FAILED, _("The job has no image"));
  else if (!imago_image_state_hold (image->state))
    imago_image_set_closed_error (error);
  else
    {
      g_ptr_array_add (get_private (self)->states, image->state);
      imago_job_add_image (self, image->state->core);
      return image->state;
    }
  return NULL;
}

/* Before the caller can go. */
static void
begin_apart (ImagoJobPrivate *priv)
{
  priv->is_apart = TRUE;
  for (guint i = 0; i < priv->images->len; i++)
    img_image_begin_apart (g_ptr_array_index (priv->images, i));
}

static void
drop_images (ImagoJobPrivate *priv)
{
  for (guint i = 0; priv->is_apart && i < priv->images->len; i++)
    img_image_end_apart (g_ptr_array_index (priv->images, i));
  g_ptr_array_set_size (priv->images, 0);
}

/* ---- notifications ---- */

/* In the owner's context. */
static void
notify_changes (ImagoJob *self)
{
  ImagoJobPrivate *priv = get_private (self);
  Shown now = {
    imago_job_get_bytes_total (self),
    imago_job_get_bytes_done (self),
    imago_job_get_progress (self),
    imago_job_get_phase (self),
  };
  Shown old = priv->shown;

  priv->shown = now;
  __atomic_store_n (&priv->last_notified, g_get_monotonic_time (), __ATOMIC_RELAXED);
  g_object_freeze_notify (G_OBJECT (self));
  if (now.phase != old.phase)
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_PHASE]);
  if (now.bytes_total != old.bytes_total)
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_BYTES_TOTAL]);
  if (now.bytes_done != old.bytes_done)
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_BYTES_DONE]);
  if (now.progress > old.progress)
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_PROGRESS]);
  g_object_thaw_notify (G_OBJECT (self));
}

static GSource *
steal_notify_source (ImagoJobPrivate *priv)
{
  GSource *source;

  img_mutex_lock (&priv->mutex);
  source = g_steal_pointer (&priv->notify_source);
  img_mutex_unlock (&priv->mutex);
  return source;
}

static gboolean
notify_cb (gpointer data)
{
  ImagoJob *self = data;
  ImagoJobPrivate *priv = get_private (self);
  GSource *source = steal_notify_source (priv);

  /* Before the values are read: what changes later asks for another source. */
  g_atomic_int_set (&priv->notify_pending, FALSE);
  notify_changes (self);
  if (source != NULL)
    g_source_unref (source);
  return G_SOURCE_REMOVE;
}

/* Takes @self. With notify_pending set by the caller. The source is attached with the mutex held, which its callback
 * takes before it lets the job go: so a worker needs no reference of the context, which might be the last one and free
 * what the application has attached there. */
static void
schedule_notify (ImagoJob *self, gint64 delay_usec)
{
  ImagoJobPrivate *priv = get_private (self);
  GSource *source = g_timeout_source_new ((guint) ((MAX (delay_usec, 0) + 999) / 1000));

  g_source_set_static_name (source, "[imago] job progress");
  g_source_set_callback (source, notify_cb, self, g_object_unref);
  img_mutex_lock (&priv->mutex);
  priv->notify_source = g_source_ref (source);
  g_source_attach (source, priv->context);
  img_mutex_unlock (&priv->mutex);
  g_source_unref (source);
}

/* Called by whichever thread made progress, perhaps very often. */
static void
progress_changed_cb (gpointer data)
{
  ImagoJob *self = data;
  ImagoJobPrivate *priv = get_private (self);
  gint64 since;

  if (priv->direct ? g_thread_self () != priv->owner : g_atomic_int_get (&priv->notify_pending))
    return;
  since = g_get_monotonic_time () - __atomic_load_n (&priv->last_notified, __ATOMIC_RELAXED);
  if (!priv->direct)
    {
      if (g_atomic_int_compare_and_exchange (&priv->notify_pending, FALSE, TRUE))
        schedule_notify (g_object_ref (self), NOTIFY_USEC - since);
    }
  else if (since >= NOTIFY_USEC)
    notify_changes (self);
}

static void
cancel_notify (ImagoJobPrivate *priv)
{
  GSource *source;

  g_atomic_int_set (&priv->notify_pending, TRUE); /* nothing changes any more */
  source = steal_notify_source (priv);
  if (source != NULL)
    {
      g_source_destroy (source);
      g_source_unref (source);
    }
}

/* The last notification: here, in the owner's context, or there if this is another one. */
static void
notify_end (ImagoJob *self, gboolean here)
{
  cancel_notify (get_private (self));
  if (here)
    notify_changes (self);
  else
    schedule_notify (g_object_ref (self), 0);
}

/* The same in the owner's context in any case; takes @self, which is released there. */
static void
notify_end_and_release (ImagoJob *self)
{
  cancel_notify (get_private (self));
  schedule_notify (self, 0);
}

/* ---- running ---- */

/* References: one for the caller or its task, and one for whoever does the work. */
typedef struct
{
  ImgRefCount ref_count;
  ImagoJob *job;    /* owned; see the top of this file */
  gboolean is_told; /* the caller has the answer, and the last notification */
} JobRun;

static JobRun *
job_run_new (ImagoJob *job)
{
  JobRun *run = g_new0 (JobRun, 1);

  img_ref_init (&run->ref_count);
  img_ref_inc (&run->ref_count);
  run->job = g_object_ref (job);
  return run;
}

/* In the caller's thread, or where its task ends. */
static void
job_run_leave (gpointer data)
{
  JobRun *run = data;

  if (!img_ref_dec (&run->ref_count))
    return;
  if (run->is_told)
    g_object_unref (run->job);
  else
    notify_end_and_release (run->job);
  g_free (run);
}

static gpointer
run_job (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoJob *self = ((JobRun *) data)->job;
  ImagoJobPrivate *priv = get_private (self);
  ImagoJobClass *klass = G_TYPE_INSTANCE_GET_CLASS (self, IMAGO_TYPE_JOB, ImagoJobClass);

  if (!klass->run_core (self, &priv->progress, cancel, error))
    return NULL;
  g_atomic_int_set (&priv->succeeded, TRUE);
  return IMAGO_REQUEST_DONE;
}

/* By whoever did the work. */
static void
finish_job (gpointer data)
{
  JobRun *run = data;
  ImagoJob *self = run->job;
  ImagoJobClass *klass = G_TYPE_INSTANCE_GET_CLASS (self, IMAGO_TYPE_JOB, ImagoJobClass);

  drop_images (get_private (self));
  if (klass->finish != NULL)
    klass->finish (self);
  g_ptr_array_set_size (get_private (self)->states, 0);
  g_atomic_int_set (&get_private (self)->phase, IMAGO_JOB_PHASE_DONE);
  if (!img_ref_dec (&run->ref_count))
    return;
  notify_end_and_release (self);
  g_free (run);
}

/* Of the owner that waits. */
static void
look_at_job (gpointer data)
{
  ImagoJob *self = ((JobRun *) data)->job;

  if (get_private (self)->direct)
    notify_changes (self);
}

static ImagoRequestWork
make_work (ImagoJob *self, JobRun *run, GCancellable *cancellable)
{
  ImagoJobPrivate *priv = get_private (self);
  gboolean may_be_left = priv->may_hang && cancellable != NULL;

  if (may_be_left)
    begin_apart (priv);
  return (ImagoRequestWork) {
    .run = run_job,
    .data = run,
    .free_data = finish_job,
    .look = look_at_job,
    .flags = may_be_left ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE,
  };
}

static gboolean
is_owner (ImagoJobPrivate *priv)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();

  return g_thread_self () == priv->owner && context == priv->context;
}

/* Only the first caller may go on. */
static gboolean
begin_job (ImagoJob *self, int priority, ImgError **error)
{
  ImagoJobPrivate *priv = get_private (self);
  ImagoJobClass *klass = G_TYPE_INSTANCE_GET_CLASS (self, IMAGO_TYPE_JOB, ImagoJobClass);

  if (!g_atomic_int_compare_and_exchange (&priv->started, FALSE, TRUE))
    {
      img_error_set (error, IMG_CODE_FAILED, _("The job has been run already"));
      return FALSE;
    }
  priv->priority = priority;
  priv->progress.changed = progress_changed_cb;
  priv->progress.data = self;
  if (klass->run_core == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("The job does not say what it does"));
  else if (klass->prepare == NULL || klass->prepare (self, error))
    return TRUE;
  drop_images (priv);
  g_ptr_array_set_size (priv->states, 0);
  g_atomic_int_set (&priv->phase, IMAGO_JOB_PHASE_DONE);
  notify_end (self, is_owner (priv));
  return FALSE;
}

/**
 * imago_job_run:
 * @self: an #ImagoJob
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Does the work and returns when it is done. A job runs once: a second call fails with
 * %IMAGO_ERROR_FAILED. Inside the hook of a storage it fails with %IMAGO_ERROR_WOULD_DEADLOCK.
 *
 * Cancelling does not wait for an #ImagoStorage of the application or a stream that has not answered. The job is left
 * behind then: it ends when they have answered, or have dropped the request, and uses what it was given until
 * #ImagoJob:phase is %IMAGO_JOB_PHASE_DONE. A file that was to be made does not appear. What was to be changed may still
 * change in the step that is in progress, as after a job that was cancelled elsewhere; other changes of that place come
 * behind it.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_job_run (ImagoJob *self, GCancellable *cancellable, GError **error)
{
  ImgError *core_error = NULL;
  ImagoJobPrivate *priv;
  ImagoRequestWork work;
  gpointer result;
  JobRun *run;

  g_return_val_if_fail (IMAGO_IS_JOB (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  priv = get_private (self);
  if (!imago_hook_may_wait_for_all (&core_error) ||
      !begin_job (self, G_PRIORITY_DEFAULT, &core_error))
    {
      imago_error_take (error, core_error);
      return FALSE;
    }
  priv->direct = is_owner (priv);
  run = job_run_new (self);
  work = make_work (self, run, cancellable);
  result = imago_request_run_work (&work, cancellable, error);
  if (g_atomic_int_get (&priv->phase) == IMAGO_JOB_PHASE_DONE)
    {
      run->is_told = TRUE;
      notify_end (self, priv->direct);
    }
  job_run_leave (run);
  return result != NULL;
}

static void
job_arrived (GTask *task)
{
  ImagoJob *self = g_task_get_source_object (task);

  ((JobRun *) g_task_get_task_data (task))->is_told = TRUE;
  notify_end (self, g_task_get_context (task) == get_private (self)->context);
}

/**
 * imago_job_run_async:
 * @self: an #ImagoJob
 * @io_priority: the priority of the work, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the work is done
 * @user_data: data for @callback
 *
 * Starts the work on the library's worker threads; see imago_job_run(). The job is kept alive until
 * it is done.
 *
 * Since: 1.0
 */
void
imago_job_run_async (ImagoJob *self,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImagoRequestWork work;
  GTask *task;
  JobRun *run;

  g_return_if_fail (IMAGO_IS_JOB (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_job_run_async);
  g_task_set_priority (task, io_priority);
  /* Once the result is there, cancelling does not hide it. */
  g_task_set_check_cancellable (task, FALSE);
  if (begin_job (self, io_priority, &core_error))
    {
      run = job_run_new (self);
      g_task_set_task_data (task, run, job_run_leave);
      work = make_work (self, run, cancellable);
      work.arrived = job_arrived;
      imago_request_start (task, &work);
      return;
    }
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
}

/**
 * imago_job_run_finish:
 * @self: an #ImagoJob
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_job_run_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_job_run_finish (ImagoJob *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_JOB (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- the object ---- */

static void
imago_job_finalize (GObject *object)
{
  ImagoJobPrivate *priv = get_private (IMAGO_JOB (object));

  g_ptr_array_unref (priv->images);
  g_ptr_array_unref (priv->states);
  g_main_context_unref (priv->context);
  g_thread_unref (priv->owner);
  img_mutex_clear (&priv->mutex);
  G_OBJECT_CLASS (imago_job_parent_class)->finalize (object);
}

static void
imago_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoJob *self = IMAGO_JOB (object);

  switch (id)
    {
    case PROP_THREADS:
      g_value_set_uint (value, imago_job_get_threads (self));
      break;
    case PROP_RATE_LIMIT:
      g_value_set_uint64 (value, imago_job_get_rate_limit (self));
      break;
    case PROP_BYTES_TOTAL:
      g_value_set_uint64 (value, imago_job_get_bytes_total (self));
      break;
    case PROP_BYTES_DONE:
      g_value_set_uint64 (value, imago_job_get_bytes_done (self));
      break;
    case PROP_PROGRESS:
      g_value_set_double (value, imago_job_get_progress (self));
      break;
    case PROP_PHASE:
      g_value_set_enum (value, imago_job_get_phase (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoJob *self = IMAGO_JOB (object);

  switch (id)
    {
    case PROP_THREADS:
      imago_job_set_threads (self, g_value_get_uint (value));
      break;
    case PROP_RATE_LIMIT:
      imago_job_set_rate_limit (self, g_value_get_uint64 (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

/* What it may take. */
static void
install_limits (void)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoJob:threads:
   *
   * How many threads do the work at most; 0 leaves that to the library, which then takes one for each processor. What comes
   * out does not depend on it. Heeded by #ImagoConvertJob, #ImagoCompareJob, #ImagoCommitJob,
   * #ImagoRebaseJob, and #ImagoCompactJob with %IMAGO_COMPACT_METHOD_REWRITE.
   *
   * Since: 1.0
   */
  properties[PROP_THREADS] =
    g_param_spec_uint ("threads", "Threads", "How many threads work; 0 lets the library choose", 0, MAX_THREADS, 0, flags);
  /**
   * ImagoJob:rate-limit:
   *
   * How many bytes of data are read or copied a second, in the mean; 0: as many as possible. A comparison counts
   * the bytes of both disks. Heeded by #ImagoConvertJob, #ImagoCompareJob, #ImagoCommitJob,
   * #ImagoRebaseJob, and #ImagoCompactJob with %IMAGO_COMPACT_METHOD_REWRITE.
   *
   * Since: 1.0
   */
  properties[PROP_RATE_LIMIT] =
    g_param_spec_uint64 ("rate-limit", "Rate limit", "Bytes a second; 0: no limit", 0, G_MAXUINT64, 0, flags);
}

/* How far it is. */
static void
install_progress (void)
{
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoJob:bytes-total:
   *
   * How much there is to do in bytes; 0 while it is not known.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES_TOTAL] = g_param_spec_uint64 (
    "bytes-total", "Bytes total", "How much there is to do", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoJob:bytes-done:
   *
   * How much of it has been done in bytes. It never falls.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES_DONE] =
    g_param_spec_uint64 ("bytes-done", "Bytes done", "How much is done", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoJob:progress:
   *
   * How much of the work has been done, from 0 to 1. It never falls, and it is 1 after success.
   *
   * Since: 1.0
   */
  properties[PROP_PROGRESS] = g_param_spec_double (
    "progress", "Progress", "The share that is done, from 0 to 1", 0, 1, 0, flags);
  /**
   * ImagoJob:phase:
   *
   * What the job is doing.
   *
   * Since: 1.0
   */
  properties[PROP_PHASE] = g_param_spec_enum ("phase", "Phase", "What the job is doing",
                                              IMAGO_TYPE_JOB_PHASE, IMAGO_JOB_PHASE_NONE, flags);
}

static void
imago_job_class_init (ImagoJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->finalize = imago_job_finalize;
  object_class->get_property = imago_job_get_property;
  object_class->set_property = imago_job_set_property;
  install_limits ();
  install_progress ();
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_job_init (ImagoJob *self)
{
  ImagoJobPrivate *priv = get_private (self);

  priv->context = g_main_context_ref_thread_default ();
  priv->owner = g_thread_ref (g_thread_self ());
  priv->images = g_ptr_array_new_with_free_func ((GDestroyNotify) img_image_unref);
  priv->states = g_ptr_array_new_with_free_func ((GDestroyNotify) imago_image_state_release);
  img_mutex_init (&priv->mutex);
}
