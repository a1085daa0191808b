/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-cache.h"
#include "tool-commands.h"
#include "tool-job.h"
#include "tool-message.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  ToolOpen open;
  const char *base;
  guint64 rate;
  gboolean keep;
  gboolean progress;
  gboolean quiet;
} Settings;

/* ---- the command line ---- */

static gboolean
take_rate (const char *value, gpointer settings)
{
  return tool_option_size (value, _("rate limit"), &((Settings *) settings)->rate);
}

/* ---- which image ---- */

static gboolean
is_same_file (const char *a, const char *b)
{
  GStatBuf first, second;

  return g_str_equal (a, b) ||
         (g_stat (a, &first) == 0 && g_stat (b, &second) == 0 && first.st_dev == second.st_dev &&
          first.st_ino == second.st_ino);
}

/* How far below @filename the image lies that @base means: as it stands in the image above it, or as a file. 0: nowhere. */
static guint
find_base (const char *filename, ImagoImage *top, const char *base)
{
  g_autofree char *name = g_strdup (filename);
  g_autoptr (ImagoImage) image = g_object_ref (top);

  for (guint depth = 1;; depth++)
    {
      g_autoptr (ImagoImageInfo) info = imago_image_query_info (image, NULL, NULL);
      const char *stored = info != NULL ? imago_image_info_get_backing_filename (info) : NULL;
      ImagoImage *next = stored != NULL ? imago_image_dup_backing (image) : NULL;
      char *full;

      if (next == NULL)
        return 0;
      full = tool_combine_names (name, stored);
      g_free (name);
      name = full;
      g_set_object (&image, next);
      g_object_unref (next);
      if (g_str_equal (stored, base) || is_same_file (full, base))
        return depth;
    }
}

/* With -b the chain is read first, to find the image in it. */
static gboolean
find_depth (const char *filename, Settings *settings)
{
  ToolOpen how = settings->open;
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  settings->open.writable_backing = 1;
  if (settings->base == NULL)
    return TRUE;
  how.writable = FALSE;
  image = tool_open (filename, &how, &error);
  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return FALSE;
    }
  settings->open.writable_backing = find_base (filename, image, settings->base);
  imago_image_close (image, NULL, NULL);
  if (settings->open.writable_backing > 0)
    return TRUE;
  tool_error (_("Did not find '%s' in the backing chain of '%s'"), settings->base, filename);
  return FALSE;
}

static ImagoImage *
get_base (ImagoImage *top, guint depth)
{
  g_autoptr (ImagoImage) image = g_object_ref (top);

  for (; depth > 0 && image != NULL; depth--)
    {
      ImagoImage *next = imago_image_dup_backing (image);

      g_object_unref (image);
      image = next;
    }
  return g_steal_pointer (&image);
}

/* ---- the work ---- */

static gboolean
commit (ImagoImage *image, ImagoImage *base, const Settings *settings)
{
  g_autoptr (ImagoCommitJob) job = imago_commit_job_new (image, base);
  g_autoptr (GError) error = NULL;

  /* What is committed to a named image stays, as with qemu-img, even if that is the next one. */
  imago_commit_job_set_keep (job, settings->keep || settings->base != NULL);
  imago_job_set_rate_limit (IMAGO_JOB (job), settings->rate);
  if (tool_job_run_writing (IMAGO_JOB (job), image, settings->progress && !settings->quiet ? stdout : NULL, &error))
    return TRUE;
  tool_error ("%s", error->message);
  return FALSE;
}

static int
commit_file (const char *filename, Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (ImagoImage) base = NULL;

  if (!find_depth (filename, settings))
    return EXIT_FAILURE;
  image = tool_open (filename, &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }
  base = get_base (image, settings->open.writable_backing);
  if (base == NULL)
    {
      tool_error (_("Image does not have a backing file"));
      return EXIT_FAILURE;
    }
  if (!commit (image, base, settings))
    return EXIT_FAILURE;
  if (!settings->quiet)
    printf ("Image committed.\n");
  return EXIT_SUCCESS;
}

static int
run (gpointer settings, int n_operands, char **operands)
{
  const char *filename = tool_command_get_file (n_operands, operands);

  return filename != NULL ? commit_file (filename, settings) : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_STRING ('b', "base", N_("FILE"), Settings, base,
               N_("the image below it to write to (default: the next); implies -d")),
  TOOL_FLAG ('d', "drop", Settings, keep, N_("leave in the overlay what has been written, too")),
  TOOL_CALL ('r', "rate", N_("RATE"), take_rate, N_("bytes a second, with a suffix k, M, G, …")),
  TOOL_CALL ('t', "cache", N_("MODE"), tool_check_cache_mode, N_("how the kernel caches what is written")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_COMMON_PROGRESS (Settings, progress),
  TOOL_COMMON_QUIET (Settings, quiet),
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .open = { .writable = TRUE, .unmaps = TRUE } };

const ToolCommand tool_command_commit = {
  .name = "commit",
  .operands = N_("FILE"),
  .summary = N_("write what an overlay has into the image below it"),
  .description = N_("Writes what FILE has into the image that it lies on, and empties FILE then. What FILE shows "
                    "is the same at any moment, also when it is interrupted."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
