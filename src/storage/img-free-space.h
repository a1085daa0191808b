/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How much room there is where a file would be made. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  guint64 bytes;     /* what this process may take */
  guint64 device;    /* as in ImgIdentity */
  gboolean is_plain; /* what is written takes as much as it is long: nothing is compressed or deduplicated */
  gboolean has_reflinks; /* unless it is copied from a file on the same device */
} ImgFreeSpace;

/* FALSE when nobody can tell: no directory, no regular file, a file system without a limit. */
gboolean img_free_space_find (const char *path, ImgFreeSpace *space);

G_END_DECLS
