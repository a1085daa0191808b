/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The state of a virtual machine that an image keeps behind its disk. */

#include "config.h"

#include "imago-buffer-private.h"
#include "imago-image-private.h"

/* ---- reading ---- */

static gpointer
run_read (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  guint8 *buffer = imago_buffer_new (call->length, error);

  if (buffer == NULL)
    return NULL;
  if (img_image_read_vm_state (call->core, call->offset, buffer, call->length, cancel, error))
    return imago_buffer_to_bytes (buffer, call->length);
  imago_buffer_free (buffer, call->length);
  return NULL;
}

/**
 * imago_image_read_vm_state:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes from the start of the state
 * @count: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Reads bytes of the state of a virtual machine, which QEMU keeps behind the end of the disk: of the disk itself, or with
 * #ImagoOpenOptions:snapshot that of the snapshot, of which imago_snapshot_get_vm_state_size() tells the length. What was
 * never written reads as zero, so there is no end but the largest size that a disk can have (%IMAGO_ERROR_OUT_OF_RANGE).
 *
 * A format that has no place for it, and an image with an external data file, refuse with %IMAGO_ERROR_UNSUPPORTED.
 * Meanwhile other requests to the image wait.
 *
 * Returns: (transfer full): exactly @count bytes, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_image_read_vm_state (ImagoImage *self,
                           guint64 offset,
                           gsize count,
                           GCancellable *cancellable,
                           GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = count };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_read, &call, NULL, (GDestroyNotify) g_bytes_unref, IMAGO_REQUEST_ABANDON,
                           cancellable, error);
}

/**
 * imago_image_read_vm_state_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes from the start of the state
 * @count: how many bytes
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are there
 * @user_data: data for @callback
 *
 * Starts to read bytes of the state of a virtual machine; see imago_image_read_vm_state().
 *
 * Since: 1.0
 */
void
imago_image_read_vm_state_async (ImagoImage *self,
                                 guint64 offset,
                                 gsize count,
                                 int io_priority,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data)
{
  ImagoImageCall call = { .offset = offset, .length = count };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_read_vm_state_async, G_STRFUNC, io_priority, cancellable, callback,
                               user_data);
  imago_image_call_async (self, task, run_read, &call, NULL, (GDestroyNotify) g_bytes_unref, IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_read_vm_state_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_read_vm_state_async() began.
 *
 * Returns: (transfer full): exactly as many bytes as were asked for, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_image_read_vm_state_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/* ---- writing ---- */

static gpointer
run_write (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  gsize length;
  gconstpointer bytes = g_bytes_get_data (call->data, &length);

  return img_image_write_vm_state (call->core, call->offset, bytes, length, cancel, error) ? IMAGO_REQUEST_DONE : NULL;
}

/**
 * imago_image_write_vm_state:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes from the start of the state
 * @bytes: what to write
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes bytes of the state of a virtual machine; see imago_image_read_vm_state(). The disk and its size stay what they
 * are. What was written is lost when the disk grows over it. In all else it is like imago_image_write_bytes().
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_vm_state (ImagoImage *self,
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
  return imago_image_call (self, run_write, &call, (GDestroyNotify) g_bytes_unref, NULL, IMAGO_REQUEST_NONE, cancellable,
                           error) != NULL;
}

/**
 * imago_image_write_vm_state_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes from the start of the state
 * @bytes: what to write
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are written
 * @user_data: data for @callback
 *
 * Starts to write bytes of the state of a virtual machine; see imago_image_write_vm_state().
 *
 * Since: 1.0
 */
void
imago_image_write_vm_state_async (ImagoImage *self,
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

  task = imago_image_task_new (self, imago_image_write_vm_state_async, G_STRFUNC, io_priority, cancellable, callback,
                               user_data);
  g_task_set_check_cancellable (task, FALSE);
  g_bytes_ref (bytes);
  imago_image_call_async (self, task, run_write, &call, (GDestroyNotify) g_bytes_unref, NULL, IMAGO_REQUEST_NONE);
}

/**
 * imago_image_write_vm_state_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_write_vm_state_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_write_vm_state_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}
