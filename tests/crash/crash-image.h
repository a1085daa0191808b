/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Small disks to write on: their empty files, made here and not by the library, and how they are opened. */

#pragma once

#include "crash-log.h"
#include "img-image.h"

G_BEGIN_DECLS

typedef struct
{
  const char *name;
  const char *format;     /* "raw", "qcow2" */
  guint64 size;           /* bytes; of whole sectors */
  guint64 max_size;       /* 0: never grows */
  gsize cache_size;       /* of metadata; bytes */
  /* qcow2 */
  guint version;
  guint cluster_bits;
  guint refcount_order;
  gboolean extended_l2;
  gboolean lazy_refcounts;
  gboolean has_data_file;
  gboolean has_bitmaps;   /* their bit is set, and every cluster holds data; there are none */
  guint64 backing_size;   /* bytes; 0: none */
  guint64 snapshot_size;  /* bytes in whole clusters that the disk shares with a snapshot of it; 0: none */
  gboolean has_base;      /* the backing image is as large, a qcow2 image on a disk of its own, and written too */
  guint64 n_leaked;       /* clusters that are counted and in no use, behind all others */
  gboolean leaked_are_missing; /* the file ends before them */
} CrashGeometry;

typedef enum
{
  CRASH_DISK_IMAGE,
  CRASH_DISK_DATA,                   /* the external data file */
  CRASH_DISK_BASE = CRASH_DISK_DATA, /* the backing image that is written */
} CrashDiskRole;

static inline guint64
crash_geometry_cluster (const CrashGeometry *geometry)
{
  return geometry->cluster_bits > 0 ? (guint64) 1 << geometry->cluster_bits : CRASH_SECTOR;
}

/* Those that the tests run on, by name; aborts if there is none. */
const CrashGeometry *crash_geometry_find (const char *name);

guint     crash_geometry_n_disks (const CrashGeometry *geometry);
/* The shape of the backing image that is written. */
CrashGeometry crash_geometry_base (const CrashGeometry *geometry);
/* The content of an empty disk of this shape, by number. */
void      crash_geometry_format  (const CrashGeometry *geometry, CrashPages **disks);

/* The disks, and the backing image, as files in @folder; returns the path of the image. */
char     *crash_geometry_save    (const CrashGeometry *geometry, CrashPages *const *disks,
                                  const char *folder)
  G_GNUC_WARN_UNUSED_RESULT;

/* Feature bits of a qcow2 image as they stand in its file. */
gboolean  crash_image_is_dirty   (const CrashGeometry *geometry, CrashPages *image);
/* Whether bitmaps in it claim to be right. */
gboolean  crash_image_has_bitmaps (const CrashGeometry *geometry, CrashPages *image);
void      crash_image_set_bitmaps (CrashPages *image);

/* Opens the image that lies on @disks, with its references. */
ImgImage *crash_image_open       (const CrashGeometry *geometry, ImgStorage **disks,
                                  gboolean writable, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* The same on copies of a crash state. */
ImgImage *crash_image_open_pages (const CrashGeometry *geometry, CrashPages *const *disks,
                                  gboolean writable, ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;
/* The disk as it was when the snapshot was taken: the pattern of CRASH_VALUE_BACKING, and zeroes. */
ImgImage *crash_image_open_snapshot (const CrashGeometry *geometry, CrashPages *const *disks,
                                     ImgError **error)
  G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
