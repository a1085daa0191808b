/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The file that the commands work on, and open, close and reopen, which change it. */

#include "config.h"

#include "io-commands.h"

#include "tool-list.h"
#include "tool-message.h"
#include "tool-node.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

const ToolChoice io_discard_modes[] = {
  { "ignore", TRUE }, { "off", TRUE }, { "unmap", FALSE }, { "on", FALSE }, { NULL, 0 },
};

const ToolChoice io_aio_modes[] = {
  { "threads", 0 },
  { "native", 0 },
  { "io_uring", 0 },
  { NULL, 0 },
};

/* ---- opening and closing ---- */

static void
print_open_error (const char *shown, const GError *error)
{
  g_autofree char *printable = shown != NULL ? tool_printable (shown) : NULL;

  if (printable != NULL)
    tool_error (_("can't open device %s: %s"), printable, error->message);
  else
    tool_error (_("can't open: %s"), error->message);
  tool_open_print_hint (error);
}

/* What the commands work on. Changes that are thrown away need no image that can be written; what they would go to is
 * there even if there may be none. */
static ImagoImage *
open_image (const char *file, const IoOpening *opening, GError **error)
{
  g_autoptr (ImagoImage) image = NULL;
  gboolean has_overlay = opening->throws_away && !(opening->read_only && opening->copies_on_read);
  ToolOpen open = opening->open;

  open.writable = !opening->read_only && !has_overlay;
  open.unmaps = !opening->ignores_discard;
  image = tool_open (file, &open, error);
  if (image == NULL)
    return NULL;
  if (has_overlay)
    return io_make_overlay (image, error);
  if (!opening->copies_on_read || imago_image_get_writable (image))
    return g_steal_pointer (&image);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_READ_ONLY,
                       _("Can't use copy-on-read on read-only device"));
  return NULL;
}

/* An overlay can be written by itself. */
gboolean
io_is_writable (const IoSession *session)
{
  return !session->opening.read_only && imago_image_get_writable (session->image);
}

gboolean
io_open (IoSession *session, const char *file, const char *shown, const IoOpening *opening)
{
  g_autoptr (GError) error = NULL;

  if (session->image != NULL)
    {
      tool_error (_("file open already, try 'help close'"));
      return FALSE;
    }

  session->image = open_image (file, opening, &error);
  if (session->image == NULL)
    {
      print_open_error (shown, error);
      return FALSE;
    }
  session->file = g_strdup (file);
  session->shown = g_strdup (shown);
  session->opening = *opening;
  return TRUE;
}

gboolean
io_close (IoSession *session)
{
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  /* What is still in flight ends first, and only then is all of it durable. */
  io_drain (session);
  image = g_steal_pointer (&session->image);
  g_clear_pointer (&session->file, g_free);
  g_clear_pointer (&session->shown, g_free);
  if (image == NULL || imago_image_close (image, NULL, &error))
    return TRUE;

  tool_error ("%s", error->message);
  return FALSE;
}

/* ---- close ---- */

static gboolean
run_close (IoSession *session, int argc, char **argv)
{
  return io_close (session);
}

const IoCommand io_command_close = {
  .name = "close",
  .alias = "c",
  .summary = "close the current open file",
  .needs_image = TRUE,
  .run = run_close,
};

/* ---- open ---- */

typedef struct
{
  IoOpening opening;
  GString *options; /* of -o, or of the operand; empty: none */
  const char *path; /* NULL: @options say it all */
} OpenRequest;

static void
add_options (GString *list, const char *more)
{
  if (list->len > 0)
    g_string_append_c (list, ',');
  g_string_append (list, more);
}

static gboolean
take_open_option (int option, const char *value, OpenRequest *request)
{
  IoOpening *opening = &request->opening;
  int aio;

  switch (option)
    {
    case 'r':
      return opening->read_only = TRUE;
    case 's':
      return opening->throws_away = TRUE;
    case 'C':
      return opening->copies_on_read = TRUE;
    case 'U':
      return opening->open.force_share = TRUE;
    case 'n':
    case 'k':
      /* How the kernel is asked makes no difference. */
      return TRUE;
    case 'i':
      return tool_option_choice (value, _("aio"), io_aio_modes, &aio);
    case 't':
      return tool_option_choice (value, _("cache"), tool_cache_choices, &opening->cache);
    case 'd':
      return tool_option_choice (value, _("discard"), io_discard_modes, &opening->ignores_discard);
    case 'o':
      add_options (request->options, value);
      return TRUE;
    default:
      io_print_synopsis (&io_command_open);
      return FALSE;
    }
}

static gboolean
parse_open (IoSession *session, int argc, char **argv, OpenRequest *request)
{
  int option;

  optind = 0;
  while ((option = getopt (argc, argv, "snCro:ki:t:d:U")) != -1)
    if (!take_open_option (option, optarg, request))
      return FALSE;

  if (argc - optind > 1)
    {
      io_print_synopsis (&io_command_open);
      return FALSE;
    }
  if (optind < argc && session->image_opts)
    add_options (request->options, argv[optind]);
  else if (optind < argc)
    request->path = argv[optind];
  if (request->path != NULL || request->options->len > 0)
    return TRUE;

  tool_error (_("can't open: Must specify either driver or file"));
  return FALSE;
}

/* The name as one more of the options. */
static void
add_path (GString *options, const char *path)
{
  add_options (options, "file.filename=");
  for (; *path != '\0'; path++)
    g_string_append (options, *path == ',' ? ",," : (const char[]){ *path, '\0' });
}

static gboolean
run_open (IoSession *session, int argc, char **argv)
{
  g_autoptr (GString) options = g_string_new (NULL);
  OpenRequest request = { .options = options, .opening.open.references = session->references };

  if (!parse_open (session, argc, argv, &request))
    return FALSE;

  request.opening.open.image_opts = options->len > 0;
  if (options->len > 0 && request.path != NULL)
    add_path (options, request.path);
  return io_open (session, options->len > 0 ? options->str : request.path, request.path,
                  &request.opening);
}

const IoCommand io_command_open = {
  .name = "open",
  .alias = "o",
  .arguments = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
  .summary = "open the file specified by path",
  .help = "\n"
          " Opens a file, which the commands that follow work on.\n"
          "\n"
          " Example:\n"
          " 'open -o driver=raw disk' - opens a raw disk to read and write it\n"
          "\n"
          " -r, -- open the image for reading only\n"
          " -s, -- write to a temporary overlay, which is thrown away at the end\n"
          " -C, -- copy what is read from a backing image into the image\n"
          " -U, -- open it though somebody may be writing to it\n"
          " -t, -- writethrough, directsync: flush after each change\n"
          " -d, -- ignore, off: let \"discard\" do nothing\n"
          " -o, -- the options that describe the image, as with --image-opts\n"
          " -i, -k, -n, -- how the kernel is asked; makes no difference\n",
  .min_arguments = 1,
  .max_arguments = -1,
  .run = run_open,
};

/* ---- reopen ---- */

typedef struct
{
  gboolean has_cache;
  int cache;
  gboolean has_access;
  gboolean read_only;
  GString *options; /* of -o; empty: none */
} ReopenRequest;

static gboolean
take_reopen_option (int option, const char *value, ReopenRequest *request)
{
  switch (option)
    {
    case 'c':
      request->has_cache = TRUE;
      return tool_option_choice (value, _("cache"), tool_cache_choices, &request->cache);
    case 'o':
      add_options (request->options, value);
      return TRUE;
    case 'r':
    case 'w':
      if (request->has_access)
        {
          tool_error (_("Only one -r/-w option may be given"));
          return FALSE;
        }
      request->read_only = option == 'r';
      return request->has_access = TRUE;
    default:
      io_print_synopsis (&io_command_reopen);
      return FALSE;
    }
}

/* Whether the image can have the option @name without being another one. */
static gboolean
check_reopen_option (IoSession *session,
                     ReopenRequest *request,
                     const char *name,
                     const char *value)
{
  const char *format = imago_format_get_name (imago_image_get_format (session->image));
  const char *access = io_is_writable (session) ? "off" : "on";

  if (request->has_access && g_str_equal (name, "read-only"))
    tool_error (_("Cannot set both -r/-w and '%s'"), name);
  else if (request->has_cache && g_str_has_prefix (name, "cache."))
    tool_error (_("Cannot set both -c and the cache options"));
  else if (tool_node_is_harmless (name, format) ||
           (g_str_equal (name, "driver") && g_str_equal (value, format)) ||
           (g_str_equal (name, "read-only") && g_str_equal (value, access)))
    return TRUE;
  else if (g_str_equal (name, "read-only") && g_str_equal (value, "off"))
    {
      request->has_access = TRUE;
      return TRUE;
    }
  else
    tool_error (_("Cannot change the option '%s'"), name);
  return FALSE;
}

static gboolean
check_reopen_options (IoSession *session, ReopenRequest *request)
{
  const char *list = request->options->str;
  char *part;

  while ((part = tool_list_next (&list)) != NULL)
    {
      g_autofree char *name = part;
      char *value = strchr (name, '=');

      if (value != NULL)
        *value++ = '\0';
      if (!check_reopen_option (session, request, name, value != NULL ? value : "on"))
        return FALSE;
    }
  return TRUE;
}

static gboolean
parse_reopen (IoSession *session, int argc, char **argv, ReopenRequest *request)
{
  int option;

  optind = 0;
  while ((option = getopt (argc, argv, "c:o:rw")) != -1)
    if (!take_reopen_option (option, optarg, request))
      return FALSE;

  if (optind < argc)
    {
      io_print_synopsis (&io_command_reopen);
      return FALSE;
    }
  return check_reopen_options (session, request);
}

/* For another kind of access the file is closed, and with it the lock on it. If it cannot be opened
 * as wanted, it is opened again as it was. */
static gboolean
change_access (IoSession *session, gboolean read_only)
{
  g_autofree char *file = g_strdup (session->file);
  g_autofree char *shown = g_strdup (session->shown);
  IoOpening before = session->opening;
  IoOpening after = before;

  after.read_only = read_only;
  if (!io_close (session))
    return FALSE;
  if (io_open (session, file, shown, &after))
    return TRUE;
  io_open (session, file, shown, &before);
  return FALSE;
}

static gboolean
check_access (IoSession *session, gboolean read_only)
{
  if (session->opening.throws_away)
    tool_error (_("An image whose changes are thrown away cannot be reopened"));
  else if (read_only && session->opening.copies_on_read)
    tool_error (_("Can't use copy-on-read on read-only device"));
  else
    return TRUE;
  return FALSE;
}

static gboolean
run_reopen (IoSession *session, int argc, char **argv)
{
  g_autoptr (GString) options = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  ReopenRequest request = { .options = options };

  if (!parse_reopen (session, argc, argv, &request))
    return FALSE;

  if (request.has_access && request.read_only != session->opening.read_only)
    {
      if (!check_access (session, request.read_only) || !change_access (session, request.read_only))
        return FALSE;
    }
  else if (!imago_image_flush (session->image, NULL, &error))
    {
      tool_error ("%s", error->message);
      return FALSE;
    }

  if (request.has_cache)
    session->opening.cache = request.cache;
  return TRUE;
}

const IoCommand io_command_reopen = {
  .name = "reopen",
  .arguments = "[(-r|-w)] [-c cache] [-o options]",
  .summary = "reopens an image with new options",
  .help = "\n"
          " Changes how the image is open.\n"
          "\n"
          " Example:\n"
          " 'reopen -r' - closes the image and opens it again for reading only\n"
          "\n"
          " -r, -- for reading only\n"
          " -w, -- for reading and writing\n"
          " -c, -- writethrough, directsync: flush after each change from now on\n"
          " -o, -- options as of 'open -o', of those that make no difference to the content\n",
  .max_arguments = -1,
  .needs_image = TRUE,
  .run = run_reopen,
};
