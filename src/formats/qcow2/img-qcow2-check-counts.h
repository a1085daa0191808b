/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One number for every cluster of a file, in as few bits as the largest of them needs: one bit a cluster
 * for a healthy image, more as soon as a number does not fit. */

#pragma once

#include "img-cancel.h"
#include "img-common.h"

G_BEGIN_DECLS

/* So many clusters, entries or refcounts at most are gone over between two looks at whether it was cancelled; each
 * takes much less than a microsecond. */
#define IMG_QCOW2_LOOK_INTERVAL 65536

typedef struct
{
  guint64 *words; /* numbers lie in them from the lowest bit up */
  guint64 n;
  guint order;    /* 2^order bits each, at most 64 */
  ImgCancel *cancel; /* nullable: looked at while all are made wider; borrowed */
} ImgQcow2Counts;

/* All zero. @cancel: nullable, must live as long; where it is triggered a change may fail, and changes nothing. */
gboolean img_qcow2_counts_init   (ImgQcow2Counts *counts, guint64 n, ImgCancel *cancel,
                                  ImgError **error);
void     img_qcow2_counts_clear  (ImgQcow2Counts *counts);
/* To at least @n; what is new is zero. */
gboolean img_qcow2_counts_grow   (ImgQcow2Counts *counts, guint64 n, ImgError **error);
gboolean img_qcow2_counts_set    (ImgQcow2Counts *counts, guint64 index, guint64 value,
                                  ImgError **error);
/* Adds @times to @length numbers, but not beyond @limit; *excess grows by what was not added. */
gboolean img_qcow2_counts_add    (ImgQcow2Counts *counts, guint64 first, guint64 length,
                                  guint64 times, guint64 limit, guint64 *excess, ImgError **error);
/* Whether all of @length numbers are 1. */
gboolean img_qcow2_counts_are_one (const ImgQcow2Counts *counts, guint64 first, guint64 length);
/* The first index from @first on where the two differ; @end, or the smaller n, if there is none before. */
guint64  img_qcow2_counts_find_difference (const ImgQcow2Counts *a, const ImgQcow2Counts *b,
                                           guint64 first, guint64 end);

static inline guint64
img_qcow2_counts_get (const ImgQcow2Counts *counts, guint64 index)
{
  guint in_word = 6 - counts->order;
  guint shift = (guint) (index & (((guint64) 1 << in_word) - 1)) << counts->order;
  guint64 mask = G_MAXUINT64 >> (64 - (1u << counts->order));

  return (counts->words[index >> in_word] >> shift) & mask;
}

G_END_DECLS
