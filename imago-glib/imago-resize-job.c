/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-enum-types.h"
#include "imago-job-private.h"
#include "imago-resize-job.h"

/**
 * SECTION:imago-resize-job
 * @title: ImagoResizeJob
 * @short_description: Changes the size of a disk
 *
 * #ImagoResizeJob is imago_image_resize() for when it takes long: with progress.
 */

/**
 * ImagoResizeJob:
 *
 * Changes the size of the disk in an image, as imago_image_resize() does it: alone, with other
 * calls waiting.
 *
 * #ImagoJob:bytes-total has the bytes whose space is prepared or given back; it stays 0 where
 * neither takes time. A disk that grows has its old size until all is prepared: cancelled or failed
 * before, the job gives back what it took and leaves the disk as it was. A disk that becomes
 * smaller does so first. Cancelled after that, the job succeeds, and the image keeps some space
 * that it could have given back.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest. #ImagoImage:size is notified where the properties of the job are.
 * Closing the image waits for the job.
 *
 * Since: 1.0
 */
struct _ImagoResizeJob
{
  ImagoJob parent_instance;

  ImagoImage *image;
  guint64 size;
  ImagoResizeFlags flags;
  ImagoPreallocation preallocation;

  ImagoImageState *state; /* while it runs */
};

struct _ImagoResizeJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_IMAGE,
  PROP_SIZE,
  PROP_FLAGS,
  PROP_PREALLOCATION,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoResizeJob, imago_resize_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
imago_resize_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoResizeJob *self = IMAGO_RESIZE_JOB (job);

  self->state = imago_job_hold_image (job, self->image, error);
  return self->state != NULL;
}

static gboolean
imago_resize_job_run_core (ImagoJob *job,
                           ImgProgress *progress,
                           ImgCancel *cancel,
                           ImgError **error)
{
  ImagoResizeJob *self = IMAGO_RESIZE_JOB (job);
  ImgImage *core = self->state->core;
  gboolean success =
    img_image_resize (core, self->size, (self->flags & IMAGO_RESIZE_MAY_SHRINK) != 0,
                      (ImgPreallocate) self->preallocation, progress, cancel, error);

  /* Also after a failure: a disk that became smaller does so first. */
  __atomic_store_n (&self->state->size, img_image_get_size (core), __ATOMIC_RELAXED);
  return success;
}

/* In the owner's context, where the image's property may be notified, too. */
static void
imago_resize_job_notify (GObject *object, GParamSpec *pspec)
{
  ImagoResizeJob *self = IMAGO_RESIZE_JOB (object);

  if (g_str_equal (pspec->name, "phase") && self->image != NULL &&
      imago_job_get_phase (IMAGO_JOB (self)) == IMAGO_JOB_PHASE_DONE)
    imago_image_notify_size (self->image);
}

/* ---- the object ---- */

static void
imago_resize_job_dispose (GObject *object)
{
  g_clear_object (&IMAGO_RESIZE_JOB (object)->image);
  G_OBJECT_CLASS (imago_resize_job_parent_class)->dispose (object);
}

static void
imago_resize_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoResizeJob *self = IMAGO_RESIZE_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      g_value_set_object (value, self->image);
      break;
    case PROP_SIZE:
      g_value_set_uint64 (value, self->size);
      break;
    case PROP_FLAGS:
      g_value_set_flags (value, self->flags);
      break;
    case PROP_PREALLOCATION:
      g_value_set_enum (value, (int) self->preallocation);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_resize_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoResizeJob *self = IMAGO_RESIZE_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      self->image = g_value_dup_object (value);
      break;
    case PROP_SIZE:
      self->size = g_value_get_uint64 (value);
      break;
    case PROP_FLAGS:
      imago_resize_job_set_flags (self, g_value_get_flags (value));
      break;
    case PROP_PREALLOCATION:
      imago_resize_job_set_preallocation (self, (ImagoPreallocation) g_value_get_enum (value));
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
   * ImagoResizeJob:image:
   *
   * The image. It must be open for writing, with its references, when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE] = g_param_spec_object ("image", "Image", "The image whose disk is resized",
                                                IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoResizeJob:size:
   *
   * The new size in bytes; it is rounded up to whole sectors of 512 bytes.
   *
   * Since: 1.0
   */
  properties[PROP_SIZE] = g_param_spec_uint64 ("size", "Size", "The new size of the disk in bytes",
                                               0, G_MAXUINT64, 0, once);
  /**
   * ImagoResizeJob:flags:
   *
   * Whether the disk may become smaller.
   *
   * Since: 1.0
   */
  properties[PROP_FLAGS] = g_param_spec_flags ("flags", "Flags", "How the size may change",
                                               IMAGO_TYPE_RESIZE_FLAGS, IMAGO_RESIZE_NONE, free);
  /**
   * ImagoResizeJob:preallocation:
   *
   * What is prepared for the data of the part that is new.
   *
   * Since: 1.0
   */
  properties[PROP_PREALLOCATION] =
    g_param_spec_enum ("preallocation", "Preallocation", "What is prepared for the new part",
                       IMAGO_TYPE_PREALLOCATION, IMAGO_PREALLOCATION_NONE, free);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_resize_job_class_init (ImagoResizeJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_resize_job_dispose;
  object_class->get_property = imago_resize_job_get_property;
  object_class->set_property = imago_resize_job_set_property;
  object_class->notify = imago_resize_job_notify;
  job_class->prepare = imago_resize_job_prepare;
  job_class->run_core = imago_resize_job_run_core;
  install_properties (object_class);
}

static void
imago_resize_job_init (ImagoResizeJob *self)
{
}

/**
 * imago_resize_job_new:
 * @image: an image that is open for writing
 * @size: the new size of its disk in bytes
 *
 * Makes a job that gives the disk in @image another size.
 *
 * Returns: (transfer full): a new #ImagoResizeJob
 *
 * Since: 1.0
 */
ImagoResizeJob *
imago_resize_job_new (ImagoImage *image, guint64 size)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (image), NULL);

  return g_object_new (IMAGO_TYPE_RESIZE_JOB, "image", image, "size", size, NULL);
}

/**
 * imago_resize_job_set_flags:
 * @self: an #ImagoResizeJob that has not been run
 * @flags: whether the disk may become smaller
 *
 * Sets #ImagoResizeJob:flags.
 *
 * Since: 1.0
 */
void
imago_resize_job_set_flags (ImagoResizeJob *self, ImagoResizeFlags flags)
{
  g_return_if_fail (IMAGO_IS_RESIZE_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->flags == flags)
    return;
  self->flags = flags;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_FLAGS]);
}

/**
 * imago_resize_job_set_preallocation:
 * @self: an #ImagoResizeJob that has not been run
 * @preallocation: what is prepared for the data of the part that is new
 *
 * Sets #ImagoResizeJob:preallocation.
 *
 * Since: 1.0
 */
void
imago_resize_job_set_preallocation (ImagoResizeJob *self, ImagoPreallocation preallocation)
{
  g_return_if_fail (IMAGO_IS_RESIZE_JOB (self));
  g_return_if_fail (preallocation <= IMAGO_PREALLOCATION_FULL);
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->preallocation == preallocation)
    return;
  self->preallocation = preallocation;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_PREALLOCATION]);
}
