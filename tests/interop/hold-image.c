/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* hold-image FORMAT read|write|share FILE: opens an image, says so, and keeps it until its input ends. */

#include <stdio.h>
#include <string.h>

#include <imago-glib/imago-glib.h>

int
main (int argc, char **argv)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_same_directory_policy_new ();
  g_autoptr (ImagoOpenOptions) options = imago_open_options_new ();
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GFile) file = NULL;

  if (argc != 4)
    return 2;
  file = g_file_new_for_path (argv[3]);
  imago_open_options_set_format_name (options, argv[1]);
  imago_open_options_set_reference_policy (options, policy);
  imago_open_options_set_writable (options, strcmp (argv[2], "write") == 0);
  g_object_set (options, "force-share", strcmp (argv[2], "share") == 0, "locking", IMAGO_LOCKING_ON, NULL);
  image = imago_image_open (file, options, NULL, &error);
  if (image == NULL)
    {
      printf ("%s: %s\n", g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED) ? "locked" : "failed",
              error->message);
      return 1;
    }
  puts ("open");
  fflush (stdout);
  while (getchar () != EOF)
    ;
  return imago_image_close (image, NULL, &error) ? 0 : 1;
}
