/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copies a disk to a raw file, with a progress line; Ctrl-C cancels. usage: copy DISK.qcow2 OUTPUT.raw */

#include <glib-unix.h>
#include <imago-glib/imago-glib.h>
#include <locale.h>

typedef struct
{
  GMainLoop *loop;
  GCancellable *cancellable;
  GFile *target;
  int status;
} Copy;

static void
show (ImagoJob *job)
{
  g_print ("\r%3.0f %%", imago_job_get_progress (job) * 100);
}

static gboolean
interrupted_cb (gpointer user_data)
{
  Copy *copy = user_data;

  g_cancellable_cancel (copy->cancellable);
  return G_SOURCE_CONTINUE;
}

static void
fail (Copy *copy, const GError *error)
{
  gboolean cancelled = g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  g_printerr ("%s\n", cancelled ? "\ncancelled" : error->message);
  copy->status = cancelled ? 130 : 1;
  g_main_loop_quit (copy->loop);
}

static void
copied_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Copy *copy = user_data;
  g_autoptr (GError) error = NULL;

  if (!imago_job_run_finish (IMAGO_JOB (source), result, &error))
    {
      fail (copy, error);
      return;
    }
  show (IMAGO_JOB (source));
  g_print ("\n");
  g_main_loop_quit (copy->loop);
}

static void
opened_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Copy *copy = user_data;
  g_autoptr (ImagoConvertJob) job = NULL;
  g_autoptr (ImagoImage) disk = NULL;
  g_autoptr (GError) error = NULL;

  disk = imago_image_open_finish (result, &error);
  if (disk == NULL)
    {
      fail (copy, error);
      return;
    }
  g_print ("%s: %" G_GUINT64_FORMAT " bytes\n", imago_storage_get_name (imago_image_get_storage (disk)),
           imago_image_get_size (disk));
  job = imago_convert_job_new (disk, copy->target);
  g_signal_connect (job, "notify::progress", G_CALLBACK (show), NULL);
  show (IMAGO_JOB (job));
  imago_job_run_async (IMAGO_JOB (job), G_PRIORITY_DEFAULT, copy->cancellable, copied_cb, copy);
}

int
main (int argc, char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GFile) source = NULL;
  g_autoptr (GFile) target = NULL;
  Copy copy = { .loop = loop, .cancellable = cancellable };

  setlocale (LC_ALL, "");
  if (argc != 3)
    return 2;
  source = g_file_new_for_commandline_arg (argv[1]);
  target = g_file_new_for_commandline_arg (argv[2]);
  copy.target = target;
  imago_open_options_set_format_name (options, "qcow2");
  imago_open_options_set_reference_policy (options, policy);
  g_unix_signal_add (SIGINT, interrupted_cb, &copy);
  imago_image_open_async (source, options, G_PRIORITY_DEFAULT, cancellable, opened_cb, &copy);
  g_main_loop_run (loop);
  return copy.status;
}
