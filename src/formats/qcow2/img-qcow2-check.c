/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-check-private.h"
#include "img-qcow2-check.h"

/* As QEMU's; a sparse file of that many clusters would need a lot of memory to be checked. */
#define MAX_CLUSTERS G_MAXINT32

void
img_qcow2_checker_corrupt (ImgQcow2Checker *self,
                           guint64 times,
                           guint64 host_offset,
                           const char *format,
                           ...)
{
  g_autofree char *text = NULL;
  va_list args;

  if (self->is_editing)
    return;
  self->result->corruptions += times;
  if (!img_check_result_keeps (self->result))
    {
      self->result->n_messages++;
      return;
    }
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  img_check_result_say (self->result, IMG_CHECK_CORRUPTION, host_offset, "%s", text);
}

/* References to the clusters behind the file, as far as somebody wants to know. */
static gboolean
note_past_end (ImgQcow2Checker *self, guint64 offset, guint64 length, ImgError **error)
{
  guint64 first = offset >> self->cluster_bits;
  guint64 end = ((offset + length - 1) >> self->cluster_bits) + 1;

  if (self->past_end == NULL)
    return TRUE;
  first = MAX (first, self->n_file_clusters) - self->n_file_clusters;
  end = MIN (MAX (end, self->n_file_clusters) - self->n_file_clusters, self->past_end->n);
  for (guint64 i = first; i < end; i++)
    if (!img_qcow2_counts_set (self->past_end, i, 1, error))
      return FALSE;
  return TRUE;
}

/* The last cluster may lie in the file with its first bytes only, so that less than a cluster past the end
 * is as good as in the file. */
gboolean
img_qcow2_checker_refer (ImgQcow2Checker *self,
                         guint64 offset,
                         guint64 length,
                         guint64 times,
                         ImgError **error)
{
  guint64 first = offset >> self->cluster_bits;
  guint64 excess = 0;
  guint64 end;

  if (length == 0 || times == 0 || self->is_editing)
    return TRUE;
  if (!img_range_fits (offset, length, self->file_size + self->cluster_size - 1))
    {
      img_qcow2_checker_corrupt (self, times, offset,
                                 _("Reference past the end of the file: offset 0x%" PRIx64
                                   ", %" PRIu64 " bytes"),
                                 offset, length);
      self->uncounted = MIN (self->uncounted, first);
      return note_past_end (self, offset, length, error);
    }
  end = ((offset + length - 1) >> self->cluster_bits) + 1;
  if (end > self->n_clusters)
    {
      if (!img_qcow2_counts_grow (&self->references, end, error))
        return FALSE;
      self->n_clusters = end;
    }
  if (!img_qcow2_counts_add (&self->references, first, end - first, times, self->count_limit, &excess,
                             error))
    return FALSE;
  if (G_UNLIKELY (excess > 0))
    {
      self->result->low_refcounts += excess;
      img_qcow2_checker_corrupt (self, excess, offset,
                                 _("More references than a refcount of this image can hold: offset "
                                   "0x%" PRIx64), offset);
    }
  return TRUE;
}

gboolean
img_qcow2_checker_init (ImgQcow2Checker *self,
                        ImgStorage *storage,
                        const ImgQcow2Header *header,
                        guint64 file_size,
                        ImgCheckResult *result,
                        ImgQcow2CheckMeter *meter,
                        ImgCancel *cancel,
                        ImgError **error)
{
  *self = (ImgQcow2Checker) { storage, header, cancel, result, meter };
  self->cluster_bits = header->cluster_bits;
  self->cluster_size = img_qcow2_header_get_cluster_size (header);
  self->file_size = file_size;
  self->n_file_clusters = img_div_round_up (file_size, self->cluster_size);
  self->n_clusters = self->n_file_clusters;
  self->uncounted = G_MAXUINT64;
  self->has_data_file = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_DATA_FILE);
  self->has_extended_l2 = img_qcow2_header_has (header, IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2);
  self->max_refcount = G_MAXUINT64 >> (64 - (1u << header->refcount_order));
  self->count_limit = self->max_refcount;
  self->block_bits = self->cluster_bits + 3 - header->refcount_order;
  self->snapshots = g_array_new (FALSE, TRUE, sizeof (ImgQcow2CheckedSnapshot));
  if (self->n_file_clusters > MAX_CLUSTERS)
    {
      img_error_set (error, IMG_CODE_LIMIT_EXCEEDED, _("The file has too many clusters: %" PRIu64),
                     self->n_file_clusters);
      return FALSE;
    }
  return img_qcow2_counts_init (&self->references, self->n_clusters, self->cancel, error) &&
         img_qcow2_counts_init (&self->refcounts, self->n_file_clusters + 1, self->cancel, error);
}

void
img_qcow2_checker_clear (ImgQcow2Checker *self)
{
  img_qcow2_counts_clear (&self->references);
  img_qcow2_counts_clear (&self->refcounts);
  img_free (self->refcount_table);
  img_free (self->far_block);
  for (guint i = 0; i < self->snapshots->len; i++)
    {
      g_free (g_array_index (self->snapshots, ImgQcow2CheckedSnapshot, i).id);
      g_free (g_array_index (self->snapshots, ImgQcow2CheckedSnapshot, i).name);
    }
  g_array_unref (self->snapshots);
}

static gboolean
refer_header (ImgQcow2Checker *self, ImgError **error)
{
  const ImgQcow2Header *header = self->header;

  return img_qcow2_checker_refer (self, 0, self->cluster_size, 1, error) &&
         (!header->has_encryption_header ||
          img_qcow2_checker_refer (self, header->encryption_header_offset,
                                   header->encryption_header_length, 1, error));
}

gboolean
img_qcow2_checker_look (ImgQcow2Checker *self, guint64 part, guint64 whole, ImgError **error)
{
  img_qcow2_check_meter_move (self->meter, part, whole);
  return !img_cancel_check (self->cancel, error);
}

void
img_qcow2_checker_weigh (const ImgQcow2Checker *self, ImgQcow2CheckWeights *weights)
{
  const ImgQcow2Header *header = self->header;
  guint64 n_blocks = img_div_round_up (self->n_file_clusters, (guint64) 1 << self->block_bits);
  guint64 table_size = (guint64) header->refcount_table_clusters << self->cluster_bits;
  guint64 n_entries = header->l1_entries;

  for (guint i = 0; i < self->snapshots->len; i++)
    n_entries += g_array_index (self->snapshots, ImgQcow2CheckedSnapshot, i).l1_entries;
  *weights = (ImgQcow2CheckWeights) {
    .refcounts = table_size + (MIN (n_blocks, table_size / sizeof (guint64)) << self->cluster_bits),
    .l1 = n_entries * sizeof (guint64),
    .l2 = MIN (n_entries, self->n_file_clusters) << self->cluster_bits,
    .bitmaps = header->bitmap_directory_size,
    .counts = self->n_file_clusters / 4 + 1, /* two bits of each, at least */
  };
}

static gboolean
run_stages (ImgQcow2Checker *self, ImgError **error)
{
  ImgQcow2CheckWeights weights;

  img_qcow2_checker_weigh (self, &weights);
  img_qcow2_check_meter_plan (self->meter, &weights);
  img_qcow2_check_meter_pass (self->meter, weights.refcounts + weights.l1 + weights.l2 +
                                             weights.bitmaps + weights.counts);
  img_qcow2_check_meter_stage (self->meter, weights.refcounts);
  if (!img_qcow2_checker_load_refcounts (self, error) || !refer_header (self, error) ||
      !img_qcow2_checker_walk_tables (self, &weights, error))
    return FALSE;
  img_qcow2_check_meter_stage (self->meter, weights.bitmaps);
  if (!img_qcow2_checker_refer_snapshots (self, error) ||
      !img_qcow2_checker_walk_bitmaps (self, error) ||
      !img_qcow2_checker_refer_refcounts (self, error))
    return FALSE;
  img_qcow2_check_meter_stage (self->meter, weights.counts);
  return img_qcow2_checker_compare (self, error);
}

gboolean
img_qcow2_checker_run (ImgQcow2Checker *self, ImgError **error)
{
  self->result->total_clusters = img_div_round_up (self->header->size, self->cluster_size);
  return img_qcow2_checker_load_snapshots (self, error) && run_stages (self, error);
}

gboolean
img_qcow2_checker_accepts (const ImgQcow2Header *header, ImgRepair repair, ImgError **error)
{
  for (guint i = 0; i < header->problems->len; i++)
    {
      const ImgError *problem = g_ptr_array_index (header->problems, i);

      if (g_ptr_array_find (header->repairable, problem, NULL) ||
          (repair == IMG_REPAIR_ALL && problem == header->overhang))
        continue;
      img_error_propagate (error, img_error_copy (problem));
      return FALSE;
    }
  return TRUE;
}

gboolean
img_qcow2_check_for (ImgStorage *storage,
                     ImgRepair repair,
                     ImgCheckResult *result,
                     ImgQcow2CheckMeter *meter,
                     ImgCancel *cancel,
                     ImgError **error)
{
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (storage, cancel, error);
  ImgQcow2Checker checker;
  gboolean success;

  if (header == NULL || !img_qcow2_checker_accepts (header, repair, error))
    return FALSE;
  success = img_qcow2_checker_init (&checker, storage, header, header->file_size, result, meter,
                                    cancel, error);
  checker.cuts_snapshots = repair == IMG_REPAIR_ALL;
  success = success && img_qcow2_checker_run (&checker, error);
  img_qcow2_checker_clear (&checker);
  return success;
}

gboolean
img_qcow2_check (ImgStorage *storage,
                 ImgCheckResult *result,
                 ImgProgress *progress,
                 ImgCancel *cancel,
                 ImgError **error)
{
  ImgQcow2CheckMeter meter = { progress, .n_checks = 1 };

  img_progress_set_phase (progress, IMG_PHASE_CHECK);
  if (!img_qcow2_check_for (storage, IMG_REPAIR_NONE, result, &meter, cancel, error))
    return FALSE;
  img_qcow2_check_meter_finish (&meter);
  return TRUE;
}
