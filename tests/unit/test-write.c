/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Writing images in memory, each rule of a writer that loses nothing as a test of its name. What a power cut
 * or a failing disk would leave, and what threads do to one another, is tried in tests/crash.
 *
 * The other rules: W6 (shared state) the threads of tests/crash; W10 (repair) test-qcow2-check.c; W11 (file
 * systems) test-storage-write.c; W12 (silent skips) concerns formats made of extents; W13 (read-only) the
 * strace of tests/glib/test-write.c.
 *
 * What other writers got wrong, and where it is tried: a discard of the tail shortens the file (discard-space);
 * references before refcounts (tests/crash); encrypted images are written (refused by open,
 * test-qcow2-header.c); a chain that leads back to itself (test-chain.c); discarded space stays taken
 * (discard-space); creating keeps old content (test-create.c); a refused image is changed, an opened one
 * grows (untouched); writes past the end succeed (refusals); a read-only map says writable (refusals); more
 * than 1024 buffers (vectors).
 */

#include "config.h"

#include <errno.h>

#include "img-image.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define CLUSTER ((guint64) 4096)
#define DISK (64 * CLUSTER)

/* ---- images ---- */

/* A failing storage whose countdown goes on with changes instead of reads; and a log of what was
 * asked. */
typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  guint countdown; /* 0: none fails */
  gboolean persist;
  int error;
  guint n_writes;
  guint n_discards;
} Watch;

static gboolean
must_fail (Watch *watch)
{
  if (watch->countdown == 0 || --watch->countdown > 0)
    return FALSE;
  watch->countdown = watch->persist ? 1 : 0;
  return TRUE;
}

static void
watch_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Watch *watch = (Watch *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      watch->n_writes += ios[i].op == IMG_IO_WRITE;
      watch->n_discards += ios[i].op == IMG_IO_DISCARD;
      if (ios[i].op == IMG_IO_READ || !must_fail (watch))
        {
          img_storage_submit (watch->base, &ios[i], 1);
          continue;
        }
      img_error_set_errno (&error, watch->error, "Told to fail");
      img_io_complete (&ios[i], error);
    }
}

static gboolean
watch_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Watch *) storage)->base, size, error);
}

static void
watch_free (ImgStorage *storage)
{
  img_storage_unref (((Watch *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass watch_class = {
  .type_name = "watch",
  .submit = watch_submit,
  .get_size = watch_get_size,
  .free = watch_free,
};

static Watch *
watch_new (ImgStorage *base)
{
  Watch *watch = g_new0 (Watch, 1);

  img_storage_init (&watch->parent, &watch_class, NULL);
  watch->parent.can_write = TRUE;
  watch->base = img_storage_ref (base);
  return watch;
}

typedef struct
{
  Watch *watch;
  ImgImage *image;
} Disk;

static const ImgCreateOptions plain = { .size = DISK, .version = 3, .cluster_size = CLUSTER };

static ImgStorage *
create_file (const char *format, const ImgCreateOptions *options)
{
  ImgStorage *file = img_memory_storage_new_writable (0);
  ImgError *error = NULL;

  img_driver_find (format)->create (file, options, NULL, NULL, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  return file;
}

static ImgImage *
open_image (ImgStorage *storage, const char *format, gboolean writable, ImgImage *backing)
{
  ImgImageOptions options = { .driver = img_driver_find (format),
                              .layout = { .writable = writable } };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgError *error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (backing != NULL)
    g_assert_true (img_image_set_backing (image, backing, NULL));
  img_image_open_references (image, policy, NULL, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  return image;
}

static void
disk_open (Disk *disk, ImgStorage *file, const char *format, ImgImage *backing)
{
  disk->watch = watch_new (file);
  disk->image = open_image (&disk->watch->parent, format, TRUE, backing);
}

static void
disk_create (Disk *disk, const char *format, const ImgCreateOptions *options)
{
  g_autoptr (ImgStorage) file = create_file (format, options);

  disk_open (disk, file, format, NULL);
}

/* What an independent reading of the metadata says of the file as it is. */
static void
assert_clean (ImgStorage *file, guint64 max_leaks)
{
  g_auto (ImgCheckResult) result = { 0 };
  ImgError *error = NULL;

  img_check_result_init (&result);
  g_assert_true (img_driver_find ("qcow2")->check (file, &result, NULL, NULL, &error));
  for (guint i = 0; i < result.messages->len && result.corruptions > 0; i++)
    g_test_message ("%s", ((ImgCheckMessage *) g_ptr_array_index (result.messages, i))->text);
  g_assert_cmpuint (result.corruptions, ==, 0);
  g_assert_cmpuint (result.check_errors, ==, 0);
  g_assert_cmpuint (result.leaks, <=, max_leaks);
}

static void
disk_clear (Disk *disk)
{
  g_clear_pointer (&disk->image, img_image_unref);
  img_storage_unref (&disk->watch->parent);
}

/* Closes it; a clean close leaves no leak. */
static void
disk_close (Disk *disk)
{
  ImgError *error = NULL;

  img_image_close (disk->image, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (!img_image_get_layout (disk->image)->is_identity)
    assert_clean (disk->watch->base, 0);
  disk_clear (disk);
}

static void
write_pattern (ImgImage *image, guint64 offset, gsize length, guint seed)
{
  g_autofree guint8 *bytes = g_malloc (length);
  ImgError *error = NULL;

  for (gsize i = 0; i < length; i++)
    bytes[i] = test_pattern_byte (offset + i, seed);
  img_image_write (image, offset, bytes, length, NULL, &error);
  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
}

static void
assert_pattern (ImgImage *image, guint64 offset, gsize length, guint seed)
{
  g_autofree guint8 *bytes = g_malloc (length);

  g_assert_true (img_image_read (image, offset, bytes, length, NULL, NULL));
  for (gsize i = 0; i < length; i++)
    g_assert_cmphex (bytes[i], ==, test_pattern_byte (offset + i, seed));
}

static void
assert_zero (ImgImage *image, guint64 offset, gsize length)
{
  g_autofree guint8 *bytes = g_malloc (length);

  g_assert_true (img_image_read (image, offset, bytes, length, NULL, NULL));
  for (gsize i = 0; i < length; i++)
    g_assert_cmphex (bytes[i], ==, 0);
}

static ImgBlock
map_at (ImgImage *image, guint64 offset)
{
  ImgBlock block;

  g_assert_true (img_image_map (image, offset, img_image_get_size (image) - offset,
                                IMG_BLOCK_MAP_TOP_ONLY, &block, NULL, NULL));
  return block;
}

static void
check_failure (gboolean success, ImgError *error, ImgCode code)
{
  g_assert_false (success);
  g_assert_nonnull (error);
  g_assert_cmpint (error->code, ==, code);
  img_error_free (error);
}

/* @CALL stores its error in &error. */
#define ASSERT_FAILS(CALL, CODE)                                                                   \
  G_STMT_START                                                                                     \
  {                                                                                                \
    ImgError *error = NULL;                                                                        \
    gboolean success = CALL;                                                                       \
                                                                                                   \
    check_failure (success, error, CODE);                                                          \
  }                                                                                                \
  G_STMT_END

/* ---- what can be asked for ---- */

static void
test_refusals (gconstpointer format)
{
  g_autoptr (ImgStorage) file = create_file (
    format, g_str_equal (format, "raw") ? &(ImgCreateOptions){ .size = DISK } : &plain);
  g_autoptr (ImgImage) reader = open_image (file, format, FALSE, NULL);
  Disk disk;

  ASSERT_FAILS (img_image_write (reader, 0, "x", 1, NULL, &error), IMG_CODE_READ_ONLY);
  ASSERT_FAILS (img_image_write_zeroes (reader, 0, 512, 0, NULL, &error), IMG_CODE_READ_ONLY);
  ASSERT_FAILS (img_image_discard (reader, 0, 512, IMG_DISCARD_ANY, NULL, &error),
                IMG_CODE_READ_ONLY);
  ASSERT_FAILS (img_image_resize (reader, 2 * DISK, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, &error),
                IMG_CODE_READ_ONLY);
  g_assert_true (img_image_flush (reader, NULL, NULL));

  disk_open (&disk, file, format, NULL);
  ASSERT_FAILS (img_image_write (disk.image, DISK - 1, "xy", 2, NULL, &error),
                IMG_CODE_OUT_OF_RANGE);
  ASSERT_FAILS (img_image_write_zeroes (disk.image, DISK, 1, 0, NULL, &error),
                IMG_CODE_OUT_OF_RANGE);
  ASSERT_FAILS (img_image_resize (disk.image, DISK / 2, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, &error),
                IMG_CODE_FAILED);
  ASSERT_FAILS (img_image_resize (disk.image, DISK / 2, TRUE, IMG_PREALLOCATE_FULL, NULL, NULL, &error),
                IMG_CODE_INVALID_OPTION);
  g_assert_true (img_image_write (disk.image, DISK, "", 0, NULL, NULL));
  g_assert_true (img_image_close (disk.image, NULL));
  ASSERT_FAILS (img_image_write (disk.image, 0, "x", 1, NULL, &error), IMG_CODE_CLOSED);
  ASSERT_FAILS (img_image_flush (disk.image, NULL, &error), IMG_CODE_CLOSED);
  disk_clear (&disk);
}

/* More buffers than one system call takes. */
static void
test_vectors (void)
{
  enum
  {
    N = 3000
  };
  g_autofree guint8 *bytes = g_malloc (N * 7);
  g_autofree struct iovec *iov = g_new (struct iovec, N);
  Disk disk;

  for (guint i = 0; i < N; i++)
    {
      iov[i] = (struct iovec){ bytes + i * 7, 7 };
      for (guint j = 0; j < 7; j++)
        bytes[i * 7 + j] = test_pattern_byte (1000 + i * 7 + j, 3);
    }
  disk_create (&disk, "qcow2", &plain);
  g_assert_true (img_image_writev (disk.image, 1000, iov, N, NULL, NULL));
  assert_zero (disk.image, 0, 1000);
  assert_pattern (disk.image, 1000, N * 7, 3);
  assert_zero (disk.image, 1000 + N * 7, 5000);
  disk_close (&disk);
}

/* Opening for writing, and closing again, changes nothing. */
static void
test_untouched (void)
{
  g_autoptr (ImgStorage) file = create_file ("qcow2", &plain);
  Disk disk;

  disk_open (&disk, file, "qcow2", NULL);
  assert_zero (disk.image, 0, DISK);
  g_assert_true (img_image_close (disk.image, NULL));
  g_assert_cmpuint (disk.watch->n_writes, ==, 0);
  disk_clear (&disk);
}

/* ---- the rules ---- */

/* W1: whatever fails while space is taken and mapped, what was there stays, and nothing points to
 * space that somebody else may get. */
static void
test_w1_failed_allocation (void)
{
  guint n;

  for (n = 1; n < 100; n++)
    {
      ImgError *error = NULL;
      gboolean success;
      Disk disk;

      disk_create (&disk, "qcow2", &plain);
      write_pattern (disk.image, 0, 3 * CLUSTER, 1);
      disk.watch->error = ENOSPC;
      disk.watch->countdown = n;
      success = img_image_write (disk.image, 40 * CLUSTER + 100, "abc", 3, NULL, &error);
      img_error_clear (&error);
      disk.watch->countdown = 0;
      if (!success)
        assert_zero (disk.image, 40 * CLUSTER, CLUSTER);
      assert_pattern (disk.image, 0, 3 * CLUSTER, 1);
      write_pattern (disk.image, 20 * CLUSTER, 5 * CLUSTER, 2);
      assert_pattern (disk.image, 20 * CLUSTER, 5 * CLUSTER, 2);
      disk_close (&disk);
      if (success)
        break;
    }
  g_assert_cmpuint (n, >, 1);
  g_assert_cmpuint (n, <, 100);
}

/* W1, W2: what was freed is not handed out, nor punched, before the entry that let go of it is
 * durable. */
static void
test_w2_quarantine (void)
{
  ImgBlock before, after;
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  write_pattern (disk.image, 0, CLUSTER, 1);
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  before = map_at (disk.image, 0);
  g_assert_true (img_image_discard (disk.image, 0, CLUSTER, IMG_DISCARD_ZERO, NULL, NULL));
  g_assert_cmpuint (disk.watch->n_discards, ==, 0);
  write_pattern (disk.image, CLUSTER, CLUSTER, 2);
  after = map_at (disk.image, CLUSTER);
  g_assert_cmpuint (after.host_offset, !=, before.host_offset);
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  write_pattern (disk.image, 2 * CLUSTER, CLUSTER, 3);
  write_pattern (disk.image, 3 * CLUSTER, CLUSTER, 4);
  g_assert_cmpuint (disk.watch->n_discards, >, 0);
  g_assert_true (map_at (disk.image, 2 * CLUSTER).host_offset == before.host_offset ||
                 map_at (disk.image, 3 * CLUSTER).host_offset == before.host_offset);
  assert_zero (disk.image, 0, CLUSTER);
  assert_pattern (disk.image, CLUSTER, CLUSTER, 2);
  assert_pattern (disk.image, 2 * CLUSTER, CLUSTER, 3);
  disk_close (&disk);
}

/* W3: what failed is reported, once, and to the one who asked. */
static void
test_w3_errors (void)
{
  ImgError *error = NULL;
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  write_pattern (disk.image, 0, CLUSTER, 1);
  disk.watch->error = EIO;
  disk.watch->countdown = 1;
  g_assert_false (img_image_write (disk.image, 10, "abc", 3, NULL, &error));
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  g_assert_cmpint (error->system_errno, ==, EIO);
  img_error_clear (&error);
  g_assert_true (img_image_write (disk.image, 10, "abc", 3, NULL, &error));
  disk_close (&disk);
}

/* … and a failed flush is never forgotten: nothing more is written, also not by close (). */
static void
test_w3_poison (void)
{
  guint n_writes;
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  write_pattern (disk.image, 0, CLUSTER, 1);
  disk.watch->error = EIO;
  disk.watch->countdown = 1;
  g_assert_false (img_image_flush (disk.image, NULL, NULL));
  n_writes = disk.watch->n_writes;
  ASSERT_FAILS (img_image_flush (disk.image, NULL, &error), IMG_CODE_FLUSH_FAILED);
  ASSERT_FAILS (img_image_write (disk.image, 0, "x", 1, NULL, &error), IMG_CODE_FLUSH_FAILED);
  ASSERT_FAILS (img_image_discard (disk.image, 0, CLUSTER, IMG_DISCARD_ANY, NULL, &error),
                IMG_CODE_FLUSH_FAILED);
  assert_pattern (disk.image, 0, CLUSTER, 1);
  ASSERT_FAILS (img_image_close (disk.image, &error), IMG_CODE_FLUSH_FAILED);
  g_assert_cmpuint (disk.watch->n_writes, ==, n_writes);
  assert_clean (disk.watch->base, 100);
  disk_clear (&disk);
}

/* W4: bytes land where they belong, also far beyond 4 GiB, and never in the header's cluster. */
static void
test_w4_offsets (void)
{
  ImgCreateOptions options = { .size = 1 << 20, .version = 3, .cluster_size = 65536 };
  g_autoptr (GRand) random = g_rand_new_with_seed (4);
  guint64 offsets[200];
  Disk disk;

  options.size = (guint64) 3 << 40;
  disk_create (&disk, "qcow2", &options);
  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    {
      offsets[i] =
        ((guint64) g_rand_int (random) << 32 | g_rand_int (random)) % (options.size - 600);
      write_pattern (disk.image, offsets[i], 600, i);
      g_assert_cmpuint (map_at (disk.image, offsets[i]).host_offset, >=, 65536);
    }
  for (guint i = 0; i < G_N_ELEMENTS (offsets); i++)
    assert_pattern (disk.image, offsets[i], 600, i);
  disk_close (&disk);
}

/* W5: zeroes over a backing image are zeroes, never a hole; in version 2 too, which has no zero
 * clusters. */
static void
test_w5_zero_over_backing (gconstpointer version)
{
  ImgCreateOptions options = plain;
  g_autoptr (ImgStorage) below = test_pattern_storage_new (DISK, 7);
  g_autoptr (ImgImage) backing = open_image (below, "raw", FALSE, NULL);
  g_autoptr (ImgStorage) file = NULL;
  Disk disk;

  options.version = GPOINTER_TO_UINT (version);
  file = create_file ("qcow2", &options);
  disk_open (&disk, file, "qcow2", backing);
  assert_pattern (disk.image, 0, DISK, 7);
  for (guint i = 0; i < 2; i++)
    {
      guint64 at = (1 + 10 * i) * CLUSTER;

      g_assert_true (img_image_write_zeroes (disk.image, at + 100, 3 * CLUSTER,
                                             i == 0 ? IMG_ZERO_NONE : IMG_ZERO_UNMAP, NULL, NULL));
      assert_pattern (disk.image, at, 100, 7);
      assert_zero (disk.image, at + 100, 3 * CLUSTER);
      assert_pattern (disk.image, at + 100 + 3 * CLUSTER, CLUSTER - 100, 7);
    }
  g_assert_true (
    img_image_discard (disk.image, 30 * CLUSTER, 2 * CLUSTER, IMG_DISCARD_ZERO, NULL, NULL));
  assert_zero (disk.image, 30 * CLUSTER, 2 * CLUSTER);
  g_assert_true (
    img_image_discard (disk.image, 30 * CLUSTER, CLUSTER, IMG_DISCARD_BACKING, NULL, NULL));
  assert_pattern (disk.image, 30 * CLUSTER, CLUSTER, 7);
  assert_zero (disk.image, 31 * CLUSTER, CLUSTER);
  disk_close (&disk);
}

/* Where zeroes would become data it fails, and nothing but what lies before has changed. */
static void
test_zero_without_fallback (gconstpointer version)
{
  ImgCreateOptions options = plain;
  guint64 end = 10 * CLUSTER + 512; /* of the backing image */
  g_autoptr (ImgStorage) below = test_pattern_storage_new (end, 7);
  g_autoptr (ImgImage) backing = open_image (below, "raw", FALSE, NULL);
  g_autoptr (ImgStorage) file = NULL;
  gboolean is_old = GPOINTER_TO_UINT (version) == 2;
  Disk disk;

  options.version = GPOINTER_TO_UINT (version);
  file = create_file ("qcow2", &options);
  disk_open (&disk, file, "qcow2", backing);
  write_pattern (disk.image, CLUSTER, CLUSTER, 1);
  for (guint i = 0; i < 2; i++)
    {
      ImgZeroFlags flags = IMG_ZERO_NO_FALLBACK | (i == 0 ? IMG_ZERO_NONE : IMG_ZERO_UNMAP);
      ImgError *error = NULL;

      g_assert_false (img_image_write_zeroes (disk.image, CLUSTER + 100, 200, flags, NULL, &error));
      g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
      g_assert_cmpint (error->system_errno, ==, ENOTSUP);
      img_error_free (error);
      assert_pattern (disk.image, CLUSTER, CLUSTER, 1);
      /* Nothing to do. */
      g_assert_true (img_image_write_zeroes (disk.image, end, 5 * CLUSTER, flags, NULL, NULL));
    }
  g_assert_true (img_image_write_zeroes (disk.image, 2 * CLUSTER, 2 * CLUSTER + 100, IMG_ZERO_NO_FALLBACK, NULL, NULL) ==
                 FALSE);
  if (is_old)
    assert_pattern (disk.image, 2 * CLUSTER, 2 * CLUSTER, 7);
  else
    assert_zero (disk.image, 2 * CLUSTER, 2 * CLUSTER);
  assert_pattern (disk.image, 4 * CLUSTER, CLUSTER, 7);
  /* The rest of the cluster reads as zero: all of it may become so. */
  g_assert_true (img_image_write_zeroes (disk.image, 10 * CLUSTER, 512, IMG_ZERO_NO_FALLBACK, NULL, NULL) == !is_old);
  if (is_old)
    assert_pattern (disk.image, 10 * CLUSTER, 512, 7);
  else
    {
      g_assert_cmpint (map_at (disk.image, 10 * CLUSTER).kind, ==, IMG_BLOCK_ZERO);
      assert_zero (disk.image, 10 * CLUSTER, CLUSTER);
    }
  disk_close (&disk);
}

/* W7: after a flush the file alone is complete. */
static void
test_w7_flush (void)
{
  g_autoptr (ImgStorage) file = create_file ("qcow2", &plain);
  g_autoptr (ImgImage) other = NULL;
  Disk disk;

  disk_open (&disk, file, "qcow2", NULL);
  write_pattern (disk.image, 100, 20 * CLUSTER, 9);
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  other = open_image (file, "qcow2", FALSE, NULL);
  assert_pattern (other, 100, 20 * CLUSTER, 9);
  assert_clean (file, 0);
  disk_close (&disk);
}

/* W8: what this library does not know of, or does not change, stays as it is. */
static void
test_w8_header (void)
{
  ImgCreateOptions options = plain;
  g_autoptr (ImgStorage) file = NULL;
  guint8 before[CLUSTER], after[CLUSTER];
  Disk disk;

#ifdef HAVE_ZSTD
  options.compression = IMG_COMPRESSION_ZSTD;
#endif
  file = create_file ("qcow2", &options);
  g_assert_true (img_storage_read (file, 0, before, sizeof before, NULL));
  disk_open (&disk, file, "qcow2", NULL);
  write_pattern (disk.image, 0, 10 * CLUSTER, 1);
  g_assert_true (
    img_image_resize (disk.image, DISK + CLUSTER, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  disk_close (&disk);
  g_assert_true (img_storage_read (file, 0, after, sizeof after, NULL));
  memset (before + 24, 0, 8); /* the size */
  memset (after + 24, 0, 8);
  g_assert_cmpmem (before, sizeof before, after, sizeof after);
}

/* W9: the file does not grow without data. */
static void
test_w9_no_growth (void)
{
  g_autofree guint8 *bytes = g_malloc0 (CLUSTER);
  guint64 limit = DISK + 20 * CLUSTER + 64 * CLUSTER;
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  for (guint i = 0; i < 3000; i++)
    {
      guint64 at = (i * 37 % 64) * CLUSTER;

      bytes[i % CLUSTER] = (guint8) i;
      if (i % 3 == 0)
        g_assert_true (img_image_write_compressed (disk.image, at, bytes, CLUSTER, NULL, NULL));
      else if (i % 3 == 1)
        g_assert_true (img_image_discard (disk.image, at, CLUSTER, IMG_DISCARD_ZERO, NULL, NULL));
      else
        write_pattern (disk.image, at, CLUSTER, i);
      if (i % 50 == 0)
        g_assert_true (img_image_flush (disk.image, NULL, NULL));
      g_assert_cmpuint (test_get_file_size (disk.watch->base), <=, limit);
    }
  disk_close (&disk);
}

/* ---- space ---- */

/* A discard gives host space back, and a raw file never gets shorter. */
static void
test_discard_space (gconstpointer format)
{
  ImgCreateOptions options = { .size = 8 << 20 };
  g_autoptr (ImgStorage) file = create_file (format, &options);
  guint64 used, size;
  Disk disk;

  disk_open (&disk, file, format, NULL);
  write_pattern (disk.image, 0, 8 << 20, 1);
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  used = test_get_usage (file);
  size = test_get_file_size (file);
  g_assert_true (img_image_discard (disk.image, 4 << 20, 4 << 20, IMG_DISCARD_ANY, NULL, NULL));
  g_assert_true (img_image_write_zeroes (disk.image, 7 << 20, 1 << 20, IMG_ZERO_UNMAP, NULL, NULL));
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  disk_close (&disk);
  g_assert_cmpuint (test_get_usage (file), <=, used - (3 << 20));
  g_assert_cmpuint (test_get_file_size (file), >=, size);
}

/* Zeroes that keep the space, and a write into them, use the same cluster. */
static void
test_zero_keeps_space (void)
{
  ImgBlock data, zero;
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  write_pattern (disk.image, 0, CLUSTER, 1);
  data = map_at (disk.image, 0);
  g_assert_true (img_image_write_zeroes (disk.image, 0, CLUSTER, IMG_ZERO_NONE, NULL, NULL));
  zero = map_at (disk.image, 0);
  g_assert_cmpint (zero.kind, ==, IMG_BLOCK_ZERO);
  g_assert_true (zero.has_host_offset);
  g_assert_cmpuint (zero.host_offset, ==, data.host_offset);
  write_pattern (disk.image, 700, 100, 2);
  assert_zero (disk.image, 0, 700); /* not what the cluster held */
  assert_pattern (disk.image, 700, 100, 2);
  assert_zero (disk.image, 800, CLUSTER - 800);
  g_assert_cmpuint (map_at (disk.image, 0).host_offset, ==, data.host_offset);
  disk_close (&disk);
}

/* ---- compressed clusters ---- */

static void
test_compressed (gconstpointer compression)
{
  ImgCreateOptions options = plain;
  g_autofree guint8 *bytes = g_malloc (CLUSTER);
  Disk disk;

  options.compression = (ImgCompression) GPOINTER_TO_UINT (compression);
  disk_create (&disk, "qcow2", &options);
  for (guint i = 0; i < 20; i++)
    {
      memset (bytes, (int) i, CLUSTER);
      g_assert_true (
        img_image_write_compressed (disk.image, i * CLUSTER, bytes, CLUSTER, NULL, NULL));
      g_assert_cmpint (map_at (disk.image, i * CLUSTER).kind, ==, IMG_BLOCK_COMPRESSED);
    }
  /* Many streams share a host cluster. */
  g_assert_cmpuint (test_get_file_size (disk.watch->base), <, 10 * CLUSTER);
  /* What cannot be compressed is stored as it is. */
  for (gsize i = 0; i < CLUSTER; i++)
    bytes[i] = (guint8) g_random_int ();
  g_assert_true (img_image_write_compressed (disk.image, 30 * CLUSTER, bytes, CLUSTER, NULL, NULL));
  g_assert_cmpint (map_at (disk.image, 30 * CLUSTER).kind, ==, IMG_BLOCK_DATA);
  /* A plain write into a compressed cluster keeps the rest of it. */
  write_pattern (disk.image, 5 * CLUSTER + 10, 20, 1);
  g_assert_true (img_image_read (disk.image, 5 * CLUSTER, bytes, CLUSTER, NULL, NULL));
  for (gsize i = 0; i < CLUSTER; i++)
    g_assert_cmphex (bytes[i], ==, i >= 10 && i < 30 ? test_pattern_byte (5 * CLUSTER + i, 1) : 5);
  ASSERT_FAILS (img_image_write_compressed (disk.image, 512, bytes, 512, NULL, &error),
                IMG_CODE_FAILED);
  disk_close (&disk);
}

/* ---- damage ---- */

/* An L2 entry that points to metadata must not let a guest write there: the image is marked, and
 * left alone. */
static void
test_overlap (void)
{
  g_autoptr (ImgStorage) file = create_file ("qcow2", &plain);
  ImgImageOptions again = { .driver = img_driver_find ("qcow2"), .layout = { .writable = TRUE } };
  guint64 l1_entry, bad_entry;
  guint8 header[104];
  Disk disk;

  disk_open (&disk, file, "qcow2", NULL);
  write_pattern (disk.image, 0, CLUSTER, 1);
  disk_close (&disk);
  /* The entry of the first cluster points to the refcount table. */
  g_assert_true (img_storage_read (file, 0, header, sizeof header, NULL));
  g_assert_true (img_storage_read (file, img_read_be64 (header + 40), &l1_entry, 8, NULL));
  l1_entry = GUINT64_FROM_BE (l1_entry) & ~((guint64) 1 << 63);
  bad_entry = GUINT64_TO_BE ((guint64) 1 << 63 | img_read_be64 (header + 48));
  g_assert_true (img_storage_write (file, l1_entry, &bad_entry, 8, NULL));

  disk_open (&disk, file, "qcow2", NULL);
  ASSERT_FAILS (img_image_write (disk.image, 0, "x", 1, NULL, &error), IMG_CODE_CORRUPT);
  ASSERT_FAILS (img_image_write (disk.image, 9 * CLUSTER, "x", 1, NULL, &error), IMG_CODE_CORRUPT);
  g_assert_true (img_image_close (disk.image, NULL));
  disk_clear (&disk);
  g_assert_true (img_storage_read (file, 0, header, sizeof header, NULL));
  g_assert_cmphex (img_read_be64 (header + 72) & 2, ==, 2);
  ASSERT_FAILS (img_image_open (file, &again, NULL, &error) != NULL, IMG_CODE_CORRUPT);
}

/* ---- sizes ---- */

static void
test_resize_hides_backing (void)
{
  g_autoptr (ImgStorage) below = test_pattern_storage_new (2 * DISK, 7);
  g_autoptr (ImgImage) backing = open_image (below, "raw", FALSE, NULL);
  g_autoptr (ImgStorage) file = create_file ("qcow2", &plain);
  Disk disk;

  disk_open (&disk, file, "qcow2", backing);
  g_assert_true (img_image_resize (disk.image, 3 * DISK, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_cmpuint (img_image_get_size (disk.image), ==, 3 * DISK);
  assert_pattern (disk.image, 0, DISK, 7);
  assert_zero (disk.image, DISK, 2 * DISK);
  disk_close (&disk);
}

/* What a shrink left behind does not come back. */
static void
test_resize_forgets (gconstpointer format)
{
  g_autoptr (ImgStorage) file = create_file (
    format, g_str_equal (format, "raw") ? &(ImgCreateOptions){ .size = DISK } : &plain);
  guint64 size = DISK / 2 - 512;
  Disk disk;

  disk_open (&disk, file, format, NULL);
  write_pattern (disk.image, 0, DISK, 1);
  g_assert_true (img_image_resize (disk.image, size, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  assert_pattern (disk.image, 0, size, 1);
  g_assert_true (img_image_resize (disk.image, DISK, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  assert_pattern (disk.image, 0, size, 1);
  assert_zero (disk.image, size, DISK - size);
  disk_close (&disk);
}

/* A raw file is exactly as long as was asked for, and the disk ends with its last sector. */
static void
test_resize_ragged (void)
{
  g_autoptr (ImgStorage) file = create_file ("raw", &(ImgCreateOptions){ .size = DISK });
  Disk disk;

  disk_open (&disk, file, "raw", NULL);
  g_assert_true (
    img_image_resize (disk.image, DISK + 1000, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_cmpuint (test_get_file_size (file), ==, DISK + 1000);
  g_assert_cmpuint (img_image_get_size (disk.image), ==, DISK + 1024);
  assert_zero (disk.image, DISK, 1024);
  g_assert_true (img_image_resize (disk.image, DISK + 1, TRUE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
  g_assert_cmpuint (test_get_file_size (file), ==, DISK + 1);
  g_assert_cmpuint (img_image_get_size (disk.image), ==, DISK + 512);
  disk_close (&disk);
}

/* From a disk without an L1 table to one whose table takes many clusters. */
static void
test_resize_l1 (void)
{
  ImgCreateOptions options = { .size = 0, .version = 3, .cluster_size = 512 };
  Disk disk;

  disk_create (&disk, "qcow2", &options);
  for (guint64 size = 512; size <= (guint64) 1 << 31; size *= 64)
    {
      g_assert_true (img_image_resize (disk.image, size, FALSE, IMG_PREALLOCATE_OFF, NULL, NULL, NULL));
      write_pattern (disk.image, size - 512, 512, 5);
    }
  for (guint64 size = 512; size <= (guint64) 1 << 31; size *= 64)
    assert_pattern (disk.image, size - 512, 512, 5);
  disk_close (&disk);
}

static void
test_preallocate (gconstpointer mode)
{
  ImgPreallocate preallocate = (ImgPreallocate) GPOINTER_TO_UINT (mode);
  Disk disk;

  disk_create (&disk, "qcow2", &plain);
  write_pattern (disk.image, 0, DISK, 1);
  g_assert_true (img_image_discard (disk.image, 0, 8 * CLUSTER, IMG_DISCARD_ZERO, NULL, NULL));
  g_assert_true (img_image_flush (disk.image, NULL, NULL));
  /* Some of what is taken was used before. */
  g_assert_true (img_image_resize (disk.image, 2 * DISK, FALSE, preallocate, NULL, NULL, NULL));
  assert_zero (disk.image, DISK, DISK);
  for (guint64 at = DISK; at < 2 * DISK; at += CLUSTER)
    g_assert_true (map_at (disk.image, at).has_host_offset);
  disk_close (&disk);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/write/refusals/raw", "raw", test_refusals);
  g_test_add_data_func ("/write/refusals/qcow2", "qcow2", test_refusals);
  g_test_add_func ("/write/vectors", test_vectors);
  g_test_add_func ("/write/untouched", test_untouched);
  g_test_add_func ("/write/W1-failed-allocation", test_w1_failed_allocation);
  g_test_add_func ("/write/W2-quarantine", test_w2_quarantine);
  g_test_add_func ("/write/W3-errors", test_w3_errors);
  g_test_add_func ("/write/W3-poison", test_w3_poison);
  g_test_add_func ("/write/W4-offsets", test_w4_offsets);
  g_test_add_data_func ("/write/W5-zero-over-backing/2", GUINT_TO_POINTER (2),
                        test_w5_zero_over_backing);
  g_test_add_data_func ("/write/W5-zero-over-backing/3", GUINT_TO_POINTER (3),
                        test_w5_zero_over_backing);
  g_test_add_func ("/write/W7-flush", test_w7_flush);
  g_test_add_func ("/write/W8-header", test_w8_header);
  g_test_add_func ("/write/W9-no-growth", test_w9_no_growth);
  g_test_add_data_func ("/write/discard-space/raw", "raw", test_discard_space);
  g_test_add_data_func ("/write/discard-space/qcow2", "qcow2", test_discard_space);
  g_test_add_func ("/write/zero-keeps-space", test_zero_keeps_space);
  g_test_add_data_func ("/write/compressed/zlib", GUINT_TO_POINTER (IMG_COMPRESSION_ZLIB),
                        test_compressed);
#ifdef HAVE_ZSTD
  g_test_add_data_func ("/write/compressed/zstd", GUINT_TO_POINTER (IMG_COMPRESSION_ZSTD),
                        test_compressed);
#endif
  g_test_add_func ("/write/overlap", test_overlap);
  g_test_add_func ("/write/resize/hides-backing", test_resize_hides_backing);
  g_test_add_data_func ("/write/resize/forgets/raw", "raw", test_resize_forgets);
  g_test_add_data_func ("/write/resize/forgets/qcow2", "qcow2", test_resize_forgets);
  g_test_add_data_func ("/write/zero-without-fallback/v2", GUINT_TO_POINTER (2), test_zero_without_fallback);
  g_test_add_data_func ("/write/zero-without-fallback/v3", GUINT_TO_POINTER (3), test_zero_without_fallback);
  g_test_add_func ("/write/resize/ragged", test_resize_ragged);
  g_test_add_func ("/write/resize/l1", test_resize_l1);
  g_test_add_data_func ("/write/preallocate/metadata", GUINT_TO_POINTER (IMG_PREALLOCATE_METADATA),
                        test_preallocate);
  g_test_add_data_func ("/write/preallocate/falloc", GUINT_TO_POINTER (IMG_PREALLOCATE_FALLOC),
                        test_preallocate);
  g_test_add_data_func ("/write/preallocate/full", GUINT_TO_POINTER (IMG_PREALLOCATE_FULL),
                        test_preallocate);
  return g_test_run ();
}
