/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-format-private.h"
#include "imago-image-private.h"
#include "imago-image-stream.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-image
 * @title: ImagoImage
 * @short_description: One open disk
 *
 * #ImagoImage opens a disk, describes it, maps it, reads it and writes it.
 */

/**
 * ImagoImage:
 *
 * One open disk image. It shows the disk as the guest sees it: a flat array of bytes, whatever the
 * format, with the backing images shining through.
 *
 * An image is opened in one step, imago_image_open(), or in two: with
 * #ImagoOpenOptions:defer-references it can be looked at before the files it refers to are opened,
 * and be given another backing image.
 *
 * It may be used from any thread, and from several at once; only the two phases of opening follow
 * each other. The callback of an asynchronous call runs in the main context that was the
 * thread-default one where the call was made, never before that returns. Requests whose data is in
 * memory are answered without a worker thread.
 *
 * An image that was opened with #ImagoOpenOptions:writable can be written by any number of threads at
 * once, and read meanwhile. Nothing that was written is durable before imago_image_flush() or
 * imago_image_close() has said so.
 *
 * Dropping the last reference never waits. What is in flight keeps what it needs and is answered. An
 * image that can be written is flushed afterwards, without anybody being told when or whether that went
 * well (a failure is only logged), and not at all if the program ends before: close it.
 *
 * Since: 1.0
 */

enum
{
  PROP_0,
  PROP_SIZE,
  PROP_FORMAT,
  PROP_STORAGE,
  PROP_WRITABLE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoImage, imago_image, G_TYPE_OBJECT)

static void
imago_image_dispose (GObject *object)
{
  ImagoImage *self = IMAGO_IMAGE (object);

  g_clear_object (&self->backing);
  g_clear_object (&self->storage);
  G_OBJECT_CLASS (imago_image_parent_class)->dispose (object);
}

static void
imago_image_finalize (GObject *object)
{
  ImagoImage *self = IMAGO_IMAGE (object);

  imago_image_state_unref (self->state);
  img_policy_unref (self->policy);
  img_mutex_clear (&self->mutex);
  G_OBJECT_CLASS (imago_image_parent_class)->finalize (object);
}

static void
imago_image_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoImage *self = IMAGO_IMAGE (object);

  switch (id)
    {
    case PROP_SIZE:
      g_value_set_uint64 (value, imago_image_get_size (self));
      break;
    case PROP_FORMAT:
      g_value_set_object (value, self->format);
      break;
    case PROP_STORAGE:
      g_value_set_object (value, imago_image_get_storage (self));
      break;
    case PROP_WRITABLE:
      g_value_set_boolean (value, self->writable);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_image_class_init (ImagoImageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = imago_image_dispose;
  object_class->finalize = imago_image_finalize;
  object_class->get_property = imago_image_get_property;

  /**
   * ImagoImage:size:
   *
   * The size of the disk in bytes. imago_image_resize() changes it.
   *
   * Since: 1.0
   */
  properties[PROP_SIZE] =
    g_param_spec_uint64 ("size", "Size", "The size of the disk in bytes", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoImage:format:
   *
   * The format of the image.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT] =
    g_param_spec_object ("format", "Format", "The format of the image", IMAGO_TYPE_FORMAT, flags);
  /**
   * ImagoImage:storage:
   *
   * Where the image is stored; see imago_image_get_storage().
   *
   * Since: 1.0
   */
  properties[PROP_STORAGE] = g_param_spec_object (
    "storage", "Storage", "What the image is stored in", IMAGO_TYPE_STORAGE, flags);
  /**
   * ImagoImage:writable:
   *
   * Whether the image was opened for writing; see #ImagoOpenOptions:writable.
   *
   * Since: 1.0
   */
  properties[PROP_WRITABLE] = g_param_spec_boolean (
    "writable", "Writable", "Whether the image was opened for writing", FALSE, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_image_init (ImagoImage *self)
{
  img_mutex_init (&self->mutex);
  self->state = imago_image_state_new (NULL);
}

ImagoImage *
imago_image_new_from_core (ImgImage *core,
                           ImagoStorage *storage,
                           ImgPolicy *policy,
                           gboolean guessed)
{
  ImagoImage *self = g_object_new (IMAGO_TYPE_IMAGE, NULL);

  imago_image_state_unref (self->state);
  self->state = imago_image_state_new (core);
  self->writable = img_image_is_writable (core);
  self->format = imago_format_from_driver (img_image_get_layout (core)->driver);
  self->storage = storage;
  self->policy = policy;
  self->guessed = guessed;
  return self;
}

/* ---- what it is ---- */

/**
 * imago_image_get_size:
 * @self: an #ImagoImage
 *
 * Gets the size of the disk. It can still be asked for when the image is closed.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
guint64
imago_image_get_size (ImagoImage *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), 0);

  return __atomic_load_n (&self->state->size, __ATOMIC_RELAXED);
}

/**
 * imago_image_get_writable:
 * @self: an #ImagoImage
 *
 * Gets whether the image was opened for writing. It can still be asked for when the image is closed.
 *
 * Returns: %TRUE if the disk can be changed
 *
 * Since: 1.0
 */
gboolean
imago_image_get_writable (ImagoImage *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);

  return self->writable;
}

void
imago_image_notify_size (ImagoImage *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_SIZE]);
}

/**
 * imago_image_get_format:
 * @self: an #ImagoImage
 *
 * Gets the format of the image, which may have been guessed.
 *
 * Returns: (transfer none): the format
 *
 * Since: 1.0
 */
ImagoFormat *
imago_image_get_format (ImagoImage *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  return self->format;
}

/* An object for a file that the image opened by itself is made only when somebody asks for it: it
 * keeps the file open beyond the closing of the image. */
static ImagoStorage *
make_storage (ImagoImage *self)
{
  ImgEpochTicket ticket;
  ImagoStorage *made;
  ImgImage *core;

  core = imago_image_state_enter (self->state, &ticket);
  if (core == NULL)
    return NULL;
  made = imago_storage_new_from_core (img_image_get_storage (core));
  imago_image_state_leave (self->state, ticket);
  if (!g_atomic_pointer_compare_and_exchange (&self->storage, NULL, made))
    g_object_unref (made);
  return g_atomic_pointer_get (&self->storage);
}

/**
 * imago_image_get_storage:
 * @self: an #ImagoImage
 *
 * Gets the storage of the image: the one it was opened with, or the file. Once it has been asked
 * for, the file stays open as long as the image object or the storage exists, though the image be
 * closed.
 *
 * Returns: (transfer none) (nullable): the storage, or %NULL if the image was closed before anybody
 * asked
 *
 * Since: 1.0
 */
ImagoStorage *
imago_image_get_storage (ImagoImage *self)
{
  ImagoStorage *storage;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  storage = g_atomic_pointer_get (&self->storage);
  return storage != NULL ? storage : make_storage (self);
}

/* Two threads may make two objects at first; one of them stays. */
static ImagoImage *
make_backing (ImagoImage *self)
{
  ImagoImage *made = NULL;
  ImgEpochTicket ticket;
  ImgImage *core;

  core = imago_image_state_enter (self->state, &ticket);
  if (core == NULL)
    return NULL;
  core = img_image_get_backing (core);
  if (core != NULL)
    made = imago_image_new_from_core (img_image_ref (core), NULL, NULL, FALSE);
  imago_image_state_leave (self->state, ticket);
  return made;
}

/**
 * imago_image_dup_backing:
 * @self: an #ImagoImage
 *
 * Gets the image that shows through where this one has no data: what imago_image_set_backing() was
 * given, or the backing file once the references are open. It is the same object each time.
 *
 * Returns: (transfer full) (nullable): the backing image, or %NULL if there is none
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_dup_backing (ImagoImage *self)
{
  g_autoptr (ImagoImage) made = NULL;
  ImagoImage *backing;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  img_mutex_lock (&self->mutex);
  backing = self->backing != NULL ? g_object_ref (self->backing) : NULL;
  img_mutex_unlock (&self->mutex);
  if (backing != NULL)
    return backing;

  made = make_backing (self);
  img_mutex_lock (&self->mutex);
  if (self->backing == NULL)
    self->backing = g_steal_pointer (&made);
  backing = self->backing != NULL ? g_object_ref (self->backing) : NULL;
  img_mutex_unlock (&self->mutex);
  return backing;
}

/* ---- closing ---- */

/**
 * imago_image_close:
 * @self: an #ImagoImage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Waits for calls, requests and jobs that use the image, flushes it if it can be written, then releases
 * its files. Calls that are made after this one fail with %IMAGO_ERROR_CLOSED; closing again does nothing
 * and has the same result.
 *
 * When this returns %TRUE, everything that was written is durable. If flushing fails, the image is closed
 * all the same and what was written since its last flush may be lost.
 *
 * An image that is the backing image of another one goes on serving that. If @cancellable is
 * cancelled before the closing has begun, the image stays open; later, only the waiting ends and the
 * image is closed as soon as nothing uses it. A flush that has begun runs to its end; that of an #ImagoStorage of the
 * application or a stream is not waited for.
 *
 * Do not call this where what it waits for needs the calling thread: from a reference policy that is
 * asked by a call on the same image, or while such a policy has yet to answer in this thread's main
 * context. imago_image_close_async() waits for nobody.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_close (ImagoImage *self, GCancellable *cancellable, GError **error)
{
  ImgError *core_error = NULL;
  ImagoCancelBridge bridge;
  ImgCancel *cancel;
  gboolean success;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  imago_lanes_gather (self);
  cancel = imago_cancel_bridge_begin (&bridge, cancellable);
  success = imago_image_state_close (self->state, cancel, &core_error);
  imago_cancel_bridge_end (&bridge);
  if (!success)
    imago_error_take (error, core_error);
  return success;
}

/**
 * imago_image_close_async:
 * @self: an #ImagoImage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is closed
 * @user_data: data for @callback
 *
 * Starts to close the image; see imago_image_close(). Requests that are in flight are answered. Cancelling hides the result
 * only if the image lies in an #ImagoStorage of the application or in a stream, which is not waited for.
 *
 * Since: 1.0
 */
void
imago_image_close_async (ImagoImage *self,
                         int io_priority,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data)
{
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_close_async, G_STRFUNC, io_priority, cancellable,
                               callback, user_data);
  if (imago_request_is_cancelled (task))
    return;
  /* From here on it will be closed, and cancelling does not hide that. */
  g_task_set_check_cancellable (task, FALSE);
  imago_lanes_gather (self);
  imago_image_state_close_async (self->state, task);
}

/**
 * imago_image_close_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_close_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set. Only if the error is %G_IO_ERROR_CANCELLED the image may still be open: it is
 *   if it was cancelled before the call, else it is closed as soon as nothing uses it
 *
 * Since: 1.0
 */
gboolean
imago_image_close_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- reading ---- */

typedef struct
{
  ImagoImageCall call;
  const struct iovec *vectors;
} VectorCall;

static gpointer
run_readv (gpointer data, ImgCancel *cancel, ImgError **error)
{
  VectorCall *vector = data;
  ImagoImageCall *call = &vector->call;

  return img_image_readv (call->core, call->offset, vector->vectors, call->max, cancel, error)
           ? IMAGO_REQUEST_DONE
           : NULL;
}

static gpointer
run_read_at (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;

  return img_image_read (call->core, call->offset, call->data, call->length, cancel, error)
           ? IMAGO_REQUEST_DONE
           : NULL;
}

/* The range is checked before the memory is asked for: a wrong count should not read as a lack of
 * memory. */
static gpointer
run_read_bytes (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  guint8 *buffer;

  if (!img_range_fits (call->offset, call->length, img_image_get_size (call->core)))
    {
      img_image_read (call->core, call->offset, NULL, call->length, cancel, error); /* to say so */
      return NULL;
    }
  buffer = imago_buffer_new (call->length, error);
  if (buffer == NULL)
    return NULL;
  if (img_image_read (call->core, call->offset, buffer, call->length, cancel, error))
    return imago_buffer_to_bytes (buffer, call->length);
  imago_buffer_free (buffer, call->length);
  return NULL;
}

static gboolean
retry_read_bytes (gpointer data, gpointer *result, ImgError **error)
{
  ImagoImageCall *call = data;
  guint8 *buffer = imago_buffer_new (call->length, NULL);
  ImgTryResult tried;

  if (buffer == NULL)
    return FALSE; /* the worker will say so */
  tried = img_image_retry_read (call->core, call->offset, buffer, call->length, error);
  if (tried == IMG_TRY_DONE)
    *result = imago_buffer_to_bytes (buffer, call->length);
  else
    imago_buffer_free (buffer, call->length);
  return tried != IMG_TRY_WOULD_BLOCK;
}

static gboolean
retry_read_at (gpointer data, gpointer *result, ImgError **error)
{
  ImagoImageCall *call = data;
  ImgTryResult tried = img_image_retry_read (call->core, call->offset, call->data, call->length, error);

  if (tried == IMG_TRY_DONE)
    *result = IMAGO_REQUEST_DONE;
  return tried != IMG_TRY_WOULD_BLOCK;
}

/* Into memory of the caller's by way of memory that nobody has to wait for. */
static gboolean
read_by_way (ImagoImage *self,
             guint64 offset,
             const struct iovec *vectors,
             guint n_vectors,
             GCancellable *cancellable,
             GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = img_iov_size (vectors, n_vectors) };
  ImgIovCursor cursor = img_iov_cursor (vectors, n_vectors);
  g_autoptr (GBytes) bytes = NULL;

  bytes = imago_image_call (self, run_read_bytes, &call, NULL, (GDestroyNotify) g_bytes_unref,
                           IMAGO_REQUEST_ABANDON, cancellable, error);
  if (bytes == NULL)
    return FALSE;
  if (call.length > 0)
    img_iov_cursor_copy (&cursor, g_bytes_get_data (bytes, NULL), (gsize) call.length);
  return TRUE;
}

/* Connecting to a cancellable costs as much as a hot read: what needs no waiting is read without.
 */
static gboolean
read_cancellable (ImagoImage *self,
                  guint64 offset,
                  gpointer buffer,
                  gsize count,
                  GCancellable *cancellable,
                  GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = count, .data = buffer };
  ImgTryResult result = IMG_TRY_WOULD_BLOCK;
  ImgEpochTicket ticket;
  ImgImage *core;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  core = imago_image_state_enter (self->state, &ticket);
  if (core != NULL)
    {
      if (count <= IMAGO_INLINE_MAX)
        result = img_image_try_read (core, offset, buffer, count, NULL, NULL);
      imago_image_state_leave (self->state, ticket);
    }
  if (result == IMG_TRY_DONE)
    return TRUE;
  if (imago_image_may_hang (self))
    return read_by_way (self, offset, &(struct iovec) { buffer, count }, 1, cancellable, error);
  return imago_image_call (self, run_read_at, &call, NULL, NULL, IMAGO_REQUEST_BORROWS, cancellable, error) != NULL;
}

gboolean
imago_image_read (ImagoImage *self,
                  guint64 offset,
                  gpointer buffer,
                  gsize count,
                  GCancellable *cancellable,
                  GError **error)
{
  ImgError *core_error = NULL;
  ImgEpochTicket ticket;
  gboolean success = FALSE;
  ImgImage *core;

  if (cancellable != NULL)
    return read_cancellable (self, offset, buffer, count, cancellable, error);
  core = imago_image_state_enter_to_wait (self->state, &ticket, &core_error);
  if (G_LIKELY (core != NULL))
    {
      success = img_image_read (core, offset, buffer, count, NULL, &core_error);
      imago_image_state_leave (self->state, ticket);
    }
  if (G_UNLIKELY (!success))
    imago_error_take (error, core_error);
  return success;
}

/**
 * imago_image_read_at: (skip)
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @buffer: (out caller-allocates) (array length=count) (element-type guint8): memory for the bytes
 * @count: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Reads bytes of the disk into memory of the caller, for C. A range that reaches past the end of
 * the disk is %IMAGO_ERROR_OUT_OF_RANGE. When this returns, nothing touches @buffer any more,
 * whatever the result; after a failure its content is undefined.
 *
 * Returns: %TRUE if all of @buffer was filled, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_read_at (ImagoImage *self,
                     guint64 offset,
                     void *buffer,
                     gsize count,
                     GCancellable *cancellable,
                     GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (buffer != NULL || count == 0, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return imago_image_read (self, offset, buffer, count, cancellable, error);
}

/**
 * imago_image_readv_at: (skip)
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @vectors: (array length=n_vectors): the pieces of memory to fill one after the other
 * @n_vectors: how many there are; any number
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Reads bytes of the disk into memory of the caller as imago_image_read_at() does.
 *
 * Returns: %TRUE if all of the memory was filled, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_readv_at (ImagoImage *self,
                      guint64 offset,
                      const struct iovec *vectors,
                      gsize n_vectors,
                      GCancellable *cancellable,
                      GError **error)
{
  VectorCall vector = { { .offset = offset, .max = (guint) n_vectors }, vectors };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (vectors != NULL || n_vectors == 0, FALSE);
  g_return_val_if_fail (n_vectors <= G_MAXINT, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (cancellable != NULL && imago_image_may_hang (self))
    return read_by_way (self, offset, vectors, (guint) n_vectors, cancellable, error);
  return imago_image_call (self, run_readv, &vector.call, NULL, NULL, IMAGO_REQUEST_BORROWS, cancellable, error) != NULL;
}

/**
 * imago_image_read_bytes:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @count: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Reads bytes of the disk. A range that reaches past its end is %IMAGO_ERROR_OUT_OF_RANGE.
 *
 * Returns: (transfer full): exactly @count bytes, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_image_read_bytes (ImagoImage *self,
                        guint64 offset,
                        gsize count,
                        GCancellable *cancellable,
                        GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = count };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_read_bytes, &call, NULL, (GDestroyNotify) g_bytes_unref,
                           IMAGO_REQUEST_ABANDON, cancellable, error);
}

static void
deliver_bytes (GTask *task, gpointer data)
{
  g_task_return_pointer (task, data, (GDestroyNotify) g_bytes_unref);
}

static ImgTryResult
try_read (ImagoImage *self,
          ImagoLane *lane,
          guint64 offset,
          guint8 *buffer,
          gsize count,
          ImgMiss *miss,
          ImgError **error)
{
  ImgEpochTicket ticket;
  ImgTryResult result;
  gint64 begun;
  ImgImage *core;

  core = imago_image_state_enter (self->state, &ticket);
  if (G_UNLIKELY (core == NULL))
    {
      imago_image_set_closed_error (error);
      return IMG_TRY_ERROR;
    }
  begun = imago_lane_begin (lane, count);
  result = img_image_try_read (core, offset, buffer, count, miss, error);
  imago_lane_end (lane, count, begun);
  imago_lane_count (lane, result != IMG_TRY_WOULD_BLOCK);
  imago_image_state_leave (self->state, ticket);
  return result;
}

/* TRUE if @task was taken and will be answered. */
static gboolean
read_bytes_inline (ImagoImage *self, GTask *task, guint64 offset, gsize count, ImgMiss *miss)
{
  ImagoLane *lane = imago_lane_find (task);
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImgTryResult result;
  guint8 *buffer;

  if (G_UNLIKELY (!imago_lane_may_inline (lane, count)))
    return FALSE;
  buffer = imago_buffer_new (count, NULL);
  if (G_UNLIKELY (buffer == NULL))
    return FALSE; /* the worker will say so */
  result = try_read (self, lane, offset, buffer, count, miss, &core_error);
  if (G_LIKELY (result == IMG_TRY_DONE))
    {
      imago_lane_push (lane, task, deliver_bytes, imago_buffer_to_bytes (buffer, count));
      return TRUE;
    }
  imago_buffer_free (buffer, count);
  if (result == IMG_TRY_WOULD_BLOCK)
    return FALSE;
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
  return TRUE;
}

void
imago_image_start_read (ImagoImage *self, GTask *task, guint64 offset, gsize count)
{
  ImagoImageCall call = { .offset = offset, .length = count, .retry = retry_read_bytes };

  if (imago_request_is_cancelled (task) || G_LIKELY (read_bytes_inline (self, task, offset, count, &call.miss)))
    return;
  g_task_set_name (task, "imago_image_read_bytes_async");
  imago_image_call_async (self, task, run_read_bytes, &call, NULL, (GDestroyNotify) g_bytes_unref,
                          IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_read_bytes_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @count: how many bytes
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are there
 * @user_data: data for @callback
 *
 * Starts to read bytes of the disk; see imago_image_read_bytes(). Any number of reads may be in
 * flight.
 *
 * A cancelled read is answered at once, though the library may go on reading into memory of its
 * own.
 *
 * Since: 1.0
 */
void
imago_image_read_bytes_async (ImagoImage *self,
                              guint64 offset,
                              gsize count,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data)
{
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  /* Without the macro, which copies the name of the function: that is left to the slow way below.
   */
  (g_task_set_source_tag) (task, imago_image_read_bytes_async);
  g_task_set_priority (task, io_priority);
  if (!imago_image_gather_read (self, task, offset, count))
    imago_image_start_read (self, task, offset, count);
}

/**
 * imago_image_read_bytes_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_read_bytes_async() began.
 *
 * Returns: (transfer full): exactly as many bytes as were asked for, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_image_read_bytes_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
deliver_done (GTask *task, gpointer data)
{
  g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
}

/* A read into memory of the caller's, by way of memory that nobody has to wait for. */
typedef struct
{
  GTask *task; /* owned, to be answered */
  gpointer buffer;
} Landing;

static void
landed_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Landing *landing = data;
  GError *error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &error);
  gsize count;
  gconstpointer memory;

  if (bytes == NULL)
    g_task_return_error (landing->task, error);
  else
    {
      memory = g_bytes_get_data (bytes, &count);
      if (count > 0)
        img_copy (landing->buffer, memory, count);
      g_task_return_pointer (landing->task, IMAGO_REQUEST_DONE, NULL);
    }
  g_object_unref (landing->task);
  g_free (landing);
}

static void
read_task_by_way (ImagoImage *self, GTask *task, guint64 offset, gpointer buffer, gsize count)
{
  Landing *landing = g_new (Landing, 1);

  *landing = (Landing) { task, buffer };
  imago_image_read_bytes_async (self, offset, count, g_task_get_priority (task), g_task_get_cancellable (task),
                                landed_cb, landing);
}

/* Into memory of the caller: unless it goes by way of other memory, nothing is answered before the I/O has ended. */
void
imago_image_read_task (ImagoImage *self, GTask *task, guint64 offset, gpointer buffer, gsize count)
{
  ImagoImageCall call = { .offset = offset, .length = count, .data = buffer, .retry = retry_read_at };
  ImagoLane *lane = imago_lane_find (task);

  if (imago_lane_may_inline (lane, count) &&
      try_read (self, lane, offset, buffer, count, &call.miss, NULL) == IMG_TRY_DONE)
    imago_lane_push (lane, task, deliver_done, NULL);
  else if (g_task_get_cancellable (task) != NULL && imago_image_may_hang (self))
    {
      img_miss_clear (&call.miss);
      read_task_by_way (self, task, offset, buffer, count);
    }
  else
    imago_image_call_async (self, task, run_read_at, &call, NULL, NULL, IMAGO_REQUEST_BORROWS);
}

/**
 * imago_image_create_input_stream:
 * @self: an #ImagoImage
 *
 * Makes a stream that reads the disk from its beginning. It can seek (#GSeekable); at the end of
 * the disk reads are short, then empty. Closing it does not close the image.
 *
 * Like every stream it is used by one thread at a time, but any number of streams may read one
 * image at once.
 *
 * Returns: (transfer full): a new #GInputStream
 *
 * Since: 1.0
 */
GInputStream *
imago_image_create_input_stream (ImagoImage *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  return imago_image_input_stream_new (imago_stream_place_new (self));
}

/**
 * imago_image_create_io_stream:
 * @self: an #ImagoImage
 *
 * Makes a stream that reads and writes the disk from its beginning. It can seek (#GSeekable), and both of
 * its sides share one position, as those of a #GFileIOStream do. At the end of the disk reads are short,
 * then empty; writes are short, then fail with %G_IO_ERROR_NO_SPACE. g_seekable_truncate() changes the size
 * of the disk as imago_image_resize() does, and may make it smaller. If the image was not opened for writing,
 * writing fails with %IMAGO_ERROR_READ_ONLY.
 *
 * Flushing the output side, and closing it or the whole stream, flushes the image. Closing does not close
 * the image. A stream that is dropped without having been closed does not flush: nothing ever waits for
 * that; imago_image_flush() or imago_image_close() is still to come.
 *
 * Like every stream it is used by one thread at a time, but any number of streams may use one image
 * at once.
 *
 * Returns: (transfer full): a new #GIOStream
 *
 * Since: 1.0
 */
GIOStream *
imago_image_create_io_stream (ImagoImage *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  return imago_image_io_stream_new (self);
}
