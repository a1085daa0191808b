/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#ifdef ENABLE_NLS

#include <glib/gi18n-lib.h>
#include <libintl.h>

/* Messages come from static functions as well as from methods, and from the core, which knows no
 * directories: so where the translations are is said when the library is loaded. */
static void __attribute__ ((constructor))
bind_messages (void)
{
  bindtextdomain (GETTEXT_PACKAGE, IMAGO_LOCALEDIR);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
}

#endif
