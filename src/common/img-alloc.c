/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <stdlib.h>
#include <string.h>

#include "img-alloc.h"

#define ALIGNMENT 4096

static gint fault_countdown; /* 0: off */
static gint fault_persists;
static gint fault_has_struck;

void
img_alloc_set_fault (guint nth, gboolean persist)
{
  g_atomic_int_set (&fault_persists, persist);
  g_atomic_int_set (&fault_has_struck, FALSE);
  g_atomic_int_set (&fault_countdown, (gint) nth);
}

gboolean
img_alloc_clear_fault (void)
{
  g_atomic_int_set (&fault_countdown, 0);
  return g_atomic_int_get (&fault_has_struck);
}

static gboolean
must_fail (void)
{
  if (g_atomic_int_get (&fault_countdown) == 0)
    return FALSE;
  if (!g_atomic_int_dec_and_test (&fault_countdown))
    return FALSE;
  g_atomic_int_set (&fault_has_struck, TRUE);
  if (g_atomic_int_get (&fault_persists))
    g_atomic_int_set (&fault_countdown, 1);
  return TRUE;
}

gpointer
img_try_alloc (gsize size, ImgError **error)
{
  void *memory = NULL;

  if (must_fail () || size > G_MAXSSIZE || posix_memalign (&memory, ALIGNMENT, MAX (size, 1)) != 0)
    {
      img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot allocate %zu bytes"),
                     size);
      return NULL;
    }
  return memory;
}

gpointer
img_try_alloc0 (gsize count, gsize size, ImgError **error)
{
  gsize total;
  gpointer memory;

  if (!g_size_checked_mul (&total, count, size))
    total = G_MAXSIZE;
  memory = img_try_alloc (total, error);
  if (memory != NULL)
    memset (memory, 0, total);
  return memory;
}

void
img_free (gpointer memory)
{
  free (memory);
}
