/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-reference-policy.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_OPEN_OPTIONS (imago_open_options_get_type ())

/* Properties: format-name, snapshot, writable, reference-policy, defer-references, allow-device,
 * metadata-cache-size, decoded-cache-size, max-depth, max-files, writable-backing. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoOpenOptions, imago_open_options, IMAGO, OPEN_OPTIONS, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoOpenOptions *imago_open_options_new (void) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_open_options_set_format_name (ImagoOpenOptions *self,
                                         const char       *format_name);

IMAGO_AVAILABLE_IN_1_0
void imago_open_options_set_snapshot (ImagoOpenOptions *self,
                                      const char       *snapshot);

IMAGO_AVAILABLE_IN_1_0
void imago_open_options_set_writable (ImagoOpenOptions *self,
                                      gboolean          writable);

IMAGO_AVAILABLE_IN_1_0
void imago_open_options_set_reference_policy (ImagoOpenOptions     *self,
                                              ImagoReferencePolicy *policy);

IMAGO_AVAILABLE_IN_1_0
void imago_open_options_set_defer_references (ImagoOpenOptions *self,
                                              gboolean          defer_references);

G_END_DECLS
