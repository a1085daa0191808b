/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An image that a person described by options instead of a file name: with --image-opts as
 * "driver=qcow2,file.filename=x", or as "json:{…}". Never anything that a file contains. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  char *filename;
  char *format; /* NULL: find out */
  gboolean read_only;
  gboolean force_share;
  gboolean no_backing; /* nothing shows through, whatever the image names */
  gboolean has_offset;
  gboolean has_size;
  guint64 offset; /* of a raw disk in its file */
  guint64 size;
} ToolNode;

/* @text: a list of options if @image_opts, otherwise a file name or a description in JSON. @unmaps: whether discards
 * are passed on when @text does not say so. */
ToolNode *tool_node_parse (const char *text,
                           gboolean image_opts,
                           gboolean unmaps,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether the option @name of an image of @format (nullable) changes nothing about its content. */
gboolean  tool_node_is_harmless (const char *name, const char *format);
void      tool_node_free  (ToolNode *node);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolNode, tool_node_free)

G_END_DECLS
