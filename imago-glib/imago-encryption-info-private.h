/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-encryption-info.h"

G_BEGIN_DECLS

/* @luks: nullable. */
ImagoEncryptionInfo *imago_encryption_info_new (const char *method, const ImgLuksInfo *luks) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
