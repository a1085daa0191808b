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

#define IMAGO_TYPE_BITMAP (imago_bitmap_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoBitmap, imago_bitmap, IMAGO, BITMAP, GObject)

IMAGO_AVAILABLE_IN_1_0
const char *imago_bitmap_get_name (ImagoBitmap *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_bitmap_get_granularity (ImagoBitmap *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_bitmap_get_in_use (ImagoBitmap *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_bitmap_get_recording (ImagoBitmap *self);

G_END_DECLS
