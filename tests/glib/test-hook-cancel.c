/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Calls that are cancelled while the hook of a storage has not answered: every call of an image, a storage, a batch
 * and a job, blocking and asynchronous, at each of the requests that it makes.
 *
 * The caller goes with CANCELLED while the request is still held. Something else is written to the same place then;
 * and only then the hook answers, well or badly, or forgets the request. In the end the image closes, qemu-img finds it
 * in order, and each byte is what the rule says: what was written later is there, of the call that was left behind all
 * or nothing of each byte, and elsewhere nothing has changed. */

#include <string.h>
#include <sys/wait.h>

#include <imago-glib/imago-glib.h>

#include "test-carrier.h"
#include "test-images.h"

typedef struct
{
  const char *function; /* without its _async */
  gpointer address;
} TestStarter;

#include "async-starters.h"

#define CLUSTER TEST_QCOW2_CLUSTER
#define SIZE (16 * CLUSTER)
#define NEW_BYTE 0x77
#define LATER_BYTE 0x55
#define LATER_COUNT 1000
#define STREAM_SIZE (32 * CLUSTER)
#define MAX_HELD 64

/* ---- what a call works on ---- */

typedef struct _Row Row;

typedef struct
{
  const Row *row;
  gboolean in_stream;
  ImagoStorage *base;
  ImagoStorage *carrier; /* whose hook holds a request */
  ImagoStorage *storage; /* the carrier, or a stream on it */
  gboolean is_freed;     /* the carrier */
  ImagoImage *image;     /* nullable */
  ImagoBatch *batch;     /* nullable, as the next one */
  ImagoJob *job;
  ImagoImage *other; /* that a job works on, too, and that is elsewhere */
  GObject *stream;
  GBytes *bytes;         /* that are written */
  GObject *options;
  guint8 *memory;        /* of a call that borrows it: gone when the call has returned */
  guint64 later;         /* where something else is written when the caller has gone */
  char *folder;          /* nullable */
  GFile *file;
} Case;

typedef enum
{
  SUBJECT_IMAGE,    /* a qcow2 image in the storage, open for writing */
  SUBJECT_WRITTEN,  /* with something to flush */
  SUBJECT_LISTED,   /* with a snapshot inside */
  SUBJECT_RAW,      /* the same file, as if it were a raw image */
  SUBJECT_STORAGE,
  SUBJECT_DEFERRED, /* an image elsewhere, whose backing image is in the storage and not open yet */
} Subject;

typedef enum
{
  BECOMES_OLD, /* nothing changes */
  BECOMES_NEW,
  BECOMES_ZERO,
  BECOMES_ANYTHING,
} Effect;

/* How the hook ends the request that it has held. */
typedef enum
{
  ENDING_WELL,
  ENDING_BADLY,
  ENDING_DROPPED, /* without an answer */
  N_ENDINGS
} Ending;

/* A function that is called in another thread, and its asynchronous twin; either may be missing. */
struct _Row
{
  const char *function;
  const char *variant;
  Subject subject;
  Effect effect;
  guint64 offset; /* of what is changed */
  guint64 length;
  guint64 size;   /* that the disk may have, too; 0: it stays */
  gboolean keeps_others_out; /* nothing else is changed before the hook has answered */
  gboolean (*block) (Case *subject, GCancellable *cancellable, GError **error);
  void (*start) (Case *subject, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data);
  gboolean (*finish) (Case *subject, GAsyncResult *result, GError **error);
  ImagoError refusal; /* with which it ends if nobody cancels; 0: it succeeds */
};

static void
job_freed_cb (gpointer data, GObject *where_it_was)
{
  *(gboolean *) data = TRUE;
  g_main_context_wakeup (NULL);
}

static GBytes *
new_bytes (gsize count)
{
  guint8 *memory = g_malloc (count);

  memset (memory, NEW_BYTE, count);
  return g_bytes_new_take (memory, count);
}

/* TRUE if there was something. */
static gboolean
drop_object (gpointer object)
{
  if (object != NULL)
    g_object_unref (object);
  return object != NULL;
}

static gboolean
drop_bytes (GBytes *bytes)
{
  if (bytes != NULL)
    g_bytes_unref (bytes);
  return bytes != NULL;
}

/* ---- images ---- */

static GBytes *original;      /* a qcow2 image with data in some clusters */
static GBytes *original_disk; /* what is in it */
static GBytes *listed;        /* the same with a snapshot; NULL if there is no qemu-img */

static ImagoImage *
open_image (ImagoStorage *storage, const char *format_name)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", format_name, "writable", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  return image;
}

/* ---- calls that read ---- */

#define READ_OFFSET (6 * CLUSTER + 512)
#define READ_COUNT 4096

/* A call in three shapes: each is an expression with @subject, and with @cancellable and @error, with @cancellable,
 * @callback and @data, or with @result and @error. */
#define CALL(name, blocking, starting, finishing)                                                                     \
  static gboolean block_##name (Case *subject, GCancellable *cancellable, GError **error)                             \
  {                                                                                                                   \
    return blocking;                                                                                                  \
  }                                                                                                                   \
  static void start_##name (Case *subject, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)    \
  {                                                                                                                   \
    starting;                                                                                                         \
  }                                                                                                                   \
  static gboolean finish_##name (Case *subject, GAsyncResult *result, GError **error)                                 \
  {                                                                                                                   \
    return finishing;                                                                                                 \
  }

CALL (read_bytes,
      drop_bytes (imago_image_read_bytes (subject->image, READ_OFFSET, READ_COUNT, cancellable, error)),
      imago_image_read_bytes_async (subject->image, READ_OFFSET, READ_COUNT, 0, cancellable, callback, data),
      drop_bytes (imago_image_read_bytes_finish (subject->image, result, error)))

/* The memory is gone as soon as the call has returned: whoever writes to it later is seen by a sanitizer. */
static gboolean
block_read_at (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (READ_COUNT);

  return imago_image_read_at (subject->image, READ_OFFSET, memory, READ_COUNT, cancellable, error);
}

static gboolean
block_readv_at (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (READ_COUNT);
  const struct iovec vectors[] = { { memory, 1000 }, { memory + 1000, READ_COUNT - 1000 } };

  return imago_image_readv_at (subject->image, READ_OFFSET, vectors, G_N_ELEMENTS (vectors), cancellable, error);
}

CALL (query_info,
      drop_object (imago_image_query_info (subject->image, cancellable, error)),
      imago_image_query_info_async (subject->image, 0, cancellable, callback, data),
      drop_object (imago_image_query_info_finish (subject->image, result, error)))

CALL (list_snapshots,
      drop_object (imago_image_list_snapshots (subject->image, cancellable, error)),
      imago_image_list_snapshots_async (subject->image, 0, cancellable, callback, data),
      drop_object (imago_image_list_snapshots_finish (subject->image, result, error)))

static gboolean
drop_extent (ImagoExtent *extent)
{
  if (extent != NULL)
    imago_extent_free (extent);
  return extent != NULL;
}

CALL (map,
      drop_extent (imago_image_map (subject->image, 0, SIZE, IMAGO_MAP_HOST_HOLES, cancellable, error)),
      imago_image_map_async (subject->image, 0, SIZE, IMAGO_MAP_HOST_HOLES, 0, cancellable, callback, data),
      drop_extent (imago_image_map_finish (subject->image, result, error)))

static gboolean
drop_extents (ImagoExtentArray *extents)
{
  if (extents != NULL)
    imago_extent_array_unref (extents);
  return extents != NULL;
}

CALL (map_extents,
      drop_extents (imago_image_map_extents (subject->image, 0, SIZE, 10, IMAGO_MAP_NONE, cancellable, error)),
      imago_image_map_extents_async (subject->image, 0, SIZE, 10, IMAGO_MAP_NONE, 0, cancellable, callback, data),
      drop_extents (imago_image_map_extents_finish (subject->image, result, error)))

static GOutputStream *
memory_stream_new (Case *subject)
{
  GOutputStream *stream = g_memory_output_stream_new_resizable ();

  subject->stream = G_OBJECT (stream);
  return stream;
}

CALL (splice,
      imago_image_splice (subject->image, memory_stream_new (subject), 0, SIZE, cancellable, error) == SIZE,
      imago_image_splice_async (subject->image, memory_stream_new (subject), 0, SIZE, 0, cancellable, callback, data),
      imago_image_splice_finish (subject->image, result, error) == SIZE)

static gboolean
block_stream_read (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autoptr (GInputStream) stream = imago_image_create_input_stream (subject->image);
  g_autofree guint8 *memory = g_malloc (READ_COUNT);

  return g_seekable_seek (G_SEEKABLE (stream), READ_OFFSET, G_SEEK_SET, NULL, error) &&
         g_input_stream_read (stream, memory, READ_COUNT, cancellable, error) == READ_COUNT;
}

static void
start_stream_read (Case *subject, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
  GInputStream *stream = imago_image_create_input_stream (subject->image);

  subject->stream = G_OBJECT (stream);
  subject->memory = g_malloc (READ_COUNT);
  g_seekable_seek (G_SEEKABLE (stream), READ_OFFSET, G_SEEK_SET, NULL, NULL);
  g_input_stream_read_async (stream, subject->memory, READ_COUNT, 0, cancellable, callback, data);
}

static gboolean
finish_stream_read (Case *subject, GAsyncResult *result, GError **error)
{
  gssize count = g_input_stream_read_finish (G_INPUT_STREAM (subject->stream), result, error);

  g_clear_pointer (&subject->memory, g_free);
  return count == READ_COUNT;
}

/* ---- calls that write ---- */

/* Half of it in a cluster that is there. */
#define WRITE_OFFSET (6 * CLUSTER + CLUSTER / 2)
#define WRITE_COUNT CLUSTER
#define COMPRESSED_OFFSET (9 * CLUSTER)
/* Clusters and what is not one on both sides. */
#define ZERO_OFFSET (3 * CLUSTER - 512)
#define ZERO_COUNT (2 * CLUSTER + 1024)

/* The case's. */
static GBytes *
bytes_of (Case *subject, gsize count)
{
  g_assert_null (subject->bytes);
  subject->bytes = new_bytes (count);
  return subject->bytes;
}

CALL (write_bytes,
      imago_image_write_bytes (subject->image, WRITE_OFFSET, bytes_of (subject, WRITE_COUNT), cancellable, error),
      imago_image_write_bytes_async (subject->image, WRITE_OFFSET, bytes_of (subject, WRITE_COUNT), 0, cancellable,
                                     callback, data),
      imago_image_write_bytes_finish (subject->image, result, error))

static gboolean
block_write_at (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (WRITE_COUNT);

  memset (memory, NEW_BYTE, WRITE_COUNT);
  return imago_image_write_at (subject->image, WRITE_OFFSET, memory, WRITE_COUNT, cancellable, error);
}

static gboolean
block_writev_at (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (WRITE_COUNT);
  const struct iovec vectors[] = { { memory, 1000 }, { memory + 1000, WRITE_COUNT - 1000 } };

  memset (memory, NEW_BYTE, WRITE_COUNT);
  return imago_image_writev_at (subject->image, WRITE_OFFSET, vectors, G_N_ELEMENTS (vectors), cancellable, error);
}

CALL (write_compressed,
      imago_image_write_compressed (subject->image, COMPRESSED_OFFSET, bytes_of (subject, 2 * CLUSTER), cancellable,
                                    error),
      imago_image_write_compressed_async (subject->image, COMPRESSED_OFFSET, bytes_of (subject, 2 * CLUSTER), 0,
                                          cancellable, callback, data),
      imago_image_write_compressed_finish (subject->image, result, error))

CALL (write_vm_state,
      imago_image_write_vm_state (subject->image, 1000, bytes_of (subject, 2 * CLUSTER), cancellable, error),
      imago_image_write_vm_state_async (subject->image, 1000, bytes_of (subject, 2 * CLUSTER), 0, cancellable, callback,
                                        data),
      imago_image_write_vm_state_finish (subject->image, result, error))

CALL (read_vm_state,
      drop_bytes (imago_image_read_vm_state (subject->image, 1000, READ_COUNT, cancellable, error)),
      imago_image_read_vm_state_async (subject->image, 1000, READ_COUNT, 0, cancellable, callback, data),
      drop_bytes (imago_image_read_vm_state_finish (subject->image, result, error)))

CALL (write_zeroes,
      imago_image_write_zeroes (subject->image, ZERO_OFFSET, ZERO_COUNT, IMAGO_ZERO_UNMAP, cancellable, error),
      imago_image_write_zeroes_async (subject->image, ZERO_OFFSET, ZERO_COUNT, IMAGO_ZERO_UNMAP, 0, cancellable,
                                      callback, data),
      imago_image_write_zeroes_finish (subject->image, result, error))

CALL (discard,
      imago_image_discard (subject->image, ZERO_OFFSET, ZERO_COUNT, IMAGO_DISCARD_ZERO, cancellable, error),
      imago_image_discard_async (subject->image, ZERO_OFFSET, ZERO_COUNT, IMAGO_DISCARD_ZERO, 0, cancellable, callback,
                                 data),
      imago_image_discard_finish (subject->image, result, error))

static GOutputStream *
output_stream_new (Case *subject)
{
  GIOStream *stream = imago_image_create_io_stream (subject->image);

  subject->stream = G_OBJECT (stream);
  g_seekable_seek (G_SEEKABLE (stream), WRITE_OFFSET, G_SEEK_SET, NULL, NULL);
  return g_io_stream_get_output_stream (stream);
}

static gboolean
block_stream_write (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (WRITE_COUNT);

  memset (memory, NEW_BYTE, WRITE_COUNT);
  return g_output_stream_write (output_stream_new (subject), memory, WRITE_COUNT, cancellable, error) == WRITE_COUNT;
}

static void
start_stream_write (Case *subject, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
  subject->memory = g_malloc (WRITE_COUNT);
  memset (subject->memory, NEW_BYTE, WRITE_COUNT);
  g_output_stream_write_async (output_stream_new (subject), subject->memory, WRITE_COUNT, 0, cancellable, callback,
                               data);
}

static GOutputStream *
output_stream_of (Case *subject)
{
  return g_io_stream_get_output_stream (G_IO_STREAM (subject->stream));
}

static gboolean
finish_stream_write (Case *subject, GAsyncResult *result, GError **error)
{
  gssize count = g_output_stream_write_finish (output_stream_of (subject), result, error);

  g_clear_pointer (&subject->memory, g_free);
  return count == WRITE_COUNT;
}

CALL (stream_flush,
      g_output_stream_flush (output_stream_new (subject), cancellable, error),
      g_output_stream_flush_async (output_stream_new (subject), 0, cancellable, callback, data),
      g_output_stream_flush_finish (output_stream_of (subject), result, error))

static ImagoBatch *
batch_new (Case *subject, guint8 *memory)
{
  subject->batch = imago_batch_new (subject->image);
  imago_batch_add_read (subject->batch, 2 * CLUSTER, READ_COUNT);
  imago_batch_add_read_at (subject->batch, READ_OFFSET, memory, READ_COUNT);
  imago_batch_add_write (subject->batch, WRITE_OFFSET, bytes_of (subject, WRITE_COUNT));
  return subject->batch;
}

/* What a batch says of its requests fits with what it says of itself. */
static void
check_batch (ImagoBatch *batch, gboolean success)
{
  for (guint i = 0; i < imago_batch_get_n_requests (batch); i++)
    {
      g_autoptr (GError) error = NULL;
      gboolean succeeded = imago_batch_check (batch, i, &error);
      gboolean has_bytes = drop_bytes (imago_batch_dup_bytes (batch, i));

      g_assert_true (has_bytes == (succeeded && i == 0));
      g_assert_true (succeeded || !success);
      if (!succeeded)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    }
}

static gboolean
block_batch (Case *subject, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *memory = g_malloc (READ_COUNT);
  gboolean success = imago_batch_run (batch_new (subject, memory), cancellable, error);

  check_batch (subject->batch, success);
  return success;
}

static void
start_batch (Case *subject, GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
  subject->memory = g_malloc (READ_COUNT);
  imago_batch_run_async (batch_new (subject, subject->memory), 0, cancellable, callback, data);
}

static gboolean
finish_batch (Case *subject, GAsyncResult *result, GError **error)
{
  gboolean success = imago_batch_run_finish (subject->batch, result, error);

  g_clear_pointer (&subject->memory, g_free);
  check_batch (subject->batch, success);
  return success;
}

/* ---- calls that concern the whole image ---- */

CALL (flush,
      imago_image_flush (subject->image, cancellable, error),
      imago_image_flush_async (subject->image, 0, cancellable, callback, data),
      imago_image_flush_finish (subject->image, result, error))

CALL (resize,
      imago_image_resize (subject->image, subject->row->size, IMAGO_RESIZE_MAY_SHRINK, IMAGO_PREALLOCATION_NONE,
                          cancellable, error),
      imago_image_resize_async (subject->image, subject->row->size, IMAGO_RESIZE_MAY_SHRINK, IMAGO_PREALLOCATION_NONE,
                                0, cancellable, callback, data),
      imago_image_resize_finish (subject->image, result, error))

CALL (close,
      imago_image_close (subject->image, cancellable, error),
      imago_image_close_async (subject->image, 0, cancellable, callback, data),
      imago_image_close_finish (subject->image, result, error))

CALL (open_references,
      imago_image_open_references (subject->image, cancellable, error),
      imago_image_open_references_async (subject->image, 0, cancellable, callback, data),
      imago_image_open_references_finish (subject->image, result, error))

/* ---- calls that make an image ---- */

/* The case's. */
static ImagoOpenOptions *
open_options_of (Case *subject)
{
  g_autoptr (ImagoMapPolicy) policy = imago_map_policy_new ();

  imago_map_policy_add (policy, "below", subject->storage, "qcow2");
  subject->options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "reference-policy", policy, NULL);
  return IMAGO_OPEN_OPTIONS (subject->options);
}

CALL (open_storage,
      drop_object (imago_image_open_storage (subject->storage, open_options_of (subject), cancellable, error)),
      imago_image_open_storage_async (subject->storage, open_options_of (subject), 0, cancellable, callback, data),
      drop_object (imago_image_open_storage_finish (result, error)))

/* A file whose backing image is in the storage. */
static GByteArray *
overlay_new (void)
{
  return test_qcow2_new (&(TestQcow2) { .size = SIZE, .backing = "below", .backing_format = "qcow2" });
}

static GFile *
make_file (Case *subject, gboolean exists)
{
  g_autofree char *path = NULL;

  subject->folder = test_folder_new ();
  path = exists ? test_write (subject->folder, "file.qcow2", overlay_new ())
                : test_path (subject->folder, "file.qcow2");
  subject->file = g_file_new_for_path (path);
  return subject->file;
}

CALL (open,
      drop_object (imago_image_open (make_file (subject, TRUE), open_options_of (subject), cancellable, error)),
      imago_image_open_async (make_file (subject, TRUE), open_options_of (subject), 0, cancellable, callback, data),
      drop_object (imago_image_open_finish (result, error)))

/* The case's. */
static ImagoCreateOptions *
create_options_of (Case *subject)
{
  subject->options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) SIZE,
                                   "overwrite", TRUE, NULL);
  return IMAGO_CREATE_OPTIONS (subject->options);
}

CALL (create_storage,
      drop_object (imago_image_create_storage (subject->storage, create_options_of (subject), cancellable, error)),
      imago_image_create_storage_async (subject->storage, create_options_of (subject), 0, cancellable, callback, data),
      drop_object (imago_image_create_storage_finish (result, error)))

/* The data is in the storage. */
static ImagoCreateOptions *
data_options_of (Case *subject)
{
  ImagoCreateOptions *options = create_options_of (subject);

  g_object_set (options, "data-storage", subject->storage, "data-file-name", "data.raw", NULL);
  return options;
}

CALL (create,
      drop_object (imago_image_create (make_file (subject, FALSE), data_options_of (subject), cancellable, error)),
      imago_image_create_async (make_file (subject, FALSE), data_options_of (subject), 0, cancellable, callback, data),
      drop_object (imago_image_create_finish (result, error)))

CALL (probe,
      drop_object (imago_format_probe (subject->storage, cancellable, error)),
      imago_format_probe_async (subject->storage, 0, cancellable, callback, data),
      drop_object (imago_format_probe_finish (result, error)))

/* ---- calls of the storage itself ---- */

CALL (query_size,
      imago_storage_query_size (subject->storage, &(guint64) { 0 }, cancellable, error),
      imago_storage_query_size_async (subject->storage, 0, cancellable, callback, data),
      imago_storage_query_size_finish (subject->storage, result, &(guint64) { 0 }, error))

CALL (storage_read,
      drop_bytes (imago_storage_read_bytes (subject->storage, 0, READ_COUNT, cancellable, error)),
      imago_storage_read_bytes_async (subject->storage, 0, READ_COUNT, 0, cancellable, callback, data),
      drop_bytes (imago_storage_read_bytes_finish (subject->storage, result, error)))

CALL (storage_write,
      imago_storage_write_bytes (subject->storage, CLUSTER, bytes_of (subject, READ_COUNT), cancellable, error),
      imago_storage_write_bytes_async (subject->storage, CLUSTER, bytes_of (subject, READ_COUNT), 0, cancellable,
                                       callback, data),
      imago_storage_write_bytes_finish (subject->storage, result, error))

CALL (storage_zeroes,
      imago_storage_write_zeroes (subject->storage, CLUSTER, READ_COUNT, IMAGO_ZERO_NONE, cancellable, error),
      imago_storage_write_zeroes_async (subject->storage, CLUSTER, READ_COUNT, IMAGO_ZERO_NONE, 0, cancellable,
                                        callback, data),
      imago_storage_write_zeroes_finish (subject->storage, result, error))

CALL (storage_discard,
      imago_storage_discard (subject->storage, CLUSTER, READ_COUNT, cancellable, error),
      imago_storage_discard_async (subject->storage, CLUSTER, READ_COUNT, 0, cancellable, callback, data),
      imago_storage_discard_finish (subject->storage, result, error))

CALL (storage_truncate,
      imago_storage_truncate (subject->storage, 100 * CLUSTER, cancellable, error),
      imago_storage_truncate_async (subject->storage, 100 * CLUSTER, 0, cancellable, callback, data),
      imago_storage_truncate_finish (subject->storage, result, error))

CALL (storage_flush,
      imago_storage_flush (subject->storage, cancellable, error),
      imago_storage_flush_async (subject->storage, 0, cancellable, callback, data),
      imago_storage_flush_finish (subject->storage, result, error))

/* ---- jobs ---- */

static ImagoJob *
measure_job_new (ImagoImage *image)
{
  g_autoptr (ImagoCreateOptions) options =
    g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", NULL);

  return IMAGO_JOB (imago_measure_job_new (image, options));
}

/* A stream that hangs because a disk in @storage does. The disk has room for what the stream cannot grow by. */
static GIOStream *
disk_stream_new (ImagoStorage *storage)
{
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  imago_storage_truncate (storage, STREAM_SIZE, NULL, &error);
  g_assert_no_error (error);
  image = open_image (storage, "raw");
  return imago_image_create_io_stream (image);
}

/* A job with a stream of the application's: where the disk comes from, or where the image goes. */
static ImagoJob *
stream_job_new (Case *subject, const char *kind)
{
  gboolean hangs = g_str_equal (kind, "convert-to-hanging-stream");
  g_autoptr (ImagoStorage) memory = test_memory_new (original);
  g_autoptr (ImagoImage) source = hangs ? open_image (memory, "raw") : g_object_ref (subject->image);
  g_autoptr (ImagoStorage) target = hangs ? g_object_ref (subject->storage) : imago_memory_storage_new_writable (0);
  g_autoptr (GInputStream) input = NULL;
  GIOStream *output;

  if (g_str_equal (kind, "convert-from-stream"))
    {
      input = imago_image_create_input_stream (source);
      return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source-stream", input, "destination", make_file (subject, FALSE),
                           NULL);
    }
  output = disk_stream_new (target);
  subject->stream = G_OBJECT (output);
  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", source, "target-stream",
                       g_io_stream_get_output_stream (output), "format-name",
                       g_str_equal (kind, "convert-to-raw-stream") ? "raw" : "qcow2", NULL);
}

/* It may live on when the call has gone. */
static ImagoJob *
job_new (Case *subject)
{
  const char *kind = subject->row->variant;
  ImagoImage *image = subject->image;

  if (strstr (kind, "-stream") != NULL)
    return stream_job_new (subject, kind);

  if (g_str_equal (kind, "check"))
    return IMAGO_JOB (imago_check_job_new (subject->storage, "qcow2"));
  if (g_str_equal (kind, "repair"))
    return g_object_new (IMAGO_TYPE_CHECK_JOB, "storage", subject->storage, "format-name", "qcow2",
                         "repair", IMAGO_REPAIR_ALL, NULL);
  if (g_str_equal (kind, "convert"))
    return IMAGO_JOB (imago_convert_job_new (image, make_file (subject, FALSE)));
  if (g_str_equal (kind, "compare"))
    return IMAGO_JOB (imago_compare_job_new (image, subject->other));
  if (g_str_equal (kind, "convert-into"))
    return IMAGO_JOB (imago_convert_job_new_for_image (subject->other, image));
  if (g_str_equal (kind, "commit"))
    return IMAGO_JOB (imago_commit_job_new (subject->other, image));
  if (g_str_equal (kind, "rebase"))
    return IMAGO_JOB (imago_rebase_job_new (subject->other, NULL, NULL, NULL));
  if (g_str_equal (kind, "measure"))
    return measure_job_new (image);
  if (g_str_equal (kind, "compact"))
    return IMAGO_JOB (imago_compact_job_new (image));
  if (g_str_equal (kind, "rewrite"))
    return g_object_new (IMAGO_TYPE_COMPACT_JOB, "image", image, "method", IMAGO_COMPACT_METHOD_REWRITE, NULL);
  g_assert_cmpstr (kind, ==, "resize");
  return IMAGO_JOB (imago_resize_job_new (image, subject->row->size));
}

CALL (job,
      imago_job_run (subject->job, cancellable, error),
      imago_job_run_async (subject->job, 0, cancellable, callback, data),
      imago_job_run_finish (subject->job, result, error))

/* It ends when the hook has answered, and then nothing holds it any more; no file has been made. */
static void
end_job (Case *subject, gboolean was_left)
{
  gboolean is_freed = FALSE;

  if (subject->job == NULL)
    return;
  while (imago_job_get_phase (subject->job) != IMAGO_JOB_PHASE_DONE)
    g_main_context_iteration (NULL, TRUE);
  g_object_weak_ref (G_OBJECT (subject->job), job_freed_cb, &is_freed);
  g_object_unref (g_steal_pointer (&subject->job));
  while (!is_freed)
    g_main_context_iteration (NULL, TRUE);
  if (subject->file != NULL)
    g_assert_true (g_file_query_exists (subject->file, NULL) == !was_left);
}

/* ---- all of them ---- */

#define BOTH(name) block_##name, start_##name, finish_##name
#define WRITES BECOMES_NEW, WRITE_OFFSET, WRITE_COUNT, 0, FALSE
#define READS BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 0, FALSE
#define JOB block_job, start_job, finish_job

static const Row rows[] = {
  { "imago_image_read_bytes", NULL, SUBJECT_IMAGE, READS, BOTH (read_bytes) },
  { "imago_image_read_at", NULL, SUBJECT_IMAGE, READS, block_read_at, NULL, NULL },
  { "imago_image_readv_at", NULL, SUBJECT_IMAGE, READS, block_readv_at, NULL, NULL },
  { "imago_image_query_info", NULL, SUBJECT_LISTED, READS, BOTH (query_info) },
  { "imago_image_list_snapshots", NULL, SUBJECT_LISTED, READS, BOTH (list_snapshots) },
  { "imago_image_map", NULL, SUBJECT_IMAGE, READS, BOTH (map) },
  { "imago_image_map_extents", NULL, SUBJECT_IMAGE, READS, BOTH (map_extents) },
  { "imago_image_splice", NULL, SUBJECT_IMAGE, READS, BOTH (splice) },
  { "imago_image_create_input_stream", "read", SUBJECT_IMAGE, READS, BOTH (stream_read) },
  { "imago_image_write_bytes", NULL, SUBJECT_IMAGE, WRITES, BOTH (write_bytes) },
  { "imago_image_write_at", NULL, SUBJECT_IMAGE, WRITES, block_write_at, NULL, NULL },
  { "imago_image_writev_at", NULL, SUBJECT_IMAGE, WRITES, block_writev_at, NULL, NULL },
  { "imago_image_write_compressed", NULL, SUBJECT_IMAGE, BECOMES_NEW, COMPRESSED_OFFSET, 2 * CLUSTER, 0, FALSE,
    BOTH (write_compressed) },
  { "imago_image_read_vm_state", NULL, SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 0, TRUE,
    BOTH (read_vm_state) },
  { "imago_image_write_vm_state", NULL, SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 0, TRUE,
    BOTH (write_vm_state) },
  { "imago_image_write_zeroes", NULL, SUBJECT_IMAGE, BECOMES_ZERO, ZERO_OFFSET, ZERO_COUNT, 0, FALSE,
    BOTH (write_zeroes) },
  { "imago_image_discard", NULL, SUBJECT_IMAGE, BECOMES_ZERO, ZERO_OFFSET, ZERO_COUNT, 0, FALSE, BOTH (discard) },
  { "imago_image_write_bytes", "raw", SUBJECT_RAW, WRITES, BOTH (write_bytes) },
  { "imago_image_write_zeroes", "raw", SUBJECT_RAW, BECOMES_ZERO, ZERO_OFFSET, ZERO_COUNT, 0, FALSE,
    BOTH (write_zeroes) },
  { "imago_image_discard", "raw", SUBJECT_RAW, BECOMES_ZERO, ZERO_OFFSET, ZERO_COUNT, 0, FALSE, BOTH (discard) },
  { "imago_image_resize", "raw", SUBJECT_RAW, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 5 * CLUSTER, TRUE, BOTH (resize) },
  { "imago_image_create_io_stream", "write", SUBJECT_IMAGE, WRITES, BOTH (stream_write) },
  { "imago_image_create_io_stream", "flush", SUBJECT_WRITTEN, READS, BOTH (stream_flush) },
  { "imago_batch_run", NULL, SUBJECT_IMAGE, WRITES, BOTH (batch) },
  { "imago_image_flush", NULL, SUBJECT_WRITTEN, READS, BOTH (flush) },
  { "imago_image_resize", "grow", SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 2 * SIZE, TRUE, BOTH (resize) },
  { "imago_image_resize", "shrink", SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 5 * CLUSTER, TRUE,
    BOTH (resize) },
  { "imago_image_close", NULL, SUBJECT_WRITTEN, READS, BOTH (close) },
  { "imago_image_open_references", NULL, SUBJECT_DEFERRED, READS, BOTH (open_references) },
  { "imago_image_open", NULL, SUBJECT_STORAGE, READS, BOTH (open) },
  { "imago_image_open_storage", NULL, SUBJECT_STORAGE, READS, BOTH (open_storage) },
  { "imago_image_create", NULL, SUBJECT_STORAGE, BECOMES_ANYTHING, 0, 0, 0, FALSE, BOTH (create) },
  { "imago_image_create_storage", NULL, SUBJECT_STORAGE, BECOMES_ANYTHING, 0, 0, 0, FALSE, BOTH (create_storage) },
  { "imago_job_run", "check", SUBJECT_STORAGE, READS, JOB },
  { "imago_job_run", "repair", SUBJECT_STORAGE, READS, JOB },
  { "imago_job_run", "convert", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "convert-to-stream", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "convert-to-raw-stream", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "convert-from-stream", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "convert-to-hanging-stream", SUBJECT_STORAGE, BECOMES_ANYTHING, 0, 0, 0, FALSE, JOB },
  { "imago_job_run", "rewrite", SUBJECT_WRITTEN, READS, JOB, IMAGO_ERROR_NOT_REGULAR_FILE },
  { "imago_job_run", "convert-into", SUBJECT_IMAGE, BECOMES_NEW, 5 * CLUSTER, 2 * CLUSTER, 0, FALSE,
    JOB },
  { "imago_job_run", "compare", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "commit", SUBJECT_IMAGE, BECOMES_NEW, 5 * CLUSTER, 2 * CLUSTER, 0, FALSE,
    JOB },
  { "imago_job_run", "rebase", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "measure", SUBJECT_IMAGE, READS, JOB },
  { "imago_job_run", "compact", SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 0, FALSE,
    JOB },
  { "imago_job_run", "resize", SUBJECT_IMAGE, BECOMES_OLD, 3 * CLUSTER, LATER_COUNT, 2 * SIZE, TRUE,
    JOB },
  { "imago_format_probe", NULL, SUBJECT_STORAGE, READS, BOTH (probe) },
  { "imago_storage_query_size", NULL, SUBJECT_STORAGE, READS, BOTH (query_size) },
  { "imago_storage_read_bytes", NULL, SUBJECT_STORAGE, READS, BOTH (storage_read) },
  { "imago_storage_write_bytes", NULL, SUBJECT_STORAGE, BECOMES_NEW, CLUSTER, READ_COUNT, 0, FALSE,
    BOTH (storage_write) },
  { "imago_storage_write_zeroes", NULL, SUBJECT_STORAGE, BECOMES_ZERO, CLUSTER, READ_COUNT, 0, FALSE,
    BOTH (storage_zeroes) },
  { "imago_storage_discard", NULL, SUBJECT_STORAGE, BECOMES_ZERO, CLUSTER, READ_COUNT, 0, FALSE,
    BOTH (storage_discard) },
  { "imago_storage_truncate", NULL, SUBJECT_STORAGE, BECOMES_OLD, 0, 0, 100 * CLUSTER, FALSE, BOTH (storage_truncate) },
  { "imago_storage_flush", NULL, SUBJECT_STORAGE, READS, BOTH (storage_flush) },
};

/* ---- what qemu-img says ---- */

static GHashTable *judged; /* from files to the disks in them, both of GBytes */

/* The exit code; -1 if there is no such program. Without a thread of GIO, whose locks ThreadSanitizer does not know. */
static int
run_qemu_img (const char *const *arguments)
{
  const GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL;
  g_autoptr (GError) error = NULL;
  int status;

  if (!g_spawn_sync (NULL, (char **) arguments, NULL, flags, NULL, NULL, NULL, NULL, &status, &error))
    {
      g_assert_error (error, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT);
      return -1;
    }
  g_assert_true (WIFEXITED (status));
  return WEXITSTATUS (status);
}

static GBytes *
read_disk_with_qemu (GBytes *content, gboolean may_leak)
{
  g_autofree char *folder = test_folder_new ();
  GByteArray *copy = g_byte_array_new ();
  g_autofree char *raw = test_path (folder, "raw");
  g_autofree char *path = NULL;
  char *disk = NULL;
  gsize size = 0;
  int code;

  g_byte_array_append (copy, g_bytes_get_data (content, NULL), (guint) g_bytes_get_size (content));
  path = test_write (folder, "qcow2", copy);
  code = run_qemu_img ((const char *[]) { "qemu-img", "check", "-q", "-f", "qcow2", path, NULL });
  if (code >= 0)
    {
      g_assert_true (code == 0 || (may_leak && code == 3));
      code =
        run_qemu_img ((const char *[]) { "qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw, NULL });
      g_assert_cmpint (code, ==, 0);
      g_assert_true (g_file_get_contents (raw, &disk, &size, NULL));
    }
  test_folder_remove (g_steal_pointer (&folder));
  return disk != NULL ? g_bytes_new_take (disk, size) : NULL;
}

/* The same file is often left; NULL if there is no qemu-img. */
static GBytes *
find_disk (GBytes *content, gboolean may_leak)
{
  GBytes *disk = g_hash_table_lookup (judged, content);

  if (disk != NULL)
    return disk;
  disk = read_disk_with_qemu (content, may_leak);
  if (disk != NULL)
    g_hash_table_insert (judged, g_bytes_ref (content), disk);
  return disk;
}

/* @later: where something else was written, or may have been if not @has_later. */
static void
check_byte (const Row *row, guint64 i, guint8 old, guint8 found, guint64 later, gboolean has_later)
{
  gboolean is_inside = i >= row->offset && i < row->offset + row->length;
  gboolean is_later = i >= later && i < later + LATER_COUNT;

  if (has_later && is_later)
    g_assert_cmpuint (found, ==, LATER_BYTE);
  else if (found != old && !(is_later && found == LATER_BYTE))
    {
      g_assert_true (is_inside && row->effect != BECOMES_OLD);
      g_assert_cmpuint (found, ==, row->effect == BECOMES_NEW ? NEW_BYTE : 0);
    }
}

static void
check_bytes (const Row *row, const guint8 *old, const guint8 *found, guint64 size, guint64 later, gboolean has_later)
{
  for (guint64 i = 0; i < size; i += 512)
    if ((i + 512 > later && i < later + LATER_COUNT) || memcmp (old + i, found + i, MIN (512, size - i)) != 0)
      for (guint64 k = i; k < MIN (i + 512, size); k++)
        check_byte (row, k, old[k], found[k], later, has_later);
}

/* ---- one case ---- */

static gboolean
has_image (const Row *row)
{
  return row->subject == SUBJECT_IMAGE || row->subject == SUBJECT_WRITTEN || row->subject == SUBJECT_LISTED ||
         row->subject == SUBJECT_RAW;
}

/* Takes @bytes. */
static void
write_to (ImagoImage *image, guint64 offset, GBytes *bytes)
{
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, offset, bytes, NULL, &error);
  g_assert_no_error (error);
  g_bytes_unref (bytes);
}

static void
write_somewhere (ImagoImage *image, guint64 offset, gsize count, guint8 seed)
{
  write_to (image, offset, test_to_bytes (test_pattern_new (count, seed)));
}

static GBytes *
add_snapshot (GBytes *content)
{
  g_autofree char *folder = test_folder_new ();
  GByteArray *copy = g_byte_array_new ();
  g_autofree char *path = NULL;
  char *file = NULL;
  gsize size = 0;
  int code;

  g_byte_array_append (copy, g_bytes_get_data (content, NULL), (guint) g_bytes_get_size (content));
  path = test_write (folder, "qcow2", copy);
  code = run_qemu_img ((const char *[]) { "qemu-img", "snapshot", "-c", "one", path, NULL });
  g_assert_cmpint (code, <=, 0);
  if (code == 0)
    g_assert_true (g_file_get_contents (path, &file, &size, NULL));
  test_folder_remove (g_steal_pointer (&folder));
  return file != NULL ? g_bytes_new_take (file, size) : NULL;
}

static void
make_original (void)
{
  g_autoptr (GBytes) empty = test_to_bytes (test_qcow2_new (&(TestQcow2) { .size = SIZE }));
  g_autoptr (ImagoStorage) storage = test_memory_new (empty);
  g_autoptr (ImagoImage) image = open_image (storage, "qcow2");
  g_autoptr (GBytes) original_state = g_bytes_new_take (g_malloc0 (2 * CLUSTER), 2 * CLUSTER);
  g_autoptr (GError) error = NULL;

  write_somewhere (image, 2 * CLUSTER, 5 * CLUSTER, 3);
  imago_image_write_vm_state (image, 0, original_state, NULL, &error);
  g_assert_no_error (error);
  original_disk = imago_image_read_bytes (image, 0, SIZE, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
  original = test_storage_read_all (storage);
  listed = add_snapshot (original);
}

static ImagoImage *
open_deferred (Case *subject)
{
  g_autoptr (GBytes) content = test_to_bytes (overlay_new ());
  g_autoptr (ImagoStorage) storage = test_memory_new (content);
  ImagoOpenOptions *options = open_options_of (subject);
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_defer_references (options, TRUE);
  image = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

/* What the job works on beside the image that may hang: another disk with the same data, one that
 * it becomes by that, or one above it. */
static ImagoImage *
open_other (Case *subject)
{
  const char *kind = subject->row->variant;
  gboolean is_above = g_str_equal (kind, "commit") || g_str_equal (kind, "rebase");
  g_autoptr (GBytes) overlay = test_to_bytes (overlay_new ());
  g_autoptr (ImagoStorage) storage = test_memory_new (is_above ? overlay : original);
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE,
                  "defer-references", is_above, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  if (is_above)
    imago_image_set_backing (image, subject->image, &error);
  g_assert_no_error (error);
  if (is_above)
    imago_image_open_references (image, NULL, &error);
  g_assert_no_error (error);
  if (g_str_equal (kind, "convert-into") || g_str_equal (kind, "commit"))
    write_to (image, subject->row->offset, new_bytes (subject->row->length));
  return image;
}

static void
carrier_freed_cb (gpointer data, GObject *where_it_was)
{
  *(gboolean *) data = TRUE;
}

static ImagoStorage *
stream_storage_new (ImagoStorage *carrier)
{
  g_autoptr (GIOStream) stream = disk_stream_new (carrier);

  return imago_stream_storage_new_for_io (stream);
}

static void
case_init (Case *subject, const Row *row, gboolean in_stream)
{
  *subject = (Case) { .row = row, .in_stream = in_stream };
  subject->base = test_memory_new (row->subject == SUBJECT_LISTED ? listed : original);
  subject->carrier = test_carrier_new (subject->base);
  g_object_weak_ref (G_OBJECT (subject->carrier), carrier_freed_cb, &subject->is_freed);
  subject->storage =
    in_stream ? stream_storage_new (subject->carrier) : g_object_ref (subject->carrier);
  if (has_image (row))
    subject->image = open_image (subject->storage, row->subject == SUBJECT_RAW ? "raw" : "qcow2");
  if (row->subject == SUBJECT_WRITTEN)
    write_somewhere (subject->image, 2 * CLUSTER, 5 * CLUSTER, 3); /* as it is already */
  if (row->subject == SUBJECT_WRITTEN)
    write_somewhere (subject->image, 12 * CLUSTER, 1, 0);
  if (row->subject == SUBJECT_DEFERRED)
    subject->image = open_deferred (subject);
  if (row->start != start_job)
    return;
  if (has_image (row))
    subject->other = open_other (subject);
  subject->job = job_new (subject);
}

/* Nobody has anything of it any more. */
static void
case_clear (Case *subject)
{
  g_clear_object (&subject->batch);
  g_clear_object (&subject->stream);
  g_clear_pointer (&subject->bytes, g_bytes_unref);
  g_clear_object (&subject->options); /* whose policy has the storage */
  g_clear_object (&subject->image);
  g_clear_object (&subject->storage);
  g_clear_object (&subject->carrier);
  while (!subject->is_freed)
    g_main_context_iteration (NULL, TRUE);
  g_clear_object (&subject->base);
  g_clear_object (&subject->file);
  g_free (subject->memory);
  if (subject->folder != NULL)
    test_folder_remove (subject->folder);
}

/* ---- a caller ---- */

typedef struct
{
  Case *subject;
  GCancellable *cancellable;
  gboolean is_async;
  GThread *thread;
  gint done;            /* atomic */
  gboolean success;
  GAsyncResult *result; /* owned */
  guint n_calls;
  GError *error;
  gint64 cancelled; /* when, of the monotonic clock; 0: never */
  gint64 returned;
} Caller;

static gpointer
caller_thread (gpointer data)
{
  Caller *caller = data;

  caller->success = caller->subject->row->block (caller->subject, caller->cancellable, &caller->error);
  caller->returned = g_get_monotonic_time ();
  g_atomic_int_set (&caller->done, TRUE);
  g_main_context_wakeup (NULL);
  return NULL;
}

static void
caller_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Caller *caller = data;

  caller->n_calls++;
  caller->returned = g_get_monotonic_time ();
  g_set_object (&caller->result, result);
  g_atomic_int_set (&caller->done, TRUE);
}

static void
caller_begin (Caller *caller, Case *subject, gboolean is_async)
{
  *caller = (Caller) { .subject = subject, .cancellable = g_cancellable_new (), .is_async = is_async };
  if (is_async)
    subject->row->start (subject, caller->cancellable, caller_cb, caller);
  else
    caller->thread = g_thread_new ("caller", caller_thread, caller);
}

/* When the hook holds the request, or never will. */
static gboolean
caller_is_held (Caller *caller)
{
  TestCarrier *carrier = TEST_CARRIER (caller->subject->carrier);

  while (!test_carrier_is_holding (carrier) && !g_atomic_int_get (&caller->done))
    g_main_context_iteration (NULL, TRUE);
  return test_carrier_is_holding (carrier);
}

/* A blocking call needs no main loop to return. */
static void
caller_join (Caller *caller)
{
  if (caller->is_async)
    while (caller->result == NULL)
      g_main_context_iteration (NULL, TRUE);
  else
    g_thread_join (g_steal_pointer (&caller->thread));
  if (caller->is_async)
    caller->success = caller->subject->row->finish (caller->subject, caller->result, &caller->error);
  g_clear_object (&caller->result);
}

static void
caller_cancel (Caller *caller)
{
  caller->cancelled = g_get_monotonic_time ();
  g_cancellable_cancel (caller->cancellable);
}

static void
caller_check (Caller *caller)
{
  const Row *row = caller->subject->row;

  if (caller->cancelled != 0)
    g_assert_error (caller->error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  else if (row->refusal != 0)
    g_assert_error (caller->error, IMAGO_ERROR, (int) row->refusal);
  else
    g_assert_no_error (caller->error);
  g_assert_true (caller->success == (caller->error == NULL));
}

/* The longest time between cancelling and the answer, in microseconds. It is told, and decides nothing: how long it is
 * depends on what else the machine does. */
static gint64 longest_wait[2]; /* of blocking calls, of asynchronous ones */
static char *longest_path[2];

static void
caller_clear (Caller *caller)
{
  gint64 wait = caller->returned - caller->cancelled;

  if (caller->cancelled != 0 && wait > longest_wait[caller->is_async])
    {
      longest_wait[caller->is_async] = wait;
      g_free (longest_path[caller->is_async]);
      longest_path[caller->is_async] = g_strdup (g_test_get_path ());
    }
  g_assert_cmpuint (caller->n_calls, ==, caller->is_async ? 1 : 0);
  g_clear_error (&caller->error);
  g_object_unref (caller->cancellable);
}

/* ---- what comes later ---- */

typedef struct
{
  GAsyncResult *result; /* owned */
} Answer;

static void
answer_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  ((Answer *) data)->result = g_object_ref (result);
}

static GAsyncResult *
wait_for (Answer *answer)
{
  while (answer->result == NULL)
    g_main_context_iteration (NULL, TRUE);
  return answer->result;
}

/* Which keeps changes away until it has ended. */
static gboolean
is_rewrite (const Row *row)
{
  return g_strcmp0 (row->variant, "rewrite") == 0;
}

static gboolean
is_dropped (const GError *error)
{
  return g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_FAILED) &&
         strstr (error->message, "dropped a request") != NULL;
}

static gboolean
can_write (const Row *row)
{
  return has_image (row) && row->block != block_close;
}

static void
start_later (Case *subject, Answer *answer)
{
  guint8 *memory = g_malloc (LATER_COUNT);
  g_autoptr (GBytes) bytes = NULL;

  memset (memory, LATER_BYTE, LATER_COUNT);
  bytes = g_bytes_new_take (memory, LATER_COUNT);
  imago_image_write_bytes_async (subject->image, subject->later, bytes, 0, NULL, answer_cb, answer);
  for (guint i = 0; i < 10; i++)
    g_main_context_iteration (NULL, FALSE);
  if (subject->row->keeps_others_out)
    g_assert_null (answer->result);
}

/* Only what ends badly may have spoilt the image for others; or the table that both have waited for was not read. */
static gboolean
finish_later (Case *subject, Answer *answer, gboolean well)
{
  g_autoptr (GError) error = NULL;
  gboolean success = imago_image_write_bytes_finish (subject->image, wait_for (answer), &error);

  if (is_rewrite (subject->row))
    g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED);
  else if (!well && !success)
    g_assert_true (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_FLUSH_FAILED) ||
                   g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE) || is_dropped (error));
  else
    g_assert_no_error (error);
  g_clear_object (&answer->result);
  return success;
}

static void
close_image (Case *subject, gboolean well)
{
  g_autoptr (GError) error = NULL;
  Answer answer = { 0 };
  gboolean success;

  imago_image_close_async (subject->image, 0, NULL, answer_cb, &answer);
  success = imago_image_close_finish (subject->image, wait_for (&answer), &error);
  if (well)
    g_assert_no_error (error);
  g_assert_true (success || error != NULL);
  g_clear_object (&answer.result);
}

/* ---- the verdict ---- */

static void
judge_image (const Row *row, GBytes *content, gboolean well, guint64 later, gboolean has_later)
{
  GBytes *disk = find_disk (content, !well);
  guint64 size = disk != NULL ? g_bytes_get_size (disk) : 0;

  if (disk == NULL)
    return;
  g_assert_true (size == SIZE || (row->size != 0 && size == row->size));
  check_bytes (row, g_bytes_get_data (original_disk, NULL), g_bytes_get_data (disk, NULL), MIN (size, SIZE),
               later, has_later);
}

/* What a storage was asked for itself is done if the hook says so. */
static void
judge_storage (const Row *row, GBytes *content, gboolean well, guint64 later, gboolean has_later)
{
  gsize size;
  const guint8 *found = g_bytes_get_data (content, &size);
  const guint8 *old = g_bytes_get_data (original, NULL);

  if (row->effect == BECOMES_ANYTHING)
    return;
  check_bytes (row, old, found, MIN (size, g_bytes_get_size (original)), later, has_later);
  if (well && row->subject == SUBJECT_STORAGE && row->effect == BECOMES_NEW)
    g_assert_cmpuint (found[row->offset], ==, NEW_BYTE);
  g_assert_true (size == g_bytes_get_size (original) || size == row->size || size == STREAM_SIZE);
}

static void
let_go (Case *subject, Ending ending)
{
  g_autoptr (GError) failure = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_NO_SPACE, "The shelf is full");

  if (ending == ENDING_DROPPED)
    test_carrier_drop (TEST_CARRIER (subject->carrier));
  else
    test_carrier_let_go (TEST_CARRIER (subject->carrier), ending == ENDING_WELL ? NULL : failure);
}

/* Its caller has gone, if it was held: something else is written, then the hook ends the request. Returns whether that
 * was written. */
static gboolean
go_on_without_caller (Case *subject, gboolean is_held, Ending ending)
{
  gboolean writes = is_held && can_write (subject->row);
  gboolean has_later = FALSE;
  Answer later = { 0 };

  if (writes)
    start_later (subject, &later);
  let_go (subject, ending);
  if (writes)
    has_later = finish_later (subject, &later, ending == ENDING_WELL);
  end_job (subject, is_held || subject->row->refusal != 0);
  if (!writes || !is_rewrite (subject->row) || ending != ENDING_WELL)
    return has_later;
  start_later (subject, &later);
  g_assert_true (imago_image_write_bytes_finish (subject->image, wait_for (&later), NULL));
  g_clear_object (&later.result);
  return TRUE;
}

/* @well: nothing has failed. */
static void
end_case (Case *subject, Caller *caller, gboolean well, gboolean has_later)
{
  g_autoptr (ImagoStorage) base = g_object_ref (subject->base);
  const Row *row = subject->row;
  g_autoptr (GBytes) content = NULL;

  g_clear_object (&subject->other);
  if (subject->image != NULL)
    close_image (subject, well);
  case_clear (subject);
  content = test_storage_read_all (base);
  if (has_image (row) && row->subject != SUBJECT_RAW)
    judge_image (row, content, well, subject->later, has_later);
  else
    judge_storage (row, content, well && caller->cancelled != 0, subject->later, has_later);
  caller_clear (caller);
}

/* Returns whether the hook holds request @n. */
static gboolean
begin_case (Case *subject, Caller *caller, const Row *row, gboolean in_stream, gboolean is_async, guint n)
{
  case_init (subject, row, in_stream);
  test_carrier_hold (TEST_CARRIER (subject->carrier), n);
  caller_begin (caller, subject, is_async);
  return caller_is_held (caller);
}

/* FALSE: the call does not make that many requests. */
static gboolean
try_case (const Row *row, gboolean in_stream, gboolean is_async, guint n, Ending ending)
{
  gboolean has_later;
  gboolean is_held;
  Caller caller;
  Case subject;

  is_held = begin_case (&subject, &caller, row, in_stream, is_async, n);
  /* Near one end of what is changed, then near the other. */
  subject.later = (n + ending) % 2 != 0 ? row->offset + 300 : row->offset + row->length - MIN (row->length, 1300);
  if (is_held)
    caller_cancel (&caller);
  caller_join (&caller);
  g_assert_true (test_carrier_is_holding (TEST_CARRIER (subject.carrier)) == is_held);
  caller_check (&caller);
  has_later = go_on_without_caller (&subject, is_held, ending);
  end_case (&subject, &caller, ending == ENDING_WELL || !is_held, has_later);
  return is_held;
}

/* Nobody cancels: it fails, unless it can do without what was asked for. */
static gboolean
try_dropped (const Row *row, gboolean is_async, guint n)
{
  gboolean is_held;
  Caller caller;
  Case subject;

  is_held = begin_case (&subject, &caller, row, FALSE, is_async, n);
  let_go (&subject, ENDING_DROPPED);
  while (!g_atomic_int_get (&caller.done)) /* it may go on, and ask the hook again */
    g_main_context_iteration (NULL, TRUE);
  caller_join (&caller);
  if (is_held && !caller.success)
    g_assert_true (is_dropped (caller.error));
  else
    caller_check (&caller);
  end_job (&subject, !caller.success);
  end_case (&subject, &caller, !is_held, FALSE);
  return is_held;
}

/* ---- the matrix ---- */

static gboolean
can_try (const Row *row)
{
  return row->subject != SUBJECT_LISTED || listed != NULL;
}

static void
try_requests (const Row *row, gboolean in_stream, gboolean is_async, Ending ending)
{
  guint n = 0;

  while (n < MAX_HELD && try_case (row, in_stream, is_async, n, ending))
    n++;
  g_assert_cmpuint (n, <, MAX_HELD);
  g_assert_cmpuint (n, >, 0);
  g_test_message ("%u requests", n);
}

static void
try_row (const Row *row, gboolean is_async)
{
  if (!can_try (row))
    {
      g_test_skip ("qemu-img is not installed");
      return;
    }
  for (Ending ending = ENDING_WELL; ending < N_ENDINGS; ending++)
    if (ending != ENDING_DROPPED || row->start == start_job)
      try_requests (row, FALSE, is_async, ending);
}

static void
test_blocking (gconstpointer row)
{
  try_row (row, FALSE);
}

static void
test_async (gconstpointer row)
{
  try_row (row, TRUE);
}

/* Who waits for the answer does not depend on where it comes from: the first request is enough for a call, and a job
 * has more places where it looks. */
static void
test_stream (gconstpointer data)
{
  const Row *row = data;

  if (row->start == start_job)
    try_requests (row, TRUE, FALSE, ENDING_WELL);
  else if (can_try (row))
    try_case (row, TRUE, FALSE, 0, ENDING_WELL);
}

static void
test_dropped (gconstpointer row)
{
  guint n = 0;

  while (try_dropped (row, n % 2 != 0, n))
    n++;
  g_assert_cmpuint (n, >, 0);
}

/* ---- what is told later ---- */

static const Row *
find_row (const char *function, const char *variant)
{
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    if (g_str_equal (rows[i].function, function) && g_strcmp0 (rows[i].variant, variant) == 0)
      return &rows[i];
  g_assert_not_reached ();
}

typedef struct
{
  GThread *thread; /* where it has to be told */
  guint64 size;    /* the last one; 0: nobody has told */
} Told;

static void
wait_until_held (Case *subject)
{
  while (!test_carrier_is_holding (TEST_CARRIER (subject->carrier)))
    g_main_context_iteration (NULL, TRUE);
}

static void
size_cb (GObject *image, GParamSpec *pspec, gpointer data)
{
  Told *told = data;

  g_assert_true (g_thread_self () == told->thread);
  told->size = imago_image_get_size (IMAGO_IMAGE (image));
}

/* A disk gets its size when its caller has gone: who made the call in the main loop's thread is
 * told there. */
static void
try_late_size (const Row *row)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  Told told = { g_thread_self (), 0 };
  Answer answer = { 0 };
  Case subject;

  case_init (&subject, row, FALSE);
  g_signal_connect (subject.image, "notify::size", G_CALLBACK (size_cb), &told);
  test_carrier_hold (TEST_CARRIER (subject.carrier), 0);
  row->start (&subject, cancellable, answer_cb, &answer);
  wait_until_held (&subject);
  g_cancellable_cancel (cancellable);
  g_assert_false (row->finish (&subject, wait_for (&answer), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_object (&answer.result);
  g_assert_cmpuint (told.size, ==, 0);
  test_carrier_let_go (TEST_CARRIER (subject.carrier), NULL);
  while (told.size == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (told.size, ==, imago_image_get_size (subject.image));
  end_job (&subject, TRUE);
  g_clear_object (&subject.other);
  close_image (&subject, TRUE);
  case_clear (&subject);
}

static void
test_late_size (void)
{
  try_late_size (find_row ("imago_image_resize", "grow"));
  try_late_size (find_row ("imago_job_run", "resize"));
}

/* While a call that was left behind opens them another one is told so, and opens them later. */
static void
test_references_again (void)
{
  const Row *row = find_row ("imago_image_open_references", NULL);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Answer answers[2] = { { 0 } };
  g_autoptr (GError) error = NULL;
  Case subject;

  case_init (&subject, row, FALSE);
  test_carrier_hold (TEST_CARRIER (subject.carrier), 0);
  row->start (&subject, cancellable, answer_cb, &answers[0]);
  wait_until_held (&subject);
  g_cancellable_cancel (cancellable);
  g_assert_false (row->finish (&subject, wait_for (&answers[0]), &error));
  g_clear_error (&error);
  row->start (&subject, NULL, answer_cb, &answers[1]);
  g_assert_false (row->finish (&subject, wait_for (&answers[1]), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BUSY);
  g_clear_object (&answers[0].result);
  test_carrier_let_go (TEST_CARRIER (subject.carrier), NULL);
  do
    {
      g_clear_object (&answers[1].result);
      g_clear_error (&error);
      row->start (&subject, NULL, answer_cb, &answers[1]);
      wait_for (&answers[1]);
    }
  while (!row->finish (&subject, answers[1].result, &error));
  g_assert_no_error (error);
  g_clear_object (&answers[1].result);
  close_image (&subject, TRUE);
  case_clear (&subject);
}

/* ---- all of it ---- */

/* Whoever makes a new call writes a row for it. */
static void
test_complete (void)
{
  static const char *const prefixes[] = { "imago_image_", "imago_storage_", "imago_batch_",
                                          "imago_job_run" };

  for (guint i = 0; i < G_N_ELEMENTS (test_starters); i++)
    {
      gboolean is_ours = FALSE, is_there = FALSE;

      for (guint k = 0; k < G_N_ELEMENTS (prefixes); k++)
        is_ours |= g_str_has_prefix (test_starters[i].function, prefixes[k]);
      for (guint k = 0; k < G_N_ELEMENTS (rows); k++)
        is_there |= g_str_equal (test_starters[i].function, rows[k].function);
      if (is_ours && !is_there)
        g_error ("%s is not tried", test_starters[i].function);
    }
}

static void
add_tests (const Row *row)
{
  const struct
  {
    const char *name;
    GTestDataFunc func;
    gboolean exists;
  } tests[] = {
    { "blocking", test_blocking, row->block != NULL },
    { "async", test_async, row->start != NULL },
    { "stream", test_stream, row->block != NULL },
    { "dropped", test_dropped, row->start == start_job },
  };

  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    {
      g_autofree char *path = g_strdup_printf ("/hook-cancel/%s%s%s/%s", row->function, row->variant != NULL ? "-" : "",
                                               row->variant != NULL ? row->variant : "", tests[i].name);

      if (tests[i].exists)
        g_test_add_data_func (path, row, tests[i].func);
    }
}

static void
start_write (Case *subject, guint8 byte, GCancellable *cancellable, Answer *answer)
{
  g_autoptr (GByteArray) array = g_byte_array_new ();
  g_autoptr (GBytes) bytes = NULL;

  g_byte_array_set_size (array, 512);
  memset (array->data, byte, array->len);
  bytes = g_byte_array_free_to_bytes (g_steal_pointer (&array));
  imago_image_write_bytes_async (subject->image, 3 * CLUSTER, bytes, 0, cancellable, answer_cb, answer);
}

/* Whoever cancels while another one writes in the same place changes nothing when that one has ended: it looks once more
 * when its turn has come. */
static void
test_cancelled_in_line (void)
{
  g_autoptr (GCancellable) never = g_cancellable_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GBytes) found = NULL;
  g_autoptr (GError) error = NULL;
  Answer answers[2] = { { 0 } };
  Case subject;

  case_init (&subject, find_row ("imago_image_write_bytes", NULL), FALSE);
  test_carrier_hold (TEST_CARRIER (subject.carrier), 0);
  start_write (&subject, 'A', never, &answers[0]);
  wait_until_held (&subject);
  start_write (&subject, 'B', cancellable, &answers[1]);
  g_usleep (20000); /* for a worker to get in line; if none does the test proves less */
  g_cancellable_cancel (cancellable);
  g_assert_false (imago_image_write_bytes_finish (subject.image, wait_for (&answers[1]), &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  test_carrier_let_go (TEST_CARRIER (subject.carrier), NULL);
  imago_image_write_bytes_finish (subject.image, wait_for (&answers[0]), &error);
  g_assert_no_error (error);
  g_clear_object (&answers[0].result);
  g_clear_object (&answers[1].result);
  close_image (&subject, TRUE); /* behind all that was in line */
  g_clear_object (&subject.image);
  subject.image = open_image (subject.base, "qcow2");
  found = imago_image_read_bytes (subject.image, 3 * CLUSTER, 512, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 512; i++)
    g_assert_cmpint (((const guint8 *) g_bytes_get_data (found, NULL))[i], ==, 'A');
  case_clear (&subject);
}

int
main (int argc, char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);
  judged = g_hash_table_new_full (g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref,
                                  (GDestroyNotify) g_bytes_unref);
  make_original ();
  g_test_add_func ("/hook-cancel/complete", test_complete);
  g_test_add_func ("/hook-cancel/late-size", test_late_size);
  g_test_add_func ("/hook-cancel/references-again", test_references_again);
  g_test_add_func ("/hook-cancel/in-line", test_cancelled_in_line);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    add_tests (&rows[i]);
  result = g_test_run ();
  for (guint i = 0; i < G_N_ELEMENTS (longest_wait); i++)
    g_print ("# longest wait of a caller that cancelled: %.1f ms, %s\n", longest_wait[i] / 1000.0,
             longest_path[i] != NULL ? longest_path[i] : "no call");
  for (guint i = 0; i < G_N_ELEMENTS (longest_path); i++)
    g_free (longest_path[i]);
  g_hash_table_unref (judged);
  g_bytes_unref (original);
  g_bytes_unref (original_disk);
  g_clear_pointer (&listed, g_bytes_unref);
  return result;
}
