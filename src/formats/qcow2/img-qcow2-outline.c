/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A qcow2 image that goes into a pipe: what is behind a byte must be known before the byte is written.
 *
 * The order of the file
 * ---------------------
 *   header | refcount table | refcount blocks | L1 table | L2 tables | data
 * (img-qcow2-shape.c), each part in whole clusters, data in the order of the disk. A cluster that is stored as it is
 * takes the next whole cluster. Encoded ones are packed: each begins where the one before it ends, in the same host
 * cluster or across its end, as long as that cluster's refcount can count one more. What is left of a host cluster
 * before one that is stored as it is stays zero: no more than if nothing had been encoded.
 *
 * What is known when
 * ------------------
 * The first pass notes one number for each cluster of the disk (img-qcow2-notes.h): hole, zero, data, or how
 * long it is encoded. All else follows from walking over the notes with a cursor that places one cluster
 * after the other (place ()), and is never kept:
 *   sealing        how many L2 tables and data clusters there are, so where each part begins
 *   refcounts      1 for all metadata; then how many clusters of the disk the walk puts into each host cluster
 *   L1             the n-th L2 table of those that have a note
 *   L2             where the walk puts each cluster
 *   data           the same walk, with the bytes
 * The length of an encoded cluster is noted, and stored, in grains, so that it fits into 16 bits: of 1 byte for clusters
 * up to 32 KiB, 2 for 64 KiB, …, 64 for 2 MiB.
 *
 * Memory: 2 bits for each cluster of the disk, 16 with encoding, where an L2 table exists at all: 4 MiB, or 32 MiB, for
 * 1 TiB full of data in clusters of 64 KiB.
 *
 * Between the passes the disk must not change. What was noted as data is written as data, whatever it holds by
 * then; what no longer has the length that was noted is an error, as its place is taken already.
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-encoder.h"
#include "img-qcow2-entry.h"
#include "img-qcow2-notes.h"
#include "img-qcow2-outline.h"
#include "img-qcow2-shape.h"

enum
{
  NOTE_HOLE,
  NOTE_ZERO,
  NOTE_PLAIN,
  NOTE_ENCODED, /* of one grain; more of them are so many more */
};

/* Where the next data goes. */
typedef struct
{
  guint64 next;  /* host bytes from where data begins */
  guint64 count; /* of those that are in the cluster of next already, if that is not its beginning */
} Cursor;

typedef struct
{
  ImgOutline parent;
  ImgCreateOptions options; /* its names are copies */
  ImgQcow2Shape shape;
  ImgQcow2Notes notes;
  guint64 n_units;
  guint64 max_refcount;
  guint grain_bits;
  gboolean encodes;
  gboolean is_sealed;
  Cursor cursor; /* of what is put out */
} Outline;

static guint64
cluster_size (const Outline *self)
{
  return (guint64) 1 << self->shape.cluster_bits;
}

static guint64
to_bytes (const Outline *self, guint64 clusters)
{
  return clusters << self->shape.cluster_bits;
}

/* ---- placing ---- */

static gsize
stored_length_of (const Outline *self, guint note)
{
  return note == NOTE_PLAIN ? (gsize) cluster_size (self)
                            : (gsize) (note - NOTE_ENCODED + 1) << self->grain_bits;
}

/* Returns the first host byte, from where data begins, of the next cluster of the disk. */
static guint64
place (const Outline *self, Cursor *cursor, guint note)
{
  guint64 host, last;

  if (note == NOTE_PLAIN || cursor->count >= self->max_refcount)
    *cursor = (Cursor){ img_align_up (cursor->next, cluster_size (self)), 0 };
  host = cursor->next;
  cursor->next += stored_length_of (self, note);
  last = cursor->next - 1;
  if (img_is_aligned (cursor->next, cluster_size (self)))
    cursor->count = 0;
  else if (host >> self->shape.cluster_bits == last >> self->shape.cluster_bits)
    cursor->count++;
  else
    cursor->count = 1;
  return host;
}

/* The next unit of the disk at or after *unit that is data; FALSE: there is none. */
static gboolean
find_data (const Outline *self, guint64 *unit)
{
  *unit = img_qcow2_notes_find (&self->notes, *unit, self->n_units, NOTE_PLAIN);
  return *unit < self->n_units;
}

static guint64
unit_end (const Outline *self, guint64 unit)
{
  return MIN (to_bytes (self, unit + 1), self->parent.size);
}

/* ---- the first pass ---- */

static guint
to_grains (const Outline *self, gsize stored_length)
{
  return (guint) img_div_round_up (stored_length, (guint64) 1 << self->grain_bits);
}

static guint
to_note (const Outline *self, ImgUnitKind kind, gsize stored_length)
{
  if (kind == IMG_UNIT_DATA)
    return stored_length > 0 ? NOTE_ENCODED - 1 + to_grains (self, stored_length) : NOTE_PLAIN;
  if (kind == IMG_UNIT_HOLE || self->options.backing_name == NULL)
    return NOTE_HOLE;
  /* Version 2 cannot say "zero, whatever is below". */
  return self->shape.version >= 3 ? NOTE_ZERO : NOTE_PLAIN;
}

static gboolean
outline_note (ImgOutline *outline,
              guint64 offset,
              guint64 length,
              ImgUnitKind kind,
              gsize stored_length,
              ImgError **error)
{
  Outline *self = (Outline *) outline;
  guint note = to_note (self, kind, stored_length);
  guint64 first = offset >> self->shape.cluster_bits;
  guint64 end = img_div_round_up (offset + length, cluster_size (self));

  if (!img_is_aligned (offset, cluster_size (self)))
    {
      if (img_qcow2_notes_get (&self->notes, first) != note &&
          !img_qcow2_notes_set (&self->notes, first, 1, NOTE_PLAIN, error))
        return FALSE;
      first++;
    }
  return img_qcow2_notes_set (&self->notes, first, end - first, note, error);
}

static ImgEncoder *
get_encoder (const Outline *self, int level, ImgError **error)
{
  ImgCompression compression = self->options.compression == IMG_COMPRESSION_ZSTD ? IMG_COMPRESSION_ZSTD
                                                                                 : IMG_COMPRESSION_ZLIB;

  return img_encoder_get_for_thread (compression, level, self->parent.unit_length, error);
}

static gboolean
outline_get_encode_memory (ImgOutline *outline, int level, gsize *memory, ImgError **error)
{
  ImgEncoder *encoder = get_encoder ((Outline *) outline, level, error);

  if (encoder != NULL)
    *memory = img_encoder_get_memory (encoder);
  return encoder != NULL;
}

static gboolean
check_stored (const Outline *self, guint64 offset, gsize stored_length, ImgError **error)
{
  guint note = img_qcow2_notes_get (&self->notes, offset >> self->shape.cluster_bits);

  if (stored_length > 0 && note == NOTE_ENCODED - 1 + to_grains (self, stored_length))
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _ ("The disk changed while it was copied"));
  return FALSE;
}

static gboolean
outline_encode (ImgOutline *outline,
                guint64 offset,
                int level,
                const guint8 *plain,
                guint8 *stored,
                gsize *stored_length,
                ImgError **error)
{
  Outline *self = (Outline *) outline;
  gsize length = outline->unit_length;
  ImgEncoder *encoder;

  *stored_length = 0;
  if (self->is_sealed &&
      img_qcow2_notes_get (&self->notes, offset >> self->shape.cluster_bits) < NOTE_ENCODED)
    return TRUE;
  encoder = get_encoder (self, level, error);
  return encoder != NULL &&
         img_encoder_encode (encoder, plain, length, stored, length - 1, stored_length, error) &&
         (!self->is_sealed || check_stored (self, offset, *stored_length, error));
}

/* ---- sealing ---- */

static void
count_data (Outline *self)
{
  Cursor cursor = { 0 };

  for (guint64 unit = 0; find_data (self, &unit); unit++)
    {
      place (self, &cursor, img_qcow2_notes_get (&self->notes, unit));
      self->parent.data_size += unit_end (self, unit) - to_bytes (self, unit);
    }
  self->shape.n_data = img_div_round_up (cursor.next, cluster_size (self));
  for (guint64 i = 0; i < self->notes.n_pages; i++)
    self->shape.n_l2 += img_qcow2_notes_has_page (&self->notes, i);
}

static gboolean
outline_seal (ImgOutline *outline, ImgError **error)
{
  Outline *self = (Outline *) outline;

  count_data (self);
  img_qcow2_shape_arrange (&self->shape);
  if (!img_qcow2_shape_check_limits (&self->shape, error))
    return FALSE;
  outline->file_size = to_bytes (self, self->shape.n_clusters);
  self->is_sealed = TRUE;
  if (!self->encodes || outline->file_size <= (guint64) 1 << (70 - self->shape.cluster_bits))
    return TRUE;
  img_error_set (error, IMG_CODE_UNSUPPORTED,
                 _ ("The image becomes too large for compressed clusters of that size"));
  return FALSE;
}

/* ---- refcounts ---- */

typedef struct
{
  ImgSinkWriter *writer;
  guint order;
  guint8 byte; /* narrow ones are packed from the low bits up */
  guint n_bits;
} RefcountPacker;

static gboolean
put_refcount (RefcountPacker *packer, guint64 refcount, ImgError **error)
{
  guint64 be = GUINT64_TO_BE (refcount);
  gsize width = (gsize) 1 << packer->order >> 3;

  if (width > 0)
    return img_sink_writer_put (packer->writer, (const guint8 *) &be + sizeof be - width, width, error);
  packer->byte |= (guint8) (refcount << packer->n_bits);
  packer->n_bits += 1u << packer->order;
  if (packer->n_bits < 8)
    return TRUE;
  be = packer->byte;
  packer->byte = 0;
  packer->n_bits = 0;
  return img_sink_writer_put (packer->writer, &(guint8){ (guint8) be }, 1, error);
}

/* Data clusters follow each other without a gap, so that each ends when the next one begins. */
static gboolean
put_data_refcounts (const Outline *self, RefcountPacker *packer, ImgCancel *cancel, ImgError **error)
{
  Cursor cursor = { 0 };
  guint64 current = 0, count = 0;

  for (guint64 unit = 0; find_data (self, &unit); unit++)
    {
      guint64 host = place (self, &cursor, img_qcow2_notes_get (&self->notes, unit));
      guint64 last = (cursor.next - 1) >> self->shape.cluster_bits;

      if (unit % 4096 == 0 && img_cancel_check (cancel, error))
        return FALSE;
      for (guint64 cluster = host >> self->shape.cluster_bits; cluster <= last; cluster++)
        {
          if (cluster != current && !put_refcount (packer, count, error))
            return FALSE;
          count = cluster != current ? 1 : count + 1;
          current = cluster;
        }
    }
  return count == 0 || put_refcount (packer, count, error);
}

static gboolean
put_refcount_blocks (const Outline *self, ImgSinkWriter *writer, ImgCancel *cancel, ImgError **error)
{
  RefcountPacker packer = { .writer = writer, .order = self->shape.refcount_order };

  for (guint64 i = 0; i < self->shape.data_at; i++)
    if (!put_refcount (&packer, 1, error))
      return FALSE;
  if (!put_data_refcounts (self, &packer, cancel, error))
    return FALSE;
  while (packer.n_bits > 0)
    if (!put_refcount (&packer, 0, error))
      return FALSE;
  return img_sink_writer_put_zeroes (writer, to_bytes (self, self->shape.l1_at), error);
}

static gboolean
put_refcount_table (const Outline *self, ImgSinkWriter *writer, ImgError **error)
{
  guint64 first = 1 + self->shape.n_table;

  for (guint64 i = 0; i < self->shape.n_blocks; i++)
    if (!img_sink_writer_put_be64 (writer, to_bytes (self, first + i), error))
      return FALSE;
  return img_sink_writer_put_zeroes (writer, to_bytes (self, first), error);
}

/* ---- L1 and L2 ---- */

static gboolean
put_l1_table (const Outline *self, ImgSinkWriter *writer, ImgError **error)
{
  guint64 next = self->shape.l2_at;

  for (guint64 i = 0; i < self->notes.n_pages; i++)
    {
      gboolean exists = img_qcow2_notes_has_page (&self->notes, i);

      if (!img_sink_writer_put_be64 (writer, exists ? IMG_QCOW2_FLAG_COPIED | to_bytes (self, next) : 0, error))
        return FALSE;
      next += exists;
    }
  return img_sink_writer_put_zeroes (writer, to_bytes (self, self->shape.l2_at), error);
}

static ImgQcow2Entry
make_entry (const Outline *self, Cursor *cursor, guint note)
{
  const guint64 all = ((guint64) 1 << IMG_QCOW2_SUBCLUSTERS) - 1;
  gboolean is_extended = self->options.extended_l2;
  guint64 host;

  if (note == NOTE_HOLE)
    return (ImgQcow2Entry){ 0, 0 };
  if (note == NOTE_ZERO)
    return is_extended ? (ImgQcow2Entry){ 0, all << IMG_QCOW2_SUBCLUSTERS }
                       : (ImgQcow2Entry){ IMG_QCOW2_FLAG_ZERO, 0 };
  host = to_bytes (self, self->shape.data_at) + place (self, cursor, note);
  if (note == NOTE_PLAIN)
    return (ImgQcow2Entry){ IMG_QCOW2_FLAG_COPIED | host, all };
  return (ImgQcow2Entry){
    img_qcow2_entry_make_compressed (self->shape.cluster_bits, host, stored_length_of (self, note)), 0
  };
}

static gboolean
put_l2_table (const Outline *self, guint64 table, Cursor *cursor, ImgSinkWriter *writer, ImgError **error)
{
  guint64 first = table << self->notes.page_bits;
  guint64 end = first + ((guint64) 1 << self->notes.page_bits);

  for (guint64 unit = first; unit < end; unit++)
    {
      ImgQcow2Entry entry = make_entry (self, cursor, img_qcow2_notes_get (&self->notes, unit));

      if (!img_sink_writer_put_be64 (writer, entry.word, error) ||
          (self->options.extended_l2 && !img_sink_writer_put_be64 (writer, entry.bitmap, error)))
        return FALSE;
    }
  return TRUE;
}

static gboolean
put_l2_tables (const Outline *self, ImgSinkWriter *writer, ImgCancel *cancel, ImgError **error)
{
  Cursor cursor = { 0 };

  for (guint64 i = 0; i < self->notes.n_pages; i++)
    if (img_qcow2_notes_has_page (&self->notes, i) &&
        (img_cancel_check (cancel, error) || !put_l2_table (self, i, &cursor, writer, error)))
      return FALSE;
  return TRUE;
}

static gboolean
outline_put_head (ImgOutline *outline, ImgSinkWriter *writer, ImgCancel *cancel, ImgError **error)
{
  Outline *self = (Outline *) outline;
  g_autoptr (GByteArray) header = img_qcow2_shape_build_header (&self->shape, error);

  return header != NULL && img_sink_writer_put (writer, header->data, header->len, error) &&
         img_sink_writer_put_zeroes (writer, cluster_size (self), error) &&
         put_refcount_table (self, writer, error) && put_refcount_blocks (self, writer, cancel, error) &&
         put_l1_table (self, writer, error) && put_l2_tables (self, writer, cancel, error);
}

/* ---- data ---- */

static guint64
outline_next_data (ImgOutline *outline, guint64 offset, guint64 *start)
{
  Outline *self = (Outline *) outline;
  guint64 unit = img_div_round_up (offset, cluster_size (self));
  guint64 end;

  if (!find_data (self, &unit))
    return 0;
  *start = to_bytes (self, unit);
  for (end = unit + 1; end < self->n_units && end % 4096 != 0; end++)
    if (img_qcow2_notes_get (&self->notes, end) < NOTE_PLAIN)
      break;
  return unit_end (self, end - 1) - *start;
}

/* Zeroes up to where the next cluster of the disk lies. */
static gboolean
go_to_next (Outline *self, guint note, ImgSinkWriter *writer, ImgError **error)
{
  guint64 host = place (self, &self->cursor, note);

  return img_sink_writer_put_zeroes (writer, to_bytes (self, self->shape.data_at) + host, error);
}

static gboolean
outline_put_plain (ImgOutline *outline,
                   guint64 offset,
                   const guint8 *plain,
                   gsize length,
                   ImgSinkWriter *writer,
                   ImgError **error)
{
  Outline *self = (Outline *) outline;

  if (!go_to_next (self, NOTE_PLAIN, writer, error))
    return FALSE;
  for (gsize done = outline->unit_length; done < length; done += outline->unit_length)
    place (self, &self->cursor, NOTE_PLAIN);
  return img_sink_writer_put (writer, plain, length, error);
}

static gboolean
outline_put_encoded (ImgOutline *outline,
                     guint64 offset,
                     const guint8 *stored,
                     gsize stored_length,
                     ImgSinkWriter *writer,
                     ImgError **error)
{
  Outline *self = (Outline *) outline;
  guint note = img_qcow2_notes_get (&self->notes, offset >> self->shape.cluster_bits);

  return go_to_next (self, note, writer, error) &&
         img_sink_writer_put (writer, stored, stored_length, error);
}

static gboolean
outline_put_tail (ImgOutline *outline, ImgSinkWriter *writer, ImgError **error)
{
  return img_sink_writer_put_zeroes (writer, outline->file_size, error);
}

/* ---- the object ---- */

static void
outline_free (ImgOutline *outline)
{
  Outline *self = (Outline *) outline;

  img_qcow2_notes_clear (&self->notes);
  g_free ((char *) self->options.backing_name);
  g_free ((char *) self->options.backing_format);
  g_free (self);
}

static const ImgOutlineClass outline_class = {
  .free = outline_free,
  .encode = outline_encode,
  .get_encode_memory = outline_get_encode_memory,
  .note = outline_note,
  .seal = outline_seal,
  .put_head = outline_put_head,
  .next_data = outline_next_data,
  .put_plain = outline_put_plain,
  .put_encoded = outline_put_encoded,
  .put_tail = outline_put_tail,
};

static gboolean
set_up (Outline *self, const ImgCreateOptions *options, gboolean encodes, ImgError **error)
{
  ImgQcow2Shape *shape = &self->shape;
  guint width;

  self->options = *options;
  self->options.backing_name = g_strdup (options->backing_name);
  self->options.backing_format = g_strdup (options->backing_format);
  if (!img_qcow2_shape_init (shape, &self->options, error))
    return FALSE;
  width = 1u << shape->refcount_order;
  self->max_refcount = width == 64 ? G_MAXUINT64 : ((guint64) 1 << width) - 1;
  self->encodes = encodes;
  self->grain_bits = shape->cluster_bits > 15 ? shape->cluster_bits - 15 : 0;
  self->parent.size = shape->size;
  self->parent.unit_length = (gsize) cluster_size (self);
  self->n_units = img_div_round_up (shape->size, cluster_size (self));
  return img_qcow2_notes_init (&self->notes, shape->n_l1_entries,
                               shape->cluster_bits - (options->extended_l2 ? 4 : 3), encodes ? 16 : 2,
                               error);
}

ImgOutline *
img_qcow2_outline_new (const ImgCreateOptions *options, gboolean encodes, ImgError **error)
{
  Outline *self = g_new0 (Outline, 1);

  self->parent.klass = &outline_class;
  if (set_up (self, options, encodes, error))
    return &self->parent;
  outline_free (&self->parent);
  return NULL;
}
