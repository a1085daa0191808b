/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-options.h"

#include "tool-help.h"
#include "tool-message.h"
#include "tool-size.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long () returns for the first long option; letters are below that. */
#define FIRST_LONG 0x100

const ToolChoice tool_output_choices[] = { { "human", FALSE }, { "json", TRUE }, { NULL, 0 } };

const ToolChoice tool_references_choices[] = {
  { "deny", TOOL_REFERENCES_DENY },
  { "same-dir", TOOL_REFERENCES_SAME_DIRECTORY },
  { "any", TOOL_REFERENCES_ANY },
  { NULL, 0 },
};

const ToolChoice tool_cache_choices[] = {
  { "writeback", TOOL_CACHE_BACK },       { "none", TOOL_CACHE_BACK },
  { "off", TOOL_CACHE_BACK },             { "writethrough", TOOL_CACHE_THROUGH },
  { "directsync", TOOL_CACHE_THROUGH },   { "unsafe", TOOL_CACHE_UNSAFE },
  { NULL, 0 },
};

/* One process runs one command. */
static const ToolCommand *current;

/* ---- values ---- */

gboolean
tool_option_refuse (const char *option, const char *why)
{
  tool_error (_("The option %s is not supported: %s"), option, why);
  return FALSE;
}

gboolean
tool_option_size (const char *value, const char *what, guint64 *size)
{
  if (tool_parse_size (value, size))
    return TRUE;

  if (tool_size_is_too_large (value))
    tool_error (_("Invalid %s specified. Must be between %s and %s."), what, "0",
                "9223372036854775807");
  else
    {
      tool_error (_("Invalid %s specified. You may use k, M, G, T, P or E suffixes for"), what);
      tool_error (_("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes."));
    }
  return FALSE;
}

gboolean
tool_option_check_source_cache (const char *value, gpointer settings)
{
  for (const ToolChoice *choice = tool_cache_choices; choice->text != NULL; choice++)
    if (g_str_equal (value, choice->text))
      return TRUE;

  tool_error (_("Invalid source cache option: %s"), value);
  return FALSE;
}

static char *
dup_display_name (const ToolOption *option)
{
  return option->letter != 0 ? g_strdup_printf ("-%c", option->letter)
                             : g_strdup_printf ("--%s", option->name);
}

/* "a, b or c". */
static char *
join_choices (const ToolChoice *choices)
{
  GString *joined = g_string_new (choices->text);

  for (choices++; choices->text != NULL; choices++)
    {
      g_string_append (joined, choices[1].text != NULL ? ", " : _(" or "));
      g_string_append (joined, choices->text);
    }

  return g_string_free (joined, FALSE);
}

static gboolean
find_choice (const ToolChoice *choices, const char *value, int *field)
{
  for (const ToolChoice *choice = choices; choice->text != NULL; choice++)
    if (g_str_equal (choice->text, value))
      {
        *field = choice->value;
        return TRUE;
      }

  return FALSE;
}

gboolean
tool_option_choice (const char *value, const char *what, const ToolChoice *choices, int *field)
{
  if (find_choice (choices, value, field))
    return TRUE;

  tool_error (_("Invalid %s option: %s"), what, value);
  return FALSE;
}

static gboolean
take_choice (const ToolOption *option, const char *value, int *field)
{
  g_autofree char *joined = NULL;
  g_autofree char *name = NULL;

  if (option->what != NULL)
    return tool_option_choice (value, _ (option->what), option->choices, field);
  if (find_choice (option->choices, value, field))
    return TRUE;

  joined = join_choices (option->choices);
  name = dup_display_name (option);
  tool_error (_("%s must be used with %s as argument."), name, joined);
  return FALSE;
}

static void
add_to_list (GPtrArray **list, const char *value)
{
  if (*list == NULL)
    *list = g_ptr_array_new ();
  g_ptr_array_add (*list, (gpointer) value);
}

static gboolean
refuse (const ToolOption *option)
{
  g_autofree char *name = dup_display_name (option);

  return tool_option_refuse (name, _ (option->help));
}

static gboolean
take (const ToolOption *option, const char *value, gpointer settings)
{
  gpointer field = G_STRUCT_MEMBER_P (settings, option->offset);

  switch (option->type)
    {
    case TOOL_OPTION_FLAG:
      *(gboolean *) field = TRUE;
      return TRUE;
    case TOOL_OPTION_STRING:
      *(const char **) field = value;
      return TRUE;
    case TOOL_OPTION_LIST:
      add_to_list (field, value);
      return TRUE;
    case TOOL_OPTION_SIZE:
      return tool_option_size (value, _ (option->what), field);
    case TOOL_OPTION_CHOICE:
      return take_choice (option, value, field);
    case TOOL_OPTION_CALL:
      return option->set (value, settings);
    case TOOL_OPTION_REFUSED:
      return refuse (option);
    case TOOL_OPTION_ACCEPTED:
    case TOOL_OPTION_END:
    case TOOL_OPTION_ALIAS:
    case TOOL_OPTION_HELP:
    case TOOL_OPTION_VERSION:
    default:
      return TRUE;
    }
}

/* ---- getopt_long ---- */

static const ToolOption help_option = {
  .type = TOOL_OPTION_HELP,
  .letter = 'h',
  .name = "help",
};

typedef struct
{
  GString *letters;
  GArray *names;     /* of struct option */
  GPtrArray *by_name; /* of const ToolOption *, as ->names */
} Grammar;

static void
add_option (Grammar *grammar, const ToolOption *option)
{
  if (option->letter != 0 && strchr (grammar->letters->str, option->letter) == NULL)
    {
      g_string_append_c (grammar->letters, option->letter);
      if (option->argument != NULL)
        g_string_append_c (grammar->letters, ':');
    }
  if (option->name != NULL)
    {
      const struct option name = {
        option->name,
        option->argument != NULL ? required_argument : no_argument,
        NULL,
        FIRST_LONG + (int) grammar->by_name->len,
      };

      g_array_append_val (grammar->names, name);
      g_ptr_array_add (grammar->by_name, (gpointer) option);
    }
}

static void
grammar_init (Grammar *grammar, const ToolCommand *command)
{
  /* The colon: what is missing is told from what is unknown, and getopt_long () is silent. */
  grammar->letters = g_string_new (":");
  grammar->names = g_array_new (TRUE, FALSE, sizeof (struct option));
  grammar->by_name = g_ptr_array_new ();

  add_option (grammar, &help_option);
  for (const ToolOption *option = command->options; option->type != TOOL_OPTION_END; option++)
    add_option (grammar, option);
}

static void
grammar_clear (Grammar *grammar)
{
  g_string_free (grammar->letters, TRUE);
  g_array_unref (grammar->names);
  g_ptr_array_unref (grammar->by_name);
}

static const ToolOption *
find_letter (const ToolCommand *command, int letter)
{
  if (letter == help_option.letter)
    return &help_option;
  for (const ToolOption *option = command->options; option->type != TOOL_OPTION_END; option++)
    if (option->letter == letter)
      return option;
  return NULL;
}

static const ToolOption *
find_option (const Grammar *grammar, const ToolCommand *command, int found)
{
  const ToolOption *option = found >= FIRST_LONG
                               ? g_ptr_array_index (grammar->by_name, found - FIRST_LONG)
                               : find_letter (command, found);

  return option->type == TOOL_OPTION_ALIAS ? find_letter (command, option->alias_of) : option;
}

/* What was typed, as far as getopt_long () says it. */
static char *
dup_bad_option (char **argv)
{
  if (optopt != 0 && optopt < FIRST_LONG)
    return g_strdup_printf ("-%c", optopt);
  return g_strdup (argv[optind - 1]);
}

typedef enum
{
  PARSED,
  ENOUGH, /* what was asked for has been printed */
  FAILED,
} Result;

static Result
parse_one (const Grammar *grammar, const ToolCommand *command, int found, char **argv, gpointer settings)
{
  g_autofree char *bad = NULL;
  const ToolOption *option;

  if (found == '?' || found == ':')
    {
      bad = dup_bad_option (argv);
      tool_command_misuse (found == ':' ? _("missing argument for option '%s'")
                                        : _("unrecognized option '%s'"),
                           bad);
      return FAILED;
    }

  option = find_option (grammar, command, found);
  if (option->type == TOOL_OPTION_HELP)
    {
      tool_help_print (command);
      return ENOUGH;
    }
  if (option->type == TOOL_OPTION_VERSION)
    {
      tool_print_version (command->name);
      return ENOUGH;
    }
  return take (option, optarg, settings) ? PARSED : FAILED;
}

static Result
parse (const ToolCommand *command, int argc, char **argv, gpointer settings)
{
  Grammar grammar;
  Result result = PARSED;
  int found;

  grammar_init (&grammar, command);
  while (result == PARSED &&
         (found = getopt_long (argc, argv, grammar.letters->str,
                               (const struct option *) (gpointer) grammar.names->data, NULL)) != -1)
    result = parse_one (&grammar, command, found, argv, settings);
  grammar_clear (&grammar);

  return result;
}

/* ---- the command ---- */

/* No operand is spelt like that. */
static gboolean
ends_with_help (int argc, char **argv)
{
  return g_str_equal (argv[argc - 1], "--help") || g_str_equal (argv[argc - 1], "-h");
}

static void
free_lists (const ToolCommand *command, gpointer settings)
{
  for (const ToolOption *option = command->options; option->type != TOOL_OPTION_END; option++)
    if (option->type == TOOL_OPTION_LIST)
      g_clear_pointer ((GPtrArray **) G_STRUCT_MEMBER_P (settings, option->offset),
                       g_ptr_array_unref);
}

int
tool_command_run (const ToolCommand *command, int argc, char **argv)
{
  g_autofree gpointer settings = g_malloc0 (MAX (command->settings_size, 1));
  gboolean hides_last = command->keeps_last && argc > 1 && !ends_with_help (argc, argv);
  int status = EXIT_FAILURE;
  Result result;

  if (command->defaults != NULL)
    memcpy (settings, command->defaults, command->settings_size);
  current = command;

  result = parse (command, hides_last ? argc - 1 : argc, argv, settings);
  if (result == ENOUGH)
    status = EXIT_SUCCESS;
  else if (result == PARSED)
    status = command->run (settings, argc - optind, argv + optind);

  free_lists (command, settings);
  return status;
}

int
tool_command_misuse (const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  tool_usage_error (tool_is_qemu_io () ? NULL : current->name, "%s", text);

  return EXIT_FAILURE;
}

const char *
tool_command_get_file (int n_operands, char **operands)
{
  if (n_operands == 1)
    return operands[0];

  tool_command_misuse (_("Expecting one image file name"));
  return NULL;
}
