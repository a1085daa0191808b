/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A reading of qcow2 metadata for these tests alone: it shares nothing with the library, so that both would have
 * to be wrong in the same way. It knows what these tests make: no snapshots, no bitmaps, no encryption.
 *
 * A reference to a cluster that is counted too low, lies outside the file or has the wrong COPIED flag is
 * damage; a cluster that is counted too high is a leak. */

#pragma once

#include "crash-image.h"

G_BEGIN_DECLS

/* NULL: no damage; else the first that was found. */
char *crash_check_qcow2 (const CrashGeometry *geometry, CrashPages *image, guint64 *n_leaks)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
