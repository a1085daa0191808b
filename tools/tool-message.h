/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What every command prints in the same way, and under which name it was called. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* From argv[0]. Called as qemu-img or qemu-io, the command behaves as these do: it believes what it
 * finds in a file and opens whatever an image names. */
void        tool_set_program_name (const char *argv0);
const char *tool_get_program_name (void);
gboolean    tool_is_qemu_img      (void);
gboolean    tool_is_qemu_io       (void);

/* Under QEMU's names with the version whose options and output are meant, where scripts look for it.
 * @command: nullable. */
void        tool_print_version    (const char *command);

/* "imago: ..." on the standard error output. */
void        tool_error            (const char *format, ...) G_GNUC_PRINTF (1, 2);
/* The same for a mistake in the command line, with a pointer to the help of @command (nullable). */
void        tool_usage_error      (const char *command,
                                   const char *format, ...) G_GNUC_PRINTF (2, 3);

/* @text as it may be printed on a terminal: valid UTF-8, control characters escaped. */
char       *tool_printable        (const char *text) G_GNUC_WARN_UNUSED_RESULT;

/* FALSE with a message if anything printed on the standard output got lost (disk full, …). */
gboolean    tool_flush_output     (void);

G_END_DECLS
