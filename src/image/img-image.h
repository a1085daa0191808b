/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One open disk: a layout, what it refers to, and every transfer of guest data.
 *
 * Opening has two phases. img_image_open () parses one file. Between the phases references may be
 * overridden. img_image_open_references () asks the policy for the rest, image by image down the chain,
 * in a loop; it is needed even where there are none. Until then transfers fail with
 * IMG_CODE_REFERENCES_PENDING.
 *
 * An image that was opened with metadata_only can be described, and its chain be walked; the disk cannot be transferred,
 * in either phase. So one whose disk this library cannot read is told of like any other, and nobody can take what is
 * stored for what the guest sees. Its layers are opened in the same way.
 *
 * Once the references are open the image is immutable, so transfers take no lock: the chain is read
 * without one. The state word is the publication point (release after the last change, acquire before
 * a transfer). Every transfer is inside the epoch of each layer it maps.
 */

#pragma once

#include "img-driver.h"
#include "img-epoch.h"
#include "img-policy.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct _ImgImage ImgImage;

#define IMG_DEFAULT_MAX_DEPTH 16
#define IMG_HARD_MAX_DEPTH 64
#define IMG_DEFAULT_MAX_FILES 64

typedef struct
{
  const ImgDriver *driver;   /* never NULL: who guesses does so before (img_drivers_probe) */
  ImgLayoutOptions layout;
  ImgLocking locking;
  gboolean force_share;      /* read what others may be writing to */
  gboolean keep_unchanged;   /* nobody else may write to the file even if it is raw, as below an overlay */
  gsize decoded_cache_size;  /* bytes; 0: the default */
  guint writable_backing;    /* the image so far below (1: the next) is opened writable too; 0: none */
  guint max_depth;           /* layers, the top one counted; 0: the default */
  guint max_files;           /* 0: the default */
} ImgImageOptions;

ImgImage        *img_image_open            (ImgStorage *storage, const ImgImageOptions *options,
                                            ImgCancel *cancel, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
ImgImage        *img_image_ref             (ImgImage *image);
void             img_image_unref           (ImgImage *image);
/* Of an image that nobody changes any more, whose last reference @leaving will take: never waits. Others who want
 * its files, or those that may go with it, wait for that. */
void             img_image_leave           (ImgImage *image, ImgLeaving *leaving);
/* An image that is read as raw bytes lets others write to its file meanwhile. Until *lock is released they may
 * not. *lock is NULL where there is nothing to add. */
gboolean         img_image_keep_unchanged  (ImgImage *image, ImgFileLock **lock, ImgError **error);

/* ---- references ---- */

/* What is still to be opened; an array of ImgWanted that belongs to the image. */
GPtrArray       *img_image_get_wanted      (ImgImage *image);
/* NULL: explicitly none, the disk reads as zero where it has no data of its own. */
gboolean         img_image_set_backing     (ImgImage *image, ImgImage *backing, ImgError **error);
gboolean         img_image_open_references (ImgImage *image, ImgPolicy *policy, ImgCancel *cancel,
                                            ImgError **error);
/* Whether they are open. */
gboolean         img_image_is_linked       (ImgImage *image);
/* Whether they are, and the disk can be transferred; the error of the second one says why not. */
gboolean         img_image_is_ready        (ImgImage *image);
gboolean         img_image_require_ready   (ImgImage *image, ImgError **error);

ImgImage        *img_image_get_backing     (ImgImage *image); /* borrowed; NULL if there is none */
ImgStorage      *img_image_get_storage     (ImgImage *image);
ImgStorage      *img_image_get_data_storage (ImgImage *image); /* NULL: no external data file */
/* img_storage_may_wait () for all that the image lies in. */
gboolean         img_image_may_wait        (ImgImage *image, ImgError **error);
/* Whether one of the storages may_hang. */
gboolean         img_image_may_hang        (ImgImage *image);
/* Whether @file is one that the image, or one below it, lies in. */
gboolean         img_image_uses_file       (ImgImage *image, const ImgIdentity *file);
ImgLayout       *img_image_get_layout      (ImgImage *image);
guint64          img_image_get_size        (ImgImage *image);

/* ---- transfers ---- */

/* The range must lie inside the disk. */
gboolean         img_image_readv           (ImgImage *image, guint64 offset,
                                            const struct iovec *iov, guint n_iov, ImgCancel *cancel,
                                            ImgError **error);
gboolean         img_image_read            (ImgImage *image, guint64 offset, gpointer buffer,
                                            gsize length, ImgCancel *cancel, ImgError **error);
/* Copies data without reading it, up to the first byte that does not lie plainly in a file, as img_storage_copy_range ():
 * what is left is to be read and written. */
guint64          img_image_copy_range      (ImgImage *image, guint64 offset, guint64 length,
                                            ImgStorage *to, guint64 to_offset);

/* Before @image is changed: its own bitmaps are not lost by that, if one of the following ends it. See
 * ImgLayoutClass.keep_bitmaps. */
gboolean         img_image_keep_bitmaps    (ImgImage *image, ImgCancel *cancel, ImgError **error);
/* They are those of the image again. */
gboolean         img_image_settle_bitmaps  (ImgImage *image, ImgError **error);
/* And with them, if there were any, the persistent bitmaps of @source, another image of the same format and size that
 * is not below it. See ImgLayoutClass.copy_bitmaps. */
gboolean         img_image_copy_bitmaps    (ImgImage *image, ImgImage *source, gboolean skip_broken,
                                            ImgCancel *cancel, ImgError **error);

/* The state of a virtual machine, from @offset of it on: img-vm-state.c. What was never written is zero. */
gboolean         img_image_read_vm_state   (ImgImage *image, guint64 offset, gpointer buffer, gsize length,
                                            ImgCancel *cancel, ImgError **error);
gboolean         img_image_write_vm_state  (ImgImage *image, guint64 offset, gconstpointer buffer, gsize length,
                                            ImgCancel *cancel, ImgError **error);

typedef enum
{
  IMG_TRY_DONE,
  IMG_TRY_WOULD_BLOCK, /* nothing promised about the buffer: read it all again with img_image_readv () */
  IMG_TRY_ERROR,
} ImgTryResult;

/* Bytes of a storage of an image that a read has not found in memory. */
typedef struct
{
  ImgStorage *storage; /* owned; NULL: it is something else, or not known, that would have to be waited for */
  guint64 offset;
  guint64 length;
} ImgMiss;

static inline void
img_miss_clear (ImgMiss *miss)
{
  g_clear_pointer (&miss->storage, img_storage_unref);
}

/* Never waits: no lock that is held across I/O, no disk, one table slice at most. With WOULD_BLOCK @miss (nullable, else
 * empty) tells why. */
ImgTryResult     img_image_try_read        (ImgImage *image, guint64 offset, gpointer buffer,
                                            gsize length, ImgMiss *miss, ImgError **error);
/* The same again, when what was missed has been prefetched. */
ImgTryResult     img_image_retry_read      (ImgImage *image, guint64 offset, gpointer buffer,
                                            gsize length, ImgError **error);

typedef struct
{
  guint64 offset;
  gsize length;
  guint8 *buffer;
  ImgTryResult result;
  ImgError *error; /* owned by whoever asks; NULL before */
} ImgTryRead;

/* Many reads, each as img_image_try_read () does it. */
void             img_image_try_reads       (ImgImage *image, ImgTryRead *reads, guint n_reads);
/* … but those that can be in flight at the same time are waited for. */
void             img_image_read_together   (ImgImage *image, ImgTryRead *reads, guint n_reads);

/* ---- changing the disk ----
 *
 * The image must have been opened writable; the range must lie inside the disk. When one of these fails
 * each sector of the range has its old or its new content. Nothing is durable before a flush. */

/* Never waits, as img_image_try_read (). WOULD_BLOCK: some of it may have been written; write it all. */
ImgTryResult     img_image_try_write       (ImgImage *image, guint64 offset, gconstpointer buffer,
                                            gsize length, ImgError **error);
gboolean         img_image_writev          (ImgImage *image, guint64 offset,
                                            const struct iovec *iov, guint n_iov, ImgCancel *cancel,
                                            ImgError **error);
gboolean         img_image_write           (ImgImage *image, guint64 offset, gconstpointer buffer,
                                            gsize length, ImgCancel *cancel, ImgError **error);
/* Around a change whose caller goes when it cancels, though the storage has not answered. As long as there is one, every
 * change claims its range and looks then whether it is cancelled: one that comes after the cancelled one waits for it,
 * and is not overwritten by it. */
void             img_image_begin_apart     (ImgImage *image);
void             img_image_end_apart       (ImgImage *image);

/* Whole clusters (the last of the disk may be shorter) that have no content in this layer yet. */
gboolean         img_image_write_compressed (ImgImage *image, guint64 offset, gconstpointer buffer,
                                            gsize length, ImgCancel *cancel, ImgError **error);

/* The two halves of it, for whoever encodes on many threads and writes on one. First: what one cluster (@plain, filled
 * up with zeroes at the end of the disk) is stored as; @stored has room for as many bytes. *stored_length: 0 when it
 * is not worth it. */
gboolean         img_image_encode          (ImgImage *image, int level, const guint8 *plain, guint8 *stored,
                                            gsize *stored_length, ImgError **error);
/* Then: @length bytes of the disk, one cluster or its end, are what @stored decodes to. */
gboolean         img_image_write_encoded   (ImgImage *image, guint64 offset, guint64 length,
                                            const guint8 *stored, gsize stored_length,
                                            ImgCancel *cancel, ImgError **error);

typedef enum
{
  IMG_ZERO_NONE = 0,
  IMG_ZERO_UNMAP = 1 << 0, /* host space may be given back; without it what has space keeps it */
  IMG_ZERO_NO_FALLBACK = 1 << 1, /* fail with ENOTSUP where zeroes would have to be written as data */
} ImgZeroFlags;

/* The range reads as zero afterwards. */
gboolean         img_image_write_zeroes    (ImgImage *image, guint64 offset, guint64 length,
                                            ImgZeroFlags flags, ImgCancel *cancel, ImgError **error);

typedef enum
{
  IMG_DISCARD_ANY,     /* the range may read as anything it held before, or as zero */
  IMG_DISCARD_ZERO,    /* it reads as zero */
  IMG_DISCARD_BACKING, /* the backing image shows through; whole clusters only, the rest stays */
} ImgDiscardMode;

/* Gives host space back where it can. */
gboolean         img_image_discard         (ImgImage *image, guint64 offset, guint64 length,
                                            ImgDiscardMode mode, ImgCancel *cancel, ImgError **error);

/* All changes that were complete before the call are durable when it returns TRUE. After a failure the
 * image is poisoned: changes and flushes fail with IMG_CODE_FLUSH_FAILED. */
gboolean         img_image_flush           (ImgImage *image, ImgCancel *cancel, ImgError **error);
/* Has the operating system begin to write what is in its memory: waits for nothing, promises nothing, and hides no error
 * from a flush. */
void             img_image_start_write_back (ImgImage *image);

/* Runs alone. Shrinking needs @may_shrink and IMG_PREALLOCATE_OFF. Cancelled, a growth fails and leaves the old
 * size; a shrink that has begun succeeds. @progress (nullable): bytes reserved or given up. */
gboolean         img_image_resize          (ImgImage *image, guint64 size, gboolean may_shrink,
                                            ImgPreallocate preallocate, ImgProgress *progress,
                                            ImgCancel *cancel, ImgError **error);

/* The file of the image names another backing file, or with NULL none; durable when it returns TRUE. What was written
 * before is made durable first. Runs alone. The references need not be open. Where they are, the image goes on reading
 * what it was opened with. */
gboolean         img_image_set_backing_name (ImgImage *image, const char *name, const char *format,
                                            ImgError **error);

/* Compacting (img-compact.c), a step at a time so that other requests come in between. What the guest sees stays.
 *
 * Gives back the clusters of this layer in the range, aligned to @granularity or ending with the disk, that hold
 * nothing but zeroes. @buffer has room for @length bytes. */
gboolean         img_image_release_zeroes  (ImgImage *image, guint64 offset, gsize length, gpointer buffer,
                                            guint64 granularity, ImgCancel *cancel, ImgError **error);
/* Gives back what no reference leads to. CORRUPT: it cannot be told, the image has to be repaired. */
gboolean         img_image_reclaim         (ImgImage *image, ImgCancel *cancel, ImgError **error);

/* Flushes, gives back what is to be given back, unlocks the files. So it does for an image below that was opened
 * writable along with it. What comes later fails with
 * IMG_CODE_CLOSED, also when this failed. Dropping the last reference without it loses what was not flushed. */
gboolean         img_image_close           (ImgImage *image, ImgError **error);

/* Until it is thawed nobody changes the image, the caller neither: that fails with LOCKED. What was changed before is
 * durable. Fails with LOCKED while an image above reads it. */
gboolean         img_image_freeze          (ImgImage *image, ImgCancel *cancel, ImgError **error);
void             img_image_thaw            (ImgImage *image);
/* As img_image_close () of a frozen image whose file nobody can find any more: nothing is written to that. */
gboolean         img_image_abandon         (ImgImage *image, ImgError **error);

gboolean         img_image_is_writable     (ImgImage *image);
/* Whether it shows the disk of a snapshot. */
gboolean         img_image_is_snapshot     (ImgImage *image);

/* ---- the block map ---- */

typedef enum
{
  IMG_BLOCK_DATA,
  IMG_BLOCK_COMPRESSED,
  IMG_BLOCK_ZERO,
  IMG_BLOCK_HOLE, /* in no layer; reads as zero */
} ImgBlockKind;

typedef struct
{
  ImgBlockKind kind;
  guint64 offset;
  guint64 length;
  guint depth;              /* the layer that decides: 0 is the image itself */
  gboolean reads_as_zero;   /* DATA too, where the host file has a hole */
  gboolean has_host_offset;
  guint64 host_offset;      /* in @storage */
  ImgStorage *storage;      /* borrowed; NULL without a host offset */
  ImgImage *layer;          /* borrowed */
} ImgBlock;

typedef enum
{
  IMG_BLOCK_MAP_NONE = 0,
  IMG_BLOCK_MAP_TOP_ONLY = 1 << 0,   /* this layer alone: what it does not own is a HOLE */
  IMG_BLOCK_MAP_HOST_HOLES = 1 << 1, /* ask the storages too; costs system calls */
} ImgBlockMapFlags;

/* The block at @offset, as long a run as is cheap to prove, at most @length. */
gboolean         img_image_map             (ImgImage *image, guint64 offset, guint64 length,
                                            ImgBlockMapFlags flags, ImgBlock *block,
                                            ImgCancel *cancel, ImgError **error);
/* What the layers above @base, one of the backing images, say: a HOLE where they leave it to @base, and where one of
 * them ends before the disk does; img_block_is_left_to () tells. With @base NULL as img_image_map (). */
gboolean         img_image_map_above       (ImgImage *image, ImgImage *base, guint64 offset, guint64 length,
                                            ImgBlockMapFlags flags, ImgBlock *block,
                                            ImgCancel *cancel, ImgError **error);
gboolean         img_block_is_left_to      (const ImgBlock *block, ImgImage *base);
/* The same without waiting, from cached metadata alone; with HOST_HOLES it always would block. */
ImgTryResult     img_image_try_map         (ImgImage *image, guint64 offset, guint64 length,
                                            ImgBlockMapFlags flags, ImgBlock *block,
                                            ImgError **error);
/* Up to @max blocks, neighbours merged; fills @blocks (an array of @max) and returns the number, 0 on error.
 * Takes a bounded number of steps: it may end early, within a block, whose rest is merged by the caller. */
guint            img_image_map_many        (ImgImage *image, guint64 offset, guint64 length,
                                            ImgBlockMapFlags flags, ImgBlock *blocks, guint max,
                                            ImgCancel *cancel, ImgError **error);

/* @next follows @last: is it more of the same? */
gboolean         img_block_may_merge       (const ImgBlock *last, const ImgBlock *next);

/* For whoever queues requests on the image. */
ImgEpoch        *img_image_get_epoch       (ImgImage *image);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgImage, img_image_unref)

G_END_DECLS
