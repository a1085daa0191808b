/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the commands that change the size of a disk have in common. They print what is wrong. */

#pragma once

#include <imago-glib/imago-glib.h>

G_BEGIN_DECLS

/* "off", "metadata", "falloc" or "full". */
gboolean tool_parse_preallocation (const char *text, ImagoPreallocation *mode);
/* Whether a disk in the format of @image can be that long: of whole sectors, but in a raw file. */
gboolean tool_check_disk_size     (ImagoImage *image, guint64 size);

G_END_DECLS
