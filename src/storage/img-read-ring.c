/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-read-ring.h"
#include "img-uring.h"

#if defined(HAVE_LIBURING) && defined(RWF_NOWAIT)

#include <errno.h>

#include "img-fork.h"
#include "img-park.h"
#include "img-seam.h"

/* A few rings for the process, made by the first who wants them and kept for ever: one for reads that do not wait, the
 * others for those that do. Nobody waits for a ring: who finds it in use reads in the old way. The memory of the
 * requests is the caller's, so nobody leaves before the kernel has answered all that it has taken. A child of fork ()
 * has the parent's rings, and keeps off them. */

typedef struct
{
  ImgMutex mutex; /* what follows */
  struct io_uring uring;
  gboolean is_made;
  gint made_at;        /* the count of forks */
  gboolean is_refused; /* there is none, nor will be */
} Ring;

#define N_WAITING 4

static Ring hot = { IMG_MUTEX_INIT };
static Ring waiting[N_WAITING] = { { IMG_MUTEX_INIT }, { IMG_MUTEX_INIT }, { IMG_MUTEX_INIT }, { IMG_MUTEX_INIT } };

/* With the mutex, from here on. */
static gboolean
ensure_ring (Ring *self)
{
  if (!self->is_made && !self->is_refused)
    {
      self->is_made = img_fork_watch () && img_uring_init (&self->uring, IMG_READ_RING_MAX, IORING_SETUP_COOP_TASKRUN);
      self->is_refused = !self->is_made;
      self->made_at = img_fork_get_count ();
    }
  return self->is_made && self->made_at == img_fork_get_count ();
}

static void
add_read (Ring *self, int fd, const ImgIo *io, gboolean waits, guint index)
{
  struct io_uring_sqe *entry = io_uring_get_sqe (&self->uring);

  io_uring_prep_read (entry, fd, io->iov->iov_base, (unsigned) io->length, io->offset);
  entry->rw_flags = waits ? 0 : RWF_NOWAIT;
  io_uring_sqe_set_data64 (entry, index);
}

/* Of the ring, not of the file: the read has not been made. */
static gboolean
is_passing (int result)
{
  return result == -EINTR || result == -ECANCELED || result == -ENOMEM;
}

/* Returns how many. */
static guint
take_answers (Ring *self, gssize *results)
{
  struct io_uring_cqe *answer;
  guint head, n_answers = 0;

  io_uring_for_each_cqe (&self->uring, head, answer)
    {
      results[io_uring_cqe_get_data64 (answer)] = is_passing (answer->res) ? -EAGAIN : answer->res;
      n_answers++;
    }
  io_uring_cq_advance (&self->uring, n_answers);
  return n_answers;
}

/* The kernel does not take what is left: this ring will not be used again, but @n_in_flight come back first. If it does not
 * let us wait for them either they come while we sleep. */
static void
give_up (Ring *self, guint n_in_flight, gssize *results)
{
  struct io_uring_cqe *answer;

  while (n_in_flight > 0)
    {
      if (io_uring_wait_cqe (&self->uring, &answer) < 0)
        img_park_until (g_get_monotonic_time () + 1000);
      n_in_flight -= take_answers (self, results);
    }
  io_uring_queue_exit (&self->uring);
  self->is_made = FALSE;
  self->is_refused = TRUE;
}

static int
submit (Ring *self, guint n_to_wait_for)
{
  if (img_seam_is_on (IMG_SEAM_RING_ENTER_ERRNO))
    return -img_seam_get (IMG_SEAM_RING_ENTER_ERRNO);
  return io_uring_submit_and_wait (&self->uring, n_to_wait_for);
}

static void
read_all (Ring *self, int fd, const ImgIo *ios, guint n_ios, gboolean waits, gssize *results)
{
  guint n_left = n_ios;
  int result = 0;

  for (guint i = 0; i < n_ios; i++)
    {
      add_read (self, fd, &ios[i], waits, i);
      results[i] = -EAGAIN;
    }
  while (n_left > 0 && (result >= 0 || result == -EINTR))
    {
      result = submit (self, n_left);
      n_left -= take_answers (self, results);
    }
  if (n_left > 0)
    give_up (self, n_left - io_uring_sq_ready (&self->uring), results);
}

static gboolean
try_ring (Ring *self, int fd, const ImgIo *ios, guint n_ios, gboolean waits, gssize *results)
{
  gboolean is_tried;

  if (!img_mutex_trylock (&self->mutex))
    return FALSE;
  is_tried = ensure_ring (self);
  if (is_tried)
    read_all (self, fd, ios, n_ios, waits, results);
  img_mutex_unlock (&self->mutex);
  return is_tried;
}

gboolean
img_read_ring_try (int fd, const ImgIo *ios, guint n_ios, gboolean waits, gssize *results)
{
  if (n_ios > IMG_READ_RING_MAX)
    return FALSE;
  if (!waits)
    return try_ring (&hot, fd, ios, n_ios, FALSE, results);
  for (guint i = 0; i < N_WAITING; i++)
    if (try_ring (&waiting[i], fd, ios, n_ios, TRUE, results))
      return TRUE;
  return FALSE;
}

#else

gboolean
img_read_ring_try (int fd, const ImgIo *ios, guint n_ios, gboolean waits, gssize *results)
{
  return FALSE;
}

#endif
