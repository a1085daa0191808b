/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-decoded.h"
#include "img-park.h"

#define MIN_ENTRIES 4
#define MAX_ENTRIES 4096

typedef enum
{
  ENTRY_FREE,
  ENTRY_DECODING,
  ENTRY_READY,
  ENTRY_STALE, /* no longer in the index, but somebody may still copy from it */
} EntryState;

struct _ImgDecodedEntry
{
  ImgDecodedKey key;
  EntryState state;
  gboolean is_outdated; /* while DECODING: stale as soon as it is ready */
  guint n_pins;
  gsize n_plain; /* bytes that are decoded; while DECODING: that were before */
  guint8 *memory;
  GList link; /* in the order of use: the head was used last */
};

struct _ImgDecodedCache
{
  gsize unit_length;
  guint max_entries;
  ImgMutex mutex;
  ImgWaitList changed;
  GHashTable *index; /* of ImgDecodedEntry by key; DECODING and READY ones */
  GQueue by_use;     /* all entries, which are made when they are wanted */
};

static guint
key_hash (gconstpointer key)
{
  return g_int64_hash (&((const ImgDecodedKey *) key)->host_offset);
}

static gboolean
key_equal (gconstpointer a, gconstpointer b)
{
  const ImgDecodedKey *left = a;
  const ImgDecodedKey *right = b;

  return left->host_offset == right->host_offset && left->host_length == right->host_length;
}

ImgDecodedCache *
img_decoded_cache_new (gsize unit_length, gsize budget)
{
  ImgDecodedCache *cache = g_new0 (ImgDecodedCache, 1);

  cache->unit_length = unit_length;
  cache->max_entries = (guint) CLAMP (budget / unit_length, MIN_ENTRIES, MAX_ENTRIES);
  img_mutex_init (&cache->mutex);
  cache->index = g_hash_table_new (key_hash, key_equal);
  return cache;
}

void
img_decoded_cache_free (ImgDecodedCache *cache)
{
  if (cache == NULL)
    return;
  while (cache->by_use.head != NULL)
    {
      ImgDecodedEntry *entry = g_queue_pop_head_link (&cache->by_use)->data;

      img_free (entry->memory);
      g_free (entry);
    }
  g_hash_table_unref (cache->index);
  img_mutex_clear (&cache->mutex);
  g_free (cache);
}

/* With the mutex held. */
static void
use (ImgDecodedCache *cache, ImgDecodedEntry *entry)
{
  g_queue_unlink (&cache->by_use, &entry->link);
  g_queue_push_head_link (&cache->by_use, &entry->link);
}

/* With the mutex held. */
static ImgDecodedEntry *
add_entry (ImgDecodedCache *cache)
{
  ImgDecodedEntry *entry = g_new0 (ImgDecodedEntry, 1);

  entry->link.data = entry;
  g_queue_push_tail_link (&cache->by_use, &entry->link);
  return entry;
}

/* With the mutex held: a new entry, or the one that was unused longest, emptied; NULL if all are in use. */
static ImgDecodedEntry *
get_free_entry (ImgDecodedCache *cache)
{
  const ImgDecodedEntry *oldest = cache->by_use.tail != NULL ? cache->by_use.tail->data : NULL;

  if ((oldest == NULL || oldest->state != ENTRY_FREE) && cache->by_use.length < cache->max_entries)
    return add_entry (cache);
  for (GList *link = cache->by_use.tail; link != NULL; link = link->prev)
    {
      ImgDecodedEntry *entry = link->data;

      if (entry->n_pins > 0)
        continue;
      if (entry->state == ENTRY_READY)
        g_hash_table_remove (cache->index, &entry->key);
      entry->state = ENTRY_FREE;
      return entry;
    }
  return NULL;
}

/* With the mutex held: it has a part of the unit, but not enough. */
static ImgDecodedResult
decode_more (ImgDecodedCache *cache, ImgDecodedEntry *entry, gboolean may_insert)
{
  if (!may_insert)
    return IMG_DECODED_MISS;
  if (entry->n_pins > 0)
    return IMG_DECODED_BUSY;
  entry->state = ENTRY_DECODING;
  entry->is_outdated = FALSE;
  entry->n_pins = 1;
  use (cache, entry);
  return IMG_DECODED_OWNER;
}

static ImgDecodedResult
lookup_locked (ImgDecodedCache *cache,
               const ImgDecodedKey *key,
               gsize wanted,
               gboolean may_insert,
               ImgDecodedEntry **entry)
{
  *entry = g_hash_table_lookup (cache->index, key);
  if (*entry != NULL && (*entry)->state == ENTRY_DECODING)
    return IMG_DECODED_BUSY;
  if (*entry != NULL && (*entry)->n_plain < wanted)
    return decode_more (cache, *entry, may_insert);
  if (*entry != NULL)
    {
      (*entry)->n_pins++;
      use (cache, *entry);
      return IMG_DECODED_HIT;
    }
  if (!may_insert)
    return IMG_DECODED_MISS;
  *entry = get_free_entry (cache);
  if (*entry == NULL)
    return IMG_DECODED_BUSY;
  (*entry)->key = *key;
  (*entry)->state = ENTRY_DECODING;
  (*entry)->is_outdated = FALSE;
  (*entry)->n_plain = 0;
  (*entry)->n_pins = 1;
  use (cache, *entry);
  g_hash_table_insert (cache->index, &(*entry)->key, *entry);
  return IMG_DECODED_OWNER;
}

ImgDecodedResult
img_decoded_lookup (ImgDecodedCache *cache,
                    const ImgDecodedKey *key,
                    gsize wanted,
                    gboolean may_insert,
                    ImgDecodedEntry **entry)
{
  ImgDecodedResult result;

  img_mutex_lock (&cache->mutex);
  result = lookup_locked (cache, key, wanted, may_insert, entry);
  img_mutex_unlock (&cache->mutex);
  return result;
}

/* With the mutex held: what makes lookup_locked () answer BUSY. */
static gboolean
is_busy (ImgDecodedCache *cache, const ImgDecodedKey *key, gsize wanted)
{
  ImgDecodedEntry *entry = g_hash_table_lookup (cache->index, key);

  if (entry != NULL)
    return entry->state == ENTRY_DECODING || (entry->n_plain < wanted && entry->n_pins > 0);
  if (cache->by_use.length < cache->max_entries)
    return FALSE;
  for (GList *link = cache->by_use.head; link != NULL; link = link->next)
    if (((ImgDecodedEntry *) link->data)->n_pins == 0)
      return FALSE;
  return TRUE;
}

void
img_decoded_wait (ImgDecodedCache *cache, const ImgDecodedKey *key, gsize wanted)
{
  img_mutex_lock (&cache->mutex);
  while (is_busy (cache, key, wanted))
    img_wait_list_wait (&cache->changed, &cache->mutex);
  img_mutex_unlock (&cache->mutex);
}

guint8 *
img_decoded_get_memory (ImgDecodedCache *cache, ImgDecodedEntry *entry, ImgError **error)
{
  if (entry->memory == NULL)
    entry->memory = img_try_alloc (cache->unit_length, error);
  return entry->memory;
}

const guint8 *
img_decoded_get_plain (ImgDecodedEntry *entry)
{
  return entry->memory;
}

/* With the mutex held. */
static void
make_stale (ImgDecodedCache *cache, ImgDecodedEntry *entry)
{
  g_hash_table_remove (cache->index, &entry->key);
  entry->state = ENTRY_STALE;
}

gboolean
img_decoded_had_part (const ImgDecodedEntry *entry)
{
  return entry->n_plain > 0;
}

void
img_decoded_ready (ImgDecodedCache *cache, ImgDecodedEntry *entry, gsize n_plain)
{
  img_mutex_lock (&cache->mutex);
  entry->n_plain = n_plain;
  if (entry->is_outdated)
    make_stale (cache, entry);
  else
    entry->state = ENTRY_READY;
  img_wait_list_wake_all (&cache->changed);
  img_mutex_unlock (&cache->mutex);
}

void
img_decoded_failed (ImgDecodedCache *cache, ImgDecodedEntry *entry)
{
  img_mutex_lock (&cache->mutex);
  g_hash_table_remove (cache->index, &entry->key);
  entry->state = ENTRY_FREE;
  entry->n_pins = 0;
  img_wait_list_wake_all (&cache->changed);
  img_mutex_unlock (&cache->mutex);
}

void
img_decoded_unpin (ImgDecodedCache *cache, ImgDecodedEntry *entry)
{
  img_mutex_lock (&cache->mutex);
  if (--entry->n_pins == 0)
    img_wait_list_wake_all (&cache->changed);
  img_mutex_unlock (&cache->mutex);
}

void
img_decoded_forget (ImgDecodedCache *cache, guint64 host_offset, guint64 length)
{
  img_mutex_lock (&cache->mutex);
  for (GList *link = cache->by_use.head; link != NULL; link = link->next)
    {
      ImgDecodedEntry *entry = link->data;

      if (entry->state == ENTRY_FREE || entry->state == ENTRY_STALE ||
          entry->key.host_offset >= host_offset + length ||
          host_offset >= entry->key.host_offset + entry->key.host_length)
        continue;
      if (entry->state == ENTRY_READY)
        make_stale (cache, entry);
      else
        entry->is_outdated = TRUE;
    }
  img_mutex_unlock (&cache->mutex);
}
