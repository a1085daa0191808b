/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Refcounts: "Refcount table" and "Refcount blocks" in the specification.
 *
 * A new block is placed in the region that it counts: at the first cluster that is asked for there, as
 * the whole region is free without it. So it counts itself, and making it needs no other block. A
 * refcount table that is too short is replaced by a longer one in the first region that the old one
 * could not reach, together with the blocks for what that takes.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-writer.h"

/* Bits 9 to 63; the host offset of a block is aligned anyway. */
#define BLOCK_MASK (~(guint64) 0x1ff)

/* The last cluster that an L2 entry can point to. */
static guint64
max_cluster (const ImgQcow2 *self)
{
  return IMG_QCOW2_OFFSET_MASK >> self->cluster_bits;
}

/* ---- fields of a slice's words ---- */

/* In a word whose bytes stood big-endian in the file; fields narrower than a byte begin at its lowest bit. */
static guint
field_shift (guint order, guint index)
{
  guint width = 1u << order;
  guint bit = (index << order) & 63;

  if (order >= 3)
    return 64 - width - bit;
  return (56 - (bit & ~7u)) + (bit & 7);
}

static guint64
field_max (guint order)
{
  return order == 6 ? G_MAXUINT64 : ((guint64) 1 << (1u << order)) - 1;
}

static guint
field_word (guint order, guint index)
{
  return (index << order) / 64;
}

static guint64
field_get (guint64 word, guint order, guint index)
{
  return (word >> field_shift (order, index)) & field_max (order);
}

static guint64
field_put (guint64 word, guint order, guint index, guint64 value)
{
  guint shift = field_shift (order, index);

  return (word & ~(field_max (order) << shift)) | (value << shift);
}

/* ---- where a refcount is ---- */

typedef struct
{
  guint64 block;  /* index in the refcount table */
  guint64 slice;  /* number of the slice, counted over all blocks */
  guint64 host;   /* of the slice */
  guint index;    /* in the slice */
} Place;

static guint64
get_block (const ImgQcow2Writer *writer, guint64 block)
{
  return block < writer->refcount_table.n_entries
           ? writer->refcount_table.entries[block] & BLOCK_MASK
           : 0;
}

/* @block_host: the block that counts @cluster. */
static Place
find_place (const ImgQcow2 *self, guint64 cluster, guint64 block_host)
{
  const ImgQcow2Writer *writer = self->writer;
  guint64 in_block = cluster & (((guint64) 1 << writer->block_bits) - 1);
  guint64 slice_in_block = in_block >> writer->slice_bits;
  guint64 slice_size = MIN (IMG_TABLE_MAX_SLICE, img_qcow2_get_cluster_size (self));

  return (Place) {
    .block = cluster >> writer->block_bits,
    .slice = cluster >> writer->slice_bits,
    .host = block_host + slice_in_block * slice_size,
    .index = (guint) (in_block & (((guint64) 1 << writer->slice_bits) - 1)),
  };
}

static gboolean
check_block (ImgQcow2 *self, guint64 block, guint64 host, ImgError **error)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (self);

  if (G_LIKELY (img_is_aligned (host, cluster_size) &&
                img_range_fits (host, cluster_size, self->writer->end << self->cluster_bits)))
    return TRUE;
  img_qcow2_mark_corrupt (
    self, error,
    _("Refcount block %" PRIu64 " is not aligned or lies outside the file: offset 0x%" PRIx64), block,
    host);
  return FALSE;
}

static ImgTableResult
begin_edit (ImgQcow2 *self, const Place *place, ImgTableEdit *edit, ImgError **error)
{
  ImgTableResult result = img_table_cache_begin_edit (self->writer->refcounts, place->slice,
                                                      place->host, edit, error);

  if (result == IMG_TABLE_FULL)
    self->writer->must_flush_refcounts = TRUE;
  else if (result == IMG_TABLE_ERROR)
    img_error_prefix (error, _("Refcount block at offset 0x%" PRIx64 ": "), place->host);
  return result;
}

/* ---- single refcounts ---- */

ImgTableResult
img_qcow2_refcount_get (ImgQcow2 *self, guint64 cluster, guint64 *refcount, ImgError **error)
{
  guint64 block = get_block (self->writer, cluster >> self->writer->block_bits);
  guint order = self->header->refcount_order;
  ImgTableEdit edit;
  ImgTableResult result;
  Place place;

  *refcount = 0;
  if (block == 0)
    return IMG_TABLE_OK;
  if (!check_block (self, cluster >> self->writer->block_bits, block, error))
    return IMG_TABLE_ERROR;
  place = find_place (self, cluster, block);
  result = begin_edit (self, &place, &edit, error);
  if (result != IMG_TABLE_OK)
    return result;
  *refcount = field_get (img_table_edit_get (&edit, field_word (order, place.index)), order,
                         place.index);
  img_table_edit_end (&edit);
  return IMG_TABLE_OK;
}

/* Adds @difference to a refcount that exists, within its limits. */
static ImgTableResult
change (ImgQcow2 *self, guint64 cluster, gint64 difference, guint64 *refcount, ImgError **error)
{
  guint order = self->header->refcount_order;
  guint64 block = get_block (self->writer, cluster >> self->writer->block_bits);
  Place place = find_place (self, cluster, block);
  guint word_index = field_word (order, place.index);
  ImgTableResult result;
  ImgTableEdit edit;
  guint64 word, old;

  result = begin_edit (self, &place, &edit, error);
  if (result != IMG_TABLE_OK)
    return result;
  word = img_table_edit_get (&edit, word_index);
  old = field_get (word, order, place.index);
  if (difference < 0)
    *refcount = old - MIN (old, (guint64) -difference);
  else
    *refcount = old + MIN (field_max (order) - old, (guint64) difference);
  if (*refcount != old)
    img_table_edit_set (&edit, word_index, field_put (word, order, place.index, *refcount));
  img_table_edit_end (&edit);
  return IMG_TABLE_OK;
}

ImgTableResult
img_qcow2_refcount_drop (ImgQcow2 *self,
                         guint64 cluster,
                         guint64 count,
                         guint64 *refcount,
                         ImgError **error)
{
  ImgTableResult result = img_qcow2_refcount_get (self, cluster, refcount, error);

  if (result != IMG_TABLE_OK || *refcount == 0)
    return result;
  return change (self, cluster, -(gint64) count, refcount, error);
}

ImgTableResult
img_qcow2_refcount_raise (ImgQcow2 *self, guint64 cluster, gboolean *is_raised, ImgError **error)
{
  guint64 old, new;
  ImgTableResult result = img_qcow2_refcount_get (self, cluster, &old, error);

  *is_raised = FALSE;
  if (result != IMG_TABLE_OK || old == 0 || old == field_max (self->header->refcount_order))
    return result;
  result = change (self, cluster, 1, &new, error);
  *is_raised = result == IMG_TABLE_OK;
  return result;
}

/* ---- new blocks ---- */

static void
forget_slices (ImgQcow2 *self, guint64 block, guint64 host)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 first = block << writer->block_bits;

  for (guint64 in_block = 0; in_block < (guint64) 1 << writer->block_bits;
       in_block += (guint64) 1 << writer->slice_bits)
    {
      Place place = find_place (self, first + in_block, host);

      img_table_cache_forget (writer->refcounts, place.slice, place.host);
    }
}

static void
remember_fresh (ImgQcow2Writer *writer, guint64 host)
{
  guint64 *key = g_new (guint64, 1);

  *key = host;
  g_hash_table_add (writer->fresh, key);
}

/* The region has no block, so @cluster is free unless the image lies. Nothing is visible before the last
 * step, none of which can fail. */
static ImgTableResult
make_block (ImgQcow2 *self, guint64 cluster, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 host = cluster << self->cluster_bits;
  Place place = find_place (self, cluster, host);
  guint order = self->header->refcount_order;
  guint word_index = field_word (order, place.index);
  ImgTableResult result;
  ImgTableEdit edit;

  if (img_cluster_set_meets (writer->metadata, cluster, 1))
    {
      img_qcow2_mark_corrupt (self, error, _("Metadata at offset 0x%" PRIx64 " has no refcount"), host);
      return IMG_TABLE_ERROR;
    }
  if (!img_storage_zero (self->parent.storage, host, img_qcow2_get_cluster_size (self), IMG_IO_NONE,
                         error))
    return IMG_TABLE_ERROR;
  forget_slices (self, place.block, host);
  result = begin_edit (self, &place, &edit, error);
  if (result != IMG_TABLE_OK)
    return result;
  img_table_edit_set (&edit, word_index,
                      field_put (img_table_edit_get (&edit, word_index), order, place.index, 1));
  img_table_edit_end (&edit);
  if (!img_cluster_set_add (writer->metadata, cluster, 1, error))
    {
      img_table_cache_forget (writer->refcounts, place.slice, place.host);
      return IMG_TABLE_ERROR;
    }
  img_qcow2_raise_end (self, cluster + 1);
  remember_fresh (writer, host);
  img_qcow2_whole_table_set (&writer->refcount_table, place.block, host);
  return IMG_TABLE_OK;
}

/* ---- a longer table ---- */

/* The part of the file that a longer table takes: first blocks that count it, then the table, then clusters for somebody
 * who needs more of them than lie between two blocks. */
typedef struct
{
  guint64 first;      /* the cluster it begins in */
  guint64 n_blocks;
  guint64 n_clusters; /* of the table */
  guint64 n_entries;
  guint64 n_more;     /* for somebody */
  guint64 n_all;
} Growth;

static void
plan_blocks (const ImgQcow2Writer *writer, Growth *growth)
{
  while ((growth->n_blocks << writer->block_bits) < growth->n_blocks + growth->n_clusters + growth->n_more)
    growth->n_blocks++;
}

static gboolean
plan_growth (ImgQcow2 *self, guint64 n_more, Growth *growth, ImgError **error)
{
  const ImgQcow2Writer *writer = self->writer;
  guint64 entries_in_cluster = img_qcow2_get_cluster_size (self) / sizeof (guint64);
  guint64 old = writer->refcount_table.n_entries;

  growth->first = old << writer->block_bits;
  growth->n_clusters = img_div_round_up (old + old / 2 + 1, entries_in_cluster);
  growth->n_blocks = 1;
  growth->n_more = n_more;
  plan_blocks (writer, growth);
  /* With small clusters the blocks for the table may need a longer table than planned. */
  while (growth->n_clusters * entries_in_cluster < old + growth->n_blocks)
    {
      growth->n_clusters++;
      plan_blocks (writer, growth);
    }
  growth->n_entries = growth->n_clusters * entries_in_cluster;
  growth->n_all = growth->n_blocks + growth->n_clusters + n_more;
  if (growth->n_clusters << self->cluster_bits <= IMG_QCOW2_MAX_REFCOUNT_TABLE_SIZE &&
      growth->first + growth->n_all <= max_cluster (self))
    return TRUE;
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                 _("The image file cannot grow: its refcount table would be too large"));
  return FALSE;
}

/* The blocks of a growth as they go into the file: 1 for each cluster that it takes. */
static guint8 *
render_blocks (ImgQcow2 *self, const Growth *growth, ImgError **error)
{
  guint order = self->header->refcount_order;
  gsize size = (gsize) (growth->n_blocks << self->cluster_bits);
  guint64 *words = img_try_alloc0 (1, size, error);

  if (words == NULL)
    return NULL;
  /* Blocks follow one another, so the index runs on from one into the next. */
  for (guint64 i = 0; i < growth->n_all; i++)
    {
      guint64 *word = &words[(i << order) / 64];

      *word = field_put (*word, order, (guint) (i & 63), 1);
    }
  for (gsize i = 0; i < size / sizeof (guint64); i++)
    words[i] = GUINT64_TO_BE (words[i]);
  return (guint8 *) words;
}

static guint64 *
extend_entries (ImgQcow2 *self, const Growth *growth, ImgError **error)
{
  const ImgQcow2WholeTable *old = &self->writer->refcount_table;
  guint64 *entries = img_try_alloc0 (growth->n_entries, sizeof (guint64), error);

  if (entries == NULL)
    return NULL;
  memcpy (entries, old->entries, old->n_entries * sizeof (guint64));
  for (guint64 i = 0; i < growth->n_blocks; i++)
    entries[old->n_entries + i] = (growth->first + i) << self->cluster_bits;
  return entries;
}

static gboolean
write_growth (ImgQcow2 *self, const Growth *growth, const guint64 *entries, ImgError **error)
{
  g_autoptr (ImgBuffer) blocks = render_blocks (self, growth, error);
  gsize table_size = (gsize) growth->n_entries * sizeof (guint64);
  g_autoptr (ImgWords) table = NULL;
  guint64 host = growth->first << self->cluster_bits;
  guint64 blocks_size = growth->n_blocks << self->cluster_bits;

  if (blocks == NULL || !img_storage_write (self->parent.storage, host, blocks, blocks_size, error))
    return FALSE;
  table = img_try_alloc (table_size, error);
  if (table == NULL)
    return FALSE;
  for (guint64 i = 0; i < growth->n_entries; i++)
    table[i] = GUINT64_TO_BE (entries[i]);
  return img_storage_write (self->parent.storage, host + blocks_size, table, table_size, error);
}

/* Cannot fail. The file has all of it, but nothing in the file points there before the next flush. */
static void
adopt_growth (ImgQcow2 *self, const Growth *growth, guint64 *entries)
{
  ImgQcow2Writer *writer = self->writer;
  ImgQcow2WholeTable *table = &writer->refcount_table;
  guint64 old_first = table->offset >> self->cluster_bits;

  for (guint64 i = 0; i < growth->n_blocks; i++)
    {
      forget_slices (self, table->n_entries + i, (growth->first + i) << self->cluster_bits);
      remember_fresh (writer, (growth->first + i) << self->cluster_bits);
    }
  img_cluster_set_remove (writer->metadata, old_first, writer->refcount_table_clusters);
  img_qcow2_drop_clusters (self, old_first, writer->refcount_table_clusters);
  img_qcow2_raise_end (self, growth->first + growth->n_all);
  img_free (table->entries);
  table->entries = entries;
  table->n_entries = growth->n_entries;
  table->offset = (growth->first + growth->n_blocks) << self->cluster_bits;
  g_hash_table_remove_all (table->dirty);
  writer->refcount_table_clusters = growth->n_clusters;
  writer->refcount_table_has_moved = TRUE;
}

/* *first: of @n_more adjoining clusters, which are taken. */
static ImgTableResult
grow_table (ImgQcow2 *self, guint64 n_more, guint64 *first, ImgError **error)
{
  Growth growth;
  guint64 *entries;

  if (!plan_growth (self, n_more, &growth, error))
    return IMG_TABLE_ERROR;
  entries = extend_entries (self, &growth, error);
  if (entries == NULL)
    return IMG_TABLE_ERROR;
  if (!write_growth (self, &growth, entries, error) ||
      !img_cluster_set_add (self->writer->metadata, growth.first, growth.n_blocks + growth.n_clusters,
                            error))
    {
      img_free (entries);
      return IMG_TABLE_ERROR;
    }
  adopt_growth (self, &growth, entries);
  *first = growth.first + growth.n_blocks + growth.n_clusters;
  return IMG_TABLE_OK;
}

ImgTableResult
img_qcow2_refcount_take_many (ImgQcow2 *self, guint64 count, guint64 *first, ImgError **error)
{
  return grow_table (self, count, first, error);
}

/* ---- taking clusters ---- */

/* In one slice. */
static ImgTableResult
take_in_slice (ImgQcow2 *self,
               const Place *place,
               guint64 cluster,
               guint64 wanted,
               guint64 *first,
               guint64 *count,
               ImgError **error)
{
  guint order = self->header->refcount_order;
  guint n = 1u << self->writer->slice_bits;
  guint index = place->index;
  ImgTableEdit edit;
  ImgTableResult result = begin_edit (self, place, &edit, error);

  if (result != IMG_TABLE_OK)
    return result;
  while (index < n &&
         field_get (img_table_edit_get (&edit, field_word (order, index)), order, index) != 0)
    index++;
  *first = cluster + (index - place->index);
  for (*count = 0; index < n && *count < wanted; index++, ++*count)
    {
      guint64 word = img_table_edit_get (&edit, field_word (order, index));

      if (field_get (word, order, index) != 0 ||
          img_cluster_set_meets (self->writer->metadata, *first + *count, 1))
        break;
      img_table_edit_set (&edit, field_word (order, index), field_put (word, order, index, 1));
    }
  img_table_edit_end (&edit);
  if (*count > 0 || index == n)
    return IMG_TABLE_OK;
  img_qcow2_mark_corrupt (self, error, _("Metadata at offset 0x%" PRIx64 " has no refcount"),
                          *first << self->cluster_bits);
  return IMG_TABLE_ERROR;
}

ImgTableResult
img_qcow2_refcount_take (ImgQcow2 *self,
                         guint64 cluster,
                         guint64 wanted,
                         guint64 *first,
                         guint64 *count,
                         guint64 *next,
                         ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 block = cluster >> writer->block_bits;
  ImgTableResult result;
  guint64 host, behind;
  Place place;

  if (cluster >= max_cluster (self))
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The image file cannot grow any further"));
      return IMG_TABLE_ERROR;
    }
  *count = 0;
  *next = cluster;
  if (block >= writer->refcount_table.n_entries)
    return grow_table (self, 0, &behind, error);
  host = get_block (writer, block);
  if (host == 0)
    return make_block (self, cluster, error);
  if (!check_block (self, block, host, error))
    return IMG_TABLE_ERROR;
  place = find_place (self, cluster, host);
  result = take_in_slice (self, &place, cluster, wanted, first, count, error);
  *next = cluster + (((guint64) 1 << writer->slice_bits) - place.index);
  return result;
}
