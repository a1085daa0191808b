/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-create-options-private.h"
#include "imago-image-private.h"
#include "imago-job-private.h"
#include "imago-measure-job.h"
#include "imago-measurement-private.h"

/**
 * SECTION:imago-measure-job
 * @title: ImagoMeasureJob
 * @short_description: Finds out how much room a new image needs
 *
 * #ImagoMeasureJob answers before an image is made how large its files will be.
 */

/**
 * ImagoMeasureJob:
 *
 * Finds out how much room a new image needs, empty or with the disk of another image copied into it.
 * Nothing is written, and of the source nothing but its maps is read.
 *
 * Of the options of the new image only those are looked at that the numbers depend on. What
 * #ImagoJob says of threads holds. Closing the source waits for the job.
 *
 * Since: 1.0
 */
struct _ImagoMeasureJob
{
  ImagoJob parent_instance;

  ImagoImage *source;
  ImagoCreateOptions *options;
  ImagoMeasurement *result;

  /* While it runs. */
  ImagoImageState *state; /* while it runs; NULL without a source */
  ImagoCreation *creation;
};

struct _ImagoMeasureJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_SOURCE,
  PROP_OPTIONS,
  PROP_RESULT,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoMeasureJob, imago_measure_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static ImagoCreation *
make_creation (ImagoMeasureJob *self, ImgError **error)
{
  ImagoCreation *made = imago_create_options_to_core (self->options, NULL, NULL, error);
  ImgCreation *creation;

  if (made == NULL)
    return NULL;
  creation = &made->creation;
  creation->options.backing_name =
    creation->backing_name != NULL ? creation->backing_name : creation->backing_path;
  if (creation->backing_image != NULL)
    creation->options.backing_name = "backing"; /* any name will do */
  if (self->source != NULL || creation->has_size)
    return made;
  img_error_set (error, IMG_CODE_INVALID_OPTION, _("The job has neither a source nor a size"));
  imago_creation_free (made);
  return NULL;
}

static gboolean
imago_measure_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (job);

  self->creation = make_creation (self, error);
  if (self->creation == NULL)
    return FALSE;
  if (self->source == NULL)
    return TRUE;
  self->state = imago_job_hold_image (job, self->source, error);
  if (self->state == NULL)
    g_clear_pointer (&self->creation, imago_creation_free);
  return self->state != NULL;
}

static gboolean
imago_measure_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (job);
  const ImgCreation *creation = &self->creation->creation;
  ImgMeasurement found;

  if (!img_measure (creation->driver, &creation->options,
                    self->state != NULL ? self->state->core : NULL, progress, cancel, &found,
                    error))
    return FALSE;
  self->result = imago_measurement_new (&found);
  return TRUE;
}

static void
imago_measure_job_finish (ImagoJob *job)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (job);

  g_clear_pointer (&self->creation, imago_creation_free);
}

/* ---- the object ---- */

static void
imago_measure_job_dispose (GObject *object)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (object);

  g_clear_object (&self->source);
  g_clear_object (&self->options);
  g_clear_object (&self->result);
  G_OBJECT_CLASS (imago_measure_job_parent_class)->dispose (object);
}

static void
imago_measure_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (object);

  switch (id)
    {
    case PROP_SOURCE:
      g_value_set_object (value, self->source);
      break;
    case PROP_OPTIONS:
      g_value_set_object (value, self->options);
      break;
    case PROP_RESULT:
      g_value_set_object (value, imago_measure_job_get_result (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_measure_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoMeasureJob *self = IMAGO_MEASURE_JOB (object);

  switch (id)
    {
    case PROP_SOURCE:
      self->source = g_value_dup_object (value);
      break;
    case PROP_OPTIONS:
      self->options = g_value_dup_object (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_measure_job_class_init (ImagoMeasureJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  object_class->dispose = imago_measure_job_dispose;
  object_class->get_property = imago_measure_job_get_property;
  object_class->set_property = imago_measure_job_set_property;
  job_class->prepare = imago_measure_job_prepare;
  job_class->run_core = imago_measure_job_run_core;
  job_class->finish = imago_measure_job_finish;

  /**
   * ImagoMeasureJob:source:
   *
   * The image whose disk would be copied, or %NULL for an empty one. Its references must be open
   * when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_SOURCE] =
    g_param_spec_object ("source", "Source", "The disk to copy", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoMeasureJob:options:
   *
   * What the new image would be like; %NULL stands for the defaults. They are read when the job is
   * run. #ImagoCreateOptions:size counts only without a source. With a backing file nobody can know
   * what need not be copied, so that all of the disk counts.
   *
   * Since: 1.0
   */
  properties[PROP_OPTIONS] = g_param_spec_object (
    "options", "Options", "What the new image is like", IMAGO_TYPE_CREATE_OPTIONS, once);
  /**
   * ImagoMeasureJob:result:
   *
   * What was found; %NULL until #ImagoJob:phase is %IMAGO_JOB_PHASE_DONE, and after a failure. Its
   * change is not notified on its own.
   *
   * Since: 1.0
   */
  properties[PROP_RESULT] =
    g_param_spec_object ("result", "Result", "What was found", IMAGO_TYPE_MEASUREMENT,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_measure_job_init (ImagoMeasureJob *self)
{
}

/**
 * imago_measure_job_new:
 * @source: (nullable): the image whose disk would be copied, or %NULL for an empty disk
 * @options: (nullable): what the new image would be like, or %NULL for the defaults
 *
 * Makes a job that finds out how much room a new image needs.
 *
 * Returns: (transfer full): a new #ImagoMeasureJob
 *
 * Since: 1.0
 */
ImagoMeasureJob *
imago_measure_job_new (ImagoImage *source, ImagoCreateOptions *options)
{
  g_return_val_if_fail (source == NULL || IMAGO_IS_IMAGE (source), NULL);
  g_return_val_if_fail (options == NULL || IMAGO_IS_CREATE_OPTIONS (options), NULL);

  return g_object_new (IMAGO_TYPE_MEASURE_JOB, "source", source, "options", options, NULL);
}

/**
 * imago_measure_job_get_result:
 * @self: an #ImagoMeasureJob
 *
 * Gets what was found. May be called from any thread.
 *
 * Returns: (transfer none) (nullable): the result, or %NULL before the job has ended and after it
 * has failed
 *
 * Since: 1.0
 */
ImagoMeasurement *
imago_measure_job_get_result (ImagoMeasureJob *self)
{
  g_return_val_if_fail (IMAGO_IS_MEASURE_JOB (self), NULL);

  /* Reading the phase orders this behind the worker that made the result. */
  return imago_job_get_phase (IMAGO_JOB (self)) == IMAGO_JOB_PHASE_DONE ? self->result : NULL;
}
