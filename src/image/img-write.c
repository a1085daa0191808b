/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The transfer engine: changing the disk.
 *
 * A request asks the layout for a plan. One in place for all of it, as most are, is carried out at once. Any
 * other request claims its range (img-claims.h), rounded to clusters, and asks for one plan after another: from
 * anew, since another request may have changed the map while it waited. For each plan:
 * read what must be copied around the guest's bytes, write all of it in one vectored request, commit.
 * When a write fails, the plan is aborted after it has come back, and no reader ever saw anything.
 *
 * A request is inside the epoch of the image from before its first map or plan until after its last
 * transfer, and looks there whether its range is in the disk: structure changes wait for it, and host space that was freed meanwhile is not reused under
 * it. It waits for storages, for the layout's turn, and for earlier claims, never for the gate.
 *
 * A layout that has too much unwritten metadata asks for a flush (IMG_PREPARE_FLUSH). The request keeps
 * its claim and its place in the epoch meanwhile: a flush needs neither.
 *
 * Order of the parts of one request: from front to back. Cancelled or failed, what was committed stays.
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-image-private.h"
#include "img-iov.h"
#include "img-mutant.h"

typedef struct
{
  ImgImage *image;
  ImgLayout *layout;
  ImgWalk walk;
  ImgIovCursor cursor; /* what is left of the guest's bytes */
  struct iovec *vectors; /* head, a slice of the caller's vector, tail */
  guint max_vectors;
  struct iovec inline_vectors[8];
  gboolean is_claimed;
  gboolean no_fallback; /* zeroes on the host are not written as bytes */
  ImgClaim claim;
} Request;

static void
request_begin (Request *request, ImgImage *image, const struct iovec *iov, guint n_iov)
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

static void
request_end (Request *request)
{
  if (request->is_claimed)
    img_claim_release (&request->image->claims, &request->claim);
  img_walk_end (&request->walk);
  if (request->vectors != request->inline_vectors)
    g_free (request->vectors);
}

/* No more than one claim a request: it is the last thing that it waits for. */
static void
request_claim (Request *request, guint64 offset, guint64 length)
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
}

/* ---- one plan ---- */

static gboolean
submit (ImgStorage *storage, ImgIo *io, ImgError **error)
{
  img_storage_submit (storage, io, 1);
  img_io_wait (io, 1);
  return img_io_collect (io, 1, error);
}

typedef enum
{
  MAP_ONLY,
  HOST_HOLES, /* of what the map calls data, the holes of its file too: that takes a system call */
} ZeroSources;

static gboolean
extent_is_zero (ImgExtent *extent,
                const ImgImage *layer,
                ZeroSources sources,
                gboolean *is_zero,
                ImgError **error)
{
  ImgRange range;

  *is_zero = extent->kind == IMG_EXTENT_HOLE || extent->kind == IMG_EXTENT_ZERO;
  if (*is_zero || sources == MAP_ONLY || extent->kind != IMG_EXTENT_DATA || !layer->layout->has_host_holes)
    return TRUE;
  if (!img_storage_get_range (extent->storage, extent->host_offset, extent->length, &range, error))
    return FALSE;
  extent->length = range.length;
  *is_zero = range.kind == IMG_RANGE_ZERO;
  return TRUE;
}

/* Whether the guest sees nothing but zeroes. */
static gboolean
reads_as_zero (Request *request,
               guint64 offset,
               guint64 length,
               ZeroSources sources,
               gboolean *is_zero,
               ImgError **error)
{
  *is_zero = TRUE;
  while (length > 0 && *is_zero)
    {
      ImgExtent extent;
      ImgImage *layer;
      guint depth;

      if (img_walk_map (&request->walk, offset, length, &extent, &layer, &depth, error) != IMG_MAP_OK ||
          !extent_is_zero (&extent, layer, sources, is_zero, error))
        return FALSE;
      offset += extent.length;
      length -= extent.length;
    }
  return TRUE;
}

/* The guest's bytes at @offset; zeroes where the last cluster passes the end of the disk. */
static gboolean
read_edge (Request *request,
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

/* Gives *edge the bytes that belong into @length host bytes at guest @offset; none if they need not be
 * written. */
static gboolean
fill_edge (Request *request,
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
      !reads_as_zero (request, offset, MIN (length, size - offset), MAP_ONLY, &is_zero, error))
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

static gboolean
write_plan (Request *request, const ImgPlan *plan, ImgCancel *cancel, ImgError **error)
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
      request->vectors[n_vectors++] = (struct iovec) { head, plan->head_length };
      io.offset -= plan->head_length;
      io.length += plan->head_length;
    }
  img_iov_cursor_slice (&request->cursor, plan->length, request->vectors + n_vectors,
                        request->max_vectors - n_vectors, &n_slice);
  n_vectors += n_slice;
  if (tail != NULL)
    {
      request->vectors[n_vectors++] = (struct iovec) { tail, plan->tail_length };
      io.length += plan->tail_length;
    }
  io.iov = request->vectors;
  io.n_iov = n_vectors;
  return submit (plan->storage, &io, error);
}

static gboolean
transfer_plan (Request *request, const ImgPlan *plan, ImgCancel *cancel, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_ZERO, .offset = plan->host_offset, .length = plan->length };

  switch (plan->transfer)
    {
    case IMG_TRANSFER_NONE:
      return TRUE;
    case IMG_TRANSFER_WRITE:
      return write_plan (request, plan, cancel, error);
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
  return submit (plan->storage, &io, error);
}

static gboolean
commit_plan (Request *request, ImgPlan *plan, ImgError **error)
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

static gboolean
run_plan (Request *request, ImgPlan *plan, ImgCancel *cancel, ImgError **error)
{
  gboolean success;

  if (!plan->needs_commit)
    return transfer_plan (request, plan, cancel, error);
  if (img_mutant_is_on (IMG_MUTANT_COMMIT_BEFORE_DATA))
    return commit_plan (request, plan, error) && transfer_plan (request, plan, cancel, error);
  success = transfer_plan (request, plan, cancel, error) && commit_plan (request, plan, error);
  if (!success)
    request->layout->klass->abort (request->layout, plan);
  return success;
}

/* ---- writing ---- */

static gboolean
write_next (Request *request, guint64 offset, guint64 length, ImgPlan *plan, ImgError **error)
{
  const ImgLayoutClass *klass = request->layout->klass;

  ImgPrepareResult result;

  while ((result = klass->prepare_write (request->layout, offset, length, IMG_WRITE_CLAIMED, plan, error)) ==
         IMG_PREPARE_FLUSH)
    if (!klass->flush (request->layout, error))
      return FALSE;
  return result == IMG_PREPARE_OK;
}

static gboolean
write_all (Request *request, guint64 offset, guint64 length, ImgCancel *cancel, ImgError **error)
{
  while (length > 0)
    {
      ImgPlan plan;

      if (!write_next (request, offset, length, &plan, error) ||
          !run_plan (request, &plan, cancel, error))
        return FALSE;
      offset += plan.length;
      length -= plan.length;
      if (length > 0 && img_cancel_check (cancel, error))
        return FALSE;
    }
  return TRUE;
}

/* Most requests are one run of clusters in place: no claim, no commit. CLAIM: this one is not. */
static ImgPrepareResult
plan_in_place (ImgImage *image,
               guint64 offset,
               guint64 length,
               ImgWriteMode mode,
               ImgPlan *plan,
               ImgError **error)
{
  ImgLayout *layout = image->layout;
  ImgPrepareResult result;

  if (G_UNLIKELY (!img_check_change (image, offset, length, error)))
    return IMG_PREPARE_ERROR;
  result = layout->klass->prepare_write (layout, offset, length, mode, plan, error);
  if (result == IMG_PREPARE_OK && (plan->length < length || plan->needs_commit))
    return IMG_PREPARE_CLAIM;
  return result;
}

static ImgPrepareResult
write_in_place (ImgImage *image,
                guint64 offset,
                const struct iovec *iov,
                guint n_iov,
                guint64 length,
                ImgError **error)
{
  ImgIo io = { .op = IMG_IO_WRITE, .length = length, .iov = iov, .n_iov = n_iov };
  ImgPrepareResult result;
  ImgPlan plan;
  ImgWalk walk;

  img_walk_begin (&walk, image, FALSE);
  img_walk_enter (&walk);
  result = plan_in_place (image, offset, length, IMG_WRITE_IN_PLACE, &plan, error);
  if (G_LIKELY (result == IMG_PREPARE_OK))
    {
      io.offset = plan.host_offset;
      if (G_UNLIKELY (!submit (plan.storage, &io, error)))
        result = IMG_PREPARE_ERROR;
    }
  img_walk_end (&walk);
  return result;
}

static ImgTryResult
try_storage (ImgStorage *storage, ImgIo *io, ImgError **error)
{
  img_storage_submit (storage, io, 1);
  if (io->would_block)
    return IMG_TRY_WOULD_BLOCK;
  return img_io_collect (io, 1, error) ? IMG_TRY_DONE : IMG_TRY_ERROR;
}

ImgTryResult
img_image_try_write (ImgImage *image,
                     guint64 offset,
                     gconstpointer buffer,
                     gsize length,
                     ImgError **error)
{
  struct iovec iov = { (gpointer) buffer, length };
  ImgIo io = { .op = IMG_IO_WRITE, .flags = IMG_IO_NOWAIT, .length = length, .iov = &iov, .n_iov = 1 };
  ImgPrepareResult prepared = IMG_PREPARE_CLAIM;
  ImgTryResult result = IMG_TRY_WOULD_BLOCK;
  ImgPlan plan;
  ImgWalk walk;

  img_walk_begin (&walk, image, TRUE);
  if (length > 0 && img_walk_enter (&walk))
    prepared = plan_in_place (image, offset, length, IMG_WRITE_TRY, &plan, error);
  if (prepared == IMG_PREPARE_ERROR)
    result = IMG_TRY_ERROR;
  if (prepared == IMG_PREPARE_OK)
    {
      io.offset = plan.host_offset;
      result = try_storage (plan.storage, &io, error);
    }
  img_walk_end (&walk);
  return result;
}

gboolean
img_image_writev (ImgImage *image,
                  guint64 offset,
                  const struct iovec *iov,
                  guint n_iov,
                  ImgCancel *cancel,
                  ImgError **error)
{
  guint64 length = img_iov_size (iov, n_iov);
  ImgPrepareResult result;
  gboolean success;
  Request request;

  if (img_cancel_check (cancel, error))
    return FALSE;
  if (length == 0)
    return img_check_change (image, offset, length, error);
  result = write_in_place (image, offset, iov, n_iov, length, error);
  if (G_LIKELY (result != IMG_PREPARE_CLAIM))
    return result == IMG_PREPARE_OK;
  request_begin (&request, image, iov, n_iov);
  request_claim (&request, offset, length); /* it has been looked whether it could do without */
  success = img_check_change (image, offset, length, error) &&
            write_all (&request, offset, length, cancel, error);
  request_end (&request);
  return success;
}

gboolean
img_image_write (ImgImage *image,
                 guint64 offset,
                 gconstpointer buffer,
                 gsize length,
                 ImgCancel *cancel,
                 ImgError **error)
{
  struct iovec iov = { (gpointer) buffer, length };

  return img_image_writev (image, offset, &iov, 1, cancel, error);
}

/* ---- compressed clusters ---- */

static gboolean
prepare_compressed (Request *request,
                    guint64 offset,
                    guint64 length,
                    gsize stored_length,
                    ImgPlan *plan,
                    ImgError **error)
{
  const ImgLayoutClass *klass = request->layout->klass;
  ImgPrepareResult result;

  while ((result = klass->prepare_compressed (request->layout, offset, length, stored_length, plan,
                                              error)) == IMG_PREPARE_FLUSH)
    if (!klass->flush (request->layout, error))
      return FALSE;
  return result == IMG_PREPARE_OK;
}

static gboolean
write_encoded (ImgImage *image,
               guint64 offset,
               guint64 length,
               const guint8 *stored,
               gsize stored_length,
               ImgCancel *cancel,
               ImgError **error)
{
  struct iovec iov = { (gpointer) stored, stored_length };
  gboolean success;
  Request request;
  ImgPlan plan;

  request_begin (&request, image, &iov, 1);
  request_claim (&request, offset, length);
  success = img_check_change (image, offset, length, error) &&
            prepare_compressed (&request, offset, length, stored_length, &plan, error);
  if (success)
    {
      /* To the engine the stored bytes are what is to be written. */
      ImgPlan stored_plan = plan;

      stored_plan.length = stored_length;
      success = write_plan (&request, &stored_plan, cancel, error) &&
                commit_plan (&request, &plan, error);
      if (!success)
        image->layout->klass->abort (image->layout, &plan);
    }
  request_end (&request);
  return success;
}

/* One cluster, in @plain, filled up with zeroes. @stored: a buffer of that size. */
static gboolean
write_unit (ImgImage *image,
            guint64 offset,
            guint64 length,
            const guint8 *plain,
            guint8 *stored,
            ImgCancel *cancel,
            ImgError **error)
{
  gsize stored_length;

  if (!img_image_encode (image, 0, plain, stored, &stored_length, error))
    return FALSE;
  if (stored_length == 0)
    return img_image_write (image, offset, plain, (gsize) length, cancel, error);
  return write_encoded (image, offset, length, stored, stored_length, cancel, error);
}

static gboolean
check_compressed (ImgImage *image, guint64 offset, gsize length, ImgError **error)
{
  guint64 unit = image->layout->unit_length;

  if (!img_check_change (image, offset, length, error))
    return FALSE;
  if (unit == 0 || image->layout->klass->encode == NULL)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("This image cannot hold compressed clusters"));
  else if (!img_is_aligned (offset, unit) ||
           (!img_is_aligned (length, unit) && offset + length != img_image_get_size (image)))
    img_error_set (error, IMG_CODE_FAILED, _("Only whole clusters can be written compressed"));
  else
    return TRUE;
  return FALSE;
}

gboolean
img_image_encode (ImgImage *image,
                  int level,
                  const guint8 *plain,
                  guint8 *stored,
                  gsize *stored_length,
                  ImgError **error)
{
  return image->layout->klass->encode (image->layout, level, plain, stored, stored_length, error);
}

gboolean
img_image_write_encoded (ImgImage *image,
                         guint64 offset,
                         guint64 length,
                         const guint8 *stored,
                         gsize stored_length,
                         ImgCancel *cancel,
                         ImgError **error)
{
  if (!check_compressed (image, offset, (gsize) length, error) || img_cancel_check (cancel, error))
    return FALSE;
  return write_encoded (image, offset, length, stored, stored_length, cancel, error);
}

gboolean
img_image_write_compressed (ImgImage *image,
                            guint64 offset,
                            gconstpointer buffer,
                            gsize length,
                            ImgCancel *cancel,
                            ImgError **error)
{
  gsize unit = image->layout->unit_length;
  g_autoptr (ImgBuffer) plain = NULL;
  g_autoptr (ImgBuffer) stored = NULL;

  if (!check_compressed (image, offset, length, error))
    return FALSE;
  plain = img_try_alloc (unit, error);
  stored = plain != NULL ? img_try_alloc (unit, error) : NULL;
  if (stored == NULL)
    return FALSE;
  for (gsize done = 0, part; done < length; done += part)
    {
      part = MIN (unit, length - done);
      memcpy (plain, (const guint8 *) buffer + done, part);
      memset (plain + part, 0, unit - part);
      if (img_cancel_check (cancel, error) ||
          !write_unit (image, offset + done, part, plain, stored, cancel, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- zeroes and discard ---- */

#define ZEROES_LENGTH (64 * IMG_KIB)
#define N_ZEROES 16
#define PUNCH_STEP IMG_GIB

static const guint8 zeroes[ZEROES_LENGTH];

/* Up to N_ZEROES buffers of zeroes; *length: how many bytes are wanted, then how many they hold. */
static guint
fill_with_zeroes (struct iovec *iov, guint64 *length)
{
  guint64 left = *length;
  guint n = 0;

  for (; n < N_ZEROES && left > 0; left -= iov[n++].iov_len)
    iov[n] = (struct iovec) { (gpointer) zeroes, MIN (ZEROES_LENGTH, left) };
  *length -= left;
  return n;
}

static gboolean
write_host_zeroes (ImgStorage *storage, guint64 offset, guint64 length, ImgError **error)
{
  struct iovec iov[N_ZEROES];

  while (length > 0)
    {
      ImgIo io = { .op = IMG_IO_WRITE, .offset = offset, .length = length, .iov = iov };

      io.n_iov = fill_with_zeroes (iov, &io.length);
      offset += io.length;
      length -= io.length;
      if (!submit (storage, &io, error))
        return FALSE;
    }
  return TRUE;
}

/* Writes zeroes as data: where the map has no state for them, and at unaligned edges. */
static gboolean
write_zero_bytes (ImgImage *image,
                  guint64 offset,
                  guint64 length,
                  ImgCancel *cancel,
                  ImgError **error)
{
  struct iovec iov[N_ZEROES];

  while (length > 0)
    {
      guint64 part = length;
      guint n = fill_with_zeroes (iov, &part);

      if (!img_image_writev (image, offset, iov, n, cancel, error))
        return FALSE;
      offset += part;
      length -= part;
    }
  return TRUE;
}

/* What is to become of a range. */
typedef struct
{
  ImgPunchMode mode;
  gboolean no_fallback; /* fail where zeroes would have to be written as data */
} Punch;

static gboolean
is_zeroing (const Punch *how)
{
  return how->mode == IMG_PUNCH_KEEP || how->mode == IMG_PUNCH_UNMAP;
}

/* Where the format has no state for them. */
static gboolean
zero_by_writing (ImgImage *image,
                 guint64 offset,
                 guint64 length,
                 const Punch *how,
                 ImgCancel *cancel,
                 ImgError **error)
{
  if (how->no_fallback)
    {
      img_error_set_errno (error, ENOTSUP, _("Zeroes would have to be written as data"));
      return FALSE;
    }
  return write_zero_bytes (image, offset, length, cancel, error);
}

/* *n_done: the bytes that were handled, or that must be written as data (UNSUPPORTED). */
static ImgPrepareResult
punch_next (Request *request,
            guint64 offset,
            guint64 length,
            const Punch *how,
            guint64 *n_done,
            ImgCancel *cancel,
            ImgError **error)
{
  const ImgLayoutClass *klass = request->layout->klass;
  ImgPrepareResult result;
  ImgPlan plan;

  while ((result = klass->prepare_punch (request->layout, offset, length, how->mode, &plan, error)) ==
         IMG_PREPARE_FLUSH)
    if (!klass->flush (request->layout, error))
      return IMG_PREPARE_ERROR;
  *n_done = plan.length;
  request->no_fallback = how->no_fallback;
  if (result == IMG_PREPARE_OK && !run_plan (request, &plan, cancel, error))
    return IMG_PREPARE_ERROR;
  return result;
}

/* Whether the image itself has nothing at @offset. */
static gboolean
is_unwritten (Request *request, guint64 offset, gboolean *result, ImgError **error)
{
  ImgMapResult mapped;
  ImgExtent extent;
  ImgImage *layer;
  guint depth;

  request->walk.top_only = TRUE;
  mapped = img_walk_map (&request->walk, offset, 1, &extent, &layer, &depth, error);
  request->walk.top_only = FALSE;
  *result = mapped == IMG_MAP_OK && extent.kind == IMG_EXTENT_HOLE;
  return mapped == IMG_MAP_OK;
}

/* A part of one unit of zeroes: nothing to do if it reads as zero already. Where the rest of an unwritten unit does,
 * all of it becomes zeroes. UNSUPPORTED: it must be written as data. */
static ImgPrepareResult
punch_edge (Request *request,
            guint64 offset,
            guint64 length,
            const Punch *how,
            ImgCancel *cancel,
            ImgError **error)
{
  guint64 granularity = request->layout->punch_granularity;
  guint64 start = img_align_down (offset, granularity);
  guint64 end = MIN (img_align_up (offset + length, granularity), request->layout->size);
  gboolean is_zero, is_free;
  guint64 n_done;

  if (!reads_as_zero (request, offset, length, HOST_HOLES, &is_zero, error))
    return IMG_PREPARE_ERROR;
  if (is_zero)
    return IMG_PREPARE_OK;
  request_claim (request, offset, length);
  if (!is_unwritten (request, start, &is_free, error) ||
      (is_free && !reads_as_zero (request, start, offset - start, HOST_HOLES, &is_free, error)) ||
      (is_free && !reads_as_zero (request, offset + length, end - offset - length, HOST_HOLES, &is_free, error)))
    return IMG_PREPARE_ERROR;
  return is_free ? punch_next (request, start, end - start, how, &n_done, cancel, error)
                 : IMG_PREPARE_UNSUPPORTED;
}

static gboolean
zero_edge (ImgImage *image,
           guint64 offset,
           guint64 length,
           const Punch *how,
           ImgCancel *cancel,
           ImgError **error)
{
  ImgPrepareResult result = IMG_PREPARE_ERROR;
  Request request;

  if (length == 0)
    return TRUE;
  request_begin (&request, image, NULL, 0);
  if (img_check_change (image, offset, length, error))
    result = punch_edge (&request, offset, length, how, cancel, error);
  request_end (&request);
  if (result != IMG_PREPARE_UNSUPPORTED)
    return result == IMG_PREPARE_OK;
  return zero_by_writing (image, offset, length, how, cancel, error);
}

/* The cluster that the disk ends in counts as a whole one. It was the last when the request was cut into clusters
 * and edges, but the disk may have grown before it got here. */
static guint64
whole_clusters (ImgLayout *layout, guint64 offset, guint64 length, const Punch *how)
{
  guint64 end = offset + length;

  if (end < layout->size)
    end = img_align_down (end, is_zeroing (how) ? layout->punch_granularity : layout->write_granularity);
  return end > offset ? end - offset : 0;
}

/* Up to where zeroes must be written as data; *n_done: bytes from @offset on. */
static ImgPrepareResult
punch_run (ImgImage *image,
           guint64 offset,
           guint64 length,
           const Punch *how,
           guint64 *n_done,
           ImgCancel *cancel,
           ImgError **error)
{
  ImgPrepareResult result = IMG_PREPARE_OK;
  guint64 n_next, n_whole = 0;
  Request request;

  *n_done = 0;
  request_begin (&request, image, NULL, 0);
  if (!img_check_change (image, offset, length, error))
    result = IMG_PREPARE_ERROR;
  else
    n_whole = whole_clusters (image->layout, offset, length, how);
  if (image->layout->write_granularity > 1)
    request_claim (&request, offset, length);
  while (*n_done < n_whole && result == IMG_PREPARE_OK)
    {
      if (img_cancel_check (cancel, error))
        result = IMG_PREPARE_ERROR;
      else
        result = punch_next (&request, offset + *n_done, n_whole - *n_done, how, &n_next, cancel,
                             error);
      if (result == IMG_PREPARE_OK)
        *n_done += n_next;
    }
  request_end (&request);
  return result == IMG_PREPARE_OK && n_whole < length ? IMG_PREPARE_UNSUPPORTED : result;
}

/* A cluster that cannot be punched, or a part of it. */
static gboolean
zero_cluster (ImgImage *image,
              guint64 offset,
              guint64 length,
              const Punch *how,
              ImgCancel *cancel,
              ImgError **error)
{
  gboolean success, is_zero;
  Request request;

  request_begin (&request, image, NULL, 0);
  success = img_check_change (image, offset, length, error) &&
            reads_as_zero (&request, offset, length, HOST_HOLES, &is_zero, error);
  request_end (&request);
  return success && (is_zero || zero_by_writing (image, offset, length, how, cancel, error));
}

/* Where the format has no state for it, zeroes become data, unless they were optional. */
static gboolean
punch_step (ImgImage *image,
            guint64 offset,
            guint64 length,
            const Punch *how,
            ImgCancel *cancel,
            ImgError **error)
{
  guint64 granularity = image->layout->write_granularity;

  while (length > 0)
    {
      guint64 n_done, n_data;

      switch (punch_run (image, offset, length, how, &n_done, cancel, error))
        {
        case IMG_PREPARE_OK:
          return TRUE;
        case IMG_PREPARE_UNSUPPORTED:
          break;
        default:
          return FALSE;
        }
      offset += n_done;
      length -= n_done;
      n_data = MIN (length, granularity - (offset & (granularity - 1)));
      if (is_zeroing (how) && !zero_cluster (image, offset, n_data, how, cancel, error))
        return FALSE;
      offset += n_data;
      length -= n_data;
    }
  return TRUE;
}

/* In steps, so that what is freed by one can be reused while the next runs. */
static gboolean
punch_aligned (ImgImage *image,
               guint64 offset,
               guint64 length,
               const Punch *how,
               ImgCancel *cancel,
               ImgError **error)
{
  for (guint64 step; length > 0; offset += step, length -= step)
    {
      step = MIN (length, PUNCH_STEP - (offset & (PUNCH_STEP - 1)));
      if (!punch_step (image, offset, step, how, cancel, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
punch (ImgImage *image,
       guint64 offset,
       guint64 length,
       guint64 granularity,
       const Punch *how,
       ImgCancel *cancel,
       ImgError **error)
{
  guint64 size = img_image_get_size (image);
  guint64 end = offset + length;
  guint64 start = MIN (img_align_up (offset, granularity), end);
  guint64 stop = end == size ? end : MAX (img_align_down (end, granularity), start);

  if (is_zeroing (how) && !zero_edge (image, offset, start - offset, how, cancel, error))
    return FALSE;
  return punch_aligned (image, start, stop - start, how, cancel, error) &&
         (!is_zeroing (how) || zero_edge (image, stop, end - stop, how, cancel, error));
}

gboolean
img_image_write_zeroes (ImgImage *image,
                        guint64 offset,
                        guint64 length,
                        ImgZeroFlags flags,
                        ImgCancel *cancel,
                        ImgError **error)
{
  Punch how = { flags & IMG_ZERO_UNMAP ? IMG_PUNCH_UNMAP : IMG_PUNCH_KEEP,
                (flags & IMG_ZERO_NO_FALLBACK) != 0 };

  if (!img_check_change (image, offset, length, error) || img_cancel_check (cancel, error))
    return FALSE;
  return punch (image, offset, length, image->layout->punch_granularity, &how, cancel, error);
}

gboolean
img_image_discard (ImgImage *image,
                   guint64 offset,
                   guint64 length,
                   ImgDiscardMode mode,
                   ImgCancel *cancel,
                   ImgError **error)
{
  static const ImgPunchMode modes[] = {
    [IMG_DISCARD_ANY] = IMG_PUNCH_ANY,
    [IMG_DISCARD_ZERO] = IMG_PUNCH_UNMAP,
    [IMG_DISCARD_BACKING] = IMG_PUNCH_BACKING,
  };
  ImgLayout *layout = image->layout;
  Punch how = { modes[mode], FALSE };

  if (!img_check_change (image, offset, length, error) || img_cancel_check (cancel, error))
    return FALSE;
  return punch (image, offset, length, is_zeroing (&how) ? layout->punch_granularity : layout->write_granularity,
                &how, cancel, error);
}

/* ---- preallocation ---- */

/* Whole clusters of a plan, their edges included, that shall hold zeroes. */
static gboolean
allocate_plan (Request *request, const ImgPlan *plan, ImgPreallocate mode, ImgError **error)
{
  guint64 offset = plan->host_offset - plan->head_length;
  guint64 length = plan->head_length + plan->length + plan->tail_length;

  switch (mode)
    {
    case IMG_PREALLOCATE_OFF:
    case IMG_PREALLOCATE_METADATA:
      /* Fresh or not: the file must reach as far as the map. */
      return img_storage_zero (plan->storage, offset, length, IMG_IO_UNMAP, error);
    case IMG_PREALLOCATE_FALLOC:
      return img_storage_allocate (plan->storage, offset, length, error) &&
             (plan->is_fresh || img_storage_zero (plan->storage, offset, length, IMG_IO_NONE, error));
    case IMG_PREALLOCATE_FULL:
    default:
      return write_host_zeroes (plan->storage, offset, length, error);
    }
}

static gboolean
allocate_next (Request *request,
               guint64 offset,
               guint64 length,
               ImgPreallocate mode,
               guint64 *n_done,
               ImgError **error)
{
  ImgPlan plan;

  if (!write_next (request, offset, length, &plan, error))
    return FALSE;
  *n_done = plan.length;
  if (allocate_plan (request, &plan, mode, error) &&
      (!plan.needs_commit || commit_plan (request, &plan, error)))
    return TRUE;
  if (plan.needs_commit)
    request->layout->klass->abort (request->layout, &plan);
  return FALSE;
}

gboolean
img_image_allocate (ImgImage *image,
                    guint64 offset,
                    guint64 length,
                    ImgPreallocate mode,
                    ImgCancel *cancel,
                    ImgError **error)
{
  gboolean success = TRUE;
  guint64 n_done;
  Request request;

  request_begin (&request, image, NULL, 0);
  for (; success && length > 0; offset += n_done, length -= n_done)
    success = !img_cancel_check (cancel, error) &&
              allocate_next (&request, offset, length, mode, &n_done, error);
  request_end (&request);
  return success;
}
