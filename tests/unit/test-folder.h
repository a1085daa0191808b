/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Folders of a test's own. */

#pragma once

#include <glib.h>

/* An empty one. */
char *test_folder_new    (void);
/* How much is in it: files, links, folders. */
guint test_folder_count  (const char *folder);
/* Goes with all that is in it; frees the name. */
void  test_folder_remove (char *folder);
