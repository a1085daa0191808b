/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The transfer engine: zeroes, discards, and space for what is not written yet. The rules are those
 * of img-write.c. */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-change.h"

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
    iov[n] = (struct iovec){ (gpointer) zeroes, MIN (ZEROES_LENGTH, left) };
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
      if (!img_change_submit (storage, &io, error))
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
      img_error_set_errno (error, ENOTSUP, _ ("Zeroes would have to be written as data"));
      return FALSE;
    }
  return write_zero_bytes (image, offset, length, cancel, error);
}

/* *n_done: the bytes that were handled, or that must be written as data (UNSUPPORTED). */
static ImgPrepareResult
punch_next (ImgChange *request,
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

  while ((result = klass->prepare_punch (request->layout, offset, length, how->mode, &plan,
                                         error)) == IMG_PREPARE_FLUSH)
    if (!klass->flush (request->layout, error))
      return IMG_PREPARE_ERROR;
  *n_done = plan.length;
  request->no_fallback = how->no_fallback;
  if (result == IMG_PREPARE_OK && !img_change_run_plan (request, &plan, cancel, error))
    return IMG_PREPARE_ERROR;
  return result;
}

/* Whether the image itself has nothing at @offset. */
static gboolean
is_unwritten (ImgChange *request, guint64 offset, gboolean *result, ImgError **error)
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

/* A part of one unit of zeroes: nothing to do if it reads as zero already. Where the rest of an
 * unwritten unit does, all of it becomes zeroes. UNSUPPORTED: it must be written as data. */
static ImgPrepareResult
punch_edge (ImgChange *request,
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

  if (!img_change_reads_as_zero (request, offset, length, IMG_ZERO_BY_HOST, &is_zero, error))
    return IMG_PREPARE_ERROR;
  if (is_zero)
    return IMG_PREPARE_OK;
  if (!img_change_claim (request, offset, length, cancel, error) ||
      !is_unwritten (request, start, &is_free, error) ||
      (is_free && !img_change_reads_as_zero (request, start, offset - start, IMG_ZERO_BY_HOST,
                                             &is_free, error)) ||
      (is_free && !img_change_reads_as_zero (request, offset + length, end - offset - length,
                                             IMG_ZERO_BY_HOST, &is_free, error)))
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
  ImgChange request;

  if (length == 0)
    return TRUE;
  img_change_begin (&request, image, NULL, 0);
  if (img_check_change (image, offset, length, error))
    result = punch_edge (&request, offset, length, how, cancel, error);
  img_change_end (&request);
  if (result != IMG_PREPARE_UNSUPPORTED)
    return result == IMG_PREPARE_OK;
  return zero_by_writing (image, offset, length, how, cancel, error);
}

/* The cluster that the disk ends in counts as a whole one. It was the last when the request was cut
 * into clusters and edges, but the disk may have grown before it got here. */
static guint64
whole_clusters (ImgLayout *layout, guint64 offset, guint64 length, const Punch *how)
{
  guint64 end = offset + length;

  if (end < layout->size)
    end = img_align_down (end,
                          is_zeroing (how) ? layout->punch_granularity : layout->write_granularity);
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
  ImgChange request;

  *n_done = 0;
  img_change_begin (&request, image, NULL, 0);
  if (!img_check_change (image, offset, length, error))
    result = IMG_PREPARE_ERROR;
  else
    n_whole = whole_clusters (image->layout, offset, length, how);
  if ((image->layout->write_granularity > 1 || img_image_is_apart (image)) &&
      !img_change_claim (&request, offset, length, cancel, result == IMG_PREPARE_OK ? error : NULL))
    result = IMG_PREPARE_ERROR;
  while (*n_done < n_whole && result == IMG_PREPARE_OK)
    {
      if (img_cancel_check (cancel, error))
        result = IMG_PREPARE_ERROR;
      else
        result =
          punch_next (&request, offset + *n_done, n_whole - *n_done, how, &n_next, cancel, error);
      if (result == IMG_PREPARE_OK)
        *n_done += n_next;
    }
  img_change_end (&request);
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
  ImgChange request;

  img_change_begin (&request, image, NULL, 0);
  success = img_check_change (image, offset, length, error) &&
            img_change_reads_as_zero (&request, offset, length, IMG_ZERO_BY_HOST, &is_zero, error);
  img_change_end (&request);
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
  return punch (image, offset, length,
                is_zeroing (&how) ? layout->punch_granularity : layout->write_granularity, &how,
                cancel, error);
}

/* ---- preallocation ---- */

/* Whole clusters of a plan, their edges included, that shall hold zeroes. */
static gboolean
allocate_plan (ImgChange *request, const ImgPlan *plan, ImgPreallocate mode, ImgError **error)
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
             (plan->is_fresh ||
              img_storage_zero (plan->storage, offset, length, IMG_IO_NONE, error));
    case IMG_PREALLOCATE_FULL:
    default:
      return write_host_zeroes (plan->storage, offset, length, error);
    }
}

static gboolean
allocate_next (ImgChange *request,
               guint64 offset,
               guint64 length,
               ImgPreallocate mode,
               guint64 *n_done,
               ImgError **error)
{
  ImgPlan plan;

  if (!img_change_plan_write (request, offset, length, &plan, error))
    return FALSE;
  *n_done = plan.length;
  if (allocate_plan (request, &plan, mode, error) &&
      (!plan.needs_commit || img_change_commit_plan (request, &plan, error)))
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
  ImgChange request;

  img_change_begin (&request, image, NULL, 0);
  for (; success && length > 0; offset += n_done, length -= n_done)
    success = !img_cancel_check (cancel, error) &&
              allocate_next (&request, offset, length, mode, &n_done, error);
  img_change_end (&request);
  return success;
}
