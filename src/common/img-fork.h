/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a child of fork () finds in its memory and must not use: rings and threads are its parent's. getpid () would tell,
 * for a system call each time. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Whoever keeps such things watches first. FALSE: out of memory. */
gboolean img_fork_watch     (void);
/* How often this process has become another one since it was watched: what was made at another count is not its own. */
gint     img_fork_get_count (void);

G_END_DECLS
