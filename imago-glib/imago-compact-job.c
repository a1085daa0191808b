/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "imago-compact-job.h"
#include "imago-enum-types.h"
#include "imago-job-private.h"

/**
 * SECTION:imago-compact-job
 * @title: ImagoCompactJob
 * @short_description: Makes the file of an image smaller
 *
 * #ImagoCompactJob gives space back that an image does not need, in place or by writing the image anew.
 */

/**
 * ImagoCompactJob:
 *
 * Gives back to the host what an image takes without need: data that is nothing but zeroes, zeroes that have space
 * reserved, and clusters of the file that nothing uses, which other programs leave filled. Space that was
 * preallocated is given back, too. There are two ways to do that (#ImagoCompactJob:method).
 *
 * In place (%IMAGO_COMPACT_METHOD_PUNCH) such space becomes holes in the file, and what is at its end is cut off. The
 * guest's view of the disk does not change at any moment, snapshots stay, and other calls may use the image
 * meanwhile. A job that is cancelled or interrupted has given back less. Bitmaps, which say what has changed, would
 * not be valid any more: an image that has some is %IMAGO_ERROR_UNSUPPORTED, which lists them, unless
 * #ImagoCompactJob:lose-bitmaps is set. An image whose metadata is damaged is %IMAGO_ERROR_CORRUPT and stays as it is;
 * clusters that only seem to be in use (leaks) stay as well: see #ImagoCheckJob:repair for both.
 *
 * Written anew (%IMAGO_COMPACT_METHOD_REWRITE) the image becomes as small as a fresh copy, also where files cannot have
 * holes, and that takes room for the copy: want of it is %G_IO_ERROR_NO_SPACE, before anything is written where that is
 * certain. The new file replaces the old one, of the same name, at once and durably; until then a failure, a
 * cancellation or a crash leaves the old one as it was. If #ImagoOpenOptions lets it be locked, nobody else can write to
 * the image in between, and in this process writing to it fails with %IMAGO_ERROR_LOCKED; reading it goes on.
 *
 * The new image has the options, the backing file and the bitmaps of the old one, the new file has the mode, the owner
 * and the extended attributes; if these cannot be given to it the job fails. If some of its clusters are compressed, all
 * will be. Behind a symbolic link the file that it names is replaced. Overlays of the image can be opened as
 * before. What would be lost is %IMAGO_ERROR_UNSUPPORTED: snapshots, which are listed, external data files, encryption,
 * what the library knows nothing of, other names of the file (hard links); a bitmap that was not closed is
 * %IMAGO_ERROR_CORRUPT unless #ImagoCompactJob:lose-bitmaps is set. What is no regular file of its own, such as a device or a
 * storage of the application, is %IMAGO_ERROR_NOT_REGULAR_FILE. The image must be open with the backing file that it
 * names.
 *
 * As soon as the new file has its place the job closes #ImagoCompactJob:image, whose file is no longer there: other calls
 * fail with %IMAGO_ERROR_CLOSED, and whoever goes on with the disk opens the image again, best after
 * imago_image_close(), which waits until the space of the old file has been given back. After a job that failed the image is
 * open as before; only if the folder could not be made durable, which is an error, it is closed, too.
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
  ImagoCompactMethod method;
  gboolean lose_bitmaps;
  guint64 bytes_freed; /* atomic */

  ImagoImageState *state; /* while it runs */
  gboolean is_replaced;   /* the image lies in a new file */
};

struct _ImagoCompactJobClass
{
  ImagoJobClass parent_class;
};

enum
{
  PROP_0,
  PROP_IMAGE,
  PROP_METHOD,
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

  self->state = imago_job_hold_image (job, self->image, error);
  return self->state != NULL;
}

static gboolean
rewrite (ImagoCompactJob *self,
         guint64 *n_freed,
         ImgProgress *progress,
         ImgCancel *cancel,
         ImgError **error)
{
  const ImgRewriteOptions options = {
    .lose_bitmaps = self->lose_bitmaps,
    .bytes_per_second = imago_job_get_rate_limit (IMAGO_JOB (self)),
    .n_threads = imago_job_get_threads (IMAGO_JOB (self)),
    .priority = imago_job_get_priority (IMAGO_JOB (self)),
  };
  ImgRewriteResult result;
  gboolean success =
    img_rewrite (self->state->core, &options, &result, progress, cancel, error);

  *n_freed = result.n_freed;
  self->is_replaced = result.is_replaced;
  return success;
}

static gboolean
imago_compact_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (job);
  guint64 n_freed;
  gboolean success;

  if (self->method == IMAGO_COMPACT_METHOD_REWRITE)
    success = rewrite (self, &n_freed, progress, cancel, error);
  else
    success = img_compact (self->state->core, self->lose_bitmaps, &n_freed, progress, cancel, error);
  __atomic_store_n (&self->bytes_freed, n_freed, __ATOMIC_RELAXED);
  return success;
}

static void
imago_compact_job_finish (ImagoJob *job)
{
  ImagoCompactJob *self = IMAGO_COMPACT_JOB (job);

  if (self->is_replaced)
    imago_image_state_begin_closing (self->state);
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
    case PROP_METHOD:
      g_value_set_enum (value, self->method);
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
    case PROP_METHOD:
      imago_compact_job_set_method (self, g_value_get_enum (value));
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
   * ImagoCompactJob:method:
   *
   * How the file is made smaller.
   *
   * Since: 1.0
   */
  properties[PROP_METHOD] =
    g_param_spec_enum ("method", "Method", "How the file is made smaller", IMAGO_TYPE_COMPACT_METHOD,
                       IMAGO_COMPACT_METHOD_NONE,
                       G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoCompactJob:lose-bitmaps:
   *
   * Whether an image that has bitmaps is compacted nevertheless. In place they are not valid afterwards; written anew, an
   * image loses only those that were not closed by the program that used them.
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
   * tell. Of an image that was written anew it gets them when nobody has the old file open any more. It is not
   * notified.
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
 * imago_compact_job_set_method:
 * @self: an #ImagoCompactJob that has not been run
 * @method: how the file is made smaller
 *
 * Sets #ImagoCompactJob:method.
 *
 * Since: 1.0
 */
void
imago_compact_job_set_method (ImagoCompactJob *self, ImagoCompactMethod method)
{
  g_return_if_fail (IMAGO_IS_COMPACT_JOB (self));
  g_return_if_fail (method <= IMAGO_COMPACT_METHOD_REWRITE);
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->method == method)
    return;
  self->method = method;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_METHOD]);
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
