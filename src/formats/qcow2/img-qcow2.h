/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* qcow2, versions 2 and 3. */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

extern const ImgDriver img_qcow2_driver;

G_END_DECLS
