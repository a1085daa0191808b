/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "fuzz-bounded.h"

#include "fuzz-limits.h"
#include "img-simple-storages.h"

#include <errno.h>

/* At least the page of the memory storage. */
#define PAGE ((guint64) 64 << 10)

static guint n_bounded;

static gboolean
has_room (FuzzBounded *self, const ImgIo *io)
{
  guint64 usage = 0;

  return io->op != IMG_IO_WRITE ||
         (img_storage_get_usage (self->memory, &usage, NULL) &&
          usage + io->length + 2 * PAGE <= FUZZ_MAX_STORED);
}

static void
check_request (const ImgIo *io)
{
  gsize sum = 0;

  if (io->op == IMG_IO_FLUSH || io->op == IMG_IO_TRUNCATE)
    return;
  fuzz_require (io->length > 0, "an empty request");
  fuzz_require (io->offset <= IMG_MAX_SIZE && io->length <= IMG_MAX_SIZE - io->offset,
                "a request past any file");
  if (io->op != IMG_IO_READ && io->op != IMG_IO_WRITE)
    return;
  for (guint i = 0; i < io->n_iov; i++)
    sum += io->iov[i].iov_len;
  fuzz_require (sum == io->length, "a vector of %" G_GSIZE_FORMAT " bytes for %" G_GUINT64_FORMAT,
                sum, io->length);
}

/* The pages are the fuzzer's, not memory of the code under test. */
static void
fuzz_bounded_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  FuzzBounded *self = (FuzzBounded *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      check_request (&ios[i]);
      if (++self->n_ios == self->fail_at)
        img_error_set_errno (&error, EIO, "The fuzzer failed this request");
      else if (!has_room (self, &ios[i]))
        img_error_set_errno (&error, ENOSPC, "The fuzzer has no more room");
      if (error != NULL)
        {
          img_io_complete (&ios[i], error);
          continue;
        }
      fuzz_limits_pause ();
      img_storage_submit (self->memory, &ios[i], 1);
      fuzz_limits_resume ();
    }
}

static gboolean
fuzz_bounded_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  FuzzBounded *self = (FuzzBounded *) storage;

  if (!img_storage_get_size (self->memory, size, error))
    return FALSE;
  *size += self->behind;
  return TRUE;
}

static gboolean
fuzz_bounded_get_range (ImgStorage *storage,
                        guint64 offset,
                        guint64 length,
                        ImgRange *range,
                        ImgError **error)
{
  return img_storage_get_range (((FuzzBounded *) storage)->memory, offset, length, range, error);
}

static gboolean
fuzz_bounded_get_usage (ImgStorage *storage, guint64 *usage, ImgError **error)
{
  return img_storage_get_usage (((FuzzBounded *) storage)->memory, usage, error);
}

static void
fuzz_bounded_free (ImgStorage *storage)
{
  fuzz_limits_pause ();
  img_storage_unref (((FuzzBounded *) storage)->memory);
  fuzz_limits_resume ();
  n_bounded--;
  g_free (storage);
}

static const ImgStorageClass fuzz_bounded_class = {
  .type_name = "fuzz-bounded",
  .submit = fuzz_bounded_submit,
  .get_size = fuzz_bounded_get_size,
  .free = fuzz_bounded_free,
  .get_range = fuzz_bounded_get_range,
  .get_usage = fuzz_bounded_get_usage,
};

static gboolean
copy_pieces (FuzzBounded *self, const FuzzStorage *pieces)
{
  if (!img_storage_truncate (&self->parent, pieces->size, NULL))
    return FALSE;
  for (guint i = 0; i < pieces->n_pieces; i++)
    {
      const FuzzPiece *piece = &pieces->pieces[i];

      if (piece->length > 0 &&
          !img_storage_write (&self->parent, piece->offset, piece->bytes, piece->length, NULL))
        return FALSE;
    }
  self->n_ios = 0;
  return TRUE;
}

FuzzBounded *
fuzz_bounded_new (const guint8 *data, gsize length)
{
  FuzzStorage *pieces = fuzz_storage_new (data, length, 1);
  FuzzBounded *self = g_new0 (FuzzBounded, 1);
  gboolean fits = pieces->size <= IMG_MAX_SIZE;

  img_storage_init (&self->parent, &fuzz_bounded_class, "/fuzz/written");
  self->parent.can_write = TRUE;
  self->memory = img_memory_storage_new_writable (0);
  n_bounded++;
  fits = fits && copy_pieces (self, pieces);
  img_storage_unref (&pieces->parent);
  if (fits)
    return self;
  img_storage_unref (&self->parent);
  return NULL;
}

guint
fuzz_bounded_count (void)
{
  return n_bounded;
}
