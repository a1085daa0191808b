/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Disks that remember what was done to them and in what order; and that fail where a test says so.
 *
 * Disks of one log share its clock, so that what happened to an image and to its data file can be put in
 * order. While a scheduler runs, requests are completed by a device of its own, in any order; otherwise
 * in the call. All of it may be called from any thread.
 */

#pragma once

#include "crash-pages.h"
#include "crash-scheduler.h"

G_BEGIN_DECLS

#define CRASH_MAX_DISKS 4
#define CRASH_SECTOR 512u
#define CRASH_NEVER G_MAXUINT64

typedef struct _CrashLog CrashLog;

/* A change, or a flush; in the order of submission. */
typedef struct
{
  guint disk;
  ImgIoOp op;
  guint64 offset; /* TRUNCATE: the new size */
  guint64 length;
  guint8 *data;   /* WRITE */
  guint64 submitted;
  guint64 completed; /* CRASH_NEVER: it failed, or was not done yet */
} CrashEntry;

CrashLog         *crash_log_new         (guint64 seed);
void              crash_log_free        (CrashLog *log); /* after its disks */

/* A disk with the content of @content, which it takes. Returns a new reference; disks are numbered from 0. */
ImgStorage       *crash_log_add_disk    (CrashLog *log, const char *name, CrashPages *content)
  G_GNUC_WARN_UNUSED_RESULT;
guint             crash_log_n_disks     (CrashLog *log);
CrashPages       *crash_log_get_content (CrashLog *log, guint disk);
/* What was there when the log was started. */
CrashPages       *crash_log_get_base    (CrashLog *log, guint disk);

/* Forgets what was; what the disks hold now counts as durable. */
void              crash_log_start       (CrashLog *log);
void              crash_log_stop        (CrashLog *log);

/* Everything that happens at one log has a time of its own. */
guint64           crash_log_tick        (CrashLog *log);
guint64           crash_log_now         (CrashLog *log); /* the time of the next event */
/* A crash at this moment is worth a look. */
void              crash_log_mark        (CrashLog *log);

const GPtrArray  *crash_log_get_entries (CrashLog *log); /* of CrashEntry */
const GArray     *crash_log_get_marks   (CrashLog *log); /* of guint64 */

/* Serves the disks while @scheduler runs. */
void              crash_log_add_device  (CrashLog *log, CrashScheduler *scheduler);

/* Real threads use the disks: from now on requests are done by a thread of the log, later, in an order drawn from its
 * seed and from what has arrived. Nobody uses the disks while it begins and ends. */
void              crash_log_start_shuffling (CrashLog *log);
/* How often a request was done before one that had come earlier. */
guint64           crash_log_stop_shuffling (CrashLog *log);

typedef enum
{
  CRASH_FAULT_BEFORE, /* nothing was done */
  CRASH_FAULT_HALF,   /* the first half was */
  CRASH_FAULT_AFTER,  /* all of it was, and the request fails nevertheless */
} CrashFaultEffect;

typedef struct
{
  guint nth;          /* 1: the next request that counts; 0: none */
  int system_errno;
  gboolean persists;  /* all later ones fail too */
  CrashFaultEffect effect;
  guint op_mask;      /* 1 << ImgIoOp of those that count */
} CrashFault;

#define CRASH_ALL_OPS (~0u)

/* NULL: none; then a disk whose flush has failed works again, as if its file had been opened anew. */
void              crash_log_set_fault   (CrashLog *log, const CrashFault *fault);
/* Whether it has struck since it was set. */
gboolean          crash_log_has_failed  (CrashLog *log);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CrashLog, crash_log_free)

G_END_DECLS
