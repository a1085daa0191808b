/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-cache.h"
#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"

#include <glib/gi18n-lib.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open;
  const char *backing;
  const char *backing_format;
  gboolean force_share; /* of the new backing image */
  gboolean name_only;
  gboolean compress;
  gboolean progress;
  gboolean quiet;
} Settings;

static gboolean
has_backing (const Settings *settings)
{
  return settings->backing != NULL && *settings->backing != '\0';
}

/* What is wrong before a file is opened. */
static gboolean
check_settings (const Settings *settings)
{
  if (settings->backing == NULL && !settings->name_only)
    {
      tool_command_misuse (_("Must specify backing file (-b) or use unsafe mode (-u)"));
      return FALSE;
    }
  if (has_backing (settings) && settings->backing_format == NULL)
    tool_error (_("Could not change the backing file to '%s': backing format must be specified"),
                settings->backing);
  else if (settings->backing_format != NULL && imago_format_lookup (settings->backing_format) == NULL)
    tool_error (_("Invalid format name: '%s'"), settings->backing_format);
  else
    return TRUE;
  return FALSE;
}

/* The name means what it will mean in the image. */
static ImagoImage *
open_backing (const char *filename, const Settings *settings, GError **error)
{
  const ToolOpen how = { .format = settings->backing_format,
                         .references = settings->open.references,
                         .force_share = settings->force_share };
  g_autofree char *path = tool_combine_names (filename, settings->backing);

  return tool_open (path, &how, error);
}

static gboolean
rebase (ImagoImage *image, ImagoImage *backing, const Settings *settings)
{
  g_autoptr (ImagoRebaseJob) job =
    imago_rebase_job_new (image, backing, has_backing (settings) ? settings->backing : NULL,
                          has_backing (settings) ? settings->backing_format : NULL);
  g_autoptr (GError) error = NULL;

  imago_rebase_job_set_name_only (job, settings->name_only);
  imago_rebase_job_set_compress (job, settings->compress);
  if (tool_job_run_writing (IMAGO_JOB (job), image, settings->progress && !settings->quiet ? stdout : NULL, &error))
    return TRUE;
  tool_error (_("Could not change the backing file to '%s': %s"),
              settings->backing != NULL ? settings->backing : "", error->message);
  return FALSE;
}

static int
rebase_file (const char *filename, Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) backing = NULL;

  settings->open.header_only = settings->name_only;
  image = tool_open (filename, &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }
  if (has_backing (settings) && !settings->name_only)
    {
      backing = open_backing (filename, settings, &error);
      if (backing == NULL)
        {
          tool_error (_("Could not open new backing file '%s': %s"), settings->backing, error->message);
          tool_open_print_hint (error);
          return EXIT_FAILURE;
        }
    }
  return rebase (image, backing, settings) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  const char *filename = tool_command_get_file (n_operands, operands);

  if (filename == NULL || !check_settings (settings))
    return EXIT_FAILURE;
  return rebase_file (filename, settings);
}

static const ToolOption options[] = {
  TOOL_STRING ('b', "backing", N_("FILE"), Settings, backing,
               N_("the new backing file, as it is to be called in the image; \"\" for none")),
  TOOL_STRING ('F', "backing-format", N_("FORMAT"), Settings, backing_format, N_("the format of that file")),
  TOOL_FLAG ('u', "unsafe", Settings, name_only, N_("change only the name, whatever the disk becomes")),
  TOOL_FLAG ('c', "compress", Settings, compress, N_("compress what has to be copied")),
  TOOL_FLAG ('U', "force-share", Settings, force_share,
             N_("open the new backing file though somebody may be writing to it")),
  TOOL_CALL ('t', "cache", N_("MODE"), tool_check_cache_mode, N_("how the kernel caches what is written")),
  TOOL_COMMON_SOURCE_CACHE ('T', "source-cache"),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .open = { .writable = TRUE } };

const ToolCommand tool_command_rebase = {
  .name = "rebase",
  .operands = N_("FILE"),
  .summary = N_("put an overlay onto another image, or onto none"),
  .description = N_("Puts FILE onto another backing file. What would read otherwise is copied into FILE first: what FILE "
                    "shows is the same at any moment, also when it is interrupted."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
