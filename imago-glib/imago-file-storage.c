/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "imago-error-private.h"
#include "imago-file-storage-private.h"
#include "imago-request.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-file-storage
 * @title: ImagoFileStorage
 * @short_description: A storage in a file
 *
 * #ImagoFileStorage reads and writes local files and block devices, from a #GFile or from a descriptor
 * that is open already.
 */

/**
 * ImagoFileStorage:
 *
 * A storage in a local file or, where that is allowed, on a block device. It is opened for reading unless
 * %IMAGO_STORAGE_WRITABLE asks for more; opening and reading it write nothing, not even the time of the
 * last change.
 *
 * Behind its end a file reads as zeroes. If another program makes it shorter while it is open, reading what was there
 * fails with %G_IO_ERROR_FAILED, and so does a copy of it.
 *
 * It may be used from any thread, and from several at once.
 *
 * Since: 1.0
 */
struct _ImagoFileStorage
{
  ImagoStorage parent_instance;

  gboolean from_fd;
  GFile *file; /* atomic; made when somebody asks */
};

struct _ImagoFileStorageClass
{
  ImagoStorageClass parent_class;
};

G_DEFINE_FINAL_TYPE (ImagoFileStorage, imago_file_storage, IMAGO_TYPE_STORAGE)

static void
imago_file_storage_dispose (GObject *object)
{
  g_clear_object (&IMAGO_FILE_STORAGE (object)->file);
  G_OBJECT_CLASS (imago_file_storage_parent_class)->dispose (object);
}

static void
imago_file_storage_class_init (ImagoFileStorageClass *klass)
{
  G_OBJECT_CLASS (klass)->dispose = imago_file_storage_dispose;
}

static void
imago_file_storage_init (ImagoFileStorage *self)
{
}

/* ---- opening ---- */

static ImgFileFlags
to_core_flags (ImagoStorageFlags flags)
{
  return (flags & IMAGO_STORAGE_ALLOW_DEVICE ? IMG_FILE_ALLOW_DEVICE : IMG_FILE_NONE) |
         (flags & IMAGO_STORAGE_WRITABLE ? IMG_FILE_WRITABLE : IMG_FILE_NONE);
}

char *
imago_file_dup_path (GFile *file, ImgError **error)
{
  char *path = g_file_get_path (file);
  g_autofree char *uri = NULL;
  g_autofree char *name = NULL;

  if (path != NULL)
    return path;
  uri = g_file_get_uri (file);
  name = img_quote_name (uri);
  img_error_set_errno (error, ENOTSUP, _("%s is no local file"), name);
  return NULL;
}

ImagoStorage *
imago_file_storage_open_path (const char *path, ImgFileFlags flags, ImgError **error)
{
  ImgStorage *core = img_file_storage_open (path, flags, error);
  ImagoStorage *self;

  if (core == NULL)
    return NULL;
  self = g_object_new (IMAGO_TYPE_FILE_STORAGE, NULL);
  imago_storage_set_core (self, core);
  return self;
}

typedef struct
{
  char *path;
  ImgFileFlags flags;
} Opening;

static void
opening_free (gpointer data)
{
  Opening *opening = data;

  g_free (opening->path);
  g_free (opening);
}

static gpointer
run_open (gpointer data, ImgCancel *cancel, ImgError **error)
{
  Opening *opening = data;

  return imago_file_storage_open_path (opening->path, opening->flags, error);
}

/**
 * imago_file_storage_open: (constructor)
 * @file: a local file
 * @flags: how to open it
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Opens a file, for reading unless @flags say otherwise. It must be a regular file, or a block device if @flags allow that;
 * nothing else is waited for or read from. A @file without a local path fails with
 * %G_IO_ERROR_NOT_SUPPORTED: use an #ImagoStreamStorage there.
 *
 * Returns: (transfer full): a new #ImagoFileStorage, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoStorage *
imago_file_storage_open (GFile *file,
                         ImagoStorageFlags flags,
                         GCancellable *cancellable,
                         GError **error)
{
  Opening opening = { NULL, to_core_flags (flags) };
  g_autofree char *path = NULL;
  ImgError *core_error = NULL;

  g_return_val_if_fail (G_IS_FILE (file), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  path = imago_file_dup_path (file, &core_error);
  if (path == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  opening.path = path;
  return imago_request_run (run_open, &opening, cancellable, error);
}

/**
 * imago_file_storage_open_async:
 * @file: a local file
 * @flags: how to open it
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the file is open
 * @user_data: data for @callback
 *
 * Starts to open a file; see imago_file_storage_open().
 *
 * Since: 1.0
 */
void
imago_file_storage_open_async (GFile *file,
                               ImagoStorageFlags flags,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  ImagoRequestWork work = {
    .run = run_open,
    .free_data = opening_free,
    .free_result = g_object_unref,
    .flags = IMAGO_REQUEST_ABANDON,
  };
  ImgError *core_error = NULL;
  GError *error = NULL;
  Opening *opening;
  GTask *task;

  g_return_if_fail (G_IS_FILE (file));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_file_storage_open_async);
  g_task_set_priority (task, io_priority);
  opening = g_new (Opening, 1);
  *opening = (Opening) { imago_file_dup_path (file, &core_error), to_core_flags (flags) };
  work.data = opening;
  if (opening->path != NULL)
    {
      imago_request_start (task, &work);
      return;
    }
  opening_free (opening);
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
}

/**
 * imago_file_storage_open_finish:
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_file_storage_open_async() began.
 *
 * Returns: (transfer full): a new #ImagoFileStorage, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoStorage *
imago_file_storage_open_finish (GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_file_storage_open_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/**
 * imago_file_storage_open_fd: (constructor)
 * @fd: a file descriptor that is open for reading, and for writing with %IMAGO_STORAGE_WRITABLE
 * @name: (type filename) (nullable): what messages call it; names inside an image are resolved
 * relative to it
 * @flags: how to open it
 * @error: return location for a #GError, or %NULL
 *
 * Makes a storage of a file that is open already. The descriptor is duplicated: @fd stays the
 * caller's. Its file position is neither used nor moved.
 *
 * Returns: (transfer full): a new #ImagoFileStorage, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoStorage *
imago_file_storage_open_fd (int fd, const char *name, ImagoStorageFlags flags, GError **error)
{
  ImgError *core_error = NULL;
  ImagoStorage *self;
  ImgStorage *core;

  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  core = img_file_storage_new_fd (fd, name, to_core_flags (flags), &core_error);
  if (core == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  self = g_object_new (IMAGO_TYPE_FILE_STORAGE, NULL);
  IMAGO_FILE_STORAGE (self)->from_fd = TRUE;
  imago_storage_set_core (self, core);
  return self;
}

/**
 * imago_file_storage_get_file:
 * @self: an #ImagoFileStorage
 *
 * Gets the file that was opened.
 *
 * Returns: (transfer none) (nullable): the file, or %NULL if the storage was made of a file
 * descriptor
 *
 * Since: 1.0
 */
GFile *
imago_file_storage_get_file (ImagoFileStorage *self)
{
  const char *path;
  GFile *file;

  g_return_val_if_fail (IMAGO_IS_FILE_STORAGE (self), NULL);

  path =
    self->from_fd ? NULL : img_storage_get_name (imago_storage_get_core (IMAGO_STORAGE (self)));
  if (path == NULL || g_atomic_pointer_get (&self->file) != NULL)
    return g_atomic_pointer_get (&self->file);
  file = g_file_new_for_path (path);
  if (!g_atomic_pointer_compare_and_exchange (&self->file, NULL, file))
    g_object_unref (file);
  return g_atomic_pointer_get (&self->file);
}
