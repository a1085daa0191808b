/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying bitmaps into images that are there: whichever change of the file fails, and wherever a copy is cancelled,
 * the metadata is sound, and the file has either no valid bitmaps or all of them, or those that it had. Two copies in
 * opposite directions do not wait for one another. */

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
  gboolean has_own;   /* bitmaps that are to be kept */
  gboolean is_written; /* between the two calls */
} Case;

static const Case cases[] = {
  { "none", FALSE, FALSE, FALSE, FALSE },       { "lazy", TRUE, FALSE, FALSE, FALSE },
  { "stale", FALSE, TRUE, FALSE, FALSE },       { "own", FALSE, FALSE, TRUE, TRUE },
  { "own-lazy", TRUE, FALSE, TRUE, TRUE },      { "own-unwritten", FALSE, FALSE, TRUE, FALSE },
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

#define FLAG_AUTO 2

/* A bit for every 512 bytes: one cluster of them. */
static void
put_bitmap (Qcow2Builder *builder, GByteArray *directory, const char *name, guint32 flags, guint64 entry)
{
  g_autoptr (GByteArray) table = g_byte_array_new ();
  guint64 at = qcow2_builder_alloc (builder, 1);

  qcow2_put_be64 (table, entry);
  qcow2_builder_write (builder, at, table->data, table->len);
  qcow2_put_bitmap (directory, &(Qcow2Bitmap) { at, 1, flags, 1, 9, 0, name });
}

/* One bitmap with bits, which may record changes, and one whose bits are all set. */
static ImgStorage *
build_image (const char *some, guint32 flags, const char *all)
{
  Qcow2Builder *builder = qcow2_builder_new (3, CLUSTER_BITS, SIZE, 0);
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  g_autoptr (GByteArray) extension = g_byte_array_new ();
  guint64 data = qcow2_builder_alloc (builder, 1);
  guint64 at = qcow2_builder_alloc (builder, 1);

  qcow2_builder_write (builder, data, "some bits", 9);
  put_bitmap (builder, directory, some, flags, data);
  put_bitmap (builder, directory, all, 0, 1);
  qcow2_builder_write (builder, at, directory->data, directory->len);
  qcow2_put_be32 (extension, 2);
  qcow2_put_be32 (extension, 0);
  qcow2_put_be64 (extension, directory->len);
  qcow2_put_be64 (extension, at);
  builder->autoclear = 1;
  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_BITMAPS, extension->data, extension->len);
  return qcow2_builder_finish_storage (builder);
}

static ImgStorage *
build_source (void)
{
  return build_image ("some", 0, "all");
}

/* ---- the target ---- */

static GBytes *
make_target (const Case *one, ImgImage *source)
{
  const ImgCreateOptions options = {
    .size = SIZE, .version = 3, .cluster_size = CLUSTER, .lazy_refcounts = one->has_lazy_refcounts
  };
  g_autoptr (ImgStorage) own_file = build_image ("records", FLAG_AUTO, "rests");
  g_autoptr (ImgImage) own = open_image (own_file, FALSE);
  g_autoptr (ImgStorage) file = img_memory_storage_new_writable (0);
  g_autoptr (ImgImage) image = NULL;

  img_driver_find ("qcow2")->create (file, &options, NULL, NULL, NULL);
  image = open_image (file, TRUE);
  if (one->has_stale)
    g_assert_true (img_image_copy_bitmaps (image, source, FALSE, NULL, NULL));
  g_assert_true (img_image_write (image, 0, "data", 4, NULL, NULL));
  if (one->has_own)
    g_assert_true (img_image_copy_bitmaps (image, own, FALSE, NULL, NULL));
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

/* The names of the bitmaps; "" if there are none. */
static char *
list_bitmaps (ImgStorage *file)
{
  g_autoptr (ImgImage) image = open_image (file, FALSE);
  ImgLayout *layout = img_image_get_layout (image);
  ImgDescription description = { 0 };
  GString *names = g_string_new (NULL);

  g_assert_true (layout->klass->describe (layout, &description, NULL));
  for (guint i = 0; description.bitmaps != NULL && i < description.bitmaps->len; i++)
    g_string_append_printf (names, "%s%s", i > 0 ? " " : "", ((ImgBitmapInfo *) description.bitmaps->pdata[i])->name);
  img_description_clear (&description);
  return g_string_free (names, FALSE);
}

#define OWN "records rests"
#define COPIED "some all"

typedef enum
{
  BITMAPS_NONE,
  BITMAPS_OWN,
  BITMAPS_ALL,
} Bitmaps;

static Bitmaps
find_bitmaps (ImgStorage *file, const Case *one)
{
  g_autofree char *names = list_bitmaps (file);

  if (names[0] == 0)
    return BITMAPS_NONE;
  if (one->has_own && g_str_equal (names, OWN))
    return BITMAPS_OWN;
  g_assert_cmpstr (names, ==, one->has_own ? OWN " " COPIED : COPIED);
  return BITMAPS_ALL;
}

/* ---- faults ---- */

typedef struct
{
  const Case *one;
  ImgImage *source;
  GBytes *target;
  guint64 old_leaks;
} Fixture;

static void
keep (const Case *one, ImgImage *image)
{
  if (!one->has_own)
    return;
  g_assert_true (img_image_keep_bitmaps (image, NULL, NULL));
  if (one->is_written)
    g_assert_true (img_image_write (image, 4096, "data", 4, NULL, NULL));
}

/* What is there after a copy that failed, once the image has been closed without an error. */
static void
check_after_failure (const Fixture *fixture, ImgStorage *file, gboolean has_settled)
{
  const Case *one = fixture->one;
  Bitmaps found = find_bitmaps (file, one);

  g_assert_true (found != BITMAPS_ALL);
  g_assert_true (one->has_own || found == BITMAPS_NONE);
  g_assert_true (!has_settled || !one->has_own || found == BITMAPS_OWN);
  /* What they were lost with is theirs, and not known any more. */
  g_assert_true (count_leaks (file) == fixture->old_leaks || (one->has_own && found == BITMAPS_NONE));
}

/* Whether the @nth change was made at all. */
static gboolean
copy_with_trap (const Fixture *fixture, guint nth, gboolean persist, gboolean cancels)
{
  g_autoptr (ImgStorage) file = test_copy_storage_new (fixture->target);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (file);
  g_autoptr (ImgImage) image = open_image (trap, TRUE);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  g_autoptr (ImgError) error = NULL;
  gboolean success, is_sprung, has_settled;

  keep (fixture->one, image);
  test_trap_storage_set (trap, nth, persist, cancels ? cancel : NULL);
  success = img_image_copy_bitmaps (image, fixture->source, FALSE, cancel, &error);
  is_sprung = test_trap_storage_is_sprung (trap);
  if (!success)
    g_assert_cmpint (error->code, ==, cancels ? IMG_CODE_CANCELLED : IMG_CODE_ERRNO);
  else /* what has no use any more may stay where it was: that is no failure */
    g_assert_true (!is_sprung || cancels || fixture->one->has_own);
  /* As after a crash. */
  count_leaks (file);
  g_assert_true (find_bitmaps (file, fixture->one) == BITMAPS_ALL || !success);

  test_trap_storage_set (trap, 0, FALSE, NULL);
  has_settled = !success && img_image_settle_bitmaps (image, NULL);
  if (!img_image_close (image, NULL))
    count_leaks (file);
  else if (success)
    {
      g_assert_cmpint (find_bitmaps (file, fixture->one), ==, BITMAPS_ALL);
      g_assert_true (count_leaks (file) == fixture->old_leaks || (is_sprung && !cancels));
    }
  else
    check_after_failure (fixture, file, has_settled && cancels);
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
  const Fixture fixture = { one, source, target, count_leaks (file) };
  guint n = 0;

  g_assert_cmpint (find_bitmaps (file, one), ==, one->has_own ? BITMAPS_OWN : BITMAPS_NONE);
  while (copy_with_trap (&fixture, ++n, FALSE, FALSE))
    {
      copy_with_trap (&fixture, n, TRUE, FALSE);
      copy_with_trap (&fixture, n, FALSE, TRUE);
    }
  g_test_message ("%u changes failed", n - 1);
  g_assert_cmpuint (n, >, 8);
}

static void
check_names (ImgStorage *file, const char *expected)
{
  g_autofree char *names = list_bitmaps (file);

  g_assert_cmpstr (names, ==, expected);
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
  check_names (one_file, COPIED);
  check_names (other_file, COPIED);
}

/* ---- those of its own ---- */

/* The bits of the first bitmap, one cluster of them, read with nothing but the specification. */
static void
read_first_bitmap (ImgStorage *file, guint8 *bits)
{
  g_autofree guint8 *header = g_malloc (CLUSTER);
  guint8 entry[8];
  guint64 directory, table;
  gsize at = 104;

  g_assert_true (img_storage_read (file, 0, header, CLUSTER, NULL));
  while (img_read_be32 (header + at) != QCOW2_EXTENSION_BITMAPS)
    at += 8 + img_align_up (img_read_be32 (header + at + 4), 8);
  directory = img_read_be64 (header + at + 24);
  g_assert_true (img_storage_read (file, directory, entry, sizeof entry, NULL));
  g_assert_true (img_storage_read (file, img_read_be64 (entry), entry, sizeof entry, NULL));
  table = img_read_be64 (entry);
  memset (bits, table == 1 ? 0xff : 0, CLUSTER);
  g_assert_true (table <= 1 || img_storage_read (file, table, bits, CLUSTER, NULL));
}

static const Case own_case = { .has_own = TRUE };

/* Of a disk that was changed every bit is set; else they are what they were. */
static void
check_kept (gboolean is_written, gboolean copies)
{
  g_autoptr (ImgStorage) source_file = build_source ();
  g_autoptr (GBytes) bytes = make_target (&own_case, NULL);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) source = open_image (source_file, FALSE);
  g_autoptr (ImgImage) image = open_image (file, TRUE);
  guint8 bits[CLUSTER], expected[CLUSTER] = "some bits";

  if (is_written)
    memset (expected, 0xff, CLUSTER);
  g_assert_true (img_image_keep_bitmaps (image, NULL, NULL));
  if (is_written)
    g_assert_true (img_image_write (image, SIZE - 4, "data", 4, NULL, NULL));
  if (copies)
    g_assert_true (img_image_copy_bitmaps (image, source, FALSE, NULL, NULL));
  else
    g_assert_true (img_image_settle_bitmaps (image, NULL));
  g_assert_true (img_image_close (image, NULL));
  check_names (file, copies ? OWN " " COPIED : OWN);
  read_first_bitmap (file, bits);
  g_assert_cmpmem (bits, CLUSTER, expected, CLUSTER);
  g_assert_cmpuint (count_leaks (file), ==, 0);
}

static void
test_kept (void)
{
  for (guint i = 0; i < 4; i++)
    check_kept ((i & 1) != 0, (i & 2) != 0);
}

/* A bitmap of a disk of another size says nothing. */
static void
test_kept_resized (void)
{
  g_autoptr (GBytes) bytes = make_target (&own_case, NULL);
  g_autoptr (ImgStorage) target = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (target, TRUE);

  g_assert_true (img_image_keep_bitmaps (image, NULL, NULL));
  g_assert_true (img_image_resize (image, 2 * SIZE, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_true (img_image_settle_bitmaps (image, NULL));
  g_assert_true (img_image_close (image, NULL));
  check_names (target, "");
}

/* Kept until one copy has ended, not for those that come later. */
static void
test_kept_once (void)
{
  g_autoptr (ImgStorage) source_file = build_source ();
  g_autoptr (ImgImage) source = open_image (source_file, FALSE);
  g_autoptr (GBytes) bytes = make_target (&own_case, NULL);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = open_image (file, TRUE);

  g_assert_true (img_image_keep_bitmaps (image, NULL, NULL));
  g_assert_true (img_image_settle_bitmaps (image, NULL));
  g_assert_true (img_image_write (image, 0, "data", 4, NULL, NULL));
  g_assert_true (img_image_keep_bitmaps (image, NULL, NULL));
  g_assert_true (img_image_copy_bitmaps (image, source, FALSE, NULL, NULL));
  g_assert_true (img_image_close (image, NULL));
  check_names (file, COPIED);
}

/* What the table points to would be given back: it must be nobody else's. */
static void
test_kept_damaged (void)
{
  g_autoptr (GBytes) bytes = make_target (&own_case, NULL);
  g_autoptr (ImgStorage) file = test_copy_storage_new (bytes);
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (ImgError) error = NULL;
  guint8 header[CLUSTER], entry[8];
  guint64 stored;

  /* The table of the first bitmap points to L1. */
  g_assert_true (img_storage_read (file, 0, header, CLUSTER, NULL));
  for (gsize at = 104; at + 32 < CLUSTER; at += 8)
    if (img_read_be32 (header + at) == QCOW2_EXTENSION_BITMAPS)
      g_assert_true (img_storage_read (file, img_read_be64 (header + at + 24), entry, sizeof entry, NULL));
  stored = GUINT64_TO_BE (img_read_be64 (header + 40));
  g_assert_true (img_storage_write (file, img_read_be64 (entry), &stored, sizeof stored, NULL));
  image = open_image (file, TRUE);
  g_assert_false (img_image_keep_bitmaps (image, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CORRUPT));
  g_assert_true (img_image_close (image, NULL));
  check_names (file, OWN);
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
  g_test_add_func ("/bitmap-copy/kept", test_kept);
  g_test_add_func ("/bitmap-copy/kept-resized", test_kept_resized);
  g_test_add_func ("/bitmap-copy/kept-once", test_kept_once);
  g_test_add_func ("/bitmap-copy/kept-damaged", test_kept_damaged);
  return g_test_run ();
}
