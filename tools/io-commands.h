/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The commands of "imago io", which are those of qemu-io that only read. */

#pragma once

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

typedef struct
{
  ImagoImage *image; /* NULL: none was given */
  gboolean quit;
} IoSession;

typedef struct
{
  const char *name;
  const char *arguments; /* nullable */
  const char *summary;   /* untranslated, as all output that scripts read */
  const char *help;      /* nullable; more on it */
  int min_arguments;
  int max_arguments;     /* -1: any number; options count, the command itself parses them */
  gboolean needs_image;
  gboolean (*run) (IoSession *session, int argc, char **argv);
} IoCommand;

/* Runs one line. FALSE if it failed; a message has been printed. */
gboolean io_run_line (IoSession *session, const char *line);

/* "name [arguments] -- summary". */
void     io_print_synopsis (const IoCommand *command);
gboolean io_parse_size     (const char *text, guint64 *size);

/* In io-read.c. */
extern const IoCommand io_command_read;
extern const IoCommand io_command_readv;

G_END_DECLS
