/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-qcow2-check-counts.h"

static guint64
get_max (const ImgQcow2Counts *counts)
{
  return G_MAXUINT64 >> (64 - (1u << counts->order));
}

static guint64
count_words (guint64 n, guint order)
{
  return img_div_round_up (n, (guint64) 1 << (6 - order));
}

static void
store (ImgQcow2Counts *counts, guint64 index, guint64 value)
{
  guint in_word = 6 - counts->order;
  guint shift = (guint) (index & (((guint64) 1 << in_word) - 1)) << counts->order;
  guint64 *word = &counts->words[index >> in_word];

  *word = (*word & ~(get_max (counts) << shift)) | (value << shift);
}

static gboolean
alloc (ImgQcow2Counts *counts, guint64 n, guint order, ImgCancel *cancel, ImgError **error)
{
  guint64 n_words = MAX (count_words (n, order), 1);

  *counts = (ImgQcow2Counts) { .n = n, .order = order, .cancel = cancel };
  counts->words = img_try_alloc0 (n_words, sizeof (guint64), error);
  return counts->words != NULL;
}

gboolean
img_qcow2_counts_init (ImgQcow2Counts *counts, guint64 n, ImgCancel *cancel, ImgError **error)
{
  return alloc (counts, n, 0, cancel, error);
}

void
img_qcow2_counts_clear (ImgQcow2Counts *counts)
{
  g_clear_pointer (&counts->words, img_free);
}

gboolean
img_qcow2_counts_grow (ImgQcow2Counts *counts, guint64 n, ImgError **error)
{
  ImgQcow2Counts larger;

  if (n <= counts->n)
    return TRUE;
  if (count_words (n, counts->order) <= MAX (count_words (counts->n, counts->order), 1))
    {
      counts->n = n;
      return TRUE;
    }
  if (!alloc (&larger, n, counts->order, counts->cancel, error))
    return FALSE;
  memcpy (larger.words, counts->words, count_words (counts->n, counts->order) * sizeof (guint64));
  img_qcow2_counts_clear (counts);
  *counts = larger;
  return TRUE;
}

/* Makes every number wide enough for @value. */
static gboolean
widen (ImgQcow2Counts *counts, guint64 value, ImgError **error)
{
  guint order = counts->order;
  ImgQcow2Counts wider;

  while (value > G_MAXUINT64 >> (64 - (1u << order)))
    order++;
  if (order == counts->order)
    return TRUE;
  if (!alloc (&wider, counts->n, order, counts->cancel, error))
    return FALSE;
  for (guint64 i = 0; i < counts->n; i++)
    {
      if (i % IMG_QCOW2_LOOK_INTERVAL == 0 && img_cancel_check (counts->cancel, error))
        {
          img_qcow2_counts_clear (&wider);
          return FALSE;
        }
      store (&wider, i, img_qcow2_counts_get (counts, i));
    }
  img_qcow2_counts_clear (counts);
  *counts = wider;
  return TRUE;
}

gboolean
img_qcow2_counts_set (ImgQcow2Counts *counts, guint64 index, guint64 value, ImgError **error)
{
  if (G_UNLIKELY (value > get_max (counts)) && !widen (counts, value, error))
    return FALSE;
  store (counts, index, value);
  return TRUE;
}

/* The bits of one word that stand for [first, first + length), as far as they lie in it. */
static guint64
get_bits (guint64 first, guint64 length, guint64 *taken)
{
  guint shift = first & 63;

  *taken = MIN (length, 64 - shift);
  return (G_MAXUINT64 >> (64 - *taken)) << shift;
}

/* For single bits that are to become 1: a word at a time as long as they are 0. The number of those set. */
static guint64
set_bits (ImgQcow2Counts *counts, guint64 first, guint64 length)
{
  guint64 done = 0;

  while (done < length)
    {
      guint64 taken;
      guint64 bits = get_bits (first + done, length - done, &taken);
      guint64 *word = &counts->words[(first + done) >> 6];

      if (*word & bits)
        break;
      *word |= bits;
      done += taken;
    }
  return done;
}

static gboolean
add_one (ImgQcow2Counts *counts,
         guint64 index,
         guint64 times,
         guint64 limit,
         guint64 *excess,
         ImgError **error)
{
  guint64 old = img_qcow2_counts_get (counts, index);
  guint64 added = MIN (times, limit - MIN (old, limit));

  *excess += times - added;
  return img_qcow2_counts_set (counts, index, old + added, error);
}

gboolean
img_qcow2_counts_add (ImgQcow2Counts *counts,
                      guint64 first,
                      guint64 length,
                      guint64 times,
                      guint64 limit,
                      guint64 *excess,
                      ImgError **error)
{
  guint64 i = 0;

  while (i < length)
    {
      if (counts->order == 0 && times == 1)
        i += set_bits (counts, first + i, length - i);
      /* Up to the end of the word that was in the way. */
      do
        {
          if (i == length)
            return TRUE;
          if (!add_one (counts, first + i, times, limit, excess, error))
            return FALSE;
          i++;
        }
      while (((first + i) & 63) != 0);
    }
  return TRUE;
}

gboolean
img_qcow2_counts_are_one (const ImgQcow2Counts *counts, guint64 first, guint64 length)
{
  guint64 i = 0;

  while (counts->order == 0 && i < length)
    {
      guint64 taken;
      guint64 bits = get_bits (first + i, length - i, &taken);

      if ((counts->words[(first + i) >> 6] & bits) != bits)
        return FALSE;
      i += taken;
    }
  for (; i < length; i++)
    if (img_qcow2_counts_get (counts, first + i) != 1)
      return FALSE;
  return TRUE;
}

guint64
img_qcow2_counts_find_difference (const ImgQcow2Counts *a,
                                  const ImgQcow2Counts *b,
                                  guint64 first,
                                  guint64 end)
{
  guint64 n = MIN (MIN (a->n, b->n), end);
  guint in_word = 6 - a->order;
  guint64 i = first;

  while (i < n)
    {
      gboolean at_word = (i & (((guint64) 1 << in_word) - 1)) == 0;

      if (a->order == b->order && at_word && n - i >= (guint64) 1 << in_word &&
          a->words[i >> in_word] == b->words[i >> in_word])
        i += (guint64) 1 << in_word;
      else if (img_qcow2_counts_get (a, i) != img_qcow2_counts_get (b, i))
        return i;
      else
        i++;
    }
  return n;
}
