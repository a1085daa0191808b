/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What each sector of a disk may hold while requests on it are in flight, are cancelled, fail or succeed in any order.
 *
 * A change that failed may have happened, sector by sector, so a sector may have several values until it is read.
 * Changes claim their range: two never overlap. A read that overlaps one is not looked at. */

#pragma once

#include <glib.h>

#define STRESS_SECTOR 512u
#define STRESS_ZERO 0u
#define STRESS_BACKING 1u      /* what the image below has there */
#define STRESS_FIRST_VALUE 2u  /* changes are numbered from here */

typedef struct _StressModel StressModel;

void         stress_pattern_fill      (guint32 value, guint64 first, guint64 n, guint8 *bytes);

/* All sectors hold @value; those from @n_backing on have nothing below them. */
StressModel *stress_model_new         (guint64 max_sectors, guint64 n_backing, guint32 value);
void         stress_model_free        (StressModel *model);

/* FALSE: somebody reads or changes a part of it, or it must be read first, as too much is possible. */
gboolean     stress_model_begin_change (StressModel *model, guint64 first, guint64 n);
/* @sure: it holds @value now; else that, or what it held. */
void         stress_model_end_change  (StressModel *model, guint64 first, guint64 n, guint32 value,
                                       gboolean sure);

/* Its caller has gone, and it may go on: nobody can tell what it holds before the next change that is sure. */
void         stress_model_leave_change (StressModel *model, guint64 first, guint64 n, guint32 value);
/* All that was left behind has come to an end. */
void         stress_model_settle      (StressModel *model);

/* FALSE: a part is being changed, what comes cannot be checked; there is nothing to end then. */
gboolean     stress_model_begin_read  (StressModel *model, guint64 first, guint64 n);
/* @bytes: what was read, which is what it holds from now on; NULL: the read failed. Aborts if that is impossible. */
void         stress_model_end_read    (StressModel *model, guint64 first, guint64 n,
                                       const guint8 *bytes);
