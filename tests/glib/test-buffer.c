/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Buffers for reads: large ones are used again, and each has room for all that was asked for. */

#include <string.h>

#include "imago-glib/imago-buffer-private.h"

#define KIB ((gsize) 1024)
#define MIB ((gsize) 1024 * 1024)

static guint8 *
buffer_new (gsize count)
{
  guint8 *buffer = imago_buffer_new (count, NULL);

  g_assert_nonnull (buffer);
  if (count >= 16 * KIB)
    g_assert_cmpuint (GPOINTER_TO_SIZE (buffer) % 4096, ==, 0);
  memset (buffer, 0x5a, count);
  return buffer;
}

/* A sanitizer sees whether one is too small, or freed twice. */
static void
test_sizes (void)
{
  const gsize counts[] = { 0,           1,       4 * KIB, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 256 * KIB,
                           MIB - 1, MIB,     MIB + 1, 4 * MIB - 1,   4 * MIB,   4 * MIB + 1,   9 * MIB };

  for (guint round = 0; round < 3; round++)
    for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
      {
        g_autoptr (GBytes) bytes = imago_buffer_to_bytes (buffer_new (counts[i]), counts[i]);

        g_assert_cmpuint (g_bytes_get_size (bytes), ==, counts[i]);
        imago_buffer_free (buffer_new (counts[i]), counts[i]);
      }
  imago_buffer_free (NULL, MIB);
}

static void
test_used_again (void)
{
  guint8 *first = buffer_new (MIB);
  guint8 *second;
  GBytes *bytes = imago_buffer_to_bytes (first, MIB);

  second = buffer_new (MIB);
  g_assert_true (second != first); /* it is still somebody's */
  imago_buffer_free (second, MIB);
  g_bytes_unref (bytes);
  g_assert_true (buffer_new (MIB - 7) == first);
  g_assert_true (buffer_new (MIB) == second);
  imago_buffer_free (first, MIB - 7);
  imago_buffer_free (second, MIB);
}

#define N_THREADS 8

static gpointer
churn (gpointer seed)
{
  for (guint i = 0; i < 2000; i++)
    {
      gsize count = 128 * KIB + (i * 7919 + GPOINTER_TO_UINT (seed)) % MIB;
      guint8 *buffer = imago_buffer_new (count, NULL);
      g_autoptr (GBytes) bytes = NULL;

      buffer[0] = buffer[count - 1] = (guint8) GPOINTER_TO_UINT (seed);
      bytes = imago_buffer_to_bytes (buffer, count);
      g_assert_cmpuint (buffer[0], ==, GPOINTER_TO_UINT (seed));
      g_assert_cmpuint (buffer[count - 1], ==, GPOINTER_TO_UINT (seed));
    }
  return NULL;
}

/* No two threads have the same one. */
static void
test_threads (void)
{
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("churn", churn, GUINT_TO_POINTER (i + 1));
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

/* A sanitizer sees whether the slab goes too early, or never. */
static void
test_slab (void)
{
  const gsize counts[] = { 1, 4 * KIB, 17, 16 };
  GBytes *bytes[G_N_ELEMENTS (counts)];
  ImagoSlab *slab;
  guint8 *memory;
  gsize size = 0;

  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    size += imago_slab_room (counts[i]);
  slab = imago_slab_new (size);
  g_assert_nonnull (slab);
  memory = imago_slab_get_memory (slab);
  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    {
      g_assert_cmpuint (GPOINTER_TO_SIZE (memory) % sizeof (gpointer), ==, 0);
      memset (memory, (int) i, counts[i]);
      bytes[i] = imago_slab_to_bytes (slab, memory, counts[i]);
      memory += imago_slab_room (counts[i]);
    }
  imago_slab_unref (slab);
  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    {
      const guint8 *data = g_bytes_get_data (bytes[i], NULL);

      g_assert_cmpuint (g_bytes_get_size (bytes[i]), ==, counts[i]);
      g_assert_true (data[0] == i && data[counts[i] - 1] == i);
      g_bytes_unref (bytes[i]);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/buffer/used-again", test_used_again);
  g_test_add_func ("/buffer/sizes", test_sizes);
  g_test_add_func ("/buffer/threads", test_threads);
  g_test_add_func ("/buffer/slab", test_slab);
  return g_test_run ();
}
