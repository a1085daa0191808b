/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "test-folder.h"

#include <errno.h>
#include <glib/gstdio.h>

char *
test_folder_new (void)
{
  GError *error = NULL;
  char *folder = g_dir_make_tmp ("imago-test-XXXXXX", &error);

  g_assert_no_error (error);
  return folder;
}

guint
test_folder_count (const char *folder)
{
  g_autoptr (GError) error = NULL;
  GDir *dir = g_dir_open (folder, 0, &error);
  guint n = 0;

  g_assert_no_error (error);
  while (g_dir_read_name (dir) != NULL)
    n++;
  g_dir_close (dir);
  return n;
}

/* FALSE: something came into a folder meanwhile. */
static gboolean
remove_tree (const char *path)
{
  GDir *dir = g_file_test (path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *child = g_build_filename (path, name, NULL);

      remove_tree (child); /* the folder is the judge */
    }
  if (dir != NULL)
    g_dir_close (dir);
  return g_remove (path) == 0 || errno == ENOENT;
}

void
test_folder_remove (char *folder)
{
  /* A request that nobody waits for may still be making its file. */
  while (!remove_tree (folder))
    g_usleep (1000);
  g_free (folder);
}
