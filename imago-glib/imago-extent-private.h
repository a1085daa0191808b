/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-extent.h"

G_BEGIN_DECLS

ImagoExtent      *imago_extent_new_from_block        (const ImgBlock *block)
  G_GNUC_WARN_UNUSED_RESULT;
ImagoExtentArray *imago_extent_array_new_from_blocks (const ImgBlock *blocks, guint n_blocks)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
