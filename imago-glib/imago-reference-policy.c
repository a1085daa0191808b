/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-owner-queue.h"
#include "imago-reference-policy-private.h"
#include "imago-reference-private.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-reference-policy
 * @title: ImagoReferencePolicy
 * @short_description: Which files an image may use
 *
 * An image can name other files, and whoever wrote the image chose the names. A policy decides
 * which of them become open files; nothing else in the library ever opens one. Without a policy
 * every reference is denied.
 *
 * - #ImagoDenyPolicy denies everything. It is the default.
 * - #ImagoSameDirectoryPolicy grants regular files in the directory of the image that names them.
 * - #ImagoMapPolicy grants what the application listed, name by name.
 * - #ImagoCallbackPolicy asks a function of the application.
 * - #ImagoPermissivePolicy grants every regular file that the process can read. Use it for images
 *   that you would trust with your whole account only.
 *
 * A class of the application can implement the interface, too. Its `decide` hook answers with
 * imago_reference_grant() or imago_reference_deny(), before it returns or later, or returns %FALSE
 * with an error. A hook that fails without an error, answers twice, or lets go of the reference
 * without an answer has denied it. (Languages with a garbage collector let go when it runs: a hook
 * that does not want to answer should refuse.)
 *
 * `decide` runs in one main context: the thread-default one where an #ImagoCallbackPolicy was made,
 * or where an object of another class was first given to #ImagoOpenOptions. Whoever opens an image
 * on another thread waits meanwhile; if that context is never iterated, only cancellation ends the
 * wait. When an image is opened synchronously on the thread of that context, the hook is called
 * directly, with a private context as the thread-default one, which is iterated until the reference
 * is answered: asynchronous calls that the hook starts there go on, but the rest of the application
 * stands still. The same happens when that thread is inside another blocking call of the library.
 *
 * A file that will be written (see #ImagoReference:needs-write) is opened for writing by the policies that
 * open files by themselves, and every other is opened for reading only. What is granted for it must be open
 * for writing.
 *
 * The limits on the length of a chain and on the number of files (see #ImagoOpenOptions) hold with
 * any policy, and so does the rule that only regular files are opened by name.
 */

/**
 * ImagoReferencePolicy:
 *
 * Decides which of the files that images name become open files.
 *
 * Since: 1.0
 */
G_DEFINE_INTERFACE (ImagoReferencePolicy, imago_reference_policy, G_TYPE_OBJECT)

/**
 * ImagoReferencePolicyInterface::decide:
 * @self: an #ImagoReferencePolicy
 * @reference: (transfer none): what is asked for
 * @error: return location for the reason of a refusal
 *
 * Answers one reference with imago_reference_grant() or imago_reference_deny(), now or later, or
 * refuses.
 *
 * Returns: %FALSE with @error set to refuse, otherwise %TRUE
 *
 * Since: 1.0
 */

static void
imago_reference_policy_default_init (ImagoReferencePolicyInterface *iface)
{
}

/* ---- policies that live in a main context ---- */

static void
owner_queue_free_cb (gpointer queue)
{
  imago_owner_queue_close (queue);
  imago_owner_queue_unref (queue);
}

static gpointer
owner_queue_dup_cb (gpointer queue, gpointer unused)
{
  return queue != NULL ? imago_owner_queue_ref (queue) : NULL;
}

/* The queue of @policy; the first call, whoever makes it, decides where it lives. A new
 * reference. */
static ImagoOwnerQueue *
owner_queue_of (ImagoReferencePolicy *policy)
{
  const GQuark quark = g_quark_from_static_string ("imago-owner-queue");
  ImagoOwnerQueue *queue;

  queue = g_object_dup_qdata (G_OBJECT (policy), quark, owner_queue_dup_cb, NULL);
  if (queue != NULL)
    return queue;
  queue = imago_owner_queue_new ();
  if (!g_object_replace_qdata (G_OBJECT (policy), quark, NULL, imago_owner_queue_ref (queue),
                               owner_queue_free_cb, NULL))
    {
      /* Another thread was quicker: ours has two references and was never used. */
      imago_owner_queue_unref (queue);
      owner_queue_free_cb (queue);
      return g_object_dup_qdata (G_OBJECT (policy), quark, owner_queue_dup_cb, NULL);
    }
  return queue;
}

void
imago_reference_policy_settle (ImagoReferencePolicy *policy)
{
  if (IMAGO_REFERENCE_POLICY_GET_IFACE (policy)->decide != NULL)
    imago_owner_queue_unref (owner_queue_of (policy));
}

typedef struct
{
  ImgPolicy parent;
  ImagoReferencePolicy *policy;
  ImagoOwnerQueue *queue;
} OwnedPolicy;

/* One question on its way to the owner. */
typedef struct
{
  ImagoReferencePolicy *policy;
  ImagoReference *reference;
  ImagoAnswer *answer;
} Question;

static void
question_free (gpointer data)
{
  Question *question = data;

  g_clear_object (&question->reference);
  g_clear_object (&question->policy);
  imago_answer_unref (question->answer);
  g_free (question);
}

static void
question_ask (ImagoOwnerCall *call, gpointer data)
{
  Question *question = data;
  ImagoReferencePolicyInterface *iface = IMAGO_REFERENCE_POLICY_GET_IFACE (question->policy);
  GError *error = NULL;
  gboolean success;

  imago_answer_begin_hook (question->answer);
  success = iface->decide (question->policy, question->reference, &error);
  imago_answer_end_hook (question->answer, success, error);
}

static ImgStorage *
owned_policy_decide (ImgPolicy *policy,
                     ImgReference *reference,
                     ImgCancel *cancel,
                     ImgError **error)
{
  OwnedPolicy *self = (OwnedPolicy *) policy;
  g_autoptr (ImagoAnswer) answer = imago_answer_new ();
  g_autoptr (ImagoOwnerCall) call = NULL;
  Question *question = g_new0 (Question, 1);

  question->policy = g_object_ref (self->policy);
  question->reference = imago_reference_new_asked (reference, answer);
  question->answer = imago_answer_ref (answer);
  call = imago_owner_call_new (question_ask, question, question_free);
  imago_answer_set_call (answer, call);
  if (!imago_owner_queue_run (self->queue, call, cancel, error))
    return NULL;
  return imago_answer_take (answer, &reference->format_name, error);
}

static void
owned_policy_free (ImgPolicy *policy)
{
  OwnedPolicy *self = (OwnedPolicy *) policy;

  imago_owner_queue_release (self->queue, self->policy, g_object_unref);
  imago_owner_queue_unref (self->queue);
  g_free (self);
}

static const ImgPolicyClass owned_policy_class = {
  .decide = owned_policy_decide,
  .free = owned_policy_free,
};

static ImgPolicy *
owned_policy_new (ImagoReferencePolicy *policy)
{
  OwnedPolicy *self = g_new0 (OwnedPolicy, 1);

  img_policy_init (&self->parent, &owned_policy_class);
  self->parent.may_hang = TRUE;
  self->policy = g_object_ref (policy);
  self->queue = owner_queue_of (policy);
  return &self->parent;
}

/* ---- ImagoDenyPolicy ---- */

/**
 * ImagoDenyPolicy:
 *
 * The policy that denies every reference. Its objects may be used from any thread.
 *
 * Since: 1.0
 */
struct _ImagoDenyPolicy
{
  GObject parent_instance;
};

static void
no_hook_init (ImagoReferencePolicyInterface *iface)
{
  /* The core answers for these; see imago_reference_policy_to_core (). */
}

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoDenyPolicy,
                               imago_deny_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY, no_hook_init))

static void
imago_deny_policy_class_init (ImagoDenyPolicyClass *klass)
{
}

static void
imago_deny_policy_init (ImagoDenyPolicy *self)
{
}

/**
 * imago_deny_policy_new:
 *
 * Makes a policy that denies every reference. Opening without a policy does the same.
 *
 * Returns: (transfer full): the policy
 *
 * Since: 1.0
 */
ImagoReferencePolicy *
imago_deny_policy_new (void)
{
  return g_object_new (IMAGO_TYPE_DENY_POLICY, NULL);
}

/* ---- ImagoSameDirectoryPolicy ---- */

/**
 * ImagoSameDirectoryPolicy:
 *
 * The policy that grants files beside the image that names them: regular files in the same
 * directory, by a relative or an absolute name, not through a symbolic link, and only with the
 * format that the image declares. Its objects may be used from any thread.
 *
 * Since: 1.0
 */
struct _ImagoSameDirectoryPolicy
{
  GObject parent_instance;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoSameDirectoryPolicy,
                               imago_same_directory_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY, no_hook_init))

static void
imago_same_directory_policy_class_init (ImagoSameDirectoryPolicyClass *klass)
{
}

static void
imago_same_directory_policy_init (ImagoSameDirectoryPolicy *self)
{
}

/**
 * imago_same_directory_policy_new:
 *
 * Makes a policy that grants regular files in the directory of the image that names them.
 *
 * Returns: (transfer full): the policy
 *
 * Since: 1.0
 */
ImagoReferencePolicy *
imago_same_directory_policy_new (void)
{
  return g_object_new (IMAGO_TYPE_SAME_DIRECTORY_POLICY, NULL);
}

/* ---- ImagoPermissivePolicy ---- */

/**
 * ImagoPermissivePolicy:
 *
 * The policy that grants every regular file that the process can read, and guesses the format of
 * those whose format the image does not declare. Whoever wrote the image so chooses what the
 * application reads: only for images that you trust entirely. Its objects may be used from any
 * thread.
 *
 * Since: 1.0
 */
struct _ImagoPermissivePolicy
{
  GObject parent_instance;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoPermissivePolicy,
                               imago_permissive_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY, no_hook_init))

static void
imago_permissive_policy_class_init (ImagoPermissivePolicyClass *klass)
{
}

static void
imago_permissive_policy_init (ImagoPermissivePolicy *self)
{
}

/**
 * imago_permissive_policy_new:
 *
 * Makes a policy that grants every regular file that the process can read. See
 * #ImagoPermissivePolicy for what that means.
 *
 * Returns: (transfer full): the policy
 *
 * Since: 1.0
 */
ImagoReferencePolicy *
imago_permissive_policy_new (void)
{
  return g_object_new (IMAGO_TYPE_PERMISSIVE_POLICY, NULL);
}

/* ---- ImagoMapPolicy ---- */

typedef struct
{
  ImgStorage *storage;
  char *format_name;
} MapEntry;

static void
map_entry_free (gpointer data)
{
  MapEntry *entry = data;

  img_storage_unref (entry->storage);
  g_free (entry->format_name);
  g_free (entry);
}

/* Shared by the object and the core, so that a worker never holds the object. */
typedef struct
{
  ImgPolicy parent;
  ImgMutex mutex;
  GHashTable *entries; /* name -> MapEntry */
} MapCore;

static ImgStorage *
map_core_decide (ImgPolicy *policy, ImgReference *reference, ImgCancel *cancel, ImgError **error)
{
  MapCore *self = (MapCore *) policy;
  g_autofree char *quoted = NULL;
  ImgStorage *storage = NULL;
  MapEntry *entry;

  img_mutex_lock (&self->mutex);
  entry = g_hash_table_lookup (self->entries, reference->wanted->name);
  if (entry != NULL)
    {
      storage = img_storage_ref (entry->storage);
      if (entry->format_name != NULL)
        {
          g_free (reference->format_name);
          reference->format_name = g_strdup (entry->format_name);
        }
    }
  img_mutex_unlock (&self->mutex);
  if (storage != NULL)
    return storage;
  quoted = img_quote_name (reference->wanted->name);
  img_error_set (error, IMG_CODE_REFERENCE_DENIED,
                 _("%s is not among the files granted to the image"), quoted);
  return NULL;
}

static void
map_core_free (ImgPolicy *policy)
{
  MapCore *self = (MapCore *) policy;

  g_hash_table_unref (self->entries);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

static const ImgPolicyClass map_core_class = {
  .decide = map_core_decide,
  .free = map_core_free,
};

/**
 * ImagoMapPolicy:
 *
 * The policy that grants what the application listed: names as they stand in images, each with the
 * open file that it stands for. Every other name is denied. Its objects may be used from any
 * thread.
 *
 * Since: 1.0
 */
struct _ImagoMapPolicy
{
  GObject parent_instance;
  MapCore *core;
};

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoMapPolicy,
                               imago_map_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY, no_hook_init))

static void
imago_map_policy_finalize (GObject *object)
{
  img_policy_unref (&IMAGO_MAP_POLICY (object)->core->parent);
  G_OBJECT_CLASS (imago_map_policy_parent_class)->finalize (object);
}

static void
imago_map_policy_class_init (ImagoMapPolicyClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = imago_map_policy_finalize;
}

static void
imago_map_policy_init (ImagoMapPolicy *self)
{
  self->core = g_new0 (MapCore, 1);
  img_policy_init (&self->core->parent, &map_core_class);
  self->core->parent.may_hang = TRUE;
  img_mutex_init (&self->core->mutex);
  self->core->entries = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, map_entry_free);
}

/**
 * imago_map_policy_new:
 *
 * Makes a policy that grants nothing until imago_map_policy_add() is called.
 *
 * Returns: (transfer full): the policy
 *
 * Since: 1.0
 */
ImagoMapPolicy *
imago_map_policy_new (void)
{
  return g_object_new (IMAGO_TYPE_MAP_POLICY, NULL);
}

/**
 * imago_map_policy_add:
 * @self: an #ImagoMapPolicy
 * @name: (type filename): the name exactly as it stands in the image; see
 *   imago_reference_get_name()
 * @storage: the open file that the name stands for
 * @format_name: (nullable): the format of that file, or %NULL for what the image declares
 *
 * Grants @storage to every image that asks for @name. A name that was added before gets a new
 * meaning.
 *
 * Since: 1.0
 */
void
imago_map_policy_add (ImagoMapPolicy *self,
                      const char *name,
                      ImagoStorage *storage,
                      const char *format_name)
{
  g_autofree char *old_name = NULL;
  MapEntry *old_entry = NULL;
  MapEntry *entry;

  g_return_if_fail (IMAGO_IS_MAP_POLICY (self));
  g_return_if_fail (name != NULL);
  g_return_if_fail (IMAGO_IS_STORAGE (storage));

  entry = g_new0 (MapEntry, 1);
  entry->storage = imago_storage_dup_core (storage);
  entry->format_name = g_strdup (format_name);
  img_mutex_lock (&self->core->mutex);
  g_hash_table_steal_extended (self->core->entries, name, (gpointer *) &old_name,
                               (gpointer *) &old_entry);
  g_hash_table_insert (self->core->entries, g_strdup (name), entry);
  img_mutex_unlock (&self->core->mutex);
  if (old_entry != NULL)
    map_entry_free (old_entry);
}

/* ---- ImagoCallbackPolicy ---- */

/**
 * ImagoCallbackPolicy:
 *
 * The policy that asks a function, which runs in the main context that was the thread-default one
 * where the policy was made. See #ImagoReferencePolicy.
 *
 * Since: 1.0
 */
struct _ImagoCallbackPolicy
{
  GObject parent_instance;

  ImagoReferenceFunc func;
  gpointer user_data;
  GDestroyNotify user_data_free_func;
};

static gboolean
imago_callback_policy_decide (ImagoReferencePolicy *policy,
                              ImagoReference *reference,
                              GError **error)
{
  ImagoCallbackPolicy *self = IMAGO_CALLBACK_POLICY (policy);

  /* Made with g_object_new (), as some languages do. */
  if (self->func == NULL)
    {
      imago_reference_deny (reference, NULL);
      return TRUE;
    }
  return self->func (reference, self->user_data, error);
}

static void
callback_policy_hook_init (ImagoReferencePolicyInterface *iface)
{
  iface->decide = imago_callback_policy_decide;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (ImagoCallbackPolicy,
                               imago_callback_policy,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (IMAGO_TYPE_REFERENCE_POLICY,
                                                      callback_policy_hook_init))

static void
imago_callback_policy_finalize (GObject *object)
{
  ImagoCallbackPolicy *self = IMAGO_CALLBACK_POLICY (object);
  g_autoptr (ImagoOwnerQueue) queue = owner_queue_of (IMAGO_REFERENCE_POLICY (self));

  imago_owner_queue_release (queue, self->user_data, self->user_data_free_func);
  G_OBJECT_CLASS (imago_callback_policy_parent_class)->finalize (object);
}

static void
imago_callback_policy_class_init (ImagoCallbackPolicyClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = imago_callback_policy_finalize;
}

static void
imago_callback_policy_init (ImagoCallbackPolicy *self)
{
}

/**
 * imago_callback_policy_new:
 * @func: (scope notified) (closure user_data) (destroy user_data_free_func): the function to ask
 * @user_data: data for @func
 * @user_data_free_func: (nullable): frees @user_data, in the same main context
 *
 * Makes a policy that asks @func, which runs in the main context that is the thread-default one
 * now.
 *
 * Returns: (transfer full): the policy
 *
 * Since: 1.0
 */
ImagoReferencePolicy *
imago_callback_policy_new (ImagoReferenceFunc func,
                           gpointer user_data,
                           GDestroyNotify user_data_free_func)
{
  ImagoCallbackPolicy *self;

  g_return_val_if_fail (func != NULL, NULL);

  self = g_object_new (IMAGO_TYPE_CALLBACK_POLICY, NULL);
  self->func = func;
  self->user_data = user_data;
  self->user_data_free_func = user_data_free_func;
  imago_reference_policy_settle (IMAGO_REFERENCE_POLICY (self));
  return IMAGO_REFERENCE_POLICY (self);
}

/* ---- to the core ---- */

ImgPolicy *
imago_reference_policy_to_core (ImagoReferencePolicy *policy)
{
  if (policy == NULL || IMAGO_IS_DENY_POLICY (policy))
    return img_policy_new_deny ();
  if (IMAGO_IS_SAME_DIRECTORY_POLICY (policy))
    return img_policy_new_same_directory ();
  if (IMAGO_IS_PERMISSIVE_POLICY (policy))
    return img_policy_new_permissive ();
  if (IMAGO_IS_MAP_POLICY (policy))
    return img_policy_ref (&IMAGO_MAP_POLICY (policy)->core->parent);
  if (IMAGO_REFERENCE_POLICY_GET_IFACE (policy)->decide != NULL)
    return owned_policy_new (policy);
  /* A class that implements the interface without its only function. */
  return img_policy_new_deny ();
}
