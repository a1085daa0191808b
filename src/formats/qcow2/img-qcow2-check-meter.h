/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How far a check or a repair is, in bytes of metadata.
 *
 * The work is a row of passes, each of which goes over something in stages. What a pass weighs is known when it
 * begins, from the sizes of the tables and of the file: there may be fewer L2 tables than there is room for, then
 * their stage goes faster. What is done only grows. The total is told once, with all passes that are planned;
 * it grows if more turn out to be needed, and what is not needed is done at the end. */

#pragma once

#include "img-progress.h"

G_BEGIN_DECLS

/* Bytes. */
typedef struct
{
  guint64 refcounts; /* the table and its blocks */
  guint64 l1;
  guint64 l2;
  guint64 bitmaps;
  guint64 counts;    /* what was counted, when it is compared */
} ImgQcow2CheckWeights;

typedef struct
{
  ImgProgress *progress; /* nullable: nobody wants to know */
  guint n_checks;        /* what is planned: passes over all, */
  guint n_edits;         /* over L1 and L2 tables, */
  guint n_changes;       /* and over the counts */

  guint64 total;         /* as told, as the next one */
  guint64 done;
  guint64 pass_end;
  guint64 stage_begin;
  guint64 stage_end;
} ImgQcow2CheckMeter;

void img_qcow2_check_meter_plan   (ImgQcow2CheckMeter *self, const ImgQcow2CheckWeights *weights);
void img_qcow2_check_meter_pass   (ImgQcow2CheckMeter *self, guint64 weight);
/* The next stage of the pass. */
void img_qcow2_check_meter_stage  (ImgQcow2CheckMeter *self, guint64 weight);
/* So much of the stage is done. */
void img_qcow2_check_meter_move   (ImgQcow2CheckMeter *self, guint64 part, guint64 whole);
void img_qcow2_check_meter_finish (ImgQcow2CheckMeter *self);

G_END_DECLS
