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

#define IMAGO_TYPE_COMMIT_JOB (imago_commit_job_get_type ())

/* Properties: image, target, keep. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoCommitJob, imago_commit_job, IMAGO, COMMIT_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoCommitJob *imago_commit_job_new (ImagoImage *image,
                                      ImagoImage *target) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_commit_job_set_keep (ImagoCommitJob *self,
                                gboolean        keep);

G_END_DECLS
