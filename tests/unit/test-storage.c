/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The storages: file, memory, null, window, and the waiting for one that answers later. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-alloc.h"
#include "img-bounce.h"
#include "img-file-storage.h"
#include "img-simple-storages.h"
#include "img-try-record.h"
#include "test-storages.h"

typedef struct
{
  char *folder;
  char *path; /* of 100 000 pattern bytes */
} Fixture;

#define SIZE 100000

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autofree guint8 *content = g_malloc (SIZE);

  fixture->folder = g_dir_make_tmp ("imago-storage-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
  fixture->path = g_build_filename (fixture->folder, "disk", NULL);
  for (guint i = 0; i < SIZE; i++)
    content[i] = test_pattern_byte (i, 1);
  g_assert_true (g_file_set_contents (fixture->path, (char *) content, SIZE, NULL));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->path);
  g_rmdir (fixture->folder);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static ImgStorage *
open_disk (Fixture *fixture)
{
  ImgError *error = NULL;
  ImgStorage *storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, &error);

  g_assert_null (error);
  return storage;
}

static void
assert_pattern (const guint8 *buffer, guint64 offset, gsize length, guint64 size)
{
  for (gsize i = 0; i < length; i++)
    {
      guint8 expected = offset + i < size ? test_pattern_byte (offset + i, 1) : 0;

      if (buffer[i] != expected)
        g_error ("byte %" G_GUINT64_FORMAT " is %u, not %u", offset + i, buffer[i], expected);
    }
}

static void
check_reads (ImgStorage *storage)
{
  static const guint64 offsets[] = { 0, 1, 4095, 65536, SIZE - 1, SIZE, SIZE + 5, 1u << 30 };
  guint8 buffer[9000];
  guint64 size;

  g_assert_true (img_storage_get_size (storage, &size, NULL));
  g_assert_cmpuint (size, ==, SIZE);
  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    {
      memset (buffer, 0xee, sizeof buffer);
      g_assert_true (img_storage_read (storage, offsets[i], buffer, sizeof buffer, NULL));
      assert_pattern (buffer, offsets[i], sizeof buffer, SIZE);
    }
}

static void
test_file (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_disk (fixture);
  g_autoptr (ImgStorage) other = open_disk (fixture);
  ImgIdentity a, b;
  guint64 usage;

  check_reads (storage);
  g_assert_cmpstr (img_storage_get_name (storage), ==, fixture->path);
  g_assert_true (img_storage_get_identity (storage, &a) && img_storage_get_identity (other, &b));
  g_assert_true (a.device == b.device && a.inode == b.inode);
  g_assert_true (img_storage_get_usage (storage, &usage, NULL));
  g_assert_cmpuint (usage % 512, ==, 0);
  /* The descriptor is really read-only. */
  g_assert_cmpint (fcntl (img_file_storage_get_fd (storage), F_GETFL) & O_ACCMODE, ==, O_RDONLY);
  g_assert_cmpint (fcntl (img_file_storage_get_fd (storage), F_GETFL) & O_NONBLOCK, ==, 0);
  g_assert_cmpint (fcntl (img_file_storage_get_fd (storage), F_GETFD) & FD_CLOEXEC, !=, 0);
}

/* More buffers than one system call takes, some of them empty, over the end of the file. */
static void
test_many_vectors (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 5000,
    EACH = 21
  };
  g_autoptr (ImgStorage) storage = open_disk (fixture);
  g_autofree struct iovec *iov = g_new (struct iovec, N);
  g_autofree guint8 *buffer = g_malloc (N * EACH);
  ImgIo io = { .op = IMG_IO_READ, .offset = 100, .length = 0, .iov = iov, .n_iov = N };

  memset (buffer, 0xee, N * EACH);
  for (guint i = 0; i < N; i++)
    {
      iov[i] = (struct iovec) { buffer + io.length, i % 7 == 3 ? 0 : EACH };
      io.length += iov[i].iov_len;
    }
  img_storage_submit (storage, &io, 1);
  img_io_wait (&io, 1);
  g_assert_true (img_io_collect (&io, 1, NULL));
  assert_pattern (buffer, 100, io.length, SIZE);
}

static void
test_nowait (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_disk (fixture);
  guint8 buffer[8192];
  struct iovec iov = { buffer, sizeof buffer };
  static const guint64 offsets[] = { 0, SIZE - 100, SIZE + 100 };

  check_reads (storage); /* now the page cache has it */
  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    {
      ImgIo io = { .flags = IMG_IO_NOWAIT,
                   .offset = offsets[i],
                   .length = sizeof buffer,
                   .iov = &iov,
                   .n_iov = 1 };

      img_storage_submit (storage, &io, 1);
      img_io_wait (&io, 1);
      g_assert_null (io.error);
      if (io.would_block)
        g_test_message ("the file system answers would-block for a cached page");
      else
        assert_pattern (buffer, offsets[i], sizeof buffer, SIZE);
    }
}

static void
test_file_types (Fixture *fixture, gconstpointer data)
{
  g_autofree char *fifo = g_build_filename (fixture->folder, "fifo", NULL);
  const char *refused[] = { fifo, fixture->folder, "/dev/null" };
  ImgError *error = NULL;
  int fd;

  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      g_assert_null (img_file_storage_open (refused[i], IMG_FILE_ALLOW_DEVICE, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_NOT_REGULAR_FILE));
      img_error_clear (&error);
    }
  g_unlink (fifo);
  g_assert_null (img_file_storage_open (fifo, IMG_FILE_NONE, &error));
  g_assert_cmpint (error->system_errno, ==, ENOENT);
  img_error_clear (&error);

  fd = open (fixture->path, O_WRONLY | O_CLOEXEC);
  g_assert_null (img_file_storage_new_fd (fd, NULL, IMG_FILE_NONE, &error));
  g_assert_cmpint (error->system_errno, ==, EBADF);
  img_error_clear (&error);
  close (fd);
  g_assert_null (img_file_storage_new_fd (-1, NULL, IMG_FILE_NONE, &error));
  img_error_clear (&error);
}

static void
test_fd (Fixture *fixture, gconstpointer data)
{
  int fd = open (fixture->path, O_RDONLY | O_CLOEXEC);
  g_autoptr (ImgStorage) storage = img_file_storage_new_fd (fd, NULL, IMG_FILE_NONE, NULL);
  ImgRange range;

  g_assert_cmpint (lseek (fd, 100, SEEK_SET), ==, 100);
  g_assert_true (img_storage_get_range (storage, 4096, 4096, &range, NULL));
  g_assert_cmpint (lseek (fd, 0, SEEK_CUR), ==, 100); /* the offset is the caller's */
  close (fd); /* the storage has its own */
  g_assert_null (img_storage_get_name (storage));
  check_reads (storage);
}

static void
test_beneath (Fixture *fixture, gconstpointer data)
{
  int directory = open (fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autofree char *link = g_build_filename (fixture->folder, "link", NULL);
  g_autoptr (ImgStorage) storage = img_file_storage_open_beneath (directory, "disk", "shown", IMG_FILE_NONE, NULL);
  static const char *const refused[] = { "link", "../etc/passwd", "/etc/passwd", "missing", "." };

  g_assert_cmpstr (img_storage_get_name (storage), ==, "shown");
  check_reads (storage);
  g_assert_cmpint (symlink ("disk", link), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      ImgError *error = NULL;

      g_assert_null (img_file_storage_open_beneath (directory, refused[i], refused[i], IMG_FILE_NONE, &error));
      g_assert_nonnull (error);
      img_error_free (error);
    }
  g_unlink (link);
  close (directory);
}

static void
test_file_ranges (Fixture *fixture, gconstpointer data)
{
  int fd = open (fixture->path, O_RDWR | O_CLOEXEC);
  g_autoptr (ImgStorage) storage = NULL;
  ImgRange range;

  g_assert_cmpint (ftruncate (fd, 0), ==, 0);
  g_assert_cmpint (ftruncate (fd, 4 << 20), ==, 0);
  g_assert_cmpint (pwrite (fd, "x", 1, 2 << 20), ==, 1);
  storage = img_file_storage_new_fd (fd, NULL, IMG_FILE_NONE, NULL);
  close (fd);
  g_assert_true (img_storage_get_range (storage, 5, 4 << 20, &range, NULL));
  if (range.kind == IMG_RANGE_DATA)
    {
      g_test_skip ("the file system has no holes");
      return;
    }
  g_assert_cmpuint (range.length, ==, (2 << 20) - 5);
  g_assert_true (img_storage_get_range (storage, 2 << 20, 1 << 20, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_DATA);
  g_assert_true (img_storage_get_range (storage, 3 << 20, 1 << 20, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_ZERO);
  g_assert_true (img_storage_get_range (storage, 1 << 30, 7, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_ZERO);
  g_assert_cmpuint (range.length, ==, 7);
}

/* ---- the time of the last access ---- */

static void
forget_access (Fixture *fixture)
{
  const struct timespec times[] = { { .tv_sec = 1000 }, { .tv_nsec = UTIME_OMIT } };

  g_assert_cmpint (utimensat (AT_FDCWD, fixture->path, times, 0), ==, 0);
}

static gboolean
is_accessed (Fixture *fixture)
{
  struct stat st;

  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  return st.st_atime != 1000;
}

static gboolean
has_access_times (Fixture *fixture)
{
  g_autofree char *content = NULL;

  forget_access (fixture);
  g_assert_true (g_file_get_contents (fixture->path, &content, NULL, NULL));
  return is_accessed (fixture);
}

/* Opening tells that the file is in use; no read has to write into its inode. */
static void
test_access_time (Fixture *fixture, gconstpointer data)
{
  if (!has_access_times (fixture))
    {
      g_test_skip ("the file system keeps no access times");
      return;
    }
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImgStorage) storage = NULL;
      int fd = open (fixture->path, O_RDONLY | O_CLOEXEC);

      forget_access (fixture);
      storage = i == 0 ? open_disk (fixture) : img_file_storage_new_fd (fd, NULL, IMG_FILE_NONE, NULL);
      close (fd);
      g_assert_true (is_accessed (fixture));
      forget_access (fixture);
      check_reads (storage);
      g_assert_false (is_accessed (fixture));
    }
}

/* ---- files that become shorter ---- */

/* TRUE: @length bytes at @offset were read, and are the pattern up to @size and zeroes behind it. */
static gboolean
read_up_to (ImgStorage *storage, guint64 offset, gsize length, guint64 size)
{
  g_autofree guint8 *buffer = g_malloc (length);
  g_autoptr (ImgError) error = NULL;

  memset (buffer, 0xee, length);
  if (img_storage_read (storage, offset, buffer, length, &error))
    {
      assert_pattern (buffer, offset, length, size);
      return TRUE;
    }
  g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
  g_assert_cmpint (error->system_errno, ==, EIO);
  return FALSE;
}

/* Without waiting nothing is told of the lost bytes, well or badly, alone or with others. */
static void
try_lost_bytes (ImgStorage *storage, guint64 offset, ImgIoFlags flags)
{
  guint8 buffers[8][512];
  struct iovec iov[8];
  ImgIo ios[8];

  for (guint n = 1; n <= 8; n += 7)
    {
      for (guint i = 0; i < n; i++)
        {
          iov[i] = (struct iovec) { buffers[i], sizeof buffers[i] };
          ios[i] = (ImgIo) { .op = IMG_IO_READ, .flags = flags, .offset = offset + i * 512, .length = 512,
                             .iov = &iov[i], .n_iov = 1 };
        }
      img_storage_submit (storage, ios, n);
      img_io_wait (ios, n);
      for (guint i = 0; i < n; i++)
        g_assert_true (ios[i].would_block && ios[i].error == NULL);
    }
}

/* What others cut off is no zeroes; what never was there, or was cut off by us, is. */
static void
test_cut (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_WRITABLE, NULL);
  ImgRange range;

  g_assert_cmpint (truncate (fixture->path, 50000), ==, 0);
  g_assert_true (read_up_to (storage, 0, 50000, SIZE));
  g_assert_true (read_up_to (storage, SIZE, 4096, SIZE));
  g_assert_false (read_up_to (storage, 49999, 2, SIZE));
  g_assert_false (read_up_to (storage, SIZE - 1, 4096, SIZE));
  try_lost_bytes (storage, 60000, IMG_IO_NOWAIT);
  try_lost_bytes (storage, 60000, IMG_IO_NOWAIT | IMG_IO_TOGETHER);
  g_assert_false (img_storage_get_range (storage, 60000, 4096, &range, NULL));
  g_assert_true (img_storage_get_range (storage, SIZE, 4096, &range, NULL));

  /* It has grown again, with others' zeroes. */
  g_assert_cmpint (truncate (fixture->path, SIZE), ==, 0);
  g_assert_true (read_up_to (storage, 40000, SIZE, 50000));

  g_assert_true (img_storage_truncate (storage, 30000, NULL));
  g_assert_true (read_up_to (storage, 0, SIZE, 30000));
  g_assert_true (img_storage_zero (storage, 40000, 5000, IMG_IO_NONE, NULL));
  g_assert_cmpint (truncate (fixture->path, 44999), ==, 0);
  g_assert_false (read_up_to (storage, 40000, 5000, 30000));
  g_assert_true (read_up_to (storage, 45000, 5000, 30000));
}

/* Between opening and locking a file others may do what they want with it. */
static void
test_cut_before_lock (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_disk (fixture);
  ImgFileLock *locks[2];

  g_assert_cmpint (truncate (fixture->path, 50000), ==, 0);
  g_assert_true (img_storage_lock (storage, IMG_LOCK_READ_SHARED, IMG_LOCKING_AUTO, &locks[0], NULL));
  g_assert_true (read_up_to (storage, 0, SIZE, 50000));
  g_assert_cmpint (truncate (fixture->path, 40000), ==, 0);
  g_assert_true (img_storage_lock (storage, IMG_LOCK_READ, IMG_LOCKING_AUTO, &locks[1], NULL));
  g_assert_false (read_up_to (storage, 0, SIZE, 50000));
  img_file_lock_release (locks[0]);
  img_file_lock_release (locks[1]);
}

static gpointer
read_often_thread (gpointer storage)
{
  guint8 bytes[4096];

  for (guint i = 0; i < 4000; i++)
    g_assert_true (img_storage_read (storage, i * 32 % SIZE, bytes, sizeof bytes, NULL));
  return NULL;
}

static gpointer
zero_often_thread (gpointer storage)
{
  for (guint i = 0; i < 4000; i++)
    g_assert_true (img_storage_zero (storage, i * 32 % SIZE, 4096, IMG_IO_NONE, NULL));
  return NULL;
}

/* The size changes while others read and clear. */
static void
test_own_sizes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_WRITABLE, NULL);
  GThread *threads[3];

  threads[0] = g_thread_new ("writer", zero_often_thread, storage);
  for (guint i = 1; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("reader", read_often_thread, storage);
  for (guint i = 0; i < 4000; i++)
    {
      g_assert_true (img_storage_truncate (storage, i * 64 % SIZE, NULL));
      g_assert_true (img_storage_write (storage, i * 96 % SIZE, "x", 1, NULL));
    }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

static void
test_memory (void)
{
  g_autoptr (ImgStorage) storage = test_pattern_storage_new (SIZE, 1);

  check_reads (storage);
}

static void
test_null (void)
{
  g_autoptr (ImgStorage) storage = img_null_storage_new (G_MAXUINT64);
  guint8 buffer[100];
  ImgRange range;
  guint64 value;

  memset (buffer, 1, sizeof buffer);
  g_assert_true (img_storage_read (storage, G_MAXUINT64 - 50, buffer, sizeof buffer, NULL));
  for (guint i = 0; i < sizeof buffer; i++)
    g_assert_cmpuint (buffer[i], ==, 0);
  g_assert_true (img_storage_get_size (storage, &value, NULL));
  g_assert_cmpuint (value, ==, G_MAXUINT64);
  g_assert_true (img_storage_get_usage (storage, &value, NULL));
  g_assert_cmpuint (value, ==, 0);
  g_assert_true (img_storage_get_range (storage, 0, 1000, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_ZERO);
}

static void
test_window (void)
{
  g_autoptr (ImgStorage) base = test_pattern_storage_new (SIZE, 1);
  g_autoptr (ImgStorage) whole = img_window_storage_new (base, 0, SIZE);
  g_autoptr (ImgStorage) inner = img_window_storage_new (base, 1000, 500);
  g_autoptr (ImgStorage) nested = img_window_storage_new (inner, 100, 1000);
  g_autoptr (ImgStorage) huge = img_window_storage_new (base, G_MAXUINT64 - 5, 100);
  guint8 buffer[2000];
  struct iovec iov[] = { { buffer, 450 }, { buffer + 450, 1550 } };
  ImgIo io = { .offset = 10, .length = sizeof buffer, .iov = iov, .n_iov = 2 };
  guint64 size;

  check_reads (whole);
  memset (buffer, 0xee, sizeof buffer);
  img_storage_submit (inner, &io, 1);
  img_io_wait (&io, 1);
  g_assert_true (img_io_collect (&io, 1, NULL));
  assert_pattern (buffer, 1010, 490, SIZE);
  assert_pattern (buffer + 490, SIZE, sizeof buffer - 490, SIZE);

  g_assert_true (img_storage_read (nested, 0, buffer, sizeof buffer, NULL));
  assert_pattern (buffer, 1100, 400, SIZE);
  assert_pattern (buffer + 400, SIZE, 1600, SIZE);
  g_assert_true (img_storage_read (huge, 0, buffer, 200, NULL));
  assert_pattern (buffer, SIZE, 200, SIZE);
  g_assert_true (img_storage_get_size (huge, &size, NULL));
  g_assert_cmpuint (size, ==, 5);
}

/* A window is no file of its own, but it lies in one. */
static void
test_window_uses_file (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) file = open_disk (fixture);
  g_autoptr (ImgStorage) window = img_window_storage_new (file, 10, 10);
  g_autoptr (ImgStorage) other = img_null_storage_new (10);
  ImgIdentity identity;

  g_assert_false (img_storage_get_identity (window, &identity));
  g_assert_true (img_storage_get_identity (file, &identity));
  g_assert_true (img_storage_uses_file (window, &identity));
  g_assert_true (img_storage_uses_file (file, &identity));
  g_assert_false (img_storage_uses_file (other, &identity));
}

/* 64 requests at once on a storage that answers from another thread, out of order. */
static void
test_later (void)
{
  enum
  {
    N = 64
  };
  g_autoptr (ImgStorage) base = test_pattern_storage_new (SIZE, 1);
  g_autoptr (ImgStorage) later = test_later_storage_new (base, 42);
  static guint8 buffers[N][700];
  struct iovec iovs[N];
  ImgIo ios[N];

  for (guint round = 0; round < 50; round++)
    {
      for (guint i = 0; i < N; i++)
        {
          iovs[i] = (struct iovec) { buffers[i], sizeof buffers[i] };
          ios[i] =
            (ImgIo) { .offset = i * 1500, .length = sizeof buffers[i], .iov = &iovs[i], .n_iov = 1 };
        }
      memset (buffers, 0xee, sizeof buffers);
      img_storage_submit (later, ios, N);
      img_io_wait (ios, N);
      g_assert_true (img_io_collect (ios, N, NULL));
      for (guint i = 0; i < N; i++)
        assert_pattern (buffers[i], i * 1500, sizeof buffers[i], SIZE);
    }
}

static void
test_errors (void)
{
  g_autoptr (ImgStorage) base = test_pattern_storage_new (SIZE, 1);
  g_autoptr (ImgStorage) failing = test_failing_storage_new (base);
  guint8 buffers[3][10];
  struct iovec iovs[3];
  ImgIo ios[3];
  ImgError *error = NULL;

  for (guint i = 0; i < 3; i++)
    {
      iovs[i] = (struct iovec) { buffers[i], 10 };
      ios[i] = (ImgIo) { .offset = i, .length = 10, .iov = &iovs[i], .n_iov = 1 };
    }
  test_failing_storage_arm (failing, 2, TRUE);
  img_storage_submit (failing, ios, 3);
  img_io_wait (ios, 3);
  g_assert_false (img_io_collect (ios, 3, &error)); /* the first error; the second is freed */
  g_assert_cmpint (error->system_errno, ==, EIO);
  img_error_free (error);
}

#define ADD_FILE_TEST(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)

/* A file of 100 000 pattern bytes. */
static struct
{
  guint64 fails_from; /* with that errno */
  int error;
  gsize at_most; /* bytes of one read */
} pattern_file;

static gssize
read_pattern (int fd, const struct iovec *iov, guint n_iov, guint64 offset, gboolean nowait)
{
  gsize length = (gsize) MIN (iov->iov_len, 100000 - MIN (offset, 100000));

  g_assert_cmpuint (n_iov, ==, 1);
  g_assert_false (img_bounce_is_for (iov, offset));
  g_assert_cmpint (fd, ==, 7);
  g_assert_cmpint (nowait, ==, pattern_file.error == EAGAIN);
  if (offset >= pattern_file.fails_from)
    {
      errno = pattern_file.error;
      return -1;
    }
  length = MIN (length, pattern_file.at_most);
  for (gsize i = 0; i < length; i++)
    ((guint8 *) iov->iov_base)[i] = (guint8) ((offset + i) * 7 / 5);
  return (gssize) length;
}

static void
check_bounce (guint8 *memory, guint64 offset, gsize length, gssize expected)
{
  const struct iovec target = { memory, length };

  memset (memory, 0xee, length + 1);
  g_assert_true (length < 2048 || img_bounce_is_for (&target, offset));
  g_assert_cmpint (img_bounce_read (read_pattern, 7, &target, offset, pattern_file.error == EAGAIN), ==, expected);
  for (gssize i = 0; i < expected; i++)
    g_assert_cmpuint (memory[i], ==, (guint8) ((offset + (guint64) i) * 7 / 5));
  g_assert_cmpuint (memory[MAX (expected, 0)], ==, 0xee);
}

/* Memory to which this processor may copy slowly: the same bytes get there. */
static void
test_bounce (void)
{
  g_autoptr (ImgBuffer) memory = img_try_alloc (256 * 1024, NULL);

  pattern_file.fails_from = G_MAXUINT64;
  pattern_file.at_most = G_MAXSIZE;
  pattern_file.error = 0;
  for (guint ahead = 1; ahead < 32; ahead += 5)
    {
      check_bounce (memory + ahead, 0, 100000, 100000);
      check_bounce (memory + 512 + ahead, 4096 + 512, 16 * 1024, 16 * 1024);
      check_bounce (memory + 904 + ahead, 5000, 100000, 95000); /* ends with the file */
      check_bounce (memory + ahead, 102400, 4096, 0);
    }
  check_bounce (memory, 3, 1, 1);
  g_assert_false (img_bounce_is_for (&(struct iovec) { memory, 4096 }, 0));
  g_assert_false (img_bounce_is_for (&(struct iovec) { memory + 32, 4096 }, 0));
  g_assert_false (img_bounce_is_for (&(struct iovec) { memory + 16, 100 }, 0));
}

/* What a piece cannot be read for is told when nothing has been read before it; else what has been is, as of preadv (). */
static void
test_bounce_failures (void)
{
  const int errors[] = { EAGAIN, EIO, EINTR };
  g_autoptr (ImgBuffer) memory = img_try_alloc (256 * 1024, NULL);

  pattern_file.at_most = G_MAXSIZE;
  pattern_file.fails_from = 60000;
  for (guint i = 0; i < G_N_ELEMENTS (errors); i++)
    {
      pattern_file.error = errors[i];
      check_bounce (memory + 4096 + 16, 4096, 90000, 64 * 1024);
      check_bounce (memory + 16, 61440, 4096, -1);
      g_assert_cmpint (errno, ==, errors[i]);
    }
  pattern_file.fails_from = G_MAXUINT64;
  pattern_file.error = 0;
  pattern_file.at_most = 40000; /* the rest of a piece is not asked for: it might be the end of the file */
  check_bounce (memory + 16, 0, 90000, 40000);
}

static guint
count_worth_it (ImgTryRecord *record, guint n_reads)
{
  guint n_tries = 0;

  for (guint i = 0; i < n_reads; i++)
    n_tries += img_try_record_is_worth_it (record);
  return n_tries;
}

/* Tries go on while they succeed, are given up while they do not, and come back. */
static void
test_try_record (void)
{
  ImgTryRecord record = { 0 };
  guint n_tries = 0;

  for (guint i = 0; i < IMG_TRY_MISSES; i++)
    {
      g_assert_true (img_try_record_is_worth_it (&record));
      img_try_record_add (&record, FALSE);
    }
  g_assert_cmpuint (count_worth_it (&record, 100 * IMG_TRY_EVERY), ==, 100);
  img_try_record_add (&record, TRUE); /* by chance? */
  while (img_try_record_is_worth_it (&record) && n_tries++ < IMG_TRY_MISSES)
    img_try_record_add (&record, FALSE);
  g_assert_cmpuint (n_tries, <, IMG_TRY_MISSES); /* it was */
  for (guint i = 0; i < 5; i++)
    img_try_record_add (&record, TRUE);
  img_try_record_add (&record, FALSE);
  g_assert_cmpuint (count_worth_it (&record, 100), ==, 100);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_FILE_TEST ("/storage/file/read", test_file);
  ADD_FILE_TEST ("/storage/file/many-vectors", test_many_vectors);
  ADD_FILE_TEST ("/storage/file/nowait", test_nowait);
  ADD_FILE_TEST ("/storage/file/types", test_file_types);
  ADD_FILE_TEST ("/storage/file/fd", test_fd);
  ADD_FILE_TEST ("/storage/file/access-time", test_access_time);
  ADD_FILE_TEST ("/storage/file/beneath", test_beneath);
  ADD_FILE_TEST ("/storage/file/ranges", test_file_ranges);
  ADD_FILE_TEST ("/storage/file/cut", test_cut);
  ADD_FILE_TEST ("/storage/file/cut-before-lock", test_cut_before_lock);
  ADD_FILE_TEST ("/storage/file/own-sizes", test_own_sizes);
  ADD_FILE_TEST ("/storage/window/uses-file", test_window_uses_file);
  g_test_add_func ("/storage/memory", test_memory);
  g_test_add_func ("/storage/null", test_null);
  g_test_add_func ("/storage/window", test_window);
  g_test_add_func ("/storage/later", test_later);
  g_test_add_func ("/storage/errors", test_errors);
  g_test_add_func ("/storage/try-record", test_try_record);
  g_test_add_func ("/storage/bounce", test_bounce);
  g_test_add_func ("/storage/bounce/failures", test_bounce_failures);
  return g_test_run ();
}
