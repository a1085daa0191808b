/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-file-storage.h"

G_BEGIN_DECLS

/* The path of @file, or NULL with an error if it has none: only local files can be opened. */
char *imago_file_dup_path (GFile *file, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What imago_file_storage_open () does, for callers on a worker. */
ImagoStorage *imago_file_storage_open_path (const char *path,
                                            ImgFileFlags flags,
                                            ImgError **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
