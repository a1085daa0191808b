/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Opens images and holds them open: a user for the others to meet.
 *
 * hold-image FORMAT [LOCKING-]MODE FILE …, with MODE one of read, write, force-share. Prints a line for each
 * FILE, "open" or "refused: TEXT". Then it reads lines from standard input: "close N" closes the image of the
 * Nth FILE, counted from 0, and is answered with a line too. At the end of the input all are let go of. */

#include <imago-glib/imago-glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
answer (const char *success, const GError *error)
{
  if (error == NULL)
    puts (success);
  else if (g_error_matches (error, IMAGO_ERROR, IMAGO_ERROR_LOCKED))
    printf ("refused: %s\n", error->message);
  else
    printf ("failed: %s\n", error->message);
  fflush (stdout);
}

static ImagoOpenOptions *
parse_mode (const char *format_name, const char *mode)
{
  g_autoptr (ImagoReferencePolicy) policy = imago_permissive_policy_new ();
  ImagoLocking locking = IMAGO_LOCKING_AUTO;

  if (g_str_has_prefix (mode, "on-"))
    locking = IMAGO_LOCKING_ON;
  else if (g_str_has_prefix (mode, "none-"))
    locking = IMAGO_LOCKING_NONE;
  return g_object_new (IMAGO_TYPE_OPEN_OPTIONS, "format-name", format_name, "writable",
                       g_str_has_suffix (mode, "write"), "force-share",
                       g_str_has_suffix (mode, "force-share"), "locking", locking, "reference-policy",
                       policy, NULL);
}

static ImagoImage *
open_image (const char *format_name, const char *mode, const char *path)
{
  g_autoptr (ImagoOpenOptions) options = parse_mode (format_name, mode);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GError) error = NULL;
  ImagoImage *image = imago_image_open (file, options, NULL, &error);

  answer ("open", error);
  return image;
}

static void
close_image (const char *line, GPtrArray *images)
{
  g_autoptr (GError) error = NULL;
  guint number = (guint) atoi (strchr (line, ' ') + 1);

  g_assert (number < images->len);
  imago_image_close (images->pdata[number], NULL, &error);
  answer ("closed", error);
}

static void
unref_image (gpointer image)
{
  if (image != NULL)
    g_object_unref (image);
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func (unref_image);
  char line[64];

  for (int i = 2; i + 1 < argc; i += 2)
    g_ptr_array_add (images, open_image (argv[1], argv[i], argv[i + 1]));
  while (fgets (line, sizeof line, stdin) != NULL)
    close_image (line, images);
  return EXIT_SUCCESS;
}
