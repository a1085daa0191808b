/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-image.h>
#include <imago-glib/imago-job.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_COMPARE_JOB (imago_compare_job_get_type ())

/* Properties: first-image, second-image, strict, comparison, difference-offset, failure. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoCompareJob, imago_compare_job, IMAGO, COMPARE_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoCompareJob *imago_compare_job_new (ImagoImage *first_image,
                                        ImagoImage *second_image) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_compare_job_set_strict (ImagoCompareJob *self,
                                   gboolean         strict);

IMAGO_AVAILABLE_IN_1_0
ImagoComparison imago_compare_job_get_comparison (ImagoCompareJob *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_compare_job_get_difference_offset (ImagoCompareJob *self);

IMAGO_AVAILABLE_IN_1_0
ImagoCompareFailure imago_compare_job_get_failure (ImagoCompareJob *self);

G_END_DECLS
