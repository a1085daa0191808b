/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-check.h"

static void
message_free (gpointer data)
{
  ImgCheckMessage *message = data;

  g_free (message->text);
  g_free (message);
}

void
img_check_result_init (ImgCheckResult *result)
{
  *result = (ImgCheckResult) { .messages = g_ptr_array_new_with_free_func (message_free) };
}

void
img_check_result_clear (ImgCheckResult *result)
{
  g_clear_pointer (&result->messages, g_ptr_array_unref);
}

void
img_check_result_say (ImgCheckResult *result,
                      ImgCheckKind kind,
                      guint64 host_offset,
                      const char *format,
                      ...)
{
  ImgCheckMessage *message;
  va_list args;

  result->n_messages++;
  if (!img_check_result_keeps (result))
    return;
  message = g_new (ImgCheckMessage, 1);
  message->kind = kind;
  message->host_offset = host_offset;
  va_start (args, format);
  message->text = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (result->messages, message);
}
