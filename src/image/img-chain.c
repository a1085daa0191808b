/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Opening what an image refers to, image by image down the chain, in a loop: how long a chain is
 * stands in files. Every file is granted by the policy; depth, number and cycles are checked here.
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "img-image-private.h"

/* Four of the largest L1 tables: each image of a chain may have one, in a file that is sparse. */
#define MAX_TABLE_MEMORY (128 * IMG_MIB)

typedef struct
{
  ImgPolicy *policy;
  ImgCancel *cancel;
  guint max_depth;
  guint max_files;
  guint writable_depth;
  guint n_files;
  guint64 table_memory;
  GArray *visited; /* of ImgIdentity */
} Opener;

/* ---- limits ---- */

static gboolean
visit (Opener *opener, ImgStorage *storage, ImgError **error)
{
  ImgIdentity identity;

  if (++opener->n_files > opener->max_files)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The image refers to more than %u files"),
                     opener->max_files);
      return FALSE;
    }
  if (!img_storage_get_identity (storage, &identity))
    return TRUE;
  for (guint i = 0; i < opener->visited->len; i++)
    {
      const ImgIdentity *seen = &g_array_index (opener->visited, ImgIdentity, i);

      if (seen->device != identity.device || seen->inode != identity.inode)
        continue;
      img_error_set (error, IMG_CODE_REFERENCE_LOOP,
                     _("The image refers to itself, directly or through other images"));
      return FALSE;
    }
  g_array_append_val (opener->visited, identity);
  return TRUE;
}

static gboolean
add_tables (Opener *opener, ImgImage *image, ImgError **error)
{
  opener->table_memory += image->layout->table_memory;
  if (opener->table_memory <= MAX_TABLE_MEMORY)
    return TRUE;
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                 _("The tables of the chain of images take more than %u MiB"),
                 (guint) (MAX_TABLE_MEMORY / IMG_MIB));
  return FALSE;
}

/* A chain that the application put under an image counts like one that was opened. */
static gboolean
visit_chain (Opener *opener, ImgImage *image, guint *depth, ImgError **error)
{
  for (; image != NULL; image = image->backing)
    {
      if (!visit (opener, image->layout->storage, error) || !add_tables (opener, image, error))
        return FALSE;
      if (image->data_storage != NULL && !visit (opener, image->data_storage, error))
        return FALSE;
      if (++*depth > opener->max_depth)
        {
          img_error_set (error, IMG_CODE_LIMIT_EXCEEDED,
                         _("The chain of images is deeper than %u"), opener->max_depth);
          return FALSE;
        }
    }
  return TRUE;
}

/* ---- one reference ---- */

static void
prefix_reference (const ImgWanted *wanted, ImgError **error)
{
  g_autofree char *name = img_quote_name (wanted->name);

  if (wanted->role == IMG_REFERENCE_DATA_FILE)
    img_error_prefix (error, _("Cannot open the data file %s: "), name);
  else
    img_error_prefix (error, _("Cannot open the backing file %s: "), name);
}

/* Old tools wrote the protocol's name for a raw file; a policy is asked about what it means. */
static char *
dup_format_name (const char *name)
{
  gboolean is_protocol = g_strcmp0 (name, "file") == 0 || g_strcmp0 (name, "host_device") == 0;

  return g_strdup (is_protocol ? "raw" : name);
}

static ImgStorage *
ask (Opener *opener,
     ImgImage *image,
     const ImgWanted *wanted,
     guint depth,
     char **format_name,
     ImgError **error)
{
  ImgReference reference = {
    .wanted = wanted,
    .parent = image->layout->storage,
    .depth = depth,
    .needs_write = wanted->role == IMG_REFERENCE_DATA_FILE ? image->layout->writable
                                                           : depth == opener->writable_depth,
    .format_name = dup_format_name (wanted->format_name),
  };
  g_autoptr (ImgStorage) storage = NULL;

  storage = opener->policy->klass->decide (opener->policy, &reference, opener->cancel, error);
  *format_name = reference.format_name;
  if (storage != NULL && reference.needs_write && !storage->can_write)
    {
      img_error_set (error, IMG_CODE_READ_ONLY,
                     _("The file that was granted is not open for writing"));
      return NULL;
    }
  return g_steal_pointer (&storage);
}

static const ImgDriver *
choose_driver (Opener *opener, ImgStorage *storage, const char *format_name, ImgError **error)
{
  const ImgDriver *driver;

  if (format_name == NULL || format_name[0] == '\0')
    {
      if (opener->policy->may_probe)
        return img_drivers_guess (storage, error);
      img_error_set (error, IMG_CODE_UNKNOWN_FORMAT,
                     _("The image does not say of which format the file is"));
      return NULL;
    }
  driver = img_driver_find (format_name);
  if (driver == NULL)
    {
      g_autofree char *name = img_quote_name (format_name);

      img_error_set (error, IMG_CODE_UNKNOWN_FORMAT, _("The format %s is not known"), name);
    }
  return driver;
}

static gboolean
open_data_file (Opener *opener,
                ImgImage *image,
                const ImgWanted *wanted,
                guint depth,
                ImgError **error)
{
  g_autofree char *format_name = NULL;
  g_autoptr (ImgStorage) storage = NULL;

  if (image->data_storage != NULL)
    return TRUE; /* an earlier attempt failed further down */
  storage = ask (opener, image, wanted, depth, &format_name, error);
  if (storage == NULL || !visit (opener, storage, error) ||
      !img_storage_lock (storage, img_lock_role (&image->options, TRUE), image->options.locking,
                         &image->data_lock, error))
    return FALSE;
  image->layout->klass->set_data_storage (image->layout, storage);
  image->data_storage = g_steal_pointer (&storage);
  return TRUE;
}

static ImgImage *
open_backing (Opener *opener,
              ImgImage *image,
              const ImgWanted *wanted,
              guint depth,
              ImgError **error)
{
  ImgImageOptions options = image->options;
  g_autofree char *format_name = NULL;
  g_autoptr (ImgStorage) storage = NULL;
  ImgImage *backing;

  if (depth + 1 > opener->max_depth)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The chain of images is deeper than %u"),
                     opener->max_depth);
      return NULL;
    }
  storage = ask (opener, image, wanted, depth, &format_name, error);
  if (storage == NULL || !visit (opener, storage, error))
    return NULL;
  options.driver = choose_driver (opener, storage, format_name, error);
  if (options.driver == NULL)
    return NULL;
  options.keep_unchanged = TRUE;
  options.layout.writable = depth == opener->writable_depth;
  backing = img_image_open (storage, &options, opener->cancel, error);
  if (backing != NULL && !add_tables (opener, backing, error))
    g_clear_pointer (&backing, img_image_unref);
  return backing;
}

/* ---- the chain ---- */

/* Everything that @image itself refers to. @opened gets the backing image, if the application gave
 * none. */
static gboolean
open_layer (Opener *opener, ImgImage *image, guint depth, ImgImage **opened, ImgError **error)
{
  *opened = NULL;
  for (guint i = 0; i < image->layout->wanted->len; i++)
    {
      const ImgWanted *wanted = g_ptr_array_index (image->layout->wanted, i);
      gboolean success = TRUE;

      if (img_cancel_check (opener->cancel, error))
        return FALSE;
      if (wanted->role == IMG_REFERENCE_DATA_FILE)
        success = open_data_file (opener, image, wanted, depth, error);
      else if (!image->backing_is_set)
        {
          *opened = open_backing (opener, image, wanted, depth, error);
          success = *opened != NULL;
        }
      if (!success)
        {
          prefix_reference (wanted, error);
          return FALSE;
        }
    }
  return TRUE;
}

/* On failure the images opened so far go, but for the one that was asked about. */
static gboolean
open_chain (Opener *opener, ImgImage *image, ImgError **error)
{
  ImgImage *current = image;
  ImgImage *opened;
  guint depth = 0;

  if (!visit_chain (opener, image, &depth, error))
    return FALSE;
  for (depth = 1; open_layer (opener, current, depth, &opened, error); depth++)
    {
      if (opened == NULL)
        return TRUE;
      img_image_unref (img_image_put_backing (current, opened));
      current = opened;
    }
  if (!image->backing_is_set)
    img_image_unref (img_image_put_backing (image, NULL));
  return FALSE;
}

static gboolean
is_pending (ImgImage *image)
{
  return __atomic_load_n (&image->state, __ATOMIC_ACQUIRE) == IMG_STATE_PENDING;
}

static void
set_linked (ImgImage *image)
{
  ImgState state = image->options.layout.metadata_only ? IMG_STATE_METADATA : IMG_STATE_READY;

  __atomic_store_n (&image->state, state, __ATOMIC_RELEASE);
}

/* From the top: whoever sees an image ready finds all below it linked, and reads it only from
 * above. */
static void
publish (ImgImage *image)
{
  for (ImgImage *layer = image->backing; layer != NULL && is_pending (layer);
       layer = layer->backing)
    set_linked (layer);
  set_linked (image);
}

/* Returns what it was: whoever finds it PENDING opens them. */
static ImgState
begin_opening (ImgImage *image)
{
  ImgState state;

  img_mutex_lock (&image->mutex);
  state = (ImgState) __atomic_load_n (&image->state, __ATOMIC_ACQUIRE);
  if (state == IMG_STATE_PENDING)
    __atomic_store_n (&image->state, IMG_STATE_OPENING, __ATOMIC_RELAXED);
  img_mutex_unlock (&image->mutex);
  return state;
}

gboolean
img_image_open_references (ImgImage *image, ImgPolicy *policy, ImgCancel *cancel, ImgError **error)
{
  Opener opener = { .policy = policy,
                    .cancel = cancel,
                    .max_depth = image->options.max_depth,
                    .max_files = image->options.max_files,
                    .writable_depth = image->options.writable_backing };
  ImgState state = begin_opening (image);
  gboolean success;

  if (state == IMG_STATE_OPENING)
    img_error_set_errno (error, EBUSY, _("The references of the image are being opened already"));
  if (state != IMG_STATE_PENDING)
    return state == IMG_STATE_READY || state == IMG_STATE_METADATA;
  opener.visited = g_array_new (FALSE, FALSE, sizeof (ImgIdentity));
  success = open_chain (&opener, image, error);
  g_array_unref (opener.visited);
  if (success)
    publish (image);
  else
    __atomic_store_n (&image->state, IMG_STATE_PENDING, __ATOMIC_RELEASE);
  return success;
}

GPtrArray *
img_image_get_wanted (ImgImage *image)
{
  return image->layout->wanted;
}

/* ---- overriding ---- */

static gboolean
check_backing (ImgImage *image, ImgImage *backing, ImgError **error)
{
  guint depth = 1;

  if (!img_image_require_ready (backing, error))
    return FALSE;
  for (ImgImage *layer = backing; layer != NULL; layer = layer->backing, depth++)
    if (layer == image)
      {
        img_error_set (error, IMG_CODE_REFERENCE_LOOP,
                       _("An image cannot be its own backing image"));
        return FALSE;
      }
  if (depth <= image->options.max_depth)
    return TRUE;
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The chain of images is deeper than %u"),
                 image->options.max_depth);
  return FALSE;
}

/* With the mutex. The old one is left in *old, which is to be dropped without it. */
static gboolean
put_backing (ImgImage *image, ImgImage *backing, ImgImage **old, ImgError **error)
{
  if (image->state != IMG_STATE_PENDING)
    {
      img_error_set (error, IMG_CODE_FAILED, _("The references of the image are open already"));
      return FALSE;
    }
  *old = img_image_put_backing (image, backing != NULL ? img_image_ref (backing) : NULL);
  /* Whoever freezes it looks in the opposite order, so one of the two finds the other. */
  if (backing != NULL && g_atomic_int_get (&backing->is_frozen))
    {
      *old = img_image_put_backing (image, *old);
      img_error_set (error, IMG_CODE_LOCKED, _("The backing image is being rewritten"));
      return FALSE;
    }
  image->backing_is_set = TRUE;
  /* What an image below would show is to be hidden, whatever the file says. */
  image->layout->has_backing |= backing != NULL;
  return TRUE;
}

gboolean
img_image_set_backing (ImgImage *image, ImgImage *backing, ImgError **error)
{
  ImgImage *old = NULL;
  gboolean success;

  if (backing != NULL && !check_backing (image, backing, error))
    return FALSE;
  img_mutex_lock (&image->mutex);
  success = put_backing (image, backing, &old, error);
  img_mutex_unlock (&image->mutex);
  img_image_unref (old);
  return success;
}
