/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The thread that has files read into memory: each request that it takes is answered once, whatever
 * becomes of it. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "img-common.h"
#include "img-file-storage.h"
#include "img-park.h"
#include "img-prefetch.h"
#include "img-seam.h"

#define BLOCK 4096
#define N_BLOCKS 512
#define N_ROUNDS 20

typedef struct
{
  ImgMutex mutex;
  ImgWaitList waiters;
  guint n_done;
} Counter;

typedef struct
{
  ImgPrefetch prefetch;
  Counter *counter;
  guint n_done;
} Item;

static void
done_cb (ImgPrefetch *prefetch)
{
  Item *item = prefetch->data;
  Counter *counter = item->counter;

  img_mutex_lock (&counter->mutex);
  item->n_done++;
  counter->n_done++;
  img_wait_list_wake_all (&counter->waiters);
  img_mutex_unlock (&counter->mutex);
}

static void
items_init (Item *items, guint n_items, Counter *counter)
{
  *counter = (Counter){ .n_done = 0 };
  img_mutex_init (&counter->mutex);
  memset (items, 0, n_items * sizeof *items);
  for (guint i = 0; i < n_items; i++)
    items[i] = (Item){ { .done = done_cb, .data = &items[i] }, counter, 0 };
}

static void
wait_for (Counter *counter, guint n_done)
{
  img_mutex_lock (&counter->mutex);
  while (counter->n_done < n_done)
    img_wait_list_wait (&counter->waiters, &counter->mutex);
  g_assert_cmpuint (counter->n_done, ==, n_done);
  img_mutex_unlock (&counter->mutex);
}

/* ---- of a file ---- */

static char *
make_file (void)
{
  g_autofree guint8 *bytes = g_malloc (N_BLOCKS * BLOCK);
  char *path = NULL;
  int fd = g_file_open_tmp ("imago-prefetch-XXXXXX", &path, NULL);

  g_assert_cmpint (fd, >=, 0);
  for (guint i = 0; i < N_BLOCKS; i++)
    memset (bytes + i * BLOCK, (int) (i % 251 + 1), BLOCK);
  g_assert_cmpint (write (fd, bytes, N_BLOCKS * BLOCK), ==, N_BLOCKS * BLOCK);
  g_assert_cmpint (fsync (fd), ==, 0);
  close (fd);
  return path;
}

/* TRUE if the block was in memory. */
static gboolean
look_at (ImgStorage *storage, guint block)
{
  guint8 buffer[BLOCK] = { 0 };
  struct iovec iov = { buffer, BLOCK };
  ImgIo io = { .op = IMG_IO_READ,
               .flags = IMG_IO_NOWAIT | IMG_IO_PREFETCHED,
               .offset = (guint64) block * BLOCK,
               .length = BLOCK,
               .iov = &iov,
               .n_iov = 1 };

  img_storage_submit (storage, &io, 1);
  img_io_wait (&io, 1);
  g_assert_true (img_io_collect (&io, 1, NULL));
  if (io.would_block)
    return FALSE;
  for (guint i = 0; i < BLOCK; i++)
    g_assert_cmpuint (buffer[i], ==, block % 251 + 1);
  return TRUE;
}

/* What was asked for is there when it is answered, but for what the system has taken away again. */
static void
test_file (void)
{
  g_autofree char *path = make_file ();
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  guint n_taken = 0, n_found = 0;
  Item items[32];
  Counter counter;

  g_assert_nonnull (storage);
  for (guint round = 0; round < N_ROUNDS; round++)
    {
      guint n_now = 0;

      posix_fadvise (img_file_storage_get_fd (storage), 0, 0, POSIX_FADV_DONTNEED);
      items_init (items, G_N_ELEMENTS (items), &counter);
      for (guint i = 0; i < G_N_ELEMENTS (items); i++)
        n_now += img_storage_prefetch (storage, &items[i].prefetch,
                                       (round + i * 16ull) % N_BLOCKS * BLOCK, BLOCK);
      wait_for (&counter, n_now);
      for (guint i = 0; i < G_N_ELEMENTS (items); i++)
        n_found += items[i].n_done > 0 && look_at (storage, (round + i * 16) % N_BLOCKS);
      n_taken += n_now;
      img_mutex_clear (&counter.mutex);
    }
  g_test_message ("%u prefetches taken, %u found", n_taken, n_found);
  /* Some of the first round may have been taken before there turned out to be no ring. */
  if (n_taken <= G_N_ELEMENTS (items))
    g_test_skip ("no io_uring here, or no file system with reads that do not wait");
  else
    g_assert_cmpuint (n_found, >, n_taken / 2);
  g_unlink (path);
}

/* ---- limits and errors ---- */

/* A pipe answers when it is told to. */
static void
test_limit (void)
{
  Item items[IMG_PREFETCH_MAX + 1];
  Counter counter;
  int ends[2];

  g_assert_cmpint (pipe2 (ends, O_CLOEXEC), ==, 0);
  items_init (items, G_N_ELEMENTS (items), &counter);
  g_assert_false (img_prefetch_start (&items[0].prefetch, ends[0], 0, IMG_PREFETCH_MAX_LENGTH + 1));
  for (guint i = 0; i < IMG_PREFETCH_MAX; i++)
    if (!img_prefetch_start (&items[i].prefetch, ends[0], 0, 1))
      {
        g_assert_cmpuint (i, ==, 0);
        g_test_skip ("no io_uring here");
        return;
      }
  g_assert_false (img_prefetch_start (&items[IMG_PREFETCH_MAX].prefetch, ends[0], 0, 1));
  wait_for (&counter, 0);
  for (guint i = 0; i < IMG_PREFETCH_MAX; i++)
    {
      g_assert_cmpint (write (ends[1], "x", 1), ==, 1);
      wait_for (&counter, i + 1);
    }
  for (guint i = 0; i < G_N_ELEMENTS (items); i++)
    g_assert_cmpuint (items[i].n_done, ==, i < IMG_PREFETCH_MAX);
  close (ends[0]);
  close (ends[1]);
  img_mutex_clear (&counter.mutex);
}

static void
test_error (void)
{
  Item items[2];
  Counter counter;
  int fd = open ("/", O_RDONLY | O_CLOEXEC);
  guint n_taken = 0;

  items_init (items, 2, &counter);
  n_taken += img_prefetch_start (&items[0].prefetch, fd, 0, BLOCK); /* a folder */
  n_taken += img_prefetch_start (&items[1].prefetch, -1, 0, BLOCK);
  wait_for (&counter, n_taken);
  close (fd);
  img_mutex_clear (&counter.mutex);
}

/* ---- the thread ---- */

static gboolean
thread_is_there (void)
{
  g_autoptr (GDir) tasks = g_dir_open ("/proc/self/task", 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (tasks)) != NULL)
    {
      g_autofree char *path = g_strdup_printf ("/proc/self/task/%s/comm", name);
      g_autofree char *comm = NULL;

      if (g_file_get_contents (path, &comm, NULL, NULL) &&
          g_str_has_prefix (comm, "imago-prefetch"))
        return TRUE;
    }
  return FALSE;
}

/* It goes when there is nothing to do, and comes again. */
static void
test_thread (void)
{
  Counter counter;
  Item item;
  int fd = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);

  img_seam_set (IMG_SEAM_HASTE, TRUE);
  for (guint i = 0; i < 5; i++)
    {
      items_init (&item, 1, &counter);
      if (!img_prefetch_start (&item.prefetch, fd, 0, BLOCK))
        {
          g_test_skip ("no io_uring here");
          break;
        }
      wait_for (&counter, 1);
      while (thread_is_there ())
        g_usleep (1000);
      img_mutex_clear (&counter.mutex);
    }
  img_seam_set (IMG_SEAM_HASTE, FALSE);
  close (fd);
}

/* The child has no such thread, so nobody would answer; and the parent's is as good as before. */
static void
test_fork (void)
{
  Counter counter;
  Item item;
  int fd = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int status;
  pid_t child;

  items_init (&item, 1, &counter);
  if (img_prefetch_start (&item.prefetch, fd, 0, BLOCK))
    {
      wait_for (&counter, 1);
      child = fork ();
      if (child == 0)
        _exit (img_prefetch_start (&item.prefetch, fd, 0, BLOCK));
      g_assert_cmpint (waitpid (child, &status, 0), ==, child);
      g_assert_true (WIFEXITED (status));
      g_assert_cmpint (WEXITSTATUS (status), ==, 0);
      g_assert_true (img_prefetch_start (&item.prefetch, fd, 0, BLOCK));
      wait_for (&counter, 2);
    }
  else
    g_test_skip ("no io_uring here");
  img_mutex_clear (&counter.mutex);
  close (fd);
}

/* Where there can be no ring, the first one is answered for nothing and the others are not taken.
 * The last test: there is none in this process from then on. */
static void
test_refused (void)
{
  Counter counter;
  Item item;
  int fd = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);

  img_seam_set (IMG_SEAM_RING_ERRNO, EPERM);
  while (thread_is_there ())
    g_usleep (1000);
  items_init (&item, 1, &counter);
  if (img_prefetch_start (&item.prefetch, fd, 0, BLOCK))
    wait_for (&counter, 1);
  while (thread_is_there ())
    g_usleep (1000);
  g_assert_false (img_prefetch_start (&item.prefetch, fd, 0, BLOCK));
  img_seam_set (IMG_SEAM_RING_ERRNO, 0);
  g_assert_false (img_prefetch_start (&item.prefetch, fd, 0, BLOCK));
  img_mutex_clear (&counter.mutex);
  close (fd);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/prefetch/file", test_file);
  g_test_add_func ("/prefetch/limit", test_limit);
  g_test_add_func ("/prefetch/error", test_error);
  g_test_add_func ("/prefetch/thread", test_thread);
  g_test_add_func ("/prefetch/fork", test_fork);
  g_test_add_func ("/prefetch/refused", test_refused);
  return g_test_run ();
}
