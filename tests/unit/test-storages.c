/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>

#include "img-simple-storages.h"
#include "test-storages.h"

/* ---- wrappers ---- */

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  gint countdown;
  gint persist;
  guint n_submits; /* all three atomic */
  guint n_reads;
  guint64 n_bytes;
  /* Of the storage that completes later; no GAsyncQueue, as ThreadSanitizer cannot see into GLib.
   */
  GThread *thread;
  ImgMutex mutex;
  ImgWaitList arrived;
  GPtrArray *pending; /* of ImgIo */
  gboolean ended;
  GRand *random;
} Wrapper;

static gboolean
wrapper_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Wrapper *) storage)->base, size, error);
}

static void
wrapper_free (ImgStorage *storage)
{
  Wrapper *wrapper = (Wrapper *) storage;

  if (wrapper->thread != NULL)
    {
      img_mutex_lock (&wrapper->mutex);
      wrapper->ended = TRUE;
      img_wait_list_wake_all (&wrapper->arrived);
      img_mutex_unlock (&wrapper->mutex);
      g_thread_join (wrapper->thread);
      img_mutex_clear (&wrapper->mutex);
      g_ptr_array_unref (wrapper->pending);
      g_rand_free (wrapper->random);
    }
  img_storage_unref (wrapper->base);
  g_free (wrapper);
}

static ImgStorage *
wrapper_new (const ImgStorageClass *klass, ImgStorage *base)
{
  Wrapper *wrapper = g_new0 (Wrapper, 1);

  img_storage_init (&wrapper->parent, klass, base->name);
  wrapper->base = img_storage_ref (base);
  return &wrapper->parent;
}

static gboolean
must_fail (Wrapper *wrapper)
{
  if (g_atomic_int_get (&wrapper->countdown) == 0 ||
      !g_atomic_int_dec_and_test (&wrapper->countdown))
    return FALSE;
  if (wrapper->persist)
    g_atomic_int_set (&wrapper->countdown, 1);
  return TRUE;
}

static void
failing_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Wrapper *wrapper = (Wrapper *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (must_fail (wrapper))
        {
          img_error_set_errno (&error, EIO, "Injected");
          img_io_complete (&ios[i], error);
        }
      else
        img_storage_submit (wrapper->base, &ios[i], 1);
    }
}

static const ImgStorageClass failing_class = {
  .type_name = "failing",
  .submit = failing_submit,
  .get_size = wrapper_get_size,
  .free = wrapper_free,
};

ImgStorage *
test_failing_storage_new (ImgStorage *base)
{
  return wrapper_new (&failing_class, base);
}

void
test_failing_storage_arm (ImgStorage *storage, guint nth, gboolean persist)
{
  Wrapper *wrapper = (Wrapper *) storage;

  wrapper->persist = persist;
  g_atomic_int_set (&wrapper->countdown, (gint) nth);
}

typedef struct
{
  ImgStorage parent;
  ImgStorage *base;
  guint countdown; /* atomic; 0: off */
  gboolean persist;
  gboolean sprung;
  ImgCancel *cancel;
} Trap;

static void
trap_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Trap *trap = (Trap *) storage;

  for (guint i = 0; i < n_ios; i++)
    {
      ImgError *error = NULL;

      if (ios[i].op != IMG_IO_READ && __atomic_load_n (&trap->countdown, __ATOMIC_ACQUIRE) > 0 &&
          __atomic_sub_fetch (&trap->countdown, 1, __ATOMIC_ACQ_REL) == 0)
        {
          trap->sprung = TRUE;
          __atomic_store_n (&trap->countdown, trap->persist ? 1 : 0, __ATOMIC_RELEASE);
          if (trap->cancel == NULL)
            {
              img_error_set_errno (&error, EIO, "Trapped");
              img_io_complete (&ios[i], error);
              continue;
            }
          img_cancel_trigger (trap->cancel);
        }
      img_storage_submit (trap->base, &ios[i], 1);
    }
}

static gboolean
trap_get_size (ImgStorage *storage, guint64 *size, ImgError **error)
{
  return img_storage_get_size (((Trap *) storage)->base, size, error);
}

static void
trap_free (ImgStorage *storage)
{
  img_storage_unref (((Trap *) storage)->base);
  g_free (storage);
}

static const ImgStorageClass trap_class = {
  .type_name = "trap",
  .submit = trap_submit,
  .get_size = trap_get_size,
  .free = trap_free,
};

ImgStorage *
test_trap_storage_new (ImgStorage *base)
{
  Trap *trap = g_new0 (Trap, 1);

  img_storage_init (&trap->parent, &trap_class, NULL);
  trap->parent.can_write = base->can_write;
  trap->base = img_storage_ref (base);
  return &trap->parent;
}

void
test_trap_storage_set (ImgStorage *storage, guint nth, gboolean persist, ImgCancel *cancel)
{
  Trap *trap = (Trap *) storage;

  trap->persist = persist;
  trap->cancel = cancel;
  trap->sprung = FALSE;
  __atomic_store_n (&trap->countdown, nth, __ATOMIC_RELEASE);
}

gboolean
test_trap_storage_is_sprung (ImgStorage *storage)
{
  return ((Trap *) storage)->sprung;
}

static void
counting_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Wrapper *wrapper = (Wrapper *) storage;

  __atomic_add_fetch (&wrapper->n_submits, 1, __ATOMIC_RELAXED);
  for (guint i = 0; i < n_ios; i++)
    {
      __atomic_add_fetch (&wrapper->n_reads, 1, __ATOMIC_RELAXED);
      __atomic_add_fetch (&wrapper->n_bytes, ios[i].length, __ATOMIC_RELAXED);
    }
  img_storage_submit (wrapper->base, ios, n_ios);
}

static const ImgStorageClass counting_class = {
  .type_name = "counting",
  .submit = counting_submit,
  .get_size = wrapper_get_size,
  .free = wrapper_free,
};

ImgStorage *
test_counting_storage_new (ImgStorage *base)
{
  return wrapper_new (&counting_class, base);
}

TestCounts
test_counting_storage_take (ImgStorage *storage)
{
  Wrapper *wrapper = (Wrapper *) storage;

  return (TestCounts) {
    __atomic_exchange_n (&wrapper->n_submits, 0, __ATOMIC_RELAXED),
    __atomic_exchange_n (&wrapper->n_reads, 0, __ATOMIC_RELAXED),
    __atomic_exchange_n (&wrapper->n_bytes, 0, __ATOMIC_RELAXED),
  };
}

/* One of those that have arrived, any; NULL at the end. */
static ImgIo *
pick (Wrapper *wrapper)
{
  ImgIo *io = NULL;

  img_mutex_lock (&wrapper->mutex);
  while (wrapper->pending->len == 0 && !wrapper->ended)
    img_wait_list_wait (&wrapper->arrived, &wrapper->mutex);
  if (wrapper->pending->len > 0)
    io = g_ptr_array_remove_index_fast (
      wrapper->pending,
      (guint) g_rand_int_range (wrapper->random, 0, (gint) wrapper->pending->len));
  img_mutex_unlock (&wrapper->mutex);
  return io;
}

static gpointer
later_thread (gpointer data)
{
  Wrapper *wrapper = data;
  ImgIo *io;

  while ((io = pick (wrapper)) != NULL)
    img_storage_submit (wrapper->base, io, 1);
  return NULL;
}

static void
later_submit (ImgStorage *storage, ImgIo *ios, guint n_ios)
{
  Wrapper *wrapper = (Wrapper *) storage;

  img_mutex_lock (&wrapper->mutex);
  for (guint i = 0; i < n_ios; i++)
    if (ios[i].flags & IMG_IO_NOWAIT)
      img_io_complete_partly (&ios[i], 0);
    else
      g_ptr_array_add (wrapper->pending, &ios[i]);
  img_wait_list_wake_all (&wrapper->arrived);
  img_mutex_unlock (&wrapper->mutex);
}

static const ImgStorageClass later_class = {
  .type_name = "later",
  .submit = later_submit,
  .get_size = wrapper_get_size,
  .free = wrapper_free,
};

ImgStorage *
test_later_storage_new (ImgStorage *base, guint seed)
{
  Wrapper *wrapper = (Wrapper *) wrapper_new (&later_class, base);

  wrapper->random = g_rand_new_with_seed (seed);
  img_mutex_init (&wrapper->mutex);
  wrapper->pending = g_ptr_array_new ();
  wrapper->thread = g_thread_new ("later", later_thread, wrapper);
  return &wrapper->parent;
}

/* ---- pattern ---- */

guint8
test_pattern_byte (guint64 offset, guint seed)
{
  guint64 x = (offset + seed) * 0x9e3779b97f4a7c15u;

  return (guint8) (x >> 56);
}

ImgStorage *
test_pattern_storage_new (guint64 size, guint seed)
{
  guint8 *data = g_malloc (size);
  g_autoptr (GBytes) bytes = NULL;

  for (guint64 i = 0; i < size; i++)
    data[i] = test_pattern_byte (i, seed);
  bytes = g_bytes_new_take (data, size);
  return img_memory_storage_new (bytes);
}

ImgStorage *
test_copy_storage_new (GBytes *bytes)
{
  gsize length;
  gconstpointer content = g_bytes_get_data (bytes, &length);
  ImgStorage *storage = img_memory_storage_new_writable (length);

  g_assert_true (img_storage_write (storage, 0, content, length, NULL));
  return storage;
}

guint64
test_get_usage (ImgStorage *file)
{
  guint64 usage;

  g_assert_true (img_storage_get_usage (file, &usage, NULL));
  return usage;
}

guint64
test_get_file_size (ImgStorage *file)
{
  guint64 size;

  g_assert_true (img_storage_get_size (file, &size, NULL));
  return size;
}

/* ---- images ---- */

static void
put_below (ImgImage *image, ImgPolicy *policy, guint64 size, guint seed)
{
  const ImgImageOptions raw = { .driver = img_driver_find ("raw") };
  g_autoptr (ImgStorage) bytes = test_pattern_storage_new (size, seed);
  g_autoptr (ImgImage) backing = img_image_open (bytes, &raw, NULL, NULL);

  g_assert_true (img_image_open_references (backing, policy, NULL, NULL));
  g_assert_true (img_image_set_backing (image, backing, NULL));
}

ImgImage *
test_image_open_above (ImgStorage *storage, const char *format, guint64 backing_size, guint seed)
{
  const ImgImageOptions options = { .driver = img_driver_find (format), .layout = { .writable = TRUE } };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgError *error = NULL;
  ImgImage *image = img_image_open (storage, &options, NULL, &error);

  g_assert_cmpstr (error != NULL ? error->text : NULL, ==, NULL);
  if (backing_size > 0)
    put_below (image, policy, backing_size, seed);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  return image;
}

/* ---- scripted ---- */

typedef struct
{
  ImgLayout parent;
  ImgExtent *extents;
  guint n_extents;
} Scripted;

static ImgMapResult
scripted_map (ImgLayout *layout,
              guint64 offset,
              guint64 length,
              ImgMapFlags flags,
              ImgExtent *extent,
              ImgError **error)
{
  Scripted *scripted = (Scripted *) layout;

  for (guint i = 0; i < scripted->n_extents; i++)
    {
      const ImgExtent *whole = &scripted->extents[i];
      guint64 skip;

      if (offset >= whole->offset + whole->length)
        continue;
      skip = offset - whole->offset;
      *extent = *whole;
      extent->offset = offset;
      extent->length = MIN (whole->length - skip, length);
      extent->host_offset += skip;
      return IMG_MAP_OK;
    }
  g_assert_not_reached ();
}

static gboolean
scripted_decode (ImgLayout *layout,
                 const ImgExtent *extent,
                 const guint8 *stored,
                 guint8 *plain,
                 gsize wanted,
                 gsize *n_plain,
                 ImgError **error)
{
  *n_plain = extent->unit_length;
  if (stored[0] == 255)
    {
      img_error_set (error, IMG_CODE_CORRUPT, "Scripted damage");
      return FALSE;
    }
  for (gsize i = 0; i < extent->unit_length; i++)
    plain[i] = (guint8) (stored[i] + 1);
  return TRUE;
}

static void
scripted_free (ImgLayout *layout)
{
  g_free (((Scripted *) layout)->extents);
  img_layout_finish (layout);
  g_free (layout);
}

static const ImgLayoutClass scripted_class = { .free = scripted_free,
                                               .map = scripted_map,
                                               .decode = scripted_decode };

static const ImgExtent *next_extents;
static guint next_n_extents;

static ImgLayout *
scripted_open (ImgStorage *storage,
               const ImgLayoutOptions *options,
               ImgCancel *cancel,
               ImgError **error)
{
  static const ImgDriver driver = { .name = "scripted", .title = "Scripted" };
  Scripted *scripted = g_new0 (Scripted, 1);

  img_layout_init (&scripted->parent, &scripted_class, &driver, storage);
  scripted->extents = g_memdup2 (next_extents, next_n_extents * sizeof (ImgExtent));
  scripted->n_extents = next_n_extents;
  for (guint i = 0; i < next_n_extents; i++)
    {
      scripted->parent.size += next_extents[i].length;
      if (next_extents[i].kind == IMG_EXTENT_COMPRESSED)
        scripted->parent.unit_length = next_extents[i].unit_length;
    }
  return &scripted->parent;
}

ImgImage *
test_scripted_image_new (const ImgExtent *extents, guint n_extents)
{
  static const ImgDriver driver = { .name = "scripted",
                                    .title = "Scripted",
                                    .open = scripted_open };
  ImgImageOptions options = { .driver = &driver };
  g_autoptr (ImgStorage) storage = img_null_storage_new (0);

  next_extents = extents;
  next_n_extents = n_extents;
  return img_image_open (storage, &options, NULL, NULL);
}
