/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-create-options-private.h"
#include "imago-error-private.h"
#include "imago-image-private.h"
#include "imago-storage-private.h"

/* What came of it; the ImagoImage is made where the application is. */
typedef struct
{
  ImgImage *core;
  ImgPolicy *policy;
} Created;

static void
created_free (gpointer data)
{
  Created *created = data;

  g_clear_pointer (&created->core, imago_image_release_core);
  img_policy_unref (created->policy);
  g_free (created);
}

static gpointer
run_create (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoCreation *creation = data;
  ImgImage *core = img_image_create (&creation->creation, cancel, error);
  Created *created;

  if (core == NULL)
    return NULL;
  created = g_new (Created, 1);
  *created = (Created) { core, img_policy_ref (creation->creation.policy) };
  return created;
}

static gboolean
may_hang (const ImgCreation *creation)
{
  return (creation->storage != NULL && creation->storage->may_hang) ||
         (creation->data_storage != NULL && creation->data_storage->may_hang) ||
         (creation->backing_image != NULL && img_image_may_hang (creation->backing_image)) ||
         (creation->policy != NULL && creation->policy->may_hang);
}

/* Takes @creation. */
static ImagoRequestWork
make_work (ImagoCreation *creation)
{
  return (ImagoRequestWork) {
    .run = run_create,
    .data = creation,
    .free_data = imago_creation_free,
    .free_result = created_free,
    .flags = may_hang (&creation->creation) ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE,
  };
}

/* The objects of the application that the new image keeps. */
typedef struct
{
  ImagoStorage *storage; /* owned, as is the next one; nullable */
  ImagoImage *backing;
} Kept;

static Kept *
kept_new (ImagoStorage *storage, ImagoCreateOptions *options)
{
  Kept *kept = g_new0 (Kept, 1);

  g_set_object (&kept->storage, storage);
  g_set_object (&kept->backing, imago_create_options_get_backing_image (options));
  return kept;
}

static void
kept_free (gpointer data)
{
  Kept *kept = data;

  g_clear_object (&kept->storage);
  g_clear_object (&kept->backing);
  g_free (kept);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Kept, kept_free)

/* Takes @created, which may be NULL. */
static ImagoImage *
make_image (Created *created, Kept *kept)
{
  ImagoImage *self;

  if (created == NULL)
    return NULL;
  self = imago_image_new_from_core (g_steal_pointer (&created->core), g_steal_pointer (&kept->storage),
                                    g_steal_pointer (&created->policy), FALSE);
  self->backing_is_set = kept->backing != NULL;
  self->backing = g_steal_pointer (&kept->backing);
  created_free (created);
  return self;
}

static ImagoImage *
create (GFile *file,
        ImagoStorage *storage,
        ImagoCreateOptions *options,
        GCancellable *cancellable,
        GError **error)
{
  g_autoptr (Kept) kept = kept_new (storage, options);
  ImagoCreation *creation;
  ImgError *core_error = NULL;
  ImagoRequestWork work;

  creation = imago_create_options_to_core (options, file, storage, &core_error);
  if (creation == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  work = make_work (creation);
  return make_image (imago_request_run_work (&work, cancellable, error), kept);
}

/* Takes @task. */
static void
start_create (GTask *task, GFile *file, ImagoStorage *storage, ImagoCreateOptions *options)
{
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImagoCreation *creation;
  ImagoRequestWork work;

  /* The image is there when the answer comes: cancelling late does not hide that. */
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_task_data (task, kept_new (storage, options), kept_free);
  creation = imago_create_options_to_core (options, file, storage, &core_error);
  if (creation != NULL)
    {
      work = make_work (creation);
      imago_request_start (task, &work);
      return;
    }
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
}

static ImagoImage *
finish_create (GAsyncResult *result, GError **error)
{
  GTask *task = G_TASK (result);

  return make_image (g_task_propagate_pointer (task, error), g_task_get_task_data (task));
}

/**
 * imago_image_create: (constructor)
 * @file: a local file, which does not exist yet
 * @options: (nullable): what the image shall be like, or %NULL for the defaults
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Creates a disk image and opens it for writing.
 *
 * The file appears under its name only when the image is complete, and it is durable then. After a
 * failure, a cancellation or a crash there is nothing, or, with #ImagoCreateOptions:overwrite, what
 * was there before. A file that another program has open as an image is not replaced. A block device
 * is written in place: an interrupted call leaves it without an image.
 *
 * With a backing file, its format is recorded in the new image too, so
 * #ImagoCreateOptions:backing-format must be given. %IMAGO_ERROR_REFERENCE_LOOP is the answer when
 * the backing image would refer to the new file, directly or through others.
 *
 * Returns: (transfer full): the new image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_create (GFile *file,
                    ImagoCreateOptions *options,
                    GCancellable *cancellable,
                    GError **error)
{
  g_return_val_if_fail (G_IS_FILE (file), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return create (file, NULL, options, cancellable, error);
}

/**
 * imago_image_create_async:
 * @file: a local file, which does not exist yet
 * @options: (nullable): what the image shall be like, or %NULL for the defaults
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is there
 * @user_data: data for @callback
 *
 * Starts to create a disk image; see imago_image_create(). Later changes of @options have no
 * effect.
 *
 * Since: 1.0
 */
void
imago_image_create_async (GFile *file,
                          ImagoCreateOptions *options,
                          int io_priority,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  GTask *task;

  g_return_if_fail (G_IS_FILE (file));
  g_return_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_image_create_async);
  g_task_set_priority (task, io_priority);
  start_create (task, file, NULL, options);
}

/**
 * imago_image_create_finish:
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_create_async() began.
 *
 * Returns: (transfer full): the new image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_create_finish (GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_image_create_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return finish_create (result, error);
}

/**
 * imago_image_create_storage: (constructor)
 * @storage: where the image shall be stored
 * @options: (nullable): what the image shall be like, or %NULL for the defaults
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Creates a disk image in a storage and opens it for writing, as imago_image_create() does in a file.
 *
 * The storage must be writable, and empty unless #ImagoCreateOptions:overwrite is set. It is written in place and
 * flushed at the end: a call that fails or is cancelled leaves something that is no image. Cancelling does not wait for the
 * hook of a storage or for a stream, which may write what they have been asked for later. A storage whose size
 * is fixed, such as an #ImagoWindowStorage, must have room for what the format writes first.
 *
 * Nothing lies beside a storage that is not a file: a relative name of a backing file cannot be checked there. Give
 * #ImagoCreateOptions:backing-image and #ImagoCreateOptions:backing-name, or leave
 * #ImagoCreateOptions:check-backing out. A data file may be a storage, too: #ImagoCreateOptions:data-storage.
 *
 * Returns: (transfer full): the new image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_create_storage (ImagoStorage *storage,
                            ImagoCreateOptions *options,
                            GCancellable *cancellable,
                            GError **error)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (storage), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return create (NULL, storage, options, cancellable, error);
}

/**
 * imago_image_create_storage_async:
 * @storage: where the image shall be stored
 * @options: (nullable): what the image shall be like, or %NULL for the defaults
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is there
 * @user_data: data for @callback
 *
 * Starts to create a disk image in a storage; see imago_image_create_storage(). Later changes of @options have no
 * effect.
 *
 * Since: 1.0
 */
void
imago_image_create_storage_async (ImagoStorage *storage,
                                  ImagoCreateOptions *options,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data)
{
  GTask *task;

  g_return_if_fail (IMAGO_IS_STORAGE (storage));
  g_return_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_image_create_storage_async);
  g_task_set_priority (task, io_priority);
  start_create (task, NULL, storage, options);
}

/**
 * imago_image_create_storage_finish:
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_create_storage_async() began.
 *
 * Returns: (transfer full): the new image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_create_storage_finish (GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_image_create_storage_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return finish_create (result, error);
}
