/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-measurement.h"

G_BEGIN_DECLS

ImagoMeasurement *imago_measurement_new (const ImgMeasurement *core) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
