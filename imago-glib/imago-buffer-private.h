/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Memory that becomes a GBytes. Its size is the caller's, so running out is an error. */

#pragma once

#include <glib/gi18n-lib.h>

#include "imago-core.h"

G_BEGIN_DECLS

static inline guint8 *
imago_buffer_new (gsize count, ImgError **error)
{
  guint8 *buffer = g_try_malloc (MAX (count, 1));

  if (G_UNLIKELY (buffer == NULL))
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot allocate %zu bytes"), count);
  return buffer;
}

G_END_DECLS
