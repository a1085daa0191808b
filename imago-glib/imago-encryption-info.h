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

#define IMAGO_TYPE_ENCRYPTION_INFO (imago_encryption_info_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoEncryptionInfo, imago_encryption_info, IMAGO, ENCRYPTION_INFO, GObject)

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_method (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_cipher (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_cipher_mode (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_iv_generator (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_iv_hash (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_hash (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_encryption_info_get_uuid (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_encryption_info_get_payload_offset (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_encryption_info_get_master_key_iterations (ImagoEncryptionInfo *self);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_encryption_info_get_key_slots (ImagoEncryptionInfo *self);

G_END_DECLS
