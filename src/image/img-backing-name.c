/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which file an image names as its backing file. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-image-private.h"
#include "img-mutant.h"

static gboolean
check_change (ImgImage *image, gboolean is_pending, ImgError **error)
{
  ImgLayout *layout = image->layout;

  if (!is_pending)
    {
      if (!img_check_change (image, 0, 0, error))
        return FALSE;
    }
  else if (!layout->writable)
    {
      img_error_set (error, IMG_CODE_READ_ONLY, _("The image was not opened for writing"));
      return FALSE;
    }
  if (layout->klass->set_backing_name != NULL)
    return TRUE;
  img_error_set (error, IMG_CODE_UNSUPPORTED, _("Images of the format “%s” have no backing file"),
                 layout->driver->name);
  return FALSE;
}

/* Nothing can have been written to an image whose references are not open. */
static gboolean
flush (ImgImage *image, gboolean is_pending, ImgError **error)
{
  return is_pending || img_mutant_is_on (IMG_MUTANT_NAME_BEFORE_DATA) ||
         image->layout->klass->flush (image->layout, error);
}

gboolean
img_image_set_backing_name (ImgImage *image, const char *name, const char *format, ImgError **error)
{
  ImgLayout *layout = image->layout;
  gboolean is_pending, success;

  img_image_begin_alone (image);
  is_pending = __atomic_load_n (&image->state, __ATOMIC_ACQUIRE) == IMG_STATE_PENDING;
  success = check_change (image, is_pending, error) && flush (image, is_pending, error) &&
            layout->klass->set_backing_name (layout, name, format, error);
  img_image_end_alone (image);
  return success;
}
