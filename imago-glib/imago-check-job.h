/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-check-result.h>
#include <imago-glib/imago-job.h>
#include <imago-glib/imago-storage.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CHECK_JOB (imago_check_job_get_type ())

/* Properties: storage, format-name, result. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoCheckJob, imago_check_job, IMAGO, CHECK_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoCheckJob *imago_check_job_new (ImagoStorage *storage,
                                    const char   *format_name) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_check_job_set_repair (ImagoCheckJob *self,
                                 ImagoRepair    repair);

IMAGO_AVAILABLE_IN_1_0
void imago_check_job_set_force_share (ImagoCheckJob *self,
                                      gboolean       force_share);

IMAGO_AVAILABLE_IN_1_0
ImagoCheckResult *imago_check_job_get_result (ImagoCheckJob *self);

G_END_DECLS
