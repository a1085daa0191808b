/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A cache of metadata tables, in slices of 64-bit big-endian words that it keeps in host byte
 * order. The protocol is at the top of the .c file.
 *
 *   do
 *     {
 *       result = img_table_cache_look (cache, index, host_offset, flags, &view, error);
 *       if (result != IMG_MAP_OK)
 *         return result;
 *       word = img_table_view_get (&view, i);
 *     }
 *   while (!img_table_view_end (&view));
 *
 * What a view shows may be torn until img_table_view_end () has said TRUE: nothing follows from it
 * before.
 */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

/* A slice is that long, or one cluster if that is shorter. */
#define IMG_TABLE_MAX_SLICE 4096
#define IMG_TABLE_WAYS 8

typedef struct _ImgTableCache ImgTableCache;
typedef struct _ImgTableLoad ImgTableLoad;

typedef struct
{
  const guint64 *words;
  const gsize *generation; /* of the slot; NULL when the words are a load's own */
  gsize seen;
  ImgTableLoad *load;
} ImgTableView;

/* @budget: bytes; @n_slices: as many as the tables of the image have. Memory is for the smaller of
 * the two, at least one set of IMG_TABLE_WAYS slices. */
ImgTableCache *img_table_cache_new (ImgStorage *storage,
                                    gsize slice_size,
                                    guint64 n_slices,
                                    gsize budget,
                                    ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void           img_table_cache_free (ImgTableCache *cache);
/* Bytes of slot memory. */
gsize          img_table_cache_get_size (ImgTableCache *cache);

/* The slice at @host_offset, which is its identity; @index (its number among the slices of the
 * disk) only says where it is kept. IMG_MAP_TRY takes no lock and does no I/O. */
ImgMapResult img_table_cache_look (ImgTableCache *cache,
                                   guint64 index,
                                   guint64 host_offset,
                                   ImgMapFlags flags,
                                   ImgTableView *view,
                                   ImgError **error);

void           img_table_view_release (ImgTableView *view);

/* ---- changing entries ----
 *
 * One thread at a time: whoever calls these holds the turn of the image. */

typedef enum
{
  IMG_TABLE_OK,
  IMG_TABLE_FULL, /* too many dirty slices: have the image flushed, then begin again */
  IMG_TABLE_ERROR,
} ImgTableResult;

/* An open edit holds a mutex: no I/O, no wait, no second edit before it ends. */
typedef struct
{
  ImgTableCache *cache;
  guint set;
  guint way;
  guint64 *words;
  gboolean has_changed;
} ImgTableEdit;

/* May read the slice, so it may wait. */
ImgTableResult img_table_cache_begin_edit (ImgTableCache *cache,
                                           guint64 index,
                                           guint64 host_offset,
                                           ImgTableEdit *edit,
                                           ImgError **error);
void           img_table_edit_set (ImgTableEdit *edit, guint index, guint64 word);
void           img_table_edit_end (ImgTableEdit *edit);

static inline guint64
img_table_edit_get (const ImgTableEdit *edit, guint index)
{
  return edit->words[index];
}

/* The slice's table is no more: what the cache has of it, dirty or not, is dropped. */
void           img_table_cache_forget (ImgTableCache *cache, guint64 index, guint64 host_offset);

guint          img_table_cache_count_dirty (ImgTableCache *cache);
/* The host offset of a dirty slice. */
guint64        img_table_cache_peek_dirty (ImgTableCache *cache, guint nth);
/* Copies it, as it goes into the file, and takes it off the list: the next one gets its number. */
void           img_table_cache_take_dirty (ImgTableCache *cache, guint nth, guint64 *words);
/* All that was taken is in the file. */
void           img_table_cache_end_writes (ImgTableCache *cache);

static inline guint64
img_table_view_get (const ImgTableView *view, guint index)
{
  return __atomic_load_n (&view->words[index], __ATOMIC_ACQUIRE);
}

/* Ends the view in any case. TRUE: all that was read belongs together. */
static inline gboolean
img_table_view_end (ImgTableView *view)
{
  if (G_LIKELY (view->generation != NULL))
    return G_LIKELY (__atomic_load_n (view->generation, __ATOMIC_RELAXED) == view->seen);
  img_table_view_release (view);
  return TRUE;
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgTableCache, img_table_cache_free)

G_END_DECLS
