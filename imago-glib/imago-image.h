/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-create-options.h>
#include <imago-glib/imago-extent.h>
#include <imago-glib/imago-format.h>
#include <imago-glib/imago-image-info.h>
#include <imago-glib/imago-open-options.h>
#include <sys/uio.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_IMAGE (imago_image_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoImage, imago_image, IMAGO, IMAGE, GObject)

/* ---- opening and closing ---- */

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_open (GFile            *file,
                              ImagoOpenOptions *options,
                              GCancellable     *cancellable,
                              GError          **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_open_async (GFile              *file,
                             ImagoOpenOptions   *options,
                             int                 io_priority,
                             GCancellable       *cancellable,
                             GAsyncReadyCallback callback,
                             gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_open_finish (GAsyncResult *result,
                                     GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_open_storage (ImagoStorage     *storage,
                                      ImagoOpenOptions *options,
                                      GCancellable     *cancellable,
                                      GError          **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_open_storage_async (ImagoStorage       *storage,
                                     ImagoOpenOptions   *options,
                                     int                 io_priority,
                                     GCancellable       *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_open_storage_finish (GAsyncResult *result,
                                             GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_create (GFile              *file,
                                ImagoCreateOptions *options,
                                GCancellable       *cancellable,
                                GError            **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_create_async (GFile              *file,
                               ImagoCreateOptions *options,
                               int                 io_priority,
                               GCancellable       *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_create_finish (GAsyncResult *result,
                                       GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_create_storage (ImagoStorage       *storage,
                                        ImagoCreateOptions *options,
                                        GCancellable       *cancellable,
                                        GError            **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_create_storage_async (ImagoStorage       *storage,
                                       ImagoCreateOptions *options,
                                       int                 io_priority,
                                       GCancellable       *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_create_storage_finish (GAsyncResult *result,
                                               GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_image_list_references (ImagoImage *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_set_backing (ImagoImage *self,
                                  ImagoImage *backing,
                                  GError    **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_open_references (ImagoImage   *self,
                                      GCancellable *cancellable,
                                      GError      **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_open_references_async (ImagoImage         *self,
                                        int                 io_priority,
                                        GCancellable       *cancellable,
                                        GAsyncReadyCallback callback,
                                        gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_open_references_finish (ImagoImage   *self,
                                             GAsyncResult *result,
                                             GError      **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_close (ImagoImage   *self,
                            GCancellable *cancellable,
                            GError      **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_close_async (ImagoImage         *self,
                              int                 io_priority,
                              GCancellable       *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_close_finish (ImagoImage   *self,
                                   GAsyncResult *result,
                                   GError      **error);

/* ---- what it is ---- */

IMAGO_AVAILABLE_IN_1_0
guint64 imago_image_get_size (ImagoImage *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_get_writable (ImagoImage *self);

IMAGO_AVAILABLE_IN_1_0
ImagoFormat *imago_image_get_format (ImagoImage *self);

IMAGO_AVAILABLE_IN_1_0
ImagoStorage *imago_image_get_storage (ImagoImage *self);

IMAGO_AVAILABLE_IN_1_0
ImagoImage *imago_image_dup_backing (ImagoImage *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoImageInfo *imago_image_query_info (ImagoImage   *self,
                                        GCancellable *cancellable,
                                        GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_query_info_async (ImagoImage         *self,
                                   int                 io_priority,
                                   GCancellable       *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoImageInfo *imago_image_query_info_finish (ImagoImage   *self,
                                               GAsyncResult *result,
                                               GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_image_list_snapshots (ImagoImage   *self,
                                        GCancellable *cancellable,
                                        GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_list_snapshots_async (ImagoImage         *self,
                                       int                 io_priority,
                                       GCancellable       *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
GListModel *imago_image_list_snapshots_finish (ImagoImage   *self,
                                               GAsyncResult *result,
                                               GError      **error) G_GNUC_WARN_UNUSED_RESULT;

/* ---- reading ---- */

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_image_read_bytes (ImagoImage   *self,
                                guint64       offset,
                                gsize         count,
                                GCancellable *cancellable,
                                GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_read_bytes_async (ImagoImage         *self,
                                   guint64             offset,
                                   gsize               count,
                                   int                 io_priority,
                                   GCancellable       *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_image_read_bytes_finish (ImagoImage   *self,
                                       GAsyncResult *result,
                                       GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_read_at (ImagoImage   *self,
                              guint64       offset,
                              void         *buffer,
                              gsize         count,
                              GCancellable *cancellable,
                              GError      **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_readv_at (ImagoImage         *self,
                               guint64             offset,
                               const struct iovec *vectors,
                               gsize               n_vectors,
                               GCancellable       *cancellable,
                               GError            **error);

IMAGO_AVAILABLE_IN_1_0
ImagoExtent *imago_image_map (ImagoImage   *self,
                              guint64       offset,
                              guint64       length,
                              ImagoMapFlags flags,
                              GCancellable *cancellable,
                              GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_map_async (ImagoImage         *self,
                            guint64             offset,
                            guint64             length,
                            ImagoMapFlags       flags,
                            int                 io_priority,
                            GCancellable       *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoExtent *imago_image_map_finish (ImagoImage   *self,
                                     GAsyncResult *result,
                                     GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
ImagoExtentArray *imago_image_map_extents (ImagoImage   *self,
                                           guint64       offset,
                                           guint64       length,
                                           guint         max,
                                           ImagoMapFlags flags,
                                           GCancellable *cancellable,
                                           GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_image_map_extents_async (ImagoImage         *self,
                                    guint64             offset,
                                    guint64             length,
                                    guint               max,
                                    ImagoMapFlags       flags,
                                    int                 io_priority,
                                    GCancellable       *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
ImagoExtentArray *imago_image_map_extents_finish (ImagoImage   *self,
                                                  GAsyncResult *result,
                                                  GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GInputStream *imago_image_create_input_stream (ImagoImage *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
GIOStream *imago_image_create_io_stream (ImagoImage *self) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
gssize imago_image_splice (ImagoImage    *self,
                           GOutputStream *stream,
                           guint64        offset,
                           guint64        length,
                           GCancellable  *cancellable,
                           GError       **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_splice_async (ImagoImage         *self,
                               GOutputStream      *stream,
                               guint64             offset,
                               guint64             length,
                               int                 io_priority,
                               GCancellable       *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
gssize imago_image_splice_finish (ImagoImage   *self,
                                  GAsyncResult *result,
                                  GError      **error);

/* ---- writing ---- */

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_bytes (ImagoImage *self,
                                  guint64 offset,
                                  GBytes *bytes,
                                  GCancellable *cancellable,
                                  GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_write_bytes_async (ImagoImage *self,
                                    guint64 offset,
                                    GBytes *bytes,
                                    int io_priority,
                                    GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_bytes_finish (ImagoImage *self,
                                         GAsyncResult *result,
                                         GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_at (ImagoImage *self,
                               guint64 offset,
                               const void *buffer,
                               gsize count,
                               GCancellable *cancellable,
                               GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_writev_at (ImagoImage *self,
                                guint64 offset,
                                const struct iovec *vectors,
                                gsize n_vectors,
                                GCancellable *cancellable,
                                GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_compressed (ImagoImage *self,
                                       guint64 offset,
                                       GBytes *bytes,
                                       GCancellable *cancellable,
                                       GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_write_compressed_async (ImagoImage *self,
                                         guint64 offset,
                                         GBytes *bytes,
                                         int io_priority,
                                         GCancellable *cancellable,
                                         GAsyncReadyCallback callback,
                                         gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_compressed_finish (ImagoImage *self,
                                              GAsyncResult *result,
                                              GError **error);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_image_read_vm_state (ImagoImage *self,
                                   guint64 offset,
                                   gsize count,
                                   GCancellable *cancellable,
                                   GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_read_vm_state_async (ImagoImage *self,
                                      guint64 offset,
                                      gsize count,
                                      int io_priority,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_image_read_vm_state_finish (ImagoImage *self,
                                          GAsyncResult *result,
                                          GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_vm_state (ImagoImage *self,
                                     guint64 offset,
                                     GBytes *bytes,
                                     GCancellable *cancellable,
                                     GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_write_vm_state_async (ImagoImage *self,
                                       guint64 offset,
                                       GBytes *bytes,
                                       int io_priority,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_vm_state_finish (ImagoImage *self,
                                            GAsyncResult *result,
                                            GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_zeroes (ImagoImage *self,
                                   guint64 offset,
                                   guint64 length,
                                   ImagoZeroFlags flags,
                                   GCancellable *cancellable,
                                   GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_write_zeroes_async (ImagoImage *self,
                                     guint64 offset,
                                     guint64 length,
                                     ImagoZeroFlags flags,
                                     int io_priority,
                                     GCancellable *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_write_zeroes_finish (ImagoImage *self,
                                          GAsyncResult *result,
                                          GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_discard (ImagoImage *self,
                              guint64 offset,
                              guint64 length,
                              ImagoDiscardMode mode,
                              GCancellable *cancellable,
                              GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_discard_async (ImagoImage *self,
                                guint64 offset,
                                guint64 length,
                                ImagoDiscardMode mode,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_discard_finish (ImagoImage *self,
                                     GAsyncResult *result,
                                     GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_flush (ImagoImage *self,
                            GCancellable *cancellable,
                            GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_flush_async (ImagoImage *self,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_flush_finish (ImagoImage *self,
                                   GAsyncResult *result,
                                   GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_resize (ImagoImage *self,
                             guint64 size,
                             ImagoResizeFlags flags,
                             ImagoPreallocation preallocation,
                             GCancellable *cancellable,
                             GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_image_resize_async (ImagoImage *self,
                               guint64 size,
                               ImagoResizeFlags flags,
                               ImagoPreallocation preallocation,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_image_resize_finish (ImagoImage *self,
                                    GAsyncResult *result,
                                    GError **error);

G_END_DECLS
