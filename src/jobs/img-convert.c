/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Converting to raw.
 *
 * Two passes over the block map. The first only adds up what there is to copy, so that progress is
 * honest; it keeps no list, as the number of extents stands in a file. In the second, workers claim
 * ranges of the disk from one shared position; each maps its own range, reads it (which decodes in
 * parallel) and writes what is not zero. A worker that meets a hole longer than its range moves the
 * position behind it for all.
 *
 * The target is a new file of the disk's size without blocks, so what is never written is a hole.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "img-alloc.h"
#include "img-convert.h"
#include "img-new-file.h"
#include "img-pool.h"

#define CLAIM IMG_MIB
#define ZERO_GRAIN 4096
#define MAP_FLAGS IMG_BLOCK_MAP_HOST_HOLES

typedef struct
{
  ImgImage *source;
  int target_fd;
  guint64 size;
  gsize claim;
  gboolean durable;
  guint64 position; /* atomic: where the next claim begins */
  ImgProgress *progress;
  ImgCancel *cancel;
  gint failed; /* atomic */
  ImgMutex mutex;
  ImgError *error; /* the first one; with the mutex */
} Conversion;

static gboolean
is_copied (const ImgBlock *block)
{
  return !block->reads_as_zero;
}

/* ---- the first pass ---- */

static gboolean
add_up (ImgImage *source, guint64 *total, ImgCancel *cancel, ImgError **error)
{
  guint64 size = img_image_get_size (source);
  ImgBlock block;

  *total = 0;
  for (guint64 offset = 0; offset < size; offset += block.length)
    {
      if (!img_image_map (source, offset, size - offset, MAP_FLAGS, &block, cancel, error))
        return FALSE;
      if (is_copied (&block))
        *total += block.length;
    }
  return TRUE;
}

/* ---- workers ---- */

static void
fail (Conversion *conversion, ImgError *error)
{
  img_mutex_lock (&conversion->mutex);
  if (conversion->error == NULL)
    conversion->error = g_steal_pointer (&error);
  img_mutex_unlock (&conversion->mutex);
  img_error_free (error);
  g_atomic_int_set (&conversion->failed, TRUE);
}

static gboolean
write_all (int fd, const guint8 *data, gsize length, guint64 offset, ImgError **error)
{
  while (length > 0)
    {
      ssize_t result = pwrite (fd, data, length, (off_t) offset);

      if (result < 0 && errno == EINTR)
        continue;
      if (result <= 0)
        {
          img_error_set_errno (error, result < 0 ? errno : EIO,
                               _("Cannot write %zu bytes at offset %" PRIu64 " of the new file"),
                               length, offset);
          return FALSE;
        }
      data += result;
      length -= (gsize) result;
      offset += (guint64) result;
    }
  return TRUE;
}

/* Comparing a buffer with itself one byte on is the fastest test that libc has. */
static gboolean
is_zero (const guint8 *data, gsize length)
{
  return data[0] == 0 && memcmp (data, data + 1, length - 1) == 0;
}

/* The length of the run at @data that is all zero or has no zero grain, which of them in @zero.
 * Grains lie on multiples of ZERO_GRAIN of the disk, so that the same disk gives the same holes. */
static gsize
next_run (const guint8 *data, gsize length, guint64 offset, gboolean *zero)
{
  gsize run = 0;

  while (run < length)
    {
      gsize grain = MIN (ZERO_GRAIN - (offset + run) % ZERO_GRAIN, length - run);
      gboolean grain_is_zero = is_zero (data + run, grain);

      if (run == 0)
        *zero = grain_is_zero;
      else if (grain_is_zero != *zero)
        break;
      run += grain;
    }
  return run;
}

static gboolean
write_nonzero (Conversion *conversion,
               const guint8 *data,
               gsize length,
               guint64 offset,
               ImgError **error)
{
  while (length > 0)
    {
      gboolean zero = FALSE;
      gsize run = next_run (data, length, offset, &zero);

      if (!zero && !write_all (conversion->target_fd, data, run, offset, error))
        return FALSE;
      data += run;
      length -= run;
      offset += run;
    }
  return TRUE;
}

static void
skip_to (Conversion *conversion, guint64 position)
{
  guint64 old = __atomic_load_n (&conversion->position, __ATOMIC_RELAXED);

  while (old < position && !__atomic_compare_exchange_n (&conversion->position, &old, position,
                                                         TRUE, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
}

static gboolean
claim (Conversion *conversion, guint64 *start, guint64 *end)
{
  *start = __atomic_load_n (&conversion->position, __ATOMIC_RELAXED);
  do
    {
      if (*start >= conversion->size)
        return FALSE;
      *end = MIN (img_align_down (*start, conversion->claim) + conversion->claim, conversion->size);
    }
  while (!__atomic_compare_exchange_n (&conversion->position, start, *end, TRUE, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED));
  return TRUE;
}

static gboolean
copy_block (Conversion *conversion, const ImgBlock *block, guint8 *buffer, ImgError **error)
{
  if (!img_image_read (conversion->source, block->offset, buffer, block->length, conversion->cancel,
                       error) ||
      !write_nonzero (conversion, buffer, block->length, block->offset, error))
    return FALSE;
  img_progress_add (conversion->progress, block->length);
  return TRUE;
}

/* Neighbouring blocks that are to be copied become one, so that one read carries them all. */
static gboolean
map_run (Conversion *conversion, guint64 offset, guint64 end, ImgBlock *run, ImgError **error)
{
  ImgBlock next;

  /* The first is asked for to the end of the disk: a long hole is worth knowing. */
  if (!img_image_map (conversion->source, offset, conversion->size - offset, MAP_FLAGS, run,
                      conversion->cancel, error))
    return FALSE;
  if (!is_copied (run))
    return TRUE;
  run->length = MIN (run->length, end - offset);
  while (offset + run->length < end)
    {
      guint64 at = offset + run->length;

      if (!img_image_map (conversion->source, at, end - at, MAP_FLAGS, &next, conversion->cancel,
                          error))
        return FALSE;
      if (!is_copied (&next))
        break;
      run->length += next.length;
    }
  return TRUE;
}

/* What will be made durable at the end goes to the device while the next range is decoded. Nothing
 * is waited for here, and errors are left to fsync (). */
static void
begin_writeback (Conversion *conversion, guint64 start, guint64 end)
{
#ifdef SYNC_FILE_RANGE_WRITE
  if (conversion->durable)
    (void) sync_file_range (conversion->target_fd, (off_t) start, (off_t) (end - start),
                            SYNC_FILE_RANGE_WRITE);
#endif
}

static gboolean
copy_range (Conversion *conversion, guint64 start, guint64 end, guint8 *buffer, ImgError **error)
{
  while (start < end)
    {
      ImgBlock run;

      if (!map_run (conversion, start, end, &run, error))
        return FALSE;
      if (is_copied (&run) && !copy_block (conversion, &run, buffer, error))
        return FALSE;
      start += run.length;
    }
  if (start > end)
    skip_to (conversion, start);
  return TRUE;
}

static void
convert_worker (gpointer data, guint worker)
{
  Conversion *conversion = data;
  ImgError *error = NULL;
  g_autoptr (ImgBuffer) buffer = img_try_alloc (conversion->claim, &error);
  guint64 start, end;

  while (buffer != NULL && !g_atomic_int_get (&conversion->failed) &&
         claim (conversion, &start, &end))
    {
      if (!copy_range (conversion, start, end, buffer, &error))
        break;
      begin_writeback (conversion, start, end);
    }
  if (error != NULL)
    fail (conversion, error);
}

/* ---- the job ---- */

/* Replacing a file that the source reads from would lose it. */
static gboolean
check_target (ImgImage *source, ImgNewFile *target, ImgError **error)
{
  ImgIdentity replaced;

  if (!img_new_file_get_replaced (target, &replaced))
    return TRUE;
  for (ImgImage *layer = source; layer != NULL; layer = img_image_get_backing (layer))
    {
      ImgStorage *storages[] = { img_image_get_storage (layer),
                                 img_image_get_data_storage (layer) };

      for (guint i = 0; i < G_N_ELEMENTS (storages); i++)
        if (storages[i] != NULL && img_storage_uses_file (storages[i], &replaced))
          {
            img_error_set (error, IMG_CODE_REFERENCE_LOOP,
                           _("The new file would replace a file that the source needs"));
            return FALSE;
          }
    }
  return TRUE;
}

/* First of all, as it costs nothing and an impossible size is known at once. */
static gboolean
set_size (ImgNewFile *target, guint64 size, ImgError **error)
{
  if (ftruncate (img_new_file_get_fd (target), (off_t) size) == 0)
    return TRUE;
  img_error_set_errno (error, errno, _("Cannot give the new file its size of %" PRIu64 " bytes"),
                       size);
  return FALSE;
}

static gboolean
copy_all (ImgImage *source,
          int target_fd,
          const ImgConvertOptions *options,
          ImgProgress *progress,
          ImgCancel *cancel,
          ImgError **error)
{
  Conversion conversion = {
    .source = source,
    .target_fd = target_fd,
    .size = img_image_get_size (source),
    .claim = MAX (CLAIM, img_image_get_layout (source)->unit_length),
    .durable = options->durable,
    .progress = progress,
    .cancel = cancel,
  };
  ImgPool *pool = img_pool_get_default ();
  guint n_threads = options->n_threads > 0 ? options->n_threads : img_pool_get_cpu_limit (pool);

  img_mutex_init (&conversion.mutex);
  img_pool_run_parallel (pool, IMG_TASK_CPU, MIN (n_threads, img_pool_get_cpu_limit (pool)), options->priority,
                         convert_worker, &conversion);
  img_mutex_clear (&conversion.mutex);
  if (conversion.error != NULL)
    img_error_propagate (error, conversion.error);
  return !conversion.failed;
}

gboolean
img_convert_to_raw (ImgImage *source,
                    const ImgConvertOptions *options,
                    ImgProgress *progress,
                    ImgCancel *cancel,
                    ImgError **error)
{
  g_autoptr (ImgNewFile) target = NULL;
  g_autoptr (ImgFileLock) lock = NULL;
  guint64 total;

  img_progress_set_phase (progress, IMG_PHASE_MAP);
  target = img_new_file_create (options->path, options->overwrite, error);
  if (target == NULL || !check_target (source, target, error) ||
      !img_image_keep_unchanged (source, &lock, error) ||
      !set_size (target, img_image_get_size (source), error) ||
      !add_up (source, &total, cancel, error))
    return FALSE;
  img_progress_set_total (progress, total);

  img_progress_set_phase (progress, IMG_PHASE_COPY);
  if (!copy_all (source, img_new_file_get_fd (target), options, progress, cancel, error) ||
      img_cancel_check (cancel, error))
    return FALSE;

  img_progress_set_phase (progress, IMG_PHASE_FLUSH);
  if (!img_new_file_publish (target, options->durable, error))
    return FALSE;
  img_progress_set_phase (progress, IMG_PHASE_DONE);
  return TRUE;
}
