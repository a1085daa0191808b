/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reads a table whose entries have different lengths, from front to back, through a window of fixed
 * size. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

/* The longest piece that can be taken at once. */
#define IMG_QCOW2_CURSOR_MAX_PIECE 65536

typedef struct
{
  ImgStorage *storage; /* borrowed */
  ImgCancel *cancel;   /* borrowed */
  const char *what;    /* the name of the table, translated */
  guint64 at;
  guint64 end;
  guint8 *window;
  guint64 window_offset;
  gsize window_length;
} ImgQcow2Cursor;

gboolean img_qcow2_cursor_init (ImgQcow2Cursor *cursor,
                                ImgStorage *storage,
                                guint64 offset,
                                guint64 end,
                                const char *what,
                                ImgCancel *cancel,
                                ImgError **error);
void          img_qcow2_cursor_clear (ImgQcow2Cursor *cursor);
/* The next @length bytes, valid until the next call. */
const guint8 *img_qcow2_cursor_take  (ImgQcow2Cursor *cursor, gsize length, ImgError **error);
/* Passes over any number of bytes. */
gboolean      img_qcow2_cursor_skip  (ImgQcow2Cursor *cursor, guint64 length, ImgError **error);
/* What lies before the next multiple of eight bytes, counted from @start. */
void          img_qcow2_cursor_align (ImgQcow2Cursor *cursor, guint64 start);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ImgQcow2Cursor, img_qcow2_cursor_clear)

G_END_DECLS
