/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Comparing two disks.
 *
 * Both block maps are walked side by side. Where both disks read as zero, or both lie in the same bytes of the
 * same file, there is nothing to read; where one reads as zero, only the other is read.
 *
 * Two passes. The first reads nothing but the maps: it adds up what there is to read, so that progress is honest,
 * and if that counts finds where the maps differ. In the second, workers claim ranges of the disk, in order, from
 * one shared position, and read no further than the lowest offset where the outcome is settled. Every range
 * before that offset is read to its end, so the first difference is found whatever the number of workers; a
 * range that cannot be read settles the outcome in the same way.
 */

#include "config.h"

#include <string.h>

#include "img-alloc.h"
#include "img-compare.h"
#include "img-pool.h"
#include "img-rate.h"

#define CLAIM IMG_MIB
#define SEARCH_STEP 4096

typedef struct
{
  ImgImage *image;
  guint64 size;
} Side;

typedef struct
{
  Side sides[2];
  guint64 size; /* of the larger disk */
  gsize claim;
  gboolean strict;
  ImgProgress *progress;
  ImgCancel *cancel;
  guint64 position; /* atomic: where the next claim begins */
  guint64 n_read;   /* atomic: bytes */
  ImgRate rate;
  guint64 limit;    /* atomic: nothing from here on matters any more; only falls, with the mutex */
  ImgMutex mutex;   /* for what follows, which is about the limit */
  ImgCompareResult *result;
  ImgError *error;  /* NULL: the result says what there is */
} Comparison;

/* Both maps at one place. */
typedef struct
{
  const Comparison *comparison;
  ImgBlock blocks[2]; /* the last that was asked for; its length is 0 at first */
} Walk;

/* What must be read of a piece. */
typedef enum
{
  READ_NONE = 0,
  READ_FIRST = 1 << 0,
  READ_SECOND = 1 << 1,
  READ_BOTH = READ_FIRST | READ_SECOND,
} Reads;

typedef struct
{
  guint64 offset;
  guint64 length;
  Reads reads;
  gboolean differs; /* in what the maps say */
} Piece;

/* ---- the maps ---- */

static gboolean
map_side (Walk *walk, guint i, guint64 offset, ImgError **error)
{
  const Side *side = &walk->comparison->sides[i];
  ImgBlock *block = &walk->blocks[i];

  if (block->length > 0 && block->offset <= offset && offset - block->offset < block->length)
    return TRUE;
  if (offset < side->size)
    return img_image_map (side->image, offset, side->size - offset, IMG_BLOCK_MAP_HOST_HOLES, block,
                          walk->comparison->cancel, error);
  /* Behind the end of the smaller disk. */
  *block = (ImgBlock) {
    .kind = IMG_BLOCK_HOLE,
    .offset = side->size,
    .length = walk->comparison->size - side->size,
    .reads_as_zero = TRUE,
  };
  return TRUE;
}

static gboolean
is_same_storage (ImgStorage *first, ImgStorage *second)
{
  ImgIdentity one, other;

  return first == second ||
         (img_storage_get_identity (first, &one) && img_storage_get_identity (second, &other) &&
          one.device == other.device && one.inode == other.inode);
}

/* Plain bytes in the same place, as below two overlays of one image. */
static gboolean
is_same_place (const ImgBlock *first, const ImgBlock *second)
{
  return first->kind == IMG_BLOCK_DATA && second->kind == IMG_BLOCK_DATA &&
         first->has_host_offset && second->has_host_offset &&
         first->host_offset - first->offset == second->host_offset - second->offset &&
         is_same_storage (first->storage, second->storage);
}

static Reads
what_to_read (const ImgBlock *first, const ImgBlock *second)
{
  Reads reads = (first->reads_as_zero ? READ_NONE : READ_FIRST) |
                (second->reads_as_zero ? READ_NONE : READ_SECOND);

  return reads == READ_BOTH && is_same_place (first, second) ? READ_NONE : reads;
}

/* Whether a map for people shows them as different, wherever the bytes are. */
static gboolean
status_differs (const ImgBlock *first, const ImgBlock *second)
{
  const ImgBlock *blocks[] = { first, second };
  gboolean is_data[2], is_mapped[2];

  for (guint i = 0; i < 2; i++)
    {
      ImgBlockKind kind = blocks[i]->kind;

      is_data[i] = kind == IMG_BLOCK_DATA || kind == IMG_BLOCK_COMPRESSED;
      is_mapped[i] = blocks[i]->has_host_offset && kind != IMG_BLOCK_COMPRESSED;
    }
  return is_data[0] != is_data[1] || is_mapped[0] != is_mapped[1] ||
         first->reads_as_zero != second->reads_as_zero ||
         (first->kind == IMG_BLOCK_HOLE) != (second->kind == IMG_BLOCK_HOLE);
}

/* From @offset on, as far as both maps say the same. */
static gboolean
next_piece (Walk *walk, guint64 offset, Piece *piece, ImgError **error)
{
  const ImgBlock *first = &walk->blocks[0];
  const ImgBlock *second = &walk->blocks[1];
  guint64 end;

  if (!map_side (walk, 0, offset, error) || !map_side (walk, 1, offset, error))
    return FALSE;
  end = MIN (first->offset + first->length, second->offset + second->length);
  *piece = (Piece) {
    .offset = offset,
    .length = end - offset,
    .reads = what_to_read (first, second),
    .differs = status_differs (first, second),
  };
  return TRUE;
}

/* ---- the first pass ---- */

static guint64
count_reads (const Piece *piece)
{
  return piece->length * (piece->reads == READ_BOTH ? 2 : piece->reads != READ_NONE);
}

/* Also whether and where the maps differ. What cannot be mapped is an error here even behind the first
 * difference of the content: nobody has looked for that yet. */
static gboolean
look_at_maps (Comparison *comparison, guint64 *total, ImgError **error)
{
  Walk walk = { .comparison = comparison };
  Piece piece;

  *total = 0;
  for (guint64 offset = 0; offset < comparison->size; offset += piece.length)
    {
      if (!next_piece (&walk, offset, &piece, error))
        {
          comparison->result->failed_step = IMG_COMPARE_STEP_MAP;
          return FALSE;
        }
      if (comparison->strict && piece.differs)
        {
          comparison->result->comparison = IMG_COMPARISON_BLOCK_STATUS;
          comparison->result->offset = comparison->limit = offset;
          return TRUE;
        }
      *total += count_reads (&piece);
    }
  return TRUE;
}

/* ---- the outcome ---- */

static guint64
get_limit (Comparison *comparison)
{
  return __atomic_load_n (&comparison->limit, __ATOMIC_RELAXED);
}

/* Takes @error, NULL: a difference. The lowest offset counts. */
static void
settle (Comparison *comparison, guint64 offset, ImgCompareStep step, ImgError *error)
{
  img_mutex_lock (&comparison->mutex);
  if (offset < comparison->limit)
    {
      img_error_free (comparison->error);
      comparison->error = g_steal_pointer (&error);
      *comparison->result = (ImgCompareResult) {
        .comparison = step == IMG_COMPARE_STEP_NONE ? IMG_COMPARISON_CONTENT : IMG_COMPARISON_NONE,
        .offset = offset,
        .failed_step = step,
      };
      __atomic_store_n (&comparison->limit, offset, __ATOMIC_RELAXED);
    }
  img_mutex_unlock (&comparison->mutex);
  img_error_free (error);
}

/* ---- bytes ---- */

/* Where @data has its first byte that is not zero; @length if there is none. */
static gsize
find_nonzero (const guint8 *data, gsize length)
{
  gsize at = 0;

  if (img_is_zero (data, length))
    return length;
  while (data[at] == 0)
    at++;
  return at;
}

static gsize
find_difference (const guint8 *first, const guint8 *second, gsize length)
{
  gsize at = 0;

  if (memcmp (first, second, length) == 0)
    return length;
  while (length - at > SEARCH_STEP && memcmp (first + at, second + at, SEARCH_STEP) == 0)
    at += SEARCH_STEP;
  while (first[at] == second[at])
    at++;
  return at;
}

/* ---- workers ---- */

typedef struct
{
  Comparison *comparison;
  Walk walk;
  guint8 *buffers[2];
} Worker;

static gboolean
read_side (Worker *worker, guint i, const Piece *piece)
{
  Comparison *comparison = worker->comparison;
  ImgError *error = NULL;

  if (img_rate_wait (&comparison->rate, piece->length, comparison->cancel, &error) &&
      img_image_read (comparison->sides[i].image, piece->offset, worker->buffers[i], piece->length,
                      comparison->cancel, &error))
    return TRUE;
  settle (comparison, piece->offset, IMG_COMPARE_STEP_READ, error);
  return FALSE;
}

/* FALSE: the outcome is settled there. */
static gboolean
compare_piece (Worker *worker, const Piece *piece)
{
  gsize at;

  if (((piece->reads & READ_FIRST) && !read_side (worker, 0, piece)) ||
      ((piece->reads & READ_SECOND) && !read_side (worker, 1, piece)))
    return FALSE;
  if (piece->reads == READ_BOTH)
    at = find_difference (worker->buffers[0], worker->buffers[1], piece->length);
  else
    at = find_nonzero (worker->buffers[piece->reads == READ_FIRST ? 0 : 1], piece->length);
  __atomic_add_fetch (&worker->comparison->n_read, count_reads (piece), __ATOMIC_RELAXED);
  img_progress_add (worker->comparison->progress, count_reads (piece));
  if (at == piece->length)
    return TRUE;
  settle (worker->comparison, piece->offset + at, IMG_COMPARE_STEP_NONE, NULL);
  return FALSE;
}

/* Neighbours of which the same is to be read become one piece; what is not read may reach behind @end. */
static gboolean
join_pieces (Worker *worker, guint64 offset, guint64 end, Piece *joined, ImgError **error)
{
  Piece next;

  if (!next_piece (&worker->walk, offset, joined, error))
    return FALSE;
  while (joined->offset + joined->length < end)
    {
      if (!next_piece (&worker->walk, joined->offset + joined->length, &next, error))
        return FALSE;
      if (next.reads != joined->reads)
        break;
      joined->length += next.length;
    }
  if (joined->reads != READ_NONE)
    joined->length = MIN (joined->length, end - offset);
  return TRUE;
}

static void
skip_to (Comparison *comparison, guint64 position)
{
  guint64 old = __atomic_load_n (&comparison->position, __ATOMIC_RELAXED);

  while (old < position &&
         !__atomic_compare_exchange_n (&comparison->position, &old, position, TRUE,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
}

/* Ranges end on multiples of the claim, wherever they begin, so that the same pieces are read by any number of
 * workers. */
static gboolean
claim (Comparison *comparison, guint64 *start, guint64 *end)
{
  *start = __atomic_load_n (&comparison->position, __ATOMIC_RELAXED);
  do
    {
      if (*start >= get_limit (comparison) || img_cancel_is_set (comparison->cancel))
        return FALSE;
      *end = MIN (img_align_down (*start, comparison->claim) + comparison->claim, comparison->size);
    }
  while (!__atomic_compare_exchange_n (&comparison->position, start, *end, TRUE, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED));
  return TRUE;
}

static void
compare_range (Worker *worker, guint64 start, guint64 end)
{
  Comparison *comparison = worker->comparison;

  while (start < end && start < get_limit (comparison) && !img_cancel_is_set (comparison->cancel))
    {
      ImgError *error = NULL;
      Piece piece;

      if (!join_pieces (worker, start, end, &piece, &error))
        {
          settle (comparison, start, IMG_COMPARE_STEP_MAP, error);
          return;
        }
      if (piece.reads != READ_NONE && !compare_piece (worker, &piece))
        return;
      start += piece.length;
    }
  if (start > end)
    skip_to (comparison, start);
}

static void
compare_worker (gpointer data, guint number)
{
  Comparison *comparison = data;
  Worker worker = { .comparison = comparison, .walk.comparison = comparison };
  ImgError *error = NULL;
  guint64 start, end;

  worker.buffers[0] = img_try_alloc (comparison->claim, &error);
  if (worker.buffers[0] != NULL)
    worker.buffers[1] = img_try_alloc (comparison->claim, &error);
  if (worker.buffers[1] == NULL)
    settle (comparison, 0, IMG_COMPARE_STEP_READ, error);
  else
    while (claim (comparison, &start, &end))
      compare_range (&worker, start, end);
  img_free (worker.buffers[0]);
  img_free (worker.buffers[1]);
}

/* ---- the job ---- */

static gboolean
compare_contents (Comparison *comparison, const ImgCompareOptions *options, ImgError **error)
{
  ImgPool *pool = img_pool_get_default ();
  guint cpu_limit = img_pool_get_cpu_limit (pool);
  guint n_threads = options->n_threads > 0 ? options->n_threads : cpu_limit;

  img_pool_run_parallel (pool, IMG_TASK_CPU, MIN (n_threads, cpu_limit), options->priority,
                         compare_worker, comparison);
  if (comparison->error == NULL)
    return !img_cancel_check (comparison->cancel, error);
  img_error_propagate (error, g_steal_pointer (&comparison->error));
  return FALSE;
}

static gboolean
compare (Comparison *comparison, const ImgCompareOptions *options, ImgError **error)
{
  guint64 total;

  if (!look_at_maps (comparison, &total, error))
    return FALSE;
  img_progress_set_total (comparison->progress, total);
  img_progress_set_phase (comparison->progress, IMG_PHASE_COPY);
  if (!compare_contents (comparison, options, error))
    return FALSE;
  /* What lies behind a difference is done with, too. */
  img_progress_add (comparison->progress, total - comparison->n_read);
  return TRUE;
}

gboolean
img_compare (ImgImage *first,
             ImgImage *second,
             const ImgCompareOptions *options,
             ImgProgress *progress,
             ImgCancel *cancel,
             ImgCompareResult *result,
             ImgError **error)
{
  Comparison comparison = {
    .sides = { { first, img_image_get_size (first) }, { second, img_image_get_size (second) } },
    .claim = MAX (CLAIM, MAX (img_image_get_layout (first)->unit_length,
                              img_image_get_layout (second)->unit_length)),
    .strict = options->strict,
    .progress = progress,
    .cancel = cancel,
    .result = result,
  };
  g_autoptr (ImgFileLock) first_lock = NULL;
  g_autoptr (ImgFileLock) second_lock = NULL;
  gboolean success;

  *result = (ImgCompareResult) { .comparison = IMG_COMPARISON_IDENTICAL };
  img_progress_set_phase (progress, IMG_PHASE_MAP);
  comparison.size = comparison.limit = MAX (comparison.sides[0].size, comparison.sides[1].size);
  if (options->strict && comparison.sides[0].size != comparison.sides[1].size)
    {
      result->comparison = IMG_COMPARISON_SIZE;
      result->offset = MIN (comparison.sides[0].size, comparison.sides[1].size);
      img_progress_set_phase (progress, IMG_PHASE_DONE);
      return TRUE;
    }
  img_mutex_init (&comparison.mutex);
  img_rate_init (&comparison.rate, options->bytes_per_second);
  success = img_image_keep_unchanged (first, &first_lock, error) &&
            img_image_keep_unchanged (second, &second_lock, error) &&
            compare (&comparison, options, error);
  img_rate_clear (&comparison.rate);
  img_mutex_clear (&comparison.mutex);
  if (success)
    img_progress_set_phase (progress, IMG_PHASE_DONE);
  else
    result->comparison = IMG_COMPARISON_NONE;
  return success;
}
