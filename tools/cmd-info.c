/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-format-info.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-size.h"
#include "tool-snapshots.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open;
  gboolean json;
  gboolean chain;
} Settings;

/* ---- JSON ---- */

static JsonObject *
describe_specific (ImagoImageInfo *info)
{
  JsonObject *specific = tool_format_info_describe (info);
  JsonObject *object;

  if (specific == NULL)
    return NULL;
  object = json_object_new ();
  tool_json_add_string (object, "type", imago_image_info_get_format_name (info));
  json_object_set_object_member (object, "data", specific);
  return object;
}

/* In the order in which qemu-img prints them, here and wherever it says the same: people compare texts. */
static JsonNode *
describe_image (const char *filename, ImagoImageInfo *info)
{
  const char *backing = imago_image_info_get_backing_filename (info);
  g_autofree char *full = tool_combine_names (filename, backing);
  guint64 cluster_size = imago_image_info_get_cluster_size (info);
  GListModel *snapshots = imago_image_info_get_snapshots (info);
  JsonObject *specific = describe_specific (info);
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (node, object);
  if (backing != NULL)
    tool_json_add_string (object, "backing-filename-format", imago_image_info_get_backing_format_name (info));
  if (snapshots != NULL && g_list_model_get_n_items (snapshots) > 0)
    json_object_set_array_member (object, "snapshots", tool_snapshots_describe (snapshots));
  tool_json_add_size (object, "virtual-size", imago_image_info_get_virtual_size (info));
  tool_json_add_string (object, "filename", filename);
  if (cluster_size > 0)
    tool_json_add_size (object, "cluster-size", cluster_size);
  tool_json_add_string (object, "format", imago_image_info_get_format_name (info));
  tool_json_add_size (object, "actual-size", imago_image_info_get_actual_size (info));
  if (specific != NULL)
    json_object_set_object_member (object, "format-specific", specific);
  tool_json_add_string (object, "full-backing-filename", full);
  if (imago_image_info_get_encryption_info (info) != NULL)
    json_object_set_boolean_member (object, "encrypted", TRUE);
  tool_json_add_string (object, "backing-filename", backing);
  json_object_set_boolean_member (object, "dirty-flag", imago_image_info_get_dirty (info));
  return node;
}

/* ---- text ---- */

static void
print_backing (const char *filename, ImagoImageInfo *info)
{
  const char *backing = imago_image_info_get_backing_filename (info);
  const char *format = imago_image_info_get_backing_format_name (info);
  g_autofree char *name = NULL;
  g_autofree char *full = NULL;

  if (backing == NULL)
    return;

  name = tool_printable (backing);
  full = tool_combine_names (filename, backing);
  printf ("backing file: %s", name);
  if (!g_str_equal (full, backing))
    {
      g_autofree char *printable = tool_printable (full);

      printf (" (actual path: %s)", printable);
    }
  printf ("\n");

  if (format != NULL)
    {
      g_autofree char *printable = tool_printable (format);

      printf ("backing file format: %s\n", printable);
    }
}

static void
print_image (const char *filename, ImagoImageInfo *info)
{
  guint64 cluster_size = imago_image_info_get_cluster_size (info);
  GListModel *snapshots = imago_image_info_get_snapshots (info);
  g_autofree char *name = tool_printable (filename);
  g_autofree char *virtual_size = tool_format_size (imago_image_info_get_virtual_size (info));
  g_autofree char *actual_size = tool_format_size (imago_image_info_get_actual_size (info));

  /* Not translated: scripts read it, and it is to be what qemu-img prints. */
  printf ("image: %s\n", name);
  printf ("file format: %s\n", imago_image_info_get_format_name (info));
  printf ("virtual size: %s (%" G_GUINT64_FORMAT " bytes)\n", virtual_size,
          imago_image_info_get_virtual_size (info));
  printf ("disk size: %s\n", actual_size);
  if (imago_image_info_get_encryption_info (info) != NULL)
    printf ("encrypted: yes\n");
  if (cluster_size > 0)
    printf ("cluster_size: %" G_GUINT64_FORMAT "\n", cluster_size);
  if (imago_image_info_get_dirty (info))
    printf ("cleanly shut down: no\n");
  print_backing (filename, info);

  if (snapshots != NULL && g_list_model_get_n_items (snapshots) > 0)
    tool_snapshots_print (snapshots);

  tool_format_info_print (info);
}

/* ---- the command ---- */

static gboolean
show_one (const char *filename,
          ImagoImage *image,
          const Settings *settings,
          JsonArray *chain,
          gboolean first)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImageInfo) info = imago_image_query_info (image, NULL, &error);

  if (info == NULL)
    {
      tool_open_print_error (filename, error);
      return FALSE;
    }

  if (!settings->json)
    {
      if (!first)
        printf ("\n");
      print_image (filename, info);
    }
  else if (chain != NULL)
    json_array_add_element (chain, describe_image (filename, info));
  else
    tool_json_print (describe_image (filename, info));

  return TRUE;
}

static gboolean
show_chain (const char *filename, ImagoImage *top, const Settings *settings)
{
  g_autofree char *name = g_strdup (filename);
  g_autoptr (ImagoImage) image = g_object_ref (top);
  JsonArray *chain = settings->json ? json_array_new () : NULL;
  gboolean first = TRUE;

  while (image != NULL)
    {
      g_autoptr (ImagoImage) layer = g_steal_pointer (&image);
      g_autoptr (ImagoImageInfo) info = NULL;
      char *next;

      if (!show_one (name, layer, settings, chain, first))
        {
          g_clear_pointer (&chain, json_array_unref);
          return FALSE;
        }
      first = FALSE;

      image = imago_image_dup_backing (layer);
      if (image == NULL)
        break;
      info = imago_image_query_info (layer, NULL, NULL);
      if (info == NULL)
        break;
      next = tool_combine_names (name, imago_image_info_get_backing_filename (info));
      g_free (name);
      name = next;
    }

  if (chain != NULL)
    {
      JsonNode *node = json_node_init_array (json_node_alloc (), chain);

      json_array_unref (chain);
      tool_json_print (node);
    }
  return TRUE;
}

/* One file's description needs no other file; that of a chain needs the chain, if there is one. */
static ImagoImage *
open_image (const char *filename, Settings *settings, GError **error)
{
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImageInfo) info = NULL;

  settings->open.metadata_only = TRUE;
  settings->open.header_only = TRUE;
  image = tool_open (filename, &settings->open, error);
  if (image == NULL || !settings->chain)
    return g_steal_pointer (&image);

  info = imago_image_query_info (image, NULL, error);
  if (info == NULL || imago_image_info_get_backing_filename (info) == NULL)
    return info != NULL ? g_steal_pointer (&image) : NULL;

  settings->open.header_only = FALSE;
  return tool_open (filename, &settings->open, error);
}

static int
show (const char *filename, Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = open_image (filename, settings, &error);
  g_autofree char *name = NULL;

  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }

  name = tool_open_dup_name (filename, &settings->open);
  if (settings->chain ? show_chain (name, image, settings)
                      : show_one (name, image, settings, NULL, TRUE))
    return EXIT_SUCCESS;
  return EXIT_FAILURE;
}

static int
run (gpointer settings, int n_operands, char **operands)
{
  const char *filename = tool_command_get_file (n_operands, operands);

  return filename != NULL ? show (filename, settings) : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_FLAG (0, "backing-chain", Settings, chain, N_("describe the images below it too")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_info = {
  .name = "info",
  .operands = N_("FILE"),
  .summary = N_("describe an image"),
  .description = N_("Describes an image. Opens no other file unless --backing-chain is given."),
  .options = options,
  .settings_size = sizeof (Settings),
  .run = run,
};
