/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-node.h"

#include "tool-list.h"
#include "tool-size.h"

#include <gio/gio.h>
#include <glib/gi18n-lib.h>
#include <json-glib/json-glib.h>
#include <string.h>

#define JSON_PREFIX "json:"
#define FILE_PREFIX "file:"
#define BACKING "backing"
#define MAX_DEPTH 8

void
tool_node_free (ToolNode *node)
{
  g_free (node->filename);
  g_free (node->format);
  g_free (node);
}

static gboolean fail (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
fail (GError **error, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, text);
  return FALSE;
}

/* ---- to a table of dotted names ---- */

/* A list that is no option is the name of a node of another program. */
static gboolean
read_list (GHashTable *options, const char *list, GError **error)
{
  const char *whole = list;
  char *part;

  while ((part = tool_list_next (&list)) != NULL)
    {
      char *equals = strchr (part, '=');

      if (equals == NULL)
        {
          g_free (part);
          return fail (error, _("Cannot find device='%s' nor node-name='%s'"), whole, whole);
        }
      g_hash_table_replace (options, g_strndup (part, (gsize) (equals - part)), g_strdup (equals + 1));
      g_free (part);
    }
  return TRUE;
}

static gboolean read_object (GHashTable *options, const char *prefix, JsonObject *object, guint depth,
                             GError **error);

static gboolean
read_value (GHashTable *options, char *name, JsonNode *node, guint depth, GError **error)
{
  g_autofree char *owned = name;
  char *value;

  if (JSON_NODE_HOLDS_OBJECT (node))
    {
      g_autofree char *prefix = g_strconcat (name, ".", NULL);

      return read_object (options, prefix, json_node_get_object (node), depth + 1, error);
    }
  /* Nothing else can be without a value; as text it is the empty one. */
  if (JSON_NODE_HOLDS_NULL (node) && g_str_equal (name, BACKING))
    {
      g_hash_table_replace (options, g_steal_pointer (&owned), g_strdup (""));
      return TRUE;
    }
  if (!JSON_NODE_HOLDS_VALUE (node))
    return fail (error, _("The option '%s' is neither a text, a number nor on or off"), name);

  if (json_node_get_value_type (node) == G_TYPE_STRING)
    value = g_strdup (json_node_get_string (node));
  else if (json_node_get_value_type (node) == G_TYPE_BOOLEAN)
    value = g_strdup (json_node_get_boolean (node) ? "on" : "off");
  else
    value = g_strdup_printf ("%" G_GINT64_FORMAT, json_node_get_int (node));
  g_hash_table_replace (options, g_steal_pointer (&owned), value);
  return TRUE;
}

static gboolean
read_object (GHashTable *options, const char *prefix, JsonObject *object, guint depth, GError **error)
{
  g_autoptr (GList) names = json_object_get_members (object);

  if (depth > MAX_DEPTH)
    return fail (error, _("The options are nested too deeply"));
  for (GList *l = names; l != NULL; l = l->next)
    if (!read_value (options, g_strconcat (prefix, l->data, NULL),
                     json_object_get_member (object, l->data), depth, error))
      return FALSE;
  return TRUE;
}

static gboolean
read_json (GHashTable *options, const char *text, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonNode *root;

  if (!json_parser_load_from_data (parser, text, -1, error))
    {
      g_prefix_error (error, _("Could not parse the JSON options: "));
      return FALSE;
    }
  root = json_parser_get_root (parser);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root))
    return fail (error, _("Invalid JSON object given"));
  return read_object (options, "", json_node_get_object (root), 0, error);
}

/* ---- what they mean ---- */

/* Of a node of either kind: how it is cached and asked, which makes no difference to its content. */
static const char *const harmless[] = {
  "node-name",     "auto-read-only", "discard", "detect-zeroes", "cache.direct",
  "cache.no-flush", NULL,
};

static const char *const harmless_file[] = {
  "aio", "aio-max-batch", "drop-cache", "locking", "x-check-cache-dropped", NULL,
};

static const char *const harmless_qcow2[] = {
  "lazy-refcounts",
  "pass-discard-request",
  "pass-discard-snapshot",
  "pass-discard-other",
  "discard-no-unref",
  "overlap-check",
  "cache-size",
  "l2-cache-size",
  "l2-cache-entry-size",
  "refcount-cache-size",
  "cache-clean-interval",
  NULL,
};

gboolean
tool_node_is_harmless (const char *name, const char *format)
{
  return g_strv_contains (harmless, name) ||
         (g_strcmp0 (format, "qcow2") == 0 && g_strv_contains (harmless_qcow2, name));
}

/* QEMU has these. Whoever types one shall not look for a slip of the finger. */
static const char *const unsupported[] = { BACKING, "data-file", "encrypt", "file.file", NULL };

static gboolean
is_unsupported (const char *name)
{
  for (gsize i = 0; unsupported[i] != NULL; i++)
    {
      gsize length = strlen (unsupported[i]);

      if (strncmp (name, unsupported[i], length) == 0 && (name[length] == '\0' || name[length] == '.'))
        return TRUE;
    }
  return FALSE;
}

/* Removes what was read, so that what is left is unknown. NULL: not given. */
static char *
steal (GHashTable *options, const char *name)
{
  char *key = NULL;
  char *value = NULL;

  if (g_hash_table_steal_extended (options, name, (gpointer *) &key, (gpointer *) &value))
    g_free (key);
  return value;
}

static void
drop_harmless (GHashTable *options, const char *prefix, const char *const *names)
{
  for (gsize i = 0; names[i] != NULL; i++)
    {
      g_autofree char *name = g_strconcat (prefix, names[i], NULL);

      g_hash_table_remove (options, name);
    }
}

static gboolean
take_switch (GHashTable *options, const char *name, gboolean *value, GError **error)
{
  g_autofree char *text = steal (options, name);

  if (text == NULL)
    return TRUE;
  if (!g_str_equal (text, "on") && !g_str_equal (text, "off"))
    return fail (error, _("Parameter '%s' expects 'on' or 'off'"), name);
  *value = *value || g_str_equal (text, "on");
  return TRUE;
}

static gboolean
take_size (GHashTable *options, const char *name, gboolean *given, guint64 *size, GError **error)
{
  g_autofree char *text = steal (options, name);

  *given = text != NULL;
  return text == NULL || tool_parse_size (text, size) ||
         fail (error, _("Parameter '%s' expects a size"), name);
}

/* That they make no difference to the content does not make a slip of the finger right. @unmaps: what discard is if
 * it is not given. */
static gboolean
check_modes (GHashTable *options, const char *prefix, gboolean unmaps, GError **error)
{
  g_autofree char *discard_key = g_strconcat (prefix, "discard", NULL);
  g_autofree char *detect_key = g_strconcat (prefix, "detect-zeroes", NULL);
  const char *discard = g_hash_table_lookup (options, discard_key);
  const char *detect = g_hash_table_lookup (options, detect_key);
  const char *const discards[] = { "ignore", "off", "unmap", "on", NULL };
  const char *const detects[] = { "off", "on", "unmap", NULL };

  if (discard != NULL && !g_strv_contains (discards, discard))
    return fail (error, _("Invalid %s option: %s"), "discard", discard);
  if (detect != NULL && !g_strv_contains (detects, detect))
    return fail (error, _("Invalid %s option: %s"), "detect-zeroes", detect);
  if (discard != NULL)
    unmaps = g_str_equal (discard, "unmap") || g_str_equal (discard, "on");
  if (!unmaps && g_strcmp0 (detect, "unmap") == 0)
    return fail (error, _("Setting detect-zeroes to unmap is not allowed without setting discard to unmap"));
  return TRUE;
}

static gboolean
is_file_driver (const char *driver)
{
  return g_str_equal (driver, "file") || g_str_equal (driver, "host_device");
}

/* @prefix: "file.", or "" where the node itself is the file. */
static gboolean
take_file (ToolNode *node, GHashTable *options, const char *prefix, gboolean unmaps, GError **error)
{
  g_autofree char *driver_key = g_strconcat (prefix, "driver", NULL);
  g_autofree char *filename_key = g_strconcat (prefix, "filename", NULL);
  g_autofree char *read_only_key = g_strconcat (prefix, "read-only", NULL);
  g_autofree char *force_share_key = g_strconcat (prefix, "force-share", NULL);
  g_autofree char *driver = steal (options, driver_key);
  g_autofree char *other = steal (options, "file");

  if (other != NULL)
    return fail (error, _("Cannot find device='%s' nor node-name='%s'"), other, other);
  if (driver != NULL && !is_file_driver (driver))
    return fail (error, _("The driver '%s' is not supported; only local files are"), driver);

  node->filename = steal (options, filename_key);
  if (node->filename == NULL)
    return fail (error, _("A block device must be specified for \"file\""));
  if (!check_modes (options, prefix, unmaps, error))
    return FALSE;
  drop_harmless (options, prefix, harmless);
  drop_harmless (options, prefix, harmless_file);
  return take_switch (options, read_only_key, &node->read_only, error) &&
         take_switch (options, force_share_key, &node->force_share, error);
}

/* Another one than the image names cannot be given. */
static void
take_no_backing (ToolNode *node, GHashTable *options)
{
  node->no_backing = g_strcmp0 (g_hash_table_lookup (options, BACKING), "") == 0;
  if (node->no_backing)
    g_hash_table_remove (options, BACKING);
}

static gboolean
take_format (ToolNode *node, GHashTable *options, gboolean unmaps, GError **error)
{
  if (!check_modes (options, "", unmaps, error))
    return FALSE;
  drop_harmless (options, "", harmless);
  if (g_strcmp0 (node->format, "qcow2") == 0)
    drop_harmless (options, "", harmless_qcow2);
  take_no_backing (node, options);
  if (g_strcmp0 (node->format, "raw") == 0 &&
      (!take_size (options, "offset", &node->has_offset, &node->offset, error) ||
       !take_size (options, "size", &node->has_size, &node->size, error)))
    return FALSE;
  return take_switch (options, "read-only", &node->read_only, error) &&
         take_switch (options, "force-share", &node->force_share, error);
}

static gboolean
refuse_rest (ToolNode *node, GHashTable *options, GError **error)
{
  GHashTableIter iter;
  gpointer name;

  g_hash_table_iter_init (&iter, options);
  if (!g_hash_table_iter_next (&iter, &name, NULL))
    return TRUE;
  if (is_unsupported (name))
    return fail (error, _("The option '%s' is not supported"), (const char *) name);
  return fail (error, _("Block format '%s' does not support the option '%s'"),
               node->format != NULL ? node->format : "file", (const char *) name);
}

static gboolean
interpret (ToolNode *node, GHashTable *options, gboolean unmaps, GError **error)
{
  const char *driver = g_hash_table_lookup (options, "driver");

  if (driver != NULL && is_file_driver (driver))
    {
      node->format = g_strdup ("raw");
      return take_file (node, options, "", unmaps, error) && refuse_rest (node, options, error);
    }

  node->format = steal (options, "driver");
  /* A format hands on to its file what it discards itself. */
  return take_format (node, options, unmaps, error) && take_file (node, options, "file.", TRUE, error) &&
         refuse_rest (node, options, error);
}

ToolNode *
tool_node_parse (const char *text, gboolean image_opts, gboolean unmaps, GError **error)
{
  g_autoptr (GHashTable) options = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (ToolNode) node = g_new0 (ToolNode, 1);
  gboolean is_json = !image_opts && g_str_has_prefix (text, JSON_PREFIX);

  if (!image_opts && !is_json)
    {
      node->filename = g_strdup (text + (g_str_has_prefix (text, FILE_PREFIX) ? strlen (FILE_PREFIX) : 0));
      return g_steal_pointer (&node);
    }

  if (!(is_json ? read_json (options, text + strlen (JSON_PREFIX), error)
                : read_list (options, text, error)) ||
      !interpret (node, options, unmaps, error))
    return NULL;
  return g_steal_pointer (&node);
}
