/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A cancel flag that wakes whoever waits under it. NULL means "cannot be cancelled" everywhere. */

#pragma once

#include "img-error.h"
#include "img-park.h"

G_BEGIN_DECLS

typedef struct _ImgCancel ImgCancel;

ImgCancel *img_cancel_new     (void) G_GNUC_WARN_UNUSED_RESULT;
ImgCancel *img_cancel_ref     (ImgCancel *cancel);
void       img_cancel_unref   (ImgCancel *cancel);
/* Any thread, any number of times. FALSE: it comes too late, see img_cancel_end (). */
gboolean   img_cancel_trigger (ImgCancel *cancel);
gboolean   img_cancel_is_set  (const ImgCancel *cancel);
/* TRUE, with IMG_CODE_CANCELLED in @error, once triggered. */
gboolean   img_cancel_check   (const ImgCancel *cancel, ImgError **error);
/* Before a step that cannot be undone, and that nobody may be told of as cancelled: FALSE as for check, or it is too late to
 * cancel from now on. What follows waits for nobody who may never answer. */
gboolean   img_cancel_end     (ImgCancel *cancel, ImgError **error);

/* While watched, a trigger unparks the thread that called watch. */
void       img_cancel_watch   (ImgCancel *cancel);
void       img_cancel_unwatch (ImgCancel *cancel);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgCancel, img_cancel_unref)

G_END_DECLS
