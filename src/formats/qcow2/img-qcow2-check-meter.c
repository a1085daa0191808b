/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-qcow2-check-meter.h"

static void
raise_total (ImgQcow2CheckMeter *self, guint64 total)
{
  if (total <= self->total)
    return;
  self->total = total;
  img_progress_set_total (self->progress, total);
}

static void
move_to (ImgQcow2CheckMeter *self, guint64 done)
{
  if (done <= self->done)
    return;
  img_progress_add (self->progress, done - self->done);
  self->done = done;
}

void
img_qcow2_check_meter_plan (ImgQcow2CheckMeter *self, const ImgQcow2CheckWeights *weights)
{
  guint64 tables = weights->l1 + weights->l2;
  guint64 all = weights->refcounts + tables + weights->bitmaps + weights->counts;

  if (self->total == 0)
    raise_total (self, self->n_checks * all + self->n_edits * tables +
                         self->n_changes * weights->counts);
}

void
img_qcow2_check_meter_pass (ImgQcow2CheckMeter *self, guint64 weight)
{
  self->stage_begin = self->stage_end = self->pass_end;
  self->pass_end += weight;
  raise_total (self, self->pass_end);
  move_to (self, self->stage_begin);
}

void
img_qcow2_check_meter_stage (ImgQcow2CheckMeter *self, guint64 weight)
{
  self->stage_begin = self->stage_end;
  self->stage_end = MIN (self->stage_begin + weight, self->pass_end);
  move_to (self, self->stage_begin);
}

void
img_qcow2_check_meter_move (ImgQcow2CheckMeter *self, guint64 part, guint64 whole)
{
  double weight = (double) (self->stage_end - self->stage_begin);

  if (whole > 0)
    move_to (self, self->stage_begin + (guint64) (weight * MIN ((double) part / (double) whole, 1)));
}

void
img_qcow2_check_meter_finish (ImgQcow2CheckMeter *self)
{
  move_to (self, self->total);
}
