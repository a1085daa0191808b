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
 *
 * ext4 finds room for each block of a write by itself, which is a quarter of the time that filling a new file takes;
 * in a range that was reserved it is there at once. So long writes into a new file reserve first what they are about
 * to fill, and no more: nothing has to be given back, and a failure only ends the attempts.
 */

#pragma once

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "img-storage.h"
#include "img-turn.h"

G_BEGIN_DECLS

/* What one call takes. */
#ifdef IOV_MAX
#define IMG_FILE_MAX_VECTORS IOV_MAX
#else
#define IMG_FILE_MAX_VECTORS 1024
#endif

/* How a request that must not wait is made. tmpfs never waits for a device, though it does not know
 * RWF_NOWAIT. */
typedef enum
{
  IMG_NOWAIT_FLAG,
  IMG_NOWAIT_PLAIN,
  IMG_NOWAIT_NEVER,
} ImgNowaitMode;

/* What is left when the kernel knows no RWF_NOWAIT for the file. */
ImgNowaitMode img_nowait_without_flag (int fd);

typedef struct
{
  int fd;
  gboolean is_device;
  gboolean is_volatile; /* flushes do nothing */
  guint64 size;       /* atomic: the file is at least that long if nobody else has cut it; it may be longer */
  ImgTurn growth;
  gint cannot_punch;  /* atomic, as the next ones */
  gint cannot_zero;
  gint cannot_allocate;
  gint reserves;      /* long writes reserve their range first */
  gint cannot_copy;   /* from where it was tried: the files of one copy lie on two file systems at most */
  gint nowait_mode;   /* ImgNowaitMode, of writes */
  gint flush_error;   /* errno of the first flush that failed: no later one succeeds */
} ImgFileWriter;

void      img_file_writer_init  (ImgFileWriter *writer, int fd, gboolean is_device, guint64 size);
void      img_file_writer_clear (ImgFileWriter *writer);
/* A new file, of which nobody is promised anything yet. Before the first request. */
void      img_file_writer_set_volatile (ImgFileWriter *writer);

/* Whether somebody else has made the file shorter than it was when it was opened or became by what was done here since.
 * For devices FALSE. */
gboolean  img_file_writer_is_cut (ImgFileWriter *writer);
/* Takes the size that the file has now for the right one. */
void      img_file_writer_accept_size (ImgFileWriter *writer);

/* As pwritev (), again after a signal. Inline, as each return after a system call is mispredicted where the
 * kernel defends itself against speculation. */
static inline __attribute__ ((always_inline)) ssize_t
img_file_writer_write_some (const ImgFileWriter *writer,
                            const struct iovec *iov,
                            guint n_iov,
                            guint64 offset)
{
  ssize_t result;

  do
    result = n_iov == 1 ? pwrite (writer->fd, iov->iov_base, iov->iov_len, (off_t) offset)
                        : pwritev (writer->fd, iov, (int) n_iov, (off_t) offset);
  while (result < 0 && errno == EINTR);
  return result;
}

/* For a shorter write the call costs what it saves. */
#define IMG_FILE_MIN_RESERVED (256 * IMG_KIB)

static inline gboolean
img_file_writer_reserves (ImgFileWriter *writer, guint64 length)
{
  return length >= IMG_FILE_MIN_RESERVED && g_atomic_int_get (&writer->reserves);
}

/* A write that stays inside the file, at once and whole; FALSE: img_file_writer_run () may do it. */
static inline __attribute__ ((always_inline)) gboolean
img_file_writer_try_write (ImgFileWriter *writer, const ImgIo *io)
{
  if (io->n_iov > IMG_FILE_MAX_VECTORS || img_file_writer_reserves (writer, io->length) ||
      io->offset + io->length > __atomic_load_n (&writer->size, __ATOMIC_RELAXED))
    return FALSE;
  return img_file_writer_write_some (writer, io->iov, io->n_iov, io->offset) == (ssize_t) io->length;
}

/* As much of a write as the kernel takes without waiting, *@n_done bytes; EAGAIN if that is not all. */
int       img_file_writer_write_nowait (ImgFileWriter *writer, const ImgIo *io, gsize *n_done);

/* Copies from @fd without the bytes leaving the kernel; never past the end of either file. Returns how many bytes. */
guint64   img_file_writer_copy  (ImgFileWriter *writer, int fd, guint64 fd_offset, guint64 offset,
                                 guint64 length);

/* Any request but a read, to its end; an errno, 0 for success. */
int       img_file_writer_run   (ImgFileWriter *writer, const ImgIo *io);

G_END_DECLS
