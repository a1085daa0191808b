/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Disks as a storage: one, or several one behind the other, each filled up to whole sectors. For reading. */

#pragma once

#include "img-image.h"

G_BEGIN_DECLS

#define IMG_JOINED_SECTOR 512

/* Takes references to the images, whose own references must be open. */
ImgStorage *img_joined_storage_new (ImgImage *const *images, guint n_images) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
