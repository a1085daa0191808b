/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A set of cluster numbers that any thread may ask without a lock while one thread at a time changes it.
 * It is a tree of bits whose nodes are made when they are needed and live as long as the set: memory is
 * bounded by the part of the file that members lie in, one bit a cluster. */

#pragma once

#include "img-error.h"

G_BEGIN_DECLS

typedef struct _ImgClusterSet ImgClusterSet;

/* @limit: all members are smaller. */
ImgClusterSet *img_cluster_set_new    (guint64 limit, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void           img_cluster_set_free   (ImgClusterSet *set);
gboolean       img_cluster_set_add    (ImgClusterSet *set, guint64 first, guint64 count,
                                       ImgError **error);
void           img_cluster_set_remove (ImgClusterSet *set, guint64 first, guint64 count);
/* Whether one of the clusters is a member. */
gboolean       img_cluster_set_meets  (const ImgClusterSet *set, guint64 first, guint64 count);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgClusterSet, img_cluster_set_free)

G_END_DECLS
