/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Jobs: what they tell and when, and what they leave behind. */

#include <errno.h>

#include "test-gate.h"
#include "test-images.h"

#define SIZE (24 * 1024 * 1024)

typedef struct
{
  char *folder;
  ImgStorage *gate;
  ImagoImage *image;
  GFile *target;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = NULL;

  fixture->folder = test_folder_new ();
  fixture->gate = test_gate_new (SIZE);
  fixture->image = test_gate_open_image (fixture->gate);
  path = test_path (fixture->folder, "target");
  fixture->target = g_file_new_for_path (path);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_storage_unref (fixture->gate);
  g_object_unref (fixture->target);
  test_folder_remove (fixture->folder);
}

static ImagoJob *
job_new (Fixture *fixture)
{
  ImagoConvertJob *job = imago_convert_job_new (fixture->image, fixture->target);

  imago_convert_job_set_durable (job, FALSE);
  return IMAGO_JOB (job);
}

static void
check_target (Fixture *fixture)
{
  g_autoptr (GBytes) bytes = g_file_load_bytes (fixture->target, NULL, NULL, NULL);

  test_gate_check (bytes, 0, SIZE);
}

/* ---- what a job tells ---- */

typedef struct
{
  ImagoJob *job;
  GThread *thread;
  guint n_notified;
  guint64 bytes_done;
  double progress;
  ImagoJobPhase phase;
  gint64 first;
  gint64 last;
  gboolean over; /* the callback has run */
} Watch;

static void
notify_cb (GObject *object, GParamSpec *pspec, gpointer data)
{
  Watch *watch = data;
  guint64 bytes_done = imago_job_get_bytes_done (watch->job);
  double progress = imago_job_get_progress (watch->job);
  ImagoJobPhase phase = imago_job_get_phase (watch->job);

  g_assert_true (g_thread_self () == watch->thread);
  g_assert_false (watch->over);
  g_assert_cmpuint (bytes_done, >=, watch->bytes_done);
  g_assert_cmpfloat (progress, >=, watch->progress);
  g_assert_cmpfloat (progress, <=, 1);
  g_assert_cmpint (phase, >=, watch->phase);
  watch->bytes_done = bytes_done;
  watch->progress = progress;
  watch->phase = phase;
}

/* Several properties change in one notification: this one counts them. */
static void
notify_done_cb (GObject *object, GParamSpec *pspec, gpointer data)
{
  Watch *watch = data;

  watch->last = g_get_monotonic_time ();
  if (watch->n_notified++ == 0)
    watch->first = watch->last;
}

static void
watch_begin (Watch *watch, ImagoJob *job)
{
  *watch = (Watch) { .job = job, .thread = g_thread_self () };
  g_signal_connect (job, "notify", G_CALLBACK (notify_cb), watch);
  g_signal_connect (job, "notify::bytes-done", G_CALLBACK (notify_done_cb), watch);
}

static void
watch_check_success (Watch *watch, guint64 total)
{
  g_assert_cmpuint (watch->n_notified, >, 0);
  g_assert_cmpuint (watch->bytes_done, ==, total);
  g_assert_cmpuint (imago_job_get_bytes_total (watch->job), ==, total);
  g_assert_cmpfloat (watch->progress, ==, 1);
  g_assert_cmpint (watch->phase, ==, IMAGO_JOB_PHASE_DONE);
  /* Ten a second, and one at the end. */
  g_assert_cmpint ((watch->n_notified - 1) * G_USEC_PER_SEC / 10, <=,
                   watch->last - watch->first + G_USEC_PER_SEC / 10);
  g_test_message ("%u notifications in %" G_GINT64_FORMAT " ms", watch->n_notified,
                  (watch->last - watch->first) / 1000);
}

static void
over_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Watch *watch = data;
  g_autoptr (GError) error = NULL;

  /* Everything has been told before. */
  g_assert_cmpint (watch->phase, ==, IMAGO_JOB_PHASE_DONE);
  g_assert_true (imago_job_run_finish (IMAGO_JOB (object), result, &error));
  g_assert_no_error (error);
  watch->over = TRUE;
}

static void
test_progress (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  Watch watch;

  g_assert_cmpint (imago_job_get_phase (job), ==, IMAGO_JOB_PHASE_NONE);
  g_assert_cmpfloat (imago_job_get_progress (job), ==, 0);
  watch_begin (&watch, job);
  imago_job_run_async (job, 0, NULL, over_cb, &watch);
  test_iterate_until (&watch.over);
  watch_check_success (&watch, SIZE);
  for (guint i = 0; i < 10; i++)
    {
      g_usleep (15000);
      while (g_main_context_iteration (NULL, FALSE)) /* and nothing after the end */
        ;
    }
  check_target (fixture);
}

/* Nobody iterates the context: the thread that waits tells by itself. */
static void
test_sync_in_owner (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  g_autoptr (GError) error = NULL;
  Watch watch;

  watch_begin (&watch, job);
  g_assert_true (imago_job_run (job, NULL, &error));
  g_assert_no_error (error);
  watch.over = TRUE;
  watch_check_success (&watch, SIZE);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  check_target (fixture);
}

static gpointer
run_thread (gpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (imago_job_run (data, NULL, &error));
  g_assert_no_error (error);
  return NULL;
}

/* Made here, run there: what it tells is told here. */
static void
test_sync_elsewhere (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  GThread *thread;
  Watch watch;

  watch_begin (&watch, job);
  thread = g_thread_new ("run", run_thread, job);
  while (watch.phase != IMAGO_JOB_PHASE_DONE)
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (thread);
  watch_check_success (&watch, SIZE);
}

static gpointer
start_thread (gpointer data)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_main_context_push_thread_default (context);
  imago_job_run_async (data, 0, NULL, test_result_cb, &slot);
  g_assert_true (imago_job_run_finish (data, test_slot_wait (&slot), &error));
  g_assert_no_error (error);
  test_slot_clear (&slot);
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_async_elsewhere (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  GThread *thread;
  Watch watch;

  watch_begin (&watch, job);
  thread = g_thread_new ("start", start_thread, job);
  while (watch.phase != IMAGO_JOB_PHASE_DONE)
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (thread);
  watch_check_success (&watch, SIZE);
}

/* Without data there is nothing to count, and still it ends at 1. */
static void
test_empty (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoStorage) storage = imago_null_storage_new (SIZE);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoConvertJob) job = NULL;
  g_autoptr (GFileInfo) info = NULL;
  g_autoptr (GError) error = NULL;

  imago_open_options_set_format_name (options, "raw");
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  job = imago_convert_job_new (image, fixture->target);
  g_assert_true (imago_job_run (IMAGO_JOB (job), NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpfloat (imago_job_get_progress (IMAGO_JOB (job)), ==, 1);
  info = g_file_query_info (fixture->target, "standard::*", G_FILE_QUERY_INFO_NONE, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_file_info_get_size (info), ==, SIZE);
  g_assert_cmpuint (g_file_info_get_attribute_uint64 (info, "standard::allocated-size"), <,
                    SIZE / 2);
}

/* ---- cancelling ---- */

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  test_gate_shut (fixture->gate);
  imago_job_run_async (job, 0, cancellable, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gate, 1);
  g_cancellable_cancel (cancellable);
  test_gate_open (fixture->gate);
  g_assert_false (imago_job_run_finish (job, test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  test_slot_clear (&slot);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
  g_assert_cmpint (imago_job_get_phase (job), ==, IMAGO_JOB_PHASE_DONE);
  g_assert_cmpfloat (imago_job_get_progress (job), <, 1);
  /* It stopped where it was: of the claims of two threads no third one was begun. */
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, <, SIZE / (1024 * 1024));
}

static void
cancel_when_copying_cb (GObject *object, GParamSpec *pspec, gpointer data)
{
  if (imago_job_get_bytes_done (IMAGO_JOB (object)) > 0)
    g_cancellable_cancel (data);
}

static void
test_cancel_from_notify (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_signal_connect (job, "notify", G_CALLBACK (cancel_when_copying_cb), cancellable);
  if (imago_job_run (job, cancellable, &error))
    check_target (fixture); /* so fast that the last notification was the first with data */
  else
    {
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
    }
}

/* ---- failing ---- */

static void
test_broken_source (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  test_gate_break (fixture->gate);
  imago_job_run_async (job, 0, NULL, test_result_cb, &slot);
  g_assert_false (imago_job_run_finish (job, test_slot_wait (&slot), &error));
  test_slot_clear (&slot);
  g_assert_error (error, G_IO_ERROR, (int) g_io_error_from_errno (EIO));
  g_assert_nonnull (strstr (error->message, "The storage is broken"));
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
  g_assert_cmpint (imago_job_get_phase (job), ==, IMAGO_JOB_PHASE_DONE);
}

static void
test_missing_folder (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GFile) folder = g_file_get_child (fixture->target, "missing");
  g_autoptr (ImagoConvertJob) job = imago_convert_job_new (fixture->image, folder);
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

static void
test_overwrite (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) refused = job_new (fixture);
  g_autoptr (ImagoJob) granted = job_new (fixture);
  g_autoptr (GError) error = NULL;
  g_autofree char *content = NULL;

  g_assert_true (
    g_file_replace_contents (fixture->target, "old", 3, NULL, FALSE, 0, NULL, NULL, NULL));
  g_assert_false (imago_job_run (refused, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS);
  g_clear_error (&error);
  g_assert_true (g_file_load_contents (fixture->target, NULL, &content, NULL, NULL, NULL));
  g_assert_cmpstr (content, ==, "old");

  imago_convert_job_set_overwrite (IMAGO_CONVERT_JOB (granted), TRUE);
  g_assert_true (imago_job_run (granted, NULL, &error));
  g_assert_no_error (error);
  check_target (fixture);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_once (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoJob) job = job_new (fixture);
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_assert_true (imago_job_run (job, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (imago_job_run (job, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  g_clear_error (&error);
  imago_job_run_async (job, 0, NULL, test_result_cb, &slot);
  g_assert_false (imago_job_run_finish (job, test_slot_wait (&slot), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  test_slot_clear (&slot);
  check_target (fixture);
}

static void
expect_refusal (ImagoConvertJob *taken, GQuark domain, int code)
{
  g_autoptr (ImagoConvertJob) job = taken;
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &error));
  g_assert_error (error, domain, code);
  g_assert_cmpint (imago_job_get_phase (IMAGO_JOB (job)), ==, IMAGO_JOB_PHASE_DONE);
}

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GFile) remote = g_file_new_for_uri ("sftp://example.org/x");

  expect_refusal (g_object_new (IMAGO_TYPE_CONVERT_JOB, NULL), IMAGO_ERROR, IMAGO_ERROR_FAILED);
  expect_refusal (g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", fixture->image, "destination",
                                fixture->target, "format-name", "vmdk", NULL),
                  IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  expect_refusal (imago_convert_job_new (fixture->image, remote), G_IO_ERROR,
                  G_IO_ERROR_NOT_SUPPORTED);
  g_assert_true (imago_image_close (fixture->image, NULL, NULL));
  expect_refusal (imago_convert_job_new (fixture->image, fixture->target), IMAGO_ERROR,
                  IMAGO_ERROR_CLOSED);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

static void
test_properties (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoConvertJob) job = imago_convert_job_new (fixture->image, fixture->target);
  g_autoptr (ImagoImage) source = NULL;
  g_autoptr (GFile) destination = NULL;
  g_autofree char *format_name = NULL;
  gboolean overwrite, durable;
  guint threads;

  g_object_get (job, "source", &source, "destination", &destination, "format-name", &format_name,
                "overwrite", &overwrite, "durable", &durable, "threads", &threads, NULL);
  g_assert_true (source == fixture->image);
  g_assert_true (destination == fixture->target);
  g_assert_cmpstr (format_name, ==, "raw");
  g_assert_false (overwrite);
  g_assert_true (durable);
  g_assert_cmpuint (threads, ==, 0);
  imago_job_set_threads (IMAGO_JOB (job), 1);
  g_object_set (job, "overwrite", TRUE, "durable", FALSE, NULL);
  g_object_get (job, "overwrite", &overwrite, "durable", &durable, "threads", &threads, NULL);
  g_assert_true (overwrite);
  g_assert_false (durable);
  g_assert_cmpuint (threads, ==, 1);
  g_assert_true (imago_job_run (IMAGO_JOB (job), NULL, NULL));
  check_target (fixture);
}

/* Closing waits for a job, and dropping what the application has does not stop it. */
static void
test_close_and_drop (Fixture *fixture, gconstpointer data)
{
  ImagoJob *job = job_new (fixture);
  TestSlot slot = { 0 };
  TestSlot close_slot = { 0 };

  test_gate_shut (fixture->gate);
  imago_job_run_async (job, 0, NULL, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gate, 1);
  g_object_unref (job); /* the task has another reference */
  imago_image_close_async (fixture->image, 0, NULL, test_result_cb, &close_slot);
  for (guint i = 0; i < 20; i++)
    {
      g_usleep (1000);
      while (g_main_context_iteration (NULL, FALSE))
        ;
    }
  g_assert_cmpuint (close_slot.n_calls, ==, 0);
  test_gate_open (fixture->gate);
  g_assert_true (imago_image_close_finish (fixture->image, test_slot_wait (&close_slot), NULL));
  test_slot_wait (&slot);
  g_assert_true (imago_job_run_finish (job, slot.result, NULL));
  test_slot_clear (&slot);
  test_slot_clear (&close_slot);
  check_target (fixture);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/glib/job/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("progress", test_progress);
  ADD ("sync-in-owner", test_sync_in_owner);
  ADD ("sync-elsewhere", test_sync_elsewhere);
  ADD ("async-elsewhere", test_async_elsewhere);
  ADD ("empty", test_empty);
  ADD ("cancel", test_cancel);
  ADD ("cancel-from-notify", test_cancel_from_notify);
  ADD ("broken-source", test_broken_source);
  ADD ("missing-folder", test_missing_folder);
  ADD ("overwrite", test_overwrite);
  ADD ("once", test_once);
  ADD ("refused", test_refused);
  ADD ("properties", test_properties);
  ADD ("close-and-drop", test_close_and_drop);
  return g_test_run ();
}
