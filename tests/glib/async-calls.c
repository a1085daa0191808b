/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "async-calls.h"

#include "imago-glib/imago-image-stream.h"

/* ---- what is freed, and how often ---- */

static void
count_freed (gpointer life)
{
  g_atomic_int_inc (&((TestLife *) life)->n_freed);
}

static void
object_freed_cb (gpointer life, GObject *where_it_was)
{
  count_freed (life);
}

static void
watch (TestSubject *subject, gpointer object)
{
  g_atomic_int_inc (&subject->life.n_made);
  g_object_weak_ref (object, object_freed_cb, &subject->life);
}

typedef struct
{
  TestLife *life;
  GByteArray *content;
} Watched;

static void
watched_free (gpointer data)
{
  Watched *watched = data;

  count_freed (watched->life);
  g_byte_array_unref (watched->content);
  g_free (watched);
}

/* Takes @content. */
static GBytes *
watched_bytes_new (TestSubject *subject, GByteArray *content)
{
  Watched *watched = g_new (Watched, 1);

  *watched = (Watched) { &subject->life, content };
  g_atomic_int_inc (&subject->life.n_made);
  return g_bytes_new_with_free_func (content->data, content->len, watched_free, watched);
}

static ImagoOpenOptions *
options_new (const char *format_name)
{
  ImagoOpenOptions *options = imago_open_options_new ();

  imago_open_options_set_format_name (options, format_name);
  return options;
}

static gboolean
never_asked (ImagoReference *reference, gpointer user_data, GError **error)
{
  g_assert_not_reached ();
}

/* With a policy that has a destroy notify. */
static ImagoOpenOptions *
watched_options_new (TestSubject *subject, const char *format_name)
{
  ImagoOpenOptions *options = options_new (format_name);
  g_autoptr (ImagoReferencePolicy) policy =
    imago_callback_policy_new (never_asked, &subject->life, count_freed);

  g_atomic_int_inc (&subject->life.n_made); /* for the notify */
  imago_open_options_set_reference_policy (options, policy);
  watch (subject, options);
  watch (subject, policy);
  return options;
}

/* ---- the calls ---- */

static void
start_file_storage (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_file_storage_open_async (subject->file, IMAGO_STORAGE_NONE, io_priority, cancellable, callback,
                                 user_data);
}

static gboolean
finish_file_storage (TestSubject *subject, GAsyncResult *result, GError **error)
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
start_storage_read (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_storage_read_bytes_async (subject->storage, 7, TEST_COUNT, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_read (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_storage_read_bytes_finish (subject->storage, result, error);

  if (bytes == NULL)
    return FALSE;
  test_gate_check (bytes, 7, TEST_COUNT);
  return TRUE;
}

static void
start_open (TestSubject *subject,
            int io_priority,
            GCancellable *cancellable,
            GAsyncReadyCallback callback,
            gpointer user_data)
{
  g_autoptr (ImagoOpenOptions) options = watched_options_new (subject, "qcow2");

  imago_image_open_async (subject->file, options, io_priority, cancellable, callback, user_data);
  imago_open_options_set_format_name (options, "has no effect any more");
}

static gboolean
finish_open (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_finish (result, error);

  if (image == NULL)
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (image), ==, TEST_DISK_SIZE);
  return TRUE;
}

static void
start_open_storage (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  g_autoptr (ImagoOpenOptions) options = watched_options_new (subject, "raw");

  imago_image_open_storage_async (subject->storage, options, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_open_storage (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_open_storage_finish (result, error);

  if (image == NULL)
    return FALSE;
  g_assert_true (imago_image_get_storage (image) == subject->storage);
  return TRUE;
}

static void
start_create (TestSubject *subject,
              int io_priority,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  g_autoptr (ImagoCreateOptions) options = g_object_new (
    IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) TEST_DISK_SIZE, NULL);

  imago_image_create_async (subject->target, options, io_priority, cancellable, callback, user_data);
  g_object_set (options, "format-name", "has no effect any more", NULL);
}

static gboolean
finish_create (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_create_finish (result, error);

  g_assert_true (g_file_query_exists (subject->target, NULL) == (image != NULL));
  if (image == NULL)
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (image), ==, TEST_DISK_SIZE);
  return TRUE;
}

static void
start_create_storage (TestSubject *subject,
                      int io_priority,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  g_autoptr (ImagoCreateOptions) options = g_object_new (
    IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) TEST_DISK_SIZE, "overwrite", TRUE,
    "backing-image", subject->image, "backing-name", "below.raw", NULL);

  imago_image_create_storage_async (subject->memory, options, io_priority, cancellable, callback, user_data);
  g_object_set (options, "format-name", "has no effect any more", NULL);
}

static gboolean
finish_create_storage (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImage) image = imago_image_create_storage_finish (result, error);
  g_autoptr (ImagoImage) backing = NULL;

  if (image == NULL)
    return FALSE;
  backing = imago_image_dup_backing (image);
  g_assert_true (imago_image_get_storage (image) == subject->memory);
  g_assert_true (backing == subject->image);
  return TRUE;
}

static void
start_open_references (TestSubject *subject,
                       int io_priority,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  imago_image_open_references_async (subject->deferred, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_open_references (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_open_references_finish (subject->deferred, result, error);
}

static void
start_close (TestSubject *subject,
             int io_priority,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_image_close_async (subject->image, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_close (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_close_finish (subject->image, result, error);
}

static void
start_query_info (TestSubject *subject,
                  int io_priority,
                  GCancellable *cancellable,
                  GAsyncReadyCallback callback,
                  gpointer user_data)
{
  imago_image_query_info_async (subject->image, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_query_info (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info_finish (subject->image, result, error);

  if (info == NULL)
    return FALSE;
  g_assert_cmpstr (imago_image_info_get_format_name (info), ==, "raw");
  g_assert_cmpuint (imago_image_info_get_virtual_size (info), ==, TEST_DISK_SIZE);
  return TRUE;
}

static void
start_list_snapshots (TestSubject *subject,
                      int io_priority,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  imago_image_list_snapshots_async (subject->image, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_list_snapshots (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GListModel) list = imago_image_list_snapshots_finish (subject->image, result, error);

  if (list == NULL)
    return FALSE;
  g_assert_true (g_list_model_get_item_type (list) == IMAGO_TYPE_SNAPSHOT);
  g_assert_cmpuint (g_list_model_get_n_items (list), ==, 0);
  return TRUE;
}

static void
start_read_bytes (TestSubject *subject,
                  int io_priority,
                  GCancellable *cancellable,
                  GAsyncReadyCallback callback,
                  gpointer user_data)
{
  imago_image_read_bytes_async (subject->image, 12345, TEST_COUNT, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_read_bytes (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (subject->image, result, error);

  if (bytes == NULL)
    return FALSE;
  test_gate_check (bytes, 12345, TEST_COUNT);
  return TRUE;
}

static void
start_map (TestSubject *subject,
           int io_priority,
           GCancellable *cancellable,
           GAsyncReadyCallback callback,
           gpointer user_data)
{
  imago_image_map_async (subject->image, 512, TEST_DISK_SIZE - 512, IMAGO_MAP_HOST_HOLES, io_priority, cancellable,
                         callback, user_data);
}

static void
check_extent (const ImagoExtent *extent)
{
  guint64 host_offset;

  g_assert_cmpuint (imago_extent_get_kind (extent), ==, IMAGO_EXTENT_DATA);
  g_assert_cmpuint (imago_extent_get_offset (extent), ==, 512);
  g_assert_cmpuint (imago_extent_get_length (extent), ==, TEST_DISK_SIZE - 512);
  g_assert_true (imago_extent_get_host_offset (extent, &host_offset));
  g_assert_cmpuint (host_offset, ==, 512);
}

static gboolean
finish_map (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoExtent) extent = imago_image_map_finish (subject->image, result, error);

  if (extent == NULL)
    return FALSE;
  check_extent (extent);
  return TRUE;
}

static void
start_map_extents (TestSubject *subject,
                   int io_priority,
                   GCancellable *cancellable,
                   GAsyncReadyCallback callback,
                   gpointer user_data)
{
  imago_image_map_extents_async (subject->image, 512, TEST_DISK_SIZE - 512, 10, IMAGO_MAP_NONE, io_priority,
                                 cancellable, callback, user_data);
}

static gboolean
finish_map_extents (TestSubject *subject, GAsyncResult *result, GError **error)
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
start_job (TestSubject *subject,
           int io_priority,
           GCancellable *cancellable,
           GAsyncReadyCallback callback,
           gpointer user_data)
{
  imago_job_run_async (subject->job, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_job (TestSubject *subject, GAsyncResult *result, GError **error)
{
  gboolean success = imago_job_run_finish (subject->job, result, error);

  g_assert_true (g_file_query_exists (subject->target, NULL) == success);
  return success;
}

static void
start_plan (TestSubject *subject,
            int io_priority,
            GCancellable *cancellable,
            GAsyncReadyCallback callback,
            gpointer user_data)
{
  imago_convert_job_plan_async (IMAGO_CONVERT_JOB (subject->job), io_priority, cancellable, callback, user_data);
}

static gboolean
finish_plan (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoConvertPlan) plan =
    imago_convert_job_plan_finish (IMAGO_CONVERT_JOB (subject->job), result, error);

  g_assert_false (g_file_query_exists (subject->target, NULL));
  if (plan == NULL)
    return FALSE;
  g_assert_cmpuint (imago_convert_plan_get_fully_allocated_size (plan), ==, TEST_DISK_SIZE);
  return TRUE;
}

static void
start_probe (TestSubject *subject,
             int io_priority,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_format_probe_async (subject->storage, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_probe (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GListModel) list = imago_format_probe_finish (result, error);

  if (list == NULL)
    return FALSE;
  g_assert_cmpuint (g_list_model_get_n_items (list), ==, 0);
  return TRUE;
}

static void
start_inspect (TestSubject *subject,
               int io_priority,
               GCancellable *cancellable,
               GAsyncReadyCallback callback,
               gpointer user_data)
{
  imago_inspect_async (subject->file, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_inspect (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (ImagoInspection) inspection = imago_inspect_finish (result, error);

  if (inspection == NULL)
    return FALSE;
  g_assert_cmpuint (imago_inspection_get_virtual_size (inspection), ==, TEST_DISK_SIZE);
  return TRUE;
}

static void
start_query_size (TestSubject *subject,
                  int io_priority,
                  GCancellable *cancellable,
                  GAsyncReadyCallback callback,
                  gpointer user_data)
{
  imago_storage_query_size_async (subject->storage, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_query_size (TestSubject *subject, GAsyncResult *result, GError **error)
{
  guint64 size = 0;

  if (!imago_storage_query_size_finish (subject->storage, result, &size, error))
    return FALSE;
  g_assert_cmpuint (size, ==, TEST_DISK_SIZE);
  return TRUE;
}

/* ---- what changes something ---- */

static void
check_content (GBytes *content, gsize count, gboolean has_pattern, TestSubject *subject)
{
  const guint8 *data = g_bytes_get_data (content, NULL);

  g_assert_cmpuint (g_bytes_get_size (content), ==, count);
  if (has_pattern)
    g_assert_true (g_bytes_equal (content, subject->bytes));
  for (gsize i = 0; !has_pattern && i < count; i++)
    g_assert_cmpuint (data[i], ==, 0);
}

static void
check_disk (TestSubject *subject, guint64 offset, gsize count, gboolean has_pattern)
{
  g_autoptr (GBytes) content = imago_image_read_bytes (subject->disk, offset, count, NULL, NULL);

  check_content (content, count, has_pattern, subject);
}

static void
check_memory (TestSubject *subject, guint64 offset, gsize count, gboolean has_pattern)
{
  g_autoptr (GBytes) content =
    imago_storage_read_bytes (subject->memory, offset, count, NULL, NULL);

  check_content (content, count, has_pattern, subject);
}

static void
check_kind (TestSubject *subject, guint64 offset, ImagoExtentKind kind)
{
  g_autoptr (ImagoExtent) extent =
    imago_image_map (subject->disk, offset, 1, IMAGO_MAP_NONE, NULL, NULL);

  g_assert_cmpuint (imago_extent_get_kind (extent), ==, kind);
}

static void
start_write_bytes (TestSubject *subject,
                   int io_priority,
                   GCancellable *cancellable,
                   GAsyncReadyCallback callback,
                   gpointer user_data)
{
  imago_image_write_bytes_async (subject->disk, 1000, subject->bytes, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_write_bytes (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_bytes_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 1000, TEST_COUNT, TRUE);
  return TRUE;
}

static void
start_write_compressed (TestSubject *subject,
                        int io_priority,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data)
{
  imago_image_write_compressed_async (subject->disk, 65536, subject->cluster, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_write_compressed (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_compressed_finish (subject->disk, result, error))
    return FALSE;
  check_kind (subject, 65536, IMAGO_EXTENT_COMPRESSED);
  return TRUE;
}

static void
start_write_vm_state (TestSubject *subject,
                      int io_priority,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  imago_image_write_vm_state_async (subject->disk, 1000, subject->bytes, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_write_vm_state (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) content = NULL;

  if (!imago_image_write_vm_state_finish (subject->disk, result, error))
    return FALSE;
  content = imago_image_read_vm_state (subject->disk, 1000, TEST_COUNT, NULL, NULL);
  check_content (content, TEST_COUNT, TRUE, subject);
  return TRUE;
}

static void
start_read_vm_state (TestSubject *subject,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  imago_image_read_vm_state_async (subject->disk, 500, TEST_COUNT, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_read_vm_state (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GBytes) content = imago_image_read_vm_state_finish (subject->disk, result, error);

  if (content == NULL)
    return FALSE;
  check_content (content, TEST_COUNT, FALSE, subject);
  return TRUE;
}

static void
start_write_zeroes (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  imago_image_write_zeroes_async (subject->disk, 131072, 65536, IMAGO_ZERO_UNMAP, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_write_zeroes (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_write_zeroes_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 131072, 65536, FALSE);
  return TRUE;
}

static void
start_discard (TestSubject *subject,
               int io_priority,
               GCancellable *cancellable,
               GAsyncReadyCallback callback,
               gpointer user_data)
{
  imago_image_discard_async (subject->disk, 131072, 65536, IMAGO_DISCARD_ZERO, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_discard (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_discard_finish (subject->disk, result, error))
    return FALSE;
  check_disk (subject, 131072, 65536, FALSE);
  return TRUE;
}

static void
start_flush (TestSubject *subject,
             int io_priority,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_image_flush_async (subject->disk, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_flush (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_flush_finish (subject->disk, result, error);
}

static void
start_resize (TestSubject *subject,
              int io_priority,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  imago_image_resize_async (subject->disk, TEST_DISK_SIZE / 2, IMAGO_RESIZE_MAY_SHRINK,
                            IMAGO_PREALLOCATION_NONE, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_resize (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_image_resize_finish (subject->disk, result, error))
    return FALSE;
  g_assert_cmpuint (imago_image_get_size (subject->disk), ==, TEST_DISK_SIZE / 2);
  return TRUE;
}

static void
start_close_written (TestSubject *subject,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  imago_image_close_async (subject->disk, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_close_written (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_image_close_finish (subject->disk, result, error);
}

static void
start_storage_write_bytes (TestSubject *subject,
                           int io_priority,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data)
{
  imago_storage_write_bytes_async (subject->memory, 10, subject->bytes, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_write_bytes (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_storage_write_bytes_finish (subject->memory, result, error))
    return FALSE;
  check_memory (subject, 10, TEST_COUNT, TRUE);
  return TRUE;
}

static void
start_storage_write_zeroes (TestSubject *subject,
                            int io_priority,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data)
{
  imago_storage_write_zeroes_async (subject->memory, 0, 4096, IMAGO_ZERO_NONE, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_write_zeroes (TestSubject *subject, GAsyncResult *result, GError **error)
{
  if (!imago_storage_write_zeroes_finish (subject->memory, result, error))
    return FALSE;
  check_memory (subject, 0, 4096, FALSE);
  return TRUE;
}

static void
start_storage_discard (TestSubject *subject,
                       int io_priority,
                       GCancellable *cancellable,
                       GAsyncReadyCallback callback,
                       gpointer user_data)
{
  imago_storage_discard_async (subject->memory, 0, 4096, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_discard (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_storage_discard_finish (subject->memory, result, error);
}

static void
start_storage_truncate (TestSubject *subject,
                        int io_priority,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data)
{
  imago_storage_truncate_async (subject->memory, 12345, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_truncate (TestSubject *subject, GAsyncResult *result, GError **error)
{
  guint64 size;

  if (!imago_storage_truncate_finish (subject->memory, result, error))
    return FALSE;
  g_assert_true (imago_storage_query_size (subject->memory, &size, NULL, NULL));
  g_assert_cmpuint (size, ==, 12345);
  return TRUE;
}

static void
start_storage_flush (TestSubject *subject,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  imago_storage_flush_async (subject->memory, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_storage_flush (TestSubject *subject, GAsyncResult *result, GError **error)
{
  return imago_storage_flush_finish (subject->memory, result, error);
}

static void
start_batch (TestSubject *subject,
             int io_priority,
             GCancellable *cancellable,
             GAsyncReadyCallback callback,
             gpointer user_data)
{
  imago_batch_run_async (subject->batch, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_batch (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GByteArray) wanted = test_pattern_new (TEST_COUNT, 3);
  g_autoptr (GBytes) bytes = NULL;

  if (!imago_batch_run_finish (subject->batch, result, error))
    return FALSE;
  bytes = imago_batch_dup_bytes (subject->batch, 0);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), wanted->data, TEST_COUNT);
  g_assert_true (imago_batch_check (subject->batch, 1, NULL));
  return TRUE;
}

static void
start_splice (TestSubject *subject,
              int io_priority,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data)
{
  g_autoptr (GOutputStream) stream = g_memory_output_stream_new_resizable ();

  watch (subject, stream);
  imago_image_splice_async (subject->image, stream, 7, TEST_COUNT, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_splice (TestSubject *subject, GAsyncResult *result, GError **error)
{
  gssize n = imago_image_splice_finish (subject->image, result, error);

  if (n < 0)
    return FALSE;
  g_assert_cmpint (n, ==, TEST_COUNT);
  return TRUE;
}

/* ---- streams: the calls of GIO that lead to the library ---- */

/* A stream of its own for each call, which keeps the memory that is read into or written from. */
static gpointer
watched_stream (TestSubject *subject, gpointer stream)
{
  g_object_set_data_full (stream, "memory", g_malloc0 (TEST_COUNT), g_free);
  watch (subject, stream);
  return stream;
}

static void
start_stream_read (TestSubject *subject,
                   int io_priority,
                   GCancellable *cancellable,
                   GAsyncReadyCallback callback,
                   gpointer user_data)
{
  g_autoptr (GInputStream) stream = watched_stream (subject, imago_image_create_input_stream (subject->image));

  g_input_stream_read_async (stream, g_object_get_data (G_OBJECT (stream), "memory"), TEST_COUNT, io_priority,
                             cancellable, callback, user_data);
}

static gboolean
finish_stream_read (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GInputStream) stream = G_INPUT_STREAM (g_async_result_get_source_object (result));
  gssize n = g_input_stream_read_finish (stream, result, error);

  if (n < 0)
    return FALSE;
  g_assert_cmpint (n, ==, TEST_COUNT);
  test_gate_check_memory (g_object_get_data (G_OBJECT (stream), "memory"), 0, TEST_COUNT);
  return TRUE;
}

/* Only the one side: a GIOStream that goes closes both of its. */
static GOutputStream *
make_output (TestSubject *subject)
{
  return watched_stream (subject, imago_image_output_stream_new (imago_stream_place_new (subject->disk)));
}

static void
start_stream_write (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  g_autoptr (GOutputStream) stream = make_output (subject);

  g_output_stream_write_async (stream, g_object_get_data (G_OBJECT (stream), "memory"), TEST_COUNT, io_priority,
                               cancellable, callback, user_data);
}

static gboolean
finish_stream_write (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GOutputStream) stream = G_OUTPUT_STREAM (g_async_result_get_source_object (result));
  gssize n = g_output_stream_write_finish (stream, result, error);

  if (n < 0)
    return FALSE;
  g_assert_cmpint (n, ==, TEST_COUNT);
  return TRUE;
}

static void
start_stream_writev (TestSubject *subject,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  g_autoptr (GOutputStream) stream = make_output (subject);
  guint8 *memory = g_object_get_data (G_OBJECT (stream), "memory");
  const GOutputVector vectors[] = { { memory, 100 }, { memory + 100, TEST_COUNT - 100 } };

  g_output_stream_writev_async (stream, vectors, G_N_ELEMENTS (vectors), io_priority, cancellable, callback, user_data);
}

static gboolean
finish_stream_writev (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GOutputStream) stream = G_OUTPUT_STREAM (g_async_result_get_source_object (result));
  gsize n;

  if (!g_output_stream_writev_finish (stream, result, &n, error))
    return FALSE;
  g_assert_cmpuint (n, ==, TEST_COUNT);
  return TRUE;
}

static void
start_stream_flush (TestSubject *subject,
                    int io_priority,
                    GCancellable *cancellable,
                    GAsyncReadyCallback callback,
                    gpointer user_data)
{
  g_autoptr (GOutputStream) stream = make_output (subject);

  g_output_stream_flush_async (stream, io_priority, cancellable, callback, user_data);
}

static gboolean
finish_stream_flush (TestSubject *subject, GAsyncResult *result, GError **error)
{
  g_autoptr (GOutputStream) stream = G_OUTPUT_STREAM (g_async_result_get_source_object (result));

  return g_output_stream_flush_finish (stream, result, error);
}

const TestCall test_stream_calls[] = {
  { "g_input_stream_read", NULL, start_stream_read, finish_stream_read, TEST_CALL_NONE },
  { "g_output_stream_write", NULL, start_stream_write, finish_stream_write, TEST_CALL_NONE },
  { "g_output_stream_writev", NULL, start_stream_writev, finish_stream_writev, TEST_CALL_NONE },
  { "g_output_stream_flush", NULL, start_stream_flush, finish_stream_flush, TEST_CALL_NONE },
};

const guint test_n_stream_calls = G_N_ELEMENTS (test_stream_calls);

const TestCall test_calls[] = {
  { "imago_file_storage_open", NULL, start_file_storage, finish_file_storage, TEST_CALL_ABANDONS },
  { "imago_storage_read_bytes", NULL, start_storage_read, finish_storage_read, TEST_CALL_ABANDONS },
  { "imago_image_open", NULL, start_open, finish_open, TEST_CALL_ABANDONS },
  { "imago_image_open_storage", NULL, start_open_storage, finish_open_storage, TEST_CALL_ABANDONS },
  { "imago_image_create", NULL, start_create, finish_create, TEST_CALL_NONE },
  { "imago_image_create_storage", NULL, start_create_storage, finish_create_storage, TEST_CALL_NONE },
  { "imago_image_open_references", NULL, start_open_references, finish_open_references, TEST_CALL_NONE },
  { "imago_image_close", NULL, start_close, finish_close, TEST_CALL_GOES_ON },
  { "imago_image_query_info", NULL, start_query_info, finish_query_info, TEST_CALL_ABANDONS },
  { "imago_image_list_snapshots", NULL, start_list_snapshots, finish_list_snapshots, TEST_CALL_ABANDONS },
  { "imago_image_read_bytes", NULL, start_read_bytes, finish_read_bytes, TEST_CALL_ABANDONS },
  { "imago_image_splice", NULL, start_splice, finish_splice, TEST_CALL_NONE },
  { "imago_image_map", NULL, start_map, finish_map, TEST_CALL_ABANDONS },
  { "imago_image_map_extents", NULL, start_map_extents, finish_map_extents, TEST_CALL_ABANDONS },
  { "imago_format_probe", NULL, start_probe, finish_probe, TEST_CALL_ABANDONS },
  { "imago_inspect", NULL, start_inspect, finish_inspect, TEST_CALL_ABANDONS },
  { "imago_batch_run", NULL, start_batch, finish_batch, TEST_CALL_NONE },
  { "imago_job_run", NULL, start_job, finish_job, TEST_CALL_NONE },
  { "imago_convert_job_plan", NULL, start_plan, finish_plan, TEST_CALL_ABANDONS },
  { "imago_image_write_bytes", NULL, start_write_bytes, finish_write_bytes, TEST_CALL_NONE },
  { "imago_image_write_compressed", NULL, start_write_compressed, finish_write_compressed, TEST_CALL_NONE },
  { "imago_image_read_vm_state", NULL, start_read_vm_state, finish_read_vm_state, TEST_CALL_ABANDONS },
  { "imago_image_write_vm_state", NULL, start_write_vm_state, finish_write_vm_state, TEST_CALL_NONE },
  { "imago_image_write_zeroes", NULL, start_write_zeroes, finish_write_zeroes, TEST_CALL_NONE },
  { "imago_image_discard", NULL, start_discard, finish_discard, TEST_CALL_NONE },
  { "imago_image_flush", NULL, start_flush, finish_flush, TEST_CALL_NONE },
  { "imago_image_resize", NULL, start_resize, finish_resize, TEST_CALL_NONE },
  { "imago_image_close", "written", start_close_written, finish_close_written, TEST_CALL_GOES_ON },
  { "imago_storage_write_bytes", NULL, start_storage_write_bytes, finish_storage_write_bytes, TEST_CALL_NONE },
  { "imago_storage_write_zeroes", NULL, start_storage_write_zeroes, finish_storage_write_zeroes, TEST_CALL_NONE },
  { "imago_storage_discard", NULL, start_storage_discard, finish_storage_discard, TEST_CALL_NONE },
  { "imago_storage_truncate", NULL, start_storage_truncate, finish_storage_truncate, TEST_CALL_NONE },
  { "imago_storage_flush", NULL, start_storage_flush, finish_storage_flush, TEST_CALL_NONE },
  { "imago_storage_query_size", NULL, start_query_size, finish_query_size, TEST_CALL_ABANDONS },
};

const guint test_n_calls = G_N_ELEMENTS (test_calls);

/* ---- the subject ---- */

static ImagoImage *
open_deferred (TestSubject *subject)
{
  g_autoptr (ImagoOpenOptions) options = watched_options_new (subject, "qcow2");
  g_autoptr (GError) error = NULL;
  ImagoImage *image;

  imago_open_options_set_defer_references (options, TRUE);
  image = imago_image_open (subject->file, options, NULL, &error);
  g_assert_no_error (error);
  return image;
}

/* Takes @content. Attempts at the storage that must not wait are refused. */
static ImagoStorage *
shy_memory_new (GByteArray *content, ImgStorage **core)
{
  g_autoptr (ImagoStorage) memory = imago_memory_storage_new_writable (0);
  g_autoptr (GBytes) bytes = test_to_bytes (content);
  g_autoptr (GError) error = NULL;

  imago_storage_write_bytes (memory, 0, bytes, NULL, &error);
  g_assert_no_error (error);
  *core = test_shy_new (imago_storage_get_core (memory));
  return imago_storage_new_from_core (*core);
}

static void
open_disk (TestSubject *subject)
{
  g_autoptr (ImagoStorage) storage =
    shy_memory_new (test_qcow2_new (&(TestQcow2){ .size = TEST_DISK_SIZE }), &subject->written);
  g_autoptr (ImagoOpenOptions) options = options_new ("qcow2");
  g_autoptr (GBytes) data = test_to_bytes (test_pattern_new (3 * 65536, 3));
  g_autoptr (GError) error = NULL;

  imago_open_options_set_writable (options, TRUE);
  subject->disk = imago_image_open_storage (storage, options, NULL, &error);
  g_assert_no_error (error);
  imago_image_write_bytes (subject->disk, 2 * 65536, data, NULL, &error);
  g_assert_no_error (error);
}

static void
watch_all (TestSubject *subject)
{
  gpointer objects[] = { subject->file,  subject->storage, subject->image, subject->deferred,
                         subject->target, subject->job,    subject->memory, subject->disk,
                         subject->batch };

  for (guint i = 0; i < G_N_ELEMENTS (objects); i++)
    watch (subject, objects[i]);
}

void
test_subject_init (TestSubject *subject)
{
  TestQcow2 what = { .size = TEST_DISK_SIZE };
  g_autofree char *target = NULL;

  *subject = (TestSubject) { 0 };
  subject->folder = test_folder_new ();
  subject->path = test_write (subject->folder, "disk.qcow2", test_qcow2_new (&what));
  subject->file = g_file_new_for_path (subject->path);
  subject->gate = test_gate_new (TEST_DISK_SIZE);
  test_gate_refuse_tries (subject->gate, TRUE);
  subject->image = test_gate_open_image (subject->gate);
  subject->storage = g_object_ref (imago_image_get_storage (subject->image));
  subject->deferred = open_deferred (subject);
  target = test_path (subject->folder, "target.raw");
  subject->target = g_file_new_for_path (target);
  subject->job = IMAGO_JOB (imago_convert_job_new (subject->image, subject->target));
  imago_convert_job_set_durable (IMAGO_CONVERT_JOB (subject->job), FALSE);
  open_disk (subject);
  subject->memory = shy_memory_new (test_pattern_new (65536, 4), &subject->memory_core);
  subject->bytes = watched_bytes_new (subject, test_pattern_new (TEST_COUNT, 9));
  subject->cluster =
    watched_bytes_new (subject, g_byte_array_new_take (g_malloc0 (65536), 65536));
  subject->batch = imago_batch_new (subject->disk);
  imago_batch_add_read (subject->batch, 2 * 65536, TEST_COUNT);
  imago_batch_add_write (subject->batch, 0, subject->bytes);
  watch_all (subject);
}

void
test_subject_drop (TestSubject *subject)
{
  g_clear_object (&subject->job);
  g_clear_object (&subject->batch);
  g_clear_object (&subject->image);
  g_clear_object (&subject->deferred);
  g_clear_object (&subject->storage);
  g_clear_object (&subject->disk);
  g_clear_object (&subject->memory);
}

gboolean
test_subject_is_unused (TestSubject *subject)
{
  return g_atomic_ref_count_compare (&subject->gate->ref_count, 1) &&
         g_atomic_ref_count_compare (&subject->written->ref_count, 1) &&
         g_atomic_ref_count_compare (&subject->memory_core->ref_count, 1);
}

/* What is in flight is freed by workers and in the main context, in any order. */
static void
wait_freed (TestSubject *subject)
{
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();
  TestLife *life = &subject->life;

  for (guint i = 0; g_atomic_int_get (&life->n_freed) < life->n_made; i++)
    {
      if (i == 200000)
        g_error ("%d of %d objects are still alive", life->n_made - life->n_freed, life->n_made);
      g_main_context_iteration (context, FALSE);
      g_usleep (100);
    }
  g_assert_cmpint (life->n_freed, ==, life->n_made);
}

void
test_subject_clear (TestSubject *subject)
{
  test_subject_drop (subject);
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
  wait_freed (subject);
  g_free (subject->path);
  test_folder_remove (subject->folder);
}
