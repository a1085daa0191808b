/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Making an io_uring, where the system has one and allows it. */

#pragma once

#ifdef HAVE_LIBURING

#include <glib.h>
#include <liburing.h>

G_BEGIN_DECLS

/* @flags: of the setup; without them where the kernel does not know them. FALSE: there can be none, or none that can wait
 * for a time. */
gboolean img_uring_init (struct io_uring *uring, guint n_entries, guint flags);

G_END_DECLS

#endif
