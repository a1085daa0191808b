/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage on a file descriptor: a regular file or, on request, a block device. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_FILE_NONE = 0,
  IMG_FILE_ALLOW_DEVICE = 1 << 0, /* block devices too, not only regular files */
  IMG_FILE_WRITABLE = 1 << 1,     /* for reading and writing; never creates and never truncates */
  /* Flushes do nothing: nobody is promised anything about the file before somebody else has made it durable. */
  IMG_FILE_VOLATILE = 1 << 2,
} ImgFileFlags;

/* Opens @path, read-only unless asked otherwise. Never blocks on a FIFO or a device: the file is opened without waiting and
 * its type checked before anything else is done with it. A symbolic link is followed. */
ImgStorage *img_file_storage_open   (const char *path, ImgFileFlags flags, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* The same for @name in the open directory @directory_fd, but no symbolic link, no other file system and
 * nothing outside the directory is followed. The storage gets @path as its name. */
ImgStorage *img_file_storage_open_beneath (int directory_fd, const char *name, const char *path,
                                           ImgFileFlags flags, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* Opens the file of @fd once more, which must be open for reading, and for writing if that is asked for; @name
 * may be NULL. */
ImgStorage *img_file_storage_new_fd (int fd, const char *name, ImgFileFlags flags,
                                     ImgError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Has the operating system begin to write what is in its memory; waits for nothing and promises nothing. Does nothing
 * if @storage is no file. */
void        img_file_storage_start_write_back (ImgStorage *storage);
/* -1 if @storage is no file. */
int         img_file_storage_get_fd (ImgStorage *storage);

G_END_DECLS
