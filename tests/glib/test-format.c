/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <imago-glib/imago-glib.h>

#include "test-images.h"

static ImagoFormat *
nth_format (GListModel *list, guint n)
{
  g_autoptr (ImagoFormat) format = g_list_model_get_item (list, n);

  g_assert_nonnull (format);
  return format; /* immortal */
}

static void
test_list (void)
{
  g_autoptr (GListModel) list = imago_format_list ();
  guint n = g_list_model_get_n_items (list);

  g_assert_true (G_IS_LIST_STORE (list));
  g_assert_true (g_list_model_get_item_type (list) == IMAGO_TYPE_FORMAT);
  g_assert_cmpuint (n, >=, 2);
  g_assert_cmpstr (imago_format_get_name (nth_format (list, n - 1)), ==, "raw");
  for (guint i = 0; i < n; i++)
    {
      ImagoFormat *format = nth_format (list, i);

      g_assert_true (imago_format_lookup (imago_format_get_name (format)) == format);
    }
}

static void
test_lookup (void)
{
  g_assert_nonnull (imago_format_lookup ("qcow2"));
  g_assert_nonnull (imago_format_lookup ("raw"));
  g_assert_null (imago_format_lookup (""));
  g_assert_null (imago_format_lookup ("QCOW2"));
  g_assert_null (imago_format_lookup ("qcow2 "));
}

static void
test_properties (void)
{
  ImagoFormat *format = imago_format_lookup ("qcow2");
  g_autofree char *name = NULL;
  g_autofree char *title = NULL;
  g_auto (GStrv) mime_types = NULL;
  g_auto (GStrv) suffixes = NULL;
  ImagoFormatFlags flags;

  g_object_get (format, "name", &name, "title", &title, "mime-types", &mime_types, "suffixes",
                &suffixes, "flags", &flags, NULL);
  g_assert_cmpstr (name, ==, "qcow2");
  g_assert_cmpstr (title, ==, imago_format_get_title (format));
  g_assert_cmpuint (strlen (title), >, 0);
  g_assert_true (
    g_strv_equal ((const char *const *) mime_types, imago_format_get_mime_types (format)));
  g_assert_true (g_strv_contains ((const char *const *) mime_types, "application/x-qemu-disk"));
  g_assert_true (g_strv_contains (imago_format_get_suffixes (format), "qcow2"));
  g_assert_true (g_strv_equal ((const char *const *) suffixes, imago_format_get_suffixes (format)));
  g_assert_cmpuint (flags, ==, imago_format_get_flags (format));
  g_assert_cmpuint (flags & (IMAGO_FORMAT_BACKING_FILE | IMAGO_FORMAT_DATA_FILE |
                             IMAGO_FORMAT_COMPRESSED | IMAGO_FORMAT_SNAPSHOTS),
                    ==,
                    IMAGO_FORMAT_BACKING_FILE | IMAGO_FORMAT_DATA_FILE | IMAGO_FORMAT_COMPRESSED |
                      IMAGO_FORMAT_SNAPSHOTS);
  g_assert_true (imago_format_get_flags (imago_format_lookup ("raw")) &
                 IMAGO_FORMAT_CONVERT_TARGET);
  g_assert_false (imago_format_get_flags (imago_format_lookup ("raw")) & IMAGO_FORMAT_BACKING_FILE);
  g_assert_true (flags & IMAGO_FORMAT_CHECK);
  g_assert_false (imago_format_get_flags (imago_format_lookup ("raw")) & IMAGO_FORMAT_CHECK);
}

static ImagoStorage *
qcow2_storage (void)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (&(TestQcow2){ 0 }));

  return imago_memory_storage_new (bytes);
}

static void
test_probe (void)
{
  g_autoptr (ImagoStorage) qcow2 = qcow2_storage ();
  g_autoptr (GBytes) noise = test_to_bytes (test_pattern_new (100000, 3));
  g_autoptr (ImagoStorage) raw = imago_memory_storage_new (noise);
  g_autoptr (ImagoStorage) empty = imago_null_storage_new (0);
  g_autoptr (GError) error = NULL;
  g_autoptr (GListModel) matches = imago_format_probe (qcow2, NULL, &error);
  g_autoptr (GListModel) none = NULL;
  g_autoptr (GListModel) nothing = NULL;

  g_assert_no_error (error);
  g_assert_cmpuint (g_list_model_get_n_items (matches), ==, 1);
  g_assert_true (nth_format (matches, 0) == imago_format_lookup ("qcow2"));
  none = imago_format_probe (raw, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_list_model_get_n_items (none), ==, 0);
  nothing = imago_format_probe (empty, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_list_model_get_n_items (nothing), ==, 0);
}

typedef struct
{
  GMainLoop *loop;
  GAsyncResult *result;
  gboolean returned; /* the starter has */
} Waiter;

static void
probed_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Waiter *waiter = data;

  g_assert_true (waiter->returned);
  waiter->result = g_object_ref (result);
  g_main_loop_quit (waiter->loop);
}

static GListModel *
probe_async (ImagoStorage *storage, GCancellable *cancellable, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Waiter waiter = { .loop = loop };
  GListModel *list;

  imago_format_probe_async (storage, G_PRIORITY_DEFAULT, cancellable, probed_cb, &waiter);
  waiter.returned = TRUE;
  g_main_loop_run (loop);
  list = imago_format_probe_finish (waiter.result, error);
  g_object_unref (waiter.result);
  return list;
}

static void
test_probe_async (void)
{
  g_autoptr (ImagoStorage) storage = qcow2_storage ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GListModel) matches = probe_async (storage, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (g_list_model_get_n_items (matches), ==, 1);
  g_assert_true (nth_format (matches, 0) == imago_format_lookup ("qcow2"));
}

static void
test_probe_cancelled (void)
{
  g_autoptr (ImagoStorage) storage = qcow2_storage ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_null (imago_format_probe (storage, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_null (probe_async (storage, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* Nobody waits for the answer, and the last reference to the storage goes while it is under way. */
static void
test_probe_forgotten (void)
{
  ImagoStorage *storage = qcow2_storage ();
  g_autoptr (GListModel) list = NULL;
  g_autoptr (ImagoStorage) other = qcow2_storage ();

  imago_format_probe_async (storage, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  g_object_unref (storage);
  /* By the time that this one is answered the first is very likely to be. */
  list = probe_async (other, NULL, NULL);
  g_assert_nonnull (list);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/format/list", test_list);
  g_test_add_func ("/format/lookup", test_lookup);
  g_test_add_func ("/format/properties", test_properties);
  g_test_add_func ("/format/probe", test_probe);
  g_test_add_func ("/format/probe-async", test_probe_async);
  g_test_add_func ("/format/probe-cancelled", test_probe_cancelled);
  g_test_add_func ("/format/probe-forgotten", test_probe_forgotten);
  return g_test_run ();
}
