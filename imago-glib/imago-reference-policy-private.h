/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-reference-policy.h"

G_BEGIN_DECLS

/* A new reference; NULL gives the policy that denies everything. Any thread may ask the result. */
ImgPolicy *imago_reference_policy_to_core (ImagoReferencePolicy *policy) G_GNUC_WARN_UNUSED_RESULT;

/* Where the hook of @policy, a class of the application, will run: where this is first called. */
void       imago_reference_policy_settle  (ImagoReferencePolicy *policy);

G_END_DECLS
