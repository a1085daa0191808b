/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-size.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char suffixes[] = "bkMGTPE";

/* The power of 1024 that a suffix stands for, or -1. */
static int
parse_suffix (const char *suffix)
{
  const char *found;

  if (*suffix == '\0')
    return 0;
  if (suffix[1] != '\0')
    return -1;

  if (g_ascii_tolower (*suffix) == 'b')
    return 0;
  if (*suffix == 'K')
    return 1;
  found = strchr (suffixes + 1, *suffix == 'k' ? 'k' : g_ascii_toupper (*suffix));
  return found != NULL ? (int) (found - suffixes) : -1;
}

static gboolean
parse_fraction (const char *text, guint64 *size)
{
  char *end;
  double value = g_ascii_strtod (text, &end);
  int power = parse_suffix (end);

  /* A fraction of a byte means nothing, and exponents are no way to write a size. */
  if (end == text || power < 0 || (power == 0 && value != trunc (value)) ||
      strcspn (text, "eExX") < (gsize) (end - text))
    return FALSE;

  value = trunc (ldexp (value, 10 * power));
  if (!(value >= 0 && value < ldexp (1, 63)))
    return FALSE;

  *size = (guint64) value;
  return TRUE;
}

/* What QEMU lets stand before a number. */
static const char *
skip_plus (const char *text)
{
  while (g_ascii_isspace (*text))
    text++;
  return *text == '+' ? text + 1 : text;
}

gboolean
tool_parse_size (const char *text, guint64 *size)
{
  gboolean is_hex;
  guint64 value;
  char *end;
  int power;

  text = skip_plus (text);
  is_hex = g_str_has_prefix (text, "0x") || g_str_has_prefix (text, "0X");
  /* strtoull would take a minus. */
  if (!g_ascii_isdigit (*text))
    return FALSE;

  errno = 0;
  value = g_ascii_strtoull (text, &end, is_hex ? 16 : 10);
  if (errno != 0 || end == text || (is_hex && end == text + 1))
    return FALSE;
  if (*end == '.' && !is_hex)
    return parse_fraction (text, size);

  power = parse_suffix (end);
  if (power < 0 || value > ((guint64) G_MAXINT64 >> (10 * power)))
    return FALSE;

  *size = value << (10 * power);
  return TRUE;
}

gboolean
tool_size_is_too_large (const char *text)
{
  gboolean is_hex;
  guint64 unused;
  gsize length;

  text = skip_plus (text);
  is_hex = g_str_has_prefix (text, "0x") || g_str_has_prefix (text, "0X");
  if (!g_ascii_isdigit (*text) || tool_parse_size (text, &unused))
    return FALSE;

  length = is_hex ? 2 + strspn (text + 2, "0123456789abcdefABCDEF") : strspn (text, "0123456789.");
  /* A fraction of a byte is no number of them. */
  return length > (is_hex ? 2 : 0) &&
         parse_suffix (text + length) >= (memchr (text, '.', length) != NULL ? 1 : 0);
}

char *
tool_format_size (guint64 size)
{
  static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  double value = (double) size;
  guint i = 0;

  /* Never four digits before the point: 1000 KiB is 0.977 MiB. */
  while (value >= 1000 && i + 1 < G_N_ELEMENTS (units))
    {
      value /= 1024;
      i++;
    }

  return g_strdup_printf ("%.3g %s", value, units[i]);
}

char *
tool_format_amount (double amount)
{
  static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  g_autofree char *number = NULL;
  guint i = 0;

  while (amount >= 1024 && i + 1 < G_N_ELEMENTS (units))
    {
      amount /= 1024;
      i++;
    }

  number = g_strdup_printf ("%.3f", amount);
  if (g_str_has_suffix (number, ".000"))
    number[strlen (number) - 4] = '\0';

  return g_strdup_printf ("%s %s", number, units[i]);
}
