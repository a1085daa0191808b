/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage: a flat array of bytes with one I/O entry.
 *
 * submit () takes any number of requests and returns; a file finishes them inside the call, another
 * storage completes them later from any thread with img_io_complete (). img_io_wait () waits for the
 * lot. Whoever has several extents to transfer submits all of them before it waits.
 *
 * Bytes past the end of a storage read as zero; a request is complete or it failed, never short
 * (NOWAIT requests excepted, see IMG_IO_NOWAIT). All of it may be called from any thread at once.
 */

#pragma once

#include "img-cancel.h"
#include "img-common.h"
#include "img-file-lock.h"
#include "img-prefetch.h"

G_BEGIN_DECLS

typedef struct _ImgStorage ImgStorage;
typedef struct _ImgStorageClass ImgStorageClass;
typedef struct _ImgIo ImgIo;

/* All but READ need a storage whose can_write is set. */
typedef enum
{
  IMG_IO_READ,
  IMG_IO_WRITE,    /* past the end: the storage grows */
  IMG_IO_ZERO,     /* the range reads as zero afterwards; past the end the storage grows */
  IMG_IO_DISCARD,  /* space is given back, the size stays; what it reads as is not known */
  IMG_IO_ALLOCATE, /* space is reserved; bytes that were there stay, others read as zero; may grow */
  IMG_IO_TRUNCATE, /* the size becomes offset; what is new reads as zero */
  IMG_IO_FLUSH,    /* all that was complete when it was submitted is durable; after one failure all fail */
} ImgIoOp;

typedef enum
{
  IMG_IO_NONE = 0,
  /* Never wait: transfer what is in memory now. The request is complete when submit () returns, with
   * would_block set and n_done bytes transferred if that was not all. A storage that cannot promise
   * anything answers so at once. */
  IMG_IO_NOWAIT = 1 << 0,
  /* ZERO: host space may be given back. Without it the range keeps, or gets, its space. */
  IMG_IO_UNMAP = 1 << 1,
  /* ZERO: fail with ENOTSUP where zeroes would have to be written as bytes. */
  IMG_IO_NO_FALLBACK = 1 << 2,
  /* READ with NOWAIT: it has been prefetched a moment ago, so look for it even if such reads are in vain mostly. */
  IMG_IO_PREFETCHED = 1 << 3,
  /* READ with NOWAIT: wait nevertheless if all that are submitted with this one are in flight at the same time. */
  IMG_IO_TOGETHER = 1 << 4,
} ImgIoFlags;

struct _ImgIo
{
  ImgIoOp op;
  ImgIoFlags flags;
  guint64 offset;
  guint64 length;           /* READ, WRITE: the sum of the vector; > 0 but for TRUNCATE and FLUSH */
  const struct iovec *iov;  /* READ, WRITE: stays valid until the request is complete */
  guint n_iov;              /* any number */

  /* the result, valid once complete */
  gboolean would_block;
  gsize n_done;             /* with would_block */
  ImgError *error;          /* owned by the request's owner; NULL on success */

  /* private */
  gpointer state;
};

typedef enum
{
  IMG_RANGE_DATA,    /* allocated, or the storage cannot tell */
  IMG_RANGE_ZERO,    /* reads as zero and takes no space */
} ImgRangeKind;

typedef struct
{
  ImgRangeKind kind;
  guint64 length; /* > 0; from the offset asked about */
} ImgRange;

struct _ImgStorageClass
{
  const char *type_name; /* "file", "memory", … */
  void     (*submit)       (ImgStorage *storage, ImgIo *ios, guint n_ios);
  gboolean (*get_size)     (ImgStorage *storage, guint64 *size, ImgError **error);
  void     (*free)         (ImgStorage *storage);
  /* Optional. A hint, may cost a system call: never on the try path. Missing: all DATA. */
  gboolean (*get_range)    (ImgStorage *storage, guint64 offset, guint64 length, ImgRange *range,
                            ImgError **error);
  /* Optional: bytes allocated on the host. */
  gboolean (*get_usage)    (ImgStorage *storage, guint64 *usage, ImgError **error);
  /* Optional, for a storage that keeps its bytes in others: whether one of them is that file. */
  gboolean (*uses_file)    (ImgStorage *storage, const ImgIdentity *file);
  /* Optional: FALSE when the storage is no file of its own. */
  gboolean (*get_identity) (ImgStorage *storage, ImgIdentity *identity);
  /* Optional: missing where there is nothing that others could use; as img_storage_lock (). */
  gboolean (*lock)         (ImgStorage *storage, ImgLockRole role, ImgLocking locking,
                            ImgFileLock **lock, ImgError **error);
  /* Optional, as img_storage_copy_range (); both storages are of this class. */
  guint64  (*copy_range)   (ImgStorage *from, guint64 from_offset, ImgStorage *to,
                            guint64 to_offset, guint64 length);
  /* Optional, as img_storage_prefetch (). */
  gboolean (*prefetch)     (ImgStorage *storage, ImgPrefetch *prefetch, guint64 offset, guint64 length);
  /* Optional: FALSE when a request that the calling thread waited for would never be complete. */
  gboolean (*may_wait)     (ImgStorage *storage, ImgError **error);
};

struct _ImgStorage
{
  const ImgStorageClass *klass;
  ImgRefCount ref_count;
  char *name; /* for messages and for resolving relative names; NULL if it has none */
  gboolean can_write;
  gboolean calls_out; /* the application answers its requests */
  gboolean may_hang;  /* nobody here can tell whether its requests are ever answered */
  gint cannot_try_writes; /* atomic: a write with NOWAIT has never done anything and never will */
};

/* For implementations. */
void        img_storage_init         (ImgStorage *storage, const ImgStorageClass *klass,
                                      const char *name);
void        img_io_complete          (ImgIo *io, ImgError *error); /* takes @error */
void        img_io_complete_partly   (ImgIo *io, gsize n_done);    /* a NOWAIT request that would block */

ImgStorage *img_storage_ref          (ImgStorage *storage);
void        img_storage_unref        (ImgStorage *storage);
const char *img_storage_get_name     (ImgStorage *storage); /* nullable */

void        img_storage_submit       (ImgStorage *storage, ImgIo *ios, guint n_ios);
/* Returns when all are complete; requests are never abandoned, so there is no cancel here. On a pool
 * worker the wait is announced to the pool. */
void        img_io_wait              (ImgIo *ios, guint n_ios);
/* Whether all are complete. If not, the calling thread is woken (img_park ()) when one is; one thread waits for a
 * request. */
gboolean    img_io_poll              (ImgIo *ios, guint n_ios);
/* Moves the first error of @ios to @error and frees the others; TRUE if there was none. */
gboolean    img_io_collect           (ImgIo *ios, guint n_ios, ImgError **error);

gboolean    img_storage_read         (ImgStorage *storage, guint64 offset, gpointer buffer,
                                      gsize length, ImgError **error);
/* One request each, made and waited for. */
gboolean    img_storage_write        (ImgStorage *storage, guint64 offset, gconstpointer buffer,
                                      gsize length, ImgError **error);
gboolean    img_storage_zero         (ImgStorage *storage, guint64 offset, guint64 length,
                                      ImgIoFlags flags, ImgError **error);
gboolean    img_storage_discard      (ImgStorage *storage, guint64 offset, guint64 length,
                                      ImgError **error);
gboolean    img_storage_allocate     (ImgStorage *storage, guint64 offset, guint64 length,
                                      ImgError **error);
gboolean    img_storage_truncate     (ImgStorage *storage, guint64 size, ImgError **error);
gboolean    img_storage_flush        (ImgStorage *storage, ImgError **error);
gboolean    img_storage_get_size     (ImgStorage *storage, guint64 *size, ImgError **error);
gboolean    img_storage_get_range    (ImgStorage *storage, guint64 offset, guint64 length,
                                      ImgRange *range, ImgError **error);
/* Copies bytes where they are, without reading them: file systems that can let both files share their blocks. Neither
 * grows, and they are not the same file. Returns how many bytes were copied, from the start; what is left, which may
 * be all of it and for whatever reason, is to be read and written, and that tells of an error if it is one. */
guint64     img_storage_copy_range   (ImgStorage *from, guint64 from_offset, ImgStorage *to,
                                      guint64 to_offset, guint64 length);
/* Makes a NOWAIT read of the range find its bytes, probably, when @prefetch->done () is called, which is never when this
 * returns FALSE. The storage is kept by the caller until then. Never waits. */
gboolean    img_storage_prefetch     (ImgStorage *storage, ImgPrefetch *prefetch, guint64 offset,
                                      guint64 length);
/* FALSE without an error when the storage cannot tell. */
gboolean    img_storage_get_usage    (ImgStorage *storage, guint64 *usage, ImgError **error);
gboolean    img_storage_get_identity (ImgStorage *storage, ImgIdentity *identity);
/* To be kept as long as the storage is used, and released. TRUE with *lock = NULL where there is nothing to lock,
 * and with IMG_LOCKING_OFF. One storage may be locked more than once; its locks must get along. */
gboolean    img_storage_lock         (ImgStorage *storage, ImgLockRole role, ImgLocking locking,
                                      ImgFileLock **lock, ImgError **error);
/* Whether the calling thread may wait for requests, its own and those of others. */
gboolean    img_storage_may_wait     (ImgStorage *storage, ImgError **error);
/* Whether the storage is @file or lies in it. */
gboolean    img_storage_uses_file    (ImgStorage *storage, const ImgIdentity *file);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgStorage, img_storage_unref)

G_END_DECLS
