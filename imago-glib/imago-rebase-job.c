/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-job-private.h"
#include "imago-rebase-job.h"

/**
 * SECTION:imago-rebase-job
 * @title: ImagoRebaseJob
 * @short_description: Puts an overlay onto another backing image
 *
 * #ImagoRebaseJob changes which image lies below an overlay, or makes it stand alone.
 */

/**
 * ImagoRebaseJob:
 *
 * Puts an image onto another backing image, or onto none.
 *
 * What would read otherwise through the new backing image is copied into the image first. The disk that the image shows
 * is the same before, during and after the job, also if it fails, is cancelled, or the power goes off; then it can be
 * run again. With #ImagoRebaseJob:name-only nothing is copied, and the disk may change.
 *
 * Nobody may change the disk meanwhile. The job opens no file: #ImagoRebaseJob:image and the new backing image are open already. After
 * it the image still reads through its old backing images, and describes itself as before: close it, and open it anew.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest.
 *
 * Since: 1.0
 */
struct _ImagoRebaseJob
{
  ImagoJob parent_instance;

  ImagoImage *image;
  ImagoImage *backing;
  char *backing_name;
  char *backing_format;
  gboolean name_only;
  gboolean compress;

  /* While it runs. */
  ImagoImageState *state;
  ImagoImageState *backing_state;
};

struct _ImagoRebaseJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_IMAGE,
  PROP_BACKING,
  PROP_BACKING_NAME,
  PROP_BACKING_FORMAT,
  PROP_NAME_ONLY,
  PROP_COMPRESS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoRebaseJob, imago_rebase_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
imago_rebase_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (job);

  self->state = imago_job_hold_image (job, self->image, error);
  if (self->state != NULL && self->backing != NULL)
    self->backing_state = imago_job_hold_image (job, self->backing, error);
  return self->state != NULL && (self->backing == NULL || self->backing_state != NULL);
}

static gboolean
imago_rebase_job_run_core (ImagoJob *job, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (job);
  ImgImage *backing = self->backing_state != NULL ? self->backing_state->core : NULL;
  const ImgRebaseOptions options = {
    .backing_name = self->backing_name,
    .backing_format = self->backing_format,
    .unsafe = self->name_only,
    .compress = self->compress,
    .n_threads = imago_job_get_threads (job),
    .priority = imago_job_get_priority (job),
    .bytes_per_second = imago_job_get_rate_limit (job),
  };

  return img_rebase (self->state->core, backing, &options, progress, cancel, error);
}

/* ---- the object ---- */

static void
imago_rebase_job_dispose (GObject *object)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (object);

  g_clear_object (&self->image);
  g_clear_object (&self->backing);
  G_OBJECT_CLASS (imago_rebase_job_parent_class)->dispose (object);
}

static void
imago_rebase_job_finalize (GObject *object)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (object);

  g_free (self->backing_name);
  g_free (self->backing_format);
  G_OBJECT_CLASS (imago_rebase_job_parent_class)->finalize (object);
}

static void
imago_rebase_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      g_value_set_object (value, self->image);
      break;
    case PROP_BACKING:
      g_value_set_object (value, self->backing);
      break;
    case PROP_BACKING_NAME:
      g_value_set_string (value, self->backing_name);
      break;
    case PROP_BACKING_FORMAT:
      g_value_set_string (value, self->backing_format);
      break;
    case PROP_NAME_ONLY:
      g_value_set_boolean (value, self->name_only);
      break;
    case PROP_COMPRESS:
      g_value_set_boolean (value, self->compress);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_rebase_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoRebaseJob *self = IMAGO_REBASE_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      self->image = g_value_dup_object (value);
      break;
    case PROP_BACKING:
      self->backing = g_value_dup_object (value);
      break;
    case PROP_BACKING_NAME:
      self->backing_name = g_value_dup_string (value);
      break;
    case PROP_BACKING_FORMAT:
      self->backing_format = g_value_dup_string (value);
      break;
    case PROP_NAME_ONLY:
      imago_rebase_job_set_name_only (self, g_value_get_boolean (value));
      break;
    case PROP_COMPRESS:
      imago_rebase_job_set_compress (self, g_value_get_boolean (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
install_properties (GObjectClass *object_class)
{
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;
  const GParamFlags free = G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoRebaseJob:image:
   *
   * The image to change. Its references must be open when the job is run, unless only the name changes.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE] =
    g_param_spec_object ("image", "Image", "What to put onto another image", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoRebaseJob:backing:
   *
   * The new backing image, opened for reading, with its references open; %NULL for none.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING] =
    g_param_spec_object ("backing", "Backing", "The new backing image", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoRebaseJob:backing-name:
   *
   * The name of the new backing file, as it is to stand in the image; a name without a folder means a file beside the
   * image. %NULL for none.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_NAME] =
    g_param_spec_string ("backing-name", "Backing name", "How the new backing file is called in the image", NULL, once);
  /**
   * ImagoRebaseJob:backing-format:
   *
   * The name of the format of the new backing file. Needed with a name.
   *
   * Since: 1.0
   */
  properties[PROP_BACKING_FORMAT] =
    g_param_spec_string ("backing-format", "Backing format", "The format of the new backing file", NULL, once);
  /**
   * ImagoRebaseJob:name-only:
   *
   * Whether only the name of the backing file changes, whatever the disk becomes by that: for a backing file that has been
   * moved or renamed. The references of the image need not be open.
   *
   * Since: 1.0
   */
  properties[PROP_NAME_ONLY] =
    g_param_spec_boolean ("name-only", "Name only", "Whether only the name of the backing file changes", FALSE, free);
  /**
   * ImagoRebaseJob:compress:
   *
   * Whether what is copied into the image is compressed where it can be.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESS] =
    g_param_spec_boolean ("compress", "Compress", "Whether what is copied is compressed", FALSE, free);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_rebase_job_class_init (ImagoRebaseJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_rebase_job_dispose;
  object_class->finalize = imago_rebase_job_finalize;
  object_class->get_property = imago_rebase_job_get_property;
  object_class->set_property = imago_rebase_job_set_property;
  job_class->prepare = imago_rebase_job_prepare;
  job_class->run_core = imago_rebase_job_run_core;
  install_properties (object_class);
}

static void
imago_rebase_job_init (ImagoRebaseJob *self)
{
}

/**
 * imago_rebase_job_new:
 * @image: the image to change
 * @backing: (nullable): the new backing image, or %NULL for none
 * @backing_name: (nullable): its name as it is to stand in @image, or %NULL for none
 * @backing_format: (nullable): the name of its format
 *
 * Makes a job that puts @image onto another backing image. With neither a backing image nor a name it is put onto
 * none: the image gets all that its backing images contribute.
 *
 * Returns: (transfer full): a new #ImagoRebaseJob
 *
 * Since: 1.0
 */
ImagoRebaseJob *
imago_rebase_job_new (ImagoImage *image,
                      ImagoImage *backing,
                      const char *backing_name,
                      const char *backing_format)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (image), NULL);
  g_return_val_if_fail (backing == NULL || IMAGO_IS_IMAGE (backing), NULL);

  return g_object_new (IMAGO_TYPE_REBASE_JOB, "image", image, "backing", backing, "backing-name",
                       backing_name, "backing-format", backing_format, NULL);
}

/**
 * imago_rebase_job_set_name_only:
 * @self: an #ImagoRebaseJob that has not been run
 * @name_only: whether only the name of the backing file changes
 *
 * Sets #ImagoRebaseJob:name-only.
 *
 * Since: 1.0
 */
void
imago_rebase_job_set_name_only (ImagoRebaseJob *self, gboolean name_only)
{
  g_return_if_fail (IMAGO_IS_REBASE_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->name_only == !!name_only)
    return;
  self->name_only = !!name_only;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_NAME_ONLY]);
}

/**
 * imago_rebase_job_set_compress:
 * @self: an #ImagoRebaseJob that has not been run
 * @compress: whether what is copied is compressed
 *
 * Sets #ImagoRebaseJob:compress.
 *
 * Since: 1.0
 */
void
imago_rebase_job_set_compress (ImagoRebaseJob *self, gboolean compress)
{
  g_return_if_fail (IMAGO_IS_REBASE_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->compress == !!compress)
    return;
  self->compress = !!compress;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_COMPRESS]);
}
