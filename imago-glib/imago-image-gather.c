/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Small reads that are tried together, as imago-completion.h tells. What cannot be answered then goes the way of a read
 * that is alone, from there on.
 *
 * A read that has not been tried has no hold on its image: only the thread that iterates its context tries it, and that
 * may close the image before. So closing has all of this thread's tried first. */

#include "config.h"

#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-image-private.h"

typedef struct
{
  guint64 offset;
  gsize count;
  GBytes *bytes;       /* owned; NULL: not read */
  ImgError *error;     /* owned */
  gboolean is_started; /* alone: its task will be answered */
} GatheredRead;

static void
start_alone (GatheredRead *read, GTask *task)
{
  read->is_started = TRUE;
  imago_image_start_read (g_task_get_source_object (task), g_object_ref (task), read->offset, read->count);
}

static void
deliver_read (GTask *task, gpointer data)
{
  GatheredRead *read = data;
  GError *error = NULL;

  if (G_LIKELY (read->bytes != NULL))
    g_task_return_pointer (task, read->bytes, (GDestroyNotify) g_bytes_unref);
  else if (read->error != NULL)
    {
      imago_error_take (&error, read->error);
      g_task_return_error (task, error);
    }
  else if (!read->is_started)
    start_alone (read, task);
  g_free (read);
}

typedef struct
{
  guint n_reads;
  gsize total; /* bytes */
  GatheredRead *reads[IMAGO_GATHER_MAX];
  GTask *tasks[IMAGO_GATHER_MAX];
  ImgTryRead tries[IMAGO_GATHER_MAX];
} Gathering;

static void
add_read (Gathering *self, GatheredRead *read, GTask *task)
{
  guint8 *buffer = NULL;

  if (!g_cancellable_is_cancelled (g_task_get_cancellable (task)))
    buffer = imago_buffer_new (read->count, NULL);
  if (buffer == NULL)
    {
      start_alone (read, task); /* it will be told why not */
      return;
    }
  self->reads[self->n_reads] = read;
  self->tasks[self->n_reads] = task;
  self->tries[self->n_reads++] = (ImgTryRead) { .offset = read->offset, .length = read->count, .buffer = buffer };
  self->total += read->count;
}

static void
take_tries (Gathering *self, ImagoLane *lane)
{
  for (guint i = 0; i < self->n_reads; i++)
    {
      GatheredRead *read = self->reads[i];
      const ImgTryRead *tried = &self->tries[i];

      imago_lane_count (lane, tried->result != IMG_TRY_WOULD_BLOCK);
      read->error = tried->error;
      if (tried->result == IMG_TRY_DONE)
        read->bytes = imago_buffer_to_bytes (tried->buffer, read->count);
      else
        imago_buffer_free (tried->buffer, read->count);
    }
}

static void
gather_reads (GTask *const *tasks, gpointer const *data, guint n_tasks)
{
  ImagoImage *image = g_task_get_source_object (tasks[0]);
  ImgEpochTicket ticket;
  ImgImage *core = imago_image_state_enter (image->state, &ticket);
  ImagoLane *lane;
  Gathering self;
  gint64 begun;

  self.n_reads = 0;
  self.total = 0;
  for (guint i = 0; i < n_tasks; i++)
    if (core != NULL)
      add_read (&self, data[i], tasks[i]);
    else
      start_alone (data[i], tasks[i]); /* it will be told that the image is closed */
  if (core == NULL)
    return;
  lane = imago_lane_find (tasks[0]);
  begun = imago_lane_begin (lane, self.total);
  img_image_try_reads (core, self.tries, self.n_reads);
  imago_lane_end (lane, self.total, begun);
  imago_image_state_leave (image->state, ticket);
  take_tries (&self, lane);
  for (guint i = 0; i < self.n_reads; i++)
    if (self.reads[i]->bytes == NULL && self.reads[i]->error == NULL)
      start_alone (self.reads[i], self.tasks[i]);
}

gboolean
imago_image_gather_read (ImagoImage *self, GTask *task, guint64 offset, gsize count)
{
  ImagoLane *lane = imago_lane_find (task);
  GatheredRead *read;

  if (!imago_lane_may_inline (lane, count) || !imago_lane_may_gather (lane, count))
    return FALSE;
  read = g_new (GatheredRead, 1);
  *read = (GatheredRead) { .offset = offset, .count = count };
  imago_lane_push_to_gather (lane, task, gather_reads, deliver_read, read);
  return TRUE;
}
