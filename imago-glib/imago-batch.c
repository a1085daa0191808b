/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-batch.h"
#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-image-private.h"

/* A batch goes through three hands: its owner's, who adds to it; the library's from the start of a run to its
 * answer; its owner's again, who looks at what came of it. `state` says whose turn it is, so that nothing in
 * between needs a lock. On workers, one has the small reads that can be in flight at the same time waited for by the
 * kernel, while others take one after the other of the rest from a shared counter; then what is left of those reads is
 * shared out as well.
 *
 * Workers have items of their own. Where they may be left behind by a caller who cancels, they are a copy, which has no
 * memory of the caller's: if they come back in time they take the place of the batch's; if not, each request
 * of the batch that has not been done before has been cancelled. */

/* How many requests wait for a storage at once. */
#define MAX_PARALLEL 32
/* How many reads are tried in one call. */
#define MAX_TRIED 32
/* Bytes of a read that one worker makes with others. */
#define MAX_TOGETHER (64 * 1024)

/* Small reads share their memory: at most as much as the library answers inline, since whoever
 * keeps the bytes of one keeps it all. */
#define SMALL_READ (16 * 1024)
#define MAX_SHARED IMAGO_INLINE_MAX

/* A batch of so many grows without being copied. */
#define RESERVED_ITEMS 32

/**
 * SECTION:imago-batch
 * @title: ImagoBatch
 * @short_description: Many reads and writes in one call
 *
 * An #ImagoBatch is a list of reads and writes that an image carries out together. That costs one task and one
 * callback, however many they are, and those that have to wait for a storage wait at the same time.
 *
 * The requests have no order among themselves. One that fails does not keep the others from being tried:
 * imago_batch_check() tells what became of each.
 *
 * A batch is run once. It belongs to one thread until it is run, and again when it has run; nothing may be added
 * or asked meanwhile.
 */

/**
 * ImagoBatch:
 *
 * Reads and writes that are carried out in one call.
 *
 * Since: 1.0
 */

typedef struct
{
  guint64 offset;
  gsize count;
  guint8 *buffer;   /* READ: nullable before it is tried */
  gsize place;      /* is_shared: in the slab */
  GBytes *bytes;    /* WRITE: what is to be written; READ: what the buffer has become, once it has been asked for */
  ImgError *error;  /* owned */
  gboolean is_write;
  gboolean is_borrowed; /* the buffer is the caller's */
  gboolean is_shared;   /* the buffer is part of the slab, if there is one */
  gboolean is_done;     /* tried, with success or error */
} Item;

/* Outlives the object on workers. */
typedef struct
{
  gint ref_count;  /* atomic */
  Item *items;
  guint n_items;
  guint n_reserved;
  guint n_writes;
  gsize total;       /* bytes; from IMAGO_INLINE_MAX on, no exact number */
  guint n_sharing;
  gsize shared_size; /* of their places */
  ImagoSlab *slab;   /* owned; nullable: of small reads */
  gint next;       /* atomic: the next one that a worker takes */
  gboolean is_first; /* of the two times that workers go through them */
  ImgImage *core;  /* borrowed, while it runs */
  ImgCancel *cancel;
  int priority;
} Items; /* the result of a run, too */

struct _ImagoBatch
{
  GObject parent_instance;

  ImagoImage *image;
  Items *items;
  gint state; /* atomic, a State */
};

typedef enum
{
  STATE_OPEN,
  STATE_RUNNING,
  STATE_RUN,
} State;

enum
{
  PROP_0,
  PROP_IMAGE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoBatch, imago_batch, G_TYPE_OBJECT)

/* ---- requests ---- */

static void
item_clear (Item *item)
{
  if (item->buffer != NULL && !item->is_borrowed && !item->is_shared)
    imago_buffer_free (item->buffer, item->count);
  if (item->bytes != NULL)
    g_bytes_unref (item->bytes);
  if (G_UNLIKELY (item->error != NULL))
    img_error_free (item->error);
}

static void
items_unref (gpointer data)
{
  Items *items = data;

  if (!g_atomic_int_dec_and_test (&items->ref_count))
    return;
  for (guint i = 0; i < items->n_items; i++)
    item_clear (&items->items[i]);
  g_free (items->items);
  g_clear_pointer (&items->slab, imago_slab_unref);
  g_free (items);
}

/* Only the first ones, as many as fit, share. */
static void
find_place (Items *items, Item *item)
{
  gsize room = imago_slab_room (item->count);

  if (item->count == 0 || item->count > SMALL_READ || room > MAX_SHARED - items->shared_size)
    return;
  item->is_shared = TRUE;
  item->place = items->shared_size;
  items->shared_size += room;
  items->n_sharing++;
}

/* Written in place: what has just been written by halves is slow to copy. */
static Item *
items_add (Items *items, guint64 offset, gsize count)
{
  Item *item;

  if (G_UNLIKELY (items->n_items == items->n_reserved))
    {
      items->n_reserved *= 2;
      items->items = g_renew (Item, items->items, items->n_reserved);
    }
  item = &items->items[items->n_items++];
  *item = (Item) { .offset = offset, .count = count };
  items->total += MIN (count, IMAGO_INLINE_MAX + 1);
  return item;
}

static Item *
add_read (Items *items, guint64 offset, gsize count)
{
  Item *item = items_add (items, offset, count);

  find_place (items, item);
  return item;
}

static Item *
add_write (Items *items, guint64 offset, GBytes *bytes)
{
  Item *item = items_add (items, offset, g_bytes_get_size (bytes));

  item->bytes = g_bytes_ref (bytes);
  item->is_write = TRUE;
  items->n_writes++;
  return item;
}

/* Without a slab each has memory of its own: there is none for it, or there is nobody to share it with. */
static void
share_memory (Items *items)
{
  if (items->n_sharing > 1)
    items->slab = imago_slab_new (items->shared_size);
}

/* FALSE with the item done: there is no memory for it. */
static gboolean
make_room (Items *items, Item *item)
{
  if (item->is_write || item->buffer != NULL)
    return TRUE;
  item->is_shared = item->is_shared && items->slab != NULL;
  if (item->is_shared)
    item->buffer = imago_slab_get_memory (items->slab) + item->place;
  else
    item->buffer = imago_buffer_new (item->count, &item->error);
  item->is_done = item->buffer == NULL;
  return !item->is_done;
}

static void
try_write (ImgImage *core, Item *item)
{
  ImgTryResult result = img_image_try_write (core, item->offset, g_bytes_get_data (item->bytes, NULL), item->count,
                                             &item->error);

  item->is_done = result != IMG_TRY_WOULD_BLOCK;
}

/* The next reads that are not done and not longer than @max_length. */
static guint
take_reads (Items *self, guint *next, gsize max_length, Item **items, ImgTryRead *reads)
{
  guint n_reads = 0;

  for (; *next < self->n_items && n_reads < MAX_TRIED; ++*next)
    {
      Item *item = &self->items[*next];

      /* Whether others are done, other workers may be writing down now. */
      if (item->is_write || item->count > max_length || item->is_done || !make_room (self, item))
        continue;
      items[n_reads] = item;
      reads[n_reads++] = (ImgTryRead) { .offset = item->offset, .length = item->count, .buffer = item->buffer };
    }
  return n_reads;
}

static void
take_tries (Item **items, const ImgTryRead *reads, guint n_reads)
{
  for (guint i = 0; i < n_reads; i++)
    {
      items[i]->error = reads[i].error;
      items[i]->is_done = reads[i].result != IMG_TRY_WOULD_BLOCK;
    }
}

/* Reads are tried many at a time; writes have no order among them. */
static void
try_all (ImgImage *core, Items *self)
{
  ImgTryRead reads[MAX_TRIED];
  Item *items[MAX_TRIED];
  guint next = 0;
  guint n_reads;

  for (guint i = 0; self->n_writes > 0 && i < self->n_items; i++)
    if (self->items[i].is_write)
      try_write (core, &self->items[i]);
  while ((n_reads = take_reads (self, &next, G_MAXSIZE, items, reads)) > 0)
    {
      img_image_try_reads (core, reads, n_reads);
      take_tries (items, reads, n_reads);
    }
}

/* ---- on workers ---- */

/* Longer ones are copied by several threads. */
static gboolean
goes_together (const Item *item)
{
  return !item->is_write && item->count <= MAX_TOGETHER;
}

/* The kernel has many reads in flight at the same time: that takes no longer than by as many workers, and nobody is
 * woken for it but this one. What that cannot be done for is left. */
static void
read_together (Items *self)
{
  ImgTryRead reads[MAX_TRIED];
  Item *items[MAX_TRIED];
  guint next = 0;
  guint n_reads;

  while (!img_cancel_is_set (self->cancel) && (n_reads = take_reads (self, &next, MAX_TOGETHER, items, reads)) > 0)
    {
      img_image_read_together (self->core, reads, n_reads);
      take_tries (items, reads, n_reads);
    }
}

static void
run_item (Items *items, Item *item)
{
  if (img_cancel_check (items->cancel, &item->error) || !make_room (items, item))
    ;
  else if (item->is_write)
    img_image_write (items->core, item->offset, g_bytes_get_data (item->bytes, NULL), item->count, items->cancel,
                     &item->error);
  else
    img_image_read (items->core, item->offset, item->buffer, item->count, items->cancel, &item->error);
  item->is_done = TRUE;
}

/* At first the reads that go together are the first worker's. */
static void
run_items (gpointer data, guint worker)
{
  Items *items = data;
  guint index;

  if (items->is_first && worker == 0)
    read_together (items);
  while ((index = (guint) g_atomic_int_add (&items->next, 1)) < items->n_items)
    {
      Item *item = &items->items[index];

      if (!(items->is_first && goes_together (item)) && !item->is_done)
        run_item (items, item);
    }
}

static guint
count_left (Items *items)
{
  guint n_left = 0;

  for (guint i = 0; i < items->n_items; i++)
    n_left += !items->items[i].is_done;
  return n_left;
}

static guint
count_together (Items *items)
{
  guint n_together = 0;

  for (guint i = 0; i < items->n_items; i++)
    n_together += !items->items[i].is_done && goes_together (&items->items[i]);
  return n_together;
}

/* By at most @n_workers, of which this is one. */
static void
run_left (Items *items, gboolean is_first, guint n_workers)
{
  items->is_first = is_first;
  g_atomic_int_set (&items->next, 0);
  img_pool_run_parallel (img_pool_get_default (), IMG_TASK_IO, MIN (n_workers, MAX_PARALLEL), items->priority,
                         run_items, items);
}

static const ImgError *
find_error (Items *items)
{
  for (guint i = 0; i < items->n_items; i++)
    if (items->items[i].error != NULL)
      return items->items[i].error;
  return NULL;
}

/* The result are the items, whatever came of each. */
static gpointer
run_batch (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoImageCall *call = data;
  Items *items = call->data;
  guint n_together;

  items->core = call->core;
  items->cancel = cancel;
  n_together = count_together (items);
  if (n_together > 0)
    run_left (items, TRUE, 1 + count_left (items) - n_together);
  run_left (items, FALSE, count_left (items));
  return g_steal_pointer (&call->data);
}

/* ---- left behind ---- */

static Items *
items_new (guint n_reserved)
{
  Items *items = g_new0 (Items, 1);

  items->ref_count = 1;
  items->items = g_new (Item, n_reserved);
  items->n_reserved = n_reserved;
  return items;
}

/* What has not been done, without memory of the caller's. */
static Items *
items_copy (Items *items)
{
  Items *copy = items_new (MAX (items->n_items, 1));

  copy->priority = items->priority;
  for (guint i = 0; i < items->n_items; i++)
    {
      const Item *item = &items->items[i];
      Item *own;

      if (item->is_write)
        own = add_write (copy, item->offset, item->bytes);
      else
        own = add_read (copy, item->offset, item->count);
      own->is_done = item->is_done;
    }
  return copy;
}

static void
take_item (Item *item, Item *done)
{
  item->is_done = done->is_done;
  item->error = g_steal_pointer (&done->error);
  if (item->is_borrowed && done->buffer != NULL)
    img_copy (item->buffer, done->buffer, item->count);
  if (item->is_borrowed || item->is_write)
    return;
  if (!item->is_shared)
    imago_buffer_free (item->buffer, item->count);
  item->buffer = g_steal_pointer (&done->buffer);
  item->is_shared = FALSE;
}

/* What the workers have done becomes the batch's. */
static void
take_items (ImagoBatch *self, Items *done)
{
  if (done != self->items)
    for (guint i = 0; i < done->n_items; i++)
      if (!self->items->items[i].is_done)
        take_item (&self->items->items[i], &done->items[i]);
  items_unref (done);
}

static void
fail_items (ImagoBatch *self, const ImgError *failure)
{
  for (guint i = 0; i < self->items->n_items; i++)
    {
      Item *item = &self->items->items[i];

      if (!item->is_done)
        item->error = img_error_copy (failure);
      item->is_done = TRUE;
    }
}

/* ---- the object ---- */

static void
imago_batch_finalize (GObject *object)
{
  ImagoBatch *self = IMAGO_BATCH (object);

  g_clear_object (&self->image);
  items_unref (self->items);
  G_OBJECT_CLASS (imago_batch_parent_class)->finalize (object);
}

static void
imago_batch_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  switch (id)
    {
    case PROP_IMAGE:
      g_value_set_object (value, IMAGO_BATCH (object)->image);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_batch_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  switch (id)
    {
    case PROP_IMAGE:
      IMAGO_BATCH (object)->image = g_value_dup_object (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_batch_class_init (ImagoBatchClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->finalize = imago_batch_finalize;
  object_class->get_property = imago_batch_get_property;
  object_class->set_property = imago_batch_set_property;

  /**
   * ImagoBatch:image:
   *
   * The image that is read and written.
   *
   * Since: 1.0
   */
  properties[PROP_IMAGE] =
    g_param_spec_object ("image", "Image", "The image that is read and written", IMAGO_TYPE_IMAGE,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_batch_init (ImagoBatch *self)
{
  self->items = items_new (RESERVED_ITEMS);
}

/**
 * imago_batch_new:
 * @image: the image that shall be read and written
 *
 * Makes an empty batch.
 *
 * Returns: (transfer full): the batch
 *
 * Since: 1.0
 */
ImagoBatch *
imago_batch_new (ImagoImage *image)
{
  g_return_val_if_fail (IMAGO_IS_IMAGE (image), NULL);

  return g_object_new (IMAGO_TYPE_BATCH, "image", image, NULL);
}

/**
 * imago_batch_get_image:
 * @self: an #ImagoBatch
 *
 * Gets the image that is read and written.
 *
 * Returns: (transfer none) (nullable): the image; %NULL if the batch was made without one
 *
 * Since: 1.0
 */
ImagoImage *
imago_batch_get_image (ImagoBatch *self)
{
  g_return_val_if_fail (IMAGO_IS_BATCH (self), NULL);

  return self->image;
}

/**
 * imago_batch_add_read:
 * @self: an #ImagoBatch that has not been run
 * @offset: where to begin, in bytes
 * @count: how many bytes
 *
 * Adds a read. Its bytes are what imago_batch_dup_bytes() returns for its number when the batch has run.
 *
 * Returns: the number of the request: 0, 1, …
 *
 * Since: 1.0
 */
guint
imago_batch_add_read (ImagoBatch *self, guint64 offset, gsize count)
{
  g_return_val_if_fail (IMAGO_IS_BATCH (self), 0);
  g_return_val_if_fail (self->state == STATE_OPEN, 0);

  add_read (self->items, offset, count);
  return self->items->n_items - 1;
}

/**
 * imago_batch_add_read_at: (skip)
 * @self: an #ImagoBatch that has not been run
 * @offset: where to begin, in bytes
 * @buffer: memory for @count bytes, which stays valid until the batch has run
 * @count: how many bytes
 *
 * Adds a read into memory of the caller, for C; see imago_batch_add_read(). When the batch
 * has run, though it was cancelled, nothing touches @buffer any more.
 *
 * Returns: the number of the request: 0, 1, …
 *
 * Since: 1.0
 */
guint
imago_batch_add_read_at (ImagoBatch *self, guint64 offset, void *buffer, gsize count)
{
  Item *item;

  g_return_val_if_fail (IMAGO_IS_BATCH (self), 0);
  g_return_val_if_fail (self->state == STATE_OPEN, 0);
  g_return_val_if_fail (buffer != NULL, 0);

  item = items_add (self->items, offset, count);
  item->buffer = buffer;
  item->is_borrowed = TRUE;
  return self->items->n_items - 1;
}

/**
 * imago_batch_add_write:
 * @self: an #ImagoBatch that has not been run
 * @offset: where to begin, in bytes
 * @bytes: what to write
 *
 * Adds a write; see imago_image_write_bytes().
 *
 * Returns: the number of the request: 0, 1, …
 *
 * Since: 1.0
 */
guint
imago_batch_add_write (ImagoBatch *self, guint64 offset, GBytes *bytes)
{
  g_return_val_if_fail (IMAGO_IS_BATCH (self), 0);
  g_return_val_if_fail (self->state == STATE_OPEN, 0);
  g_return_val_if_fail (bytes != NULL, 0);

  add_write (self->items, offset, bytes);
  return self->items->n_items - 1;
}

/**
 * imago_batch_get_n_requests:
 * @self: an #ImagoBatch
 *
 * Gets how many requests have been added.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint
imago_batch_get_n_requests (ImagoBatch *self)
{
  g_return_val_if_fail (IMAGO_IS_BATCH (self), 0);

  return self->items->n_items;
}

/* ---- running ---- */

static gboolean
begin_run (ImagoBatch *self, int priority, ImgError **error)
{
  if (self->image != NULL &&
      g_atomic_int_compare_and_exchange (&self->state, STATE_OPEN, STATE_RUNNING))
    {
      self->items->priority = priority;
      share_memory (self->items);
      return TRUE;
    }
  img_error_set (error, IMG_CODE_FAILED,
                 self->image == NULL ? _("The batch has no image") : _("The batch has been run before"));
  return FALSE;
}

/* What the workers get; @flags: of the call. */
static Items *
prepare_items (ImagoBatch *self, GCancellable *cancellable, ImagoRequestFlags *flags)
{
  if (cancellable != NULL && imago_image_may_hang (self->image))
    {
      *flags = IMAGO_REQUEST_NONE;
      return items_copy (self->items);
    }
  *flags = IMAGO_REQUEST_BORROWS;
  g_atomic_int_inc (&self->items->ref_count);
  return self->items;
}

/* Of those that could be tried, each has its own answer; that of the first failure is the batch's. */
static gboolean
end_run (ImagoBatch *self, GError **error)
{
  const ImgError *failure = find_error (self->items);

  g_atomic_int_set (&self->state, STATE_RUN);
  if (failure != NULL)
    imago_error_take (error, img_error_copy (failure));
  return failure == NULL;
}

/* Takes both: @done, or @error if there is none. */
static gboolean
settle_run (ImagoBatch *self, Items *done, GError *error, GError **destination)
{
  ImgError *failure;

  if (done != NULL)
    {
      take_items (self, done);
      return end_run (self, destination);
    }
  failure = imago_error_to_core (error);
  fail_items (self, failure);
  img_error_free (failure);
  end_run (self, NULL);
  g_propagate_error (destination, error);
  return FALSE;
}

/**
 * imago_batch_run:
 * @self: an #ImagoBatch
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Carries out all requests, and returns when none is in flight any more. A second call fails with
 * %IMAGO_ERROR_FAILED. Cancelling does not wait for an #ImagoStorage of the application or a stream: each request that they
 * have not answered counts as cancelled, though a write may still be made; see imago_image_write_bytes().
 *
 * Returns: %TRUE if all have succeeded, or %FALSE with @error set to the error of the first that has not
 *
 * Since: 1.0
 */
gboolean
imago_batch_run (ImagoBatch *self, GCancellable *cancellable, GError **error)
{
  ImagoImageCall call = { 0 };
  ImgError *core_error = NULL;
  ImagoRequestFlags flags;
  GError *failure = NULL;
  Items *done;

  g_return_val_if_fail (IMAGO_IS_BATCH (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!begin_run (self, G_PRIORITY_DEFAULT, &core_error))
    {
      imago_error_take (error, core_error);
      return FALSE;
    }
  call.data = prepare_items (self, cancellable, &flags);
  done = imago_image_call (self->image, run_batch, &call, items_unref, items_unref, flags, cancellable, &failure);
  return settle_run (self, done, failure, error);
}

static void
try_items (ImagoBatch *self, ImagoLane *lane)
{
  gsize total = self->items->total;
  ImgEpochTicket ticket;
  ImgImage *core = imago_image_state_enter (self->image->state, &ticket);
  gint64 begun;

  if (core == NULL)
    return; /* the slow way says so */
  begun = imago_lane_begin (lane, total);
  try_all (core, self->items);
  imago_lane_end (lane, total, begun);
  imago_image_state_leave (self->image->state, ticket);
}

static void
deliver_batch (GTask *task, gpointer data)
{
  GError *error = NULL;

  if (end_run (g_task_get_source_object (task), &error))
    g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
  else
    g_task_return_error (task, error);
}

/* TRUE if @task was taken and will be answered. */
static gboolean
run_inline (ImagoBatch *self, GTask *task)
{
  ImagoLane *lane = imago_lane_find (task);

  if (!imago_lane_may_inline (lane, self->items->total))
    return FALSE;
  try_items (self, lane);
  if (count_left (self->items) > 0)
    return FALSE;
  imago_lane_push (lane, task, deliver_batch, NULL);
  return TRUE;
}

static void
run_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  GError *failure = NULL;
  GError *error = NULL;
  Items *done = g_task_propagate_pointer (G_TASK (result), &failure);

  if (settle_run (IMAGO_BATCH (object), done, failure, &error))
    g_task_return_pointer (task, IMAGO_REQUEST_DONE, NULL);
  else
    g_task_return_error (task, error);
  g_object_unref (task);
}

/* Takes @task. */
static void
run_on_workers (ImagoBatch *self, GTask *task)
{
  GCancellable *cancellable = g_task_get_cancellable (task);
  GTask *inner = g_task_new (self, cancellable, run_cb, task);
  ImagoRequestFlags flags;
  const ImagoImageCall call = { .data = prepare_items (self, cancellable, &flags) };

  g_task_set_source_tag (inner, run_on_workers);
  g_task_set_priority (inner, g_task_get_priority (task));
  g_task_set_check_cancellable (inner, FALSE);
  imago_image_call_async (self->image, inner, run_batch, &call, items_unref, items_unref, flags);
}

/**
 * imago_batch_run_async:
 * @self: an #ImagoBatch
 * @io_priority: the priority of the requests, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when none is in flight any more
 * @user_data: data for @callback
 *
 * Starts to carry out all requests; see imago_batch_run(). Those that need not wait are carried out at once, the
 * others at the same time on the library's workers. @callback runs later, in the thread-default main context of the
 * caller.
 *
 * Cancelling stops what has not begun; the callback comes when the rest has ended, but for what an #ImagoStorage of the
 * application or a stream has yet to answer.
 *
 * Since: 1.0
 */
void
imago_batch_run_async (ImagoBatch *self,
                       int io_priority,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  ImgError *core_error = NULL;
  GError *error = NULL;
  GTask *task;

  g_return_if_fail (IMAGO_IS_BATCH (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_batch_run_async);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE); /* something may have been written */
  if (imago_request_is_cancelled (task))
    return;
  if (!begin_run (self, io_priority, &core_error))
    {
      imago_error_take (&error, core_error);
      imago_request_answer_error (task, error);
      return;
    }
  if (!run_inline (self, task))
    run_on_workers (self, task);
}

/**
 * imago_batch_run_finish:
 * @self: an #ImagoBatch
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_batch_run_async() began.
 *
 * Returns: %TRUE if all have succeeded, or %FALSE with @error set to the error of the first that has not
 *
 * Since: 1.0
 */
gboolean
imago_batch_run_finish (ImagoBatch *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_BATCH (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_pointer (G_TASK (result), error) != NULL;
}

/* ---- what came of it ---- */

static Item *
find_result (ImagoBatch *self, guint index)
{
  if (g_atomic_int_get (&self->state) != STATE_RUN || index >= self->items->n_items)
    return NULL;
  return &self->items->items[index];
}

/**
 * imago_batch_check:
 * @self: an #ImagoBatch
 * @index: the number of a request
 * @error: return location for a #GError, or %NULL
 *
 * Tells what came of one request. One that has not been run, or does not exist, has failed.
 *
 * Returns: %TRUE if it has succeeded, or %FALSE with @error set
 *
 * Since: 1.0
 */
gboolean
imago_batch_check (ImagoBatch *self, guint index, GError **error)
{
  ImgError *core_error = NULL;
  Item *item;

  g_return_val_if_fail (IMAGO_IS_BATCH (self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  item = find_result (self, index);
  if (item != NULL && item->is_done && item->error == NULL)
    return TRUE;
  if (item != NULL && item->error != NULL)
    core_error = img_error_copy (item->error);
  else
    img_error_set (&core_error, IMG_CODE_FAILED, _("The request has not been run"));
  imago_error_take (error, core_error);
  return FALSE;
}

/**
 * imago_batch_dup_bytes:
 * @self: an #ImagoBatch
 * @index: the number of a request
 *
 * Gets what a read that has succeeded has read.
 *
 * The reads of a batch that are no longer than 16 KiB may share memory, 256 KiB at most, which is
 * freed when the last of their bytes are: to keep a small part of what was read for long, copy it.
 *
 * Returns: (transfer full) (nullable): the bytes; %NULL for a write, for a read into memory of the
 * caller, and for what imago_batch_check() calls a failure
 *
 * Since: 1.0
 */
GBytes *
imago_batch_dup_bytes (ImagoBatch *self, guint index)
{
  Item *item;

  g_return_val_if_fail (IMAGO_IS_BATCH (self), NULL);

  item = find_result (self, index);
  if (item == NULL || item->is_write || item->is_borrowed || !item->is_done || item->error != NULL)
    return NULL;
  if (item->is_shared)
    return imago_slab_to_bytes (self->items->slab, item->buffer, item->count);
  if (item->bytes == NULL)
    item->bytes = imago_buffer_to_bytes (g_steal_pointer (&item->buffer), item->count);
  return g_bytes_ref (item->bytes);
}
