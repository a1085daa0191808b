/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-storage.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_EXTENT (imago_extent_get_type ())

IMAGO_AVAILABLE_IN_1_0
GType imago_extent_get_type (void) G_GNUC_CONST;

IMAGO_AVAILABLE_IN_1_0
ImagoExtent *imago_extent_copy (const ImagoExtent *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_extent_free (ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
ImagoExtentKind imago_extent_get_kind (const ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_extent_get_offset (const ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_extent_get_length (const ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_extent_get_depth (const ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_extent_get_reads_as_zero (const ImagoExtent *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_extent_get_host_offset (const ImagoExtent *self,
                                       guint64           *host_offset);

IMAGO_AVAILABLE_IN_1_0
const char *imago_extent_get_storage_name (const ImagoExtent *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImagoExtent, imago_extent_free)

#define IMAGO_TYPE_EXTENT_ARRAY (imago_extent_array_get_type ())

IMAGO_AVAILABLE_IN_1_0
GType imago_extent_array_get_type (void) G_GNUC_CONST;

IMAGO_AVAILABLE_IN_1_0
ImagoExtentArray *imago_extent_array_ref (ImagoExtentArray *self);

IMAGO_AVAILABLE_IN_1_0
void imago_extent_array_unref (ImagoExtentArray *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_extent_array_get_n (const ImagoExtentArray *self);

IMAGO_AVAILABLE_IN_1_0
const ImagoExtent *imago_extent_array_get (const ImagoExtentArray *self,
                                           guint                   index);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImagoExtentArray, imago_extent_array_unref)

G_END_DECLS
