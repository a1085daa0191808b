/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* "name=value,name=value" as the command line has it. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The next part of *list, up to a single comma; doubled ones stand for themselves. NULL at the end. */
char *tool_list_next (const char **list) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
