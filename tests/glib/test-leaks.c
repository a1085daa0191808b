/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Ten thousand images are opened and let go of in every way there is, and nothing is left: no descriptor, no thread
 * beyond those of the pool, no object, no memory. The memory counts exactly where malloc () keeps nothing aside
 * (GLIBC_TUNABLES and G_SLICE in meson.build). */

#include "config.h"

#include <malloc.h>

#include "test-images.h"

#include "imago-glib/imago-glib.h"
#include "imago-glib/imago-image-private.h"

#define N_WARM_UP 500
#define N_OPENS 10000
#define N_WORKERS 4 /* few, so that all are there soon: each has memory of its own */
/* Less than the smallest block in every tenth turn. */
#define MAX_GROWTH (16 * N_OPENS / 10)
/* What a worker has that comes behind the warm-up. */
#define THREAD_BYTES 8192

typedef struct
{
  char *folder;
  GFile *overlay;
  GFile *disk;
  GBytes *bytes;
  gint n_alive; /* atomic: objects */
  guint n_waiting;
  guint n_opened;
} Fixture;

typedef struct
{
  guint n_descriptors;
  guint n_threads;
  gsize n_bytes;
} Usage;

static gsize
count_bytes (void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ (2, 33)
  struct mallinfo2 info = mallinfo2 ();

  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

/* ---- objects ---- */

static void
gone_cb (gpointer data, GObject *where_it_was)
{
  g_atomic_int_add (&((Fixture *) data)->n_alive, -1);
}

static void
watch (Fixture *fixture, gpointer object)
{
  g_atomic_int_inc (&fixture->n_alive);
  g_object_weak_ref (object, gone_cb, fixture);
}

static void
watch_image (Fixture *fixture, ImagoImage *image)
{
  watch (fixture, image);
  watch (fixture, imago_image_get_storage (image));
  fixture->n_opened++;
}

static ImagoOpenOptions *
options_new (Fixture *fixture, gboolean writable)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  ImagoOpenOptions *options = g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "reference-policy", policy,
                                            "writable", writable, NULL);

  watch (fixture, options);
  watch (fixture, policy);
  return options;
}

/* ---- ways to open and to let go ---- */

static ImagoImage *
open_now (Fixture *fixture, GFile *file, gboolean writable)
{
  g_autoptr (ImagoOpenOptions) options = options_new (fixture, writable);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open (file, options, NULL, &error);

  g_assert_no_error (error);
  watch_image (fixture, image);
  return image;
}

static void
open_and_close (Fixture *fixture)
{
  g_autoptr (ImagoImage) image = open_now (fixture, fixture->overlay, FALSE);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes (image, 0, 4096, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (g_bytes_get_size (bytes), ==, 4096);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static void
open_and_drop (Fixture *fixture)
{
  g_object_unref (open_now (fixture, fixture->overlay, FALSE));
}

/* Changed, so that closing has something to do. */
static void
write_and_close (Fixture *fixture)
{
  g_autoptr (ImagoImage) image = open_now (fixture, fixture->disk, TRUE);
  g_autoptr (GError) error = NULL;

  imago_image_write_bytes (image, fixture->n_opened % 16 * 65536, fixture->bytes, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static void
closed_cb (GObject *image, GAsyncResult *result, gpointer data)
{
  Fixture *fixture = data;
  g_autoptr (GError) error = NULL;

  imago_image_close_finish (IMAGO_IMAGE (image), result, &error);
  g_assert_no_error (error);
  g_object_unref (image);
  fixture->n_waiting--;
}

static void
opened_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Fixture *fixture = data;
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open_finish (result, &error);

  watch (fixture, result);
  if (image == NULL)
    {
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      fixture->n_opened++;
      fixture->n_waiting--;
      return;
    }
  watch_image (fixture, image);
  imago_image_close_async (image, 0, NULL, closed_cb, fixture);
}

static void
start_open (Fixture *fixture, GCancellable *cancellable)
{
  g_autoptr (ImagoOpenOptions) options = options_new (fixture, FALSE);

  fixture->n_waiting++;
  imago_image_open_async (fixture->overlay, options, 0, cancellable, opened_cb, fixture);
  while (fixture->n_waiting > 10)
    g_main_context_iteration (NULL, TRUE);
}

static void
open_async (Fixture *fixture)
{
  start_open (fixture, NULL);
}

static void
open_and_cancel (Fixture *fixture)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();

  watch (fixture, cancellable);
  start_open (fixture, cancellable);
  g_cancellable_cancel (cancellable);
}

static void
open_one (Fixture *fixture, guint i)
{
  static void (*const ways[]) (Fixture *fixture) = { open_and_close, open_and_drop, open_async, open_and_cancel };

  if (i % 50 == 0)
    write_and_close (fixture);
  else
    ways[i % G_N_ELEMENTS (ways)](fixture);
}

/* ---- the balance ---- */

/* Descriptors of files in the folder. */
static guint
count_files (Fixture *fixture)
{
  GDir *dir = g_dir_open ("/proc/self/fd", 0, NULL);
  const char *name;
  guint n = 0;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *link = g_build_filename ("/proc/self/fd", name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      n += target != NULL && g_str_has_prefix (target, fixture->folder);
    }
  g_dir_close (dir);
  return n;
}

/* Files are closed by workers, later. */
static void
settle (Fixture *fixture)
{
  while (fixture->n_waiting > 0)
    g_main_context_iteration (NULL, TRUE);
  for (guint i = 0; g_atomic_int_get (&fixture->n_alive) > 0 || count_files (fixture) > 0; i++)
    {
      if (i == 10000)
        g_error ("%d objects and %u files are left", fixture->n_alive, count_files (fixture));
      g_main_context_iteration (NULL, FALSE);
      g_usleep (1000);
    }
}

static Usage
open_many (Fixture *fixture, guint n)
{
  Usage usage;

  fixture->n_opened = 0;
  for (guint i = 0; i < n; i++)
    open_one (fixture, i);
  settle (fixture);
  g_assert_cmpuint (fixture->n_opened, ==, n);
  usage.n_descriptors = test_folder_count ("/proc/self/fd");
  usage.n_threads = test_folder_count ("/proc/self/task");
  usage.n_bytes = count_bytes ();
  return usage;
}

static void
create (GFile *file, GFile *backing)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoCreateOptions) options = g_object_new (
    IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "size", (guint64) 1024 * 1024, "reference-policy", policy, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  if (backing != NULL)
    g_object_set (options, "backing-file", backing, "backing-format", "raw", NULL);
  image = imago_image_create (file, options, NULL, &error);
  g_assert_no_error (error);
  imago_image_close (image, NULL, &error);
  g_assert_no_error (error);
}

static GFile *
file_in (Fixture *fixture, const char *name)
{
  g_autofree char *path = test_path (fixture->folder, name);

  return g_file_new_for_path (path);
}

static void
test_opens (void)
{
  Fixture fixture = { .folder = test_folder_new () };
  g_autofree char *base_path = test_write (fixture.folder, "base.raw", test_pattern_new (1024 * 1024, 1));
  g_autoptr (GFile) base = g_file_new_for_path (base_path);
  ImgPool *pool = img_pool_new (N_WORKERS, 1);
  Usage before, after;
  gsize n_late_bytes;

  img_pool_set_default (pool);
  fixture.overlay = file_in (&fixture, "overlay.qcow2");
  fixture.disk = file_in (&fixture, "disk.qcow2");
  fixture.bytes = test_to_bytes (test_pattern_new (4096, 2));
  create (fixture.overlay, base);
  create (fixture.disk, NULL);
  before = open_many (&fixture, N_WARM_UP);
  after = open_many (&fixture, N_OPENS);
  g_test_message ("%u opens and closes: %u descriptors before, %u after; %u threads before, %u after; %" G_GSIZE_FORMAT " bytes before, %"
                  G_GSIZE_FORMAT " after", fixture.n_opened, before.n_descriptors, after.n_descriptors,
                  before.n_threads, after.n_threads, before.n_bytes, after.n_bytes);
  g_assert_cmpuint (fixture.n_opened, >=, N_OPENS);
  g_assert_cmpuint (after.n_descriptors, ==, before.n_descriptors);
  /* The workers, one of them for the processor; this thread, one of GIO's and one of a sanitizer's. */
  g_assert_cmpuint (after.n_threads, <=, MAX (before.n_threads, N_WORKERS + 1 + 3));
  n_late_bytes = after.n_threads > before.n_threads ? (after.n_threads - before.n_threads) * THREAD_BYTES : 0;
  g_assert_cmpuint (after.n_bytes, <, before.n_bytes + MAX_GROWTH + n_late_bytes);
  g_object_unref (fixture.overlay);
  g_object_unref (fixture.disk);
  g_bytes_unref (fixture.bytes);
  img_pool_set_default (NULL);
  img_pool_free (pool);
  test_folder_remove (fixture.folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/glib/leaks/opens", test_opens);
  return g_test_run ();
}
