/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A storage that lets a test decide when a read returns, and helpers around asynchronous calls. */

#pragma once

#include "imago-glib/imago-glib.h"
#include "imago-glib/imago-image-private.h"
#include "imago-glib/imago-storage-private.h"

typedef struct
{
  guint n_tries;  /* reads that must not wait */
  guint n_together; /* as many of them as came at once, at most */
  guint n_reads;  /* the others, begun */
  guint n_inside; /* of these, how many wait at the gate */
} TestGateCounts;

/* A disk of @size bytes, each a function of its offset. Attempts that must not wait are refused
 * while the gate is shut, the others wait for it to open. */
ImgStorage     *test_gate_new          (guint64 size);
void            test_gate_shut         (ImgStorage *storage);
void            test_gate_open         (ImgStorage *storage);
/* Every attempt that must not wait takes that long; 0: no longer than it needs. */
void            test_gate_slow_down    (ImgStorage *storage, gulong usec);
/* Attempts that must not wait are refused though the gate is open. */
void            test_gate_refuse_tries (ImgStorage *storage, gboolean refuse);
/* Every read fails with EIO. */
void            test_gate_break        (ImgStorage *storage);
TestGateCounts  test_gate_get_counts   (ImgStorage *storage);
/* Returns when @n reads are waiting at the gate. */
void            test_gate_wait_inside  (ImgStorage *storage, guint n);
/* Returns when nobody but the caller has a reference. */
void            test_gate_wait_unused  (ImgStorage *storage);

guint8          test_gate_byte         (guint64 offset);
void            test_gate_check        (GBytes *bytes, guint64 offset, gsize count);
void            test_gate_check_memory (const guint8 *memory, guint64 offset, gsize count);

/* Named "raw", so that nothing is guessed. */
ImagoImage     *test_gate_open_image   (ImgStorage *storage);

/* @base behind a storage that refuses every attempt that must not wait: nothing is done inline. */
ImgStorage     *test_shy_new           (ImgStorage *base);

/* The result of an asynchronous call: start it with test_result_cb and @slot, then wait. */
typedef struct
{
  GAsyncResult *result;
  guint n_calls;
} TestSlot;

void            test_result_cb         (GObject *object, GAsyncResult *result, gpointer slot);
/* Iterates the thread-default main context until the callback was called. */
GAsyncResult   *test_slot_wait         (TestSlot *slot);
void            test_slot_clear        (TestSlot *slot);
/* Iterates it until @flag is set by something that happens there. */
void            test_iterate_until     (const gboolean *flag);
