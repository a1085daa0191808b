/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "imago-error-private.h"
#include "imago-stream-core.h"

#define MIN_WINDOW (64 * 1024)
#define MAX_WINDOW (1024 * 1024)

typedef struct
{
  ImgStorage parent;
  ImagoOwnerQueue *owner; /* NULL: the streams are ours */
  GIOStream *io;          /* NULL: only for reading */
  GInputStream *input;    /* owned unless there is an io */
  GOutputStream *output;
  gint64 size;            /* atomic; -1: to be asked for, at first and after a change that failed */

  ImgTurn turn; /* what follows */
  gint64 read_position;  /* of the input; -1 if nobody knows */
  guint8 *window;        /* owned; MAX_WINDOW bytes once there are any */
  guint64 window_offset;
  gsize window_length;   /* of what is valid */
  gsize window_size;     /* of what is read next */
  ImgError *flush_error; /* owned */
} StreamFile;

static void
take_error (ImgError **error, GError *gio_error)
{
  img_error_propagate (error, imago_error_to_core (gio_error));
  g_clear_error (&gio_error);
}

/* ---- the stream; with the turn ---- */

/* Where the side is then; negative: an error. */
static goffset
seek_side (StreamFile *file, gpointer side, goffset offset, GSeekType type, ImgError **error)
{
  gpointer seekable = file->io != NULL && G_IS_SEEKABLE (file->io) ? (gpointer) file->io : side;
  GError *gio_error = NULL;
  goffset position;

  if (!G_IS_SEEKABLE (seekable) || !g_seekable_can_seek (seekable))
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED, _("The stream cannot seek"));
      return -1;
    }
  if (!g_seekable_seek (seekable, offset, type, NULL, &gio_error))
    {
      take_error (error, gio_error);
      return -1;
    }
  position = g_seekable_tell (seekable);
  if (position < 0 || (type == G_SEEK_SET && position != offset))
    {
      /* Bytes from there, or to there, would be the wrong ones. */
      img_error_set (error, IMG_CODE_FAILED, _("The stream is not where it was sent to"));
      return -1;
    }
  return position;
}

static goffset
query_file_size (StreamFile *file)
{
  const char *attribute = G_FILE_ATTRIBUTE_STANDARD_SIZE;
  g_autoptr (GFileInfo) info = NULL;

  if (G_IS_FILE_IO_STREAM (file->io))
    info = g_file_io_stream_query_info (G_FILE_IO_STREAM (file->io), attribute, NULL, NULL);
  else if (G_IS_FILE_INPUT_STREAM (file->input))
    info = g_file_input_stream_query_info (G_FILE_INPUT_STREAM (file->input), attribute, NULL, NULL);
  return info != NULL && g_file_info_has_attribute (info, attribute) ? g_file_info_get_size (info) : -1;
}

static void
set_size (StreamFile *file, gint64 size)
{
  __atomic_store_n (&file->size, size, __ATOMIC_RELEASE);
}

/* A stream that does not say how long it is, and cannot seek, fails here already. */
static gboolean
find_size (StreamFile *file, guint64 *size, ImgError **error)
{
  gint64 found = file->size;

  if (found < 0)
    found = query_file_size (file);
  if (found < 0)
    {
      file->read_position = -1;
      found = seek_side (file, file->input, 0, G_SEEK_END, error);
    }
  if (found < 0)
    return FALSE;
  set_size (file, found);
  *size = (guint64) found;
  return TRUE;
}

static gboolean
fetch_rest (StreamFile *file, guint8 *buffer, gsize length, ImgError **error)
{
  GError *gio_error = NULL;

  for (gsize done = 0; done < length;)
    {
      gssize n = g_input_stream_read (file->input, buffer + done, MIN (length - done, G_MAXSSIZE), NULL,
                                      &gio_error);

      if (n < 0)
        {
          take_error (error, gio_error);
          return FALSE;
        }
      if (n == 0)
        {
          /* Not zeroes: that would pass a broken connection off as data. */
          img_error_set (error, IMG_CODE_FAILED, _("The stream ended before its end"));
          return FALSE;
        }
      done += (gsize) n;
    }
  return TRUE;
}

/* Inside the file. */
static gboolean
fetch (StreamFile *file, guint64 offset, guint8 *buffer, gsize length, ImgError **error)
{
  gboolean is_there = file->read_position == (gint64) offset;

  file->read_position = -1;
  if ((!is_there && seek_side (file, file->input, (goffset) offset, G_SEEK_SET, error) < 0) ||
      !fetch_rest (file, buffer, length, error))
    return FALSE;
  file->read_position = (gint64) (offset + length);
  return TRUE;
}

/* ---- reading; with the turn ---- */

/* What the window has from @offset on. */
static gsize
window_part (StreamFile *file, guint64 offset, guint64 length)
{
  if (offset < file->window_offset || offset - file->window_offset >= file->window_length)
    return 0;
  return (gsize) MIN (length, file->window_length - (offset - file->window_offset));
}

static gboolean
fill_window (StreamFile *file, guint64 offset, guint64 size, ImgError **error)
{
  gboolean goes_on = file->window_length > 0 && offset == file->window_offset + file->window_length;

  if (file->window == NULL)
    file->window = img_try_alloc (MAX_WINDOW, error);
  if (file->window == NULL)
    return FALSE;
  file->window_size = goes_on ? MIN (2 * file->window_size, MAX_WINDOW) : MIN_WINDOW;
  file->window_length = 0;
  file->window_offset = offset;
  if (!fetch (file, offset, file->window, (gsize) MIN (file->window_size, size - offset), error))
    return FALSE;
  file->window_length = (gsize) MIN (file->window_size, size - offset);
  return TRUE;
}

static guint64
inside (guint64 offset, guint64 length, guint64 size)
{
  return offset < size ? MIN (length, size - offset) : 0;
}

static gboolean
read_some (StreamFile *file,
           ImgIovCursor *cursor,
           guint64 offset,
           guint64 left,
           guint64 size,
           gsize *n_read,
           ImgError **error)
{
  struct iovec part;

  *n_read = window_part (file, offset, left);
  if (*n_read > 0)
    {
      img_iov_cursor_copy (cursor, file->window + (offset - file->window_offset), *n_read);
      return TRUE;
    }
  if (left < MIN_WINDOW)
    return fill_window (file, offset, size, error);
  part = img_iov_cursor_next (cursor, (gsize) MIN (left, G_MAXSSIZE));
  *n_read = part.iov_len;
  return fetch (file, offset, part.iov_base, part.iov_len, error);
}

static void
read_all (StreamFile *file, const ImgIo *io, ImgError **error)
{
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  guint64 size;
  guint64 length;
  gsize n;

  if (!find_size (file, &size, error))
    return;
  length = inside (io->offset, io->length, size);
  for (guint64 done = 0; done < length; done += n)
    if (!read_some (file, &cursor, io->offset + done, length - done, size, &n, error))
      return;
  img_iov_cursor_zero (&cursor, (gsize) (io->length - length));
}

/* Only what is there. TRUE if that is all of it. */
static gboolean
try_read (StreamFile *file, const ImgIo *io, gsize *n_done)
{
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  guint64 length;

  *n_done = 0;
  if (file->size < 0)
    return FALSE;
  length = inside (io->offset, io->length, (guint64) file->size);
  *n_done = window_part (file, io->offset, length);
  if (*n_done > 0)
    img_iov_cursor_copy (&cursor, file->window + (io->offset - file->window_offset), *n_done);
  if (*n_done < length)
    return FALSE;
  img_iov_cursor_zero (&cursor, (gsize) (io->length - length));
  return TRUE;
}

/* ---- writing; with the turn ---- */

static gboolean
write_part (StreamFile *file, gconstpointer buffer, gsize length, ImgError **error)
{
  GError *gio_error = NULL;

  if (g_output_stream_write_all (file->output, buffer, length, NULL, NULL, &gio_error))
    return TRUE;
  take_error (error, gio_error);
  return FALSE;
}

/* Where the reading side is now, which may be the same, nobody knows. */
static gboolean
begin_change (StreamFile *file, guint64 offset, ImgError **error)
{
  file->window_length = 0;
  file->read_position = -1;
  return seek_side (file, file->output, (goffset) offset, G_SEEK_SET, error) >= 0;
}

static gboolean
write_zero_bytes (StreamFile *file, guint64 offset, guint64 end, ImgError **error)
{
  static const guint8 zeroes[MIN_WINDOW];
  guint64 size = (guint64) file->size;

  if (offset >= end)
    return TRUE;
  if (!begin_change (file, offset, error))
    return FALSE;
  for (guint64 part; offset < end; offset += part)
    {
      part = MIN (end - offset, sizeof zeroes);
      if (!write_part (file, zeroes, (gsize) part, error))
        return FALSE;
    }
  set_size (file, (gint64) MAX (size, end));
  return TRUE;
}

static GSeekable *
find_truncatable (StreamFile *file)
{
  gpointer seekable = G_IS_SEEKABLE (file->io) ? (gpointer) file->io : (gpointer) file->output;

  return G_IS_SEEKABLE (seekable) && g_seekable_can_truncate (seekable) ? seekable : NULL;
}

static gboolean
truncate_to (StreamFile *file, guint64 size, ImgError **error)
{
  GError *gio_error = NULL;

  file->window_length = 0;
  file->read_position = -1;
  if (g_seekable_truncate (find_truncatable (file), (goffset) size, NULL, &gio_error))
    {
      set_size (file, (gint64) size);
      return TRUE;
    }
  take_error (error, gio_error);
  return FALSE;
}

static gboolean
extend (StreamFile *file, guint64 size, ImgError **error)
{
  if (size <= (guint64) file->size)
    return TRUE;
  if (find_truncatable (file) != NULL)
    return truncate_to (file, size, error);
  return write_zero_bytes (file, (guint64) file->size, size, error);
}

static gboolean
shrink (StreamFile *file, guint64 size, ImgError **error)
{
  if (find_truncatable (file) != NULL)
    return truncate_to (file, size, error);
  img_error_set (error, IMG_CODE_UNSUPPORTED, _("The stream cannot be truncated"));
  return FALSE;
}

static gboolean
write_vectors (StreamFile *file, const ImgIo *io, ImgError **error)
{
  if (!begin_change (file, io->offset, error))
    return FALSE;
  for (guint i = 0; i < io->n_iov; i++)
    if (!write_part (file, io->iov[i].iov_base, io->iov[i].iov_len, error))
      return FALSE;
  return TRUE;
}

/* Not every stream grows by being written to: that of a disk ends where the disk ends, until it is given a new size. */
static gboolean
ends_before (StreamFile *file, guint64 end, const ImgError *problem)
{
  return img_error_matches (problem, IMG_CODE_ERRNO) && problem->system_errno == ENOSPC &&
         end > (guint64) file->size && find_truncatable (file) != NULL;
}

static gboolean
write_all (StreamFile *file, const ImgIo *io, ImgError **error)
{
  guint64 end = io->offset + io->length;
  g_autoptr (ImgError) problem = NULL;

  if (!extend (file, io->offset, error))
    return FALSE;
  if (!write_vectors (file, io, &problem))
    {
      if (!ends_before (file, end, problem))
        {
          img_error_propagate (error, g_steal_pointer (&problem));
          return FALSE;
        }
      if (!truncate_to (file, end, error) || !write_vectors (file, io, error))
        return FALSE;
    }
  set_size (file, (gint64) MAX ((guint64) file->size, end));
  return TRUE;
}

static gboolean
zero (StreamFile *file, const ImgIo *io, ImgError **error)
{
  guint64 end = io->offset + io->length;

  if (io->offset < (guint64) file->size && (io->flags & IMG_IO_NO_FALLBACK))
    {
      img_error_set_errno (error, ENOTSUP, _("A stream has no quick way to write zeroes"));
      return FALSE;
    }
  return write_zero_bytes (file, io->offset, MIN (end, (guint64) file->size), error) &&
         extend (file, end, error);
}

/* After a failure it is not known what was lost: no later flush is to be believed. */
static void
flush (StreamFile *file, ImgError **error)
{
  GError *gio_error = NULL;

  if (file->flush_error == NULL && !g_output_stream_flush (file->output, NULL, &gio_error))
    take_error (&file->flush_error, gio_error);
  if (file->flush_error != NULL)
    *error = img_error_copy (file->flush_error);
}

static gboolean
change_size (StreamFile *file, guint64 size, ImgError **error)
{
  return size < (guint64) file->size ? shrink (file, size, error) : extend (file, size, error);
}

static gboolean
run_change (StreamFile *file, const ImgIo *io, ImgError **error)
{
  switch (io->op)
    {
    case IMG_IO_WRITE:
      return write_all (file, io, error);
    case IMG_IO_ZERO:
      return zero (file, io, error);
    case IMG_IO_ALLOCATE: /* space cannot be reserved */
      return extend (file, io->offset + io->length, error);
    case IMG_IO_TRUNCATE:
      return change_size (file, io->offset, error);
    default: /* DISCARD: nor can it be given back */
      return TRUE;
    }
}

/* How far a change came that failed, only the stream can tell. */
static void
change (StreamFile *file, const ImgIo *io, ImgError **error)
{
  guint64 size;

  if (!img_range_fits (io->offset, io->length, G_MAXINT64))
    img_error_set_errno (error, EFBIG, _("The storage cannot grow that far"));
  else if (find_size (file, &size, error) && !run_change (file, io, error))
    set_size (file, -1);
}

/* ---- requests ---- */

static void
try_now (StreamFile *file, ImgIo *io)
{
  gsize n_done = 0;
  gboolean is_done = FALSE;

  if (io->op == IMG_IO_READ && img_turn_try_take (&file->turn))
    {
      is_done = try_read (file, io, &n_done);
      img_turn_give (&file->turn);
    }
  if (is_done)
    img_io_complete (io, NULL);
  else
    img_io_complete_partly (io, n_done);
}

static ImgError *
run (StreamFile *file, const ImgIo *io)
{
  ImgError *error = NULL;

  if (!img_pool_begin_wait (&error))
    return error;
  img_turn_take (&file->turn);
  if (io->op == IMG_IO_READ)
    read_all (file, io, &error);
  else if (io->op == IMG_IO_FLUSH)
    flush (file, &error);
  else
    change (file, io, &error);
  img_turn_give (&file->turn);
  img_pool_end_wait ();
  return error;
}

static void
stream_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  StreamFile *file = (StreamFile *) storage;

  for (guint i = 0; i < n_ios; i++)
    if (ios[i].flags & IMG_IO_NOWAIT)
      try_now (file, &ios[i]);
    else
      img_io_complete (&ios[i], run (file, &ios[i]));
}

static gboolean
stream_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  StreamFile *file = (StreamFile *) storage;
  gint64 known = __atomic_load_n (&file->size, __ATOMIC_ACQUIRE);
  gboolean success;

  if (G_LIKELY (known >= 0))
    {
      *size = (guint64) known;
      return TRUE;
    }
  if (!img_pool_begin_wait (error))
    return FALSE;
  img_turn_take (&file->turn);
  success = find_size (file, size, error);
  img_turn_give (&file->turn);
  img_pool_end_wait ();
  return success;
}

/* ---- coming and going ---- */

static void
release (StreamFile *file)
{
  GObject *stream = file->io != NULL ? G_OBJECT (file->io) : G_OBJECT (file->input);

  if (file->owner != NULL)
    {
      imago_owner_queue_release (file->owner, stream, g_object_unref);
      imago_owner_queue_unref (file->owner);
      return;
    }
  if (file->io != NULL)
    g_io_stream_close (file->io, NULL, NULL);
  else
    g_input_stream_close (file->input, NULL, NULL);
  g_object_unref (stream);
}

static void
stream_free (ImgStorage *storage)
{
  StreamFile *file = (StreamFile *) storage;

  release (file);
  img_turn_clear (&file->turn);
  img_free (file->window);
  img_error_free (file->flush_error);
  g_free (file);
}

static const ImgStorageClass stream_class = {
  .type_name = "stream",
  .submit = stream_submit,
  .get_size = stream_get_size,
  .free = stream_free,
};

/* Takes the streams. */
static ImgStorage *
make (GInputStream *input, GIOStream *io, ImagoOwnerQueue *owner)
{
  StreamFile *file = g_new0 (StreamFile, 1);

  /* Without a name: names inside an image are resolved relative to it, and nothing lies beside a
   * stream. */
  img_storage_init (&file->parent, &stream_class, NULL);
  img_turn_init (&file->turn);
  file->io = io;
  file->input = io != NULL ? g_io_stream_get_input_stream (io) : input;
  file->output = io != NULL ? g_io_stream_get_output_stream (io) : NULL;
  file->owner = owner != NULL ? imago_owner_queue_ref (owner) : NULL;
  file->parent.can_write = io != NULL;
  file->parent.may_hang = TRUE;
  file->size = -1;
  file->read_position = -1;
  return &file->parent;
}

ImgStorage *
imago_stream_core_new (GInputStream *input, GIOStream *io, ImagoOwnerQueue *owner)
{
  if (io != NULL)
    return make (NULL, g_object_ref (io), owner);
  return make (g_object_ref (input), NULL, owner);
}

ImgStorage *
imago_stream_core_open (GFile *file, gboolean writable, GCancellable *cancellable, ImgError **error)
{
  GFileInputStream *input = NULL;
  GFileIOStream *io = NULL;
  GError *gio_error = NULL;

  if (!img_pool_begin_wait (error))
    return NULL;
  if (writable)
    io = g_file_open_readwrite (file, cancellable, &gio_error);
  else
    input = g_file_read (file, cancellable, &gio_error);
  img_pool_end_wait ();
  if (io != NULL)
    return make (NULL, G_IO_STREAM (io), NULL);
  if (input != NULL)
    return make (G_INPUT_STREAM (input), NULL, NULL);
  take_error (error, gio_error);
  return NULL;
}
