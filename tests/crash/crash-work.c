/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "crash-check.h"
#include "crash-work.h"
#include "qcow2/img-qcow2-check.h"

static const char *const op_names[CRASH_N_OPS] = {
  [CRASH_OP_WRITE] = "write",
  [CRASH_OP_WRITE_PART] = "write part",
  [CRASH_OP_ZERO] = "zero",
  [CRASH_OP_ZERO_UNMAP] = "zero and unmap",
  [CRASH_OP_DISCARD_ANY] = "discard",
  [CRASH_OP_DISCARD_ZERO] = "discard to zero",
  [CRASH_OP_DISCARD_BACKING] = "discard to backing",
  [CRASH_OP_WRITE_COMPRESSED] = "write compressed",
  [CRASH_OP_FLUSH] = "flush",
  [CRASH_OP_RESIZE] = "resize",
  [CRASH_OP_SHRINK] = "shrink",
  [CRASH_OP_REOPEN] = "reopen",
  [CRASH_OP_READ] = "read",
  [CRASH_OP_COMMIT] = "commit",
};

/* Ends the program; names the disk and the seed, so that it can be repeated. */
#define work_error(work, name, format, ...)                                                                            \
  g_error ("%s, seed %" G_GUINT64_FORMAT ": " format, name, (work)->seed, __VA_ARGS__)

const char *
crash_op_get_name (CrashOp op)
{
  return op_names[op];
}

static guint64
sectors_per_cluster (const CrashGeometry *geometry)
{
  return crash_geometry_cluster (geometry) / CRASH_SECTOR;
}

static guint64
max_sectors (const CrashGeometry *geometry)
{
  return MAX (geometry->size, geometry->max_size) / CRASH_SECTOR;
}

/* The last one may be shorter. */
static void
count_clusters (CrashWork *work)
{
  guint64 n = sectors_per_cluster (work->geometry);

  g_atomic_int_set (&work->n_clusters, (gint) ((crash_model_get_size (work->model) + n - 1) / n));
}

/* A resize that failed, or was cut off, has happened or has not. */
void
crash_work_follow_size (CrashWork *work)
{
  crash_model_set_size (work->model, img_image_get_size (work->image) / CRASH_SECTOR);
  count_clusters (work);
}

static void
init_model (CrashWork *work)
{
  const CrashGeometry *geometry = work->geometry;
  guint64 n_backing = MAX (MIN (geometry->backing_size, geometry->size), geometry->snapshot_size);

  work->model = crash_model_new (work->log, geometry->size / CRASH_SECTOR, max_sectors (geometry),
                                 n_backing / CRASH_SECTOR);
  count_clusters (work);
}

gboolean
crash_work_open (CrashWork *work)
{
  g_autoptr (ImgError) error = NULL;

  work->image =
    crash_image_open (work->geometry, work->carriers[0] != NULL ? work->carriers : work->disks, TRUE, &error);
  if (work->image == NULL && !work->may_fail)
    work_error (work, work->geometry->name, "cannot open for writing: %s", error->text);
  if (work->image != NULL)
    crash_work_follow_size (work);
  return work->image != NULL;
}

/* A change in place shows at once that the bit must go first. */
static void
set_bitmaps (CrashWork *work)
{
  crash_work_do (work, CRASH_OP_WRITE, 0, crash_model_get_size (work->model));
  crash_work_close (work);
  crash_image_set_bitmaps (crash_log_get_content (work->log, CRASH_DISK_IMAGE));
  crash_model_set_bitmaps (work->model);
  crash_log_start (work->log);
  crash_work_open (work);
}

void
crash_work_init (CrashWork *work, const CrashGeometry *geometry, guint64 seed)
{
  CrashPages *contents[CRASH_MAX_DISKS];

  *work = (CrashWork) { .geometry = geometry, .seed = seed, .log = crash_log_new (seed) };
  crash_geometry_format (geometry, contents);
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    work->disks[i] = crash_log_add_disk (work->log, i == 0 ? "image" : "data", contents[i]);
  init_model (work);
  crash_log_start (work->log);
  crash_work_open (work);
  if (geometry->has_bitmaps)
    set_bitmaps (work);
}

/* The base has what was moved into it, so it is closed too. */
static gboolean
close_images (CrashWork *work, ImgError **error)
{
  ImgImage *base = work->geometry->has_base ? img_image_get_backing (work->image) : NULL;
  gboolean success;

  if (base != NULL)
    img_image_ref (base);
  success = img_image_close (work->image, error);
  if (base != NULL && !img_image_close (base, success ? error : NULL))
    success = FALSE;
  img_image_unref (base);
  return success;
}

void
crash_work_clear (CrashWork *work)
{
  if (work->image != NULL)
    close_images (work, NULL);
  img_image_unref (work->image);
  for (guint i = 0; i < crash_geometry_n_disks (work->geometry); i++)
    img_storage_unref (work->disks[i]);
  crash_model_free (work->model);
  crash_log_free (work->log);
}

/* ---- single operations ---- */

/* The bytes of a write, in up to three pieces. */
static gboolean
do_write (CrashWork *work, guint64 value, guint64 first, guint64 n_sectors, ImgError **error)
{
  gsize length = n_sectors * CRASH_SECTOR;
  g_autofree guint8 *bytes = g_malloc (length);
  gsize third = length / 3;
  struct iovec iov[3] = {
    { bytes, third }, { bytes + third, third }, { bytes + 2 * third, length - 2 * third },
  };

  for (guint64 i = 0; i < n_sectors; i++)
    crash_pattern_fill (value, first + i, bytes + i * CRASH_SECTOR);
  if (value % 2 == 0)
    return img_image_writev (work->image, first * CRASH_SECTOR, iov, 3, NULL, error);
  return img_image_write (work->image, first * CRASH_SECTOR, bytes, length, NULL, error);
}

static gboolean
do_write_compressed (
  CrashWork *work, guint64 value, guint64 first, guint64 n_sectors, ImgError **error)
{
  g_autofree guint8 *bytes = g_malloc (n_sectors * CRASH_SECTOR);

  for (guint64 i = 0; i < n_sectors; i++)
    crash_pattern_fill (value, first + i, bytes + i * CRASH_SECTOR);
  return img_image_write_compressed (work->image, first * CRASH_SECTOR, bytes,
                                     n_sectors * CRASH_SECTOR, NULL, error);
}

CrashChangeKind
crash_work_get_kind (CrashWork *work, CrashOp op)
{
  switch (op)
    {
    case CRASH_OP_ZERO:
    case CRASH_OP_ZERO_UNMAP:
      return CRASH_CHANGE_ZERO;
    case CRASH_OP_DISCARD_ANY:
      return CRASH_CHANGE_DISCARD_ANY;
    case CRASH_OP_DISCARD_ZERO:
      return CRASH_CHANGE_DISCARD_ZERO;
    case CRASH_OP_DISCARD_BACKING:
      /* A snapshot shows through nowhere. */
      return work->geometry->snapshot_size > 0 ? CRASH_CHANGE_DISCARD_ZERO : CRASH_CHANGE_DISCARD_BACKING;
    default:
      return CRASH_CHANGE_WRITE;
    }
}

static gboolean
run_change (
  CrashWork *work, CrashOp op, guint64 value, guint64 first, guint64 n_sectors, ImgError **error)
{
  guint64 offset = first * CRASH_SECTOR, length = n_sectors * CRASH_SECTOR;

  switch (op)
    {
    case CRASH_OP_WRITE:
    case CRASH_OP_WRITE_PART:
      return do_write (work, value, first, n_sectors, error);
    case CRASH_OP_WRITE_COMPRESSED:
      return do_write_compressed (work, value, first, n_sectors, error);
    case CRASH_OP_ZERO:
      return img_image_write_zeroes (work->image, offset, length, IMG_ZERO_NONE, NULL, error);
    case CRASH_OP_ZERO_UNMAP:
      return img_image_write_zeroes (work->image, offset, length, IMG_ZERO_UNMAP, NULL, error);
    case CRASH_OP_DISCARD_ANY:
      return img_image_discard (work->image, offset, length, IMG_DISCARD_ANY, NULL, error);
    case CRASH_OP_DISCARD_ZERO:
      return img_image_discard (work->image, offset, length, IMG_DISCARD_ZERO, NULL, error);
    case CRASH_OP_DISCARD_BACKING:
      return img_image_discard (work->image, offset, length, IMG_DISCARD_BACKING, NULL, error);
    default:
      g_assert_not_reached ();
    }
}

static gboolean
do_change (CrashWork *work, CrashOp op, guint64 first, guint64 n_sectors, ImgError **error)
{
  guint64 change = crash_model_begin (work->model, crash_work_get_kind (work, op), first, n_sectors);
  gboolean success = run_change (work, op, change, first, n_sectors, error);

  crash_model_end (work->model, change, success);
  return success;
}

static gboolean
do_flush (CrashWork *work, ImgError **error)
{
  guint64 started = crash_model_begin_flush (work->model);
  gboolean success = img_image_flush (work->image, NULL, error);

  crash_model_end_flush (work->model, started, success);
  return success;
}

static ImgPreallocate
pick_preallocation (CrashWork *work)
{
  ImgPreallocate mode = (ImgPreallocate) (work->n_grown++ % (IMG_PREALLOCATE_FULL + 1));
  gboolean is_raw = g_str_equal (work->geometry->format, "raw");

  return is_raw && mode == IMG_PREALLOCATE_METADATA ? IMG_PREALLOCATE_FALLOC : mode;
}

static gboolean
do_resize (CrashWork *work, guint64 n_sectors, ImgError **error)
{
  gboolean shrinks = n_sectors < crash_model_get_size (work->model);
  ImgPreallocate mode = shrinks ? IMG_PREALLOCATE_OFF : pick_preallocation (work);
  guint64 change = crash_model_begin_resize (work->model, n_sectors);
  gboolean success =
    img_image_resize (work->image, n_sectors * CRASH_SECTOR, shrinks, mode, NULL, NULL, error);

  crash_model_end (work->model, change, success);
  if (shrinks && !success)
    crash_model_undo_shrink (work->model, img_image_get_size (work->image) / CRASH_SECTOR);
  crash_work_follow_size (work);
  return success;
}

guint64
crash_work_resize_target (CrashWork *work, CrashOp op)
{
  guint64 size = crash_model_get_size (work->model);
  guint64 cluster = sectors_per_cluster (work->geometry);
  guint64 cut = (1 + size % 3) * cluster;

  if (op == CRASH_OP_RESIZE)
    return size + cluster > max_sectors (work->geometry) ? size : size + cluster;
  /* Half of what a new disk has stays. */
  return size < work->geometry->size / CRASH_SECTOR / 2 + cut ? size : size - cut;
}

/* Nothing happens at the largest and at the smallest size. */
static gboolean
do_resize_by (CrashWork *work, CrashOp op, ImgError **error)
{
  guint64 target = crash_work_resize_target (work, op);

  return target == crash_model_get_size (work->model) || do_resize (work, target, error);
}

static gboolean
do_close (CrashWork *work, ImgError **error)
{
  guint64 started = crash_model_begin_flush (work->model);
  gboolean success = close_images (work, error);

  crash_model_end_flush (work->model, started, success);
  g_clear_pointer (&work->image, img_image_unref);
  return success;
}

static void
assert_one_closed_well (CrashWork *work, const CrashGeometry *geometry, guint disk)
{
  CrashPages *image = crash_log_get_content (work->log, disk);
  g_autofree char *problem = NULL;
  guint64 n_leaks;

  problem = crash_check_qcow2 (geometry, image, &n_leaks);
  if (problem != NULL)
    work_error (work, geometry->name, "after a close: %s", problem);
  if (n_leaks != geometry->n_leaked)
    work_error (work, geometry->name, "after a close %d clusters are leaked", (int) n_leaks);
  g_assert_false (crash_image_is_dirty (geometry, image));
}

void
crash_work_assert_closed_well (CrashWork *work)
{
  if (work->may_leak || work->may_fail || !g_str_equal (work->geometry->format, "qcow2"))
    return;
  assert_one_closed_well (work, work->geometry, CRASH_DISK_IMAGE);
  if (work->geometry->has_base)
    {
      CrashGeometry base = crash_geometry_base (work->geometry);

      assert_one_closed_well (work, &base, CRASH_DISK_BASE);
    }
}

gboolean
crash_work_close (CrashWork *work)
{
  g_autoptr (ImgError) error = NULL;

  if (do_close (work, &error))
    {
      crash_work_assert_closed_well (work);
      return TRUE;
    }
  if (!work->may_fail)
    work_error (work, work->geometry->name, "cannot close: %s", error->text);
  return FALSE;
}

static gboolean
do_read (CrashWork *work, guint64 first, guint64 n_sectors, ImgError **error)
{
  g_autofree guint8 *bytes = g_malloc (n_sectors * CRASH_SECTOR);
  CrashMoment moment = { crash_log_tick (work->log), CRASH_NEVER };
  g_autofree char *problem = NULL;

  if (!img_image_read (work->image, first * CRASH_SECTOR, bytes, n_sectors * CRASH_SECTOR, NULL,
                       error))
    return FALSE;
  problem = crash_model_check_bytes (work->model, moment, first, bytes, n_sectors);
  if (problem != NULL)
    work_error (work, work->geometry->name, "a read was wrong: %s", problem);
  return TRUE;
}

/* As a commit does it, piece by piece. What the disk shows stays what it is, whenever the power goes off. */
static gboolean
do_commit (CrashWork *work, guint64 first, guint64 n_sectors, ImgError **error)
{
  guint64 end = work->geometry->size / CRASH_SECTOR; /* of the base */
  guint64 offset = first * CRASH_SECTOR;
  gsize length = first < end ? MIN (n_sectors, end - first) * CRASH_SECTOR : 0;
  g_autofree guint8 *bytes = g_malloc (length + 1);
  ImgImage *base = img_image_get_backing (work->image);

  return length == 0 || (img_image_read (work->image, offset, bytes, length, NULL, error) &&
                         img_image_write (base, offset, bytes, length, NULL, error) &&
                         img_image_flush (base, NULL, error) &&
                         img_image_discard (work->image, offset, length, IMG_DISCARD_BACKING, NULL, error));
}

/* Whoever comes when the disk is smaller, or closed, is told so. */
static gboolean
may_be_refused (CrashWork *work, CrashOp op, const ImgError *error)
{
  return work->may_fail || op == CRASH_OP_WRITE_COMPRESSED ||
         (work->races && (img_error_matches (error, IMG_CODE_OUT_OF_RANGE) ||
                          img_error_matches (error, IMG_CODE_CLOSED)));
}

gboolean
crash_work_do (CrashWork *work, CrashOp op, guint64 first, guint64 n_sectors)
{
  g_autoptr (ImgError) error = NULL;
  gboolean success;

  switch (op)
    {
    case CRASH_OP_FLUSH:
      success = do_flush (work, &error);
      break;
    case CRASH_OP_RESIZE:
    case CRASH_OP_SHRINK:
      success = do_resize_by (work, op, &error);
      break;
    case CRASH_OP_REOPEN:
      success = do_close (work, &error);
      if (success)
        {
          crash_work_assert_closed_well (work);
          success = crash_work_open (work);
        }
      break;
    case CRASH_OP_READ:
      success = do_read (work, first, n_sectors, &error);
      break;
    case CRASH_OP_COMMIT:
      success = do_commit (work, first, n_sectors, &error);
      break;
    default:
      success = do_change (work, op, first, n_sectors, &error);
      break;
    }
  g_atomic_int_inc (success ? &work->n_done[op] : &work->n_failed[op]);
  if (!success && !may_be_refused (work, op, error))
    work_error (work, work->geometry->name, "%s at sector %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " sectors: %s",
                op_names[op], first, n_sectors, error != NULL ? error->text : "failed without an error");
  return success;
}

/* ---- random operations ---- */

static CrashOp
pick_op (CrashWork *work, CrashRandom *random, gboolean alone)
{
  static const CrashOp often[] = { CRASH_OP_WRITE,      CRASH_OP_WRITE,      CRASH_OP_WRITE_PART,
                                   CRASH_OP_WRITE_PART, CRASH_OP_WRITE_PART, CRASH_OP_READ,
                                   CRASH_OP_READ };
  static const CrashOp churn[] = { CRASH_OP_WRITE,        CRASH_OP_READ,  CRASH_OP_READ,
                                   CRASH_OP_DISCARD_ZERO, CRASH_OP_FLUSH, CRASH_OP_DISCARD_BACKING };
  CrashOp op;

  if (work->churns && !crash_random_one_in (random, 10))
    return churn[crash_random_below (random, G_N_ELEMENTS (churn))];
  if (crash_random_one_in (random, 2))
    return often[crash_random_below (random, G_N_ELEMENTS (often))];
  op = (CrashOp) crash_random_below (random, work->geometry->has_base ? CRASH_N_OPS : CRASH_OP_COMMIT);
  /* What a discard would bring up from the base is no value of the model. */
  if (work->geometry->has_base && op == CRASH_OP_DISCARD_BACKING)
    op = CRASH_OP_COMMIT;
  if (op == CRASH_OP_COMMIT && !alone)
    op = CRASH_OP_FLUSH;
  if (op == CRASH_OP_REOPEN && !alone)
    op = CRASH_OP_FLUSH;
  if ((op == CRASH_OP_RESIZE || op == CRASH_OP_SHRINK) && (!alone || work->keeps_size))
    op = CRASH_OP_FLUSH;
  if (op == CRASH_OP_REOPEN && !crash_random_one_in (random, 4))
    op = CRASH_OP_WRITE_PART;
  if (op == CRASH_OP_WRITE_COMPRESSED &&
      (work->geometry->has_data_file || !g_str_equal (work->geometry->format, "qcow2")))
    op = CRASH_OP_WRITE;
  return op;
}

static void
pick_clusters (CrashWork *work, CrashRandom *random, guint64 max, guint64 *first, guint64 *n)
{
  guint64 total = (guint64) g_atomic_int_get (&work->n_clusters);
  guint64 start = crash_random_below (random, total);
  guint64 count = 1 + crash_random_below (random, MIN (max, total - start));

  *first = start * sectors_per_cluster (work->geometry);
  *n = count * sectors_per_cluster (work->geometry);
}

/* Part of one cluster; at large clusters a small part, as every sector costs time. */
static void
pick_part (CrashWork *work, CrashRandom *random, guint64 *first, guint64 *n)
{
  guint64 per_cluster = sectors_per_cluster (work->geometry);
  guint64 skip = crash_random_below (random, per_cluster);

  pick_clusters (work, random, 1, first, n);
  *first += skip;
  *n = 1 + crash_random_below (random, MIN (per_cluster - skip, 32));
}

/* Begins and ends inside clusters. */
static void
pick_across (CrashWork *work, CrashRandom *random, guint64 *first, guint64 *n)
{
  guint64 per_cluster = sectors_per_cluster (work->geometry);
  guint64 head = crash_random_below (random, per_cluster);
  guint64 tail = crash_random_below (random, per_cluster);

  pick_clusters (work, random, 3, first, n);
  if (head + tail >= *n)
    return;
  *first += head;
  *n -= head + tail;
}

static void
clip (CrashWork *work, guint64 *first, guint64 *n)
{
  guint64 total = crash_model_get_size (work->model);

  *first = MIN (*first, total - 1);
  *n = MIN (*n, total - *first);
}

static gboolean
needs_clusters (CrashOp op)
{
  return op == CRASH_OP_DISCARD_BACKING || op == CRASH_OP_WRITE_COMPRESSED || op == CRASH_OP_COMMIT;
}

/* Where the disk ends may be another place by now, and not that of a whole cluster. */
static void
clip_to_clusters (CrashWork *work, guint64 *first, guint64 *n)
{
  guint64 per_cluster = sectors_per_cluster (work->geometry);

  *n += *first % per_cluster;
  *first -= *first % per_cluster;
  *n -= *n % per_cluster;
}

static void
pick_range (CrashWork *work, CrashRandom *random, CrashOp op, guint64 *first, guint64 *n)
{
  gboolean big = sectors_per_cluster (work->geometry) > 128;

  if (needs_clusters (op))
    pick_clusters (work, random, 2, first, n);
  else if (op == CRASH_OP_WRITE_PART || (big && !crash_random_one_in (random, 4)))
    pick_part (work, random, first, n);
  else if (work->churns || crash_random_one_in (random, 2))
    pick_clusters (work, random, 3, first, n);
  else
    pick_across (work, random, first, n);
  clip (work, first, n);
  if (work->races && needs_clusters (op))
    clip_to_clusters (work, first, n);
}

CrashOp
crash_work_pick (CrashWork *work, CrashRandom *random, gboolean alone, guint64 *first, guint64 *n_sectors)
{
  CrashOp op = pick_op (work, random, alone);

  pick_range (work, random, op, first, n_sectors);
  return op;
}

gboolean
crash_work_step (CrashWork *work, CrashRandom *random, gboolean alone)
{
  guint64 first, n_sectors;
  CrashOp op = crash_work_pick (work, random, alone, &first, &n_sectors);

  return crash_work_do (work, op, first, n_sectors);
}

void
crash_work_steps (CrashWork *work, CrashRandom *random, guint n_steps)
{
  for (guint i = 0; i < n_steps && work->image != NULL; i++)
    crash_work_step (work, random, TRUE);
}

/* ---- at once ---- */

typedef struct
{
  CrashWork *work;
  CrashRandom random;
  guint n_steps;
} Worker;

static void
worker_thread (gpointer data)
{
  Worker *worker = data;

  for (guint i = 0; i < worker->n_steps; i++)
    crash_work_step (worker->work, &worker->random, FALSE);
}

guint64
crash_work_at_once (CrashWork *work, guint n_threads, guint n_steps, guint64 seed)
{
  g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (seed);
  g_autofree Worker *workers = g_new (Worker, n_threads);

  crash_log_add_device (work->log, scheduler);
  for (guint i = 0; i < n_threads; i++)
    {
      g_autofree char *name = g_strdup_printf ("worker %u", i);

      workers[i] = (Worker) { work, crash_random (seed * 64 + i + 1), n_steps };
      crash_scheduler_add (scheduler, name, worker_thread, &workers[i], FALSE);
    }
  crash_scheduler_run (scheduler);
  return crash_scheduler_trace (scheduler);
}

/* ---- races ---- */

static void
sizer_thread (gpointer data)
{
  Worker *worker = data;

  for (guint i = 0; i < worker->n_steps; i++)
    {
      crash_work_do (worker->work, crash_random_one_in (&worker->random, 2) ? CRASH_OP_SHRINK : CRASH_OP_RESIZE, 0,
                     0);
      crash_scheduler_pause ();
    }
}

static gint
count_done (CrashWork *work)
{
  gint n = 0;

  for (guint op = 0; op < CRASH_N_OPS; op++)
    n += g_atomic_int_get (&work->n_done[op]) + g_atomic_int_get (&work->n_failed[op]);
  return n;
}

/* Some time in the midst of it. What was complete before is durable, as after a flush. */
static void
closer_thread (gpointer data)
{
  Worker *worker = data;
  CrashWork *work = worker->work;
  g_autoptr (ImgError) error = NULL;
  gint until = count_done (work) + 1 + (gint) crash_random_below (&worker->random, worker->n_steps * 3);
  guint64 started;

  while (count_done (work) < until)
    crash_scheduler_pause ();
  started = crash_model_begin_flush (work->model);
  if (!close_images (work, &error))
    work_error (work, work->geometry->name, "cannot close: %s", error->text);
  crash_model_end_flush (work->model, started, TRUE);
}

void
crash_work_race (CrashWork *work, guint n_threads, guint n_steps, guint64 seed)
{
  g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (seed);
  g_autofree Worker *workers = g_new (Worker, n_threads);

  g_assert (n_threads > 3); /* so many steps that the image is closed before all are done */
  work->races = TRUE;
  crash_log_add_device (work->log, scheduler);
  for (guint i = 0; i < n_threads; i++)
    {
      g_autofree char *name = g_strdup_printf ("racer %u", i);
      CrashThreadFunc func = i == 0 ? closer_thread : i == 1 ? sizer_thread : worker_thread;

      workers[i] = (Worker) { work, crash_random (seed * 64 + i + 1), n_steps };
      crash_scheduler_add (scheduler, name, func, &workers[i], FALSE);
    }
  crash_scheduler_run (scheduler);
  work->races = FALSE;
  g_clear_pointer (&work->image, img_image_unref);
  crash_work_assert_closed_well (work);
  crash_work_open (work);
}

/* ---- the verdict ---- */

/* Two readings of the metadata, the library's and the tests' own, must come to one verdict. */
static char *
compare_checks (const CrashGeometry *geometry, CrashPages *image, guint64 *n_leaks)
{
  g_autoptr (ImgStorage) storage = crash_pages_storage_new (image, "image", FALSE);
  g_auto (ImgCheckResult) result = { 0 };
  g_autoptr (ImgError) error = NULL;
  char *problem = crash_check_qcow2 (geometry, image, n_leaks);

  img_check_result_init (&result);
  if (!img_qcow2_check (storage, &result, NULL, NULL, &error))
    return problem != NULL ? problem : g_strdup_printf ("cannot be checked: %s", error->text);
  if (problem != NULL)
    {
      if (result.corruptions + result.check_errors == 0)
        g_error ("%s: the check finds nothing where %s", geometry->name, problem);
      return problem;
    }
  if (result.corruptions + result.check_errors > 0)
    {
      const ImgCheckMessage *first = result.messages->pdata[0];

      return g_strdup_printf ("the check finds damage at %" G_GINT64_MODIFIER "x: %s",
                              first->host_offset, first->text);
    }
  if (result.leaks != *n_leaks)
    return g_strdup_printf ("the check finds %" G_GUINT64_FORMAT " leaks where there are %"
                            G_GUINT64_FORMAT, result.leaks, *n_leaks);
  return NULL;
}

/* The refcounts of a dirty image may be anything. */
static char *
check_one (const CrashGeometry *geometry, CrashPages *image, gboolean *leaks)
{
  guint64 n_leaks = 0;
  char *problem = NULL;

  if (g_str_equal (geometry->format, "qcow2") && !crash_image_is_dirty (geometry, image))
    problem = compare_checks (geometry, image, &n_leaks);
  *leaks |= n_leaks > geometry->n_leaked;
  return problem;
}

char *
crash_check_metadata (const CrashGeometry *geometry, CrashPages *const *disks, gboolean *leaks)
{
  char *problem;

  *leaks = FALSE;
  problem = check_one (geometry, disks[CRASH_DISK_IMAGE], leaks);
  if (problem == NULL && geometry->has_base)
    {
      CrashGeometry base = crash_geometry_base (geometry);

      problem = check_one (&base, disks[CRASH_DISK_BASE], leaks);
    }
  return problem;
}

/* Whatever is done to the disk, the snapshot is what it was. */
static char *
check_snapshot (const CrashGeometry *geometry, CrashPages *const *disks)
{
  guint64 n_sectors = geometry->size / CRASH_SECTOR;
  g_autofree guint8 *bytes = g_malloc (geometry->size);
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgImage) image = crash_image_open_snapshot (geometry, disks, &error);

  if (image == NULL || !img_image_read (image, 0, bytes, geometry->size, NULL, &error))
    return g_strdup_printf ("the snapshot cannot be read: %s", error->text);
  for (guint64 i = 0; i < n_sectors; i++)
    {
      guint8 expected[CRASH_SECTOR];
      gboolean has_data = i < geometry->snapshot_size / CRASH_SECTOR;

      crash_pattern_fill (has_data ? CRASH_VALUE_BACKING : CRASH_VALUE_ZERO, i, expected);
      if (memcmp (bytes + i * CRASH_SECTOR, expected, CRASH_SECTOR) != 0)
        return g_strdup_printf ("sector %" G_GUINT64_FORMAT " of the snapshot has changed", i);
    }
  return NULL;
}

/* As long as a bitmap counts as valid nothing has changed since it was. */
static char *
check_bitmaps (const CrashGeometry *geometry,
               CrashPages *const *disks,
               CrashModel *model,
               ImgImage *image)
{
  g_autofree char *difference = NULL;

  if (!crash_image_has_bitmaps (geometry, disks[CRASH_DISK_IMAGE]))
    return NULL;
  difference = crash_model_check_image (model, crash_model_at_bitmaps (model), image);
  return difference != NULL ? g_strdup_printf ("a stale bitmap counts as valid: %s", difference) : NULL;
}

static char *
error_to_problem (const char *what, ImgError *error)
{
  char *problem = g_strdup_printf ("%s: %s", what, error->text);

  img_error_free (error);
  return problem;
}

char *
crash_check_content (const CrashGeometry *geometry,
                     CrashPages *const *disks,
                     CrashModel *model,
                     CrashMoment moment)
{
  ImgError *error = NULL;
  g_autoptr (ImgImage) image = crash_image_open_pages (geometry, disks, FALSE, &error);
  char *problem;

  if (image == NULL)
    return error_to_problem ("cannot be opened", error);
  problem = crash_model_check_image (model, moment, image);
  if (problem == NULL && geometry->snapshot_size > 0)
    problem = check_snapshot (geometry, disks);
  return problem != NULL ? problem : check_bitmaps (geometry, disks, model, image);
}

char *
crash_check_disks (const CrashGeometry *geometry,
                   CrashPages *const *disks,
                   CrashModel *model,
                   CrashMoment moment,
                   gboolean *leaks)
{
  gboolean ignored;
  char *problem = crash_check_metadata (geometry, disks, leaks != NULL ? leaks : &ignored);

  return problem != NULL ? problem : crash_check_content (geometry, disks, model, moment);
}

char *
crash_work_check (CrashWork *work)
{
  CrashMoment moment = { crash_log_now (work->log), CRASH_NEVER };

  return crash_model_check_image (work->model, moment, work->image);
}

typedef struct
{
  CrashWork *work;
  CrashVerdict *verdict;
} Judge;

#define N_REWRITES 20

/* On large disks that costs more. */
static gboolean
must_rewrite (const CrashGeometry *geometry, const CrashVerdict *verdict)
{
  guint64 every = verdict->rewrite_every * (1 + max_sectors (geometry) / 8192);

  return every > 0 && verdict->n_states % every == 0;
}

/* Whoever finds the disks after the crash works on. What is there now is what it starts from. */
char *
crash_rewrite_disks (const CrashGeometry *geometry,
                     CrashPages *const *disks,
                     guint64 seed,
                     guint n_steps)
{
  CrashRandom random = crash_random (seed);
  CrashMoment end = { CRASH_NEVER, CRASH_NEVER };
  CrashWork later = { .geometry = geometry, .log = crash_log_new (seed), .may_leak = TRUE };
  char *problem;

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    later.disks[i] = crash_pages_storage_new (disks[i], i == 0 ? "image" : "data", TRUE);
  init_model (&later);
  crash_work_open (&later);
  problem = crash_model_start_from (later.model, later.image);
  count_clusters (&later);
  if (problem == NULL)
    {
      crash_work_steps (&later, &random, n_steps);
      crash_work_do (&later, CRASH_OP_REOPEN, 0, 0);
      problem = crash_check_disks (geometry, disks, later.model, end, NULL);
    }
  crash_work_clear (&later);
  return problem;
}

static char *
judge_state (Judge *judge, const CrashState *state)
{
  const CrashGeometry *geometry = judge->work->geometry;
  CrashVerdict *verdict = judge->verdict;
  CrashMoment moment = crash_model_at_crash (judge->work->model, state->time);
  gboolean leaks = FALSE;
  char *problem = crash_check_disks (geometry, state->disks, judge->work->model, moment, &leaks);

  verdict->n_leaking += leaks;
  if (problem == NULL && verdict->visit != NULL)
    verdict->visit (state, geometry, verdict->data);
  if (problem == NULL && must_rewrite (geometry, verdict))
    {
      verdict->n_rewritten++;
      problem = crash_rewrite_disks (geometry, state->disks, verdict->seed + verdict->n_states,
                                     N_REWRITES);
    }
  return problem;
}

static gboolean
judge_state_cb (const CrashState *state, gpointer data)
{
  Judge *judge = data;
  CrashVerdict *verdict = judge->verdict;
  char *problem = judge_state (judge, state);

  verdict->n_states++;
  if (problem == NULL)
    return TRUE;
  verdict->n_wrong++;
  if (verdict->problem != NULL)
    g_free (problem);
  else
    {
      verdict->problem = problem;
      if (!verdict->stop_at_problem)
        crash_state_print (state);
    }
  return !verdict->stop_at_problem;
}

void
crash_work_judge (CrashWork *work, CrashVerdict *verdict)
{
  CrashStatesOptions options = { verdict->seed, verdict->n_random, verdict->max_states };
  Judge judge = { work, verdict };

  crash_states_run (work->log, &options, judge_state_cb, &judge);
}

void
crash_verdict_assert (CrashVerdict *verdict, const char *format, ...)
{
  g_autofree char *context = NULL;
  va_list arguments;

  va_start (arguments, format);
  context = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  if (verdict->n_wrong > 0)
    g_error ("%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " states are wrong; the first: %s",
             context, verdict->n_wrong, verdict->n_states, verdict->problem);
}

void
crash_verdict_add (CrashVerdict *sum, const CrashVerdict *verdict)
{
  sum->n_states += verdict->n_states;
  sum->n_leaking += verdict->n_leaking;
  sum->n_rewritten += verdict->n_rewritten;
  sum->n_wrong += verdict->n_wrong;
}

void
crash_verdict_clear (CrashVerdict *verdict)
{
  g_clear_pointer (&verdict->problem, g_free);
}
