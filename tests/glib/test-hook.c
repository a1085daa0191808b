/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Storages that an application writes: where their hook runs, what its answers mean, and that nothing it does
 * wrong makes anybody wait for ever. */

#include <string.h>

#include <imago-glib/imago-glib.h>

#include "imago-glib/imago-core.h"
#include "test-images.h"

#define CLUSTER TEST_QCOW2_CLUSTER
#define SIZE (1024 * 1024)

/* ---- a storage ---- */

typedef enum
{
  ANSWER_NOW,
  ANSWER_IN_CONTEXT, /* from an idle source of the thread-default context */
  ANSWER_IN_THREAD,
} When;

typedef enum
{
  BEHAVE,
  FAIL,             /* with an error set */
  FAIL_SILENTLY,    /* as a Python hook does that raises */
  FAIL_AFTERWARDS,  /* having answered */
  RETURN_SHORT,
  RETURN_LONG,
  RETURN_TWICE,
  RETURN_DONE,      /* to a read, without having filled anything */
  RETURN_SIZE,
  DROP,
  FORGET_ZEROES,    /* NOT_SUPPORTED */
  CALL_IMAGE,
  HOLD,             /* until the test gives it up */
} Conduct;

#define TEST_TYPE_STORAGE (test_storage_get_type ())
G_DECLARE_DERIVABLE_TYPE (TestStorage, test_storage, TEST, STORAGE, ImagoStorage)

struct _TestStorageClass
{
  ImagoStorageClass parent_class;
};

typedef struct
{
  ImgMutex mutex;
  GByteArray *bytes;
  When when;
  Conduct conduct;
  GThread *owner;
  guint n_requests;
  guint n_elsewhere; /* hooks that did not run in the owner's thread */
  guint n_zeroes;
  ImagoImage *image; /* that CALL_IMAGE reads */
  ImagoStorageRequest *held;
  GError *seen;
} TestStoragePrivate;

G_DEFINE_TYPE_WITH_PRIVATE (TestStorage, test_storage, IMAGO_TYPE_STORAGE)

static gint n_alive;
static GThread *freed_in;

#define PRIVATE(self) ((TestStoragePrivate *) test_storage_get_instance_private (TEST_STORAGE (self)))

static void
resize (GByteArray *bytes, guint64 size)
{
  guint old = bytes->len;

  g_byte_array_set_size (bytes, (guint) size);
  if (size > old)
    memset (bytes->data + old, 0, size - old);
}

static void
grow (GByteArray *bytes, guint64 end)
{
  if (end > bytes->len)
    resize (bytes, end);
}

/* As a storage in a language would do it. */
static void
answer (TestStoragePrivate *store, ImagoStorageRequest *request)
{
  guint64 offset = imago_storage_request_get_offset (request);
  guint64 length = imago_storage_request_get_length (request);
  g_autoptr (GBytes) bytes = imago_storage_request_dup_bytes (request);

  img_mutex_lock (&store->mutex);
  switch (imago_storage_request_get_operation (request))
    {
    case IMAGO_STORAGE_OPERATION_READ:
      g_assert_cmpuint (offset + length, <=, store->bytes->len);
      bytes = g_bytes_new (store->bytes->data + offset, length);
      break;
    case IMAGO_STORAGE_OPERATION_WRITE:
      g_assert_cmpuint (g_bytes_get_size (bytes), ==, length);
      grow (store->bytes, offset + length);
      memcpy (store->bytes->data + offset, g_bytes_get_data (bytes, NULL), length);
      break;
    case IMAGO_STORAGE_OPERATION_WRITE_ZEROES:
      store->n_zeroes++;
      grow (store->bytes, offset + length);
      memset (store->bytes->data + offset, 0, length);
      break;
    case IMAGO_STORAGE_OPERATION_TRUNCATE:
      resize (store->bytes, offset);
      break;
    default:
      break;
    }
  length = store->bytes->len;
  img_mutex_unlock (&store->mutex);
  if (imago_storage_request_get_operation (request) == IMAGO_STORAGE_OPERATION_READ)
    imago_storage_request_return_bytes (request, bytes);
  else if (imago_storage_request_get_operation (request) == IMAGO_STORAGE_OPERATION_QUERY_SIZE)
    imago_storage_request_return_size (request, length);
  else
    imago_storage_request_return_done (request);
}

typedef struct
{
  ImagoStorage *storage;
  ImagoStorageRequest *request;
} Later;

static void
later_free (Later *later)
{
  g_object_unref (later->request);
  g_object_unref (later->storage);
  g_free (later);
}

static gboolean
answer_cb (gpointer data)
{
  Later *later = data;

  answer (PRIVATE (later->storage), later->request);
  later_free (later);
  return G_SOURCE_REMOVE;
}

static gpointer
answer_thread (gpointer data)
{
  answer_cb (data);
  return NULL;
}

static void
answer_later (ImagoStorage *self, ImagoStorageRequest *request)
{
  Later *later = g_new (Later, 1);
  g_autoptr (GSource) source = NULL;

  *later = (Later) { g_object_ref (self), g_object_ref (request) };
  if (PRIVATE (self)->when == ANSWER_IN_THREAD)
    {
      g_thread_unref (g_thread_new ("answer", answer_thread, later));
      return;
    }
  source = g_idle_source_new ();
  g_source_set_callback (source, answer_cb, later, NULL);
  g_source_attach (source, g_main_context_get_thread_default ());
}

static gboolean
fail (TestStoragePrivate *store, GError **error)
{
  if (store->conduct == FAIL)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "The shelf is full");
  return FALSE;
}

/* TRUE if it has been dealt with. */
static gboolean
misbehave (ImagoStorage *self, ImagoStorageRequest *request)
{
  TestStoragePrivate *store = PRIVATE (self);
  guint64 length = imago_storage_request_get_length (request);
  g_autofree char *buffer = g_malloc0 (length + 1);
  g_autoptr (GBytes) shorter = g_bytes_new (buffer, length > 0 ? length - 1 : 0);
  g_autoptr (GBytes) longer = g_bytes_new (buffer, length + 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = NULL;

  switch (store->conduct)
    {
    case RETURN_SHORT:
      imago_storage_request_return_bytes (request, shorter);
      return TRUE;
    case RETURN_LONG:
      imago_storage_request_return_bytes (request, longer);
      return TRUE;
    case RETURN_DONE:
      imago_storage_request_return_done (request);
      return TRUE;
    case RETURN_SIZE:
      imago_storage_request_return_size (request, 1);
      return TRUE;
    case RETURN_TWICE:
      answer (store, request);
      answer (store, request);
      return TRUE;
    case DROP:
      return TRUE;
    case FORGET_ZEROES:
      if (imago_storage_request_get_operation (request) != IMAGO_STORAGE_OPERATION_WRITE_ZEROES &&
          imago_storage_request_get_operation (request) != IMAGO_STORAGE_OPERATION_DISCARD)
        return FALSE;
      error = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "What are zeroes?");
      imago_storage_request_return_error (request, error);
      return TRUE;
    case HOLD:
      if (store->held != NULL) /* one at a time */
        return FALSE;
      store->held = g_object_ref (request);
      return TRUE;
    case CALL_IMAGE:
      bytes = imago_image_read_bytes (store->image, 0, 512, NULL, store->seen == NULL ? &store->seen : NULL);
      g_assert_null (bytes);
      /* With a cancellable it is not left to a worker, which would wait for this hook. */
      bytes = imago_storage_read_bytes (self, 0, 512, cancellable, &error);
      g_assert_null (bytes);
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_WOULD_DEADLOCK);
      return FALSE;
    default:
      return FALSE;
    }
}

static gboolean
test_storage_submit (ImagoStorage *self, ImagoStorageRequest *request, GError **error)
{
  TestStoragePrivate *store = PRIVATE (self);

  img_mutex_lock (&store->mutex);
  store->n_requests++;
  if (g_thread_self () != store->owner)
    store->n_elsewhere++;
  img_mutex_unlock (&store->mutex);
  if (store->conduct == FAIL || store->conduct == FAIL_SILENTLY)
    return fail (store, error);
  if (misbehave (self, request))
    return TRUE;
  if (store->when == ANSWER_NOW)
    answer (store, request);
  else
    answer_later (self, request);
  return store->conduct != FAIL_AFTERWARDS;
}

static void
test_storage_finalize (GObject *object)
{
  TestStoragePrivate *store = PRIVATE (object);

  g_byte_array_unref (store->bytes);
  g_clear_error (&store->seen);
  img_mutex_clear (&store->mutex);
  freed_in = g_thread_self ();
  g_atomic_int_add (&n_alive, -1);
  G_OBJECT_CLASS (test_storage_parent_class)->finalize (object);
}

static void
test_storage_class_init (TestStorageClass *klass)
{
  klass->parent_class.submit = test_storage_submit;
  G_OBJECT_CLASS (klass)->finalize = test_storage_finalize;
}

static void
test_storage_init (TestStorage *self)
{
  TestStoragePrivate *store = PRIVATE (self);

  img_mutex_init (&store->mutex);
  store->owner = g_thread_self ();
  g_atomic_int_inc (&n_alive);
}

/* The same in any thread. */
typedef TestStorage FreeStorage;
typedef TestStorageClass FreeStorageClass;
static GType free_storage_get_type (void);
G_DEFINE_TYPE (FreeStorage, free_storage, TEST_TYPE_STORAGE)

static gboolean
free_storage_submit (ImagoStorage *self, ImagoStorageRequest *request, GError **error)
{
  TestStoragePrivate *store = PRIVATE (self);
  guint64 offset = imago_storage_request_get_offset (request);
  const struct iovec *vectors;
  gsize n_vectors;

  if (imago_storage_request_get_operation (request) != IMAGO_STORAGE_OPERATION_READ ||
      store->conduct != BEHAVE || store->when != ANSWER_NOW)
    return test_storage_submit (self, request, error);
  vectors = imago_storage_request_get_vectors (request, &n_vectors);
  img_mutex_lock (&store->mutex);
  store->n_requests++;
  for (gsize i = 0; i < n_vectors; i++)
    {
      memcpy (vectors[i].iov_base, store->bytes->data + offset, vectors[i].iov_len);
      offset += vectors[i].iov_len;
    }
  img_mutex_unlock (&store->mutex);
  g_assert_cmpuint (offset, ==,
                    imago_storage_request_get_offset (request) + imago_storage_request_get_length (request));
  imago_storage_request_return_done (request);
  return TRUE;
}

static void
free_storage_class_init (FreeStorageClass *klass)
{
  klass->parent_class.submit = free_storage_submit;
  imago_storage_class_set_thread_safe (&klass->parent_class);
}

static void
free_storage_init (FreeStorage *self)
{
}

/* Takes @bytes. */
static ImagoStorage *
storage_new (GType type, When when, GByteArray *bytes)
{
  ImagoStorage *self = g_object_new (type, "name", "shelf", "writable", TRUE, NULL);

  PRIVATE (self)->when = when;
  PRIVATE (self)->bytes = bytes;
  return self;
}

static ImagoStorage *
qcow2_storage_new (GType type, When when)
{
  return storage_new (type, when, test_qcow2_new (&(TestQcow2) { .size = SIZE }));
}

static ImagoImage *
open_image (ImagoStorage *storage)
{
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_writable (options, TRUE);
  imago_open_options_set_format_name (options, "qcow2");
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

/* ---- loops ---- */

typedef struct
{
  GAsyncResult *result;
} Caught;

static void
catch_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  ((Caught *) data)->result = g_object_ref (result);
}

static GAsyncResult *
wait_for (Caught *caught)
{
  while (caught->result == NULL)
    g_main_context_iteration (g_main_context_get_thread_default (), TRUE);
  return g_steal_pointer (&caught->result);
}

/* What is released in the owner's context. */
static void
settle (gint n_left)
{
  while (g_atomic_int_get (&n_alive) > n_left)
    g_main_context_iteration (NULL, TRUE);
}

/* ---- what works ---- */

static void
exercise (ImagoImage *image)
{
  g_autoptr (GByteArray) pattern = test_pattern_new (3 * CLUSTER + 777, 3);
  g_autoptr (GBytes) bytes = g_bytes_new (pattern->data, pattern->len);
  g_autoptr (GBytes) back = NULL;
  g_autoptr (GBytes) zero = NULL;
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, CLUSTER / 2 + 5, bytes, NULL, &error);
  g_assert_no_error (error);
  imago_image_flush (image, NULL, &error);
  g_assert_no_error (error);
  imago_image_write_zeroes (image, 5 * CLUSTER, 2 * CLUSTER, IMAGO_ZERO_NONE, NULL, &error);
  g_assert_no_error (error);
  back = imago_image_read_bytes (image, CLUSTER / 2 + 5, pattern->len, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_bytes_equal (bytes, back));
  zero = imago_image_read_bytes (image, SIZE - 512, 512, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_bytes_get_size (zero), ==, 512);
}

static void
close_image (ImagoImage *image)
{
  g_autoptr (GError) error = NULL;

  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static void
judge (ImagoStorage *storage)
{
  g_autofree char *folder = test_folder_new ();
  GByteArray *copy = g_byte_array_new ();
  g_autofree char *path = NULL;

  g_byte_array_append (copy, PRIVATE (storage)->bytes->data, PRIVATE (storage)->bytes->len);
  path = test_write (folder, "judged.qcow2", copy);
  if (test_run ("qemu-img", "check", "-q", path, NULL))
    g_assert_true (test_run ("qemu-img", "compare", "-q", path, path, NULL));
  test_folder_remove (g_steal_pointer (&folder));
}

typedef struct
{
  GType type;
  When when;
} Kind;

static Kind
kind_of (gconstpointer data)
{
  guint number = GPOINTER_TO_UINT (data);

  return (Kind) { number / 3 == 0 ? TEST_TYPE_STORAGE : free_storage_get_type (), (When) (number % 3) };
}

/* Blocking calls of the owner: nobody iterates its context. */
static void
test_blocking (gconstpointer data)
{
  Kind kind = kind_of (data);
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (kind.type, kind.when);
  g_autoptr (ImagoImage) image = open_image (storage);

  exercise (image);
  close_image (image);
  if (kind.type == TEST_TYPE_STORAGE)
    g_assert_cmpuint (PRIVATE (storage)->n_elsewhere, ==, 0);
  judge (storage);
}

typedef struct
{
  ImagoStorage *storage;
  gint done; /* atomic */
} Elsewhere;

static gpointer
exercise_thread (gpointer data)
{
  Elsewhere *elsewhere = data;
  g_autoptr (ImagoImage) image = open_image (elsewhere->storage);

  exercise (image);
  close_image (image);
  g_atomic_int_set (&elsewhere->done, TRUE);
  g_main_context_wakeup (NULL);
  return NULL;
}

/* Blocking calls of another thread: the hooks run here. */
static void
test_other_thread (gconstpointer data)
{
  Kind kind = kind_of (data);
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (kind.type, kind.when);
  Elsewhere elsewhere = { storage, FALSE };
  GThread *thread = g_thread_new ("user", exercise_thread, &elsewhere);

  while (!g_atomic_int_get (&elsewhere.done))
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (thread);
  if (kind.type == TEST_TYPE_STORAGE)
    g_assert_cmpuint (PRIVATE (storage)->n_elsewhere, ==, 0);
  judge (storage);
}

#define N_ASYNC 24

/* Many requests at once, while the loop runs. */
static void
test_async (gconstpointer data)
{
  Kind kind = kind_of (data);
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (kind.type, kind.when);
  g_autoptr (ImagoImage) image = open_image (storage);
  g_autoptr (GByteArray) pattern = test_pattern_new (N_ASYNC * 16384, 9);
  Caught caught[N_ASYNC] = { 0 };
  Caught closed = { 0 };
  g_autoptr (GAsyncResult) close_result = NULL;
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_ASYNC; i++)
    {
      g_autoptr (GBytes) bytes = g_bytes_new (pattern->data + i * 16384, 16384);

      imago_image_write_bytes_async (image, i * 16384, bytes, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[i]);
    }
  for (guint i = 0; i < N_ASYNC; i++)
    {
      g_autoptr (GAsyncResult) result = wait_for (&caught[i]);

      imago_image_write_bytes_finish (image, result, &error);
      g_assert_no_error (error);
    }
  for (guint i = 0; i < N_ASYNC; i++)
    imago_image_read_bytes_async (image, i * 16384, 16384, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[i]);
  for (guint i = 0; i < N_ASYNC; i++)
    {
      g_autoptr (GAsyncResult) result = wait_for (&caught[i]);
      g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (image, result, &error);

      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), pattern->data + i * 16384,
                       16384);
    }
  imago_image_close_async (image, G_PRIORITY_DEFAULT, NULL, catch_cb, &closed);
  close_result = wait_for (&closed);
  imago_image_close_finish (image, close_result, &error);
  g_assert_no_error (error);
  judge (storage);
}

static void
finish_read (ImagoImage *image, Caught *caught)
{
  g_autoptr (GAsyncResult) result = wait_for (caught);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (image, result, &error);

  g_assert_no_error (error);
  g_assert_nonnull (bytes);
}

/* An asynchronous call looks at once for what is there. It does not serve the hook then, though a request of a worker
 * is waiting for it: a hook that answers from the main loop would never answer. */
static void
test_start_runs_no_hook (void)
{
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (TEST_TYPE_STORAGE, ANSWER_NOW);
  g_autoptr (ImagoImage) image = open_image (storage);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("seven!", 7);
  g_autoptr (GError) error = NULL;
  Caught caught[3] = { 0 };
  guint n_requests;

  imago_image_write_bytes (image, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  n_requests = PRIVATE (storage)->n_requests;
  imago_image_read_bytes_async (image, 0, 4096, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[0]);
  while (!g_main_context_pending (NULL))
    g_thread_yield ();
  imago_image_read_bytes_async (image, 0, 4096, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[1]);
  imago_image_write_bytes_async (image, 0, bytes, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[2]);
  g_assert_cmpuint (PRIVATE (storage)->n_requests, ==, n_requests);
  finish_read (image, &caught[0]);
  finish_read (image, &caught[1]);
  g_object_unref (wait_for (&caught[2]));
  g_assert_cmpuint (PRIVATE (storage)->n_requests, >, n_requests);
  close_image (image);
}

/* ---- the storage by itself ---- */

static void
test_plain (void)
{
  g_autoptr (ImagoStorage) storage = storage_new (TEST_TYPE_STORAGE, ANSWER_NOW, test_pattern_new (1000, 1));
  g_autoptr (GByteArray) pattern = test_pattern_new (1000, 1);
  g_autoptr (ImagoStorage) window = imago_window_storage_new (storage, 100, 200);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GBytes) part = NULL;
  g_autoptr (GError) error = NULL;
  const guint8 *data;
  guint64 size;

  g_assert_cmpstr (imago_storage_get_name (storage), ==, "shelf");
  g_assert_true (imago_storage_get_writable (storage));
  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_cmpuint (size, ==, 1000);
  bytes = imago_storage_read_bytes (storage, 900, 200, NULL, &error);
  g_assert_no_error (error);
  data = g_bytes_get_data (bytes, NULL);
  g_assert_cmpmem (data, 100, pattern->data + 900, 100);
  for (guint i = 100; i < 200; i++)
    g_assert_cmpuint (data[i], ==, 0);
  part = imago_storage_read_bytes (window, 50, 10, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (part, NULL), 10, pattern->data + 150, 10);

  g_assert_true (imago_storage_truncate (storage, 500, NULL, &error));
  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_cmpuint (size, ==, 500);
  g_assert_true (imago_storage_write_zeroes (storage, 450, 100, IMAGO_ZERO_NONE, NULL, &error));
  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  g_assert_cmpuint (size, ==, 550);
  g_assert_cmpuint (PRIVATE (storage)->bytes->len, ==, 550);
  g_assert_true (imago_storage_discard (storage, 0, 100, NULL, &error));
  g_assert_true (imago_storage_flush (storage, NULL, &error));
  g_assert_no_error (error);
}

/* Zeroes that the hook does not know are written, in pieces; it is asked once only. */
static void
test_no_zeroes (void)
{
  const gsize length = 5 * 1024 * 1024 + 3;
  g_autoptr (ImagoStorage) storage = storage_new (TEST_TYPE_STORAGE, ANSWER_NOW, test_pattern_new (length + 7, 1));
  g_autoptr (ImagoStorage) quick = storage_new (free_storage_get_type (), ANSWER_NOW, test_pattern_new (length + 7, 1));
  ImagoStorage *storages[] = { storage, quick };
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (storages); i++)
    {
      TestStoragePrivate *store = PRIVATE (storages[i]);

      store->conduct = FORGET_ZEROES;
      g_assert_false (imago_storage_write_zeroes (storages[i], 4, 10, IMAGO_ZERO_NO_FALLBACK, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
      g_clear_error (&error);
      g_assert_cmpuint (store->n_requests, ==, 1);
      store->n_requests = 0;
      imago_storage_write_zeroes (storages[i], 4, length, IMAGO_ZERO_UNMAP, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (store->bytes->len, ==, length + 7);
      g_assert_cmpuint (store->bytes->data[3], !=, 0);
      for (gsize at = 4; at < 4 + length; at++)
        g_assert_cmpuint (store->bytes->data[at], ==, 0);
      g_assert_cmpuint (store->n_requests, ==, 7);
      imago_storage_write_zeroes (storages[i], 0, 4, IMAGO_ZERO_NONE, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (store->n_requests, ==, 8);
      imago_storage_discard (storages[i], 0, 4, NULL, &error);
      g_assert_no_error (error);
    }
}

/* ---- what does not ---- */

static const struct
{
  const char *name;
  Conduct conduct;
  const char *message;
} conducts[] = {
  { "fail", FAIL, "The shelf is full" },
  { "fail-silently", FAIL_SILENTLY, "did not say why" },
  { "fail-afterwards", FAIL_AFTERWARDS, "did not say why" },
  { "short", RETURN_SHORT, "99 bytes instead of 100" },
  { "long", RETURN_LONG, "101 bytes instead of 100" },
  { "twice", RETURN_TWICE, "twice" },
  { "done", RETURN_DONE, "does not belong" },
  { "size", RETURN_SIZE, "does not belong" },
  { "drop", DROP, "dropped" },
};

static void
test_conduct (gconstpointer data)
{
  guint number = GPOINTER_TO_UINT (data);
  GType types[] = { TEST_TYPE_STORAGE, free_storage_get_type () };

  for (guint i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autoptr (ImagoStorage) storage = storage_new (types[i], ANSWER_NOW, test_pattern_new (1000, 1));
      g_autoptr (GBytes) bytes = NULL;
      g_autoptr (GError) error = NULL;
      Caught caught = { 0 };
      g_autoptr (GAsyncResult) result = NULL;
      guint64 size;

      g_assert_true (imago_storage_query_size (storage, &size, NULL, NULL));
      PRIVATE (storage)->conduct = conducts[number].conduct;
      bytes = imago_storage_read_bytes (storage, 10, 100, NULL, &error);
      g_assert_null (bytes);
      g_assert_nonnull (error);
      g_assert_nonnull (strstr (error->message, conducts[number].message));
      if (conducts[number].conduct == FAIL)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
      else
        g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
      g_clear_error (&error);

      imago_storage_read_bytes_async (storage, 10, 100, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught);
      result = wait_for (&caught);
      bytes = imago_storage_read_bytes_finish (storage, result, &error);
      g_assert_null (bytes);
      g_assert_nonnull (strstr (error->message, conducts[number].message));
      g_clear_error (&error);

      PRIVATE (storage)->conduct = BEHAVE;
      bytes = imago_storage_read_bytes (storage, 10, 100, NULL, &error);
      g_assert_no_error (error);
    }
}

/* A hook that reads the image that it carries. */
static void
test_deadlock (gconstpointer data)
{
  Kind kind = kind_of (data);
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (kind.type, kind.when);
  g_autoptr (ImagoImage) image = open_image (storage);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("seven!", 7);
  g_autoptr (GError) error = NULL;

  PRIVATE (storage)->image = image;
  PRIVATE (storage)->conduct = CALL_IMAGE;
  imago_image_write_bytes (image, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  g_assert_error (PRIVATE (storage)->seen, IMAGO_ERROR, IMAGO_ERROR_WOULD_DEADLOCK);
  PRIVATE (storage)->conduct = BEHAVE;
  close_image (image);
}

/* The hook has taken a request and needs the loop to answer it; a blocking call would keep it from running. */
static void
test_taken (void)
{
  g_autoptr (ImagoStorage) storage = qcow2_storage_new (TEST_TYPE_STORAGE, ANSWER_IN_CONTEXT);
  g_autoptr (ImagoImage) image = open_image (storage);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  Caught caught = { 0 };
  g_autoptr (GAsyncResult) result = NULL;
  guint before = PRIVATE (storage)->n_requests;

  imago_image_flush_async (image, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught);
  while (PRIVATE (storage)->n_requests == before)
    g_main_context_iteration (NULL, TRUE);
  bytes = imago_image_read_bytes (image, 0, 512, NULL, &error);
  g_assert_null (bytes);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_WOULD_DEADLOCK);
  g_clear_error (&error);
  imago_image_close (image, NULL, &error);
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_WOULD_DEADLOCK);
  g_clear_error (&error);

  result = wait_for (&caught);
  imago_image_flush_finish (image, result, &error);
  g_assert_no_error (error);
  bytes = imago_image_read_bytes (image, 0, 512, NULL, &error);
  g_assert_no_error (error);
  close_image (image);
}

/* ---- life ---- */

static void
test_kept_alive (void)
{
  ImagoStorage *storage = qcow2_storage_new (TEST_TYPE_STORAGE, ANSWER_NOW);
  ImagoImage *image = open_image (storage);
  gint n_before = g_atomic_int_get (&n_alive);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("seven!", 7);
  g_autoptr (GError) error = NULL;
  guint n_requests;

  g_assert_true (imago_image_get_storage (image) == storage);
  imago_image_write_bytes (image, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  n_requests = PRIVATE (storage)->n_requests;
  g_object_ref (storage);
  g_object_unref (image);
  /* Finalisation calls no hook: what was not flushed stays unwritten. */
  for (guint i = 0; i < 20; i++)
    g_main_context_iteration (NULL, FALSE);
  g_assert_cmpuint (PRIVATE (storage)->n_requests, ==, n_requests);
  g_object_unref (storage);
  g_object_unref (storage);
  settle (n_before - 1);
  g_assert_true (freed_in == g_thread_self ());
}

static gpointer
unref_thread (gpointer data)
{
  g_object_unref (data);
  return NULL;
}

/* The last reference goes in another thread: the object, which no longer has a hook to run there, still goes here
 * if an image kept it. */
static void
test_freed_at_home (void)
{
  gint n_before = g_atomic_int_get (&n_alive);
  ImagoStorage *storage = qcow2_storage_new (TEST_TYPE_STORAGE, ANSWER_NOW);
  ImagoStorage *window = imago_window_storage_new (storage, 0, SIZE);
  g_autoptr (GBytes) bytes = imago_storage_read_bytes (window, 0, 4, NULL, NULL);

  g_assert_nonnull (bytes);
  g_object_unref (storage);
  freed_in = NULL;
  g_thread_join (g_thread_new ("other", unref_thread, window));
  g_assert_cmpint (g_atomic_int_get (&n_alive), >=, n_before);
  settle (n_before);
}

/* ---- a hook that does not answer; test-hook-cancel.c tries every call ---- */

typedef enum
{
  CALL_WRITE,
  CALL_FLUSH,
} CallKind;

#define WRITTEN 0x77

typedef struct
{
  CallKind kind;
  ImagoImage *image;
  GCancellable *cancellable;
  GError *error;
} HangingCall;

static gpointer
hanging_thread (gpointer data)
{
  HangingCall *call = data;
  guint8 memory[4096];

  memset (memory, WRITTEN, sizeof memory);
  if (call->kind == CALL_FLUSH)
    g_assert_false (imago_image_flush (call->image, call->cancellable, &call->error));
  else
    g_assert_false (
      imago_image_write_at (call->image, 512, memory, sizeof memory, call->cancellable, &call->error));
  return NULL;
}

static ImagoImage *
open_raw (ImagoStorage *storage)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "raw", "writable", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

/* Returns when the caller has gone. The hook has yet to answer. */
static void
leave_behind (CallKind kind, ImagoStorage *storage, ImagoImage *image)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  HangingCall call = { kind, image, cancellable, NULL };
  GThread *thread;

  PRIVATE (storage)->conduct = HOLD;
  thread = g_thread_new ("hanging", hanging_thread, &call);
  while (PRIVATE (storage)->held == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_cancellable_cancel (cancellable);
  g_thread_join (thread);
  g_assert_error (call.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&call.error);
  PRIVATE (storage)->conduct = BEHAVE;
}

static void
answer_held (ImagoStorage *storage)
{
  answer (PRIVATE (storage), PRIVATE (storage)->held);
  g_clear_object (&PRIVATE (storage)->held);
}

/* Returns when the hook has the request that it is to answer later. */
static ImagoStorageRequest *
wait_held (ImagoStorage *storage)
{
  TestStoragePrivate *store = PRIVATE (storage);

  while (store->held == NULL)
    g_main_context_iteration (NULL, TRUE);
  store->conduct = BEHAVE;
  return g_steal_pointer (&store->held);
}

static guint64
wait_for_size (ImagoStorage *storage, Caught *caught)
{
  g_autoptr (GAsyncResult) result = wait_for (caught);
  g_autoptr (GError) error = NULL;
  guint64 size = 0;

  g_assert_true (imago_storage_query_size_finish (storage, result, &size, &error));
  g_assert_no_error (error);
  return size;
}

/* A size that was asked for before the storage grew, and is answered after it was known how long it is. */
static void
test_late_size (void)
{
  g_autoptr (ImagoStorage) storage = storage_new (TEST_TYPE_STORAGE, ANSWER_NOW, test_pattern_new (4096, 4));
  TestStoragePrivate *store = PRIVATE (storage);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("more", 4);
  g_autoptr (ImagoStorageRequest) late = NULL;
  g_autoptr (ImagoStorageRequest) write = NULL;
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GBytes) read = NULL;
  g_autoptr (GError) error = NULL;
  Caught early_size = { 0 }, size = { 0 }, written = { 0 };

  store->conduct = FAIL;
  g_assert_false (imago_storage_write_bytes (storage, 0, bytes, NULL, NULL)); /* so that it must be asked for */
  store->conduct = HOLD;
  imago_storage_query_size_async (storage, G_PRIORITY_DEFAULT, NULL, catch_cb, &early_size);
  late = wait_held (storage);
  store->conduct = HOLD;
  imago_storage_write_bytes_async (storage, 4096, bytes, G_PRIORITY_DEFAULT, NULL, catch_cb, &written);
  write = wait_held (storage);
  grow (store->bytes, 4100);
  imago_storage_query_size_async (storage, G_PRIORITY_DEFAULT, NULL, catch_cb, &size);
  g_assert_cmpuint (wait_for_size (storage, &size), ==, 4100);
  answer (store, write);
  result = wait_for (&written);
  g_assert_true (imago_storage_write_bytes_finish (storage, result, &error));
  g_assert_no_error (error);
  imago_storage_request_return_size (late, 4096);
  g_assert_cmpuint (wait_for_size (storage, &early_size), ==, 4100);
  read = imago_storage_read_bytes (storage, 4096, 4, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (read, NULL), g_bytes_get_size (read), "more", 4);
}

/* What is written to the same place later is not overwritten; elsewhere nobody waits. */
static void
test_write_behind_hanging (void)
{
  g_autoptr (ImagoStorage) storage = storage_new (TEST_TYPE_STORAGE, ANSWER_NOW, test_pattern_new (SIZE, 4));
  g_autoptr (ImagoImage) image = open_raw (storage);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("later", 5);
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GAsyncResult) elsewhere = NULL;
  g_autoptr (GError) error = NULL;
  Caught caught = { 0 };
  Caught caught_elsewhere = { 0 };

  leave_behind (CALL_WRITE, storage, image);
  imago_image_write_bytes_async (image, 600, bytes, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught);
  imago_image_write_bytes_async (image, SIZE / 2, bytes, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught_elsewhere);
  elsewhere = wait_for (&caught_elsewhere);
  g_assert_true (imago_image_write_bytes_finish (image, elsewhere, &error));
  g_assert_no_error (error);
  answer_held (storage);
  result = wait_for (&caught);
  g_assert_true (imago_image_write_bytes_finish (image, result, &error));
  g_assert_no_error (error);
  close_image (image);
  g_assert_cmpmem (PRIVATE (storage)->bytes->data + 600, 5, "later", 5);
  g_assert_cmpuint (PRIVATE (storage)->bytes->data[599], ==, WRITTEN);
  g_assert_cmpmem (PRIVATE (storage)->bytes->data + SIZE / 2, 5, "later", 5);
}

/* That its caller has gone does not make a flush fail; but a failure is one though nobody is told. */
static void
test_flush_left_behind (gconstpointer fails)
{
  g_autoptr (ImagoStorage) storage =
    storage_new (TEST_TYPE_STORAGE, ANSWER_NOW, test_qcow2_new (&(TestQcow2) { .size = SIZE }));
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE, NULL);
  g_autoptr (GBytes) bytes = g_bytes_new_static ("later", 5);
  g_autoptr (GError) failure = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_NO_SPACE, "full");
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (imago_image_write_bytes (image, 0, bytes, NULL, &error));
  leave_behind (CALL_FLUSH, storage, image);
  if (fails != NULL)
    {
      imago_storage_request_return_error (PRIVATE (storage)->held, failure);
      g_clear_object (&PRIVATE (storage)->held);
    }
  else
    answer_held (storage);
  /* The next flush comes behind the one that was left behind. */
  g_assert_true (imago_image_flush (image, NULL, &error) == (fails == NULL));
  if (fails != NULL)
    g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED);
  g_clear_error (&error);
  g_assert_true (imago_image_write_bytes (image, 0, bytes, NULL, &error) == (fails == NULL));
  if (fails != NULL)
    g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED);
  g_clear_error (&error);
  g_assert_true (imago_image_close (image, NULL, &error) == (fails == NULL));
  g_clear_error (&error);
  if (fails == NULL)
    judge (storage);
}

/* With a cancellable that nobody uses, it is answered as ever; on the hook's own thread too. */
static void
test_cancellable_unused (void)
{
  g_autoptr (ImagoStorage) storage = storage_new (TEST_TYPE_STORAGE, ANSWER_IN_CONTEXT, test_pattern_new (SIZE, 4));
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  guint8 memory[4096];
  guint64 size = 0;

  imago_open_options_set_format_name (options, "raw");
  image = imago_image_open_storage (storage, options, cancellable, &error);
  g_assert_no_error (error);
  bytes = imago_image_read_bytes (image, 512, 4096, cancellable, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 4096, PRIVATE (storage)->bytes->data + 512, 4096);
  imago_image_read_at (image, 512, memory, 4096, cancellable, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (memory, 4096, PRIVATE (storage)->bytes->data + 512, 4096);
  g_clear_pointer (&bytes, g_bytes_unref);
  bytes = imago_storage_read_bytes (storage, 512, 4096, cancellable, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 4096, PRIVATE (storage)->bytes->data + 512, 4096);
  imago_storage_query_size (storage, &size, cancellable, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (size, ==, SIZE);
  g_assert_false (imago_image_read_at (image, SIZE - 1, memory, 4096, cancellable, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  PRIVATE (storage)->conduct = FAIL;
  g_assert_false (imago_image_read_at (image, 0, memory, 4096, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_clear_error (&error);
  PRIVATE (storage)->conduct = BEHAVE;
  close_image (image);
  g_assert_null (imago_image_read_bytes (image, 0, 512, cancellable, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_CLOSED);
}

/* An image on an image's storage, with a single worker: no thread may wait for one that cannot come. */
static void
test_one_worker (void)
{
  ImgPool *pool = img_pool_new (1, 1);
  g_autoptr (ImagoStorage) lower = storage_new (TEST_TYPE_STORAGE, ANSWER_IN_CONTEXT, test_pattern_new (SIZE, 4));
  g_autoptr (ImagoStorage) upper = storage_new (
    TEST_TYPE_STORAGE, ANSWER_IN_CONTEXT,
    test_qcow2_new (&(TestQcow2) { .size = SIZE, .backing = "lower", .backing_format = "raw" }));
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoOpenOptions) deferring = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) backing = NULL;
  g_autoptr (GError) error = NULL;
  Caught caught[N_ASYNC] = { 0 };

  img_pool_set_default (pool);
  imago_open_options_set_format_name (options, "raw");
  backing = imago_image_open_storage (lower, options, NULL, &error);
  g_assert_no_error (error);
  imago_open_options_set_defer_references (deferring, TRUE);
  image = imago_image_open_storage (upper, deferring, NULL, &error);
  g_assert_no_error (error);
  imago_image_set_backing (image, backing, &error);
  g_assert_no_error (error);
  imago_image_open_references (image, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < N_ASYNC; i++)
    imago_image_read_bytes_async (image, i * 512, 512, G_PRIORITY_DEFAULT, NULL, catch_cb, &caught[i]);
  for (guint i = 0; i < N_ASYNC; i++)
    {
      g_autoptr (GAsyncResult) result = wait_for (&caught[i]);
      g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (image, result, &error);

      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 512, PRIVATE (lower)->bytes->data + i * 512, 512);
    }
  close_image (image);
  img_pool_set_default (NULL);
  img_pool_free (pool);
}

int
main (int argc, char **argv)
{
  static const char *const whens[] = { "now", "context", "thread" };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < 6; i++)
    {
      static const struct
      {
        const char *name;
        GTestDataFunc func;
      } tests[] = {
        { "blocking", test_blocking },
        { "other-thread", test_other_thread },
        { "async", test_async },
        { "deadlock", test_deadlock },
      };

      /* Where any thread may come, nobody iterates a context for it. */
      for (guint k = 0; i != 4 && k < G_N_ELEMENTS (tests); k++)
        {
          g_autofree char *path = g_strdup_printf ("/hook/%s/%s/%s", tests[k].name,
                                                   i < 3 ? "owned" : "thread-safe", whens[i % 3]);

          g_test_add_data_func (path, GUINT_TO_POINTER (i), tests[k].func);
        }
    }
  for (guint i = 0; i < G_N_ELEMENTS (conducts); i++)
    {
      g_autofree char *path = g_strdup_printf ("/hook/conduct/%s", conducts[i].name);

      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_conduct);
    }
  g_test_add_func ("/hook/start-runs-no-hook", test_start_runs_no_hook);
  g_test_add_func ("/hook/plain", test_plain);
  g_test_add_func ("/hook/no-zeroes", test_no_zeroes);
  g_test_add_func ("/hook/taken", test_taken);
  g_test_add_func ("/hook/kept-alive", test_kept_alive);
  g_test_add_func ("/hook/freed-at-home", test_freed_at_home);
  g_test_add_func ("/hook/late-size", test_late_size);
  g_test_add_func ("/hook/write-behind-hanging", test_write_behind_hanging);
  g_test_add_data_func ("/hook/flush-left-behind/succeeds", NULL, test_flush_left_behind);
  g_test_add_data_func ("/hook/flush-left-behind/fails", "fails", test_flush_left_behind);
  g_test_add_func ("/hook/cancellable-unused", test_cancellable_unused);
  g_test_add_func ("/hook/one-worker", test_one_worker);
  return g_test_run ();
}
