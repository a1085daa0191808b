/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Converting to raw: content, holes, progress, cancel, and what is left after a failure. */

#include "config.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img-alloc.h"
#include "img-convert.h"
#include "img-file-storage.h"
#include "img-pool.h"
#include "img-simple-storages.h"
#include "test-folder.h"
#include "test-storages.h"

#define SIZE (8 * IMG_MIB + 12345)

typedef struct
{
  const char *format; /* NULL: raw */
  gboolean compress;
  const char *path;
  gboolean overwrite;
  gboolean durable;
  guint n_threads;
} Options;

typedef struct
{
  char *folder;
  char *path;
  ImgStorage *failing;
  ImgStorage *data;
  ImgImage *image;
  Options kind;
  const char *format;
} Fixture;

static gboolean
convert (ImgImage *image, const Options *raw, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImgCreation creation = { .path = raw->path, .driver = img_driver_find (raw->format != NULL ? raw->format : "raw"), .overwrite = raw->overwrite };
  const ImgConvertOptions options = {
    .sources = &image,
    .n_sources = 1,
    .creation = &creation,
    .zero_grain = IMG_CONVERT_ZERO_GRAIN,
    .compress = raw->compress,
    .verify = raw->n_threads == 2,
    .durable = raw->durable,
    .n_threads = raw->n_threads,
  };

  return img_convert (&options, progress, cancel, error);
}

/* Data with zeroes inside, a hole of the map, zeroes at the end. */
static void
set_up (Fixture *fixture, gconstpointer user_data)
{
  const Options *kind = user_data;

  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (GBytes) bytes = NULL;
  guint8 *content = g_malloc0 (SIZE);
  ImgExtent extents[3] = { { 0 } };

  for (guint64 i = 0; i < 3 * IMG_MIB; i++)
    content[i] = i / 8192 % 3 == 0 ? 0 : test_pattern_byte (i, 1) | 1;
  for (guint64 i = 6 * IMG_MIB; i < 7 * IMG_MIB; i++)
    content[i] = 7;
  bytes = g_bytes_new_take (content, SIZE);
  fixture->kind = *kind;
  fixture->format = kind->format;
  fixture->folder = test_folder_new ();
  fixture->path = g_build_filename (fixture->folder, "raw", NULL);
  fixture->data = img_memory_storage_new (bytes);
  fixture->failing = test_failing_storage_new (fixture->data);
  extents[0] = (ImgExtent) { IMG_EXTENT_DATA, TRUE, 0, 3 * IMG_MIB + 100, fixture->failing, 0 };
  extents[1] = (ImgExtent) { IMG_EXTENT_HOLE, FALSE, 3 * IMG_MIB + 100, 3 * IMG_MIB - 200 };
  extents[2] = (ImgExtent) { IMG_EXTENT_DATA,   TRUE,
                            6 * IMG_MIB - 100, SIZE - 6 * IMG_MIB + 100,
                            fixture->failing,  6 * IMG_MIB - 100 };
  fixture->image = test_scripted_image_new (extents, G_N_ELEMENTS (extents));
  g_assert_true (img_image_open_references (fixture->image, policy, NULL, NULL));
}

static void
tear_down (Fixture *fixture, gconstpointer user_data)
{
  g_unlink (fixture->path);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  img_image_unref (fixture->image);
  img_storage_unref (fixture->failing);
  img_storage_unref (fixture->data);
  g_free (fixture->path);
  g_free (fixture->folder);
}

#define GRAIN (64 * IMG_KIB)

/* A disk ends with a whole sector. */
#define DISK_SIZE ((SIZE + 511) / 512 * 512)

static ImgImage *
open_result (Fixture *fixture)
{
  ImgImageOptions options = { .driver = img_driver_find (fixture->format) };
  g_autoptr (ImgStorage) storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image = img_image_open (storage, &options, NULL, NULL);

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
assert_result (Fixture *fixture)
{
  g_autoptr (ImgImage) image = open_result (fixture);
  g_autofree char *content = g_malloc (DISK_SIZE);
  g_autofree char *expected = g_malloc0 (DISK_SIZE);

  g_assert_cmpuint (img_image_get_size (image), ==, DISK_SIZE);
  g_assert_true (img_image_read (image, 0, content, DISK_SIZE, NULL, NULL));
  g_assert_true (img_storage_read (fixture->data, 0, expected, SIZE, NULL));
  g_assert_cmpint (memcmp (content, expected, DISK_SIZE), ==, 0);
}

typedef struct
{
  ImgProgress progress;
  ImgCancel *cancel;
  guint64 cancel_at;
} Watch;

static void
changed_cb (gpointer data)
{
  Watch *watch = data;
  guint64 done = __atomic_load_n (&watch->progress.bytes_done, __ATOMIC_RELAXED);

  if (watch->cancel != NULL && done >= watch->cancel_at)
    img_cancel_trigger (watch->cancel);
}

static void
test_content (Fixture *fixture, gconstpointer user_data)
{
  for (guint n_threads = 0; n_threads < 5; n_threads++)
    {
      Watch watch = { { .changed = changed_cb } };
      Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path,
                                    .overwrite = n_threads > 0,
                                    .durable = n_threads % 2,
                                    .n_threads = n_threads };
      ImgError *error = NULL;
      struct stat st;

      watch.progress.data = &watch;
      g_assert_true (convert (fixture->image, &options, &watch.progress, NULL, &error));
      assert_result (fixture);
      /* The ends of the data are rounded to grains or clusters. */
      g_assert_cmpuint (watch.progress.bytes_total, >=, SIZE - 3 * IMG_MIB + 200);
      g_assert_cmpuint (watch.progress.bytes_total, <=, SIZE - 3 * IMG_MIB + 200 + 2 * GRAIN);
      g_assert_cmpuint (watch.progress.bytes_done, ==, watch.progress.bytes_total);
      g_assert_cmpint (watch.progress.phase, ==, IMG_PHASE_DONE);
      g_assert_cmpint (stat (fixture->path, &st), ==, 0);
      /* A third of the first 3 MiB is zero in grains, and the middle and the end are holes. */
      g_assert_cmpuint ((guint64) st.st_blocks * 512, <, 3 * IMG_MIB + 512 * IMG_KIB);
    }
}

static void
test_cancel (Fixture *fixture, gconstpointer user_data)
{
  static const guint64 points[] = { 0, 1, IMG_MIB, 3 * IMG_MIB };

  for (guint i = 0; i < G_N_ELEMENTS (points); i++)
    {
      g_autoptr (ImgCancel) cancel = img_cancel_new ();
      g_autoptr (ImgError) error = NULL;
      Watch watch = { .progress = { .changed = changed_cb },
                      .cancel = cancel,
                      .cancel_at = points[i] };
      Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path };

      watch.progress.data = &watch;
      g_assert_false (
        convert (fixture->image, &options, &watch.progress, cancel, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
      g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
    }
}

static void
test_fault_injection (Fixture *fixture, gconstpointer user_data)
{
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path };
  guint nth = 1;

  for (;; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      gboolean success;

      test_failing_storage_arm (fixture->failing, nth, nth % 2);
      success = convert (fixture->image, &options, NULL, NULL, &error);
      test_failing_storage_arm (fixture->failing, 0, FALSE);
      if (success)
        break;
      g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
      g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
    }
  g_assert_cmpuint (nth, >, 3);
  assert_result (fixture);
}

static void
test_no_memory (Fixture *fixture, gconstpointer user_data)
{
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path, .n_threads = 1 };
  g_autoptr (ImgError) error = NULL;

  img_alloc_set_fault (1, TRUE);
  g_assert_false (convert (fixture->image, &options, NULL, NULL, &error));
  img_alloc_set_fault (0, FALSE);
  g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

/* A disk that is far too large to look at piece by piece, and has nothing in it. */
static void
test_huge_hole (Fixture *fixture, gconstpointer user_data)
{
  guint64 size = (guint64) 1 << 43;
  ImgExtent extents[] = { { IMG_EXTENT_HOLE, FALSE, 0, size } };
  g_autoptr (ImgImage) image = test_scripted_image_new (extents, 1);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path };
  struct stat st;

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  g_assert_true (convert (image, &options, NULL, NULL, NULL));
  g_assert_cmpint (stat (fixture->path, &st), ==, 0);
  if (g_str_equal (fixture->format, "raw"))
    g_assert_cmpuint ((guint64) st.st_size, ==, size);
  else
    g_assert_cmpuint ((guint64) st.st_size, <, IMG_MIB);
}

/* ---- a source that others may write to ---- */

typedef struct
{
  ImgProgress progress;
  int fd;
  guint n_looks[2]; /* without and with what keeps writers away */
} LockWatch;

static gboolean
has_byte (int fd, int byte)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

  g_assert_cmpint (fcntl (fd, F_OFD_GETLK, &lock), ==, 0);
  return lock.l_type != F_UNLCK;
}

static void
look_at_locks_cb (gpointer data)
{
  LockWatch *watch = data;

  if (watch->progress.phase != IMG_PHASE_COPY)
    return;
  g_assert_true (has_byte (watch->fd, 100));
  g_assert_true (has_byte (watch->fd, 201) == has_byte (watch->fd, 203));
  g_atomic_int_inc (&watch->n_looks[has_byte (watch->fd, 201)]);
}

/* A raw disk, as whoever reads it opens it. */
static ImgImage *
open_raw (const char *path, gboolean force_share)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .force_share = force_share };
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image = img_image_open (storage, &options, NULL, NULL);

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

/* As long as it is copied nobody writes to it, as with QEMU, unless sharing is forced. */
static void
test_source_locked (Fixture *fixture, gconstpointer user_data)
{
  g_autofree char *source = g_build_filename (fixture->folder, "source", NULL);
  struct flock writes = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path, .overwrite = TRUE };
  g_autofree char *content = g_malloc0 (SIZE);
  int fd;

  g_assert_true (img_storage_read (fixture->data, 0, content, SIZE, NULL));
  g_assert_true (g_file_set_contents (source, content, SIZE, NULL));
  fd = open (source, O_RDONLY | O_CLOEXEC);
  for (guint force_share = 0; force_share < 2; force_share++)
    {
      g_autoptr (ImgImage) image = open_raw (source, force_share);
      LockWatch watch = { .progress.changed = look_at_locks_cb, .fd = fd };
      g_autoptr (ImgError) error = NULL;

      watch.progress.data = &watch;
      g_assert_true (convert (image, &options, &watch.progress, NULL, NULL));
      assert_result (fixture);
      g_assert_cmpuint (watch.n_looks[!force_share], >, 0);
      g_assert_cmpuint (watch.n_looks[force_share], ==, 0);
      g_assert_false (has_byte (fd, 201));

      g_assert_cmpint (fcntl (fd, F_OFD_SETLK, &writes), ==, 0);
      g_assert_true (convert (image, &options, NULL, NULL, &error) == (gboolean) force_share);
      g_assert_true (force_share || img_error_matches (error, IMG_CODE_LOCKED));
      writes.l_type = F_UNLCK;
      g_assert_cmpint (fcntl (fd, F_OFD_SETLK, &writes), ==, 0);
      writes.l_type = F_RDLCK;
    }
  close (fd);
  g_unlink (source);
}

/* What somebody else has cut off is lost: no copy with zeroes in its place. */
static void
test_source_cut (Fixture *fixture, gconstpointer user_data)
{
  static const guint64 sizes[] = { 0, IMG_MIB + 5, 6 * IMG_MIB + 65536 };
  g_autofree char *source = g_build_filename (fixture->folder, "source", NULL);
  g_autofree char *content = g_malloc0 (SIZE);
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path };

  g_assert_true (img_storage_read (fixture->data, 0, content, SIZE, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      g_autoptr (ImgImage) image = NULL;
      g_autoptr (ImgError) error = NULL;

      g_assert_true (g_file_set_contents (source, content, SIZE, NULL));
      image = open_raw (source, FALSE);
      g_assert_cmpint (truncate (source, (off_t) sizes[i]), ==, 0);
      g_assert_false (convert (image, &options, NULL, NULL, &error));
      g_assert_cmpint (error->system_errno, ==, EIO);
      g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
    }
  g_unlink (source);
}

/* The pool has one worker and this job is its coordinator. */
static void
test_small_pool (Fixture *fixture, gconstpointer user_data)
{
  ImgPool *pool = img_pool_new (1, 1);
  Options options = { .format = fixture->format, .compress = fixture->kind.compress, .path = fixture->path, .n_threads = 8 };

  img_pool_set_default (pool);
  g_assert_true (convert (fixture->image, &options, NULL, NULL, NULL));
  img_pool_set_default (NULL);
  img_pool_free (pool);
  assert_result (fixture);
}

static const Options kinds[] = {
  { .format = "raw" },
  { .format = "qcow2" },
  { .format = "qcow2", .compress = TRUE },
};

static void
add_test (const char *name, void (*test) (Fixture *, gconstpointer))
{
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *path =
        g_strdup_printf ("/convert/%s%s/%s", kinds[i].format, kinds[i].compress ? "-compressed" : "", name);

      g_test_add (path, Fixture, &kinds[i], set_up, test, tear_down);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("content", test_content);
  add_test ("cancel", test_cancel);
  add_test ("source-cut", test_source_cut);
  add_test ("fault-injection", test_fault_injection);
  add_test ("no-memory", test_no_memory);
  add_test ("huge-hole", test_huge_hole);
  add_test ("source-locked", test_source_locked);
  add_test ("small-pool", test_small_pool);
  return g_test_run ();
}
