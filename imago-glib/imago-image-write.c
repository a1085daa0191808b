/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Changing the disk of an image. */

#include "config.h"

#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-image-private.h"

/* A write in place is tried inline, where the kernel promises not to wait. Every other change is made on a worker:
 * it may wait for a disk, for a metadata flush, or for another change in the same cluster. Whether it was cancelled
 * is for the core to say, since the disk may have changed by then: a task's own look at its cancellable could hide
 * a success. */

G_STATIC_ASSERT ((int) IMAGO_ZERO_UNMAP == (int) IMG_ZERO_UNMAP);
G_STATIC_ASSERT ((int) IMAGO_ZERO_NO_FALLBACK == (int) IMG_ZERO_NO_FALLBACK);

/* Takes @task; the call's data goes with @free_data. */
static void
start_change (ImagoImage *self,
              GTask *task,
              ImagoRequestFunc run,
              const ImagoImageCall *call,
              GDestroyNotify free_data)
{
  g_task_set_check_cancellable (task, FALSE);
  imago_image_call_async (self, task, run, call, free_data, NULL, IMAGO_REQUEST_NONE);
}

/* The same in the caller's thread, or behind its back. */
static gboolean
make_change (ImagoImage *self,
             ImagoRequestFunc run,
             ImagoImageCall *call,
             GDestroyNotify free_data,
             GCancellable *cancellable,
             GError **error)
{
  return imago_image_call (self, run, call, free_data, NULL, IMAGO_REQUEST_NONE, cancellable, error) != NULL;
}

static gpointer
to_result (gboolean success)
{
  return success ? IMAGO_REQUEST_DONE : NULL;
}

static void
bytes_unref_cb (gpointer bytes)
{
  g_bytes_unref (bytes);
}

static gboolean
finish_change (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- writing ---- */

static gpointer
run_write_bytes (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  gsize length;
  gconstpointer bytes = g_bytes_get_data (call->data, &length);

  return to_result (img_image_write (call->core, call->offset, bytes, length, cancel, error));
}

/**
 * imago_image_write_bytes:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @bytes: what to write
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes to the disk. A range that reaches past its end is %IMAGO_ERROR_OUT_OF_RANGE, and an image
 * that was not opened for writing refuses with %IMAGO_ERROR_READ_ONLY; nothing has been written then.
 *
 * After any other failure, and when cancelled, each sector of the range holds what it held before or what
 * was to be written. Other writes to the same bytes at the same time leave one of both in each sector.
 *
 * Cancelling does not wait for an #ImagoStorage of the application or a stream: what these have been asked to write they
 * may still write later, until imago_image_close() returns; what is written to the same sectors after the cancelled call
 * has returned comes behind it, whatever order the storage would have liked.
 *
 * What was written can be read at once, but is not durable before imago_image_flush() or
 * imago_image_close() has returned %TRUE.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_bytes (ImagoImage *self,
                         guint64 offset,
                         GBytes *bytes,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageCall call = { .offset = offset, .data = bytes };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (bytes != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_bytes_ref (bytes);
  return make_change (self, run_write_bytes, &call, bytes_unref_cb, cancellable, error);
}

static void
deliver_written (GTask *task, gpointer data)
{
  g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
}

static ImgTryResult
try_write (ImagoImage *self, ImagoLane *lane, guint64 offset, GBytes *bytes, ImgError **error)
{
  gsize count;
  gconstpointer data = g_bytes_get_data (bytes, &count);
  ImgEpochTicket ticket;
  ImgTryResult result;
  ImgImage *core;
  gint64 begun;

  core = imago_image_state_enter (self->state, &ticket);
  if (core == NULL)
    return IMG_TRY_WOULD_BLOCK; /* the slow way says so */
  begun = imago_lane_begin (lane, count);
  result = img_image_try_write (core, offset, data, count, error);
  imago_lane_end (lane, count, begun);
  imago_image_state_leave (self->state, ticket);
  return result;
}

/* TRUE if @task was taken and will be answered. */
static gboolean
write_inline (ImagoImage *self, GTask *task, guint64 offset, GBytes *bytes)
{
  ImagoLane *lane = imago_lane_find (task);
  ImgError *core_error = NULL;
  GError *error = NULL;

  if (!imago_lane_may_inline (lane, g_bytes_get_size (bytes)))
    return FALSE;
  switch (try_write (self, lane, offset, bytes, &core_error))
    {
    case IMG_TRY_DONE:
      imago_lane_push (lane, task, deliver_written, NULL);
      return TRUE;
    case IMG_TRY_ERROR:
      imago_error_take (&error, core_error);
      imago_request_answer_error (task, error);
      return TRUE;
    case IMG_TRY_WOULD_BLOCK:
    default:
      return FALSE;
    }
}

/**
 * imago_image_write_bytes_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @bytes: what to write
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are written
 * @user_data: data for @callback
 *
 * Starts to write bytes to the disk; see imago_image_write_bytes(). Any number of changes may be in flight,
 * and they may end in any order: to have one follow another, start it when that has ended.
 *
 * Cancelling stops a write that has not begun, or the rest of one that has. Once all is written, the result
 * is %TRUE however late it was cancelled; but an #ImagoStorage of the application or a stream is not waited for.
 *
 * Since: 1.0
 */
void
imago_image_write_bytes_async (ImagoImage *self,
                               guint64 offset,
                               GBytes *bytes,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  ImagoImageCall call = { .offset = offset, .data = bytes };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (bytes != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  /* Without the macro, which copies the name of the function: that is left to the slow way below. */
  (g_task_set_source_tag) (task, imago_image_write_bytes_async);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  if (imago_request_is_cancelled (task) || write_inline (self, task, offset, bytes))
    return;
  g_task_set_name (task, G_STRFUNC);
  g_bytes_ref (bytes);
  start_change (self, task, run_write_bytes, &call, bytes_unref_cb);
}

/**
 * imago_image_write_bytes_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_write_bytes_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_bytes_finish (ImagoImage *self,
                                GAsyncResult *result,
                                GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_writev_at (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;

  return to_result (
    img_image_writev (call->core, call->offset, call->data, call->max, cancel, error));
}

/* The short way, as for reading: a write in place costs little more than its system call. */
static gboolean
write_at (ImagoImage *self, guint64 offset, gconstpointer buffer, gsize count, GError **error)
{
  ImgError *core_error = NULL;
  ImgEpochTicket ticket;
  gboolean success = FALSE;
  ImgImage *core = imago_image_state_enter_to_wait (self->state, &ticket, &core_error);

  if (G_LIKELY (core != NULL))
    {
      success = img_image_write (core, offset, buffer, count, NULL, &core_error);
      imago_image_state_leave (self->state, ticket);
    }
  if (G_UNLIKELY (!success))
    imago_error_take (error, core_error);
  return success;
}

/* Memory that nobody has to wait for, in place of the caller's. */
static GBytes *
gather (const struct iovec *vectors, guint n_vectors, GError **error)
{
  gsize length = img_iov_size (vectors, n_vectors);
  ImgError *core_error = NULL;
  guint8 *buffer = imago_buffer_new (length, &core_error);
  ImgIovCursor cursor = img_iov_cursor (vectors, n_vectors);

  if (buffer == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  for (gsize n_done = 0; n_done < length;)
    {
      struct iovec piece = img_iov_cursor_next (&cursor, length - n_done);

      img_copy (buffer + n_done, piece.iov_base, piece.iov_len);
      n_done += piece.iov_len;
    }
  return imago_buffer_to_bytes (buffer, length);
}

static gboolean
write_by_way (ImagoImage *self,
              guint64 offset,
              const struct iovec *vectors,
              guint n_vectors,
              GCancellable *cancellable,
              GError **error)
{
  g_autoptr (GBytes) bytes = gather (vectors, n_vectors, error);

  return bytes != NULL && imago_image_write_bytes (self, offset, bytes, cancellable, error);
}

/**
 * imago_image_write_at: (skip)
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @buffer: (array length=count) (element-type guint8): what to write
 * @count: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes from memory of the caller, for C; see imago_image_write_bytes(). @buffer must not change
 * meanwhile. When this returns, nothing reads it any more.
 *
 * Returns: %TRUE if all was written, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_at (ImagoImage *self,
                      guint64 offset,
                      const void *buffer,
                      gsize count,
                      GCancellable *cancellable,
                      GError **error)
{
  struct iovec vector = { (void *) buffer, count };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (buffer != NULL || count == 0, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (cancellable == NULL)
    return write_at (self, offset, buffer, count, error);
  return imago_image_writev_at (self, offset, &vector, 1, cancellable, error);
}

/**
 * imago_image_writev_at: (skip)
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @vectors: (array length=n_vectors): the pieces of memory to write one after the other
 * @n_vectors: how many there are; any number
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes from memory of the caller as imago_image_write_at() does.
 *
 * Returns: %TRUE if all was written, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_writev_at (ImagoImage *self,
                       guint64 offset,
                       const struct iovec *vectors,
                       gsize n_vectors,
                       GCancellable *cancellable,
                       GError **error)
{
  ImagoImageCall call = {
    .offset = offset,
    .max = (guint) n_vectors,
    .data = (gpointer) vectors,
  };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (vectors != NULL || n_vectors == 0, FALSE);
  g_return_val_if_fail (n_vectors <= G_MAXINT, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (cancellable != NULL && imago_image_may_hang (self))
    return write_by_way (self, offset, vectors, (guint) n_vectors, cancellable, error);
  return imago_image_call (self, run_writev_at, &call, NULL, NULL, IMAGO_REQUEST_BORROWS, cancellable, error) != NULL;
}

/* Takes @task. */
static void
write_task_by_way (ImagoImage *self, GTask *task, guint64 offset, const struct iovec *vectors, guint n_vectors)
{
  GError *error = NULL;
  ImagoImageCall call = { .offset = offset, .data = gather (vectors, n_vectors, &error) };

  if (call.data != NULL)
    start_change (self, task, run_write_bytes, &call, bytes_unref_cb);
  else
    imago_request_answer_error (task, error);
}

void
imago_image_writev_task (ImagoImage *self,
                         GTask *task,
                         guint64 offset,
                         const struct iovec *vectors,
                         guint n_vectors)
{
  const ImagoImageCall call = {
    .offset = offset,
    .max = n_vectors,
    .data = (gpointer) vectors,
  };

  g_task_set_check_cancellable (task, FALSE);
  if (g_task_get_cancellable (task) != NULL && imago_image_may_hang (self))
    write_task_by_way (self, task, offset, vectors, n_vectors);
  else
    imago_image_call_async (self, task, run_writev_at, &call, NULL, NULL, IMAGO_REQUEST_BORROWS);
}

static gpointer
run_write_compressed (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  gsize length;
  gconstpointer bytes = g_bytes_get_data (call->data, &length);

  return to_result (
    img_image_write_compressed (call->core, call->offset, bytes, length, cancel, error));
}

/**
 * imago_image_write_compressed:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes: the beginning of a cluster
 * @bytes: what to write: whole clusters, but for the last one of the disk
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes to the disk and stores them compressed where that makes them smaller. This is for filling a
 * new image: a cluster that is written again is stored anew. A format that cannot hold compressed clusters
 * refuses with %IMAGO_ERROR_UNSUPPORTED, a range that is not made of whole clusters with
 * %IMAGO_ERROR_FAILED. In all else it is like imago_image_write_bytes().
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_compressed (ImagoImage *self,
                              guint64 offset,
                              GBytes *bytes,
                              GCancellable *cancellable,
                              GError **error)
{
  ImagoImageCall call = { .offset = offset, .data = bytes };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (bytes != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_bytes_ref (bytes);
  return make_change (self, run_write_compressed, &call, bytes_unref_cb, cancellable, error);
}

/**
 * imago_image_write_compressed_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes: the beginning of a cluster
 * @bytes: what to write: whole clusters, but for the last one of the disk
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are written
 * @user_data: data for @callback
 *
 * Starts to write bytes compressed; see imago_image_write_compressed() and imago_image_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_image_write_compressed_async (ImagoImage *self,
                                    guint64 offset,
                                    GBytes *bytes,
                                    int io_priority,
                                    GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data)
{
  ImagoImageCall call = { .offset = offset, .data = bytes };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (bytes != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_write_compressed_async, G_STRFUNC, io_priority, cancellable, callback, user_data);
  g_bytes_ref (bytes);
  start_change (self, task, run_write_compressed, &call, bytes_unref_cb);
}

/**
 * imago_image_write_compressed_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_write_compressed_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_compressed_finish (ImagoImage *self,
                                     GAsyncResult *result,
                                     GError **error)
{
  return finish_change (self, result, error);
}

/* ---- zeroes and discard ---- */

static gpointer
run_write_zeroes (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;

  return to_result (img_image_write_zeroes (call->core, call->offset, call->length,
                                            (ImgZeroFlags) call->mode, cancel, error));
}

/**
 * imago_image_write_zeroes:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @flags: what may happen to the space on the host
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Makes a range of the disk read as zero, which seldom takes writing zeroes. It fails as
 * imago_image_write_bytes() does.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_zeroes (ImagoImage *self,
                          guint64 offset,
                          guint64 length,
                          ImagoZeroFlags flags,
                          GCancellable *cancellable,
                          GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = length, .mode = flags };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_write_zeroes, &call, NULL, cancellable, error);
}

/**
 * imago_image_write_zeroes_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @flags: what may happen to the space on the host
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the change has been made
 * @user_data: data for @callback
 *
 * Starts to make a range of the disk read as zero; see imago_image_write_zeroes() and
 * imago_image_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_image_write_zeroes_async (ImagoImage *self,
                                guint64 offset,
                                guint64 length,
                                ImagoZeroFlags flags,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  const ImagoImageCall call = { .offset = offset, .length = length, .mode = flags };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_write_zeroes_async, G_STRFUNC, io_priority, cancellable, callback, user_data);
  start_change (self, task, run_write_zeroes, &call, NULL);
}

/**
 * imago_image_write_zeroes_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_write_zeroes_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_zeroes_finish (ImagoImage *self,
                                 GAsyncResult *result,
                                 GError **error)
{
  return finish_change (self, result, error);
}

static gpointer
run_discard (gpointer data, ImgCancel *cancel, ImgError **error)
{
  static const ImgDiscardMode modes[] = {
    [IMAGO_DISCARD_ANY] = IMG_DISCARD_ANY,
    [IMAGO_DISCARD_ZERO] = IMG_DISCARD_ZERO,
    [IMAGO_DISCARD_BACKING] = IMG_DISCARD_BACKING,
  };
  ImagoImageCall *call = data;
  guint64 length = call->length;

  /* A range that does not exist is an error all the same. */
  if (call->mode == IMAGO_DISCARD_NONE &&
      img_range_fits (call->offset, length, img_image_get_size (call->core)))
    length = 0;
  return to_result (
    img_image_discard (call->core, call->offset, length, modes[call->mode], cancel, error));
}

/**
 * imago_image_discard:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @mode: what the range holds afterwards
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Says that the content of a range of the disk is not needed any more, so that its space can be given back
 * to the host. It fails as imago_image_write_bytes() does.
 *
 * Space is given back, and used for other data, only when the disk without the content is durable: a crash
 * never shows anything else in its place.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_discard (ImagoImage *self,
                     guint64 offset,
                     guint64 length,
                     ImagoDiscardMode mode,
                     GCancellable *cancellable,
                     GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = length, .mode = mode };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (mode <= IMAGO_DISCARD_BACKING, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_discard, &call, NULL, cancellable, error);
}

/**
 * imago_image_discard_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how many bytes
 * @mode: what the range holds afterwards
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the change has been made
 * @user_data: data for @callback
 *
 * Starts to discard a range of the disk; see imago_image_discard() and imago_image_write_bytes_async().
 *
 * Since: 1.0
 */
void
imago_image_discard_async (ImagoImage *self,
                           guint64 offset,
                           guint64 length,
                           ImagoDiscardMode mode,
                           int io_priority,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  const ImagoImageCall call = { .offset = offset, .length = length, .mode = mode };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (mode <= IMAGO_DISCARD_BACKING);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_discard_async, G_STRFUNC, io_priority, cancellable, callback, user_data);
  start_change (self, task, run_discard, &call, NULL);
}

/**
 * imago_image_discard_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_discard_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_discard_finish (ImagoImage *self,
                            GAsyncResult *result,
                            GError **error)
{
  return finish_change (self, result, error);
}

/* ---- durability ---- */

static gpointer
run_flush (gpointer data, ImgCancel *cancel, ImgError **error)
{
  return to_result (img_image_flush (((ImagoImageCall *) data)->core, cancel, error));
}

/**
 * imago_image_flush:
 * @self: an #ImagoImage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Makes everything durable that was written before this was called, in the file of the image and in its
 * external data file. If the image cannot be written this does nothing. A flush that has begun runs to its
 * end, whether cancelled or not; but its caller need not wait for an #ImagoStorage of the application or a stream:
 * %G_IO_ERROR_CANCELLED says that nothing is known to be durable. That is no failure: flush again.
 *
 * Any other failure is final: nobody knows what has reached the disk. From then on the image can only be read, and
 * what changes or flushes it fails with %IMAGO_ERROR_FLUSH_FAILED. Open the image anew to go on with what
 * is in the file.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_flush (ImagoImage *self,
                   GCancellable *cancellable,
                   GError **error)
{
  ImagoImageCall call = { 0 };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return make_change (self, run_flush, &call, NULL, cancellable, error);
}

/**
 * imago_image_flush_async:
 * @self: an #ImagoImage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is flushed
 * @user_data: data for @callback
 *
 * Starts to make everything durable that was written before; see imago_image_flush(). Changes that are in
 * flight are not waited for: they may be part of it or not.
 *
 * Since: 1.0
 */
void
imago_image_flush_async (ImagoImage *self,
                         int io_priority,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data)
{
  const ImagoImageCall call = { 0 };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_flush_async, G_STRFUNC, io_priority, cancellable, callback, user_data);
  start_change (self, task, run_flush, &call, NULL);
}

void
imago_image_flush_task (ImagoImage *self, GTask *task)
{
  const ImagoImageCall call = { 0 };

  start_change (self, task, run_flush, &call, NULL);
}

/**
 * imago_image_flush_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_flush_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_flush_finish (ImagoImage *self,
                          GAsyncResult *result,
                          GError **error)
{
  return finish_change (self, result, error);
}
