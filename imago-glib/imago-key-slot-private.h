/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-key-slot.h"

G_BEGIN_DECLS

ImagoKeySlot *imago_key_slot_new (const ImgLuksSlot *slot) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
