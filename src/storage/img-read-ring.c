/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-read-ring.h"
#include "img-uring.h"

#if defined(HAVE_LIBURING) && defined(RWF_NOWAIT)

#include <errno.h>
#include <unistd.h>

#include "img-seam.h"

/* One ring for the process, made by the first who wants it and kept for ever. Nobody waits for it: who finds it in use
 * reads in the old way. The memory of the requests is the caller's, so nobody leaves before the kernel has answered all
 * that it has taken. A child of fork () has the parent's ring, and keeps off it. */

static ImgMutex mutex = IMG_MUTEX_INIT; /* what follows */
static struct io_uring uring;
static pid_t owner; /* 0: there is no ring yet */

static gint is_refused; /* atomic */

/* With the mutex. */
static gboolean
ensure_ring (void)
{
  if (owner == 0 && img_uring_init (&uring, IMG_READ_RING_MAX, IORING_SETUP_COOP_TASKRUN))
    owner = getpid ();
  if (owner == 0)
    g_atomic_int_set (&is_refused, TRUE);
  return owner != 0 && owner == getpid ();
}

static void
add_read (int fd, const ImgIo *io, guint index)
{
  struct io_uring_sqe *entry = io_uring_get_sqe (&uring);

  io_uring_prep_read (entry, fd, io->iov->iov_base, (unsigned) io->length, io->offset);
  entry->rw_flags = RWF_NOWAIT;
  io_uring_sqe_set_data64 (entry, index);
}

/* Returns how many. Nobody sees a read that was interrupted before it began. */
static guint
take_answers (gssize *results)
{
  struct io_uring_cqe *answer;
  guint head, n_answers = 0;

  io_uring_for_each_cqe (&uring, head, answer)
    {
      results[io_uring_cqe_get_data64 (answer)] = answer->res == -EINTR || answer->res == -ECANCELED ? -EAGAIN : answer->res;
      n_answers++;
    }
  io_uring_cq_advance (&uring, n_answers);
  return n_answers;
}

/* The kernel does not take what is left: it will not be asked again, but @n_in_flight come back first. */
static void
give_up (guint n_in_flight, gssize *results)
{
  struct io_uring_cqe *answer;

  while (n_in_flight > 0)
    {
      io_uring_wait_cqe (&uring, &answer);
      n_in_flight -= take_answers (results);
    }
  io_uring_queue_exit (&uring);
  owner = 0;
  g_atomic_int_set (&is_refused, TRUE);
}

static int
submit (guint n_to_wait_for)
{
  if (img_seam_is_on (IMG_SEAM_RING_ENTER_ERRNO))
    return -img_seam_get (IMG_SEAM_RING_ENTER_ERRNO);
  return io_uring_submit_and_wait (&uring, n_to_wait_for);
}

/* With the mutex. */
static void
read_all (int fd, const ImgIo *ios, guint n_ios, gssize *results)
{
  guint n_left = n_ios;
  int result = 0;

  for (guint i = 0; i < n_ios; i++)
    {
      add_read (fd, &ios[i], i);
      results[i] = -EAGAIN;
    }
  while (n_left > 0 && (result >= 0 || result == -EINTR))
    {
      result = submit (n_left);
      n_left -= take_answers (results);
    }
  if (n_left > 0)
    give_up (n_left - io_uring_sq_ready (&uring), results);
}

gboolean
img_read_ring_try (int fd, const ImgIo *ios, guint n_ios, gssize *results)
{
  gboolean is_tried;

  if (n_ios > IMG_READ_RING_MAX || g_atomic_int_get (&is_refused) || !img_mutex_trylock (&mutex))
    return FALSE;
  is_tried = ensure_ring ();
  if (is_tried)
    read_all (fd, ios, n_ios, results);
  img_mutex_unlock (&mutex);
  return is_tried;
}

#else

gboolean
img_read_ring_try (int fd, const ImgIo *ios, guint n_ios, gssize *results)
{
  return FALSE;
}

#endif
