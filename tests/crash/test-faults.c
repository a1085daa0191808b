/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The nth call of the storage fails, for n = 1, 2, … until an operation gets through without meeting the
 * fault; for every operation, errno, effect, once and for good. Afterwards the handle works on, or is
 * poisoned because a flush failed; the file opens, is clean but for leaks, holds what the model allows;
 * and a thousand more operations leave it so. The same for the nth allocation of memory.
 *
 *   test-faults DISK
 */

#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "crash-work.h"
#include "img-alloc.h"

#define N_AFTERWARDS 30
#define N_LATER 100
#define N_LATER_LONG 1000
#define LONG_EVERY 16
#define MAX_CALLS 500
#define MANY_CLUSTERS 150

static const CrashGeometry *geometry;

typedef enum
{
  ACTION_WRITE_NEW,
  ACTION_WRITE_MANY, /* so many clusters that tables grow, where they are small */
  ACTION_WRITE_PART,
  ACTION_OVERWRITE_COMPRESSED,
  ACTION_WRITE_COMPRESSED,
  ACTION_ZERO,
  ACTION_ZERO_UNMAP,
  ACTION_DISCARD_ANY,
  ACTION_DISCARD_BACKING,
  ACTION_READ,
  ACTION_FLUSH,
  ACTION_RESIZE,
  ACTION_RESIZE_METADATA,
  ACTION_RESIZE_FALLOC,
  ACTION_RESIZE_FULL,
  ACTION_SHRINK,
  ACTION_CLOSE,
  ACTION_OPEN,
  N_ACTIONS,
} Action;

static const char *const action_names[N_ACTIONS] = {
  "write-new",  "write-many", "write-part",         "overwrite-compressed", "write-compressed",
  "zero",       "zero-unmap", "discard",            "discard-to-backing",   "read",
  "flush",      "resize",     "resize-metadata",    "resize-falloc",        "resize-full",
  "shrink",     "close",      "open",
};

/* What the image is like when the action comes. */
typedef enum
{
  START_EMPTY,
  START_COLD,  /* filled, just opened: nothing is in memory */
  START_DIRTY, /* filled, with changes that are not durable */
  N_STARTS,
} Start;

static const char *const start_names[N_STARTS] = { "empty", "cold", "dirty" };

static guint64
per_cluster (void)
{
  return crash_geometry_cluster (geometry) / CRASH_SECTOR;
}

static gboolean
has_compressed (void)
{
  return g_str_equal (geometry->format, "qcow2") && !geometry->has_data_file;
}

/* Clusters 0 to 3 hold data, 4 compressed data, 5 zeroes; 6 is free. All durable. */
static void
fill (CrashWork *work)
{
  guint64 n = per_cluster ();

  crash_work_do (work, CRASH_OP_WRITE, 0, 4 * n);
  if (has_compressed ())
    crash_work_do (work, CRASH_OP_WRITE_COMPRESSED, 4 * n, n);
  crash_work_do (work, CRASH_OP_ZERO, 5 * n, n);
  crash_work_do (work, CRASH_OP_REOPEN, 0, 0);
}

/* What is not durable yet when the action comes. */
static void
make_dirty (CrashWork *work)
{
  guint64 n = per_cluster ();

  crash_work_do (work, CRASH_OP_WRITE_PART, 8 * n, 1);
  crash_work_do (work, CRASH_OP_DISCARD_ZERO, 3 * n, n);
}

static void
act (CrashWork *work, Action action)
{
  guint64 n = per_cluster ();

  switch (action)
    {
    case ACTION_WRITE_NEW:
      crash_work_do (work, CRASH_OP_WRITE, 6 * n, 2 * n);
      break;
    case ACTION_WRITE_MANY:
      crash_work_do (work, CRASH_OP_WRITE, 6 * n,
                     MIN (MANY_CLUSTERS * n, crash_model_get_size (work->model) - 6 * n));
      break;
    case ACTION_WRITE_PART:
      crash_work_do (work, CRASH_OP_WRITE_PART, 6 * n + n / 2, 1);
      break;
    case ACTION_OVERWRITE_COMPRESSED:
      crash_work_do (work, CRASH_OP_WRITE_PART, 4 * n + n / 2, 1);
      break;
    case ACTION_WRITE_COMPRESSED:
      crash_work_do (work, has_compressed () ? CRASH_OP_WRITE_COMPRESSED : CRASH_OP_WRITE, 6 * n, n);
      break;
    case ACTION_ZERO:
      crash_work_do (work, CRASH_OP_ZERO, n / 2, 2 * n);
      break;
    case ACTION_ZERO_UNMAP:
      crash_work_do (work, CRASH_OP_ZERO_UNMAP, 0, 2 * n);
      break;
    case ACTION_DISCARD_ANY:
      crash_work_do (work, CRASH_OP_DISCARD_ANY, 0, 2 * n);
      break;
    case ACTION_DISCARD_BACKING:
      crash_work_do (work, CRASH_OP_DISCARD_BACKING, 0, 2 * n);
      break;
    case ACTION_READ:
      crash_work_do (work, CRASH_OP_READ, 0, 8 * n);
      break;
    case ACTION_FLUSH:
      crash_work_do (work, CRASH_OP_FLUSH, 0, 0);
      break;
    case ACTION_RESIZE:
    case ACTION_RESIZE_METADATA:
    case ACTION_RESIZE_FALLOC:
    case ACTION_RESIZE_FULL:
      work->n_grown = IMG_PREALLOCATE_OFF + (guint) (action - ACTION_RESIZE);
      crash_work_do (work, CRASH_OP_RESIZE, 0, 0);
      break;
    case ACTION_SHRINK:
      crash_work_do (work, CRASH_OP_SHRINK, 0, 0);
      break;
    case ACTION_CLOSE:
      crash_work_close (work);
      break;
    case ACTION_OPEN:
      crash_work_open (work);
      break;
    default:
      g_assert_not_reached ();
    }
}

static const char *context;

static void
assert_no_problem (char *problem)
{
  if (problem != NULL)
    g_error ("%s: %s", context, problem);
}

/* A flush tells whether the image is poisoned; then everything that changes must say so. */
static gboolean
is_poisoned (CrashWork *work)
{
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgError) again = NULL;
  guint8 byte[CRASH_SECTOR] = { 0 };
  guint64 started = crash_model_begin_flush (work->model);
  gboolean flushed = img_image_flush (work->image, NULL, &error);

  crash_model_end_flush (work->model, started, flushed);
  if (flushed)
    return FALSE;
  if (!img_error_matches (error, IMG_CODE_FLUSH_FAILED))
    g_error ("%s: a flush without a fault fails with: %s", context, error->text);
  g_assert_false (img_image_write (work->image, 0, byte, sizeof byte, NULL, &again));
  if (!img_error_matches (again, IMG_CODE_FLUSH_FAILED))
    g_error ("%s: a write to a poisoned image fails with: %s", context, again->text);
  return TRUE;
}

/* The handle after the fault. */
static void
use_handle (CrashWork *work, guint64 seed)
{
  CrashRandom random = crash_random (seed);

  work->may_fail = FALSE;
  if (work->image == NULL)
    return;
  assert_no_problem (crash_work_check (work));
  if (is_poisoned (work))
    {
      assert_no_problem (crash_work_check (work));
      g_assert_false (img_image_close (work->image, NULL));
      g_clear_pointer (&work->image, img_image_unref);
      return;
    }
  work->keeps_size = TRUE; /* another change of the size could cover up what became of the first */
  crash_work_steps (work, &random, N_AFTERWARDS);
  crash_work_do (work, CRASH_OP_REOPEN, 0, 0);
  assert_no_problem (crash_work_check (work));
  crash_work_close (work);
}

/* The file after the fault. What was acknowledged is there. */
static void
use_file (CrashWork *work, guint64 seed, guint n_later)
{
  CrashPages *layers[CRASH_MAX_DISKS] = { NULL };
  CrashMoment moment = crash_model_at_crash (work->model, CRASH_NEVER);

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    layers[i] = crash_pages_new (crash_log_get_content (work->log, i));
  assert_no_problem (crash_check_disks (geometry, layers, work->model, moment, NULL));
  assert_no_problem (crash_rewrite_disks (geometry, layers, seed, n_later));
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    crash_pages_free (layers[i]);
}

/* An image in the state that the action finds. */
static void
prepare (CrashWork *work, Action action, Start start, guint64 seed)
{
  crash_work_init (work, geometry, seed);
  if (start != START_EMPTY)
    fill (work);
  if (start == START_DIRTY)
    make_dirty (work);
  if (action == ACTION_OPEN)
    crash_work_close (work);
  work->may_fail = TRUE;
  work->may_leak = TRUE;
}

/* FALSE: the operation got through without meeting the fault. */
static gboolean
run_fault (Action action, Start start, const CrashFault *fault, guint n_later)
{
  g_autofree char *text =
    g_strdup_printf ("%s: %s, %s, call %u fails with %s, %s, effect %d", geometry->name,
                     start_names[start], action_names[action], fault->nth, g_strerror (fault->system_errno),
                     fault->persists ? "for good" : "once", fault->effect);
  CrashWork work;
  gboolean struck;

  context = text;
  prepare (&work, action, start, fault->nth);
  crash_log_set_fault (work.log, fault);
  act (&work, action);
  struck = crash_log_has_failed (work.log);
  crash_log_set_fault (work.log, NULL);
  use_handle (&work, fault->nth);
  use_file (&work, fault->nth, n_later);
  crash_work_clear (&work);
  return struck;
}

static guint
count_until_through (
  Action action, Start start, int system_errno, gboolean persists, CrashFaultEffect effect)
{
  CrashFault fault = { 1, system_errno, persists, effect, CRASH_ALL_OPS };

  while (run_fault (action, start, &fault, fault.nth % LONG_EVERY == 1 ? N_LATER_LONG : N_LATER))
    {
      fault.nth++;
      g_assert_cmpuint (fault.nth, <, MAX_CALLS);
    }
  return fault.nth - 1;
}

/* FALSE: there was memory for all of it. */
static gboolean
run_without_memory (Action action, Start start, guint nth, gboolean persists)
{
  g_autofree char *text =
    g_strdup_printf ("%s: %s, %s, allocation %u fails, %s", geometry->name, start_names[start],
                     action_names[action], nth, persists ? "and all later ones" : "once");
  gboolean struck;
  CrashWork work;

  context = text;
  prepare (&work, action, start, nth);
  img_alloc_set_fault (nth, persists);
  act (&work, action);
  struck = img_alloc_clear_fault ();
  if (action != ACTION_OPEN || work.image != NULL)
    use_handle (&work, nth);
  use_file (&work, nth, N_LATER);
  crash_work_clear (&work);
  return struck;
}

static guint
count_allocations (Action action, Start start, gboolean persists)
{
  guint nth = 1;

  while (run_without_memory (action, start, nth, persists))
    {
      nth++;
      g_assert_cmpuint (nth, <, MAX_CALLS);
    }
  return nth - 1;
}

static void
test_no_memory (gconstpointer data)
{
  Action action = (Action) GPOINTER_TO_INT (data);
  guint n = 0;

  for (guint start = 0; start < N_STARTS; start++)
    for (guint persists = 0; persists < 2; persists++)
      n += count_allocations (action, start, persists);
  g_test_message ("%s: %u allocations failed", action_names[action], n);
  if (action == ACTION_OPEN && g_str_equal (geometry->format, "qcow2"))
    g_assert_cmpuint (n, >, 0);
}

static void
test_faults (gconstpointer data)
{
  static const int errnos[] = { EIO, ENOSPC };
  Action action = (Action) GPOINTER_TO_INT (data);
  guint n = 0;

  for (guint start = 0; start < N_STARTS; start++)
    for (guint i = 0; i < G_N_ELEMENTS (errnos); i++)
      for (guint persists = 0; persists < 2; persists++)
        for (guint effect = CRASH_FAULT_BEFORE; effect <= CRASH_FAULT_AFTER; effect++)
          n += count_until_through (action, start, errnos[i], persists, effect);
  /* Whatever the errno, it is one that a file may answer with. */
  for (guint start = 0; start < N_STARTS; start++)
    {
      n += count_until_through (action, start, EDQUOT, start % 2, CRASH_FAULT_BEFORE);
      n += count_until_through (action, start, EINTR, FALSE, CRASH_FAULT_HALF);
    }
  g_test_message ("%s: %u faults met", action_names[action], n);
  /* Some operations only change tables in memory. */
  if (action == ACTION_FLUSH || action == ACTION_CLOSE ||
      (action == ACTION_OPEN && g_str_equal (geometry->format, "qcow2")))
    g_assert_cmpuint (n, >, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  geometry = crash_geometry_find (argc > 1 ? argv[1] : "512");
  for (guint action = 0; action < N_ACTIONS; action++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/faults/%s", action_names[action]);

      g_test_add_data_func (path, GINT_TO_POINTER (action), test_faults);
    }
  for (guint action = 0; action < N_ACTIONS; action++)
    {
      g_autofree char *path = g_strdup_printf ("/crash/no-memory/%s", action_names[action]);

      g_test_add_data_func (path, GINT_TO_POINTER (action), test_no_memory);
    }
  return g_test_run ();
}
