/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-help.h"

#include "tool-message.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

#define LINE_WIDTH 80
#define HELP_COLUMN 28

static const char *const group_titles[] = {
  [TOOL_GROUP_OWN] = N_("Options"),
  [TOOL_GROUP_OPENING] = N_("How images are opened"),
  [TOOL_GROUP_OUTPUT] = N_("What is printed"),
  [TOOL_GROUP_ACCEPTED] = N_("Accepted, without a difference to the result"),
};

static void
print_spaces (glong n)
{
  printf ("%*s", (int) MAX (n, 0), "");
}

/* Prints @text from @column on, its lines indented by @indent. A line feed in it starts a line. */
static void
print_wrapped (const char *text, glong column, glong indent)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  gboolean is_first = TRUE;

  for (gsize i = 0; words[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (words[i], "\n", -1);

      for (gsize k = 0; parts[k] != NULL; k++)
        {
          glong width = g_utf8_strlen (parts[k], -1);

          if (k > 0 || (!is_first && column + 1 + width > LINE_WIDTH))
            {
              printf ("\n");
              print_spaces (*parts[k] != '\0' ? indent : 0);
              column = indent;
              is_first = TRUE;
            }
          printf (is_first ? "%s" : " %s", parts[k]);
          column += width + (is_first ? 0 : 1);
          is_first = FALSE;
        }
    }
  printf ("\n");
}

/* "-f, --format=FORMAT". */
static char *
dup_spelling (const ToolOption *option)
{
  GString *spelling = g_string_new (NULL);

  if (option->letter != 0)
    g_string_append_printf (spelling, "-%c", option->letter);
  if (option->name != NULL)
    g_string_append_printf (spelling, option->letter != 0 ? ", --%s" : "    --%s", option->name);
  if (option->argument != NULL)
    g_string_append_printf (spelling, option->name != NULL ? "=%s" : " %s", _ (option->argument));

  return g_string_free (spelling, FALSE);
}

static void
print_option (const ToolOption *option)
{
  g_autofree char *spelling = dup_spelling (option);
  glong column = 2 + g_utf8_strlen (spelling, -1);

  printf ("  %s", spelling);
  if (column + 2 > HELP_COLUMN)
    {
      printf ("\n");
      column = 0;
    }
  print_spaces (HELP_COLUMN - column);
  print_wrapped (_ (option->help), HELP_COLUMN, HELP_COLUMN);
}

static void
print_group (const ToolCommand *command, ToolOptionGroup group)
{
  gboolean is_first = TRUE;

  for (const ToolOption *option = command->options; option->type != TOOL_OPTION_END; option++)
    if (option->group == group && option->help != NULL)
      {
        if (is_first)
          printf ("\n%s:\n", _ (group_titles[group]));
        is_first = FALSE;
        print_option (option);
      }
}

void
tool_help_print (const ToolCommand *command)
{
  if (tool_is_qemu_io ())
    printf (_("Usage: %s [OPTION…] %s\n"), tool_get_program_name (), _ (command->operands));
  else if (command->operands != NULL)
    printf (_("Usage: %s %s [OPTION…] %s\n"), tool_get_program_name (), command->name,
            _ (command->operands));
  else
    printf (_("Usage: %s %s [OPTION…]\n"), tool_get_program_name (), command->name);

  printf ("\n");
  print_wrapped (_ (command->description), 0, 0);
  for (guint group = 0; group < G_N_ELEMENTS (group_titles); group++)
    print_group (command, (ToolOptionGroup) group);
  if (command->notes != NULL)
    {
      printf ("\n");
      print_wrapped (_ (command->notes), 0, 0);
    }
}
