/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-image-private.h"

/* Within one walk, as reading: until it ends no cluster that it has found gets another use. */
guint64
img_image_copy_range (ImgImage *image,
                      guint64 offset,
                      guint64 length,
                      ImgStorage *to,
                      guint64 to_offset)
{
  guint64 n_done = 0, n_part;
  ImgWalk walk;
  ImgExtent extent;
  ImgImage *layer;
  guint depth;

  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  do
    {
      n_part = 0;
      if (n_done < length && img_check_range (image, offset, length, NULL) &&
          img_walk_map (&walk, offset + n_done, length - n_done, &extent, &layer, &depth, NULL) ==
            IMG_MAP_OK &&
          extent.kind == IMG_EXTENT_DATA)
        n_part = img_storage_copy_range (extent.storage, extent.host_offset, to, to_offset + n_done,
                                         extent.length);
      n_done += n_part;
    }
  while (n_part > 0 && n_part == extent.length);
  img_walk_end (&walk);
  return n_done;
}
