/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Writing metadata back: the fence and the phases of img-qcow2-writer.h. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-mutant.h"
#include "img-qcow2-writer.h"

#define SECTOR_ENTRIES (512 / sizeof (guint64))

/* Offset in the header: 8 bytes of offset, 4 bytes of clusters. */
#define REFCOUNT_TABLE_AT 48
#define REFCOUNT_TABLE_LENGTH 12

typedef enum
{
  P0,
  P1,
  P2,
  N_PHASES,
} Phase;

/* Bytes of the file. */
typedef struct
{
  guint64 offset;
  struct iovec bytes;
} Piece;

/* What one fence caught. */
typedef struct
{
  guint8 *memory; /* of all pieces */
  gsize size;
  gsize used;
  GArray *pieces[N_PHASES]; /* of Piece */
  gboolean has_p0;
  gboolean with_refcounts;
  GHashTable *fresh; /* tables that are durable once this flush is */
  ImgQcow2Batch *batch;
} Fence;

/* ---- the fence; with the turn ---- */

static gsize
slice_size (const ImgQcow2 *self)
{
  return (gsize) MIN (IMG_TABLE_MAX_SLICE, img_qcow2_get_cluster_size (self));
}

static gpointer
add_piece (Fence *fence, Phase phase, guint64 offset, gsize length)
{
  Piece piece = { offset, { fence->memory + fence->used, length } };

  g_assert (img_range_fits (fence->used, length, fence->size));
  fence->used += length;
  g_array_append_val (fence->pieces[phase], piece);
  return piece.bytes.iov_base;
}

static gboolean
is_fresh (const ImgQcow2 *self, guint64 host)
{
  guint64 table = img_align_down (host, img_qcow2_get_cluster_size (self));

  return g_hash_table_contains (self->writer->fresh, &table);
}

static void
add_slices (ImgQcow2 *self, Fence *fence, ImgTableCache *cache, Phase if_fresh, Phase otherwise)
{
  while (img_table_cache_count_dirty (cache) > 0)
    {
      guint64 host = img_table_cache_peek_dirty (cache, 0);
      guint64 *words =
        add_piece (fence, is_fresh (self, host) ? if_fresh : otherwise, host, slice_size (self));

      img_table_cache_take_dirty (cache, 0, words);
    }
}

static void
add_sectors (Fence *fence, Phase phase, ImgQcow2WholeTable *table)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, table->dirty);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    {
      guint64 first = (guint64) GPOINTER_TO_UINT (key) * SECTOR_ENTRIES;
      guint64 n = MIN (SECTOR_ENTRIES, table->n_entries - first);
      guint64 *words = add_piece (fence, phase, table->offset + first * sizeof (guint64),
                                  (gsize) n * sizeof (guint64));

      for (guint64 i = 0; i < n; i++)
        words[i] = GUINT64_TO_BE (table->entries[first + i]);
    }
  g_hash_table_remove_all (table->dirty);
}

static void
add_refcount_table (ImgQcow2 *self, Fence *fence)
{
  ImgQcow2Writer *writer = self->writer;
  gboolean early = img_mutant_is_on (IMG_MUTANT_REFTABLE_BEFORE_BLOCK);

  add_sectors (fence, early ? P0 : P1, &writer->refcount_table);
  if (writer->refcount_table_has_moved)
    {
      Phase phase = img_mutant_is_on (IMG_MUTANT_HEADER_BEFORE_REFTABLE) ? P0 : P1;
      guint8 *bytes = add_piece (fence, phase, REFCOUNT_TABLE_AT, REFCOUNT_TABLE_LENGTH);
      guint64 offset = GUINT64_TO_BE (writer->refcount_table.offset);
      guint32 n_clusters = GUINT32_TO_BE ((guint32) writer->refcount_table_clusters);

      memcpy (bytes, &offset, sizeof offset);
      memcpy (bytes + sizeof offset, &n_clusters, sizeof n_clusters);
      writer->refcount_table_has_moved = FALSE;
    }
}

/* Fresh tables of both kinds: L2 tables become durable with P1, refcount blocks with P0. */
static gboolean
must_have_p0 (const ImgQcow2 *self, const Fence *fence)
{
  const ImgQcow2Writer *writer = self->writer;

  return fence->with_refcounts &&
         (writer->refcount_table_has_moved || g_hash_table_size (writer->refcount_table.dirty) > 0);
}

static gsize
count_bytes (const ImgQcow2 *self, const Fence *fence)
{
  const ImgQcow2Writer *writer = self->writer;
  gsize size = img_table_cache_count_dirty (self->tables) * slice_size (self) +
               g_hash_table_size (writer->l1.dirty) * 512;

  if (fence->with_refcounts)
    size += img_table_cache_count_dirty (writer->refcounts) * slice_size (self) +
            g_hash_table_size (writer->refcount_table.dirty) * 512 + REFCOUNT_TABLE_LENGTH + 8;
  return size;
}

/* Entries are words: a piece must begin at one. */
static void
align_pieces (Fence *fence)
{
  fence->used = (gsize) img_align_up (fence->used, sizeof (guint64));
}

static GHashTable *
new_host_set (void)
{
  return g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
}

static gboolean
raise_fence (ImgQcow2 *self, Fence *fence, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;

  fence->size = count_bytes (self, fence);
  fence->memory = img_try_alloc (fence->size, error);
  if (fence->memory == NULL)
    return FALSE;
  if (fence->with_refcounts)
    {
      fence->has_p0 = must_have_p0 (self, fence);
      add_slices (self, fence, writer->refcounts, fence->has_p0 ? P0 : P1, P1);
      add_refcount_table (self, fence);
      align_pieces (fence);
      writer->must_flush_refcounts = FALSE;
    }
  add_slices (self, fence, self->tables, P1,
              img_mutant_is_on (IMG_MUTANT_L2_BEFORE_REFCOUNTS) ? P1 : P2);
  add_sectors (fence, img_mutant_is_on (IMG_MUTANT_L1_BEFORE_L2) ? P1 : P2, &writer->l1);
  fence->fresh = g_steal_pointer (&writer->fresh);
  writer->fresh = new_host_set ();
  fence->batch = img_qcow2_quarantine_seal (self);
  return TRUE;
}

/* ---- the phases; without the turn ---- */

static gint
compare_pieces (gconstpointer a, gconstpointer b)
{
  guint64 left = ((const Piece *) a)->offset;
  guint64 right = ((const Piece *) b)->offset;

  return left < right ? -1 : left > right;
}

/* All of a phase at once; pieces that adjoin in the file are one request. */
static gboolean
write_pieces (ImgStorage *storage, GArray *pieces, ImgError **error)
{
  g_autofree ImgIo *ios = g_new0 (ImgIo, pieces->len);
  g_autofree struct iovec *vectors = g_new (struct iovec, pieces->len);
  guint n_ios = 0;

  g_array_sort (pieces, compare_pieces);
  for (guint i = 0; i < pieces->len; i++)
    {
      const Piece *piece = &g_array_index (pieces, Piece, i);
      ImgIo *io = n_ios > 0 ? &ios[n_ios - 1] : NULL;

      vectors[i] = piece->bytes;
      if (io == NULL || io->offset + io->length != piece->offset)
        {
          io = &ios[n_ios++];
          *io = (ImgIo) { .op = IMG_IO_WRITE, .offset = piece->offset, .iov = &vectors[i] };
        }
      io->length += piece->bytes.iov_len;
      io->n_iov++;
    }
  img_storage_submit (storage, ios, n_ios);
  img_io_wait (ios, n_ios);
  return img_io_collect (ios, n_ios, error);
}

static gboolean
sync_files (ImgQcow2 *self, ImgMutant skip, gboolean with_data_file, ImgError **error)
{
  if (!img_mutant_is_on (skip) && !img_storage_flush (self->parent.storage, error))
    return FALSE;
  return !with_data_file || !self->has_data_file || self->data_storage == NULL ||
         img_mutant_is_on (IMG_MUTANT_SKIP_FLUSH_DATA_FILE) ||
         img_storage_flush (self->data_storage, error);
}

static gboolean
run_phases (ImgQcow2 *self, Fence *fence, ImgError **error)
{
  ImgStorage *storage = self->parent.storage;

  if (fence->has_p0 && (!write_pieces (storage, fence->pieces[P0], error) ||
                        !sync_files (self, IMG_MUTANT_SKIP_FLUSH_P0, FALSE, error)))
    return FALSE;
  if (!write_pieces (storage, fence->pieces[P1], error) ||
      !sync_files (self, IMG_MUTANT_SKIP_FLUSH_P1, TRUE, error))
    return FALSE;
  if (fence->pieces[P2]->len == 0)
    return TRUE;
  return write_pieces (storage, fence->pieces[P2], error) &&
         sync_files (self, IMG_MUTANT_SKIP_FLUSH_P2, FALSE, error);
}

/* ---- one flush; with the flush turn ---- */

static void
fence_init (Fence *fence)
{
  *fence = (Fence) { 0 };
  for (guint phase = 0; phase < N_PHASES; phase++)
    fence->pieces[phase] = g_array_new (FALSE, FALSE, sizeof (Piece));
}

static void
fence_clear (Fence *fence)
{
  img_free (fence->memory);
  for (guint phase = 0; phase < N_PHASES; phase++)
    g_array_unref (fence->pieces[phase]);
  g_clear_pointer (&fence->fresh, g_hash_table_unref);
}

static void
lower_fence (ImgQcow2 *self, Fence *fence)
{
  img_table_cache_end_writes (self->tables);
  img_table_cache_end_writes (self->writer->refcounts);
  img_qcow2_quarantine_ready (self, fence->batch);
}

static gboolean
flush_once (ImgQcow2 *self, gboolean with_refcounts, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  gboolean is_raised, success;
  Fence fence;

  fence_init (&fence);
  img_turn_take (&writer->turn);
  fence.with_refcounts = with_refcounts || writer->must_flush_refcounts;
  is_raised = raise_fence (self, &fence, error);
  img_turn_give (&writer->turn);
  success = is_raised && run_phases (self, &fence, error);
  if (is_raised && !success)
    img_qcow2_writer_poison (self);
  if (success)
    {
      img_turn_take (&writer->turn);
      lower_fence (self, &fence);
      img_turn_give (&writer->turn);
    }
  fence_clear (&fence);
  return success;
}

static gboolean
check_poison (ImgQcow2 *self, ImgError **error)
{
  return g_atomic_int_get (&self->writer->is_poisoned) ? img_qcow2_writer_check (self, error) : TRUE;
}

/* Whether refcounts may be left for later. */
static gboolean
is_lazy (const ImgQcow2 *self)
{
  return (__atomic_load_n (&self->header->incompatible, __ATOMIC_RELAXED) &
          IMG_QCOW2_INCOMPATIBLE_DIRTY) != 0;
}

/* Who waited for the turn while another caller flushed, with a fence that came after the call, is served. */
static gboolean
flush (ImgQcow2 *self, gboolean with_refcounts, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 ticket = __atomic_add_fetch (&writer->n_asked, 1, __ATOMIC_SEQ_CST);
  gboolean success;

  img_turn_take (&writer->flush_turn);
  success = check_poison (self, error);
  if (success && (with_refcounts || writer->n_flushed < ticket))
    {
      guint64 n_asked = __atomic_load_n (&writer->n_asked, __ATOMIC_SEQ_CST);

      success = flush_once (self, with_refcounts || !is_lazy (self), error);
      if (success)
        writer->n_flushed = n_asked;
    }
  img_turn_give (&writer->flush_turn);
  return success;
}

gboolean
img_qcow2_flush (ImgLayout *layout, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  if (!flush (self, FALSE, error))
    return FALSE;
  img_qcow2_quarantine_release (self);
  return TRUE;
}

/* Nobody is inside the image, so all that is dropped can be released: a clean close leaves no leak. How much
 * can be at once depends on the cache. */
gboolean
img_qcow2_flush_and_release_all (ImgQcow2 *self, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 n_before;

  do
    {
      n_before = writer->n_dropped;
      if (!flush (self, TRUE, error))
        return FALSE;
      img_qcow2_quarantine_release (self);
    }
  while (writer->n_dropped < n_before);
  return TRUE;
}

static gboolean
clear_dirty (ImgQcow2 *self, ImgError **error)
{
  gboolean success;

  img_turn_take (&self->writer->turn);
  success = img_qcow2_clear_dirty (self, error);
  img_turn_give (&self->writer->turn);
  return success;
}

gboolean
img_qcow2_close (ImgLayout *layout, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  if (!check_poison (self, error))
    return FALSE;
  if (!g_atomic_int_get (&self->writer->has_begun) || g_atomic_int_get (&self->writer->is_corrupt))
    return TRUE;
  if (img_mutant_is_on (IMG_MUTANT_CLEAR_DIRTY_EARLY) && !clear_dirty (self, error))
    return FALSE;
  return img_qcow2_flush_and_release_all (self, error) && clear_dirty (self, error);
}
