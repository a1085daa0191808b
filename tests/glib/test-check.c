/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Checking an image: verdicts, refusals and failures of the job. What a check finds is tested
 * beside the core, and against another program. */

#include <errno.h>

#include "test-gate.h"
#include "test-images.h"

/* The sample disk, as tests/data/make-samples.py says. */
#define CLUSTER 2048
#define N_CLUSTERS 14
#define REFCOUNT_BLOCK 0x6800
#define SOME_CLUSTER 11

static GByteArray *
load_sample (void)
{
  g_autofree char *path =
    g_build_filename (g_getenv ("IMAGO_SOURCE_ROOT"), "tests", "data", "disk.qcow2", NULL);
  char *content;
  gsize length;

  g_assert_true (g_file_get_contents (path, &content, &length, NULL));
  g_assert_cmpuint (length, ==, N_CLUSTERS * CLUSTER);
  return g_byte_array_new_take ((guint8 *) content, length);
}

static void
set_refcount (GByteArray *image, guint cluster, guint16 refcount)
{
  guint16 word = GUINT16_TO_BE (refcount);

  memcpy (image->data + REFCOUNT_BLOCK + 2 * cluster, &word, sizeof word);
}

/* Takes @image. */
static ImagoCheckJob *
job_new (GByteArray *image)
{
  g_autoptr (GBytes) bytes = test_to_bytes (image);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);

  return imago_check_job_new (storage, "qcow2");
}

/* Takes @image; the result belongs to *@job. */
static ImagoCheckResult *
check (GByteArray *image, ImagoCheckJob **job)
{
  ImagoCheckResult *result;

  *job = job_new (image);
  g_assert_null (imago_check_job_get_result (*job));
  g_assert_true (imago_job_run (IMAGO_JOB (*job), NULL, NULL));
  g_assert_cmpfloat (imago_job_get_progress (IMAGO_JOB (*job)), ==, 1);
  /* All metadata of the sample, and no more than the file has. */
  g_assert_cmpuint (imago_job_get_bytes_total (IMAGO_JOB (*job)), >, 3 * CLUSTER);
  g_assert_cmpuint (imago_job_get_bytes_done (IMAGO_JOB (*job)), ==,
                    imago_job_get_bytes_total (IMAGO_JOB (*job)));
  result = imago_check_job_get_result (*job);
  g_assert_true (IMAGO_IS_CHECK_RESULT (result));
  return result;
}

static void
test_sound (void)
{
  g_autoptr (ImagoCheckJob) job = NULL;
  ImagoCheckResult *result = check (load_sample (), &job);

  g_assert_cmpuint (imago_check_result_get_check_errors (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_corruptions (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_leaks (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_n_messages (result), ==, 0);
  /* As qemu-img says. */
  g_assert_cmpuint (imago_check_result_get_total_clusters (result), ==, 2048);
  g_assert_cmpuint (imago_check_result_get_allocated_clusters (result), ==, 9);
  g_assert_cmpuint (imago_check_result_get_fragmented_clusters (result), ==, 7);
  g_assert_cmpuint (imago_check_result_get_compressed_clusters (result), ==, 7);
  g_assert_cmpuint (imago_check_result_get_image_end_offset (result), ==, 28672);
}

static void
check_message (ImagoCheckResult *result, ImagoCheckMessageKind kind, guint64 host_offset)
{
  g_autoptr (ImagoCheckMessage) message =
    g_list_model_get_item (imago_check_result_get_messages (result), 0);

  g_assert_nonnull (message);
  g_assert_cmpint (imago_check_message_get_kind (message), ==, kind);
  g_assert_cmpuint (imago_check_message_get_host_offset (message), ==, host_offset);
  g_assert_nonnull (strstr (imago_check_message_get_text (message), "refcount="));
}

static void
test_leak (void)
{
  g_autoptr (ImagoCheckJob) job = NULL;
  GByteArray *image = load_sample ();
  ImagoCheckResult *result;

  set_refcount (image, N_CLUSTERS, 1);
  g_byte_array_set_size (image, image->len + CLUSTER);
  memset (image->data + image->len - CLUSTER, 0, CLUSTER);
  result = check (image, &job);
  g_assert_cmpuint (imago_check_result_get_corruptions (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_leaks (result), ==, 1);
  check_message (result, IMAGO_CHECK_MESSAGE_LEAK, N_CLUSTERS * CLUSTER);
}

static void
test_corruption (void)
{
  g_autoptr (ImagoCheckJob) job = NULL;
  GByteArray *image = load_sample ();
  ImagoCheckResult *result;

  set_refcount (image, SOME_CLUSTER, 0);
  result = check (image, &job);
  g_assert_cmpuint (imago_check_result_get_corruptions (result), >, 0);
  g_assert_cmpuint (imago_check_result_get_leaks (result), ==, 0);
  check_message (result, IMAGO_CHECK_MESSAGE_CORRUPTION, SOME_CLUSTER * CLUSTER);
}

/* The list of messages ends, the counts do not. */
static void
test_bounded (void)
{
  g_autoptr (ImagoCheckJob) job = NULL;
  GByteArray *image = load_sample ();
  const guint n_leaks = CLUSTER / 2 - N_CLUSTERS; /* as many as the block has room for */
  ImagoCheckResult *result;
  guint n_kept;

  for (guint i = 0; i < n_leaks; i++)
    set_refcount (image, N_CLUSTERS + i, 1);
  g_byte_array_set_size (image, image->len + n_leaks * CLUSTER);
  memset (image->data + N_CLUSTERS * CLUSTER, 0, n_leaks * CLUSTER);
  result = check (image, &job);
  n_kept = g_list_model_get_n_items (imago_check_result_get_messages (result));
  g_assert_cmpuint (imago_check_result_get_leaks (result), ==, n_leaks);
  g_assert_cmpuint (imago_check_result_get_n_messages (result), ==, n_leaks);
  g_assert_cmpuint (n_kept, ==, IMG_CHECK_MAX_MESSAGES);
  g_assert_cmpuint (n_kept, <, n_leaks);
}

static void
expect_failure (ImagoCheckJob *taken, GQuark domain, int code)
{
  g_autoptr (ImagoCheckJob) job = taken;
  g_autoptr (GError) error = NULL;

  g_assert_false (imago_job_run (IMAGO_JOB (job), NULL, &error));
  g_assert_error (error, domain, code);
  g_assert_null (imago_check_job_get_result (job));
  g_assert_cmpint (imago_job_get_phase (IMAGO_JOB (job)), ==, IMAGO_JOB_PHASE_DONE);
}

static void
test_refused (void)
{
  GByteArray *zeroes = g_byte_array_new_take (g_malloc0 (4096), 4096);
  g_autoptr (GBytes) bytes = test_to_bytes (load_sample ());
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);

  expect_failure (g_object_new (IMAGO_TYPE_CHECK_JOB, NULL), IMAGO_ERROR, IMAGO_ERROR_FAILED);
  expect_failure (g_object_new (IMAGO_TYPE_CHECK_JOB, "storage", storage, NULL), IMAGO_ERROR,
                  IMAGO_ERROR_FAILED);
  expect_failure (imago_check_job_new (storage, "raw"), IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED);
  expect_failure (imago_check_job_new (storage, "no-format"), IMAGO_ERROR,
                  IMAGO_ERROR_UNKNOWN_FORMAT);
  expect_failure (job_new (zeroes), IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
}

static void
test_broken (void)
{
  ImgStorage *gate = test_gate_new (1024 * 1024);
  ImagoStorage *storage = imago_storage_new_from_core (gate);

  test_gate_break (gate);
  expect_failure (imago_check_job_new (storage, "qcow2"), G_IO_ERROR,
                  (int) g_io_error_from_errno (EIO));
  g_object_unref (storage);
  test_gate_wait_unused (gate);
  img_storage_unref (gate);
}

static void
test_cancelled (void)
{
  g_autoptr (ImagoCheckJob) job = job_new (load_sample ());
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };

  g_cancellable_cancel (cancellable);
  imago_job_run_async (IMAGO_JOB (job), 0, cancellable, test_result_cb, &slot);
  g_assert_false (imago_job_run_finish (IMAGO_JOB (job), test_slot_wait (&slot), &error));
  test_slot_clear (&slot);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_null (imago_check_job_get_result (job));
}

/* The job keeps what it needs: nobody else holds it or the storage. */
static void
test_async_and_drop (void)
{
  ImagoCheckJob *job = job_new (load_sample ());
  TestSlot slot = { 0 };

  imago_job_run_async (IMAGO_JOB (job), 0, NULL, test_result_cb, &slot);
  g_object_unref (job);
  test_slot_wait (&slot);
  g_assert_true (imago_job_run_finish (IMAGO_JOB (job), slot.result, NULL));
  g_assert_cmpuint (imago_check_result_get_allocated_clusters (imago_check_job_get_result (job)),
                    ==, 9);
  test_slot_clear (&slot);
}

static void
test_properties (void)
{
  g_autoptr (GBytes) bytes = test_to_bytes (load_sample ());
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoCheckJob) job = imago_check_job_new (storage, "qcow2");
  g_autoptr (ImagoStorage) same_storage = NULL;
  g_autoptr (ImagoCheckResult) result = NULL;
  g_autofree char *format_name = NULL;

  g_object_get (job, "storage", &same_storage, "format-name", &format_name, "result", &result,
                NULL);
  g_assert_true (same_storage == storage);
  g_assert_cmpstr (format_name, ==, "qcow2");
  g_assert_null (result);
  g_assert_true (imago_job_run (IMAGO_JOB (job), NULL, NULL));
  g_object_get (job, "result", &result, NULL);
  g_assert_true (result == imago_check_job_get_result (job));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/glib/check/sound", test_sound);
  g_test_add_func ("/glib/check/leak", test_leak);
  g_test_add_func ("/glib/check/corruption", test_corruption);
  g_test_add_func ("/glib/check/bounded", test_bounded);
  g_test_add_func ("/glib/check/refused", test_refused);
  g_test_add_func ("/glib/check/broken", test_broken);
  g_test_add_func ("/glib/check/cancelled", test_cancelled);
  g_test_add_func ("/glib/check/async-and-drop", test_async_and_drop);
  g_test_add_func ("/glib/check/properties", test_properties);
  return g_test_run ();
}
