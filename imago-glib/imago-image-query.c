/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#include "imago-extent-private.h"
#include "imago-image-info-private.h"
#include "imago-image-private.h"
#include "imago-snapshot-private.h"

/* Blocks are listed in parts, as the number that is asked for may be far more than there are. */
#define PART 1024

/* ---- information ---- */

/* As a transfer: what changes the structure of the image waits for it. */
static gpointer
run_query_info (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  ImgEpoch *epoch = img_image_get_epoch (call->core);
  ImgEpochTicket ticket = img_epoch_enter (epoch);
  ImagoImageInfo *info = imago_image_info_new_from_core (call->core, cancel, error);

  img_epoch_leave (epoch, ticket);
  return info;
}

/**
 * imago_image_query_info:
 * @self: an #ImagoImage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Collects what is known of the image itself, without its backing images. This may read from the
 * file.
 *
 * Returns: (transfer full): the information, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImageInfo *
imago_image_query_info (ImagoImage *self, GCancellable *cancellable, GError **error)
{
  ImagoImageCall call = { 0 };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_query_info, &call, NULL, g_object_unref, IMAGO_REQUEST_ABANDON, cancellable, error);
}

/**
 * imago_image_query_info_async:
 * @self: an #ImagoImage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the information is there
 * @user_data: data for @callback
 *
 * Starts to collect what is known of the image; see imago_image_query_info().
 *
 * Since: 1.0
 */
void
imago_image_query_info_async (ImagoImage *self,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data)
{
  const ImagoImageCall call = { 0 };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_query_info_async, G_STRFUNC, io_priority,
                               cancellable, callback, user_data);
  imago_image_call_async (self, task, run_query_info, &call, NULL, g_object_unref,
                          IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_query_info_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_query_info_async() began.
 *
 * Returns: (transfer full): the information, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoImageInfo *
imago_image_query_info_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/* As a transfer, too. */
static gpointer
run_list_snapshots (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImgImage *core = ((ImagoImageCall *) data)->core;
  ImgLayout *layout = img_image_get_layout (core);
  g_autoptr (GPtrArray) infos = NULL;
  ImgEpochTicket ticket;

  if (layout->klass->list_snapshots == NULL)
    return imago_snapshot_list_from_core (NULL);
  ticket = img_epoch_enter (img_image_get_epoch (core));
  infos = layout->klass->list_snapshots (layout, cancel, error);
  img_epoch_leave (img_image_get_epoch (core), ticket);
  return infos != NULL ? imago_snapshot_list_from_core (infos) : NULL;
}

/**
 * imago_image_list_snapshots:
 * @self: an #ImagoImage
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Lists the snapshots inside the image. This reads from the file.
 *
 * Returns: (transfer full): a #GListModel of #ImagoSnapshot, or %NULL with @error set
 *
 * Since: 1.0
 */
GListModel *
imago_image_list_snapshots (ImagoImage *self, GCancellable *cancellable, GError **error)
{
  ImagoImageCall call = { 0 };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_list_snapshots, &call, NULL, g_object_unref, IMAGO_REQUEST_ABANDON, cancellable, error);
}

/**
 * imago_image_list_snapshots_async:
 * @self: an #ImagoImage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the list is there
 * @user_data: data for @callback
 *
 * Starts to list the snapshots inside the image; see imago_image_list_snapshots().
 *
 * Since: 1.0
 */
void
imago_image_list_snapshots_async (ImagoImage *self,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data)
{
  const ImagoImageCall call = { 0 };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_list_snapshots_async, G_STRFUNC, io_priority,
                               cancellable, callback, user_data);
  imago_image_call_async (self, task, run_list_snapshots, &call, NULL, g_object_unref,
                          IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_list_snapshots_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_list_snapshots_async() began.
 *
 * Returns: (transfer full): a #GListModel of #ImagoSnapshot, or %NULL with @error set
 *
 * Since: 1.0
 */
GListModel *
imago_image_list_snapshots_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/* ---- the block map ---- */

static ImgBlockMapFlags
to_core_flags (ImagoMapFlags flags)
{
  return (flags & IMAGO_MAP_TOP_ONLY ? IMG_BLOCK_MAP_TOP_ONLY : 0) |
         (flags & IMAGO_MAP_HOST_HOLES ? IMG_BLOCK_MAP_HOST_HOLES : 0);
}

static gpointer
run_map (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  ImgBlock block;

  if (call->length == 0)
    {
      img_error_set (error, IMG_CODE_OUT_OF_RANGE, _("An empty range has no map"));
      return NULL;
    }
  if (!img_image_map (call->core, call->offset, call->length, call->flags, &block, cancel, error))
    return NULL;
  return imago_extent_new_from_block (&block);
}

/**
 * imago_image_map:
 * @self: an #ImagoImage
 * @offset: where to look, in bytes
 * @length: how far to look, in bytes; more than 0
 * @flags: how much to look at
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Says what the disk is at @offset, and how far it is so: as long a run as is cheap to find out, at
 * most @length. A range that reaches past the end of the disk is %IMAGO_ERROR_OUT_OF_RANGE.
 *
 * Returns: (transfer full): the extent that begins at @offset, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoExtent *
imago_image_map (ImagoImage *self,
                 guint64 offset,
                 guint64 length,
                 ImagoMapFlags flags,
                 GCancellable *cancellable,
                 GError **error)
{
  ImagoImageCall call = { .offset = offset, .length = length, .flags = to_core_flags (flags) };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_map, &call, NULL, (GDestroyNotify) imago_extent_free,
                           IMAGO_REQUEST_ABANDON, cancellable, error);
}

static void
deliver_extent (GTask *task, gpointer data)
{
  g_task_return_pointer (task, data, (GDestroyNotify) imago_extent_free);
}

/* TRUE if @task was taken and will be answered. Errors are left to the worker, which meets them
 * again. */
static gboolean
map_inline (ImagoImage *self, GTask *task, const ImagoImageCall *call)
{
  ImagoLane *lane = imago_lane_find (task);
  ImgTryResult result = IMG_TRY_WOULD_BLOCK;
  ImgEpochTicket ticket;
  ImgBlock block;
  ImgImage *core;
  gint64 begun;

  if (call->length == 0 || !imago_lane_may_inline (lane, 0) ||
      g_cancellable_is_cancelled (g_task_get_cancellable (task)))
    return FALSE;
  core = imago_image_state_enter (self->state, &ticket);
  if (core == NULL)
    return FALSE;
  begun = imago_lane_begin (lane, 0);
  result = img_image_try_map (core, call->offset, call->length, call->flags, &block, NULL);
  imago_lane_end (lane, 0, begun);
  if (result == IMG_TRY_DONE)
    imago_lane_push (lane, task, deliver_extent, imago_extent_new_from_block (&block));
  imago_image_state_leave (self->state, ticket);
  return result == IMG_TRY_DONE;
}

/**
 * imago_image_map_async:
 * @self: an #ImagoImage
 * @offset: where to look, in bytes
 * @length: how far to look, in bytes; more than 0
 * @flags: how much to look at
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the extent is known
 * @user_data: data for @callback
 *
 * Starts to find out what the disk is at @offset; see imago_image_map(). What is known without
 * reading a file needs no worker thread.
 *
 * Since: 1.0
 */
void
imago_image_map_async (ImagoImage *self,
                       guint64 offset,
                       guint64 length,
                       ImagoMapFlags flags,
                       int io_priority,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  const ImagoImageCall call = { .offset = offset,
                                .length = length,
                                .flags = to_core_flags (flags) };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_map_async, G_STRFUNC, io_priority, cancellable,
                               callback, user_data);
  if (!map_inline (self, task, &call))
    imago_image_call_async (self, task, run_map, &call, NULL, (GDestroyNotify) imago_extent_free,
                            IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_map_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_map_async() began.
 *
 * Returns: (transfer full): the extent, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoExtent *
imago_image_map_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

static ImgBlock *
grow (ImgBlock *blocks, guint n_allocated, ImgError **error)
{
  ImgBlock *grown = g_try_renew (ImgBlock, blocks, n_allocated);

  if (grown == NULL)
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot hold %u extents"),
                   n_allocated);
  return grown;
}

static gboolean
make_room (ImgBlock **blocks, guint *n_allocated, guint n_needed, ImgError **error)
{
  ImgBlock *grown;

  if (n_needed <= *n_allocated)
    return TRUE;
  n_needed = MAX (2 * *n_allocated, n_needed);
  grown = grow (*blocks, n_needed, error);
  if (grown == NULL)
    return FALSE;
  *blocks = grown;
  *n_allocated = n_needed;
  return TRUE;
}

/* A part may end within a block, which the next part then goes on with: the last one, too, is
 * complete only when something else follows it. */
static gboolean
list_blocks (ImagoImageCall *call,
             ImgBlock **blocks,
             guint *n_blocks,
             ImgCancel *cancel,
             ImgError **error)
{
  guint64 end = call->offset + call->length;
  guint64 offset = call->offset;
  guint n_allocated = 0;

  while (offset < end)
    {
      guint n_wanted = CLAMP (call->max - *n_blocks, 1, PART);
      ImgBlock *part;
      guint n;

      if (!make_room (blocks, &n_allocated, *n_blocks + n_wanted, error))
        return FALSE;
      part = *blocks + *n_blocks;
      n = img_image_map_many (call->core, offset, end - offset, call->flags, part, n_wanted, cancel,
                              error);
      if (n == 0)
        return FALSE;
      offset = part[n - 1].offset + part[n - 1].length;
      if (*n_blocks > 0 && img_block_may_merge (part - 1, part))
        {
          part[-1].length += part->length;
          memmove (part, part + 1, --n * sizeof *part);
        }
      if (n > call->max - *n_blocks)
        return TRUE;
      *n_blocks += n;
    }
  return TRUE;
}

static gpointer
run_map_extents (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  ImgBlock *blocks = NULL;
  ImagoExtentArray *array = NULL;
  guint n_blocks = 0;
  ImgBlock block;

  if (!img_range_fits (call->offset, call->length, img_image_get_size (call->core)))
    {
      img_image_map (call->core, call->offset, call->length, call->flags, &block, cancel,
                     error); /* to say so */
      return NULL;
    }
  if (list_blocks (call, &blocks, &n_blocks, cancel, error))
    array = imago_extent_array_new_from_blocks (blocks, n_blocks);
  g_free (blocks);
  return array;
}

/**
 * imago_image_map_extents:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how far to look, in bytes
 * @max: the greatest number of extents to return; more than 0
 * @flags: how much to look at
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Lists the extents of a range of the disk. They follow each other without a gap, and neighbours
 * differ. If the range has more than @max, the list ends early: go on where its last extent ends. A
 * range that reaches past the end of the disk is %IMAGO_ERROR_OUT_OF_RANGE.
 *
 * Returns: (transfer full): the extents, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoExtentArray *
imago_image_map_extents (ImagoImage *self,
                         guint64 offset,
                         guint64 length,
                         guint max,
                         ImagoMapFlags flags,
                         GCancellable *cancellable,
                         GError **error)
{
  ImagoImageCall call = { .offset = offset,
                          .length = length,
                          .max = max,
                          .flags = to_core_flags (flags) };

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (max > 0, NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_image_call (self, run_map_extents, &call, NULL, (GDestroyNotify) imago_extent_array_unref,
                           IMAGO_REQUEST_ABANDON, cancellable, error);
}

/**
 * imago_image_map_extents_async:
 * @self: an #ImagoImage
 * @offset: where to begin, in bytes
 * @length: how far to look, in bytes
 * @max: the greatest number of extents to return; more than 0
 * @flags: how much to look at
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the list is there
 * @user_data: data for @callback
 *
 * Starts to list the extents of a range of the disk; see imago_image_map_extents().
 *
 * Since: 1.0
 */
void
imago_image_map_extents_async (ImagoImage *self,
                               guint64 offset,
                               guint64 length,
                               guint max,
                               ImagoMapFlags flags,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data)
{
  const ImagoImageCall call = { .offset = offset,
                                .length = length,
                                .max = max,
                                .flags = to_core_flags (flags) };
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (max > 0);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_map_extents_async, G_STRFUNC, io_priority,
                               cancellable, callback, user_data);
  imago_image_call_async (self, task, run_map_extents, &call, NULL,
                          (GDestroyNotify) imago_extent_array_unref, IMAGO_REQUEST_ABANDON);
}

/**
 * imago_image_map_extents_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_map_extents_async() began.
 *
 * Returns: (transfer full): the extents, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoExtentArray *
imago_image_map_extents_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}
