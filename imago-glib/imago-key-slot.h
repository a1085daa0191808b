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

#define IMAGO_TYPE_KEY_SLOT (imago_key_slot_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoKeySlot, imago_key_slot, IMAGO, KEY_SLOT, GObject)

IMAGO_AVAILABLE_IN_1_0
gboolean imago_key_slot_get_active (ImagoKeySlot *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_key_slot_get_key_offset (ImagoKeySlot *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_key_slot_get_iterations (ImagoKeySlot *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_key_slot_get_stripes (ImagoKeySlot *self);

G_END_DECLS
