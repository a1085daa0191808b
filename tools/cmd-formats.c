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

int
cmd_formats (int argc, char **argv)
{
  static const struct option options[] = {
    { "help", no_argument, NULL, 'h' },
    { "output", required_argument, NULL, TOOL_OPTION_OUTPUT },
    { NULL, 0, NULL, 0 },
  };
  const ToolUsage usage = {
    "formats",
    "[--output=human|json]",
    _ ("Lists the formats and what images of each can have.\n"
       "\n"
       "  --output=human|json     how to print it"),
  };
  g_autoptr (GListModel) formats = NULL;
  ToolOpen unused = { 0 };
  gboolean json = FALSE;
  int option;

  while ((option = getopt_long (argc, argv, "h", options, NULL)) != -1)
    switch (tool_option_common (option, optarg, &usage, &unused))
      {
      case TOOL_OPTION_HELP:
        return EXIT_SUCCESS;
      case TOOL_OPTION_UNKNOWN:
        if (!tool_option_output (optarg, &json))
          return EXIT_FAILURE;
        break;
      case TOOL_OPTION_TAKEN:
      case TOOL_OPTION_FAILED:
      default:
        return EXIT_FAILURE;
      }

  if (optind != argc)
    {
      tool_usage_error (usage.command, _ ("Unexpected argument '%s'"), argv[optind]);
      return EXIT_FAILURE;
    }

  formats = imago_format_list ();
  if (json)
    print_json (formats);
  else
    print_text (formats);
  return EXIT_SUCCESS;
}
