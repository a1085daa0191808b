/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* L1 and L2 entries: "L1 and L2 table entries" in the specification. */

#pragma once

#include "img-qcow2-private.h"

G_BEGIN_DECLS

#define IMG_QCOW2_FLAG_COPIED ((guint64) 1 << 63)
#define IMG_QCOW2_FLAG_COMPRESSED ((guint64) 1 << 62)
#define IMG_QCOW2_FLAG_ZERO ((guint64) 1 << 0)

#define IMG_QCOW2_SUBCLUSTERS 32

typedef struct
{
  guint64 word;
  guint64 bitmap; /* with extended L2: low half allocated, high half reads as zero */
} ImgQcow2Entry;

static inline guint64
img_qcow2_entry_get_host (ImgQcow2Entry entry)
{
  return entry.word & IMG_QCOW2_OFFSET_MASK;
}

static inline gboolean
img_qcow2_entry_is (ImgQcow2Entry entry, guint64 flag)
{
  return (entry.word & flag) != 0;
}

/* Offset 0 means that there is no cluster; in an external data file it is a place like any other,
 * and then the COPIED flag tells. */
static inline gboolean
img_qcow2_entry_has_cluster (const ImgQcow2 *self, ImgQcow2Entry entry)
{
  return img_qcow2_entry_get_host (entry) != 0 ||
         (self->has_data_file && img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COPIED));
}

static inline guint64
img_qcow2_offset_in_cluster (const ImgQcow2 *self, guint64 offset)
{
  return offset & (((guint64) 1 << self->cluster_bits) - 1);
}

/* The number, in its slice, of the entry for a guest offset. */
static inline guint
img_qcow2_entry_index (const ImgQcow2 *self, guint64 offset)
{
  return (guint) (offset >> self->cluster_bits) & ((1u << self->slice_bits) - 1);
}

static inline ImgQcow2Entry
img_qcow2_entry_read (const ImgQcow2 *self, const ImgTableView *view, guint64 offset)
{
  guint index = img_qcow2_entry_index (self, offset);

  if (self->has_extended_l2)
    return (ImgQcow2Entry) { img_table_view_get (view, 2 * index),
                             img_table_view_get (view, 2 * index + 1) };
  return (ImgQcow2Entry) { img_table_view_get (view, index), 0 };
}

/* "Compressed Clusters Descriptor": a byte offset and the number of sectors after the first. *length is
 * an upper bound: the stream may end earlier. */
static inline void
img_qcow2_entry_get_stored (const ImgQcow2 *self, ImgQcow2Entry entry, guint64 *host, guint64 *length)
{
  guint count_shift = 62 - (self->cluster_bits - 8);
  guint64 n_sectors = ((entry.word & (IMG_QCOW2_FLAG_COMPRESSED - 1)) >> count_shift) + 1;

  *host = entry.word & (((guint64) 1 << count_shift) - 1);
  *length = n_sectors * 512 - (*host & 511);
}

static inline guint64
img_qcow2_entry_make_compressed (guint cluster_bits, guint64 host, guint64 length)
{
  guint count_shift = 62 - (cluster_bits - 8);
  guint64 n_more = ((host + length - 1) >> 9) - (host >> 9);

  return IMG_QCOW2_FLAG_COMPRESSED | (n_more << count_shift) | host;
}

/* Where the slice of the L2 table at @table lies that has the entry for @offset. */
static inline guint64
img_qcow2_slice_host (const ImgQcow2 *self, guint64 table, guint64 offset)
{
  guint64 slice = offset >> self->slice_shift;
  guint slices_in_table = 1u << (self->l1_shift - self->slice_shift);
  guint64 slice_size = (guint64) sizeof (guint64)
                       << (self->slice_bits + (self->has_extended_l2 ? 1 : 0));

  return table + (slice & (slices_in_table - 1)) * slice_size;
}

G_END_DECLS
