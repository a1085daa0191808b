/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

/* See ImgDriver.outline. */
ImgOutline *img_qcow2_outline_new (const ImgCreateOptions *options, gboolean encodes, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
