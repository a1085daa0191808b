/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The engine over scripted layouts: every kind of extent, merging, batches, the cache of decoded
 * clusters, errors at every storage call, many threads. */

#include "config.h"

#include <string.h>

#include "img-alloc.h"
#include "img-image.h"
#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "test-storages.h"

#define UNIT 512u

/* Units of UNIT bytes, the kind of each drawn from a seed; @model gets what must be read. */
typedef struct
{
  ImgStorage *data;
  ImgStorage *counting;
  ImgStorage *failing;
  GArray *extents;
  guint8 *model;
  guint64 size;
} Disk;

static void
add_unit_extent (Disk *disk, ImgExtentKind kind, guint64 host_offset)
{
  ImgExtent extent = { .kind = kind,
                       .offset = disk->size,
                       .length = UNIT,
                       .storage = disk->failing };

  for (guint i = 0; i < UNIT; i++)
    disk->model[disk->size + i] = kind == IMG_EXTENT_DATA ? test_pattern_byte (host_offset + i, 1)
                                  : kind == IMG_EXTENT_COMPRESSED
                                    ? (guint8) (test_pattern_byte (host_offset + i, 1) + 1)
                                    : 0;
  if (kind == IMG_EXTENT_DATA)
    {
      extent.has_host_offset = TRUE;
      extent.host_offset = host_offset;
    }
  else if (kind == IMG_EXTENT_COMPRESSED)
    {
      extent.unit_offset = disk->size;
      extent.unit_length = UNIT;
      extent.unit_host_offset = host_offset;
      extent.unit_host_length = UNIT;
    }
  g_array_append_val (disk->extents, extent);
  disk->size += UNIT;
}

/* The scripted decoder takes a first byte of 255 for damage. */
static guint64
undamaged (guint64 host_offset)
{
  while (test_pattern_byte (host_offset, 1) == 255)
    host_offset++;
  return host_offset;
}

static Disk
disk_new (guint n_units, guint seed)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  Disk disk = { 0 };
  guint64 next = 0;

  disk.data = test_pattern_storage_new (n_units * UNIT * 2, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = test_failing_storage_new (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (n_units * UNIT);
  for (guint i = 0; i < n_units; i++)
    {
      ImgExtentKind kind = (ImgExtentKind) g_rand_int_range (random, 0, 4);

      if (g_rand_int_range (random, 0, 3) == 0)
        next = (guint64) g_rand_int_range (random, 0, (gint) (n_units * UNIT));
      if (kind == IMG_EXTENT_COMPRESSED)
        next = undamaged (next);
      add_unit_extent (&disk, kind, next);
      next += UNIT;
    }
  return disk;
}

static ImgImage *
disk_open (Disk *disk)
{
  ImgImage *image = test_scripted_image_new ((gpointer) disk->extents->data, disk->extents->len);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

static void
disk_clear (Disk *disk)
{
  img_storage_unref (disk->failing);
  img_storage_unref (disk->counting);
  img_storage_unref (disk->data);
  g_array_unref (disk->extents);
  g_free (disk->model);
}

static void
random_request (GRand *random, guint64 size, guint64 *offset, gsize *length)
{
  *offset = (guint64) g_rand_int_range (random, 0, (gint) size);
  *length = (gsize) g_rand_int_range (random, 0, (gint) MIN (size - *offset, 40 * UNIT) + 1);
}

static void
test_random_reads (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (7);
  Disk disk = disk_new (300, 7);
  g_autoptr (ImgImage) image = disk_open (&disk);
  g_autofree guint8 *buffer = g_malloc (disk.size);

  for (guint i = 0; i < 5000; i++)
    {
      guint64 offset;
      gsize length;

      random_request (random, disk.size, &offset, &length);
      memset (buffer, 0xee, length);
      g_assert_true (img_image_read (image, offset, buffer, length, NULL, NULL));
      g_assert_cmpmem (buffer, length, disk.model + offset, length);
    }
  disk_clear (&disk);
}

/* The vector of the caller cut at random places, with empty members. */
static void
test_random_vectors (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (8);
  Disk disk = disk_new (300, 8);
  g_autoptr (ImgImage) image = disk_open (&disk);
  g_autofree guint8 *buffer = g_malloc (disk.size + 8192);
  struct iovec iov[64];

  for (guint i = 0; i < 5000; i++)
    {
      gsize at = 0, length = 0;
      guint n = (guint) g_rand_int_range (random, 1, G_N_ELEMENTS (iov));
      guint64 offset;

      for (guint k = 0; k < n; k++)
        {
          iov[k] = (struct iovec) { buffer + at, (gsize) g_rand_int_range (random, 0, 700) };
          length += iov[k].iov_len;
          at += iov[k].iov_len + (gsize) g_rand_int_range (random, 0, 2) * 8;
        }
      offset = (guint64) g_rand_int_range (random, 0, (gint) (disk.size - length));
      memset (buffer, 0xee, at);
      g_assert_true (img_image_readv (image, offset, iov, n, NULL, NULL));
      for (guint k = 0; k < n; offset += iov[k].iov_len, k++)
        g_assert_cmpmem (iov[k].iov_base, iov[k].iov_len, disk.model + offset, iov[k].iov_len);
    }
  disk_clear (&disk);
}

/* What adjoins on both sides is one request; what only follows in the guest is a request of its
 * own, and all of them are submitted together. */
static void
test_merging (void)
{
  Disk disk = { 0 };
  g_autoptr (ImgImage) image = NULL;
  guint8 buffer[8 * UNIT];
  TestCounts counts;

  disk.data = test_pattern_storage_new (1 << 20, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = img_storage_ref (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (8 * UNIT);
  for (guint i = 0; i < 4; i++)
    add_unit_extent (&disk, IMG_EXTENT_DATA, 1000 + i * UNIT);
  add_unit_extent (&disk, IMG_EXTENT_ZERO, 0);
  add_unit_extent (&disk, IMG_EXTENT_DATA, 1000 + 4 * UNIT);
  add_unit_extent (&disk, IMG_EXTENT_DATA, 5000);
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (7000));
  image = disk_open (&disk);
  g_assert_true (img_image_read (image, 0, buffer, sizeof buffer, NULL, NULL));
  g_assert_cmpmem (buffer, sizeof buffer, disk.model, sizeof buffer);
  counts = test_counting_storage_take (disk.counting);
  g_assert_cmpuint (counts.n_reads, ==, 4);
  g_assert_cmpuint (counts.n_submits, ==, 1);
  disk_clear (&disk);
}

/* A small read of a compressed unit keeps it; a read of all of it does not disturb the cache. */
static void
test_decoded_cache (void)
{
  Disk disk = { 0 };
  g_autoptr (ImgImage) image = NULL;
  guint8 buffer[2 * UNIT];

  disk.data = test_pattern_storage_new (1 << 20, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = img_storage_ref (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (2 * UNIT);
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (0));
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (2000));
  image = disk_open (&disk);

  g_assert_cmpint (img_image_try_read (image, 5, buffer, 10, NULL, NULL), ==, IMG_TRY_WOULD_BLOCK);
  g_assert_true (img_image_read (image, 5, buffer, 10, NULL, NULL));
  g_assert_cmpuint (test_counting_storage_take (disk.counting).n_reads, ==, 1);
  g_assert_cmpint (img_image_try_read (image, 100, buffer, 300, NULL, NULL), ==, IMG_TRY_DONE);
  g_assert_cmpmem (buffer, 300, disk.model + 100, 300);
  g_assert_true (img_image_read (image, 0, buffer, UNIT, NULL, NULL));
  g_assert_cmpuint (test_counting_storage_take (disk.counting).n_reads, ==, 0);

  g_assert_true (
    img_image_read (image, UNIT, buffer, UNIT, NULL, NULL)); /* whole: decoded in place */
  g_assert_cmpmem (buffer, UNIT, disk.model + UNIT, UNIT);
  g_assert_cmpint (img_image_try_read (image, UNIT, buffer, 10, NULL, NULL), ==, IMG_TRY_WOULD_BLOCK);
  disk_clear (&disk);
}

/* Reads of all kinds together: each ends as it does alone, and plain ones go to the storage in one call. */
static void
test_tried_together (gconstpointer data)
{
  void (*read_all) (ImgImage *, ImgTryRead *, guint) =
    GPOINTER_TO_INT (data) ? img_image_read_together : img_image_try_reads;
  enum { N_READS = 40 };
  Disk disk = { 0 };
  g_autoptr (ImgImage) image = NULL;
  g_autofree guint8 *buffers = g_malloc (N_READS * UNIT);
  ImgTryRead reads[N_READS] = { 0 };
  guint n_plain = 0;

  disk.data = test_pattern_storage_new (1 << 20, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = img_storage_ref (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (4 * UNIT);
  add_unit_extent (&disk, IMG_EXTENT_DATA, 1000);
  add_unit_extent (&disk, IMG_EXTENT_ZERO, 0);
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (7000));
  add_unit_extent (&disk, IMG_EXTENT_DATA, 1000 + 4 * UNIT);
  image = disk_open (&disk);
  for (guint i = 0; i < N_READS; i++)
    {
      const guint64 unit = i % 5; /* the last is behind the end */

      reads[i] = (ImgTryRead) { unit * UNIT + i, UNIT - 2 * N_READS, buffers + i * UNIT };
      n_plain += unit == 0 || unit == 3;
    }
  reads[0] = (ImgTryRead) { UNIT - 7, 100, buffers }; /* data and zeroes */
  reads[3].length = 0;

  read_all (image, reads, N_READS);
  for (guint i = 0; i < N_READS; i++)
    {
      const guint64 unit = reads[i].offset / UNIT;

      if (unit == 4)
        g_assert_true (img_error_matches (reads[i].error, IMG_CODE_OUT_OF_RANGE));
      else
        g_assert_null (reads[i].error);
      g_assert_cmpint (reads[i].result, ==,
                       unit == 4   ? IMG_TRY_ERROR
                       : unit == 2 ? IMG_TRY_WOULD_BLOCK
                                   : IMG_TRY_DONE);
      if (reads[i].result == IMG_TRY_DONE)
        g_assert_cmpmem (reads[i].buffer, reads[i].length, disk.model + reads[i].offset, reads[i].length);
      img_error_clear (&reads[i].error);
    }
  /* Reads 0 and 3 are no plain ones any more, and the first had to be made alone. */
  g_assert_cmpuint (test_counting_storage_take (disk.counting).n_reads, ==, n_plain - 1);
  disk_clear (&disk);
}

/* Reads that fall on two storages in turn: each gets its own in one call, and each read its own bytes. */
static void
test_two_storages (void)
{
  enum { N_UNITS = 24 };
  ImgExtent extents[N_UNITS];
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgStorage *storages[2];
  g_autofree guint8 *buffers = g_malloc (N_UNITS * UNIT);
  ImgTryRead reads[N_UNITS];
  g_autoptr (ImgImage) image = NULL;

  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (ImgStorage) base = test_pattern_storage_new (N_UNITS * UNIT, 1 + i);

      storages[i] = test_counting_storage_new (base);
    }
  for (guint i = 0; i < N_UNITS; i++)
    {
      const guint64 offset = (guint64) i * UNIT;

      extents[i] = (ImgExtent) { .kind = IMG_EXTENT_DATA, .offset = offset, .length = UNIT,
                                 .storage = storages[i % 3 == 0], .host_offset = offset };
      reads[i] = (ImgTryRead) { offset, UNIT, buffers + offset };
    }
  image = test_scripted_image_new (extents, N_UNITS);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  img_image_try_reads (image, reads, N_UNITS);
  for (guint i = 0; i < N_UNITS; i++)
    {
      g_assert_cmpint (reads[i].result, ==, IMG_TRY_DONE);
      for (guint64 k = 0; k < UNIT; k++)
        g_assert_cmpuint (reads[i].buffer[k], ==, test_pattern_byte (reads[i].offset + k, i % 3 == 0 ? 2 : 1));
    }
  g_clear_pointer (&image, img_image_unref);
  for (guint i = 0; i < 2; i++)
    {
      g_assert_cmpuint (test_counting_storage_take (storages[i]).n_submits, ==, 1);
      img_storage_unref (storages[i]);
    }
}

/* Two guest clusters with one descriptor, both wanted by one request in parts: no waiting for
 * oneself. */
static void
test_shared_unit (void)
{
  Disk disk = { 0 };
  g_autoptr (ImgImage) image = NULL;
  guint8 buffer[2 * UNIT];

  disk.data = test_pattern_storage_new (1 << 20, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = img_storage_ref (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (2 * UNIT);
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (0));
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, undamaged (0));
  image = disk_open (&disk);
  g_assert_true (img_image_read (image, 1, buffer, 2 * UNIT - 2, NULL, NULL));
  g_assert_cmpmem (buffer, 2 * UNIT - 2, disk.model + 1, 2 * UNIT - 2);
  disk_clear (&disk);
}

/* ---- a storage whose requests read another disk on the way ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  ImgImage *inner;
  const Disk *inner_disk;
} Nesting;

static void
nesting_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Nesting *nesting = (Nesting *) storage;
  g_autofree guint8 *buffer = g_malloc (nesting->inner_disk->size);

  g_assert_true (
    img_image_read (nesting->inner, 1, buffer, nesting->inner_disk->size - 2, NULL, NULL));
  g_assert_cmpmem (buffer, nesting->inner_disk->size - 2, nesting->inner_disk->model + 1,
                   nesting->inner_disk->size - 2);
  img_storage_submit (nesting->base, ios, n_ios);
}

static void
nesting_free (ImgStorage *storage)
{
  g_free (storage);
}

/* A batch inside a batch on one thread: each has its own buffer for stored bytes. */
static void
test_nested (void)
{
  static const ImgStorageClass nesting_class = {
    .type_name = "nesting",
    .submit = nesting_submit,
    .free = nesting_free,
  };
  Disk outer = disk_new (100, 18), inner = disk_new (150, 19);
  g_autoptr (ImgImage) inner_image = disk_open (&inner);
  g_autoptr (ImgImage) image = NULL;
  g_autofree guint8 *buffer = g_malloc (outer.size);
  Nesting *nesting = g_new0 (Nesting, 1);

  *nesting = (Nesting) { .base = outer.data, .inner = inner_image, .inner_disk = &inner };
  img_storage_init (&nesting->parent, &nesting_class, NULL);
  for (guint i = 0; i < outer.extents->len; i++)
    g_array_index (outer.extents, ImgExtent, i).storage = &nesting->parent;
  image = disk_open (&outer);
  for (guint round = 0; round < 3; round++)
    {
      g_assert_true (img_image_read (image, 1, buffer, outer.size - 2, NULL, NULL));
      g_assert_cmpmem (buffer, outer.size - 2, outer.model + 1, outer.size - 2);
    }
  img_storage_unref (&nesting->parent);
  disk_clear (&outer);
  disk_clear (&inner);
}

/* The nth storage call fails, for every n until the request succeeds; the next read is good. */
static void
test_fault_injection (void)
{
  Disk disk = disk_new (120, 9);
  g_autofree guint8 *buffer = g_malloc (disk.size);
  guint n_faults = 0;

  for (guint persist = 0; persist < 2; persist++)
    for (guint nth = 1;; nth++, n_faults++)
      {
        g_autoptr (ImgImage) image = disk_open (&disk);
        g_autoptr (ImgError) error = NULL;
        gboolean success;

        test_failing_storage_arm (disk.failing, nth, persist);
        success = img_image_read (image, 3, buffer, disk.size - 6, NULL, &error);
        test_failing_storage_arm (disk.failing, 0, FALSE);
        g_assert_true (success == (error == NULL));
        g_assert_true (img_image_read (image, 3, buffer, disk.size - 6, NULL, NULL));
        g_assert_cmpmem (buffer, disk.size - 6, disk.model + 3, disk.size - 6);
        if (success)
          break;
      }
  g_test_message ("%u injected faults", n_faults);
  g_assert_cmpuint (n_faults, >, 50);
  disk_clear (&disk);
}

/* Each unit in part, so that every compressed one needs memory of the cache. */
static gboolean
read_in_parts (ImgImage *image, Disk *disk, guint8 *buffer, ImgError **error)
{
  for (guint64 offset = 1; offset < disk->size; offset += UNIT)
    {
      if (!img_image_read (image, offset, buffer, UNIT - 1, NULL, error))
        return FALSE;
      g_assert_cmpmem (buffer, UNIT - 1, disk->model + offset, UNIT - 1);
    }
  return TRUE;
}

static void
test_no_memory (void)
{
  Disk disk = disk_new (60, 10);
  g_autofree guint8 *buffer = g_malloc (disk.size);
  guint n_faults = 0;

  for (guint nth = 1;; nth++, n_faults++)
    {
      g_autoptr (ImgImage) image = disk_open (&disk);
      g_autoptr (ImgError) error = NULL;
      gboolean success;

      img_alloc_set_fault (nth, FALSE);
      success = read_in_parts (image, &disk, buffer, &error);
      img_alloc_set_fault (0, FALSE);
      g_assert_true (success || img_error_matches (error, IMG_CODE_NO_MEMORY));
      g_assert_true (read_in_parts (image, &disk, buffer, NULL));
      if (success)
        break;
    }
  g_assert_cmpuint (n_faults, >, 1);
  disk_clear (&disk);
}

/* A damaged unit fails each read of it and nothing else. */
static void
test_damaged_unit (void)
{
  Disk disk = { 0 };
  g_autoptr (ImgImage) image = NULL;
  guint8 buffer[UNIT];
  guint64 bad = 0;

  disk.data = test_pattern_storage_new (1 << 20, 1);
  disk.counting = test_counting_storage_new (disk.data);
  disk.failing = img_storage_ref (disk.counting);
  disk.extents = g_array_new (FALSE, FALSE, sizeof (ImgExtent));
  disk.model = g_malloc (2 * UNIT);
  while (test_pattern_byte (bad, 1) != 255)
    bad++;
  add_unit_extent (&disk, IMG_EXTENT_COMPRESSED, bad);
  add_unit_extent (&disk, IMG_EXTENT_DATA, 0);
  image = disk_open (&disk);
  for (guint i = 0; i < 20; i++) /* more often than the cache has entries */
    {
      g_autoptr (ImgError) error = NULL;

      g_assert_false (img_image_read (image, i % 2, buffer, UNIT - 1, NULL, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_CORRUPT));
    }
  g_assert_true (img_image_read (image, UNIT, buffer, UNIT, NULL, NULL));
  disk_clear (&disk);
}

static void
test_limits (void)
{
  Disk disk = disk_new (10, 11);
  g_autoptr (ImgImage) image = disk_open (&disk);
  g_autoptr (ImgImage) pending =
    test_scripted_image_new ((gpointer) disk.extents->data, disk.extents->len);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  guint8 buffer[2 * UNIT];
  ImgError *error = NULL;
  ImgBlock block;

  g_assert_false (img_image_read (image, disk.size - 1, buffer, 2, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_OUT_OF_RANGE));
  img_error_clear (&error);
  g_assert_false (img_image_read (image, G_MAXUINT64, buffer, 2, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_OUT_OF_RANGE));
  img_error_clear (&error);
  g_assert_true (img_image_read (image, disk.size, buffer, 0, NULL, NULL));
  g_assert_cmpint (img_image_try_read (image, disk.size, buffer, 1, NULL, &error), ==, IMG_TRY_ERROR);
  img_error_clear (&error);

  g_assert_false (img_image_read (pending, 0, buffer, 1, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCES_PENDING));
  img_error_clear (&error);
  g_assert_false (img_image_map (pending, 0, 1, IMG_BLOCK_MAP_NONE, &block, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCES_PENDING));
  img_error_clear (&error);

  img_cancel_trigger (cancel);
  g_assert_false (img_image_map (image, 0, 1, IMG_BLOCK_MAP_NONE, &block, cancel, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
  img_error_clear (&error);
  disk_clear (&disk);
}

/* A chain of three: what each layer has not comes from below, and a short backing image ends early.
 */
static void
test_chain (void)
{
  Disk top = disk_new (50, 12), middle = disk_new (30, 13), bottom = disk_new (70, 14);
  g_autoptr (ImgImage) low = disk_open (&bottom);
  g_autoptr (ImgImage) mid =
    test_scripted_image_new ((gpointer) middle.extents->data, middle.extents->len);
  g_autoptr (ImgImage) image =
    test_scripted_image_new ((gpointer) top.extents->data, top.extents->len);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  guint8 buffer[50 * UNIT];
  guint n_by_depth[3] = { 0 };
  ImgError *error = NULL;
  ImgBlock block;

  g_assert_false (img_image_set_backing (image, mid, &error)); /* not ready itself */
  g_assert_true (img_error_matches (error, IMG_CODE_REFERENCES_PENDING));
  img_error_clear (&error);
  g_assert_true (img_image_set_backing (mid, low, NULL));
  g_assert_true (img_image_open_references (mid, policy, NULL, NULL));
  g_assert_false (img_image_set_backing (mid, low, &error)); /* too late */
  img_error_clear (&error);
  g_assert_true (img_image_set_backing (image, mid, NULL));
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  g_assert_true (img_image_get_backing (image) == mid && img_image_get_backing (mid) == low);

  for (guint i = 0; i < 50; i++)
    {
      const ImgExtent *a = &g_array_index (top.extents, ImgExtent, i);
      const guint8 *expected = top.model;

      if (a->kind == IMG_EXTENT_HOLE && i < 30)
        expected = g_array_index (middle.extents, ImgExtent, i).kind == IMG_EXTENT_HOLE
                     ? bottom.model
                     : middle.model;
      g_assert_true (img_image_read (image, i * UNIT, buffer, UNIT, NULL, NULL));
      g_assert_cmpmem (buffer, UNIT, expected + i * UNIT, UNIT);
      g_assert_true (img_image_map (image, i * UNIT, UNIT, IMG_BLOCK_MAP_NONE, &block, NULL, NULL));
      n_by_depth[block.depth]++;
      if (a->kind == IMG_EXTENT_HOLE && i >= 30)
        {
          g_assert_cmpint (block.kind, ==, IMG_BLOCK_HOLE);
          g_assert_cmpuint (block.depth, ==, 0);
        }
      g_assert_true (
        img_image_map (image, i * UNIT, UNIT, IMG_BLOCK_MAP_TOP_ONLY, &block, NULL, NULL));
      g_assert_true ((block.kind == IMG_BLOCK_HOLE) == (a->kind == IMG_EXTENT_HOLE));
      g_assert_cmpuint (block.depth, ==, 0);
    }
  g_assert_true (n_by_depth[0] > 0 && n_by_depth[1] > 0 && n_by_depth[2] > 0);
  disk_clear (&top);
  disk_clear (&middle);
  disk_clear (&bottom);
}

/* The map covers the disk once, in order, with neighbours merged, and says what a read says. */
static void
test_map (void)
{
  Disk disk = disk_new (300, 15);
  g_autoptr (ImgImage) image = disk_open (&disk);
  g_autofree ImgBlock *blocks = g_new (ImgBlock, 400);
  guint n = img_image_map_many (image, 0, disk.size, IMG_BLOCK_MAP_NONE, blocks, 400, NULL, NULL);
  guint64 offset = 0;

  g_assert_cmpuint (n, >, 1);
  g_assert_cmpuint (n, <, 300);
  for (guint i = 0; i < n; offset += blocks[i].length, i++)
    {
      g_assert_cmpuint (blocks[i].offset, ==, offset);
      if (blocks[i].reads_as_zero)
        for (guint64 k = 0; k < blocks[i].length; k++)
          g_assert_cmpuint (disk.model[offset + k], ==, 0);
      if (i > 0 && blocks[i].kind == IMG_BLOCK_ZERO)
        g_assert_cmpint (blocks[i - 1].kind, !=, IMG_BLOCK_ZERO);
    }
  g_assert_cmpuint (offset, ==, disk.size);
  g_assert_cmpuint (
    img_image_map_many (image, 0, disk.size, IMG_BLOCK_MAP_NONE, blocks, 5, NULL, NULL), ==, 5);
  g_assert_cmpint (img_image_try_map (image, 0, disk.size, IMG_BLOCK_MAP_NONE, &blocks[9], NULL),
                   ==, IMG_TRY_DONE);
  g_assert_cmpint (blocks[9].kind, ==, blocks[0].kind);
  g_assert_cmpint (img_image_try_map (image, 0, 1, IMG_BLOCK_MAP_HOST_HOLES, &blocks[9], NULL), ==,
                   IMG_TRY_WOULD_BLOCK);
  g_assert_cmpint (img_image_try_map (image, disk.size, 1, IMG_BLOCK_MAP_NONE, &blocks[9], NULL),
                   ==, IMG_TRY_ERROR);
  disk_clear (&disk);
}

/* All L1 entries share one L2 table: a small file, but more blocks to merge than one call does. */
static void
test_map_bounded (void)
{
  const guint64 size = 4 * IMG_GIB;
  const guint n_tables = size / (64 * 512);
  Qcow2Builder *builder = qcow2_builder_new (3, 9, size, 0);
  guint64 table = qcow2_builder_alloc (builder, 1);
  guint64 word = GUINT64_TO_BE (QCOW2_ZERO);
  ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgImage) image = NULL;
  g_autoptr (GBytes) bytes = NULL;
  guint64 offset = 0;
  guint n_calls = 0;

  for (guint i = 0; i < 64; i++)
    qcow2_builder_write (builder, table + i * sizeof word, &word, sizeof word);
  for (guint i = 0; i < n_tables; i++)
    qcow2_builder_set_l1 (builder, i, table);
  bytes = qcow2_builder_finish (builder);
  storage = img_memory_storage_new (bytes);
  image = img_image_open (storage, &options, NULL, NULL);
  g_assert_nonnull (image);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  for (; offset < size; n_calls++)
    {
      ImgBlock block;

      g_assert_cmpuint (img_image_map_many (image, offset, size - offset, IMG_BLOCK_MAP_NONE,
                                            &block, 1, NULL, NULL), ==, 1);
      g_assert_cmpuint (block.offset, ==, offset);
      g_assert_cmpint (block.kind, ==, IMG_BLOCK_ZERO);
      g_assert_cmpuint (block.length, <=, size / 2);
      offset += block.length;
    }
  g_assert_cmpuint (offset, ==, size);
  g_assert_cmpuint (n_calls, ==, 2);
}

typedef struct
{
  Disk *disk;
  ImgImage *image;
  guint seed;
} Reader;

static gpointer
reader_thread (gpointer data)
{
  Reader *reader = data;
  g_autoptr (GRand) random = g_rand_new_with_seed (reader->seed);
  g_autofree guint8 *buffer = g_malloc (reader->disk->size);

  for (guint i = 0; i < 1500; i++)
    {
      guint64 offset;
      gsize length;

      random_request (random, reader->disk->size, &offset, &length);
      if (i % 3 != 0)
        g_assert_true (img_image_read (reader->image, offset, buffer, length, NULL, NULL));
      else if (img_image_try_read (reader->image, offset, buffer, length, NULL, NULL) ==
               IMG_TRY_WOULD_BLOCK)
        continue;
      g_assert_cmpmem (buffer, length, reader->disk->model + offset, length);
    }
  return NULL;
}

static void
run_readers (Disk *disk)
{
  g_autoptr (ImgImage) image = disk_open (disk);
  GThread *threads[8];
  Reader readers[8];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    {
      readers[i] = (Reader) { disk, image, i };
      threads[i] = g_thread_new ("reader", reader_thread, &readers[i]);
    }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

static void
test_threads (void)
{
  Disk disk = disk_new (300, 16);

  run_readers (&disk);
  disk_clear (&disk);
}

/* The same on a storage that completes later and out of order. */
static void
test_threads_later (void)
{
  Disk disk = disk_new (300, 17);
  g_autoptr (ImgStorage) later = test_later_storage_new (disk.data, 17);

  for (guint i = 0; i < disk.extents->len; i++)
    g_array_index (disk.extents, ImgExtent, i).storage = later;
  run_readers (&disk);
  disk_clear (&disk);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/transfer/random-reads", test_random_reads);
  g_test_add_func ("/transfer/random-vectors", test_random_vectors);
  g_test_add_func ("/transfer/merging", test_merging);
  g_test_add_func ("/transfer/decoded-cache", test_decoded_cache);
  g_test_add_data_func ("/transfer/tried-together", GINT_TO_POINTER (FALSE), test_tried_together);
  g_test_add_data_func ("/transfer/read-together", GINT_TO_POINTER (TRUE), test_tried_together);
  g_test_add_func ("/transfer/two-storages", test_two_storages);
  g_test_add_func ("/transfer/shared-unit", test_shared_unit);
  g_test_add_func ("/transfer/nested", test_nested);
  g_test_add_func ("/transfer/fault-injection", test_fault_injection);
  g_test_add_func ("/transfer/no-memory", test_no_memory);
  g_test_add_func ("/transfer/damaged-unit", test_damaged_unit);
  g_test_add_func ("/transfer/limits", test_limits);
  g_test_add_func ("/transfer/chain", test_chain);
  g_test_add_func ("/transfer/map", test_map);
  g_test_add_func ("/transfer/map-bounded", test_map_bounded);
  g_test_add_func ("/transfer/threads", test_threads);
  g_test_add_func ("/transfer/threads-later", test_threads_later);
  return g_test_run ();
}
