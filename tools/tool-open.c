/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-open.h"

#include "tool-message.h"
#include "tool-node.h"

#include <errno.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

ImagoReferencePolicy *
tool_make_policy (ToolReferences references)
{
  gboolean is_qemu = tool_is_qemu_img () || tool_is_qemu_io ();

  if (references == TOOL_REFERENCES_DEFAULT)
    references = is_qemu ? TOOL_REFERENCES_ANY : TOOL_REFERENCES_SAME_DIRECTORY;

  switch (references)
    {
    case TOOL_REFERENCES_ANY:
      return imago_permissive_policy_new ();
    case TOOL_REFERENCES_DENY:
      return imago_deny_policy_new ();
    case TOOL_REFERENCES_SAME_DIRECTORY:
    case TOOL_REFERENCES_DEFAULT:
    default:
      return imago_same_directory_policy_new ();
    }
}

static gboolean
has_suffix_of (const char *filename, ImagoFormat *format)
{
  const char *const *suffixes = imago_format_get_suffixes (format);
  const char *dot = strrchr (filename, '.');

  if (dot == NULL || strchr (dot, G_DIR_SEPARATOR) != NULL)
    return FALSE;

  for (gsize i = 0; suffixes != NULL && suffixes[i] != NULL; i++)
    {
      const char *suffix = *suffixes[i] == '.' ? suffixes[i] + 1 : suffixes[i];

      if (g_ascii_strcasecmp (dot + 1, suffix) == 0)
        return TRUE;
    }

  return FALSE;
}

/* The format the file looks like. @guessed: nothing but its content, or the lack of any, says so. */
static char *
find_format (const char *filename, ImagoStorage *storage, gboolean *guessed, GError **error)
{
  g_autoptr (GListModel) matches = imago_format_probe (storage, NULL, error);
  g_autoptr (ImagoFormat) match = NULL;
  guint n;

  if (matches == NULL)
    return NULL;

  *guessed = FALSE;
  n = g_list_model_get_n_items (matches);
  if (n > 1)
    {
      g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_AMBIGUOUS_FORMAT,
                   _("The file matches more than one format; say which one it is with -f"));
      return NULL;
    }
  if (n == 0)
    match = g_object_ref (imago_format_lookup ("raw"));
  else
    match = g_list_model_get_item (matches, 0);
  *guessed = !tool_is_qemu_img () && !tool_is_qemu_io () && !has_suffix_of (filename, match);
  return g_strdup (imago_format_get_name (match));
}

/* Writing to a file as what it is not would destroy it. */
static gboolean
refuse_written_guess (const char *format, GError **error)
{
  g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT,
               _("The file only looks like %s, and neither its suffix nor you say so; to have it "
                  "written, say so with -f %s"),
               format, format);
  return FALSE;
}

ImagoFormat *
tool_find_format (const char *name)
{
  gboolean is_plain = g_str_equal (name, "file") || g_str_equal (name, "host_device");

  return imago_format_lookup (is_plain ? "raw" : name);
}

static char *
declared_format (const char *format, GError **error)
{
  ImagoFormat *known = tool_find_format (format);

  if (known != NULL)
    return g_strdup (imago_format_get_name (known));

  g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT, _("Unknown format '%s'"), format);
  return NULL;
}

/* The id in @list that "snapshot.id=…,snapshot.name=…" means. */
static char *
match_snapshot (GListModel *list, const char *id, const char *name)
{
  guint n = g_list_model_get_n_items (list);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoSnapshot) snapshot = g_list_model_get_item (list, i);

      if ((id == NULL || g_strcmp0 (id, imago_snapshot_get_id (snapshot)) == 0) &&
          (name == NULL || g_strcmp0 (name, imago_snapshot_get_name (snapshot)) == 0))
        return g_strdup (imago_snapshot_get_id (snapshot));
    }

  return NULL;
}

/* From what a person wrote to an id or name. */
static char *
find_snapshot (ImagoStorage *storage, ImagoOpenOptions *options, const char *text, GError **error)
{
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GListModel) list = NULL;
  g_auto (GStrv) parts = NULL;
  const char *id = NULL;
  const char *name = NULL;
  char *found;

  if (!g_str_has_prefix (text, "snapshot."))
    return g_strdup (text);

  parts = g_strsplit (text, ",", -1);
  for (gsize i = 0; parts[i] != NULL; i++)
    if (g_str_has_prefix (parts[i], "snapshot.id="))
      id = strchr (parts[i], '=') + 1;
    else if (g_str_has_prefix (parts[i], "snapshot.name="))
      name = strchr (parts[i], '=') + 1;
    else
      {
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                     _("Invalid snapshot parameter '%s'"), text);
        return NULL;
      }

  image = imago_image_open_storage (storage, options, NULL, error);
  if (image == NULL)
    return NULL;
  list = imago_image_list_snapshots (image, NULL, error);
  if (list == NULL)
    return NULL;

  found = match_snapshot (list, id, name);
  if (found == NULL)
    g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_SNAPSHOT_NOT_FOUND,
                 _("There is no snapshot '%s'"), text);
  return found;
}

static gboolean
check_guess (ImagoImage *image, const char *format, GError **error)
{
  g_autoptr (GListModel) references = imago_image_list_references (image);

  if (g_list_model_get_n_items (references) == 0)
    return TRUE;

  g_set_error (error, IMAGO_ERROR, IMAGO_ERROR_UNKNOWN_FORMAT,
               _("The file refers to other files and only looks like %s; if that is what it is, "
                  "say so with -f %s"),
               format, format);
  return FALSE;
}

static ImagoStorage *
open_file (const char *filename, const ToolOpen *how, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (filename);
  ImagoStorageFlags flags = IMAGO_STORAGE_ALLOW_DEVICE;

  if (how->writable)
    flags |= IMAGO_STORAGE_WRITABLE;
  return imago_file_storage_open (file, flags, NULL, error);
}

/* ---- what is opened ---- */

/* What @filename describes, and @how with what it says beyond the name. */
static ToolNode *
resolve (const char *filename, const ToolOpen *how, ToolOpen *resolved, GError **error)
{
  g_autoptr (ToolNode) node = NULL;

  *resolved = *how;
  if (how->image_opts && how->format != NULL)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                   _("--image-opts and --format are mutually exclusive"));
      return NULL;
    }
  node = tool_node_parse (filename, how->image_opts, how->unmaps, error);
  if (node == NULL)
    return NULL;
  if (node->read_only && how->writable)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_READ_ONLY, _("Block node is read-only"));
      return NULL;
    }

  if (resolved->format == NULL)
    resolved->format = node->format;
  resolved->force_share |= node->force_share;
  return g_steal_pointer (&node);
}

char *
tool_open_dup_name (const char *filename, const ToolOpen *how)
{
  g_autoptr (ToolNode) node = tool_node_parse (filename, how->image_opts, TRUE, NULL);

  return g_strdup (node != NULL ? node->filename : filename);
}

/* A part of the file, where one is asked for. */
static ImagoStorage *
apply_window (ImagoStorage *storage, const ToolNode *node, GError **error)
{
  guint64 size;

  if (!node->has_offset && !node->has_size)
    return g_object_ref (storage);
  if (!imago_storage_query_size (storage, &size, NULL, error))
    return NULL;
  if (node->offset > size || (node->has_size && node->size > size - node->offset))
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                   _("The sum of offset and size must not be greater than the size of the file"));
      return NULL;
    }
  return imago_window_storage_new (storage, node->offset,
                                   node->has_size ? node->size : size - node->offset);
}

static ImagoStorage *
open_storage (const ToolNode *node, const ToolOpen *how, char **format, gboolean *guessed, GError **error)
{
  g_autoptr (ImagoStorage) storage = NULL;
  g_autofree char *found = NULL;
  gboolean only_looks_like = FALSE;

  if (how->format != NULL)
    {
      found = declared_format (how->format, error);
      if (found == NULL)
        return NULL;
    }

  storage = open_file (node->filename, how, error);
  if (storage == NULL)
    return NULL;

  if (found == NULL)
    found = find_format (node->filename, storage, &only_looks_like, error);
  if (found == NULL ||
      (only_looks_like && how->writable && !refuse_written_guess (found, error)))
    return NULL;

  *format = g_steal_pointer (&found);
  if (guessed != NULL)
    *guessed = only_looks_like;
  return apply_window (storage, node, error);
}

ImagoStorage *
tool_open_storage (const char *filename,
                   const ToolOpen *how,
                   char **format,
                   gboolean *guessed,
                   GError **error)
{
  ToolOpen resolved;
  g_autoptr (ToolNode) node = resolve (filename, how, &resolved, error);

  return node != NULL ? open_storage (node, &resolved, format, guessed, error) : NULL;
}

/* ---- images ---- */

static ImagoImage *
open_node (const ToolNode *node, const ToolOpen *how, GError **error)
{
  g_autoptr (ImagoReferencePolicy) policy = tool_make_policy (how->references);
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autofree char *format = NULL;
  gboolean guessed = FALSE;

  storage = open_storage (node, how, &format, &guessed, error);
  if (storage == NULL)
    return NULL;

  imago_open_options_set_format_name (options, format);
  imago_open_options_set_writable (options, how->writable);
  imago_open_options_set_reference_policy (options, policy);
  imago_open_options_set_defer_references (options, TRUE);
  g_object_set (options, "force-share", how->force_share, "writable-backing", how->writable_backing, "metadata-only",
                how->metadata_only, NULL);
  if (how->snapshot != NULL)
    {
      g_autofree char *snapshot = find_snapshot (storage, options, how->snapshot, error);

      if (snapshot == NULL)
        return NULL;
      imago_open_options_set_snapshot (options, snapshot);
    }

  image = imago_image_open_storage (storage, options, NULL, error);
  if (image == NULL || how->header_only)
    return g_steal_pointer (&image);
  if (guessed && !check_guess (image, format, error))
    return NULL;
  if ((node->no_backing && !imago_image_set_backing (image, NULL, error)) ||
      !imago_image_open_references (image, NULL, error))
    return NULL;

  return g_steal_pointer (&image);
}

ImagoImage *
tool_open (const char *filename, const ToolOpen *how, GError **error)
{
  ToolOpen resolved;
  g_autoptr (ToolNode) node = resolve (filename, how, &resolved, error);

  return node != NULL ? open_node (node, &resolved, error) : NULL;
}

GFile *
tool_new_file (const char *filename, GError **error)
{
  g_autofree char *name = NULL;

  if (g_str_has_prefix (filename, "json:"))
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, _("Unknown protocol '%s'"), "json");
      return NULL;
    }
  name = tool_open_dup_name (filename, &(ToolOpen) { 0 });
  if (!g_str_has_suffix (name, G_DIR_SEPARATOR_S))
    return g_file_new_for_path (name);

  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_IS_DIRECTORY, g_strerror (EISDIR));
  return NULL;
}

void
tool_open_print_hint (const GError *error)
{
  if (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_REFERENCE_DENIED))
    fprintf (stderr, _("With --references=any all files that images name are opened\n"));
}

void
tool_open_print_error (const char *filename, const GError *error)
{
  g_autofree char *printable = tool_printable (filename);

  if (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_SNAPSHOT_NOT_FOUND))
    tool_error (_("Failed to load snapshot: %s"), error->message);
  else
    tool_error (_("Could not open '%s': %s"), printable, error->message);
  tool_open_print_hint (error);
}

char *
tool_combine_names (const char *filename, const char *reference)
{
  const char *slash = strrchr (filename, '/');
  const char *colon;

  if (reference == NULL)
    return NULL;

  colon = strchr (reference, ':');
  if (*reference == '/' || slash == NULL ||
      (colon != NULL && memchr (reference, '/', (gsize) (colon - reference)) == NULL))
    return g_strdup (reference);

  return g_strdup_printf ("%.*s%s", (int) (slash - filename + 1), filename, reference);
}
