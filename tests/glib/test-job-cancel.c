/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Jobs that are cancelled everywhere: at the first request of a storage or news of the job, at the second, and so on
 * until one ends before it is. The storages go on answering. Whatever has become of the job, the images close, the
 * check finds nothing in them, and the disks are what they were, but for what the job is there to change; a file is
 * there as a whole or not at all; and the same job, run again, succeeds. */

#include <string.h>

#include <imago-glib/imago-glib.h>

#include "test-carrier.h"
#include "test-images.h"

#define CLUSTER TEST_QCOW2_CLUSTER
#define SIZE (12 * CLUSTER)
#define LARGER (15 * CLUSTER)
#define SMALLER (7 * CLUSTER)
#define MAX_POINTS 200

typedef enum
{
  DISK_BASE,
  DISK_TOP, /* above the base */
  DISK_OTHER,
  N_DISKS
} Disk;

typedef struct _Kind Kind;

typedef struct
{
  const Kind *kind;
  ImagoStorage *memories[N_DISKS];
  ImagoStorage *carriers[N_DISKS];
  ImagoImage *images[N_DISKS];
  char *folder;
  GFile *file; /* that a job makes */
  GCancellable *cancellable;
  guint n_seen; /* requests and news */
  guint cancel_at;
  gboolean is_done; /* an asynchronous run */
  gboolean success;
  GError *error;
} Case;

struct _Kind
{
  const char *name;
  ImagoJob *(*make) (Case *self);
  void (*check) (Case *self); /* of the disks; nullable: all are what they were */
  gboolean wants_storage;     /* of the other disk, which is closed then */
};

/* Of all jobs: how many ended for it. A small job may be over before it looks. */
static guint n_cancelled;

/* What the disks are at first, the top one with what is below it. */
static GBytes *files[N_DISKS];
static GBytes *disks[N_DISKS];

/* ---- images ---- */

static GBytes *
read_disk (ImagoImage *image)
{
  g_autoptr (GError) error = NULL;
  GBytes *bytes = imago_image_read_bytes (image, 0, (gsize) imago_image_get_size (image), NULL, &error);

  g_assert_no_error (error);
  return bytes;
}

/* @backing: nullable. */
static ImagoImage *
open_image (ImagoStorage *storage, ImagoImage *backing)
{
  g_autoptr (ImagoOpenOptions) options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "writable", TRUE,
                                                       "defer-references", backing != NULL, NULL);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_storage (storage, options, NULL, &error);

  g_assert_no_error (error);
  g_assert_true (backing == NULL ||
                 (imago_image_set_backing (image, backing, &error) && imago_image_open_references (image, NULL, &error)));
  return image;
}

static void
closed_cb (GObject *image, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;

  imago_image_close_finish (IMAGO_IMAGE (image), result, &error);
  g_assert_no_error (error);
  *(gboolean *) data = TRUE;
}

/* A request of the job may still be on its way through the hook, which a blocking call would keep from answering. */
static void
close_image (ImagoImage *image)
{
  gboolean is_closed = FALSE;

  imago_image_close_async (image, 0, NULL, closed_cb, &is_closed);
  while (!is_closed)
    g_main_context_iteration (NULL, TRUE);
}

static void
write_pattern (ImagoImage *image, guint64 offset, gsize count, guint8 seed)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_pattern_new (count, seed));
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, offset, bytes, NULL, &error);
  g_assert_no_error (error);
}

static void
write_compressed (ImagoImage *image, guint64 offset, guint8 seed)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_pattern_new (CLUSTER, seed));
  g_autoptr (GError) error = NULL;

  imago_image_write_compressed (image, offset, bytes, NULL, &error);
  g_assert_no_error (error);
}

static void
make_disks (void)
{
  ImagoStorage *storages[N_DISKS];
  ImagoImage *images[N_DISKS];
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_DISKS; i++)
    {
      const gboolean is_top = i == DISK_TOP;
      g_autoptr (GBytes) empty =
        test_to_bytes (test_qcow2_new (&(TestQcow2) { SIZE, is_top ? "base" : NULL, is_top ? "qcow2" : NULL }));

      storages[i] = test_memory_new (empty);
      images[i] = open_image (storages[i], is_top ? images[DISK_BASE] : NULL);
    }
  write_pattern (images[DISK_BASE], CLUSTER, 5 * CLUSTER, 3);
  write_compressed (images[DISK_BASE], 8 * CLUSTER, 5);
  write_pattern (images[DISK_TOP], 3 * CLUSTER / 2, CLUSTER, 7);
  write_compressed (images[DISK_TOP], 9 * CLUSTER, 9);
  g_assert_true (imago_image_write_zeroes (images[DISK_TOP], 5 * CLUSTER, CLUSTER, IMAGO_ZERO_NONE, NULL, &error));
  write_pattern (images[DISK_OTHER], 0, 3 * CLUSTER, 11);
  write_pattern (images[DISK_OTHER], 7 * CLUSTER, 4 * CLUSTER, 13);
  g_assert_true (imago_image_discard (images[DISK_OTHER], 8 * CLUSTER, CLUSTER, IMAGO_DISCARD_NONE, NULL, &error));
  for (guint i = N_DISKS; i-- > 0;)
    {
      disks[i] = read_disk (images[i]);
      close_image (images[i]);
      g_object_unref (images[i]);
      files[i] = test_storage_read_all (storages[i]);
      g_object_unref (storages[i]);
    }
}

/* ---- jobs ---- */

static ImagoJob *
check_new (Case *self)
{
  return IMAGO_JOB (imago_check_job_new (self->carriers[DISK_OTHER], "qcow2"));
}

static ImagoJob *
repair_new (Case *self)
{
  return g_object_new (IMAGO_TYPE_CHECK_JOB, "storage", self->carriers[DISK_OTHER], "format-name", "qcow2", "repair",
                       IMAGO_REPAIR_ALL, NULL);
}

static ImagoJob *
measure_new (Case *self)
{
  g_autoptr (ImagoCreateOptions) options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", NULL);

  return IMAGO_JOB (imago_measure_job_new (self->images[DISK_TOP], options));
}

static ImagoJob *
compare_new (Case *self)
{
  return IMAGO_JOB (imago_compare_job_new (self->images[DISK_TOP], self->images[DISK_TOP]));
}

static ImagoJob *
convert_new (Case *self)
{
  return IMAGO_JOB (imago_convert_job_new (self->images[DISK_TOP], self->file));
}

static ImagoJob *
convert_compressed_new (Case *self)
{
  return g_object_new (IMAGO_TYPE_CONVERT_JOB, "source", self->images[DISK_TOP], "destination", self->file,
                       "format-name", "qcow2", "compress", TRUE, "verify", TRUE, NULL);
}

static ImagoJob *
convert_into_new (Case *self)
{
  return IMAGO_JOB (imago_convert_job_new_for_image (self->images[DISK_TOP], self->images[DISK_OTHER]));
}

static ImagoJob *
commit_new (Case *self)
{
  return IMAGO_JOB (imago_commit_job_new (self->images[DISK_TOP], self->images[DISK_BASE]));
}

static ImagoJob *
rebase_new (Case *self)
{
  return IMAGO_JOB (imago_rebase_job_new (self->images[DISK_TOP], self->images[DISK_OTHER], "other", "qcow2"));
}

static ImagoJob *
flatten_new (Case *self)
{
  return IMAGO_JOB (imago_rebase_job_new (self->images[DISK_TOP], NULL, NULL, NULL));
}

static ImagoJob *
grow_new (Case *self)
{
  return IMAGO_JOB (imago_resize_job_new (self->images[DISK_OTHER], LARGER));
}

static ImagoJob *
shrink_new (Case *self)
{
  ImagoResizeJob *job = imago_resize_job_new (self->images[DISK_OTHER], SMALLER);

  imago_resize_job_set_flags (job, IMAGO_RESIZE_MAY_SHRINK);
  return IMAGO_JOB (job);
}

static ImagoJob *
compact_new (Case *self)
{
  return IMAGO_JOB (imago_compact_job_new (self->images[DISK_OTHER]));
}

/* ---- what is left ---- */

static void
assert_disk (ImagoStorage *storage, ImagoImage *backing, GBytes *expected)
{
  g_autoptr (ImagoImage) image = open_image (storage, backing);
  g_autoptr (GBytes) found = read_disk (image);

  g_assert_true (g_bytes_equal (found, expected));
}

static void
check_unchanged (Case *self)
{
  for (guint i = 0; i < N_DISKS; i++)
    {
      g_autoptr (GBytes) found = test_storage_read_all (self->memories[i]);

      g_assert_true (g_bytes_equal (found, files[i]));
    }
}

/* The other one: of each sector what it was, or what the top one is. */
static void
check_into (Case *self)
{
  g_autoptr (ImagoImage) image = open_image (self->memories[DISK_OTHER], NULL);
  g_autoptr (GBytes) bytes = read_disk (image);
  const guint8 *found = g_bytes_get_data (bytes, NULL);
  const guint8 *top = g_bytes_get_data (disks[DISK_TOP], NULL);
  const guint8 *old = g_bytes_get_data (disks[DISK_OTHER], NULL);

  g_assert_cmpuint (g_bytes_get_size (bytes), ==, SIZE);
  for (gsize i = 0; i < SIZE; i += 512)
    g_assert_true (memcmp (found + i, top + i, 512) == 0 || (!self->success && memcmp (found + i, old + i, 512) == 0));
}

static void
check_commit (Case *self)
{
  g_autoptr (ImagoImage) base = open_image (self->memories[DISK_BASE], NULL);

  assert_disk (self->memories[DISK_TOP], base, disks[DISK_TOP]);
  if (self->success)
    assert_disk (self->memories[DISK_BASE], NULL, disks[DISK_TOP]);
}

/* NULL: none. */
static char *
read_backing_name (ImagoStorage *storage)
{
  g_autoptr (ImagoOpenOptions) options =
    g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "defer-references", TRUE, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open_storage (storage, options, NULL, &error);
  g_autoptr (ImagoImageInfo) info = NULL;

  g_assert_no_error (error);
  info = imago_image_query_info (image, NULL, &error);
  g_assert_no_error (error);
  return g_strdup (imago_image_info_get_backing_filename (info));
}

/* Above what it says that it is above. */
static void
check_rebase (Case *self)
{
  g_autofree char *name = read_backing_name (self->memories[DISK_TOP]);
  g_autoptr (ImagoImage) base = open_image (self->memories[DISK_BASE], NULL);
  g_autoptr (ImagoImage) other = open_image (self->memories[DISK_OTHER], NULL);

  assert_disk (self->memories[DISK_BASE], NULL, disks[DISK_BASE]);
  assert_disk (self->memories[DISK_OTHER], NULL, disks[DISK_OTHER]);
  assert_disk (self->memories[DISK_TOP], g_strcmp0 (name, "base") == 0 ? base : name != NULL ? other : NULL,
               disks[DISK_TOP]);
  g_assert_true (!self->success || g_strcmp0 (name, "base") != 0);
}

/* Of one size or the other. */
static void
check_size (Case *self, gsize new_size)
{
  g_autoptr (ImagoImage) image = open_image (self->memories[DISK_OTHER], NULL);
  const gsize size = (gsize) imago_image_get_size (image);
  g_autofree guint8 *expected = g_malloc0 (MAX (SIZE, size));
  g_autoptr (GBytes) found = read_disk (image);

  g_assert_true (size == new_size || (!self->success && size == SIZE));
  memcpy (expected, g_bytes_get_data (disks[DISK_OTHER], NULL), SIZE);
  g_assert_cmpmem (g_bytes_get_data (found, NULL), size, expected, size);
}

static void
check_grown (Case *self)
{
  check_size (self, LARGER);
}

static void
check_shrunk (Case *self)
{
  check_size (self, SMALLER);
}

static void
check_same_disks (Case *self)
{
  g_autoptr (ImagoImage) base = open_image (self->memories[DISK_BASE], NULL);

  assert_disk (self->memories[DISK_TOP], base, disks[DISK_TOP]);
  assert_disk (self->memories[DISK_OTHER], NULL, disks[DISK_OTHER]);
}

/* No temporary file either. */
static void
check_file (Case *self)
{
  g_autoptr (GDir) folder = g_dir_open (self->folder, 0, NULL);
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GBytes) found = NULL;
  g_autoptr (GError) error = NULL;

  check_unchanged (self);
  g_assert_true ((g_dir_read_name (folder) != NULL) == self->success);
  g_assert_null (g_dir_read_name (folder));
  if (!self->success)
    return;
  image = imago_image_open (self->file, NULL, NULL, &error);
  g_assert_no_error (error);
  found = read_disk (image);
  g_assert_true (g_bytes_equal (found, disks[DISK_TOP]));
}

static void
check_metadata (ImagoStorage *storage)
{
  g_autoptr (ImagoCheckJob) job = imago_check_job_new (storage, "qcow2");
  g_autoptr (GError) error = NULL;
  ImagoCheckResult *result;

  imago_job_run (IMAGO_JOB (job), NULL, &error);
  g_assert_no_error (error);
  result = imago_check_job_get_result (job);
  g_assert_cmpuint (imago_check_result_get_check_errors (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_corruptions (result), ==, 0);
  g_assert_cmpuint (imago_check_result_get_leaks (result), ==, 0);
}

/* ---- one case ---- */

static const Kind kinds[] = {
  { "check", check_new, NULL, TRUE },
  { "repair", repair_new, NULL, TRUE },
  { "measure", measure_new, NULL },
  { "compare", compare_new, NULL },
  { "convert", convert_new, check_file },
  { "convert-compressed", convert_compressed_new, check_file },
  { "convert-into", convert_into_new, check_into },
  { "commit", commit_new, check_commit },
  { "rebase", rebase_new, check_rebase },
  { "flatten", flatten_new, check_rebase },
  { "grow", grow_new, check_grown },
  { "shrink", shrink_new, check_shrunk },
  { "compact", compact_new, check_same_disks },
};

static void
seen (gpointer request, gpointer data)
{
  Case *self = data;

  if (++self->n_seen == self->cancel_at)
    g_cancellable_cancel (self->cancellable);
}

static void
notify_cb (GObject *job, GParamSpec *pspec, gpointer data)
{
  seen (NULL, data);
}

static void
done_cb (GObject *job, GAsyncResult *result, gpointer data)
{
  Case *self = data;

  self->success = imago_job_run_finish (IMAGO_JOB (job), result, &self->error);
  self->is_done = TRUE;
}

static guint
count_open (const Case *self)
{
  return self->kind->wants_storage ? DISK_OTHER : N_DISKS;
}

static void
case_open (Case *self)
{
  for (guint i = 0; i < count_open (self); i++)
    self->images[i] = open_image (self->carriers[i], i == DISK_TOP ? self->images[DISK_BASE] : NULL);
}

static void
case_init (Case *self, const Kind *kind)
{
  *self = (Case) { .kind = kind, .folder = test_folder_new () };
  self->file = g_file_new_build_filename (self->folder, "new", NULL);
  for (guint i = 0; i < N_DISKS; i++)
    {
      self->memories[i] = test_memory_new (files[i]);
      self->carriers[i] = test_carrier_new (self->memories[i]);
    }
  case_open (self);
}

static void
case_close (Case *self)
{
  for (guint i = count_open (self); i-- > 0;)
    {
      close_image (self->images[i]);
      g_clear_object (&self->images[i]);
    }
}

static void
case_clear (Case *self)
{
  for (guint i = 0; i < N_DISKS; i++)
    {
      g_object_unref (self->carriers[i]);
      g_object_unref (self->memories[i]);
    }
  g_object_unref (self->file);
  test_folder_remove (self->folder);
}

/* @cancel_at: 0: never. */
static void
case_run (Case *self, guint cancel_at, gboolean is_async)
{
  g_autoptr (ImagoJob) job = self->kind->make (self);

  self->n_seen = 0;
  self->cancel_at = cancel_at;
  self->is_done = FALSE;
  self->cancellable = g_cancellable_new ();
  g_signal_connect (job, "notify", G_CALLBACK (notify_cb), self);
  for (guint i = 0; i < N_DISKS; i++)
    test_carrier_watch (TEST_CARRIER (self->carriers[i]), seen, self);
  if (is_async)
    imago_job_run_async (job, 0, self->cancellable, done_cb, self);
  else
    self->success = imago_job_run (job, self->cancellable, &self->error);
  while (is_async && !self->is_done)
    g_main_context_iteration (NULL, TRUE);
  for (guint i = 0; i < N_DISKS; i++)
    test_carrier_watch (TEST_CARRIER (self->carriers[i]), NULL, NULL);
  g_signal_handlers_disconnect_by_data (job, self);
  g_clear_object (&self->cancellable);
}

static void
case_check (Case *self)
{
  if (!self->success)
    g_assert_error (self->error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&self->error);
  case_close (self);
  for (guint i = 0; i < N_DISKS; i++)
    check_metadata (self->memories[i]);
  if (self->kind->check != NULL)
    self->kind->check (self);
  else
    check_unchanged (self);
}

/* Returns whether it was over before. */
static gboolean
try_point (const Kind *kind, guint point, gboolean is_async)
{
  gboolean is_over;
  Case self;

  case_init (&self, kind);
  case_run (&self, point, is_async);
  is_over = self.n_seen < point;
  g_assert_true (self.success || !is_over);
  n_cancelled += !self.success;
  case_check (&self);
  if (!self.success)
    {
      case_open (&self);
      case_run (&self, 0, is_async);
      g_assert_no_error (self.error);
      case_check (&self);
    }
  case_clear (&self);
  return is_over;
}

static void
test_job (gconstpointer data)
{
  const Kind *kind = data;

  for (guint is_async = 0; is_async < 2; is_async++)
    {
      const guint n_before = n_cancelled;
      guint point = 1;

      while (!try_point (kind, point, is_async))
        g_assert_cmpuint (++point, <, MAX_POINTS);
      g_test_message ("%s: cancelled at %u of %u points", is_async ? "asynchronous" : "blocking",
                      n_cancelled - n_before, point);
    }
}

static void
test_enough (void)
{
  g_assert_cmpuint (n_cancelled, >, G_N_ELEMENTS (kinds));
}

int
main (int argc, char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);
  make_disks ();
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *path = g_strconcat ("/glib/job-cancel/", kinds[i].name, NULL);

      g_test_add_data_func (path, &kinds[i], test_job);
    }
  g_test_add_func ("/glib/job-cancel/enough", test_enough);
  result = g_test_run ();
  for (guint i = 0; i < N_DISKS; i++)
    {
      g_bytes_unref (files[i]);
      g_bytes_unref (disks[i]);
    }
  return result;
}
