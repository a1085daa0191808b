/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-enum-types.h"
#include "imago-error-private.h"
#include "imago-reference-private.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-reference
 * @title: ImagoReference
 * @short_description: A file that an image names
 *
 * An image can name other files: the one that it is based on, the one that holds its data. Nothing
 * in the library opens such a name. It makes an #ImagoReference of it and asks the
 * #ImagoReferencePolicy, which answers with imago_reference_grant() or imago_reference_deny(), at
 * once or later. The first answer counts; a reference that is answered twice inside one call of the
 * hook, or dropped without an answer, is denied.
 *
 * References are also listed by imago_image_list_references() and
 * imago_inspection_get_references(). Nobody waits for an answer to those: granting or denying them
 * does nothing.
 *
 * All functions may be called from any thread.
 */

typedef enum
{
  ANSWER_NONE,
  ANSWER_GRANTED,
  ANSWER_DENIED,
} AnswerState;

struct _ImagoAnswer
{
  ImgRefCount ref_count;

  ImgMutex mutex;
  AnswerState state;
  gboolean in_hook;
  gboolean delivered;   /* what is said from now on comes too late */
  ImagoOwnerCall *call; /* owned; NULL: nobody asks */
  ImgStorage *storage;
  ImgError *error;
  char *declared_format;
  char *chosen_format;
};

/* ---- answers ---- */

ImagoAnswer *
imago_answer_new (void)
{
  ImagoAnswer *self = g_new0 (ImagoAnswer, 1);

  img_ref_init (&self->ref_count);
  img_mutex_init (&self->mutex);
  return self;
}

ImagoAnswer *
imago_answer_ref (ImagoAnswer *self)
{
  img_ref_inc (&self->ref_count);
  return self;
}

void
imago_answer_unref (ImagoAnswer *self)
{
  if (!img_ref_dec (&self->ref_count))
    return;
  g_clear_pointer (&self->call, imago_owner_call_unref);
  g_clear_pointer (&self->storage, img_storage_unref);
  g_clear_pointer (&self->error, img_error_free);
  g_free (self->declared_format);
  g_free (self->chosen_format);
  img_mutex_clear (&self->mutex);
  g_free (self);
}

void
imago_answer_set_call (ImagoAnswer *self, ImagoOwnerCall *call)
{
  self->call = imago_owner_call_ref (call);
}

/* Releases the mutex. */
static void
unlock_and_deliver (ImagoAnswer *self)
{
  g_autoptr (ImagoOwnerCall) call = NULL;

  if (self->state != ANSWER_NONE && !self->in_hook && !self->delivered)
    {
      self->delivered = TRUE;
      call = g_steal_pointer (&self->call);
    }
  img_mutex_unlock (&self->mutex);
  if (call != NULL)
    imago_owner_call_finish (call);
}

/* With the mutex held; takes @error. */
static void
set_denied (ImagoAnswer *self, ImgError *error, ImgStorage **old_storage, ImgError **old_error)
{
  *old_storage = g_steal_pointer (&self->storage);
  *old_error = self->error;
  self->state = ANSWER_DENIED;
  self->error = error;
}

/* Takes @storage and @error, of which exactly one is given. @overrides: not an answer but a
 * verdict on the hook, which counts more than what it said. */
static void
answer (ImagoAnswer *self, ImgStorage *storage, ImgError *error, gboolean overrides)
{
  g_autoptr (ImgStorage) old_storage = NULL;
  g_autoptr (ImgError) old_error = NULL;
  g_autoptr (ImgStorage) unused_storage = storage;
  g_autoptr (ImgError) unused_error = error;

  img_mutex_lock (&self->mutex);
  if (self->delivered)
    {
      img_mutex_unlock (&self->mutex);
      return;
    }
  if (self->state != ANSWER_NONE && !overrides)
    {
      g_autoptr (ImgError) twice = NULL;

      img_error_set (&twice, IMG_CODE_REFERENCE_DENIED,
                     _("The reference policy answered more than once"));
      set_denied (self, g_steal_pointer (&twice), &old_storage, &old_error);
    }
  else if (error != NULL)
    set_denied (self, g_steal_pointer (&unused_error), &old_storage, &old_error);
  else
    {
      self->state = ANSWER_GRANTED;
      self->storage = g_steal_pointer (&unused_storage);
    }
  unlock_and_deliver (self);
}

/* What an application says for a no may be of any domain; what the core carries should still say
 * "denied". */
static ImgError *
denial (const GError *error)
{
  ImgError *core_error = NULL;

  if (error == NULL)
    {
      img_error_set (&core_error, IMG_CODE_REFERENCE_DENIED, _("The reference policy refused"));
      return core_error;
    }
  core_error = imago_error_to_core (error);
  if (core_error->code == IMG_CODE_FAILED && error->domain != IMAGO_ERROR)
    core_error->code = IMG_CODE_REFERENCE_DENIED;
  return core_error;
}

void
imago_answer_begin_hook (ImagoAnswer *self)
{
  img_mutex_lock (&self->mutex);
  self->in_hook = TRUE;
  img_mutex_unlock (&self->mutex);
}

void
imago_answer_end_hook (ImagoAnswer *self, gboolean success, GError *error)
{
  g_autoptr (GError) owned = error;

  img_mutex_lock (&self->mutex);
  self->in_hook = FALSE;
  if (success)
    {
      unlock_and_deliver (self);
      return;
    }
  img_mutex_unlock (&self->mutex);
  answer (self, NULL, denial (owned), TRUE);
}

static ImgError *
no_answer (void)
{
  ImgError *error = NULL;

  img_error_set (&error, IMG_CODE_REFERENCE_DENIED,
                 _("The reference policy dropped the reference without an answer"));
  return error;
}

/* The object is gone. */
static void
answer_drop (ImagoAnswer *self)
{
  gboolean has_answer;

  img_mutex_lock (&self->mutex);
  has_answer = self->state != ANSWER_NONE;
  img_mutex_unlock (&self->mutex);
  if (!has_answer)
    answer (self, NULL, no_answer (), TRUE);
}

ImgStorage *
imago_answer_take (ImagoAnswer *self, char **format_name, ImgError **error)
{
  ImgStorage *storage;
  ImgError *denied = NULL;

  img_mutex_lock (&self->mutex);
  self->delivered = TRUE;
  storage = g_steal_pointer (&self->storage);
  if (storage == NULL)
    denied = self->error != NULL ? g_steal_pointer (&self->error) : no_answer ();
  else if (self->chosen_format != NULL)
    {
      g_free (*format_name);
      *format_name = g_strdup (self->chosen_format);
    }
  img_mutex_unlock (&self->mutex);
  if (denied != NULL)
    img_error_propagate (error, denied);
  return storage;
}

/* ---- the object ---- */

/**
 * ImagoReference:
 *
 * A file that an image names.
 *
 * Since: 1.0
 */
struct _ImagoReference
{
  GObject parent_instance;

  ImagoReferenceRole role;
  char *name;
  guint depth;
  gboolean needs_write;
  GFile *file;
  ImagoAnswer *answer;
};

G_DEFINE_FINAL_TYPE (ImagoReference, imago_reference, G_TYPE_OBJECT)

enum
{
  PROP_ROLE = 1,
  PROP_NAME,
  PROP_DISPLAY_NAME,
  PROP_FORMAT_NAME,
  PROP_DEPTH,
  PROP_NEEDS_WRITE,
  PROP_FILE,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_reference_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoReference *self = IMAGO_REFERENCE (object);

  switch (property_id)
    {
    case PROP_ROLE:
      g_value_set_enum (value, self->role);
      break;
    case PROP_NAME:
      g_value_set_string (value, self->name);
      break;
    case PROP_DISPLAY_NAME:
      g_value_take_string (value, imago_reference_dup_display_name (self));
      break;
    case PROP_FORMAT_NAME:
      g_value_take_string (value, imago_reference_dup_format_name (self));
      break;
    case PROP_DEPTH:
      g_value_set_uint (value, self->depth);
      break;
    case PROP_NEEDS_WRITE:
      g_value_set_boolean (value, self->needs_write);
      break;
    case PROP_FILE:
      g_value_set_object (value, self->file);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_reference_set_property (GObject *object,
                              guint property_id,
                              const GValue *value,
                              GParamSpec *pspec)
{
  if (property_id == PROP_FORMAT_NAME)
    imago_reference_set_format_name (IMAGO_REFERENCE (object), g_value_get_string (value));
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
}

static void
imago_reference_finalize (GObject *object)
{
  ImagoReference *self = IMAGO_REFERENCE (object);

  answer_drop (self->answer);
  imago_answer_unref (self->answer);
  g_clear_object (&self->file);
  g_free (self->name);
  G_OBJECT_CLASS (imago_reference_parent_class)->finalize (object);
}

static void
imago_reference_class_init (ImagoReferenceClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = imago_reference_get_property;
  object_class->set_property = imago_reference_set_property;
  object_class->finalize = imago_reference_finalize;

  /**
   * ImagoReference:role:
   *
   * What the image wants the file for.
   *
   * Since: 1.0
   */
  properties[PROP_ROLE] = g_param_spec_enum ("role", "Role", "What the image wants the file for",
                                             IMAGO_TYPE_REFERENCE_ROLE, IMAGO_REFERENCE_NONE,
                                             G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:name: (type filename)
   *
   * The name as it stands in the image: bytes that somebody else wrote, not necessarily UTF-8 and
   * not yet a path.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] = g_param_spec_string ("name", "Name", "The name as it stands in the image",
                                               NULL, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:display-name:
   *
   * The name for people: valid UTF-8, in quotation marks, control characters escaped.
   *
   * Since: 1.0
   */
  properties[PROP_DISPLAY_NAME] =
    g_param_spec_string ("display-name", "Display name", "The name for people", NULL,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:format-name:
   *
   * The format of the file: as the image declares it until a policy sets another one; %NULL if the
   * image does not say. Data files are always raw.
   *
   * Since: 1.0
   */
  properties[PROP_FORMAT_NAME] =
    g_param_spec_string ("format-name", "Format name", "The format of the file", NULL,
                         G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:depth:
   *
   * How far from the image that the application opened: 1 if that one names the file, 2 if its
   * backing image does, and so on.
   *
   * Since: 1.0
   */
  properties[PROP_DEPTH] =
    g_param_spec_uint ("depth", "Depth", "How far from the image that the application opened", 0,
                       G_MAXUINT, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:needs-write:
   *
   * Whether the file will be written, so that only a storage that is open for writing can be granted:
   * %TRUE for the data file of an image that is opened for writing. %FALSE for a reference that is only
   * listed.
   *
   * Since: 1.0
   */
  properties[PROP_NEEDS_WRITE] =
    g_param_spec_boolean ("needs-write", "Needs write", "Whether the file will be written", FALSE,
                          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  /**
   * ImagoReference:file:
   *
   * The file that is meant: the name as it is if it is absolute, otherwise beside the image that
   * names it; %NULL if the name is no plain path or the image has no name itself. The file has not
   * been looked at.
   *
   * Since: 1.0
   */
  properties[PROP_FILE] =
    g_param_spec_object ("file", "File", "The file that is meant", G_TYPE_FILE,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_reference_init (ImagoReference *self)
{
  self->name = g_strdup (""); /* bindings can make one of nothing */
  self->answer = imago_answer_new ();
}

static ImagoReferenceRole
role_from_core (ImgReferenceRole role)
{
  return role == IMG_REFERENCE_DATA_FILE ? IMAGO_REFERENCE_DATA_FILE : IMAGO_REFERENCE_BACKING_FILE;
}

ImagoReference *
imago_reference_new_shown (const ImgWanted *wanted, const char *parent_name, guint depth)
{
  ImagoReference *self = g_object_new (IMAGO_TYPE_REFERENCE, NULL);
  g_autofree char *path = img_wanted_resolve (wanted, parent_name);

  self->role = role_from_core (wanted->role);
  g_free (self->name);
  self->name = g_strdup (wanted->name);
  self->depth = depth;
  self->file = path != NULL ? g_file_new_for_path (path) : NULL;
  self->answer->declared_format = g_strdup (wanted->format_name);
  return self;
}

GListModel *
imago_reference_list_from_core (GPtrArray *wanted, const char *parent_name)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_REFERENCE);

  for (guint i = 0; wanted != NULL && i < wanted->len; i++)
    {
      g_autoptr (ImagoReference) reference =
        imago_reference_new_shown (g_ptr_array_index (wanted, i), parent_name, 1);

      g_list_store_append (list, reference);
    }
  return G_LIST_MODEL (list);
}

ImagoReference *
imago_reference_new_asked (const ImgReference *core, ImagoAnswer *answer)
{
  ImagoReference *self =
    imago_reference_new_shown (core->wanted, img_storage_get_name (core->parent), core->depth);

  imago_answer_unref (self->answer);
  self->answer = imago_answer_ref (answer);
  self->answer->declared_format = g_strdup (core->format_name);
  self->needs_write = core->needs_write;
  return self;
}

/**
 * imago_reference_get_role:
 * @self: an #ImagoReference
 *
 * Gets what the image wants the file for.
 *
 * Returns: the role
 *
 * Since: 1.0
 */
ImagoReferenceRole
imago_reference_get_role (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), IMAGO_REFERENCE_NONE);

  return self->role;
}

/**
 * imago_reference_get_name:
 * @self: an #ImagoReference
 *
 * Gets the name as it stands in the image: bytes that somebody else wrote, not necessarily UTF-8
 * and not yet a path. To show it to people use imago_reference_dup_display_name().
 *
 * Returns: (type filename) (transfer none): the name
 *
 * Since: 1.0
 */
const char *
imago_reference_get_name (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), NULL);

  return self->name;
}

/**
 * imago_reference_dup_display_name:
 * @self: an #ImagoReference
 *
 * Gets the name for people: valid UTF-8, in quotation marks, control characters escaped.
 *
 * Returns: (transfer full): the text
 *
 * Since: 1.0
 */
char *
imago_reference_dup_display_name (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), NULL);

  return img_quote_name (self->name);
}

/**
 * imago_reference_dup_format_name:
 * @self: an #ImagoReference
 *
 * Gets the format of the file: as the image declares it, or as imago_reference_set_format_name()
 * changed it.
 *
 * Returns: (transfer full) (nullable): the name of a format, perhaps of one that the library does
 *   not know; %NULL if the image does not say
 *
 * Since: 1.0
 */
char *
imago_reference_dup_format_name (ImagoReference *self)
{
  ImagoAnswer *state;
  const char *format_name;
  char *copy;

  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), NULL);

  state = self->answer;
  img_mutex_lock (&state->mutex);
  format_name = state->chosen_format != NULL ? state->chosen_format : state->declared_format;
  copy = format_name != NULL ? g_utf8_make_valid (format_name, -1) : NULL;
  img_mutex_unlock (&state->mutex);
  return copy;
}

/**
 * imago_reference_set_format_name:
 * @self: an #ImagoReference
 * @format_name: (nullable): the name of a format, or %NULL for what the image declares
 *
 * Says as what the file is to be opened, before it is granted. An image that names a file without
 * its format cannot use it otherwise: the library does not guess.
 *
 * Since: 1.0
 */
void
imago_reference_set_format_name (ImagoReference *self, const char *format_name)
{
  char *chosen;

  g_return_if_fail (IMAGO_IS_REFERENCE (self));

  chosen = g_strdup (format_name);
  img_mutex_lock (&self->answer->mutex);
  g_free (self->answer->chosen_format);
  self->answer->chosen_format = chosen;
  img_mutex_unlock (&self->answer->mutex);
}

/**
 * imago_reference_get_depth:
 * @self: an #ImagoReference
 *
 * Gets how far the reference is from the image that the application opened: 1 if that one names the
 * file, 2 if its backing image does, and so on.
 *
 * Returns: the depth
 *
 * Since: 1.0
 */
guint
imago_reference_get_depth (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), 0);

  return self->depth;
}

/**
 * imago_reference_get_needs_write:
 * @self: an #ImagoReference
 *
 * Gets whether the file will be written; see #ImagoReference:needs-write. A storage that is not open for
 * writing makes opening fail with %IMAGO_ERROR_READ_ONLY if it is granted all the same.
 *
 * Returns: %TRUE if only a storage that is open for writing will do
 *
 * Since: 1.0
 */
gboolean
imago_reference_get_needs_write (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), FALSE);

  return self->needs_write;
}

/**
 * imago_reference_get_file:
 * @self: an #ImagoReference
 *
 * Gets the file that is meant: the name as it is if it is absolute, otherwise beside the image that
 * names it. Whether it exists has not been looked at.
 *
 * Returns: (transfer none) (nullable): the file, or %NULL if the name is no plain path (such as
 *   `nbd:…` or `json:…`) or the image that names it has no name itself
 *
 * Since: 1.0
 */
GFile *
imago_reference_get_file (ImagoReference *self)
{
  g_return_val_if_fail (IMAGO_IS_REFERENCE (self), NULL);

  return self->file;
}

/**
 * imago_reference_grant:
 * @self: an #ImagoReference
 * @storage: the open file that the image gets
 *
 * Answers that the image may use @storage. It need not be the file of that name.
 *
 * Does nothing if the reference has been answered before, or if nobody asked.
 *
 * Since: 1.0
 */
void
imago_reference_grant (ImagoReference *self, ImagoStorage *storage)
{
  g_return_if_fail (IMAGO_IS_REFERENCE (self));
  g_return_if_fail (IMAGO_IS_STORAGE (storage));

  answer (self->answer, imago_storage_dup_core (storage), NULL, FALSE);
}

/**
 * imago_reference_deny:
 * @self: an #ImagoReference
 * @error: (nullable): the reason, which the open call reports; %NULL for a general one
 *
 * Answers that the image may not use the file. An @error of the domains #ImagoError and
 * #GIOErrorEnum is reported as it is, the text of any other as %IMAGO_ERROR_REFERENCE_DENIED.
 *
 * In a language that cannot pass %NULL for an error, a `decide` hook refuses by raising one.
 *
 * Does nothing if the reference has been answered before, or if nobody asked.
 *
 * Since: 1.0
 */
void
imago_reference_deny (ImagoReference *self, const GError *error)
{
  g_return_if_fail (IMAGO_IS_REFERENCE (self));

  answer (self->answer, NULL, denial (error), FALSE);
}
