/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "config.h"

#include <errno.h>
#include <glib/gi18n-lib.h>

#include "img-alloc.h"
#include "img-create-options.h"

/* Between two steps the work can be cancelled; reserving costs less than writing. */
#define RESERVE_STEP IMG_GIB
#define WRITE_STEP (4 * IMG_MIB)

gboolean
img_create_check_plain (const ImgCreateOptions *options, ImgError **error)
{
  const struct
  {
    gboolean is_set;
    const char *name;
  } others[] = {
    { options->backing_name != NULL || options->backing_format != NULL, "backing-file" },
    { options->data_file_name != NULL, "data-file" },
    { options->raw_data_file, "raw-data-file" },
    { options->version != 0, "version" },
    { options->cluster_size != 0, "cluster-size" },
    { options->refcount_bits != 0, "refcount-bits" },
    { options->compression != IMG_COMPRESSION_DEFAULT, "compression-type" },
    { options->extended_l2, "extended-l2" },
    { options->lazy_refcounts, "lazy-refcounts" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (others); i++)
    if (others[i].is_set)
      {
        img_error_set (error, IMG_CODE_INVALID_OPTION, _("The format has no option “%s”"),
                       others[i].name);
        return FALSE;
      }
  return TRUE;
}

/* A window says that a size lies out of its range, a file system that it does not do such things. */
static gboolean
is_unsupported (const ImgError *error)
{
  return error->code == IMG_CODE_OUT_OF_RANGE ||
         (error->code == IMG_CODE_ERRNO && error->system_errno == ENOTSUP);
}

gboolean
img_create_empty (ImgStorage *storage, guint64 length, gboolean *is_fresh, ImgError **error)
{
  ImgError *own_error = NULL;
  guint64 size;

  if (!img_storage_get_size (storage, &size, error))
    return FALSE;
  if (size > 0 && !img_storage_truncate (storage, 0, &own_error) && !is_unsupported (own_error))
    {
      img_error_propagate (error, own_error);
      return FALSE;
    }
  img_error_clear (&own_error);
  if (size > 0 && !img_storage_get_size (storage, &size, error))
    return FALSE;
  *is_fresh = size == 0;
  return length <= size || img_storage_truncate (storage, length, error);
}

/* Bytes, so that even a file system that keeps no zeroes has to take them. */
static gboolean
write_zeroes (ImgStorage *storage,
              guint64 offset,
              guint64 length,
              ImgCancel *cancel,
              ImgError **error)
{
  g_autoptr (ImgBuffer) zeroes = img_try_alloc0 (1, WRITE_STEP, error);

  if (zeroes == NULL)
    return FALSE;
  while (length > 0)
    {
      gsize n = (gsize) MIN (WRITE_STEP, length);

      if (img_cancel_check (cancel, error) ||
          !img_storage_write (storage, offset, zeroes, n, error))
        return FALSE;
      offset += n;
      length -= n;
    }
  return TRUE;
}

/* FALSE without an error where the storage cannot reserve space. */
static gboolean
try_allocate (ImgStorage *storage,
              guint64 offset,
              guint64 length,
              ImgCancel *cancel,
              ImgError **error)
{
  for (guint64 n; length > 0; offset += n, length -= n)
    {
      g_autoptr (ImgError) own_error = NULL;

      n = MIN (RESERVE_STEP, length);
      if (img_cancel_check (cancel, error))
        return FALSE;
      if (img_storage_allocate (storage, offset, n, &own_error))
        continue;
      if (!is_unsupported (own_error))
        img_error_propagate (error, g_steal_pointer (&own_error));
      return FALSE;
    }
  return TRUE;
}

static gboolean
allocate (ImgStorage *storage,
          guint64 offset,
          guint64 length,
          gboolean is_fresh,
          ImgCancel *cancel,
          ImgError **error)
{
  ImgError *own_error = NULL;

  if (try_allocate (storage, offset, length, cancel, &own_error))
    return is_fresh || img_storage_zero (storage, offset, length, IMG_IO_NONE, error);
  if (own_error == NULL)
    return write_zeroes (storage, offset, length, cancel, error);
  img_error_propagate (error, own_error);
  return FALSE;
}

gboolean
img_create_reserve (ImgStorage *storage,
                    guint64 offset,
                    guint64 length,
                    ImgPreallocate mode,
                    gboolean is_fresh,
                    ImgCancel *cancel,
                    ImgError **error)
{
  switch (mode)
    {
    case IMG_PREALLOCATE_OFF:
    case IMG_PREALLOCATE_METADATA:
      return is_fresh || img_storage_zero (storage, offset, length, IMG_IO_UNMAP, error);
    case IMG_PREALLOCATE_FALLOC:
      return allocate (storage, offset, length, is_fresh, cancel, error);
    case IMG_PREALLOCATE_FULL:
    default:
      return write_zeroes (storage, offset, length, cancel, error);
    }
}
