/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#ifdef __linux__
#include <linux/fs.h>
#endif

#include "img-image-private.h"
#include "img-create.h"
#include "img-file-storage.h"
#include "img-new-file.h"
#include "img-seam.h"

/* One of the files that are made. */
typedef struct
{
  const char *path;
  ImgNewFile *file; /* NULL: a device or a storage, written in place */
  ImgStorage *storage;
  ImgFileLock *lock; /* of what is written in place, until there is an image that is opened */
} Target;

typedef struct _ImgStagedImage
{
  const ImgCreation *creation;
  ImgCancel *cancel;
  ImgCreateOptions options;
  const char *path;       /* what names in the image are relative to; NULL for a storage that has no name */
  const char *place;      /* the file in which the image will be; NULL for a storage that is none */
  const char *data_place; /* as for the data file */
  gboolean is_unchecked; /* the backing file */
  char *backing_path;
  char *backing_name;
  char *data_file_name;
  ImgImage *backing; /* opened, with its references */
  Target image;
  Target data;
  ImgImage *made;
} Creator;

static void
target_clear (Target *target)
{
  img_file_lock_release (target->lock);
  img_storage_unref (target->storage);
  img_new_file_free (target->file);
}

static void
creator_clear (Creator *creator)
{
  img_image_unref (creator->made);
  target_clear (&creator->image);
  target_clear (&creator->data);
  img_image_unref (creator->backing);
  g_free (creator->backing_path);
  g_free (creator->backing_name);
  g_free (creator->data_file_name);
}

/* ---- paths ---- */

static gboolean
get_identity (const char *path, ImgIdentity *identity)
{
  struct stat st;

  if (path == NULL || stat (path, &st) != 0)
    return FALSE;
  *identity = (ImgIdentity) { (guint64) st.st_dev, (guint64) st.st_ino };
  return TRUE;
}

static gboolean
is_same_file (const char *a, const char *b)
{
  ImgIdentity first, second;

  return get_identity (a, &first) && get_identity (b, &second) && first.device == second.device &&
         first.inode == second.inode;
}

static gboolean
are_neighbours (const char *a, const char *b)
{
  g_autofree char *first = NULL;
  g_autofree char *second = NULL;

  if (a == NULL || b == NULL)
    return FALSE;
  first = g_path_get_dirname (a);
  second = g_path_get_dirname (b);
  return is_same_file (first, second);
}

/* Also when nothing is there yet. */
static gboolean
is_same_place (const char *a, const char *b)
{
  g_autofree char *first = NULL;
  g_autofree char *second = NULL;

  if (a == NULL || b == NULL)
    return FALSE;
  first = g_path_get_basename (a);
  second = g_path_get_basename (b);
  return is_same_file (a, b) || (g_str_equal (first, second) && are_neighbours (a, b));
}

/* A storage of the application may have any name. */
static const char *
find_place (const char *path, ImgStorage *storage)
{
  ImgIdentity identity;

  if (path != NULL || storage == NULL)
    return path;
  path = img_storage_get_name (storage);
  return get_identity (path, &identity) && img_storage_uses_file (storage, &identity) ? path : NULL;
}

/* "nbd:…" would not be taken for a file, wherever it lies. */
static gboolean
is_plain_name (const char *name)
{
  ImgWanted wanted = { .name = (char *) name };
  g_autofree char *path = img_wanted_resolve (&wanted, "image");

  return path != NULL;
}

/* How a file is called in an image: relative when it lies beside it, so that both can be moved. A link
 * to the image has neighbours of its own. */
static char *
dup_stored_name (const char *image_path, const char *path)
{
  g_autofree char *name = NULL;

  if (!are_neighbours (image_path, path) || g_file_test (image_path, G_FILE_TEST_IS_SYMLINK))
    return g_canonicalize_filename (path, NULL);
  name = g_path_get_basename (path);
  return is_plain_name (name) ? g_steal_pointer (&name) : g_strconcat ("./", name, NULL);
}

/* ---- the backing file ---- */

gboolean
img_creation_has_backing (const ImgCreation *creation)
{
  return creation->backing_path != NULL || creation->backing_name != NULL || creation->backing_image != NULL;
}

gboolean
img_creation_has_data_file (const ImgCreation *creation)
{
  return creation->data_file_path != NULL || creation->data_storage != NULL;
}

static gboolean
name_backing (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;
  const char *name = creation->backing_name;
  ImgWanted wanted = { .name = (char *) name };

  if (creation->backing_image != NULL)
    creator->backing_path = g_strdup (find_place (NULL, img_image_get_storage (creation->backing_image)));
  else if (creation->backing_path != NULL)
    creator->backing_path = g_strdup (creation->backing_path);
  else
    creator->backing_path = img_wanted_resolve (&wanted, creator->path);
  if (name == NULL && creator->backing_path == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The name of the backing file must be given"));
  if (creator->backing_path == NULL && creation->backing_image == NULL && !creator->is_unchecked)
    {
      g_autofree char *quoted = img_quote_name (name);

      return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                               _("The backing file %s cannot be checked: it is no plain file name"), quoted);
    }
  if (name == NULL ||
      (creation->backing_image == NULL && creator->backing_path != NULL && g_path_is_absolute (name)))
    creator->backing_name = dup_stored_name (creator->path, creator->backing_path);
  else
    creator->backing_name = g_strdup (name);
  creator->options.backing_name = creator->backing_name;
  return TRUE;
}

static gboolean
refuse_loop (const char *path, ImgError **error)
{
  g_autofree char *quoted = NULL;

  if (path == NULL)
    return img_error_refuse (error, IMG_CODE_REFERENCE_LOOP,
                             _("The storage would hold an image that refers to itself"));
  quoted = img_quote_name (path);
  return img_error_refuse (error, IMG_CODE_REFERENCE_LOOP, _("%s would become an image that refers to itself"),
                           quoted);
}

/* The images' own names for files say where a new file would be found later on. */
static gboolean
check_names (ImgImage *layer, const char *path, ImgError **error)
{
  GPtrArray *wanted = img_image_get_wanted (layer);

  for (guint i = 0; i < wanted->len; i++)
    {
      const char *parent = img_storage_get_name (img_image_get_storage (layer));
      g_autofree char *named = img_wanted_resolve (g_ptr_array_index (wanted, i), parent);

      if (named != NULL && is_same_place (named, path))
        return refuse_loop (path, error);
    }
  return TRUE;
}

static gboolean
is_used (ImgStorage *used, ImgStorage *storage, const ImgIdentity *identity)
{
  return used != NULL && (used == storage || (identity != NULL && img_storage_uses_file (used, identity)));
}

/* No file or storage of the chain may be one that is to be replaced. */
static gboolean
check_chain (ImgImage *backing, const char *path, ImgStorage *storage, ImgError **error)
{
  ImgIdentity found;
  const ImgIdentity *identity = get_identity (path, &found) ? &found : NULL;

  if (identity == NULL && storage == NULL)
    return TRUE;
  for (ImgImage *layer = backing; layer != NULL; layer = img_image_get_backing (layer))
    if (is_used (img_image_get_storage (layer), storage, identity) ||
        is_used (img_image_get_data_storage (layer), storage, identity))
      return refuse_loop (path, error);
  return TRUE;
}

static ImgImage *
open_top (Creator *creator, ImgError **error)
{
  const char *format_name = creator->options.backing_format;
  ImgImageOptions options = { .driver = img_driver_find (format_name) };
  g_autoptr (ImgStorage) storage = NULL;

  if (options.driver == NULL)
    {
      g_autofree char *quoted = img_quote_name (format_name);

      img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _("The format %s is not known"), quoted);
      return NULL;
    }
  storage = img_file_storage_open (creator->backing_path, IMG_FILE_NONE, error);
  return storage != NULL ? img_image_open (storage, &options, creator->cancel, error) : NULL;
}

static gboolean
open_chain (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;
  ImgPolicy *policy = creation->policy != NULL ? img_policy_ref (creation->policy)
                                               : img_policy_new_deny ();
  gboolean success;

  creator->backing = open_top (creator, error);
  success = creator->backing != NULL && check_names (creator->backing, creator->place, error) &&
            img_image_open_references (creator->backing, policy, creator->cancel, error);
  img_policy_unref (policy);
  return success;
}

static gboolean
take_backing (Creator *creator, ImgError **error)
{
  ImgImage *backing = creator->creation->backing_image;

  if (creator->creation->backing_path != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The backing image is given, and another one as a file"));
  if (!img_image_require_ready (backing, error))
    return FALSE;
  creator->backing = img_image_ref (backing);
  if (creator->options.backing_format == NULL)
    creator->options.backing_format = img_image_get_layout (backing)->driver->name;
  return TRUE;
}

static gboolean
check_backing (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;

  if (creation->backing_image != NULL && !take_backing (creator, error))
    return FALSE;
  if (creator->options.backing_format == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The format of the backing file must be given"));
  if (!name_backing (creator, error))
    return FALSE;
  if (is_same_place (creator->backing_path, creator->place))
    return refuse_loop (creator->place, error);
  if (creator->is_unchecked)
    return TRUE;
  if (creator->backing == NULL && !open_chain (creator, error))
    {
      g_autofree char *quoted = img_quote_name (creator->backing_path);

      img_error_prefix (error, _("Cannot use the backing file %s: "), quoted);
      return FALSE;
    }
  if (!creation->has_size)
    creator->options.size = img_image_get_size (creator->backing);
  return check_chain (creator->backing, creator->place, creation->storage, error) &&
         check_chain (creator->backing, creator->data_place, creation->data_storage, error);
}

/* ---- what was asked for ---- */

static gboolean
check_data_file (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;

  if (creation->data_file_path != NULL && creation->data_storage != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The data file is given twice, as a file and as a storage"));
  if (creation->data_file_name == NULL && creator->data_place == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The name of the data file must be given"));
  if (is_same_place (creator->data_place, creator->place) ||
      is_same_place (creator->data_place, creator->backing_path) ||
      (creation->storage != NULL && creation->storage == creation->data_storage))
    return refuse_loop (creator->data_place, error);
  creator->data_file_name = creation->data_file_name != NULL
                              ? g_strdup (creation->data_file_name)
                              : dup_stored_name (creator->path, creator->data_place);
  creator->options.data_file_name = creator->data_file_name;
  return TRUE;
}

static gboolean
check_creation (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;
  const ImgDriver *driver = creation->driver;

  if (driver->create == NULL)
    return img_error_refuse (error, IMG_CODE_UNSUPPORTED, _("Images of the format %s cannot be created"),
                             driver->name);
  if (img_creation_has_backing (creation) && (driver->flags & IMG_DRIVER_BACKING) == 0)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("Images of the format %s have no backing file"),
                             driver->name);
  if (img_creation_has_data_file (creation) && (driver->flags & IMG_DRIVER_DATA_FILE) == 0)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("Images of the format %s have no data file"),
                             driver->name);
  if (img_creation_has_backing (creation) && !check_backing (creator, error))
    return FALSE;
  if (!creation->has_size && creator->backing == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The size of the disk must be given"));
  if (!img_creation_has_data_file (creation) && creation->data_file_name != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("There is a name for a data file, but no data file"));
  return !img_creation_has_data_file (creation) || check_data_file (creator, error);
}

/* ---- targets ---- */

/* Wishes: a file system that does not know them is no obstacle. */
static void
set_attributes (const ImgCreation *creation, int fd)
{
#ifdef FS_IOC_FSSETXATTR
  struct fsxattr attributes;

  if (creation->extent_size_hint > 0 && creation->extent_size_hint <= G_MAXUINT32 &&
      ioctl (fd, FS_IOC_FSGETXATTR, &attributes) == 0)
    {
      attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
      attributes.fsx_extsize = (guint32) creation->extent_size_hint;
      ioctl (fd, FS_IOC_FSSETXATTR, &attributes);
    }
#endif
#if defined(FS_IOC_SETFLAGS) && defined(FS_NOCOW_FL)
  int flags;

  if (creation->no_copy_on_write && ioctl (fd, FS_IOC_GETFLAGS, &flags) == 0)
    {
      flags |= FS_NOCOW_FL;
      ioctl (fd, FS_IOC_SETFLAGS, &flags);
    }
#endif
}

static gboolean
open_device (const ImgCreation *creation, Target *target, ImgError **error)
{
  g_autofree char *quoted = img_quote_name (target->path);

  if (!creation->allow_device || !creation->overwrite)
    return img_error_refuse (error, IMG_CODE_NOT_REGULAR_FILE,
                             _("%s is a block device, which is not allowed to be overwritten"), quoted);
  target->storage =
    img_file_storage_open (target->path, IMG_FILE_ALLOW_DEVICE | IMG_FILE_WRITABLE, error);
  return target->storage != NULL && img_storage_lock (target->storage, IMG_LOCK_CREATE,
                                                      IMG_LOCKING_AUTO, &target->lock, error);
}

static gboolean
is_device (const char *path)
{
  struct stat st;

  return stat (path, &st) == 0 &&
         (S_ISBLK (st.st_mode) || img_seam_is_on (IMG_SEAM_FILES_ARE_DEVICES));
}

gboolean
img_creation_is_in_place (const ImgCreation *creation)
{
  return creation->storage != NULL || creation->data_storage != NULL ||
         (creation->path != NULL && is_device (creation->path)) ||
         (creation->data_file_path != NULL && is_device (creation->data_file_path));
}

static gboolean
open_given (const ImgCreation *creation, ImgStorage *storage, Target *target, ImgError **error)
{
  guint64 size;

  if (!storage->can_write)
    return img_error_refuse (error, IMG_CODE_READ_ONLY, _("The storage cannot be written"));
  if (!img_storage_get_size (storage, &size, error))
    return FALSE;
  if (size > 0 && !creation->overwrite)
    {
      img_error_set_errno (error, EEXIST, _("The storage is not empty"));
      return FALSE;
    }
  target->storage = img_storage_ref (storage);
  return img_storage_lock (storage, IMG_LOCK_CREATE, IMG_LOCKING_AUTO, &target->lock, error);
}

static gboolean
open_new_file (const ImgCreation *creation, Target *target, ImgError **error)
{
  /* Of the two files only the image may have a predecessor. */
  if (creation->succession != NULL && target->path == creation->path)
    target->file = img_new_file_create_successor (target->path, creation->succession, error);
  else
    target->file = img_new_file_create (target->path, creation->overwrite, error);
  return target->file != NULL;
}

static gboolean
open_file (const ImgCreation *creation, Target *target, ImgError **error)
{
  if (!open_new_file (creation, target, error))
    return FALSE;
  set_attributes (creation, img_new_file_get_fd (target->file));
  target->storage =
    img_file_storage_new_fd (img_new_file_get_fd (target->file), target->path,
                             IMG_FILE_WRITABLE | (creation->is_volatile ? IMG_FILE_VOLATILE : IMG_FILE_NONE),
                             error);
  return target->storage != NULL;
}

/* Before anything is written. */
static gboolean
check_source (const ImgCreation *creation, const Target *target, ImgError **error)
{
  ImgIdentity identity;

  if (creation->source == NULL ||
      !(target->file != NULL ? img_new_file_get_replaced (target->file, &identity)
                             : img_storage_get_identity (target->storage, &identity)) ||
      !img_image_uses_file (creation->source, &identity))
    return TRUE;
  return img_error_refuse (error, IMG_CODE_REFERENCE_LOOP,
                           _("The new file would replace a file that the source needs"));
}

/* Either @path or @storage. */
static gboolean
target_open (const ImgCreation *creation, const char *path, ImgStorage *storage, Target *target, ImgError **error)
{
  gboolean success;

  target->path = path;
  if (storage != NULL)
    success = open_given (creation, storage, target, error);
  else if (is_device (path))
    success = open_device (creation, target, error);
  else
    success = open_file (creation, target, error);
  return success && check_source (creation, target, error);
}

static gboolean
target_publish (Target *target, gboolean durable, ImgError **error)
{
  if (target->file != NULL)
    return img_new_file_publish (target->file, durable, error);
  return !durable || img_storage_flush (target->storage, error);
}

/* Whoever was told that it was cancelled finds no new file; storages, which may never answer, are waited for before or
 * instead of that. */
static gboolean
begin_publishing (Creator *creator, gboolean durable, ImgCancel *cancel, ImgError **error)
{
  if (creator->data.storage != NULL && creator->data.file == NULL && !target_publish (&creator->data, durable, error))
    return FALSE;
  if (creator->image.file == NULL)
    return !img_cancel_check (cancel, error);
  return img_cancel_end (cancel, error);
}

/* The data file first: an image never names one that is not there. */
static gboolean
publish (Creator *creator, gboolean durable, ImgCancel *cancel, ImgError **error)
{
  if (!begin_publishing (creator, durable, cancel, error) ||
      (creator->data.file != NULL && !target_publish (&creator->data, durable, error)))
    return FALSE;
  if (target_publish (&creator->image, durable, error))
    return TRUE;
  if (creator->data.file != NULL && creator->image.file != NULL &&
      img_new_file_withdraw (creator->image.file))
    img_new_file_withdraw (creator->data.file);
  return FALSE;
}

/* ---- opening what was made ---- */

/* Grants the data file, which has no name yet. */
typedef struct
{
  ImgPolicy parent;
  ImgStorage *data_storage; /* owned */
} OwnPolicy;

static ImgStorage *
own_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  OwnPolicy *self = (OwnPolicy *) policy;

  g_assert (reference->wanted->role == IMG_REFERENCE_DATA_FILE && self->data_storage != NULL);
  return img_storage_ref (self->data_storage);
}

static void
own_free (ImgPolicy *policy)
{
  img_storage_unref (((OwnPolicy *) policy)->data_storage);
  g_free (policy);
}

static gboolean
open_own_references (Creator *creator, ImgImage *image, ImgError **error)
{
  static const ImgPolicyClass own_class = { own_decide, own_free };
  OwnPolicy *policy;
  gboolean success;

  if (creator->backing != NULL && !img_image_set_backing (image, creator->backing, error))
    return FALSE;
  policy = g_new0 (OwnPolicy, 1);
  img_policy_init (&policy->parent, &own_class);
  if (creator->data.storage != NULL)
    policy->data_storage = img_storage_ref (creator->data.storage);
  success = img_image_open_references (image, &policy->parent, creator->cancel, error);
  img_policy_unref (&policy->parent);
  if (creator->creation->backing_image == NULL)
    image->backing_is_set = FALSE; /* it was opened here, and its lock goes with the image */
  return success;
}

static ImgImage *
open_created (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;
  ImgImageOptions options = { .driver = creation->driver, .layout.writable = TRUE };
  g_autoptr (ImgImage) image = NULL;

  /* The image's own locks would be at odds with these. Who gets in between finds an image that is complete. */
  g_clear_pointer (&creator->image.lock, img_file_lock_release);
  g_clear_pointer (&creator->data.lock, img_file_lock_release);
  image = img_image_open (creator->image.storage, &options, creator->cancel, error);
  if (image == NULL)
    return NULL;
  if (!creator->is_unchecked && !open_own_references (creator, image, error))
    return NULL;
  return g_steal_pointer (&image);
}

/* ---- all of it ---- */

static gboolean
create (Creator *creator, ImgError **error)
{
  const ImgCreation *creation = creator->creation;

  if (!check_creation (creator, error) ||
      !target_open (creation, creation->path, creation->storage, &creator->image, error))
    return FALSE;
  if (img_creation_has_data_file (creation) &&
      !target_open (creation, creation->data_file_path, creation->data_storage, &creator->data, error))
    return FALSE;
  creator->options.is_private =
    creator->image.file != NULL && (creator->data.storage == NULL || creator->data.file != NULL);
  if (!creation->driver->create (creator->image.storage, &creator->options, creator->data.storage,
                                 creator->cancel, error))
    return FALSE;
  creator->made = open_created (creator, error);
  return creator->made != NULL && !img_cancel_check (creator->cancel, error);
}

static const char *
find_path (const char *path, ImgStorage *storage)
{
  return path != NULL || storage == NULL ? path : img_storage_get_name (storage);
}

ImgStagedImage *
img_staged_image_new (const ImgCreation *creation, ImgCancel *cancel, ImgError **error)
{
  Creator *creator = g_new0 (Creator, 1);

  *creator = (Creator) {
    .creation = creation,
    .cancel = cancel,
    .options = creation->options,
    .path = find_path (creation->path, creation->storage),
    .place = find_place (creation->path, creation->storage),
    .data_place = find_place (creation->data_file_path, creation->data_storage),
    .is_unchecked = creation->backing_unchecked && creation->backing_image == NULL,
  };
  if (create (creator, error))
    return creator;
  img_staged_image_free (creator);
  return NULL;
}

ImgImage *
img_staged_image_get (ImgStagedImage *staged)
{
  return staged->made;
}

ImgImage *
img_staged_image_reopen (ImgStagedImage *staged, ImgError **error)
{
  const ImgImageOptions options = { .driver = staged->creation->driver };
  g_autoptr (ImgImage) image = img_image_open (staged->image.storage, &options, staged->cancel, error);

  if (image == NULL || !open_own_references (staged, image, error))
    return NULL;
  return g_steal_pointer (&image);
}

gboolean
img_staged_image_is_new_file (ImgStagedImage *staged)
{
  return staged->image.file != NULL && (staged->data.storage == NULL || staged->data.file != NULL);
}

gboolean
img_staged_image_publish (ImgStagedImage *staged, gboolean durable, ImgCancel *cancel, ImgError **error)
{
  return publish (staged, durable, cancel, error);
}

void
img_staged_image_free (ImgStagedImage *staged)
{
  if (staged == NULL)
    return;
  creator_clear (staged);
  g_free (staged);
}

ImgImage *
img_image_create (const ImgCreation *creation, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImgStagedImage) staged = img_staged_image_new (creation, cancel, error);

  if (staged == NULL || !img_staged_image_publish (staged, TRUE, cancel, error))
    return NULL;
  return g_steal_pointer (&staged->made);
}
