/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* New images: on storages in memory, whose metadata is counted by hand, and in files. */

#include "config.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-alloc.h"
#include "img-create.h"
#include "img-file-storage.h"
#include "img-simple-storages.h"
#include "qcow2/img-qcow2-header.h"
#include "test-folder.h"
#include "test-step.h"

#define COPIED ((guint64) 1 << 63)

static const ImgDriver *
driver (const char *name)
{
  const ImgDriver *found = img_driver_find (name);

  g_assert_nonnull (found);
  return found;
}

static void
assert_error (ImgError *error, ImgCode code)
{
  g_assert_nonnull (error);
  if (error->code != code)
    g_error ("code %d instead of %d: %s", error->code, code, error->text);
  g_assert_cmpuint (strlen (error->text), >, 0);
  img_error_free (error);
}

static void
assert_ok (gboolean success, ImgError *error)
{
  if (error != NULL)
    g_error ("%s", error->text);
  g_assert_true (success);
}

/* ---- counting what an image holds ---- */

typedef struct
{
  ImgStorage *storage;
  ImgQcow2Header *header;
  guint64 n_clusters;
  guint8 *references;
} Count;

static guint64
read_word (ImgStorage *storage, guint64 offset)
{
  guint8 bytes[8];

  g_assert_true (img_storage_read (storage, offset, bytes, sizeof bytes, NULL));
  return img_read_be64 (bytes);
}

static void
refer (Count *count, guint64 offset)
{
  guint64 cluster = offset >> count->header->cluster_bits;

  g_assert_cmpuint (offset & (img_qcow2_header_get_cluster_size (count->header) - 1), ==, 0);
  g_assert_cmpuint (cluster, <, count->n_clusters);
  count->references[cluster]++;
}

static void
refer_range (Count *count, guint64 offset, guint64 length)
{
  guint64 cluster_size = img_qcow2_header_get_cluster_size (count->header);

  for (guint64 at = 0; at < length; at += cluster_size)
    refer (count, offset + at);
}

static guint64
count_table (Count *count, guint64 table, guint64 n_left)
{
  gboolean extended = img_qcow2_header_has (count->header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2);
  gboolean external = img_qcow2_header_has (count->header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE);
  guint64 n = (guint64) 1 << img_qcow2_header_get_l2_bits (count->header);
  guint64 n_mapped = 0;

  for (guint64 i = 0; i < n; i++)
    {
      guint64 entry = read_word (count->storage, table + i * (extended ? 16 : 8));

      if (entry == 0)
        continue;
      g_assert_cmpuint (i, <, n_left);
      g_assert_true (entry & COPIED);
      n_mapped++;
      if (!external)
        refer (count, entry & ~COPIED);
    }
  return n_mapped;
}

static guint64
get_refcount (Count *count, guint64 cluster)
{
  const ImgQcow2Header *header = count->header;
  guint bits = 1u << header->refcount_order;
  guint64 per_block = (img_qcow2_header_get_cluster_size (header) * 8) / bits;
  guint64 block = read_word (count->storage,
                             header->refcount_table_offset + cluster / per_block * sizeof (guint64));
  guint64 bit = cluster % per_block * bits;
  guint64 value = 0;
  guint8 bytes[8];

  g_assert_cmpuint (block, !=, 0);
  g_assert_true (
    img_storage_read (count->storage, block + bit / 8, bytes, MAX (bits / 8, 1), NULL));
  if (bits < 8)
    return (bytes[0] >> (bit % 8)) & ((1u << bits) - 1);
  for (guint i = 0; i < bits / 8; i++)
    value = (value << 8) | bytes[i];
  return value;
}

static void
count_refcount_blocks (Count *count)
{
  const ImgQcow2Header *header = count->header;
  guint64 length = header->refcount_table_clusters * img_qcow2_header_get_cluster_size (header);

  refer_range (count, header->refcount_table_offset, length);
  for (guint64 at = 0; at < length; at += sizeof (guint64))
    {
      guint64 block = read_word (count->storage, header->refcount_table_offset + at);

      if (block != 0)
        refer (count, block);
    }
}

static guint64
count_guest_tables (Count *count)
{
  const ImgQcow2Header *header = count->header;
  guint64 n_left = img_div_round_up (header->size, img_qcow2_header_get_cluster_size (header));
  guint64 n_mapped = 0;

  refer_range (count, header->l1_offset, header->l1_entries * sizeof (guint64));
  for (guint i = 0; i < header->l1_entries; i++)
    {
      guint64 entry = read_word (count->storage, header->l1_offset + i * sizeof (guint64));

      if (entry != 0)
        {
          g_assert_true (entry & COPIED);
          refer (count, entry & ~COPIED);
          n_mapped += count_table (count, entry & ~COPIED, n_left);
        }
      n_left -= MIN (n_left, (guint64) 1 << img_qcow2_header_get_l2_bits (header));
    }
  return n_mapped;
}

/* Every cluster of the file is referred to once and says so. Returns how many guest clusters are
 * mapped. */
static guint64
verify (ImgStorage *storage)
{
  ImgError *error = NULL;
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (storage, NULL, &error);
  g_autofree guint8 *references = NULL;
  Count count = { .storage = storage, .header = header };
  guint64 n_mapped;

  assert_ok (header != NULL && img_qcow2_header_check (header, &error), error);
  count.n_clusters = img_div_round_up (header->file_size, img_qcow2_header_get_cluster_size (header));
  count.references = references = g_new0 (guint8, count.n_clusters);
  refer (&count, 0);
  count_refcount_blocks (&count);
  n_mapped = count_guest_tables (&count);
  for (guint64 i = 0; i < count.n_clusters; i++)
    if (references[i] > 1 || get_refcount (&count, i) != references[i])
      g_error ("cluster %" G_GUINT64_FORMAT ": refcount %" G_GUINT64_FORMAT ", %u references", i,
               get_refcount (&count, i), references[i]);
  return n_mapped;
}

/* ---- using what was made ---- */

static ImgImage *
open_image (ImgStorage *storage, const char *format, gboolean writable)
{
  ImgImageOptions options = { .driver = driver (format), .layout.writable = writable };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgError *error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  assert_ok (image != NULL && img_image_open_references (image, policy, NULL, &error), error);
  return image;
}

static void
assert_zero (ImgImage *image)
{
  guint64 size = img_image_get_size (image);
  static const guint8 zeroes[65536];
  guint8 buffer[sizeof zeroes];

  for (guint64 at = 0; at < size;)
    {
      gsize n = (gsize) MIN (sizeof buffer, size - at);

      memset (buffer, 1, sizeof buffer);
      g_assert_true (img_image_read (image, at, buffer, n, NULL, NULL));
      g_assert_cmpmem (buffer, n, zeroes, n);
      at += n;
    }
}

/* Its ends can be written, and are there when it is opened again. */
static void
assert_usable (ImgStorage *storage, const char *format)
{
  g_autoptr (ImgImage) image = open_image (storage, format, TRUE);
  guint64 size = img_image_get_size (image);
  ImgError *error = NULL;
  guint8 byte = 0;

  assert_ok (img_image_write (image, 0, "A", 1, NULL, &error), error);
  assert_ok (img_image_write (image, size - 1, "Z", 1, NULL, &error), error);
  assert_ok (img_image_close (image, &error), error);
  g_clear_pointer (&image, img_image_unref);
  image = open_image (storage, format, FALSE);
  g_assert_true (img_image_read (image, size - 1, &byte, 1, NULL, NULL));
  g_assert_cmpuint (byte, ==, 'Z');
}

/* ---- qcow2 ---- */

static void
make_shape (guint cluster_bits, guint refcount_bits, ImgPreallocate mode, guint64 size)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  const ImgCreateOptions options = {
    .size = size,
    .preallocate = mode,
    .cluster_size = (guint64) 1 << cluster_bits,
    .refcount_bits = refcount_bits,
  };
  guint64 disk_size = img_align_up (size, 512);
  guint64 n_mapped = mode == IMG_PREALLOCATE_OFF ? 0 : img_div_round_up (disk_size, options.cluster_size);
  ImgError *error = NULL;

  assert_ok (driver ("qcow2")->create (storage, &options, NULL, NULL, &error), error);
  g_assert_cmpuint (verify (storage), ==, n_mapped);
  if (size > 0)
    assert_usable (storage, "qcow2");
  verify (storage);
}

static void
test_shapes (void)
{
  static const guint bits[] = { 9, 12, 16, 21 };
  static const guint64 sizes[] = { 0, 1, 512, IMG_MIB + 511, 9 * IMG_MIB };
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (bits); i++)
    for (guint refcount_bits = 1; refcount_bits <= 64; refcount_bits *= 2)
      for (guint j = 0; j < G_N_ELEMENTS (sizes); j++)
        {
          if (n++ % TEST_STEP != 0)
            continue;
          make_shape (bits[i], refcount_bits, IMG_PREALLOCATE_OFF, sizes[j]);
          make_shape (bits[i], refcount_bits, IMG_PREALLOCATE_METADATA, sizes[j]);
        }
}

/* An L1 table that alone fills more than one refcount block. */
static void
test_large_l1 (void)
{
  make_shape (9, 64, IMG_PREALLOCATE_OFF, 2 * IMG_GIB + 5);
}

static void
test_extended (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  const ImgCreateOptions options = {
    .size = IMG_MIB,
    .preallocate = IMG_PREALLOCATE_METADATA,
    .extended_l2 = TRUE,
    .lazy_refcounts = TRUE,
    .backing_name = "base",
    .backing_format = "raw",
  };
  g_autoptr (ImgQcow2Header) header = NULL;
  ImgError *error = NULL;

  assert_ok (driver ("qcow2")->create (storage, &options, NULL, NULL, &error), error);
  g_assert_cmpuint (verify (storage), ==, 16);
  header = img_qcow2_header_read (storage, NULL, NULL);
  g_assert_cmpstr (header->backing_name, ==, "base");
  g_assert_cmpstr (header->backing_format, ==, "raw");
  g_assert_cmpuint (header->compatible, ==, IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS);
  /* No subcluster hides the backing file. */
  g_assert_cmpuint (
    read_word (storage, (read_word (storage, header->l1_offset) & ~COPIED) + sizeof (guint64)), ==, 0);
}

static void
test_data_file (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  g_autoptr (ImgStorage) data = img_memory_storage_new_writable (100);
  const ImgCreateOptions options = {
    .size = 3 * IMG_MIB,
    .data_file_name = "data",
    .raw_data_file = TRUE,
  };
  g_autoptr (ImgQcow2Header) header = NULL;
  ImgError *error = NULL;
  guint64 size;

  g_assert_true (img_storage_write (data, 0, "old", 3, NULL));
  assert_ok (driver ("qcow2")->create (storage, &options, data, NULL, &error), error);
  g_assert_cmpuint (verify (storage), ==, 48);
  header = img_qcow2_header_read (storage, NULL, NULL);
  g_assert_cmpstr (header->data_file_name, ==, "data");
  g_assert_cmpuint (header->autoclear, ==, IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE);
  g_assert_true (img_storage_get_size (data, &size, NULL));
  g_assert_cmpuint (size, ==, 3 * IMG_MIB);
  g_assert_cmpuint (read_word (data, 0), ==, 0);
}

static void
test_version_2 (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  const ImgCreateOptions options = {
    .size = IMG_MIB,
    .version = 2,
    .backing_name = "a name",
    .backing_format = "qcow2",
  };
  g_autoptr (ImgQcow2Header) header = NULL;
  ImgError *error = NULL;

  assert_ok (driver ("qcow2")->create (storage, &options, NULL, NULL, &error), error);
  verify (storage);
  header = img_qcow2_header_read (storage, NULL, NULL);
  g_assert_cmpuint (header->version, ==, 2);
  g_assert_cmpstr (header->backing_name, ==, "a name");
  g_assert_cmpstr (header->backing_format, ==, "qcow2");
}

static void
test_refused (void)
{
  const ImgCreateOptions refused[] = {
    { .version = 1 },
    { .version = 4 },
    { .version = 2, .lazy_refcounts = TRUE },
    { .version = 2, .refcount_bits = 8 },
    { .version = 2, .extended_l2 = TRUE },
    { .version = 2, .compression = IMG_COMPRESSION_ZSTD },
    { .cluster_size = 256 },
    { .cluster_size = 3000 },
    { .cluster_size = 4 * IMG_MIB },
    { .cluster_size = 8192, .extended_l2 = TRUE },
    { .refcount_bits = 3 },
    { .refcount_bits = 128 },
    { .backing_name = "base" },
    { .backing_format = "raw" },
    { .backing_name = "", .backing_format = "raw" },
    { .backing_name = "base", .backing_format = "sixteen letters!" },
    { .backing_name = "base", .backing_format = "raw", .preallocate = IMG_PREALLOCATE_METADATA },
    { .raw_data_file = TRUE },
    { .size = (guint64) 129 << 30, .cluster_size = 512 },
    { .size = IMG_MAX_SIZE },
    { .size = G_MAXUINT64 },
    { .size = (guint64) 100 << 30,
      .cluster_size = 512,
      .refcount_bits = 64,
      .preallocate = IMG_PREALLOCATE_METADATA },
  };

  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (1024);
      ImgError *error = NULL;

      g_assert_true (img_storage_write (storage, 0, "untouched", 9, NULL));
      g_assert_false (driver ("qcow2")->create (storage, &refused[i], NULL, NULL, &error));
      assert_error (error, IMG_CODE_INVALID_OPTION);
      g_assert_cmpuint (read_word (storage, 0) >> 56, ==, 'u');
    }
}

/* The name that stands in the error can be used. */
static void
test_too_large (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  ImgCreateOptions options = { .size = (guint64) 129 << 30, .cluster_size = 512 };
  ImgError *error = NULL;

  g_assert_false (driver ("qcow2")->create (storage, &options, NULL, NULL, &error));
  g_assert_nonnull (strstr (error->text, "cluster size of 1024 or more"));
  img_error_free (error);
  options.cluster_size = 1024;
  g_assert_true (driver ("qcow2")->create (storage, &options, NULL, NULL, NULL));
}

static void
test_long_names (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  g_autofree char *name = g_strnfill (1023, 'n');
  ImgCreateOptions options = { .size = 512, .backing_name = name, .backing_format = "raw" };
  g_autoptr (ImgQcow2Header) header = NULL;
  ImgError *error = NULL;

  g_assert_true (driver ("qcow2")->create (storage, &options, NULL, NULL, NULL));
  header = img_qcow2_header_read (storage, NULL, NULL);
  g_assert_cmpstr (header->backing_name, ==, name);
  options.cluster_size = 512;
  g_assert_false (driver ("qcow2")->create (storage, &options, NULL, NULL, &error));
  assert_error (error, IMG_CODE_INVALID_OPTION);
}

/* ---- a storage that fails, and one that remembers the order ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  guint countdown; /* 0: none fails */
  guint n_submitted;
  guint last_flush; /* by number, from 1 */
  guint header_written;
} Probe;

static void
probe_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Probe *probe = (Probe *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      probe->n_submitted++;
      if (probe->n_submitted == probe->countdown)
        {
          ImgError *error = NULL;

          img_error_set_errno (&error, EIO, "as the test wishes");
          img_io_complete (&ios[i], error);
          continue;
        }
      if (ios[i].op == IMG_IO_FLUSH)
        probe->last_flush = probe->n_submitted;
      if (ios[i].op == IMG_IO_WRITE && ios[i].offset == 0)
        probe->header_written = probe->n_submitted;
      img_storage_submit (probe->base, &ios[i], 1);
    }
}

static gboolean
probe_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Probe *) storage)->base, size, error);
}

static void
probe_free (ImgStorage *storage)
{
  img_storage_unref (((Probe *) storage)->base);
  g_free (storage);
}

static Probe *
probe_new (ImgStorage *base, guint countdown)
{
  static const ImgStorageClass klass = {
    .type_name = "probe",
    .submit = probe_submit,
    .get_size = probe_get_size,
    .free = probe_free,
  };
  Probe *probe = g_new0 (Probe, 1);

  img_storage_init (&probe->parent, &klass, NULL);
  probe->parent.can_write = TRUE;
  probe->base = img_storage_ref (base);
  probe->countdown = countdown;
  return probe;
}

/* Full of what was there before, and as large as it is. */
static ImgStorage *
used_device_new (ImgStorage *memory, guint64 size)
{
  g_autofree guint8 *junk = g_malloc (size);

  memset (junk, 0xa5, size);
  g_assert_true (img_storage_write (memory, 0, "QFI\xfb", 4, NULL));
  g_assert_true (img_storage_write (memory, 4, junk, size - 4, NULL));
  return img_window_storage_new (memory, 0, size);
}

static const ImgCreateOptions device_options = {
  .size = 2 * IMG_MIB,
  .cluster_size = 4096,
  .preallocate = IMG_PREALLOCATE_METADATA,
};

static void
test_device (void)
{
  g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (0);
  g_autoptr (ImgStorage) device = used_device_new (memory, 4 * IMG_MIB);
  Probe *probe = probe_new (device, 0);
  g_autoptr (ImgImage) image = NULL;
  ImgError *error = NULL;

  assert_ok (driver ("qcow2")->create (&probe->parent, &device_options, NULL, NULL, &error), error);
  /* The header is the last that is written, behind a flush. */
  g_assert_cmpuint (probe->header_written, ==, probe->n_submitted);
  g_assert_cmpuint (probe->last_flush, ==, probe->n_submitted - 1);
  image = open_image (device, "qcow2", FALSE);
  assert_zero (image);
  img_storage_unref (&probe->parent);
}

static void
test_device_too_small (void)
{
  g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (0);
  g_autoptr (ImgStorage) device = used_device_new (memory, 2 * IMG_MIB);
  ImgError *error = NULL;

  g_assert_false (driver ("qcow2")->create (device, &device_options, NULL, NULL, &error));
  assert_error (error, IMG_CODE_OUT_OF_RANGE);
  g_assert_cmpuint (read_word (memory, 0) >> 32, ==, IMG_QCOW2_MAGIC);
}

/* Whichever request fails, there is an error, and no image: neither the old nor half of the new. */
static void
fail_each (const ImgCreateOptions *options, gboolean is_device)
{
  guint n = 0;

  for (gboolean success = FALSE; !success;)
    {
      g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (0);
      g_autoptr (ImgStorage) device = is_device ? used_device_new (memory, 4 * IMG_MIB) : NULL;
      Probe *probe = probe_new (is_device ? device : memory, ++n);
      ImgError *error = NULL;

      success = driver ("qcow2")->create (&probe->parent, options, NULL, NULL, &error);
      g_assert_true (success == (probe->n_submitted < n));
      if (success)
        g_assert_null (error);
      else
        {
          g_assert_cmpint (error->system_errno, ==, EIO);
          assert_error (error, IMG_CODE_ERRNO);
          if (n > 2) /* the first two of a device: it cannot be emptied, the old header is wiped */
            g_assert_cmpuint (read_word (memory, 0) >> 32, !=, IMG_QCOW2_MAGIC);
        }
      img_storage_unref (&probe->parent);
    }
  g_test_message ("%u requests", n - 1);
  g_assert_cmpuint (n, >, 4);
}

static void
test_faults (void)
{
  static const ImgPreallocate modes[] = { IMG_PREALLOCATE_OFF, IMG_PREALLOCATE_METADATA,
                                          IMG_PREALLOCATE_FALLOC, IMG_PREALLOCATE_FULL };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      ImgCreateOptions options = device_options;

      options.preallocate = modes[i];
      fail_each (&options, FALSE);
      fail_each (&options, TRUE);
    }
}

static void
test_no_memory (void)
{
  guint n = 0;

  for (gboolean success = FALSE; !success;)
    {
      g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
      const ImgCreateOptions options = { .size = IMG_MIB, .preallocate = IMG_PREALLOCATE_FULL };
      ImgError *error = NULL;

      img_alloc_set_fault (++n, FALSE);
      success = driver ("qcow2")->create (storage, &options, NULL, NULL, &error);
      img_alloc_set_fault (0, FALSE);
      if (!success)
        assert_error (error, IMG_CODE_NO_MEMORY);
    }
  g_assert_cmpuint (n, >, 2);
}

static void
test_cancelled (void)
{
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  g_autoptr (ImgCancel) cancel = img_cancel_new ();
  ImgError *error = NULL;

  img_cancel_trigger (cancel);
  g_assert_false (driver ("qcow2")->create (storage, &device_options, NULL, cancel, &error));
  assert_error (error, IMG_CODE_CANCELLED);
  g_assert_cmpuint (read_word (storage, 0), ==, 0);
}

/* ---- raw ---- */

static void
test_raw (void)
{
  static const ImgPreallocate modes[] = { IMG_PREALLOCATE_OFF, IMG_PREALLOCATE_FALLOC,
                                          IMG_PREALLOCATE_FULL };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (10);
      const ImgCreateOptions options = { .size = IMG_MIB - 1, .preallocate = modes[i] };
      g_autoptr (ImgImage) image = NULL;

      /* What was there is gone, however the new image is made. */
      g_assert_true (img_storage_write (storage, 0, "0123456789", 10, NULL));
      g_assert_true (driver ("raw")->create (storage, &options, NULL, NULL, NULL));
      image = open_image (storage, "raw", FALSE);
      g_assert_cmpuint (img_image_get_size (image), ==, IMG_MIB);
      assert_zero (image);
      assert_usable (storage, "raw");
    }
}

static void
test_raw_refused (void)
{
  const ImgCreateOptions refused[] = {
    { .preallocate = IMG_PREALLOCATE_METADATA },
    { .backing_name = "base", .backing_format = "raw" },
    { .data_file_name = "data" },
    { .raw_data_file = TRUE },
    { .version = 3 },
    { .cluster_size = 65536 },
    { .refcount_bits = 16 },
    { .compression = IMG_COMPRESSION_ZLIB },
    { .extended_l2 = TRUE },
    { .lazy_refcounts = TRUE },
    { .size = IMG_MAX_SIZE + 1 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
      ImgError *error = NULL;

      g_assert_false (driver ("raw")->create (storage, &refused[i], NULL, NULL, &error));
      assert_error (error, IMG_CODE_INVALID_OPTION);
    }
}

/* ---- files ---- */

typedef struct
{
  char *folder;
  char *path;
  char *base;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->folder = test_folder_new ();
  fixture->path = g_build_filename (fixture->folder, "new", NULL);
  fixture->base = g_build_filename (fixture->folder, "base", NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  test_folder_remove (fixture->folder);
  g_free (fixture->path);
  g_free (fixture->base);
}

static ImgCreation
creation_of (const char *path)
{
  return (ImgCreation) { .path = path, .driver = driver ("qcow2"), .has_size = TRUE, .options.size = IMG_MIB };
}

static ImgCreation
overlay_of (Fixture *fixture)
{
  ImgCreation creation = creation_of (fixture->path);

  creation.has_size = FALSE;
  creation.options.size = 0;
  creation.options.backing_format = "qcow2";
  creation.backing_path = fixture->base;
  return creation;
}

static void
make (const ImgCreation *creation)
{
  ImgError *error = NULL;
  g_autoptr (ImgImage) image = img_image_create (creation, NULL, &error);

  assert_ok (image != NULL, error);
}

static void
make_base (Fixture *fixture, guint64 size)
{
  ImgCreation creation = creation_of (fixture->base);

  creation.options.size = size;
  make (&creation);
}

static void
refuse (const ImgCreation *creation, ImgCode code)
{
  ImgError *error = NULL;

  g_assert_null (img_image_create (creation, NULL, &error));
  assert_error (error, code);
}

static ImgQcow2Header *
read_header (const char *path)
{
  g_autoptr (ImgStorage) storage = img_file_storage_open (path, IMG_FILE_NONE, NULL);

  return img_qcow2_header_read (storage, NULL, NULL);
}

static void
test_file (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = creation_of (fixture->path);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgImage) image = NULL;
  ImgError *error = NULL;

  creation.no_copy_on_write = TRUE;
  creation.extent_size_hint = IMG_MIB;
  image = img_image_create (&creation, NULL, &error);
  assert_ok (image != NULL, error);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
  g_assert_true (img_image_is_ready (image));
  assert_ok (img_image_write (image, 1000, "written", 7, NULL, &error), error);
  assert_ok (img_image_close (image, &error), error);

  storage = img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  g_assert_cmpuint (verify (storage), ==, 1);
}

static void
test_exists (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = creation_of (fixture->path);
  g_autofree char *content = NULL;
  ImgError *error = NULL;

  g_assert_true (g_file_set_contents (fixture->path, "old", -1, NULL));
  g_assert_null (img_image_create (&creation, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, EEXIST);
  assert_error (error, IMG_CODE_ERRNO);

  /* Replaced only by what is complete. */
  creation.overwrite = TRUE;
  creation.options.cluster_size = 3;
  refuse (&creation, IMG_CODE_INVALID_OPTION);
  for (guint n = 1; n < 3; n++)
    {
      creation.options.cluster_size = 0;
      creation.options.preallocate = IMG_PREALLOCATE_FULL;
      img_alloc_set_fault (n, FALSE);
      refuse (&creation, IMG_CODE_NO_MEMORY);
      img_alloc_set_fault (0, FALSE);
    }
  g_assert_true (g_file_get_contents (fixture->path, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "old");
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);

  make (&creation);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_no_size (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = creation_of (fixture->path);

  creation.has_size = FALSE;
  refuse (&creation, IMG_CODE_INVALID_OPTION);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
}

static void
test_overlay (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = overlay_of (fixture);
  g_autoptr (ImgQcow2Header) header = NULL;

  make_base (fixture, 5 * IMG_MIB);
  make (&creation);
  header = read_header (fixture->path);
  g_assert_cmpstr (header->backing_name, ==, "base");
  g_assert_cmpstr (header->backing_format, ==, "qcow2");
  g_assert_cmpuint (header->size, ==, 5 * IMG_MIB);
}

static void
assert_stored (Fixture *fixture, const char *name, const char *expected)
{
  ImgCreation creation = overlay_of (fixture);
  g_autoptr (ImgQcow2Header) header = NULL;

  creation.backing_path = NULL;
  creation.backing_name = name;
  creation.overwrite = TRUE;
  make (&creation);
  header = read_header (fixture->path);
  g_assert_cmpstr (header->backing_name, ==, expected);
}

/* Relative beside the image, whatever it was called; as it is otherwise. */
static void
test_stored_name (Fixture *fixture, gconstpointer data)
{
  g_autofree char *detour = g_build_filename (fixture->folder, ".", "base", NULL);
  g_autofree char *elsewhere = g_strdup_printf ("%s.elsewhere", fixture->folder);
  ImgCreation creation = creation_of (elsewhere);

  make_base (fixture, IMG_MIB);
  make (&creation);
  assert_stored (fixture, "base", "base");
  assert_stored (fixture, "./base", "./base");
  assert_stored (fixture, fixture->base, "base");
  assert_stored (fixture, detour, "base");
  assert_stored (fixture, elsewhere, elsewhere);
  g_assert_cmpint (g_unlink (elsewhere), ==, 0);
}

/* Without a folder it would be taken for the name of a protocol. */
static void
test_name_with_colon (Fixture *fixture, gconstpointer data)
{
  g_autofree char *base = g_build_filename (fixture->folder, "nbd:base", NULL);
  ImgCreation creation = creation_of (base);

  make (&creation);
  assert_stored (fixture, base, "./nbd:base");
}

static void
test_bad_backing (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = overlay_of (fixture);
  ImgError *error = NULL;

  g_assert_null (img_image_create (&creation, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, ENOENT);
  assert_error (error, IMG_CODE_ERRNO);

  make_base (fixture, IMG_MIB);
  creation.options.backing_format = NULL;
  refuse (&creation, IMG_CODE_INVALID_OPTION);
  creation.options.backing_format = "a format";
  refuse (&creation, IMG_CODE_UNKNOWN_FORMAT);
  creation.options.backing_format = "qcow2";
  creation.driver = driver ("raw");
  refuse (&creation, IMG_CODE_INVALID_OPTION);
  creation.data_file_path = "data";
  creation.backing_path = NULL;
  refuse (&creation, IMG_CODE_INVALID_OPTION);
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_unchecked (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = overlay_of (fixture);
  g_autoptr (ImgQcow2Header) header = NULL;
  g_autoptr (ImgImage) image = NULL;

  creation.backing_path = NULL;
  creation.backing_name = "nbd://nowhere/disk";
  creation.options.backing_format = "raw";
  refuse (&creation, IMG_CODE_INVALID_OPTION); /* it cannot be checked */
  creation.backing_unchecked = TRUE;
  refuse (&creation, IMG_CODE_INVALID_OPTION); /* nobody knows the size */
  creation.has_size = TRUE;
  creation.options.size = 4096;
  image = img_image_create (&creation, NULL, NULL);
  g_assert_nonnull (image);
  g_assert_false (img_image_is_ready (image));
  header = read_header (fixture->path);
  g_assert_cmpstr (header->backing_name, ==, "nbd://nowhere/disk");
}

static void
test_loops (Fixture *fixture, gconstpointer data)
{
  g_autofree char *detour = g_build_filename (fixture->folder, ".", "new", NULL);
  g_autofree char *link = g_build_filename (fixture->folder, "link", NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_same_directory ();
  ImgCreation creation = overlay_of (fixture);

  make_base (fixture, IMG_MIB);
  make (&creation);

  /* On top of itself, by whatever name. */
  creation.overwrite = TRUE;
  creation.policy = policy;
  creation.backing_path = fixture->path;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
  creation.backing_path = detour;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
  g_assert_cmpint (symlink ("new", link), ==, 0);
  creation.backing_path = link;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);

  /* Instead of the base, on top of what needs the base. */
  creation.path = fixture->base;
  creation.backing_path = fixture->path;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
  creation.policy = NULL;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);

  /* What is not there yet, but is named. */
  g_assert_cmpint (g_unlink (fixture->base), ==, 0);
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
  creation.backing_unchecked = TRUE;
  creation.has_size = TRUE;
  creation.backing_path = fixture->base;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
}

static void
test_chain_policy (Fixture *fixture, gconstpointer data)
{
  g_autofree char *top = g_build_filename (fixture->folder, "top", NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_same_directory ();
  ImgCreation creation = overlay_of (fixture);
  g_autoptr (ImgImage) image = NULL;
  ImgError *error = NULL;

  make_base (fixture, IMG_MIB);
  make (&creation);
  creation.path = top;
  creation.backing_path = fixture->path;
  refuse (&creation, IMG_CODE_REFERENCE_DENIED);
  creation.policy = policy;
  image = img_image_create (&creation, NULL, &error);
  assert_ok (image != NULL, error);
  g_assert_nonnull (img_image_get_backing (img_image_get_backing (image)));
}

static void
test_data_file_path (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = creation_of (fixture->path);
  g_autoptr (ImgQcow2Header) header = NULL;
  g_autoptr (ImgImage) image = NULL;
  ImgError *error = NULL;
  struct stat st;

  creation.data_file_path = fixture->path;
  refuse (&creation, IMG_CODE_REFERENCE_LOOP);
  creation.data_file_path = fixture->base;
  image = img_image_create (&creation, NULL, &error);
  assert_ok (image != NULL, error);
  assert_ok (img_image_write (image, 1000, "written", 7, NULL, &error), error);
  assert_ok (img_image_close (image, &error), error);
  header = read_header (fixture->path);
  g_assert_cmpstr (header->data_file_name, ==, "base");
  g_assert_cmpint (g_stat (fixture->base, &st), ==, 0);
  g_assert_cmpint (st.st_size, ==, IMG_MIB);
}

/* A data file of somebody else stays, and then there is no image either. */
static void
test_data_file_exists (Fixture *fixture, gconstpointer data)
{
  ImgCreation creation = creation_of (fixture->path);
  g_autofree char *content = NULL;
  ImgError *error = NULL;

  g_assert_true (g_file_set_contents (fixture->base, "precious", -1, NULL));
  creation.data_file_path = fixture->base;
  g_assert_null (img_image_create (&creation, NULL, &error));
  assert_error (error, IMG_CODE_ERRNO);
  g_assert_true (g_file_get_contents (fixture->base, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "precious");
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 1);
}

static void
test_bad_folder (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->path, "deeper", NULL);
  ImgCreation creation = creation_of (path);
  ImgError *error = NULL;

  g_assert_null (img_image_create (&creation, NULL, &error));
  g_assert_cmpint (error->system_errno, ==, ENOENT);
  assert_error (error, IMG_CODE_ERRNO);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/create/qcow2/shapes", test_shapes);
  g_test_add_func ("/create/qcow2/large-l1", test_large_l1);
  g_test_add_func ("/create/qcow2/extended", test_extended);
  g_test_add_func ("/create/qcow2/data-file", test_data_file);
  g_test_add_func ("/create/qcow2/version-2", test_version_2);
  g_test_add_func ("/create/qcow2/refused", test_refused);
  g_test_add_func ("/create/qcow2/too-large", test_too_large);
  g_test_add_func ("/create/qcow2/long-names", test_long_names);
  g_test_add_func ("/create/qcow2/device", test_device);
  g_test_add_func ("/create/qcow2/device-too-small", test_device_too_small);
  g_test_add_func ("/create/qcow2/faults", test_faults);
  g_test_add_func ("/create/qcow2/no-memory", test_no_memory);
  g_test_add_func ("/create/qcow2/cancelled", test_cancelled);
  g_test_add_func ("/create/raw/all", test_raw);
  g_test_add_func ("/create/raw/refused", test_raw_refused);
#define ADD(name, run) g_test_add ("/create/file/" name, Fixture, NULL, set_up, run, tear_down)
  ADD ("new", test_file);
  ADD ("exists", test_exists);
  ADD ("no-size", test_no_size);
  ADD ("overlay", test_overlay);
  ADD ("stored-name", test_stored_name);
  ADD ("name-with-colon", test_name_with_colon);
  ADD ("bad-backing", test_bad_backing);
  ADD ("unchecked", test_unchecked);
  ADD ("loops", test_loops);
  ADD ("chain-policy", test_chain_policy);
  ADD ("data-file", test_data_file_path);
  ADD ("data-file-exists", test_data_file_exists);
  ADD ("bad-folder", test_bad_folder);
  return g_test_run ();
}
