/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-json.h"

#include <stdio.h>

void
tool_json_add_string (JsonObject *object, const char *name, const char *value)
{
  g_autofree char *valid = NULL;

  if (value == NULL)
    return;

  valid = g_utf8_make_valid (value, -1);
  json_object_set_string_member (object, name, valid);
}

void
tool_json_add_size (JsonObject *object, const char *name, guint64 value)
{
  /* JSON of json-glib is signed; no file or disk is larger than that. */
  json_object_set_int_member (object, name, (gint64) MIN (value, (guint64) G_MAXINT64));
}

void
tool_json_add_strings (JsonObject *object, const char *name, const char *const *values)
{
  JsonArray *array = json_array_new ();

  for (gsize i = 0; values != NULL && values[i] != NULL; i++)
    {
      g_autofree char *valid = g_utf8_make_valid (values[i], -1);

      json_array_add_string_element (array, valid);
    }

  json_object_set_array_member (object, name, array);
}

char *
tool_json_quote (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autoptr (JsonNode) node = json_node_init_string (json_node_alloc (), valid);

  return json_to_string (node, FALSE);
}

static void print_node (JsonNode *node, guint depth);

static void
print_indent (guint depth)
{
  printf ("%*s", (int) (4 * depth), "");
}

/* As qemu-img has it, an empty array, too. */
static void
print_array (JsonArray *array, guint depth)
{
  guint n = json_array_get_length (array);

  printf ("[\n");
  for (guint i = 0; i < n; i++)
    {
      print_indent (depth + 1);
      print_node (json_array_get_element (array, i), depth + 1);
      printf (i + 1 < n ? ",\n" : "\n");
    }
  print_indent (depth);
  printf ("]");
}

static void
print_object (JsonObject *object, guint depth)
{
  guint n = json_object_get_size (object);
  JsonObjectIter iter;
  const char *name;
  JsonNode *member;
  guint i = 0;

  printf (n > 0 ? "{\n" : "{");
  json_object_iter_init_ordered (&iter, object);
  while (json_object_iter_next_ordered (&iter, &name, &member))
    {
      g_autofree char *quoted = tool_json_quote (name);

      print_indent (depth + 1);
      printf ("%s: ", quoted);
      print_node (member, depth + 1);
      printf (++i < n ? ",\n" : "\n");
    }
  if (n > 0)
    print_indent (depth);
  printf ("}");
}

static void
print_node (JsonNode *node, guint depth)
{
  if (JSON_NODE_HOLDS_ARRAY (node))
    print_array (json_node_get_array (node), depth);
  else if (JSON_NODE_HOLDS_OBJECT (node))
    print_object (json_node_get_object (node), depth);
  else
    {
      g_autofree char *text = json_to_string (node, FALSE);

      printf ("%s", text);
    }
}

void
tool_json_print (JsonNode *root)
{
  print_node (root, 0);
  printf ("\n");
  json_node_unref (root);
}
