/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-qcow2-cursor.h"
#include "img-qcow2-snapshot.h"

/* "Snapshots" in the specification: fixed part, extra data, id, name, padding to eight bytes. */
#define FIXED_LENGTH 40
#define EXTRA_HAS_VM_STATE_SIZE 8
#define EXTRA_HAS_DISK_SIZE 16
#define EXTRA_HAS_ICOUNT 24
#define NO_ICOUNT G_MAXUINT64

typedef struct
{
  ImgQcow2Cursor cursor;
  const ImgQcow2Header *header;
  guint n_left;
} Reader;

static gboolean
reader_init (Reader *reader,
             ImgStorage *storage,
             const ImgQcow2Header *header,
             ImgCancel *cancel,
             ImgError **error)
{
  guint64 start = header->snapshots_offset;

  reader->header = header;
  reader->n_left = header->n_snapshots;
  /* The header's check has seen to it that the table starts inside the file. */
  return img_qcow2_cursor_init (&reader->cursor, storage, start,
                                start +
                                  MIN (header->file_size - start, IMG_QCOW2_MAX_SNAPSHOT_TABLE),
                                _("Snapshot table"), cancel, error);
}

static void
parse_fixed (const guint8 *bytes, ImgSnapshotInfo *info, ImgQcow2SnapshotDisk *disk)
{
  disk->l1_offset = img_read_be64 (bytes);
  disk->l1_entries = img_read_be32 (bytes + 8);
  info->date_seconds = img_read_be32 (bytes + 16);
  info->date_nanoseconds = img_read_be32 (bytes + 20);
  info->vm_clock_nanoseconds = img_read_be64 (bytes + 24);
  info->vm_state_size = img_read_be32 (bytes + 32);
}

static void
parse_extra (const guint8 *bytes, gsize length, ImgSnapshotInfo *info, ImgQcow2SnapshotDisk *disk)
{
  if (length >= EXTRA_HAS_VM_STATE_SIZE)
    info->vm_state_size = img_read_be64 (bytes);
  if (length >= EXTRA_HAS_DISK_SIZE)
    disk->disk_size = img_align_down (img_read_be64 (bytes + 8), 512);
  if (length >= EXTRA_HAS_ICOUNT)
    {
      info->icount = img_read_be64 (bytes + 16);
      info->has_icount = info->icount != NO_ICOUNT;
      if (!info->has_icount)
        info->icount = 0;
    }
}

static char *
take_string (ImgQcow2Cursor *cursor, gsize length, ImgError **error)
{
  const guint8 *bytes = img_qcow2_cursor_take (cursor, length, error);

  return bytes == NULL ? NULL : g_strndup ((const char *) bytes, length);
}

/* What follows the fixed part, which is gone from the cursor's window after the first take. */
static gboolean
take_rest (ImgQcow2Cursor *cursor,
           const guint8 *fixed,
           ImgSnapshotInfo *info,
           ImgQcow2SnapshotDisk *disk,
           ImgError **error)
{
  guint16 id_length = img_read_be16 (fixed + 12);
  guint16 name_length = img_read_be16 (fixed + 14);
  guint32 extra_length = img_read_be32 (fixed + 36);
  const guint8 *extra;

  if (extra_length > IMG_QCOW2_MAX_SNAPSHOT_EXTRA)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                     _("Snapshot table: an entry has too much extra data, %u bytes"),
                     extra_length);
      return FALSE;
    }
  extra = img_qcow2_cursor_take (cursor, extra_length, error);
  if (extra == NULL)
    return FALSE;
  parse_extra (extra, extra_length, info, disk);
  info->id = take_string (cursor, id_length, error);
  if (info->id == NULL)
    return FALSE;
  info->name = take_string (cursor, name_length, error);
  return info->name != NULL;
}

/* The next entry; NULL on error. */
static ImgSnapshotInfo *
reader_next (Reader *reader, ImgQcow2SnapshotDisk *disk, ImgError **error)
{
  guint64 start = reader->cursor.at;
  g_autoptr (ImgSnapshotInfo) info = g_new0 (ImgSnapshotInfo, 1);
  const guint8 *fixed = img_qcow2_cursor_take (&reader->cursor, FIXED_LENGTH, error);

  if (fixed == NULL)
    return NULL;
  *disk = (ImgQcow2SnapshotDisk){ .disk_size = reader->header->size };
  parse_fixed (fixed, info, disk);
  if (!take_rest (&reader->cursor, fixed, info, disk, error))
    return NULL;
  info->disk_size = disk->disk_size;
  img_qcow2_cursor_align (&reader->cursor, start);
  reader->n_left--;
  return g_steal_pointer (&info);
}

GPtrArray *
img_qcow2_snapshots_list (ImgStorage *storage,
                          const ImgQcow2Header *header,
                          ImgCancel *cancel,
                          ImgError **error)
{
  g_autoptr (GPtrArray) list =
    g_ptr_array_new_with_free_func ((GDestroyNotify) img_snapshot_info_free);
  Reader reader;

  if (header->n_snapshots == 0)
    return g_steal_pointer (&list);
  if (!reader_init (&reader, storage, header, cancel, error))
    return NULL;
  while (reader.n_left > 0)
    {
      ImgQcow2SnapshotDisk disk;
      ImgSnapshotInfo *info = reader_next (&reader, &disk, error);

      if (info == NULL)
        break;
      g_ptr_array_add (list, info);
    }
  img_qcow2_cursor_clear (&reader.cursor);
  return reader.n_left == 0 ? g_steal_pointer (&list) : NULL;
}

GArray *
img_qcow2_snapshots_list_disks (ImgStorage *storage,
                                const ImgQcow2Header *header,
                                guint64 *table_length,
                                ImgCancel *cancel,
                                ImgError **error)
{
  g_autoptr (GArray) disks = g_array_new (FALSE, FALSE, sizeof (ImgQcow2SnapshotDisk));
  Reader reader;

  if (!reader_init (&reader, storage, header, cancel, error))
    return NULL;
  while (reader.n_left > 0)
    {
      ImgQcow2SnapshotDisk disk;
      g_autoptr (ImgSnapshotInfo) info = reader_next (&reader, &disk, error);

      if (info == NULL)
        break;
      g_array_append_val (disks, disk);
    }
  *table_length = reader.cursor.at - header->snapshots_offset;
  img_qcow2_cursor_clear (&reader.cursor);
  return reader.n_left == 0 ? g_steal_pointer (&disks) : NULL;
}

typedef enum
{
  FOUND_ERROR,
  FOUND_NOTHING,
  FOUND_NAME,
  FOUND_ID,
} Found;

static Found
search (Reader *reader, const char *id_or_name, ImgQcow2SnapshotDisk *disk, ImgError **error)
{
  Found found = FOUND_NOTHING;

  while (reader->n_left > 0 && found != FOUND_ID)
    {
      ImgQcow2SnapshotDisk candidate;
      g_autoptr (ImgSnapshotInfo) info = reader_next (reader, &candidate, error);
      Found match = FOUND_NOTHING;

      if (info == NULL)
        return FOUND_ERROR;
      if (strcmp (info->id, id_or_name) == 0)
        match = FOUND_ID;
      else if (strcmp (info->name, id_or_name) == 0)
        match = FOUND_NAME;
      if (match <= found)
        continue;
      found = match;
      *disk = candidate;
    }
  return found;
}

gboolean
img_qcow2_snapshots_find (ImgStorage *storage,
                          const ImgQcow2Header *header,
                          const char *id_or_name,
                          ImgQcow2SnapshotDisk *disk,
                          ImgCancel *cancel,
                          ImgError **error)
{
  Found found = FOUND_NOTHING;
  Reader reader;

  if (header->n_snapshots > 0)
    {
      if (!reader_init (&reader, storage, header, cancel, error))
        return FALSE;
      found = search (&reader, id_or_name, disk, error);
      img_qcow2_cursor_clear (&reader.cursor);
    }
  if (found == FOUND_NOTHING)
    {
      g_autofree char *quoted = img_quote_name (id_or_name);

      img_error_set (error, IMG_CODE_SNAPSHOT_NOT_FOUND, _("There is no snapshot %s"), quoted);
    }
  return found > FOUND_NOTHING;
}
