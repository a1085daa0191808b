/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-storage.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_MEMORY_STORAGE (imago_memory_storage_get_type ())

IMAGO_DECLARE_INTERNAL_TYPE (ImagoMemoryStorage, imago_memory_storage, IMAGO, MEMORY_STORAGE, ImagoStorage)

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_memory_storage_new (GBytes *bytes) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_memory_storage_new_writable (guint64 size) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_memory_storage_dup_bytes (ImagoMemoryStorage *self,
                                        GError            **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
