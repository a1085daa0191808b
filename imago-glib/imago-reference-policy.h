/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-reference.h>

G_BEGIN_DECLS

#define IMAGO_TYPE_REFERENCE_POLICY (imago_reference_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_INTERFACE (ImagoReferencePolicy, imago_reference_policy, IMAGO, REFERENCE_POLICY, GObject)

/**
 * ImagoReferencePolicyInterface:
 * @g_iface: the parent interface
 * @decide: answers one reference with imago_reference_grant() or imago_reference_deny(), now or later, or
 *   returns %FALSE with an error. Runs in the main context that was the thread-default one where the
 *   policy was first given to #ImagoOpenOptions
 *
 * What a policy implements.
 *
 * Since: 1.0
 */
struct _ImagoReferencePolicyInterface
{
  GTypeInterface g_iface;

  gboolean (*decide) (ImagoReferencePolicy *self,
                      ImagoReference       *reference,
                      GError              **error);

  /*< private >*/
  gpointer _reserved[8];
};

/**
 * ImagoReferenceFunc:
 * @reference: what is asked for
 * @error: return location for the reason of a refusal
 * @user_data: data given with the function
 *
 * Answers one reference as the `decide` hook of #ImagoReferencePolicy does.
 *
 * Returns: %FALSE with @error set to refuse
 *
 * Since: 1.0
 */
typedef gboolean (*ImagoReferenceFunc) (ImagoReference *reference,
                                        gpointer        user_data,
                                        GError        **error);

#define IMAGO_TYPE_DENY_POLICY (imago_deny_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoDenyPolicy, imago_deny_policy, IMAGO, DENY_POLICY, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoReferencePolicy *imago_deny_policy_new (void) G_GNUC_WARN_UNUSED_RESULT;

#define IMAGO_TYPE_SAME_DIRECTORY_POLICY (imago_same_directory_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoSameDirectoryPolicy, imago_same_directory_policy, IMAGO, SAME_DIRECTORY_POLICY, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoReferencePolicy *imago_same_directory_policy_new (void) G_GNUC_WARN_UNUSED_RESULT;

#define IMAGO_TYPE_PERMISSIVE_POLICY (imago_permissive_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoPermissivePolicy, imago_permissive_policy, IMAGO, PERMISSIVE_POLICY, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoReferencePolicy *imago_permissive_policy_new (void) G_GNUC_WARN_UNUSED_RESULT;

#define IMAGO_TYPE_MAP_POLICY (imago_map_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoMapPolicy, imago_map_policy, IMAGO, MAP_POLICY, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoMapPolicy *imago_map_policy_new (void) G_GNUC_WARN_UNUSED_RESULT;

IMAGO_AVAILABLE_IN_1_0
void imago_map_policy_add (ImagoMapPolicy *self,
                           const char     *name,
                           ImagoStorage   *storage,
                           const char     *format_name);

#define IMAGO_TYPE_CALLBACK_POLICY (imago_callback_policy_get_type ())

IMAGO_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (ImagoCallbackPolicy, imago_callback_policy, IMAGO, CALLBACK_POLICY, GObject)

IMAGO_AVAILABLE_IN_1_0
ImagoReferencePolicy *imago_callback_policy_new (ImagoReferenceFunc func,
                                                 gpointer           user_data,
                                                 GDestroyNotify     user_data_free_func)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
