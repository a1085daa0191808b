/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* discard, flush and truncate. */

#include "config.h"

#include "io-commands.h"

#include "tool-message.h"
#include "tool-resize.h"

#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>

/* ---- discard ---- */

static gboolean
parse_discard (int argc, char **argv, gboolean *quiet, IoReport *report)
{
  int option;

  optind = 0;
  while ((option = getopt (argc, argv, "Cq")) != -1)
    switch (option)
      {
      case 'C':
        report->machine_readable = TRUE;
        break;
      case 'q':
        *quiet = TRUE;
        break;
      default:
        io_print_synopsis (&io_command_discard);
        return FALSE;
      }

  if (argc - optind != 2)
    {
      io_print_synopsis (&io_command_discard);
      return FALSE;
    }
  return io_parse_size (argv[optind], &report->offset) &&
         io_parse_length (argv[optind + 1], "", &report->length);
}

/* As qemu-io does it: whole clusters only, which read as zero afterwards; in a version 2 image, which has no
 * state for that, the backing file shows through. */
static gboolean
discard_clusters (ImagoImage *image, const IoReport *report, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info (image, NULL, error);
  guint64 end = report->offset + report->length;
  ImagoDiscardMode mode = IMAGO_DISCARD_ZERO;
  guint64 cluster, start;

  if (info == NULL)
    return FALSE;
  cluster = imago_image_info_get_cluster_size (info);
  start = (report->offset + cluster - 1) / cluster * cluster;
  if (end != imago_image_get_size (image))
    end = end / cluster * cluster;
  if (start >= end)
    return TRUE;
  if (g_strcmp0 (imago_image_info_get_compat (info), "0.10") == 0)
    mode = IMAGO_DISCARD_BACKING;
  return imago_image_discard (image, start, end - start, mode, NULL, error);
}

/* A range that does not exist is an error, whatever is done with it. */
static gboolean
discard (IoSession *session, const IoReport *report, GError **error)
{
  gboolean is_raw =
    g_str_equal (imago_format_get_name (imago_image_get_format (session->image)), "raw");
  ImagoDiscardMode mode =
    is_raw && !session->opening.ignores_discard ? IMAGO_DISCARD_ANY : IMAGO_DISCARD_NONE;

  return imago_image_discard (session->image, report->offset, report->length, mode, NULL, error) &&
         (is_raw || session->opening.ignores_discard ||
          discard_clusters (session->image, report, error)) &&
         (!io_writes_through (session) || imago_image_flush (session->image, NULL, error));
}

static gboolean
run_discard (IoSession *session, int argc, char **argv)
{
  IoReport report = { .verb = "discard" };
  g_autoptr (GError) error = NULL;
  gboolean quiet = FALSE;

  if (!parse_discard (argc, argv, &quiet, &report))
    return FALSE;

  report.start = g_get_monotonic_time ();
  if (!discard (session, &report, &error))
    {
      io_print_failure ("discard", error);
      return FALSE;
    }
  if (!quiet)
    io_print_report (&report);
  return TRUE;
}

const IoCommand io_command_discard = {
  .name = "discard",
  .alias = "d",
  .arguments = "[-Cq] off len",
  .summary = "discards a number of bytes at a specified offset",
  .help = "\n"
          " Gives the space of a range back where that can be done.\n"
          "\n"
          " Example:\n"
          " 'discard 512 1k' - discards a kilobyte at offset 512\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -q, -- print no statistics\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .writes = TRUE,
  .run = run_discard,
};

/* ---- flush ---- */

static gboolean
run_flush (IoSession *session, int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  if (imago_image_flush (session->image, NULL, &error))
    return TRUE;

  io_print_failure ("flush", error);
  return FALSE;
}

const IoCommand io_command_flush = {
  .name = "flush",
  .alias = "f",
  .summary = "flush all in-core file state to disk",
  .needs_image = TRUE,
  .run = run_flush,
};

/* ---- truncate ---- */

static gboolean
parse_truncate (int argc, char **argv, ImagoPreallocation *mode, guint64 *size)
{
  int option;

  *mode = IMAGO_PREALLOCATION_NONE;
  optind = 0;
  while ((option = getopt (argc, argv, "m:")) != -1)
    if (option != 'm')
      {
        io_print_synopsis (&io_command_truncate);
        return FALSE;
      }
    else if (!tool_parse_preallocation (optarg, mode))
      return FALSE;

  if (optind >= argc)
    {
      io_print_synopsis (&io_command_truncate);
      return FALSE;
    }
  return io_parse_size (argv[optind], size);
}

static gboolean
run_truncate (IoSession *session, int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  ImagoPreallocation mode;
  guint64 size;

  if (!parse_truncate (argc, argv, &mode, &size) || !tool_check_disk_size (session->image, size))
    return FALSE;
  if (imago_image_resize (session->image, size, IMAGO_RESIZE_MAY_SHRINK, mode, NULL, &error))
    return TRUE;

  tool_error ("%s", error->message);
  return FALSE;
}

const IoCommand io_command_truncate = {
  .name = "truncate",
  .alias = "t",
  .arguments = "[-m prealloc_mode] off",
  .summary = "truncates the current file at the given offset",
  .help = "\n"
          " Changes the size of the disk.\n"
          "\n"
          " -m, -- what is prepared in the part that is new: off, metadata, falloc or full\n",
  .min_arguments = 1,
  .max_arguments = 3,
  .needs_image = TRUE,
  .writes = TRUE,
  .run = run_truncate,
};
