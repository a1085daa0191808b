/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-create-options.h>
#include <imago-glib/imago-image.h>
#include <imago-glib/imago-job.h>
#include <imago-glib/imago-measurement.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_MEASURE_JOB (imago_measure_job_get_type ())

/* Properties: source, options, result. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoMeasureJob, imago_measure_job, IMAGO, MEASURE_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoMeasureJob *imago_measure_job_new (ImagoImage         *source,
                                        ImagoCreateOptions *options) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoMeasurement *imago_measure_job_get_result (ImagoMeasureJob *self);

G_END_DECLS
