/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The commands of "imago io", which are those of qemu-io that read and write. */

#pragma once

#include "tool-options.h"

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

/* How a file is opened. */
typedef struct
{
  ToolOpen open;
  gboolean read_only;
  gboolean throws_away; /* what is written goes to an overlay without a name */
  gboolean copies_on_read;
  gboolean ignores_discard;
  int cache; /* a ToolCache */
} IoOpening;

typedef struct
{
  ImagoImage *image;         /* NULL: none is open */
  char *file;                /* what @image was opened from: a name, or options that describe it */
  char *shown;               /* what messages call it; NULL: nothing */
  IoOpening opening;         /* how it was opened; the texts in it outlive the session */
  ToolReferences references; /* for all that is opened: no command changes it */
  gboolean image_opts;       /* the command "open" takes options, too */
  gboolean quit;
  guint n_pending; /* asynchronous requests that have not been answered */
} IoSession;

typedef struct
{
  const char *name;
  const char *alias;     /* nullable */
  const char *arguments; /* nullable */
  const char *summary;   /* untranslated, as all output that scripts read */
  const char *help;      /* nullable; more on it */
  int min_arguments;
  int max_arguments;     /* -1: any number; options count, the command itself parses them */
  gboolean needs_image;
  gboolean writes;       /* needs one that can be written */
  gboolean (*run) (IoSession *session, int argc, char **argv);
} IoCommand;

/* Runs one line. FALSE if it failed; a message has been printed. */
gboolean io_run_line (IoSession *session, const char *line);

/* Returns when every asynchronous request has been answered. */
void     io_drain    (IoSession *session);

/* ---- in io-open.c: the file that the commands work on ---- */

extern const ToolChoice io_discard_modes[];
extern const ToolChoice io_aio_modes[];

/* @file: a name, or options if @opening says so. @shown: what messages call it, NULL for nothing.
 * FALSE after a message. */
gboolean io_open  (IoSession *session,
                   const char *file,
                   const char *shown,
                   const IoOpening *opening);
/* Whether the commands may change the image. */
gboolean io_is_writable (const IoSession *session);
/* Waits for what is in flight, makes all durable, and leaves the session without an image. FALSE
 * after a message. May be called without one. */
gboolean io_close (IoSession *session);

/* Whether each change is flushed. */
static inline gboolean
io_writes_through (const IoSession *session)
{
  return session->opening.cache == TOOL_CACHE_THROUGH;
}

/* ---- in io-common.c: what the commands share ---- */

/* The most that one request may ask for, a limit scripts may know from qemu-io. */
#define IO_MAX_LENGTH ((guint64) G_MAXINT32 & ~(guint64) 511)

typedef struct
{
  const char *verb;          /* "wrote" */
  gboolean machine_readable;
  guint64 offset;
  guint64 length;
  gint64 start;              /* g_get_monotonic_time () */
} IoReport;

/* "name [arguments] -- summary". */
void     io_print_synopsis    (const IoCommand *command);
void     io_print_report      (const IoReport *report);
/* "name failed: …". */
/* That there is no place for it is an error number for qemu-io. */
void     io_translate_vm_state_error (GError **error);
void     io_print_failure     (const char *name, const GError *error);
/* @length bytes, shown as those at @offset. */
void     io_dump              (guint64 offset, const guint8 *data, gsize length);
/* These print what is wrong. */
gboolean io_parse_size        (const char *text, guint64 *size);
gboolean io_parse_pattern     (const char *text, guint8 *pattern);
/* At most IO_MAX_LENGTH. @condition: what to say of that limit, "" for nothing. */
gboolean io_parse_length      (const char *text, const char *condition, guint64 *length);
/* The sum of @lengths: at most IO_MAX_LENGTH. */
gboolean io_parse_lengths     (int n, char **lengths, guint64 *sum);
/* Whether both are whole sectors. */
gboolean io_check_aligned     (guint64 offset, guint64 length);

/* Says that -b of the command @name cannot be. Returns FALSE. */

/* ---- in io-layers.c ---- */

/* An image whose changes, upon @image, are thrown away when it is closed. */
ImagoImage *io_make_overlay (ImagoImage *image, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Before a read of the range: if the session wants it, what lies below the image becomes its own. */
gboolean io_copy_on_read  (IoSession *session, guint64 offset, guint64 length, GError **error);

/* ---- the commands by file ---- */

/* io-read.c */
extern const IoCommand io_command_read;
extern const IoCommand io_command_readv;
/* io-write.c */
extern const IoCommand io_command_write;
extern const IoCommand io_command_writev;
/* io-change.c */
extern const IoCommand io_command_discard;
extern const IoCommand io_command_flush;
extern const IoCommand io_command_truncate;
/* io-look.c */
extern const IoCommand io_command_alloc;
extern const IoCommand io_command_info;
extern const IoCommand io_command_length;
extern const IoCommand io_command_map;
/* io-open.c */
extern const IoCommand io_command_close;
extern const IoCommand io_command_open;
extern const IoCommand io_command_reopen;
/* io-aio.c */
extern const IoCommand io_command_aio_flush;
extern const IoCommand io_command_aio_read;
extern const IoCommand io_command_aio_write;

G_END_DECLS
