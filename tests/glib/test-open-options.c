/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <imago-glib/imago-glib.h>

static void
test_defaults (void)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autofree char *format_name = NULL;
  g_autofree char *snapshot = NULL;
  g_autoptr (ImagoReferencePolicy) policy = NULL;
  gboolean writable, defer_references, allow_device, force_share, metadata_only;
  ImagoLocking locking;
  guint64 metadata_cache_size, decoded_cache_size;
  guint max_depth, max_files;

  g_object_get (options, "format-name", &format_name, "snapshot", &snapshot, "writable", &writable, "reference-policy",
                &policy, "defer-references", &defer_references, "allow-device", &allow_device,
                "metadata-cache-size", &metadata_cache_size, "decoded-cache-size",
                &decoded_cache_size, "max-depth", &max_depth, "max-files", &max_files, "locking",
                &locking, "force-share", &force_share, "metadata-only", &metadata_only, NULL);
  g_assert_null (format_name);
  g_assert_null (snapshot);
  g_assert_null (policy);
  g_assert_false (writable);
  g_assert_false (defer_references);
  g_assert_false (allow_device);
  g_assert_false (force_share);
  g_assert_false (metadata_only);
  g_assert_cmpint (locking, ==, IMAGO_LOCKING_AUTO);
  g_assert_cmpuint (metadata_cache_size, ==, 0);
  g_assert_cmpuint (decoded_cache_size, ==, 0);
  g_assert_cmpuint (max_depth, ==, 0);
  g_assert_cmpuint (max_files, ==, 0);
}

static void
test_construct (void)
{
  g_autoptr (ImagoReferencePolicy) deny = imago_deny_policy_new ();
  g_autoptr (ImagoOpenOptions) options = g_object_new (
    IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "snapshot", "1", "writable", TRUE, "reference-policy", deny,
    "defer-references", TRUE, "allow-device", TRUE, "metadata-cache-size", (guint64) 1 << 40,
    "decoded-cache-size", (guint64) 4096, "max-depth", 3, "max-files", 9, "locking",
    IMAGO_LOCKING_NONE, "force-share", TRUE, "metadata-only", TRUE, NULL);
  g_autofree char *format_name = NULL;
  g_autofree char *snapshot = NULL;
  g_autoptr (ImagoReferencePolicy) policy = NULL;
  gboolean writable, defer_references, allow_device, force_share, metadata_only;
  ImagoLocking locking;
  guint64 metadata_cache_size, decoded_cache_size;
  guint max_depth, max_files;

  g_object_get (options, "format-name", &format_name, "snapshot", &snapshot, "writable", &writable, "reference-policy",
                &policy, "defer-references", &defer_references, "allow-device", &allow_device,
                "metadata-cache-size", &metadata_cache_size, "decoded-cache-size",
                &decoded_cache_size, "max-depth", &max_depth, "max-files", &max_files, "locking",
                &locking, "force-share", &force_share, "metadata-only", &metadata_only, NULL);
  g_assert_cmpstr (format_name, ==, "qcow2");
  g_assert_cmpstr (snapshot, ==, "1");
  g_assert_true (policy == deny);
  g_assert_true (writable);
  g_assert_true (defer_references);
  g_assert_true (allow_device);
  g_assert_true (force_share);
  g_assert_true (metadata_only);
  g_assert_cmpint (locking, ==, IMAGO_LOCKING_NONE);
  g_assert_cmpuint (metadata_cache_size, ==, (guint64) 1 << 40);
  g_assert_cmpuint (decoded_cache_size, ==, 4096);
  g_assert_cmpuint (max_depth, ==, 3);
  g_assert_cmpuint (max_files, ==, 9);
}

static void
count_cb (GObject *object, GParamSpec *pspec, gpointer data)
{
  ++*(guint *) data;
}

static void
test_setters (void)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoReferencePolicy) policy = imago_permissive_policy_new ();
  guint n_notified = 0;

  g_signal_connect (options, "notify", G_CALLBACK (count_cb), &n_notified);
  for (guint i = 0; i < 2; i++)
    {
      g_autofree char *own = g_strdup ("raw");

      imago_open_options_set_format_name (options, own);
      imago_open_options_set_snapshot (options, "name");
      imago_open_options_set_writable (options, 2);
      imago_open_options_set_reference_policy (options, policy);
      imago_open_options_set_defer_references (options, 2);
    }
  g_assert_cmpuint (n_notified, ==, 5);
  imago_open_options_set_format_name (options, NULL);
  imago_open_options_set_snapshot (options, NULL);
  imago_open_options_set_writable (options, FALSE);
  imago_open_options_set_reference_policy (options, NULL);
  imago_open_options_set_defer_references (options, FALSE);
  g_assert_cmpuint (n_notified, ==, 10);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/open-options/defaults", test_defaults);
  g_test_add_func ("/open-options/construct", test_construct);
  g_test_add_func ("/open-options/setters", test_setters);
  return g_test_run ();
}
