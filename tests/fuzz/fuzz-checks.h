/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What holds for every image that could be opened, and for every error. */

#pragma once

#include "fuzz-storage.h"
#include "img-image.h"

G_BEGIN_DECLS

/* Twelve bytes of the input's tail. */
#define FUZZ_OP_SIZE 12

typedef struct
{
  guint8 kind;
  guint8 detail;
  guint16 length;
  guint64 offset;
} FuzzOp;

FuzzOp   fuzz_op_parse             (const guint8 *bytes);

/* @success and @error agree, the code is known and the text can be shown. Frees the error. */
void     fuzz_check_error          (gboolean success, ImgError **error);
/* The work that opening took is bounded by the size of the file. */
void     fuzz_check_work           (FuzzStorage *storage);
/* Probe and inspect agree with themselves; fills @findings as far as possible. */
gboolean fuzz_check_inspect        (FuzzStorage *storage, const ImgDriver *driver,
                                    ImgFindings *findings);
/* Inspect and open saw the same file. */
void     fuzz_check_findings       (const ImgFindings *findings, ImgImage *image);
/* The map covers the disk from 0 on, without gap or overlap, as far as @max_steps reach. */
void     fuzz_check_map_walk       (ImgImage *image, ImgBlockMapFlags flags, guint max_steps);
/* One operation of the input on an image that is ready, with all that must hold around it. */
void     fuzz_check_op             (ImgImage *image, const FuzzOp *op);
/* @reference is another image of the same file, which is not empty. */
void     fuzz_check_same           (ImgImage *image, ImgImage *reference, const FuzzOp *op);
/* The same calls while storages and allocations fail: only errors may come of it. */
void     fuzz_exercise_op          (ImgImage *image, const FuzzOp *op);

G_END_DECLS
