/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-enums.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_CHECK_MESSAGE (imago_check_message_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoCheckMessage, imago_check_message, IMAGO, CHECK_MESSAGE, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoCheckMessageKind imago_check_message_get_kind (ImagoCheckMessage *self);

IMAGO_AVAILABLE_IN_1_0
guint64 imago_check_message_get_host_offset (ImagoCheckMessage *self);

IMAGO_AVAILABLE_IN_1_0
const char *imago_check_message_get_text (ImagoCheckMessage *self);

G_END_DECLS
