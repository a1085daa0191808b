/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who is inside an image: the epoch of its transfers, and the gate in front of it.
 *
 * A transfer enters before it asks for a mapping and leaves after its last I/O. Two kinds of work wait
 * for transfers: a structure change closes the gate, runs alone and opens it; whoever gives freed host
 * space back waits for a grace period, that is until every transfer that entered earlier has left.
 *
 * Entering is one atomic addition on a counter that few threads share. There are two counters per
 * shard; an entering transfer uses the one of the current parity. A grace period first drains the
 * other parity (stragglers that read the parity long ago), flips, then drains the old one. A
 * transfer that entered while the sum was taken did so after the flip's store in the total order of
 * sequentially consistent operations, so it sees every mapping the waiter published before it began.
 *
 * The gate is the same argument with a flag: a transfer adds itself, then looks at the flag; the
 * closer sets the flag, then sums. One of them sees the other.
 *
 * A request that finds the gate closed never holds a pool worker: img_epoch_try_enter () fails and the
 * pool keeps the task on the gate's queue (img-pool.h); threads of callers wait in img_epoch_enter ().
 */

#pragma once

#include "img-park.h"

G_BEGIN_DECLS

#define IMG_EPOCH_SHARDS 8

typedef struct
{
  gint inside[2];
  char padding[64 - 2 * sizeof (gint)];
} ImgEpochShard;

typedef void (*ImgGateOpenFunc) (gpointer data);

typedef struct
{
  ImgEpochShard shards[IMG_EPOCH_SHARDS];
  gint flips; /* its lowest bit is the parity */
  gint gate_closed;
  gint watched; /* somebody waits for a counter to fall */
  ImgMutex mutex;
  ImgWaitList waiters;
  gboolean draining;
  GSList *on_open; /* of OnOpen, called when the gate opens */
} ImgEpoch;

typedef guint ImgEpochTicket;

void           img_epoch_init      (ImgEpoch *epoch);
void           img_epoch_clear     (ImgEpoch *epoch);

ImgEpochTicket img_epoch_enter     (ImgEpoch *epoch);
gboolean       img_epoch_try_enter (ImgEpoch *epoch, ImgEpochTicket *ticket);
void           img_epoch_leave     (ImgEpoch *epoch, ImgEpochTicket ticket);

/* Returns when every transfer that entered before the call has left. Not from inside a transfer. */
void           img_epoch_wait      (ImgEpoch *epoch);

/* The same without waiting: a stamp, and whether every transfer that had entered when it was taken has
 * left. Asking helps time along; it may be done inside a transfer, which then only delays the answer. */
gint           img_epoch_get_stamp (ImgEpoch *epoch);
gboolean       img_epoch_has_passed (ImgEpoch *epoch, gint stamp);

/* Waits for other closers, then for all transfers. */
void           img_gate_close      (ImgEpoch *epoch);
void           img_gate_open       (ImgEpoch *epoch);
/* FALSE if the gate is open; otherwise @func will be called once, without a lock, when it opens. */
gboolean       img_gate_on_open    (ImgEpoch *epoch, ImgGateOpenFunc func, gpointer data);

G_END_DECLS
