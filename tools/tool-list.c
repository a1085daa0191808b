/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-list.h"

char *
tool_list_next (const char **list)
{
  GString *part;

  if (**list == '\0')
    return NULL;
  part = g_string_new (NULL);
  for (; **list != '\0'; (*list)++)
    {
      if (**list == ',' && *++*list != ',')
        break;
      g_string_append_c (part, **list);
    }
  return g_string_free (part, FALSE);
}
