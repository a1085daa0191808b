/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Comparing what two disks hold. */

#pragma once

#include "img-image.h"
#include "img-progress.h"

G_BEGIN_DECLS

typedef enum
{
  IMG_COMPARISON_NONE,         /* no verdict */
  IMG_COMPARISON_IDENTICAL,
  IMG_COMPARISON_CONTENT,
  IMG_COMPARISON_BLOCK_STATUS, /* strict only: one has data where the other has none, or the like */
  IMG_COMPARISON_SIZE,         /* strict only */
} ImgComparison;

typedef enum
{
  IMG_COMPARE_STEP_NONE,
  IMG_COMPARE_STEP_MAP,
  IMG_COMPARE_STEP_READ,
} ImgCompareStep;

typedef struct
{
  gboolean strict;
  guint n_threads; /* 0: as many as processors */
  int priority;    /* G_PRIORITY_* of the work in the pool */
  guint64 bytes_per_second; /* of both disks together; 0: no limit */
} ImgCompareOptions;

typedef struct
{
  ImgComparison comparison;
  guint64 offset;             /* of the first difference, whatever the number of threads */
  ImgCompareStep failed_step; /* after an error */
} ImgCompareResult;

/* Disks of different size are identical if what one has more reads as zero, unless @options are strict. FALSE:
 * there is no verdict, as something could not be read before the first difference. */
gboolean img_compare (ImgImage *first, ImgImage *second, const ImgCompareOptions *options,
                      ImgProgress *progress, ImgCancel *cancel, ImgCompareResult *result,
                      ImgError **error);

G_END_DECLS
