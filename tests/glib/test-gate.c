/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <errno.h>
#include <pthread.h>

#include "test-gate.h"

typedef struct
{
  ImgStorage parent;
  guint64 size;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean is_shut;
  gboolean refuses_tries;
  gboolean is_broken;
  gulong slowness;
  TestGateCounts counts;
} Gate;

guint8
test_gate_byte (guint64 offset)
{
  return (guint8) (offset * 31 + (offset >> 9) * 7 + (offset >> 20));
}

static void
fill (const ImgIo *io)
{
  guint64 offset = io->offset;

  for (guint i = 0; i < io->n_iov; i++)
    for (gsize k = 0; k < io->iov[i].iov_len; k++)
      ((guint8 *) io->iov[i].iov_base)[k] = test_gate_byte (offset++);
}

/* With the mutex. */
static gboolean
pass_try (Gate *gate)
{
  gint64 until = g_get_monotonic_time () + (gint64) gate->slowness;

  gate->counts.n_tries++;
  while (g_get_monotonic_time () < until)
    ;
  return !gate->is_shut && !gate->refuses_tries;
}

static void
wait_at_gate (Gate *gate)
{
  gate->counts.n_reads++;
  gate->counts.n_inside++;
  pthread_cond_broadcast (&gate->cond);
  while (gate->is_shut)
    pthread_cond_wait (&gate->cond, &gate->mutex);
  gate->counts.n_inside--;
}

static void
complete (Gate *gate, ImgIo *io, gboolean is_broken)
{
  ImgError *error = NULL;

  if (is_broken)
    img_error_set_errno (&error, EIO, "The storage is broken");
  else
    fill (io);
  img_io_complete (io, error);
}

static void
count_together (Gate *gate, const ImgIo *ios, guint n_ios)
{
  guint n_tries = 0;

  for (guint i = 0; i < n_ios; i++)
    n_tries += (ios[i].flags & IMG_IO_NOWAIT) != 0;
  pthread_mutex_lock (&gate->mutex);
  gate->counts.n_together = MAX (gate->counts.n_together, n_tries);
  pthread_mutex_unlock (&gate->mutex);
}

static void
gate_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Gate *gate = (Gate *) storage;

  count_together (gate, ios, n_ios);
  for (guint i = 0; i < n_ios; i++)
    {
      gboolean passed = TRUE;
      gboolean is_broken;

      pthread_mutex_lock (&gate->mutex);
      if (ios[i].flags & IMG_IO_NOWAIT)
        passed = pass_try (gate);
      else
        wait_at_gate (gate);
      is_broken = gate->is_broken;
      pthread_mutex_unlock (&gate->mutex);
      if (passed)
        complete (gate, &ios[i], is_broken);
      else
        img_io_complete_partly (&ios[i], 0);
    }
}

static gboolean
gate_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  *size = ((Gate *) storage)->size;
  return TRUE;
}

static void
gate_free (ImgStorage *storage)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_destroy (&gate->mutex);
  pthread_cond_destroy (&gate->cond);
  g_free (gate);
}

static const ImgStorageClass gate_class = {
  .type_name = "gate",
  .submit = gate_submit,
  .get_size = gate_get_size,
  .free = gate_free,
};

ImgStorage *
test_gate_new (guint64 size)
{
  Gate *gate = g_new0 (Gate, 1);

  img_storage_init (&gate->parent, &gate_class, NULL);
  gate->size = size;
  pthread_mutex_init (&gate->mutex, NULL);
  pthread_cond_init (&gate->cond, NULL);
  return &gate->parent;
}

static void
set_shut (ImgStorage *storage, gboolean is_shut)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_lock (&gate->mutex);
  gate->is_shut = is_shut;
  pthread_cond_broadcast (&gate->cond);
  pthread_mutex_unlock (&gate->mutex);
}

void
test_gate_shut (ImgStorage *storage)
{
  set_shut (storage, TRUE);
}

void
test_gate_open (ImgStorage *storage)
{
  set_shut (storage, FALSE);
}

void
test_gate_slow_down (ImgStorage *storage, gulong usec)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_lock (&gate->mutex);
  gate->slowness = usec;
  pthread_mutex_unlock (&gate->mutex);
}

void
test_gate_refuse_tries (ImgStorage *storage, gboolean refuse)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_lock (&gate->mutex);
  gate->refuses_tries = refuse;
  pthread_mutex_unlock (&gate->mutex);
}

void
test_gate_break (ImgStorage *storage)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_lock (&gate->mutex);
  gate->is_broken = TRUE;
  pthread_mutex_unlock (&gate->mutex);
}

TestGateCounts
test_gate_get_counts (ImgStorage *storage)
{
  Gate *gate = (Gate *) storage;
  TestGateCounts counts;

  pthread_mutex_lock (&gate->mutex);
  counts = gate->counts;
  pthread_mutex_unlock (&gate->mutex);
  return counts;
}

void
test_gate_wait_inside (ImgStorage *storage, guint n)
{
  Gate *gate = (Gate *) storage;

  pthread_mutex_lock (&gate->mutex);
  while (gate->counts.n_inside < n)
    pthread_cond_wait (&gate->cond, &gate->mutex);
  pthread_mutex_unlock (&gate->mutex);
}

void
test_gate_wait_unused (ImgStorage *storage)
{
  while (!g_atomic_ref_count_compare (&storage->ref_count, 1))
    {
      g_main_context_iteration (NULL, FALSE); /* what a job tells at its end keeps it, and its images, until then */
      g_usleep (1000);
    }
}

void
test_gate_check_memory (const guint8 *memory, guint64 offset, gsize count)
{
  for (gsize i = 0; i < count; i++)
    if (memory[i] != test_gate_byte (offset + i))
      g_error ("byte %" G_GUINT64_FORMAT " is %u instead of %u", offset + i, memory[i],
               test_gate_byte (offset + i));
}

void
test_gate_check (GBytes *bytes, guint64 offset, gsize count)
{
  g_assert_nonnull (bytes);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, count);
  test_gate_check_memory (g_bytes_get_data (bytes, NULL), offset, count);
}

ImagoImage *
test_gate_open_image (ImgStorage *storage)
{
  g_autoptr (ImagoStorage) face = imago_storage_new_from_core (storage);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_format_name (options, "raw");
  image = imago_image_open_storage (face, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

/* ---- a storage that never promises anything ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
} Shy;

static void
shy_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Shy *shy = (Shy *) storage;

  for (guint i = 0; i < n_ios; i++)
    if (ios[i].flags & IMG_IO_NOWAIT)
      img_io_complete_partly (&ios[i], 0);
    else
      img_storage_submit (shy->base, &ios[i], 1);
}

static gboolean
shy_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Shy *) storage)->base, size, error);
}

static void
shy_free (ImgStorage *storage)
{
  img_storage_unref (((Shy *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass shy_class = {
  .type_name = "shy",
  .submit = shy_submit,
  .get_size = shy_get_size,
  .free = shy_free,
};

ImgStorage *
test_shy_new (ImgStorage *base)
{
  Shy *shy = g_new0 (Shy, 1);

  img_storage_init (&shy->parent, &shy_class, base->name);
  shy->parent.can_write = base->can_write;
  shy->base = img_storage_ref (base);
  return &shy->parent;
}

/* ---- asynchronous calls ---- */

void
test_result_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  TestSlot *slot = data;

  slot->n_calls++;
  g_set_object (&slot->result, result);
}

GAsyncResult *
test_slot_wait (TestSlot *slot)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();

  while (slot->n_calls == 0)
    g_main_context_iteration (context, TRUE);
  g_assert_cmpuint (slot->n_calls, ==, 1);
  return slot->result;
}

void
test_slot_clear (TestSlot *slot)
{
  g_clear_object (&slot->result);
  slot->n_calls = 0;
}

void
test_iterate_until (const gboolean *flag)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();

  while (!*flag)
    g_main_context_iteration (context, TRUE);
}
