/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_SIZE 512

typedef struct
{
  ToolOpen open;
  const char *output_format;
  const char *input;
  const char *output;
  guint64 block_size;
  guint64 count;
  gboolean has_count;
  guint64 skip;
} Settings;

/* ---- the command line ---- */

static gboolean
take_block_size (const char *value, Settings *settings)
{
  guint64 size;

  if ((tool_parse_size (value, &size) && (size == 0 || size > G_MAXINT32)) ||
      tool_size_is_too_large (value))
    {
      tool_error (_("Invalid %s specified. Must be between %s and %s."), "bs", "1", "2147483647");
      return FALSE;
    }
  return tool_option_size (value, "bs", &settings->block_size);
}

/* Not translated names: that is how they are typed. */
static gboolean
take_operand (const char *operand, Settings *settings)
{
  const char *equals = strchr (operand, '=');
  g_autofree char *name =
    equals != NULL ? g_strndup (operand, (gsize) (equals - operand)) : g_strdup (operand);
  const char *value = equals != NULL ? equals + 1 : NULL;

  if (value != NULL && g_str_equal (name, "bs"))
    return take_block_size (value, settings);
  if (value != NULL && g_str_equal (name, "count"))
    {
      settings->has_count = TRUE;
      return tool_option_size (value, "count", &settings->count);
    }
  if (value != NULL && g_str_equal (name, "skip"))
    return tool_option_size (value, "skip", &settings->skip);
  if (value != NULL && g_str_equal (name, "if"))
    settings->input = value;
  else if (value != NULL && g_str_equal (name, "of"))
    settings->output = value;
  else
    {
      tool_error (_("unrecognized operand %s"), name);
      return FALSE;
    }

  return TRUE;
}

static ImagoFormat *
find_output_format (const Settings *settings)
{
  ImagoFormat *format = tool_find_format (settings->output_format);

  if (format == NULL)
    tool_error (_("Unknown file format"));
  else if (imago_format_get_flags (format) & IMAGO_FORMAT_CREATE)
    return format;
  else
    tool_error (_("Images of the format '%s' cannot be created"), settings->output_format);
  return NULL;
}

/* ---- the copy ---- */

typedef struct
{
  guint64 start; /* in the source */
  guint64 end;
  guint64 size;  /* of the new disk */
} Range;

static guint64
round_up (guint64 size)
{
  return size + (SECTOR_SIZE - size % SECTOR_SIZE) % SECTOR_SIZE;
}

/* As in qemu-img, count= says where the input ends, not how much is copied: what is skipped counts. */
static void
find_range (const Settings *settings, guint64 size, Range *range)
{
  guint64 block = settings->block_size;

  *range = (Range) { 0, size, 0 };
  if (settings->has_count && settings->count < size / block + 1)
    range->end = MIN (size, settings->count * block);

  if (settings->skip > 0 && settings->skip > range->end / block)
    {
      tool_error (_("%s: cannot skip to specified offset"), settings->input);
      range->end = 0;
    }
  else
    range->start = settings->skip * block;
  range->size = round_up (range->end - range->start);
}

static ImagoCreateOptions *
make_options (ImagoFormat *format, const Range *range)
{
  return g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", imago_format_get_name (format), "size", range->size,
                       "overwrite", TRUE, "allow-device", TRUE, NULL);
}

static gboolean
copy (ImagoImage *source, const Range *range, GFile *file, ImagoCreateOptions *options, GError **error)
{
  g_autoptr (ImagoJob) job =
    g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", source, "destination", file, "create-options", options, "offset",
                  range->start, "length", range->end - range->start, "check-space", FALSE, NULL);

  return tool_job_run (job, FALSE, error);
}

static gboolean
copy_range (ImagoImage *source, const Settings *settings, ImagoFormat *format)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GFile) file = tool_new_file (settings->output, &error);
  g_autoptr (ImagoCreateOptions) options = NULL;
  Range range;

  find_range (settings, imago_image_get_size (source), &range);
  options = make_options (format, &range);
  /* No length would mean all the rest. */
  if (file != NULL && (range.end > range.start ? copy (source, &range, file, options, &error)
                                               : tool_create_image (file, options, &error)))
    return TRUE;
  tool_error (_("%s: error while creating output image: %s"), settings->output, error->message);
  return FALSE;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  g_autoptr (ImagoImage) source = NULL;
  g_autoptr (GError) error = NULL;
  ImagoFormat *format;

  for (int i = 0; i < n_operands; i++)
    if (!take_operand (operands[i], settings))
      return EXIT_FAILURE;
  if (settings->input == NULL || settings->output == NULL)
    {
      tool_error (_("Must specify both input and output files"));
      return EXIT_FAILURE;
    }

  source = tool_open (settings->input, &settings->open, &error);
  if (source == NULL)
    {
      tool_open_print_error (settings->input, error);
      return EXIT_FAILURE;
    }
  format = find_output_format (settings);
  return format != NULL && copy_range (source, settings, format) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_STRING ('O', "target-format", N_("FORMAT"), Settings, output_format,
               N_("the format of the new image (default: raw)")),
  TOOL_ALIAS (0, "output-format", N_("FORMAT"), 'O'),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .output_format = "raw", .block_size = SECTOR_SIZE };

const ToolCommand tool_command_dd = {
  .name = "dd",
  .operands = N_("[bs=SIZE] [count=N] [skip=N] if=FILE of=FILE"),
  .summary = N_("copy a part of a disk into a new file"),
  .description = N_("Copies a disk, or a part of it, into a new file, which appears, or replaces one "
                    "of that name, when it is complete."),
  .notes = N_("bs= is the size of a block (default: 512), skip= the number of blocks at the start of "
              "the input that are not copied, count= the number of the block at which the input "
              "ends: blocks that are skipped count."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
