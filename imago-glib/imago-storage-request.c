/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>
#include <inttypes.h>

#include "imago-buffer-private.h"
#include "imago-enum-types.h"
#include "imago-error-private.h"
#include "imago-storage-request-private.h"

/**
 * SECTION:imago-storage-request
 * @title: ImagoStorageRequest
 * @short_description: What a storage is asked for
 *
 * A storage of your own (a subclass of #ImagoStorage) is handed each thing that it is asked for as an
 * #ImagoStorageRequest. It is answered with one of the functions whose name begins with
 * `imago_storage_request_return_`, inside the hook or later, in any thread, with success or with an error.
 *
 * The first answer counts. An answer given inside the hook counts when the hook has returned: a request
 * that was answered twice in there, or whose hook failed, has failed. So has one whose last reference is
 * dropped without an answer. In a language with a garbage collector that may take until the next collection:
 * answer.
 *
 * All functions may be called from any thread.
 */

/**
 * ImagoStorageRequest:
 *
 * One thing that a storage is asked for.
 *
 * Since: 1.0
 */

typedef enum
{
  ANSWER_NONE,
  ANSWER_GIVEN,     /* inside the hook */
  ANSWER_DELIVERED, /* what is said from now on comes too late, and the vectors are gone */
} AnswerState;

struct _ImagoStorageRequest
{
  GObject parent_instance;

  ImagoStorageDemand demand; /* constant, but for the vectors */
  ImagoStorageAnswerFunc answer;
  gpointer data;

  ImgMutex mutex; /* what follows, and the memory behind the vectors */
  AnswerState state;
  gboolean in_hook;
  gboolean shows_vectors; /* somebody has asked for the memory, and may have filled it */
  guint64 size;
  ImgError *error; /* owned */
  GBytes *bytes;   /* a copy of what is to be written, once somebody asked for it */
};

enum
{
  PROP_0,
  PROP_OPERATION,
  PROP_OFFSET,
  PROP_LENGTH,
  PROP_ZERO_FLAGS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

G_DEFINE_FINAL_TYPE (ImagoStorageRequest, imago_storage_request, G_TYPE_OBJECT)

/* ---- answers ---- */

/* Releases the mutex. */
static void
unlock_and_deliver (ImagoStorageRequest *self)
{
  ImagoStorageAnswerFunc answer = NULL;
  ImgError *error = NULL;

  if (self->state == ANSWER_GIVEN && !self->in_hook)
    {
      self->state = ANSWER_DELIVERED;
      answer = g_steal_pointer (&self->answer);
      error = g_steal_pointer (&self->error);
    }
  img_mutex_unlock (&self->mutex);
  if (answer != NULL)
    answer (self->data, self->size, error);
  else
    img_error_free (error);
}

/* With the mutex; takes @error. */
static void
set_error (ImagoStorageRequest *self, ImgError *error)
{
  img_error_free (self->error);
  self->error = error;
  self->state = ANSWER_GIVEN;
}

/* TRUE with the mutex held if an answer is welcome. */
static gboolean
begin_answer (ImagoStorageRequest *self)
{
  ImgError *error = NULL;

  img_mutex_lock (&self->mutex);
  if (self->state == ANSWER_NONE)
    return TRUE;
  if (self->state == ANSWER_GIVEN)
    {
      img_error_set (&error, IMG_CODE_FAILED, _("The storage answered a request twice"));
      set_error (self, error);
    }
  img_mutex_unlock (&self->mutex);
  return FALSE;
}

static ImgError *
hook_error (GError *error)
{
  ImgError *core_error = NULL;

  if (error != NULL)
    return imago_error_to_core (error);
  img_error_set (&core_error, IMG_CODE_FAILED,
                 _("The hook of the storage did not return TRUE, and did not say why"));
  return core_error;
}

void
imago_storage_request_end_hook (ImagoStorageRequest *self, gboolean success, GError *error)
{
  g_autoptr (GError) owned = error;

  img_mutex_lock (&self->mutex);
  self->in_hook = FALSE;
  if (!success)
    set_error (self, hook_error (owned));
  unlock_and_deliver (self);
}

/* ---- the object ---- */

static void
answer_dropped (ImagoStorageRequest *self)
{
  ImgError *error = NULL;

  if (self->answer == NULL || !begin_answer (self))
    return;
  img_error_set (&error, IMG_CODE_FAILED, _("The storage dropped a request without an answer"));
  set_error (self, error);
  unlock_and_deliver (self);
}

static void
imago_storage_request_finalize (GObject *object)
{
  ImagoStorageRequest *self = IMAGO_STORAGE_REQUEST (object);

  answer_dropped (self);
  g_clear_pointer (&self->bytes, g_bytes_unref);
  g_clear_pointer (&self->error, img_error_free);
  img_mutex_clear (&self->mutex);
  G_OBJECT_CLASS (imago_storage_request_parent_class)->finalize (object);
}

static void
imago_storage_request_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  ImagoStorageRequest *self = IMAGO_STORAGE_REQUEST (object);

  switch (id)
    {
    case PROP_OPERATION:
      g_value_set_enum (value, (int) self->demand.operation);
      break;
    case PROP_OFFSET:
      g_value_set_uint64 (value, self->demand.offset);
      break;
    case PROP_LENGTH:
      g_value_set_uint64 (value, self->demand.length);
      break;
    case PROP_ZERO_FLAGS:
      g_value_set_flags (value, self->demand.zero_flags);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    }
}

static void
imago_storage_request_class_init (ImagoStorageRequestClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->finalize = imago_storage_request_finalize;
  object_class->get_property = imago_storage_request_get_property;

  /**
   * ImagoStorageRequest:operation:
   *
   * What is asked for.
   *
   * Since: 1.0
   */
  properties[PROP_OPERATION] =
    g_param_spec_enum ("operation", "Operation", "What is asked for", IMAGO_TYPE_STORAGE_OPERATION,
                       IMAGO_STORAGE_OPERATION_NONE, flags);
  /**
   * ImagoStorageRequest:offset:
   *
   * Where the range begins, in bytes; the new size for %IMAGO_STORAGE_OPERATION_TRUNCATE.
   *
   * Since: 1.0
   */
  properties[PROP_OFFSET] = g_param_spec_uint64 (
    "offset", "Offset", "Where the range begins, in bytes", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoStorageRequest:length:
   *
   * The length of the range in bytes; 0 where the operation has no range.
   *
   * Since: 1.0
   */
  properties[PROP_LENGTH] = g_param_spec_uint64 (
    "length", "Length", "The length of the range in bytes", 0, G_MAXUINT64, 0, flags);
  /**
   * ImagoStorageRequest:zero-flags:
   *
   * How %IMAGO_STORAGE_OPERATION_WRITE_ZEROES is meant.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_FLAGS] =
    g_param_spec_flags ("zero-flags", "Zero flags", "How zeroes are to be written",
                        IMAGO_TYPE_ZERO_FLAGS, IMAGO_ZERO_NONE, flags);
  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_storage_request_init (ImagoStorageRequest *self)
{
  img_mutex_init (&self->mutex);
}

ImagoStorageRequest *
imago_storage_request_new (const ImagoStorageDemand *demand,
                           ImagoStorageAnswerFunc answer,
                           gpointer data)
{
  ImagoStorageRequest *self = g_object_new (IMAGO_TYPE_STORAGE_REQUEST, NULL);

  self->demand = *demand;
  self->answer = answer;
  self->data = data;
  self->in_hook = TRUE;
  return self;
}

/* ---- what is asked ---- */

/**
 * imago_storage_request_get_operation:
 * @self: an #ImagoStorageRequest
 *
 * Gets what is asked for.
 *
 * Returns: the operation
 *
 * Since: 1.0
 */
ImagoStorageOperation
imago_storage_request_get_operation (ImagoStorageRequest *self)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), IMAGO_STORAGE_OPERATION_NONE);

  return self->demand.operation;
}

/**
 * imago_storage_request_get_offset:
 * @self: an #ImagoStorageRequest
 *
 * Gets where the range begins; for %IMAGO_STORAGE_OPERATION_TRUNCATE the new size.
 *
 * Returns: the offset in bytes
 *
 * Since: 1.0
 */
guint64
imago_storage_request_get_offset (ImagoStorageRequest *self)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), 0);

  return self->demand.offset;
}

/**
 * imago_storage_request_get_length:
 * @self: an #ImagoStorageRequest
 *
 * Gets the length of the range.
 *
 * Returns: the length in bytes; 0 where the operation has no range
 *
 * Since: 1.0
 */
guint64
imago_storage_request_get_length (ImagoStorageRequest *self)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), 0);

  return self->demand.length;
}

/**
 * imago_storage_request_get_zero_flags:
 * @self: an #ImagoStorageRequest
 *
 * Gets how %IMAGO_STORAGE_OPERATION_WRITE_ZEROES is meant.
 *
 * Returns: the flags
 *
 * Since: 1.0
 */
ImagoZeroFlags
imago_storage_request_get_zero_flags (ImagoStorageRequest *self)
{
  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), IMAGO_ZERO_NONE);

  return self->demand.zero_flags;
}

/* With the mutex held; NULL when there is no memory. */
static GBytes *
copy_vectors (ImagoStorageRequest *self)
{
  ImgIovCursor cursor = img_iov_cursor (self->demand.iov, self->demand.n_iov);
  gsize length = (gsize) self->demand.length;
  guint8 *buffer = imago_buffer_new (length, NULL);
  struct iovec part;

  if (buffer == NULL)
    return NULL;
  for (gsize done = 0; done < length; done += part.iov_len)
    {
      part = img_iov_cursor_next (&cursor, length - done);
      img_copy (buffer + done, part.iov_base, part.iov_len);
    }
  return imago_buffer_to_bytes (buffer, length);
}

/**
 * imago_storage_request_dup_bytes:
 * @self: an #ImagoStorageRequest
 *
 * Gets what %IMAGO_STORAGE_OPERATION_WRITE is to write. The bytes are a copy, which may be kept.
 *
 * Returns: (transfer full) (nullable): as many bytes as the range is long; %NULL if nothing is to be
 *   written, or if there is no memory for the copy. After the answer it is %NULL unless it has been called
 *   before.
 *
 * Since: 1.0
 */
GBytes *
imago_storage_request_dup_bytes (ImagoStorageRequest *self)
{
  GBytes *bytes = NULL;

  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), NULL);

  if (self->demand.operation != IMAGO_STORAGE_OPERATION_WRITE)
    return NULL;
  img_mutex_lock (&self->mutex);
  if (self->bytes == NULL && self->state != ANSWER_DELIVERED)
    self->bytes = copy_vectors (self);
  if (self->bytes != NULL)
    bytes = g_bytes_ref (self->bytes);
  img_mutex_unlock (&self->mutex);
  return bytes;
}

/**
 * imago_storage_request_get_vectors: (skip)
 * @self: an #ImagoStorageRequest
 * @n_vectors: (out): return location for how many there are
 *
 * Gets the memory that %IMAGO_STORAGE_OPERATION_WRITE is to write from, or that
 * %IMAGO_STORAGE_OPERATION_READ is to be read into, for C: without a copy. It is valid until the request is
 * answered, for a read with imago_storage_request_return_done().
 *
 * Returns: (array length=n_vectors) (nullable) (transfer none): the pieces, one after the other
 *
 * Since: 1.0
 */
const struct iovec *
imago_storage_request_get_vectors (ImagoStorageRequest *self, gsize *n_vectors)
{
  const struct iovec *iov;

  g_return_val_if_fail (IMAGO_IS_STORAGE_REQUEST (self), NULL);
  g_return_val_if_fail (n_vectors != NULL, NULL);

  img_mutex_lock (&self->mutex);
  self->shows_vectors = self->state != ANSWER_DELIVERED;
  *n_vectors = self->shows_vectors ? self->demand.n_iov : 0;
  iov = self->shows_vectors ? self->demand.iov : NULL;
  img_mutex_unlock (&self->mutex);
  return iov;
}

/* ---- what is answered ---- */

/* With the mutex held. */
static void
take_misfit (ImagoStorageRequest *self)
{
  ImgError *error = NULL;

  img_error_set (&error, IMG_CODE_FAILED,
                 _("The storage gave an answer that does not belong to the request"));
  set_error (self, error);
}

/* With the mutex held. */
static void
take_bytes (ImagoStorageRequest *self, GBytes *bytes)
{
  ImgIovCursor cursor = img_iov_cursor (self->demand.iov, self->demand.n_iov);
  ImgError *error = NULL;
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);

  if (size == self->demand.length)
    {
      img_iov_cursor_copy (&cursor, data, size);
      self->state = ANSWER_GIVEN;
      return;
    }
  img_error_set (&error, IMG_CODE_FAILED, _("The storage returned %zu bytes instead of %" PRIu64), size,
                 self->demand.length);
  set_error (self, error);
}

/**
 * imago_storage_request_return_bytes:
 * @self: an #ImagoStorageRequest
 * @bytes: exactly as many bytes as the range is long
 *
 * Answers %IMAGO_STORAGE_OPERATION_READ. Any other number of bytes is a failure of the storage, as is this
 * answer to another operation.
 *
 * Since: 1.0
 */
void
imago_storage_request_return_bytes (ImagoStorageRequest *self, GBytes *bytes)
{
  g_return_if_fail (IMAGO_IS_STORAGE_REQUEST (self));
  g_return_if_fail (bytes != NULL);

  if (!begin_answer (self))
    return;
  if (self->demand.operation == IMAGO_STORAGE_OPERATION_READ)
    take_bytes (self, bytes);
  else
    take_misfit (self);
  unlock_and_deliver (self);
}

/* With the mutex held. */
static void
take_size (ImagoStorageRequest *self, guint64 size)
{
  ImgError *error = NULL;

  self->size = size;
  self->state = ANSWER_GIVEN;
  if (size <= IMG_MAX_SIZE)
    return;
  img_error_set (&error, IMG_CODE_FAILED, _("The storage says that it has a size of %" PRIu64 " bytes"),
                 size);
  set_error (self, error);
}

/**
 * imago_storage_request_return_size:
 * @self: an #ImagoStorageRequest
 * @size: the size of the storage in bytes
 *
 * Answers %IMAGO_STORAGE_OPERATION_QUERY_SIZE. To any other operation it is a failure of the storage.
 *
 * Since: 1.0
 */
void
imago_storage_request_return_size (ImagoStorageRequest *self, guint64 size)
{
  g_return_if_fail (IMAGO_IS_STORAGE_REQUEST (self));

  if (!begin_answer (self))
    return;
  if (self->demand.operation == IMAGO_STORAGE_OPERATION_QUERY_SIZE)
    take_size (self, size);
  else
    take_misfit (self);
  unlock_and_deliver (self);
}

/* With the mutex held. Memory that nobody has asked for has not been filled: it must not be shown. */
static gboolean
may_be_done (ImagoStorageRequest *self)
{
  if (self->demand.operation == IMAGO_STORAGE_OPERATION_READ)
    return self->shows_vectors;
  return self->demand.operation != IMAGO_STORAGE_OPERATION_QUERY_SIZE;
}

/**
 * imago_storage_request_return_done:
 * @self: an #ImagoStorageRequest
 *
 * Answers that what was asked for has been done. For %IMAGO_STORAGE_OPERATION_READ that means that the
 * memory of imago_storage_request_get_vectors() has been filled, which only C can do;
 * %IMAGO_STORAGE_OPERATION_QUERY_SIZE needs imago_storage_request_return_size().
 *
 * Since: 1.0
 */
void
imago_storage_request_return_done (ImagoStorageRequest *self)
{
  g_return_if_fail (IMAGO_IS_STORAGE_REQUEST (self));

  if (!begin_answer (self))
    return;
  if (may_be_done (self))
    self->state = ANSWER_GIVEN;
  else
    take_misfit (self);
  unlock_and_deliver (self);
}

/**
 * imago_storage_request_return_error:
 * @self: an #ImagoStorageRequest
 * @error: what went wrong
 *
 * Answers that the request failed. Errors of the domains #ImagoError and #GIOErrorEnum reach the caller as they
 * are; of any other the text does. What a %G_IO_ERROR_NOT_SUPPORTED means is said at the `submit` hook of
 * #ImagoStorageClass.
 *
 * Since: 1.0
 */
void
imago_storage_request_return_error (ImagoStorageRequest *self, const GError *error)
{
  g_return_if_fail (IMAGO_IS_STORAGE_REQUEST (self));
  g_return_if_fail (error != NULL);

  if (!begin_answer (self))
    return;
  set_error (self, imago_error_to_core (error));
  unlock_and_deliver (self);
}
