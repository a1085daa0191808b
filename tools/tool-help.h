/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What --help prints, out of the table of a command. */

#pragma once

#include "tool-options.h"

G_BEGIN_DECLS

void tool_help_print (const ToolCommand *command);

G_END_DECLS
