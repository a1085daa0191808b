/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Asking a job what it would do. A plan works on its own copy of the job's properties, so that it
 * has nothing to do with a run, before which, beside which or after which it may be made. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-convert-job-private.h"
#include "imago-convert-plan-private.h"
#include "imago-error-private.h"
#include "imago-request.h"
#include "imago-storage-hook.h"

static gpointer
run_plan (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoConversion *conversion = data;
  ImgConvertPlan plan;

  if (conversion->options.n_sources == 0)
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED, _("What a stream needs is not known before it has been read"));
      return NULL;
    }
  if (!img_convert_plan (&conversion->options, &plan, cancel, error))
    return NULL;
  return imago_convert_plan_new (&plan);
}

static ImagoRequestWork
make_work (ImagoConversion *conversion)
{
  return (ImagoRequestWork){
    .run = run_plan,
    .data = conversion,
    .free_data = imago_conversion_free,
    .free_result = g_object_unref,
    .flags = IMAGO_REQUEST_ABANDON | IMAGO_REQUEST_MAY_HANG,
  };
}

/**
 * imago_convert_job_plan:
 * @self: an #ImagoConvertJob
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Finds out what the job would come to as its properties are now: what is lost, how much room the
 * result needs, and how much there is. Nothing is written.
 *
 * Of the sources their block maps are read. Their data is, too, if there is less room than these
 * ask for, but no more of it than the room there is. Inside the hook of a storage this fails with
 * %IMAGO_ERROR_WOULD_DEADLOCK.
 *
 * Returns: (transfer full): the plan, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoConvertPlan *
imago_convert_job_plan (ImagoConvertJob *self, GCancellable *cancellable, GError **error)
{
  ImagoConversion *conversion = NULL;
  ImgError *core_error = NULL;
  ImagoRequestWork work;

  g_return_val_if_fail (IMAGO_IS_CONVERT_JOB (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (imago_hook_may_wait_for_all (&core_error))
    conversion = imago_conversion_new (self, &core_error);
  if (conversion == NULL)
    {
      imago_error_take (error, core_error);
      return NULL;
    }
  work = make_work (conversion);
  return imago_request_run_work (&work, cancellable, error);
}

/**
 * imago_convert_job_plan_async:
 * @self: an #ImagoConvertJob
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the plan is there
 * @user_data: data for @callback
 *
 * Starts to find out what the job would come to; see imago_convert_job_plan().
 *
 * Since: 1.0
 */
void
imago_convert_job_plan_async (ImagoConvertJob *self,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data)
{
  ImagoConversion *conversion;
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImagoRequestWork work;
  GTask *task;

  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_convert_job_plan_async);
  g_task_set_priority (task, io_priority);
  conversion = imago_conversion_new (self, &core_error);
  if (conversion == NULL)
    {
      imago_error_take (&error, core_error);
      imago_request_answer_error (task, error);
      return;
    }
  work = make_work (conversion);
  imago_request_start (task, &work);
}

/**
 * imago_convert_job_plan_finish:
 * @self: an #ImagoConvertJob
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_convert_job_plan_async() began.
 *
 * Returns: (transfer full): the plan, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoConvertPlan *
imago_convert_job_plan_finish (ImagoConvertJob *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_CONVERT_JOB (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}
