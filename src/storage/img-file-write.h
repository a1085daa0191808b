/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Changing a file by its descriptor: what img-file-storage.c does for requests that are not reads.
 *
 * Whether a file can be punched, zeroed or reserved is known only by trying: an operation that the file
 * system does not have is remembered and not tried again.
 *
 * A file grows in three ways: writes past the end, zeroes and reserved space past the end, and truncation.
 * Some file systems lose a write that passes the end of the file while its size changes otherwise, so those
 * that change the size by themselves run alone: they take the file's growth turn, and writes that pass the
 * end take it too. Writes inside the file, which are nearly all, take nothing.
 */

#pragma once

#include "img-storage.h"
#include "img-turn.h"

G_BEGIN_DECLS

typedef struct
{
  int fd;
  gboolean is_device;
  guint64 size;       /* atomic: the file is at least that long; it may be longer */
  ImgTurn growth;
  gint cannot_punch;  /* atomic, as the next ones */
  gint cannot_zero;
  gint cannot_allocate;
  gint flush_error;   /* errno of the first flush that failed: no later one succeeds */
} ImgFileWriter;

void      img_file_writer_init  (ImgFileWriter *writer, int fd, gboolean is_device, guint64 size);
void      img_file_writer_clear (ImgFileWriter *writer);
/* Any request but a read, to its end; an errno, 0 for success. */
int       img_file_writer_run   (ImgFileWriter *writer, const ImgIo *io);

G_END_DECLS
