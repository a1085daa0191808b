/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* read and readv: copies a range out of the disk, compares it with a pattern or shows it. */

#include "config.h"

#include "io-commands.h"

#include "tool-message.h"
#include "tool-size.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

/* The most that one request may ask for, a limit scripts may know from qemu-io. */
#define MAX_LENGTH ((guint64) G_MAXINT32 & ~(guint64) 511)
/* What is held in memory of it. */
#define CHUNK_SIZE (1024 * 1024)
#define LINE_SIZE 16

typedef struct
{
  gboolean machine_readable;
  gboolean quiet;
  gboolean dump;
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
take_pattern (const char *text, Request *request)
{
  char *end;
  gint64 value = g_ascii_strtoll (text, &end, 0);

  if (end == text || *end != '\0' || value < 0 || value > 0xff)
    {
      printf ("%s is not a valid pattern byte\n", text);
      return FALSE;
    }

  request->has_pattern = TRUE;
  request->pattern = (guint8) value;
  return TRUE;
}

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
      return take_pattern (value, request);
    case 's':
      request->has_start = TRUE;
      return io_parse_size (value, &request->pattern_start);
    case 'l':
      request->has_length = TRUE;
      return io_parse_size (value, &request->pattern_length);
    case 'b':
      printf ("%s -b is not supported: the state of a virtual machine cannot be read\n",
              command->name);
      return FALSE;
    default:
      io_print_synopsis (command);
      return FALSE;
    }
}

static gboolean
take_lengths (int n, char **lengths, Request *request)
{
  for (int i = 0; i < n; i++)
    {
      guint64 length;

      if (!io_parse_size (lengths[i], &length))
        return FALSE;
      if (length > MAX_LENGTH - request->length)
        {
          printf ("length cannot exceed %" G_GUINT64_FORMAT ", given %s\n", MAX_LENGTH, lengths[i]);
          return FALSE;
        }
      request->length += length;
    }

  return TRUE;
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
         take_lengths (n - 1, argv + optind + 1, request) && check_pattern_range (request);
}

static void
dump (guint64 offset, const guint8 *data, gsize length)
{
  for (gsize line = 0; line < length; line += LINE_SIZE)
    {
      gsize n = MIN (LINE_SIZE, length - line);

      printf ("%08" G_GINT64_MODIFIER "x:  ", offset + line);
      for (gsize i = 0; i < n; i++)
        printf ("%02x ", data[line + i]);
      printf (" ");
      for (gsize i = 0; i < n; i++)
        printf ("%c", g_ascii_isalnum (data[line + i]) ? data[line + i] : '.');
      printf ("\n");
    }
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
transfer (ImagoImage *image, const Request *request, gboolean *matched, GError **error)
{
  g_autofree guint8 *buffer = g_malloc (CHUNK_SIZE);
  guint64 size = imago_image_get_size (image);

  /* Nothing is shown of a range that cannot be read whole. */
  if (request->offset > size || request->length > size - request->offset)
    {
      g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE,
                   _("The range lies past the end of the disk"));
      return FALSE;
    }

  *matched = TRUE;
  for (guint64 position = 0; position < request->length;)
    {
      gsize n = (gsize) MIN (CHUNK_SIZE, request->length - position);

      if (!imago_image_read_at (image, request->offset + position, buffer, n, NULL, error))
        return FALSE;
      if (request->has_pattern && *matched)
        *matched = matches (request, position, buffer, n);
      if (request->dump && !request->quiet)
        dump (request->offset + position, buffer, n);
      position += n;
    }

  return TRUE;
}

static void
print_statistics (const Request *request, gint64 elapsed)
{
  double seconds = (double) MAX (elapsed, 1) / G_USEC_PER_SEC;
  double length = (double) request->length;
  guint64 centiseconds = (guint64) elapsed / (G_USEC_PER_SEC / 100);
  g_autofree char *amount = tool_format_amount (length);
  g_autofree char *rate = tool_format_amount (length / seconds);
  guint hours = (guint) (centiseconds / 360000);
  guint minutes = (guint) (centiseconds / 6000 % 60);
  guint rest = (guint) (centiseconds / 100 % 60);
  guint hundredths = (guint) (centiseconds % 100);

  if (request->machine_readable)
    {
      printf ("%" G_GUINT64_FORMAT ",1,%u:%02u:%02u.%02u,%.3f,%.3f\n", request->length, hours,
              minutes, rest, hundredths, length / seconds, 1 / seconds);
      return;
    }

  printf ("read %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT
          "\n",
          request->length, request->length, request->offset);
  printf ("%s, 1 ops; ", amount);
  if (hours > 0 || minutes > 0)
    printf ("%u:%02u:%02u.%02u", hours, minutes, rest, hundredths);
  else
    printf ("%02u.%02u sec", rest, hundredths);
  printf (" (%s/sec and %.4f ops/sec)\n", rate, 1 / seconds);
}

static gboolean
run_request (IoSession *session, int argc, char **argv, const IoCommand *command, gboolean many)
{
  g_autoptr (GError) error = NULL;
  Request request = { 0 };
  gboolean matched = TRUE;
  gint64 start;

  if (!parse (argc, argv, command, many, &request))
    return FALSE;

  start = g_get_monotonic_time ();
  if (!transfer (session->image, &request, &matched, &error))
    {
      printf ("%s failed: %s\n", command->name, error->message);
      return FALSE;
    }

  if (!matched)
    printf ("Pattern verification failed at offset %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
            " bytes\n",
            request.offset + request.pattern_start, request.pattern_length);
  if (!request.quiet)
    print_statistics (&request, g_get_monotonic_time () - start);
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
  .arguments = "[-Cqv] [-P pattern [-s off] [-l len]] off len",
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
