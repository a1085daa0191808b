/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The work of test-random and the faults of test-faults once more, through the asynchronous calls of ImagoImage: several
 * requests in flight from one main loop, on real workers, some of them cancelled, over disks that do what they are
 * asked to in an order of their own. Then the power goes off, as there. Some images lie on the disks by way of a storage
 * of the application's, or of a stream.
 *
 *   test-async [RUNS [FIRST-SEED]]
 */

#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "crash-stream.h"
#include "crash-work.h"
#include "img-mutant.h"

#include "imago-glib/imago-glib.h"
#include "imago-glib/imago-image-private.h"
#include "imago-glib/imago-storage-private.h"
#include "tests/glib/test-carrier.h"

#define DEPTH 8
#define N_STEPS 40
#define N_STATES 16
#define N_LATER 10
#define FAULT_EVERY 4

static const char *const disk_names[] = {
  "4k", "512", "backing", "data-file", "subclusters", "lazy", "growth", "raw", "snapshot",
};

static guint n_runs = 2000;
static guint64 first_seed = 1;

/* What is between the image and the disks. */
typedef enum
{
  CARRIED_BY_NOTHING,
  CARRIED_BY_HOOK,
  CARRIED_BY_STREAM,
} Carriage;

typedef struct
{
  CrashWork work;
  Carriage carriage;
  CrashRandom random;
  ImagoImage *image; /* NULL: gone */
  guint64 seed;
  guint n_left;
  guint n_in_flight;
  guint n_left_behind; /* changes that have been answered and may go on */
  gboolean drains;   /* something is to run alone */
  guint n_cancelled;
  GPtrArray *steps;  /* of Step; none is freed before the end, so that a second answer is seen */
} Run;

typedef struct
{
  Run *run;
  CrashOp op;
  guint64 first;
  guint64 n_sectors;
  guint64 change;      /* or when the flush began */
  gboolean shrinks;
  gboolean is_left;    /* behind, and not ended for the model */
  CrashMoment moment;  /* of a read */
  GCancellable *cancellable;
  guint n_calls;
} Step;

typedef struct
{
  guint n_runs;
  guint n_with_fault;
  guint n_struck;
  guint n_carried[CARRIED_BY_STREAM + 1];
  guint64 n_requests;
  guint64 n_cancelled;
  guint64 n_overtaken;
  CrashVerdict verdict;
} Sum;

static void
step_free (gpointer data)
{
  Step *step = data;

  g_assert_cmpuint (step->n_calls, ==, 1);
  g_clear_object (&step->cancellable);
  g_free (step);
}

static Step *
step_new (Run *run, CrashOp op)
{
  Step *step = g_new0 (Step, 1);

  step->run = run;
  step->op = op;
  g_ptr_array_add (run->steps, step);
  run->n_in_flight++;
  return step;
}

/* ---- answers ---- */

static gboolean
finish_read (Step *step, GAsyncResult *result, GError **error)
{
  Run *run = step->run;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (run->image, result, error);
  g_autofree char *problem = NULL;

  if (bytes == NULL)
    return FALSE;
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, step->n_sectors * CRASH_SECTOR);
  problem = crash_model_check_bytes (run->work.model, step->moment, step->first, g_bytes_get_data (bytes, NULL),
                                     step->n_sectors);
  if (problem != NULL)
    g_error ("%s, seed %" G_GUINT64_FORMAT ": a read was wrong: %s", run->work.geometry->name, run->seed, problem);
  return TRUE;
}

/* Cancelled where a storage may never answer. */
static gboolean
is_left_behind (Step *step, const GError *error)
{
  step->is_left =
    step->run->carriage != CARRIED_BY_NOTHING && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  step->run->n_left_behind += step->is_left;
  return step->is_left;
}

static void
end_resize (Step *step, gboolean success)
{
  CrashWork *work = &step->run->work;

  crash_model_end (work->model, step->change, success);
  if (step->shrinks && !success)
    crash_model_undo_shrink (work->model, img_image_get_size (work->image) / CRASH_SECTOR);
  crash_work_follow_size (work);
}

static gboolean
finish_resize (Step *step, GAsyncResult *result, GError **error)
{
  gboolean success = imago_image_resize_finish (step->run->image, result, error);

  if (success || !is_left_behind (step, *error))
    end_resize (step, success);
  return success;
}

static gboolean
finish_flush (Step *step, GAsyncResult *result, GError **error)
{
  gboolean success = imago_image_flush_finish (step->run->image, result, error);

  crash_model_end_flush (step->run->work.model, step->change, success);
  return success;
}

static gboolean
finish_close (Step *step, GAsyncResult *result, GError **error)
{
  Run *run = step->run;
  gboolean success = imago_image_close_finish (run->image, result, error);

  crash_model_end_flush (run->work.model, step->change, success);
  return success;
}

static gboolean
finish_change (Step *step, GAsyncResult *result, GError **error)
{
  ImagoImage *image = step->run->image;
  gboolean success;

  switch (step->op)
    {
    case CRASH_OP_WRITE:
    case CRASH_OP_WRITE_PART:
      success = imago_image_write_bytes_finish (image, result, error);
      break;
    case CRASH_OP_WRITE_COMPRESSED:
      success = imago_image_write_compressed_finish (image, result, error);
      break;
    case CRASH_OP_ZERO:
    case CRASH_OP_ZERO_UNMAP:
      success = imago_image_write_zeroes_finish (image, result, error);
      break;
    default:
      success = imago_image_discard_finish (image, result, error);
      break;
    }
  if (success || !is_left_behind (step, *error))
    crash_model_end (step->run->work.model, step->change, success);
  return success;
}

static gboolean
finish (Step *step, GAsyncResult *result, GError **error)
{
  switch (step->op)
    {
    case CRASH_OP_READ:
      return finish_read (step, result, error);
    case CRASH_OP_FLUSH:
      return finish_flush (step, result, error);
    case CRASH_OP_RESIZE:
    case CRASH_OP_SHRINK:
      return finish_resize (step, result, error);
    case CRASH_OP_REOPEN:
      return finish_close (step, result, error);
    default:
      return finish_change (step, result, error);
    }
}

/* A compressed write finds content, what was cancelled has not run or not to its end; all else must work unless there
 * are faults. */
static gboolean
may_fail (Step *step, const GError *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return step->cancellable != NULL && g_cancellable_is_cancelled (step->cancellable);
  return step->run->work.may_fail || step->op == CRASH_OP_WRITE_COMPRESSED;
}

static void
answered_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  Step *step = data;
  Run *run = step->run;
  gboolean success;

  g_assert_cmpuint (step->n_calls++, ==, 0);
  run->n_in_flight--;
  success = finish (step, result, &error);
  g_atomic_int_inc (success ? &run->work.n_done[step->op] : &run->work.n_failed[step->op]);
  if (!success && !may_fail (step, error))
    g_error ("%s, seed %" G_GUINT64_FORMAT ": %s of %" G_GUINT64_FORMAT " sectors at %" G_GUINT64_FORMAT ": %s",
             run->work.geometry->name, run->seed, crash_op_get_name (step->op), step->n_sectors, step->first,
             error->message);
  run->n_cancelled += !success && error->domain == G_IO_ERROR && error->code == G_IO_ERROR_CANCELLED;
}

/* ---- requests ---- */

static void
submit_write (Step *step)
{
  gsize length = step->n_sectors * CRASH_SECTOR;
  guint8 *data = g_malloc (length);
  g_autoptr (GBytes) bytes = g_bytes_new_take (data, length);
  ImagoImage *image = step->run->image;

  for (guint64 i = 0; i < step->n_sectors; i++)
    crash_pattern_fill (step->change, step->first + i, data + i * CRASH_SECTOR);
  if (step->op == CRASH_OP_WRITE_COMPRESSED)
    imago_image_write_compressed_async (image, step->first * CRASH_SECTOR, bytes, 0, step->cancellable,
                                        answered_cb, step);
  else
    imago_image_write_bytes_async (image, step->first * CRASH_SECTOR, bytes, 0, step->cancellable, answered_cb,
                                   step);
}

static void
submit_zeroes (Step *step)
{
  imago_image_write_zeroes_async (step->run->image, step->first * CRASH_SECTOR, step->n_sectors * CRASH_SECTOR,
                                  step->op == CRASH_OP_ZERO_UNMAP ? IMAGO_ZERO_UNMAP : IMAGO_ZERO_NONE, 0,
                                  step->cancellable, answered_cb, step);
}

static void
submit_discard (Step *step)
{
  ImagoDiscardMode mode = step->op == CRASH_OP_DISCARD_ANY    ? IMAGO_DISCARD_ANY
                          : step->op == CRASH_OP_DISCARD_ZERO ? IMAGO_DISCARD_ZERO
                                                              : IMAGO_DISCARD_BACKING;

  imago_image_discard_async (step->run->image, step->first * CRASH_SECTOR, step->n_sectors * CRASH_SECTOR, mode, 0,
                             step->cancellable, answered_cb, step);
}

/* Nothing shows through a raw image, and a stream gives no space back: what was there may stay. */
static CrashChangeKind
get_kind (Step *step)
{
  Run *run = step->run;

  if (step->op == CRASH_OP_DISCARD_BACKING && run->carriage == CARRIED_BY_STREAM &&
      g_str_equal (run->work.geometry->format, "raw"))
    return CRASH_CHANGE_DISCARD_ANY;
  return crash_work_get_kind (&run->work, step->op);
}

static void
submit_change (Step *step)
{
  step->change = crash_model_begin (step->run->work.model, get_kind (step), step->first, step->n_sectors);
  switch (step->op)
    {
    case CRASH_OP_WRITE:
    case CRASH_OP_WRITE_PART:
    case CRASH_OP_WRITE_COMPRESSED:
      submit_write (step);
      break;
    case CRASH_OP_ZERO:
    case CRASH_OP_ZERO_UNMAP:
      submit_zeroes (step);
      break;
    default:
      submit_discard (step);
      break;
    }
}

static void
submit_resize (Step *step)
{
  CrashWork *work = &step->run->work;

  step->n_sectors = crash_work_resize_target (work, step->op);
  step->shrinks = step->n_sectors < crash_model_get_size (work->model);
  step->change = crash_model_begin_resize (work->model, step->n_sectors);
  imago_image_resize_async (step->run->image, step->n_sectors * CRASH_SECTOR,
                            step->shrinks ? IMAGO_RESIZE_MAY_SHRINK : IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE,
                            0, step->cancellable, answered_cb, step);
}

static void
submit (Step *step)
{
  CrashWork *work = &step->run->work;

  switch (step->op)
    {
    case CRASH_OP_READ:
      step->moment = (CrashMoment) { crash_log_tick (work->log), CRASH_NEVER };
      imago_image_read_bytes_async (step->run->image, step->first * CRASH_SECTOR, step->n_sectors * CRASH_SECTOR, 0,
                                    step->cancellable, answered_cb, step);
      break;
    case CRASH_OP_FLUSH:
      step->change = crash_model_begin_flush (work->model);
      imago_image_flush_async (step->run->image, 0, step->cancellable, answered_cb, step);
      break;
    case CRASH_OP_RESIZE:
    case CRASH_OP_SHRINK:
      submit_resize (step);
      break;
    default:
      submit_change (step);
      break;
    }
}

/* ---- what carries the image ---- */

static ImgStorage *
top_storage (Run *run)
{
  return run->work.carriers[0] != NULL ? run->work.carriers[0] : run->work.disks[0];
}

static ImagoStorage *
make_carrier (Carriage carriage, ImgStorage *disk)
{
  g_autoptr (ImagoStorage) base = NULL;
  g_autoptr (GIOStream) stream = NULL;

  if (carriage == CARRIED_BY_STREAM)
    {
      stream = crash_stream_new (disk);
      return imago_stream_storage_new_for_io (stream);
    }
  base = imago_storage_new_from_core (disk);
  return test_carrier_new (base);
}

static void
carry (Run *run)
{
  CrashWork *work = &run->work;

  if (run->carriage == CARRIED_BY_NOTHING)
    return;
  crash_work_close (work);
  for (guint i = 0; i < crash_geometry_n_disks (work->geometry); i++)
    {
      g_autoptr (ImagoStorage) carrier = make_carrier (run->carriage, work->disks[i]);

      work->carriers[i] = imago_storage_dup_core (carrier);
    }
  crash_log_start (work->log);
  crash_work_open (work);
}

/* By the log and the work, and by what carries the image. */
static gint
n_disk_references (Run *run)
{
  return run->carriage == CARRIED_BY_NOTHING ? 2 : run->carriage == CARRIED_BY_HOOK ? 3 : 4;
}

static gboolean
is_unused (Run *run, guint i)
{
  ImgStorage *carrier = run->work.carriers[i];

  return g_atomic_ref_count_compare (&run->work.disks[i]->ref_count, n_disk_references (run)) &&
         (carrier == NULL || g_atomic_ref_count_compare (&carrier->ref_count, 1));
}

/* Nobody but these use the disks. */
static void
wait_unused (Run *run)
{
  for (guint i = 0; i < crash_geometry_n_disks (run->work.geometry); i++)
    while (!is_unused (run, i))
      {
        g_main_context_iteration (NULL, FALSE);
        g_usleep (10);
      }
}

static void
put_down (Run *run)
{
  for (guint i = 0; i < crash_geometry_n_disks (run->work.geometry); i++)
    g_clear_pointer (&run->work.carriers[i], img_storage_unref);
  run->carriage = CARRIED_BY_NOTHING;
  wait_unused (run);
}

/* A request that was cancelled has been answered, but may be with a hook, which needs the main loop. */
static void
wait_quiet (Run *run)
{
  ImagoImageState *state = run->image->state;
  guint n_holds;

  do
    {
      g_main_context_iteration (NULL, FALSE);
      img_mutex_lock (&state->mutex);
      n_holds = state->n_holds;
      img_mutex_unlock (&state->mutex);
    }
  while (n_holds > 0);
}

/* What was left behind comes to its end, and fails for all that anybody knows. */
static void
settle (Run *run)
{
  if (run->n_left_behind > 0)
    wait_quiet (run);
  for (guint i = 0; i < run->steps->len && run->n_left_behind > 0; i++)
    {
      Step *step = run->steps->pdata[i];

      if (!step->is_left)
        continue;
      if (step->op == CRASH_OP_RESIZE || step->op == CRASH_OP_SHRINK)
        end_resize (step, FALSE);
      else
        crash_model_end (run->work.model, step->change, FALSE);
      step->is_left = FALSE;
      run->n_left_behind--;
    }
}

/* ---- the image ---- */

static void
wrap_image (Run *run)
{
  if (run->work.image != NULL)
    run->image = imago_image_new_from_core (img_image_ref (run->work.image),
                                            imago_storage_new_from_core (top_storage (run)), NULL, FALSE);
}

static void
wait_answers (Run *run)
{
  while (run->n_in_flight > 0)
    g_main_context_iteration (NULL, TRUE);
}

static gboolean
close_image (Run *run)
{
  gint *n_closed = &run->work.n_done[CRASH_OP_REOPEN];
  gint n_before = *n_closed;
  Step *step = step_new (run, CRASH_OP_REOPEN);

  step->change = crash_model_begin_flush (run->work.model);
  imago_image_close_async (run->image, 0, NULL, answered_cb, step);
  wait_answers (run);
  g_clear_object (&run->image);
  g_clear_pointer (&run->work.image, img_image_unref);
  wait_unused (run);
  if (*n_closed == n_before)
    return FALSE;
  crash_work_assert_closed_well (&run->work);
  return TRUE;
}

static void
reopen (Run *run)
{
  if (close_image (run) && crash_work_open (&run->work))
    wrap_image (run);
}

/* ---- a run ---- */

static void
start_step (Run *run)
{
  gboolean alone = run->n_in_flight == 0;
  guint64 first, n_sectors;
  CrashOp op;
  Step *step;

  if (alone)
    settle (run);
  op = crash_work_pick (&run->work, &run->random, alone, &first, &n_sectors);
  run->n_left--;
  run->drains = crash_random_one_in (&run->random, 12);
  if (op == CRASH_OP_REOPEN)
    {
      reopen (run);
      return;
    }
  step = step_new (run, op);
  step->first = first;
  step->n_sectors = n_sectors;
  if (crash_random_one_in (&run->random, 6))
    step->cancellable = g_cancellable_new ();
  submit (step);
  if (op == CRASH_OP_RESIZE || op == CRASH_OP_SHRINK)
    {
      wait_answers (run);
      settle (run);
    }
}

static void
cancel_some (Run *run)
{
  Step *step;

  if (run->steps->len == 0)
    return;
  step = run->steps->pdata[run->steps->len - 1 - crash_random_below (&run->random, MIN (run->steps->len, DEPTH))];
  if (step->cancellable != NULL)
    g_cancellable_cancel (step->cancellable);
}

static gboolean
can_start (Run *run)
{
  return run->n_left > 0 && run->image != NULL && run->n_in_flight < (run->drains ? 1 : DEPTH);
}

static void
run_steps (Run *run)
{
  while ((run->n_left > 0 && run->image != NULL) || run->n_in_flight > 0)
    {
      while (can_start (run))
        start_step (run);
      cancel_some (run);
      if (run->n_in_flight > 0)
        g_main_context_iteration (NULL, TRUE);
    }
  settle (run);
}

/* ---- the verdicts ---- */

static void
judge_crash (Run *run, Sum *sum)
{
  CrashVerdict verdict = { .seed = run->seed, .max_states = N_STATES, .n_random = 4, .rewrite_every = 25 };

  crash_work_judge (&run->work, &verdict);
  crash_verdict_assert (&verdict, "%s, seed %" G_GUINT64_FORMAT, run->work.geometry->name, run->seed);
  crash_verdict_add (&sum->verdict, &verdict);
  crash_verdict_clear (&verdict);
}

/* What the file holds after the faults: what was acknowledged, and it can be worked on. */
static void
judge_file (Run *run)
{
  const CrashGeometry *geometry = run->work.geometry;
  CrashMoment moment = crash_model_at_crash (run->work.model, CRASH_NEVER);
  CrashPages *layers[CRASH_MAX_DISKS] = { NULL };
  g_autofree char *problem = NULL;

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    layers[i] = crash_pages_new (crash_log_get_content (run->work.log, i));
  problem = crash_check_disks (geometry, layers, run->work.model, moment, NULL);
  if (problem == NULL)
    problem = crash_rewrite_disks (geometry, layers, run->seed, N_LATER);
  if (problem != NULL)
    g_error ("%s, seed %" G_GUINT64_FORMAT ", after faults: %s", geometry->name, run->seed, problem);
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    crash_pages_free (layers[i]);
}

static Carriage
pick_carriage (guint64 seed)
{
  static const Carriage carriages[] = { CARRIED_BY_NOTHING, CARRIED_BY_NOTHING, CARRIED_BY_HOOK, CARRIED_BY_STREAM };
  guint64 number = seed / G_N_ELEMENTS (disk_names);

  return carriages[(number + number / FAULT_EVERY) % G_N_ELEMENTS (carriages)];
}

static void
run_init (Run *run, guint64 seed)
{
  *run = (Run) { .random = crash_random (seed), .seed = seed, .n_left = N_STEPS };
  run->steps = g_ptr_array_new_with_free_func (step_free);
  crash_work_init (&run->work, crash_geometry_find (disk_names[seed % G_N_ELEMENTS (disk_names)]), seed);
  run->carriage = pick_carriage (seed);
  carry (run);
  crash_log_start_shuffling (run->work.log);
  wrap_image (run);
}

static void
run_clear (Run *run, Sum *sum)
{
  sum->n_runs++;
  sum->n_carried[run->carriage]++;
  sum->n_requests += run->steps->len;
  sum->n_cancelled += run->n_cancelled;
  g_ptr_array_unref (run->steps);
  put_down (run);
  crash_work_clear (&run->work);
}

/* Half of the runs end without a close. */
static void
run_without_faults (guint64 seed, Sum *sum)
{
  g_autofree char *problem = NULL;
  Run run;

  run_init (&run, seed);
  run_steps (&run);
  wait_quiet (&run);
  problem = crash_work_check (&run.work);
  if (problem != NULL)
    g_error ("%s, seed %" G_GUINT64_FORMAT ": %s", run.work.geometry->name, seed, problem);
  if (crash_random_one_in (&run.random, 2))
    close_image (&run);
  sum->n_overtaken += crash_log_stop_shuffling (run.work.log);
  judge_crash (&run, sum);
  if (run.image != NULL)
    close_image (&run);
  run_clear (&run, sum);
}

static void
arm (Run *run)
{
  const CrashFault fault = {
    .nth = 1 + (guint) crash_random_below (&run->random, 80),
    .system_errno = crash_random_one_in (&run->random, 2) ? EIO : ENOSPC,
    .persists = crash_random_one_in (&run->random, 2),
    .effect = (CrashFaultEffect) crash_random_below (&run->random, 3),
    .op_mask = CRASH_ALL_OPS,
  };

  run->work.may_fail = TRUE;
  run->work.may_leak = TRUE;
  crash_log_set_fault (run->work.log, &fault);
}

static void
run_with_fault (guint64 seed, Sum *sum)
{
  Run run;

  run_init (&run, seed);
  arm (&run);
  run_steps (&run);
  sum->n_with_fault++;
  sum->n_struck += crash_log_has_failed (run.work.log);
  crash_log_set_fault (run.work.log, NULL);
  if (run.image != NULL)
    close_image (&run);
  wait_unused (&run);
  sum->n_overtaken += crash_log_stop_shuffling (run.work.log);
  judge_file (&run);
  run_clear (&run, sum);
}

static void
run_seeds (guint n, Sum *sum)
{
  for (guint i = 0; i < n; i++)
    if ((first_seed + i) / G_N_ELEMENTS (disk_names) % FAULT_EVERY == 0)
      run_with_fault (first_seed + i, sum);
    else
      run_without_faults (first_seed + i, sum);
}

static void
test_async (void)
{
  Sum sum = { 0 };

  run_seeds (n_runs, &sum);
  g_test_message ("%u images in a storage of the application's, %u in a stream", sum.n_carried[CARRIED_BY_HOOK],
                  sum.n_carried[CARRIED_BY_STREAM]);
  g_test_message ("%u seeds: %" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT " cancelled, %" G_GUINT64_FORMAT
                  " done before an earlier one; %" G_GUINT64_FORMAT " crash states, %" G_GUINT64_FORMAT
                  " written to afterwards; %u of %u faults met",
                  sum.n_runs, sum.n_requests, sum.n_cancelled, sum.n_overtaken, sum.verdict.n_states,
                  sum.verdict.n_rewritten, sum.n_struck, sum.n_with_fault);
  g_assert_cmpuint (sum.n_runs, >=, n_runs);
  g_assert_cmpuint (sum.n_overtaken, >, sum.n_runs);
  g_assert_cmpuint (sum.n_cancelled, >, 0);
  g_assert_cmpuint (sum.n_struck, >, sum.n_with_fault / 2);
}

/* ---- mutants ---- */

/* Rules whose breaking a run of few seeds must miss: the proof that it looks. */
static const ImgMutant mutants[] = {
  IMG_MUTANT_SKIP_FLUSH_P1,
  IMG_MUTANT_SKIP_FLUSH_P2,
  IMG_MUTANT_SKIP_FLUSH_DATA_FILE,
  IMG_MUTANT_L2_BEFORE_REFCOUNTS,
  IMG_MUTANT_PUNCH_BEFORE_DURABLE,
  IMG_MUTANT_DECREMENT_BEFORE_DURABLE,
  IMG_MUTANT_REUSE_BEFORE_DURABLE,
  IMG_MUTANT_COMMIT_BEFORE_DATA,
  IMG_MUTANT_NO_CLAIM,
};

#define N_MUTANT_RUNS 400

static void
test_mutant (gconstpointer data)
{
  Sum sum = { 0 };

  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, (GTestSubprocessFlags) 0);
      g_test_trap_assert_failed ();
      g_test_trap_assert_stderr ("*, seed *");
      return;
    }
  img_mutant_set ((ImgMutant) GPOINTER_TO_INT (data));
  run_seeds (N_MUTANT_RUNS, &sum);
}

static void
add_mutant (ImgMutant mutant)
{
  g_autofree char *path = g_strdup_printf ("/crash/async/%s", img_mutant_get_name (mutant));

  g_test_add_data_func (path, GINT_TO_POINTER (mutant), test_mutant);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    n_runs = (guint) atoi (argv[1]);
  if (argc > 2)
    first_seed = (guint64) atoll (argv[2]);
  g_test_add_func ("/crash/async/seeds", test_async);
  for (guint i = 0; i < G_N_ELEMENTS (mutants); i++)
    add_mutant (mutants[i]);
  return g_test_run ();
}
