/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Memory that becomes a GBytes. Its size is the caller's, so running out is an error.
 *
 * What is large comes from the kernel page by page and goes back there when it is freed, which
 * costs more than to copy into it. So some large buffers are kept for the next read when their
 * GBytes go. What is small costs little, but as much again as the look at the block map before it:
 * many small ones that are wanted at once share one slab. */

#pragma once

#include "imago-core.h"

G_BEGIN_DECLS

guint8 *imago_buffer_new      (gsize count, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* With the same @count; @buffer may be NULL. */
void    imago_buffer_free     (guint8 *buffer, gsize count);
/* Takes @buffer. */
GBytes *imago_buffer_to_bytes (guint8 *buffer, gsize count) G_GNUC_WARN_UNUSED_RESULT;

typedef struct _ImagoSlab ImagoSlab;

/* How much of a slab @count bytes take. */
static inline gsize
imago_slab_room (gsize count)
{
  return (gsize) img_align_up (count, 2 * sizeof (gpointer));
}

/* NULL: out of memory. */
ImagoSlab *imago_slab_new (gsize size) G_GNUC_WARN_UNUSED_RESULT;
void imago_slab_unref (ImagoSlab *self);
guint8 *imago_slab_get_memory (ImagoSlab *self);
/* Keeps the slab. */
GBytes *
imago_slab_to_bytes (ImagoSlab *self, const guint8 *memory, gsize count) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
