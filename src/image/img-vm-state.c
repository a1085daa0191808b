/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The state of a virtual machine, which QEMU keeps in an image behind the end of its disk (qcow2: at the next whole L2
 * table). To the layout it lies in clusters like those of the disk, at offsets that no request for the disk can have.
 *
 * Whoever reads or writes it is alone behind the closed gate, as in a resize: the table that leads there may have to
 * grow. The size of the disk stays what it is, so what the engine does for the edges of clusters, which looks at the
 * size, is done here: whole clusters are written, with what was around the new bytes in them. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-change.h"
#include "img-copy.h"

/* What is held in memory, or a cluster if that is more. */
#define CHUNK_SIZE IMG_MIB

typedef struct
{
  ImgImage *image;
  guint64 start; /* of the state, in the offsets of the layout */
  guint64 end;   /* the layout can map what lies before it */
} VmState;

/* With the gate closed. */
static gboolean
vm_state_find (VmState *self, ImgImage *image, guint64 offset, guint64 length, ImgError **error)
{
  ImgLayout *layout = image->layout;

  *self = (VmState) { .image = image };
  if (layout->klass->find_vm_state == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("This image has no place for the state of a virtual machine"));
  else if (!layout->klass->find_vm_state (layout, &self->start, &self->end, error))
    return FALSE;
  else if (!img_range_fits (offset, length, IMG_MAX_SIZE - self->start))
    img_error_set (error, IMG_CODE_OUT_OF_RANGE, _("The state of a virtual machine cannot be that large"));
  else
    return TRUE;
  return FALSE;
}

/* ---- reading ---- */

/* Of what no table leads to nothing was ever written. */
static gboolean
read_clusters (VmState *self, guint64 offset, guint8 *buffer, gsize length, ImgCancel *cancel, ImgError **error)
{
  struct iovec iov = { buffer, (gsize) MIN (length, self->end - MIN (offset, self->end)) };
  gboolean success;
  ImgWalk walk;

  memset (buffer + iov.iov_len, 0, length - iov.iov_len);
  if (iov.iov_len == 0)
    return TRUE;
  img_walk_begin (&walk, self->image, FALSE);
  img_walk_enter (&walk);
  success = img_walk_readv (&walk, offset, &iov, 1, cancel, error);
  img_walk_end (&walk);
  return success;
}

gboolean
img_image_read_vm_state (ImgImage *image,
                         guint64 offset,
                         gpointer buffer,
                         gsize length,
                         ImgCancel *cancel,
                         ImgError **error)
{
  gboolean success;
  VmState state;

  if (img_cancel_check (cancel, error))
    return FALSE;
  img_image_begin_alone (image);
  success = img_check_range (image, 0, 0, error) && vm_state_find (&state, image, offset, length, error) &&
            read_clusters (&state, state.start + offset, buffer, length, cancel, error);
  img_image_end_alone (image);
  return success;
}

/* ---- writing ---- */

static gboolean
write_clusters (ImgImage *image, guint64 offset, guint8 *buffer, gsize length, ImgCancel *cancel, ImgError **error)
{
  struct iovec iov = { buffer, length };
  gboolean success;
  ImgChange request;

  img_change_begin (&request, image, &iov, 1);
  success = img_change_claim (&request, offset, length, cancel, error) &&
            img_change_write (&request, offset, length, cancel, error);
  img_change_end (&request);
  return success;
}

/* Into the clusters [@first, @end), the bytes that belong at @offset. */
static gboolean
write_chunk (VmState *self,
             guint64 first,
             guint64 end,
             guint64 offset,
             const guint8 *bytes,
             gsize length,
             ImgCancel *cancel,
             ImgError **error)
{
  gsize size = (gsize) (end - first);
  g_autoptr (ImgBuffer) buffer = img_try_alloc (size, error);

  if (buffer == NULL || (length < size && !read_clusters (self, first, buffer, size, cancel, error)))
    return FALSE;
  img_copy (buffer + (offset - first), bytes, length);
  return write_clusters (self->image, first, buffer, size, cancel, error);
}

static gboolean
write_all (VmState *self, guint64 offset, const guint8 *bytes, gsize length, ImgCancel *cancel, ImgError **error)
{
  ImgLayout *layout = self->image->layout;
  guint64 granularity = layout->write_granularity;
  guint64 chunk = MAX (granularity, CHUNK_SIZE);
  guint64 end = img_align_up (offset + length, granularity);

  if (end > self->end && (!layout->klass->reserve (layout, end, error) ||
                          !layout->klass->find_vm_state (layout, &self->start, &self->end, error)))
    return FALSE;
  for (gsize part; length > 0; offset += part, bytes += part, length -= part)
    {
      guint64 first = img_align_down (offset, granularity);
      guint64 last = MIN (end, first + chunk);

      part = (gsize) MIN (length, last - offset);
      if (img_cancel_check (cancel, error) ||
          !write_chunk (self, first, last, offset, bytes, part, cancel, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
img_image_write_vm_state (ImgImage *image,
                          guint64 offset,
                          gconstpointer buffer,
                          gsize length,
                          ImgCancel *cancel,
                          ImgError **error)
{
  gboolean success;
  VmState state;

  if (img_cancel_check (cancel, error))
    return FALSE;
  img_image_begin_alone (image);
  success = img_check_change (image, 0, 0, error) && vm_state_find (&state, image, offset, length, error) &&
            (length == 0 || write_all (&state, state.start + offset, buffer, length, cancel, error));
  img_image_end_alone (image);
  return success;
}
