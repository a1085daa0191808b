/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-error-private.h"
#include "imago-format-private.h"
#include "imago-image-private.h"
#include "imago-open-options-private.h"
#include "imago-reference-policy-private.h"
#include "imago-reference-private.h"
#include "imago-storage-private.h"
#include "imago-stream-core.h"

/* What is asked for, in words of the core: a worker touches no object of the application. */
typedef struct
{
  char *path;          /* this, or one of the next two */
  GFile *remote;       /* owned; without a local path. GFiles may be used on any thread. */
  ImgStorage *storage; /* owned */
  GCancellable *cancellable; /* owned; nullable: of a blocking call, for GIO. May be used on any thread, too. */
  ImgFileFlags file_flags;
  char *format_name;
  char *snapshot;
  ImgImageOptions options;
  gboolean defer_references;
  ImgPolicy *policy;
} Opening;

/* What came of it; the ImagoImage is made where the application is. */
typedef struct
{
  ImgImage *core;
  ImgPolicy *policy;
  gboolean guessed;
} Opened;

static void
opening_free (gpointer data)
{
  Opening *opening = data;

  g_free (opening->path);
  g_clear_object (&opening->remote);
  g_clear_object (&opening->cancellable);
  img_storage_unref (opening->storage);
  g_free (opening->format_name);
  g_free (opening->snapshot);
  img_policy_unref (opening->policy);
  g_free (opening);
}

static void
opened_free (gpointer data)
{
  Opened *opened = data;

  g_clear_pointer (&opened->core, imago_image_release_core);
  img_policy_unref (opened->policy);
  g_free (opened);
}

static Opening *
opening_new (ImagoOpenOptions *options)
{
  Opening *opening = g_new0 (Opening, 1);

  imago_open_options_fill (options, &opening->options);
  opening->format_name = g_strdup (imago_open_options_get_format_name (options));
  opening->snapshot = g_strdup (imago_open_options_get_snapshot (options));
  opening->options.layout.snapshot = opening->snapshot;
  opening->defer_references = imago_open_options_get_defer_references (options);
  opening->file_flags =
    (imago_open_options_get_allow_device (options) ? IMG_FILE_ALLOW_DEVICE : IMG_FILE_NONE) |
    (opening->options.layout.writable ? IMG_FILE_WRITABLE : IMG_FILE_NONE);
  opening->policy =
    imago_reference_policy_to_core (imago_open_options_get_reference_policy (options));
  return opening;
}

/* ---- on whatever thread ---- */

static const ImgDriver *
choose_driver (Opening *opening, ImgStorage *storage, ImgError **error)
{
  g_autofree char *name = NULL;
  const ImgDriver *driver;

  if (opening->format_name == NULL)
    return img_drivers_guess (storage, error);
  driver = img_driver_find (opening->format_name);
  if (driver != NULL)
    return driver;
  name = img_quote_name (opening->format_name);
  img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _("The format %s is not known"), name);
  return NULL;
}

gboolean
imago_image_check_guess (ImgImage *image, gboolean backing_is_set, ImgError **error)
{
  GPtrArray *wanted = img_image_get_wanted (image);

  for (guint i = 0; i < wanted->len; i++)
    {
      const ImgWanted *reference = g_ptr_array_index (wanted, i);
      g_autofree char *name = NULL;

      if (reference->role == IMG_REFERENCE_BACKING_FILE && backing_is_set)
        continue;
      name = img_quote_name (reference->name);
      img_error_set (error, IMG_CODE_REFERENCE_DENIED,
                     _("The image refers to %s, and its format was only guessed: name the format "
                        "to have the reference followed"),
                     name);
      return FALSE;
    }
  return TRUE;
}

static ImgImage *
open_image (Opening *opening, ImgStorage *storage, ImgCancel *cancel, ImgError **error)
{
  ImgImage *image;

  opening->options.driver = choose_driver (opening, storage, error);
  if (opening->options.driver == NULL)
    return NULL;
  image = img_image_open (storage, &opening->options, cancel, error);
  if (image == NULL || opening->defer_references)
    return image;
  if ((opening->format_name != NULL || imago_image_check_guess (image, FALSE, error)) &&
      img_image_open_references (image, opening->policy, cancel, error))
    return image;
  img_image_unref (image);
  return NULL;
}

/* Before the file is opened: nothing that is opened for writing is only guessed. */
static gboolean
check_writing (const Opening *opening, ImgError **error)
{
  if (!opening->options.layout.writable || opening->format_name != NULL)
    return TRUE;
  img_error_set (error, IMG_CODE_INVALID_OPTION,
                 _("An image is opened for writing only if its format is named, not guessed: set "
                   "format-name"));
  return FALSE;
}

static ImgStorage *
open_storage (Opening *opening, ImgError **error)
{
  if (opening->storage != NULL)
    return img_storage_ref (opening->storage);
  if (opening->path != NULL)
    return img_file_storage_open (opening->path, opening->file_flags, error);
  return imago_stream_core_open (opening->remote, opening->options.layout.writable, opening->cancellable,
                                 error);
}

/* What messages call it, quoted; NULL if it has no name. */
static char *
quote_name (Opening *opening, ImgStorage *storage)
{
  g_autofree char *uri = NULL;

  if (opening->remote != NULL)
    {
      uri = g_file_get_uri (opening->remote);
      return img_quote_name (uri);
    }
  if (storage == NULL || img_storage_get_name (storage) == NULL)
    return NULL;
  return img_quote_name (img_storage_get_name (storage));
}

static gpointer
run_open (gpointer data, ImgCancel *cancel, ImgError **error)
{
  Opening *opening = data;
  g_autoptr (ImgStorage) storage = NULL;
  ImgImage *image = NULL;
  Opened *opened;

  if (!check_writing (opening, error))
    return NULL;
  storage = open_storage (opening, error);
  if (storage != NULL)
    image = open_image (opening, storage, cancel, error);
  if (image == NULL)
    {
      g_autofree char *name = quote_name (opening, storage);

      if (name != NULL)
        img_error_prefix (error, _("Cannot open %s: "), name);
      return NULL;
    }
  opened = g_new (Opened, 1);
  *opened = (Opened) { image, img_policy_ref (opening->policy), opening->format_name == NULL };
  return opened;
}

/* ---- where the application is ---- */

/* Takes @opened and @storage, both nullable. */
static ImagoImage *
make_image (Opened *opened, ImagoStorage *storage)
{
  ImagoImage *self;

  if (opened == NULL)
    {
      g_clear_object (&storage);
      return NULL;
    }
  self = imago_image_new_from_core (g_steal_pointer (&opened->core), storage,
                                    g_steal_pointer (&opened->policy), opened->guessed);
  opened_free (opened);
  return self;
}

static Opening *
opening_new_for_file (GFile *file, ImagoOpenOptions *options)
{
  Opening *opening = opening_new (options);

  opening->path = g_file_get_path (file);
  if (opening->path == NULL)
    opening->remote = g_object_ref (file);
  return opening;
}

/* Takes @opening. */
static ImagoRequestWork
make_work (Opening *opening)
{
  gboolean may_hang = opening->remote != NULL || opening->policy->may_hang ||
                      (opening->storage != NULL && opening->storage->may_hang);

  return (ImagoRequestWork) {
    .run = run_open,
    .data = opening,
    .free_data = opening_free,
    .free_result = opened_free,
    .flags = IMAGO_REQUEST_ABANDON | (may_hang ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE),
  };
}

static void
start_open (GTask *task, Opening *opening)
{
  const ImagoRequestWork work = make_work (opening);

  imago_request_start (task, &work);
}

static Opened *
open_and_wait (Opening *opening, GCancellable *cancellable, GError **error)
{
  const ImagoRequestWork work = make_work (opening);

  return imago_request_run_work (&work, cancellable, error);
}

/**
 * imago_image_open: (constructor)
 * @file: a file
 * @options: (nullable): how to open it, or %NULL for the defaults
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Opens a disk image, for reading unless #ImagoOpenOptions:writable is set. As long as nothing is changed,
 * nothing is written to the file.
 *
 * A @file without a local path, such as one on another machine, is opened as GIO opens it, and stored in
 * an #ImagoStreamStorage. Names inside it lead nowhere then: give its backing image by
 * imago_image_set_backing(), or have #ImagoMapPolicy or #ImagoCallbackPolicy answer them. A place that must
 * be mounted first is not mounted.
 *
 * Without #ImagoOpenOptions:format-name the format is guessed from the first bytes: a file that
 * matches exactly one format is opened as that, one that matches none as raw;
 * %IMAGO_ERROR_AMBIGUOUS_FORMAT tells that it matches several. An image opened by a guess follows
 * no reference: if it has a backing file or a data file, this fails with
 * %IMAGO_ERROR_REFERENCE_DENIED.
 *
 * Files that the image refers to are opened as far as #ImagoOpenOptions:reference-policy grants
 * them, which by default is not at all. With #ImagoOpenOptions:defer-references they are left for
 * imago_image_open_references().
 *
 * Returns: (transfer full): the open image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_open (GFile *file, ImagoOpenOptions *options, GCancellable *cancellable, GError **error)
{
  Opening *opening;

  g_return_val_if_fail (G_IS_FILE (file), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_OPEN_OPTIONS (options), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  opening = opening_new_for_file (file, options);
  g_set_object (&opening->cancellable, cancellable);
  return make_image (open_and_wait (opening, cancellable, error), NULL);
}

/**
 * imago_image_open_async:
 * @file: a file
 * @options: (nullable): how to open it, or %NULL for the defaults
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is open
 * @user_data: data for @callback
 *
 * Starts to open a disk image; see imago_image_open(). Later changes of @options have no effect.
 *
 * Since: 1.0
 */
void
imago_image_open_async (GFile *file,
                        ImagoOpenOptions *options,
                        int io_priority,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data)
{
  GTask *task;

  g_return_if_fail (G_IS_FILE (file));
  g_return_if_fail (options == NULL || IMAGO_IS_OPEN_OPTIONS (options));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_image_open_async);
  g_task_set_priority (task, io_priority);
  start_open (task, opening_new_for_file (file, options));
}

/**
 * imago_image_open_finish:
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_open_async() began.
 *
 * Returns: (transfer full): the open image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_open_finish (GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_image_open_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return make_image (g_task_propagate_pointer (G_TASK (result), error), NULL);
}

/**
 * imago_image_open_storage: (constructor)
 * @storage: where the image is stored
 * @options: (nullable): how to open it, or %NULL for the defaults
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Opens the disk image in a storage, as imago_image_open() does with a file. To be opened for writing, the
 * storage must be writable, too. #ImagoOpenOptions:allow-device has no effect.
 *
 * Returns: (transfer full): the open image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_open_storage (ImagoStorage *storage,
                          ImagoOpenOptions *options,
                          GCancellable *cancellable,
                          GError **error)
{
  Opening *opening;

  g_return_val_if_fail (IMAGO_IS_STORAGE (storage), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_OPEN_OPTIONS (options), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  opening = opening_new (options);
  opening->storage = imago_storage_dup_core (storage);
  return make_image (open_and_wait (opening, cancellable, error), g_object_ref (storage));
}

/**
 * imago_image_open_storage_async:
 * @storage: where the image is stored
 * @options: (nullable): how to open it, or %NULL for the defaults
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the image is open
 * @user_data: data for @callback
 *
 * Starts to open the disk image in a storage; see imago_image_open_storage(). Later changes of
 * @options have no effect.
 *
 * Since: 1.0
 */
void
imago_image_open_storage_async (ImagoStorage *storage,
                                ImagoOpenOptions *options,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  Opening *opening;
  GTask *task;

  g_return_if_fail (IMAGO_IS_STORAGE (storage));
  g_return_if_fail (options == NULL || IMAGO_IS_OPEN_OPTIONS (options));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_image_open_storage_async);
  g_task_set_priority (task, io_priority);
  g_task_set_task_data (task, g_object_ref (storage), g_object_unref);
  opening = opening_new (options);
  opening->storage = imago_storage_dup_core (storage);
  start_open (task, opening);
}

/**
 * imago_image_open_storage_finish:
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_open_storage_async() began.
 *
 * Returns: (transfer full): the open image, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImage *
imago_image_open_storage_finish (GAsyncResult *result, GError **error)
{
  Opened *opened;

  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_image_open_storage_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  opened = g_task_propagate_pointer (G_TASK (result), error);
  return make_image (opened, g_object_ref (g_task_get_task_data (G_TASK (result))));
}

/* ---- the second phase ---- */

/**
 * imago_image_list_references:
 * @self: an #ImagoImage
 *
 * Lists the files that the image itself names, whether they have been opened or not: its backing
 * file and its data file. What those refer to is not among them. The references are only for
 * looking at: answers to them go nowhere.
 *
 * Returns: (transfer full): a #GListModel of #ImagoReference; empty if the image refers to nothing
 * or is closed
 *
 * Since: 1.0
 */
GListModel *
imago_image_list_references (ImagoImage *self)
{
  ImgEpochTicket ticket;
  GListModel *list;
  ImgImage *core;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);

  core = imago_image_state_enter (self->state, &ticket);
  if (core == NULL)
    return G_LIST_MODEL (g_list_store_new (IMAGO_TYPE_REFERENCE));
  list = imago_reference_list_from_core (img_image_get_wanted (core),
                                         img_storage_get_name (img_image_get_storage (core)));
  imago_image_state_leave (self->state, ticket);
  return list;
}

static gpointer
run_set_backing (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;

  return img_image_set_backing (call->core, call->data, error) ? IMAGO_REQUEST_DONE : NULL;
}

static void
remember_backing (ImagoImage *self, ImagoImage *backing)
{
  ImagoImage *old;

  if (backing != NULL)
    g_object_ref (backing);
  img_mutex_lock (&self->mutex);
  old = self->backing;
  self->backing = backing;
  self->backing_is_set = TRUE;
  img_mutex_unlock (&self->mutex);
  g_clear_object (&old);
}

/**
 * imago_image_set_backing:
 * @self: an #ImagoImage whose references have not been opened
 * @backing: (nullable): the image to show through, or %NULL for none: the disk then reads as zero
 * where it has no data of its own
 * @error: return location for a #GError, or %NULL
 *
 * Says which image shows through where this one has no data, instead of the backing file that the
 * image names, which is not opened then. The image must have been opened with
 * #ImagoOpenOptions:defer-references; imago_image_open_references() must still be called.
 *
 * @backing must have its own references open. It stays usable by itself, and closing it does not
 * take it away from @self. Nothing is waited for.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_set_backing (ImagoImage *self, ImagoImage *backing, GError **error)
{
  ImagoImageCall call = { 0 };
  ImgEpochTicket ticket;
  gboolean success;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (backing == NULL || IMAGO_IS_IMAGE (backing), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (backing != NULL)
    {
      call.data = imago_image_state_enter (backing->state, &ticket);
      if (call.data == NULL)
        {
          ImgError *core_error = NULL;

          imago_image_set_closed_error (&core_error);
          imago_error_take (error, core_error);
          return FALSE;
        }
    }
  success = imago_image_call (self, run_set_backing, &call, NULL, NULL, IMAGO_REQUEST_BORROWS, NULL, error) != NULL;
  if (backing != NULL)
    imago_image_state_leave (backing->state, ticket);
  if (success)
    remember_backing (self, backing);
  return success;
}

typedef struct
{
  ImgPolicy *policy;
  gboolean guessed;
  gboolean backing_is_set;
} ReferencesOpening;

static void
references_opening_free (gpointer data)
{
  ReferencesOpening *opening = data;

  img_policy_unref (opening->policy);
  g_free (opening);
}

/* @flags: of the call. */
static ReferencesOpening *
references_opening_new (ImagoImage *self, ImagoRequestFlags *flags)
{
  ReferencesOpening *opening = g_new (ReferencesOpening, 1);

  opening->policy = self->policy != NULL ? img_policy_ref (self->policy) : img_policy_new_deny ();
  opening->guessed = self->guessed;
  img_mutex_lock (&self->mutex);
  opening->backing_is_set = self->backing_is_set;
  img_mutex_unlock (&self->mutex);
  *flags = opening->policy->may_hang ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE;
  return opening;
}

static gpointer
run_open_references (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  ReferencesOpening *opening = call->data;

  if (opening->guessed && !img_image_is_linked (call->core) &&
      !imago_image_check_guess (call->core, opening->backing_is_set, error))
    return NULL;
  return img_image_open_references (call->core, opening->policy, cancel, error) ? IMAGO_REQUEST_DONE
                                                                                : NULL;
}

/**
 * imago_image_open_references:
 * @self: an #ImagoImage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Opens the files that the image refers to, and those they refer to, as far as the policy that the
 * image was opened with grants them. Until then reads fail with %IMAGO_ERROR_REFERENCES_PENDING.
 * After a failure this may be tried again. If the references are open already, nothing happens. A call that was cancelled
 * while a policy, an #ImagoStorage of the application or a stream had not answered goes on until they have. A call that
 * comes while another one is about it, that one also, fails with %G_IO_ERROR_BUSY: it does not wait, since it may be the one
 * that the other waits for, and may be tried again.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_open_references (ImagoImage *self, GCancellable *cancellable, GError **error)
{
  ImagoImageCall call = { 0 };
  ImagoRequestFlags flags;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  call.data = references_opening_new (self, &flags);
  return imago_image_call (self, run_open_references, &call, references_opening_free, NULL, flags, cancellable,
                           error) != NULL;
}

/**
 * imago_image_open_references_async:
 * @self: an #ImagoImage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the files are open
 * @user_data: data for @callback
 *
 * Starts to open the files that the image refers to; see imago_image_open_references().
 *
 * Since: 1.0
 */
void
imago_image_open_references_async (ImagoImage *self,
                                   int io_priority,
                                   GCancellable *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data)
{
  ImagoImageCall call = { 0 };
  ImagoRequestFlags flags;
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_open_references_async, G_STRFUNC, io_priority,
                               cancellable, callback, user_data);
  /* The image has changed when the answer comes: cancelling late does not hide that. */
  g_task_set_check_cancellable (task, FALSE);
  call.data = references_opening_new (self, &flags);
  imago_image_call_async (self, task, run_open_references, &call, references_opening_free, NULL, flags);
}

/**
 * imago_image_open_references_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_open_references_async() began.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_image_open_references_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}
