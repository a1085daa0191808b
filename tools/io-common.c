/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the commands of "imago io" share: numbers, patterns and the lines about what was done. */

#include "config.h"

#include "io-commands.h"

#include "tool-size.h"

#include <errno.h>
#include <stdio.h>

#define LINE_SIZE 16
#define SECTOR_SIZE 512

gboolean
io_parse_size (const char *text, guint64 *size)
{
  if (tool_parse_size (text, size))
    return TRUE;

  if (tool_size_is_too_large (text))
    printf ("Parsing error: argument too large -- %s\n", text);
  else
    printf ("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n", text);
  return FALSE;
}

gboolean
io_parse_pattern (const char *text, guint8 *pattern)
{
  char *end;
  gint64 value = g_ascii_strtoll (text, &end, 0);

  if (end == text || *end != '\0' || value < 0 || value > 0xff)
    {
      printf ("%s is not a valid pattern byte\n", text);
      return FALSE;
    }

  *pattern = (guint8) value;
  return TRUE;
}

gboolean
io_parse_length (const char *text, const char *condition, guint64 *length)
{
  if (!io_parse_size (text, length))
    return FALSE;
  if (*length <= IO_MAX_LENGTH)
    return TRUE;

  printf ("length cannot exceed %" G_GUINT64_FORMAT "%s, given %s\n", IO_MAX_LENGTH, condition, text);
  return FALSE;
}

gboolean
io_parse_lengths (int n, char **lengths, guint64 *sum)
{
  *sum = 0;
  for (int i = 0; i < n; i++)
    {
      guint64 length;

      if (!io_parse_size (lengths[i], &length))
        return FALSE;
      if (length > IO_MAX_LENGTH)
        {
          printf ("Argument '%s' exceeds maximum size %" G_GUINT64_FORMAT "\n", lengths[i],
                  IO_MAX_LENGTH);
          return FALSE;
        }
      if (length > IO_MAX_LENGTH - *sum)
        {
          printf ("The argument list exceeds the maximum size %" G_GUINT64_FORMAT "\n", IO_MAX_LENGTH);
          return FALSE;
        }
      *sum += length;
    }

  return TRUE;
}

static gboolean
check_aligned (guint64 value, const char *what)
{
  if (value % SECTOR_SIZE == 0)
    return TRUE;

  printf ("%" G_GUINT64_FORMAT " is not a sector-aligned value for '%s'\n", value, what);
  return FALSE;
}

gboolean
io_check_aligned (guint64 offset, guint64 length)
{
  return check_aligned (offset, "offset") && check_aligned (length, "count");
}

void
io_print_synopsis (const IoCommand *command)
{
  printf ("%s%s%s -- %s\n", command->name, command->arguments != NULL ? " " : "",
          command->arguments != NULL ? command->arguments : "", command->summary);
}

void
io_dump (guint64 offset, const guint8 *data, gsize length)
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

/* The scripts of qemu-io compare these texts; what lies past the end of the disk is an error of the
 * medium to it. */
static const char *
get_failure (const GError *error)
{
  if (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE))
    return "Input/output error";
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED))
    return "Operation not supported";
  return error->message;
}

void
io_translate_vm_state_error (GError **error)
{
  if (!g_error_matches (*error, IMAGO_ERROR, IMAGO_ERROR_UNSUPPORTED))
    return;
  g_clear_error (error);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, g_strerror (ENOTSUP));
}

void
io_print_failure (const char *name, const GError *error)
{
  printf ("%s failed: %s\n", name, get_failure (error));
}

void
io_print_report (const IoReport *report)
{
  gint64 elapsed = g_get_monotonic_time () - report->start;
  double seconds = (double) MAX (elapsed, 1) / G_USEC_PER_SEC;
  double length = (double) report->length;
  guint64 centiseconds = (guint64) elapsed / (G_USEC_PER_SEC / 100);
  g_autofree char *amount = tool_format_amount (length);
  g_autofree char *rate = tool_format_amount (length / seconds);
  guint hours = (guint) (centiseconds / 360000);
  guint minutes = (guint) (centiseconds / 6000 % 60);
  guint rest = (guint) (centiseconds / 100 % 60);
  guint hundredths = (guint) (centiseconds % 100);

  if (report->machine_readable)
    {
      printf ("%" G_GUINT64_FORMAT ",1,%u:%02u:%02u.%02u,%.3f,%.3f\n", report->length, hours,
              minutes, rest, hundredths, length / seconds, 1 / seconds);
      return;
    }

  printf ("%s %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes at offset %" G_GUINT64_FORMAT "\n",
          report->verb, report->length, report->length, report->offset);
  printf ("%s, 1 ops; ", amount);
  if (elapsed >= G_USEC_PER_SEC)
    printf ("%u:%02u:%02u.%02u", hours, minutes, rest, hundredths);
  else
    printf ("%02u.%02u sec", rest, hundredths);
  printf (" (%s/sec and %.4f ops/sec)\n", rate, 1 / seconds);
}
