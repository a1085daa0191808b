/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-bounce.h"

#define PAGE 4096
#define PIECE (64 * 1024)

gboolean
img_bounce_is_wanted (void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init ();
  return __builtin_cpu_is ("amd");
#else
  return FALSE;
#endif
}

/* Half a page away from the kernel's page, and from the target, which is near that. */
static guint8 *
place (guint8 *memory, guint64 offset)
{
  return memory + (((gsize) offset + PAGE / 2 - (gsize) memory) & (PAGE - 1));
}

gssize
img_bounce_read (ImgBounceFunc read, int fd, const struct iovec *target, guint64 offset, gboolean nowait)
{
  guint8 memory[PIECE + PAGE];
  gsize n_done = 0;

  while (n_done < target->iov_len)
    {
      struct iovec piece = { place (memory, offset + n_done), MIN (PIECE, target->iov_len - n_done) };
      gssize result = read (fd, &piece, 1, offset + n_done, nowait);

      if (result <= 0)
        return n_done > 0 ? (gssize) n_done : result;
      memcpy ((guint8 *) target->iov_base + n_done, piece.iov_base, (gsize) result);
      n_done += (gsize) result;
      if ((gsize) result < piece.iov_len)
        break;
    }
  return (gssize) n_done;
}
