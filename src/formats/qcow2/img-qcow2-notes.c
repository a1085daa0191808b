/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-qcow2-notes.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"

/* 64 TiB of data in clusters of 64 KiB; with 16 bits, 8 TiB. */
#define MAX_MEMORY (256 * IMG_MIB)

static gsize
page_size (const ImgQcow2Notes *notes)
{
  return ((gsize) notes->value_bits << notes->page_bits) / 8;
}

static guint64
in_page (const ImgQcow2Notes *notes, guint64 index)
{
  return index & (((guint64) 1 << notes->page_bits) - 1);
}

gboolean
img_qcow2_notes_init (ImgQcow2Notes *notes,
                      guint64 n_pages,
                      guint page_bits,
                      guint value_bits,
                      ImgError **error)
{
  *notes = (ImgQcow2Notes){ .n_pages = n_pages, .page_bits = page_bits, .value_bits = value_bits };
  notes->pages = img_try_alloc0 (MAX (n_pages, 1), sizeof (guint8 *), error);
  return notes->pages != NULL;
}

void
img_qcow2_notes_clear (ImgQcow2Notes *notes)
{
  for (guint64 i = 0; notes->pages != NULL && i < notes->n_pages; i++)
    img_free (notes->pages[i]);
  g_clear_pointer (&notes->pages, img_free);
}

/* ---- in one page ---- */

static guint
get_in_page (const ImgQcow2Notes *notes, const guint8 *page, guint64 i)
{
  if (notes->value_bits == 16)
    return ((const guint16 *) (gconstpointer) page)[i];
  return page[i / 4] >> (i % 4 * 2) & 3;
}

static void
set_in_page (const ImgQcow2Notes *notes, guint8 *page, guint64 i, guint value)
{
  guint shift = (guint) (i % 4 * 2);

  if (notes->value_bits == 16)
    ((guint16 *) (gpointer) page)[i] = (guint16) value;
  else
    page[i / 4] = (guint8) ((page[i / 4] & ~(3u << shift)) | value << shift);
}

static void
set_run_in_page (const ImgQcow2Notes *notes, guint8 *page, guint64 i, guint64 count, guint value)
{
  if (notes->value_bits == 2 && count == (guint64) 1 << notes->page_bits)
    memset (page, (int) (value * 0x55), page_size (notes));
  else
    for (guint64 end = i + count; i < end; i++)
      set_in_page (notes, page, i, value);
}

/* ---- pages ---- */

static guint8 *
make_page (ImgQcow2Notes *notes, ImgError **error)
{
  notes->memory += page_size (notes);
  if (notes->memory <= MAX_MEMORY)
    return img_try_alloc0 (page_size (notes), 1, error);
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                 _ ("Planning the new image takes more than %u MiB of memory; larger clusters take less"),
                 (guint) (MAX_MEMORY / IMG_MIB));
  return NULL;
}

guint
img_qcow2_notes_get (const ImgQcow2Notes *notes, guint64 index)
{
  const guint8 *page = notes->pages[index >> notes->page_bits];

  return page != NULL ? get_in_page (notes, page, in_page (notes, index)) : 0;
}

gboolean
img_qcow2_notes_set (ImgQcow2Notes *notes, guint64 index, guint64 count, guint value, ImgError **error)
{
  for (guint64 part; count > 0; index += part, count -= part)
    {
      guint8 **page = &notes->pages[index >> notes->page_bits];

      part = MIN (count, ((guint64) 1 << notes->page_bits) - in_page (notes, index));
      if (*page == NULL && value == 0)
        continue;
      if (*page == NULL)
        *page = make_page (notes, error);
      if (*page == NULL)
        return FALSE;
      set_run_in_page (notes, *page, in_page (notes, index), part, value);
    }
  return TRUE;
}

guint64
img_qcow2_notes_find (const ImgQcow2Notes *notes, guint64 index, guint64 end, guint min)
{
  while (index < end)
    {
      const guint8 *page = notes->pages[index >> notes->page_bits];
      guint64 page_end = MIN (((index >> notes->page_bits) + 1) << notes->page_bits, end);

      for (; page != NULL && index < page_end; index++)
        if (get_in_page (notes, page, in_page (notes, index)) >= min)
          return index;
      index = page_end;
    }
  return end;
}
