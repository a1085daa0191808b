/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <imago-glib/imago-glib.h>
#include <string.h>
#include <sys/stat.h>

#include "test-images.h"

typedef struct
{
  char *folder;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  test_folder_remove (fixture->folder);
}

/* Takes @path. */
static ImagoInspection *
inspect (char *path, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);

  g_free (path);
  return imago_inspect (file, NULL, error);
}

static void
assert_only_format (ImagoInspection *inspection, const char *name)
{
  GListModel *formats = imago_inspection_get_formats (inspection);
  g_autoptr (ImagoFormat) format = g_list_model_get_item (formats, 0);

  g_assert_cmpuint (g_list_model_get_n_items (formats), ==, 1);
  g_assert_true (format == imago_format_lookup (name));
}

static void
test_raw (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection =
    inspect (test_write (fixture->folder, "disk.img", test_pattern_new (1536, 1)), &error);

  g_assert_no_error (error);
  assert_only_format (inspection, "raw");
  g_assert_cmpuint (imago_inspection_get_file_size (inspection), ==, 1536);
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, 1536);
  g_assert_cmpuint (g_list_model_get_n_items (imago_inspection_get_references (inspection)), ==, 0);
  g_assert_null (imago_inspection_get_encryption (inspection));
  g_assert_cmpuint (imago_inspection_get_n_snapshots (inspection), ==, 0);
  g_assert_null (imago_inspection_get_unknown_features (inspection)[0]);
  g_assert_null (imago_inspection_get_problems (inspection)[0]);
  g_assert_true (imago_inspection_get_self_contained (inspection));
}

static void
test_qcow2 (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .size = 5 << 20 };
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection =
    inspect (test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what)), &error);

  g_assert_no_error (error);
  assert_only_format (inspection, "qcow2");
  g_assert_cmpuint (imago_inspection_get_file_size (inspection), ==, 4 * TEST_QCOW2_CLUSTER);
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, 5 << 20);
  g_assert_true (imago_inspection_get_self_contained (inspection));
}

static void
assert_reference (ImagoReference *reference,
                  ImagoReferenceRole role,
                  const char *name,
                  const char *format_name,
                  const char *path)
{
  g_autofree char *format = imago_reference_dup_format_name (reference);
  g_autofree char *found = imago_reference_get_file (reference) != NULL
                             ? g_file_get_path (imago_reference_get_file (reference))
                             : NULL;

  g_assert_cmpint (imago_reference_get_role (reference), ==, role);
  g_assert_cmpstr (imago_reference_get_name (reference), ==, name);
  g_assert_cmpstr (format, ==, format_name);
  g_assert_cmpuint (imago_reference_get_depth (reference), ==, 1);
  g_assert_cmpstr (found, ==, path);
}

static void
test_references (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .backing = "base.raw",
                           .backing_format = "raw",
                           .data_file = "/data\033[1m" };
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection =
    inspect (test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what)), &error);
  g_autofree char *base = test_path (fixture->folder, "base.raw");
  GListModel *references;
  gboolean seen[2] = { FALSE, FALSE };

  g_assert_no_error (error);
  references = imago_inspection_get_references (inspection);
  g_assert_true (g_list_model_get_item_type (references) == IMAGO_TYPE_REFERENCE);
  g_assert_cmpuint (g_list_model_get_n_items (references), ==, 2);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImagoReference) reference = g_list_model_get_item (references, i);
      g_autofree char *shown = imago_reference_dup_display_name (reference);

      if (imago_reference_get_role (reference) == IMAGO_REFERENCE_BACKING_FILE)
        assert_reference (reference, IMAGO_REFERENCE_BACKING_FILE, "base.raw", "raw", base);
      else
        {
          g_autofree char *format = imago_reference_dup_format_name (reference);

          assert_reference (reference, IMAGO_REFERENCE_DATA_FILE, "/data\033[1m", format,
                            "/data\033[1m");
          g_assert_null (strchr (shown, '\033'));
        }
      seen[imago_reference_get_role (reference) == IMAGO_REFERENCE_DATA_FILE] = TRUE;
      /* Nobody asked. */
      imago_reference_deny (reference, NULL);
      imago_reference_deny (reference, NULL);
    }
  g_assert_true (seen[0] && seen[1]);
  g_assert_false (imago_inspection_get_self_contained (inspection));
}

static void
test_protocol_names (Fixture *fixture, gconstpointer data)
{
  const char *names[] = { "json:{\"driver\":\"raw\"}", "nbd://host/export", "http://host/disk" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      const TestQcow2 what = { .backing = names[i] };
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoInspection) inspection =
        inspect (test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what)), &error);
      g_autoptr (ImagoReference) reference = NULL;

      g_assert_no_error (error);
      reference = g_list_model_get_item (imago_inspection_get_references (inspection), 0);
      assert_reference (reference, IMAGO_REFERENCE_BACKING_FILE, names[i], NULL, NULL);
    }
}

static void
test_encrypted (Fixture *fixture, gconstpointer data)
{
  GByteArray *bytes = test_qcow2_new (&(TestQcow2){ 0 });
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection = NULL;
  g_autofree char *encryption = NULL;

  test_put_be32 (bytes, TEST_QCOW2_CRYPT, 1);
  inspection = inspect (test_write (fixture->folder, "disk.qcow2", bytes), &error);
  g_assert_no_error (error);
  g_assert_cmpstr (imago_inspection_get_encryption (inspection), ==, "aes");
  g_object_get (inspection, "encryption", &encryption, NULL);
  g_assert_cmpstr (encryption, ==, "aes");
}

static void
test_unknown_feature (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .incompatible = (guint64) 1 << 62 };
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection =
    inspect (test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what)), &error);
  g_auto (GStrv) features = NULL;

  g_assert_no_error (error);
  g_object_get (inspection, "unknown-features", &features, NULL);
  g_assert_cmpuint (g_strv_length (features), ==, 1);
  g_assert_true (g_strv_equal ((const char *const *) features,
                               imago_inspection_get_unknown_features (inspection)));
  g_assert_false (imago_inspection_get_self_contained (inspection));
}

static void
test_snapshots (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_path (fixture->folder, "disk.qcow2");
  g_autofree char *base = test_write (fixture->folder, "base.raw", test_pattern_new (4096, 1));
  g_autoptr (ImagoInspection) inspection = NULL;
  g_autoptr (GError) error = NULL;

  if (!test_run ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, "10M",
                 NULL))
    return;
  test_run ("qemu-img", "snapshot", "-c", "one", path, NULL);
  test_run ("qemu-img", "snapshot", "-c", "two", path, NULL);
  inspection = inspect (g_strdup (path), &error);
  g_assert_no_error (error);
  g_assert_cmpuint (imago_inspection_get_n_snapshots (inspection), ==, 2);
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, 10 << 20);
  g_assert_false (imago_inspection_get_self_contained (inspection));
}

/* ---- refusals ---- */

static void
test_no_file (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (inspect (test_path (fixture->folder, "missing"), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_null (inspect (g_strdup (fixture->folder), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NOT_REGULAR_FILE);
}

/* It has no writer: opening it the ordinary way would wait for ever. */
static void
test_fifo (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = test_path (fixture->folder, "fifo");
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  g_assert_null (inspect (g_strdup (path), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_NOT_REGULAR_FILE);
}

static void
test_remote (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GFile) file = g_file_new_for_uri ("imago-test-no-such-scheme://host/disk");
  g_autoptr (GError) error = NULL;

  g_assert_null (imago_inspect (file, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

/* Whatever stands in the file, there is an answer or a proper error. */
static void
test_spoilt (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (g_test_rand_int ());

  for (guint i = 0; i < 500; i++)
    {
      const TestQcow2 what = { .backing = "base.raw", .backing_format = "raw" };
      GByteArray *bytes = test_qcow2_new (&what);
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoInspection) inspection = NULL;

      for (guint n = g_rand_int_range (rand, 1, 4); n > 0; n--)
        bytes->data[g_rand_int_range (rand, 4, 150)] = g_rand_int (rand);
      if (i % 4 == 0)
        g_byte_array_set_size (bytes, g_rand_int_range (rand, 1, 200));
      inspection = inspect (test_write (fixture->folder, "disk.qcow2", bytes), &error);
      g_assert_true ((inspection == NULL) == (error != NULL));
      if (error != NULL)
        g_assert_true (error->domain == IMAGO_ERROR);
    }
}

/* ---- one file and no other ---- */

/* What this program does when it is traced. */
static int
inspect_only (const char *path)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoInspection) inspection = imago_inspect (file, NULL, NULL);

  return inspection != NULL ? 0 : 1;
}

static void
assert_touches_only (const char *trace, const char *folder, const char *path)
{
  g_auto (GStrv) lines = g_strsplit (trace, "\n", -1);
  guint n_opened = 0;

  for (guint i = 0; lines[i] != NULL; i++)
    {
      if (strstr (lines[i], folder) == NULL || strstr (lines[i], "execve") != NULL)
        continue;
      g_test_message ("%s", lines[i]);
      g_assert_nonnull (strstr (lines[i], path));
      n_opened += strstr (lines[i], "open") != NULL;
    }
  g_assert_cmpuint (n_opened, ==, 1);
}

/* A container may forbid it. */
static gboolean
can_trace (void)
{
  const char *argv[] = { "strace", "-o", "/dev/null", "true", NULL };
  int status = -1;

  return g_spawn_sync (NULL, (char **) argv, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                         G_SPAWN_STDERR_TO_DEV_NULL,
                       NULL, NULL, NULL, NULL, &status, NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

/* The files that the image names are there and could be opened. */
static void
test_one_file (Fixture *fixture, gconstpointer data)
{
  g_autofree char *base = test_write (fixture->folder, "base.raw", test_pattern_new (4096, 1));
  g_autofree char *data_file =
    test_write (fixture->folder, "disk.data", test_pattern_new (4096, 1));
  const TestQcow2 what = { .backing = base, .backing_format = "raw", .data_file = data_file };
  g_autofree char *path = test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&what));
  g_autofree char *output = test_path (fixture->folder, "trace");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *trace = NULL;
  g_autoptr (GError) error = NULL;

  if (!can_trace ())
    {
      g_test_skip ("strace is not installed or not allowed");
      return;
    }
  /* A leak check cannot run in a process that is traced. */
  g_setenv ("ASAN_OPTIONS", "detect_leaks=0", TRUE);
  test_run ("strace", "-f", "-s", "4096", "-e", "trace=%file", "-o", output, self, "--only", path,
            NULL);
  g_file_get_contents (output, &trace, NULL, &error);
  g_assert_no_error (error);
  assert_touches_only (trace, fixture->folder, path);
}

/* ---- without waiting ---- */

typedef struct
{
  GMainLoop *loop;
  GAsyncResult *result;
  gboolean returned;
} Waiter;

static void
inspected_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Waiter *waiter = data;

  g_assert_true (waiter->returned);
  waiter->result = g_object_ref (result);
  g_main_loop_quit (waiter->loop);
}

static ImagoInspection *
inspect_async (GFile *file, GCancellable *cancellable, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Waiter waiter = { .loop = loop };
  ImagoInspection *inspection;

  imago_inspect_async (file, G_PRIORITY_DEFAULT, cancellable, inspected_cb, &waiter);
  waiter.returned = TRUE;
  g_main_loop_run (loop);
  inspection = imago_inspect_finish (waiter.result, error);
  g_object_unref (waiter.result);
  return inspection;
}

static void
test_async (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path =
    test_write (fixture->folder, "disk.qcow2", test_qcow2_new (&(TestQcow2){ 0 }));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFile) missing = g_file_get_child (file, "missing");
  g_autoptr (GFile) remote = g_file_new_for_uri ("imago-test-no-such-scheme://host/disk");
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoInspection) inspection = inspect_async (file, NULL, &error);

  g_assert_no_error (error);
  assert_only_format (inspection, "qcow2");
  g_assert_null (inspect_async (missing, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY);
  g_clear_error (&error);
  g_assert_null (inspect_async (remote, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  g_cancellable_cancel (cancelled);
  g_assert_null (inspect_async (file, cancelled, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_null (imago_inspect (file, cancelled, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

#define ADD(name, func) g_test_add ("/inspect/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char *argv[])
{
  if (argc == 3 && g_str_equal (argv[1], "--only"))
    return inspect_only (argv[2]);
  g_test_init (&argc, &argv, NULL);
  ADD ("raw", test_raw);
  ADD ("qcow2", test_qcow2);
  ADD ("references", test_references);
  ADD ("protocol-names", test_protocol_names);
  ADD ("encrypted", test_encrypted);
  ADD ("unknown-feature", test_unknown_feature);
  ADD ("snapshots", test_snapshots);
  ADD ("no-file", test_no_file);
  ADD ("fifo", test_fifo);
  ADD ("remote", test_remote);
  ADD ("spoilt", test_spoilt);
  ADD ("one-file", test_one_file);
  ADD ("async", test_async);
  return g_test_run ();
}
