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
  char *working;     /* where it is until then; NULL: in place, or published */
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

ToolReplace *
tool_replace_new (const char *filename, const char *format_name, guint64 size, GError **error)
{
  g_autoptr (ToolReplace) self = g_new0 (ToolReplace, 1);
  g_autoptr (ImagoCreateOptions) options = NULL;
  g_autoptr (GFile) file = NULL;
  gboolean in_place;

  self->path = resolve (filename);
  in_place = is_in_place (self->path);
  if (!in_place)
    {
      if (!check_folder (self->path, error) || !hold_old (self, error))
        return NULL;
      self->working = choose_working_name (self->path);
    }

  options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", format_name, "size", size,
                          "allow-device", in_place, "overwrite", in_place, NULL);
  file = g_file_new_for_path (in_place ? self->path : self->working);
  self->image = imago_image_create (file, options, NULL, error);
  if (self->image != NULL)
    return g_steal_pointer (&self);

  g_clear_pointer (&self->working, g_free);
  return NULL;
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

gboolean
tool_replace_publish (ToolReplace *self, GError **error)
{
  g_autoptr (ImagoImage) image = g_steal_pointer (&self->image);

  if (!imago_image_close (image, NULL, error))
    return FALSE;
  if (self->working == NULL)
    return TRUE;

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
  g_free (self->working);
  g_free (self->path);
  g_free (self);
}
