/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Each asynchronous call of the public API in each situation that an application can bring about. Which calls there
 * are is not written here but found in the introspection data (async-starters.py); how each is made stands in
 * async-calls.c, and one that is not made there is a failure. */

#include "config.h"

#include <pthread.h>
#include <string.h>

#include "async-calls.h"

typedef struct
{
  const char *function; /* without its _async */
  gpointer address;     /* of the function with it: the tag of its results */
} TestStarter;

#include "async-starters.h"

#define PRIORITY 7 /* of all calls; no default */

/* One way to call one function. */
typedef struct
{
  const TestStarter *starter; /* NULL: the call is not ours */
  const TestCall *call;
} Row;

/* ---- a pool that comes to nothing until it is told to ---- */

typedef struct
{
  ImgTask task;
  ImgPool *pool;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean is_inside;
  gboolean let_go;
} Jam;

static void
run_jam (ImgTask *task)
{
  Jam *jam = (Jam *) task;

  pthread_mutex_lock (&jam->mutex);
  jam->is_inside = TRUE;
  pthread_cond_broadcast (&jam->cond);
  while (!jam->let_go)
    pthread_cond_wait (&jam->cond, &jam->mutex);
  pthread_mutex_unlock (&jam->mutex);
}

/* @pool has one worker: what is behind this waits. */
static void
jam_push (Jam *jam, ImgPool *pool, int priority)
{
  *jam = (Jam) { { .run = run_jam, .priority = priority }, pool };
  pthread_mutex_init (&jam->mutex, NULL);
  pthread_cond_init (&jam->cond, NULL);
  g_assert_true (img_pool_push (pool, &jam->task, NULL));
}

static void
jam_begin (Jam *jam)
{
  ImgPool *pool = img_pool_new (1, 1);

  img_pool_set_default (pool);
  jam_push (jam, pool, G_MININT);
}

static void
jam_wait_inside (Jam *jam)
{
  pthread_mutex_lock (&jam->mutex);
  while (!jam->is_inside)
    pthread_cond_wait (&jam->cond, &jam->mutex);
  pthread_mutex_unlock (&jam->mutex);
}

static void
jam_let_go (Jam *jam)
{
  pthread_mutex_lock (&jam->mutex);
  jam->let_go = TRUE;
  pthread_cond_broadcast (&jam->cond);
  pthread_mutex_unlock (&jam->mutex);
}

static void
jam_clear (Jam *jam)
{
  pthread_mutex_destroy (&jam->mutex);
  pthread_cond_destroy (&jam->cond);
}

/* Nothing may be released to the pool any more. */
static void
jam_end (Jam *jam)
{
  img_pool_set_default (NULL);
  img_pool_free (jam->pool);
  jam_clear (jam);
}

/* ---- the situations ---- */

static void
settle (void)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();

  while (g_main_context_iteration (context, FALSE))
    ;
}

/* The answer is that of the function in the list, and of the priority that was asked for. */
static void
check_result (const Row *row, GAsyncResult *result)
{
  if (row->starter != NULL)
    g_assert_true (g_async_result_is_tagged (result, row->starter->address));
  g_assert_cmpint (g_task_get_priority (G_TASK (result)), ==, PRIORITY);
}

static void
expect (const Row *row, TestSubject *subject, TestSlot *slot, gboolean success)
{
  g_autoptr (GError) error = NULL;
  GAsyncResult *result = test_slot_wait (slot);
  GWeakRef alive;

  check_result (row, result);
  g_assert_true (row->call->finish (subject, result, &error) == success);
  if (success)
    g_assert_no_error (error);
  else
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  /* Exactly once: nothing more comes when everything has settled, and nobody keeps the answer. */
  settle ();
  g_assert_cmpuint (slot->n_calls, ==, 1);
  g_weak_ref_init (&alive, result);
  test_slot_clear (slot);
  g_assert_null (g_weak_ref_get (&alive));
  g_weak_ref_clear (&alive);
}

/* Nobody listens to it any more. */
static void
check_let_go (GCancellable *cancellable)
{
  settle ();
  g_assert_cmpuint (G_OBJECT (cancellable)->ref_count, ==, 1);
  g_assert_false (g_signal_has_handler_pending (
    cancellable, g_signal_lookup ("cancelled", G_TYPE_CANCELLABLE), 0, TRUE));
}

static void
test_plain (gconstpointer data)
{
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;

  test_subject_init (&subject);
  row->call->start (&subject, PRIORITY, NULL, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (row, &subject, &slot, TRUE);
  test_subject_clear (&subject);
}

static void
test_with_cancellable (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;

  test_subject_init (&subject);
  row->call->start (&subject, PRIORITY, cancellable, test_result_cb, &slot);
  expect (row, &subject, &slot, TRUE);
  g_cancellable_cancel (cancellable); /* nobody listens any more */
  settle ();
  g_assert_cmpuint (slot.n_calls, ==, 0);
  test_subject_clear (&subject);
  check_let_go (cancellable);
}

static void
test_cancelled_before (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;

  test_subject_init (&subject);
  g_cancellable_cancel (cancellable);
  row->call->start (&subject, PRIORITY, cancellable, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (row, &subject, &slot, FALSE);
  test_subject_clear (&subject);
  check_let_go (cancellable);
}

static void
test_cancelled_during (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;
  Jam jam;

  test_subject_init (&subject);
  jam_begin (&jam);
  row->call->start (&subject, PRIORITY, cancellable, test_result_cb, &slot);
  settle ();
  g_assert_cmpuint (slot.n_calls, ==, 0);
  g_cancellable_cancel (cancellable);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  if (!(row->call->flags & TEST_CALL_ABANDONS))
    jam_let_go (&jam);
  expect (row, &subject, &slot, (row->call->flags & TEST_CALL_GOES_ON) != 0);
  jam_let_go (&jam);
  test_subject_clear (&subject);
  jam_end (&jam);
  check_let_go (cancellable);
}

static gpointer
cancel_thread (gpointer data)
{
  g_cancellable_cancel (data);
  return NULL;
}

/* From another thread, at any moment: one answer, and it says what happened. */
static void
test_cancelled_racing (gconstpointer data)
{
  const Row *row = data;

  for (guint round = 0; round < 20; round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      TestSlot slot = { 0 };
      TestSubject subject;
      GThread *thread;

      test_subject_init (&subject);
      thread = g_thread_new ("cancel", cancel_thread, cancellable);
      row->call->start (&subject, PRIORITY, cancellable, test_result_cb, &slot);
      if (!row->call->finish (&subject, test_slot_wait (&slot), &error))
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      else
        g_assert_no_error (error);
      g_thread_join (thread);
      settle ();
      g_assert_cmpuint (slot.n_calls, ==, 1);
      test_slot_clear (&slot);
      test_subject_clear (&subject);
      check_let_go (cancellable);
    }
}

static void
test_no_callback (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Row *row = data;
  TestSubject subject;

  test_subject_init (&subject);
  row->call->start (&subject, PRIORITY, NULL, NULL, NULL);
  g_cancellable_cancel (cancellable);
  row->call->start (&subject, PRIORITY, cancellable, NULL, NULL);
  test_subject_drop (&subject);
  while (!test_subject_is_unused (&subject))
    {
      g_main_context_iteration (NULL, FALSE);
      g_usleep (100);
    }
  test_subject_clear (&subject);
  check_let_go (cancellable);
}

static gpointer
context_thread (gpointer data)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;

  g_main_context_push_thread_default (context);
  test_subject_init (&subject);
  row->call->start (&subject, PRIORITY, NULL, test_result_cb, &slot);
  expect (row, &subject, &slot, TRUE);
  test_subject_clear (&subject);
  g_main_context_pop_thread_default (context);
  return NULL;
}

/* Nobody iterates the default context: if the callback came from there, this would not end. */
static void
test_other_context (gconstpointer data)
{
  g_thread_join (g_thread_new ("context", context_thread, (gpointer) data));
}

static void
test_dropped (gconstpointer data)
{
  const Row *row = data;
  TestSlot slot = { 0 };
  TestSubject subject;
  TestSubject finishing;
  Jam jam;

  test_subject_init (&subject);
  jam_begin (&jam);
  row->call->start (&subject, PRIORITY, NULL, test_result_cb, &slot);
  finishing = subject; /* borrowed: the result keeps what the finish function needs */
  test_subject_drop (&subject);
  jam_let_go (&jam);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (row, &finishing, &slot, TRUE);
  test_subject_clear (&subject);
  jam_end (&jam);
}

typedef struct
{
  TestSubject subject;
  TestSlot slot;
} Ordered;

/* Two requests and, between them in priority and in time, one that holds the only worker: when the worker is
 * there the urgent request, which came last, has been answered and the other has not begun. */
static void
test_priority (gconstpointer data)
{
  const Row *row = data;
  Ordered late = { 0 }, urgent = { 0 };
  Jam first, between;

  test_subject_init (&late.subject);
  test_subject_init (&urgent.subject);
  jam_begin (&first);
  jam_wait_inside (&first);
  row->call->start (&late.subject, PRIORITY + 2, NULL, test_result_cb, &late.slot);
  jam_push (&between, first.pool, PRIORITY + 1);
  row->call->start (&urgent.subject, PRIORITY, NULL, test_result_cb, &urgent.slot);
  jam_let_go (&first);
  jam_wait_inside (&between);
  settle ();
  g_assert_cmpuint (late.slot.n_calls, ==, 0);
  expect (row, &urgent.subject, &urgent.slot, TRUE);
  jam_let_go (&between);
  test_slot_wait (&late.slot);
  test_slot_clear (&late.slot);
  test_subject_clear (&late.subject);
  test_subject_clear (&urgent.subject);
  jam_clear (&between);
  jam_end (&first);
}

/* ---- fairness ---- */

#define N_STUCK 40
#define N_WORKERS 8

static void
start_reads (ImagoImage *image, TestSlot *slots, guint n)
{
  for (guint i = 0; i < n; i++)
    imago_image_read_bytes_async (image, i * TEST_COUNT, TEST_COUNT, PRIORITY, NULL, test_result_cb,
                                  &slots[i]);
}

static void
finish_reads (ImagoImage *image, TestSlot *slots, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) bytes =
        imago_image_read_bytes_finish (image, test_slot_wait (&slots[i]), &error);

      g_assert_no_error (error);
      test_gate_check (bytes, i * TEST_COUNT, TEST_COUNT);
      test_slot_clear (&slots[i]);
    }
}

/* The requests of an image whose storage is stuck, however many and however urgent, leave half of the workers to
 * others. */
static void
test_fairness (void)
{
  ImgStorage *gates[2] = { test_gate_new (TEST_DISK_SIZE), test_gate_new (TEST_DISK_SIZE) };
  TestSlot stuck[N_STUCK] = { { 0 } }, slots[N_STUCK] = { { 0 } };
  ImgPool *pool = img_pool_new (N_WORKERS, 1);
  g_autoptr (ImagoImage) image = test_gate_open_image (gates[0]);
  g_autoptr (ImagoImage) other = test_gate_open_image (gates[1]);

  img_pool_set_default (pool);
  test_gate_shut (gates[0]);
  test_gate_refuse_tries (gates[1], TRUE);
  start_reads (image, stuck, N_STUCK);
  test_gate_wait_inside (gates[0], N_WORKERS / 2);
  start_reads (other, slots, N_STUCK);
  finish_reads (other, slots, N_STUCK);
  g_assert_cmpuint (test_gate_get_counts (gates[0]).n_inside, ==, N_WORKERS / 2);
  g_assert_cmpuint (test_gate_get_counts (gates[0]).n_reads, ==, N_WORKERS / 2);
  test_gate_open (gates[0]);
  finish_reads (image, stuck, N_STUCK);
  g_clear_object (&image);
  g_clear_object (&other);
  for (guint i = 0; i < 2; i++)
    {
      test_gate_wait_unused (gates[i]);
      img_storage_unref (gates[i]);
    }
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

/* ---- the matrix ---- */

static const struct
{
  const char *name;
  GTestDataFunc func;
} situations[] = {
  { "plain", test_plain },
  { "with-cancellable", test_with_cancellable },
  { "cancelled-before", test_cancelled_before },
  { "cancelled-during", test_cancelled_during },
  { "cancelled-racing", test_cancelled_racing },
  { "no-callback", test_no_callback },
  { "other-context", test_other_context },
  { "dropped", test_dropped },
  { "priority", test_priority },
};

static void
test_has_no_recipe (gconstpointer data)
{
  const TestStarter *starter = data;

  g_error ("async-calls.c does not say how %s_async is called", starter->function);
}

static void
test_has_no_starter (gconstpointer data)
{
  const TestCall *call = data;

  g_error ("async-calls.c calls %s_async, which is not public", call->function);
}

static void
add (const char *function, const char *variant, const char *situation, gconstpointer data, GTestDataFunc func)
{
  g_autofree char *path =
    g_strdup_printf ("/glib/async/%s%s%s/%s", strchr (function, '_') + 1, variant != NULL ? "-" : "",
                     variant != NULL ? variant : "", situation);

  g_test_add_data_func (path, data, func);
}

static GPtrArray *rows; /* of Row */

static void
add_row (const TestStarter *starter, const TestCall *call)
{
  Row *row = g_new (Row, 1);

  *row = (Row) { starter, call };
  g_ptr_array_add (rows, row);
  for (guint i = 0; i < G_N_ELEMENTS (situations); i++)
    add (call->function, call->variant, situations[i].name, row, situations[i].func);
}

static guint
add_rows (const TestStarter *starter)
{
  guint n_rows = 0;

  for (guint i = 0; i < test_n_calls; i++)
    if (g_str_equal (test_calls[i].function, starter->function))
      {
        add_row (starter, &test_calls[i]);
        n_rows++;
      }
  return n_rows;
}

static gboolean
is_public (const TestCall *call)
{
  for (guint i = 0; i < G_N_ELEMENTS (test_starters); i++)
    if (g_str_equal (test_starters[i].function, call->function))
      return TRUE;
  return FALSE;
}

int
main (int argc, char **argv)
{
  guint n_rows = 0;
  int result;

  g_test_init (&argc, &argv, NULL);
  rows = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < G_N_ELEMENTS (test_starters); i++)
    {
      guint n_added = add_rows (&test_starters[i]);

      if (n_added == 0)
        add (test_starters[i].function, NULL, "recipe", &test_starters[i], test_has_no_recipe);
      n_rows += n_added;
    }
  for (guint i = 0; i < test_n_calls; i++)
    if (!is_public (&test_calls[i]))
      add (test_calls[i].function, NULL, "starter", &test_calls[i], test_has_no_starter);
  for (guint i = 0; i < test_n_stream_calls; i++)
    add_row (NULL, &test_stream_calls[i]);
  g_test_add_func ("/glib/async/fairness", test_fairness);
  g_test_message ("%u functions, %u ways to call them, and %u calls of streams, %u situations each",
                  (guint) G_N_ELEMENTS (test_starters), n_rows, test_n_stream_calls, (guint) G_N_ELEMENTS (situations));
  result = g_test_run ();
  g_ptr_array_unref (rows);
  return result;
}
