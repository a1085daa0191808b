/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-progress.h"

#include "tool-size.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 30

struct _ToolProgress
{
  ImagoJob *job;
  gulong handler;
  FILE *file;
  gboolean is_terminal;
  gint64 start_time; /* of the copying, monotonic microseconds */
  double printed;    /* percent */
};

static double
get_percent (ToolProgress *progress)
{
  return 100 * CLAMP (imago_job_get_progress (progress->job), 0, 1);
}

/* "1:05", or NULL as long as nothing can be said. */
static char *
format_time_left (gint64 elapsed, double percent)
{
  guint64 seconds;

  if (percent < 1 || percent >= 100 || elapsed < G_USEC_PER_SEC)
    return NULL;

  seconds = (guint64) ((double) elapsed / G_USEC_PER_SEC * (100 - percent) / percent + 0.5);
  if (seconds >= 3600)
    return g_strdup_printf ("%" PRIu64 ":%02u:%02u", seconds / 3600, (guint) (seconds / 60 % 60),
                            (guint) (seconds % 60));
  return g_strdup_printf ("%u:%02u", (guint) (seconds / 60), (guint) (seconds % 60));
}

static void
print_bar (ToolProgress *progress, double percent)
{
  guint filled = (guint) (percent * BAR_WIDTH / 100);
  guint64 done = imago_job_get_bytes_done (progress->job);
  gint64 elapsed = g_get_monotonic_time () - progress->start_time;
  g_autofree char *amount = tool_format_size (done);
  g_autofree char *rate = tool_format_size (
    elapsed > 0 ? (guint64) ((double) done * G_USEC_PER_SEC / (double) elapsed) : 0);
  g_autofree char *left = format_time_left (elapsed, percent);
  char bar[BAR_WIDTH + 1];

  for (guint i = 0; i < BAR_WIDTH; i++)
    bar[i] = i < filled ? '#' : '-';
  bar[BAR_WIDTH] = '\0';

  /* Erases to the end of the line: the texts vary in length. */
  fprintf (progress->file, "\r[%s] %6.2f%%  %s  %s/s  %s\033[K", bar, percent, amount, rate, left != NULL ? left : "");
}

static void
print_percent (ToolProgress *progress, double percent)
{
  if (progress->is_terminal)
    print_bar (progress, percent);
  else
    fprintf (progress->file, "    (%3.2f/100%%)\r", percent);

  fflush (progress->file);
  progress->printed = percent;
}

static void
progress_cb (ToolProgress *progress)
{
  double percent = get_percent (progress);

  /* Whoever reads lines gets one for each percent, a person sees every change of the rate. */
  if (progress->is_terminal || fabs (percent - progress->printed) >= 1)
    print_percent (progress, percent);
}

ToolProgress *
tool_progress_new (ImagoJob *job, FILE *file)
{
  ToolProgress *progress = g_new0 (ToolProgress, 1);

  progress->job = g_object_ref (job);
  progress->file = file;
  progress->is_terminal = isatty (fileno (file));
  progress->start_time = g_get_monotonic_time ();
  progress->handler =
    g_signal_connect_swapped (job, "notify::progress", G_CALLBACK (progress_cb), progress);
  print_percent (progress, 0);

  return progress;
}

void
tool_progress_print (ToolProgress *progress)
{
  print_percent (progress, get_percent (progress));
}

void
tool_progress_finish (ToolProgress *progress, gboolean complete)
{
  if (complete)
    print_percent (progress, 100);
  fprintf (progress->file, "\n");
  fflush (progress->file);
}

void
tool_progress_free (ToolProgress *progress)
{
  g_signal_handler_disconnect (progress->job, progress->handler);
  g_object_unref (progress->job);
  g_free (progress);
}
