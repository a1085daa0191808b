/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Being stopped by a signal, where no main loop runs that could tell of it. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* From now on SIGINT, SIGTERM and SIGHUP are noted; a second one ends the program at once. */
void tool_stop_watch (void);
/* The signal that came, or 0. To be asked between steps. */
int  tool_stop_get   (void);
/* Ends the program by that signal, so that a shell sees it; nothing if it is 0. */
void tool_stop_die   (int signal_number);

G_END_DECLS
