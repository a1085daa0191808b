/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Linked into the command for its test: translations are looked up where the build has put them. */

#include "config.h"

#include <libintl.h>
#include <stdlib.h>

/* Runs after the library's own, which names the folder they are installed in. */
static void __attribute__ ((constructor))
bind_messages_of_the_build (void)
{
  const char *folder = getenv ("IMAGO_TEST_LOCALEDIR");

  if (folder != NULL)
    bindtextdomain (GETTEXT_PACKAGE, folder);
}
