/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Images that are opened to be described: they tell of themselves, and their disks stay closed, whatever they are. */

#include <glib/gstdio.h>

#include "img-file-storage.h"
#include "img-image.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "qcow2/img-qcow2.h"
#include "raw/img-raw.h"

typedef enum
{
  PLAIN,
  AES,
  LUKS,
} Kind;

static GBytes *
make_qcow2 (Kind kind, const char *backing)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  guint64 cluster = qcow2_builder_alloc (builder, 1);

  qcow2_builder_write (builder, cluster, "stored", 6);
  qcow2_builder_set_entry (builder, 0, cluster | QCOW2_COPIED, 0);
  builder->backing_name = backing;
  if (backing != NULL)
    qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "qcow2", 5);
  if (kind == AES)
    builder->crypt_method = 1;
  else if (kind == LUKS)
    qcow2_builder_add_luks (builder);
  return qcow2_builder_finish (builder);
}

static ImgImage *
open_bytes (GBytes *bytes, const ImgDriver *driver, gboolean metadata_only, ImgError **error)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new (bytes);
  const ImgImageOptions options = { .driver = driver, .layout.metadata_only = metadata_only };

  return img_image_open (storage, &options, NULL, error);
}

static ImgImage *
open_metadata (GBytes *bytes, const ImgDriver *driver)
{
  ImgError *error = NULL;
  ImgImage *image = open_bytes (bytes, driver, TRUE, &error);

  if (image == NULL)
    g_error ("refused: %s", error->text);
  return image;
}

static void
link_image (ImgImage *image)
{
  g_autoptr (ImgPolicy) deny = img_policy_new_deny ();
  ImgError *error = NULL;

  if (!img_image_open_references (image, deny, NULL, &error))
    g_error ("refused: %s", error->text);
}

static void
take_refusal (ImgError **error)
{
  g_assert_nonnull (*error);
  g_assert_cmpint ((*error)->code, ==, IMG_CODE_METADATA_ONLY);
  g_clear_pointer (error, img_error_free);
}

/* Every way to the bytes of the disk. */
static void
assert_closed_disk (ImgImage *image)
{
  g_autoptr (GBytes) nothing = g_bytes_new (NULL, 0);
  g_autoptr (ImgStorage) target = img_memory_storage_new (nothing);
  guint8 buffer[16] = "untouched";
  struct iovec iov = { buffer, sizeof buffer };
  ImgError *error = NULL;
  ImgMiss miss = { NULL, 0, 0 };
  ImgTryRead try = { .length = sizeof buffer, .buffer = buffer };
  ImgBlock block;

  g_assert_false (img_image_is_ready (image));
  g_assert_false (img_image_require_ready (image, &error));
  take_refusal (&error);
  g_assert_false (img_image_read (image, 0, buffer, sizeof buffer, NULL, &error));
  take_refusal (&error);
  g_assert_false (img_image_readv (image, 0, &iov, 1, NULL, &error));
  take_refusal (&error);
  g_assert_cmpint (img_image_try_read (image, 0, buffer, sizeof buffer, &miss, &error), ==, IMG_TRY_ERROR);
  take_refusal (&error);
  img_image_try_reads (image, &try, 1);
  g_assert_cmpint (try.result, ==, IMG_TRY_ERROR);
  take_refusal (&try.error);
  g_assert_false (img_image_map (image, 0, 512, IMG_BLOCK_MAP_NONE, &block, NULL, &error));
  take_refusal (&error);
  g_assert_cmpint (img_image_try_map (image, 0, 512, IMG_BLOCK_MAP_TOP_ONLY, &block, &error), ==, IMG_TRY_ERROR);
  take_refusal (&error);
  g_assert_cmpuint (img_image_map_many (image, 0, 512, IMG_BLOCK_MAP_HOST_HOLES, &block, 1, NULL, &error), ==, 0);
  take_refusal (&error);
  g_assert_cmpuint (img_image_copy_range (image, 0, 512, target, 0), ==, 0);
  g_assert_false (img_image_read_vm_state (image, 0, buffer, sizeof buffer, NULL, &error));
  take_refusal (&error);
  g_assert_false (img_image_write (image, 0, buffer, sizeof buffer, NULL, &error));
  take_refusal (&error);
  g_assert_false (img_image_write_zeroes (image, 0, 512, IMG_ZERO_NONE, NULL, &error));
  take_refusal (&error);
  g_assert_false (img_image_discard (image, 0, 512, IMG_DISCARD_ANY, NULL, &error));
  take_refusal (&error);
  g_assert_false (img_image_flush (image, NULL, &error));
  take_refusal (&error);
  g_assert_cmpstr ((const char *) buffer, ==, "untouched");
}

static void
assert_described (ImgImage *image, Kind kind)
{
  static const char *const names[] = { NULL, "aes", "luks" };
  ImgLayout *layout = img_image_get_layout (image);
  ImgDescription description = { 0 };

  g_assert_cmpuint (img_image_get_size (image), ==, IMG_MIB);
  g_assert_null (layout->klass->map);
  g_assert_null (layout->klass->decode);
  g_assert_true (layout->klass->describe (layout, &description, NULL));
  g_assert_cmpstr (description.encryption, ==, names[kind]);
  g_assert_cmpint (description.luks != NULL, ==, kind == LUKS);
  if (kind == LUKS)
    g_assert_cmpstr (description.luks->cipher, ==, "aes-256");
  img_description_clear (&description);
}

static void
test_kinds (void)
{
  for (Kind kind = PLAIN; kind <= LUKS; kind++)
    {
      g_autoptr (GBytes) bytes = make_qcow2 (kind, NULL);
      g_autoptr (ImgImage) image = open_metadata (bytes, &img_qcow2_driver);

      assert_described (image, kind);
      assert_closed_disk (image);
      g_assert_false (img_image_is_linked (image));
      link_image (image);
      g_assert_true (img_image_is_linked (image));
      link_image (image); /* nothing happens */
      assert_described (image, kind);
      assert_closed_disk (image);
      g_assert_true (img_image_close (image, NULL));
    }
}

static void
test_raw (void)
{
  g_autoptr (GBytes) bytes = g_bytes_new ("stored", 6);
  g_autoptr (ImgImage) image = open_metadata (bytes, &img_raw_driver);

  g_assert_cmpuint (img_image_get_size (image), ==, 512);
  g_assert_null (img_image_get_layout (image)->klass->map);
  link_image (image);
  assert_closed_disk (image);
}

/* Opened in the usual way nothing has changed. */
static void
test_usual (void)
{
  for (Kind kind = AES; kind <= LUKS; kind++)
    {
      g_autoptr (GBytes) bytes = make_qcow2 (kind, NULL);
      g_autoptr (ImgError) error = NULL;

      g_assert_null (open_bytes (bytes, &img_qcow2_driver, FALSE, &error));
      g_assert_cmpint (error->code, ==, IMG_CODE_ENCRYPTED);
    }
}

/* What else is wrong with an image is no less wrong. */
static void
test_damage (void)
{
  g_autoptr (GBytes) bytes = make_qcow2 (LUKS, NULL);
  g_autoptr (GBytes) without_table = qcow2_poke (bytes, 40, "00000000ffff0000");
  g_autoptr (GBytes) unknown = qcow2_poke (bytes, 72, "80");
  g_autoptr (ImgError) table_error = NULL;
  g_autoptr (ImgError) unknown_error = NULL;

  g_assert_null (open_bytes (without_table, &img_qcow2_driver, TRUE, &table_error));
  g_assert_cmpint (table_error->code, ==, IMG_CODE_CORRUPT);
  g_assert_null (open_bytes (unknown, &img_qcow2_driver, TRUE, &unknown_error));
  g_assert_cmpint (unknown_error->code, ==, IMG_CODE_UNSUPPORTED);
}

static void
test_writable (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (IMG_MIB);
  const ImgImageOptions options = { .driver = &img_raw_driver,
                                    .layout.metadata_only = TRUE,
                                    .layout.writable = TRUE };
  g_autoptr (ImgError) error = NULL;

  g_assert_null (img_image_open (storage, &options, NULL, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_INVALID_OPTION);
}

/* ---- chains ---- */

/* A file of its own for each image; the policy finds them in one folder. */
typedef struct
{
  char *folder;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = g_dir_make_tmp ("imago-test-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = { "base", "middle", "top" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (fixture->folder, names[i], NULL);

      remove (path);
    }
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  g_free (fixture->folder);
}

static char *
write_file (Fixture *fixture, const char *name, GBytes *bytes)
{
  char *path = g_build_filename (fixture->folder, name, NULL);

  g_assert_true (g_file_set_contents (path, g_bytes_get_data (bytes, NULL), (gssize) g_bytes_get_size (bytes), NULL));
  return path;
}

/* @encrypted: which of the three images is; opened in the folder where they are. */
static ImgImage *
open_chain (Fixture *fixture, guint encrypted, gboolean metadata_only, ImgError **error)
{
  static const char *const names[] = { "base", "middle", "top" };
  g_autofree char *top = NULL;
  g_autoptr (ImgStorage) storage = NULL;
  const ImgImageOptions options = { .driver = &img_qcow2_driver, .layout.metadata_only = metadata_only };
  g_autoptr (ImgPolicy) policy = img_policy_new_same_directory ();
  ImgImage *image;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (GBytes) bytes = make_qcow2 (i == encrypted ? LUKS : PLAIN, i > 0 ? names[i - 1] : NULL);

      g_free (top);
      top = write_file (fixture, names[i], bytes);
    }
  storage = img_file_storage_open (top, IMG_FILE_NONE, NULL);
  image = img_image_open (storage, &options, NULL, error);
  if (image != NULL && !img_image_open_references (image, policy, NULL, error))
    g_clear_pointer (&image, img_image_unref);
  return image;
}

static void
test_chain (Fixture *fixture, gconstpointer data)
{
  for (guint encrypted = 0; encrypted < 3; encrypted++)
    {
      g_autoptr (ImgError) error = NULL;
      g_autoptr (ImgImage) image = open_chain (fixture, encrypted, TRUE, &error);
      guint n = 0;

      for (ImgImage *layer = image; layer != NULL; layer = img_image_get_backing (layer), n++)
        {
          assert_described (layer, 2 - n == encrypted ? LUKS : PLAIN);
          assert_closed_disk (layer);
        }
      g_assert_cmpuint (n, ==, 3);
      g_assert_true (img_image_close (image, NULL));
      g_assert_null (open_chain (fixture, encrypted, FALSE, &error));
      g_assert_cmpint (error->code, ==, IMG_CODE_ENCRYPTED);
    }
}

/* The application cannot have a disk read through such an image either. */
static void
test_below (void)
{
  g_autoptr (GBytes) bytes = make_qcow2 (LUKS, NULL);
  g_autoptr (GBytes) plain = make_qcow2 (PLAIN, "base");
  g_autoptr (ImgImage) encrypted = open_metadata (bytes, &img_qcow2_driver);
  g_autoptr (ImgImage) overlay = open_bytes (plain, &img_qcow2_driver, FALSE, NULL);
  ImgError *error = NULL;

  link_image (encrypted);
  g_assert_false (img_image_set_backing (overlay, encrypted, &error));
  take_refusal (&error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/metadata-only/kinds", test_kinds);
  g_test_add_func ("/metadata-only/raw", test_raw);
  g_test_add_func ("/metadata-only/usual", test_usual);
  g_test_add_func ("/metadata-only/damage", test_damage);
  g_test_add_func ("/metadata-only/writable", test_writable);
  g_test_add ("/metadata-only/chain", Fixture, NULL, set_up, test_chain, tear_down);
  g_test_add_func ("/metadata-only/below", test_below);
  return g_test_run ();
}
