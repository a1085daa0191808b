/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-create-options-private.h"
#include "imago-enum-types.h"
#include "imago-file-storage-private.h"
#include "imago-image-private.h"
#include "imago-reference-policy-private.h"
#include "imago-storage-private.h"

#define DEFAULT_FORMAT "raw"
/* As much as QEMU asks for. */
#define DEFAULT_EXTENT_SIZE_HINT (1 << 20)

/**
 * SECTION:imago-create-options
 * @title: ImagoCreateOptions
 * @short_description: What a new image shall be like
 *
 * What imago_image_create() and imago_image_create_storage() may be told. Every property is optional, and %NULL instead of an object
 * stands for the defaults. An option that the format does not have, or that does not go with
 * another one, makes the call fail with %IMAGO_ERROR_INVALID_OPTION.
 *
 * There are no setters: name what you want when you make one, in C with g_object_new(). Sizes are #guint64 there.
 *
 * |[<!-- language="C" -->
 * options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS,
 *                         "format-name", "qcow2",
 *                         "size", (guint64) 20 << 30,
 *                         NULL);
 * ]|
 *
 * Use it from one thread at a time. A call copies the options before it returns to the caller, so
 * they may be changed and used again at once.
 */

/**
 * ImagoCreateOptions:
 *
 * What a new image shall be like.
 *
 * Since: 1.0
 */
struct _ImagoCreateOptions
{
  GObject parent_instance;

  char *format_name;
  guint64 size;
  gboolean has_size;
  gboolean overwrite;
  gboolean allow_device;
  ImagoPreallocation preallocation;
  gboolean no_copy_on_write;
  guint64 extent_size_hint;
  guint version;
  guint64 cluster_size;
  guint refcount_bits;
  ImagoCompressionType compression_type;
  gboolean extended_l2;
  gboolean lazy_refcounts;
  GFile *backing_file;
  ImagoImage *backing_image;
  char *backing_name;
  char *backing_format;
  gboolean check_backing;
  ImagoReferencePolicy *reference_policy;
  GFile *data_file;
  ImagoStorage *data_storage;
  char *data_file_name;
  gboolean raw_data_file;
};

G_DEFINE_FINAL_TYPE (ImagoCreateOptions, imago_create_options, G_TYPE_OBJECT)

enum
{
  PROP_FORMAT_NAME = 1,
  PROP_SIZE,
  PROP_OVERWRITE,
  PROP_ALLOW_DEVICE,
  PROP_PREALLOCATION,
  PROP_NO_COPY_ON_WRITE,
  PROP_EXTENT_SIZE_HINT,
  PROP_VERSION,
  PROP_CLUSTER_SIZE,
  PROP_REFCOUNT_BITS,
  PROP_COMPRESSION_TYPE,
  PROP_EXTENDED_L2,
  PROP_LAZY_REFCOUNTS,
  PROP_BACKING_FILE,
  PROP_BACKING_IMAGE,
  PROP_BACKING_NAME,
  PROP_BACKING_FORMAT,
  PROP_CHECK_BACKING,
  PROP_REFERENCE_POLICY,
  PROP_DATA_FILE,
  PROP_DATA_STORAGE,
  PROP_DATA_FILE_NAME,
  PROP_RAW_DATA_FILE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
get_backing_property (ImagoCreateOptions *self, guint property_id, GValue *value, GParamSpec *pspec)
{
  switch (property_id)
    {
    case PROP_BACKING_FILE:
      g_value_set_object (value, self->backing_file);
      break;
    case PROP_BACKING_IMAGE:
      g_value_set_object (value, self->backing_image);
      break;
    case PROP_BACKING_NAME:
      g_value_set_string (value, self->backing_name);
      break;
    case PROP_BACKING_FORMAT:
      g_value_set_string (value, self->backing_format);
      break;
    case PROP_CHECK_BACKING:
      g_value_set_boolean (value, self->check_backing);
      break;
    case PROP_REFERENCE_POLICY:
      g_value_set_object (value, self->reference_policy);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (self, property_id, pspec);
    }
}

static void
get_qcow2_property (ImagoCreateOptions *self, guint property_id, GValue *value, GParamSpec *pspec)
{
  switch (property_id)
    {
    case PROP_VERSION:
      g_value_set_uint (value, self->version);
      break;
    case PROP_CLUSTER_SIZE:
      g_value_set_uint64 (value, self->cluster_size);
      break;
    case PROP_REFCOUNT_BITS:
      g_value_set_uint (value, self->refcount_bits);
      break;
    case PROP_COMPRESSION_TYPE:
      g_value_set_enum (value, (int) self->compression_type);
      break;
    case PROP_EXTENDED_L2:
      g_value_set_boolean (value, self->extended_l2);
      break;
    case PROP_LAZY_REFCOUNTS:
      g_value_set_boolean (value, self->lazy_refcounts);
      break;
    case PROP_DATA_FILE:
      g_value_set_object (value, self->data_file);
      break;
    case PROP_DATA_STORAGE:
      g_value_set_object (value, self->data_storage);
      break;
    case PROP_DATA_FILE_NAME:
      g_value_set_string (value, self->data_file_name);
      break;
    case PROP_RAW_DATA_FILE:
      g_value_set_boolean (value, self->raw_data_file);
      break;
    default:
      get_backing_property (self, property_id, value, pspec);
    }
}

static void
imago_create_options_get_property (GObject *object,
                                   guint property_id,
                                   GValue *value,
                                   GParamSpec *pspec)
{
  ImagoCreateOptions *self = IMAGO_CREATE_OPTIONS (object);

  switch (property_id)
    {
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_SIZE:
      g_value_set_uint64 (value, self->size);
      break;
    case PROP_OVERWRITE:
      g_value_set_boolean (value, self->overwrite);
      break;
    case PROP_ALLOW_DEVICE:
      g_value_set_boolean (value, self->allow_device);
      break;
    case PROP_PREALLOCATION:
      g_value_set_enum (value, (int) self->preallocation);
      break;
    case PROP_NO_COPY_ON_WRITE:
      g_value_set_boolean (value, self->no_copy_on_write);
      break;
    case PROP_EXTENT_SIZE_HINT:
      g_value_set_uint64 (value, self->extent_size_hint);
      break;
    default:
      get_qcow2_property (self, property_id, value, pspec);
    }
}

/* The hook of a policy runs where the options were set. */
static void
set_reference_policy (ImagoCreateOptions *self, ImagoReferencePolicy *policy)
{
  if (policy != NULL)
    imago_reference_policy_settle (policy);
  g_set_object (&self->reference_policy, policy);
}

static void
set_backing_property (ImagoCreateOptions *self,
                      guint property_id,
                      const GValue *value,
                      GParamSpec *pspec)
{
  switch (property_id)
    {
    case PROP_BACKING_FILE:
      g_set_object (&self->backing_file, g_value_get_object (value));
      break;
    case PROP_BACKING_IMAGE:
      g_set_object (&self->backing_image, g_value_get_object (value));
      break;
    case PROP_BACKING_NAME:
      g_free (self->backing_name);
      self->backing_name = g_value_dup_string (value);
      break;
    case PROP_BACKING_FORMAT:
      g_free (self->backing_format);
      self->backing_format = g_value_dup_string (value);
      break;
    case PROP_CHECK_BACKING:
      self->check_backing = g_value_get_boolean (value);
      break;
    case PROP_REFERENCE_POLICY:
      set_reference_policy (self, g_value_get_object (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (self, property_id, pspec);
    }
}

static void
set_qcow2_property (ImagoCreateOptions *self,
                    guint property_id,
                    const GValue *value,
                    GParamSpec *pspec)
{
  switch (property_id)
    {
    case PROP_VERSION:
      self->version = g_value_get_uint (value);
      break;
    case PROP_CLUSTER_SIZE:
      self->cluster_size = g_value_get_uint64 (value);
      break;
    case PROP_REFCOUNT_BITS:
      self->refcount_bits = g_value_get_uint (value);
      break;
    case PROP_COMPRESSION_TYPE:
      self->compression_type = g_value_get_enum (value);
      break;
    case PROP_EXTENDED_L2:
      self->extended_l2 = g_value_get_boolean (value);
      break;
    case PROP_LAZY_REFCOUNTS:
      self->lazy_refcounts = g_value_get_boolean (value);
      break;
    case PROP_DATA_FILE:
      g_set_object (&self->data_file, g_value_get_object (value));
      break;
    case PROP_DATA_STORAGE:
      g_set_object (&self->data_storage, g_value_get_object (value));
      break;
    case PROP_DATA_FILE_NAME:
      g_free (self->data_file_name);
      self->data_file_name = g_value_dup_string (value);
      break;
    case PROP_RAW_DATA_FILE:
      self->raw_data_file = g_value_get_boolean (value);
      break;
    default:
      set_backing_property (self, property_id, value, pspec);
    }
}

static void
imago_create_options_set_property (GObject *object,
                                   guint property_id,
                                   const GValue *value,
                                   GParamSpec *pspec)
{
  ImagoCreateOptions *self = IMAGO_CREATE_OPTIONS (object);

  switch (property_id)
    {
    case PROP_FORMAT_NAME:
      g_free (self->format_name);
      self->format_name = g_value_dup_string (value);
      break;
    case PROP_SIZE:
      self->size = g_value_get_uint64 (value);
      self->has_size = TRUE;
      break;
    case PROP_OVERWRITE:
      self->overwrite = g_value_get_boolean (value);
      break;
    case PROP_ALLOW_DEVICE:
      self->allow_device = g_value_get_boolean (value);
      break;
    case PROP_PREALLOCATION:
      self->preallocation = g_value_get_enum (value);
      break;
    case PROP_NO_COPY_ON_WRITE:
      self->no_copy_on_write = g_value_get_boolean (value);
      break;
    case PROP_EXTENT_SIZE_HINT:
      self->extent_size_hint = g_value_get_uint64 (value);
      break;
    default:
      set_qcow2_property (self, property_id, value, pspec);
    }
}

static void
imago_create_options_finalize (GObject *object)
{
  ImagoCreateOptions *self = IMAGO_CREATE_OPTIONS (object);

  g_free (self->format_name);
  g_free (self->backing_name);
  g_free (self->backing_format);
  g_free (self->data_file_name);
  g_clear_object (&self->backing_file);
  g_clear_object (&self->backing_image);
  g_clear_object (&self->reference_policy);
  g_clear_object (&self->data_file);
  g_clear_object (&self->data_storage);
  G_OBJECT_CLASS (imago_create_options_parent_class)->finalize (object);
}

static void
make_general_properties (void)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoCreateOptions:format-name:
   *
   * The format of the new image, as in imago_format_lookup(). %NULL stands for raw.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] = g_param_spec_string (
    "format-name", "Format name", "The format of the image", NULL, flags);

  /**
   * ImagoCreateOptions:size:
   *
   * The size of the disk, in bytes; it is rounded up to a multiple of 512. If it is never set, the disk
   * becomes as large as its backing image.
   *
   * Since: 1.0
   */
  properties[PROP_SIZE] = g_param_spec_uint64 (
    "size", "Size", "The size of the disk in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCreateOptions:overwrite:
   *
   * Whether a file that exists already may be replaced, or a storage that is not empty be written over. Without
   * it %G_IO_ERROR_EXISTS is the answer.
   *
   * Since: 1.0
   */
  properties[PROP_OVERWRITE] = g_param_spec_boolean (
    "overwrite", "Overwrite", "Whether an existing file may be replaced", FALSE, flags);

  /**
   * ImagoCreateOptions:allow-device:
   *
   * Whether the file may be a block device, which is written in place; needs
   * #ImagoCreateOptions:overwrite.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOW_DEVICE] = g_param_spec_boolean (
    "allow-device", "Allow device", "Whether the file may be a block device", FALSE, flags);

  /**
   * ImagoCreateOptions:preallocation:
   *
   * What is prepared for the data to come.
   *
   * Since: 1.0
   */
  properties[PROP_PREALLOCATION] = g_param_spec_enum (
    "preallocation", "Preallocation", "What is prepared for the data to come",
    IMAGO_TYPE_PREALLOCATION, IMAGO_PREALLOCATION_NONE, flags);

  /**
   * ImagoCreateOptions:no-copy-on-write:
   *
   * Whether the file system shall write in place what it otherwise would copy on write. A file system
   * that does not know of that ignores it.
   *
   * Since: 1.0
   */
  properties[PROP_NO_COPY_ON_WRITE] = g_param_spec_boolean (
    "no-copy-on-write", "No copy on write", "Whether the file system shall not copy on write",
    FALSE, flags);

  /**
   * ImagoCreateOptions:extent-size-hint:
   *
   * By how much the file system shall let the file grow at once, in bytes; 0 for its own choice. A file
   * system that takes no such hint ignores it.
   *
   * Since: 1.0
   */
  properties[PROP_EXTENT_SIZE_HINT] = g_param_spec_uint64 (
    "extent-size-hint", "Extent size hint", "By how much the file shall grow at once in bytes",
    0, G_MAXUINT64, DEFAULT_EXTENT_SIZE_HINT, flags);
}

static void
make_qcow2_properties (void)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoCreateOptions:version:
   *
   * For qcow2: the version of the format, 2 or 3; 0 for 3. QEMU calls them 0.10 and 1.1.
   *
   * Since: 1.0
   */
  properties[PROP_VERSION] = g_param_spec_uint (
    "version", "Version", "The version of the qcow2 format", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoCreateOptions:cluster-size:
   *
   * For qcow2: the size of a cluster in bytes, a power of two from 512 to 2 MiB; 0 for 64 KiB.
   *
   * Since: 1.0
   */
  properties[PROP_CLUSTER_SIZE] = g_param_spec_uint64 (
    "cluster-size", "Cluster size", "The size of a cluster in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoCreateOptions:refcount-bits:
   *
   * For qcow2: the width of a refcount in bits, a power of two up to 64; 0 for 16.
   *
   * Since: 1.0
   */
  properties[PROP_REFCOUNT_BITS] = g_param_spec_uint (
    "refcount-bits", "Refcount bits", "The width of a refcount", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoCreateOptions:compression-type:
   *
   * For qcow2: how clusters are compressed, if they are.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESSION_TYPE] = g_param_spec_enum (
    "compression-type", "Compression type", "How clusters are compressed",
    IMAGO_TYPE_COMPRESSION_TYPE, IMAGO_COMPRESSION_TYPE_NONE, flags);

  /**
   * ImagoCreateOptions:extended-l2:
   *
   * For qcow2: whether clusters are divided into subclusters, which are allocated one by one.
   *
   * Since: 1.0
   */
  properties[PROP_EXTENDED_L2] = g_param_spec_boolean (
    "extended-l2", "Extended l2", "Whether clusters have subclusters", FALSE, flags);

  /**
   * ImagoCreateOptions:lazy-refcounts:
   *
   * For qcow2: whether refcounts may be behind while the image is in use.
   *
   * Since: 1.0
   */
  properties[PROP_LAZY_REFCOUNTS] = g_param_spec_boolean (
    "lazy-refcounts", "Lazy refcounts", "Whether refcounts may be behind", FALSE, flags);

  /**
   * ImagoCreateOptions:data-file:
   *
   * For qcow2: a file that is created too and holds the data of the disk.
   *
   * Since: 1.0
   */
  properties[PROP_DATA_FILE] = g_param_spec_object (
    "data-file", "Data file", "The external data file", G_TYPE_FILE, flags);

  /**
   * ImagoCreateOptions:data-storage:
   *
   * For qcow2: a storage that holds the data of the disk, instead of a file that is created. It is written in
   * place. Whoever opens the image later on must be told where the data file is, by a reference policy.
   *
   * Since: 1.0
   */
  properties[PROP_DATA_STORAGE] = g_param_spec_object (
    "data-storage", "Data storage", "The external data file as a storage", IMAGO_TYPE_STORAGE, flags);

  /**
   * ImagoCreateOptions:data-file-name:
   *
   * For qcow2: how the data file is called in the new image. Without it, it is recorded as
   * #ImagoCreateOptions:backing-file is; a storage without a path must be given a name.
   *
   * Since: 1.0
   */
  properties[PROP_DATA_FILE_NAME] = g_param_spec_string (
    "data-file-name", "Data file name", "How the data file is called in the image", NULL, flags);

  /**
   * ImagoCreateOptions:raw-data-file:
   *
   * For qcow2: whether the data file is a raw image of the disk at any time; needs
   * #ImagoCreateOptions:data-file or #ImagoCreateOptions:data-storage.
   *
   * Since: 1.0
   */
  properties[PROP_RAW_DATA_FILE] = g_param_spec_boolean (
    "raw-data-file", "Raw data file", "Whether the data file is a raw image", FALSE, flags);
}

static void
make_backing_properties (void)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoCreateOptions:backing-file:
   *
   * The file of the image that shall show through where the new one has no data. It is recorded relative
   * to the new image if both lie in the same folder, unless #ImagoCreateOptions:backing-name says how.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_FILE] = g_param_spec_object (
    "backing-file", "Backing file", "The file of the backing image", G_TYPE_FILE, flags);

  /**
   * ImagoCreateOptions:backing-image:
   *
   * The image that shall show through where the new one has no data, instead of a file. Its references must be
   * open. The new image is opened upon it; who opens it later on finds the name that
   * #ImagoCreateOptions:backing-name says, which must be given if the image does not lie in a file.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_IMAGE] = g_param_spec_object (
    "backing-image", "Backing image", "The image that shows through", IMAGO_TYPE_IMAGE, flags);

  /**
   * ImagoCreateOptions:backing-name:
   *
   * How the backing file is called in the new image. Without #ImagoCreateOptions:backing-file it is looked
   * for where that name leads to. An absolute name in the folder of the new image becomes relative.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_NAME] = g_param_spec_string (
    "backing-name", "Backing name", "How the backing file is called in the image", NULL, flags);

  /**
   * ImagoCreateOptions:backing-format:
   *
   * The format of the backing image; it must be given, unless #ImagoCreateOptions:backing-image knows it.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_FORMAT] = g_param_spec_string (
    "backing-format", "Backing format", "The format of the backing image", NULL, flags);

  /**
   * ImagoCreateOptions:check-backing:
   *
   * Whether the backing image is opened to see that it is there and that it does not refer to the new
   * one. Without that #ImagoCreateOptions:size must be set, and the files that the new image refers to
   * are left to imago_image_open_references(). Has no effect on #ImagoCreateOptions:backing-image.
   *
   * Since: 1.0
   */
  properties[PROP_CHECK_BACKING] = g_param_spec_boolean (
    "check-backing", "Check backing", "Whether the backing image is opened", TRUE, flags);

  /**
   * ImagoCreateOptions:reference-policy:
   *
   * Which of the files that the backing image itself names may be opened. %NULL denies all.
   *
   * Since: 1.0
   */
  properties[PROP_REFERENCE_POLICY] = g_param_spec_object (
    "reference-policy", "Reference policy", "Which files the backing image may use",
    IMAGO_TYPE_REFERENCE_POLICY, flags);
}

static void
imago_create_options_class_init (ImagoCreateOptionsClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = imago_create_options_get_property;
  object_class->set_property = imago_create_options_set_property;
  object_class->finalize = imago_create_options_finalize;
  make_general_properties ();
  make_qcow2_properties ();
  make_backing_properties ();
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_create_options_init (ImagoCreateOptions *self)
{
  self->check_backing = TRUE;
  self->extent_size_hint = DEFAULT_EXTENT_SIZE_HINT;
}

/**
 * imago_create_options_new:
 *
 * Makes options that say nothing yet.
 *
 * Returns: (transfer full): the options
 *
 * Since: 1.0
 */
ImagoCreateOptions *
imago_create_options_new (void)
{
  return g_object_new (IMAGO_TYPE_CREATE_OPTIONS, NULL);
}

/* ---- for the library ---- */

void
imago_creation_free (gpointer data)
{
  ImagoCreation *creation = data;

  img_policy_unref (creation->creation.policy);
  img_storage_unref (creation->creation.storage);
  img_storage_unref (creation->creation.data_storage);
  img_image_unref (creation->creation.backing_image);
  g_free (creation->path);
  g_free (creation->backing_path);
  g_free (creation->backing_name);
  g_free (creation->backing_format);
  g_free (creation->data_file_path);
  g_free (creation->data_file_name);
  g_free (creation);
}

static ImgCreateOptions
to_format_options (ImagoCreateOptions *self)
{
  static const ImgPreallocate preallocations[] = {
    [IMAGO_PREALLOCATION_NONE] = IMG_PREALLOCATE_OFF,
    [IMAGO_PREALLOCATION_METADATA] = IMG_PREALLOCATE_METADATA,
    [IMAGO_PREALLOCATION_FALLOC] = IMG_PREALLOCATE_FALLOC,
    [IMAGO_PREALLOCATION_FULL] = IMG_PREALLOCATE_FULL,
  };
  static const ImgCompression compressions[] = {
    [IMAGO_COMPRESSION_TYPE_NONE] = IMG_COMPRESSION_DEFAULT,
    [IMAGO_COMPRESSION_TYPE_ZLIB] = IMG_COMPRESSION_ZLIB,
    [IMAGO_COMPRESSION_TYPE_ZSTD] = IMG_COMPRESSION_ZSTD,
  };

  return (ImgCreateOptions) {
    .size = self->size,
    .preallocate = preallocations[self->preallocation],
    .raw_data_file = self->raw_data_file,
    .version = self->version,
    .cluster_size = self->cluster_size,
    .refcount_bits = self->refcount_bits,
    .compression = compressions[self->compression_type],
    .extended_l2 = self->extended_l2,
    .lazy_refcounts = self->lazy_refcounts,
  };
}

/* FALSE only if @file has no path. */
static gboolean
dup_path (GFile *file, char **path, ImgError **error)
{
  if (file == NULL)
    return TRUE;
  *path = imago_file_dup_path (file, error);
  return *path != NULL;
}

static const ImgDriver *
find_driver (const char *name, ImgError **error)
{
  const ImgDriver *driver = img_driver_find (name != NULL ? name : DEFAULT_FORMAT);
  g_autofree char *quoted = NULL;

  if (driver != NULL)
    return driver;
  quoted = img_quote_name (name);
  img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _("The format %s is not known"), quoted);
  return NULL;
}

static void
fill_creation (ImagoCreation *out, ImagoCreateOptions *self)
{
  ImgCreation *creation = &out->creation;

  out->backing_name = g_strdup (self->backing_name);
  out->backing_format = g_strdup (self->backing_format);
  out->data_file_name = g_strdup (self->data_file_name);
  creation->backing_name = out->backing_name;
  creation->data_file_name = out->data_file_name;
  if (self->data_storage != NULL)
    creation->data_storage = imago_storage_dup_core (self->data_storage);
  creation->options = to_format_options (self);
  creation->options.backing_format = out->backing_format;
  creation->has_size = self->has_size;
  creation->overwrite = self->overwrite;
  creation->allow_device = self->allow_device;
  creation->no_copy_on_write = self->no_copy_on_write;
  creation->extent_size_hint = self->extent_size_hint;
  creation->backing_unchecked = !self->check_backing;
  creation->policy = imago_reference_policy_to_core (self->reference_policy);
}

/* FALSE only if the image is closed. */
static gboolean
take_backing_image (ImgCreation *creation, ImagoImage *image, ImgError **error)
{
  ImgEpochTicket ticket;
  ImgImage *core;

  if (image == NULL)
    return TRUE;
  core = imago_image_state_enter (image->state, &ticket);
  if (core == NULL)
    {
      imago_image_set_closed_error (error);
      return FALSE;
    }
  creation->backing_image = img_image_ref (core);
  imago_image_state_leave (image->state, ticket);
  return TRUE;
}

ImagoCreation *
imago_create_options_to_core (ImagoCreateOptions *options,
                              GFile *file,
                              ImagoStorage *storage,
                              ImgError **error)
{
  g_autoptr (ImagoCreateOptions) self =
    options != NULL ? g_object_ref (options) : imago_create_options_new ();
  ImagoCreation *out = g_new0 (ImagoCreation, 1);

  fill_creation (out, self);
  if (storage != NULL)
    out->creation.storage = imago_storage_dup_core (storage);
  out->creation.driver = find_driver (self->format_name, error);
  if (out->creation.driver == NULL || !dup_path (file, &out->path, error) ||
      !dup_path (self->backing_file, &out->backing_path, error) ||
      !dup_path (self->data_file, &out->data_file_path, error) ||
      !take_backing_image (&out->creation, self->backing_image, error))
    {
      imago_creation_free (out);
      return NULL;
    }
  out->creation.path = out->path;
  out->creation.backing_path = out->backing_path;
  out->creation.data_file_path = out->data_file_path;
  return out;
}

ImagoImage *
imago_create_options_get_backing_image (ImagoCreateOptions *self)
{
  return self != NULL ? self->backing_image : NULL;
}
