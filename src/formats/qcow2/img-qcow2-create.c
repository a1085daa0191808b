/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Writing a new qcow2 image.
 *
 * The tables are one stream of sequential writes, in the order of the file (img-qcow2-shape.c). The
 * header comes last, behind a flush, unless nobody can see the file yet.
 */

#include "config.h"

#include "img-alloc.h"
#include "img-qcow2-create.h"
#include "img-qcow2-entry.h"
#include "img-qcow2-shape.h"

#define STREAM_SIZE (2 * IMG_MIB)

/* ---- the stream of tables ---- */

typedef struct
{
  ImgStorage *storage;
  gboolean is_fresh; /* reads as zero where nothing was written */
  ImgCancel *cancel;
  guint8 *buffer;
  gsize filled;
  guint64 offset;    /* of the buffer in the file */
} Stream;

static gboolean
stream_flush (Stream *stream, ImgError **error)
{
  gsize length = stream->filled;

  if (length == 0)
    return TRUE;
  if (img_cancel_check (stream->cancel, error) ||
      !img_storage_write (stream->storage, stream->offset, stream->buffer, length, error))
    return FALSE;
  stream->offset += length;
  stream->filled = 0;
  return TRUE;
}

/* Room for at least eight bytes. */
static inline gboolean
stream_make_room (Stream *stream, ImgError **error)
{
  return G_LIKELY (STREAM_SIZE - stream->filled >= 8) || stream_flush (stream, error);
}

static inline gboolean
stream_put (Stream *stream, guint64 value, ImgError **error)
{
  guint64 be = GUINT64_TO_BE (value);

  if (!stream_make_room (stream, error))
    return FALSE;
  memcpy (stream->buffer + stream->filled, &be, sizeof be);
  stream->filled += sizeof be;
  return TRUE;
}

/* Zeroes up to there. */
static gboolean
stream_skip_to (Stream *stream, guint64 offset, ImgError **error)
{
  guint64 at = stream->offset + stream->filled;

  g_assert (at <= offset);
  if (at == offset)
    return TRUE;
  if (offset - at <= STREAM_SIZE - stream->filled && offset - at <= 4096)
    {
      memset (stream->buffer + stream->filled, 0, (gsize) (offset - at));
      stream->filled += (gsize) (offset - at);
      return TRUE;
    }
  if (!stream_flush (stream, error))
    return FALSE;
  stream->offset = offset;
  return stream->is_fresh ||
         img_storage_zero (stream->storage, at, offset - at, IMG_IO_UNMAP, error);
}

static gboolean
stream_skip_to_cluster (Stream *stream, const ImgQcow2Shape *shape, guint64 cluster, ImgError **error)
{
  return stream_skip_to (stream, cluster << shape->cluster_bits, error);
}

/* ---- tables ---- */

static gboolean
put_refcount_table (const ImgQcow2Shape *shape, Stream *stream, ImgError **error)
{
  guint64 first = 1 + shape->n_table;

  for (guint64 i = 0; i < shape->n_blocks; i++)
    if (!stream_put (stream, (first + i) << shape->cluster_bits, error))
      return FALSE;
  return stream_skip_to_cluster (stream, shape, first, error);
}

/* All clusters of the file have the refcount 1. Narrow refcounts are packed from the low bits up. */
static gboolean
put_refcount_blocks (const ImgQcow2Shape *shape, Stream *stream, ImgError **error)
{
  static const guint64 ones[] = {
    0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111, 0x0101010101010101,
    0x0001000100010001, 0x0000000100000001, 0x0000000000000001,
  };
  guint order = shape->refcount_order;
  guint per_word = 64u >> order;
  guint64 n_words = shape->n_clusters / per_word;
  guint n_left = (guint) (shape->n_clusters % per_word);
  guint64 last = 0;

  for (guint64 i = 0; i < n_words; i++)
    if (!stream_put (stream, ones[order], error))
      return FALSE;
  /* Entry i begins at byte i * width / 8; in a big-endian word that counts from the top. */
  for (guint i = 0; i < n_left; i++)
    {
      guint bit = i << order;

      last |= order >= 3 ? (guint64) 1 << (64 - (1u << order) - bit)
                         : (guint64) 1 << (56 - (bit & ~7u) + (bit & 7));
    }
  if (n_left > 0 && !stream_put (stream, last, error))
    return FALSE;
  return stream_skip_to_cluster (stream, shape, shape->l1_at, error);
}

static gboolean
put_l1_table (const ImgQcow2Shape *shape, Stream *stream, ImgError **error)
{
  for (guint64 i = 0; i < shape->n_l2; i++)
    if (!stream_put (stream, IMG_QCOW2_FLAG_COPIED | (shape->l2_at + i) << shape->cluster_bits,
                     error))
      return FALSE;
  return stream_skip_to_cluster (stream, shape, shape->l2_at, error);
}

/* Guest clusters in order. No subcluster is marked: a backing file shows through, and without one the map
 * says that the disk is empty. */
static gboolean
put_l2_tables (const ImgQcow2Shape *shape, Stream *stream, ImgError **error)
{
  gboolean extended_l2 = shape->options->extended_l2;
  guint64 first = shape->has_data_file ? 0 : shape->data_at;

  for (guint64 i = 0; i < shape->n_mapped; i++)
    if (!stream_put (stream, IMG_QCOW2_FLAG_COPIED | (first + i) << shape->cluster_bits, error) ||
        (extended_l2 && !stream_put (stream, 0, error)))
      return FALSE;
  return stream_skip_to_cluster (stream, shape, shape->data_at, error);
}

/* All metadata but the header. */
static gboolean
put_tables (const ImgQcow2Shape *shape, Stream *stream, ImgError **error)
{
  gboolean success;

  stream->offset = (guint64) 1 << shape->cluster_bits;
  stream->buffer = img_try_alloc (STREAM_SIZE, error);
  success = stream->buffer != NULL && put_refcount_table (shape, stream, error) &&
            put_refcount_blocks (shape, stream, error) && put_l1_table (shape, stream, error) &&
            put_l2_tables (shape, stream, error) && stream_flush (stream, error);
  img_free (stream->buffer);
  return success;
}

/* ---- storages ---- */

static gboolean
prepare_data_file (const ImgQcow2Shape *shape,
                   ImgStorage *data_storage,
                   ImgCancel *cancel,
                   ImgError **error)
{
  gboolean is_fresh;

  if (!img_create_empty (data_storage, shape->size, &is_fresh, error))
    return FALSE;
  if (!shape->preallocated || shape->size == 0)
    return TRUE;
  return img_create_reserve (data_storage, 0, shape->size, shape->options->preallocate, is_fresh,
                             cancel, error);
}

/* What was there is no image any more before the first of its tables is overwritten. */
static gboolean
wipe_header (const ImgQcow2Shape *shape, ImgStorage *storage, ImgError **error)
{
  return img_storage_zero (storage, 0, (guint64) 1 << shape->cluster_bits, IMG_IO_NONE, error) &&
         img_storage_flush (storage, error);
}

static gboolean
reserve_data (const ImgQcow2Shape *shape, const Stream *stream, ImgError **error)
{
  guint64 length = shape->n_data << shape->cluster_bits;

  return length == 0 ||
         img_create_reserve (stream->storage, shape->data_at << shape->cluster_bits, length,
                             shape->options->preallocate, stream->is_fresh, stream->cancel, error);
}

static gboolean
write_image (const ImgQcow2Shape *shape,
             ImgStorage *storage,
             ImgStorage *data_storage,
             GByteArray *header,
             ImgCancel *cancel,
             ImgError **error)
{
  Stream stream = { .storage = storage, .cancel = cancel };

  if (!img_create_empty (storage, shape->n_clusters << shape->cluster_bits, &stream.is_fresh,
                         error) ||
      (!stream.is_fresh && !wipe_header (shape, storage, error)))
    return FALSE;
  if (data_storage != NULL && !prepare_data_file (shape, data_storage, cancel, error))
    return FALSE;
  if (!put_tables (shape, &stream, error) || !reserve_data (shape, &stream, error))
    return FALSE;
  if (!shape->options->is_private &&
      ((data_storage != NULL && !img_storage_flush (data_storage, error)) ||
       !img_storage_flush (storage, error)))
    return FALSE;
  return !img_cancel_check (cancel, error) &&
         img_storage_write (storage, 0, header->data, header->len, error);
}

gboolean
img_qcow2_create (ImgStorage *storage,
                  const ImgCreateOptions *options,
                  ImgStorage *data_storage,
                  ImgCancel *cancel,
                  ImgError **error)
{
  g_autoptr (GByteArray) header = NULL;
  ImgQcow2Shape shape;

  g_assert ((data_storage != NULL) == (options->data_file_name != NULL));
  if (!img_qcow2_shape_init (&shape, options, error))
    return FALSE;
  header = img_qcow2_shape_build_header (&shape, error);
  return header != NULL &&
         write_image (&shape, storage, data_storage, header, cancel, error);
}
