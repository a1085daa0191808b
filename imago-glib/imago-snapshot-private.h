/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-snapshot.h"

G_BEGIN_DECLS

ImagoSnapshot *imago_snapshot_new            (const ImgSnapshotInfo *info)
  G_GNUC_WARN_UNUSED_RESULT;
/* @infos: of ImgSnapshotInfo; NULL gives an empty list. */
GListModel    *imago_snapshot_list_from_core (GPtrArray *infos) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
