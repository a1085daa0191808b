/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A raw disk is put out as it is read. Holes are zeroes like any others, even if the sink is a file that could be
 * sought: it may be open for appending, may not begin at offset 0, and may hold something already. Whoever wants holes
 * names the file.
 *
 * Any other image is an outline first (img-outline.h): the disk is read twice, once to note what is data, and how
 * long it becomes encoded, then to put it out. Where neither data need be looked at nor anything is encoded, the
 * first pass reads nothing but the block map.
 *
 * Threads: bytes go out in the order of the file, by one worker at a time, which may wait long for who reads
 * the pipe. Whoever fails meanwhile wakes it with abort (); the failure is what the job tells, not what the
 * writer got from being woken. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-convert-out.h"

#define CHUNK_SIZE IMG_MIB
#define SECTOR_SIZE 512

typedef struct
{
  const ImgConvertOptions *options;
  ImgProgress *progress;
  ImgConvertSource source;
  ImgSinkWriter writer;
  ImgOutline *outline; /* NULL: the file is the disk */
  gsize encode_memory; /* bytes that each thread takes to encode */
  guint64 size;        /* of the new disk */
  gboolean is_noting;  /* the first pass */
  guint64 position;    /* in the second pass: what is claimed next */
  gint aborted;        /* atomic */
} Outflow;

/* ---- options ---- */

gboolean
img_convert_out_check (const ImgConvertOptions *options, ImgError **error)
{
  const ImgCreation *creation = options->creation;

  if (options->verify)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("What went into a stream cannot be read back to verify it"));
  if (img_creation_has_data_file (creation) || creation->data_file_name != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("An image that goes into a stream has no external data file"));
  if (creation->options.preallocate != IMG_PREALLOCATE_OFF)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("In a stream no space can be reserved"));
  if (img_creation_has_backing (creation) && (creation->driver->flags & IMG_DRIVER_BACKING) == 0)
    {
      img_error_set (error, IMG_CODE_INVALID_OPTION, _ ("Images of the format %s have no backing file"),
                     creation->driver->name);
      return FALSE;
    }
  if (creation->driver->outline == NULL && (creation->driver->flags & IMG_DRIVER_IDENTITY) == 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("Images of the format %s cannot go into a stream"),
                   creation->driver->name);
  else if (options->compress && (creation->driver->flags & IMG_DRIVER_COMPRESSED) == 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _ ("This image cannot hold compressed clusters"));
  else
    return TRUE;
  return FALSE;
}

/* ---- failing ---- */

static gboolean
fail (Outflow *outflow)
{
  g_atomic_int_set (&outflow->aborted, TRUE);
  outflow->options->sink->abort (outflow->options->sink->data);
  return FALSE;
}

/* What the writer says after it was woken is not why the job failed. */
static gboolean
end_write (Outflow *outflow, gboolean success, ImgError *local_error, ImgError **error)
{
  if (success)
    return TRUE;
  if (g_atomic_int_get (&outflow->aborted))
    img_error_free (local_error);
  else
    img_error_propagate (error, local_error);
  return FALSE;
}

static gboolean
claim (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Outflow *outflow = data;
  ImgError *local_error = NULL;

  if (img_convert_source_claim (&outflow->source, chunk, cancel, &local_error))
    return TRUE;
  if (local_error != NULL)
    fail (outflow);
  img_error_propagate (error, local_error);
  return FALSE;
}

static gboolean
fill (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Outflow *outflow = data;

  return img_convert_source_fill (&outflow->source, chunk, cancel, error) || fail (outflow);
}

/* ---- a raw disk ---- */

static gboolean
put_raw (Outflow *outflow, const ImgChunk *chunk, ImgError **error)
{
  const guint8 *from = chunk->data;

  for (guint i = 0; i < chunk->n_pieces; i++)
    {
      const ImgPiece *piece = &chunk->pieces[i];

      if (piece->kind != IMG_PIECE_COPY)
        {
          if (!img_sink_writer_put_zeroes (&outflow->writer, piece->offset + piece->length, error))
            return FALSE;
          img_progress_add (outflow->progress, piece->length);
          continue;
        }
      if (!img_sink_writer_put (&outflow->writer, from, (gsize) piece->length, error))
        return FALSE;
      from += piece->length;
    }
  return TRUE;
}

static gboolean
write_raw (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  ImgError *local_error = NULL;
  gboolean success = put_raw (data, chunk, &local_error);

  return end_write (data, success, local_error, error);
}

static gboolean
run_pipeline (Outflow *outflow,
              const ImgPipelineClass *klass,
              ImgProgress *progress,
              ImgCancel *cancel,
              ImgError **error)
{
  const ImgConvertOptions *options = outflow->options;
  const ImgPipelineOptions pipeline = {
    .klass = klass,
    .source = outflow,
    .target = outflow,
    .in_order = TRUE,
    .chunk_size = outflow->source.chunk_size,
    .encode_unit = options->compress ? outflow->outline->unit_length : 0,
    .worker_memory = outflow->encode_memory,
    .n_threads = options->n_threads,
    .priority = options->priority,
  };

  return img_pipeline_run (&pipeline, progress, cancel, error) && !img_cancel_check (cancel, error);
}

static gboolean
copy_raw (Outflow *outflow, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass klass = { claim, fill, NULL, write_raw };

  img_progress_set_total (outflow->progress, outflow->source.size);
  img_progress_set_phase (outflow->progress, IMG_PHASE_COPY);
  return run_pipeline (outflow, &klass, outflow->progress, cancel, error) &&
         img_sink_writer_put_zeroes (&outflow->writer, outflow->size, error);
}

/* ---- units ---- */

/* In COPY pieces, which begin with a unit and end with one or the disk. */
typedef gboolean (*UnitFunc) (Outflow *outflow, ImgChunk *chunk, guint64 offset, gsize at, gsize length,
                              ImgError **error);

/* @at: where the unit stands in the chunk's data. */
static gboolean
for_each_unit (Outflow *outflow, ImgChunk *chunk, const ImgPiece *piece, gsize at, UnitFunc func, ImgError **error)
{
  gsize unit = outflow->outline->unit_length;

  for (guint64 done = 0; done < piece->length; done += unit)
    if (!func (outflow, chunk, piece->offset + done, at + (gsize) done,
               (gsize) MIN (unit, piece->length - done), error))
      return FALSE;
  return TRUE;
}

static gboolean
encode_unit (Outflow *outflow, ImgChunk *chunk, guint64 offset, gsize at, gsize length, ImgError **error)
{
  ImgOutline *outline = outflow->outline;
  gsize unit = outline->unit_length, stored_length = 0;

  if (length < unit) /* the end of the disk; there is room, as chunks are whole units long */
    memset (chunk->data + at + length, 0, unit - length);
  if (!(outflow->is_noting && img_is_zero (chunk->data + at, length)) &&
      !outline->klass->encode (outline, offset, outflow->options->level, chunk->data + at,
                               chunk->encoded + at, &stored_length, error))
    return FALSE;
  chunk->encoded_lengths[at / unit] = (guint32) stored_length;
  return TRUE;
}

static gboolean
encode (gpointer data, ImgChunk *chunk, ImgError **error)
{
  Outflow *outflow = data;
  gsize at = 0;

  for (guint i = 0; outflow->options->compress && i < chunk->n_pieces; i++)
    {
      if (chunk->pieces[i].kind != IMG_PIECE_COPY)
        continue;
      if (!for_each_unit (outflow, chunk, &chunk->pieces[i], at, encode_unit, error))
        return fail (outflow);
      at += (gsize) chunk->pieces[i].length;
    }
  return TRUE;
}

/* ---- the first pass ---- */

/* Whether data that is zero counts as none. */
static gboolean
drops_zeroes (const ImgConvertOptions *options)
{
  return !options->allocate_all && (options->zero_grain > 0 || options->compress);
}

static gboolean
first_pass_reads (const ImgConvertOptions *options)
{
  return options->compress || drops_zeroes (options);
}

static gboolean
fill_to_note (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  return !first_pass_reads (((Outflow *) data)->options) || fill (data, chunk, cancel, error);
}

static gboolean
note_unit (Outflow *outflow, ImgChunk *chunk, guint64 offset, gsize at, gsize length, ImgError **error)
{
  ImgOutline *outline = outflow->outline;
  const ImgConvertOptions *options = outflow->options;
  gboolean is_zero = drops_zeroes (options) && img_is_zero (chunk->data + at, length);
  gsize stored_length = options->compress ? chunk->encoded_lengths[at / outline->unit_length] : 0;

  return outline->klass->note (outline, offset, length, is_zero ? IMG_UNIT_ZERO : IMG_UNIT_DATA,
                               stored_length, error);
}

static ImgUnitKind
kind_of_gap (const Outflow *outflow, ImgPieceKind kind)
{
  if (kind == IMG_PIECE_HOLE)
    return IMG_UNIT_HOLE;
  return outflow->options->allocate_all ? IMG_UNIT_DATA : IMG_UNIT_ZERO;
}

static gboolean
note_chunk (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Outflow *outflow = data;
  ImgOutline *outline = outflow->outline;
  gsize at = 0;

  for (guint i = 0; i < chunk->n_pieces; i++)
    {
      const ImgPiece *piece = &chunk->pieces[i];

      if (piece->kind != IMG_PIECE_COPY)
        {
          if (!outline->klass->note (outline, piece->offset, piece->length,
                                     kind_of_gap (outflow, piece->kind), 0, error))
            return FALSE;
          continue;
        }
      if (!for_each_unit (outflow, chunk, piece, at, note_unit, error))
        return FALSE;
      at += (gsize) piece->length;
    }
  return TRUE;
}

/* *n_read: bytes that are done then. Until it is known what is data, all that may be counts as data. */
static gboolean
take_notes (Outflow *outflow, guint64 *n_read, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass klass = { claim, fill_to_note, encode, note_chunk };
  const ImgConvertOptions *options = outflow->options;
  guint64 n_copied;
  gboolean success;

  if (!img_convert_source_add_up (&outflow->source, &n_copied, cancel, error))
    return FALSE;
  *n_read = first_pass_reads (options) ? n_copied : 0;
  img_progress_set_total (outflow->progress,
                          *n_read + (options->allocate_all ? outflow->source.size : n_copied));
  img_progress_set_phase (outflow->progress, IMG_PHASE_COPY);
  outflow->is_noting = TRUE;
  success = run_pipeline (outflow, &klass, *n_read > 0 ? outflow->progress : NULL, cancel, error);
  outflow->is_noting = FALSE;
  return success && outflow->outline->klass->seal (outflow->outline, error);
}

/* ---- the second pass ---- */

static gboolean
claim_noted (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Outflow *outflow = data;
  ImgOutline *outline = outflow->outline;
  guint64 room = outflow->source.chunk_size;

  while (room > 0 && chunk->n_pieces < IMG_CHUNK_MAX_PIECES)
    {
      guint64 start = 0;
      guint64 length = MIN (outline->klass->next_data (outline, outflow->position, &start), room);

      if (length == 0)
        break;
      if (chunk->n_pieces == 0)
        chunk->offset = start;
      chunk->pieces[chunk->n_pieces++] = (ImgPiece){ IMG_PIECE_COPY, start, length };
      outflow->position = chunk->end = start + length;
      room -= length;
    }
  chunk->n_copied = outflow->source.chunk_size - room;
  return chunk->n_pieces > 0;
}

static gboolean
put_unit (Outflow *outflow, ImgChunk *chunk, guint64 offset, gsize at, gsize length, ImgError **error)
{
  ImgOutline *outline = outflow->outline;
  gsize stored_length =
    outflow->options->compress ? chunk->encoded_lengths[at / outline->unit_length] : 0;

  if (stored_length > 0)
    return outline->klass->put_encoded (outline, offset, chunk->encoded + at, stored_length,
                                        &outflow->writer, error);
  return outline->klass->put_plain (outline, offset, chunk->data + at, length, &outflow->writer, error);
}

static gboolean
put_noted (Outflow *outflow, ImgChunk *chunk, ImgError **error)
{
  gsize at = 0;

  for (guint i = 0; i < chunk->n_pieces; at += (gsize) chunk->pieces[i++].length)
    {
      const ImgPiece *piece = &chunk->pieces[i];

      if (outflow->options->compress
            ? !for_each_unit (outflow, chunk, piece, at, put_unit, error)
            : !put_unit (outflow, chunk, piece->offset, at, (gsize) piece->length, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
write_noted (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  ImgError *local_error = NULL;
  gboolean success = put_noted (data, chunk, &local_error);

  return end_write (data, success, local_error, error);
}

/* What was salvaged has been told by the first pass, if that has read. */
static gboolean
put_out (Outflow *outflow, guint64 n_read, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass klass = { claim_noted, fill, encode, write_noted };
  const ImgConvertOptions *options = outflow->options;
  ImgOutline *outline = outflow->outline;

  if (first_pass_reads (options))
    outflow->source.salvaged = NULL;
  img_progress_set_total (outflow->progress, n_read + outline->data_size);
  return outline->klass->put_head (outline, &outflow->writer, cancel, error) &&
         run_pipeline (outflow, &klass, outflow->progress, cancel, error) &&
         outline->klass->put_tail (outline, &outflow->writer, error);
}

static gboolean
copy_outlined (Outflow *outflow, ImgCancel *cancel, ImgError **error)
{
  guint64 n_read;

  return take_notes (outflow, &n_read, cancel, error) && put_out (outflow, n_read, cancel, error);
}

/* ---- setting up ---- */

/* The name as it is to stand in the image: where that will be, and so what a name means there, is not known. */
static gboolean
name_backing (const ImgCreation *creation, ImgCreateOptions *options, char **made, ImgError **error)
{
  if (!img_creation_has_backing (creation))
    return TRUE;
  if (creation->backing_name == NULL && creation->backing_path != NULL)
    *made = g_canonicalize_filename (creation->backing_path, NULL);
  options->backing_name = creation->backing_name != NULL ? creation->backing_name : *made;
  if (creation->backing_image != NULL && options->backing_format == NULL)
    options->backing_format = img_image_get_layout (creation->backing_image)->driver->name;
  return options->backing_name != NULL ||
         img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("The name of the backing file must be given"));
}

static gboolean
find_size (Outflow *outflow, guint64 disk_size, ImgError **error)
{
  const ImgCreation *creation = outflow->options->creation;

  if (creation->has_size && creation->options.size > IMG_MAX_SIZE)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("No disk is as long as that"));
  outflow->size = creation->has_size ? img_align_up (creation->options.size, SECTOR_SIZE) : disk_size;
  if (outflow->size >= disk_size)
    return TRUE;
  img_error_set (error, IMG_CODE_OUT_OF_RANGE,
                 _ ("The disk has %" PRIu64 " bytes and the target has room for %" PRIu64 " only"), disk_size,
                 outflow->size);
  return FALSE;
}

static gboolean
set_up_encode (Outflow *outflow, ImgError **error)
{
  ImgOutline *outline = outflow->outline;

  return outline->klass->get_encode_memory (outline, outflow->options->level, &outflow->encode_memory,
                                            error);
}

static gboolean
set_up_outline (Outflow *outflow, ImgError **error)
{
  const ImgCreation *creation = outflow->options->creation;
  ImgCreateOptions create = creation->options;
  g_autofree char *backing_name = NULL;

  create.size = outflow->size;
  if (!name_backing (creation, &create, &backing_name, error))
    return FALSE;
  if (creation->driver->outline == NULL)
    return img_create_check_plain (&create, error);
  outflow->outline = creation->driver->outline (&create, outflow->options->compress, error);
  return outflow->outline != NULL && (!outflow->options->compress || set_up_encode (outflow, error));
}

static void
set_up_source (Outflow *outflow, ImgImage *disk)
{
  const ImgConvertOptions *options = outflow->options;
  gsize alignment = outflow->outline != NULL ? outflow->outline->unit_length : IMG_CONVERT_ZERO_GRAIN;

  img_convert_source_init (&outflow->source, disk, CHUNK_SIZE, alignment, options->bytes_per_second);
  outflow->source.top_only = outflow->source.tell_zero = img_creation_has_backing (options->creation);
  outflow->source.salvage = options->salvage;
  outflow->source.salvaged = options->salvaged;
  outflow->source.salvaged_data = options->salvaged_data;
}

static gboolean
run (Outflow *outflow, ImgImage *disk, ImgCancel *cancel, ImgError **error)
{
  if (!img_convert_out_check (outflow->options, error) ||
      !find_size (outflow, img_image_get_size (disk), error) || !set_up_outline (outflow, error) ||
      !img_sink_writer_init (&outflow->writer, outflow->options->sink, error))
    return FALSE;
  set_up_source (outflow, disk);
  if (!(outflow->outline != NULL ? copy_outlined : copy_raw) (outflow, cancel, error))
    return FALSE;
  img_progress_set_phase (outflow->progress, IMG_PHASE_FLUSH);
  return img_sink_writer_flush (&outflow->writer, error);
}

gboolean
img_convert_out (const ImgConvertOptions *options,
                 ImgImage *disk,
                 ImgProgress *progress,
                 ImgCancel *cancel,
                 ImgError **error)
{
  Outflow outflow = { .options = options, .progress = progress };
  gboolean success = run (&outflow, disk, cancel, error);

  img_sink_writer_clear (&outflow.writer);
  if (outflow.source.image != NULL)
    img_convert_source_clear (&outflow.source);
  if (outflow.outline != NULL)
    outflow.outline->klass->free (outflow.outline);
  return success;
}
