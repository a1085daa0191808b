/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Locks. Another program is played by descriptors of this one: to the kernel they are strangers. */

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img-file-lock.h"
#include "img-file-storage.h"
#include "img-simple-storages.h"
#include "test-storages.h"

#define READ_BYTES "100 201 203"
#define WRITE_BYTES "100 101 103 201 203"
#define N_ROLES 4

typedef struct
{
  char *path;
  int stranger; /* a descriptor that is not the library's */
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  int fd = g_file_open_tmp ("imago-lock-XXXXXX", &fixture->path, NULL);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
  fixture->stranger = open (fixture->path, O_RDONLY | O_CLOEXEC);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  close (fixture->stranger);
  g_unlink (fixture->path);
  g_free (fixture->path);
}

static gboolean
has_byte (int fd, int byte)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

  g_assert_cmpint (fcntl (fd, F_OFD_GETLK, &lock), ==, 0);
  return lock.l_type != F_UNLCK;
}

/* All that anybody but the stranger holds. */
static void
assert_bytes (Fixture *fixture, const char *expected)
{
  g_autoptr (GString) seen = g_string_new (NULL);

  for (int byte = 0; byte < 300; byte++)
    if (has_byte (fixture->stranger, byte))
      g_string_append_printf (seen, "%s%d", seen->len > 0 ? " " : "", byte);
  g_assert_cmpstr (seen->str, ==, expected);
}

static void
set_byte (Fixture *fixture, int byte, short type)
{
  struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

  g_assert_cmpint (fcntl (fixture->stranger, F_OFD_SETLK, &lock), ==, 0);
}

static ImgStorage *
open_storage (Fixture *fixture, ImgFileFlags flags)
{
  ImgStorage *storage = img_file_storage_open (fixture->path, flags, NULL);

  g_assert_nonnull (storage);
  return storage;
}

static ImgFileLock *
take (ImgStorage *storage, ImgLockRole role, ImgError **error)
{
  ImgFileLock *lock;
  gboolean success = img_storage_lock (storage, role, IMG_LOCKING_ON, &lock, error);

  g_assert_true (success == (lock != NULL));
  return lock;
}

static void
assert_locked (ImgError *error, const char *name, const char *words)
{
  g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
  g_assert_nonnull (strstr (error->text, name));
  g_assert_nonnull (strstr (error->text, words));
  img_error_free (error);
}

static void
test_bytes (Fixture *fixture, gconstpointer data)
{
  static const char *const bytes[] = {
    [IMG_LOCK_READ] = READ_BYTES,
    [IMG_LOCK_READ_SHARED] = "100",
    [IMG_LOCK_WRITE] = WRITE_BYTES,
    [IMG_LOCK_CREATE] = "101 103 203",
  };
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  g_autoptr (ImgStorage) window = img_window_storage_new (storage, 0, 10);
  g_autoptr (ImgStorage) null = img_null_storage_new (10);
  ImgFileLock *lock;

  for (guint role = 0; role < G_N_ELEMENTS (bytes); role++)
    for (guint i = 0; i < 2; i++)
      {
        lock = take (i == 0 ? storage : window, (ImgLockRole) role, NULL);
        g_assert_nonnull (lock);
        assert_bytes (fixture, bytes[role]);
        img_file_lock_release (lock);
        assert_bytes (fixture, "");
      }
  g_assert_true (img_storage_lock (storage, IMG_LOCK_WRITE, IMG_LOCKING_OFF, &lock, NULL));
  g_assert_null (lock);
  assert_bytes (fixture, "");
  g_assert_true (img_storage_lock (null, IMG_LOCK_WRITE, IMG_LOCKING_ON, &lock, NULL));
  g_assert_null (lock);
}

/* Which roles of one process get along, whatever the descriptors. */
static void
test_this_process (Fixture *fixture, gconstpointer data)
{
  static const gboolean allowed[N_ROLES][N_ROLES] = {
    [IMG_LOCK_READ] = { TRUE, TRUE, FALSE, FALSE },
    [IMG_LOCK_READ_SHARED] = { TRUE, TRUE, TRUE, TRUE },
    [IMG_LOCK_WRITE] = { FALSE, TRUE, FALSE, FALSE },
    [IMG_LOCK_CREATE] = { FALSE, TRUE, FALSE, FALSE },
  };
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  g_autoptr (ImgStorage) other = open_storage (fixture, IMG_FILE_WRITABLE);

  for (guint first = 0; first < N_ROLES; first++)
    for (guint second = 0; second < N_ROLES; second++)
      for (guint same = 0; same < 2; same++)
        {
          ImgError *error = NULL;
          g_autoptr (ImgFileLock) one = take (storage, (ImgLockRole) first, NULL);
          g_autoptr (ImgFileLock) two =
            take (same ? storage : other, (ImgLockRole) second, &error);

          g_assert_nonnull (one);
          g_assert_true ((two != NULL) == allowed[first][second]);
          if (two == NULL)
            assert_locked (error, fixture->path, first == IMG_LOCK_READ ? "this process has it open for reading"
                                                                       : "this process has it open for writing");
        }
  assert_bytes (fixture, "");
}

/* One that leaves takes nothing from those that stay, also when the file that was opened first is closed. */
static void
test_shared_description (Fixture *fixture, gconstpointer data)
{
  ImgStorage *first = open_storage (fixture, IMG_FILE_NONE);
  g_autoptr (ImgStorage) second = open_storage (fixture, IMG_FILE_NONE);
  ImgFileLock *one = take (first, IMG_LOCK_READ, NULL);
  ImgFileLock *two = take (second, IMG_LOCK_READ_SHARED, NULL);
  ImgFileLock *three = take (second, IMG_LOCK_READ, NULL);

  img_file_lock_release (one);
  img_storage_unref (first);
  assert_bytes (fixture, READ_BYTES);
  img_file_lock_release (three);
  assert_bytes (fixture, "100");
  img_file_lock_release (two);
  assert_bytes (fixture, "");
}

typedef struct
{
  int byte;
  gboolean allowed[N_ROLES];
  const char *words;
} Stranger;

static void
test_other_process (Fixture *fixture, gconstpointer data)
{
  static const Stranger strangers[] = {
    { 100, { TRUE, TRUE, TRUE, TRUE }, NULL },
    { 101, { FALSE, TRUE, FALSE, TRUE }, "another process is writing to it" },
    { 103, { FALSE, TRUE, FALSE, FALSE }, "another process is changing its size" },
    { 200, { FALSE, FALSE, FALSE, TRUE }, "another process is using it alone" },
    { 201, { TRUE, TRUE, FALSE, FALSE }, "another process is using it and lets nobody write" },
    { 203, { TRUE, TRUE, FALSE, FALSE }, "another process is using it and lets nobody write" },
    { 0, { TRUE, TRUE, TRUE, TRUE }, NULL },
  };
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_WRITABLE);

  for (guint i = 0; i < G_N_ELEMENTS (strangers); i++)
    {
      set_byte (fixture, strangers[i].byte, F_RDLCK);
      for (guint role = 0; role < N_ROLES; role++)
        {
          ImgError *error = NULL;
          g_autoptr (ImgFileLock) lock = take (storage, (ImgLockRole) role, &error);

          g_assert_true ((lock != NULL) == strangers[i].allowed[role]);
          if (lock == NULL)
            {
              assert_locked (error, fixture->path, strangers[i].words);
              assert_bytes (fixture, ""); /* nothing is left of the attempt */
            }
        }
      set_byte (fixture, strangers[i].byte, F_UNLCK);
    }
}

/* Somebody who locks more than the protocol says. */
static void
test_write_lock (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_WRITABLE);
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  int fd = open (fixture->path, O_RDWR | O_CLOEXEC);
  ImgError *error = NULL;

  g_assert_cmpint (fcntl (fd, F_OFD_SETLK, &lock), ==, 0);
  g_assert_null (take (storage, IMG_LOCK_READ_SHARED, &error));
  assert_locked (error, fixture->path, "another process is using it alone");
  close (fd);
  assert_bytes (fixture, "");
}

static void
test_change (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  g_autoptr (ImgFileLock) lock = take (storage, IMG_LOCK_READ, NULL);
  ImgFileLock *other;
  ImgError *error = NULL;

  /* Its own bytes are not in its way. */
  g_assert_true (img_file_lock_change (lock, IMG_LOCK_WRITE, NULL));
  assert_bytes (fixture, WRITE_BYTES);
  g_assert_true (img_file_lock_change (lock, IMG_LOCK_READ, NULL));
  assert_bytes (fixture, READ_BYTES);

  set_byte (fixture, 201, F_RDLCK); /* another reader */
  g_assert_false (img_file_lock_change (lock, IMG_LOCK_WRITE, &error));
  assert_locked (g_steal_pointer (&error), fixture->path, "another process");
  assert_bytes (fixture, READ_BYTES);
  set_byte (fixture, 201, F_UNLCK);

  other = take (storage, IMG_LOCK_READ, NULL);
  g_assert_false (img_file_lock_change (lock, IMG_LOCK_WRITE, &error));
  assert_locked (g_steal_pointer (&error), fixture->path, "this process");
  assert_bytes (fixture, READ_BYTES);
  img_file_lock_release (other);
  g_assert_true (img_file_lock_change (lock, IMG_LOCK_WRITE, NULL));
}

/* A child that was forked while a lock was held keeps the description open, but not the lock. */
static void
test_dup (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  int fd = dup (img_file_storage_get_fd (storage));
  ImgFileLock *lock = take (storage, IMG_LOCK_WRITE, NULL);

  img_file_lock_release (lock);
  assert_bytes (fixture, "");
  close (fd);
}

/* Of many that race, one at a time writes. */

typedef struct
{
  ImgStorage *storage;
  gint *n_writers; /* atomic */
  guint n_won;
} Racer;

static gpointer
race_thread (gpointer data)
{
  Racer *racer = data;

  for (guint i = 0; i < 500; i++)
    {
      ImgError *error = NULL;
      ImgFileLock *lock = take (racer->storage, i % 4 == 3 ? IMG_LOCK_READ_SHARED : IMG_LOCK_WRITE, &error);

      if (lock == NULL)
        {
          g_assert_true (img_error_matches (error, IMG_CODE_LOCKED));
          img_error_free (error);
          continue;
        }
      if (i % 4 != 3)
        {
          g_assert_cmpint (g_atomic_int_add (racer->n_writers, 1), ==, 0);
          g_atomic_int_add (racer->n_writers, -1);
          racer->n_won++;
        }
      img_file_lock_release (lock);
    }
  return NULL;
}

static void
test_race (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 4
  };
  gint n_writers = 0;
  guint n_won = 0;
  GThread *threads[N];
  Racer racers[N];

  for (guint i = 0; i < N; i++)
    {
      racers[i] = (Racer) { open_storage (fixture, IMG_FILE_NONE), &n_writers, 0 };
      threads[i] = g_thread_new ("racer", race_thread, &racers[i]);
    }
  for (guint i = 0; i < N; i++)
    {
      g_thread_join (threads[i]);
      n_won += racers[i].n_won;
      img_storage_unref (racers[i].storage);
    }
  g_test_message ("%u of %u writers won", n_won, N * 375);
  g_assert_cmpuint (n_won, >, 0);
  assert_bytes (fixture, "");
}

/* ---- those that are about to leave ---- */

typedef struct
{
  Fixture *fixture;
  ImgStorage *storage;
  ImgFileLock *lock; /* released by it, if there is one */
  guint n_runs;
  gboolean asks_itself;
} Leaver;

static void
leave_cb (gpointer data)
{
  Leaver *leaver = data;
  ImgError *error = NULL;

  leaver->n_runs++;
  if (leaver->asks_itself)
    {
      g_assert_null (take (leaver->storage, IMG_LOCK_WRITE, &error));
      assert_locked (error, leaver->fixture->path, "this process");
    }
  img_file_lock_release (g_steal_pointer (&leaver->lock));
}

/* What nobody has begun is done by whoever needs the file. */
static void
test_leaving (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  Leaver leaver = { .fixture = fixture, .storage = storage, .asks_itself = TRUE };
  ImgLeaving *leaving;
  ImgFileLock *lock;

  for (guint change = 0; change < 2; change++)
    {
      leaver.n_runs = 0;
      leaver.lock = take (storage, IMG_LOCK_READ, NULL);
      leaving = img_leaving_new (leave_cb, &leaver);
      img_file_lock_leave (leaver.lock, leaving);

      lock = take (storage, IMG_LOCK_READ, NULL); /* they get along: nobody is hurried */
      g_assert_cmpuint (leaver.n_runs, ==, 0);
      if (change)
        g_assert_true (img_file_lock_change (lock, IMG_LOCK_WRITE, NULL));
      else
        {
          img_file_lock_release (lock);
          lock = take (storage, IMG_LOCK_WRITE, NULL);
        }
      g_assert_nonnull (lock);
      g_assert_cmpuint (leaver.n_runs, ==, 1);
      assert_bytes (fixture, WRITE_BYTES);
      img_leaving_run (leaving); /* the worker comes too late */
      g_assert_cmpuint (leaver.n_runs, ==, 1);
      img_file_lock_release (lock);
      assert_bytes (fixture, "");
    }
}

/* Nobody waits in vain. */
static void
test_leaving_in_vain (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  Leaver leaver = { .fixture = fixture, .storage = storage };
  g_autoptr (ImgFileLock) stays = take (storage, IMG_LOCK_READ, NULL);
  ImgLeaving *leaving = img_leaving_new (leave_cb, &leaver);
  ImgError *error = NULL;

  /* Somebody else is in the way as well. */
  leaver.lock = take (storage, IMG_LOCK_READ, NULL);
  img_file_lock_leave (leaver.lock, leaving);
  g_assert_null (take (storage, IMG_LOCK_WRITE, &error));
  assert_locked (g_steal_pointer (&error), fixture->path, "this process");
  g_assert_cmpuint (leaver.n_runs, ==, 0);
  img_leaving_run (leaving);
  g_assert_null (leaver.lock);

  /* It was kept after all, time and again. */
  for (guint i = 0; i < 100; i++)
    {
      leaving = img_leaving_new (leave_cb, &leaver);
      img_file_lock_leave (stays, leaving);
      leaver.n_runs = 0;
      g_assert_null (take (storage, IMG_LOCK_WRITE, &error));
      assert_locked (g_steal_pointer (&error), fixture->path, "this process");
      g_assert_cmpuint (leaver.n_runs, ==, 1);
      img_leaving_run (leaving);
    }
}

static gpointer
leaving_thread (gpointer data)
{
  img_leaving_run (data);
  return NULL;
}

/* The worker and the one who needs the file at once: whichever begins. */
static void
test_leaving_race (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);

  for (guint i = 0; i < 500; i++)
    {
      Leaver leaver = { .fixture = fixture, .storage = storage };
      ImgLeaving *leaving = img_leaving_new (leave_cb, &leaver);
      ImgFileLock *lock;
      GThread *thread;

      leaver.lock = take (storage, IMG_LOCK_WRITE, NULL);
      g_assert_nonnull (leaver.lock);
      img_file_lock_leave (leaver.lock, leaving);
      thread = g_thread_new ("leaving", leaving_thread, leaving);
      lock = take (storage, IMG_LOCK_WRITE, NULL);
      g_assert_nonnull (lock);
      g_thread_join (thread);
      g_assert_cmpuint (leaver.n_runs, ==, 1);
      img_file_lock_release (lock);
    }
  assert_bytes (fixture, "");
}

/* ---- images ---- */

static ImgImage *
open_image (Fixture *fixture, ImgFileFlags flags, const ImgImageOptions *options, ImgError **error)
{
  g_autoptr (ImgStorage) storage = open_storage (fixture, flags);

  return img_image_open (storage, options, NULL, error);
}

static void
test_image (Fixture *fixture, gconstpointer data)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .locking = IMG_LOCKING_ON };
  ImgImage *image;
  ImgError *error = NULL;

  g_assert_cmpint (truncate (fixture->path, 65536), ==, 0);
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  assert_bytes (fixture, "100");
  img_image_unref (image);
  assert_bytes (fixture, "");

  options.keep_unchanged = TRUE;
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  assert_bytes (fixture, READ_BYTES);
  g_assert_true (img_image_close (image, NULL));
  assert_bytes (fixture, ""); /* though there is a reference left */
  img_image_unref (image);

  options.layout.writable = TRUE;
  image = open_image (fixture, IMG_FILE_WRITABLE, &options, NULL);
  assert_bytes (fixture, WRITE_BYTES);
  g_assert_null (open_image (fixture, IMG_FILE_WRITABLE, &options, &error));
  assert_locked (g_steal_pointer (&error), fixture->path, "this process");
  img_image_unref (image);
  options.force_share = TRUE;
  g_assert_null (open_image (fixture, IMG_FILE_WRITABLE, &options, &error));
  g_assert_true (img_error_matches (error, IMG_CODE_INVALID_OPTION));
  img_error_clear (&error);

  /* A file that turns out to be none of the format is unlocked again. */
  options = (ImgImageOptions) { .driver = img_driver_find ("qcow2") };
  g_assert_null (open_image (fixture, IMG_FILE_NONE, &options, &error));
  img_error_clear (&error);
  assert_bytes (fixture, "");
}

/* A raw image over which another one is read. */
static ImgImage *
put_above (ImgImage *backing)
{
  ImgImageOptions options = { .driver = img_driver_find ("qcow2") };
  ImgCreateOptions create = { .size = 65536 };
  g_autoptr (ImgStorage) storage = img_memory_storage_new_writable (0);
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *overlay;

  g_assert_true (options.driver->create (storage, &create, NULL, NULL, NULL));
  overlay = img_image_open (storage, &options, NULL, NULL);
  g_assert_true (img_image_set_backing (overlay, backing, NULL));
  g_assert_true (img_image_open_references (overlay, policy, NULL, NULL));
  return overlay;
}

static void
drop_cb (gpointer image)
{
  img_image_unref (image);
}

/* A chain that is dropped leaves as a whole, but for what somebody else reads. */
static void
test_leaving_chain (Fixture *fixture, gconstpointer data)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .keep_unchanged = TRUE };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  g_autoptr (ImgStorage) storage = open_storage (fixture, IMG_FILE_NONE);
  ImgImage *image, *first, *second;
  ImgLeaving *leaving;
  ImgError *error = NULL;

  g_assert_cmpint (truncate (fixture->path, 65536), ==, 0);
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  first = put_above (image);
  second = put_above (image);
  img_image_unref (image);

  leaving = img_leaving_new (drop_cb, first);
  img_image_leave (first, leaving);
  g_assert_null (take (storage, IMG_LOCK_WRITE, &error));
  assert_locked (error, fixture->path, "this process");
  img_leaving_run (leaving);

  leaving = img_leaving_new (drop_cb, second);
  img_image_leave (second, leaving);
  img_file_lock_release (take (storage, IMG_LOCK_WRITE, NULL));
  img_leaving_run (leaving);
  assert_bytes (fixture, "");
}

/* What is read as raw may be written to meanwhile, unless somebody says otherwise. */
static void
test_keep_unchanged (Fixture *fixture, gconstpointer data)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .locking = IMG_LOCKING_ON };
  ImgFileLock *lock;
  ImgImage *image;
  ImgError *error = NULL;

  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  g_assert_true (img_image_keep_unchanged (image, &lock, NULL));
  assert_bytes (fixture, READ_BYTES);
  img_file_lock_release (lock);
  assert_bytes (fixture, "100");
  set_byte (fixture, 101, F_RDLCK);
  g_assert_false (img_image_keep_unchanged (image, &lock, &error));
  assert_locked (error, fixture->path, "another process is writing to it");
  g_assert_null (lock);
  set_byte (fixture, 101, F_UNLCK);
  img_image_unref (image);

  for (guint i = 0; i < 3; i++)
    {
      options.layout.writable = i == 0;
      options.force_share = i == 1;
      options.locking = i == 2 ? IMG_LOCKING_OFF : IMG_LOCKING_ON;
      image = open_image (fixture, IMG_FILE_WRITABLE, &options, NULL);
      g_assert_true (img_image_keep_unchanged (image, &lock, NULL));
      g_assert_null (lock);
      img_image_unref (image);
    }
}

/* A file stays locked as long as an image above reads it, whoever else closes or drops it. */
static void
test_below (Fixture *fixture, gconstpointer data)
{
  ImgImageOptions options = { .driver = img_driver_find ("raw"), .keep_unchanged = TRUE };
  g_autoptr (ImgPolicy) policy = img_policy_new_deny ();
  ImgImage *image, *first, *second;

  g_assert_cmpint (truncate (fixture->path, 65536), ==, 0);
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  first = put_above (image);
  second = put_above (image);
  g_assert_true (img_image_close (image, NULL));
  assert_bytes (fixture, READ_BYTES);
  g_assert_true (img_image_close (first, NULL));
  assert_bytes (fixture, READ_BYTES);
  img_image_unref (second); /* dropped without a close */
  assert_bytes (fixture, "");
  img_image_unref (first);
  img_image_unref (image);

  /* One that the application goes on using is its own. */
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  first = put_above (image);
  g_assert_true (img_image_close (first, NULL));
  img_image_unref (first);
  assert_bytes (fixture, READ_BYTES);
  g_assert_true (img_image_close (image, NULL));
  assert_bytes (fixture, "");
  img_image_unref (image);

  /* One that nobody else knows goes with the image above. */
  image = open_image (fixture, IMG_FILE_NONE, &options, NULL);
  g_assert_true (img_image_open_references (image, policy, NULL, NULL));
  first = put_above (image);
  img_image_unref (image);
  g_assert_true (img_image_close (first, NULL));
  assert_bytes (fixture, "");
  img_image_unref (first);
}

#define ADD(path, func) g_test_add ("/file-lock/" path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("bytes", test_bytes);
  ADD ("this-process", test_this_process);
  ADD ("shared-description", test_shared_description);
  ADD ("other-process", test_other_process);
  ADD ("write-lock", test_write_lock);
  ADD ("change", test_change);
  ADD ("dup", test_dup);
  ADD ("race", test_race);
  ADD ("image", test_image);
  ADD ("below", test_below);
  ADD ("leaving", test_leaving);
  ADD ("leaving-in-vain", test_leaving_in_vain);
  ADD ("leaving-race", test_leaving_race);
  ADD ("leaving-chain", test_leaving_chain);
  ADD ("keep-unchanged", test_keep_unchanged);
  return g_test_run ();
}
