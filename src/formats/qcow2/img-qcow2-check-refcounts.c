/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* "Host cluster management" in the specification: the refcount table and its blocks. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-check-private.h"

/* Numbers narrower than a byte lie in it from the lowest bit up; wider ones are big-endian. */
guint64
img_qcow2_refcount_read (const guint8 *block, guint64 index, guint order)
{
  guint bits = 1u << order;

  switch (order)
    {
    case 0:
    case 1:
    case 2:
      return (block[index * bits / 8] >> (index * bits % 8)) & ((1u << bits) - 1);
    case 3:
      return block[index];
    case 4:
      return img_read_be16 (block + index * 2);
    case 5:
      return img_read_be32 (block + index * 4);
    default:
      return img_read_be64 (block + index * 8);
    }
}

static guint64
get_block_offset (const ImgQcow2Checker *self, guint64 index)
{
  if (index >= self->n_refcount_blocks)
    return 0;
  return self->refcount_table[index] & ~IMG_QCOW2_REFCOUNT_TABLE_RESERVED;
}

gboolean
img_qcow2_checker_block_is_unreadable (const ImgQcow2Checker *self, guint64 index)
{
  guint64 offset = get_block_offset (self, index);

  return !img_is_aligned (offset, self->cluster_size) || offset > IMG_MAX_SIZE - self->cluster_size;
}

gboolean
img_qcow2_checker_has_block (const ImgQcow2Checker *self, guint64 index)
{
  return get_block_offset (self, index) != 0;
}

/* ---- loading ---- */

static gboolean
load_table (ImgQcow2Checker *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;
  gsize size;

  /* One that is not there is no mistake of its own: the cluster of the header has no refcount then. */
  if (!header->has_refcount_table)
    {
      img_qcow2_checker_corrupt (self, header->refcount_table_clusters > 0 ? 1 : 0,
                                 header->refcount_table_offset,
                                 _("The refcount table is missing or in an invalid place"));
      self->needs_rebuild = TRUE;
      return TRUE;
    }
  size = (gsize) header->refcount_table_clusters << self->cluster_bits;
  self->refcount_table = img_try_alloc (size, error);
  if (self->refcount_table == NULL ||
      !img_storage_read (self->storage, header->refcount_table_offset, self->refcount_table, size,
                         error))
    return FALSE;
  self->n_refcount_blocks = size / sizeof (guint64);
  for (guint64 i = 0; i < self->n_refcount_blocks; i++)
    self->refcount_table[i] = GUINT64_FROM_BE (self->refcount_table[i]);
  return TRUE;
}

/* The usual case, refcounts of 16 bits of which none is above 1: 64 of them become one word. */
static gboolean
pack_word (const guint8 *block, guint64 *word)
{
  guint64 bits = 0;
  guint16 all = 0;

  for (guint i = 0; i < 64; i++)
    {
      guint16 value = img_read_be16 (block + i * 2);

      all |= value;
      bits |= (guint64) (value & 1) << i;
    }
  *word = bits;
  return all <= 1;
}

static gboolean
unpack_block (ImgQcow2Checker *self,
              const guint8 *block,
              guint64 first,
              guint64 n,
              ImgError **error)
{
  ImgQcow2Counts *counts = &self->refcounts;
  guint order = self->header->refcount_order;
  guint64 i = 0;

  while (i < n)
    {
      guint64 word;

      if (order == 4 && counts->order == 0 && (first + i) % 64 == 0 && n - i >= 64 &&
          pack_word (block + i * 2, &word))
        {
          counts->words[(first + i) / 64] = word;
          i += 64;
          continue;
        }
      if (!img_qcow2_counts_set (counts, first + i, img_qcow2_refcount_read (block, i, order), error))
        return FALSE;
      i++;
    }
  return TRUE;
}

gboolean
img_qcow2_checker_load_refcounts (ImgQcow2Checker *self, ImgError **error)
{
  g_autoptr (ImgBuffer) block = img_try_alloc ((gsize) self->cluster_size, error);
  guint64 in_block = (guint64) 1 << self->block_bits;

  if (self->skips_refcounts)
    return TRUE;
  if (block == NULL || !load_table (self, error))
    return FALSE;
  for (guint64 i = 0; i < self->n_refcount_blocks && i << self->block_bits < self->refcounts.n; i++)
    {
      guint64 first = i << self->block_bits;
      guint64 n = MIN (in_block, self->refcounts.n - first);

      if (img_qcow2_checker_block_is_unreadable (self, i))
        self->has_unreadable = TRUE;
      else if (get_block_offset (self, i) != 0 &&
               (!img_qcow2_checker_look (self, first, self->refcounts.n, error) ||
                !img_storage_read (self->storage, get_block_offset (self, i), block,
                                   (gsize) img_div_round_up (n << self->header->refcount_order, 8),
                                   error) ||
                !unpack_block (self, block, first, n, error)))
        return FALSE;
    }
  return TRUE;
}

/* ---- asking ---- */

/* Clusters past the end of the file: entries of an image that was cut off lead there. */
static gboolean
get_far (ImgQcow2Checker *self, guint64 cluster, guint64 *refcount, ImgError **error)
{
  guint64 index = cluster >> self->block_bits;
  guint64 in_block = cluster & (((guint64) 1 << self->block_bits) - 1);
  guint64 offset = get_block_offset (self, index);

  *refcount = 0;
  if (offset == 0 || offset >= self->header->file_size)
    return TRUE;
  if (self->far_block == NULL || self->far_index != index)
    {
      if (self->far_block == NULL)
        self->far_block = img_try_alloc ((gsize) self->cluster_size, error);
      if (self->far_block == NULL ||
          !img_storage_read (self->storage, offset, self->far_block, (gsize) self->cluster_size,
                             error))
        return FALSE;
      self->far_index = index;
    }
  *refcount = img_qcow2_refcount_read (self->far_block, in_block, self->header->refcount_order);
  return TRUE;
}

gboolean
img_qcow2_checker_get_refcount (ImgQcow2Checker *self,
                                guint64 cluster,
                                gboolean *is_known,
                                guint64 *refcount,
                                ImgError **error)
{
  *is_known = !img_qcow2_checker_block_is_unreadable (self, cluster >> self->block_bits);
  *refcount = 0;
  if (!*is_known)
    return TRUE;
  if (cluster >= self->refcounts.n)
    return get_far (self, cluster, refcount, error);
  *refcount = img_qcow2_counts_get (&self->refcounts, cluster);
  return TRUE;
}

/* ---- the structure itself ---- */

static gboolean
refer_block (ImgQcow2Checker *self, guint64 index, ImgError **error)
{
  guint64 entry = self->refcount_table[index];
  guint64 offset = get_block_offset (self, index);
  guint64 cluster = offset >> self->cluster_bits;

  if (entry == 0)
    return TRUE;
  if ((entry & IMG_QCOW2_REFCOUNT_TABLE_RESERVED) != 0)
    img_qcow2_checker_corrupt (self, 1, offset,
                               _("Refcount table entry %" PRIu64 " has reserved bits set"), index);
  else if (!img_is_aligned (offset, self->cluster_size))
    img_qcow2_checker_corrupt (self, 1, offset,
                               _("Refcount block %" PRIu64 " is not aligned to a cluster"), index);
  else if (cluster >= self->n_clusters)
    img_qcow2_checker_corrupt (self, 1, offset, _("Refcount block %" PRIu64 " is outside the file"),
                               index);
  else
    {
      guint64 references;

      if (!img_qcow2_checker_refer (self, offset, self->cluster_size, 1, error))
        return FALSE;
      references = img_qcow2_counts_get (&self->references, cluster);
      if (references == 1 && cluster < self->uncounted)
        return TRUE;
      if (references != 1)
        img_qcow2_checker_corrupt (self, 1, offset,
                                   _("Refcount block %" PRIu64 " has %" PRIu64 " references"), index,
                                   references);
    }
  self->needs_rebuild = TRUE;
  return TRUE;
}

/* A table that lies upon something else cannot be trusted, even if nothing else is wrong with it. */
static void
check_table_is_alone (ImgQcow2Checker *self)
{
  guint64 first = self->header->refcount_table_offset >> self->cluster_bits;

  for (guint64 i = 0; i < self->header->refcount_table_clusters; i++)
    if (first + i >= MIN (self->n_clusters, self->uncounted) ||
        img_qcow2_counts_get (&self->references, first + i) != 1)
      self->needs_rebuild = TRUE;
}

gboolean
img_qcow2_checker_refer_refcounts (ImgQcow2Checker *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;

  if (!header->has_refcount_table || self->skips_refcounts)
    return TRUE;
  if (!img_qcow2_checker_refer (self, header->refcount_table_offset,
                                (guint64) header->refcount_table_clusters << self->cluster_bits, 1,
                                error))
    return FALSE;
  for (guint64 i = 0; i < self->n_refcount_blocks; i++)
    if ((i % IMG_QCOW2_LOOK_INTERVAL == 0 && img_cancel_check (self->cancel, error)) ||
        !refer_block (self, i, error))
      return FALSE;
  check_table_is_alone (self);
  return TRUE;
}

/* ---- comparing ---- */

static void
compare_one (ImgQcow2Checker *self, guint64 cluster)
{
  guint64 refcount = img_qcow2_counts_get (&self->refcounts, cluster);
  guint64 references = img_qcow2_counts_get (&self->references, cluster);
  guint64 offset = cluster << self->cluster_bits;

  if (refcount == references)
    return;
  if (!img_qcow2_checker_has_block (self, cluster >> self->block_bits))
    self->needs_rebuild = TRUE;
  if (refcount < references)
    {
      self->result->low_refcounts++;
      img_qcow2_checker_corrupt (self, 1, offset,
                                 "cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                                 cluster, refcount, references);
      return;
    }
  self->result->leaks++;
  img_check_result_say (self->result, IMG_CHECK_LEAK, offset,
                        "Leaked cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                        cluster, refcount, references);
}

/* Nothing can be said of the clusters of such a block. */
static void
count_unreadable (ImgQcow2Checker *self)
{
  for (guint64 i = 0; i << self->block_bits < self->n_clusters; i++)
    {
      guint64 first = i << self->block_bits;
      guint64 n = MIN ((guint64) 1 << self->block_bits, self->n_clusters - first);

      if (!img_qcow2_checker_block_is_unreadable (self, i))
        continue;
      self->result->check_errors += n;
      img_check_result_say (self->result, IMG_CHECK_ERROR, first << self->cluster_bits,
                            _("No refcount can be read for %" PRIu64 " clusters from cluster %" PRIu64
                              " on"), n, first);
    }
}

/* Clusters of which nothing can be said do not count. */
static gboolean
find_end (ImgQcow2Checker *self, ImgError **error)
{
  guint64 cluster = self->n_clusters;

  self->result->image_end_offset = self->cluster_size;
  while (cluster > 1)
    {
      cluster--;
      if (cluster % IMG_QCOW2_LOOK_INTERVAL == 0 && img_cancel_check (self->cancel, error))
        return FALSE;
      if (img_qcow2_counts_get (&self->references, cluster) == 0 &&
          img_qcow2_counts_get (&self->refcounts, cluster) == 0)
        continue;
      if (!self->has_unreadable ||
          !img_qcow2_checker_block_is_unreadable (self, cluster >> self->block_bits))
        {
          self->result->image_end_offset = (cluster + 1) << self->cluster_bits;
          return TRUE;
        }
    }
  return TRUE;
}

gboolean
img_qcow2_checker_compare (ImgQcow2Checker *self, ImgError **error)
{
  guint64 cluster = 0;

  if (self->has_unreadable)
    count_unreadable (self);
  while (img_qcow2_checker_look (self, cluster, self->n_clusters, error))
    {
      guint64 end = MIN (cluster + IMG_QCOW2_LOOK_INTERVAL, self->n_clusters);

      cluster = img_qcow2_counts_find_difference (&self->references, &self->refcounts, cluster, end);
      if (cluster >= self->n_clusters)
        return find_end (self, error);
      if (cluster == end)
        continue;
      if (!self->has_unreadable ||
          !img_qcow2_checker_block_is_unreadable (self, cluster >> self->block_bits))
        compare_one (self, cluster);
      cluster++;
    }
  return FALSE;
}
