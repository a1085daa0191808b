/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_JOB (imago_job_get_type ())

IMAGO_DECLARE_INTERNAL_TYPE (ImagoJob, imago_job, IMAGO, JOB, GObject)

IMAGO_AVAILABLE_IN_1_0
gboolean imago_job_run (ImagoJob     *self,
                        GCancellable *cancellable,
                        GError      **error);

IMAGO_AVAILABLE_IN_1_0
void imago_job_run_async (ImagoJob           *self,
                          int                 io_priority,
                          GCancellable       *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_job_run_finish (ImagoJob     *self,
                               GAsyncResult *result,
                               GError      **error);

IMAGO_AVAILABLE_IN_1_0
void imago_job_set_threads (ImagoJob *self,
                            guint     threads);

IMAGO_AVAILABLE_IN_1_0
guint imago_job_get_threads (ImagoJob *self);

IMAGO_AVAILABLE_IN_1_0
void imago_job_set_rate_limit (ImagoJob *self,
                               guint64   rate_limit);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_job_get_rate_limit (ImagoJob *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_job_get_bytes_total (ImagoJob *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_job_get_bytes_done (ImagoJob *self);

IMAGO_AVAILABLE_IN_1_0
double imago_job_get_progress (ImagoJob *self);

IMAGO_AVAILABLE_IN_1_0
ImagoJobPhase imago_job_get_phase (ImagoJob *self);

G_END_DECLS
