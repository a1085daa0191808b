/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <sched.h>

#include "imago-core.h"
#include "imago-completion.h"

/* In microseconds: what a thread may spend on inline answers per iteration, and how long a source
 * may go on without a pause. */
#define BUDGET_USEC 1000
/* Requests up to SMALL bytes are timed one in SAMPLE: a look at the clock costs 2 % of a hot 4 KiB
 * read. */
#define SMALL (16 * 1024)
#define SAMPLE 16
/* Results delivered between two looks at the clock, as long as each takes less than SAMPLE_USEC. */
#define SAMPLE_USEC 16
/* Iterations without work after which a source goes away. A caller that awaits each read before it
 * starts the next leaves the source empty for a moment every time. */
#define LINGER 64
/* Arrays longer than this are not kept when they are empty. */
#define KEEP_ENTRIES 1024
#define N_LANES 4
/* A lane gathers after so many hits without a miss. */
#define GATHER_AFTER 64
/* How far to look for others of a kind. */
#define GATHER_WINDOW (2 * IMAGO_GATHER_MAX)

typedef struct
{
  GTask *task; /* owned */
  ImagoDeliverFunc deliver;
  gpointer data;
  ImagoGatherFunc gather; /* NULL: none, or done */
} Entry;

typedef struct
{
  Entry *entries;
  guint head; /* the first that has not been taken */
  guint length;
  guint allocated;
} Queue;

/* References are held by the source, the registry, lanes and holds. Only the context refers to the
 * source: it goes with its context, and says so here when it goes. */
struct _ImagoCompletion
{
  gint ref_count;        /* atomic */
  GMainContext *context; /* to compare, and to wake by those who have a task of it */
  int priority;

  /* Any thread. */
  gint removed;    /* atomic; set with the mutex: the source is going or gone */
  gint n_pending;  /* atomic: entries in incoming */
  gint asleep;     /* atomic: the context may be in poll (); whoever clears it wakes it */
  gint in_flight;  /* atomic; written with the mutex */
  guint iteration; /* atomic; written in prepare */

  ImgMutex mutex; /* taken last */
  Queue incoming;
  guint n_to_gather; /* in incoming and ready: their tasks keep the context as long as they are counted */

  /* The thread that iterates the context. */
  Queue ready;
  guint n_idle_iterations;
  gboolean busy; /* dispatched in every iteration since busy_since */
  gint64 busy_since;
  guint step;
  gboolean yield_next;
  gboolean yielding;
};

typedef struct
{
  GSource source;
  ImagoCompletion *completion;
} CompletionSource;

struct _ImagoLane
{
  GMainContext *context;
  int priority;
  ImagoCompletion *completion; /* owned; NULL: the lane is free */
  guint iteration;
  gint64 spent; /* microseconds of inline work in that iteration */
  guint n_small;
  guint n_hits; /* since the last miss */
};

typedef struct
{
  ImagoLane lanes[N_LANES];
  guint last;
  guint next_victim;
} Lanes;

/* ---- queues ---- */

static gboolean
queue_is_empty (const Queue *queue)
{
  return queue->head == queue->length;
}

static void
queue_reserve (Queue *queue, guint n_entries)
{
  if (n_entries <= queue->allocated)
    return;
  queue->allocated = MAX (MAX (2 * queue->allocated, n_entries), 64);
  queue->entries = g_renew (Entry, queue->entries, queue->allocated);
}

static void
queue_append (Queue *queue, const Entry *entry)
{
  queue_reserve (queue, queue->length + 1);
  queue->entries[queue->length++] = *entry;
}

static void
queue_clear (Queue *queue)
{
  g_free (queue->entries);
  *queue = (Queue) { 0 };
}

static void
queue_rewind (Queue *queue)
{
  if (queue->allocated > KEEP_ENTRIES)
    queue_clear (queue);
  queue->head = queue->length = 0;
}

static void
deliver_entry (const Entry *entry)
{
  entry->deliver (entry->task, entry->data);
  g_object_unref (entry->task);
}

/* ---- the source ---- */

static ImgMutex registry_mutex = IMG_MUTEX_INIT;
static GPtrArray *registry; /* of ImagoCompletion, owned; with the mutex */

static ImagoCompletion *
completion_ref (ImagoCompletion *self)
{
  g_atomic_int_inc (&self->ref_count);
  return self;
}

static void
completion_unref (ImagoCompletion *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;
  queue_clear (&self->ready);
  queue_clear (&self->incoming);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

static gboolean
has_work (ImagoCompletion *self)
{
  return !queue_is_empty (&self->ready) || __atomic_load_n (&self->n_pending, __ATOMIC_SEQ_CST) > 0;
}

/* Between the store and the second look a push either sees the flag, and wakes, or is seen. */
static gboolean
fall_asleep (ImagoCompletion *self)
{
  __atomic_store_n (&self->asleep, TRUE, __ATOMIC_SEQ_CST);
  if (!has_work (self))
    return TRUE;
  __atomic_store_n (&self->asleep, FALSE, __ATOMIC_SEQ_CST);
  return FALSE;
}

static gboolean
completion_prepare (GSource *source, gint *timeout)
{
  ImagoCompletion *self = ((CompletionSource *) source)->completion;

  __atomic_store_n (&self->iteration, self->iteration + 1, __ATOMIC_RELAXED);
  *timeout = -1;
  self->yielding = FALSE;
  if (has_work (self) || !fall_asleep (self))
    {
      self->n_idle_iterations = 0;
      if (!self->yield_next)
        return TRUE;
      self->yield_next = FALSE;
      self->busy = FALSE;
      self->yielding = TRUE;
      *timeout = 0;
      return FALSE;
    }
  self->yield_next = FALSE;
  if (g_atomic_int_get (&self->in_flight) > 0)
    self->n_idle_iterations = 0;
  else
    self->n_idle_iterations++;
  return self->n_idle_iterations > LINGER; /* dispatched once more, to be removed */
}

static gboolean
completion_check (GSource *source)
{
  ImagoCompletion *self = ((CompletionSource *) source)->completion;

  if (self->yielding)
    return FALSE;
  __atomic_store_n (&self->asleep, FALSE, __ATOMIC_SEQ_CST);
  if (has_work (self))
    return TRUE;
  self->busy = FALSE; /* lower priorities had their turn */
  return FALSE;
}

/* Moves what has come in behind what is still there from an interrupted dispatch. With the mutex. */
static void
move_incoming (ImagoCompletion *self)
{
  Queue *ready = &self->ready;
  Queue *incoming = &self->incoming;

  if (queue_is_empty (ready))
    queue_rewind (ready);
  if (queue_is_empty (ready))
    {
      Queue spare = *ready;

      *ready = *incoming;
      *incoming = spare;
    }
  else
    {
      for (guint i = 0; i < incoming->length; i++)
        queue_append (ready, &incoming->entries[i]);
      incoming->length = 0;
    }
  __atomic_store_n (&self->n_pending, 0, __ATOMIC_RELAXED);
}

static guint
count_ready (const ImagoCompletion *self)
{
  return self->ready.length - self->ready.head;
}

/* Returns the number of all that can be delivered. A worker that has woken the context may have the mutex still, or have
 * lost the processor, to this thread: this one does not sleep until it goes on, but looks again in the next iteration,
 * having let others go first. */
static guint
take_incoming (ImagoCompletion *self)
{
  if (img_mutex_trylock (&self->mutex))
    {
      move_incoming (self);
      img_mutex_unlock (&self->mutex);
    }
  else
    {
      sched_yield ();
      self->yield_next = TRUE;
    }
  return count_ready (self);
}

static gboolean
remove_if_idle (ImagoCompletion *self)
{
  if (self->n_idle_iterations <= LINGER)
    return FALSE;
  img_mutex_lock (&self->mutex);
  if (self->in_flight == 0 && self->incoming.length == 0)
    g_atomic_int_set (&self->removed, TRUE);
  img_mutex_unlock (&self->mutex);
  return self->removed;
}

/* The entry at @begin, which has not been gathered, and those of its kind that follow soon. */
static void
gather (ImagoCompletion *self, guint begin)
{
  const Queue *ready = &self->ready;
  const Entry *first = &ready->entries[begin];
  ImagoGatherFunc func = first->gather;
  gpointer object = g_task_get_source_object (first->task);
  GTask *tasks[IMAGO_GATHER_MAX];
  gpointer data[IMAGO_GATHER_MAX];
  guint end = MIN (ready->length, begin + GATHER_WINDOW);
  guint n_tasks = 0;

  for (guint i = begin; i < end && n_tasks < IMAGO_GATHER_MAX; i++)
    {
      Entry *entry = &ready->entries[i];

      if (entry->gather != func || g_task_get_source_object (entry->task) != object)
        continue;
      tasks[n_tasks] = entry->task;
      data[n_tasks++] = entry->data;
      entry->gather = NULL;
    }
  img_mutex_lock (&self->mutex);
  self->n_to_gather -= n_tasks;
  img_mutex_unlock (&self->mutex);
  func (tasks, data, n_tasks);
}

/* An entry is gone from the queue when its callback runs. */
static Entry
pop_ready (ImagoCompletion *self)
{
  Queue *ready = &self->ready;

  if (ready->entries[ready->head].gather != NULL)
    gather (self, ready->head);
  return ready->entries[ready->head++];
}

/* How many results to deliver before the next look at the clock; 0: the time is up. */
static guint
next_step (ImagoCompletion *self, gint64 *now)
{
  gint64 before = *now;

  *now = g_get_monotonic_time ();
  if (*now - self->busy_since >= BUDGET_USEC)
    return 0;
  self->step = *now - before < (gint64) self->step * SAMPLE_USEC ? SAMPLE : 1;
  return self->step;
}

/* Callbacks may run a nested loop, which dispatches this source again and finds the rest in ready.
 */
static gboolean
completion_dispatch (GSource *source, GSourceFunc callback, gpointer user_data)
{
  ImagoCompletion *self = ((CompletionSource *) source)->completion;
  guint n_left = take_incoming (self);
  guint until_clock = self->step;
  gint64 now;

  if (n_left == 0 && self->yield_next)
    return G_SOURCE_CONTINUE;
  if (n_left == 0)
    return remove_if_idle (self) ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
  now = g_source_get_time (source);
  if (!self->busy)
    {
      self->busy = TRUE;
      self->busy_since = now;
    }
  self->yield_next = self->yield_next || now - self->busy_since >= BUDGET_USEC;

  for (; n_left > 0 && !queue_is_empty (&self->ready); n_left--)
    {
      Entry entry = pop_ready (self);

      deliver_entry (&entry);
      if (--until_clock > 0)
        continue;
      until_clock = next_step (self, &now);
      if (until_clock == 0)
        {
          self->yield_next = TRUE;
          break;
        }
    }
  return G_SOURCE_CONTINUE;
}

/* Tasks are left over only if somebody destroyed the source: they take the way of GTask itself. */
static void
completion_finalize (GSource *source)
{
  ImagoCompletion *self = ((CompletionSource *) source)->completion;
  gboolean registered;

  img_mutex_lock (&self->mutex);
  g_atomic_int_set (&self->removed, TRUE);
  move_incoming (self);
  img_mutex_unlock (&self->mutex);
  img_mutex_lock (&registry_mutex);
  registered = g_ptr_array_remove_fast (registry, self);
  img_mutex_unlock (&registry_mutex);

  for (guint n_left = count_ready (self); n_left > 0; n_left--)
    deliver_entry (&self->ready.entries[self->ready.head++]);
  if (registered)
    completion_unref (self);
  completion_unref (self);
}

static GSourceFuncs completion_funcs = {
  completion_prepare, completion_check, completion_dispatch, completion_finalize, NULL, NULL,
};

static ImagoCompletion *
completion_new (GMainContext *context, int priority)
{
  ImagoCompletion *self = g_new0 (ImagoCompletion, 1);
  GSource *source = g_source_new (&completion_funcs, sizeof (CompletionSource));

  self->ref_count = 1;
  self->context = context;
  self->priority = priority;
  self->step = 1;
  img_mutex_init_brief (&self->mutex);

  ((CompletionSource *) source)->completion = completion_ref (self);
  g_source_set_static_name (source, "[imago] completions");
  g_source_set_priority (source, priority);
  g_source_set_can_recurse (source, TRUE);
  g_source_attach (source, context);
  g_source_unref (source);
  return self;
}

/* A new reference. */
static ImagoCompletion *
completion_get (GMainContext *context, int priority)
{
  ImagoCompletion *found = NULL;

  img_mutex_lock (&registry_mutex);
  if (registry == NULL)
    registry = g_ptr_array_new ();
  for (guint i = 0; i < registry->len && found == NULL; i++)
    {
      ImagoCompletion *completion = g_ptr_array_index (registry, i);

      if (completion->context == context && completion->priority == priority &&
          !g_atomic_int_get (&completion->removed))
        found = completion;
    }
  if (found == NULL)
    {
      found = completion_new (context, priority);
      g_ptr_array_add (registry, found);
    }
  completion_ref (found);
  img_mutex_unlock (&registry_mutex);
  return found;
}

/* The context is woken with the mutex held: as long as the task cannot be taken from the queue it
 * keeps its context. A worker must not keep it itself, for it might have to free it, with all that
 * the application attached to it. */
static gboolean
push (ImagoCompletion *self, const Entry *entry, gboolean gives_hold_back)
{
  gboolean pushed;

  img_mutex_lock (&self->mutex);
  if (gives_hold_back)
    g_atomic_int_add (&self->in_flight, -1);
  pushed = !self->removed;
  if (G_LIKELY (pushed))
    {
      queue_append (&self->incoming, entry);
      self->n_to_gather += entry->gather != NULL;
      __atomic_store_n (&self->n_pending, (gint) self->incoming.length, __ATOMIC_SEQ_CST);
      if (__atomic_load_n (&self->asleep, __ATOMIC_SEQ_CST) &&
          __atomic_exchange_n (&self->asleep, FALSE, __ATOMIC_SEQ_CST))
        g_main_context_wakeup (self->context);
    }
  img_mutex_unlock (&self->mutex);
  return pushed;
}

/* ---- lanes ---- */

static void
lanes_free (gpointer data)
{
  Lanes *lanes = data;

  for (guint i = 0; i < N_LANES; i++)
    if (lanes->lanes[i].completion != NULL)
      completion_unref (lanes->lanes[i].completion);
  g_free (lanes);
}

static GPrivate current_lanes = G_PRIVATE_INIT (lanes_free);

static gboolean
lane_fits (const ImagoLane *lane, GMainContext *context, int priority)
{
  return lane->context == context && lane->priority == priority && lane->completion != NULL &&
         !g_atomic_int_get (&lane->completion->removed);
}

static void
lane_set (ImagoLane *lane, GMainContext *context, int priority)
{
  ImagoCompletion *old = lane->completion;

  *lane = (ImagoLane) { context, priority, completion_get (context, priority) };
  lane->iteration = __atomic_load_n (&lane->completion->iteration, __ATOMIC_RELAXED);
  if (old != NULL)
    completion_unref (old);
}

static guint
choose_lane (Lanes *lanes, GMainContext *context, int priority)
{
  for (guint i = 0; i < N_LANES; i++)
    if (lane_fits (&lanes->lanes[i], context, priority))
      return i;
  lanes->next_victim = (lanes->next_victim + 1) % N_LANES;
  lane_set (&lanes->lanes[lanes->next_victim], context, priority);
  return lanes->next_victim;
}

ImagoLane *
imago_lane_find (GTask *task)
{
  GMainContext *context = g_task_get_context (task);
  int priority = g_task_get_priority (task);
  Lanes *lanes = g_private_get (&current_lanes);

  if (G_UNLIKELY (lanes == NULL))
    {
      lanes = g_new0 (Lanes, 1);
      g_private_set (&current_lanes, lanes);
    }
  if (G_UNLIKELY (!lane_fits (&lanes->lanes[lanes->last], context, priority)))
    lanes->last = choose_lane (lanes, context, priority);
  return &lanes->lanes[lanes->last];
}

gboolean
imago_lane_may_inline (ImagoLane *self, gsize count)
{
  guint iteration = __atomic_load_n (&self->completion->iteration, __ATOMIC_RELAXED);

  if (self->iteration != iteration)
    {
      self->iteration = iteration;
      self->spent = 0;
    }
  return count <= IMAGO_INLINE_MAX && self->spent < BUDGET_USEC;
}

gint64
imago_lane_begin (ImagoLane *self, gsize count)
{
  if (count <= SMALL && ++self->n_small % SAMPLE != 0)
    return 0;
  return g_get_monotonic_time ();
}

void
imago_lane_end (ImagoLane *self, gsize count, gint64 begun)
{
  if (begun != 0)
    self->spent += (g_get_monotonic_time () - begun) * (count <= SMALL ? SAMPLE : 1);
}

void
imago_lane_count (ImagoLane *self, gboolean is_hit)
{
  self->n_hits = is_hit ? self->n_hits + 1 : 0;
}

void
imago_lane_push_to_gather (ImagoLane *self,
                           GTask *task,
                           ImagoGatherFunc func,
                           ImagoDeliverFunc deliver,
                           gpointer data)
{
  Entry entry = { task, deliver, data, func };

  /* Removed since the lane was found: the context is iterated by another thread than this one. */
  while (G_UNLIKELY (!push (self->completion, &entry, FALSE)))
    lane_set (self, self->context, self->priority);
}

void
imago_lane_push (ImagoLane *self, GTask *task, ImagoDeliverFunc deliver, gpointer data)
{
  imago_lane_push_to_gather (self, task, NULL, deliver, data);
}

gboolean
imago_lane_may_gather (ImagoLane *self, gsize count)
{
  return count <= SMALL && self->n_hits >= GATHER_AFTER &&
         __atomic_load_n (&self->completion->n_pending, __ATOMIC_RELAXED) > 0;
}

static void
gather_all (ImagoCompletion *self, gpointer object)
{
  const Queue *ready = &self->ready;

  img_mutex_lock (&self->mutex);
  move_incoming (self);
  img_mutex_unlock (&self->mutex);
  for (guint i = ready->head; i < ready->length; i++)
    if (ready->entries[i].gather != NULL && g_task_get_source_object (ready->entries[i].task) == object)
      gather (self, i);
}

/* NULL: nothing is to be gathered. */
static GMainContext *
ref_context (ImagoCompletion *self)
{
  GMainContext *context = NULL;

  img_mutex_lock (&self->mutex);
  if (!self->removed && self->n_to_gather > 0)
    context = g_main_context_ref (self->context);
  img_mutex_unlock (&self->mutex);
  return context;
}

/* Where another thread iterates the context, that one gathers. */
void
imago_lanes_gather (gpointer object)
{
  Lanes *lanes = g_private_get (&current_lanes);

  for (guint i = 0; lanes != NULL && i < N_LANES; i++)
    {
      ImagoCompletion *completion = lanes->lanes[i].completion;
      g_autoptr (GMainContext) context = completion != NULL ? ref_context (completion) : NULL;

      if (context == NULL || !g_main_context_acquire (context))
        continue;
      gather_all (completion, object);
      g_main_context_release (context);
    }
}

/* ---- holds ---- */

ImagoCompletion *
imago_completion_hold (GTask *task)
{
  ImagoLane *lane = imago_lane_find (task);

  for (;;)
    {
      ImagoCompletion *self = lane->completion;
      gboolean held;

      img_mutex_lock (&self->mutex);
      held = !self->removed;
      if (held)
        g_atomic_int_inc (&self->in_flight);
      img_mutex_unlock (&self->mutex);
      if (held)
        return completion_ref (self);
      lane_set (lane, lane->context, lane->priority);
    }
}

void
imago_completion_push (ImagoCompletion *self, GTask *task, ImagoDeliverFunc deliver, gpointer data)
{
  Entry entry = { task, deliver, data };

  if (G_UNLIKELY (!push (self, &entry, TRUE)))
    deliver_entry (&entry); /* a hold forbids the removal, but somebody destroyed the source */
  completion_unref (self);
}
