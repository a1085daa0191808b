/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying persistent bitmaps into an image that has none, none that are valid any more, or some that are to be kept
 * (img-qcow2-bitmap-keep.c).
 *
 * Order of a copy
 * ---------------
 *   1. For each bitmap its data, then the table that points to them; at last the directory. Nothing that a reader
 *      looks at points there, and every cluster is counted before it is written.
 *   2. Flush: all of that is durable, with its refcounts.
 *   3. The extension. A backing file's name in its way is copied behind it, then the header says so. What belongs
 *      behind the first eight bytes of the extension is put behind the old end marker, where nobody looks. Those
 *      eight bytes then replace the marker in one piece, but are ignored as the autoclear bit is not set.
 *   4. The autoclear bit says that the bitmaps are valid.
 * An image whose bitmaps lost the bit has an extension already: then 3. is to write the place of the new directory
 * into it, with what it said before being ignored as well. What it pointed to remains as it is: it was lost, and
 * maybe somebody else's, when the bit was cleared, and only a check can say. Of bitmaps that are to be kept a check
 * has said it: the old directory, and what those had that are made anew, are given back with 2.
 *
 * Each step is durable before the next begins, so a crash leaves leaked clusters at worst. An error gives the
 * clusters back, unless the header may have been changed: then the image is poisoned.
 *
 * Afterwards the image counts as not begun: the next change clears the bit again (img-qcow2-marks.c). The caller
 * keeps other changes away; the turn is held as the allocator asks for it, never while data is copied.
 *
 * Every cluster of the source is one of a single table or of the data of a single bitmap. Where that is not so the
 * directory is damaged, and is refused: else a small file could say very much.
 *
 * Memory: a bit for each cluster of the source's bitmaps, a cluster, and a table, of no more bytes than the
 * largest bitmap needs with clusters of 512 bytes. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-bitmap.h"
#include "img-qcow2-writer.h"

#define WINDOW_ENTRIES 512

/* Places in the header. */
#define NAME_AT 8
#define AUTOCLEAR_AT 88
#define EXTENSION_HEADER 8
#define EXTENSION_DATA 24

/* ---- reading the bits of a bitmap ---- */

typedef struct
{
  ImgQcow2 *image;
  const ImgQcow2Bitmap *bitmap;
  ImgClusterSet *seen; /* clusters of the file that bitmaps have been found in */
  guint64 length; /* bytes of bits */
  guint64 window[WINDOW_ENTRIES]; /* of the table */
  guint64 window_start;
  guint64 window_end;
} Reader;

static gboolean
is_in_file (Reader *reader, guint64 offset, guint64 length, ImgError **error)
{
  g_autofree char *name = NULL;

  if (img_range_fits (offset, length, reader->image->header->file_size))
    return TRUE;
  name = img_quote_name (reader->bitmap->info.name);
  img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap %s lies outside of the file"), name);
  return FALSE;
}

/* Nobody else's clusters. */
static gboolean
claim (Reader *reader, guint64 offset, guint64 length, ImgError **error)
{
  guint64 first = offset >> reader->image->cluster_bits;
  guint64 count = img_div_round_up (length, img_qcow2_get_cluster_size (reader->image));
  g_autofree char *name = NULL;

  if (!is_in_file (reader, offset, length, error))
    return FALSE;
  if (!img_cluster_set_meets (reader->seen, first, count))
    return img_cluster_set_add (reader->seen, first, count, error);
  name = img_quote_name (reader->bitmap->info.name);
  img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap %s lies where a bitmap has been found already"), name);
  return FALSE;
}

static gboolean
reader_init (Reader *reader,
             ImgQcow2 *image,
             const ImgQcow2Bitmap *bitmap,
             ImgClusterSet *seen,
             ImgError **error)
{
  *reader = (Reader) { image, bitmap, seen };
  return img_qcow2_bitmap_get_length (image->header, bitmap, &reader->length, error) &&
         claim (reader, bitmap->table_offset, bitmap->table_entries * sizeof (guint64), error);
}

static gboolean
read_in_file (Reader *reader, guint64 offset, gpointer buffer, gsize length, ImgError **error)
{
  return is_in_file (reader, offset, length, error) &&
         img_storage_read (reader->image->parent.storage, offset, buffer, length, error);
}

static gboolean
find_entry (Reader *reader, guint64 index, guint64 *entry, ImgError **error)
{
  if (index < reader->window_start || index >= reader->window_end)
    {
      guint64 n = MIN (WINDOW_ENTRIES, reader->bitmap->table_entries - index);

      reader->window_start = reader->window_end = index;
      if (!read_in_file (reader, reader->bitmap->table_offset + index * sizeof (guint64),
                         reader->window, (gsize) n * sizeof (guint64), error))
        return FALSE;
      reader->window_end += n;
    }
  *entry = GUINT64_FROM_BE (reader->window[index - reader->window_start]);
  return TRUE;
}

/* Bytes of the bitmap; those that one of its clusters holds. From one call to the next the offset rises. */
static gboolean
read_part (Reader *reader, guint64 offset, guint8 *buffer, gsize length, ImgError **error)
{
  gsize inside = (gsize) img_qcow2_offset_in_cluster (reader->image, offset);
  guint64 entry, host;

  if (!find_entry (reader, offset >> reader->image->cluster_bits, &entry, error) ||
      !img_qcow2_bitmap_check_table_entry (reader->image->header, entry, error))
    return FALSE;
  host = entry & IMG_QCOW2_OFFSET_MASK;
  if (host != 0)
    return (inside > 0 || claim (reader, host, length, error)) &&
           read_in_file (reader, host + inside, buffer, length, error);
  memset (buffer, (entry & IMG_QCOW2_BITMAP_ALL_ONES) != 0 ? 0xff : 0, length);
  return TRUE;
}

static gboolean
read_bits (Reader *reader, guint64 offset, guint8 *buffer, gsize length, ImgError **error)
{
  guint64 cluster_size = img_qcow2_get_cluster_size (reader->image);

  for (gsize part; length > 0; offset += part, buffer += part, length -= part)
    {
      part = (gsize) MIN (length, cluster_size - img_qcow2_offset_in_cluster (reader->image, offset));
      if (!read_part (reader, offset, buffer, part, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- clusters of the target ---- */

typedef struct
{
  guint64 first;
  guint64 count;
} Run;

typedef struct
{
  ImgQcow2 *self;
  ImgCancel *cancel;
  ImgClusterSet *seen;   /* see Reader */
  const GPtrArray *kept; /* nullable; of ImgQcow2Bitmap */
  gboolean renews_kept;  /* the disk was written to: see put_back_kept () */
  GArray *taken;         /* of Run */
  GByteArray *directory;
  guint n_bitmaps;
  guint64 directory_offset;
} Copy;

static void
give_back (ImgQcow2 *self, const Run *run)
{
  img_cluster_set_remove (self->writer->metadata, run->first, run->count);
  img_qcow2_drop_clusters (self, run->first, run->count);
}

/* With the turn. */
static ImgTableResult
take_run (ImgQcow2 *self, Run *run, ImgError **error)
{
  ImgTableResult result;

  if (!img_qcow2_begin_write (self, error))
    return IMG_TABLE_ERROR;
  result = img_qcow2_allocate_at_end (self, run->count, &run->first, error);
  if (result != IMG_TABLE_OK ||
      img_cluster_set_add (self->writer->metadata, run->first, run->count, error))
    return result;
  img_qcow2_drop_clusters (self, run->first, run->count);
  return IMG_TABLE_ERROR;
}

/* Room for @length bytes in adjoining clusters. */
static gboolean
take (Copy *copy, guint64 length, guint64 *host, ImgError **error)
{
  ImgQcow2 *self = copy->self;
  Run run = { 0, img_div_round_up (length, img_qcow2_get_cluster_size (self)) };
  ImgTableResult result;

  for (;;)
    {
      img_turn_take (&self->writer->turn);
      result = take_run (self, &run, error);
      img_turn_give (&self->writer->turn);
      if (result != IMG_TABLE_FULL)
        break;
      if (!img_qcow2_flush (&self->parent, error))
        return FALSE;
    }
  if (result != IMG_TABLE_OK)
    return FALSE;
  g_array_append_val (copy->taken, run);
  *host = run.first << self->cluster_bits;
  return TRUE;
}

static gboolean
put (Copy *copy, const void *bytes, gsize length, guint64 *host, ImgError **error)
{
  return take (copy, length, host, error) &&
         img_storage_write (copy->self->parent.storage, *host, bytes, length, error);
}

/* ---- one bitmap ---- */

static gboolean
is_all_ones (const guint8 *data, gsize length)
{
  return data[0] == 0xff && memcmp (data, data + 1, length - 1) == 0;
}

static gboolean
copy_cluster (Copy *copy, Reader *reader, guint64 index, guint8 *buffer, guint64 *entry, ImgError **error)
{
  gsize size = (gsize) img_qcow2_get_cluster_size (copy->self);
  guint64 offset = index << copy->self->cluster_bits;
  gsize length = (gsize) MIN (size, reader->length - offset);

  if (img_cancel_check (copy->cancel, error) || !read_bits (reader, offset, buffer, length, error))
    return FALSE;
  memset (buffer + length, 0, size - length);
  *entry = is_all_ones (buffer, size) ? IMG_QCOW2_BITMAP_ALL_ONES : 0;
  return *entry != 0 || img_is_zero (buffer, size) || put (copy, buffer, size, entry, error);
}

/* Bytes, in whole clusters. */
static guint64
table_size (Copy *copy, guint64 n_entries)
{
  return img_align_up (n_entries * sizeof (guint64), img_qcow2_get_cluster_size (copy->self));
}

static void
add_entry (Copy *copy, const ImgBitmapInfo *info, guint64 table, guint32 n_entries)
{
  gsize name_length = strlen (info->name);
  gsize start = copy->directory->len;
  guint64 offset = GUINT64_TO_BE (table);
  guint32 words[] = { GUINT32_TO_BE (n_entries),
                      GUINT32_TO_BE ((info->is_auto ? IMG_QCOW2_BITMAP_AUTO : 0) |
                                     (info->in_use ? IMG_QCOW2_BITMAP_IN_USE : 0)) };
  guint8 *bytes;

  g_byte_array_set_size (
    copy->directory, (guint) (start + img_align_up (IMG_QCOW2_BITMAP_LENGTH + name_length, 8)));
  bytes = copy->directory->data + start;
  memset (bytes, 0, copy->directory->len - start);
  memcpy (bytes, &offset, sizeof offset);
  memcpy (bytes + 8, words, sizeof words);
  bytes[16] = IMG_QCOW2_BITMAP_DIRTY_TRACKING;
  bytes[17] = (guint8) g_bit_nth_lsf ((gulong) info->granularity, -1);
  bytes[18] = (guint8) (name_length >> 8);
  bytes[19] = (guint8) name_length;
  memcpy (bytes + IMG_QCOW2_BITMAP_LENGTH, info->name, name_length);
  copy->n_bitmaps++;
}

/* A table of @n entries, in host byte order, whose end is zero; it is put into the file as it lies there. */
static gboolean
put_table (Copy *copy, const ImgBitmapInfo *info, guint64 *table, guint64 n, ImgError **error)
{
  guint64 host;

  for (guint64 i = 0; i < n; i++)
    table[i] = GUINT64_TO_BE (table[i]);
  if (!put (copy, table, (gsize) table_size (copy, n), &host, error))
    return FALSE;
  add_entry (copy, info, host, (guint32) n);
  return TRUE;
}

static gboolean
copy_bitmap (Copy *copy, ImgQcow2 *source, const ImgQcow2Bitmap *bitmap, ImgError **error)
{
  gsize size = (gsize) img_qcow2_get_cluster_size (copy->self);
  g_autoptr (ImgBuffer) buffer = img_try_alloc (size, error);
  g_autoptr (ImgWords) table = NULL;
  Reader reader;
  guint64 n;

  if (buffer == NULL || !reader_init (&reader, source, bitmap, copy->seen, error))
    return FALSE;
  n = img_div_round_up (reader.length, size);
  table = img_try_alloc0 (table_size (copy, n) / sizeof (guint64), sizeof (guint64), error);
  if (table == NULL)
    return FALSE;
  for (guint64 i = 0; i < n; i++)
    if (!copy_cluster (copy, &reader, i, buffer, &table[i], error))
      return FALSE;
  return put_table (copy, &bitmap->info, table, n, error);
}

/* ---- those that the target had ---- */

/* The whole disk may have been changed. */
static gboolean
fill_bitmap (Copy *copy, const ImgQcow2Bitmap *bitmap, ImgError **error)
{
  guint64 n = bitmap->table_entries;
  g_autoptr (ImgWords) table =
    img_try_alloc0 (table_size (copy, n) / sizeof (guint64), sizeof (guint64), error);

  for (guint64 i = 0; table != NULL && i < n; i++)
    table[i] = IMG_QCOW2_BITMAP_ALL_ONES;
  return table != NULL && put_table (copy, &bitmap->info, table, n, error);
}

static gboolean
put_back_kept (Copy *copy, ImgError **error)
{
  for (guint i = 0; copy->kept != NULL && i < copy->kept->len; i++)
    {
      const ImgQcow2Bitmap *bitmap = g_ptr_array_index (copy->kept, i);

      if (!copy->renews_kept || !img_qcow2_bitmap_records_changes (bitmap))
        add_entry (copy, &bitmap->info, bitmap->table_offset, bitmap->table_entries);
      else if (!fill_bitmap (copy, bitmap, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- the extension ---- */

static gboolean
write_step (ImgQcow2 *self, guint64 at, const void *bytes, gsize length, ImgError **error)
{
  return img_storage_write (self->parent.storage, at, bytes, length, error) &&
         img_storage_flush (self->parent.storage, error);
}

/* Where the extension begins, or shall begin. */
typedef struct
{
  gsize at;
  gboolean is_there;
} Place;

static gboolean
find_place (ImgQcow2 *self, const guint8 *cluster, Place *place, ImgError **error)
{
  gsize size = (gsize) img_qcow2_get_cluster_size (self);
  gsize at = self->header->header_length;

  while (at + EXTENSION_HEADER <= size)
    {
      guint32 type = img_read_be32 (cluster + at);
      guint32 length = img_read_be32 (cluster + at + 4);

      *place = (Place) { at, type == IMG_QCOW2_EXTENSION_BITMAPS && length == EXTENSION_DATA };
      if (place->is_there ? at + EXTENSION_HEADER + EXTENSION_DATA <= size
                          : type == IMG_QCOW2_EXTENSION_END && at + 2 * EXTENSION_HEADER + EXTENSION_DATA <= size)
        return TRUE;
      if (type == IMG_QCOW2_EXTENSION_END || type == IMG_QCOW2_EXTENSION_BITMAPS)
        break;
      at += EXTENSION_HEADER + (gsize) img_align_up (length, 8);
    }
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The header of the image has no room for bitmaps"));
  return FALSE;
}

/* Behind what the extension needs, and behind itself. */
static gboolean
move_name (ImgQcow2 *self, const guint8 *cluster, guint64 end, ImgError **error)
{
  ImgQcow2Header *header = self->header;
  guint64 old = header->backing_name_offset;
  guint64 at = MAX (end, old + header->backing_name_length);
  guint64 stored = GUINT64_TO_BE (at);

  if (header->backing_name == NULL || old >= end)
    return TRUE;
  if (at + header->backing_name_length > img_qcow2_get_cluster_size (self))
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The header of the image has no room for bitmaps"));
      return FALSE;
    }
  if (!write_step (self, at, cluster + old, header->backing_name_length, error) ||
      !write_step (self, NAME_AT, &stored, sizeof stored, error))
    return FALSE;
  header->backing_name_offset = at;
  return TRUE;
}

/* With @cluster, what the header was. */
static gboolean
put_extension (Copy *copy, const Place *place, const guint8 *cluster, ImgError **error)
{
  ImgQcow2 *self = copy->self;
  guint32 header[] = { GUINT32_TO_BE (IMG_QCOW2_EXTENSION_BITMAPS), GUINT32_TO_BE (EXTENSION_DATA) };
  guint64 rest[] = { GUINT64_TO_BE ((guint64) copy->n_bitmaps << 32),
                     GUINT64_TO_BE (copy->directory->len), GUINT64_TO_BE (copy->directory_offset),
                     0 /* the new end marker */ };
  guint64 autoclear = GUINT64_TO_BE (self->header->autoclear | IMG_QCOW2_AUTOCLEAR_BITMAPS);
  gsize data_at = place->at + EXTENSION_HEADER;

  if (place->is_there)
    return write_step (self, data_at, rest, EXTENSION_DATA, error) &&
           write_step (self, AUTOCLEAR_AT, &autoclear, sizeof autoclear, error);
  return move_name (self, cluster, data_at + sizeof rest, error) &&
         write_step (self, data_at, rest, sizeof rest, error) &&
         write_step (self, place->at, header, sizeof header, error) &&
         write_step (self, AUTOCLEAR_AT, &autoclear, sizeof autoclear, error);
}

static void
adopt (Copy *copy)
{
  ImgQcow2Header *header = copy->self->header;

  header->has_bitmaps = TRUE;
  header->n_bitmaps = copy->n_bitmaps;
  header->bitmap_directory_size = copy->directory->len;
  header->bitmap_directory_offset = copy->directory_offset;
  __atomic_store_n (&header->autoclear, header->autoclear | IMG_QCOW2_AUTOCLEAR_BITMAPS,
                    __ATOMIC_RELAXED);
}

static gboolean
publish (Copy *copy, ImgError **error)
{
  ImgQcow2 *self = copy->self;
  gsize size = (gsize) img_qcow2_get_cluster_size (self);
  g_autoptr (ImgBuffer) cluster = img_try_alloc (size, error);
  Place place;

  if (cluster == NULL || !img_storage_read (self->parent.storage, 0, cluster, size, error) ||
      !find_place (self, cluster, &place, error) ||
      !put (copy, copy->directory->data, copy->directory->len, &copy->directory_offset, error) ||
      (copy->kept != NULL && !img_qcow2_drop_kept_bitmaps (self, copy->renews_kept, error)) ||
      /* All refcounts, lazy or not, and all decrements: the image is as if it had just been opened. */
      !img_qcow2_flush_and_release_all (self, error))
    return FALSE;
  if (put_extension (copy, &place, cluster, error) && img_qcow2_clear_dirty (self, error))
    return TRUE;
  img_qcow2_writer_poison (self);
  return FALSE;
}

/* ---- all of them ---- */

/* The names of those that are kept. */
static GHashTable *
list_names (const Copy *copy)
{
  GHashTable *names = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; copy->kept != NULL && i < copy->kept->len; i++)
    g_hash_table_add (names, ((const ImgBitmapInfo *) g_ptr_array_index (copy->kept, i))->name);
  return names;
}

static gboolean
check_bitmap (const ImgBitmapInfo *info, GHashTable *names, gboolean skip_broken, ImgError **error)
{
  g_autofree char *name = img_quote_name (info->name);

  if ((!info->in_use || !skip_broken) && !g_hash_table_add (names, info->name))
    img_error_set (error, IMG_CODE_CORRUPT, _("Bitmap directory: two bitmaps have the name %s"),
                   name);
  else if (info->in_use && !skip_broken)
    img_error_set (error, IMG_CODE_CORRUPT,
                   _("Bitmap %s was not closed by the program that used it"), name);
  else
    return TRUE;
  return FALSE;
}

static gboolean
copy_list (Copy *copy, ImgQcow2 *source, GPtrArray *bitmaps, gboolean skip_broken, ImgError **error)
{
  g_autoptr (GHashTable) names = list_names (copy);

  if (!put_back_kept (copy, error))
    return FALSE;
  for (guint i = 0; bitmaps != NULL && i < bitmaps->len; i++)
    {
      const ImgQcow2Bitmap *bitmap = g_ptr_array_index (bitmaps, i);

      if (!check_bitmap (&bitmap->info, names, skip_broken, error) ||
          (!bitmap->info.in_use && !copy_bitmap (copy, source, bitmap, error)))
        return FALSE;
    }
  if (copy->n_bitmaps <= IMG_QCOW2_MAX_BITMAPS && copy->directory->len <= IMG_QCOW2_MAX_BITMAP_DIRECTORY)
    return copy->n_bitmaps == 0 || publish (copy, error);
  img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("%u bitmaps are too many for an image"), copy->n_bitmaps);
  return FALSE;
}

static gboolean
check_images (const Copy *copy, ImgQcow2 *source, ImgError **error)
{
  const ImgQcow2Header *header = copy->self->header;

  if (!img_qcow2_writer_check (copy->self, error))
    return FALSE;
  if (header->version < 3 || (source != NULL && source->header->version < 3))
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("An image of version 2 cannot have bitmaps"));
  else if (copy->kept == NULL && header->has_bitmaps && (header->autoclear & IMG_QCOW2_AUTOCLEAR_BITMAPS) != 0)
    img_error_set (error, IMG_CODE_UNSUPPORTED, _("The target has bitmaps of its own"));
  else if (source != NULL && header->size != source->header->size)
    img_error_set (error, IMG_CODE_INVALID_OPTION,
                   _("Bitmaps can be copied to a disk of the same size only"));
  else
    return TRUE;
  return FALSE;
}

/* What was taken is given back, but for a header that may point to it. */
static void
finish (Copy *copy, gboolean success)
{
  ImgQcow2 *self = copy->self;

  img_turn_take (&self->writer->turn);
  if (success && copy->n_bitmaps > 0)
    {
      adopt (copy);
      g_atomic_int_set (&self->writer->has_begun, FALSE);
    }
  else if (!success && !g_atomic_int_get (&self->writer->is_poisoned))
    for (guint i = 0; i < copy->taken->len; i++)
      give_back (self, &g_array_index (copy->taken, Run, i));
  img_turn_give (&self->writer->turn);
  g_array_unref (copy->taken);
  g_byte_array_unref (copy->directory);
}

/* *bitmaps: NULL if there are none; of a source that was written to, they are not valid any more. */
static gboolean
list_source (ImgQcow2 *source, GPtrArray **bitmaps, ImgCancel *cancel, ImgError **error)
{
  *bitmaps = NULL;
  return source == NULL || (source->writer != NULL && g_atomic_int_get (&source->writer->has_begun)) ||
         img_qcow2_bitmaps_list (source->parent.storage, source->header, bitmaps, cancel, error);
}

gboolean
img_qcow2_copy_bitmaps (ImgLayout *layout,
                        ImgLayout *source,
                        gboolean skip_broken,
                        ImgCancel *cancel,
                        ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  ImgQcow2 *from = (ImgQcow2 *) source;
  Copy copy = {
    .self = self,
    .cancel = cancel,
    .kept = img_qcow2_get_kept_bitmaps (self),
    .renews_kept = g_atomic_int_get (&self->writer->has_begun),
  };
  g_autoptr (ImgClusterSet) seen = NULL;
  g_autoptr (GPtrArray) bitmaps = NULL;
  gboolean success;

  if (!check_images (&copy, from, error) || !list_source (from, &bitmaps, cancel, error))
    return FALSE;
  if (bitmaps == NULL && (copy.kept == NULL || !copy.renews_kept))
    {
      img_qcow2_forget_kept_bitmaps (self);
      return TRUE;
    }
  if (bitmaps != NULL)
    {
      seen = img_cluster_set_new ((from->header->file_size >> from->cluster_bits) + 1, error);
      if (seen == NULL)
        return FALSE;
    }
  copy.seen = seen;
  copy.taken = g_array_new (FALSE, FALSE, sizeof (Run));
  copy.directory = g_byte_array_new ();
  success = copy_list (&copy, from, bitmaps, skip_broken, error);
  finish (&copy, success);
  return success;
}
