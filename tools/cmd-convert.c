/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-message.h"
#include "tool-options.h"
#include "tool-progress.h"
#include "tool-size.h"

#include <glib-unix.h>
#include <glib/gi18n-lib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>

#define MAX_COROUTINES 16
#define MAX_SPARSE_SIZE (16 * 1024 * 1024)

typedef struct
{
  ToolOpen open;
  const char *output_format;
  gboolean progress;
  gboolean quiet;
  gboolean durable;
  gboolean sparse_given;
  gboolean offload;
  guint threads;
  const char *source;
  const char *target;
} Settings;

enum
{
  OPTION_TARGET_IMAGE_OPTS = TOOL_OPTION_OTHER,
  OPTION_TARGET_IS_ZERO,
  OPTION_BITMAPS,
  OPTION_SKIP_BROKEN_BITMAPS,
  OPTION_SALVAGE,
};

/* ---- options ---- */

/* What only other targets than a new raw file could use. */
static const struct
{
  int option;
  const char *name;
  const char *why;
} refused[] = {
  { 'c', "-c", N_("a raw file cannot be compressed") },
  { 'n', "-n", N_("the target is always a new file, put in place when it is complete") },
  { 'B', "-B", N_("a raw file has no backing file") },
  { 'F', "-F", N_("a raw file has no backing file") },
  { 'r', "-r", N_("the rate cannot be limited") },
  { OPTION_TARGET_IMAGE_OPTS, "--target-image-opts", N_("give the target as a file name") },
  { OPTION_TARGET_IS_ZERO, "--target-is-zero", N_("the target is always a new file") },
  { OPTION_BITMAPS, "--bitmaps", N_("a raw file has no bitmaps") },
  { OPTION_SKIP_BROKEN_BITMAPS, "--skip-broken-bitmaps", N_("a raw file has no bitmaps") },
  { OPTION_SALVAGE, "--salvage", N_("an image that cannot be read completely is not converted") },
};

/* Durable unless the person says that speed is all. The modes that bypass the page cache or write
 * through it promise no more than a durable result does. */
static gboolean
take_cache_mode (const char *value, const char *what, gboolean *durable)
{
  static const char *const safe[] = {
    "writeback", "writethrough", "none", "off", "directsync", NULL
  };

  if (g_str_equal (value, "unsafe"))
    {
      if (durable != NULL)
        *durable = FALSE;
      return TRUE;
    }
  if (g_strv_contains (safe, value))
    {
      if (durable != NULL)
        *durable = TRUE;
      return TRUE;
    }

  tool_error (_("Invalid %s option: %s"), what, value);
  return FALSE;
}

static gboolean
take_sparse_size (const char *value, Settings *settings)
{
  guint64 size;

  if (!tool_parse_size (value, &size) || size % 512 != 0 || size > MAX_SPARSE_SIZE)
    {
      tool_error (_("Invalid buffer size for sparse output specified. Valid sizes are multiples "
                     "of 512 up to %u."),
                  MAX_SPARSE_SIZE);
      return FALSE;
    }
  if (size == 0)
    {
      tool_option_refuse ("-S 0", _("zeroes always become holes"));
      return FALSE;
    }

  settings->sparse_given = TRUE;
  return TRUE;
}

static gboolean
take_threads (const char *value, Settings *settings)
{
  guint64 threads;

  if (!g_ascii_string_to_unsigned (value, 10, 1, MAX_COROUTINES, &threads, NULL))
    {
      tool_error (
        _("Invalid number of coroutines. Allowed number of coroutines is between 1 and %u"),
        MAX_COROUTINES);
      return FALSE;
    }

  settings->threads = (guint) threads;
  return TRUE;
}

/* -o: what a raw target can be told, as long as it is what happens anyhow. */
static gboolean
take_target_options (const char *value)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);

  for (gsize i = 0; parts[i] != NULL; i++)
    if (!g_str_equal (parts[i], "preallocation=off"))
      {
        g_autofree char *option = g_strdup_printf ("-o %s", parts[i]);

        tool_option_refuse (option, _("the only one for raw files is preallocation=off"));
        return FALSE;
      }

  return TRUE;
}

static gboolean
take_option (int option, const char *value, Settings *settings)
{
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    if (option == refused[i].option)
      {
        tool_option_refuse (refused[i].name, _ (refused[i].why));
        return FALSE;
      }

  switch (option)
    {
    case 'O':
      settings->output_format = value;
      return TRUE;
    case 'l':
      settings->open.snapshot = value;
      return TRUE;
    case 'p':
      settings->progress = TRUE;
      return TRUE;
    case 'q':
      settings->quiet = TRUE;
      return TRUE;
    case 't':
      return take_cache_mode (value, "cache", &settings->durable);
    case 'T':
      return take_cache_mode (value, "source cache", NULL);
    case 'S':
      return take_sparse_size (value, settings);
    case 'm':
      return take_threads (value, settings);
    case 'o':
      return take_target_options (value);
    case 'C':
      settings->offload = TRUE;
      return TRUE;
    case 'W':
      /* The order of writes is nobody's business: the file appears when it is complete. */
      return TRUE;
    default:
      return FALSE;
    }
}

static gboolean
check_output_format (const char *name)
{
  ImagoFormat *format = imago_format_lookup (name);
  g_autofree char *option = NULL;

  if (format == NULL)
    {
      tool_error (_("Unknown file format '%s'"), name);
      return FALSE;
    }
  if (imago_format_get_flags (format) & IMAGO_FORMAT_CONVERT_TARGET)
    return TRUE;

  option = g_strdup_printf ("-O %s", name);
  tool_option_refuse (option, _("only raw files can be written"));
  return FALSE;
}

static gboolean
take_files (int argc, char **argv, const ToolUsage *usage, Settings *settings)
{
  if (argc - optind < 2)
    {
      tool_usage_error (usage->command, _("Must specify image file name"));
      return FALSE;
    }
  if (argc - optind > 2)
    {
      tool_usage_error (usage->command, _("Joining several images is not supported"));
      return FALSE;
    }

  settings->source = argv[optind];
  settings->target = argv[optind + 1];
  return TRUE;
}

/* ---- the job ---- */

typedef struct
{
  ImagoJob *job; /* borrowed */
  GMainLoop *loop;
  GCancellable *cancellable;
  ToolProgress *progress;
  int signal_number;
  gboolean succeeded;
  GError *error;
} Run;

/* The first signal ends the copy in order; a second one, if a storage is stuck, ends the program. */
static gboolean
stop (Run *run, int signal_number)
{
  if (run->signal_number != 0)
    _exit (128 + signal_number);
  run->signal_number = signal_number;
  g_cancellable_cancel (run->cancellable);
  return G_SOURCE_CONTINUE;
}

static gboolean
interrupt_cb (gpointer user_data)
{
  return stop (user_data, SIGINT);
}

static gboolean
terminate_cb (gpointer user_data)
{
  return stop (user_data, SIGTERM);
}

static gboolean
hang_up_cb (gpointer user_data)
{
  return stop (user_data, SIGHUP);
}

static gboolean
status_cb (gpointer user_data)
{
  Run *run = user_data;

  if (run->progress != NULL)
    tool_progress_print (run->progress);
  else
    fprintf (stderr, "    (%.2f/100%%)\n", 100 * imago_job_get_progress (run->job));
  return G_SOURCE_CONTINUE;
}

static void
finished_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Run *run = user_data;

  run->succeeded = imago_job_run_finish (IMAGO_JOB (source), result, &run->error);
  g_main_loop_quit (run->loop);
}

/* A signal that the parent had ignored (nohup, a shell's background job) stays so. 0: no source. */
static guint
watch_signal (int signal_number, GSourceFunc func, Run *run)
{
  struct sigaction old;

  if (sigaction (signal_number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
    return 0;
  return g_unix_signal_add (signal_number, func, run);
}

static void
run_job (ImagoJob *job, Run *run)
{
  guint sources[] = {
    watch_signal (SIGINT, interrupt_cb, run),
    watch_signal (SIGTERM, terminate_cb, run),
    watch_signal (SIGHUP, hang_up_cb, run),
    watch_signal (SIGUSR1, status_cb, run),
  };

  run->job = job;
  imago_job_run_async (job, G_PRIORITY_DEFAULT, run->cancellable, finished_cb, run);
  g_main_loop_run (run->loop);

  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    if (sources[i] != 0)
      g_source_remove (sources[i]);
}

/* Ends as the signal would have ended it, so that a shell sees it, but leaving nothing behind. */
static void
die_of (int signal_number)
{
  signal (signal_number, SIG_DFL);
  raise (signal_number);
}

static int
convert (ImagoImage *image, const Settings *settings)
{
  g_autoptr (GFile) target = g_file_new_for_path (settings->target);
  g_autoptr (ImagoConvertJob) job = imago_convert_job_new (image, target);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (ToolProgress) progress = NULL;
  g_autoptr (GError) error = NULL;
  Run run = { .loop = loop, .cancellable = cancellable };

  imago_convert_job_set_overwrite (job, TRUE);
  imago_convert_job_set_durable (job, settings->durable);
  imago_convert_job_set_threads (job, settings->threads);
  if (settings->progress && !settings->quiet)
    progress = tool_progress_new (IMAGO_JOB (job));
  run.progress = progress;

  run_job (IMAGO_JOB (job), &run);
  error = run.error;
  if (progress != NULL)
    tool_progress_finish (progress, run.succeeded);
  if (run.succeeded)
    return EXIT_SUCCESS;

  if (run.signal_number != 0 && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    die_of (run.signal_number);
  else
    tool_error (_("Could not convert '%s' to '%s': %s"), settings->source, settings->target,
                error->message);
  return EXIT_FAILURE;
}

static int
run_convert (const Settings *settings)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoImage) image = NULL;

  if (settings->output_format != NULL && !check_output_format (settings->output_format))
    return EXIT_FAILURE;

  image = tool_open (settings->source, &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (settings->source, error);
      return EXIT_FAILURE;
    }

  return convert (image, settings);
}

int
cmd_convert (int argc, char **argv)
{
  static const struct option options[] = {
    TOOL_COMMON_OPTIONS,
    { "format", required_argument, NULL, 'f' },
    { "source-format", required_argument, NULL, 'f' },
    { "target-format", required_argument, NULL, 'O' },
    { "snapshot", required_argument, NULL, 'l' },
    { "progress", no_argument, NULL, 'p' },
    { "quiet", no_argument, NULL, 'q' },
    { "cache", required_argument, NULL, 't' },
    { "source-cache", required_argument, NULL, 'T' },
    { "target-image-opts", no_argument, NULL, OPTION_TARGET_IMAGE_OPTS },
    { "target-is-zero", no_argument, NULL, OPTION_TARGET_IS_ZERO },
    { "bitmaps", no_argument, NULL, OPTION_BITMAPS },
    { "skip-broken-bitmaps", no_argument, NULL, OPTION_SKIP_BROKEN_BITMAPS },
    { "salvage", no_argument, NULL, OPTION_SALVAGE },
    { NULL, 0, NULL, 0 },
  };
  const ToolUsage usage = {
    "convert",
    "[-f FORMAT] [-O raw] [-l SNAPSHOT] [-p] [-q] [-t CACHE] [-m N] SOURCE TARGET",
    _("Copies a disk, with all that lies below it, into a new raw file. TARGET appears, or is\n"
       "replaced, when it is complete; an interrupted copy leaves nothing.\n"
       "\n"
       "  -f, --format=FORMAT     the format of SOURCE (default: what it looks like)\n"
       "  -O, --target-format=raw the format of TARGET\n"
       "  -l, --snapshot=SNAPSHOT copy an internal snapshot: an id, a name, or\n"
       "                          snapshot.id=ID,snapshot.name=NAME\n"
       "  -p, --progress          show progress\n"
       "  -q, --quiet             print nothing but errors\n"
       "  -t, --cache=unsafe      do not wait until TARGET is on the disk; all other modes do\n"
       "  -m N                    copy with N threads, 1 to 16 (default: one for each processor)\n"
       "  --references=WHICH      files that images may refer to: deny, same-dir (default), any\n"
       "  -S SIZE, -T CACHE, -C, -W, -U\n"
       "                          accepted; what they ask for makes no difference to TARGET"),
  };
  Settings settings = { .durable = TRUE };
  int option;

  while ((option = getopt_long (argc, argv, "hf:UO:l:pqt:T:S:m:o:CWcnB:F:r:", options, NULL)) != -1)
    switch (tool_option_common (option, optarg, &usage, &settings.open))
      {
      case TOOL_OPTION_TAKEN:
        break;
      case TOOL_OPTION_HELP:
        return EXIT_SUCCESS;
      case TOOL_OPTION_UNKNOWN:
        if (!take_option (option, optarg, &settings))
          return EXIT_FAILURE;
        break;
      case TOOL_OPTION_FAILED:
      default:
        return EXIT_FAILURE;
      }

  if (settings.offload && settings.sparse_given)
    {
      tool_error (_("Cannot use -S when -C is used"));
      return EXIT_FAILURE;
    }
  if (!take_files (argc, argv, &usage, &settings))
    return EXIT_FAILURE;

  return run_convert (&settings);
}
