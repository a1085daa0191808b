/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-byte-sink-private.h"
#include "imago-byte-stream-private.h"
#include "imago-convert-job-private.h"
#include "imago-enum-types.h"
#include "imago-job-private.h"

/**
 * SECTION:imago-convert-job
 * @title: ImagoConvertJob
 * @short_description: Copies disks into an image
 *
 * #ImagoConvertJob copies a disk, with what its backing images contribute, into a new image or into one that is there.
 */

/**
 * ImagoConvertJob:
 *
 * Copies the disk of an image, with what its backing images contribute, into a new file
 * (imago_convert_job_new()) or into another image (imago_convert_job_new_for_image()).
 *
 * What is not allocated, or reads as zero, takes no space in the result. A new file appears under its name only
 * when all of it has been written: after a failure, a cancellation or a crash there is nothing, or what was there
 * before. Its bytes depend on the sources and the options, not on #ImagoJob:threads. An image that was there
 * before the job has some of the data after a failure.
 *
 * With a backing file in #ImagoConvertJob:create-options only what the top layer of the source holds is copied. The
 * backing file must then have the content of the source's own backing image; nobody checks that.
 *
 * As long as the job runs nobody else may write to a source, even if it is a raw disk that others may write to
 * while it is read: the job fails with %IMAGO_ERROR_LOCKED where somebody does. An image that was opened with
 * #ImagoOpenOptions:force-share is copied as it is found.
 *
 * The properties are set before the job is run, in the thread that made it; what #ImagoJob says of
 * threads holds for the rest. Closing the source waits for the job.
 *
 * Since: 1.0
 */

struct _ImagoConvertJobClass
{
  ImagoJobClass parent_class;
};

typedef struct
{
  guint64 offset;
  guint64 length;
} Range;

#define MAX_RANGES 4096
#define MAX_ZERO_GRAIN (16 * 1024 * 1024)

enum
{
  PROP_0,
  PROP_SOURCE,
  PROP_SOURCE_STREAM,
  PROP_STREAM_LENGTH,
  PROP_WRAPPING,
  PROP_SHA256,
  PROP_DESTINATION,
  PROP_TARGET,
  PROP_FORMAT_NAME,
  PROP_CREATE_OPTIONS,
  PROP_OVERWRITE,
  PROP_CHECK_SPACE,
  PROP_DURABLE,
  PROP_TARGET_IS_ZERO,
  PROP_TARGET_STREAM,
  PROP_COMPRESS,
  PROP_COMPRESSION_LEVEL,
  PROP_ZERO_GRAIN,
  PROP_ALLOCATE_ALL,
  PROP_COPY_BITMAPS,
  PROP_SKIP_BROKEN_BITMAPS,
  PROP_SALVAGE,
  PROP_SALVAGED_BYTES,
  PROP_VERIFY,
  PROP_OFFSET,
  PROP_LENGTH,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoConvertJob, imago_convert_job, IMAGO_TYPE_JOB)

/* ---- the work ---- */

static void
add_creation (ImagoJob *job, const ImgCreation *creation)
{
  imago_job_add_storage (job, creation->storage);
  imago_job_add_storage (job, creation->data_storage);
  imago_job_add_image (job, creation->backing_image);
}

static gboolean
imago_convert_job_prepare (ImagoJob *job, ImgError **error)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (job);

  g_array_set_size (self->salvaged, 0);
  self->salvaged_bytes = 0;
  self->conversion = imago_conversion_new (self, error);
  if (self->conversion == NULL)
    return FALSE;
  for (guint i = 0; i < self->conversion->states->len; i++)
    imago_job_add_image (job, self->conversion->images[i]);
  if (self->conversion->creation != NULL)
    add_creation (job, &self->conversion->creation->creation);
  return TRUE;
}

/* The stream is no image: whatever is asked for must be something that a stream can do. */
static gboolean
run_stream (ImagoConvertJob *self, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  ImagoByteStream stream;
  gboolean success;

  imago_byte_stream_init (&stream, self->source_stream, cancel);
  self->stream.stream = stream.core;
  self->stream.wrapping = (ImgWrapping) self->wrapping;
  self->stream.sha256 = self->sha256;
  success = img_convert_stream (&self->conversion->options, &self->stream, progress, cancel, error);
  imago_byte_stream_clear (&stream);
  return success;
}

static gboolean
check_image_only (ImagoConvertJob *self, ImgError **error)
{
  if (self->wrapping == IMAGO_STREAM_WRAPPING_NONE && self->sha256 == NULL)
    return TRUE;
  img_error_set (error, IMG_CODE_INVALID_OPTION, _("Only a stream can be unwrapped or have its digest checked"));
  return FALSE;
}

static gboolean
run_image (ImagoConvertJob *self, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  return check_image_only (self, error) &&
         img_convert (&self->conversion->options, progress, cancel, error);
}

static void
imago_convert_job_finish (ImagoJob *job)
{
  g_clear_pointer (&IMAGO_CONVERT_JOB (job)->conversion, imago_conversion_free);
}

/* Neighbours become one; in the order of the disk, though workers find them in any. */
static void
add_range (GArray *ranges, Range range)
{
  guint i = ranges->len;

  while (i > 0 && g_array_index (ranges, Range, i - 1).offset > range.offset)
    i--;
  if (i > 0 && g_array_index (ranges, Range, i - 1).offset + g_array_index (ranges, Range, i - 1).length == range.offset)
    g_array_index (ranges, Range, --i).length += range.length;
  else if (ranges->len < MAX_RANGES)
    g_array_insert_val (ranges, i, range);
  else
    return;
  if (i + 1 < ranges->len && g_array_index (ranges, Range, i).offset + g_array_index (ranges, Range, i).length ==
                               g_array_index (ranges, Range, i + 1).offset)
    {
      g_array_index (ranges, Range, i).length += g_array_index (ranges, Range, i + 1).length;
      g_array_remove_index (ranges, i + 1);
    }
}

static void
salvaged_cb (guint64 offset, guint64 length, const ImgError *why, gpointer data)
{
  ImagoConvertJob *self = data;

  g_mutex_lock (&self->mutex);
  self->salvaged_bytes += length;
  add_range (self->salvaged, (Range) { offset, length });
  g_mutex_unlock (&self->mutex);
}

static gboolean
run_source (ImagoConvertJob *self, ImgProgress *progress, ImgCancel *cancel, ImgError **error)
{
  return (self->source_stream != NULL ? run_stream : run_image) (self, progress, cancel, error);
}

static gboolean
imago_convert_job_run_core (ImagoJob *job,
                            ImgProgress *progress,
                            ImgCancel *cancel,
                            ImgError **error)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (job);
  ImgConvertOptions *options = &self->conversion->options;
  ImagoByteSink sink;
  gboolean success;

  options->salvaged = salvaged_cb;
  options->salvaged_data = self;
  options->priority = imago_job_get_priority (job);
  if (self->target_stream == NULL)
    return run_source (self, progress, cancel, error);
  imago_byte_sink_init (&sink, self->target_stream, cancel);
  options->sink = &sink.core;
  success = run_source (self, progress, cancel, error);
  imago_byte_sink_clear (&sink);
  return success;
}

/* ---- the object ---- */

static void
imago_convert_job_dispose (GObject *object)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  g_ptr_array_set_size (self->sources, 0);
  g_clear_object (&self->source_stream);
  g_clear_object (&self->target);
  g_clear_object (&self->target_stream);
  g_clear_object (&self->destination);
  g_clear_object (&self->create_options);
  G_OBJECT_CLASS (imago_convert_job_parent_class)->dispose (object);
}

static void
imago_convert_job_finalize (GObject *object)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  g_ptr_array_unref (self->sources);
  g_array_unref (self->salvaged);
  g_mutex_clear (&self->mutex);
  g_free (self->format_name);
  g_free (self->sha256);
  G_OBJECT_CLASS (imago_convert_job_parent_class)->finalize (object);
}

static void
imago_convert_job_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  switch (id)
    {
    case PROP_SOURCE:
      g_value_set_object (value, self->sources->len > 0 ? g_ptr_array_index (self->sources, 0) : NULL);
      break;
    case PROP_SOURCE_STREAM:
      g_value_set_object (value, self->source_stream);
      break;
    case PROP_STREAM_LENGTH:
      g_value_set_uint64 (value, __atomic_load_n (&self->stream.n_bytes, __ATOMIC_RELAXED));
      break;
    case PROP_WRAPPING:
      g_value_set_enum (value, self->wrapping);
      break;
    case PROP_SHA256:
      g_value_set_string (value, self->sha256);
      break;
    case PROP_DESTINATION:
      g_value_set_object (value, self->destination);
      break;
    case PROP_TARGET:
      g_value_set_object (value, self->target);
      break;
    case PROP_TARGET_STREAM:
      g_value_set_object (value, self->target_stream);
      break;
    case PROP_FORMAT_NAME:
      g_value_set_string (value, self->format_name);
      break;
    case PROP_CREATE_OPTIONS:
      g_value_set_object (value, self->create_options);
      break;
    case PROP_TARGET_IS_ZERO:
      g_value_set_boolean (value, self->target_is_zero);
      break;
    case PROP_COMPRESS:
      g_value_set_boolean (value, self->compress);
      break;
    case PROP_COMPRESSION_LEVEL:
      g_value_set_int (value, self->compression_level);
      break;
    case PROP_ZERO_GRAIN:
      g_value_set_uint (value, self->zero_grain);
      break;
    case PROP_ALLOCATE_ALL:
      g_value_set_boolean (value, self->allocate_all);
      break;
    case PROP_SALVAGE:
      g_value_set_boolean (value, self->salvage);
      break;
    case PROP_SALVAGED_BYTES:
      g_mutex_lock (&self->mutex);
      g_value_set_uint64 (value, self->salvaged_bytes);
      g_mutex_unlock (&self->mutex);
      break;
    case PROP_COPY_BITMAPS:
      g_value_set_boolean (value, self->copy_bitmaps);
      break;
    case PROP_SKIP_BROKEN_BITMAPS:
      g_value_set_boolean (value, self->skip_broken_bitmaps);
      break;
    case PROP_VERIFY:
      g_value_set_boolean (value, self->verify);
      break;
    case PROP_OFFSET:
      g_value_set_uint64 (value, self->offset);
      break;
    case PROP_LENGTH:
      g_value_set_uint64 (value, self->length);
      break;
    case PROP_OVERWRITE:
      g_value_set_boolean (value, self->overwrite);
      break;
    case PROP_CHECK_SPACE:
      g_value_set_boolean (value, self->check_space);
      break;
    case PROP_DURABLE:
      g_value_set_boolean (value, self->durable);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_convert_job_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoConvertJob *self = IMAGO_CONVERT_JOB (object);

  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));
  switch (id)
    {
    case PROP_SOURCE:
      if (g_value_get_object (value) != NULL)
        g_ptr_array_add (self->sources, g_value_dup_object (value));
      break;
    case PROP_SOURCE_STREAM:
      self->source_stream = g_value_dup_object (value);
      break;
    case PROP_WRAPPING:
      self->wrapping = g_value_get_enum (value);
      break;
    case PROP_SHA256:
      g_free (self->sha256);
      self->sha256 = g_value_dup_string (value);
      break;
    case PROP_TARGET:
      self->target = g_value_dup_object (value);
      break;
    case PROP_TARGET_STREAM:
      self->target_stream = g_value_dup_object (value);
      break;
    case PROP_CREATE_OPTIONS:
      g_set_object (&self->create_options, g_value_get_object (value));
      break;
    case PROP_TARGET_IS_ZERO:
      self->target_is_zero = g_value_get_boolean (value);
      break;
    case PROP_COMPRESS:
      self->compress = g_value_get_boolean (value);
      break;
    case PROP_COMPRESSION_LEVEL:
      self->compression_level = g_value_get_int (value);
      break;
    case PROP_ZERO_GRAIN:
      self->zero_grain = g_value_get_uint (value);
      break;
    case PROP_ALLOCATE_ALL:
      self->allocate_all = g_value_get_boolean (value);
      break;
    case PROP_SALVAGE:
      self->salvage = g_value_get_boolean (value);
      break;
    case PROP_COPY_BITMAPS:
      self->copy_bitmaps = g_value_get_boolean (value);
      break;
    case PROP_SKIP_BROKEN_BITMAPS:
      self->skip_broken_bitmaps = g_value_get_boolean (value);
      break;
    case PROP_VERIFY:
      self->verify = g_value_get_boolean (value);
      break;
    case PROP_CHECK_SPACE:
      self->check_space = g_value_get_boolean (value);
      break;
    case PROP_OFFSET:
      self->offset = g_value_get_uint64 (value);
      break;
    case PROP_LENGTH:
      self->length = g_value_get_uint64 (value);
      break;
    case PROP_DESTINATION:
      self->destination = g_value_dup_object (value);
      break;
    case PROP_FORMAT_NAME:
      self->format_name = g_value_dup_string (value);
      break;
    case PROP_OVERWRITE:
      imago_convert_job_set_overwrite (self, g_value_get_boolean (value));
      break;
    case PROP_DURABLE:
      imago_convert_job_set_durable (self, g_value_get_boolean (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
install_what (void)
{
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:source:
   *
   * The image to copy, the first one if there are several (imago_convert_job_add_source()). Its references must be
   * open when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_SOURCE] =
    g_param_spec_object ("source", "Source", "The disk to read", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoConvertJob:offset:
   *
   * Where the copy begins, in bytes of the disk, or of all disks one behind the other.
   *
   * Since: 1.0
   */
  properties[PROP_OFFSET] = g_param_spec_uint64 (
    "offset", "Offset", "The first byte that is copied", 0, G_MAXUINT64, 0, plain);
  /**
   * ImagoConvertJob:length:
   *
   * How many bytes are copied; 0: all that follow.
   *
   * Since: 1.0
   */
  properties[PROP_LENGTH] = g_param_spec_uint64 (
    "length", "Length", "How many bytes are copied", 0, G_MAXUINT64, 0, plain);
  /**
   * ImagoConvertJob:salvage:
   *
   * Whether bytes that cannot be read become zeroes, in steps of 512 bytes, instead of failing the job.
   *
   * Since: 1.0
   */
  properties[PROP_SALVAGE] = g_param_spec_boolean (
    "salvage", "Salvage", "Whether what cannot be read becomes zero", FALSE, plain);
  /**
   * ImagoConvertJob:salvaged-bytes:
   *
   * How many bytes could not be read; see imago_convert_job_get_salvaged_range(). May be read at any time.
   *
   * Since: 1.0
   */
  properties[PROP_SALVAGED_BYTES] =
    g_param_spec_uint64 ("salvaged-bytes", "Salvaged bytes", "How many bytes could not be read", 0,
                         G_MAXUINT64, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
}

static void
install_stream (void)
{
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:source-stream:
   *
   * What to copy instead of a #ImagoConvertJob:source: the bytes of a raw disk, as they come out of a pipe or a socket. It need
   * not be seekable, is read once up to its end and is not closed. It is read on any thread of the library, one at a time.
   *
   * The disk is as long as what arrives, with the last 512 bytes filled up with zeroes. With a
   * #ImagoConvertJob:length it is an error (%IMAGO_ERROR_CORRUPT or %IMAGO_ERROR_OUT_OF_RANGE) if fewer or more bytes arrive; without one
   * a producer that was killed cannot be told from one that was done, unless #ImagoConvertJob:sha256 or the wrapping does.
   * A stream without a byte is an error in any case.
   *
   * A stream goes to a #ImagoConvertJob:destination or a #ImagoConvertJob:target-stream only; what it cannot do, as #ImagoConvertJob:offset, #ImagoConvertJob:salvage,
   * #ImagoConvertJob:verify and a backing file, is %IMAGO_ERROR_INVALID_OPTION when the job is run. There is no plan for it.
   *
   * Since: 1.0
   */
  properties[PROP_SOURCE_STREAM] = g_param_spec_object (
    "source-stream", "Source stream", "The bytes of the disk to copy", G_TYPE_INPUT_STREAM, once);
  /**
   * ImagoConvertJob:stream-length:
   *
   * How many bytes of the disk have come out of #ImagoConvertJob:source-stream, unwrapped. May be read at any time.
   *
   * Since: 1.0
   */
  properties[PROP_STREAM_LENGTH] =
    g_param_spec_uint64 ("stream-length", "Stream length", "How many bytes of the disk arrived", 0,
                         G_MAXUINT64, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  /**
   * ImagoConvertJob:wrapping:
   *
   * What the bytes of #ImagoConvertJob:source-stream are wrapped in. They are decoded as they arrive, members that follow each
   * other as one disk. What is damaged or ends too early is %IMAGO_ERROR_CORRUPT; what takes more than 128 MiB of memory to decode
   * is %IMAGO_ERROR_LIMIT_EXCEEDED. Unless it is %IMAGO_STREAM_WRAPPING_NONE a disk that looks like a qcow2 image is
   * %IMAGO_ERROR_UNSUPPORTED: such an image cannot be read from a stream.
   *
   * Since: 1.0
   */
  properties[PROP_WRAPPING] =
    g_param_spec_enum ("wrapping", "Wrapping", "What the stream is wrapped in", IMAGO_TYPE_STREAM_WRAPPING,
                       IMAGO_STREAM_WRAPPING_NONE, plain);
  /**
   * ImagoConvertJob:sha256:
   *
   * The SHA-256 digest, in 64 hexadecimal digits, that the bytes of #ImagoConvertJob:source-stream must have as they arrive, before
   * they are unwrapped. If they have another one the job fails with %IMAGO_ERROR_CORRUPT and publishes nothing.
   *
   * Since: 1.0
   */
  properties[PROP_SHA256] = g_param_spec_string (
    "sha256", "SHA-256", "The digest that the stream must have", NULL, plain);
}

static void
install_where (void)
{
  const GParamFlags once = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:destination:
   *
   * The file to make: a local one. %NULL with a #ImagoConvertJob:target or a #ImagoConvertJob:target-stream.
   *
   * Since: 1.0
   */
  properties[PROP_DESTINATION] =
    g_param_spec_object ("destination", "Destination", "The file to make", G_TYPE_FILE, once);
  /**
   * ImagoConvertJob:target:
   *
   * The image to write to, at least as large as what is copied. %NULL with a #ImagoConvertJob:destination or a
   * #ImagoConvertJob:target-stream.
   *
   * Since: 1.0
   */
  properties[PROP_TARGET] =
    g_param_spec_object ("target", "Target", "The image to write to", IMAGO_TYPE_IMAGE, once);
  /**
   * ImagoConvertJob:target-is-zero:
   *
   * Whether #ImagoConvertJob:target reads as zero everywhere, so that zeroes need not be written to it.
   *
   * Since: 1.0
   */
  properties[PROP_TARGET_IS_ZERO] = g_param_spec_boolean (
    "target-is-zero", "Target is zero", "Whether the target reads as zero", FALSE, plain);
  /**
   * ImagoConvertJob:target-stream:
   *
   * Where the bytes of the new image go one behind the other, instead of into a file: a pipe, a socket, a compressor. It
   * need not be seekable, is written on any thread of the library, one at a time, is flushed at the end and is not
   * closed. After a failure or a cancellation the bytes that went out remain, and how many these are is not told.
   *
   * Into a raw image everything goes as it is, zeroes too. For another format #ImagoConvertJob:source is read twice: first
   * to find out what is data, and with #ImagoConvertJob:compress how short it becomes, then to write it. So a
   * #ImagoConvertJob:source-stream can be copied to a raw image only (%IMAGO_ERROR_INVALID_OPTION), and a disk that
   * changes between is %IMAGO_ERROR_CORRUPT if its data no longer fits where it was to go. What takes more than 256 MiB of
   * memory to plan, as some disks of more than 8 TiB with #ImagoConvertJob:compress, is %IMAGO_ERROR_LIMIT_EXCEEDED.
   *
   * The name of a backing file stands in the image as it is given, whatever lies there; its format must be given too. What
   * needs a file, as #ImagoConvertJob:verify, an external data file and preallocation, is %IMAGO_ERROR_INVALID_OPTION when the
   * job is run. #ImagoConvertJob:durable means nothing here.
   *
   * A job that is cancelled ends while nobody reads a #GUnixOutputStream of a pipe or socket. What lies between the
   * job and such a stream, as a #GConverterOutputStream, may wait for the reader unless the descriptor is non-blocking. A
   * pipe whose reader has gone is %G_IO_ERROR_BROKEN_PIPE in a program that ignores SIGPIPE; another one is killed.
   *
   * Since: 1.0
   */
  properties[PROP_TARGET_STREAM] = g_param_spec_object (
    "target-stream", "Target stream", "Where the bytes of the new image go", G_TYPE_OUTPUT_STREAM, once);
  /**
   * ImagoConvertJob:format-name:
   *
   * The name of the format of the new file, if there are no #ImagoConvertJob:create-options. A name that is not
   * known is %IMAGO_ERROR_UNKNOWN_FORMAT when the job is run.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] = g_param_spec_string (
    "format-name", "Format name", "The format of the file to make", "raw", once);
  /**
   * ImagoConvertJob:create-options:
   *
   * What the new file shall be like. #ImagoCreateOptions:size may be left out.
   *
   * Since: 1.0
   */
  properties[PROP_CREATE_OPTIONS] =
    g_param_spec_object ("create-options", "Create options", "What the new file shall be like",
                         IMAGO_TYPE_CREATE_OPTIONS, plain);
}

static void
install_how (void)
{
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:compress:
   *
   * Whether clusters are stored compressed where that makes them smaller.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESS] = g_param_spec_boolean (
    "compress", "Compress", "Whether clusters are compressed", FALSE, plain);
  /**
   * ImagoConvertJob:compression-level:
   *
   * How hard #ImagoConvertJob:compress tries, from 1 on; 0 leaves it to the library.
   *
   * Since: 1.0
   */
  properties[PROP_COMPRESSION_LEVEL] =
    g_param_spec_int ("compression-level", "Compression level", "How hard to compress", 0, 22, 0, plain);
  /**
   * ImagoConvertJob:zero-grain:
   *
   * So many zero bytes in a row, at a multiple of that offset, take no space in the result; 0: only
   * what reads as zero by the block map does not. With 0, data need not be looked at: to a new raw file
   * it is copied by the kernel where that is possible, and file systems that can let both files share
   * it, which takes neither time nor space.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_GRAIN] =
    g_param_spec_uint ("zero-grain", "Zero grain", "How many zeroes are not stored", 0, MAX_ZERO_GRAIN,
                       IMG_CONVERT_ZERO_GRAIN, plain);
  /**
   * ImagoConvertJob:allocate-all:
   *
   * Whether zeroes and what is not allocated are written as data too.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOCATE_ALL] = g_param_spec_boolean (
    "allocate-all", "Allocate all", "Whether zeroes are written as data", FALSE, plain);
}

static void
install_bitmaps (void)
{
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:copy-bitmaps:
   *
   * Whether the persistent dirty bitmaps of the source image itself, not those of its backing files, are copied with it:
   * names, granularities, flags and content. That takes one #ImagoConvertJob:source, all of it, and no
   * pipe (else %IMAGO_ERROR_INVALID_OPTION), both ends of a format that can have bitmaps (else
   * %IMAGO_ERROR_UNSUPPORTED). A bitmap that was not closed by the program that used it says nothing and is
   * %IMAGO_ERROR_CORRUPT; see #ImagoConvertJob:skip-broken-bitmaps.
   *
   * A #ImagoConvertJob:target must have the size of the source and no bitmap of the same name (else
   * %IMAGO_ERROR_INVALID_OPTION), and must not be written to by others until the job ends. Bitmaps of its own are kept,
   * also when the job fails or is cancelled: those that record changes (#ImagoBitmap:recording) then say that all of
   * the disk may have changed, others what they said. They are lost where the program or the machine ends before the
   * job does. A target with bitmaps whose metadata is damaged is refused with %IMAGO_ERROR_CORRUPT.
   *
   * Since: 1.0
   */
  properties[PROP_COPY_BITMAPS] = g_param_spec_boolean (
    "copy-bitmaps", "Copy bitmaps", "Whether persistent bitmaps are copied", FALSE, plain);
  /**
   * ImagoConvertJob:skip-broken-bitmaps:
   *
   * Whether #ImagoConvertJob:copy-bitmaps leaves out the bitmaps whose #ImagoBitmap:in-use is set.
   *
   * Since: 1.0
   */
  properties[PROP_SKIP_BROKEN_BITMAPS] = g_param_spec_boolean (
    "skip-broken-bitmaps", "Skip broken bitmaps", "Whether bitmaps in use are left out", FALSE, plain);
}

static void
install_care (void)
{
  const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoConvertJob:verify:
   *
   * Whether the new image is read back and compared with the source before it gets its name; what differs is
   * %IMAGO_ERROR_CORRUPT. Not with a #ImagoConvertJob:target and not with #ImagoConvertJob:salvage.
   *
   * Since: 1.0
   */
  properties[PROP_VERIFY] = g_param_spec_boolean (
    "verify", "Verify", "Whether the result is compared with the source", FALSE, plain);
  /**
   * ImagoConvertJob:check-space:
   *
   * Whether the job fails with %G_IO_ERROR_NO_SPACE before it writes anything, if the file system of the new file certainly
   * has not enough room. That is found out from the data where the block maps leave it open, and for ext2 to ext4, XFS and
   * tmpfs only: not where what is written may take less, nor with #ImagoConvertJob:compress or #ImagoConvertJob:salvage.
   *
   * Since: 1.0
   */
  properties[PROP_CHECK_SPACE] = g_param_spec_boolean (
    "check-space", "Check space", "Whether want of space is an error at once", TRUE, plain);
}

static void
install_properties (GObjectClass *object_class)
{
  const GParamFlags free = G_PARAM_READWRITE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS;

  install_what ();
  install_stream ();
  install_where ();
  install_how ();
  install_bitmaps ();
  install_care ();
  /**
   * ImagoConvertJob:overwrite:
   *
   * Whether a file of that name is replaced. Otherwise it is an error that there is one.
   *
   * Since: 1.0
   */
  properties[PROP_OVERWRITE] = g_param_spec_boolean (
    "overwrite", "Overwrite", "Whether an existing file is replaced", FALSE, free);
  /**
   * ImagoConvertJob:durable:
   *
   * Whether the new file is on the disk, safe from a power failure, before it gets its name.
   *
   * Since: 1.0
   */
  properties[PROP_DURABLE] = g_param_spec_boolean (
    "durable", "Durable", "Whether the result is on the disk when the job ends", TRUE, free);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_convert_job_class_init (ImagoConvertJobClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  ImagoJobClass *job_class = &klass->parent_class;

  object_class->dispose = imago_convert_job_dispose;
  object_class->finalize = imago_convert_job_finalize;
  object_class->get_property = imago_convert_job_get_property;
  object_class->set_property = imago_convert_job_set_property;
  job_class->prepare = imago_convert_job_prepare;
  job_class->run_core = imago_convert_job_run_core;
  job_class->finish = imago_convert_job_finish;
  install_properties (object_class);
}

static void
imago_convert_job_init (ImagoConvertJob *self)
{
  self->check_space = TRUE;
  self->durable = TRUE;
  self->zero_grain = IMG_CONVERT_ZERO_GRAIN;
  self->sources = g_ptr_array_new_with_free_func (g_object_unref);
  self->salvaged = g_array_new (FALSE, FALSE, sizeof (Range));
  g_mutex_init (&self->mutex);
}

/**
 * imago_convert_job_new:
 * @source: the image to copy
 * @destination: the file to make
 *
 * Makes a job that copies the disk of @source into a new file, a raw one unless #ImagoConvertJob:create-options say
 * otherwise.
 *
 * Returns: (transfer full): a new #ImagoConvertJob
 *
 * Since: 1.0
 */
ImagoConvertJob *
imago_convert_job_new (ImagoImage *source, GFile *destination)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (source), NULL);
  g_return_val_if_fail (G_IS_FILE (destination), NULL);

  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", source, "destination", destination, NULL);
}

/**
 * imago_convert_job_new_for_image:
 * @source: the image to copy
 * @target: the image to write to, open for writing
 *
 * Makes a job that copies the disk of @source into @target. What lies behind its end there stays as it is.
 *
 * Returns: (transfer full): a new #ImagoConvertJob
 *
 * Since: 1.0
 */
ImagoConvertJob *
imago_convert_job_new_for_image (ImagoImage *source, ImagoImage *target)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (source), NULL);
  g_return_val_if_fail (IMAGO_IS_IMAGE (target), NULL);

  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", source, "target", target, NULL);
}

/**
 * imago_convert_job_add_source:
 * @self: an #ImagoConvertJob that has not been run
 * @source: another image to copy
 *
 * Adds a disk behind those that are copied already. A disk that does not end with a sector of 512 bytes is filled up
 * with zeroes before the next one begins.
 *
 * Since: 1.0
 */
void
imago_convert_job_add_source (ImagoConvertJob *self, ImagoImage *source)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (IMAGO_IS_IMAGE (source));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  g_ptr_array_add (self->sources, g_object_ref (source));
}

/**
 * imago_convert_job_get_salvaged_range:
 * @self: an #ImagoConvertJob
 * @index: which of the ranges, from 0 on
 * @offset: (out): where it begins, in bytes of the disk
 * @length: (out): its length in bytes
 *
 * Tells what could not be read with #ImagoConvertJob:salvage, in the order of the disk. No more than 4096 ranges are
 * kept; #ImagoConvertJob:salvaged-bytes counts them all. May be called at any time from any thread.
 *
 * Returns: whether there is such a range
 *
 * Since: 1.0
 */
gboolean
imago_convert_job_get_salvaged_range (ImagoConvertJob *self, guint index, guint64 *offset, guint64 *length)
{
  gboolean exists;

  g_return_val_if_fail (IMAGO_IS_CONVERT_JOB (self), FALSE);
  g_return_val_if_fail (offset != NULL, FALSE);
  g_return_val_if_fail (length != NULL, FALSE);

  *offset = *length = 0;
  g_mutex_lock (&self->mutex);
  exists = index < self->salvaged->len;
  if (exists)
    {
      *offset = g_array_index (self->salvaged, Range, index).offset;
      *length = g_array_index (self->salvaged, Range, index).length;
    }
  g_mutex_unlock (&self->mutex);
  return exists;
}

/**
 * imago_convert_job_set_overwrite:
 * @self: an #ImagoConvertJob that has not been run
 * @overwrite: whether a file of the same name is replaced
 *
 * Sets #ImagoConvertJob:overwrite.
 *
 * Since: 1.0
 */
void
imago_convert_job_set_overwrite (ImagoConvertJob *self, gboolean overwrite)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->overwrite == !!overwrite)
    return;
  self->overwrite = !!overwrite;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_OVERWRITE]);
}

/**
 * imago_convert_job_set_durable:
 * @self: an #ImagoConvertJob that has not been run
 * @durable: whether the new file is made safe before it gets its name
 *
 * Sets #ImagoConvertJob:durable.
 *
 * Since: 1.0
 */
void
imago_convert_job_set_durable (ImagoConvertJob *self, gboolean durable)
{
  g_return_if_fail (IMAGO_IS_CONVERT_JOB (self));
  g_return_if_fail (!imago_job_is_started (IMAGO_JOB (self)));

  if (self->durable == !!durable)
    return;
  self->durable = !!durable;
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_DURABLE]);
}
