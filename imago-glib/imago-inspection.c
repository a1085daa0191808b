/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <glib/gi18n-lib.h>

#include "imago-error-private.h"
#include "imago-format-private.h"
#include "imago-inspection.h"
#include "imago-reference-private.h"
#include "imago-request.h"
#include "imago-stream-core.h"

/**
 * SECTION:imago-inspection
 * @title: ImagoInspection
 * @short_description: Looking at a file without trusting it
 *
 * imago_inspect() opens exactly one file, never one that it names, and says what it is, what it
 * would want to open, and what an open would stumble over: before a disk from somewhere else is
 * used, imported or shown.
 *
 * The object never changes and may be used from any thread.
 */

/**
 * ImagoInspection:
 *
 * What imago_inspect() found.
 *
 * Since: 1.0
 */
struct _ImagoInspection
{
  GObject parent_instance;

  GListModel *formats;
  guint64 file_size;
  guint64 virtual_size;
  GListModel *references;
  char *encryption;
  guint n_snapshots;
  char **unknown_features;
  char **problems;
  gboolean self_contained;
};

G_DEFINE_FINAL_TYPE (ImagoInspection, imago_inspection, G_TYPE_OBJECT)

enum
{
  PROP_FORMATS = 1,
  PROP_FILE_SIZE,
  PROP_VIRTUAL_SIZE,
  PROP_REFERENCES,
  PROP_ENCRYPTION,
  PROP_N_SNAPSHOTS,
  PROP_UNKNOWN_FEATURES,
  PROP_PROBLEMS,
  PROP_SELF_CONTAINED,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
imago_inspection_get_property (GObject *object, guint property_id, GValue *value, GParamSpec *pspec)
{
  ImagoInspection *self = IMAGO_INSPECTION (object);

  switch (property_id)
    {
    case PROP_FORMATS:
      g_value_set_object (value, self->formats);
      break;
    case PROP_FILE_SIZE:
      g_value_set_uint64 (value, self->file_size);
      break;
    case PROP_VIRTUAL_SIZE:
      g_value_set_uint64 (value, self->virtual_size);
      break;
    case PROP_REFERENCES:
      g_value_set_object (value, self->references);
      break;
    case PROP_ENCRYPTION:
      g_value_set_string (value, self->encryption);
      break;
    case PROP_N_SNAPSHOTS:
      g_value_set_uint (value, self->n_snapshots);
      break;
    case PROP_UNKNOWN_FEATURES:
      g_value_set_boxed (value, self->unknown_features);
      break;
    case PROP_PROBLEMS:
      g_value_set_boxed (value, self->problems);
      break;
    case PROP_SELF_CONTAINED:
      g_value_set_boolean (value, self->self_contained);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property_id, pspec);
    }
}

static void
imago_inspection_finalize (GObject *object)
{
  ImagoInspection *self = IMAGO_INSPECTION (object);

  g_clear_object (&self->formats);
  g_clear_object (&self->references);
  g_free (self->encryption);
  g_strfreev (self->unknown_features);
  g_strfreev (self->problems);
  G_OBJECT_CLASS (imago_inspection_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *object_class)
{
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  /**
   * ImagoInspection:formats:
   *
   * The formats that the file matches: a list of #ImagoFormat. More than one is a reason for
   * suspicion.
   *
   * Since: 1.0
   */
  properties[PROP_FORMATS] = g_param_spec_object (
    "formats", "Formats", "The formats that the file matches", G_TYPE_LIST_MODEL, flags);

  /**
   * ImagoInspection:file-size:
   *
   * The size of the file in bytes.
   *
   * Since: 1.0
   */
  properties[PROP_FILE_SIZE] = g_param_spec_uint64 (
    "file-size", "File size", "The size of the file in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoInspection:virtual-size:
   *
   * The size of the disk in bytes, as the file claims.
   *
   * Since: 1.0
   */
  properties[PROP_VIRTUAL_SIZE] = g_param_spec_uint64 (
    "virtual-size", "Virtual size", "The size of the disk in bytes", 0, G_MAXUINT64, 0, flags);

  /**
   * ImagoInspection:references:
   *
   * The other files that the image names: a list of #ImagoReference.
   *
   * Since: 1.0
   */
  properties[PROP_REFERENCES] = g_param_spec_object (
    "references", "References", "The other files that the image names", G_TYPE_LIST_MODEL, flags);

  /**
   * ImagoInspection:encryption:
   *
   * The method by which the disk is encrypted, such as `luks`; %NULL if it is not.
   *
   * Since: 1.0
   */
  properties[PROP_ENCRYPTION] =
    g_param_spec_string ("encryption", "Encryption", "The method of encryption", NULL, flags);

  /**
   * ImagoInspection:n-snapshots:
   *
   * How many internal snapshots the image has.
   *
   * Since: 1.0
   */
  properties[PROP_N_SNAPSHOTS] = g_param_spec_uint (
    "n-snapshots", "Snapshots", "The number of snapshots", 0, G_MAXUINT, 0, flags);

  /**
   * ImagoInspection:unknown-features:
   *
   * The names of features that the image needs and the library does not have.
   *
   * Since: 1.0
   */
  properties[PROP_UNKNOWN_FEATURES] =
    g_param_spec_boxed ("unknown-features", "Unknown features",
                        "Features that the library does not have", G_TYPE_STRV, flags);

  /**
   * ImagoInspection:problems:
   *
   * What is wrong with the image, in sentences for people, translated.
   *
   * Since: 1.0
   */
  properties[PROP_PROBLEMS] =
    g_param_spec_boxed ("problems", "Problems", "What is wrong with the image", G_TYPE_STRV, flags);

  /**
   * ImagoInspection:self-contained:
   *
   * Whether the file is known to need no other one.
   *
   * Since: 1.0
   */
  properties[PROP_SELF_CONTAINED] = g_param_spec_boolean (
    "self-contained", "Self-contained", "Whether the file needs no other one", FALSE, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
imago_inspection_class_init (ImagoInspectionClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = imago_inspection_get_property;
  object_class->finalize = imago_inspection_finalize;
  install_properties (object_class);
}

static void
imago_inspection_init (ImagoInspection *self)
{
}

/* ---- looking ---- */

/* What a worker brings back: plain memory, no objects of the application. */
typedef struct
{
  char *path;
  guint64 file_size;
  GPtrArray *drivers; /* that match, or raw */
  ImgFindings findings;
} Report;

static void
report_free (gpointer data)
{
  Report *report = data;

  g_free (report->path);
  g_clear_pointer (&report->drivers, g_ptr_array_unref);
  img_findings_clear (&report->findings);
  g_free (report);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Report, report_free)

/* What a worker is told. */
typedef struct
{
  char *path;
  GFile *remote;             /* owned; if there is no path. GFiles may be used on any thread. */
  GCancellable *cancellable; /* owned; nullable: of a blocking call, for GIO. May be used on any thread, too. */
} Subject;

static Subject *
subject_new (GFile *file, GCancellable *cancellable)
{
  Subject *subject = g_new0 (Subject, 1);

  subject->path = g_file_get_path (file);
  if (subject->path == NULL)
    subject->remote = g_object_ref (file);
  g_set_object (&subject->cancellable, cancellable);
  return subject;
}

static void
subject_free (gpointer data)
{
  Subject *subject = data;

  g_free (subject->path);
  g_clear_object (&subject->remote);
  g_clear_object (&subject->cancellable);
  g_free (subject);
}

static ImgStorage *
open_subject (Subject *subject, ImgError **error)
{
  g_autofree char *uri = NULL;
  g_autofree char *name = NULL;
  ImgStorage *storage;

  if (subject->path != NULL)
    return img_file_storage_open (subject->path, IMG_FILE_NONE, error);
  storage = imago_stream_core_open (subject->remote, FALSE, subject->cancellable, error);
  if (storage != NULL)
    return storage;
  uri = g_file_get_uri (subject->remote);
  name = img_quote_name (uri);
  img_error_prefix (error, _("Cannot open %s: "), name);
  return NULL;
}

static gpointer
run_inspect (gpointer data, ImgCancel *cancel, ImgError **error)
{
  Subject *subject = data;
  g_autoptr (Report) report = g_new0 (Report, 1);
  g_autoptr (ImgStorage) storage = NULL;
  const ImgDriver *driver;

  img_findings_init (&report->findings);
  report->path = g_strdup (subject->path);
  storage = open_subject (subject, error);
  if (storage == NULL || !img_storage_get_size (storage, &report->file_size, error))
    return NULL;
  report->drivers = img_drivers_probe (storage, error);
  if (report->drivers == NULL || img_cancel_check (cancel, error))
    return NULL;
  if (report->drivers->len == 0)
    g_ptr_array_add (report->drivers, (gpointer) img_driver_find ("raw"));
  driver = g_ptr_array_index (report->drivers, 0);
  if (!driver->inspect (storage, &report->findings, cancel, error))
    return NULL;
  return g_steal_pointer (&report);
}

/* Of char *; NULL is none. */
static char **
strv_from_array (GPtrArray *strings)
{
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();

  for (guint i = 0; strings != NULL && i < strings->len; i++)
    {
      g_autofree char *valid = g_utf8_make_valid (g_ptr_array_index (strings, i), -1);

      g_strv_builder_add (builder, valid);
    }
  return g_strv_builder_end (builder);
}

/* An unknown feature may keep data elsewhere, and as another format the same bytes may name
 * other files. */
static gboolean
is_self_contained (ImagoInspection *self)
{
  return g_list_model_get_n_items (self->references) == 0 && self->unknown_features[0] == NULL &&
         g_list_model_get_n_items (self->formats) == 1;
}

static ImagoInspection *
inspection_new (Report *report)
{
  ImagoInspection *self = g_object_new (IMAGO_TYPE_INSPECTION, NULL);
  ImgFindings *findings = &report->findings;

  self->formats = imago_format_list_from_drivers (report->drivers);
  self->file_size = report->file_size;
  self->virtual_size = findings->virtual_size;
  self->references = imago_reference_list_from_core (findings->wanted, report->path);
  self->encryption = g_strdup (findings->description.encryption);
  self->n_snapshots = findings->n_snapshots;
  self->unknown_features = strv_from_array (findings->unknown_features);
  self->problems = strv_from_array (findings->problems);
  self->self_contained = is_self_contained (self);
  return self;
}

/* Takes @subject. */
static ImagoRequestWork
make_work (Subject *subject)
{
  return (ImagoRequestWork) {
    .run = run_inspect,
    .data = subject,
    .free_data = subject_free,
    .free_result = report_free,
    .flags = IMAGO_REQUEST_ABANDON | (subject->remote != NULL ? IMAGO_REQUEST_MAY_HANG : IMAGO_REQUEST_NONE),
  };
}

/**
 * imago_inspect:
 * @file: a file
 * @cancellable: (nullable): a #GCancellable
 * @error: return location for a #GError
 *
 * Looks at @file without opening any other and without believing it. An image that could not be
 * opened, because it is encrypted, needs an unknown feature or is damaged, can be inspected as long
 * as its header can be read.
 *
 * A @file without a local path, such as one on another machine, is read as GIO opens it; a place that must be mounted
 * first is not mounted.
 *
 * Fails with %IMAGO_ERROR_NOT_REGULAR_FILE if @file is a directory, device, FIFO or socket, with
 * %IMAGO_ERROR_CORRUPT and its like if not even the header makes sense, and with errors of the
 * %G_IO_ERROR domain if it cannot be read.
 *
 * Returns: (transfer full): what was found, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoInspection *
imago_inspect (GFile *file, GCancellable *cancellable, GError **error)
{
  g_autoptr (Report) report = NULL;
  ImagoRequestWork work;

  g_return_val_if_fail (G_IS_FILE (file), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  work = make_work (subject_new (file, cancellable));
  report = imago_request_run_work (&work, cancellable, error);
  return report != NULL ? inspection_new (report) : NULL;
}

/**
 * imago_inspect_async:
 * @file: a file
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a #GCancellable
 * @callback: (scope async): called when the request is satisfied
 * @user_data: data for @callback
 *
 * Does what imago_inspect() does without waiting for it. @callback runs in the thread-default main
 * context of the caller, never before this function returns, and gets the answer from
 * imago_inspect_finish().
 *
 * Since: 1.0
 */
void
imago_inspect_async (GFile *file,
                     int io_priority,
                     GCancellable *cancellable,
                     GAsyncReadyCallback callback,
                     gpointer user_data)
{
  ImagoRequestWork work;
  GTask *task;

  g_return_if_fail (G_IS_FILE (file));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (NULL, cancellable, callback, user_data);
  g_task_set_source_tag (task, imago_inspect_async);
  g_task_set_priority (task, io_priority);
  if (imago_request_is_cancelled (task))
    return;
  work = make_work (subject_new (file, NULL));
  imago_request_start (task, &work);
}

/**
 * imago_inspect_finish:
 * @result: the #GAsyncResult that the callback got
 * @error: return location for a #GError
 *
 * Gets the answer to imago_inspect_async().
 *
 * Returns: (transfer full): what was found, or %NULL with @error set
 *
 * Since: 1.0
 */
ImagoInspection *
imago_inspect_finish (GAsyncResult *result, GError **error)
{
  g_autoptr (Report) report = NULL;

  g_return_val_if_fail (g_task_is_valid (result, NULL), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, imago_inspect_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  report = g_task_propagate_pointer (G_TASK (result), error);
  return report != NULL ? inspection_new (report) : NULL;
}

/* ---- properties ---- */

/**
 * imago_inspection_get_formats:
 * @self: an #ImagoInspection
 *
 * Gets the formats that the file matches; just `raw` if it matches none. With more than one the
 * file may have been made to be taken for different things by different programs: the rest of the
 * inspection is about the first, but do not use the file.
 *
 * Returns: (transfer none): a list of #ImagoFormat, which belongs to @self
 *
 * Since: 1.0
 */
GListModel *
imago_inspection_get_formats (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), NULL);

  return self->formats;
}

/**
 * imago_inspection_get_file_size:
 * @self: an #ImagoInspection
 *
 * Gets the size of the file.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
guint64
imago_inspection_get_file_size (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), 0);

  return self->file_size;
}

/**
 * imago_inspection_get_virtual_size:
 * @self: an #ImagoInspection
 *
 * Gets the size of the disk, as the file claims.
 *
 * Returns: the size in bytes
 *
 * Since: 1.0
 */
guint64
imago_inspection_get_virtual_size (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), 0);

  return self->virtual_size;
}

/**
 * imago_inspection_get_references:
 * @self: an #ImagoInspection
 *
 * Gets the other files that the image names. They have not been looked at, and answering the
 * references does nothing.
 *
 * Returns: (transfer none): a list of #ImagoReference, which belongs to @self
 *
 * Since: 1.0
 */
GListModel *
imago_inspection_get_references (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), NULL);

  return self->references;
}

/**
 * imago_inspection_get_encryption:
 * @self: an #ImagoInspection
 *
 * Gets the method by which the disk is encrypted.
 *
 * Returns: (transfer none) (nullable): the method, such as `luks`, or %NULL if the disk is not
 *   encrypted
 *
 * Since: 1.0
 */
const char *
imago_inspection_get_encryption (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), NULL);

  return self->encryption;
}

/**
 * imago_inspection_get_n_snapshots:
 * @self: an #ImagoInspection
 *
 * Gets how many internal snapshots the image has, as its header says.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint
imago_inspection_get_n_snapshots (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), 0);

  return self->n_snapshots;
}

/**
 * imago_inspection_get_unknown_features:
 * @self: an #ImagoInspection
 *
 * Gets the names of features that the image needs and the library does not have. Opening it would
 * fail.
 *
 * Returns: (transfer none) (array zero-terminated=1): the names, perhaps none
 *
 * Since: 1.0
 */
const char *const *
imago_inspection_get_unknown_features (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), NULL);

  return (const char *const *) self->unknown_features;
}

/**
 * imago_inspection_get_problems:
 * @self: an #ImagoInspection
 *
 * Gets what is wrong with the image, such as limits exceeded or damage seen, in sentences for
 * people.
 *
 * Returns: (transfer none) (array zero-terminated=1): the sentences, perhaps none
 *
 * Since: 1.0
 */
const char *const *
imago_inspection_get_problems (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), NULL);

  return (const char *const *) self->problems;
}

/**
 * imago_inspection_get_self_contained:
 * @self: an #ImagoInspection
 *
 * Gets whether the file is known to need no other one: it names none, has no unknown feature that
 * could, and matches no second format in which it might.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
imago_inspection_get_self_contained (ImagoInspection *self)
{
  g_return_val_if_fail (IMAGO_IS_INSPECTION (self), FALSE);

  return self->self_contained;
}
