/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-dump.h"

#include "tool-json.h"

#include <glib/gi18n-lib.h>

/* Names that stay as they are, unlike the titles that the help prints. */
static const char *const group_names[] = {
  [TOOL_GROUP_OWN] = "own",           [TOOL_GROUP_OPENING] = "opening",
  [TOOL_GROUP_OUTPUT] = "output",     [TOOL_GROUP_ACCEPTED] = "accepted",
  [TOOL_GROUP_HIDDEN] = "hidden",
};

static void
add_translated (JsonObject *object, const char *name, const char *text)
{
  if (text != NULL)
    json_object_set_string_member (object, name, _ (text));
}

static JsonObject *
describe_option (const ToolOption *option)
{
  JsonObject *object = json_object_new ();
  const char letter[] = { option->letter, '\0' };

  tool_json_add_string (object, "letter", option->letter != 0 ? letter : NULL);
  tool_json_add_string (object, "name", option->name);
  add_translated (object, "argument", option->argument);
  add_translated (object, "help", option->help);
  tool_json_add_string (object, "group", group_names[option->group]);
  json_object_set_boolean_member (object, "supported", option->type != TOOL_OPTION_REFUSED);
  json_object_set_boolean_member (object, "repeatable", option->type == TOOL_OPTION_LIST);
  if (option->choices != NULL)
    {
      JsonArray *choices = json_array_new ();

      for (const ToolChoice *choice = option->choices; choice->text != NULL; choice++)
        json_array_add_string_element (choices, choice->text);
      json_object_set_array_member (object, "choices", choices);
    }

  return object;
}

static JsonObject *
describe_command (const ToolCommand *command)
{
  JsonObject *object = json_object_new ();
  JsonArray *options = json_array_new ();

  tool_json_add_string (object, "name", command->name);
  add_translated (object, "operands", command->operands);
  add_translated (object, "summary", command->summary);
  add_translated (object, "description", command->description);
  add_translated (object, "notes", command->notes);
  for (const ToolOption *option = command->options; option->type != TOOL_OPTION_END; option++)
    json_array_add_object_element (options, describe_option (option));
  json_object_set_array_member (object, "options", options);

  return object;
}

void
tool_dump_commands (const ToolCommand *const *commands, guint n_commands)
{
  JsonArray *array = json_array_new ();
  JsonNode *node = json_node_new (JSON_NODE_ARRAY);

  json_node_take_array (node, array);
  for (guint i = 0; i < n_commands; i++)
    json_array_add_object_element (array, describe_command (commands[i]));
  tool_json_print (node);
}
