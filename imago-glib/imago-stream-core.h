/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage of the core in a stream of GIO.
 *
 * A stream does one thing at a time and has a position, so every request has its turn. Small reads
 * are answered from a window that is read ahead, which grows while it is read from front to back; a
 * request that must not wait is answered from there or not at all. On a worker the pool is told
 * that a request waits for somebody else, and whoever waits for its turn does so as well.
 *
 * The size is asked for once; from then on only our own writes change it.
 */

#pragma once

#include "imago-core.h"
#include "imago-owner-queue.h"

G_BEGIN_DECLS

/* One of both streams, which are the application's: when the storage goes, they are released where
 * @owner says. Not opened for writing if there is no @io. */
ImgStorage *imago_stream_core_new (GInputStream *input, GIOStream *io, ImagoOwnerQueue *owner)
  G_GNUC_WARN_UNUSED_RESULT;

/* Blocking. The streams are closed with the storage, on the thread that lets it go. */
ImgStorage *imago_stream_core_open (GFile *file, gboolean writable, GCancellable *cancellable,
                                    ImgError **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
