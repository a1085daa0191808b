/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The disk as a seekable GInputStream. */

#pragma once

#include "imago-image.h"

G_BEGIN_DECLS

GInputStream *imago_image_stream_new (ImagoImage *image) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
