/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* L1 and L2 tables of the active disk and of all snapshots. L1 tables are read first and leave a list of
 * the L2 tables they name, each with the number of times; then these are read in the order of the file. */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-check-private.h"
#include "img-qcow2-entry.h"

/* Adjacent L2 tables are read together. */
#define MAX_RUN IMG_MIB
/* The list of L2 tables is sorted and merged when it has become as long as this, and then as twice what
 * was left: damaged L1 tables name one L2 table any number of times. */
#define MIN_MERGE 4096

typedef struct
{
  guint64 offset;
  ImgQcow2Times times;
} L2Table;

typedef struct
{
  ImgQcow2Checker *checker;
  GArray *l2_tables; /* of L2Table */
  guint merge_at;
  const ImgQcow2TableEditor *editor; /* NULL: count */
  guint64 l1_weight;
  guint64 l1_walked; /* bytes */

  /* within one L2 table */
  ImgQcow2Times times;
  guint64 copied_times; /* what is wrong with COPIED flags counts that often */
  guint64 next_contiguous;
} Walk;

/* ---- L1 ---- */

static gint
compare_tables (gconstpointer a, gconstpointer b, gpointer user_data)
{
  const L2Table *left = a;
  const L2Table *right = b;

  return (left->offset > right->offset) - (left->offset < right->offset);
}

/* What is sorted in [0, middle) and [middle, n) of @from is sorted in @to. */
static gboolean
join (const L2Table *from, L2Table *to, guint middle, guint n, ImgCancel *cancel, ImgError **error)
{
  guint left = 0, right = middle;

  for (guint i = 0; i < n; i++)
    {
      gboolean takes_left = left < middle && (right == n || from[left].offset <= from[right].offset);

      if (i % IMG_QCOW2_LOOK_INTERVAL == 0 && img_cancel_check (cancel, error))
        return FALSE;
      to[i] = from[takes_left ? left++ : right++];
    }
  return TRUE;
}

/* Pieces, and then larger and larger ones of them, as no piece may take long. */
static gboolean
sort_tables (GArray *tables, ImgCancel *cancel, ImgError **error)
{
  L2Table *from = (gpointer) tables->data;
  g_autoptr (ImgWords) other = NULL;
  L2Table *to;

  for (guint i = 0; i < tables->len; i += MIN (IMG_QCOW2_LOOK_INTERVAL, tables->len - i))
    {
      if (img_cancel_check (cancel, error))
        return FALSE;
      g_qsort_with_data (from + i, (gint) MIN (IMG_QCOW2_LOOK_INTERVAL, tables->len - i), sizeof *from,
                         compare_tables, NULL);
    }
  if (tables->len <= IMG_QCOW2_LOOK_INTERVAL)
    return TRUE;

  other = img_try_alloc (tables->len * sizeof *to, error);
  if (other == NULL)
    return FALSE;
  to = (gpointer) other;
  for (guint64 width = IMG_QCOW2_LOOK_INTERVAL; width < tables->len; width *= 2)
    {
      L2Table *sorted = to;

      for (guint64 i = 0; i < tables->len; i += 2 * width)
        if (!join (from + i, to + i, (guint) MIN (width, tables->len - i),
                   (guint) MIN (2 * width, tables->len - i), cancel, error))
          return FALSE;
      to = from;
      from = sorted;
    }
  if (from != (gpointer) tables->data)
    memcpy (tables->data, from, tables->len * sizeof *from);
  return TRUE;
}

static gboolean
merge_tables (Walk *walk, ImgError **error)
{
  GArray *tables = walk->l2_tables;
  guint n = 0;

  if (!sort_tables (tables, walk->checker->cancel, error))
    return FALSE;
  for (guint i = 0; i < tables->len; i++)
    {
      const L2Table *table = &g_array_index (tables, L2Table, i);
      L2Table *last = n > 0 ? &g_array_index (tables, L2Table, n - 1) : NULL;

      if (last != NULL && last->offset == table->offset)
        {
          last->times.active += table->times.active;
          last->times.all += table->times.all;
        }
      else
        g_array_index (tables, L2Table, n++) = *table;
    }
  g_array_set_size (tables, n);
  walk->merge_at = MAX (MIN_MERGE, 2 * n);
  return TRUE;
}

#define IN_L2 G_MAXUINT64

/* A cluster of the active disk is written in place when its entry is marked as the only reference. @l1_index: of an
 * L2 table, or IN_L2. The texts are those of "qemu-img check". */
static gboolean
check_copied (Walk *walk,
              guint64 entry,
              guint64 times,
              guint64 l1_index,
              ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  guint64 cluster = (entry & IMG_QCOW2_OFFSET_MASK) >> checker->cluster_bits;
  guint64 offset = cluster << checker->cluster_bits;
  gboolean is_known = TRUE;
  guint64 refcount = 1;

  /* The clusters of an external data file have no refcounts. */
  if (times == 0)
    return TRUE;
  if (!img_qcow2_checker_get_refcount (checker, cluster, &is_known, &refcount, error))
    return FALSE;
  if (!is_known || (refcount == 1) == ((entry & IMG_QCOW2_FLAG_COPIED) != 0))
    return TRUE;
  checker->result->wrong_flags += times;
  if (l1_index == IN_L2)
    img_qcow2_checker_corrupt (checker, times, offset,
                               "OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64, entry, refcount);
  else
    img_qcow2_checker_corrupt (checker, times, offset,
                               "OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64
                               " refcount=%" PRIu64, l1_index, entry, refcount);
  return TRUE;
}

static gboolean
visit_l1_entry (Walk *walk, guint64 entry, guint64 at, ImgQcow2Times times, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  L2Table table = { entry & IMG_QCOW2_OFFSET_MASK, times };

  if ((entry & IMG_QCOW2_L1_RESERVED) != 0)
    img_qcow2_checker_corrupt (checker, times.all, table.offset,
                               _("L1 entry 0x%" PRIx64 " has reserved bits set"), entry);
  if (table.offset == 0)
    checker->header_is_table = TRUE;
  if (!img_qcow2_checker_refer (checker, table.offset, checker->cluster_size, times.all, error))
    return FALSE;
  if (!img_is_aligned (table.offset, checker->cluster_size))
    img_qcow2_checker_corrupt (checker, times.all, table.offset,
                               _("L2 table at 0x%" PRIx64 " is not aligned to a cluster"),
                               table.offset);
  /* What lies past the end of the file reads as zero. */
  if (table.offset < checker->file_size)
    {
      g_array_append_val (walk->l2_tables, table);
      if (walk->l2_tables->len >= walk->merge_at && !merge_tables (walk, error))
        return FALSE;
    }
  return table.offset == 0 ||
         check_copied (walk, entry, times.active, (at - checker->header->l1_offset) / sizeof (guint64), error);
}

static gboolean
visit_l1 (gpointer data,
          guint64 offset,
          guint64 *entries,
          gsize n,
          ImgQcow2Times times,
          ImgError **error)
{
  Walk *walk = data;

  if (walk->editor != NULL &&
      !walk->editor->edit_l1 (walk->editor->data, offset, entries, n, times, error))
    return FALSE;
  walk->l1_walked += n * sizeof (guint64);
  img_qcow2_check_meter_move (walk->checker->meter, walk->l1_walked, walk->l1_weight);
  for (gsize i = 0; i < n; i++)
    if (entries[i] != 0 && !visit_l1_entry (walk, GUINT64_FROM_BE (entries[i]), offset + i * sizeof (guint64), times,
                                            error))
      return FALSE;
  return TRUE;
}

static gboolean
add_l1 (Walk *walk,
        ImgQcow2Spans *spans,
        guint64 offset,
        guint64 n_entries,
        gboolean is_active,
        ImgError **error)
{
  if (n_entries == 0)
    return TRUE;
  img_qcow2_spans_add (spans, offset, n_entries, is_active);
  return img_qcow2_checker_refer (walk->checker, offset, n_entries * sizeof (guint64), 1, error);
}

static gboolean
add_snapshot_l1 (Walk *walk,
                 ImgQcow2Spans *spans,
                 const ImgQcow2CheckedSnapshot *snapshot,
                 ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;

  if (!img_is_aligned (snapshot->l1_offset, checker->cluster_size))
    img_qcow2_checker_corrupt (checker, 1, snapshot->l1_offset,
                               _("Snapshot %s (%s): the L1 table at 0x%" PRIx64
                                 " is not aligned to a cluster"),
                               snapshot->id, snapshot->name, snapshot->l1_offset);
  else if (snapshot->l1_entries > IMG_QCOW2_MAX_L1_SIZE / sizeof (guint64))
    img_qcow2_checker_corrupt (checker, 1, snapshot->l1_offset,
                               _("Snapshot %s (%s): the L1 table is too large, %" PRIu64 " entries"),
                               snapshot->id, snapshot->name, snapshot->l1_entries);
  else
    return add_l1 (walk, spans, snapshot->l1_offset, snapshot->l1_entries, FALSE, error);
  return TRUE;
}

static gboolean
walk_l1_tables (Walk *walk, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  const ImgQcow2Header *header = checker->header;
  g_autoptr (ImgQcow2Spans) spans = img_qcow2_spans_new ();

  if (!add_l1 (walk, spans, header->l1_offset, header->l1_entries, TRUE, error))
    return FALSE;
  for (guint i = 0; i < checker->snapshots->len; i++)
    if (!add_snapshot_l1 (walk, spans,
                          &g_array_index (checker->snapshots, ImgQcow2CheckedSnapshot, i), error))
      return FALSE;
  return img_qcow2_spans_walk (spans, checker->storage, checker->file_size, visit_l1, walk,
                               checker->cancel, error);
}

/* ---- L2 ---- */

static void
count_fragments (Walk *walk, guint64 offset, guint64 n)
{
  ImgCheckResult *result = walk->checker->result;

  result->allocated_clusters += n * walk->times.active;
  if (walk->next_contiguous != 0 && offset != walk->next_contiguous)
    result->fragmented_clusters += walk->times.active;
  walk->next_contiguous = offset + (n << walk->checker->cluster_bits);
}

static gboolean
visit_compressed (Walk *walk, guint64 entry, guint64 bitmap, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  guint count_shift = 62 - (checker->cluster_bits - 8);
  guint64 offset = entry & (((guint64) 1 << count_shift) - 1);
  guint64 n_sectors = ((entry & (IMG_QCOW2_FLAG_COMPRESSED - 1)) >> count_shift) + 1;

  if ((entry & IMG_QCOW2_FLAG_COPIED) != 0)
    img_qcow2_checker_corrupt (checker, walk->times.all, offset,
                               _("A compressed cluster has the COPIED flag: entry 0x%" PRIx64),
                               entry);
  if (checker->has_data_file)
    img_qcow2_checker_corrupt (checker, walk->times.all, offset,
                               _("A compressed cluster in an image with an external data file: "
                                 "entry 0x%" PRIx64), entry);
  else if (bitmap != 0)
    img_qcow2_checker_corrupt (checker, walk->times.all, offset,
                               _("A compressed cluster has a subcluster bitmap: entry 0x%" PRIx64),
                               entry);
  else
    {
      checker->result->allocated_clusters += walk->times.active;
      checker->result->compressed_clusters += walk->times.active;
      checker->result->fragmented_clusters += walk->times.active;
      return img_qcow2_checker_refer (checker, offset & ~(guint64) 511,
                                      n_sectors * 512 - (offset & 511), walk->times.all, error);
    }
  return TRUE;
}

static gboolean
holds_data (const ImgQcow2Checker *checker, guint64 entry, guint64 bitmap)
{
  return checker->has_extended_l2 ? (bitmap & G_MAXUINT32) != 0 : (entry & IMG_QCOW2_FLAG_ZERO) == 0;
}

static gboolean
refer_cluster (Walk *walk, guint64 entry, guint64 bitmap, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  guint64 offset = entry & IMG_QCOW2_OFFSET_MASK;

  count_fragments (walk, offset, 1);
  if (((bitmap >> 32) & bitmap) != 0)
    img_qcow2_checker_corrupt (checker, walk->times.all, offset,
                               _("A subcluster is both allocated and zero: entry 0x%" PRIx64), entry);
  if (!img_is_aligned (offset, checker->cluster_size))
    img_qcow2_checker_corrupt (checker, walk->times.all, offset,
                               holds_data (checker, entry, bitmap)
                                 ? _("Data cluster at 0x%" PRIx64 " is not aligned")
                                 : _("Preallocated cluster at 0x%" PRIx64 " is not aligned"),
                               offset);
  return checker->has_data_file ||
         img_qcow2_checker_refer (checker, offset, checker->cluster_size, walk->times.all, error);
}

static gboolean
visit_cluster (Walk *walk, guint64 entry, guint64 bitmap, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  guint64 offset = entry & IMG_QCOW2_OFFSET_MASK;

  if (!refer_cluster (walk, entry, bitmap, error))
    return FALSE;
  if (!checker->has_data_file)
    return check_copied (walk, entry, walk->copied_times, IN_L2, error);
  if ((entry & IMG_QCOW2_FLAG_COPIED) == 0 && walk->copied_times > 0)
    img_qcow2_checker_corrupt (checker, walk->copied_times, offset,
                               "OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64, entry,
                               (guint64) 1); /* in the external data file */
  return TRUE;
}

static gboolean
has_cluster (const ImgQcow2Checker *checker, guint64 entry)
{
  if ((entry & IMG_QCOW2_OFFSET_MASK) != 0)
    return TRUE;
  return checker->has_data_file && (entry & IMG_QCOW2_FLAG_COPIED) != 0 &&
         (checker->has_extended_l2 || (entry & IMG_QCOW2_FLAG_ZERO) == 0);
}

static gboolean
visit_l2_entry (Walk *walk, guint64 entry, guint64 bitmap, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;

  if ((entry & IMG_QCOW2_FLAG_COMPRESSED) != 0)
    return visit_compressed (walk, entry, bitmap, error);
  if ((entry & IMG_QCOW2_L2_RESERVED) != 0)
    img_qcow2_checker_corrupt (checker, walk->times.all, entry & IMG_QCOW2_OFFSET_MASK,
                               _("L2 entry 0x%" PRIx64 " has reserved bits set"), entry);
  if (has_cluster (checker, entry))
    return visit_cluster (walk, entry, bitmap, error);
  if ((bitmap & G_MAXUINT32) != 0)
    img_qcow2_checker_corrupt (checker, walk->times.all, 0,
                               _("An unallocated cluster has allocated subclusters: entry 0x%" PRIx64),
                               entry);
  return TRUE;
}

/* How many entries from the first on are healthy data clusters that lie in the file one after the other;
 * large disks are made of little else. 0: look at the first one closely. */
static gsize
count_run (const Walk *walk, const guint64 *entries, gsize n)
{
  const ImgQcow2Checker *checker = walk->checker;
  guint64 entry = GUINT64_FROM_BE (entries[0]);
  guint64 cluster = (entry & IMG_QCOW2_OFFSET_MASK) >> checker->cluster_bits;
  gsize run = 1;

  if ((entry & ~IMG_QCOW2_OFFSET_MASK) != IMG_QCOW2_FLAG_COPIED || cluster == 0 ||
      !img_is_aligned (entry & IMG_QCOW2_OFFSET_MASK, checker->cluster_size))
    return 0;
  if (cluster >= checker->n_file_clusters)
    return 0;
  n = MIN (n, checker->n_file_clusters - cluster);
  while (run < n && entries[run] == GUINT64_TO_BE (entry + ((guint64) run << checker->cluster_bits)))
    run++;
  return img_qcow2_counts_are_one (&checker->refcounts, cluster, run) ? run : 0;
}

static gboolean
take_run (Walk *walk, guint64 entry, gsize n, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  guint64 offset = entry & IMG_QCOW2_OFFSET_MASK;

  count_fragments (walk, offset, n);
  return img_qcow2_checker_refer (checker, offset, (guint64) n << checker->cluster_bits,
                                  walk->times.all, error);
}

static gboolean
visit_standard (Walk *walk, const guint64 *entries, gsize n, ImgError **error)
{
  const ImgQcow2Checker *checker = walk->checker;
  gboolean has_runs = !checker->has_data_file && !checker->has_unreadable;
  gsize i = 0;

  while (i < n)
    {
      gsize run = 0;

      if (entries[i] == 0)
        {
          i++;
          continue;
        }
      if (has_runs)
        run = count_run (walk, entries + i, n - i);
      if (run > 0 ? !take_run (walk, GUINT64_FROM_BE (entries[i]), run, error)
                  : !visit_l2_entry (walk, GUINT64_FROM_BE (entries[i]), 0, error))
        return FALSE;
      i += MAX (run, 1);
    }
  return TRUE;
}

static gboolean
visit_extended (Walk *walk, const guint64 *entries, gsize n, ImgError **error)
{
  for (gsize i = 0; i + 1 < n; i += 2)
    if ((entries[i] | entries[i + 1]) != 0 &&
        !visit_l2_entry (walk, GUINT64_FROM_BE (entries[i]), GUINT64_FROM_BE (entries[i + 1]), error))
      return FALSE;
  return TRUE;
}

static gboolean
visit_l2 (Walk *walk, const L2Table *table, guint64 *entries, ImgError **error)
{
  gsize n = (gsize) walk->checker->cluster_size / sizeof (guint64);

  if (walk->editor != NULL)
    return walk->editor->edit_l2 (walk->editor->data, table->offset, entries, n, table->times, error);
  walk->times = table->times;
  /* No cluster is written by way of a table where the header is. */
  walk->copied_times = table->offset != 0 ? table->times.active : 0;
  walk->next_contiguous = 0;
  return walk->checker->has_extended_l2 ? visit_extended (walk, entries, n, error)
                                        : visit_standard (walk, entries, n, error);
}

/* Tables from @first on that can be read at once. */
static guint
count_adjacent (const Walk *walk, guint first, gsize buffer_size)
{
  guint64 cluster_size = walk->checker->cluster_size;
  const L2Table *tables = &g_array_index (walk->l2_tables, L2Table, first);
  guint max = (guint) MIN (buffer_size / cluster_size, walk->l2_tables->len - first);
  guint n = 1;

  while (n < max && tables[n].offset == tables[0].offset + n * cluster_size)
    n++;
  return n;
}

static gboolean
walk_l2_tables (Walk *walk, ImgError **error)
{
  ImgQcow2Checker *checker = walk->checker;
  gsize cluster_size = (gsize) checker->cluster_size;
  g_autoptr (ImgWords) words = NULL;
  gsize buffer_size;
  guint n;

  if (!merge_tables (walk, error))
    return FALSE;
  buffer_size = MAX ((gsize) MIN (walk->l2_tables->len * checker->cluster_size, MAX_RUN), cluster_size);
  words = img_try_alloc (buffer_size, error);
  if (words == NULL)
    return FALSE;
  for (guint i = 0; i < walk->l2_tables->len; i += n)
    {
      const L2Table *tables = &g_array_index (walk->l2_tables, L2Table, i);

      n = count_adjacent (walk, i, buffer_size);
      if (!img_qcow2_checker_look (checker, i, walk->l2_tables->len, error) ||
          !img_storage_read (checker->storage, tables[0].offset, words, n * cluster_size, error))
        return FALSE;
      for (guint j = 0; j < n; j++)
        if (!visit_l2 (walk, &tables[j], words + j * cluster_size / sizeof (guint64), error))
          return FALSE;
    }
  return TRUE;
}

static gboolean
walk_all (ImgQcow2Checker *checker,
          const ImgQcow2CheckWeights *weights,
          const ImgQcow2TableEditor *editor,
          ImgError **error)
{
  Walk walk = { checker, g_array_new (FALSE, FALSE, sizeof (L2Table)), MIN_MERGE, editor, weights->l1 };
  gboolean success;

  img_qcow2_check_meter_stage (checker->meter, weights->l1);
  success = walk_l1_tables (&walk, error);
  img_qcow2_check_meter_stage (checker->meter, weights->l2);
  success = success && walk_l2_tables (&walk, error);

  g_array_unref (walk.l2_tables);
  return success;
}

gboolean
img_qcow2_checker_walk_tables (ImgQcow2Checker *self,
                               const ImgQcow2CheckWeights *weights,
                               ImgError **error)
{
  return walk_all (self, weights, NULL, error);
}

gboolean
img_qcow2_checker_edit_tables (ImgQcow2Checker *self,
                               const ImgQcow2TableEditor *editor,
                               ImgError **error)
{
  ImgQcow2CheckWeights weights;
  gboolean success;

  img_qcow2_checker_weigh (self, &weights);
  img_qcow2_check_meter_pass (self->meter, weights.l1 + weights.l2);
  self->is_editing = TRUE;
  success = walk_all (self, &weights, editor, error);
  self->is_editing = FALSE;
  return success;
}
