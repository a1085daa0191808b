/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-create-options.h"
#include "tool-job.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open;
  const char *filename; /* NULL: an empty disk */
  const char *output_format;
  GPtrArray *lists; /* of const char *: what follows each -o; NULL: none */
  gboolean has_size;
  guint64 size;
  gboolean json;
} Settings;

/* ---- what it prints ---- */

static void
print_json (ImagoMeasurement *found)
{
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (node, object);
  if (imago_measurement_get_has_bitmaps (found))
    tool_json_add_size (object, "bitmaps", imago_measurement_get_bitmaps_size (found));
  tool_json_add_size (object, "required", imago_measurement_get_required_size (found));
  tool_json_add_size (object, "fully-allocated",
                      imago_measurement_get_fully_allocated_size (found));
  tool_json_print (node);
}

static void
print_text (ImagoMeasurement *found)
{
  printf ("required size: %" G_GUINT64_FORMAT "\n", imago_measurement_get_required_size (found));
  printf ("fully allocated size: %" G_GUINT64_FORMAT "\n",
          imago_measurement_get_fully_allocated_size (found));
  if (imago_measurement_get_has_bitmaps (found))
    printf ("bitmaps size: %" G_GUINT64_FORMAT "\n", imago_measurement_get_bitmaps_size (found));
}

/* ---- the options of the new image ---- */

static ImagoFormat *
find_format (const char *name)
{
  ImagoFormat *format = imago_format_lookup (name);

  if (format == NULL)
    tool_error (_("Unknown file format '%s'"), name);
  else if (!(imago_format_get_flags (format) & IMAGO_FORMAT_CREATE))
    tool_error (_("Block driver '%s' does not support size measurement"), name);
  else
    return format;
  return NULL;
}

static gboolean
parse_lists (const Settings *settings, ToolCreateOptions *options)
{
  if (!tool_create_options_check_lists (settings->lists))
    return FALSE;
  for (guint i = 0; settings->lists != NULL && i < settings->lists->len; i++)
    if (!tool_create_options_parse (options, g_ptr_array_index (settings->lists, i), settings->output_format))
      return FALSE;
  return TRUE;
}

/* The name of a backing file is of no account, only that there is one. */
static ImagoCreateOptions *
make_options (const Settings *settings)
{
  ImagoFormat *format = find_format (settings->output_format);
  g_autoptr (ImagoCreateOptions) made = NULL;
  g_autoptr (ToolCreateOptions) options = NULL;

  if (format == NULL)
    return NULL;
  options = tool_create_options_new (format);
  if (!parse_lists (settings, options))
    return NULL;
  made = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", settings->output_format, NULL);
  if (!tool_create_options_apply (options, made, settings->output_format))
    return NULL;
  if (tool_create_options_get (options, "backing_file") != NULL)
    g_object_set (made, "backing-name", tool_create_options_get (options, "backing_file"), NULL);
  if (settings->filename == NULL)
    g_object_set (made, "size", settings->size, NULL);
  return g_steal_pointer (&made);
}

/* ---- the command ---- */

static int
measure (const Settings *settings)
{
  g_autoptr (ImagoCreateOptions) options = NULL;
  g_autoptr (ImagoMeasureJob) job = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  options = make_options (settings);
  if (options == NULL)
    return EXIT_FAILURE;
  if (settings->filename != NULL)
    {
      image = tool_open (settings->filename, &settings->open, &error);
      if (image == NULL)
        {
          tool_open_print_error (settings->filename, error);
          return EXIT_FAILURE;
        }
    }
  job = imago_measure_job_new (image, options);
  if (!tool_job_run (IMAGO_JOB (job), FALSE, &error))
    {
      tool_error ("%s", error->message);
      return EXIT_FAILURE;
    }
  if (settings->json)
    print_json (imago_measure_job_get_result (job));
  else
    print_text (imago_measure_job_get_result (job));
  return EXIT_SUCCESS;
}

static gboolean
take_size (const char *value, gpointer user_data)
{
  Settings *settings = user_data;

  settings->has_size = TRUE;
  return tool_option_size (value, _("image size"), &settings->size);
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;

  if (n_operands > 1)
    {
      tool_error (_("At most one filename argument is allowed."));
      return EXIT_FAILURE;
    }
  settings->filename = n_operands > 0 ? operands[0] : NULL;
  if (settings->filename == NULL &&
      (settings->open.format != NULL || settings->open.snapshot != NULL))
    {
      tool_error (_("--image-opts, -f, and -l require a filename argument."));
      return EXIT_FAILURE;
    }
  if (settings->filename != NULL && settings->has_size)
    {
      tool_error (_("--size N cannot be used together with a filename."));
      return EXIT_FAILURE;
    }
  if (settings->filename == NULL && !settings->has_size)
    {
      tool_error (_("Either --size N or one filename must be specified."));
      return EXIT_FAILURE;
    }
  return measure (settings);
}

static const ToolOption options[] = {
  TOOL_STRING ('O', "target-format", N_("FORMAT"), Settings, output_format,
               N_("the format of the new image (default: raw)")),
  TOOL_LIST ('o', "options", N_("LIST"), Settings, lists,
             N_("options of the new image, as for create")),
  TOOL_CALL (0, "size", N_("SIZE"), take_size, N_("measure for an empty disk of that size")),
  TOOL_STRING ('l', "snapshot", N_("SNAPSHOT"), Settings, open.snapshot,
               N_("measure for an internal snapshot: an id, a name, or "
                  "snapshot.id=ID,snapshot.name=NAME")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .output_format = "raw" };

const ToolCommand tool_command_measure = {
  .name = "measure",
  .operands = N_("[FILE]"),
  .summary = N_("tell how much room a new image needs"),
  .description = N_("Tells how many bytes a new image takes, for a copy of the disk in FILE or for "
                    "an empty disk."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
