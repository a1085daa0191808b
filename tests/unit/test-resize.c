/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A resize that is cancelled or fails at each of its changes in turn: the guest's bytes are what
 * they were, the size is the old or the new one, and the metadata is sound. */

#include "config.h"

#include "img-image.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define CLUSTER ((guint64) 4096)
#define DISK (40 * CLUSTER)
#define BACKING (70 * CLUSTER)

typedef struct
{
  const char *name;
  const char *format;
  guint64 size;
  ImgPreallocate preallocate;
  gboolean has_backing;
  gboolean has_subclusters;
} Case;

static const Case cases[] = {
  { "grow", "qcow2", 3 * DISK, IMG_PREALLOCATE_OFF, FALSE, FALSE },
  { "grow-ragged", "qcow2", 2 * DISK + 512, IMG_PREALLOCATE_OFF, TRUE, FALSE },
  { "grow-far", "qcow2", 5000 * DISK, IMG_PREALLOCATE_OFF, FALSE, FALSE },
  { "metadata", "qcow2", 3 * DISK, IMG_PREALLOCATE_METADATA, FALSE, FALSE },
  { "falloc", "qcow2", 3 * DISK, IMG_PREALLOCATE_FALLOC, FALSE, FALSE },
  { "full", "qcow2", 40 * IMG_MIB, IMG_PREALLOCATE_FULL, FALSE, FALSE },
  { "subclusters", "qcow2", 2 * DISK, IMG_PREALLOCATE_FULL, TRUE, TRUE },
  { "large", "qcow2", 50 * IMG_MIB, IMG_PREALLOCATE_METADATA, FALSE, FALSE },
  { "raw", "raw", 2 * DISK, IMG_PREALLOCATE_FULL, FALSE, FALSE },
  { "shrink", "qcow2", DISK / 2, IMG_PREALLOCATE_OFF, FALSE, FALSE },
  { "shrink-ragged", "qcow2", DISK / 2 + 512, IMG_PREALLOCATE_OFF, TRUE, FALSE },
  { "shrink-raw", "raw", DISK / 2, IMG_PREALLOCATE_OFF, FALSE, FALSE },
};

/* ---- disks ---- */

static ImgImage *
open_image (ImgStorage *storage, const Case *one)
{
  return test_image_open_above (storage, one->format, one->has_backing ? BACKING : 0, 9);
}

static guint8
expected_byte (const Case *one, guint64 offset)
{
  if (offset / CLUSTER % 3 != 0)
    return test_pattern_byte (offset, 1);
  return one->has_backing ? test_pattern_byte (offset, 9) : 0;
}

/* Of four disks, for those that have grown; made once, as it is compared with very often. */
static const guint8 *
expected_bytes (const Case *one)
{
  static guint8 *bytes[2];
  guint8 **made = &bytes[one->has_backing];

  if (*made == NULL)
    {
      *made = g_malloc0 (4 * DISK);
      for (guint64 i = 0; i < DISK; i++)
        (*made)[i] = expected_byte (one, i);
    }
  return *made;
}

/* Two clusters of three are written. */
static GBytes *
make_file (const Case *one)
{
  ImgCreateOptions options = { .size = DISK };
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;

  if (g_str_equal (one->format, "qcow2"))
    {
      options.cluster_size =
        one->has_subclusters ? 4 * CLUSTER : CLUSTER; /* the smallest with subclusters */
      options.version = 3;
      options.extended_l2 = one->has_subclusters;
    }
  g_assert_true (img_driver_find (one->format)->create (file, &options, NULL, NULL, NULL));
  image = open_image (file, one);
  for (guint64 at = 0; at < DISK; at += CLUSTER)
    if (at / CLUSTER % 3 != 0)
      g_assert_true (img_image_write (image, at, expected_bytes (one) + at, CLUSTER, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  return img_memory_storage_dup_bytes (file, NULL);
}

static void
assert_view (ImgImage *image, const Case *one)
{
  guint64 size = img_image_get_size (image);
  guint64 length = MIN (size, 4 * DISK);
  g_autofree guint8 *bytes = g_malloc (length);

  g_assert_true (size == DISK || size == one->size);
  g_assert_true (img_image_read (image, 0, bytes, length, NULL, NULL));
  g_assert_cmpmem (bytes, length, expected_bytes (one), length);
}

static guint64
count_leaks (ImgStorage *file, const Case *one)
{
  g_auto (ImgCheckResult) result = { 0 };

  img_check_result_init (&result);
  if (!g_str_equal (one->format, "qcow2"))
    return 0;
  g_assert_true (img_driver_find ("qcow2")->check (file, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.check_errors, ==, 0);
  return result.leaks;
}

/* What is in the file, as the next one who opens it finds it. */
static void
check_file (ImgStorage *file, const Case *one, guint64 max_leaks)
{
  g_autoptr (ImgImage) again = NULL;

  g_assert_cmpuint (count_leaks (file, one), <=, max_leaks);
  again = open_image (file, one);
  assert_view (again, one);
  /* The resize goes through now, whatever was left behind. */
  g_assert_true (img_image_resize (again, one->size, TRUE, one->preallocate, NULL, NULL, NULL));
  g_assert_cmpuint (img_image_get_size (again), ==, one->size);
  assert_view (again, one);
  g_assert_true (img_image_close (again, NULL));
  /* What a crash left is there for a repair to find. */
  g_assert_cmpuint (count_leaks (file, one), <=, max_leaks);
}

/* ---- tests ---- */

/* FALSE once the resize makes fewer than @nth changes. */
static gboolean
try_cancel (const Case *one, GBytes *bytes, guint nth)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, one);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  ImgProgress progress = { 0 };
  ImgError *error = NULL;
  gboolean success, sprung;

  test_trap_storage_set (trap, nth, FALSE, cancel);
  success = img_image_resize (image, one->size, TRUE, one->preallocate, &progress, cancel, &error);
  sprung = test_trap_storage_is_sprung (trap);
  g_assert_cmpuint (progress.bytes_done, <=, progress.bytes_total);
  if (success)
    {
      g_assert_cmpuint (img_image_get_size (image), ==, one->size);
      g_assert_cmpint (progress.phase, ==, IMG_PHASE_DONE);
      g_assert_true (sprung || progress.bytes_done == progress.bytes_total);
    }
  else
    {
      g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
      g_assert_cmpuint (img_image_get_size (image), ==, DISK);
      img_error_free (error);
    }
  assert_view (image, one);
  g_assert_true (img_image_close (image, NULL));
  /* What had been reserved is given back; metadata may have grown. */
  if (!success)
    g_assert_cmpuint (test_get_usage (file), <=, g_bytes_get_size (bytes) + 2 * IMG_MIB);
  check_file (file, one, 0);
  return sprung;
}

/* Asked for the size that the disk says it has after a failure, the file has that too, or it is an error. */
static void
check_size_in_doubt (ImgStorage *file, const Case *one, ImgImage **image)
{
  guint64 size = img_image_get_size (*image);
  gboolean success = img_image_resize (*image, size, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL);
  g_autoptr (ImgImage) again = NULL;

  g_clear_pointer (image, img_image_unref);
  again = open_image (file, one);
  g_assert_true (!success || img_image_get_size (again) == size);
}

static gboolean
try_failure (const Case *one, GBytes *bytes, guint nth, gboolean persist)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, one);
  ImgError *error = NULL;
  gboolean success, sprung;

  test_trap_storage_set (trap, nth, persist, NULL);
  success = img_image_resize (image, one->size, TRUE, one->preallocate, NULL, NULL, &error);
  sprung = test_trap_storage_is_sprung (trap);
  g_assert_true (success || sprung);
  g_assert_true (success == (error == NULL));
  img_error_free (error);
  assert_view (image, one);
  test_trap_storage_set (trap, 0, FALSE, NULL);
  check_size_in_doubt (file, one, &image);
  check_file (file, one, G_MAXUINT64);
  return sprung;
}

static void
test_case (gconstpointer data)
{
  const Case *one = data;
  g_autoptr (GBytes) bytes = make_file (one);
  guint n_cancelled = 0, n_failed = 0;

  while (try_cancel (one, bytes, n_cancelled + 1))
    n_cancelled += n_cancelled < 20 ? 1 : 7;
  while (try_failure (one, bytes, n_failed + 1, FALSE))
    {
      try_failure (one, bytes, n_failed + 1, TRUE);
      n_failed += n_failed < 20 ? 1 : 7;
    }
  g_test_message ("%u and %u changes", n_cancelled, n_failed);
  g_assert_cmpuint (n_cancelled, >, 0);
  g_assert_cmpuint (n_failed, >, 0);
}

/* ---- devices ---- */

/* As a block device: it takes a smaller size for granted and keeps its own. */
typedef struct
{
  ImgStorage storage;
  ImgStorage *base;
} Device;

static void
device_submit (ImgStorage *storage, ImgIo *ios, guint n)
{
  Device *self = (Device *) storage;

  for (guint i = 0; i < n; i++)
    if (ios[i].op == IMG_IO_TRUNCATE)
      img_io_complete (&ios[i], NULL);
    else
      img_storage_submit (self->base, &ios[i], 1);
}

static gboolean
device_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Device *) storage)->base, size, error);
}

static void
device_free (ImgStorage *storage G_GNUC_UNUSED)
{
}

static const ImgStorageClass device_class = {
  .type_name = "device",
  .submit = device_submit,
  .get_size = device_get_size,
  .free = device_free,
};

/* The disk has the size that it had, and all its bytes. */
static void
test_device (void)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .layout = { .writable = TRUE } };
  g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (DISK);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;
  Device device = { .base = memory };
  guint8 byte = 7;

  img_storage_init (&device.storage, &device_class, NULL);
  device.storage.can_write = TRUE;
  image = img_image_open (&device.storage, &options, NULL, &error);
  g_assert_nonnull (image);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  g_assert_true (img_image_write (image, DISK - 1, &byte, 1, NULL, NULL));
  g_assert_false (img_image_resize (image, DISK / 2, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_UNSUPPORTED));
  g_assert_cmpuint (img_image_get_size (image), ==, DISK);
  byte = 0;
  g_assert_true (img_image_read (image, DISK - 1, &byte, 1, NULL, NULL));
  g_assert_cmpuint (byte, ==, 7);
  g_assert_true (img_image_resize (image, DISK, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  g_clear_pointer (&image, img_image_unref);
  img_storage_unref (&device.storage);
}

/* A shrink that was cut off has left clusters behind the end of the disk. The table that leads there goes with the next
 * one, and they with it. */
static void
test_leftovers (void)
{
  const Case *one = &cases[0];
  const guint64 size = GUINT64_TO_BE (CLUSTER);
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;

  g_assert_true (img_storage_write (file, 0, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), NULL));
  g_assert_true (img_storage_write (file, 24, &size, sizeof size, NULL));
  image = open_image (file, one);
  g_assert_cmpuint (img_image_get_size (image), ==, CLUSTER);
  g_assert_true (img_image_resize (image, 0, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file, one), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strdup_printf ("/resize/%s", cases[i].name);

      g_test_add_data_func (path, &cases[i], test_case);
    }
  g_test_add_func ("/resize/device", test_device);
  g_test_add_func ("/resize/leftovers", test_leftovers);
  return g_test_run ();
}
