/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A hundred thousand requests of every kind, on several images at once, cancelled at random moments from two threads:
 * each is answered exactly once, and the disks hold what the model says. The order of starts and what is started
 * follows from one seed.
 *
 *   test-stress [SEED [REQUESTS]]
 */

#include "config.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "stress-model.h"
#include "test-carrier.h"
#include "test-images.h"
#include "tests/crash/crash-random.h"

#include "imago-glib/imago-glib.h"

#define DEPTH 48
#define CLUSTER_SECTORS (65536 / STRESS_SECTOR)

static guint64 seed = 1;
static guint n_wanted = 100000;

typedef enum
{
  OP_READ,
  OP_WRITE,
  OP_ZERO,
  OP_DISCARD_ANY,
  OP_DISCARD_ZERO,
  OP_DISCARD_BACKING,
  OP_MAP,
  OP_FLUSH,
  OP_RESIZE,
  OP_CLOSE,
  OP_OPEN,
  OP_OPEN_BASE,
  OP_INFO,
  N_OPS,
} Op;

static const char *const op_names[N_OPS] = {
  "read", "write", "zero", "discard", "discard to zero", "discard to backing", "map", "flush", "resize", "close",
  "open", "open and drop", "info",
};

/* Of a thousand; OPEN follows CLOSE. */
static const guint weights[N_OPS] = { 340, 340, 50, 20, 40, 20, 60, 10, 15, 5, 0, 50, 50 };

typedef enum
{
  IN_FILE,
  IN_STREAM, /* each time it is opened, in a stream of its own */
  IN_HOOK,   /* always in the same storage of the application */
} Where;

typedef struct
{
  const char *name;
  const char *format;
  guint64 cluster_size;
  guint64 n_sectors;  /* at first, and the fewest */
  guint64 max_sectors;
  guint64 n_backing;  /* sectors of the image below; 0: none */
  Where where;
} DiskType;

static const DiskType disk_types[] = {
  { "plain.raw", "raw", 0, 4096, 8192, 0, IN_FILE },
  { "large.qcow2", "qcow2", 65536, 16384, 24576, 0, IN_FILE },
  { "small.qcow2", "qcow2", 4096, 4096, 8192, 0, IN_FILE },
  { "streamed.qcow2", "qcow2", 65536, 4096, 8192, 0, IN_STREAM },
  { "carried.qcow2", "qcow2", 65536, 4096, 8192, 0, IN_HOOK },
  { "overlay.qcow2", "qcow2", 65536, 8192, 12288, 4096, IN_FILE },
};

#define N_DISKS G_N_ELEMENTS (disk_types)

typedef struct _Stress Stress;
typedef struct _Request Request;

typedef struct
{
  const DiskType *type;
  GFile *file;
  ImagoStorage *carrier; /* for IN_HOOK */
  ImagoImage *image;   /* NULL while it is opened */
  StressModel *model;
  guint64 n_sectors;   /* that can be used now */
  gboolean is_closing;
  gboolean is_resizing;
  Request *left_resize; /* of which nobody knows yet what it has come to */
} Disk;

struct _Request
{
  Stress *stress;
  Disk *disk;           /* NULL: the base */
  ImagoImage *image;    /* what it was started on; keeps no reference: that is part of the test */
  Op op;
  guint64 first;
  guint64 n;
  guint32 value;
  gboolean is_watched;  /* the model was told of it */
  GCancellable *cancellable;
  guint n_calls;
};

/* Cancels what it is given. */
typedef struct
{
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  GSList *cancellables;
  gboolean is_over;
} Canceller;

struct _Stress
{
  CrashRandom random;
  char *folder;
  GFile *base;
  Disk disks[N_DISKS];
  Request *requests;
  guint n_started;
  guint n_in_flight;
  guint32 next_value;
  Canceller canceller;
  guint n_done[N_OPS];
  guint n_cancelled[N_OPS];
  guint n_failed[N_OPS];
};

static void start_open (Disk *disk, Stress *stress);
static void start_close (Stress *stress, Disk *disk);

static guint64
below (Stress *stress, guint64 n)
{
  return crash_random_below (&stress->random, n);
}

/* ---- the thread that cancels ---- */

static void *
canceller_thread (void *data)
{
  Canceller *canceller = data;

  pthread_mutex_lock (&canceller->mutex);
  while (!canceller->is_over || canceller->cancellables != NULL)
    {
      GSList *taken = g_steal_pointer (&canceller->cancellables);

      if (taken == NULL)
        {
          pthread_cond_wait (&canceller->cond, &canceller->mutex);
          continue;
        }
      pthread_mutex_unlock (&canceller->mutex);
      for (GSList *l = taken; l != NULL; l = l->next)
        g_cancellable_cancel (l->data);
      g_slist_free_full (taken, g_object_unref);
      pthread_mutex_lock (&canceller->mutex);
    }
  pthread_mutex_unlock (&canceller->mutex);
  return NULL;
}

static void
canceller_init (Canceller *canceller)
{
  pthread_mutex_init (&canceller->mutex, NULL);
  pthread_cond_init (&canceller->cond, NULL);
  pthread_create (&canceller->thread, NULL, canceller_thread, canceller);
}

static void
canceller_push (Canceller *canceller, GCancellable *cancellable)
{
  pthread_mutex_lock (&canceller->mutex);
  canceller->cancellables = g_slist_prepend (canceller->cancellables, g_object_ref (cancellable));
  pthread_cond_signal (&canceller->cond);
  pthread_mutex_unlock (&canceller->mutex);
}

static void
canceller_clear (Canceller *canceller)
{
  pthread_mutex_lock (&canceller->mutex);
  canceller->is_over = TRUE;
  pthread_cond_signal (&canceller->cond);
  pthread_mutex_unlock (&canceller->mutex);
  pthread_join (canceller->thread, NULL);
  pthread_mutex_destroy (&canceller->mutex);
  pthread_cond_destroy (&canceller->cond);
}

/* ---- answers ---- */

static gboolean
finish_read (Request *request, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (request->image, result, error);

  if (bytes != NULL)
    g_assert_cmpuint (g_bytes_get_size (bytes), ==, request->n * STRESS_SECTOR);
  if (request->is_watched)
    stress_model_end_read (request->disk->model, request->first, request->n,
                           bytes != NULL ? g_bytes_get_data (bytes, NULL) : NULL);
  return bytes != NULL;
}

static gboolean
finish_map (Request *request, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoExtent) extent = imago_image_map_finish (request->image, result, error);

  if (extent == NULL)
    return FALSE;
  g_assert_cmpuint (imago_extent_get_offset (extent), ==, request->first * STRESS_SECTOR);
  g_assert_cmpuint (imago_extent_get_length (extent), <=, request->n * STRESS_SECTOR);
  return TRUE;
}

static gboolean
finish_info (Request *request, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info_finish (request->image, result, error);

  if (info == NULL)
    return FALSE;
  g_assert_cmpstr (imago_image_info_get_format_name (info), ==, request->disk->type->format);
  return TRUE;
}

/* What cannot be changed while the size is. */
static guint64
resized_range (Request *request, guint64 *first)
{
  *first = MIN (request->disk->n_sectors, request->n);
  return MAX (request->first, request->n) - *first;
}

/* Cancelled where a storage may never answer, it may go on. */
static gboolean
is_left_behind (const Request *request, const GError *error)
{
  return request->disk->type->where != IN_FILE && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
settle_resize (Request *request, gboolean success)
{
  Disk *disk = request->disk;
  guint64 n_sectors = imago_image_get_size (request->image) / STRESS_SECTOR;
  guint64 first, n = resized_range (request, &first);

  if (success)
    g_assert_cmpuint (n_sectors, ==, request->n);
  else
    g_assert_true (n_sectors == request->n || n_sectors == request->first);
  stress_model_end_change (disk->model, first, n, STRESS_ZERO,
                           success || n_sectors != request->first);
  disk->n_sectors = n_sectors;
  disk->is_resizing = FALSE;
}

/* What it has come to is known when the image is closed, if not now. */
static gboolean
finish_resize (Request *request, GAsyncResult *result, GError **error)
{
  gboolean success = imago_image_resize_finish (request->image, result, error);

  if (!success && is_left_behind (request, *error))
    request->disk->left_resize = request;
  else
    settle_resize (request, success);
  return success;
}

static gboolean
finish_close (Request *request, GAsyncResult *result, GError **error)
{
  Disk *disk = request->disk;
  gboolean success = imago_image_close_finish (request->image, result, error);

  if (!success && is_left_behind (request, *error))
    {
      start_close (request->stress, disk); /* to hear the end of it */
      return FALSE;
    }
  if (!success)
    {
      disk->is_closing = FALSE;
      return FALSE;
    }
  if (disk->left_resize != NULL)
    settle_resize (g_steal_pointer (&disk->left_resize), FALSE);
  stress_model_settle (disk->model);
  g_assert_false (disk->is_resizing);
  g_clear_object (&disk->image);
  start_open (disk, request->stress);
  return TRUE;
}

static gboolean
finish_open (Request *request, GAsyncResult *result, GError **error)
{
  Disk *disk = request->disk;
  g_autoptr (ImagoImage) image = disk->type->where == IN_FILE ? imago_image_open_finish (result, error)
                                                              : imago_image_open_storage_finish (result, error);

  if (image == NULL)
    {
      start_open (disk, request->stress);
      return FALSE;
    }
  g_assert_cmpuint (imago_image_get_size (image), ==, disk->n_sectors * STRESS_SECTOR);
  disk->image = g_steal_pointer (&image);
  disk->is_closing = FALSE;
  return TRUE;
}

static gboolean
finish_open_base (Request *request, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_finish (result, error);

  return image != NULL;
}

static gboolean
finish_change (Request *request, GAsyncResult *result, GError **error)
{
  gboolean success;

  switch (request->op)
    {
    case OP_WRITE:
      success = imago_image_write_bytes_finish (request->image, result, error);
      break;
    case OP_ZERO:
      success = imago_image_write_zeroes_finish (request->image, result, error);
      break;
    default:
      success = imago_image_discard_finish (request->image, result, error);
      break;
    }
  if (!success && is_left_behind (request, *error))
    stress_model_leave_change (request->disk->model, request->first, request->n, request->value);
  else
    stress_model_end_change (request->disk->model, request->first, request->n, request->value,
                             success && request->op != OP_DISCARD_ANY);
  return success;
}

static gboolean
finish (Request *request, GAsyncResult *result, GError **error)
{
  switch (request->op)
    {
    case OP_READ:
      return finish_read (request, result, error);
    case OP_MAP:
      return finish_map (request, result, error);
    case OP_INFO:
      return finish_info (request, result, error);
    case OP_FLUSH:
      return imago_image_flush_finish (request->image, result, error);
    case OP_RESIZE:
      return finish_resize (request, result, error);
    case OP_CLOSE:
      return finish_close (request, result, error);
    case OP_OPEN:
      return finish_open (request, result, error);
    case OP_OPEN_BASE:
      return finish_open_base (request, result, error);
    default:
      return finish_change (request, result, error);
    }
}

/* A request may come too late for an image that is being closed, or for the end of one that has shrunk if it claimed
 * nothing. One that opens it may find that an earlier one, which was cancelled, has not let go of it yet. */
static gboolean
is_expected (Request *request, const GError *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return request->cancellable != NULL && g_cancellable_is_cancelled (request->cancellable);
  if (request->op == OP_MAP || (request->op == OP_READ && !request->is_watched))
    if (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE))
      return TRUE;
  if (request->op == OP_OPEN)
    return g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED);
  return g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

static void
answered_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  Request *request = data;
  Stress *stress = request->stress;

  if (request->n_calls++ > 0)
    g_error ("request %u, a %s, is answered again", (guint) (request - stress->requests),
             op_names[request->op]);
  stress->n_in_flight--;
  if (finish (request, result, &error))
    stress->n_done[request->op]++;
  else if (!is_expected (request, error))
    g_error ("seed %" G_GUINT64_FORMAT ", request %u, a %s on %s: %s", seed,
             (guint) (request - stress->requests), op_names[request->op],
             request->disk != NULL ? request->disk->type->name : "the base", error->message);
  else if (error->domain == G_IO_ERROR)
    stress->n_cancelled[request->op]++;
  else
    stress->n_failed[request->op]++;
  g_clear_object (&request->cancellable);
}

/* ---- starts ---- */

/* One in ten is cancelled before, some are later. */
static Request *
request_new (Stress *stress, Disk *disk, Op op)
{
  Request *request = &stress->requests[stress->n_started++];

  *request = (Request) { .stress = stress, .disk = disk, .op = op };
  request->image = disk != NULL ? disk->image : NULL;
  if (below (stress, 3) == 0)
    request->cancellable = g_cancellable_new ();
  if (request->cancellable != NULL && below (stress, 8) == 0)
    g_cancellable_cancel (request->cancellable);
  else if (request->cancellable != NULL && below (stress, 4) == 0)
    canceller_push (&stress->canceller, request->cancellable);
  stress->n_in_flight++;
  return request;
}

static ImagoOpenOptions *
options_new (const DiskType *type)
{
  ImagoOpenOptions *options = imago_open_options_new ();
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();

  imago_open_options_set_format_name (options, type != NULL ? type->format : "raw");
  imago_open_options_set_writable (options, type != NULL);
  imago_open_options_set_reference_policy (options, policy);
  return options;
}

static int
pick_priority (Stress *stress)
{
  return (int) below (stress, 3) * 100 - 100;
}

static ImagoStorage *
make_storage (Disk *disk)
{
  g_autoptr (GFileIOStream) io = NULL;
  g_autoptr (GError) error = NULL;

  if (disk->carrier != NULL)
    return g_object_ref (disk->carrier);
  io = g_file_open_readwrite (disk->file, NULL, &error);
  g_assert_no_error (error);
  return imago_stream_storage_new_for_io (G_IO_STREAM (io));
}

/* Always goes on, even after the last: a disk that was closed is needed for the verdict. */
static void
start_open (Disk *disk, Stress *stress)
{
  g_autoptr (ImagoOpenOptions) options = options_new (disk->type);
  Request *request = request_new (stress, disk, OP_OPEN);
  int io_priority = pick_priority (stress);
  g_autoptr (ImagoStorage) storage = NULL;

  if (disk->type->where == IN_FILE)
    {
      imago_image_open_async (disk->file, options, io_priority, request->cancellable, answered_cb, request);
      return;
    }
  storage = make_storage (disk);
  imago_image_open_storage_async (storage, options, io_priority, request->cancellable, answered_cb, request);
}

static void
start_open_base (Stress *stress)
{
  g_autoptr (ImagoOpenOptions) options = options_new (NULL);
  Request *request = request_new (stress, NULL, OP_OPEN_BASE);

  imago_image_open_async (stress->base, options, pick_priority (stress), request->cancellable, answered_cb,
                          request);
}

static void
start_close (Stress *stress, Disk *disk)
{
  Request *request = request_new (stress, disk, OP_CLOSE);

  disk->is_closing = TRUE;
  imago_image_close_async (disk->image, pick_priority (stress), request->cancellable, answered_cb, request);
}

static gboolean
start_resize (Stress *stress, Disk *disk)
{
  guint64 target = disk->type->n_sectors +
                   below (stress, (disk->type->max_sectors - disk->type->n_sectors) / 8 + 1) * 8;
  guint64 first = MIN (target, disk->n_sectors), n = MAX (target, disk->n_sectors) - first;
  Request *request;

  if (!stress_model_begin_change (disk->model, first, n))
    return FALSE;
  request = request_new (stress, disk, OP_RESIZE);
  request->first = disk->n_sectors;
  request->n = target;
  disk->n_sectors = first;
  disk->is_resizing = TRUE;
  imago_image_resize_async (disk->image, target * STRESS_SECTOR, IMAGO_RESIZE_MAY_SHRINK,
                            IMAGO_PREALLOCATION_NONE, pick_priority (stress), request->cancellable, answered_cb,
                            request);
  return TRUE;
}

static void
pick_range (Stress *stress, Disk *disk, Op op, guint64 *first, guint64 *n)
{
  guint64 most = below (stress, 16) == 0 ? 3 * CLUSTER_SECTORS : 16;

  if (op == OP_DISCARD_BACKING || below (stress, 16) == 0)
    {
      *first = below (stress, disk->n_sectors / CLUSTER_SECTORS) * CLUSTER_SECTORS;
      *n = CLUSTER_SECTORS;
      return;
    }
  *first = below (stress, disk->n_sectors);
  *n = 1 + below (stress, MIN (most, disk->n_sectors - *first));
}

static void
start_write (Request *request, int io_priority)
{
  guint8 *data = g_malloc (request->n * STRESS_SECTOR);
  g_autoptr (GBytes) bytes = g_bytes_new_take (data, request->n * STRESS_SECTOR);

  stress_pattern_fill (request->value, request->first, request->n, data);
  imago_image_write_bytes_async (request->image, request->first * STRESS_SECTOR, bytes, io_priority,
                                 request->cancellable, answered_cb, request);
}

static void
start_discard (Request *request, ImagoDiscardMode mode, int io_priority)
{
  imago_image_discard_async (request->image, request->first * STRESS_SECTOR, request->n * STRESS_SECTOR, mode,
                             io_priority, request->cancellable, answered_cb, request);
}

static void
submit_change (Request *request, int io_priority)
{
  switch (request->op)
    {
    case OP_WRITE:
      request->value = request->stress->next_value++;
      start_write (request, io_priority);
      break;
    case OP_ZERO:
      imago_image_write_zeroes_async (request->image, request->first * STRESS_SECTOR, request->n * STRESS_SECTOR,
                                      request->first % 2 == 0 ? IMAGO_ZERO_UNMAP : IMAGO_ZERO_NONE, io_priority,
                                      request->cancellable, answered_cb, request);
      break;
    case OP_DISCARD_ANY:
      start_discard (request, IMAGO_DISCARD_ANY, io_priority);
      break;
    case OP_DISCARD_ZERO:
      start_discard (request, IMAGO_DISCARD_ZERO, io_priority);
      break;
    case OP_DISCARD_BACKING:
      request->value = STRESS_BACKING;
      start_discard (request, IMAGO_DISCARD_BACKING, io_priority);
      break;
    default:
      g_assert_not_reached ();
    }
}

static gboolean
start_change (Stress *stress, Disk *disk, Op op)
{
  guint64 first, n;
  Request *request;

  if (op == OP_DISCARD_BACKING && g_str_equal (disk->type->format, "raw"))
    op = OP_DISCARD_ANY;
  pick_range (stress, disk, op, &first, &n);
  if (!stress_model_begin_change (disk->model, first, n))
    return FALSE;
  request = request_new (stress, disk, op);
  request->first = first;
  request->n = n;
  request->value = STRESS_ZERO;
  submit_change (request, pick_priority (stress));
  return TRUE;
}

static void
start_look (Stress *stress, Disk *disk, Op op)
{
  Request *request = request_new (stress, disk, op);
  int io_priority = pick_priority (stress);

  pick_range (stress, disk, op, &request->first, &request->n);
  if (op == OP_MAP)
    imago_image_map_async (disk->image, request->first * STRESS_SECTOR, request->n * STRESS_SECTOR,
                           request->n % 2 == 0 ? IMAGO_MAP_HOST_HOLES : IMAGO_MAP_NONE, io_priority,
                           request->cancellable, answered_cb, request);
  else if (op == OP_INFO)
    imago_image_query_info_async (disk->image, io_priority, request->cancellable, answered_cb, request);
  else if (op == OP_FLUSH)
    imago_image_flush_async (disk->image, io_priority, request->cancellable, answered_cb, request);
  else
    {
      request->is_watched = stress_model_begin_read (disk->model, request->first, request->n);
      imago_image_read_bytes_async (disk->image, request->first * STRESS_SECTOR, request->n * STRESS_SECTOR,
                                    io_priority, request->cancellable, answered_cb, request);
    }
}

static Op
pick_op (Stress *stress)
{
  guint number = (guint) below (stress, 1000);
  guint op = 0;

  while (number >= weights[op])
    number -= weights[op++];
  return (Op) op;
}

static void
start_on (Stress *stress, Disk *disk, Op op)
{
  gboolean can_end = !disk->is_closing && !disk->is_resizing;
  gboolean started = FALSE;

  if (op == OP_CLOSE && (can_end || (!disk->is_closing && disk->left_resize != NULL)))
    {
      start_close (stress, disk);
      return;
    }
  if (op == OP_RESIZE && can_end)
    started = start_resize (stress, disk);
  else if (op >= OP_WRITE && op <= OP_DISCARD_BACKING)
    started = start_change (stress, disk, op);
  if (!started)
    start_look (stress, disk, op == OP_MAP || op == OP_INFO || op == OP_FLUSH ? op : OP_READ);
}

/* Seldom one that is being closed: what is started there fails. */
static Disk *
pick_disk (Stress *stress)
{
  Disk *disk = NULL;

  for (guint i = 0; i < 4; i++)
    {
      disk = &stress->disks[below (stress, N_DISKS)];
      if (!disk->is_closing || below (stress, 8) == 0)
        break;
    }
  return disk;
}

static void
start_one (Stress *stress)
{
  Op op = pick_op (stress);
  Disk *disk = pick_disk (stress);

  if (op == OP_OPEN_BASE || disk->image == NULL)
    start_open_base (stress);
  else
    start_on (stress, disk, op);
}

/* From this thread, something that is in flight now, if it is near. */
static void
cancel_one (Stress *stress)
{
  guint back = 1 + (guint) below (stress, 2 * DEPTH);
  Request *request;

  if (back > stress->n_started)
    return;
  request = &stress->requests[stress->n_started - back];
  if (request->cancellable != NULL)
    g_cancellable_cancel (request->cancellable);
}

/* ---- the disks ---- */

static void
make_base (Stress *stress)
{
  const DiskType *overlay = &disk_types[N_DISKS - 1];
  GByteArray *bytes = g_byte_array_new ();
  g_autofree char *path = NULL;

  g_byte_array_set_size (bytes, (guint) overlay->n_backing * STRESS_SECTOR);
  stress_pattern_fill (STRESS_BACKING, 0, overlay->n_backing, bytes->data);
  path = test_write (stress->folder, "base.raw", bytes);
  stress->base = g_file_new_for_path (path);
}

static void
create (Stress *stress, Disk *disk)
{
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", disk->type->format, "size",
                  disk->type->n_sectors * STRESS_SECTOR, NULL);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  if (disk->type->cluster_size > 0)
    g_object_set (options, "cluster-size", disk->type->cluster_size, NULL);
  if (disk->type->n_backing > 0)
    g_object_set (options, "backing-file", stress->base, "backing-format", "raw", "reference-policy", policy,
                  NULL);
  image = imago_image_create (disk->file, options, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static void
make_carrier (Disk *disk)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoStorage) base = imago_file_storage_open (disk->file, IMAGO_STORAGE_WRITABLE, NULL, &error);

  g_assert_no_error (error);
  disk->carrier = test_carrier_new (base);
}

static void
disk_init (Stress *stress, Disk *disk, const DiskType *type)
{
  g_autofree char *path = test_path (stress->folder, type->name);

  *disk = (Disk) { .type = type, .file = g_file_new_for_path (path), .n_sectors = type->n_sectors };
  disk->model = stress_model_new (type->max_sectors, type->n_backing,
                                  type->n_backing > 0 ? STRESS_BACKING : STRESS_ZERO);
  create (stress, disk);
  if (type->where == IN_HOOK)
    make_carrier (disk);
  start_open (disk, stress);
}

/* All of it, through the library; the model knows every byte then. */
static GByteArray *
read_all (Disk *disk)
{
  gsize size = disk->n_sectors * STRESS_SECTOR;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes (disk->image, 0, size, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (stress_model_begin_read (disk->model, 0, disk->n_sectors));
  stress_model_end_read (disk->model, 0, disk->n_sectors, g_bytes_get_data (bytes, NULL));
  return g_bytes_unref_to_array (g_steal_pointer (&bytes));
}

/* And what others read in the file is the same. */
static void
judge (Stress *stress, Disk *disk)
{
  g_autofree char *name = g_strconcat (disk->type->name, ".expected", NULL);
  g_autofree char *expected = test_write (stress->folder, name, read_all (disk));
  g_autofree char *path = g_file_get_path (disk->file);
  g_autofree char *qemu = g_find_program_in_path ("qemu-img");
  g_autoptr (GError) error = NULL;

  imago_image_close (disk->image, NULL, &error);
  g_assert_no_error (error);
  if (qemu == NULL)
    return;
  if (g_str_equal (disk->type->format, "qcow2"))
    test_run ("qemu-img", "check", "-q", "-f", "qcow2", path, NULL);
  test_run ("qemu-img", "compare", "-q", "-f", "raw", "-F", disk->type->format, expected, path, NULL);
}

static void
disk_clear (Disk *disk)
{
  g_object_unref (disk->image);
  g_clear_object (&disk->carrier);
  g_object_unref (disk->file);
  stress_model_free (disk->model);
}

/* ---- the test ---- */

static void
run (Stress *stress)
{
  while (stress->n_started < n_wanted || stress->n_in_flight > 0)
    {
      while (stress->n_started < n_wanted && stress->n_in_flight < DEPTH)
        start_one (stress);
      if (below (stress, 3) == 0)
        cancel_one (stress);
      g_main_context_iteration (NULL, TRUE);
    }
  for (guint i = 0; i < N_DISKS; i++)
    start_close (stress, &stress->disks[i]); /* and what was left behind comes to its end */
  while (stress->n_in_flight > 0)
    g_main_context_iteration (NULL, TRUE);
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

static void
check_answers (Stress *stress)
{
  guint n_answered = 0;

  for (guint i = 0; i < stress->n_started; i++)
    {
      g_assert_cmpuint (stress->requests[i].n_calls, ==, 1);
      n_answered++;
    }
  for (guint op = 0; op < N_OPS; op++)
    {
      g_test_message ("%s: %u done, %u cancelled, %u others", op_names[op], stress->n_done[op],
                      stress->n_cancelled[op], stress->n_failed[op]);
      g_assert_cmpuint (stress->n_done[op], >, 0);
    }
  g_test_message ("seed %" G_GUINT64_FORMAT ": %u requests, each answered once", seed, n_answered);
  g_assert_cmpuint (n_answered, >=, n_wanted);
}

static void
test_stress (void)
{
  Stress stress = { .random = crash_random (seed), .next_value = STRESS_FIRST_VALUE };

  stress.folder = test_folder_new ();
  /* Openings that are tried again after the last are extra. */
  stress.requests = g_new0 (Request, n_wanted + 100000);
  canceller_init (&stress.canceller);
  make_base (&stress);
  for (guint i = 0; i < N_DISKS; i++)
    disk_init (&stress, &stress.disks[i], &disk_types[i]);
  run (&stress);
  canceller_clear (&stress.canceller);
  check_answers (&stress);
  for (guint i = 0; i < N_DISKS; i++)
    {
      judge (&stress, &stress.disks[i]);
      disk_clear (&stress.disks[i]);
    }
  g_object_unref (stress.base);
  g_free (stress.requests);
  test_folder_remove (stress.folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (argc > 1)
    seed = (guint64) atoll (argv[1]);
  if (argc > 2)
    n_wanted = (guint) atoi (argv[2]);
  g_test_add_func ("/glib/stress", test_stress);
  return g_test_run ();
}
