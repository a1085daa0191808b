/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-check-message.h"

G_BEGIN_DECLS

/* @messages: of ImgCheckMessage. */
GListModel *imago_check_message_list_from_core (GPtrArray *messages) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
