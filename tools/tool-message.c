/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-message.h"

#include <errno.h>
#include <glib/gi18n-lib.h>
#include <imago-glib/imago-glib.h>
#include <stdio.h>
#include <string.h>

static const char *program_name = "imago";

void
tool_set_program_name (const char *argv0)
{
  g_autofree char *base = NULL;

  if (argv0 == NULL || *argv0 == '\0')
    return;

  base = g_path_get_basename (argv0);
  if (g_str_equal (base, "qemu-img"))
    program_name = "qemu-img";
  else if (g_str_equal (base, "qemu-io"))
    program_name = "qemu-io";
}

const char *
tool_get_program_name (void)
{
  return program_name;
}

gboolean
tool_is_qemu_img (void)
{
  return g_str_equal (program_name, "qemu-img");
}

gboolean
tool_is_qemu_io (void)
{
  return g_str_equal (program_name, "qemu-io");
}

void
tool_print_version (const char *command)
{
  if (tool_is_qemu_img () || tool_is_qemu_io ())
    printf ("%s version 7.2.22 (imago-glib %s)\n", program_name, IMAGO_VERSION_STRING);
  else if (command != NULL)
    printf ("imago %s (imago-glib) %s\n", command, IMAGO_VERSION_STRING);
  else
    printf ("imago (imago-glib) %s\n", IMAGO_VERSION_STRING);
}

static void print_error (const char *format, va_list args) G_GNUC_PRINTF (1, 0);

static void
print_error (const char *format, va_list args)
{
  g_autofree char *text = g_strdup_vprintf (format, args);

  /* File names that a person typed come as they are; a pasted one may hold anything. */
  for (char *p = text; *p != '\0'; p++)
    if (g_ascii_iscntrl (*p) && *p != '\n')
      *p = '?';

  /* Keeps the two streams in order where both end in one file. */
  fflush (stdout);
  fprintf (stderr, "%s: %s\n", program_name, text);
}

void
tool_error (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  print_error (format, args);
  va_end (args);
}

void
tool_usage_error (const char *command, const char *format, ...)
{
  va_list args;

  if (format != NULL)
    {
      va_start (args, format);
      print_error (format, args);
      va_end (args);
    }

  if (command != NULL)
    fprintf (stderr, _("Try '%s %s --help' for more information\n"), program_name, command);
  else
    fprintf (stderr, _("Try '%s --help' for more information\n"), program_name);
}

char *
tool_printable (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text != NULL ? text : "", -1);
  GString *printable = g_string_sized_new (strlen (valid));

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      /* Format characters can reorder a line, so that a name hides what follows it. */
      if (g_unichar_iscntrl (c) || g_unichar_type (c) == G_UNICODE_FORMAT)
        g_string_append_printf (printable, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
      else
        g_string_append_unichar (printable, c);
    }

  return g_string_free (printable, FALSE);
}

gboolean
tool_flush_output (void)
{
  if (fflush (stdout) == 0 && !ferror (stdout))
    return TRUE;

  tool_error (_("Could not write the output: %s"), g_strerror (errno));
  return FALSE;
}
