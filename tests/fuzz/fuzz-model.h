/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a disk must read as, where the fuzzer has changed it. */

#pragma once

#include "img-image.h"

G_BEGIN_DECLS

typedef struct _FuzzModel FuzzModel;

FuzzModel *fuzz_model_new      (void) G_GNUC_WARN_UNUSED_RESULT;
void       fuzz_model_free     (FuzzModel *self);
/* Before a change: remembers what the range reads as, if that is not known yet. */
void       fuzz_model_touch    (FuzzModel *self, ImgImage *image, guint64 offset, guint64 length);
/* After a change that succeeded; @bytes NULL: zeroes. */
void       fuzz_model_set      (FuzzModel *self, guint64 offset, const guint8 *bytes,
                                guint64 length);
/* After one that failed, or that promises no more: each sector has its old or its new content, and
 * the model takes over which. */
void       fuzz_model_adopt    (FuzzModel *self, ImgImage *image, guint64 offset,
                                const guint8 *bytes, guint64 length);
/* The disk has another size: what was cut off is gone, what is new is zero. */
void       fuzz_model_resize   (FuzzModel *self, guint64 old_size, guint64 size);
/* All that is known is what @image reads as. */
void       fuzz_model_verify   (FuzzModel *self, ImgImage *image, const char *when);

G_END_DECLS
