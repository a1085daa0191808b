/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Each asynchronous call of images, storages and jobs in each situation that an application can
 * bring about. */

#include <pthread.h>

#include "test-gate.h"
#include "test-images.h"

#define SIZE (1024 * 1024)
#define COUNT 1000

/* What a call works on; each case gets its own. */
typedef struct
{
  char *folder;
  char *path; /* of a qcow2 image */
  GFile *file;
  ImgStorage *gate;
  ImagoStorage *storage; /* a face of the gate */
  ImagoImage *image;     /* on the storage */
  ImagoImage *deferred;  /* with its references pending */
  GFile *target;
  ImagoJob *job;
  ImgStorage *written;   /* memory that holds the disk */
  ImagoStorage *memory;  /* other memory */
  ImgStorage *memory_core;
  ImagoImage *disk;      /* a qcow2 image that can be written, with data in its first clusters */
  GBytes *bytes;         /* COUNT of them */
  GBytes *cluster;
} Subject;

typedef struct
{
  const char *name;
  void (*start) (Subject *subject,
                 GCancellable *cancellable,
                 GAsyncReadyCallback callback,
                 gpointer user_data);
  gboolean (*finish) (Subject *subject, GAsyncResult *result, GError **error);
  /* A cancelled request is answered before a worker has come to it. */
  gboolean abandons;
  /* Done all the same when it is cancelled after its start. */
  gboolean goes_on;
} Call;

/* ---- the calls ---- */

static ImagoOpenOptions *
options_new (const char *format_name)
{
  ImagoOpenOptions *options = imago_open_options_new ();

  imago_open_options_set_format_name (options, format_name);
  return options;
}

static void
start_file_storage (Subject *subject,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_file_storage_open_async (subject->file, IMAGO_STORAGE_NONE, 0, cancellable, callback,
                                 user_data);
}

static gboolean
finish_file_storage (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoStorage) storage = imago_file_storage_open_finish (result, error);

  if (storage == NULL)
    return FALSE;
  g_assert_cmpstr (imago_storage_get_name (storage), ==, subject->path);
  g_assert_true (
    g_file_equal (imago_file_storage_get_file (IMAGO_FILE_STORAGE (storage)), subject->file));
  return TRUE;
}

static void
start_storage_read (Subject *subject,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_storage_read_bytes_async (subject->storage, 7, COUNT, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_read (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_storage_read_bytes_finish (subject->storage, result, error);

  if (bytes == NULL)
    return FALSE;
  test_gate_check (bytes, 7, COUNT);
  return TRUE;
}

static void
start_open (Subject *subject,
            GCancellable *cancellable,
            GAsyncReadyCallback callback,
            gpointer user_data)
{
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2");

  imago_image_open_async (subject->file, options, 0, cancellable, callback, user_data);
  imago_open_options_set_format_name (options, "has no effect any more");
}

static gboolean
finish_open (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_finish (result, error);

  if (image == NULL)
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  return TRUE;
}

static void
start_open_storage (Subject *subject,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  g_autoptr (ImagoOpenOptions) options = options_new ("raw");

  imago_image_open_storage_async (subject->storage, options, 0, cancellable, callback, user_data);
}

static gboolean
finish_open_storage (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_storage_finish (result, error);

  if (image == NULL)
    return FALSE;
  g_assert_true (imago_image_get_storage (image) == subject->storage);
  return TRUE;
}

static void
start_create (Subject *subject,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  g_autoptr (ImagoCreateOptions) options = g_object_new (
    IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) SIZE, NULL);

  imago_image_create_async (subject->target, options, 0, cancellable, callback, user_data);
  g_object_set (options, "format-name", "has no effect any more", NULL);
}

static gboolean
finish_create (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_create_finish (result, error);

  g_assert_true (g_file_query_exists (subject->target, NULL) == (image != NULL));
  if (image == NULL)
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (image), ==, SIZE);
  return TRUE;
}

static void
start_open_references (Subject *subject,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  imago_image_open_references_async (subject->deferred, 0, cancellable, callback, user_data);
}

static gboolean
finish_open_references (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_open_references_finish (subject->deferred, result, error);
}

static void
start_close (Subject *subject,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_image_close_async (subject->image, 0, cancellable, callback, user_data);
}

static gboolean
finish_close (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_close_finish (subject->image, result, error);
}

static void
start_query_info (Subject *subject,
                  GCancellable *cancellable,
                  GAsyncReadyCallback callback,
                  gpointer user_data)
{
  imago_image_query_info_async (subject->image, 0, cancellable, callback, user_data);
}

static gboolean
finish_query_info (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info_finish (subject->image, result, error);

  if (info == NULL)
    return FALSE;
  g_assert_cmpstr (imago_image_info_get_format_name (info), ==, "raw");
  g_assert_cmpuint (imago_image_info_get_virtual_size (info), ==, SIZE);
  return TRUE;
}

static void
start_list_snapshots (Subject *subject,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  imago_image_list_snapshots_async (subject->image, 0, cancellable, callback, user_data);
}

static gboolean
finish_list_snapshots (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GListModel) list = imago_image_list_snapshots_finish (subject->image, result, error);

  if (list == NULL)
    return FALSE;
  g_assert_true (g_list_model_get_item_type (list) == IMAGO_TYPE_SNAPSHOT);
  g_assert_cmpuint (g_list_model_get_n_items (list), ==, 0);
  return TRUE;
}

static void
start_read_bytes (Subject *subject,
                  GCancellable *cancellable,
                  GAsyncReadyCallback callback,
                  gpointer user_data)
{
  imago_image_read_bytes_async (subject->image, 12345, COUNT, 0, cancellable, callback, user_data);
}

static gboolean
finish_read_bytes (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (subject->image, result, error);

  if (bytes == NULL)
    return FALSE;
  test_gate_check (bytes, 12345, COUNT);
  return TRUE;
}

static void
start_map (Subject *subject,
           GCancellable *cancellable,
           GAsyncReadyCallback callback,
           gpointer user_data)
{
  imago_image_map_async (subject->image, 512, SIZE - 512, IMAGO_MAP_HOST_HOLES, 0, cancellable,
                         callback, user_data);
}

static void
check_extent (const ImagoExtent *extent)
{
  guint64 host_offset;

  g_assert_cmpuint (imago_extent_get_kind (extent), ==, IMAGO_EXTENT_DATA);
  g_assert_cmpuint (imago_extent_get_offset (extent), ==, 512);
  g_assert_cmpuint (imago_extent_get_length (extent), ==, SIZE - 512);
  g_assert_true (imago_extent_get_host_offset (extent, &host_offset));
  g_assert_cmpuint (host_offset, ==, 512);
}

static gboolean
finish_map (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoExtent) extent = imago_image_map_finish (subject->image, result, error);

  if (extent == NULL)
    return FALSE;
  check_extent (extent);
  return TRUE;
}

static void
start_map_extents (Subject *subject,
                   GCancellable *cancellable,
                   GAsyncReadyCallback callback,
                   gpointer user_data)
{
  imago_image_map_extents_async (subject->image, 512, SIZE - 512, 10, IMAGO_MAP_NONE, 0,
                                 cancellable, callback, user_data);
}

static gboolean
finish_map_extents (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoExtentArray) extents =
    imago_image_map_extents_finish (subject->image, result, error);

  if (extents == NULL)
    return FALSE;
  g_assert_cmpuint (imago_extent_array_get_n (extents), ==, 1);
  check_extent (imago_extent_array_get (extents, 0));
  return TRUE;
}

static void
start_job (Subject *subject,
           GCancellable *cancellable,
           GAsyncReadyCallback callback,
           gpointer user_data)
{
  imago_job_run_async (subject->job, 0, cancellable, callback, user_data);
}

static gboolean
finish_job (Subject *subject, GAsyncResult *result, GError **error)
{
  gboolean success = imago_job_run_finish (subject->job, result, error);

  g_assert_true (g_file_query_exists (subject->target, NULL) == success);
  return success;
}

static void
start_probe (Subject *subject,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_format_probe_async (subject->storage, 0, cancellable, callback, user_data);
}

static gboolean
finish_probe (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GListModel) list = imago_format_probe_finish (result, error);

  if (list == NULL)
    return FALSE;
  g_assert_cmpuint (g_list_model_get_n_items (list), ==, 0);
  return TRUE;
}

static void
start_inspect (Subject *subject,
               GCancellable *cancellable,
               GAsyncReadyCallback callback,
               gpointer user_data)
{
  imago_inspect_async (subject->file, 0, cancellable, callback, user_data);
}

static gboolean
finish_inspect (Subject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoInspection) inspection = imago_inspect_finish (result, error);

  if (inspection == NULL)
    return FALSE;
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, SIZE);
  return TRUE;
}

/* ---- what changes something ---- */

static void
check_content (GBytes *content, gsize count, gboolean has_pattern, Subject *subject)
{
  const guint8 *data = g_bytes_get_data (content, NULL);

  g_assert_cmpuint (g_bytes_get_size (content), ==, count);
  if (has_pattern)
    g_assert_true (g_bytes_equal (content, subject->bytes));
  for (gsize i = 0; !has_pattern && i < count; i++)
    g_assert_cmpuint (data[i], ==, 0);
}

static void
check_disk (Subject *subject, guint64 offset, gsize count, gboolean has_pattern)
{
  g_autoptr (GBytes) content = imago_image_read_bytes (subject->disk, offset, count, NULL, NULL);

  check_content (content, count, has_pattern, subject);
}

static void
check_memory (Subject *subject, guint64 offset, gsize count, gboolean has_pattern)
{
  g_autoptr (GBytes) content =
    imago_storage_read_bytes (subject->memory, offset, count, NULL, NULL);

  check_content (content, count, has_pattern, subject);
}

static void
check_kind (Subject *subject, guint64 offset, ImagoExtentKind kind)
{
  g_autoptr (ImagoExtent) extent =
    imago_image_map (subject->disk, offset, 1, IMAGO_MAP_NONE, NULL, NULL);

  g_assert_cmpuint (imago_extent_get_kind (extent), ==, kind);
}

static void
start_write_bytes (Subject *subject,
                   GCancellable *cancellable,
                   GAsyncReadyCallback callback,
                   gpointer user_data)
{
  imago_image_write_bytes_async (subject->disk, 1000, subject->bytes, 0, cancellable, callback, user_data);
}

static gboolean
finish_write_bytes (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_bytes_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 1000, COUNT, TRUE);
  return TRUE;
}

static void
start_write_compressed (Subject *subject,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data)
{
  imago_image_write_compressed_async (subject->disk, 65536, subject->cluster, 0, cancellable, callback, user_data);
}

static gboolean
finish_write_compressed (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_compressed_finish (subject->disk, result, error))
    return FALSE;
  check_kind (subject, 65536, IMAGO_EXTENT_COMPRESSED);
  return TRUE;
}

static void
start_write_zeroes (Subject *subject,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_image_write_zeroes_async (subject->disk, 131072, 65536, IMAGO_ZERO_UNMAP, 0, cancellable, callback, user_data);
}

static gboolean
finish_write_zeroes (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_zeroes_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 131072, 65536, FALSE);
  return TRUE;
}

static void
start_discard (Subject *subject,
               GCancellable *cancellable,
               GAsyncReadyCallback callback,
               gpointer user_data)
{
  imago_image_discard_async (subject->disk, 131072, 65536, IMAGO_DISCARD_ZERO, 0, cancellable, callback, user_data);
}

static gboolean
finish_discard (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_discard_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 131072, 65536, FALSE);
  return TRUE;
}

static void
start_flush (Subject *subject,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_image_flush_async (subject->disk, 0, cancellable, callback, user_data);
}

static gboolean
finish_flush (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_flush_finish (subject->disk, result, error);
}

static void
start_resize (Subject *subject,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  imago_image_resize_async (subject->disk, SIZE / 2, IMAGO_RESIZE_MAY_SHRINK,
                            IMAGO_PREALLOCATION_NONE, 0, cancellable, callback, user_data);
}

static gboolean
finish_resize (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_resize_finish (subject->disk, result, error))
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (subject->disk), ==, SIZE / 2);
  return TRUE;
}

static void
start_close_written (Subject *subject,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  imago_image_close_async (subject->disk, 0, cancellable, callback, user_data);
}

static gboolean
finish_close_written (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_close_finish (subject->disk, result, error);
}

static void
start_storage_write_bytes (Subject *subject,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  imago_storage_write_bytes_async (subject->memory, 10, subject->bytes, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_write_bytes (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_storage_write_bytes_finish (subject->memory, result, error))
    return FALSE;
  check_memory (subject, 10, COUNT, TRUE);
  return TRUE;
}

static void
start_storage_write_zeroes (Subject *subject,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data)
{
  imago_storage_write_zeroes_async (subject->memory, 0, 4096, IMAGO_ZERO_NONE, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_write_zeroes (Subject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_storage_write_zeroes_finish (subject->memory, result, error))
    return FALSE;
  check_memory (subject, 0, 4096, FALSE);
  return TRUE;
}

static void
start_storage_discard (Subject *subject,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  imago_storage_discard_async (subject->memory, 0, 4096, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_discard (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_storage_discard_finish (subject->memory, result, error);
}

static void
start_storage_truncate (Subject *subject,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data)
{
  imago_storage_truncate_async (subject->memory, 12345, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_truncate (Subject *subject, GAsyncResult *result, GError **error)
{
  guint64 size;

  if (!imago_storage_truncate_finish (subject->memory, result, error))
    return FALSE;
  g_assert_true (imago_storage_query_size (subject->memory, &size, NULL, NULL));
  g_assert_cmpuint (size, ==, 12345);
  return TRUE;
}

static void
start_storage_flush (Subject *subject,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  imago_storage_flush_async (subject->memory, 0, cancellable, callback, user_data);
}

static gboolean
finish_storage_flush (Subject *subject, GAsyncResult *result, GError **error)
{
  return imago_storage_flush_finish (subject->memory, result, error);
}

static const Call calls[] = {
  { "file-storage-open", start_file_storage, finish_file_storage, TRUE, FALSE },
  { "storage-read-bytes", start_storage_read, finish_storage_read, TRUE, FALSE },
  { "open", start_open, finish_open, TRUE, FALSE },
  { "open-storage", start_open_storage, finish_open_storage, TRUE, FALSE },
  { "create", start_create, finish_create, FALSE, FALSE },
  { "open-references", start_open_references, finish_open_references, FALSE, FALSE },
  { "close", start_close, finish_close, FALSE, TRUE },
  { "query-info", start_query_info, finish_query_info, TRUE, FALSE },
  { "list-snapshots", start_list_snapshots, finish_list_snapshots, TRUE, FALSE },
  { "read-bytes", start_read_bytes, finish_read_bytes, TRUE, FALSE },
  { "map", start_map, finish_map, TRUE, FALSE },
  { "map-extents", start_map_extents, finish_map_extents, TRUE, FALSE },
  { "probe", start_probe, finish_probe, TRUE, FALSE },
  { "inspect", start_inspect, finish_inspect, TRUE, FALSE },
  { "job-run", start_job, finish_job, FALSE, FALSE },
  { "write-bytes", start_write_bytes, finish_write_bytes, FALSE, FALSE },
  { "write-compressed", start_write_compressed, finish_write_compressed, FALSE, FALSE },
  { "write-zeroes", start_write_zeroes, finish_write_zeroes, FALSE, FALSE },
  { "discard", start_discard, finish_discard, FALSE, FALSE },
  { "flush", start_flush, finish_flush, FALSE, FALSE },
  { "resize", start_resize, finish_resize, FALSE, FALSE },
  { "close-written", start_close_written, finish_close_written, FALSE, TRUE },
  { "storage-write-bytes", start_storage_write_bytes, finish_storage_write_bytes, FALSE, FALSE },
  { "storage-write-zeroes", start_storage_write_zeroes, finish_storage_write_zeroes, FALSE, FALSE },
  { "storage-discard", start_storage_discard, finish_storage_discard, FALSE, FALSE },
  { "storage-truncate", start_storage_truncate, finish_storage_truncate, FALSE, FALSE },
  { "storage-flush", start_storage_flush, finish_storage_flush, FALSE, FALSE },
};

/* ---- the subject ---- */

static ImagoImage *
open_deferred (Subject *subject)
{
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2");
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_defer_references (options, TRUE);
  image = imago_image_open (subject->file, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

static void
fill (ImagoStorage *storage, GByteArray *content)
{
  g_autoptr (GBytes) bytes = test_to_bytes (content);
  g_autoptr (GError) error = NULL;

  imago_storage_write_bytes (storage, 0, bytes, NULL, &error);
  g_assert_no_error (error);
}

static void
open_disk (Subject *subject)
{
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new_writable (0);
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2");
  g_autoptr (GBytes) data = test_to_bytes (test_pattern_new (3 * 65536, 3));
  g_autoptr (GError) error = NULL;

  fill (storage, test_qcow2_new (&(TestQcow2){ .size = SIZE }));
  imago_open_options_set_writable (options, TRUE);
  subject->written = img_storage_ref (imago_storage_get_core (storage));
  subject->disk = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  imago_image_write_bytes (subject->disk, 2 * 65536, data, NULL, &error);
  g_assert_no_error (error);
}

static void
make_changeable (Subject *subject)
{
  open_disk (subject);
  subject->memory = imago_memory_storage_new_writable (0);
  subject->memory_core = img_storage_ref (imago_storage_get_core (subject->memory));
  fill (subject->memory, test_pattern_new (65536, 4));
  subject->bytes = test_to_bytes (test_pattern_new (COUNT, 9));
  subject->cluster = g_bytes_new_take (g_malloc0 (65536), 65536);
}

static void
subject_init (Subject *subject)
{
  TestQcow2 what = { .size = SIZE };
  g_autofree char *target = NULL;

  subject->folder = test_folder_new ();
  subject->path = test_write (subject->folder, "disk.qcow2", test_qcow2_new (&what));
  subject->file = g_file_new_for_path (subject->path);
  subject->gate = test_gate_new (SIZE);
  test_gate_refuse_tries (subject->gate, TRUE);
  subject->image = test_gate_open_image (subject->gate);
  subject->storage = g_object_ref (imago_image_get_storage (subject->image));
  subject->deferred = open_deferred (subject);
  target = test_path (subject->folder, "target.raw");
  subject->target = g_file_new_for_path (target);
  subject->job = IMAGO_JOB (imago_convert_job_new (subject->image, subject->target));
  imago_convert_job_set_durable (IMAGO_CONVERT_JOB (subject->job), FALSE);
  make_changeable (subject);
}

static void
subject_drop (Subject *subject)
{
  g_clear_object (&subject->job);
  g_clear_object (&subject->image);
  g_clear_object (&subject->deferred);
  g_clear_object (&subject->storage);
  g_clear_object (&subject->disk);
  g_clear_object (&subject->memory);
}

static void
subject_clear (Subject *subject)
{
  subject_drop (subject);
  test_gate_wait_unused (subject->gate);
  test_gate_wait_unused (subject->written);
  test_gate_wait_unused (subject->memory_core);
  img_storage_unref (subject->gate);
  img_storage_unref (subject->written);
  img_storage_unref (subject->memory_core);
  g_bytes_unref (subject->bytes);
  g_bytes_unref (subject->cluster);
  g_object_unref (subject->file);
  g_object_unref (subject->target);
  g_free (subject->path);
  test_folder_remove (subject->folder);
}

/* ---- a pool that comes to nothing until it is told to ---- */

typedef struct
{
  ImgTask task;
  ImgPool *pool;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean let_go;
} Jam;

static void
run_jam (ImgTask *task)
{
  Jam *jam = (Jam *) task;

  pthread_mutex_lock (&jam->mutex);
  while (!jam->let_go)
    pthread_cond_wait (&jam->cond, &jam->mutex);
  pthread_mutex_unlock (&jam->mutex);
}

static void
jam_begin (Jam *jam)
{
  *jam = (Jam) { { .run = run_jam, .priority = G_MININT }, img_pool_new (1, 1) };
  pthread_mutex_init (&jam->mutex, NULL);
  pthread_cond_init (&jam->cond, NULL);
  img_pool_set_default (jam->pool);
  g_assert_true (img_pool_push (jam->pool, &jam->task, NULL));
}

static void
jam_let_go (Jam *jam)
{
  pthread_mutex_lock (&jam->mutex);
  jam->let_go = TRUE;
  pthread_cond_signal (&jam->cond);
  pthread_mutex_unlock (&jam->mutex);
}

/* Nothing may be released to the pool any more. */
static void
jam_end (Jam *jam)
{
  img_pool_set_default (NULL);
  img_pool_free (jam->pool);
  pthread_mutex_destroy (&jam->mutex);
  pthread_cond_destroy (&jam->cond);
}

/* ---- the situations ---- */

static void
expect (const Call *call, Subject *subject, TestSlot *slot, gboolean success)
{
  g_autoptr (GError) error = NULL;
  GAsyncResult *result = test_slot_wait (slot);

  g_assert_true (call->finish (subject, result, &error) == success);
  if (success)
    g_assert_no_error (error);
  else
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  /* Exactly once: nothing more comes when everything has settled. */
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (slot->n_calls, ==, 1);
  test_slot_clear (slot);
}

static void
test_plain (gconstpointer data)
{
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;

  subject_init (&subject);
  call->start (&subject, NULL, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (call, &subject, &slot, TRUE);
  subject_clear (&subject);
}

static void
test_with_cancellable (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;

  subject_init (&subject);
  call->start (&subject, cancellable, test_result_cb, &slot);
  expect (call, &subject, &slot, TRUE);
  g_cancellable_cancel (cancellable); /* nobody listens any more */
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (slot.n_calls, ==, 0);
  subject_clear (&subject);
}

static void
test_cancelled_before (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;

  subject_init (&subject);
  g_cancellable_cancel (cancellable);
  call->start (&subject, cancellable, test_result_cb, &slot);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (call, &subject, &slot, FALSE);
  subject_clear (&subject);
}

static void
test_cancelled_during (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;
  Jam jam;

  subject_init (&subject);
  jam_begin (&jam);
  call->start (&subject, cancellable, test_result_cb, &slot);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpuint (slot.n_calls, ==, 0);
  g_cancellable_cancel (cancellable);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  if (!call->abandons)
    jam_let_go (&jam);
  expect (call, &subject, &slot, call->goes_on);
  jam_let_go (&jam);
  subject_clear (&subject);
  jam_end (&jam);
}

static gpointer
cancel_thread (gpointer data)
{
  g_cancellable_cancel (data);
  return NULL;
}

/* From another thread, at any moment: one answer, and it says what happened. */
static void
test_cancelled_racing (gconstpointer data)
{
  const Call *call = data;

  for (guint round = 0; round < 20; round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      TestSlot slot = { 0 };
      Subject subject;
      GThread *thread;

      subject_init (&subject);
      thread = g_thread_new ("cancel", cancel_thread, cancellable);
      call->start (&subject, cancellable, test_result_cb, &slot);
      if (!call->finish (&subject, test_slot_wait (&slot), &error))
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      else
        g_assert_no_error (error);
      g_thread_join (thread);
      while (g_main_context_iteration (NULL, FALSE))
        ;
      g_assert_cmpuint (slot.n_calls, ==, 1);
      test_slot_clear (&slot);
      subject_clear (&subject);
    }
}

static void
test_no_callback (gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  const Call *call = data;
  Subject subject;

  subject_init (&subject);
  call->start (&subject, NULL, NULL, NULL);
  g_cancellable_cancel (cancellable);
  call->start (&subject, cancellable, NULL, NULL);
  subject_drop (&subject);
  while (!g_atomic_ref_count_compare (&subject.gate->ref_count, 1) ||
         !g_atomic_ref_count_compare (&subject.written->ref_count, 1) ||
         !g_atomic_ref_count_compare (&subject.memory_core->ref_count, 1))
    {
      g_main_context_iteration (NULL, FALSE);
      g_usleep (100);
    }
  subject_clear (&subject);
}

static gpointer
context_thread (gpointer data)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GError) error = NULL;
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;

  g_main_context_push_thread_default (context);
  subject_init (&subject);
  call->start (&subject, NULL, test_result_cb, &slot);
  g_assert_true (call->finish (&subject, test_slot_wait (&slot), &error));
  g_assert_no_error (error);
  test_slot_clear (&slot);
  subject_clear (&subject);
  g_main_context_pop_thread_default (context);
  return NULL;
}

/* Nobody iterates the default context: if the callback came from there, this would not end. */
static void
test_other_context (gconstpointer data)
{
  g_thread_join (g_thread_new ("context", context_thread, (gpointer) data));
}

static void
test_dropped (gconstpointer data)
{
  const Call *call = data;
  TestSlot slot = { 0 };
  Subject subject;
  Subject finishing;
  Jam jam;

  subject_init (&subject);
  jam_begin (&jam);
  call->start (&subject, NULL, test_result_cb, &slot);
  finishing = subject; /* borrowed: the result keeps what the finish function needs */
  subject_drop (&subject);
  jam_let_go (&jam);
  g_assert_cmpuint (slot.n_calls, ==, 0);
  expect (call, &finishing, &slot, TRUE);
  subject_clear (&subject);
  jam_end (&jam);
}

static void
add (const Call *call, const char *situation, GTestDataFunc func)
{
  g_autofree char *path = g_strdup_printf ("/glib/async/%s/%s", call->name, situation);

  g_test_add_data_func (path, call, func);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (calls); i++)
    {
      add (&calls[i], "plain", test_plain);
      add (&calls[i], "with-cancellable", test_with_cancellable);
      add (&calls[i], "cancelled-before", test_cancelled_before);
      add (&calls[i], "cancelled-during", test_cancelled_during);
      add (&calls[i], "cancelled-racing", test_cancelled_racing);
      add (&calls[i], "no-callback", test_no_callback);
      add (&calls[i], "other-context", test_other_context);
      add (&calls[i], "dropped", test_dropped);
    }
  return g_test_run ();
}
