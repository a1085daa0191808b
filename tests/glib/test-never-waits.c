/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* No asynchronous call waits in the thread that makes it, and no answer in the thread that gets it. Two proofs, with cold
 * reads, allocating writes, flushes, opens, creations, a check and a dozen others in flight, and none by the clock:
 *
 *  - the kernel counts how often a thread went to sleep (ru_nvcsw): between two polls of the main loop that does not rise;
 *  - strace shows the thread making no call on a file but preadv2 and pwritev2 with RWF_NOWAIT.
 *
 * A thread may be preempted while it holds a lock for a moment that the loop wants too: that is no waiting for a disk, and
 * it does not happen each time. What waits does, so one quiet round proves it; there are several tries. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test-carrier.h"
#include "test-images.h"

#include "imago-glib/imago-glib.h"

#define N_TRIES 400
#define N_COLD 32
#define COLD_STRIDE (512 * 1024)
#define N_EACH 8
#define N_FOREIGN 2
#define CLUSTER 65536
#define DISK_SIZE ((guint64) N_TRIES * N_EACH * CLUSTER * 2)

typedef enum
{
  PHASE_READS,
  PHASE_WRITES,
  PHASE_STRUCTURE,
  PHASE_LOOKS,
  PHASE_ANSWERS,
  PHASE_STORAGES, /* those of the application have rounds of their own */
  PHASE_STORAGE_ANSWERS,
  N_PHASES,
} Phase;

static const char *const phase_names[N_PHASES] = {
  "reads", "writes", "structure", "looks", "answers", "storages of the application", "their answers",
};

typedef struct
{
  char *folder;
  GFile *cold_file;
  GFile *other_file;
  GFile *target;
  GFile *unclaimed;
  ImagoImage *cold;
  ImagoImage *disk;   /* written to */
  ImagoImage *spare;  /* closed in the round */
  ImagoStorage *storage;
  ImagoImage *carried;  /* in a storage with a hook that runs in the loop's thread */
  ImagoImage *streamed; /* in a stream */
  GOutputStream *copy;  /* that a disk is spliced into */
  ImagoJob *check;
  ImagoOpenOptions *options;
  ImagoCreateOptions *create_options;
  GBytes *bytes;
  guint round;
  guint n_waiting;
  /* Sleeps outside of poll (). */
  Phase phase;
  glong last;
  guint n_sleeps[N_PHASES];
  guint n_calls;
} Fixture;

static Fixture *counted; /* by the poll function, which has no data */

static glong
count_sleeps (void)
{
  struct rusage usage;

  g_assert_cmpint (getrusage (RUSAGE_THREAD, &usage), ==, 0);
  return usage.ru_nvcsw;
}

static void
count_begin (Fixture *fixture)
{
  fixture->last = count_sleeps ();
}

static void
count_end (Fixture *fixture)
{
  fixture->n_sleeps[fixture->phase] += (guint) (count_sleeps () - fixture->last);
}

static int
counting_poll (GPollFD *fds, guint n_fds, int timeout)
{
  int result;

  count_end (counted);
  result = g_poll (fds, n_fds, timeout);
  count_begin (counted);
  return result;
}

/* ---- answers ---- */

typedef gboolean (*FinishFunc) (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error);

typedef struct
{
  Fixture *fixture;
  FinishFunc finish;
} Call;

static void
answered_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  g_autofree Call *call = data;
  g_autoptr (GError) error = NULL;

  if (!call->finish (call->fixture, source, result, &error))
    g_error ("%s: %s", g_task_get_name (G_TASK (result)), error->message);
  call->fixture->n_waiting--;
}

/* Takes no result: what was opened goes with it. */
static void
unclaimed_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  g_autofree Call *call = data;

  g_assert_false (g_task_had_error (G_TASK (result)));
  call->fixture->n_waiting--;
}

static Call *
call_new (Fixture *fixture, FinishFunc finish)
{
  Call *call = g_new (Call, 1);

  *call = (Call) { fixture, finish };
  fixture->n_waiting++;
  fixture->n_calls++;
  return call;
}

static gboolean
finish_read (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (source), result, error);

  return bytes != NULL;
}

static gboolean
finish_write (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_write_bytes_finish (fixture->disk, result, error);
}

static gboolean
finish_foreign_write (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_write_bytes_finish (IMAGO_IMAGE (source), result, error);
}

static gboolean
finish_foreign_flush (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_flush_finish (IMAGO_IMAGE (source), result, error);
}

static gboolean
finish_splice (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_splice_finish (IMAGO_IMAGE (source), result, error) >= 0;
}

static gboolean
finish_zeroes (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_write_zeroes_finish (fixture->disk, result, error);
}

static gboolean
finish_discard (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_discard_finish (fixture->disk, result, error);
}

static gboolean
finish_flush (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_flush_finish (fixture->disk, result, error);
}

static gboolean
finish_resize (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_resize_finish (fixture->disk, result, error);
}

static gboolean
finish_map (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoExtentArray) extents = imago_image_map_extents_finish (fixture->cold, result, error);

  return extents != NULL;
}

static gboolean
finish_info (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info_finish (fixture->disk, result, error);

  return info != NULL;
}

/* The last reference goes here: the image is closed elsewhere. */
static gboolean
finish_open (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_finish (result, error);

  return image != NULL;
}

static gboolean
finish_create (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_create_finish (result, error);

  return image != NULL;
}

static gboolean
finish_close (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_image_close_finish (fixture->spare, result, error);
}

static gboolean
finish_check (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  return imago_job_run_finish (fixture->check, result, error);
}

static gboolean
finish_inspect (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoInspection) inspection = imago_inspect_finish (result, error);

  return inspection != NULL;
}

static gboolean
finish_size (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  guint64 size;

  return imago_storage_query_size_finish (fixture->storage, result, &size, error);
}

static gboolean
finish_storage_read (Fixture *fixture, GObject *source, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_storage_read_bytes_finish (fixture->storage, result, error);

  return bytes != NULL;
}

/* ---- calls ---- */

static void
start_reads (Fixture *fixture)
{
  for (guint i = 0; i < N_COLD; i++)
    imago_image_read_bytes_async (fixture->cold, (guint64) i * COLD_STRIDE, 4096, 0, NULL, answered_cb,
                                  call_new (fixture, finish_read));
  imago_storage_read_bytes_async (fixture->storage, COLD_STRIDE + 4096, 4096, 0, NULL, answered_cb,
                                  call_new (fixture, finish_storage_read));
}

/* Each to a cluster that has no place yet. */
static void
start_writes (Fixture *fixture)
{
  guint64 offset = (guint64) fixture->round * N_EACH * CLUSTER;

  for (guint i = 0; i < N_EACH; i++)
    imago_image_write_bytes_async (fixture->disk, offset + i * CLUSTER, fixture->bytes, 0, NULL, answered_cb,
                                   call_new (fixture, finish_write));
  imago_image_write_zeroes_async (fixture->disk, DISK_SIZE / 2 + offset, CLUSTER, IMAGO_ZERO_NONE, 0, NULL, answered_cb,
                                  call_new (fixture, finish_zeroes));
  imago_image_discard_async (fixture->disk, DISK_SIZE / 2 + offset, CLUSTER, IMAGO_DISCARD_ZERO, 0, NULL, answered_cb,
                             call_new (fixture, finish_discard));
}

static void
start_structure (Fixture *fixture)
{
  for (guint i = 0; i < N_EACH; i++)
    {
      imago_image_flush_async (fixture->disk, 0, NULL, answered_cb, call_new (fixture, finish_flush));
      imago_image_open_async (fixture->other_file, fixture->options, 0, NULL, answered_cb,
                              call_new (fixture, finish_open));
    }
  imago_image_create_async (fixture->target, fixture->create_options, 0, NULL, answered_cb,
                            call_new (fixture, finish_create));
  imago_image_create_async (fixture->unclaimed, fixture->create_options, 0, NULL, unclaimed_cb, call_new (fixture, NULL));
  imago_image_open_async (fixture->other_file, fixture->options, 0, NULL, unclaimed_cb, call_new (fixture, NULL));
  imago_image_open_storage_async (fixture->storage, NULL, 0, NULL, unclaimed_cb, call_new (fixture, NULL));
  imago_file_storage_open_async (fixture->other_file, IMAGO_STORAGE_NONE, 0, NULL, unclaimed_cb,
                                 call_new (fixture, NULL));
  imago_image_resize_async (fixture->disk, DISK_SIZE + (fixture->round + 1) * CLUSTER, IMAGO_RESIZE_NONE,
                            IMAGO_PREALLOCATION_NONE, 0, NULL, answered_cb, call_new (fixture, finish_resize));
  imago_image_close_async (fixture->spare, 0, NULL, answered_cb, call_new (fixture, finish_close));
}

static void
start_looks (Fixture *fixture)
{
  imago_job_run_async (fixture->check, 0, NULL, answered_cb, call_new (fixture, finish_check));
  imago_image_map_extents_async (fixture->cold, 0, COLD_STRIDE, 10, IMAGO_MAP_HOST_HOLES, 0, NULL, answered_cb,
                                 call_new (fixture, finish_map));
  imago_image_query_info_async (fixture->disk, 0, NULL, answered_cb, call_new (fixture, finish_info));
  imago_inspect_async (fixture->other_file, 0, NULL, answered_cb, call_new (fixture, finish_inspect));
  imago_storage_query_size_async (fixture->storage, 0, NULL, answered_cb, call_new (fixture, finish_size));
}

static void
start_foreign (Fixture *fixture, ImagoImage *image)
{
  guint64 offset = (guint64) fixture->round * N_EACH * CLUSTER;

  for (guint i = 0; i < N_FOREIGN; i++)
    {
      imago_image_read_bytes_async (image, DISK_SIZE / 2 + offset + i * CLUSTER, 4096, 0, NULL, answered_cb,
                                    call_new (fixture, finish_read));
      imago_image_write_bytes_async (image, offset + i * CLUSTER, fixture->bytes, 0, NULL, answered_cb,
                                     call_new (fixture, finish_foreign_write));
    }
  imago_image_flush_async (image, 0, NULL, answered_cb, call_new (fixture, finish_foreign_flush));
}

static void
start_storages (Fixture *fixture)
{
  start_foreign (fixture, fixture->carried);
  start_foreign (fixture, fixture->streamed);
  imago_image_splice_async (fixture->cold, fixture->copy, 0, 3 * COLD_STRIDE, 0, NULL, answered_cb,
                            call_new (fixture, finish_splice));
}

static void
start_phase (Fixture *fixture, Phase phase)
{
  static void (*const starts[]) (Fixture *fixture) = {
    [PHASE_READS] = start_reads, [PHASE_WRITES] = start_writes,     [PHASE_STRUCTURE] = start_structure,
    [PHASE_LOOKS] = start_looks, [PHASE_STORAGES] = start_storages,
  };

  fixture->phase = phase;
  count_begin (fixture);
  starts[phase](fixture);
  count_end (fixture);
}

static void
start_all (Fixture *fixture)
{
  for (guint phase = PHASE_READS; phase < PHASE_ANSWERS; phase++)
    start_phase (fixture, (Phase) phase);
  fixture->phase = PHASE_ANSWERS;
}

static void
start_all_storages (Fixture *fixture)
{
  start_phase (fixture, PHASE_STORAGES);
  fixture->phase = PHASE_STORAGE_ANSWERS;
}

/* Every other round. */
static gboolean
is_for_storages (guint round)
{
  return round % 2 == 1;
}

/* ---- the round ---- */

static GFile *
file_in (Fixture *fixture, const char *name)
{
  g_autofree char *path = test_path (fixture->folder, name);

  return g_file_new_for_path (path);
}

static ImagoImage *
open_image (GFile *file, const char *format, gboolean writable)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", format, "writable", writable, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open (file, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

static void
create_image (GFile *file, guint64 size)
{
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", size, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_create (file, options, NULL, &error);

  g_assert_no_error (error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static ImagoImage *
open_in (ImagoStorage *storage)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

static void
open_foreign (Fixture *fixture)
{
  g_autoptr (GFile) carried = file_in (fixture, "carried.qcow2");
  g_autoptr (GFile) streamed = file_in (fixture, "streamed.qcow2");
  g_autoptr (GFileIOStream) io = NULL;
  g_autoptr (ImagoStorage) base = NULL;
  g_autoptr (ImagoStorage) carrier = NULL;
  g_autoptr (ImagoStorage) stream = NULL;
  g_autoptr (GError) error = NULL;

  create_image (carried, DISK_SIZE);
  create_image (streamed, DISK_SIZE);
  base = imago_file_storage_open (carried, IMAGO_STORAGE_WRITABLE, NULL, &error);
  g_assert_no_error (error);
  io = g_file_open_readwrite (streamed, NULL, &error);
  g_assert_no_error (error);
  carrier = test_carrier_new (base);
  stream = imago_stream_storage_new_for_io (G_IO_STREAM (io));
  fixture->carried = open_in (carrier);
  fixture->streamed = open_in (stream);
}

/* As cold as it gets: where the file system keeps it in memory nevertheless, reads are done at once. */
static void
cool_down (Fixture *fixture)
{
  int fd = open (g_file_peek_path (fixture->cold_file), O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (fsync (fd), ==, 0);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  close (fd);
}

static void
fixture_init (Fixture *fixture)
{
  g_autofree char *path = NULL;
  g_autoptr (GFile) disk_file = NULL;

  *fixture = (Fixture) { .folder = test_folder_new () };
  path = test_write (fixture->folder, "cold.raw", test_pattern_new (N_COLD * COLD_STRIDE, 1));
  fixture->cold_file = g_file_new_for_path (path);
  fixture->other_file = file_in (fixture, "other.qcow2");
  disk_file = file_in (fixture, "disk.qcow2");
  create_image (fixture->other_file, DISK_SIZE);
  create_image (disk_file, DISK_SIZE);
  fixture->cold = open_image (fixture->cold_file, "raw", FALSE);
  fixture->disk = open_image (disk_file, "qcow2", TRUE);
  fixture->storage = g_object_ref (imago_image_get_storage (fixture->cold));
  open_foreign (fixture);
  fixture->options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", NULL);
  fixture->create_options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", DISK_SIZE, NULL);
  fixture->bytes = test_to_bytes (test_pattern_new (4096, 2));
}

static void
round_init (Fixture *fixture, guint round)
{
  g_autofree char *target = g_strdup_printf ("target-%u.qcow2", round);
  g_autofree char *unclaimed = g_strdup_printf ("unclaimed-%u.qcow2", round);
  g_autofree char *spare = g_strdup_printf ("spare-%u.qcow2", round);
  g_autoptr (GFile) spare_file = file_in (fixture, spare);
  g_autoptr (GFile) copy_file = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoStorage) storage = imago_file_storage_open (fixture->other_file, IMAGO_STORAGE_NONE, NULL, &error);

  g_assert_no_error (error);
  fixture->round = round;
  for (guint phase = 0; phase < N_PHASES; phase++)
    fixture->n_sleeps[phase] = (phase >= PHASE_STORAGES) == is_for_storages (round) ? 0 : G_MAXUINT16;
  fixture->n_calls = 0;
  fixture->target = file_in (fixture, target);
  fixture->unclaimed = file_in (fixture, unclaimed);
  copy_file = file_in (fixture, "copy.raw");
  fixture->copy = G_OUTPUT_STREAM (g_file_replace (copy_file, NULL, FALSE, G_FILE_CREATE_NONE, NULL, &error));
  g_assert_no_error (error);
  create_image (spare_file, DISK_SIZE);
  fixture->spare = open_image (spare_file, "qcow2", TRUE);
  imago_image_write_bytes (fixture->spare, 0, fixture->bytes, NULL, &error);
  g_assert_no_error (error);
  fixture->check = IMAGO_JOB (imago_check_job_new (storage, "qcow2"));
  cool_down (fixture);
}

static void
round_clear (Fixture *fixture)
{
  g_clear_object (&fixture->target);
  g_clear_object (&fixture->unclaimed);
  g_clear_object (&fixture->spare);
  g_clear_object (&fixture->check);
  g_clear_object (&fixture->copy);
}

static void
round_run (Fixture *fixture)
{
  counted = fixture;
  g_main_context_set_poll_func (NULL, counting_poll);
  if (is_for_storages (fixture->round))
    start_all_storages (fixture);
  else
    start_all (fixture);
  count_begin (fixture);
  while (fixture->n_waiting > 0)
    g_main_context_iteration (NULL, TRUE);
  count_end (fixture);
  g_main_context_set_poll_func (NULL, NULL);
}

static void
fixture_clear (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  imago_image_close (fixture->disk, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (fixture->carried, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (fixture->streamed, NULL, &error);
  g_assert_no_error (error);
  g_object_unref (fixture->carried);
  g_object_unref (fixture->streamed);
  g_object_unref (fixture->cold);
  g_object_unref (fixture->disk);
  g_object_unref (fixture->storage);
  g_object_unref (fixture->cold_file);
  g_object_unref (fixture->other_file);
  g_object_unref (fixture->options);
  g_object_unref (fixture->create_options);
  g_bytes_unref (fixture->bytes);
  test_folder_remove (fixture->folder);
}

/* ---- the count of the kernel ---- */

static gboolean
kernel_counts (void)
{
  glong before = count_sleeps ();

  g_usleep (1000);
  return count_sleeps () > before;
}

/* How often each phase slept when it slept least. TRUE: not at all, each of them, in one round or another. */
static gboolean
take_fewest (Fixture *fixture, guint *fewest)
{
  guint sum = 0;

  for (guint phase = 0; phase < N_PHASES; phase++)
    {
      fewest[phase] = MIN (fewest[phase], fixture->n_sleeps[phase]);
      sum += fewest[phase];
    }
  return sum == 0;
}

static void
test_sleeps (void)
{
  guint fewest[N_PHASES];
  gboolean is_quiet = FALSE;
  Fixture fixture;

  if (!kernel_counts ())
    {
      g_test_skip ("the kernel does not count how often a thread sleeps");
      return;
    }
  for (guint phase = 0; phase < N_PHASES; phase++)
    fewest[phase] = G_MAXUINT16;
  fixture_init (&fixture);
  for (guint round = 0; round < N_TRIES && !is_quiet; round++)
    {
      round_init (&fixture, round);
      round_run (&fixture);
      is_quiet = take_fewest (&fixture, fewest);
      for (guint phase = 0; phase < N_PHASES; phase++)
        if (fixture.n_sleeps[phase] != G_MAXUINT16)
          g_test_message ("round %u of %u calls, %s: %u sleeps", round, fixture.n_calls, phase_names[phase],
                        fixture.n_sleeps[phase]);
      round_clear (&fixture);
    }
  for (guint phase = 0; phase < N_PHASES; phase++)
    if (fewest[phase] > 0)
      g_error ("%s: the thread sleeps each time, at least %u times", phase_names[phase], fewest[phase]);
  fixture_clear (&fixture);
}

/* The proof of the proof: a thread that waits between two polls is seen. */
static void
test_blocking_call_is_seen (void)
{
  Fixture fixture;

  if (!kernel_counts ())
    {
      g_test_skip ("the kernel does not count how often a thread sleeps");
      return;
    }
  fixture_init (&fixture);
  counted = &fixture;
  count_begin (&fixture);
  g_main_context_set_poll_func (NULL, counting_poll);
  g_usleep (1000);
  g_main_context_iteration (NULL, FALSE);
  g_main_context_set_poll_func (NULL, NULL);
  g_assert_cmpuint (fixture.n_sleeps[PHASE_READS], >, 0);
  fixture_clear (&fixture);
}

/* ---- the system calls ---- */

#define MARK_BEGIN "the round begins"
#define MARK_END "the round is over"

/* Fails, and is seen in the trace. */
static void
mark (const char *text)
{
  g_assert_cmpint (write (-1, text, strlen (text)), ==, -1);
}

/* Run under strace; @badly: with one call that may wait among the others. */
static int
run_traced (gboolean badly)
{
  Fixture fixture;

  fixture_init (&fixture);
  round_init (&fixture, 0);
  mark (MARK_BEGIN);
  start_all (&fixture);
  start_all_storages (&fixture);
  if (badly)
    g_bytes_unref (imago_image_read_bytes (fixture.cold, 0, 512, NULL, NULL));
  while (fixture.n_waiting > 0)
    g_main_context_iteration (NULL, TRUE);
  mark (MARK_END);
  round_clear (&fixture);
  fixture_clear (&fixture);
  return 0;
}

static gboolean
can_trace (void)
{
  const char *argv[] = { "strace", "-y", "-f", "-o", "/dev/null", "true", NULL };
  int status = -1;

  return g_spawn_sync (NULL, (char **) argv, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
                       NULL, NULL, &status, NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

/* Memory, the poll of the loop and what wakes it, how the C library counts processors, and transfers that do not
 * wait. */
static gboolean
is_harmless (const char *call)
{
  static const char *const quiet[] = { "poll(",    "ppoll(",    "eventfd2(", "mmap(", "munmap(",
                                       "mremap(",  "madvise(",  "mprotect(", "+++ ",  "--- " };

  for (guint i = 0; i < G_N_ELEMENTS (quiet); i++)
    if (g_str_has_prefix (call, quiet[i]))
      return TRUE;
  if (g_str_has_prefix (call, "preadv2(") || g_str_has_prefix (call, "pwritev2("))
    return strstr (call, "RWF_NOWAIT") != NULL;
  if (strstr (call, "/sys/devices/system/cpu/online") != NULL)
    return TRUE;
  return (g_str_has_prefix (call, "read(") || g_str_has_prefix (call, "write(")) &&
         strstr (call, "[eventfd]") != NULL;
}

/* A line is "THREAD CALL(ARGUMENTS) = RESULT", columns apart. */
static const char *
skip_thread (const char *line)
{
  const char *call = strchr (line, ' ');

  while (call != NULL && *call == ' ')
    call++;
  return call;
}

typedef struct
{
  guint n_calls;      /* of the loop's thread */
  guint n_transfers;  /* those that do not wait */
  guint n_others;     /* of other threads, meanwhile */
  GString *begun;     /* a call that the trace tells of in two lines */
  GString *forbidden;
} Trace;

#define UNFINISHED " <unfinished ...>"

/* FALSE: only half of a call. Else it is in trace->begun. */
static gboolean
join_halves (Trace *trace, const char *call)
{
  const char *rest = g_str_has_prefix (call, "<... ") ? strstr (call, "resumed>") : NULL;

  if (rest != NULL)
    g_string_append (trace->begun, rest + strlen ("resumed>"));
  else
    g_string_assign (trace->begun, call);
  if (!g_str_has_suffix (call, UNFINISHED))
    return TRUE;
  g_string_truncate (trace->begun, trace->begun->len - strlen (UNFINISHED));
  return FALSE;
}

static void
look_at (Trace *trace, const char *line, const char *loop)
{
  const char *call = skip_thread (line);

  if (call == NULL)
    return;
  if (!g_str_has_prefix (line, loop))
    {
      trace->n_others++;
      return;
    }
  if (!join_halves (trace, call))
    return;
  trace->n_calls++;
  trace->n_transfers += strstr (trace->begun->str, "RWF_NOWAIT") != NULL;
  if (!is_harmless (trace->begun->str))
    g_string_append_printf (trace->forbidden, "%s\n", trace->begun->str);
}

/* The thread that writes the marks is the loop's. */
static void
read_trace (Trace *trace, const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autofree char *loop = NULL;

  for (guint i = 0; lines[i] != NULL; i++)
    if (strstr (lines[i], MARK_BEGIN) != NULL)
      loop = g_strndup (lines[i], strcspn (lines[i], " ") + 1);
    else if (strstr (lines[i], MARK_END) != NULL)
      return;
    else if (loop != NULL)
      look_at (trace, lines[i], loop);
  g_error ("the trace has no end");
}

static void
trace_init (Trace *trace, const char *how)
{
  g_autofree char *folder = test_folder_new ();
  g_autofree char *output = test_path (folder, "trace");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *text = NULL;

  *trace = (Trace) { .begun = g_string_new (NULL), .forbidden = g_string_new (NULL) };
  /* A leak check cannot run in a process that is traced. */
  g_setenv ("ASAN_OPTIONS", "detect_leaks=0", TRUE);
  test_run ("strace", "-y", "-f", "-e", "trace=%file,%desc", "-o", output, self, how, NULL);
  g_assert_true (g_file_get_contents (output, &text, NULL, NULL));
  read_trace (trace, text);
  g_test_message ("%u calls of the loop's thread, %u of them transfers that do not wait; %u of others",
                  trace->n_calls, trace->n_transfers, trace->n_others);
  test_folder_remove (g_steal_pointer (&folder));
}

static void
trace_clear (Trace *trace)
{
  g_string_free (trace->begun, TRUE);
  g_string_free (trace->forbidden, TRUE);
}

static void
test_system_calls (void)
{
  Trace trace;

  if (!can_trace ())
    {
      g_test_skip ("strace is not installed or not allowed");
      return;
    }
  trace_init (&trace, "--traced");
  if (trace.forbidden->len > 0)
    g_error ("the loop's thread makes calls that may wait:\n%s", trace.forbidden->str);
  g_assert_cmpuint (trace.n_transfers, >, 0);
  g_assert_cmpuint (trace.n_others, >, N_COLD);
  trace_clear (&trace);
}

static void
test_blocking_call_is_traced (void)
{
  Trace trace;

  if (!can_trace ())
    {
      g_test_skip ("strace is not installed or not allowed");
      return;
    }
  trace_init (&trace, "--traced-badly");
  g_assert_nonnull (strstr (trace.forbidden->str, "cold.raw"));
  trace_clear (&trace);
}

int
main (int argc, char **argv)
{
  if (argc > 1 && g_str_has_prefix (argv[1], "--traced"))
    return run_traced (g_str_equal (argv[1], "--traced-badly"));
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/glib/never-waits/sleeps", test_sleeps);
  g_test_add_func ("/glib/never-waits/blocking-call-is-seen", test_blocking_call_is_seen);
  g_test_add_func ("/glib/never-waits/system-calls", test_system_calls);
  g_test_add_func ("/glib/never-waits/blocking-call-is-traced", test_blocking_call_is_traced);
  return g_test_run ();
}
