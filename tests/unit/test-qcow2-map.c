/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The map against a model: images with random entries, whose every subcluster a test knows the
 * answer for. */

#include "config.h"

#include "img-simple-storages.h"
#include "qcow2-builder.h"
#include "qcow2/img-qcow2-header.h"
#include "qcow2/img-qcow2.h"
#include "test-storages.h"

#define EXTENDED IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2
#define DATA_FILE IMG_QCOW2_INCOMPATIBLE_DATA_FILE

/* What is known of one block: a cluster, or a subcluster with extended L2. */
typedef struct
{
  ImgExtentKind kind;
  gboolean has_host_offset;
  guint64 host_offset;
  guint64 unit_host_offset;
  gsize unit_host_length;
} Block;

typedef struct
{
  guint version;
  guint cluster_bits;
  guint64 incompatible;
  guint64 size;
  guint seed;
} Case;

typedef struct
{
  Case variant;
  Qcow2Builder *builder;
  GRand *random;
  guint block_bits;
  Block *blocks;
  guint64 run; /* the host cluster that continues the last one; 0: none */
} Model;

static guint64
cluster_size (Model *model)
{
  return (guint64) 1 << model->variant.cluster_bits;
}

static guint
blocks_per_cluster (Model *model)
{
  return model->variant.incompatible & EXTENDED ? 32 : 1;
}

/* Contiguous with the last one more often than not. In a data file it is always the guest's offset.
 */
static guint64
pick_host (Model *model, guint64 cluster)
{
  guint64 host;

  if (model->variant.incompatible & DATA_FILE)
    return cluster << model->variant.cluster_bits;
  if (g_rand_int_range (model->random, 0, 4) == 0)
    qcow2_builder_alloc (model->builder, 1);
  host = qcow2_builder_alloc (model->builder, 1);
  return host;
}

static void
fill_blocks (Model *model, guint64 cluster, Block block)
{
  guint n = blocks_per_cluster (model);

  for (guint i = 0; i < n; i++)
    {
      model->blocks[cluster * n + i] = block;
      model->blocks[cluster * n + i].host_offset =
        block.has_host_offset ? block.host_offset + ((guint64) i << model->block_bits) : 0;
    }
}

/* The offset is any, the streams may overlap: nothing of it is decoded here. */
static void
add_compressed (Model *model, guint64 cluster)
{
  guint shift = 62 - (model->variant.cluster_bits - 8);
  guint64 max_sectors = (guint64) 1 << (model->variant.cluster_bits - 8);
  guint64 host = (guint64) g_rand_int_range (model->random, 1, (gint32) model->builder->file->len);
  guint64 n_more = (guint64) g_rand_int_range (model->random, 0, (gint32) max_sectors);
  Block block = { IMG_EXTENT_COMPRESSED };

  qcow2_builder_set_entry (model->builder, cluster, QCOW2_COMPRESSED | n_more << shift | host, 0);
  block.unit_host_offset = host;
  block.unit_host_length = (gsize) ((n_more + 1) * 512 - host % 512);
  fill_blocks (model, cluster, block);
}

static void
add_standard (Model *model, guint64 cluster, guint pick)
{
  Block block = { IMG_EXTENT_HOLE };
  guint64 word = 0;

  if (pick == 1)
    {
      block = (Block) { IMG_EXTENT_ZERO };
      word = QCOW2_ZERO;
    }
  else if (pick >= 2)
    {
      block =
        (Block) { pick == 2 ? IMG_EXTENT_ZERO : IMG_EXTENT_DATA, TRUE, pick_host (model, cluster) };
      word = block.host_offset | QCOW2_COPIED | (pick == 2 ? QCOW2_ZERO : 0);
      /* Host offset 0 can be zero-plain only. */
      if (pick == 2 && block.host_offset == 0)
        block.has_host_offset = FALSE;
    }
  qcow2_builder_set_entry (model->builder, cluster, word, 0);
  fill_blocks (model, cluster, block);
}

static void
add_extended (Model *model, guint64 cluster, gboolean has_host)
{
  guint64 host = has_host ? pick_host (model, cluster) : 0;
  guint32 allocated = has_host ? g_rand_int (model->random) : 0;
  guint32 zero = g_rand_int (model->random) & ~allocated;

  /* Long runs too, and all that a cluster can be. */
  if (g_rand_boolean (model->random))
    {
      zero = g_rand_boolean (model->random) ? G_MAXUINT32 & ~allocated : 0;
      if (has_host && g_rand_boolean (model->random))
        {
          allocated = G_MAXUINT32;
          zero = 0;
        }
    }
  fill_blocks (model, cluster, (Block) { IMG_EXTENT_HOLE, has_host, host });
  for (guint i = 0; i < 32; i++)
    {
      if ((allocated >> i) & 1)
        model->blocks[cluster * 32 + i].kind = IMG_EXTENT_DATA;
      else if ((zero >> i) & 1)
        model->blocks[cluster * 32 + i].kind = IMG_EXTENT_ZERO;
    }
  qcow2_builder_set_entry (model->builder, cluster, has_host ? host | QCOW2_COPIED : 0,
                           (guint64) zero << 32 | allocated);
}

/* One cluster, of a kind that the image may have. */
static void
add_cluster (Model *model, guint64 cluster, guint pick)
{
  gboolean may_compress = (model->variant.incompatible & DATA_FILE) == 0;

  if (pick == 4 && may_compress)
    add_compressed (model, cluster);
  else if (model->variant.incompatible & EXTENDED)
    add_extended (model, cluster, pick >= 2);
  else if (model->variant.version < 3 && (pick == 1 || pick == 2))
    add_standard (model, cluster, 3);
  else
    add_standard (model, cluster, MIN (pick, 3));
}

static guint64
count_clusters (Model *model)
{
  return img_div_round_up (model->variant.size, cluster_size (model));
}

/* Kinds come in runs; some stretches have no L2 table. */
static void
fill_model (Model *model)
{
  guint64 n_clusters = count_clusters (model);
  guint64 cluster = 0;

  while (cluster < n_clusters)
    {
      guint pick = (guint) g_rand_int_range (model->random, 0, 6);
      guint64 n =
        (guint64) g_rand_int_range (model->random, 1, g_rand_boolean (model->random) ? 3 : 40);

      if (pick == 5)
        {
          cluster += n * 8;
          continue;
        }
      for (guint64 end = MIN (n_clusters, cluster + n); cluster < end; cluster++)
        add_cluster (model, cluster, pick);
    }
}

static Model *
model_new (const Case *variant)
{
  Model *model = g_new0 (Model, 1);

  model->variant = *variant;
  model->random = g_rand_new_with_seed (variant->seed);
  model->builder = qcow2_builder_new (variant->version, variant->cluster_bits, variant->size,
                                      variant->incompatible);
  model->block_bits = variant->cluster_bits - (variant->incompatible & EXTENDED ? 5 : 0);
  model->blocks = g_new0 (Block, count_clusters (model) * blocks_per_cluster (model));
  if (variant->incompatible & DATA_FILE)
    qcow2_builder_add_extension (model->builder, QCOW2_EXTENSION_DATA_FILE, "data", 4);
  fill_model (model);
  return model;
}

static void
model_free (Model *model)
{
  g_rand_free (model->random);
  g_free (model->blocks);
  g_free (model);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Model, model_free)

static const Block *
block_at (Model *model, guint64 offset)
{
  return &model->blocks[offset >> model->block_bits];
}

static void
check_compressed (Model *model, const ImgExtent *extent, guint64 offset, guint64 length)
{
  const Block *block = block_at (model, offset);
  guint64 start = img_align_down (offset, cluster_size (model));

  g_assert_false (extent->has_host_offset);
  g_assert_cmpuint (extent->unit_offset, ==, start);
  g_assert_cmpuint (extent->unit_length, ==, cluster_size (model));
  g_assert_cmphex (extent->unit_host_offset, ==, block->unit_host_offset);
  g_assert_cmpuint (extent->unit_host_length, ==, block->unit_host_length);
  g_assert_cmpuint (extent->length, ==, MIN (length, start + cluster_size (model) - offset));
}

/* Each block that the extent covers is what it says. */
static void
check_content (Model *model, const ImgExtent *extent)
{
  for (guint64 at = extent->offset; at < extent->offset + extent->length;
       at =
         img_align_down (at, (guint64) 1 << model->block_bits) + ((guint64) 1 << model->block_bits))
    {
      const Block *block = block_at (model, at);

      g_assert_cmpint (extent->kind, ==, block->kind);
      g_assert_cmpint (extent->has_host_offset, ==, block->has_host_offset);
      if (block->has_host_offset)
        g_assert_cmphex (extent->host_offset + (at - extent->offset), ==,
                         block->host_offset + (at & (((guint64) 1 << model->block_bits) - 1)));
    }
}

/* An extent that ends early ends where the kind changes, the host does, or a slice does. */
static void
check_maximal (Model *model, const ImgExtent *extent, guint64 length)
{
  guint64 end = extent->offset + extent->length;
  guint64 slice_entries =
    MIN (4096, cluster_size (model)) / (model->variant.incompatible & EXTENDED ? 16 : 8);
  const Block *last, *next;

  if (extent->length == length || end % (slice_entries << model->variant.cluster_bits) == 0)
    return;
  last = block_at (model, end - 1);
  next = block_at (model, end);
  g_assert_true (last->kind != next->kind || last->has_host_offset != next->has_host_offset ||
                 (last->has_host_offset &&
                  last->host_offset + ((guint64) 1 << model->block_bits) != next->host_offset));
}

static void
check_map (Model *model,
           ImgLayout *layout,
           ImgStorage *data,
           guint64 offset,
           guint64 length,
           ImgMapFlags flags)
{
  ImgError *error = NULL;
  ImgExtent extent;
  ImgMapResult result = layout->klass->map (layout, offset, length, flags, &extent, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (result == IMG_MAP_WOULD_BLOCK && (flags & IMG_MAP_TRY))
    return;
  g_assert_cmpint (result, ==, IMG_MAP_OK);
  g_assert_cmpuint (extent.offset, ==, offset);
  g_assert_cmpuint (extent.length, >, 0);
  g_assert_cmpuint (extent.length, <=, length);
  if (block_at (model, offset)->kind == IMG_EXTENT_COMPRESSED)
    {
      g_assert_cmpint (extent.kind, ==, IMG_EXTENT_COMPRESSED);
      check_compressed (model, &extent, offset, length);
      return;
    }
  check_content (model, &extent);
  check_maximal (model, &extent, length);
  g_assert_true (extent.storage == (extent.has_host_offset ? data : NULL));
}

static guint64
random_below (GRand *random, guint64 limit)
{
  return ((guint64) g_rand_int (random) << 32 | g_rand_int (random)) % limit;
}

static void
test_model (gconstpointer data)
{
  const Case *variant = data;
  g_autoptr (Model) model = model_new (variant);
  g_autoptr (ImgStorage) storage = qcow2_builder_finish_storage (model->builder);
  ImgLayoutOptions options = { .metadata_cache_size = 1 };
  g_autoptr (ImgError) error = NULL;
  g_autoptr (ImgLayout) layout = img_qcow2_driver.open (storage, &options, NULL, &error);
  g_autoptr (ImgStorage) data_file = img_null_storage_new (variant->size);
  gboolean has_data_file = (variant->incompatible & DATA_FILE) != 0;

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (has_data_file)
    layout->klass->set_data_storage (layout, data_file);
  g_assert_cmpuint (layout->size, ==, variant->size);
  for (guint64 offset = 0; offset < variant->size; offset += (guint64) 1 << model->block_bits)
    check_map (model, layout, has_data_file ? data_file : storage, offset, variant->size - offset,
               IMG_MAP_NONE);
  for (guint i = 0; i < 20000; i++)
    {
      guint64 offset = random_below (model->random, variant->size);
      guint64 length = 1 + random_below (model->random, MIN (variant->size - offset,
                                                             i % 2 == 0 ? 4096 : G_MAXUINT64));

      check_map (model, layout, has_data_file ? data_file : storage, offset, length,
                 i % 3 == 0 ? IMG_MAP_TRY : IMG_MAP_NONE);
    }
}

/* ---- flaws ---- */

typedef struct
{
  guint version;
  guint64 incompatible;
  guint64 word;
  guint64 bitmap;
  const char *problem;
} FlawCase;

static const FlawCase flaws[] = {
  { 3, 0, 0xbfffffffffff0000, 0, "outside the file" }, /* reserved bits are ignored, as in QEMU */
  { 3, 0, 0x800000ffffff0000, 0, "outside the file" },
  { 3, 0, 0x8000000000020200, 0, "not aligned" },
  { 3, 0, 0x8000000000020201, 0, "not aligned" },
  { 2, 0, 0x0000000000000001, 0, "version 2 has no zero clusters" },
  { 2, 0, 0x8000000000020001, 0, "version 2 has no zero clusters" },
  { 3, 0, 0x4000000010000000, 0, "outside the file" },
  { 3, 0, 0x403fffffffffffff, 0, "outside the file" },
  { 3, EXTENDED, 0x8000000000020000, 0x0000000100000001, "both allocated and zero" },
  { 3, EXTENDED, 0x8000000000020000, 0x8000000080000001, "both allocated and zero" },
  { 3, EXTENDED, 0x0000000000000000, 0x0000000080000000, "allocated without a cluster" },
  { 3, EXTENDED, 0x8000000000020200, 0x00000000ffffffff, "not aligned" },
  { 3, EXTENDED, 0x0000000000020200, 0, "not aligned" },
  { 3, DATA_FILE, 0x8000000000030000, 0, "not the offset in the disk" },
  { 3, DATA_FILE, 0x8000000000030001, 0, "not the offset in the disk" },
  { 3, DATA_FILE, 0x4000000000020000, 0, "no compressed clusters" },
};

static ImgLayout *
layout_with_flaw (const FlawCase *flaw)
{
  Qcow2Builder *builder = qcow2_builder_new (flaw->version, 16, 64 * IMG_MIB, flaw->incompatible);
  g_autoptr (ImgStorage) data_file = img_null_storage_new (64 * IMG_MIB);
  g_autoptr (ImgStorage) storage = NULL;
  ImgLayout *layout;

  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_DATA_FILE, "data", 4);
  qcow2_builder_alloc (builder, 4);
  qcow2_builder_set_entry (builder, 2, flaw->word, flaw->bitmap);
  storage = qcow2_builder_finish_storage (builder);
  layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
  g_assert_nonnull (layout);
  if (flaw->incompatible & DATA_FILE)
    layout->klass->set_data_storage (layout, data_file);
  return layout;
}

/* The cluster before it is not harmed: its run ends where the flaw is. */
static void
test_flaws (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (flaws); i++)
    {
      g_autoptr (ImgLayout) layout = layout_with_flaw (&flaws[i]);
      g_autoptr (ImgError) error = NULL;
      ImgExtent extent;

      g_assert_cmpint (layout->klass->map (layout, 0, 64 * IMG_MIB, IMG_MAP_NONE, &extent, NULL),
                       ==, IMG_MAP_OK);
      g_assert_cmpint (extent.kind, ==, IMG_EXTENT_HOLE);
      g_assert_cmpuint (extent.length, ==, 131072);
      g_assert_cmpint (layout->klass->map (layout, 131072 + 5, 100, IMG_MAP_NONE, &extent, &error),
                       ==, IMG_MAP_ERROR);
      g_test_message ("%s", error->text);
      g_assert_cmpint (error->code, ==, IMG_CODE_CORRUPT);
      g_assert_nonnull (strstr (error->text, flaws[i].problem));
      g_assert_nonnull (strstr (error->text, "0x20000"));
      g_assert_cmpint (layout->klass->map (layout, 196608, 100, IMG_MAP_NONE, &extent, NULL), ==,
                       IMG_MAP_OK);
    }
}

/* L1 entries that lead nowhere. */
static void
test_bad_l2_table (void)
{
  static const guint64 words[] = {
    0x8000000000030200, /* unaligned */
    0x8000000100000000, /* past the end */
    0x00ffffffffff0000,
    0x80fffffffffffe00,
  };

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    {
      Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_GIB, 0);
      g_autoptr (ImgStorage) storage = NULL;
      g_autoptr (ImgLayout) layout = NULL;
      g_autoptr (ImgError) error = NULL;
      ImgExtent extent;

      qcow2_builder_set_l1 (builder, 1, words[i]);
      storage = qcow2_builder_finish_storage (builder);
      layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
      g_assert_cmpint (layout->klass->map (layout, 0, IMG_GIB, IMG_MAP_NONE, &extent, NULL), ==,
                       IMG_MAP_OK);
      g_assert_cmpuint (extent.length, ==, 512 * IMG_MIB);
      g_assert_cmpint (layout->klass->map (layout, 600 * IMG_MIB, 1, IMG_MAP_NONE, &extent, &error),
                       ==, IMG_MAP_ERROR);
      g_assert_cmpint (error->code, ==, IMG_CODE_CORRUPT);
      g_assert_nonnull (strstr (error->text, "L2 table"));
    }
}

/* Reserved bits are QEMU's to report in a check; they do not change what an entry means. */
static void
test_reserved_bits (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  guint64 host = qcow2_builder_alloc (builder, 1);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  ImgExtent extent;

  qcow2_builder_set_entry (builder, 0, host | 0x1fe, 0);
  builder->file->data[builder->l1_offset] |= 0x7f;
  builder->file->data[builder->l1_offset + 7] |= 0xff;
  storage = qcow2_builder_finish_storage (builder);
  layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
  g_assert_cmpint (layout->klass->map (layout, 1000, 1000, IMG_MAP_NONE, &extent, NULL), ==,
                   IMG_MAP_OK);
  g_assert_cmpint (extent.kind, ==, IMG_EXTENT_DATA);
  g_assert_cmphex (extent.host_offset, ==, host + 1000);
}

static void
test_data_file_pending (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, DATA_FILE);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  g_autoptr (ImgError) error = NULL;
  ImgExtent extent;

  qcow2_builder_add_extension (builder, QCOW2_EXTENSION_DATA_FILE, "data", 4);
  qcow2_builder_set_entry (builder, 0, QCOW2_COPIED, 0);
  storage = qcow2_builder_finish_storage (builder);
  layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
  g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_NONE, &extent, &error), ==,
                   IMG_MAP_ERROR);
  g_assert_cmpint (error->code, ==, IMG_CODE_REFERENCES_PENDING);
}

/* Guest offset 0 in an external data file: allocated only if COPIED says so. */
static void
test_data_file_offset_zero (void)
{
  for (guint copied = 0; copied < 2; copied++)
    {
      Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, DATA_FILE);
      g_autoptr (ImgStorage) data_file = img_null_storage_new (IMG_MIB);
      g_autoptr (ImgStorage) storage = NULL;
      g_autoptr (ImgLayout) layout = NULL;
      ImgExtent extent;

      qcow2_builder_add_extension (builder, QCOW2_EXTENSION_DATA_FILE, "data", 4);
      qcow2_builder_set_entry (builder, 0, copied ? QCOW2_COPIED : 0, 0);
      storage = qcow2_builder_finish_storage (builder);
      layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
      layout->klass->set_data_storage (layout, data_file);
      g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_NONE, &extent, NULL), ==,
                       IMG_MAP_OK);
      g_assert_cmpint (extent.kind, ==, copied ? IMG_EXTENT_DATA : IMG_EXTENT_HOLE);
    }
}

static void
test_read_error (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, IMG_MIB, 0);
  g_autoptr (ImgStorage) base = NULL;
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  g_autoptr (ImgError) error = NULL;
  ImgExtent extent;

  qcow2_builder_set_entry (builder, 0, QCOW2_ZERO, 0);
  base = qcow2_builder_finish_storage (builder);
  storage = test_failing_storage_new (base);
  layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
  test_failing_storage_arm (storage, 1, FALSE);
  g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_TRY, &extent, NULL), ==,
                   IMG_MAP_WOULD_BLOCK);
  g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_NONE, &extent, &error), ==,
                   IMG_MAP_ERROR);
  g_assert_cmpint (error->code, ==, IMG_CODE_ERRNO);
  g_assert_nonnull (strstr (error->text, "L2 table at offset"));
  g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_NONE, &extent, NULL), ==, IMG_MAP_OK);
  g_assert_cmpint (layout->klass->map (layout, 0, 1, IMG_MAP_TRY, &extent, NULL), ==, IMG_MAP_OK);
  g_assert_cmpint (extent.kind, ==, IMG_EXTENT_ZERO);
}

/* The time of one call, for whoever runs this with -m perf. */
static void
test_speed (void)
{
  Qcow2Builder *builder = qcow2_builder_new (3, 16, 4 * IMG_GIB, 0);
  guint64 n_clusters = 4 * IMG_GIB >> 16;
  guint64 host = qcow2_builder_alloc (builder, 1);
  g_autoptr (ImgStorage) storage = NULL;
  g_autoptr (ImgLayout) layout = NULL;
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  g_autofree guint64 *offsets = g_new (guint64, 65536);
  gint64 start;
  ImgExtent extent;
  guint64 sum = 0;

  for (guint64 i = 0; i < n_clusters; i++)
    qcow2_builder_set_entry (builder, i, host | QCOW2_COPIED, 0);
  storage = qcow2_builder_finish_storage (builder);
  layout = img_qcow2_driver.open (storage, NULL, NULL, NULL);
  for (guint i = 0; i < 65536; i++)
    {
      offsets[i] = random_below (random, n_clusters) << 16;
      g_assert_cmpint (layout->klass->map (layout, offsets[i], 4096, IMG_MAP_NONE, &extent, NULL),
                       ==, IMG_MAP_OK);
    }
  start = g_get_monotonic_time ();
  for (guint round = 0; round < 100; round++)
    for (guint i = 0; i < 65536; i++)
      {
        g_assert_true (layout->klass->map (layout, offsets[i], 4096, IMG_MAP_TRY, &extent, NULL) ==
                       IMG_MAP_OK);
        sum += extent.host_offset;
      }
  g_test_message ("%.1f ns per map",
                  (double) (g_get_monotonic_time () - start) * 1000 / (100 * 65536));
  g_assert_cmpuint (sum, ==, host * 100 * 65536);
}

static const Case cases[] = {
  { 3, 9, 0, 4 * 1024 * 1024, 1 },
  { 2, 9, 0, 4 * 1024 * 1024 - 512, 2 },
  { 3, 12, 0, 16 * 1024 * 1024 + 1536, 3 },
  { 2, 12, 0, 16 * 1024 * 1024, 4 },
  { 3, 14, 0, 64 * 1024 * 1024, 5 },
  { 3, 16, 0, 100 * 1024 * 1024 + 512, 6 },
  { 2, 16, 0, 100 * 1024 * 1024, 7 },
  { 3, 21, 0, 80 * 1024 * 1024 + 512, 8 },
  { 3, 14, EXTENDED, 16 * 1024 * 1024 + 512, 9 },
  { 3, 16, EXTENDED, 64 * 1024 * 1024, 10 },
  { 3, 21, EXTENDED, 80 * 1024 * 1024 + 1024, 11 },
  { 3, 16, DATA_FILE, 200 * 1024 * 1024, 12 },
  { 3, 12, DATA_FILE, 16 * 1024 * 1024 + 512, 13 },
  { 3, 16, DATA_FILE | EXTENDED, 64 * 1024 * 1024 + 512, 14 },
};

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path =
        g_strdup_printf ("/qcow2-map/model/v%u-%u%s%s", cases[i].version, cases[i].cluster_bits,
                         cases[i].incompatible & EXTENDED ? "-extended" : "",
                         cases[i].incompatible & DATA_FILE ? "-data-file" : "");

      g_test_add_data_func (path, &cases[i], test_model);
    }
  g_test_add_func ("/qcow2-map/flaws", test_flaws);
  g_test_add_func ("/qcow2-map/bad-l2-table", test_bad_l2_table);
  g_test_add_func ("/qcow2-map/reserved-bits", test_reserved_bits);
  g_test_add_func ("/qcow2-map/data-file-pending", test_data_file_pending);
  g_test_add_func ("/qcow2-map/data-file-offset-zero", test_data_file_offset_zero);
  g_test_add_func ("/qcow2-map/read-error", test_read_error);
  if (g_test_perf ())
    g_test_add_func ("/qcow2-map/speed", test_speed);
  return g_test_run ();
}
