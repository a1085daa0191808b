/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Repair of refcounts, COPIED flags, entries and the snapshot table.
 *
 * No step touches a cluster that anything but the table it belongs to refers to, and none touches guest
 * data. The order makes every moment safe for a crash:
 *
 * 1. Entries lose what they may not contain. What they mean stays the same.
 * 2. Refcounts that are too low are raised: from here on no cluster that is in use can be handed out.
 *    Where the structure itself is broken, a new one is written behind the end of the file, made
 *    durable, and then the header points to it with one write.
 * 3. Refcounts that are too high are lowered. A flag that says that a cluster is shared may now be wrong;
 *    all that it can lead to is a copy.
 * 4. COPIED flags follow the refcounts, which are durable. A flag that step 2 made wrong stays so in a table whose
 *    cluster is referred to as something else, too.
 * 5. A snapshot table with mistakes is replaced. The new one is written whole into clusters that nothing refers
 *    to, and made durable; then their refcounts, up to here it can only leak; then the header points to it with
 *    one write, which is durable before 3 and 4 are done again: they let go of the old table. What does not fit
 *    into a table has no references counted from 2 on: nobody can use such an image before it is repaired. When
 *    that is all that is wrong, the table stays, and the one write tells the new number.
 *    Where no refcount block has room for the new table, a new refcount structure that counts clusters for it is
 *    made first, as in 2.
 * 6. The marks of the header go, when all of that is durable.
 *
 * Of leaks alone, 4 comes before 3. Where nothing but leaks and flags is wrong, all flags are made to fit; else those
 * of the leaked clusters only, so that letting go of leaks makes no new mistakes.
 *
 * Each step reads the file anew, so none depends on what an earlier one believed. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-mutant.h"
#include "img-qcow2-check.h"
#include "img-qcow2-repair-private.h"
#include "img-qcow2-repair.h"

#define INCOMPATIBLE_AT 72
/* Of repairs, each of which found something to do after the one before. */
#define MAX_ROUNDS 8
#define MARKS (IMG_QCOW2_INCOMPATIBLE_DIRTY | IMG_QCOW2_INCOMPATIBLE_CORRUPT)

typedef struct
{
  ImgStorage *storage;
  ImgRepair repair;
  ImgCheckResult *result; /* what is said while repairing */
  ImgQcow2CheckMeter *meter;
  ImgCancel *cancel;
  gboolean has_new_snapshots; /* of the last such step */
  gboolean has_room;
  /* Counts only. */
  ImgCheckResult seen; /* what the checker of the last step found */
  gboolean has_seen_refcounts;
  ImgCheckResult at_refcounts; /* when the first repair of refcounts began */
  gboolean has_seen_flags;
  ImgCheckResult at_flags; /* the same of flags */
  guint64 n_flags_fixed;   /* by repairs of leaks, where nothing else was wrong */
} Repair;

typedef gboolean (*Step) (Repair *self, ImgQcow2Checker *checker, ImgError **error);

static gboolean
init_checker (Repair *self,
              ImgQcow2Checker *checker,
              ImgQcow2Counts *past_end,
              const ImgQcow2Header *header,
              guint64 file_size,
              ImgCheckResult *found,
              ImgError **error)
{
  gboolean success =
    img_qcow2_checker_init (checker, self->storage, header, file_size, found, self->meter,
                            self->cancel, error) &&
    img_qcow2_counts_init (past_end, img_qcow2_repair_count_past_end (checker), self->cancel, error);

  /* References beyond what the image can count must be seen, too. */
  checker->count_limit = G_MAXINT64;
  checker->cuts_snapshots = self->repair == IMG_REPAIR_ALL;
  checker->past_end = past_end;
  return success;
}

/* Runs a step on a checker that has read the whole file. What the checker finds is not said again. */
static gboolean
run_step (Repair *self, Step step, ImgError **error)
{
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (self->storage, self->cancel, error);
  g_auto (ImgCheckResult) found;
  ImgQcow2Counts past_end = { NULL };
  ImgQcow2Checker checker;
  gboolean success;

  img_check_result_init (&found);
  if (header == NULL || !img_qcow2_checker_accepts (header, self->repair, error))
    return FALSE;
  success = init_checker (self, &checker, &past_end, header, header->file_size, &found, error) &&
            img_qcow2_checker_run (&checker, error);
  checker.result = self->result;
  self->seen = found;
  success = success && step (self, &checker, error);
  img_qcow2_counts_clear (&past_end);
  img_qcow2_checker_clear (&checker);
  return success;
}

/* What a step has changed is durable before the next one. */
static gboolean
flush_step (Repair *self, ImgError **error)
{
  return img_mutant_is_on (IMG_MUTANT_REPAIR_SKIP_FLUSH_STEPS) ||
         img_storage_flush (self->storage, error);
}

static gboolean
repair_entries (Repair *self, ImgQcow2Checker *checker, ImgError **error)
{
  return img_qcow2_repair_entries (checker, error) && flush_step (self, error);
}

/* Counts all but the refcount structure, in a file that ends at *end; the new one goes behind it and behind
 * @n_reserved clusters, or *end becomes a better place. */
static gboolean
try_rebuild (Repair *self,
             const ImgQcow2Header *header,
             guint64 n_reserved,
             guint64 *end,
             ImgError **error)
{
  g_auto (ImgCheckResult) found;
  ImgQcow2Counts past_end = { NULL };
  ImgQcow2Checker checker;
  gboolean success;

  img_check_result_init (&found);
  success = init_checker (self, &checker, &past_end, header, *end, &found, error);
  checker.skips_refcounts = TRUE;
  success = success && img_qcow2_checker_run (&checker, error);
  checker.result = self->result;
  success = success && img_qcow2_repair_reserve (&checker, n_reserved, end, error) &&
            (*end != 0 || img_qcow2_repair_rebuild (&checker, end, error));
  img_qcow2_counts_clear (&past_end);
  img_qcow2_checker_clear (&checker);
  return success;
}

static gboolean
rebuild (Repair *self, const ImgQcow2Header *header, guint64 n_reserved, ImgError **error)
{
  guint64 end = header->file_size;

  while (end != 0)
    if (!try_rebuild (self, header, n_reserved, &end, error))
      return FALSE;
  return TRUE;
}

static guint64
count_wrong (const ImgCheckResult *result)
{
  return result->corruptions + result->check_errors;
}

/* The flags first: if it ends between the two, the next repair still finds the leaks, even where it would not look at
 * other flags; and a flag that comes too early says no more than what is true. */
static gboolean
repair_leaks (Repair *self,
              ImgQcow2Checker *checker,
              const ImgQcow2StuckFlags *stuck,
              ImgError **error)
{
  gboolean only_flags = count_wrong (&self->seen) == self->seen.wrong_flags;
  guint64 n_changed = 0;

  if (!img_qcow2_repair_copied (checker,
                                only_flags ? IMG_QCOW2_FLAGS_WITHOUT_LEAKS : IMG_QCOW2_FLAGS_OF_LEAKS,
                                &n_changed, error))
    return FALSE;
  if (only_flags)
    self->n_flags_fixed += n_changed;
  return (img_mutant_is_on (IMG_MUTANT_REPAIR_SKIP_FLUSH_COPIED) ||
          img_storage_flush (self->storage, error)) &&
         img_qcow2_repair_lower (checker, stuck, error) && flush_step (self, error);
}

static gboolean
repair_in_place (Repair *self, ImgQcow2Checker *checker, ImgError **error)
{
  ImgQcow2StuckFlags stuck = { { NULL } };
  gboolean success = img_qcow2_repair_list_stuck (checker, &stuck, error);

  if (success && self->repair == IMG_REPAIR_LEAKS)
    success = repair_leaks (self, checker, &stuck, error);
  else if (success)
    success = img_qcow2_repair_raise (checker, &stuck, error) &&
              flush_step (self, error) && img_qcow2_repair_lower (checker, &stuck, error) &&
              flush_step (self, error);
  img_qcow2_stuck_flags_clear (&stuck);
  return success;
}

static gboolean
repair_refcounts (Repair *self, ImgQcow2Checker *checker, ImgError **error)
{
  if (!self->has_seen_refcounts)
    self->at_refcounts = self->seen;
  self->has_seen_refcounts = TRUE;
  if (!checker->needs_rebuild)
    return repair_in_place (self, checker, error);
  if (self->repair != IMG_REPAIR_ALL)
    {
      img_check_result_say (self->result, IMG_CHECK_CORRUPTION, checker->header->refcount_table_offset,
                            "need to rebuild refcount structures");
      return TRUE;
    }
  /* Where the header is taken for a table, it refers to whatever refcount table it names. */
  return checker->header_is_table || rebuild (self, checker->header, 0, error);
}

static gboolean
repair_copied (Repair *self, ImgQcow2Checker *checker, ImgError **error)
{
  if (!self->has_seen_flags)
    self->at_flags = self->seen;
  self->has_seen_flags = TRUE;
  return img_qcow2_repair_copied (checker, IMG_QCOW2_FLAGS_NOW, NULL, error) &&
         flush_step (self, error);
}

/* Not before the refcounts are right, nor where the header is a table, too; and not where tables pass the end of the
 * file: what is free cannot be told then. */
static gboolean
repair_snapshots (Repair *self, ImgQcow2Checker *checker, ImgError **error)
{
  guint64 n_missing = 0;

  self->has_new_snapshots = img_qcow2_repair_wants_snapshots (checker) && !checker->needs_rebuild &&
                            !checker->has_unreadable && !checker->header_is_table &&
                            checker->uncounted == G_MAXUINT64;
  if (!self->has_new_snapshots)
    return TRUE;
  if (!img_qcow2_repair_snapshots (checker, &n_missing, error))
    return FALSE;
  self->has_room = n_missing == 0;
  return self->has_room || rebuild (self, checker->header, n_missing, error);
}

static gboolean
replace_snapshots (Repair *self, ImgError **error)
{
  self->has_room = TRUE;
  if (!run_step (self, repair_snapshots, error))
    return FALSE;
  if (!self->has_room && !run_step (self, repair_snapshots, error))
    return FALSE;
  return !self->has_new_snapshots || (run_step (self, repair_refcounts, error) &&
                                      run_step (self, repair_copied, error));
}

static gboolean
repair_once (Repair *self, ImgError **error)
{
  if (self->repair == IMG_REPAIR_LEAKS)
    return run_step (self, repair_refcounts, error);
  return run_step (self, repair_entries, error) &&
         run_step (self, repair_refcounts, error) &&
         run_step (self, repair_copied, error) && replace_snapshots (self, error);
}

static gboolean
clear_marks (Repair *self, ImgError **error)
{
  g_autoptr (ImgQcow2Header) header = img_qcow2_header_read (self->storage, self->cancel, error);
  guint64 stored;

  if (header == NULL)
    return FALSE;
  if ((header->incompatible & MARKS) == 0)
    return TRUE;
  stored = GUINT64_TO_BE (header->incompatible & ~MARKS);
  return img_storage_write (self->storage, INCOMPATIBLE_AT, &stored, sizeof stored, error) &&
         img_storage_flush (self->storage, error);
}

/* As QEMU does it: each mistake is counted as it is when its turn has come, that of refcounts when entries have been
 * repaired, and that of flags when refcounts have been. Some are right then without being changed, others are not any
 * more. */
static void
count_fixed (const Repair *self, ImgCheckResult *result, const ImgCheckResult *before)
{
  const ImgCheckResult *refcounts = self->has_seen_refcounts ? &self->at_refcounts : before;
  guint64 in_entries = count_wrong (before) - before->wrong_flags - before->low_refcounts;
  guint64 in_flags = self->has_seen_flags ? self->at_flags.wrong_flags
                                          : self->n_flags_fixed + result->wrong_flags;
  guint64 corruptions = in_entries + refcounts->low_refcounts + in_flags;

  result->corruptions_fixed = corruptions - MIN (corruptions, count_wrong (result));
  result->leaks_fixed = refcounts->leaks - MIN (refcounts->leaks, result->leaks);
}

static guint64
count_all (const ImgCheckResult *result)
{
  return count_wrong (result) + result->leaks;
}

/* A check whose messages come after what has been said while repairing. */
static gboolean
check_again (Repair *self, ImgCheckResult *found, ImgError **error)
{
  img_check_result_clear (found);
  img_check_result_init (found);
  return img_qcow2_check_for (self->storage, self->repair, found, self->meter, self->cancel,
                              error);
}

/* Tables that lay upon the old refcount structure do not any more when it has been replaced, and can then be
 * repaired themselves. */
static gboolean
repair_everything (Repair *self, ImgCheckResult *found, ImgError **error)
{
  for (guint round = 0; round < MAX_ROUNDS && count_all (found) > 0; round++)
    {
      guint64 n_before = count_all (found);
      guint64 n_said = self->result->n_messages;

      if (!repair_once (self, error) || !check_again (self, found, error))
        return FALSE;
      if (self->result->n_messages == n_said || count_all (found) >= n_before)
        break;
    }
  return TRUE;
}

/* The counts of @found, and its messages behind those of @result. */
static void
take_counts (ImgCheckResult *result, const ImgCheckResult *found)
{
  GPtrArray *messages = result->messages;
  guint64 n_messages = result->n_messages;

  *result = *found;
  result->messages = messages;
  result->n_messages = n_messages;
  for (guint i = 0; i < found->messages->len; i++)
    {
      const ImgCheckMessage *message = g_ptr_array_index (found->messages, i);

      img_check_result_say (result, message->kind, message->host_offset, "%s", message->text);
    }
  result->n_messages += found->n_messages - found->messages->len;
}

/* The passes of one round that repairs in place, and of the checks before and after it. */
static void
plan (ImgQcow2CheckMeter *meter, ImgRepair repair)
{
  gboolean all = repair == IMG_REPAIR_ALL;

  meter->n_checks = all ? 6 : 3;
  meter->n_edits = all ? 3 : 2;
  meter->n_changes = all ? 2 : 1;
}

gboolean
img_qcow2_repair (ImgStorage *storage,
                  ImgRepair repair,
                  ImgCheckResult *result,
                  ImgProgress *progress,
                  ImgCancel *cancel,
                  ImgError **error)
{
  ImgQcow2CheckMeter meter = { progress };
  Repair self = { storage, repair, result, &meter, cancel };
  g_auto (ImgCheckResult) found;
  ImgCheckResult before;

  img_check_result_init (&found);
  if (repair == IMG_REPAIR_NONE)
    return img_qcow2_check (storage, result, progress, cancel, error);
  if (!storage->can_write)
    {
      img_error_set (error, IMG_CODE_READ_ONLY, _("The image is not open for writing"));
      return FALSE;
    }
  plan (&meter, repair);
  img_progress_set_phase (progress, IMG_PHASE_CHECK);
  if (!img_qcow2_check_for (storage, repair, &found, &meter, cancel, error))
    return FALSE;
  before = found; /* for its counts */
  img_progress_set_phase (progress, IMG_PHASE_REPAIR);
  if (!repair_everything (&self, &found, error))
    return FALSE;
  take_counts (result, &found);
  count_fixed (&self, result, &before);
  if (count_wrong (result) == 0 && !clear_marks (&self, error))
    return FALSE;
  img_qcow2_check_meter_finish (&meter);
  return TRUE;
}
