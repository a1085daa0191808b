/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-storage.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_REFERENCE (imago_reference_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoReference, imago_reference, IMAGO, REFERENCE, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoReferenceRole imago_reference_get_role (ImagoReference *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_reference_get_name (ImagoReference *self);

IMAGO_AVAILABLE_IN_1_0
char *imago_reference_dup_display_name (ImagoReference *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
char *imago_reference_dup_format_name (ImagoReference *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_reference_set_format_name (ImagoReference *self,
                                      const char     *format_name);

IMAGO_AVAILABLE_IN_1_0
guint imago_reference_get_depth (ImagoReference *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_reference_get_needs_write (ImagoReference *self);

IMAGO_AVAILABLE_IN_1_0
GFile *imago_reference_get_file (ImagoReference *self);

IMAGO_AVAILABLE_IN_1_0
void imago_reference_grant (ImagoReference *self,
                            ImagoStorage   *storage);

IMAGO_AVAILABLE_IN_1_0
void imago_reference_deny (ImagoReference *self,
                           const GError   *error);

G_END_DECLS
