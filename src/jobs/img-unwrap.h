/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The bytes of a disk as they come out of a pipe, perhaps wrapped in gzip, xz or zstd.
 *
 * Used by one thread at a time. Memory is bounded whatever the input asks for, and so is the time of one
 * step: a bomb is only a long disk, which takes no space if it is zeroes and can be cancelled. */

#pragma once

#include "img-cancel.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_WRAPPING_NONE, /* the bytes are the disk */
  IMG_WRAPPING_AUTO, /* what they begin with tells */
  IMG_WRAPPING_GZIP,
  IMG_WRAPPING_XZ,
  IMG_WRAPPING_ZSTD,
} ImgWrapping;

/* Where bytes come from that can be read once. */
typedef struct
{
  /* How many bytes, no more than @length; 0: the end; -1: an error. May wait for long. */
  gssize (*read)  (gpointer data, gpointer buffer, gsize length, ImgError **error);
  /* On any thread: a read that waits, and all that come later, fail at once. */
  void   (*abort) (gpointer data);
  gpointer data;
} ImgByteStream;

typedef struct _ImgUnwrap ImgUnwrap;

/* @checksum (nullable, borrowed) sees all bytes as they arrive, still wrapped. */
ImgUnwrap *img_unwrap_new  (const ImgByteStream *stream, ImgWrapping wrapping, GChecksum *checksum)
  G_GNUC_WARN_UNUSED_RESULT;
void       img_unwrap_free (ImgUnwrap *unwrap);
/* Fills @buffer, or what there is up to the end: *n_read is less than @length only there. The end is where the stream
 * ends: what is wrapped must be complete there. */
gboolean   img_unwrap_read (ImgUnwrap *unwrap, guint8 *buffer, gsize length, gsize *n_read,
                            ImgCancel *cancel, ImgError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgUnwrap, img_unwrap_free)

G_END_DECLS
