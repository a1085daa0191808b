/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Raw: the bytes of the disk, one after the other. */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

extern const ImgDriver img_raw_driver;

G_END_DECLS
