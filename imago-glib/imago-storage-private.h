/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-storage.h"

G_BEGIN_DECLS

struct _ImagoStorage
{
  GObject parent_instance;

  ImgStorage *core; /* owned; atomic, constant once it is set */
  ImgPoolKey *key;
};

struct _ImagoStorageClass
{
  GObjectClass parent_class;

  /* Called when the core is wanted and has not been set: makes it from the properties. Missing, or
   * NULL when a property is missing: the object is of no use. */
  ImgStorage *(*make_core) (ImagoStorage *self);
};

/* Takes @core; once, before anybody else sees the object. */
void          imago_storage_set_core      (ImagoStorage *self, ImgStorage *core);
/* Borrowed, never NULL. */
ImgStorage   *imago_storage_get_core      (ImagoStorage *self);
/* A new object for a storage that the core opened by itself. */
ImagoStorage *imago_storage_new_from_core (ImgStorage *core) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
