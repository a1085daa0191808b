/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include "tool-commands.h"
#include "tool-job.h"
#include "tool-json.h"
#include "tool-message.h"
#include "tool-options.h"

#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <stdlib.h>

/* Exit statuses beside 0 and 1. */
#define EXIT_CORRUPTIONS 2
#define EXIT_LEAKS 3
#define EXIT_NO_CHECKS 63

typedef struct
{
  ToolOpen open;
  const char *filename;
  ImagoRepair repair;
  gboolean json;
  gboolean quiet;
  gboolean progress;
} Wanted;

/* ---- what it prints ---- */

static const char *
message_prefix (ImagoCheckMessage *message)
{
  switch (imago_check_message_get_kind (message))
    {
    case IMAGO_CHECK_MESSAGE_ERROR:
    case IMAGO_CHECK_MESSAGE_CORRUPTION:
      return "ERROR ";
    case IMAGO_CHECK_MESSAGE_NONE:
    case IMAGO_CHECK_MESSAGE_LEAK:
    case IMAGO_CHECK_MESSAGE_REPAIRED:
    case IMAGO_CHECK_MESSAGE_NOTE:
    default:
      return "";
    }
}

/* On the standard error output, as other programs expect: there it does not disturb JSON. */
static void
print_messages (ImagoCheckResult *result)
{
  GListModel *messages = imago_check_result_get_messages (result);
  guint n = g_list_model_get_n_items (messages);
  guint64 n_all = imago_check_result_get_n_messages (result);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (ImagoCheckMessage) message = g_list_model_get_item (messages, i);
      g_autofree char *printable = tool_printable (imago_check_message_get_text (message));

      fprintf (stderr, "%s%s\n", message_prefix (message), printable);
    }
  if (n_all > n)
    {
      g_autofree char *more = g_strdup_printf ("%" G_GUINT64_FORMAT, n_all - n);

      fprintf (stderr, _ ("and %s more\n"), more);
    }
}

static void
add_count (JsonObject *object, const char *name, guint64 count)
{
  if (count != 0)
    tool_json_add_size (object, name, count);
}

static void
print_json (const char *filename, const char *format, ImagoCheckResult *result)
{
  JsonObject *object = json_object_new ();
  JsonNode *node = json_node_new (JSON_NODE_OBJECT);

  json_node_take_object (node, object);
  add_count (object, "image-end-offset", imago_check_result_get_image_end_offset (result));
  add_count (object, "compressed-clusters", imago_check_result_get_compressed_clusters (result));
  add_count (object, "total-clusters", imago_check_result_get_total_clusters (result));
  add_count (object, "corruptions", imago_check_result_get_corruptions (result));
  add_count (object, "corruptions-fixed", imago_check_result_get_corruptions_fixed (result));
  tool_json_add_size (object, "check-errors", imago_check_result_get_check_errors (result));
  add_count (object, "leaks", imago_check_result_get_leaks (result));
  add_count (object, "leaks-fixed", imago_check_result_get_leaks_fixed (result));
  add_count (object, "allocated-clusters", imago_check_result_get_allocated_clusters (result));
  tool_json_add_string (object, "filename", filename);
  tool_json_add_string (object, "format", format);
  add_count (object, "fragmented-clusters", imago_check_result_get_fragmented_clusters (result));
  tool_json_print (node);
}

static void
print_repaired (ImagoCheckResult *result)
{
  guint64 corruptions = imago_check_result_get_corruptions_fixed (result);
  guint64 leaks = imago_check_result_get_leaks_fixed (result);

  if (corruptions != 0 || leaks != 0)
    printf ("The following inconsistencies were found and repaired:\n\n"
            "    %" G_GUINT64_FORMAT " leaked clusters\n"
            "    %" G_GUINT64_FORMAT " corruptions\n\n"
            "Double checking the fixed image now...\n",
            leaks, corruptions);
}

static void
print_verdict (ImagoCheckResult *result)
{
  guint64 corruptions = imago_check_result_get_corruptions (result);
  guint64 leaks = imago_check_result_get_leaks (result);
  guint64 check_errors = imago_check_result_get_check_errors (result);

  if (corruptions == 0 && leaks == 0 && check_errors == 0)
    {
      printf ("No errors were found on the image.\n");
      return;
    }
  if (corruptions != 0)
    printf ("\n%" G_GUINT64_FORMAT " errors were found on the image.\n"
            "Data may be corrupted, or further writes to the image may corrupt it.\n",
            corruptions);
  if (leaks != 0)
    printf ("\n%" G_GUINT64_FORMAT " leaked clusters were found on the image.\n"
            "This means waste of disk space, but no harm to data.\n",
            leaks);
  if (check_errors != 0)
    printf ("\n%" G_GUINT64_FORMAT " internal errors have occurred during the check.\n",
            check_errors);
}

/* Not translated, as the texts of info: scripts read them. */
static void
print_text (ImagoCheckResult *result)
{
  guint64 total = imago_check_result_get_total_clusters (result);
  guint64 allocated = imago_check_result_get_allocated_clusters (result);
  guint64 fragmented = imago_check_result_get_fragmented_clusters (result);
  guint64 compressed = imago_check_result_get_compressed_clusters (result);
  guint64 end = imago_check_result_get_image_end_offset (result);

  print_repaired (result);
  print_verdict (result);
  if (total != 0 && allocated != 0)
    printf ("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " = %0.2f%% allocated, "
            "%0.2f%% fragmented, %0.2f%% compressed clusters\n",
            allocated, total, (double) allocated * 100.0 / (double) total,
            (double) fragmented * 100.0 / (double) allocated,
            (double) compressed * 100.0 / (double) allocated);
  if (end != 0)
    printf ("Image end offset: %" G_GUINT64_FORMAT "\n", end);
}

/* ---- the command ---- */

static int
exit_status (ImagoCheckResult *result)
{
  if (imago_check_result_get_check_errors (result) != 0)
    {
      tool_error (_ ("Check failed"));
      return EXIT_FAILURE;
    }
  if (imago_check_result_get_corruptions (result) != 0)
    return EXIT_CORRUPTIONS;
  return imago_check_result_get_leaks (result) != 0 ? EXIT_LEAKS : EXIT_SUCCESS;
}

static gboolean
can_check (const char *format)
{
  return (imago_format_get_flags (imago_format_lookup (format)) & IMAGO_FORMAT_CHECK) != 0;
}

static int
check (const Wanted *wanted)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (ImagoStorage) storage = NULL;
  g_autoptr (ImagoCheckJob) job = NULL;
  g_autofree char *format = NULL;
  ImagoCheckResult *result;

  if (wanted->open.writable && wanted->open.force_share)
    g_set_error_literal (&error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                         _("Only an image that is opened for reading can be shared by force"));
  else
    storage = tool_open_storage (wanted->filename, &wanted->open, &format, NULL, &error);
  if (storage == NULL)
    {
      tool_open_print_error (wanted->filename, error);
      return EXIT_FAILURE;
    }
  if (!can_check (format))
    {
      tool_error (_ ("This image format does not support checks"));
      return EXIT_NO_CHECKS;
    }
  job = imago_check_job_new (storage, format);
  imago_check_job_set_repair (job, wanted->repair);
  imago_check_job_set_force_share (job, wanted->open.force_share);
  if (!tool_job_run (IMAGO_JOB (job), wanted->progress && !wanted->quiet && !wanted->json, &error))
    {
      tool_error (_ ("Check failed: %s"), error->message);
      return EXIT_FAILURE;
    }
  result = imago_check_job_get_result (job);
  print_messages (result);
  if (wanted->json && !wanted->quiet)
    print_json (wanted->filename, format, result);
  else if (!wanted->quiet)
    print_text (result);
  return exit_status (result);
}

static gboolean
take_repair (const char *text, gpointer settings)
{
  Wanted *wanted = settings;

  if (g_str_equal (text, "leaks"))
    wanted->repair = IMAGO_REPAIR_LEAKS;
  else if (g_str_equal (text, "all"))
    wanted->repair = IMAGO_REPAIR_ALL;
  else
    {
      tool_command_misuse (_ ("Unknown option value for -r (expecting 'leaks' or 'all'): %s"), text);
      return FALSE;
    }
  return TRUE;
}

static int
run (gpointer settings, int n_operands, char **operands)
{
  Wanted *wanted = settings;

  wanted->open.writable = wanted->repair != IMAGO_REPAIR_NONE;
  wanted->filename = tool_command_get_file (n_operands, operands);
  return wanted->filename != NULL ? check (wanted) : EXIT_FAILURE;
}

static const ToolOption options[] = {
  TOOL_CALL ('r', "repair", N_ ("leaks|all"), take_repair,
             N_ ("what is repaired: space that nothing uses is given back, or all that can be "
                 "repaired; the data of the disk stays as it is")),
  TOOL_COMMON_FORMAT (Wanted, open),
  TOOL_COMMON_FORCE_SHARE (Wanted, open),
  TOOL_COMMON_OPENING (Wanted, open),
  TOOL_COMMON_OUTPUT (Wanted, json),
  TOOL_COMMON_QUIET (Wanted, quiet),
  TOOL_COMMON_PROGRESS (Wanted, progress),
  TOOL_COMMON_SOURCE_CACHE ('T', "source-cache"),
  TOOL_ALIAS (0, "cache", N_ ("MODE"), 'T'),
  TOOL_OPTIONS_END,
};

const ToolCommand tool_command_check = {
  .name = "check",
  .operands = N_ ("FILE"),
  .summary = N_ ("look for errors in an image"),
  .description = N_ ("Looks for errors in the metadata of an image, and repairs it. Opens FILE and "
                     "nothing else."),
  .notes = N_ ("The exit status is 0 for a sound image, 2 if there are errors that endanger data, 3 "
               "if space is wasted but nothing is wrong otherwise, 63 if images of the format "
               "cannot be checked, and 1 if the check could not be completed."),
  .options = options,
  .settings_size = sizeof (Wanted),
  .run = run,
};
