/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-alloc.h"
#include "img-change.h"
#include "img-mutant.h"

void
img_change_begin (ImgChange *request, ImgImage *image, const struct iovec *iov, guint n_iov)
{
  request->image = image;
  request->layout = image->layout;
  request->cursor = img_iov_cursor (iov, n_iov);
  request->is_claimed = FALSE;
  request->no_fallback = FALSE;
  request->vectors = request->inline_vectors;
  request->max_vectors = n_iov + 2;
  if (request->max_vectors > G_N_ELEMENTS (request->inline_vectors))
    request->vectors = g_new (struct iovec, request->max_vectors);
  img_walk_begin (&request->walk, image, FALSE);
  img_walk_enter (&request->walk);
}

void
img_change_end (ImgChange *request)
{
  if (request->is_claimed)
    img_claim_release (&request->image->claims, &request->claim);
  img_walk_end (&request->walk);
  if (request->vectors != request->inline_vectors)
    g_free (request->vectors);
}

gboolean
img_change_claim (ImgChange *request,
                  guint64 offset,
                  guint64 length,
                  ImgCancel *cancel,
                  ImgError **error)
{
  guint64 granularity = request->layout->write_granularity;
  guint64 start = img_align_down (offset, granularity);

  g_assert (!request->is_claimed);
  length = img_align_up (offset + length, granularity) - start;
  if (img_mutant_is_on (IMG_MUTANT_NO_CLAIM))
    {
      start = IMG_MAX_SIZE + (guint64) (gsize) request; /* a place where nobody else is */
      length = 1;
    }
  img_claim_take (&request->image->claims, &request->claim, start, length);
  request->is_claimed = TRUE;
  return !img_cancel_check (cancel, error);
}

/* ---- one plan ---- */

gboolean
img_change_submit (ImgStorage *storage, ImgIo *io, ImgError **error)
{
  img_storage_submit (storage, io, 1);
  img_io_wait (io, 1);
  return img_io_collect (io, 1, error);
}

static gboolean
extent_is_zero (ImgExtent *extent,
                const ImgImage *layer,
                ImgZeroSources sources,
                gboolean *is_zero,
                ImgError **error)
{
  ImgRange range;

  *is_zero = extent->kind == IMG_EXTENT_HOLE || extent->kind == IMG_EXTENT_ZERO;
  if (*is_zero || sources == IMG_ZERO_BY_MAP || extent->kind != IMG_EXTENT_DATA ||
      !layer->layout->has_host_holes)
    return TRUE;
  if (!img_storage_get_range (extent->storage, extent->host_offset, extent->length, &range, error))
    return FALSE;
  extent->length = range.length;
  *is_zero = range.kind == IMG_RANGE_ZERO;
  return TRUE;
}

gboolean
img_change_reads_as_zero (ImgChange *request,
                          guint64 offset,
                          guint64 length,
                          ImgZeroSources sources,
                          gboolean *is_zero,
                          ImgError **error)
{
  *is_zero = TRUE;
  while (length > 0 && *is_zero)
    {
      ImgExtent extent;
      ImgImage *layer;
      guint depth;

      if (img_walk_map (&request->walk, offset, length, &extent, &layer, &depth, error) !=
            IMG_MAP_OK ||
          !extent_is_zero (&extent, layer, sources, is_zero, error))
        return FALSE;
      offset += extent.length;
      length -= extent.length;
    }
  return TRUE;
}

/* The guest's bytes at @offset; zeroes where the last cluster passes the end of the disk. */
static gboolean
read_edge (ImgChange *request,
           guint64 offset,
           guint8 *buffer,
           gsize length,
           ImgCancel *cancel,
           ImgError **error)
{
  guint64 size = request->layout->size;
  gsize inside = offset < size ? (gsize) MIN (length, size - offset) : 0;
  struct iovec iov = { buffer, inside };

  memset (buffer + inside, 0, length - inside);
  return inside == 0 || img_walk_readv (&request->walk, offset, &iov, 1, cancel, error);
}

/* Gives *edge the bytes that belong into @length host bytes at guest @offset; none if they need not
 * be written. */
static gboolean
fill_edge (ImgChange *request,
           const ImgPlan *plan,
           ImgFill fill,
           guint64 offset,
           gsize length,
           ImgBuffer **edge,
           ImgCancel *cancel,
           ImgError **error)
{
  guint64 size = request->layout->size;
  gboolean is_zero = TRUE;

  if (length == 0 || fill == IMG_FILL_NONE)
    return TRUE;
  if (fill == IMG_FILL_COPY && offset < size &&
      !img_change_reads_as_zero (request, offset, MIN (length, size - offset), IMG_ZERO_BY_MAP,
                                 &is_zero, error))
    return FALSE;
  if (is_zero && plan->is_fresh)
    return TRUE;
  *edge = img_try_alloc (length, error);
  if (*edge == NULL)
    return FALSE;
  if (!is_zero)
    return read_edge (request, offset, *edge, length, cancel, error);
  memset (*edge, 0, length);
  return TRUE;
}

gboolean
img_change_write_plan (ImgChange *request, const ImgPlan *plan, ImgCancel *cancel, ImgError **error)
{
  g_autoptr (ImgBuffer) head = NULL;
  g_autoptr (ImgBuffer) tail = NULL;
  ImgIo io = { .op = IMG_IO_WRITE, .offset = plan->host_offset, .length = plan->length };
  guint n_vectors = 0, n_slice;

  if (!fill_edge (request, plan, plan->head_fill, plan->offset - plan->head_length,
                  plan->head_length, &head, cancel, error) ||
      !fill_edge (request, plan, plan->tail_fill, plan->offset + plan->length, plan->tail_length,
                  &tail, cancel, error))
    return FALSE;
  if (head != NULL)
    {
      request->vectors[n_vectors++] = (struct iovec){ head, plan->head_length };
      io.offset -= plan->head_length;
      io.length += plan->head_length;
    }
  img_iov_cursor_slice (&request->cursor, plan->length, request->vectors + n_vectors,
                        request->max_vectors - n_vectors, &n_slice);
  n_vectors += n_slice;
  if (tail != NULL)
    {
      request->vectors[n_vectors++] = (struct iovec){ tail, plan->tail_length };
      io.length += plan->tail_length;
    }
  io.iov = request->vectors;
  io.n_iov = n_vectors;
  return img_change_submit (plan->storage, &io, error);
}

static gboolean
transfer_plan (ImgChange *request, const ImgPlan *plan, ImgCancel *cancel, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_ZERO, .offset = plan->host_offset, .length = plan->length };

  switch (plan->transfer)
    {
    case IMG_TRANSFER_NONE:
      return TRUE;
    case IMG_TRANSFER_WRITE:
      return img_change_write_plan (request, plan, cancel, error);
    case IMG_TRANSFER_ZERO:
      break;
    case IMG_TRANSFER_ZERO_UNMAP:
      io.flags = IMG_IO_UNMAP;
      break;
    case IMG_TRANSFER_DISCARD:
      io.op = IMG_IO_DISCARD;
      break;
    }
  if (request->no_fallback && io.op == IMG_IO_ZERO)
    io.flags |= IMG_IO_NO_FALLBACK;
  return img_change_submit (plan->storage, &io, error);
}

gboolean
img_change_commit_plan (ImgChange *request, ImgPlan *plan, ImgError **error)
{
  const ImgLayoutClass *klass = request->layout->klass;

  for (;;)
    {
      ImgPrepareResult result = klass->commit (request->layout, plan, error);

      if (result == IMG_PREPARE_OK)
        return TRUE;
      if (result != IMG_PREPARE_FLUSH || !klass->flush (request->layout, error))
        return FALSE;
    }
}

gboolean
img_change_run_plan (ImgChange *request, ImgPlan *plan, ImgCancel *cancel, ImgError **error)
{
  gboolean success;

  if (!plan->needs_commit)
    return transfer_plan (request, plan, cancel, error);
  if (img_mutant_is_on (IMG_MUTANT_COMMIT_BEFORE_DATA))
    return img_change_commit_plan (request, plan, error) &&
           transfer_plan (request, plan, cancel, error);
  success =
    transfer_plan (request, plan, cancel, error) && img_change_commit_plan (request, plan, error);
  if (!success)
    request->layout->klass->abort (request->layout, plan);
  return success;
}

gboolean
img_change_plan_write (ImgChange *request,
                       guint64 offset,
                       guint64 length,
                       ImgPlan *plan,
                       ImgError **error)
{
  const ImgLayoutClass *klass = request->layout->klass;

  ImgPrepareResult result;

  while ((result = klass->prepare_write (request->layout, offset, length, IMG_WRITE_CLAIMED, plan,
                                         error)) == IMG_PREPARE_FLUSH)
    if (!klass->flush (request->layout, error))
      return FALSE;
  return result == IMG_PREPARE_OK;
}

gboolean
img_change_write (ImgChange *request, guint64 offset, guint64 length, ImgCancel *cancel, ImgError **error)
{
  while (length > 0)
    {
      ImgPlan plan;

      if (!img_change_plan_write (request, offset, length, &plan, error) ||
          !img_change_run_plan (request, &plan, cancel, error))
        return FALSE;
      offset += plan.length;
      length -= plan.length;
      if (length > 0 && img_cancel_check (cancel, error))
        return FALSE;
    }
  return TRUE;
}
