/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The steps of a repair, see img-qcow2-repair.c. Each works on what a checker has just read, and says in
 * the checker's result what it changes. */

#pragma once

#include "img-qcow2-check-private.h"

G_BEGIN_DECLS

/* img-qcow2-repair-tables.c */

/* What entries may not contain, where their meaning stays the same without it. */
gboolean img_qcow2_repair_entries (ImgQcow2Checker *checker, ImgError **error);
/* COPIED flags as the refcounts say, or as they will without the leaks. *n_changed: flags of the active disk,
 * those of a table that is referred to more than once as often; nullable. */
typedef enum
{
  IMG_QCOW2_FLAGS_NOW,
  IMG_QCOW2_FLAGS_WITHOUT_LEAKS,
  IMG_QCOW2_FLAGS_OF_LEAKS, /* only those that will not fit any more without the leaks */
} ImgQcow2FlagsRepair;

gboolean img_qcow2_repair_copied  (ImgQcow2Checker *checker, ImgQcow2FlagsRepair which,
                                   guint64 *n_changed, ImgError **error);

/* COPIED flags in tables that cannot be written: for every cluster, how many entries have it and how many do
 * not. Empty when all tables can be written. */
typedef struct
{
  ImgQcow2Counts set;
  ImgQcow2Counts unset;
} ImgQcow2StuckFlags;

gboolean img_qcow2_repair_list_stuck (ImgQcow2Checker *checker, ImgQcow2StuckFlags *stuck,
                                      ImgError **error);
void     img_qcow2_stuck_flags_clear (ImgQcow2StuckFlags *stuck);

/* img-qcow2-repair-refcounts.c */

/* In place: refcounts that are too low become what they should be, or those that are too high; but for those that
 * more stuck flags would contradict. */
gboolean img_qcow2_repair_raise   (ImgQcow2Checker *checker, const ImgQcow2StuckFlags *stuck,
                                   ImgError **error);
gboolean img_qcow2_repair_lower   (ImgQcow2Checker *checker, const ImgQcow2StuckFlags *stuck,
                                   ImgError **error);

/* img-qcow2-repair-rebuild.c: a new refcount structure behind the end of the file. @checker has skipped the
 * old one. Damaged entries may refer to places there. When some lie before the first one that has room, that
 * is what *end becomes: then nothing has been done yet, and all must be counted once more in a file that ends
 * there; else 0. */
gboolean img_qcow2_repair_rebuild (ImgQcow2Checker *checker, guint64 *end, ImgError **error);
/* How many clusters behind the file are worth noting. */
guint64  img_qcow2_repair_count_past_end (const ImgQcow2Checker *checker);

/* Takes @n clusters behind the end of the file: @checker counts them as referred to. When damaged entries refer
 * to them, *end becomes a better place for the end, as above, else 0. */
gboolean img_qcow2_repair_reserve (ImgQcow2Checker *checker, guint64 n, guint64 *end, ImgError **error);

/* img-qcow2-repair-snapshots.c: a new snapshot table. *n_missing: that many clusters in a row were needed, and
 * none are free that have refcounts; nothing has been done then. */
gboolean img_qcow2_repair_wants_snapshots (const ImgQcow2Checker *checker);
gboolean img_qcow2_repair_snapshots (ImgQcow2Checker *checker, guint64 *n_missing, ImgError **error);

void     img_qcow2_refcount_write (guint8 *block, guint64 index, guint order, guint64 value);

G_END_DECLS
