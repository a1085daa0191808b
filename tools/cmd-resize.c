/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-resize.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum
{
  OPTION_SHRINK = TOOL_OPTION_OTHER,
  OPTION_PREALLOCATION,
};

typedef struct
{
  ToolOpen open;
  gboolean quiet;
  gboolean shrink;
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
take_option (int option, const char *value, Settings *settings)
{
  switch (option)
    {
    case 'q':
      settings->quiet = TRUE;
      return TRUE;
    case OPTION_SHRINK:
      settings->shrink = TRUE;
      return TRUE;
    case OPTION_PREALLOCATION:
      return tool_parse_preallocation (value, &settings->preallocation);
    default:
      return FALSE;
    }
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
check_shrinking (const Settings *settings)
{
  if (settings->preallocation != IMAGO_PREALLOCATION_NONE)
    tool_error (_("Preallocation can only be used for growing images"));
  else if (!settings->shrink)
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
  g_autoptr (GError) error = NULL;
  guint64 size;

  if (!find_size (settings, current, &size) || (size < current && !check_shrinking (settings)) ||
      !tool_check_disk_size (image, size))
    return FALSE;
  if (imago_image_resize (image, size,
                          settings->shrink ? IMAGO_RESIZE_MAY_SHRINK : IMAGO_RESIZE_NONE,
                          settings->preallocation, NULL, &error) &&
      imago_image_close (image, NULL, &error))
    return TRUE;

  tool_error ("%s", error->message);
  return FALSE;
}

static int
run (const char *filename, const Settings *settings)
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

/* What is last on the command line is the size, though it may begin as an option does. */
static const char *
take_size (int *argc, char **argv)
{
  if (*argc == 2 && (g_str_equal (argv[1], "--help") || g_str_equal (argv[1], "-h")))
    return "";
  if (*argc < 3)
    {
      tool_usage_error ("resize", _("Not enough arguments"));
      return NULL;
    }
  return argv[--*argc];
}

int
cmd_resize (int argc, char **argv)
{
  static const struct option options[] = {
    TOOL_COMMON_OPTIONS,
    { "format", required_argument, NULL, 'f' },
    { "quiet", no_argument, NULL, 'q' },
    { "shrink", no_argument, NULL, OPTION_SHRINK },
    { "preallocation", required_argument, NULL, OPTION_PREALLOCATION },
    { NULL, 0, NULL, 0 },
  };
  const ToolUsage usage = {
    "resize",
    "[-f FORMAT] [--shrink] [--preallocation=MODE] [-q] [--references=deny|same-dir|any] FILE [+|-]SIZE",
    _("Changes the size of the disk in FILE: to SIZE bytes, or by so many.\n"
       "\n"
       "  -f, --format=FORMAT     the format of FILE (default: what it looks like, if its suffix agrees)\n"
       "  --shrink                the disk may become smaller; what lies behind its new end is lost\n"
       "  --preallocation=MODE    what is prepared in the part that is new: off (default), metadata,\n"
       "                          falloc, full\n"
       "  -q, --quiet             say nothing\n"
       "  --references=WHICH      files that the image may refer to: deny, same-dir (default), any\n"
       "\n"
       "SIZE can have a suffix k, M, G, T, P or E."),
  };
  Settings settings = { .open = { .writable = TRUE } };
  const char *size = take_size (&argc, argv);
  const char *filename;
  int option;

  if (size == NULL)
    return EXIT_FAILURE;
  while ((option = getopt_long (argc, argv, "hf:qU", options, NULL)) != -1)
    switch (tool_option_common (option, optarg, &usage, &settings.open))
      {
      case TOOL_OPTION_TAKEN:
        break;
      case TOOL_OPTION_HELP:
        return EXIT_SUCCESS;
      case TOOL_OPTION_UNKNOWN:
        if (!take_option (option, optarg, &settings))
          return EXIT_FAILURE;
        break;
      case TOOL_OPTION_FAILED:
      default:
        return EXIT_FAILURE;
      }

  if (optind != argc - 1)
    {
      tool_usage_error (usage.command, _("Expecting image file name and size"));
      return EXIT_FAILURE;
    }
  filename = argv[optind];
  if (!parse_amount (size, &settings))
    return EXIT_FAILURE;
  return run (filename, &settings);
}
