/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Locks on image files, against other programs and against other users in this process.
 *
 * The protocol is QEMU's: whoever uses a permission holds a read lock on the byte 100 + n of the file, whoever
 * does not share it with others one on 200 + n, and one finds the others by asking who would be in the way of
 * a write lock. Everybody locks first and asks then, so of two that race at most one succeeds.
 *
 * To the kernel the descriptors of one process are strangers to each other, so a process keeps one
 * description for each file, whose locks are the sum of what its users hold; what they are to each other is
 * decided here. So a user can exchange what it holds without a moment in which it holds nothing.
 *
 * Who is in the way but about to leave (img-leaving.h) is waited for; nobody else is.
 *
 * Any function may be called from any thread.
 */

#pragma once

#include "img-error.h"
#include "img-leaving.h"

G_BEGIN_DECLS

/* What is done with a file, and what others may do with it meanwhile. */
typedef enum
{
  IMG_LOCK_READ,        /* and nobody writes: images of a format, backing files */
  IMG_LOCK_READ_SHARED, /* and others may write: raw disks; any image, where that is forced */
  IMG_LOCK_WRITE,       /* and nobody else writes */
  IMG_LOCK_CREATE,      /* the content is thrown away: not while somebody counts on it */
} ImgLockRole;

typedef enum
{
  IMG_LOCKING_AUTO, /* a file system without locks has none */
  IMG_LOCKING_ON,   /* … is an error */
  IMG_LOCKING_OFF,
} ImgLocking;

typedef struct _ImgFileLock ImgFileLock;

/* What makes two descriptors the same file. */
typedef struct
{
  guint64 device;
  guint64 inode;
} ImgIdentity;

/* @fd is only duplicated; @name is for messages, NULL if there is none. Fails with IMG_CODE_LOCKED when it is in
 * the way of others. Not with IMG_LOCKING_OFF. */
ImgFileLock *img_file_lock_take    (int fd, const ImgIdentity *file, const char *name,
                                    ImgLockRole role, ImgLocking locking, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* When it fails the lock is what it was. */
gboolean     img_file_lock_change  (ImgFileLock *lock, ImgLockRole role, ImgError **error);
/* Never waits. @lock will be released in the course of it, perhaps. */
void         img_file_lock_leave   (ImgFileLock *lock, ImgLeaving *leaving);
void         img_file_lock_release (ImgFileLock *lock); /* nullable */

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgFileLock, img_file_lock_release)

G_END_DECLS
