/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How large a new image is and where its metadata lies, and its header.
 *
 * All metadata lies at the beginning, in the order of the file: header, refcount table, refcount blocks,
 * L1 table, L2 tables if there are any; behind them the data clusters. How many clusters that makes is
 * known before the first is written, so that the refcounts count exactly what is there.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-qcow2-create.h"
#include "img-qcow2-private.h"
#include "img-qcow2-shape.h"

#define SECTOR_SIZE 512
#define HEADER_LENGTH 112 /* with the compression type, padded to 8 bytes */
#define MIN_EXTENDED_CLUSTER_BITS 14
/* Readers need the names of features only to complain; in small clusters the room is wanted for file
 * names. */
#define MIN_FEATURE_NAMES_CLUSTER_BITS 13

/* ---- options ---- */

static gboolean
check_version (const ImgCreateOptions *options, ImgError **error)
{
  if (options->version != 0 && options->version != 2 && options->version != 3)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The version of a qcow2 image must be 2 or 3"));
  if (options->version != 2)
    return TRUE;
  if (options->lazy_refcounts)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("Lazy refcounts need version 3 of qcow2"));
  if (options->refcount_bits != 0 && options->refcount_bits != 16)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("Refcounts of other than 16 bits need version 3 of qcow2"));
  if (options->extended_l2)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("Extended L2 entries need version 3 of qcow2"));
  if (options->compression == IMG_COMPRESSION_ZSTD)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("Compression with zstd needs version 3 of qcow2"));
  if (options->data_file_name != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("An external data file needs version 3 of qcow2"));
  return TRUE;
}

static gboolean
check_geometry (const ImgCreateOptions *options, ImgError **error)
{
  guint64 cluster_size = options->cluster_size;

  if (cluster_size != 0 &&
      (!img_is_power_of_two (cluster_size) ||
       cluster_size < (guint64) 1 << IMG_QCOW2_MIN_CLUSTER_BITS ||
       cluster_size > (guint64) 1 << IMG_QCOW2_MAX_CLUSTER_BITS))
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The cluster size must be a power of two between 512 bytes and 2 MiB"));
  if (options->extended_l2 && cluster_size != 0 &&
      cluster_size < (guint64) 1 << MIN_EXTENDED_CLUSTER_BITS)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("Extended L2 entries need clusters of at least 16 KiB"));
  if (options->refcount_bits > 64 ||
      (options->refcount_bits != 0 && !img_is_power_of_two (options->refcount_bits)))
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The refcount width must be a power of two of at most 64 bits"));
#ifndef HAVE_ZSTD
  if (options->compression == IMG_COMPRESSION_ZSTD)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("This build of the library has no zstd"));
#endif
  return TRUE;
}

static gboolean
check_name (const char *name, gsize max, const char *what, ImgError **error)
{
  if (name == NULL || (name[0] != '\0' && strlen (name) <= max))
    return TRUE;
  img_error_set (error, IMG_CODE_INVALID_OPTION, _("%s: must have 1 to %zu bytes"), what, max);
  return FALSE;
}

static gboolean
check_files (const ImgCreateOptions *options, ImgError **error)
{
  if (options->backing_format != NULL && options->backing_name == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The format of a backing file was given, but no backing file"));
  if (options->backing_name != NULL && options->backing_format == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The format of the backing file must be given"));
  if (options->raw_data_file && options->data_file_name == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("A raw data file was asked for, but no data file was given"));
  if (options->raw_data_file && options->backing_name != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("An image with a raw data file cannot have a backing file"));
  if (options->backing_name != NULL && options->preallocate != IMG_PREALLOCATE_OFF &&
      !options->extended_l2)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("An image with a backing file can be preallocated only with extended L2 entries"));
  return check_name (options->backing_name, IMG_QCOW2_MAX_NAME, _("Backing file name"), error) &&
         check_name (options->backing_format, IMG_QCOW2_MAX_FORMAT_NAME,
                     _("Format of the backing file"), error) &&
         check_name (options->data_file_name, IMG_QCOW2_MAX_NAME, _("External data file name"),
                     error);
}

/* ---- the shape ---- */

static guint
get_l1_shift (guint cluster_bits, gboolean extended_l2)
{
  return 2 * cluster_bits - (extended_l2 ? 4 : 3);
}

static gboolean
l1_is_possible (guint64 size, guint cluster_bits, gboolean extended_l2)
{
  guint64 n = img_div_round_up (size, (guint64) 1 << get_l1_shift (cluster_bits, extended_l2));

  return n <= IMG_QCOW2_MAX_L1_SIZE / sizeof (guint64);
}

static gboolean
refuse_size (const ImgQcow2Shape *shape, ImgError **error)
{
  gboolean extended_l2 = shape->options->extended_l2;
  guint bits = shape->cluster_bits;

  while (bits <= IMG_QCOW2_MAX_CLUSTER_BITS && !l1_is_possible (shape->size, bits, extended_l2))
    bits++;
  if (shape->size > IMG_MAX_SIZE || bits > IMG_QCOW2_MAX_CLUSTER_BITS)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("A disk of %" PRIu64 " bytes is too large for qcow2"), shape->options->size);
  else
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("A disk of %" PRIu64 " bytes is too large for clusters of %" PRIu64
                     " bytes; it needs a cluster size of %" PRIu64 " or more"),
                   shape->options->size, (guint64) 1 << shape->cluster_bits, (guint64) 1 << bits);
  return FALSE;
}

static guint64
to_clusters (const ImgQcow2Shape *shape, guint64 bytes)
{
  return img_div_round_up (bytes, (guint64) 1 << shape->cluster_bits);
}

/* Refcount blocks and the table count themselves too, so more of them may need more of them; never
 * fewer, so that this ends. */
void
img_qcow2_shape_arrange (ImgQcow2Shape *shape)
{
  guint64 entries_per_block = (guint64) 8 << shape->cluster_bits >> shape->refcount_order;
  guint64 n_others = 1 + shape->n_l1 + shape->n_l2 + shape->n_data;
  guint64 n_blocks;

  do
    {
      n_blocks = shape->n_blocks;
      shape->n_table = MAX (to_clusters (shape, n_blocks * sizeof (guint64)), 1);
      shape->n_clusters = n_others + n_blocks + shape->n_table;
      shape->n_blocks = img_div_round_up (shape->n_clusters, entries_per_block);
    }
  while (shape->n_blocks != n_blocks);
  shape->l1_at = 1 + shape->n_table + shape->n_blocks;
  shape->l2_at = shape->l1_at + shape->n_l1;
  shape->data_at = shape->l2_at + shape->n_l2;
}

static gboolean
count_clusters (ImgQcow2Shape *shape, ImgError **error)
{
  gboolean extended_l2 = shape->options->extended_l2;

  if (shape->size > IMG_MAX_SIZE || !l1_is_possible (shape->size, shape->cluster_bits, extended_l2))
    return refuse_size (shape, error);
  shape->n_l1_entries =
    img_div_round_up (shape->size, (guint64) 1 << get_l1_shift (shape->cluster_bits, extended_l2));
  shape->n_l1 = to_clusters (shape, shape->n_l1_entries * sizeof (guint64));
  if (shape->preallocated)
    {
      shape->n_l2 = shape->n_l1_entries;
      shape->n_mapped = to_clusters (shape, shape->size);
      shape->n_data = shape->has_data_file ? 0 : shape->n_mapped;
    }
  img_qcow2_shape_arrange (shape);
  return TRUE;
}

gboolean
img_qcow2_shape_check_limits (const ImgQcow2Shape *shape, ImgError **error)
{
  if (shape->n_table << shape->cluster_bits > IMG_QCOW2_MAX_REFCOUNT_TABLE_SIZE)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The disk is too large to be preallocated with clusters so small and refcounts "
                               "so wide"));
  if (shape->n_clusters > IMG_QCOW2_OFFSET_MASK >> shape->cluster_bits)
    return refuse_size (shape, error);
  return TRUE;
}

/* Without what depends on the names of files. */
static gboolean
set_geometry (ImgQcow2Shape *shape, const ImgCreateOptions *options, ImgError **error)
{
  guint refcount_bits = options->refcount_bits != 0 ? options->refcount_bits : 16;

  *shape = (ImgQcow2Shape) { .options = options };
  if (!check_version (options, error) || !check_geometry (options, error))
    return FALSE;
  shape->version = options->version != 0 ? options->version : 3;
  shape->cluster_bits =
    options->cluster_size != 0 ? (guint) g_bit_nth_lsf (options->cluster_size, -1) : 16;
  shape->refcount_order = (guint) g_bit_nth_lsf (refcount_bits, -1);
  shape->size = img_align_up (MIN (options->size, IMG_MAX_SIZE + 1), SECTOR_SIZE);
  return TRUE;
}

gboolean
img_qcow2_shape_init (ImgQcow2Shape *shape, const ImgCreateOptions *options, ImgError **error)
{
  if (!set_geometry (shape, options, error) || !check_files (options, error))
    return FALSE;
  shape->has_data_file = options->data_file_name != NULL;
  /* A raw data file has no holes that only the image knows of. */
  shape->preallocated = options->preallocate != IMG_PREALLOCATE_OFF || options->raw_data_file;
  return count_clusters (shape, error) && img_qcow2_shape_check_limits (shape, error);
}

/* As if all clusters were allocated in one file. Larger than any file can be is a number too. */
gboolean
img_qcow2_measure (const ImgCreateOptions *options, ImgFootprint *footprint, ImgError **error)
{
  ImgQcow2Shape shape;

  if (!set_geometry (&shape, options, error))
    return FALSE;
  shape.preallocated = TRUE;
  if (!count_clusters (&shape, error))
    return FALSE;
  *footprint = (ImgFootprint) {
    .metadata = (shape.n_clusters - shape.n_data) << shape.cluster_bits,
    .disk_size = shape.n_data << shape.cluster_bits,
    .unit = (guint64) 1 << shape.cluster_bits,
    .is_full = options->preallocate == IMG_PREALLOCATE_FALLOC ||
               options->preallocate == IMG_PREALLOCATE_FULL,
    .has_bitmaps = shape.version >= 3,
  };
  return TRUE;
}

/* ---- the header ---- */

static void
append_be32 (GByteArray *bytes, guint32 value)
{
  guint32 be = GUINT32_TO_BE (value);

  g_byte_array_append (bytes, (const guint8 *) &be, sizeof be);
}

static void
append_be64 (GByteArray *bytes, guint64 value)
{
  guint64 be = GUINT64_TO_BE (value);

  g_byte_array_append (bytes, (const guint8 *) &be, sizeof be);
}

static void
append_padding (GByteArray *bytes)
{
  static const guint8 zeroes[8];

  g_byte_array_append (bytes, zeroes, (guint) (img_align_up (bytes->len, 8) - bytes->len));
}

static void
append_extension (GByteArray *bytes, guint32 type, gconstpointer data, gsize length)
{
  append_be32 (bytes, type);
  append_be32 (bytes, (guint32) length);
  g_byte_array_append (bytes, data, (guint) length);
  append_padding (bytes);
}

/* "Feature name table" in the specification. */
static void
append_feature_names (GByteArray *bytes)
{
  enum
  {
    INCOMPATIBLE,
    COMPATIBLE,
    AUTOCLEAR
  };
  static const struct
  {
    guint8 kind;
    guint8 bit;
    char name[IMG_QCOW2_FEATURE_NAME_LENGTH];
  } features[] = {
    { INCOMPATIBLE, 0, "dirty bit" },
    { INCOMPATIBLE, 1, "corrupt bit" },
    { INCOMPATIBLE, 2, "external data file" },
    { INCOMPATIBLE, 3, "compression type" },
    { INCOMPATIBLE, 4, "extended L2 entries" },
    { COMPATIBLE, 0, "lazy refcounts" },
    { AUTOCLEAR, 0, "bitmaps" },
    { AUTOCLEAR, 1, "raw external data" },
  };

  G_STATIC_ASSERT (sizeof features[0] == IMG_QCOW2_FEATURE_NAME_ENTRY);
  append_extension (bytes, IMG_QCOW2_EXTENSION_FEATURE_NAMES, features, sizeof features);
}

static void
append_v3_fields (const ImgQcow2Shape *shape, GByteArray *bytes)
{
  const ImgCreateOptions *options = shape->options;
  gboolean is_zstd = options->compression == IMG_COMPRESSION_ZSTD;
  guint64 incompatible = 0;

  if (shape->has_data_file)
    incompatible |= IMG_QCOW2_INCOMPATIBLE_DATA_FILE;
  if (is_zstd)
    incompatible |= IMG_QCOW2_INCOMPATIBLE_COMPRESSION;
  if (options->extended_l2)
    incompatible |= IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2;
  append_be64 (bytes, incompatible);
  append_be64 (bytes, options->lazy_refcounts ? IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS : 0);
  append_be64 (bytes, options->raw_data_file ? IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE : 0);
  append_be32 (bytes, shape->refcount_order);
  append_be32 (bytes, HEADER_LENGTH);
  /* The compression type is one byte. */
  append_be64 (bytes, (guint64) (is_zstd ? IMG_QCOW2_COMPRESSION_ZSTD : IMG_QCOW2_COMPRESSION_ZLIB)
                        << 56);
}

/* Up to the extensions. */
static void
append_fields (const ImgQcow2Shape *shape, guint64 backing_at, guint32 backing_length, GByteArray *bytes)
{
  guint bits = shape->cluster_bits;

  append_be32 (bytes, IMG_QCOW2_MAGIC);
  append_be32 (bytes, shape->version);
  append_be64 (bytes, backing_at);
  append_be32 (bytes, backing_length);
  append_be32 (bytes, bits);
  append_be64 (bytes, shape->size);
  append_be32 (bytes, IMG_QCOW2_CRYPT_NONE);
  append_be32 (bytes, (guint32) shape->n_l1_entries);
  append_be64 (bytes, shape->n_l1 > 0 ? shape->l1_at << bits : 0);
  append_be64 (bytes, (guint64) 1 << bits); /* the refcount table */
  append_be32 (bytes, (guint32) shape->n_table);
  append_be32 (bytes, 0); /* snapshots */
  append_be64 (bytes, 0);
  if (shape->version == 3)
    append_v3_fields (shape, bytes);
}

/* In the order in which QEMU writes them. */
static void
append_extensions (const ImgQcow2Shape *shape, GByteArray *bytes)
{
  const ImgCreateOptions *options = shape->options;

  if (options->backing_format != NULL)
    append_extension (bytes, IMG_QCOW2_EXTENSION_BACKING_FORMAT, options->backing_format,
                      strlen (options->backing_format));
  if (shape->has_data_file)
    append_extension (bytes, IMG_QCOW2_EXTENSION_DATA_FILE, options->data_file_name,
                      strlen (options->data_file_name));
  if (shape->version == 3 && shape->cluster_bits >= MIN_FEATURE_NAMES_CLUSTER_BITS)
    append_feature_names (bytes);
  append_extension (bytes, IMG_QCOW2_EXTENSION_END, NULL, 0);
}

GByteArray *
img_qcow2_shape_build_header (const ImgQcow2Shape *shape, ImgError **error)
{
  const char *backing_name = shape->options->backing_name;
  guint backing_length = backing_name != NULL ? (guint) strlen (backing_name) : 0;
  guint fields_length = shape->version == 3 ? HEADER_LENGTH : IMG_QCOW2_V2_HEADER_LENGTH;
  g_autoptr (GByteArray) extensions = g_byte_array_new ();
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  guint length;

  append_extensions (shape, extensions);
  length = fields_length + extensions->len;
  append_fields (shape, backing_length > 0 ? length : 0, backing_length, bytes);
  g_assert (bytes->len == fields_length);
  g_byte_array_append (bytes, extensions->data, extensions->len);
  g_byte_array_append (bytes, (const guint8 *) backing_name, backing_length);
  if (bytes->len <= (guint64) 1 << shape->cluster_bits)
    return g_steal_pointer (&bytes);
  img_error_set (error, IMG_CODE_INVALID_OPTION,
                 _("The file names are too long for clusters of %" PRIu64 " bytes"),
                 (guint64) 1 << shape->cluster_bits);
  return NULL;
}
