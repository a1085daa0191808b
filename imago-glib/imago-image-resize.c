/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Changing the size of the disk of an image. */

#include "config.h"

#include "imago-image-private.h"

G_STATIC_ASSERT ((int) IMAGO_PREALLOCATION_NONE == (int) IMG_PREALLOCATE_OFF);
G_STATIC_ASSERT ((int) IMAGO_PREALLOCATION_METADATA == (int) IMG_PREALLOCATE_METADATA);
G_STATIC_ASSERT ((int) IMAGO_PREALLOCATION_FALLOC == (int) IMG_PREALLOCATE_FALLOC);
G_STATIC_ASSERT ((int) IMAGO_PREALLOCATION_FULL == (int) IMG_PREALLOCATE_FULL);

static gpointer
run_resize (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  gboolean success =
    img_image_resize (call->core, call->length, (call->mode & IMAGO_RESIZE_MAY_SHRINK) != 0,
                      (ImgPreallocate) call->mode2, NULL, cancel, error);

  /* Also after a failure: a disk that became smaller does so first. */
  __atomic_store_n (&call->state->size, img_image_get_size (call->core), __ATOMIC_RELAXED);
  return success ? IMAGO_REQUEST_DONE : NULL;
}

/* Who tells of the new size. References: one for the caller or its task, and one for whoever does the work. If the caller
 * was told, it has notified; else the last of both has that done in the main context of the caller. */
typedef struct
{
  ImgRefCount ref_count;
  GWeakRef image;
  GMainContext *context;
  gboolean is_told;
} SizeNews;

/* A worker that attaches a source to a context must not hold the last reference of it then, for it would free what the
 * application has attached there. The news have one, and the callback waits here until the worker is done. */
static ImgMutex attaching = IMG_MUTEX_INIT;

static SizeNews *
size_news_new (ImagoImage *image)
{
  SizeNews *news = g_new0 (SizeNews, 1);

  img_ref_init (&news->ref_count);
  img_ref_inc (&news->ref_count);
  g_weak_ref_init (&news->image, image);
  news->context = g_main_context_ref_thread_default ();
  return news;
}

static void
size_news_free (gpointer data)
{
  SizeNews *news = data;

  g_weak_ref_clear (&news->image);
  g_main_context_unref (news->context);
  g_free (news);
}

static gboolean
notify_size_cb (gpointer data)
{
  g_autoptr (ImagoImage) image = g_weak_ref_get (&((SizeNews *) data)->image);

  img_mutex_lock (&attaching);
  img_mutex_unlock (&attaching);
  if (image != NULL)
    imago_image_notify_size (image);
  return G_SOURCE_REMOVE;
}

/* Takes @news. Not by g_main_context_invoke (), which might call here. */
static G_GNUC_NO_INLINE void
schedule_news (SizeNews *news)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_static_name (source, "[imago] size of an image");
  g_source_set_callback (source, notify_size_cb, news, size_news_free);
  img_mutex_lock (&attaching);
  g_source_attach (source, news->context);
  img_mutex_unlock (&attaching);
}

static void
size_news_unref (gpointer data)
{
  SizeNews *news = data;

  if (!img_ref_dec (&news->ref_count))
    return;
  if (news->is_told)
    size_news_free (news);
  else
    schedule_news (news);
}

/* In the task's context. */
static void
resize_arrived (GTask *task)
{
  ((SizeNews *) g_task_get_task_data (task))->is_told = TRUE;
  imago_image_notify_size (g_task_get_source_object (task));
}

/**
 * imago_image_resize:
 * @self: an #ImagoImage
 * @size: the new size in bytes; it is rounded up to whole sectors of 512 bytes
 * @flags: whether the disk may become smaller
 * @preallocation: what is prepared for the data of the part that is new; %IMAGO_PREALLOCATION_NONE if the disk becomes smaller
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Changes the size of the disk. What is new reads as zero. The image does this alone: it waits for calls
 * that are in flight, and those that come later wait for it.
 *
 * A disk that would become smaller without %IMAGO_RESIZE_MAY_SHRINK is %IMAGO_ERROR_FAILED; a
 * @preallocation that the format does not have, or that makes no sense then, %IMAGO_ERROR_INVALID_OPTION.
 * The new size is durable when this returns %TRUE. After another failure the disk has its old or its new
 * size, and all that is inside both sizes is as it was. Cancelling does not wait for an #ImagoStorage of the application or
 * a stream; other calls on the image do, and #ImagoImage:size may change when these have answered: it is notified then in
 * the main context that was the thread-default one of the caller.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_resize (ImagoImage *self,
                    guint64 size,
                    ImagoResizeFlags flags,
                    ImagoPreallocation preallocation,
                    GCancellable *cancellable,
                    GError **error)
{
  ImagoImageCall call = { .length = size, .mode = flags, .mode2 = preallocation };
  SizeNews *news;
  gboolean success;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (preallocation <= IMAGO_PREALLOCATION_FULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  call.data = news = size_news_new (self);
  success = imago_image_call (self, run_resize, &call, size_news_unref, NULL, IMAGO_REQUEST_NONE, cancellable, error) != NULL;
  news->is_told = success;
  imago_image_notify_size (self);
  size_news_unref (news);
  return success;
}

/**
 * imago_image_resize_async:
 * @self: an #ImagoImage
 * @size: the new size in bytes; it is rounded up to whole sectors of 512 bytes
 * @flags: whether the disk may become smaller
 * @preallocation: what is prepared for the data of the part that is new; %IMAGO_PREALLOCATION_NONE if the disk becomes smaller
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the disk has its new size
 * @user_data: data for @callback
 *
 * Starts to change the size of the disk; see imago_image_resize().
 *
 * Since: 1.0
 */
void
imago_image_resize_async (ImagoImage *self,
                          guint64 size,
                          ImagoResizeFlags flags,
                          ImagoPreallocation preallocation,
                          int io_priority,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  ImagoImageCall call = {
    .length = size,
    .mode = flags,
    .mode2 = preallocation,
    .arrived = resize_arrived,
  };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (preallocation <= IMAGO_PREALLOCATION_FULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_resize_async, G_STRFUNC, io_priority, cancellable, callback, user_data);
  call.data = size_news_new (self);
  g_task_set_task_data (task, call.data, size_news_unref);
  g_task_set_check_cancellable (task, FALSE); /* it is for the core to say whether it was cancelled */
  imago_image_call_async (self, task, run_resize, &call, size_news_unref, NULL, IMAGO_REQUEST_NONE);
}

/**
 * imago_image_resize_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_resize_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_resize_finish (ImagoImage *self,
                           GAsyncResult *result,
                           GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}
