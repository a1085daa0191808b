/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-enum-types.h"
#include "imago-format-private.h"
#include "imago-request.h"
#include "imago-storage-private.h"

/**
 * SECTION:imago-format
 * @title: ImagoFormat
 * @short_description: What the library knows of a format
 *
 * There is one object for each format, which lives as long as the process. imago_format_list() has
 * them all, imago_format_lookup() finds one by its name, and imago_format_probe() says which of
 * them the bytes of a file match.
 *
 * Formats never change and may be used from any thread.
 */

/**
 * ImagoFormat:
 *
 * What the library knows of a format.
 *
 * Since: 1.0
 */
struct _ImagoFormat
{
  GObject parent_instance;

  const ImgDriver *driver;
};

G_DEFINE_FINAL_TYPE (ImagoFormat, imago_format, G_TYPE_OBJECT)

enum
{
  PROP_NAME = 1,
  PROP_TITLE,
  PROP_MIME_TYPES,
  PROP_SUFFIXES,
  PROP_FLAGS,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_format_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoFormat *self = IMAGO_FORMAT (object);

  switch (property_id)
    {
    case PROP_NAME:
      g_value_set_string (value, imago_format_get_name (self));
      break;
    case PROP_TITLE:
      g_value_set_string (value, imago_format_get_title (self));
      break;
    case PROP_MIME_TYPES:
      g_value_set_boxed (value, imago_format_get_mime_types (self));
      break;
    case PROP_SUFFIXES:
      g_value_set_boxed (value, imago_format_get_suffixes (self));
      break;
    case PROP_FLAGS:
      g_value_set_flags (value, imago_format_get_flags (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_format_class_init (ImagoFormatClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  object_class->get_property = imago_format_get_property;

  /**
   * ImagoFormat:name:
   *
   * The word for the format in commands and in images, such as `qcow2`.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] =
    g_param_spec_string ("name", "Name", "The word for the format", NULL, flags);

  /**
   * ImagoFormat:title:
   *
   * The name of the format for people, translated.
   *
   * Since: 1.0
   */
  properties[PROP_TITLE] =
    g_param_spec_string ("title", "Title", "The name of the format for people", NULL, flags);

  /**
   * ImagoFormat:mime-types:
   *
   * The MIME types that files of the format have, the usual one first.
   *
   * Since: 1.0
   */
  properties[PROP_MIME_TYPES] = g_param_spec_boxed (
    "mime-types", "MIME types", "The MIME types of such files", G_TYPE_STRV, flags);

  /**
   * ImagoFormat:suffixes:
   *
   * The suffixes that names of such files have, without a dot, the usual one first.
   *
   * Since: 1.0
   */
  properties[PROP_SUFFIXES] =
    g_param_spec_boxed ("suffixes", "Suffixes", "The suffixes of such files", G_TYPE_STRV, flags);

  /**
   * ImagoFormat:flags:
   *
   * What images of the format can have.
   *
   * Since: 1.0
   */
  properties[PROP_FLAGS] =
    g_param_spec_flags ("flags", "Flags", "What images of the format can have",
                        IMAGO_TYPE_FORMAT_FLAGS, IMAGO_FORMAT_NONE, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

/* Bindings can make one of nothing; it is the raw format then. */
static void
imago_format_init (ImagoFormat *self)
{
  self->driver = img_driver_find ("raw");
}

/* ---- the objects ---- */

/* One a driver, in the order of the drivers; NULL-terminated. */
static ImagoFormat **
all_formats (void)
{
  static ImagoFormat **formats;
  const ImgDriver *const *drivers = img_drivers_get_all ();
  ImagoFormat **made;
  guint n_drivers = 0;

  if (!g_once_init_enter (&formats))
    return formats;
  while (drivers[n_drivers] != NULL)
    n_drivers++;
  made = g_new0 (ImagoFormat *, n_drivers + 1);
  for (guint i = 0; i < n_drivers; i++)
    {
      made[i] = g_object_new (IMAGO_TYPE_FORMAT, NULL);
      made[i]->driver = drivers[i];
    }
  g_once_init_leave (&formats, made);
  return formats;
}

ImagoFormat *
imago_format_from_driver (const ImgDriver *driver)
{
  for (ImagoFormat **format = all_formats (); *format != NULL; format++)
    if ((*format)->driver == driver)
      return *format;
  g_assert_not_reached ();
}

const ImgDriver *
imago_format_get_driver (ImagoFormat *self)
{
  return self->driver;
}

GListModel *
imago_format_list_from_drivers (GPtrArray *drivers)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_FORMAT);

  for (guint i = 0; i < drivers->len; i++)
    g_list_store_append (list, imago_format_from_driver (g_ptr_array_index (drivers, i)));
  return G_LIST_MODEL (list);
}

/**
 * imago_format_list:
 *
 * Lists the formats that the library knows: the more specific ones first, `raw`, which every file
 * can be, last.
 *
 * Returns: (transfer full): a new list of #ImagoFormat
 *
 * Since: 1.0
 */
GListModel *
imago_format_list (void)
{
  GListStore *list = g_list_store_new (IMAGO_TYPE_FORMAT);

  for (ImagoFormat **format = all_formats (); *format != NULL; format++)
    g_list_store_append (list, *format);
  return G_LIST_MODEL (list);
}

/**
 * imago_format_lookup:
 * @name: the word for a format, such as `qcow2`
 *
 * Finds a format by its name.
 *
 * Returns: (transfer none) (nullable): the format, or %NULL if the library does not know it
 *
 * Since: 1.0
 */
ImagoFormat *
imago_format_lookup (const char *name)
{
  const ImgDriver *driver;

  g_return_val_if_fail (name != NULL, NULL);

  driver = img_driver_find (name);
  return driver != NULL ? imago_format_from_driver (driver) : NULL;
}

/* ---- probing ---- */

static gpointer
run_probe (gpointer data, ImgCancel *cancel, ImgError **error)
{
  return img_drivers_probe (((ImagoStorageCall *) data)->core, error);
}

static void
free_drivers (gpointer drivers)
{
  g_ptr_array_unref (drivers);
}

/**
 * imago_format_probe:
 * @storage: an #ImagoStorage
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Looks at the first 64 KiB and the last 1.5 KiB of @storage and says which formats they match. A
 * file can match several, be it by chance or because somebody meant it to. Every file can be raw,
 * so that format is never in the list: an empty list means raw, or a format that the library does
 * not know.
 *
 * The guess is no better than whoever wrote the file is honest: a raw disk whose guest has written
 * the header of another format to it matches that format. Remember what a disk is rather than
 * guessing each time.
 *
 * Errors of reading are those of the storage, usually of the %G_IO_ERROR domain.
 *
 * Returns: (transfer full): a new list of #ImagoFormat, or %NULL with @error set
 *
 * Since: 1.0
 */
GListModel *
imago_format_probe (ImagoStorage *storage, GCancellable *cancellable, GError **error)
{
  const ImagoStorageCall call = { 0 };
  g_autoptr (GPtrArray) drivers = NULL;

  g_return_val_if_fail (IMAGO_IS_STORAGE (storage), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  drivers = imago_storage_call (storage, run_probe, &call, free_drivers, cancellable, error);
  return drivers != NULL ? imago_format_list_from_drivers (drivers) : NULL;
}

/**
 * imago_format_probe_async:
 * @storage: an #ImagoStorage
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable
 * @callback: (scope async): called when the request is satisfied
 * @user_data: data for @callback
 *
 * Does what imago_format_probe() does without waiting for it. @callback runs in the thread-default
 * main context of the caller, never before this function returns, and gets the answer from
 * imago_format_probe_finish().
 *
 * Since: 1.0
 */
void
imago_format_probe_async (ImagoStorage *storage,
                          int io_priority,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  const ImagoStorageCall call = { 0 };
  GTask *task;

  g_return_if_fail (IMAGO_IS_STORAGE (storage));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_format_probe_async);
  g_task_set_priority (task, io_priority);
  if (!imago_request_is_cancelled (task))
    imago_storage_call_async (storage, task, run_probe, &call, free_drivers, IMAGO_REQUEST_ABANDON);
}

/**
 * imago_format_probe_finish:
 * @result: the #GAsyncResult that the callback got
 * @error: return location for a #GError
 *
 * Gets the answer to imago_format_probe_async().
 *
 * Returns: (transfer full): a new list of #ImagoFormat, or %NULL with @error set
 *
 * Since: 1.0
 */
GListModel *
imago_format_probe_finish (GAsyncResult *result, GError **error)
{
  g_autoptr (GPtrArray) drivers = NULL;

  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_format_probe_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  drivers = g_task_propagate_pointer (G_TASK (result), error);
  return drivers != NULL ? imago_format_list_from_drivers (drivers) : NULL;
}

/* ---- properties ---- */

/**
 * imago_format_get_name:
 * @self: an #ImagoFormat
 *
 * Gets the word for the format in commands and in images, such as `qcow2`.
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
imago_format_get_name (ImagoFormat *self)
{
  g_return_val_if_fail (IMAGO_IS_FORMAT (self), NULL);

  return self->driver->name;
}

/**
 * imago_format_get_title:
 * @self: an #ImagoFormat
 *
 * Gets the name of the format for people, in their language.
 *
 * Returns: (transfer none): the title
 *
 * Since: 1.0
 */
const char *
imago_format_get_title (ImagoFormat *self)
{
  g_return_val_if_fail (IMAGO_IS_FORMAT (self), NULL);

  return g_dgettext (GETTEXT_PACKAGE, self->driver->title);
}

/**
 * imago_format_get_mime_types:
 * @self: an #ImagoFormat
 *
 * Gets the MIME types that files of the format have, the usual one first.
 *
 * Returns: (transfer none) (array zero-terminated=1): the MIME types
 *
 * Since: 1.0
 */
const char *const *
imago_format_get_mime_types (ImagoFormat *self)
{
  g_return_val_if_fail (IMAGO_IS_FORMAT (self), NULL);

  return self->driver->mime_types;
}

/**
 * imago_format_get_suffixes:
 * @self: an #ImagoFormat
 *
 * Gets the suffixes that names of such files have, without a dot, the usual one first.
 *
 * Returns: (transfer none) (array zero-terminated=1): the suffixes
 *
 * Since: 1.0
 */
const char *const *
imago_format_get_suffixes (ImagoFormat *self)
{
  g_return_val_if_fail (IMAGO_IS_FORMAT (self), NULL);

  return self->driver->suffixes;
}

static const struct
{
  ImgDriverFlags core;
  ImagoFormatFlags flag;
} flag_pairs[] = {
  { IMG_DRIVER_BACKING, IMAGO_FORMAT_BACKING_FILE },
  { IMG_DRIVER_DATA_FILE, IMAGO_FORMAT_DATA_FILE },
  { IMG_DRIVER_COMPRESSED, IMAGO_FORMAT_COMPRESSED },
  { IMG_DRIVER_SNAPSHOTS, IMAGO_FORMAT_SNAPSHOTS },
  { IMG_DRIVER_CREATE, IMAGO_FORMAT_CONVERT_TARGET },
};

/**
 * imago_format_get_flags:
 * @self: an #ImagoFormat
 *
 * Gets what images of the format can have.
 *
 * Returns: the flags
 *
 * Since: 1.0
 */
ImagoFormatFlags
imago_format_get_flags (ImagoFormat *self)
{
  ImagoFormatFlags flags = IMAGO_FORMAT_NONE;

  g_return_val_if_fail (IMAGO_IS_FORMAT (self), IMAGO_FORMAT_NONE);

  for (guint i = 0; i < G_N_ELEMENTS (flag_pairs); i++)
    if (self->driver->flags & flag_pairs[i].core)
      flags |= flag_pairs[i].flag;
  if (self->driver->create != NULL)
    flags |= IMAGO_FORMAT_CREATE;
  if (self->driver->check != NULL)
    flags |= IMAGO_FORMAT_CHECK;
  return flags;
}
