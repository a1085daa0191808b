/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-commit-job.h"
#include "imago-job-private.h"

/**
 * SECTION:imago-commit-job
 * @title: ImagoCommitJob
 * @short_description: Writes what an overlay holds into an image below it
 *
 * #ImagoCommitJob moves the changes that an overlay keeps down into its backing image.
 */

/**
 * ImagoCommitJob:
 *
 * Writes what an image and those between hold into an image below it, and empties the image then, unless it is to
 * keep what it has.
 *
 * The target becomes larger if it is smaller than the disk. The disk that the image shows is the same before, during and
 * after the job, also if it fails, is cancelled, or the power goes off; then it can be run again. What the target shows on
 * its own changes while the job runs.
 *
 * The job opens no file: the target has to be open for writing already, see #ImagoCommitJob:target. Nobody may change
 * the disk meanwhile. Whoever closes the image closes a target that was opened along with it.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest.
 *
 * Since: 1.0
 */
struct _ImagoCommitJob
{
  ImagoJob parent_instance;

  ImagoImage *image;
  ImagoImage *target;
  gboolean keep;

  /* While it runs. */
  ImagoImageState *state;
  ImagoImageState *target_state;
};

struct _ImagoCommitJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_IMAGE,
  PROP_TARGET,
  PROP_KEEP,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoCommitJob, imago_commit_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
imago_commit_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoCommitJob *self = IMAGO_COMMIT_JOB (job);

  self->state = imago_job_hold_image (job, self->image, error);
  if (self->state != NULL && self->target != NULL)
    self->target_state = imago_job_hold_image (job, self->target, error);
  return self->state != NULL && (self->target == NULL || self->target_state != NULL);
}

static gboolean
imago_commit_job_run_core (ImagoJob *job, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImagoCommitJob *self = IMAGO_COMMIT_JOB (job);
  ImgImage *target = self->target_state != NULL ? self->target_state->core : NULL;
  const ImgCommitOptions options = {
    .keep = self->keep,
    .n_threads = imago_job_get_threads (job),
    .priority = imago_job_get_priority (job),
    .bytes_per_second = imago_job_get_rate_limit (job),
  };
  gboolean success = img_commit (self->state->core, target, &options, progress, cancel, error);

  /* It may have grown, also before a failure. */
  if (target != NULL)
    __atomic_store_n (&self->target_state->size, img_image_get_size (target), __ATOMIC_RELAXED);
  return success;
}

/* ---- the object ---- */

static void
imago_commit_job_dispose (GObject *object)
{
  ImagoCommitJob *self = IMAGO_COMMIT_JOB (object);

  g_clear_object (&self->image);
  g_clear_object (&self->target);
  G_OBJECT_CLASS (imago_commit_job_parent_class)->dispose (object);
}

static void
imago_commit_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoCommitJob *self = IMAGO_COMMIT_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      g_value_set_object (value, self->image);
      break;
    case PROP_TARGET:
      g_value_set_object (value, self->target);
      break;
    case PROP_KEEP:
      g_value_set_boolean (value, self->keep);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_commit_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoCommitJob *self = IMAGO_COMMIT_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      self->image = g_value_dup_object (value);
      break;
    case PROP_TARGET:
      self->target = g_value_dup_object (value);
      break;
    case PROP_KEEP:
      imago_commit_job_set_keep (self, g_value_get_boolean (value));
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
   * ImagoCommitJob:image:
   *
   * The image to commit, with its references open.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE] =
    g_param_spec_object ("image", "Image", "What to commit", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoCommitJob:target:
   *
   * The image to commit to: the backing image of #ImagoCommitJob:image, or one further below. It was opened for
   * writing: with #ImagoOpenOptions:writable-backing, or by the application, which gave it to imago_image_set_backing().
   * %NULL stands for the next one.
   *
   * Since: 1.0
   */
  properties[PROP_TARGET] =
    g_param_spec_object ("target", "Target", "What to commit to", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoCommitJob:keep:
   *
   * Whether what was committed stays in the image, too. If the target is not the next image below it always does: else what
   * lies between would come to light.
   *
   * Since: 1.0
   */
  properties[PROP_KEEP] =
    g_param_spec_boolean ("keep", "Keep", "Whether what was committed stays in the image, too", FALSE, free);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_commit_job_class_init (ImagoCommitJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_commit_job_dispose;
  object_class->get_property = imago_commit_job_get_property;
  object_class->set_property = imago_commit_job_set_property;
  job_class->prepare = imago_commit_job_prepare;
  job_class->run_core = imago_commit_job_run_core;
  install_properties (object_class);
}

static void
imago_commit_job_init (ImagoCommitJob *self)
{
}

/**
 * imago_commit_job_new:
 * @image: the image to commit
 * @target: (nullable): the image to commit to, or %NULL for the backing image of @image
 *
 * Makes a job that writes what @image holds into an image below it.
 *
 * Returns: (transfer full): a new #ImagoCommitJob
 *
 * Since: 1.0
 */
ImagoCommitJob *
imago_commit_job_new (ImagoImage *image, ImagoImage *target)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (image), NULL);
  g_return_val_if_fail (target == NULL || IMAGO_IS_IMAGE (target), NULL);

  return g_object_new (IMAGO_TYPE_COMMIT_JOB, "image", image, "target", target, NULL);
}

/**
 * imago_commit_job_set_keep:
 * @self: an #ImagoCommitJob that has not been run
 * @keep: whether what was committed stays in the image, too
 *
 * Sets #ImagoCommitJob:keep.
 *
 * Since: 1.0
 */
void
imago_commit_job_set_keep (ImagoCommitJob *self, gboolean keep)
{
  g_return_if_fail (IMAGO_IS_COMMIT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->keep == !!keep)
    return;
  self->keep = !!keep;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_KEEP]);
}
