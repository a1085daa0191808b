/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-joined.h"

#include "img-iov.h"

typedef struct
{
  ImgImage *image;
  guint64 start;
  guint64 end; /* of the disk; the next one may start a little later */
} Part;

typedef struct
{
  ImgStorage parent;
  GArray *parts; /* of Part, in order */
  guint64 size;
} JoinedStorage;

/* The part that @offset is in or behind, and where the next one starts. */
static const Part *
find_part (const JoinedStorage *joined, guint64 offset, guint64 *next_start)
{
  guint n = joined->parts->len, i = n - 1;

  while (i > 0 && g_array_index (joined->parts, Part, i).start > offset)
    i--;
  *next_start = i + 1 < n ? g_array_index (joined->parts, Part, i + 1).start : G_MAXUINT64;
  return &g_array_index (joined->parts, Part, i);
}

static ImgError *
read_all (const JoinedStorage *joined, const ImgIo *io)
{
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  guint64 offset = io->offset, left = io->length;
  ImgError *error = NULL;

  while (left > 0)
    {
      guint64 next_start;
      const Part *part = find_part (joined, offset, &next_start);
      gboolean is_inside = offset < part->end;
      guint64 stop = is_inside ? part->end : next_start;
      gsize length = (gsize) MIN (left, stop - offset);

      if (is_inside)
        {
          struct iovec iov = img_iov_cursor_next (&cursor, length);

          length = iov.iov_len;
          if (!img_image_readv (part->image, offset - part->start, &iov, 1, NULL, &error))
            return error;
        }
      else
        img_iov_cursor_zero (&cursor, length);
      offset += length;
      left -= length;
    }
  return NULL;
}

static void
joined_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    if (ios[i].flags & IMG_IO_NOWAIT)
      img_io_complete_partly (&ios[i], 0);
    else
      img_io_complete (&ios[i], read_all ((JoinedStorage *) storage, &ios[i]));
}

static gboolean
joined_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((JoinedStorage *) storage)->size;
  return TRUE;
}

static gboolean
joined_get_range (ImgStorage *storage,
                  guint64 offset,
                  guint64 length,
                  ImgRange *range,
                  ImgError **error)
{
  guint64 next_start;
  const Part *part = find_part ((JoinedStorage *) storage, offset, &next_start);
  ImgBlock block;

  if (offset >= part->end)
    {
      *range = (ImgRange){ IMG_RANGE_ZERO, MIN (length, next_start - offset) };
      return TRUE;
    }
  if (!img_image_map (part->image, offset - part->start, MIN (length, part->end - offset),
                      IMG_BLOCK_MAP_HOST_HOLES, &block, NULL, error))
    return FALSE;
  *range = (ImgRange){ block.reads_as_zero ? IMG_RANGE_ZERO : IMG_RANGE_DATA, block.length };
  return TRUE;
}

static gboolean
joined_uses_file (ImgStorage *storage, const ImgIdentity *file)
{
  GArray *parts = ((JoinedStorage *) storage)->parts;

  for (guint i = 0; i < parts->len; i++)
    if (img_image_uses_file (g_array_index (parts, Part, i).image, file))
      return TRUE;
  return FALSE;
}

static gboolean
joined_may_wait (ImgStorage *storage, ImgError **error)
{
  GArray *parts = ((JoinedStorage *) storage)->parts;

  for (guint i = 0; i < parts->len; i++)
    if (!img_image_may_wait (g_array_index (parts, Part, i).image, error))
      return FALSE;
  return TRUE;
}

static void
joined_free (ImgStorage *storage)
{
  GArray *parts = ((JoinedStorage *) storage)->parts;

  for (guint i = 0; i < parts->len; i++)
    img_image_unref (g_array_index (parts, Part, i).image);
  g_array_unref (parts);
  g_free (storage);
}

static const ImgStorageClass joined_class = {
  .type_name = "joined",
  .submit = joined_submit,
  .get_size = joined_get_size,
  .free = joined_free,
  .get_range = joined_get_range,
  .uses_file = joined_uses_file,
  .may_wait = joined_may_wait,
};

ImgStorage *
img_joined_storage_new (ImgImage *const *images, guint n_images)
{
  JoinedStorage *joined = g_new0 (JoinedStorage, 1);
  const char *name = img_storage_get_name (img_image_get_storage (images[0]));

  img_storage_init (&joined->parent, &joined_class, name);
  joined->parts = g_array_sized_new (FALSE, FALSE, sizeof (Part), n_images);
  for (guint i = 0; i < n_images; i++)
    {
      guint64 size = img_image_get_size (images[i]);
      Part part = { img_image_ref (images[i]), joined->size, joined->size + size };

      g_array_append_val (joined->parts, part);
      joined->size += i + 1 < n_images ? img_align_up (size, IMG_JOINED_SECTOR) : size;
    }
  return &joined->parent;
}
