/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-enum-types.h"
#include "imago-open-options-private.h"
#include "imago-reference-policy-private.h"

/**
 * SECTION:imago-open-options
 * @title: ImagoOpenOptions
 * @short_description: How an image is opened
 *
 * What imago_image_open() and its relatives may be told. Every property is optional, and %NULL
 * instead of an object stands for the defaults.
 *
 * Call it from one thread at a time. An open call copies the options before it returns to the
 * caller, so they may be changed and used again at once.
 */

/**
 * ImagoOpenOptions:
 *
 * How an image is opened.
 *
 * Since: 1.0
 */
struct _ImagoOpenOptions
{
  GObject parent_instance;

  char *format_name;
  char *snapshot;
  ImagoReferencePolicy *reference_policy;
  gboolean writable;
  gboolean defer_references;
  gboolean allow_device;
  gboolean force_share;
  gboolean metadata_only;
  ImagoLocking locking;
  guint64 metadata_cache_size;
  guint64 decoded_cache_size;
  guint max_depth;
  guint max_files;
  guint writable_backing;
};

G_DEFINE_FINAL_TYPE (ImagoOpenOptions, imago_open_options, G_TYPE_OBJECT)

enum
{
  PROP_FORMAT_NAME = 1,
  PROP_SNAPSHOT,
  PROP_WRITABLE,
  PROP_REFERENCE_POLICY,
  PROP_DEFER_REFERENCES,
  PROP_ALLOW_DEVICE,
  PROP_LOCKING,
  PROP_FORCE_SHARE,
  PROP_METADATA_ONLY,
  PROP_METADATA_CACHE_SIZE,
  PROP_DECODED_CACHE_SIZE,
  PROP_MAX_DEPTH,
  PROP_MAX_FILES,
  PROP_WRITABLE_BACKING,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_open_options_get_property (GObject *object,
                                 guint property_id,
                                 GValue *value,
                                 GParamSpec *pspec)
{
  ImagoOpenOptions *self = IMAGO_OPEN_OPTIONS (object);

  switch (property_id)
    {
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_SNAPSHOT:
      g_value_set_string (value, self->snapshot);
      break;
    case PROP_WRITABLE:
      g_value_set_boolean (value, self->writable);
      break;
    case PROP_REFERENCE_POLICY:
      g_value_set_object (value, self->reference_policy);
      break;
    case PROP_DEFER_REFERENCES:
      g_value_set_boolean (value, self->defer_references);
      break;
    case PROP_ALLOW_DEVICE:
      g_value_set_boolean (value, self->allow_device);
      break;
    case PROP_LOCKING:
      g_value_set_enum (value, self->locking);
      break;
    case PROP_FORCE_SHARE:
      g_value_set_boolean (value, self->force_share);
      break;
    case PROP_METADATA_ONLY:
      g_value_set_boolean (value, self->metadata_only);
      break;
    case PROP_METADATA_CACHE_SIZE:
      g_value_set_uint64 (value, self->metadata_cache_size);
      break;
    case PROP_DECODED_CACHE_SIZE:
      g_value_set_uint64 (value, self->decoded_cache_size);
      break;
    case PROP_MAX_DEPTH:
      g_value_set_uint (value, self->max_depth);
      break;
    case PROP_MAX_FILES:
      g_value_set_uint (value, self->max_files);
      break;
    case PROP_WRITABLE_BACKING:
      g_value_set_uint (value, self->writable_backing);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

/* The properties that have no setter of their own. */
static void
set_plain_property (ImagoOpenOptions *self,
                    guint property_id,
                    const GValue *value,
                    GParamSpec *pspec)
{
  switch (property_id)
    {
    case PROP_ALLOW_DEVICE:
      self->allow_device = g_value_get_boolean (value);
      break;
    case PROP_LOCKING:
      self->locking = g_value_get_enum (value);
      break;
    case PROP_FORCE_SHARE:
      self->force_share = g_value_get_boolean (value);
      break;
    case PROP_METADATA_ONLY:
      self->metadata_only = g_value_get_boolean (value);
      break;
    case PROP_METADATA_CACHE_SIZE:
      self->metadata_cache_size = g_value_get_uint64 (value);
      break;
    case PROP_DECODED_CACHE_SIZE:
      self->decoded_cache_size = g_value_get_uint64 (value);
      break;
    case PROP_MAX_DEPTH:
      self->max_depth = g_value_get_uint (value);
      break;
    case PROP_MAX_FILES:
      self->max_files = g_value_get_uint (value);
      break;
    case PROP_WRITABLE_BACKING:
      self->writable_backing = g_value_get_uint (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (self, property_id, pspec);
      return;
    }
  g_object_notify_by_pspec (G_OBJECT (self), pspec);
}

static void
imago_open_options_set_property (GObject *object,
                                 guint property_id,
                                 const GValue *value,
                                 GParamSpec *pspec)
{
  ImagoOpenOptions *self = IMAGO_OPEN_OPTIONS (object);

  switch (property_id)
    {
    case PROP_FORMAT_NAME:
      imago_open_options_set_format_name (self, g_value_get_string (value));
      break;
    case PROP_SNAPSHOT:
      imago_open_options_set_snapshot (self, g_value_get_string (value));
      break;
    case PROP_WRITABLE:
      imago_open_options_set_writable (self, g_value_get_boolean (value));
      break;
    case PROP_REFERENCE_POLICY:
      imago_open_options_set_reference_policy (self, g_value_get_object (value));
      break;
    case PROP_DEFER_REFERENCES:
      imago_open_options_set_defer_references (self, g_value_get_boolean (value));
      break;
    default:
      set_plain_property (self, property_id, value, pspec);
    }
}

static void
imago_open_options_finalize (GObject *object)
{
  ImagoOpenOptions *self = IMAGO_OPEN_OPTIONS (object);

  g_free (self->format_name);
  g_free (self->snapshot);
  g_clear_object (&self->reference_policy);
  G_OBJECT_CLASS (imago_open_options_parent_class)->finalize (object);
}

static void
imago_open_options_class_init (ImagoOpenOptionsClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_open_options_get_property;
  object_class->set_property = imago_open_options_set_property;
  object_class->finalize = imago_open_options_finalize;

  /**
   * ImagoOpenOptions:format-name:
   *
   * The format of the image, as in imago_format_lookup(). %NULL guesses it from the bytes of the
   * file, and an image whose format was guessed follows no reference.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] =
    g_param_spec_string ("format-name", "Format name", "The format of the image", NULL, flags);

  /**
   * ImagoOpenOptions:snapshot:
   *
   * The id or the name of the internal snapshot to open instead of the present disk; an id is
   * looked for first.
   *
   * Since: 1.0
   */
  properties[PROP_SNAPSHOT] =
    g_param_spec_string ("snapshot", "Snapshot", "The id or name of a snapshot", NULL, flags);

  /**
   * ImagoOpenOptions:writable:
   *
   * Whether the disk is to be written. The file of the image is opened for writing then, and so is its
   * external data file as far as the reference policy grants it; backing files never are.
   *
   * The format must be named (#ImagoOpenOptions:format-name): writing to an image as what it only looks
   * like could destroy it.
   *
   * Since: 1.0
   */
  properties[PROP_WRITABLE] = g_param_spec_boolean (
    "writable", "Writable", "Whether the disk is to be written", FALSE, flags);

  /**
   * ImagoOpenOptions:reference-policy:
   *
   * Which of the files that the image names it may use. %NULL denies all: opening an image that
   * names one then fails, unless #ImagoOpenOptions:defer-references is set.
   *
   * Since: 1.0
   */
  properties[PROP_REFERENCE_POLICY] =
    g_param_spec_object ("reference-policy", "Reference policy", "Which files the image may use",
                         IMAGO_TYPE_REFERENCE_POLICY, flags);

  /**
   * ImagoOpenOptions:defer-references:
   *
   * Whether to open the image alone and leave the files that it names to
   * imago_image_open_references(), so that imago_image_set_backing() can be called before.
   *
   * Since: 1.0
   */
  properties[PROP_DEFER_REFERENCES] =
    g_param_spec_boolean ("defer-references", "Defer references",
                          "Whether to leave the files that the image names alone", FALSE, flags);

  /**
   * ImagoOpenOptions:allow-device:
   *
   * Whether the file to open may be a block device. Files that images name never may.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOW_DEVICE] = g_param_spec_boolean (
    "allow-device", "Allow device", "Whether the file may be a block device", FALSE, flags);

  /**
   * ImagoOpenOptions:locking:
   *
   * Whether the files are locked, in the way QEMU does it, so that nobody changes what somebody else uses.
   * The lock is taken before anything is read and kept until imago_image_close(). Several may read an image at
   * a time, also in one process; only a raw image may be read while it is written. Opening fails with
   * %IMAGO_ERROR_LOCKED when somebody else is in the way.
   *
   * Since: 1.0
   */
  properties[PROP_LOCKING] =
    g_param_spec_enum ("locking", "Locking", "Whether the files are locked", IMAGO_TYPE_LOCKING,
                       IMAGO_LOCKING_AUTO, flags);

  /**
   * ImagoOpenOptions:force-share:
   *
   * Whether to open the image though somebody else may be writing to it. What is read then may be
   * inconsistent, and reading it may fail. With #ImagoOpenOptions:writable, opening fails with
   * %IMAGO_ERROR_INVALID_OPTION.
   *
   * Since: 1.0
   */
  properties[PROP_FORCE_SHARE] = g_param_spec_boolean (
    "force-share", "Force share", "Whether somebody else may be writing to the image", FALSE, flags);

  /**
   * ImagoOpenOptions:metadata-only:
   *
   * Whether what the image says of itself is all that is wanted: imago_image_query_info(),
   * imago_image_list_snapshots() and the images below it, which are opened in the same way. An image whose disk the
   * library cannot read, because it is encrypted, is told of like any other. The disk of any image that was opened so
   * can be neither read nor written: that fails with %IMAGO_ERROR_METADATA_ONLY. With #ImagoOpenOptions:writable, opening fails with %IMAGO_ERROR_INVALID_OPTION.
   *
   * Since: 1.0
   */
  properties[PROP_METADATA_ONLY] = g_param_spec_boolean (
    "metadata-only", "Metadata only", "Whether the disk will be neither read nor written", FALSE, flags);

  /**
   * ImagoOpenOptions:metadata-cache-size:
   *
   * The memory that the mapping tables of each image of the chain may take up, in bytes; 0 for the
   * default.
   *
   * Since: 1.0
   */
  properties[PROP_METADATA_CACHE_SIZE] = g_param_spec_uint64 (
    "metadata-cache-size", "Metadata cache size",
    "The size of the cache of mapping tables in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoOpenOptions:decoded-cache-size:
   *
   * The memory that decompressed clusters of each image of the chain may take up, in bytes; 0 for
   * the default.
   *
   * Since: 1.0
   */
  properties[PROP_DECODED_CACHE_SIZE] = g_param_spec_uint64 (
    "decoded-cache-size", "Decoded cache size",
    "The size of the cache of decompressed clusters in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoOpenOptions:max-depth:
   *
   * How many images a chain may have, the one that is opened counted; 0 for the default of 16. No
   * more than 64 are possible.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_DEPTH] = g_param_spec_uint (
    "max-depth", "Max depth", "How many images a chain may have", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoOpenOptions:max-files:
   *
   * How many files an image may use with all that it refers to; 0 for the default of 64.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_FILES] = g_param_spec_uint (
    "max-files", "Max files", "How many files an image may use", 0, G_MAXUINT, 0, flags);
  /**
   * ImagoOpenOptions:writable-backing:
   *
   * Which of the images below is opened for writing, too, as #ImagoCommitJob needs it: 1 for the backing image, 2 for the
   * one below that, and so on; 0 for none. The policy is asked for a file that can be written. The image is closed together
   * with the one above it.
   *
   * Since: 1.0
   */
  properties[PROP_WRITABLE_BACKING] =
    g_param_spec_uint ("writable-backing", "Writable backing", "Which image below is opened for writing", 0,
                       G_MAXUINT, 0, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_open_options_init (ImagoOpenOptions *self)
{
  self->locking = IMAGO_LOCKING_AUTO;
}

/**
 * imago_open_options_new:
 *
 * Makes options that say nothing yet.
 *
 * Returns: (transfer full): the options
 *
 * Since: 1.0
 */
ImagoOpenOptions *
imago_open_options_new (void)
{
  return g_object_new (IMAGO_TYPE_OPEN_OPTIONS, NULL);
}

/* FALSE if it is the same already. */
static gboolean
replace_string (char **place, const char *text)
{
  char *copy;

  if (g_strcmp0 (*place, text) == 0)
    return FALSE;
  copy = g_strdup (text);
  g_free (*place);
  *place = copy;
  return TRUE;
}

/**
 * imago_open_options_set_format_name:
 * @self: an #ImagoOpenOptions
 * @format_name: (nullable): the name of a format, or %NULL to guess it
 *
 * Sets #ImagoOpenOptions:format-name. A name that the library does not know makes opening fail with
 * %IMAGO_ERROR_UNKNOWN_FORMAT.
 *
 * Since: 1.0
 */
void
imago_open_options_set_format_name (ImagoOpenOptions *self, const char *format_name)
{
  g_return_if_fail (IMAGO_IS_OPEN_OPTIONS (self));

  if (replace_string (&self->format_name, format_name))
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_FORMAT_NAME]);
}

/**
 * imago_open_options_set_snapshot:
 * @self: an #ImagoOpenOptions
 * @snapshot: (nullable): the id or the name of a snapshot, or %NULL for the present disk
 *
 * Sets #ImagoOpenOptions:snapshot. An image without such a snapshot makes opening fail with
 * %IMAGO_ERROR_SNAPSHOT_NOT_FOUND.
 *
 * Since: 1.0
 */
void
imago_open_options_set_snapshot (ImagoOpenOptions *self, const char *snapshot)
{
  g_return_if_fail (IMAGO_IS_OPEN_OPTIONS (self));

  if (replace_string (&self->snapshot, snapshot))
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_SNAPSHOT]);
}

/**
 * imago_open_options_set_writable:
 * @self: an #ImagoOpenOptions
 * @writable: whether the disk is to be written
 *
 * Sets #ImagoOpenOptions:writable. Opening fails with %IMAGO_ERROR_INVALID_OPTION if the format is not
 * named, with %IMAGO_ERROR_READ_ONLY if the storage was not opened for writing or a snapshot is asked for.
 *
 * Since: 1.0
 */
void
imago_open_options_set_writable (ImagoOpenOptions *self, gboolean writable)
{
  g_return_if_fail (IMAGO_IS_OPEN_OPTIONS (self));

  writable = !!writable;
  if (self->writable == writable)
    return;
  self->writable = writable;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_WRITABLE]);
}

/**
 * imago_open_options_set_reference_policy:
 * @self: an #ImagoOpenOptions
 * @policy: (nullable): a policy, or %NULL to deny everything
 *
 * Sets #ImagoOpenOptions:reference-policy. The hook of a policy that the application implements
 * will run in the main context that is the thread-default one now, unless it was set somewhere
 * before.
 *
 * Since: 1.0
 */
void
imago_open_options_set_reference_policy (ImagoOpenOptions *self, ImagoReferencePolicy *policy)
{
  g_return_if_fail (IMAGO_IS_OPEN_OPTIONS (self));
  g_return_if_fail (policy == NULL || IMAGO_IS_REFERENCE_POLICY (policy));

  if (policy != NULL)
    imago_reference_policy_settle (policy);
  if (g_set_object (&self->reference_policy, policy))
    g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_REFERENCE_POLICY]);
}

/**
 * imago_open_options_set_defer_references:
 * @self: an #ImagoOpenOptions
 * @defer_references: whether to leave the files that the image names for later
 *
 * Sets #ImagoOpenOptions:defer-references.
 *
 * Since: 1.0
 */
void
imago_open_options_set_defer_references (ImagoOpenOptions *self, gboolean defer_references)
{
  g_return_if_fail (IMAGO_IS_OPEN_OPTIONS (self));

  defer_references = !!defer_references;
  if (self->defer_references == defer_references)
    return;
  self->defer_references = defer_references;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_DEFER_REFERENCES]);
}

/* ---- for the library ---- */

static ImgLocking
to_core_locking (ImagoLocking locking)
{
  switch (locking)
    {
    case IMAGO_LOCKING_NONE:
      return IMG_LOCKING_OFF;
    case IMAGO_LOCKING_ON:
      return IMG_LOCKING_ON;
    case IMAGO_LOCKING_AUTO:
    default:
      return IMG_LOCKING_AUTO;
    }
}

void
imago_open_options_fill (ImagoOpenOptions *self, ImgImageOptions *out)
{
  *out = (ImgImageOptions) { 0 };
  if (self == NULL)
    return;
  out->layout.snapshot = self->snapshot;
  out->layout.writable = self->writable;
  out->layout.metadata_only = self->metadata_only;
  out->locking = to_core_locking (self->locking);
  out->force_share = self->force_share;
  out->layout.metadata_cache_size = MIN (self->metadata_cache_size, G_MAXSIZE);
  out->decoded_cache_size = MIN (self->decoded_cache_size, G_MAXSIZE);
  out->max_depth = self->max_depth;
  out->max_files = self->max_files;
  out->writable_backing = self->writable_backing;
}

const char *
imago_open_options_get_format_name (ImagoOpenOptions *self)
{
  return self != NULL ? self->format_name : NULL;
}

const char *
imago_open_options_get_snapshot (ImagoOpenOptions *self)
{
  return self != NULL ? self->snapshot : NULL;
}

ImagoReferencePolicy *
imago_open_options_get_reference_policy (ImagoOpenOptions *self)
{
  return self != NULL ? self->reference_policy : NULL;
}

gboolean
imago_open_options_get_defer_references (ImagoOpenOptions *self)
{
  return self != NULL ? self->defer_references : FALSE;
}

gboolean
imago_open_options_get_allow_device (ImagoOpenOptions *self)
{
  return self != NULL ? self->allow_device : FALSE;
}

guint64
imago_open_options_get_metadata_cache_size (ImagoOpenOptions *self)
{
  return self != NULL ? self->metadata_cache_size : 0;
}

guint64
imago_open_options_get_decoded_cache_size (ImagoOpenOptions *self)
{
  return self != NULL ? self->decoded_cache_size : 0;
}

guint
imago_open_options_get_max_depth (ImagoOpenOptions *self)
{
  return self != NULL ? self->max_depth : 0;
}

guint
imago_open_options_get_max_files (ImagoOpenOptions *self)
{
  return self != NULL ? self->max_files : 0;
}
