/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What "imago io" puts between the commands and the image: an overlay that is thrown away (-s), and
 * copying what is read from a backing image into the image (-C). */

#include "config.h"

#include "io-commands.h"
#include "tool-bytes.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gi18n-lib.h>
#include <string.h>
#include <unistd.h>

/* As much is zero, or is not, at once. */
#define COPY_STEP ((guint64) 16 * 1024 * 1024)

/* ---- -s ---- */

/* A file without a name: it goes with the last descriptor, whatever becomes of the program. */
static ImagoStorage *
make_nameless_file (GError **error)
{
  const char *folder = g_getenv ("TMPDIR");
  g_autofree char *path =
    g_build_filename (folder != NULL ? folder : "/var/tmp", "imago-io-XXXXXX", NULL);
  ImagoStorage *storage;
  int fd = g_mkstemp (path);

  if (fd < 0)
    {
      int code = errno;

      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code),
                   _ ("A temporary file cannot be made: %s"), g_strerror (code));
      return NULL;
    }
  unlink (path);
  storage = imago_file_storage_open_fd (fd, path, IMAGO_STORAGE_WRITABLE, error);
  close (fd);
  return storage;
}

ImagoImage *
io_make_overlay (ImagoImage *image, GError **error)
{
  g_autoptr (ImagoStorage) storage = make_nameless_file (error);
  g_autoptr (ImagoCreateOptions) options = NULL;

  if (storage == NULL)
    return NULL;
  /* Nobody will ever follow the name. */
  options = g_object_new (IMAGO_TYPE_CREATE_OPTIONS, "format-name", "qcow2", "backing-image", image,
                          "backing-name", "disk", NULL);
  return imago_image_create_storage (storage, options, NULL, error);
}

/* ---- -C ---- */

static gboolean
copy_up (ImagoImage *image, guint64 offset, guint64 length, GError **error)
{
  g_autofree guint8 *buffer = g_malloc (MIN (length, COPY_STEP));

  for (gsize part; length > 0; offset += part, length -= part)
    {
      part = (gsize) MIN (length, COPY_STEP);
      if (!imago_image_read_at (image, offset, buffer, part, NULL, error))
        return FALSE;
      if (tool_is_zero (buffer, part)
            ? !imago_image_write_zeroes (image, offset, part, IMAGO_ZERO_NONE, NULL, error)
            : !imago_image_write_at (image, offset, buffer, part, NULL, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
copy_clusters (ImagoImage *image, guint64 offset, guint64 end, GError **error)
{
  while (offset < end)
    {
      g_autoptr (ImagoExtent) extent =
        imago_image_map (image, offset, end - offset, IMAGO_MAP_TOP_ONLY, NULL, error);

      if (extent == NULL || (imago_extent_get_kind (extent) == IMAGO_EXTENT_UNALLOCATED &&
                             !copy_up (image, offset, imago_extent_get_length (extent), error)))
        return FALSE;
      offset += imago_extent_get_length (extent);
    }
  return TRUE;
}

/* Whole clusters, as QEMU does it. What lies past the end is left to the read, which fails. */
gboolean
io_copy_on_read (IoSession *session, guint64 offset, guint64 length, GError **error)
{
  g_autoptr (ImagoImageInfo) info = NULL;
  guint64 size, cluster_size, end;

  if (!session->opening.copies_on_read || length == 0)
    return TRUE;
  size = imago_image_get_size (session->image);
  if (offset > size || length > size - offset)
    return TRUE;
  info = imago_image_query_info (session->image, NULL, error);
  if (info == NULL)
    return FALSE;
  cluster_size = imago_image_info_get_cluster_size (info);
  if (cluster_size == 0) /* raw: all of it is the image's own */
    return TRUE;
  end = offset + length;
  end += (cluster_size - end % cluster_size) % cluster_size;
  return copy_clusters (session->image, offset - offset % cluster_size, MIN (end, size), error);
}
