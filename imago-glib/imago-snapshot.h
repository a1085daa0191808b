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

#define IMAGO_TYPE_SNAPSHOT (imago_snapshot_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoSnapshot, imago_snapshot, IMAGO, SNAPSHOT, GObject)

IMAGO_AVAILABLE_IN_1_0
const char *imago_snapshot_get_id (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_snapshot_get_name (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_snapshot_get_disk_size (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_snapshot_get_vm_state_size (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_snapshot_get_vm_clock (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_snapshot_get_icount (ImagoSnapshot *self,
                                    guint64       *icount);

IMAGO_AVAILABLE_IN_1_0
gint64 imago_snapshot_get_date_usec (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_snapshot_get_date_nanoseconds (ImagoSnapshot *self);

IMAGO_AVAILABLE_IN_1_0
GDateTime *imago_snapshot_get_date_time (ImagoSnapshot *self);

G_END_DECLS
