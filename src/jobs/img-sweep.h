/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Going over a disk with several threads, each of which takes the next piece when it has done one. */

#pragma once

#include "img-pool.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 size;       /* of what is gone over, bytes */
  gsize step;         /* pieces begin at multiples of it and are no longer */
  gsize buffer_size;  /* each thread gets a buffer for itself; > 0 */
  guint n_threads;    /* 0: as many as processors */
  int priority;
  /* Does [start, end). *next: where nothing is left to do before; the end, or behind it if what was found there goes
   * on. */
  gboolean (*run) (gpointer data, guint64 start, guint64 end, guint8 *buffer, guint64 *next,
                   ImgError **error);
  gpointer data;
} ImgSweep;

/* FALSE with the first error; then some pieces have been done, and none is running. */
gboolean img_sweep_run (const ImgSweep *sweep, ImgError **error);

G_END_DECLS
