/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The transfer engine: reading.
 *
 * A request is cut into extents by the map of the chain. Zeroes are filled at once; DATA becomes
 * storage requests, merged where both guest and host ranges adjoin; COMPRESSED units are fetched
 * with the same batch and decoded after it. A batch is submitted whole before anything is waited
 * for.
 *
 * Compressed units go through the image's cache of decoded clusters, except those the request
 * covers entirely and that lie in one buffer: these are decoded in place. While a batch owns
 * entries of that cache it never waits for another owner: it is finished first.
 */

#include "config.h"

#include "img-alloc.h"
#include "img-copy.h"
#include "img-image-private.h"
#include "img-iov.h"

#define BATCH 16
/* Stored bytes fetched in one batch; a single unit may be larger. */
#define BATCH_STORED (2 * IMG_MIB)
/* A thread keeps its buffer for stored bytes up to this size. */
#define KEPT_STORED (3 * IMG_MIB)

typedef struct
{
  ImgExtent extent; /* its part of the request */
  ImgLayout *layout;
  ImgDecodedCache *cache;
  ImgDecodedEntry *entry; /* owned; NULL: decode in place */
  ImgIovCursor target;    /* where the extent's bytes go */
  gsize stored_at;        /* in the buffer of stored bytes */
  struct iovec stored;
} Unit;

typedef struct
{
  ImgWalk *walk;
  ImgIovCursor cursor;
  struct iovec *vectors; /* slices of the caller's vector for the batch */
  guint max_vectors;
  guint n_vectors;
  struct iovec inline_vectors[BATCH];

  guint n_ios;
  guint n_units;
  gsize stored_length;
  ImgIo ios[BATCH];
  ImgStorage *storages[BATCH];
  Unit units[BATCH];
} Transfer;

/* ---- the buffer of stored bytes, one a thread ---- */

typedef struct
{
  guint8 *memory;
  gsize size;
} Scratch;

static void
scratch_free_cb (gpointer data)
{
  Scratch *scratch = data;

  img_free (scratch->memory);
  g_free (scratch);
}

static GPrivate thread_scratch = G_PRIVATE_INIT (scratch_free_cb);

/* Taken from the thread for the time of a batch: while that waits, the thread may serve a storage whose
 * hook reads another image, and that batch needs a buffer of its own. */
static gboolean
scratch_take (Scratch *scratch, gsize size, ImgError **error)
{
  Scratch *kept = g_private_get (&thread_scratch);

  *scratch = (Scratch) { 0 };
  if (kept != NULL && kept->size >= size)
    {
      *scratch = *kept;
      *kept = (Scratch) { 0 };
      return TRUE;
    }
  scratch->memory = img_try_alloc (size, error);
  scratch->size = size;
  return scratch->memory != NULL;
}

/* The thread keeps the larger of the two, within reason. */
static void
scratch_give_back (Scratch *scratch)
{
  Scratch *kept = g_private_get (&thread_scratch);

  if (kept == NULL)
    {
      kept = g_new0 (Scratch, 1);
      g_private_set (&thread_scratch, kept);
    }
  if (scratch->memory != NULL && scratch->size > kept->size && scratch->size <= KEPT_STORED)
    {
      img_free (kept->memory);
      *kept = *scratch;
    }
  else
    img_free (scratch->memory);
}

/* ---- one batch ---- */

/* A unit that is read for the first time gives what is asked for; the second time it gives all, as more of it
 * will be wanted. If all cannot be had, for the rest is damaged, what is asked for is no worse than the first time. */
static gboolean
decode_entry (Unit *unit, guint8 *plain, gsize *n_plain, ImgError **error)
{
  const ImgExtent *extent = &unit->extent;
  const ImgLayoutClass *klass = unit->layout->klass;
  const guint8 *stored = unit->stored.iov_base;

  return (img_decoded_had_part (unit->entry) &&
          klass->decode (unit->layout, extent, stored, plain, extent->unit_length, n_plain, NULL)) ||
         klass->decode (unit->layout, extent, stored, plain, img_unit_end (extent), n_plain, error);
}

static gboolean
decode_unit (Unit *unit, gsize *n_plain, ImgError **error)
{
  const ImgExtent *extent = &unit->extent;
  guint8 *plain;

  if (unit->entry == NULL)
    {
      struct iovec whole = img_iov_cursor_next (&unit->target, extent->unit_length);

      return unit->layout->klass->decode (unit->layout, extent, unit->stored.iov_base, whole.iov_base,
                                          extent->unit_length, n_plain, error);
    }
  plain = img_decoded_get_memory (unit->cache, unit->entry, error);
  if (plain == NULL || !decode_entry (unit, plain, n_plain, error))
    return FALSE;
  img_iov_cursor_copy (&unit->target, plain + (extent->offset - extent->unit_offset),
                       extent->length);
  return TRUE;
}

/* Whatever happened, no entry stays owned. */
static gboolean
decode_units (Transfer *transfer, gboolean success, ImgError **error)
{
  for (guint i = 0; i < transfer->n_units; i++)
    {
      Unit *unit = &transfer->units[i];
      gsize n_plain;

      success = success && decode_unit (unit, &n_plain, error);
      if (unit->entry == NULL)
        continue;
      if (success)
        {
          img_decoded_ready (unit->cache, unit->entry, n_plain);
          img_decoded_unpin (unit->cache, unit->entry);
        }
      else
        img_decoded_failed (unit->cache, unit->entry);
    }
  return success;
}

static void
submit_all (Transfer *transfer)
{
  guint start = 0;

  for (guint i = 1; i <= transfer->n_ios; i++)
    if (i == transfer->n_ios || transfer->storages[i] != transfer->storages[start])
      {
        img_storage_submit (transfer->storages[start], &transfer->ios[start], i - start);
        start = i;
      }
}

static ImgIo *
add_io (Transfer *transfer,
        ImgStorage *storage,
        guint64 offset,
        gsize length,
        const struct iovec *iov,
        guint n_iov)
{
  ImgIo *io = &transfer->ios[transfer->n_ios];

  *io = (ImgIo) {
    .op = IMG_IO_READ,
    .flags = transfer->walk->try_only ? IMG_IO_NOWAIT : IMG_IO_NONE,
    .offset = offset,
    .length = length,
    .iov = iov,
    .n_iov = n_iov,
  };
  transfer->storages[transfer->n_ios++] = storage;
  return io;
}

static gboolean
place_stored (Transfer *transfer, Scratch *scratch, ImgError **error)
{
  if (!scratch_take (scratch, transfer->stored_length, error))
    return FALSE;
  for (guint i = 0; i < transfer->n_units; i++)
    {
      Unit *unit = &transfer->units[i];

      unit->stored = (struct iovec) { scratch->memory + unit->stored_at, unit->extent.unit_host_length };
      add_io (transfer, unit->extent.storage, unit->extent.unit_host_offset, unit->stored.iov_len,
              &unit->stored, 1);
    }
  return TRUE;
}

static gboolean
run_batch (Transfer *transfer, ImgError **error)
{
  Scratch scratch = { 0 };
  gboolean success = transfer->n_units == 0 || place_stored (transfer, &scratch, error);

  if (success && transfer->n_ios > 0)
    {
      submit_all (transfer);
      img_io_wait (transfer->ios, transfer->n_ios);
      success = img_io_collect (transfer->ios, transfer->n_ios, error);
    }
  success = decode_units (transfer, success, error);
  if (transfer->n_units > 0)
    scratch_give_back (&scratch);
  transfer->n_ios = transfer->n_units = transfer->n_vectors = 0;
  transfer->stored_length = 0;
  return success;
}

static gboolean
is_full (const Transfer *transfer)
{
  return transfer->n_ios + transfer->n_units == BATCH || transfer->stored_length > BATCH_STORED;
}

/* ---- extents ---- */

/* Adjoining the last request on both sides: one longer request. */
static gboolean
merge_data (Transfer *transfer, const ImgExtent *extent)
{
  ImgIo *last;
  struct iovec *vector;
  struct iovec part;

  if (transfer->n_ios == 0)
    return FALSE;
  last = &transfer->ios[transfer->n_ios - 1];
  if (transfer->storages[transfer->n_ios - 1] != extent->storage ||
      last->offset + last->length != extent->host_offset)
    return FALSE;
  /* The vector of the last request ends where the unused ones begin. */
  if (last->iov + last->n_iov != transfer->vectors + transfer->n_vectors)
    return FALSE;
  vector = &transfer->vectors[transfer->n_vectors - 1];
  part = img_iov_cursor_next (&transfer->cursor, extent->length);
  if ((guint8 *) vector->iov_base + vector->iov_len == part.iov_base)
    vector->iov_len += part.iov_len;
  else
    {
      transfer->vectors[transfer->n_vectors++] = part;
      last->n_iov++;
    }
  last->length += part.iov_len;
  for (gsize left = extent->length - part.iov_len; left > 0;)
    {
      part = img_iov_cursor_next (&transfer->cursor, left);
      transfer->vectors[transfer->n_vectors++] = part;
      last->n_iov++;
      last->length += part.iov_len;
      left -= part.iov_len;
    }
  return TRUE;
}

/* Guest ranges are walked in order, so a merged extent also adjoins in the caller's vector unless
 * something else was put between: such a request keeps its own slice. */
static void
add_data (Transfer *transfer, const ImgExtent *extent, gboolean follows_data)
{
  struct iovec *slice = transfer->vectors + transfer->n_vectors;
  guint n_parts;

  if (follows_data && merge_data (transfer, extent))
    return;
  img_iov_cursor_slice (&transfer->cursor, extent->length, slice,
                        transfer->max_vectors - transfer->n_vectors, &n_parts);
  transfer->n_vectors += n_parts;
  add_io (transfer, extent->storage, extent->host_offset, extent->length, slice, n_parts);
}

static void
copy_from_entry (Transfer *transfer,
                 ImgDecodedCache *cache,
                 ImgDecodedEntry *entry,
                 const ImgExtent *extent)
{
  img_iov_cursor_copy (&transfer->cursor,
                       img_decoded_get_plain (entry) + (extent->offset - extent->unit_offset),
                       extent->length);
  img_decoded_unpin (cache, entry);
}

static gboolean
fits_in_place (const Transfer *transfer, const ImgExtent *extent)
{
  ImgIovCursor cursor = transfer->cursor;

  return extent->length == extent->unit_length &&
         img_iov_cursor_next (&cursor, extent->length).iov_len == extent->length;
}

static void
add_unit (Transfer *transfer, const ImgExtent *extent, ImgImage *layer, ImgDecodedEntry *entry)
{
  Unit *unit = &transfer->units[transfer->n_units++];

  unit->extent = *extent;
  unit->layout = layer->layout;
  unit->cache = layer->decoded;
  unit->entry = entry;
  unit->target = transfer->cursor;
  unit->stored_at = transfer->stored_length;
  transfer->stored_length += extent->unit_host_length;
  for (gsize left = extent->length; left > 0;)
    left -= img_iov_cursor_next (&transfer->cursor, left).iov_len;
}

static gboolean
add_compressed (Transfer *transfer, const ImgExtent *extent, ImgImage *layer, ImgError **error)
{
  ImgDecodedKey key = { extent->unit_host_offset, extent->unit_host_length };
  gboolean in_place = fits_in_place (transfer, extent);
  ImgDecodedEntry *entry;

  for (;;)
    switch (img_decoded_lookup (layer->decoded, &key, img_unit_end (extent), !in_place, &entry))
      {
      case IMG_DECODED_HIT:
        copy_from_entry (transfer, layer->decoded, entry, extent);
        return TRUE;
      case IMG_DECODED_OWNER:
        add_unit (transfer, extent, layer, entry);
        return TRUE;
      case IMG_DECODED_MISS:
        add_unit (transfer, extent, layer, NULL);
        return TRUE;
      case IMG_DECODED_BUSY:
        if (in_place)
          {
            add_unit (transfer, extent, layer, NULL);
            return TRUE;
          }
        if (!run_batch (transfer, error))
          return FALSE;
        img_decoded_wait (layer->decoded, &key, img_unit_end (extent));
        break;
      }
}

/* ---- requests ---- */

static void
transfer_begin (Transfer *transfer, ImgWalk *walk, const struct iovec *iov, guint n_iov)
{
  transfer->walk = walk;
  transfer->cursor = img_iov_cursor (iov, n_iov);
  transfer->n_ios = transfer->n_units = transfer->n_vectors = 0;
  transfer->stored_length = 0;
  transfer->vectors = transfer->inline_vectors;
  transfer->max_vectors = BATCH;
  /* Every request of a batch cuts the vector at most once more. */
  if (n_iov > 1)
    {
      transfer->max_vectors = n_iov + BATCH;
      transfer->vectors = g_new (struct iovec, transfer->max_vectors);
    }
}

static void
transfer_end (Transfer *transfer)
{
  if (transfer->vectors != transfer->inline_vectors)
    g_free (transfer->vectors);
}

static gboolean
transfer_read (Transfer *transfer,
               guint64 offset,
               guint64 length,
               ImgCancel *cancel,
               ImgError **error)
{
  gboolean follows_data = FALSE;

  while (length > 0)
    {
      ImgExtent extent;
      ImgImage *layer;
      guint depth;

      if (img_walk_map (transfer->walk, offset, length, &extent, &layer, &depth, error) !=
          IMG_MAP_OK)
        return FALSE;
      if (extent.kind == IMG_EXTENT_DATA)
        add_data (transfer, &extent, follows_data);
      else if (extent.kind == IMG_EXTENT_COMPRESSED)
        {
          if (!add_compressed (transfer, &extent, layer, error))
            return FALSE;
        }
      else
        img_iov_cursor_zero (&transfer->cursor, extent.length);
      follows_data = extent.kind == IMG_EXTENT_DATA;
      offset += extent.length;
      length -= extent.length;
      if (is_full (transfer))
        {
          if (!run_batch (transfer, error) || img_cancel_check (cancel, error))
            return FALSE;
          follows_data = FALSE;
        }
    }
  return run_batch (transfer, error);
}

gboolean
img_walk_readv (ImgWalk *walk,
                guint64 offset,
                const struct iovec *iov,
                guint n_iov,
                ImgCancel *cancel,
                ImgError **error)
{
  Transfer transfer;
  gboolean success;

  transfer_begin (&transfer, walk, iov, n_iov);
  success = transfer_read (&transfer, offset, img_iov_size (iov, n_iov), cancel, error);
  /* Entries of the decoded cache that an error left owned. */
  if (!success)
    decode_units (&transfer, FALSE, NULL);
  transfer_end (&transfer);
  return success;
}

gboolean
img_image_readv (ImgImage *image,
                 guint64 offset,
                 const struct iovec *iov,
                 guint n_iov,
                 ImgCancel *cancel,
                 ImgError **error)
{
  gboolean success;
  ImgWalk walk;

  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  success = img_check_range (image, offset, img_iov_size (iov, n_iov), error) &&
            img_walk_readv (&walk, offset, iov, n_iov, cancel, error);
  img_walk_end (&walk);
  return success;
}

ImgTryResult
img_read_run (const ImgExtent *extent, guint8 *buffer, ImgIoFlags flags, ImgError **error)
{
  struct iovec iov = { buffer, extent->length };
  ImgIo io = {
    .op = IMG_IO_READ,
    .flags = flags,
    .offset = extent->host_offset,
    .length = extent->length,
    .iov = &iov,
    .n_iov = 1,
  };

  img_storage_submit (extent->storage, &io, 1);
  img_io_wait (&io, 1);
  if (!img_io_collect (&io, 1, error))
    return IMG_TRY_ERROR;
  return io.would_block ? IMG_TRY_WOULD_BLOCK : IMG_TRY_DONE;
}

/* Most requests are one run and need no batch. */
gboolean
img_image_read (ImgImage *image,
                guint64 offset,
                gpointer buffer,
                gsize length,
                ImgCancel *cancel,
                ImgError **error)
{
  struct iovec iov = { buffer, length };
  gboolean is_one_run, success = FALSE;
  ImgMapResult result = IMG_MAP_ERROR;
  ImgExtent extent;
  ImgImage *layer;
  ImgWalk walk;
  guint depth;

  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  if (G_LIKELY (img_check_range (image, offset, length, error)))
    {
      if (length > 0)
        result = img_walk_map (&walk, offset, length, &extent, &layer, &depth, error);
      else
        success = TRUE;
    }
  is_one_run = result == IMG_MAP_OK && extent.kind == IMG_EXTENT_DATA && extent.length == length;
  if (G_LIKELY (is_one_run))
    success = img_read_run (&extent, buffer, IMG_IO_NONE, error) == IMG_TRY_DONE;
  img_walk_end (&walk);
  if (is_one_run || result != IMG_MAP_OK)
    return success;
  return img_image_readv (image, offset, &iov, 1, cancel, error);
}
