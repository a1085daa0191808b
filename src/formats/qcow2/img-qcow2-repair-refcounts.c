/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Refcounts that are changed where they are: block by block, as a block is in one piece. */

#include "config.h"

#include <inttypes.h>

#include "img-alloc.h"
#include "img-qcow2-repair-private.h"

void
img_qcow2_refcount_write (guint8 *block, guint64 index, guint order, guint64 value)
{
  guint bits = 1u << order;

  if (order < 3)
    {
      guint shift = (guint) (index * bits % 8);
      guint8 *byte = &block[index * bits / 8];

      *byte = (guint8) ((*byte & ~(((1u << bits) - 1) << shift)) | ((guint) value << shift));
      return;
    }
  for (guint i = 0; i < bits / 8; i++)
    block[index * (bits / 8) + i] = (guint8) (value >> (bits - 8 * (i + 1)));
}

typedef struct
{
  ImgQcow2Checker *checker;
  gboolean raises;
  const ImgQcow2StuckFlags *stuck;
  guint8 *block;
  gboolean is_changed;
} Change;

static guint64
count_contradicting (const Change *self, guint64 cluster, guint64 refcount)
{
  const ImgQcow2Counts *flags = refcount == 1 ? &self->stuck->unset : &self->stuck->set;

  return flags->words != NULL ? img_qcow2_counts_get (flags, cluster) : 0;
}

/* A refcount that is too low is a corruption itself, one that is too high is none. */
static gboolean
makes_it_worse (const Change *self, guint64 cluster, guint64 old, guint64 new)
{
  return count_contradicting (self, cluster, new) >
         count_contradicting (self, cluster, old) + (self->raises ? 1 : 0);
}

static gboolean
change_one (Change *self, guint64 cluster, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  guint64 refcount = img_qcow2_counts_get (&checker->refcounts, cluster);
  guint64 references = img_qcow2_counts_get (&checker->references, cluster);
  guint64 in_block = cluster & (((guint64) 1 << checker->block_bits) - 1);

  references = MIN (references, checker->max_refcount);
  if (self->raises ? refcount >= references : refcount <= references)
    return TRUE;
  if (makes_it_worse (self, cluster, refcount, references) ||
      (!self->raises && cluster >= checker->uncounted))
    return TRUE;
  img_check_result_say (checker->result, IMG_CHECK_REPAIRED, cluster << checker->cluster_bits,
                        "Repairing cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                        cluster, refcount, references);
  self->is_changed = TRUE;
  img_qcow2_refcount_write (self->block, in_block, checker->header->refcount_order, references);
  return img_qcow2_counts_set (&checker->refcounts, cluster, references, error);
}

/* The block that counts for @cluster, the first one in it that differs; @end: the cluster behind its last. */
static gboolean
change_block (Change *self, guint64 cluster, guint64 end, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  gsize size = (gsize) checker->cluster_size;
  guint64 offset = checker->refcount_table[cluster >> checker->block_bits];

  self->is_changed = FALSE;
  if (!img_storage_read (checker->storage, offset, self->block, size, error))
    return FALSE;
  for (guint64 n = 1; cluster < end; n++)
    {
      if (n % IMG_QCOW2_LOOK_INTERVAL == 0 && img_cancel_check (checker->cancel, error))
        return FALSE;
      if (!change_one (self, cluster, error))
        return FALSE;
      cluster = img_qcow2_counts_find_difference (&checker->references, &checker->refcounts,
                                                  cluster + 1, end);
    }
  return !self->is_changed ||
         img_storage_write (checker->storage, offset, self->block, size, error);
}

static gboolean
change_all (Change *self, ImgError **error)
{
  ImgQcow2Checker *checker = self->checker;
  ImgQcow2CheckWeights weights;
  guint64 cluster = 0;

  img_qcow2_checker_weigh (checker, &weights);
  img_qcow2_check_meter_pass (checker->meter, weights.counts);
  img_qcow2_check_meter_stage (checker->meter, weights.counts);
  while (img_qcow2_checker_look (checker, cluster, checker->n_clusters, error))
    {
      guint64 end = MIN (cluster + IMG_QCOW2_LOOK_INTERVAL, checker->n_clusters);

      cluster = img_qcow2_counts_find_difference (&checker->references, &checker->refcounts, cluster,
                                                  end);
      if (cluster >= checker->n_clusters)
        return TRUE;
      if (cluster == end)
        continue;
      end = MIN (((cluster >> checker->block_bits) + 1) << checker->block_bits, checker->n_clusters);
      if (!change_block (self, cluster, end, error))
        return FALSE;
      cluster = end;
    }
  return FALSE;
}

static gboolean
change (ImgQcow2Checker *checker,
        gboolean raises,
        const ImgQcow2StuckFlags *stuck,
        ImgError **error)
{
  g_autoptr (ImgBuffer) block = img_try_alloc ((gsize) checker->cluster_size, error);
  Change self = { checker, raises, stuck, block, FALSE };

  return block != NULL && change_all (&self, error);
}

gboolean
img_qcow2_repair_raise (ImgQcow2Checker *checker, const ImgQcow2StuckFlags *stuck, ImgError **error)
{
  return change (checker, TRUE, stuck, error);
}

gboolean
img_qcow2_repair_lower (ImgQcow2Checker *checker, const ImgQcow2StuckFlags *stuck, ImgError **error)
{
  return change (checker, FALSE, stuck, error);
}
