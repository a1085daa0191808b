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

#define IMAGO_TYPE_FILE_STORAGE (imago_file_storage_get_type ())

IMAGO_DECLARE_INTERNAL_TYPE (ImagoFileStorage, imago_file_storage, IMAGO, FILE_STORAGE, ImagoStorage)

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_file_storage_open (GFile            *file,
                                       ImagoStorageFlags flags,
                                       GCancellable     *cancellable,
                                       GError          **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_file_storage_open_async (GFile              *file,
                                    ImagoStorageFlags   flags,
                                    int                 io_priority,
                                    GCancellable       *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_file_storage_open_finish (GAsyncResult *result,
                                              GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_file_storage_open_fd (int               fd,
                                          const char       *name,
                                          ImagoStorageFlags flags,
                                          GError          **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GFile *imago_file_storage_get_file (ImagoFileStorage *self);

G_END_DECLS
