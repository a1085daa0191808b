/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>

/* Enough that a call costs nothing, few enough that memory does not grow with the image. */
#define EXTENTS_AT_ONCE 1024

/* One line of the output: a run of extents that say the same. */
typedef struct
{
  guint64 offset;
  guint64 length;
  guint64 host_offset;
  guint depth;
  gboolean present;
  gboolean zero;
  gboolean data;
  gboolean has_host_offset;
  char *file; /* owned; NULL without a host offset */
} Entry;

typedef struct
{
  ToolOpen open;
  gboolean json;
  guint64 start;
  guint64 length;
  const char *filename;
  GPtrArray *layers; /* of LayerNames, by depth; NULL for JSON */
} Settings;

/* What the files of one layer are called: by the library, and by the person, who need not have
 * given an absolute path. */
typedef struct
{
  char *storage_name;
  char *image_name;
  char *data_name;
} LayerNames;

static void
layer_names_free (gpointer data)
{
  LayerNames *names = data;

  g_free (names->storage_name);
  g_free (names->image_name);
  g_free (names->data_name);
  g_free (names);
}

static GPtrArray *
name_layers (const char *filename, ImagoImage *top, GError **error)
{
  g_autoptr (GPtrArray) layers = g_ptr_array_new_with_free_func (layer_names_free);
  g_autoptr (ImagoImage) image = g_object_ref (top);
  g_autofree char *name = g_strdup (filename);

  while (image != NULL)
    {
      g_autoptr (ImagoImage) layer = g_steal_pointer (&image);
      g_autoptr (ImagoImageInfo) info = imago_image_query_info (layer, NULL, error);
      LayerNames *names;

      if (info == NULL)
        return NULL;

      names = g_new0 (LayerNames, 1);
      g_ptr_array_add (layers, names);
      names->storage_name = g_strdup (imago_storage_get_name (imago_image_get_storage (layer)));
      names->image_name = g_steal_pointer (&name);
      names->data_name =
        tool_combine_names (names->image_name, imago_image_info_get_data_file (info));

      name = tool_combine_names (names->image_name, imago_image_info_get_backing_filename (info));
      image = imago_image_dup_backing (layer);
    }

  return g_steal_pointer (&layers);
}

static char *
name_file (const Settings *settings, const Entry *entry)
{
  const LayerNames *names;
  const char *name = entry->file;

  if (entry->depth < settings->layers->len)
    {
      names = g_ptr_array_index (settings->layers, entry->depth);
      if (g_strcmp0 (entry->file, names->storage_name) == 0)
        name = names->image_name;
      else if (names->data_name != NULL)
        name = names->data_name;
    }

  return tool_printable (name);
}

static void
entry_from_extent (Entry *entry, const ImagoExtent *extent)
{
  ImagoExtentKind kind = imago_extent_get_kind (extent);

  entry->offset = imago_extent_get_offset (extent);
  entry->length = imago_extent_get_length (extent);
  entry->depth = imago_extent_get_depth (extent);
  entry->present = kind != IMAGO_EXTENT_UNALLOCATED;
  entry->zero = imago_extent_get_reads_as_zero (extent);
  /* Preallocated clusters are data that reads as zero. */
  entry->data = kind == IMAGO_EXTENT_DATA || kind == IMAGO_EXTENT_COMPRESSED;
  entry->host_offset = 0;
  entry->has_host_offset =
    kind != IMAGO_EXTENT_COMPRESSED && imago_extent_get_host_offset (extent, &entry->host_offset);
  entry->file = entry->has_host_offset ? g_strdup (imago_extent_get_storage_name (extent)) : NULL;
}

static gboolean
entry_continues (const Entry *entry, const Entry *next)
{
  return entry->depth == next->depth && entry->present == next->present &&
         entry->zero == next->zero && entry->data == next->data &&
         entry->has_host_offset == next->has_host_offset &&
         g_strcmp0 (entry->file, next->file) == 0 &&
         (!entry->has_host_offset || entry->host_offset + entry->length == next->host_offset);
}

static void
print_json (const Entry *entry, gboolean last)
{
  printf ("{ \"start\": %" G_GUINT64_FORMAT ", \"length\": %" G_GUINT64_FORMAT ", \"depth\": %u, "
          "\"present\": %s, \"zero\": %s, \"data\": %s",
          entry->offset, entry->length, entry->depth, entry->present ? "true" : "false",
          entry->zero ? "true" : "false", entry->data ? "true" : "false");
  if (entry->has_host_offset)
    printf (", \"offset\": %" G_GUINT64_FORMAT, entry->host_offset);
  printf ("%s", last ? "}" : "},\n");
}

static gboolean
print_text (const Entry *entry, const Settings *settings)
{
  g_autofree char *name = NULL;

  if (entry->zero || !entry->data)
    return TRUE;

  if (!entry->has_host_offset)
    {
      tool_error (_("File contains external, encrypted or compressed clusters."));
      return FALSE;
    }

  name = name_file (settings, entry);
  printf ("%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%s\n",
          entry->offset, entry->length, entry->host_offset, name);
  return TRUE;
}

static gboolean
print_entry (const Entry *entry, const Settings *settings, gboolean last)
{
  if (!settings->json)
    return print_text (entry, settings);

  print_json (entry, last);
  return TRUE;
}

/* Merges @array into @current and prints what is complete. */
static gboolean
add_extents (Entry *current, const ImagoExtentArray *array, const Settings *settings)
{
  guint n = imago_extent_array_get_n (array);

  for (guint i = 0; i < n; i++)
    {
      Entry next;

      entry_from_extent (&next, imago_extent_array_get (array, i));
      if (current->length == 0)
        *current = next;
      else if (entry_continues (current, &next))
        {
          current->length += next.length;
          g_free (next.file);
        }
      else
        {
          gboolean printed = print_entry (current, settings, FALSE);

          g_free (current->file);
          *current = next;
          if (!printed)
            return FALSE;
        }
    }

  return TRUE;
}

static gboolean
print_map (ImagoImage *image, guint64 start, guint64 end, const Settings *settings)
{
  Entry current = { .offset = settings->start };
  guint64 offset = start;
  gboolean ok = TRUE;

  if (settings->json)
    printf ("[");
  else
    printf ("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
  while (ok && offset < end)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoExtentArray) array = NULL;
      const ImagoExtent *last;

      array = imago_image_map_extents (image, offset, end - offset, EXTENTS_AT_ONCE,
                                       IMAGO_MAP_HOST_HOLES, NULL, &error);
      if (array == NULL || imago_extent_array_get_n (array) == 0)
        {
          tool_error (_("Could not read the map of '%s': %s"), settings->filename,
                      error != NULL ? error->message : _("No extent found"));
          ok = FALSE;
          break;
        }

      ok = add_extents (&current, array, settings);
      last = imago_extent_array_get (array, imago_extent_array_get_n (array) - 1);
      offset = imago_extent_get_offset (last) + imago_extent_get_length (last);
    }

  if (ok)
    ok = print_entry (&current, settings, TRUE);
  if (ok && settings->json)
    printf ("]\n");
  g_free (current.file);
  return ok;
}

static int
show (Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = tool_open (settings->filename, &settings->open, &error);
  g_autofree char *name = tool_open_dup_name (settings->filename, &settings->open);
  g_autoptr (GPtrArray) layers = NULL;
  guint64 size, start, end;

  if (image != NULL && !settings->json)
    layers = name_layers (name, image, &error);
  if (error != NULL)
    {
      tool_open_print_error (settings->filename, error);
      return EXIT_FAILURE;
    }

  size = imago_image_get_size (image);
  start = MIN (settings->start, size);
  end = settings->length < size - start ? start + settings->length : size;
  settings->layers = layers;
  return print_map (image, start, end, settings) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;

  settings->filename = tool_command_get_file (n_operands, operands);
  return settings->filename != NULL ? show (settings) : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_SIZE ('s', "start-offset", Settings, start, N_("start offset"), N_("start there")),
  TOOL_SIZE ('l', "max-length", Settings, length, N_("max length"), N_("show no more than that")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_OUTPUT (Settings, json),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .length = G_MAXUINT64 };

const ToolCommand tool_command_map = {
  .name = "map",
  .operands = N_("FILE"),
  .summary = N_("show where the data of a disk lies"),
  .description = N_("Shows where the data of a disk lies: in which file of the chain, and at which "
                    "offset. The text lists data only, JSON everything."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
