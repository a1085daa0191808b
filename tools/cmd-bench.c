/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-message.h"
#include "tool-size.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct
{
  ToolOpen open;
  guint64 count;
  guint64 depth;
  guint64 flush_interval;
  gboolean no_drain;
  guint64 offset;
  guint64 buffer_size;
  guint64 step; /* 0: the size of the buffer */
  guint64 pattern;
  gboolean writes;
  int aio;
  int cache; /* a ToolCache */
} Settings;

/* ---- the command line ---- */

static gboolean
take_number (const char *value, const char *what, guint64 max, guint64 *number)
{
  gboolean is_hex = g_str_has_prefix (value, "0x") || g_str_has_prefix (value, "0X");

  if (g_ascii_string_to_unsigned (is_hex ? value + 2 : value, is_hex ? 16 : 10, 0, max, number, NULL))
    return TRUE;

  tool_error (_("Invalid %s specified"), what);
  return FALSE;
}

static gboolean
take_count (const char *value, gpointer settings)
{
  return take_number (value, _("request count"), G_MAXINT, &((Settings *) settings)->count);
}

static gboolean
take_depth (const char *value, gpointer user_data)
{
  Settings *settings = user_data;

  if (!take_number (value, _("queue depth"), G_MAXINT, &settings->depth))
    return FALSE;
  if (settings->depth > 0)
    return TRUE;

  tool_error (_("Invalid %s specified"), _("queue depth"));
  return FALSE;
}

static gboolean
take_flush_interval (const char *value, gpointer settings)
{
  return take_number (value, _("flush interval"), G_MAXINT, &((Settings *) settings)->flush_interval);
}

static gboolean
take_pattern (const char *value, gpointer settings)
{
  return take_number (value, _("pattern byte"), 0xff, &((Settings *) settings)->pattern);
}

static gboolean
take_int_size (const char *value, const char *what, guint64 *size)
{
  if ((tool_parse_size (value, size) && *size > G_MAXINT) || tool_size_is_too_large (value))
    {
      tool_error (_("Invalid %s specified. Must be between %s and %s."), what, "0", "2147483647");
      return FALSE;
    }
  return tool_option_size (value, what, size);
}

static gboolean
take_buffer_size (const char *value, gpointer settings)
{
  return take_int_size (value, _("buffer size"), &((Settings *) settings)->buffer_size);
}

static gboolean
take_step_size (const char *value, gpointer settings)
{
  return take_int_size (value, "step_size", &((Settings *) settings)->step);
}

static gboolean
take_cache (const char *value, gpointer user_data)
{
  for (const ToolChoice *choice = tool_cache_choices; choice->text != NULL; choice++)
    if (g_str_equal (value, choice->text))
      {
        ((Settings *) user_data)->cache = choice->value;
        return TRUE;
      }

  tool_error (_("Invalid cache mode"));
  return FALSE;
}

static gboolean
check_settings (Settings *settings)
{
  if (!settings->writes && settings->flush_interval > 0)
    tool_error (_("--flush-interval is only available in write tests"));
  else if (settings->flush_interval > 0 && settings->flush_interval < settings->depth)
    tool_error (_("Flush interval can't be smaller than depth"));
  else
    return TRUE;
  return FALSE;
}

/* ---- the run ---- */

typedef struct
{
  const Settings *settings;
  ImagoImage *image;
  GBytes *bytes; /* what is written */
  guint64 offset; /* of the next request */
  guint64 n_started;
  guint64 n_in_flight; /* flushes too */
  guint64 n_since_flush;
  GError *error; /* the first */
} Bench;

/* Takes @error. */
static void
end_request (Bench *bench, gboolean success, GError *error)
{
  bench->n_in_flight--;
  if (success)
    return;
  if (bench->error == NULL)
    bench->error = error;
  else
    g_error_free (error);
}

static void
flushed_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  gboolean success = imago_image_flush_finish (IMAGO_IMAGE (source), result, &error);

  end_request (user_data, success, error);
}

static void
start_flush (Bench *bench)
{
  bench->n_in_flight++;
  imago_image_flush_async (bench->image, G_PRIORITY_DEFAULT, NULL, flushed_cb, bench);
}

static void
read_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  g_autoptr (GBytes) bytes = imago_image_read_bytes_finish (IMAGO_IMAGE (source), result, &error);

  end_request (user_data, bytes != NULL, error);
}

static void
written_cb (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Bench *bench = user_data;
  GError *error = NULL;
  gboolean success = imago_image_write_bytes_finish (IMAGO_IMAGE (source), result, &error);

  if (success && bench->settings->cache == TOOL_CACHE_THROUGH)
    start_flush (bench);
  end_request (bench, success, error);
}

static void
start_request (Bench *bench)
{
  const Settings *settings = bench->settings;
  guint64 size = imago_image_get_size (bench->image);

  bench->n_in_flight++;
  bench->n_started++;
  bench->n_since_flush++;
  if (settings->writes)
    imago_image_write_bytes_async (bench->image, bench->offset, bench->bytes, G_PRIORITY_DEFAULT,
                                   NULL, written_cb, bench);
  else
    imago_image_read_bytes_async (bench->image, bench->offset, (gsize) settings->buffer_size,
                                  G_PRIORITY_DEFAULT, NULL, read_cb, bench);

  bench->offset += settings->step;
  if (size > 0)
    bench->offset %= size;
}

static void
wait_until (Bench *bench, guint64 n_in_flight)
{
  while (bench->n_in_flight > n_in_flight)
    g_main_context_iteration (NULL, TRUE);
}

/* A flush waits for what was written before it, unless it shall run beside the next writes. */
static void
flush_in_between (Bench *bench)
{
  const Settings *settings = bench->settings;

  if (!settings->no_drain)
    wait_until (bench, 0);
  if (settings->cache != TOOL_CACHE_UNSAFE)
    start_flush (bench);
  if (!settings->no_drain)
    wait_until (bench, 0);
  bench->n_since_flush = 0;
}

static void
run_requests (Bench *bench)
{
  const Settings *settings = bench->settings;

  while (bench->n_started < settings->count && bench->error == NULL)
    {
      wait_until (bench, settings->depth - 1);
      if (bench->error != NULL)
        break;
      start_request (bench);
      if (settings->flush_interval > 0 && bench->n_since_flush == settings->flush_interval)
        flush_in_between (bench);
    }
  wait_until (bench, 0);
}

/* Not translated: scripts read it. */
static void
print_plan (const Settings *settings)
{
  printf ("Sending %" G_GUINT64_FORMAT " %s requests, %" G_GUINT64_FORMAT " bytes each, "
          "%" G_GUINT64_FORMAT " in parallel (starting at offset %" G_GUINT64_FORMAT
          ", step size %" G_GUINT64_FORMAT ")\n",
          settings->count, settings->writes ? "write" : "read", settings->buffer_size,
          settings->depth, settings->offset, settings->step);
  if (settings->flush_interval > 0)
    printf ("Sending flush every %" G_GUINT64_FORMAT " requests\n", settings->flush_interval);
  fflush (stdout);
}

static int
measure (ImagoImage *image, const Settings *settings)
{
  guint8 *buffer = g_try_malloc ((gsize) MAX (settings->buffer_size, 1));
  g_autoptr (GError) error = NULL;
  Bench bench = { .settings = settings, .image = image, .offset = settings->offset };
  gint64 start;

  if (buffer == NULL)
    {
      tool_error (_("There is not enough memory"));
      return EXIT_FAILURE;
    }
  memset (buffer, (int) settings->pattern, (gsize) settings->buffer_size);
  bench.bytes = g_bytes_new_take (buffer, (gsize) settings->buffer_size);

  print_plan (settings);
  start = g_get_monotonic_time ();
  run_requests (&bench);
  if (bench.error == NULL)
    printf ("Run completed in %3.3f seconds.\n",
            (double) (g_get_monotonic_time () - start) / G_USEC_PER_SEC);

  g_bytes_unref (bench.bytes);
  error = bench.error;
  if (error == NULL && imago_image_close (image, NULL, &error))
    return EXIT_SUCCESS;
  tool_error (_("Failed request: %s"), error->message);
  return EXIT_FAILURE;
}

static int
run (gpointer user_data, int n_operands, char **operands)
{
  Settings *settings = user_data;
  g_autoptr (ImagoImage) image = NULL;
  g_autoptr (GError) error = NULL;
  const char *filename = tool_command_get_file (n_operands, operands);

  if (filename == NULL || !check_settings (settings))
    return EXIT_FAILURE;

  settings->open.writable = settings->writes;
  image = tool_open (filename, &settings->open, &error);
  if (image == NULL)
    {
      tool_open_print_error (filename, error);
      return EXIT_FAILURE;
    }
  if (settings->step == 0)
    settings->step = settings->buffer_size;
  return measure (image, settings);
}

static const ToolChoice aio_modes[] = {
  { "threads", 0 }, { "native", 0 }, { "io_uring", 0 }, { NULL, 0 },
};

static const ToolOption options[] = {
  TOOL_FLAG ('w', "write", Settings, writes, N_("write; the content of the disk is lost")),
  TOOL_CALL ('c', "count", N_("N"), take_count, N_("how many requests (default: 75000)")),
  TOOL_CALL ('d', "depth", N_("N"), take_depth, N_("how many at a time (default: 64)")),
  TOOL_SIZE ('o', "offset", Settings, offset, N_("offset"), N_("where the first one is")),
  TOOL_CALL ('s', "buffer-size", N_("SIZE"), take_buffer_size,
             N_("the length of each (default: 4096)")),
  TOOL_CALL ('S', "step-size", N_("SIZE"), take_step_size,
             N_("how far apart they are (default: their length)")),
  TOOL_CALL (0, "pattern", N_("BYTE"), take_pattern, N_("what is written (default: 0)")),
  TOOL_CALL (0, "flush-interval", N_("N"), take_flush_interval,
             N_("flush after each N writes, when they have ended")),
  TOOL_FLAG (0, "no-drain", Settings, no_drain, N_("flush while other writes run")),
  TOOL_CALL ('t', "cache", N_("MODE"), take_cache,
             N_("writethrough, directsync: flush after each write; unsafe: never flush")),
  TOOL_COMMON_FORMAT (Settings, open),
  TOOL_COMMON_FORCE_SHARE (Settings, open),
  TOOL_COMMON_OPENING (Settings, open),
  TOOL_ACCEPTED ('q', "quiet", NULL, N_("the result is always printed")),
  TOOL_ACCEPTED ('n', "native", NULL, N_("the same as -i native")),
  { .type = TOOL_OPTION_CHOICE, .group = TOOL_GROUP_ACCEPTED, .letter = 'i', .name = "aio",
    .argument = N_("MODE"), .help = N_("threads, native, io_uring: how the kernel is asked"),
    .choices = aio_modes, .what = N_("aio"), .offset = TOOL_FIELD (Settings, aio, int) },
  TOOL_OPTIONS_END,
};

static const Settings defaults = { .count = 75000, .depth = 64, .buffer_size = 4096 };

const ToolCommand tool_command_bench = {
  .name = "bench",
  .operands = N_("FILE"),
  .summary = N_("measure how fast an image is read or written"),
  .description = N_("Sends requests to an image, several at a time, and says how long they took. Each "
                    "begins a step after the one before it, and at the end of the disk with its "
                    "start again."),
  .options = options,
  .settings_size = sizeof (Settings),
  .defaults = &defaults,
  .run = run,
};
