/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Copying disks into an image. */

#pragma once

#include "img-byte-sink.h"
#include "img-convert-source.h"
#include "img-create.h"
#include "img-progress.h"

G_BEGIN_DECLS

#define IMG_CONVERT_ZERO_GRAIN 4096

typedef struct
{
  /* What is copied: all of them, one behind the other. */
  ImgImage *const *sources;
  guint n_sources;
  /* Of that a window; length 0: up to the end. */
  guint64 offset;
  guint64 length;

  /* To where. Either a new file: @creation, whose size may be left out and whose flags this job sets. */
  ImgCreation *creation;
  /* Or an image that is there, open for writing and at least as large. */
  ImgImage *target;
  gboolean target_is_zero; /* it reads as zero everywhere */
  /* Or a pipe, which gets a new image as @creation says; its path is none. */
  const ImgByteSink *sink;

  gsize zero_grain;        /* bytes: as many zeroes are not stored; 0: all that is not a hole is stored, in
                            * a raw file also by sharing its blocks with the source */
  gboolean allocate_all;   /* holes and zeroes are stored as well */
  gboolean compress;
  int level;               /* 0: the usual one */
  gboolean copy_bitmaps;   /* the persistent ones of the source's top layer */
  gboolean skip_broken_bitmaps; /* those that were not closed are left out, not an error */
  gboolean salvage;        /* what cannot be read becomes zero */
  ImgSalvageFunc salvaged; /* nullable; on any thread, one call at a time */
  gpointer salvaged_data;

  guint64 bytes_per_second; /* of what is copied; 0: no limit */
  gboolean verify;         /* a new image is read back and compared before it is published */
  gboolean ignore_space;   /* begin even if there is certainly not enough */
  gboolean durable;        /* the file and its directory are on the disk before it is published */
  guint n_threads;         /* 0: as many as processors */
  int priority;            /* G_PRIORITY_* of the work in the pool */
} ImgConvertOptions;

/* Data stays data, runs of zeroes become holes. The bytes of a new file depend on the sources and the options alone.
 * With a backing file in @creation what the top layer of the source leaves to its own backing image is left to it;
 * that it holds the same there is the caller's promise.
 *
 * Nothing is at the path of a new file until all of it is. An image that was there, and a pipe, have, after a failure,
 * some of it. */
gboolean img_convert (const ImgConvertOptions *options, ImgProgress *progress, ImgCancel *cancel,
                      ImgError **error);

/* What is copied, as one disk. */
ImgImage *img_convert_open_disk (const ImgConvertOptions *options, ImgCancel *cancel, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
