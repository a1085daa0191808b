/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where clusters wait between their last reference and their next use: see img-qcow2-writer.h.
 *
 * References that are dropped between two fences make a batch. A batch goes through these states:
 *
 *   sealed    at the fence, with the epoch's stamp: whoever may still see its clusters entered before
 *   ready     P2 of that fence is durable
 *   counted   (when the stamp has passed) the refcounts are looked up: which clusters become free
 *   punched   without the turn, as nobody else knows of these clusters
 *   released  refcounts are lowered; of what is 0 the decoded content is forgotten, and it may be taken
 *
 * The last step may find the cache full; then the rest of the batch stays, punched, for the next time.
 */

#include "config.h"

#include "img-mutant.h"
#include "img-qcow2-writer.h"

/* A file may be longer than it need be by that many clusters, or by that part of it. */
#define LARGE_CLUSTERS 64
#define LARGE_PART 16

/* What may wait in memory: 8 MiB of numbers. */
#define MAX_CLUSTERS (1u << 20)

struct _ImgQcow2Batch
{
  GArray *dropped; /* of guint64, sorted once counted */
  gint stamp;
  gboolean is_ready;
  gboolean is_punched;
  guint n_released; /* from the front */
  GList link;
};

/* With the turn. */
static void
set_free (ImgQcow2 *self, guint64 cluster)
{
  if (self->parent.host_freed != NULL)
    self->parent.host_freed (self->parent.host_freed_data, cluster << self->cluster_bits,
                             img_qcow2_get_cluster_size (self));
  self->writer->next_free = MIN (self->writer->next_free, cluster);
}

/* The rules of this file broken, for the tests that must notice. TRUE: the reference is dropped already. */
static gboolean
drops_early (ImgQcow2 *self, guint64 cluster)
{
  guint64 refcount;

  if (img_mutant_is_on (IMG_MUTANT_PUNCH_BEFORE_DURABLE) &&
      img_qcow2_refcount_get (self, cluster, &refcount, NULL) == IMG_TABLE_OK && refcount == 1)
    img_storage_discard (self->parent.storage, cluster << self->cluster_bits,
                         img_qcow2_get_cluster_size (self), NULL);
  if (!img_mutant_is_on (IMG_MUTANT_DECREMENT_BEFORE_DURABLE) &&
      !img_mutant_is_on (IMG_MUTANT_REUSE_BEFORE_DURABLE))
    return FALSE;
  if (img_qcow2_refcount_drop (self, cluster, 1, &refcount, NULL) != IMG_TABLE_OK)
    return FALSE;
  if (img_mutant_is_on (IMG_MUTANT_REUSE_BEFORE_DURABLE) && refcount == 0)
    set_free (self, cluster);
  return TRUE;
}

void
img_qcow2_drop_clusters (ImgQcow2 *self, guint64 first, guint64 count)
{
  ImgQcow2Writer *writer = self->writer;
  guint64 packed = writer->packing >> self->cluster_bits;

  g_assert (img_turn_is_mine (&writer->turn));
  for (guint64 i = 0; i < count; i++)
    {
      guint64 cluster = first + i;

      if (drops_early (self, cluster))
        continue;
      g_array_append_val (writer->dropped, cluster);
      writer->n_dropped++;
    }
  /* Nothing is packed behind something that may be freed. */
  if (writer->packing != 0 && packed >= first && packed < first + count)
    writer->packing = 0;
}

void
img_qcow2_drop_entry (ImgQcow2 *self, ImgQcow2Entry entry)
{
  guint64 host, length;

  if (img_qcow2_entry_is (entry, IMG_QCOW2_FLAG_COMPRESSED))
    {
      img_qcow2_entry_get_stored (self, entry, &host, &length);
      img_qcow2_drop_clusters (self, host >> self->cluster_bits,
                               ((host + length - 1) >> self->cluster_bits) -
                                 (host >> self->cluster_bits) + 1);
      return;
    }
  host = img_qcow2_entry_get_host (entry);
  if (host != 0 && !self->has_data_file)
    img_qcow2_drop_clusters (self, host >> self->cluster_bits, 1);
}

/* Only once before something is released: the request that is told so may itself be what keeps it. */
static gboolean
has_reached (ImgQcow2Writer *writer, guint64 limit)
{
  if (writer->asked_for_flush || writer->n_dropped < limit)
    return FALSE;
  writer->asked_for_flush = TRUE;
  return TRUE;
}

gboolean
img_qcow2_quarantine_is_large (ImgQcow2 *self)
{
  return has_reached (self->writer, MAX (LARGE_CLUSTERS, self->writer->end / LARGE_PART));
}

gboolean
img_qcow2_quarantine_is_full (ImgQcow2 *self)
{
  return has_reached (self->writer, MAX_CLUSTERS);
}

/* ---- batches ---- */

ImgQcow2Batch *
img_qcow2_quarantine_seal (ImgQcow2 *self)
{
  ImgQcow2Writer *writer = self->writer;
  ImgQcow2Batch *batch;

  if (writer->dropped->len == 0)
    return NULL;
  batch = g_new0 (ImgQcow2Batch, 1);
  batch->dropped = writer->dropped;
  batch->stamp = img_epoch_get_stamp (self->parent.epoch);
  batch->link.data = batch;
  g_queue_push_tail_link (&writer->batches, &batch->link);
  writer->dropped = g_array_new (FALSE, FALSE, sizeof (guint64));
  return batch;
}

void
img_qcow2_quarantine_ready (ImgQcow2 *self, ImgQcow2Batch *batch)
{
  if (batch == NULL)
    return;
  batch->is_ready = TRUE;
  g_atomic_int_inc (&self->writer->n_ready);
}

static void
batch_free (ImgQcow2Batch *batch)
{
  g_array_unref (batch->dropped);
  g_free (batch);
}

/* ---- releasing ---- */

/* With the turn: the next batch that may be released, off the queue. */
static ImgQcow2Batch *
take_batch (ImgQcow2 *self)
{
  ImgQcow2Writer *writer = self->writer;
  ImgQcow2Batch *batch = g_queue_peek_head (&writer->batches);

  if (batch == NULL || !batch->is_ready)
    return NULL;
  if (!img_mutant_is_on (IMG_MUTANT_REUSE_BEFORE_EPOCH) &&
      !img_epoch_has_passed (self->parent.epoch, batch->stamp))
    return NULL;
  g_queue_unlink (&writer->batches, &batch->link);
  g_atomic_int_add (&writer->n_ready, -1);
  return batch;
}

static void
put_back (ImgQcow2 *self, ImgQcow2Batch *batch)
{
  g_queue_push_head_link (&self->writer->batches, &batch->link);
  g_atomic_int_inc (&self->writer->n_ready);
}

static gint
compare_dropped (gconstpointer a, gconstpointer b)
{
  guint64 left = *(const guint64 *) a;
  guint64 right = *(const guint64 *) b;

  return left < right ? -1 : left > right;
}

static guint64
get_dropped (const ImgQcow2Batch *batch, guint index)
{
  return g_array_index (batch->dropped, guint64, index);
}

/* How many references to the cluster at @start of a sorted batch were dropped. */
static guint
count_same (const ImgQcow2Batch *batch, guint start)
{
  guint i = start + 1;

  while (i < batch->dropped->len && get_dropped (batch, i) == get_dropped (batch, start))
    i++;
  return i - start;
}

typedef struct
{
  guint64 first;
  guint64 count;
} Run;

/* With the turn: adds to @runs what will be free. The refcounts cannot change before they are lowered, but
 * upwards: a cluster that compressed ones are packed into is no candidate, see img_qcow2_drop_clusters (). */
static ImgTableResult
count_free (ImgQcow2 *self, const ImgQcow2Batch *batch, GArray *runs, ImgError **error)
{
  for (guint i = 0, n; i < batch->dropped->len; i += n)
    {
      Run *last = runs->len > 0 ? &g_array_index (runs, Run, runs->len - 1) : NULL;
      Run run = { get_dropped (batch, i), 1 };
      ImgTableResult result;
      guint64 refcount;

      n = count_same (batch, i);
      result = img_qcow2_refcount_get (self, run.first, &refcount, error);
      if (result != IMG_TABLE_OK)
        return result;
      if (refcount != n)
        continue;
      if (last != NULL && last->first + last->count == run.first)
        last->count++;
      else
        g_array_append_val (runs, run);
    }
  return IMG_TABLE_OK;
}

/* Without the turn. That space cannot be given back is no reason to fail. */
static void
punch (ImgQcow2 *self, const GArray *runs)
{
  for (guint i = 0; i < runs->len; i++)
    {
      const Run *run = &g_array_index (runs, Run, i);
      ImgError *error = NULL;

      if (!img_storage_discard (self->parent.storage, run->first << self->cluster_bits,
                                run->count << self->cluster_bits, &error))
        img_error_free (error);
    }
}

/* With the turn. */
static ImgTableResult
lower (ImgQcow2 *self, ImgQcow2Batch *batch, ImgError **error)
{
  ImgQcow2Writer *writer = self->writer;

  while (batch->n_released < batch->dropped->len)
    {
      guint64 cluster = get_dropped (batch, batch->n_released);
      guint n = count_same (batch, batch->n_released);
      guint64 refcount;
      ImgTableResult result = img_qcow2_refcount_drop (self, cluster, n, &refcount, error);

      if (result != IMG_TABLE_OK)
        return result;
      batch->n_released += n;
      writer->n_dropped -= n;
      writer->asked_for_flush = FALSE;
      if (refcount == 0)
        set_free (self, cluster);
    }
  return IMG_TABLE_OK;
}

/* Takes the turn for each step. FULL or ERROR: the rest of the batch waits on. */
static ImgTableResult
release_batch (ImgQcow2 *self, ImgQcow2Batch *batch, ImgError **error)
{
  g_autoptr (GArray) runs = g_array_new (FALSE, FALSE, sizeof (Run));
  ImgQcow2Writer *writer = self->writer;
  ImgTableResult result = IMG_TABLE_OK;

  if (!batch->is_punched)
    {
      g_array_sort (batch->dropped, compare_dropped);
      img_turn_take (&writer->turn);
      result = count_free (self, batch, runs, error);
      img_turn_give (&writer->turn);
    }
  if (result == IMG_TABLE_OK)
    {
      punch (self, runs);
      batch->is_punched = TRUE;
    }
  img_turn_take (&writer->turn);
  if (result == IMG_TABLE_OK)
    result = lower (self, batch, error);
  if (result != IMG_TABLE_OK)
    put_back (self, batch);
  img_turn_give (&writer->turn);
  return result;
}

void
img_qcow2_quarantine_release (ImgQcow2 *self)
{
  ImgQcow2Writer *writer = self->writer;
  ImgTableResult result = IMG_TABLE_OK;

  while (result == IMG_TABLE_OK && g_atomic_int_get (&writer->n_ready) > 0 &&
         !g_atomic_int_get (&writer->is_poisoned))
    {
      g_autoptr (ImgError) error = NULL;
      ImgQcow2Batch *batch;

      img_turn_take (&writer->turn);
      batch = take_batch (self);
      img_turn_give (&writer->turn);
      if (batch == NULL)
        break;
      result = release_batch (self, batch, &error);
      if (result == IMG_TABLE_OK)
        batch_free (batch);
    }
}

void
img_qcow2_quarantine_clear (ImgQcow2Writer *writer)
{
  while (writer->batches.length > 0)
    batch_free (g_queue_pop_head_link (&writer->batches)->data);
  g_array_unref (writer->dropped);
}
