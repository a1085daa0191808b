/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The machinery of the crash tests itself: the switch of the mutants. */

#include "config.h"

#include "img-mutant.h"

static void
test_mutant_names (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < IMG_N_MUTANTS; i++)
    {
      const char *name = img_mutant_get_name (i);

      g_assert_nonnull (name);
      g_assert_true (g_hash_table_add (seen, (gpointer) name));
    }
}

static void
test_mutant_switch (void)
{
  for (guint i = IMG_MUTANT_NONE + 1; i < IMG_N_MUTANTS; i++)
    {
      img_mutant_set (i);
      for (guint k = IMG_MUTANT_NONE + 1; k < IMG_N_MUTANTS; k++)
        g_assert_true (img_mutant_is_on (k) == (k == i));
      g_assert_cmpuint (img_mutant_get_count (), ==, 1);
    }
  img_mutant_set (IMG_MUTANT_NONE);
  g_assert_cmpuint (img_mutant_get_count (), ==, 0);
  g_assert_false (img_mutant_is_on (IMG_MUTANT_SKIP_FLUSH_P0));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/crash/mechanism/mutant-names", test_mutant_names);
  g_test_add_func ("/crash/mechanism/mutant-switch", test_mutant_switch);
  return g_test_run ();
}
