/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-cache.h"

#include "tool-options.h"

#include <glib/gi18n-lib.h>

gboolean
tool_check_cache_mode (const char *value, gpointer settings)
{
  int mode;

  return tool_option_choice (value, _("cache"), tool_cache_choices, &mode);
}
