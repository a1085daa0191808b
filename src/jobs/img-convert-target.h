/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the pieces of a conversion go: a writable image. */

#pragma once

#include "img-image.h"
#include "img-pipeline.h"
#include "img-write-back.h"

G_BEGIN_DECLS

typedef struct
{
  ImgImage *image;
  gsize zero_grain;       /* zeroes of that many bytes, at such offsets, are not data; 0: what is copied is data */
  gboolean allocate_all;  /* zeroes and holes are written as data too */
  gboolean reads_as_zero; /* where nothing is written there will be zeroes */
  gboolean keeps_holes;   /* what shows through a HOLE is as it should be */
  int level;              /* of the compression; 0: the format's own */
  gsize encode_unit;      /* compressed clusters of that size; 0: none */
  gsize encode_memory;    /* bytes that each thread takes to make them */

  ImgWriteBack write_back;
} ImgConvertTarget;

/* What is written will be compressed: finds encode_unit and encode_memory. */
gboolean img_convert_target_set_up_encode (ImgConvertTarget *target, ImgError **error);
gboolean img_convert_target_encode (gpointer target, ImgChunk *chunk, ImgError **error);
gboolean img_convert_target_write  (gpointer target, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);

G_END_DECLS
