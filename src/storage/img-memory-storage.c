/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A file in memory: pages come when they are written, and go when they are discarded. One mutex guards them
 * all; a request holds it for one page at a time, so requests that overlap may mix, as in a file. */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-copy.h"
#include "img-iov.h"
#include "img-lock.h"
#include "img-simple-storages.h"

#define PAGE_SIZE ((guint64) 65536)

typedef struct
{
  ImgStorage parent;
  ImgMutex mutex;
  GHashTable *pages; /* of ImgBuffer by page number (guint64); what is missing is zero */
  guint64 size;
} MemoryFile;

/* ---- pages; with the mutex ---- */

static guint8 *
find_page (MemoryFile *file, guint64 number)
{
  return g_hash_table_lookup (file->pages, &number);
}

static guint8 *
make_page (MemoryFile *file, guint64 number, ImgError **error)
{
  guint8 *page = find_page (file, number);
  guint64 *key;

  if (page != NULL)
    return page;
  page = img_try_alloc0 (1, PAGE_SIZE, error);
  if (page == NULL)
    return NULL;
  key = g_new (guint64, 1);
  *key = number;
  g_hash_table_insert (file->pages, key, page);
  return page;
}

static void
zero_part (MemoryFile *file, guint64 number, gsize start, gsize length)
{
  guint8 *page = find_page (file, number);

  if (page == NULL)
    return;
  /* What lies past the end is zero anyway. */
  if (start == 0 && (length == PAGE_SIZE || length >= file->size - number * PAGE_SIZE))
    g_hash_table_remove (file->pages, &number);
  else
    memset (page + start, 0, length);
}

/* ---- requests ---- */

/* The part of a request that lies in the page of @offset. */
static gsize
part_length (guint64 offset, guint64 length)
{
  return (gsize) MIN (length, PAGE_SIZE - offset % PAGE_SIZE);
}

static void
read_part (MemoryFile *file, guint64 offset, struct iovec to)
{
  const guint8 *page;

  img_mutex_lock (&file->mutex);
  page = find_page (file, offset / PAGE_SIZE);
  if (page != NULL)
    img_copy (to.iov_base, page + offset % PAGE_SIZE, to.iov_len);
  else
    memset (to.iov_base, 0, to.iov_len);
  img_mutex_unlock (&file->mutex);
}

static gboolean
write_part (MemoryFile *file, guint64 offset, struct iovec from, ImgError **error)
{
  guint8 *page;

  img_mutex_lock (&file->mutex);
  page = make_page (file, offset / PAGE_SIZE, error);
  if (page != NULL)
    {
      img_copy (page + offset % PAGE_SIZE, from.iov_base, from.iov_len);
      file->size = MAX (file->size, offset + from.iov_len);
    }
  img_mutex_unlock (&file->mutex);
  return page != NULL;
}

static ImgError *
transfer (MemoryFile *file, const ImgIo *io)
{
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  ImgError *error = NULL;
  struct iovec part;

  for (guint64 done = 0; done < io->length; done += part.iov_len)
    {
      guint64 offset = io->offset + done;

      part = img_iov_cursor_next (&cursor, part_length (offset, io->length - done));
      if (io->op == IMG_IO_READ)
        read_part (file, offset, part);
      else if (!write_part (file, offset, part, &error))
        return error;
    }
  return NULL;
}

typedef struct
{
  guint64 first;
  guint64 end;
} PageRange;

static gboolean
is_in_range (gpointer key, gpointer value, gpointer data)
{
  const PageRange *range = data;
  guint64 number = *(const guint64 *) key;

  return number >= range->first && number < range->end;
}

/* With the mutex. @end: where the range ends. Whole pages of a range that is longer than all there is are
 * found from the other side: a sparse file of a terabyte is cut in no time. */
static void
zero_range (MemoryFile *file, guint64 offset, guint64 end)
{
  PageRange whole = { offset / PAGE_SIZE + (offset % PAGE_SIZE != 0), end / PAGE_SIZE };

  if (whole.first < whole.end && whole.end - whole.first > g_hash_table_size (file->pages))
    {
      g_hash_table_foreach_remove (file->pages, is_in_range, &whole);
      if (offset < whole.first * PAGE_SIZE)
        zero_range (file, offset, whole.first * PAGE_SIZE);
      offset = whole.end * PAGE_SIZE;
    }
  for (gsize part; offset < end; offset += part)
    {
      part = part_length (offset, end - offset);
      zero_part (file, offset / PAGE_SIZE, offset % PAGE_SIZE, part);
    }
}

static void
change (MemoryFile *file, const ImgIo *io)
{
  guint64 end = io->offset + io->length;

  img_mutex_lock (&file->mutex);
  switch (io->op)
    {
    case IMG_IO_ZERO:
      zero_range (file, io->offset, MIN (end, file->size));
      file->size = MAX (file->size, end);
      break;
    case IMG_IO_DISCARD:
      zero_range (file, io->offset, MIN (end, file->size));
      break;
    case IMG_IO_ALLOCATE: /* memory cannot be reserved */
      file->size = MAX (file->size, end);
      break;
    case IMG_IO_TRUNCATE:
      zero_range (file, io->offset, file->size);
      file->size = io->offset;
      break;
    default:
      break;
    }
  img_mutex_unlock (&file->mutex);
}

static ImgError *
run (MemoryFile *file, const ImgIo *io)
{
  ImgError *error = NULL;

  if (io->op != IMG_IO_READ && !img_range_fits (io->offset, io->length, IMG_MAX_SIZE))
    {
      img_error_set_errno (&error, EFBIG, _("The storage cannot grow that far"));
      return error;
    }
  if (io->op == IMG_IO_READ || io->op == IMG_IO_WRITE)
    return transfer (file, io);
  change (file, io);
  return NULL;
}

static void
memory_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    img_io_complete (&ios[i], run ((MemoryFile *) storage, &ios[i]));
}

/* ---- what it is ---- */

static gboolean
memory_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  MemoryFile *file = (MemoryFile *) storage;

  img_mutex_lock (&file->mutex);
  *size = file->size;
  img_mutex_unlock (&file->mutex);
  return TRUE;
}

static gboolean
memory_get_range (ImgStorage *storage,
                  guint64 offset,
                  guint64 length,
                  ImgRange *range,
                  ImgError **error)
{
  MemoryFile *file = (MemoryFile *) storage;

  img_mutex_lock (&file->mutex);
  range->kind = find_page (file, offset / PAGE_SIZE) != NULL ? IMG_RANGE_DATA : IMG_RANGE_ZERO;
  range->length = part_length (offset, length);
  img_mutex_unlock (&file->mutex);
  return TRUE;
}

static gboolean
memory_get_usage (ImgStorage *storage, guint64 *usage, ImgError **error)
{
  MemoryFile *file = (MemoryFile *) storage;

  img_mutex_lock (&file->mutex);
  *usage = g_hash_table_size (file->pages) * PAGE_SIZE;
  img_mutex_unlock (&file->mutex);
  return TRUE;
}

static void
memory_free (ImgStorage *storage)
{
  MemoryFile *file = (MemoryFile *) storage;

  g_hash_table_unref (file->pages);
  img_mutex_clear (&file->mutex);
  g_free (file);
}

static const ImgStorageClass memory_file_class = {
  .type_name = "memory",
  .submit = memory_submit,
  .get_size = memory_get_size,
  .free = memory_free,
  .get_range = memory_get_range,
  .get_usage = memory_get_usage,
};

ImgStorage *
img_memory_storage_new_writable (guint64 size)
{
  MemoryFile *file = g_new0 (MemoryFile, 1);

  img_storage_init (&file->parent, &memory_file_class, NULL);
  file->parent.can_write = TRUE;
  img_mutex_init (&file->mutex);
  file->pages = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, img_free);
  file->size = size;
  return &file->parent;
}

GBytes *
img_memory_storage_dup_bytes (ImgStorage *storage, ImgError **error)
{
  gsize length;
  guint64 size;
  guint8 *copy;

  if (!img_storage_get_size (storage, &size, error))
    return NULL;
  length = (gsize) MIN (size, G_MAXSIZE);
  copy = img_try_alloc0 (1, MAX (length, 1), error);
  if (copy == NULL)
    return NULL;
  if (!img_storage_read (storage, 0, copy, length, error))
    {
      img_free (copy);
      return NULL;
    }
  return g_bytes_new_with_free_func (copy, length, img_free, copy);
}
