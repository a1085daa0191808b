/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Each code of ImagoError, provoked through the public API by what it is meant for. */

#include <imago-glib/imago-glib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "test-images.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif

/* Takes @bytes. */
static ImagoImage *
open_bytes (GByteArray *bytes, const char *format_name, const char *snapshot, GError **error)
{
  g_autoptr (GBytes) content = test_to_bytes (bytes);
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (content);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", format_name, "snapshot", snapshot, NULL);

  return imago_image_open_storage (storage, options, NULL, error);
}

/* Takes @bytes. */
static void
assert_refused (GByteArray *bytes, ImagoError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (open_bytes (bytes, "qcow2", NULL, &error));
  g_assert_error (error, IMAGO_ERROR, (int) code);
  g_assert_false (g_str_has_suffix (error->message, "."));
}

static gboolean
fail_cb (ImagoReference *reference, gpointer user_data, GError **error)
{
  g_set_error_literal (error, IMAGO_ERROR, IMAGO_ERROR_FAILED,
                       "no reason that has a code of its own");
  return FALSE;
}

static void
test_failed (void)
{
  g_autoptr (GBytes) bytes =
    test_to_bytes (test_qcow2_new (&(TestQcow2){ .backing = "b", .backing_format = "raw" }));
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (fail_cb, NULL, NULL);
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name",
                                                       "qcow2", "reference-policy", policy, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_image_open_storage (storage, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
}

static void
test_unknown_format (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (open_bytes (test_pattern_new (1024, 0), "no such format", NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  assert_refused (test_pattern_new (1024, 0), IMAGO_ERROR_UNKNOWN_FORMAT);
}

static void
test_corrupt (void)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });

  test_put_be64 (bytes, TEST_QCOW2_L1_OFFSET, 3 * TEST_QCOW2_CLUSTER + 8);
  assert_refused (bytes, IMAGO_ERROR_CORRUPT);
}

static void
test_unsupported (void)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });

  assert_refused (test_qcow2_new (&(TestQcow2){ .incompatible = (guint64) 1 << 63 }),
                  IMAGO_ERROR_UNSUPPORTED);
  test_put_be32 (bytes, TEST_QCOW2_VERSION, 4);
  assert_refused (bytes, IMAGO_ERROR_UNSUPPORTED);
}

static void
test_encrypted (void)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });
  g_autoptr (GError) error = NULL;

  test_put_be32 (bytes, TEST_QCOW2_CRYPT, 1);
  g_assert_null (open_bytes (bytes, "qcow2", NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_ENCRYPTED);
  g_assert_nonnull (strcasestr (error->message, "aes"));
}

static void
test_metadata_only (void)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GBytes) contents = NULL;
  g_autoptr (GError) error = NULL;

  test_put_be32 (bytes, TEST_QCOW2_CRYPT, 1);
  contents = test_to_bytes (bytes);
  storage = imago_memory_storage_new (contents);
  g_object_set (options, "format-name", "qcow2", "metadata-only", TRUE, NULL);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (imago_image_read_bytes (image, 0, 512, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_METADATA_ONLY);
}

static void
test_limit_exceeded (void)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });

  test_put_be32 (bytes, TEST_QCOW2_L1_SIZE, 0x7fffffff);
  assert_refused (bytes, IMAGO_ERROR_LIMIT_EXCEEDED);
}

static void
test_reference_denied (void)
{
  assert_refused (
    test_qcow2_new (&(TestQcow2){ .backing = "/etc/passwd", .backing_format = "raw" }),
    IMAGO_ERROR_REFERENCE_DENIED);
}

static void
test_reference_loop (void)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_write (
    folder, "a", test_qcow2_new (&(TestQcow2){ .backing = "b", .backing_format = "qcow2" }));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name",
                                                       "qcow2", "reference-policy", policy, NULL);
  g_autoptr (GError) error = NULL;

  g_free (test_write (folder, "b",
                      test_qcow2_new (&(TestQcow2){ .backing = "a", .backing_format = "qcow2" })));
  g_assert_null (imago_image_open (file, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_LOOP);
  test_folder_remove (folder);
}

static void
test_references_pending (void)
{
  g_autoptr (GBytes) bytes =
    test_to_bytes (test_qcow2_new (&(TestQcow2){ .backing = "b", .backing_format = "raw" }));
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "defer-references", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  g_assert_null (imago_image_read_bytes (image, 0, 512, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCES_PENDING);
}

static void
test_out_of_range (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_bytes (test_pattern_new (1024, 0), "raw", NULL, &error);

  g_assert_no_error (error);
  g_assert_null (imago_image_read_bytes (image, 1000, 25, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  g_assert_null (imago_image_read_bytes (image, G_MAXUINT64, 2, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
}

static void
test_not_regular_file (void)
{
  const char *paths[] = { "/", "/dev/null" };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      g_autoptr (GFile) file = g_file_new_for_path (paths[i]);
      g_autoptr (GError) error = NULL;

      g_assert_null (imago_image_open (file, NULL, NULL, &error));
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NOT_REGULAR_FILE);
    }
}

static void
test_snapshot_not_found (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (open_bytes (test_qcow2_new (&(TestQcow2){ 0 }), "qcow2", "yesterday", &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_SNAPSHOT_NOT_FOUND);
}

static void
test_no_memory (void)
{
#ifdef HAVE_SANITIZER
  g_test_skip ("The sanitizer ends the process when there is not enough memory");
#else
  g_autoptr (ImagoStorage) storage = imago_null_storage_new ((guint64) 1 << 60);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "raw", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  g_assert_null (
    imago_image_read_bytes (image, 0, (gsize) 1 << (sizeof (gsize) * 8 - 8), NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NO_MEMORY);
#endif
}

static void
test_closed (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_bytes (test_pattern_new (1024, 0), "raw", NULL, &error);

  g_assert_no_error (error);
  g_assert_true (imago_image_close (image, NULL, &error));
  g_assert_null (imago_image_read_bytes (image, 0, 512, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

static void
test_read_only (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_bytes (test_pattern_new (1024, 0), "raw", NULL, &error);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);

  g_assert_no_error (error);
  g_assert_false (imago_image_write_bytes (image, 0, bytes, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_READ_ONLY);
}

/* Meanwhile nothing may be printed: the output may be a file, too. */
static void
set_file_size_limit (rlim_t limit)
{
  struct rlimit limits;

  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &limits), ==, 0);
  limits.rlim_cur = MIN (limit, limits.rlim_max);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &limits), ==, 0);
}

/* The flush fails for a reason of its own; what comes after it is refused because it failed. */
static void
test_flush_failed (void)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_write (folder, "disk", test_qcow2_new (&(TestQcow2){ 0 }));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE, NULL);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("x", 1);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);
  gboolean success;

  g_assert_no_error (error);
  g_assert_true (imago_image_write_bytes (image, 0, bytes, NULL, &error));
  signal (SIGXFSZ, SIG_IGN);
  set_file_size_limit (0);
  success = imago_image_flush (image, NULL, &error);
  set_file_size_limit (RLIM_INFINITY);
  g_assert_false (success);
  g_assert_nonnull (error);
  g_assert_true (error->domain == G_IO_ERROR);
  g_clear_error (&error);

  g_assert_false (imago_image_flush (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED);
  g_clear_error (&error);
  g_assert_false (imago_image_write_bytes (image, 0, bytes, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED);
  g_clear_error (&error);
  g_assert_false (imago_image_close (image, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED);
  test_folder_remove (folder);
}

static void
test_locked (void)
{
  char *folder = test_folder_new ();
  g_autofree char *path = test_write (folder, "disk", test_qcow2_new (&(TestQcow2){ 0 }));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);
  g_autoptr (ImagoImage) later = NULL;

  g_assert_no_error (error);
  g_assert_null (imago_image_open (file, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED);
  g_assert_nonnull (strstr (error->message, path));
  g_assert_nonnull (strstr (error->message, "this process has it open for writing"));
  g_assert_false (g_str_has_suffix (error->message, "."));
  g_clear_error (&error);

  g_assert_true (imago_image_close (image, NULL, &error));
  later = imago_image_open (file, options, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (later);
  test_folder_remove (folder);
}

static void
test_invalid_option (void)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (1024);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "writable", TRUE, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_image_open_storage (storage, options, NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_INVALID_OPTION);
}

static void
test_domain (void)
{
  g_assert_cmpstr (g_quark_to_string (IMAGO_ERROR), ==, "imago-error-quark");
  g_assert_true (G_TYPE_IS_ENUM (IMAGO_TYPE_ERROR));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/error/failed", test_failed);
  g_test_add_func ("/error/unknown-format", test_unknown_format);
  g_test_add_func ("/error/corrupt", test_corrupt);
  g_test_add_func ("/error/unsupported", test_unsupported);
  g_test_add_func ("/error/encrypted", test_encrypted);
  g_test_add_func ("/error/metadata-only", test_metadata_only);
  g_test_add_func ("/error/limit-exceeded", test_limit_exceeded);
  g_test_add_func ("/error/reference-denied", test_reference_denied);
  g_test_add_func ("/error/reference-loop", test_reference_loop);
  g_test_add_func ("/error/references-pending", test_references_pending);
  g_test_add_func ("/error/out-of-range", test_out_of_range);
  g_test_add_func ("/error/not-regular-file", test_not_regular_file);
  g_test_add_func ("/error/snapshot-not-found", test_snapshot_not_found);
  g_test_add_func ("/error/no-memory", test_no_memory);
  g_test_add_func ("/error/closed", test_closed);
  g_test_add_func ("/error/read-only", test_read_only);
  g_test_add_func ("/error/locked", test_locked);
  g_test_add_func ("/error/flush-failed", test_flush_failed);
  g_test_add_func ("/error/invalid-option", test_invalid_option);
  g_test_add_func ("/error/domain", test_domain);
  return g_test_run ();
}
