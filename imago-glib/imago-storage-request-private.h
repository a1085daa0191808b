/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-storage-request.h"

G_BEGIN_DECLS

typedef struct
{
  ImagoStorageOperation operation;
  guint64 offset;
  guint64 length;
  ImagoZeroFlags zero_flags;
  const struct iovec *iov; /* READ, WRITE: borrowed until the answer */
  guint n_iov;
} ImagoStorageDemand;

/* The one answer, on whatever thread gave it, without a lock; takes @error. @size is for QUERY_SIZE. */
typedef void (*ImagoStorageAnswerFunc) (gpointer data, guint64 size, ImgError *error);

/* In the thread of the hook. @answer is called exactly once: when the last reference goes at the latest. */
ImagoStorageRequest *imago_storage_request_new (const ImagoStorageDemand *demand,
                                                ImagoStorageAnswerFunc answer,
                                                gpointer data) G_GNUC_WARN_UNUSED_RESULT;
/* After the hook: an answer given inside of it counts from now on. Takes @error. */
void imago_storage_request_end_hook (ImagoStorageRequest *self, gboolean success, GError *error);

G_END_DECLS
