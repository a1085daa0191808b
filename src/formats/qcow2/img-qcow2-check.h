/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "img-check.h"
#include "img-qcow2-check-meter.h"
#include "img-storage.h"

G_BEGIN_DECLS

/* Reads all metadata of an image, also of one that is marked as dirty or corrupt, and counts what is wrong
 * with it. @progress is nullable. Fails when that cannot be done: the file cannot be read, or its header makes no sense. */
gboolean img_qcow2_check (ImgStorage *storage,
                          ImgCheckResult *result,
                          ImgProgress *progress,
                          ImgCancel *cancel,
                          ImgError **error);
/* The same before or after @repair: one of all goes on where only it can help, with a snapshot table beyond
 * all limits. */
gboolean img_qcow2_check_for (ImgStorage *storage,
                              ImgRepair repair,
                              ImgCheckResult *result,
                              ImgQcow2CheckMeter *meter,
                              ImgCancel *cancel,
                              ImgError **error);

G_END_DECLS
