/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A small cache of decoded clusters, one for each image that has compressed ones.
 *
 * One mutex protects the index; nobody decodes, copies or does I/O under it. A caller that misses
 * becomes the owner of the entry and must end it with _ready or _failed; others that want the same unit
 * meanwhile get BUSY and wait in _wait, with nothing owned (an owner that waited for another owner could
 * close a circle). An entry may have only the first bytes of its unit: who wants more becomes its owner once
 * more. It is pinned while somebody copies from it; only unpinned ones are reused. When all are pinned or
 * being decoded, callers wait; the cache never fails for being full.
 */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

typedef struct _ImgDecodedCache ImgDecodedCache;
typedef struct _ImgDecodedEntry ImgDecodedEntry;

/* Both ends of the stored bytes: a damaged image may have two descriptors that start at one place, and
 * one of them may stop too early. */
typedef struct
{
  guint64 host_offset;
  guint64 host_length;
} ImgDecodedKey;

typedef enum
{
  IMG_DECODED_HIT,   /* pinned: copy, then _unpin */
  IMG_DECODED_OWNER, /* decode into it, then _ready or _failed */
  IMG_DECODED_BUSY,  /* somebody else is at it, or all entries are in use */
  IMG_DECODED_MISS,  /* only with may_insert FALSE */
} ImgDecodedResult;

/* @unit_length: the size of every unit. The memory is allocated as entries come into use. */
ImgDecodedCache *img_decoded_cache_new  (gsize unit_length, gsize budget) G_GNUC_WARN_UNUSED_RESULT;
void             img_decoded_cache_free (ImgDecodedCache *cache);

/* Never waits. @wanted: bytes from the start of the unit. */
ImgDecodedResult img_decoded_lookup     (ImgDecodedCache *cache, const ImgDecodedKey *key,
                                         gsize wanted, gboolean may_insert,
                                         ImgDecodedEntry **entry);
/* Returns when a lookup of @key may have another answer than BUSY. */
void             img_decoded_wait       (ImgDecodedCache *cache, const ImgDecodedKey *key,
                                         gsize wanted);
/* For an owner: whether a part of the unit has been decoded before. */
gboolean         img_decoded_had_part   (const ImgDecodedEntry *entry);
/* For an owner; NULL when there is no memory. */
guint8          *img_decoded_get_memory (ImgDecodedCache *cache, ImgDecodedEntry *entry,
                                         ImgError **error);
const guint8    *img_decoded_get_plain  (ImgDecodedEntry *entry);
/* @n_plain bytes are there. The owner's pin stays: _unpin follows. */
void             img_decoded_ready      (ImgDecodedCache *cache, ImgDecodedEntry *entry,
                                         gsize n_plain);
void             img_decoded_failed     (ImgDecodedCache *cache, ImgDecodedEntry *entry);
/* Stored bytes in the range are about to change: what was decoded of them is not found again. */
void             img_decoded_forget     (ImgDecodedCache *cache, guint64 host_offset,
                                         guint64 length);
void             img_decoded_unpin      (ImgDecodedCache *cache, ImgDecodedEntry *entry);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgDecodedCache, img_decoded_cache_free)

G_END_DECLS
