/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The first cluster of a qcow2 image: header, extensions, backing file name.
 *
 * Reading it is tolerant: whatever is wrong becomes an entry of problems, and the fields that it
 * concerns stay at what the file says (fixed fields) or empty (everything with a length). Opening
 * is strict: img_qcow2_header_check () fails with the first problem. Numbering as in the
 * specification, docs/interop/qcow2.txt of QEMU.
 */

#pragma once

#include "img-driver.h"

G_BEGIN_DECLS

#define IMG_QCOW2_MAGIC 0x514649fbu

/* Incompatible features. */
#define IMG_QCOW2_INCOMPATIBLE_DIRTY ((guint64) 1 << 0)
#define IMG_QCOW2_INCOMPATIBLE_CORRUPT ((guint64) 1 << 1)
#define IMG_QCOW2_INCOMPATIBLE_DATA_FILE ((guint64) 1 << 2)
#define IMG_QCOW2_INCOMPATIBLE_COMPRESSION ((guint64) 1 << 3)
#define IMG_QCOW2_INCOMPATIBLE_EXTENDED_L2 ((guint64) 1 << 4)
#define IMG_QCOW2_INCOMPATIBLE_KNOWN ((guint64) 0x1f)

#define IMG_QCOW2_COMPATIBLE_LAZY_REFCOUNTS ((guint64) 1 << 0)

#define IMG_QCOW2_AUTOCLEAR_BITMAPS ((guint64) 1 << 0)
#define IMG_QCOW2_AUTOCLEAR_RAW_DATA_FILE ((guint64) 1 << 1)

/* Offsets of L1 and standard L2 entries. */
#define IMG_QCOW2_OFFSET_MASK ((guint64) 0x00fffffffffffe00)

#define IMG_QCOW2_MIN_CLUSTER_BITS 9
#define IMG_QCOW2_MAX_CLUSTER_BITS 21
#define IMG_QCOW2_MAX_L1_SIZE (32 * IMG_MIB)
#define IMG_QCOW2_MAX_REFCOUNT_TABLE_SIZE (8 * IMG_MIB)
#define IMG_QCOW2_MAX_SNAPSHOTS 65536u
#define IMG_QCOW2_MAX_BITMAPS 65535u
#define IMG_QCOW2_MAX_BITMAP_DIRECTORY (1024 * (guint64) IMG_QCOW2_MAX_BITMAPS)
#define IMG_QCOW2_MAX_NAME 1023u

#define IMG_QCOW2_V2_HEADER_LENGTH 72

/* Header extensions: "Header extensions" in the specification. */
#define IMG_QCOW2_EXTENSION_END 0x00000000u
#define IMG_QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define IMG_QCOW2_EXTENSION_FEATURE_NAMES 0x6803f857u
#define IMG_QCOW2_EXTENSION_BITMAPS 0x23852875u
#define IMG_QCOW2_EXTENSION_ENCRYPTION_HEADER 0x0537be77u
#define IMG_QCOW2_EXTENSION_DATA_FILE 0x44415441u

#define IMG_QCOW2_MAX_FORMAT_NAME 15u
#define IMG_QCOW2_FEATURE_NAME_ENTRY 48
#define IMG_QCOW2_FEATURE_NAME_LENGTH 46

typedef enum
{
  IMG_QCOW2_CRYPT_NONE = 0,
  IMG_QCOW2_CRYPT_AES = 1,
  IMG_QCOW2_CRYPT_LUKS = 2,
} ImgQcow2Crypt;

typedef enum
{
  IMG_QCOW2_COMPRESSION_ZLIB = 0,
  IMG_QCOW2_COMPRESSION_ZSTD = 1,
} ImgQcow2Compression;

/* An extension that this library knows nothing of; kept as it is. */
typedef struct
{
  guint32 type;
  GBytes *data;
} ImgQcow2Extension;

typedef struct
{
  guint64 file_size;

  guint32 version;
  guint64 backing_name_offset;
  guint32 backing_name_length;
  guint32 cluster_bits; /* 0: the file has nonsense there */
  guint64 size; /* bytes of the disk, rounded down to sectors */
  guint32 crypt_method;
  guint32 l1_entries;
  guint64 l1_offset;
  guint64 refcount_table_offset;
  guint32 refcount_table_clusters;
  guint32 n_snapshots;
  guint64 snapshots_offset;
  guint64 incompatible;
  guint64 compatible;
  guint64 autoclear;
  guint32 refcount_order;
  guint32 header_length;
  guint8 compression;

  char *backing_name;   /* NULL: none */
  char *backing_format; /* NULL: not said */
  char *data_file_name; /* NULL: not said */

  gboolean has_encryption_header;
  guint64 encryption_header_offset;
  guint64 encryption_header_length;

  gboolean has_bitmaps; /* an extension whose autoclear bit says that it is valid */
  guint32 n_bitmaps;
  guint64 bitmap_directory_size;
  guint64 bitmap_directory_offset;

  gboolean has_unknown_fields;   /* behind those that this library knows */
  GPtrArray *unknown_extensions; /* of ImgQcow2Extension, in the order of the file */
  GPtrArray *unknown_features;   /* of char *: incompatible features, by name */
  GPtrArray *problems;           /* of ImgError, most important first */
  GPtrArray *repairable;         /* borrowed from problems: those that a check can work with */
  const ImgError *overhang;      /* borrowed from problems: more snapshots than may be; nullable */
  gboolean has_refcount_table;   /* in a place where one can be */
} ImgQcow2Header;

/* Fails only if @storage cannot be read or is no qcow2 image. */
ImgQcow2Header *img_qcow2_header_read (ImgStorage *storage,
                                       ImgCancel *cancel,
                                       ImgError **error) G_GNUC_WARN_UNUSED_RESULT;
void            img_qcow2_header_free  (ImgQcow2Header *header);
/* Whether this library can work with the image. */
gboolean        img_qcow2_header_check (const ImgQcow2Header *header, ImgError **error);
/* Whether it can work with all but the disk: an encrypted image is as good as any. */
gboolean        img_qcow2_header_check_metadata (const ImgQcow2Header *header, ImgError **error);

/* NULL: not encrypted. */
const char     *img_qcow2_header_get_encryption (const ImgQcow2Header *header);
/* Appends to @wanted, an array of ImgWanted: the data file first, then the backing file. */
void            img_qcow2_header_list_wanted (const ImgQcow2Header *header, GPtrArray *wanted);

/* Bits of an L2 entry's index, and the L1 entries that a disk of @size bytes needs. */
guint           img_qcow2_header_get_l2_bits (const ImgQcow2Header *header);
guint64         img_qcow2_header_count_l1_entries (const ImgQcow2Header *header, guint64 size);
/* Whether an L1 table may be read for a disk of @size bytes; @what names it in the error. */
gboolean img_qcow2_header_check_l1 (const ImgQcow2Header *header,
                                    guint64 offset,
                                    guint64 n_entries,
                                    guint64 size,
                                    const char *what,
                                    ImgError **error);

static inline guint64
img_qcow2_header_get_cluster_size (const ImgQcow2Header *header)
{
  return (guint64) 1 << header->cluster_bits;
}

static inline gboolean
img_qcow2_header_has (const ImgQcow2Header *header, guint64 incompatible_bit)
{
  return (header->incompatible & incompatible_bit) != 0;
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImgQcow2Header, img_qcow2_header_free)

G_END_DECLS
