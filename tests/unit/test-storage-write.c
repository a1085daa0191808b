/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Storages that are written, each against a plain array of bytes. */

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-alloc.h"
#include "img-file-storage.h"
#include "img-file-write.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define KIB ((guint64) 1024)
#define MIB (1024 * KIB)
#define TIB (MIB * MIB)

typedef struct
{
  char *folder;
  char *path;
  ImgStorage *storage;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer is_memory)
{
  ImgError *error = NULL;

  fixture->folder = g_dir_make_tmp ("imago-write-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
  fixture->path = g_build_filename (fixture->folder, "disk", NULL);
  g_assert_true (g_file_set_contents (fixture->path, "", 0, NULL));
  fixture->storage = GPOINTER_TO_INT (is_memory)
                       ? img_memory_storage_new_writable (0)
                       : img_file_storage_open (fixture->path, IMG_FILE_WRITABLE, &error);
  g_assert_null (error);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  img_storage_unref (fixture->storage);
  g_unlink (fixture->path);
  g_rmdir (fixture->folder);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static void
fill (guint8 *bytes, guint64 offset, gsize length)
{
  for (gsize i = 0; i < length; i++)
    bytes[i] = test_pattern_byte (offset + i, 7);
}

static void
write_pattern (ImgStorage *storage, guint64 offset, gsize length)
{
  g_autofree guint8 *bytes = g_malloc (length);

  fill (bytes, offset, length);
  g_assert_true (img_storage_write (storage, offset, bytes, length, NULL));
}

static void
assert_zero (ImgStorage *storage, guint64 offset, gsize length)
{
  g_autofree guint8 *bytes = g_malloc (length);

  memset (bytes, 0xee, length);
  g_assert_true (img_storage_read (storage, offset, bytes, length, NULL));
  for (gsize i = 0; i < length; i++)
    g_assert_cmpuint (bytes[i], ==, 0);
}

static void
assert_pattern (ImgStorage *storage, guint64 offset, gsize length)
{
  g_autofree guint8 *bytes = g_malloc (length);
  g_autofree guint8 *expected = g_malloc (length);

  fill (expected, offset, length);
  g_assert_true (img_storage_read (storage, offset, bytes, length, NULL));
  g_assert_cmpmem (bytes, length, expected, length);
}

static void
assert_size (ImgStorage *storage, guint64 expected)
{
  guint64 size;

  g_assert_true (img_storage_get_size (storage, &size, NULL));
  g_assert_cmpuint (size, ==, expected);
}

static guint64
usage_of (ImgStorage *storage)
{
  guint64 usage;

  g_assert_true (img_storage_get_usage (storage, &usage, NULL));
  return usage;
}

static void
assert_errno (ImgError *error, int expected)
{
  g_assert_nonnull (error);
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  g_assert_cmpint (error->system_errno, ==, expected);
  img_error_free (error);
}

/* ---- what any storage does ---- */

#define MODEL_SIZE (400 * 1024)

typedef struct
{
  guint8 bytes[MODEL_SIZE];
  guint64 size;
} Model;

static void
model_zero (Model *model, guint64 offset, guint64 length)
{
  memset (model->bytes + offset, 0, length);
}

static void
do_random (ImgStorage *storage, Model *model, GRand *rand)
{
  guint64 offset = (guint64) g_rand_int_range (rand, 0, MODEL_SIZE - 1);
  guint64 length = (guint64) g_rand_int_range (rand, 1, (gint32) (MODEL_SIZE - offset + 1));
  ImgIoFlags flags = g_rand_boolean (rand) ? IMG_IO_UNMAP : IMG_IO_NONE;
  guint64 old_size = model->size;

  switch (g_rand_int_range (rand, 0, 5))
    {
    case 0:
      length = MIN (length, 30000);
      memset (model->bytes + offset, g_rand_int_range (rand, 0, 256), length);
      g_assert_true (img_storage_write (storage, offset, model->bytes + offset, length, NULL));
      model->size = MAX (old_size, offset + length);
      break;
    case 1:
      model_zero (model, offset, length);
      g_assert_true (img_storage_zero (storage, offset, length, flags, NULL));
      model->size = MAX (old_size, offset + length);
      break;
    case 2: /* what it reads as is not known, so it is made known */
      model_zero (model, offset, length);
      g_assert_true (img_storage_discard (storage, offset, length, NULL));
      assert_size (storage, old_size);
      g_assert_true (img_storage_zero (storage, offset, length, IMG_IO_NONE, NULL));
      model->size = MAX (old_size, offset + length);
      break;
    case 3:
      if (img_storage_allocate (storage, offset, length, NULL))
        model->size = MAX (old_size, offset + length);
      break;
    default:
      if (offset < old_size)
        model_zero (model, offset, old_size - offset);
      g_assert_true (img_storage_truncate (storage, offset, NULL));
      model->size = offset;
    }
}

static void
test_model (Fixture *fixture, gconstpointer data)
{
  GRand *rand = g_rand_new_with_seed (5);
  g_autofree Model *model = g_new0 (Model, 1);
  g_autofree guint8 *seen = g_malloc (MODEL_SIZE);

  for (guint i = 0; i < 600; i++)
    {
      do_random (fixture->storage, model, rand);
      assert_size (fixture->storage, model->size);
      g_assert_true (img_storage_read (fixture->storage, 0, seen, MODEL_SIZE, NULL));
      g_assert_cmpmem (seen, MODEL_SIZE, model->bytes, MODEL_SIZE);
    }
  g_assert_true (img_storage_flush (fixture->storage, NULL));
  g_rand_free (rand);
}

/* More buffers than one system call takes, some of them empty. */
static void
test_many_vectors (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 5000,
    EACH = 21
  };
  g_autofree struct iovec *iov = g_new (struct iovec, N);
  g_autofree guint8 *bytes = g_malloc (N * EACH);
  ImgIo io = { .op = IMG_IO_WRITE, .offset = 100, .iov = iov, .n_iov = N };

  for (guint i = 0; i < N; i++)
    {
      iov[i] = (struct iovec) { bytes + io.length, i % 7 == 3 ? 0 : EACH };
      io.length += iov[i].iov_len;
    }
  fill (bytes, 100, io.length);
  for (guint i = 0; i < 2; i++) /* it grows, then it is long enough */
    {
      io.state = NULL;
      img_storage_submit (fixture->storage, &io, 1);
      img_io_wait (&io, 1);
      g_assert_true (img_io_collect (&io, 1, NULL));
    }
  assert_zero (fixture->storage, 0, 100);
  assert_pattern (fixture->storage, 100, io.length);
  assert_size (fixture->storage, 100 + io.length);
}

/* The tail too is given back, and the file stays as long as it is. */
static void
test_discard (Fixture *fixture, gconstpointer data)
{
  ImgStorage *storage = fixture->storage;
  guint64 before;

  write_pattern (storage, 0, 4 * MIB);
  g_assert_true (img_storage_flush (storage, NULL));
  before = usage_of (storage);
  g_assert_cmpuint (before, >=, 4 * MIB);
  g_assert_true (img_storage_discard (storage, 3 * MIB, 1 * MIB, NULL));
  assert_size (storage, 4 * MIB);
  g_assert_true (img_storage_discard (storage, 2 * MIB, TIB, NULL));
  g_assert_true (img_storage_discard (storage, 5 * MIB, MIB, NULL));
  assert_size (storage, 4 * MIB);
  assert_pattern (storage, 0, 2 * MIB);
  if (usage_of (storage) == before)
    {
      g_test_skip ("the file system cannot punch holes");
      return;
    }
  g_assert_cmpuint (usage_of (storage), <=, before - 2 * MIB);
  assert_zero (storage, 2 * MIB, 2 * MIB);
}

static void
test_zero (Fixture *fixture, gconstpointer data)
{
  ImgStorage *storage = fixture->storage;
  ImgRange range;

  write_pattern (storage, 0, MIB);
  g_assert_true (img_storage_zero (storage, 64 * KIB, 64 * KIB, IMG_IO_NONE, NULL));
  g_assert_true (img_storage_zero (storage, 256 * KIB, 128 * KIB, IMG_IO_UNMAP, NULL));
  assert_size (storage, MIB);
  g_assert_true (img_storage_zero (storage, 2 * MIB, 1000, IMG_IO_NONE, NULL));
  assert_size (storage, 2 * MIB + 1000);
  g_assert_true (img_storage_zero (storage, MIB / 2, 3 * MIB, IMG_IO_UNMAP, NULL));
  assert_size (storage, 3 * MIB + MIB / 2);
  assert_pattern (storage, 0, 64 * KIB);
  assert_zero (storage, 64 * KIB, 64 * KIB);
  assert_pattern (storage, 128 * KIB, 128 * KIB);
  assert_zero (storage, 256 * KIB, 128 * KIB);
  assert_pattern (storage, 384 * KIB, 128 * KIB);
  assert_zero (storage, MIB / 2, 3 * MIB);
  g_assert_true (img_storage_get_range (storage, 0, 64 * KIB, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_DATA);
}

/* What reads as zero keeps its space unless it may be given back. */
static void
test_zero_usage (Fixture *fixture, gconstpointer data)
{
  ImgStorage *storage = fixture->storage;
  guint64 before;

  write_pattern (storage, 0, 4 * MIB);
  g_assert_true (img_storage_flush (storage, NULL));
  before = usage_of (storage);
  g_assert_true (img_storage_zero (storage, MIB, MIB, IMG_IO_NONE, NULL));
  g_assert_true (img_storage_flush (storage, NULL));
  g_assert_cmpuint (usage_of (storage), >=, 4 * MIB);
  g_assert_true (img_storage_zero (storage, 2 * MIB, MIB, IMG_IO_UNMAP, NULL));
  assert_pattern (storage, 0, MIB);
  assert_zero (storage, MIB, 2 * MIB);
  assert_pattern (storage, 3 * MIB, MIB);
  assert_size (storage, 4 * MIB);
  if (usage_of (storage) >= before)
    g_test_skip ("the file system cannot punch holes");
  else
    g_assert_cmpuint (usage_of (storage), <=, before - MIB);
}

/* What was there stays, what is new reads as zero and cannot run out of space any more. */
static void
test_allocate (Fixture *fixture, gconstpointer data)
{
  ImgStorage *storage = fixture->storage;
  ImgError *error = NULL;

  write_pattern (storage, 0, 100);
  if (!img_storage_allocate (storage, 50, 2 * MIB, &error))
    {
      assert_errno (error, ENOTSUP);
      assert_size (storage, 100);
      g_test_skip ("the file system cannot reserve space");
      return;
    }
  assert_size (storage, 2 * MIB + 50);
  g_assert_cmpuint (usage_of (storage), >=, 2 * MIB);
  assert_pattern (storage, 0, 100);
  assert_zero (storage, 100, 2 * MIB - 50);
}

/* What was cut off does not come back. */
static void
test_truncate (Fixture *fixture, gconstpointer data)
{
  static const guint64 sizes[] = { 100001, 65536, 65535, 4097, 1, 0 };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      write_pattern (fixture->storage, 0, 150000);
      g_assert_true (img_storage_truncate (fixture->storage, sizes[i], NULL));
      assert_size (fixture->storage, sizes[i]);
      assert_zero (fixture->storage, sizes[i], 150000);
      g_assert_true (img_storage_truncate (fixture->storage, 200000, NULL));
      assert_size (fixture->storage, 200000);
      assert_pattern (fixture->storage, 0, sizes[i]);
      assert_zero (fixture->storage, sizes[i], 200000 - sizes[i]);
    }
}

static void
test_too_far (Fixture *fixture, gconstpointer data)
{
  ImgError *error = NULL;

  g_assert_false (img_storage_write (fixture->storage, G_MAXINT64 - 1, "abc", 3, &error));
  assert_errno (g_steal_pointer (&error), EFBIG);
  g_assert_false (img_storage_zero (fixture->storage, G_MAXUINT64 - 1, 5, IMG_IO_NONE, &error));
  assert_errno (g_steal_pointer (&error), EFBIG);
  g_assert_false (img_storage_truncate (fixture->storage, G_MAXUINT64, &error));
  assert_errno (g_steal_pointer (&error), EFBIG);
  assert_size (fixture->storage, 0);
}

typedef struct
{
  ImgStorage *storage;
  guint number;
} Writer;

#define N_WRITERS 8
#define N_ROUNDS 60
#define STRIDE 10000

/* Its own stripes past the end, and one range that all of them write and punch. */
static gpointer
writer_thread (gpointer data)
{
  Writer *writer = data;

  for (guint i = 0; i < N_ROUNDS; i++)
    {
      write_pattern (writer->storage, MIB + (guint64) (i * N_WRITERS + writer->number) * STRIDE,
                     STRIDE);
      write_pattern (writer->storage, i * 100, 3000);
      g_assert_true (img_storage_discard (writer->storage, i * 50, 4096, NULL));
      g_assert_true (img_storage_zero (writer->storage, 500 * KIB + i * 500, 700,
                                       i % 2 ? IMG_IO_NONE : IMG_IO_UNMAP, NULL));
    }
  g_assert_true (img_storage_flush (writer->storage, NULL));
  return NULL;
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  Writer writers[N_WRITERS];
  GThread *threads[N_WRITERS];

  for (guint i = 0; i < N_WRITERS; i++)
    {
      writers[i] = (Writer) { fixture->storage, i };
      threads[i] = g_thread_new ("writer", writer_thread, &writers[i]);
    }
  for (guint i = 0; i < N_WRITERS; i++)
    g_thread_join (threads[i]);
  assert_size (fixture->storage, MIB + N_WRITERS * N_ROUNDS * STRIDE);
  assert_pattern (fixture->storage, MIB, N_WRITERS * N_ROUNDS * STRIDE);
}

static void
test_nowait (Fixture *fixture, gconstpointer data)
{
  static const guint64 offsets[] = { 0, 5000, 2 * MIB }; /* the last one lets it grow */

  write_pattern (fixture->storage, 0, MIB);
  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    {
      guint8 bytes[9000];
      struct iovec iov = { bytes, sizeof bytes };
      ImgIo io = { .op = IMG_IO_WRITE,
                   .flags = IMG_IO_NOWAIT,
                   .offset = offsets[i],
                   .length = sizeof bytes,
                   .iov = &iov,
                   .n_iov = 1 };

      memset (bytes, 0x5a, sizeof bytes);
      img_storage_submit (fixture->storage, &io, 1);
      img_io_wait (&io, 1);
      g_assert_null (io.error);
      if (io.would_block)
        g_assert_cmpuint (io.n_done, <, sizeof bytes);
      if (!io.would_block || io.n_done > 0)
        {
          guint8 seen[9000];
          gsize n_done = io.would_block ? io.n_done : sizeof bytes;

          g_assert_true (img_storage_read (fixture->storage, offsets[i], seen, n_done, NULL));
          g_assert_cmpmem (seen, n_done, bytes, n_done);
        }
    }
}

/* ---- files ---- */

/* A change does not keep the reads around it from being made, in any order. */
static void
test_read_only_batch (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = NULL;
  guint8 bytes[8];
  struct iovec iov[G_N_ELEMENTS (bytes)];

  write_pattern (fixture->storage, 0, 100);
  storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  for (guint changes = 0; changes < 1u << G_N_ELEMENTS (bytes); changes++)
    {
      ImgIo ios[G_N_ELEMENTS (bytes)] = { 0 };

      memset (bytes, 0xee, sizeof bytes);
      for (guint i = 0; i < G_N_ELEMENTS (ios); i++)
        {
          iov[i] = (struct iovec) { &bytes[i], 1 };
          ios[i] = (ImgIo) { .op = changes >> i & 1 ? IMG_IO_WRITE : IMG_IO_READ,
                             .offset = i,
                             .length = 1,
                             .iov = &iov[i],
                             .n_iov = 1 };
        }
      img_storage_submit (storage, ios, G_N_ELEMENTS (ios));
      img_io_wait (ios, G_N_ELEMENTS (ios));
      for (guint i = 0; i < G_N_ELEMENTS (ios); i++)
        if (changes >> i & 1)
          {
            g_assert_true (img_error_matches (ios[i].error, IMG_CODE_READ_ONLY));
            img_error_free (ios[i].error);
          }
        else
          {
            g_assert_null (ios[i].error);
            g_assert_cmpuint (bytes[i], ==, test_pattern_byte (i, 7));
          }
    }
  assert_pattern (fixture->storage, 0, 100);
}

static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = NULL;
  ImgError *error = NULL;
  guint8 byte;
  int fd;

  write_pattern (fixture->storage, 0, 100);
  storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  for (guint op = IMG_IO_WRITE; op <= IMG_IO_FLUSH; op++)
    {
      struct iovec iov = { &byte, 1 };
      ImgIo ios[] = { { .op = IMG_IO_READ, .length = 1, .iov = &iov, .n_iov = 1 },
                      { .op = (ImgIoOp) op, .length = 1, .iov = &iov, .n_iov = 1 } };

      byte = 0;
      img_storage_submit (storage, ios, 2);
      img_io_wait (ios, 2);
      g_assert_null (ios[0].error);
      g_assert_cmpuint (byte, ==, test_pattern_byte (0, 7));
      g_assert_true (img_error_matches (ios[1].error, IMG_CODE_READ_ONLY));
      img_error_free (ios[1].error);
    }
  assert_pattern (fixture->storage, 0, 100);

  fd = open (fixture->path, O_RDONLY | O_CLOEXEC);
  g_assert_null (img_file_storage_new_fd (fd, NULL, IMG_FILE_WRITABLE, &error));
  assert_errno (error, EBADF);
  close (fd);
}

/* It writes what is there: it makes no file and cuts none. */
static void
test_open (Fixture *fixture, gconstpointer data)
{
  g_autofree char *missing = g_build_filename (fixture->folder, "missing", NULL);
  g_autoptr (ImgStorage) other = NULL;
  g_autoptr (ImgStorage) from_fd = NULL;
  ImgError *error = NULL;
  int fd;

  write_pattern (fixture->storage, 0, 5000);
  g_assert_null (img_file_storage_open (missing, IMG_FILE_WRITABLE, &error));
  assert_errno (g_steal_pointer (&error), ENOENT);
  g_assert_false (g_file_test (missing, G_FILE_TEST_EXISTS));
  other = img_file_storage_open (fixture->path, IMG_FILE_WRITABLE, NULL);
  assert_pattern (other, 0, 5000);
  fd = open (fixture->path, O_RDWR | O_CLOEXEC);
  from_fd = img_file_storage_new_fd (fd, NULL, IMG_FILE_WRITABLE, NULL);
  close (fd);
  write_pattern (from_fd, 5000, 5000);
  assert_pattern (other, 0, 10000);
  /* One storage does not know of the other's growth; it must not undo it. */
  g_assert_true (img_storage_zero (other, 6000, 1000, IMG_IO_UNMAP, NULL));
  assert_size (other, 10000);
  assert_zero (other, 6000, 1000);
  assert_pattern (other, 7000, 3000);
}

/* What grew is seen by a read that must not wait. */
static void
test_nowait_after_growth (Fixture *fixture, gconstpointer data)
{
  guint8 bytes[3000];
  struct iovec iov = { bytes, sizeof bytes };
  ImgIo io = { .flags = IMG_IO_NOWAIT, .offset = MIB, .length = sizeof bytes, .iov = &iov, .n_iov = 1 };

  write_pattern (fixture->storage, 0, MIB + 2000);
  img_storage_submit (fixture->storage, &io, 1);
  img_io_wait (&io, 1);
  g_assert_null (io.error);
  if (io.would_block)
    return;
  for (guint i = 0; i < sizeof bytes; i++)
    g_assert_cmpuint (bytes[i], ==, i < 2000 ? test_pattern_byte (MIB + i, 7) : 0);
}

static void
test_too_large (Fixture *fixture, gconstpointer data)
{
  struct rlimit old, low;
  ImgError *error = NULL;
  g_autofree guint8 *bytes = g_malloc0 (MIB);

  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  low = old;
  low.rlim_cur = 512 * KIB;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &low), ==, 0);
  /* The first part of it fits: a write that is cut short is a failed one. */
  g_assert_false (img_storage_write (fixture->storage, 0, bytes, MIB, &error));
  g_assert_nonnull (strstr (error->text, "Cannot write 1048576 bytes at offset 0 of “"));
  g_assert_nonnull (strstr (error->text, fixture->path));
  assert_errno (g_steal_pointer (&error), EFBIG);
  g_assert_false (img_storage_truncate (fixture->storage, MIB, &error));
  g_assert_nonnull (strstr (error->text, "Cannot set the size of “"));
  assert_errno (g_steal_pointer (&error), EFBIG);
  g_assert_false (img_storage_zero (fixture->storage, MIB, MIB, IMG_IO_UNMAP, &error));
  assert_errno (g_steal_pointer (&error), EFBIG);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &old), ==, 0);
  write_pattern (fixture->storage, 0, MIB);
  assert_pattern (fixture->storage, 0, MIB);
}

/* A pipe cannot be flushed, and once that failed no flush is believed. */
static void
test_sticky_flush (void)
{
  g_autofree char *path = NULL;
  ImgFileWriter writer;
  ImgIo io = { .op = IMG_IO_FLUSH };
  int fds[2];
  int fd = g_file_open_tmp ("imago-flush-XXXXXX", &path, NULL);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (pipe (fds), ==, 0);
  img_file_writer_init (&writer, fd, FALSE, 0);
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, 0);
  writer.fd = fds[1];
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, EINVAL);
  writer.fd = fd;
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, EINVAL);
  img_file_writer_clear (&writer);
  close (fds[0]);
  close (fds[1]);
  close (fd);
  g_unlink (path);
}

/* What the file system cannot do is not tried again, and zeroes are written as bytes. */
static void
test_no_operations (void)
{
  g_autofree char *path = NULL;
  guint8 bytes[5000];
  guint8 seen[5000] = { 0 };
  struct iovec iov = { bytes, sizeof bytes };
  ImgFileWriter writer;
  ImgIo write = { .op = IMG_IO_WRITE, .length = sizeof bytes, .iov = &iov, .n_iov = 1 };
  ImgIo io = { .op = IMG_IO_ZERO, .flags = IMG_IO_NO_FALLBACK | IMG_IO_UNMAP, .offset = 1000, .length = 7000 };
  int fd = g_file_open_tmp ("imago-zero-XXXXXX", &path, NULL);
  struct stat st;

  fill (bytes, 0, sizeof bytes);
  img_file_writer_init (&writer, fd, FALSE, 0);
  writer.cannot_punch = writer.cannot_zero = writer.cannot_allocate = TRUE;
  g_assert_cmpint (img_file_writer_run (&writer, &write), ==, 0);
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, ENOTSUP);
  io.flags = IMG_IO_UNMAP;
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, 0);
  memset (bytes + 1000, 0, sizeof bytes - 1000);
  g_assert_cmpint (pread (fd, seen, sizeof seen, 0), ==, (int) sizeof seen);
  g_assert_cmpmem (seen, sizeof seen, bytes, sizeof bytes);
  io.op = IMG_IO_DISCARD; /* a hint */
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, 0);
  io.op = IMG_IO_ALLOCATE;
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, ENOTSUP);
  g_assert_cmpint (fstat (fd, &st), ==, 0);
  g_assert_cmpint (st.st_size, ==, 8000);
  img_file_writer_clear (&writer);
  close (fd);
  g_unlink (path);
}

static int
write_at (ImgFileWriter *writer, guint8 *bytes, guint64 offset, gsize length)
{
  struct iovec iov = { bytes, length };
  const ImgIo io = { .op = IMG_IO_WRITE, .offset = offset, .length = length, .iov = &iov, .n_iov = 1 };

  fill (bytes, offset, length);
  return img_file_writer_try_write (writer, &io) ? 0 : img_file_writer_run (writer, &io);
}

/* Long writes reserve what they fill and nothing else: neither size nor space tell that they did. */
static void
test_reserving (void)
{
  g_autofree char *path = NULL;
  g_autofree guint8 *bytes = g_malloc (MIB);
  g_autofree guint8 *seen = g_malloc (MIB);
  int fd = g_file_open_tmp ("imago-reserve-XXXXXX", &path, NULL);
  ImgFileWriter writer;
  struct stat st;

  g_assert_cmpint (ftruncate (fd, 8 * MIB), ==, 0);
  img_file_writer_init (&writer, fd, FALSE, 8 * MIB);
  img_file_writer_set_volatile (&writer);
  writer.reserves = TRUE; /* wherever the test runs */
  for (guint i = 0; i < 10; i += 3) /* the last one past the end */
    g_assert_cmpint (write_at (&writer, bytes, i * MIB - MIN (i, 1) * 1000, MIB), ==, 0);
  g_assert_cmpint (fsync (fd), ==, 0);
  g_assert_cmpint (fstat (fd, &st), ==, 0);
  g_assert_cmpuint (st.st_size, ==, 10 * MIB - 1000);
  g_assert_cmpuint (st.st_blocks, <=, (4 * MIB + 256 * KIB) / 512);
  g_assert_cmpint (pread (fd, seen, MIB, 9 * MIB - 1000), ==, (int) MIB);
  g_assert_cmpmem (seen, MIB, bytes, MIB);
  img_file_writer_clear (&writer);
  close (fd);
  g_unlink (path);
}

/* What cannot be reserved is written all the same, and no other attempt is made. */
static void
test_no_reserving (void)
{
  g_autofree guint8 *bytes = g_malloc (MIB);
  int fd = open ("/dev/null", O_WRONLY);
  ImgFileWriter writer;

  img_file_writer_init (&writer, fd, FALSE, 0);
  img_file_writer_set_volatile (&writer);
  g_assert_false (writer.reserves);
  writer.reserves = TRUE;
  g_assert_cmpint (write_at (&writer, bytes, 0, 4096), ==, 0);
  g_assert_true (writer.reserves); /* too short for it */
  g_assert_cmpint (write_at (&writer, bytes, 0, MIB), ==, 0);
  g_assert_false (writer.reserves);
  img_file_writer_clear (&writer);
  close (fd);
}

/* A file system without zero ranges: no byte is written, and all of it has its space. */
static void
test_zero_by_replacing (void)
{
  g_autofree char *path = NULL;
  g_autofree guint8 *bytes = g_malloc (MIB);
  struct iovec iov = { bytes, MIB };
  ImgFileWriter writer;
  ImgIo write = { .op = IMG_IO_WRITE, .length = MIB, .iov = &iov, .n_iov = 1 };
  ImgIo io = { .op = IMG_IO_ZERO, .flags = IMG_IO_NO_FALLBACK, .offset = MIB / 2 + 1, .length = 2 * MIB };
  int fd = g_file_open_tmp ("imago-zero-XXXXXX", &path, NULL);
  struct stat st;

  fill (bytes, 0, MIB);
  img_file_writer_init (&writer, fd, FALSE, 0);
  writer.cannot_zero = TRUE;
  g_assert_cmpint (img_file_writer_run (&writer, &write), ==, 0);
  if (img_file_writer_run (&writer, &io) == ENOTSUP)
    g_test_skip ("The file system has no holes");
  else
    {
      g_autofree guint8 *seen = g_malloc0 (MIB);

      g_assert_cmpint (fstat (fd, &st), ==, 0);
      g_assert_cmpint (st.st_size, ==, 5 * MIB / 2 + 1);
      g_assert_cmpint (st.st_blocks * 512, >=, st.st_size);
      memset (bytes + MIB / 2 + 1, 0, MIB / 2 - 1);
      g_assert_cmpint (pread (fd, seen, MIB, 0), ==, MIB);
      g_assert_cmpmem (seen, MIB, bytes, MIB);
    }
  img_file_writer_clear (&writer);
  close (fd);
  g_unlink (path);
}

/* Space that is there cannot be reserved past the end of a device, and its size is what it is. */
static void
test_device_size (void)
{
  g_autofree char *path = NULL;
  int fd = g_file_open_tmp ("imago-device-XXXXXX", &path, NULL);
  ImgFileWriter writer;
  ImgIo io = { .op = IMG_IO_ALLOCATE, .offset = 0, .length = 4096 };

  img_file_writer_init (&writer, fd, TRUE, 4096);
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, 0);
  io.length = 4097;
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, ENOSPC);
  io = (ImgIo) { .op = IMG_IO_TRUNCATE, .offset = 4096 };
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, 0);
  io.offset = 4097;
  g_assert_cmpint (img_file_writer_run (&writer, &io), ==, ENOSPC);
  g_assert_cmpuint (writer.size, ==, 4096);
  img_file_writer_clear (&writer);
  close (fd);
  g_unlink (path);
}

/* ---- memory ---- */

static void
test_sparse_memory (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (TIB);
  ImgRange range;

  g_assert_cmpuint (usage_of (storage), ==, 0);
  write_pattern (storage, TIB - 5, 10);
  write_pattern (storage, 100, 10);
  assert_size (storage, TIB + 5);
  g_assert_cmpuint (usage_of (storage), ==, 3 * 64 * KIB);
  g_assert_true (img_storage_get_range (storage, 5 * MIB, MIB, &range, NULL));
  g_assert_cmpint (range.kind, ==, IMG_RANGE_ZERO);
  g_assert_true (img_storage_discard (storage, 105, TIB, NULL));
  g_assert_cmpuint (usage_of (storage), ==, 64 * KIB);
  assert_pattern (storage, 100, 5);
  assert_zero (storage, 105, 100);
  assert_zero (storage, TIB - 5, 5);
  g_assert_true (img_storage_truncate (storage, 102, NULL));
  g_assert_cmpuint (usage_of (storage), ==, 64 * KIB);
  g_assert_true (img_storage_truncate (storage, TIB, NULL));
  assert_pattern (storage, 100, 2);
  assert_zero (storage, 102, 100);
}

static void
test_memory_bytes (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (70000);
  g_autoptr (ImgStorage) huge = img_memory_storage_new_writable (TIB);
  g_autoptr (GBytes) bytes = NULL;
  ImgError *error = NULL;
  const guint8 *data;
  gsize size;

  write_pattern (storage, 69990, 20);
  bytes = img_memory_storage_dup_bytes (storage, NULL);
  data = g_bytes_get_data (bytes, &size);
  g_assert_cmpuint (size, ==, 70010);
  g_assert_cmpuint (data[69989], ==, 0);
  for (guint i = 69990; i < size; i++)
    g_assert_cmpuint (data[i], ==, test_pattern_byte (i, 7));
  img_alloc_set_fault (1, FALSE);
  g_assert_null (img_memory_storage_dup_bytes (huge, &error));
  img_alloc_set_fault (0, FALSE);
  g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
  img_error_free (error);
}

static void
test_memory_exhausted (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  g_autofree guint8 *bytes = g_malloc0 (MIB);
  ImgError *error = NULL;

  img_alloc_set_fault (3, TRUE);
  g_assert_false (img_storage_write (storage, 0, bytes, MIB, &error));
  img_alloc_set_fault (0, FALSE);
  g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
  img_error_free (error);
  g_assert_cmpuint (usage_of (storage), ==, 2 * 64 * KIB);
  write_pattern (storage, 0, MIB);
  assert_pattern (storage, 0, MIB);
}

/* ---- window, null ---- */

static void
test_window (void)
{
  g_autoptr (ImgStorage) base = img_memory_storage_new_writable (0);
  g_autoptr (ImgStorage) window = NULL;
  static const ImgIo refused[] = {
    { .op = IMG_IO_ZERO, .offset = 4000, .length = 1001 },
    { .op = IMG_IO_DISCARD, .offset = G_MAXUINT64, .length = 1 },
    { .op = IMG_IO_ALLOCATE, .offset = 5000, .length = 1 },
    { .op = IMG_IO_TRUNCATE, .offset = 4999 },
    { .op = IMG_IO_TRUNCATE, .offset = 5001 },
  };
  ImgError *error = NULL;

  write_pattern (base, 0, 10000);
  window = img_window_storage_new (base, 2000, 5000);
  g_assert_true (img_storage_zero (window, 100, 4900, IMG_IO_NONE, NULL));
  assert_pattern (base, 0, 2100);
  assert_zero (base, 2100, 4900);
  assert_pattern (base, 7000, 3000);
  g_assert_true (img_storage_write (window, 4998, "xy", 2, NULL));
  g_assert_false (img_storage_write (window, 4998, "xyz", 3, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_OUT_OF_RANGE));
  img_error_clear (&error);
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      ImgIo io = refused[i];

      img_storage_submit (window, &io, 1);
      img_io_wait (&io, 1);
      g_assert_true (img_error_matches (io.error, IMG_CODE_OUT_OF_RANGE));
      img_error_free (io.error);
    }
  g_assert_true (img_storage_truncate (window, 5000, NULL));
  g_assert_true (img_storage_flush (window, NULL));
  assert_size (base, 10000);
  assert_pattern (base, 7000, 3000);
}

static void
test_read_only_window (void)
{
  g_autoptr (ImgStorage) base = test_pattern_storage_new (1000, 1);
  g_autoptr (ImgStorage) window = img_window_storage_new (base, 0, 1000);
  ImgError *error = NULL;

  g_assert_false (img_storage_write (window, 0, "x", 1, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_READ_ONLY));
  img_error_free (error);
}

static void
test_null (void)
{
  g_autoptr (ImgStorage) storage = img_null_storage_new (1000);

  write_pattern (storage, 0, 2000);
  assert_zero (storage, 0, 2000);
  g_assert_true (img_storage_flush (storage, NULL));
  assert_size (storage, 1000);
}

/* ---- copying between storages ---- */

static void
test_copy_range (Fixture *fixture, gconstpointer is_memory)
{
  g_autofree char *path = g_build_filename (fixture->folder, "other", NULL);
  ImgStorage *other, *read_only;
  guint64 n_copied;

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  other = img_file_storage_open (path, IMG_FILE_WRITABLE, NULL);
  read_only = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  write_pattern (fixture->storage, 0, 300 * KIB);
  g_assert_true (img_storage_truncate (other, MIB, NULL));

  n_copied = img_storage_copy_range (fixture->storage, 4 * KIB, other, 4 * KIB, 100 * KIB);
  g_assert_cmpuint (n_copied, ==, GPOINTER_TO_INT (is_memory) ? 0 : 100 * KIB);
  if (n_copied > 0)
    {
      assert_pattern (other, 4 * KIB, 100 * KIB);
      assert_zero (other, 104 * KIB, 100 * KIB);
      /* There is no more to copy than there is. */
      g_assert_cmpuint (img_storage_copy_range (fixture->storage, 290 * KIB + 7, other,
                                                290 * KIB + 7, 20 * KIB),
                        ==, 10 * KIB - 7);
      assert_pattern (other, 290 * KIB + 7, 10 * KIB - 7);
      assert_zero (other, 300 * KIB, 100 * KIB);
    }
  g_assert_cmpuint (img_storage_copy_range (fixture->storage, 0, other, MIB - 1, 2), ==, 0);
  g_assert_cmpuint (img_storage_copy_range (fixture->storage, 0, other, G_MAXUINT64, 2), ==, 0);
  g_assert_cmpuint (img_storage_copy_range (fixture->storage, 0, read_only, 0, 2), ==, 0);
  assert_size (other, MIB);
  assert_zero (other, MIB - 1, 1);
  img_storage_unref (read_only);
  img_storage_unref (other);
  g_unlink (path);
}

#define ADD(name, is_memory, func)                                                                 \
  g_test_add ("/storage-write/" name, Fixture, GINT_TO_POINTER (is_memory), set_up, func, tear_down)
#define ADD_BOTH(name, func)                                                                       \
  ADD ("file/" name, FALSE, func);                                                                 \
  ADD ("memory/" name, TRUE, func)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_BOTH ("model", test_model);
  ADD_BOTH ("many-vectors", test_many_vectors);
  ADD_BOTH ("discard", test_discard);
  ADD_BOTH ("zero", test_zero);
  ADD ("file/zero-usage", FALSE, test_zero_usage);
  ADD_BOTH ("truncate", test_truncate);
  ADD_BOTH ("too-far", test_too_far);
  ADD_BOTH ("copy-range", test_copy_range);
  ADD_BOTH ("threads", test_threads);
  ADD_BOTH ("nowait", test_nowait);
  ADD ("file/read-only", FALSE, test_read_only);
  ADD ("file/read-only-batch", FALSE, test_read_only_batch);
  ADD ("file/allocate", FALSE, test_allocate);
  ADD ("file/open", FALSE, test_open);
  ADD ("file/nowait-after-growth", FALSE, test_nowait_after_growth);
  ADD ("file/too-large", FALSE, test_too_large);
  g_test_add_func ("/storage-write/file/sticky-flush", test_sticky_flush);
  g_test_add_func ("/storage-write/file/no-operations", test_no_operations);
  g_test_add_func ("/storage-write/file/reserving", test_reserving);
  g_test_add_func ("/storage-write/file/no-reserving", test_no_reserving);
  g_test_add_func ("/storage-write/file/zero-by-replacing", test_zero_by_replacing);
  g_test_add_func ("/storage-write/file/device-size", test_device_size);
  g_test_add_func ("/storage-write/memory/sparse", test_sparse_memory);
  g_test_add_func ("/storage-write/memory/bytes", test_memory_bytes);
  g_test_add_func ("/storage-write/memory/exhausted", test_memory_exhausted);
  g_test_add_func ("/storage-write/window", test_window);
  g_test_add_func ("/storage-write/read-only-window", test_read_only_window);
  g_test_add_func ("/storage-write/null", test_null);
  return g_test_run ();
}
