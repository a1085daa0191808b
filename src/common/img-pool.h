/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The library's own bounded pool of workers.
 *
 * A worker runs one task, which is blocking code, to its end. The rules that keep it free of deadlock:
 *
 *  - a task whose gate is closed stays queued and takes no worker;
 *  - a running task never waits for one that has not started: img_pool_run_parallel () runs its own
 *    share and withdraws what no worker has taken;
 *  - a worker that is about to wait for somebody outside the pool (a storage that lives in a main
 *    context) says so: it stops counting against the limit and a spare thread may take its place;
 *    when no thread can be had, the request fails instead of waiting;
 *  - tasks of one key (one storage) hold at most half of the workers;
 *  - CPU-bound tasks are limited to the processors, tasks that may block to 64 threads.
 *
 * Threads come when there is work for them and go after a few idle seconds.
 */

#pragma once

#include "img-epoch.h"
#include "img-error.h"

G_BEGIN_DECLS

typedef struct _ImgPool ImgPool;
typedef struct _ImgTask ImgTask;

typedef enum
{
  IMG_TASK_IO,
  IMG_TASK_CPU,
} ImgTaskKind;
#define IMG_TASK_N_KINDS 2

typedef struct
{
  guint n_running;
  GQueue waiting; /* of ImgTask, in order of arrival */
} ImgPoolKey;

#define IMG_POOL_KEY_INIT { 0, G_QUEUE_INIT }

typedef void (*ImgTaskFunc) (ImgTask *task);

/* Belongs to the caller, usually embedded; may be freed or pushed again from inside run (). */
struct _ImgTask
{
  ImgTaskFunc run;
  ImgTaskKind kind;
  int priority;     /* as G_PRIORITY_*: lower runs first */
  ImgPoolKey *key;  /* nullable; outlives the task */
  ImgEpoch *gate;   /* nullable; the task waits in the queue while it is closed */

  /* private to the pool */
  ImgPool *pool;
  GList link;
  guint64 sequence;
};

ImgPool *img_pool_get_default (void);
/* Tests: a pool with other limits takes the default's place until NULL is given. */
void     img_pool_set_default (ImgPool *pool);
ImgPool *img_pool_new         (guint io_limit, guint cpu_limit) G_GNUC_WARN_UNUSED_RESULT;
/* Waits for queued and running tasks. */
void     img_pool_free        (ImgPool *pool);

/* FALSE when not one worker exists and none can be started; the task was not taken. */
gboolean img_pool_push        (ImgPool *pool, ImgTask *task, ImgError **error);
/* TRUE if @task was still queued: it will not run. */
gboolean img_pool_withdraw    (ImgPool *pool, ImgTask *task);

/* Whether the calling thread is a worker, of any pool. */
gboolean img_pool_is_here     (void);

/* Around a wait for somebody outside the pool. On other threads they do nothing. */
gboolean img_pool_begin_wait  (ImgError **error);
void     img_pool_end_wait    (void);

typedef void (*ImgParallelFunc) (gpointer data, guint worker);

/* Runs @func on up to @n_workers threads at once, this one among them, and returns when all have
 * returned. @func takes work from a list of its own until there is none. */
void     img_pool_run_parallel (ImgPool *pool, ImgTaskKind kind, guint n_workers, int priority,
                                ImgParallelFunc func, gpointer data);

guint    img_pool_get_cpu_limit (ImgPool *pool);

G_END_DECLS
