/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The snapshot table. It is read when somebody asks for it, entry by entry; what opening and
 * inspecting cost does not depend on it. */

#pragma once

#include "img-qcow2-header.h"

G_BEGIN_DECLS

#define IMG_QCOW2_MAX_SNAPSHOT_TABLE (64 * IMG_MIB)
#define IMG_QCOW2_MAX_SNAPSHOT_EXTRA 1024u

/* The disk that a snapshot holds. */
typedef struct
{
  guint64 l1_offset;
  guint32 l1_entries;
  guint64 disk_size;
} ImgQcow2SnapshotDisk;

/* An array of ImgSnapshotInfo. */
GPtrArray *img_qcow2_snapshots_list (ImgStorage *storage,
                                     const ImgQcow2Header *header,
                                     ImgCancel *cancel,
                                     ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The disks alone, an array of ImgQcow2SnapshotDisk; *table_length: bytes of the table. */
GArray *img_qcow2_snapshots_list_disks (ImgStorage *storage,
                                        const ImgQcow2Header *header,
                                        guint64 *table_length,
                                        ImgCancel *cancel,
                                        ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The first with this id, else the first with this name. */
gboolean img_qcow2_snapshots_find (ImgStorage *storage,
                                   const ImgQcow2Header *header,
                                   const char *id_or_name,
                                   ImgQcow2SnapshotDisk *disk,
                                   ImgCancel *cancel,
                                   ImgError **error);

G_END_DECLS
