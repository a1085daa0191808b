/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open;
  gboolean punch;
  gboolean rewrite;
  gboolean lose_bitmaps;
  gboolean progress;
  gboolean quiet;
} Settings;

static gboolean
compact (ImagoImage *image, const Settings *settings, guint64 *n_freed, GError **error)
{
  g_autoptr (ImagoCompactJob) job = imago_compact_job_new (image);

  if (settings->rewrite)
    imago_compact_job_set_method (job, IMAGO_COMPACT_METHOD_REWRITE);
  imago_compact_job_set_lose_bitmaps (job, settings->lose_bitmaps);
  if (!tool_job_run_writing (IMAGO_JOB (job), image, settings->progress && !settings->quiet ? stdout : NULL, error))
    return FALSE;
  *n_freed = imago_compact_job_get_bytes_freed (job);
  return TRUE;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;
  guint64 n_freed;

  if (n_operands != 1)
    return tool_command_misuse (_ ("Expecting one image file name"));
  if (settings->punch && settings->rewrite)
    return tool_command_misuse (_ ("--punch and --rewrite are mutually exclusive"));
  image = tool_open (operands[0], &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (operands[0], error);
      return EXIT_FAILURE;
    }
  if (!compact (image, settings, &n_freed, &error))
    {
      tool_error ("%s", error->message);
      return EXIT_FAILURE;
    }
  if (!settings->quiet)
    printf (_ ("%" PRIu64 " bytes were given back.\n"), n_freed);
  return EXIT_SUCCESS;
}

static const ToolOption options[] = {
  TOOL_FLAG (0, "punch", Settings, punch, N_ ("work in place, with holes in the file (the default)")),
  TOOL_FLAG (0,
             "rewrite",
             Settings,
             rewrite,
             N_ ("write the image anew beside FILE, and replace FILE by it at the end")),
  TOOL_FLAG (0,
             "lose-bitmaps",
             Settings,
             lose_bitmaps,
             N_ ("compact an image that has bitmaps, too; they are not valid afterwards. With --rewrite: leave out "
                 "bitmaps that were not closed, which alone are lost")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .open = { .writable = TRUE } };

const ToolCommand tool_command_compact = {
  .name = "compact",
  .operands = N_ ("FILE"),
  .summary = N_ ("make the file of an image smaller"),
  .description = N_ ("Gives back what FILE takes without need: data that is nothing but "
                     "zeroes, and clusters "
                     "that nothing uses. The disk stays as it is. In place, snapshots do as well, but holes need a file "
                     "system that has them; rewriting makes FILE as small as a fresh copy, takes room for that, "
                     "and refuses images with snapshots."),
  .notes = N_ ("Clusters that only seem to be in use are given back by --rewrite, or by \"check -r leaks\"."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
