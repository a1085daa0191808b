/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-types.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CHECK_RESULT (imago_check_result_get_type ())

/* A read-only property for each getter. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoCheckResult, imago_check_result, IMAGO, CHECK_RESULT, GObject)

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_check_errors (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_corruptions (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_leaks (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_corruptions_fixed (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_leaks_fixed (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_total_clusters (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_allocated_clusters (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_fragmented_clusters (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_compressed_clusters (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_image_end_offset (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_result_get_n_messages (ImagoCheckResult *self);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_check_result_get_messages (ImagoCheckResult *self);

G_END_DECLS
