/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the state of a virtual machine lies: "VM state" in the specification. It begins at the first L2 table that the
 * disk has no use for. The entries of L1 that lead there are not needed for the disk, so a reader gets them when they
 * are asked for. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-qcow2-writer.h"

/* Nobody is inside the image, so that nobody has the old table. */
static gboolean
load_whole_l1 (ImgQcow2 *self, ImgError **error)
{
  guint64 n = self->n_stored_l1_entries;
  guint64 *entries;

  if (n <= self->n_l1_entries)
    return TRUE;
  if (!img_qcow2_check_l1 (self, n, error))
    return FALSE;
  entries = img_try_alloc (n * sizeof (guint64), error);
  if (entries == NULL || !img_storage_read (self->parent.storage, self->stored_l1_offset, entries,
                                            n * sizeof (guint64), error))
    {
      img_free (entries);
      return FALSE;
    }
  for (guint64 i = 0; i < n; i++)
    entries[i] = GUINT64_FROM_BE (entries[i]);
  img_free (self->l1);
  self->l1 = entries;
  self->n_l1_entries = n;
  self->parent.table_memory = n * sizeof (guint64);
  return TRUE;
}

gboolean
img_qcow2_find_vm_state (ImgLayout *layout, guint64 *start, guint64 *end, ImgError **error)
{
  ImgQcow2 *self = (ImgQcow2 *) layout;

  if (self->has_data_file)
    {
      img_error_set (error, IMG_CODE_UNSUPPORTED,
                     _("An image with an external data file has no place for the state of a virtual machine"));
      return FALSE;
    }
  if (self->writer != NULL)
    self->n_l1_entries = self->writer->l1.n_entries;
  else if (!load_whole_l1 (self, error))
    return FALSE;
  *start = img_qcow2_header_count_l1_entries (self->header, layout->size) << self->l1_shift;
  *end = self->n_l1_entries << self->l1_shift;
  return TRUE;
}
