/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <imago-glib/imago-glib.h>
#include <string.h>
#include <unistd.h>

#include "test-images.h"

#define DISK_SIZE (1 << 20)

/* A folder with "overlay.qcow2" on "base.raw", another folder inside with the same, and memory
 * storages. */
typedef struct
{
  char *folder;
  GByteArray *pattern;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .size = DISK_SIZE, .backing = "base.raw", .backing_format = "raw" };

  fixture->folder = test_folder_new ();
  fixture->pattern = test_pattern_new (DISK_SIZE, 5);
  g_free (test_write (fixture->folder, "base.raw", g_byte_array_ref (fixture->pattern)));
  g_free (test_write (fixture->folder, "overlay.qcow2", test_qcow2_new (&what)));
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_byte_array_unref (fixture->pattern);
  test_folder_remove (fixture->folder);
}

static GFile *
file_in (Fixture *fixture, const char *name)
{
  g_autofree char *path = test_path (fixture->folder, name);

  return g_file_new_for_path (path);
}

static ImagoStorage *
base_storage (Fixture *fixture)
{
  g_autoptr (GBytes) bytes = g_bytes_new (fixture->pattern->data, fixture->pattern->len);

  return imago_memory_storage_new (bytes);
}

static ImagoOpenOptions *
options_with (ImagoReferencePolicy *policy)
{
  return g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", "qcow2", "reference-policy", policy,
                       NULL);
}

static ImagoImage *
open_named (Fixture *fixture, const char *name, ImagoReferencePolicy *policy, GError **error)
{
  g_autoptr (GFile) file = file_in (fixture, name);
  g_autoptr (ImagoOpenOptions) options = options_with (policy);

  return imago_image_open (file, options, NULL, error);
}

static void
assert_shows_base (Fixture *fixture, ImagoImage *image)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes (image, 4095, 100000, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                   fixture->pattern->data + 4095, 100000);
}

/* ---- built in ---- */

static void
test_deny (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_deny_policy_new ();
  g_autoptr (GError) error = NULL;

  g_assert_null (open_named (fixture, "overlay.qcow2", NULL, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_assert_nonnull (strstr (error->message, "base.raw"));
  g_clear_error (&error);
  g_assert_null (open_named (fixture, "overlay.qcow2", policy, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
}

static void
test_same_directory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_named (fixture, "overlay.qcow2", policy, &error);

  g_assert_no_error (error);
  assert_shows_base (fixture, image);
}

static void
assert_not_beside (Fixture *fixture, const TestQcow2 *what, const char *name)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (GError) error = NULL;

  g_free (test_write (fixture->folder, name, test_qcow2_new (what)));
  g_assert_null (open_named (fixture, name, policy, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
}

static void
test_same_directory_only (Fixture *fixture, gconstpointer data)
{
  g_autofree char *elsewhere = test_folder_new ();
  g_autofree char *outside = test_write (elsewhere, "base.raw", test_pattern_new (DISK_SIZE, 1));
  g_autofree char *beside = test_path (fixture->folder, "base.raw");
  g_autofree char *relative =
    g_build_filename ("..", strrchr (elsewhere, '/') + 1, "base.raw", NULL);
  g_autofree char *link = test_path (fixture->folder, "link.raw");
  const TestQcow2 inside = { .size = DISK_SIZE, .backing = beside, .backing_format = "raw" };
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (symlink (outside, link), ==, 0);
  assert_not_beside (fixture, &(TestQcow2){ .backing = outside, .backing_format = "raw" },
                     "absolute.qcow2");
  assert_not_beside (fixture, &(TestQcow2){ .backing = relative, .backing_format = "raw" },
                     "relative.qcow2");
  assert_not_beside (fixture, &(TestQcow2){ .backing = "json:{}", .backing_format = "raw" },
                     "json.qcow2");
  assert_not_beside (fixture, &(TestQcow2){ .backing = "..", .backing_format = "raw" },
                     "dots.qcow2");

  g_free (
    test_write (fixture->folder, "linked.qcow2",
                test_qcow2_new (&(TestQcow2){ .backing = "link.raw", .backing_format = "raw" })));
  g_assert_null (open_named (fixture, "linked.qcow2", policy, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);

  /* The same directory by its absolute name. */
  g_free (test_write (fixture->folder, "inside.qcow2", test_qcow2_new (&inside)));
  image = open_named (fixture, "inside.qcow2", policy, &error);
  g_assert_no_error (error);
  assert_shows_base (fixture, image);
  test_folder_remove (g_steal_pointer (&elsewhere));
}

static void
test_permissive (Fixture *fixture, gconstpointer data)
{
  g_autofree char *elsewhere = test_folder_new ();
  g_autofree char *base = test_path (fixture->folder, "base.raw");
  const TestQcow2 what = { .size = DISK_SIZE, .backing = base };
  g_autofree char *path = test_write (elsewhere, "overlay.qcow2", test_qcow2_new (&what));
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (ImagoReferencePolicy) policy = imago_permissive_policy_new ();
  g_autoptr (ImagoOpenOptions) options = options_with (policy);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = imago_image_open (file, options, NULL, &error);

  g_assert_no_error (error);
  assert_shows_base (fixture, image);
  test_folder_remove (g_steal_pointer (&elsewhere));
}

/* An image in memory on a name that is no file anywhere. */
static ImagoImage *
open_in_memory (const TestQcow2 *what, ImagoReferencePolicy *policy, GError **error)
{
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (what));
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoOpenOptions) options = options_with (policy);

  return imago_image_open_storage (storage, options, NULL, error);
}

static void
test_map (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 what = { .size = DISK_SIZE, .backing = "nbd://\xff", .backing_format = "qcow2" };
  g_autoptr (ImagoMapPolicy) policy = imago_map_policy_new ();
  g_autoptr (ImagoStorage) base = base_storage (fixture);
  g_autoptr (ImagoStorage) other = imago_null_storage_new (10);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  g_assert_null (open_in_memory (&what, IMAGO_REFERENCE_POLICY (policy), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_assert_true (g_utf8_validate (error->message, -1, NULL));
  g_clear_error (&error);

  imago_map_policy_add (policy, "nbd://\xff", other, NULL);
  imago_map_policy_add (policy, "something else", other, NULL);
  imago_map_policy_add (policy, "nbd://\xff", base, "raw");
  image = open_in_memory (&what, IMAGO_REFERENCE_POLICY (policy), &error);
  g_assert_no_error (error);
  assert_shows_base (fixture, image);
}

/* The format that the image declares, where the map gives none. */
static void
test_map_declared_format (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoMapPolicy) policy = imago_map_policy_new ();
  g_autoptr (ImagoStorage) base = base_storage (fixture);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  imago_map_policy_add (policy, "b", base, NULL);
  g_assert_null (
    open_in_memory (&(TestQcow2){ .backing = "b" }, IMAGO_REFERENCE_POLICY (policy), &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT);
  g_clear_error (&error);
  image =
    open_in_memory (&(TestQcow2){ .size = DISK_SIZE, .backing = "b", .backing_format = "raw" },
                    IMAGO_REFERENCE_POLICY (policy), &error);
  g_assert_no_error (error);
  assert_shows_base (fixture, image);
}

/* ---- a function of the application ---- */

typedef enum
{
  GRANT,
  GRANT_LATER,     /* from the thread-default context of the call */
  GRANT_FROM_LOOP, /* from the main loop of the application */
  DENY,
  DENY_WITH_ERROR,
  FAIL,
  FAIL_WITH_ERROR,
  FAIL_AFTER_GRANT,
  GRANT_TWICE,
  GRANT_AND_DENY,
  DROP,
  KEEP,
  CHOOSE_FORMAT,
} Answer;

typedef struct
{
  Answer answer;
  ImagoStorage *storage;
  ImagoReference *kept;
  GThread *ran_on;
  GThread *freed_on;
  guint n_calls;
} Hook;

typedef struct
{
  ImagoReference *reference;
  ImagoStorage *storage;
} Later;

static gboolean
grant_later_cb (gpointer data)
{
  Later *later = data;

  imago_reference_grant (later->reference, later->storage);
  return G_SOURCE_REMOVE;
}

static void
later_free (gpointer data)
{
  Later *later = data;

  g_object_unref (later->reference);
  g_object_unref (later->storage);
  g_free (later);
}

static void
grant_later (ImagoReference *reference, ImagoStorage *storage, GMainContext *context)
{
  g_autoptr (GSource) source = g_timeout_source_new (5);
  Later *later = g_new (Later, 1);

  later->reference = g_object_ref (reference);
  later->storage = g_object_ref (storage);
  g_source_set_callback (source, grant_later_cb, later, later_free);
  g_source_attach (source, context);
}

static gboolean
hook_cb (ImagoReference *reference, gpointer user_data, GError **error)
{
  Hook *hook = user_data;
  g_autoptr (GMainContext) context = g_main_context_ref_thread_default ();
  g_autoptr (GError) reason =
    g_error_new (G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "the user said no");

  hook->ran_on = g_thread_self ();
  hook->n_calls++;
  switch (hook->answer)
    {
    case GRANT:
      imago_reference_grant (reference, hook->storage);
      return TRUE;
    case GRANT_LATER:
      grant_later (reference, hook->storage, context);
      return TRUE;
    case GRANT_FROM_LOOP:
      grant_later (reference, hook->storage, NULL);
      return TRUE;
    case DENY:
      imago_reference_deny (reference, NULL);
      return TRUE;
    case DENY_WITH_ERROR:
      imago_reference_deny (reference, reason);
      return TRUE;
    case FAIL:
      return FALSE;
    case FAIL_WITH_ERROR:
      g_set_error_literal (error, G_MARKUP_ERROR, G_MARKUP_ERROR_EMPTY, "a strange reason");
      return FALSE;
    case FAIL_AFTER_GRANT:
      imago_reference_grant (reference, hook->storage);
      g_set_error_literal (error, IMAGO_ERROR, IMAGO_ERROR_FAILED, "changed its mind");
      return FALSE;
    case GRANT_TWICE:
      imago_reference_grant (reference, hook->storage);
      imago_reference_grant (reference, hook->storage);
      return TRUE;
    case GRANT_AND_DENY:
      imago_reference_grant (reference, hook->storage);
      imago_reference_deny (reference, NULL);
      return TRUE;
    case DROP:
      return TRUE;
    case KEEP:
      g_atomic_pointer_set (&hook->kept, g_object_ref (reference));
      return TRUE;
    case CHOOSE_FORMAT:
      imago_reference_set_format_name (reference, "nonsense");
      imago_reference_set_format_name (reference, NULL);
      imago_reference_set_format_name (reference, "raw");
      imago_reference_grant (reference, hook->storage);
      return TRUE;
    }
  g_assert_not_reached ();
}

static void
hook_freed_cb (gpointer data)
{
  Hook *hook = data;

  g_assert_null (hook->freed_on);
  hook->freed_on = g_thread_self ();
}

static void
assert_verdict (Fixture *fixture, const Hook *hook, ImagoImage *image, GError *error)
{
  switch (hook->answer)
    {
    case GRANT:
    case GRANT_LATER:
    case GRANT_FROM_LOOP:
    case CHOOSE_FORMAT:
      g_assert_no_error (error);
      assert_shows_base (fixture, image);
      return;
    case DENY_WITH_ERROR:
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
      g_assert_nonnull (strstr (error->message, "the user said no"));
      break;
    case FAIL_WITH_ERROR:
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
      g_assert_nonnull (strstr (error->message, "a strange reason"));
      break;
    case FAIL_AFTER_GRANT:
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_FAILED);
      break;
    default:
      g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
      break;
    }
  g_assert_null (image);
}

/* The folder's overlay declares raw; one without a format needs the hook to choose. */
static const char *
overlay_for (Fixture *fixture, Answer answer)
{
  const TestQcow2 what = { .size = DISK_SIZE, .backing = "anything" };

  if (answer != CHOOSE_FORMAT)
    return "overlay.qcow2";
  g_free (test_write (fixture->folder, "undeclared.qcow2", test_qcow2_new (&what)));
  return "undeclared.qcow2";
}

static void
test_callback_sync (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = GPOINTER_TO_INT (data), .storage = base_storage (fixture) };
  ImagoReferencePolicy *policy = imago_callback_policy_new (hook_cb, &hook, hook_freed_cb);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image =
    open_named (fixture, overlay_for (fixture, hook.answer), policy, &error);

  assert_verdict (fixture, &hook, image, error);
  g_assert_cmpuint (hook.n_calls, ==, 1);
  g_assert_true (hook.ran_on == g_thread_self ());
  g_clear_object (&image);
  g_object_unref (policy);
  while (hook.freed_on == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (hook.freed_on == g_thread_self ());
  g_object_unref (hook.storage);
}

typedef struct
{
  GMainLoop *loop;
  ImagoImage *image;
  GError *error;
  gboolean returned;
} Opening;

static void
opened_cb (GObject *source, GAsyncResult *result, gpointer data)
{
  Opening *opening = data;

  g_assert_true (opening->returned);
  opening->image = imago_image_open_finish (result, &opening->error);
  g_main_loop_quit (opening->loop);
}

static void
test_callback_async (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = GPOINTER_TO_INT (data), .storage = base_storage (fixture) };
  ImagoReferencePolicy *policy = imago_callback_policy_new (hook_cb, &hook, hook_freed_cb);
  g_autoptr (ImagoOpenOptions) options = options_with (policy);
  g_autoptr (GFile) file = file_in (fixture, overlay_for (fixture, hook.answer));
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Opening opening = { .loop = loop };

  imago_image_open_async (file, options, G_PRIORITY_DEFAULT, NULL, opened_cb, &opening);
  opening.returned = TRUE;
  g_main_loop_run (loop);
  assert_verdict (fixture, &hook, opening.image, opening.error);
  g_assert_cmpuint (hook.n_calls, ==, 1);
  g_assert_true (hook.ran_on == g_thread_self ());

  g_clear_object (&opening.image);
  g_clear_error (&opening.error);
  g_clear_object (&options);
  g_object_unref (policy);
  while (hook.freed_on == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (hook.freed_on == g_thread_self ());
  g_object_unref (hook.storage);
}

/* A thread of the application opens, the main loop answers. */
typedef struct
{
  Fixture *fixture;
  ImagoReferencePolicy *policy;
  GCancellable *cancellable;
  ImagoImage *image;
  GError *error;
  GMainLoop *loop; /* nullable */
} ThreadOpening;

static gboolean
quit_cb (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static gpointer
open_thread (gpointer data)
{
  ThreadOpening *opening = data;
  g_autoptr (GFile) file = file_in (opening->fixture, "overlay.qcow2");
  g_autoptr (ImagoOpenOptions) options = options_with (opening->policy);

  opening->image = imago_image_open (file, options, opening->cancellable, &opening->error);
  if (opening->loop != NULL)
    g_main_context_invoke (NULL, quit_cb, opening->loop);
  return NULL;
}

static void
test_callback_from_thread (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = GPOINTER_TO_INT (data), .storage = base_storage (fixture) };
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (hook_cb, &hook, NULL);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  ThreadOpening opening = { .fixture = fixture, .policy = policy, .loop = loop };
  GThread *thread = g_thread_new ("opener", open_thread, &opening);

  g_main_loop_run (loop);
  g_thread_join (thread);
  assert_verdict (fixture, &hook, opening.image, opening.error);
  g_assert_true (hook.ran_on == g_thread_self ());
  g_clear_object (&opening.image);
  g_clear_error (&opening.error);
  g_object_unref (hook.storage);
}

/* ---- answers that do not come ---- */

typedef struct
{
  Hook *hook;
  GCancellable *cancellable;
} Canceller;

/* Cancels once the hook has been asked. */
static gboolean
cancel_cb (gpointer data)
{
  Canceller *canceller = data;

  if (g_atomic_pointer_get (&canceller->hook->kept) == NULL)
    return G_SOURCE_CONTINUE;
  g_cancellable_cancel (canceller->cancellable);
  return G_SOURCE_REMOVE;
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = KEEP, .storage = base_storage (fixture) };
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (hook_cb, &hook, NULL);
  g_autoptr (ImagoOpenOptions) options = options_with (policy);
  g_autoptr (GFile) file = file_in (fixture, "overlay.qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Opening opening = { .loop = loop };
  Canceller canceller = { &hook, cancellable };

  imago_image_open_async (file, options, G_PRIORITY_DEFAULT, cancellable, opened_cb, &opening);
  opening.returned = TRUE;
  g_timeout_add (30, cancel_cb, &canceller);
  g_main_loop_run (loop);
  g_assert_null (opening.image);
  g_assert_error (opening.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&opening.error);
  /* Too late, and harmless. */
  g_assert_nonnull (hook.kept);
  imago_reference_grant (hook.kept, hook.storage);
  imago_reference_deny (hook.kept, NULL);
  g_object_unref (hook.kept);
  g_object_unref (hook.storage);
}

static gpointer
cancel_thread (gpointer data)
{
  do
    g_usleep (30000);
  while (cancel_cb (data) == G_SOURCE_CONTINUE);
  return NULL;
}

/* The hook was called on this very thread and never answers. */
static void
test_cancelled_sync (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = KEEP };
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (hook_cb, &hook, NULL);
  g_autoptr (ImagoOpenOptions) options = options_with (policy);
  g_autoptr (GFile) file = file_in (fixture, "overlay.qcow2");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  Canceller canceller = { &hook, cancellable };
  GThread *thread = g_thread_new ("canceller", cancel_thread, &canceller);

  g_assert_null (imago_image_open (file, options, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);
  g_object_unref (hook.kept);
}

/* The policy lives in a context that nobody iterates. */
static void
test_never_iterated (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Hook hook = { .answer = GRANT, .storage = base_storage (fixture) };
  ThreadOpening opening = { .fixture = fixture, .cancellable = cancellable };
  GThread *thread;

  g_main_context_push_thread_default (context);
  opening.policy = imago_callback_policy_new (hook_cb, &hook, hook_freed_cb);
  g_main_context_pop_thread_default (context);
  thread = g_thread_new ("opener", open_thread, &opening);
  g_usleep (30000);
  g_cancellable_cancel (cancellable);
  g_thread_join (thread);
  g_assert_null (opening.image);
  g_assert_error (opening.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (hook.n_calls, ==, 0);
  g_clear_error (&opening.error);
  g_object_unref (opening.policy);
  while (hook.freed_on == NULL) /* whoever was left behind with it lets go of it soon */
    g_main_context_iteration (context, TRUE);
  g_object_unref (hook.storage);
}

/* ---- a class of the application ---- */

#define TEST_TYPE_POLICY (test_policy_get_type ())
G_DECLARE_FINAL_TYPE (TestPolicy, test_policy, TEST, POLICY, GObject)

struct _TestPolicy
{
  GObject parent_instance;
  Hook *hook;
};

static gboolean
test_policy_decide (ImagoReferencePolicy *policy, ImagoReference *reference, GError **error)
{
  return hook_cb (reference, TEST_POLICY (policy)->hook, error);
}

static void
test_policy_iface_init (ImagoReferencePolicyInterface *iface)
{
  iface->decide = test_policy_decide;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (TestPolicy,
                               test_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY,
                                                      test_policy_iface_init))

static void
test_policy_finalize (GObject *object)
{
  hook_freed_cb (TEST_POLICY (object)->hook);
  G_OBJECT_CLASS (test_policy_parent_class)->finalize (object);
}

static void
test_policy_class_init (TestPolicyClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = test_policy_finalize;
}

static void
test_policy_init (TestPolicy *self)
{
}

static void
test_own_class (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = GPOINTER_TO_INT (data), .storage = base_storage (fixture) };
  TestPolicy *policy = g_object_new (TEST_TYPE_POLICY, NULL);
  g_autoptr (ImagoOpenOptions) options = NULL;
  g_autoptr (GFile) file = file_in (fixture, "overlay.qcow2");
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Opening opening = { .loop = loop };

  policy->hook = &hook;
  options = options_with (IMAGO_REFERENCE_POLICY (policy));
  imago_image_open_async (file, options, G_PRIORITY_DEFAULT, NULL, opened_cb, &opening);
  opening.returned = TRUE;
  g_main_loop_run (loop);
  assert_verdict (fixture, &hook, opening.image, opening.error);
  g_assert_true (hook.ran_on == g_thread_self ());

  g_clear_object (&opening.image);
  g_clear_error (&opening.error);
  g_clear_object (&options);
  g_object_unref (policy);
  while (hook.freed_on == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (hook.freed_on == g_thread_self ());
  g_object_unref (hook.storage);
}

/* Implements the interface without its only function, and a callback policy without a callback. */
#define TEST_TYPE_EMPTY_POLICY (test_empty_policy_get_type ())
G_DECLARE_FINAL_TYPE (TestEmptyPolicy, test_empty_policy, TEST, EMPTY_POLICY, GObject)

struct _TestEmptyPolicy
{
  GObject parent_instance;
};

static void
test_empty_policy_iface_init (ImagoReferencePolicyInterface *iface)
{
}

G_DEFINE_FINAL_TYPE_WITH_CODE (TestEmptyPolicy,
                               test_empty_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY,
                                                      test_empty_policy_iface_init))

static void
test_empty_policy_class_init (TestEmptyPolicyClass *klass)
{
}

static void
test_empty_policy_init (TestEmptyPolicy *self)
{
}

static void
test_nothing_to_ask (Fixture *fixture, gconstpointer data)
{
  g_autoptr (ImagoReferencePolicy) empty = g_object_new (TEST_TYPE_EMPTY_POLICY, NULL);
  g_autoptr (ImagoReferencePolicy) callback = g_object_new (IMAGO_TYPE_CALLBACK_POLICY, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_null (open_named (fixture, "overlay.qcow2", empty, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
  g_clear_error (&error);
  g_assert_null (open_named (fixture, "overlay.qcow2", callback, &error));
  g_assert_error (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED);
}

/* ---- what a hook is told ---- */

typedef struct
{
  ImagoStorage *middle;
  ImagoStorage *base;
  GString *story;
} Teller;

static gboolean
teller_cb (ImagoReference *reference, gpointer user_data, GError **error)
{
  Teller *teller = user_data;
  g_autofree char *format_name = imago_reference_dup_format_name (reference);
  g_autofree char *shown = imago_reference_dup_display_name (reference);
  guint depth = imago_reference_get_depth (reference);

  g_string_append_printf (
    teller->story, "%u %s %s %s; ", depth, shown, format_name,
    imago_reference_get_role (reference) == IMAGO_REFERENCE_BACKING_FILE ? "backing" : "data");
  imago_reference_grant (reference, depth == 1 ? teller->middle : teller->base);
  return TRUE;
}

static void
test_chain (Fixture *fixture, gconstpointer data)
{
  const TestQcow2 top = { .size = DISK_SIZE, .backing = "middle", .backing_format = "qcow2" };
  const TestQcow2 middle = { .size = DISK_SIZE, .backing = "/the/base\n", .backing_format = "raw" };
  g_autoptr (GBytes) bytes = test_to_bytes (test_qcow2_new (&middle));
  g_autoptr (ImagoStorage) storage = imago_memory_storage_new (bytes);
  g_autoptr (ImagoStorage) base = base_storage (fixture);
  g_autoptr (GString) story = g_string_new (NULL);
  Teller teller = { storage, base, story };
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (teller_cb, &teller, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_in_memory (&top, policy, &error);

  g_assert_no_error (error);
  assert_shows_base (fixture, image);
  g_assert_cmpstr (story->str, ==, "1 “middle” qcow2 backing; 2 “/the/base\\u000a” raw backing; ");
}

static void
test_file_of_reference (Fixture *fixture, gconstpointer data)
{
  Hook hook = { .answer = KEEP };
  g_autoptr (ImagoReferencePolicy) policy = imago_callback_policy_new (hook_cb, &hook, NULL);
  g_autoptr (GFile) base = file_in (fixture, "base.raw");
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GFile) file = file_in (fixture, "overlay.qcow2");
  g_autoptr (ImagoOpenOptions) options = options_with (policy);
  g_autofree char *name = NULL;
  g_autofree char *display_name = NULL;
  g_autofree char *format_name = NULL;
  g_autoptr (GFile) property = NULL;
  ImagoReferenceRole role;
  guint depth;
  Canceller canceller = { &hook, cancellable };
  GThread *thread = g_thread_new ("canceller", cancel_thread, &canceller);

  g_assert_null (imago_image_open (file, options, cancellable, NULL));
  g_thread_join (thread);
  g_assert_true (g_file_equal (imago_reference_get_file (hook.kept), base));
  g_object_get (hook.kept, "name", &name, "display-name", &display_name, "format-name",
                &format_name, "file", &property, "role", &role, "depth", &depth, NULL);
  g_assert_cmpstr (name, ==, "base.raw");
  g_assert_cmpstr (display_name, ==, "“base.raw”");
  g_assert_cmpstr (format_name, ==, "raw");
  g_assert_true (g_file_equal (property, base));
  g_assert_cmpint (role, ==, IMAGO_REFERENCE_BACKING_FILE);
  g_assert_cmpuint (depth, ==, 1);
  g_object_unref (hook.kept);
}

#define ADD(name, data, func)                                                                      \
  g_test_add ("/policy/" name, Fixture, GINT_TO_POINTER (data), set_up, func, tear_down)
#define ADD_ANSWER(name, answer)                                                                   \
  ADD ("callback-sync/" name, answer, test_callback_sync);                                         \
  ADD ("callback-async/" name, answer, test_callback_async)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  ADD ("deny", 0, test_deny);
  ADD ("same-directory", 0, test_same_directory);
  ADD ("same-directory-only", 0, test_same_directory_only);
  ADD ("permissive", 0, test_permissive);
  ADD ("map", 0, test_map);
  ADD ("map-declared-format", 0, test_map_declared_format);
  ADD_ANSWER ("grant", GRANT);
  ADD_ANSWER ("grant-later", GRANT_LATER);
  ADD ("callback-async/grant-from-loop", GRANT_FROM_LOOP, test_callback_async);
  ADD_ANSWER ("deny", DENY);
  ADD_ANSWER ("deny-with-error", DENY_WITH_ERROR);
  ADD_ANSWER ("fail", FAIL);
  ADD_ANSWER ("fail-with-error", FAIL_WITH_ERROR);
  ADD_ANSWER ("fail-after-grant", FAIL_AFTER_GRANT);
  ADD_ANSWER ("grant-twice", GRANT_TWICE);
  ADD_ANSWER ("grant-and-deny", GRANT_AND_DENY);
  ADD_ANSWER ("drop", DROP);
  ADD_ANSWER ("choose-format", CHOOSE_FORMAT);
  ADD ("from-thread/grant", GRANT, test_callback_from_thread);
  ADD ("from-thread/grant-later", GRANT_LATER, test_callback_from_thread);
  ADD ("from-thread/fail", FAIL, test_callback_from_thread);
  ADD ("from-thread/drop", DROP, test_callback_from_thread);
  ADD ("cancelled", 0, test_cancelled);
  ADD ("cancelled-sync", 0, test_cancelled_sync);
  ADD ("never-iterated", 0, test_never_iterated);
  ADD ("own-class/grant", GRANT, test_own_class);
  ADD ("own-class/fail", FAIL, test_own_class);
  ADD ("nothing-to-ask", 0, test_nothing_to_ask);
  ADD ("chain", 0, test_chain);
  ADD ("file-of-reference", 0, test_file_of_reference);
  return g_test_run ();
}
