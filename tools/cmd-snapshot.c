/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-snapshots.h"

#include <glib/gi18n-lib.h>
#include <stdlib.h>

static int
show (const char *filename, ToolOpen *how, gboolean list)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GListModel) snapshots = NULL;

  how->header_only = TRUE;
  /* Without an action, as in qemu-img, it is only seen whether the image can be opened. */
  image = tool_open (filename, how, &error);
  if (image != NULL && !list)
    return EXIT_SUCCESS;
  if (image != NULL)
    snapshots = imago_image_list_snapshots (image, NULL, &error);
  if (snapshots == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }

  if (g_list_model_get_n_items (snapshots) > 0)
    tool_snapshots_print (snapshots);
  return EXIT_SUCCESS;
}

int
cmd_snapshot (int argc, char **argv)
{
  static const struct option options[] = {
    TOOL_COMMON_OPTIONS,
    { "format", required_argument, NULL, 'f' },
    { "list", no_argument, NULL, 'l' },
    { "apply", required_argument, NULL, 'a' },
    { "create", required_argument, NULL, 'c' },
    { "delete", required_argument, NULL, 'd' },
    { "quiet", no_argument, NULL, 'q' },
    { NULL, 0, NULL, 0 },
  };
  const ToolUsage usage = {
    "snapshot",
    "[-f FORMAT] [-U] [-q] -l FILE",
    _("Lists the internal snapshots of an image.\n"
       "\n"
       "  -l, --list              list them\n"
       "  -f, --format=FORMAT     the format of FILE (default: what it looks like)\n"
       "  -q, --quiet             accepted; there is nothing to be quiet about\n"
       "  -U, --force-share       read it though somebody may be writing to it"),
  };
  ToolOpen how = { 0 };
  gboolean list = FALSE;
  const char *filename;
  int option;

  while ((option = getopt_long (argc, argv, "hf:Ulqa:c:d:", options, NULL)) != -1)
    switch (tool_option_common (option, optarg, &usage, &how))
      {
      case TOOL_OPTION_TAKEN:
        break;
      case TOOL_OPTION_HELP:
        return EXIT_SUCCESS;
      case TOOL_OPTION_UNKNOWN:
        if (option == 'l' && list)
          {
            tool_usage_error (usage.command, _("Cannot mix '-l', '-a', '-c', '-d'"));
            return EXIT_FAILURE;
          }
        if (option == 'l')
          list = TRUE;
        else if (option != 'q')
          {
            const char name[] = { '-', (char) option, '\0' };

            tool_option_refuse (name, _("images are opened for reading only"));
            return EXIT_FAILURE;
          }
        break;
      case TOOL_OPTION_FAILED:
      default:
        return EXIT_FAILURE;
      }

  filename = tool_option_file (argc, argv, &usage);
  return filename != NULL ? show (filename, &how, list) : EXIT_FAILURE;
}
