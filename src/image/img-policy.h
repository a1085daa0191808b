/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The only way from a name inside an image to an open file.
 *
 * The chain opener (img-chain.c) asks the policy for every name it meets; the policy answers with an
 * open storage or an error. Depth, number of files and cycles are the opener's business, not the
 * policy's; the type of the file (regular) is checked wherever one is opened.
 *
 * decide () runs on the thread that opens the chain and returns when there is an answer: a policy that
 * must ask in another thread's main context waits there with img_park ().
 */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

/* Owned by the opener for the time of the question. */
typedef struct
{
  const ImgWanted *wanted;
  ImgStorage *parent;  /* the storage of the image that names it */
  guint depth;         /* 1: asked by the image that the application opened */
  gboolean needs_write; /* what is granted must be open for writing, too */
  char *format_name;   /* in: what the image declares, or NULL; a policy may fill it in */
} ImgReference;

typedef struct _ImgPolicy ImgPolicy;
typedef struct
{
  ImgStorage *(*decide) (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel,
                         ImgError **error);
  void        (*free)   (ImgPolicy *policy);
} ImgPolicyClass;

struct _ImgPolicy
{
  const ImgPolicyClass *klass;
  ImgRefCount ref_count;
  /* A reference without a declared format may be probed. Only the permissive policy allows that. */
  gboolean may_probe;
  /* It asks the application, or grants what the application made: nobody here can tell whether there is an answer. */
  gboolean may_hang;
};

void       img_policy_init  (ImgPolicy *policy, const ImgPolicyClass *klass);
ImgPolicy *img_policy_ref   (ImgPolicy *policy);
void       img_policy_unref (ImgPolicy *policy);

/* Built in; new references to shared objects. */
ImgPolicy *img_policy_new_deny           (void) G_GNUC_WARN_UNUSED_RESULT;
ImgPolicy *img_policy_new_same_directory (void) G_GNUC_WARN_UNUSED_RESULT;
ImgPolicy *img_policy_new_permissive     (void) G_GNUC_WARN_UNUSED_RESULT;

/* The path that @wanted means when it stands in an image called @parent_name: absolute as it is,
 * otherwise beside the image. NULL if it is no plain path ("json:", "nbd:", …) or there is no parent name. */
char      *img_wanted_resolve (const ImgWanted *wanted, const char *parent_name)
  G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgPolicy, img_policy_unref)

G_END_DECLS
