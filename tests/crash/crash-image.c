/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "crash-image.h"
#include "crash-model.h"
#include "img-bytes.h"
#include "img-policy.h"
#include "img-simple-storages.h"

/* ---- shapes ---- */

#define KIB (1024 * (guint64) 1)
#define MIB (1024 * KIB)

/* Small caches, so that what is written comes back early. */
static const CrashGeometry geometries[] = {
  { .name = "raw", .format = "raw", .size = 64 * KIB, .max_size = 80 * KIB },
  { .name = "512",
    .format = "qcow2",
    .size = 8 * KIB,
    .max_size = 12 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 9,
    .refcount_order = 4 },
  { .name = "4k",
    .format = "qcow2",
    .size = 64 * KIB,
    .max_size = 80 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4 },
  { .name = "64k",
    .format = "qcow2",
    .size = 1 * MIB,
    .max_size = 1 * MIB + 256 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 16,
    .refcount_order = 4 },
  { .name = "2m",
    .format = "qcow2",
    .size = 32 * MIB,
    .max_size = 40 * MIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 21,
    .refcount_order = 4 },
  /* Every table grows: an L2 table maps 32 KiB, a refcount block counts 32 KiB. */
  { .name = "growth",
    .format = "qcow2",
    .size = 512 * KIB,
    .max_size = 640 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 9,
    .refcount_order = 6 },
  /* The refcount table can count 4096 clusters, and most of them are taken. */
  { .name = "reftable",
    .format = "qcow2",
    .size = 256 * KIB,
    .max_size = 320 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 9,
    .refcount_order = 6,
    .n_leaked = 4000 },
  /* A refcount block counts 64 clusters, and so many has the L1 table. */
  { .name = "long-l1",
    .format = "qcow2",
    .size = 128 * MIB,
    .max_size = 129 * MIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 9,
    .refcount_order = 6 },
  { .name = "backing",
    .format = "qcow2",
    .size = 64 * KIB,
    .max_size = 80 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .backing_size = 50 * KIB },
  { .name = "backing-v2",
    .format = "qcow2",
    .size = 64 * KIB,
    .cache_size = 1,
    .version = 2,
    .cluster_bits = 12,
    .refcount_order = 4,
    .backing_size = 80 * KIB },
  { .name = "data-file",
    .format = "qcow2",
    .size = 64 * KIB,
    .max_size = 80 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .has_data_file = TRUE },
  { .name = "subclusters",
    .format = "qcow2",
    .size = 512 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 14,
    .refcount_order = 4,
    .extended_l2 = TRUE,
    .backing_size = 300 * KIB },
  { .name = "lazy",
    .format = "qcow2",
    .size = 64 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .lazy_refcounts = TRUE },
  { .name = "refcount-1-bit",
    .format = "qcow2",
    .size = 64 * KIB + 512,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 0 },
  { .name = "bitmap",
    .format = "qcow2",
    .size = 64 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .has_bitmaps = TRUE },
  /* What is overwritten is copied, tables too, as a snapshot has it as well. */
  { .name = "snapshot",
    .format = "qcow2",
    .size = 64 * KIB,
    .max_size = 80 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .snapshot_size = 40 * KIB },
  { .name = "snapshot-2-bit",
    .format = "qcow2",
    .size = 48 * KIB,
    .max_size = 60 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 9,
    .refcount_order = 1,
    .snapshot_size = 40 * KIB },
  { .name = "two",
    .format = "qcow2",
    .size = 64 * KIB,
    .max_size = 80 * KIB,
    .cache_size = 1,
    .version = 3,
    .cluster_bits = 12,
    .refcount_order = 4,
    .has_base = TRUE },
};

const CrashGeometry *
crash_geometry_find (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (geometries); i++)
    if (g_str_equal (geometries[i].name, name))
      return &geometries[i];
  g_error ("There is no disk “%s” among those to test on", name);
}

/* ---- formatting ---- */

#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_DATA_FILE 0x44415441u

#define INCOMPATIBLE_DATA_FILE ((guint64) 1 << 2)
#define INCOMPATIBLE_EXTENDED_L2 ((guint64) 1 << 4)
#define COMPATIBLE_LAZY_REFCOUNTS ((guint64) 1 << 0)
#define AUTOCLEAR_BITMAPS ((guint64) 1 << 0)

#define BACKING_NAME "backing.raw"
#define BASE_NAME "base.qcow2"
#define DATA_NAME "data.raw"
#define SNAPSHOT_ID "1"

guint
crash_geometry_n_disks (const CrashGeometry *geometry)
{
  return geometry->has_data_file || geometry->has_base ? 2 : 1;
}

CrashGeometry
crash_geometry_base (const CrashGeometry *geometry)
{
  CrashGeometry base = *geometry;

  g_assert (geometry->has_base);
  base.has_base = FALSE;
  base.max_size = 0;
  return base;
}

/* NULL: there is none. */
static const char *
backing_name (const CrashGeometry *geometry)
{
  if (geometry->has_base)
    return BASE_NAME;
  return geometry->backing_size > 0 ? BACKING_NAME : NULL;
}

static void
put32 (GByteArray *array, guint32 value)
{
  guint32 word = GUINT32_TO_BE (value);

  g_byte_array_append (array, (const guint8 *) &word, sizeof word);
}

static void
put64 (GByteArray *array, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  g_byte_array_append (array, (const guint8 *) &word, sizeof word);
}

static void
put_extension (GByteArray *array, guint32 type, const char *text)
{
  static const guint8 padding[8];
  guint length = (guint) strlen (text);

  put32 (array, type);
  put32 (array, length);
  g_byte_array_append (array, (const guint8 *) text, length);
  g_byte_array_append (array, padding, (8 - length % 8) % 8);
}

/* Clusters, in order: header, refcount table, refcount blocks, the L1 table, what a snapshot takes and shares, what
 * is leaked. */
typedef struct
{
  guint64 n_blocks;
  guint64 l1_entries;
  guint64 l1_clusters;
  guint64 snapshot; /* its first cluster: the snapshot table, then its L1 table */
  guint64 shared;   /* the first L2 table; behind these tables the data */
  guint64 n_tables;
  guint64 n_shared;
  guint64 n_clusters;
} Layout;

static guint
refcount_order (const CrashGeometry *geometry)
{
  return geometry->version < 3 ? 4 : geometry->refcount_order;
}

static guint64
counts_per_block (const CrashGeometry *geometry)
{
  return crash_geometry_cluster (geometry) * 8 >> refcount_order (geometry);
}

static guint64
entries_per_table (const CrashGeometry *geometry)
{
  return crash_geometry_cluster (geometry) / (geometry->extended_l2 ? 16 : 8);
}

static void
plan_snapshot (const CrashGeometry *geometry, Layout *layout)
{
  guint64 n_data = geometry->snapshot_size / crash_geometry_cluster (geometry);
  guint64 per_table = entries_per_table (geometry);

  layout->snapshot = 2 + layout->n_blocks + layout->l1_clusters;
  layout->shared = layout->snapshot + (n_data > 0 ? 1 + layout->l1_clusters : 0);
  layout->n_tables = (n_data + per_table - 1) / per_table;
  layout->n_shared = layout->n_tables + n_data;
}

static Layout
plan (const CrashGeometry *geometry)
{
  guint64 cluster = crash_geometry_cluster (geometry);
  guint64 l2_entries = entries_per_table (geometry);
  Layout layout;

  layout.l1_entries = MAX (1, (geometry->size + cluster * l2_entries - 1) / (cluster * l2_entries));
  layout.l1_clusters = (layout.l1_entries * 8 + cluster - 1) / cluster;
  layout.n_blocks = 0;
  do
    {
      layout.n_blocks++;
      plan_snapshot (geometry, &layout);
      layout.n_clusters = layout.shared + layout.n_shared + geometry->n_leaked;
    }
  while (layout.n_clusters > layout.n_blocks * counts_per_block (geometry));
  g_assert_cmpuint (layout.n_blocks, <=, cluster / 8);
  return layout;
}

static GByteArray *
make_extensions (const CrashGeometry *geometry)
{
  GByteArray *extensions = g_byte_array_new ();

  if (backing_name (geometry) != NULL)
    put_extension (extensions, EXTENSION_BACKING_FORMAT, geometry->has_base ? "qcow2" : "raw");
  if (geometry->has_data_file)
    put_extension (extensions, EXTENSION_DATA_FILE, DATA_NAME);
  put64 (extensions, 0);
  return extensions;
}

static GByteArray *
make_header (const CrashGeometry *geometry, const Layout *layout)
{
  static const guint8 rest[8];
  guint64 cluster = crash_geometry_cluster (geometry);
  g_autoptr (GByteArray) extensions = make_extensions (geometry);
  GByteArray *header = g_byte_array_new ();
  guint fixed = geometry->version < 3 ? 72 : 112;
  const char *backing = backing_name (geometry);
  gboolean has_snapshot = geometry->snapshot_size > 0;

  put32 (header, 0x514649fb);
  put32 (header, geometry->version);
  put64 (header, backing != NULL ? fixed + extensions->len : 0);
  put32 (header, backing != NULL ? (guint32) strlen (backing) : 0);
  put32 (header, geometry->cluster_bits);
  put64 (header, geometry->size);
  put32 (header, 0); /* not encrypted */
  put32 (header, (guint32) layout->l1_entries);
  put64 (header, (2 + layout->n_blocks) * cluster);
  put64 (header, cluster);
  put32 (header, 1); /* cluster of the refcount table */
  put32 (header, has_snapshot);
  put64 (header, has_snapshot ? layout->snapshot * cluster : 0);
  if (geometry->version >= 3)
    {
      put64 (header, (geometry->has_data_file ? INCOMPATIBLE_DATA_FILE : 0) |
                       (geometry->extended_l2 ? INCOMPATIBLE_EXTENDED_L2 : 0));
      put64 (header, geometry->lazy_refcounts ? COMPATIBLE_LAZY_REFCOUNTS : 0);
      put64 (header, geometry->has_bitmaps ? AUTOCLEAR_BITMAPS : 0);
      put32 (header, geometry->refcount_order);
      put32 (header, fixed);
      g_byte_array_append (header, rest, sizeof rest); /* zlib */
    }
  g_byte_array_append (header, extensions->data, extensions->len);
  if (backing != NULL)
    g_byte_array_append (header, (const guint8 *) backing, (guint) strlen (backing));
  g_assert_cmpuint (header->len, <=, cluster);
  return header;
}

/* Below a byte the first count is in the lowest bits. */
static void
count_cluster (guint8 *block, guint order, guint64 index, guint count)
{
  guint64 bit = index << order;

  g_assert (order >= 3 || count < 1u << (1u << order));
  if (order >= 3)
    block[(bit / 8) + ((guint64) 1 << order) / 8 - 1] = (guint8) count; /* big-endian */
  else
    block[bit / 8] |= (guint8) (count << bit % 8);
}

/* ---- the snapshot ---- */

static GByteArray *
make_snapshot_entry (const CrashGeometry *geometry, const Layout *layout)
{
  GByteArray *entry = g_byte_array_new ();

  put64 (entry, (layout->snapshot + 1) * crash_geometry_cluster (geometry));
  put32 (entry, (guint32) layout->l1_entries);
  put32 (entry, 1 << 16 | 1); /* the lengths of id and name */
  put64 (entry, 0);           /* the date */
  put64 (entry, 0);           /* the machine's clock */
  put32 (entry, 0);           /* its state */
  put32 (entry, 16);          /* what follows before the id */
  put64 (entry, 0);
  put64 (entry, geometry->size);
  g_byte_array_append (entry, (const guint8 *) SNAPSHOT_ID "s\0\0\0\0\0\0", 8);
  return entry;
}

static void
write_word (CrashPages *image, guint64 offset, guint64 value)
{
  guint64 word = GUINT64_TO_BE (value);

  crash_pages_write (image, offset, &word, sizeof word);
}

/* All of it is referred to by the disk and by the snapshot. */
static void
format_shared (const CrashGeometry *geometry, const Layout *layout, CrashPages *image)
{
  guint64 cluster = crash_geometry_cluster (geometry);
  guint64 l1[] = { (2 + layout->n_blocks) * cluster, (layout->snapshot + 1) * cluster };
  guint64 tables = layout->shared * cluster;
  guint64 data = tables + layout->n_tables * cluster;

  for (guint i = 0; i < G_N_ELEMENTS (l1); i++)
    for (guint64 table = 0; table < layout->n_tables; table++)
      write_word (image, l1[i] + table * 8, tables + table * cluster);
  for (guint64 i = 0; i < geometry->snapshot_size / cluster; i++)
    write_word (image, tables + i * 8, data + i * cluster);
  for (guint64 i = 0; i < geometry->snapshot_size / CRASH_SECTOR; i++)
    {
      guint8 bytes[CRASH_SECTOR];

      crash_pattern_fill (CRASH_VALUE_BACKING, i, bytes);
      crash_pages_write (image, data + i * CRASH_SECTOR, bytes, sizeof bytes);
    }
}

static void
format_snapshot (const CrashGeometry *geometry, const Layout *layout, CrashPages *image)
{
  g_autoptr (GByteArray) entry = make_snapshot_entry (geometry, layout);

  g_assert (!geometry->extended_l2 && !geometry->has_data_file);
  crash_pages_write (image, layout->snapshot * crash_geometry_cluster (geometry), entry->data, entry->len);
  format_shared (geometry, layout, image);
}

static void
format_qcow2 (const CrashGeometry *geometry, CrashPages *image)
{
  guint64 cluster = crash_geometry_cluster (geometry);
  Layout layout = plan (geometry);
  g_autoptr (GByteArray) header = make_header (geometry, &layout);
  g_autofree guint8 *blocks = g_malloc0 (layout.n_blocks * cluster);

  crash_pages_write (image, 0, header->data, header->len);
  for (guint64 i = 0; i < layout.n_blocks; i++)
    {
      guint64 entry = GUINT64_TO_BE ((2 + i) * cluster);

      crash_pages_write (image, cluster + i * sizeof entry, &entry, sizeof entry);
    }
  for (guint64 i = 0; i < layout.n_clusters; i++)
    count_cluster (blocks, refcount_order (geometry), i,
                   i >= layout.shared && i < layout.shared + layout.n_shared ? 2 : 1);
  crash_pages_write (image, 2 * cluster, blocks, layout.n_blocks * cluster);
  if (geometry->snapshot_size > 0)
    format_snapshot (geometry, &layout, image);
  if (geometry->leaked_are_missing)
    layout.n_clusters -= geometry->n_leaked;
  crash_pages_set_size (image, layout.n_clusters * cluster);
}

void
crash_geometry_format (const CrashGeometry *geometry, CrashPages **disks)
{
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    disks[i] = crash_pages_new (NULL);
  if (g_str_equal (geometry->format, "qcow2"))
    format_qcow2 (geometry, disks[CRASH_DISK_IMAGE]);
  else
    crash_pages_set_size (disks[CRASH_DISK_IMAGE], geometry->size);
  if (geometry->has_data_file)
    crash_pages_set_size (disks[CRASH_DISK_DATA], geometry->size);
  if (geometry->has_base)
    {
      CrashGeometry base = crash_geometry_base (geometry);

      format_qcow2 (&base, disks[CRASH_DISK_BASE]);
    }
}

/* ---- files ---- */

/* A raw file with the pattern of CRASH_VALUE_BACKING. */
static GBytes *
make_backing (guint64 size)
{
  guint8 *data = g_malloc (size);

  for (guint64 i = 0; i < size / CRASH_SECTOR; i++)
    crash_pattern_fill (CRASH_VALUE_BACKING, i, data + i * CRASH_SECTOR);
  return g_bytes_new_take (data, size);
}

static void
save_backing (const CrashGeometry *geometry, const char *folder)
{
  g_autofree char *path = g_build_filename (folder, BACKING_NAME, NULL);
  g_autoptr (GBytes) bytes = make_backing (geometry->backing_size);
  g_autoptr (CrashPages) pages = crash_pages_new (NULL);

  crash_pages_load (pages, bytes);
  crash_pages_save (pages, path);
}

char *
crash_geometry_save (const CrashGeometry *geometry, CrashPages *const *disks, const char *folder)
{
  char *path = g_build_filename (folder, "image", NULL);
  g_autofree char *other_path =
    g_build_filename (folder, geometry->has_base ? BASE_NAME : DATA_NAME, NULL);

  crash_pages_save (disks[CRASH_DISK_IMAGE], path);
  if (crash_geometry_n_disks (geometry) > 1)
    crash_pages_save (disks[CRASH_DISK_DATA], other_path);
  if (geometry->backing_size > 0)
    save_backing (geometry, folder);
  return path;
}

/* ---- feature bits ---- */

#define INCOMPATIBLE_AT 72
#define AUTOCLEAR_AT 88
#define INCOMPATIBLE_DIRTY ((guint64) 1 << 0)

static gboolean
has_bit (const CrashGeometry *geometry, CrashPages *image, guint64 at, guint64 bit)
{
  guint8 bytes[8];

  if (geometry->version < 3)
    return FALSE;
  crash_pages_read (image, at, bytes, sizeof bytes);
  return (img_read_be64 (bytes) & bit) != 0;
}

gboolean
crash_image_is_dirty (const CrashGeometry *geometry, CrashPages *image)
{
  return has_bit (geometry, image, INCOMPATIBLE_AT, INCOMPATIBLE_DIRTY);
}

gboolean
crash_image_has_bitmaps (const CrashGeometry *geometry, CrashPages *image)
{
  return has_bit (geometry, image, AUTOCLEAR_AT, AUTOCLEAR_BITMAPS);
}

void
crash_image_set_bitmaps (CrashPages *image)
{
  guint64 word = GUINT64_TO_BE (AUTOCLEAR_BITMAPS);

  crash_pages_write (image, AUTOCLEAR_AT, &word, sizeof word);
}

/* ---- opening ---- */

/* Grants what the geometry says, and nothing else. */
typedef struct
{
  ImgPolicy parent;
  const CrashGeometry *geometry;
  ImgStorage *data; /* borrowed */
} Policy;

/* One is enough: making it takes longer than a crash state. */
static ImgStorage *
get_backing (guint64 size)
{
  static ImgStorage *backing;
  static guint64 backing_size;

  if (backing == NULL || backing_size != size)
    {
      g_autoptr (GBytes) bytes = make_backing (size);

      img_storage_unref (backing);
      backing = img_memory_storage_new (bytes);
      backing_size = size;
    }
  return img_storage_ref (backing);
}

static ImgStorage *
policy_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  Policy *self = (Policy *) policy;

  if (reference->wanted->role == IMG_REFERENCE_DATA_FILE && self->data != NULL)
    return img_storage_ref (self->data);
  if (reference->wanted->role == IMG_REFERENCE_BACKING_FILE && self->geometry->backing_size > 0)
    {
      if (reference->format_name == NULL)
        reference->format_name = g_strdup ("raw");
      return get_backing (self->geometry->backing_size);
    }
  img_error_set (error, IMG_CODE_REFERENCE_DENIED, "No such file in this test");
  return NULL;
}

static void
policy_free (ImgPolicy *policy)
{
  g_free (policy);
}

static ImgPolicy *
make_policy (const CrashGeometry *geometry, ImgStorage *data)
{
  static const ImgPolicyClass policy_class = { policy_decide, policy_free };
  Policy *policy = g_new0 (Policy, 1);

  img_policy_init (&policy->parent, &policy_class);
  policy->geometry = geometry;
  policy->data = data;
  return &policy->parent;
}

static ImgImage *
open_one (const CrashGeometry *geometry,
          ImgStorage *disk,
          gboolean writable,
          const char *snapshot,
          ImgError **error)
{
  ImgImageOptions options = { .driver = img_driver_find (geometry->format),
                              .layout.metadata_cache_size = geometry->cache_size,
                              .layout.writable = writable,
                              .layout.snapshot = snapshot };

  return img_image_open (disk, &options, NULL, error);
}

/* The base below @image, as writable as that. */
static gboolean
set_base (ImgImage *image, const CrashGeometry *geometry, ImgStorage *disk, ImgError **error)
{
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) base = open_one (geometry, disk, img_image_is_writable (image), NULL, error);

  return base != NULL && img_image_open_references (base, policy, NULL, error) &&
         img_image_set_backing (image, base, error);
}

static ImgImage *
open_with (const CrashGeometry *geometry,
           ImgStorage **disks,
           gboolean writable,
           const char *snapshot,
           ImgError **error)
{
  g_autoptr (ImgPolicy) policy =
    make_policy (geometry, geometry->has_data_file ? disks[CRASH_DISK_DATA] : NULL);
  g_autoptr (ImgImage) image =
    open_one (geometry, disks[CRASH_DISK_IMAGE], writable, snapshot, error);

  if (image == NULL ||
      (geometry->has_base && !set_base (image, geometry, disks[CRASH_DISK_BASE], error)) ||
      !img_image_open_references (image, policy, NULL, error))
    return NULL;
  return g_steal_pointer (&image);
}

ImgImage *
crash_image_open (const CrashGeometry *geometry,
                  ImgStorage **disks,
                  gboolean writable,
                  ImgError **error)
{
  return open_with (geometry, disks, writable, NULL, error);
}

static ImgImage *
open_pages (const CrashGeometry *geometry,
            CrashPages *const *disks,
            gboolean writable,
            const char *snapshot,
            ImgError **error)
{
  ImgStorage *storages[CRASH_MAX_DISKS] = { NULL };
  ImgImage *image;

  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    storages[i] = crash_pages_storage_new (disks[i], i == 0 ? "image" : "data", writable);
  image = open_with (geometry, storages, writable, snapshot, error);
  for (guint i = 0; i < crash_geometry_n_disks (geometry); i++)
    img_storage_unref (storages[i]);
  return image;
}

ImgImage *
crash_image_open_pages (const CrashGeometry *geometry,
                        CrashPages *const *disks,
                        gboolean writable,
                        ImgError **error)
{
  return open_pages (geometry, disks, writable, NULL, error);
}

ImgImage *
crash_image_open_snapshot (const CrashGeometry *geometry, CrashPages *const *disks, ImgError **error)
{
  return open_pages (geometry, disks, FALSE, SNAPSHOT_ID, error);
}
