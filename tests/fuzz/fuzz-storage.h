/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A sparse file made of fuzzer input, so that a few bytes can stand at any offset.
 *
 *   u8            number of pieces, modulo 32
 *   12 bytes each offset (u64, little endian, 62 bits count), length (u32, little endian)
 *   payload       the pieces' bytes, one piece after another
 *
 * Without pieces the payload is the whole file. The file ends with the last byte of any piece; a
 * piece of length 0 only makes the file longer. What no piece covers is a hole. */

#pragma once

#include "img-storage.h"

G_BEGIN_DECLS

#define FUZZ_MAX_PIECES 32

typedef struct
{
  guint64 offset;
  guint64 length;
  const guint8 *bytes;
} FuzzPiece;

typedef struct
{
  ImgStorage parent;
  FuzzPiece pieces[FUZZ_MAX_PIECES];
  guint n_pieces;
  guint64 size;
  guint64 inode; /* its identity */

  /* what was asked of it */
  guint64 bytes_read;
  guint64 n_ios;

  /* what it shall do */
  guint64 fail_at;      /* the request with this number (from 1) fails with EIO; 0: none */
  gboolean never_ready; /* NOWAIT requests find nothing in memory */
} FuzzStorage;

/* @data stays alive and unchanged longer than the storage. */
FuzzStorage *fuzz_storage_new    (const guint8 *data, gsize length,
                                  guint64 inode) G_GNUC_WARN_UNUSED_RESULT;
void         fuzz_storage_peek   (FuzzStorage *self, guint64 offset, guint8 *buffer, gsize length);
/* Storages that exist: 0 when everything was released. */
guint        fuzz_storage_count  (void);

/* Ends the program because the code under test broke a rule. */
void         fuzz_violation      (const char *format, ...) G_GNUC_PRINTF (1, 2) G_GNUC_NORETURN;

#define fuzz_require(condition, ...) \
  G_STMT_START \
  { \
    if (!(condition)) \
      fuzz_violation (__VA_ARGS__); \
  } \
  G_STMT_END

G_END_DECLS
