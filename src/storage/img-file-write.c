/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#endif

#include "img-bytes.h"
#include "img-file-write.h"
#include "img-iov.h"

#define ZEROES_LENGTH 65536
#define N_ZEROES 16

void
img_file_writer_init (ImgFileWriter *writer, int fd, gboolean is_device, guint64 size)
{
  *writer = (ImgFileWriter) { .fd = fd, .is_device = is_device, .size = size };
  img_turn_init (&writer->growth);
}

void
img_file_writer_clear (ImgFileWriter *writer)
{
  img_turn_clear (&writer->growth);
}

void
img_file_writer_set_volatile (ImgFileWriter *writer)
{
#ifdef __linux__
  struct statfs fs;

  /* Others have been measured (tmpfs: it takes longer), or find room for many blocks at once anyway. */
  writer->reserves =
    !writer->is_device && fstatfs (writer->fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
#endif
  writer->is_volatile = TRUE;
}

/* ---- size ---- */

static guint64
get_size (const ImgFileWriter *writer)
{
  return __atomic_load_n (&writer->size, __ATOMIC_RELAXED);
}

static void
raise_size (ImgFileWriter *writer, guint64 size)
{
  guint64 old = get_size (writer);

  while (old < size && !__atomic_compare_exchange_n (&writer->size, &old, size, TRUE,
                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
}

/* Of the file itself: somebody else may have let it grow. With the growth turn. */
static int
query_size (ImgFileWriter *writer, guint64 *size)
{
  struct stat st;

  *size = get_size (writer);
  if (writer->is_device)
    return 0;
  if (fstat (writer->fd, &st) != 0)
    return errno;
  *size = (guint64) st.st_size;
  return 0;
}

static int
set_size (ImgFileWriter *writer, guint64 size)
{
  int result;

  do
    result = ftruncate (writer->fd, (off_t) size);
  while (result != 0 && errno == EINTR);
  if (result != 0)
    return errno;
  __atomic_store_n (&writer->size, size, __ATOMIC_RELAXED);
  return 0;
}

gboolean
img_file_writer_is_cut (ImgFileWriter *writer)
{
  gboolean is_cut;
  guint64 size;

  img_turn_take (&writer->growth);
  is_cut = query_size (writer, &size) == 0 && size < get_size (writer);
  img_turn_give (&writer->growth);
  return is_cut;
}

void
img_file_writer_accept_size (ImgFileWriter *writer)
{
  guint64 size;

  img_turn_take (&writer->growth);
  if (query_size (writer, &size) == 0)
    __atomic_store_n (&writer->size, size, __ATOMIC_RELAXED);
  img_turn_give (&writer->growth);
}

/* A device has the size it has. */
static int
truncate_to (ImgFileWriter *writer, guint64 size)
{
  if (size > G_MAXINT64)
    return EFBIG;
  if (writer->is_device)
    return size <= get_size (writer) ? 0 : ENOSPC;
  return set_size (writer, size);
}

/* ---- writing ---- */

static gboolean
is_unsupported (int error)
{
  return error == EOPNOTSUPP || error == ENOTSUP || error == ENOSYS || error == ENODEV ||
         error == ENOTTY;
}

/* After a short write, or with more buffers than one call takes. @n_done bytes are written. */
static int
write_rest (ImgFileWriter *writer, const ImgIo *io, guint64 n_done)
{
  struct iovec part[IMG_FILE_MAX_VECTORS];
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);

  for (guint64 skip = n_done; skip > 0;)
    skip -= img_iov_cursor_next (&cursor, skip).iov_len;
  while (n_done < io->length)
    {
      ImgIovCursor here = cursor;
      guint n_parts;
      ssize_t result;

      img_iov_cursor_slice (&here, io->length - n_done, part, IMG_FILE_MAX_VECTORS, &n_parts);
      result = img_file_writer_write_some (writer, part, n_parts, io->offset + n_done);
      if (result <= 0)
        return result < 0 ? errno : ENOSPC;
      for (gsize skip = (gsize) result; skip > 0;)
        skip -= img_iov_cursor_next (&cursor, skip).iov_len;
      n_done += (guint64) result;
    }
  return 0;
}

static int
write_all (ImgFileWriter *writer, const ImgIo *io)
{
  ssize_t result = 0;

  if (G_LIKELY (io->n_iov <= IMG_FILE_MAX_VECTORS))
    {
      result = img_file_writer_write_some (writer, io->iov, io->n_iov, io->offset);
      if (G_LIKELY (result == (ssize_t) io->length))
        return 0;
      if (result < 0)
        return errno;
    }
  return write_rest (writer, io, (guint64) result);
}

ImgNowaitMode
img_nowait_without_flag (int fd)
{
#ifdef __linux__
  struct statfs fs;

  if (fstatfs (fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
    return IMG_NOWAIT_PLAIN;
#endif
  return IMG_NOWAIT_NEVER;
}

static ssize_t
write_in_mode (const ImgFileWriter *writer, const ImgIo *io, ImgNowaitMode mode)
{
  ssize_t result;

  if (mode == IMG_NOWAIT_PLAIN)
    return img_file_writer_write_some (writer, io->iov, io->n_iov, io->offset);
#ifdef RWF_NOWAIT
  do
    result = pwritev2 (writer->fd, io->iov, (int) io->n_iov, (off_t) io->offset, RWF_NOWAIT);
  while (result < 0 && errno == EINTR);
#else
  result = -1;
  errno = EOPNOTSUPP;
#endif
  return result;
}

/* Only inside the file: what lets it grow may have to wait for its turn. */
int
img_file_writer_write_nowait (ImgFileWriter *writer, const ImgIo *io, gsize *n_done)
{
  ImgNowaitMode mode = (ImgNowaitMode) g_atomic_int_get (&writer->nowait_mode);
  ssize_t result;

  *n_done = 0;
  if (mode == IMG_NOWAIT_NEVER || io->n_iov > IMG_FILE_MAX_VECTORS ||
      !img_range_fits (io->offset, io->length, get_size (writer)))
    return EAGAIN;
  result = write_in_mode (writer, io, mode);
  if (result < 0 && mode == IMG_NOWAIT_FLAG && is_unsupported (errno))
    {
      g_atomic_int_set (&writer->nowait_mode, (gint) img_nowait_without_flag (writer->fd));
      return img_file_writer_write_nowait (writer, io, n_done);
    }
  if (result < 0)
    return errno;
  *n_done = (gsize) result;
  return *n_done == io->length ? 0 : EAGAIN;
}

/* ---- zeroes, discard, reserved space ---- */

#ifdef __linux__
static int
allocate (ImgFileWriter *writer, int mode, guint64 offset, guint64 length)
{
  int result;

  do
    result = fallocate (writer->fd, mode, (off_t) offset, (off_t) length);
  while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

static int
control_range (ImgFileWriter *writer, unsigned long request, guint64 offset, guint64 length)
{
  guint64 range[2] = { offset, length };

  return ioctl (writer->fd, request, range) == 0 ? 0 : errno;
}
#endif

/* ENOTSUP when it is no operation of this file, and then remembered in *cannot. EINVAL is a range that
 * a device cannot do because it is not aligned: another range may be. */
static int
remember (int error, gint *cannot)
{
  if (error == EINVAL)
    return ENOTSUP;
  if (!is_unsupported (error))
    return error;
  g_atomic_int_set (cannot, TRUE);
  return ENOTSUP;
}

/* Of the file as long as it is; what lies behind its end is a hole already. */
static int
punch (ImgFileWriter *writer, guint64 offset, guint64 length)
{
#ifdef __linux__
  if (g_atomic_int_get (&writer->cannot_punch))
    return ENOTSUP;
  if (writer->is_device)
    return remember (control_range (writer, BLKDISCARD, offset, length), &writer->cannot_punch);
  return remember (allocate (writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length),
                   &writer->cannot_punch);
#else
  return ENOTSUP;
#endif
}

/* What the kernel answers each time it is asked to copy between these files. */
static gboolean
is_no_copy (int error)
{
  return error == EXDEV || error == EINVAL || error == ETXTBSY || is_unsupported (error);
}

guint64
img_file_writer_copy (ImgFileWriter *writer,
                      int fd,
                      guint64 fd_offset,
                      guint64 offset,
                      guint64 length)
{
  guint64 n_done = 0;
#ifdef __linux__
  off_t from = (off_t) fd_offset, to = (off_t) offset;
  ssize_t result = 1;

  if (writer->is_device || g_atomic_int_get (&writer->cannot_copy) ||
      !img_range_fits (offset, length, __atomic_load_n (&writer->size, __ATOMIC_RELAXED)))
    return 0;
  while (n_done < length && result != 0)
    {
      result = copy_file_range (fd, &from, writer->fd, &to, (gsize) (length - n_done), 0);
      if (result < 0 && errno == EINTR)
        continue;
      if (result < 0)
        {
          if (is_no_copy (errno))
            g_atomic_int_set (&writer->cannot_copy, TRUE);
          break;
        }
      n_done += (guint64) result;
    }
#endif
  return n_done;
}

static int
zero_in_place (ImgFileWriter *writer, guint64 offset, guint64 length)
{
#ifdef __linux__
  if (g_atomic_int_get (&writer->cannot_zero))
    return ENOTSUP;
  if (writer->is_device)
    return remember (control_range (writer, BLKZEROOUT, offset, length), &writer->cannot_zero);
  return remember (allocate (writer, FALLOC_FL_ZERO_RANGE, offset, length), &writer->cannot_zero);
#else
  return ENOTSUP;
#endif
}

static int
reserve (ImgFileWriter *writer, guint64 offset, guint64 length)
{
#ifdef __linux__
  if (writer->is_device) /* all of it is there already */
    return img_range_fits (offset, length, get_size (writer)) ? 0 : ENOSPC;
  if (g_atomic_int_get (&writer->cannot_allocate))
    return ENOTSUP;
  return remember (allocate (writer, 0, offset, length), &writer->cannot_allocate);
#else
  return ENOTSUP;
#endif
}

/* The size stays what it is. Whether there is room the write itself will tell. */
static void
reserve_for_write (ImgFileWriter *writer, const ImgIo *io)
{
#ifdef __linux__
  if (img_file_writer_reserves (writer, io->length) &&
      allocate (writer, FALLOC_FL_KEEP_SIZE, io->offset, io->length) != 0)
    g_atomic_int_set (&writer->reserves, FALSE);
#endif
}

static int
write_zeroes (ImgFileWriter *writer, guint64 offset, guint64 length)
{
  static const guint8 zeroes[ZEROES_LENGTH];
  struct iovec iov[N_ZEROES];

  while (length > 0)
    {
      ImgIo io = { .op = IMG_IO_WRITE, .offset = offset, .iov = iov };
      int error;

      for (; io.n_iov < N_ZEROES && io.length < length; io.length += iov[io.n_iov++].iov_len)
        iov[io.n_iov] =
          (struct iovec) { (gpointer) zeroes, MIN (ZEROES_LENGTH, length - io.length) };
      error = write_all (writer, &io);
      if (error != 0)
        return error;
      offset += io.length;
      length -= io.length;
    }
  return 0;
}

/* Giving space back: the part inside the file is punched, and the file is as long as it must be. */
static int
zero_by_punching (ImgFileWriter *writer, const ImgIo *io)
{
  guint64 end = io->offset + io->length;
  guint64 size = get_size (writer);
  int error = 0;

  /* What a discarded device shows is not known. */
  if (writer->is_device)
    return ENOTSUP;
  if (end > size)
    error = query_size (writer, &size);
  if (error == 0 && io->offset < size)
    error = punch (writer, io->offset, MIN (end, size) - io->offset);
  if (error == 0 && end > size)
    error = set_size (writer, end);
  return error;
}

/* Keeping space where there is no quick way to clear it: it goes and comes back. */
static int
zero_by_replacing (ImgFileWriter *writer, const ImgIo *io)
{
  guint64 size = get_size (writer);
  int error = writer->is_device || g_atomic_int_get (&writer->cannot_allocate) ? ENOTSUP : 0;

  if (error == 0 && io->offset < size)
    error = punch (writer, io->offset, MIN (io->length, size - io->offset));
  return error != 0 ? error : reserve (writer, io->offset, io->length);
}

static int
zero (ImgFileWriter *writer, const ImgIo *io)
{
  int error = ENOTSUP;

  if (io->flags & IMG_IO_UNMAP)
    error = zero_by_punching (writer, io);
  if (error == ENOTSUP)
    error = zero_in_place (writer, io->offset, io->length);
  if (error == ENOTSUP)
    error = zero_by_replacing (writer, io);
  if (error == ENOTSUP && (io->flags & IMG_IO_NO_FALLBACK) == 0)
    error = write_zeroes (writer, io->offset, io->length);
  return error;
}

/* A hint: that the file cannot do it is no failure. */
static int
discard (ImgFileWriter *writer, const ImgIo *io)
{
  guint64 size = get_size (writer);
  int error = 0;

  if (io->offset < size)
    error = punch (writer, io->offset, MIN (io->length, size - io->offset));
  return error == ENOTSUP ? 0 : error;
}

/* ---- flush ---- */

/* After a failure the kernel may have marked as clean what it could not write: no later flush is to be
 * believed. */
static int
flush (ImgFileWriter *writer)
{
  int error = g_atomic_int_get (&writer->flush_error);
  int result;

  if (error != 0 || writer->is_volatile)
    return error;
  do
    result = fdatasync (writer->fd);
  while (result != 0 && errno == EINTR);
  if (result == 0)
    return 0;
  error = errno;
  g_atomic_int_compare_and_exchange (&writer->flush_error, 0, error);
  return error;
}

/* ---- all of it ---- */

/* Those that may let the file grow; alone if they do. */
static int
run_change (ImgFileWriter *writer, const ImgIo *io)
{
  switch (io->op)
    {
    case IMG_IO_WRITE:
      reserve_for_write (writer, io);
      return write_all (writer, io);
    case IMG_IO_ZERO:
      return zero (writer, io);
    case IMG_IO_ALLOCATE:
      return reserve (writer, io->offset, io->length);
    case IMG_IO_TRUNCATE:
      return truncate_to (writer, io->offset);
    default:
      return EINVAL;
    }
}

int
img_file_writer_run (ImgFileWriter *writer, const ImgIo *io)
{
  int error;

  if (io->op == IMG_IO_FLUSH)
    return flush (writer);
  if (io->op == IMG_IO_DISCARD)
    return discard (writer, io);
  if (!img_range_fits (io->offset, io->length, G_MAXINT64))
    return EFBIG;
  if (G_LIKELY (io->op != IMG_IO_TRUNCATE && io->offset + io->length <= get_size (writer)))
    return run_change (writer, io);
  img_turn_take (&writer->growth);
  error = run_change (writer, io);
  /* Only here: what stayed inside may have been overtaken by a truncation. */
  if (error == 0 && io->op != IMG_IO_TRUNCATE)
    raise_size (writer, io->offset + io->length);
  img_turn_give (&writer->growth);
  return error;
}
