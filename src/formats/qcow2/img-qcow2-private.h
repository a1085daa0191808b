/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One open qcow2 image. After open () and set_data_storage () nothing of it changes but the cache, unless it
 * has a writer: see img-qcow2-writer.h. */

#pragma once

#include "img-qcow2-header.h"
#include "img-table-cache.h"

G_BEGIN_DECLS

typedef struct _ImgQcow2Writer ImgQcow2Writer;

typedef struct
{
  ImgLayout parent;
  ImgQcow2Header *header;
  ImgStorage *data_storage; /* owned: of DATA, the image file itself or the external data file */
  gboolean has_data_file;
  gboolean has_extended_l2;

  guint cluster_bits;
  guint subcluster_bits; /* 32 of them in a cluster, with extended L2 */
  guint l1_shift;        /* guest offset to index of the L1 entry */
  guint slice_shift;     /* guest offset to number of the slice */
  guint slice_bits;      /* entries of a slice */
  /* Bytes: clusters start before it, the last one may end beyond and the rest reads as zero. Atomic, as
   * a writer lets it grow. */
  guint64 end;

  guint64 *l1; /* host byte order; as many entries as the disk needs. Entries are atomic */
  guint64 n_l1_entries;
  guint64 stored_l1_offset; /* where it was when the image was opened */
  guint64 n_stored_l1_entries;
  ImgTableCache *tables;

  ImgQcow2Writer *writer; /* NULL: read-only */
} ImgQcow2;

static inline guint64
img_qcow2_get_end (const ImgQcow2 *self)
{
  return __atomic_load_n (&self->end, __ATOMIC_RELAXED);
}

/* Whether @n entries of the table lie in the file, where a table may lie. */
gboolean     img_qcow2_check_l1 (ImgQcow2 *self, guint64 n, ImgError **error);

ImgMapResult img_qcow2_map (ImgLayout *layout,
                            guint64 offset,
                            guint64 length,
                            ImgMapFlags flags,
                            ImgExtent *extent,
                            ImgError **error);

G_END_DECLS
