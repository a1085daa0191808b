/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-iov.h"
#include "img-simple-storages.h"

/* ---- memory ---- */

typedef struct
{
  ImgStorage parent;
  GBytes *bytes;
} MemoryStorage;

static void
memory_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (((MemoryStorage *) storage)->bytes, &size);

  for (guint i = 0; i < n_ios; i++)
    {
      ImgIovCursor cursor = img_iov_cursor (ios[i].iov, ios[i].n_iov);
      gsize present = ios[i].offset < size ? MIN (ios[i].length, size - ios[i].offset) : 0;

      if (present > 0)
        img_iov_cursor_copy (&cursor, data + ios[i].offset, present);
      img_iov_cursor_zero (&cursor, ios[i].length - present);
      img_io_complete (&ios[i], NULL);
    }
}

static gboolean
memory_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = g_bytes_get_size (((MemoryStorage *) storage)->bytes);
  return TRUE;
}

static void
memory_free (ImgStorage *storage)
{
  g_bytes_unref (((MemoryStorage *) storage)->bytes);
  g_free (storage);
}

static const ImgStorageClass memory_class = {
  .type_name = "memory",
  .submit = memory_submit,
  .get_size = memory_get_size,
  .free = memory_free,
};

ImgStorage *
img_memory_storage_new (GBytes *bytes)
{
  MemoryStorage *memory = g_new0 (MemoryStorage, 1);

  img_storage_init (&memory->parent, &memory_class, NULL);
  memory->bytes = g_bytes_ref (bytes);
  return &memory->parent;
}

/* ---- null ---- */

typedef struct
{
  ImgStorage parent;
  guint64 size;
} NullStorage;

static void
null_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    {
      ImgIovCursor cursor = img_iov_cursor (ios[i].iov, ios[i].n_iov);

      /* What is written is forgotten. */
      if (ios[i].op == IMG_IO_READ)
        img_iov_cursor_zero (&cursor, ios[i].length);
      img_io_complete (&ios[i], NULL);
    }
}

static gboolean
null_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((NullStorage *) storage)->size;
  return TRUE;
}

static gboolean
null_get_range (ImgStorage *storage,
                guint64 offset,
                guint64 length,
                ImgRange *range,
                ImgError **error)
{
  *range = (ImgRange) { IMG_RANGE_ZERO, length };
  return TRUE;
}

static gboolean
null_get_usage (ImgStorage *storage, guint64 *usage, ImgError **error)
{
  *usage = 0;
  return TRUE;
}

static void
null_free (ImgStorage *storage)
{
  g_free (storage);
}

static const ImgStorageClass null_class = {
  .type_name = "null",
  .submit = null_submit,
  .get_size = null_get_size,
  .free = null_free,
  .get_range = null_get_range,
  .get_usage = null_get_usage,
};

ImgStorage *
img_null_storage_new (guint64 size)
{
  NullStorage *null = g_new0 (NullStorage, 1);

  img_storage_init (&null->parent, &null_class, NULL);
  null->parent.can_write = TRUE;
  null->size = size;
  return &null->parent;
}

/* ---- window ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  guint64 offset;
  guint64 length;
} WindowStorage;

/* A request that reaches past the end of the window: what lies inside, then zeroes. */
static ImgError *
read_over_end (WindowStorage *window, const ImgIo *io)
{
  gsize inside = io->offset < window->length ? window->length - io->offset : 0;
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  guint64 offset = window->offset + io->offset;
  ImgError *error = NULL;

  for (gsize left = inside; left > 0;)
    {
      struct iovec part = img_iov_cursor_next (&cursor, left);

      if (!img_storage_read (window->base, offset, part.iov_base, part.iov_len, &error))
        return error;
      offset += part.iov_len;
      left -= part.iov_len;
    }
  img_iov_cursor_zero (&cursor, io->length - inside);
  return NULL;
}

/* A window keeps its size. */
static ImgError *
change_over_end (const WindowStorage *window, const ImgIo *io)
{
  ImgError *error = NULL;

  if (io->op != IMG_IO_TRUNCATE || io->offset != window->length)
    img_error_set (&error, IMG_CODE_OUT_OF_RANGE,
                   _("A window of %" PRIu64 " bytes cannot change its size"), window->length);
  return error;
}

static void
window_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  WindowStorage *window = (WindowStorage *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgIo *io = &ios[i];

      if (io->op == IMG_IO_FLUSH)
        img_storage_submit (window->base, io, 1);
      else if (io->op == IMG_IO_TRUNCATE ||
               (io->op != IMG_IO_READ && !img_range_fits (io->offset, io->length, window->length)))
        img_io_complete (io, change_over_end (window, io));
      else if (G_LIKELY (img_range_fits (io->offset, io->length, window->length)))
        {
          io->offset += window->offset; /* the base completes the same request */
          img_storage_submit (window->base, io, 1);
        }
      else if (io->flags & IMG_IO_NOWAIT)
        img_io_complete_partly (io, 0);
      else
        img_io_complete (io, read_over_end (window, io));
    }
}

static gboolean
window_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((WindowStorage *) storage)->length;
  return TRUE;
}

static gboolean
window_get_range (ImgStorage *storage,
                  guint64 offset,
                  guint64 length,
                  ImgRange *range,
                  ImgError **error)
{
  WindowStorage *window = (WindowStorage *) storage;

  if (offset >= window->length)
    {
      *range = (ImgRange) { IMG_RANGE_ZERO, length };
      return TRUE;
    }
  return img_storage_get_range (window->base, window->offset + offset,
                                MIN (length, window->length - offset), range, error);
}

static gboolean
window_lock (ImgStorage *storage,
             ImgLockRole role,
             ImgLocking locking,
             ImgFileLock **lock,
             ImgError **error)
{
  return img_storage_lock (((WindowStorage *) storage)->base, role, locking, lock, error);
}

static gboolean
window_uses_file (ImgStorage *storage, const ImgIdentity *file)
{
  return img_storage_uses_file (((WindowStorage *) storage)->base, file);
}

static gboolean
window_may_wait (ImgStorage *storage, ImgError **error)
{
  return img_storage_may_wait (((WindowStorage *) storage)->base, error);
}

static void
window_free (ImgStorage *storage)
{
  img_storage_unref (((WindowStorage *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass window_class = {
  .type_name = "window",
  .submit = window_submit,
  .get_size = window_get_size,
  .free = window_free,
  .get_range = window_get_range,
  .uses_file = window_uses_file,
  .lock = window_lock,
  .may_wait = window_may_wait,
};

ImgStorage *
img_window_storage_new (ImgStorage *base, guint64 offset, guint64 length)
{
  WindowStorage *window = g_new0 (WindowStorage, 1);

  img_storage_init (&window->parent, &window_class, base->name);
  window->base = img_storage_ref (base);
  window->offset = offset;
  window->length = MIN (length, G_MAXUINT64 - offset);
  window->parent.can_write = base->can_write;
  window->parent.calls_out = base->calls_out;
  window->parent.may_hang = base->may_hang;
  return &window->parent;
}
