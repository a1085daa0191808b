/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-simple-storages.h"
#include "qcow2/img-table-cache.h"
#include "test-storages.h"

#define SLICE 4096u
#define WORDS (SLICE / 8)

static guint64
word_at (guint64 slice, guint index)
{
  return (slice * WORDS + index + 1) * 0x9e3779b97f4a7c15u;
}

/* Slice 0 of the file is never asked for: offset 0 is no table. */
static ImgStorage *
tables_new (guint n_slices)
{
  guint64 *words = g_new (guint64, (gsize) n_slices * WORDS);
  g_autoptr (GBytes) bytes = NULL;

  for (guint slice = 0; slice < n_slices; slice++)
    for (guint i = 0; i < WORDS; i++)
      words[slice * WORDS + i] = GUINT64_TO_BE (word_at (slice, i));
  bytes = g_bytes_new_take (words, (gsize) n_slices * SLICE);
  return img_memory_storage_new (bytes);
}

static ImgMapResult
read_word (ImgTableCache *cache,
           guint64 slice,
           guint index,
           ImgMapFlags flags,
           guint64 *word,
           ImgError **error)
{
  ImgTableView view;

  do
    {
      ImgMapResult result = img_table_cache_look (cache, slice, slice * SLICE, flags, &view, error);

      if (result != IMG_MAP_OK)
        return result;
      *word = img_table_view_get (&view, index);
    }
  while (!img_table_view_end (&view));
  return IMG_MAP_OK;
}

static void
assert_word (ImgTableCache *cache, guint64 slice, guint index)
{
  guint64 word;

  g_assert_cmpint (read_word (cache, slice, index, IMG_MAP_NONE, &word, NULL), ==, IMG_MAP_OK);
  g_assert_cmphex (word, ==, word_at (slice, index));
}

static ImgTableCache *
cache_new (ImgStorage *storage, guint64 n_slices, gsize budget)
{
  ImgTableCache *cache = img_table_cache_new (storage, SLICE, n_slices, budget, NULL);

  g_assert_nonnull (cache);
  return cache;
}

static void
test_size (void)
{
  static const struct
  {
    guint64 n_slices;
    gsize budget;
    gsize size;
  } rows[] = {
    { 0, 16 << 20, 8 * SLICE },        { 1, 16 << 20, 8 * SLICE },
    { 8, 16 << 20, 8 * SLICE },        { 9, 16 << 20, 16 * SLICE },
    { 1000, 16 << 20, 1024 * SLICE },  { 1 << 20, 16 << 20, 16 << 20 },
    { 1 << 20, 1, 8 * SLICE },         { 1 << 20, 100000, 16 * SLICE },
    { G_MAXUINT64, 1 << 20, 1 << 20 },
  };
  g_autoptr (ImgStorage) storage = tables_new (1);

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (ImgTableCache) cache = cache_new (storage, rows[i].n_slices, rows[i].budget);

      g_assert_cmpuint (img_table_cache_get_size (cache), ==, rows[i].size);
    }
}

/* A disk whose slices all fit reads each once, whatever the order. */
static void
test_all_fit (void)
{
  g_autoptr (ImgStorage) base = tables_new (1025);
  g_autoptr (ImgStorage) storage = test_counting_storage_new (base);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 1024, 16 << 20);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (guint slice = 1; slice < 1024; slice++)
    assert_word (cache, slice, slice % WORDS);
  g_assert_cmpuint (test_counting_storage_take (storage).n_reads, ==, 1023);
  for (guint i = 0; i < 100000; i++)
    assert_word (cache, (guint) g_rand_int_range (random, 1, 1024),
                 (guint) g_rand_int_range (random, 0, WORDS));
  g_assert_cmpuint (test_counting_storage_take (storage).n_reads, ==, 0);
}

static void
test_try (void)
{
  g_autoptr (ImgStorage) base = tables_new (64);
  g_autoptr (ImgStorage) storage = test_counting_storage_new (base);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 1);
  guint64 word = 0;

  g_assert_cmpint (read_word (cache, 5, 3, IMG_MAP_TRY, &word, NULL), ==, IMG_MAP_WOULD_BLOCK);
  g_assert_cmpuint (test_counting_storage_take (storage).n_reads, ==, 0);
  assert_word (cache, 5, 3);
  g_assert_cmpint (read_word (cache, 5, 3, IMG_MAP_TRY, &word, NULL), ==, IMG_MAP_OK);
  g_assert_cmphex (word, ==, word_at (5, 3));
}

/* A slice that is hit again and again outlives a scan over many others. */
static void
test_second_chance (void)
{
  g_autoptr (ImgStorage) base = tables_new (512);
  g_autoptr (ImgStorage) storage = test_counting_storage_new (base);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 512, 1);
  guint64 word;

  assert_word (cache, 1, 0);
  for (guint slice = 2; slice < 512; slice++)
    {
      assert_word (cache, slice, 0);
      g_assert_cmpint (read_word (cache, 1, 7, IMG_MAP_TRY, &word, NULL), ==, IMG_MAP_OK);
    }
  g_assert_cmpuint (test_counting_storage_take (storage).n_reads, ==, 511);
}

static void
test_error (void)
{
  g_autoptr (ImgStorage) base = tables_new (64);
  g_autoptr (ImgStorage) storage = test_failing_storage_new (base);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 1);
  ImgError *error = NULL;
  guint64 word;

  test_failing_storage_arm (storage, 1, FALSE);
  g_assert_cmpint (read_word (cache, 9, 0, IMG_MAP_NONE, &word, &error), ==, IMG_MAP_ERROR);
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  img_error_free (error);
  g_assert_cmpint (read_word (cache, 9, 0, IMG_MAP_TRY, &word, NULL), ==, IMG_MAP_WOULD_BLOCK);
  assert_word (cache, 9, 0);
  /* Every slot of the set has failed once more than it can remember. */
  test_failing_storage_arm (storage, 1, TRUE);
  for (guint slice = 10; slice < 40; slice++)
    g_assert_cmpint (read_word (cache, slice, 0, IMG_MAP_NONE, &word, NULL), ==, IMG_MAP_ERROR);
  test_failing_storage_arm (storage, 0, FALSE);
  for (guint slice = 1; slice < 64; slice++)
    assert_word (cache, slice, slice);
}

static void
test_no_memory (void)
{
  g_autoptr (ImgStorage) storage = tables_new (2);

  for (guint nth = 1; nth <= 3; nth++)
    {
      g_autoptr (ImgError) error = NULL;

      img_alloc_set_fault (nth, FALSE);
      g_assert_null (img_table_cache_new (storage, SLICE, 64, 1 << 20, &error));
      img_alloc_set_fault (0, FALSE);
      g_assert_cmpint (error->code, ==, IMG_CODE_NO_MEMORY);
    }
}

/* ---- threads ---- */

/* A storage whose reads wait until the test lets them go. */
typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  guint n_waiting;
  guint n_reads;
  gboolean is_open;
  gboolean fails;
} Barrier;

static void
barrier_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Barrier *barrier = (Barrier *) storage;
  gboolean fails;

  pthread_mutex_lock (&barrier->mutex);
  barrier->n_waiting++;
  barrier->n_reads++;
  pthread_cond_broadcast (&barrier->cond);
  while (!barrier->is_open)
    pthread_cond_wait (&barrier->cond, &barrier->mutex);
  barrier->n_waiting--;
  fails = barrier->fails;
  pthread_mutex_unlock (&barrier->mutex);
  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (fails)
        {
          img_error_set (&error, IMG_CODE_FAILED, "Injected");
          img_io_complete (&ios[i], error);
        }
      else
        img_storage_submit (barrier->base, &ios[i], 1);
    }
}

static gboolean
barrier_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Barrier *) storage)->base, size, error);
}

static void
barrier_free (ImgStorage *storage)
{
  Barrier *barrier = (Barrier *) storage;

  img_storage_unref (barrier->base);
  pthread_cond_destroy (&barrier->cond);
  pthread_mutex_destroy (&barrier->mutex);
  g_free (barrier);
}

static const ImgStorageClass barrier_class = {
  .type_name = "barrier",
  .submit = barrier_submit,
  .get_size = barrier_get_size,
  .free = barrier_free,
};

static Barrier *
barrier_new (ImgStorage *base)
{
  Barrier *barrier = g_new0 (Barrier, 1);

  img_storage_init (&barrier->parent, &barrier_class, NULL);
  barrier->base = img_storage_ref (base);
  pthread_mutex_init (&barrier->mutex, NULL);
  pthread_cond_init (&barrier->cond, NULL);
  return barrier;
}

static void
barrier_wait_for (Barrier *barrier, guint n_waiting)
{
  pthread_mutex_lock (&barrier->mutex);
  while (barrier->n_waiting < n_waiting)
    pthread_cond_wait (&barrier->cond, &barrier->mutex);
  pthread_mutex_unlock (&barrier->mutex);
}

static void
barrier_open (Barrier *barrier, gboolean fails)
{
  pthread_mutex_lock (&barrier->mutex);
  barrier->is_open = TRUE;
  barrier->fails = fails;
  pthread_cond_broadcast (&barrier->cond);
  pthread_mutex_unlock (&barrier->mutex);
}

typedef struct
{
  ImgTableCache *cache;
  guint64 slice;
  ImgMapResult result;
  guint64 word;
  char *message;
} Look;

static gpointer
look_thread (gpointer data)
{
  Look *look = data;
  ImgError *error = NULL;

  look->result = read_word (look->cache, look->slice, 11, IMG_MAP_NONE, &look->word, &error);
  look->message = error != NULL ? g_strdup (error->text) : NULL;
  img_error_free (error);
  return NULL;
}

#define N_THREADS 16

static void
run_looks (Look *looks, Barrier *barrier, guint n_loads, gboolean fails)
{
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("look", look_thread, &looks[i]);
  barrier_wait_for (barrier, n_loads);
  g_usleep (20000); /* the others get as far as they can */
  barrier_open (barrier, fails);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

static void
test_single_flight (gconstpointer data)
{
  gboolean fails = GPOINTER_TO_INT (data);
  g_autoptr (ImgStorage) base = tables_new (64);
  Barrier *barrier = barrier_new (base);
  g_autoptr (ImgStorage) storage = &barrier->parent;
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 1);
  Look looks[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    looks[i] = (Look) { .cache = cache, .slice = 7 };
  run_looks (looks, barrier, 1, fails);
  for (guint i = 0; i < N_THREADS; i++)
    {
      g_assert_cmpint (looks[i].result, ==, fails ? IMG_MAP_ERROR : IMG_MAP_OK);
      if (fails)
        g_assert_cmpstr (looks[i].message, ==, "Injected");
      else
        g_assert_cmphex (looks[i].word, ==, word_at (7, 11));
      g_free (looks[i].message);
    }
  /* A thread that came only after a failure loads again; after a success never. */
  if (!fails)
    g_assert_cmpuint (barrier->n_reads, ==, 1);
}

/* All eight slots are being loaded: the others wait, nobody fails. */
static void
test_full_set (void)
{
  g_autoptr (ImgStorage) base = tables_new (64);
  Barrier *barrier = barrier_new (base);
  g_autoptr (ImgStorage) storage = &barrier->parent;
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 1);
  Look looks[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    looks[i] = (Look) { .cache = cache, .slice = 1 + i };
  run_looks (looks, barrier, IMG_TABLE_WAYS, FALSE);
  for (guint i = 0; i < N_THREADS; i++)
    {
      g_assert_cmpint (looks[i].result, ==, IMG_MAP_OK);
      g_assert_cmphex (looks[i].word, ==, word_at (1 + i, 11));
    }
  g_assert_cmpuint (barrier->n_reads, ==, N_THREADS);
}

/* A storage whose read asks the cache for the slice that is being read. */
typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  ImgTableCache *cache;
  guint depth;
} Echo;

static void
echo_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Echo *echo = (Echo *) storage;

  if (echo->depth++ == 0)
    assert_word (echo->cache, ios[0].offset / SLICE, 5);
  img_storage_submit (echo->base, ios, n_ios);
}

static void
echo_free (ImgStorage *storage)
{
  img_storage_unref (((Echo *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass echo_class = {
  .type_name = "echo",
  .submit = echo_submit,
  .free = echo_free,
};

static void
test_reentered (void)
{
  Echo *echo = g_new0 (Echo, 1);
  g_autoptr (ImgStorage) storage = &echo->parent;
  g_autoptr (ImgTableCache) cache = NULL;

  img_storage_init (storage, &echo_class, NULL);
  echo->base = tables_new (64);
  cache = cache_new (storage, 64, 1);
  echo->cache = cache;
  assert_word (cache, 3, 4);
  g_assert_cmpuint (echo->depth, ==, 2);
  assert_word (cache, 3, 6);
  g_assert_cmpuint (echo->depth, ==, 2);
}

#define N_STRESS_SLICES 24

typedef struct
{
  ImgTableCache *cache;
  guint seed;
  guint n_hits;
} Stress;

/* Whole views, so that a torn one would show. */
static gboolean
check_view (ImgTableCache *cache, guint64 slice, ImgMapFlags flags)
{
  guint64 words[WORDS];
  ImgTableView view;

  do
    {
      ImgMapResult result = img_table_cache_look (cache, slice, slice * SLICE, flags, &view, NULL);

      if (result == IMG_MAP_WOULD_BLOCK)
        return FALSE;
      g_assert_cmpint (result, ==, IMG_MAP_OK);
      for (guint i = 0; i < WORDS; i++)
        words[i] = img_table_view_get (&view, i);
    }
  while (!img_table_view_end (&view));
  for (guint i = 0; i < WORDS; i++)
    g_assert_cmphex (words[i], ==, word_at (slice, i));
  return TRUE;
}

static gpointer
stress_thread (gpointer data)
{
  Stress *stress = data;
  g_autoptr (GRand) random = g_rand_new_with_seed (stress->seed);

  for (guint i = 0; i < 3000; i++)
    {
      guint64 slice = 1 + (guint64) g_rand_int_range (random, 0, N_STRESS_SLICES);

      if (check_view (stress->cache, slice, IMG_MAP_TRY))
        stress->n_hits++;
      else
        check_view (stress->cache, slice, IMG_MAP_NONE);
    }
  return NULL;
}

static void
run_stress (ImgStorage *storage)
{
  g_autoptr (ImgTableCache) cache = cache_new (storage, 1 + N_STRESS_SLICES, 1);
  GThread *threads[N_THREADS];
  Stress stresses[N_THREADS];
  guint n_hits = 0;

  g_assert_cmpuint (img_table_cache_get_size (cache), ==, 8 * SLICE);
  for (guint i = 0; i < N_THREADS; i++)
    {
      stresses[i] = (Stress) { cache, i };
      threads[i] = g_thread_new ("stress", stress_thread, &stresses[i]);
    }
  for (guint i = 0; i < N_THREADS; i++)
    {
      g_thread_join (threads[i]);
      n_hits += stresses[i].n_hits;
    }
  g_assert_cmpuint (n_hits, >, 0);
  g_assert_cmpuint (n_hits, <, N_THREADS * 3000);
}

static void
test_stress (void)
{
  g_autoptr (ImgStorage) storage = tables_new (1 + N_STRESS_SLICES);

  run_stress (storage);
}

/* Loads that end on another thread and in another order. */
static void
test_stress_later (void)
{
  g_autoptr (ImgStorage) base = tables_new (1 + N_STRESS_SLICES);
  g_autoptr (ImgStorage) storage = test_later_storage_new (base, 5);

  run_stress (storage);
}

/* ---- editing ---- */

/* A file of @n_slices, all zero, that can be written. */
static ImgStorage *
zero_tables_new (guint n_slices)
{
  return img_memory_storage_new_writable ((guint64) n_slices * SLICE);
}

static ImgTableResult
edit_word (ImgTableCache *cache, guint64 slice, guint index, guint64 word)
{
  ImgTableEdit edit;
  ImgTableResult result = img_table_cache_begin_edit (cache, slice, slice * SLICE, &edit, NULL);

  if (result != IMG_TABLE_OK)
    return result;
  img_table_edit_set (&edit, index, word);
  g_assert_cmphex (img_table_edit_get (&edit, index), ==, word);
  img_table_edit_end (&edit);
  return IMG_TABLE_OK;
}

/* As a flush does it. */
static guint
write_back (ImgTableCache *cache, ImgStorage *storage)
{
  guint64 words[WORDS];
  guint n = 0;

  for (; img_table_cache_count_dirty (cache) > 0; n++)
    {
      guint64 host = img_table_cache_peek_dirty (cache, 0);

      img_table_cache_take_dirty (cache, 0, words);
      g_assert_true (img_storage_write (storage, host, words, SLICE, NULL));
    }
  img_table_cache_end_writes (cache);
  return n;
}

static void
test_edit (void)
{
  g_autoptr (ImgStorage) storage = zero_tables_new (64);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 0);
  guint64 word, stored;

  g_assert_cmpint (edit_word (cache, 5, 7, 0x1122334455667788u), ==, IMG_TABLE_OK);
  g_assert_cmpint (edit_word (cache, 5, 8, 1), ==, IMG_TABLE_OK);
  g_assert_cmpuint (img_table_cache_count_dirty (cache), ==, 1);
  g_assert_cmpint (read_word (cache, 5, 7, IMG_MAP_TRY, &word, NULL), ==, IMG_MAP_OK);
  g_assert_cmphex (word, ==, 0x1122334455667788u);
  g_assert_true (img_storage_read (storage, 5 * SLICE + 7 * 8, &stored, 8, NULL));
  g_assert_cmphex (stored, ==, 0);
  g_assert_cmpuint (write_back (cache, storage), ==, 1);
  g_assert_true (img_storage_read (storage, 5 * SLICE + 7 * 8, &stored, 8, NULL));
  g_assert_cmphex (GUINT64_FROM_BE (stored), ==, 0x1122334455667788u);
  g_assert_cmpuint (write_back (cache, storage), ==, 0);
}

/* What was edited between the copy and its arrival in the file is dirty once more. */
static void
test_edit_while_writing (void)
{
  g_autoptr (ImgStorage) storage = zero_tables_new (64);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 0);
  guint64 words[WORDS];

  g_assert_cmpint (edit_word (cache, 3, 0, 1), ==, IMG_TABLE_OK);
  img_table_cache_take_dirty (cache, 0, words);
  g_assert_cmphex (GUINT64_FROM_BE (words[0]), ==, 1);
  g_assert_cmpint (edit_word (cache, 3, 0, 2), ==, IMG_TABLE_OK);
  img_table_cache_end_writes (cache);
  g_assert_cmpuint (img_table_cache_count_dirty (cache), ==, 1);
  img_table_cache_take_dirty (cache, 0, words);
  g_assert_cmphex (GUINT64_FROM_BE (words[0]), ==, 2);
  img_table_cache_end_writes (cache);
}

/* One set of slots, all dirty or being written: editors are told, readers go on, and nothing is lost. */
static void
test_edit_full (void)
{
  g_autoptr (ImgStorage) storage = zero_tables_new (64);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 8, 0);
  guint64 words[WORDS], word;

  g_assert_cmpuint (img_table_cache_get_size (cache), ==, IMG_TABLE_WAYS * SLICE);
  for (guint slice = 1; slice <= IMG_TABLE_WAYS; slice++)
    g_assert_cmpint (edit_word (cache, slice, 1, slice), ==, IMG_TABLE_OK);
  g_assert_cmpint (edit_word (cache, 20, 1, 20), ==, IMG_TABLE_FULL);
  g_assert_cmpint (read_word (cache, 20, 1, IMG_MAP_NONE, &word, NULL), ==, IMG_MAP_OK);
  g_assert_cmphex (word, ==, 0);
  while (img_table_cache_count_dirty (cache) > 0)
    {
      guint64 host = img_table_cache_peek_dirty (cache, 0);

      img_table_cache_take_dirty (cache, 0, words);
      g_assert_true (img_storage_write (storage, host, words, SLICE, NULL));
    }
  g_assert_cmpint (edit_word (cache, 20, 1, 20), ==, IMG_TABLE_FULL); /* not yet in the file */
  img_table_cache_end_writes (cache);
  g_assert_cmpint (edit_word (cache, 20, 1, 20), ==, IMG_TABLE_OK);
  for (guint slice = 1; slice <= IMG_TABLE_WAYS; slice++)
    {
      g_assert_cmpint (read_word (cache, slice, 1, IMG_MAP_NONE, &word, NULL), ==, IMG_MAP_OK);
      g_assert_cmphex (word, ==, slice);
    }
}

/* A table that is no more: neither read from the cache nor written back over what comes next. */
static void
test_edit_forget (void)
{
  g_autoptr (ImgStorage) storage = zero_tables_new (64);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 0);
  guint64 word = GUINT64_TO_BE (77);

  g_assert_cmpint (edit_word (cache, 9, 0, 1), ==, IMG_TABLE_OK);
  img_table_cache_forget (cache, 9, 9 * SLICE);
  img_table_cache_forget (cache, 10, 10 * SLICE); /* was never there */
  g_assert_cmpuint (img_table_cache_count_dirty (cache), ==, 0);
  g_assert_true (img_storage_write (storage, 9 * SLICE, &word, sizeof word, NULL));
  g_assert_cmpint (read_word (cache, 9, 0, IMG_MAP_NONE, &word, NULL), ==, IMG_MAP_OK);
  g_assert_cmphex (word, ==, 77);
}

static void
test_edit_error (void)
{
  g_autoptr (ImgStorage) base = zero_tables_new (64);
  g_autoptr (ImgStorage) storage = test_failing_storage_new (base);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 64, 0);
  g_autoptr (ImgError) error = NULL;
  ImgTableEdit edit;

  test_failing_storage_arm (storage, 1, FALSE);
  g_assert_cmpint (img_table_cache_begin_edit (cache, 4, 4 * SLICE, &edit, &error), ==,
                   IMG_TABLE_ERROR);
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  g_assert_cmpint (edit_word (cache, 4, 0, 1), ==, IMG_TABLE_OK);
}

/* Each slice holds pairs of equal words: a reader never sees a torn pair, whatever is edited, written back
 * and evicted meanwhile. */
typedef struct
{
  ImgTableCache *cache;
  gint stop;
} PairTest;

static gpointer
pair_reader (gpointer data)
{
  PairTest *test = data;
  guint64 slice = 1;

  while (!g_atomic_int_get (&test->stop))
    {
      guint64 first, second;
      ImgTableView view;

      slice = slice % 30 + 1;
      do
        {
          g_assert_cmpint (img_table_cache_look (test->cache, slice, slice * SLICE, IMG_MAP_NONE,
                                                 &view, NULL),
                           ==, IMG_MAP_OK);
          first = img_table_view_get (&view, 10);
          second = img_table_view_get (&view, 500);
        }
      while (!img_table_view_end (&view));
      g_assert_cmphex (first, ==, second);
    }
  return NULL;
}

static gboolean
edit_pair (ImgTableCache *cache, guint64 slice, guint64 word)
{
  ImgTableEdit edit;

  if (img_table_cache_begin_edit (cache, slice, slice * SLICE, &edit, NULL) != IMG_TABLE_OK)
    return FALSE;
  img_table_edit_set (&edit, 10, word);
  img_table_edit_set (&edit, 500, word);
  img_table_edit_end (&edit);
  return TRUE;
}

static void
test_edit_stress (void)
{
  g_autoptr (ImgStorage) storage = zero_tables_new (64);
  g_autoptr (ImgTableCache) cache = cache_new (storage, 8, 0);
  guint64 expected[31] = { 0 };
  PairTest test = { cache };
  GThread *threads[4];
  guint n_flushes = 0;

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("pairs", pair_reader, &test);
  for (guint64 i = 1; i <= 3000; i++)
    {
      guint64 slice = i * 7 % 30 + 1;

      while (!edit_pair (cache, slice, i))
        n_flushes += write_back (cache, storage);
      expected[slice] = i;
    }
  g_atomic_int_set (&test.stop, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  write_back (cache, storage);
  g_assert_cmpuint (n_flushes, >, 100);
  for (guint slice = 1; slice <= 30; slice++)
    {
      guint64 stored;

      g_assert_true (img_storage_read (storage, slice * SLICE + 500 * 8, &stored, 8, NULL));
      g_assert_cmphex (GUINT64_FROM_BE (stored), ==, expected[slice]);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/table-cache/size", test_size);
  g_test_add_func ("/table-cache/all-fit", test_all_fit);
  g_test_add_func ("/table-cache/try", test_try);
  g_test_add_func ("/table-cache/second-chance", test_second_chance);
  g_test_add_func ("/table-cache/error", test_error);
  g_test_add_func ("/table-cache/no-memory", test_no_memory);
  g_test_add_data_func ("/table-cache/single-flight", GINT_TO_POINTER (FALSE), test_single_flight);
  g_test_add_data_func ("/table-cache/single-flight-error", GINT_TO_POINTER (TRUE),
                        test_single_flight);
  g_test_add_func ("/table-cache/full-set", test_full_set);
  g_test_add_func ("/table-cache/reentered", test_reentered);
  g_test_add_func ("/table-cache/stress", test_stress);
  g_test_add_func ("/table-cache/stress-later", test_stress_later);
  g_test_add_func ("/table-cache/edit", test_edit);
  g_test_add_func ("/table-cache/edit-while-writing", test_edit_while_writing);
  g_test_add_func ("/table-cache/edit-full", test_edit_full);
  g_test_add_func ("/table-cache/edit-forget", test_edit_forget);
  g_test_add_func ("/table-cache/edit-error", test_edit_error);
  g_test_add_func ("/table-cache/edit-stress", test_edit_stress);
  return g_test_run ();
}
