/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* aio_read, aio_write and aio_flush: requests that are started by one command and awaited by another, or by
 * the end of the program. What they come to is printed when they are answered, and does not count as a
 * failure of a command. */

#include "config.h"

#include "io-commands.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PATTERN 0xcd

typedef struct
{
  IoSession *session;
  IoReport report;
  gboolean quiet;
  gboolean dump;
  gboolean has_pattern;
  guint8 pattern;
  gboolean zeroes;
  gboolean unmap;
  gboolean flush;
  gboolean is_invalid; /* only for show */
} Request;

static gboolean
take_option (int option, const char *value, const IoCommand *command, Request *request)
{
  switch (option)
    {
    case 'C':
      request->report.machine_readable = TRUE;
      return TRUE;
    case 'f':
      request->flush = TRUE;
      return TRUE;
    case 'i':
      request->is_invalid = TRUE;
      return TRUE;
    case 'q':
      request->quiet = TRUE;
      return TRUE;
    case 'P':
      request->has_pattern = TRUE;
      return io_parse_pattern (value, &request->pattern);
    case 'u':
      request->unmap = TRUE;
      return TRUE;
    case 'v':
      request->dump = TRUE;
      return TRUE;
    case 'z':
      request->zeroes = TRUE;
      return TRUE;
    default:
      io_print_synopsis (command);
      return FALSE;
    }
}

static gboolean
check_options (const Request *request, int n)
{
  if (request->zeroes && n != 2)
    printf ("-z supports only a single length parameter\n");
  else if (request->unmap && !request->zeroes)
    printf ("-u requires -z to be specified\n");
  else
    return TRUE;
  return FALSE;
}

/* How much zeroes are is no question of memory. */
static gboolean
parse_lengths (int n, char **argv, Request *request)
{
  return request->zeroes ? io_parse_size (argv[0], &request->report.length)
                         : io_parse_lengths (n, argv, &request->report.length);
}

static gboolean
parse (int argc, char **argv, const char *options, const IoCommand *command, Request *request)
{
  int option;
  int n;

  optind = 0;
  while ((option = getopt (argc, argv, options)) != -1)
    if (!take_option (option, optarg, command, request))
      return FALSE;

  n = argc - optind;
  if (n < 2)
    {
      io_print_synopsis (command);
      return FALSE;
    }
  return check_options (request, n) && io_parse_size (argv[optind], &request->report.offset) &&
         parse_lengths (n - 1, argv + optind + 1, request);
}

/* Takes @request unless it returns FALSE. */
static gboolean
pretend (Request *request, const char *what)
{
  if (!request->is_invalid)
    return FALSE;
  printf ("injecting invalid %s request\n", what);
  g_free (request);
  return TRUE;
}

/* Takes @request; @error: why it failed, or NULL. */
static void
answer (Request *request, const char *name, const GError *error)
{
  request->session->n_pending--;
  if (error != NULL)
    io_print_failure (name, error);
  else if (!request->quiet)
    io_print_report (&request->report);
  fflush (stdout);
  g_free (request);
}

/* ---- aio_read ---- */

static gboolean
matches (const Request *request, const guint8 *data, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (data[i] != request->pattern)
      return FALSE;
  return TRUE;
}

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Request *request = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &error);
  const guint8 *content;
  gsize length;

  if (bytes != NULL)
    {
      content = g_bytes_get_data (bytes, &length);
      if (request->has_pattern && !matches (request, content, length))
        printf ("Pattern verification failed at offset %" G_GUINT64_FORMAT ", %zu bytes\n",
                request->report.offset, length);
      if (request->dump && !request->quiet)
        io_dump (request->report.offset, content, length);
    }
  answer (request, "readv", error);
}

static Request *
request_new (IoSession *session, const char *verb)
{
  Request *request = g_new0 (Request, 1);

  request->session = session;
  request->report.verb = verb;
  return request;
}

static gboolean
run_aio_read (IoSession *session, int argc, char **argv)
{
  Request *request = request_new (session, "read");
  g_autoptr (GError) error = NULL;

  if (!parse (argc, argv, "CiP:qv", &io_command_aio_read, request))
    {
      g_free (request);
      return FALSE;
    }
  if (pretend (request, "read"))
    return TRUE;
  session->n_pending++;
  request->report.start = g_get_monotonic_time ();
  if (!io_copy_on_read (session, request->report.offset, request->report.length, &error))
    {
      answer (request, "readv", error);
      return TRUE;
    }
  imago_image_read_bytes_async (session->image, request->report.offset,
                                (gsize) request->report.length, G_PRIORITY_DEFAULT, NULL, read_cb,
                                request);
  return TRUE;
}

const IoCommand io_command_aio_read = {
  .name = "aio_read",
  .arguments = "[-Ciqv] [-P pattern] off len [len..]",
  .summary = "asynchronously reads a number of bytes",
  .help = "\n"
          " Starts to read a range of the disk and goes on. Whether it succeeds is printed when it\n"
          " has ended, at the latest by aio_flush.\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -i, -- do nothing\n"
          " -P, -- compare what is read with this byte\n"
          " -q, -- print no statistics, and with -v nothing at all\n"
          " -v, -- show what is read\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .run = run_aio_read,
};

/* ---- aio_write ---- */

static void
flushed_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;

  imago_image_flush_finish (IMAGO_IMAGE (object), result, &error);
  answer (data, "aio_write", error);
}

static void
wrote_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  ImagoImage *image = IMAGO_IMAGE (object);
  Request *request = data;
  g_autoptr (GError) error = NULL;
  gboolean success = request->zeroes ? imago_image_write_zeroes_finish (image, result, &error)
                                     : imago_image_write_bytes_finish (image, result, &error);

  if (success && (request->flush || io_writes_through (request->session)))
    imago_image_flush_async (image, G_PRIORITY_DEFAULT, NULL, flushed_cb, request);
  else
    answer (request, "aio_write", error);
}

static void
start_writing (ImagoImage *image, Request *request)
{
  gsize length = (gsize) request->report.length;
  guint8 *content = g_try_malloc (MAX (length, 1));
  g_autoptr (GBytes) bytes = NULL;

  if (content == NULL)
    {
      g_autoptr (GError) error = NULL;

      g_set_error_literal (&error, IMAGO_ERROR, IMAGO_ERROR_NO_MEMORY, _("Out of memory"));
      answer (request, "aio_write", error);
      return;
    }
  memset (content, request->has_pattern ? request->pattern : DEFAULT_PATTERN, length);
  bytes = g_bytes_new_take (content, length);
  imago_image_write_bytes_async (image, request->report.offset, bytes, G_PRIORITY_DEFAULT, NULL,
                                 wrote_cb, request);
}

static gboolean
run_aio_write (IoSession *session, int argc, char **argv)
{
  Request *request = request_new (session, "wrote");

  if (!parse (argc, argv, "CfiP:quz", &io_command_aio_write, request))
    {
      g_free (request);
      return FALSE;
    }
  if (pretend (request, "write"))
    return TRUE;
  session->n_pending++;
  request->report.start = g_get_monotonic_time ();
  if (request->zeroes)
    imago_image_write_zeroes_async (session->image, request->report.offset, request->report.length,
                                    request->unmap ? IMAGO_ZERO_UNMAP : IMAGO_ZERO_NONE,
                                    G_PRIORITY_DEFAULT, NULL, wrote_cb, request);
  else
    start_writing (session->image, request);
  return TRUE;
}

const IoCommand io_command_aio_write = {
  .name = "aio_write",
  .arguments = "[-Cfiquz] [-P pattern] off len [len..]",
  .summary = "asynchronously writes a number of bytes",
  .help = "\n"
          " Starts to fill a range of the disk and goes on. Whether it succeeds is printed when it\n"
          " has ended, at the latest by aio_flush.\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -f, -- flush afterwards\n"
          " -i, -- do nothing\n"
          " -P, -- write this byte\n"
          " -q, -- print no statistics\n"
          " -u, -- with -z: give space back to the host\n"
          " -z, -- write zeroes, without storing them where that can be avoided\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .writes = TRUE,
  .run = run_aio_write,
};

/* ---- aio_flush ---- */

static gboolean
run_aio_flush (IoSession *session, int argc, char **argv)
{
  io_drain (session);
  return TRUE;
}

const IoCommand io_command_aio_flush = {
  .name = "aio_flush",
  .summary = "completes all outstanding aio requests",
  .needs_image = TRUE,
  .run = run_aio_flush,
};
