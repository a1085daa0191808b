/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-image-private.h"
#include "imago-job.h"

G_BEGIN_DECLS

struct _ImagoJob
{
  GObject parent_instance;
};

struct _ImagoJobClass
{
  GObjectClass parent_class;

  /* In the caller's thread, before the work: turns the properties into words of the core. Nullable.
   */
  gboolean (*prepare)  (ImagoJob *self, ImgError **error);
  /* The work, on any thread: touches no object of the application. */
  gboolean (*run_core) (ImagoJob *self, ImgProgress *progress, ImgCancel *cancel, ImgError **error);
  /* On that thread, perhaps when the caller has gone long ago, after a prepare () that succeeded, whether the work was
   * done or not. Nullable. */
  void     (*finish)   (ImagoJob *self);
};

/* Whether properties that say what to do can no longer be changed. */
gboolean imago_job_is_started   (ImagoJob *self);
/* In prepare (): what the work may wait for or change, which @self keeps until it is done. NULL is nothing. */
void     imago_job_add_image    (ImagoJob *self, ImgImage *image);
void     imago_job_add_storage  (ImagoJob *self, ImgStorage *storage);
/* The same for an image of the application, which stays open, with its state, until behind finish (). */
ImagoImageState *imago_job_hold_image (ImagoJob *self, ImagoImage *image, ImgError **error);
/* G_PRIORITY_* of the work, once it is started. */
int      imago_job_get_priority (ImagoJob *self);

G_END_DECLS
