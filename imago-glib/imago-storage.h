/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-storage-request.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_STORAGE (imago_storage_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_DERIVABLE_TYPE (ImagoStorage, imago_storage, IMAGO, STORAGE, GObject)

/**
 * ImagoStorageClass:
 * @parent_class: the parent class
 * @submit: the hook that a storage of your own has: takes a request, and answers it at once or later with one of the
 *   functions whose name begins with `imago_storage_request_return_`. Returns %FALSE with an error set if that
 *   fails, which is an answer, too.
 *
 * The class of a storage. `submit` runs in the main context that was the thread-default one where the object was
 * made, unless imago_storage_class_set_thread_safe() was called. See the chapter
 * [Writing a storage][writing-a-storage].
 *
 * Requests may overlap in time, and be answered in any order. Ranges being read lie inside the storage. To
 * %IMAGO_STORAGE_OPERATION_WRITE_ZEROES and %IMAGO_STORAGE_OPERATION_DISCARD a storage may answer
 * %G_IO_ERROR_NOT_SUPPORTED: then the library writes zeroes, or leaves the space where it is.
 * %IMAGO_STORAGE_OPERATION_QUERY_SIZE is asked when the library needs it, after which it keeps account of the
 * size itself.
 *
 * Since: 1.0
 */
struct _ImagoStorageClass
{
  GObjectClass parent_class;

  gboolean (*submit) (ImagoStorage *self, ImagoStorageRequest *request, GError **error);

  /*< private >*/
  void (*make_core) (void);
  gboolean is_thread_safe;
  gpointer padding[8];
};

IMAGO_AVAILABLE_IN_1_0
void imago_storage_class_set_thread_safe (ImagoStorageClass *klass);

IMAGO_AVAILABLE_IN_1_0
const char *imago_storage_get_name (ImagoStorage *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_get_writable (ImagoStorage *self);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_query_size (ImagoStorage *self,
                                   guint64      *size,
                                   GCancellable *cancellable,
                                   GError      **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_query_size_async (ImagoStorage       *self,
                                     int                 io_priority,
                                     GCancellable       *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_query_size_finish (ImagoStorage *self,
                                          GAsyncResult *result,
                                          guint64      *size,
                                          GError      **error);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_storage_read_bytes (ImagoStorage *self,
                                  guint64       offset,
                                  gsize         count,
                                  GCancellable *cancellable,
                                  GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_storage_read_bytes_async (ImagoStorage       *self,
                                     guint64             offset,
                                     gsize               count,
                                     int                 io_priority,
                                     GCancellable       *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer            user_data);

IMAGO_AVAILABLE_IN_1_0
GBytes *imago_storage_read_bytes_finish (ImagoStorage *self,
                                         GAsyncResult *result,
                                         GError      **error) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_write_bytes (ImagoStorage *self,
                                    guint64 offset,
                                    GBytes *bytes,
                                    GCancellable *cancellable,
                                    GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_write_bytes_async (ImagoStorage *self,
                                      guint64 offset,
                                      GBytes *bytes,
                                      int io_priority,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_write_bytes_finish (ImagoStorage *self,
                                           GAsyncResult *result,
                                           GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_write_zeroes (ImagoStorage *self,
                                     guint64 offset,
                                     guint64 length,
                                     ImagoZeroFlags flags,
                                     GCancellable *cancellable,
                                     GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_write_zeroes_async (ImagoStorage *self,
                                       guint64 offset,
                                       guint64 length,
                                       ImagoZeroFlags flags,
                                       int io_priority,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_write_zeroes_finish (ImagoStorage *self,
                                            GAsyncResult *result,
                                            GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_discard (ImagoStorage *self,
                                guint64 offset,
                                guint64 length,
                                GCancellable *cancellable,
                                GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_discard_async (ImagoStorage *self,
                                  guint64 offset,
                                  guint64 length,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_discard_finish (ImagoStorage *self,
                                       GAsyncResult *result,
                                       GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_truncate (ImagoStorage *self,
                                 guint64 size,
                                 GCancellable *cancellable,
                                 GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_truncate_async (ImagoStorage *self,
                                   guint64 size,
                                   int io_priority,
                                   GCancellable *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_truncate_finish (ImagoStorage *self,
                                        GAsyncResult *result,
                                        GError **error);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_flush (ImagoStorage *self,
                              GCancellable *cancellable,
                              GError **error);

IMAGO_AVAILABLE_IN_1_0
void imago_storage_flush_async (ImagoStorage *self,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);

IMAGO_AVAILABLE_IN_1_0
gboolean imago_storage_flush_finish (ImagoStorage *self,
                                     GAsyncResult *result,
                                     GError **error);

G_END_DECLS
