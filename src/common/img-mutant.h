/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Mutants: each is one rule of the write path that a test can switch off, to prove that the crash tests
 * would notice if it were broken. They exist in the test build of the core only (IMG_TEST_BUILD); in the
 * library img_mutant_is_on () is the constant FALSE and the code behind it is not compiled in:
 *
 *   if (!img_mutant_is_on (IMG_MUTANT_SKIP_FLUSH_P1) && !img_storage_flush (storage, error))
 *     return FALSE;
 *
 * At most one mutant is on at a time. A mutant that is reached counts: a test that runs one which nothing
 * asks about proves nothing, and fails.
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  IMG_MUTANT_NONE,

  /* The flushes between the phases of a flush. */
  IMG_MUTANT_SKIP_FLUSH_P0,          /* new refcount blocks or a grown table: before what points to them */
  IMG_MUTANT_SKIP_FLUSH_P1,          /* refcounts, new L2 tables and data: before the references */
  IMG_MUTANT_SKIP_FLUSH_P2,          /* the references: before the flush is reported done */
  IMG_MUTANT_SKIP_FLUSH_DATA_FILE,   /* the external data file in P1, and where it is all there is to flush */

  /* The order of what is written. */
  IMG_MUTANT_L2_BEFORE_REFCOUNTS,    /* slices of old L2 tables are written in P1 instead of P2 */
  IMG_MUTANT_L1_BEFORE_L2,           /* L1 entries are written in P1, beside the new L2 tables */
  IMG_MUTANT_REFTABLE_BEFORE_BLOCK,  /* refcount table entries in P0, beside the new blocks */
  IMG_MUTANT_HEADER_BEFORE_REFTABLE, /* the header's pointer in P0, beside the grown refcount table */

  /* Freeing. */
  IMG_MUTANT_PUNCH_BEFORE_DURABLE,     /* host space is punched when the cluster enters quarantine */
  IMG_MUTANT_DECREMENT_BEFORE_DURABLE, /* the refcount is lowered when the cluster enters quarantine */
  IMG_MUTANT_REUSE_BEFORE_DURABLE,     /* the cluster is allocatable when it enters quarantine */
  IMG_MUTANT_REUSE_BEFORE_EPOCH,       /* released without waiting for transfers that may still see it */

  /* The header's flags. */
  IMG_MUTANT_SKIP_AUTOCLEAR_FLUSH,   /* after clearing autoclear bits, before the first change */
  IMG_MUTANT_SKIP_DIRTY_FLUSH,       /* after setting the dirty bit, before the first P2 */
  IMG_MUTANT_CLEAR_DIRTY_EARLY,      /* before the refcounts that it stands for are durable */

  /* The engine. */
  IMG_MUTANT_COMMIT_BEFORE_DATA,     /* the mapping is committed before the data is written */
  IMG_MUTANT_NO_CLAIM,               /* writers do not claim their range: two may plan in one cluster */

  /* Jobs on two images. */
  IMG_MUTANT_EMPTY_BEFORE_BASE,      /* an overlay is emptied before what was committed is durable */
  IMG_MUTANT_NAME_BEFORE_DATA,       /* another backing file is named before what must hide it is durable */

  /* The flushes of a repair. */
  IMG_MUTANT_REPAIR_SKIP_FLUSH_STEPS,   /* after entries, refcounts and flags: before the header's marks go */
  IMG_MUTANT_REPAIR_SKIP_FLUSH_COPIED,  /* COPIED flags of leaked clusters: before their refcounts are lowered */
  IMG_MUTANT_REPAIR_SKIP_FLUSH_REBUILD, /* a new refcount structure: before the header points to it */
  IMG_MUTANT_REPAIR_SKIP_FLUSH_TABLE,   /* refcounts of a new snapshot table: before the header points to it */

  IMG_N_MUTANTS
} ImgMutant;

#ifdef IMG_TEST_BUILD

/* TRUE, and counted, if @mutant is the one that is set. */
gboolean    img_mutant_is_on     (ImgMutant mutant);

void        img_mutant_set       (ImgMutant mutant); /* resets the count; NONE: all rules hold */
guint       img_mutant_get_count (void);             /* how often the mutant that is set was on */
const char *img_mutant_get_name  (ImgMutant mutant);

#else

#define img_mutant_is_on(mutant) (FALSE)

#endif

G_END_DECLS
