/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A new image that is filled under another name and takes its own when it is complete. */

#pragma once

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

typedef struct _ToolReplace ToolReplace;

/* Creates an image for @filename. A file of that name stays as it is until tool_replace_publish (); it
 * must be one that nobody else has open as an image. A device is written in place. */
ToolReplace *tool_replace_new       (const char *filename,
                                     const char *format_name,
                                     guint64 size,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Where to write. */
ImagoImage  *tool_replace_get_image (ToolReplace *self);
/* Puts the image, complete and durable, in its place. */
gboolean     tool_replace_publish   (ToolReplace *self, GError **error);
/* Leaves nothing behind that was not published. */
void         tool_replace_free      (ToolReplace *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolReplace, tool_replace_free)

G_END_DECLS
