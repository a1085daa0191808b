/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying a disk into a new file. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef struct
{
  const char *path;     /* the file to publish */
  gboolean overwrite;   /* replace an existing regular file */
  gboolean durable;     /* fsync the file and its directory before it is published */
  guint n_threads;      /* 0: as many as processors */
  int priority;         /* G_PRIORITY_* of the work in the pool */
} ImgConvertOptions;

/* To a raw file: holes stay holes, runs of zeroes become holes. Nothing is at @path until all of it is. */
gboolean img_convert_to_raw (ImgImage *source, const ImgConvertOptions *options,
                             ImgProgress *progress, ImgCancel *cancel, ImgError **error);

G_END_DECLS
