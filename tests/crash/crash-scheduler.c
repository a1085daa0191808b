/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "crash-random.h"
#include "crash-scheduler.h"

/* So many turns in which every thread only asks for a mutex mean that none will get it. */
#define MAX_BLOCKED_TURNS 100000

typedef enum
{
  THREAD_RUNNABLE,
  THREAD_ASLEEP,
  THREAD_FINISHED,
} ThreadState;

static const char *const state_names[] = { "runnable", "asleep", "finished" };

typedef struct
{
  CrashScheduler *scheduler;
  char *name;
  CrashThreadFunc func;
  gpointer data;
  gboolean is_daemon;
  pthread_t thread;
  pthread_cond_t turn;
  ImgParker *parker;
  ThreadState state;
  gboolean token; /* what the parker has, seen from here */
  gboolean may_time_out;
} Thread;

struct _CrashScheduler
{
  pthread_mutex_t mutex; /* of everything below; the one thread that runs holds it only to hand over */
  pthread_cond_t main;
  GPtrArray *threads; /* of Thread */
  Thread *running;    /* NULL before and after the run */
  guint n_finished;
  guint n_working; /* neither finished nor daemons */
  CrashRandom random;
  guint64 switch_odds; /* one pause in so many lets another thread run */
  guint64 n_switches;
  guint64 trace;
  guint n_blocked_turns;
  gboolean dumping;
};

static __thread Thread *current;

static void
thread_free (gpointer data)
{
  Thread *thread = data;

  if (thread->parker != NULL)
    img_parker_unref (thread->parker);
  pthread_cond_destroy (&thread->turn);
  g_free (thread->name);
  g_free (thread);
}

CrashScheduler *
crash_scheduler_new (guint64 seed)
{
  static const guint64 odds[] = { 1, 2, 4, 16 };
  CrashScheduler *scheduler = g_new0 (CrashScheduler, 1);

  pthread_mutex_init (&scheduler->mutex, NULL);
  pthread_cond_init (&scheduler->main, NULL);
  scheduler->threads = g_ptr_array_new_with_free_func (thread_free);
  scheduler->random = crash_random (seed);
  scheduler->switch_odds = odds[crash_random_below (&scheduler->random, G_N_ELEMENTS (odds))];
  return scheduler;
}

void
crash_scheduler_free (CrashScheduler *scheduler)
{
  g_ptr_array_unref (scheduler->threads);
  pthread_cond_destroy (&scheduler->main);
  pthread_mutex_destroy (&scheduler->mutex);
  g_free (scheduler);
}

void
crash_scheduler_add (CrashScheduler *scheduler,
                     const char *name,
                     CrashThreadFunc func,
                     gpointer data,
                     gboolean is_daemon)
{
  Thread *thread = g_new0 (Thread, 1);

  thread->scheduler = scheduler;
  thread->name = g_strdup (name);
  thread->func = func;
  thread->data = data;
  thread->is_daemon = is_daemon;
  pthread_cond_init (&thread->turn, NULL);
  g_ptr_array_add (scheduler->threads, thread);
}

/* ---- whose turn it is ---- */

static void
print_stack (Thread *thread)
{
  void *frames[64];
  int n = backtrace (frames, G_N_ELEMENTS (frames));

  fprintf (stderr, "# thread %s, %s\n", thread->name, state_names[thread->state]);
  fflush (stderr);
  backtrace_symbols_fd (frames, n, STDERR_FILENO);
}

/* With the mutex held. Returns when this thread may run. */
static void
wait_for_turn (Thread *thread)
{
  CrashScheduler *scheduler = thread->scheduler;

  while (scheduler->running != thread)
    {
      pthread_cond_wait (&thread->turn, &scheduler->mutex);
      if (scheduler->running == thread && scheduler->dumping)
        {
          print_stack (thread);
          scheduler->running = NULL;
          pthread_cond_broadcast (&scheduler->main);
        }
    }
}

/* Lets each thread print its own stack, in turn, from where it waits. */
static void
die_of_deadlock (CrashScheduler *scheduler, Thread *self)
{
  fprintf (stderr, "# DEADLOCK: no thread can run (after %" G_GUINT64_FORMAT " switches)\n",
           scheduler->n_switches);
  scheduler->dumping = TRUE;
  for (guint i = 0; i < scheduler->threads->len; i++)
    {
      Thread *thread = scheduler->threads->pdata[i];

      if (thread == self)
        print_stack (thread);
      else if (thread->state != THREAD_FINISHED)
        {
          scheduler->running = thread;
          pthread_cond_signal (&thread->turn);
          while (scheduler->running != NULL)
            pthread_cond_wait (&scheduler->main, &scheduler->mutex);
        }
    }
  abort ();
}

static Thread *
pick_among (CrashScheduler *scheduler, gboolean sleepers_with_deadline)
{
  Thread *found = NULL;
  guint n = 0;

  for (guint i = 0; i < scheduler->threads->len; i++)
    {
      Thread *thread = scheduler->threads->pdata[i];
      gboolean fits = sleepers_with_deadline
                        ? thread->state == THREAD_ASLEEP && thread->may_time_out
                        : thread->state == THREAD_RUNNABLE;

      if (fits && crash_random_one_in (&scheduler->random, ++n))
        found = thread;
    }
  return found;
}

/* With the mutex held; NULL when all have finished. Time passes only when nothing else can happen. */
static Thread *
pick (CrashScheduler *scheduler, Thread *self)
{
  Thread *next = pick_among (scheduler, FALSE);

  if (next == NULL)
    next = pick_among (scheduler, TRUE);
  if (next == NULL && scheduler->n_finished < scheduler->threads->len)
    die_of_deadlock (scheduler, self);
  if (next != NULL)
    next->state = THREAD_RUNNABLE;
  return next;
}

/* With the mutex held. */
static void
hand_over (CrashScheduler *scheduler, Thread *self)
{
  Thread *next = pick (scheduler, self);

  scheduler->n_switches += next != self;
  for (guint i = 0; i < scheduler->threads->len; i++)
    if (scheduler->threads->pdata[i] == next)
      scheduler->trace = (scheduler->trace ^ (i + 1)) * 0x100000001b3u;
  scheduler->running = next;
  pthread_cond_signal (next != NULL ? &next->turn : &scheduler->main);
}

/* ---- the hooks ---- */

static void
sleep_hook (ImgParker *parker, gint64 deadline, gpointer data)
{
  CrashScheduler *scheduler = data;
  Thread *self = current;

  g_assert (self != NULL && self->parker == parker); /* nobody else waits during a run */
  pthread_mutex_lock (&scheduler->mutex);
  scheduler->n_blocked_turns = 0;
  if (!self->token && !(self->is_daemon && scheduler->n_working == 0))
    self->state = THREAD_ASLEEP;
  self->may_time_out = deadline != 0;
  hand_over (scheduler, self);
  wait_for_turn (self);
  self->token = FALSE;
  pthread_mutex_unlock (&scheduler->mutex);
}

static void
wake_hook (ImgParker *parker, gpointer data)
{
  CrashScheduler *scheduler = data;

  pthread_mutex_lock (&scheduler->mutex);
  for (guint i = 0; i < scheduler->threads->len; i++)
    {
      Thread *thread = scheduler->threads->pdata[i];

      if (thread->parker != parker || thread->state == THREAD_FINISHED)
        continue;
      thread->token = TRUE;
      thread->state = THREAD_RUNNABLE;
    }
  pthread_mutex_unlock (&scheduler->mutex);
}

static void
pause_hook (gboolean blocked, gpointer data)
{
  CrashScheduler *scheduler = data;
  Thread *self = current;

  if (self == NULL)
    return;
  pthread_mutex_lock (&scheduler->mutex);
  scheduler->n_blocked_turns = blocked ? scheduler->n_blocked_turns + 1 : 0;
  if (scheduler->n_blocked_turns > MAX_BLOCKED_TURNS)
    die_of_deadlock (scheduler, self);
  if (blocked || crash_random_one_in (&scheduler->random, scheduler->switch_odds))
    {
      hand_over (scheduler, self);
      wait_for_turn (self);
    }
  pthread_mutex_unlock (&scheduler->mutex);
}

/* ---- the run ---- */

/* With the mutex held: daemons that sleep must see that it is over. */
static void
wake_daemons (CrashScheduler *scheduler)
{
  for (guint i = 0; i < scheduler->threads->len; i++)
    {
      Thread *thread = scheduler->threads->pdata[i];

      if (thread->state == THREAD_ASLEEP)
        thread->state = THREAD_RUNNABLE;
    }
}

static void *
run_thread (void *data)
{
  Thread *self = data;
  CrashScheduler *scheduler = self->scheduler;

  current = self;
  pthread_mutex_lock (&scheduler->mutex);
  self->parker = img_parker_ref (img_parker_current ());
  scheduler->n_blocked_turns++; /* counts the threads that have started */
  pthread_cond_signal (&scheduler->main);
  wait_for_turn (self);
  pthread_mutex_unlock (&scheduler->mutex);

  self->func (self->data);

  pthread_mutex_lock (&scheduler->mutex);
  self->state = THREAD_FINISHED;
  scheduler->n_finished++;
  scheduler->n_blocked_turns = 0;
  if (!self->is_daemon && --scheduler->n_working == 0)
    wake_daemons (scheduler);
  hand_over (scheduler, self);
  pthread_mutex_unlock (&scheduler->mutex);
  current = NULL;
  return NULL;
}

static void
start_threads (CrashScheduler *scheduler)
{
  for (guint i = 0; i < scheduler->threads->len; i++)
    {
      Thread *thread = scheduler->threads->pdata[i];
      int result = pthread_create (&thread->thread, NULL, run_thread, thread);

      g_assert_cmpint (result, ==, 0);
      scheduler->n_working += !thread->is_daemon;
    }
  while (scheduler->n_blocked_turns < scheduler->threads->len)
    pthread_cond_wait (&scheduler->main, &scheduler->mutex);
  scheduler->n_blocked_turns = 0;
}

void
crash_scheduler_run (CrashScheduler *scheduler)
{
  ImgParkHooks hooks = { sleep_hook, wake_hook, pause_hook, scheduler };

  g_assert (current == NULL && scheduler->threads->len > 0);
  pthread_mutex_lock (&scheduler->mutex);
  start_threads (scheduler);
  img_park_set_hooks (&hooks);
  hand_over (scheduler, NULL);
  while (scheduler->running != NULL)
    pthread_cond_wait (&scheduler->main, &scheduler->mutex);
  pthread_mutex_unlock (&scheduler->mutex);
  for (guint i = 0; i < scheduler->threads->len; i++)
    pthread_join (((Thread *) scheduler->threads->pdata[i])->thread, NULL);
  img_park_set_hooks (NULL);
}

gboolean
crash_scheduler_is_over (CrashScheduler *scheduler)
{
  return scheduler->n_working == 0;
}

CrashScheduler *
crash_scheduler_current (void)
{
  return current != NULL ? current->scheduler : NULL;
}

void
crash_scheduler_pause (void)
{
  if (current != NULL)
    pause_hook (FALSE, current->scheduler);
}

guint64
crash_scheduler_n_switches (CrashScheduler *scheduler)
{
  return scheduler->n_switches;
}

guint64
crash_scheduler_trace (CrashScheduler *scheduler)
{
  return scheduler->trace;
}
