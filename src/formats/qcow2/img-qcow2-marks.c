/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The feature bits that a writer sets and clears in the header, each with one small write. */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-mutant.h"
#include "img-qcow2-writer.h"

/* Offsets in the header of version 3. */
#define INCOMPATIBLE_AT 72
#define AUTOCLEAR_AT 88

/* Autoclear bits whose promise this writer keeps. */
#define MAINTAINED IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE

static gboolean
write_features (ImgQcow2 *self, guint64 at, guint64 *field, guint64 value, ImgMutant skip, ImgError **error)
{
  guint64 stored = GUINT64_TO_BE (value);

  if (!img_storage_write (self->parent.storage, at, &stored, sizeof stored, error))
    return FALSE;
  if (!img_mutant_is_on (skip) && !img_storage_flush (self->parent.storage, error))
    {
      img_qcow2_writer_poison (self);
      return FALSE;
    }
  __atomic_store_n (field, value, __ATOMIC_RELAXED);
  return TRUE;
}

static gboolean
set_incompatible (ImgQcow2 *self, guint64 set, guint64 clear, ImgError **error)
{
  guint64 value = (self->header->incompatible & ~clear) | set;

  if (self->header->version < 3 || value == self->header->incompatible)
    return TRUE;
  return write_features (self, INCOMPATIBLE_AT, &self->header->incompatible, value,
                         IMG_MUTANT_SKIP_DIRTY_FLUSH, error);
}

gboolean
img_qcow2_begin_write (ImgQcow2 *self, ImgError **error)
{
  ImgQcow2Header *header = self->header;
  guint64 kept = header->autoclear & MAINTAINED;

  g_assert (img_turn_is_mine (&self->writer->turn));
  if (g_atomic_int_get (&self->writer->has_begun))
    return TRUE;
  if (kept != header->autoclear &&
      !write_features (self, AUTOCLEAR_AT, &header->autoclear, kept, IMG_MUTANT_SKIP_AUTOCLEAR_FLUSH,
                       error))
    return FALSE;
  if ((header->compatible & IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS) != 0 &&
      !set_incompatible (self, IMG_QCOW2_INCOMPATIBLE_DIRTY, 0, error))
    return FALSE;
  g_atomic_int_set (&self->writer->has_begun, TRUE);
  return TRUE;
}

gboolean
img_qcow2_clear_dirty (ImgQcow2 *self, ImgError **error)
{
  return set_incompatible (self, 0, IMG_QCOW2_INCOMPATIBLE_DIRTY, error);
}

void
img_qcow2_mark_corrupt (ImgQcow2 *self, ImgError **error, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  img_error_set (error, IMG_CODE_CORRUPT, "%s", text);
  if (!g_atomic_int_compare_and_exchange (&self->writer->is_corrupt, FALSE, TRUE))
    return;
  /* That the mark cannot be set is no worse than what has been found. */
  set_incompatible (self, IMG_QCOW2_INCOMPATIBLE_CORRUPT, 0, NULL);
}
