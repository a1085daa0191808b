/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-bitmap-private.h"
#include "imago-encryption-info-private.h"
#include "imago-image-info-private.h"
#include "imago-snapshot-private.h"

/**
 * SECTION:imago-image-info
 * @title: ImagoImageInfo
 * @short_description: What is known of an image
 *
 * The answer of imago_image_query_info(): what `qemu-img info` prints of an image, as properties.
 *
 * Strings that come from the image and are not file names have bytes that are not UTF-8 replaced.
 *
 * The object never changes and may be used from any thread.
 */

/**
 * ImagoImageInfo:
 *
 * What is known of an image.
 *
 * Since: 1.0
 */
struct _ImagoImageInfo
{
  GObject parent_instance;

  char *filename;
  char *format_name;
  guint64 virtual_size;
  guint64 actual_size;
  guint64 cluster_size;
  char *backing_filename;
  char *full_backing_filename;
  char *backing_format_name;
  char *compat;
  char *compression_type;
  ImagoEncryptionInfo *encryption_info;
  guint refcount_bits;
  gboolean dirty;
  gboolean corrupt;
  gboolean lazy_refcounts;
  gboolean extended_l2;
  char *data_file;
  gboolean data_file_raw;
  GListModel *snapshots;
  GListModel *bitmaps;
};

G_DEFINE_FINAL_TYPE (ImagoImageInfo, imago_image_info, G_TYPE_OBJECT)

enum
{
  PROP_FILENAME = 1,
  PROP_FORMAT_NAME,
  PROP_VIRTUAL_SIZE,
  PROP_ACTUAL_SIZE,
  PROP_CLUSTER_SIZE,
  PROP_BACKING_FILENAME,
  PROP_FULL_BACKING_FILENAME,
  PROP_BACKING_FORMAT_NAME,
  PROP_COMPAT,
  PROP_COMPRESSION_TYPE,
  PROP_ENCRYPTION_INFO,
  PROP_REFCOUNT_BITS,
  PROP_DIRTY,
  PROP_CORRUPT,
  PROP_LAZY_REFCOUNTS,
  PROP_EXTENDED_L2,
  PROP_DATA_FILE,
  PROP_DATA_FILE_RAW,
  PROP_SNAPSHOTS,
  PROP_BITMAPS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_image_info_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoImageInfo *self = IMAGO_IMAGE_INFO (object);

  switch (property_id)
    {
    case PROP_FILENAME:
      g_value_set_string (value, self->filename);
      break;
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_VIRTUAL_SIZE:
      g_value_set_uint64 (value, self->virtual_size);
      break;
    case PROP_ACTUAL_SIZE:
      g_value_set_uint64 (value, self->actual_size);
      break;
    case PROP_CLUSTER_SIZE:
      g_value_set_uint64 (value, self->cluster_size);
      break;
    case PROP_BACKING_FILENAME:
      g_value_set_string (value, self->backing_filename);
      break;
    case PROP_FULL_BACKING_FILENAME:
      g_value_set_string (value, self->full_backing_filename);
      break;
    case PROP_BACKING_FORMAT_NAME:
      g_value_set_string (value, self->backing_format_name);
      break;
    case PROP_COMPAT:
      g_value_set_string (value, self->compat);
      break;
    case PROP_COMPRESSION_TYPE:
      g_value_set_string (value, self->compression_type);
      break;
    case PROP_ENCRYPTION_INFO:
      g_value_set_object (value, self->encryption_info);
      break;
    case PROP_REFCOUNT_BITS:
      g_value_set_uint (value, self->refcount_bits);
      break;
    case PROP_DIRTY:
      g_value_set_boolean (value, self->dirty);
      break;
    case PROP_CORRUPT:
      g_value_set_boolean (value, self->corrupt);
      break;
    case PROP_LAZY_REFCOUNTS:
      g_value_set_boolean (value, self->lazy_refcounts);
      break;
    case PROP_EXTENDED_L2:
      g_value_set_boolean (value, self->extended_l2);
      break;
    case PROP_DATA_FILE:
      g_value_set_string (value, self->data_file);
      break;
    case PROP_DATA_FILE_RAW:
      g_value_set_boolean (value, self->data_file_raw);
      break;
    case PROP_SNAPSHOTS:
      g_value_set_object (value, self->snapshots);
      break;
    case PROP_BITMAPS:
      g_value_set_object (value, self->bitmaps);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_image_info_finalize (GObject *object)
{
  ImagoImageInfo *self = IMAGO_IMAGE_INFO (object);

  g_free (self->filename);
  g_free (self->format_name);
  g_free (self->backing_filename);
  g_free (self->full_backing_filename);
  g_free (self->backing_format_name);
  g_free (self->compat);
  g_free (self->compression_type);
  g_free (self->data_file);
  g_clear_object (&self->encryption_info);
  g_clear_object (&self->snapshots);
  g_clear_object (&self->bitmaps);
  G_OBJECT_CLASS (imago_image_info_parent_class)->finalize (object);
}

static void
imago_image_info_class_init (ImagoImageInfoClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_image_info_get_property;
  object_class->finalize = imago_image_info_finalize;

  /**
   * ImagoImageInfo:filename: (type filename)
   *
   * The name of the storage that holds the image: for a file its path.
   *
   * Since: 1.0
   */
  properties[PROP_FILENAME] =
    g_param_spec_string ("filename", "Filename", "The name of the file", NULL, flags);

  /**
   * ImagoImageInfo:format-name:
   *
   * The name of the format of the image, as in imago_format_lookup().
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] =
    g_param_spec_string ("format-name", "Format name", "The format of the image", NULL, flags);

  /**
   * ImagoImageInfo:virtual-size:
   *
   * The size of the disk that the image holds, in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_VIRTUAL_SIZE] = g_param_spec_uint64 (
    "virtual-size", "Virtual size", "The size of the disk in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoImageInfo:actual-size:
   *
   * What the file takes up on the host, in bytes; 0 if the storage cannot tell.
   *
   * Since: 1.0
   */
  properties[PROP_ACTUAL_SIZE] =
    g_param_spec_uint64 ("actual-size", "Actual size",
                         "What the file takes up on the host, in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoImageInfo:cluster-size:
   *
   * The unit in which the image allocates space, in bytes; 0 if the format has none.
   *
   * Since: 1.0
   */
  properties[PROP_CLUSTER_SIZE] = g_param_spec_uint64 (
    "cluster-size", "Cluster size", "The size of a cluster in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoImageInfo:backing-filename: (type filename)
   *
   * The name of the backing file as it stands in the image.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_FILENAME] = g_param_spec_string (
    "backing-filename", "Backing filename", "The backing file as the image names it", NULL, flags);

  /**
   * ImagoImageInfo:full-backing-filename: (type filename)
   *
   * The name of the backing file as it is found from the name of the image: a relative one with the
   * directory of the image before it.
   *
   * Since: 1.0
   */
  properties[PROP_FULL_BACKING_FILENAME] =
    g_param_spec_string ("full-backing-filename", "Full backing filename",
                         "The backing file with its directory", NULL, flags);

  /**
   * ImagoImageInfo:backing-format-name:
   *
   * The format of the backing file as the image declares it.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_FORMAT_NAME] =
    g_param_spec_string ("backing-format-name", "Backing format name",
                         "The format of the backing file as the image declares it", NULL, flags);

  /**
   * ImagoImageInfo:compat:
   *
   * The compatibility level of a qcow2 image: `0.10` for version 2, `1.1` for version 3.
   *
   * Since: 1.0
   */
  properties[PROP_COMPAT] =
    g_param_spec_string ("compat", "Compat", "The version of a qcow2 image", NULL, flags);

  /**
   * ImagoImageInfo:compression-type:
   *
   * How compressed clusters are compressed: `zlib` or `zstd`.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESSION_TYPE] = g_param_spec_string (
    "compression-type", "Compression type", "How compressed clusters are compressed", NULL, flags);

  /**
   * ImagoImageInfo:encryption-info:
   *
   * How the image is encrypted; %NULL if it is not. Only an image that was opened with
   * #ImagoOpenOptions:metadata-only can be encrypted.
   *
   * Since: 1.0
   */
  properties[PROP_ENCRYPTION_INFO] =
    g_param_spec_object ("encryption-info", "Encryption info", "How the image is encrypted",
                         IMAGO_TYPE_ENCRYPTION_INFO, flags);

  /**
   * ImagoImageInfo:refcount-bits:
   *
   * The width of a reference count in a qcow2 image, in bits; 0 for other formats.
   *
   * Since: 1.0
   */
  properties[PROP_REFCOUNT_BITS] =
    g_param_spec_uint ("refcount-bits", "Refcount bits", "The width of a reference count in bits",
                       0, G_MAXUINT, 0, flags);

  /**
   * ImagoImageInfo:dirty:
   *
   * Whether the image was not closed cleanly, so that its reference counts may be wrong.
   *
   * Since: 1.0
   */
  properties[PROP_DIRTY] = g_param_spec_boolean (
    "dirty", "Dirty", "Whether the image was not closed cleanly", FALSE, flags);

  /**
   * ImagoImageInfo:corrupt:
   *
   * Whether a program that used the image found it damaged and marked it so.
   *
   * Since: 1.0
   */
  properties[PROP_CORRUPT] = g_param_spec_boolean (
    "corrupt", "Corrupt", "Whether the image is marked as corrupt", FALSE, flags);

  /**
   * ImagoImageInfo:lazy-refcounts:
   *
   * Whether writers may keep reference counts in memory until the image is closed.
   *
   * Since: 1.0
   */
  properties[PROP_LAZY_REFCOUNTS] = g_param_spec_boolean (
    "lazy-refcounts", "Lazy refcounts", "Whether reference counts are written late", FALSE, flags);

  /**
   * ImagoImageInfo:extended-l2:
   *
   * Whether clusters are divided into subclusters that are allocated one by one.
   *
   * Since: 1.0
   */
  properties[PROP_EXTENDED_L2] = g_param_spec_boolean (
    "extended-l2", "Extended l2", "Whether clusters are divided", FALSE, flags);

  /**
   * ImagoImageInfo:data-file: (type filename)
   *
   * The name of the external data file as it stands in the image.
   *
   * Since: 1.0
   */
  properties[PROP_DATA_FILE] = g_param_spec_string (
    "data-file", "Data file", "The external data file as the image names it", NULL, flags);

  /**
   * ImagoImageInfo:data-file-raw:
   *
   * Whether the external data file alone is a raw image of the disk.
   *
   * Since: 1.0
   */
  properties[PROP_DATA_FILE_RAW] =
    g_param_spec_boolean ("data-file-raw", "Data file raw",
                          "Whether the external data file is a raw image", FALSE, flags);

  /**
   * ImagoImageInfo:snapshots:
   *
   * The internal snapshots: a list of #ImagoSnapshot.
   *
   * Since: 1.0
   */
  properties[PROP_SNAPSHOTS] = g_param_spec_object (
    "snapshots", "Snapshots", "The internal snapshots", G_TYPE_LIST_MODEL, flags);

  /**
   * ImagoImageInfo:bitmaps:
   *
   * The persistent dirty bitmaps: a list of #ImagoBitmap.
   *
   * Since: 1.0
   */
  properties[PROP_BITMAPS] = g_param_spec_object (
    "bitmaps", "Bitmaps", "The persistent dirty bitmaps", G_TYPE_LIST_MODEL, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_image_info_init (ImagoImageInfo *self)
{
}

static char *
dup_valid (const char *text)
{
  return text != NULL ? g_utf8_make_valid (text, -1) : NULL;
}

/* "nbd:…", "json:…": QEMU takes such a name for complete. */
static gboolean
has_protocol (const char *name)
{
  const char *stop = strpbrk (name, ":/");

  return stop != NULL && *stop == ':';
}

static void
fill_reference (ImagoImageInfo *self, const ImgWanted *wanted)
{
  if (wanted->role == IMG_REFERENCE_DATA_FILE)
    {
      g_free (self->data_file);
      self->data_file = g_strdup (wanted->name);
      return;
    }
  g_free (self->backing_filename);
  g_free (self->full_backing_filename);
  g_free (self->backing_format_name);
  self->backing_filename = g_strdup (wanted->name);
  self->backing_format_name = dup_valid (wanted->format_name);
  self->full_backing_filename = img_wanted_resolve (wanted, self->filename);
  if (self->full_backing_filename == NULL && has_protocol (wanted->name))
    self->full_backing_filename = g_strdup (wanted->name);
}

static gboolean
fill_description (ImagoImageInfo *self, ImgLayout *layout, ImgError **error)
{
  ImgDescription description = { 0 };

  if (layout->klass->describe != NULL && !layout->klass->describe (layout, &description, error))
    {
      img_description_clear (&description);
      return FALSE;
    }
  self->cluster_size = description.cluster_size;
  self->compat = g_strdup (description.compat);
  self->compression_type = g_strdup (description.compression_type);
  if (description.encryption != NULL)
    self->encryption_info = imago_encryption_info_new (description.encryption, description.luks);
  self->refcount_bits = description.refcount_bits;
  self->dirty = description.is_dirty;
  self->corrupt = description.is_corrupt;
  self->lazy_refcounts = description.has_lazy_refcounts;
  self->extended_l2 = description.has_extended_l2;
  self->data_file_raw = description.has_raw_data_file;
  self->bitmaps = imago_bitmap_list_from_core (description.bitmaps);
  img_description_clear (&description);
  return TRUE;
}

static gboolean
fill_snapshots (ImagoImageInfo *self, ImgLayout *layout, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (GPtrArray) infos = NULL;

  if (layout->klass->list_snapshots != NULL)
    {
      infos = layout->klass->list_snapshots (layout, cancel, error);
      if (infos == NULL)
        return FALSE;
    }
  self->snapshots = imago_snapshot_list_from_core (infos);
  return TRUE;
}

static gboolean
fill_usage (ImagoImageInfo *self, ImgStorage *storage, ImgError **error)
{
  ImgError *usage_error = NULL;

  if (img_storage_get_usage (storage, &self->actual_size, &usage_error))
    return TRUE;
  self->actual_size = 0;
  if (usage_error == NULL)
    return TRUE;
  img_error_propagate (error, usage_error);
  return FALSE;
}

ImagoImageInfo *
imago_image_info_new_from_core (ImgImage *image, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImagoImageInfo) self = g_object_new (IMAGO_TYPE_IMAGE_INFO, NULL);
  ImgStorage *storage = img_image_get_storage (image);
  ImgLayout *layout = img_image_get_layout (image);

  self->filename = g_strdup (img_storage_get_name (storage));
  self->format_name = g_strdup (layout->driver->name);
  self->virtual_size = layout->size;
  for (guint i = 0; i < layout->wanted->len; i++)
    fill_reference (self, g_ptr_array_index (layout->wanted, i));
  if (!fill_usage (self, storage, error) || !fill_description (self, layout, error) ||
      !fill_snapshots (self, layout, cancel, error))
    return NULL;
  return g_steal_pointer (&self);
}

/**
 * imago_image_info_get_filename:
 * @self: an #ImagoImageInfo
 *
 * Gets the name of the storage that holds the image: for a file its path.
 *
 * Returns: (type filename) (transfer none) (nullable): the name, or %NULL if the storage has none
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_filename (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->filename;
}

/**
 * imago_image_info_get_format_name:
 * @self: an #ImagoImageInfo
 *
 * Gets the name of the format of the image.
 *
 * Returns: (transfer none): the name, as in imago_format_lookup()
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_format_name (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->format_name;
}

/**
 * imago_image_info_get_virtual_size:
 * @self: an #ImagoImageInfo
 *
 * Gets the size of the disk that the image holds.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
guint64
imago_image_info_get_virtual_size (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), 0);

  return self->virtual_size;
}

/**
 * imago_image_info_get_actual_size:
 * @self: an #ImagoImageInfo
 *
 * Gets what the file takes up on the host, holes not counted.
 *
 * Returns: the size in bytes, 0 if the storage cannot tell
 *
 * Since: 1.0
 */
guint64
imago_image_info_get_actual_size (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), 0);

  return self->actual_size;
}

/**
 * imago_image_info_get_cluster_size:
 * @self: an #ImagoImageInfo
 *
 * Gets the unit in which the image allocates space.
 *
 * Returns: the size in bytes, 0 if the format has none
 *
 * Since: 1.0
 */
guint64
imago_image_info_get_cluster_size (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), 0);

  return self->cluster_size;
}

/**
 * imago_image_info_get_backing_filename:
 * @self: an #ImagoImageInfo
 *
 * Gets the name of the backing file as it stands in the image.
 *
 * Returns: (type filename) (transfer none) (nullable): the name, or %NULL if the image has no
 *   backing file
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_backing_filename (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->backing_filename;
}

/**
 * imago_image_info_get_full_backing_filename:
 * @self: an #ImagoImageInfo
 *
 * Gets the name of the backing file as it is found from the name of the image: a relative one with
 * the directory of the image before it. The file has not been looked at.
 *
 * Returns: (type filename) (transfer none) (nullable): the name, or %NULL if there is no backing
 *   file, or its name is relative to an image without a name
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_full_backing_filename (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->full_backing_filename;
}

/**
 * imago_image_info_get_backing_format_name:
 * @self: an #ImagoImageInfo
 *
 * Gets the format of the backing file as the image declares it.
 *
 * Returns: (transfer none) (nullable): the name of the format, or %NULL if the image does not say
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_backing_format_name (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->backing_format_name;
}

/**
 * imago_image_info_get_compat:
 * @self: an #ImagoImageInfo
 *
 * Gets the compatibility level of a qcow2 image.
 *
 * Returns: (transfer none) (nullable): `0.10` for version 2, `1.1` for version 3, %NULL for other
 *   formats
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_compat (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->compat;
}

/**
 * imago_image_info_get_compression_type:
 * @self: an #ImagoImageInfo
 *
 * Gets how compressed clusters of the image are compressed, whether there are any or not.
 *
 * Returns: (transfer none) (nullable): `zlib`, `zstd`, or %NULL for formats without
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_compression_type (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->compression_type;
}

/**
 * imago_image_info_get_encryption_info:
 * @self: an #ImagoImageInfo
 *
 * Gets how the image is encrypted. Only an image that was opened with #ImagoOpenOptions:metadata-only can be
 * encrypted.
 *
 * Returns: (transfer none) (nullable): what is known of that without a key, or %NULL if the image is not encrypted
 *
 * Since: 1.0
 */
ImagoEncryptionInfo *
imago_image_info_get_encryption_info (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->encryption_info;
}

/**
 * imago_image_info_get_refcount_bits:
 * @self: an #ImagoImageInfo
 *
 * Gets the width of a reference count in a qcow2 image.
 *
 * Returns: the width in bits, 0 for other formats
 *
 * Since: 1.0
 */
guint
imago_image_info_get_refcount_bits (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), 0);

  return self->refcount_bits;
}

/**
 * imago_image_info_get_dirty:
 * @self: an #ImagoImageInfo
 *
 * Gets whether the image was not closed cleanly, so that its reference counts may be wrong. Its
 * data can be read.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_image_info_get_dirty (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), FALSE);

  return self->dirty;
}

/**
 * imago_image_info_get_corrupt:
 * @self: an #ImagoImageInfo
 *
 * Gets whether a program that used the image found it damaged and marked it so.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_image_info_get_corrupt (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), FALSE);

  return self->corrupt;
}

/**
 * imago_image_info_get_lazy_refcounts:
 * @self: an #ImagoImageInfo
 *
 * Gets whether writers may keep reference counts in memory until the image is closed.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_image_info_get_lazy_refcounts (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), FALSE);

  return self->lazy_refcounts;
}

/**
 * imago_image_info_get_extended_l2:
 * @self: an #ImagoImageInfo
 *
 * Gets whether clusters are divided into subclusters that are allocated one by one.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_image_info_get_extended_l2 (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), FALSE);

  return self->extended_l2;
}

/**
 * imago_image_info_get_data_file:
 * @self: an #ImagoImageInfo
 *
 * Gets the name of the external data file as it stands in the image.
 *
 * Returns: (type filename) (transfer none) (nullable): the name, or %NULL if guest data is in the
 *   image itself
 *
 * Since: 1.0
 */
const char *
imago_image_info_get_data_file (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->data_file;
}

/**
 * imago_image_info_get_data_file_raw:
 * @self: an #ImagoImageInfo
 *
 * Gets whether the external data file alone is a raw image of the disk.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_image_info_get_data_file_raw (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), FALSE);

  return self->data_file_raw;
}

/**
 * imago_image_info_get_snapshots:
 * @self: an #ImagoImageInfo
 *
 * Gets the internal snapshots in the order of the snapshot table.
 *
 * Returns: (transfer none): a list of #ImagoSnapshot, which belongs to @self
 *
 * Since: 1.0
 */
GListModel *
imago_image_info_get_snapshots (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->snapshots;
}

/**
 * imago_image_info_get_bitmaps:
 * @self: an #ImagoImageInfo
 *
 * Gets the persistent dirty bitmaps that the image holds.
 *
 * Returns: (transfer none): a list of #ImagoBitmap, which belongs to @self
 *
 * Since: 1.0
 */
GListModel *
imago_image_info_get_bitmaps (ImagoImageInfo *self)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE_INFO (self), NULL);

  return self->bitmaps;
}
