/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "img-copy.h"
#include "img-iov.h"

gsize
img_iov_size (const struct iovec *iov, guint n_iov)
{
  gsize size = 0;

  for (guint i = 0; i < n_iov; i++)
    size += iov[i].iov_len;
  return size;
}

struct iovec
img_iov_cursor_next (ImgIovCursor *cursor, gsize length)
{
  struct iovec part;

  while (cursor->iov->iov_len == cursor->skip)
    {
      cursor->iov++;
      cursor->n_iov--;
      cursor->skip = 0;
      g_assert (cursor->n_iov > 0);
    }
  part.iov_base = (guint8 *) cursor->iov->iov_base + cursor->skip;
  part.iov_len = MIN (length, cursor->iov->iov_len - cursor->skip);
  cursor->skip += part.iov_len;
  return part;
}

gsize
img_iov_cursor_slice (ImgIovCursor *cursor,
                      gsize length,
                      struct iovec *out,
                      guint max,
                      guint *n_out)
{
  gsize taken = 0;
  guint n = 0;

  while (taken < length && n < max)
    {
      out[n] = img_iov_cursor_next (cursor, length - taken);
      taken += out[n++].iov_len;
    }
  *n_out = n;
  return taken;
}

void
img_iov_cursor_copy (ImgIovCursor *cursor, const guint8 *source, gsize length)
{
  while (length > 0)
    {
      struct iovec part = img_iov_cursor_next (cursor, length);

      img_copy (part.iov_base, source, part.iov_len);
      source += part.iov_len;
      length -= part.iov_len;
    }
}

void
img_iov_cursor_zero (ImgIovCursor *cursor, gsize length)
{
  while (length > 0)
    {
      struct iovec part = img_iov_cursor_next (cursor, length);

      memset (part.iov_base, 0, part.iov_len);
      length -= part.iov_len;
    }
}
