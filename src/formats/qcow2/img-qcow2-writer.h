/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a qcow2 image has when it is open for writing, and the rules that keep it whole.
 *
 * Locks
 * -----
 *   flush turn   one flush at a time; its holder does all metadata I/O but the first zeroes of new tables
 *   metadata turn  (just "the turn") all edits of L1, L2, refcount table and blocks, the allocator and the
 *                quarantine. Its holder may read a slice from the file, and write a new table that nothing
 *                points to yet. It never waits for a flush, a claim or the gate.
 * A thread that holds the flush turn may take the metadata turn, never the other way round. So an edit
 * that finds the cache full of dirty slices gives everything back (IMG_TABLE_FULL, IMG_PREPARE_FLUSH):
 * its caller flushes without the turn and begins again. Every step of an edit is therefore either not yet
 * visible, or complete, when the next one may fail.
 * Readers (map) take no lock: L1 entries are atomic words, slices are read through img-table-cache.h.
 * Two requests that change one cluster are kept apart by the engine's claims, so that an L2 entry which
 * was read while planning is the same when the plan is committed.
 *
 * Order of a change
 * -----------------
 *   1. A cluster is taken: its refcount becomes 1 in the cache. 2. The engine writes data and edges into it.
 *   3. The L2 entry changes in the cache; what it pointed to enters quarantine.
 * New refcount blocks and L2 tables are filled with zeroes (or the copy of an old table) in the file
 * when they are made, before anything in memory points to them.
 *
 * Order of a flush (img-qcow2-flush.c)
 * ------------------------------------
 * The fence: under the turn everything dirty is copied; what is changed later belongs to the next flush.
 *   P0, only if refcount blocks or a refcount table are new: the dirty slices of new blocks; sync.
 *   P1: other refcount slices, refcount table entries, the header's pointer to a moved table, slices of
 *       L2 tables that are new; sync this file, and the external data file.
 *   P2: slices of old L2 tables, L1 entries; sync.
 * So a reference is in the file only after its target's content and refcount are durable: for every
 * cluster that an L2 entry of the fence points to, the refcount is part of the fence (1 comes before 3)
 * and its data were complete before the entry changed (2 before 3). A crash between the phases leaves
 * refcounts that are too high, never too low. If any of it fails the image is poisoned.
 *
 * Freeing (img-qcow2-quarantine.c)
 * --------------------------------
 * A reference that was dropped in step 3 keeps its refcount until P2 of a flush whose fence came later is
 * durable, and until every transfer that had entered before the fence has left (img-epoch.h). Then, in this
 * order: host space punched, the refcount lowered, what was decoded of it forgotten, the cluster free.
 * A flush that is asked for by a request inside the epoch cannot wait for the epoch, so released is what
 * is ready whenever somebody comes by.
 *
 * The first change (img-qcow2-marks.c)
 * ------------------------------------
 * Autoclear bits of features that this writer does not maintain (bitmaps, unknown ones) are cleared durably
 * before anything else, and with lazy refcounts the dirty bit is set durably. Then refcounts may be left
 * out of flushes until close () writes them and clears the bit.
 */

#pragma once

#include "img-cluster-set.h"
#include "img-qcow2-entry.h"
#include "img-turn.h"

G_BEGIN_DECLS

/* A table that is kept whole in memory, in host byte order: L1 and refcount table. */
typedef struct
{
  guint64 offset;       /* in the file */
  guint64 *entries;     /* for L1 the same as ImgQcow2.l1 */
  guint64 n_entries;
  GHashTable *dirty;    /* set of sectors (GUINT_TO_POINTER) whose entries the file has not */
} ImgQcow2WholeTable;

typedef struct _ImgQcow2Batch ImgQcow2Batch;
typedef struct _ImgQcow2KeptBitmaps ImgQcow2KeptBitmaps; /* img-qcow2-bitmap.h */

struct _ImgQcow2Writer
{
  ImgTurn flush_turn;
  guint64 n_asked;   /* atomic: calls of flush so far */
  guint64 n_flushed; /* those up to here were answered by a fence that came later; the flush turn's */

  gint is_poisoned; /* atomic, as the next two */
  gint is_corrupt;  /* found while writing: nothing is written any more */
  gint has_begun;   /* the first change has been announced */

  ImgTurn turn; /* for all that follows */
  ImgQcow2WholeTable l1;
  ImgQcow2WholeTable refcount_table;
  guint64 refcount_table_clusters;
  gboolean refcount_table_has_moved; /* the header still points to the old one */
  ImgTableCache *refcounts;
  guint block_bits;  /* 2 to the power of that: clusters that one refcount block counts */
  guint slice_bits;  /* … and one slice of it */

  guint64 next_free; /* no cluster below it is free */
  guint64 end;       /* nothing lies in this cluster or behind it */
  guint64 packing;   /* where the next compressed cluster may begin; 0: in a new cluster */
  ImgClusterSet *metadata; /* clusters of metadata: no data may be written there. Read without the turn */
  GHashTable *fresh;       /* set of host offsets (guint64): tables that nothing durable points to yet */
  gboolean must_flush_refcounts; /* the cache is full of them, lazy or not */

  GArray *dropped;          /* of guint64, clusters: one for each reference since the last fence */
  GQueue batches;           /* of ImgQcow2Batch: dropped before a fence, oldest first */
  gint n_ready;             /* atomic: batches that are durable */
  guint64 n_dropped;        /* in all of these */
  gboolean asked_for_flush; /* to get space back, since some was */

  ImgQcow2KeptBitmaps *kept_bitmaps; /* nullable; behind the closed gate */
};

/* ---- img-qcow2-writer.c ---- */

/* @cache_size: the budget of all metadata, bytes; 0: the default. */
gboolean img_qcow2_writer_open  (ImgQcow2 *self, gsize cache_size, ImgError **error);
void     img_qcow2_writer_free  (ImgQcow2Writer *writer);
/* Whether a change may begin at all. */
gboolean img_qcow2_writer_check (ImgQcow2 *self, ImgError **error);
/* The same of a change that concerns the image file alone. */
gboolean img_qcow2_writer_check_file (ImgQcow2 *self, ImgError **error);
void     img_qcow2_writer_poison (ImgQcow2 *self);

guint64  img_qcow2_get_cluster_size (const ImgQcow2 *self);

void     img_qcow2_whole_table_set   (ImgQcow2WholeTable *table, guint64 index, guint64 entry);
void     img_qcow2_whole_table_clear (ImgQcow2WholeTable *table);

/* ---- img-qcow2-marks.c; with the turn ---- */

/* Before the first change: durable when it returns. */
gboolean img_qcow2_begin_write   (ImgQcow2 *self, ImgError **error);
/* Nothing will be written any more but this mark. Sets @error to what @format says. */
void     img_qcow2_mark_corrupt  (ImgQcow2 *self, ImgError **error, const char *format, ...)
  G_GNUC_PRINTF (3, 4);
gboolean img_qcow2_clear_dirty   (ImgQcow2 *self, ImgError **error);

/* ---- img-qcow2-refcount.c; with the turn ---- */

ImgTableResult img_qcow2_refcount_get  (ImgQcow2 *self, guint64 cluster, guint64 *refcount,
                                        ImgError **error);
/* Lowers it by @count, or to 0 if it is less. */
ImgTableResult img_qcow2_refcount_drop (ImgQcow2 *self, guint64 cluster, guint64 count,
                                        guint64 *refcount, ImgError **error);
/* FALSE in *is_raised: it has the largest value already. */
ImgTableResult img_qcow2_refcount_raise (ImgQcow2 *self, guint64 cluster, gboolean *is_raised,
                                         ImgError **error);
/* Takes the first run of free clusters at or after @cluster that one slice counts, at most @wanted.
 * *count is 0 if there is none: go on at *next. Grows the tables as needed. */
ImgTableResult img_qcow2_refcount_take (ImgQcow2 *self, guint64 cluster, guint64 wanted,
                                        guint64 *first, guint64 *count, guint64 *next,
                                        ImgError **error);
/* Takes @count adjoining clusters behind all that the table can count, however many: it grows, and moves. */
ImgTableResult img_qcow2_refcount_take_many (ImgQcow2 *self, guint64 count, guint64 *first, ImgError **error);

/* ---- img-qcow2-alloc.c; with the turn ---- */

/* Between 1 and @wanted adjoining clusters; *is_fresh: they lie past the old end of the file. */
ImgTableResult img_qcow2_allocate    (ImgQcow2 *self, guint64 wanted, guint64 *first, guint64 *count,
                                      gboolean *is_fresh, ImgError **error);
/* @count adjoining clusters at the end of the file, or behind it. */
ImgTableResult img_qcow2_allocate_at_end (ImgQcow2 *self, guint64 count, guint64 *first,
                                          ImgError **error);
/* @cluster itself, if it is free. */
ImgTableResult img_qcow2_allocate_at (ImgQcow2 *self, guint64 cluster, gboolean *is_taken,
                                      ImgError **error);
/* Room for a compressed cluster of @length bytes: packed behind the last one if it can be. */
ImgTableResult img_qcow2_allocate_bytes (ImgQcow2 *self, guint64 length, guint64 *host,
                                         gboolean *is_fresh, ImgError **error);
/* What lies in [0, clusters) may be in use from now on. */
void           img_qcow2_raise_end   (ImgQcow2 *self, guint64 clusters);
/* The table's cluster in the file, filled with zeroes or with @content; nothing points to it. */
ImgTableResult img_qcow2_make_table  (ImgQcow2 *self, const guint8 *content, guint64 *host,
                                      ImgError **error);

/* ---- img-qcow2-quarantine.c ---- */

/* With the turn: one reference to each of them is no more. Cannot fail. */
void     img_qcow2_drop_clusters (ImgQcow2 *self, guint64 first, guint64 count);
/* What an L2 entry pointed to. */
void     img_qcow2_drop_entry    (ImgQcow2 *self, ImgQcow2Entry entry);
/* At the fence, and when its P2 is durable. */
ImgQcow2Batch *img_qcow2_quarantine_seal  (ImgQcow2 *self);
void           img_qcow2_quarantine_ready (ImgQcow2 *self, ImgQcow2Batch *batch);
/* With the turn: whether so much waits that a flush is better than a longer file. Both say so once before
 * something is released. */
gboolean img_qcow2_quarantine_is_large (ImgQcow2 *self);
/* … and whether so much that it must be flushed before there is more. */
gboolean img_qcow2_quarantine_is_full  (ImgQcow2 *self);
/* Without the turn: releases what may be. What cannot be read or written meanwhile stays: a leak at worst. */
void     img_qcow2_quarantine_release  (ImgQcow2 *self);
void     img_qcow2_quarantine_clear    (ImgQcow2Writer *writer);

/* ---- img-qcow2-tables.c; with the turn ---- */

/* The L2 table for @offset, made or copied if it is not this image's alone; *table: its host offset. */
ImgTableResult img_qcow2_own_table (ImgQcow2 *self, guint64 offset, guint64 *table, ImgError **error);
/* The entries of @n clusters from @offset on, which one slice holds. All HOLE without a table. */
gboolean       img_qcow2_read_entries (ImgQcow2 *self, guint64 offset, guint n, ImgQcow2Entry *entries,
                                       ImgError **error);
/* The table was given up: nothing of it is kept, nor written any more. */
void           img_qcow2_forget_table (ImgQcow2 *self, guint64 offset, guint64 table);
/* Puts them there and drops what the old ones pointed to, but for clusters that the new ones keep. */
ImgTableResult img_qcow2_edit_entries (ImgQcow2 *self, guint64 offset, guint n,
                                       const ImgQcow2Entry *entries, ImgError **error);
/* How many clusters from @offset on, up to @length bytes, the slice holds. */
guint          img_qcow2_count_in_slice (const ImgQcow2 *self, guint64 offset, guint64 length);

/* ---- img-qcow2-flush.c ---- */

/* Nobody is inside the image. Then every refcount is in the file, lazy or not, and the quarantine is empty, but for
 * what could not be read or written. */
gboolean img_qcow2_flush_and_release_all (ImgQcow2 *self, ImgError **error);

/* ---- plans ---- */

/* ImgPlan.kind: what the commit has to do. */
typedef enum
{
  IMG_QCOW2_PLAN_REUSE,
  IMG_QCOW2_PLAN_NEW,
  IMG_QCOW2_PLAN_NEW_WHOLE,
  IMG_QCOW2_PLAN_COMPRESSED,
  IMG_QCOW2_PLAN_PUNCH, /* ImgPlan.entry: the ImgPunchMode */
} ImgQcow2PlanKind;

/* With the turn. */
ImgTableResult img_qcow2_commit_punch (ImgQcow2 *self, const ImgPlan *plan, ImgError **error);

/* ---- the layout's functions ---- */

ImgPrepareResult img_qcow2_prepare_write (ImgLayout *layout, guint64 offset, guint64 length,
                                          ImgWriteMode mode, ImgPlan *plan, ImgError **error);
ImgPrepareResult img_qcow2_prepare_compressed (ImgLayout *layout, guint64 offset, guint64 length,
                                               gsize stored_length, ImgPlan *plan, ImgError **error);
gboolean         img_qcow2_get_encode_memory (ImgLayout *layout, int level, gsize *memory, ImgError **error);
gboolean         img_qcow2_encode (ImgLayout *layout, int level, const guint8 *plain, guint8 *stored,
                                   gsize *stored_length, ImgError **error);
ImgPrepareResult img_qcow2_prepare_punch (ImgLayout *layout, guint64 offset, guint64 length,
                                          ImgPunchMode mode, ImgPlan *plan, ImgError **error);
ImgPrepareResult img_qcow2_commit  (ImgLayout *layout, ImgPlan *plan, ImgError **error);
void             img_qcow2_abort   (ImgLayout *layout, ImgPlan *plan);
gboolean         img_qcow2_flush   (ImgLayout *layout, ImgError **error);
gboolean         img_qcow2_close   (ImgLayout *layout, ImgError **error);
gboolean         img_qcow2_reserve (ImgLayout *layout, guint64 size, ImgError **error);
gboolean         img_qcow2_set_size (ImgLayout *layout, guint64 size, ImgError **error);
gboolean         img_qcow2_trim    (ImgLayout *layout, guint64 old_size, ImgError **error);
guint64          img_qcow2_get_trim_end (ImgLayout *layout, guint64 old_size);
gboolean         img_qcow2_set_backing_name (ImgLayout *layout, const char *name, const char *format,
                                             ImgError **error);
gboolean         img_qcow2_find_vm_state (ImgLayout *layout, guint64 *start, guint64 *end, ImgError **error);
gboolean         img_qcow2_reclaim (ImgLayout *layout, ImgCancel *cancel, ImgError **error);

/* ---- img-qcow2-reclaim.c ---- */

/* Nobody is inside the image, and the file has all of it: CORRUPT where a check of all metadata finds damage. */
gboolean img_qcow2_check_sound (ImgQcow2 *self, ImgCancel *cancel, ImgError **error);

static inline ImgPrepareResult
img_qcow2_to_prepare (ImgTableResult result)
{
  static const ImgPrepareResult results[] = {
    [IMG_TABLE_OK] = IMG_PREPARE_OK,
    [IMG_TABLE_FULL] = IMG_PREPARE_FLUSH,
    [IMG_TABLE_ERROR] = IMG_PREPARE_ERROR,
  };

  return results[result];
}

G_END_DECLS
