/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "img-check.h"
#include "img-storage.h"

G_BEGIN_DECLS

/* Checks, repairs and checks again: the counts are those of the second check, and what is gone since the first
 * one counts as fixed. Marks that the image is dirty or corrupt go when no corruption is left. After an error the
 * image is no worse than before, and a second repair goes on where this one ended. */
gboolean img_qcow2_repair (ImgStorage *storage,
                           ImgRepair repair,
                           ImgCheckResult *result,
                           ImgProgress *progress,
                           ImgCancel *cancel,
                           ImgError **error);

G_END_DECLS
