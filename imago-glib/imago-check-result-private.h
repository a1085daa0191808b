/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-check-result.h"

G_BEGIN_DECLS

ImagoCheckResult *imago_check_result_new (const ImgCheckResult *core) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
