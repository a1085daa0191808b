/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Planning a conversion, on hosts with little room: what is certain, what is refused, and that
 * nothing is refused that would have succeeded. */

#include "config.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "img-alloc.h"
#include "img-convert-plan.h"
#include "img-file-storage.h"
#include "img-seam.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "test-folder.h"
#include "test-storages.h"

/* Noise, zeroes that are allocated, a hole. */
#define NOISE (4 * IMG_MIB)
#define DATA (6 * IMG_MIB)
#define SIZE (8 * IMG_MIB)

typedef struct
{
  char *folder;
  char *path;
  ImgStorage *data;
  ImgStorage *counting;
  ImgStorage *failing;
  ImgImage *image;
  ImgCreation creation;
  ImgConvertOptions options;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (GBytes) bytes = NULL;
  guint8 *content = g_malloc0 (SIZE);
  ImgExtent extents[2] = { { 0 } };

  for (guint64 i = 0; i < NOISE; i++)
    content[i] = test_pattern_byte (i, 1) | 1;
  bytes = g_bytes_new_take (content, SIZE);
  fixture->folder = test_folder_new ();
  fixture->path = g_build_filename (fixture->folder, "disk", NULL);
  fixture->data = img_memory_storage_new (bytes);
  fixture->counting = test_counting_storage_new (fixture->data);
  fixture->failing = test_failing_storage_new (fixture->counting);
  extents[0] = (ImgExtent){ IMG_EXTENT_DATA, TRUE, 0, DATA, fixture->failing, 0 };
  extents[1] = (ImgExtent){ IMG_EXTENT_HOLE, FALSE, DATA, SIZE - DATA };
  fixture->image = test_scripted_image_new (extents, G_N_ELEMENTS (extents));
  g_assert_true (img_image_open_references (fixture->image, policy, NULL, NULL));
  fixture->creation =
    (ImgCreation){ .path = fixture->path, .driver = img_driver_find ("raw"), .overwrite = TRUE };
  fixture->options = (ImgConvertOptions){
    .sources = &fixture->image,
    .n_sources = 1,
    .creation = &fixture->creation,
    .zero_grain = IMG_CONVERT_ZERO_GRAIN,
  };
}

static void
tear_down (Fixture *fixture, gconstpointer user_data)
{
  for (guint i = 0; i < IMG_N_SEAMS; i++)
    img_seam_set ((ImgSeam) i, 0);
  g_unlink (fixture->path);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  img_image_unref (fixture->image);
  img_storage_unref (fixture->failing);
  img_storage_unref (fixture->counting);
  img_storage_unref (fixture->data);
  g_free (fixture->path);
  g_free (fixture->folder);
}

static ImgRoom
find_room (Fixture *fixture, guint64 *required)
{
  g_autoptr (ImgError) error = NULL;
  ImgConvertPlan plan;
  ImgRoom room;

  g_assert_true (img_convert_plan (&fixture->options, &plan, NULL, &error));
  g_assert_null (error);
  g_assert_cmpint (plan.losses, ==, IMG_CONVERT_LOSS_NONE);
  g_assert_cmpuint (plan.texts->len, ==, 1);
  g_assert_cmpuint (plan.required, <=, plan.fully_allocated);
  if (required != NULL)
    *required = plan.required;
  room = plan.room;
  img_convert_plan_clear (&plan);
  return room;
}

/* ---- what is certain ---- */

typedef struct
{
  const char *name;
  guint free_kib;
  ImgRoom room;
  const char *format; /* NULL: raw */
  gboolean compress;
  gboolean salvage;
  gboolean allocate_all;
  gsize zero_grain; /* 1: the usual one */
  ImgPreallocate preallocate;
} Row;

static const Row rows[] = {
  { "all", 8192, IMG_ROOM_ENOUGH, .zero_grain = 1 },
  { "all-data", 6144, IMG_ROOM_ENOUGH, .zero_grain = 1 },
  { "all-noise", 4096, IMG_ROOM_UNCERTAIN, .zero_grain = 1 },
  { "less-than-noise", 4092, IMG_ROOM_TOO_LITTLE, .zero_grain = 1 },
  { "fine-grain", 4096, IMG_ROOM_UNCERTAIN, .zero_grain = 512 },
  { "fine-grain-less", 4092, IMG_ROOM_TOO_LITTLE, .zero_grain = 512 },
  { "odd-grain", 4096, IMG_ROOM_UNCERTAIN, .zero_grain = 700 },
  { "coarse-grain", 4096, IMG_ROOM_UNCERTAIN, .zero_grain = 65536 },
  { "no-grain", 6144, IMG_ROOM_ENOUGH, .zero_grain = 0 },
  { "no-grain-less", 6140, IMG_ROOM_TOO_LITTLE, .zero_grain = 0 },
  { "allocated", 8188, IMG_ROOM_TOO_LITTLE, .zero_grain = 1, .allocate_all = TRUE },
  { "preallocated", 8188, IMG_ROOM_TOO_LITTLE, .zero_grain = 1,
    .preallocate = IMG_PREALLOCATE_FULL },
  { "compressed", 1, IMG_ROOM_UNCERTAIN, "qcow2", TRUE, .zero_grain = 1 },
  { "salvaged", 1, IMG_ROOM_UNCERTAIN, .zero_grain = 1, .salvage = TRUE },
  { "qcow2-data", 6144, IMG_ROOM_UNCERTAIN, "qcow2", .zero_grain = 1 },
  { "qcow2-noise", 4096, IMG_ROOM_UNCERTAIN, "qcow2", .zero_grain = 1 },
  { "qcow2-less", 4092, IMG_ROOM_TOO_LITTLE, "qcow2", .zero_grain = 1 },
};

/* The job agrees with the plan: it is refused exactly if it is certain, and then nothing is left.
 */
static void
test_room (Fixture *fixture, gconstpointer user_data)
{
  const Row *row = user_data;
  g_autoptr (ImgError) error = NULL;
  guint64 required;
  gboolean success;

  if (row->format != NULL)
    fixture->creation.driver = img_driver_find (row->format);
  fixture->creation.options.preallocate = row->preallocate;
  fixture->options.compress = row->compress;
  fixture->options.salvage = row->salvage;
  fixture->options.allocate_all = row->allocate_all;
  fixture->options.zero_grain = row->zero_grain == 1 ? IMG_CONVERT_ZERO_GRAIN : row->zero_grain;
  img_seam_set (IMG_SEAM_FREE_KIB, (int) row->free_kib);
  g_assert_cmpint (find_room (fixture, &required), ==, row->room);
  g_assert_true ((required <= (guint64) row->free_kib * IMG_KIB) == (row->room == IMG_ROOM_ENOUGH));
  success = img_convert (&fixture->options, NULL, NULL, &error);
  g_assert_true (success == (row->room != IMG_ROOM_TOO_LITTLE));
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, success ? 1 : 0);
  if (success)
    return;
  g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
  g_assert_cmpint (error->system_errno, ==, ENOSPC);
  fixture->options.ignore_space = TRUE;
  g_assert_true (img_convert (&fixture->options, NULL, NULL, NULL));
}

/* Nothing is read where the options or the map settle it, and no more than there is room for where
 * they do not. */
static void
test_reads (Fixture *fixture, gconstpointer user_data)
{
  TestCounts counts;

  img_seam_set (IMG_SEAM_FREE_KIB, 6144);
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_ENOUGH);
  counts = test_counting_storage_take (fixture->counting);
  g_assert_cmpuint (counts.n_bytes, ==, 0);
  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_TOO_LITTLE);
  counts = test_counting_storage_take (fixture->counting);
  g_assert_cmpuint (counts.n_bytes, >, IMG_MIB);
  g_assert_cmpuint (counts.n_bytes, <=, 2 * IMG_MIB);
}

/* Blocks that two files share take no space. */
static void
test_reflinks (Fixture *fixture, gconstpointer user_data)
{
  const ImgImageOptions options = { .driver = img_driver_find ("raw") };
  g_autofree char *path = g_build_filename (fixture->folder, "source", NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autofree char *content = g_malloc (NOISE);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgImage) image = NULL;

  g_assert_true (img_storage_read (fixture->data, 0, content, NOISE, NULL));
  g_assert_true (g_file_set_contents (path, content, NOISE, NULL));
  storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  image = img_image_open (storage, &options, NULL, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  img_seam_set (IMG_SEAM_REFLINKS, TRUE);
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_TOO_LITTLE);
  fixture->options.sources = &image;
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_UNCERTAIN);
  img_seam_set (IMG_SEAM_REFLINKS, FALSE);
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_TOO_LITTLE);
  g_unlink (path);
}

/* No folder, no regular file, a link to nobody knows where. */
static void
test_unknown (Fixture *fixture, gconstpointer user_data)
{
  g_autofree char *missing = g_build_filename (fixture->folder, "no", "disk", NULL);
  g_autofree char *nowhere = g_build_filename (fixture->folder, "link", NULL);

  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  fixture->creation.path = missing;
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_UNKNOWN);
  fixture->creation.path = "/dev/null";
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_UNKNOWN);
  g_assert_cmpint (symlink (missing, nowhere), ==, 0);
  fixture->creation.path = nowhere;
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_UNKNOWN);
  g_unlink (nowhere);
  fixture->creation.path = fixture->path;
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_TOO_LITTLE);
}

/* An image that was there before brings its own space. */
static void
test_target (Fixture *fixture, gconstpointer user_data)
{
  const ImgConvertOptions options = { .sources = &fixture->image,
                                      .n_sources = 1,
                                      .zero_grain = IMG_CONVERT_ZERO_GRAIN,
                                      .target = NULL };
  ImgCreation creation = fixture->creation;
  g_autoptr (ImgImage) target = NULL;

  creation.options.size = SIZE;
  creation.has_size = TRUE;
  target = img_image_create (&creation, NULL, NULL);
  g_assert_nonnull (target);
  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  fixture->options = options;
  fixture->options.target = target;
  g_assert_cmpint (find_room (fixture, NULL), ==, IMG_ROOM_UNKNOWN);
  g_assert_true (img_convert (&fixture->options, NULL, NULL, NULL));
  g_assert_true (img_image_close (target, NULL));
}

/* ---- failures ---- */

static void
test_failures (Fixture *fixture, gconstpointer user_data)
{
  guint nth;

  img_seam_set (IMG_SEAM_FREE_KIB, 4096);
  for (nth = 1;; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      ImgConvertPlan plan;
      gboolean success;

      test_failing_storage_arm (fixture->failing, nth, nth % 2);
      success = img_convert_plan (&fixture->options, &plan, NULL, &error);
      test_failing_storage_arm (fixture->failing, 0, FALSE);
      if (success)
        {
          img_convert_plan_clear (&plan);
          break;
        }
      g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
      g_assert_null (plan.texts);
    }
  g_assert_cmpuint (nth, >, DATA / IMG_MIB);

  test_failing_storage_arm (fixture->failing, 1, TRUE);
  g_assert_false (img_convert (&fixture->options, NULL, NULL, NULL));
  test_failing_storage_arm (fixture->failing, 0, FALSE);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

static void
test_no_memory (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgError) error = NULL;
  ImgConvertPlan plan;

  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  img_alloc_set_fault (1, TRUE);
  g_assert_false (img_convert_plan (&fixture->options, &plan, NULL, &error));
  img_alloc_set_fault (0, FALSE);
  g_assert_true (img_error_matches (error, IMG_CODE_NO_MEMORY));
}

static void
test_cancelled (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  ImgConvertPlan plan;

  img_seam_set (IMG_SEAM_FREE_KIB, 1024);
  img_cancel_trigger (cancel);
  g_assert_false (img_convert_plan (&fixture->options, &plan, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
}

/* ---- losses ---- */

static ImgImage *
open_memory (ImgStorage *storage, const char *format)
{
  const ImgImageOptions options = { .driver = img_driver_find (format) };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image = img_image_open (storage, &options, NULL, NULL);

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
assert_loss (Fixture *fixture, ImgConvertLosses losses, const char *text)
{
  ImgConvertPlan plan;

  g_assert_true (img_convert_plan (&fixture->options, &plan, NULL, NULL));
  g_assert_cmpint (plan.losses, ==, losses);
  g_assert_cmpuint (plan.texts->len, ==, text != NULL ? 2 : 1);
  g_assert_cmpstr (plan.texts->pdata[0], ==, text);
  img_convert_plan_clear (&plan);
}

static void
test_size (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (GBytes) bytes = g_bytes_new_take (g_malloc0 (1000), 1000);
  g_autoptr (ImgStorage) storage = img_memory_storage_new (bytes);
  g_autoptr (ImgImage) image = open_memory (storage, "raw");
  ImgImage *both[] = { image, image };

  fixture->options.sources = both;
  assert_loss (fixture, IMG_CONVERT_LOSS_SIZE,
               "The size is rounded up to whole sectors, by 24 bytes of zeroes");
  fixture->options.n_sources = 2;
  assert_loss (fixture, IMG_CONVERT_LOSS_SIZE,
               "The size is rounded up to whole sectors, by 48 bytes of zeroes");
  fixture->options.length = 512;
  assert_loss (fixture, IMG_CONVERT_LOSS_NONE, NULL);
  fixture->options.length = 600;
  assert_loss (fixture, IMG_CONVERT_LOSS_SIZE,
               "The size is rounded up to whole sectors, by 424 bytes of zeroes");
}

/* Two bitmaps, the second of which was not closed. */
static ImgStorage *
build_with_bitmaps (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  g_autoptr (GByteArray) extension = g_byte_array_new ();
  guint64 at = qcow2_builder_alloc (builder, 1);

  for (guint32 flags = 0; flags < 2; flags++)
    {
      qcow2_put_be64 (directory, qcow2_builder_alloc (builder, 1));
      qcow2_put_be32 (directory, 1);
      qcow2_put_be32 (directory, flags);
      /* Of dirty clusters of 64 KiB, with a name of eight bytes. */
      qcow2_put_be64 (directory, G_GUINT64_CONSTANT (0x0110000800000000));
      g_byte_array_append (directory, (const guint8 *) (flags == 0 ? "finished" : "in-use!!"), 8);
    }
  qcow2_builder_write (builder, at, directory->data, directory->len);
  qcow2_put_be32 (extension, 2);
  qcow2_put_be32 (extension, 0);
  qcow2_put_be64 (extension, directory->len);
  qcow2_put_be64 (extension, at);
  builder->autoclear = 1;
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BITMAPS, extension->data, extension->len);
  return qcow2_builder_finish_storage (builder);
}

static void
test_bitmaps (Fixture *fixture, gconstpointer user_data)
{
  g_autoptr (ImgStorage) storage = build_with_bitmaps ();
  g_autoptr (ImgImage) image = open_memory (storage, "qcow2");

  fixture->options.sources = &image;
  assert_loss (fixture, IMG_CONVERT_LOSS_BITMAPS, "2 persistent bitmaps are not copied");
  fixture->creation.driver = img_driver_find ("qcow2");
  assert_loss (fixture, IMG_CONVERT_LOSS_BITMAPS, "2 persistent bitmaps are not copied");
  fixture->options.copy_bitmaps = TRUE;
  fixture->options.skip_broken_bitmaps = TRUE;
  assert_loss (fixture, IMG_CONVERT_LOSS_BITMAPS, "1 persistent bitmap is not copied");
}

/* Also when the table cannot be read. */
static void
test_snapshots (Fixture *fixture, gconstpointer user_data)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  g_autoptr (ImgStorage) failing = NULL;
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;
  ImgConvertPlan plan;

  qcow2_builder_add_snapshot (builder, "1", "one", 0, 0, NULL, 0);
  qcow2_builder_add_snapshot (builder, "2", "two", 0, 0, NULL, 0);
  storage = qcow2_builder_finish_storage (builder);
  failing = test_failing_storage_new (storage);
  image = open_memory (failing, "qcow2");
  fixture->options.sources = &image;
  assert_loss (fixture, IMG_CONVERT_LOSS_SNAPSHOTS, "2 internal snapshots are not copied");
  test_failing_storage_arm (failing, 1, TRUE);
  g_assert_false (img_convert_plan (&fixture->options, &plan, NULL, &error));
  test_failing_storage_arm (failing, 0, FALSE);
  g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *path = g_strconcat ("/convert-plan/room/", rows[i].name, NULL);

      g_test_add (path, Fixture, &rows[i], set_up, test_room, tear_down);
    }
  g_test_add ("/convert-plan/reads", Fixture, NULL, set_up, test_reads, tear_down);
  g_test_add ("/convert-plan/reflinks", Fixture, NULL, set_up, test_reflinks, tear_down);
  g_test_add ("/convert-plan/unknown", Fixture, NULL, set_up, test_unknown, tear_down);
  g_test_add ("/convert-plan/target", Fixture, NULL, set_up, test_target, tear_down);
  g_test_add ("/convert-plan/failures", Fixture, NULL, set_up, test_failures, tear_down);
  g_test_add ("/convert-plan/no-memory", Fixture, NULL, set_up, test_no_memory, tear_down);
  g_test_add ("/convert-plan/cancelled", Fixture, NULL, set_up, test_cancelled, tear_down);
  g_test_add ("/convert-plan/size", Fixture, NULL, set_up, test_size, tear_down);
  g_test_add ("/convert-plan/bitmaps", Fixture, NULL, set_up, test_bitmaps, tear_down);
  g_test_add ("/convert-plan/snapshots", Fixture, NULL, set_up, test_snapshots, tear_down);
  return g_test_run ();
}
