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

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-change.h"
#include "img-copy.h"

/* ---- writing ---- */

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
  if (G_UNLIKELY (img_image_is_apart (image)))
    return IMG_PREPARE_CLAIM;
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
      if (G_UNLIKELY (!img_change_submit (plan.storage, &io, error)))
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

/* Most file systems cannot promise not to wait for a write. Then there is no need to look where it would go. */
static gboolean
may_try_writes (ImgImage *image)
{
  ImgStorage *storage = img_image_get_data_storage (image);

  if (storage == NULL)
    storage = img_image_get_storage (image);
  return !g_atomic_int_get (&storage->cannot_try_writes);
}

void
img_image_begin_apart (ImgImage *image)
{
  g_atomic_int_inc (&image->n_apart);
}

void
img_image_end_apart (ImgImage *image)
{
  g_atomic_int_add (&image->n_apart, -1);
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

  if (!may_try_writes (image))
    return IMG_TRY_WOULD_BLOCK;
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
  ImgChange request;

  if (img_cancel_check (cancel, error))
    return FALSE;
  if (length == 0)
    return img_check_change (image, offset, length, error);
  result = write_in_place (image, offset, iov, n_iov, length, error);
  if (G_LIKELY (result != IMG_PREPARE_CLAIM))
    return result == IMG_PREPARE_OK;
  img_change_begin (&request, image, iov, n_iov);
  /* It has been looked whether it could do without. */
  success = img_change_claim (&request, offset, length, cancel, error) &&
            img_check_change (image, offset, length, error) &&
            img_change_write (&request, offset, length, cancel, error);
  img_change_end (&request);
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
prepare_compressed (ImgChange *request,
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
  ImgChange request;
  ImgPlan plan;

  img_change_begin (&request, image, &iov, 1);
  success = img_change_claim (&request, offset, length, cancel, error) &&
            img_check_change (image, offset, length, error) &&
            prepare_compressed (&request, offset, length, stored_length, &plan, error);
  if (success)
    {
      /* To the engine the stored bytes are what is to be written. */
      ImgPlan stored_plan = plan;

      stored_plan.length = stored_length;
      success = img_change_write_plan (&request, &stored_plan, cancel, error) &&
                img_change_commit_plan (&request, &plan, error);
      if (!success)
        image->layout->klass->abort (image->layout, &plan);
    }
  img_change_end (&request);
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
      img_copy (plain, (const guint8 *) buffer + done, part);
      memset (plain + part, 0, unit - part);
      if (img_cancel_check (cancel, error) ||
          !write_unit (image, offset + done, part, plain, stored, cancel, error))
        return FALSE;
    }
  return TRUE;
}
