/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Tables of 64-bit entries anywhere in a file, that may lie upon one another: a damaged or hostile image
 * has thousands of tables in the same place. Every byte is read once, and comes with the number of tables
 * it belongs to. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

/* How many tables of the active disk, and of all. */
typedef struct
{
  guint64 active;
  guint64 all;
} ImgQcow2Times;

typedef GArray ImgQcow2Spans;

/* @entries as in the file; the first lies at @offset. */
typedef gboolean (*ImgQcow2SpanFunc) (gpointer data,
                                      guint64 offset,
                                      guint64 *entries,
                                      gsize n_entries,
                                      ImgQcow2Times times,
                                      ImgError **error);

ImgQcow2Spans *img_qcow2_spans_new  (void) G_GNUC_WARN_UNUSED_RESULT;
void           img_qcow2_spans_free (ImgQcow2Spans *spans);
/* @offset: a multiple of eight bytes. */
void           img_qcow2_spans_add  (ImgQcow2Spans *spans, guint64 offset, guint64 n_entries,
                                     gboolean is_active);
/* Up to @end: entries past the end of the file are all zero. */
gboolean       img_qcow2_spans_walk (ImgQcow2Spans *spans, ImgStorage *storage, guint64 end,
                                     ImgQcow2SpanFunc func, gpointer data, ImgCancel *cancel,
                                     ImgError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgQcow2Spans, img_qcow2_spans_free)

G_END_DECLS
