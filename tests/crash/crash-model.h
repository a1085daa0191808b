/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a disk may hold: for every sector, each value that somebody wrote there and when.
 *
 * A sector's bytes are a function of the change that wrote it and of its number, so whatever is found says
 * where it came from. A value is allowed at a moment if its change had begun, and no change that began
 * after that one's end counts as settled: for a crash, a change is settled that had ended when the last
 * acknowledged flush began; for a read, one that had ended when the read began.
 *
 * A change that failed may or may not have happened, sector by sector, and settles nothing.
 */

#pragma once

#include "crash-log.h"
#include "img-image.h"

G_BEGIN_DECLS

#define CRASH_VALUE_ZERO ((guint64) 0)
#define CRASH_VALUE_BACKING ((guint64) 0xbac7)  /* what the backing image has there */
#define CRASH_FIRST_VALUE ((guint64) 0x10000)   /* changes are numbered from here */

void        crash_pattern_fill  (guint64 value, guint64 sector, guint8 *bytes);
/* FALSE: no pattern. Whether @sector is right is for the caller to say. */
gboolean    crash_pattern_parse (const guint8 *bytes, guint64 *value, guint64 *sector);

typedef struct _CrashModel CrashModel;

/* A disk of @n_sectors that may grow to @max_sectors. What the backing image has: the pattern of
 * CRASH_VALUE_BACKING in the first @n_backing sectors. */
CrashModel *crash_model_new         (CrashLog *log, guint64 n_sectors, guint64 max_sectors,
                                     guint64 n_backing);
void        crash_model_free        (CrashModel *model);
guint64     crash_model_get_size    (CrashModel *model); /* sectors, after the last resize */
/* After a resize that failed: what became of it. Whether that was allowed is another question. */
void        crash_model_set_size    (CrashModel *model, guint64 n_sectors);

/* Before the first change: @image is right as it is, whatever it holds. Returns what makes that impossible. */
char       *crash_model_start_from  (CrashModel *model, ImgImage *image)
  G_GNUC_WARN_UNUSED_RESULT;

typedef enum
{
  CRASH_CHANGE_WRITE,
  CRASH_CHANGE_ZERO,
  CRASH_CHANGE_DISCARD_ANY,
  CRASH_CHANGE_DISCARD_ZERO,
  CRASH_CHANGE_DISCARD_BACKING, /* whole clusters only */
} CrashChangeKind;

/* Returns the number of the change: for WRITE the value to write. */
guint64     crash_model_begin       (CrashModel *model, CrashChangeKind kind, guint64 first,
                                     guint64 n_sectors);
void        crash_model_end         (CrashModel *model, guint64 change, gboolean succeeded);

/* What is new reads as zero, also where it had been cut off. */
guint64     crash_model_begin_resize (CrashModel *model, guint64 n_sectors);
/* Shrinking has failed and the disk says that it has @n_sectors: what is written from now on must not be cut off. A
 * growth that had failed before may be in the file still. */
void        crash_model_undo_shrink  (CrashModel *model, guint64 n_sectors);

/* A flush that is acknowledged is a moment for a crash. */
guint64     crash_model_begin_flush (CrashModel *model);
void        crash_model_end_flush   (CrashModel *model, guint64 started, gboolean succeeded);

typedef struct
{
  guint64 settled; /* changes that ended before */
  guint64 now;     /* changes that began before may be seen */
} CrashMoment;

/* From now on bitmaps are right until the next change. */
void        crash_model_set_bitmaps (CrashModel *model);
/* When they were set: only what was there then goes with them. */
CrashMoment crash_model_at_bitmaps  (CrashModel *model);
CrashMoment crash_model_at_crash    (CrashModel *model, guint64 time);

/* NULL if each of the sectors may be what it is; else what is wrong. */
char       *crash_model_check_bytes (CrashModel *model, CrashMoment moment, guint64 first,
                                     const guint8 *bytes, guint64 n_sectors)
  G_GNUC_WARN_UNUSED_RESULT;
/* Reads all sectors that were ever changed, their neighbours, and some of the others; and the size. */
char       *crash_model_check_image (CrashModel *model, CrashMoment moment, ImgImage *image)
  G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CrashModel, crash_model_free)

G_END_DECLS
