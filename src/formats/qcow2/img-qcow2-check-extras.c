/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The snapshot table and bitmaps: "Snapshots" and "Bitmaps" in the specification. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-qcow2-bitmap.h"
#include "img-qcow2-check-private.h"
#include "img-qcow2-cursor.h"
#include "img-qcow2-snapshot.h"

#define SNAPSHOT_LENGTH 40
#define SNAPSHOT_MIN_EXTRA 16 /* in version 3 */
#define BITMAP_LENGTH 24

/* ---- snapshots ---- */

static gboolean
take_strings (ImgQcow2Cursor *cursor,
              ImgQcow2CheckedSnapshot *snapshot,
              gsize id_length,
              gsize name_length,
              ImgError **error)
{
  const guint8 *bytes = img_qcow2_cursor_take (cursor, id_length + name_length, error);
  g_autofree char *id = NULL;
  g_autofree char *name = NULL;

  if (bytes == NULL)
    return FALSE;
  id = g_strndup ((const char *) bytes, id_length);
  name = g_strndup ((const char *) bytes + id_length, name_length);
  snapshot->id = img_quote_name (id);
  snapshot->name = img_quote_name (name);
  return TRUE;
}

static gboolean
take_snapshot (ImgQcow2Checker *self, ImgQcow2Cursor *cursor, ImgError **error)
{
  guint64 start = cursor->at;
  const guint8 *bytes = img_qcow2_cursor_take (cursor, SNAPSHOT_LENGTH, error);
  ImgQcow2CheckedSnapshot snapshot = { NULL };
  guint32 id_length, name_length, extra_length;

  if (bytes == NULL)
    return FALSE;
  snapshot.l1_offset = img_read_be64 (bytes);
  snapshot.l1_entries = img_read_be32 (bytes + 8);
  id_length = img_read_be16 (bytes + 12);
  name_length = img_read_be16 (bytes + 14);
  extra_length = img_read_be32 (bytes + 36);
  if (extra_length > IMG_QCOW2_MAX_SNAPSHOT_EXTRA)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("Snapshot table: an entry has too much extra data, %u bytes"), extra_length);
      return FALSE;
    }
  if (img_qcow2_cursor_take (cursor, extra_length, error) == NULL ||
      !take_strings (cursor, &snapshot, id_length, name_length, error))
    return FALSE;
  if (self->header->version >= 3 && extra_length < SNAPSHOT_MIN_EXTRA)
    img_qcow2_checker_corrupt (self, 1, self->header->snapshots_offset,
                               _("Snapshot table entry %u is incomplete"), self->snapshots->len);
  g_array_append_val (self->snapshots, snapshot);
  img_qcow2_cursor_align (cursor, start);
  return TRUE;
}

gboolean
img_qcow2_checker_load_snapshots (ImgQcow2Checker *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  guint64 start = header->snapshots_offset;
  g_auto (ImgQcow2Cursor) cursor = { NULL };

  if (header->n_snapshots == 0)
    return TRUE;
  if (!img_qcow2_cursor_init (&cursor, self->storage, start,
                              start + MIN (header->file_size - start, IMG_QCOW2_MAX_SNAPSHOT_TABLE),
                              _("Snapshot table"), self->cancel, error))
    return FALSE;
  while (self->snapshots->len < header->n_snapshots)
    if (!take_snapshot (self, &cursor, error))
      return FALSE;
  self->snapshot_table_length = cursor.at - start;
  if (self->has_data_file)
    img_qcow2_checker_corrupt (self, 1, start,
                               _("%u snapshots in an image with an external data file"),
                               header->n_snapshots);
  return TRUE;
}

gboolean
img_qcow2_checker_refer_snapshots (ImgQcow2Checker *self, ImgError **error)
{
  return img_qcow2_checker_refer (self, self->header->snapshots_offset, self->snapshot_table_length,
                                  1, error);
}

/* ---- bitmaps ---- */

static gboolean
visit_bitmap_table (gpointer data,
                    guint64 offset,
                    guint64 *entries,
                    gsize n,
                    ImgQcow2Times times,
                    ImgError **error)
{
  ImgQcow2Checker *self = data;

  for (gsize i = 0; i < n; i++)
    {
      guint64 entry = GUINT64_FROM_BE (entries[i]);
      guint64 cluster = entry & IMG_QCOW2_OFFSET_MASK;

      if ((entry & IMG_QCOW2_BITMAP_TABLE_RESERVED) != 0 ||
          (cluster != 0 && (entry & 1) != 0) || !img_is_aligned (cluster, self->cluster_size))
        img_qcow2_checker_corrupt (self, times.all, cluster,
                                   _("Bitmap table entry 0x%" PRIx64 " is invalid"), entry);
      else if (cluster != 0 &&
               !img_qcow2_checker_refer (self, cluster, self->cluster_size, times.all, error))
        return FALSE;
    }
  return TRUE;
}

/* The entry at the cursor; the list that was read before has shown that it is valid. */
static gboolean
take_bitmap (ImgQcow2Checker *self,
             ImgQcow2Cursor *cursor,
             ImgQcow2Spans *tables,
             ImgError **error)
{
  guint64 start = cursor->at;
  const guint8 *bytes = img_qcow2_cursor_take (cursor, BITMAP_LENGTH, error);
  guint64 offset, n_entries;
  gsize rest;

  if (bytes == NULL)
    return FALSE;
  offset = img_read_be64 (bytes);
  n_entries = img_read_be32 (bytes + 8);
  rest = (gsize) img_read_be16 (bytes + 18) + img_read_be32 (bytes + 20);
  if (img_qcow2_cursor_take (cursor, rest, error) == NULL)
    return FALSE;
  img_qcow2_cursor_align (cursor, start);
  img_qcow2_spans_add (tables, offset, n_entries, FALSE);
  return img_qcow2_checker_refer (self, offset, n_entries * sizeof (guint64), 1, error);
}

static gboolean
walk_directory (ImgQcow2Checker *self, ImgQcow2Spans *tables, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  guint64 start = header->bitmap_directory_offset;
  g_auto (ImgQcow2Cursor) cursor = { NULL };

  if (!img_qcow2_cursor_init (&cursor, self->storage, start, start + header->bitmap_directory_size,
                              _("Bitmap directory"), self->cancel, error))
    return FALSE;
  for (guint i = 0; i < header->n_bitmaps; i++)
    if (!take_bitmap (self, &cursor, tables, error))
      return FALSE;
  return TRUE;
}

gboolean
img_qcow2_checker_walk_bitmaps (ImgQcow2Checker *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  g_autoptr (ImgQcow2Spans) tables = img_qcow2_spans_new ();
  g_autoptr (GPtrArray) bitmaps = NULL;

  if (!header->has_bitmaps)
    return TRUE;
  return img_qcow2_bitmaps_list (self->storage, header, &bitmaps, self->cancel, error) &&
         img_qcow2_checker_refer (self, header->bitmap_directory_offset,
                                  header->bitmap_directory_size, 1, error) &&
         walk_directory (self, tables, error) &&
         img_qcow2_spans_walk (tables, self->storage, header->file_size, visit_bitmap_table, self,
                               self->cancel, error);
}
