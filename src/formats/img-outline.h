/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A new image that is written once, from its first byte to its last, from two passes over a disk.
 *
 * The first pass notes what is where, in the order of the disk, and how long it becomes encoded; sealing works
 * out where in the file all of it will lie. Then the head is put out, all that lies before the first data; then
 * the data that was noted, in the order of the disk; then the tail.
 *
 * Threads: one at a time, but for encode ().
 */

#pragma once

#include "img-byte-sink.h"
#include "img-cancel.h"

G_BEGIN_DECLS

typedef struct _ImgOutline ImgOutline;

typedef enum
{
  IMG_UNIT_HOLE, /* the backing file shows through; without one, zeroes */
  IMG_UNIT_ZERO,
  IMG_UNIT_DATA,
} ImgUnitKind;

typedef struct
{
  void     (*free)     (ImgOutline *outline);
  /* Optional; on any thread. @plain: unit_length bytes, of the unit at @offset; @stored has room for as many.
   * *stored_length: 0 if it is not to be encoded. Once sealed it fails with CORRUPT if it does not come out as it
   * was noted. */
  gboolean (*encode)   (ImgOutline *outline, guint64 offset, int level, const guint8 *plain, guint8 *stored,
                        gsize *stored_length, ImgError **error);
  /* With encode: what each thread that encodes takes, in bytes; the calling thread has it then. */
  gboolean (*get_encode_memory) (ImgOutline *outline, int level, gsize *memory, ImgError **error);
  /* Ascending and without a gap. A unit of which parts differ is data. @stored_length: of one unit of data that is
   * encoded, else 0. */
  gboolean (*note)     (ImgOutline *outline, guint64 offset, guint64 length, ImgUnitKind kind,
                        gsize stored_length, ImgError **error);
  /* Sets file_size and data_size. */
  gboolean (*seal)     (ImgOutline *outline, ImgError **error);
  gboolean (*put_head) (ImgOutline *outline, ImgSinkWriter *writer, ImgCancel *cancel, ImgError **error);
  /* The first data at or after @offset, in whole units or up to the end of the disk; its length, 0: there is none. */
  guint64  (*next_data) (ImgOutline *outline, guint64 offset, guint64 *start);
  /* The data that is next: whole units, or up to the end of the disk; or one unit, encoded. */
  gboolean (*put_plain)   (ImgOutline *outline, guint64 offset, const guint8 *plain, gsize length,
                           ImgSinkWriter *writer, ImgError **error);
  gboolean (*put_encoded) (ImgOutline *outline, guint64 offset, const guint8 *stored, gsize stored_length,
                           ImgSinkWriter *writer, ImgError **error);
  gboolean (*put_tail) (ImgOutline *outline, ImgSinkWriter *writer, ImgError **error);
} ImgOutlineClass;

struct _ImgOutline
{
  const ImgOutlineClass *klass;
  guint64 size;      /* of the disk, bytes */
  gsize unit_length;
  guint64 file_size; /* bytes */
  guint64 data_size; /* of the disk that is data, bytes */
};

G_END_DECLS
