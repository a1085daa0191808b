/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-image.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_BATCH (imago_batch_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoBatch, imago_batch, IMAGO, BATCH, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoBatch *imago_batch_new (ImagoImage *image) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_batch_get_image (ImagoBatch *self);

IMAGO_AVAILABLE_IN_1_0
guint imago_batch_add_read (ImagoBatch *self,
                            guint64 offset,
                            gsize count);

IMAGO_AVAILABLE_IN_1_0
guint imago_batch_add_read_at (ImagoBatch *self,
                               guint64 offset,
                               void *buffer,
                               gsize count);

IMAGO_AVAILABLE_IN_1_0
guint imago_batch_add_write (ImagoBatch *self,
                             guint64 offset,
                             GBytes *bytes);

IMAGO_AVAILABLE_IN_1_0
guint imago_batch_get_n_requests (ImagoBatch *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_batch_run (ImagoBatch *self,
                          GCancellable *cancellable,
                          GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_batch_run_async (ImagoBatch *self,
                            int io_priority,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_batch_run_finish (ImagoBatch *self,
                                 GAsyncResult *result,
                                 GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_batch_check (ImagoBatch *self,
                            guint index,
                            GError **error);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_batch_dup_bytes (ImagoBatch *self,
                               guint index) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
