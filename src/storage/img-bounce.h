/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reading into memory to which the kernel copies slowly.
 *
 * AMD's processors copy with `rep movsb` four times as slowly as otherwise when the target lies 1 to 31 bytes ahead of
 * the source, modulo 4096 (measured on Zen 3 and later: 1 MiB in 500 us instead of 115). The kernel's source is a page
 * of its cache. What malloc () maps for a large request begins 16 bytes behind a page, as do large strings of bytes in
 * Python: a block of a disk, which is aligned, always meets it there.
 *
 * Such a read goes through a small buffer that lies well for both copies, and stays in the processor's cache: 170 to
 * 200 us. */

#pragma once

#include <glib.h>
#include <sys/uio.h>

G_BEGIN_DECLS

/* Whether this processor is one of those. */
gboolean img_bounce_is_wanted (void);
/* Reads as preadv () does. */
typedef gssize (*ImgBounceFunc) (int fd, const struct iovec *iov, guint n_iov, guint64 offset, gboolean nowait);

/* Reads as @read does with one buffer, by @read. */
gssize   img_bounce_read      (ImgBounceFunc read, int fd, const struct iovec *target, guint64 offset, gboolean nowait);

/* Where img_bounce_is_wanted (): whether @target is such memory. What is small is not worth it. */
static inline gboolean
img_bounce_is_for (const struct iovec *target, guint64 offset)
{
  return (((gsize) target->iov_base - (gsize) offset - 1) & 4095) < 31 && target->iov_len >= 2048;
}

G_END_DECLS
