/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Each rule of img-pool.h, with a pool of one. */

#include "config.h"

#include "img-pool.h"

/* A place where threads meet: a counter to wait for. */
typedef struct
{
  ImgMutex mutex;
  ImgWaitList list;
  guint value;
} Counter;

static void
counter_add (Counter *counter)
{
  img_mutex_lock (&counter->mutex);
  counter->value++;
  img_wait_list_wake_all (&counter->list);
  img_mutex_unlock (&counter->mutex);
}

static void
counter_wait (Counter *counter, guint value)
{
  img_mutex_lock (&counter->mutex);
  while (counter->value < value)
    img_wait_list_wait (&counter->list, &counter->mutex);
  img_mutex_unlock (&counter->mutex);
}

static guint
counter_get (Counter *counter)
{
  guint value;

  img_mutex_lock (&counter->mutex);
  value = counter->value;
  img_mutex_unlock (&counter->mutex);
  return value;
}

#define COUNTER_INIT                                                                               \
  {                                                                                                \
    IMG_MUTEX_INIT, IMG_WAIT_LIST_INIT, 0                                                          \
  }

typedef struct
{
  ImgTask task;
  Counter *started;
  Counter *go; /* NULL: at once */
  Counter *done;
  gboolean announces;
  guint order;
} Job;

static gint next_order;

static void
run_job (ImgTask *task)
{
  Job *job = (Job *) task;

  job->order = (guint) g_atomic_int_add (&next_order, 1);
  if (job->started != NULL)
    counter_add (job->started);
  if (job->announces)
    g_assert_true (img_pool_begin_wait (NULL));
  if (job->go != NULL)
    counter_wait (job->go, 1);
  if (job->announces)
    img_pool_end_wait ();
  counter_add (job->done);
}

static void
push (ImgPool *pool, Job *job)
{
  job->task.run = run_job;
  g_assert_true (img_pool_push (pool, &job->task, NULL));
}

static void
test_priority (void)
{
  Counter started = COUNTER_INIT, go = COUNTER_INIT, done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (1, 1);
  Job first = { .started = &started, .go = &go, .done = &done };
  Job jobs[4] = { { .done = &done }, { .done = &done }, { .done = &done }, { .done = &done } };

  jobs[0].task.priority = 100;
  jobs[2].task.priority = -100;
  push (pool, &first);
  counter_wait (&started, 1);
  for (guint i = 0; i < G_N_ELEMENTS (jobs); i++)
    push (pool, &jobs[i]);
  counter_add (&go);
  counter_wait (&done, 5);
  g_assert_cmpuint (jobs[2].order, <, jobs[1].order);
  g_assert_cmpuint (jobs[1].order, <, jobs[3].order); /* equal priority: in order of arrival */
  g_assert_cmpuint (jobs[3].order, <, jobs[0].order);
  img_pool_free (pool);
}

/* A task behind a closed gate takes no worker: the only one runs the next task. */
static void
test_gate (void)
{
  Counter done = COUNTER_INIT, gated_done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (1, 1);
  ImgEpoch gate;
  Job gated = { .done = &gated_done };
  Job other = { .done = &done };

  img_epoch_init (&gate);
  img_gate_close (&gate);
  gated.task.gate = &gate;
  push (pool, &gated);
  push (pool, &other);
  counter_wait (&done, 1);
  g_assert_cmpuint (counter_get (&gated_done), ==, 0);
  img_gate_open (&gate);
  counter_wait (&gated_done, 1);
  img_pool_free (pool);
  img_epoch_clear (&gate);
}

/* A worker that waits for somebody outside is replaced; the one that is waited for may need the
 * pool. */
static void
test_spare (void)
{
  Counter started = COUNTER_INIT, go = COUNTER_INIT, done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (1, 1);
  Job stuck = { .started = &started, .go = &go, .done = &done, .announces = TRUE };
  Job rescue = { .started = &go, .done = &done };

  push (pool, &stuck);
  counter_wait (&started, 1);
  push (pool, &rescue);
  counter_wait (&done, 2);
  img_pool_free (pool);
}

/* Nested waits on one thread are one wait, and outside the pool they are nothing. */
static void
test_wait_outside (void)
{
  g_assert_true (img_pool_begin_wait (NULL));
  g_assert_true (img_pool_begin_wait (NULL));
  img_pool_end_wait ();
  img_pool_end_wait ();
}

/* Tasks of one storage hold half of the workers, so another storage's task gets through. */
static void
test_key (void)
{
  Counter started = COUNTER_INIT, go = COUNTER_INIT, done = COUNTER_INIT, other_done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (4, 1);
  ImgPoolKey key = IMG_POOL_KEY_INIT;
  Job slow[6];
  Job other = { .done = &other_done };

  for (guint i = 0; i < G_N_ELEMENTS (slow); i++)
    {
      slow[i] = (Job) { .started = &started, .go = &go, .done = &done };
      slow[i].task.key = &key;
      push (pool, &slow[i]);
    }
  push (pool, &other);
  counter_wait (&other_done, 1);
  counter_wait (&started, 2);
  g_assert_cmpuint (counter_get (&started), ==, 2);
  counter_add (&go);
  counter_wait (&done, G_N_ELEMENTS (slow));
  img_pool_free (pool);
  g_assert_cmpuint (key.n_running, ==, 0);
}

static void
test_kinds (void)
{
  Counter started = COUNTER_INIT, go = COUNTER_INIT, done = COUNTER_INIT, io_done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (4, 1);
  Job cpu[3];
  Job io = { .done = &io_done };

  for (guint i = 0; i < G_N_ELEMENTS (cpu); i++)
    {
      cpu[i] = (Job) { .started = &started, .go = &go, .done = &done };
      cpu[i].task.kind = IMG_TASK_CPU;
      push (pool, &cpu[i]);
    }
  push (pool, &io);
  counter_wait (&io_done, 1);
  counter_wait (&started, 1);
  g_assert_cmpuint (counter_get (&started), ==, 1);
  counter_add (&go);
  counter_wait (&done, G_N_ELEMENTS (cpu));
  img_pool_free (pool);
}

static void
test_withdraw (void)
{
  Counter started = COUNTER_INIT, go = COUNTER_INIT, done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (1, 1);
  Job running = { .started = &started, .go = &go, .done = &done };
  Job queued = { .done = &done };

  push (pool, &running);
  counter_wait (&started, 1);
  push (pool, &queued);
  g_assert_false (img_pool_withdraw (pool, &running.task));
  g_assert_true (img_pool_withdraw (pool, &queued.task));
  g_assert_false (img_pool_withdraw (pool, &queued.task));
  counter_add (&go);
  img_pool_free (pool);
  g_assert_cmpuint (counter_get (&done), ==, 1);
}

typedef struct
{
  gint next;
  gint seen[1000];
} Shared;

static void
take_all (gpointer data, guint worker)
{
  Shared *shared = data;
  gint item;

  while ((item = g_atomic_int_add (&shared->next, 1)) < (gint) G_N_ELEMENTS (shared->seen))
    g_atomic_int_inc (&shared->seen[item]);
}

typedef struct
{
  ImgTask task;
  ImgPool *pool;
  Shared shared;
  Counter *done;
} Coordinator;

static void
run_coordinator (ImgTask *task)
{
  Coordinator *coordinator = (Coordinator *) task;

  img_pool_run_parallel (coordinator->pool, IMG_TASK_CPU, 8, 0, take_all, &coordinator->shared);
  counter_add (coordinator->done);
}

/* A coordinator that is itself the only worker runs all its shares. */
static void
test_parallel (void)
{
  Counter done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (1, 1);
  g_autofree Coordinator *coordinator = g_new0 (Coordinator, 1);

  coordinator->task = (ImgTask) { .run = run_coordinator, .kind = IMG_TASK_CPU };
  coordinator->pool = pool;
  coordinator->done = &done;
  g_assert_true (img_pool_push (pool, &coordinator->task, NULL));
  counter_wait (&done, 1);
  for (guint i = 0; i < G_N_ELEMENTS (coordinator->shared.seen); i++)
    g_assert_cmpint (coordinator->shared.seen[i], ==, 1);
  coordinator->shared.next = 0;
  img_pool_run_parallel (pool, IMG_TASK_CPU, 3, 0, take_all, &coordinator->shared);
  g_assert_cmpint (coordinator->shared.seen[999], ==, 2);
  img_pool_free (pool);
}

static void
test_many (void)
{
  enum
  {
    N = 20000
  };
  Counter done = COUNTER_INIT;
  ImgPool *pool = img_pool_new (8, 2);
  g_autofree Job *jobs = g_new0 (Job, N);

  for (guint i = 0; i < N; i++)
    {
      jobs[i].done = &done;
      jobs[i].task.kind = i % 3 == 0 ? IMG_TASK_CPU : IMG_TASK_IO;
      jobs[i].task.priority = (gint) (i % 5);
      push (pool, &jobs[i]);
    }
  counter_wait (&done, N);
  img_pool_free (pool);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pool/priority", test_priority);
  g_test_add_func ("/pool/gate", test_gate);
  g_test_add_func ("/pool/spare", test_spare);
  g_test_add_func ("/pool/wait-outside", test_wait_outside);
  g_test_add_func ("/pool/key", test_key);
  g_test_add_func ("/pool/kinds", test_kinds);
  g_test_add_func ("/pool/withdraw", test_withdraw);
  g_test_add_func ("/pool/parallel", test_parallel);
  g_test_add_func ("/pool/many", test_many);
  return g_test_run ();
}
