/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The machinery of the crash tests itself, proved on a toy: a disk of 64 sectors whose map is one sector. A
 * write goes to a fresh place, a flush publishes. Done right no crash state is wrong; with one rule
 * broken, one is. */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "crash-model.h"
#include "crash-random.h"
#include "crash-states.h"
#include "img-mutant.h"

/* ---- mutants ---- */

static void
test_mutant_names (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < IMG_N_MUTANTS; i++)
    {
      const char *name = img_mutant_get_name (i);

      g_assert_nonnull (name);
      g_assert_true (g_hash_table_add (seen, (gpointer) name));
    }
}

static void
test_mutant_switch (void)
{
  for (guint i = IMG_MUTANT_NONE + 1; i < IMG_N_MUTANTS; i++)
    {
      img_mutant_set (i);
      for (guint k = IMG_MUTANT_NONE + 1; k < IMG_N_MUTANTS; k++)
        g_assert_true (img_mutant_is_on (k) == (k == i));
      g_assert_cmpuint (img_mutant_get_count (), ==, 1);
    }
  img_mutant_set (IMG_MUTANT_NONE);
  g_assert_cmpuint (img_mutant_get_count (), ==, 0);
  g_assert_false (img_mutant_is_on (IMG_MUTANT_SKIP_FLUSH_P0));
}

/* ---- pages ---- */

static void
test_pages_layers (void)
{
  g_autoptr (CrashPages) base = crash_pages_new (NULL);
  g_autoptr (CrashPages) layer = NULL;
  g_autoptr (CrashPages) copy = NULL;
  guint8 bytes[8];

  crash_pages_write (base, 4092, "12345678", 8);
  crash_pages_set_size (base, 5000);
  layer = crash_pages_new (base);
  crash_pages_write (layer, 4095, "xy", 2);
  crash_pages_set_size (layer, 4097);
  crash_pages_set_size (layer, 9000);
  crash_pages_read (layer, 4092, bytes, 8);
  g_assert_cmpmem (bytes, 8, "123xy\0\0\0", 8);
  g_assert_cmpuint (crash_pages_get_size (layer), ==, 9000);
  crash_pages_read (base, 4092, bytes, 8);
  g_assert_cmpmem (bytes, 8, "12345678", 8);
  g_assert_false (crash_pages_equal (base, layer));
  copy = crash_pages_copy (layer);
  g_assert_true (crash_pages_equal (copy, layer));
  crash_pages_reset (layer);
  g_assert_true (crash_pages_equal (base, layer));
  crash_pages_zero (layer, 0, G_MAXUINT64 / 2);
  crash_pages_read (layer, 4092, bytes, 8);
  g_assert_cmpmem (bytes, 8, "\0\0\0\0\0\0\0\0", 8);
}

/* ---- the scheduler ---- */

typedef struct
{
  ImgMutex mutex;
  ImgWaitList turn_ended;
  guint turn;
  guint counter;
  GString *order;
} Shared;

typedef struct
{
  Shared *shared;
  guint index;
} Player;

#define N_PLAYERS 4
#define N_ROUNDS 5

/* Adds to a counter without a lock, and waits for its turn with one. */
static void
player_thread (gpointer data)
{
  Player *self = data;
  Shared *shared = self->shared;

  for (guint i = 0; i < N_ROUNDS; i++)
    {
      guint seen = shared->counter;

      g_string_append_c (shared->order, (char) ('a' + self->index));
      crash_scheduler_pause ();
      shared->counter = seen + 1;

      img_mutex_lock (&shared->mutex);
      while (shared->turn % N_PLAYERS != self->index)
        img_wait_list_wait (&shared->turn_ended, &shared->mutex);
      shared->turn++;
      img_wait_list_wake_all (&shared->turn_ended);
      img_mutex_unlock (&shared->mutex);
    }
}

static char *
play (guint64 seed, guint *counter, guint64 *trace)
{
  g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (seed);
  Shared shared = { .order = g_string_new (NULL) };
  Player players[N_PLAYERS];

  img_mutex_init (&shared.mutex);
  for (guint i = 0; i < N_PLAYERS; i++)
    {
      players[i] = (Player) { &shared, i };
      crash_scheduler_add (scheduler, "player", player_thread, &players[i], FALSE);
    }
  crash_scheduler_run (scheduler);
  img_mutex_clear (&shared.mutex);
  g_assert_cmpuint (shared.turn, ==, N_PLAYERS * N_ROUNDS);
  *counter = shared.counter;
  *trace = crash_scheduler_trace (scheduler);
  return g_string_free (shared.order, FALSE);
}

static void
test_scheduler_replays (void)
{
  g_autoptr (GHashTable) orders = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint n_lost = 0;

  for (guint64 seed = 0; seed < 50; seed++)
    {
      guint counter, again;
      guint64 trace, trace_again;
      g_autofree char *replay = NULL;
      char *order = play (seed, &counter, &trace);

      replay = play (seed, &again, &trace_again);
      g_assert_cmpstr (order, ==, replay);
      g_assert_cmpuint (counter, ==, again);
      g_assert_cmpuint (trace, ==, trace_again);
      n_lost += counter < N_PLAYERS * N_ROUNDS;
      g_hash_table_add (orders, order);
    }
  g_test_message ("%u different orders of 50, %u with a lost update", g_hash_table_size (orders),
                  n_lost);
  g_assert_cmpuint (g_hash_table_size (orders), >, 25);
  g_assert_cmpuint (n_lost, >, 20);
}

static void
sleeper_thread (gpointer data)
{
  for (;;)
    img_park ();
}

static void
test_scheduler_deadlock_asleep (void)
{
  if (g_test_subprocess ())
    {
      g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (1);

      crash_scheduler_add (scheduler, "first", sleeper_thread, NULL, FALSE);
      crash_scheduler_add (scheduler, "second", sleeper_thread, NULL, FALSE);
      crash_scheduler_run (scheduler);
      return;
    }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*DEADLOCK*thread first*thread second*");
}

/* One of the two orders of two locks. */
static void
crossing_thread (gpointer data)
{
  static ImgMutex mutexes[2] = { IMG_MUTEX_INIT, IMG_MUTEX_INIT };
  guint first = GPOINTER_TO_UINT (data);

  img_mutex_lock (&mutexes[first]);
  img_mutex_lock (&mutexes[1 - first]);
  img_mutex_unlock (&mutexes[1 - first]);
  img_mutex_unlock (&mutexes[first]);
}

static void
test_scheduler_deadlock_locks (void)
{
  if (g_test_subprocess ())
    {
      for (guint64 seed = 0; seed < 100; seed++)
        {
          g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (seed);

          crash_scheduler_add (scheduler, "ab", crossing_thread, GUINT_TO_POINTER (0), FALSE);
          crash_scheduler_add (scheduler, "ba", crossing_thread, GUINT_TO_POINTER (1), FALSE);
          crash_scheduler_run (scheduler);
        }
      return;
    }
  g_test_trap_subprocess (NULL, 0, 0);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*DEADLOCK*thread ab*thread ba*");
}

static void
timer_thread (gpointer data)
{
  /* Nobody wakes it: time passes at once when nothing else can happen. */
  *(gboolean *) data = !img_park_until (g_get_monotonic_time () + G_TIME_SPAN_DAY);
}

static void
test_scheduler_deadline (void)
{
  g_autoptr (CrashScheduler) scheduler = crash_scheduler_new (7);
  gboolean timed_out = FALSE;

  crash_scheduler_add (scheduler, "timer", timer_thread, &timed_out, FALSE);
  crash_scheduler_run (scheduler);
  g_assert_true (timed_out);
}

/* ---- the toy ---- */

#define TOY_SECTORS 64

typedef enum
{
  TOY_RIGHT,
  TOY_NO_DATA_FLUSH,  /* the map may be there before the data */
  TOY_NO_MAP_FLUSH,   /* the flush is acknowledged before the map is durable */
  TOY_IN_PLACE,       /* old data is overwritten; torn if larger than a sector */
  TOY_REUSE,          /* a place is taken again before the map that left it is durable */
  TOY_WRONG_PLACE,    /* once in a while the data of the neighbour is written */
  N_TOYS,
} ToyKind;

typedef struct
{
  ToyKind kind;
  CrashLog *log;
  ImgStorage *storage;
  CrashModel *model;
  CrashRandom random;
  guint64 map[TOY_SECTORS]; /* place of each sector; 0: reads as zero */
  gboolean used[4096];
  GArray *left; /* places free after the next flush */
} Toy;

static guint64
toy_take_place (Toy *toy)
{
  for (guint64 place = 1; place < G_N_ELEMENTS (toy->used); place++)
    if (!toy->used[place])
      {
        toy->used[place] = TRUE;
        return place;
      }
  g_assert_not_reached ();
}

static void
toy_leave_place (Toy *toy, guint64 place)
{
  if (toy->kind == TOY_REUSE)
    toy->used[place] = FALSE;
  else
    g_array_append_val (toy->left, place);
}

static void
toy_write (Toy *toy, guint64 sector)
{
  guint64 value = crash_model_begin (toy->model, CRASH_CHANGE_WRITE, sector, 1);
  guint64 old = toy->map[sector];
  guint8 bytes[CRASH_SECTOR];
  guint64 stray = toy->kind == TOY_WRONG_PLACE && crash_random_one_in (&toy->random, 20);
  ImgError *error = NULL;

  crash_pattern_fill (value, sector + stray, bytes);
  if (old == 0 || toy->kind != TOY_IN_PLACE)
    toy->map[sector] = toy_take_place (toy);
  img_storage_write (toy->storage, toy->map[sector] * CRASH_SECTOR, bytes, sizeof bytes, &error);
  g_assert_null (error);
  if (old != 0 && toy->kind != TOY_IN_PLACE)
    toy_leave_place (toy, old);
  crash_model_end (toy->model, value, TRUE);
}

static void
toy_flush (Toy *toy)
{
  guint64 started = crash_model_begin_flush (toy->model);
  ImgError *error = NULL;

  if (toy->kind != TOY_NO_DATA_FLUSH)
    img_storage_flush (toy->storage, &error);
  img_storage_write (toy->storage, 0, toy->map, sizeof toy->map, &error);
  if (toy->kind != TOY_NO_MAP_FLUSH)
    img_storage_flush (toy->storage, &error);
  g_assert_null (error);
  for (guint i = 0; i < toy->left->len; i++)
    toy->used[g_array_index (toy->left, guint64, i)] = FALSE;
  g_array_set_size (toy->left, 0);
  crash_model_end_flush (toy->model, started, TRUE);
}

typedef struct
{
  Toy *toy;
  guint64 n_wrong;
  char *first_problem;
} ToyVerdict;

static gboolean
toy_check_state (const CrashState *state, gpointer data)
{
  ToyVerdict *verdict = data;
  CrashMoment moment = crash_model_at_crash (verdict->toy->model, state->time);
  guint64 map[TOY_SECTORS];

  crash_pages_read (state->disks[0], 0, map, sizeof map);
  for (guint64 i = 0; i < TOY_SECTORS; i++)
    {
      guint8 bytes[CRASH_SECTOR] = { 0 };
      char *problem;

      if (map[i] != 0)
        crash_pages_read (state->disks[0], map[i] * CRASH_SECTOR, bytes, sizeof bytes);
      problem = crash_model_check_bytes (verdict->toy->model, moment, i, bytes, 1);
      if (problem == NULL)
        continue;
      verdict->n_wrong++;
      if (verdict->first_problem == NULL)
        verdict->first_problem = problem;
      else
        g_free (problem);
    }
  return TRUE;
}

static void
toy_run (Toy *toy)
{
  for (guint i = 0; i < 200; i++)
    if (crash_random_one_in (&toy->random, 6))
      toy_flush (toy);
    else
      toy_write (toy, crash_random_below (&toy->random, TOY_SECTORS - 1));
}

static guint64
toy_count_wrong (ToyKind kind, guint64 *n_states)
{
  g_autoptr (CrashLog) log = crash_log_new (3);
  CrashStatesOptions options = { .seed = 11, .n_random = 20 };
  Toy toy = { .kind = kind, .log = log, .random = crash_random (5) };
  ToyVerdict verdict = { .toy = &toy };

  toy.storage = crash_log_add_disk (log, "toy", crash_pages_new (NULL));
  toy.left = g_array_new (FALSE, FALSE, sizeof (guint64));
  toy.model = crash_model_new (log, TOY_SECTORS, TOY_SECTORS, 0);
  crash_log_start (log);
  toy_run (&toy);
  *n_states = crash_states_run (log, &options, toy_check_state, &verdict);
  g_test_message ("toy %d: %" G_GUINT64_FORMAT " states, %" G_GUINT64_FORMAT " wrong sectors; %s",
                  kind, *n_states, verdict.n_wrong, verdict.first_problem);
  g_free (verdict.first_problem);
  crash_model_free (toy.model);
  g_array_unref (toy.left);
  img_storage_unref (toy.storage);
  return verdict.n_wrong;
}

static void
test_toy (void)
{
  for (guint kind = 0; kind < N_TOYS; kind++)
    {
      guint64 n_states;
      guint64 n_wrong = toy_count_wrong (kind, &n_states);

      g_assert_cmpuint (n_states, >, 1000);
      if (kind == TOY_RIGHT || kind == TOY_IN_PLACE) /* single sectors are never torn */
        g_assert_cmpuint (n_wrong, ==, 0);
      else
        g_assert_cmpuint (n_wrong, >, 0);
    }
}

/* ---- which states there are ---- */

typedef struct
{
  GHashTable *seen; /* "bytes/size" of the two sectors */
} Seen;

static gboolean
collect_state (const CrashState *state, gpointer data)
{
  Seen *seen = data;
  char bytes[4];
  guint64 size = crash_pages_get_size (state->disks[0]);

  for (guint i = 0; i < sizeof bytes; i++)
    {
      crash_pages_read (state->disks[0], i * CRASH_SECTOR, &bytes[i], 1);
      bytes[i] = bytes[i] == 0 ? '.' : bytes[i];
    }
  g_hash_table_add (seen->seen, g_strdup_printf ("%.4s/%d", bytes, (int) (size / CRASH_SECTOR)));
  return TRUE;
}

static void
write_sectors (ImgStorage *storage, guint64 sector, const char *letters)
{
  guint n = (guint) strlen (letters);
  g_autofree guint8 *bytes = g_malloc (n * CRASH_SECTOR);
  ImgError *error = NULL;

  for (guint i = 0; i < n; i++)
    memset (bytes + i * CRASH_SECTOR, letters[i], CRASH_SECTOR);
  img_storage_write (storage, sector * CRASH_SECTOR, bytes, n * CRASH_SECTOR, &error);
  g_assert_null (error);
}

static void
assert_states (CrashLog *log, const char *const *wanted, const char *const *unwanted)
{
  Seen seen = { g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL) };
  CrashStatesOptions options = { .seed = 1, .n_random = 5000 };

  crash_states_run (log, &options, collect_state, &seen);
  for (guint i = 0; wanted[i] != NULL; i++)
    if (!g_hash_table_contains (seen.seen, wanted[i]))
      g_error ("The state %s was not shown", wanted[i]);
  for (guint i = 0; unwanted[i] != NULL; i++)
    if (g_hash_table_contains (seen.seen, unwanted[i]))
      g_error ("The state %s was shown", unwanted[i]);
  g_hash_table_unref (seen.seen);
}

static void
test_states_what_is_possible (void)
{
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
  const char *const wanted[] = { "..../0", "A.../1", "AA../2", "..../2", "A.../2", ".A../2",
                                 "AAB./3", "..B./3", "AA../3", "A.B./3", "CA../2", "CAB./3",
                                 "C.B./3", "..../3", NULL };
  /* C is newer than the A of sector 0, which is complete: A never wins where both are there, but C may
   * be missing. B never lies past the end. */
  const char *const unwanted[] = { "AAB./2", "..B./2", "CC../2", NULL };

  crash_log_start (log);
  write_sectors (storage, 0, "AA");
  write_sectors (storage, 2, "B");
  write_sectors (storage, 0, "C");
  assert_states (log, wanted, unwanted);
}

static void
test_states_what_is_durable (void)
{
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
  const char *const wanted[] = { "..../0", "A.../1", "AB../2", "A.../2", ".B../2", "ABC./3",
                                 "AB../3", "ABCD/4", "AB.D/4", NULL };
  const char *const unwanted[] = { "A.C./3", ".BC./3", "A..D/4", "..CD/4", NULL };
  ImgError *error = NULL;

  crash_log_start (log);
  write_sectors (storage, 0, "A");
  write_sectors (storage, 1, "B");
  img_storage_flush (storage, &error);
  write_sectors (storage, 2, "C");
  write_sectors (storage, 3, "D");
  g_assert_null (error);
  assert_states (log, wanted, unwanted);
}

static void
test_states_changes_of_size (void)
{
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
  const char *const wanted[] = { "ABC./3", "A.../1", "..C./3", ".B../3", "..../3", "A.../4",
                                 "ABC./4", "A.C./3", NULL };
  const char *const unwanted[] = { "AB../1", NULL };
  ImgError *error = NULL;

  write_sectors (storage, 0, "ABC");
  crash_log_start (log);
  img_storage_zero (storage, 0, CRASH_SECTOR, 0, &error);
  img_storage_discard (storage, CRASH_SECTOR, CRASH_SECTOR, &error);
  img_storage_discard (storage, 2 * CRASH_SECTOR, CRASH_SECTOR, &error);
  img_storage_truncate (storage, CRASH_SECTOR, &error);
  img_storage_truncate (storage, 4 * CRASH_SECTOR, &error);
  g_assert_null (error);
  assert_states (log, wanted, unwanted);
}

/* Parts of sectors: D and E lie in sector 0, F reaches from sector 1 into sector 2. */
static const struct
{
  char letter;
  guint64 offset;
  guint64 length;
} parts[] = {
  { 'D', 16, 100 },
  { 'E', 300, 8 },
  { 'F', CRASH_SECTOR + 400, 200 },
};

typedef struct
{
  gboolean seen[1 << 4];
  guint n_states;
} SeenParts;

/* Which of the pieces are there: D, E, and F in each of its sectors. None may be there in part. */
static gboolean
collect_parts (const CrashState *state, gpointer data)
{
  SeenParts *self = data;
  char bytes[3 * CRASH_SECTOR];
  guint mask = 0, bit = 0;

  crash_pages_read (state->disks[0], 0, bytes, sizeof bytes);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    for (guint64 at = parts[i].offset; at < parts[i].offset + parts[i].length; bit++)
      {
        guint64 sector_end = (at / CRASH_SECTOR + 1) * CRASH_SECTOR;
        guint64 end = MIN (sector_end, parts[i].offset + parts[i].length);
        gboolean is_new = bytes[at] == parts[i].letter;

        if (is_new)
          mask |= 1u << bit;
        for (; at < end; at++)
          {
            g_assert_cmpint (bytes[at], ==, is_new ? parts[i].letter : "ABC"[at / CRASH_SECTOR]);
            bytes[at] = "ABC"[at / CRASH_SECTOR];
          }
      }
  /* What belongs to no request is as it was. */
  for (guint i = 0; i < sizeof bytes; i++)
    g_assert_cmpint (bytes[i], ==, "ABC"[i / CRASH_SECTOR]);
  g_assert_cmpuint (bit, ==, 4);
  self->seen[mask] = TRUE;
  self->n_states++;
  return TRUE;
}

static void
test_states_parts_of_sectors (void)
{
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
  CrashStatesOptions options = { .seed = 1, .n_random = 2000 };
  SeenParts seen = { { FALSE } };
  ImgError *error = NULL;

  write_sectors (storage, 0, "ABC");
  crash_log_start (log);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    {
      g_autofree char *bytes = g_strnfill (parts[i].length, parts[i].letter);

      img_storage_write (storage, parts[i].offset, bytes, parts[i].length, &error);
      g_assert_null (error);
    }
  crash_states_run (log, &options, collect_parts, &seen);
  for (guint i = 0; i < G_N_ELEMENTS (seen.seen); i++)
    if (!seen.seen[i])
      g_error ("None of %u states has the pieces %x", seen.n_states, i);
}

/* ---- faults ---- */

static void
test_faults_effects (void)
{
  for (guint effect = CRASH_FAULT_BEFORE; effect <= CRASH_FAULT_AFTER; effect++)
    {
      static const char *const expected[] = { "....", "AA..", "AAAA" };
      g_autoptr (CrashLog) log = crash_log_new (1);
      g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
      CrashFault fault = { 2, ENOSPC, FALSE, effect, 1u << IMG_IO_WRITE };
      guint8 bytes[4 * CRASH_SECTOR];
      ImgError *error = NULL;

      memset (bytes, 'A', sizeof bytes);
      crash_log_set_fault (log, &fault);
      g_assert_true (img_storage_flush (storage, NULL));
      g_assert_true (img_storage_write (storage, 8 * CRASH_SECTOR, bytes, CRASH_SECTOR, NULL));
      g_assert_false (crash_log_has_failed (log));
      g_assert_false (img_storage_write (storage, 0, bytes, sizeof bytes, &error));
      g_assert_cmpint (error->system_errno, ==, ENOSPC);
      img_error_free (error);
      g_assert_true (crash_log_has_failed (log));
      for (guint i = 0; i < 4; i++)
        {
          g_assert_true (img_storage_read (storage, i * CRASH_SECTOR, bytes, 1, NULL));
          g_assert_cmpint (bytes[0], ==, expected[effect][i] == 'A' ? 'A' : 0);
        }
      g_assert_true (img_storage_write (storage, 0, bytes, CRASH_SECTOR, NULL));
    }
}

static void
test_faults_flush_sticks (void)
{
  g_autoptr (CrashLog) log = crash_log_new (1);
  g_autoptr (ImgStorage) storage = crash_log_add_disk (log, "x", crash_pages_new (NULL));
  CrashFault fault = { 1, EIO, FALSE, CRASH_FAULT_BEFORE, 1u << IMG_IO_FLUSH };

  crash_log_set_fault (log, &fault);
  g_assert_false (img_storage_flush (storage, NULL));
  g_assert_false (img_storage_flush (storage, NULL));
  crash_log_set_fault (log, NULL);
  g_assert_true (img_storage_flush (storage, NULL));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/crash/mechanism/mutant-names", test_mutant_names);
  g_test_add_func ("/crash/mechanism/mutant-switch", test_mutant_switch);
  g_test_add_func ("/crash/mechanism/pages-layers", test_pages_layers);
  g_test_add_func ("/crash/mechanism/scheduler-replays", test_scheduler_replays);
  g_test_add_func ("/crash/mechanism/scheduler-deadline", test_scheduler_deadline);
  g_test_add_func ("/crash/mechanism/scheduler-deadlock-asleep", test_scheduler_deadlock_asleep);
  g_test_add_func ("/crash/mechanism/scheduler-deadlock-locks", test_scheduler_deadlock_locks);
  g_test_add_func ("/crash/mechanism/states-possible", test_states_what_is_possible);
  g_test_add_func ("/crash/mechanism/states-durable", test_states_what_is_durable);
  g_test_add_func ("/crash/mechanism/states-sizes", test_states_changes_of_size);
  g_test_add_func ("/crash/mechanism/parts-of-sectors", test_states_parts_of_sectors);
  g_test_add_func ("/crash/mechanism/toy", test_toy);
  g_test_add_func ("/crash/mechanism/faults-effects", test_faults_effects);
  g_test_add_func ("/crash/mechanism/faults-flush-sticks", test_faults_flush_sticks);
  return g_test_run ();
}
