/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The jobs that compare and measure, from outside: what they tell while a read does not return, and what of a
 * failure. */

#include "test-gate.h"
#include "test-images.h"

#define SIZE (6 * 1024 * 1024)

typedef struct
{
  ImgStorage *gates[2];
  ImagoImage *images[2];
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 2; i++)
    {
      fixture->gates[i] = test_gate_new (SIZE);
      fixture->images[i] = test_gate_open_image (fixture->gates[i]);
    }
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 2; i++)
    {
      g_clear_object (&fixture->images[i]);
      test_gate_wait_unused (fixture->gates[i]);
      img_storage_unref (fixture->gates[i]);
    }
}

static ImagoCompareJob *
job_new (Fixture *fixture)
{
  return imago_compare_job_new (fixture->images[0], fixture->images[1]);
}

static void
assert_no_verdict (ImagoCompareJob *job)
{
  g_assert_cmpint (imago_compare_job_get_comparison (job), ==, IMAGO_COMPARISON_NONE);
  g_assert_cmpuint (imago_compare_job_get_difference_offset (job), ==, 0);
}

static void
test_identical (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoCompareJob) job = job_new (fixture);
  g_autoptr (ImagoImage) first = NULL;
  g_autoptr (ImagoImage) second = NULL;
  gboolean strict;
  guint threads;

  g_object_get (job, "first-image", &first, "second-image", &second, "strict", &strict, "threads",
                &threads, NULL);
  g_assert_true (first == fixture->images[0]);
  g_assert_true (second == fixture->images[1]);
  g_assert_false (strict);
  g_assert_cmpuint (threads, ==, 0);
  g_object_set (job, "strict", TRUE, "threads", 2, NULL);
  g_assert_true (imago_job_run (IMAGO_JOB (job), NULL, NULL));
  g_assert_cmpint (imago_compare_job_get_comparison (job), ==, IMAGO_COMPARISON_IDENTICAL);
  g_assert_cmpuint (imago_job_get_bytes_total (IMAGO_JOB (job)), ==, 2 * SIZE);
  g_assert_cmpuint (imago_job_get_bytes_done (IMAGO_JOB (job)), ==, 2 * SIZE);
}

/* While it runs there is no verdict; closing waits for the job, and dropping what the application has does
 * not stop it. */
static void
test_close_and_drop (Fixture *fixture, gconstpointer data)
{
  ImagoCompareJob *job = job_new (fixture);
  TestSlot slot = { 0 };
  TestSlot close_slot = { 0 };

  test_gate_shut (fixture->gates[1]);
  imago_job_run_async (IMAGO_JOB (job), 0, NULL, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gates[1], 1);
  assert_no_verdict (job);
  g_object_unref (job); /* the task has another reference */
  imago_image_close_async (fixture->images[1], 0, NULL, test_result_cb, &close_slot);
  for (guint i = 0; i < 20; i++)
    {
      g_usleep (1000);
      while (g_main_context_iteration (NULL, FALSE))
        ;
    }
  g_assert_cmpuint (close_slot.n_calls, ==, 0);
  test_gate_open (fixture->gates[1]);
  g_assert_true (imago_image_close_finish (fixture->images[1], test_slot_wait (&close_slot), NULL));
  test_slot_wait (&slot);
  g_assert_true (imago_job_run_finish (IMAGO_JOB (job), slot.result, NULL));
  g_assert_cmpint (imago_compare_job_get_comparison (job), ==, IMAGO_COMPARISON_IDENTICAL);
  test_slot_clear (&slot);
  test_slot_clear (&close_slot);
}

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoCompareJob) job = job_new (fixture);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  test_gate_shut (fixture->gates[0]);
  imago_job_run_async (IMAGO_JOB (job), 0, cancellable, test_result_cb, &slot);
  test_gate_wait_inside (fixture->gates[0], 1);
  g_cancellable_cancel (cancellable);
  test_gate_open (fixture->gates[0]);
  g_assert_false (imago_job_run_finish (IMAGO_JOB (job), test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  assert_no_verdict (job);
  test_slot_clear (&slot);
}

static void
cancel_cb (GObject *job, GParamSpec *pspec, gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
}

/* A byte a second: the first read begins at once, the second in twelve days. */
static void
test_rate_limit (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoCompareJob) job = job_new (fixture);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  imago_job_set_threads (IMAGO_JOB (job), 1);
  imago_job_set_rate_limit (IMAGO_JOB (job), 1);
  g_assert_cmpuint (imago_job_get_rate_limit (IMAGO_JOB (job)), ==, 1);
  g_signal_connect (job, "notify::phase", G_CALLBACK (cancel_cb), cancellable);
  imago_job_run_async (IMAGO_JOB (job), 0, cancellable, test_result_cb, &slot);
  g_assert_false (imago_job_run_finish (IMAGO_JOB (job), test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (imago_job_get_bytes_done (IMAGO_JOB (job)), ==, 0);
  test_slot_clear (&slot);
}

static void
test_broken (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImagoCompareJob) job = job_new (fixture);
      g_autoptr (GError) error = NULL;

      test_gate_break (fixture->gates[1 - i]);
      g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
      g_assert_cmpint (imago_compare_job_get_failure (job), ==, IMAGO_COMPARE_FAILURE_READ);
      assert_no_verdict (job);
    }
}

/* A job that runs once, also after a refusal that left nothing held. */
static void
test_closed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoCompareJob) job = job_new (fixture);
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) second_error = NULL;

  g_assert_true (imago_image_close (fixture->images[1], NULL, NULL));
  g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
  g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &second_error));
  g_assert_error (second_error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
  assert_no_verdict (job);
  g_assert_true (imago_image_close (fixture->images[0], NULL, NULL));
}

/* The options are read when the job is run, and may be changed afterwards. */
static void
test_measure (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "cluster-size",
                  (guint64) 65536, NULL);
  g_autoptr (ImagoMeasureJob) job = imago_measure_job_new (fixture->images[0], options);
  ImagoMeasurement *result;
  TestSlot slot = { 0 };

  imago_job_run_async (IMAGO_JOB (job), 0, NULL, test_result_cb, &slot);
  g_object_set (options, "format-name", "nothing", NULL);
  g_assert_true (imago_job_run_finish (IMAGO_JOB (job), test_slot_wait (&slot), NULL));
  result = imago_measure_job_get_result (job);
  g_assert_cmpuint (imago_measurement_get_required_size (result), ==, SIZE + 5 * 65536);
  g_assert_cmpuint (imago_measurement_get_fully_allocated_size (result), ==, SIZE + 5 * 65536);
  g_assert_false (imago_measurement_get_has_bitmaps (result));
  g_assert_cmpuint (imago_measurement_get_bitmaps_size (result), ==, 0);
  /* Nothing but maps was looked at. */
  g_assert_cmpuint (test_gate_get_counts (fixture->gates[0]).n_reads, ==, 0);
  g_assert_cmpuint (test_gate_get_counts (fixture->gates[0]).n_tries, ==, 0);
  test_slot_clear (&slot);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func) g_test_add ("/glib/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("compare-job/identical", test_identical);
  ADD ("compare-job/close-and-drop", test_close_and_drop);
  ADD ("compare-job/cancel", test_cancel);
  ADD ("compare-job/rate-limit", test_rate_limit);
  ADD ("compare-job/broken", test_broken);
  ADD ("compare-job/closed", test_closed);
  ADD ("measure-job/measure", test_measure);

  return g_test_run ();
}
