/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <imago-glib/imago-types.h>

G_BEGIN_DECLS

/**
 * ImagoStorageFlags:
 * @IMAGO_STORAGE_NONE: a regular file
 * @IMAGO_STORAGE_ALLOW_DEVICE: a block device will do as well
 * @IMAGO_STORAGE_WRITABLE: for writing, too; the file must exist, and nothing is cut off
 *
 * How a file is opened as a storage.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_STORAGE_NONE = 0,
  IMAGO_STORAGE_ALLOW_DEVICE = 1 << 0,
  IMAGO_STORAGE_WRITABLE = 1 << 1,
} ImagoStorageFlags;

/**
 * ImagoStorageOperation:
 * @IMAGO_STORAGE_OPERATION_NONE: nothing: a request that nobody made
 * @IMAGO_STORAGE_OPERATION_READ: read a range, which lies inside the storage
 * @IMAGO_STORAGE_OPERATION_WRITE: write a range; past the end, the storage grows
 * @IMAGO_STORAGE_OPERATION_WRITE_ZEROES: make a range read as zero; past the end, the storage grows
 * @IMAGO_STORAGE_OPERATION_DISCARD: give back the space of a range; what it reads as afterwards is not known
 * @IMAGO_STORAGE_OPERATION_TRUNCATE: make the storage as long as the offset says; what is new reads as zero
 * @IMAGO_STORAGE_OPERATION_FLUSH: make durable what has been answered before
 * @IMAGO_STORAGE_OPERATION_QUERY_SIZE: tell how long the storage is
 *
 * What an #ImagoStorageRequest asks for.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_STORAGE_OPERATION_NONE,
  IMAGO_STORAGE_OPERATION_READ,
  IMAGO_STORAGE_OPERATION_WRITE,
  IMAGO_STORAGE_OPERATION_WRITE_ZEROES,
  IMAGO_STORAGE_OPERATION_DISCARD,
  IMAGO_STORAGE_OPERATION_TRUNCATE,
  IMAGO_STORAGE_OPERATION_FLUSH,
  IMAGO_STORAGE_OPERATION_QUERY_SIZE,
} ImagoStorageOperation;

/**
 * ImagoFormatFlags:
 * @IMAGO_FORMAT_NONE: nothing of what follows
 * @IMAGO_FORMAT_BACKING_FILE: images may have a backing file
 * @IMAGO_FORMAT_DATA_FILE: guest data may live in an external data file
 * @IMAGO_FORMAT_COMPRESSED: images may hold compressed clusters
 * @IMAGO_FORMAT_SNAPSHOTS: images may hold internal snapshots
 * @IMAGO_FORMAT_CONVERT_TARGET: #ImagoConvertJob can produce it
 * @IMAGO_FORMAT_CREATE: imago_image_create() can produce it
 * @IMAGO_FORMAT_CHECK: #ImagoCheckJob can check it
 *
 * What images of a format can have.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_FORMAT_NONE = 0,
  IMAGO_FORMAT_BACKING_FILE = 1 << 0,
  IMAGO_FORMAT_DATA_FILE = 1 << 1,
  IMAGO_FORMAT_COMPRESSED = 1 << 2,
  IMAGO_FORMAT_SNAPSHOTS = 1 << 3,
  IMAGO_FORMAT_CONVERT_TARGET = 1 << 4,
  IMAGO_FORMAT_CREATE = 1 << 5,
  IMAGO_FORMAT_CHECK = 1 << 6,
} ImagoFormatFlags;

/**
 * ImagoReferenceRole:
 * @IMAGO_REFERENCE_NONE: no reference
 * @IMAGO_REFERENCE_BACKING_FILE: the image that shows through where this one has no data
 * @IMAGO_REFERENCE_DATA_FILE: the file that holds the guest data of this image
 *
 * What an image wants another file for.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_REFERENCE_NONE = 0,
  IMAGO_REFERENCE_BACKING_FILE,
  IMAGO_REFERENCE_DATA_FILE,
} ImagoReferenceRole;

/**
 * ImagoExtentKind:
 * @IMAGO_EXTENT_NONE: no extent
 * @IMAGO_EXTENT_DATA: plain bytes in a file
 * @IMAGO_EXTENT_COMPRESSED: compressed bytes in a file
 * @IMAGO_EXTENT_ZERO: known to read as zero
 * @IMAGO_EXTENT_UNALLOCATED: in no layer of the chain; reads as zero
 *
 * What a range of a disk is.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_EXTENT_NONE = 0,
  IMAGO_EXTENT_DATA,
  IMAGO_EXTENT_COMPRESSED,
  IMAGO_EXTENT_ZERO,
  IMAGO_EXTENT_UNALLOCATED,
} ImagoExtentKind;

/**
 * ImagoMapFlags:
 * @IMAGO_MAP_NONE: the whole chain, from the metadata of the images alone
 * @IMAGO_MAP_TOP_ONLY: this image without its backing image: what it does not own is unallocated
 * @IMAGO_MAP_HOST_HOLES: ask the file systems too which data is a hole; costs system calls
 *
 * How much a block map looks at.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_MAP_NONE = 0,
  IMAGO_MAP_TOP_ONLY = 1 << 0,
  IMAGO_MAP_HOST_HOLES = 1 << 1,
} ImagoMapFlags;

/**
 * ImagoLocking:
 * @IMAGO_LOCKING_NONE: nothing is locked and no lock is respected
 * @IMAGO_LOCKING_AUTO: files are locked where their file systems have locks
 * @IMAGO_LOCKING_ON: files are locked; where that is impossible, opening fails
 *
 * Whether the files of an image are locked against other users.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_LOCKING_NONE = 0,
  IMAGO_LOCKING_AUTO,
  IMAGO_LOCKING_ON,
} ImagoLocking;

/**
 * ImagoZeroFlags:
 * @IMAGO_ZERO_NONE: what has space on the host keeps it
 * @IMAGO_ZERO_UNMAP: space on the host may be given back
 * @IMAGO_ZERO_NO_FALLBACK: where zeroes would have to be written as data it fails, with
 *   %G_IO_ERROR_NOT_SUPPORTED; what lies before that may read as zero by then, and nothing else has changed
 *
 * How zeroes are written.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_ZERO_NONE = 0,
  IMAGO_ZERO_UNMAP = 1 << 0,
  IMAGO_ZERO_NO_FALLBACK = 1 << 1,
} ImagoZeroFlags;

/**
 * ImagoDiscardMode:
 * @IMAGO_DISCARD_NONE: nothing happens
 * @IMAGO_DISCARD_ANY: the range may read as what it held before, or as zero: whatever is cheapest
 * @IMAGO_DISCARD_ZERO: the range reads as zero
 * @IMAGO_DISCARD_BACKING: the backing image shows through; only whole clusters change, and without a
 *   backing image they read as zero, but for raw images, where it is the same as %IMAGO_DISCARD_ANY
 *
 * What a range of a disk holds after it was discarded.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_DISCARD_NONE = 0,
  IMAGO_DISCARD_ANY,
  IMAGO_DISCARD_ZERO,
  IMAGO_DISCARD_BACKING,
} ImagoDiscardMode;

/**
 * ImagoResizeFlags:
 * @IMAGO_RESIZE_NONE: the disk may only grow
 * @IMAGO_RESIZE_MAY_SHRINK: the disk may become smaller and lose what lies behind its new end
 *
 * How the size of a disk may change.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_RESIZE_NONE = 0,
  IMAGO_RESIZE_MAY_SHRINK = 1 << 0,
} ImagoResizeFlags;

/**
 * ImagoPreallocation:
 * @IMAGO_PREALLOCATION_NONE: space is taken when data is written
 * @IMAGO_PREALLOCATION_METADATA: every cluster has its place, but no space is reserved for it
 * @IMAGO_PREALLOCATION_FALLOC: space is reserved
 * @IMAGO_PREALLOCATION_FULL: zeroes are written
 *
 * What is prepared for data that has not been written yet.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_PREALLOCATION_NONE = 0,
  IMAGO_PREALLOCATION_METADATA,
  IMAGO_PREALLOCATION_FALLOC,
  IMAGO_PREALLOCATION_FULL,
} ImagoPreallocation;

/**
 * ImagoCompressionType:
 * @IMAGO_COMPRESSION_TYPE_NONE: what is usual for the format
 * @IMAGO_COMPRESSION_TYPE_ZLIB: deflate
 * @IMAGO_COMPRESSION_TYPE_ZSTD: Zstandard
 *
 * How an image compresses the clusters that are to be compressed.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_COMPRESSION_TYPE_NONE = 0,
  IMAGO_COMPRESSION_TYPE_ZLIB,
  IMAGO_COMPRESSION_TYPE_ZSTD,
} ImagoCompressionType;

/**
 * ImagoRepair:
 * @IMAGO_REPAIR_NONE: nothing: check only
 * @IMAGO_REPAIR_LEAKS: space that counts as used and is not
 * @IMAGO_REPAIR_ALL: all that can be repaired without touching the data of the disk
 *
 * What an #ImagoCheckJob repairs.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_REPAIR_NONE = 0,
  IMAGO_REPAIR_LEAKS,
  IMAGO_REPAIR_ALL,
} ImagoRepair;

/**
 * ImagoCheckMessageKind:
 * @IMAGO_CHECK_MESSAGE_NONE: no message
 * @IMAGO_CHECK_MESSAGE_ERROR: something could not be checked
 * @IMAGO_CHECK_MESSAGE_CORRUPTION: an error that endangers the data of the disk
 * @IMAGO_CHECK_MESSAGE_LEAK: space that counts as used and is not
 * @IMAGO_CHECK_MESSAGE_REPAIRED: something that was wrong and has been repaired
 * @IMAGO_CHECK_MESSAGE_NOTE: something to know
 *
 * What a finding of a check is.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_CHECK_MESSAGE_NONE = 0,
  IMAGO_CHECK_MESSAGE_ERROR,
  IMAGO_CHECK_MESSAGE_CORRUPTION,
  IMAGO_CHECK_MESSAGE_LEAK,
  IMAGO_CHECK_MESSAGE_REPAIRED,
  IMAGO_CHECK_MESSAGE_NOTE,
} ImagoCheckMessageKind;

/**
 * ImagoJobPhase:
 * @IMAGO_JOB_PHASE_NONE: the job has not been run
 * @IMAGO_JOB_PHASE_MAP: it lists what there is to do
 * @IMAGO_JOB_PHASE_COPY: it copies data
 * @IMAGO_JOB_PHASE_FLUSH: it makes the result durable
 * @IMAGO_JOB_PHASE_CHECK: it reads metadata and looks for what is wrong
 * @IMAGO_JOB_PHASE_REPAIR: it mends metadata, and looks at it again
 * @IMAGO_JOB_PHASE_DONE: it ended, well or not
 *
 * What a job is doing.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_JOB_PHASE_NONE = 0,
  IMAGO_JOB_PHASE_MAP,
  IMAGO_JOB_PHASE_COPY,
  IMAGO_JOB_PHASE_FLUSH,
  IMAGO_JOB_PHASE_CHECK,
  IMAGO_JOB_PHASE_REPAIR,
  IMAGO_JOB_PHASE_DONE,
} ImagoJobPhase;

/**
 * ImagoComparison:
 * @IMAGO_COMPARISON_NONE: there is no verdict
 * @IMAGO_COMPARISON_IDENTICAL: the disks are the same
 * @IMAGO_COMPARISON_CONTENT: a byte differs
 * @IMAGO_COMPARISON_BLOCK_STATUS: the maps differ; only if that is to be looked at
 * @IMAGO_COMPARISON_SIZE: the sizes differ; only if that is to be looked at
 *
 * What #ImagoCompareJob found first.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_COMPARISON_NONE = 0,
  IMAGO_COMPARISON_IDENTICAL,
  IMAGO_COMPARISON_CONTENT,
  IMAGO_COMPARISON_BLOCK_STATUS,
  IMAGO_COMPARISON_SIZE,
} ImagoComparison;

/**
 * ImagoConvertLosses:
 * @IMAGO_CONVERT_LOSS_NONE: nothing is lost
 * @IMAGO_CONVERT_LOSS_SNAPSHOTS: the internal snapshots
 * @IMAGO_CONVERT_LOSS_BITMAPS: the persistent bitmaps
 * @IMAGO_CONVERT_LOSS_BACKING_FILE: the backing file: what shows through it becomes the image's own
 * @IMAGO_CONVERT_LOSS_DATA_FILE: the external data file: the data is in the image itself
 * @IMAGO_CONVERT_LOSS_SIZE: the exact size: a disk ends with a whole sector
 *
 * What a source has and the result of a conversion will not have.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_CONVERT_LOSS_NONE = 0,
  IMAGO_CONVERT_LOSS_SNAPSHOTS = 1 << 0,
  IMAGO_CONVERT_LOSS_BITMAPS = 1 << 1,
  IMAGO_CONVERT_LOSS_BACKING_FILE = 1 << 2,
  IMAGO_CONVERT_LOSS_DATA_FILE = 1 << 3,
  IMAGO_CONVERT_LOSS_SIZE = 1 << 4,
} ImagoConvertLosses;

/**
 * ImagoConvertRoom:
 * @IMAGO_CONVERT_ROOM_NONE: not known: the result is no regular file, or its file system has no limit
 * @IMAGO_CONVERT_ROOM_ENOUGH: whatever the data is, there is room for it now
 * @IMAGO_CONVERT_ROOM_UNCERTAIN: there is room if enough of the data is zero or can be compressed
 * @IMAGO_CONVERT_ROOM_TOO_LITTLE: there is certainly not enough; the job would fail
 *
 * Whether the file system has room for the result of a conversion.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_CONVERT_ROOM_NONE,
  IMAGO_CONVERT_ROOM_ENOUGH,
  IMAGO_CONVERT_ROOM_UNCERTAIN,
  IMAGO_CONVERT_ROOM_TOO_LITTLE,
} ImagoConvertRoom;

/**
 * ImagoStreamWrapping:
 * @IMAGO_STREAM_WRAPPING_NONE: the bytes are the disk, whatever they look like
 * @IMAGO_STREAM_WRAPPING_AUTO: the first bytes tell; what is none of the others is the disk itself
 * @IMAGO_STREAM_WRAPPING_GZIP: gzip
 * @IMAGO_STREAM_WRAPPING_XZ: xz
 * @IMAGO_STREAM_WRAPPING_ZSTD: zstd
 *
 * What the bytes of a disk are wrapped in. %IMAGO_STREAM_WRAPPING_AUTO believes the stream: whoever wrote to the disk can have
 * it taken for wrapped.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_STREAM_WRAPPING_NONE,
  IMAGO_STREAM_WRAPPING_AUTO,
  IMAGO_STREAM_WRAPPING_GZIP,
  IMAGO_STREAM_WRAPPING_XZ,
  IMAGO_STREAM_WRAPPING_ZSTD,
} ImagoStreamWrapping;

/**
 * ImagoCompactMethod:
 * @IMAGO_COMPACT_METHOD_NONE: none in particular: %IMAGO_COMPACT_METHOD_PUNCH
 * @IMAGO_COMPACT_METHOD_PUNCH: in place: what is not needed becomes holes in the file, and its end is cut off
 * @IMAGO_COMPACT_METHOD_REWRITE: the image is written anew beside the file, which it then replaces
 *
 * How #ImagoCompactJob makes a file smaller.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_COMPACT_METHOD_NONE,
  IMAGO_COMPACT_METHOD_PUNCH,
  IMAGO_COMPACT_METHOD_REWRITE,
} ImagoCompactMethod;

/**
 * ImagoCompareFailure:
 * @IMAGO_COMPARE_FAILURE_NONE: nothing of what follows
 * @IMAGO_COMPARE_FAILURE_MAP: a map could not be read
 * @IMAGO_COMPARE_FAILURE_READ: data could not be read
 *
 * What #ImagoCompareJob could not do.
 *
 * Since: 1.0
 */
typedef enum
{
  IMAGO_COMPARE_FAILURE_NONE = 0,
  IMAGO_COMPARE_FAILURE_MAP,
  IMAGO_COMPARE_FAILURE_READ,
} ImagoCompareFailure;

G_END_DECLS
