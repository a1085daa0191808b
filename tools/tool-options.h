/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The command lines of the subcommands. Each subcommand is a table: what it is called, what it does,
 * and which options it has, each with the field of its settings that it sets. Parsing, --help and
 * what shells complete all come from that table.
 *
 *   typedef struct
 *   {
 *     ToolOpen open;
 *     gboolean quiet;
 *     const char *base;
 *   } Settings;
 *
 *   static const ToolOption options[] = {
 *     TOOL_STRING ('b', "base", N_ ("FILE"), Settings, base, N_ ("what is below it")),
 *     TOOL_COMMON_QUIET (Settings, quiet),
 *     TOOL_COMMON_FORMAT (Settings, open),
 *     TOOL_COMMON_OPENING (Settings, open),
 *     TOOL_OPTIONS_END,
 *   };
 *
 *   const ToolCommand tool_command_commit = {
 *     .name = "commit",
 *     .operands = N_ ("FILE"),
 *     .summary = N_ ("write what an overlay has into the image below"),
 *     .options = options,
 *     .settings_size = sizeof (Settings),
 *     .run = run, // int run (gpointer settings, int n, char **operands)
 *   };
 */

#pragma once

#include "tool-open.h"

G_BEGIN_DECLS

typedef enum
{
  TOOL_OPTION_END,
  TOOL_OPTION_FLAG,    /* a gboolean becomes TRUE */
  TOOL_OPTION_STRING,  /* a const char *; the last one counts */
  TOOL_OPTION_LIST,    /* a GPtrArray * of const char *, NULL until the first; freed by tool_command_run () */
  TOOL_OPTION_SIZE,    /* a guint64, with a suffix */
  TOOL_OPTION_CHOICE,  /* an int, or an enumeration: one of ->choices */
  TOOL_OPTION_CALL,    /* whatever ->set makes of it */
  TOOL_OPTION_ACCEPTED, /* nothing; it makes no difference here */
  TOOL_OPTION_REFUSED, /* QEMU has it; ->help says why it is not supported */
  TOOL_OPTION_ALIAS,   /* the option of the letter ->alias_of under another name */
  TOOL_OPTION_HELP,
  TOOL_OPTION_VERSION,
} ToolOptionType;

/* Where --help shows it. */
typedef enum
{
  TOOL_GROUP_OWN,
  TOOL_GROUP_OPENING,
  TOOL_GROUP_OUTPUT,
  TOOL_GROUP_ACCEPTED,
  TOOL_GROUP_HIDDEN,
} ToolOptionGroup;

typedef struct
{
  const char *text; /* NULL ends a list */
  int value;
} ToolChoice;

/* @value: NULL if the option takes none. FALSE after a message. */
typedef gboolean (*ToolOptionSetter) (const char *value, gpointer settings);

typedef struct
{
  ToolOptionType type;
  ToolOptionGroup group;
  char letter;          /* 0: none */
  const char *name;     /* without the dashes; NULL: none */
  const char *argument; /* N_ (): its placeholder in the help; NULL: it takes none */
  const char *help;     /* N_ (); NULL: not shown */
  gsize offset;         /* in the settings */
  ToolOptionSetter set;
  const ToolChoice *choices;
  const char *what;     /* N_ (): of a size or choice, for the message about a bad one */
  char alias_of;
} ToolOption;

typedef struct
{
  const char *name;        /* "info" */
  const char *operands;    /* N_ (): "FILE" */
  const char *summary;     /* N_ (): a line for "imago --help" */
  const char *description; /* N_ (): sentences; wrapped when printed */
  const char *notes;       /* N_ (): what follows the options, nullable */
  const ToolOption *options;
  gsize settings_size;
  gconstpointer defaults;  /* the settings to begin with; NULL: all 0 */
  gboolean keeps_last;     /* the last argument is an operand though it may begin with '-' */
  int (*run) (gpointer settings, int n_operands, char **operands);
} ToolCommand;

/* Parses @argv, @argv[0] aside, and runs the command. Returns the exit status. */
int      tool_command_run   (const ToolCommand *command, int argc, char **argv);

/* ---- for run () ---- */

/* A mistake in the command line: the message, and where there is help. Returns EXIT_FAILURE. */
int      tool_command_misuse (const char *format, ...) G_GNUC_PRINTF (1, 2);

/* The single operand, a file name. NULL after a message. */
const char *tool_command_get_file (int n_operands, char **operands);

/* Says that @option exists in QEMU and not here, and why. Returns FALSE. */
gboolean tool_option_refuse (const char *option, const char *why);

/* A number of bytes; FALSE after a message that names it as @what (translated). */
gboolean tool_option_size   (const char *value, const char *what, guint64 *size);

/* One of @choices; FALSE after a message that names it as @what (translated). */
gboolean tool_option_choice (const char *value,
                             const char *what,
                             const ToolChoice *choices,
                             int *field);

/* What a cache mode means for what is written. How the kernel caches it makes no difference. */
typedef enum
{
  TOOL_CACHE_BACK,
  TOOL_CACHE_THROUGH, /* each change is flushed */
  TOOL_CACHE_UNSAFE,  /* nothing is */
} ToolCache;

extern const ToolChoice tool_cache_choices[];

/* The choices of --output. */
extern const ToolChoice tool_output_choices[];

/* A ToolOptionSetter that sets nothing. */
gboolean tool_option_check_source_cache (const char *value, gpointer settings);

/* ---- rows of the table ---- */

/* The offset of a field that must be a @Type. */
#define TOOL_FIELD(Settings, field, Type) \
  (G_STRUCT_OFFSET (Settings, field) + 0 * sizeof (&((Settings *) 0)->field == (Type *) 0))

#define TOOL_FLAG(letter_, name_, Settings, field, help_) \
  { .type = TOOL_OPTION_FLAG, .letter = letter_, .name = name_, .help = help_, \
    .offset = TOOL_FIELD (Settings, field, gboolean) }

#define TOOL_STRING(letter_, name_, argument_, Settings, field, help_) \
  { .type = TOOL_OPTION_STRING, .letter = letter_, .name = name_, .argument = argument_, \
    .help = help_, .offset = TOOL_FIELD (Settings, field, const char *) }

#define TOOL_LIST(letter_, name_, argument_, Settings, field, help_) \
  { .type = TOOL_OPTION_LIST, .letter = letter_, .name = name_, .argument = argument_, \
    .help = help_, .offset = TOOL_FIELD (Settings, field, GPtrArray *) }

#define TOOL_SIZE(letter_, name_, Settings, field, what_, help_) \
  { .type = TOOL_OPTION_SIZE, .letter = letter_, .name = name_, .argument = N_ ("SIZE"), \
    .help = help_, .what = what_, .offset = TOOL_FIELD (Settings, field, guint64) }

#define TOOL_CHOICE(letter_, name_, argument_, Settings, field, choices_, what_, help_) \
  { .type = TOOL_OPTION_CHOICE, .letter = letter_, .name = name_, .argument = argument_, \
    .help = help_, .what = what_, .choices = choices_, \
    .offset = G_STRUCT_OFFSET (Settings, field) + \
              0 * sizeof (char[sizeof (((Settings *) 0)->field) == sizeof (int) ? 1 : -1]) }

#define TOOL_CALL(letter_, name_, argument_, set_, help_) \
  { .type = TOOL_OPTION_CALL, .letter = letter_, .name = name_, .argument = argument_, \
    .help = help_, .set = set_ }

#define TOOL_ACCEPTED(letter_, name_, argument_, help_) \
  { .type = TOOL_OPTION_ACCEPTED, .group = TOOL_GROUP_ACCEPTED, .letter = letter_, .name = name_, \
    .argument = argument_, .help = help_ }

#define TOOL_REFUSED(letter_, name_, argument_, why_) \
  { .type = TOOL_OPTION_REFUSED, .group = TOOL_GROUP_HIDDEN, .letter = letter_, .name = name_, \
    .argument = argument_, .help = why_ }

/* Takes an @argument_ exactly if the option of the letter @of_ does. */
#define TOOL_ALIAS(letter_, name_, argument_, of_) \
  { .type = TOOL_OPTION_ALIAS, .group = TOOL_GROUP_HIDDEN, .letter = letter_, .name = name_, \
    .argument = argument_, .alias_of = of_ }

#define TOOL_OPTIONS_END { .type = TOOL_OPTION_END }

/* ---- rows that many tables have ---- */

#define TOOL_COMMON_QUIET(Settings, field) \
  { .type = TOOL_OPTION_FLAG, .group = TOOL_GROUP_OUTPUT, .letter = 'q', .name = "quiet", \
    .help = N_ ("print nothing but errors"), .offset = TOOL_FIELD (Settings, field, gboolean) }

#define TOOL_COMMON_PROGRESS(Settings, field) \
  { .type = TOOL_OPTION_FLAG, .group = TOOL_GROUP_OUTPUT, .letter = 'p', .name = "progress", \
    .help = N_ ("show progress"), .offset = TOOL_FIELD (Settings, field, gboolean) }

/* A gboolean: whether it is JSON. */
#define TOOL_COMMON_OUTPUT(Settings, field) \
  { .type = TOOL_OPTION_CHOICE, .group = TOOL_GROUP_OUTPUT, .name = "output", \
    .argument = N_ ("human|json"), .help = N_ ("how to print it"), .choices = tool_output_choices, \
    .offset = TOOL_FIELD (Settings, field, gboolean) }

/* @open: a ToolOpen. */
#define TOOL_COMMON_FORMAT(Settings, open) \
  { .type = TOOL_OPTION_STRING, .group = TOOL_GROUP_OPENING, .letter = 'f', .name = "format", \
    .argument = N_ ("FORMAT"), .help = N_ ("the format of FILE (default: what it looks like)"), \
    .offset = TOOL_FIELD (Settings, open.format, const char *) }

#define TOOL_COMMON_FORCE_SHARE(Settings, open) \
  { .type = TOOL_OPTION_FLAG, .group = TOOL_GROUP_OPENING, .letter = 'U', .name = "force-share", \
    .help = N_ ("open it though somebody may be writing to it"), \
    .offset = TOOL_FIELD (Settings, open.force_share, gboolean) }

/* How a source is read makes no difference to what is read; a mode must be one all the same. */
#define TOOL_COMMON_SOURCE_CACHE(letter_, name_) \
  { .type = TOOL_OPTION_CALL, .group = TOOL_GROUP_ACCEPTED, .letter = letter_, .name = name_, \
    .argument = N_ ("MODE"), .help = N_ ("how the kernel caches what is read"), \
    .set = tool_option_check_source_cache }

#define TOOL_COMMON_VERSION \
  { .type = TOOL_OPTION_VERSION, .group = TOOL_GROUP_OUTPUT, .letter = 'V', .name = "version", \
    .help = N_ ("show the version") }

#define TOOL_COMMON_REFERENCES(Settings, open) \
  { .type = TOOL_OPTION_CHOICE, .group = TOOL_GROUP_OPENING, .name = "references", \
    .argument = N_ ("deny|same-dir|any"), \
    .help = N_ ("files that images may refer to (default: those in the same folder)"), \
    .choices = tool_references_choices, \
    .offset = TOOL_FIELD (Settings, open.references, ToolReferences) }

#define TOOL_COMMON_IMAGE_OPTS(Settings, open) \
  { .type = TOOL_OPTION_FLAG, .group = TOOL_GROUP_OPENING, .name = "image-opts", \
    .help = N_ ("FILE is a list of options, such as driver=qcow2,file.filename=NAME"), \
    .offset = TOOL_FIELD (Settings, open.image_opts, gboolean) }

#define TOOL_COMMON_OBJECT \
  { .type = TOOL_OPTION_REFUSED, .group = TOOL_GROUP_HIDDEN, .name = "object", \
    .argument = N_ ("OBJECT"), \
    .help = N_ ("encrypted images and network storage cannot be opened") }

/* What concerns every command that opens an image. */
#define TOOL_COMMON_OPENING(Settings, open) \
  TOOL_COMMON_REFERENCES (Settings, open), TOOL_COMMON_IMAGE_OPTS (Settings, open), TOOL_COMMON_OBJECT

extern const ToolChoice tool_references_choices[];

G_END_DECLS
