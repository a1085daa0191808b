/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "io-commands.h"
#include "tool-commands.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct
{
  IoOpening opening;
  GPtrArray *commands; /* of const char *: the -c options, if any */
  int aio;
} Settings;

/* Strings are kept as qemu-io has them, prompt included: scripts cut them. */
static gboolean
run_script (IoSession *session)
{
  g_autofree char *line = NULL;
  size_t size = 0;
  gboolean ok = TRUE;

  while (!session->quit)
    {
      printf ("%s> ", tool_is_qemu_io () ? "qemu-io" : "imago");
      fflush (stdout);
      if (getline (&line, &size, stdin) < 0)
        break;
      if (!io_run_line (session, line))
        ok = FALSE;
    }

  return ok;
}

static gboolean
run_commands (IoSession *session, const GPtrArray *commands)
{
  gboolean ok = TRUE;

  for (guint i = 0; i < commands->len && !session->quit; i++)
    {
      if (!io_run_line (session, g_ptr_array_index (commands, i)))
        ok = FALSE;
      fflush (stdout);
    }

  return ok;
}

static int
run_session (const char *filename, const Settings *settings)
{
  IoSession session = {
    .references = settings->opening.open.references,
    .image_opts = settings->opening.open.image_opts,
  };
  gboolean ok;

  if (filename != NULL &&
      !io_open (&session, filename, session.image_opts ? NULL : filename, &settings->opening))
    return EXIT_FAILURE;

  ok = settings->commands != NULL ? run_commands (&session, settings->commands)
                                  : run_script (&session);
  ok = io_close (&session) && ok;
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run (gpointer settings, int n_operands, char **operands)
{
  if (n_operands > 1)
    return tool_command_misuse (_("Expecting one image file name"));

  return run_session (n_operands > 0 ? operands[0] : NULL, settings);
}

static const ToolOption options[] = {
  TOOL_LIST ('c', "cmd", N_("COMMAND"), Settings, commands, N_("run this command; can be repeated")),
  TOOL_FLAG ('r', "read-only", Settings, opening.read_only, N_("open the image for reading only")),
  TOOL_CHOICE ('t', "cache", N_("MODE"), Settings, opening.cache, tool_cache_choices, N_("cache"),
               N_("writethrough, directsync: flush after each change; otherwise what is written is "
                  "durable after \"flush\" and at the end")),
  TOOL_CHOICE ('d', "discard", N_("MODE"), Settings, opening.ignores_discard, io_discard_modes, N_("discard"),
               N_("ignore, off: let \"discard\" do nothing; unmap, on (default)")),
  TOOL_FLAG ('s', "snapshot", Settings, opening.throws_away,
             N_("write to a temporary overlay, which is thrown away at the end")),
  TOOL_FLAG ('C', "copy-on-read", Settings, opening.copies_on_read,
             N_("copy what is read from a backing image into the image")),
  TOOL_COMMON_FORMAT (Settings, opening.open),
  TOOL_COMMON_FORCE_SHARE (Settings, opening.open),
  TOOL_COMMON_OPENING (Settings, opening.open),
  TOOL_ACCEPTED ('m', "misalign", NULL, N_("memory may lie anywhere: nothing depends on it")),
  TOOL_ACCEPTED ('n', "nocache", NULL, N_("the same as -t none")),
  TOOL_ACCEPTED ('k', "native-aio", NULL, N_("the same as -i native")),
  TOOL_CHOICE ('i', "aio", N_("MODE"), Settings, aio, io_aio_modes, N_("aio"),
               N_("threads, native, io_uring: how the kernel is asked")),
  TOOL_COMMON_VERSION,
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_io = {
  .name = "io",
  .operands = N_("[FILE]"),
  .summary = N_("read and write an image, command by command"),
  .description = N_("Reads and writes an image, command by command: from -c options, or from the "
                    "standard input. The command \"help\" lists the commands."),
  .notes = N_("The exit status is 1 if a command failed or a pattern did not match."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
