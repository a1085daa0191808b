/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A disk as a stream of GIO, which ImagoStreamStorage makes a storage of again. */

#pragma once

#include <gio/gio.h>

#include "img-storage.h"

/* Each side has a position of its own, and a reference to @disk. */
GIOStream *crash_stream_new (ImgStorage *disk) G_GNUC_WARN_UNUSED_RESULT;
