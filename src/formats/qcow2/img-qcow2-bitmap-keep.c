/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Keeping the bitmaps that an image has of its own while it becomes the target of a copy with bitmaps.
 *
 * This writer notes no change in a bitmap: the first change clears the autoclear bit, and what was there is not valid
 * any more (img-qcow2-marks.c). Whoever wants them back afterwards says so before that change:
 *
 *   1. The metadata is checked: what a bitmap's table points to is going to be given back, and in a damaged file might
 *      be somebody else's. From here on no data may be written there.
 *   2. When the copy has ended, well or not, a new directory takes the place of the old one (img-qcow2-bitmap-copy.c).
 *      A bitmap that records changes (the auto flag) gets a table that says it of the whole disk: too much, never too
 *      little, and what qemu-img leaves. Others are what they were, in their clusters, those that were not closed too.
 *   3. With the bit cleared nobody looks at the old directory, nor at the tables and clusters that the new one has no
 *      use for: they are given back before the bit is set again.
 *
 * A crash in between leaves what it leaves of any change: an image whose bitmaps are not valid. */

#include "config.h"

#include "img-alloc.h"
#include "img-qcow2-bitmap.h"
#include "img-qcow2-writer.h"

#define WINDOW_ENTRIES 512

struct _ImgQcow2KeptBitmaps
{
  GPtrArray *bitmaps; /* of ImgQcow2Bitmap */
  guint64 disk_size;
  guint64 directory_offset;
  guint64 directory_size;
};

void
img_qcow2_kept_bitmaps_free (ImgQcow2KeptBitmaps *kept)
{
  if (kept == NULL)
    return;
  g_ptr_array_unref (kept->bitmaps);
  g_free (kept);
}

/* ---- their clusters ---- */

typedef gboolean (*RunFunc) (ImgQcow2 *self, guint64 first, guint64 count, ImgError **error);

/* With the turn. */
static gboolean
protect_run (ImgQcow2 *self, guint64 first, guint64 count, ImgError **error)
{
  return img_cluster_set_add (self->writer->metadata, first, count, error);
}

/* With the turn. */
static gboolean
drop_run (ImgQcow2 *self, guint64 first, guint64 count, ImgError **error G_GNUC_UNUSED)
{
  img_cluster_set_remove (self->writer->metadata, first, count);
  img_qcow2_drop_clusters (self, first, count);
  return TRUE;
}

static gboolean
call_for_bytes (ImgQcow2 *self, guint64 offset, guint64 length, RunFunc func, ImgError **error)
{
  guint64 count = img_div_round_up (length, img_qcow2_get_cluster_size (self));
  gboolean success;

  img_turn_take (&self->writer->turn);
  success = func (self, offset >> self->cluster_bits, count, error);
  img_turn_give (&self->writer->turn);
  return success;
}

static gboolean
call_for_entries (ImgQcow2 *self, const guint64 *entries, guint64 n, RunFunc func, ImgError **error)
{
  for (guint64 i = 0; i < n; i++)
    {
      guint64 entry = GUINT64_FROM_BE (entries[i]);
      guint64 host = entry & IMG_QCOW2_OFFSET_MASK;

      if (!img_qcow2_bitmap_check_table_entry (self->header, entry, error) ||
          (host != 0 && !call_for_bytes (self, host, 1, func, error)))
        return FALSE;
    }
  return TRUE;
}

/* For what holds the bits, then for the table: each cluster once. */
static gboolean
call_for_bitmap (ImgQcow2 *self, const ImgQcow2Bitmap *bitmap, RunFunc func, ImgCancel *cancel, ImgError **error)
{
  guint64 window[WINDOW_ENTRIES], length;

  if (!img_qcow2_bitmap_get_length (self->header, bitmap, &length, error))
    return FALSE;
  for (guint64 at = 0, n; at < bitmap->table_entries; at += n)
    {
      n = MIN (WINDOW_ENTRIES, bitmap->table_entries - at);
      if (img_cancel_check (cancel, error) ||
          !img_storage_read (self->parent.storage, bitmap->table_offset + at * sizeof (guint64), window,
                             (gsize) n * sizeof (guint64), error) ||
          !call_for_entries (self, window, n, func, error))
        return FALSE;
    }
  return call_for_bytes (self, bitmap->table_offset, bitmap->table_entries * sizeof (guint64), func, error);
}

/* ---- keeping ---- */

/* An image that has been written to already has none that are valid. */
static gboolean
list_bitmaps (ImgQcow2 *self, GPtrArray **bitmaps, ImgCancel *cancel, ImgError **error)
{
  *bitmaps = NULL;
  return g_atomic_int_get (&self->writer->has_begun) ||
         (self->header->autoclear & IMG_QCOW2_AUTOCLEAR_BITMAPS) == 0 ||
         img_qcow2_bitmaps_list (self->parent.storage, self->header, bitmaps, cancel, error);
}

gboolean
img_qcow2_keep_bitmaps (ImgLayout *layout, ImgCancel *cancel, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  const ImgQcow2Header *header = self->header;
  g_autoptr (GPtrArray) bitmaps = NULL;
  ImgQcow2KeptBitmaps *kept;

  img_qcow2_forget_kept_bitmaps (self);
  if (!img_qcow2_writer_check (self, error) || !list_bitmaps (self, &bitmaps, cancel, error))
    return FALSE;
  if (bitmaps == NULL)
    return TRUE;
  if (!img_qcow2_check_sound (self, cancel, error))
    return FALSE;
  for (guint i = 0; i < bitmaps->len; i++)
    if (!call_for_bitmap (self, g_ptr_array_index (bitmaps, i), protect_run, cancel, error))
      return FALSE;
  kept = g_new0 (ImgQcow2KeptBitmaps, 1);
  *kept = (ImgQcow2KeptBitmaps) { g_steal_pointer (&bitmaps), header->size, header->bitmap_directory_offset,
                                  header->bitmap_directory_size };
  self->writer->kept_bitmaps = kept;
  return TRUE;
}

void
img_qcow2_forget_kept_bitmaps (ImgQcow2 *self)
{
  g_clear_pointer (&self->writer->kept_bitmaps, img_qcow2_kept_bitmaps_free);
}

const GPtrArray *
img_qcow2_get_kept_bitmaps (ImgQcow2 *self)
{
  ImgQcow2KeptBitmaps *kept = self->writer->kept_bitmaps;

  /* They would speak of a disk of another size. */
  return kept != NULL && kept->disk_size == self->header->size ? kept->bitmaps : NULL;
}

gboolean
img_qcow2_drop_kept_bitmaps (ImgQcow2 *self, gboolean are_renewed, ImgError **error)
{
  g_autoptr (ImgQcow2KeptBitmaps) kept = g_steal_pointer (&self->writer->kept_bitmaps);

  for (guint i = 0; are_renewed && i < kept->bitmaps->len; i++)
    {
      const ImgQcow2Bitmap *bitmap = g_ptr_array_index (kept->bitmaps, i);

      if (img_qcow2_bitmap_records_changes (bitmap) && !call_for_bitmap (self, bitmap, drop_run, NULL, error))
        return FALSE;
    }
  return call_for_bytes (self, kept->directory_offset, kept->directory_size, drop_run, error);
}
