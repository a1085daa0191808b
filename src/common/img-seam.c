/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-seam.h"

#ifndef IMG_TEST_BUILD
#error "Only the test build of the core has seams"
#endif

static gint values[IMG_N_SEAMS];

int
img_seam_get (ImgSeam seam)
{
  return g_atomic_int_get (&values[seam]);
}

void
img_seam_set (ImgSeam seam, int value)
{
  g_atomic_int_set (&values[seam], value);
}
