/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-bitmap.h"

G_BEGIN_DECLS

ImagoBitmap *imago_bitmap_new            (const ImgBitmapInfo *info) G_GNUC_WARN_UNUSED_RESULT;
/* @infos: of ImgBitmapInfo; NULL gives an empty list. */
GListModel  *imago_bitmap_list_from_core (GPtrArray *infos) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
