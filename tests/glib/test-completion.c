/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How results reach main contexts. */

#include "test-gate.h"

#define SIZE (4 * 1024 * 1024)
#define COUNT 4096

typedef struct
{
  ImgStorage *gate;
  ImagoImage *image;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->gate = test_gate_new (SIZE);
  fixture->image = test_gate_open_image (fixture->gate);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_storage_unref (fixture->gate);
}

static void
finish_read (ImagoImage *image, GAsyncResult *result, guint64 offset)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (image, result, &error);

  g_assert_no_error (error);
  test_gate_check (bytes, offset, COUNT);
}

static const char *
current_source_name (void)
{
  GSource *source = g_main_current_source ();

  return source != NULL ? g_source_get_name (source) : NULL;
}

/* ---- */

static void
direct_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  /* Delivered by the source itself, not by an idle source of the task. */
  g_assert_cmpstr (current_source_name (), ==, "[imago] completions");
  finish_read (IMAGO_IMAGE (object), result, 0);
  *(gboolean *) data = TRUE;
}

static void
test_after_return (Fixture *fixture, gconstpointer data)
{
  gboolean done = FALSE;

  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, direct_cb, &done);
  g_assert_false (done);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_tries, ==, 1);
  test_iterate_until (&done);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, 0);

  /* The same through a worker, which has to wake the context. */
  test_gate_refuse_tries (fixture->gate, TRUE);
  done = FALSE;
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, direct_cb, &done);
  test_iterate_until (&done);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, 1);
}

typedef struct
{
  ImagoImage *image;
  guint n_left_to_start;
  guint n_in_flight;
  gboolean done;
  GMainContext *context;
} Chain;

static void
chain_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Chain *chain = data;

  finish_read (chain->image, result, 0);
  chain->n_in_flight--;
  if (chain->n_left_to_start > 0)
    {
      chain->n_left_to_start--;
      chain->n_in_flight++;
      imago_image_read_bytes_async (chain->image, 0, COUNT, 0, NULL, chain_cb, chain);
    }
  chain->done = chain->n_in_flight == 0;
}

static void
start_chain (Chain *chain, ImagoImage *image, guint depth, guint n)
{
  *chain = (Chain) { .image = image, .n_left_to_start = n - depth, .n_in_flight = depth };
  for (guint i = 0; i < depth; i++)
    imago_image_read_bytes_async (image, 0, COUNT, 0, NULL, chain_cb, chain);
}

static void
test_many (Fixture *fixture, gconstpointer data)
{
  Chain chain;

  start_chain (&chain, fixture->image, 32, 20000);
  test_iterate_until (&chain.done);
  g_assert_cmpuint (chain.n_left_to_start, ==, 0);
}

/* ---- nested loops ---- */

typedef struct
{
  ImagoImage *image;
  guint n_seen;
  guint n_nested;
  guint n_total;
  gboolean done;
} Nesting;

static void
nested_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Nesting *nesting = data;
  guint before = ++nesting->n_seen;

  finish_read (nesting->image, result, 0);
  /* Each of the first ones waits in a loop of its own until a later result has been delivered. */
  if (before <= 5)
    {
      nesting->n_nested++;
      while (nesting->n_seen == before)
        g_main_context_iteration (NULL, TRUE);
    }
  nesting->done = nesting->n_seen == nesting->n_total;
}

static void
test_nested_loop (Fixture *fixture, gconstpointer data)
{
  Nesting nesting = { .image = fixture->image, .n_total = 40 };

  for (guint i = 0; i < nesting.n_total; i++)
    {
      test_gate_refuse_tries (fixture->gate, i % 2 == 1);
      imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, nested_cb, &nesting);
    }
  test_iterate_until (&nesting.done);
  g_assert_cmpuint (nesting.n_nested, ==, 5);
  g_assert_cmpuint (nesting.n_seen, ==, nesting.n_total);
}

/* ---- priorities ---- */

static void
order_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GString *order = data;

  finish_read (IMAGO_IMAGE (object), result, 0);
  g_string_append_printf (order, "%d ", g_task_get_priority (G_TASK (result)));
}

static guint
count_words (const char *text)
{
  guint n = 0;

  for (; *text != '\0'; text++)
    n += *text == ' ';
  return n;
}

static void
test_priorities (Fixture *fixture, gconstpointer data)
{
  const int priorities[] = { 200, 0, -50, 100, 300, 1 };
  g_autoptr (GString) order = g_string_new (NULL);
  guint n_reads;

  /* All must be answered before the first is delivered: again if the machine is so slow that one of
   * them used up the time for inline answers and was left to a worker. */
  do
    {
      n_reads = test_gate_get_counts (fixture->gate).n_reads;
      g_string_truncate (order, 0);
      /* A source that has been busy just before may yield: give it its pause. */
      while (g_main_context_iteration (NULL, FALSE))
        ;
      for (guint i = 0; i < G_N_ELEMENTS (priorities); i++)
        imago_image_read_bytes_async (fixture->image, 0, COUNT, priorities[i], NULL, order_cb,
                                      order);
      while (count_words (order->str) < G_N_ELEMENTS (priorities))
        g_main_context_iteration (NULL, TRUE);
    }
  while (test_gate_get_counts (fixture->gate).n_reads > n_reads);
  g_assert_cmpstr (order->str, ==, "-50 0 1 100 200 300 ");
}

/* ---- cancelled between the answer and its delivery ---- */

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  TestSlot slot = { 0 };
  TestSlot other = { 0 };

  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, cancellable, test_result_cb, &slot);
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, test_result_cb, &other);
  g_cancellable_cancel (cancellable);
  g_assert_null (imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  finish_read (fixture->image, test_slot_wait (&other), 0);
  test_slot_clear (&slot);
  test_slot_clear (&other);
}

/* ---- fairness ---- */

static gboolean
set_flag_cb (gpointer data)
{
  *(gboolean *) data = TRUE;
  return G_SOURCE_REMOVE;
}

/* Reads that start the next one for ever, all answered inline, must not starve a lower priority. If
 * they did, this would not end. */
static void
test_yields (Fixture *fixture, gconstpointer data)
{
  Chain chain;

  start_chain (&chain, fixture->image, 32, G_MAXINT);
  for (guint i = 0; i < 10; i++)
    {
      gboolean redrawn = FALSE;

      g_idle_add_full (G_PRIORITY_LOW, set_flag_cb, &redrawn, NULL);
      test_iterate_until (&redrawn);
    }
  g_assert_cmpuint (chain.n_left_to_start, >, 0);
  chain.n_left_to_start = 0;
  test_iterate_until (&chain.done);
}

/* The same when a worker answers. */
static void
test_yields_to_pool (Fixture *fixture, gconstpointer data)
{
  test_gate_refuse_tries (fixture->gate, TRUE);
  test_yields (fixture, data);
}

static void
test_inline_budget (Fixture *fixture, gconstpointer data)
{
  TestSlot slots[8] = { 0 };
  TestGateCounts counts;

  /* One of these uses up the time of an iteration: the others are left to workers. */
  test_gate_slow_down (fixture->gate, 3000);
  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    imago_image_read_bytes_async (fixture->image, i * 65536, 65536, 0, NULL, test_result_cb,
                                  &slots[i]);
  counts = test_gate_get_counts (fixture->gate);
  g_assert_cmpuint (counts.n_tries, ==, 1);
  for (guint i = 0; i < G_N_ELEMENTS (slots); i++)
    {
      g_autoptr (GBytes) bytes =
        imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slots[i]), NULL);

      test_gate_check (bytes, i * 65536, 65536);
      test_slot_clear (&slots[i]);
    }
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, G_N_ELEMENTS (slots) - 1);

  /* A new iteration, a new budget. */
  imago_image_read_bytes_async (fixture->image, 0, 65536, 0, NULL, test_result_cb, &slots[0]);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_tries, ==, 2);
  test_slot_wait (&slots[0]);
  test_slot_clear (&slots[0]);
}

static void
test_large_not_inline (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GBytes) bytes = NULL;
  TestSlot slot = { 0 };

  imago_image_read_bytes_async (fixture->image, 5, 256 * 1024 + 1, 0, NULL, test_result_cb, &slot);
  bytes = imago_image_read_bytes_finish (fixture->image, test_slot_wait (&slot), NULL);
  test_gate_check (bytes, 5, 256 * 1024 + 1);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_tries, ==, 0);
  test_slot_clear (&slot);
}

/* ---- contexts ---- */

static gboolean
never_cb (gpointer data)
{
  g_assert_not_reached ();
}

static void
freed_cb (gpointer data)
{
  *(gboolean *) data = TRUE;
}

/* Something that tells when its context is freed. */
static void
attach_witness (GMainContext *context, gboolean *freed)
{
  g_autoptr (GSource) source = g_timeout_source_new_seconds (100000);

  g_source_set_callback (source, never_cb, freed, freed_cb);
  g_source_attach (source, context);
}

static void
here_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Chain *chain = data;

  g_assert_true (g_main_context_get_thread_default () == chain->context);
  g_assert_true (g_main_context_is_owner (chain->context));
  chain_cb (object, result, data);
}

static gpointer
private_context_thread (gpointer data)
{
  ImagoImage *image = data;

  for (guint round = 0; round < 50; round++)
    {
      GMainContext *context = g_main_context_new ();
      Chain chain = { .image = image,
                      .n_in_flight = 1,
                      .n_left_to_start = round % 5,
                      .context = context };
      gboolean freed = FALSE;

      g_main_context_push_thread_default (context);
      attach_witness (context, &freed);
      imago_image_read_bytes_async (image, 0, COUNT, 0, NULL, here_cb, &chain);
      while (!chain.done)
        g_main_context_iteration (context, TRUE);
      g_main_context_pop_thread_default (context);
      /* Our source is still attached: it must not keep the context alive, nor be found again in
       * another context that gets the same address. */
      g_main_context_unref (context);
      g_assert_true (freed);
    }
  return NULL;
}

static void
test_other_contexts (Fixture *fixture, gconstpointer data)
{
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("context", private_context_thread, fixture->image);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  test_gate_refuse_tries (fixture->gate, TRUE);
  private_context_thread (fixture->image);
}

typedef struct
{
  Fixture *fixture;
  GMainContext *context;
  TestSlot slots[6];
} Orphan;

static gpointer
orphan_thread (gpointer data)
{
  Orphan *orphan = data;
  GMainContext *context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < G_N_ELEMENTS (orphan->slots); i++)
    {
      /* Half of them are answered already, half of them wait for a worker. */
      test_gate_refuse_tries (orphan->fixture->gate, i % 2 == 0);
      imago_image_read_bytes_async (orphan->fixture->image, 0, COUNT, 0, NULL, test_result_cb,
                                    &orphan->slots[i]);
    }
  orphan->context = g_main_context_ref (context);
  g_main_context_pop_thread_default (context);
  g_main_context_unref (context);
  return NULL;
}

/* Its thread is gone, and with it the owner's reference, while requests are in flight. Their tasks
 * keep the context; whoever iterates it later gets the results. */
static void
test_context_left (Fixture *fixture, gconstpointer data)
{
  Orphan orphan = { .fixture = fixture };
  gboolean freed = FALSE;

  g_thread_join (g_thread_new ("orphan", orphan_thread, &orphan));
  attach_witness (orphan.context, &freed);
  g_main_context_push_thread_default (orphan.context);
  for (guint i = 0; i < G_N_ELEMENTS (orphan.slots); i++)
    finish_read (fixture->image, test_slot_wait (&orphan.slots[i]), 0);
  g_main_context_pop_thread_default (orphan.context);
  for (guint i = 0; i < G_N_ELEMENTS (orphan.slots); i++)
    test_slot_clear (&orphan.slots[i]);
  g_main_context_unref (orphan.context);
  g_assert_true (freed);
}

/* Nobody iterates the context any more: as with any GTask nothing is delivered then, and what the
 * task holds stays (reachable from the queue that it waits in), but nothing crashes. */
static void
test_context_dropped (void)
{
  static TestSlot slot;
  ImgStorage *gate = test_gate_new (SIZE);
  ImagoImage *image = test_gate_open_image (gate);
  GMainContext *context = g_main_context_new ();

  test_gate_shut (gate);
  g_main_context_push_thread_default (context);
  imago_image_read_bytes_async (image, 0, COUNT, 0, NULL, test_result_cb, &slot);
  g_main_context_pop_thread_default (context);
  test_gate_wait_inside (gate, 1);
  g_main_context_unref (context);
  test_gate_open (gate);
  /* Returns when the worker is done with the image. */
  g_assert_true (imago_image_close (image, NULL, NULL));
  g_assert_cmpuint (slot.n_calls, ==, 0);
  g_object_unref (image);
  img_storage_unref (gate);
}

/* ---- without a callback ---- */

static void
test_no_callback (Fixture *fixture, gconstpointer data)
{
  GWeakRef weak;

  g_weak_ref_init (&weak, fixture->image);
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, NULL, NULL);
  test_gate_refuse_tries (fixture->gate, TRUE);
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, NULL, NULL);
  g_clear_object (&fixture->image);
  /* The tasks keep the image until they have been returned. */
  for (;;)
    {
      g_autoptr (GObject) alive = g_weak_ref_get (&weak);

      if (alive == NULL)
        break;
      g_clear_object (&alive);
      g_main_context_iteration (NULL, TRUE);
    }
  g_weak_ref_clear (&weak);
}

/* ---- how long the source stays ---- */

/* The first source of a new context has the number 1. */
static gboolean
has_source (GMainContext *context)
{
  GSource *source = g_main_context_find_source_by_id (context, 1);

  if (source != NULL)
    g_assert_cmpstr (g_source_get_name (source), ==, "[imago] completions");
  return source != NULL;
}

static void
test_removed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  TestSlot slot = { 0 };

  g_main_context_push_thread_default (context);
  /* One read after the other: the source is not made anew for each. */
  for (guint i = 0; i < 200; i++)
    {
      imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, test_result_cb, &slot);
      finish_read (fixture->image, test_slot_wait (&slot), 0);
      test_slot_clear (&slot);
      g_assert_true (has_source (context));
    }

  /* It stays while something is in flight ... */
  test_gate_shut (fixture->gate);
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, test_result_cb, &slot);
  for (guint i = 0; i < 1000; i++)
    g_main_context_iteration (context, FALSE);
  g_assert_true (has_source (context));
  test_gate_open (fixture->gate);
  finish_read (fixture->image, test_slot_wait (&slot), 0);
  test_slot_clear (&slot);

  /* ... and goes when nothing is. */
  for (guint i = 0; i < 1000; i++)
    g_main_context_iteration (context, FALSE);
  g_assert_false (has_source (context));

  /* A later read gets another one. */
  imago_image_read_bytes_async (fixture->image, 0, COUNT, 0, NULL, test_result_cb, &slot);
  finish_read (fixture->image, test_slot_wait (&slot), 0);
  test_slot_clear (&slot);
  g_main_context_pop_thread_default (context);
}

/* ---- from threads without a context of their own ---- */

static gpointer
starter_thread (gpointer data)
{
  Chain *chain = data;

  for (guint i = 0; i < 500; i++)
    imago_image_read_bytes_async (chain->image, 0, COUNT, 0, NULL, chain_cb, chain);
  return NULL;
}

/* Their results come to the default context, which may be asleep. */
static void
test_foreign_starters (Fixture *fixture, gconstpointer data)
{
  Chain chain = { .image = fixture->image, .n_in_flight = 4 * 500 };
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("starter", starter_thread, &chain);
  test_iterate_until (&chain.done);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(path, func)                                                                            \
  g_test_add ("/glib/completion/" path, Fixture, NULL, set_up, func, tear_down)
  ADD ("after-return", test_after_return);
  ADD ("many", test_many);
  ADD ("nested-loop", test_nested_loop);
  ADD ("priorities", test_priorities);
  ADD ("cancelled", test_cancelled);
  ADD ("yields", test_yields);
  ADD ("yields-to-pool", test_yields_to_pool);
  ADD ("inline-budget", test_inline_budget);
  ADD ("large-not-inline", test_large_not_inline);
  ADD ("other-contexts", test_other_contexts);
  ADD ("context-left", test_context_left);
  g_test_add_func ("/glib/completion/context-dropped", test_context_dropped);
  ADD ("no-callback", test_no_callback);
  ADD ("removed", test_removed);
  ADD ("foreign-starters", test_foreign_starters);
  return g_test_run ();
}
