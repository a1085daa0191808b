/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How the kernel caches what a command writes. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A ToolOptionSetter that sets nothing: a job makes durable what it must, whatever the mode. FALSE after a message
 * if there is no such mode. */
gboolean tool_check_cache_mode (const char *value, gpointer settings);

G_END_DECLS
