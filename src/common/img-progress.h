/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a job tells while it runs. Counters are written by any worker and read by anybody at any time;
 * the face (imago-job.c) looks at them at most ten times a second. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  IMG_PHASE_NONE,
  IMG_PHASE_MAP,   /* listing what is allocated */
  IMG_PHASE_COPY,
  IMG_PHASE_FLUSH, /* making the result durable */
  IMG_PHASE_CHECK, /* reading metadata */
  IMG_PHASE_REPAIR, /* changing it, and reading it again */
  IMG_PHASE_DONE,
} ImgPhase;

typedef struct
{
  guint64 bytes_total; /* atomic; of allocated data, or of metadata; 0 until known */
  guint64 bytes_done;  /* atomic; only grows, ends at bytes_total */
  gint phase;          /* atomic; ImgPhase */
  /* Called after a change on the thread that made it; cheap, coalesces by itself. Nullable. */
  void (*changed) (gpointer data);
  gpointer data;
} ImgProgress;

static inline void
img_progress_set_total (ImgProgress *progress, guint64 total)
{
  if (progress == NULL)
    return;
  __atomic_store_n (&progress->bytes_total, total, __ATOMIC_RELAXED);
  if (progress->changed != NULL)
    progress->changed (progress->data);
}

static inline void
img_progress_add (ImgProgress *progress, guint64 n_bytes)
{
  if (progress == NULL)
    return;
  __atomic_add_fetch (&progress->bytes_done, n_bytes, __ATOMIC_RELAXED);
  if (progress->changed != NULL)
    progress->changed (progress->data);
}

static inline void
img_progress_set_phase (ImgProgress *progress, ImgPhase phase)
{
  if (progress == NULL)
    return;
  __atomic_store_n (&progress->phase, (gint) phase, __ATOMIC_RELEASE);
  if (progress->changed != NULL)
    progress->changed (progress->data);
}

G_END_DECLS
