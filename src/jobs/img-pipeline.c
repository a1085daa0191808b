/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-pipeline.h"

#include "img-pool.h"

#define MEMORY_BUDGET (32 * IMG_MIB) /* of the chunks */
#define WORKERS_BUDGET (24 * IMG_MIB)

typedef struct
{
  const ImgPipelineOptions *options;
  ImgProgress *progress;
  ImgCancel *cancel;

  ImgMutex mutex; /* of all that follows */
  ImgWaitList changed;
  GPtrArray *idle;   /* of ImgChunk, owned */
  ImgChunk **filled; /* by sequence modulo n_chunks: waiting for its turn to be written */
  guint n_chunks;
  guint64 n_claimed;
  guint64 n_written;
  gboolean is_claiming; /* a worker is inside claim () */
  gboolean is_writing;  /* a worker is inside write (), if the order matters */
  gboolean at_end;
  gboolean failed;
  ImgError *error; /* the first */
} Pipeline;

/* ---- chunks ---- */

ImgChunk *
img_chunk_new (gsize size, gsize encode_unit, ImgError **error)
{
  g_autoptr (ImgChunk) chunk = g_new0 (ImgChunk, 1);

  chunk->data = img_try_alloc (size, error);
  if (chunk->data == NULL)
    return NULL;
  if (encode_unit > 0)
    {
      chunk->encoded = img_try_alloc (size, error);
      if (chunk->encoded == NULL)
        return NULL;
      chunk->encoded_lengths = img_try_alloc0 (size / encode_unit + 1, sizeof (guint32), error);
      if (chunk->encoded_lengths == NULL)
        return NULL;
    }
  return g_steal_pointer (&chunk);
}

void
img_chunk_free (ImgChunk *chunk)
{
  if (chunk == NULL)
    return;
  img_free (chunk->data);
  img_free (chunk->encoded);
  img_free (chunk->encoded_lengths);
  g_free (chunk);
}

/* ---- steps; called and left with the mutex held, which they release while they work ---- */

static void
take_error (Pipeline *pipeline, ImgError *error)
{
  pipeline->failed = TRUE;
  if (pipeline->error == NULL)
    pipeline->error = g_steal_pointer (&error);
  img_error_free (error);
}

static gboolean
write_chunk (Pipeline *pipeline, ImgChunk *chunk, ImgError **error)
{
  const ImgPipelineOptions *options = pipeline->options;

  if (!options->klass->write (options->target, chunk, pipeline->cancel, error))
    return FALSE;
  if (chunk->n_copied > 0)
    img_progress_add (pipeline->progress, chunk->n_copied);
  return TRUE;
}

static gboolean
fill_chunk (Pipeline *pipeline, ImgChunk *chunk, ImgError **error)
{
  const ImgPipelineOptions *options = pipeline->options;

  return options->klass->fill (options->source, chunk, pipeline->cancel, error) &&
         (options->klass->encode == NULL ||
          options->klass->encode (options->target, chunk, error)) &&
         (options->in_order || write_chunk (pipeline, chunk, error));
}

/* NULL: the end, or a failure. */
static ImgChunk *
claim_chunk (Pipeline *pipeline)
{
  const ImgPipelineOptions *options = pipeline->options;
  ImgChunk *chunk = g_ptr_array_steal_index_fast (pipeline->idle, pipeline->idle->len - 1);
  ImgError *error = NULL;
  gboolean claimed;

  pipeline->is_claiming = TRUE;
  img_mutex_unlock (&pipeline->mutex);
  chunk->n_pieces = 0;
  chunk->n_copied = 0;
  claimed = !img_cancel_check (pipeline->cancel, &error) &&
            options->klass->claim (options->source, chunk, pipeline->cancel, &error);
  img_mutex_lock (&pipeline->mutex);
  pipeline->is_claiming = FALSE;
  img_wait_list_wake_all (&pipeline->changed);
  if (claimed)
    {
      chunk->sequence = pipeline->n_claimed++;
      return chunk;
    }
  pipeline->at_end = TRUE;
  g_ptr_array_add (pipeline->idle, chunk);
  if (error != NULL)
    take_error (pipeline, error);
  return NULL;
}

static void
claim_and_fill (Pipeline *pipeline)
{
  ImgChunk *chunk = claim_chunk (pipeline);
  ImgError *error = NULL;
  gboolean success;

  if (chunk == NULL)
    return;
  img_mutex_unlock (&pipeline->mutex);
  success = fill_chunk (pipeline, chunk, &error);
  img_mutex_lock (&pipeline->mutex);
  if (success && pipeline->options->in_order)
    pipeline->filled[chunk->sequence % pipeline->n_chunks] = chunk;
  else
    g_ptr_array_add (pipeline->idle, chunk);
  if (!success)
    take_error (pipeline, error);
  img_wait_list_wake_all (&pipeline->changed);
}

static void
write_first (Pipeline *pipeline)
{
  ImgChunk **slot = &pipeline->filled[pipeline->n_written % pipeline->n_chunks];
  ImgError *error = NULL;
  gboolean success;

  pipeline->is_writing = TRUE;
  img_mutex_unlock (&pipeline->mutex);
  success = write_chunk (pipeline, *slot, &error);
  img_mutex_lock (&pipeline->mutex);
  pipeline->is_writing = FALSE;
  pipeline->n_written++;
  g_ptr_array_add (pipeline->idle, g_steal_pointer (slot));
  if (!success)
    take_error (pipeline, error);
  img_wait_list_wake_all (&pipeline->changed);
}

/* ---- workers ---- */

static gboolean
may_write (Pipeline *pipeline)
{
  return !pipeline->is_writing &&
         pipeline->filled[pipeline->n_written % pipeline->n_chunks] != NULL;
}

static gboolean
may_claim (Pipeline *pipeline)
{
  return !pipeline->at_end && !pipeline->is_claiming && pipeline->idle->len > 0;
}

/* Writing comes first: it is what gives chunks back. A worker that finds no more to claim may go:
 * whoever fills the last chunks also writes them. */
static void
pipeline_worker (gpointer data, guint worker)
{
  Pipeline *pipeline = data;

  img_mutex_lock (&pipeline->mutex);
  while (!pipeline->failed)
    {
      if (may_write (pipeline))
        write_first (pipeline);
      else if (may_claim (pipeline))
        claim_and_fill (pipeline);
      else if (pipeline->at_end)
        break;
      else
        img_wait_list_wait (&pipeline->changed, &pipeline->mutex);
    }
  img_mutex_unlock (&pipeline->mutex);
}

/* ---- all of it ---- */

/* More chunks than workers, so that a chunk that takes long does not stop the others at once. */
static gboolean
make_chunks (Pipeline *pipeline, guint n_workers, ImgError **error)
{
  const ImgPipelineOptions *options = pipeline->options;
  gsize each = options->encode_unit > 0 ? 2 * options->chunk_size : options->chunk_size;

  guint wanted = options->in_order ? 3 * n_workers : n_workers;

  pipeline->n_chunks = (guint) MIN (MAX (MEMORY_BUDGET / each, 1), wanted);
  for (guint i = 0; i < pipeline->n_chunks; i++)
    {
      ImgChunk *chunk = img_chunk_new (options->chunk_size, options->encode_unit, error);

      if (chunk == NULL)
        return FALSE;
      g_ptr_array_add (pipeline->idle, chunk);
    }
  pipeline->filled = g_new0 (ImgChunk *, pipeline->n_chunks);
  return TRUE;
}

static void
free_chunks (Pipeline *pipeline)
{
  for (guint i = 0; pipeline->filled != NULL && i < pipeline->n_chunks; i++)
    img_chunk_free (pipeline->filled[i]);
  g_free (pipeline->filled);
  g_ptr_array_unref (pipeline->idle);
}

static guint
find_n_workers (const ImgPipelineOptions *options, ImgPool *pool)
{
  guint limit = img_pool_get_cpu_limit (pool);
  guint wanted = options->n_threads > 0 ? MIN (options->n_threads, limit) : limit;

  return (guint) MIN (MAX (WORKERS_BUDGET / MAX (options->worker_memory, 1), 1), wanted);
}

gboolean
img_pipeline_run (const ImgPipelineOptions *options,
                  ImgProgress *progress,
                  ImgCancel *cancel,
                  ImgError **error)
{
  ImgPool *pool = img_pool_get_default ();
  guint n_workers = find_n_workers (options, pool);
  Pipeline pipeline = { .options = options, .progress = progress, .cancel = cancel };
  gboolean success;

  pipeline.idle = g_ptr_array_new_with_free_func ((GDestroyNotify) img_chunk_free);
  img_mutex_init (&pipeline.mutex);
  success = make_chunks (&pipeline, n_workers, error);
  if (success)
    {
      img_pool_run_parallel (pool, IMG_TASK_CPU, n_workers, options->priority, pipeline_worker,
                             &pipeline);
      success = !pipeline.failed;
      if (pipeline.error != NULL)
        img_error_propagate (error, pipeline.error);
    }
  img_mutex_clear (&pipeline.mutex);
  free_chunks (&pipeline);
  return success;
}
