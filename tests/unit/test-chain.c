/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Opening chains: policies, limits, cycles, and what stays as it was when it fails. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-file-storage.h"
#include "img-image.h"
#include "qcow2-builder.h"
#include "test-folder.h"
#include "test-storages.h"

#define DISK_SIZE (1 << 20)

typedef struct
{
  char *folder;
  char *inner; /* a folder in it */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
  fixture->inner = g_build_filename (fixture->folder, "inner", NULL);
  g_assert_cmpint (g_mkdir (fixture->inner, 0700), ==, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_free (fixture->inner);
  test_folder_remove (fixture->folder);
}

/* An empty disk over @backing, which may be NULL, as may its format. */
static void
write_image (Fixture *fixture, const char *name, const char *backing, const char *format)
{
  g_autofree char *path = g_build_filename (fixture->folder, name, NULL);
  Qcow2Builder *builder = qcow2_builder_new (3, 16, DISK_SIZE, 0);
  g_autoptr (GBytes) bytes = NULL;

  builder->backing_name = backing;
  if (format != NULL)
    qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, format, strlen (format));
  bytes = qcow2_builder_finish (builder);
  g_assert_true (g_file_set_contents (path, g_bytes_get_data (bytes, NULL),
                                      (gssize) g_bytes_get_size (bytes), NULL));
}

static void
write_raw (Fixture *fixture, const char *name, char fill)
{
  g_autofree char *path = g_build_filename (fixture->folder, name, NULL);
  g_autofree char *content = g_malloc (DISK_SIZE);

  memset (content, fill, DISK_SIZE);
  g_assert_true (g_file_set_contents (path, content, DISK_SIZE, NULL));
}

static ImgImage *
open_top (const char *folder, const char *name, const ImgImageOptions *limits)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);
  ImgImageOptions options = limits != NULL ? *limits : (ImgImageOptions) { 0 };
  ImgError *error = NULL;
  ImgImage *image;

  g_assert_nonnull (storage);
  options.driver = img_driver_find ("qcow2");
  image = img_image_open (storage, &options, NULL, &error);
  g_assert_null (error);
  return image;
}

static void
assert_reads (ImgImage *image, guint8 value)
{
  guint8 buffer[100];

  g_assert_true (img_image_read (image, 4096, buffer, sizeof buffer, NULL, NULL));
  for (guint i = 0; i < sizeof buffer; i++)
    g_assert_cmpuint (buffer[i], ==, value);
}

static void
assert_opens (ImgImage *image, ImgPolicy *policy)
{
  ImgError *error = NULL;

  if (!img_image_open_references (image, policy, NULL, &error))
    g_error ("refused: %s", error->text);
}

static void
assert_refused (ImgImage *image, ImgPolicy *policy, ImgCode code, const char *word)
{
  g_autoptr (ImgError) error = NULL;

  g_assert_false (img_image_open_references (image, policy, NULL, &error));
  if (error->code != code || strstr (error->text, word) == NULL)
    g_error ("code %d, not %d, or no “%s” in: %s", error->code, code, word, error->text);
  g_assert_false (img_image_is_ready (image));
  g_assert_null (img_image_get_backing (image));
}

static void
test_policies (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) deny = img_policy_new_deny ();
  g_autoptr (ImgPolicy) same = img_policy_new_same_directory ();
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  g_autoptr (ImgImage) image = NULL;

  write_raw (fixture, "base.raw", 'b');
  write_image (fixture, "mid", "base.raw", "raw");
  write_image (fixture, "top", "mid", "qcow2");
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, deny, IMG_CODE_REFERENCE_DENIED, "mid");
  assert_opens (image, same); /* a refusal is not the end */
  assert_reads (image, 'b');
  g_assert_cmpstr (
    img_image_get_layout (img_image_get_backing (img_image_get_backing (image)))->driver->name, ==,
    "raw");
  g_clear_pointer (&image, img_image_unref);
  image = open_top (fixture->folder, "top", NULL);
  assert_opens (image, any);
  assert_reads (image, 'b');
}

static void
test_names (Fixture *fixture, gconstpointer data)
{
  g_autofree char *absolute = g_build_filename (fixture->folder, "base.raw", NULL);
  g_autofree char *detour = g_build_filename (fixture->inner, "..", "base.raw", NULL);
  g_autofree char *outside = g_build_filename (fixture->inner, "base.raw", NULL);
  g_autofree char *link = g_build_filename (fixture->folder, "link", NULL);
  g_autofree char *fifo = g_build_filename (fixture->folder, "fifo", NULL);
  const struct
  {
    const char *name;
    gboolean same, any;
  } cases[] = {
    { "base.raw", TRUE, TRUE },
    { "./base.raw", TRUE, TRUE },
    { absolute, TRUE, TRUE }, /* into the image's own folder */
    { detour, TRUE, TRUE },
    { outside, FALSE, TRUE },
    { "inner/base.raw", FALSE, TRUE },
    { "link", FALSE, TRUE },
    { "fifo", FALSE, FALSE },
    { "inner", FALSE, FALSE },
    { "inner/", FALSE, FALSE },
    { "..", FALSE, FALSE },
    { ".", FALSE, FALSE },
    { "missing", FALSE, FALSE },
    { "/dev/null", FALSE, FALSE },
    { "/dev/zero", FALSE, FALSE },
    { "/proc/self/fd/0", FALSE, FALSE },
    { "json:{\"driver\":\"raw\",\"file.filename\":\"base.raw\"}", FALSE, FALSE },
    { "nbd://localhost/", FALSE, FALSE },
    { "file:base.raw", FALSE, FALSE },
    { "fat:inner", FALSE, FALSE },
    { "C:base.raw", FALSE, FALSE },
    { "base.raw\n", FALSE, FALSE },
    { "b\xff"
      "ase",
      FALSE, FALSE },
    { " base.raw", FALSE, FALSE },
    { "base.raw ", FALSE, FALSE },
  };
  g_autoptr (ImgPolicy) same = img_policy_new_same_directory ();
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();

  write_raw (fixture, "base.raw", 'b');
  write_raw (fixture, "inner/base.raw", 'i');
  g_assert_cmpint (symlink ("base.raw", link), ==, 0);
  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint k = 0; k < 2; k++)
      {
        g_autoptr (ImgImage) image = NULL;
        ImgError *error = NULL;
        gboolean opened;

        write_image (fixture, "top", cases[i].name, "raw");
        image = open_top (fixture->folder, "top", NULL);
        opened = img_image_open_references (image, k ? any : same, NULL, &error);
        if (opened != (k ? cases[i].any : cases[i].same))
          g_error ("“%s” with policy %u: %s", cases[i].name, k,
                   error != NULL ? error->text : "opened");
        g_assert_true (opened || error != NULL);
        img_error_clear (&error);
      }
}

/* The image is reached through a link in another folder: the folder that counts is the real one. */
static void
test_linked_image (Fixture *fixture, gconstpointer data)
{
  g_autofree char *link = g_build_filename (fixture->inner, "top", NULL);
  g_autoptr (ImgPolicy) same = img_policy_new_same_directory ();
  g_autoptr (ImgImage) image = NULL;

  write_raw (fixture, "base.raw", 'b');
  write_raw (fixture, "inner/base.raw", 'i');
  write_image (fixture, "top", "base.raw", "raw");
  g_assert_cmpint (symlink ("../top", link), ==, 0);
  image = open_top (fixture->inner, "top", NULL);
  assert_opens (image, same);
  assert_reads (image, 'b');
}

/* Between the opening of the image and of its backing file, the name comes to mean another image.
 */
static void
test_moved_image (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->folder, "top", NULL);
  g_autoptr (ImgPolicy) same = img_policy_new_same_directory ();
  g_autoptr (ImgImage) image = NULL;

  write_raw (fixture, "base.raw", 'b');
  write_image (fixture, "top", "base.raw", "raw");
  image = open_top (fixture->folder, "top", NULL);
  g_unlink (path);
  write_image (fixture, "top", "base.raw", "raw");
  assert_refused (image, same, IMG_CODE_REFERENCE_DENIED, "folder");
}

static void
test_formats (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) same = img_policy_new_same_directory ();
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  g_autoptr (ImgImage) image = NULL;

  write_raw (fixture, "base.raw", 'b');
  write_image (fixture, "base.qcow2", NULL, NULL);
  write_image (fixture, "top", "base.raw", NULL);
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, same, IMG_CODE_UNKNOWN_FORMAT, "format");
  assert_opens (image, any); /* guesses, as QEMU does */
  assert_reads (image, 'b');
  g_clear_pointer (&image, img_image_unref);

  write_image (fixture, "top", "base.qcow2", "raw"); /* says raw of what is none */
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, same, IMG_CODE_REFERENCE_DENIED, "raw");
  g_clear_pointer (&image, img_image_unref);

  write_image (fixture, "top", "base.qcow2", "file"); /* says the same in other words */
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, same, IMG_CODE_REFERENCE_DENIED, "raw");
  g_clear_pointer (&image, img_image_unref);

  write_image (fixture, "top", "base.raw", "file");
  image = open_top (fixture->folder, "top", NULL);
  assert_opens (image, same);
  assert_reads (image, 'b');
  g_clear_pointer (&image, img_image_unref);

  write_image (fixture, "top", "base.raw", "vmfoo");
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, any, IMG_CODE_UNKNOWN_FORMAT, "vmfoo");
  g_clear_pointer (&image, img_image_unref);

  write_image (fixture, "top", "base.raw", "qcow2");
  image = open_top (fixture->folder, "top", NULL);
  assert_refused (image, any, IMG_CODE_UNKNOWN_FORMAT, "base.raw");
}

static void
test_loops (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->folder, "self", NULL);
  g_autofree char *alias = g_build_filename (fixture->folder, "alias", NULL);
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  static const char *const tops[] = { "self", "a", "hard" };

  write_image (fixture, "self", "self", "qcow2");
  write_image (fixture, "a", "b", "qcow2");
  write_image (fixture, "b", "./a", "qcow2");
  write_image (fixture, "hard", "alias2", "qcow2");
  g_assert_cmpint (link (path, alias), ==, 0);
  g_clear_pointer (&path, g_free);
  g_clear_pointer (&alias, g_free);
  path = g_build_filename (fixture->folder, "hard", NULL);
  alias = g_build_filename (fixture->folder, "alias2", NULL);
  g_assert_cmpint (link (path, alias), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (tops); i++)
    {
      g_autoptr (ImgImage) image = open_top (fixture->folder, tops[i], NULL);

      assert_refused (image, any, IMG_CODE_REFERENCE_LOOP, "itself");
    }
}

/* A chain of @n images named 0 to n - 1, 0 on top. */
static void
write_chain (Fixture *fixture, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("%u", i);
      g_autofree char *backing = g_strdup_printf ("%u", i + 1);

      write_image (fixture, name, i + 1 < n ? backing : NULL, i + 1 < n ? "qcow2" : NULL);
    }
}

static void
test_depth (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  ImgImageOptions options = { .max_depth = 20 };
  ImgImageOptions few = { .max_depth = 20, .max_files = 10 };
  ImgImageOptions hard = { .max_depth = 1000, .max_files = 1000 };
  g_autoptr (ImgImage) image = NULL;

  write_chain (fixture, IMG_DEFAULT_MAX_DEPTH);
  image = open_top (fixture->folder, "0", NULL);
  assert_opens (image, any);
  assert_reads (image, 0);
  g_clear_pointer (&image, img_image_unref);

  write_chain (fixture, IMG_DEFAULT_MAX_DEPTH + 1);
  image = open_top (fixture->folder, "0", NULL);
  assert_refused (image, any, IMG_CODE_LIMIT_EXCEEDED, "16");
  g_clear_pointer (&image, img_image_unref);
  image = open_top (fixture->folder, "0", &options);
  assert_opens (image, any);
  g_clear_pointer (&image, img_image_unref);
  image = open_top (fixture->folder, "0", &few);
  assert_refused (image, any, IMG_CODE_LIMIT_EXCEEDED, "10");
  g_clear_pointer (&image, img_image_unref);

  write_chain (fixture, IMG_HARD_MAX_DEPTH);
  image = open_top (fixture->folder, "0", &hard);
  assert_opens (image, any);
  assert_reads (image, 0);
  g_clear_pointer (&image, img_image_unref);
  write_chain (fixture, IMG_HARD_MAX_DEPTH + 1);
  image = open_top (fixture->folder, "0", &hard);
  assert_refused (image, any, IMG_CODE_LIMIT_EXCEEDED, "64");
}

/* Images with an L1 table of the greatest size, 32 MiB, in sparse files. */
static void
write_large_chain (Fixture *fixture, guint n)
{
  const guint64 size = 128 * IMG_GIB;

  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("%u", i);
      g_autofree char *backing = g_strdup_printf ("%u", i + 1);
      g_autofree char *path = g_build_filename (fixture->folder, name, NULL);
      Qcow2Builder *builder = qcow2_builder_new (3, 9, size, 0);
      g_autoptr (GBytes) bytes = NULL;
      gsize length;
      int fd;

      if (i + 1 < n)
        {
          builder->backing_name = backing;
          qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BACKING_FORMAT, "qcow2", 5);
        }
      bytes = qcow2_builder_finish (builder);
      length = g_bytes_get_size (bytes);
      g_assert_cmpuint (length, >, 32 * IMG_MIB);
      fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      g_assert_cmpint (fd, >=, 0);
      /* Nothing but the header is not zero. */
      g_assert_cmpint (pwrite (fd, g_bytes_get_data (bytes, NULL), 512, 0), ==, 512);
      g_assert_cmpint (ftruncate (fd, (off_t) length), ==, 0);
      close (fd);
    }
}

static void
test_table_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  g_autoptr (ImgImage) image = NULL;

  write_large_chain (fixture, 4);
  image = open_top (fixture->folder, "0", NULL);
  assert_opens (image, any);
  g_clear_pointer (&image, img_image_unref);
  write_large_chain (fixture, 5);
  image = open_top (fixture->folder, "0", NULL);
  assert_refused (image, any, IMG_CODE_LIMIT_EXCEEDED, "128 MiB");
}

/* What the application gives is not asked for, and its chain counts. */
static void
test_override (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) deny = img_policy_new_deny ();
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgImage) chain = NULL;
  g_autoptr (ImgImage) again = NULL;
  ImgError *error = NULL;

  write_raw (fixture, "base.raw", 'b');
  write_image (fixture, "other", "base.raw", "raw");
  write_image (fixture, "top", "missing", "raw");
  image = open_top (fixture->folder, "top", NULL);
  g_assert_true (img_image_set_backing (image, NULL, NULL)); /* explicitly none */
  assert_opens (image, deny);
  assert_reads (image, 0);
  g_assert_null (img_image_get_backing (image));
  g_clear_pointer (&image, img_image_unref);

  chain = open_top (fixture->folder, "other", NULL);
  assert_opens (chain, any);
  image = open_top (fixture->folder, "top", NULL);
  g_assert_false (img_image_set_backing (image, image, &error));
  img_error_clear (&error);
  g_assert_true (img_image_set_backing (image, chain, NULL));
  assert_opens (image, deny);
  assert_reads (image, 'b');
  g_clear_pointer (&image, img_image_unref);

  /* The same file below itself, by another handle. */
  again = open_top (fixture->folder, "other", NULL);
  g_assert_true (img_image_set_backing (again, chain, NULL));
  g_assert_false (img_image_open_references (again, deny, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCE_LOOP));
  img_error_clear (&error);
}

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgPolicy) any = img_policy_new_permissive ();
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgImage) image = NULL;

  write_chain (fixture, 3);
  image = open_top (fixture->folder, "0", NULL);
  img_cancel_trigger (cancel);
  g_assert_false (img_image_open_references (image, any, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  assert_opens (image, any);
}

#define ADD_TEST(path, func) g_test_add (path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD_TEST ("/chain/policies", test_policies);
  ADD_TEST ("/chain/names", test_names);
  ADD_TEST ("/chain/linked-image", test_linked_image);
  ADD_TEST ("/chain/moved-image", test_moved_image);
  ADD_TEST ("/chain/formats", test_formats);
  ADD_TEST ("/chain/loops", test_loops);
  ADD_TEST ("/chain/depth", test_depth);
  ADD_TEST ("/chain/table-memory", test_table_memory);
  ADD_TEST ("/chain/override", test_override);
  ADD_TEST ("/chain/cancel", test_cancel);
  return g_test_run ();
}
