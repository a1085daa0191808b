/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One small number for each cluster of a disk, most of them 0: pages that hold as many as an L2 table has entries,
 * and no page where all are 0. What a number takes is chosen once: 2 or 16 bits. */

#pragma once

#include "img-common.h"

G_BEGIN_DECLS

typedef struct
{
  guint8 **pages;
  guint64 n_pages;
  guint page_bits; /* 2 to the power of that: numbers in a page */
  guint value_bits;
  guint64 memory;  /* bytes in pages */
} ImgQcow2Notes;

gboolean img_qcow2_notes_init  (ImgQcow2Notes *notes, guint64 n_pages, guint page_bits, guint value_bits,
                                ImgError **error);
void     img_qcow2_notes_clear (ImgQcow2Notes *notes);
guint    img_qcow2_notes_get   (const ImgQcow2Notes *notes, guint64 index);
/* Of @count numbers in a row. Fails where that takes too much memory. */
gboolean img_qcow2_notes_set   (ImgQcow2Notes *notes, guint64 index, guint64 count, guint value,
                                ImgError **error);
/* The first at or after @index, and before @end, that is @min or more; @end if there is none. */
guint64  img_qcow2_notes_find  (const ImgQcow2Notes *notes, guint64 index, guint64 end, guint min);

static inline gboolean
img_qcow2_notes_has_page (const ImgQcow2Notes *notes, guint64 page)
{
  return notes->pages[page] != NULL;
}

G_END_DECLS
