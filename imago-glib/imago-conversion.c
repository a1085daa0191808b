/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* From the properties of a job to words of the core, in the thread that owns the job. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-convert-job-private.h"
#include "imago-file-storage-private.h"
#include "imago-image-private.h"

static gboolean
hold_image (ImagoConversion *conversion, ImagoImage *image, ImgError **error)
{
  if (!imago_image_state_hold (image->state))
    {
      imago_image_set_closed_error (error);
      return FALSE;
    }
  g_ptr_array_add (conversion->states, image->state);
  return TRUE;
}

static gboolean
hold_images (ImagoConversion *conversion, ImagoConvertJob *job, ImgError **error)
{
  for (guint i = 0; i < job->sources->len; i++)
    if (!hold_image (conversion, g_ptr_array_index (job->sources, i), error))
      return FALSE;
  return job->target == NULL || hold_image (conversion, job->target, error);
}

static gboolean
prepare_creation (ImagoConversion *conversion, ImagoConvertJob *job, ImgError **error)
{
  g_autoptr (ImagoCreateOptions) options = NULL;

  if (job->create_options != NULL)
    options = g_object_ref (job->create_options);
  else
    options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", job->format_name, NULL);
  conversion->creation = imago_create_options_to_core (options, job->destination, NULL, error);
  if (conversion->creation == NULL)
    return FALSE;
  conversion->creation->creation.overwrite |= job->overwrite;
  return TRUE;
}

static void
fill_options (ImagoConversion *conversion, ImagoConvertJob *job)
{
  conversion->options = (ImgConvertOptions) {
    .sources = conversion->images,
    .n_sources = job->sources->len,
    .offset = job->offset,
    .length = job->length,
    .creation = conversion->creation != NULL ? &conversion->creation->creation : NULL,
    .target = job->target != NULL ? conversion->images[job->sources->len] : NULL,
    .target_is_zero = job->target_is_zero,
    .zero_grain = job->zero_grain,
    .allocate_all = job->allocate_all,
    .compress = job->compress,
    .level = job->compression_level,
    .copy_bitmaps = job->copy_bitmaps,
    .skip_broken_bitmaps = job->skip_broken_bitmaps,
    .salvage = job->salvage,
    .bytes_per_second = imago_job_get_rate_limit (IMAGO_JOB (job)),
    .verify = job->verify,
    .ignore_space = !job->check_space,
    .durable = job->durable,
    .n_threads = imago_job_get_threads (IMAGO_JOB (job)),
  };
}

static guint
count_targets (const ImagoConvertJob *job)
{
  return (job->destination != NULL) + (job->target != NULL) + (job->target_stream != NULL);
}

static gboolean
prepare_conversion (ImagoConversion *conversion, ImagoConvertJob *job, ImgError **error)
{
  if ((job->sources->len == 0) == (job->source_stream == NULL) || count_targets (job) != 1)
    {
      img_error_set (error, IMG_CODE_FAILED, _("The job has no source, or not just one kind of source and one target"));
      return FALSE;
    }
  if ((job->target == NULL && !prepare_creation (conversion, job, error)) || !hold_images (conversion, job, error))
    return FALSE;
  conversion->images = g_new (ImgImage *, conversion->states->len);
  for (guint i = 0; i < conversion->states->len; i++)
    conversion->images[i] = ((ImagoImageState *) g_ptr_array_index (conversion->states, i))->core;
  fill_options (conversion, job);
  return TRUE;
}

ImagoConversion *
imago_conversion_new (ImagoConvertJob *job, ImgError **error)
{
  ImagoConversion *conversion = g_new0 (ImagoConversion, 1);

  conversion->states = g_ptr_array_new_with_free_func ((GDestroyNotify) imago_image_state_release);
  if (prepare_conversion (conversion, job, error))
    return conversion;
  imago_conversion_free (conversion);
  return NULL;
}

void
imago_conversion_free (gpointer data)
{
  ImagoConversion *conversion = data;

  g_ptr_array_unref (conversion->states);
  g_clear_pointer (&conversion->creation, imago_creation_free);
  g_free (conversion->images);
  g_free (conversion);
}
