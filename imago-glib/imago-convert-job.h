/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-convert-plan.h>
#include <imago-glib/imago-image.h>
#include <imago-glib/imago-job.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CONVERT_JOB (imago_convert_job_get_type ())

/* Properties: source, source-stream, stream-length, wrapping, sha256, offset, length, salvage, salvaged-bytes, verify, check-space, destination, target, target-is-zero,
 * target-stream, format-name, create-options, compress, compression-level, zero-grain, allocate-all, overwrite, durable,
 * copy-bitmaps, skip-broken-bitmaps. */
IMAGO_DECLARE_INTERNAL_TYPE (ImagoConvertJob, imago_convert_job, IMAGO, CONVERT_JOB, ImagoJob)

IMAGO_AVAILABLE_IN_1_0
ImagoConvertJob *imago_convert_job_new (ImagoImage *source,
                                        GFile      *destination) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoConvertJob *imago_convert_job_new_for_image (ImagoImage *source,
                                                  ImagoImage *target) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_convert_job_add_source (ImagoConvertJob *self,
                                   ImagoImage      *source);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_convert_job_get_salvaged_range (ImagoConvertJob *self,
                                               guint            index,
                                               guint64         *offset,
                                               guint64         *length);

IMAGO_AVAILABLE_IN_1_0
void imago_convert_job_set_overwrite (ImagoConvertJob *self,
                                      gboolean         overwrite);

IMAGO_AVAILABLE_IN_1_0
void imago_convert_job_set_durable (ImagoConvertJob *self,
                                    gboolean         durable);

IMAGO_AVAILABLE_IN_1_0
ImagoConvertPlan *imago_convert_job_plan (ImagoConvertJob *self,
                                          GCancellable    *cancellable,
                                          GError         **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_convert_job_plan_async (ImagoConvertJob    *self,
                                   int                 io_priority,
                                   GCancellable       *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoConvertPlan *imago_convert_job_plan_finish (ImagoConvertJob *self,
                                                 GAsyncResult    *result,
                                                 GError         **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
