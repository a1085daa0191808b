/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-format.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_INSPECTION (imago_inspection_get_type ())

/* A read-only property for each getter. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoInspection, imago_inspection, IMAGO, INSPECTION, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoInspection *imago_inspect (GFile        *file,
                                GCancellable *cancellable,
                                GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_inspect_async (GFile              *file,
                          int                 io_priority,
                          GCancellable       *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoInspection *imago_inspect_finish (GAsyncResult *result,
                                       GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_inspection_get_formats (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_inspection_get_file_size (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_inspection_get_virtual_size (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_inspection_get_references (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_inspection_get_encryption (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_inspection_get_n_snapshots (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
const char * const *imago_inspection_get_unknown_features (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
const char * const *imago_inspection_get_problems (ImagoInspection *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_inspection_get_self_contained (ImagoInspection *self);

G_END_DECLS
