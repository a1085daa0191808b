/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Persistent bitmaps: their directory, and how much room they take. */

#pragma once

#include "img-qcow2-header.h"

G_BEGIN_DECLS

/* "Bitmap directory" in the specification: the fixed part of an entry. */
#define IMG_QCOW2_BITMAP_LENGTH 24
#define IMG_QCOW2_BITMAP_IN_USE (1u << 0)
#define IMG_QCOW2_BITMAP_AUTO (1u << 1)
#define IMG_QCOW2_BITMAP_DIRTY_TRACKING 1
/* "Bitmap table": of an entry, what must be zero. */
#define IMG_QCOW2_BITMAP_TABLE_RESERVED ((guint64) 0xff000000000001fe)

typedef struct
{
  ImgBitmapInfo info; /* first, so that one is the other */
  guint64 table_offset;
  guint32 table_entries;
} ImgQcow2Bitmap;

/* *bitmaps: an array of ImgQcow2Bitmap, each an ImgBitmapInfo too, or NULL if the image has none. */
gboolean img_qcow2_bitmaps_list (ImgStorage *storage,
                                 const ImgQcow2Header *header,
                                 GPtrArray **bitmaps,
                                 ImgCancel *cancel,
                                 ImgError **error);

/* See ImgDriver.measure_bitmaps. */
gboolean img_qcow2_measure_bitmaps (const ImgFootprint *footprint,
                                    guint64 disk_size,
                                    const GPtrArray *bitmaps,
                                    guint64 *length,
                                    ImgError **error);

/* img-qcow2-bitmap-copy.c; see ImgLayoutClass.copy_bitmaps. */
gboolean img_qcow2_copy_bitmaps (ImgLayout *layout,
                                 ImgLayout *source,
                                 gboolean skip_broken,
                                 ImgCancel *cancel,
                                 ImgError **error);

G_END_DECLS
