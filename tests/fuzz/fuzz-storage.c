/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fuzz-storage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_OFFSET (((guint64) 1 << 62) - 1)
#define PIECE_HEADER 12

static guint n_storages;

void
fuzz_violation (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  fputs ("violated: ", stderr);
  vfprintf (stderr, format, args);
  fputc ('\n', stderr);
  va_end (args);
  abort ();
}

guint
fuzz_storage_count (void)
{
  return n_storages;
}

void
fuzz_storage_peek (FuzzStorage *self, guint64 offset, guint8 *buffer, gsize length)
{
  memset (buffer, 0, length);
  for (guint i = 0; i < self->n_pieces; i++)
    {
      const FuzzPiece *piece = &self->pieces[i];
      guint64 begin = MAX (offset, piece->offset);
      guint64 end = MIN (offset + length, piece->offset + piece->length);

      if (begin < end)
        memcpy (buffer + (begin - offset), piece->bytes + (begin - piece->offset), end - begin);
    }
}

static void
read_vector (FuzzStorage *self, const ImgIo *io, gsize length)
{
  guint64 offset = io->offset;

  for (guint i = 0; i < io->n_iov && length > 0; i++)
    {
      gsize part = MIN (length, io->iov[i].iov_len);

      fuzz_storage_peek (self, offset, io->iov[i].iov_base, part);
      offset += part;
      length -= part;
    }
}

/* A read that failed or was cut short may leave anything behind. */
static void
spoil_vector (const ImgIo *io)
{
  for (guint i = 0; i < io->n_iov; i++)
    memset (io->iov[i].iov_base, 0xee, io->iov[i].iov_len);
}

static void
check_request (const ImgIo *io)
{
  gsize sum = 0;

  fuzz_require (io->op == IMG_IO_READ, "something else than a read of a file opened for reading");
  fuzz_require (io->length > 0 && io->n_iov > 0, "an empty request");
  fuzz_require (io->offset <= IMG_MAX_SIZE && io->length <= IMG_MAX_SIZE - io->offset,
                "a request past any file");
  for (guint i = 0; i < io->n_iov; i++)
    sum += io->iov[i].iov_len;
  fuzz_require (sum == io->length, "a vector of %" G_GSIZE_FORMAT " bytes for %" G_GUINT64_FORMAT,
                sum, io->length);
}

static void
fuzz_storage_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  FuzzStorage *self = (FuzzStorage *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgIo *io = &ios[i];
      ImgError *error = NULL;

      check_request (io);
      self->n_ios++;
      if ((io->flags & IMG_IO_NOWAIT) && self->never_ready)
        {
          /* Half of it was there: a short answer must not be taken for a whole one. */
          spoil_vector (io);
          read_vector (self, io, io->length / 2);
          img_io_complete_partly (io, io->length / 2);
          continue;
        }
      self->bytes_read += io->length;
      if (self->n_ios == self->fail_at)
        {
          spoil_vector (io);
          img_error_set_errno (&error, EIO, "The fuzzer failed this read");
        }
      else
        read_vector (self, io, io->length);
      img_io_complete (io, error);
    }
}

static gboolean
fuzz_storage_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((FuzzStorage *) storage)->size;
  return TRUE;
}

static gboolean
fuzz_storage_get_range (ImgStorage *storage,
                        guint64 offset,
                        guint64 length,
                        ImgRange *range,
                        ImgError **error)
{
  FuzzStorage *self = (FuzzStorage *) storage;
  guint64 end = offset + length;

  range->kind = IMG_RANGE_ZERO;
  for (guint i = 0; i < self->n_pieces; i++)
    {
      const FuzzPiece *piece = &self->pieces[i];

      if (offset >= piece->offset && offset - piece->offset < piece->length)
        {
          range->kind = IMG_RANGE_DATA;
          range->length = MIN (length, piece->length - (offset - piece->offset));
          return TRUE;
        }
      if (piece->length > 0 && piece->offset > offset)
        end = MIN (end, piece->offset);
    }
  range->length = end - offset;
  return TRUE;
}

static gboolean
fuzz_storage_get_identity (ImgStorage *storage, ImgIdentity *identity)
{
  identity->device = 1;
  identity->inode = ((FuzzStorage *) storage)->inode;
  return TRUE;
}

static void
fuzz_storage_free (ImgStorage *storage)
{
  n_storages--;
  g_free (storage);
}

static const ImgStorageClass fuzz_storage_class = {
  .type_name = "fuzz",
  .submit = fuzz_storage_submit,
  .get_size = fuzz_storage_get_size,
  .free = fuzz_storage_free,
  .get_range = fuzz_storage_get_range,
  .get_identity = fuzz_storage_get_identity,
};

static void
add_piece (FuzzStorage *self, guint64 offset, guint64 length, const guint8 *bytes)
{
  FuzzPiece *piece = &self->pieces[self->n_pieces++];

  piece->offset = offset;
  piece->length = length;
  piece->bytes = bytes;
  self->size = MAX (self->size, offset + length);
}

FuzzStorage *
fuzz_storage_new (const guint8 *data, gsize length, guint64 inode)
{
  g_autofree char *name = g_strdup_printf ("/fuzz/file-%" G_GUINT64_FORMAT, inode);
  FuzzStorage *self = g_new0 (FuzzStorage, 1);
  gsize n_pieces = length > 0 ? data[0] % FUZZ_MAX_PIECES : 0;
  gsize header, rest;
  const guint8 *payload;

  n_pieces = MIN (n_pieces, (length > 0 ? length - 1 : 0) / PIECE_HEADER);
  header = MIN (1 + n_pieces * PIECE_HEADER, length);
  payload = data + header;
  rest = length - header;
  if (n_pieces == 0)
    add_piece (self, 0, rest, payload);
  for (gsize i = 0; i < n_pieces; i++)
    {
      const guint8 *piece = data + 1 + i * PIECE_HEADER;
      guint64 offset;
      guint32 wanted;
      gsize taken;

      memcpy (&offset, piece, sizeof offset);
      memcpy (&wanted, piece + sizeof offset, sizeof wanted);
      taken = MIN (GUINT32_FROM_LE (wanted), rest);
      add_piece (self, GUINT64_FROM_LE (offset) & MAX_OFFSET, taken, payload);
      payload += taken;
      rest -= taken;
    }
  self->inode = inode;
  img_storage_init (&self->parent, &fuzz_storage_class, name);
  n_storages++;
  return self;
}
