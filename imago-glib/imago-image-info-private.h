/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-image-info.h"

G_BEGIN_DECLS

/* Reads the snapshot table and the bitmap directory, so it may wait for a disk. */
ImagoImageInfo *imago_image_info_new_from_core (ImgImage *image, ImgCancel *cancel,
                                                ImgError **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
