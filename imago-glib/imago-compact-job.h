/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-image.h>
#include <imago-glib/imago-job.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_COMPACT_JOB (imago_compact_job_get_type ())

/* Properties: image, method, lose-bitmaps, bytes-freed. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoCompactJob, imago_compact_job, IMAGO, COMPACT_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoCompactJob *imago_compact_job_new (ImagoImage *image) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_compact_job_set_method (ImagoCompactJob   *self,
                                   ImagoCompactMethod method);

IMAGO_AVAILABLE_IN_1_0
void imago_compact_job_set_lose_bitmaps (ImagoCompactJob *self,
                                         gboolean         lose_bitmaps);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_compact_job_get_bytes_freed (ImagoCompactJob *self);

G_END_DECLS
