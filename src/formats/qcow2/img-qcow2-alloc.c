/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Taking clusters of the file: first fit from the first one that may be free. */

#include "config.h"

#include "img-qcow2-writer.h"

void
img_qcow2_raise_end (ImgQcow2 *self, guint64 clusters)
{
  guint64 bytes = clusters << self->cluster_bits;

  self->writer->end = MAX (self->writer->end, clusters);
  if (bytes > img_qcow2_get_end (self))
    __atomic_store_n (&self->end, bytes, __ATOMIC_RELAXED);
}

ImgTableResult
img_qcow2_allocate (ImgQcow2 *self,
                    guint64 wanted,
                    guint64 *first,
                    guint64 *count,
                    gboolean *is_fresh,
                    ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 at = writer->next_free;
  guint64 next;

  do
    {
      ImgTableResult result;

      if (at >= writer->end && img_qcow2_quarantine_is_large (self))
        return IMG_TABLE_FULL;
      result = img_qcow2_refcount_take (self, at, wanted, first, count, &next, error);
      if (result != IMG_TABLE_OK)
        return result;
      at = next;
    }
  while (*count == 0);
  *is_fresh = *first >= writer->end;
  writer->next_free = *first + *count;
  img_qcow2_raise_end (self, writer->next_free);
  return IMG_TABLE_OK;
}

ImgTableResult
img_qcow2_allocate_at (ImgQcow2 *self, guint64 cluster, gboolean *is_taken, ImgError **error)
{
  guint64 first, count, next, refcount;
  ImgTableResult result = img_qcow2_refcount_get (self, cluster, &refcount, error);

  *is_taken = FALSE;
  if (result != IMG_TABLE_OK || refcount != 0)
    return result;
  result = img_qcow2_refcount_take (self, cluster, 1, &first, &count, &next, error);
  if (result != IMG_TABLE_OK || count == 0)
    return result; /* tables grew there: not worth a second try */
  if (first != cluster)
    {
      img_qcow2_drop_clusters (self, first, 1);
      return IMG_TABLE_OK;
    }
  *is_taken = TRUE;
  img_qcow2_raise_end (self, cluster + 1);
  return IMG_TABLE_OK;
}

/* Tables that grow on the way may come between, and clusters that a crash left counted may lie behind the
 * end; what was taken before them is given back. */
static ImgTableResult
allocate_one_by_one (ImgQcow2 *self, guint64 count, guint64 *first, ImgError **error)
{
  guint64 n = 0;

  *first = self->writer->end;
  while (n < count)
    {
      gboolean is_taken;
      ImgTableResult result = img_qcow2_allocate_at (self, *first + n, &is_taken, error);

      if (result == IMG_TABLE_OK && is_taken)
        {
          n++;
          continue;
        }
      if (n > 0)
        img_qcow2_drop_clusters (self, *first, n);
      if (result != IMG_TABLE_OK)
        return result;
      img_qcow2_raise_end (self, *first + n + 1); /* whatever is there, it is no free cluster */
      n = 0;
      *first = self->writer->end;
    }
  return IMG_TABLE_OK;
}

/* A new refcount block lies in what it counts: there is no room for more clusters between two of them. */
ImgTableResult
img_qcow2_allocate_at_end (ImgQcow2 *self, guint64 count, guint64 *first, ImgError **error)
{
  if (count < (guint64) 1 << self->writer->block_bits)
    return allocate_one_by_one (self, count, first, error);
  return img_qcow2_refcount_take_many (self, count, first, error);
}

/* ---- compressed clusters ---- */

/* Behind the last one, in a cluster that has room for a part of it at least. */
static ImgTableResult
pack (ImgQcow2 *self, guint64 length, guint64 *host, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 cluster_size = img_qcow2_get_cluster_size (self);
  guint64 cluster = writer->packing >> self->cluster_bits;
  guint64 room = cluster_size - img_qcow2_offset_in_cluster (self, writer->packing);
  gboolean is_taken = TRUE, is_raised;
  ImgTableResult result = IMG_TABLE_OK;

  *host = 0;
  if (length > room)
    result = img_qcow2_allocate_at (self, cluster + 1, &is_taken, error);
  if (result != IMG_TABLE_OK || !is_taken)
    return result;
  result = img_qcow2_refcount_raise (self, cluster, &is_raised, error);
  if (result == IMG_TABLE_OK && is_raised)
    *host = writer->packing;
  else if (length > room)
    img_qcow2_drop_clusters (self, cluster + 1, 1);
  return result;
}

ImgTableResult
img_qcow2_allocate_bytes (ImgQcow2 *self,
                          guint64 length,
                          guint64 *host,
                          gboolean *is_fresh,
                          ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  ImgTableResult result;
  guint64 first, count;

  *host = 0;
  *is_fresh = FALSE;
  if (writer->packing != 0)
    {
      result = pack (self, length, host, error);
      if (result != IMG_TABLE_OK)
        return result;
    }
  if (*host == 0)
    {
      result = img_qcow2_allocate (self, 1, &first, &count, is_fresh, error);
      if (result != IMG_TABLE_OK)
        return result;
      *host = first << self->cluster_bits;
    }
  writer->packing = *host + length;
  if (img_qcow2_offset_in_cluster (self, writer->packing) == 0)
    writer->packing = 0;
  return IMG_TABLE_OK;
}

/* ---- tables ---- */

ImgTableResult
img_qcow2_make_table (ImgQcow2 *self, const guint8 *content, guint64 *host, ImgError **error)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (self);
  guint64 first, count;
  gboolean is_fresh, success;
  ImgTableResult result = img_qcow2_allocate (self, 1, &first, &count, &is_fresh, error);

  if (result != IMG_TABLE_OK)
    return result;
  *host = first << self->cluster_bits;
  if (content != NULL)
    success = img_storage_write (self->parent.storage, *host, content, cluster_size, error);
  else
    success = img_storage_zero (self->parent.storage, *host, cluster_size, IMG_IO_NONE, error);
  success = success && img_cluster_set_add (self->writer->metadata, first, 1, error);
  if (success)
    return IMG_TABLE_OK;
  img_qcow2_drop_clusters (self, first, 1);
  return IMG_TABLE_ERROR;
}
