/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What every file of the core may take for granted: GLib, errors, checked arithmetic. */

#pragma once

#include <glib.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "img-bytes.h"
#include "img-error.h"
#include "img-ref.h"

#define IMG_KIB ((guint64) 1 << 10)
#define IMG_MIB ((guint64) 1 << 20)
#define IMG_GIB ((guint64) 1 << 30)

/* No disk, file or host offset is larger: the length of a disk is at most INT64_MAX rounded down to
 * 1 GiB, so that rounding any valid offset up to any legal cluster size never overflows. */
#define IMG_MAX_SIZE ((guint64) G_MAXINT64 & ~(IMG_GIB - 1))
