/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-options.h"

#include "tool-message.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>

void
tool_usage_print (const ToolUsage *usage)
{
  if (usage->command != NULL)
    printf (_("Usage: %s %s %s\n"), tool_get_program_name (), usage->command, usage->synopsis);
  else
    printf (_("Usage: %s %s\n"), tool_get_program_name (), usage->synopsis);
  printf ("\n%s\n", usage->help);
}

ToolOptionResult
tool_option_refuse (const char *option, const char *why)
{
  tool_error (_("The option %s is not supported: %s"), option, why);
  return TOOL_OPTION_FAILED;
}

static ToolOptionResult
take_references (const char *value, ToolOpen *open)
{
  if (tool_references_from_string (value, &open->references))
    return TOOL_OPTION_TAKEN;

  tool_error (_("--references must be used with deny, same-dir or any as argument"));
  return TOOL_OPTION_FAILED;
}

ToolOptionResult
tool_option_common (int option, const char *value, const ToolUsage *usage, ToolOpen *open)
{
  switch (option)
    {
    case 'h':
      tool_usage_print (usage);
      return TOOL_OPTION_HELP;

    case '?':
    case ':':
      /* getopt_long () has said what is wrong. */
      tool_usage_error (usage->command, NULL);
      return TOOL_OPTION_FAILED;

    case 'f':
      open->format = value;
      return TOOL_OPTION_TAKEN;

    case 'U':
      open->force_share = TRUE;
      return TOOL_OPTION_TAKEN;

    case TOOL_OPTION_REFERENCES:
      return take_references (value, open);

    case TOOL_OPTION_IMAGE_OPTS:
      return tool_option_refuse ("--image-opts", _("give a file name and, if needed, -f FORMAT"));

    case TOOL_OPTION_OBJECT:
      return tool_option_refuse ("--object",
                                 _("encrypted images and network storage cannot be opened"));

    default:
      return TOOL_OPTION_UNKNOWN;
    }
}

gboolean
tool_option_output (const char *value, gboolean *json)
{
  if (g_str_equal (value, "json"))
    *json = TRUE;
  else if (g_str_equal (value, "human"))
    *json = FALSE;
  else
    {
      tool_error (_("--output must be used with human or json as argument"));
      return FALSE;
    }

  return TRUE;
}

const char *
tool_option_file (int argc, char **argv, const ToolUsage *usage)
{
  if (optind == argc - 1)
    return argv[optind];

  tool_usage_error (usage->command, _("Expecting one image file name"));
  return NULL;
}
