/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-common.h"
#include "img-sweep.h"

typedef struct
{
  const ImgSweep *sweep;
  ImgMutex mutex;
  guint64 position; /* where the next piece begins; these with the mutex */
  gboolean failed;
  ImgError *error; /* the first one */
} Run;

static gboolean
take_piece (Run *run, guint64 *start, guint64 *end)
{
  const ImgSweep *sweep = run->sweep;
  gboolean is_taken;

  img_mutex_lock (&run->mutex);
  *start = run->position;
  is_taken = !run->failed && *start < sweep->size;
  if (is_taken)
    {
      *end = MIN (*start - *start % sweep->step + sweep->step, sweep->size);
      run->position = *end;
    }
  img_mutex_unlock (&run->mutex);
  return is_taken;
}

/* A piece need not begin where another has ended: what is skipped ends anywhere, but nobody shares a step. */
static void
skip_to (Run *run, guint64 position)
{
  position -= position % run->sweep->step;
  img_mutex_lock (&run->mutex);
  run->position = MAX (run->position, position);
  img_mutex_unlock (&run->mutex);
}

static void
fail (Run *run, ImgError *error)
{
  img_mutex_lock (&run->mutex);
  if (!run->failed)
    run->error = g_steal_pointer (&error);
  run->failed = TRUE;
  img_mutex_unlock (&run->mutex);
  img_error_free (error);
}

static void
sweep_worker (gpointer data, guint worker)
{
  Run *run = data;
  const ImgSweep *sweep = run->sweep;
  ImgError *error = NULL;
  g_autoptr (ImgBuffer) buffer = img_try_alloc (sweep->buffer_size, &error);
  guint64 start, end, next;

  while (buffer != NULL && take_piece (run, &start, &end) &&
         sweep->run (sweep->data, start, end, buffer, &next, &error))
    skip_to (run, next);
  if (error != NULL)
    fail (run, error);
}

gboolean
img_sweep_run (const ImgSweep *sweep, ImgError **error)
{
  Run run = { .sweep = sweep };
  ImgPool *pool = img_pool_get_default ();
  guint limit = img_pool_get_cpu_limit (pool);

  img_mutex_init (&run.mutex);
  img_pool_run_parallel (pool, IMG_TASK_CPU, sweep->n_threads > 0 ? MIN (sweep->n_threads, limit) : limit,
                         sweep->priority, sweep_worker, &run);
  img_mutex_clear (&run.mutex);
  if (run.error != NULL)
    img_error_propagate (error, run.error);
  return !run.failed;
}
