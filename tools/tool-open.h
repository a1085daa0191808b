/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Opening an image that a person named on the command line. */

#pragma once

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

typedef enum
{
  TOOL_REFERENCES_DEFAULT, /* same directory; any when called as qemu-img or qemu-io */
  TOOL_REFERENCES_DENY,
  TOOL_REFERENCES_SAME_DIRECTORY,
  TOOL_REFERENCES_ANY,
} ToolReferences;

typedef struct
{
  const char *format;   /* NULL: find out */
  const char *snapshot; /* NULL: the active disk; otherwise as after convert -l */
  ToolReferences references;
  gboolean writable;
  gboolean unmaps;      /* TRUE: discards are passed on, if nobody says otherwise */
  gboolean image_opts;  /* TRUE: what is opened is no file name but a list of options */
  guint writable_backing; /* the image so far below is written, too; 0: none */
  gboolean force_share; /* TRUE: somebody may be writing to it */
  gboolean header_only; /* TRUE: open this one file; the image can be described but not read */
  gboolean metadata_only; /* TRUE: no image of the chain can be read, and encrypted ones are no exception */
} ToolOpen;

/* The format that a person means by @name; NULL: there is none. QEMU has names of their own for a file and a device as
 * such, which are raw. */
ImagoFormat *tool_find_format (const char *name);

/* @filename: what a person typed, perhaps with "json:" or "file:" before it; never a name out of an image. */
ImagoImage *tool_open (const char *filename,
                       const ToolOpen *how,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Opens one file and says of which format it is, by @how or by its content: then nobody may have said
 * so, see @guessed (nullable). */
ImagoStorage *tool_open_storage (const char *filename,
                                 const ToolOpen *how,
                                 char **format,
                                 gboolean *guessed,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The name of the file that tool_open () opens for @filename. */
char       *tool_open_dup_name (const char *filename,
                                const ToolOpen *how) G_GNUC_WARN_UNUSED_RESULT;

/* The file that a person named for something new: the one that tool_open () opens under that name, if it is plain or
 * begins with "file:". A GFile alone would take "folder/" for the name of a file. */
GFile      *tool_new_file (const char *filename, GError **error) G_GNUC_WARN_UNUSED_RESULT;

ImagoReferencePolicy *tool_make_policy (ToolReferences references) G_GNUC_WARN_UNUSED_RESULT;

/* Adds to a printed error what a person can do about it. */
void        tool_open_print_hint  (const GError *error);
/* Prints both. */
void        tool_open_print_error (const char *filename, const GError *error);

/* The file that the name @reference in the image @filename means, in the words of the command line:
 * "disks/base.raw" for "base.raw" in "disks/vm.qcow2". NULL for NULL. */
char       *tool_combine_names (const char *filename,
                                const char *reference) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
