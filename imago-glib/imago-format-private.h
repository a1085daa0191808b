/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-format.h"

G_BEGIN_DECLS

/* Borrowed: there is one object a driver, and it is never freed. */
ImagoFormat     *imago_format_from_driver (const ImgDriver *driver);
const ImgDriver *imago_format_get_driver  (ImagoFormat *self);
/* @drivers: of const ImgDriver *. */
GListModel      *imago_format_list_from_drivers (GPtrArray *drivers) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
