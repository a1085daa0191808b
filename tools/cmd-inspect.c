/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The exit status when there is something that whoever takes in files should look at. */
#define EXIT_SUSPICIOUS 2

static const char *
role_name (ImagoReference *reference)
{
  switch (imago_reference_get_role (reference))
    {
    case IMAGO_REFERENCE_BACKING_FILE:
      return "backing-file";
    case IMAGO_REFERENCE_DATA_FILE:
      return "data-file";
    case IMAGO_REFERENCE_NONE:
    default:
      return "file";
    }
}

/* Where a name leads, as far as the name alone tells. */
static const char *
location_name (const char *name)
{
  const char *colon = strchr (name, ':');

  if (colon != NULL && memchr (name, '/', (gsize) (colon - name)) == NULL)
    return "no-file";
  if (strchr (name, '/') != NULL || g_str_equal (name, "..") || g_str_equal (name, "."))
    return "elsewhere";
  return "same-directory";
}

static gboolean
is_suspicious (ImagoInspection *inspection)
{
  const char *const *unknown = imago_inspection_get_unknown_features (inspection);
  const char *const *problems = imago_inspection_get_problems (inspection);

  return g_list_model_get_n_items (imago_inspection_get_formats (inspection)) > 1 ||
         !imago_inspection_get_self_contained (inspection) ||
         (unknown != NULL && *unknown != NULL) || (problems != NULL && *problems != NULL);
}

/* The names of the formats that the file matches; "raw" where it matches none. */
static GStrv
list_formats (ImagoInspection *inspection)
{
  GListModel *formats = imago_inspection_get_formats (inspection);
  guint n = g_list_model_get_n_items (formats);
  GPtrArray *names = g_ptr_array_new ();

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoFormat) format = g_list_model_get_item (formats, i);

      g_ptr_array_add (names, g_strdup (imago_format_get_name (format)));
    }
  if (n == 0)
    g_ptr_array_add (names, g_strdup ("raw"));
  g_ptr_array_add (names, NULL);

  return (GStrv) g_ptr_array_free (names, FALSE);
}

/* ---- JSON ---- */

static JsonArray *
describe_references (GListModel *references)
{
  guint n = g_list_model_get_n_items (references);
  JsonArray *array = json_array_new ();

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoReference) reference = g_list_model_get_item (references, i);
      g_autofree char *format = imago_reference_dup_format_name (reference);
      JsonObject *object = json_object_new ();

      tool_json_add_string (object, "role", role_name (reference));
      tool_json_add_string (object, "name", imago_reference_get_name (reference));
      tool_json_add_string (object, "format", format);
      tool_json_add_string (object, "location",
                            location_name (imago_reference_get_name (reference)));
      json_array_add_object_element (array, object);
    }

  return array;
}

static void
print_json (const char *filename, ImagoInspection *inspection)
{
  g_auto (GStrv) formats = list_formats (inspection);
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (node, object);
  tool_json_add_string (object, "filename", filename);
  tool_json_add_strings (object, "formats", (const char *const *) formats);
  tool_json_add_size (object, "file-size", imago_inspection_get_file_size (inspection));
  tool_json_add_size (object, "virtual-size", imago_inspection_get_virtual_size (inspection));
  json_object_set_boolean_member (object, "self-contained",
                                  imago_inspection_get_self_contained (inspection));
  json_object_set_array_member (object, "references",
                                describe_references (imago_inspection_get_references (inspection)));
  tool_json_add_string (object, "encryption", imago_inspection_get_encryption (inspection));
  json_object_set_int_member (object, "snapshots", imago_inspection_get_n_snapshots (inspection));
  tool_json_add_strings (object, "unknown-features",
                         imago_inspection_get_unknown_features (inspection));
  tool_json_add_strings (object, "problems", imago_inspection_get_problems (inspection));
  tool_json_print (node);
}

/* ---- text ---- */

static void
print_references (GListModel *references)
{
  guint n = g_list_model_get_n_items (references);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoReference) reference = g_list_model_get_item (references, i);
      g_autofree char *name = tool_printable (imago_reference_get_name (reference));
      g_autofree char *format = imago_reference_dup_format_name (reference);
      g_autofree char *printable = format != NULL ? tool_printable (format) : NULL;

      printf ("wants %s: %s (format: %s; %s)\n", role_name (reference), name,
              printable != NULL ? printable : _("not given"),
              location_name (imago_reference_get_name (reference)));
    }
}

static void
print_strings (const char *label, const char *const *strings)
{
  for (gsize i = 0; strings != NULL && strings[i] != NULL; i++)
    {
      g_autofree char *printable = tool_printable (strings[i]);

      printf ("%s: %s\n", label, printable);
    }
}

static void
print_text (const char *filename, ImagoInspection *inspection)
{
  g_auto (GStrv) formats = list_formats (inspection);
  g_autofree char *joined = g_strjoinv (", ", formats);
  g_autofree char *name = tool_printable (filename);
  guint64 file_size = imago_inspection_get_file_size (inspection);
  guint64 virtual_size = imago_inspection_get_virtual_size (inspection);
  g_autofree char *file_size_text = tool_format_size (file_size);
  g_autofree char *virtual_size_text = tool_format_size (virtual_size);

  printf ("file: %s\n", name);
  printf ("file format: %s\n", joined);
  printf ("file size: %s (%" G_GUINT64_FORMAT " bytes)\n", file_size_text, file_size);
  printf ("virtual size: %s (%" G_GUINT64_FORMAT " bytes)\n", virtual_size_text, virtual_size);
  printf ("snapshots: %u\n", imago_inspection_get_n_snapshots (inspection));
  if (imago_inspection_get_encryption (inspection) != NULL)
    printf ("encryption: %s\n", imago_inspection_get_encryption (inspection));
  print_references (imago_inspection_get_references (inspection));
  print_strings ("unknown feature", imago_inspection_get_unknown_features (inspection));
  print_strings ("problem", imago_inspection_get_problems (inspection));
  printf ("self-contained: %s\n", imago_inspection_get_self_contained (inspection) ? "yes" : "no");
}

/* ---- the command ---- */

static int
inspect (const char *filename, gboolean json)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GFile) file = g_file_new_for_path (filename);
  g_autoptr (ImagoInspection) inspection = imago_inspect (file, NULL, &error);

  if (inspection == NULL)
    {
      tool_error (_("Could not inspect '%s': %s"), filename, error->message);
      return EXIT_FAILURE;
    }

  if (json)
    print_json (filename, inspection);
  else
    print_text (filename, inspection);
  return is_suspicious (inspection) ? EXIT_SUSPICIOUS : EXIT_SUCCESS;
}

typedef struct
{
  gboolean json;
} Settings;

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  const char *filename = tool_command_get_file (n_operands, operands);

  return filename != NULL ? inspect (filename, settings->json) : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_inspect = {
  .name = "inspect",
  .operands = N_("FILE"),
  .summary = N_("say what a file is and wants, without opening any other"),
  .description = N_("Says of which formats a file can be, what other files it wants and what is odd "
                    "about it. Opens FILE and nothing else, whatever it contains."),
  .notes = N_("The exit status is 0 for a file of one format, complete in itself and without a "
              "problem; 2 if it refers to other files, matches several formats, has unknown "
              "features or problems; 1 if it cannot be read."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
