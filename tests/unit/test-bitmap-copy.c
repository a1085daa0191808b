/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying bitmaps into images that are there: whichever change of the file fails, and wherever a copy is cancelled,
 * the metadata is sound, and the file has either no valid bitmaps or all of them. Two copies in opposite directions
 * do not wait for one another. */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "test-storages.h"

#define SIZE (16 * IMG_MIB)
#define CLUSTER_BITS 12
#define CLUSTER ((gsize) 1 << CLUSTER_BITS)

typedef struct
{
  const char *name;
  gboolean has_lazy_refcounts;
  gboolean has_stale; /* bitmaps that lost their validity */
} Case;

static const Case cases[] = {
  { "none", FALSE, FALSE },
  { "lazy", TRUE, FALSE },
  { "stale", FALSE, TRUE },
};

static ImgImage *
open_image (ImgStorage *storage, gboolean writable)
{
  ImgImageOptions options = { .driver = img_driver_find ("qcow2"), .layout = { .writable = writable } };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgError *error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

/* ---- the source ---- */

/* A bit for every 512 bytes: one cluster of them. */
static void
put_bitmap (Qcow2Builder *builder, GByteArray *directory, const char *name, guint64 entry)
{
  g_autoptr (GByteArray) table = g_byte_array_new ();
  const guint8 kind[] = { 1, 9 };
  guint64 at = qcow2_builder_alloc (builder, 1);

  qcow2_put_be64 (table, entry);
  qcow2_builder_write (builder, at, table->data, table->len);
  qcow2_put_be64 (directory, at);
  qcow2_put_be32 (directory, 1);
  qcow2_put_be32 (directory, 0);
  g_byte_array_append (directory, kind, sizeof kind);
  qcow2_put_be16 (directory, (guint16) strlen (name));
  qcow2_put_be32 (directory, 0);
  g_byte_array_append (directory, (const guint8 *) name, (guint) strlen (name));
  while (directory->len % 8 != 0)
    g_byte_array_append (directory, (const guint8 *) "", 1);
}

/* One bitmap with bits, one whose bits are all set. */
static ImgStorage *
build_source (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, CLUSTER_BITS, SIZE, 0);
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  g_autoptr (GByteArray) extension = g_byte_array_new ();
  guint64 data = qcow2_builder_alloc (builder, 1);
  guint64 at = qcow2_builder_alloc (builder, 1);

  qcow2_builder_write (builder, data, "some bits", 9);
  put_bitmap (builder, directory, "some", data);
  put_bitmap (builder, directory, "all", 1);
  qcow2_builder_write (builder, at, directory->data, directory->len);
  qcow2_put_be32 (extension, 2);
  qcow2_put_be32 (extension, 0);
  qcow2_put_be64 (extension, directory->len);
  qcow2_put_be64 (extension, at);
  builder->autoclear = 1;
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BITMAPS, extension->data, extension->len);
  return qcow2_builder_finish_storage (builder);
}

/* ---- the target ---- */

static GBytes *
make_target (const Case *one, ImgImage *source)
{
  const ImgCreateOptions options = {
    .size = SIZE, .version = 3, .cluster_size = CLUSTER, .lazy_refcounts = one->has_lazy_refcounts
  };
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;

  img_driver_find ("qcow2")->create (file, &options, NULL, NULL, NULL);
  image = open_image (file, TRUE);
  if (one->has_stale)
    g_assert_true (img_image_copy_bitmaps (image, source, FALSE, NULL, NULL));
  g_assert_true (img_image_write (image, 0, "data", 4, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  return img_memory_storage_dup_bytes (file, NULL);
}

static guint64
count_leaks (ImgStorage *file)
{
  g_auto (ImgCheckResult) result;

  img_check_result_init (&result);
  g_assert_true (img_driver_find ("qcow2")->check (file, &result, NULL, NULL, NULL));
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.check_errors, ==, 0);
  return result.leaks;
}

/* All of them or none. */
static gboolean
has_bitmaps (ImgStorage *file)
{
  g_autoptr (ImgImage) image = open_image (file, FALSE);
  ImgLayout *layout = img_image_get_layout (image);
  ImgDescription description = { 0 };
  gboolean found;

  g_assert_true (layout->klass->describe (layout, &description, NULL));
  found = description.bitmaps != NULL;
  if (found)
    {
      g_assert_cmpuint (description.bitmaps->len, ==, 2);
      g_assert_cmpstr (((ImgBitmapInfo *) description.bitmaps->pdata[0])->name, ==, "some");
      g_assert_cmpstr (((ImgBitmapInfo *) description.bitmaps->pdata[1])->name, ==, "all");
    }
  img_description_clear (&description);
  return found;
}

/* ---- faults ---- */

typedef struct
{
  ImgImage *source;
  GBytes *target;
  guint64 old_leaks;
} Fixture;

/* Whether the @nth change was made at all. */
static gboolean
copy_with_trap (const Fixture *fixture, guint nth, gboolean persist, gboolean cancels)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (fixture->target);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, TRUE);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  gboolean success, is_sprung;

  test_trap_storage_set (trap, nth, persist, cancels ? cancel : NULL);
  success = img_image_copy_bitmaps (image, fixture->source, FALSE, cancel, &error);
  is_sprung = test_trap_storage_is_sprung (trap);
  if (!success)
    g_assert_cmpint (error->code, ==, cancels ? IMG_CODE_CANCELLED : IMG_CODE_ERRNO);
  else if (is_sprung && !cancels)
    g_assert_not_reached ();
  /* As after a crash. */
  count_leaks (file);
  g_assert_true (has_bitmaps (file) || !success);

  test_trap_storage_set (trap, 0, FALSE, NULL);
  if (img_image_close (image, NULL))
    {
      g_assert_cmpint (has_bitmaps (file), ==, success);
      g_assert_cmpuint (count_leaks (file), ==, fixture->old_leaks);
    }
  else
    count_leaks (file);
  return is_sprung;
}

static void
test_faults (gconstpointer data)
{
  const Case *one = data;
  g_autoptr (ImgStorage) storage = build_source ();
  g_autoptr (ImgImage) source = open_image (storage, FALSE);
  g_autoptr (GBytes) target = make_target (one, source);
  g_autoptr (ImgStorage) file = test_copy_storage_new (target);
  const Fixture fixture = { source, target, count_leaks (file) };
  guint n = 0;

  g_assert_false (has_bitmaps (file));
  while (copy_with_trap (&fixture, ++n, FALSE, FALSE))
    {
      copy_with_trap (&fixture, n, TRUE, FALSE);
      copy_with_trap (&fixture, n, FALSE, TRUE);
    }
  g_test_message ("%u changes failed", n - 1);
  g_assert_cmpuint (n, >, 8);
}

/* ---- both ways ---- */

#define N_ROUNDS 3000

typedef struct
{
  ImgImage *from;
  ImgImage *to;
} Way;

static gpointer
copy_thread (gpointer data)
{
  Way *way = data;

  for (guint i = 0; i < N_ROUNDS; i++)
    {
      g_autoptr (ImgError) error = NULL;

      g_assert_false (img_image_copy_bitmaps (way->to, way->from, FALSE, NULL, &error));
      g_assert_cmpint (error->code, ==, IMG_CODE_UNSUPPORTED);
    }
  return NULL;
}

/* Both have bitmaps: what is refused is refused with the gate closed. */
static void
test_both_ways (void)
{
  g_autoptr (ImgStorage) one_storage = build_source ();
  g_autoptr (GBytes) bytes = img_memory_storage_dup_bytes (one_storage, NULL);
  g_autoptr (ImgStorage) one_file = test_copy_storage_new (bytes);
  g_autoptr (ImgStorage) other_file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) one = open_image (one_file, TRUE);
  g_autoptr (ImgImage) other = open_image (other_file, TRUE);
  Way there = { one, other }, back = { other, one };
  GThread *thread = g_thread_new ("there", copy_thread, &there);

  copy_thread (&back);
  g_thread_join (thread);
  g_assert_true (has_bitmaps (one_file) && has_bitmaps (other_file));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strdup_printf ("/bitmap-copy/faults/%s", cases[i].name);

      g_test_add_data_func (path, &cases[i], test_faults);
    }
  g_test_add_func ("/bitmap-copy/both-ways", test_both_ways);
  return g_test_run ();
}
