/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-qcow2-cursor.h"

#define WINDOW_SIZE (2 * IMG_QCOW2_CURSOR_MAX_PIECE)

gboolean
img_qcow2_cursor_init (ImgQcow2Cursor *cursor,
                       ImgStorage *storage,
                       guint64 offset,
                       guint64 end,
                       const char *what,
                       ImgCancel *cancel,
                       ImgError **error)
{
  *cursor = (ImgQcow2Cursor){
    .storage = storage,
    .cancel = cancel,
    .what = what,
    .at = offset,
    .end = end,
    .window_offset = offset,
  };
  cursor->window = img_try_alloc ((gsize) MIN (WINDOW_SIZE, end - offset), error);
  return cursor->window != NULL;
}

void
img_qcow2_cursor_clear (ImgQcow2Cursor *cursor)
{
  g_clear_pointer (&cursor->window, img_free);
}

static gboolean
move_window (ImgQcow2Cursor *cursor, ImgError **error)
{
  if (img_cancel_check (cursor->cancel, error))
    return FALSE;
  cursor->window_offset = cursor->at;
  cursor->window_length = (gsize) MIN (WINDOW_SIZE, cursor->end - cursor->at);
  return img_storage_read (cursor->storage, cursor->at, cursor->window, cursor->window_length,
                           error);
}

static gboolean
check_end (const ImgQcow2Cursor *cursor, guint64 length, ImgError **error)
{
  if (img_range_fits (cursor->at, length, cursor->end))
    return TRUE;
  img_error_set (error, IMG_CODE_CORRUPT, _("%s: ends inside an entry"), cursor->what);
  return FALSE;
}

gboolean
img_qcow2_cursor_skip (ImgQcow2Cursor *cursor, guint64 length, ImgError **error)
{
  if (!check_end (cursor, length, error))
    return FALSE;
  cursor->at += length;
  return TRUE;
}

const guint8 *
img_qcow2_cursor_take (ImgQcow2Cursor *cursor, gsize length, ImgError **error)
{
  guint64 skipped = cursor->at - cursor->window_offset;

  if (!check_end (cursor, length, error))
    return NULL;
  if (!img_range_fits (skipped, length, cursor->window_length))
    {
      if (!move_window (cursor, error))
        return NULL;
      skipped = 0;
    }
  cursor->at += length;
  return cursor->window + skipped;
}

void
img_qcow2_cursor_align (ImgQcow2Cursor *cursor, guint64 start)
{
  cursor->at = start + img_align_up (cursor->at - start, 8);
}
