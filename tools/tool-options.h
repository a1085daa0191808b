/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the command lines of the subcommands have in common. */

#pragma once

#include "tool-open.h"

#include <getopt.h>

G_BEGIN_DECLS

/* Values for long options without a letter. */
enum
{
  TOOL_OPTION_OUTPUT = 0x100,
  TOOL_OPTION_REFERENCES,
  TOOL_OPTION_IMAGE_OPTS,
  TOOL_OPTION_OBJECT,
  TOOL_OPTION_OTHER, /* first free for a subcommand's own */
};

/* In every table of long options. */
#define TOOL_COMMON_OPTIONS \
  { "help", no_argument, NULL, 'h' }, \
  { "references", required_argument, NULL, TOOL_OPTION_REFERENCES }, \
  { "force-share", no_argument, NULL, 'U' }, \
  { "image-opts", no_argument, NULL, TOOL_OPTION_IMAGE_OPTS }, \
  { "object", required_argument, NULL, TOOL_OPTION_OBJECT }

typedef enum
{
  TOOL_OPTION_UNKNOWN, /* the subcommand's own */
  TOOL_OPTION_TAKEN,
  TOOL_OPTION_HELP,    /* the help has been printed: stop with success */
  TOOL_OPTION_FAILED,  /* a message has been printed: stop with failure */
} ToolOptionResult;

typedef struct
{
  const char *command;  /* "info" */
  const char *synopsis; /* untranslated: "[-f FORMAT] FILE" */
  const char *help;     /* translated: what it does and its options */
} ToolUsage;

/* Handles what getopt_long () returned as far as it is common to all subcommands. */
ToolOptionResult tool_option_common  (int option, const char *value, const ToolUsage *usage,
                                      ToolOpen *open);
void             tool_usage_print    (const ToolUsage *usage);

/* "human" or "json". */
gboolean         tool_option_output  (const char *value, gboolean *json);
/* Says that @option exists in QEMU and not here, and why. Returns TOOL_OPTION_FAILED. */
ToolOptionResult tool_option_refuse  (const char *option, const char *why);
/* The single file name that is left in @argv. NULL after a message. */
const char      *tool_option_file    (int argc, char **argv, const ToolUsage *usage);

G_END_DECLS
