/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Makes a disk over a base image that stays as it is, and grows it. usage: overlay BASE.qcow2 OVERLAY.qcow2 SIZE */

#include <imago-glib/imago-glib.h>
#include <locale.h>

static ImagoImage *
overlay (const char *base_name, const char *name, guint64 size, GError **error)
{
  g_autoptr (GFile) base = g_file_new_for_commandline_arg (base_name);
  g_autoptr (GFile) file = g_file_new_for_commandline_arg (name);
  g_autoptr (ImagoCreateOptions) options = imago_create_options_new ();
  g_autoptr (ImagoImage) disk = NULL;

  g_object_set (options, "format-name", "qcow2", "backing-file", base, "backing-format", "qcow2", NULL);
  disk = imago_image_create (file, options, NULL, error);
  if (disk == NULL ||
      !imago_image_resize (disk, size, IMAGO_RESIZE_NONE, IMAGO_PREALLOCATION_NONE, NULL, error))
    return NULL;
  return g_steal_pointer (&disk);
}

int
main (int argc, char **argv)
{
  g_autoptr (ImagoImage) disk = NULL;
  g_autoptr (ImagoImageInfo) info = NULL;
  g_autoptr (GError) error = NULL;

  setlocale (LC_ALL, "");
  if (argc != 4)
    return 2;
  disk = overlay (argv[1], argv[2], g_ascii_strtoull (argv[3], NULL, 10), &error);
  if (disk != NULL)
    info = imago_image_query_info (disk, NULL, &error);
  if (info == NULL || !imago_image_close (disk, NULL, &error))
    {
      g_printerr ("%s\n", error->message);
      return 1;
    }
  g_print ("%s: %" G_GUINT64_FORMAT " bytes over %s\n", argv[2], imago_image_get_size (disk),
           imago_image_info_get_backing_filename (info));
  return 0;
}
