/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How large a new image is and where its metadata lies. */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

typedef struct
{
  const ImgCreateOptions *options;
  guint version;
  guint cluster_bits;
  guint refcount_order;
  guint64 size; /* of the disk, in whole sectors */
  gboolean preallocated;
  gboolean has_data_file;

  /* counts: entries of the L1 table, the others in clusters */
  guint64 n_l1_entries;
  guint64 n_l1;
  guint64 n_l2;
  guint64 n_mapped; /* data clusters that L2 entries point to */
  guint64 n_data;   /* those of them that are in the image file */
  guint64 n_blocks; /* refcount blocks */
  guint64 n_table;  /* of the refcount table */
  guint64 n_clusters;

  /* in clusters, from the beginning of the file */
  guint64 l1_at;
  guint64 l2_at;
  guint64 data_at;
} ImgQcow2Shape;

/* Checks all options. As many L2 tables and data clusters as preallocation asks for. */
gboolean    img_qcow2_shape_init         (ImgQcow2Shape *shape, const ImgCreateOptions *options,
                                          ImgError **error);
/* Finds the places anew when n_l2 or n_data have changed; no fewer than they were. */
void        img_qcow2_shape_arrange      (ImgQcow2Shape *shape);
gboolean    img_qcow2_shape_check_limits (const ImgQcow2Shape *shape, ImgError **error);
/* What stands in the first cluster; the rest of it is zero. */
GByteArray *img_qcow2_shape_build_header (const ImgQcow2Shape *shape, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
