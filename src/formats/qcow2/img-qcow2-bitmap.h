/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Persistent bitmaps: their directory, and how much room they take. */

#pragma once

#include "img-qcow2-header.h"
#include "img-qcow2-writer.h"

G_BEGIN_DECLS

/* "Bitmap directory" in the specification: the fixed part of an entry. */
#define IMG_QCOW2_BITMAP_LENGTH 24
#define IMG_QCOW2_BITMAP_IN_USE (1u << 0)
#define IMG_QCOW2_BITMAP_AUTO (1u << 1)
#define IMG_QCOW2_BITMAP_DIRTY_TRACKING 1
/* "Bitmap table": of an entry, what must be zero. */
#define IMG_QCOW2_BITMAP_TABLE_RESERVED ((guint64) 0xff000000000001fe)
#define IMG_QCOW2_BITMAP_ALL_ONES 1 /* and no cluster */

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

/* "Bitmap table". */
gboolean img_qcow2_bitmap_check_table_entry (const ImgQcow2Header *header, guint64 entry, ImgError **error);
/* *length: bytes of its bits. An error if its table is not as long as they ask for, or nobody would read as many. */
gboolean img_qcow2_bitmap_get_length (const ImgQcow2Header *header,
                                      const ImgQcow2Bitmap *bitmap,
                                      guint64 *length,
                                      ImgError **error);
/* Unless it was not closed, when it says nothing. */
gboolean img_qcow2_bitmap_records_changes (const ImgQcow2Bitmap *bitmap);

/* See ImgDriver.measure_bitmaps. */
gboolean img_qcow2_measure_bitmaps (const ImgFootprint *footprint,
                                    guint64 disk_size,
                                    const GPtrArray *bitmaps,
                                    guint64 *length,
                                    ImgError **error);

/* ---- img-qcow2-bitmap-keep.c ---- */

/* See ImgLayoutClass.keep_bitmaps. */
gboolean img_qcow2_keep_bitmaps (ImgLayout *layout, ImgCancel *cancel, ImgError **error);
/* Those that are to be kept, of ImgQcow2Bitmap; NULL: none. */
const GPtrArray *img_qcow2_get_kept_bitmaps (ImgQcow2 *self);
void     img_qcow2_forget_kept_bitmaps (ImgQcow2 *self);
/* The old directory is given back and, if there are new ones in place of those that record changes, what they had. They
 * are not to be kept any more. */
gboolean img_qcow2_drop_kept_bitmaps (ImgQcow2 *self, gboolean are_renewed, ImgError **error);
void     img_qcow2_kept_bitmaps_free (ImgQcow2KeptBitmaps *kept);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgQcow2KeptBitmaps, img_qcow2_kept_bitmaps_free)

/* img-qcow2-bitmap-copy.c; see ImgLayoutClass.copy_bitmaps. */
gboolean img_qcow2_copy_bitmaps (ImgLayout *layout,
                                 ImgLayout *source,
                                 gboolean skip_broken,
                                 ImgCancel *cancel,
                                 ImgError **error);

G_END_DECLS
