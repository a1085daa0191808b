/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-create-options.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-open.h"
#include "tool-options.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open; /* the format, and what the backing image may refer to */
  const char *backing_name;
  const char *backing_format;
  gboolean unchecked;
  gboolean quiet;
  GPtrArray *lists; /* of what follows each -o */
  const char *filename;
  const char *size;
} Create;

/* ---- options ---- */

static ImagoFormat *
find_format (const Create *create)
{
  const char *name = create->open.format != NULL ? create->open.format : "raw";
  ImagoFormat *format = tool_find_format (name);
  const char *filename = create->filename != NULL ? create->filename : name;

  if (format == NULL)
    tool_error (_("%s: Unknown file format '%s'"), filename, name);
  else if (imago_format_get_flags (format) & IMAGO_FORMAT_CREATE)
    return format;
  else
    tool_error (_("%s: Images of the format '%s' cannot be created"), filename, name);
  return NULL;
}

static gboolean
wants_help (const Create *create)
{
  for (guint i = 0; create->lists != NULL && i < create->lists->len; i++)
    if (tool_create_options_is_help (g_ptr_array_index (create->lists, i)))
      return TRUE;
  return FALSE;
}

static gboolean
take_size (const Create *create, ToolCreateOptions *options)
{
  g_autofree char *text = NULL;
  guint64 size;

  if (create->size == NULL)
    return TRUE;
  if (!tool_option_size (create->size, _("image size"), &size))
    return FALSE;
  if (tool_create_options_get (options, "size") != NULL)
    {
      tool_error (_("%s: The image size must be specified only once"), create->filename);
      return FALSE;
    }
  text = g_strdup_printf ("%" PRIu64, size);
  return tool_create_options_set (options, "size", text);
}

/* What it looks like may help, but is no reason to believe it. */
static void
print_backing_format (const Create *create, const char *name)
{
  ToolOpen how = { .header_only = TRUE };
  g_autofree char *path = tool_combine_names (create->filename, name);
  g_autoptr (ImagoImage) image = tool_open (path, &how, NULL);

  if (image != NULL)
    fprintf (stderr, _("Detected format of %s.\n"),
             imago_format_get_name (imago_image_get_format (image)));
}

/* -b and -F are other names for options. */
static gboolean
take_backing (const Create *create, ToolCreateOptions *options, const char *format_name)
{
  if ((create->backing_name != NULL &&
       !tool_create_options_set (options, "backing_file", create->backing_name)) ||
      (create->backing_format != NULL &&
       !tool_create_options_set (options, "backing_fmt", create->backing_format)))
    {
      tool_error (_("%s: Backing file not supported for file format '%s'"), create->filename,
                  format_name);
      return FALSE;
    }
  if (tool_create_options_get (options, "backing_file") == NULL ||
      tool_create_options_get (options, "backing_fmt") != NULL)
    return TRUE;
  tool_error (_("%s: Backing file specified without backing format"), create->filename);
  print_backing_format (create, tool_create_options_get (options, "backing_file"));
  return FALSE;
}

/* The backing image says how large the disk is, unless somebody else does. */
static gboolean
look_at_backing (const Create *create, ToolCreateOptions *options)
{
  const char *name = tool_create_options_get (options, "backing_file");
  ToolOpen how = { .format = tool_create_options_get (options, "backing_fmt"), .header_only = TRUE };
  g_autofree char *path = tool_combine_names (create->filename, name);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autofree char *size = NULL;

  if (name == NULL || create->unchecked)
    return TRUE;
  image = tool_open (path, &how, &error);
  if (image == NULL)
    {
      tool_error (_("%s: Could not open '%s': %s\nCould not open backing image."), create->filename,
                  path, error->message);
      return FALSE;
    }
  if (tool_create_options_get (options, "size") != NULL)
    return TRUE;
  size = g_strdup_printf ("%" PRIu64, imago_image_get_size (image));
  return tool_create_options_set (options, "size", size);
}

static gboolean
collect_options (const Create *create, ToolCreateOptions *options, const char *format_name)
{
  for (guint i = 0; create->lists != NULL && i < create->lists->len; i++)
    if (!tool_create_options_parse (options, g_ptr_array_index (create->lists, i), create->filename))
      return FALSE;
  if (!take_size (create, options) || !take_backing (create, options, format_name) ||
      !look_at_backing (create, options))
    return FALSE;
  if (tool_create_options_get (options, "size") != NULL)
    return TRUE;
  tool_error (_("%s: Image creation needs a size parameter"), create->filename);
  return FALSE;
}

/* ---- the image ---- */

static ImagoCreateOptions *
make_library_options (const Create *create, ToolCreateOptions *options, const char *format_name)
{
  g_autoptr (ImagoReferencePolicy) policy = tool_make_policy (create->open.references);
  g_autoptr (ImagoCreateOptions) made =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", format_name, "overwrite", TRUE,
                  "allow-device", TRUE, "check-backing", !create->unchecked, "reference-policy",
                  policy, "backing-name", tool_create_options_get (options, "backing_file"), NULL);

  if (!tool_create_options_apply (options, made, create->filename))
    return NULL;
  return g_steal_pointer (&made);
}

static gboolean
create_image (const Create *create, ToolCreateOptions *options, const char *format_name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GFile) file = tool_new_file (create->filename, &error);
  g_autoptr (ImagoCreateOptions) made = NULL;

  if (tool_create_options_get (options, "backing_file") == NULL &&
      tool_create_options_get (options, "backing_fmt") != NULL)
    {
      tool_error (_("%s: Backing format cannot be used without backing file"), create->filename);
      return FALSE;
    }
  made = make_library_options (create, options, format_name);
  if (made == NULL)
    return FALSE;
  if (file != NULL && tool_create_image (file, made, &error))
    return TRUE;
  tool_error ("%s: %s", create->filename, error->message);
  tool_open_print_hint (error);
  return FALSE;
}

static int
create_file (const Create *create)
{
  ImagoFormat *format = find_format (create);
  g_autoptr (ToolCreateOptions) options = NULL;

  if (format == NULL)
    return EXIT_FAILURE;
  options = tool_create_options_new (format);
  if (wants_help (create))
    {
      tool_create_options_print_help (options);
      return EXIT_SUCCESS;
    }
  if (create->filename == NULL)
    return tool_command_misuse (_("Expecting image file name"));
  if (!collect_options (create, options, imago_format_get_name (format)))
    return EXIT_FAILURE;
  if (!create->quiet)
    tool_create_options_print (options, create->filename);
  return create_image (create, options, imago_format_get_name (format)) ? EXIT_SUCCESS
                                                                        : EXIT_FAILURE;
}

/* ---- the command line ---- */

static int
run (gpointer settings, int n_operands, char **operands)
{
  Create *create = settings;

  if (!tool_create_options_check_lists (create->lists))
    return EXIT_FAILURE;
  if (n_operands > 2)
    return tool_command_misuse (_("Unexpected argument: %s"), operands[2]);
  create->filename = n_operands > 0 ? operands[0] : NULL;
  create->size = n_operands > 1 ? operands[1] : NULL;
  return create_file (create);
}

static const ToolOption options[] = {
  TOOL_STRING ('f', "format", N_("FORMAT"), Create, open.format,
               N_("the format of the new image; raw if not given")),
  TOOL_STRING ('b', "backing", N_("FILE"), Create, backing_name,
               N_("the backing file: what shows through where nothing was written")),
  TOOL_STRING ('F', "backing-format", N_("FORMAT"), Create, backing_format,
               N_("the format of the backing file")),
  TOOL_ALIAS ('B', NULL, N_("FORMAT"), 'F'),
  TOOL_FLAG ('u', "backing-unsafe", Create, unchecked, N_("do not open the backing file")),
  TOOL_LIST ('o', "options", N_("LIST"), Create, lists,
             N_("options of the format, such as cluster_size=4k; -o help lists them")),
  TOOL_COMMON_REFERENCES (Create, open),
  TOOL_COMMON_OBJECT,
  TOOL_COMMON_QUIET (Create, quiet),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_create = {
  .name = "create",
  .operands = N_("FILE [SIZE]"),
  .summary = N_("make an image of an empty disk"),
  .description = N_("Creates an empty disk in a new file, which replaces one of that name."),
  .notes = N_("SIZE may have a suffix k, M, G, T, P or E; without it the disk is as large as the "
              "backing image."),
  .options = options,
  .settings_size = sizeof (Create),
  .run = run,
};
