/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "test-carrier.h"

struct _TestCarrier
{
  ImagoStorage parent_instance;

  ImagoStorage *base;
  GThread *owner;
  guint n_requests;
  guint hold_at;             /* this request is held; 0: none is */
  ImagoStorageRequest *held; /* owned */
  GFunc seen;                /* nullable */
  gpointer seen_data;
};

G_DEFINE_TYPE (TestCarrier, test_carrier, IMAGO_TYPE_STORAGE)

/* ---- answers ---- */

static void
answer_done (ImagoStorageRequest *request, const GError *error)
{
  if (error != NULL)
    imago_storage_request_return_error (request, error);
  else
    imago_storage_request_return_done (request);
}

static void
read_cb (GObject *base, GAsyncResult *result, gpointer data)
{
  g_autoptr (ImagoStorageRequest) request = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_storage_read_bytes_finish (IMAGO_STORAGE (base), result, &error);

  if (bytes != NULL)
    imago_storage_request_return_bytes (request, bytes);
  else
    imago_storage_request_return_error (request, error);
}

static void
size_cb (GObject *base, GAsyncResult *result, gpointer data)
{
  g_autoptr (ImagoStorageRequest) request = data;
  g_autoptr (GError) error = NULL;
  guint64 size;

  if (imago_storage_query_size_finish (IMAGO_STORAGE (base), result, &size, &error))
    imago_storage_request_return_size (request, size);
  else
    imago_storage_request_return_error (request, error);
}

static void
changed_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (ImagoStorageRequest) request = data;
  ImagoStorage *base = IMAGO_STORAGE (object);
  g_autoptr (GError) error = NULL;

  switch (imago_storage_request_get_operation (request))
    {
    case IMAGO_STORAGE_OPERATION_WRITE:
      imago_storage_write_bytes_finish (base, result, &error);
      break;
    case IMAGO_STORAGE_OPERATION_WRITE_ZEROES:
      imago_storage_write_zeroes_finish (base, result, &error);
      break;
    case IMAGO_STORAGE_OPERATION_DISCARD:
      imago_storage_discard_finish (base, result, &error);
      break;
    case IMAGO_STORAGE_OPERATION_TRUNCATE:
      imago_storage_truncate_finish (base, result, &error);
      break;
    default:
      imago_storage_flush_finish (base, result, &error);
      break;
    }
  answer_done (request, error);
}

/* ---- the hook ---- */

static void
carry (TestCarrier *self, ImagoStorageRequest *request)
{
  guint64 offset = imago_storage_request_get_offset (request);
  guint64 length = imago_storage_request_get_length (request);
  g_autoptr (GBytes) bytes = imago_storage_request_dup_bytes (request);

  g_object_ref (request);
  switch (imago_storage_request_get_operation (request))
    {
    case IMAGO_STORAGE_OPERATION_READ:
      imago_storage_read_bytes_async (self->base, offset, length, 0, NULL, read_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_WRITE:
      imago_storage_write_bytes_async (self->base, offset, bytes, 0, NULL, changed_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_WRITE_ZEROES:
      imago_storage_write_zeroes_async (self->base, offset, length, imago_storage_request_get_zero_flags (request), 0,
                                        NULL, changed_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_DISCARD:
      imago_storage_discard_async (self->base, offset, length, 0, NULL, changed_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_TRUNCATE:
      imago_storage_truncate_async (self->base, offset, 0, NULL, changed_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_FLUSH:
      imago_storage_flush_async (self->base, 0, NULL, changed_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_QUERY_SIZE:
      imago_storage_query_size_async (self->base, 0, NULL, size_cb, request);
      break;
    case IMAGO_STORAGE_OPERATION_NONE:
    default:
      g_assert_not_reached ();
    }
}

static gboolean
test_carrier_submit (ImagoStorage *storage, ImagoStorageRequest *request, GError **error)
{
  TestCarrier *self = TEST_CARRIER (storage);

  g_assert_true (g_thread_self () == self->owner);
  if (self->seen != NULL)
    self->seen (request, self->seen_data);
  if (++self->n_requests == self->hold_at)
    self->held = g_object_ref (request);
  else
    carry (self, request);
  return TRUE;
}

static void
test_carrier_finalize (GObject *object)
{
  g_assert_null (TEST_CARRIER (object)->held);
  g_object_unref (TEST_CARRIER (object)->base);
  G_OBJECT_CLASS (test_carrier_parent_class)->finalize (object);
}

static void
test_carrier_class_init (TestCarrierClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = test_carrier_finalize;
  IMAGO_STORAGE_CLASS (klass)->submit = test_carrier_submit;
}

static void
test_carrier_init (TestCarrier *self)
{
  self->owner = g_thread_self ();
}

ImagoStorage *
test_carrier_new (ImagoStorage *base)
{
  TestCarrier *self = g_object_new (TEST_TYPE_CARRIER, "writable", TRUE, NULL);

  self->base = g_object_ref (base);
  return IMAGO_STORAGE (self);
}

guint
test_carrier_get_n_requests (TestCarrier *self)
{
  return self->n_requests;
}

void
test_carrier_hold (TestCarrier *self, guint n)
{
  self->hold_at = self->n_requests + 1 + n;
}

gboolean
test_carrier_is_holding (TestCarrier *self)
{
  return self->held != NULL;
}

void
test_carrier_let_go (TestCarrier *self, const GError *error)
{
  g_autoptr (ImagoStorageRequest) request = g_steal_pointer (&self->held);

  self->hold_at = 0;
  if (request == NULL)
    return;
  if (error != NULL)
    imago_storage_request_return_error (request, error);
  else
    carry (self, request);
}

void
test_carrier_drop (TestCarrier *self)
{
  self->hold_at = 0;
  g_clear_object (&self->held);
}

void
test_carrier_watch (TestCarrier *self, GFunc func, gpointer data)
{
  self->seen = func;
  self->seen_data = data;
}

/* ---- what it carries ---- */

ImagoStorage *
test_memory_new (GBytes *content)
{
  ImagoStorage *storage = imago_memory_storage_new_writable (0);
  g_autoptr (GError) error = NULL;

  imago_storage_write_bytes (storage, 0, content, NULL, &error);
  g_assert_no_error (error);
  return storage;
}

GBytes *
test_storage_read_all (ImagoStorage *storage)
{
  g_autoptr (GError) error = NULL;
  guint64 size = 0;
  GBytes *bytes;

  g_assert_true (imago_storage_query_size (storage, &size, NULL, &error));
  bytes = imago_storage_read_bytes (storage, 0, (gsize) size, NULL, &error);
  g_assert_no_error (error);
  return bytes;
}
