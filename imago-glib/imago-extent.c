/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-extent-private.h"

/**
 * SECTION:imago-extent
 * @title: ImagoExtent
 * @short_description: A range of a disk and where its bytes are
 *
 * imago_image_map() describes a disk one extent at a time, imago_image_map_extents() many at once.
 * Data, zeroes and ranges that no image of the chain has allocated are three different things.
 *
 * Extents and arrays of them never change and may be used from any thread.
 */

/**
 * ImagoExtent:
 *
 * A range of a disk and where its bytes are.
 *
 * Since: 1.0
 */
struct _ImagoExtent
{
  ImagoExtentKind kind;
  guint depth;
  gboolean reads_as_zero;
  gboolean has_host_offset;
  guint64 offset;
  guint64 length;
  guint64 host_offset;
  GRefString *storage_name; /* the extents of an array share it */
};

/**
 * ImagoExtentArray:
 *
 * Consecutive extents of a disk.
 *
 * Since: 1.0
 */
struct _ImagoExtentArray
{
  ImgRefCount ref_count;
  guint n_extents;
  ImagoExtent extents[];
};

G_DEFINE_BOXED_TYPE (ImagoExtent, imago_extent, imago_extent_copy, imago_extent_free)
G_DEFINE_BOXED_TYPE (ImagoExtentArray,
                     imago_extent_array,
                     imago_extent_array_ref,
                     imago_extent_array_unref)

G_STATIC_ASSERT ((int) IMAGO_EXTENT_DATA == (int) IMG_BLOCK_DATA + 1);
G_STATIC_ASSERT ((int) IMAGO_EXTENT_COMPRESSED == (int) IMG_BLOCK_COMPRESSED + 1);
G_STATIC_ASSERT ((int) IMAGO_EXTENT_ZERO == (int) IMG_BLOCK_ZERO + 1);
G_STATIC_ASSERT ((int) IMAGO_EXTENT_UNALLOCATED == (int) IMG_BLOCK_HOLE + 1);

/* All but the name of the storage. */
static void
fill_from_block (ImagoExtent *self, const ImgBlock *block)
{
  self->kind = (ImagoExtentKind) ((int) block->kind + 1);
  self->depth = block->depth;
  self->reads_as_zero = block->reads_as_zero;
  self->has_host_offset = block->has_host_offset;
  self->offset = block->offset;
  self->length = block->length;
  self->host_offset = block->has_host_offset ? block->host_offset : 0;
}

static GRefString *
storage_name_of (const ImgBlock *block)
{
  const char *name = block->storage != NULL ? img_storage_get_name (block->storage) : NULL;

  return name != NULL ? g_ref_string_new (name) : NULL;
}

ImagoExtent *
imago_extent_new_from_block (const ImgBlock *block)
{
  ImagoExtent *self = g_new0 (ImagoExtent, 1);

  fill_from_block (self, block);
  self->storage_name = storage_name_of (block);
  return self;
}

ImagoExtentArray *
imago_extent_array_new_from_blocks (const ImgBlock *blocks, guint n_blocks)
{
  ImagoExtentArray *self = g_malloc0 (sizeof *self + (gsize) n_blocks * sizeof (ImagoExtent));
  ImgStorage *last_storage = NULL;
  GRefString *last_name = NULL; /* borrowed from an earlier extent */

  img_ref_init (&self->ref_count);
  self->n_extents = n_blocks;
  for (guint i = 0; i < n_blocks; i++)
    {
      ImagoExtent *extent = &self->extents[i];

      fill_from_block (extent, &blocks[i]);
      if (blocks[i].storage != NULL && blocks[i].storage == last_storage)
        extent->storage_name = last_name != NULL ? g_ref_string_acquire (last_name) : NULL;
      else if (blocks[i].storage != NULL)
        {
          last_storage = blocks[i].storage;
          last_name = extent->storage_name = storage_name_of (&blocks[i]);
        }
    }
  return self;
}

/**
 * imago_extent_copy:
 * @self: an #ImagoExtent
 *
 * Copies an extent.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 1.0
 */
ImagoExtent *
imago_extent_copy (const ImagoExtent *self)
{
  ImagoExtent *copy;

  g_return_val_if_fail (self != NULL, NULL);

  copy = g_new (ImagoExtent, 1);
  *copy = *self;
  if (copy->storage_name != NULL)
    g_ref_string_acquire (copy->storage_name);
  return copy;
}

/**
 * imago_extent_free:
 * @self: (transfer full): an #ImagoExtent
 *
 * Frees an extent. Not for those that belong to an array.
 *
 * Since: 1.0
 */
void
imago_extent_free (ImagoExtent *self)
{
  g_return_if_fail (self != NULL);

  g_clear_pointer (&self->storage_name, g_ref_string_release);
  g_free (self);
}

/**
 * imago_extent_get_kind:
 * @self: an #ImagoExtent
 *
 * Gets what the range is.
 *
 * Returns: the kind
 *
 * Since: 1.0
 */
ImagoExtentKind
imago_extent_get_kind (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, IMAGO_EXTENT_NONE);

  return self->kind;
}

/**
 * imago_extent_get_offset:
 * @self: an #ImagoExtent
 *
 * Gets where the range begins on the disk.
 *
 * Returns: the offset in bytes
 *
 * Since: 1.0
 */
guint64
imago_extent_get_offset (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->offset;
}

/**
 * imago_extent_get_length:
 * @self: an #ImagoExtent
 *
 * Gets how long the range is.
 *
 * Returns: the length in bytes, never 0
 *
 * Since: 1.0
 */
guint64
imago_extent_get_length (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->length;
}

/**
 * imago_extent_get_depth:
 * @self: an #ImagoExtent
 *
 * Gets which image of the chain decides what the range is.
 *
 * Returns: 0 for the image itself, 1 for its backing image, and so on
 *
 * Since: 1.0
 */
guint
imago_extent_get_depth (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->depth;
}

/**
 * imago_extent_get_reads_as_zero:
 * @self: an #ImagoExtent
 *
 * Gets whether every byte of the range is known to read as zero. Data may be zero without being
 * known to.
 *
 * Returns: %TRUE if it is
 *
 * Since: 1.0
 */
gboolean
imago_extent_get_reads_as_zero (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, FALSE);

  return self->reads_as_zero;
}

/**
 * imago_extent_get_host_offset:
 * @self: an #ImagoExtent
 * @host_offset: (out) (optional): return location for the offset in bytes, 0 if there is none
 *
 * Gets where the bytes of the range begin in the storage that holds them
 * (imago_extent_get_storage_name()), if they stand there as they are: always for data, sometimes
 * for zeroes (preallocated space), never for compressed bytes.
 *
 * Returns: %TRUE if there is such a place
 *
 * Since: 1.0
 */
gboolean
imago_extent_get_host_offset (const ImagoExtent *self, guint64 *host_offset)
{
  g_return_val_if_fail (self != NULL, FALSE);

  if (host_offset != NULL)
    *host_offset = self->host_offset;
  return self->has_host_offset;
}

/**
 * imago_extent_get_storage_name:
 * @self: an #ImagoExtent
 *
 * Gets the name of the storage that holds the bytes of the range, for a file its path.
 *
 * Returns: (type filename) (transfer none) (nullable): the name, or %NULL if the range is in no
 *   storage or that has no name
 *
 * Since: 1.0
 */
const char *
imago_extent_get_storage_name (const ImagoExtent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->storage_name;
}

/**
 * imago_extent_array_ref:
 * @self: an #ImagoExtentArray
 *
 * Adds a reference.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
ImagoExtentArray *
imago_extent_array_ref (ImagoExtentArray *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  img_ref_inc (&self->ref_count);
  return self;
}

/**
 * imago_extent_array_unref:
 * @self: (transfer full): an #ImagoExtentArray
 *
 * Drops a reference; the last one frees the array with its extents.
 *
 * Since: 1.0
 */
void
imago_extent_array_unref (ImagoExtentArray *self)
{
  g_return_if_fail (self != NULL);

  if (!img_ref_dec (&self->ref_count))
    return;
  for (guint i = 0; i < self->n_extents; i++)
    g_clear_pointer (&self->extents[i].storage_name, g_ref_string_release);
  g_free (self);
}

/**
 * imago_extent_array_get_n:
 * @self: an #ImagoExtentArray
 *
 * Gets how many extents there are.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint
imago_extent_array_get_n (const ImagoExtentArray *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->n_extents;
}

/**
 * imago_extent_array_get:
 * @self: an #ImagoExtentArray
 * @index: less than imago_extent_array_get_n()
 *
 * Gets one extent. They are in the order of their offsets.
 *
 * Returns: (transfer none): the extent, which belongs to @self
 *
 * Since: 1.0
 */
const ImagoExtent *
imago_extent_array_get (const ImagoExtentArray *self, guint index)
{
  g_return_val_if_fail (self != NULL, NULL);
  g_return_val_if_fail (index < self->n_extents, NULL);

  return &self->extents[index];
}
