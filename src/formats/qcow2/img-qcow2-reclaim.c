/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Giving back the clusters of the file that nothing refers to: those whose refcount is 0, which
 * other writers may have left filled. A refcount of 0 is believed only when a check of all metadata
 * has found no contradiction, as a cluster that is in use and counts as free would be lost.
 * Clusters that are only thought to be in use (leaks) stay: they are for a repair to find.
 *
 * Nobody is inside the image, so that no cluster is taken meanwhile, and nobody can still see one
 * that was freed.
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-qcow2-check.h"
#include "img-qcow2-writer.h"

/* With the turn once for so many clusters, between which it can be cancelled. */
#define STEP_CLUSTERS 16384

gboolean
img_qcow2_check_sound (ImgQcow2 *self, ImgCancel *cancel, ImgError **error)
{
  g_auto (ImgCheckResult) found = { 0 };

  img_check_result_init (&found);
  if (!img_qcow2_check (self->parent.storage, &found, NULL, cancel, error))
    return FALSE;
  if (found.corruptions == 0 && found.check_errors == 0)
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT,
                 _ ("The metadata of the image is damaged: that can be done only after a repair"));
  return FALSE;
}

/* Whether the cluster at @at is free, and how many from there on are alike, up to @limit. */
static ImgTableResult
next_run (ImgQcow2 *self,
          guint64 at,
          guint64 limit,
          gboolean *is_free,
          guint64 *n,
          ImgError **error)
{
  ImgTableResult result = IMG_TABLE_OK;
  guint64 refcount;

  img_turn_take (&self->writer->turn);
  for (*n = 0; result == IMG_TABLE_OK && *n < limit; (*n)++)
    {
      result = img_qcow2_refcount_get (self, at + *n, &refcount, error);
      if (result == IMG_TABLE_OK && *n == 0)
        *is_free = refcount == 0;
      else if (result != IMG_TABLE_OK || *is_free != (refcount == 0))
        break;
    }
  img_turn_give (&self->writer->turn);
  return *n > 0 ? IMG_TABLE_OK : result;
}

static gboolean
punch (ImgQcow2 *self, guint64 first, guint64 n, guint64 file_size, ImgError **error)
{
  guint64 start = first << self->cluster_bits;
  guint64 end = MIN ((first + n) << self->cluster_bits, file_size);

  return start >= end || img_storage_discard (self->parent.storage, start, end - start, error);
}

/* *end: behind the last cluster that is in use. */
static gboolean
punch_free (ImgQcow2 *self, guint64 file_size, guint64 *end, ImgCancel *cancel, ImgError **error)
{
  guint64 limit = self->writer->end, n;
  gboolean is_free = FALSE;

  *end = 0;
  for (guint64 at = 0; at < limit; at += n)
    {
      if (img_cancel_check (cancel, error) ||
          next_run (self, at, MIN (STEP_CLUSTERS, limit - at), &is_free, &n, error) != IMG_TABLE_OK)
        return FALSE;
      if (!is_free)
        *end = at + n;
      else if (!punch (self, at, n, file_size, error))
        return FALSE;
    }
  return TRUE;
}

/* Where the file cannot be shortened, as a device, it stays as it is. */
static void
cut (ImgQcow2 *self, guint64 end, guint64 file_size)
{
  guint64 size = end << self->cluster_bits;

  if (size >= file_size || !img_storage_truncate (self->parent.storage, size, NULL))
    return;
  img_turn_take (&self->writer->turn);
  self->writer->end = end;
  self->writer->next_free = MIN (self->writer->next_free, end);
  __atomic_store_n (&self->end, size, __ATOMIC_RELAXED);
  img_turn_give (&self->writer->turn);
}

gboolean
img_qcow2_reclaim (ImgLayout *layout, ImgCancel *cancel, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  guint64 file_size, end;

  if (!img_qcow2_writer_check (self, error) || !img_qcow2_flush_and_release_all (self, error) ||
      !img_qcow2_check_sound (self, cancel, error) ||
      !img_storage_get_size (layout->storage, &file_size, error) ||
      !punch_free (self, file_size, &end, cancel, error))
    return FALSE;
  cut (self, end, file_size);
  return TRUE;
}
