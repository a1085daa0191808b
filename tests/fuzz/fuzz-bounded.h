/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A file in memory that can be written: as many bytes as a fuzzer may have of one, and no more. */

#pragma once

#include "fuzz-storage.h"

G_BEGIN_DECLS

#define FUZZ_MAX_STORED ((guint64) 64 << 20)

typedef struct
{
  ImgStorage parent;
  ImgStorage *memory;
  guint64 n_ios;
  guint64 behind;  /* zeroes that the file seems to have behind its end */
  guint64 fail_at; /* the request with this number (from 1) fails with EIO; 0: none */
} FuzzBounded;

/* With the bytes of @data (fuzz-storage.h); NULL if no storage holds anything that far out. */
FuzzBounded *fuzz_bounded_new   (const guint8 *data, gsize length) G_GNUC_WARN_UNUSED_RESULT;
/* Storages that exist. */
guint        fuzz_bounded_count (void);

G_END_DECLS
