/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One reading of all metadata of an image.
 *
 * It has nothing in common with the code that maps and writes but the header's parser and the
 * constants of entries, so that a mistake there cannot hide itself here. References are counted in
 * `references`; `refcounts` is what the file says. Every table is read once, whatever the number of its
 * references: what is found in it counts as often. That bounds time and memory by the number of clusters
 * in the file.
 *
 * What is counted, and as what, follows qemu-img, so that both come to the same verdict. */

#pragma once

#include "img-check.h"
#include "img-qcow2-check-counts.h"
#include "img-qcow2-check-meter.h"
#include "img-qcow2-check-spans.h"
#include "img-qcow2-header.h"

G_BEGIN_DECLS

/* Reserved bits. */
#define IMG_QCOW2_L1_RESERVED ((guint64) 0x7f000000000001ff)
#define IMG_QCOW2_L2_RESERVED ((guint64) 0x3f000000000001fe)
#define IMG_QCOW2_REFCOUNT_TABLE_RESERVED ((guint64) 0x1ff)

typedef struct
{
  char *id;
  char *name;
  guint64 l1_offset;
  guint64 l1_entries;
  guint32 extra_length;         /* as the table has it */
  guint32 strings_length;       /* of id and name there */
} ImgQcow2CheckedSnapshot;

typedef struct
{
  ImgStorage *storage;          /* borrowed, as the next three */
  const ImgQcow2Header *header;
  ImgCancel *cancel;
  ImgCheckResult *result;
  ImgQcow2CheckMeter *meter;

  guint cluster_bits;
  guint64 cluster_size;
  guint64 file_size;            /* a repair may look at the file as if it were longer */
  guint64 n_file_clusters;
  gboolean has_data_file;
  gboolean has_extended_l2;
  guint64 max_refcount;
  guint64 count_limit;          /* references beyond it are mistakes */
  gboolean skips_refcounts;     /* as if there were no refcount structure: it will be replaced */
  ImgQcow2Counts *past_end;     /* nullable: ones for clusters behind the file that are referred to */
  gboolean cuts_snapshots;      /* what is too much in the snapshot table is a mistake, not the end */
  gboolean is_editing;          /* tables are walked to change them: nothing is counted */

  ImgQcow2Counts references;
  guint64 uncounted;            /* from this cluster on there may be more: what passes the end of the file is in none */
  guint64 n_clusters;           /* of those that are compared: one more than the file has, at most */

  /* What the file says. */
  guint64 *refcount_table;      /* host byte order */
  guint64 n_refcount_blocks;    /* its entries */
  guint block_bits;             /* refcounts of a block */
  ImgQcow2Counts refcounts;     /* for n_file_clusters + 1 */
  gboolean has_unreadable;      /* blocks that are not where they can be read */
  guint8 *far_block;            /* one for clusters beyond those */
  guint64 far_index;
  gboolean header_is_table;     /* an L1 entry names the header's cluster */
  gboolean needs_rebuild;       /* the refcount structure cannot be repaired in place */

  GArray *snapshots;            /* of ImgQcow2CheckedSnapshot */
  guint64 snapshot_table_length;
  guint64 n_too_many;           /* snapshots beyond the number that a table may have */
  guint64 n_too_far;            /* others, beyond the size that it may have */
  gboolean needs_snapshot_table; /* a new one: entries must change */
} ImgQcow2Checker;

/* img-qcow2-check.c */
gboolean img_qcow2_checker_init  (ImgQcow2Checker *self, ImgStorage *storage,
                                  const ImgQcow2Header *header, guint64 file_size,
                                  ImgCheckResult *result, ImgQcow2CheckMeter *meter,
                                  ImgCancel *cancel, ImgError **error);
void     img_qcow2_checker_clear (ImgQcow2Checker *self);
gboolean img_qcow2_checker_run   (ImgQcow2Checker *self, ImgError **error);
/* Tells how much of a stage is done; FALSE if it was cancelled. */
gboolean img_qcow2_checker_look  (ImgQcow2Checker *self, guint64 part, guint64 whole,
                                  ImgError **error);
/* What a pass weighs; not before the snapshots are known. */
void     img_qcow2_checker_weigh (const ImgQcow2Checker *self, ImgQcow2CheckWeights *weights);
/* References of the bytes [offset, offset + length) to their clusters, @times over. */
gboolean img_qcow2_checker_refer (ImgQcow2Checker *self, guint64 offset, guint64 length,
                                  guint64 times, ImgError **error);
/* The header, as far as a check for @repair needs it to be right. */
gboolean img_qcow2_checker_accepts (const ImgQcow2Header *header, ImgRepair repair,
                                    ImgError **error);
void     img_qcow2_checker_corrupt (ImgQcow2Checker *self, guint64 times, guint64 host_offset,
                                    const char *format, ...) G_GNUC_PRINTF (4, 5);

/* img-qcow2-check-refcounts.c */
gboolean img_qcow2_checker_load_refcounts  (ImgQcow2Checker *self, ImgError **error);
/* FALSE only with an error; *is_known is FALSE when the block is nowhere. */
gboolean img_qcow2_checker_get_refcount    (ImgQcow2Checker *self, guint64 cluster,
                                            gboolean *is_known, guint64 *refcount,
                                            ImgError **error);
gboolean img_qcow2_checker_refer_refcounts (ImgQcow2Checker *self, ImgError **error);
gboolean img_qcow2_checker_compare         (ImgQcow2Checker *self, ImgError **error);
gboolean img_qcow2_checker_has_block       (const ImgQcow2Checker *self, guint64 index);
gboolean img_qcow2_checker_block_is_unreadable (const ImgQcow2Checker *self, guint64 index);
guint64  img_qcow2_refcount_read           (const guint8 *block, guint64 index, guint order);

/* img-qcow2-check-tables.c: L1 and L2 tables. */
gboolean img_qcow2_checker_walk_tables (ImgQcow2Checker *self,
                                        const ImgQcow2CheckWeights *weights, ImgError **error);

/* Once more over all tables, each once: the functions may change what they are shown, and write it. */
typedef struct
{
  ImgQcow2SpanFunc edit_l1;
  ImgQcow2SpanFunc edit_l2;
  gpointer data;
} ImgQcow2TableEditor;

gboolean img_qcow2_checker_edit_tables (ImgQcow2Checker *self, const ImgQcow2TableEditor *editor,
                                        ImgError **error);

/* img-qcow2-check-extras.c: the snapshot table and bitmaps. */

/* Extra data: version 3 asks for a minimum, and QEMU writes all three numbers that are known. */
#define IMG_QCOW2_SNAPSHOT_LENGTH 40 /* of the fixed part */
#define IMG_QCOW2_SNAPSHOT_MIN_EXTRA 16
#define IMG_QCOW2_SNAPSHOT_KNOWN_EXTRA 24

gboolean img_qcow2_checker_is_incomplete   (const ImgQcow2Checker *self, guint32 extra_length);
gboolean img_qcow2_checker_load_snapshots  (ImgQcow2Checker *self, ImgError **error);
gboolean img_qcow2_checker_refer_snapshots (ImgQcow2Checker *self, ImgError **error);
gboolean img_qcow2_checker_walk_bitmaps    (ImgQcow2Checker *self, ImgError **error);

G_END_DECLS
