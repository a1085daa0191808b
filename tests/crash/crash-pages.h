/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The bytes of a file: sparse, in pages; or a layer of changes over another one, which costs only what was
 * changed and is undone at once. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

typedef struct _CrashPages CrashPages;

/* @base: nullable, borrowed; while there are layers over it, it does not change. */
CrashPages *crash_pages_new      (CrashPages *base);
void        crash_pages_free     (CrashPages *pages);
CrashPages *crash_pages_copy     (CrashPages *pages); /* with what the base has */
/* A layer becomes equal to its base again. */
void        crash_pages_reset    (CrashPages *pages);

guint64     crash_pages_get_size (CrashPages *pages);
/* Bytes past the end read as zero; the end moves only with set_size (): what was cut off is zero when it
 * comes back. The other functions work on both sides of it. */
void        crash_pages_set_size (CrashPages *pages, guint64 size);
void        crash_pages_read     (CrashPages *pages, guint64 offset, gpointer buffer, gsize length);
/* The first place from @offset on, at most @end, that may hold anything but zeroes. */
guint64     crash_pages_skip_zeroes (CrashPages *pages, guint64 offset, guint64 end);
void        crash_pages_write    (CrashPages *pages, guint64 offset, gconstpointer data, gsize length);
void        crash_pages_zero     (CrashPages *pages, guint64 offset, guint64 length);
gboolean    crash_pages_equal    (CrashPages *pages, CrashPages *other);
/* Into a new sparse file. */
void        crash_pages_save     (CrashPages *pages, const char *path);
void        crash_pages_load     (CrashPages *pages, GBytes *bytes);

/* What a storage does with one request, without its completion. */
void        crash_pages_submit   (CrashPages *pages, const ImgIo *io);

/* A storage over @pages, which it borrows. It completes in the call. */
ImgStorage *crash_pages_storage_new (CrashPages *pages, const char *name, gboolean can_write);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (CrashPages, crash_pages_free)

G_END_DECLS
