/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "img-new-file.h"

#define TEMPORARY_SUFFIX_LENGTH 6

struct _ImgNewFile
{
  int fd;
  int directory_fd;
  char *path;           /* as given, for messages */
  char *name;           /* in the directory, symbolic links resolved */
  char *temporary_name; /* NULL while the file has none */
  int replaced_fd;      /* the file to be replaced; -1: there is none */
  ImgFileLock *replaced_lock;
  ImgSuccession *succession; /* NULL: not to a file that the caller has open */
};

static gboolean
fail (ImgError **error, int saved_errno, const char *path)
{
  g_autofree char *quoted = img_quote_name (path);

  img_error_set_errno (error, saved_errno, _("Cannot create %s"), quoted);
  return FALSE;
}

/* ---- the file that is replaced ---- */

static gboolean
lock_replaced (ImgNewFile *file, ImgError **error)
{
  ImgIdentity identity;

  if (!img_new_file_get_replaced (file, &identity))
    return fail (error, errno, file->path);
  file->replaced_lock = img_file_lock_take (file->replaced_fd, &identity, file->path,
                                            IMG_LOCK_CREATE, IMG_LOCKING_AUTO, error);
  return file->replaced_lock != NULL;
}

/* Whether the caller's file is at its name, and at no other. */
static gboolean
check_predecessor (ImgNewFile *file, const struct stat *st, ImgError **error)
{
  const ImgIdentity *expected = &file->succession->file;
  g_autofree char *quoted = img_quote_name (file->path);

  if (expected->device != (guint64) st->st_dev || expected->inode != (guint64) st->st_ino)
    img_error_set_errno (error, EBUSY, _("Cannot replace %s: another file is there now"), quoted);
  else if (st->st_nlink > 1)
    img_error_set (error, IMG_CODE_UNSUPPORTED,
                   _("Cannot replace %s: it has other names (hard links), which would keep the old file"),
                   quoted);
  else
    return TRUE;
  return FALSE;
}

static gboolean
check_replaced (ImgNewFile *file, const struct stat *st, ImgError **error)
{
  g_autofree char *quoted = NULL;

  if (S_ISREG (st->st_mode))
    return file->succession == NULL || check_predecessor (file, st, error);
  quoted = img_quote_name (file->path);
  img_error_set (error, IMG_CODE_NOT_REGULAR_FILE, _("Cannot replace %s: not a regular file"), quoted);
  return FALSE;
}

/* FALSE only on error; without a file there replaced_fd stays -1. */
static gboolean
open_replaced (ImgNewFile *file, gboolean overwrite, ImgError **error)
{
  struct stat st;

  if (fstatat (file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return (errno == ENOENT && file->succession == NULL) || fail (error, errno, file->path);
  if (!overwrite)
    return fail (error, EEXIST, file->path);
  if (!check_replaced (file, &st, error))
    return FALSE;
  /* Replacing needs no right to the old file, but only who may write to it is meant to change it. */
  if (faccessat (file->directory_fd, file->name, W_OK, AT_EACCESS) != 0)
    return fail (error, errno, file->path);
  file->replaced_fd =
    openat (file->directory_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file->replaced_fd < 0)
    return fail (error, errno, file->path);
  return file->succession != NULL || lock_replaced (file, error);
}

/* The system gives every file a label of its own. */
static gboolean
is_label (const char *name)
{
  return g_str_has_prefix (name, "security.");
}

/* One after the other, each ended by a NUL. *names: NULL if there are none. An errno; 0 for success. */
static int
list_attributes (int fd, char **names, gsize *length)
{
  ssize_t size = flistxattr (fd, NULL, 0);

  *names = NULL;
  *length = 0;
  if (size == 0 || (size < 0 && errno == ENOTSUP))
    return 0;
  if (size > 0)
    {
      *names = g_malloc ((gsize) size);
      size = flistxattr (fd, *names, (gsize) size);
    }
  if (size < 0)
    return errno;
  *length = (gsize) size;
  return 0;
}

static int
copy_attribute (int from, int to, const char *name)
{
  char value[65536]; /* the kernel's limit for one attribute */
  ssize_t size = fgetxattr (from, name, value, sizeof value);

  return size >= 0 && fsetxattr (to, name, value, (gsize) size, 0) == 0 ? 0 : errno;
}

/* A new file may inherit some from its folder: an access control list that lets in whom the old file did not. */
static int
drop_attribute (int from, int to, const char *name)
{
  if (fgetxattr (from, name, NULL, 0) >= 0 || errno != ENODATA)
    return 0;
  return fremovexattr (to, name) == 0 ? 0 : errno;
}

/* An errno: why one of them could not be made like that of the old file; 0 for success. */
static int
copy_attributes (int from, int to)
{
  g_autofree char *own = NULL;
  g_autofree char *names = NULL;
  gsize own_length, length;
  int result = list_attributes (to, &own, &own_length), one;

  for (char *name = own; name != NULL && name < own + own_length; name += strlen (name) + 1)
    if (!is_label (name) && (one = drop_attribute (from, to, name)) != 0)
      result = one;
  if ((one = list_attributes (from, &names, &length)) != 0)
    return one;
  for (char *name = names; name != NULL && name < names + length; name += strlen (name) + 1)
    if ((one = copy_attribute (from, to, name)) != 0 && !is_label (name))
      result = one;
  return result;
}

/* As far as this process may: an unprivileged one keeps its own group and owner. An errno: why not all of it; 0 for
 * success. */
static int
keep_metadata (ImgNewFile *file)
{
  struct stat st;
  int result = 0, attributes_result;

  if (fstat (file->replaced_fd, &st) != 0)
    return errno;
  if (fchown (file->fd, st.st_uid, st.st_gid) != 0)
    {
      result = errno;
      if (fchown (file->fd, (uid_t) -1, st.st_gid) != 0)
        st.st_mode &= ~(mode_t) (S_ISUID | S_ISGID);
    }
  if (fchmod (file->fd, st.st_mode & 07777) != 0)
    result = errno;
  attributes_result = copy_attributes (file->replaced_fd, file->fd);
  return result != 0 ? result : attributes_result;
}

static gboolean
keep_all_metadata (ImgNewFile *file, ImgError **error)
{
  int result = keep_metadata (file);
  g_autofree char *quoted = NULL;

  if (result == 0 || file->succession == NULL)
    return TRUE;
  quoted = img_quote_name (file->path);
  img_error_set_errno (error, result,
                       _("Cannot give the owner, the mode and the attributes of %s to a new file"), quoted);
  return FALSE;
}

/* ---- names ---- */

/* The directory and name that @path leads to; a symbolic link leads to what it names, also when
 * that does not exist yet. */
static gboolean
resolve (ImgNewFile *file, ImgError **error)
{
  g_autofree char *target = g_strdup (file->path);
  g_autofree char *directory = NULL;

  for (guint hops = 0; g_file_test (target, G_FILE_TEST_IS_SYMLINK); hops++)
    {
      g_autofree char *link = g_file_read_link (target, NULL);
      g_autofree char *parent = g_path_get_dirname (target);

      if (link == NULL || hops == 40)
        return fail (error, ELOOP, file->path);
      g_free (target);
      target =
        g_path_is_absolute (link) ? g_steal_pointer (&link) : g_build_filename (parent, link, NULL);
    }
  directory = g_path_get_dirname (target);
  file->name = g_path_get_basename (target);
  file->directory_fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return file->directory_fd >= 0 || fail (error, errno, file->path);
}

static char *
temporary_prefix (ImgNewFile *file)
{
  /* A name may be as long as the file system allows; the prefix must not make it longer. */
  return g_strdup_printf (".imago-%.200s.", file->name);
}

static gboolean
is_stale (ImgNewFile *file, const char *name)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  gboolean stale;
  int fd = openat (file->directory_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

  if (fd < 0)
    return FALSE;
#ifdef F_OFD_SETLK
  stale = fcntl (fd, F_OFD_SETLK, &lock) == 0; /* whoever still writes it holds a lock on it */
#else
  stale = FALSE;
#endif
  close (fd);
  return stale;
}

/* What killed runs for the same target left. */
static void
remove_stale (ImgNewFile *file)
{
  g_autofree char *prefix = temporary_prefix (file);
  int fd = openat (file->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir (fd) : NULL;

  if (directory == NULL)
    {
      if (fd >= 0)
        close (fd);
      return;
    }
  for (struct dirent *entry = readdir (directory); entry != NULL; entry = readdir (directory))
    if (g_str_has_prefix (entry->d_name, prefix) &&
        strlen (entry->d_name) == strlen (prefix) + TEMPORARY_SUFFIX_LENGTH &&
        is_stale (file, entry->d_name))
      unlinkat (file->directory_fd, entry->d_name, 0);
  closedir (directory);
}

static char *
random_name (ImgNewFile *file)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  g_autofree char *prefix = temporary_prefix (file);
  char suffix[TEMPORARY_SUFFIX_LENGTH + 1] = "";

  for (guint i = 0; i < TEMPORARY_SUFFIX_LENGTH; i++)
    suffix[i] = letters[g_random_int_range (0, sizeof letters - 1)];
  return g_strconcat (prefix, suffix, NULL);
}

/* ---- the new file ---- */

#define MAX_TRIES 100

/* Of a temporary file, behind those that images are locked by: it is opened as an image before it has its name. */
#define TEMPORARY_BYTE 300

/* Another run takes a temporary file that nobody has locked for a stale one: it may have been removed before
 * the lock was there. */
static gboolean
lock_temporary (int fd)
{
#ifdef F_OFD_SETLK
  struct flock lock = { .l_type = F_WRLCK,
                        .l_whence = SEEK_SET,
                        .l_start = TEMPORARY_BYTE,
                        .l_len = 1 };
  struct stat st;

  fcntl (fd, F_OFD_SETLK, &lock);
  return fstat (fd, &st) == 0 && st.st_nlink > 0;
#else
  return TRUE;
#endif
}

static gboolean
open_named (ImgNewFile *file, ImgError **error)
{
  for (guint i = 0; i < MAX_TRIES; i++)
    {
      g_autofree char *name = random_name (file);
      int fd = openat (file->directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

      if (fd >= 0 && lock_temporary (fd))
        {
          file->fd = fd;
          file->temporary_name = g_steal_pointer (&name);
          return TRUE;
        }
      if (fd >= 0)
        close (fd);
      else if (errno != EEXIST)
        break;
    }
  return fail (error, errno, file->path);
}

static gboolean
open_new (ImgNewFile *file, ImgError **error)
{
#ifdef O_TMPFILE
  /* That is how it gets a name. */
  if (access ("/proc/self/fd", X_OK) != 0)
    return open_named (file, error);
  file->fd = openat (file->directory_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
  if (file->fd >= 0)
    {
      lock_temporary (file->fd); /* for when it gets a temporary name */
      return TRUE;
    }
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
    return fail (error, errno, file->path);
#endif
  return open_named (file, error);
}

static ImgNewFile *
create (const char *path, gboolean overwrite, ImgSuccession *succession, ImgError **error)
{
  g_autoptr (ImgNewFile) file = g_new0 (ImgNewFile, 1);

  file->fd = file->directory_fd = file->replaced_fd = -1;
  file->path = g_strdup (path);
  file->succession = succession;
  if (!resolve (file, error))
    return NULL;
  /* Before there is a lock on the file that is replaced: one of them may be the same file. */
  remove_stale (file);
  if (!open_replaced (file, overwrite, error) || !open_new (file, error))
    return NULL;
  if (file->replaced_fd >= 0 && !keep_all_metadata (file, error))
    return NULL;
  return g_steal_pointer (&file);
}

ImgNewFile *
img_new_file_create (const char *path, gboolean overwrite, ImgError **error)
{
  return create (path, overwrite, NULL, error);
}

ImgNewFile *
img_new_file_create_successor (const char *path, ImgSuccession *succession, ImgError **error)
{
  return create (path, TRUE, succession, error);
}

int
img_new_file_get_fd (ImgNewFile *file)
{
  return file->fd;
}

gboolean
img_new_file_get_replaced (ImgNewFile *file, ImgIdentity *identity)
{
  struct stat st;

  if (file->replaced_fd < 0 || fstat (file->replaced_fd, &st) != 0)
    return FALSE;
  *identity = (ImgIdentity) { (guint64) st.st_dev, (guint64) st.st_ino };
  return TRUE;
}

/* ---- publishing ---- */

static gboolean
link_as (ImgNewFile *file, const char *name)
{
  char source[32];

  if (file->temporary_name != NULL)
    return linkat (file->directory_fd, file->temporary_name, file->directory_fd, name, 0) == 0;
  g_snprintf (source, sizeof source, "/proc/self/fd/%d", file->fd);
  return linkat (AT_FDCWD, source, file->directory_fd, name, AT_SYMLINK_FOLLOW) == 0;
}

static gboolean
ensure_temporary_name (ImgNewFile *file)
{
  for (guint i = 0; i < MAX_TRIES && file->temporary_name == NULL; i++)
    {
      g_autofree char *name = random_name (file);

      if (link_as (file, name))
        file->temporary_name = g_steal_pointer (&name);
      else if (errno != EEXIST)
        break;
    }
  return file->temporary_name != NULL;
}

/* Whether the name means the file of @fd. */
static gboolean
is_named (ImgNewFile *file, int fd)
{
  struct stat own, named;

  return fstat (fd, &own) == 0 &&
         fstatat (file->directory_fd, file->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

/* Somebody may have given it another one meanwhile. */
static gboolean
has_one_name (int fd)
{
  struct stat st;

  return fstat (fd, &st) == 0 && st.st_nlink == 1;
}

static void
note_succession (ImgNewFile *file)
{
  struct stat st;

  file->succession->is_done = TRUE;
  if (fstat (file->fd, &st) == 0)
    file->succession->usage = (guint64) st.st_blocks * 512;
}

/* FALSE: it has not its name, see errno. */
static gboolean
rename_temporary (ImgNewFile *file)
{
  if (renameat (file->directory_fd, file->temporary_name, file->directory_fd, file->name) != 0)
    return FALSE;
  g_clear_pointer (&file->temporary_name, g_free);
  return TRUE;
}

/* In one step, where the system and the file system know how. */
static gboolean
rename_to_nothing (ImgNewFile *file)
{
#ifdef RENAME_NOREPLACE
  if (renameat2 (file->directory_fd, file->temporary_name, file->directory_fd, file->name, RENAME_NOREPLACE) != 0)
    return FALSE;
  g_clear_pointer (&file->temporary_name, g_free);
  return TRUE;
#else
  errno = ENOSYS;
  return FALSE;
#endif
}

/* Fails if somebody else took the name meanwhile. Only where the file system knows neither way of making sure of that,
 * as some that have no links, there is a moment between looking and renaming. */
static gboolean
give_new_name (ImgNewFile *file)
{
  struct stat st;

  if (file->temporary_name == NULL)
    return link_as (file, file->name);
  if (rename_to_nothing (file))
    return TRUE;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
    return FALSE;
  if (link_as (file, file->name))
    return TRUE;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK)
    return FALSE;
  if (fstatat (file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT && rename_temporary (file);
  errno = EEXIST;
  return FALSE;
}

/* An old name is renamed over. */
static gboolean
give_name (ImgNewFile *file)
{
  if (file->replaced_fd < 0)
    return give_new_name (file);
  /* It must still be the file that was locked and that the caller agreed to replace. */
  if (!is_named (file, file->replaced_fd) ||
      (file->succession != NULL && !has_one_name (file->replaced_fd)))
    {
      errno = EBUSY;
      return FALSE;
    }
  if (!ensure_temporary_name (file) || !rename_temporary (file))
    return FALSE;
  if (file->succession != NULL)
    note_succession (file);
  return TRUE;
}

gboolean
img_new_file_withdraw (ImgNewFile *file)
{
  if (!is_named (file, file->fd))
    return TRUE;
  return file->replaced_fd < 0 && unlinkat (file->directory_fd, file->name, 0) == 0;
}

static gboolean
cut (ImgNewFile *file)
{
  return file->succession == NULL || file->succession->length == 0 ||
         ftruncate (file->fd, (off_t) file->succession->length) == 0;
}

gboolean
img_new_file_publish (ImgNewFile *file, gboolean durable, ImgError **error)
{
  if (!cut (file))
    return fail (error, errno, file->path);
  if (durable && fsync (file->fd) != 0)
    return fail (error, errno, file->path);
  if (!give_name (file))
    return fail (error, errno, file->path);
  if (!durable || fsync (file->directory_fd) == 0)
    return TRUE;
  fail (error, errno, file->path);
  img_new_file_withdraw (file);
  return FALSE;
}

void
img_new_file_free (ImgNewFile *file)
{
  if (file == NULL)
    return;
  if (file->temporary_name != NULL)
    unlinkat (file->directory_fd, file->temporary_name, 0);
  if (file->fd >= 0)
    close (file->fd);
  img_file_lock_release (file->replaced_lock);
  if (file->replaced_fd >= 0)
    close (file->replaced_fd);
  if (file->directory_fd >= 0)
    close (file->directory_fd);
  g_free (file->temporary_name);
  g_free (file->name);
  g_free (file->path);
  g_free (file);
}
