/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a conversion would come to, before it writes anything. */

#pragma once

#include "img-convert.h"

G_BEGIN_DECLS

/* What the sources have and the new image will not. */
typedef enum
{
  IMG_CONVERT_LOSS_NONE = 0,
  IMG_CONVERT_LOSS_SNAPSHOTS = 1 << 0, /* internal ones */
  IMG_CONVERT_LOSS_BITMAPS = 1 << 1,   /* persistent ones */
  IMG_CONVERT_LOSS_BACKING = 1 << 2,   /* the reference: what shows through becomes the image's own */
  IMG_CONVERT_LOSS_DATA_FILE = 1 << 3, /* data of its own in a file of its own */
  IMG_CONVERT_LOSS_SIZE = 1 << 4,      /* the exact size: a disk ends with a whole sector */
} ImgConvertLosses;

typedef enum
{
  IMG_ROOM_UNKNOWN,
  IMG_ROOM_ENOUGH,
  IMG_ROOM_UNCERTAIN,  /* perhaps not: it depends on what the data is */
  IMG_ROOM_TOO_LITTLE, /* certainly */
} ImgRoom;

typedef struct
{
  guint64 required;        /* bytes of all new files, at most: with all metadata, nothing compressed, no zeroes found */
  guint64 fully_allocated; /* bytes once all of the disk has been written */
  gboolean has_available;
  guint64 available;       /* bytes, where the data goes */
  ImgRoom room;
  ImgConvertLosses losses;
  GPtrArray *texts;        /* of char *, translated: one for each loss; NULL-terminated */
} ImgConvertPlan;

/* Reads the maps of the sources; of the data as much as there is room for, and only if their maps have more. */
gboolean img_convert_plan (const ImgConvertOptions *options, ImgConvertPlan *plan, ImgCancel *cancel,
                           ImgError **error);
void     img_convert_plan_clear (ImgConvertPlan *plan);

/* For the job: FALSE with ENOSPC if it would certainly fail for want of space. @disk: what is copied. */
gboolean img_convert_check_room (const ImgConvertOptions *options, ImgImage *disk, ImgCancel *cancel,
                                 ImgError **error);

G_END_DECLS
