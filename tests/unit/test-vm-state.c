/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The state of a virtual machine behind the disk: reads what was written, whatever the pieces; the disk is not touched by
 * it, nor by what fails or is cancelled in between. */

#include "config.h"

#include <string.h>

#include "img-image.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define CLUSTER ((guint64) 4096)
#define DISK (40 * CLUSTER)
#define STATE (8 * IMG_MIB) /* needs a larger L1 table: one entry leads to 2 MiB */
#define N_STEPS 300

typedef struct
{
  const char *name;
  guint64 cluster_size;
  gboolean has_subclusters;
  gboolean has_lazy_refcounts;
  guint64 backing; /* bytes */
} Case;

static const Case cases[] = {
  { "plain", CLUSTER, FALSE, FALSE, 0 },
  { "small", 512, FALSE, TRUE, 0 },
  { "subclusters", 4 * CLUSTER, TRUE, FALSE, 2 * DISK },
};

/* ---- images ---- */

static ImgImage *
open_image (ImgStorage *storage, const Case *one)
{
  return test_image_open_above (storage, "qcow2", one->backing, 9);
}

static GBytes *
make_file (const Case *one)
{
  const ImgCreateOptions options = {
    .size = DISK,
    .version = 3,
    .cluster_size = one->cluster_size,
    .extended_l2 = one->has_subclusters,
    .lazy_refcounts = one->has_lazy_refcounts,
  };
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;
  guint8 bytes[DISK];

  g_assert_true (img_driver_find ("qcow2")->create (file, &options, NULL, NULL, NULL));
  for (guint64 i = 0; i < DISK; i++)
    bytes[i] = test_pattern_byte (i, 1);
  image = open_image (file, one);
  g_assert_true (img_image_write (image, 0, bytes, DISK, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  return img_memory_storage_dup_bytes (file, NULL);
}

static void
assert_disk (ImgImage *image)
{
  guint8 bytes[DISK];

  g_assert_cmpuint (img_image_get_size (image), ==, DISK);
  g_assert_true (img_image_read (image, 0, bytes, DISK, NULL, NULL));
  for (guint64 i = 0; i < DISK; i++)
    g_assert_cmpuint (bytes[i], ==, test_pattern_byte (i, 1));
}

static guint64
count_leaks (ImgStorage *file)
{
  g_auto (ImgCheckResult) result = { 0 };

  img_check_result_init (&result);
  g_assert_true (img_driver_find ("qcow2")->check (file, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.check_errors, ==, 0);
  return result.leaks;
}

static void
assert_state (ImgImage *image, const guint8 *expected)
{
  g_autofree guint8 *bytes = g_malloc (STATE);

  g_assert_true (img_image_read_vm_state (image, 0, bytes, STATE, NULL, NULL));
  g_assert_cmpmem (bytes, STATE, expected, STATE);
}

/* ---- pieces ---- */

static void
write_piece (ImgImage *image, guint8 *model)
{
  guint64 length = (guint64) g_test_rand_int_range (0, 10) == 0 ? (guint64) g_test_rand_int_range (1, 2 * (gint) IMG_MIB)
                                                               : (guint64) g_test_rand_int_range (1, 3 * (gint) CLUSTER);
  guint64 offset = (guint64) g_test_rand_int_range (0, (gint) (STATE - length));

  memset (model + offset, g_test_rand_int_range (0, 256), length);
  g_assert_true (img_image_write_vm_state (image, offset, model + offset, length, NULL, NULL));
}

static void
read_piece (ImgImage *image, const guint8 *model)
{
  guint64 length = (guint64) g_test_rand_int_range (1, 3 * (gint) CLUSTER);
  guint64 offset = (guint64) g_test_rand_int_range (0, (gint) (STATE - length));
  g_autofree guint8 *bytes = g_malloc (length);

  g_assert_true (img_image_read_vm_state (image, offset, bytes, length, NULL, NULL));
  g_assert_cmpmem (bytes, length, model + offset, length);
}

static void
test_pieces (gconstpointer data)
{
  const Case *one = data;
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autofree guint8 *model = g_malloc0 (STATE);
  g_autoptr (ImgImage) image = open_image (file, one);

  assert_state (image, model);
  for (guint i = 0; i < N_STEPS; i++)
    if (i % 2 == 0)
      write_piece (image, model);
    else
      read_piece (image, model);
  assert_disk (image);
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file), ==, 0);
  g_clear_pointer (&image, img_image_unref);
  image = open_image (file, one);
  assert_state (image, model);
  assert_disk (image);
}

/* ---- faults ---- */

/* What is written in one go, over the middle of what was there. */
#define FIRST (STATE / 2 - 1000)
#define LENGTH (100 * 1000)

static GBytes *
make_file_with_state (const Case *one, guint8 *model)
{
  g_autoptr (GBytes) bytes = make_file (one);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (file, one);

  memset (model, 0, STATE);
  memset (model + 700, 7, STATE / 2);
  g_assert_true (img_image_write_vm_state (image, 700, model + 700, STATE / 2, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  return img_memory_storage_dup_bytes (file, NULL);
}

/* Each sector is what it was or what was to be written. */
static void
assert_old_or_new (ImgImage *image, const guint8 *old)
{
  g_autofree guint8 *bytes = g_malloc (STATE);

  g_assert_true (img_image_read_vm_state (image, 0, bytes, STATE, NULL, NULL));
  for (guint64 i = 0; i < STATE; i++)
    if (bytes[i] != old[i])
      g_assert_true (i >= FIRST && i < FIRST + LENGTH && bytes[i] == 8);
}

static gboolean
try_failure (const Case *one, GBytes *content, const guint8 *old, guint nth, gboolean persist, gboolean cancels)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (content);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, one);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autofree guint8 *bytes = g_malloc (LENGTH);
  g_autoptr (ImgError) error = NULL;
  gboolean success, is_sprung;

  memset (bytes, 8, LENGTH);
  test_trap_storage_set (trap, nth, persist, cancels ? cancel : NULL);
  success = img_image_write_vm_state (image, FIRST, bytes, LENGTH, cancel, &error);
  success = success && img_image_flush (image, NULL, &error);
  is_sprung = test_trap_storage_is_sprung (trap);
  g_assert_true (success == (error == NULL));
  g_assert_true (success || is_sprung);
  test_trap_storage_set (trap, 0, FALSE, NULL);
  assert_disk (image);
  if (cancels && !success)
    g_assert_cmpint (error->code, ==, IMG_CODE_CANCELLED);
  if (cancels)
    assert_old_or_new (image, old);
  g_clear_pointer (&image, img_image_unref);
  if (!one->has_lazy_refcounts) /* else the opening repairs it */
    count_leaks (file);
  image = open_image (file, one);
  assert_disk (image);
  assert_old_or_new (image, old);
  return is_sprung;
}

static void
test_faults (gconstpointer data)
{
  const Case *one = data;
  g_autofree guint8 *model = g_malloc (STATE);
  g_autoptr (GBytes) content = make_file_with_state (one, model);
  guint n = 0;

  while (try_failure (one, content, model, n + 1, FALSE, FALSE))
    {
      try_failure (one, content, model, n + 1, TRUE, FALSE);
      try_failure (one, content, model, n + 1, FALSE, TRUE);
      n += n < 20 ? 1 : 7;
    }
  g_test_message ("%u changes failed", n);
  g_assert_cmpuint (n, >, 2);
}

/* ---- the rest ---- */

/* A disk that grows over it shows none of it. */
static void
test_grown_over (void)
{
  g_autofree guint8 *model = g_malloc (STATE);
  g_autoptr (GBytes) content = make_file_with_state (&cases[0], model);
  g_autoptr (ImgStorage) file = test_copy_storage_new (content);
  g_autoptr (ImgImage) image = open_image (file, &cases[0]);
  g_autofree guint8 *bytes = g_malloc (2 * STATE);

  g_assert_true (img_image_resize (image, 2 * STATE, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_true (img_image_read (image, 0, bytes, 2 * STATE, NULL, NULL));
  for (guint64 i = DISK; i < 2 * STATE; i++)
    g_assert_cmpuint (bytes[i], ==, 0);
  g_assert_true (img_image_close (image, NULL));
  g_assert_cmpuint (count_leaks (file), ==, 0);
}

static void
assert_refused (ImgStorage *storage, const char *format, ImgCode code, guint64 offset)
{
  g_autoptr (ImgImage) image = test_image_open_above (storage, format, 0, 9);
  g_autoptr (ImgError) error = NULL;
  guint8 byte = 1;

  g_assert_false (img_image_read_vm_state (image, offset, &byte, 1, NULL, &error));
  g_assert_true (img_error_matches (error, code));
  g_clear_pointer (&error, img_error_free);
  g_assert_false (img_image_write_vm_state (image, offset, &byte, 1, NULL, &error));
  g_assert_true (img_error_matches (error, code));
  g_assert_true (img_image_close (image, NULL));
}

static void
test_refusals (void)
{
  g_autoptr (ImgStorage) raw = img_memory_storage_new_writable (DISK);
  g_autoptr (GBytes) content = make_file (&cases[0]);
  g_autoptr (ImgStorage) file = test_copy_storage_new (content);

  assert_refused (raw, "raw", IMG_CODE_UNSUPPORTED, 0);
  assert_refused (file, "qcow2", IMG_CODE_OUT_OF_RANGE, IMG_MAX_SIZE);
  assert_refused (file, "qcow2", IMG_CODE_OUT_OF_RANGE, G_MAXUINT64);
  g_assert_cmpuint (count_leaks (file), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *pieces = g_strdup_printf ("/vm-state/pieces/%s", cases[i].name);
      g_autofree char *faults = g_strdup_printf ("/vm-state/faults/%s", cases[i].name);

      g_test_add_data_func (pieces, &cases[i], test_pieces);
      g_test_add_data_func (faults, &cases[i], test_faults);
    }
  g_test_add_func ("/vm-state/grown-over", test_grown_over);
  g_test_add_func ("/vm-state/refusals", test_refusals);
  return g_test_run ();
}
