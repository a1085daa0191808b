/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A new image in a new file, or in a storage that is there already. */

#pragma once

#include "img-image.h"
#include "img-new-file.h"

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
  ImgSuccession *succession;   /* @path is replaced by a file like it; see img-new-file.h. NULL: no such thing */
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

  ImgImage *source;            /* no file of it is replaced or written to; NULL: no such image */

  /* Staged images that go away when they are published: what is flushed before that is not on the disk. */
  gboolean is_volatile;
} ImgCreation;

gboolean img_creation_has_backing   (const ImgCreation *creation);
gboolean img_creation_has_data_file (const ImgCreation *creation);
/* Into a device, or a storage that was given: it is changed as soon as the image is made, and nothing brings back what
 * was there. */
gboolean img_creation_is_in_place   (const ImgCreation *creation);

/* Creates the image and opens it for writing. What it refers to is open too, unless it is unchecked: then the
 * image has its references still to be opened.
 *
 * A file appears at its name all at once and is durable; after an error nothing is left and nothing was
 * replaced, with two exceptions: block devices and storages are written in place, and if the last step of two fails
 * an external data file may have replaced an old one already. */
ImgImage *img_image_create (const ImgCreation *creation, ImgCancel *cancel, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

/* The same in two steps: an image that has no name yet, to be filled first. @creation, and what it points to, stays
 * valid meanwhile. */
typedef struct _ImgStagedImage ImgStagedImage;

ImgStagedImage *img_staged_image_new       (const ImgCreation *creation, ImgCancel *cancel,
                                            ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Borrowed. */
ImgImage       *img_staged_image_get       (ImgStagedImage *staged);
/* Another view of it, for reading; after the image was closed. */
ImgImage       *img_staged_image_reopen    (ImgStagedImage *staged, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* FALSE: a device, or a storage that was given, which is written in place and may hold anything. */
gboolean        img_staged_image_is_new_file (ImgStagedImage *staged);
/* The image must have been flushed or closed. @durable: it is on the disk before it gets its name. Once it may get that it
 * is too late to cancel. */
gboolean        img_staged_image_publish   (ImgStagedImage *staged, gboolean durable, ImgCancel *cancel,
                                            ImgError **error);
/* Not published: nothing is left. */
void            img_staged_image_free      (ImgStagedImage *staged);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgStagedImage, img_staged_image_free)

G_END_DECLS
