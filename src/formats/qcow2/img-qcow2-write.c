/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Plans for writing.
 *
 * A plan covers clusters of one slice that are all written in the same way:
 *
 *   in place   they are allocated, and this image's alone (COPIED)
 *   reuse      the cluster is this image's alone, but what the guest sees there is not in it: a zero
 *              cluster that kept its space, or with extended L2 missing subclusters
 *   new        there is no cluster, or it is shared with a snapshot, or compressed
 *
 * What surrounds the guest's bytes, up to the next cluster (with extended L2: subcluster) on both sides, is
 * filled by the engine before the commit. With extended L2, a new cluster for one that has data keeps
 * none of the old one's subclusters, so the plan then covers the whole cluster.
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-encoder.h"
#include "img-qcow2-writer.h"

#define MAX_ENTRIES (IMG_TABLE_MAX_SLICE / sizeof (guint64))

typedef enum
{
  WAY_IN_PLACE,
  WAY_REUSE,
  WAY_NEW,
  WAY_NEW_WHOLE, /* only with extended L2 */
} Way;

/* ---- what entries say ---- */

/* The subclusters of one cluster that [offset, offset + length) touches, as bits. */
static guint32
touched_subclusters (const ImgQcow2 *self, guint64 offset, guint64 length)
{
  guint64 start = img_qcow2_offset_in_cluster (self, offset);
  guint64 end = MIN (start + length, img_qcow2_get_cluster_size (self));
  guint first = (guint) (start >> self->subcluster_bits);
  guint last = (guint) ((end - 1) >> self->subcluster_bits);

  return (G_MAXUINT32 >> (31 - last)) & (G_MAXUINT32 << first);
}

static Way
way_of_extended (const ImgQcow2 *self, ImgQcow2Entry entry, guint32 touched)
{
  guint32 allocated = (guint32) entry.bitmap;

  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED))
    return WAY_NEW_WHOLE;
  if (img_qcow2_entry_has_cluster (self, entry) && img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COPIED))
    return (allocated & touched) == touched ? WAY_IN_PLACE : WAY_REUSE;
  return allocated != 0 ? WAY_NEW_WHOLE : WAY_NEW;
}

static Way
way_of (const ImgQcow2 *self, ImgQcow2Entry entry, guint32 touched)
{
  if (self->has_extended_l2)
    return way_of_extended (self, entry, touched);
  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED) ||
      !img_qcow2_entry_has_cluster (self, entry) || !img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COPIED))
    return WAY_NEW;
  return img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_ZERO) ? WAY_REUSE : WAY_IN_PLACE;
}

static ImgFill
fill_of_extended (ImgQcow2Entry entry, guint subcluster)
{
  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED))
    return IMG_FILL_COPY;
  if ((entry.bitmap >> subcluster) & 1)
    return IMG_FILL_NONE;
  return (entry.bitmap >> (subcluster + IMG_QCOW2_SUBCLUSTERS)) & 1 ? IMG_FILL_ZERO : IMG_FILL_COPY;
}

/* What the bytes beside a write at @offset need, which lie in the same cluster or subcluster. */
static ImgFill
fill_of (const ImgQcow2 *self, ImgQcow2Entry entry, Way way, guint64 offset)
{
  if (way == WAY_IN_PLACE)
    return IMG_FILL_NONE;
  if (way == WAY_NEW_WHOLE)
    return IMG_FILL_COPY;
  if (self->has_extended_l2)
    return fill_of_extended (
      entry, (guint) (img_qcow2_offset_in_cluster (self, offset) >> self->subcluster_bits));
  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_ZERO) &&
      !img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED))
    return IMG_FILL_ZERO;
  return IMG_FILL_COPY;
}

/* ---- host clusters ---- */

static const char *
find_flaw (const ImgQcow2 *self, ImgQcow2Entry entry, guint64 offset)
{
  guint64 host = img_qcow2_entry_get_host (entry);

  if (self->has_data_file)
    return host == img_align_down (offset, img_qcow2_get_cluster_size (self))
             ? NULL
             : N_("the offset in the external data file is not the offset in the disk");
  if (img_qcow2_offset_in_cluster (self, host) != 0)
    return N_("the host offset is not aligned to a cluster");
  if (host >= img_qcow2_get_end (self))
    return N_("the host offset lies outside the file");
  if (img_cluster_set_meets (self->writer->metadata, host >> self->cluster_bits, 1))
    return N_("it points to metadata");
  return NULL;
}

/* A host cluster that is about to be written: not where metadata is, not outside the file. */
static gboolean
check_host (ImgQcow2 *self, ImgQcow2Entry entry, guint64 offset, ImgError **error)
{
  const char *flaw = find_flaw (self, entry, offset);

  if (G_LIKELY (flaw == NULL))
    return TRUE;
  img_qcow2_mark_corrupt (self, error,
                          _("L2 entry 0x%016" PRIx64 " for offset 0x%" PRIx64 " is invalid: %s"),
                          entry.word, offset, _ (flaw));
  return FALSE;
}

/* ---- runs ---- */

typedef struct
{
  Way way;
  guint n;        /* clusters */
  guint64 length; /* guest bytes of the request in them */
} Run;

static guint64
cluster_end (const ImgQcow2 *self, guint64 offset)
{
  return img_align_down (offset, img_qcow2_get_cluster_size (self)) +
         img_qcow2_get_cluster_size (self);
}

/* The ways that keep a host cluster need adjoining ones; with extended L2, what is only partly there goes
 * cluster by cluster. */
static gboolean
may_follow (const ImgQcow2 *self, const ImgQcow2Entry *entry, Way way)
{
  if (way == WAY_NEW)
    return TRUE;
  if (way == WAY_NEW_WHOLE || (way == WAY_REUSE && self->has_extended_l2))
    return FALSE;
  return img_qcow2_entry_get_host (entry[1]) ==
         img_qcow2_entry_get_host (entry[0]) + img_qcow2_get_cluster_size (self);
}

/* From the first of @n entries on. */
static Run
find_run (const ImgQcow2 *self, const ImgQcow2Entry *entries, guint n, guint64 offset, guint64 length)
{
  Run run = { 0 };
  guint64 end = offset + length;

  for (guint i = 0; i < n; i++)
    {
      guint64 at = i == 0 ? offset
                          : img_align_down (offset, img_qcow2_get_cluster_size (self)) +
                              ((guint64) i << self->cluster_bits);
      guint32 touched =
        self->has_extended_l2 ? touched_subclusters (self, at, end - at) : 0;
      Way way = way_of (self, entries[i], touched);

      if (i == 0)
        run.way = way;
      else if (way != run.way || !may_follow (self, &entries[i - 1], way))
        break;
      run.n++;
      run.length = MIN (end, cluster_end (self, at)) - offset;
    }
  return run;
}

/* ---- in place ---- */

/* From a view that may be torn: *entry is for the check afterwards. */
static Run
look_for_run (const ImgQcow2 *self,
              const ImgTableView *view,
              guint64 offset,
              guint64 length,
              guint n,
              ImgQcow2Entry *first)
{
  guint64 end = offset + length;
  Run run = { WAY_IN_PLACE, 0, 0 };
  ImgQcow2Entry pair[2];

  for (guint64 at = offset; run.n < n; at = cluster_end (self, at))
    {
      guint32 touched = self->has_extended_l2 ? touched_subclusters (self, at, end - at) : 0;

      pair[1] = img_qcow2_entry_read (self, view, at);
      if (way_of (self, pair[1], touched) != WAY_IN_PLACE ||
          (run.n > 0 && !may_follow (self, pair, WAY_IN_PLACE)))
        break;
      if (run.n == 0)
        *first = pair[1];
      pair[0] = pair[1];
      run.n++;
      run.length = MIN (end, cluster_end (self, at)) - offset;
    }
  return run;
}

static void
set_in_place (const ImgQcow2 *self, ImgQcow2Entry first, guint64 offset, guint64 length, ImgPlan *plan)
{
  *plan = (ImgPlan) {
    .offset = offset,
    .length = length,
    .transfer = IMG_TRANSFER_WRITE,
    .storage = self->data_storage,
    .host_offset = img_qcow2_entry_get_host (first) + img_qcow2_offset_in_cluster (self, offset),
  };
}

/* Whether the clusters behind the first one, which was checked, may be written. */
static gboolean
check_rest (const ImgQcow2 *self, ImgQcow2Entry first, guint n)
{
  guint64 cluster = img_qcow2_entry_get_host (first) >> self->cluster_bits;

  return self->has_data_file ||
         (n > 1 ? !img_cluster_set_meets (self->writer->metadata, cluster + 1, n - 1) : TRUE);
}

/* Without the turn. CLAIM: it is not as simple as that. */
static ImgPrepareResult
prepare_in_place (ImgQcow2 *self,
                  guint64 offset,
                  guint64 length,
                  ImgMapFlags flags,
                  ImgPlan *plan,
                  ImgError **error)
{
  guint64 entry = __atomic_load_n (&self->l1[offset >> self->l1_shift], __ATOMIC_ACQUIRE);
  guint64 table = entry & IMG_QCOW2_OFFSET_MASK;
  guint n = img_qcow2_count_in_slice (self, offset, length);
  ImgQcow2Entry first = { 0 };
  ImgMapResult result;
  ImgTableView view;
  Run run;

  if (table == 0 || (entry & IMG_QCOW2_FLAG_COPIED) == 0 ||
      !g_atomic_int_get (&self->writer->has_begun) ||
      !img_is_aligned (table, img_qcow2_get_cluster_size (self)))
    return IMG_PREPARE_CLAIM;
  do
    {
      result = img_table_cache_look (self->tables, offset >> self->slice_shift,
                                     img_qcow2_slice_host (self, table, offset), flags, &view, error);
      if (result != IMG_MAP_OK)
        return result == IMG_MAP_ERROR ? IMG_PREPARE_ERROR : IMG_PREPARE_CLAIM;
      run = look_for_run (self, &view, offset, length, n, &first);
    }
  while (!img_table_view_end (&view));
  if (run.n == 0 || find_flaw (self, first, offset) != NULL || !check_rest (self, first, run.n))
    return IMG_PREPARE_CLAIM;
  set_in_place (self, first, offset, run.length, plan);
  return IMG_PREPARE_OK;
}

/* ---- with the turn ---- */

static gboolean
check_run (ImgQcow2 *self, const ImgQcow2Entry *entries, guint n, guint64 offset, ImgError **error)
{
  for (guint i = 0; i < n; i++)
    if (!check_host (self, entries[i], offset + ((guint64) i << self->cluster_bits), error))
      return FALSE;
  return TRUE;
}

/* Takes host clusters for @run, which may become shorter. */
static ImgTableResult
take_clusters (ImgQcow2 *self, guint64 offset, Run *run, ImgPlan *plan, ImgError **error)
{
  guint64 in_cluster = img_qcow2_offset_in_cluster (self, offset);
  ImgTableResult result;

  if (self->has_data_file)
    {
      plan->host_offset = offset;
      return IMG_TABLE_OK;
    }
  result = img_qcow2_allocate (self, run->n, &plan->first_cluster, &plan->n_clusters, &plan->is_fresh,
                               error);
  if (result != IMG_TABLE_OK)
    return result;
  run->n = (guint) plan->n_clusters;
  run->length = MIN (run->length, (plan->n_clusters << self->cluster_bits) - in_cluster);
  plan->host_offset = (plan->first_cluster << self->cluster_bits) + in_cluster;
  return IMG_TABLE_OK;
}

static void
set_edges (const ImgQcow2 *self, const ImgQcow2Entry *entries, const Run *run, ImgPlan *plan)
{
  gboolean by_subcluster = self->has_extended_l2 && run->way != WAY_NEW_WHOLE;
  guint64 granule = (guint64) 1 << (by_subcluster ? self->subcluster_bits : self->cluster_bits);
  guint64 end = plan->offset + plan->length;

  plan->head_length = (gsize) (plan->offset & (granule - 1));
  plan->tail_length = (gsize) (img_align_up (end, granule) - end);
  /* An external data file is no longer than the disk. */
  if (self->has_data_file)
    plan->tail_length = MIN (plan->tail_length, (gsize) (MAX (self->parent.size, end) - end));
  plan->head_fill = fill_of (self, entries[0], run->way, plan->offset);
  plan->tail_fill = fill_of (self, entries[run->n - 1], run->way, end - 1);
}

static ImgTableResult
plan_run (ImgQcow2 *self,
          const ImgQcow2Entry *entries,
          Run run,
          guint64 offset,
          ImgPlan *plan,
          ImgError **error)
{
  static const ImgQcow2PlanKind kinds[] = {
    [WAY_REUSE] = IMG_QCOW2_PLAN_REUSE,
    [WAY_NEW] = IMG_QCOW2_PLAN_NEW,
    [WAY_NEW_WHOLE] = IMG_QCOW2_PLAN_NEW_WHOLE,
  };
  ImgTableResult result = IMG_TABLE_OK;

  set_in_place (self, entries[0], offset, run.length, plan);
  if (run.way == WAY_IN_PLACE || run.way == WAY_REUSE)
    {
      if (!check_run (self, entries, run.n, img_align_down (offset, img_qcow2_get_cluster_size (self)),
                      error))
        return IMG_TABLE_ERROR;
    }
  else
    result = take_clusters (self, offset, &run, plan, error);
  if (result != IMG_TABLE_OK || run.way == WAY_IN_PLACE)
    return result;
  plan->length = run.length;
  plan->kind = kinds[run.way];
  plan->needs_commit = TRUE;
  set_edges (self, entries, &run, plan);
  return IMG_TABLE_OK;
}

static ImgTableResult
prepare_claimed (ImgQcow2 *self, guint64 offset, guint64 length, ImgPlan *plan, ImgError **error)
{
  ImgQcow2Entry entries[MAX_ENTRIES];
  guint n = img_qcow2_count_in_slice (self, offset, length);
  ImgTableResult result;
  guint64 table;

  if (!img_qcow2_begin_write (self, error))
    return IMG_TABLE_ERROR;
  result = img_qcow2_own_table (self, offset, &table, error);
  if (result != IMG_TABLE_OK)
    return result;
  if (!img_qcow2_read_entries (self, offset, n, entries, error))
    return IMG_TABLE_ERROR;
  return plan_run (self, entries, find_run (self, entries, n, offset, length), offset, plan, error);
}

ImgPrepareResult
img_qcow2_prepare_write (ImgLayout *layout,
                         guint64 offset,
                         guint64 length,
                         ImgWriteMode mode,
                         ImgPlan *plan,
                         ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  ImgTableResult result;

  if (G_UNLIKELY (!img_qcow2_writer_check (self, error)))
    return IMG_PREPARE_ERROR;
  if (mode != IMG_WRITE_CLAIMED)
    return prepare_in_place (self, offset, length, mode == IMG_WRITE_TRY ? IMG_MAP_TRY : IMG_MAP_NONE, plan,
                             error);
  img_qcow2_quarantine_release (self);
  img_turn_take (&self->writer->turn);
  result = prepare_claimed (self, offset, length, plan, error);
  img_turn_give (&self->writer->turn);
  return img_qcow2_to_prepare (result);
}

/* ---- compressed clusters ---- */

static ImgEncoder *
get_encoder (ImgQcow2 *self, int level, ImgError **error)
{
  ImgCompression compression = self->header->compression == IMG_QCOW2_COMPRESSION_ZSTD ? IMG_COMPRESSION_ZSTD
                                                                                       : IMG_COMPRESSION_ZLIB;

  return img_encoder_get_for_thread (compression, level, (gsize) img_qcow2_get_cluster_size (self), error);
}

gboolean
img_qcow2_get_encode_memory (ImgLayout *layout, int level, gsize *memory, ImgError **error)
{
  ImgEncoder *encoder = get_encoder ((ImgQcow2 *) layout, level, error);

  if (encoder != NULL)
    *memory = img_encoder_get_memory (encoder);
  return encoder != NULL;
}

gboolean
img_qcow2_encode (ImgLayout *layout,
                  int level,
                  const guint8 *plain,
                  guint8 *stored,
                  gsize *stored_length,
                  ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  gsize length = (gsize) img_qcow2_get_cluster_size (self);
  ImgEncoder *encoder = get_encoder (self, level, error);

  return encoder != NULL &&
         img_encoder_encode (encoder, plain, length, stored, length - 1, stored_length, error);
}

static ImgTableResult
plan_compressed (ImgQcow2 *self,
                 guint64 offset,
                 guint64 length,
                 gsize stored_length,
                 ImgPlan *plan,
                 ImgError **error)
{
  ImgTableResult result;
  guint64 table, host;
  gboolean is_fresh;

  if (!img_qcow2_begin_write (self, error))
    return IMG_TABLE_ERROR;
  result = img_qcow2_own_table (self, offset, &table, error);
  if (result == IMG_TABLE_OK)
    result = img_qcow2_allocate_bytes (self, stored_length, &host, &is_fresh, error);
  if (result != IMG_TABLE_OK)
    return result;
  *plan = (ImgPlan) {
    .offset = offset,
    .length = length,
    .transfer = IMG_TRANSFER_WRITE,
    .storage = self->parent.storage,
    .host_offset = host,
    .needs_commit = TRUE,
    .first_cluster = host >> self->cluster_bits,
    .n_clusters =
      ((host + stored_length - 1) >> self->cluster_bits) - (host >> self->cluster_bits) + 1,
    .kind = IMG_QCOW2_PLAN_COMPRESSED,
    .entry = img_qcow2_entry_make_compressed (self->cluster_bits, host, stored_length),
  };
  return IMG_TABLE_OK;
}

ImgPrepareResult
img_qcow2_prepare_compressed (ImgLayout *layout,
                              guint64 offset,
                              guint64 length,
                              gsize stored_length,
                              ImgPlan *plan,
                              ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  ImgTableResult result;

  if (!img_qcow2_writer_check (self, error))
    return IMG_PREPARE_ERROR;
  img_qcow2_quarantine_release (self);
  img_turn_take (&self->writer->turn);
  result = plan_compressed (self, offset, length, stored_length, plan, error);
  img_turn_give (&self->writer->turn);
  return img_qcow2_to_prepare (result);
}

/* ---- commit ---- */

static ImgQcow2Entry
make_entry (const ImgQcow2 *self, const ImgPlan *plan, ImgQcow2Entry old, guint nth, guint64 at)
{
  guint64 first = plan->host_offset - img_qcow2_offset_in_cluster (self, plan->offset);
  guint64 end = plan->offset + plan->length;
  ImgQcow2Entry entry = { IMG_QCOW2_FLAG_COPIED };
  guint32 touched;

  if (plan->kind == IMG_QCOW2_PLAN_COMPRESSED)
    return (ImgQcow2Entry) { plan->entry, 0 };
  entry.word |= first + ((guint64) nth << self->cluster_bits);
  if (!self->has_extended_l2)
    return entry;
  touched = touched_subclusters (self, at, end - at);
  if (plan->kind == IMG_QCOW2_PLAN_NEW_WHOLE)
    entry.bitmap = G_MAXUINT32;
  else
    entry.bitmap = (old.bitmap | touched) & ~((guint64) touched << IMG_QCOW2_SUBCLUSTERS);
  return entry;
}

static ImgTableResult
commit_write (ImgQcow2 *self, const ImgPlan *plan, ImgError **error)
{
  ImgQcow2Entry entries[MAX_ENTRIES];
  guint n = img_qcow2_count_in_slice (self, plan->offset, plan->length);

  if (!img_qcow2_read_entries (self, plan->offset, n, entries, error))
    return IMG_TABLE_ERROR;
  for (guint i = 0; i < n; i++)
    {
      guint64 at = i == 0 ? plan->offset
                          : img_align_down (plan->offset, img_qcow2_get_cluster_size (self)) +
                              ((guint64) i << self->cluster_bits);

      entries[i] = make_entry (self, plan, entries[i], i, at);
    }
  return img_qcow2_edit_entries (self, plan->offset, n, entries, error);
}

ImgPrepareResult
img_qcow2_commit (ImgLayout *layout, ImgPlan *plan, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;
  ImgTableResult result;

  if (!img_qcow2_writer_check (self, error))
    return IMG_PREPARE_ERROR;
  img_turn_take (&self->writer->turn);
  if (plan->kind == IMG_QCOW2_PLAN_PUNCH)
    result = img_qcow2_commit_punch (self, plan, error);
  else
    result = commit_write (self, plan, error);
  img_turn_give (&self->writer->turn);
  return img_qcow2_to_prepare (result);
}

/* What was taken was never pointed to; that is forgotten like any other reference. */
void
img_qcow2_abort (ImgLayout *layout, ImgPlan *plan)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  if (plan->n_clusters == 0)
    return;
  img_turn_take (&self->writer->turn);
  img_qcow2_drop_clusters (self, plan->first_cluster, plan->n_clusters);
  img_turn_give (&self->writer->turn);
}
