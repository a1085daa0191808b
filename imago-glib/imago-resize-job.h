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

#define IMAGO_TYPE_RESIZE_JOB (imago_resize_job_get_type ())

/* Properties: image, size, flags, preallocation. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoResizeJob, imago_resize_job, IMAGO, RESIZE_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoResizeJob *imago_resize_job_new (ImagoImage *image,
                                      guint64     size) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_resize_job_set_flags (ImagoResizeJob  *self,
                                 ImagoResizeFlags flags);

IMAGO_AVAILABLE_IN_1_0
void imago_resize_job_set_preallocation (ImagoResizeJob    *self,
                                         ImagoPreallocation preallocation);

G_END_DECLS
