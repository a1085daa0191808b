/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying the persistent bitmaps of one open image to another.
 *
 * The target must be alone, and the source must stay as it is. Two copies in opposite directions must not wait for one
 * another, each with its own gate closed: so whoever finds the source's gate closed opens the target's again, waits
 * with nothing in hand, and begins anew. */

#include "config.h"

#include "img-image-private.h"

static ImgEpochTicket
enter_both (ImgImage *image, ImgImage *source)
{
  ImgEpochTicket ticket;

  for (;;)
    {
      img_image_begin_alone (image);
      if (img_epoch_try_enter (&source->epoch, &ticket))
        return ticket;
      img_image_end_alone (image);
      img_epoch_leave (&source->epoch, img_epoch_enter (&source->epoch));
    }
}

gboolean
img_image_keep_bitmaps (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  const ImgLayoutClass *klass = image->layout->klass;
  gboolean success;

  img_image_begin_alone (image);
  success = img_check_change (image, 0, 0, error) &&
            (klass->keep_bitmaps == NULL || klass->keep_bitmaps (image->layout, cancel, error));
  img_image_end_alone (image);
  return success;
}

gboolean
img_image_settle_bitmaps (ImgImage *image, ImgError **error)
{
  const ImgLayoutClass *klass = image->layout->klass;
  gboolean success;

  img_image_begin_alone (image);
  success = img_check_change (image, 0, 0, error) &&
            (klass->copy_bitmaps == NULL || klass->copy_bitmaps (image->layout, NULL, FALSE, NULL, error));
  img_image_end_alone (image);
  return success;
}

gboolean
img_image_copy_bitmaps (ImgImage *image,
                        ImgImage *source,
                        gboolean skip_broken,
                        ImgCancel *cancel,
                        ImgError **error)
{
  ImgEpochTicket ticket = enter_both (image, source);
  gboolean success;

  success = img_check_range (source, 0, 0, error) && img_check_change (image, 0, 0, error) &&
            image->layout->klass->copy_bitmaps (image->layout, source->layout, skip_broken, cancel, error);
  img_epoch_leave (&source->epoch, ticket);
  img_image_end_alone (image);
  return success;
}
