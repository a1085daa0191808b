/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "crash-log.h"
#include "crash-random.h"
#include "img-iov.h"

typedef struct
{
  ImgStorage parent;
  CrashLog *log;
  guint index;
  CrashPages *content;
  CrashPages *base;        /* NULL: not recording */
  gboolean flush_failed;   /* the contract of a storage: then all flushes fail */
} Disk;

typedef struct
{
  Disk *disk;
  ImgIo *io;
  CrashEntry *entry; /* nullable */
  guint64 due;       /* the turn of the device before which it is not done */
  guint64 sequence;
} Pending;

struct _CrashLog
{
  ImgMutex mutex;
  Disk *disks[CRASH_MAX_DISKS];
  guint n_disks;
  gboolean recording;
  guint64 now;
  GPtrArray *entries;
  GArray *marks;
  CrashRandom random;

  CrashFault fault;
  guint countdown;
  gboolean has_failed;

  /* While a scheduler runs. */
  CrashScheduler *scheduler;
  ImgParker *device;
  GArray *pending; /* of Pending */
  /* While requests are shuffled without one; with the mutex. */
  GThread *shuffler;
  gboolean is_shuffling;
  ImgWaitList arrived;
  guint64 n_queued;
  guint64 n_overtaken;
  guint64 n_turns;
};

static void
entry_free (gpointer data)
{
  CrashEntry *entry = data;

  g_free (entry->data);
  g_free (entry);
}

CrashLog *
crash_log_new (guint64 seed)
{
  CrashLog *log = g_new0 (CrashLog, 1);

  img_mutex_init (&log->mutex);
  log->random = crash_random (seed);
  log->now = 1;
  log->entries = g_ptr_array_new_with_free_func (entry_free);
  log->marks = g_array_new (FALSE, FALSE, sizeof (guint64));
  log->pending = g_array_new (FALSE, FALSE, sizeof (Pending));
  return log;
}

void
crash_log_free (CrashLog *log)
{
  g_assert (log->pending->len == 0);
  for (guint i = 0; i < log->n_disks; i++)
    {
      g_clear_pointer (&log->disks[i]->base, crash_pages_free);
      img_storage_unref (&log->disks[i]->parent);
    }
  g_ptr_array_unref (log->entries);
  g_array_unref (log->marks);
  g_array_unref (log->pending);
  img_mutex_clear (&log->mutex);
  g_free (log);
}

/* ---- time ---- */

static guint64
tick (CrashLog *log)
{
  return log->now++;
}

guint64
crash_log_tick (CrashLog *log)
{
  guint64 time;

  img_mutex_lock (&log->mutex);
  time = tick (log);
  img_mutex_unlock (&log->mutex);
  return time;
}

guint64
crash_log_now (CrashLog *log)
{
  guint64 time;

  img_mutex_lock (&log->mutex);
  time = log->now;
  img_mutex_unlock (&log->mutex);
  return time;
}

void
crash_log_mark (CrashLog *log)
{
  img_mutex_lock (&log->mutex);
  if (log->recording)
    g_array_append_val (log->marks, log->now);
  tick (log);
  img_mutex_unlock (&log->mutex);
}

const GPtrArray *
crash_log_get_entries (CrashLog *log)
{
  return log->entries;
}

const GArray *
crash_log_get_marks (CrashLog *log)
{
  return log->marks;
}

/* ---- faults ---- */

void
crash_log_set_fault (CrashLog *log, const CrashFault *fault)
{
  img_mutex_lock (&log->mutex);
  log->fault = fault != NULL ? *fault : (CrashFault) { 0 };
  log->countdown = log->fault.nth;
  log->has_failed = FALSE;
  for (guint i = 0; i < log->n_disks; i++)
    log->disks[i]->flush_failed = FALSE;
  img_mutex_unlock (&log->mutex);
}

gboolean
crash_log_has_failed (CrashLog *log)
{
  gboolean failed;

  img_mutex_lock (&log->mutex);
  failed = log->has_failed;
  img_mutex_unlock (&log->mutex);
  return failed;
}

static gboolean
fault_strikes (CrashLog *log, const ImgIo *io)
{
  if (log->countdown == 0 || !(log->fault.op_mask & (1u << io->op)))
    return FALSE;
  if (log->countdown > 1)
    {
      log->countdown--;
      return FALSE;
    }
  if (!log->fault.persists)
    log->countdown = 0;
  log->has_failed = TRUE;
  return TRUE;
}

/* ---- requests ---- */

static CrashEntry *
record (Disk *disk, const ImgIo *io)
{
  CrashEntry *entry;

  if (!disk->log->recording || io->op == IMG_IO_READ)
    return NULL;
  entry = g_new0 (CrashEntry, 1);
  entry->disk = disk->index;
  entry->op = io->op;
  entry->offset = io->offset;
  entry->length = io->length;
  entry->submitted = tick (disk->log);
  entry->completed = CRASH_NEVER;
  if (io->op == IMG_IO_WRITE)
    {
      guint8 *end = entry->data = g_malloc (io->length);

      for (guint i = 0; i < io->n_iov; i++)
        {
          memcpy (end, io->iov[i].iov_base, io->iov[i].iov_len);
          end += io->iov[i].iov_len;
        }
    }
  g_ptr_array_add (disk->log->entries, entry);
  return entry;
}

/* The memory of a request belongs to the storage until it is complete: a change in between would reach a
 * real disk or not. */
static void
assert_unchanged (const CrashEntry *entry, const ImgIo *io)
{
  const guint8 *end = entry->data;

  for (guint i = 0; end != NULL && i < io->n_iov; i++)
    {
      if (memcmp (end, io->iov[i].iov_base, io->iov[i].iov_len) != 0)
        g_error ("The memory of a write was changed before the write was complete");
      end += io->iov[i].iov_len;
    }
}

/* The first half of a request, in whole sectors: they are never torn. */
static void
submit_half (CrashPages *content, const ImgIo *io)
{
  /* Not all of it: whoever waits for the request changes its state meanwhile. */
  ImgIo half = {
    .op = io->op, .flags = io->flags, .offset = io->offset, .iov = io->iov, .n_iov = io->n_iov,
  };
  struct iovec *iov = g_newa (struct iovec, MAX (io->n_iov, 1));
  ImgIovCursor cursor = img_iov_cursor (io->iov, io->n_iov);
  gboolean has_range = io->op == IMG_IO_WRITE || io->op == IMG_IO_ZERO || io->op == IMG_IO_DISCARD;

  guint64 end = (io->offset + io->length / 2) / CRASH_SECTOR * CRASH_SECTOR;

  if (!has_range || end <= io->offset)
    return;
  half.length = end - io->offset;
  if (io->op == IMG_IO_WRITE)
    {
      img_iov_cursor_slice (&cursor, half.length, iov, io->n_iov, &half.n_iov);
      half.iov = iov;
    }
  crash_pages_submit (content, &half);
}

/* Does the request; returns its error. With the mutex held. */
static ImgError *
perform (Disk *disk, ImgIo *io, CrashEntry *entry)
{
  CrashLog *log = disk->log;
  ImgError *error = NULL;

  if (fault_strikes (log, io))
    {
      if (log->fault.effect == CRASH_FAULT_AFTER)
        crash_pages_submit (disk->content, io);
      else if (log->fault.effect == CRASH_FAULT_HALF)
        submit_half (disk->content, io);
      disk->flush_failed |= io->op == IMG_IO_FLUSH;
      img_error_set_errno (&error, log->fault.system_errno, "Injected");
    }
  else if (io->op == IMG_IO_FLUSH && disk->flush_failed)
    img_error_set_errno (&error, EIO, "An earlier flush failed");
  else
    crash_pages_submit (disk->content, io);
  if (entry != NULL)
    {
      guint64 time = tick (log);

      assert_unchanged (entry, io);
      if (error == NULL)
        entry->completed = time;
    }
  return error;
}

static void
finish (Disk *disk, ImgIo *io, CrashEntry *entry)
{
  ImgError *error;

  img_mutex_lock (&disk->log->mutex);
  error = perform (disk, io, entry);
  img_mutex_unlock (&disk->log->mutex);
  img_io_complete (io, error);
}

/* Some requests take so long that much else happens meanwhile: whole flushes, while one read waits. */
#define SLOW_ONE_IN 6
#define MAX_DELAY 60
#define MAX_READ_DELAY 400

static void
queue (Disk *disk, ImgIo *io, CrashEntry *entry)
{
  Pending pending = { disk, io, entry, 0, 0 };
  CrashLog *log = disk->log;

  img_mutex_lock (&log->mutex);
  if (crash_random_one_in (&log->random, SLOW_ONE_IN))
    pending.due = log->n_turns + crash_random_below (&log->random, io->op == IMG_IO_READ
                                                                        ? MAX_READ_DELAY
                                                                        : MAX_DELAY);
  pending.sequence = log->n_queued++;
  g_array_append_val (log->pending, pending);
  img_wait_list_wake_all (&log->arrived);
  img_mutex_unlock (&log->mutex);
  if (log->device != NULL)
    img_unpark (log->device);
}

static void
disk_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Disk *disk = (Disk *) storage;
  gboolean later = disk->log->shuffler != NULL ||
                   (crash_scheduler_current () != NULL && disk->log->scheduler != NULL);

  for (guint i = 0; i < n_ios; i++)
    {
      CrashEntry *entry;

      if (later && (ios[i].flags & IMG_IO_NOWAIT))
        {
          img_io_complete_partly (&ios[i], 0);
          continue;
        }
      img_mutex_lock (&disk->log->mutex);
      entry = record (disk, &ios[i]);
      img_mutex_unlock (&disk->log->mutex);
      if (later)
        queue (disk, &ios[i], entry);
      else
        finish (disk, &ios[i], entry);
    }
  crash_scheduler_pause ();
}

/* ---- the device ---- */

typedef enum
{
  DEVICE_IDLE,
  DEVICE_WAITS, /* nothing is due yet */
  DEVICE_WORKS,
} DeviceState;

static void
count_overtaken (CrashLog *log, guint64 sequence)
{
  for (guint i = 0; i < log->pending->len; i++)
    if (g_array_index (log->pending, Pending, i).sequence < sequence)
      {
        log->n_overtaken++;
        return;
      }
}

/* Any of the requests that are due. */
static DeviceState
take_any (CrashLog *log, Pending *pending)
{
  guint n = 0, chosen = 0;
  DeviceState state;

  img_mutex_lock (&log->mutex);
  log->n_turns++;
  for (guint i = 0; i < log->pending->len; i++)
    if (g_array_index (log->pending, Pending, i).due <= log->n_turns &&
        crash_random_one_in (&log->random, ++n))
      chosen = i;
  state = log->pending->len == 0 ? DEVICE_IDLE : n == 0 ? DEVICE_WAITS : DEVICE_WORKS;
  if (state == DEVICE_WORKS)
    {
      *pending = g_array_index (log->pending, Pending, chosen);
      g_array_remove_index_fast (log->pending, chosen);
      count_overtaken (log, pending->sequence);
    }
  img_mutex_unlock (&log->mutex);
  return state;
}

static void
device_thread (gpointer data)
{
  CrashLog *log = data;
  Pending pending;

  log->device = img_parker_current ();
  while (!crash_scheduler_is_over (log->scheduler))
    switch (take_any (log, &pending))
      {
      case DEVICE_IDLE:
        img_park ();
        break;
      case DEVICE_WAITS:
        crash_scheduler_pause ();
        break;
      case DEVICE_WORKS:
        finish (pending.disk, pending.io, pending.entry);
        crash_scheduler_pause ();
        break;
      }
  log->device = NULL;
  log->scheduler = NULL;
}

void
crash_log_add_device (CrashLog *log, CrashScheduler *scheduler)
{
  log->scheduler = scheduler;
  crash_scheduler_add (scheduler, "device", device_thread, log, TRUE);
}

/* ---- a device without a scheduler ---- */

/* FALSE: it is over. */
static gboolean
wait_arrived (CrashLog *log)
{
  gboolean goes_on;

  img_mutex_lock (&log->mutex);
  while (log->pending->len == 0 && log->is_shuffling)
    img_wait_list_wait (&log->arrived, &log->mutex);
  goes_on = log->pending->len > 0;
  img_mutex_unlock (&log->mutex);
  return goes_on;
}

static gpointer
shuffler_thread (gpointer data)
{
  CrashLog *log = data;
  Pending pending;

  while (wait_arrived (log))
    if (take_any (log, &pending) == DEVICE_WORKS)
      finish (pending.disk, pending.io, pending.entry);
  return NULL;
}

void
crash_log_start_shuffling (CrashLog *log)
{
  log->is_shuffling = TRUE;
  log->shuffler = g_thread_new ("shuffler", shuffler_thread, log);
}

guint64
crash_log_stop_shuffling (CrashLog *log)
{
  img_mutex_lock (&log->mutex);
  log->is_shuffling = FALSE;
  img_wait_list_wake_all (&log->arrived);
  img_mutex_unlock (&log->mutex);
  g_thread_join (g_steal_pointer (&log->shuffler));
  return log->n_overtaken;
}

/* ---- disks ---- */

static gboolean
disk_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  Disk *disk = (Disk *) storage;

  img_mutex_lock (&disk->log->mutex);
  *size = crash_pages_get_size (disk->content);
  img_mutex_unlock (&disk->log->mutex);
  return TRUE;
}

static void
disk_free (ImgStorage *storage)
{
  crash_pages_free (((Disk *) storage)->content);
  g_free (storage);
}

static const ImgStorageClass disk_class = {
  .type_name = "crash disk",
  .submit = disk_submit,
  .get_size = disk_get_size,
  .free = disk_free,
};

ImgStorage *
crash_log_add_disk (CrashLog *log, const char *name, CrashPages *content)
{
  Disk *disk = g_new0 (Disk, 1);

  g_assert (log->n_disks < CRASH_MAX_DISKS);
  img_storage_init (&disk->parent, &disk_class, name);
  disk->parent.can_write = TRUE;
  disk->log = log;
  disk->index = log->n_disks;
  disk->content = content;
  log->disks[log->n_disks++] = disk;
  return img_storage_ref (&disk->parent);
}

guint
crash_log_n_disks (CrashLog *log)
{
  return log->n_disks;
}

CrashPages *
crash_log_get_content (CrashLog *log, guint disk)
{
  return log->disks[disk]->content;
}

CrashPages *
crash_log_get_base (CrashLog *log, guint disk)
{
  return log->disks[disk]->base;
}

void
crash_log_start (CrashLog *log)
{
  for (guint i = 0; i < log->n_disks; i++)
    {
      g_clear_pointer (&log->disks[i]->base, crash_pages_free);
      log->disks[i]->base = crash_pages_copy (log->disks[i]->content);
    }
  g_ptr_array_set_size (log->entries, 0);
  g_array_set_size (log->marks, 0);
  log->recording = TRUE;
}

void
crash_log_stop (CrashLog *log)
{
  log->recording = FALSE;
}
