/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Walking a vector of buffers. */

#pragma once

#include <glib.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/* A place in a vector; empty members are skipped. */
typedef struct
{
  const struct iovec *iov;
  guint n_iov;
  gsize skip; /* bytes of iov[0] already passed */
} ImgIovCursor;

static inline ImgIovCursor
img_iov_cursor (const struct iovec *iov, guint n_iov)
{
  return (ImgIovCursor) { iov, n_iov, 0 };
}

gsize img_iov_size         (const struct iovec *iov, guint n_iov);

/* The next buffer of at most @length bytes; the cursor moves behind it. Not past the end. */
struct iovec img_iov_cursor_next (ImgIovCursor *cursor, gsize length);
/* Fills @out with up to @max buffers of @length bytes in all; returns the bytes they hold. */
gsize img_iov_cursor_slice (ImgIovCursor *cursor, gsize length, struct iovec *out, guint max,
                            guint *n_out);
void  img_iov_cursor_copy  (ImgIovCursor *cursor, const guint8 *source, gsize length);
void  img_iov_cursor_zero  (ImgIovCursor *cursor, gsize length);

G_END_DECLS
