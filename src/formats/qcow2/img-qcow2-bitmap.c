/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-qcow2-bitmap.h"
#include "img-qcow2-cursor.h"

/* "Bitmaps" in the specification: fixed part, extra data, name, padding to eight bytes. */
#define KNOWN_FLAGS (IMG_QCOW2_BITMAP_IN_USE | IMG_QCOW2_BITMAP_AUTO)
#define MIN_GRANULARITY_BITS 9
#define MAX_GRANULARITY_BITS 31
#define MAX_TABLE_ENTRIES (1u << 27)
/* The most that is read of one bitmap by anybody. */
#define MAX_DATA (512 * IMG_MIB)

typedef struct
{
  guint64 table_offset;
  guint32 table_entries;
  guint32 flags;
  guint8 type;
  guint8 granularity_bits;
  guint16 name_length;
  guint32 extra_length;
} Entry;

static Entry
parse_fixed (const guint8 *bytes)
{
  return (Entry) {
    .table_offset = img_read_be64 (bytes),
    .table_entries = img_read_be32 (bytes + 8),
    .flags = img_read_be32 (bytes + 12),
    .type = bytes[16],
    .granularity_bits = bytes[17],
    .name_length = img_read_be16 (bytes + 18),
    .extra_length = img_read_be32 (bytes + 20),
  };
}

static gboolean
check_entry (const ImgQcow2Header *header, const Entry *entry, ImgError **error)
{
  guint64 cluster_size = img_qcow2_header_get_cluster_size (header);

  if (entry->type != IMG_QCOW2_BITMAP_DIRTY_TRACKING)
    img_error_set (error, IMG_CODE_UNSUPPORTED,
                   _("Bitmap directory: bitmap type %u is not supported"), entry->type);
  else if ((entry->flags & ~KNOWN_FLAGS) != 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("Bitmap directory: unknown bitmap flags 0x%x"),
                   entry->flags);
  else if (entry->extra_length != 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED,
                   _("Bitmap directory: a bitmap has unknown extra data"));
  else if (entry->granularity_bits < MIN_GRANULARITY_BITS ||
           entry->granularity_bits > MAX_GRANULARITY_BITS)
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("Bitmap directory: invalid granularity, 2 to the power of %u bytes"),
                   entry->granularity_bits);
  else if (entry->name_length == 0 || entry->name_length > IMG_QCOW2_MAX_NAME)
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("Bitmap directory: invalid length of a name, %u bytes"), entry->name_length);
  else if (entry->table_offset == 0 || !img_is_aligned (entry->table_offset, cluster_size) ||
           entry->table_offset > IMG_MAX_SIZE)
    img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap directory: invalid table offset 0x%" PRIx64),
                   entry->table_offset);
  else if (entry->table_entries == 0 || entry->table_entries > MAX_TABLE_ENTRIES)
    img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap directory: invalid table size, %u entries"),
                   entry->table_entries);
  else
    return TRUE;
  return FALSE;
}

/* NULL on error. */
static ImgQcow2Bitmap *
next_bitmap (ImgQcow2Cursor *cursor, const ImgQcow2Header *header, ImgError **error)
{
  guint64 start = cursor->at;
  const guint8 *bytes = img_qcow2_cursor_take (cursor, IMG_QCOW2_BITMAP_LENGTH, error);
  ImgQcow2Bitmap *bitmap;
  Entry entry;

  if (bytes == NULL)
    return NULL;
  entry = parse_fixed (bytes);
  if (!check_entry (header, &entry, error))
    return NULL;
  bytes = img_qcow2_cursor_take (cursor, entry.name_length, error);
  if (bytes == NULL)
    return NULL;
  bitmap = g_new0 (ImgQcow2Bitmap, 1);
  bitmap->info.name = g_strndup ((const char *) bytes, entry.name_length);
  bitmap->info.granularity = (guint64) 1 << entry.granularity_bits;
  bitmap->info.in_use = (entry.flags & IMG_QCOW2_BITMAP_IN_USE) != 0;
  bitmap->info.is_auto = (entry.flags & IMG_QCOW2_BITMAP_AUTO) != 0;
  bitmap->table_offset = entry.table_offset;
  bitmap->table_entries = entry.table_entries;
  img_qcow2_cursor_align (cursor, start);
  return bitmap;
}

gboolean
img_qcow2_bitmaps_list (ImgStorage *storage,
                        const ImgQcow2Header *header,
                        GPtrArray **bitmaps,
                        ImgCancel *cancel,
                        ImgError **error)
{
  g_autoptr (GPtrArray) list =
    g_ptr_array_new_with_free_func ((GDestroyNotify) img_bitmap_info_free);
  g_auto (ImgQcow2Cursor) cursor = { NULL };

  *bitmaps = NULL;
  if (!header->has_bitmaps)
    return TRUE;
  if (!img_qcow2_cursor_init (&cursor, storage, header->bitmap_directory_offset,
                              header->bitmap_directory_offset + header->bitmap_directory_size,
                              _("Bitmap directory"), cancel, error))
    return FALSE;
  for (guint i = 0; i < header->n_bitmaps; i++)
    {
      ImgQcow2Bitmap *bitmap = next_bitmap (&cursor, header, error);

      if (bitmap == NULL)
        return FALSE;
      g_ptr_array_add (list, bitmap);
    }
  if (cursor.at != cursor.end)
    {
      img_error_set (error, IMG_CODE_CORRUPT,
                     _("Bitmap directory: the number of bitmaps does not match its size"));
      return FALSE;
    }
  *bitmaps = g_steal_pointer (&list);
  return TRUE;
}

gboolean
img_qcow2_bitmap_check_table_entry (const ImgQcow2Header *header, guint64 entry, ImgError **error)
{
  guint64 host = entry & IMG_QCOW2_OFFSET_MASK;

  if ((entry & IMG_QCOW2_BITMAP_TABLE_RESERVED) == 0 && (host == 0 || (entry & IMG_QCOW2_BITMAP_ALL_ONES) == 0) &&
      img_is_aligned (host, img_qcow2_header_get_cluster_size (header)))
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap table entry 0x%" PRIx64 " is invalid"), entry);
  return FALSE;
}

gboolean
img_qcow2_bitmap_get_length (const ImgQcow2Header *header,
                             const ImgQcow2Bitmap *bitmap,
                             guint64 *length,
                             ImgError **error)
{
  g_autofree char *name = img_quote_name (bitmap->info.name);

  *length = img_div_round_up (img_div_round_up (header->size, bitmap->info.granularity), 8);
  if (*length > MAX_DATA)
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("Bitmap %s is too large: %" PRIu64 " bytes"), name, *length);
  else if (bitmap->table_entries != img_div_round_up (*length, img_qcow2_header_get_cluster_size (header)))
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("The table of bitmap %s does not have the size that the disk asks for"), name);
  else
    return TRUE;
  return FALSE;
}

gboolean
img_qcow2_bitmap_records_changes (const ImgQcow2Bitmap *bitmap)
{
  return bitmap->info.is_auto && !bitmap->info.in_use;
}

/* As if every bit were set: its clusters, its table, and an entry in the directory. One that was not closed
 * says nothing and is not carried over. */
gboolean
img_qcow2_measure_bitmaps (const ImgFootprint *footprint,
                           guint64 disk_size,
                           const GPtrArray *bitmaps,
                           guint64 *length,
                           ImgError **error)
{
  guint64 cluster_size = footprint->unit;
  guint64 directory = 0;
  guint64 total = 0;

  for (guint i = 0; i < bitmaps->len; i++)
    {
      const ImgBitmapInfo *info = g_ptr_array_index (bitmaps, i);
      guint64 n_bytes = img_div_round_up (img_div_round_up (disk_size, info->granularity), 8);
      guint64 n_clusters = img_div_round_up (n_bytes, cluster_size);

      if (info->in_use)
        continue;
      total += n_clusters * cluster_size +
               img_align_up (n_clusters * sizeof (guint64), cluster_size);
      directory += img_align_up (IMG_QCOW2_BITMAP_LENGTH + strlen (info->name), 8);
      /* Cannot be with names and tables as they may be, but only the sum counts. */
      if (total > IMG_MAX_SIZE)
        {
          img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                         _("The bitmaps of the image are too large to be measured"));
          return FALSE;
        }
    }
  *length = total + img_align_up (directory, cluster_size);
  return TRUE;
}
