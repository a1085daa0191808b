/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The directory of persistent bitmaps. */

#pragma once

#include "img-qcow2-header.h"

G_BEGIN_DECLS

/* *bitmaps: an array of ImgBitmapInfo, or NULL if the image has none. */
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

G_END_DECLS
