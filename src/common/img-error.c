/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-error.h"

static void
take_text (ImgError **error, ImgCode code, int system_errno, char *text)
{
  g_return_if_fail (*error == NULL);

  *error = g_new0 (ImgError, 1);
  (*error)->code = code;
  (*error)->system_errno = system_errno;
  (*error)->text = text;
}

void
img_error_set (ImgError **error, ImgCode code, const char *format, ...)
{
  va_list args;

  if (error == NULL)
    return;
  va_start (args, format);
  take_text (error, code, 0, g_strdup_vprintf (format, args));
  va_end (args);
}

gboolean
img_error_refuse (ImgError **error, ImgCode code, const char *format, ...)
{
  va_list args;

  if (error == NULL)
    return FALSE;
  va_start (args, format);
  take_text (error, code, 0, g_strdup_vprintf (format, args));
  va_end (args);
  return FALSE;
}

/* The text gets ": " and the system's words for @system_errno appended. */
void
img_error_set_errno (ImgError **error, int system_errno, const char *format, ...)
{
  va_list args;
  char *text;

  if (error == NULL)
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  take_text (error, IMG_CODE_ERRNO, system_errno,
             g_strdup_printf ("%s: %s", text, g_strerror (system_errno)));
  g_free (text);
}

void
img_error_prefix (ImgError **error, const char *format, ...)
{
  g_autofree char *prefix = NULL;
  g_autofree char *old = NULL;
  va_list args;

  if (error == NULL || *error == NULL)
    return;
  va_start (args, format);
  prefix = g_strdup_vprintf (format, args);
  va_end (args);
  old = (*error)->text;
  (*error)->text = g_strconcat (prefix, old, NULL);
}

void
img_error_propagate (ImgError **destination, ImgError *source)
{
  if (destination == NULL)
    img_error_free (source);
  else
    *destination = source;
}

ImgError *
img_error_copy (const ImgError *error)
{
  ImgError *copy = NULL;

  take_text (&copy, error->code, error->system_errno, g_strdup (error->text));
  copy->foreign_code = error->foreign_code;
  return copy;
}

void
img_error_free (ImgError *error)
{
  if (error == NULL)
    return;
  g_free (error->text);
  g_free (error);
}

void
img_error_clear (ImgError **error)
{
  if (error == NULL)
    return;
  img_error_free (*error);
  *error = NULL;
}

gboolean
img_error_matches (const ImgError *error, ImgCode code)
{
  return error != NULL && error->code == code;
}

char *
img_quote_name (const char *name)
{
  g_autofree char *valid = g_utf8_make_valid (name, -1);
  GString *quoted = g_string_new ("“");

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      /* Bidirectional overrides and line separators can disguise a name as another. */
      if (g_unichar_iscntrl (c) || g_unichar_type (c) == G_UNICODE_FORMAT || c == 0x2028 ||
          c == 0x2029)
        g_string_append_printf (quoted, "\\u%04x", c);
      else
        g_string_append_unichar (quoted, c);
    }
  g_string_append (quoted, "”");
  return g_string_free (quoted, FALSE);
}

#define MAX_LIST 1000
#define ELLIPSIS ", …"

void
img_quote_append (GString *list, const char *name)
{
  g_autofree char *quoted = NULL;

  if (list->len < MAX_LIST)
    quoted = img_quote_name (name);
  if (quoted != NULL)
    g_string_append_printf (list, "%s%s", list->len > 0 ? ", " : "", quoted);
  else if (!g_str_has_suffix (list->str, ELLIPSIS))
    g_string_append (list, ELLIPSIS);
}
