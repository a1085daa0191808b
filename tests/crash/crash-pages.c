/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crash-pages.h"
#include "img-iov.h"

#define PAGE_BYTES 4096u
#define MAX_PAGES (1u << 22) /* a test that goes further has gone astray */

typedef struct
{
  guint8 bytes[PAGE_BYTES];
} Page;

static const Page zero_page;

struct _CrashPages
{
  CrashPages *base;
  guint64 size;
  GPtrArray *pages; /* of Page; NULL: as in the base, or zero */
  GArray *touched;  /* of gsize: the members of pages that are not NULL */
};

CrashPages *
crash_pages_new (CrashPages *base)
{
  CrashPages *pages = g_new0 (CrashPages, 1);

  pages->base = base;
  pages->pages = g_ptr_array_new_with_free_func (g_free);
  pages->touched = g_array_new (FALSE, FALSE, sizeof (gsize));
  pages->size = base != NULL ? base->size : 0;
  return pages;
}

void
crash_pages_free (CrashPages *pages)
{
  g_ptr_array_unref (pages->pages);
  g_array_unref (pages->touched);
  g_free (pages);
}

void
crash_pages_reset (CrashPages *pages)
{
  for (guint i = 0; i < pages->touched->len; i++)
    g_clear_pointer (&pages->pages->pdata[g_array_index (pages->touched, gsize, i)], g_free);
  g_array_set_size (pages->touched, 0);
  pages->size = pages->base != NULL ? pages->base->size : 0;
}

static const Page *
look_at (CrashPages *pages, guint64 index)
{
  for (; pages != NULL; pages = pages->base)
    if (index < pages->pages->len && pages->pages->pdata[index] != NULL)
      return pages->pages->pdata[index];
  return &zero_page;
}

/* One more than the last page that may hold anything but zeroes. */
static guint64
count_pages (CrashPages *pages)
{
  guint64 n = 0;

  for (; pages != NULL; pages = pages->base)
    n = MAX (n, pages->pages->len);
  return n;
}

static Page *
own_page (CrashPages *pages, gsize index)
{
  g_assert (index < MAX_PAGES);
  if (index >= pages->pages->len)
    g_ptr_array_set_size (pages->pages, (gint) index + 1);
  if (pages->pages->pdata[index] == NULL)
    {
      pages->pages->pdata[index] = g_memdup2 (look_at (pages, index), sizeof (Page));
      g_array_append_val (pages->touched, index);
    }
  return pages->pages->pdata[index];
}

/* The part of [@offset, @offset + @length) in the page of @offset. */
static gsize
in_page (guint64 offset, guint64 length)
{
  return MIN (length, PAGE_BYTES - offset % PAGE_BYTES);
}

void
crash_pages_read (CrashPages *pages, guint64 offset, gpointer buffer, gsize length)
{
  guint8 *bytes = buffer;

  while (length > 0)
    {
      gsize part = in_page (offset, length);

      memcpy (bytes, look_at (pages, offset / PAGE_BYTES)->bytes + offset % PAGE_BYTES, part);
      bytes += part;
      offset += part;
      length -= part;
    }
}

guint64
crash_pages_skip_zeroes (CrashPages *pages, guint64 offset, guint64 end)
{
  while (offset < end && look_at (pages, offset / PAGE_BYTES) == &zero_page)
    offset += in_page (offset, end - offset);
  return offset;
}

void
crash_pages_write (CrashPages *pages, guint64 offset, gconstpointer data, gsize length)
{
  const guint8 *bytes = data;

  while (length > 0)
    {
      gsize part = in_page (offset, length);

      memcpy (own_page (pages, offset / PAGE_BYTES)->bytes + offset % PAGE_BYTES, bytes, part);
      bytes += part;
      offset += part;
      length -= part;
    }
}

void
crash_pages_zero (CrashPages *pages, guint64 offset, guint64 length)
{
  guint64 end = count_pages (pages) * PAGE_BYTES;

  length = offset < end ? MIN (length, end - offset) : 0;
  while (length > 0)
    {
      gsize part = in_page (offset, length);

      if (look_at (pages, offset / PAGE_BYTES) != &zero_page)
        memset (own_page (pages, offset / PAGE_BYTES)->bytes + offset % PAGE_BYTES, 0, part);
      offset += part;
      length -= part;
    }
}

guint64
crash_pages_get_size (CrashPages *pages)
{
  return pages->size;
}

void
crash_pages_set_size (CrashPages *pages, guint64 size)
{
  guint64 end = count_pages (pages) * PAGE_BYTES;

  if (size < end)
    crash_pages_zero (pages, size, end - size);
  pages->size = size;
}

CrashPages *
crash_pages_copy (CrashPages *pages)
{
  CrashPages *copy = crash_pages_new (NULL);
  guint64 n = count_pages (pages);

  for (guint64 i = 0; i < n; i++)
    if (look_at (pages, i) != &zero_page)
      *own_page (copy, i) = *look_at (pages, i);
  copy->size = pages->size;
  return copy;
}

gboolean
crash_pages_equal (CrashPages *pages, CrashPages *other)
{
  guint64 n = MAX (count_pages (pages), count_pages (other));

  for (guint64 i = 0; i < n; i++)
    if (look_at (pages, i) != look_at (other, i) &&
        memcmp (look_at (pages, i), look_at (other, i), sizeof (Page)) != 0)
      return FALSE;
  return pages->size == other->size;
}

void
crash_pages_save (CrashPages *pages, const char *path)
{
  FILE *file = fopen (path, "wb");
  guint64 n = MIN (count_pages (pages), (pages->size + PAGE_BYTES - 1) / PAGE_BYTES);
  int result;

  g_assert_nonnull (file);
  for (guint64 i = 0; i < n; i++)
    if (look_at (pages, i) != &zero_page)
      {
        gsize length = MIN (PAGE_BYTES, pages->size - i * PAGE_BYTES);

        result = fseeko (file, (off_t) (i * PAGE_BYTES), SEEK_SET);
        g_assert_cmpint (result, ==, 0);
        g_assert_cmpuint (fwrite (look_at (pages, i), 1, length, file), ==, length);
      }
  result = fflush (file);
  g_assert_cmpint (result, ==, 0);
  result = ftruncate (fileno (file), (off_t) pages->size);
  g_assert_cmpint (result, ==, 0);
  result = fclose (file);
  g_assert_cmpint (result, ==, 0);
}

void
crash_pages_load (CrashPages *pages, GBytes *bytes)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);

  crash_pages_write (pages, 0, data, size);
  crash_pages_set_size (pages, size);
}

/* ---- as a storage ---- */

static void
grow_to (CrashPages *pages, guint64 end)
{
  if (end > pages->size)
    crash_pages_set_size (pages, end);
}

static void
read_iov (CrashPages *pages, const ImgIo *io)
{
  guint64 offset = io->offset;

  for (guint i = 0; i < io->n_iov; i++)
    {
      crash_pages_read (pages, offset, io->iov[i].iov_base, io->iov[i].iov_len);
      offset += io->iov[i].iov_len;
    }
}

static void
write_iov (CrashPages *pages, const ImgIo *io)
{
  guint64 offset = io->offset;

  for (guint i = 0; i < io->n_iov; i++)
    {
      crash_pages_write (pages, offset, io->iov[i].iov_base, io->iov[i].iov_len);
      offset += io->iov[i].iov_len;
    }
}

void
crash_pages_submit (CrashPages *pages, const ImgIo *io)
{
  switch (io->op)
    {
    case IMG_IO_READ:
      read_iov (pages, io);
      break;
    case IMG_IO_WRITE:
      grow_to (pages, io->offset + io->length);
      write_iov (pages, io);
      break;
    case IMG_IO_ZERO:
      grow_to (pages, io->offset + io->length);
      crash_pages_zero (pages, io->offset, io->length);
      break;
    case IMG_IO_DISCARD:
      crash_pages_zero (pages, io->offset, io->length);
      break;
    case IMG_IO_ALLOCATE:
      grow_to (pages, io->offset + io->length);
      break;
    case IMG_IO_TRUNCATE:
      crash_pages_set_size (pages, io->offset);
      break;
    case IMG_IO_FLUSH:
      break;
    default:
      g_assert_not_reached ();
    }
}

typedef struct
{
  ImgStorage parent;
  CrashPages *pages;
} PagesStorage;

static void
pages_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    {
      g_assert (storage->can_write || ios[i].op == IMG_IO_READ);
      crash_pages_submit (((PagesStorage *) storage)->pages, &ios[i]);
      img_io_complete (&ios[i], NULL);
    }
}

static gboolean
pages_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((PagesStorage *) storage)->pages->size;
  return TRUE;
}

static void
pages_free (ImgStorage *storage)
{
  g_free (storage);
}

static const ImgStorageClass pages_class = {
  .type_name = "pages",
  .submit = pages_submit,
  .get_size = pages_get_size,
  .free = pages_free,
};

ImgStorage *
crash_pages_storage_new (CrashPages *pages, const char *name, gboolean can_write)
{
  PagesStorage *storage = g_new0 (PagesStorage, 1);

  img_storage_init (&storage->parent, &pages_class, name);
  storage->parent.can_write = can_write;
  storage->pages = pages;
  return &storage->parent;
}
