/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The tables of all commands as JSON: shell completions and manual pages are made from it. */

#pragma once

#include "tool-options.h"

G_BEGIN_DECLS

void tool_dump_commands (const ToolCommand *const *commands, guint n_commands);

G_END_DECLS
