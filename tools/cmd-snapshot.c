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

typedef struct
{
  ToolOpen open;
  gboolean list;
} Settings;

static int
show (const char *filename, ToolOpen *how, gboolean list)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GListModel) snapshots = NULL;

  how->header_only = TRUE;
  how->metadata_only = TRUE;
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

static gboolean
take_list (const char *value, gpointer settings)
{
  gboolean *list = &((Settings *) settings)->list;

  if (*list)
    tool_command_misuse (_("Cannot mix '-l', '-a', '-c', '-d'"));
  return *list ? FALSE : (*list = TRUE);
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  const char *filename = tool_command_get_file (n_operands, operands);

  return filename != NULL ? show (filename, &settings->open, settings->list) : EXIT_FAILURE;
}

#define LIST_ONLY N_("internal snapshots can be listed only")

static const ToolOption options[] = {
  TOOL_CALL ('l', "list", NULL, take_list, N_("list them")),
  TOOL_REFUSED ('a', "apply", N_("SNAPSHOT"), LIST_ONLY),
  TOOL_REFUSED ('c', "create", N_("NAME"), LIST_ONLY),
  TOOL_REFUSED ('d', "delete", N_("SNAPSHOT"), LIST_ONLY),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_ACCEPTED ('q', "quiet", NULL, N_("there is nothing to be quiet about")),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_snapshot = {
  .name = "snapshot",
  .operands = N_("FILE"),
  .summary = N_("list internal snapshots"),
  .description = N_("Lists the internal snapshots of an image."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
