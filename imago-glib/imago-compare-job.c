/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-compare-job.h"
#include "imago-enum-types.h"
#include "imago-job-private.h"

/**
 * SECTION:imago-compare-job
 * @title: ImagoCompareJob
 * @short_description: Finds out whether two disks hold the same
 *
 * #ImagoCompareJob compares what two images, of any formats, present as their disks.
 */

/**
 * ImagoCompareJob:
 *
 * Compares two disks, with what their backing images contribute, and finds the first difference.
 *
 * What reads as zero in both, and what both have in the same place of the same file, is not read.
 * The answer does not depend on the number of threads. That the disks differ is no failure of the
 * job: #ImagoCompareJob:comparison tells.
 *
 * As long as the job runs nobody else may write to the images, even if one is a raw disk that others may write to
 * while it is read: the job fails with %IMAGO_ERROR_LOCKED where somebody does. An image that was opened with
 * #ImagoOpenOptions:force-share is compared as it is found.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest. Closing one of the images waits for the job.
 *
 * Since: 1.0
 */
struct _ImagoCompareJob
{
  ImagoJob parent_instance;

  ImagoImage *images[2];
  gboolean strict;
  ImgCompareResult result;

  /* While it runs. */
  ImagoImageState *states[2]; /* while it runs */
};

struct _ImagoCompareJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_FIRST_IMAGE,
  PROP_SECOND_IMAGE,
  PROP_STRICT,
  PROP_COMPARISON,
  PROP_DIFFERENCE_OFFSET,
  PROP_FAILURE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoCompareJob, imago_compare_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
imago_compare_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoCompareJob *self = IMAGO_COMPARE_JOB (job);

  if (self->images[0] == NULL || self->images[1] == NULL)
    {
      img_error_set (error, IMG_CODE_FAILED, _("The job needs two images"));
      return FALSE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (self->images); i++)
    {
      self->states[i] = imago_job_hold_image (job, self->images[i], error);
      if (self->states[i] == NULL)
        return FALSE;
    }
  return TRUE;
}

static gboolean
imago_compare_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoCompareJob *self = IMAGO_COMPARE_JOB (job);
  const ImgCompareOptions options = {
    .strict = self->strict,
    .n_threads = imago_job_get_threads (job),
    .priority = imago_job_get_priority (job),
    .bytes_per_second = imago_job_get_rate_limit (job),
  };

  return img_compare (self->states[0]->core, self->states[1]->core, &options, progress, cancel,
                      &self->result, error);
}

/* ---- the object ---- */

static void
imago_compare_job_dispose (GObject *object)
{
  ImagoCompareJob *self = IMAGO_COMPARE_JOB (object);

  for (guint i = 0; i < G_N_ELEMENTS (self->images); i++)
    g_clear_object (&self->images[i]);
  G_OBJECT_CLASS (imago_compare_job_parent_class)->dispose (object);
}

static void
imago_compare_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoCompareJob *self = IMAGO_COMPARE_JOB (object);

  switch (id)
    {
    case PROP_FIRST_IMAGE:
      g_value_set_object (value, self->images[0]);
      break;
    case PROP_SECOND_IMAGE:
      g_value_set_object (value, self->images[1]);
      break;
    case PROP_STRICT:
      g_value_set_boolean (value, self->strict);
      break;
    case PROP_COMPARISON:
      g_value_set_enum (value, (int) imago_compare_job_get_comparison (self));
      break;
    case PROP_DIFFERENCE_OFFSET:
      g_value_set_uint64 (value, imago_compare_job_get_difference_offset (self));
      break;
    case PROP_FAILURE:
      g_value_set_enum (value, (int) imago_compare_job_get_failure (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_compare_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoCompareJob *self = IMAGO_COMPARE_JOB (object);

  switch (id)
    {
    case PROP_FIRST_IMAGE:
      self->images[0] = g_value_dup_object (value);
      break;
    case PROP_SECOND_IMAGE:
      self->images[1] = g_value_dup_object (value);
      break;
    case PROP_STRICT:
      imago_compare_job_set_strict (self, g_value_get_boolean (value));
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
  const GParamFlags told = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoCompareJob:first-image:
   *
   * One of the images. Its references must be open when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_FIRST_IMAGE] =
    g_param_spec_object ("first-image", "First image", "One of the images", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoCompareJob:second-image:
   *
   * The other image. Its references must be open when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_SECOND_IMAGE] =
    g_param_spec_object ("second-image", "Second image", "The other image", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoCompareJob:strict:
   *
   * Whether the sizes must be the same, and what imago_image_map_extents() with
   * %IMAGO_MAP_HOST_HOLES says of kinds, except whether data is compressed. Otherwise all that
   * counts is what is read: what one disk has more is taken for the same if it reads as zero.
   *
   * Since: 1.0
   */
  properties[PROP_STRICT] =
    g_param_spec_boolean ("strict", "Strict", "Whether sizes and maps count", FALSE, free);
  /**
   * ImagoCompareJob:comparison:
   *
   * What was found; %IMAGO_COMPARISON_NONE until #ImagoJob:phase is %IMAGO_JOB_PHASE_DONE, and
   * after a failure. Its change is not notified on its own.
   *
   * Since: 1.0
   */
  properties[PROP_COMPARISON] =
    g_param_spec_enum ("comparison", "Comparison", "What was found", IMAGO_TYPE_COMPARISON,
                       IMAGO_COMPARISON_NONE, told);
  /**
   * ImagoCompareJob:difference-offset:
   *
   * The offset in bytes of the first difference; 0 where none is known. If the sizes differ it is
   * where the smaller disk ends. Its change is not notified on its own.
   *
   * Since: 1.0
   */
  properties[PROP_DIFFERENCE_OFFSET] =
    g_param_spec_uint64 ("difference-offset", "Difference offset", "Where the first difference is",
                         0, G_MAXUINT64, 0, told);
  /**
   * ImagoCompareJob:failure:
   *
   * What could not be done when the job failed. Its change is not notified on its own.
   *
   * Since: 1.0
   */
  properties[PROP_FAILURE] =
    g_param_spec_enum ("failure", "Failure", "What could not be done", IMAGO_TYPE_COMPARE_FAILURE,
                       IMAGO_COMPARE_FAILURE_NONE, told);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_compare_job_class_init (ImagoCompareJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_compare_job_dispose;
  object_class->get_property = imago_compare_job_get_property;
  object_class->set_property = imago_compare_job_set_property;
  job_class->prepare = imago_compare_job_prepare;
  job_class->run_core = imago_compare_job_run_core;
  install_properties (object_class);
}

static void
imago_compare_job_init (ImagoCompareJob *self)
{
}

/**
 * imago_compare_job_new:
 * @first_image: one of the images
 * @second_image: the other one; may be the same
 *
 * Makes a job that compares the disks of two images.
 *
 * Returns: (transfer full): a new #ImagoCompareJob
 *
 * Since: 1.0
 */
ImagoCompareJob *
imago_compare_job_new (ImagoImage *first_image, ImagoImage *second_image)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (first_image), NULL);
  g_return_val_if_fail (IMAGO_IS_IMAGE (second_image), NULL);

  return g_object_new (IMAGO_TYPE_COMPARE_JOB, "first-image", first_image, "second-image",
                       second_image, NULL);
}

/**
 * imago_compare_job_set_strict:
 * @self: an #ImagoCompareJob that has not been run
 * @strict: whether sizes and maps must be the same, too
 *
 * Sets #ImagoCompareJob:strict.
 *
 * Since: 1.0
 */
void
imago_compare_job_set_strict (ImagoCompareJob *self, gboolean strict)
{
  g_return_if_fail (IMAGO_IS_COMPARE_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->strict == !!strict)
    return;
  self->strict = !!strict;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_STRICT]);
}

/* NULL before the end. Reading the phase orders this behind the worker that made the result. */
static const ImgCompareResult *
get_result (ImagoCompareJob *self)
{
  return imago_job_get_phase (IMAGO_JOB (self)) == IMAGO_JOB_PHASE_DONE ? &self->result : NULL;
}

/**
 * imago_compare_job_get_comparison:
 * @self: an #ImagoCompareJob
 *
 * Gets what was found. May be called from any thread.
 *
 * Returns: the verdict, or %IMAGO_COMPARISON_NONE before the job has ended and after it has failed
 *
 * Since: 1.0
 */
ImagoComparison
imago_compare_job_get_comparison (ImagoCompareJob *self)
{
  static const ImagoComparison comparisons[] = {
    [IMG_COMPARISON_NONE] = IMAGO_COMPARISON_NONE,
    [IMG_COMPARISON_IDENTICAL] = IMAGO_COMPARISON_IDENTICAL,
    [IMG_COMPARISON_CONTENT] = IMAGO_COMPARISON_CONTENT,
    [IMG_COMPARISON_BLOCK_STATUS] = IMAGO_COMPARISON_BLOCK_STATUS,
    [IMG_COMPARISON_SIZE] = IMAGO_COMPARISON_SIZE,
  };
  const ImgCompareResult *result;

  g_return_val_if_fail (IMAGO_IS_COMPARE_JOB (self), IMAGO_COMPARISON_NONE);

  result = get_result (self);
  return result != NULL ? comparisons[result->comparison] : IMAGO_COMPARISON_NONE;
}

/**
 * imago_compare_job_get_difference_offset:
 * @self: an #ImagoCompareJob
 *
 * Gets where the first difference is: the byte that differs, where the maps begin to differ, or where
 * the smaller disk ends. May be called from any thread.
 *
 * Returns: the offset in bytes, or 0 where no difference is known
 *
 * Since: 1.0
 */
guint64
imago_compare_job_get_difference_offset (ImagoCompareJob *self)
{
  const ImgCompareResult *result;

  g_return_val_if_fail (IMAGO_IS_COMPARE_JOB (self), 0);

  result = get_result (self);
  return result != NULL && result->comparison != IMG_COMPARISON_NONE ? result->offset : 0;
}

/**
 * imago_compare_job_get_failure:
 * @self: an #ImagoCompareJob
 *
 * Gets what could not be done when the job failed. May be called from any thread.
 *
 * Returns: what failed, or %IMAGO_COMPARE_FAILURE_NONE where nothing did, or none of that
 *
 * Since: 1.0
 */
ImagoCompareFailure
imago_compare_job_get_failure (ImagoCompareJob *self)
{
  static const ImagoCompareFailure failures[] = {
    [IMG_COMPARE_STEP_NONE] = IMAGO_COMPARE_FAILURE_NONE,
    [IMG_COMPARE_STEP_MAP] = IMAGO_COMPARE_FAILURE_MAP,
    [IMG_COMPARE_STEP_READ] = IMAGO_COMPARE_FAILURE_READ,
  };
  const ImgCompareResult *result;

  g_return_val_if_fail (IMAGO_IS_COMPARE_JOB (self), IMAGO_COMPARE_FAILURE_NONE);

  result = get_result (self);
  return result != NULL ? failures[result->failed_step] : IMAGO_COMPARE_FAILURE_NONE;
}
