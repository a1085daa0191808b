/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Files that appear at once or not at all. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "img-file-storage.h"
#include "img-new-file.h"
#include "test-folder.h"

typedef struct
{
  char *folder;
  char *path;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
  fixture->path = g_build_filename (fixture->folder, "target", NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  test_folder_remove (fixture->folder);
  g_free (fixture->path);
}

static void
assert_content (const char *path, const char *expected)
{
  g_autofree char *content = NULL;

  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, expected);
}

static ImgNewFile *
create (const char *path, gboolean overwrite, const char *content)
{
  ImgError *error = NULL;
  ImgNewFile *file = img_new_file_create (path, overwrite, &error);

  g_assert_null (error);
  g_assert_cmpint (write (img_new_file_get_fd (file), content, strlen (content)), ==,
                   (gssize) strlen (content));
  return file;
}

static void
test_new (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgNewFile) file = create (fixture->path, FALSE, "new");
  ImgIdentity identity;

  g_assert_false (g_file_test (fixture->path, G_FILE_TEST_EXISTS));
  g_assert_false (img_new_file_get_replaced (file, &identity));
  g_assert_true (img_new_file_publish (file, TRUE, NULL));
  assert_content (fixture->path, "new");
  g_clear_pointer (&file, img_new_file_free);
  assert_content (fixture->path, "new");
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_abandoned (Fixture *fixture, gconstpointer data)
{
  img_new_file_free (create (fixture->path, FALSE, "never seen"));
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

static void
test_exists (Fixture *fixture, gconstpointer data)
{
  ImgError *error = NULL;
  g_autoptr (ImgNewFile) file = NULL;

  g_file_set_contents (fixture->path, "old", -1, NULL);
  g_assert_null (img_new_file_create (fixture->path, FALSE, &error));
  g_assert_cmpint (error->system_errno, ==, EEXIST);
  img_error_clear (&error);

  /* Somebody takes the name while we write: theirs stays. */
  g_unlink (fixture->path);
  file = create (fixture->path, FALSE, "ours");
  g_file_set_contents (fixture->path, "theirs", -1, NULL);
  g_assert_false (img_new_file_publish (file, FALSE, &error));
  g_assert_cmpint (error->system_errno, ==, EEXIST);
  img_error_clear (&error);
  g_clear_pointer (&file, img_new_file_free);
  assert_content (fixture->path, "theirs");
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_replace (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgNewFile) file = NULL;
  ImgIdentity identity;
  struct stat before, after;
  char value[8] = "";
  gboolean has_xattr;

  g_file_set_contents (fixture->path, "old", -1, NULL);
  g_assert_cmpint (chmod (fixture->path, 0640), ==, 0);
  has_xattr = setxattr (fixture->path, "user.imago", "kept", 4, 0) == 0;
  g_assert_cmpint (stat (fixture->path, &before), ==, 0);

  file = create (fixture->path, TRUE, "replacement");
  assert_content (fixture->path, "old");
  g_assert_true (img_new_file_get_replaced (file, &identity));
  g_assert_cmpuint (identity.inode, ==, before.st_ino);
  g_assert_true (img_new_file_publish (file, TRUE, NULL));
  g_clear_pointer (&file, img_new_file_free);
  assert_content (fixture->path, "replacement");
  g_assert_cmpint (stat (fixture->path, &after), ==, 0);
  g_assert_cmpuint (after.st_mode, ==, before.st_mode);
  g_assert_cmpuint (after.st_uid, ==, before.st_uid);
  if (has_xattr)
    {
      g_assert_cmpint (getxattr (fixture->path, "user.imago", value, sizeof value), ==, 4);
      g_assert_cmpstr (value, ==, "kept");
    }
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

/* Another file comes to the name while we write: it was not agreed to replace that one. */
static void
test_replaced_moved (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgNewFile) file = NULL;
  ImgError *error = NULL;

  g_file_set_contents (fixture->path, "old", -1, NULL);
  file = create (fixture->path, TRUE, "ours");
  g_unlink (fixture->path);
  g_file_set_contents (fixture->path, "stranger", -1, NULL);
  g_assert_false (img_new_file_publish (file, FALSE, &error));
  g_assert_cmpint (error->system_errno, ==, EBUSY);
  img_error_free (error);
  g_clear_pointer (&file, img_new_file_free);
  assert_content (fixture->path, "stranger");
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

/* The name is a link: what it names is replaced, or made. */
static void
test_symlink (Fixture *fixture, gconstpointer data)
{
  g_autofree char *link = g_build_filename (fixture->folder, "link", NULL);
  g_autoptr (ImgNewFile) file = NULL;
  ImgError *error = NULL;

  g_assert_cmpint (symlink ("target", link), ==, 0);
  file = create (link, FALSE, "through");
  g_assert_true (img_new_file_publish (file, FALSE, NULL));
  g_clear_pointer (&file, img_new_file_free);
  assert_content (fixture->path, "through");
  g_assert_true (g_file_test (link, G_FILE_TEST_IS_SYMLINK));
  g_unlink (fixture->path);

  g_assert_cmpint (symlink ("link", fixture->path), ==, 0); /* a circle */
  g_assert_null (img_new_file_create (link, TRUE, &error));
  g_assert_cmpint (error->system_errno, ==, ELOOP);
  img_error_free (error);
}

static void
test_special (Fixture *fixture, gconstpointer data)
{
  g_autofree char *missing = g_build_filename (fixture->folder, "missing", "target", NULL);
  ImgError *error = NULL;

  g_assert_null (img_new_file_create (missing, TRUE, &error));
  g_assert_cmpint (error->system_errno, ==, ENOENT);
  img_error_clear (&error);
  g_assert_null (img_new_file_create ("/dev/null", TRUE, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_NOT_REGULAR_FILE));
  img_error_clear (&error);
  g_assert_cmpint (mkfifo (fixture->path, 0600), ==, 0);
  g_assert_null (img_new_file_create (fixture->path, TRUE, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_NOT_REGULAR_FILE));
  img_error_clear (&error);
}

/* Another program uses the old file as QEMU would say it: it does not share resizing. */
static void
test_locked (Fixture *fixture, gconstpointer data)
{
#ifdef F_OFD_SETLK
  static const guint8 bytes[] = { 201, 203, 103 };

  g_file_set_contents (fixture->path, "old", -1, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    {
      struct flock lock = { .l_type = F_RDLCK,
                            .l_whence = SEEK_SET,
                            .l_start = bytes[i],
                            .l_len = 1 };
      int fd = open (fixture->path, O_RDONLY | O_CLOEXEC);
      ImgError *error = NULL;

      g_assert_cmpint (fcntl (fd, F_OFD_SETLK, &lock), ==, 0);
      g_assert_null (img_new_file_create (fixture->path, TRUE, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
      g_assert_nonnull (strstr (error->text, fixture->path));
      g_assert_nonnull (strstr (error->text, "another process"));
      img_error_free (error);
      close (fd);
    }
  img_new_file_free (create (fixture->path, TRUE, "x"));
  assert_content (fixture->path, "old");
#else
  g_test_skip ("no open file description locks on this system");
#endif
}

/* So does this process: by the registry, which knows of all its descriptors. */
static void
test_locked_here (Fixture *fixture, gconstpointer data)
{
  static const struct
  {
    ImgLockRole role;
    const char *words; /* NULL: not in the way */
  } holders[] = {
    { IMG_LOCK_READ, "this process has it open for reading" },
    { IMG_LOCK_READ_SHARED, NULL },
    { IMG_LOCK_WRITE, "this process has it open for writing" },
    { IMG_LOCK_CREATE, "this process has it open for writing" },
  };
  g_autoptr (ImgStorage) storage = NULL;

  g_file_set_contents (fixture->path, "old", -1, NULL);
  storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (holders); i++)
    {
      g_autoptr (ImgFileLock) lock = NULL;
      g_autoptr (ImgNewFile) file = NULL;
      g_autoptr (ImgError) error = NULL;

      g_assert_true (img_storage_lock (storage, holders[i].role, IMG_LOCKING_AUTO, &lock, NULL));
      file = img_new_file_create (fixture->path, TRUE, &error);
      g_assert_true ((file != NULL) == (holders[i].words == NULL));
      if (file != NULL)
        continue;
      g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
      g_assert_nonnull (strstr (error->text, holders[i].words));
    }
  assert_content (fixture->path, "old");
}

/* Two do not replace one file at once; the second does once the first has gone. */
static void
test_two (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgNewFile) first = NULL;
  g_autoptr (ImgNewFile) second = NULL;
  g_autoptr (ImgError) error = NULL;

  g_file_set_contents (fixture->path, "old", -1, NULL);
  first = create (fixture->path, TRUE, "first");
  g_assert_null (img_new_file_create (fixture->path, TRUE, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
  g_assert_true (img_new_file_publish (first, FALSE, NULL));
  g_clear_pointer (&first, img_new_file_free);
  second = create (fixture->path, TRUE, "second");
  g_assert_true (img_new_file_publish (second, FALSE, NULL));
  assert_content (fixture->path, "second");
}

/* What a killed run left goes with the next run; what somebody still writes stays. */
static void
test_stale (Fixture *fixture, gconstpointer data)
{
#ifdef F_OFD_SETLK
  g_autofree char *stale = g_build_filename (fixture->folder, ".imago-target.aaaaaa", NULL);
  g_autofree char *live = g_build_filename (fixture->folder, ".imago-target.bbbbbb", NULL);
  g_autofree char *other = g_build_filename (fixture->folder, ".imago-target2.cccccc", NULL);
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  int fd;

  g_file_set_contents (stale, "", 0, NULL);
  g_file_set_contents (live, "", 0, NULL);
  g_file_set_contents (other, "", 0, NULL);
  fd = open (live, O_RDWR | O_CLOEXEC);
  g_assert_cmpint (fcntl (fd, F_OFD_SETLK, &lock), ==, 0);
  img_new_file_free (create (fixture->path, FALSE, "x"));
  g_assert_false (g_file_test (stale, G_FILE_TEST_EXISTS));
  g_assert_true (g_file_test (live, G_FILE_TEST_EXISTS));
  g_assert_true (g_file_test (other, G_FILE_TEST_EXISTS));
  close (fd);
#else
  g_test_skip ("no open file description locks on this system");
#endif
}

#define ADD_TEST(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_TEST ("/new-file/new", test_new);
  ADD_TEST ("/new-file/abandoned", test_abandoned);
  ADD_TEST ("/new-file/exists", test_exists);
  ADD_TEST ("/new-file/replace", test_replace);
  ADD_TEST ("/new-file/replaced-moved", test_replaced_moved);
  ADD_TEST ("/new-file/symlink", test_symlink);
  ADD_TEST ("/new-file/special", test_special);
  ADD_TEST ("/new-file/locked", test_locked);
  ADD_TEST ("/new-file/locked-here", test_locked_here);
  ADD_TEST ("/new-file/two", test_two);
  ADD_TEST ("/new-file/stale", test_stale);
  return g_test_run ();
}
