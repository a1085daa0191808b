/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* read and readv: copies a range out of the disk, compares it with a pattern or shows it. */

#include "config.h"

#include "io-commands.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

/* What is held in memory of one request. */
#define CHUNK_SIZE (1024 * 1024)

typedef struct
{
  gboolean machine_readable;
  gboolean quiet;
  gboolean dump;
  gboolean vm_state;
  gboolean has_pattern;
  guint8 pattern;
  gboolean has_start;
  gboolean has_length;
  guint64 pattern_start;
  guint64 pattern_length;
  guint64 offset;
  guint64 length;
} Request;

static gboolean
take_option (int option, const char *value, const IoCommand *command, Request *request)
{
  switch (option)
    {
    case 'C':
      request->machine_readable = TRUE;
      return TRUE;
    case 'q':
      request->quiet = TRUE;
      return TRUE;
    case 'v':
      request->dump = TRUE;
      return TRUE;
    case 'p':
      /* Means nothing any more in qemu-io either. */
      return TRUE;
    case 'P':
      request->has_pattern = TRUE;
      return io_parse_pattern (value, &request->pattern);
    case 's':
      request->has_start = TRUE;
      return io_parse_size (value, &request->pattern_start);
    case 'l':
      request->has_length = TRUE;
      return io_parse_size (value, &request->pattern_length);
    case 'b':
      request->vm_state = TRUE;
      return TRUE;
    default:
      io_print_synopsis (command);
      return FALSE;
    }
}

static gboolean
check_pattern_range (Request *request)
{
  if (!request->has_length)
    request->pattern_length = request->length - MIN (request->pattern_start, request->length);

  if (request->pattern_start <= request->length &&
      request->pattern_length <= request->length - request->pattern_start)
    return TRUE;

  printf ("pattern verification range exceeds end of read data\n");
  return FALSE;
}

static gboolean
parse (int argc, char **argv, const IoCommand *command, gboolean many, Request *request)
{
  int option;
  int n;

  /* 0 rather than 1: another command's options were parsed before. */
  optind = 0;
  while ((option = getopt (argc, argv, many ? "CqvP:" : "bCpqvP:s:l:")) != -1)
    if (!take_option (option, optarg, command, request))
      return FALSE;

  n = argc - optind;
  if ((many ? n < 2 : n != 2) ||
      (!request->has_pattern && (request->has_start || request->has_length)))
    {
      io_print_synopsis (command);
      return FALSE;
    }

  return io_parse_size (argv[optind], &request->offset) &&
         (many ? io_parse_lengths (n - 1, argv + optind + 1, &request->length)
               : io_parse_length (argv[optind + 1], "", &request->length)) && check_pattern_range (request) &&
         (!request->vm_state || io_check_aligned (request->offset, request->length));
}

/* Whether the part of the pattern's range that lies in the @length bytes at @position has the
 * pattern. */
static gboolean
matches (const Request *request, guint64 position, const guint8 *data, gsize length)
{
  guint64 start = MAX (request->pattern_start, position);
  guint64 end = MIN (request->pattern_start + request->pattern_length, position + length);

  for (guint64 i = start; i < end; i++)
    if (data[i - position] != request->pattern)
      return FALSE;

  return TRUE;
}

static gboolean
read_part (IoSession *session, const Request *request, guint64 position, guint8 *buffer, gsize length, GError **error)
{
  guint64 offset = request->offset + position;
  g_autoptr (GBytes) bytes = NULL;

  if (!request->vm_state)
    return imago_image_read_at (session->image, offset, buffer, length, NULL, error);
  bytes = imago_image_read_vm_state (session->image, offset, length, NULL, error);
  if (bytes == NULL)
    {
      io_translate_vm_state_error (error);
      return FALSE;
    }
  memcpy (buffer, g_bytes_get_data (bytes, NULL), length);
  return TRUE;
}

/* Reads all, and compares or shows it. */
static gboolean
read_all (IoSession *session,
          const Request *request,
          gboolean dump,
          gboolean *matched,
          GError **error)
{
  g_autofree guint8 *buffer = g_malloc (CHUNK_SIZE);

  for (guint64 position = 0; position < request->length;)
    {
      gsize n = (gsize) MIN (CHUNK_SIZE, request->length - position);

      if (!read_part (session, request, position, buffer, n, error))
        return FALSE;
      if (dump)
        io_dump (request->offset + position, buffer, n);
      else if (request->has_pattern && *matched)
        *matched = matches (request, position, buffer, n);
      position += n;
    }

  return TRUE;
}

/* Nothing is shown of a range that cannot be read whole. */
static gboolean
prepare_disk (IoSession *session, const Request *request, GError **error)
{
  guint64 size = imago_image_get_size (session->image);

  if (request->offset > size || request->length > size - request->offset)
    {
      g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE,
                   _("The range lies past the end of the disk"));
      return FALSE;
    }
  return io_copy_on_read (session, request->offset, request->length, error);
}

static gboolean
transfer (IoSession *session, const Request *request, gboolean *matched, GError **error)
{
  if (!request->vm_state && !prepare_disk (session, request, error))
    return FALSE;

  /* A mismatch is told before what was read is shown. */
  *matched = TRUE;
  if (!read_all (session, request, FALSE, matched, error))
    return FALSE;
  if (!*matched)
    printf ("Pattern verification failed at offset %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
            " bytes\n",
            request->offset + request->pattern_start, request->pattern_length);
  return !request->dump || request->quiet || read_all (session, request, TRUE, matched, error);
}

static gboolean
run_request (IoSession *session, int argc, char **argv, const IoCommand *command, gboolean many)
{
  g_autoptr (GError) error = NULL;
  Request request = { 0 };
  gboolean matched = TRUE;
  IoReport report = { .verb = "read" };

  if (!parse (argc, argv, command, many, &request))
    return FALSE;

  report.start = g_get_monotonic_time ();
  if (!transfer (session, &request, &matched, &error))
    {
      io_print_failure (command->name, error);
      return FALSE;
    }

  report.machine_readable = request.machine_readable;
  report.offset = request.offset;
  report.length = request.length;
  if (!request.quiet)
    io_print_report (&report);
  return matched;
}

static gboolean
run_read (IoSession *session, int argc, char **argv)
{
  return run_request (session, argc, argv, &io_command_read, FALSE);
}

static gboolean
run_readv (IoSession *session, int argc, char **argv)
{
  return run_request (session, argc, argv, &io_command_readv, TRUE);
}

const IoCommand io_command_read = {
  .name = "read",
  .alias = "r",
  .arguments = "[-abCqv] [-P pattern [-s off] [-l len]] off len",
  .summary = "reads a number of bytes at a specified offset",
  .help = "\n"
          " Reads a range of the disk and, if asked, compares or shows it.\n"
          "\n"
          " Example:\n"
          " 'read -v 512 1k' - shows the kilobyte at offset 512\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -l, -- length of what is compared (only with -P)\n"
          " -p, -- ignored\n"
          " -P, -- compare what is read with this byte\n"
          " -q, -- print no statistics, and with -v nothing at all\n"
          " -s, -- where the comparison starts (only with -P)\n"
          " -v, -- show what is read\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .run = run_read,
};

const IoCommand io_command_readv = {
  .name = "readv",
  .arguments = "[-Cqv] [-P pattern] off len [len..]",
  .summary = "reads a number of bytes at a specified offset",
  .help = "\n"
          " Reads a range that is given as several lengths, one after the other.\n"
          "\n"
          " Example:\n"
          " 'readv -v 512 1k 1k' - shows the 2 kilobytes at offset 512\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -P, -- compare what is read with this byte\n"
          " -q, -- print no statistics, and with -v nothing at all\n"
          " -v, -- show what is read\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .run = run_readv,
};
