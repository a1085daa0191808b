/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-write-back.h"

/* Often enough that the disk is never idle, seldom enough that its requests are large. */
#define STEP (8 * IMG_MIB)

void
img_write_back_count (ImgWriteBack *write_back, guint64 length)
{
  guint64 after = __atomic_add_fetch (&write_back->n_written, length, __ATOMIC_RELAXED);

  if (write_back->image != NULL && after / STEP != (after - length) / STEP)
    img_image_start_write_back (write_back->image);
}
