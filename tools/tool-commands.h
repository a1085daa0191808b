/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The subcommands. Each gets the name of the program as argv[0], its own
 * arguments after that, and returns the exit status. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

int cmd_check    (int argc, char **argv);
int cmd_convert  (int argc, char **argv);
int cmd_create   (int argc, char **argv);
int cmd_formats  (int argc, char **argv);
int cmd_info     (int argc, char **argv);
int cmd_inspect  (int argc, char **argv);
int cmd_io       (int argc, char **argv);
int cmd_map      (int argc, char **argv);
int cmd_resize   (int argc, char **argv);
int cmd_snapshot (int argc, char **argv);

G_END_DECLS
