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

#define IMAGO_TYPE_REBASE_JOB (imago_rebase_job_get_type ())

/* Properties: image, backing, backing-name, backing-format, name-only, compress. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoRebaseJob, imago_rebase_job, IMAGO, REBASE_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoRebaseJob *imago_rebase_job_new (ImagoImage *image,
                                      ImagoImage *backing,
                                      const char *backing_name,
                                      const char *backing_format) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_rebase_job_set_name_only (ImagoRebaseJob *self,
                                     gboolean        name_only);

IMAGO_AVAILABLE_IN_1_0
void imago_rebase_job_set_compress (ImagoRebaseJob *self,
                                    gboolean        compress);

G_END_DECLS
