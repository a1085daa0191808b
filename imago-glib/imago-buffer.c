/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-buffer-private.h"

/* From here on, memory begins with a page: not where img-copy.h says that nothing should be read to. */
#define MIN_ALIGNED ((gsize) 16 * 1024)

/* Kept buffers have a size of 2^n, so that one fits for its neighbours. */
#define MIN_KEPT_BITS 17
#define MAX_KEPT_BITS 22
#define MAX_KEPT_TOTAL ((gsize) 4 * 1024 * 1024)
#define MAX_KEPT_EACH 4

static ImgMutex mutex = IMG_MUTEX_INIT;
static guint8 *kept[MAX_KEPT_BITS + 1][MAX_KEPT_EACH]; /* from the front; with the mutex, as is the next one */
static gsize kept_total;

/* The power of two that holds @count bytes; 0 if such buffers are not kept. */
static guint
kept_bits (gsize count)
{
  if (count < (gsize) 1 << MIN_KEPT_BITS || count > (gsize) 1 << MAX_KEPT_BITS)
    return 0;
  return g_bit_storage (count - 1);
}

static guint8 *
take_kept (guint bits)
{
  guint8 *buffer = NULL;

  img_mutex_lock (&mutex);
  for (guint i = MAX_KEPT_EACH; i > 0 && buffer == NULL; i--)
    buffer = g_steal_pointer (&kept[bits][i - 1]);
  if (buffer != NULL)
    kept_total -= (gsize) 1 << bits;
  img_mutex_unlock (&mutex);
  return buffer;
}

static gboolean
keep (guint8 *buffer, guint bits)
{
  guint i = 0;

  img_mutex_lock (&mutex);
  while (i < MAX_KEPT_EACH && kept[bits][i] != NULL)
    i++;
  if (kept_total + ((gsize) 1 << bits) > MAX_KEPT_TOTAL)
    i = MAX_KEPT_EACH;
  if (i < MAX_KEPT_EACH)
    {
      kept[bits][i] = buffer;
      kept_total += (gsize) 1 << bits;
    }
  img_mutex_unlock (&mutex);
  return i < MAX_KEPT_EACH;
}

guint8 *
imago_buffer_new (gsize count, ImgError **error)
{
  guint bits = kept_bits (count);
  guint8 *buffer = bits != 0 ? take_kept (bits) : NULL;

  if (buffer != NULL)
    return buffer;
  if (count >= MIN_ALIGNED)
    return img_try_alloc (bits != 0 ? (gsize) 1 << bits : count, error);
  buffer = g_try_malloc (MAX (count, 1));
  if (G_UNLIKELY (buffer == NULL))
    img_error_set (error, IMG_CODE_NO_MEMORY, _("Out of memory: cannot allocate %zu bytes"), count);
  return buffer;
}

void
imago_buffer_free (guint8 *buffer, gsize count)
{
  guint bits = kept_bits (count);

  if (buffer != NULL && (bits == 0 || !keep (buffer, bits)))
    g_free (buffer);
}

typedef struct
{
  guint8 *buffer;
  gsize count;
} Lent;

static void
lent_free (gpointer data)
{
  Lent *lent = data;

  imago_buffer_free (lent->buffer, lent->count);
  g_free (lent);
}

GBytes *
imago_buffer_to_bytes (guint8 *buffer, gsize count)
{
  Lent *lent;

  if (kept_bits (count) == 0)
    return g_bytes_new_take (buffer, count);
  lent = g_new (Lent, 1);
  *lent = (Lent) { buffer, count };
  return g_bytes_new_with_free_func (buffer, count, lent_free, lent);
}

/* ---- slabs ---- */

struct _ImagoSlab
{
  ImgRefCount ref_count; /* one for who has made it, one for each GBytes */
  guint8 *buffer;
  gsize size;
};

ImagoSlab *
imago_slab_new (gsize size)
{
  guint8 *buffer = imago_buffer_new (size, NULL);
  ImagoSlab *self;

  if (buffer == NULL)
    return NULL;
  self = g_new (ImagoSlab, 1);
  *self = (ImagoSlab) { .buffer = buffer, .size = size };
  img_ref_init (&self->ref_count);
  return self;
}

void
imago_slab_unref (ImagoSlab *self)
{
  if (!img_ref_dec (&self->ref_count))
    return;
  imago_buffer_free (self->buffer, self->size);
  g_free (self);
}

guint8 *
imago_slab_get_memory (ImagoSlab *self)
{
  return self->buffer;
}

GBytes *
imago_slab_to_bytes (ImagoSlab *self, const guint8 *memory, gsize count)
{
  img_ref_inc (&self->ref_count);
  return g_bytes_new_with_free_func (memory, count, (GDestroyNotify) imago_slab_unref, self);
}
