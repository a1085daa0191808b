/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A reference count. Like ImgRefCount, but compiled into the caller: ThreadSanitizer cannot see the
 * atomics inside GLib and takes the last unref for a race. */

#pragma once

#include <glib.h>

typedef gint ImgRefCount;

static inline void
img_ref_init (ImgRefCount *count)
{
  *count = 1;
}

static inline void
img_ref_inc (ImgRefCount *count)
{
  g_atomic_int_inc (count);
}

/* TRUE when that was the last one. */
static inline gboolean
img_ref_dec (ImgRefCount *count)
{
  return g_atomic_int_dec_and_test (count);
}
