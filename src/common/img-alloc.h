/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Memory whose size comes from an image: running out is an error, never an abort. Sizes that the
 * library chose itself use g_malloc (). */

#pragma once

#include "img-error.h"

G_BEGIN_DECLS

/* Aligned to 4096 bytes so that it serves O_DIRECT; release with img_free (). */
gpointer img_try_alloc  (gsize size, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
gpointer img_try_alloc0 (gsize count, gsize size, ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void     img_free       (gpointer memory);

/* Tests: the @nth allocation from now on fails (1 is the next one), and with @persist all later ones;
 * 0 switches it off. */
void     img_alloc_set_fault   (guint nth, gboolean persist);
/* The same as with 0; whether an allocation failed for that since it was set. */
gboolean img_alloc_clear_fault (void);

typedef guint8 ImgBuffer;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgBuffer, img_free)

/* The same for tables of words. */
typedef guint64 ImgWords;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgWords, img_free)

G_END_DECLS
