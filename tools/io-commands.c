/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "io-commands.h"

#include "tool-message.h"

#include <errno.h>
#include <glib/gi18n-lib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Mistakes in a command, as opposed to what a command finds out, are not part of the output. */
static void print_mistake (const char *format, ...) G_GNUC_PRINTF (1, 2);

static void
print_mistake (const char *format, ...)
{
  va_list args;

  fflush (stdout);
  va_start (args, format);
  vfprintf (stderr, format, args);
  va_end (args);
}

/* ---- sleep ---- */

static gboolean
set_over (gpointer data)
{
  gboolean *is_over = data;

  *is_over = TRUE;
  return G_SOURCE_REMOVE;
}

/* Asynchronous requests go on meanwhile. */
static gboolean
run_sleep (IoSession *session, int argc, char **argv)
{
  g_autoptr (GSource) source = NULL;
  gboolean is_over = FALSE;
  gint64 milliseconds;
  char *end;

  errno = 0;
  milliseconds = g_ascii_strtoll (argv[1], &end, 0);
  if (end == argv[1] || *end != '\0' || errno != 0 || milliseconds < 0 || milliseconds > G_MAXINT)
    {
      printf ("%s is not a valid number\n", argv[1]);
      return FALSE;
    }
  source = g_timeout_source_new ((guint) milliseconds);
  g_source_set_callback (source, set_over, &is_over, NULL);
  g_source_attach (source, NULL);
  while (!is_over)
    g_main_context_iteration (NULL, TRUE);
  return TRUE;
}

static const IoCommand command_sleep = {
  .name = "sleep",
  .summary = "waits for the given value in milliseconds",
  .min_arguments = 1,
  .max_arguments = 1,
  .run = run_sleep,
};

/* ---- ends of the program as crashes make them ---- */

static gboolean
run_abort (IoSession *session, int argc, char **argv)
{
  abort ();
}

static const IoCommand command_abort = {
  .name = "abort",
  .summary = "simulate a program crash using abort(3)",
  .run = run_abort,
};

static gboolean
run_sigraise (IoSession *session, int argc, char **argv)
{
  guint64 number;

  if (!io_parse_size (argv[1], &number))
    return FALSE;
  if (number > NSIG)
    {
      printf ("signal argument '%s' is too large to be a valid signal\n", argv[1]);
      return FALSE;
    }

  /* What was printed so far happened. */
  fflush (stdout);
  raise ((int) number);
  return TRUE;
}

static const IoCommand command_sigraise = {
  .name = "sigraise",
  .arguments = "signal",
  .summary = "raises a signal",
  .help = "\n"
          " Sends this program a signal, as raise(3) does.\n"
          "\n"
          " Example:\n"
          " 'sigraise 9' - ends without closing the image\n",
  .min_arguments = 1,
  .max_arguments = 1,
  .run = run_sigraise,
};

/* ---- help and quit ---- */

static gboolean run_help (IoSession *session, int argc, char **argv);

static gboolean
run_quit (IoSession *session, int argc, char **argv)
{
  session->quit = TRUE;
  return TRUE;
}

static const IoCommand command_quit = {
  .name = "quit",
  .alias = "q",
  .summary = "exit the program",
  .max_arguments = -1,
  .run = run_quit,
};

static const IoCommand command_help = {
  .name = "help",
  .alias = "?",
  .arguments = "[command]",
  .summary = "help for one or all commands",
  .max_arguments = 1,
  .run = run_help,
};

/* ---- the table ---- */

static const IoCommand *const commands[] = {
  &command_abort,     &io_command_aio_flush, &io_command_aio_read, &io_command_aio_write,
  &io_command_alloc,  &io_command_close,     &io_command_discard,  &io_command_flush,
  &command_help,      &io_command_info,      &io_command_length,   &io_command_map,
  &io_command_open,   &command_quit,         &io_command_read,     &io_command_readv,
  &io_command_reopen, &command_sigraise,     &command_sleep,       &io_command_truncate,
  &io_command_write,  &io_command_writev,
};

/* What qemu-io has beyond that: it stops requests between the layers of QEMU, which are not those
 * of this library. Whoever types one shall not look for a slip of the finger. */
static const char *const unsupported[] = {
  "break", "remove_break", "resume", "wait_break", NULL,
};

static const IoCommand *
find_command (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (g_str_equal (name, commands[i]->name) || g_strcmp0 (name, commands[i]->alias) == 0)
      return commands[i];

  return NULL;
}

static gboolean
run_help (IoSession *session, int argc, char **argv)
{
  const IoCommand *command;

  if (argc == 1)
    {
      for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
        io_print_synopsis (commands[i]);
      printf ("\nUse 'help commandname' for extended help.\n");
      return TRUE;
    }

  command = find_command (argv[1]);
  if (command == NULL)
    {
      printf ("command %s not found\n", argv[1]);
      return FALSE;
    }

  io_print_synopsis (command);
  if (command->help != NULL)
    printf ("%s\n", command->help);
  return TRUE;
}

static gboolean
check_arguments (const IoCommand *command, const char *name, int n)
{
  if (n >= command->min_arguments && (command->max_arguments < 0 || n <= command->max_arguments))
    return TRUE;

  if (command->max_arguments < 0)
    print_mistake ("bad argument count %d to %s, expected at least %d arguments\n", n, name,
                   command->min_arguments);
  else if (command->min_arguments == command->max_arguments)
    print_mistake ("bad argument count %d to %s, expected %d arguments\n", n, name,
                   command->min_arguments);
  else
    print_mistake ("bad argument count %d to %s, expected between %d and %d arguments\n", n, name,
                   command->min_arguments, command->max_arguments);
  return FALSE;
}

static gboolean
run_words (IoSession *session, int argc, char **argv)
{
  const IoCommand *command = find_command (argv[0]);

  if (command == NULL)
    {
      if (g_strv_contains (unsupported, argv[0]))
        print_mistake ("command \"%s\" is not supported\n", argv[0]);
      else
        print_mistake ("command \"%s\" not found\n", argv[0]);
      return FALSE;
    }

  if (command->needs_image && session->image == NULL)
    {
      print_mistake ("no file open, try 'help open'\n");
      return FALSE;
    }

  if (!check_arguments (command, argv[0], argc - 1))
    return FALSE;

  /* In the words of qemu-io, which says so before it looks at the arguments, too. */
  if (command->writes && !io_is_writable (session))
    {
      tool_error (_("Block node is read-only"));
      return FALSE;
    }

  return command->run (session, argc, argv);
}

void
io_drain (IoSession *session)
{
  while (session->n_pending > 0)
    g_main_context_iteration (NULL, TRUE);
}

gboolean
io_run_line (IoSession *session, const char *line)
{
  g_auto (GStrv) words = g_strsplit_set (line, " \t\r\n", -1);
  g_autoptr (GPtrArray) arguments = g_ptr_array_new ();

  for (gsize i = 0; words[i] != NULL; i++)
    if (*words[i] != '\0')
      g_ptr_array_add (arguments, words[i]);
  if (arguments->len == 0)
    return TRUE;

  /* getopt () wants the NULL. */
  g_ptr_array_add (arguments, NULL);
  return run_words (session, (int) arguments->len - 1, (char **) arguments->pdata);
}
