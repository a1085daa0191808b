/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The command imago: finds the subcommand and runs it. */

#include "config.h"

#include "tool-commands.h"
#include "tool-dump.h"
#include "tool-message.h"

#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const ToolCommand *const commands[] = {
  &tool_command_bench,
  &tool_command_check,
  &tool_command_commit,
  &tool_command_compact,
  &tool_command_compare,
  &tool_command_convert,
  &tool_command_create,
  &tool_command_dd,
  &tool_command_formats,
  &tool_command_info,
  &tool_command_inspect,
  &tool_command_io,
  &tool_command_map,
  &tool_command_measure,
  &tool_command_rebase,
  &tool_command_resize,
  &tool_command_snapshot,
};

static void
print_help (void)
{
  printf (_("Usage: %s COMMAND [OPTION…] FILE…\n"), tool_get_program_name ());
  printf (_("\nReads and writes virtual machine disk images.\n"));
  printf (_("\nCommands:\n"));
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-10s %s\n", commands[i]->name, _ (commands[i]->summary));
  printf (_("\nOptions:\n"));
  printf (_("  -h, --help     show this help, or after a command that command's\n"));
  printf (_("  -V, --version  show the version\n"));
  printf (
    _("\nThe options, exit codes and JSON are those of qemu-img where it has the command.\n"));
}

static int
run_command (int argc, char **argv)
{
  const char *name = argv[0];

  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (g_str_equal (name, commands[i]->name))
      return tool_command_run (commands[i], argc, argv);

  tool_usage_error (NULL, _("Command not found: %s"), name);
  return EXIT_FAILURE;
}

static int
run (int argc, char **argv)
{
  if (tool_is_qemu_io ())
    return tool_command_run (&tool_command_io, argc, argv);

  if (argc < 2)
    {
      tool_usage_error (NULL, _("Not enough arguments"));
      return EXIT_FAILURE;
    }

  if (g_str_equal (argv[1], "--help") || g_str_equal (argv[1], "-h"))
    {
      print_help ();
      return EXIT_SUCCESS;
    }
  if (g_str_equal (argv[1], "--version") || g_str_equal (argv[1], "-V"))
    {
      tool_print_version (NULL);
      return EXIT_SUCCESS;
    }
  /* For those who package the command; not in the help. */
  if (g_str_equal (argv[1], "--dump-options"))
    {
      tool_dump_commands (commands, G_N_ELEMENTS (commands));
      return EXIT_SUCCESS;
    }
  if (*argv[1] == '-')
    {
      tool_usage_error (NULL, _("Unrecognized option '%s'"), argv[1]);
      return EXIT_FAILURE;
    }

  return run_command (argc - 1, argv + 1);
}

/* An image must not take the place of a standard stream that is closed: what is printed would go into it. Using that
 * stream fails as before. */
static gboolean
occupy_standard_streams (void)
{
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl (fd, F_GETFD) < 0 && open ("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      return FALSE;
  return TRUE;
}

int
main (int argc, char **argv)
{
  int status;

  if (!occupy_standard_streams ())
    return EXIT_FAILURE;
  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C"); /* scripts read the numbers, as they read qemu-img's */

  tool_set_program_name (argc > 0 ? argv[0] : NULL);
  if (tool_is_qemu_img () || tool_is_qemu_io ())
    setlocale (LC_MESSAGES, "C"); /* those have no translations, and scripts read their messages */
  status = run (argc, argv);

  if (!tool_flush_output ())
    return EXIT_FAILURE;
  return status;
}
