/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The subcommands: each in the file cmd-NAME.c. */

#pragma once

#include "tool-options.h"

G_BEGIN_DECLS

extern const ToolCommand tool_command_bench;
extern const ToolCommand tool_command_check;
extern const ToolCommand tool_command_commit;
extern const ToolCommand tool_command_compact;
extern const ToolCommand tool_command_compare;
extern const ToolCommand tool_command_convert;
extern const ToolCommand tool_command_create;
extern const ToolCommand tool_command_dd;
extern const ToolCommand tool_command_formats;
extern const ToolCommand tool_command_info;
extern const ToolCommand tool_command_inspect;
extern const ToolCommand tool_command_io;
extern const ToolCommand tool_command_map;
extern const ToolCommand tool_command_measure;
extern const ToolCommand tool_command_rebase;
extern const ToolCommand tool_command_resize;
extern const ToolCommand tool_command_snapshot;

G_END_DECLS
