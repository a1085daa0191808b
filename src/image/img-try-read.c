/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reads that must not wait: what is not in memory is refused.
 *
 * One read is carried out extent by extent. Of many, those that are one run of plain bytes, as most are, go to their
 * storage together, which may be told to wait for them then; the others are tried each by itself; all in one walk, so
 * that they see one state of the chain. */

#include "config.h"

#include "img-copy.h"
#include "img-image-private.h"

/* How many reads a storage gets at once. */
#define TOGETHER 32

static ImgTryResult
try_compressed (const ImgExtent *extent, ImgImage *layer, guint8 *buffer)
{
  ImgDecodedKey key = { extent->unit_host_offset, extent->unit_host_length };
  ImgDecodedEntry *entry;

  if (img_decoded_lookup (layer->decoded, &key, img_unit_end (extent), FALSE, &entry) != IMG_DECODED_HIT)
    return IMG_TRY_WOULD_BLOCK;
  img_copy (buffer, img_decoded_get_plain (entry) + (extent->offset - extent->unit_offset),
          extent->length);
  img_decoded_unpin (layer->decoded, entry);
  return IMG_TRY_DONE;
}

/* @miss is nullable. */
static ImgTryResult
try_data (const ImgExtent *extent, guint8 *buffer, ImgIoFlags flags, ImgMiss *miss, ImgError **error)
{
  ImgTryResult result = img_read_run (extent, buffer, flags, error);

  if (G_UNLIKELY (result == IMG_TRY_WOULD_BLOCK) && miss != NULL)
    *miss = (ImgMiss) { img_storage_ref (extent->storage), extent->host_offset, extent->length };
  return result;
}

static ImgTryResult
try_extent (ImgWalk *walk,
            guint64 offset,
            gsize length,
            guint8 *buffer,
            ImgIoFlags flags,
            gsize *n_done,
            ImgMiss *miss,
            ImgError **error)
{
  ImgExtent extent;
  ImgImage *layer;
  guint depth;

  switch (img_walk_map (walk, offset, length, &extent, &layer, &depth, error))
    {
    case IMG_MAP_WOULD_BLOCK:
      return IMG_TRY_WOULD_BLOCK;
    case IMG_MAP_ERROR:
      return IMG_TRY_ERROR;
    case IMG_MAP_OK:
      break;
    }
  *n_done = extent.length;
  if (extent.kind == IMG_EXTENT_DATA)
    return try_data (&extent, buffer, flags, miss, error);
  if (extent.kind == IMG_EXTENT_COMPRESSED)
    return try_compressed (&extent, layer, buffer);
  memset (buffer, 0, extent.length);
  return IMG_TRY_DONE;
}

static ImgTryResult
try_extents (ImgWalk *walk,
             guint64 offset,
             gsize length,
             guint8 *buffer,
             ImgIoFlags flags,
             ImgMiss *miss,
             ImgError **error)
{
  ImgTryResult result = IMG_TRY_DONE;

  while (length > 0 && result == IMG_TRY_DONE)
    {
      gsize n_done = 0;

      result = try_extent (walk, offset, length, buffer, flags, &n_done, miss, error);
      offset += n_done;
      buffer += n_done;
      length -= n_done;
    }
  return result;
}

static ImgTryResult
try_read (ImgImage *image,
          guint64 offset,
          guint8 *buffer,
          gsize length,
          ImgIoFlags flags,
          ImgMiss *miss,
          ImgError **error)
{
  ImgTryResult result;
  ImgWalk walk;

  img_walk_begin (&walk, image, TRUE);
  if (!img_walk_enter (&walk))
    result = IMG_TRY_WOULD_BLOCK;
  else if (!img_check_range (image, offset, length, error))
    result = IMG_TRY_ERROR;
  else
    result = try_extents (&walk, offset, length, buffer, flags, miss, error);
  img_walk_end (&walk);
  return result;
}

ImgTryResult
img_image_try_read (ImgImage *image,
                    guint64 offset,
                    gpointer buffer,
                    gsize length,
                    ImgMiss *miss,
                    ImgError **error)
{
  return try_read (image, offset, buffer, length, IMG_IO_NOWAIT, miss, error);
}

ImgTryResult
img_image_retry_read (ImgImage *image,
                      guint64 offset,
                      gpointer buffer,
                      gsize length,
                      ImgError **error)
{
  return try_read (image, offset, buffer, length, IMG_IO_NOWAIT | IMG_IO_PREFETCHED, NULL, error);
}

/* ---- many ---- */

typedef struct
{
  ImgWalk walk;
  ImgIoFlags flags; /* of the runs */
  guint n_runs;
  ImgStorage *storages[TOGETHER]; /* of the runs: those of one follow each other */
  ImgIo runs[TOGETHER];
  struct iovec vectors[TOGETHER];
  ImgTryRead *reads[TOGETHER]; /* whose runs they are */
} TryReads;

static void
take_answers (TryReads *self)
{
  for (guint i = 0; i < self->n_runs; i++)
    {
      ImgTryRead *read = self->reads[i];

      read->error = self->runs[i].error;
      if (read->error != NULL)
        read->result = IMG_TRY_ERROR;
      else
        read->result = self->runs[i].would_block ? IMG_TRY_WOULD_BLOCK : IMG_TRY_DONE;
    }
}

static void
read_runs (TryReads *self)
{
  guint first = 0;

  for (guint i = 0; i < self->n_runs; i++)
    {
      self->vectors[i] = (struct iovec) { self->reads[i]->buffer, self->reads[i]->length };
      self->runs[i].iov = &self->vectors[i];
      if (i + 1 < self->n_runs && self->storages[i + 1] == self->storages[i])
        continue;
      img_storage_submit (self->storages[i], &self->runs[first], i + 1 - first);
      first = i + 1;
    }
  take_answers (self);
  self->n_runs = 0;
}

/* Behind the last one of the same storage. */
static guint
make_place (TryReads *self, ImgStorage *storage)
{
  guint i = self->n_runs;

  while (i > 0 && self->storages[i - 1] != storage)
    i--;
  if (i == 0)
    i = self->n_runs;
  for (guint k = self->n_runs; k > i; k--)
    {
      self->storages[k] = self->storages[k - 1];
      self->runs[k] = self->runs[k - 1];
      self->reads[k] = self->reads[k - 1];
    }
  self->n_runs++;
  return i;
}

static void
add_run (TryReads *self, ImgTryRead *read, const ImgExtent *extent)
{
  guint i;

  if (self->n_runs == TOGETHER)
    read_runs (self);
  i = make_place (self, extent->storage);
  self->storages[i] = extent->storage;
  self->reads[i] = read;
  self->runs[i] = (ImgIo) {
    .op = IMG_IO_READ,
    .flags = self->flags,
    .offset = extent->host_offset,
    .length = read->length,
    .n_iov = 1,
  };
}

static void
try_one_of_many (TryReads *self, ImgTryRead *read)
{
  ImgExtent extent;
  ImgImage *layer;
  guint depth;

  if (!img_check_range (self->walk.top, read->offset, read->length, &read->error))
    read->result = IMG_TRY_ERROR;
  else if (read->length > 0 &&
           img_walk_map (&self->walk, read->offset, read->length, &extent, &layer, &depth, NULL) == IMG_MAP_OK &&
           extent.kind == IMG_EXTENT_DATA && extent.length == read->length)
    add_run (self, read, &extent);
  else
    read->result = try_extents (&self->walk, read->offset, read->length, read->buffer, IMG_IO_NOWAIT, NULL, &read->error);
}

static void
try_reads (ImgImage *image, ImgTryRead *reads, guint n_reads, ImgIoFlags flags)
{
  TryReads self;

  self.n_runs = 0;
  self.flags = flags;
  img_walk_begin (&self.walk, image, TRUE);
  if (img_walk_enter (&self.walk))
    {
      for (guint i = 0; i < n_reads; i++)
        try_one_of_many (&self, &reads[i]);
      read_runs (&self);
    }
  else
    for (guint i = 0; i < n_reads; i++)
      reads[i].result = IMG_TRY_WOULD_BLOCK;
  img_walk_end (&self.walk);
}

void
img_image_try_reads (ImgImage *image, ImgTryRead *reads, guint n_reads)
{
  try_reads (image, reads, n_reads, IMG_IO_NOWAIT);
}

void
img_image_read_together (ImgImage *image, ImgTryRead *reads, guint n_reads)
{
  try_reads (image, reads, n_reads, IMG_IO_NOWAIT | IMG_IO_TOGETHER);
}
