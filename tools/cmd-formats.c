/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <imago-glib/imago-glib.h>
#include <stdio.h>
#include <stdlib.h>

/* Capabilities in the words of the output; not translated, since they are the same in JSON. */
static const struct
{
  ImagoFormatFlags flag;
  const char *name;
} capabilities[] = {
  { IMAGO_FORMAT_BACKING_FILE, "backing-file" },
  { IMAGO_FORMAT_DATA_FILE, "data-file" },
  { IMAGO_FORMAT_COMPRESSED, "compressed" },
  { IMAGO_FORMAT_SNAPSHOTS, "snapshots" },
  { IMAGO_FORMAT_CONVERT_TARGET, "convert-target" },
  { IMAGO_FORMAT_CREATE, "create" },
  { IMAGO_FORMAT_CHECK, "check" },
};

static GStrv
list_capabilities (ImagoFormat *format)
{
  ImagoFormatFlags flags = imago_format_get_flags (format);
  GPtrArray *names = g_ptr_array_new ();

  for (guint i = 0; i < G_N_ELEMENTS (capabilities); i++)
    if (flags & capabilities[i].flag)
      g_ptr_array_add (names, g_strdup (capabilities[i].name));
  g_ptr_array_add (names, NULL);

  return (GStrv) g_ptr_array_free (names, FALSE);
}

static JsonObject *
describe (ImagoFormat *format)
{
  g_auto (GStrv) flags = list_capabilities (format);
  JsonObject *object = json_object_new ();

  tool_json_add_string (object, "name", imago_format_get_name (format));
  tool_json_add_string (object, "title", imago_format_get_title (format));
  tool_json_add_strings (object, "mime-types", imago_format_get_mime_types (format));
  tool_json_add_strings (object, "suffixes", imago_format_get_suffixes (format));
  tool_json_add_strings (object, "capabilities", (const char *const *) flags);
  return object;
}

static void
print_json (GListModel *formats)
{
  guint n = g_list_model_get_n_items (formats);
  JsonNode *node = json_node_new (JSON_NODE_ARRAY);
  JsonArray *array = json_array_new ();

  json_node_take_array (node, array);
  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoFormat) format = g_list_model_get_item (formats, i);

      json_array_add_object_element (array, describe (format));
    }

  tool_json_print (node);
}

static void
print_text (GListModel *formats)
{
  guint n = g_list_model_get_n_items (formats);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoFormat) format = g_list_model_get_item (formats, i);
      g_auto (GStrv) flags = list_capabilities (format);
      g_autofree char *joined = g_strjoinv (" ", flags);

      printf ("%-8s %s", imago_format_get_name (format), imago_format_get_title (format));
      printf (*joined != '\0' ? " (%s)\n" : "\n", joined);
    }
}

typedef struct
{
  gboolean json;
} Settings;

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  g_autoptr (GListModel) formats = NULL;

  if (n_operands != 0)
    return tool_command_misuse (_ ("Unexpected argument '%s'"), operands[0]);

  formats = imago_format_list ();
  if (settings->json)
    print_json (formats);
  else
    print_text (formats);
  return EXIT_SUCCESS;
}

static const ToolOption options[] = {
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_formats = {
  .name = "formats",
  .summary = N_ ("list the formats"),
  .description = N_ ("Lists the formats and what images of each can have."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
