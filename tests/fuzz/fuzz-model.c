/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fuzz-model.h"

#include "fuzz-storage.h"

#define PAGE ((guint64) 4096)
#define SECTOR ((guint64) 512)

typedef struct
{
  guint64 number;
  gboolean is_known; /* FALSE: it could not be read, as where a compressed cluster is damaged */
  guint8 bytes[PAGE];
} Page;

struct _FuzzModel
{
  GHashTable *pages; /* of Page, each its own key */
};

FuzzModel *
fuzz_model_new (void)
{
  FuzzModel *self = g_new0 (FuzzModel, 1);

  self->pages = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  return self;
}

void
fuzz_model_free (FuzzModel *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->pages);
  g_free (self);
}

static Page *
find_page (FuzzModel *self, guint64 number)
{
  return g_hash_table_lookup (self->pages, &number);
}

/* Past the end of the disk is zero. */
static gboolean
read_page (ImgImage *image, guint64 number, guint8 *bytes)
{
  guint64 size = img_image_get_size (image);
  guint64 offset = number * PAGE;
  g_autoptr (ImgError) error = NULL;

  memset (bytes, 0, PAGE);
  return offset >= size ||
         img_image_read (image, offset, bytes, (gsize) MIN (PAGE, size - offset), NULL, &error);
}

void
fuzz_model_touch (FuzzModel *self, ImgImage *image, guint64 offset, guint64 length)
{
  if (length == 0)
    return;
  for (guint64 number = offset / PAGE; number <= (offset + length - 1) / PAGE; number++)
    {
      Page *page;

      if (find_page (self, number) != NULL)
        continue;
      page = g_new (Page, 1);
      page->number = number;
      page->is_known = read_page (image, number, page->bytes);
      g_hash_table_add (self->pages, page);
    }
}

static gsize
part_length (guint64 offset, guint64 length)
{
  return (gsize) MIN (length, PAGE - offset % PAGE);
}

static void
lay_over (guint8 *page, guint64 offset, const guint8 *bytes, gsize length)
{
  if (bytes != NULL)
    memcpy (page + offset % PAGE, bytes, length);
  else
    memset (page + offset % PAGE, 0, length);
}

void
fuzz_model_set (FuzzModel *self, guint64 offset, const guint8 *bytes, guint64 length)
{
  for (gsize part; length > 0; offset += part, length -= part)
    {
      Page *page = find_page (self, offset / PAGE);

      part = part_length (offset, length);
      if (part == PAGE)
        page->is_known = TRUE;
      lay_over (page->bytes, offset, bytes, part);
      if (bytes != NULL)
        bytes += part;
    }
}

static void
adopt_page (Page *page, ImgImage *image, guint64 offset, const guint8 *bytes, gsize length)
{
  guint8 changed[PAGE], found[PAGE];
  gboolean was_known = page->is_known;

  memcpy (changed, page->bytes, PAGE);
  lay_over (changed, offset, bytes, length);
  page->is_known = read_page (image, page->number, found);
  for (guint64 at = 0; was_known && page->is_known && at < PAGE; at += SECTOR)
    fuzz_require (memcmp (found + at, page->bytes + at, SECTOR) == 0 ||
                    memcmp (found + at, changed + at, SECTOR) == 0,
                  "the sector at %" G_GUINT64_FORMAT " has neither its old nor its new content",
                  page->number * PAGE + at);
  memcpy (page->bytes, found, PAGE);
}

void
fuzz_model_adopt (FuzzModel *self,
                  ImgImage *image,
                  guint64 offset,
                  const guint8 *bytes,
                  guint64 length)
{
  for (gsize part; length > 0; offset += part, length -= part)
    {
      part = part_length (offset, length);
      adopt_page (find_page (self, offset / PAGE), image, offset, bytes, part);
      if (bytes != NULL)
        bytes += part;
    }
}

void
fuzz_model_resize (FuzzModel *self, guint64 old_size, guint64 size)
{
  guint64 limit = MIN (old_size, size);
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, self->pages);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    {
      Page *page = key;
      guint64 offset = page->number * PAGE;

      if (offset >= limit)
        {
          page->is_known = TRUE;
          memset (page->bytes, 0, PAGE);
        }
      else if (limit - offset < PAGE)
        memset (page->bytes + (limit - offset), 0, PAGE - (limit - offset));
    }
}

void
fuzz_model_verify (FuzzModel *self, ImgImage *image, const char *when)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, self->pages);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    {
      const Page *page = key;
      guint8 found[PAGE];

      if (!page->is_known)
        continue;
      fuzz_require (read_page (image, page->number, found),
                    "%s: what was written at %" G_GUINT64_FORMAT " cannot be read", when,
                    page->number * PAGE);
      fuzz_require (memcmp (found, page->bytes, PAGE) == 0,
                    "%s: other bytes than were written at %" G_GUINT64_FORMAT, when,
                    page->number * PAGE);
    }
}
