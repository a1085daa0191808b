/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-version.h>
#include <sys/uio.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_STORAGE_REQUEST (imago_storage_request_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoStorageRequest, imago_storage_request, IMAGO, STORAGE_REQUEST, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoStorageOperation imago_storage_request_get_operation (ImagoStorageRequest *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_storage_request_get_offset (ImagoStorageRequest *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_storage_request_get_length (ImagoStorageRequest *self);

IMAGO_AVAILABLE_IN_1_0
ImagoZeroFlags imago_storage_request_get_zero_flags (ImagoStorageRequest *self);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_storage_request_dup_bytes (ImagoStorageRequest *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
const struct iovec *imago_storage_request_get_vectors (ImagoStorageRequest *self,
                                                       gsize *n_vectors);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_request_return_bytes (ImagoStorageRequest *self,
                                         GBytes *bytes);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_request_return_size (ImagoStorageRequest *self,
                                        guint64 size);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_request_return_done (ImagoStorageRequest *self);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_request_return_error (ImagoStorageRequest *self,
                                         const GError *error);

G_END_DECLS
