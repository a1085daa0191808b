/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reads many ranges of a file in one system call, with waiting or without.
 *
 * Without: what is in memory is copied while the kernel takes the requests, what is not is refused, so that no request
 * is in flight when the call returns. That costs as much as pread () for each, where preadv2 () with RWF_NOWAIT costs 15 % more and
 * the way into the kernel is long.
 *
 * With: the disk gets all of them at the same time, and nobody but the caller is woken when they have come. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

#define IMG_READ_RING_MIN 4 /* with fewer it is not worth it */
#define IMG_READ_RING_MAX 32

/* @ios: reads into one buffer each. @results: for each what preadv2 () returns, or the negative errno; -EAGAIN: it is
 * to be read in another way. FALSE: nothing was tried, for other threads are at it, or the system has no ring for us. */
gboolean img_read_ring_try (int fd, const ImgIo *ios, guint n_ios, gboolean waits, gssize *results);

G_END_DECLS
