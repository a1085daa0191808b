/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#endif

#include "img-bounce.h"
#include "img-file-storage.h"
#include "img-file-write.h"
#include "img-iov.h"
#include "img-read-ring.h"
#include "img-try-record.h"

typedef struct
{
  ImgStorage parent;
  int fd;
  gboolean is_device;
  gboolean is_cached; /* by the kernel */
  gboolean bounces; /* what lies badly for the processor */
  gint was_locked;  /* atomic */
  gint nowait_mode; /* atomic; ImgNowaitMode, of reads */
  ImgTryRecord tries; /* of reads with the flag */
  /* The last run of data that the file system told of: to find its end it looks at each of its pages. To take for
   * data what has become a hole does no harm. */
  ImgMutex run_mutex;
  guint64 run_start;
  guint64 run_end;
  ImgFileWriter writer;
} FileStorage;

/* ---- files that others cut ----
 *
 * Behind the end of a file there are zeroes: an image may end within its last cluster. But what was there before somebody
 * else made the file shorter is lost, and no zeroes. A read that comes to an end inside the size that the file had when
 * it was opened, or that it has got from here since, asks the system whether it is so. Who looks for holes asks, too. */

static gboolean
is_lost (FileStorage *file, guint64 offset)
{
  return offset < __atomic_load_n (&file->writer.size, __ATOMIC_RELAXED) && img_file_writer_is_cut (&file->writer);
}

static ImgError *
lost_error (FileStorage *file, guint64 offset, guint64 length)
{
  g_autofree char *name = img_quote_name (file->parent.name != NULL ? file->parent.name : "");
  ImgError *error = NULL;

  img_error_set_errno (&error, EIO,
                       _("Cannot read %" PRIu64 " bytes at offset %" PRIu64 " of %s, which has become shorter"),
                       length, offset, name);
  return error;
}

/* The last bytes of a request that reached the end, on a thread that may wait or after a look at the size. */
static void
read_behind_end (FileStorage *file, ImgIo *io, ImgIovCursor *cursor, gsize n_done)
{
  if (!(io->flags & IMG_IO_NOWAIT) && is_lost (file, io->offset + n_done))
    {
      img_io_complete (io, lost_error (file, io->offset, io->length));
      return;
    }
  img_iov_cursor_zero (cursor, io->length - n_done);
  img_io_complete (io, NULL);
}

/* ---- reading ---- */

/* Reads up to IMG_FILE_MAX_VECTORS buffers of the vector at once. Returns as preadv does. Inline, as each return
 * after a system call is mispredicted where the kernel defends itself against speculation. */
static inline __attribute__ ((always_inline)) gssize
read_vector (int fd, const struct iovec *iov, guint n_iov, guint64 offset, gboolean nowait)
{
  ssize_t result;

  do
    {
#ifdef RWF_NOWAIT
      if (nowait)
        result = preadv2 (fd, iov, (int) n_iov, (off_t) offset, RWF_NOWAIT);
      else
#endif
        if (n_iov == 1)
        result = pread (fd, iov->iov_base, iov->iov_len, (off_t) offset);
      else
        result = preadv (fd, iov, (int) n_iov, (off_t) offset);
    }
  while (result < 0 && errno == EINTR);
  return result;
}

static gssize
read_piece (int fd, const struct iovec *iov, guint n_iov, guint64 offset, gboolean nowait)
{
  return read_vector (fd, iov, n_iov, offset, nowait);
}

static inline __attribute__ ((always_inline)) gssize
read_some (FileStorage *file, const struct iovec *iov, guint n_iov, guint64 offset, gboolean nowait)
{
  if (G_UNLIKELY (file->bounces && n_iov == 1 && img_bounce_is_for (iov, offset)))
    return img_bounce_read (read_piece, file->fd, iov, offset, nowait);
  return read_vector (file->fd, iov, n_iov, offset, nowait);
}

static ImgError *
read_error (FileStorage *file, const ImgIo *io, int saved_errno)
{
  g_autofree char *name = img_quote_name (file->parent.name != NULL ? file->parent.name : "");
  ImgError *error = NULL;

  img_error_set_errno (&error, saved_errno, _("Cannot read %" PRIu64 " bytes at offset %" PRIu64 " of %s"),
                       io->length, io->offset, name);
  return error;
}

/* What follows the first read of a request: short reads, more buffers than one call takes, the end
 * of the file. @n_done bytes are there. */
static void
read_rest (FileStorage *file, ImgIo *io, gsize n_done)
{
  struct iovec part[IMG_FILE_MAX_VECTORS];
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);

  for (gsize skip = n_done; skip > 0;)
    skip -= img_iov_cursor_next (&cursor, skip).iov_len;
  while (n_done < io->length)
    {
      ImgIovCursor here = cursor;
      guint n_parts;
      ssize_t result;

      img_iov_cursor_slice (&cursor, io->length - n_done, part, IMG_FILE_MAX_VECTORS, &n_parts);
      result = read_some (file, part, n_parts, io->offset + n_done, FALSE);
      if (result < 0)
        {
          img_io_complete (io, read_error (file, io, errno));
          return;
        }
      cursor = here;
      if (result == 0)
        {
          read_behind_end (file, io, &cursor, n_done);
          return;
        }
      for (gsize skip = (gsize) result; skip > 0;)
        skip -= img_iov_cursor_next (&cursor, skip).iov_len;
      n_done += (gsize) result;
    }
  img_io_complete (io, NULL);
}

static void
read_blocking (FileStorage *file, ImgIo *io)
{
  ssize_t result = 0;

  if (G_LIKELY (io->n_iov <= IMG_FILE_MAX_VECTORS))
    {
      result = read_some (file, io->iov, io->n_iov, io->offset, FALSE);
      if (G_LIKELY (result == (ssize_t) io->length))
        {
          img_io_complete (io, NULL);
          return;
        }
      if (result < 0)
        {
          img_io_complete (io, read_error (file, io, errno));
          return;
        }
    }
  read_rest (file, io, (gsize) result);
}

static void read_nowait (FileStorage *file, ImgIo *io);

/* @result: what preadv2 () has returned, or the negative errno. */
static void
end_try (FileStorage *file, ImgIo *io, gssize result)
{
  if (io->flags == IMG_IO_NOWAIT)
    img_try_record_add (&file->tries, result != -EAGAIN);
  if (G_LIKELY (result == (gssize) io->length))
    img_io_complete (io, NULL);
  else if (result == -EOPNOTSUPP && g_atomic_int_get (&file->nowait_mode) == IMG_NOWAIT_FLAG)
    {
      g_atomic_int_set (&file->nowait_mode, (gint) img_nowait_without_flag (file->fd));
      read_nowait (file, io);
    }
  else if (result == -EAGAIN)
    img_io_complete_partly (io, 0);
  else if (result < 0)
    img_io_complete (io, read_error (file, io, (int) -result));
  else if (io->offset + (guint64) result >= __atomic_load_n (&file->writer.size, __ATOMIC_RELAXED))
    read_rest (file, io, (gsize) result); /* at the end of the file: a read of nothing, then zeroes */
  else
    img_io_complete_partly (io, (gsize) result);
}

static void
read_nowait (FileStorage *file, ImgIo *io)
{
  ImgNowaitMode mode = (ImgNowaitMode) g_atomic_int_get (&file->nowait_mode);
  gssize result;

  if (mode == IMG_NOWAIT_NEVER || io->n_iov > IMG_FILE_MAX_VECTORS ||
      (mode == IMG_NOWAIT_FLAG && !(io->flags & IMG_IO_PREFETCHED) && !img_try_record_is_worth_it (&file->tries)))
    {
      img_io_complete_partly (io, 0);
      return;
    }
  result = read_some (file, io->iov, io->n_iov, io->offset, mode == IMG_NOWAIT_FLAG);
  end_try (file, io, result < 0 ? -errno : result);
}

static gboolean
can_read_together (FileStorage *file, const ImgIo *ios, guint n_ios)
{
  const guint min = ios[0].flags & IMG_IO_TOGETHER ? 2 : IMG_READ_RING_MIN;

  if (n_ios < min || n_ios > IMG_READ_RING_MAX || !file->is_cached ||
      g_atomic_int_get (&file->nowait_mode) != IMG_NOWAIT_FLAG)
    return FALSE;
  for (guint i = 0; i < n_ios; i++)
    if (ios[i].op != IMG_IO_READ || !(ios[i].flags & IMG_IO_NOWAIT) || ios[i].flags != ios[0].flags ||
        ios[i].n_iov != 1 || ios[i].length > G_MAXINT ||
        (file->bounces && img_bounce_is_for (ios[i].iov, ios[i].offset)))
      return FALSE;
  return TRUE;
}

/* TRUE: all are complete. */
static gboolean
read_together (FileStorage *file, ImgIo *ios, guint n_ios)
{
  gssize results[IMG_READ_RING_MAX];
  gboolean waits = (ios[0].flags & IMG_IO_TOGETHER) != 0;

  if (!can_read_together (file, ios, n_ios) || (!waits && !img_try_record_is_worth_it (&file->tries)) ||
      !img_read_ring_try (file->fd, ios, n_ios, waits, results))
    return FALSE;
  for (guint i = 0; i < n_ios; i++)
    end_try (file, &ios[i], results[i]);
  return TRUE;
}

/* Only where reads can be tried without waiting and go through a cache: else there is nothing to find later. */
static gboolean
file_prefetch (ImgStorage *storage, ImgPrefetch *prefetch, guint64 offset, guint64 length)
{
  FileStorage *file = (FileStorage *) storage;

  return file->is_cached && g_atomic_int_get (&file->nowait_mode) == IMG_NOWAIT_FLAG &&
         img_prefetch_start (prefetch, file->fd, offset, length);
}

/* ---- runs of data ---- */

static guint64
recall_run (FileStorage *file, guint64 offset)
{
  guint64 length;

  img_mutex_lock (&file->run_mutex);
  length = offset >= file->run_start && offset < file->run_end ? file->run_end - offset : 0;
  img_mutex_unlock (&file->run_mutex);
  return length;
}

static void
remember_run (FileStorage *file, guint64 start, guint64 end)
{
  img_mutex_lock (&file->run_mutex);
  file->run_start = start;
  file->run_end = end;
  img_mutex_unlock (&file->run_mutex);
}

/* ---- changing ---- */

static ImgError *
change_error (FileStorage *file, const ImgIo *io, int saved_errno)
{
  g_autofree char *name = img_quote_name (file->parent.name != NULL ? file->parent.name : "");
  ImgError *error = NULL;

  if (io->op == IMG_IO_FLUSH)
    img_error_set_errno (&error, saved_errno, _("Cannot flush %s"), name);
  else if (io->op == IMG_IO_TRUNCATE)
    img_error_set_errno (&error, saved_errno, _("Cannot set the size of %s to %" PRIu64 " bytes"), name,
                         io->offset);
  else
    img_error_set_errno (&error, saved_errno,
                         _("Cannot write %" PRIu64 " bytes at offset %" PRIu64 " of %s"), io->length,
                         io->offset, name);
  return error;
}

static void
change_nowait (FileStorage *file, ImgIo *io)
{
  gsize n_done = 0;
  int error = EAGAIN; /* there is no promise for anything but writes */

  if (io->op == IMG_IO_WRITE)
    error = img_file_writer_write_nowait (&file->writer, io, &n_done);
  if (G_UNLIKELY (error == EAGAIN && g_atomic_int_get (&file->writer.nowait_mode) == IMG_NOWAIT_NEVER))
    g_atomic_int_set (&file->parent.cannot_try_writes, TRUE);
  if (error == EAGAIN)
    img_io_complete_partly (io, n_done);
  else
    img_io_complete (io, error != 0 ? change_error (file, io, error) : NULL);
}

static void
change (FileStorage *file, ImgIo *io)
{
  int error;

  if (io->flags & IMG_IO_NOWAIT)
    {
      change_nowait (file, io);
      return;
    }
  error = img_file_writer_run (&file->writer, io);
  if (io->op != IMG_IO_WRITE && io->op != IMG_IO_FLUSH)
    remember_run (file, 0, 0);
  img_io_complete (io, error != 0 ? change_error (file, io, error) : NULL);
}

static void
file_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  FileStorage *file = (FileStorage *) storage;

  if (n_ios > 1 && read_together (file, ios, n_ios))
    return;
  for (guint i = 0; i < n_ios; i++)
    if (ios[i].op == IMG_IO_WRITE && ios[i].flags == IMG_IO_NONE &&
        G_LIKELY (img_file_writer_try_write (&file->writer, &ios[i])))
      img_io_complete (&ios[i], NULL);
    else if (ios[i].op != IMG_IO_READ)
      change (file, &ios[i]);
    else if (ios[i].flags & IMG_IO_NOWAIT)
      read_nowait (file, &ios[i]);
    else
      read_blocking (file, &ios[i]);
}

/* ---- what it is ---- */

static gboolean
stat_file (FileStorage *file, struct stat *st, ImgError **error)
{
  if (fstat (file->fd, st) == 0)
    return TRUE;
  img_error_set_errno (error, errno, _("Cannot query the file"));
  return FALSE;
}

static gboolean
file_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  FileStorage *file = (FileStorage *) storage;
  struct stat st;

  if (!stat_file (file, &st, error))
    return FALSE;
  *size = (guint64) st.st_size;
#ifdef BLKGETSIZE64
  if (file->is_device && ioctl (file->fd, BLKGETSIZE64, size) != 0)
    {
      img_error_set_errno (error, errno, _("Cannot query the size of the device"));
      return FALSE;
    }
#endif
  return TRUE;
}

static gboolean
file_get_usage (ImgStorage *storage, guint64 *usage, ImgError **error)
{
  FileStorage *file = (FileStorage *) storage;
  struct stat st;

  if (!stat_file (file, &st, error))
    return FALSE;
  *usage = (guint64) st.st_blocks * 512;
  return TRUE;
}

static gboolean
file_get_identity (ImgStorage *storage, ImgIdentity *identity)
{
  FileStorage *file = (FileStorage *) storage;
  struct stat st;

  if (!stat_file (file, &st, NULL))
    return FALSE;
  /* Two device nodes of one device are one file; device numbers and inodes cannot be confused
   * because no regular file has device 0. */
  *identity = file->is_device ? (ImgIdentity) { 0, (guint64) st.st_rdev }
                              : (ImgIdentity) { (guint64) st.st_dev, (guint64) st.st_ino };
  return TRUE;
}

static gboolean
file_lock (ImgStorage *storage,
           ImgLockRole role,
           ImgLocking locking,
           ImgFileLock **lock,
           ImgError **error)
{
  FileStorage *file = (FileStorage *) storage;
  ImgIdentity identity;

  if (!file_get_identity (storage, &identity))
    {
      img_error_set_errno (error, errno, _("Cannot query the file"));
      return FALSE;
    }
  *lock = img_file_lock_take (file->fd, &identity, storage->name, role, locking, error);
  /* Who had the lock before may have made the file shorter since it was opened here. */
  if (*lock != NULL && g_atomic_int_compare_and_exchange (&file->was_locked, FALSE, TRUE))
    img_file_writer_accept_size (&file->writer);
  return *lock != NULL;
}

/* lseek moves an offset that nothing else uses: all transfers are positioned. */
static gboolean
file_get_range (ImgStorage *storage,
                guint64 offset,
                guint64 length,
                ImgRange *range,
                ImgError **error)
{
  FileStorage *file = (FileStorage *) storage;
  guint64 known = recall_run (file, offset);
  off_t data, hole;

  *range = (ImgRange) { IMG_RANGE_DATA, known > 0 ? MIN (known, length) : length };
  if (file->is_device || known > 0)
    return TRUE;
#ifdef SEEK_DATA
  data = lseek (file->fd, (off_t) offset, SEEK_DATA);
  if (data < 0 && errno == ENXIO)
    {
      if (is_lost (file, offset))
        {
          img_error_propagate (error, lost_error (file, offset, length));
          return FALSE;
        }
      range->kind = IMG_RANGE_ZERO; /* nothing but a hole, or past the end */
    }
  else if (data > (off_t) offset)
    *range = (ImgRange) { IMG_RANGE_ZERO, MIN ((guint64) data - offset, length) };
  else if (data == (off_t) offset)
    {
      hole = lseek (file->fd, (off_t) offset, SEEK_HOLE);
      if (hole > (off_t) offset)
        {
          range->length = MIN ((guint64) hole - offset, length);
          remember_run (file, offset, (guint64) hole);
        }
    }
#endif
  return TRUE;
}

static guint64
file_copy_range (ImgStorage *from,
                 guint64 from_offset,
                 ImgStorage *to,
                 guint64 to_offset,
                 guint64 length)
{
  FileStorage *source = (FileStorage *) from;

  if (source->is_device)
    return 0;
  return img_file_writer_copy (&((FileStorage *) to)->writer, source->fd, from_offset, to_offset,
                               length);
}

static void
file_free (ImgStorage *storage)
{
  FileStorage *file = (FileStorage *) storage;

  img_file_writer_clear (&file->writer);
  img_mutex_clear (&file->run_mutex);
  close (file->fd);
  g_free (file);
}

static const ImgStorageClass file_class = {
  .type_name = "file",
  .submit = file_submit,
  .get_size = file_get_size,
  .free = file_free,
  .get_range = file_get_range,
  .get_usage = file_get_usage,
  .get_identity = file_get_identity,
  .lock = file_lock,
  .copy_range = file_copy_range,
  .prefetch = file_prefetch,
};

int
img_file_storage_get_fd (ImgStorage *storage)
{
  return storage->klass == &file_class ? ((FileStorage *) storage)->fd : -1;
}

void
img_file_storage_start_write_back (ImgStorage *storage)
{
#ifdef SYNC_FILE_RANGE_WRITE
  int fd = img_file_storage_get_fd (storage);

  /* Without a flag to wait no error is reported, nor taken from the next fdatasync (). */
  if (fd >= 0)
    (void) sync_file_range (fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#endif
}

/* ---- opening ---- */

static int
open_flags (ImgFileFlags flags)
{
  return (flags & IMG_FILE_WRITABLE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
}

static gboolean
check_type (int fd, ImgFileFlags flags, gboolean *is_device, ImgError **error)
{
  struct stat st;

  if (fstat (fd, &st) != 0)
    {
      img_error_set_errno (error, errno, _("Cannot query the file"));
      return FALSE;
    }
  *is_device = S_ISBLK (st.st_mode);
  if (S_ISREG (st.st_mode) || (*is_device && (flags & IMG_FILE_ALLOW_DEVICE)))
    return TRUE;
  img_error_set (error, IMG_CODE_NOT_REGULAR_FILE,
                 *is_device ? _("A block device was not allowed here") : _("Not a regular file"));
  return FALSE;
}

/* Takes @fd also when it fails. */
static ImgStorage *
take_fd (int fd, const char *name, ImgFileFlags flags, ImgError **error)
{
  FileStorage *file;
  gboolean is_device;
  guint64 size;

  if (!check_type (fd, flags, &is_device, error))
    {
      close (fd);
      return NULL;
    }
  file = g_new0 (FileStorage, 1);
  img_storage_init (&file->parent, &file_class, name);
  file->fd = fd;
  file->is_cached = (fcntl (fd, F_GETFL) & O_DIRECT) == 0;
  file->bounces = img_bounce_is_wanted ();
  file->is_device = is_device;
  img_mutex_init (&file->run_mutex);
  img_file_writer_init (&file->writer, fd, is_device, 0);
  if (!file_get_size (&file->parent, &size, error))
    {
      img_storage_unref (&file->parent);
      return NULL;
    }
  file->writer.size = size;
  file->parent.can_write = (flags & IMG_FILE_WRITABLE) != 0;
  if (flags & IMG_FILE_VOLATILE)
    img_file_writer_set_volatile (&file->writer);
  return &file->parent;
}

/* O_NONBLOCK was for the open alone: it kept a FIFO from blocking.
 *
 * After a read the kernel may put its time into the inode, which waits for the file system's journal even where the read
 * itself must not wait. So the time of the last access is that of opening: enough for what removes files that nobody uses.
 * Files of others do not let us. */
static void
settle_flags (int fd)
{
  int flags = fcntl (fd, F_GETFL) & ~O_NONBLOCK;

#ifdef O_NOATIME
  char byte;

  if (pread (fd, &byte, 1, 0) >= 0 && fcntl (fd, F_SETFL, flags | O_NOATIME) == 0)
    return;
#endif
  fcntl (fd, F_SETFL, flags);
}

static ImgStorage *
take_opened_fd (int fd, const char *name, ImgFileFlags flags, ImgError **error)
{
  g_autofree char *quoted = img_quote_name (name);
  ImgStorage *storage = NULL;

  if (fd < 0)
    {
      img_error_set_errno (error, errno, _("Cannot open %s"), quoted);
      return NULL;
    }
  storage = take_fd (fd, name, flags, error);
  if (storage == NULL)
    img_error_prefix (error, _("Cannot open %s: "), quoted);
  else
    settle_flags (fd);
  return storage;
}

ImgStorage *
img_file_storage_open (const char *path, ImgFileFlags flags, ImgError **error)
{
  return take_opened_fd (open (path, open_flags (flags)), path, flags, error);
}

ImgStorage *
img_file_storage_open_beneath (int directory_fd,
                               const char *name,
                               const char *path,
                               ImgFileFlags flags,
                               ImgError **error)
{
  int fd = -1;

#if defined(__linux__) && defined(SYS_openat2)
  struct open_how how = {
    .flags = (guint64) (open_flags (flags) | O_NOFOLLOW),
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
  };

  fd = (int) syscall (SYS_openat2, directory_fd, name, &how, sizeof how);
  if (fd < 0 && errno != ENOSYS && errno != EPERM)
    return take_opened_fd (fd, path, flags, error);
#endif
  /* Without openat2, or where a sandbox forbids it: a name of one component cannot leave the
   * directory but through itself being a link. */
  if (fd < 0 && strchr (name, '/') != NULL)
    errno = EXDEV;
  else if (fd < 0)
    fd = openat (directory_fd, name, open_flags (flags) | O_NOFOLLOW);
  return take_opened_fd (fd, path, flags, error);
}

/* A descriptor of our own: with the access that was asked for, and with an offset that lseek () may move. Where that cannot be had
 * (no /proc, or a file that this process may not open by itself) a duplicate, which shares the offset. */
static int
reopen (int fd, ImgFileFlags flags)
{
  char path[32];
  int own_fd;

  g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  own_fd = open (path, open_flags (flags));
  if (own_fd < 0)
    return fcntl (fd, F_DUPFD_CLOEXEC, 3);
  settle_flags (own_fd);
  return own_fd;
}

ImgStorage *
img_file_storage_new_fd (int fd, const char *name, ImgFileFlags flags, ImgError **error)
{
  gboolean is_device;
  int mode = fcntl (fd, F_GETFL);
  int own_fd;

  if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY)
    {
      img_error_set_errno (error, EBADF, _("The file descriptor is not open for reading"));
      return NULL;
    }
  if ((flags & IMG_FILE_WRITABLE) && (mode & O_ACCMODE) != O_RDWR)
    {
      img_error_set_errno (error, EBADF, _("The file descriptor is not open for writing"));
      return NULL;
    }
  if (!check_type (fd, flags, &is_device, error))
    return NULL;
  own_fd = reopen (fd, flags);
  if (own_fd < 0)
    {
      img_error_set_errno (error, errno, _("Cannot use the file descriptor"));
      return NULL;
    }
  return take_fd (own_fd, name, flags, error);
}
