/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "imago-glib/imago-owner-queue.h"

typedef struct
{
  GThread *ran_on;
  GMainContext
    *context; /* the thread-default one in the call; not a reference, to be compared only */
  gint n_runs;
  gint n_freed;
  gboolean finish_later;
  gboolean was_iterated;
} Probe;

static gboolean
later_cb (gpointer data)
{
  imago_owner_call_finish (data);
  return G_SOURCE_REMOVE;
}

static void
attach_later (ImagoOwnerCall *call)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();
  g_autoptr (GSource) source = g_timeout_source_new (5);

  g_source_set_callback (source, later_cb, imago_owner_call_ref (call),
                         (GDestroyNotify) imago_owner_call_unref);
  g_source_attach (source, context);
}

static void
probe_cb (ImagoOwnerCall *call, gpointer data)
{
  Probe *probe = data;

  probe->ran_on = g_thread_self ();
  probe->context = g_main_context_get_thread_default ();
  g_atomic_int_inc (&probe->n_runs);
  if (probe->finish_later)
    attach_later (call);
  else
    imago_owner_call_finish (call);
}

static void
freed_cb (gpointer data)
{
  Probe *probe = data;

  g_atomic_int_inc (&probe->n_freed);
}

static void
close_queue (ImagoOwnerQueue *queue)
{
  imago_owner_queue_close (queue);
  imago_owner_queue_unref (queue);
}

/* ---- the asking thread is the owner ---- */

static void
test_direct (gconstpointer finish_later)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { .finish_later = GPOINTER_TO_INT (finish_later) };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  ImgError *error = NULL;

  g_assert_true (imago_owner_queue_run (queue, call, NULL, &error));
  g_assert_null (error);
  g_assert_true (probe.ran_on == g_thread_self ());
  g_assert_cmpint (probe.n_runs, ==, 1);
  g_assert_cmpint (probe.n_freed, ==, 1);
  g_assert_nonnull (probe.context); /* private: NULL is what it was before, and is again */
  g_assert_true (probe.context != g_main_context_default ());
  g_assert_null (g_main_context_get_thread_default ());
  close_queue (queue);
}

static gboolean
forbidden_cb (gpointer data)
{
  *(gboolean *) data = TRUE;
  return G_SOURCE_REMOVE;
}

static void
test_direct_leaves_main_context_alone (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { .finish_later = TRUE };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  gboolean was_iterated = FALSE;

  g_idle_add_full (G_PRIORITY_HIGH, forbidden_cb, &was_iterated, NULL);
  g_assert_true (imago_owner_queue_run (queue, call, NULL, NULL));
  g_assert_false (was_iterated);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_true (was_iterated);
  close_queue (queue);
}

static void
never_cb (ImagoOwnerCall *call, gpointer data)
{
  Probe *probe = data;

  g_atomic_int_inc (&probe->n_runs);
}

static gpointer
trigger_thread (gpointer data)
{
  g_usleep (20000);
  img_cancel_trigger (data);
  return NULL;
}

static void
test_direct_cancelled (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { 0 };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (never_cb, &probe, freed_cb);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  GThread *thread = g_thread_new ("trigger", trigger_thread, cancel);
  g_autoptr (ImgError) error = NULL;

  g_assert_false (imago_owner_queue_run (queue, call, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  g_assert_cmpint (probe.n_runs, ==, 1);
  g_assert_true (imago_owner_call_is_finished (call));
  g_thread_join (thread);
  close_queue (queue);
}

static void
test_cancelled_before (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { 0 };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;

  img_cancel_trigger (cancel);
  g_assert_false (imago_owner_queue_run (queue, call, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  g_assert_cmpint (probe.n_runs, ==, 0);
  g_assert_cmpint (probe.n_freed, ==, 1);
  close_queue (queue);
}

/* ---- another thread asks ---- */

typedef struct
{
  ImagoOwnerQueue *queue;
  ImagoOwnerCall *call;
  ImgCancel *cancel;
  ImgError *error;
  gboolean success;
  gint is_done;
  ImgParker *wake; /* nullable: told when done */
  GMainLoop *loop; /* nullable: quit when done */
} Asker;

static gboolean
quit_cb (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static gpointer
ask_thread (gpointer data)
{
  Asker *asker = data;

  asker->success = imago_owner_queue_run (asker->queue, asker->call, asker->cancel, &asker->error);
  g_atomic_int_set (&asker->is_done, TRUE);
  if (asker->wake != NULL)
    img_unpark (asker->wake);
  if (asker->loop != NULL)
    g_main_context_invoke (g_main_loop_get_context (asker->loop), quit_cb, asker->loop);
  return NULL;
}

static void
test_loop (gconstpointer finish_later)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { .finish_later = GPOINTER_TO_INT (finish_later) };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Asker asker = { .queue = queue, .call = call, .loop = loop };
  GThread *thread = g_thread_new ("asker", ask_thread, &asker);

  g_main_loop_run (loop);
  g_thread_join (thread);
  g_assert_true (asker.success);
  g_assert_true (probe.ran_on == g_thread_self ());
  g_assert_null (probe.context);
  g_assert_cmpint (probe.n_freed, ==, 1);
  close_queue (queue);
}

/* The main thread sleeps inside of the library for something else. */
static void
park_until_done (Asker *asker)
{
  while (!g_atomic_int_get (&asker->is_done))
    img_park ();
}

static void
test_parked (gconstpointer finish_later)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe probe = { .finish_later = GPOINTER_TO_INT (finish_later) };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  Asker asker = { .queue = queue, .call = call, .wake = img_parker_current () };
  GThread *thread = g_thread_new ("asker", ask_thread, &asker);

  park_until_done (&asker);
  g_thread_join (thread);
  g_assert_true (asker.success);
  g_assert_true (probe.ran_on == g_thread_self ());
  g_assert_nonnull (probe.context);
  close_queue (queue);
}

/* The call that is being served waits for a second one that another thread makes. */
typedef struct
{
  Asker inner;
  Probe probe;
  GThread *thread;
} Nested;

static void
nested_cb (ImagoOwnerCall *call, gpointer data)
{
  Nested *nested = data;

  nested->thread = g_thread_new ("inner asker", ask_thread, &nested->inner);
  while (!g_atomic_int_get (&nested->inner.is_done))
    {
      Probe own = { .finish_later = TRUE };
      g_autoptr (ImagoOwnerCall) direct = imago_owner_call_new (probe_cb, &own, NULL);

      g_assert_true (imago_owner_queue_run (nested->inner.queue, direct, NULL, NULL));
    }
  imago_owner_call_finish (call);
}

static void
test_parked_nested (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Nested nested = { .inner = { .queue = queue } };
  g_autoptr (ImagoOwnerCall) outer = imago_owner_call_new (nested_cb, &nested, NULL);
  Asker asker = { .queue = queue, .call = outer, .wake = img_parker_current () };
  GThread *thread;

  nested.inner.call = imago_owner_call_new (probe_cb, &nested.probe, freed_cb);
  thread = g_thread_new ("asker", ask_thread, &asker);
  park_until_done (&asker);
  g_thread_join (thread);
  g_thread_join (nested.thread);
  g_assert_true (asker.success);
  g_assert_true (nested.inner.success);
  g_assert_cmpint (nested.probe.n_runs, ==, 1);
  g_assert_true (nested.probe.ran_on == g_thread_self ());
  imago_owner_call_unref (nested.inner.call);
  close_queue (queue);
}

/* The context is made here, but a second thread iterates it and then parks. */
typedef struct
{
  GMainContext *context;
  Asker *asker;
  gint is_ready;
} Mover;

static gpointer
moved_owner_thread (gpointer data)
{
  Mover *mover = data;

  g_main_context_push_thread_default (mover->context);
  while (g_main_context_iteration (mover->context, FALSE))
    ;
  mover->asker->wake = img_parker_ref (img_parker_current ());
  g_atomic_int_set (&mover->is_ready, TRUE);
  park_until_done (mover->asker);
  g_main_context_pop_thread_default (mover->context);
  return NULL;
}

static void
test_owner_moves (void)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Probe probe = { 0 };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  Asker asker = { .call = call };
  Mover mover = { .context = context, .asker = &asker };
  GThread *owner, *thread;

  g_main_context_push_thread_default (context);
  asker.queue = imago_owner_queue_new ();
  g_main_context_pop_thread_default (context);
  owner = g_thread_new ("owner", moved_owner_thread, &mover);
  while (!g_atomic_int_get (&mover.is_ready))
    g_usleep (1000);
  thread = g_thread_new ("asker", ask_thread, &asker);
  g_thread_join (thread);
  g_assert_true (asker.success);
  g_assert_true (probe.ran_on == owner);
  g_thread_join (owner);
  img_parker_unref (asker.wake);
  close_queue (asker.queue);
}

static void
test_never_iterated (void)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  Probe probe = { 0 };
  g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, freed_cb);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  Asker asker = { .call = call, .cancel = cancel };
  GThread *thread;

  g_main_context_push_thread_default (context);
  asker.queue = imago_owner_queue_new ();
  g_main_context_pop_thread_default (context);
  thread = g_thread_new ("asker", ask_thread, &asker);
  g_usleep (20000);
  g_assert_false (g_atomic_int_get (&asker.is_done));
  img_cancel_trigger (cancel);
  g_thread_join (thread);
  g_assert_false (asker.success);
  g_assert_true (img_error_matches (asker.error, IMG_CODE_CANCELLED));
  img_error_free (asker.error);
  g_assert_cmpint (probe.n_runs, ==, 0);

  /* What belongs to the owner waits for the owner. */
  g_assert_cmpint (probe.n_freed, ==, 0);
  while (g_main_context_iteration (context, FALSE))
    ;
  g_assert_cmpint (probe.n_freed, ==, 1);
  g_assert_cmpint (probe.n_runs, ==, 0);
  close_queue (asker.queue);
}

static void
test_closed (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe before = { 0 }, after = { 0 };
  g_autoptr (ImagoOwnerCall) first = imago_owner_call_new (probe_cb, &before, freed_cb);
  g_autoptr (ImagoOwnerCall) second = imago_owner_call_new (probe_cb, &after, freed_cb);

  imago_owner_queue_push (queue, first);
  imago_owner_queue_close (queue);
  g_assert_true (imago_owner_call_is_finished (first));
  imago_owner_queue_push (queue, second);
  g_assert_true (imago_owner_call_is_finished (second));
  g_assert_cmpint (before.n_runs + after.n_runs, ==, 0);
  g_assert_cmpint (before.n_freed, ==, 1);
  g_assert_cmpint (after.n_freed, ==, 1);
  imago_owner_queue_unref (queue);
}

static gpointer
release_thread (gpointer data)
{
  gpointer *arguments = data;

  imago_owner_queue_release (arguments[0], arguments[1], freed_cb);
  return NULL;
}

static void
test_release (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  Probe here = { 0 }, there = { 0 };
  gpointer arguments[] = { queue, &there };

  imago_owner_queue_release (queue, &here, freed_cb);
  g_assert_cmpint (here.n_freed, ==, 1);
  g_thread_join (g_thread_new ("releaser", release_thread, arguments));
  g_assert_cmpint (there.n_freed, ==, 0);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpint (there.n_freed, ==, 1);
  close_queue (queue);
}

/* Many threads ask one owner that alternates between its loop and parking. */
#define N_ASKERS 8
#define N_ROUNDS 200

static gint n_askers_left;

static gpointer
ask_often_thread (gpointer queue)
{
  for (guint i = 0; i < N_ROUNDS; i++)
    {
      Probe probe = { .finish_later = i % 50 == 0 };
      g_autoptr (ImagoOwnerCall) call = imago_owner_call_new (probe_cb, &probe, NULL);

      g_assert_true (imago_owner_queue_run (queue, call, NULL, NULL));
      g_assert_cmpint (g_atomic_int_get (&probe.n_runs), ==, 1);
    }
  g_atomic_int_dec_and_test (&n_askers_left);
  return NULL;
}

static void
test_many (void)
{
  ImagoOwnerQueue *queue = imago_owner_queue_new ();
  GThread *threads[N_ASKERS];

  n_askers_left = N_ASKERS;
  for (guint i = 0; i < N_ASKERS; i++)
    threads[i] = g_thread_new ("asker", ask_often_thread, queue);
  for (guint round = 0; g_atomic_int_get (&n_askers_left) > 0; round++)
    if (round % 2 == 0)
      img_park_until (g_get_monotonic_time () + 2000);
    else
      g_main_context_iteration (NULL, FALSE);
  for (guint i = 0; i < N_ASKERS; i++)
    g_thread_join (threads[i]);
  close_queue (queue);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/owner-queue/direct", GINT_TO_POINTER (FALSE), test_direct);
  g_test_add_data_func ("/owner-queue/direct-later", GINT_TO_POINTER (TRUE), test_direct);
  g_test_add_func ("/owner-queue/direct-leaves-main-context-alone",
                   test_direct_leaves_main_context_alone);
  g_test_add_func ("/owner-queue/direct-cancelled", test_direct_cancelled);
  g_test_add_func ("/owner-queue/cancelled-before", test_cancelled_before);
  g_test_add_data_func ("/owner-queue/loop", GINT_TO_POINTER (FALSE), test_loop);
  g_test_add_data_func ("/owner-queue/loop-later", GINT_TO_POINTER (TRUE), test_loop);
  g_test_add_data_func ("/owner-queue/parked", GINT_TO_POINTER (FALSE), test_parked);
  g_test_add_data_func ("/owner-queue/parked-later", GINT_TO_POINTER (TRUE), test_parked);
  g_test_add_func ("/owner-queue/parked-nested", test_parked_nested);
  g_test_add_func ("/owner-queue/owner-moves", test_owner_moves);
  g_test_add_func ("/owner-queue/never-iterated", test_never_iterated);
  g_test_add_func ("/owner-queue/closed", test_closed);
  g_test_add_func ("/owner-queue/release", test_release);
  g_test_add_func ("/owner-queue/many", test_many);
  return g_test_run ();
}
