/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Replays inputs through a target without libFuzzer, one TAP line for each group of inputs.
 *
 *   PROGRAM TARGET PATH…
 *
 * A path is a pack that make-seeds.py wrote (the inputs of TARGET in it are run), a folder of
 * regressions (those named TARGET-*.hex: text, two digits a byte, '#' begins a comment), or any
 * other file, which is one input as libFuzzer leaves it behind. */

#include "config.h"

#include "fuzz-limits.h"
#include "fuzz-target.h"

#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PACK_MAGIC "imago fuzz seeds 1\n"

static char running[256]; /* the name of the input, for the message of a crash */
static char slowest[256];
static gint64 slowest_time;

/* There in programs built with a sanitizer, which handles signals itself. */
extern void __sanitizer_set_death_callback (void (*callback) (void)) __attribute__ ((weak));

static void
name_input_cb (void)
{
  static const char text[] = "# the input that failed: ";

  (void) !write (STDERR_FILENO, text, sizeof text - 1);
  (void) !write (STDERR_FILENO, running, strlen (running));
  (void) !write (STDERR_FILENO, "\n", 1);
}

static void
crash_cb (int number)
{
  name_input_cb ();
  signal (number, SIG_DFL);
  raise (number);
}

static void
watch_crashes (void)
{
  if (__sanitizer_set_death_callback != NULL)
    __sanitizer_set_death_callback (name_input_cb);
  else
    signal (SIGSEGV, crash_cb);
  signal (SIGABRT, crash_cb);
  signal (SIGTRAP, crash_cb);
}

static void
run_input (const char *name, const guint8 *bytes, gsize length)
{
  /* A copy of exactly this size: valgrind and ASan see a read behind its end. */
  g_autofree guint8 *copy = g_memdup2 (bytes, length);
  gint64 begin = g_get_monotonic_time ();
  gint64 time;

  g_strlcpy (running, name, sizeof running);
  LLVMFuzzerTestOneInput (length > 0 ? copy : (const guint8 *) "", length);
  time = g_get_monotonic_time () - begin;
  if (time > slowest_time)
    {
      slowest_time = time;
      g_strlcpy (slowest, name, sizeof slowest);
    }
}

/* ---- packs: lines "TARGET GROUP NAME LENGTH\n", each followed by so many bytes ---- */

typedef struct
{
  char *group;
  guint n_inputs;
} Group;

static Group *
find_group (GPtrArray *groups, const char *name)
{
  Group *group;

  for (guint i = 0; i < groups->len; i++)
    {
      group = g_ptr_array_index (groups, i);
      if (strcmp (group->group, name) == 0)
        return group;
    }
  group = g_new0 (Group, 1);
  group->group = g_strdup (name);
  g_ptr_array_add (groups, group);
  return group;
}

static void
run_pack (const char *target, GPtrArray *groups, const char *bytes, gsize length)
{
  const char *position = bytes + strlen (PACK_MAGIC);
  const char *end = bytes + length;

  while (position < end)
    {
      const char *line_end = memchr (position, '\n', (gsize) (end - position));
      g_autofree char *line = NULL;
      g_auto (GStrv) words = NULL;
      guint64 size;

      if (line_end == NULL)
        g_error ("The pack of seeds is cut off");
      line = g_strndup (position, (gsize) (line_end - position));
      words = g_strsplit (line, " ", 4);
      if (g_strv_length (words) != 4)
        g_error ("The pack of seeds is damaged");
      size = g_ascii_strtoull (words[3], NULL, 10);
      position = line_end + 1;
      if (size > (guint64) (end - position))
        g_error ("The pack of seeds is cut off");
      if (strcmp (words[0], target) == 0)
        {
          run_input (words[2], (const guint8 *) position, size);
          find_group (groups, words[1])->n_inputs++;
        }
      position += size;
    }
}

/* ---- regressions ---- */

static GByteArray *
parse_hex (const char *text)
{
  GByteArray *bytes = g_byte_array_new ();
  gboolean comment = FALSE;
  int high = -1;

  for (const char *p = text; *p != '\0'; p++)
    {
      int digit;
      guint8 byte;

      if (*p == '#' || *p == '\n')
        comment = *p == '#';
      digit = g_ascii_xdigit_value (*p);
      if (comment || digit < 0)
        continue;
      if (high < 0)
        {
          high = digit;
          continue;
        }
      byte = (guint8) (high << 4 | digit);
      g_byte_array_append (bytes, &byte, 1);
      high = -1;
    }
  return bytes;
}

static void
run_folder (const char *target, GPtrArray *groups, const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) folder = g_dir_open (path, 0, &error);
  g_autofree char *prefix = g_strconcat (target, "-", NULL);
  const char *name;

  if (folder == NULL)
    g_error ("%s", error->message);
  while ((name = g_dir_read_name (folder)) != NULL)
    {
      g_autofree char *file = g_build_filename (path, name, NULL);
      g_autofree char *text = NULL;
      g_autoptr (GByteArray) bytes = NULL;

      if (!g_str_has_prefix (name, prefix) || !g_str_has_suffix (name, ".hex"))
        continue;
      if (!g_file_get_contents (file, &text, NULL, &error))
        g_error ("%s", error->message);
      bytes = parse_hex (text);
      run_input (name, bytes->data, bytes->len);
      find_group (groups, "regressions")->n_inputs++;
    }
}

static void
run_path (const char *target, GPtrArray *groups, const char *path)
{
  g_autofree char *bytes = NULL;
  g_autoptr (GError) error = NULL;
  gsize length;

  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    {
      run_folder (target, groups, path);
      return;
    }
  if (!g_file_get_contents (path, &bytes, &length, &error))
    g_error ("%s", error->message);
  if (g_str_has_prefix (bytes, PACK_MAGIC))
    run_pack (target, groups, bytes, length);
  else
    {
      run_input (path, (const guint8 *) bytes, length);
      find_group (groups, "files")->n_inputs++;
    }
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) groups = g_ptr_array_new ();

  if (argc < 3)
    {
      g_printerr ("Usage: %s TARGET PATH…\n", argv[0]);
      return 2;
    }
  watch_crashes ();
  LLVMFuzzerInitialize (&argc, &argv);
  for (int i = 2; i < argc; i++)
    run_path (argv[1], groups, argv[i]);

  g_print ("TAP version 13\n1..%u\n", groups->len);
  for (guint i = 0; i < groups->len; i++)
    {
      Group *group = g_ptr_array_index (groups, i);

      g_print ("ok %u - %s %s: %u inputs\n", i + 1, argv[1], group->group, group->n_inputs);
      g_free (group->group);
      g_free (group);
    }
  g_print ("# slowest input: %s, %" G_GINT64_FORMAT " ms\n", slowest, slowest_time / 1000);
  g_print ("# most memory from images at once: %" G_GSIZE_FORMAT " KiB\n",
           fuzz_limits_get_peak () / 1024);
  return groups->len > 0 ? 0 : 1;
}
