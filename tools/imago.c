/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The command imago: finds the subcommand and runs it. */

#include "config.h"

#include "tool-commands.h"
#include "tool-message.h"

#include <glib/gi18n-lib.h>
#include <imago-glib/imago-glib.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  const char *name;
  int (*run) (int argc, char **argv);
  const char *summary;
} Command;

static const Command commands[] = {
  { "check", cmd_check, N_("look for errors in an image") },
  { "convert", cmd_convert, N_("copy a disk into a new file") },
  { "create", cmd_create, N_("make an image of an empty disk") },
  { "formats", cmd_formats, N_("list the formats") },
  { "info", cmd_info, N_("describe an image") },
  { "inspect", cmd_inspect, N_("say what a file is and wants, without opening any other") },
  { "io", cmd_io, N_("read and write an image, command by command") },
  { "map", cmd_map, N_("show where the data of a disk lies") },
  { "resize", cmd_resize, N_("change the size of a disk") },
  { "snapshot", cmd_snapshot, N_("list internal snapshots") },
};

static void
print_help (void)
{
  printf (_("Usage: %s COMMAND [OPTION…] FILE…\n"), tool_get_program_name ());
  printf (_("\nReads and writes virtual machine disk images.\n"));
  printf (_("\nCommands:\n"));
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-10s %s\n", commands[i].name, _ (commands[i].summary));
  printf (_("\nOptions:\n"));
  printf (_("  -h, --help     show this help, or after a command that command's\n"));
  printf (_("  -V, --version  show the version\n"));
  printf (
    _("\nThe options, exit codes and JSON are those of qemu-img where it has the command.\n"));
}

/* Under qemu-img's name with the version whose options and output are meant, where scripts look for it. */
static void
print_version (void)
{
  if (tool_is_qemu_img ())
    printf ("qemu-img version 7.2.22 (imago-glib %s)\n", IMAGO_VERSION_STRING);
  else
    printf ("imago (imago-glib) %s\n", IMAGO_VERSION_STRING);
}

static int
run_command (int argc, char **argv)
{
  const char *name = argv[0];

  /* getopt_long () signs its messages with it. */
  argv[0] = (char *) tool_get_program_name ();
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (g_str_equal (name, commands[i].name))
      return commands[i].run (argc, argv);

  tool_usage_error (NULL, _("Command not found: %s"), name);
  return EXIT_FAILURE;
}

static int
run (int argc, char **argv)
{
  if (tool_is_qemu_io ())
    {
      argv[0] = (char *) tool_get_program_name ();
      return cmd_io (argc, argv);
    }

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
      print_version ();
      return EXIT_SUCCESS;
    }
  if (*argv[1] == '-')
    {
      tool_usage_error (NULL, _("Unrecognized option '%s'"), argv[1]);
      return EXIT_FAILURE;
    }

  return run_command (argc - 1, argv + 1);
}

int
main (int argc, char **argv)
{
  int status;

  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C"); /* scripts read the numbers, as they read qemu-img's */

  tool_set_program_name (argc > 0 ? argv[0] : NULL);
  status = run (argc, argv);

  if (!tool_flush_output ())
    return EXIT_FAILURE;
  return status;
}
