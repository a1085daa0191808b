/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The disk as a GIOStream. Both of its sides and the stream itself have one position, as a file has
 * that is read and written through one descriptor. A side that stands alone has one of its own.
 *
 * GIO allows one operation at a time on a side, and the application uses the stream from one thread at
 * a time: that is what protects the position. It moves when an answer is taken, not when a worker has
 * done its work: an answer comes once, in the thread of the application.
 */

#pragma once

#include "imago-image.h"
#include "imago-request.h"

G_BEGIN_DECLS

typedef struct
{
  grefcount ref_count;
  ImagoImage *image;
  guint64 position; /* past the end only when the disk has become smaller since */
  /* The last reference is being dropped: GIO closes the stream then, and closing would flush, which
   * may take long. */
  gboolean is_dropped;
} ImagoStreamPlace;

ImagoStreamPlace *imago_stream_place_new   (ImagoImage *image) G_GNUC_WARN_UNUSED_RESULT;
ImagoStreamPlace *imago_stream_place_ref   (ImagoStreamPlace *self);
void              imago_stream_place_unref (ImagoStreamPlace *self);
/* How much of @count bytes the disk has from here on. */
gsize             imago_stream_place_clamp (ImagoStreamPlace *self, gsize count);
/* Stays inside the disk. */
gboolean          imago_stream_place_seek  (ImagoStreamPlace *self, goffset offset, GSeekType type,
                                            GError **error);
gboolean          imago_stream_place_truncate (ImagoStreamPlace *self, goffset size,
                                               GCancellable *cancellable, GError **error);

GTask   *imago_stream_task_new     (gpointer stream, gpointer source_tag, const char *name,
                                    int io_priority, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data)
  G_GNUC_WARN_UNUSED_RESULT;
/* Takes @task: there was nothing to do. */
void     imago_stream_task_done    (GTask *task);
gboolean imago_stream_task_finish  (gpointer stream, GAsyncResult *result, GError **error);

/* Both take @place. */
GInputStream  *imago_image_input_stream_new  (ImagoStreamPlace *place) G_GNUC_WARN_UNUSED_RESULT;
GOutputStream *imago_image_output_stream_new (ImagoStreamPlace *place) G_GNUC_WARN_UNUSED_RESULT;
GIOStream     *imago_image_io_stream_new     (ImagoImage *image) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
