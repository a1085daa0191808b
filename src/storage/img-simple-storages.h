/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Storages without a file: bytes in memory, nothing but zeroes, a window into another storage. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

ImgStorage *img_memory_storage_new (GBytes *bytes) G_GNUC_WARN_UNUSED_RESULT;
/* Of @size zeroes, to be written; it takes memory only for what has been, and grows. */
ImgStorage *img_memory_storage_new_writable (guint64 size) G_GNUC_WARN_UNUSED_RESULT;
/* What it holds, holes as zeroes; for small ones. */
GBytes     *img_memory_storage_dup_bytes (ImgStorage *storage, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
ImgStorage *img_null_storage_new   (guint64 size) G_GNUC_WARN_UNUSED_RESULT;
/* Bytes [offset, offset + length) of @base; what lies past the end of @base reads as zero. */
ImgStorage *img_window_storage_new (ImgStorage *base, guint64 offset, guint64 length)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
