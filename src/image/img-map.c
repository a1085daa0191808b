/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The block map: the map of the chain in the words of people and jobs. */

#include "config.h"

#include "img-image-private.h"

/* How many blocks there are to merge stands in a file: tables may be shared, so that not even the
 * size of the file bounds it. */
#define MAX_STEPS 65536

static ImgBlock
block_from_extent (const ImgExtent *extent, ImgImage *layer, guint depth)
{
  static const ImgBlockKind kinds[] = {
    [IMG_EXTENT_HOLE] = IMG_BLOCK_HOLE,
    [IMG_EXTENT_ZERO] = IMG_BLOCK_ZERO,
    [IMG_EXTENT_DATA] = IMG_BLOCK_DATA,
    [IMG_EXTENT_COMPRESSED] = IMG_BLOCK_COMPRESSED,
  };

  return (ImgBlock) {
    .kind = kinds[extent->kind],
    .offset = extent->offset,
    .length = extent->length,
    .depth = depth,
    .reads_as_zero = extent->kind == IMG_EXTENT_HOLE || extent->kind == IMG_EXTENT_ZERO,
    .has_host_offset = extent->has_host_offset,
    .host_offset = extent->has_host_offset ? extent->host_offset : 0,
    .storage = extent->has_host_offset ? extent->storage : NULL,
    .layer = layer,
  };
}

static ImgMapResult
map_block (ImgImage *image,
           ImgImage *bottom,
           guint64 offset,
           guint64 length,
           ImgBlockMapFlags flags,
           gboolean try_only,
           ImgBlock *block,
           ImgError **error)
{
  ImgMapResult result = IMG_MAP_ERROR;
  ImgExtent extent;
  ImgImage *layer;
  ImgWalk walk;
  guint depth;

  img_walk_begin (&walk, image, try_only);
  walk.top_only = (flags & IMG_BLOCK_MAP_TOP_ONLY) != 0;
  walk.bottom = bottom;
  if (!img_walk_enter (&walk))
    result = IMG_MAP_WOULD_BLOCK;
  else if (img_check_range (image, offset, length, error))
    result = img_walk_map (&walk, offset, length, &extent, &layer, &depth, error);
  img_walk_end (&walk);
  if (result == IMG_MAP_OK)
    *block = block_from_extent (&extent, layer, depth);
  return result;
}

/* DATA of a layer whose file may have holes: a hole of a raw file is a ZERO block, as nothing else
 * knows of it; a preallocated cluster stays DATA that reads as zero. */
static gboolean
look_for_host_hole (ImgBlock *block, ImgError **error)
{
  ImgRange range;

  if (block->kind != IMG_BLOCK_DATA || !block->layer->layout->has_host_holes)
    return TRUE;
  if (!img_storage_get_range (block->storage, block->host_offset, block->length, &range, error))
    return FALSE;
  block->length = range.length;
  block->reads_as_zero = range.kind == IMG_RANGE_ZERO;
  if (block->reads_as_zero && block->layer->layout->is_identity)
    block->kind = IMG_BLOCK_ZERO;
  return TRUE;
}

gboolean
img_image_map_above (ImgImage *image,
                     ImgImage *base,
                     guint64 offset,
                     guint64 length,
                     ImgBlockMapFlags flags,
                     ImgBlock *block,
                     ImgCancel *cancel,
                     ImgError **error)
{
  if (img_cancel_check (cancel, error))
    return FALSE;
  if (map_block (image, base, offset, length, flags, FALSE, block, error) != IMG_MAP_OK)
    return FALSE;
  return !(flags & IMG_BLOCK_MAP_HOST_HOLES) || look_for_host_hole (block, error);
}

gboolean
img_image_map (ImgImage *image,
               guint64 offset,
               guint64 length,
               ImgBlockMapFlags flags,
               ImgBlock *block,
               ImgCancel *cancel,
               ImgError **error)
{
  return img_image_map_above (image, NULL, offset, length, flags, block, cancel, error);
}

gboolean
img_block_is_left_to (const ImgBlock *block, ImgImage *base)
{
  return block->kind == IMG_BLOCK_HOLE && img_image_get_backing (block->layer) == base;
}

ImgTryResult
img_image_try_map (ImgImage *image,
                   guint64 offset,
                   guint64 length,
                   ImgBlockMapFlags flags,
                   ImgBlock *block,
                   ImgError **error)
{
  if (flags & IMG_BLOCK_MAP_HOST_HOLES)
    return IMG_TRY_WOULD_BLOCK;
  switch (map_block (image, NULL, offset, length, flags, TRUE, block, error))
    {
    case IMG_MAP_OK:
      return IMG_TRY_DONE;
    case IMG_MAP_WOULD_BLOCK:
      return IMG_TRY_WOULD_BLOCK;
    case IMG_MAP_ERROR:
    default:
      return IMG_TRY_ERROR;
    }
}

gboolean
img_block_may_merge (const ImgBlock *last, const ImgBlock *next)
{
  return last->kind == next->kind && last->kind != IMG_BLOCK_COMPRESSED &&
         last->layer == next->layer && last->depth == next->depth &&
         last->reads_as_zero == next->reads_as_zero &&
         last->has_host_offset == next->has_host_offset && last->storage == next->storage &&
         (!last->has_host_offset || last->host_offset + last->length == next->host_offset);
}

guint
img_image_map_many (ImgImage *image,
                    guint64 offset,
                    guint64 length,
                    ImgBlockMapFlags flags,
                    ImgBlock *blocks,
                    guint max,
                    ImgCancel *cancel,
                    ImgError **error)
{
  guint n = 0;

  for (guint n_steps = 0; length > 0 && n_steps < MAX_STEPS; n_steps++)
    {
      ImgBlock block;

      if (!img_image_map (image, offset, length, flags, &block, cancel, error))
        return 0;
      if (n > 0 && img_block_may_merge (&blocks[n - 1], &block))
        blocks[n - 1].length += block.length;
      else if (n < max)
        blocks[n++] = block;
      else
        break;
      offset += block.length;
      length -= block.length;
    }
  return n;
}
