/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <fcntl.h>
#include <gio/gfiledescriptorbased.h>
#include <glib/gi18n-lib.h>
#include <limits.h>

#include "imago-error-private.h"
#include "imago-image-private.h"

/* Of data at a time: what a splice needs of memory. */
#define PIECE (1024 * 1024)

/* Zero blocks that are put together into one hole, at most: tables may be shared, so that not even the size of
 * the file bounds how many there are. */
#define MAX_STEPS 65536

/* Never changed. Not constant, as it would then lie in the file of the library. */
static guint8 zeroes[256 * 1024];

typedef struct
{
  ImagoImage *image;     /* borrowed */
  GOutputStream *stream; /* owned */
  guint64 offset;        /* on the disk */
  guint64 left;
  gsize n_done;
  gboolean may_extend;   /* the stream is lengthened where the disk has a hole */
  gsize max_write;       /* how much the stream is given at once without waiting */

  guint8 *buffer;        /* owned; PIECE bytes once there is data */
  gsize n_data;          /* of the buffer: to be written, or being written */
  gsize n_written;       /* of n_data */
  guint64 hole;          /* to be passed over */
  guint64 n_zeroes;      /* of the hole: to be written */
} Splice;

static void
splice_clear (Splice *splice)
{
  g_clear_object (&splice->stream);
  img_free (splice->buffer);
}

static void
splice_free (gpointer data)
{
  splice_clear (data);
  g_free (data);
}

static void
splice_init (Splice *splice, ImagoImage *image, GOutputStream *stream, guint64 offset, guint64 length)
{
  guint64 size = imago_image_get_size (image);

  offset = MIN (offset, size);
  *splice = (Splice) {
    .image = image,
    .stream = g_object_ref (stream),
    .offset = offset,
    .left = MIN (MIN (length, size - offset), G_MAXSSIZE),
    .may_extend = G_IS_SEEKABLE (stream),
    .max_write = PIECE,
  };
}

/* ---- the disk ---- */

/* What is next: a hole, as long as it is, or data, which ends where a hole begins. */
static gboolean
find_run (ImgImage *core,
          guint64 offset,
          guint64 left,
          gboolean *is_hole,
          guint64 *length,
          ImgCancel *cancel,
          ImgError **error)
{
  ImgBlock block;

  *length = 0;
  for (guint n = 0; *length < left && n < MAX_STEPS; n++)
    {
      if (!img_image_map (core, offset + *length, left - *length, IMG_BLOCK_MAP_HOST_HOLES, &block, cancel,
                          error))
        return FALSE;
      if (n == 0)
        {
          *is_hole = block.reads_as_zero;
          left = *is_hole ? left : MIN (left, PIECE);
        }
      if (block.reads_as_zero != *is_hole)
        break;
      *length += MIN (block.length, left - *length);
    }
  return TRUE;
}

/* One visit to the disk, which owns its memory: it may outlive the splice. */
typedef struct
{
  guint64 offset;
  guint64 left;
  guint8 *buffer; /* owned; nullable */
  gboolean is_hole;
  guint64 length; /* what came of it */
} Fetch;

static void
fetch_free (gpointer data)
{
  Fetch *fetch = data;

  img_free (fetch->buffer);
  g_free (fetch);
}

static Fetch *
fetch_new (Splice *splice)
{
  Fetch *fetch = g_new0 (Fetch, 1);

  fetch->offset = splice->offset;
  fetch->left = splice->left;
  fetch->buffer = g_steal_pointer (&splice->buffer);
  return fetch;
}

/* Takes @fetch; FALSE if it is NULL. */
static gboolean
take_fetch (Splice *splice, Fetch *fetch)
{
  if (fetch == NULL)
    return FALSE;
  splice->buffer = g_steal_pointer (&fetch->buffer);
  if (fetch->is_hole)
    splice->hole = fetch->length;
  else
    splice->n_data = (gsize) fetch->length;
  fetch_free (fetch);
  return TRUE;
}

/* The result is the Fetch itself. */
static gpointer
run_fetch (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  Fetch *fetch = call->data;

  if (!find_run (call->core, fetch->offset, fetch->left, &fetch->is_hole, &fetch->length, cancel, error))
    return NULL;
  if (fetch->is_hole)
    return g_steal_pointer (&call->data);
  if (fetch->buffer == NULL)
    fetch->buffer = img_try_alloc (PIECE, error);
  if (fetch->buffer == NULL ||
      !img_image_read (call->core, fetch->offset, fetch->buffer, (gsize) fetch->length, cancel, error))
    return NULL;
  return g_steal_pointer (&call->data);
}

/* ---- the stream ---- */

/* Some files can be truncated only to become smaller, and some that say they can are none. */
static gboolean
is_refusal (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
}

static gboolean
lengthen (Splice *splice, goffset position, goffset end, GCancellable *cancellable, GError **error)
{
  GSeekable *seekable = G_SEEKABLE (splice->stream);
  g_autoptr (GError) refusal = NULL;

  if ((guint64) end > G_MAXINT64 - splice->hole)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, _("The stream cannot become that long"));
      return FALSE;
    }
  end += (goffset) splice->hole;
  if (g_seekable_truncate (seekable, end, cancellable, &refusal))
    {
      splice->hole = 0;
      return g_seekable_seek (seekable, end, G_SEEK_SET, cancellable, error);
    }
  if (!is_refusal (refusal))
    {
      g_propagate_error (error, g_steal_pointer (&refusal));
      return FALSE;
    }
  splice->may_extend = FALSE;
  splice->n_zeroes = splice->hole;
  return g_seekable_seek (seekable, position, G_SEEK_SET, cancellable, error);
}

/* A file answers that by a system call. */
static gboolean
can_extend (GSeekable *seekable)
{
  return g_seekable_can_seek (seekable) && g_seekable_can_truncate (seekable);
}

/* Passes over the hole, or says how many zeroes are to be written first. The end is looked for each time, and the
 * stream made longer before it is written to again: one that appends whatever its position is comes out right
 * too. */
static gboolean
extend (Splice *splice, GCancellable *cancellable, GError **error)
{
  GSeekable *seekable = G_SEEKABLE (splice->stream);
  goffset position, end;

  splice->may_extend = can_extend (seekable);
  if (!splice->may_extend)
    return TRUE;
  position = g_seekable_tell (seekable);
  if (!g_seekable_seek (seekable, 0, G_SEEK_END, cancellable, error))
    return FALSE;
  end = g_seekable_tell (seekable);
  if (end <= position)
    return lengthen (splice, position, position, cancellable, error);
  splice->n_zeroes = MIN (splice->hole, (guint64) (end - position));
  return g_seekable_seek (seekable, position, G_SEEK_SET, cancellable, error);
}

/* ---- one step after the other ---- */

typedef enum
{
  STEP_FETCH,
  STEP_WRITE_DATA,
  STEP_EXTEND,
  STEP_WRITE_ZEROES,
  STEP_END,
} Step;

static Step
next_step (Splice *splice)
{
  if (splice->n_data > 0)
    return STEP_WRITE_DATA;
  if (splice->hole > 0 && splice->n_zeroes == 0 && !splice->may_extend)
    splice->n_zeroes = splice->hole;
  if (splice->n_zeroes > 0)
    return STEP_WRITE_ZEROES;
  if (splice->hole > 0)
    return STEP_EXTEND;
  return splice->left > 0 ? STEP_FETCH : STEP_END;
}

static void
advance (Splice *splice, guint64 length)
{
  splice->offset += length;
  splice->left -= length;
  splice->n_done += (gsize) length;
}

static gsize
next_zeroes (const Splice *splice)
{
  return (gsize) MIN (splice->n_zeroes, MIN (sizeof zeroes, splice->max_write));
}

static gsize
next_data (const Splice *splice)
{
  return MIN (splice->n_data - splice->n_written, splice->max_write);
}

static void
zeroes_written (Splice *splice, gsize length)
{
  splice->n_zeroes -= length;
  splice->hole -= length;
  advance (splice, length);
}

static void
data_written (Splice *splice, gsize length)
{
  splice->n_written += length;
  advance (splice, length);
  if (splice->n_written == splice->n_data)
    splice->n_written = splice->n_data = 0;
}

static gboolean
make_step (Splice *splice, Step step, GCancellable *cancellable, GError **error)
{
  ImagoImageCall call = { 0 };
  guint64 hole = splice->hole;

  switch (step)
    {
    case STEP_WRITE_DATA:
      if (!g_output_stream_write_all (splice->stream, splice->buffer, splice->n_data, NULL, cancellable, error))
        return FALSE;
      data_written (splice, splice->n_data);
      return TRUE;
    case STEP_WRITE_ZEROES:
      if (!g_output_stream_write_all (splice->stream, zeroes, next_zeroes (splice), NULL, cancellable, error))
        return FALSE;
      zeroes_written (splice, next_zeroes (splice));
      return TRUE;
    case STEP_EXTEND:
      if (!extend (splice, cancellable, error))
        return FALSE;
      advance (splice, hole - splice->hole);
      return TRUE;
    default:
      call.data = fetch_new (splice);
      return take_fetch (splice, imago_image_call (splice->image, run_fetch, &call, fetch_free, fetch_free,
                                                   IMAGO_REQUEST_ABANDON, cancellable, error));
    }
}

/**
 * imago_image_splice:
 * @self: an #ImagoImage
 * @stream: where to write to
 * @offset: where on the disk to begin, in bytes
 * @length: how many bytes at most
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Writes a part of the disk, or all of it, to a stream, as g_output_stream_splice() would from
 * imago_image_create_input_stream(), but guided by the block map: what reads as zero is not read. It is passed over if
 * @stream can seek and be truncated and ends there, as a file does that was just created; the copy then takes as long as
 * there is data, and is as sparse as the disk. Into other streams zeroes are written, and so are they over what a
 * stream contained before.
 *
 * Needs about 1 MiB of memory. To show progress, copy in several parts: at the end of the disk a part
 * is short, then empty. @stream is neither flushed nor closed. After a failure part of the range may have been
 * written; where @stream stands then is undefined.
 *
 * Nobody else may use @stream meanwhile.
 *
 * Returns: by how many bytes of the disk @stream has advanced, or -1 with @error set
 *
 * Since: 1.0
 */
gssize
imago_image_splice (ImagoImage *self,
                    GOutputStream *stream,
                    guint64 offset,
                    guint64 length,
                    GCancellable *cancellable,
                    GError **error)
{
  gboolean success = TRUE;
  Splice splice;
  Step step;

  g_return_val_if_fail (IMAGO_IS_IMAGE (self), -1);
  g_return_val_if_fail (G_IS_OUTPUT_STREAM (stream), -1);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), -1);
  g_return_val_if_fail (error == NULL || *error == NULL, -1);

  splice_init (&splice, self, stream, offset, length);
  while (success && (step = next_step (&splice)) != STEP_END)
    success = make_step (&splice, step, cancellable, error);
  splice_clear (&splice);
  return success ? (gssize) splice.n_done : -1;
}

/* ---- without waiting ----
 *
 * The disk is visited on a worker; the stream is written to with its own asynchronous calls. Those of GIO ask whether the
 * descriptor of a pipe or a socket is ready, and then write all that they were given: a descriptor that blocks would let the
 * loop wait for the reader. One that is ready has room for PIPE_BUF bytes, so it is given no more at once. Seeking
 * has none: the files of GIO do it on a worker too, as they may wait, and do not care where they are used. Streams of
 * the application are called where it lives. */

static void next (GTask *task);

static void
fail (GTask *task, GError *error)
{
  g_task_return_error (task, error);
  g_object_unref (task);
}

static void
step_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  GError *error = NULL;

  if (g_task_propagate_pointer (G_TASK (result), &error) != NULL)
    next (task);
  else
    fail (task, error);
}

static void
fetched_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  GError *error = NULL;

  if (take_fetch (g_task_get_task_data (task), g_task_propagate_pointer (G_TASK (result), &error)))
    next (task);
  else
    fail (task, error);
}

static void
written_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  Splice *splice = g_task_get_task_data (task);
  GError *error = NULL;

  if (!g_output_stream_write_all_finish (G_OUTPUT_STREAM (object), result, NULL, &error))
    {
      fail (task, error);
      return;
    }
  if (splice->n_data > 0)
    data_written (splice, next_data (splice));
  else
    zeroes_written (splice, next_zeroes (splice));
  next (task);
}

static gboolean
is_file (GOutputStream *stream)
{
  while (G_IS_FILTER_OUTPUT_STREAM (stream))
    stream = g_filter_output_stream_get_base_stream (G_FILTER_OUTPUT_STREAM (stream));
  return G_IS_FILE_OUTPUT_STREAM (stream);
}

typedef struct
{
  Splice *splice;            /* borrowed, as the next one: its task waits */
  GCancellable *cancellable;
} Extension;

static gpointer
run_extend (gpointer data, ImgCancel *cancel, ImgError **error)
{
  Extension *extension = data;
  Splice *splice = extension->splice;
  GError *gio_error = NULL;
  guint64 hole = splice->hole;
  gboolean success;

  if (!img_pool_begin_wait (error))
    return NULL;
  success = extend (splice, extension->cancellable, &gio_error);
  img_pool_end_wait ();
  if (success)
    {
      advance (splice, hole - splice->hole);
      return IMAGO_REQUEST_DONE;
    }
  img_error_propagate (error, imago_error_to_core (gio_error));
  g_error_free (gio_error);
  return NULL;
}

static GTask *
make_inner_task (GTask *task, gpointer source_tag, GAsyncReadyCallback callback)
{
  GTask *inner = g_task_new (g_task_get_source_object (task), g_task_get_cancellable (task), callback, task);

  g_task_set_source_tag (inner, source_tag);
  g_task_set_priority (inner, g_task_get_priority (task));
  g_task_set_check_cancellable (inner, FALSE);
  return inner;
}

static void
start_extend (GTask *task)
{
  Splice *splice = g_task_get_task_data (task);
  Extension *extension;
  ImagoRequestWork work = { .run = run_extend, .free_data = g_free };
  GError *error = NULL;

  if (is_file (splice->stream))
    {
      extension = g_new (Extension, 1);
      *extension = (Extension) { splice, g_task_get_cancellable (task) };
      work.data = extension;
      imago_request_start (make_inner_task (task, start_extend, step_cb), &work);
    }
  else if (make_step (splice, STEP_EXTEND, g_task_get_cancellable (task), &error))
    next (task);
  else
    fail (task, error);
}

static gboolean
blocks (int fd)
{
  int flags = fcntl (fd, F_GETFL);

  return flags >= 0 && (flags & O_NONBLOCK) == 0;
}

static gboolean
can_poll (GOutputStream *stream)
{
  return G_IS_POLLABLE_OUTPUT_STREAM (stream) &&
         g_pollable_output_stream_can_poll (G_POLLABLE_OUTPUT_STREAM (stream));
}

/* A stream that cannot be polled is written to in a thread of GIO. */
static gsize
find_max_write (GOutputStream *stream)
{
  if (!can_poll (stream))
    return PIECE;
  while (G_IS_FILTER_OUTPUT_STREAM (stream))
    stream = g_filter_output_stream_get_base_stream (G_FILTER_OUTPUT_STREAM (stream));
  if (G_IS_FILE_DESCRIPTOR_BASED (stream) && blocks (g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (stream))))
    return PIPE_BUF;
  return PIECE;
}

static void
start_write (GTask *task, gconstpointer buffer, gsize count)
{
  Splice *splice = g_task_get_task_data (task);

  g_output_stream_write_all_async (splice->stream, buffer, count, g_task_get_priority (task),
                                   g_task_get_cancellable (task), written_cb, task);
}

static void
next (GTask *task)
{
  Splice *splice = g_task_get_task_data (task);
  ImagoImageCall call = { 0 };

  switch (next_step (splice))
    {
    case STEP_WRITE_DATA:
      start_write (task, splice->buffer + splice->n_written, next_data (splice));
      break;
    case STEP_WRITE_ZEROES:
      start_write (task, zeroes, next_zeroes (splice));
      break;
    case STEP_EXTEND:
      start_extend (task);
      break;
    case STEP_FETCH:
      call.data = fetch_new (splice);
      imago_image_call_async (splice->image, make_inner_task (task, next, fetched_cb), run_fetch, &call, fetch_free,
                              fetch_free, IMAGO_REQUEST_ABANDON);
      break;
    case STEP_END:
    default:
      g_task_return_int (task, (gssize) splice->n_done);
      g_object_unref (task);
      break;
    }
}

static void
deliver_nothing (GTask *task, gpointer data)
{
  g_task_return_int (task, 0);
}

/**
 * imago_image_splice_async:
 * @self: an #ImagoImage
 * @stream: where to write to
 * @offset: where on the disk to begin, in bytes
 * @length: how many bytes at most
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are written
 * @user_data: data for @callback
 *
 * Starts to write a part of the disk to a stream; see imago_image_splice(). @stream is used with its asynchronous
 * calls, and where it is to seek or be truncated in the calling thread, except for a #GFileOutputStream: that may wait,
 * so it is done on a worker thread.
 *
 * A pipe or a socket whose descriptor blocks, such as #GUnixOutputStream has unless you change that, is written to in small
 * pieces when it has room, so that the main loop does not wait for who reads it; one with O_NONBLOCK takes larger ones, and is
 * faster. What a filter such as #GConverterOutputStream makes of the bytes is beyond this: give it a descriptor that does
 * not block.
 *
 * Since: 1.0
 */
void
imago_image_splice_async (ImagoImage *self,
                          GOutputStream *stream,
                          guint64 offset,
                          guint64 length,
                          int io_priority,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  Splice *splice;
  GTask *task;

  g_return_if_fail (IMAGO_IS_IMAGE (self));
  g_return_if_fail (G_IS_OUTPUT_STREAM (stream));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = imago_image_task_new (self, imago_image_splice_async, G_STRFUNC, io_priority, cancellable, callback,
                               user_data);
  if (imago_request_is_cancelled (task))
    return;
  /* What was written was written: cancelling late does not hide that. */
  g_task_set_check_cancellable (task, FALSE);
  splice = g_new (Splice, 1);
  splice_init (splice, self, stream, offset, length);
  splice->max_write = find_max_write (stream);
  g_task_set_task_data (task, splice, splice_free);
  if (splice->left > 0)
    next (task);
  else
    imago_lane_push (imago_lane_find (task), task, deliver_nothing, NULL);
}

/**
 * imago_image_splice_finish:
 * @self: an #ImagoImage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_image_splice_async() began.
 *
 * Returns: by how many bytes of the disk the stream has advanced, or -1 with @error set
 *
 * Since: 1.0
 */
gssize
imago_image_splice_finish (ImagoImage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (self), -1);
  g_return_val_if_fail (g_task_is_valid (result, self), -1);
  g_return_val_if_fail (error == NULL || *error == NULL, -1);

  return g_task_propagate_int (G_TASK (result), error);
}
