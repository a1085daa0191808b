/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Builds qcow2 images in memory, valid ones and any others: whatever a test says is written as it
 * is. */

#pragma once

#include "img-driver.h"

#define QCOW2_COPIED ((guint64) 1 << 63)
#define QCOW2_COMPRESSED ((guint64) 1 << 62)
#define QCOW2_ZERO ((guint64) 1 << 0)

#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXTENSION_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXTENSION_BITMAPS 0x23852875u
#define QCOW2_EXTENSION_ENCRYPTION_HEADER 0x0537be77u
#define QCOW2_EXTENSION_DATA_FILE 0x44415441u

typedef struct
{
  guint version;
  guint cluster_bits;
  guint64 size;
  guint64 incompatible;
  guint64 compatible;
  guint64 autoclear;
  guint32 refcount_order;
  guint32 crypt_method;
  guint8 compression;
  const char *backing_name;

  GByteArray *file;
  GByteArray *extensions;
  GByteArray *snapshots; /* the table */
  guint32 n_snapshots;
  guint64 l1_offset;
  guint32 l1_entries;
  guint64 refcount_table_offset;
  guint64 packing; /* where the next compressed stream goes */
  guint64 packing_end;
} Qcow2Builder;

/* Later changes of the fields are for qcow2_builder_finish (); the bit for extended L2 must be set
 * in
 * @incompatible from the start. */
Qcow2Builder *
qcow2_builder_new (guint version, guint cluster_bits, guint64 size, guint64 incompatible);
void          qcow2_builder_free           (Qcow2Builder *self);

guint64       qcow2_builder_cluster_size   (Qcow2Builder *self);
guint64 qcow2_builder_alloc (Qcow2Builder *self,
                             guint64 n_clusters); /* zeroed, at the end of the file */
void qcow2_builder_write (Qcow2Builder *self, guint64 offset, gconstpointer data, gsize length);
void          qcow2_builder_set_l1         (Qcow2Builder *self, guint64 index, guint64 word);
/* Allocates the L2 table if there is none. @bitmap only with extended L2. */
void qcow2_builder_set_entry (Qcow2Builder *self, guint64 cluster, guint64 word, guint64 bitmap);
/* Streams share clusters, as in QEMU. Returns the L2 entry. */
guint64       qcow2_builder_add_compressed (Qcow2Builder *self, gconstpointer stream, gsize length);
void
qcow2_builder_add_extension (Qcow2Builder *self, guint32 type, gconstpointer data, gsize length);
void qcow2_builder_add_snapshot (Qcow2Builder *self,
                                 const char *id,
                                 const char *name,
                                 guint64 l1_offset,
                                 guint32 l1_entries,
                                 gconstpointer extra,
                                 gsize extra_length);

/* Makes the image an encrypted one. Returns where its LUKS header lies, which is a sound one. */
guint64       qcow2_builder_add_luks       (Qcow2Builder *self);

GBytes       *qcow2_builder_finish         (Qcow2Builder *self); /* consumes it */
ImgStorage   *qcow2_builder_finish_storage (Qcow2Builder *self);

void          qcow2_put_be16               (GByteArray *array, guint16 value);
void          qcow2_put_be32               (GByteArray *array, guint32 value);
void          qcow2_put_be64               (GByteArray *array, guint64 value);

/* How the directory of bitmaps describes one. */
typedef struct
{
  guint64 table_offset;
  guint32 table_entries;
  guint32 flags;
  guint8 type;
  guint8 granularity_bits;
  guint32 extra_length;
  const char *name;
} Qcow2Bitmap;

void          qcow2_put_bitmap             (GByteArray *directory, const Qcow2Bitmap *bitmap);

/* A copy of @image with the bytes written as hexadecimal digits in @hex at @offset. */
GBytes       *qcow2_poke                   (GBytes *image, guint64 offset, const char *hex);
