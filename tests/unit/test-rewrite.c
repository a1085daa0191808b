/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Writing an image anew: who can do what with it meanwhile and afterwards, and what is left when it comes to nothing. */

#include "config.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img-file-storage.h"
#include "img-rewrite.h"
#include "img-seam.h"
#include "test-storages.h"

#define DISK (4 * IMG_MIB)
#define DATA (3 * IMG_MIB)
#define CLUSTER 65536

typedef struct
{
  char *folder;
  char *path;
  ino_t inode;
  ImgImage *image;
  ImgProgress progress;
  ImgCancel *cancel;
} Fixture;

static ino_t
find_inode (Fixture *fixture)
{
  struct stat st;

  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  return st.st_ino;
}

static ImgImage *
open_image (const char *path, ImgImage *backing)
{
  const ImgImageOptions options = { .driver = img_driver_find ("qcow2"), .layout.writable = TRUE };
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_WRITABLE, NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgError) error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (backing != NULL)
    g_assert_true (img_image_set_backing (image, backing, NULL));
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
make_file (const char *path, guint64 size)
{
  const ImgCreateOptions options = { .size = size };
  g_autoptr (ImgStorage) storage = NULL;

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  storage = img_file_storage_open (path, IMG_FILE_WRITABLE, NULL);
  g_assert_true (img_driver_find ("qcow2")->create (storage, &options, NULL, NULL, NULL));
  g_assert_true (img_storage_flush (storage, NULL));
}

static void
set_up (Fixture *fixture, gconstpointer user_data)
{
  g_autofree guint8 *data = g_malloc (DATA);

  fixture->folder = g_dir_make_tmp ("imago-rewrite-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
  fixture->path = g_build_filename (fixture->folder, "image", NULL);
  make_file (fixture->path, DISK);
  fixture->inode = find_inode (fixture);
  fixture->image = open_image (fixture->path, NULL);
  for (gsize i = 0; i < DATA; i++)
    data[i] = test_pattern_byte (i, 1);
  g_assert_true (img_image_write (fixture->image, 0, data, DATA, NULL, NULL));
}

/* Nothing but the image must be there. */
static void
tear_down (Fixture *fixture, gconstpointer user_data)
{
  for (guint i = 0; i < IMG_N_SEAMS; i++)
    img_seam_set ((ImgSeam) i, 0);
  img_image_unref (fixture->image);
  g_unlink (fixture->path);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static gboolean
rewrite (Fixture *fixture, guint64 bytes_per_second, ImgCancel *cancel, ImgError **error)
{
  const ImgRewriteOptions options = { .bytes_per_second = bytes_per_second };
  ImgRewriteResult result;
  gboolean success = img_rewrite (fixture->image, &options, &result, &fixture->progress, cancel, error);

  g_assert_true (result.is_replaced == success);
  return success;
}

static void
assert_byte (ImgImage *image, guint64 offset, guint8 expected)
{
  guint8 byte = 0;

  g_assert_true (img_image_read (image, offset, &byte, 1, NULL, NULL));
  g_assert_cmphex (byte, ==, expected);
}

/* As if nothing had happened. */
static void
assert_usable (Fixture *fixture)
{
  g_assert_cmpuint (find_inode (fixture), ==, fixture->inode);
  g_assert_true (img_image_write (fixture->image, DATA - 1, "z", 1, NULL, NULL));
  assert_byte (fixture->image, DATA - 1, 'z');
  assert_byte (fixture->image, 5, test_pattern_byte (5, 1));
  g_assert_true (img_image_close (fixture->image, NULL));
}

/* Takes @error. */
static void
assert_code (ImgError *error, ImgCode code)
{
  g_assert_nonnull (error);
  g_assert_cmpint (error->code, ==, code);
  img_error_free (error);
}

/* ---- an image that is frozen ---- */

static void
assert_no_change (ImgImage *image)
{
  ImgError *error = NULL;

  g_assert_false (img_image_write (image, 0, "x", 1, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_write (image, DISK - 1, "x", 1, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_write_zeroes (image, 0, CLUSTER, IMG_ZERO_UNMAP, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_discard (image, 0, CLUSTER, IMG_DISCARD_ANY, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_resize (image, 2 * DISK, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_set_backing_name (image, "base", "raw", &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_reclaim (image, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_assert_false (img_image_freeze (image, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
}

static void
test_frozen (Fixture *fixture, gconstpointer user_data)
{
  g_assert_true (img_image_freeze (fixture->image, NULL, NULL));
  assert_no_change (fixture->image);
  assert_byte (fixture->image, 5, test_pattern_byte (5, 1));
  g_assert_true (img_image_flush (fixture->image, NULL, NULL));
  img_image_thaw (fixture->image);
  assert_usable (fixture);
}

/* What is read by an overlay stays where it is, and nobody puts one above it meanwhile. */
static void
test_below (Fixture *fixture, gconstpointer user_data)
{
  g_autofree char *path = g_build_filename (fixture->folder, "over", NULL);
  g_autoptr (ImgImage) overlay = NULL;
  ImgError *error = NULL;

  make_file (path, DISK);
  overlay = open_image (path, fixture->image);
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  g_clear_pointer (&overlay, img_image_unref);
  g_assert_true (img_image_freeze (fixture->image, NULL, NULL));
  {
    const ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
    g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);

    overlay = img_image_open (storage, &options, NULL, NULL);
    g_assert_false (img_image_set_backing (overlay, fixture->image, &error));
    assert_code (g_steal_pointer (&error), IMG_CODE_LOCKED);
  }
  img_image_thaw (fixture->image);
  g_assert_true (img_image_set_backing (overlay, fixture->image, NULL));
  g_clear_pointer (&overlay, img_image_unref);
  g_unlink (path);
  assert_usable (fixture);
}

static void
test_abandoned (Fixture *fixture, gconstpointer user_data)
{
  ImgError *error = NULL;
  guint8 byte;

  g_assert_true (rewrite (fixture, 0, NULL, NULL));
  g_assert_cmpuint (find_inode (fixture), !=, fixture->inode);
  g_assert_false (img_image_read (fixture->image, 0, &byte, 1, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_CLOSED);
  g_assert_false (img_image_write (fixture->image, 0, &byte, 1, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_CLOSED);
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_CLOSED);
  g_assert_true (img_image_close (fixture->image, NULL));
  /* The new file is free to be used, though the old one is still there. */
  {
    g_autoptr (ImgImage) image = open_image (fixture->path, NULL);

    assert_byte (image, DATA - 1, test_pattern_byte (DATA - 1, 1));
    g_assert_true (img_image_close (image, NULL));
  }
}

/* ---- what comes to nothing ---- */

static void
test_no_room (Fixture *fixture, gconstpointer user_data)
{
  ImgError *error = NULL;

  img_seam_set (IMG_SEAM_FREE_KIB, 2048);
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, ENOSPC);
  assert_code (error, IMG_CODE_ERRNO);
  assert_usable (fixture);
}

static gpointer
cancel_thread (gpointer data)
{
  Fixture *fixture = data;

  while (g_atomic_int_get (&fixture->progress.phase) != IMG_PHASE_COPY)
    g_thread_yield ();
  img_cancel_trigger (fixture->cancel);
  return NULL;
}

/* In the middle, as at this rate it would take an hour; and before it begins. */
static void
test_cancelled (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  ImgError *error = NULL;
  GThread *thread;

  fixture->cancel = cancel;
  thread = g_thread_new ("cancel", cancel_thread, fixture);
  g_assert_false (rewrite (fixture, 1000, cancel, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_CANCELLED);
  g_thread_join (thread);
  g_assert_false (rewrite (fixture, 0, cancel, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_CANCELLED);
  assert_usable (fixture);
}

/* The name means another file now, or there is a second one. */
static void
test_names (Fixture *fixture, gconstpointer user_data)
{
  g_autofree char *other = g_build_filename (fixture->folder, "other", NULL);
  ImgError *error = NULL;

  g_assert_cmpint (link (fixture->path, other), ==, 0);
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  assert_code (g_steal_pointer (&error), IMG_CODE_UNSUPPORTED);
  g_unlink (fixture->path);
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, ENOENT);
  img_error_clear (&error);
  g_assert_true (g_file_set_contents (fixture->path, "stranger", -1, NULL));
  g_assert_false (rewrite (fixture, 0, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, EBUSY);
  img_error_clear (&error);
  g_assert_cmpint (g_rename (other, fixture->path), ==, 0);
  assert_usable (fixture);
}

/* ---- writers ---- */

typedef struct
{
  ImgImage *image;
  guint8 model[DISK / CLUSTER]; /* what the first byte of each cluster must be at the end */
  guint n_written;              /* atomic */
  guint n_refused;
} Writer;

/* Until the image is closed; what was acknowledged counts. */
static gpointer
write_thread (gpointer data)
{
  Writer *writer = data;
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (guint8 value = 1;; value++)
    {
      guint cluster = (guint) g_rand_int_range (random, 0, DISK / CLUSTER);
      ImgError *error = NULL;

      if (img_image_write (writer->image, cluster * CLUSTER, &value, 1, NULL, &error))
        {
          writer->model[cluster] = value;
          g_atomic_int_inc (&writer->n_written);
          continue;
        }
      if (img_error_matches (error, IMG_CODE_CLOSED))
        {
          img_error_free (error);
          return NULL;
        }
      assert_code (error, IMG_CODE_LOCKED);
      writer->n_refused++;
    }
}

/* All that was acknowledged is in the new file. */
static void
test_beside_writers (Fixture *fixture, gconstpointer user_data)
{
  Writer writer = { .image = fixture->image };
  g_autoptr (ImgImage) image = NULL;
  GThread *thread;

  for (guint i = 0; i < DISK / CLUSTER; i++)
    writer.model[i] = i * CLUSTER < DATA ? test_pattern_byte (i * CLUSTER, 1) : 0;
  thread = g_thread_new ("writer", write_thread, &writer);
  while (g_atomic_int_get (&writer.n_written) < 100)
    g_thread_yield ();
  g_assert_true (rewrite (fixture, 0, NULL, NULL));
  g_thread_join (thread);
  g_test_message ("%u written, %u refused", writer.n_written, writer.n_refused);
  image = open_image (fixture->path, NULL);
  for (guint i = 0; i < DISK / CLUSTER; i++)
    assert_byte (image, i * CLUSTER, writer.model[i]);
  g_assert_true (img_image_close (image, NULL));
}

#define ADD_TEST(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_TEST ("/rewrite/frozen", test_frozen);
  ADD_TEST ("/rewrite/below", test_below);
  ADD_TEST ("/rewrite/abandoned", test_abandoned);
  ADD_TEST ("/rewrite/no-room", test_no_room);
  ADD_TEST ("/rewrite/cancelled", test_cancelled);
  ADD_TEST ("/rewrite/names", test_names);
  ADD_TEST ("/rewrite/beside-writers", test_beside_writers);
  return g_test_run ();
}
