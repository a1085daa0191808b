/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

/* See ImgDriver.create. */
gboolean img_qcow2_create (ImgStorage *storage, const ImgCreateOptions *options,
                           ImgStorage *data_storage, ImgCancel *cancel, ImgError **error);
/* See ImgDriver.measure. */
gboolean img_qcow2_measure (const ImgCreateOptions *options, ImgFootprint *footprint,
                            ImgError **error);

G_END_DECLS
