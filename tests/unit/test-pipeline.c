/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The pipeline between a source and a target that only count: order, bounds, errors, cancel. */

#include "config.h"

#include <glib.h>

#include "img-pipeline.h"
#include "img-pool.h"

#define CHUNK 4096
#define N_CHUNKS 500
#define N_WORKERS 8
#define NEVER G_MAXUINT64

typedef struct
{
  guint64 n_claimed;
  guint64 n_filled;              /* atomic */
  guint64 n_written;             /* atomic */
  guint n_filling, most_filling; /* atomic */
  guint n_writing, most_writing; /* atomic */
  gboolean in_order;
  /* Which chunk fails there. */
  guint64 claim_fails, fill_fails, write_fails;
} Trace;

static guint
enter (guint *n, guint *most)
{
  guint now = __atomic_add_fetch (n, 1, __ATOMIC_SEQ_CST);
  guint before = __atomic_load_n (most, __ATOMIC_RELAXED);

  while (before < now && !__atomic_compare_exchange_n (most, &before, now, TRUE, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED))
    ;
  return now;
}

static void
leave (guint *n)
{
  __atomic_sub_fetch (n, 1, __ATOMIC_SEQ_CST);
}

static gboolean
succeed (guint64 which, guint64 fails, ImgError **error)
{
  if (which != fails)
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, "chunk %u", (guint) which);
  return FALSE;
}

static gboolean
claim (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Trace *trace = data;
  guint64 which = trace->n_claimed;

  if (which == N_CHUNKS || !succeed (which, trace->claim_fails, error))
    return FALSE;
  trace->n_claimed++;
  chunk->offset = which * CHUNK;
  chunk->end = chunk->offset + CHUNK;
  chunk->n_copied = CHUNK;
  chunk->pieces[0] = (ImgPiece){ IMG_PIECE_COPY, chunk->offset, CHUNK };
  chunk->n_pieces = 1;
  return TRUE;
}

static gboolean
fill (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Trace *trace = data;

  enter (&trace->n_filling, &trace->most_filling);
  if (chunk->offset / CHUNK % 3 == 0) /* some take longer than others */
    g_thread_yield ();
  __atomic_add_fetch (&trace->n_filled, 1, __ATOMIC_RELAXED);
  leave (&trace->n_filling);
  return succeed (chunk->offset / CHUNK, trace->fill_fails, error);
}

static gboolean
write_chunk (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Trace *trace = data;

  enter (&trace->n_writing, &trace->most_writing);
  if (trace->in_order)
    g_assert_cmpuint (chunk->offset, ==, trace->n_written * CHUNK);
  __atomic_add_fetch (&trace->n_written, 1, __ATOMIC_RELAXED);
  leave (&trace->n_writing);
  return succeed (chunk->offset / CHUNK, trace->write_fails, error);
}

static gboolean
run (Trace *trace, gsize worker_memory, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass klass = { claim, fill, NULL, write_chunk };
  const ImgPipelineOptions options = {
    .klass = &klass,
    .source = trace,
    .target = trace,
    .in_order = trace->in_order,
    .chunk_size = CHUNK,
    .worker_memory = worker_memory,
    .n_threads = N_WORKERS,
  };
  ImgPool *pool = img_pool_new (N_WORKERS, N_WORKERS);
  gboolean success;

  img_pool_set_default (pool);
  success = img_pipeline_run (&options, progress, cancel, error);
  img_pool_set_default (NULL);
  img_pool_free (pool);
  return success;
}

static Trace
new_trace (gboolean in_order)
{
  return (
    Trace){ .in_order = in_order, .claim_fails = NEVER, .fill_fails = NEVER, .write_fails = NEVER };
}

static void
test_all (void)
{
  for (guint in_order = 0; in_order < 2; in_order++)
    {
      Trace trace = new_trace ((gboolean) in_order);
      ImgProgress progress = { 0 };

      g_assert_true (run (&trace, 0, &progress, NULL, NULL));
      g_assert_cmpuint (trace.n_filled, ==, N_CHUNKS);
      g_assert_cmpuint (trace.n_written, ==, N_CHUNKS);
      g_assert_cmpuint (progress.bytes_done, ==, N_CHUNKS * CHUNK);
      g_assert_cmpuint (trace.most_filling, <=, N_WORKERS);
      if (in_order)
        g_assert_cmpuint (trace.most_writing, ==, 1);
    }
}

/* Workers that need much memory are few, but never none. */
static void
test_worker_memory (void)
{
  static const struct
  {
    gsize memory;
    guint most;
  } cases[] = { { 8 * IMG_MIB, 3 }, { 20 * IMG_MIB, 1 }, { 4096 * IMG_MIB, 1 } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      Trace trace = new_trace (TRUE);

      g_assert_true (run (&trace, cases[i].memory, NULL, NULL, NULL));
      g_assert_cmpuint (trace.n_written, ==, N_CHUNKS);
      g_assert_cmpuint (trace.most_filling, >=, 1);
      g_assert_cmpuint (trace.most_filling, <=, cases[i].most);
    }
}

static void
assert_fails (Trace *trace)
{
  g_autoptr (ImgError) error = NULL;

  g_assert_false (run (trace, 0, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CORRUPT));
  g_assert_cmpuint (trace->n_claimed, <, N_CHUNKS);
}

/* Whoever fails, the others stop, and the error is told. */
static void
test_errors (void)
{
  for (guint i = 0; i < 6; i++)
    {
      Trace trace = new_trace (i % 2 == 0);

      *(i < 2 ? &trace.claim_fails : i < 4 ? &trace.fill_fails : &trace.write_fails) = 100;
      assert_fails (&trace);
      g_assert_cmpuint (trace.n_written, >, 0);
    }
}

static void
test_cancel (void)
{
  ImgCancel *cancel = img_cancel_new ();
  Trace trace = new_trace (TRUE);
  g_autoptr (ImgError) error = NULL;

  img_cancel_trigger (cancel);
  g_assert_false (run (&trace, 0, NULL, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  g_assert_cmpuint (trace.n_claimed, ==, 0);
  img_cancel_unref (cancel);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pipeline/all", test_all);
  g_test_add_func ("/pipeline/worker-memory", test_worker_memory);
  g_test_add_func ("/pipeline/errors", test_errors);
  g_test_add_func ("/pipeline/cancel", test_cancel);
  return g_test_run ();
}
