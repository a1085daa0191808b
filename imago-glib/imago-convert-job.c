/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-convert-job.h"
#include "imago-file-storage-private.h"
#include "imago-image-private.h"
#include "imago-job-private.h"

#define MAX_THREADS 1024

/**
 * SECTION:imago-convert-job
 * @title: ImagoConvertJob
 * @short_description: Copies a disk into a new file
 *
 * #ImagoConvertJob turns a disk, with what its backing images contribute, into raw bytes.
 */

/**
 * ImagoConvertJob:
 *
 * Copies the disk of an image, with what its backing images contribute, into a new file.
 *
 * What is not allocated, or reads as zero, becomes a hole. The file appears under its name only
 * when all of it has been written: after a failure, a cancellation or a crash there is nothing, or
 * what was there before.
 *
 * As long as the job runs nobody else may write to the source, even if it is a raw disk that others may write to
 * while it is read: the job fails with %IMAGO_ERROR_LOCKED where somebody does. An image that was opened with
 * #ImagoOpenOptions:force-share is copied as it is found.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest. Closing the source waits for the job.
 *
 * Since: 1.0
 */
struct _ImagoConvertJob
{
  ImagoJob parent_instance;

  ImagoImage *source;
  GFile *destination;
  char *format_name;
  gboolean overwrite;
  gboolean durable;
  guint threads;

  /* While it runs. */
  ImagoImageState *state; /* held */
  char *path;
};

struct _ImagoConvertJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_SOURCE,
  PROP_DESTINATION,
  PROP_FORMAT_NAME,
  PROP_OVERWRITE,
  PROP_DURABLE,
  PROP_THREADS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoConvertJob, imago_convert_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
check_format (ImagoConvertJob *self, ImgError **error)
{
  g_autofree char *name = NULL;

  if (g_strcmp0 (self->format_name, "raw") == 0)
    return TRUE;
  name = img_quote_name (self->format_name != NULL ? self->format_name : "");
  img_error_set (error, IMG_CODE_UNSUPPORTED, _("Images of the format %s cannot be made"), name);
  return FALSE;
}

static gboolean
imago_convert_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (job);

  if (self->source == NULL || self->destination == NULL)
    {
      img_error_set (error, IMG_CODE_FAILED, _("The job has no source or no destination"));
      return FALSE;
    }
  if (!check_format (self, error))
    return FALSE;
  self->path = imago_file_dup_path (self->destination, error);
  if (self->path == NULL)
    return FALSE;
  if (imago_image_state_hold (self->source->state))
    {
      self->state = self->source->state;
      return TRUE;
    }
  imago_image_set_closed_error (error);
  g_clear_pointer (&self->path, g_free);
  return FALSE;
}

static gboolean
imago_convert_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (job);
  const ImgConvertOptions options = {
    .path = self->path,
    .overwrite = self->overwrite,
    .durable = self->durable,
    .n_threads = self->threads,
    .priority = imago_job_get_priority (job),
  };

  return img_convert_to_raw (self->state->core, &options, progress, cancel, error);
}

static void
imago_convert_job_finish (ImagoJob *job)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (job);

  g_clear_pointer (&self->state, imago_image_state_release);
  g_clear_pointer (&self->path, g_free);
}

/* ---- the object ---- */

static void
imago_convert_job_dispose (GObject *object)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  g_clear_object (&self->source);
  g_clear_object (&self->destination);
  G_OBJECT_CLASS (imago_convert_job_parent_class)->dispose (object);
}

static void
imago_convert_job_finalize (GObject *object)
{
  g_free (IMAGO_CONVERT_JOB (object)->format_name);
  G_OBJECT_CLASS (imago_convert_job_parent_class)->finalize (object);
}

static void
imago_convert_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  switch (id)
    {
    case PROP_SOURCE:
      g_value_set_object (value, self->source);
      break;
    case PROP_DESTINATION:
      g_value_set_object (value, self->destination);
      break;
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_OVERWRITE:
      g_value_set_boolean (value, self->overwrite);
      break;
    case PROP_DURABLE:
      g_value_set_boolean (value, self->durable);
      break;
    case PROP_THREADS:
      g_value_set_uint (value, self->threads);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_convert_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  switch (id)
    {
    case PROP_SOURCE:
      self->source = g_value_dup_object (value);
      break;
    case PROP_DESTINATION:
      self->destination = g_value_dup_object (value);
      break;
    case PROP_FORMAT_NAME:
      self->format_name = g_value_dup_string (value);
      break;
    case PROP_OVERWRITE:
      imago_convert_job_set_overwrite (self, g_value_get_boolean (value));
      break;
    case PROP_DURABLE:
      imago_convert_job_set_durable (self, g_value_get_boolean (value));
      break;
    case PROP_THREADS:
      imago_convert_job_set_threads (self, g_value_get_uint (value));
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
   * ImagoConvertJob:source:
   *
   * The image to copy. Its references must be open when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_SOURCE] =
    g_param_spec_object ("source", "Source", "The disk to read", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoConvertJob:destination:
   *
   * The file to make: a local one.
   *
   * Since: 1.0
   */
  properties[PROP_DESTINATION] =
    g_param_spec_object ("destination", "Destination", "The file to make", G_TYPE_FILE, once);
  /**
   * ImagoConvertJob:format-name:
   *
   * The name of the format of the new file. A format that cannot be made is
   * %IMAGO_ERROR_UNSUPPORTED when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] = g_param_spec_string (
    "format-name", "Format name", "The format of the file to make", "raw", once);
  /**
   * ImagoConvertJob:overwrite:
   *
   * Whether a file of that name is replaced. Otherwise it is an error that there is one.
   *
   * Since: 1.0
   */
  properties[PROP_OVERWRITE] = g_param_spec_boolean (
    "overwrite", "Overwrite", "Whether an existing file is replaced", FALSE, free);
  /**
   * ImagoConvertJob:durable:
   *
   * Whether the new file is on the disk, safe from a power failure, before it gets its name.
   *
   * Since: 1.0
   */
  properties[PROP_DURABLE] = g_param_spec_boolean (
    "durable", "Durable", "Whether the result is on the disk when the job ends", TRUE, free);
  /**
   * ImagoConvertJob:threads:
   *
   * How many threads do the work; 0 leaves that to the library.
   *
   * Since: 1.0
   */
  properties[PROP_THREADS] =
    g_param_spec_uint ("threads", "Threads", "How many threads copy; 0 lets the library choose", 0,
                       MAX_THREADS, 0, free);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_convert_job_class_init (ImagoConvertJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_convert_job_dispose;
  object_class->finalize = imago_convert_job_finalize;
  object_class->get_property = imago_convert_job_get_property;
  object_class->set_property = imago_convert_job_set_property;
  job_class->prepare = imago_convert_job_prepare;
  job_class->run_core = imago_convert_job_run_core;
  job_class->finish = imago_convert_job_finish;
  install_properties (object_class);
}

static void
imago_convert_job_init (ImagoConvertJob *self)
{
  self->durable = TRUE;
}

/**
 * imago_convert_job_new:
 * @source: the image to copy
 * @destination: the file to make
 *
 * Makes a job that copies the disk of @source into a new raw file.
 *
 * Returns: (transfer full): a new #ImagoConvertJob
 *
 * Since: 1.0
 */
ImagoConvertJob *
imago_convert_job_new (ImagoImage *source, GFile *destination)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (source), NULL);
  g_return_val_if_fail (G_IS_FILE (destination), NULL);

  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", source, "destination", destination, NULL);
}

/**
 * imago_convert_job_set_overwrite:
 * @self: an #ImagoConvertJob that has not been run
 * @overwrite: whether a file of the same name is replaced
 *
 * Sets #ImagoConvertJob:overwrite.
 *
 * Since: 1.0
 */
void
imago_convert_job_set_overwrite (ImagoConvertJob *self, gboolean overwrite)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->overwrite == !!overwrite)
    return;
  self->overwrite = !!overwrite;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_OVERWRITE]);
}

/**
 * imago_convert_job_set_durable:
 * @self: an #ImagoConvertJob that has not been run
 * @durable: whether the new file is made safe before it gets its name
 *
 * Sets #ImagoConvertJob:durable.
 *
 * Since: 1.0
 */
void
imago_convert_job_set_durable (ImagoConvertJob *self, gboolean durable)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->durable == !!durable)
    return;
  self->durable = !!durable;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_DURABLE]);
}

/**
 * imago_convert_job_set_threads:
 * @self: an #ImagoConvertJob that has not been run
 * @threads: how many threads do the work, at most 1024; 0 leaves that to the library
 *
 * Sets #ImagoConvertJob:threads.
 *
 * Since: 1.0
 */
void
imago_convert_job_set_threads (ImagoConvertJob *self, guint threads)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (threads <= MAX_THREADS);
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->threads == threads)
    return;
  self->threads = threads;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_THREADS]);
}
