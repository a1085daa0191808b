/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Numbers as people write and read them. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Bytes with an optional suffix b, k, M, G, T, P or E (powers of 1024), hexadecimal or a fraction
 * ("1.5G") too. FALSE if @text is anything else or more than any file can have (2^63 - 1). */
gboolean tool_parse_size    (const char *text, guint64 *size);
/* Whether @text is a number, but a larger one. */
gboolean tool_size_is_too_large (const char *text);

/* "1.5 GiB", three significant digits, as qemu-img prints sizes. */
char    *tool_format_size   (guint64 size) G_GNUC_WARN_UNUSED_RESULT;
/* "1.438 MiB" and "512 bytes", as qemu-io does. */
char    *tool_format_amount (double amount) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
