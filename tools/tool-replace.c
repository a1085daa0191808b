/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-replace.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct _ToolReplace
{
  char *path;        /* where the image shall be: no symbolic link */
  char *working;     /* the name of the file until then; NULL: it has none, or its own already */
  int fd;            /* of the new file; -1: written in place */
  ImagoImage *image; /* NULL once closed */
  ImagoImage *old;   /* keeps others from opening what will be replaced; nullable */
};

static gboolean
take_errno (GError **error, const char *path)
{
  int code = errno;

  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code), _("Could not create '%s': %s"), path,
               g_strerror (code));
  return FALSE;
}

/* A link stays one: what it points to is replaced. */
static char *
resolve (const char *filename)
{
  char *resolved = realpath (filename, NULL);
  char *path = g_strdup (resolved != NULL ? resolved : filename);

  free (resolved);
  return path;
}

/* Whether it is complete in one step; only files are, and only new names. */
static gboolean
is_in_place (const char *path)
{
  struct stat info;

  return stat (path, &info) == 0 && !S_ISREG (info.st_mode);
}

/* Fails if somebody uses the image that would be replaced, or if it may not be written. */
static gboolean
hold_old (ToolReplace *self, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (self->path);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();

  if (!g_file_test (self->path, G_FILE_TEST_EXISTS))
    return TRUE;

  imago_open_options_set_format_name (options, "raw");
  imago_open_options_set_writable (options, TRUE);
  self->old = imago_image_open (file, options, NULL, error);
  return self->old != NULL;
}

/* What is wrong with the folder is said of the file that was asked for, not of the working name. */
static gboolean
check_folder (const char *path, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (path);

  return g_access (folder, W_OK | X_OK) == 0 || take_errno (error, path);
}

static char *
choose_working_name (const char *path)
{
  g_autofree char *folder = g_path_get_dirname (path);
  g_autofree char *name =
    g_strdup_printf (".imago-%08x%08x", g_random_int (), g_random_int ());

  return g_build_filename (folder, name, NULL);
}

/* A file without a name vanishes however the program ends; not every file system has such files. */
static gboolean
open_new (ToolReplace *self, GError **error)
{
#ifdef O_TMPFILE
  g_autofree char *folder = g_path_get_dirname (self->path);

  if (g_access ("/proc/self/fd", X_OK) == 0)
    self->fd = open (folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
#endif
  if (self->fd < 0)
    {
      self->working = choose_working_name (self->path);
      self->fd = open (self->working, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
  if (self->fd >= 0)
    return TRUE;

  take_errno (error, self->path);
  g_clear_pointer (&self->working, g_free);
  return FALSE;
}

/* Who may read the old file may read the new one, and nobody else. */
static void
keep_permissions (ToolReplace *self)
{
  struct stat info;

  if (stat (self->path, &info) != 0)
    return;
  if (fchown (self->fd, info.st_uid, info.st_gid) != 0 && fchown (self->fd, (uid_t) -1, info.st_gid) != 0)
    info.st_mode &= ~(mode_t) (S_ISUID | S_ISGID);
  fchmod (self->fd, info.st_mode & 07777);
}

static ImagoImage *
create_in_place (ToolReplace *self, ImagoCreateOptions *options, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (self->path);

  g_object_set (options, "allow-device", TRUE, "overwrite", TRUE, NULL);
  return imago_image_create (file, options, NULL, error);
}

static ImagoImage *
create_anew (ToolReplace *self, ImagoCreateOptions *options, GError **error)
{
  g_autoptr (ImagoStorage) storage = NULL;

  if (!check_folder (self->path, error) || !hold_old (self, error) || !open_new (self, error))
    return NULL;
  keep_permissions (self);
  storage = imago_file_storage_open_fd (self->fd, self->path, IMAGO_STORAGE_WRITABLE, error);
  return storage != NULL ? imago_image_create_storage (storage, options, NULL, error) : NULL;
}

ToolReplace *
tool_replace_new (const char *filename, const char *format_name, guint64 size, GError **error)
{
  g_autoptr (ToolReplace) self = g_new0 (ToolReplace, 1);
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", format_name, "size", size, NULL);

  self->fd = -1;
  self->path = resolve (filename);
  self->image = is_in_place (self->path) ? create_in_place (self, options, error)
                                         : create_anew (self, options, error);
  return self->image != NULL ? g_steal_pointer (&self) : NULL;
}

ImagoImage *
tool_replace_get_image (ToolReplace *self)
{
  return self->image;
}

static gboolean
sync_folder (const char *path, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (path);
  int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gboolean success = fd >= 0 && (fsync (fd) == 0 || errno == EINVAL || errno == EROFS);

  if (!success)
    take_errno (error, folder);
  if (fd >= 0)
    close (fd);
  return success;
}

/* A file that has no name cannot take that of another in one step. */
static gboolean
give_working_name (ToolReplace *self, GError **error)
{
  g_autofree char *source = g_strdup_printf ("/proc/self/fd/%d", self->fd);
  g_autofree char *name = choose_working_name (self->path);

  if (self->working != NULL)
    return TRUE;
  if (linkat (AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW) != 0)
    return take_errno (error, self->path);
  self->working = g_steal_pointer (&name);
  return TRUE;
}

gboolean
tool_replace_publish (ToolReplace *self, GError **error)
{
  g_autoptr (ImagoImage) image = g_steal_pointer (&self->image);

  if (!imago_image_close (image, NULL, error))
    return FALSE;
  if (self->fd < 0)
    return TRUE;

  if (!give_working_name (self, error))
    return FALSE;
  if (g_rename (self->working, self->path) != 0)
    return take_errno (error, self->path);
  g_clear_pointer (&self->working, g_free);
  return sync_folder (self->path, error);
}

void
tool_replace_free (ToolReplace *self)
{
  g_clear_object (&self->image);
  g_clear_object (&self->old);
  if (self->working != NULL)
    g_unlink (self->working);
  if (self->fd >= 0)
    close (self->fd);
  g_free (self->working);
  g_free (self->path);
  g_free (self);
}
