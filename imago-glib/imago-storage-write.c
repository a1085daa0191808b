/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Changing a storage. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "imago-storage-private.h"

static gpointer
to_result (gboolean success)
{
  return success ? IMAGO_REQUEST_DONE : NULL;
}

static gboolean
check_range (const ImagoStorageCall *change, ImgError **error)
{
  if (G_LIKELY (img_range_fits (change->offset, change->length, IMG_MAX_SIZE)))
    return TRUE;
  img_error_set (error, IMG_CODE_OUT_OF_RANGE,
                 _("%" PRIu64 " bytes at offset %" PRIu64 " lie past the end of any storage"),
                 change->length, change->offset);
  return FALSE;
}

/* A core storage takes no request of no bytes. */
static gboolean
is_nothing (const ImagoStorageCall *change)
{
  return change->length == 0;
}

static gboolean
make_change (ImagoStorage *self,
             ImagoRequestFunc run,
             const ImagoStorageCall *change,
             GCancellable *cancellable,
             GError **error)
{
  return imago_storage_call (self, run, change, NULL, cancellable, error) != NULL;
}

/* The storage may have changed by the time it is cancelled, so the task does not look by itself. */
static void
start_change (ImagoStorage *self,
              gpointer source_tag,
              const char *name,
              ImagoRequestFunc run,
              const ImagoStorageCall *change,
              int io_priority,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  /* The macro would name the task after this variable. */
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_name (task, name);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  imago_storage_call_async (self, task, run, change, NULL, IMAGO_REQUEST_NONE);
}

static gboolean
finish_change (ImagoStorage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

static gpointer
run_write_bytes (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *change = data;

  if (!check_range (change, error))
    return NULL;
  return to_result (is_nothing (change) ||
                    img_storage_write (change->core, change->offset,
                                       g_bytes_get_data (change->bytes, NULL), change->length,
                                       error));
}

/**
 * imago_storage_write_bytes:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @bytes: what to write
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes to the storage. Past its end it grows, if it can. A storage that was not opened for writing
 * refuses with %IMAGO_ERROR_READ_ONLY.
 *
 * While an image uses the storage, only that image should write it.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_write_bytes (ImagoStorage *self,
                           guint64 offset,
                           GBytes *bytes,
                           GCancellable *cancellable,
                           GError **error)
{
  ImagoStorageCall change = { .offset = offset, .bytes = bytes };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (bytes != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  change.length = g_bytes_get_size (bytes);
  return make_change (self, run_write_bytes, &change, cancellable, error);
}

/**
 * imago_storage_write_bytes_async:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @bytes: what to write
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are written
 * @user_data: data for @callback
 *
 * Starts to write bytes to the storage; see imago_storage_write_bytes(). A change that has begun runs to its
 * end, and its result is told, whether cancelled or not; but the hook of a subclass and a stream are not waited for.
 *
 * Since: 1.0
 */
void
imago_storage_write_bytes_async (ImagoStorage *self,
                                 guint64 offset,
                                 GBytes *bytes,
                                 int io_priority,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data)
{
  ImagoStorageCall change = { .offset = offset, .bytes = bytes };

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (bytes != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  change.length = g_bytes_get_size (bytes);
  start_change (self, imago_storage_write_bytes_async, G_STRFUNC, run_write_bytes, &change, io_priority,
                cancellable, callback, user_data);
}

/**
 * imago_storage_write_bytes_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_write_bytes_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_write_bytes_finish (ImagoStorage *self,
                                  GAsyncResult *result,
                                  GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_write_zeroes (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *change = data;

  if (!check_range (change, error))
    return NULL;
  return to_result (is_nothing (change) ||
                    img_storage_zero (change->core, change->offset, change->length, change->flags,
                                      error));
}

static ImgIoFlags
to_io_flags (ImagoZeroFlags flags)
{
  ImgIoFlags result = IMG_IO_NONE;

  if (flags & IMAGO_ZERO_UNMAP)
    result |= IMG_IO_UNMAP;
  if (flags & IMAGO_ZERO_NO_FALLBACK)
    result |= IMG_IO_NO_FALLBACK;
  return result;
}

/**
 * imago_storage_write_zeroes:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @flags: what may happen to the space on the host
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Makes a range of the storage read as zero. Past its end it grows, if it can.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_write_zeroes (ImagoStorage *self,
                            guint64 offset,
                            guint64 length,
                            ImagoZeroFlags flags,
                            GCancellable *cancellable,
                            GError **error)
{
  ImagoStorageCall change = {
    .offset = offset,
    .length = length,
    .flags = to_io_flags (flags),
  };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_write_zeroes, &change, cancellable, error);
}

/**
 * imago_storage_write_zeroes_async:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @flags: what may happen to the space on the host
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when that is done
 * @user_data: data for @callback
 *
 * Starts to make a range of the storage read as zero; see imago_storage_write_zeroes() and
 * imago_storage_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_storage_write_zeroes_async (ImagoStorage *self,
                                  guint64 offset,
                                  guint64 length,
                                  ImagoZeroFlags flags,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data)
{
  ImagoStorageCall change = {
    .offset = offset,
    .length = length,
    .flags = to_io_flags (flags),
  };

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  start_change (self, imago_storage_write_zeroes_async, G_STRFUNC, run_write_zeroes, &change, io_priority,
                cancellable, callback, user_data);
}

/**
 * imago_storage_write_zeroes_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_write_zeroes_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_write_zeroes_finish (ImagoStorage *self,
                                   GAsyncResult *result,
                                   GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_discard (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *change = data;

  if (!check_range (change, error))
    return NULL;
  return to_result (is_nothing (change) || img_storage_discard (change->core, change->offset,
                                                                change->length, error));
}

/**
 * imago_storage_discard:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Says that the content of a range is not needed any more, so that its space can be given back. The size of
 * the storage stays; what the range reads as is not known.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_discard (ImagoStorage *self,
                       guint64 offset,
                       guint64 length,
                       GCancellable *cancellable,
                       GError **error)
{
  ImagoStorageCall change = { .offset = offset, .length = length };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_discard, &change, cancellable, error);
}

/**
 * imago_storage_discard_async:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when that is done
 * @user_data: data for @callback
 *
 * Starts to discard a range of the storage; see imago_storage_discard() and
 * imago_storage_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_storage_discard_async (ImagoStorage *self,
                             guint64 offset,
                             guint64 length,
                             int io_priority,
                             GCancellable *cancellable,
                             GAsyncReadyCallback callback,
                             gpointer user_data)
{
  ImagoStorageCall change = { .offset = offset, .length = length };

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  start_change (self, imago_storage_discard_async, G_STRFUNC, run_discard, &change, io_priority,
                cancellable, callback, user_data);
}

/**
 * imago_storage_discard_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_discard_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_discard_finish (ImagoStorage *self,
                              GAsyncResult *result,
                              GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_truncate (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *change = data;

  if (!check_range (change, error))
    return NULL;
  return to_result (img_storage_truncate (change->core, change->offset, error));
}

/**
 * imago_storage_truncate:
 * @self: an #ImagoStorage
 * @size: the new size in bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Cuts the storage off, or makes it longer: what is new reads as zero. A block device or an
 * #ImagoWindowStorage cannot change its size.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_truncate (ImagoStorage *self,
                        guint64 size,
                        GCancellable *cancellable,
                        GError **error)
{
  ImagoStorageCall change = { .offset = size };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_truncate, &change, cancellable, error);
}

/**
 * imago_storage_truncate_async:
 * @self: an #ImagoStorage
 * @size: the new size in bytes
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when that is done
 * @user_data: data for @callback
 *
 * Starts to change the size of the storage; see imago_storage_truncate() and
 * imago_storage_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_storage_truncate_async (ImagoStorage *self,
                              guint64 size,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data)
{
  ImagoStorageCall change = { .offset = size };

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  start_change (self, imago_storage_truncate_async, G_STRFUNC, run_truncate, &change, io_priority,
                cancellable, callback, user_data);
}

/**
 * imago_storage_truncate_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_truncate_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_truncate_finish (ImagoStorage *self,
                               GAsyncResult *result,
                               GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_flush (gpointer data, ImgCancel *cancel, ImgError **error)
{
  return to_result (img_storage_flush (((ImagoStorageCall *) data)->core, error));
}

/**
 * imago_storage_flush:
 * @self: an #ImagoStorage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Makes everything durable that was written before this was called. After one failure all later ones fail:
 * nobody knows what has reached the disk.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_flush (ImagoStorage *self,
                     GCancellable *cancellable,
                     GError **error)
{
  ImagoStorageCall change = { 0 };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_flush, &change, cancellable, error);
}

/**
 * imago_storage_flush_async:
 * @self: an #ImagoStorage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when that is done
 * @user_data: data for @callback
 *
 * Starts to make everything durable that was written before; see imago_storage_flush().
 *
 * Since: 1.0
 */
void
imago_storage_flush_async (ImagoStorage *self,
                           int io_priority,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  ImagoStorageCall change = { 0 };

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  start_change (self, imago_storage_flush_async, G_STRFUNC, run_flush, &change, io_priority,
                cancellable, callback, user_data);
}

/**
 * imago_storage_flush_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_flush_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_storage_flush_finish (ImagoStorage *self,
                            GAsyncResult *result,
                            GError **error)
{
  return finish_change (self, result, error);
}
