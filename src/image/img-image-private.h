/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the files of src/image share. */

#pragma once

#include "img-claims.h"
#include "img-decoded.h"
#include "img-image.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_STATE_PENDING, /* references not open */
  IMG_STATE_OPENING, /* one thread is opening them */
  IMG_STATE_READY,
  IMG_STATE_METADATA, /* references open, as with READY, but nothing is ever transferred: opened with metadata_only */
  IMG_STATE_CLOSED,
} ImgState;

struct _ImgImage
{
  ImgRefCount ref_count;
  ImgLayout *layout;
  ImgImageOptions options; /* without the snapshot's name, which is the application's memory */
  gboolean is_snapshot;
  ImgEpoch epoch;
  ImgDecodedCache *decoded; /* NULL: the format has no compressed units */
  ImgClaims claims;
  ImgFileLock *lock;        /* atomic, owned; NULL: none */
  GThread *alone;           /* atomic: who works behind the closed gate */
  gint n_above;             /* atomic: images that read through this one */
  gint has_left;            /* atomic: it reads through its own backing image no more */
  gint is_frozen;           /* atomic: changes fail; set and cleared behind the closed gate */
  gint n_apart;             /* atomic: changes that their callers may leave behind */

  gint state;               /* atomic; ImgState. The fields below change only before READY */
  ImgMutex mutex;           /* for the changes */
  gboolean backing_is_set;  /* by the application */
  ImgImage *backing;        /* owned */
  ImgStorage *data_storage; /* owned */
  ImgFileLock *data_lock;   /* atomic, owned */
};

static inline gboolean
img_image_check_ready (ImgImage *image)
{
  return __atomic_load_n (&image->state, __ATOMIC_ACQUIRE) == IMG_STATE_READY;
}

/* Whether what it refers to is open; nothing of that changes any more. */
static inline gboolean
img_image_check_linked (ImgImage *image)
{
  ImgState state = (ImgState) __atomic_load_n (&image->state, __ATOMIC_ACQUIRE);

  return state == IMG_STATE_READY || state == IMG_STATE_METADATA;
}

/* Whether every change has to claim its range; see img_image_begin_apart (). */
static inline gboolean
img_image_is_apart (ImgImage *image)
{
  return g_atomic_int_get (&image->n_apart) > 0;
}

/* Down a chain with every layer's epoch entered on the way; one per transfer, on the stack. */
typedef struct
{
  ImgImage *top;
  gboolean try_only;
  gboolean top_only; /* look at no backing image */
  ImgImage *bottom;  /* look at none from there on; nullable */
  guint n_entered;
  ImgImage *entered[IMG_HARD_MAX_DEPTH];
  ImgEpochTicket tickets[IMG_HARD_MAX_DEPTH];
} ImgWalk;

void         img_walk_begin (ImgWalk *walk, ImgImage *top, gboolean try_only);
void         img_walk_end   (ImgWalk *walk);
/* The first layer that decides about @offset; a HOLE only if no layer does. @depth counts from the top.
 * Bytes that a layer would look for past the end of its backing image are a HOLE of that layer. */
ImgMapResult img_walk_map   (ImgWalk *walk, guint64 offset, guint64 length, ImgExtent *extent,
                             ImgImage **layer, guint *depth, ImgError **error);

/* Reads the guest's view inside a walk that may already be inside of layers. */
gboolean     img_walk_readv (ImgWalk *walk, guint64 offset, const struct iovec *iov, guint n_iov,
                             ImgCancel *cancel, ImgError **error);
/* How many bytes of the unit, from its start, a compressed extent needs. */
static inline gsize
img_unit_end (const ImgExtent *extent)
{
  return (gsize) (extent->offset - extent->unit_offset + extent->length);
}

/* One run of plain bytes into one buffer. */
ImgTryResult img_read_run   (const ImgExtent *extent, guint8 *buffer, ImgIoFlags flags, ImgError **error);
/* Enters the top layer without a map: from then on its size and state stay what they are, and only then can a
 * range be checked for good. FALSE: it would block; never unless try_only. */
gboolean     img_walk_enter (ImgWalk *walk);

/* What an image's file, or (with @is_data) its data file, is locked for. */
ImgLockRole  img_lock_role          (const ImgImageOptions *options, gboolean is_data);
/* Its files and those below that were opened for it. */
void         img_image_unlock       (ImgImage *image);
/* Before READY. Takes the reference to @backing, NULL: none, and returns the one to what was there. */
ImgImage    *img_image_put_backing  (ImgImage *image, ImgImage *backing) G_GNUC_WARN_UNUSED_RESULT;
/* Nothing is read through @image any more. */
void         img_image_leave_backing (ImgImage *image);

/* Whether the disk may be read there; certain only inside its epoch. */
gboolean     img_check_range (ImgImage *image, guint64 offset, guint64 length, ImgError **error);

/* Behind the closed gate: the thread's own requests go on, all others wait. */
void         img_image_begin_alone (ImgImage *image);
void         img_image_end_alone   (ImgImage *image);
/* Gives every cluster of a range that reads as zero its place; see ImgPreallocate. */
gboolean     img_image_allocate (ImgImage *image, guint64 offset, guint64 length, ImgPreallocate mode,
                                 ImgCancel *cancel, ImgError **error);

/* As img_check_range (), and that the disk may be changed. */
gboolean     img_check_change (ImgImage *image, guint64 offset, guint64 length, ImgError **error);

G_END_DECLS
