/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Many reads in one system call: each ends as preadv2 () has it end, and where there is no ring the storage reads one
 * after the other. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "img-file-storage.h"
#include "img-read-ring.h"
#include "img-seam.h"

#define BLOCK 4096
#define N_BLOCKS 64
#define TAIL 100 /* bytes behind the last block */
#define N_READS IMG_READ_RING_MAX
#define N_THREADS 4
#define N_WAITERS 6
#define N_ROUNDS 200

typedef struct
{
  guint8 memory[N_READS][BLOCK];
  struct iovec vectors[N_READS];
  ImgIo ios[N_READS];
} Reads;

/* From @block on, each read begins one byte further than the one before, so that the last ones of a file are short. */
static void
reads_init (Reads *self, guint first_block)
{
  memset (self->memory, 0xee, sizeof self->memory);
  for (guint i = 0; i < N_READS; i++)
    {
      self->vectors[i] = (struct iovec){ self->memory[i], BLOCK };
      self->ios[i] = (ImgIo){
        .op = IMG_IO_READ,
        .flags = IMG_IO_NOWAIT,
        .offset = (guint64) (first_block + i) * BLOCK + i,
        .length = BLOCK,
        .iov = &self->vectors[i],
        .n_iov = 1,
      };
    }
}

static guint8
byte_at (guint64 offset)
{
  return (guint8) (offset / BLOCK % 251 + offset % 3 + 1);
}

static char *
make_file (void)
{
  const gsize size = N_BLOCKS * BLOCK + TAIL;
  g_autofree guint8 *bytes = g_malloc (size);
  char *path = NULL;
  int fd = g_file_open_tmp ("imago-read-ring-XXXXXX", &path, NULL);

  g_assert_cmpint (fd, >=, 0);
  for (gsize i = 0; i < size; i++)
    bytes[i] = byte_at (i);
  g_assert_cmpint (write (fd, bytes, size), ==, size);
  g_assert_cmpint (fsync (fd), ==, 0);
  close (fd);
  return path;
}

static int
open_file (const char *path)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  return fd;
}

/* FALSE, and the test skipped: this system lets us have none. */
static gboolean
has_ring (int fd)
{
  static Reads reads;
  gssize results[N_READS];

  reads_init (&reads, 0);
  if (img_read_ring_try (fd, reads.ios, 1, FALSE, results))
    return TRUE;
  g_test_skip ("no io_uring here");
  return FALSE;
}

static void
check_bytes (const Reads *reads, guint i, gsize count)
{
  for (gsize j = 0; j < count; j++)
    g_assert_cmpuint (reads->memory[i][j], ==, byte_at (reads->ios[i].offset + j));
}

static gssize
read_alone (int fd, const ImgIo *io, gboolean waits)
{
  gssize result = preadv2 (fd, io->iov, 1, (off_t) io->offset, waits ? 0 : RWF_NOWAIT);

  return result >= 0 ? result : -errno;
}

/* Inside, across, at and behind the end; of a file that is not open; and of one that cannot be read. */
static void
test_as_preadv2 (gconstpointer data)
{
  const gboolean waits = GPOINTER_TO_INT (data);
  static Reads reads, others;
  g_autofree char *path = make_file ();
  int fd = open_file (path);
  int write_only = open (path, O_WRONLY | O_CLOEXEC);
  const int fds[] = { fd, write_only, -1 };
  gssize results[N_READS];
  guint n_short = 0;

  for (guint k = 0; k < G_N_ELEMENTS (fds) && has_ring (fd); k++)
    {
      reads_init (&reads, N_BLOCKS - N_READS + 4);
      reads_init (&others, N_BLOCKS - N_READS + 4);
      g_assert_true (img_read_ring_try (fds[k], reads.ios, N_READS, waits, results));
      for (guint i = 0; i < N_READS; i++)
        {
          gssize expected = read_alone (fds[k], &others.ios[i], waits);

          if (!waits && (results[i] == -EAGAIN || expected == -EAGAIN))
            continue; /* the system has taken the page away */
          g_assert_cmpint (results[i], ==, expected);
          g_assert_cmpmem (reads.memory[i], BLOCK, others.memory[i], BLOCK);
          n_short += expected >= 0 && expected < BLOCK;
        }
    }
  g_test_message ("%u reads were short", n_short);
  close (fd);
  close (write_only);
  g_unlink (path);
}

/* What is not in memory is refused at once, and what is there has the right bytes. */
static void
test_cold (void)
{
  static Reads reads;
  g_autofree char *path = make_file ();
  int fd = open_file (path);
  gssize results[N_READS];
  guint n_missed = 0;

  for (guint round = 0; round < 20 && n_missed == 0 && has_ring (fd); round++)
    {
      g_assert_cmpint (posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED), ==, 0);
      reads_init (&reads, 1);
      g_assert_true (img_read_ring_try (fd, reads.ios, N_READS, FALSE, results));
      for (guint i = 0; i < N_READS; i++)
        if (results[i] == -EAGAIN)
          n_missed++;
        else
          check_bytes (&reads, i, (gsize) results[i]);
    }
  g_test_message ("%u reads found nothing", n_missed);
  close (fd);
  g_unlink (path);
}

/* All of what is not in memory is waited for; also by a thread that gets signals meanwhile, and by one more than can
 * wait. */
typedef struct
{
  int fd;
  gint is_done;   /* atomic */
  guint n_tried;  /* times */
  guint n_missed; /* reads */
} Waiter;

static gpointer
wait_often (gpointer data)
{
  g_autofree Reads *reads = g_new (Reads, 1);
  gssize results[N_READS];
  Waiter *waiter = data;

  for (guint round = 0; round < N_ROUNDS / 2; round++)
    {
      posix_fadvise (waiter->fd, 0, 0, POSIX_FADV_DONTNEED);
      reads_init (reads, 1);
      if (!img_read_ring_try (waiter->fd, reads->ios, N_READS, TRUE, results))
        continue;
      waiter->n_tried++;
      for (guint i = 0; i < N_READS; i++)
        {
          g_assert_true (results[i] == -EAGAIN || results[i] > 0);
          check_bytes (reads, i, (gsize) MAX (results[i], 0));
          waiter->n_missed += results[i] != BLOCK;
        }
    }
  g_atomic_int_set (&waiter->is_done, TRUE);
  return NULL;
}

static void
ignore_signal (int signal)
{
}

static void
test_waiting (void)
{
  g_autofree char *path = make_file ();
  const struct sigaction action = { .sa_handler = ignore_signal }; /* no SA_RESTART */
  struct sigaction before;
  Waiter waiters[N_WAITERS];
  pthread_t threads[N_WAITERS];
  int fd = open_file (path);
  guint n_tried = 0, n_missed = 0;

  if (has_ring (fd))
    {
      sigaction (SIGUSR1, &action, &before);
      for (guint i = 0; i < N_WAITERS; i++)
        {
          waiters[i] = (Waiter) { .fd = fd };
          g_assert_cmpint (pthread_create (&threads[i], NULL, wait_often, &waiters[i]), ==, 0);
        }
      while (!g_atomic_int_get (&waiters[0].is_done))
        {
          pthread_kill (threads[0], SIGUSR1);
          g_usleep (50);
        }
      for (guint i = 0; i < N_WAITERS; i++)
        {
          pthread_join (threads[i], NULL);
          n_tried += waiters[i].n_tried;
          n_missed += waiters[i].n_missed;
        }
      sigaction (SIGUSR1, &before, NULL);
      g_assert_cmpuint (n_tried, >, 0);
      /* Few or none: a signal that comes at a certain time ends a read before it is made. */
      g_assert_cmpuint (n_missed, <, n_tried * N_READS / 2);
      g_test_message ("%u times of %u, %u reads to be made again", n_tried, N_WAITERS * N_ROUNDS / 2, n_missed);
    }
  close (fd);
  g_unlink (path);
}

static void
check_storage (ImgStorage *storage, guint first_block, ImgIoFlags flags)
{
  g_autofree Reads *reads = g_new (Reads, 1);

  reads_init (reads, first_block);
  for (guint i = 0; i < N_READS; i++)
    reads->ios[i].flags = flags;
  img_storage_submit (storage, reads->ios, N_READS);
  for (guint i = 0; i < N_READS; i++)
    {
      const guint64 size = N_BLOCKS * BLOCK + TAIL, offset = reads->ios[i].offset;
      const gsize n_there = offset < size ? (gsize) MIN (size - offset, BLOCK) : 0;

      g_assert_null (reads->ios[i].error);
      if (reads->ios[i].would_block)
        continue;
      check_bytes (reads, i, n_there);
      for (gsize j = n_there; j < BLOCK; j++)
        g_assert_cmpuint (reads->memory[i][j], ==, 0);
    }
}

/* Behind the end of the file there are zeroes. */
static void
test_storage (void)
{
  g_autofree char *path = make_file ();
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);

  g_assert_nonnull (storage);
  check_storage (storage, 0, IMG_IO_NOWAIT);
  check_storage (storage, N_BLOCKS - 5, IMG_IO_NOWAIT);
  check_storage (storage, 0, IMG_IO_NOWAIT | IMG_IO_TOGETHER);
  check_storage (storage, N_BLOCKS - 5, IMG_IO_NOWAIT | IMG_IO_TOGETHER);
  g_unlink (path);
}

static gpointer
read_often (gpointer data)
{
  for (guint i = 0; i < N_ROUNDS; i++)
    check_storage (data, i % N_BLOCKS, i % 3 == 0 ? IMG_IO_NOWAIT : IMG_IO_NOWAIT | IMG_IO_TOGETHER);
  return NULL;
}

/* Whoever finds it in use reads without it. */
static void
test_threads (void)
{
  g_autofree char *path = make_file ();
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("reader", read_often, storage);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  g_unlink (path);
}

/* The child has the parent's ring, which is none for it; and the parent's is as good as before. */
static void
test_fork (void)
{
  static Reads reads;
  g_autofree char *path = make_file ();
  int fd = open_file (path);
  gssize results[N_READS];
  int status;
  pid_t child;

  if (has_ring (fd))
    {
      reads_init (&reads, 0);
      g_assert_true (img_read_ring_try (fd, reads.ios, N_READS, TRUE, results));
      child = fork ();
      if (child == 0)
        _exit (img_read_ring_try (fd, reads.ios, N_READS, FALSE, results) +
               2 * img_read_ring_try (fd, reads.ios, N_READS, TRUE, results));
      g_assert_cmpint (waitpid (child, &status, 0), ==, child);
      g_assert_true (WIFEXITED (status));
      g_assert_cmpint (WEXITSTATUS (status), ==, 0);
      g_assert_true (img_read_ring_try (fd, reads.ios, N_READS, FALSE, results));
    }
  close (fd);
  g_unlink (path);
}

/* A kernel that has made a ring, and takes nothing from it: nothing is read, and that ring is not used again. In a process
 * of its own, for that is kept. */
static void
test_given_up (gconstpointer data)
{
  const gboolean waits = GPOINTER_TO_INT (data);
  static Reads reads, untouched;
  g_autofree char *path = make_file ();
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  int fd = open_file (path);
  gssize results[N_READS];

  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
    }
  else if (has_ring (fd))
    {
      reads_init (&reads, 0);
      img_seam_set (IMG_SEAM_RING_ENTER_ERRNO, ENOMEM);
      g_assert_true (img_read_ring_try (fd, reads.ios, N_READS, waits, results));
      img_seam_set (IMG_SEAM_RING_ENTER_ERRNO, 0);
      for (guint i = 0; i < N_READS; i++)
        g_assert_cmpint (results[i], ==, -EAGAIN);
      g_assert_true (waits || !img_read_ring_try (fd, reads.ios, N_READS, FALSE, results));
      reads_init (&untouched, 0);
      g_assert_cmpmem (reads.memory, sizeof reads.memory, untouched.memory, sizeof untouched.memory);
    }
  check_storage (storage, 0, IMG_IO_NOWAIT);
  check_storage (storage, 0, IMG_IO_NOWAIT | IMG_IO_TOGETHER);
  close (fd);
  g_unlink (path);
}

/* One ring that cannot be made, as when there are too many files open, costs the others nothing. */
static void
test_one_refused (void)
{
  static Reads reads;
  g_autofree char *path = make_file ();
  int fd = open_file (path);
  gssize results[N_READS];

  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
    }
  else if (has_ring (fd))
    {
      reads_init (&reads, 0);
      img_seam_set (IMG_SEAM_RING_ERRNO, EMFILE);
      g_assert_false (img_read_ring_try (fd, reads.ios, N_READS, TRUE, results));
      img_seam_set (IMG_SEAM_RING_ERRNO, 0);
      g_assert_false (img_read_ring_try (fd, reads.ios, N_READS, TRUE, results));
      g_assert_true (img_read_ring_try (fd, reads.ios, N_READS, FALSE, results));
    }
  close (fd);
  g_unlink (path);
}

/* Asked for in a process of its own, for the answer is kept. */
static void
test_refused (void)
{
  static Reads reads;
  gssize results[N_READS];

  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
      return;
    }
  reads_init (&reads, 0);
  img_seam_set (IMG_SEAM_RING_ERRNO, EPERM);
  g_assert_false (img_read_ring_try (STDIN_FILENO, reads.ios, N_READS, FALSE, results));
  img_seam_set (IMG_SEAM_RING_ERRNO, 0);
  g_assert_false (img_read_ring_try (STDIN_FILENO, reads.ios, N_READS, FALSE, results));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/read-ring/refused", test_refused);
  g_test_add_func ("/read-ring/one-refused", test_one_refused);
  g_test_add_data_func ("/read-ring/as-preadv2", GINT_TO_POINTER (FALSE), test_as_preadv2);
  g_test_add_data_func ("/read-ring/as-preadv", GINT_TO_POINTER (TRUE), test_as_preadv2);
  g_test_add_func ("/read-ring/cold", test_cold);
  g_test_add_func ("/read-ring/waiting", test_waiting);
  g_test_add_func ("/read-ring/storage", test_storage);
  g_test_add_func ("/read-ring/threads", test_threads);
  g_test_add_func ("/read-ring/fork", test_fork);
  g_test_add_data_func ("/read-ring/given-up", GINT_TO_POINTER (FALSE), test_given_up);
  g_test_add_data_func ("/read-ring/given-up-waiting", GINT_TO_POINTER (TRUE), test_given_up);
  return g_test_run ();
}
