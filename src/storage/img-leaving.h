/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Somebody who has been dropped and is about to let go of files.
 *
 * The last reference to an image may go where nothing may wait, so a worker flushes and unlocks it, some time
 * later. Whoever wants the file meanwhile is not told that it is in use: they wait for the end. What no worker has
 * begun they do themselves, as a running request never waits for one that has not started.
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _ImgLeaving ImgLeaving;

/* Until img_leaving_run () nothing happens, unless somebody is in need of what @release releases. */
ImgLeaving *img_leaving_new   (GDestroyNotify release, gpointer data) G_GNUC_WARN_UNUSED_RESULT;
ImgLeaving *img_leaving_ref   (ImgLeaving *leaving);
void        img_leaving_unref (gpointer leaving);
/* Takes the reference. Returns at once if somebody else has begun. */
void        img_leaving_run   (gpointer leaving);

gboolean    img_leaving_is_over  (ImgLeaving *leaving);
/* FALSE when waiting would not help: it is over, or it is this thread that is in the middle of it. */
gboolean    img_leaving_may_wait (ImgLeaving *leaving);
/* Runs it, or waits until it is over. */
void        img_leaving_finish   (ImgLeaving *leaving);

G_END_DECLS
