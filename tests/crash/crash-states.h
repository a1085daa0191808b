/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What can be on the disks of a log after the power went off.
 *
 * At any moment: what was complete when the last flush that is done was submitted, and of everything later
 * any part, in any order in which it could have been done: of two requests that overlap the later one
 * wins only if the earlier was complete before it began. A request can be torn at sectors. The size of a
 * file and its bytes reach the disk independently; bytes past the end that reached it come back as zero.
 *
 * A request for a part of a sector, such as a field of a header or one entry of a table, is a sector that is read,
 * changed and written: of the request's bytes in one sector either all are there or none, and the other bytes are those
 * of the sector as it was. With several such requests for one sector any of them may be in it, whatever the others did:
 * each sector that can come of reading it early and writing it late is among these.
 *
 * States are looked at as late as each can be: just before the next flush is done, and at the marks
 * of the log. That is the hardest demand on what must be there.
 */

#pragma once

#include "crash-log.h"

G_BEGIN_DECLS

typedef struct
{
  guint64 time; /* of the crash: what the log dates before it has happened */
  const char *family;
  /* By number; to be read and written at will, undone for the next state. */
  CrashPages *disks[CRASH_MAX_DISKS];
  /* The later requests that are not, or not wholly, in it. */
  GPtrArray *missing; /* of const CrashEntry, borrowed */
} CrashState;

/* FALSE: no more states are wanted. */
typedef gboolean (*CrashStateFunc) (const CrashState *state, gpointer data);

typedef struct
{
  guint64 seed;
  guint n_random;     /* per moment, besides the complete families */
  guint64 max_states; /* about so many in all, picked evenly; 0: all there are */
} CrashStatesOptions;

/* Returns how many states @func saw. */
guint64 crash_states_run (CrashLog *log, const CrashStatesOptions *options,
                          CrashStateFunc func, gpointer data);

/* To stderr, for whoever looks for the reason. */
void    crash_state_print (const CrashState *state);

G_END_DECLS
