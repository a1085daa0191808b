/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "img-mutant.h"

#ifndef IMG_TEST_BUILD
#error "Only the test build of the core has mutants"
#endif

static const char *const names[IMG_N_MUTANTS] = {
  [IMG_MUTANT_NONE] = "none",
  [IMG_MUTANT_SKIP_FLUSH_P0] = "skip-flush-p0",
  [IMG_MUTANT_SKIP_FLUSH_P1] = "skip-flush-p1",
  [IMG_MUTANT_SKIP_FLUSH_P2] = "skip-flush-p2",
  [IMG_MUTANT_SKIP_FLUSH_DATA_FILE] = "skip-flush-data-file",
  [IMG_MUTANT_L2_BEFORE_REFCOUNTS] = "l2-before-refcounts",
  [IMG_MUTANT_L1_BEFORE_L2] = "l1-before-l2",
  [IMG_MUTANT_REFTABLE_BEFORE_BLOCK] = "reftable-before-block",
  [IMG_MUTANT_HEADER_BEFORE_REFTABLE] = "header-before-reftable",
  [IMG_MUTANT_PUNCH_BEFORE_DURABLE] = "punch-before-durable",
  [IMG_MUTANT_DECREMENT_BEFORE_DURABLE] = "decrement-before-durable",
  [IMG_MUTANT_REUSE_BEFORE_DURABLE] = "reuse-before-durable",
  [IMG_MUTANT_REUSE_BEFORE_EPOCH] = "reuse-before-epoch",
  [IMG_MUTANT_SKIP_AUTOCLEAR_FLUSH] = "skip-autoclear-flush",
  [IMG_MUTANT_SKIP_DIRTY_FLUSH] = "skip-dirty-flush",
  [IMG_MUTANT_CLEAR_DIRTY_EARLY] = "clear-dirty-early",
  [IMG_MUTANT_COMMIT_BEFORE_DATA] = "commit-before-data",
  [IMG_MUTANT_NO_CLAIM] = "no-claim",
  [IMG_MUTANT_EMPTY_BEFORE_BASE] = "empty-before-base",
  [IMG_MUTANT_NAME_BEFORE_DATA] = "name-before-data",
  [IMG_MUTANT_REPAIR_SKIP_FLUSH_STEPS] = "repair-skip-flush-steps",
  [IMG_MUTANT_REPAIR_SKIP_FLUSH_COPIED] = "repair-skip-flush-copied",
  [IMG_MUTANT_REPAIR_SKIP_FLUSH_REBUILD] = "repair-skip-flush-rebuild",
  [IMG_MUTANT_REPAIR_SKIP_FLUSH_TABLE] = "repair-skip-flush-table",
};

static gint current;
static gint count;

gboolean
img_mutant_is_on (ImgMutant mutant)
{
  if (g_atomic_int_get (&current) != (gint) mutant)
    return FALSE;
  g_atomic_int_inc (&count);
  return TRUE;
}

void
img_mutant_set (ImgMutant mutant)
{
  g_atomic_int_set (&current, (gint) mutant);
  g_atomic_int_set (&count, 0);
}

guint
img_mutant_get_count (void)
{
  return (guint) g_atomic_int_get (&count);
}

const char *
img_mutant_get_name (ImgMutant mutant)
{
  g_assert (mutant < IMG_N_MUTANTS);
  return names[mutant];
}
