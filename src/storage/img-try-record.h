/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whether it has been worth while, lately, to try a read without waiting.
 *
 * A try that finds nothing in memory is not for nothing: the kernel takes a page and begins to read, on the thread
 * that tries, which for a main loop is the one that has no time. So where one try after the other finds nothing, a file
 * that is read for the first time, most reads are left to workers at once; now and then one is tried nevertheless, and
 * one that succeeds makes the next ones be tried again, until it turns out to have been chance.
 *
 * Threads share a record without order: a count that is lost delays a decision by one read. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define IMG_TRY_MISSES 16 /* until tries are given up; a success takes half of them back */
#define IMG_TRY_EVERY 16  /* reads, from then on */

typedef struct
{
  guint n_misses;  /* atomic; no more than IMG_TRY_MISSES */
  guint n_skipped; /* atomic */
} ImgTryRecord;

static inline gboolean
img_try_record_is_worth_it (ImgTryRecord *record)
{
  if (G_LIKELY (__atomic_load_n (&record->n_misses, __ATOMIC_RELAXED) < IMG_TRY_MISSES))
    return TRUE;
  return __atomic_add_fetch (&record->n_skipped, 1, __ATOMIC_RELAXED) % IMG_TRY_EVERY == 0;
}

static inline void
img_try_record_add (ImgTryRecord *record, gboolean success)
{
  guint n_misses = __atomic_load_n (&record->n_misses, __ATOMIC_RELAXED);
  guint n_now = success ? n_misses / 2 : MIN (n_misses + 1, IMG_TRY_MISSES);

  if (G_UNLIKELY (n_now != n_misses))
    __atomic_store_n (&record->n_misses, n_now, __ATOMIC_RELAXED);
}

G_END_DECLS
