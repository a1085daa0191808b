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

#define IMAGO_TYPE_MEASUREMENT (imago_measurement_get_type ())

/* A read-only property for each getter. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoMeasurement, imago_measurement, IMAGO, MEASUREMENT, GObject)

IMAGO_AVAILABLE_IN_1_0
guint64 imago_measurement_get_required_size (ImagoMeasurement *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_measurement_get_fully_allocated_size (ImagoMeasurement *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_measurement_get_has_bitmaps (ImagoMeasurement *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_measurement_get_bitmaps_size (ImagoMeasurement *self);

G_END_DECLS
