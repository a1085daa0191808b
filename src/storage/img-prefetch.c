/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-prefetch.h"

#ifdef HAVE_LIBURING

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "img-fork.h"
#include "img-park.h"
#include "img-seam.h"
#include "img-uring.h"

/* Who asks puts the request into a list, with a mutex that is held for some instructions. The thread that has the ring
 * takes the whole list, gives it to the kernel in one call, in which it also waits, and tells of what is done. Disks are
 * done with many at the same moment, and whoever is told asks for more: so that the disk does not stand still until
 * all have been told, the thread looks at the list in between, too. A read of an eventfd, the bell, is always in flight:
 * whoever finds the thread asleep rings it, so that it does not wait for the disk only. It says that it sleeps with the
 * mutex held and the list empty, so nobody is missed.
 *
 * The thread comes with the first request and goes after idle seconds; if there can be no ring it refuses all requests
 * from then on. A child of fork () has all of this but the thread, and keeps off it. */

#define IDLE_SECONDS 5
#define N_ENTRIES (2 * IMG_PREFETCH_MAX) /* a power of two, with room for the bell */
#define MAX_TOLD 2 /* before the next look at the list */

typedef struct
{
  struct io_uring uring;
  guint64 n_rings;   /* where the bell is read to */
  gboolean is_armed; /* the bell is being read */
  guint n_in_flight; /* without the bell */
} Ring;

/* The process that asked first; atomic, 0: none has. Read before the mutex is touched: a thread of the parent may have
 * had it at the fork, and it is never given back here. */
static gint owner;

/* Made by the first thread and kept for ever: it is rung without the mutex. */
static int bell = -1;

/* Where all reads go. */
static guint8 scratch[IMG_PREFETCH_MAX_LENGTH];

static ImgMutex mutex = IMG_MUTEX_INIT; /* what follows */
static ImgPrefetch *first;
static ImgPrefetch **last = &first;
static guint n_taken; /* whose done () has not been called */
static gboolean is_running;
static gboolean is_asleep;
static gboolean is_refused;

/* ---- the ring ---- */

static gboolean
ring_init (Ring *self)
{
  *self = (Ring) { 0 };
  if (bell < 0)
    bell = eventfd (0, EFD_CLOEXEC);
  return bell >= 0 &&
         img_uring_init (&self->uring, N_ENTRIES, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
}

static void
ring_add (Ring *self, ImgPrefetch *list)
{
  for (; list != NULL; list = list->next)
    {
      struct io_uring_sqe *entry = io_uring_get_sqe (&self->uring);

      io_uring_prep_read (entry, list->fd, scratch, list->length, list->offset);
      io_uring_sqe_set_data (entry, list);
      self->n_in_flight++;
    }
  if (!self->is_armed)
    {
      struct io_uring_sqe *entry = io_uring_get_sqe (&self->uring);

      io_uring_prep_read (entry, bell, &self->n_rings, sizeof self->n_rings, 0);
      io_uring_sqe_set_data (entry, NULL);
      self->is_armed = TRUE;
    }
}

/* Hands over what has been added and waits for the first answer. FALSE: none has come for a long time. */
static gboolean
ring_wait (Ring *self)
{
  struct __kernel_timespec idle = { .tv_sec = img_seam_is_on (IMG_SEAM_HASTE) ? 0 : IDLE_SECONDS, .tv_nsec = 1000 };
  struct io_uring_cqe *answer;
  int result;

  if (self->n_in_flight > 0)
    result = io_uring_submit_and_wait (&self->uring, 1);
  else
    result = io_uring_submit_and_wait_timeout (&self->uring, &answer, 1, &idle, NULL);
  /* The kernel lacks memory; what it has not taken it is given again. */
  if (result < 0 && result != -EINTR && result != -ETIME)
    img_park_until (g_get_monotonic_time () + 1000);
  return result != -ETIME;
}

/* A list of those that are done. */
static ImgPrefetch *
ring_take_answers (Ring *self)
{
  ImgPrefetch *done = NULL;
  ImgPrefetch **end = &done;
  struct io_uring_cqe *answer;
  guint head, n_answers = 0;

  io_uring_for_each_cqe (&self->uring, head, answer)
    {
      ImgPrefetch *prefetch = io_uring_cqe_get_data (answer);

      n_answers++;
      if (prefetch == NULL)
        {
          self->is_armed = FALSE;
          continue;
        }
      self->n_in_flight--;
      *end = prefetch;
      end = &prefetch->next;
    }
  *end = NULL;
  io_uring_cq_advance (&self->uring, n_answers);
  return done;
}

/* ---- the thread ---- */

/* The first ones of @list, which go from it. Returns how many. */
static guint
tell (ImgPrefetch **list, guint max)
{
  guint n_told = 0;

  for (; *list != NULL && n_told < max; n_told++)
    {
      ImgPrefetch *prefetch = *list;

      *list = prefetch->next;
      prefetch->done (prefetch);
    }
  return n_told;
}

/* With the mutex. */
static ImgPrefetch *
take_list (void)
{
  ImgPrefetch *list = first;

  first = NULL;
  last = &first;
  return list;
}

/* What has been asked for since. If it was nothing, and the thread @will_sleep, whoever asks for more rings the bell. */
static ImgPrefetch *
look (guint n_told, gboolean will_sleep)
{
  ImgPrefetch *list;

  img_mutex_lock (&mutex);
  n_taken -= n_told;
  list = take_list ();
  is_asleep = will_sleep && list == NULL;
  img_mutex_unlock (&mutex);
  return list;
}

/* Returns how many of them the next look () has not been told of. */
static guint
tell_all (Ring *ring, ImgPrefetch *list)
{
  guint n_told = tell (&list, MAX_TOLD);

  while (list != NULL)
    {
      ring_add (ring, look (n_told, FALSE));
      if (io_uring_sq_ready (&ring->uring) > 0)
        io_uring_submit (&ring->uring); /* what it does not take goes with the next ones */
      n_told = tell (&list, MAX_TOLD);
    }
  return n_told;
}

/* TRUE: nobody has asked for anything, and the next one who does starts a thread. */
static gboolean
may_go (void)
{
  gboolean is_idle;

  img_mutex_lock (&mutex);
  is_idle = first == NULL;
  if (is_idle)
    is_running = is_asleep = FALSE;
  img_mutex_unlock (&mutex);
  return is_idle;
}

static void
refuse (void)
{
  ImgPrefetch *list;

  img_mutex_lock (&mutex);
  is_refused = TRUE;
  list = take_list ();
  img_mutex_unlock (&mutex);
  tell (&list, G_MAXUINT);
}

static gpointer
prefetch_thread (gpointer data)
{
  guint n_told = 0;
  Ring ring;

  if (!ring_init (&ring))
    {
      refuse ();
      return NULL;
    }
  for (;;)
    {
      ring_add (&ring, look (n_told, TRUE));
      if (!ring_wait (&ring) && may_go ())
        break;
      n_told = tell_all (&ring, ring_take_answers (&ring));
    }
  io_uring_queue_exit (&ring.uring); /* the read of the bell with it */
  return NULL;
}

static gboolean
is_owner (void)
{
  const gint own = 1 + img_fork_get_count ();

  return img_fork_watch () &&
         (g_atomic_int_get (&owner) == own || g_atomic_int_compare_and_exchange (&owner, 0, own));
}

/* With the mutex. */
static gboolean
ensure_thread (void)
{
  GThread *thread;

  if (is_running)
    return TRUE;
  thread = g_thread_try_new ("imago-prefetch", prefetch_thread, NULL, NULL);
  is_running = thread != NULL;
  if (is_running)
    g_thread_unref (thread);
  return is_running;
}

static void
ring_bell (void)
{
  const guint64 one = 1;
  gssize written;

  do
    written = write (bell, &one, sizeof one);
  while (written < 0 && errno == EINTR);
}

gboolean
img_prefetch_start (ImgPrefetch *prefetch, int fd, guint64 offset, guint64 length)
{
  gboolean is_taken, wakes;

  if (length > IMG_PREFETCH_MAX_LENGTH || !is_owner ())
    return FALSE;
  prefetch->fd = fd;
  prefetch->offset = offset;
  prefetch->length = (guint) length;
  prefetch->next = NULL;
  img_mutex_lock (&mutex);
  is_taken = !is_refused && n_taken < IMG_PREFETCH_MAX && ensure_thread ();
  wakes = is_taken && is_asleep;
  if (is_taken)
    {
      n_taken++;
      *last = prefetch;
      last = &prefetch->next;
      is_asleep = FALSE;
    }
  img_mutex_unlock (&mutex);
  if (wakes)
    ring_bell ();
  return is_taken;
}

#else

gboolean
img_prefetch_start (ImgPrefetch *prefetch, int fd, guint64 offset, guint64 length)
{
  return FALSE;
}

#endif
