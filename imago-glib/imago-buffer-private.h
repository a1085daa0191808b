/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Memory that becomes a GBytes. Its size is the caller's, so running out is an error.
 *
 * What is large comes from the kernel page by page and goes back there when it is freed, which costs more than to
 * copy into it. So some large buffers are kept for the next read when their GBytes go. */

#pragma once

#include "imago-core.h"

G_BEGIN_DECLS

guint8 *imago_buffer_new      (gsize count, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With the same @count; @buffer may be NULL. */
void    imago_buffer_free     (guint8 *buffer, gsize count);
/* Takes @buffer. */
GBytes *imago_buffer_to_bytes (guint8 *buffer, gsize count) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
