/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COROUTINES 16
#define MAX_SPARSE_SIZE (16 * 1024 * 1024)

typedef struct
{
  ToolOpen open;
  const char *output_format;
  gboolean progress;
  gboolean quiet;
  gboolean durable;
  gboolean sparse_given;
  gboolean offload;
  guint threads;
  const char *source;
  const char *target;
} Settings;

/* ---- options ---- */

/* Durable unless the person says that speed is all. The modes that bypass the page cache or write
 * through it promise no more than a durable result does. */
static gboolean
take_cache_mode (const char *value, gpointer user_data)
{
  Settings *settings = user_data;
  static const char *const safe[] = {
    "writeback", "writethrough", "none", "off", "directsync", NULL
  };

  if (g_str_equal (value, "unsafe"))
    {
      settings->durable = FALSE;
      return TRUE;
    }
  if (g_strv_contains (safe, value))
    {
      settings->durable = TRUE;
      return TRUE;
    }

  tool_error (_("Invalid %s option: %s"), _("cache"), value);
  return FALSE;
}

static gboolean
take_sparse_size (const char *value, gpointer user_data)
{
  Settings *settings = user_data;
  guint64 size;

  if (!tool_parse_size (value, &size) || size % 512 != 0 || size > MAX_SPARSE_SIZE)
    {
      tool_error (_("Invalid buffer size for sparse output specified. Valid sizes are multiples "
                     "of 512 up to %u."),
                  MAX_SPARSE_SIZE);
      return FALSE;
    }
  if (size == 0)
    {
      tool_option_refuse ("-S 0", _("zeroes always become holes"));
      return FALSE;
    }

  settings->sparse_given = TRUE;
  return TRUE;
}

static gboolean
take_threads (const char *value, gpointer user_data)
{
  Settings *settings = user_data;
  guint64 threads;

  if (!g_ascii_string_to_unsigned (value, 10, 1, MAX_COROUTINES, &threads, NULL))
    {
      tool_error (
        _("Invalid number of coroutines. Allowed number of coroutines is between 1 and %u"),
        MAX_COROUTINES);
      return FALSE;
    }

  settings->threads = (guint) threads;
  return TRUE;
}

/* -o: what a raw target can be told, as long as it is what happens anyhow. */
static gboolean
take_target_options (const char *value, gpointer user_data)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);

  for (gsize i = 0; parts[i] != NULL; i++)
    if (!g_str_equal (parts[i], "preallocation=off"))
      {
        g_autofree char *option = g_strdup_printf ("-o %s", parts[i]);

        tool_option_refuse (option, _("the only one for raw files is preallocation=off"));
        return FALSE;
      }

  return TRUE;
}

static gboolean
check_output_format (const char *name)
{
  ImagoFormat *format = imago_format_lookup (name);
  g_autofree char *option = NULL;

  if (format == NULL)
    {
      tool_error (_("Unknown file format '%s'"), name);
      return FALSE;
    }
  if (imago_format_get_flags (format) & IMAGO_FORMAT_CONVERT_TARGET)
    return TRUE;

  option = g_strdup_printf ("-O %s", name);
  tool_option_refuse (option, _("only raw files can be written"));
  return FALSE;
}

/* ---- the job ---- */

static int
convert (ImagoImage *image, const Settings *settings)
{
  g_autoptr (GFile) target = g_file_new_for_path (settings->target);
  g_autoptr (ImagoConvertJob) job = imago_convert_job_new (image, target);
  g_autoptr (GError) error = NULL;

  imago_convert_job_set_overwrite (job, TRUE);
  imago_convert_job_set_durable (job, settings->durable);
  imago_convert_job_set_threads (job, settings->threads);
  if (tool_job_run (IMAGO_JOB (job), settings->progress && !settings->quiet, &error))
    return EXIT_SUCCESS;

  tool_error (_("Could not convert '%s' to '%s': %s"), settings->source, settings->target,
              error->message);
  return EXIT_FAILURE;
}

static int
run_convert (const Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  if (settings->output_format != NULL && !check_output_format (settings->output_format))
    return EXIT_FAILURE;

  image = tool_open (settings->source, &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (settings->source, error);
      return EXIT_FAILURE;
    }

  return convert (image, settings);
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;

  if (settings->offload && settings->sparse_given)
    {
      tool_error (_("Cannot use -S when -C is used"));
      return EXIT_FAILURE;
    }
  if (n_operands < 2)
    return tool_command_misuse (_("Must specify image file name"));
  if (n_operands > 2)
    return tool_command_misuse (_("Joining several images is not supported"));

  settings->source = operands[0];
  settings->target = operands[1];
  return run_convert (settings);
}

static const ToolOption options[] = {
  TOOL_STRING ('O', "target-format", N_("FORMAT"), Settings, output_format,
               N_("the format of TARGET: raw")),
  TOOL_STRING ('l', "snapshot", N_("SNAPSHOT"), Settings, open.snapshot,
               N_("copy an internal snapshot: an id, a name, or snapshot.id=ID,snapshot.name=NAME")),
  TOOL_CALL ('t', "cache", N_("MODE"), take_cache_mode,
             N_("unsafe: do not wait until TARGET is on the disk; all other modes do")),
  TOOL_CALL ('m', "parallel", N_("N"), take_threads,
             N_("copy with N threads, 1 to 16 (default: one for each processor)")),
  TOOL_CALL ('o', "options", N_("LIST"), take_target_options, N_("options of TARGET")),
  /* What only other targets than a new raw file could use. */
  TOOL_REFUSED ('c', "compress", NULL, N_("a raw file cannot be compressed")),
  TOOL_REFUSED ('n', NULL, NULL, N_("the target is always a new file, put in place when it is complete")),
  TOOL_REFUSED ('B', "backing", N_("FILE"), N_("a raw file has no backing file")),
  TOOL_REFUSED ('F', "backing-format", N_("FORMAT"), N_("a raw file has no backing file")),
  TOOL_REFUSED ('r', "rate-limit", N_("RATE"), N_("the rate cannot be limited")),
  TOOL_REFUSED (0, "target-image-opts", NULL, N_("give the target as a file name")),
  TOOL_REFUSED (0, "target-is-zero", NULL, N_("the target is always a new file")),
  TOOL_REFUSED (0, "bitmaps", NULL, N_("a raw file has no bitmaps")),
  TOOL_REFUSED (0, "skip-broken-bitmaps", NULL, N_("a raw file has no bitmaps")),
  TOOL_REFUSED (0, "salvage", NULL, N_("an image that cannot be read completely is not converted")),
  TOOL_STRING ('f', "source-format", N_("FORMAT"), Settings, open.format,
               N_("the format of SOURCE (default: what it looks like)")),
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_HIDDEN, .letter = 'f', .name = "format",
    .argument = N_("FORMAT"), .offset = TOOL_FIELD (Settings, open.format, const char *) },
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  { .type = TOOL_OPTION_CALL, .group = TOOL_GROUP_ACCEPTED, .letter = 'S', .name = "sparse-size",
    .argument = N_("SIZE"), .set = take_sparse_size, .help = N_("runs of zeroes that become holes") },
  { .type = TOOL_OPTION_FLAG, .group = TOOL_GROUP_ACCEPTED, .letter = 'C', .name = "copy-range-offloading",
    .help = N_("let the kernel copy"), .offset = TOOL_FIELD (Settings, offload, gboolean) },
  TOOL_ACCEPTED ('W', "oob-writes", NULL, N_("write in any order: the file appears when it is complete")),
  TOOL_COMMON_SOURCE_CACHE ('T', "source-cache"),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .durable = TRUE };

const ToolCommand tool_command_convert = {
  .name = "convert",
  .operands = N_("SOURCE TARGET"),
  .summary = N_("copy a disk into a new file"),
  .description = N_("Copies a disk, with all that lies below it, into a new raw file. TARGET "
                    "appears, or is replaced, when it is complete; an interrupted copy leaves "
                    "nothing."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
