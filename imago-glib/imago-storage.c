/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "imago-buffer-private.h"
#include "imago-error-private.h"
#include "imago-file-storage.h"
#include "imago-memory-storage.h"
#include "imago-null-storage.h"
#include "imago-request.h"
#include "imago-storage-hook.h"
#include "imago-storage-private.h"
#include "imago-stream-storage.h"
#include "imago-window-storage.h"

/**
 * SECTION:imago-storage
 * @title: ImagoStorage
 * @short_description: A flat array of bytes
 *
 * #ImagoStorage is what an image is stored in. The subclasses say where the bytes come from. You can write one of
 * your own, in any language; see the chapter [Writing a storage][writing-a-storage].
 */

/**
 * ImagoStorage:
 *
 * A flat array of bytes that an image is stored in: #ImagoFileStorage, #ImagoMemoryStorage,
 * #ImagoNullStorage, #ImagoWindowStorage, or a subclass of your own with a `submit` hook.
 *
 * Bytes past the end of a storage read as zero, as they do for the formats whose files may end
 * early.
 *
 * A storage may be used from any thread, and from several at once. Requests that overlap may mix.
 *
 * A call that is cancelled does not wait for the hook of a subclass or for a stream: these may still do what they were
 * asked for, and nobody is told.
 *
 * Since: 1.0
 */

typedef struct
{
  ImgStorage *core; /* owned; atomic, constant once it is set */
  ImgPoolKey *key;
  char *name;       /* what a subclass of the application was made with; see the properties */
  gboolean writable;
} ImagoStoragePrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE (ImagoStorage, imago_storage, G_TYPE_OBJECT)

enum
{
  PROP_0,
  PROP_NAME,
  PROP_WRITABLE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static ImagoStoragePrivate *
get_private (ImagoStorage *self)
{
  return imago_storage_get_instance_private (self);
}

/* Takes @core, nullable; another thread may have been quicker. */
static ImgStorage *
keep_core (ImagoStorage *self, ImgStorage *core)
{
  ImagoStoragePrivate *private = get_private (self);

  if (core != NULL && !g_atomic_pointer_compare_and_exchange (&private->core, NULL, core))
    img_storage_unref (core);
  return g_atomic_pointer_get (&private->core);
}

/* NULL for an object that is of no use. */
static ImgStorage *
find_core (ImagoStorage *self)
{
  ImagoStorageClass *klass = IMAGO_STORAGE_GET_CLASS (self);
  ImgStorage *core = g_atomic_pointer_get (&get_private (self)->core);

  if (G_LIKELY (core != NULL) || klass->make_core == NULL)
    return core;
  return keep_core (self, ((ImagoStorageMakeCore) klass->make_core) (self));
}

/* The thread where an object is made is the owner of its hook. */
static void
imago_storage_constructed (GObject *object)
{
  ImagoStorage *self = IMAGO_STORAGE (object);
  ImagoStorageClass *klass = IMAGO_STORAGE_GET_CLASS (self);
  ImagoStoragePrivate *private = get_private (self);

  G_OBJECT_CLASS (imago_storage_parent_class)->constructed (object);
  if (klass->submit != NULL)
    imago_storage_set_core (
      self, imago_hook_storage_new (self, private->name, private->writable, klass->is_thread_safe));
}

static void
storage_release (gpointer core)
{
  img_storage_unref (core);
}

static void
imago_storage_finalize (GObject *object)
{
  ImagoStoragePrivate *private = get_private (IMAGO_STORAGE (object));

  if (private->core != NULL)
    {
      imago_hook_storage_close (private->core);
      imago_release_later (private->core, storage_release);
    }
  imago_pool_key_release (private->key);
  g_free (private->name);
  G_OBJECT_CLASS (imago_storage_parent_class)->finalize (object);
}

static void
imago_storage_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  switch (id)
    {
    case PROP_NAME:
      g_value_set_string (value, imago_storage_get_name (IMAGO_STORAGE (object)));
      break;
    case PROP_WRITABLE:
      g_value_set_boolean (value, imago_storage_get_writable (IMAGO_STORAGE (object)));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_storage_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  ImagoStoragePrivate *private = get_private (IMAGO_STORAGE (object));

  switch (id)
    {
    case PROP_NAME:
      private->name = g_value_dup_string (value);
      break;
    case PROP_WRITABLE:
      private->writable = g_value_get_boolean (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_storage_class_init (ImagoStorageClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  object_class->constructed = imago_storage_constructed;
  object_class->finalize = imago_storage_finalize;
  object_class->get_property = imago_storage_get_property;
  object_class->set_property = imago_storage_set_property;

  /**
   * ImagoStorage:name:
   *
   * The name that messages call the storage by, and that names inside images are resolved relative to. It is given to
   * a storage of your own when it is made; the others know theirs.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] =
    g_param_spec_string ("name", "Name", "What messages call the storage by", NULL, flags);
  /**
   * ImagoStorage:writable:
   *
   * Whether the storage can be changed: a file that was opened for writing, memory that was made so. It is given
   * to a storage of your own when it is made; the others know.
   *
   * Since: 1.0
   */
  properties[PROP_WRITABLE] =
    g_param_spec_boolean ("writable", "Writable", "Whether the storage can be changed", FALSE, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_storage_init (ImagoStorage *self)
{
  get_private (self)->key = imago_pool_key_new ();
}

/**
 * imago_storage_class_set_thread_safe: (skip)
 * @klass: a class with a `submit` hook
 *
 * Says that `submit` may be called in any thread, and in several at once: it is then called right where a request
 * comes up, instead of in the main context of the object. For C; call it in the initializer of your class. An object
 * may be released in any thread then, too.
 *
 * Since: 1.0
 */
void
imago_storage_class_set_thread_safe (ImagoStorageClass *klass)
{
  g_return_if_fail (IMAGO_IS_STORAGE_CLASS (klass));

  klass->is_thread_safe = TRUE;
}

void
imago_storage_set_core (ImagoStorage *self, ImgStorage *core)
{
  ImagoStoragePrivate *private = get_private (self);

  g_assert (private->core == NULL);
  private->core = core;
}

ImgStorage *
imago_storage_get_core (ImagoStorage *self)
{
  ImgStorage *core = find_core (self);

  if (G_LIKELY (core != NULL))
    return core;
  g_critical ("A %s was made without the properties or the function that give it its bytes",
              G_OBJECT_TYPE_NAME (self));
  return keep_core (self, img_null_storage_new (0));
}

ImgStorage *
imago_storage_dup_core (ImagoStorage *self)
{
  return imago_hook_storage_keep (imago_storage_get_core (self));
}

ImgPoolKey *
imago_storage_get_key (ImagoStorage *self)
{
  return get_private (self)->key;
}

ImagoStorage *
imago_storage_new_from_core (ImgStorage *core)
{
  static const struct
  {
    const char *type_name;
    GType (*get_type) (void);
  } types[] = {
    { "file", imago_file_storage_get_type },
    { "memory", imago_memory_storage_get_type },
    { "null", imago_null_storage_get_type },
    { "stream", imago_stream_storage_get_type },
    { "window", imago_window_storage_get_type },
  };
  ImagoStorage *self = imago_hook_storage_get_object (core);

  if (self != NULL)
    return g_object_ref (self);
  for (guint i = 0; i < G_N_ELEMENTS (types) && self == NULL; i++)
    if (g_str_equal (core->klass->type_name, types[i].type_name))
      self = g_object_new (types[i].get_type (), NULL);
  if (self == NULL)
    self = g_object_new (IMAGO_TYPE_WINDOW_STORAGE, NULL);
  imago_storage_set_core (self, img_storage_ref (core));
  return self;
}

/**
 * imago_storage_get_name:
 * @self: an #ImagoStorage
 *
 * Gets the name that messages call the storage by, which for a file is its path. Names inside
 * images are resolved relative to it.
 *
 * Returns: (type filename) (nullable) (transfer none): the name, or %NULL if the storage has none
 *
 * Since: 1.0
 */
const char *
imago_storage_get_name (ImagoStorage *self)
{
  ImgStorage *core;

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), NULL);

  core = find_core (self);
  return core != NULL ? img_storage_get_name (core) : NULL;
}

/**
 * imago_storage_get_writable:
 * @self: an #ImagoStorage
 *
 * Gets whether the storage can be changed.
 *
 * Returns: %TRUE if it was opened or made for writing
 *
 * Since: 1.0
 */
gboolean
imago_storage_get_writable (ImagoStorage *self)
{
  ImgStorage *core;

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);

  core = find_core (self);
  return core != NULL && core->can_write;
}

/* ---- calls ---- */

static void
storage_call_free (gpointer data)
{
  ImagoStorageCall *call = data;

  img_storage_unref (call->core);
  g_clear_pointer (&call->bytes, g_bytes_unref);
  g_free (call);
}

static ImagoRequestWork
make_work (ImagoStorage *self,
           ImagoRequestFunc run,
           const ImagoStorageCall *what,
           GDestroyNotify free_result,
           ImagoRequestFlags flags)
{
  ImagoStorageCall *call = g_new (ImagoStorageCall, 1);

  *call = *what;
  call->core = imago_storage_dup_core (self);
  if (call->bytes != NULL)
    g_bytes_ref (call->bytes);
  return (ImagoRequestWork) {
    .run = run,
    .data = call,
    .free_data = storage_call_free,
    .free_result = free_result,
    .flags = flags | (call->core->may_hang ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE),
    .key = imago_storage_get_key (self),
  };
}

/* A hook that this thread is inside of, or has yet to answer a request of, is not asked behind its back. */
gpointer
imago_storage_call (ImagoStorage *self,
                    ImagoRequestFunc run,
                    const ImagoStorageCall *what,
                    GDestroyNotify free_result,
                    GCancellable *cancellable,
                    GError **error)
{
  ImgStorage *core = imago_storage_get_core (self);
  ImagoStorageCall call = *what;
  ImagoRequestWork work;

  if (G_UNLIKELY (cancellable != NULL && core->may_hang && img_storage_may_wait (core, NULL)))
    {
      work = make_work (self, run, what, free_result, IMAGO_REQUEST_NONE);
      return imago_request_run_work (&work, cancellable, error);
    }
  call.core = core;
  return imago_request_run (run, &call, cancellable, error);
}

void
imago_storage_call_async (ImagoStorage *self,
                          GTask *task,
                          ImagoRequestFunc run,
                          const ImagoStorageCall *what,
                          GDestroyNotify free_result,
                          ImagoRequestFlags flags)
{
  const ImagoRequestWork work = make_work (self, run, what, free_result, flags);

  imago_request_start (task, &work);
}

/* ---- the size ---- */

/* The result of a request is one pointer. */
static gpointer
run_query_size (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *call = data;
  g_autofree guint64 *size = g_new (guint64, 1);

  return img_storage_get_size (call->core, size, error) ? g_steal_pointer (&size) : NULL;
}

/* Takes @found, nullable. */
static gboolean
tell_size (guint64 *found, guint64 *size)
{
  if (found == NULL)
    return FALSE;
  *size = *found;
  g_free (found);
  return TRUE;
}

/**
 * imago_storage_query_size:
 * @self: an #ImagoStorage
 * @size: (out): return location for the size in bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Asks how long the storage is now.
 *
 * Returns: %TRUE if @size has been set
 *
 * Since: 1.0
 */
gboolean
imago_storage_query_size (ImagoStorage *self,
                          guint64 *size,
                          GCancellable *cancellable,
                          GError **error)
{
  const ImagoStorageCall call = { 0 };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (size != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return tell_size (imago_storage_call (self, run_query_size, &call, g_free, cancellable, error), size);
}

/**
 * imago_storage_query_size_async:
 * @self: an #ImagoStorage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the size is known
 * @user_data: data for @callback
 *
 * Starts to ask how long the storage is now; see imago_storage_query_size(). @callback runs later,
 * in the thread-default main context of the caller.
 *
 * Since: 1.0
 */
void
imago_storage_query_size_async (ImagoStorage *self,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  const ImagoStorageCall call = { 0 };
  GTask *task;

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_storage_query_size_async);
  g_task_set_priority (task, io_priority);
  if (!imago_request_is_cancelled (task))
    imago_storage_call_async (self, task, run_query_size, &call, g_free, IMAGO_REQUEST_ABANDON);
}

/**
 * imago_storage_query_size_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @size: (out): return location for the size in bytes
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_query_size_async() began.
 *
 * Returns: %TRUE if @size has been set
 *
 * Since: 1.0
 */
gboolean
imago_storage_query_size_finish (ImagoStorage *self,
                                 GAsyncResult *result,
                                 guint64 *size,
                                 GError **error)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (size != NULL, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return tell_size (g_task_propagate_pointer (G_TASK (result), error), size);
}

/* ---- reading ---- */

static gboolean
check_range (guint64 offset, gsize count, ImgError **error)
{
  if (G_LIKELY (img_range_fits (offset, count, IMG_MAX_SIZE)))
    return TRUE;
  img_error_set (error, IMG_CODE_OUT_OF_RANGE,
                 _("%zu bytes at offset %" PRIu64 " lie past the end of any storage"), count,
                 offset);
  return FALSE;
}

static gpointer
run_read (gpointer data, ImgCancel *cancel, ImgError **error)
{
  ImagoStorageCall *call = data;
  gsize count = (gsize) call->length;
  guint8 *buffer;

  if (!check_range (call->offset, count, error))
    return NULL;
  buffer = imago_buffer_new (count, error);
  if (buffer == NULL)
    return NULL;
  if (img_storage_read (call->core, call->offset, buffer, count, error))
    return imago_buffer_to_bytes (buffer, count);
  imago_buffer_free (buffer, count);
  return NULL;
}

/**
 * imago_storage_read_bytes:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @count: how many bytes
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @error: return location for a #GError, or %NULL
 *
 * Reads bytes of the storage. What lies past its end reads as zero.
 *
 * Returns: (transfer full): exactly @count bytes, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_storage_read_bytes (ImagoStorage *self,
                          guint64 offset,
                          gsize count,
                          GCancellable *cancellable,
                          GError **error)
{
  const ImagoStorageCall call = { .offset = offset, .length = count };

  g_return_val_if_fail (IMAGO_IS_STORAGE (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return imago_storage_call (self, run_read, &call, (GDestroyNotify) g_bytes_unref, cancellable, error);
}

static ImgTryResult
try_read (ImgStorage *core, guint64 offset, guint8 *buffer, gsize count, ImgError **error)
{
  struct iovec iov = { buffer, count };
  ImgIo io = { .op = IMG_IO_READ,
               .flags = IMG_IO_NOWAIT,
               .offset = offset,
               .length = count,
               .iov = &iov,
               .n_iov = 1 };

  if (!check_range (offset, count, error))
    return IMG_TRY_ERROR;
  if (count == 0)
    return IMG_TRY_DONE;
  img_storage_submit (core, &io, 1);
  img_io_wait (&io, 1);
  if (io.would_block)
    return IMG_TRY_WOULD_BLOCK;
  return img_io_collect (&io, 1, error) ? IMG_TRY_DONE : IMG_TRY_ERROR;
}

static void
deliver_bytes (GTask *task, gpointer data)
{
  g_task_return_pointer (task, data, (GDestroyNotify) g_bytes_unref);
}

/* TRUE if @task was taken and will be answered. */
static gboolean
read_inline (ImgStorage *core, GTask *task, guint64 offset, gsize count)
{
  ImagoLane *lane = imago_lane_find (task);
  ImgError *core_error = NULL;
  GError *error = NULL;
  ImgTryResult result;
  guint8 *buffer;
  gint64 begun;

  if (!imago_lane_may_inline (lane, count))
    return FALSE;
  buffer = imago_buffer_new (count, NULL);
  if (buffer == NULL)
    return FALSE; /* the worker will say so */
  begun = imago_lane_begin (lane, count);
  result = try_read (core, offset, buffer, count, &core_error);
  imago_lane_end (lane, count, begun);
  if (G_LIKELY (result == IMG_TRY_DONE))
    {
      imago_lane_push (lane, task, deliver_bytes, imago_buffer_to_bytes (buffer, count));
      return TRUE;
    }
  imago_buffer_free (buffer, count);
  if (result == IMG_TRY_WOULD_BLOCK)
    return FALSE;
  imago_error_take (&error, core_error);
  imago_request_answer_error (task, error);
  return TRUE;
}

/**
 * imago_storage_read_bytes_async:
 * @self: an #ImagoStorage
 * @offset: where to begin, in bytes
 * @count: how many bytes
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable, or %NULL
 * @callback: (nullable) (scope async): called when the bytes are there
 * @user_data: data for @callback
 *
 * Starts to read bytes of the storage; see imago_storage_read_bytes(). Bytes that are in the page
 * cache are read before this returns; @callback still runs later, in the thread-default main
 * context of the caller.
 *
 * Since: 1.0
 */
void
imago_storage_read_bytes_async (ImagoStorage *self,
                                guint64 offset,
                                gsize count,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  const ImagoStorageCall call = { .offset = offset, .length = count };
  GTask *task;

  g_return_if_fail (IMAGO_IS_STORAGE (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_storage_read_bytes_async);
  g_task_set_priority (task, io_priority);
  if (imago_request_is_cancelled (task))
    return;
  if (!read_inline (imago_storage_get_core (self), task, offset, count))
    imago_storage_call_async (self, task, run_read, &call, (GDestroyNotify) g_bytes_unref, IMAGO_REQUEST_ABANDON);
}

/**
 * imago_storage_read_bytes_finish:
 * @self: an #ImagoStorage
 * @result: what the callback was given
 * @error: return location for a #GError, or %NULL
 *
 * Ends what imago_storage_read_bytes_async() began.
 *
 * Returns: (transfer full): exactly as many bytes as were asked for, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
imago_storage_read_bytes_finish (ImagoStorage *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}
