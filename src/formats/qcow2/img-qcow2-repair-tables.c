/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "img-qcow2-entry.h"
#include "img-qcow2-repair-private.h"

typedef struct _Editor Editor;

struct _Editor
{
  ImgQcow2Checker *checker;
  ImgQcow2FlagsRepair flags;
  guint64 n_changed; /* entries of the active disk */
  ImgError *error;   /* of what an entry led to */
  guint64 refcount;  /* that the COPIED flag of the last entry was made to fit */
};

/* ---- writing ---- */

/* Whether all clusters of a table have no other use than to be it: a damaged entry may name the header, guest
 * data or another table, and then there is nothing here that may be changed. */
static gboolean
may_write (const Editor *self, guint64 offset, gsize n, ImgQcow2Times times)
{
  const ImgQcow2Checker *checker = self->checker;
  guint64 first = offset >> checker->cluster_bits;
  guint64 last = (offset + n * sizeof (guint64) - 1) >> checker->cluster_bits;

  if (last >= MIN (checker->n_file_clusters, checker->uncounted) || first == 0)
    return FALSE;
  for (guint64 i = first; i <= last; i++)
    if (img_qcow2_counts_get (&checker->references, i) != times.all)
      return FALSE;
  return TRUE;
}

/* Entries from @first to @last; none have changed when @first is @n. */
static gboolean
write_changed (const Editor *self,
               guint64 offset,
               const guint64 *entries,
               gsize first,
               gsize last,
               ImgError **error)
{
  if (first > last)
    return TRUE;
  return img_storage_write (self->checker->storage, offset + first * sizeof (guint64),
                            entries + first, (last - first + 1) * sizeof (guint64), error);
}

/* Returns the entry as it should be; may change *bitmap too, with extended L2. */
typedef guint64 (*EditFunc) (Editor *self, guint64 entry, guint64 *bitmap);

/* Says that @entry, which lies at @at in the file, has been edited. */
typedef void (*SayFunc) (const Editor *self, guint64 entry, guint64 at);

static void
say_entry (const Editor *self, guint64 entry, guint64 at)
{
  img_check_result_say (self->checker->result, IMG_CHECK_REPAIRED, entry & IMG_QCOW2_OFFSET_MASK,
                        _("Repairing entry 0x%" PRIx64 " at offset 0x%" PRIx64), entry, at);
}

/* @step: words of an entry. */
static gboolean
edit_table (Editor *self,
            guint64 offset,
            guint64 *entries,
            gsize n,
            gsize step,
            ImgQcow2Times times,
            EditFunc edit,
            SayFunc say,
            ImgError **error)
{
  gsize first = n, last = 0;

  if (!may_write (self, offset, n, times))
    return TRUE;
  for (gsize i = 0; i < n; i += step)
    {
      guint64 entry = GUINT64_FROM_BE (entries[i]);
      guint64 bitmap = step == 2 ? GUINT64_FROM_BE (entries[i + 1]) : 0;
      guint64 old_bitmap = bitmap;
      guint64 edited = edit (self, entry, &bitmap);

      if (edited == entry && bitmap == old_bitmap)
        continue;
      entries[i] = GUINT64_TO_BE (edited);
      if (step == 2)
        entries[i + 1] = GUINT64_TO_BE (bitmap);
      self->n_changed += times.active;
      say (self, entry, offset + i * sizeof (guint64));
      first = MIN (first, i);
      last = i + step - 1;
    }
  if (self->error != NULL)
    {
      img_error_propagate (error, g_steal_pointer (&self->error));
      return FALSE;
    }
  return write_changed (self, offset, entries, first, last, error);
}

static gsize
get_step (const Editor *self)
{
  return self->checker->has_extended_l2 ? 2 : 1;
}

/* ---- entries ---- */

static guint64
edit_l1_entry (Editor *self G_GNUC_UNUSED, guint64 entry, guint64 *bitmap G_GNUC_UNUSED)
{
  return (entry & IMG_QCOW2_OFFSET_MASK) == 0 ? 0 : entry & ~IMG_QCOW2_L1_RESERVED;
}

/* A preallocated cluster in a place where none can be; nothing is stored in it. */
static gboolean
is_unaligned_without_data (const ImgQcow2Checker *checker, guint64 entry, guint64 bitmap)
{
  if (img_is_aligned (entry & IMG_QCOW2_OFFSET_MASK, checker->cluster_size))
    return FALSE;
  return checker->has_extended_l2 ? (bitmap & G_MAXUINT32) == 0 : (entry & IMG_QCOW2_FLAG_ZERO) != 0;
}

static guint64
edit_l2_entry (Editor *self, guint64 entry, guint64 *bitmap)
{
  const ImgQcow2Checker *checker = self->checker;

  if ((entry & IMG_QCOW2_FLAG_COMPRESSED) != 0)
    return entry & ~IMG_QCOW2_FLAG_COPIED;
  entry &= ~IMG_QCOW2_L2_RESERVED;
  /* Subclusters that are said to be allocated and zero at once could not be read; they become zero. So do
   * allocated ones of no cluster, if they are said to be zero, else they are not allocated. */
  *bitmap &= ~((*bitmap >> 32) & G_MAXUINT32);
  if (entry == 0)
    *bitmap &= ~(guint64) G_MAXUINT32;
  if (is_unaligned_without_data (checker, entry, *bitmap))
    entry = checker->has_extended_l2 ? 0 : IMG_QCOW2_FLAG_ZERO;
  return entry;
}

static gboolean
edit_l1_entries (gpointer data,
                 guint64 offset,
                 guint64 *entries,
                 gsize n,
                 ImgQcow2Times times,
                 ImgError **error)
{
  return edit_table (data, offset, entries, n, 1, times, edit_l1_entry, say_entry, error);
}

static gboolean
edit_l2_entries (gpointer data,
                 guint64 offset,
                 guint64 *entries,
                 gsize n,
                 ImgQcow2Times times,
                 ImgError **error)
{
  return edit_table (data, offset, entries, n, get_step (data), times, edit_l2_entry, say_entry, error);
}

gboolean
img_qcow2_repair_entries (ImgQcow2Checker *checker, ImgError **error)
{
  Editor self = { checker };
  ImgQcow2TableEditor editor = { edit_l1_entries, edit_l2_entries, &self };

  return img_qcow2_checker_edit_tables (checker, &editor, error);
}

/* ---- COPIED ---- */

static void
say_l1_copied (const Editor *self, guint64 entry, guint64 at)
{
  const ImgQcow2Checker *checker = self->checker;

  img_check_result_say (checker->result, IMG_CHECK_REPAIRED, entry & IMG_QCOW2_OFFSET_MASK,
                        "Repairing OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64
                        " refcount=%" PRIu64,
                        (at - checker->header->l1_offset) / sizeof (guint64), entry, self->refcount);
}

static void
say_l2_copied (const Editor *self, guint64 entry, guint64 at G_GNUC_UNUSED)
{
  img_check_result_say (self->checker->result, IMG_CHECK_REPAIRED, entry & IMG_QCOW2_OFFSET_MASK,
                        "Repairing OFLAG_COPIED data cluster: l2_entry=%" PRIx64
                        " refcount=%" PRIu64,
                        entry, self->refcount);
}

static guint64
set_copied (Editor *self, guint64 entry)
{
  ImgQcow2Checker *checker = self->checker;
  guint64 cluster = (entry & IMG_QCOW2_OFFSET_MASK) >> checker->cluster_bits;
  gboolean is_known;
  guint64 refcount;

  if (self->error != NULL ||
      (self->flags == IMG_QCOW2_FLAGS_OF_LEAKS && cluster >= checker->n_clusters))
    return entry;
  if (!img_qcow2_checker_get_refcount (checker, cluster, &is_known, &refcount, &self->error) ||
      !is_known)
    return entry;
  if (self->flags != IMG_QCOW2_FLAGS_NOW && cluster < checker->n_clusters)
    {
      guint64 references = img_qcow2_counts_get (&checker->references, cluster);

      if (self->flags == IMG_QCOW2_FLAGS_OF_LEAKS && refcount <= references)
        return entry;
      refcount = MIN (refcount, references);
    }
  self->refcount = refcount;
  return refcount == 1 ? entry | IMG_QCOW2_FLAG_COPIED : entry & ~IMG_QCOW2_FLAG_COPIED;
}

static guint64
copy_l1_entry (Editor *self, guint64 entry, guint64 *bitmap G_GNUC_UNUSED)
{
  return (entry & IMG_QCOW2_OFFSET_MASK) != 0 ? set_copied (self, entry) : entry;
}

static guint64
copy_l2_entry (Editor *self, guint64 entry, guint64 *bitmap G_GNUC_UNUSED)
{
  if ((entry & IMG_QCOW2_FLAG_COMPRESSED) != 0 || (entry & IMG_QCOW2_OFFSET_MASK) == 0)
    return entry;
  self->refcount = 1; /* in an external data file */
  if (self->checker->has_data_file)
    return self->flags == IMG_QCOW2_FLAGS_OF_LEAKS ? entry : entry | IMG_QCOW2_FLAG_COPIED;
  return set_copied (self, entry);
}

/* In tables of snapshots the flags mean nothing. */
static gboolean
copy_l1_entries (gpointer data,
                 guint64 offset,
                 guint64 *entries,
                 gsize n,
                 ImgQcow2Times times,
                 ImgError **error)
{
  return times.active == 0 ||
         edit_table (data, offset, entries, n, 1, times, copy_l1_entry, say_l1_copied, error);
}

static gboolean
copy_l2_entries (gpointer data,
                 guint64 offset,
                 guint64 *entries,
                 gsize n,
                 ImgQcow2Times times,
                 ImgError **error)
{
  return times.active == 0 ||
         edit_table (data, offset, entries, n, get_step (data), times, copy_l2_entry, say_l2_copied,
                     error);
}

gboolean
img_qcow2_repair_copied (ImgQcow2Checker *checker,
                         ImgQcow2FlagsRepair which,
                         guint64 *n_changed,
                         ImgError **error)
{
  Editor self = { checker, which };
  ImgQcow2TableEditor editor = { copy_l1_entries, copy_l2_entries, &self };

  if (!img_qcow2_checker_edit_tables (checker, &editor, error))
    return FALSE;
  if (n_changed != NULL)
    *n_changed = self.n_changed;
  return TRUE;
}

/* ---- flags that cannot be changed ---- */

typedef struct
{
  Editor parent;
  ImgQcow2StuckFlags *stuck;
} Survey;

static gboolean
note_flag (Survey *self, guint64 entry, guint64 times, ImgError **error)
{
  ImgQcow2Checker *checker = self->parent.checker;
  ImgQcow2Counts *counts =
    (entry & IMG_QCOW2_FLAG_COPIED) != 0 ? &self->stuck->set : &self->stuck->unset;
  guint64 cluster = (entry & IMG_QCOW2_OFFSET_MASK) >> checker->cluster_bits;
  guint64 excess = 0;

  if (cluster == 0 || cluster >= checker->refcounts.n)
    return TRUE;
  if (counts->words == NULL && !img_qcow2_counts_init (counts, checker->refcounts.n, checker->cancel, error))
    return FALSE;
  return img_qcow2_counts_add (counts, cluster, 1, times, G_MAXINT64, &excess, error);
}

static gboolean
survey_table (Survey *self,
              guint64 offset,
              const guint64 *entries,
              gsize n,
              gsize step,
              ImgQcow2Times times,
              ImgError **error)
{
  if (times.active == 0 || offset == 0 || may_write (&self->parent, offset, n, times))
    return TRUE;
  for (gsize i = 0; i < n; i += step)
    {
      guint64 entry = GUINT64_FROM_BE (entries[i]);

      if ((entry & IMG_QCOW2_FLAG_COMPRESSED) == 0 && !note_flag (self, entry, times.active, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
survey_l1 (gpointer data,
           guint64 offset,
           guint64 *entries,
           gsize n,
           ImgQcow2Times times,
           ImgError **error)
{
  return survey_table (data, offset, entries, n, 1, times, error);
}

static gboolean
survey_l2 (gpointer data,
           guint64 offset,
           guint64 *entries,
           gsize n,
           ImgQcow2Times times,
           ImgError **error)
{
  Survey *self = data;

  return self->parent.checker->has_data_file ||
         survey_table (self, offset, entries, n, get_step (&self->parent), times, error);
}

gboolean
img_qcow2_repair_list_stuck (ImgQcow2Checker *checker, ImgQcow2StuckFlags *stuck, ImgError **error)
{
  Survey self = { { checker }, stuck };
  ImgQcow2TableEditor editor = { survey_l1, survey_l2, &self };

  return img_qcow2_checker_edit_tables (checker, &editor, error);
}

void
img_qcow2_stuck_flags_clear (ImgQcow2StuckFlags *stuck)
{
  img_qcow2_counts_clear (&stuck->set);
  img_qcow2_counts_clear (&stuck->unset);
}
