/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-types.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_IMAGE_INFO (imago_image_info_get_type ())

/* A read-only property for each getter. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoImageInfo, imago_image_info, IMAGO, IMAGE_INFO, GObject)

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_filename (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_format_name (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_image_info_get_virtual_size (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_image_info_get_actual_size (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_image_info_get_cluster_size (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_backing_filename (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_full_backing_filename (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_backing_format_name (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_compat (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_compression_type (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
ImagoEncryptionInfo *imago_image_info_get_encryption_info (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_image_info_get_refcount_bits (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_info_get_dirty (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_info_get_corrupt (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_info_get_lazy_refcounts (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_info_get_extended_l2 (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_image_info_get_data_file (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_info_get_data_file_raw (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_image_info_get_snapshots (ImagoImageInfo *self);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_image_info_get_bitmaps (ImagoImageInfo *self);

G_END_DECLS
