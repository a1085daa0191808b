/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Small reads that are tried together: each is answered once, in its turn, with its own bytes, whatever becomes of the
 * others, of its cancellable and of the image. */

#include <string.h>

#include "test-gate.h"

#define SIZE (4 * 1024 * 1024)
#define COUNT 4096
#define N_READS 40
#define N_HITS 100 /* that make a thread believe that reads need not wait */

typedef struct _Fixture Fixture;

typedef struct
{
  Fixture *fixture;
  guint64 offset;
  GCancellable *cancellable;
  guint turn; /* as answered; 0: not yet */
  GBytes *bytes;
  GError *error;
} Read;

struct _Fixture
{
  ImgStorage *gate;
  ImagoImage *image;
  Read reads[N_READS];
  guint n_answers;
  gboolean nests;   /* the first answer waits for the others */
  gboolean goes_on; /* each answer begins another read */
  gboolean done;
};

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  Read *read = data;
  Fixture *fixture = read->fixture;

  g_assert_cmpuint (read->turn, ==, 0);
  read->turn = ++fixture->n_answers;
  read->bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (object), result, &read->error);
  fixture->done = fixture->n_answers == N_READS;
  if (fixture->goes_on)
    imago_image_read_bytes_async (IMAGO_IMAGE (object), 0, COUNT, 0, NULL, NULL, NULL);
  if (fixture->nests && read->turn == 1)
    test_iterate_until (&fixture->done);
}

static void
start_read (Fixture *fixture, ImagoImage *image, guint i, gsize count)
{
  Read *read = &fixture->reads[i];

  *read = (Read) { .fixture = fixture, .offset = (i * 7 + 3) * 8192 + i * 11, .cancellable = g_cancellable_new () };
  imago_image_read_bytes_async (image, read->offset, count, 0, read->cancellable, read_cb, read);
}

static void
start_reads (Fixture *fixture)
{
  for (guint i = 0; i < N_READS; i++)
    start_read (fixture, fixture->image, i, COUNT);
}

static void
heat (ImagoImage *image)
{
  for (guint i = 0; i < N_HITS; i++)
    {
      TestSlot slot = { 0 };
      g_autoptr (GBytes) bytes = NULL;

      imago_image_read_bytes_async (image, 0, COUNT, 0, NULL, test_result_cb, &slot);
      bytes = imago_image_read_bytes_finish (image, test_slot_wait (&slot), NULL);
      test_gate_check (bytes, 0, COUNT);
      test_slot_clear (&slot);
    }
}

static guint
count_tries (Fixture *fixture)
{
  return test_gate_get_counts (fixture->gate).n_tries;
}

/* In the order in which they began. */
static void
check_reads (Fixture *fixture)
{
  for (guint i = 0; i < N_READS; i++)
    {
      g_assert_no_error (fixture->reads[i].error);
      test_gate_check (fixture->reads[i].bytes, fixture->reads[i].offset, COUNT);
      g_assert_cmpuint (fixture->reads[i].turn, ==, i + 1);
    }
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  *fixture = (Fixture) { .gate = test_gate_new (SIZE) };
  fixture->image = test_gate_open_image (fixture->gate);
  heat (fixture->image);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_object (&fixture->image);
  test_gate_wait_unused (fixture->gate);
  img_storage_unref (fixture->gate);
  for (guint i = 0; i < N_READS; i++)
    {
      g_clear_object (&fixture->reads[i].cancellable);
      g_clear_pointer (&fixture->reads[i].bytes, g_bytes_unref);
      g_clear_error (&fixture->reads[i].error);
    }
}

/* ---- */

/* The first one is alone when it begins. */
static void
test_together (Fixture *fixture, gconstpointer data)
{
  guint before = count_tries (fixture);

  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_together, ==, 1);
  start_reads (fixture);
  g_assert_cmpuint (count_tries (fixture), ==, before + 1);
  test_iterate_until (&fixture->done);
  check_reads (fixture);
  g_assert_cmpuint (count_tries (fixture), ==, before + N_READS);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_together, ==, IMAGO_GATHER_MAX);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, 0);
}

static void
test_large (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < N_READS; i++)
    start_read (fixture, fixture->image, i, 4 * COUNT + 1);
  test_iterate_until (&fixture->done);
  for (guint i = 0; i < N_READS; i++)
    test_gate_check (fixture->reads[i].bytes, fixture->reads[i].offset, 4 * COUNT + 1);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_together, ==, 1);
}

static void
test_nested (Fixture *fixture, gconstpointer data)
{
  fixture->nests = TRUE;
  start_reads (fixture);
  test_iterate_until (&fixture->done);
  check_reads (fixture);
}

/* What would wait goes to workers, and the next ones are tried when they begin. */
static void
test_cold (Fixture *fixture, gconstpointer data)
{
  guint before;

  start_reads (fixture);
  test_gate_shut (fixture->gate);
  for (guint i = 0; i < 4 * N_READS; i++) /* each delivers one at least, or lets others go first */
    g_main_context_iteration (NULL, FALSE);
  test_gate_wait_inside (fixture->gate, 1);
  g_assert_cmpuint (fixture->n_answers, ==, 1);
  test_gate_open (fixture->gate);
  test_iterate_until (&fixture->done);
  for (guint i = 0; i < N_READS; i++)
    test_gate_check (fixture->reads[i].bytes, fixture->reads[i].offset, COUNT);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, N_READS - 1);

  before = count_tries (fixture);
  fixture->done = FALSE;
  fixture->n_answers = N_READS - 2;
  for (guint i = 0; i < 2; i++)
    {
      g_clear_pointer (&fixture->reads[i].bytes, g_bytes_unref);
      g_clear_object (&fixture->reads[i].cancellable);
      start_read (fixture, fixture->image, i, COUNT);
    }
  g_assert_cmpuint (count_tries (fixture), ==, before + 2);
  test_iterate_until (&fixture->done);
}

static void
test_broken (Fixture *fixture, gconstpointer data)
{
  start_reads (fixture);
  test_gate_break (fixture->gate);
  test_iterate_until (&fixture->done);
  for (guint i = 1; i < N_READS; i++)
    {
      g_assert_null (fixture->reads[i].bytes);
      g_assert_error (fixture->reads[i].error, G_IO_ERROR, G_IO_ERROR_FAILED);
    }
}

static void
test_out_of_range (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < N_READS - 1; i++)
    start_read (fixture, fixture->image, i, COUNT);
  fixture->reads[N_READS - 1].fixture = fixture;
  imago_image_read_bytes_async (fixture->image, SIZE - 1, COUNT, 0, NULL, read_cb, &fixture->reads[N_READS - 1]);
  test_iterate_until (&fixture->done);
  g_assert_error (fixture->reads[N_READS - 1].error, IMAGO_ERROR, IMAGO_ERROR_OUT_OF_RANGE);
  test_gate_check (fixture->reads[N_READS - 2].bytes, fixture->reads[N_READS - 2].offset, COUNT);
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  guint before = count_tries (fixture);

  start_reads (fixture);
  for (guint i = 1; i < N_READS; i += 2)
    g_cancellable_cancel (fixture->reads[i].cancellable);
  test_iterate_until (&fixture->done);
  g_assert_cmpuint (count_tries (fixture), ==, before + N_READS / 2);
  for (guint i = 0; i < N_READS; i++)
    if (i % 2 == 1)
      g_assert_error (fixture->reads[i].error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    else
      test_gate_check (fixture->reads[i].bytes, fixture->reads[i].offset, COUNT);
}

/* Closing answers what is in flight; it has them tried, or begun, before nobody may. */
static void
test_closed (Fixture *fixture, gconstpointer data)
{
  const char *how = data;
  GError *error = NULL;

  start_reads (fixture);
  if (g_str_equal (how, "cold"))
    test_gate_shut (fixture->gate);
  if (g_str_equal (how, "blocking"))
    imago_image_close (fixture->image, NULL, &error);
  else
    imago_image_close_async (fixture->image, 0, NULL, NULL, NULL);
  g_assert_no_error (error);
  test_gate_open (fixture->gate);
  test_iterate_until (&fixture->done);
  for (guint i = 0; i < N_READS; i++)
    {
      g_assert_no_error (fixture->reads[i].error);
      test_gate_check (fixture->reads[i].bytes, fixture->reads[i].offset, COUNT);
    }
}

static void
test_dropped (Fixture *fixture, gconstpointer data)
{
  start_reads (fixture);
  g_clear_object (&fixture->image);
  test_iterate_until (&fixture->done);
  check_reads (fixture);
}

/* Of two images, and with answers of another kind between them. */
static void
test_mixed (Fixture *fixture, gconstpointer data)
{
  ImgStorage *other_gate = test_gate_new (SIZE);
  ImagoImage *other = test_gate_open_image (other_gate);

  heat (other);
  for (guint i = 0; i < N_READS; i++)
    {
      start_read (fixture, i % 3 == 0 ? other : fixture->image, i, COUNT);
      imago_image_map_async (fixture->image, 0, SIZE, IMAGO_MAP_NONE, 0, NULL, NULL, NULL);
    }
  test_iterate_until (&fixture->done);
  check_reads (fixture);
  g_assert_cmpuint (test_gate_get_counts (other_gate).n_together, >, 1);
  g_object_unref (other);
  test_gate_wait_unused (other_gate);
  img_storage_unref (other_gate);
}

/* The time that they take is the thread's: when it is used up, what follows is for workers. */
static void
test_budget (Fixture *fixture, gconstpointer data)
{
  fixture->goes_on = TRUE;
  start_reads (fixture);
  test_gate_slow_down (fixture->gate, 1000);
  g_assert_cmpuint (test_gate_get_counts (fixture->gate).n_reads, ==, 0);
  while (fixture->n_answers < 2)
    g_main_context_iteration (NULL, TRUE);
  test_gate_slow_down (fixture->gate, 0);
  fixture->goes_on = FALSE;
  test_iterate_until (&fixture->done);
  check_reads (fixture);
  while (test_gate_get_counts (fixture->gate).n_reads == 0)
    g_main_context_iteration (NULL, FALSE);
}

#define ADD(path, data, func) g_test_add (path, Fixture, data, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/gather/together", NULL, test_together);
  ADD ("/gather/large", NULL, test_large);
  ADD ("/gather/nested", NULL, test_nested);
  ADD ("/gather/cold", NULL, test_cold);
  ADD ("/gather/broken", NULL, test_broken);
  ADD ("/gather/out-of-range", NULL, test_out_of_range);
  ADD ("/gather/cancelled", NULL, test_cancelled);
  ADD ("/gather/closed/blocking", "blocking", test_closed);
  ADD ("/gather/closed/async", "async", test_closed);
  ADD ("/gather/closed/cold", "cold", test_closed);
  ADD ("/gather/dropped", NULL, test_dropped);
  ADD ("/gather/mixed", NULL, test_mixed);
  ADD ("/gather/budget", NULL, test_budget);
  return g_test_run ();
}
