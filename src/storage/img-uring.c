/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-uring.h"

#ifdef HAVE_LIBURING

#include <errno.h>
#include <string.h>

#include "img-seam.h"

/* It lets no other thread run while one waits for a ring, and does not see what a ring writes into memory. */
static gboolean
is_under_valgrind (void)
{
  const char *preloaded = g_getenv ("LD_PRELOAD");

  return preloaded != NULL && strstr (preloaded, "/vgpreload_") != NULL;
}

gboolean
img_uring_init (struct io_uring *uring, guint n_entries, guint flags)
{
  struct io_uring_params params = { .flags = flags };
  int result;

  if (is_under_valgrind ())
    return FALSE;
  result = img_seam_is_on (IMG_SEAM_RING_ERRNO) ? -img_seam_get (IMG_SEAM_RING_ERRNO)
                                                : io_uring_queue_init_params (n_entries, uring, &params);
  if (result == -EINVAL)
    {
      params = (struct io_uring_params) { 0 };
      result = io_uring_queue_init_params (n_entries, uring, &params);
    }
  if (result < 0)
    return FALSE;
  if (params.features & IORING_FEAT_EXT_ARG)
    return TRUE;
  io_uring_queue_exit (uring); /* waiting for a time would take requests of its own */
  return FALSE;
}

#endif
