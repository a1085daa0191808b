/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <string.h>

#include "stress-model.h"

#define MAX_VALUES 6

typedef struct
{
  guint32 values[MAX_VALUES];
  guint8 n_values;
  gboolean is_changed;
  gboolean is_unsettled; /* a change was left behind */
  guint n_readers;
} Sector;

struct _StressModel
{
  guint64 n_sectors;
  guint64 n_backing;
  Sector *sectors;
};

static void
fill_sector (guint32 value, guint64 sector, guint64 *words)
{
  guint64 x = value * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15) ^ sector;

  if (value == STRESS_ZERO)
    {
      memset (words, 0, STRESS_SECTOR);
      return;
    }
  words[0] = value;
  words[1] = sector;
  for (guint i = 2; i < STRESS_SECTOR / 8; i++)
    words[i] = x = x * G_GUINT64_CONSTANT (6364136223846793005) + i;
}

void
stress_pattern_fill (guint32 value, guint64 first, guint64 n, guint8 *bytes)
{
  for (guint64 i = 0; i < n; i++)
    {
      guint64 words[STRESS_SECTOR / 8];

      fill_sector (value, first + i, words);
      memcpy (bytes + i * STRESS_SECTOR, words, STRESS_SECTOR);
    }
}

StressModel *
stress_model_new (guint64 max_sectors, guint64 n_backing, guint32 value)
{
  StressModel *model = g_new (StressModel, 1);

  *model = (StressModel) { max_sectors, n_backing, g_new0 (Sector, max_sectors) };
  for (guint64 i = 0; i < max_sectors; i++)
    stress_model_end_change (model, i, 1, value, TRUE);
  return model;
}

void
stress_model_free (StressModel *model)
{
  g_free (model->sectors);
  g_free (model);
}

static gboolean
may_hold (const Sector *sector, guint32 value)
{
  for (guint i = 0; i < sector->n_values; i++)
    if (sector->values[i] == value)
      return TRUE;
  return FALSE;
}

gboolean
stress_model_begin_change (StressModel *model, guint64 first, guint64 n)
{
  g_assert (first + n <= model->n_sectors);
  for (guint64 i = first; i < first + n; i++)
    if (model->sectors[i].is_changed || model->sectors[i].n_readers > 0 ||
        model->sectors[i].n_values == MAX_VALUES)
      return FALSE;
  for (guint64 i = first; i < first + n; i++)
    model->sectors[i].is_changed = TRUE;
  return TRUE;
}

void
stress_model_end_change (StressModel *model, guint64 first, guint64 n, guint32 value, gboolean sure)
{
  for (guint64 i = first; i < first + n; i++)
    {
      Sector *sector = &model->sectors[i];
      guint32 its_value = value == STRESS_BACKING && i >= model->n_backing ? STRESS_ZERO : value;

      sector->is_changed = FALSE;
      if (sure)
        sector->n_values = 0;
      if (sure)
        sector->is_unsettled = FALSE;
      if (!may_hold (sector, its_value))
        sector->values[sector->n_values++] = its_value;
    }
}

void
stress_model_leave_change (StressModel *model, guint64 first, guint64 n, guint32 value)
{
  stress_model_end_change (model, first, n, value, FALSE);
  for (guint64 i = first; i < first + n; i++)
    model->sectors[i].is_unsettled = TRUE;
}

void
stress_model_settle (StressModel *model)
{
  for (guint64 i = 0; i < model->n_sectors; i++)
    model->sectors[i].is_unsettled = FALSE;
}

gboolean
stress_model_begin_read (StressModel *model, guint64 first, guint64 n)
{
  g_assert (first + n <= model->n_sectors);
  for (guint64 i = first; i < first + n; i++)
    if (model->sectors[i].is_changed || model->sectors[i].is_unsettled)
      return FALSE;
  for (guint64 i = first; i < first + n; i++)
    model->sectors[i].n_readers++;
  return TRUE;
}

static guint32
identify (guint64 sector, const guint8 *bytes)
{
  guint64 words[STRESS_SECTOR / 8], expected[STRESS_SECTOR / 8];

  memcpy (words, bytes, STRESS_SECTOR);
  fill_sector ((guint32) words[0], sector, expected);
  if (memcmp (words, expected, STRESS_SECTOR) != 0)
    g_error ("sector %" G_GUINT64_FORMAT " holds what was never written there: %" G_GINT64_MODIFIER
             "x %" G_GINT64_MODIFIER "x", sector, words[0], words[1]);
  return (guint32) words[0];
}

static void
learn (Sector *sector, guint64 number, guint32 value)
{
  if (!may_hold (sector, value))
    g_error ("sector %" G_GUINT64_FORMAT " holds the value %u instead of %u or one of %u others", number,
             value, sector->values[0], sector->n_values - 1);
  sector->values[0] = value;
  sector->n_values = 1;
}

void
stress_model_end_read (StressModel *model, guint64 first, guint64 n, const guint8 *bytes)
{
  for (guint64 i = first; i < first + n; i++)
    {
      Sector *sector = &model->sectors[i];

      sector->n_readers--;
      if (bytes != NULL)
        learn (sector, i, identify (i, bytes + (i - first) * STRESS_SECTOR));
    }
}
