/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a new image shall be like, and what its formats share when they write it. */

#pragma once

#include "img-encoder.h"
#include "img-storage.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_PREALLOCATE_OFF,
  IMG_PREALLOCATE_METADATA, /* mapped, but no space is reserved */
  IMG_PREALLOCATE_FALLOC,   /* space is reserved */
  IMG_PREALLOCATE_FULL,     /* zeroes are written */
} ImgPreallocate;

/* Zero, NULL and FALSE stand for what the format does by itself; an option that it does not have is
 * refused with IMG_CODE_INVALID_OPTION. */
typedef struct
{
  guint64 size;               /* bytes; rounded up to whole sectors */
  ImgPreallocate preallocate;
  const char *backing_name;   /* as it is to stand in the image */
  const char *backing_format; /* needed with a backing file */
  const char *data_file_name; /* as it is to stand in the image */
  gboolean raw_data_file;     /* the data file is a raw image of the disk at any time */

  /* qcow2 */
  guint version;              /* 2 or 3 */
  guint64 cluster_size;       /* bytes */
  guint refcount_bits;
  ImgCompression compression;
  gboolean extended_l2;
  gboolean lazy_refcounts;

  /* Nobody sees the storage before all of it is there, so that no order has to be kept. */
  gboolean is_private;
} ImgCreateOptions;

/* ---- for drivers ---- */

/* Fails if one of the options is set that are only for formats with metadata. */
gboolean img_create_check_plain (const ImgCreateOptions *options, ImgError **error);

/* Makes the storage @length bytes of zeroes. One whose size is fixed, such as a device, keeps what it holds
 * and may stay larger: *is_fresh tells. */
gboolean img_create_empty       (ImgStorage *storage, guint64 length, gboolean *is_fresh,
                                 ImgError **error);
/* Makes the range, where guest data will be, read as zero with its space reserved as asked for.
 * @is_fresh: it reads as zero already. */
gboolean img_create_reserve     (ImgStorage *storage, guint64 offset, guint64 length,
                                 ImgPreallocate mode, gboolean is_fresh, ImgCancel *cancel,
                                 ImgError **error);

G_END_DECLS
