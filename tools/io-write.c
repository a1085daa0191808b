/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* write and writev: fills a range of the disk with a pattern, with a file, with zeroes, or compressed. */

#include "config.h"

#include "io-commands.h"

#include <errno.h>
#include <getopt.h>
#include <glib/gi18n-lib.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PATTERN 0xcd
/* What is held in memory of a pattern: it is written many times in one request. */
#define FILL_SIZE (1024 * 1024)
#define VM_STATE_CHUNK (16 * 1024 * 1024)
/* Whole clusters, of any size. */
#define COMPRESSED_STEP (64 * 1024 * 1024)

typedef struct
{
  gboolean machine_readable;
  gboolean quiet;
  gboolean compressed;
  gboolean flush;
  gboolean zeroes;
  gboolean unmap;
  gboolean no_fallback;
  gboolean vm_state;
  gboolean has_pattern;
  guint8 pattern;
  const char *source; /* the name of a file whose bytes are written over and over */
  guint64 offset;
  guint64 length;
} Request;

/* ---- the command line ---- */

static gboolean
take_option (int option, const char *value, const IoCommand *command, Request *request)
{
  switch (option)
    {
    case 'C':
      request->machine_readable = TRUE;
      return TRUE;
    case 'q':
      request->quiet = TRUE;
      return TRUE;
    case 'c':
      request->compressed = TRUE;
      return TRUE;
    case 'f':
      request->flush = TRUE;
      return TRUE;
    case 'n':
      request->no_fallback = TRUE;
      return TRUE;
    case 'p':
      /* Means nothing any more in qemu-io either. */
      return TRUE;
    case 'P':
      request->has_pattern = TRUE;
      return io_parse_pattern (value, &request->pattern);
    case 's':
      request->source = value;
      return TRUE;
    case 'u':
      request->unmap = TRUE;
      return TRUE;
    case 'z':
      request->zeroes = TRUE;
      return TRUE;
    case 'b':
      request->vm_state = TRUE;
      return TRUE;
    default:
      io_print_synopsis (command);
      return FALSE;
    }
}

static gboolean
check_options (const Request *request)
{
  if (request->vm_state && request->zeroes)
    printf ("-b and -z cannot be specified at the same time\n");
  else if (request->flush && (request->vm_state || request->compressed))
    printf ("-f and -b or -c cannot be specified at the same time\n");
  else if (request->no_fallback && !request->zeroes)
    printf ("-n requires -z to be specified\n");
  else if (request->unmap && !request->zeroes)
    printf ("-u requires -z to be specified\n");
  else if (request->zeroes + request->has_pattern + (request->source != NULL) > 1)
    printf ("Only one of -z, -P, and -s can be specified at the same time\n");
  else
    return TRUE;
  return FALSE;
}

/* Zeroes that need not be written as bytes may be more than fits into memory. */
static gboolean
parse_range (char **argv, int n, gboolean many, Request *request)
{
  if (!io_parse_size (argv[0], &request->offset))
    return FALSE;
  if (many)
    return io_parse_lengths (n - 1, argv + 1, &request->length);
  if (request->no_fallback)
    return io_parse_size (argv[1], &request->length);
  return io_parse_length (argv[1], " without -n", &request->length);
}

static gboolean
parse (int argc, char **argv, const IoCommand *command, gboolean many, Request *request)
{
  int option;
  int n;

  /* 0 rather than 1: another command's options were parsed before. */
  optind = 0;
  while ((option = getopt (argc, argv, many ? "CfqP:" : "bcCfnpP:qs:uz")) != -1)
    if (!take_option (option, optarg, command, request))
      return FALSE;

  n = argc - optind;
  if (many ? n < 2 : n != 2)
    {
      io_print_synopsis (command);
      return FALSE;
    }

  return check_options (request) && parse_range (argv + optind, n, many, request) &&
         (!(request->compressed || request->vm_state) || io_check_aligned (request->offset, request->length));
}

/* ---- what is written ---- */

/* @content over and over, as long as @length needs it but for a few repetitions. */
static GByteArray *
repeat (const guint8 *content, gsize size, guint64 length)
{
  GByteArray *fill = g_byte_array_new ();

  g_byte_array_append (fill, content, (guint) size);
  while (fill->len < length && fill->len < FILL_SIZE)
    {
      guint before = fill->len;

      g_byte_array_set_size (fill, 2 * before);
      memcpy (fill->data + before, fill->data, before);
    }
  return fill;
}

/* The beginning of the file, no more than is wanted. */
static GByteArray *
read_source (const char *name, guint64 length)
{
  FILE *file = fopen (name, "rbe");
  g_autofree guint8 *content = NULL;
  gsize size = 0;

  if (file == NULL)
    {
      fprintf (stderr, "%s: %s\n", name, g_strerror (errno));
      return NULL;
    }
  content = g_try_malloc (MAX (length, 1));
  if (content == NULL)
    fprintf (stderr, "%s: %s\n", name, g_strerror (ENOMEM));
  else
    {
      size = fread (content, 1, length, file);
      if (ferror (file))
        fprintf (stderr, "%s: the file cannot be read\n", name);
      else if (size == 0)
        fprintf (stderr, "%s: file is empty\n", name);
    }
  fclose (file);
  return size > 0 ? repeat (content, size, length) : NULL;
}

static GByteArray *
make_fill (const Request *request)
{
  guint8 pattern = request->has_pattern ? request->pattern : DEFAULT_PATTERN;

  return request->source != NULL ? read_source (request->source, request->length)
                                 : repeat (&pattern, 1, request->length);
}

/* ---- writing ---- */

/* One request, whatever its length. */
static gboolean
write_plain (ImagoImage *image, const Request *request, GByteArray *fill, GError **error)
{
  g_autoptr (GArray) vectors = g_array_new (FALSE, FALSE, sizeof (struct iovec));

  for (guint64 left = request->length; left > 0;)
    {
      struct iovec vector = { fill->data, MIN (left, fill->len) };

      g_array_append_val (vectors, vector);
      left -= vector.iov_len;
    }
  return imago_image_writev_at (image, request->offset, (gconstpointer) vectors->data,
                                vectors->len, NULL, error);
}

/* The bytes from @position on of the repeated fill. */
static GBytes *
part_of_fill (GByteArray *fill, guint64 position, gsize length)
{
  guint8 *bytes = g_malloc (MAX (length, 1));

  for (gsize done = 0, n; done < length; done += n)
    {
      gsize start = (position + done) % fill->len;

      n = MIN (length - done, fill->len - start);
      memcpy (bytes + done, fill->data + start, n);
    }
  return g_bytes_new_take (bytes, length);
}

static gboolean
write_vm_state (ImagoImage *image, const Request *request, GByteArray *fill, GError **error)
{
  for (guint64 position = 0, n; position < request->length; position += n)
    {
      g_autoptr (GBytes) bytes = NULL;

      n = MIN (VM_STATE_CHUNK, request->length - position);
      bytes = part_of_fill (fill, position, (gsize) n);
      if (!imago_image_write_vm_state (image, request->offset + position, bytes, NULL, error))
        {
          io_translate_vm_state_error (error);
          return FALSE;
        }
    }
  return TRUE;
}

/* Space in the image itself; what only a backing image has does not count. */
static gboolean
has_space (const ImagoExtent *extent)
{
  guint64 host_offset;

  switch (imago_extent_get_kind (extent))
    {
    case IMAGO_EXTENT_DATA:
    case IMAGO_EXTENT_COMPRESSED:
      return imago_extent_get_depth (extent) == 0;
    case IMAGO_EXTENT_ZERO:
      return imago_extent_get_depth (extent) == 0 &&
             imago_extent_get_host_offset (extent, &host_offset);
    case IMAGO_EXTENT_UNALLOCATED:
    default:
      return FALSE;
    }
}

/* *length becomes what lies before the first space that the image has in the range. */
static gboolean
find_unwritten (ImagoImage *image, guint64 offset, guint64 *length, GError **error)
{
  guint64 done = 0;

  while (done < *length)
    {
      g_autoptr (ImagoExtent) extent =
        imago_image_map (image, offset + done, *length - done, IMAGO_MAP_NONE, NULL, error);

      if (extent == NULL)
        return FALSE;
      if (has_space (extent))
        *length = done;
      else
        done += imago_extent_get_length (extent);
    }
  return TRUE;
}

static gboolean
write_compressed_part (ImagoImage *image,
                       const Request *request,
                       guint64 length,
                       GByteArray *fill,
                       GError **error)
{
  guint64 position = 0;

  do
    {
      gsize n = (gsize) MIN (COMPRESSED_STEP, length - position);
      g_autoptr (GBytes) bytes = part_of_fill (fill, position, n);

      if (!imago_image_write_compressed (image, request->offset + position, bytes, NULL, error))
        return FALSE;
      position += n;
    }
  while (position < length);
  return TRUE;
}

/* But for the last one of the disk. */
static gboolean
check_whole_clusters (ImagoImage *image, const Request *request, GError **error)
{
  g_autoptr (ImagoImageInfo) info = imago_image_query_info (image, NULL, error);
  guint64 end = request->offset + request->length;
  guint64 cluster_size;

  if (info == NULL)
    return FALSE;
  cluster_size = imago_image_info_get_cluster_size (info);
  /* What lies past the end is told by the library. */
  if (end > imago_image_get_size (image) ||
      (cluster_size > 0 && request->offset % cluster_size == 0 &&
       (end % cluster_size == 0 || end == imago_image_get_size (image))))
    return TRUE;
  if (cluster_size == 0)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, g_strerror (ENOTSUP));
  else
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, g_strerror (EINVAL));
  return FALSE;
}

/* The library stores clusters that have been written anew. As in qemu-io, it is an error here,
 * which comes when the clusters before them have been written. */
static gboolean
write_compressed (ImagoImage *image, const Request *request, GByteArray *fill, GError **error)
{
  guint64 length = request->length;

  if (!check_whole_clusters (image, request, error) ||
      !find_unwritten (image, request->offset, &length, error))
    return FALSE;
  if ((length > 0 || request->length == 0) &&
      !write_compressed_part (image, request, length, fill, error))
    return FALSE;
  if (length == request->length)
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, g_strerror (EIO));
  return FALSE;
}

static ImagoZeroFlags
zero_flags (const Request *request)
{
  ImagoZeroFlags flags = IMAGO_ZERO_NONE;

  if (request->unmap)
    flags |= IMAGO_ZERO_UNMAP;
  if (request->no_fallback)
    flags |= IMAGO_ZERO_NO_FALLBACK;
  return flags;
}

static gboolean
transfer (IoSession *session, const Request *request, GByteArray *fill, GError **error)
{
  ImagoImage *image = session->image;
  gboolean success;

  if (request->zeroes)
    success = imago_image_write_zeroes (image, request->offset, request->length,
                                        zero_flags (request), NULL, error);
  else if (request->vm_state)
    success = write_vm_state (image, request, fill, error);
  else if (request->compressed)
    success = write_compressed (image, request, fill, error);
  else
    success = write_plain (image, request, fill, error);
  if (success && (request->flush || io_writes_through (session)))
    success = imago_image_flush (image, NULL, error);
  return success;
}

static gboolean
run_request (IoSession *session, int argc, char **argv, const IoCommand *command, gboolean many)
{
  IoReport report = { .verb = "wrote" };
  g_autoptr (GByteArray) fill = NULL;
  g_autoptr (GError) error = NULL;
  Request request = { 0 };

  if (!parse (argc, argv, command, many, &request))
    return FALSE;
  if (!request.zeroes)
    {
      fill = make_fill (&request);
      if (fill == NULL)
        return FALSE;
    }

  report.start = g_get_monotonic_time ();
  if (!transfer (session, &request, fill, &error))
    {
      io_print_failure (command->name, error);
      return FALSE;
    }

  report.machine_readable = request.machine_readable;
  report.offset = request.offset;
  report.length = request.length;
  if (!request.quiet)
    io_print_report (&report);
  return TRUE;
}

static gboolean
run_write (IoSession *session, int argc, char **argv)
{
  return run_request (session, argc, argv, &io_command_write, FALSE);
}

static gboolean
run_writev (IoSession *session, int argc, char **argv)
{
  return run_request (session, argc, argv, &io_command_writev, TRUE);
}

const IoCommand io_command_write = {
  .name = "write",
  .alias = "w",
  .arguments = "[-bcCfnquz] [-P pattern | -s source_file] off len",
  .summary = "writes a number of bytes at a specified offset",
  .help = "\n"
          " Fills a range of the disk with a byte (0xcd unless -P says another), with zeroes, or\n"
          " with the content of a file.\n"
          "\n"
          " Example:\n"
          " 'write -P 7 512 1k' - writes a kilobyte of sevens at offset 512\n"
          "\n"
          " -c, -- store whole clusters compressed\n"
          " -C, -- print the statistics in a form for programs\n"
          " -f, -- flush afterwards\n"
          " -n, -- with -z: fail rather than write zeroes as data\n"
          " -p, -- ignored\n"
          " -P, -- write this byte\n"
          " -q, -- print no statistics\n"
          " -s, -- write the content of this file, over and over if it is too short\n"
          " -u, -- with -z: give space back to the host\n"
          " -z, -- write zeroes, without storing them where that can be avoided\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .writes = TRUE,
  .run = run_write,
};

const IoCommand io_command_writev = {
  .name = "writev",
  .arguments = "[-Cfq] [-P pattern] off len [len..]",
  .summary = "writes a number of bytes at a specified offset",
  .help = "\n"
          " Fills a range that is given as several lengths, one after the other.\n"
          "\n"
          " Example:\n"
          " 'writev 512 1k 1k' - writes 2 kilobytes at offset 512\n"
          "\n"
          " -C, -- print the statistics in a form for programs\n"
          " -f, -- flush afterwards\n"
          " -P, -- write this byte\n"
          " -q, -- print no statistics\n",
  .min_arguments = 2,
  .max_arguments = -1,
  .needs_image = TRUE,
  .writes = TRUE,
  .run = run_writev,
};
