/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A file that appears at its name all at once, or never.
 *
 * A new name: the file has no name at all (O_TMPFILE) until it is linked, so nothing is left behind even
 * after SIGKILL. Where the file system has no O_TMPFILE, and when an existing file is replaced, the
 * file gets a temporary name (".imago-NAME.XXXXXX") that the next run for the same target removes.
 *
 * An existing target is replaced only on request and only while nobody counts on it: the locks that
 * QEMU takes when it creates a file are held on the old file until the new one has its name. Symbolic
 * links are resolved; mode, owner and extended attributes of the old file are kept as far as this process may.
 *
 * A successor is for an owner who has the old file open and locked, and reads it perhaps: it takes no lock and replaces
 * that very file or none. It is the old file to everybody but its readers, so what cannot be kept is an error, and so
 * are other names of the old file, which would go on meaning that.
 */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

typedef struct _ImgNewFile ImgNewFile;

typedef struct
{
  ImgIdentity file; /* which @path must lead to */
  guint64 length;   /* bytes that the new file is cut to at last; 0: it stays as long as it is */
  gboolean is_done; /* set once the name means the new file, whatever comes after that */
  guint64 usage;    /* bytes that the new file takes then */
} ImgSuccession;

ImgNewFile *img_new_file_create       (const char *path, gboolean overwrite, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* @succession: stays valid as long as the file. */
ImgNewFile *img_new_file_create_successor (const char *path, ImgSuccession *succession, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
int         img_new_file_get_fd       (ImgNewFile *file);
/* What publishing would replace; FALSE if there is nothing. */
gboolean    img_new_file_get_replaced (ImgNewFile *file, ImgIdentity *identity);
/* @durable: the content, then the name, are on the disk when this returns. */
gboolean    img_new_file_publish      (ImgNewFile *file, gboolean durable, ImgError **error);
/* Takes the name away again if it was new. What was replaced does not come back: then the file stays, and the
 * answer is FALSE. */
gboolean    img_new_file_withdraw     (ImgNewFile *file);
/* Not published: nothing is left. */
void        img_new_file_free         (ImgNewFile *file);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgNewFile, img_new_file_free)

G_END_DECLS
