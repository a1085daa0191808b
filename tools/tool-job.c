/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-job.h"

#include "tool-progress.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A job that runs, or an image that is made. */
typedef struct
{
  ImagoJob *job; /* borrowed, as the next two; NULL: no job */
  GFile *file;
  ImagoCreateOptions *options;
  GMainLoop *loop;
  GCancellable *cancellable;
  ToolProgress *progress; /* nullable */
  ImagoImage *open; /* owned: what is to be closed; nullable */
  int signal_number;
  gboolean succeeded;
  ImagoImage *made;
  GError *error;
} Run;

/* The first signal ends the job in order; a second one, if a storage is stuck, ends the program. */
static gboolean
stop (Run *run, int signal_number)
{
  if (run->signal_number != 0)
    _exit (128 + signal_number);
  run->signal_number = signal_number;
  g_cancellable_cancel (run->cancellable);
  return G_SOURCE_CONTINUE;
}

static gboolean
interrupt_cb (gpointer user_data)
{
  return stop (user_data, SIGINT);
}

static gboolean
terminate_cb (gpointer user_data)
{
  return stop (user_data, SIGTERM);
}

static gboolean
hang_up_cb (gpointer user_data)
{
  return stop (user_data, SIGHUP);
}

static gboolean
status_cb (gpointer user_data)
{
  Run *run = user_data;

  if (run->progress != NULL)
    tool_progress_print (run->progress);
  else
    fprintf (stderr, "    (%.2f/100%%)\n", 100 * imago_job_get_progress (run->job));
  return G_SOURCE_CONTINUE;
}

/* By the signal itself, so that the parent learns of it. */
static void
die_if_stopped (const Run *run)
{
  if (run->signal_number == 0 || !g_error_matches (run->error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  signal (run->signal_number, SIG_DFL);
  raise (run->signal_number);
}

static void close_next (Run *run);

static void
closed_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Run *run = user_data;

  if (!imago_image_close_finish (IMAGO_IMAGE (source), result, run->succeeded ? &run->error : NULL))
    run->succeeded = FALSE;
  close_next (run);
}

/* From the top: an image is open as long as one above it is. */
static void
close_next (Run *run)
{
  g_autoptr (ImagoImage) image = g_steal_pointer (&run->open);

  if (image == NULL)
    {
      g_main_loop_quit (run->loop);
      return;
    }
  run->open = imago_image_dup_backing (image);
  imago_image_close_async (image, G_PRIORITY_DEFAULT, NULL, closed_cb, run);
}

static void
finished_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Run *run = user_data;

  run->succeeded = imago_job_run_finish (IMAGO_JOB (source), result, &run->error);
  close_next (run);
}

static void
made_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Run *run = user_data;

  run->made = imago_image_create_finish (result, &run->error);
  g_main_loop_quit (run->loop);
}

/* A signal that the parent had ignored (nohup, a shell's background job) stays so. 0: no source. */
static guint
watch_signal (int signal_number, GSourceFunc func, Run *run)
{
  struct sigaction old;

  if (sigaction (signal_number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
    return 0;
  return g_unix_signal_add (signal_number, func, run);
}

/* @start must end in one of the callbacks above. */
static void
run_watched (Run *run, void (*start) (Run *run))
{
  guint sources[] = {
    watch_signal (SIGINT, interrupt_cb, run),
    watch_signal (SIGTERM, terminate_cb, run),
    watch_signal (SIGHUP, hang_up_cb, run),
    run->job != NULL ? watch_signal (SIGUSR1, status_cb, run) : 0,
  };

  start (run);
  g_main_loop_run (run->loop);

  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    if (sources[i] != 0)
      g_source_remove (sources[i]);
}

static void
start_job (Run *run)
{
  imago_job_run_async (run->job, G_PRIORITY_DEFAULT, run->cancellable, finished_cb, run);
}

/* Who reads the progress, or an image from standard output, may leave before the end. What cannot be written is an error
 * then, like any other, and leaves no change of an image half done. */
gboolean
tool_job_run_writing (ImagoJob *job, ImagoImage *image, FILE *file, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (ToolProgress) progress = NULL;
  Run run = { .job = job, .loop = loop, .cancellable = cancellable };

  signal (SIGPIPE, SIG_IGN);
  if (file != NULL)
    run.progress = progress = tool_progress_new (job, file);
  g_set_object (&run.open, image);
  run_watched (&run, start_job);
  if (progress != NULL)
    tool_progress_finish (progress, run.succeeded);
  die_if_stopped (&run);
  if (!run.succeeded)
    g_propagate_error (error, run.error);

  return run.succeeded;
}

gboolean
tool_job_run (ImagoJob *job, gboolean shows_progress, GError **error)
{
  return tool_job_run_writing (job, NULL, shows_progress ? stdout : NULL, error);
}

/* ---- making an image ---- */

static void
start_to_make (Run *run)
{
  imago_image_create_async (run->file, run->options, G_PRIORITY_DEFAULT, run->cancellable, made_cb, run);
}

gboolean
tool_create_image (GFile *file, ImagoCreateOptions *options, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (ImagoImage) made = NULL;
  Run run = { .file = file, .options = options, .loop = loop, .cancellable = cancellable };

  run_watched (&run, start_to_make);
  made = run.made;
  die_if_stopped (&run);
  if (made == NULL)
    g_propagate_error (error, run.error);

  return made != NULL && imago_image_close (made, NULL, error);
}
