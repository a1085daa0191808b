/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A new image in a new file, or in a storage that is there already. */

#pragma once

#include "img-image.h"

G_BEGIN_DECLS

typedef struct
{
  const char *path;
  ImgStorage *storage;         /* instead of the path; written in place */
  const ImgDriver *driver;
  /* Of what the format writes; the names of files are decided on here. */
  ImgCreateOptions options;
  gboolean has_size;           /* FALSE: as large as the backing image */

  gboolean overwrite;          /* what is there may be replaced; a storage need not be empty */
  gboolean allow_device;       /* with overwrite: @path may be a block device, which is written in place */
  gboolean no_copy_on_write;   /* where the file system copies on write, not in this file; a wish */
  guint64 extent_size_hint;    /* for file systems that take one; 0: none; a wish */

  const char *backing_path;    /* NULL: what backing_name means beside the image */
  ImgImage *backing_image;     /* open already; instead of a path */
  const char *backing_name;    /* as it is to stand in the image; NULL: made from the path of the backing file */
  gboolean backing_unchecked;  /* do not open the backing file; it need not exist */
  ImgPolicy *policy;           /* for what the backing image refers to; NULL: nothing may be opened */

  const char *data_file_path;  /* created too; NULL, and no storage: no external data file */
  ImgStorage *data_storage;    /* instead of the path; written in place */
  const char *data_file_name;  /* as it is to stand in the image; NULL: made from its path */
} ImgCreation;

/* Creates the image and opens it for writing. What it refers to is open too, unless it is unchecked: then the
 * image has its references still to be opened.
 *
 * A file appears at its name all at once and is durable; after an error nothing is left and nothing was
 * replaced, with two exceptions: block devices and storages are written in place, and if the last step of two fails
 * an external data file may have replaced an old one already. */
ImgImage *img_image_create (const ImgCreation *creation, ImgCancel *cancel, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
