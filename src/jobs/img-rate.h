/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How fast a job may go: the bytes of all its threads have to share so many a second.
 *
 * A request is paid for before it begins, and the one after it waits until that much time has passed. So the
 * first begins at once, and no pause is longer than what was asked for takes. */

#pragma once

#include "img-cancel.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 bytes_per_second; /* 0: no limit */
  ImgMutex mutex;
  gint64 next; /* when the next request may begin; with the mutex */
} ImgRate;

void     img_rate_init  (ImgRate *rate, guint64 bytes_per_second);
void     img_rate_clear (ImgRate *rate);

/* Takes a place for @n_bytes: when they may begin, if it is @now. Both in g_get_monotonic_time () units. */
gint64   img_rate_reserve (ImgRate *rate, guint64 n_bytes, gint64 now);
/* Waits for that moment; FALSE when cancelled. */
gboolean img_rate_wait  (ImgRate *rate, guint64 n_bytes, ImgCancel *cancel, ImgError **error);

G_END_DECLS
