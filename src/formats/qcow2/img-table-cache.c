/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The protocol.
 *
 * Memory. Slots are allocated once and stay what they are until the cache is freed (type-stable): a
 * reader that is overtaken by an eviction reads the words of another slice, never memory of another
 * kind. IMG_TABLE_WAYS slots are a set; the keys of a set fill one cache line, its generations the
 * next.
 *
 * Readers never write (except for a hint), never pin, never wait for a hit. A reader
 *   1. finds the key in the set,
 *   2. loads the slot's generation (acquire): odd means that the slot is changing, which is a miss,
 *   3. loads the key again (acquire),
 *   4. loads words (acquire),
 *   5. loads the generation again: if it is another one, all of it is void and it starts over.
 * An even generation that is read in 2 was stored with release after the words it stands for. A
 * word that is newer than 2 was stored with release after its slot's generation became odd, and as
 * the load in 4 acquires, 5 sees the odd one or a later one. So no fence is needed, which
 * ThreadSanitizer would not understand.
 *
 * Whoever changes a slot holds the mutex of its set: generation odd, then key and words (release),
 * then generation even (release). Keys and words of a slot change in no other way.
 *
 * Writers. One thread at a time edits entries (the owner of the image sees to that: its turn); it needs
 * the slice in a slot, changes words as above and marks the slot dirty. A flush takes a copy of every
 * dirty slot, which makes it "writing"; it is clean once the copy is in the file, unless it was edited
 * again meanwhile. A slot that is dirty or writing is no victim. When a set has no other slots, an editor
 * is told so (IMG_TABLE_FULL): it lets go of everything, has the image flushed, and begins again.
 * A reader needs no slot: see below.
 *
 * Misses are single-flight. The first thread to miss a key reserves a slot of the set (its old
 * content is gone at once) and posts a load; it reads from the storage without the mutex, into the
 * load, and then publishes. Others that want the key meanwhile wait for the load and answer from
 * the load's own words, as does the first: an eviction between the publication and their wake costs
 * them nothing, so that the smallest cache with any number of threads makes progress. A load that
 * fails leaves an empty slot and reports its error to all who waited; nothing of it is kept.
 *
 * What the others get is as new as their call, not newer: a change that is committed while they
 * wake up is concurrent with them. The epoch keeps alive what an old entry points to.
 *
 * A storage may run foreign code on the thread that waits for it, and that code may want the slice
 * that this very thread is loading. It gets a load of its own that is not posted.
 *
 * Reserved slots are no victims. When no slot of a set can be had, a reader's load is posted without one
 * and its words serve those who wait for it, nobody after them. So the file never holds a torn slice
 * while it is read: a slice is written only from a slot, and gets a slot only when no load of it is
 * posted. Editors wait for reserved slots: each belongs to a thread that is inside a storage read, and
 * that waits for nobody here.
 * Other slots are taken by second chance: a hit sets the slot's mark, the hand clears marks as it passes
 * and takes the first slot without one.
 */

#include "config.h"

#include "img-alloc.h"
#include "img-table-cache.h"

#define CACHE_LINE 64

struct _ImgTableLoad
{
  guint ref_count; /* atomic; not gatomicrefcount, into which ThreadSanitizer does not see */
  guint64 key;
  GThread *owner;   /* who reads it */
  gboolean is_done; /* under the set's mutex; the rest does not change afterwards */
  ImgTableLoad *next; /* among those without a slot */
  ImgError *error;
  guint64 words[];
};

/* What readers touch. */
typedef struct
{
  guint64 keys[IMG_TABLE_WAYS]; /* host offsets; 0: nothing */
  gsize generations[IMG_TABLE_WAYS];
#if GLIB_SIZEOF_SIZE_T == 4
  char padding[CACHE_LINE - 4 * IMG_TABLE_WAYS];
#endif
} TableSet;

G_STATIC_ASSERT (sizeof (TableSet) == 2 * CACHE_LINE);

/* What only a miss touches, except for the marks. */
typedef struct
{
  ImgMutex mutex;
  ImgWaitList waiters; /* for any load of the set to end */
  ImgTableLoad *loads[IMG_TABLE_WAYS];
  ImgTableLoad *slotless; /* posted loads that have no slot */
  guint hand;
  guint8 marks[IMG_TABLE_WAYS];
  guint8 dirty;   /* ways whose words the file has not */
  guint8 writing; /* ways of which a flush has a copy */
} SetControl;

G_STATIC_ASSERT (IMG_TABLE_WAYS <= 8);

struct _ImgTableCache
{
  ImgStorage *storage; /* owned */
  gsize slice_size;
  guint slice_words;
  guint n_sets; /* a power of two */
  guint set_bits;
  TableSet *sets;
  SetControl *controls;
  guint64 *words; /* of slot n from n * slice_words on */
  /* Slots (guint), as in SetControl; the editors' and the flush's. */
  GArray *dirty;
  GArray *writing;
};

/* ---- life ---- */

/* As many sets as the budget pays for, but no more than the slices can fill. */
static guint
count_sets (gsize slice_size, guint64 n_slices, gsize budget)
{
  guint64 wanted = MIN (img_div_round_up (n_slices, IMG_TABLE_WAYS), 1u << 24);
  guint64 payable = MIN (budget / (slice_size * IMG_TABLE_WAYS), 1u << 24);
  guint n_sets = 1;

  while (n_sets < wanted && (guint64) n_sets * 2 <= payable)
    n_sets *= 2;
  return n_sets;
}

ImgTableCache *
img_table_cache_new (ImgStorage *storage,
                     gsize slice_size,
                     guint64 n_slices,
                     gsize budget,
                     ImgError **error)
{
  g_autoptr (ImgTableCache) cache = g_new0 (ImgTableCache, 1);

  cache->storage = img_storage_ref (storage);
  cache->slice_size = slice_size;
  cache->slice_words = (guint) (slice_size / sizeof (guint64));
  cache->n_sets = count_sets (slice_size, n_slices, budget);
  cache->set_bits = g_bit_storage (cache->n_sets) - 1;
  cache->dirty = g_array_new (FALSE, FALSE, sizeof (guint));
  cache->writing = g_array_new (FALSE, FALSE, sizeof (guint));
  cache->sets = img_try_alloc0 (cache->n_sets, sizeof (TableSet), error);
  if (cache->sets == NULL)
    return NULL;
  cache->controls = img_try_alloc0 (cache->n_sets, sizeof (SetControl), error);
  if (cache->controls == NULL)
    return NULL;
  for (guint i = 0; i < cache->n_sets; i++)
    img_mutex_init (&cache->controls[i].mutex);
  /* Not touched before it is used: a large cache costs memory as it fills. */
  cache->words = img_try_alloc (img_table_cache_get_size (cache), error);
  if (cache->words == NULL)
    return NULL;
  return g_steal_pointer (&cache);
}

void
img_table_cache_free (ImgTableCache *cache)
{
  if (cache == NULL)
    return;
  for (guint i = 0; cache->controls != NULL && i < cache->n_sets; i++)
    img_mutex_clear (&cache->controls[i].mutex);
  img_free (cache->sets);
  img_free (cache->controls);
  img_free (cache->words);
  g_array_unref (cache->dirty);
  g_array_unref (cache->writing);
  img_storage_unref (cache->storage);
  g_free (cache);
}

gsize
img_table_cache_get_size (ImgTableCache *cache)
{
  return (gsize) cache->n_sets * IMG_TABLE_WAYS * cache->slice_size;
}

/* ---- where things are ---- */

/* Neighbours fall into different sets, so that a disk whose slices all fit never loses one to
 * another; the higher part of the index is mixed in, so that a power-of-two stride does not use a
 * few sets only. */
static guint
set_of (ImgTableCache *cache, guint64 index)
{
  guint32 high = (guint32) (index >> cache->set_bits);

  return (guint) (index ^ ((high * 0x9e3779b1u) >> 8)) & (cache->n_sets - 1);
}

static guint64 *
slot_words (ImgTableCache *cache, guint set, guint way)
{
  return cache->words + ((gsize) set * IMG_TABLE_WAYS + way) * cache->slice_words;
}

/* ---- hits ---- */

static inline gboolean
begin_view (ImgTableCache *cache, guint set, guint way, guint64 key, ImgTableView *view)
{
  const TableSet *lines = &cache->sets[set];
  guint8 *mark = &cache->controls[set].marks[way];
  gsize generation = __atomic_load_n (&lines->generations[way], __ATOMIC_ACQUIRE);

  if ((generation & 1) != 0 || __atomic_load_n (&lines->keys[way], __ATOMIC_ACQUIRE) != key)
    return FALSE;
  /* Looked at first: threads that hit the same slot share the line instead of fighting for it. */
  if (__atomic_load_n (mark, __ATOMIC_RELAXED) == 0)
    __atomic_store_n (mark, 1, __ATOMIC_RELAXED);
  view->words = slot_words (cache, set, way);
  view->generation = &lines->generations[way];
  view->seen = generation;
  view->load = NULL;
  return TRUE;
}

/* Where a slice goes if that slot is empty, and is looked for first: most have the set to themselves. */
static inline guint
preferred_way (guint64 key)
{
  return (guint) ((key * 0x9e3779b97f4a7c15u) >> 32) % IMG_TABLE_WAYS;
}

/* Elsewhere all keys are looked at, not only those up to the right one: which way that is cannot be predicted. */
static inline gboolean
find (ImgTableCache *cache, guint set, guint64 key, ImgTableView *view)
{
  const guint64 *keys = cache->sets[set].keys;
  guint preferred = preferred_way (key);
  guint ways = 0;

  if (G_LIKELY (__atomic_load_n (&keys[preferred], __ATOMIC_RELAXED) == key))
    return begin_view (cache, set, preferred, key, view);
  for (guint way = 0; way < IMG_TABLE_WAYS; way++)
    ways |= (guint) (__atomic_load_n (&keys[way], __ATOMIC_RELAXED) == key) << way;
  return G_LIKELY (ways != 0) && begin_view (cache, set, (guint) __builtin_ctz (ways), key, view);
}

/* ---- changes, with the mutex of the set held ---- */

static void
begin_change (ImgTableCache *cache, guint set, guint way)
{
  gsize *generation = &cache->sets[set].generations[way];

  __atomic_store_n (generation, *generation + 1, __ATOMIC_RELEASE);
}

static void
end_change (ImgTableCache *cache, guint set, guint way)
{
  begin_change (cache, set, way);
}

static void
set_key (ImgTableCache *cache, guint set, guint way, guint64 key)
{
  __atomic_store_n (&cache->sets[set].keys[way], key, __ATOMIC_RELEASE);
}

static void
fill_slot (ImgTableCache *cache, guint set, guint way, const ImgTableLoad *load)
{
  guint64 *words = slot_words (cache, set, way);

  for (guint i = 0; i < cache->slice_words; i++)
    __atomic_store_n (&words[i], load->words[i], __ATOMIC_RELEASE);
  set_key (cache, set, way, load->key);
}

/* ---- misses ---- */

static ImgTableLoad *
load_new (ImgTableCache *cache, guint64 key)
{
  ImgTableLoad *load = g_malloc (sizeof (ImgTableLoad) + cache->slice_size);

  load->ref_count = 1;
  load->key = key;
  load->owner = g_thread_self ();
  load->is_done = FALSE;
  load->error = NULL;
  load->next = NULL;
  return load;
}

static ImgTableLoad *
load_ref (ImgTableLoad *load)
{
  __atomic_add_fetch (&load->ref_count, 1, __ATOMIC_RELAXED);
  return load;
}

static void
load_unref (ImgTableLoad *load)
{
  if (__atomic_sub_fetch (&load->ref_count, 1, __ATOMIC_ACQ_REL) > 0)
    return;
  img_error_free (load->error);
  g_free (load);
}

void
img_table_view_release (ImgTableView *view)
{
  g_clear_pointer (&view->load, load_unref);
}

/* Takes the reference to @load, which is done. */
static ImgMapResult
answer_from_load (ImgTableLoad *load, ImgTableView *view, ImgError **error)
{
  if (load->error != NULL)
    {
      img_error_propagate (error, img_error_copy (load->error));
      load_unref (load);
      return IMG_MAP_ERROR;
    }
  *view = (ImgTableView) { .words = load->words, .load = load };
  return IMG_MAP_OK;
}

static ImgTableLoad *
find_load (SetControl *control, guint64 key)
{
  for (guint way = 0; way < IMG_TABLE_WAYS; way++)
    if (control->loads[way] != NULL && control->loads[way]->key == key)
      return control->loads[way];
  for (ImgTableLoad *load = control->slotless; load != NULL; load = load->next)
    if (load->key == key)
      return load;
  return NULL;
}

static gboolean
may_evict (const SetControl *control, guint way)
{
  return control->loads[way] == NULL && ((control->dirty | control->writing) & (1u << way)) == 0;
}

/* IMG_TABLE_WAYS: there is none. */
static guint
choose_victim (ImgTableCache *cache, guint set, guint64 key)
{
  SetControl *control = &cache->controls[set];

  for (guint i = 0; i < IMG_TABLE_WAYS; i++)
    {
      guint way = (preferred_way (key) + i) % IMG_TABLE_WAYS;

      if (cache->sets[set].keys[way] == 0 && may_evict (control, way))
        return way;
    }
  /* Twice around: the first time may find nothing but marks. Readers may set them again meanwhile,
   * so the last round takes no notice of them. */
  for (guint step = 0; step < 3 * IMG_TABLE_WAYS; step++)
    {
      guint way = control->hand;

      control->hand = (way + 1) % IMG_TABLE_WAYS;
      if (!may_evict (control, way))
        continue;
      if (step >= 2 * IMG_TABLE_WAYS ||
          __atomic_load_n (&control->marks[way], __ATOMIC_RELAXED) == 0)
        return way;
      __atomic_store_n (&control->marks[way], 0, __ATOMIC_RELAXED);
    }
  return IMG_TABLE_WAYS;
}

/* The slot's generation stays odd until the load ends. */
static ImgTableLoad *
reserve (ImgTableCache *cache, guint set, guint way, guint64 key)
{
  ImgTableLoad *load = load_new (cache, key);

  begin_change (cache, set, way);
  set_key (cache, set, way, 0);
  cache->controls[set].loads[way] = load_ref (load);
  return load;
}

/* A load for which there is no slot. */
static ImgTableLoad *
post_slotless (ImgTableCache *cache, guint set, guint64 key)
{
  ImgTableLoad *load = load_new (cache, key);

  load->next = cache->controls[set].slotless;
  cache->controls[set].slotless = load_ref (load);
  return load;
}

static void
remove_slotless (SetControl *control, ImgTableLoad *load)
{
  ImgTableLoad **link = &control->slotless;

  while (*link != load)
    link = &(*link)->next;
  *link = load->next;
}

/* @way: IMG_TABLE_WAYS for a load without a slot. */
static void
publish (ImgTableCache *cache, guint set, guint way, ImgTableLoad *load)
{
  SetControl *control = &cache->controls[set];

  img_mutex_lock (&control->mutex);
  if (way == IMG_TABLE_WAYS)
    remove_slotless (control, load);
  else
    {
      if (load->error == NULL)
        fill_slot (cache, set, way, load);
      end_change (cache, set, way);
      __atomic_store_n (&control->marks[way], 0, __ATOMIC_RELAXED);
      control->loads[way] = NULL;
    }
  load->is_done = TRUE;
  img_wait_list_wake_all (&control->waiters);
  img_mutex_unlock (&control->mutex);
  load_unref (load);
}

static void
run_load (ImgTableCache *cache, ImgTableLoad *load)
{
  if (!img_storage_read (cache->storage, load->key, load->words, cache->slice_size, &load->error))
    return;
  for (guint i = 0; i < cache->slice_words; i++)
    load->words[i] = GUINT64_FROM_BE (load->words[i]);
}

/* With the mutex held. TRUE when @load is done, FALSE when only the caller could end it. */
static gboolean
wait_for_load (SetControl *control, ImgTableLoad *load)
{
  if (load->owner == g_thread_self ())
    return FALSE;
  while (!load->is_done)
    img_wait_list_wait (&control->waiters, &control->mutex);
  return TRUE;
}

/* With the mutex held, which it keeps. TRUE: the slice is there (*load is NULL for a hit, else done).
 * FALSE: *load is the caller's to run and, if *is_posted, to publish in *way. */
static gboolean
find_or_reserve (ImgTableCache *cache,
                 guint set,
                 guint64 key,
                 ImgTableView *view,
                 ImgTableLoad **load,
                 gboolean *is_posted,
                 guint *way)
{
  SetControl *control = &cache->controls[set];

  *is_posted = TRUE;
  *load = NULL;
  if (find (cache, set, key, view))
    return TRUE;
  *load = find_load (control, key);
  if (*load != NULL)
    {
      load_ref (*load);
      if (wait_for_load (control, *load))
        return TRUE;
      load_unref (*load);
      *load = load_new (cache, key);
      *is_posted = FALSE;
      return FALSE;
    }
  *way = choose_victim (cache, set, key);
  *load = *way < IMG_TABLE_WAYS ? reserve (cache, set, *way, key) : post_slotless (cache, set, key);
  return FALSE;
}

static ImgMapResult
look_slowly (ImgTableCache *cache, guint set, guint64 key, ImgTableView *view, ImgError **error)
{
  SetControl *control = &cache->controls[set];
  gboolean is_there, is_posted;
  ImgTableLoad *load;
  guint way;

  img_mutex_lock (&control->mutex);
  is_there = find_or_reserve (cache, set, key, view, &load, &is_posted, &way);
  img_mutex_unlock (&control->mutex);
  if (is_there && load == NULL)
    return IMG_MAP_OK;
  if (!is_there)
    {
      run_load (cache, load);
      if (is_posted)
        publish (cache, set, way, load);
    }
  return answer_from_load (load, view, error);
}

ImgMapResult
img_table_cache_look (ImgTableCache *cache,
                      guint64 index,
                      guint64 host_offset,
                      ImgMapFlags flags,
                      ImgTableView *view,
                      ImgError **error)
{
  guint set = set_of (cache, index);

  if (G_LIKELY (find (cache, set, host_offset, view)))
    return IMG_MAP_OK;
  if (flags & IMG_MAP_TRY)
    return IMG_MAP_WOULD_BLOCK;
  return look_slowly (cache, set, host_offset, view, error);
}

/* ---- editing ---- */

static guint
find_way (const TableSet *lines, guint64 key)
{
  for (guint way = 0; way < IMG_TABLE_WAYS; way++)
    if (lines->keys[way] == key)
      return way;
  return IMG_TABLE_WAYS;
}

/* With the mutex held: whether a slot will become free by itself. */
static gboolean
has_loading_slot (const SetControl *control)
{
  for (guint way = 0; way < IMG_TABLE_WAYS; way++)
    if (control->loads[way] != NULL)
      return TRUE;
  return FALSE;
}

/* With the mutex held, which it releases meanwhile: brings the slice into slot @way. */
static gboolean
load_for_edit (ImgTableCache *cache, guint set, guint way, guint64 key, ImgError **error)
{
  SetControl *control = &cache->controls[set];
  ImgTableLoad *load = reserve (cache, set, way, key);
  gboolean success;

  img_mutex_unlock (&control->mutex);
  run_load (cache, load);
  publish (cache, set, way, load);
  success = load->error == NULL;
  if (!success)
    img_error_propagate (error, img_error_copy (load->error));
  load_unref (load);
  img_mutex_lock (&control->mutex);
  return success;
}

/* With the mutex held: until *way has the slice. */
static ImgTableResult
find_for_edit (ImgTableCache *cache, guint set, guint64 key, guint *way, ImgError **error)
{
  SetControl *control = &cache->controls[set];

  while ((*way = find_way (&cache->sets[set], key)) == IMG_TABLE_WAYS)
    {
      ImgTableLoad *load = find_load (control, key);
      guint victim;

      if (load != NULL || ((victim = choose_victim (cache, set, key)) == IMG_TABLE_WAYS &&
                           has_loading_slot (control)))
        img_wait_list_wait (&control->waiters, &control->mutex);
      else if (victim == IMG_TABLE_WAYS)
        return IMG_TABLE_FULL;
      else if (!load_for_edit (cache, set, victim, key, error))
        return IMG_TABLE_ERROR;
    }
  return IMG_TABLE_OK;
}

ImgTableResult
img_table_cache_begin_edit (ImgTableCache *cache,
                            guint64 index,
                            guint64 host_offset,
                            ImgTableEdit *edit,
                            ImgError **error)
{
  guint set = set_of (cache, index);
  SetControl *control = &cache->controls[set];
  ImgTableResult result;
  guint way;

  img_mutex_lock (&control->mutex);
  result = find_for_edit (cache, set, host_offset, &way, error);
  if (result != IMG_TABLE_OK)
    {
      img_mutex_unlock (&control->mutex);
      return result;
    }
  *edit = (ImgTableEdit) { cache, set, way, slot_words (cache, set, way), FALSE };
  return IMG_TABLE_OK;
}

void
img_table_edit_set (ImgTableEdit *edit, guint index, guint64 word)
{
  if (!edit->has_changed)
    begin_change (edit->cache, edit->set, edit->way);
  edit->has_changed = TRUE;
  __atomic_store_n (&edit->words[index], word, __ATOMIC_RELEASE);
}

void
img_table_edit_end (ImgTableEdit *edit)
{
  SetControl *control = &edit->cache->controls[edit->set];
  guint bit = 1u << edit->way;

  if (edit->has_changed)
    {
      end_change (edit->cache, edit->set, edit->way);
      if ((control->dirty & bit) == 0)
        {
          guint slot = edit->set * IMG_TABLE_WAYS + edit->way;

          control->dirty |= (guint8) bit;
          g_array_append_val (edit->cache->dirty, slot);
        }
    }
  img_mutex_unlock (&control->mutex);
}

guint
img_table_cache_count_dirty (ImgTableCache *cache)
{
  return cache->dirty->len;
}

/* ---- writing back ---- */

guint64
img_table_cache_peek_dirty (ImgTableCache *cache, guint nth)
{
  guint slot = g_array_index (cache->dirty, guint, nth);

  return cache->sets[slot / IMG_TABLE_WAYS].keys[slot % IMG_TABLE_WAYS];
}

void
img_table_cache_take_dirty (ImgTableCache *cache, guint nth, guint64 *words)
{
  guint slot = g_array_index (cache->dirty, guint, nth);
  guint set = slot / IMG_TABLE_WAYS;
  guint bit = 1u << slot % IMG_TABLE_WAYS;
  SetControl *control = &cache->controls[set];
  const guint64 *source = slot_words (cache, set, slot % IMG_TABLE_WAYS);

  for (guint i = 0; i < cache->slice_words; i++)
    words[i] = GUINT64_TO_BE (source[i]);
  img_mutex_lock (&control->mutex);
  control->dirty &= (guint8) ~bit;
  control->writing |= (guint8) bit;
  img_mutex_unlock (&control->mutex);
  g_array_remove_index_fast (cache->dirty, nth);
  g_array_append_val (cache->writing, slot);
}

void
img_table_cache_end_writes (ImgTableCache *cache)
{
  for (guint i = 0; i < cache->writing->len; i++)
    {
      guint slot = g_array_index (cache->writing, guint, i);
      SetControl *control = &cache->controls[slot / IMG_TABLE_WAYS];

      img_mutex_lock (&control->mutex);
      control->writing &= (guint8) ~(1u << slot % IMG_TABLE_WAYS);
      img_mutex_unlock (&control->mutex);
    }
  g_array_set_size (cache->writing, 0);
}

void
img_table_cache_forget (ImgTableCache *cache, guint64 index, guint64 host_offset)
{
  guint set = set_of (cache, index);
  SetControl *control = &cache->controls[set];
  guint way;

  img_mutex_lock (&control->mutex);
  way = find_way (&cache->sets[set], host_offset);
  if (way < IMG_TABLE_WAYS)
    {
      guint slot = set * IMG_TABLE_WAYS + way;

      begin_change (cache, set, way);
      set_key (cache, set, way, 0);
      end_change (cache, set, way);
      for (guint i = 0; i < cache->dirty->len; i++)
        if (g_array_index (cache->dirty, guint, i) == slot)
          g_array_remove_index_fast (cache->dirty, i--);
      control->dirty &= (guint8) ~(1u << way);
    }
  img_mutex_unlock (&control->mutex);
}
