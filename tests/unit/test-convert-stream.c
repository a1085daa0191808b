/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Converting what comes out of a pipe: each read of the source, each call of the target and each
 * allocation fails in turn. Nothing is left, and nobody waits for a pipe that has fallen silent. */

#include "config.h"

#include <glib/gstdio.h>
#include <string.h>

#include "img-alloc.h"
#include "img-common.h"
#include "img-convert-stream.h"
#include "img-file-storage.h"
#include "img-park.h"
#include "img-simple-storages.h"
#include "test-folder.h"
#include "test-storages.h"

#define SIZE (2 * IMG_MIB + 512)
#define STEP (64 * IMG_KIB)
#define N_READS (SIZE / STEP + 2) /* the last but one is short, the last finds the end */
#define READS_PER_CHUNK (IMG_MIB / STEP)

/* All reads at both ends of the disk, and some of those between. */
#define NEXT_READ(nth) ((nth) < 3 || (nth) > N_READS - 8 ? (nth) + 1 : (nth) + 5)
#define SEED 1

/* ---- a pipe ---- */

typedef enum
{
  PIPE_FAILS,  /* the read is an error */
  PIPE_ENDS,   /* … the end */
  PIPE_SHORT,  /* … has one byte */
  PIPE_SILENT, /* … and all later ones wait until they are aborted */
  PIPE_CANCELS /* the job is cancelled meanwhile */
} Fault;

typedef struct
{
  guint64 position;
  guint n_reads;
  guint fault_at; /* the read, from 1 on; 0: none */
  Fault fault;
  ImgCancel *cancel;
  ImgStorage *trap; /* nullable: set at the read trap_at */
  guint trap_at;

  ImgMutex mutex;
  ImgWaitList changed;
  gboolean aborted;
} Pipe;

static void
pipe_abort (gpointer data)
{
  Pipe *pipe = data;

  img_mutex_lock (&pipe->mutex);
  pipe->aborted = TRUE;
  img_wait_list_wake_all (&pipe->changed);
  img_mutex_unlock (&pipe->mutex);
}

/* However long that takes. */
static gssize
wait_for_abort (Pipe *pipe, ImgError **error)
{
  img_mutex_lock (&pipe->mutex);
  while (!pipe->aborted)
    img_wait_list_wait (&pipe->changed, &pipe->mutex);
  img_mutex_unlock (&pipe->mutex);
  img_error_set (error, IMG_CODE_CANCELLED, "The read was aborted");
  return -1;
}

static gssize
pipe_read (gpointer data, gpointer buffer, gsize length, ImgError **error)
{
  Pipe *pipe = data;
  gboolean is_faulty = ++pipe->n_reads >= pipe->fault_at && pipe->fault_at > 0;
  gsize n = (gsize) MIN (MIN (length, STEP), SIZE - pipe->position);

  if (pipe->trap != NULL && pipe->n_reads == pipe->trap_at)
    test_trap_storage_set (pipe->trap, 1, TRUE, NULL);
  if (is_faulty && pipe->fault == PIPE_CANCELS)
    img_cancel_trigger (pipe->cancel);
  if (is_faulty && pipe->fault == PIPE_SILENT)
    return wait_for_abort (pipe, error);
  if (is_faulty && pipe->fault == PIPE_FAILS)
    {
      img_error_set (error, IMG_CODE_FOREIGN, "The pipe is broken");
      return -1;
    }
  if (is_faulty && pipe->fault == PIPE_ENDS)
    return 0;
  if (is_faulty && pipe->fault == PIPE_SHORT)
    n = MIN (n, 1);
  for (gsize i = 0; i < n; i++)
    ((guint8 *) buffer)[i] = test_pattern_byte (pipe->position + i, SEED);
  pipe->position += n;
  return (gssize) n;
}

/* ---- the conversion ---- */

typedef struct
{
  const char *name;
  const char *format;
  gboolean compress;
  gboolean has_length;
} Kind;

typedef struct
{
  char *folder;
  char *path;
  const Kind *kind;
  Pipe pipe;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->kind = data;
  fixture->folder = test_folder_new ();
  fixture->path = g_build_filename (fixture->folder, "disk", NULL);
  img_mutex_init (&fixture->pipe.mutex);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_unlink (fixture->path);
  g_assert_cmpint (g_rmdir (fixture->folder), ==, 0);
  img_mutex_clear (&fixture->pipe.mutex);
  g_free (fixture->path);
  g_free (fixture->folder);
}

/* @storage is written in place; NULL: a new file. */
static gboolean
convert (Fixture *fixture, ImgStorage *storage, ImgCancel *cancel, ImgError **error)
{
  const Kind *kind = fixture->kind;
  ImgCreation creation = { .path = storage == NULL ? fixture->path : NULL,
                           .storage = storage,
                           .overwrite = storage != NULL,
                           .driver = img_driver_find (kind->format) };
  const ImgConvertOptions options = {
    .creation = &creation,
    .length = kind->has_length || storage != NULL ? SIZE : 0,
    .zero_grain = IMG_CONVERT_ZERO_GRAIN,
    .compress = kind->compress,
    .n_threads = 3,
  };
  ImgStreamSource source = { .stream = { pipe_read, pipe_abort, &fixture->pipe } };

  return img_convert_stream (&options, &source, NULL, cancel, error);
}

static void
arm (Pipe *pipe, guint nth, Fault fault, ImgCancel *cancel)
{
  pipe->position = 0;
  pipe->n_reads = 0;
  pipe->fault_at = nth;
  pipe->fault = fault;
  pipe->cancel = cancel;
  pipe->aborted = FALSE;
  pipe->trap = NULL;
}

/* The folder of the descriptors is open itself while it is looked at, every time. */
static guint
count_descriptors (void)
{
  return g_file_test ("/proc/self/fd", G_FILE_TEST_IS_DIR) ? test_folder_count ("/proc/self/fd") : 0;
}

static void
assert_disk (Fixture *fixture, ImgStorage *storage)
{
  ImgImageOptions options = { .driver = img_driver_find (fixture->kind->format) };
  g_autoptr (ImgStorage) file = storage != NULL
                                  ? img_storage_ref (storage)
                                  : img_file_storage_open (fixture->path, IMG_FILE_NONE, NULL);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgImage) image = img_image_open (file, &options, NULL, NULL);
  g_autofree guint8 *content = g_malloc (SIZE);

  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  g_assert_cmpuint (img_image_get_size (image), ==, SIZE);
  g_assert_true (img_image_read (image, 0, content, SIZE, NULL, NULL));
  for (gsize i = 0; i < SIZE; i++)
    if (content[i] != test_pattern_byte (i, SEED))
      g_error ("byte %" G_GSIZE_FORMAT " is another one", i);
}

static void
assert_nothing_left (Fixture *fixture, guint n_descriptors)
{
  g_assert_cmpuint (test_folder_count (fixture->folder), ==, 0);
  g_assert_cmpuint (count_descriptors (), ==, n_descriptors);
}

/* ---- tests ---- */

static void
test_source_fails (Fixture *fixture, gconstpointer data)
{
  guint n_descriptors = count_descriptors (), nth = 1;

  for (;; nth++)
    {
      g_autoptr (ImgError) error = NULL;

      arm (&fixture->pipe, nth, PIPE_FAILS, NULL);
      if (convert (fixture, NULL, NULL, &error))
        break;
      g_assert_true (img_error_matches (error, IMG_CODE_FOREIGN));
      assert_nothing_left (fixture, n_descriptors);
    }
  g_assert_cmpuint (nth, ==, N_READS + 1);
  assert_disk (fixture, NULL);
}

/* A shorter disk, which only a length can tell from a whole one. */
static void
test_source_ends (Fixture *fixture, gconstpointer data)
{
  guint n_descriptors = count_descriptors ();

  for (guint nth = 1; nth < N_READS; nth = NEXT_READ (nth))
    {
      g_autoptr (ImgError) error = NULL;
      gboolean success;

      arm (&fixture->pipe, nth, PIPE_ENDS, NULL);
      success = convert (fixture, NULL, NULL, &error);
      g_assert_true (success == (nth > 1 && !fixture->kind->has_length));
      g_assert_true (success || img_error_matches (error, IMG_CODE_CORRUPT));
      g_unlink (fixture->path);
      assert_nothing_left (fixture, n_descriptors);
    }
}

static void
test_source_short (Fixture *fixture, gconstpointer data)
{
  /* From that read on: the last 512 bytes come one by one. */
  arm (&fixture->pipe, N_READS - 1, PIPE_SHORT, NULL);
  g_assert_true (convert (fixture, NULL, NULL, NULL));
  g_assert_cmpuint (fixture->pipe.n_reads, >=, 512);
  assert_disk (fixture, NULL);
}

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  guint n_descriptors = count_descriptors ();

  for (guint nth = 1; nth <= N_READS; nth = NEXT_READ (nth))
    {
      g_autoptr (ImgCancel) cancel = img_cancel_new ();
      g_autoptr (ImgError) error = NULL;

      arm (&fixture->pipe, nth, PIPE_CANCELS, cancel);
      g_assert_false (convert (fixture, NULL, cancel, &error));
      g_assert_true (img_error_matches (error, IMG_CODE_CANCELLED));
      assert_nothing_left (fixture, n_descriptors);
    }
}

static void
test_target_fails (Fixture *fixture, gconstpointer data)
{
  for (guint nth = 1;; nth++)
    {
      g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (0);
      g_autoptr (ImgStorage) trap = test_trap_storage_new (memory);
      g_autoptr (ImgError) error = NULL;
      gboolean success;

      arm (&fixture->pipe, 0, PIPE_FAILS, NULL);
      test_trap_storage_set (trap, nth, nth % 2, NULL);
      success = convert (fixture, trap, NULL, &error);
      g_assert_true (success == !test_trap_storage_is_sprung (trap));
      if (success)
        {
          g_assert_cmpuint (nth, >, 3);
          assert_disk (fixture, memory);
          break;
        }
      g_assert_true (img_error_matches (error, IMG_CODE_ERRNO) ||
                     img_error_matches (error, IMG_CODE_FLUSH_FAILED));
    }
}

/* The pipe falls silent in its third chunk, for good, and the target fails when it gets the second
 * one: the job ends, and tells why the target failed, not that the pipe was left alone. */
static void
test_target_fails_in_silence (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) memory = img_memory_storage_new_writable (0);
  g_autoptr (ImgStorage) trap = test_trap_storage_new (memory);
  g_autoptr (ImgError) error = NULL;

  arm (&fixture->pipe, 2 * READS_PER_CHUNK + 2, PIPE_SILENT, NULL);
  fixture->pipe.trap = trap;
  fixture->pipe.trap_at = READS_PER_CHUNK + 2;
  g_assert_false (convert (fixture, trap, NULL, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_ERRNO));
  g_assert_true (fixture->pipe.aborted);
}

static void
test_no_memory (Fixture *fixture, gconstpointer data)
{
  guint n_descriptors = count_descriptors (), nth = 1;

  for (;; nth++)
    {
      g_autoptr (ImgError) error = NULL;
      gboolean success, failed;

      arm (&fixture->pipe, 0, PIPE_FAILS, NULL);
      img_alloc_set_fault (nth, nth % 2);
      success = convert (fixture, NULL, NULL, &error);
      failed = img_alloc_clear_fault ();
      if (success && !failed)
        break;
      g_assert_true (success || img_error_matches (error, IMG_CODE_NO_MEMORY));
      g_unlink (fixture->path);
      assert_nothing_left (fixture, n_descriptors);
    }
  g_assert_cmpuint (nth, >, 2);
  assert_disk (fixture, NULL);
}

static const Kind kinds[] = {
  { "raw", "raw", FALSE, FALSE },
  { "raw-of-length", "raw", FALSE, TRUE },
  { "qcow2", "qcow2", FALSE, FALSE },
  { "qcow2-compressed", "qcow2", TRUE, FALSE },
};

static void
add_test (const char *name, void (*test) (Fixture *, gconstpointer))
{
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *path = g_strdup_printf ("/convert-stream/%s/%s", kinds[i].name, name);

      g_test_add (path, Fixture, &kinds[i], set_up, test, tear_down);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("source-fails", test_source_fails);
  add_test ("source-ends", test_source_ends);
  add_test ("source-short", test_source_short);
  add_test ("cancel", test_cancel);
  add_test ("target-fails", test_target_fails);
  add_test ("target-fails-in-silence", test_target_fails_in_silence);
  add_test ("no-memory", test_no_memory);
  return g_test_run ();
}
