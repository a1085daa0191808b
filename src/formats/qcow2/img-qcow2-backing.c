/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Another backing file in the header: its name and its format.
 *
 * Both have to change at once, or a crash would leave a name with the format of another file. What is written at once
 * is a sector, and the first one holds where the name is. So the new name is put where the old header does not look;
 * when that is durable, one write of the first sector changes the place of the name, its length, and the format,
 * whose extension comes first. Extensions behind it keep their place: the room of a format that is not needed any
 * more stays, filled with zeroes, which is a format that says nothing.
 *
 * Where an extension would have to move that reaches into another sector, the format of a first backing file goes
 * behind the last extension, before there is a name: without one nobody looks at it. What cannot be changed in one
 * of these ways, which takes an unusual header or tiny clusters, is refused.
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-qcow2-writer.h"

#define SECTOR 512
#define NAME_AT 8 /* 8 bytes of offset, 4 bytes of length */
#define EXTENSION_HEADER 8

typedef struct
{
  gsize start;
  gsize end;
} Span;

/* What the header says now, and what it shall say. */
typedef struct
{
  gsize size; /* of the cluster */
  const guint8 *old;
  guint8 *new;
  Span name;       /* the old ones; empty: none */
  Span extensions; /* with the end marker, if there is one */
  gsize end_marker; /* where it is, or would be */
  Span format;     /* the whole extension */
  gsize new_end;   /* of the new extensions */
  Span new_name;
} Change;

static gboolean
is_in (const Span *span, gsize at)
{
  return at >= span->start && at < span->end;
}

static gboolean
is_empty (const Span *span)
{
  return span->start == span->end;
}

/* ---- the old header, which was found to be right when it was opened ---- */

static void
find_old (Change *change, const ImgQcow2Header *header)
{
  gsize offset = (gsize) img_read_be64 (change->old + NAME_AT);
  gsize end = offset != 0 ? MIN (offset, change->size) : change->size;
  gsize at = header->header_length;

  if (header->backing_name != NULL)
    change->name = (Span) { offset, offset + img_read_be32 (change->old + NAME_AT + 8) };
  change->extensions.start = at;
  while (at < end && end - at >= EXTENSION_HEADER)
    {
      guint32 type = img_read_be32 (change->old + at);
      gsize length = (gsize) img_align_up (img_read_be32 (change->old + at + 4), 8);

      if (type == IMG_QCOW2_EXTENSION_END)
        break;
      if (type == IMG_QCOW2_EXTENSION_BACKING_FORMAT)
        change->format = (Span) { at, at + EXTENSION_HEADER + length };
      at += EXTENSION_HEADER + length;
    }
  change->end_marker = at;
  change->extensions.end = end - MIN (at, end) >= EXTENSION_HEADER ? at + EXTENSION_HEADER : at;
}

/* ---- the new one ---- */

static void
put_header (guint8 *at, guint32 type, gsize length)
{
  guint32 words[] = { GUINT32_TO_BE (type), GUINT32_TO_BE ((guint32) length) };

  memcpy (at, words, sizeof words);
}

/* In @room bytes behind the extension's header. A reader stops at the NUL where there is more room than needed. */
static void
put_format (guint8 *at, const char *format, gsize room)
{
  gsize length = strlen (format);
  gsize stored = img_align_up (length, 8) == room ? length : MIN (room, IMG_QCOW2_MAX_FORMAT_NAME);

  put_header (at, IMG_QCOW2_EXTENSION_BACKING_FORMAT, stored);
  memset (at + EXTENSION_HEADER, 0, room);
  memcpy (at + EXTENSION_HEADER, format, length);
}

static gboolean
put_end (Change *change, gsize at)
{
  change->new_end = at + EXTENSION_HEADER;
  if (change->new_end > change->size)
    return FALSE;
  put_header (change->new + at, IMG_QCOW2_EXTENSION_END, 0);
  return TRUE;
}

/* The extension of the format, in its room or in front of the others. FALSE: there is no room. */
static gboolean
put_format_first (Change *change, const char *format)
{
  gsize old_room = is_empty (&change->format) ? 0 : change->format.end - change->format.start;
  gsize room = img_align_up (strlen (format), 8);
  gsize start = change->extensions.start;
  gsize length = change->end_marker - start;
  guint8 *to = change->new + start;

  if (old_room >= EXTENSION_HEADER + room || (old_room == 0 && room == 0))
    {
      if (old_room > 0)
        put_format (change->new + change->format.start, format, old_room - EXTENSION_HEADER);
      return put_end (change, change->end_marker);
    }
  if (change->end_marker + EXTENSION_HEADER + room - old_room > change->size)
    return FALSE;
  put_format (to, format, room);
  to += EXTENSION_HEADER + room;
  if (old_room == 0)
    memcpy (to, change->old + start, length);
  else
    {
      gsize before = change->format.start - start;

      memcpy (to, change->old + start, before);
      memcpy (to + before, change->old + change->format.end, change->end_marker - change->format.end);
    }
  return put_end (change, change->end_marker + EXTENSION_HEADER + room - old_room);
}

static gboolean
put_format_last (Change *change, const char *format)
{
  gsize room = img_align_up (strlen (format), 8);

  if (change->end_marker + EXTENSION_HEADER + room > change->size)
    return FALSE;
  put_format (change->new + change->end_marker, format, room);
  return put_end (change, change->end_marker + EXTENSION_HEADER + room);
}

static void
put_name_at (Change *change, const char *name, gsize at)
{
  guint64 offset = GUINT64_TO_BE (at);
  guint32 length = GUINT32_TO_BE ((guint32) strlen (name));

  if (name[0] == '\0')
    offset = 0;
  else
    memcpy (change->new + at, name, strlen (name));
  memcpy (change->new + NAME_AT, &offset, sizeof offset);
  memcpy (change->new + NAME_AT + 8, &length, sizeof length);
  change->new_name = (Span) { at, at + strlen (name) };
}

/* Behind the extensions; behind the old name too, unless one write changes both. */
static gboolean
put_name (Change *change, const char *name)
{
  gsize length = strlen (name);
  gsize at = change->new_end;

  if (at + length > SECTOR && at < change->name.end && at + length > change->name.start)
    at = change->name.end;
  if (at + length > change->size)
    return FALSE;
  put_name_at (change, name, at);
  return TRUE;
}

/* The old header's bytes outside the first sector stay as long as it is the header; what it does not look at may
 * change before. FALSE: the new header needs some of it for something else. */
static gboolean
make_first_step (const Change *change, guint8 *step)
{
  memcpy (step, change->old, change->size);
  for (gsize i = SECTOR; i < change->size; i++)
    if (!is_in (&change->name, i) && !is_in (&change->extensions, i))
      step[i] = change->new[i];
    else if (change->new[i] != change->old[i])
      return FALSE;
  return TRUE;
}

/* The end marker, in one piece, becomes the header of a format that nobody looks at yet. */
static gboolean
make_first_step_behind (const Change *change, guint8 *step)
{
  memcpy (step, change->new, change->size);
  memcpy (step, change->old, SECTOR);
  memcpy (step + change->end_marker, change->old + change->end_marker, EXTENSION_HEADER);
  return change->end_marker >= SECTOR && change->end_marker % 8 == 0 &&
         change->extensions.end == change->end_marker + EXTENSION_HEADER;
}

static void
start_anew (Change *change)
{
  memcpy (change->new, change->old, change->size);
}

/* *behind: in three writes, the second of which is that of the end marker. */
static gboolean
plan (Change *change, const char *name, const char *format, guint8 *step, gboolean *behind, ImgError **error)
{
  *behind = FALSE;
  start_anew (change);
  if (put_format_first (change, format) && put_name (change, name) && make_first_step (change, step))
    return TRUE;
  *behind = TRUE;
  start_anew (change);
  if (is_empty (&change->name) && is_empty (&change->format) && put_format_last (change, format) &&
      put_name (change, name) && make_first_step_behind (change, step))
    return TRUE;
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                 _("The header of the image has no room for the name of this backing file"));
  return FALSE;
}

/* ---- the file ---- */

static gboolean
write_step (ImgQcow2 *self, const guint8 *bytes, gsize start, gsize end, ImgError **error)
{
  ImgStorage *storage = self->parent.storage;

  if (start >= end)
    return TRUE;
  return img_storage_write (storage, start, bytes + start, end - start, error) &&
         img_storage_flush (storage, error);
}

/* A write that failed may be in the file nevertheless, and where it cannot be undone nobody knows which of the two
 * headers it has. */
static gboolean
write_first_sector (ImgQcow2 *self, const Change *change, ImgError **error)
{
  gsize length = MIN (SECTOR, change->size);

  if (img_storage_write (self->parent.storage, 0, change->new, length, error))
    {
      if (img_storage_flush (self->parent.storage, error))
        return TRUE;
    }
  else if (img_storage_write (self->parent.storage, 0, change->old, length, NULL))
    return FALSE;
  img_qcow2_writer_poison (self);
  return FALSE;
}

/* What the old name leaves says where somebody's files are. That it cannot be removed is no reason to fail. */
static void
clear_old_name (ImgQcow2 *self, const Change *change)
{
  g_autofree guint8 *zeroes = NULL;
  gsize start = change->name.start;
  gsize end = change->name.end;

  start = MAX (start, change->new_end);
  if (start < change->new_name.end && end > change->new_name.start)
    start = change->new_name.end;
  if (start >= end)
    return;
  zeroes = g_malloc0 (end - start);
  img_storage_write (self->parent.storage, start, zeroes, end - start, NULL);
}

static gsize
last_difference (const guint8 *a, const guint8 *b, gsize end)
{
  while (end > 0 && a[end - 1] == b[end - 1])
    end--;
  return end;
}

static gboolean
write_change (ImgQcow2 *self, const Change *change, const guint8 *step, gboolean behind, ImgError **error)
{
  if (!write_step (self, step, SECTOR, last_difference (step, change->old, change->size), error) ||
      (behind && !write_step (self, change->new, change->end_marker,
                              change->end_marker + EXTENSION_HEADER, error)) ||
      !write_first_sector (self, change, error))
    return FALSE;
  clear_old_name (self, change);
  return TRUE;
}

static gboolean
rewrite (ImgQcow2 *self, const char *name, const char *format, Change *change, ImgError **error)
{
  gsize size = (gsize) img_qcow2_get_cluster_size (self);
  g_autoptr (ImgBuffer) old = img_try_alloc (size, error);
  g_autoptr (ImgBuffer) new = old != NULL ? img_try_alloc (size, error) : NULL;
  g_autoptr (ImgBuffer) step = new != NULL ? img_try_alloc (size, error) : NULL;
  gboolean behind;

  if (step == NULL || !img_storage_read (self->parent.storage, 0, old, size, error))
    return FALSE;
  *change = (Change) { .size = size, .old = old, .new = new };
  find_old (change, self->header);
  return plan (change, name, format, step, &behind, error) &&
         write_change (self, change, step, behind, error);
}

/* ---- the layout's function ---- */

static gboolean
check_name (const char *name, const char *format, ImgError **error)
{
  if (strlen (name) > IMG_QCOW2_MAX_NAME)
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The backing file name is too long: %zu bytes"),
                   strlen (name));
  else if (strlen (format) > IMG_QCOW2_MAX_FORMAT_NAME)
    img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                   _("The name of the backing file's format is too long: %zu bytes"), strlen (format));
  else
    return TRUE;
  return FALSE;
}

static void
adopt (ImgQcow2 *self, const Change *change, const char *name, const char *format)
{
  ImgQcow2Header *header = self->header;

  g_free (header->backing_name);
  g_free (header->backing_format);
  header->backing_name = name[0] != '\0' ? g_strdup (name) : NULL;
  header->backing_format = format[0] != '\0' ? g_strdup (format) : NULL;
  header->backing_name_offset = name[0] != '\0' ? change->new_name.start : 0;
  header->backing_name_length = (guint32) strlen (name);
  /* The image is read as it was opened: what is below may only become more. */
  self->parent.has_backing |= name[0] != '\0';
}

gboolean
img_qcow2_set_backing_name (ImgLayout *layout, const char *name, const char *format, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  gboolean success;
  Change change;

  if (name == NULL)
    name = "";
  if (format == NULL || name[0] == '\0')
    format = "";
  if (!img_qcow2_writer_check_file (self, error) || !check_name (name, format, error))
    return FALSE;
  if (layout->maps_everything && name[0] != '\0')
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED,
                     _("An image whose external data file is raw cannot have a backing file"));
      return FALSE;
    }
  img_turn_take (&self->writer->turn);
  success = img_qcow2_begin_write (self, error) && rewrite (self, name, format, &change, error);
  if (success)
    adopt (self, &change, name, format);
  img_turn_give (&self->writer->turn);
  return success;
}
