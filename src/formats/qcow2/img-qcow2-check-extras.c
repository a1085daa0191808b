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

gboolean
img_qcow2_checker_is_incomplete (const ImgQcow2Checker *self, guint32 extra_length)
{
  return self->header->version >= 3 && extra_length < IMG_QCOW2_SNAPSHOT_MIN_EXTRA;
}

static gboolean
check_extra (ImgQcow2Checker *self, guint32 length, ImgError **error)
{
  if (length <= IMG_QCOW2_MAX_SNAPSHOT_EXTRA)
    return TRUE;
  if (!self->cuts_snapshots)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("Snapshot table: an entry has too much extra data, %u bytes"), length);
      return FALSE;
    }
  img_qcow2_checker_corrupt (self, 1, self->header->snapshots_offset,
                             "Too much extra metadata in snapshot table entry %u (%u > %u)",
                             self->snapshots->len, length, IMG_QCOW2_MAX_SNAPSHOT_EXTRA);
  self->needs_snapshot_table = TRUE;
  return TRUE;
}

/* The entry of which the fixed part has been taken; *overhangs: it ends where no table may reach. */
static gboolean
take_rest (ImgQcow2Checker *self,
           ImgQcow2Cursor *cursor,
           const guint8 *fixed,
           gboolean *overhangs,
           ImgError **error)
{
  guint32 id_length = img_read_be16 (fixed + 12);
  guint32 name_length = img_read_be16 (fixed + 14);
  ImgQcow2CheckedSnapshot snapshot = { .l1_offset = img_read_be64 (fixed),
                                       .l1_entries = img_read_be32 (fixed + 8),
                                       .extra_length = img_read_be32 (fixed + 36),
                                       .strings_length = id_length + name_length };
  guint64 rest = (guint64) snapshot.extra_length + snapshot.strings_length;

  if (!check_extra (self, snapshot.extra_length, error))
    return FALSE;
  *overhangs =
    cursor->at + rest > self->header->snapshots_offset + IMG_QCOW2_MAX_SNAPSHOT_TABLE;
  if (*overhangs)
    return TRUE;
  if (!img_qcow2_cursor_skip (cursor, snapshot.extra_length, error) ||
      !take_strings (cursor, &snapshot, id_length, name_length, error))
    return FALSE;
  if (img_qcow2_checker_is_incomplete (self, snapshot.extra_length))
    {
      img_qcow2_checker_corrupt (self, 1, self->header->snapshots_offset,
                                 _("Snapshot table entry %u is incomplete"), self->snapshots->len);
      self->needs_snapshot_table = TRUE;
    }
  g_array_append_val (self->snapshots, snapshot);
  return TRUE;
}

static gboolean
take_snapshots (ImgQcow2Checker *self, ImgQcow2Cursor *cursor, ImgError **error)
{
  guint64 n = MIN (self->header->n_snapshots, IMG_QCOW2_MAX_SNAPSHOTS);

  while (self->snapshots->len < n)
    {
      guint64 start = cursor->at;
      const guint8 *fixed = img_qcow2_cursor_take (cursor, IMG_QCOW2_SNAPSHOT_LENGTH, error);
      gboolean overhangs = FALSE;

      if (fixed == NULL || !take_rest (self, cursor, fixed, &overhangs, error))
        return FALSE;
      if (overhangs)
        {
          cursor->at = start;
          break;
        }
      img_qcow2_cursor_align (cursor, start);
    }
  return TRUE;
}

/* That there are more snapshots than may be has been refused before, when nothing can be done about it. */
static gboolean
check_overhang (ImgQcow2Checker *self, ImgError **error)
{
  guint64 n_most = MIN (self->header->n_snapshots, IMG_QCOW2_MAX_SNAPSHOTS);
  guint64 n_overhanging = self->header->n_snapshots - self->snapshots->len;

  self->n_too_many = self->header->n_snapshots - n_most;
  self->n_too_far = n_most - self->snapshots->len;
  if (n_overhanging == 0)
    return TRUE;
  if (!self->cuts_snapshots)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("Snapshot table: larger than %u MiB"),
                     (guint) (IMG_QCOW2_MAX_SNAPSHOT_TABLE / IMG_MIB));
      return FALSE;
    }
  img_qcow2_checker_corrupt (self, n_overhanging, self->header->snapshots_offset,
                             _("%" PRIu64 " snapshots are more than the table may have"),
                             n_overhanging);
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
  if (!img_qcow2_cursor_init (&cursor, self->storage, start, header->file_size,
                              _("Snapshot table"), self->cancel, error) ||
      !take_snapshots (self, &cursor, error) || !check_overhang (self, error))
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
  const guint8 *bytes = img_qcow2_cursor_take (cursor, IMG_QCOW2_BITMAP_LENGTH, error);
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
