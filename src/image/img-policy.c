/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-file-storage.h"
#include "img-policy.h"

void
img_policy_init (ImgPolicy *policy, const ImgPolicyClass *klass)
{
  policy->klass = klass;
  img_ref_init (&policy->ref_count);
}

ImgPolicy *
img_policy_ref (ImgPolicy *policy)
{
  img_ref_inc (&policy->ref_count);
  return policy;
}

void
img_policy_unref (ImgPolicy *policy)
{
  if (policy != NULL && img_ref_dec (&policy->ref_count))
    policy->klass->free (policy);
}

static void
free_plain (ImgPolicy *policy)
{
  g_free (policy);
}

static ImgPolicy *
new_plain (const ImgPolicyClass *klass)
{
  ImgPolicy *policy = g_new0 (ImgPolicy, 1);

  img_policy_init (policy, klass);
  return policy;
}

/* ---- names ---- */

/* "json:{…}", "nbd://…", "fat:…": what QEMU takes for a protocol. Such names are never parsed. */
static gboolean
has_scheme (const char *name)
{
  const char *p = name;

  while (g_ascii_isalnum (*p) || *p == '+' || *p == '-' || *p == '.' || *p == '_')
    p++;
  return p > name && *p == ':';
}

char *
img_wanted_resolve (const ImgWanted *wanted, const char *parent_name)
{
  g_autofree char *directory = NULL;

  if (wanted->name[0] == '\0' || has_scheme (wanted->name))
    return NULL;
  if (g_path_is_absolute (wanted->name))
    return g_strdup (wanted->name);
  if (parent_name == NULL)
    return NULL;
  directory = g_path_get_dirname (parent_name);
  /* As QEMU writes it: no "./" in front of a name beside an image that was named without a folder.
   */
  if (g_str_equal (directory, ".") && strchr (parent_name, '/') == NULL)
    return g_strdup (wanted->name);
  return g_build_filename (directory, wanted->name, NULL);
}

static ImgStorage *
deny (const ImgReference *reference, const char *reason, ImgError **error)
{
  g_autofree char *name = img_quote_name (reference->wanted->name);

  /* Translators: the second %s is a reason. */
  if (reference->wanted->role == IMG_REFERENCE_DATA_FILE)
    img_error_set (error, IMG_CODE_REFERENCE_DENIED,
                   _("The image refers to the data file %s, which was not granted: %s"), name, reason);
  else
    img_error_set (error, IMG_CODE_REFERENCE_DENIED,
                   _("The image refers to the backing file %s, which was not granted: %s"), name,
                   reason);
  return NULL;
}

/* ---- deny ---- */

static ImgStorage *
deny_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  return deny (reference,
               _("no file that an image names is opened unless the reference policy allows it"),
               error);
}

static const ImgPolicyClass deny_class = { deny_decide, free_plain };

ImgPolicy *
img_policy_new_deny (void)
{
  return new_plain (&deny_class);
}

/* Nothing is opened for writing but what is going to be written. */
static ImgFileFlags
file_flags (const ImgReference *reference)
{
  return reference->needs_write ? IMG_FILE_WRITABLE : IMG_FILE_NONE;
}

/* ---- permissive ---- */

static ImgStorage *
permissive_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  g_autofree char *path =
    img_wanted_resolve (reference->wanted, img_storage_get_name (reference->parent));

  if (path == NULL)
    return deny (reference, _("it is no plain file name, or the image itself has none"), error);
  return img_file_storage_open (path, file_flags (reference), error);
}

static const ImgPolicyClass permissive_class = { permissive_decide, free_plain };

ImgPolicy *
img_policy_new_permissive (void)
{
  ImgPolicy *policy = new_plain (&permissive_class);

  policy->may_probe = TRUE;
  return policy;
}

/* ---- same directory ---- */

static gboolean
is_same_file (const struct stat *a, const struct stat *b)
{
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The folder that the image really lies in, links resolved: its path, and a descriptor that stays
 * right whatever happens to the path. -1 if the image has no name, or if its name now means another
 * file. */
static int
open_real_directory (ImgStorage *parent, char **path)
{
  const char *name = img_storage_get_name (parent);
  char *real = name != NULL ? realpath (name, NULL) : NULL;
  g_autofree char *base = NULL;
  struct stat opened, named;
  int fd;

  if (real == NULL)
    return -1;
  *path = g_path_get_dirname (real);
  base = g_path_get_basename (real);
  free (real);
  fd = open (*path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && fstat (img_file_storage_get_fd (parent), &opened) == 0 &&
      fstatat (fd, base, &named, AT_SYMLINK_NOFOLLOW) == 0 && is_same_file (&opened, &named))
    return fd;
  if (fd >= 0)
    close (fd);
  return -1;
}

/* @name without its folder if that folder is @directory_fd by device and inode; NULL otherwise. */
static char *
name_inside (const char *name, int directory_fd)
{
  g_autofree char *base = g_path_get_basename (name);
  struct stat ours, theirs;

  if (strchr (name, '/') != NULL)
    {
      g_autofree char *folder = g_path_get_dirname (name);

      if (g_str_has_suffix (name, "/") || fstat (directory_fd, &ours) != 0 ||
          fstatat (directory_fd, folder, &theirs, 0) != 0 || !is_same_file (&ours, &theirs))
        return NULL;
    }
  if (g_str_equal (base, ".") || g_str_equal (base, "..") || strlen (base) > 255)
    return NULL;
  return g_steal_pointer (&base);
}

static gboolean
is_plain_name (const char *name)
{
  if (name[0] == '\0' || has_scheme (name) || !g_utf8_validate (name, -1, NULL))
    return FALSE;
  for (const char *p = name; *p != '\0'; p = g_utf8_next_char (p))
    if (g_unichar_iscntrl (g_utf8_get_char (p)))
      return FALSE;
  return TRUE;
}

/* Somebody who can write into the folder must not be able to slip another user's file in. */
static gboolean
has_trusted_owner (ImgStorage *storage, ImgStorage *parent)
{
  struct stat file, image;

  return fstat (img_file_storage_get_fd (storage), &file) == 0 &&
         fstat (img_file_storage_get_fd (parent), &image) == 0 &&
         (file.st_uid == geteuid () || file.st_uid == image.st_uid);
}

/* A raw file that looks like an image would be read as its container and shown to a guest. */
static gboolean
is_honest_raw (ImgStorage *storage, const ImgReference *reference, ImgError **error)
{
  g_autoptr (GPtrArray) matches = NULL;

  if (reference->wanted->role == IMG_REFERENCE_DATA_FILE ||
      g_strcmp0 (reference->format_name, "raw") != 0)
    return TRUE;
  matches = img_drivers_probe (storage, error);
  if (matches == NULL)
    return FALSE;
  if (matches->len == 0)
    return TRUE;
  deny (reference, _("the image calls it raw, but it looks like another disk image"), error);
  return FALSE;
}

/* The path to show and to resolve further names by: as the user named the image if that is the same
 * folder, else through the real one. */
static char *
path_beside (int directory_fd,
             const char *directory,
             const char *name,
             const ImgReference *reference)
{
  g_autofree char *path =
    img_wanted_resolve (reference->wanted, img_storage_get_name (reference->parent));
  g_autofree char *folder = path != NULL ? g_path_get_dirname (path) : NULL;
  struct stat ours, theirs;

  if (path != NULL && fstat (directory_fd, &ours) == 0 && stat (folder, &theirs) == 0 &&
      is_same_file (&ours, &theirs))
    return g_steal_pointer (&path);
  return g_build_filename (directory, name, NULL);
}

static ImgStorage *
open_beside (int directory_fd, const char *directory, ImgReference *reference, ImgError **error)
{
  g_autofree char *name = name_inside (reference->wanted->name, directory_fd);
  g_autofree char *path = NULL;
  g_autoptr (ImgStorage) storage = NULL;

  if (name == NULL)
    return deny (reference, _("it is not in the folder of the image"), error);
  path = path_beside (directory_fd, directory, name, reference);
  storage = img_file_storage_open_beneath (directory_fd, name, path, file_flags (reference), error);
  if (storage == NULL)
    return NULL;
  if (!has_trusted_owner (storage, reference->parent))
    return deny (reference, _("it belongs to another user"), error);
  if (!is_honest_raw (storage, reference, error))
    return NULL;
  return g_steal_pointer (&storage);
}

static ImgStorage *
same_directory_decide (ImgPolicy *policy,
                       ImgReference *reference,
                       ImgCancel *cancel,
                       ImgError **error)
{
  g_autofree char *directory = NULL;
  ImgStorage *storage;
  int directory_fd;

  if (!is_plain_name (reference->wanted->name))
    return deny (reference, _("it is no plain file name"), error);
  directory_fd = open_real_directory (reference->parent, &directory);
  if (directory_fd < 0)
    return deny (reference, _("the folder of the image is not known"), error);
  storage = open_beside (directory_fd, directory, reference, error);
  close (directory_fd);
  return storage;
}

static const ImgPolicyClass same_directory_class = { same_directory_decide, free_plain };

ImgPolicy *
img_policy_new_same_directory (void)
{
  return new_plain (&same_directory_class);
}
