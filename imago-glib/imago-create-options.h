/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>
#include <imago-glib/imago-reference-policy.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CREATE_OPTIONS (imago_create_options_get_type ())

/* Properties: format-name, size, overwrite, allow-device, preallocation, no-copy-on-write,
 * extent-size-hint, version, cluster-size, refcount-bits, compression-type, extended-l2, lazy-refcounts,
 * backing-file, backing-name, backing-format, check-backing, reference-policy, data-file,
 * raw-data-file. */
IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoCreateOptions, imago_create_options, IMAGO, CREATE_OPTIONS, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoCreateOptions *imago_create_options_new (void) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
