/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* length, info, map and alloc: what can be said of the open image. */

#include "config.h"

#include "io-commands.h"

#include "tool-format-info.h"
#include "tool-message.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>

#define EXTENTS_AT_ONCE 1024

/* ---- length ---- */

static gboolean
run_length (IoSession *session, int argc, char **argv)
{
  g_autofree char *length = tool_format_amount ((double) imago_image_get_size (session->image));

  printf ("%s\n", length);
  return TRUE;
}

const IoCommand io_command_length = {
  .name = "length",
  .alias = "l",
  .summary = "gets the length of the current file",
  .needs_image = TRUE,
  .run = run_length,
};

/* ---- info ---- */

/* Where the state of a machine lies in the space of the disk's addresses: behind the disk, at the
 * next whole L2 table. 0 for formats that have no place for it. */
static guint64
vm_state_offset (ImagoImageInfo *info)
{
  guint64 cluster_size = imago_image_info_get_cluster_size (info);
  guint64 entry_size = imago_image_info_get_extended_l2 (info) ? 16 : 8;
  guint64 size = imago_image_info_get_virtual_size (info);
  guint64 per_table = cluster_size * (cluster_size / entry_size);

  if (imago_image_info_get_compat (info) == NULL || per_table == 0)
    return 0;
  return (size / per_table + (size % per_table != 0)) * per_table;
}

static gboolean
run_info (IoSession *session, int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImageInfo) info = imago_image_query_info (session->image, NULL, &error);
  g_autofree char *cluster_size = NULL;
  g_autofree char *offset = NULL;

  if (info == NULL)
    {
      tool_error ("%s", error->message);
      return FALSE;
    }
  cluster_size = tool_format_amount ((double) imago_image_info_get_cluster_size (info));
  offset = tool_format_amount ((double) vm_state_offset (info));
  printf ("format name: %s\n", imago_image_info_get_format_name (info));
  printf ("cluster size: %s\n", cluster_size);
  printf ("vm state offset: %s\n", offset);
  tool_format_info_print (info);
  return TRUE;
}

const IoCommand io_command_info = {
  .name = "info",
  .alias = "i",
  .summary = "prints information about the current file",
  .needs_image = TRUE,
  .run = run_info,
};

/* ---- map and alloc ---- */

typedef void (*RunFunc) (guint64 offset, guint64 length, gboolean allocated, gpointer user_data);

/* Calls @func for each run of equal state in the top image. */
static gboolean
foreach_run (ImagoImage *image, guint64 offset, guint64 end, RunFunc func, gpointer user_data)
{
  guint64 start = offset;
  gboolean allocated = FALSE;

  while (offset < end)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (ImagoExtentArray) array = NULL;

      array = imago_image_map_extents (image, offset, end - offset, EXTENTS_AT_ONCE,
                                       IMAGO_MAP_TOP_ONLY, NULL, &error);
      if (array == NULL)
        {
          tool_error (_("Failed to get allocation status: %s"), error->message);
          return FALSE;
        }

      for (guint i = 0; i < imago_extent_array_get_n (array); i++)
        {
          const ImagoExtent *extent = imago_extent_array_get (array, i);
          gboolean now = imago_extent_get_kind (extent) != IMAGO_EXTENT_UNALLOCATED;

          if (now != allocated && offset > start)
            {
              func (start, offset - start, allocated, user_data);
              start = offset;
            }
          allocated = now;
          offset = imago_extent_get_offset (extent) + imago_extent_get_length (extent);
        }
    }

  if (offset > start)
    func (start, offset - start, allocated, user_data);
  return TRUE;
}

static void
print_run (guint64 offset, guint64 length, gboolean allocated, gpointer user_data)
{
  g_autofree char *amount = tool_format_amount ((double) length);
  g_autofree char *position = tool_format_amount ((double) offset);

  printf ("%s (0x%" G_GINT64_MODIFIER "x) bytes %s allocated at offset %s (0x%" G_GINT64_MODIFIER
          "x)\n",
          amount, length, allocated ? "   " : "not", position, offset);
}

static gboolean
run_map (IoSession *session, int argc, char **argv)
{
  return foreach_run (session->image, 0, imago_image_get_size (session->image), print_run, NULL);
}

const IoCommand io_command_map = {
  .name = "map",
  .summary = "prints the allocated areas of a file",
  .needs_image = TRUE,
  .run = run_map,
};

static void
count_run (guint64 offset, guint64 length, gboolean allocated, gpointer user_data)
{
  guint64 *sum = user_data;

  if (allocated)
    *sum += length;
}

static gboolean
run_alloc (IoSession *session, int argc, char **argv)
{
  guint64 size = imago_image_get_size (session->image);
  guint64 offset, end;
  guint64 count = 512;
  guint64 sum = 0;
  g_autofree char *position = NULL;

  if (!io_parse_size (argv[1], &offset) || (argc > 2 && !io_parse_size (argv[2], &count)))
    return FALSE;

  end = offset < size ? offset + MIN (count, size - offset) : offset;
  if (!foreach_run (session->image, offset, end, count_run, &sum))
    return FALSE;

  position = tool_format_amount ((double) offset);
  printf ("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes allocated at offset %s\n", sum,
          end - offset, position);
  return TRUE;
}

const IoCommand io_command_alloc = {
  .name = "alloc",
  .arguments = "offset [count]",
  .summary = "checks if offset is allocated in the file",
  .min_arguments = 1,
  .max_arguments = 2,
  .needs_image = TRUE,
  .run = run_alloc,
};
