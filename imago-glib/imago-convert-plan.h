/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-types.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CONVERT_PLAN (imago_convert_plan_get_type ())

/* A read-only property for each getter. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoConvertPlan, imago_convert_plan, IMAGO, CONVERT_PLAN, GObject)

IMAGO_AVAILABLE_IN_1_0
guint64 imago_convert_plan_get_required_size (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_convert_plan_get_fully_allocated_size (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_convert_plan_get_has_available_size (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_convert_plan_get_available_size (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
ImagoConvertRoom imago_convert_plan_get_room (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
ImagoConvertLosses imago_convert_plan_get_losses (ImagoConvertPlan *self);

IMAGO_AVAILABLE_IN_1_0
const char *const *imago_convert_plan_get_loss_texts (ImagoConvertPlan *self);

G_END_DECLS
