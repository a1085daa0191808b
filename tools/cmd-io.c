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
  ToolOpen open;
  GPtrArray *commands; /* of const char *: the -c options, if any */
  gboolean read_only;
  gboolean throws_away;
  gboolean copies_on_read;
  int cache; /* a ToolCache */
  gboolean ignores_discard;
  int aio;
} Settings;

static const ToolChoice discard_modes[] = {
  { "ignore", TRUE }, { "off", TRUE }, { "unmap", FALSE }, { "on", FALSE }, { NULL, 0 },
};

static const ToolChoice aio_modes[] = {
  { "threads", 0 }, { "native", 0 }, { "io_uring", 0 }, { NULL, 0 },
};

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

/* What is still in flight ends first, and only then is all of it durable. */
static gboolean
end_session (IoSession *session)
{
  g_autoptr (GError) error = NULL;

  io_drain (session);
  if (session->image == NULL || imago_image_close (session->image, NULL, &error))
    return TRUE;

  tool_error ("%s", error->message);
  return FALSE;
}

static void
print_open_error (const char *filename, const GError *error)
{
  g_autofree char *printable = tool_printable (filename);

  tool_error (_("can't open device %s: %s"), printable, error->message);
  tool_open_print_hint (error);
}

/* What the commands work on. Changes that are thrown away need no image that can be written. */
static ImagoImage *
open_image (const char *filename, Settings *settings, GError **error)
{
  g_autoptr (ImagoImage) image = NULL;
  gboolean has_overlay = settings->throws_away && !settings->read_only;

  settings->open.writable = !settings->read_only && !has_overlay;
  image = tool_open (filename, &settings->open, error);
  if (image == NULL)
    return NULL;
  if (has_overlay)
    return io_make_overlay (image, error);
  if (!settings->copies_on_read || imago_image_get_writable (image))
    return g_steal_pointer (&image);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_READ_ONLY, _("Can't use copy-on-read on read-only device"));
  return NULL;
}

static int
run_session (const char *filename, Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  IoSession session = {
    .writes_through = settings->cache == TOOL_CACHE_THROUGH,
    .ignores_discard = settings->ignores_discard,
    .copies_on_read = settings->copies_on_read,
  };
  gboolean ok;

  if (filename != NULL)
    {
      image = open_image (filename, settings, &error);
      if (image == NULL)
        {
          print_open_error (filename, error);
          return EXIT_FAILURE;
        }
    }

  session.image = image;
  ok = settings->commands != NULL ? run_commands (&session, settings->commands)
                                   : run_script (&session);
  ok = end_session (&session) && ok;
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
  TOOL_FLAG ('r', "read-only", Settings, read_only, N_("open the image for reading only")),
  TOOL_CHOICE ('t', "cache", N_("MODE"), Settings, cache, tool_cache_choices, N_("cache"),
               N_("writethrough, directsync: flush after each change; otherwise what is written is "
                  "durable after \"flush\" and at the end")),
  TOOL_CHOICE ('d', "discard", N_("MODE"), Settings, ignores_discard, discard_modes, N_("discard"),
               N_("ignore, off: let \"discard\" do nothing; unmap, on (default)")),
  TOOL_FLAG ('s', "snapshot", Settings, throws_away,
             N_("write to a temporary overlay, which is thrown away at the end")),
  TOOL_FLAG ('C', "copy-on-read", Settings, copies_on_read,
             N_("copy what is read from a backing image into the image")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_ACCEPTED ('m', "misalign", NULL, N_("memory may lie anywhere: nothing depends on it")),
  TOOL_ACCEPTED ('n', "nocache", NULL, N_("the same as -t none")),
  TOOL_ACCEPTED ('k', "native-aio", NULL, N_("the same as -i native")),
  TOOL_CHOICE ('i', "aio", N_("MODE"), Settings, aio, aio_modes, N_("aio"),
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
