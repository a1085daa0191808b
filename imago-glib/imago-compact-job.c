/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-compact-job.h"
#include "imago-image-private.h"
#include "imago-job-private.h"

/**
 * SECTION:imago-compact-job
 * @title: ImagoCompactJob
 * @short_description: Makes the file of an image smaller
 *
 * #ImagoCompactJob gives space back that an image does not need, in place.
 */

/**
 * ImagoCompactJob:
 *
 * Gives back to the host what an image takes without need, in place: data that is nothing but
 * zeroes, zeroes that have space reserved, and clusters of the file that nothing uses, which other
 * programs leave filled. Such space becomes holes in the file, and what is at its end is cut off.
 * Space that was preallocated is given back, too.
 *
 * The guest's view of the disk does not change at any moment, snapshots stay, and other calls may
 * use the image meanwhile. A job that is cancelled or interrupted has given back less. Bitmaps,
 * which say what has changed, would not be valid any more: an image that has some is
 * %IMAGO_ERROR_UNSUPPORTED, which lists them, unless #ImagoCompactJob:lose-bitmaps is set. An image
 * whose metadata is damaged is %IMAGO_ERROR_CORRUPT and stays as it is; clusters that only seem to
 * be in use (leaks) stay as well: see #ImagoCheckJob:repair for both.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest. Closing the image waits for the job.
 *
 * Since: 1.0
 */
struct _ImagoCompactJob
{
  ImagoJob parent_instance;

  ImagoImage *image;
  gboolean lose_bitmaps;
  guint64 bytes_freed; /* atomic */

  ImagoImageState *state; /* held while it runs */
};

struct _ImagoCompactJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_IMAGE,
  PROP_LOSE_BITMAPS,
  PROP_BYTES_FREED,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoCompactJob, imago_compact_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static gboolean
imago_compact_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (job);

  if (self->image == NULL)
    img_error_set (error, IMG_CODE_FAILED, _ ("The job has no image"));
  else if (!imago_image_state_hold (self->image->state))
    imago_image_set_closed_error (error);
  else
    self->state = self->image->state;
  return self->state != NULL;
}

static gboolean
imago_compact_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (job);
  guint64 n_freed;
  gboolean success =
    img_compact (self->state->core, self->lose_bitmaps, &n_freed, progress, cancel, error);

  __atomic_store_n (&self->bytes_freed, n_freed, __ATOMIC_RELAXED);
  return success;
}

static void
imago_compact_job_finish (ImagoJob *job)
{
  g_clear_pointer (&IMAGO_COMPACT_JOB (job)->state, imago_image_state_release);
}

/* ---- the object ---- */

static void
imago_compact_job_dispose (GObject *object)
{
  g_clear_object (&IMAGO_COMPACT_JOB (object)->image);
  G_OBJECT_CLASS (imago_compact_job_parent_class)->dispose (object);
}

static void
imago_compact_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      g_value_set_object (value, self->image);
      break;
    case PROP_LOSE_BITMAPS:
      g_value_set_boolean (value, self->lose_bitmaps);
      break;
    case PROP_BYTES_FREED:
      g_value_set_uint64 (value, imago_compact_job_get_bytes_freed (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_compact_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (object);

  switch (id)
    {
    case PROP_IMAGE:
      self->image = g_value_dup_object (value);
      break;
    case PROP_LOSE_BITMAPS:
      imago_compact_job_set_lose_bitmaps (self, g_value_get_boolean (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
install_properties (GObjectClass *object_class)
{
  /**
   * ImagoCompactJob:image:
   *
   * The image. It must be open for writing, with its references, when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE] =
    g_param_spec_object ("image", "Image", "The image to compact", IMAGO_TYPE_IMAGE,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoCompactJob:lose-bitmaps:
   *
   * Whether an image that has bitmaps is compacted nevertheless. They are not valid afterwards.
   *
   * Since: 1.0
   */
  properties[PROP_LOSE_BITMAPS] =
    g_param_spec_boolean ("lose-bitmaps", "Lose bitmaps", "Whether bitmaps may be lost", FALSE,
                          G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoCompactJob:bytes-freed:
   *
   * How many bytes the host got back, once the job has succeeded; 0 also where the storage cannot
   * tell. It is not notified.
   *
   * Since: 1.0
   */
  properties[PROP_BYTES_FREED] =
    g_param_spec_uint64 ("bytes-freed", "Bytes freed", "How many bytes the host got back", 0,
                         G_MAXUINT64, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_compact_job_class_init (ImagoCompactJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_compact_job_dispose;
  object_class->get_property = imago_compact_job_get_property;
  object_class->set_property = imago_compact_job_set_property;
  job_class->prepare = imago_compact_job_prepare;
  job_class->run_core = imago_compact_job_run_core;
  job_class->finish = imago_compact_job_finish;
  install_properties (object_class);
}

static void
imago_compact_job_init (ImagoCompactJob *self)
{
}

/**
 * imago_compact_job_new:
 * @image: an image that is open for writing
 *
 * Makes a job that makes the file of @image smaller.
 *
 * Returns: (transfer full): a new #ImagoCompactJob
 *
 * Since: 1.0
 */
ImagoCompactJob *
imago_compact_job_new (ImagoImage *image)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (image), NULL);

  return g_object_new (IMAGO_TYPE_COMPACT_JOB, "image", image, NULL);
}

/**
 * imago_compact_job_set_lose_bitmaps:
 * @self: an #ImagoCompactJob that has not been run
 * @lose_bitmaps: whether bitmaps may be lost
 *
 * Sets #ImagoCompactJob:lose-bitmaps.
 *
 * Since: 1.0
 */
void
imago_compact_job_set_lose_bitmaps (ImagoCompactJob *self, gboolean lose_bitmaps)
{
  g_return_if_fail (IMAGO_IS_COMPACT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->lose_bitmaps == !!lose_bitmaps)
    return;
  self->lose_bitmaps = !!lose_bitmaps;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_LOSE_BITMAPS]);
}

/**
 * imago_compact_job_get_bytes_freed:
 * @self: an #ImagoCompactJob
 *
 * Gets how much space the host got back. May be called from any thread.
 *
 * Returns: the number of bytes; 0 before the job has succeeded, and where the storage cannot tell
 *
 * Since: 1.0
 */
guint64
imago_compact_job_get_bytes_freed (ImagoCompactJob *self)
{
  g_return_val_if_fail (IMAGO_IS_COMPACT_JOB (self), 0);

  return __atomic_load_n (&self->bytes_freed, __ATOMIC_RELAXED);
}
