/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-convert-source.h"

#include <string.h>

/* The smallest range that is given up when it cannot be read. */
#define SALVAGE_GRAIN 512

void
img_convert_source_init (ImgConvertSource *source,
                         ImgImage *image,
                         gsize chunk_size,
                         gsize alignment,
                         guint64 bytes_per_second)
{
  /* No chunk ends within a cluster: each is decoded once. */
  gsize unit = MAX (alignment, img_image_get_layout (image)->unit_length);

  *source = (ImgConvertSource){
    .image = image,
    .size = img_image_get_size (image),
    .chunk_size = MAX (chunk_size, unit),
    .alignment = alignment,
    .unit = unit,
  };
  img_rate_init (&source->rate, bytes_per_second);
  img_mutex_init (&source->mutex);
}

void
img_convert_source_clear (ImgConvertSource *source)
{
  img_mutex_clear (&source->mutex);
  img_rate_clear (&source->rate);
}

/* ---- claiming ---- */

/* What no backing image of the source lies below reads as zero, whatever the target's has there.
 * May make the block shorter. */
static gboolean
has_backing_below (ImgConvertSource *source, guint64 offset, ImgBlock *block)
{
  ImgImage *backing = img_image_get_backing (source->image);

  if (backing == NULL || offset >= img_image_get_size (backing))
    return FALSE;
  block->length = MIN (block->length, img_image_get_size (backing) - offset);
  return TRUE;
}

/* May make the block shorter. */
static ImgPieceKind
kind_of (ImgConvertSource *source, guint64 offset, ImgBlock *block)
{
  if (!block->reads_as_zero)
    return IMG_PIECE_COPY;
  if (source->tell_zero && block->kind == IMG_BLOCK_HOLE &&
      has_backing_below (source, offset, block))
    return IMG_PIECE_HOLE;
  return IMG_PIECE_ZERO;
}

/* Appends, or makes the last piece longer. FALSE: there is no room. */
static gboolean
add_piece (ImgChunk *chunk, ImgPieceKind kind, guint64 offset, guint64 end)
{
  ImgPiece *last = chunk->n_pieces > 0 ? &chunk->pieces[chunk->n_pieces - 1] : NULL;

  if (last != NULL && last->kind == kind)
    last->length = end - last->offset;
  else if (chunk->n_pieces == IMG_CHUNK_MAX_PIECES)
    return FALSE;
  else
    chunk->pieces[chunk->n_pieces++] = (ImgPiece){ kind, offset, end - offset };
  return TRUE;
}

/* Gives back all that is behind @offset. */
static void
cut_back (ImgChunk *chunk, guint64 offset)
{
  while (chunk->n_pieces > 0 && chunk->pieces[chunk->n_pieces - 1].offset >= offset)
    chunk->n_pieces--;
  if (chunk->n_pieces > 0)
    {
      ImgPiece *last = &chunk->pieces[chunk->n_pieces - 1];

      last->length = MIN (last->length, offset - last->offset);
    }
}

/* Ends the chunk where a COPY piece could begin. A unit that has more pieces than a chunk is copied
 * as one. */
static void
end_early (ImgConvertSource *source, ImgChunk *chunk, guint64 *position)
{
  guint64 end = img_align_down (chunk->pieces[chunk->n_pieces - 1].offset, source->alignment);

  cut_back (chunk, end);
  if (end <= chunk->offset)
    {
      end = MIN (chunk->offset + source->alignment, source->size);
      chunk->n_pieces = 0;
      add_piece (chunk, IMG_PIECE_COPY, chunk->offset, end);
    }
  *position = end;
}

static guint64
count_copied (const ImgChunk *chunk)
{
  guint64 n_copied = 0;

  for (guint i = 0; i < chunk->n_pieces; i++)
    if (chunk->pieces[i].kind == IMG_PIECE_COPY)
      n_copied += chunk->pieces[i].length;
  return n_copied;
}

/* *start: the end of what the chunk covers, then where the piece begins. Returns where it ends; no
 * more than the chunk has room for, which may be nothing. */
static guint64
align_copy (ImgConvertSource *source, const ImgChunk *chunk, guint64 length, guint64 *start)
{
  guint64 room = source->chunk_size - count_copied (chunk);
  guint64 end = MIN (img_align_up (*start + length, source->alignment), source->size);

  *start = MAX (img_align_down (*start, source->alignment), chunk->offset);
  return end - *start <= room ? end : img_align_down (*start + room, source->unit);
}

gboolean
img_convert_source_claim (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  ImgConvertSource *source = data;
  ImgBlockMapFlags flags =
    IMG_BLOCK_MAP_HOST_HOLES | (source->top_only ? IMG_BLOCK_MAP_TOP_ONLY : 0);
  guint64 position = source->position;

  chunk->offset = position;
  while (position < source->size && count_copied (chunk) < source->chunk_size)
    {
      guint64 start = position, end;
      ImgPieceKind kind;
      ImgBlock block;

      if (img_cancel_check (cancel, error) ||
          !img_image_map (source->image, position, source->size - position, flags, &block, cancel,
                          error))
        return FALSE;
      kind = kind_of (source, position, &block);
      end = position + block.length;
      if (kind == IMG_PIECE_COPY)
        {
          cut_back (chunk, img_align_down (start, source->alignment));
          end = align_copy (source, chunk, block.length, &start);
          if (end <= start)
            {
              position = start;
              break;
            }
        }
      if (!add_piece (chunk, kind, start, end))
        {
          end_early (source, chunk, &position);
          break;
        }
      position = end;
    }
  chunk->n_copied = count_copied (chunk);
  chunk->end = source->position = position;
  return chunk->n_pieces > 0;
}

gboolean
img_convert_source_add_up (ImgConvertSource *source,
                           guint64 *total,
                           ImgCancel *cancel,
                           ImgError **error)
{
  g_autofree ImgChunk *chunk = g_new0 (ImgChunk, 1);
  ImgError *local_error = NULL;

  *total = 0;
  source->position = 0;
  while (img_convert_source_claim (source, chunk, cancel, &local_error))
    {
      *total += chunk->n_copied;
      chunk->n_pieces = 0;
    }
  source->position = 0;
  if (local_error == NULL)
    return TRUE;
  img_error_propagate (error, local_error);
  return FALSE;
}

/* ---- reading ---- */

/* Halves what cannot be read until it can be, or is too small. Only damage is salvaged: not what
 * comes of a cancelled job or of want of memory. */
static gboolean
salvage (ImgConvertSource *source,
         guint64 offset,
         guint8 *data,
         gsize length,
         ImgCancel *cancel,
         ImgError **error)
{
  ImgError *local_error = NULL;
  gsize half;

  if (img_image_read (source->image, offset, data, length, cancel, &local_error))
    return TRUE;
  if (local_error->code == IMG_CODE_CANCELLED || local_error->code == IMG_CODE_NO_MEMORY ||
      local_error->code == IMG_CODE_CLOSED)
    {
      img_error_propagate (error, local_error);
      return FALSE;
    }
  if (length > SALVAGE_GRAIN)
    {
      img_error_free (local_error);
      half = MAX (img_align_down (length / 2, SALVAGE_GRAIN), SALVAGE_GRAIN);
      return salvage (source, offset, data, half, cancel, error) &&
             salvage (source, offset + half, data + half, length - half, cancel, error);
    }
  memset (data, 0, length);
  img_mutex_lock (&source->mutex);
  if (source->salvaged != NULL)
    source->salvaged (offset, length, local_error, source->salvaged_data);
  img_mutex_unlock (&source->mutex);
  img_error_free (local_error);
  return TRUE;
}

/* FALSE: it is to be read, all of it. */
static gboolean
copy_in_place (ImgConvertSource *source, const ImgPiece *piece)
{
  return source->copy_to != NULL &&
         img_image_copy_range (source->image, piece->offset, piece->length, source->copy_to,
                               piece->offset) == piece->length;
}

gboolean
img_convert_source_fill (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  ImgConvertSource *source = data;
  guint8 *to = chunk->data;

  if (chunk->n_copied > 0 && !img_rate_wait (&source->rate, chunk->n_copied, cancel, error))
    return FALSE;
  for (guint i = 0; i < chunk->n_pieces; i++)
    {
      ImgPiece *piece = &chunk->pieces[i];
      gsize length = (gsize) piece->length;

      if (piece->kind != IMG_PIECE_COPY)
        continue;
      if (copy_in_place (source, piece))
        {
          piece->kind = IMG_PIECE_COPIED;
          continue;
        }
      if (source->salvage
            ? !salvage (source, piece->offset, to, length, cancel, error)
            : !img_image_read (source->image, piece->offset, to, length, cancel, error))
        return FALSE;
      to += length;
    }
  return TRUE;
}
