/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-resize.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct
{
  ToolOpen open;
  gboolean quiet;
  gboolean shrink;
  gboolean progress;
  ImagoPreallocation preallocation;
  int sign; /* of @amount: 0 if it is the size itself */
  guint64 amount;
} Settings;

/* ---- the command line ---- */

static gboolean
parse_amount (const char *text, Settings *settings)
{
  settings->sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
  if (tool_parse_size (settings->sign != 0 ? text + 1 : text, &settings->amount))
    return TRUE;

  tool_error (_("Parameter 'size' expects a non-negative number below 2^64\n"
                 "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                 "and exabytes, respectively."));
  return FALSE;
}

static gboolean
take_preallocation (const char *value, gpointer settings)
{
  return tool_parse_preallocation (value, &((Settings *) settings)->preallocation);
}

/* ---- the work ---- */

/* FALSE if there is no such disk. */
static gboolean
find_size (const Settings *settings, guint64 current, guint64 *size)
{
  if (settings->sign < 0)
    *size = settings->amount < current ? current - settings->amount : 0;
  else
    *size = settings->sign > 0 ? current + settings->amount : settings->amount;
  if (*size > 0 && *size <= G_MAXINT64)
    return TRUE;

  tool_error (_("New image size must be positive"));
  return FALSE;
}

static gboolean
check_not_growing (const Settings *settings, gboolean is_smaller)
{
  if (settings->preallocation != IMAGO_PREALLOCATION_NONE)
    tool_error (_("Preallocation can only be used for growing images"));
  else if (is_smaller && !settings->shrink)
    {
      tool_error (_("Use the --shrink option to perform a shrink operation."));
      tool_error (_("warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                     "Before performing such an operation, make sure there is no important data there."));
    }
  else
    return TRUE;
  return FALSE;
}

static gboolean
resize (ImagoImage *image, const Settings *settings)
{
  guint64 current = imago_image_get_size (image);
  g_autoptr (ImagoResizeJob) job = NULL;
  g_autoptr (GError) error = NULL;
  guint64 size;

  if (!find_size (settings, current, &size) || (size <= current && !check_not_growing (settings, size < current)) ||
      !tool_check_disk_size (image, size))
    return FALSE;
  job = imago_resize_job_new (image, size);
  imago_resize_job_set_flags (job, settings->shrink ? IMAGO_RESIZE_MAY_SHRINK : IMAGO_RESIZE_NONE);
  imago_resize_job_set_preallocation (job, settings->preallocation);
  if (tool_job_run_writing (IMAGO_JOB (job), image, settings->progress && !settings->quiet ? stdout : NULL, &error))
    return TRUE;

  tool_error ("%s", error->message);
  return FALSE;
}

static int
resize_file (const char *filename, const Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = tool_open (filename, &settings->open, &error);

  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }
  if (!resize (image, settings))
    return EXIT_FAILURE;
  if (!settings->quiet)
    printf ("Image resized.\n");
  return EXIT_SUCCESS;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;

  if (n_operands < 2)
    return tool_command_misuse (_("Not enough arguments"));
  if (n_operands > 2)
    return tool_command_misuse (_("Expecting image file name and size"));
  if (!parse_amount (operands[1], settings))
    return EXIT_FAILURE;
  return resize_file (operands[0], settings);
}

static const ToolOption options[] = {
  TOOL_FLAG (0, "shrink", Settings, shrink,
             N_("the disk may become smaller; what lies behind its new end is lost")),
  TOOL_CALL (0, "preallocation", N_("MODE"), take_preallocation,
             N_("what is prepared in the part that is new: off (default), metadata, falloc, full")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .open = { .writable = TRUE } };

const ToolCommand tool_command_resize = {
  .name = "resize",
  .operands = N_("FILE [+|-]SIZE"),
  .summary = N_("change the size of a disk"),
  .description = N_("Changes the size of the disk in FILE: to SIZE bytes, or by so many."),
  .notes = N_("SIZE can have a suffix k, M, G, T, P or E."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .keeps_last = TRUE,
  .run = run,
};
