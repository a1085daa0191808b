/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the pieces of a conversion come from: the block map of an image. */

#pragma once

#include "img-image.h"
#include "img-pipeline.h"
#include "img-rate.h"

G_BEGIN_DECLS

/* Bytes that could not be read and became zeroes; on any thread, one call at a time. */
typedef void (*ImgSalvageFunc) (guint64 offset, guint64 length, const ImgError *why, gpointer data);

typedef struct
{
  ImgImage *image;
  guint64 size;        /* bytes of the disk */
  guint64 position;    /* where the next chunk begins */
  gsize chunk_size;
  gsize alignment;     /* COPY pieces begin and end there, or end with the disk: what is beside them is not stored */
  gsize unit;          /* chunks end there, if it is COPY pieces that fill them; a multiple of the alignment */
  gboolean top_only;   /* what the top layer does not own is a HOLE */
  gboolean tell_zero;  /* ZERO and HOLE differ for the target */

  /* Data that lies plainly in a file goes there, at the offset of the disk, without being read. NULL: nothing does. */
  ImgStorage *copy_to;

  ImgRate rate;        /* of what is read */
  gboolean salvage;    /* what cannot be read becomes zero */
  ImgMutex mutex;      /* around the calls of salvaged () */
  ImgSalvageFunc salvaged; /* nullable */
  gpointer salvaged_data;
} ImgConvertSource;

/* @chunk_size: at the least. */
void     img_convert_source_init  (ImgConvertSource *source, ImgImage *image, gsize chunk_size,
                                   gsize alignment, guint64 bytes_per_second);
void     img_convert_source_clear (ImgConvertSource *source);
gboolean img_convert_source_claim (gpointer source, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);
gboolean img_convert_source_fill  (gpointer source, ImgChunk *chunk, ImgCancel *cancel, ImgError **error);
/* How many bytes all chunks together will copy; begins anew afterwards. */
gboolean img_convert_source_add_up (ImgConvertSource *source, guint64 *total, ImgCancel *cancel,
                                    ImgError **error);

G_END_DECLS
