/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-format-info.h"

#include "tool-json.h"
#include "tool-message.h"

#include <stdio.h>

/* ---- the tree ---- */

static JsonArray *
describe_bitmaps (GListModel *list)
{
  JsonArray *array = json_array_new ();
  guint n = g_list_model_get_n_items (list);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoBitmap) bitmap = g_list_model_get_item (list, i);
      JsonObject *object = json_object_new ();
      const char *flags[3] = { NULL, NULL, NULL };
      guint n_flags = 0;

      if (imago_bitmap_get_in_use (bitmap))
        flags[n_flags++] = "in-use";
      if (imago_bitmap_get_recording (bitmap))
        flags[n_flags++] = "auto";

      tool_json_add_strings (object, "flags", flags);
      tool_json_add_string (object, "name", imago_bitmap_get_name (bitmap));
      tool_json_add_size (object, "granularity", imago_bitmap_get_granularity (bitmap));
      json_array_add_object_element (array, object);
    }

  return array;
}

static JsonArray *
describe_key_slots (GListModel *list)
{
  JsonArray *array = json_array_new ();
  guint n = g_list_model_get_n_items (list);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoKeySlot) slot = g_list_model_get_item (list, i);
      gboolean active = imago_key_slot_get_active (slot);
      JsonObject *object = json_object_new ();

      json_object_set_boolean_member (object, "active", active);
      if (active)
        json_object_set_int_member (object, "iters", imago_key_slot_get_iterations (slot));
      tool_json_add_size (object, "key-offset", imago_key_slot_get_key_offset (slot));
      if (active)
        json_object_set_int_member (object, "stripes", imago_key_slot_get_stripes (slot));
      json_array_add_object_element (array, object);
    }

  return array;
}

static JsonObject *
describe_encryption (ImagoEncryptionInfo *info)
{
  GListModel *slots = imago_encryption_info_get_key_slots (info);
  JsonObject *object = json_object_new ();

  tool_json_add_string (object, "ivgen-alg", imago_encryption_info_get_iv_generator (info));
  tool_json_add_string (object, "hash-alg", imago_encryption_info_get_hash (info));
  tool_json_add_string (object, "cipher-alg", imago_encryption_info_get_cipher (info));
  tool_json_add_string (object, "uuid", imago_encryption_info_get_uuid (info));
  tool_json_add_string (object, "ivgen-hash-alg", imago_encryption_info_get_iv_hash (info));
  tool_json_add_string (object, "format", imago_encryption_info_get_method (info));
  tool_json_add_string (object, "cipher-mode", imago_encryption_info_get_cipher_mode (info));
  if (g_list_model_get_n_items (slots) == 0)
    return object;

  json_object_set_array_member (object, "slots", describe_key_slots (slots));
  tool_json_add_size (object, "payload-offset", imago_encryption_info_get_payload_offset (info));
  json_object_set_int_member (object, "master-key-iters", imago_encryption_info_get_master_key_iterations (info));
  return object;
}

static JsonObject *
describe_qcow2 (ImagoImageInfo *info)
{
  const char *compat = imago_image_info_get_compat (info);
  const char *data_file = imago_image_info_get_data_file (info);
  ImagoEncryptionInfo *encryption = imago_image_info_get_encryption_info (info);
  GListModel *bitmaps = imago_image_info_get_bitmaps (info);
  gboolean is_old = g_strcmp0 (compat, "0.10") == 0;
  JsonObject *object = json_object_new ();

  tool_json_add_string (object, "compat", compat);
  tool_json_add_string (object, "compression-type", imago_image_info_get_compression_type (info));
  if (!is_old)
    json_object_set_boolean_member (object, "lazy-refcounts",
                                    imago_image_info_get_lazy_refcounts (info));
  if (bitmaps != NULL && g_list_model_get_n_items (bitmaps) > 0)
    json_object_set_array_member (object, "bitmaps", describe_bitmaps (bitmaps));
  json_object_set_int_member (object, "refcount-bits", imago_image_info_get_refcount_bits (info));
  tool_json_add_string (object, "data-file", data_file);
  if (data_file != NULL)
    json_object_set_boolean_member (object, "data-file-raw",
                                    imago_image_info_get_data_file_raw (info));
  if (encryption != NULL)
    json_object_set_object_member (object, "encrypt", describe_encryption (encryption));
  if (!is_old)
    {
      json_object_set_boolean_member (object, "corrupt", imago_image_info_get_corrupt (info));
      json_object_set_boolean_member (object, "extended-l2",
                                      imago_image_info_get_extended_l2 (info));
    }

  return object;
}

JsonObject *
tool_format_info_describe (ImagoImageInfo *info)
{
  return imago_image_info_get_compat (info) != NULL ? describe_qcow2 (info) : NULL;
}

/* ---- as text ---- */

static void print_members (JsonObject *object, guint depth);

static void
print_label (const char *name, guint depth)
{
  g_autofree char *label = g_strdelimit (g_strdup (name), "-", ' ');

  printf ("%*s%s:", (int) (4 * depth), "", label);
}

static void
print_elements (JsonArray *array, guint depth)
{
  guint n = json_array_get_length (array);

  for (guint i = 0; i < n; i++)
    {
      JsonNode *node = json_array_get_element (array, i);

      printf ("%*s[%u]:", (int) (4 * depth), "", i);
      if (JSON_NODE_HOLDS_OBJECT (node))
        {
          printf ("\n");
          print_members (json_node_get_object (node), depth + 1);
        }
      else
        {
          g_autofree char *printable = tool_printable (json_node_get_string (node));

          printf (" %s\n", printable);
        }
    }
}

static void
print_member (JsonNode *node, guint depth)
{
  if (JSON_NODE_HOLDS_ARRAY (node))
    {
      printf ("\n");
      print_elements (json_node_get_array (node), depth + 1);
    }
  else if (JSON_NODE_HOLDS_OBJECT (node))
    {
      printf ("\n");
      print_members (json_node_get_object (node), depth + 1);
    }
  else if (json_node_get_value_type (node) == G_TYPE_STRING)
    {
      g_autofree char *printable = tool_printable (json_node_get_string (node));

      printf (" %s\n", printable);
    }
  else if (json_node_get_value_type (node) == G_TYPE_BOOLEAN)
    printf (" %s\n", json_node_get_boolean (node) ? "true" : "false");
  else
    printf (" %" G_GINT64_FORMAT "\n", json_node_get_int (node));
}

/* As qemu-img does, from the same tree as the JSON. */
static void
print_members (JsonObject *object, guint depth)
{
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  json_object_iter_init_ordered (&iter, object);
  while (json_object_iter_next_ordered (&iter, &name, &node))
    {
      print_label (name, depth);
      print_member (node, depth);
    }
}

void
tool_format_info_print (ImagoImageInfo *info)
{
  JsonObject *specific = tool_format_info_describe (info);

  if (specific == NULL)
    return;
  printf ("Format specific information:\n");
  print_members (specific, 1);
  json_object_unref (specific);
}
