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
  GPtrArray *commands; /* of const char *: the -c options */
  gboolean read_only;
  gboolean writes_through;
  gboolean ignores_discard;
} Settings;

static gboolean
is_one_of (const char *value, const char *const *words, const char *what)
{
  if (g_strv_contains (words, value))
    return TRUE;

  tool_error (_("Invalid %s option: %s"), what, value);
  return FALSE;
}

/* The options of qemu-io. Those that only say how the kernel is asked make no difference to what is
 * read and written. */
static gboolean
take_option (int option, const char *value, Settings *settings)
{
  static const char *const cache_modes[] = { "writeback",  "writethrough", "none", "off",
                                             "directsync", "unsafe",       NULL };
  static const char *const aio_modes[] = { "threads", "native", "io_uring", NULL };
  static const char *const discard_modes[] = { "ignore", "off", "unmap", "on", NULL };

  switch (option)
    {
    case 'c':
      g_ptr_array_add (settings->commands, (gpointer) value);
      return TRUE;
    case 'r':
      settings->read_only = TRUE;
      return TRUE;
    case 'n':
    case 'k':
      return TRUE;
    case 't':
      settings->writes_through =
        g_str_equal (value, "writethrough") || g_str_equal (value, "directsync");
      return is_one_of (value, cache_modes, "cache");
    case 'i':
      return is_one_of (value, aio_modes, "aio");
    case 'd':
      settings->ignores_discard = g_str_equal (value, "ignore") || g_str_equal (value, "off");
      return is_one_of (value, discard_modes, "discard");
    case 's':
      tool_option_refuse ("-s", _("changes cannot be thrown away; make an overlay for them"));
      return FALSE;
    case 'C':
      tool_option_refuse ("-C", _("what is read is not copied into the image"));
      return FALSE;
    case 'm':
      tool_option_refuse ("-m", _("memory is always aligned as needed"));
      return FALSE;
    default:
      return FALSE;
    }
}

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

static int
run (const char *filename, Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  IoSession session = {
    .writes_through = settings->writes_through,
    .ignores_discard = settings->ignores_discard,
  };
  gboolean ok;

  settings->open.writable = !settings->read_only;
  if (filename != NULL)
    {
      image = tool_open (filename, &settings->open, &error);
      if (image == NULL)
        {
          tool_open_print_error (filename, error);
          return EXIT_FAILURE;
        }
    }

  session.image = image;
  ok = settings->commands->len > 0 ? run_commands (&session, settings->commands)
                                   : run_script (&session);
  ok = end_session (&session) && ok;
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
cmd_io (int argc, char **argv)
{
  static const struct option options[] = {
    TOOL_COMMON_OPTIONS,
    { "version", no_argument, NULL, 'V' },
    { "cmd", required_argument, NULL, 'c' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "nocache", no_argument, NULL, 'n' },
    { "copy-on-read", no_argument, NULL, 'C' },
    { "misalign", no_argument, NULL, 'm' },
    { "native-aio", no_argument, NULL, 'k' },
    { "aio", required_argument, NULL, 'i' },
    { "cache", required_argument, NULL, 't' },
    { "discard", required_argument, NULL, 'd' },
    { NULL, 0, NULL, 0 },
  };
  const ToolUsage usage = {
    tool_is_qemu_io () ? NULL : "io",
    "[-c COMMAND]… [-f FORMAT] [-r] [-U] [--references=deny|same-dir|any] [FILE]",
    _("Reads and writes an image, command by command: from -c options, or from the standard input.\n"
       "The command \"help\" lists the commands.\n"
       "\n"
       "  -c, --cmd=COMMAND       run this command; can be repeated\n"
       "  -f, --format=FORMAT     the format of FILE (default: what it looks like; without -r its suffix\n"
       "                          must agree)\n"
       "  -r, --read-only         open the image for reading only\n"
       "  --references=WHICH      files that images may refer to: deny, same-dir (default), any\n"
       "  -t MODE                 writethrough, directsync: flush after each change; otherwise what is\n"
       "                          written is durable after \"flush\" and at the end\n"
       "  -d MODE                 ignore, off: let \"discard\" do nothing; unmap, on (default)\n"
       "  -n, -k, -i MODE, -U     accepted; what they ask for makes no difference\n"
       "  -V, --version           show the version\n"
       "\n"
       "The exit status is 1 if a command failed or a pattern did not match."),
  };
  g_autoptr (GPtrArray) commands = g_ptr_array_new ();
  Settings settings = { .commands = commands };
  int option;

  while ((option = getopt_long (argc, argv, "hVc:f:UrsnCmki:t:d:", options, NULL)) != -1)
    switch (tool_option_common (option, optarg, &usage, &settings.open))
      {
      case TOOL_OPTION_TAKEN:
        break;
      case TOOL_OPTION_HELP:
        return EXIT_SUCCESS;
      case TOOL_OPTION_UNKNOWN:
        if (option == 'V')
          {
            printf ("imago io (imago-glib) %s\n", IMAGO_VERSION_STRING);
            return EXIT_SUCCESS;
          }
        if (!take_option (option, optarg, &settings))
          return EXIT_FAILURE;
        break;
      case TOOL_OPTION_FAILED:
      default:
        return EXIT_FAILURE;
      }

  if (argc - optind > 1)
    {
      tool_usage_error (usage.command, _("Expecting one image file name"));
      return EXIT_FAILURE;
    }

  return run (optind < argc ? argv[optind] : NULL, &settings);
}
