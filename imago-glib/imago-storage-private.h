/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "imago-core.h"
#include "imago-request.h"
#include "imago-storage.h"

G_BEGIN_DECLS

/* Called when the core is wanted and has not been set: makes it from the properties. Missing, or
 * NULL when a property is missing: the object is of no use. */
typedef ImgStorage *(*ImagoStorageMakeCore) (ImagoStorage *self);

static inline void
imago_storage_class_set_make_core (ImagoStorageClass *klass, ImagoStorageMakeCore make_core)
{
  klass->make_core = (void (*) (void)) make_core;
}

/* Takes @core; once, before anybody else sees the object. */
void          imago_storage_set_core      (ImagoStorage *self, ImgStorage *core);
/* Borrowed, never NULL. */
ImgStorage   *imago_storage_get_core      (ImagoStorage *self);
/* For whoever keeps it longer than a call: keeps an object with a hook, too. */
ImgStorage   *imago_storage_dup_core      (ImagoStorage *self) G_GNUC_WARN_UNUSED_RESULT;
ImgPoolKey   *imago_storage_get_key       (ImagoStorage *self);
/* The object of a storage with a hook, else a new object for a storage that the core opened by itself. */
ImagoStorage *imago_storage_new_from_core (ImgStorage *core) G_GNUC_WARN_UNUSED_RESULT;

/* ---- calls ---- */

/* One call of the core on behalf of a method. */
typedef struct
{
  ImgStorage *core; /* set by the functions below */
  guint64 offset;
  guint64 length;
  ImgIoFlags flags;
  GBytes *bytes;    /* nullable: what is to be written */
} ImagoStorageCall;

/* @run gets an ImagoStorageCall of its own, which it may change: it keeps all that it works on, so that a caller who
 * cancels need not wait for a storage that may never answer. */
gpointer      imago_storage_call          (ImagoStorage *self, ImagoRequestFunc run, const ImagoStorageCall *call,
                                           GDestroyNotify free_result, GCancellable *cancellable, GError **error);
/* On a worker; takes @task. */
void          imago_storage_call_async    (ImagoStorage *self, GTask *task, ImagoRequestFunc run,
                                           const ImagoStorageCall *call, GDestroyNotify free_result,
                                           ImagoRequestFlags flags);

G_END_DECLS
