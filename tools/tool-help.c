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
  [TOOL_GROUP_OWN] = N_ ("Options"),
  [TOOL_GROUP_OPENING] = N_ ("How images are opened"),
  [TOOL_GROUP_OUTPUT] = N_ ("What is printed"),
  [TOOL_GROUP_ACCEPTED] = N_ ("Accepted, without a difference to the result"),
};

static void
print_spaces (glong n)
{
  printf ("%*s", (int) MAX (n, 0), "");
}

typedef struct
{
  glong column;
  glong indent;
  gboolean is_empty; /* nothing but the indent so far */
} Line;

/* In columns of a terminal: Chinese letters take two. */
static glong
get_width (const char *text, gsize length)
{
  glong width = 0;

  for (const char *p = text; p < text + length; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      if (!g_unichar_iszerowidth (c))
        width += g_unichar_iswide (c) ? 2 : 1;
    }

  return width;
}

/* Whether a line may end between two letters of one word. Chinese has no spaces, but commas that
 * must not begin a line and brackets that must not end one. */
static gboolean
can_break_between (gunichar before, gunichar after)
{
  GUnicodeBreakType left = g_unichar_break_type (before);
  GUnicodeBreakType right = g_unichar_break_type (after);

  if (!g_unichar_iswide (before) && !g_unichar_iswide (after))
    return FALSE;
  return left != G_UNICODE_BREAK_OPEN_PUNCTUATION && left != G_UNICODE_BREAK_QUOTATION &&
         right != G_UNICODE_BREAK_CLOSE_PUNCTUATION && right != G_UNICODE_BREAK_QUOTATION &&
         right != G_UNICODE_BREAK_NON_STARTER && right != G_UNICODE_BREAK_EXCLAMATION &&
         right != G_UNICODE_BREAK_INSEPARABLE && right != G_UNICODE_BREAK_INFIX_SEPARATOR;
}

/* How many bytes of @word stay on one line. */
static gsize
get_piece_length (const char *word)
{
  const char *p = word;

  while (*p != '\0')
    {
      const char *next = g_utf8_next_char (p);

      if (*next == '\0' || can_break_between (g_utf8_get_char (p), g_utf8_get_char (next)))
        return (gsize) (next - word);
      p = next;
    }

  return 0;
}

static void
start_line (Line *line, gboolean stays_empty)
{
  printf ("\n");
  print_spaces (stays_empty ? 0 : line->indent);
  line->column = line->indent;
  line->is_empty = TRUE;
}

static void
print_word (Line *line, const char *word)
{
  gboolean needs_space = TRUE;
  gsize length;

  for (; (length = get_piece_length (word)) > 0; word += length)
    {
      glong width = get_width (word, length);

      if (!line->is_empty && line->column + needs_space + width > LINE_WIDTH)
        start_line (line, FALSE);
      needs_space = needs_space && !line->is_empty;
      printf ("%s%.*s", needs_space ? " " : "", (int) length, word);
      line->column += needs_space + width;
      line->is_empty = FALSE;
      needs_space = FALSE;
    }
}

/* Prints @text from @column on, its lines indented by @indent. A line feed in it starts a line. */
static void
print_wrapped (const char *text, glong column, glong indent)
{
  Line line = { column, indent, TRUE };
  g_auto (GStrv) words = g_strsplit (text, " ", -1);

  for (gsize i = 0; words[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (words[i], "\n", -1);

      for (gsize k = 0; parts[k] != NULL; k++)
        {
          if (k > 0)
            start_line (&line, *parts[k] == '\0');
          print_word (&line, parts[k]);
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
  glong column = 2 + get_width (spelling, strlen (spelling));

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
    printf (_ ("Usage: %s [OPTION…] %s\n"), tool_get_program_name (), _ (command->operands));
  else if (command->operands != NULL)
    printf (_ ("Usage: %s %s [OPTION…] %s\n"), tool_get_program_name (), command->name,
            _ (command->operands));
  else
    printf (_ ("Usage: %s %s [OPTION…]\n"), tool_get_program_name (), command->name);

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
