/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>

enum
{
  EXIT_IDENTICAL = 0,
  EXIT_DIFFERENT = 1,
  EXIT_NOT_OPENED = 2,
  EXIT_NOT_MAPPED = 3,
  EXIT_NOT_READ = 4,
};

/* Peers look for differences sector by sector. */
#define SECTOR_SIZE 512

typedef struct
{
  ToolOpen open; /* of the first image */
  const char *second_format;
  const char *cache;
  gboolean strict;
  gboolean progress;
  gboolean quiet;
} Settings;

static ImagoImage *
open_image (const char *filename, const ToolOpen *how)
{
  g_autoptr (GError) error = NULL;
  ImagoImage *image = tool_open (filename, how, &error);

  if (image == NULL)
    tool_open_print_error (filename, error);
  return image;
}

static guint64
get_size (ImagoCompareJob *job, const char *property)
{
  g_autoptr (ImagoImage) image = NULL;

  g_object_get (job, property, &image, NULL);
  return imago_image_get_size (image);
}

/* What one disk has more was looked at. */
static gboolean
passed_an_end (ImagoCompareJob *job, gboolean is_identical)
{
  guint64 first = get_size (job, "first-image");
  guint64 second = get_size (job, "second-image");

  return first != second && (is_identical || imago_compare_job_get_difference_offset (job) >=
                                               MIN (first, second));
}

static void
print_verdict (ImagoCompareJob *job)
{
  ImagoComparison comparison = imago_compare_job_get_comparison (job);
  guint64 offset = imago_compare_job_get_difference_offset (job);

  if (comparison != IMAGO_COMPARISON_SIZE &&
      passed_an_end (job, comparison == IMAGO_COMPARISON_IDENTICAL))
    printf ("Warning: Image size mismatch!\n");
  switch (comparison)
    {
    case IMAGO_COMPARISON_IDENTICAL:
      printf ("Images are identical.\n");
      break;
    case IMAGO_COMPARISON_CONTENT:
      printf ("Content mismatch at offset %" G_GUINT64_FORMAT "!\n",
              offset / SECTOR_SIZE * SECTOR_SIZE);
      break;
    case IMAGO_COMPARISON_BLOCK_STATUS:
      printf ("Strict mode: Offset %" G_GUINT64_FORMAT " block status mismatch!\n", offset);
      break;
    case IMAGO_COMPARISON_SIZE:
      printf ("Strict mode: Image size mismatch!\n");
      break;
    case IMAGO_COMPARISON_NONE:
    default:
      break;
    }
}

static int
report_failure (ImagoCompareJob *job, const GError *error)
{
  tool_error (_("Could not compare the images: %s"), error->message);
  switch (imago_compare_job_get_failure (job))
    {
    case IMAGO_COMPARE_FAILURE_MAP:
      return EXIT_NOT_MAPPED;
    case IMAGO_COMPARE_FAILURE_READ:
      return EXIT_NOT_READ;
    case IMAGO_COMPARE_FAILURE_NONE:
    default:
      /* Somebody writes to one of them. */
      return EXIT_NOT_OPENED;
    }
}

static int
compare (const Settings *settings, ImagoImage *first, ImagoImage *second)
{
  g_autoptr (ImagoCompareJob) job = imago_compare_job_new (first, second);
  g_autoptr (GError) error = NULL;

  imago_compare_job_set_strict (job, settings->strict);
  if (!tool_job_run (IMAGO_JOB (job), settings->progress && !settings->quiet, &error))
    return report_failure (job, error);
  if (!settings->quiet)
    print_verdict (job);
  return imago_compare_job_get_comparison (job) == IMAGO_COMPARISON_IDENTICAL ? EXIT_IDENTICAL
                                                                              : EXIT_DIFFERENT;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  const Settings *settings = user_data;
  ToolOpen open_second = settings->open;
  g_autoptr (ImagoImage) first = NULL;
  g_autoptr (ImagoImage) second = NULL;

  if (n_operands != 2)
    return tool_command_misuse (_("Expecting two image file names"));
  if (settings->cache != NULL && !tool_option_check_source_cache (settings->cache, NULL))
    return EXIT_NOT_OPENED;
  open_second.format = settings->second_format;
  first = open_image (operands[0], &settings->open);
  if (first != NULL)
    second = open_image (operands[1], &open_second);
  return second != NULL ? compare (settings, first, second) : EXIT_NOT_OPENED;
}

static const ToolOption options[] = {
  TOOL_FLAG ('s', "strict", Settings, strict,
             N_("sizes must be the same, and what is allocated, too")),
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_OPENING, .letter = 'f', .name = "format",
    .argument = N_("FORMAT"), .help = N_("the format of FILE1 (default: what it looks like)"),
    .offset = TOOL_FIELD (Settings, open.format, const char *) },
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_OPENING, .letter = 'F', .name = "second-format",
    .argument = N_("FORMAT"), .help = N_("the format of FILE2 (default: what it looks like)"),
    .offset = TOOL_FIELD (Settings, second_format, const char *) },
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_ACCEPTED, .letter = 'T', .name = "source-cache",
    .argument = N_("MODE"), .help = N_("how the kernel caches what is read"),
    .offset = TOOL_FIELD (Settings, cache, const char *) },
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_compare = {
  .name = "compare",
  .operands = N_("FILE1 FILE2"),
  .summary = N_("find out whether two disks hold the same"),
  .description = N_("Compares two disks, with all that lies below them, and says where the first "
                    "difference is. What one has more than the other is no difference if it reads "
                    "as zero."),
  .notes = N_("The exit status is 0 if the disks are the same, 1 if they differ or the command line "
              "is wrong, 2 if an image cannot be opened, 3 if it is not known what is allocated, "
              "and 4 if data cannot be read."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
