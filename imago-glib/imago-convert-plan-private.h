/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-convert-plan.h"
#include "imago-core.h"

G_BEGIN_DECLS

/* Takes what @core points to. */
ImagoConvertPlan *imago_convert_plan_new (ImgConvertPlan *core) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
