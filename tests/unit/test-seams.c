/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Hosts that this one is not: file systems without locks, block devices. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "img-create.h"
#include "img-file-storage.h"
#include "img-seam.h"

typedef struct
{
  char *path;
  int stranger; /* a descriptor that is not the library's */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  int fd = g_file_open_tmp ("imago-seam-XXXXXX", &fixture->path, NULL);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (ftruncate (fd, 4 * IMG_MIB), ==, 0);
  close (fd);
  fixture->stranger = open (fixture->path, O_RDONLY | O_CLOEXEC);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < IMG_N_SEAMS; i++)
    img_seam_set ((ImgSeam) i, 0);
  close (fixture->stranger);
  g_unlink (fixture->path);
  g_free (fixture->path);
}

static void
assert_bytes (Fixture *fixture, const char *expected)
{
  g_autoptr (GString) seen = g_string_new (NULL);

  for (int byte = 0; byte < 300; byte++)
    {
      struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

      g_assert_cmpint (fcntl (fixture->stranger, F_OFD_GETLK, &lock), ==, 0);
      if (lock.l_type != F_UNLCK)
        g_string_append_printf (seen, "%s%d", seen->len > 0 ? " " : "", byte);
    }
  g_assert_cmpstr (seen->str, ==, expected);
}

/* ---- without locks ---- */

static const int lockless[] = { ENOLCK, ENOSYS, EINVAL, EOPNOTSUPP };

static ImgImage *
open_image (Fixture *fixture, ImgLocking locking, ImgError **error)
{
  ImgImageOptions options = {
    .driver = img_driver_find ("raw"), .layout.writable = TRUE, .locking = locking
  };
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_WRITABLE, NULL);

  g_assert_nonnull (storage);
  return img_image_open (storage, &options, NULL, error);
}

/* Who may do without locks does, but two of one process still meet; who must have them is told. */
static void
test_lockless (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < G_N_ELEMENTS (lockless); i++)
    for (guint seam = IMG_SEAM_LOCK_ERRNO; seam <= IMG_SEAM_PROBE_ERRNO; seam++)
      {
        g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
        g_autoptr (ImgImage) image = NULL;
        g_autoptr (ImgError) error = NULL;

        img_seam_set ((ImgSeam) seam, lockless[i]);
        g_assert_null (open_image (fixture, IMG_LOCKING_ON, &error));
        g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
        g_assert_cmpint (error->system_errno, ==, lockless[i]);
        g_assert_nonnull (strstr (error->text, fixture->path));
        img_error_clear (&error);
        assert_bytes (fixture, "");

        image = open_image (fixture, IMG_LOCKING_AUTO, NULL);
        g_assert_nonnull (image);
        g_assert_true (img_image_open_references (image, policy, NULL, NULL));
        g_assert_true (img_image_write (image, 0, "written", 7, NULL, NULL));
        g_assert_null (open_image (fixture, IMG_LOCKING_AUTO, &error));
        g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
        g_assert_nonnull (strstr (error->text, "this process"));
        g_assert_true (img_image_close (image, NULL));
        img_seam_set ((ImgSeam) seam, 0);
        assert_bytes (fixture, "");
      }
}

/* One that must have locks beside one that has to do without. */
static void
test_mixed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  g_autoptr (ImgFileLock) first = NULL;
  g_autoptr (ImgFileLock) second = NULL;
  g_autoptr (ImgError) error = NULL;

  img_seam_set (IMG_SEAM_LOCK_ERRNO, ENOLCK);
  g_assert_true (img_storage_lock (storage, IMG_LOCK_READ, IMG_LOCKING_AUTO, &first, NULL));
  g_assert_false (img_storage_lock (storage, IMG_LOCK_READ, IMG_LOCKING_ON, &second, &error));
  g_assert_cmpint (error->system_errno, ==, ENOLCK);
  g_assert_null (second);
  g_assert_true (img_storage_lock (storage, IMG_LOCK_READ, IMG_LOCKING_AUTO, &second, NULL));
  g_assert_nonnull (second);
}

/* Anything else that goes wrong is an error, whoever asks. */
static void
test_lock_fails (Fixture *fixture, gconstpointer data)
{
  for (guint seam = IMG_SEAM_LOCK_ERRNO; seam <= IMG_SEAM_PROBE_ERRNO; seam++)
    for (guint locking = IMG_LOCKING_AUTO; locking <= IMG_LOCKING_ON; locking++)
      {
        g_autoptr (ImgError) error = NULL;

        img_seam_set ((ImgSeam) seam, EIO);
        g_assert_null (open_image (fixture, (ImgLocking) locking, &error));
        g_assert_cmpint (error->system_errno, ==, EIO);
        img_error_clear (&error);
        img_seam_set ((ImgSeam) seam, EAGAIN);
        g_assert_null (open_image (fixture, (ImgLocking) locking, &error));
        g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
        img_seam_set ((ImgSeam) seam, 0);
        assert_bytes (fixture, "");
      }
}

/* ---- devices ---- */

static Fixture *watched;

/* As the format's own, with a look at the locks meanwhile. */
static gboolean
create_watched (ImgStorage *storage,
                const ImgCreateOptions *options,
                ImgStorage *data_storage,
                ImgCancel *cancel,
                ImgError **error)
{
  assert_bytes (watched, "101 103 203");
  return img_driver_find ("qcow2")->create (storage, options, data_storage, cancel, error);
}

static ImgCreation
creation_of (Fixture *fixture, const ImgDriver *driver)
{
  return (ImgCreation) { .path = fixture->path, .driver = driver,     .has_size = TRUE,
                         .overwrite = TRUE,     .allow_device = TRUE, .options.size = IMG_MIB };
}

static void
test_device (Fixture *fixture, gconstpointer data)
{
  ImgDriver driver = *img_driver_find ("qcow2");
  ImgCreation creation = creation_of (fixture, &driver);
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;

  watched = fixture;
  driver.create = create_watched;
  img_seam_set (IMG_SEAM_FILES_ARE_DEVICES, TRUE);
  image = img_image_create (&creation, NULL, &error);
  g_assert_null (error);
  g_assert_nonnull (image);
  assert_bytes (fixture, "100 101 103 201 203");
  g_assert_true (img_image_write (image, 0, "written", 7, NULL, NULL));
  g_assert_null (img_image_create (&creation, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
  g_assert_true (img_image_close (image, NULL));
  assert_bytes (fixture, "");
}

/* The device for data is locked as that for the image is. */
static void
test_data_device (Fixture *fixture, gconstpointer data)
{
  ImgDriver driver = *img_driver_find ("qcow2");
  ImgCreation creation = creation_of (fixture, &driver);
  g_autofree char *image_path = g_strconcat (fixture->path, ".qcow2", NULL);
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;

  watched = fixture;
  driver.create = create_watched;
  img_seam_set (IMG_SEAM_FILES_ARE_DEVICES, TRUE);
  creation.path = image_path;
  creation.data_file_path = fixture->path;
  image = img_image_create (&creation, NULL, &error);
  g_assert_null (error);
  g_assert_nonnull (image);
  assert_bytes (fixture, "100 101 103 201 203");
  g_assert_true (img_image_close (image, NULL));
  assert_bytes (fixture, "");
  g_unlink (image_path);
}

/* Nothing is written to a device that somebody counts on. */
static void
test_device_in_use (Fixture *fixture, gconstpointer data)
{
  static const int bytes[] = { 103, 201, 203 };
  ImgCreation creation = creation_of (fixture, img_driver_find ("qcow2"));

  img_seam_set (IMG_SEAM_FILES_ARE_DEVICES, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++)
    {
      struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = bytes[i], .l_len = 1 };
      g_autoptr (ImgStorage) storage = NULL;
      g_autoptr (ImgError) error = NULL;
      char content[4];

      g_assert_cmpint (fcntl (fixture->stranger, F_OFD_SETLK, &lock), ==, 0);
      g_assert_null (img_image_create (&creation, NULL, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
      g_assert_nonnull (strstr (error->text, "another process"));
      storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
      g_assert_true (img_storage_read (storage, 0, content, sizeof content, NULL));
      g_assert_cmpint (memcmp (content, "\0\0\0", sizeof content), ==, 0);
      lock.l_type = F_UNLCK;
      g_assert_cmpint (fcntl (fixture->stranger, F_OFD_SETLK, &lock), ==, 0);
      assert_bytes (fixture, "");
    }
}

/* Nor to one that is to be copied, though no lock says so. */
static void
test_device_as_source (Fixture *fixture, gconstpointer data)
{
  const ImgImageOptions shared = { .driver = img_driver_find ("raw"), .force_share = TRUE };
  ImgCreation creation = creation_of (fixture, img_driver_find ("qcow2"));
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  g_autoptr (ImgImage) source = img_image_open (storage, &shared, NULL, NULL);
  g_autoptr (ImgError) error = NULL;
  char content[4];

  g_assert_nonnull (source);
  creation.source = source;
  img_seam_set (IMG_SEAM_FILES_ARE_DEVICES, TRUE);
  g_assert_null (img_image_create (&creation, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCE_LOOP));
  g_assert_true (img_storage_read (storage, 0, content, sizeof content, NULL));
  g_assert_cmpint (memcmp (content, "\0\0\0", sizeof content), ==, 0);
}

#define ADD(path, func) g_test_add ("/seams/" path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("lockless", test_lockless);
  ADD ("mixed", test_mixed);
  ADD ("lock-fails", test_lock_fails);
  ADD ("device", test_device);
  ADD ("data-device", test_data_device);
  ADD ("device-in-use", test_device_in_use);
  ADD ("device-as-source", test_device_as_source);
  return g_test_run ();
}
