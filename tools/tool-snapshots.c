/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-snapshots.h"

#include "tool-json.h"
#include "tool-message.h"
#include "tool-size.h"

#include <stdio.h>

#define NANOSECONDS G_GUINT64_CONSTANT (1000000000)

static char *
format_clock (guint64 nanoseconds)
{
  guint64 seconds = nanoseconds / NANOSECONDS;

  return g_strdup_printf ("%02" G_GUINT64_FORMAT ":%02u:%02u.%03u", seconds / 3600,
                          (guint) (seconds / 60 % 60), (guint) (seconds % 60),
                          (guint) (nanoseconds % NANOSECONDS / 1000000));
}

/* The year may be one that GDateTime cannot hold: the number comes from the file. */
static char *
format_date (ImagoSnapshot *snapshot)
{
  GDateTime *utc = imago_snapshot_get_date_time (snapshot);
  g_autoptr (GDateTime) local = utc != NULL ? g_date_time_to_local (utc) : NULL;

  return local != NULL ? g_date_time_format (local, "%Y-%m-%d %H:%M:%S") : g_strdup ("?");
}

static void
print_one (ImagoSnapshot *snapshot)
{
  g_autofree char *id = tool_printable (imago_snapshot_get_id (snapshot));
  g_autofree char *name = tool_printable (imago_snapshot_get_name (snapshot));
  g_autofree char *size = tool_format_size (imago_snapshot_get_vm_state_size (snapshot));
  g_autofree char *date = format_date (snapshot);
  g_autofree char *clock = format_clock (imago_snapshot_get_vm_clock (snapshot));
  g_autofree char *icount = NULL;
  guint64 count;

  if (imago_snapshot_get_icount (snapshot, &count))
    icount = g_strdup_printf ("%" G_GUINT64_FORMAT, count);

  printf ("%-9s %-16s %8s%20s%13s%11s\n", id, name, size, date, clock,
          icount != NULL ? icount : "");
}

void
tool_snapshots_print (GListModel *snapshots)
{
  guint n = g_list_model_get_n_items (snapshots);

  /* Not translated: scripts cut the columns. */
  printf ("Snapshot list:\n");
  printf ("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoSnapshot) snapshot = g_list_model_get_item (snapshots, i);

      print_one (snapshot);
    }
}

JsonArray *
tool_snapshots_describe (GListModel *snapshots)
{
  guint n = g_list_model_get_n_items (snapshots);
  JsonArray *array = json_array_new ();

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoSnapshot) snapshot = g_list_model_get_item (snapshots, i);
      guint64 clock = imago_snapshot_get_vm_clock (snapshot);
      JsonObject *object = json_object_new ();
      guint64 count;

      if (imago_snapshot_get_icount (snapshot, &count))
        json_object_set_int_member (object, "icount", (gint64) count);
      json_object_set_int_member (object, "vm-clock-nsec", (gint64) (clock % NANOSECONDS));
      tool_json_add_string (object, "name", imago_snapshot_get_name (snapshot));
      json_object_set_int_member (object, "date-sec",
                                  imago_snapshot_get_date_usec (snapshot) / G_USEC_PER_SEC);
      json_object_set_int_member (object, "date-nsec",
                                  imago_snapshot_get_date_nanoseconds (snapshot));
      json_object_set_int_member (object, "vm-clock-sec", (gint64) (clock / NANOSECONDS));
      tool_json_add_string (object, "id", imago_snapshot_get_id (snapshot));
      tool_json_add_size (object, "vm-state-size", imago_snapshot_get_vm_state_size (snapshot));
      json_array_add_object_element (array, object);
    }

  return array;
}
