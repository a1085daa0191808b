/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-cache.h"

#include "tool-message.h"

#include <glib/gi18n-lib.h>

gboolean
tool_check_cache_mode (const char *value, gpointer settings)
{
  static const char *const modes[] = { "none", "off", "directsync", "writeback", "unsafe", "writethrough", NULL };

  if (g_strv_contains (modes, value))
    return TRUE;
  tool_error (_("Invalid cache option: %s"), value);
  return FALSE;
}
