/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n-lib.h>
#include <unistd.h>

#include "img-file-lock.h"
#include "img-lock.h"
#include "img-seam.h"
#include "img-turn.h"

/* The permissions of the protocol that matter to images, by their number. */
#define PERMISSION_READ 0
#define PERMISSION_WRITE 1
#define PERMISSION_RESIZE 3
#define N_PERMISSIONS 4

#define BIT(permission) (1u << (permission))
#define CHANGES (BIT (PERMISSION_WRITE) | BIT (PERMISSION_RESIZE))

#define USED_BYTE 100
#define UNSHARED_BYTE 200

typedef struct
{
  guint used;     /* bits of permissions */
  guint unshared;
} LockSet;

static const LockSet role_sets[] = {
  [IMG_LOCK_READ] = { BIT (PERMISSION_READ), CHANGES },
  [IMG_LOCK_READ_SHARED] = { BIT (PERMISSION_READ), 0 },
  [IMG_LOCK_WRITE] = { BIT (PERMISSION_READ) | CHANGES, CHANGES },
  [IMG_LOCK_CREATE] = { CHANGES, BIT (PERMISSION_RESIZE) },
};

/* One file of this process. */
typedef struct
{
  ImgIdentity file;
  guint n_refs;        /* with registry_mutex */
  ImgTurn turn;        /* for what follows; held across the system calls */
  GSList *locks;       /* of ImgFileLock */
  int fd;              /* whose description has the locks; -1: nobody has any */
  LockSet held;        /* by fd */
  gboolean is_lockless; /* its file system has no locks */
} LockedFile;

struct _ImgFileLock
{
  LockedFile *file;
  char *name;
  LockSet set;
  gboolean is_required; /* IMG_LOCKING_ON */
  GSList *leavings;     /* of ImgLeaving, owned; with leavings_mutex */
};

/* Of all locks: held for a moment now and then. Innermost but for an ImgLeaving's own. */
static ImgMutex leavings_mutex = IMG_MUTEX_INIT;

/* ---- the registry ---- */

static ImgMutex registry_mutex = IMG_MUTEX_INIT;
static GHashTable *registry; /* of LockedFile by its identity; NULL while empty */

static guint
hash_identity (gconstpointer key)
{
  const ImgIdentity *file = key;

  return g_int64_hash (&file->device) * 31 + g_int64_hash (&file->inode);
}

static gboolean
equal_identity (gconstpointer a, gconstpointer b)
{
  const ImgIdentity *one = a, *other = b;

  return one->device == other->device && one->inode == other->inode;
}

static LockedFile *
ref_file (const ImgIdentity *identity)
{
  LockedFile *file;

  img_mutex_lock (&registry_mutex);
  if (registry == NULL)
    registry = g_hash_table_new (hash_identity, equal_identity);
  file = g_hash_table_lookup (registry, identity);
  if (file == NULL)
    {
      file = g_new0 (LockedFile, 1);
      file->file = *identity;
      file->fd = -1;
      img_turn_init (&file->turn);
      g_hash_table_insert (registry, &file->file, file);
    }
  file->n_refs++;
  img_mutex_unlock (&registry_mutex);
  return file;
}

static void
unref_file (LockedFile *file)
{
  gboolean is_last;

  img_mutex_lock (&registry_mutex);
  is_last = --file->n_refs == 0;
  if (is_last)
    g_hash_table_remove (registry, &file->file);
  if (g_hash_table_size (registry) == 0)
    g_clear_pointer (&registry, g_hash_table_unref);
  img_mutex_unlock (&registry_mutex);
  if (!is_last)
    return;
  img_turn_clear (&file->turn);
  g_free (file);
}

/* ---- bytes ---- */

/* An errno; 0 for success. */
static int
set_byte (int fd, int byte, short type)
{
#ifdef F_OFD_SETLK
  struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
  int result;

  if (img_seam_is_on (IMG_SEAM_LOCK_ERRNO))
    return img_seam_get (IMG_SEAM_LOCK_ERRNO);
  do
    result = fcntl (fd, F_OFD_SETLK, &lock);
  while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
#else
  return ENOSYS;
#endif
}

static int
probe_byte (int fd, int byte, gboolean *is_taken)
{
  *is_taken = FALSE;
#ifdef F_OFD_SETLK
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
  int result;

  if (img_seam_is_on (IMG_SEAM_PROBE_ERRNO))
    return img_seam_get (IMG_SEAM_PROBE_ERRNO);
  do
    result = fcntl (fd, F_OFD_GETLK, &lock);
  while (result != 0 && errno == EINTR);
  if (result != 0)
    return errno;
  *is_taken = lock.l_type != F_UNLCK;
#endif
  return 0;
}

/* Byte by byte, and explicitly: a process that inherited the descriptor keeps the description alive. */
static void
remove_bytes (LockedFile *file, LockSet keep)
{
  for (int i = 0; i < N_PERMISSIONS; i++)
    {
      if (file->held.used & ~keep.used & BIT (i))
        set_byte (file->fd, USED_BYTE + i, F_UNLCK);
      if (file->held.unshared & ~keep.unshared & BIT (i))
        set_byte (file->fd, UNSHARED_BYTE + i, F_UNLCK);
    }
  file->held.used &= keep.used;
  file->held.unshared &= keep.unshared;
}

static int
add_bytes (LockedFile *file, LockSet set)
{
  for (int i = 0; i < N_PERMISSIONS; i++)
    {
      int error = 0;

      if (set.used & ~file->held.used & BIT (i))
        error = set_byte (file->fd, USED_BYTE + i, F_RDLCK);
      if (error != 0)
        return error;
      file->held.used |= set.used & BIT (i);
      if (set.unshared & ~file->held.unshared & BIT (i))
        error = set_byte (file->fd, UNSHARED_BYTE + i, F_RDLCK);
      if (error != 0)
        return error;
      file->held.unshared |= set.unshared & BIT (i);
    }
  return 0;
}

/* What others of other processes hold that is in the way of @set: bits as in find_conflict (). */
static int
probe_others (LockedFile *file, LockSet set, LockSet *others)
{
  *others = (LockSet) { 0, 0 };
  for (int i = 0; i < N_PERMISSIONS; i++)
    {
      gboolean is_taken = FALSE;
      int error = 0;

      if (set.unshared & BIT (i))
        error = probe_byte (file->fd, USED_BYTE + i, &is_taken);
      others->used |= is_taken ? BIT (i) : 0;
      if (error == 0 && (set.used & BIT (i)))
        {
          error = probe_byte (file->fd, UNSHARED_BYTE + i, &is_taken);
          others->unshared |= is_taken ? BIT (i) : 0;
        }
      if (error != 0)
        return error;
    }
  return 0;
}

/* ---- conflicts ---- */

typedef enum
{
  CONFLICT_NONE,
  CONFLICT_WRITES,
  CONFLICT_RESIZES,
  CONFLICT_READS,
  CONFLICT_EXCLUDES,
} Conflict;

static Conflict
find_conflict (LockSet set, LockSet others)
{
  guint used = set.unshared & others.used;
  guint unshared = set.used & others.unshared;

  if (used & BIT (PERMISSION_WRITE))
    return CONFLICT_WRITES;
  if (used & BIT (PERMISSION_RESIZE))
    return CONFLICT_RESIZES;
  if (unshared & CHANGES)
    return CONFLICT_READS;
  return (used | unshared) != 0 ? CONFLICT_EXCLUDES : CONFLICT_NONE;
}

static const char *
describe_other_process (Conflict conflict)
{
  switch (conflict)
    {
    case CONFLICT_WRITES:
      return _("another process is writing to it");
    case CONFLICT_RESIZES:
      return _("another process is changing its size");
    case CONFLICT_READS:
      return _("another process is using it and lets nobody write to it");
    default:
      return _("another process is using it alone");
    }
}

static const char *
describe_this_process (Conflict conflict)
{
  if (conflict == CONFLICT_WRITES || conflict == CONFLICT_RESIZES)
    return _("this process has it open for writing");
  return _("this process has it open for reading");
}

static gboolean
fail_locked (const ImgFileLock *lock, const char *reason, ImgError **error)
{
  g_autofree char *name = NULL;

  if (lock->name == NULL)
    {
      img_error_set (error, IMG_CODE_LOCKED, _("The file is in use: %s"), reason);
      return FALSE;
    }
  name = img_quote_name (lock->name);
  img_error_set (error, IMG_CODE_LOCKED, _("%s is in use: %s"), name, reason);
  return FALSE;
}

/* ---- taking, with the file's turn ---- */

/* What the other users of this process hold. */
static LockSet
sum_of_others (const LockedFile *file, const ImgFileLock *lock)
{
  LockSet sum = { 0, 0 };

  for (GSList *link = file->locks; link != NULL; link = link->next)
    {
      const ImgFileLock *other = link->data;

      if (other == lock)
        continue;
      sum.used |= other->set.used;
      sum.unshared |= other->set.unshared;
    }
  return sum;
}

static LockSet
join (LockSet a, LockSet b)
{
  return (LockSet) { a.used | b.used, a.unshared | b.unshared };
}

static gboolean
is_lockless (int error)
{
  return error == ENOLCK || error == ENOSYS || error == EINVAL || error == EOPNOTSUPP ||
         error == ENOTSUP;
}

/* Only those that ask for locks where there are none are told. */
static gboolean
fail_system (LockedFile *file, const ImgFileLock *lock, int saved_errno, ImgError **error)
{
  g_autofree char *name = img_quote_name (lock->name != NULL ? lock->name : "");

  if (saved_errno == EAGAIN || saved_errno == EACCES)
    return fail_locked (lock, describe_other_process (CONFLICT_EXCLUDES), error);
  if (is_lockless (saved_errno) && !lock->is_required)
    {
      file->is_lockless = TRUE;
      return TRUE;
    }
  img_error_set_errno (error, saved_errno, _("Cannot lock %s"), name);
  return FALSE;
}

static gboolean
lock_against_others (LockedFile *file, const ImgFileLock *lock, LockSet set, ImgError **error)
{
  LockSet others;
  Conflict conflict;
  int result;

  if (file->is_lockless)
    return fail_system (file, lock, ENOLCK, error);
  result = add_bytes (file, set);
  if (result == 0)
    result = probe_others (file, set, &others);
  if (result != 0)
    return fail_system (file, lock, result, error);
  conflict = find_conflict (set, others);
  return conflict == CONFLICT_NONE ||
         fail_locked (lock, describe_other_process (conflict), error);
}

/* Of a @lock that may be among the file's locks already. On success all that @lock held and does not hold any
 * more is given back, on failure all that was new. */
static gboolean
exchange (LockedFile *file, ImgFileLock *lock, LockSet set, ImgError **error)
{
  LockSet others = sum_of_others (file, lock);
  Conflict conflict = find_conflict (set, others);
  gboolean success;

  if (conflict != CONFLICT_NONE)
    return fail_locked (lock, describe_this_process (conflict), error);
  success = lock_against_others (file, lock, set, error);
  if (success)
    lock->set = set;
  remove_bytes (file, join (others, lock->set));
  return success;
}

/* ---- those that are about to leave ---- */

/* A new reference; NULL if @lock is there to stay. */
static ImgLeaving *
ref_leaving (const ImgFileLock *lock)
{
  ImgLeaving *found = NULL;

  img_mutex_lock (&leavings_mutex);
  for (GSList *link = lock->leavings; link != NULL && found == NULL; link = link->next)
    if (img_leaving_may_wait (link->data))
      found = img_leaving_ref (link->data);
  img_mutex_unlock (&leavings_mutex);
  return found;
}

/* Who of this process is in the way of @set, if those all leave: a new reference to one of them. */
static ImgLeaving *
find_leaving (const LockedFile *file, const ImgFileLock *lock, LockSet set)
{
  ImgLeaving *found = NULL;

  for (GSList *link = file->locks; link != NULL; link = link->next)
    {
      const ImgFileLock *other = link->data;

      if (other == lock || find_conflict (set, other->set) == CONFLICT_NONE)
        continue;
      g_clear_pointer (&found, img_leaving_unref);
      found = ref_leaving (other);
      if (found == NULL)
        return NULL;
    }
  return found;
}

/* Gives the turn back meanwhile: those that leave need it. */
static void
wait_for_leaving (LockedFile *file, const ImgFileLock *lock, LockSet set)
{
  ImgLeaving *leaving;

  while ((leaving = find_leaving (file, lock, set)) != NULL)
    {
      img_turn_give (&file->turn);
      img_leaving_finish (leaving);
      img_leaving_unref (leaving);
      img_turn_take (&file->turn);
    }
}

/* With the mutex held. A lock may outlive any number of those that might have taken it along. */
static void
forget_past (ImgFileLock *lock)
{
  for (GSList *link = lock->leavings, *next; link != NULL; link = next)
    {
      next = link->next;
      if (!img_leaving_is_over (link->data))
        continue;
      img_leaving_unref (link->data);
      lock->leavings = g_slist_delete_link (lock->leavings, link);
    }
}

void
img_file_lock_leave (ImgFileLock *lock, ImgLeaving *leaving)
{
  img_mutex_lock (&leavings_mutex);
  forget_past (lock);
  lock->leavings = g_slist_prepend (lock->leavings, img_leaving_ref (leaving));
  img_mutex_unlock (&leavings_mutex);
}

/* ---- the calls ---- */

static gboolean
prepare_fd (LockedFile *file, int fd, ImgError **error)
{
  if (file->fd >= 0)
    return TRUE;
  file->fd = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  if (file->fd < 0)
    img_error_set_errno (error, errno, _("Cannot use the file descriptor"));
  return file->fd >= 0;
}

static void
drop_fd (LockedFile *file)
{
  if (file->locks != NULL || file->fd < 0)
    return;
  close (file->fd);
  file->fd = -1;
}

static void
lock_free (ImgFileLock *lock)
{
  g_slist_free_full (lock->leavings, img_leaving_unref);
  g_free (lock->name);
  g_free (lock);
}

ImgFileLock *
img_file_lock_take (int fd,
                    const ImgIdentity *identity,
                    const char *name,
                    ImgLockRole role,
                    ImgLocking locking,
                    ImgError **error)
{
  LockedFile *file = ref_file (identity);
  ImgFileLock *lock = g_new0 (ImgFileLock, 1);
  gboolean success;

  g_assert (locking != IMG_LOCKING_OFF);
  lock->file = file;
  lock->name = g_strdup (name);
  lock->is_required = locking == IMG_LOCKING_ON;
  img_turn_take (&file->turn);
  wait_for_leaving (file, lock, role_sets[role]);
  success = prepare_fd (file, fd, error) && exchange (file, lock, role_sets[role], error);
  if (success)
    file->locks = g_slist_prepend (file->locks, lock);
  drop_fd (file);
  img_turn_give (&file->turn);
  if (success)
    return lock;
  unref_file (file);
  lock_free (lock);
  return NULL;
}

gboolean
img_file_lock_change (ImgFileLock *lock, ImgLockRole role, ImgError **error)
{
  gboolean success;

  img_turn_take (&lock->file->turn);
  wait_for_leaving (lock->file, lock, role_sets[role]);
  success = exchange (lock->file, lock, role_sets[role], error);
  img_turn_give (&lock->file->turn);
  return success;
}

void
img_file_lock_release (ImgFileLock *lock)
{
  LockedFile *file;

  if (lock == NULL)
    return;
  file = lock->file;
  img_turn_take (&file->turn);
  file->locks = g_slist_remove (file->locks, lock);
  remove_bytes (file, sum_of_others (file, NULL));
  drop_fd (file);
  img_turn_give (&file->turn);
  unref_file (file);
  lock_free (lock);
}
