/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Being stopped by a signal where no job and no main loop runs. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* From now on SIGINT, SIGTERM and SIGHUP are noted; a second one ends the program at once. */
void tool_stop_watch (void);
/* The signal that came, or 0. To be asked between steps. */
int  tool_stop_get   (void);
/* Ends the program by the signal that came, so that a shell sees it; returns if none did. */
void tool_stop_die   (void);

G_END_DECLS
