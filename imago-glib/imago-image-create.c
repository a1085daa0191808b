/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-create-options-private.h"
#include "imago-error-private.h"
#include "imago-image-private.h"

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

  img_image_unref (created->core);
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

/* Takes @created, which may be NULL. */
static ImagoImage *
make_image (Created *created)
{
  ImagoImage *self;

  if (created == NULL)
    return NULL;
  self = imago_image_new_from_core (g_steal_pointer (&created->core), NULL,
                                    g_steal_pointer (&created->policy), FALSE);
  created_free (created);
  return self;
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
  ImgError *core_error = NULL;
  ImagoCreation *creation;
  Created *created = NULL;

  g_return_val_if_fail (G_IS_FILE (file), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  creation = imago_create_options_to_core (options, file, &core_error);
  if (creation == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  created = imago_request_run (run_create, creation, cancellable, error);
  imago_creation_free (creation);
  return make_image (created);
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
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImagoRequestWork work = {
    .run = run_create,
    .free_data = imago_creation_free,
    .free_result = created_free,
    .flags = IMAGO_REQUEST_NONE,
  };
  GTask *task;

  g_return_if_fail (G_IS_FILE (file));
  g_return_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_image_create_async);
  g_task_set_priority (task, io_priority);
  /* The file is there when the answer comes: cancelling late does not hide that. */
  g_task_set_check_cancellable (task, FALSE);
  work.data = imago_create_options_to_core (options, file, &core_error);
  if (work.data != NULL)
    {
      imago_request_start (task, &work);
      return;
    }
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
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

  return make_image (g_task_propagate_pointer (G_TASK (result), error));
}
