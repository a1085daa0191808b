/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "crash-random.h"
#include "crash-states.h"

/* How much of a request is in a state. */
typedef enum
{
  SHARE_NONE,
  SHARE_ALL,
  SHARE_TORN, /* some of its sectors */
} Share;

typedef struct
{
  const CrashEntry *entry;
  Share share;
  gboolean with_size; /* the end of the file moved, if it did */
  guint64 when;       /* the order in which the chosen ones reach the disk */
} Choice;

typedef struct
{
  CrashLog *log;
  const CrashStatesOptions *options;
  CrashStateFunc func;
  gpointer data;
  CrashRandom random;
  CrashPages *durable[CRASH_MAX_DISKS];
  guint64 flushed[CRASH_MAX_DISKS]; /* what was complete before it is durable */
  CrashState state;
  GArray *choices; /* of Choice: the later requests at this moment, as submitted */
  guint64 thin;    /* one state in so many is looked at */
  guint64 n_states;
  gboolean stopped;
} Run;

/* ---- one request onto the bytes ---- */

static void
apply_range (CrashPages *pages, const CrashEntry *entry, guint64 offset, guint64 length)
{
  if (entry->op == IMG_IO_WRITE)
    crash_pages_write (pages, offset, entry->data + (offset - entry->offset), length);
  else if (entry->op == IMG_IO_ZERO || entry->op == IMG_IO_DISCARD)
    crash_pages_zero (pages, offset, length);
}

typedef enum
{
  TEAR_HEAD, /* sectors from the start */
  TEAR_TAIL,
  TEAR_ANY,
  N_TEARS,
} Tear;

/* Returns where the request seems to end: a file system may move the end of the file in steps. */
static guint64
apply_torn (Run *run, CrashPages *pages, const CrashEntry *entry)
{
  guint64 first = entry->offset / CRASH_SECTOR;
  guint64 n = (entry->offset + entry->length - 1) / CRASH_SECTOR - first + 1;
  guint64 cut = crash_random_below (&run->random, n + 1);
  Tear tear = (Tear) crash_random_below (&run->random, N_TEARS);

  for (guint64 i = 0; i < n; i++)
    {
      guint64 start = MAX (entry->offset, (first + i) * CRASH_SECTOR);
      guint64 end = MIN (entry->offset + entry->length, (first + i + 1) * CRASH_SECTOR);

      if (tear == TEAR_HEAD ? i < cut
          : tear == TEAR_TAIL ? i >= cut
                              : crash_random_one_in (&run->random, 2))
        apply_range (pages, entry, start, end - start);
    }
  return tear == TEAR_HEAD ? MIN (entry->offset + entry->length, (first + cut) * CRASH_SECTOR)
                           : entry->offset + entry->length;
}

static guint64
size_after (const CrashEntry *entry, guint64 end, guint64 size)
{
  if (entry->op == IMG_IO_TRUNCATE)
    return entry->offset;
  if (entry->op == IMG_IO_DISCARD)
    return size;
  return MAX (size, end);
}

/* Data past the end stays until set_size () cuts it off: the size may follow. */
static void
apply (Run *run, CrashPages *pages, const Choice *choice, guint64 *size)
{
  const CrashEntry *entry = choice->entry;
  guint64 end = entry->offset + entry->length;

  if (choice->share == SHARE_ALL)
    apply_range (pages, entry, entry->offset, entry->length);
  else if (choice->share == SHARE_TORN && entry->op != IMG_IO_TRUNCATE)
    end = apply_torn (run, pages, entry);
  if (choice->share == SHARE_NONE || !choice->with_size)
    return;
  *size = size_after (entry, end, *size);
  if (entry->op == IMG_IO_TRUNCATE)
    crash_pages_set_size (pages, *size);
}

static int
compare_choices (gconstpointer a, gconstpointer b)
{
  const Choice *left = a, *right = b;

  return left->when < right->when ? -1 : left->when > right->when;
}

/* ---- one state ---- */

static void
show (Run *run, const char *family)
{
  guint64 sizes[CRASH_MAX_DISKS];
  g_autoptr (GArray) ordered = NULL;

  if (run->stopped || !crash_random_one_in (&run->random, run->thin))
    return;
  ordered = g_array_copy (run->choices);
  g_array_sort (ordered, compare_choices);
  for (guint i = 0; i < crash_log_n_disks (run->log); i++)
    sizes[i] = crash_pages_get_size (run->state.disks[i]);
  g_ptr_array_set_size (run->state.missing, 0);
  for (guint i = 0; i < ordered->len; i++)
    {
      const Choice *choice = &g_array_index (ordered, Choice, i);
      guint disk = choice->entry->disk;

      apply (run, run->state.disks[disk], choice, &sizes[disk]);
      if (choice->share != SHARE_ALL || !choice->with_size)
        g_ptr_array_add (run->state.missing, (gpointer) choice->entry);
    }
  for (guint i = 0; i < crash_log_n_disks (run->log); i++)
    crash_pages_set_size (run->state.disks[i], sizes[i]);

  run->state.family = family;
  run->n_states++;
  run->stopped = !run->func (&run->state, run->data);
  for (guint i = 0; i < crash_log_n_disks (run->log); i++)
    crash_pages_reset (run->state.disks[i]);
}

static void
choose_all (Run *run, Share share)
{
  for (guint i = 0; i < run->choices->len; i++)
    {
      Choice *choice = &g_array_index (run->choices, Choice, i);

      choice->share = share;
      choice->with_size = TRUE;
      /* As it went: a request has its effect when it completes. */
      choice->when = MIN (choice->entry->completed, run->state.time);
    }
}

/* ---- the families ---- */

static void
show_prefixes (Run *run)
{
  choose_all (run, SHARE_NONE);
  show (run, "prefix");
  for (guint i = 0; i < run->choices->len; i++)
    {
      Choice *choice = &g_array_index (run->choices, Choice, i);

      choice->share = SHARE_TORN;
      show (run, "torn end");
      choice->share = SHARE_ALL;
      show (run, "prefix");
    }
}

static void
show_singles (Run *run)
{
  for (guint i = 0; i < run->choices->len; i++)
    {
      Choice *choice = &g_array_index (run->choices, Choice, i);

      choose_all (run, SHARE_ALL);
      choice->share = SHARE_NONE;
      show (run, "one dropped");
      choice->share = SHARE_ALL;
      choice->with_size = FALSE;
      show (run, "one size dropped");
      choose_all (run, SHARE_NONE);
      choice->share = SHARE_ALL;
      show (run, "one alone");
    }
}

/* A time between a request's start and its end keeps the order of those that did not run at once. */
static guint64
random_time (Run *run, const CrashEntry *entry)
{
  guint64 end = MIN (entry->completed, run->state.time);

  return entry->submitted + crash_random_below (&run->random, end - entry->submitted + 1);
}

static void
show_random (Run *run)
{
  guint64 keep = 1 + crash_random_below (&run->random, 7); /* of 8 */

  for (guint i = 0; i < run->choices->len; i++)
    {
      Choice *choice = &g_array_index (run->choices, Choice, i);

      choice->share = crash_random_below (&run->random, 8) >= keep       ? SHARE_NONE
                      : crash_random_one_in (&run->random, 6) ? SHARE_TORN
                                                              : SHARE_ALL;
      choice->with_size = !crash_random_one_in (&run->random, 4);
      choice->when = random_time (run, choice->entry);
    }
  show (run, "random");
}

static guint64
count_states (Run *run)
{
  return 1 + 5 * (guint64) run->choices->len + run->options->n_random;
}

static void
show_moment (Run *run)
{
  show_prefixes (run);
  show_singles (run);
  for (guint i = 0; i < run->options->n_random && run->choices->len > 1; i++)
    show_random (run);
}

/* ---- moments ---- */

static int
compare_times (gconstpointer a, gconstpointer b)
{
  guint64 left = *(const guint64 *) a, right = *(const guint64 *) b;

  return left < right ? -1 : left > right;
}

/* Just before each flush is done, at each mark, and at the end. */
static GArray *
list_moments (CrashLog *log)
{
  const GPtrArray *entries = crash_log_get_entries (log);
  const GArray *marks = crash_log_get_marks (log);
  GArray *moments = g_array_new (FALSE, FALSE, sizeof (guint64));
  guint64 end = crash_log_now (log);

  for (guint i = 0; i < entries->len; i++)
    {
      const CrashEntry *entry = entries->pdata[i];

      if (entry->op == IMG_IO_FLUSH && entry->completed != CRASH_NEVER)
        g_array_append_val (moments, entry->completed);
    }
  g_array_append_vals (moments, marks->data, marks->len);
  g_array_append_val (moments, end);
  g_array_sort (moments, compare_times);
  return moments;
}

static int
compare_completion (gconstpointer a, gconstpointer b)
{
  const CrashEntry *left = *(CrashEntry *const *) a, *right = *(CrashEntry *const *) b;

  return left->completed < right->completed ? -1 : left->completed > right->completed;
}

static gboolean
is_durable (Run *run, const CrashEntry *entry)
{
  return entry->completed < run->flushed[entry->disk];
}

/* Moves the durable content of @disk to what a flush submitted at @flushed covers. */
static void
advance (Run *run, guint disk, guint64 flushed)
{
  const GPtrArray *entries = crash_log_get_entries (run->log);
  g_autoptr (GPtrArray) fresh = g_ptr_array_new ();

  for (guint i = 0; i < entries->len; i++)
    {
      CrashEntry *entry = entries->pdata[i];

      if (entry->disk == disk && entry->op != IMG_IO_FLUSH && entry->completed < flushed &&
          !is_durable (run, entry))
        g_ptr_array_add (fresh, entry);
    }
  g_ptr_array_sort (fresh, compare_completion);
  for (guint i = 0; i < fresh->len; i++)
    {
      Choice choice = { fresh->pdata[i], SHARE_ALL, TRUE, 0 };
      guint64 size = crash_pages_get_size (run->durable[disk]);

      apply (run, run->durable[disk], &choice, &size);
      crash_pages_set_size (run->durable[disk], size);
    }
  run->flushed[disk] = flushed;
  crash_pages_reset (run->state.disks[disk]); /* takes the base's size */
}

/* What is durable and what may be there when the power goes off at @time. */
static void
move_to (Run *run, guint64 time)
{
  const GPtrArray *entries = crash_log_get_entries (run->log);

  for (guint i = 0; i < entries->len; i++)
    {
      const CrashEntry *entry = entries->pdata[i];

      if (entry->op == IMG_IO_FLUSH && entry->completed < time &&
          entry->submitted > run->flushed[entry->disk])
        advance (run, entry->disk, entry->submitted);
    }
  run->state.time = time;
  g_array_set_size (run->choices, 0);
  for (guint i = 0; i < entries->len; i++)
    {
      Choice choice = { entries->pdata[i], SHARE_NONE, TRUE, 0 };

      if (choice.entry->op != IMG_IO_FLUSH && choice.entry->submitted < time &&
          !is_durable (run, choice.entry))
        g_array_append_val (run->choices, choice);
    }
}

static void
run_init (Run *run)
{
  run->choices = g_array_new (FALSE, FALSE, sizeof (Choice));
  run->state.missing = g_ptr_array_new ();
  run->thin = 1;
  for (guint i = 0; i < crash_log_n_disks (run->log); i++)
    {
      run->durable[i] = crash_pages_new (crash_log_get_base (run->log, i));
      run->state.disks[i] = crash_pages_new (run->durable[i]);
    }
}

static void
run_clear (Run *run)
{
  for (guint i = 0; i < crash_log_n_disks (run->log); i++)
    {
      crash_pages_free (run->state.disks[i]);
      crash_pages_free (run->durable[i]);
    }
  g_ptr_array_unref (run->state.missing);
  g_array_unref (run->choices);
}

/* How many states there are, by a walk that shows none. */
static guint64
count_all (CrashLog *log, const CrashStatesOptions *options, const GArray *moments)
{
  Run run = { .log = log, .options = options };
  guint64 n = 0;

  run_init (&run);
  for (guint i = 0; i < moments->len; i++)
    {
      move_to (&run, g_array_index (moments, guint64, i));
      n += count_states (&run);
    }
  run_clear (&run);
  return n;
}

guint64
crash_states_run (CrashLog *log,
                  const CrashStatesOptions *options,
                  CrashStateFunc func,
                  gpointer data)
{
  Run run = { .log = log, .options = options, .func = func, .data = data };
  g_autoptr (GArray) moments = list_moments (log);

  run_init (&run);
  run.random = crash_random (options->seed);
  if (options->max_states > 0)
    run.thin = MAX (1, count_all (log, options, moments) / options->max_states);
  for (guint i = 0; i < moments->len && !run.stopped; i++)
    {
      move_to (&run, g_array_index (moments, guint64, i));
      show_moment (&run);
    }
  run_clear (&run);
  return run.n_states;
}

void
crash_state_print (const CrashState *state)
{
  static const char *const ops[] = { "read", "write", "zero", "discard", "allocate", "truncate" };

  fprintf (stderr, "# crash at %" G_GUINT64_FORMAT ", %s; wholly or partly missing:\n",
           state->time, state->family);
  for (guint i = 0; i < state->missing->len; i++)
    {
      const CrashEntry *entry = state->missing->pdata[i];

      fprintf (stderr,
               "#   disk %u: %s %" G_GUINT64_FORMAT " +%" G_GUINT64_FORMAT ", from %" G_GUINT64_FORMAT
               " to %" G_GINT64_FORMAT "\n",
               entry->disk, ops[entry->op], entry->offset, entry->length, entry->submitted,
               (gint64) entry->completed);
    }
}
