/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the bytes of a qcow2 disk are: L1 table, L2 slice, entry, subcluster.
 *
 * An extent is found in pieces: a piece is what one entry says of the range from a point to the end
 * of its cluster, or to where the subclusters change. Pieces of one slice are joined while they are
 * of one kind and adjoin on the host. Slices are read through the metadata cache, whose words may
 * be torn until the view is ended: errors are only numbers before that.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-qcow2-entry.h"

#define MAX_HOST_OFFSET ((guint64) 1 << 56)

/* How many L1 entries without a table are joined. */
#define MAX_EMPTY_TABLES 512

typedef enum
{
  FLAW_NONE,
  FLAW_ZERO_IN_V2,
  FLAW_UNALIGNED,
  FLAW_TOO_HIGH,
  FLAW_PAST_END,
  FLAW_NOT_IDENTITY,
  FLAW_COMPRESSED_DATA_FILE,
  FLAW_CONTRADICTION,
  FLAW_NO_CLUSTER,
} Flaw;

typedef struct
{
  ImgExtentKind kind;
  gboolean has_host_offset;
  guint64 host_offset;
  guint64 length;
} Piece;

static ImgMapResult
report_flaw (const ImgQcow2 *self, Flaw flaw, guint64 offset, guint64 word, ImgError **error)
{
  static const char *const texts[] = {
    [FLAW_ZERO_IN_V2] = N_("version 2 has no zero clusters"),
    [FLAW_UNALIGNED] = N_("the host offset is not aligned to a cluster"),
    [FLAW_TOO_HIGH] = N_("the host offset is too large"),
    [FLAW_PAST_END] = N_("the host offset lies outside the file"),
    [FLAW_NOT_IDENTITY] = N_("the offset in the external data file is not the offset in the disk"),
    [FLAW_COMPRESSED_DATA_FILE] =
      N_("an image with an external data file has no compressed clusters"),
    [FLAW_CONTRADICTION] = N_("a subcluster is both allocated and zero"),
    [FLAW_NO_CLUSTER] = N_("a subcluster is allocated without a cluster"),
  };

  offset = img_align_down (offset, (guint64) 1 << self->cluster_bits);
  img_error_set (error, IMG_CODE_CORRUPT,
                 _("L2 entry 0x%016" PRIx64 " for offset 0x%" PRIx64 " is invalid: %s"), word,
                 offset, _ (texts[flaw]));
  return IMG_MAP_ERROR;
}

/* ---- one entry ---- */

/* What is wrong with the host cluster of an entry; @is_read: its bytes are the guest's. */
static inline Flaw
check_host_cluster (const ImgQcow2 *self, guint64 host, guint64 offset, gboolean is_read)
{
  if (G_UNLIKELY (img_qcow2_offset_in_cluster (self, host) != 0))
    return FLAW_UNALIGNED;
  if (G_UNLIKELY (self->has_data_file))
    return host == offset - img_qcow2_offset_in_cluster (self, offset) ? FLAW_NONE : FLAW_NOT_IDENTITY;
  if (G_UNLIKELY (is_read && host >= img_qcow2_get_end (self)))
    return FLAW_PAST_END;
  return FLAW_NONE;
}

static inline void
set_piece (const ImgQcow2 *self,
           Piece *piece,
           ImgExtentKind kind,
           gboolean has_host_offset,
           guint64 host,
           guint64 offset,
           guint64 length)
{
  piece->kind = kind;
  piece->has_host_offset = has_host_offset;
  piece->host_offset = host + img_qcow2_offset_in_cluster (self, offset);
  piece->length = length;
}

static Flaw
parse_standard (const ImgQcow2 *self, ImgQcow2Entry entry, guint64 offset, Piece *piece)
{
  guint64 host = img_qcow2_entry_get_host (entry);
  guint64 left = ((guint64) 1 << self->cluster_bits) - img_qcow2_offset_in_cluster (self, offset);
  gboolean is_zero = img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_ZERO);

  if (G_UNLIKELY (is_zero && self->header->version < 3))
    return FLAW_ZERO_IN_V2;
  if (is_zero)
    {
      set_piece (self, piece, IMG_EXTENT_ZERO, host != 0, host, offset, left);
      return host != 0 ? check_host_cluster (self, host, offset, FALSE) : FLAW_NONE;
    }
  if (!img_qcow2_entry_has_cluster (self, entry))
    {
      set_piece (self, piece, IMG_EXTENT_HOLE, FALSE, 0, offset, left);
      return FLAW_NONE;
    }
  set_piece (self, piece, IMG_EXTENT_DATA, TRUE, host, offset, left);
  return check_host_cluster (self, host, offset, TRUE);
}

/* How many subclusters from @first on have the same bit in @bits as @first. */
static guint
count_equal_bits (guint32 bits, guint first)
{
  guint32 differing = bits ^ ((bits >> first) & 1 ? G_MAXUINT32 : 0);

  differing >>= first;
  return differing == 0 ? IMG_QCOW2_SUBCLUSTERS - first : (guint) __builtin_ctz (differing);
}

/* A subcluster without its own bits is a hole, with or without a host cluster. */
static Flaw
parse_extended (const ImgQcow2 *self, ImgQcow2Entry entry, guint64 offset, Piece *piece)
{
  guint64 host = img_qcow2_entry_get_host (entry);
  guint32 allocated = (guint32) entry.bitmap;
  guint32 zero = (guint32) (entry.bitmap >> 32);
  gboolean has_host = img_qcow2_entry_has_cluster (self, entry);
  guint first = (guint) (img_qcow2_offset_in_cluster (self, offset) >> self->subcluster_bits);
  guint n = MIN (count_equal_bits (allocated, first), count_equal_bits (zero, first));
  guint64 end = (guint64) (first + n) << self->subcluster_bits;
  ImgExtentKind kind = IMG_EXTENT_HOLE;

  if (G_UNLIKELY ((allocated & zero) != 0))
    return FLAW_CONTRADICTION;
  if (G_UNLIKELY (allocated != 0 && !has_host))
    return FLAW_NO_CLUSTER;
  if ((allocated >> first) & 1)
    kind = IMG_EXTENT_DATA;
  else if ((zero >> first) & 1)
    kind = IMG_EXTENT_ZERO;
  set_piece (self, piece, kind, has_host, host, offset, end - img_qcow2_offset_in_cluster (self, offset));
  return has_host ? check_host_cluster (self, host, offset, kind == IMG_EXTENT_DATA) : FLAW_NONE;
}

static inline Flaw
parse_entry (const ImgQcow2 *self, ImgQcow2Entry entry, guint64 offset, Piece *piece)
{
  return self->has_extended_l2 ? parse_extended (self, entry, offset, piece)
                               : parse_standard (self, entry, offset, piece);
}

static Flaw
map_compressed (const ImgQcow2 *self,
                ImgQcow2Entry entry,
                guint64 offset,
                guint64 length,
                ImgExtent *extent)
{
  guint64 cluster_size = (guint64) 1 << self->cluster_bits;
  guint64 host, stored_length;

  img_qcow2_entry_get_stored (self, entry, &host, &stored_length);
  if (self->has_data_file)
    return FLAW_COMPRESSED_DATA_FILE;
  if (host >= MAX_HOST_OFFSET)
    return FLAW_TOO_HIGH;
  if (host >= img_qcow2_get_end (self))
    return FLAW_PAST_END;
  *extent = (ImgExtent) {
    .kind = IMG_EXTENT_COMPRESSED,
    .offset = offset,
    .length = MIN (length, cluster_size - img_qcow2_offset_in_cluster (self, offset)),
    .storage = self->parent.storage,
    .unit_offset = img_align_down (offset, cluster_size),
    .unit_length = (gsize) cluster_size,
    .unit_host_offset = host,
    .unit_host_length = (gsize) stored_length,
  };
  return FLAW_NONE;
}

/* ---- a run of entries ---- */

static inline gboolean
continues (const Piece *run, const Piece *next)
{
  return next->kind == run->kind && next->has_host_offset == run->has_host_offset &&
         (!run->has_host_offset || run->host_offset + run->length == next->host_offset);
}

/* Joins what follows @run, which begins at @offset, up to @length bytes. A flawed entry ends the
 * run: it is for the call that asks about it. */
static void
extend_run (const ImgQcow2 *self,
            const ImgTableView *view,
            guint64 offset,
            guint64 length,
            Piece *run)
{
  while (run->length < length)
    {
      ImgQcow2Entry entry = img_qcow2_entry_read (self, view, offset + run->length);
      Piece next;

      if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED) ||
          parse_entry (self, entry, offset + run->length, &next) != FLAW_NONE ||
          !continues (run, &next))
        return;
      run->length += next.length;
    }
}

/* @length does not pass the end of the slice. */
static Flaw
map_in_slice (const ImgQcow2 *self,
              const ImgTableView *view,
              guint64 offset,
              guint64 length,
              ImgExtent *extent,
              guint64 *word)
{
  ImgQcow2Entry entry = img_qcow2_entry_read (self, view, offset);
  Piece run;
  Flaw flaw;

  *word = entry.word;
  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED))
    return map_compressed (self, entry, offset, length, extent);
  flaw = parse_entry (self, entry, offset, &run);
  if (G_UNLIKELY (flaw != FLAW_NONE))
    return flaw;
  extend_run (self, view, offset, length, &run);
  *extent = (ImgExtent) {
    .kind = run.kind,
    .has_host_offset = run.has_host_offset,
    .offset = offset,
    .length = MIN (run.length, length),
    .storage = run.has_host_offset ? self->data_storage : NULL,
    .host_offset = run.has_host_offset ? run.host_offset : 0,
  };
  return FLAW_NONE;
}

/* ---- tables ---- */

/* No L2 table: nothing of the whole range it would map is in this image; neighbours without one
 * join. */
static void
map_without_table (const ImgQcow2 *self, guint64 offset, guint64 length, ImgExtent *extent)
{
  guint64 first = offset >> self->l1_shift;
  guint64 index = first + 1;
  guint64 end = offset + length;

  /* Not to the end of a large empty table each time: the caller may use but a small part of the run. */
  while (index < self->n_l1_entries && (index << self->l1_shift) < end &&
         index - first < MAX_EMPTY_TABLES && (__atomic_load_n (&self->l1[index], __ATOMIC_RELAXED) & IMG_QCOW2_OFFSET_MASK) == 0)
    index++;
  *extent = (ImgExtent) {
    .kind = IMG_EXTENT_HOLE,
    .offset = offset,
    .length = MIN (end, index << self->l1_shift) - offset,
  };
}

static gboolean
check_l2_table (const ImgQcow2 *self, guint64 table, guint64 offset, ImgError **error)
{
  guint64 cluster_size = (guint64) 1 << self->cluster_bits;

  if (G_LIKELY (img_is_aligned (table, cluster_size) &&
                img_range_fits (table, cluster_size, img_qcow2_get_end (self))))
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT,
                 _("The L2 table for offset 0x%" PRIx64
                    " is not aligned or lies outside the file: "
                    "offset 0x%" PRIx64),
                 offset, table);
  return FALSE;
}

/* @slice: its number in the disk. */
static ImgMapResult
map_slice (ImgQcow2 *self,
           guint64 slice,
           guint64 host_offset,
           guint64 offset,
           guint64 length,
           ImgMapFlags flags,
           ImgExtent *extent,
           ImgError **error)
{
  ImgTableView view;
  guint64 word;
  Flaw flaw;

  do
    {
      ImgMapResult result =
        img_table_cache_look (self->tables, slice, host_offset, flags, &view, error);

      if (G_UNLIKELY (result != IMG_MAP_OK))
        {
          if (result == IMG_MAP_ERROR)
            img_error_prefix (error, _("L2 table at offset 0x%" PRIx64 ": "), host_offset);
          return result;
        }
      flaw = map_in_slice (self, &view, offset, length, extent, &word);
    }
  while (!img_table_view_end (&view));
  return G_LIKELY (flaw == FLAW_NONE) ? IMG_MAP_OK : report_flaw (self, flaw, offset, word, error);
}

ImgMapResult
img_qcow2_map (ImgLayout *layout,
               guint64 offset,
               guint64 length,
               ImgMapFlags flags,
               ImgExtent *extent,
               ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  guint64 table =
    __atomic_load_n (&self->l1[offset >> self->l1_shift], __ATOMIC_ACQUIRE) & IMG_QCOW2_OFFSET_MASK;
  guint64 slice = offset >> self->slice_shift;
  guint64 slice_end = (slice + 1) << self->slice_shift;

  if (table == 0)
    {
      map_without_table (self, offset, length, extent);
      return IMG_MAP_OK;
    }
  if (G_UNLIKELY (!check_l2_table (self, table, offset, error)))
    return IMG_MAP_ERROR;
  if (G_UNLIKELY (self->data_storage == NULL))
    {
      img_error_set (error, IMG_CODE_REFERENCES_PENDING,
                     _("The external data file of the image is not open"));
      return IMG_MAP_ERROR;
    }
  return map_slice (self, slice, img_qcow2_slice_host (self, table, offset), offset,
                    MIN (length, slice_end - offset), flags, extent, error);
}
