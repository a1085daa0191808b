/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Errors, vectors, allocation, waiting, cancelling, epochs and gates. */

#include "config.h"

#include <errno.h>

#include "img-alloc.h"
#include "img-cancel.h"
#include "img-common.h"
#include "img-copy.h"
#include "img-epoch.h"
#include "img-iov.h"

/* ---- errors and arithmetic ---- */

static void
test_error (void)
{
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgError) copy = NULL;

  img_error_set_errno (&error, ENOSPC, "Cannot write %d", 7);
  img_error_prefix (&error, "Outside: ");
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  g_assert_cmpint (error->system_errno, ==, ENOSPC);
  g_assert_true (g_str_has_prefix (error->text, "Outside: Cannot write 7: "));
  copy = img_error_copy (error);
  g_assert_cmpstr (copy->text, ==, error->text);
  img_error_clear (&error);
  g_assert_null (error);
  img_error_prefix (&error, "nothing there");
  img_error_set (NULL, IMG_CODE_FAILED, "nobody listens");
}

static void
test_quote (void)
{
  static const struct
  {
    const char *name, *quoted;
  } cases[] = {
    { "disk.qcow2", "“disk.qcow2”" },
    { "a\nb\033[31m", "“a\\u000ab\\u001b[31m”" },
    { "x\xffy", "“x\xef\xbf\xbdy”" },
    { "gpj.\xe2\x80\xae"
      "exe",
      "“gpj.\\u202eexe”" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *quoted = img_quote_name (cases[i].name);

      g_assert_cmpstr (quoted, ==, cases[i].quoted);
    }
}

/* However many there are, it stays a message. */
static void
test_quote_list (void)
{
  g_autoptr (GString) list = g_string_new (NULL);

  img_quote_append (list, "one");
  img_quote_append (list, "two");
  g_assert_cmpstr (list->str, ==, "“one”, “two”");
  for (guint i = 0; i < 65536; i++)
    img_quote_append (list, "another");
  g_assert_cmpuint (list->len, <, 1100);
  g_assert_true (g_str_has_suffix (list->str, "“another”, …"));
}

static void
test_arithmetic (void)
{
  g_assert_true (img_range_fits (0, 0, 0));
  g_assert_true (img_range_fits (5, 5, 10));
  g_assert_false (img_range_fits (5, 6, 10));
  g_assert_false (img_range_fits (11, 0, 10));
  g_assert_false (img_range_fits (G_MAXUINT64, 2, G_MAXUINT64));
  g_assert_cmpuint (img_div_round_up (G_MAXUINT64, 2), ==, (guint64) 1 << 63);
  g_assert_cmpuint (img_align_up (IMG_MAX_SIZE, 2 * IMG_MIB), ==, IMG_MAX_SIZE);
  g_assert_false (img_is_power_of_two (0));
  g_assert_true (img_is_power_of_two ((guint64) 1 << 63));
}

static void
test_cursor (void)
{
  guint8 memory[10] = { 0 };
  struct iovec iov[] = { { memory, 3 }, { NULL, 0 }, { memory + 3, 1 }, { memory + 4, 6 } };
  struct iovec slice[8];
  ImgIovCursor cursor = img_iov_cursor (iov, G_N_ELEMENTS (iov));
  guint n;

  g_assert_cmpuint (img_iov_size (iov, G_N_ELEMENTS (iov)), ==, 10);
  img_iov_cursor_copy (&cursor, (const guint8 *) "ab", 2);
  g_assert_cmpuint (img_iov_cursor_slice (&cursor, 4, slice, G_N_ELEMENTS (slice), &n), ==, 4);
  g_assert_cmpuint (n, ==, 3);
  g_assert_true (slice[0].iov_base == memory + 2 && slice[0].iov_len == 1);
  g_assert_true (slice[2].iov_base == memory + 4 && slice[2].iov_len == 2);
  memory[6] = 'x';
  img_iov_cursor_zero (&cursor, 1);
  img_iov_cursor_copy (&cursor, (const guint8 *) "xyz", 3);
  g_assert_cmpmem (memory, 10, "ab\0\0\0\0\0xyz", 10);

  cursor = img_iov_cursor (iov, G_N_ELEMENTS (iov));
  g_assert_cmpuint (img_iov_cursor_slice (&cursor, 10, slice, 2, &n), ==, 4);
  g_assert_cmpuint (n, ==, 2);
}

/* Also where it goes by pieces. */
static void
test_copy (void)
{
  const gsize lengths[] = { 0, 1, IMG_COPY_PIECE, IMG_COPY_PIECE + 1, 2 * IMG_COPY_PIECE, 9000 };
  g_autoptr (ImgBuffer) memory = img_try_alloc (6 * 4096, NULL);
  guint8 *source = memory + 3 * 4096;
  guint n_slow = 0;

  for (guint i = 0; i < 9000; i++)
    source[i] = (guint8) (i * 7 / 5);
  for (guint ahead = 0; ahead < 40; ahead++)
    for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
      {
        memset (memory, 0xee, 3 * 4096);
        n_slow += img_copy_is_slow ((gsize) (memory + ahead), (gsize) source);
        img_copy (memory + ahead, source, lengths[i]);
        g_assert_cmpmem (memory + ahead, lengths[i], source, lengths[i]);
        g_assert_cmpuint (memory[ahead + lengths[i]], ==, 0xee);
      }
  g_assert_cmpuint (n_slow, ==, 31 * G_N_ELEMENTS (lengths));
}

static void
test_alloc_fault (void)
{
  g_autoptr (ImgError) error = NULL;
  gpointer memory;

  img_alloc_set_fault (2, FALSE);
  memory = img_try_alloc (100, &error);
  g_assert_nonnull (memory);
  g_assert_true ((gsize) memory % 4096 == 0);
  img_free (memory);
  g_assert_null (img_try_alloc0 (10, 10, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
  memory = img_try_alloc (1, NULL);
  g_assert_nonnull (memory);
  img_free (memory);
  img_alloc_set_fault (1, TRUE);
  for (guint i = 0; i < 3; i++)
    g_assert_null (img_try_alloc (1, NULL));
  img_alloc_set_fault (0, FALSE);
  g_assert_null (img_try_alloc0 (G_MAXSIZE, 2, NULL)); /* the product does not fit */
}

/* ---- waiting ---- */

static gpointer
unpark_thread (gpointer parker)
{
  g_usleep (20000);
  img_unpark (parker);
  return NULL;
}

static void
test_park (void)
{
  ImgParker *self = img_parker_current ();
  GThread *thread;

  img_unpark (self); /* the token is sticky and there is one */
  img_unpark (self);
  img_park ();
  g_assert_false (img_park_until (g_get_monotonic_time () + 1000));
  thread = g_thread_new ("unpark", unpark_thread, self);
  img_park ();
  g_thread_join (thread);
}

static gpointer
get_parker_thread (gpointer data)
{
  return img_parker_current (); /* borrowed: of a thread that is gone when somebody looks at it */
}

/* Whoever wakes a thread may come too late for it. */
static void
test_park_gone (void)
{
  ImgParker *gone = g_thread_join (g_thread_new ("gone", get_parker_thread, NULL));
  ImgParker *next;

  img_unpark (gone);
  next = g_thread_join (g_thread_new ("next", get_parker_thread, NULL));
  g_assert_true (next == gone); /* kept, not freed */
  img_unpark (gone);
}

typedef struct
{
  ImgParker *owner;
  gint asked;
  gint answered;
} Question;

static void
serve_cb (gpointer data)
{
  Question *question = data;

  if (g_atomic_int_get (&question->asked))
    g_atomic_int_set (&question->answered, TRUE);
}

static gpointer
ask_thread (gpointer data)
{
  Question *question = data;

  g_atomic_int_set (&question->asked, TRUE);
  img_unpark (question->owner);
  while (!g_atomic_int_get (&question->answered))
    g_usleep (100);
  return NULL;
}

/* Another thread needs this one, which sleeps in the core: its server answers. */
static void
test_park_serves (void)
{
  Question question = { 0 };
  GThread *thread;

  question.owner = img_park_push_server (serve_cb, &question);
  thread = g_thread_new ("ask", ask_thread, &question);
  while (!question.answered)
    img_park ();
  g_thread_join (thread);
  img_park_pop_server (serve_cb, &question);
}

static guint n_hook_sleeps;
static guint n_hook_wakes;

static void
hook_sleep (ImgParker *parker, gint64 deadline, gpointer data)
{
  n_hook_sleeps++;
}

static void
hook_wake (ImgParker *parker, gpointer data)
{
  n_hook_wakes++;
}

static void
test_park_hooks (void)
{
  static const ImgParkHooks hooks = { hook_sleep, hook_wake, NULL };

  img_park_set_hooks (&hooks);
  img_park (); /* the hook is the sleep: it returns at once here */
  img_unpark (img_parker_current ());
  img_park ();
  img_park_set_hooks (NULL);
  g_assert_cmpuint (n_hook_sleeps, ==, 2);
  g_assert_cmpuint (n_hook_wakes, ==, 1);
}

typedef struct
{
  ImgMutex mutex;
  ImgWaitList list;
  guint n_tickets;
  guint n_taken;
} Tickets;

static gpointer
take_thread (gpointer data)
{
  Tickets *tickets = data;

  img_mutex_lock (&tickets->mutex);
  while (tickets->n_tickets == 0)
    img_wait_list_wait (&tickets->list, &tickets->mutex);
  tickets->n_tickets--;
  tickets->n_taken++;
  img_mutex_unlock (&tickets->mutex);
  return NULL;
}

static void
test_wait_list (void)
{
  Tickets tickets = { 0 };
  GThread *threads[8];

  img_mutex_init (&tickets.mutex);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("take", take_thread, &tickets);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    {
      img_mutex_lock (&tickets.mutex);
      tickets.n_tickets++;
      img_wait_list_wake_one (&tickets.list);
      img_mutex_unlock (&tickets.mutex);
    }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (tickets.n_taken, ==, G_N_ELEMENTS (threads));
  img_mutex_lock (&tickets.mutex);
  g_assert_false (
    img_wait_list_wait_until (&tickets.list, &tickets.mutex, g_get_monotonic_time () + 1000));
  img_mutex_unlock (&tickets.mutex);
  g_assert_null (tickets.list.parkers);
}

static gpointer
cancel_thread (gpointer cancel)
{
  g_usleep (20000);
  img_cancel_trigger (cancel);
  return NULL;
}

static void
test_cancel (void)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  GThread *thread;

  g_assert_false (img_cancel_check (NULL, &error));
  g_assert_false (img_cancel_check (cancel, &error));
  thread = g_thread_new ("cancel", cancel_thread, cancel);
  img_cancel_watch (cancel);
  while (!img_cancel_is_set (cancel))
    img_park ();
  img_cancel_unwatch (cancel);
  g_thread_join (thread);
  g_assert_true (img_cancel_check (cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  img_cancel_watch (cancel); /* set before: wakes at once */
  img_park ();
  img_cancel_unwatch (cancel);
}

/* ---- epochs and gates ---- */

typedef struct
{
  ImgEpoch epoch;
  gint stop;
  gint n_inside;
  gint alone;      /* somebody runs behind the closed gate */
  gint generation; /* what a transfer sees when it enters */
  gint oldest[8];  /* the generation each thread is inside with; 0: outside */
  guint n_transfers;
} Traffic;

typedef struct
{
  Traffic *traffic;
  guint index;
} TrafficThread;

static gpointer
transfer_thread (gpointer data)
{
  TrafficThread *self = data;
  Traffic *traffic = self->traffic;

  while (!g_atomic_int_get (&traffic->stop))
    {
      ImgEpochTicket ticket = img_epoch_enter (&traffic->epoch);

      g_assert_false (g_atomic_int_get (&traffic->alone));
      g_atomic_int_set (&traffic->oldest[self->index], g_atomic_int_get (&traffic->generation));
      __atomic_add_fetch (&traffic->n_transfers, 1, __ATOMIC_RELAXED);
      g_assert_false (g_atomic_int_get (&traffic->alone));
      g_atomic_int_set (&traffic->oldest[self->index], 0);
      img_epoch_leave (&traffic->epoch, ticket);
    }
  return NULL;
}

/* After a grace period nobody is inside who entered with an older generation; behind a closed gate
 * nobody is. */
static void
test_epoch (void)
{
  Traffic traffic = { .generation = 1 };
  TrafficThread selves[8];
  GThread *threads[8];

  img_epoch_init (&traffic.epoch);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    {
      selves[i] = (TrafficThread) { &traffic, i };
      threads[i] = g_thread_new ("transfer", transfer_thread, &selves[i]);
    }
  /* On a busy machine all rounds could pass before the first thread runs. */
  while (__atomic_load_n (&traffic.n_transfers, __ATOMIC_RELAXED) == 0)
    g_thread_yield ();
  for (gint round = 2; round < 2000; round++)
    {
      g_atomic_int_set (&traffic.generation, round);
      img_epoch_wait (&traffic.epoch);
      for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
        {
          gint oldest = g_atomic_int_get (&traffic.oldest[i]);

          g_assert_true (oldest == 0 || oldest >= round);
        }
      if (round % 4 == 0)
        {
          img_gate_close (&traffic.epoch);
          g_atomic_int_set (&traffic.alone, TRUE);
          for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
            g_assert_cmpint (g_atomic_int_get (&traffic.oldest[i]), ==, 0);
          g_atomic_int_set (&traffic.alone, FALSE);
          img_gate_open (&traffic.epoch);
        }
    }
  g_atomic_int_set (&traffic.stop, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_test_message ("%u transfers", traffic.n_transfers);
  g_assert_cmpuint (traffic.n_transfers, >, 0);
  img_epoch_clear (&traffic.epoch);
}

static void
count_cb (gpointer data)
{
  ++*(guint *) data;
}

static void
test_gate (void)
{
  ImgEpoch epoch;
  ImgEpochTicket ticket;
  guint n_opened = 0;

  img_epoch_init (&epoch);
  g_assert_false (img_gate_on_open (&epoch, count_cb, &n_opened));
  g_assert_true (img_epoch_try_enter (&epoch, &ticket));
  img_epoch_leave (&epoch, ticket);
  img_gate_close (&epoch);
  g_assert_false (img_epoch_try_enter (&epoch, &ticket));
  g_assert_true (img_gate_on_open (&epoch, count_cb, &n_opened));
  g_assert_cmpuint (n_opened, ==, 0);
  img_gate_open (&epoch);
  g_assert_cmpuint (n_opened, ==, 1);
  g_assert_true (img_epoch_try_enter (&epoch, &ticket));
  img_epoch_leave (&epoch, ticket);
  img_epoch_clear (&epoch);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/common/error", test_error);
  g_test_add_func ("/common/quote", test_quote);
  g_test_add_func ("/common/quote-list", test_quote_list);
  g_test_add_func ("/common/arithmetic", test_arithmetic);
  g_test_add_func ("/common/cursor", test_cursor);
  g_test_add_func ("/common/copy", test_copy);
  g_test_add_func ("/common/alloc-fault", test_alloc_fault);
  g_test_add_func ("/park/token", test_park);
  g_test_add_func ("/park/gone", test_park_gone);
  g_test_add_func ("/park/serves", test_park_serves);
  g_test_add_func ("/park/hooks", test_park_hooks);
  g_test_add_func ("/park/wait-list", test_wait_list);
  g_test_add_func ("/park/cancel", test_cancel);
  g_test_add_func ("/epoch/grace-and-gate", test_epoch);
  g_test_add_func ("/epoch/gate", test_gate);
  return g_test_run ();
}
