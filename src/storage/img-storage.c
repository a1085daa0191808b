/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-pool.h"
#include "img-storage.h"

void
img_storage_init (ImgStorage *storage, const ImgStorageClass *klass, const char *name)
{
  storage->klass = klass;
  img_ref_init (&storage->ref_count);
  storage->name = g_strdup (name);
}

ImgStorage *
img_storage_ref (ImgStorage *storage)
{
  img_ref_inc (&storage->ref_count);
  return storage;
}

void
img_storage_unref (ImgStorage *storage)
{
  char *name;

  if (storage == NULL || !img_ref_dec (&storage->ref_count))
    return;
  name = storage->name;
  storage->klass->free (storage);
  g_free (name);
}

const char *
img_storage_get_name (ImgStorage *storage)
{
  return storage->name;
}

/* Here once, so that no storage has to look. */
static void
refuse (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (ios[i].op == IMG_IO_READ)
        {
          storage->klass->submit (storage, &ios[i], 1);
          continue;
        }
      img_error_set (&error, IMG_CODE_READ_ONLY, _("The storage was not opened for writing"));
      img_io_complete (&ios[i], error);
    }
}

void
img_storage_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  gboolean is_allowed = storage->can_write;

  for (guint i = 0; !is_allowed && i < n_ios && ios[i].op == IMG_IO_READ; i++)
    is_allowed = i == n_ios - 1;
  if (G_LIKELY (is_allowed) || n_ios == 0)
    storage->klass->submit (storage, ios, n_ios);
  else
    refuse (storage, ios, n_ios);
}

/* ImgIo.state is NULL while nobody waits, then the parker of the thread that waits (with a
 * reference), at last STATE_DONE. The completer's exchange is its last look at the request: the
 * owner may free it the moment it reads STATE_DONE. */
#define STATE_DONE ((gpointer) 1)

static gboolean
is_done (ImgIo *io)
{
  return __atomic_load_n (&io->state, __ATOMIC_ACQUIRE) == STATE_DONE;
}

static void
complete (ImgIo *io)
{
  ImgParker *waiter = NULL;

  if (io->flags & IMG_IO_NOWAIT) /* still inside submit (): nobody can wait yet */
    __atomic_store_n (&io->state, STATE_DONE, __ATOMIC_RELEASE);
  else
    waiter = __atomic_exchange_n (&io->state, STATE_DONE, __ATOMIC_ACQ_REL);
  if (waiter != NULL)
    {
      img_unpark (waiter);
      img_parker_unref (waiter);
    }
}

void
img_io_complete (ImgIo *io, ImgError *error)
{
  io->error = error;
  io->would_block = FALSE;
  complete (io);
}

void
img_io_complete_partly (ImgIo *io, gsize n_done)
{
  g_assert (io->flags & IMG_IO_NOWAIT);
  io->n_done = n_done;
  io->would_block = TRUE;
  complete (io);
}

/* TRUE if @io is done, else its completion wakes this thread. */
static gboolean
watch (ImgIo *io)
{
  ImgParker *parker = img_parker_current ();
  gpointer seen = NULL;

  img_parker_ref (parker);
  if (__atomic_compare_exchange_n (&io->state, &seen, parker, FALSE, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE))
    return FALSE;
  img_parker_unref (parker); /* done, or watched already */
  return seen == STATE_DONE;
}

gboolean
img_io_poll (ImgIo *ios, guint n_ios)
{
  for (guint i = 0; i < n_ios; i++)
    if (G_UNLIKELY (!is_done (&ios[i])) && !watch (&ios[i]))
      return FALSE;
  return TRUE;
}

/* The pool may have no thread to spare; whoever depends on one asked for it when it took the request. */
static void
wait_in_park (ImgIo *ios, guint n_ios)
{
  gboolean announced = img_pool_begin_wait (NULL);

  while (!img_io_poll (ios, n_ios))
    img_park ();
  if (announced)
    img_pool_end_wait ();
}

void
img_io_wait (ImgIo *ios, guint n_ios)
{
  if (G_UNLIKELY (!img_io_poll (ios, n_ios)))
    wait_in_park (ios, n_ios);
}

gboolean
img_io_collect (ImgIo *ios, guint n_ios, ImgError **error)
{
  gboolean success = TRUE;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *io_error = g_steal_pointer (&ios[i].error);

      if (G_LIKELY (io_error == NULL))
        continue;
      if (success)
        img_error_propagate (error, io_error);
      else
        img_error_free (io_error);
      success = FALSE;
    }
  return success;
}

static gboolean
run_one (ImgStorage *storage, ImgIo *io, ImgError **error)
{
  img_storage_submit (storage, io, 1);
  img_io_wait (io, 1);
  return img_io_collect (io, 1, error);
}

gboolean
img_storage_read (ImgStorage *storage,
                  guint64 offset,
                  gpointer buffer,
                  gsize length,
                  ImgError **error)
{
  struct iovec iov = { buffer, length };
  ImgIo io = { .op = IMG_IO_READ, .offset = offset, .length = length, .iov = &iov, .n_iov = 1 };

  return length == 0 || run_one (storage, &io, error);
}

gboolean
img_storage_write (ImgStorage *storage,
                   guint64 offset,
                   gconstpointer buffer,
                   gsize length,
                   ImgError **error)
{
  struct iovec iov = { (gpointer) buffer, length };
  ImgIo io = { .op = IMG_IO_WRITE, .offset = offset, .length = length, .iov = &iov, .n_iov = 1 };

  return length == 0 || run_one (storage, &io, error);
}

gboolean
img_storage_zero (ImgStorage *storage,
                  guint64 offset,
                  guint64 length,
                  ImgIoFlags flags,
                  ImgError **error)
{
  ImgIo io = { .op = IMG_IO_ZERO, .flags = flags, .offset = offset, .length = length };

  return length == 0 || run_one (storage, &io, error);
}

gboolean
img_storage_discard (ImgStorage *storage, guint64 offset, guint64 length, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_DISCARD, .offset = offset, .length = length };

  return length == 0 || run_one (storage, &io, error);
}

gboolean
img_storage_allocate (ImgStorage *storage, guint64 offset, guint64 length, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_ALLOCATE, .offset = offset, .length = length };

  return length == 0 || run_one (storage, &io, error);
}

gboolean
img_storage_truncate (ImgStorage *storage, guint64 size, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_TRUNCATE, .offset = size };

  return run_one (storage, &io, error);
}

gboolean
img_storage_flush (ImgStorage *storage, ImgError **error)
{
  ImgIo io = { .op = IMG_IO_FLUSH };

  return run_one (storage, &io, error);
}

gboolean
img_storage_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return storage->klass->get_size (storage, size, error);
}

gboolean
img_storage_get_range (ImgStorage *storage,
                       guint64 offset,
                       guint64 length,
                       ImgRange *range,
                       ImgError **error)
{
  *range = (ImgRange) { IMG_RANGE_DATA, length };
  if (storage->klass->get_range == NULL)
    return TRUE;
  if (!storage->klass->get_range (storage, offset, length, range, error))
    return FALSE;
  g_assert (range->length > 0 && range->length <= length);
  return TRUE;
}

gboolean
img_storage_prefetch (ImgStorage *storage, ImgPrefetch *prefetch, guint64 offset, guint64 length)
{
  return storage->klass->prefetch != NULL && storage->klass->prefetch (storage, prefetch, offset, length);
}

gboolean
img_storage_get_usage (ImgStorage *storage, guint64 *usage, ImgError **error)
{
  return storage->klass->get_usage != NULL && storage->klass->get_usage (storage, usage, error);
}

guint64
img_storage_copy_range (ImgStorage *from,
                        guint64 from_offset,
                        ImgStorage *to,
                        guint64 to_offset,
                        guint64 length)
{
  if (from->klass != to->klass || from->klass->copy_range == NULL || !to->can_write)
    return 0;
  return from->klass->copy_range (from, from_offset, to, to_offset, length);
}

gboolean
img_storage_get_identity (ImgStorage *storage, ImgIdentity *identity)
{
  return storage->klass->get_identity != NULL && storage->klass->get_identity (storage, identity);
}

gboolean
img_storage_lock (ImgStorage *storage,
                  ImgLockRole role,
                  ImgLocking locking,
                  ImgFileLock **lock,
                  ImgError **error)
{
  *lock = NULL;
  return locking == IMG_LOCKING_OFF || storage->klass->lock == NULL ||
         storage->klass->lock (storage, role, locking, lock, error);
}

gboolean
img_storage_uses_file (ImgStorage *storage, const ImgIdentity *file)
{
  ImgIdentity identity;

  if (storage->klass->uses_file != NULL)
    return storage->klass->uses_file (storage, file);
  return img_storage_get_identity (storage, &identity) && identity.device == file->device &&
         identity.inode == file->inode;
}

gboolean
img_storage_may_wait (ImgStorage *storage, ImgError **error)
{
  return storage->klass->may_wait == NULL || storage->klass->may_wait (storage, error);
}
