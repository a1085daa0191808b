/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-pool.h"

#define DEFAULT_IO_LIMIT 64
#define IDLE_USEC (5 * G_USEC_PER_SEC)

typedef struct _Worker Worker;

struct _ImgPool
{
  guint limit[IMG_TASK_N_KINDS];
  ImgMutex mutex;
  GQueue queue[IMG_TASK_N_KINDS]; /* of ImgTask, by priority then sequence */
  guint n_running[IMG_TASK_N_KINDS];
  guint n_waiting; /* workers between begin_wait and end_wait */
  guint n_held;    /* tasks waiting at a closed gate: in no queue of ours */
  guint n_threads;
  guint64 next_sequence;
  gboolean closing;
  Worker *idle;    /* the last one first: its memory is still in the caches */
  guint n_seeking; /* workers that have been called and have not looked at the queues since */
  ImgParker *called; /* nullable: of one that has been called and sleeps until the mutex is released */
  ImgWaitList finished;
};

/* What the worker on this thread is doing. */
struct _Worker
{
  ImgPool *pool;
  ImgTaskKind kind;
  guint wait_depth;
  ImgParker *parker; /* borrowed: of the thread */
  gboolean is_seeking;
  Worker *next_idle;
};

static __thread Worker *current_worker;

static ImgPool *default_pool;

ImgPool *
img_pool_get_default (void)
{
  static ImgPool *shared;
  ImgPool *override = g_atomic_pointer_get (&default_pool);

  if (override != NULL)
    return override;
  if (g_once_init_enter (&shared))
    g_once_init_leave (&shared, img_pool_new (DEFAULT_IO_LIMIT, g_get_num_processors ()));
  return shared;
}

void
img_pool_set_default (ImgPool *pool)
{
  g_atomic_pointer_set (&default_pool, pool);
}

ImgPool *
img_pool_new (guint io_limit, guint cpu_limit)
{
  ImgPool *pool = g_new0 (ImgPool, 1);

  pool->limit[IMG_TASK_IO] = io_limit;
  pool->limit[IMG_TASK_CPU] = cpu_limit;
  img_mutex_init_brief (&pool->mutex);
  return pool;
}

guint
img_pool_get_cpu_limit (ImgPool *pool)
{
  return pool->limit[IMG_TASK_CPU];
}

/* A worker that is woken wants the mutex first of all. */
static void
unlock (ImgPool *pool)
{
  ImgParker *called = g_steal_pointer (&pool->called);

  img_mutex_unlock (&pool->mutex);
  if (called != NULL)
    img_unpark (called);
}

/* ---- queues; all with the mutex held ---- */

static gint
compare_tasks (gconstpointer a, gconstpointer b)
{
  const ImgTask *left = a;
  const ImgTask *right = b;

  if (left->priority != right->priority)
    return left->priority < right->priority ? -1 : 1;
  return left->sequence < right->sequence ? -1 : 1;
}

static void
enqueue (ImgPool *pool, ImgTask *task)
{
  GQueue *queue = &pool->queue[task->kind];
  GList *before = queue->tail;

  /* Nearly always the tail at once: tasks of one priority arrive in order. */
  while (before != NULL && compare_tasks (before->data, task) > 0)
    before = before->prev;
  task->link = (GList) { .data = task };
  if (before == NULL)
    g_queue_push_head_link (queue, &task->link);
  else if (before == queue->tail)
    g_queue_push_tail_link (queue, &task->link);
  else
    {
      task->link.prev = before;
      task->link.next = before->next;
      before->next->prev = &task->link;
      before->next = &task->link;
      queue->length++;
    }
}

static guint
key_limit (ImgPool *pool, ImgTaskKind kind)
{
  return MAX (pool->limit[kind] / 2, 1);
}

static gpointer worker_thread (gpointer data);

/* With the mutex held: takes a worker off the idle list. */
static void
call_worker (ImgPool *pool)
{
  Worker *worker = pool->idle;

  pool->idle = worker->next_idle;
  pool->n_seeking++;
  worker->is_seeking = TRUE;
  if (pool->called != NULL)
    img_unpark (pool->called);
  pool->called = worker->parker;
}

/* With the mutex held: calls one more worker. */
static gboolean
ensure_worker (ImgPool *pool)
{
  guint limit = pool->limit[IMG_TASK_IO] + pool->limit[IMG_TASK_CPU] + pool->n_waiting;
  GThread *thread;

  if (pool->idle != NULL)
    {
      call_worker (pool);
      return TRUE;
    }
  if (pool->n_threads >= MIN (limit, DEFAULT_IO_LIMIT + pool->limit[IMG_TASK_CPU]))
    return pool->n_threads > pool->n_waiting;
  thread = g_thread_try_new ("imago-worker", worker_thread, pool, NULL);
  if (thread == NULL)
    return pool->n_threads > pool->n_waiting;
  g_thread_unref (thread);
  pool->n_threads++;
  pool->n_seeking++;
  return TRUE;
}

/* With the mutex held: makes sure that somebody will look at the queues. One who is on the way is enough: if it
 * leaves something there, it calls the next. Waking as many as there are tasks would have them stumble over each
 * other where tasks are short. */
static gboolean
invite_worker (ImgPool *pool)
{
  return pool->n_seeking > 0 || ensure_worker (pool);
}

static void
gate_opened_cb (gpointer data)
{
  ImgTask *task = data;
  ImgPool *pool = task->pool;

  img_mutex_lock (&pool->mutex);
  pool->n_held--;
  enqueue (pool, task);
  invite_worker (pool);
  img_wait_list_wake_all (&pool->finished);
  unlock (pool);
}

/* TRUE if @task may start now; otherwise it has been put where it waits. */
static gboolean
claim (ImgPool *pool, ImgTask *task)
{
  if (task->key != NULL && task->key->n_running >= key_limit (pool, task->kind))
    {
      g_queue_push_tail_link (&task->key->waiting, &task->link);
      return FALSE;
    }
  if (task->gate != NULL && img_gate_on_open (task->gate, gate_opened_cb, task))
    {
      pool->n_held++;
      return FALSE;
    }
  if (task->key != NULL)
    task->key->n_running++;
  pool->n_running[task->kind]++;
  return TRUE;
}

static gboolean
has_room (ImgPool *pool, ImgTaskKind kind)
{
  return pool->n_running[kind] < pool->limit[kind];
}

/* The next task by priority among the kinds that have room, claimed; NULL if there is none. */
static ImgTask *
take_task (ImgPool *pool)
{
  for (;;)
    {
      ImgTask *best = NULL;

      for (guint kind = 0; kind < IMG_TASK_N_KINDS; kind++)
        {
          ImgTask *head = g_queue_peek_head (&pool->queue[kind]);

          if (head != NULL && has_room (pool, kind) &&
              (best == NULL || compare_tasks (head, best) < 0))
            best = head;
        }
      if (best == NULL)
        return NULL;
      g_queue_unlink (&pool->queue[best->kind], &best->link);
      if (claim (pool, best))
        return best;
    }
}

static void
release (ImgPool *pool, ImgTaskKind kind, ImgPoolKey *key)
{
  pool->n_running[kind]--;
  if (key != NULL)
    {
      GList *link = g_queue_pop_head_link (&key->waiting);

      key->n_running--;
      if (link != NULL)
        {
          enqueue (pool, link->data);
          invite_worker (pool);
        }
    }
}

/* ---- threads ---- */

/* With the mutex held. */
static void
leave_idle_list (ImgPool *pool, Worker *worker)
{
  Worker **link = &pool->idle;

  while (*link != worker)
    link = &(*link)->next_idle;
  *link = worker->next_idle;
}

/* FALSE when nobody has called it in time. */
static gboolean
wait_for_call (ImgPool *pool, Worker *worker)
{
  gint64 deadline = g_get_monotonic_time () + IDLE_USEC;
  gboolean in_time = TRUE;

  worker->next_idle = pool->idle;
  pool->idle = worker;
  while (!worker->is_seeking && in_time && !pool->closing)
    {
      unlock (pool);
      in_time = img_park_until (deadline);
      img_mutex_lock (&pool->mutex);
    }
  if (!worker->is_seeking)
    leave_idle_list (pool, worker);
  return worker->is_seeking;
}

static gboolean
has_work (ImgPool *pool)
{
  for (guint kind = 0; kind < IMG_TASK_N_KINDS; kind++)
    if (pool->queue[kind].length > 0 && has_room (pool, kind))
      return TRUE;
  return FALSE;
}

static ImgTask *
look_for_task (ImgPool *pool, Worker *worker)
{
  ImgTask *task = take_task (pool);

  if (!worker->is_seeking)
    return task;
  worker->is_seeking = FALSE;
  pool->n_seeking--;
  if (task != NULL && has_work (pool))
    invite_worker (pool);
  return task;
}

static gpointer
worker_thread (gpointer data)
{
  ImgPool *pool = data;
  Worker worker = { pool, IMG_TASK_IO, 0, img_parker_current (), TRUE, NULL };
  gboolean timed_out = FALSE;

  current_worker = &worker;
  img_mutex_lock (&pool->mutex);
  for (;;)
    {
      ImgTask *task = look_for_task (pool, &worker);

      if (task != NULL)
        {
          ImgPoolKey *key = task->key;

          timed_out = FALSE;
          worker.kind = task->kind;
          unlock (pool);
          task->run (task); /* may free the task */
          g_assert (worker.wait_depth == 0);
          img_mutex_lock (&pool->mutex);
          release (pool, worker.kind, key);
        }
      else if (timed_out || pool->closing)
        break; /* looked at the queues once more after the time was up: nothing was missed */
      else
        timed_out = !wait_for_call (pool, &worker);
    }
  pool->n_threads--;
  img_wait_list_wake_all (&pool->finished);
  unlock (pool);
  current_worker = NULL;
  return NULL;
}

gboolean
img_pool_push (ImgPool *pool, ImgTask *task, ImgError **error)
{
  gboolean taken;

  img_mutex_lock (&pool->mutex);
  g_assert (!pool->closing);
  task->pool = pool;
  task->sequence = pool->next_sequence++;
  enqueue (pool, task);
  taken = invite_worker (pool);
  if (!taken)
    g_queue_unlink (&pool->queue[task->kind], &task->link);
  unlock (pool);
  if (!taken)
    img_error_set (error, IMG_CODE_FAILED, _("Cannot start a worker thread"));
  return taken;
}

gboolean
img_pool_withdraw (ImgPool *pool, ImgTask *task)
{
  gboolean was_queued;

  img_mutex_lock (&pool->mutex);
  was_queued = g_queue_index (&pool->queue[task->kind], task) >= 0;
  if (was_queued)
    g_queue_unlink (&pool->queue[task->kind], &task->link);
  unlock (pool);
  return was_queued;
}

void
img_pool_free (ImgPool *pool)
{
  img_mutex_lock (&pool->mutex);
  pool->closing = TRUE;
  for (Worker *worker = pool->idle; worker != NULL; worker = worker->next_idle)
    img_unpark (worker->parker);
  while (pool->n_threads > 0 || pool->n_held > 0)
    img_wait_list_wait (&pool->finished, &pool->mutex);
  unlock (pool);
  img_mutex_clear (&pool->mutex);
  g_free (pool);
}

gboolean
img_pool_is_here (void)
{
  return current_worker != NULL;
}

gboolean
img_pool_begin_wait (ImgError **error)
{
  Worker *worker = current_worker;
  gboolean has_spare = TRUE;
  ImgPool *pool;

  if (worker == NULL || worker->wait_depth++ > 0)
    return TRUE;
  pool = worker->pool;
  img_mutex_lock (&pool->mutex);
  pool->n_waiting++;
  pool->n_running[worker->kind]--;
  has_spare = ensure_worker (pool);
  if (!has_spare)
    {
      pool->n_waiting--;
      pool->n_running[worker->kind]++;
      worker->wait_depth--;
    }
  unlock (pool);
  if (!has_spare)
    img_error_set (error, IMG_CODE_FAILED, _("All worker threads are waiting for slow storages"));
  return has_spare;
}

void
img_pool_end_wait (void)
{
  Worker *worker = current_worker;

  if (worker == NULL || --worker->wait_depth > 0)
    return;
  img_mutex_lock (&worker->pool->mutex);
  worker->pool->n_waiting--;
  worker->pool->n_running[worker->kind]++;
  unlock (worker->pool);
}

/* ---- parallel sections ---- */

typedef struct
{
  ImgParallelFunc func;
  gpointer data;
  ImgMutex mutex;
  ImgWaitList done;
  guint n_left;
} Section;

typedef struct
{
  ImgTask task;
  Section *section;
  guint worker;
} Share;

static void
share_done (Section *section)
{
  img_mutex_lock (&section->mutex);
  section->n_left--;
  img_wait_list_wake_all (&section->done);
  img_mutex_unlock (&section->mutex);
}

static void
run_share (ImgTask *task)
{
  Share *share = (Share *) task;

  share->section->func (share->section->data, share->worker);
  share_done (share->section);
}

void
img_pool_run_parallel (ImgPool *pool,
                       ImgTaskKind kind,
                       guint n_workers,
                       int priority,
                       ImgParallelFunc func,
                       gpointer data)
{
  Section section = { .func = func, .data = data };
  g_autofree Share *shares = g_new0 (Share, MAX (n_workers, 1));

  img_mutex_init (&section.mutex);
  section.n_left = n_workers > 0 ? n_workers - 1 : 0;
  for (guint i = 1; i < n_workers; i++)
    {
      shares[i] = (Share) { { .run = run_share, .kind = kind, .priority = priority }, &section, i };
      if (!img_pool_push (pool, &shares[i].task, NULL))
        share_done (&section);
    }
  func (data, 0);
  for (guint i = 1; i < n_workers; i++)
    if (shares[i].task.pool != NULL && img_pool_withdraw (pool, &shares[i].task))
      share_done (&section);
  img_mutex_lock (&section.mutex);
  while (section.n_left > 0)
    img_wait_list_wait (&section.done, &section.mutex);
  img_mutex_unlock (&section.mutex);
  img_mutex_clear (&section.mutex);
}
