/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-convert-target.h"

#include <glib/gi18n-lib.h>
#include <string.h>

#define ZEROES_LENGTH (64 * IMG_KIB)

/* Where zeroes begin and end is looked at in steps of this; they lie on its multiples of the disk,
 * so that the same disk gives the same holes. */
#define ZERO_STEP 4096

static gsize
step_at (gsize step, guint64 offset, gsize length)
{
  return MIN (step - offset % step, length);
}

/* How many bytes at @data are zero, in whole steps. */
static gsize
count_zeroes (gsize step, const guint8 *data, gsize length, guint64 offset)
{
  gsize run = 0;

  for (gsize part;
       run < length && img_is_zero (data + run, part = step_at (step, offset + run, length - run));
       run += part)
    ;
  return run;
}

/* The length of the run at @data that is zero, or has no @grain zero bytes in a row inside; which
 * of them in *zero. At both ends of the data fewer zeroes are enough: they may have neighbours that
 * are not stored. */
static gsize
next_run (gsize grain, const guint8 *data, gsize length, guint64 offset, gboolean *zero)
{
  gsize step = MIN (grain, ZERO_STEP);

  for (gsize run = 0, zeroes; run < length; run += zeroes)
    {
      zeroes = count_zeroes (step, data + run, length - run, offset + run);
      *zero = zeroes > 0 && run == 0;
      if (*zero)
        return zeroes;
      if (zeroes >= grain || (zeroes > 0 && run + zeroes == length))
        return run;
      if (zeroes == 0)
        zeroes = step_at (step, offset + run, length - run);
    }
  return length;
}

/* ---- zeroes ---- */

static gboolean
write_zero_data (ImgConvertTarget *target,
                 guint64 offset,
                 guint64 length,
                 ImgCancel *cancel,
                 ImgError **error)
{
  static const guint8 zeroes[ZEROES_LENGTH];
  struct iovec iov[16];

  for (guint64 part; length > 0; offset += part, length -= part)
    {
      guint n_iov = 0;

      for (part = 0; part < length && n_iov < G_N_ELEMENTS (iov); n_iov++)
        {
          iov[n_iov] = (struct iovec){ (gpointer) zeroes, MIN (ZEROES_LENGTH, length - part) };
          part += iov[n_iov].iov_len;
        }
      if (!img_image_writev (target->image, offset, iov, n_iov, cancel, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
write_gap (ImgConvertTarget *target,
           ImgPieceKind kind,
           guint64 offset,
           guint64 length,
           ImgCancel *cancel,
           ImgError **error)
{
  if (kind == IMG_PIECE_HOLE && target->keeps_holes)
    return TRUE;
  if (target->allocate_all)
    return write_zero_data (target, offset, length, cancel, error);
  if (target->reads_as_zero)
    return TRUE;
  return img_image_write_zeroes (target->image, offset, length, IMG_ZERO_UNMAP, cancel, error);
}

/* ---- data ---- */

static gboolean
write_plain (ImgConvertTarget *target,
             const guint8 *data,
             gsize length,
             guint64 offset,
             ImgCancel *cancel,
             ImgError **error)
{
  for (gsize run; length > 0; data += run, length -= run, offset += run)
    {
      gboolean zero = FALSE;

      run = length;
      if (target->zero_grain > 0)
        run = next_run (target->zero_grain, data, length, offset, &zero);
      if (zero ? !write_gap (target, IMG_PIECE_ZERO, offset, run, cancel, error)
               : !img_image_write (target->image, offset, data, run, cancel, error))
        return FALSE;
      if (!zero)
        img_write_back_count (&target->write_back, run);
    }
  return TRUE;
}

/* ---- compressed clusters ---- */

gboolean
img_convert_target_set_up_encode (ImgConvertTarget *target, ImgError **error)
{
  ImgLayout *layout = img_image_get_layout (target->image);

  if (layout->unit_length == 0 || layout->klass->encode == NULL)
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("This image cannot hold compressed clusters"));
      return FALSE;
    }
  target->encode_unit = layout->unit_length;
  return layout->klass->get_encode_memory (layout, target->level, &target->encode_memory, error);
}

/* Which unit of the chunk's data a byte of it is in: COPY pieces begin with a unit, and end with
 * one or the disk. */
static guint
unit_of (const ImgConvertTarget *target, const ImgChunk *chunk, const guint8 *data)
{
  return (guint) ((gsize) (data - chunk->data) / target->encode_unit);
}

gboolean
img_convert_target_encode (gpointer data, ImgChunk *chunk, ImgError **error)
{
  ImgConvertTarget *target = data;
  gsize unit = target->encode_unit;

  for (gsize done = 0; unit > 0 && done < chunk->n_copied; done += unit)
    {
      gsize length = MIN (unit, (gsize) chunk->n_copied - done);
      gsize stored_length = 0;

      if (length < unit) /* the end of the disk; there is room, as chunks are whole units long */
        memset (chunk->data + done + length, 0, unit - length);
      if (!img_is_zero (chunk->data + done, length) &&
          !img_image_encode (target->image, target->level, chunk->data + done,
                             chunk->encoded + done, &stored_length, error))
        return FALSE;
      chunk->encoded_lengths[done / unit] = (guint32) stored_length;
    }
  return TRUE;
}

static gboolean
write_compressed (ImgConvertTarget *target,
                  const ImgChunk *chunk,
                  const guint8 *data,
                  gsize length,
                  guint64 offset,
                  ImgCancel *cancel,
                  ImgError **error)
{
  for (gsize part; length > 0; data += part, length -= part, offset += part)
    {
      guint index = unit_of (target, chunk, data);
      gsize stored_length = chunk->encoded_lengths[index];
      gboolean success;

      part = MIN (target->encode_unit, length);
      if (stored_length > 0)
        success = img_image_write_encoded (target->image, offset, part,
                                           chunk->encoded + index * target->encode_unit,
                                           stored_length, cancel, error);
      else if (img_is_zero (data, part))
        success = write_gap (target, IMG_PIECE_ZERO, offset, part, cancel, error);
      else
        success = img_image_write (target->image, offset, data, part, cancel, error);
      if (!success)
        return FALSE;
      img_write_back_count (&target->write_back, stored_length > 0 ? stored_length : part);
    }
  return TRUE;
}

/* ---- chunks ---- */

gboolean
img_convert_target_write (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  ImgConvertTarget *target = data;
  const guint8 *from = chunk->data;

  for (guint i = 0; i < chunk->n_pieces; i++)
    {
      const ImgPiece *piece = &chunk->pieces[i];
      gboolean success = TRUE;

      if (piece->kind == IMG_PIECE_COPIED)
        img_write_back_count (&target->write_back, (gsize) piece->length);
      else if (piece->kind != IMG_PIECE_COPY)
        success = write_gap (target, piece->kind, piece->offset, piece->length, cancel, error);
      else if (target->encode_unit > 0)
        success = write_compressed (target, chunk, from, (gsize) piece->length, piece->offset,
                                    cancel, error);
      else
        success = write_plain (target, from, (gsize) piece->length, piece->offset, cancel, error);
      if (!success)
        return FALSE;
      if (piece->kind == IMG_PIECE_COPY)
        from += piece->length;
    }
  return TRUE;
}
