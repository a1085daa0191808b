/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-check-job.h"
#include "imago-check-result-private.h"
#include "imago-enum-types.h"
#include "imago-job-private.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-check-job
 * @title: ImagoCheckJob
 * @short_description: Checks and repairs the metadata of an image
 *
 * #ImagoCheckJob reads all metadata of an image and says what is wrong with it. It changes nothing
 * unless it is asked to repair. It looks at one file, never at those that the image names, and works on images that
 * cannot be opened because they are damaged.
 */

/**
 * ImagoCheckJob:
 *
 * Checks the metadata of an image.
 *
 * That errors are found is no failure of the job: they are in #ImagoCheckJob:result. The job fails
 * if there is no verdict: %IMAGO_ERROR_UNKNOWN_FORMAT for a format that does not exist,
 * %IMAGO_ERROR_UNSUPPORTED for one without checks (see %IMAGO_FORMAT_CHECK), other errors if the
 * file cannot be read or its header makes no sense.
 *
 * A repair never touches the data of the disk, leaves no more errors than there were, and may be
 * interrupted at any moment: repairing once more goes on where it ended. It needs a storage that can be
 * written. The result then has what is left, and how much is gone.
 *
 * The file is locked as QEMU does it: nobody writes to it meanwhile, and nobody uses an image that is
 * repaired. Otherwise the job fails with %IMAGO_ERROR_LOCKED.
 *
 * Its progress is in bytes of metadata. Of the tables that there may be only those that there are take
 * time, and of a repair's passes over them only those that are needed: the rest is done at once. The
 * phase is %IMAGO_JOB_PHASE_CHECK, and %IMAGO_JOB_PHASE_REPAIR from the first change on. A repair that is
 * cancelled leaves an image that is no worse than it was.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest.
 *
 * Since: 1.0
 */
struct _ImagoCheckJob
{
  ImagoJob parent_instance;

  ImagoStorage *storage;
  char *format_name;
  ImagoRepair repair;
  gboolean force_share;

  /* While it runs. */
  ImgStorage *core;
  const ImgDriver *driver;

  ImagoCheckResult *result; /* constant once the phase is DONE; NULL before and after a failure */
};

struct _ImagoCheckJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_STORAGE,
  PROP_FORMAT_NAME,
  PROP_REPAIR,
  PROP_FORCE_SHARE,
  PROP_RESULT,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoCheckJob, imago_check_job, IMAGO_TYPE_JOB)

G_STATIC_ASSERT ((int) IMAGO_REPAIR_NONE == (int) IMG_REPAIR_NONE);
G_STATIC_ASSERT ((int) IMAGO_REPAIR_LEAKS == (int) IMG_REPAIR_LEAKS);
G_STATIC_ASSERT ((int) IMAGO_REPAIR_ALL == (int) IMG_REPAIR_ALL);

/* ---- the work ---- */

static const ImgDriver *
find_driver (ImagoCheckJob *self, ImgError **error)
{
  const ImgDriver *driver = img_driver_find (self->format_name);
  g_autofree char *name = img_quote_name (self->format_name);

  if (driver == NULL)
    img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _ ("Unknown format %s"), name);
  else if (driver->check == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("Images of the format %s cannot be checked"),
                   name);
  else if (self->repair != IMAGO_REPAIR_NONE && driver->repair == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("Images of the format %s cannot be repaired"),
                   name);
  else
    return driver;
  return NULL;
}

static gboolean
imago_check_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoCheckJob *self = IMAGO_CHECK_JOB (job);

  if (self->storage == NULL || self->format_name == NULL)
    {
      img_error_set (error, IMG_CODE_FAILED, _ ("The job has no storage or no format"));
      return FALSE;
    }
  self->driver = find_driver (self, error);
  if (self->driver == NULL)
    return FALSE;
  self->core = imago_storage_dup_core (self->storage);
  imago_job_add_storage (job, self->core);
  return TRUE;
}

static ImgLockRole
lock_role (ImagoCheckJob *self)
{
  if (self->repair != IMAGO_REPAIR_NONE)
    return IMG_LOCK_WRITE;
  return self->force_share ? IMG_LOCK_READ_SHARED : IMG_LOCK_READ;
}

static gboolean
check (ImagoCheckJob *self,
       ImgCheckResult *found,
       ImgProgress *progress,
       ImgCancel *cancel,
       ImgError **error)
{
  if (self->repair == IMAGO_REPAIR_NONE)
    return self->driver->check (self->core, found, progress, cancel, error);
  return self->driver->repair (self->core, (ImgRepair) self->repair, found, progress, cancel, error);
}

static gboolean
imago_check_job_run_core (ImagoJob *job, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImagoCheckJob *self = IMAGO_CHECK_JOB (job);
  g_autoptr (ImgFileLock) lock = NULL;
  g_auto (ImgCheckResult) found = { 0 };

  img_check_result_init (&found);
  if (!img_storage_lock (self->core, lock_role (self), IMG_LOCKING_AUTO, &lock, error) ||
      !check (self, &found, progress, cancel, error))
    return FALSE;
  self->result = imago_check_result_new (&found);
  return TRUE;
}

static void
imago_check_job_finish (ImagoJob *job)
{
  g_clear_pointer (&IMAGO_CHECK_JOB (job)->core, img_storage_unref);
}

/* ---- the object ---- */

static void
imago_check_job_dispose (GObject *object)
{
  ImagoCheckJob *self = IMAGO_CHECK_JOB (object);

  g_clear_object (&self->storage);
  g_clear_object (&self->result);
  G_OBJECT_CLASS (imago_check_job_parent_class)->dispose (object);
}

static void
imago_check_job_finalize (GObject *object)
{
  g_free (IMAGO_CHECK_JOB (object)->format_name);
  G_OBJECT_CLASS (imago_check_job_parent_class)->finalize (object);
}

static void
imago_check_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoCheckJob *self = IMAGO_CHECK_JOB (object);

  switch (id)
    {
    case PROP_STORAGE:
      g_value_set_object (value, self->storage);
      break;
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_REPAIR:
      g_value_set_enum (value, (int) self->repair);
      break;
    case PROP_FORCE_SHARE:
      g_value_set_boolean (value, self->force_share);
      break;
    case PROP_RESULT:
      g_value_set_object (value, imago_check_job_get_result (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_check_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoCheckJob *self = IMAGO_CHECK_JOB (object);

  switch (id)
    {
    case PROP_STORAGE:
      self->storage = g_value_dup_object (value);
      break;
    case PROP_FORMAT_NAME:
      self->format_name = g_value_dup_string (value);
      break;
    case PROP_REPAIR:
      imago_check_job_set_repair (self, (ImagoRepair) g_value_get_enum (value));
      break;
    case PROP_FORCE_SHARE:
      imago_check_job_set_force_share (self, g_value_get_boolean (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_check_job_class_init (ImagoCheckJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  object_class->dispose = imago_check_job_dispose;
  object_class->finalize = imago_check_job_finalize;
  object_class->get_property = imago_check_job_get_property;
  object_class->set_property = imago_check_job_set_property;
  job_class->prepare = imago_check_job_prepare;
  job_class->run_core = imago_check_job_run_core;
  job_class->finish = imago_check_job_finish;

  /**
   * ImagoCheckJob:storage:
   *
   * What holds the image: the file itself, for example from imago_file_storage_open().
   *
   * Since: 1.0
   */
  properties[PROP_STORAGE] =
    g_param_spec_object ("storage", "Storage", "What holds the image", IMAGO_TYPE_STORAGE, once);
  /**
   * ImagoCheckJob:format-name:
   *
   * The name of the format of the image.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] =
    g_param_spec_string ("format-name", "Format name", "The format of the image", NULL, once);
  /**
   * ImagoCheckJob:repair:
   *
   * What is repaired. A storage that cannot be written is %IMAGO_ERROR_READ_ONLY when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_REPAIR] =
    g_param_spec_enum ("repair", "Repair", "What is repaired", IMAGO_TYPE_REPAIR, IMAGO_REPAIR_NONE,
                       G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoCheckJob:force-share:
   *
   * Whether the image may be written to by others while it is checked; what is found may then be
   * half of a change. It has no effect on a repair.
   *
   * Since: 1.0
   */
  properties[PROP_FORCE_SHARE] =
    g_param_spec_boolean ("force-share", "Force share", "Whether others may write meanwhile", FALSE,
                          G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoCheckJob:result:
   *
   * What was found; %NULL until #ImagoJob:phase is %IMAGO_JOB_PHASE_DONE, and after a failure. Its
   * change is not notified on its own.
   *
   * Since: 1.0
   */
  properties[PROP_RESULT] =
    g_param_spec_object ("result", "Result", "What was found", IMAGO_TYPE_CHECK_RESULT,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_check_job_init (ImagoCheckJob *self)
{
}

/**
 * imago_check_job_new:
 * @storage: what holds the image
 * @format_name: the name of its format, such as `qcow2`
 *
 * Makes a job that checks an image. Finding out the format is left to the caller
 * (imago_format_probe()): what a guest wrote into a raw disk can look like an image.
 *
 * Returns: (transfer full): a new #ImagoCheckJob
 *
 * Since: 1.0
 */
ImagoCheckJob *
imago_check_job_new (ImagoStorage *storage, const char *format_name)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (storage), NULL);
  g_return_val_if_fail (format_name != NULL, NULL);

  return g_object_new (IMAGO_TYPE_CHECK_JOB, "storage", storage, "format-name", format_name, NULL);
}

/**
 * imago_check_job_set_repair:
 * @self: an #ImagoCheckJob that has not been run
 * @repair: what is repaired
 *
 * Sets #ImagoCheckJob:repair.
 *
 * Since: 1.0
 */
void
imago_check_job_set_repair (ImagoCheckJob *self, ImagoRepair repair)
{
  g_return_if_fail (IMAGO_IS_CHECK_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->repair == repair)
    return;
  self->repair = repair;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_REPAIR]);
}

/**
 * imago_check_job_set_force_share:
 * @self: an #ImagoCheckJob that has not been run
 * @force_share: whether others may write to the image while it is checked
 *
 * Sets #ImagoCheckJob:force-share.
 *
 * Since: 1.0
 */
void
imago_check_job_set_force_share (ImagoCheckJob *self, gboolean force_share)
{
  g_return_if_fail (IMAGO_IS_CHECK_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->force_share == !!force_share)
    return;
  self->force_share = !!force_share;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_FORCE_SHARE]);
}

/**
 * imago_check_job_get_result:
 * @self: an #ImagoCheckJob
 *
 * Gets what was found. May be called from any thread.
 *
 * Returns: (transfer none) (nullable): the result, or %NULL before the job has ended and after it
 * has failed
 *
 * Since: 1.0
 */
ImagoCheckResult *
imago_check_job_get_result (ImagoCheckJob *self)
{
  g_return_val_if_fail (IMAGO_IS_CHECK_JOB (self), NULL);

  /* Reading the phase orders this behind the worker that made the result. */
  return imago_job_get_phase (IMAGO_JOB (self)) == IMAGO_JOB_PHASE_DONE ? self->result : NULL;
}
