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

#define IMAGO_TYPE_FORMAT (imago_format_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoFormat, imago_format, IMAGO, FORMAT, GObject)

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_format_list (void) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoFormat *imago_format_lookup (const char *name);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_format_probe (ImagoStorage *storage,
                                GCancellable *cancellable,
                                GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_format_probe_async (ImagoStorage       *storage,
                               int                 io_priority,
                               GCancellable       *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_format_probe_finish (GAsyncResult *result,
                                       GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
const char *imago_format_get_name (ImagoFormat *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_format_get_title (ImagoFormat *self);

IMAGO_AVAILABLE_IN_1_0
const char * const *imago_format_get_mime_types (ImagoFormat *self);

IMAGO_AVAILABLE_IN_1_0
const char * const *imago_format_get_suffixes (ImagoFormat *self);

IMAGO_AVAILABLE_IN_1_0
ImagoFormatFlags imago_format_get_flags (ImagoFormat *self);

G_END_DECLS
