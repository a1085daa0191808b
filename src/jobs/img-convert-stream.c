/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A stream is read where its chunks are claimed: there is one reader at a time, in order. How long
 * the disk is shows at its end, so the image, which nobody sees yet, grows as it is written, to
 * twice its size each time, and gets its real size last. It is written in order.
 *
 * Threads: a reader may wait for a silent pipe while others work. Whoever fails wakes it with abort
 * (); the failure is what the job tells, not what the reader got from being woken. */

#include "config.h"

#include "img-convert-stream.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <string.h>

#include "img-convert-out.h"
#include "img-convert-target.h"

#define CHUNK_SIZE IMG_MIB
#define FIRST_SIZE (16 * IMG_MIB)
#define SECTOR_SIZE 512

typedef struct
{
  const ImgConvertOptions *options;
  ImgStreamSource *source;
  GChecksum *checksum;
  ImgUnwrap *unwrap;
  ImgRate rate;
  gsize chunk_size;
  guint64 position; /* of the reader */
  gboolean at_end;  /* of the reader */
  gint aborted;     /* atomic */

  ImgStagedImage *staged;
  ImgImage *image; /* borrowed */
  ImgConvertTarget target;
} Copy;

/* ---- options ---- */

/* From a stream to a stream. */
static gboolean
check_sink (const ImgConvertOptions *options, const ImgStreamSource *source, ImgError **error)
{
  const ImgDriver *driver = options->creation->driver;

  if ((driver->flags & IMG_DRIVER_IDENTITY) == 0)
    {
      img_error_set (
        error, IMG_CODE_INVALID_OPTION,
        _ ("A stream is read once, and to go into a stream a %s image needs a source that "
           "is read twice: copy it to a file first"),
        driver->name);
      return FALSE;
    }
  if (source->sha256 != NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The digest of the stream would come too late: what goes into a stream cannot be "
                               "taken back"));
  return img_convert_out_check (options, error);
}

static gboolean
check_digest (const char *digest, ImgError **error)
{
  gsize length = digest != NULL ? strlen (digest) : 0;

  if (digest == NULL || (length == 64 && strspn (digest, "0123456789abcdefABCDEF") == length))
    return TRUE;
  return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("A SHA-256 digest has 64 hexadecimal digits"));
}

static gboolean
check_options (const ImgConvertOptions *options, const ImgStreamSource *source, ImgError **error)
{
  const ImgCreation *creation = options->creation;

  if (creation == NULL)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("A stream can be copied to a new file only"));
  if (options->copy_bitmaps)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("A stream is a raw disk, which has no bitmaps"));
  if (options->offset > 0 || options->salvage || options->verify)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("A stream is read once, from its beginning: it has no offset, nothing in it can "
                               "be salvaged and it cannot be verified"));
  if (img_creation_has_backing (creation))
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("A stream cannot be copied onto a backing file"));
  if (options->length == 0 &&
      (creation->options.preallocate != IMG_PREALLOCATE_OFF || creation->options.raw_data_file))
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                             _("The length of the stream must be given to reserve space for it"));
  if (options->length > IMG_MAX_SIZE)
    return img_error_refuse (error, IMG_CODE_INVALID_OPTION, _("No disk is as long as that"));
  return check_digest (source->sha256, error) &&
         (options->sink == NULL || check_sink (options, source, error));
}

/* ---- reading ---- */

static void
abort_reader (Copy *copy)
{
  g_atomic_int_set (&copy->aborted, TRUE);
  copy->source->stream.abort (copy->source->stream.data);
}

static gboolean
check_length (Copy *copy, ImgError **error)
{
  guint64 wanted = copy->options->length;

  if (copy->position > wanted && wanted > 0)
    img_error_set (error, IMG_CODE_OUT_OF_RANGE, _ ("The stream has more than %" PRIu64 " bytes"),
                   wanted);
  else if (copy->at_end && copy->position < wanted)
    img_error_set (error, IMG_CODE_CORRUPT,
                   _ ("The stream ends after %" PRIu64 " of %" PRIu64 " bytes"), copy->position,
                   wanted);
  else if (copy->at_end && copy->position == 0)
    img_error_set (error, IMG_CODE_CORRUPT, _ ("The stream is empty"));
  else
    return TRUE;
  return FALSE;
}

/* A guess may be wrong only for what nobody means: an image of another format is no disk. */
static gboolean
check_beginning (Copy *copy, const ImgChunk *chunk, gsize n_read, ImgError **error)
{
  static const guint8 magic[] = { 'Q', 'F', 'I', 0xfb };

  if (copy->source->wrapping == IMG_WRAPPING_NONE || copy->position > 0 ||
      n_read < sizeof (magic) || memcmp (chunk->data, magic, sizeof (magic)) != 0)
    return TRUE;
  img_error_set (
    error, IMG_CODE_UNSUPPORTED,
    _ ("The stream holds a qcow2 image, and only raw disks can be read from a stream"));
  return FALSE;
}

static gboolean
read_chunk (Copy *copy, ImgChunk *chunk, gsize *n_read, ImgCancel *cancel, ImgError **error)
{
  if (!img_rate_wait (&copy->rate, copy->chunk_size, cancel, error) ||
      !img_unwrap_read (copy->unwrap, chunk->data, copy->chunk_size, n_read, cancel, error) ||
      !check_beginning (copy, chunk, *n_read, error))
    return FALSE;
  copy->position += *n_read;
  copy->at_end = *n_read < copy->chunk_size;
  __atomic_store_n (&copy->source->n_bytes, copy->position, __ATOMIC_RELAXED);
  return check_length (copy, error);
}

/* What fails first tells why, and wakes the other side. */
static gboolean
fail_read (Copy *copy, ImgError *local_error, ImgError **error)
{
  const ImgByteSink *sink = copy->options->sink;

  if (!g_atomic_int_compare_and_exchange (&copy->aborted, FALSE, TRUE))
    {
      img_error_free (local_error);
      return FALSE;
    }
  img_error_propagate (error, local_error);
  if (sink != NULL)
    sink->abort (sink->data);
  return FALSE;
}

static gboolean
claim (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Copy *copy = data;
  ImgError *local_error = NULL;
  gsize n_read = 0, length;

  if (copy->at_end)
    return FALSE;
  chunk->offset = copy->position;
  if (!read_chunk (copy, chunk, &n_read, cancel, &local_error))
    return fail_read (copy, local_error, error);
  length = img_align_up (n_read, SECTOR_SIZE);
  memset (chunk->data + n_read, 0, length - n_read);
  chunk->end = chunk->offset + length;
  chunk->n_copied = length;
  chunk->pieces[0] = (ImgPiece){ IMG_PIECE_COPY, chunk->offset, length };
  chunk->n_pieces = 1;
  return length > 0;
}

static gboolean
fill (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  return TRUE;
}

/* ---- writing ---- */

static gboolean
encode (gpointer data, ImgChunk *chunk, ImgError **error)
{
  Copy *copy = data;

  if (img_convert_target_encode (&copy->target, chunk, error))
    return TRUE;
  abort_reader (copy);
  return FALSE;
}

static gboolean
set_size (Copy *copy, guint64 size, ImgCancel *cancel, ImgError **error)
{
  return img_image_resize (copy->image, size, TRUE, IMG_PREALLOCATE_OFF, NULL, cancel, error);
}

/* A chunk that is not full is the last one: the size is known before it is written, for a part of a
 * cluster can be compressed only at the end of the disk. */
static gboolean
make_room (Copy *copy, const ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  guint64 size = img_image_get_size (copy->image);

  if (copy->options->length > 0)
    return TRUE;
  if (chunk->n_copied < copy->chunk_size)
    return set_size (copy, chunk->end, cancel, error);
  return chunk->end <= size ||
         set_size (copy, MAX (chunk->end, MIN (2 * size, IMG_MAX_SIZE)), cancel, error);
}

static gboolean
write_chunk (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Copy *copy = data;

  if (make_room (copy, chunk, cancel, error) &&
      img_convert_target_write (&copy->target, chunk, cancel, error))
    return TRUE;
  abort_reader (copy);
  return FALSE;
}

/* A raw disk, into another stream. */
static gboolean
pass_on (gpointer data, ImgChunk *chunk, ImgCancel *cancel, ImgError **error)
{
  Copy *copy = data;
  const ImgByteSink *sink = copy->options->sink;
  ImgError *local_error = NULL;

  if (sink->write (sink->data, chunk->data, (gsize) chunk->n_copied, &local_error))
    return TRUE;
  if (g_atomic_int_compare_and_exchange (&copy->aborted, FALSE, TRUE))
    img_error_propagate (error, local_error);
  else
    img_error_free (local_error);
  copy->source->stream.abort (copy->source->stream.data);
  return FALSE;
}

/* ---- the target ---- */

/* A device is written in place: its length is what it is, and nothing can be held back. Asked
 * before the image is made, which overwrites what was there. */
static gboolean
check_in_place (const Copy *copy, ImgError **error)
{
  if (!img_creation_is_in_place (copy->options->creation) ||
      (copy->options->length > 0 && copy->source->sha256 == NULL))
    return TRUE;
  return img_error_refuse (error, IMG_CODE_INVALID_OPTION,
                           _("What is written in place needs the length of the stream, and its digest would "
                             "come too late"));
}

static gboolean
stage (Copy *copy, ImgCancel *cancel, ImgError **error)
{
  ImgCreation *creation = copy->options->creation;
  guint64 length = copy->options->length;

  if (!check_in_place (copy, error))
    return FALSE;
  creation->options.size = length > 0 ? img_align_up (length, SECTOR_SIZE) : FIRST_SIZE;
  creation->has_size = TRUE;
  creation->is_volatile = TRUE;
  copy->staged = img_staged_image_new (creation, cancel, error);
  if (copy->staged == NULL)
    return FALSE;
  copy->image = img_staged_image_get (copy->staged);
  return TRUE;
}

static gboolean
set_up_target (Copy *copy, ImgError **error)
{
  const ImgConvertOptions *options = copy->options;
  ImgLayout *layout = img_image_get_layout (copy->image);

  copy->target = (ImgConvertTarget){
    .image = copy->image,
    .zero_grain = options->allocate_all ? 0 : options->zero_grain,
    .allocate_all = options->allocate_all,
    .reads_as_zero = !layout->is_identity || img_staged_image_is_new_file (copy->staged),
    .level = options->level,
    .write_back.image = options->durable ? copy->image : NULL,
  };
  copy->chunk_size = MAX (CHUNK_SIZE, MAX (layout->unit_length, (gsize) layout->write_granularity));
  return !options->compress || img_convert_target_set_up_encode (&copy->target, error);
}

/* ---- the job ---- */

static gboolean
run_pipeline (Copy *copy, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  static const ImgPipelineClass to_image = { claim, fill, encode, write_chunk };
  static const ImgPipelineClass to_sink = { claim, fill, NULL, pass_on };
  const ImgPipelineOptions options = {
    .klass = copy->options->sink != NULL ? &to_sink : &to_image,
    .source = copy,
    .target = copy,
    .in_order = TRUE,
    .chunk_size = copy->chunk_size,
    .encode_unit = copy->target.encode_unit,
    .worker_memory = copy->target.encode_memory,
    .n_threads = copy->options->n_threads,
    .priority = copy->options->priority,
  };

  img_progress_set_total (progress, img_align_up (copy->options->length, SECTOR_SIZE));
  img_progress_set_phase (progress, IMG_PHASE_COPY);
  return img_pipeline_run (&options, progress, cancel, error) && !img_cancel_check (cancel, error);
}

static gboolean
check_checksum (Copy *copy, ImgError **error)
{
  const char *wanted = copy->source->sha256;

  if (wanted == NULL || g_ascii_strcasecmp (g_checksum_get_string (copy->checksum), wanted) == 0)
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _ ("The SHA-256 digest of the stream is %s and not %s"),
                 g_checksum_get_string (copy->checksum), wanted);
  return FALSE;
}

static gboolean
finish (Copy *copy, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  guint64 size = img_align_up (copy->position, SECTOR_SIZE);

  img_progress_set_total (progress, size);
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  return check_checksum (copy, error) &&
         (copy->options->length > 0 || set_size (copy, size, cancel, error)) &&
         img_image_close (copy->image, error) &&
         img_staged_image_publish (copy->staged, copy->options->durable, cancel, error);
}

static gboolean
finish_sink (Copy *copy, ImgProgress *progress, ImgError **error)
{
  const ImgByteSink *sink = copy->options->sink;

  img_progress_set_total (progress, img_align_up (copy->position, SECTOR_SIZE));
  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  return sink->flush (sink->data, error);
}

static gboolean
copy_to_sink (Copy *copy, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  copy->chunk_size = CHUNK_SIZE;
  return run_pipeline (copy, progress, cancel, error) && finish_sink (copy, progress, error);
}

static gboolean
copy_to_image (Copy *copy, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  return stage (copy, cancel, error) && set_up_target (copy, error) &&
         run_pipeline (copy, progress, cancel, error) && finish (copy, progress, cancel, error);
}

static gboolean
run (Copy *copy, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  if (!check_options (copy->options, copy->source, error) ||
      !(copy->options->sink != NULL ? copy_to_sink : copy_to_image) (copy, progress, cancel, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}

gboolean
img_convert_stream (const ImgConvertOptions *options,
                    ImgStreamSource *source,
                    ImgProgress *progress,
                    ImgCancel *cancel,
                    ImgError **error)
{
  Copy copy = { .options = options, .source = source };
  gboolean success;

  if (source->sha256 != NULL)
    copy.checksum = g_checksum_new (G_CHECKSUM_SHA256);
  copy.unwrap = img_unwrap_new (&source->stream, source->wrapping, copy.checksum);
  img_rate_init (&copy.rate, options->bytes_per_second);
  success = run (&copy, progress, cancel, error);
  img_rate_clear (&copy.rate);
  img_unwrap_free (copy.unwrap);
  g_clear_pointer (&copy.checksum, g_checksum_free);
  img_staged_image_free (copy.staged);
  return success;
}
